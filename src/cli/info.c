/* SPDX-License-Identifier: MIT
 * "beck info": what this build runs on.  "beck list": the connectors. */
#include <stdio.h>

#include "cli/cli.h"

static int no_arguments(const char *command, int argc, char **argv)
{
    if (argc == 0)
        return CLI_OK;
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        printf("usage: beck %s\n", command);
        return -1;
    }
    cli_say("beck %s takes no arguments", command);
    return CLI_USAGE;
}

int cli_info(int argc, char **argv)
{
    int r = no_arguments("info", argc, argv);
    if (r != CLI_OK)
        return r < 0 ? CLI_OK : r;
    bk_info info;
    bk_info_get(&info);
    printf("version         %s\n"
           "backend         %s (%s)\n"
           "kernel          %s\n"
           "features        %s\n"
           "context switch  %s\n"
           "stack guard     %s\n",
           info.version, info.backend, info.backend_reason, info.kernel, info.features,
           info.context_switch, info.stack_guard);
    return CLI_OK;
}

int cli_list(int argc, char **argv)
{
    static const char *const promises[] = {
        [BK_SOURCE_NONE] = "what is taken and not finished is gone",
        [BK_SOURCE_POSITION] = "can be read again",
        [BK_SOURCE_TOKEN] = "given again until acknowledged",
    };
    int r = no_arguments("list", argc, argv);
    if (r != CLI_OK)
        return r < 0 ? CLI_OK : r;
    size_t n;
    const bk_connector *list = bk_connector_list(&n);
    for (size_t i = 0; i < n; i++) {
        const bk_connector *c = &list[i];
        printf("%-10s %s%s%s\n           %s\n           %s\n", c->scheme, c->source ? "source" : "",
               c->source && c->sink ? ", " : "", c->sink ? "sink" : "", c->about, c->usage);
        if (c->source)
            printf("           as a source: %s\n", promises[c->source_class]);
    }
    return CLI_OK;
}
