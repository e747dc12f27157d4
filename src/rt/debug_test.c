/* SPDX-License-Identifier: MIT
 * Debug mode: failures say where they come from, what is left is told with the line that made it,
 * what is slow is told; without it, nothing of that. */
#include <stdlib.h>

#include <beck/future.h>
#include <beck/group.h>

#include "rt/debug.h"
#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

enum { MOST = 8 };

static struct {
    int n;
    char text[MOST][300];
} seen;

static void note(void *ctx, const bk_error_report *r)
{
    (void)ctx;
    if (seen.n < MOST)
        snprintf(seen.text[seen.n++], sizeof seen.text[0], "%s|%s|%d|%s|%s", r->what, r->task,
                 r->result, r->detail, r->origin);
}

static void no_stalls(void *ctx, const bk_stall_report *report)
{
    (void)ctx, (void)report;
}

static int run_mode(bk_fn *fn, bool debug)
{
    memset(&seen, 0, sizeof seen);
    return bk_run(
        fn, NULL,
        &(bk_run_opts){
            .clock = BK_CLOCK_VIRTUAL, .on_error = note, .on_stall = no_stalls, .debug = debug});
}

/* "started in function (debug_test.c:LINE)", or its beginning where there are no lines. */
static const char *at(const char *verb, const char *function, int line)
{
    static char text[200];
#ifdef __OPTIMIZE__
    (void)line;
    snprintf(text, sizeof text, "%s in %s", verb, function);
#else
    snprintf(text, sizeof text, "%s in %s (debug_test.c:%d)", verb, function, line);
#endif
    return text;
}

#define CHECK_SEEN(i, begin, origin)                                                               \
    do {                                                                                           \
        CHECK(strncmp(seen.text[i], begin, strlen(begin)) == 0);                                   \
        CHECK(strstr(seen.text[i] + strlen(begin), origin));                                       \
    } while (0)

static int fail(void *ctx)
{
    (void)ctx;
    return bk_fail(-EIO, "the disk is gone");
}

static int start_line, make_line;

static __attribute__((noinline)) int start_failing(void)
{
    start_line = __LINE__ + 1;
    int r = bk_go(NULL, fail, NULL, NULL);
    __asm__ volatile("" ::: "memory");
    return r;
}

static int failing_task(void *ctx)
{
    (void)ctx;
    int r = start_failing();
    return r < 0 ? r : bk_sleep(bk_ms(1));
}

static void D2_N4_a_failure_nobody_saw_says_where_it_was_started(void)
{
    CHECK_EQ(run_mode(failing_task, true), 0);
    CHECK_EQ(seen.n, 1);
    CHECK_SEEN(0, "task failed and nobody waited for it|fail|-5|the disk is gone|",
               at("started", "start_failing", start_line));
    CHECK_EQ(run_mode(failing_task, false), 0);
    CHECK_STR(seen.text[0], "task failed and nobody waited for it|fail|-5|the disk is gone|");
}

static __attribute__((noinline)) bk_future *make_future(void)
{
    bk_future *future = NULL;
    make_line = __LINE__ + 1;
    int r = bk_future_new(&future);
    __asm__ volatile("" : : "r"(r) : "memory");
    return r == 0 ? future : NULL;
}

static int failing_future(void *ctx)
{
    bk_future *future = make_future();
    (void)ctx;
    bk_future_set(future, -EIO, NULL);
    bk_future_free(&future);
    return 0;
}

static void D2_F3_a_failed_future_says_where_it_was_made(void)
{
    CHECK_EQ(run_mode(failing_future, true), 0);
    CHECK_EQ(seen.n, 1);
    CHECK_SEEN(0, "future failed and nobody looked at it||-5||",
               at("made", "make_future", make_line));
}

static bk_future *left;

static int leave_things(void *ctx)
{
    bk_task *task = NULL;
    (void)ctx;
    left = make_future();
    bk_future *freed = make_future();
    bk_future_free(&freed);
    start_line = __LINE__ + 1;
    int r = bk_go(&task, fail, NULL, &(bk_task_opts){.name = "forgotten"});
    if (r == 0)
        bk_task_wait(task, NULL);
    return r;
}

static void D2_N4_what_is_left_is_told_with_its_line(void)
{
    CHECK_EQ(run_mode(leave_things, true), 0);
    CHECK_EQ(seen.n, 2);
    CHECK_SEEN(0, "a task's handle was not freed|forgotten|0||",
               at("started", "leave_things", start_line));
    CHECK_SEEN(1, "a future was not freed||0||", at("made", "make_future", make_line));
    bk_future_free(&left);
    CHECK_EQ(run_mode(leave_things, false), 0);
    CHECK_EQ(seen.n, 0);
    bk_future_free(&left);
}

static int debug_is_on(void *ctx)
{
    (void)ctx;
    return bki_debug_on();
}

static void D2_the_environment_turns_it_on(void)
{
    CHECK_EQ(run_mode(debug_is_on, false), 0);
    CHECK_EQ(setenv("BECK_DEBUG", "1", 1), 0);
    CHECK_EQ(run_mode(debug_is_on, false), 1);
    CHECK_EQ(setenv("BECK_DEBUG", "0", 1), 0);
    CHECK_EQ(run_mode(debug_is_on, false), 0);
    CHECK_EQ(unsetenv("BECK_DEBUG"), 0);
    CHECK_EQ(run_mode(debug_is_on, true), 1);
}

static int be_slow(void *ctx)
{
    (void)ctx;
    int64_t since = bki_debug_clock_ns();
    bki_debug_slow(since - bk_seconds(2).ns, bk_seconds(1).ns, "a thing was slow", "it");
    bki_debug_slow(since, bk_seconds(1).ns, "a thing was quick", "it");
    return 0;
}

static void D2_what_is_slow_is_told(void)
{
    CHECK_EQ(run_mode(be_slow, true), 0);
    CHECK_EQ(seen.n, 1);
    CHECK(strncmp(seen.text[0], "a thing was slow||0|it: 1.0", 27) == 0);
    CHECK_EQ(run_mode(be_slow, false), 0);
    CHECK_EQ(seen.n, 0);
}

static int work_a_little(void *ctx)
{
    bk_future *future = NULL;
    (void)ctx;
    int r = bk_future_new(&future);
    bk_future_free(&future);
    return r;
}

static int run_it(void *ctx)
{
    return bk_run(work_a_little, ctx, &(bk_run_opts){.debug = true, .on_stall = no_stalls});
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(run_it, NULL) > 6);
}

CHECK_MAIN(TEST(D2_N4_a_failure_nobody_saw_says_where_it_was_started),
           TEST(D2_F3_a_failed_future_says_where_it_was_made),
           TEST(D2_N4_what_is_left_is_told_with_its_line), TEST(D2_the_environment_turns_it_on),
           TEST(D2_what_is_slow_is_told), TEST(every_allocation_may_fail))
