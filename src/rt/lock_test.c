/* SPDX-License-Identifier: MIT
 * Locks.  Tests named as in CPython's test_locks.LockTests show the same behaviour, except where
 * cancellation is level-triggered: a lock granted before the cancel is held, and the next call
 * fails. */
#include <pthread.h>

#include <beck/sync.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

struct user {
    bk_lock *lock;
    int number;
    bool release;
};

static int lock_it(void *ctx)
{
    struct user *user = ctx;
    int r = bk_lock_acquire(user->lock);
    if (r < 0)
        return r;
    trace("%d", user->number);
    if (user->release)
        return bk_lock_release(user->lock);
    return 0;
}

LOOP_TEST(C102_S1_N6_test_acquire)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, false}, u2 = {lock, 2, false}, u3 = {lock, 3, false};
    bk_task *t1 = start(lock_it, &u1), *t2 = start(lock_it, &u2);
    let_run(1);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(bk_lock_release(lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1");
    bk_task *t3 = start(lock_it, &u3);
    CHECK_EQ(bk_lock_release(lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1 2");
    CHECK_EQ(bk_lock_release(lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1 2 3");
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_EQ(finish(&t3), 0);
    bk_lock_free(&lock);
    CHECK(!lock);
}

/* A newcomer cannot take the lock between a release and the waiter's turn. */
LOOP_TEST(C102_S1_test_no_barging)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, true};
    bk_task *t1 = start(lock_it, &u1);
    let_run(1);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK(bk_lock_held(lock));
    CHECK_EQ(bk_lock_try_acquire(lock), -EBUSY);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    CHECK_STR(trace_text(), "1");
    CHECK_EQ(finish(&t1), 0);
    bk_lock_free(&lock);
}

LOOP_TEST(C103_S1_test_acquire_cancel)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, false};
    bk_task *t1 = start(lock_it, &u1);
    let_run(1);
    CHECK_EQ(bk_task_cancel(t1), 1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK(!bk_lock_held(lock)); /* nobody in line */
    bk_lock_free(&lock);
}

/* A waiter that was cancelled before the release is passed over, even though it has not run since.
 */
LOOP_TEST(C103_S1_test_cancel_race)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, true}, u2 = {lock, 2, true};
    bk_task *t1 = start(lock_it, &u1), *t2 = start(lock_it, &u2);
    let_run(1);
    bk_task_cancel(t1);
    let_run(1);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(finish(&t2), 0);
    CHECK_STR(trace_text(), "2");
    CHECK(!bk_lock_held(lock));
    bk_lock_free(&lock);
}

/* Cancel and release in one turn.  Whoever was cancelled first is passed over; who has been granted
 * the lock before holds it, and sees the cancel at its next call.  Exactly one lock is taken. */
static void both_orders(bool cancel_first)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, true}, u2 = {lock, 2, false}, u3 = {lock, 3, false};
    bk_task *t1 = start(lock_it, &u1), *t2 = start(lock_it, &u2), *t3 = start(lock_it, &u3);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(bk_lock_release(lock), 0);
    if (!cancel_first)
        bk_task_cancel(t1);
    let_run(3);
    CHECK_STR(trace_text(), cancel_first ? "2" : "1 2");
    /* it never met a suspending call again, so it ends as cancelled */
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(finish(&t2), 0);
    CHECK(bk_lock_held(lock));
    bk_task_cancel(t3);
    CHECK_EQ(finish(&t3), -ECANCELED);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK(!bk_lock_held(lock));
    bk_lock_free(&lock);
}

LOOP_TEST(C103_S1_test_cancel_release_race)
{
    both_orders(true);
}

/* asyncio raises the cancel and passes the lock on.  Here a cancel cannot take back what was
 * granted: the waiter has the lock, releases it, and the next in line gets it all the same. */
LOOP_TEST(C104_S1_differs_test_finished_waiter_cancelled)
{
    both_orders(false);
}

LOOP_TEST(test_a_cancelled_task_gets_nothing)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_lock_acquire(lock), -ECANCELED);
    CHECK(!bk_lock_held(lock));
    CHECK_EQ(bk_lock_try_acquire(lock), 0); /* does not suspend */
    CHECK_EQ(bk_uncancel(), 0);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    bk_lock_free(&lock);
}

LOOP_TEST(C105_S1_test_release_not_acquired)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_release(lock), -EPERM);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    CHECK_EQ(bk_lock_acquire(lock), -EDEADLK);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK_EQ(bk_lock_release(lock), -EPERM);
    bk_lock_free(&lock);
}

LOOP_TEST(test_free_wakes_waiters)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, false}, u2 = {lock, 2, false};
    bk_task *t1 = start(lock_it, &u1), *t2 = start(lock_it, &u2);
    let_run(1);
    CHECK_EQ(bk_lock_release(lock), 0);
    bk_lock_free(&lock);
    CHECK_EQ(finish(&t1), 0); /* was granted it before */
    CHECK_EQ(finish(&t2), -BK_ECLOSED);
    CHECK_STR(trace_text(), "1");
}

static int holder(void *ctx)
{
    int r = bk_lock_acquire(ctx);
    return r < 0 ? r : bk_sleep_forever();
}

LOOP_TEST(test_dump_names_lock_and_holder)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, "a name that is longer than thirty-one bytes"), 0);
    bk_task *t0 = NULL;
    CHECK_EQ(bk_go(&t0, holder, lock, &(bk_task_opts){.name = "keeper"}), 0);
    struct user u1 = {lock, 1, false};
    let_run(1);
    bk_task *t1 = start(lock_it, &u1);
    let_run(1);
    CHECK(strstr(dump_text(), "lock 'a name that is longer than thir' held by #2 keeper"));
    bk_task_cancel(t0);
    CHECK_EQ(finish(&t0), -ECANCELED);
    CHECK(strstr(dump_text(), "held by a task that has ended"));
    bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    bk_lock_free(&lock);
}

static int release_and_acquire(void *ctx)
{
    int r = bk_lock_release(ctx);
    if (r != -EPERM)
        return 1;
    return bk_lock_acquire(ctx) == -EPERM ? 0 : 2;
}

static void *other_loop(void *ctx)
{
    return (void *)(intptr_t)bk_run(release_and_acquire, ctx, NULL);
}

LOOP_TEST(C117_N5_test_another_loop_is_refused)
{
    bk_lock *lock = NULL;
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    struct user u1 = {lock, 1, false};
    bk_task *t1 = start(lock_it, &u1);
    let_run(1);
    pthread_t thread;
    void *result;
    CHECK_EQ(pthread_create(&thread, NULL, other_loop, lock), 0);
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK_EQ((intptr_t)result, 0);
    CHECK_EQ(bk_lock_release(lock), 0);
    CHECK_EQ(finish(&t1), 0);
    bk_lock_free(&lock);
}

struct inside {
    bk_lock *lock;
    int result;
    bool suspend, was_held;
};

static int look_inside(void *ctx)
{
    struct inside *in = ctx;
    in->was_held = bk_lock_held(in->lock);
    return in->suspend ? bk_sleep_forever() : in->result;
}

static int with_lock(void *ctx)
{
    struct inside *in = ctx;
    return bk_lock_with(in->lock, look_inside, in);
}

LOOP_TEST(C106_S1_the_lock_is_released_on_error_and_on_cancel)
{
    struct inside in = {.result = 7};
    CHECK_EQ(bk_lock_new(&in.lock, NULL), 0);
    CHECK_EQ(with_lock(&in), 7);
    CHECK(in.was_held);
    CHECK(!bk_lock_held(in.lock));
    in.result = -EIO;
    CHECK_EQ(with_lock(&in), -EIO);
    CHECK(!bk_lock_held(in.lock));
    in.suspend = true;
    bk_task *t = start(with_lock, &in);
    let_run(1);
    CHECK(bk_lock_held(in.lock));
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK(!bk_lock_held(in.lock));
    /* without the lock, the function is not called */
    CHECK_EQ(bk_lock_acquire(in.lock), 0);
    in.was_held = false;
    t = start(with_lock, &in);
    let_run(1);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK(!in.was_held);
    bk_lock_free(&in.lock);
}

static int make_one(void *ctx)
{
    (void)ctx;
    bk_lock *lock = NULL;
    int r = bk_lock_new(&lock, "x");
    bk_lock_free(&lock);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_one, NULL), 1);
}

CHECK_MAIN(TEST(C102_S1_N6_test_acquire), TEST(C102_S1_test_no_barging),
           TEST(C103_S1_test_acquire_cancel), TEST(C103_S1_test_cancel_race),
           TEST(C103_S1_test_cancel_release_race),
           TEST(C104_S1_differs_test_finished_waiter_cancelled),
           TEST(test_a_cancelled_task_gets_nothing), TEST(C105_S1_test_release_not_acquired),
           TEST(test_free_wakes_waiters), TEST(test_dump_names_lock_and_holder),
           TEST(C117_N5_test_another_loop_is_refused),
           TEST(C106_S1_the_lock_is_released_on_error_and_on_cancel), TEST(test_out_of_memory))
