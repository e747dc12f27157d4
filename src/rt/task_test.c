/* SPDX-License-Identifier: MIT
 * Tasks: order of starting, waiting, results, cancellation, failures nobody saw.  Where a test
 * mirrors one of CPython's asyncio traces, its name says so (t05...). */
#include <beck/group.h>

#include "tests/trace.h"

static int say_c(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

static int t05_main(void *ctx)
{
    (void)ctx;
    bk_go(NULL, say_c, (void *)"c", NULL);
    trace("a");
    bk_yield();
    trace("b");
    return 0;
}

static void t05_task_starts_next_iteration(void)
{
    CHECK_EQ(trace_run(t05_main, NULL), 0);
    CHECK_STR(trace_text(), "a c b");
}

static int three_turns(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        trace("%s%d", (const char *)ctx, i);
        bk_yield();
    }
    return 0;
}

static int t06_main(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = three_turns, .ctx = (void *)"a"},
                       {.fn = three_turns, .ctx = (void *)"b"}};
    return bk_gather(calls, 2, NULL);
}

static void t06_two_tasks_interleave_at_sleep0(void)
{
    CHECK_EQ(trace_run(t06_main, NULL), 0);
    CHECK_STR(trace_text(), "a0 b0 a1 b1 a2 b2");
}

static int never(void *ctx)
{
    (void)ctx;
    trace("no");
    return 0;
}

static int t12_main(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 1;
    bk_go(&t, never, NULL, NULL);
    trace("%d", bk_task_cancel(t));
    int r = bk_task_wait_shielded(t, &result);
    trace("%d %s %d", r, result == -ECANCELED ? "cancelled" : "?", bk_task_cancelled(t));
    bk_task_free(&t);
    return 0;
}

static void t12_cancel_before_start_never_runs_body(void)
{
    CHECK_EQ(trace_run(t12_main, NULL), 0);
    CHECK_STR(trace_text(), "1 0 cancelled 1");
}

static int t13_body(void *ctx)
{
    (void)ctx;
    trace("s");
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        trace("ce");
    trace("fin");
    return r;
}

static int t13_main(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 0;
    bk_go(&t, t13_body, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    trace("req");
    bk_task_wait(t, &result);
    if (result == -ECANCELED)
        trace("got");
    bk_task_free(&t);
    return 0;
}

static void t13_cancel_delivered_at_await_and_finally_runs(void)
{
    CHECK_EQ(trace_run(t13_main, NULL), 0);
    CHECK_STR(trace_text(), "s req ce fin got");
}

/* Level-triggered: the cancel stays until the task takes it back. */
static int t14_body(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) == -ECANCELED)
        trace("swallow");
    trace(bk_yield() == -ECANCELED ? "still" : "gone");
    trace("%d", bk_cancelling());
    bk_uncancel();
    trace(bk_yield() == 0 ? "works" : "fails");
    return 7;
}

static int t14_main(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 0;
    bk_go(&t, t14_body, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    bk_task_wait(t, &result);
    trace("%d %d", result, bk_task_cancelled(t));
    bk_task_free(&t);
    return 0;
}

static void cancel_is_level_triggered_until_uncancel(void)
{
    CHECK_EQ(trace_run(t14_main, NULL), 0);
    CHECK_STR(trace_text(), "swallow still 1 works 7 0");
}

static int t16_body(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
    trace("still");
    int r = bk_yield();
    if (r == -ECANCELED)
        trace("ce");
    return r;
}

static int t17_body(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
    return 5;
}

static int run_and_tell_cancelled(void *ctx)
{
    bk_task *t = NULL;
    bk_go(&t, ctx ? t17_body : t16_body, NULL, NULL);
    bk_wait(&t, 1, BK_ALL_COMPLETED, bk_forever());
    trace("%d", bk_task_cancelled(t));
    bk_task_free(&t);
    return 0;
}

static void t16_self_cancel_raises_at_next_await(void)
{
    CHECK_EQ(trace_run(run_and_tell_cancelled, NULL), 0);
    CHECK_STR(trace_text(), "still ce 1");
}

static void t17_self_cancel_then_return_is_cancelled(void)
{
    CHECK_EQ(trace_run(run_and_tell_cancelled, (void *)1), 0);
    CHECK_STR(trace_text(), "1");
}

static int t18_inner(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        trace("inner");
    return r;
}

static int t18_outer(void *ctx)
{
    int result = 0;
    int r = bk_task_wait(ctx, &result);
    if (r == -ECANCELED && result == -ECANCELED)
        trace("outer");
    return r;
}

static int t18_main(void *ctx)
{
    (void)ctx;
    bk_task *inner = NULL, *outer = NULL;
    bk_go(&inner, t18_inner, NULL, NULL);
    bk_go(&outer, t18_outer, inner, NULL);
    bk_yield();
    bk_yield();
    bk_task_cancel(outer);
    bk_wait(&outer, 1, BK_ALL_COMPLETED, bk_forever());
    trace("%d%d", bk_task_cancelled(inner), bk_task_cancelled(outer));
    bk_task_free(&inner);
    bk_task_free(&outer);
    return 0;
}

static void t18_cancel_awaiting_task_cancels_the_awaited_task(void)
{
    CHECK_EQ(trace_run(t18_main, NULL), 0);
    CHECK_STR(trace_text(), "inner outer 11");
}

static int wait_shielded(void *ctx)
{
    int result = 99;
    int r = bk_task_wait_shielded(ctx, &result);
    trace("%s %d", r == -ECANCELED ? "ce" : "?", result);
    return r;
}

static int slow_answer(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_ms(50));
    return r < 0 ? r : 42;
}

static int shield_main(void *ctx)
{
    (void)ctx;
    bk_task *inner = NULL, *outer = NULL;
    int result = 0;
    bk_go(&inner, slow_answer, NULL, NULL);
    bk_go(&outer, wait_shielded, inner, NULL);
    bk_yield();
    bk_yield();
    bk_task_cancel(outer);
    bk_task_wait(inner, &result);
    trace("%d", result);
    bk_task_free(&inner);
    bk_task_free(&outer);
    return 0;
}

static void shielded_wait_leaves_the_task_running(void)
{
    CHECK_EQ(trace_run(shield_main, NULL), 0);
    CHECK_STR(trace_text(), "ce 99 42");
}

static int cleanup(void *ctx)
{
    (void)ctx;
    trace("f1");
    int r = bk_sleep(bk_ms(10));
    trace(r == 0 ? "f2" : "cut");
    return r;
}

static int t21_body(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    bk_shield(cleanup, NULL);
    trace(bk_yield() == -ECANCELED ? "cancelled" : "lost");
    return r;
}

static int t21_main(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, t21_body, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    bk_wait(&t, 1, BK_ALL_COMPLETED, bk_forever());
    trace("%d", bk_task_cancelled(t));
    bk_task_free(&t);
    return 0;
}

static void t21_cleanup_may_wait_inside_a_shield(void)
{
    CHECK_EQ(trace_run(t21_main, NULL), 0);
    CHECK_STR(trace_text(), "f1 f2 cancelled 1");
}

static int self_wait(void *ctx)
{
    (void)ctx;
    return bk_task_wait(bk_task_current(), NULL);
}

static void waiting_for_oneself_is_an_error(void)
{
    CHECK_EQ(trace_run(self_wait, NULL), -EDEADLK);
    CHECK_STR(bk_errmsg(), "a task waited for itself");
}

static int fails(void *ctx)
{
    (void)ctx;
    return bk_fail(-EIO, "disk %d is gone", 3);
}

static int leave_a_failure(void *ctx)
{
    bk_task *t = NULL;
    bk_go(ctx ? &t : NULL, fails, NULL, NULL);
    bk_yield();
    bk_yield();
    if (t) {
        trace("%d %s", bk_task_result(t) == -EIO, bk_task_errmsg(t));
        bk_task_free(&t);
    }
    return 0;
}

static void count_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("report:%s:%s", report->task, report->detail);
}

static void a_failure_nobody_saw_is_reported(void)
{
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = count_report};
    trace_reset();
    CHECK_EQ(bk_run(leave_a_failure, NULL, &opts), 0);
    CHECK_STR(trace_text(), "report:fails:disk 3 is gone");
    trace_reset();
    CHECK_EQ(bk_run(leave_a_failure, (void *)1, &opts), 0);
    CHECK_STR(trace_text(), "1 disk 3 is gone");
}

static int hold_a_failure(void *ctx)
{
    bk_task **t = ctx;
    bk_go(t, fails, NULL, NULL);
    bk_yield();
    bk_yield();
    return 0;
}

static void a_failure_is_reported_though_its_handle_is_held(void)
{
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = count_report};
    bk_task *t = NULL;
    trace_reset();
    CHECK_EQ(bk_run(hold_a_failure, &t, &opts), 0);
    CHECK_STR(trace_text(), "report:fails:disk 3 is gone");
}

static int stale_detail(void *ctx)
{
    (void)ctx;
    bk_fail(-EIO, "an older failure");
    int r = bk_wait_for(slow_answer, NULL, bk_ms(1));
    trace("%d:%s", r == -ETIMEDOUT, bk_errmsg());
    bk_fail(-EIO, "an older failure");
    bk_task_cancel(bk_task_current());
    r = bk_yield();
    trace("%d:%s", r == -ECANCELED, bk_errmsg());
    bk_uncancel();
    return 0;
}

static void the_detail_is_never_that_of_an_older_failure(void)
{
    CHECK_EQ(trace_run(stale_detail, NULL), 0);
    CHECK_STR(trace_text(), "1:not done within the time limit 1:");
    CHECK_STR(bk_errmsg(), "");
}

static int wait_conditions(void *ctx)
{
    (void)ctx;
    bk_task *t[3] = {NULL};
    bk_go(&t[0], slow_answer, NULL, NULL);
    bk_go(&t[1], fails, NULL, NULL);
    bk_go(&t[2], t18_inner, NULL, NULL);
    trace("%d", bk_wait(t, 3, BK_FIRST_COMPLETED, bk_forever()));
    trace("%d", bk_wait(t, 3, BK_FIRST_ERROR, bk_forever()));
    trace("%d", bk_wait(t, 3, BK_ALL_COMPLETED, bk_ms(100)));
    trace("%d", bk_wait(t, 2, BK_ALL_COMPLETED, bk_forever()));
    trace("%d", bk_wait(t, 0, BK_ALL_COMPLETED, bk_forever()) == -EINVAL);
    for (int i = 0; i < 3; i++) {
        bk_task_result(t[i]);
        bk_task_free(&t[i]);
    }
    return 0;
}

static void wait_until_first_all_or_the_limit(void)
{
    CHECK_EQ(trace_run(wait_conditions, NULL), 0);
    CHECK_STR(trace_text(), "1 1 2 2 1 inner");
}

static int names(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, slow_answer, NULL, NULL);
    trace("%s %s", bk_task_name(bk_task_current()), bk_task_name(t));
    bk_task_set_name(t, "renamed");
    trace("%s %zu", bk_task_name(t), bk_task_count());
    bk_task_free(&t);
    return 0;
}

static void tasks_are_named_after_their_function(void)
{
    CHECK_EQ(trace_run(names, NULL), 0);
    CHECK_STR(trace_text(), "main slow_answer renamed 2");
}

CHECK_MAIN(TEST(t05_task_starts_next_iteration), TEST(t06_two_tasks_interleave_at_sleep0),
           TEST(t12_cancel_before_start_never_runs_body),
           TEST(t13_cancel_delivered_at_await_and_finally_runs),
           TEST(cancel_is_level_triggered_until_uncancel),
           TEST(t16_self_cancel_raises_at_next_await),
           TEST(t17_self_cancel_then_return_is_cancelled),
           TEST(t18_cancel_awaiting_task_cancels_the_awaited_task),
           TEST(shielded_wait_leaves_the_task_running), TEST(t21_cleanup_may_wait_inside_a_shield),
           TEST(waiting_for_oneself_is_an_error), TEST(a_failure_nobody_saw_is_reported),
           TEST(a_failure_is_reported_though_its_handle_is_held),
           TEST(the_detail_is_never_that_of_an_older_failure),
           TEST(wait_until_first_all_or_the_limit), TEST(tasks_are_named_after_their_function))
