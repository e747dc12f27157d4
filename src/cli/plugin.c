/* SPDX-License-Identifier: MIT
 * --so PATH:FUNCTION: a stage out of a shared object, the same function a program gives to
 * bk_flow_map. */
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_plugin_load(const char *text, bk_msg_fn **out)
{
    char path[4096];
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1]) {
        cli_say("--so %s: PATH:FUNCTION is wanted, as in ./mine.so:process_data", text);
        return CLI_USAGE;
    }
    int len = (int)(colon - text);
    /* Without a slash the loader would look in the system's folders alone. */
    snprintf(path, sizeof path, "%s%.*s", memchr(text, '/', (size_t)len) ? "" : "./", len, text);
    if (access(path, F_OK) < 0)
        snprintf(path, sizeof path, "%.*s", len, text);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        cli_say("--so %s: %s", text, dlerror());
        return CLI_USAGE;
    }
    void *symbol = dlsym(object, colon + 1);
    if (!symbol) {
        cli_say("--so %s: there is no function %s in it", text, colon + 1);
        dlclose(object);
        return CLI_USAGE;
    }
    memcpy(out, &symbol,
           sizeof *out); /* ISO C has no cast from an object's to a function's address */
    return CLI_OK;
}
