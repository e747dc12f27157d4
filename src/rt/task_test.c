/* SPDX-License-Identifier: MIT
 * Tasks: order of starting, waiting, results, cancellation, failures nobody saw. */
#include <beck/error.h>
#include <beck/future.h>
#include <beck/gather.h>
#include <beck/group.h>
#include <beck/loop.h>

#include "tests/run_helper.h"

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

static void C033_T1_a_task_starts_at_the_next_suspension(void)
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

static void C035_T7_two_tasks_alternate_when_they_yield(void)
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

static void C036_T4_cancelled_before_it_starts_the_body_never_runs(void)
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

static void C037_T3_a_cancel_is_told_where_the_task_waits_and_cleanup_runs(void)
{
    CHECK_EQ(trace_run(t13_main, NULL), 0);
    CHECK_STR(trace_text(), "s req ce fin got");
}

/* asyncio tells of a cancel once, by an exception that cannot be overlooked.  A return code can:
 * so the cancel stays until the task takes it back (docs/adr/0004). */
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

static void C038_C099_N3_differs_a_cancel_is_told_until_uncancel(void)
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

static void C040_T3_a_cancel_of_oneself_is_told_at_the_next_suspension(void)
{
    CHECK_EQ(trace_run(run_and_tell_cancelled, NULL), 0);
    CHECK_STR(trace_text(), "still ce 1");
}

static void C040_T4_a_cancel_of_oneself_just_before_the_end(void)
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

static void C041_T3_cancelling_a_waiter_cancels_what_it_waits_for(void)
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

static void C041_C085_T8_a_shielded_wait_leaves_the_task_running(void)
{
    CHECK_EQ(trace_run(shield_main, NULL), 0);
    CHECK_STR(trace_text(), "ce 99 42");
}

/* In asyncio the cleanup of a cancelled task simply awaits; here it asks for a shield. */
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

static void C044_differs_cleanup_waits_inside_a_shield(void)
{
    CHECK_EQ(trace_run(t21_main, NULL), 0);
    CHECK_STR(trace_text(), "f1 f2 cancelled 1");
}

static int self_wait(void *ctx)
{
    (void)ctx;
    return bk_task_wait(bk_task_current(), NULL);
}

static void C047_waiting_for_oneself_is_an_error(void)
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

static void N4_a_failure_nobody_saw_is_reported(void)
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

static void C048_N4_a_failure_is_reported_though_its_handle_is_held(void)
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

static int names(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, slow_answer, NULL, NULL);
    trace("%s %s", bk_task_name(bk_task_current()), bk_task_name(t));
    bk_task_set_name(t, "renamed");
    trace("%s %zu", bk_task_name(t), bk_task_count());
    bk_task_set_name(t, NULL);
    trace("%s", bk_task_name(t));
    bk_task_free(&t);
    return 0;
}

static void C055_T1_tasks_are_named_after_their_function(void)
{
    CHECK_EQ(trace_run(names, NULL), 0);
    CHECK_STR(trace_text(), "main slow_answer-2 renamed 2 slow_answer-2");
}

static int list_inner(void *ctx)
{
    return bk_sleep(bk_ms((int)(intptr_t)ctx));
}

static int a_function_whose_name_is_longer_than_a_task_name(void *ctx)
{
    return slow_answer(ctx);
}

/* A handle that is never freed keeps a stack: the dump tells. */
LOOP_TEST(N4_kept_handles_of_ended_tasks_are_counted)
{
    bk_task *kept = start(slow_answer, NULL);
    CHECK(strstr(dump_text(), "2 tasks, backend "));
    CHECK_EQ(bk_task_wait(kept, NULL), 0);
    CHECK(strstr(dump_text(), "1 task (not counting 1 ended, with handles not freed), "));
    bk_task_free(&kept);
    CHECK(strstr(dump_text(), "1 task, backend "));
}

LOOP_TEST(C055_T1_default_names_are_unique)
{
    bk_fn *fn = a_function_whose_name_is_longer_than_a_task_name;
    bk_task *a = start(fn, NULL), *b = start(fn, NULL), *c = start(slow_answer, NULL);
    CHECK_STR(bk_task_name(a), "a_function_whose_name_is_long-2");
    CHECK_STR(bk_task_name(b), "a_function_whose_name_is_long-3");
    CHECK(strstr(dump_text(), "#3 a_function_whose_name_is_longer_than_a_task_name: "));
    bk_task_set_name(c, "a name that is longer than 31 bytes, and cut");
    CHECK_STR(bk_task_name(c), "a name that is longer than 31 b");
    CHECK_EQ(finish(&a), 42);
    CHECK_EQ(finish(&b), 42);
    CHECK_EQ(finish(&c), 42);
}

LOOP_TEST(C050_T16_all_tasks_are_listed_oldest_first_without_the_ended)
{
    bk_task *a = start(list_inner, (void *)10), *b = start(list_inner, (void *)20);
    bk_task *ended = start(slow_answer, NULL), *list[8] = {NULL};
    bk_task_cancel(ended);
    let_run(1);
    CHECK(bk_task_done(ended));
    CHECK_EQ(bk_task_count(), 3);
    CHECK_EQ(bk_task_list(list, 8), 3);
    CHECK(list[0] == bk_task_current() && list[1] == a && list[2] == b);
    for (int i = 0; i < 3; i++)
        bk_task_free(&list[i]);
    CHECK_EQ(bk_task_list(list, 2), 2); /* the first ones */
    CHECK(list[1] == a);
    /* A snapshot: the handles stay good whatever becomes of the tasks. */
    bk_task_free(&a);
    CHECK_EQ(finish(&b), 0);
    CHECK(bk_task_done(list[1]));
    bk_task_free(&list[0]);
    bk_task_free(&list[1]);
    bk_task_free(&ended);
    CHECK_EQ(bk_task_list(list, 8), 1);
    bk_task_free(&list[0]);
}

static void T16_outside_a_run_there_is_no_task(void)
{
    CHECK(bk_task_current() == NULL);
    CHECK_EQ(bk_task_list(NULL, 0), 0);
    CHECK_EQ(bk_task_count(), 0);
}

static int say_ctx(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

LOOP_TEST(C034_awaiting_a_coroutine_is_a_call_and_does_not_yield)
{
    CHECK_EQ(bk_call_soon(NULL, say_ctx, "cb"), 0);
    CHECK_EQ(say_ctx("c"), 0);
    trace("after");
    bk_yield();
    CHECK_STR(trace_text(), "c after cb");
}

static int say_current(void *ctx)
{
    trace("%s", bk_task_current() ? bk_task_name(bk_task_current()) : (const char *)ctx);
    return 0;
}

LOOP_TEST(C049_T16_the_current_task_in_tasks_and_in_calls)
{
    bk_task *task = NULL;
    CHECK_EQ(bk_go(&task, say_current, "?", &(bk_task_opts){.name = "child"}), 0);
    CHECK_EQ(bk_call_soon(NULL, say_current, "none"), 0);
    say_current("?");
    CHECK_EQ(finish(&task), 0);
    say_current("?");
    CHECK_STR(trace_text(), "main child none main");
}

CHECK_MAIN(TEST(C033_T1_a_task_starts_at_the_next_suspension),
           TEST(C035_T7_two_tasks_alternate_when_they_yield),
           TEST(C036_T4_cancelled_before_it_starts_the_body_never_runs),
           TEST(C037_T3_a_cancel_is_told_where_the_task_waits_and_cleanup_runs),
           TEST(C038_C099_N3_differs_a_cancel_is_told_until_uncancel),
           TEST(C040_T3_a_cancel_of_oneself_is_told_at_the_next_suspension),
           TEST(C040_T4_a_cancel_of_oneself_just_before_the_end),
           TEST(C041_T3_cancelling_a_waiter_cancels_what_it_waits_for),
           TEST(C041_C085_T8_a_shielded_wait_leaves_the_task_running),
           TEST(C044_differs_cleanup_waits_inside_a_shield),
           TEST(C047_waiting_for_oneself_is_an_error), TEST(N4_a_failure_nobody_saw_is_reported),
           TEST(C048_N4_a_failure_is_reported_though_its_handle_is_held),
           TEST(the_detail_is_never_that_of_an_older_failure),
           TEST(C055_T1_tasks_are_named_after_their_function),
           TEST(C050_T16_all_tasks_are_listed_oldest_first_without_the_ended),
           TEST(N4_kept_handles_of_ended_tasks_are_counted), TEST(C055_T1_default_names_are_unique),
           TEST(T16_outside_a_run_there_is_no_task),
           TEST(C034_awaiting_a_coroutine_is_a_call_and_does_not_yield),
           TEST(C049_T16_the_current_task_in_tasks_and_in_calls))
