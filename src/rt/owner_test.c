/* SPDX-License-Identifier: MIT
 * Objects and the loops they belong to: another loop's thread is refused, in every call, also where
 * nobody waits. */
#include <pthread.h>

#include <beck/queue.h>
#include <beck/sync.h>

#include "tests/run_helper.h"

static struct {
    bk_event *event;
    bk_lock *lock;
    bk_cond *cond;
    bk_sem *sem;
    bk_barrier *barrier;
    bk_queue *queue;
    int n_wrong, n_reports;
} all;

static int make_all(void)
{
    int r = bk_event_new(&all.event, "event");
    r = r < 0 ? r : bk_lock_new(&all.lock, "lock");
    r = r < 0 ? r : bk_cond_new(&all.cond, all.lock, "condition");
    r = r < 0 ? r : bk_sem_new(&all.sem, 1, 0, "semaphore");
    r = r < 0 ? r : bk_barrier_new(&all.barrier, 1, "barrier");
    return r < 0 ? r : bk_queue_new(&all.queue, &(bk_queue_opts){.limit = 4});
}

static void free_all(void)
{
    bk_event_free(&all.event);
    bk_cond_free(&all.cond);
    bk_lock_free(&all.lock);
    bk_sem_free(&all.sem);
    bk_barrier_free(&all.barrier);
    bk_queue_free(&all.queue);
}

/* Counts what is not as wanted. */
static void want(int r, int wanted, const char *text)
{
    if (r == wanted && (!text || strcmp(bk_errmsg(), text) == 0))
        return;
    fprintf(stderr, "%d (%s), not %d (%s)\n", r, bk_errmsg(), wanted, text ? text : "");
    all.n_wrong++;
}

static bool yes(void *ctx)
{
    (void)ctx;
    return true;
}

static int nothing(void *ctx)
{
    (void)ctx;
    return 0;
}

#define FOREIGN(what) "this " what " belongs to another loop"

static void be_refused(void)
{
    want(bk_event_set(all.event), -EPERM, FOREIGN("event"));
    want(bk_event_clear(all.event), -EPERM, FOREIGN("event"));
    want(bk_event_wait(all.event), -EPERM, FOREIGN("event"));
    want(bk_lock_acquire(all.lock), -EPERM, FOREIGN("lock"));
    want(bk_lock_try_acquire(all.lock), -EPERM, FOREIGN("lock"));
    want(bk_lock_release(all.lock), -EPERM, FOREIGN("lock"));
    want(bk_lock_with(all.lock, nothing, NULL), -EPERM, FOREIGN("lock"));
    want(bk_cond_wait(all.cond), -EPERM, FOREIGN("condition"));
    want(bk_cond_wait_for(all.cond, yes, NULL), -EPERM, FOREIGN("condition"));
    want(bk_cond_notify(all.cond, 1), -EPERM, FOREIGN("condition"));
    want(bk_sem_acquire(all.sem), -EPERM, FOREIGN("semaphore"));
    want(bk_sem_try_acquire(all.sem), -EPERM, FOREIGN("semaphore"));
    want(bk_sem_release(all.sem), -EPERM, FOREIGN("semaphore"));
    want(bk_sem_with(all.sem, nothing, NULL), -EPERM, FOREIGN("semaphore"));
    want(bk_barrier_wait(all.barrier), -EPERM, FOREIGN("barrier"));
    want(bk_barrier_reset(all.barrier), -EPERM, FOREIGN("barrier"));
    want(bk_barrier_abort(all.barrier), -EPERM, FOREIGN("barrier"));
    void *item;
    want(bk_queue_put(all.queue, NULL), -EPERM, FOREIGN("queue"));
    want(bk_queue_try_put(all.queue, NULL), -EPERM, FOREIGN("queue"));
    want(bk_queue_get(all.queue, &item), -EPERM, FOREIGN("queue"));
    want(bk_queue_try_get(all.queue, &item), -EPERM, FOREIGN("queue"));
    want(bk_queue_task_done(all.queue), -EPERM, FOREIGN("queue"));
    want(bk_queue_join(all.queue), -EPERM, FOREIGN("queue"));
    want(bk_queue_close(all.queue), -EPERM, FOREIGN("queue"));
}

/* Frees what it holds; the objects stay with their loop. */
static void be_refused_to_free(void)
{
    bk_event *event = all.event;
    bk_lock *lock = all.lock;
    bk_cond *cond = all.cond;
    bk_sem *sem = all.sem;
    bk_barrier *barrier = all.barrier;
    bk_queue *queue = all.queue;
    bk_event_free(&event);
    bk_cond_free(&cond);
    bk_lock_free(&lock);
    bk_sem_free(&sem);
    bk_barrier_free(&barrier);
    bk_queue_free(&queue);
    if (event || lock || cond || sem || barrier || queue)
        all.n_wrong++;
}

/* A condition of one loop cannot be made to work with a lock of another. */
static void be_refused_the_lock(void)
{
    bk_cond *cond = NULL;
    want(bk_cond_new(&cond, all.lock, NULL), 0, NULL);
    want(bk_cond_wait(cond), -EPERM, FOREIGN("lock"));
    bk_cond_free(&cond);
}

static int foreign_main(void *ctx)
{
    (void)ctx;
    be_refused();
    be_refused_to_free();
    return 0;
}

static void count_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    all.n_reports += report->result == -EPERM &&
                     strstr(report->what, " was not freed: it belongs to another loop");
}

static void *foreign_loop(void *ctx)
{
    (void)ctx;
    want(bk_run(foreign_main, NULL, &(bk_run_opts){.on_error = count_report}), 0, NULL);
    want(all.n_reports, 6, NULL);
    return NULL;
}

static void *foreign_thread(void *ctx)
{
    (void)ctx;
    be_refused();
    be_refused_to_free();
    return NULL;
}

static bool run_thread(void *(*body)(void *))
{
    pthread_t thread;
    return pthread_create(&thread, NULL, body, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

/* Nobody waits on anything, so that nothing but the owner tells. */
LOOP_TEST(C117_N5_S1_S2_S3_S4_S5_Q1_another_loop_is_refused)
{
    all.n_wrong = all.n_reports = 0;
    CHECK_EQ(make_all(), 0);
    CHECK_EQ(bk_queue_try_put(all.queue, NULL), 0);
    CHECK(run_thread(foreign_loop));
    CHECK_EQ(all.n_wrong, 0);
    CHECK(run_thread(foreign_thread));
    CHECK_EQ(all.n_wrong, 0);
    CHECK_EQ(bk_queue_len(all.queue), 1);
    CHECK(!bk_event_is_set(all.event));
    CHECK(!bk_lock_held(all.lock));
    CHECK_EQ(bk_sem_value(all.sem), 1);
    CHECK(!bk_barrier_broken(all.barrier));
    free_all();
}

static int foreign_lock_main(void *ctx)
{
    (void)ctx;
    be_refused_the_lock();
    return 0;
}

static void *foreign_lock(void *ctx)
{
    return (void *)(intptr_t)bk_run(foreign_lock_main, ctx, NULL);
}

/* The ids of the tasks that hold it and that ask are the same. */
LOOP_TEST(C117_N5_a_lock_of_another_loop_is_refused_to_a_condition)
{
    all.n_wrong = 0;
    CHECK_EQ(make_all(), 0);
    CHECK_EQ(bk_lock_acquire(all.lock), 0);
    CHECK(run_thread(foreign_lock));
    CHECK_EQ(all.n_wrong, 0);
    free_all();
}

/* ---- Without a loop, and after one ---- */

static int use_all(void *ctx)
{
    (void)ctx;
    void *item;
    want(bk_event_set(all.event), 0, NULL);
    want(bk_event_wait(all.event), 0, NULL);
    want(bk_lock_acquire(all.lock), 0, NULL);
    want(bk_cond_notify(all.cond, 1), 0, NULL);
    want(bk_lock_release(all.lock), 0, NULL);
    want(bk_sem_acquire(all.sem), 0, NULL);
    want(bk_sem_release(all.sem), 0, NULL);
    want(bk_barrier_wait(all.barrier), 0, NULL);
    want(bk_queue_get(all.queue, &item), 1, NULL);
    want(bk_queue_put(all.queue, item), 0, NULL);
    return 0;
}

static void *use_in_thread(void *ctx)
{
    (void)ctx;
    want(bk_run(use_all, NULL, NULL), 0, NULL);
    return NULL;
}

/* Made before any run, used by one run after the other, also on another thread. */
static void N5_an_object_outlives_its_loop(void)
{
    void *item;
    all.n_wrong = 0;
    CHECK_EQ(make_all(), 0);
    CHECK_EQ(bk_queue_try_put(all.queue, &all), 0);
    CHECK_EQ(bk_run(use_all, NULL, NULL), 0);
    CHECK_EQ(bk_run(use_all, NULL, NULL), 0);
    CHECK(run_thread(use_in_thread));
    CHECK_EQ(bk_queue_try_get(all.queue, &item), 1);
    CHECK(item == &all);
    CHECK_EQ(all.n_wrong, 0);
    free_all();
}

static void N5_waiting_outside_a_loop_is_refused(void)
{
    void *item;
    all.n_wrong = 0;
    CHECK_EQ(make_all(), 0);
    want(bk_event_wait(all.event), -BK_ENOTASK,
         "only a task can wait: there is no event loop in this thread");
    want(bk_lock_acquire(all.lock), -BK_ENOTASK, NULL);
    want(bk_cond_wait(all.cond), -BK_ENOTASK, NULL);
    want(bk_sem_acquire(all.sem), -BK_ENOTASK, NULL);
    want(bk_barrier_wait(all.barrier), -BK_ENOTASK, NULL);
    want(bk_queue_get(all.queue, &item), -BK_ENOTASK, NULL);
    want(bk_queue_put(all.queue, NULL), -BK_ENOTASK, NULL);
    want(bk_queue_join(all.queue), -BK_ENOTASK, NULL);
    CHECK_EQ(all.n_wrong, 0);
    free_all();
}

CHECK_MAIN(TEST(C117_N5_S1_S2_S3_S4_S5_Q1_another_loop_is_refused),
           TEST(C117_N5_a_lock_of_another_loop_is_refused_to_a_condition),
           TEST(N5_an_object_outlives_its_loop), TEST(N5_waiting_outside_a_loop_is_refused))
