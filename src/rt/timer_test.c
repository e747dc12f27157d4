/* SPDX-License-Identifier: MIT
 * Timers of one instant: calls, sleeps and timeouts against each other, in asyncio's order (checked
 * with CPython).  All calls of the instant are made before a task that it wakes runs. */
#include <beck/future.h>
#include <beck/loop.h>
#include <beck/task.h>

#include "tests/run_helper.h"

static bk_future *future;

static int say(void *ctx)
{
    trace("%s", (char *)ctx);
    return 0;
}

static int sleep_and_say(void *ctx)
{
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : say(ctx);
}

static int wait_and_say(void *ctx)
{
    int r = bk_future_wait(future, NULL, NULL);
    return r < 0 ? r : say(ctx);
}

static int settle(void *ctx)
{
    say(ctx);
    return bk_future_set(future, 1, NULL);
}

static int cancel(void *ctx)
{
    bk_task_cancel(ctx);
    return 0;
}

static int wait_10_ms(void *ctx)
{
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, bk_ms(10));
    if (r == 0)
        r = bk_timeout_close(&limit, bk_future_wait(future, NULL, NULL));
    (void)ctx;
    trace(r == -ETIMEDOUT ? "late" : r == -ECANCELED ? "cancelled" : "in time");
    return 0;
}

LOOP_TEST(C003_R6_N6_a_call_comes_before_the_sleepers_of_its_instant)
{
    bk_task *a = start(sleep_and_say, "a");
    let_run(1);
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), say, "call"), 0);
    bk_task *b = start(sleep_and_say, "b");
    CHECK_EQ(bk_sleep(bk_ms(30)), 0);
    CHECK_STR(trace_text(), "call a b");
    CHECK_EQ(finish(&a), 0);
    CHECK_EQ(finish(&b), 0);
}

/* Who is woken by the call stands where the call stood among the timers. */
LOOP_TEST(C003_R6_N6_tasks_wake_in_the_order_of_their_timers)
{
    CHECK_EQ(bk_future_new(&future), 0);
    bk_task *a = start(sleep_and_say, "a"), *w = start(wait_and_say, "w");
    let_run(1);
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), settle, "call"), 0);
    bk_task *b = start(sleep_and_say, "b");
    CHECK_EQ(bk_sleep(bk_ms(30)), 0);
    CHECK_STR(trace_text(), "call a w b");
    CHECK_EQ(finish(&a), 0);
    CHECK_EQ(finish(&b), 0);
    CHECK_EQ(finish(&w), 0);
    bk_future_free(&future);
}

/* The future's outcome stays for whoever asks again, so a timeout of the instant wins. */
LOOP_TEST(C043_T13_a_timeout_and_an_outcome_of_one_instant)
{
    for (int call_first = 0; call_first < 2; call_first++) {
        trace_reset();
        CHECK_EQ(bk_future_new(&future), 0);
        if (call_first)
            CHECK_EQ(bk_call_later(NULL, bk_ms(10), settle, "settled"), 0);
        bk_task *w = start(wait_10_ms, NULL);
        let_run(1);
        if (!call_first)
            CHECK_EQ(bk_call_later(NULL, bk_ms(10), settle, "settled"), 0);
        CHECK_EQ(bk_sleep(bk_ms(30)), 0);
        CHECK_STR(trace_text(), "settled late");
        CHECK_EQ(finish(&w), 0);
        bk_future_free(&future);
    }
}

LOOP_TEST(C071_T13_a_cancel_of_the_timeouts_instant_stays_a_cancel)
{
    CHECK_EQ(bk_future_new(&future), 0);
    bk_task *w = start(wait_10_ms, NULL);
    let_run(1);
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), cancel, w), 0);
    CHECK_EQ(bk_sleep(bk_ms(30)), 0);
    CHECK_STR(trace_text(), "cancelled");
    bk_task_free(&w);
    bk_future_free(&future);
}

/* What is ready as the time comes goes first. */
LOOP_TEST(C004_R6_calls_of_no_delay_stand_behind_what_is_ready)
{
    CHECK_EQ(bk_call_later(NULL, bk_ms(0), say, "later"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "soon"), 0);
    let_run(1);
    trace("main");
    let_run(3);
    CHECK_STR(trace_text(), "soon main later");
}

static bk_handle *off;

static int call_off(void *ctx)
{
    say(ctx);
    bk_handle_cancel(off);
    return 0;
}

LOOP_TEST(C006_R6_a_call_of_the_instant_can_still_be_called_off)
{
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), call_off, "first"), 0);
    CHECK_EQ(bk_call_later(&off, bk_ms(10), say, "no"), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), say, "third"), 0);
    CHECK_EQ(bk_sleep(bk_ms(20)), 0);
    CHECK_STR(trace_text(), "first third");
    CHECK(bk_handle_cancelled(off));
    bk_handle_free(&off);
}

static int n_again;

static int again(void *ctx)
{
    return ++n_again < 1000 ? bk_call_later(NULL, bk_ms(0), again, ctx) : 0;
}

/* Calls that make themselves anew, due at once, keep nobody waiting. */
LOOP_TEST(C002_R5_a_chain_of_calls_due_at_once_starves_nobody)
{
    bk_task *a = start(sleep_and_say, "a");
    let_run(1);
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), again, NULL), 0);
    CHECK_EQ(bk_task_wait(a, NULL), 0);
    CHECK(n_again < 10);
    bk_task_free(&a);
}

CHECK_MAIN(TEST(C003_R6_N6_a_call_comes_before_the_sleepers_of_its_instant),
           TEST(C003_R6_N6_tasks_wake_in_the_order_of_their_timers),
           TEST(C043_T13_a_timeout_and_an_outcome_of_one_instant),
           TEST(C071_T13_a_cancel_of_the_timeouts_instant_stays_a_cancel),
           TEST(C004_R6_calls_of_no_delay_stand_behind_what_is_ready),
           TEST(C006_R6_a_call_of_the_instant_can_still_be_called_off),
           TEST(C002_R5_a_chain_of_calls_due_at_once_starves_nobody))
