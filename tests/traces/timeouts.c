/* SPDX-License-Identifier: MIT
 * Traces of wait_for and of timeout scopes. */
#include "tests/traces/traces.h"

static int return_1(void *ctx)
{
    (void)ctx;
    return 1;
}

static int fail(void *ctx)
{
    (void)ctx;
    return KEY_ERROR;
}

/* Says ctx when it is cancelled. */
static int sleep_9(void *ctx)
{
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        say("%s", (const char *)ctx);
    return r;
}

/* asyncio.wait_for */
static int t28(void *ctx)
{
    (void)ctx;
    say("%s", py_result(bk_wait_for(return_1, NULL, bk_seconds(1))));
    say("%s", py_result(bk_wait_for(fail, NULL, bk_seconds(1))));
    if (bk_wait_for(sleep_9, "inner-cancel", bk_ms(10)) == -ETIMEDOUT)
        say("TO");
    return 0;
}

static int clean_up(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_ms(20));
    say("cleaned");
    return 0;
}

static int sleep_then_clean_up(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    bk_shield(clean_up, NULL);
    return r;
}

static int t29(void *ctx)
{
    (void)ctx;
    if (bk_wait_for(sleep_then_clean_up, NULL, bk_ms(10)) == -ETIMEDOUT)
        say("TO");
    return 0;
}

static int t30(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    int result = 0;
    bk_future_new(&f);
    bk_future_set(f, 5, NULL);
    bk_future_wait_for(f, &result, NULL, bk_ms(0));
    say("%d", result);
    if (bk_wait_for(say_word, "never", bk_ms(0)) == -ETIMEDOUT)
        say("TO");
    bk_future_free(&f);
    return 0;
}

static int wait_for_5(void *ctx)
{
    return bk_wait_for(sleep_9, ctx, bk_seconds(5));
}

static int t31(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, wait_for_5, "inner", NULL);
    ticks(2);
    bk_task_cancel(t);
    bk_wait(&t, 1, BK_ALL_COMPLETED, bk_forever());
    say("%s", py_bool(bk_task_cancelled(t)));
    bk_task_free(&t);
    return 0;
}

enum { LATE = 1000 };

static int swallow_and_return(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) == -ECANCELED)
        return LATE;
    return 0;
}

static int t32(void *ctx)
{
    (void)ctx;
    int r = bk_wait_for(swallow_and_return, NULL, bk_ms(10));
    say("%s", r == LATE ? "late" : r == -ETIMEDOUT ? "TO" : "?");
    return 0;
}

/* asyncio.timeout */
static int t33(void *ctx)
{
    (void)ctx;
    bk_timeout *outer = NULL, *inner = NULL;
    bk_timeout_open(&outer, bk_ms(50));
    bk_timeout_open(&inner, bk_ms(10));
    int r = bk_sleep(bk_seconds(9));
    if (bk_timeout_close(&inner, r) == -ETIMEDOUT)
        say("inner");
    r = bk_sleep(bk_seconds(9));
    if (bk_timeout_close(&outer, r) == -ETIMEDOUT)
        say("outer");
    say("%d", bk_cancelling());
    return 0;
}

static int t34(void *ctx)
{
    (void)ctx;
    bk_timeout *outer = NULL, *inner = NULL;
    bk_timeout_open(&outer, bk_ms(10));
    bk_timeout_open(&inner, bk_seconds(1));
    int r = bk_timeout_close(&inner, bk_sleep(bk_seconds(9)));
    if (r == -ETIMEDOUT)
        say("wrong");
    if (bk_timeout_close(&outer, r) == -ETIMEDOUT)
        say("outer");
    return 0;
}

static int sleep_in_5(void *ctx)
{
    (void)ctx;
    bk_timeout *limit = NULL;
    bk_timeout_open(&limit, bk_seconds(5));
    int r = bk_timeout_close(&limit, bk_sleep(bk_seconds(9)));
    if (r == -ETIMEDOUT)
        say("wrong");
    return r;
}

static int t35(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, sleep_in_5, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    bk_wait(&t, 1, BK_ALL_COMPLETED, bk_forever());
    say("%s", py_bool(bk_task_cancelled(t)));
    bk_task_free(&t);
    return 0;
}

/* Timeout.reschedule */
static int t36(void *ctx)
{
    (void)ctx;
    bk_timeout *tm = NULL;
    bk_timeout_open(&tm, bk_ms(10));
    bk_timeout_reschedule(tm, bk_time_add(bk_now(), bk_ms(100)));
    int r = bk_sleep(bk_ms(30));
    if (r == 0)
        say("ok");
    bk_timeout_close(&tm, r);
    bk_timeout_open(&tm, bk_ms(-1));
    say("in");
    r = bk_yield();
    if (r == 0)
        say("no");
    if (bk_timeout_close(&tm, r) == -ETIMEDOUT)
        say("TO");
    return 0;
}

const struct scenario timeout_scenarios[] = {
    {"t28_wait_for_ok_error_timeout", t28},
    {"t29_wait_for_waits_until_cancel_is_finished", t29},
    {"t30_wait_for_zero_done_future_returns_result_else_timeout", t30},
    {"t31_wait_for_outer_cancel_wins", t31},
    {"t32_wait_for_inner_swallows_cancel_and_returns", t32},
    {"t33_timeout_context_and_nested", t33},
    {"t34_outer_timeout_is_not_caught_by_inner", t34},
    {"t35_timeout_not_expired_foreign_cancel_stays_cancel", t35},
    {"t36_timeout_reschedule_and_past_deadline", t36},
    {NULL, NULL},
};
