/* SPDX-License-Identifier: MIT
 * Conditions.  Tests named as in CPython's test_locks.ConditionTests show the same behaviour. */
#include <beck/sync.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

struct shared {
    bk_lock *lock;
    bk_cond *cond;
    int state;
};

struct user {
    struct shared *shared;
    int number;
    bool release;
};

static int setup(struct shared *shared)
{
    *shared = (struct shared){0};
    int r = bk_lock_new(&shared->lock, "lock");
    return r < 0 ? r : bk_cond_new(&shared->cond, shared->lock, "cond");
}

static void teardown(struct shared *shared)
{
    bk_cond_free(&shared->cond);
    bk_lock_free(&shared->lock);
}

static int wait_for_it(void *ctx)
{
    struct user *user = ctx;
    int r = bk_lock_acquire(user->shared->lock);
    if (r < 0)
        return r;
    r = bk_cond_wait(user->shared->cond);
    if (r == 0)
        trace("%d", user->number);
    if (user->release)
        bk_lock_release(user->shared->lock);
    return r;
}

LOOP_TEST(C108_S3_test_wait)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u[3] = {{&s, 1, false}, {&s, 2, false}, {&s, 3, false}};
    bk_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = start(wait_for_it, &u[i]);
    let_run(1);
    CHECK(!bk_lock_held(s.lock));
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    let_run(1);
    CHECK_STR(trace_text(), "");
    CHECK(bk_lock_held(s.lock));
    CHECK_EQ(bk_lock_release(s.lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1");
    CHECK(bk_lock_held(s.lock)); /* by the first, which has ended without a release */
    CHECK_EQ(bk_cond_notify(s.cond, 2), -EPERM);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 2), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1");
    CHECK_EQ(bk_lock_release(s.lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1 2");
    CHECK_EQ(bk_lock_release(s.lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1 2 3");
    for (int i = 0; i < 3; i++)
        CHECK_EQ(finish(&t[i]), 0);
    teardown(&s);
}

LOOP_TEST(C109_S3_test_wait_cancel)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u1 = {&s, 1, false};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK(bk_lock_held(s.lock)); /* by the cancelled waiter */
    CHECK_EQ(bk_lock_release(s.lock), 0);
    teardown(&s);
}

/* The lock is contested when the cancel comes, and a second cancel comes while the waiter queues
 * for it. */
LOOP_TEST(C109_S3_test_wait_cancel_contested)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u1 = {&s, 1, true};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    bk_task_cancel(t1);
    let_run(2);
    CHECK(!bk_task_done(t1));
    bk_task_cancel(t1);
    let_run(2);
    CHECK(!bk_task_done(t1));
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK(!bk_lock_held(s.lock)); /* it had the lock to release */
    teardown(&s);
}

LOOP_TEST(C110_S3_test_wait_cancel_after_notify)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u1 = {&s, 1, true};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    let_run(1);
    bk_task_cancel(t1);
    let_run(1);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_STR(trace_text(), "");
    teardown(&s);
}

LOOP_TEST(C108_S3_test_wait_unacquired)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    CHECK_EQ(bk_cond_wait(s.cond), -EPERM);
    teardown(&s);
}

LOOP_TEST(C108_S3_test_notify_unacquired)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 1), -EPERM);
    CHECK_EQ(bk_cond_notify_all(s.cond), -EPERM);
    teardown(&s);
}

LOOP_TEST(C108_S3_N6_test_notify)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u[3] = {{&s, 1, true}, {&s, 2, true}, {&s, 3, true}};
    bk_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = start(wait_for_it, &u[i]);
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 0), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1");
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 2048), 0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(finish(&t[i]), 0);
    CHECK_STR(trace_text(), "1 2 3");
    teardown(&s);
}

LOOP_TEST(C108_S3_test_notify_all)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u[2] = {{&s, 1, true}, {&s, 2, true}};
    bk_task *t[2] = {start(wait_for_it, &u[0]), start(wait_for_it, &u[1])};
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify_all(s.cond), 0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&t[0]), 0);
    CHECK_EQ(finish(&t[1]), 0);
    CHECK_STR(trace_text(), "1 2");
    teardown(&s);
}

static int timed_wait(void *ctx)
{
    return bk_cond_wait(ctx);
}

static bool state_is_three(void *ctx)
{
    struct shared *s = ctx;
    trace("?");
    return s->state == 3;
}

static int wait_for_three(void *ctx)
{
    struct shared *s = ctx;
    int r = bk_lock_acquire(s->lock);
    if (r < 0)
        return r;
    r = bk_cond_wait_for(s->cond, state_is_three, s);
    trace("%d", r);
    bk_lock_release(s->lock);
    return r;
}

static void next_state(struct shared *s)
{
    bk_lock_acquire(s->lock);
    s->state++;
    bk_cond_notify_all(s->cond);
    bk_lock_release(s->lock);
    let_run(2);
}

LOOP_TEST(C111_S3_wait_for_a_predicate_survives_vain_notifies)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    bk_task *t = start(wait_for_three, &s);
    let_run(1);
    next_state(&s);
    next_state(&s);
    CHECK(!bk_task_done(t));
    next_state(&s);
    CHECK_EQ(finish(&t), 0);
    CHECK_STR(trace_text(), "? ? ? ? 0");
    CHECK_EQ(wait_for_three(&s), 0); /* true at once: no suspension */
    CHECK_STR(trace_text(), "? ? ? ? 0 ? 0");
    s.state = 0;
    t = start(wait_for_three, &s);
    let_run(1);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK(!bk_lock_held(s.lock));
    CHECK_EQ(bk_cond_wait_for(s.cond, state_is_three, &s), -EPERM);
    CHECK_STR(bk_errmsg(), "the caller does not hold the condition's lock");
    teardown(&s);
}

LOOP_TEST(S3_two_conditions_share_a_lock)
{
    struct shared s;
    bk_cond *other = NULL;
    CHECK_EQ(setup(&s), 0);
    CHECK_EQ(bk_cond_new(&other, s.lock, "other"), 0);
    struct user u1 = {&s, 1, true};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify_all(other), 0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    let_run(2);
    CHECK(!bk_task_done(t1));
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify_all(s.cond), 0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&t1), 0);
    bk_cond_free(&other);
    teardown(&s);
}

LOOP_TEST(test_timeout_in_block)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_wait_for(timed_wait, s.cond, bk_ms(500)), -ETIMEDOUT);
    CHECK(bk_lock_held(s.lock));
    CHECK_EQ(bk_lock_release(s.lock), 0);
    teardown(&s);
}

/* Takes one unit of state, or ends when state is below zero. */
static int consumer(void *ctx)
{
    struct shared *s = ctx;
    int r = bk_lock_acquire(s->lock);
    if (r < 0)
        return r;
    while (s->state == 0 && r == 0)
        r = bk_cond_wait(s->cond);
    if (r == 0 && s->state > 0)
        s->state--;
    bk_lock_release(s->lock);
    return r;
}

/* A notify and a cancel for the same waiter, the cancel coming before or while it takes the lock
 * again: another waiter gets the notify. */
static void cancelled_wakeup(bool relocking)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    bk_task *c0 = start(consumer, &s), *c1 = start(consumer, &s);
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    s.state = 1;
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    if (relocking)
        let_run(1);
    bk_task_cancel(c0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&c0), -ECANCELED);
    CHECK_EQ(finish(&c1), 0);
    CHECK_EQ(s.state, 0);
    teardown(&s);
}

LOOP_TEST(C110_S3_test_cancelled_wakeup)
{
    cancelled_wakeup(false);
}

LOOP_TEST(C110_S3_test_cancelled_wakeup_relock)
{
    cancelled_wakeup(true);
}

/* Cancelled first, notified later in the same turn. */
LOOP_TEST(C110_S3_test_notify_after_cancel)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    bk_task *c0 = start(consumer, &s), *c1 = start(consumer, &s);
    let_run(1);
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    bk_task_cancel(c0);
    s.state = 1;
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&c0), -ECANCELED);
    CHECK_EQ(finish(&c1), 0);
    CHECK_EQ(s.state, 0);
    teardown(&s);
}

LOOP_TEST(test_free_wakes_waiters)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    struct user u1 = {&s, 1, false};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    bk_cond_free(&s.cond);
    CHECK_EQ(finish(&t1), -BK_ECLOSED);
    CHECK(bk_lock_held(s.lock)); /* by the waiter */
    bk_lock_free(&s.lock);
}

/* Both freed under a waiter; it comes back without the lock and touches neither. */
static int wait_only(void *ctx)
{
    struct shared *s = ctx;
    bk_cond *cond = s->cond;
    int r = bk_lock_acquire(s->lock);
    return r < 0 ? r : bk_cond_wait(cond);
}

LOOP_TEST(test_free_both)
{
    struct shared s;
    for (int order = 0; order < 2; order++) {
        CHECK_EQ(setup(&s), 0);
        bk_task *t1 = start(wait_only, &s);
        let_run(1);
        if (order)
            bk_lock_free(&s.lock);
        bk_cond_free(&s.cond);
        bk_lock_free(&s.lock);
        CHECK_EQ(finish(&t1), -BK_ECLOSED);
    }
}

/* Both freed before a notified waiter asks for the lock, or while it queues for it. */
LOOP_TEST(test_free_both_while_relocking)
{
    for (int turns = 0; turns < 2; turns++) {
        struct shared s;
        CHECK_EQ(setup(&s), 0);
        bk_task *t1 = start(wait_only, &s);
        let_run(1);
        CHECK_EQ(bk_lock_acquire(s.lock), 0);
        CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
        let_run(turns);
        teardown(&s);
        CHECK_EQ(finish(&t1), -BK_ECLOSED);
    }
}

LOOP_TEST(test_dump)
{
    struct shared s;
    CHECK_EQ(setup(&s), 0);
    bk_task *t1 = start(wait_only, &s);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for condition 'cond'"));
    CHECK_EQ(bk_lock_acquire(s.lock), 0);
    CHECK_EQ(bk_cond_notify(s.cond, 1), 0);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for lock 'lock' held by #1 main"));
    CHECK_EQ(bk_lock_release(s.lock), 0);
    CHECK_EQ(finish(&t1), 0);
    teardown(&s);
}

static int make_one(void *ctx)
{
    (void)ctx;
    struct shared s;
    int r = setup(&s);
    teardown(&s);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_one, NULL), 2);
}

CHECK_MAIN(TEST(C108_S3_test_wait), TEST(C109_S3_test_wait_cancel),
           TEST(C109_S3_test_wait_cancel_contested), TEST(C110_S3_test_wait_cancel_after_notify),
           TEST(C108_S3_test_wait_unacquired), TEST(C108_S3_test_notify_unacquired),
           TEST(C108_S3_N6_test_notify), TEST(C108_S3_test_notify_all),
           TEST(C111_S3_wait_for_a_predicate_survives_vain_notifies),
           TEST(S3_two_conditions_share_a_lock), TEST(test_timeout_in_block),
           TEST(C110_S3_test_cancelled_wakeup), TEST(C110_S3_test_cancelled_wakeup_relock),
           TEST(C110_S3_test_notify_after_cancel), TEST(test_free_wakes_waiters),
           TEST(test_free_both), TEST(test_free_both_while_relocking), TEST(test_dump),
           TEST(test_out_of_memory))
