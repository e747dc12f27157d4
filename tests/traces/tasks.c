/* SPDX-License-Identifier: MIT
 * Traces of tasks and their cancellation. */
#include "tests/traces/traces.h"

/* asyncio.create_task */
static int t05(void *ctx)
{
    (void)ctx;
    bk_go(NULL, say_word, "c", NULL);
    say("a");
    bk_yield();
    say("b");
    return 0;
}

static int say_thrice(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        say("%s%d", (const char *)ctx, i);
        bk_yield();
    }
    return 0;
}

static int t06(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = say_thrice, .ctx = "a"}, {.fn = say_thrice, .ctx = "b"}};
    return bk_gather(calls, 2, NULL);
}

/* asyncio.wait([task]), and task.cancelled() afterwards. */
static void wait_and_say_cancelled(bk_task *task)
{
    bk_wait(&task, 1, BK_ALL_COMPLETED, bk_forever());
    say("%s", py_bool(bk_task_cancelled(task)));
}

/* Task.cancel */
static int t12(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, say_word, "no", NULL);
    say("%s", py_bool(bk_task_cancel(t)));
    wait_and_say_cancelled(t);
    bk_task_free(&t);
    return 0;
}

static int sleep_and_clean_up(void *ctx)
{
    (void)ctx;
    say("s");
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        say("ce");
    say("fin");
    return r;
}

static int t13(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 0;
    bk_go(&t, sleep_and_clean_up, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    say("req");
    bk_task_wait(t, &result);
    if (result == -ECANCELED)
        say("got");
    bk_task_free(&t);
    return 0;
}

/* "except CancelledError: pass": the results of both calls are ignored. */
static int swallow(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) == -ECANCELED)
        say("swallow");
    bk_yield();
    return 7;
}

static int t14(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 0;
    bk_go(&t, swallow, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    bk_task_wait(t, &result);
    say("%d", result);
    say("%s", py_bool(bk_task_cancelled(t)));
    say("%d", bk_task_cancelling(t));
    bk_task_free(&t);
    return 0;
}

static int count_cancels(void *ctx)
{
    int *n = ctx;
    for (int i = 0; i < 3; i++)
        if (bk_sleep(bk_ms(10)) == -ECANCELED)
            ++*n;
    return 0;
}

static int t15(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int n = 0;
    bk_go(&t, count_cancels, &n, NULL);
    bk_yield();
    bk_task_cancel(t);
    bk_task_cancel(t);
    bk_task_wait(t, NULL);
    say("%d", n);
    say("%d", bk_task_cancelling(t));
    bk_task_free(&t);
    return 0;
}

static int cancel_oneself(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
    say("still");
    int r = bk_yield();
    if (r == -ECANCELED)
        say("ce");
    return r;
}

static int t16(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, cancel_oneself, NULL, NULL);
    wait_and_say_cancelled(t);
    bk_task_free(&t);
    return 0;
}

static int cancel_oneself_and_return(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
    return 5;
}

static int t17(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, cancel_oneself_and_return, NULL, NULL);
    wait_and_say_cancelled(t);
    bk_task_free(&t);
    return 0;
}

static int sleep_as_inner(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        say("inner");
    return r;
}

static int await_inner(void *ctx)
{
    bk_task *inner = ctx;
    int r = bk_task_wait(inner, NULL);
    if (r == -ECANCELED)
        say("outer");
    return r;
}

static int t18(void *ctx)
{
    (void)ctx;
    bk_task *inner = NULL, *outer = NULL;
    bk_go(&inner, sleep_as_inner, NULL, NULL);
    bk_go(&outer, await_inner, inner, NULL);
    ticks(2);
    bk_task_cancel(outer);
    bk_wait(&outer, 1, BK_ALL_COMPLETED, bk_forever());
    say("%s%s", py_bool(bk_task_cancelled(inner)), py_bool(bk_task_cancelled(outer)));
    bk_task_free(&inner);
    bk_task_free(&outer);
    return 0;
}

static int return_1(void *ctx)
{
    (void)ctx;
    return 1;
}

static int t19(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, return_1, NULL, NULL);
    bk_task_wait(t, NULL);
    say("%s", py_bool(bk_task_cancel(t)));
    bk_task_free(&t);
    return 0;
}

static int await_future(void *ctx)
{
    int result = 0;
    int r = bk_future_wait(ctx, &result, NULL);
    if (r == -ECANCELED)
        say("ce");
    return r < 0 ? r : result;
}

static int t20(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    bk_task *t = NULL;
    int result = 0;
    bk_future_new(&f);
    bk_go(&t, await_future, f, NULL);
    bk_yield();
    bk_future_set(f, 3, NULL);
    bk_task_cancel(t);
    wait_and_say_cancelled(t);
    bk_future_get(f, &result, NULL);
    say("%d", result);
    bk_task_free(&t);
    bk_future_free(&f);
    return 0;
}

static int clean_up_slowly(void *ctx)
{
    (void)ctx;
    say("f1");
    bk_sleep(bk_ms(10));
    say("f2");
    return 0;
}

/* "finally: await ..." is a shield. */
static int sleep_then_clean_up_slowly(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_seconds(9));
    bk_shield(clean_up_slowly, NULL);
    return r;
}

static int t21(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, sleep_then_clean_up_slowly, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    wait_and_say_cancelled(t);
    bk_task_free(&t);
    return 0;
}

/* Task.uncancel */
static int take_the_cancel_back(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) == -ECANCELED) {
        say("%d", bk_cancelling());
        say("%d", bk_uncancel());
    }
    int r = bk_yield();
    return r < 0 ? r : 1;
}

static int t22(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 0;
    bk_go(&t, take_the_cancel_back, NULL, NULL);
    bk_yield();
    bk_task_cancel(t);
    bk_task_wait(t, &result);
    say("%d", result);
    bk_task_free(&t);
    return 0;
}

const struct scenario task_scenarios[] = {
    {"t05_task_starts_next_iteration", t05},
    {"t06_two_tasks_interleave_at_sleep0", t06},
    {"t12_cancel_before_start_never_runs_body", t12},
    {"t13_cancel_delivered_at_await_and_finally_runs", t13},
    {"t14_cancel_swallowed_task_finishes_normally", t14},
    {"t15_two_cancels_before_delivery_are_one_error", t15},
    {"t16_self_cancel_raises_at_next_await", t16},
    {"t17_self_cancel_then_return_is_cancelled_without_await", t17},
    {"t18_cancel_awaiting_task_cancels_the_awaited_task", t18},
    {"t19_cancel_done_task_returns_false", t19},
    {"t20_cancel_at_moment_future_done_wins", t20},
    {"t21_finally_may_await_during_cancel", t21},
    {"t22_uncancel_counts", t22},
    {NULL, NULL},
};
