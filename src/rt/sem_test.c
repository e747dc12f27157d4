/* SPDX-License-Identifier: MIT
 * Semaphores.  Tests named as in CPython's test_locks.SemaphoreTests show the same behaviour,
 * except where cancellation is level-triggered: a permit granted before the cancel is held, and the
 * next call fails. */
#include <beck/sync.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

struct user {
    bk_sem *sem;
    int number;
};

static int acquire(void *ctx)
{
    struct user *user = ctx;
    int r = bk_sem_acquire(user->sem);
    if (r == 0)
        trace("%d", user->number);
    return r;
}

LOOP_TEST(C112_S4_test_semaphore)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 1, 0, NULL), 0);
    CHECK_EQ(bk_sem_value(sem), 1);
    CHECK_EQ(bk_sem_try_acquire(sem), 0);
    CHECK_EQ(bk_sem_value(sem), 0);
    CHECK_EQ(bk_sem_try_acquire(sem), -EAGAIN);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_value(sem), 1);
    bk_sem_free(&sem);
    CHECK(!sem);
}

LOOP_TEST(test_semaphore_value)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 3, 2, NULL), -EINVAL);
    CHECK(!sem);
    bk_sem_free(&sem);
}

LOOP_TEST(C112_S4_N6_test_acquire)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 3, 0, NULL), 0);
    CHECK_EQ(bk_sem_acquire(sem), 0);
    CHECK_EQ(bk_sem_acquire(sem), 0);
    struct user u[4] = {{sem, 1}, {sem, 2}, {sem, 3}, {sem, 4}};
    bk_task *t[4];
    for (int i = 0; i < 3; i++)
        t[i] = start(acquire, &u[i]);
    let_run(1);
    CHECK_STR(trace_text(), "1");
    t[3] = start(acquire, &u[3]);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_value(sem), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1 2 3");
    CHECK_EQ(bk_sem_value(sem), 0);
    CHECK_EQ(bk_sem_release(sem), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(finish(&t[i]), 0);
    CHECK_STR(trace_text(), "1 2 3 4");
    bk_sem_free(&sem);
}

LOOP_TEST(C113_S4_test_acquire_cancel)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 0, NULL), 0);
    struct user u1 = {sem, 1};
    bk_task *t1 = start(acquire, &u1);
    let_run(1);
    bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_value(sem), 1);
    bk_sem_free(&sem);
}

LOOP_TEST(C113_S4_test_acquire_cancel_before_awoken)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 0, NULL), 0);
    struct user u[4] = {{sem, 1}, {sem, 2}, {sem, 3}, {sem, 4}};
    bk_task *t[4];
    for (int i = 0; i < 4; i++)
        t[i] = start(acquire, &u[i]);
    let_run(1);
    bk_task_cancel(t[0]);
    bk_task_cancel(t[1]);
    let_run(1);
    CHECK_EQ(bk_sem_release(sem), 0);
    let_run(2);
    CHECK_STR(trace_text(), "3");
    CHECK(bk_task_done(t[2]));
    CHECK(!bk_task_done(t[3]));
    bk_task_cancel(t[3]);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(finish(&t[i]), i == 2 ? 0 : -ECANCELED);
    CHECK_EQ(bk_sem_value(sem), 0);
    bk_sem_free(&sem);
}

/* A permit and a cancel in one turn: the permit is not lost, and goes by whoever was cancelled
 * first. */
static int acquire_and_release(void *ctx)
{
    struct user *user = ctx;
    int r = bk_sem_acquire(user->sem);
    if (r < 0)
        return r;
    trace("%d", user->number);
    r = bk_yield(); /* where a level-triggered cancel shows */
    bk_sem_release(user->sem);
    return r;
}

static void race(bool cancel_first)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 1, NULL), 0);
    struct user u1 = {sem, 1}, u2 = {sem, 2};
    bk_task *t1 = start(acquire_and_release, &u1), *t2 = start(acquire_and_release, &u2);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(bk_sem_release(sem), 0);
    if (!cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(finish(&t2), 0);
    CHECK_STR(trace_text(), cancel_first ? "2" : "1 2");
    CHECK_EQ(bk_sem_value(sem), 1);
    bk_sem_free(&sem);
}

LOOP_TEST(C113_S4_test_acquire_hang)
{
    race(true);
}

LOOP_TEST(C113_S4_test_cancel_after_grant)
{
    race(false);
}

static struct {
    bk_sem *sem;
    bk_task *t2;
} no_hang;

static int no_hang_c1(void *ctx)
{
    (void)ctx;
    int r = bk_sem_acquire(no_hang.sem);
    if (r < 0)
        return r;
    bk_yield();
    bk_sem_release(no_hang.sem);
    bk_task_cancel(no_hang.t2);
    return 0;
}

/* c2 is granted c1's permit, and then cancelled by it. */
LOOP_TEST(C113_S4_test_acquire_no_hang)
{
    CHECK_EQ(bk_sem_new(&no_hang.sem, 1, 0, NULL), 0);
    struct user u2 = {no_hang.sem, 2};
    bk_task *t1 = start(no_hang_c1, NULL);
    no_hang.t2 = start(acquire_and_release, &u2);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&no_hang.t2), -ECANCELED);
    CHECK_EQ(bk_sem_acquire(no_hang.sem), 0);
    bk_sem_free(&no_hang.sem);
}

LOOP_TEST(C105_S4_test_release_not_acquired)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 1, 1, NULL), 0);
    CHECK_EQ(bk_sem_release(sem), -EOVERFLOW);
    CHECK_EQ(bk_sem_acquire(sem), 0);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_release(sem), -EOVERFLOW);
    bk_sem_free(&sem);
    CHECK_EQ(bk_sem_new(&sem, SIZE_MAX, 0, NULL), 0);
    CHECK_EQ(bk_sem_release(sem), -EOVERFLOW);
    bk_sem_free(&sem);
}

static int twice(void *ctx)
{
    struct user *user = ctx;
    for (int i = 1; i <= 2; i++) {
        int r = bk_sem_acquire(user->sem);
        if (r < 0)
            return r;
        trace("c%d_%d", user->number, i);
        bk_sleep(bk_ms(10));
        bk_sem_release(user->sem);
    }
    return 0;
}

LOOP_TEST(C112_S4_test_acquire_fifo_order)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 1, 0, NULL), 0);
    struct user u[3] = {{sem, 1}, {sem, 2}, {sem, 3}};
    bk_call calls[3] = {
        {.fn = twice, .ctx = &u[0]}, {.fn = twice, .ctx = &u[1]}, {.fn = twice, .ctx = &u[2]}};
    CHECK_EQ(bk_gather(calls, 3, NULL), 0);
    CHECK_STR(trace_text(), "c1_1 c2_1 c3_1 c1_2 c2_2 c3_2");
    bk_sem_free(&sem);
}

static int fifo_2_c2(void *ctx)
{
    bk_sem *sem = ctx;
    bk_sem_acquire(sem);
    trace("2");
    bk_sem_release(sem);
    bk_sem_acquire(sem);
    trace("4");
    return 0;
}

/* c3 has been granted a permit but has not run: c2 cannot overtake it with the one it gives back.
 */
LOOP_TEST(C112_S4_test_acquire_fifo_order_2)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 1, 0, NULL), 0);
    struct user u1 = {sem, 1}, u3 = {sem, 3};
    bk_task *t1 = start(acquire, &u1), *t2 = start(fifo_2_c2, sem), *t3 = start(acquire, &u3);
    let_run(1);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_EQ(finish(&t3), 0);
    CHECK_STR(trace_text(), "1 2 3 4");
    bk_sem_free(&sem);
}

LOOP_TEST(C113_S4_test_acquire_fifo_order_3)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 0, NULL), 0);
    struct user u[3] = {{sem, 1}, {sem, 2}, {sem, 3}};
    bk_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = start(acquire, &u[i]);
    let_run(1);
    bk_task_cancel(t[0]);
    let_run(1);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_release(sem), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(finish(&t[i]), i == 0 ? -ECANCELED : 0);
    CHECK_STR(trace_text(), "2 3");
    bk_sem_free(&sem);
}

static struct {
    bk_sem *sem;
    bk_task *t4;
} fifo_4;

static int fifo_4_c4(void *ctx)
{
    (void)ctx;
    trace("4");
    return 0;
}

static int fifo_4_c1(void *ctx)
{
    (void)ctx;
    bk_sem_acquire(fifo_4.sem);
    trace("value %zu", bk_sem_value(fifo_4.sem)); /* the others' permits are granted */
    fifo_4.t4 = start(fifo_4_c4, NULL);
    trace("1");
    return 0;
}

static int fifo_4_c2(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 3; i++)
        bk_sem_release(fifo_4.sem);
    trace("value %zu", bk_sem_value(fifo_4.sem));
    trace("try %d", bk_sem_try_acquire(fifo_4.sem) == -EAGAIN); /* c1 has not run yet */
    bk_sem_acquire(fifo_4.sem);
    trace("2");
    return 0;
}

LOOP_TEST(C112_C113_S4_test_acquire_fifo_order_4)
{
    CHECK_EQ(bk_sem_new(&fifo_4.sem, 0, 0, NULL), 0);
    struct user u3 = {fifo_4.sem, 3};
    bk_task *t1 = start(fifo_4_c1, NULL), *t2 = start(fifo_4_c2, NULL), *t3 = start(acquire, &u3);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_EQ(finish(&t3), 0);
    CHECK_EQ(finish(&fifo_4.t4), 0);
    CHECK_STR(trace_text(), "value 2 try 1 value 0 1 2 3 4");
    bk_sem_free(&fifo_4.sem);
}

/* Freed while one waiter has its permit but not yet run, and another still waits. */
LOOP_TEST(test_free_wakes_waiters)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 0, NULL), 0);
    struct user u1 = {sem, 1}, u2 = {sem, 2};
    bk_task *t1 = start(acquire, &u1), *t2 = start(acquire, &u2);
    let_run(1);
    CHECK_EQ(bk_sem_release(sem), 0);
    bk_sem_free(&sem);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), -BK_ECLOSED);
    CHECK_STR(trace_text(), "1");
}

#ifdef __SANITIZE_THREAD__
enum { MANY = 1000 }; /* it takes a millisecond for each task */
#else
enum { MANY = 10000 };
#endif

static int n_holders, most_holders;

static int hold(void *ctx)
{
    int r = bk_sem_acquire(ctx);
    if (r < 0)
        return r;
    if (++n_holders > most_holders)
        most_holders = n_holders;
    bk_yield();
    n_holders--;
    return bk_sem_release(ctx);
}

/* 10,000 in line, every third cancelled on the way: never more than n holders, no permit lost. */
LOOP_TEST(C112_C114_S4_test_many)
{
    static bk_task *t[MANY];
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 7, 7, "seven"), 0);
    n_holders = most_holders = 0;
    for (int i = 0; i < MANY; i++)
        t[i] = start(hold, sem);
    for (int i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            bk_task_cancel(t[i]);
        if (i % 10 == 0)
            bk_yield();
    }
    for (int i = 0; i < MANY; i++) {
        int r = finish(&t[i]);
        CHECK(r == 0 || (r == -ECANCELED && i % 3 == 0));
    }
    CHECK_EQ(most_holders, 7);
    CHECK_EQ(bk_sem_value(sem), 7);
    bk_sem_free(&sem);
}

LOOP_TEST(test_dump)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 0, "slots"), 0);
    struct user u1 = {sem, 1};
    bk_task *t1 = start(acquire, &u1);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for semaphore 'slots' (0 free)"));
    bk_sem_free(&sem);
    CHECK_EQ(finish(&t1), -BK_ECLOSED);
}

LOOP_TEST(C113_S4_locked_is_true_while_waiters_are_queued)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 1, 0, NULL), 0);
    CHECK(!bk_sem_locked(sem));
    CHECK_EQ(bk_sem_acquire(sem), 0);
    CHECK(bk_sem_locked(sem));
    struct user u1 = {sem, 1};
    bk_task *t1 = start(acquire, &u1);
    let_run(1);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK_EQ(bk_sem_value(sem), 1);
    CHECK(bk_sem_locked(sem)); /* a permit is free, but the waiter has not run yet */
    CHECK_EQ(finish(&t1), 0);
    CHECK(!bk_sem_locked(sem));
    bk_sem_free(&sem);
}

/* Each release finds the one to wake at once, however long the line is: it wakes exactly one, the
 * first. */
LOOP_TEST(C114_S4_a_release_wakes_exactly_the_first)
{
    static bk_task *t[MANY];
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 0, 0, NULL), 0);
    static struct user u[MANY];
    for (int i = 0; i < MANY; i++) {
        u[i] = (struct user){sem, i};
        t[i] = start(acquire, &u[i]);
    }
    let_run(1);
    for (int i = 0; i < MANY; i++) {
        trace_reset();
        CHECK_EQ(bk_sem_release(sem), 0);
        let_run(1);
        char want[16];
        snprintf(want, sizeof want, "%d", i);
        CHECK_STR(trace_text(), want);
        CHECK_EQ(finish(&t[i]), 0);
    }
    bk_sem_free(&sem);
}

static int fail_inside(void *ctx)
{
    return bk_sem_value(ctx) == 0 ? -EIO : 0;
}

LOOP_TEST(C106_S4_the_permit_is_given_back_on_error)
{
    bk_sem *sem = NULL;
    CHECK_EQ(bk_sem_new(&sem, 1, 1, NULL), 0);
    CHECK_EQ(bk_sem_with(sem, fail_inside, sem), -EIO);
    CHECK_EQ(bk_sem_value(sem), 1);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_sem_with(sem, fail_inside, sem), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(bk_sem_value(sem), 1);
    bk_sem_free(&sem);
}

static int make_one(void *ctx)
{
    (void)ctx;
    bk_sem *sem = NULL;
    int r = bk_sem_new(&sem, 1, 0, "x");
    bk_sem_free(&sem);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_one, NULL), 1);
}

CHECK_MAIN(TEST(C112_S4_test_semaphore), TEST(test_semaphore_value), TEST(C112_S4_N6_test_acquire),
           TEST(C113_S4_test_acquire_cancel), TEST(C113_S4_test_acquire_cancel_before_awoken),
           TEST(C113_S4_test_acquire_hang), TEST(C113_S4_test_cancel_after_grant),
           TEST(C113_S4_test_acquire_no_hang), TEST(C105_S4_test_release_not_acquired),
           TEST(C112_S4_test_acquire_fifo_order), TEST(C112_S4_test_acquire_fifo_order_2),
           TEST(C113_S4_test_acquire_fifo_order_3), TEST(C112_C113_S4_test_acquire_fifo_order_4),
           TEST(test_free_wakes_waiters), TEST(C112_C114_S4_test_many),
           TEST(C113_S4_locked_is_true_while_waiters_are_queued),
           TEST(C114_S4_a_release_wakes_exactly_the_first),
           TEST(C106_S4_the_permit_is_given_back_on_error), TEST(test_dump),
           TEST(test_out_of_memory))
