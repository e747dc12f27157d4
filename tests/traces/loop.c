/* SPDX-License-Identifier: MIT
 * Traces of calls of the loop, and of futures. */
#include "tests/traces/traces.h"

/* loop.call_soon */
static int t01(void *ctx)
{
    (void)ctx;
    static char *const words[] = {"0", "1", "2", "3"};
    for (int i = 0; i < 4; i++)
        bk_call_soon(NULL, say_word, words[i]);
    say("a");
    bk_yield();
    say("b");
    return 0;
}

static int say_x_then_call_y(void *ctx)
{
    (void)ctx;
    say("x");
    return bk_call_soon(NULL, say_word, "y");
}

static int t02(void *ctx)
{
    (void)ctx;
    bk_call_soon(NULL, say_x_then_call_y, NULL);
    bk_call_soon(NULL, say_word, "z");
    ticks(3);
    return 0;
}

/* loop.call_at */
static int t03(void *ctx)
{
    (void)ctx;
    bk_time t = bk_time_add(bk_now(), bk_ms(20));
    bk_call_at(NULL, bk_time_add(t, bk_ms(10)), say_word, "late");
    bk_call_at(NULL, t, say_word, "p");
    bk_call_at(NULL, t, say_word, "q");
    bk_call_soon(NULL, say_word, "soon");
    return bk_sleep(bk_ms(60));
}

/* Handle.cancel */
static int t04(void *ctx)
{
    (void)ctx;
    bk_handle *soon = NULL, *later = NULL;
    bk_call_soon(&soon, say_word, "no");
    bk_handle_cancel(soon);
    bk_call_later(&later, bk_ms(10), say_word, "no2");
    bk_handle_cancel(later);
    bk_sleep(bk_ms(30));
    say("end");
    bk_handle_free(&soon);
    bk_handle_free(&later);
    return 0;
}

/* Future */
static int t07(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    bk_future_new(&f);
    bk_future_set(f, 1, NULL);
    bk_call_soon(NULL, say_word, "cb");
    bk_future_wait(f, NULL, NULL);
    say("after");
    bk_yield();
    bk_future_free(&f);
    return 0;
}

/* Awaiting a coroutine: an ordinary call. */
static int t08(void *ctx)
{
    (void)ctx;
    bk_call_soon(NULL, say_word, "cb");
    say_word("c");
    say("after");
    return bk_yield();
}

static int say_done(void *ctx, bk_future *future)
{
    (void)future;
    return say_word(ctx);
}

/* Future.add_done_callback */
static int t09(void *ctx)
{
    (void)ctx;
    static char *const words[] = {"cb0", "cb1", "cb2"};
    bk_future *f = NULL;
    bk_future_new(&f);
    for (int i = 0; i < 3; i++)
        bk_future_add_done_callback(f, say_done, words[i]);
    bk_future_set(f, 1, NULL);
    say("set");
    bk_yield();
    bk_future_free(&f);
    return 0;
}

static int t10(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    bk_future_new(&f);
    bk_future_set(f, 1, NULL);
    bk_future_add_done_callback(f, say_done, "cb");
    say("added");
    bk_yield();
    bk_future_free(&f);
    return 0;
}

static int t11(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL, *g = NULL, *h = NULL;
    bk_future_new(&f);
    bk_future_set(f, 1, NULL);
    say("%s", py_result(bk_future_set(f, 2, NULL)));
    bk_future_new(&g);
    say("%s", py_bool(bk_future_cancel(g)));
    say("%s", py_bool(bk_future_cancel(g)));
    say("%s", py_result(bk_future_set(g, 1, NULL)));
    say("%s", py_result(bk_future_get(g, NULL, NULL)));
    bk_future_new(&h);
    say("%s", py_result(bk_future_get(h, NULL, NULL)));
    bk_future_free(&f);
    bk_future_free(&g);
    bk_future_free(&h);
    return 0;
}

const struct scenario loop_scenarios[] = {
    {"t01_call_soon_fifo", t01},
    {"t02_call_soon_from_callback_runs_next_iteration", t02},
    {"t03_call_later_order_by_time_then_fifo", t03},
    {"t04_cancelled_handle_does_not_run", t04},
    {"t07_await_done_future_does_not_yield", t07},
    {"t08_await_coroutine_does_not_yield", t08},
    {"t09_future_callbacks_run_in_order_via_loop_not_inline", t09},
    {"t10_callback_added_to_done_future_is_scheduled", t10},
    {"t11_set_result_twice_and_after_cancel_is_invalid_state", t11},
    {NULL, NULL},
};
