/* SPDX-License-Identifier: MIT
 * Callbacks of tasks. */
#include <beck/loop.h>
#include <beck/task.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static int say(void *ctx, bk_task *task)
{
    trace("%s=%d", (const char *)ctx, bk_task_done(task) ? bk_task_result(task) : 99);
    return 0;
}

static int answer(void *ctx)
{
    (void)ctx;
    trace("ends");
    return 7;
}

LOOP_TEST(C025_C026_F2_T1_a_task_calls_back_like_a_future)
{
    bk_task *t = NULL;
    CHECK_EQ(bk_go(&t, answer, NULL, NULL), 0);
    CHECK_EQ(bk_task_add_done_callback(t, say, "a"), 0);
    CHECK_EQ(bk_task_add_done_callback(t, say, "b"), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "ends a=7 b=7");
    CHECK_EQ(bk_task_add_done_callback(t, say, "c"), 0); /* it has ended */
    trace("added");
    bk_task_free(&t); /* the callback keeps it */
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "ends a=7 b=7 added c=7");
}

static int wait_long(void *ctx)
{
    (void)ctx;
    return bk_sleep_forever();
}

LOOP_TEST(C027_F2_removed_and_cancelled)
{
    static char a[] = "a", b[] = "b";
    bk_task *t = start(wait_long, NULL);
    CHECK_EQ(bk_task_add_done_callback(t, say, a), 0);
    CHECK_EQ(bk_task_add_done_callback(t, say, b), 0);
    CHECK_EQ(bk_task_add_done_callback(t, say, a), 0);
    CHECK_EQ(bk_task_remove_done_callback(t, say, a), 2);
    CHECK_EQ(bk_task_remove_done_callback(t, say, a), 0);
    CHECK_EQ(bk_yield(), 0);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_EQ(bk_yield(), 0);
    char want[32];
    snprintf(want, sizeof want, "b=%d", -ECANCELED);
    CHECK_STR(trace_text(), want);
}

static int fail(void *ctx)
{
    (void)ctx;
    return -EIO;
}

static int look_away(void *ctx, bk_task *task)
{
    (void)ctx;
    (void)task;
    return 0;
}

static int fail_back(void *ctx, bk_task *task)
{
    (void)ctx;
    (void)task;
    return -EPIPE;
}

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("[%s: %s%s]", report->what, report->task, report->call);
}

static int failures(void *ctx)
{
    bk_task *t = NULL;
    (void)ctx;
    int r = bk_go(&t, fail, NULL, &(bk_task_opts){.name = "bad"});
    if (r == 0)
        r = bk_task_add_done_callback(t, look_away, NULL);
    if (r == 0)
        r = bk_task_add_done_callback(t, fail_back, NULL);
    bk_task_free(&t);
    bk_sleep(bk_ms(1));
    return r;
}

/* The task is kept until its callbacks have had a chance to look at it. */
static void C008_D1_F3_a_failing_callback_and_a_failure_nobody_saw(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = note_report};
    CHECK_EQ(bk_run(failures, NULL, &opts), 0);
    CHECK_STR(trace_text(), "[callback of a task failed: fail_back] "
                            "[task failed and nobody waited for it: bad]");
}

static void ignore_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    (void)report;
}

static int add_run(void *ctx)
{
    return bk_run(failures, ctx,
                  &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = ignore_report});
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(add_run, NULL) > 5);
}

CHECK_MAIN(TEST(C025_C026_F2_T1_a_task_calls_back_like_a_future),
           TEST(C027_F2_removed_and_cancelled),
           TEST(C008_D1_F3_a_failing_callback_and_a_failure_nobody_saw),
           TEST(every_allocation_may_fail))
