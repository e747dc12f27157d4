/* SPDX-License-Identifier: MIT
 * Blocking calls on a few threads beside the loop. */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <beck/loop.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "rt/local.h"
#include "rt/report.h"

/* One call.  The pool's mutex guards `state` and `abandoned`; the thread that runs it owns the rest
 * until its post has run in the loop, the loop before and after. */
enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE };

struct job {
    struct bki_list link; /* in pool->queue while queued */
    struct bki_post post;
    bk_fn *fn;
    void *ctx;
    void (*on_abandon)(void *ctx, int result);
    bk_task *task;
    struct bki_locals *locals; /* the caller's */
    enum job_state state;
    bool abandoned; /* the caller has gone: nobody waits for the post */
    bool returned;  /* the post has run; loop thread only */
    int result;
    char error[BKI_ERROR_TEXT_SIZE];
};

struct bki_pool {
    struct bk_loop *loop;
    pthread_mutex_t mutex;
    pthread_cond_t more; /* jobs in the queue, or closing */
    struct bki_list queue;
    size_t n_queued;
    unsigned n_free; /* threads that run no call: asleep on `more`, or on their way there */
    bool closing;
    bool left;        /* the loop has gone on without us: the last thread frees the pool */
    unsigned n_alive; /* threads that have not ended */
    pthread_cond_t ended;
    unsigned n_threads, max_threads;
    pthread_t threads[];
};

static void describe_job(const void *object, char *buf, size_t size)
{
    const struct job *job = object;
    struct bki_pool *pool = job->task->loop->pool;
    pthread_mutex_lock(&pool->mutex);
    bool queued = job->state == JOB_QUEUED;
    pthread_mutex_unlock(&pool->mutex);
    if (queued)
        snprintf(buf, size, "(all %u are busy)", pool->n_threads);
}

static const struct bki_wait_kind job_kind = {.what = "thread", .describe = describe_job};

/* ---- On the pool's threads ---- */

static void clear_error(void)
{
    struct bki_error_slot none = {NULL};
    bki_error_slot_adopt(&none);
}

static void run_job(struct bki_pool *pool, struct job *job)
{
    clear_error();
    bki_locals_enter_thread(job->locals);
    job->result = job->fn(job->ctx);
    if (job->result < 0)
        snprintf(job->error, sizeof job->error, "%s", bk_errmsg());
    /* Free already before the caller knows, so that its next call does not start another thread. */
    pthread_mutex_lock(&pool->mutex);
    job->state = JOB_DONE;
    pool->n_free++;
    bool abandoned = job->abandoned;
    pthread_mutex_unlock(&pool->mutex);
    if (abandoned)
        job->on_abandon(job->ctx, job->result);
    bki_locals_leave_thread();
    if (bki_inbox_post(pool->loop, &job->post) < 0) {
        assert(abandoned); /* the loop has closed without waiting for it */
        bki_free(job);
    }
}

static void free_pool(struct bki_pool *pool)
{
    pthread_cond_destroy(&pool->more);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->mutex);
    bki_free(pool);
}

/* Under the mutex, which it lets go: the last thing a thread does. */
static void leave_pool(struct bki_pool *pool)
{
    bool last = --pool->n_alive == 0 && pool->left;
    struct bk_loop *loop = pool->loop;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
    if (last) {
        free_pool(pool);
        bk_loop_free(&loop);
    }
}

static void *work(void *arg)
{
    struct bki_pool *pool = arg;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct bki_list *first = bki_list_pop(&pool->queue);
        if (first) {
            struct job *job = bki_container(first, struct job, link);
            pool->n_queued--;
            pool->n_free--;
            job->state = JOB_RUNNING;
            pthread_mutex_unlock(&pool->mutex);
            run_job(pool, job);
            pthread_mutex_lock(&pool->mutex);
        } else if (pool->closing) {
            break;
        } else {
            pthread_cond_wait(&pool->more, &pool->mutex);
        }
    }
    leave_pool(pool);
    return NULL;
}

/* Signals are for the program's own threads, but for those that a fault raises in the thread
 * itself. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, before);
}

static int start_thread(struct bki_pool *pool)
{
    sigset_t before;
    block_signals(&before);
    int err = pthread_create(&pool->threads[pool->n_threads], NULL, work, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    pthread_setname_np(pool->threads[pool->n_threads], "beck-pool");
    pool->n_threads++;
    pool->n_alive++;
    pool->n_free++;
    return 0;
}

/* ---- In the loop ---- */

static unsigned default_threads(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < 1 ? 5 : cpus > 28 ? 32 : (unsigned)cpus + 4;
}

static void init_ended(pthread_cond_t *ended)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(ended, &attr);
    pthread_condattr_destroy(&attr);
}

static struct bki_pool *pool_of(struct bk_loop *loop)
{
    if (loop->pool)
        return loop->pool;
    unsigned max = loop->opts.max_threads ? loop->opts.max_threads : default_threads();
    struct bki_pool *pool = bki_zalloc(sizeof *pool + max * sizeof pool->threads[0]);
    if (!pool)
        return NULL;
    pool->loop = loop;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->more, NULL);
    init_ended(&pool->ended);
    bki_list_init(&pool->queue);
    pool->max_threads = max;
    loop->pool = pool;
    return pool;
}

static void job_free(struct job *job)
{
    bki_locals_unref(job->locals);
    bki_free(job);
}

/* The thread is done with the job. */
static void come_back(struct bki_post *post, struct bk_loop *loop)
{
    struct job *job = bki_container(post, struct job, post);
    loop->n_jobs--;
    if (job->abandoned) {
        job_free(job);
        return;
    }
    job->returned = true;
    bki_wake(job->task);
}

/* Queues the job and makes sure that some thread will take it.  -EAGAIN when there is none. */
static int submit(struct bki_pool *pool, struct job *job)
{
    int r = 0;
    pthread_mutex_lock(&pool->mutex);
    if (pool->n_queued >= pool->n_free && pool->n_threads < pool->max_threads)
        r = start_thread(pool);
    if (pool->n_threads > 0) {
        bki_list_push_back(&pool->queue, &job->link);
        pool->n_queued++;
        pthread_cond_signal(&pool->more);
        r = 0;
    }
    pthread_mutex_unlock(&pool->mutex);
    return r < 0 ? bki_fail_errno(-EAGAIN, "no thread could be started") : 0;
}

enum leaving { LEAVE_NOT_STARTED, LEAVE_ABANDONED, STAY };

/* The caller was cancelled: what becomes of its job? */
static enum leaving leave(struct bki_pool *pool, struct job *job)
{
    enum leaving how = STAY;
    pthread_mutex_lock(&pool->mutex);
    if (job->state == JOB_QUEUED) {
        bki_list_remove(&job->link);
        pool->n_queued--;
        how = LEAVE_NOT_STARTED;
    } else if (job->state == JOB_RUNNING && job->on_abandon) {
        job->abandoned = true;
        how = LEAVE_ABANDONED;
    }
    pthread_mutex_unlock(&pool->mutex);
    return how;
}

/* Waits for the job, or parts with it.  STAY: it has come back. */
static enum leaving wait_for_job(struct bki_pool *pool, struct job *job)
{
    struct bki_cancel_told told = bki_cancel_told_save();
    while (!job->returned) {
        if (bki_park(&job_kind, job) == 0 || job->returned)
            continue;
        enum leaving how = leave(pool, job);
        if (how != STAY)
            return how;
    }
    bki_cancel_told_restore(told); /* whatever woke us, the caller is not told of a cancel */
    return STAY;
}

static int finish(struct job *job)
{
    int r = job->result;
    if (r < 0) {
        struct bki_error_slot slot = {job->error};
        bki_error_slot_adopt(&slot);
    }
    job_free(job);
    return r;
}

int bk_to_thread(bk_fn *fn, void *ctx, const bk_to_thread_opts *opts)
{
    void (*on_abandon)(void *ctx, int result) = opts ? opts->on_abandon : NULL;
    int r = bki_check_cancel();
    if (r < 0) {
        if (on_abandon && r == -ECANCELED)
            on_abandon(ctx, -ECANCELED);
        return r;
    }
    struct bk_loop *loop = bki_loop;
    struct bki_pool *pool = pool_of(loop);
    struct job *job = pool ? bki_alloc(sizeof *job) : NULL;
    if (!job)
        return bk_fail(-ENOMEM, "no memory for a call on another thread");
    *job = (struct job){
        .post.run = come_back,
        .fn = fn,
        .ctx = ctx,
        .on_abandon = on_abandon,
        .task = bki_self(),
        .locals = bki_locals_share(),
    };
    r = submit(pool, job);
    if (r < 0) {
        job_free(job);
        return r;
    }
    loop->n_jobs++;
    switch (wait_for_job(pool, job)) {
    case STAY:
        return finish(job);
    case LEAVE_NOT_STARTED:
        loop->n_jobs--;
        job_free(job);
        if (on_abandon)
            on_abandon(ctx, -ECANCELED);
        return -ECANCELED;
    case LEAVE_ABANDONED:
        break; /* come_back frees it */
    }
    return -ECANCELED;
}

/* Under the mutex: waits for all threads to end, or for the limit. */
static void wait_for_threads(struct bki_pool *pool, bk_duration limit)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t until = bk_time_add((bk_time){t.tv_sec * 1000000000 + t.tv_nsec}, limit).ns;
    t = (struct timespec){.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int err = 0;
    while (pool->n_alive > 0 && err != ETIMEDOUT)
        err = pthread_cond_timedwait(&pool->ended, &pool->mutex, &t);
}

static void report_left(unsigned n)
{
    char text[96];
    snprintf(text, sizeof text, "%u function%s on threads did not return by thread_limit", n,
             n == 1 ? "" : "s");
    bk_error_report report = {.what = text, .result = -ETIMEDOUT};
    bki_report(&report);
}

void bki_pool_close(struct bk_loop *loop)
{
    struct bki_pool *pool = loop->pool;
    if (!pool)
        return;
    loop->pool = NULL;
    pthread_mutex_lock(&pool->mutex);
    pool->closing = true;
    pthread_cond_broadcast(&pool->more);
    wait_for_threads(pool, loop->opts.thread_limit);
    unsigned n_left = pool->n_alive;
    if (n_left > 0) {
        pool->left = true;
        bk_loop_ref(loop); /* the threads will find its inbox closed */
        for (unsigned i = 0; i < pool->n_threads; i++)
            pthread_detach(pool->threads[i]);
        pthread_mutex_unlock(&pool->mutex);
        report_left(n_left);
        return;
    }
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    free_pool(pool);
}
