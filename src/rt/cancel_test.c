/* SPDX-License-Identifier: MIT
 * Timeout scopes, shields, and how cancels of different origin pass each other. */
#include <beck/task.h>

#include "tests/trace.h"

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

static void t28_wait_for_ok_error_timeout(void)
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

static void t29_wait_for_waits_until_the_cleanup_is_over(void)
{
    CHECK_EQ(trace_run(t29_main, NULL), 0);
    CHECK_STR(trace_text(), "cleaned 1 30");
}

static int t30_main(void *ctx)
{
    (void)ctx;
    return bk_wait_for(sleep_long, NULL, bk_ms(0));
}

static void t30_wait_for_zero_does_not_call(void)
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

static void t31_wait_for_outer_cancel_wins(void)
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

static void t32_inner_swallows_the_cancel_and_returns(void)
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

static void t33_nested_scopes_each_convert_their_own(void)
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

static void t34_outer_timeout_is_not_caught_by_inner(void)
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

static void t36_reschedule_and_past_deadline(void)
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

static void a_shield_holds_outer_deadlines_back(void)
{
    CHECK_EQ(trace_run(shield_main, NULL), -ETIMEDOUT);
    CHECK_STR(trace_text(), "0 inner-cancel 1 3 1");
}

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
    return bk_sleep(bk_ms(1));
}

static void a_million_timeouts_armed_and_disarmed(void)
{
    CHECK_EQ(trace_run(many_timeouts, NULL), 0);
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

static void t03_timers_by_time_then_first_come(void)
{
    CHECK_EQ(trace_run(timers_main, NULL), 0);
    CHECK_STR(trace_text(), "11 12 13 21 31 30");
}

CHECK_MAIN(TEST(t28_wait_for_ok_error_timeout), TEST(t29_wait_for_waits_until_the_cleanup_is_over),
           TEST(t30_wait_for_zero_does_not_call), TEST(t31_wait_for_outer_cancel_wins),
           TEST(t32_inner_swallows_the_cancel_and_returns),
           TEST(t33_nested_scopes_each_convert_their_own),
           TEST(t34_outer_timeout_is_not_caught_by_inner), TEST(t36_reschedule_and_past_deadline),
           TEST(a_shield_holds_outer_deadlines_back), TEST(a_million_timeouts_armed_and_disarmed),
           TEST(t03_timers_by_time_then_first_come))
