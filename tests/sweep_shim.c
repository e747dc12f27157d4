/* SPDX-License-Identifier: MIT
 * sweep_shim.h as a library for LD_PRELOAD: any program, with system calls that go wrong.
 *
 *     cc -shared -fPIC -o shim.so sweep_shim.c
 *     BECK_SHIM='recv short 30%,send EINTR 5%,accept EMFILE 2-4' LD_PRELOAD=./shim.so program
 *
 * A rule is a call (the names in sweep_shim.h), what happens (short, or an errno's name), and when:
 * a share of the calls, or their numbers from 1.  BECK_SHIM_SEED seeds the shares.  BECK_SHIM_LOG
 * names a file that gets, when the program ends, the number of calls that went wrong. */
#include "sweep_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_call(const char *name)
{
    for (int i = 0; i < SHIM_CALLS; i++)
        if (strcmp(name, shim_call_names[i]) == 0)
            return i;
    return -1;
}

static int parse_what(const char *name)
{
    if (strcmp(name, "short") == 0)
        return SHIM_SHORT;
    for (int e = 1; e < 200; e++) {
        const char *known = strerrorname_np(e);
        if (known && strcmp(name, known) == 0)
            return e;
    }
    return 0;
}

static bool parse_rule(const char *text, struct shim_rule *rule)
{
    char call[16], what[24], unit = 0;
    long first = 0, last = 0;
    int n = sscanf(text, "%15s %23s %ld%c%ld", call, what, &first, &unit, &last);
    int index = n >= 3 ? parse_call(call) : -1;
    if (index < 0)
        return false;
    *rule = (struct shim_rule){.call = (enum shim_call)index, .what = parse_what(what)};
    if (unit == '%') {
        rule->percent = (unsigned)first;
    } else {
        rule->first = first;
        rule->last = n == 5 ? last : first;
    }
    return rule->what != 0 && first > 0;
}

static __attribute__((constructor)) void shim_begin(void)
{
    const char *spec = getenv("BECK_SHIM"), *seed = getenv("BECK_SHIM_SEED");
    char text[512];
    shim_reset(seed ? strtoull(seed, NULL, 10) : 1);
    while (spec && *spec) {
        size_t len = strcspn(spec, ",");
        struct shim_rule rule;
        snprintf(text, sizeof text, "%.*s", (int)len, spec);
        if (!parse_rule(text, &rule)) {
            fprintf(stderr, "BECK_SHIM: what is '%s'?\n", text);
            _exit(2);
        }
        shim_add(rule);
        spec += len + (spec[len] == ',');
    }
}

static __attribute__((destructor)) void shim_end(void)
{
    const char *path = getenv("BECK_SHIM_LOG");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    atomic_store(&shim.asleep, true);
    if (fd >= 0) {
        dprintf(fd, "%ld\n", atomic_load(&shim.n_hits));
        close(fd);
    }
}
