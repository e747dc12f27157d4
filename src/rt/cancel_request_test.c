/* SPDX-License-Identifier: MIT
 * Requests to cancel: how often they are told, counted and taken back, and what they meet. */
#include <beck/error.h>
#include <beck/future.h>
#include <beck/loop.h>

#include "tests/run_helper.h"

static int count_cancels(void *ctx)
{
    for (int i = 0; i < 3; i++)
        if (bk_sleep(bk_ms(1)) == -ECANCELED)
            ++*(int *)ctx;
    return 0;
}

/* asyncio makes one exception of two requests that come before it is raised.  Here each suspending
 * call tells of the cancel until it is taken back (docs/adr/0004); the requests are counted alike.
 */
LOOP_TEST(C039_N3_differs_two_cancels_are_told_at_every_call)
{
    int n = 0;
    bk_task *task = start(count_cancels, &n);
    let_run(1);
    CHECK_EQ(bk_task_cancel(task), 1);
    CHECK_EQ(bk_task_cancel(task), 1);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    CHECK_EQ(n, 3);
    CHECK_EQ(bk_task_cancelling(task), 2);
    CHECK(!bk_task_cancelled(task));
    bk_task_free(&task);
}

static int return_5(void *ctx)
{
    (void)ctx;
    return 5;
}

LOOP_TEST(C042_T3_a_task_that_has_ended_is_not_cancelled)
{
    bk_task *task = start(return_5, NULL);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    CHECK_EQ(bk_task_cancel(task), 0);
    CHECK(!bk_task_cancelled(task));
    CHECK_EQ(bk_task_cancelling(task), 0);
    bk_task_free(&task);
}

static int wait_for_future(void *ctx)
{
    int result = 0;
    int r = bk_future_wait(ctx, &result, NULL);
    trace(r == -ECANCELED ? "ce" : "?");
    return r < 0 ? r : result;
}

LOOP_TEST(C043_T3_a_future_that_is_done_in_the_turn_of_a_cancel_keeps_its_result)
{
    bk_future *future = NULL;
    int result = 0;
    CHECK_EQ(bk_future_new(&future), 0);
    bk_task *task = start(wait_for_future, future);
    let_run(1);
    CHECK_EQ(bk_future_set(future, 3, NULL), 0);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_EQ(bk_future_get(future, &result, NULL), 0);
    CHECK_EQ(result, 3);
    CHECK_STR(trace_text(), "ce");
    bk_future_free(&future);
}

static int cut_short(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_ms(50));
    trace(r == 0 ? "whole" : "cut");
    return r;
}

static int clean_up_unshielded(void *ctx)
{
    int r = bk_sleep(bk_seconds(9));
    bk_uncancel(); /* asyncio's way: told once, and the cleanup may wait */
    cut_short(ctx);
    return r;
}

LOOP_TEST(C044_a_second_cancel_interrupts_the_cleanup)
{
    bk_task *task = start(clean_up_unshielded, NULL);
    let_run(1);
    bk_task_cancel(task);
    bk_sleep(bk_ms(10));
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "cut");
}

static int take_back(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) != -ECANCELED)
        return -1;
    trace("%d", bk_cancelling());
    trace("%d", bk_uncancel());
    trace("%d", bk_yield() == -ECANCELED); /* one is left */
    trace("%d", bk_uncancel());
    trace("%d", bk_uncancel()); /* never below none */
    return bk_yield();
}

LOOP_TEST(C045_T6_uncancel_counts_and_at_zero_waiting_works_again)
{
    bk_task *task = start(take_back, NULL);
    let_run(1);
    bk_task_cancel(task);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), 0);
    CHECK_STR(trace_text(), "2 1 1 0 0");
}

static int cancel_and_take_back(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
    bk_uncancel();
    return 5;
}

LOOP_TEST(C045_T6_a_cancel_taken_back_before_it_was_told_is_gone)
{
    bk_task *task = start(cancel_and_take_back, NULL);
    CHECK_EQ(finish(&task), 5);
}

struct block {
    bk_task *task;
    bool fired;
};

static int fire(void *ctx)
{
    struct block *block = ctx;
    block->fired = true;
    return bk_task_cancel(block->task) - 1;
}

/* A time limit made by hand: takes back the one request that is its own. */
static int structured_block(void *ctx)
{
    struct block block = {.task = bk_task_current()};
    (void)ctx;
    int r = bk_call_later(NULL, bk_ms(10), fire, &block);
    if (r == 0)
        r = bk_sleep(bk_seconds(9));
    if (block.fired && bk_uncancel() == 0 && r == -ECANCELED)
        r = -ETIMEDOUT;
    trace("%s %d", r == -ETIMEDOUT ? "timeout" : "cancelled", bk_cancelling());
    return r == -ETIMEDOUT ? bk_yield() : r;
}

LOOP_TEST(T6_uncancel_structured_blocks)
{
    bk_task *task = start(structured_block, NULL);
    CHECK_EQ(finish(&task), 0);
    task = start(structured_block, NULL);
    CHECK_EQ(bk_sleep(bk_ms(10)), 0); /* its own has struck, and it has not run yet */
    while (bk_task_cancelling(task) == 0)
        bk_yield();
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "timeout 0 cancelled 1");
}

static int fail_while_cancelled(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(9)) == -ECANCELED)
        return bk_fail(-EIO, "flushing: disk %d is gone", 3);
    return 0;
}

LOOP_TEST(C046_T5_another_error_while_cancelled_is_the_result)
{
    bk_task *task = start(fail_while_cancelled, NULL);
    let_run(1);
    bk_task_cancel(task);
    CHECK_EQ(bk_wait(&task, 1, BK_ALL_COMPLETED, bk_forever()), 1);
    CHECK(!bk_task_cancelled(task));
    CHECK_EQ(bk_task_cancelling(task), 1); /* it tells what the error came on top of */
    CHECK_EQ(bk_task_result(task), -EIO);
    CHECK_STR(bk_task_errmsg(task), "flushing: disk 3 is gone");
    bk_task_free(&task);
}

static int wrap_failure(void *ctx)
{
    (void)ctx;
    int r = fail_while_cancelled(NULL);
    return r < 0 ? bk_fail(r, "saving: %s", bk_errmsg()) : 0;
}

/* Instead of a chain of causes, a text that holds that of the error before. */
LOOP_TEST(N1_an_error_carries_the_text_of_its_cause)
{
    bk_task *task = start(wrap_failure, NULL);
    let_run(1);
    bk_task_cancel(task);
    int result = 0;
    CHECK_EQ(bk_task_wait(task, &result), 0);
    CHECK_EQ(result, -EIO);
    CHECK_STR(bk_errmsg(), "saving: flushing: disk 3 is gone");
    bk_task_free(&task);
}

CHECK_MAIN(TEST(C039_N3_differs_two_cancels_are_told_at_every_call),
           TEST(C042_T3_a_task_that_has_ended_is_not_cancelled),
           TEST(C043_T3_a_future_that_is_done_in_the_turn_of_a_cancel_keeps_its_result),
           TEST(C044_a_second_cancel_interrupts_the_cleanup),
           TEST(C045_T6_uncancel_counts_and_at_zero_waiting_works_again),
           TEST(C045_T6_a_cancel_taken_back_before_it_was_told_is_gone),
           TEST(T6_uncancel_structured_blocks),
           TEST(C046_T5_another_error_while_cancelled_is_the_result),
           TEST(N1_an_error_carries_the_text_of_its_cause))
