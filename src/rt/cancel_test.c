/* SPDX-License-Identifier: MIT
 * Timeout scopes, shields, and how cancels of different origin pass each other. */
#include <beck/gather.h>

#include "rt/rt.h"
#include "tests/run_helper.h"

static int64_t ms_now(void)
{
    return bk_now().ns / 1000000;
}

static int sleep_long(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        trace("inner-cancel");
    return r;
}

static int answer(void *ctx)
{
    (void)ctx;
    return 1;
}

static int fail_key(void *ctx)
{
    (void)ctx;
    return -ENOKEY;
}

static int t28_main(void *ctx)
{
    (void)ctx;
    trace("%d", bk_wait_for(answer, NULL, bk_seconds(1)));
    trace("%d", bk_wait_for(fail_key, NULL, bk_seconds(1)) == -ENOKEY);
    trace("%d", bk_wait_for(sleep_long, NULL, bk_ms(10)) == -ETIMEDOUT);
    return 0;
}

static void C063_T12_wait_for_gives_the_result_the_error_or_a_timeout(void)
{
    CHECK_EQ(trace_run(t28_main, NULL), 0);
    CHECK_STR(trace_text(), "1 1 inner-cancel 1");
}

static int slow_cleanup(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_ms(20));
    trace("cleaned");
    return 0;
}

static int with_cleanup(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    bk_shield(slow_cleanup, NULL);
    return r;
}

static int t29_main(void *ctx)
{
    (void)ctx;
    int64_t start = ms_now();
    trace("%d", bk_wait_for(with_cleanup, NULL, bk_ms(10)) == -ETIMEDOUT);
    trace("%d", (int)(ms_now() - start));
    return 0;
}

static void C064_T12_wait_for_waits_until_the_cleanup_is_over(void)
{
    CHECK_EQ(trace_run(t29_main, NULL), 0);
    CHECK_STR(trace_text(), "cleaned 1 30");
}

static int t30_main(void *ctx)
{
    (void)ctx;
    return bk_wait_for(sleep_long, NULL, bk_ms(0));
}

static void C065_T12_wait_for_zero_does_not_call(void)
{
    CHECK_EQ(trace_run(t30_main, NULL), -ETIMEDOUT);
    CHECK_STR(trace_text(), "");
}

static int t31_body(void *ctx)
{
    (void)ctx;
    int r = bk_wait_for(sleep_long, NULL, bk_seconds(5));
    trace("%d", r == -ECANCELED);
    return r;
}

static int t31_main(void *ctx)
{
    bk_task *t = NULL;
    bk_go(&t, ctx ? sleep_long : t31_body, NULL, NULL);
    bk_yield();
    bk_yield();
    bk_task_cancel(t);
    bk_wait(&t, 1, BK_ALL_COMPLETED, bk_forever());
    trace("%d", bk_task_cancelled(t));
    bk_task_free(&t);
    return 0;
}

static void C066_T12_a_cancel_from_outside_wins_over_wait_for(void)
{
    CHECK_EQ(trace_run(t31_main, NULL), 0);
    CHECK_STR(trace_text(), "inner-cancel 1 1");
}

static int late(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_seconds(9));
    return 77;
}

static int t32_main(void *ctx)
{
    (void)ctx;
    return bk_wait_for(late, NULL, bk_ms(10));
}

static void C067_T12_what_swallows_the_cancel_and_returns_has_succeeded(void)
{
    CHECK_EQ(trace_run(t32_main, NULL), 77);
}

static int t33_main(void *ctx)
{
    (void)ctx;
    bk_timeout *outer = NULL, *inner = NULL;
    bk_timeout_open(&outer, bk_ms(50));
    bk_timeout_open(&inner, bk_ms(10));
    int r = bk_timeout_close(&inner, bk_sleep(bk_seconds(9)));
    trace(r == -ETIMEDOUT ? "inner" : "?");
    r = bk_timeout_close(&outer, bk_sleep(bk_seconds(9)));
    trace(r == -ETIMEDOUT ? "outer" : "?");
    trace("%d %d", bk_cancelling(), bk_yield());
    return 0;
}

static void C070_C074_T13_nested_scopes_each_convert_their_own(void)
{
    CHECK_EQ(trace_run(t33_main, NULL), 0);
    CHECK_STR(trace_text(), "inner outer 0 0");
}

static int t34_main(void *ctx)
{
    (void)ctx;
    bk_timeout *outer = NULL, *inner = NULL;
    bk_timeout_open(&outer, bk_ms(10));
    bk_timeout_open(&inner, bk_seconds(1));
    int r = bk_timeout_close(&inner, bk_sleep(bk_seconds(9)));
    trace(r == -ECANCELED ? "passes" : "wrong");
    r = bk_timeout_close(&outer, r);
    trace(r == -ETIMEDOUT ? "outer" : "?");
    return 0;
}

static void C070_T13_an_outer_timeout_passes_through_the_inner_scope(void)
{
    CHECK_EQ(trace_run(t34_main, NULL), 0);
    CHECK_STR(trace_text(), "passes outer");
}

static int t36_main(void *ctx)
{
    (void)ctx;
    bk_timeout *t = NULL;
    bk_timeout_open(&t, bk_ms(10));
    trace("%d", bk_timeout_reschedule(t, bk_time_add(bk_now(), bk_ms(100))));
    int r = bk_sleep(bk_ms(30));
    trace(r == 0 ? "ok" : "?");
    bk_timeout_close(&t, r);
    bk_timeout_open(&t, bk_ms(-1));
    trace("in %d", bk_timeout_expired(t));
    r = bk_yield();
    trace("%d", bk_timeout_expired(t));
    trace("%d", bk_timeout_reschedule(t, bk_now()) == -EINVAL);
    trace(bk_timeout_close(&t, r) == -ETIMEDOUT ? "TO" : "?");
    bk_timeout_open(&t, bk_ms(-1));
    trace("%d", bk_timeout_close(&t, 5)); /* never suspended: it finishes normally */
    return 0;
}

static void C072_T13_reschedule_and_a_deadline_in_the_past(void)
{
    CHECK_EQ(trace_run(t36_main, NULL), 0);
    CHECK_STR(trace_text(), "0 ok in 0 1 1 TO 5");
}

/* A deadline inside a shield strikes; one outside it waits until the shield is over. */
static int shielded(void *ctx)
{
    (void)ctx;
    trace("%d", bk_sleep(bk_ms(20)));
    trace("%d", bk_wait_for(sleep_long, NULL, bk_ms(5)) == -ETIMEDOUT);
    return 3;
}

static int shield_main(void *ctx)
{
    (void)ctx;
    bk_timeout *t = NULL;
    bk_timeout_open(&t, bk_ms(10));
    trace("%d", bk_shield(shielded, NULL));
    int r = bk_yield();
    trace("%d", r == -ECANCELED);
    return bk_timeout_close(&t, r);
}

static void C100_a_shield_holds_outer_deadlines_back_and_ends_with_its_scope(void)
{
    CHECK_EQ(trace_run(shield_main, NULL), -ETIMEDOUT);
    CHECK_STR(trace_text(), "0 inner-cancel 1 3 1");
}

static size_t n_timers;

static int many_timeouts(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 1000000; i++) {
        bk_timeout *t = NULL;
        if (bk_timeout_open(&t, bk_seconds(10)) < 0)
            return 1;
        if (bk_timeout_close(&t, 0) != 0)
            return 2;
    }
    n_timers = bki_loop->timers.len;
    return bk_sleep(bk_ms(1));
}

static void C077_T13_a_million_timeouts_armed_and_disarmed_leave_no_timer(void)
{
    CHECK_EQ(trace_run(many_timeouts, NULL), 0);
    CHECK_EQ(n_timers, 0);
}

static int sleep_order(void *ctx)
{
    int n = (int)(intptr_t)ctx;
    bk_sleep(bk_ms(10 * (n / 10)));
    trace("%d", n);
    return 0;
}

static int timers_main(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = sleep_order, .ctx = (void *)31},
                       {.fn = sleep_order, .ctx = (void *)11},
                       {.fn = sleep_order, .ctx = (void *)21},
                       {.fn = sleep_order, .ctx = (void *)12},
                       {.fn = sleep_order, .ctx = (void *)13}};
    int64_t start = ms_now();
    int r = bk_gather(calls, 5, NULL);
    trace("%d", (int)(ms_now() - start));
    return r;
}

static void N6_sleepers_by_time_then_first_come(void)
{
    CHECK_EQ(trace_run(timers_main, NULL), 0);
    CHECK_STR(trace_text(), "11 12 13 21 31 30");
}

LOOP_TEST(C058_T7_a_cancelled_sleep_releases_its_timer)
{
    bk_task *task = start(sleep_long, NULL);
    let_run(1);
    CHECK_EQ(bki_loop->timers.len, 1);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_EQ(bki_loop->timers.len, 0);
}

LOOP_TEST(T7_a_sleep_of_zero_gives_way_once)
{
    bk_task *task = start(sleep_order, (void *)5);
    CHECK_EQ(bk_sleep(bk_ms(0)), 0);
    trace("a");
    CHECK_EQ(bk_sleep(bk_ms(-5)), 0);
    trace("b");
    CHECK_EQ(finish(&task), 0);
    CHECK_STR(trace_text(), "a 5 b");
}

static int foreign_cancel_main(void *ctx)
{
    (void)ctx;
    bk_timeout *t = NULL;
    int r = bk_timeout_open(&t, bk_ms(5));
    if (r == 0)
        r = bk_sleep(bk_seconds(9));
    trace("%d", r == -ECANCELED);
    bk_shield(slow_cleanup, NULL); /* the limit passes meanwhile */
    return bk_timeout_close(&t, r);
}

LOOP_TEST(C071_T13_a_cancel_from_outside_stays_one_when_the_scope_expires_later)
{
    bk_task *task = start(foreign_cancel_main, NULL);
    let_run(1);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "1 cleaned");
}

LOOP_TEST(C073_T13_a_block_that_never_suspends_finishes_normally)
{
    bk_timeout *t = NULL;
    CHECK_EQ(bk_timeout_open(&t, bk_ms(0)), 0);
    CHECK_EQ(bk_timeout_close(&t, 5), 5);
    CHECK(t == NULL);
    CHECK_EQ(bk_yield(), 0);
}

LOOP_TEST(T13_a_deadline_of_now_is_seen_by_a_sleep_of_zero)
{
    bk_timeout *t = NULL;
    CHECK_EQ(bk_timeout_open(&t, bk_ms(0)), 0);
    int r = bk_sleep(bk_ms(0));
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_timeout_close(&t, r), -ETIMEDOUT);
}

LOOP_TEST(C074_T13_after_a_timeout_cancelling_is_what_it_was)
{
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_cancelling(), 1);
    CHECK_EQ(bk_wait_for(sleep_long, NULL, bk_ms(5)), -ECANCELED);
    CHECK_EQ(bk_cancelling(), 1);
    CHECK_EQ(bk_uncancel(), 0);
    CHECK_EQ(bk_wait_for(sleep_long, NULL, bk_ms(5)), -ETIMEDOUT);
    CHECK_EQ(bk_cancelling(), 0);
}

static int fail_at_expiry(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(9)) < 0 ? bk_fail(-EIO, "the last write failed") : 0;
}

LOOP_TEST(C075_T13_another_error_at_expiry_is_kept)
{
    CHECK_EQ(bk_wait_for(fail_at_expiry, NULL, bk_ms(5)), -EIO);
    CHECK_STR(bk_errmsg(), "the last write failed");
}

LOOP_TEST(C076_T13_a_scope_is_not_entered_twice)
{
    bk_timeout *t = NULL;
    CHECK_EQ(bk_timeout_open(&t, bk_seconds(1)), 0);
    CHECK_EQ(bk_timeout_open(&t, bk_seconds(2)), -EINVAL);
    CHECK_STR(bk_errmsg(), "this timeout is open already");
    CHECK_EQ(bk_timeout_close(&t, 0), 0);
    CHECK_EQ(bk_timeout_close(&t, 7), 7);
}

LOOP_TEST(T13_reschedule_to_never_and_back)
{
    bk_timeout *t = NULL;
    CHECK_EQ(bk_timeout_open(&t, bk_ms(5)), 0);
    CHECK_EQ(bk_timeout_when(t).ns, bk_ms(5).ns);
    CHECK_EQ(bk_timeout_reschedule(t, bk_time_add(bk_now(), bk_forever())), 0);
    CHECK_EQ(bk_timeout_when(t).ns, BK_FOREVER_NS);
    CHECK_EQ(bk_sleep(bk_seconds(9)), 0);
    CHECK(!bk_timeout_expired(t));
    CHECK_EQ(bk_timeout_reschedule(t, bk_now()), 0);
    CHECK_EQ(bk_yield(), -ECANCELED);
    CHECK(bk_timeout_expired(t));
    CHECK_EQ(bk_timeout_reschedule(t, bk_now()), -EINVAL);
    CHECK_EQ(bk_timeout_close(&t, -ECANCELED), -ETIMEDOUT);
}

/* One scope in another that has struck at the same moment: the outermost says so. */
LOOP_TEST(T13_when_both_have_struck_the_owner_converts)
{
    bk_timeout *outer = NULL, *inner = NULL;
    CHECK_EQ(bk_timeout_open(&outer, bk_ms(5)), 0);
    CHECK_EQ(bk_timeout_open(&inner, bk_ms(5)), 0);
    int r = bk_sleep(bk_seconds(9));
    CHECK(bk_timeout_expired(outer) && bk_timeout_expired(inner));
    r = bk_timeout_close(&inner, r);
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_timeout_close(&outer, r), -ETIMEDOUT);
}

CHECK_MAIN(TEST(C063_T12_wait_for_gives_the_result_the_error_or_a_timeout),
           TEST(C064_T12_wait_for_waits_until_the_cleanup_is_over),
           TEST(C065_T12_wait_for_zero_does_not_call),
           TEST(C066_T12_a_cancel_from_outside_wins_over_wait_for),
           TEST(C067_T12_what_swallows_the_cancel_and_returns_has_succeeded),
           TEST(C070_C074_T13_nested_scopes_each_convert_their_own),
           TEST(C070_T13_an_outer_timeout_passes_through_the_inner_scope),
           TEST(C072_T13_reschedule_and_a_deadline_in_the_past),
           TEST(C100_a_shield_holds_outer_deadlines_back_and_ends_with_its_scope),
           TEST(C077_T13_a_million_timeouts_armed_and_disarmed_leave_no_timer),
           TEST(N6_sleepers_by_time_then_first_come),
           TEST(C058_T7_a_cancelled_sleep_releases_its_timer),
           TEST(T7_a_sleep_of_zero_gives_way_once),
           TEST(C071_T13_a_cancel_from_outside_stays_one_when_the_scope_expires_later),
           TEST(C073_T13_a_block_that_never_suspends_finishes_normally),
           TEST(T13_a_deadline_of_now_is_seen_by_a_sleep_of_zero),
           TEST(C074_T13_after_a_timeout_cancelling_is_what_it_was),
           TEST(C075_T13_another_error_at_expiry_is_kept),
           TEST(C076_T13_a_scope_is_not_entered_twice), TEST(T13_reschedule_to_never_and_back),
           TEST(T13_when_both_have_struck_the_owner_converts))
