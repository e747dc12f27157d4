/* SPDX-License-Identifier: MIT
 * wait_for on tasks, and the races between a result, a deadline and a cancel. */
#include <beck/future.h>
#include <beck/queue.h>
#include <beck/sync.h>

#include "rt/rt.h"
#include "tests/run_helper.h"

static int answer(void *ctx)
{
    trace("runs");
    return (int)(intptr_t)ctx;
}

static int nap(void *ctx)
{
    int r = bk_sleep(bk_ms((int)(intptr_t)ctx));
    return r < 0 ? r : (int)(intptr_t)ctx;
}

static int64_t now_ms(void)
{
    return bk_now().ns / 1000000;
}

/* Waits for *task within limit; says the outcome and the result, gives the handle back. */
static void say_wait_for(bk_task **task, bk_duration limit)
{
    int result = 99;
    int r = bk_task_wait_for(*task, &result, limit);
    trace("%s", r == 0            ? "ok"
                : r == -ETIMEDOUT ? "timeout"
                : r == -ECANCELED ? "cancelled"
                                  : bk_errmsg());
    trace("%d@%d", result, (int)now_ms());
    bk_task_free(task);
}

LOOP_TEST(C063_T12_the_result_the_error_or_a_timeout)
{
    bk_task *t = start(answer, (void *)1);
    say_wait_for(&t, bk_seconds(1));
    t = start(answer, (void *)(intptr_t)-ENOKEY);
    say_wait_for(&t, bk_seconds(1));
    t = start(nap, (void *)9000);
    say_wait_for(&t, bk_ms(10));
    char want[80];
    snprintf(want, sizeof want, "runs ok 1@0 runs ok %d@0 timeout %d@10", -ENOKEY, -ECANCELED);
    CHECK_STR(trace_text(), want);
}

static int tidy(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_ms(20));
    trace("cleaned");
    return r;
}

static int nap_and_tidy(void *ctx)
{
    int r = nap(ctx);
    bk_shield(tidy, NULL);
    return r;
}

LOOP_TEST(C064_T12_it_waits_until_the_task_has_cleaned_up)
{
    bk_task *t = start(nap_and_tidy, (void *)9000);
    say_wait_for(&t, bk_ms(10));
    char want[40];
    snprintf(want, sizeof want, "cleaned timeout %d@30", -ECANCELED);
    CHECK_STR(trace_text(), want);
}

LOOP_TEST(C065_T12_no_time_at_all)
{
    bk_task *t = start(answer, (void *)5);
    let_run(1);
    say_wait_for(&t, bk_ms(0)); /* it has ended */
    t = start(answer, (void *)6);
    say_wait_for(&t, bk_ms(-1)); /* it has not begun, and never will */
    char want[80];
    snprintf(want, sizeof want, "runs ok 5@0 timeout %d@0", -ECANCELED);
    CHECK_STR(trace_text(), want);
}

static int wait_for_it(void *ctx)
{
    bk_task *inner = ctx;
    int result = 99;
    int r = bk_task_wait_for(inner, &result, bk_seconds(5));
    trace("%d %d", r, result);
    return r;
}

LOOP_TEST(C066_T12_a_cancel_from_outside_wins)
{
    bk_task *inner = start(nap_and_tidy, (void *)9000), *outer = start(wait_for_it, inner);
    let_run(2);
    bk_task_cancel(outer);
    CHECK_EQ(finish(&outer), -ECANCELED);
    CHECK(bk_task_cancelled(inner));
    bk_task_free(&inner);
    char want[40];
    snprintf(want, sizeof want, "cleaned %d %d", -ECANCELED, -ECANCELED);
    CHECK_STR(trace_text(), want);
}

static int swallow(void *ctx)
{
    bk_sleep(bk_seconds(9));
    return (int)(intptr_t)ctx;
}

LOOP_TEST(C067_T12_a_task_that_swallows_the_cancel_gives_its_value)
{
    bk_task *t = start(swallow, (void *)7);
    say_wait_for(&t, bk_ms(10));
    CHECK_STR(trace_text(), "ok 7@10");
}

/* Under level-triggered cancels it must also say so before it can wait again. */
static int swallow_and_go_on(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) == -ECANCELED && bk_yield() == -ECANCELED)
        bk_uncancel();
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : 8;
}

LOOP_TEST(N3_differs_to_go_on_after_a_swallowed_cancel_takes_an_uncancel)
{
    bk_task *t = start(swallow_and_go_on, NULL);
    say_wait_for(&t, bk_ms(10));
    CHECK_STR(trace_text(), "ok 8@20");
}

static int fail_when_cancelled(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(9)) < 0 ? bk_fail(-EIO, "the disk is full") : 0;
}

LOOP_TEST(T12_a_task_that_fails_while_cancelled_gives_that_error)
{
    bk_task *t = start(fail_when_cancelled, NULL);
    int result = 0;
    CHECK_EQ(bk_task_wait_for(t, &result, bk_ms(10)), 0);
    CHECK_EQ(result, -EIO);
    CHECK_STR(bk_errmsg(), "the disk is full");
    bk_task_free(&t);
}

LOOP_TEST(T12_oneself_and_no_result_wanted)
{
    int result = 99;
    CHECK_EQ(bk_task_wait_for(bk_task_current(), &result, bk_ms(0)), -EDEADLK);
    CHECK_EQ(result, 99);
    CHECK_EQ(bk_yield(), 0); /* the limit's cancel has gone with it */
    bk_task *t = start(nap, (void *)5);
    CHECK_EQ(bk_task_wait_for(t, NULL, bk_forever()), 0);
    CHECK_EQ(bki_loop->timers.len, 0);
    bk_task_free(&t);
}

/* ---- Races: who comes first in one turn of the loop ---- */

struct box {
    bk_queue *queue;
    bk_lock *lock;
    bk_cond *cond;
    void *item;
};

static int get_item(void *ctx)
{
    struct box *box = ctx;
    return bk_queue_get(box->queue, &box->item);
}

static int get_within_10_ms(void *ctx)
{
    int r = bk_wait_for(get_item, ctx, bk_ms(10));
    trace("%d", r);
    trace("then %d", bk_yield());
    return r;
}

static int put_after_10_ms(void *ctx)
{
    struct box *box = ctx;
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : bk_queue_put(box->queue, box);
}

/* Item and deadline come in one turn of the loop, the deadline first: the getter has been called
 * off before the putter runs, and the item stays for the next. */
LOOP_TEST(C068_T12_an_item_that_comes_in_the_turn_of_the_timer_is_not_lost)
{
    struct box box = {0};
    CHECK_EQ(bk_queue_new(&box.queue, NULL), 0);
    bk_task *putter = start(put_after_10_ms, &box), *getter = start(get_within_10_ms, &box);
    CHECK_EQ(finish(&getter), -ETIMEDOUT);
    CHECK_EQ(finish(&putter), 0);
    CHECK_EQ(bk_queue_len(box.queue), 1);
    bk_queue_free(&box.queue);
}

/* The getter has gone before the putter runs: the item stays where it is. */
LOOP_TEST(C068_T12_a_result_after_the_timer_is_not_lost)
{
    struct box box = {0};
    CHECK_EQ(bk_queue_new(&box.queue, NULL), 0);
    bk_task *getter = start(get_within_10_ms, &box), *putter = start(put_after_10_ms, &box);
    CHECK_EQ(finish(&getter), -ETIMEDOUT);
    CHECK_EQ(finish(&putter), 0);
    CHECK_EQ(bk_queue_len(box.queue), 1);
    bk_queue_free(&box.queue);
}

LOOP_TEST(C068_T12_a_result_that_came_before_the_timer_wins)
{
    struct box box = {0};
    CHECK_EQ(bk_queue_new(&box.queue, NULL), 0);
    bk_task *t = start(get_within_10_ms, &box);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(box.queue, &box), 0);
    bki_loop->now_ns = bki_loop->virtual_ns +=
        bk_ms(20).ns; /* the deadline passes before it runs */
    CHECK_EQ(finish(&t), 1);
    CHECK(box.item == &box);
    CHECK_STR(trace_text(), "1 then 0"); /* the scope has taken its cancel with it */
    bk_queue_free(&box.queue);
}

/* asyncio raises and leaves the item in the queue, which a destructor-less call cannot put back:
 * what was taken is returned, and the cancel shows at the next call. */
LOOP_TEST(C069_differs_a_result_in_the_same_turn_as_a_cancel_is_returned_first)
{
    struct box box = {0};
    CHECK_EQ(bk_queue_new(&box.queue, NULL), 0);
    bk_task *t = start(get_within_10_ms, &box);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(box.queue, &box), 0);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), 1);
    CHECK(box.item == &box);
    char want[40];
    snprintf(want, sizeof want, "1 then %d", -ECANCELED);
    CHECK_STR(trace_text(), want);
    bk_queue_free(&box.queue);
}

static int two_turns(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : (int)(intptr_t)ctx;
}

/* Where nothing was taken, the cancel is told at once, and the result is there all the same. */
LOOP_TEST(C069_T12_a_task_that_ends_in_the_same_turn_as_a_cancel_keeps_its_result)
{
    bk_task *inner = start(two_turns, (void *)3), *outer = start(wait_for_it, inner);
    let_run(2);
    CHECK(bk_task_done(inner) && !bk_task_done(outer));
    bk_task_cancel(outer);
    CHECK_EQ(finish(&outer), -ECANCELED);
    CHECK_EQ(finish(&inner), 3);
}

LOOP_TEST(C065_T12_a_settled_future_gives_its_outcome_whatever_the_limit)
{
    bk_future *future = NULL;
    int result = 0;
    CHECK_EQ(bk_future_new(&future), 0);
    CHECK_EQ(bk_future_wait_for(future, &result, NULL, bk_ms(0)), -ETIMEDOUT);
    CHECK_EQ(bk_future_wait_for(future, &result, NULL, bk_ms(10)), -ETIMEDOUT);
    CHECK_EQ(now_ms(), 10);
    CHECK(!bk_future_done(future));
    CHECK_EQ(bk_future_set(future, 5, NULL), 0);
    CHECK_EQ(bk_future_wait_for(future, &result, NULL, bk_ms(-1)), 0);
    CHECK_EQ(result, 5);
    bk_future_free(&future);
}

static int wait_for_future(void *ctx)
{
    int result = 0;
    int r = bk_future_wait_for(ctx, &result, NULL, bk_ms(10));
    return r < 0 ? r : result;
}

LOOP_TEST(C068_T12_a_future_settled_in_the_same_turn_beats_the_timer)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    bk_task *task = start(wait_for_future, future);
    let_run(1);
    CHECK_EQ(bk_future_set(future, 5, NULL), 0);
    bki_loop->now_ns = bki_loop->virtual_ns += bk_ms(20).ns;
    bk_future_free(&future);
    CHECK_EQ(finish(&task), 5);
}

static int wait_notified(void *ctx)
{
    struct box *box = ctx;
    return bk_cond_wait(box->cond);
}

LOOP_TEST(T12_a_condition_comes_back_from_it_with_the_lock_held)
{
    struct box box = {0};
    CHECK_EQ(bk_lock_new(&box.lock, NULL), 0);
    CHECK_EQ(bk_cond_new(&box.cond, box.lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(box.lock), 0);
    CHECK_EQ(bk_wait_for(wait_notified, &box, bk_ms(5)), -ETIMEDOUT);
    CHECK(bk_lock_held(box.lock));
    CHECK_EQ(bk_lock_release(box.lock), 0);
    bk_cond_free(&box.cond);
    bk_lock_free(&box.lock);
}

CHECK_MAIN(TEST(C063_T12_the_result_the_error_or_a_timeout),
           TEST(C064_T12_it_waits_until_the_task_has_cleaned_up), TEST(C065_T12_no_time_at_all),
           TEST(C066_T12_a_cancel_from_outside_wins),
           TEST(C067_T12_a_task_that_swallows_the_cancel_gives_its_value),
           TEST(N3_differs_to_go_on_after_a_swallowed_cancel_takes_an_uncancel),
           TEST(T12_a_task_that_fails_while_cancelled_gives_that_error),
           TEST(T12_oneself_and_no_result_wanted),
           TEST(C068_T12_an_item_that_comes_in_the_turn_of_the_timer_is_not_lost),
           TEST(C068_T12_a_result_after_the_timer_is_not_lost),
           TEST(C068_T12_a_result_that_came_before_the_timer_wins),
           TEST(C069_differs_a_result_in_the_same_turn_as_a_cancel_is_returned_first),
           TEST(C069_T12_a_task_that_ends_in_the_same_turn_as_a_cancel_keeps_its_result),
           TEST(C065_T12_a_settled_future_gives_its_outcome_whatever_the_limit),
           TEST(C068_T12_a_future_settled_in_the_same_turn_beats_the_timer),
           TEST(T12_a_condition_comes_back_from_it_with_the_lock_held))
