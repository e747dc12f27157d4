/* SPDX-License-Identifier: MIT
 * How groups end: all their errors, calling them off, cancels from inside and outside, and children
 * that say when they are ready. */
#include <beck/group.h>
#include <beck/sync.h>

#include "tests/run_helper.h"

static int nap(void *ctx)
{
    int ms = (int)(intptr_t)ctx;
    int r = bk_sleep(bk_ms(ms));
    trace(r == 0 ? "%d" : "x%d", ms);
    return r;
}

static int fail_after(void *ctx)
{
    int ms = (int)(intptr_t)ctx;
    int r = bk_sleep(bk_ms(ms));
    return r < 0 ? r : bk_fail(-EIO, "failed after %d ms", ms);
}

static int fail_when_cancelled(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(9)) < 0 ? bk_fail(-EPIPE, "failed in the cleanup") : 0;
}

static int give_up(void *ctx)
{
    (void)ctx;
    return -ECANCELED;
}

static void say_errors(const bk_errors *errors)
{
    for (size_t i = 0; i < bk_errors_count(errors); i++) {
        const bk_error_report *e = bk_errors_get(errors, i);
        trace("%s:%s", e->task, e->detail);
    }
}

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("report:%s", report->detail);
}

/* Runs body as the main task; what nobody sees is traced. */
static int run_noting(bk_fn *body)
{
    trace_reset();
    return bk_run(body, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = note_report});
}

/* ---- Errors ---- */

static int collect_body(void *ctx)
{
    bk_group *group = NULL;
    bk_errors *errors = NULL;
    int r = bk_group_open(&group, &(bk_group_opts){.errors = ctx ? NULL : &errors});
    if (r == 0)
        r = bk_group_go(group, fail_when_cancelled, NULL, &(bk_task_opts){.name = "late"});
    if (r == 0)
        r = bk_group_go(group, fail_after, (void *)10, &(bk_task_opts){.name = "early"});
    if (r == 0)
        r = bk_group_go(group, give_up, NULL, NULL);
    if (r == 0 && bk_sleep(bk_seconds(9)) < 0)
        r = bk_fail(-ENOENT, "the opener failed too");
    r = bk_group_close(&group, r);
    trace("%d:%s:%zu", r == -EIO, bk_errmsg(), bk_errors_count(errors));
    say_errors(errors);
    bk_errors_free(&errors);
    return bk_cancelling() + bk_yield();
}

static int collect_errors(void *ctx)
{
    (void)ctx;
    return collect_body(NULL);
}

static int collect_no_errors(void *ctx)
{
    (void)ctx;
    return collect_body((void *)1);
}

static void C090_C091_T14_N1_all_errors_in_the_order_of_ending_and_the_openers_last(void)
{
    CHECK_EQ(run_noting(collect_errors), 0);
    CHECK_STR(trace_text(), "1:failed after 10 ms:3 early:failed after 10 ms "
                            "late:failed in the cleanup main:the opener failed too");
}

static void C090_what_is_not_collected_is_reported(void)
{
    CHECK_EQ(run_noting(collect_no_errors), 0);
    CHECK_STR(trace_text(), "report:failed in the cleanup report:the opener failed too "
                            "1:failed after 10 ms:0");
}

static int opener_first(void *ctx)
{
    (void)ctx;
    bk_group *group = NULL;
    bk_errors *errors = NULL;
    int r = bk_group_open(&group, &(bk_group_opts){.errors = &errors});
    if (r == 0)
        r = bk_group_go(group, fail_when_cancelled, NULL, NULL);
    if (r == 0)
        r = bk_yield();
    if (r == 0)
        r = bk_fail(-ENOENT, "the opener failed");
    r = bk_group_close(&group, r);
    trace("%d:%s", r == -ENOENT, bk_errmsg());
    say_errors(errors);
    bk_errors_free(&errors);
    return 0;
}

static void C089_T14_the_openers_failure_is_part_of_the_list(void)
{
    CHECK_EQ(run_noting(opener_first), 0);
    CHECK_STR(trace_text(), "1:the opener failed fail_when_cancelled:failed in the cleanup "
                            "main:the opener failed");
}

static int tolerant(void *ctx)
{
    (void)ctx;
    bk_group *group = NULL;
    int r = bk_group_open(&group, &(bk_group_opts){.keep_going = true});
    if (r == 0)
        r = bk_group_go(group, fail_after, (void *)10, NULL);
    if (r == 0)
        r = bk_sleep(bk_ms(20));
    r = bk_group_close(&group, bk_fail(-ENOENT, "something else"));
    trace("%d:%s", r == -ENOENT, bk_errmsg());
    return 0;
}

static void a_failure_behind_that_of_the_opener_is_reported(void)
{
    CHECK_EQ(run_noting(tolerant), 0);
    CHECK_STR(trace_text(), "report:failed after 10 ms 1:something else");
}

static int many_failures(void *ctx)
{
    (void)ctx;
    bk_group *group = NULL;
    bk_errors *errors = NULL;
    int r = bk_group_open(&group, &(bk_group_opts){.keep_going = true, .errors = &errors});
    for (int i = 0; r == 0 && i < 1030; i++)
        r = bk_group_go(group, fail_after, (void *)(intptr_t)(i / 100), NULL);
    if (r == 0)
        r = bk_group_wait(group);
    trace("%zu", bk_group_failures(group));
    r = bk_group_close(&group, r);
    trace("%d %zu %d", r == -EIO, bk_errors_count(errors), bk_errors_get(errors, 1024) == NULL);
    bk_errors_free(&errors);
    bk_errors_free(&errors);
    return 0;
}

static void a_list_is_bounded_and_the_rest_is_reported(void)
{
    CHECK_EQ(run_noting(many_failures), 0);
    CHECK_STR(trace_text(), "report:failed after 10 ms report:failed after 10 ms "
                            "report:failed after 10 ms report:failed after 10 ms "
                            "report:failed after 10 ms report:failed after 10 ms 1030 1 1024 1");
}

static int gather_errors(void *ctx)
{
    (void)ctx;
    bk_errors *errors = NULL;
    bk_call calls[] = {{.fn = fail_after, .ctx = (void *)20, .name = "slow"},
                       {.fn = fail_after, .ctx = (void *)10, .name = "fast"}};
    int r = bk_gather(calls, 2, &(bk_gather_opts){.collect = true, .errors = &errors});
    say_errors(errors);
    bk_errors_free(&errors);
    return r;
}

static void gather_collects_the_texts_too(void)
{
    CHECK_EQ(run_noting(gather_errors), 0);
    CHECK_STR(trace_text(), "fast:failed after 10 ms slow:failed after 20 ms");
}

/* ---- Cancels from outside ---- */

static int group_of_two(void *ctx)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_go(group, nap, (void *)9000, NULL);
    if (r == 0)
        r = bk_group_go(group, ctx ? fail_when_cancelled : nap, (void *)9001, NULL);
    if (r == 0)
        r = bk_sleep(bk_seconds(9));
    r = bk_group_close(&group, r);
    trace("%s", r == -ECANCELED ? "cancelled" : bk_errmsg());
    trace("%d %d", bk_cancelling(), bk_yield() == -ECANCELED);
    return r;
}

/* Nobody is cancelled before a sibling's failure has gone through the loop. */
static void fail_together(bk_fn *fn)
{
    bk_group *group = NULL;
    bk_errors *errors = NULL;
    CHECK_EQ(bk_group_open(&group, &(bk_group_opts){.errors = &errors}), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(bk_group_go(group, fn, NULL, NULL), 0);
    CHECK_EQ(bk_group_close(&group, 0), -EIO);
    CHECK_EQ(bk_errors_count(errors), 3);
    bk_errors_free(&errors);
    CHECK_EQ(bk_yield(), 0);
}

static int fail_at_once(void *ctx)
{
    (void)ctx;
    return -EIO;
}

static int fail_after_a_yield(void *ctx)
{
    (void)ctx;
    int r = bk_yield();
    return r < 0 ? r : -EIO;
}

LOOP_TEST(C090_T14_children_that_fail_in_one_turn_are_all_told_of)
{
    fail_together(fail_at_once);
    fail_together(fail_after_a_yield);
}

LOOP_TEST(C088_T14_the_opener_that_waits_for_the_child_is_cancelled)
{
    bk_group *group = NULL;
    bk_task *child = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go_task(group, &child, fail_at_once, NULL, NULL), 0);
    CHECK_EQ(bk_task_wait(child, NULL), -ECANCELED);
    CHECK_EQ(bk_group_close(&group, -ECANCELED), -EIO);
    CHECK_EQ(bk_yield(), 0);
    bk_task_free(&child);
}

/* The opener runs before the abort does, and has nobody left to wait for. */
static int fail_then_wake(void *ctx)
{
    bk_event_set(ctx);
    return -EIO;
}

LOOP_TEST(C088_T14_the_opener_closes_before_the_abort_has_come)
{
    bk_group *group = NULL;
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_then_wake, event, NULL), 0);
    CHECK_EQ(bk_event_wait(event), 0);
    CHECK_EQ(bk_group_count(group), 0);
    CHECK_EQ(bk_group_close(&group, 0), -EIO);
    CHECK_EQ(bk_yield(), 0);
    bk_event_free(&event);
}

LOOP_TEST(C092_T14_a_cancel_from_outside_comes_back_as_one)
{
    bk_task *task = start(group_of_two, NULL);
    let_run(2);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "x9000 x9001 cancelled 1 1");
}

/* The error is the result, and the cancel shows at the next call (error_and_cancel). */
LOOP_TEST(C092_T14_a_cancel_from_outside_with_an_error_gives_the_error)
{
    bk_task *task = start(group_of_two, (void *)1);
    let_run(2);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -EPIPE);
    CHECK_STR(trace_text(), "x9000 failed in the cleanup 1 1");
}

static int slow_to_stop(void *ctx)
{
    int *n = ctx;
    bk_sleep(bk_seconds(9));
    ++*n;
    return bk_shield(nap, (void *)30);
}

static int wait_for_slow(void *ctx)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_go(group, slow_to_stop, ctx, NULL);
    r = bk_group_close(&group, r);
    trace("closed");
    return r;
}

LOOP_TEST(T14_close_waits_even_when_cancelled_again_and_again)
{
    int n = 0;
    bk_task *task = start(wait_for_slow, &n);
    let_run(2);
    for (int i = 0; i < 3; i++) {
        bk_task_cancel(task);
        bk_sleep(bk_ms(5));
        CHECK(!bk_task_done(task));
    }
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_EQ(n, 1);
    CHECK_STR(trace_text(), "30 closed");
}

LOOP_TEST(C088_T14_the_openers_cancelling_is_what_it_was)
{
    bk_group *group = NULL;
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_uncancel(), 0);
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_after, (void *)5, NULL), 0);
    CHECK_EQ(bk_sleep(bk_seconds(9)), -ECANCELED);
    CHECK_EQ(bk_cancelling(), 0); /* what the group did is not a request */
    CHECK_EQ(bk_group_close(&group, -ECANCELED), -EIO);
    CHECK_EQ(bk_cancelling(), 0);
    CHECK_EQ(bk_yield(), 0);
}

static int nested_groups(void *ctx)
{
    (void)ctx;
    bk_group *outer = NULL, *inner = NULL;
    int r = bk_group_open(&outer, NULL);
    if (r == 0)
        r = bk_group_go(outer, fail_after, (void *)10, NULL);
    if (r == 0)
        r = bk_group_open(&inner, NULL);
    if (r == 0)
        r = bk_group_go(inner, nap, (void *)9000, NULL);
    r = bk_group_close(&inner, r == 0 ? bk_sleep(bk_seconds(9)) : r);
    trace("inner %s", r == -ECANCELED ? "cancelled" : "?");
    return bk_group_close(&outer, r);
}

LOOP_TEST(C094_T14_an_outer_failure_goes_through_the_inner_group)
{
    CHECK_EQ(nested_groups(NULL), -EIO);
    CHECK_STR(trace_text(), "x9000 inner cancelled");
    CHECK_EQ(bk_yield(), 0);
}

static int fail_twice(void *ctx)
{
    (void)ctx;
    bk_group *outer = NULL, *inner = NULL;
    int r = bk_group_open(&outer, NULL);
    if (r == 0)
        r = bk_group_go(outer, fail_after, (void *)10, NULL);
    if (r == 0)
        r = bk_group_open(&inner, NULL);
    if (r == 0)
        r = bk_group_go(inner, fail_after, (void *)10, NULL);
    r = bk_group_close(&inner, r == 0 ? bk_sleep(bk_seconds(9)) : r);
    trace("%d", r == -EIO);
    trace("%d", bk_yield() == -ECANCELED); /* the outer one still says so */
    return bk_group_close(&outer, r == -EIO ? 0 : r);
}

LOOP_TEST(C094_T14_nested_groups_that_both_fail)
{
    CHECK_EQ(fail_twice(NULL), -EIO);
    CHECK_STR(trace_text(), "1 1");
}

static int start_late(void *ctx)
{
    bk_group *group = ctx;
    int r = bk_sleep(bk_seconds(9));
    trace("%d", bk_group_go(group, nap, (void *)1, NULL) == -ECANCELED);
    return r;
}

LOOP_TEST(C093_C095_T14_nothing_starts_in_a_group_that_ends)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, start_late, group, NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_after, (void *)5, NULL), 0);
    int r = bk_sleep(bk_seconds(9));
    CHECK_EQ(bk_group_go(group, nap, (void *)1, NULL), -ECANCELED);
    CHECK_EQ(bk_group_close(&group, r), -EIO);
    CHECK(group == NULL); /* and after that there is nothing left to start anything in */
    CHECK_STR(trace_text(), "1");
}

static int group_in_time(void *ctx)
{
    return group_of_two(ctx);
}

LOOP_TEST(C096_T13_T14_a_group_inside_a_timeout)
{
    CHECK_EQ(bk_wait_for(group_in_time, NULL, bk_ms(10)), -ETIMEDOUT);
    CHECK_STR(trace_text(), "x9000 x9001 cancelled 0 1");
    CHECK_EQ(bk_yield(), 0);
}

LOOP_TEST(C097_T14_a_group_without_children_ends_at_once)
{
    bk_task *other = start(nap, (void *)0);
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_wait(group), 0);
    CHECK_EQ(bk_group_close(&group, 5), 5);
    CHECK_STR(trace_text(), ""); /* nobody else has run */
    CHECK_EQ(finish(&other), 0);
}

/* ---- Calling off ---- */

static int call_off_after(void *ctx)
{
    bk_group *group = ctx;
    int r = bk_sleep(bk_ms(10));
    if (r == 0)
        bk_group_cancel(group);
    return r;
}

LOOP_TEST(T15_a_child_calls_its_group_off_and_the_opener_is_cancelled)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, call_off_after, group, NULL), 0);
    CHECK_EQ(bk_group_go(group, nap, (void *)9000, NULL), 0);
    int r = bk_sleep(bk_seconds(9));
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_cancelling(), 0);
    CHECK_EQ(bk_group_close(&group, r), 0);
    CHECK_STR(trace_text(), "x9000");
    CHECK_EQ(bk_yield(), 0);
}

LOOP_TEST(T15_calling_off_twice_and_an_empty_group)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    bk_group_cancel(group);
    bk_group_cancel(group);
    CHECK_EQ(bk_yield(), -ECANCELED);
    CHECK_EQ(bk_group_go(group, nap, (void *)1, NULL), -ECANCELED);
    CHECK_EQ(bk_group_close(&group, -ECANCELED), 0);
    CHECK_EQ(bk_yield(), 0);
}

static int call_own_group_off(void *ctx)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_go(group, slow_to_stop, ctx, NULL);
    if (r == 0)
        r = bk_yield();
    bk_group_cancel(group);
    r = bk_group_close(&group, r);
    trace("%s", r == 0 ? "called off" : r == -ECANCELED ? "cancelled" : "?");
    return r;
}

LOOP_TEST(T15_a_cancel_from_outside_that_comes_meanwhile_is_not_swallowed)
{
    int n = 0;
    bk_task *task = start(call_own_group_off, &n);
    bk_sleep(bk_ms(5)); /* called off, and the child still cleans up */
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "30 cancelled");
    task = start(call_own_group_off, &n);
    CHECK_EQ(finish(&task), 0);
}

LOOP_TEST(T15_a_failure_after_calling_off_is_one)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_when_cancelled, NULL, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    bk_group_cancel(group);
    CHECK_EQ(bk_group_close(&group, 0), -EPIPE);
    CHECK_STR(bk_errmsg(), "failed in the cleanup");
    CHECK_EQ(bk_yield(), 0);
}

/* ---- Children that say when they are ready ---- */

static int serve(void *ctx)
{
    int r = bk_sleep(bk_ms(10));
    if (r < 0)
        return r;
    trace("listening");
    bk_started(ctx);
    trace("%s", bk_yield() == 0 ? "serving" : "cut");
    bk_started(NULL); /* said before: nothing */
    return nap((void *)20);
}

LOOP_TEST(C101_a_child_is_ready_before_its_starter_goes_on)
{
    bk_group *group = NULL;
    int port = 0;
    void *value = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_start(group, &value, serve, &port, NULL), 0);
    CHECK(value == &port);
    trace("connect");
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_STR(trace_text(), "listening connect serving 20");
    bk_started(&port); /* the main task has no starter */
    bk_task *alone = start(serve, NULL);
    CHECK_EQ(finish(&alone), 0);
}

static int ready_at_once(void *ctx)
{
    bk_started(ctx);
    return nap((void *)10);
}

LOOP_TEST(C101_T2_an_eager_child_may_be_ready_at_once)
{
    bk_group *group = NULL;
    void *value = NULL;
    int x;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_start(group, &value, ready_at_once, &x, &(bk_task_opts){.eager = true}), 0);
    CHECK(value == &x);
    CHECK_EQ(bk_group_start(group, NULL, fail_after, (void *)0, &(bk_task_opts){.eager = true}),
             -EIO);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_STR(trace_text(), "10");
}

static int end_without_a_word(void *ctx)
{
    (void)ctx;
    return 0;
}

LOOP_TEST(C101_a_failure_before_it_is_ready_goes_to_the_starter_alone)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, nap, (void *)30, NULL), 0);
    CHECK_EQ(bk_group_start(group, NULL, fail_after, (void *)10, NULL), -EIO);
    CHECK_STR(bk_errmsg(), "failed after 10 ms");
    CHECK_EQ(bk_group_start(group, NULL, end_without_a_word, NULL, NULL), -EINVAL);
    CHECK_STR(bk_errmsg(), "task 'end_without_a_word' ended without bk_started");
    CHECK_EQ(bk_group_start(group, NULL, give_up, NULL, NULL), -ECANCELED);
    CHECK_EQ(bk_group_failures(group), 0);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_STR(trace_text(), "30");
}

static int start_a_slow_one(void *ctx)
{
    bk_group *group = NULL;
    void *value = ctx;
    int r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_start(group, &value, slow_to_stop, ctx, NULL);
    trace("%s %d", r == -ECANCELED ? "cancelled" : "?", value == ctx);
    return bk_group_close(&group, r);
}

LOOP_TEST(C101_a_cancel_before_it_is_ready_cancels_the_child)
{
    int n = 0;
    bk_task *task = start(start_a_slow_one, &n);
    let_run(2);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_EQ(n, 1);
    CHECK_STR(trace_text(), "30 cancelled 1");
}

static int fail_instead_of_starting(void *ctx)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_start(group, NULL, fail_when_cancelled, ctx, NULL);
    trace("%d", r == -ECANCELED);
    return bk_group_close(&group, r);
}

/* Nobody waits for it any more: a failure like that of other children. */
LOOP_TEST(C101_a_child_that_fails_after_its_starter_was_cancelled_fails_the_group)
{
    bk_task *task = start(fail_instead_of_starting, NULL);
    let_run(2);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -EPIPE);
    CHECK_STR(trace_text(), "1");
}

LOOP_TEST(C101_a_group_that_aborts_ends_the_start)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_after, (void *)10, NULL), 0);
    int r = bk_group_start(group, NULL, nap, (void *)9000, NULL);
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_group_close(&group, r), -EIO);
}

CHECK_MAIN(TEST(C090_C091_T14_N1_all_errors_in_the_order_of_ending_and_the_openers_last),
           TEST(C090_what_is_not_collected_is_reported),
           TEST(C089_T14_the_openers_failure_is_part_of_the_list),
           TEST(a_failure_behind_that_of_the_opener_is_reported),
           TEST(a_list_is_bounded_and_the_rest_is_reported), TEST(gather_collects_the_texts_too),
           TEST(C090_T14_children_that_fail_in_one_turn_are_all_told_of),
           TEST(C088_T14_the_opener_that_waits_for_the_child_is_cancelled),
           TEST(C088_T14_the_opener_closes_before_the_abort_has_come),
           TEST(C092_T14_a_cancel_from_outside_comes_back_as_one),
           TEST(C092_T14_a_cancel_from_outside_with_an_error_gives_the_error),
           TEST(T14_close_waits_even_when_cancelled_again_and_again),
           TEST(C088_T14_the_openers_cancelling_is_what_it_was),
           TEST(C094_T14_an_outer_failure_goes_through_the_inner_group),
           TEST(C094_T14_nested_groups_that_both_fail),
           TEST(C093_C095_T14_nothing_starts_in_a_group_that_ends),
           TEST(C096_T13_T14_a_group_inside_a_timeout),
           TEST(C097_T14_a_group_without_children_ends_at_once),
           TEST(T15_a_child_calls_its_group_off_and_the_opener_is_cancelled),
           TEST(T15_calling_off_twice_and_an_empty_group),
           TEST(T15_a_cancel_from_outside_that_comes_meanwhile_is_not_swallowed),
           TEST(T15_a_failure_after_calling_off_is_one),
           TEST(C101_a_child_is_ready_before_its_starter_goes_on),
           TEST(C101_T2_an_eager_child_may_be_ready_at_once),
           TEST(C101_a_failure_before_it_is_ready_goes_to_the_starter_alone),
           TEST(C101_a_cancel_before_it_is_ready_cancels_the_child),
           TEST(C101_a_child_that_fails_after_its_starter_was_cancelled_fails_the_group),
           TEST(C101_a_group_that_aborts_ends_the_start))
