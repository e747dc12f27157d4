/* SPDX-License-Identifier: MIT
 * Futures and the tasks that wait for them; future_callback_test.c has the callbacks. */
#include <beck/future.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

struct user {
    bk_future *future;
    int number;
    int result;
    void *value;
};

static int wait_for_it(void *ctx)
{
    struct user *user = ctx;
    int r = bk_future_wait(user->future, &user->result, &user->value);
    if (r == 0)
        trace("%d=%d", user->number, user->result);
    return r;
}

LOOP_TEST(C023_F1_a_pending_future_has_no_result)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    CHECK(!bk_future_done(future));
    CHECK(!bk_future_cancelled(future));
    CHECK_EQ(bk_future_get(future, NULL, NULL), -EINPROGRESS);
    bk_future_free(&future);
    CHECK(!future);
    bk_future_free(&future);
}

/* Set once, cancelled once, whichever is first. */
LOOP_TEST(C022_C023_C024_F1_settled_once)
{
    bk_future *future = NULL;
    int result = 0;
    void *value = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    CHECK_EQ(bk_future_set(future, 1, &future), 0);
    CHECK_EQ(bk_future_set(future, 2, NULL), -EALREADY);
    CHECK_EQ(bk_future_cancel(future), 0);
    CHECK(bk_future_done(future) && !bk_future_cancelled(future));
    CHECK_EQ(bk_future_get(future, &result, &value), 0);
    CHECK_EQ(result, 1);
    CHECK(value == &future);
    CHECK_EQ(bk_future_get(future, NULL, NULL), 0);
    bk_future_free(&future);

    CHECK_EQ(bk_future_new(&future), 0);
    CHECK_EQ(bk_future_cancel(future), 1);
    CHECK_EQ(bk_future_cancel(future), 0);
    CHECK_EQ(bk_future_set(future, 2, NULL), -EALREADY);
    CHECK(bk_future_done(future) && bk_future_cancelled(future));
    CHECK_EQ(bk_future_get(future, &result, &value), -ECANCELED);
    CHECK_EQ(bk_future_wait(future, &result, &value), -ECANCELED);
    CHECK_EQ(result, 1);
    bk_future_free(&future);
}

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

LOOP_TEST(C029_awaiting_a_done_future_does_not_yield)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    CHECK_EQ(bk_future_set(future, -EIO, NULL), 0);
    bk_task *other = start(say, (void *)"other");
    int result = 0;
    CHECK_EQ(bk_future_wait(future, &result, NULL), 0);
    CHECK_EQ(result, -EIO);
    CHECK_STR(trace_text(), "");
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_future_wait(future, &result, NULL), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(finish(&other), 0);
    bk_future_free(&future);
}

/* Waiters wake in the order they came; whoever comes after the set does not wait. */
LOOP_TEST(C030_N6_several_tasks_wake_in_the_order_they_waited)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    struct user u[3] = {{.future = future, .number = 1},
                        {.future = future, .number = 2},
                        {.future = future, .number = 3}};
    bk_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = start(wait_for_it, &u[i]);
    let_run(1);
    int item;
    CHECK_EQ(bk_future_set(future, 7, &item), 0);
    CHECK_STR(trace_text(), ""); /* never inline */
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(finish(&t[i]), 0);
        CHECK(u[i].value == &item);
    }
    CHECK_STR(trace_text(), "1=7 2=7 3=7");
    bk_future_free(&future);
}

LOOP_TEST(test_cancel_wakes_waiters)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    struct user u1 = {.future = future, .number = 1};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK_EQ(bk_future_cancel(future), 1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    bk_future_free(&future);
}

LOOP_TEST(test_cancelled_waiter_leaves_the_future_alone)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    struct user u1 = {.future = future, .number = 1}, u2 = {.future = future, .number = 2};
    bk_task *t1 = start(wait_for_it, &u1), *t2 = start(wait_for_it, &u2);
    let_run(1);
    bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK(!bk_future_done(future));
    CHECK_EQ(bk_future_set(future, 1, NULL), 0);
    CHECK_EQ(finish(&t2), 0);
    bk_future_free(&future);
}

/* The cancel wins for the waiter, in either order; the outcome stays with the future. */
static void set_and_cancel(bool cancel_first)
{
    bk_future *future = NULL;
    int result = 0;
    CHECK_EQ(bk_future_new(&future), 0);
    struct user u1 = {.future = future, .number = 1};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(bk_future_set(future, 3, NULL), 0);
    if (!cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(bk_future_get(future, &result, NULL), 0);
    CHECK_EQ(result, 3);
    bk_future_free(&future);
}

LOOP_TEST(C043_a_cancel_at_the_moment_it_is_set_wins)
{
    set_and_cancel(false);
}

LOOP_TEST(C043_and_in_the_other_order)
{
    set_and_cancel(true);
}

/* The waiter runs when the future is gone already. */
LOOP_TEST(test_set_and_free)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    struct user u1 = {.future = future, .number = 1};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK_EQ(bk_future_set(future, 5, &u1), 0);
    bk_future_free(&future);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(u1.result, 5);
    CHECK(u1.value == &u1);
}

LOOP_TEST(test_free_wakes_waiters)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    struct user u1 = {.future = future, .number = 1};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for future, since"));
    bk_future_free(&future);
    CHECK_EQ(finish(&t1), -BK_ECLOSED);
}

static int make_one(void *ctx)
{
    (void)ctx;
    bk_future *future = NULL;
    int r = bk_future_new(&future);
    bk_future_free(&future);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_one, NULL), 1);
}

CHECK_MAIN(TEST(C023_F1_a_pending_future_has_no_result), TEST(C022_C023_C024_F1_settled_once),
           TEST(C029_awaiting_a_done_future_does_not_yield),
           TEST(C030_N6_several_tasks_wake_in_the_order_they_waited),
           TEST(test_cancel_wakes_waiters), TEST(test_cancelled_waiter_leaves_the_future_alone),
           TEST(C043_a_cancel_at_the_moment_it_is_set_wins), TEST(C043_and_in_the_other_order),
           TEST(test_set_and_free), TEST(test_free_wakes_waiters), TEST(test_out_of_memory))
