/* SPDX-License-Identifier: MIT
 * Traces: a test's tasks say words, and the test compares the whole sentence. */
#ifndef BECK_TESTS_TRACE_H
#define BECK_TESTS_TRACE_H

#include <stdarg.h>

#include <beck/error.h>
#include <beck/run.h>

#include "tests/check.h"

static char trace_buf[4096];
static size_t trace_len;

static inline void trace_reset(void)
{
    trace_len = 0;
    trace_buf[0] = '\0';
}

static inline void trace(const char *format, ...) BK_PRINTF(1, 2);

static inline void trace(const char *format, ...)
{
    size_t room = sizeof trace_buf - trace_len;
    if (trace_len > 0 && room > 1) {
        trace_buf[trace_len++] = ' ';
        room--;
    }
    va_list args;
    va_start(args, format);
    int n = vsnprintf(trace_buf + trace_len, room, format, args);
    va_end(args);
    if (n > 0)
        trace_len += (size_t)n < room ? (size_t)n : room - 1;
}

static inline const char *trace_text(void)
{
    return trace_buf;
}

/* Runs main(ctx) on the virtual clock with an empty trace; returns bk_run's result. */
static inline int trace_run(bk_fn *main, void *ctx)
{
    trace_reset();
    return bk_run(main, ctx, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

#endif
