/* SPDX-License-Identifier: MIT
 * Prints what 39 asyncio scenarios do in beck, one line "name: word word" each, as CPython's own
 * answers are in tests/golden.
 *
 *     asyncio_traces [NAME ...] */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/traces/traces.h"

static char trace[1024];
static size_t trace_len;

void say(const char *format, ...)
{
    char word[128];
    va_list args;
    va_start(args, format);
    vsnprintf(word, sizeof word, format, args);
    va_end(args);
    int n =
        snprintf(trace + trace_len, sizeof trace - trace_len, "%s%s", trace_len ? " " : "", word);
    trace_len += (size_t)n;
    if (trace_len >= sizeof trace)
        trace_len = sizeof trace - 1;
}

const char *py_bool(bool b)
{
    return b ? "True" : "False";
}

const char *py_result(int result)
{
    static char number[16];
    switch (result) {
    case VALUE_ERROR:
        return "ValueError";
    case KEY_ERROR:
        return "KeyError";
    case -ECANCELED:
        return "CancelledError";
    case -ETIMEDOUT:
        return "TimeoutError";
    case -EALREADY:    /* set twice */
    case -EINPROGRESS: /* asked too early */
        return "InvalidStateError";
    default:
        snprintf(number, sizeof number, "%d", result);
        return number;
    }
}

int say_word(void *ctx)
{
    say("%s", (const char *)ctx);
    return 0;
}

void ticks(int n)
{
    while (n-- > 0)
        bk_yield();
}

static int run(const struct scenario *s)
{
    trace_len = 0;
    trace[0] = '\0';
    int r = bk_run(s->run, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
    if (r < 0)
        say("! %s %s", py_result(r), bk_errmsg());
    printf("%s: %s\n", s->name, trace);
    return r < 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct scenario *)a)->name, ((const struct scenario *)b)->name);
}

int main(int argc, char **argv)
{
    const struct scenario *tables[] = {loop_scenarios, task_scenarios, wait_scenarios,
                                       timeout_scenarios};
    struct scenario all[64];
    size_t n = 0;
    int failed = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct scenario *s = tables[i]; s->name && n < sizeof all / sizeof *all; s++)
            all[n++] = *s;
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n && argc < 2; i++)
        failed |= run(&all[i]);
    for (int i = 1; i < argc; i++) {
        struct scenario key = {argv[i], NULL};
        const struct scenario *s = bsearch(&key, all, n, sizeof *all, by_name);
        if (!s)
            fprintf(stderr, "asyncio_traces: no scenario '%s'\n", argv[i]);
        failed |= s ? run(s) : 1;
    }
    return failed;
}
