/* SPDX-License-Identifier: MIT
 * Tests that run inside a loop: on the virtual clock, with CHECK, traces and a look at the dump.
 *
 *     LOOP_TEST(an_event_wakes_its_waiter)
 *     {
 *         ...                           // runs as the main task
 *         CHECK_STR(trace_text(), "waiting woken");
 *     }
 *     CHECK_MAIN(TEST(an_event_wakes_its_waiter)) */
#ifndef BECK_TESTS_RUN_HELPER_H
#define BECK_TESTS_RUN_HELPER_H

#include <sys/mman.h>
#include <unistd.h>

#include <beck/gather.h>

#include "tests/trace.h"

/* Runs fn(ctx) as the main task on the virtual clock with an empty trace; returns bk_run's result.
 */
static inline int in_loop(bk_fn *fn, void *ctx)
{
    return trace_run(fn, ctx);
}

struct in_loop_body {
    void (*run)(void);
};

static inline int in_loop_main(void *ctx)
{
    ((struct in_loop_body *)ctx)->run();
    return 0;
}

static inline void in_loop_check(void (*body)(void))
{
    struct in_loop_body b = {body};
    CHECK_EQ(in_loop(in_loop_main, &b), 0);
}

#define LOOP_TEST(name)                                                                            \
    static void name##_body(void);                                                                 \
    static void name(void)                                                                         \
    {                                                                                              \
        in_loop_check(name##_body);                                                                \
    }                                                                                              \
    static void name##_body(void)

/* Starts fn(ctx) and lets it, and whoever else is ready, run until all wait. */
static inline bk_task *start(bk_fn *fn, void *ctx)
{
    bk_task *task = NULL;
    return bk_go(&task, fn, ctx, NULL) == 0 ? task : NULL;
}

static inline void let_run(int n_turns)
{
    while (n_turns-- > 0)
        bk_yield();
}

/* Waits for *task, gives the handle back, and returns its result. */
static inline int finish(bk_task **task)
{
    int result = -EINPROGRESS;
    int r = bk_task_wait(*task, &result);
    bk_task_free(task);
    return r < 0 ? r : result;
}

/* What bk_dump prints now; valid until the next call. */
static inline const char *dump_text(void)
{
    static char text[16384];
    text[0] = '\0';
    int fd = memfd_create("dump", 0);
    if (fd < 0)
        return text;
    ssize_t n = -1;
    if (bk_dump(fd) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

#endif
