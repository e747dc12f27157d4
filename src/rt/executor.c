/* SPDX-License-Identifier: MIT
 * Threads for blocking calls: started when a call finds none free, ended by a shutdown. */
#include "rt/executor.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/rt.h"

/* Which executor's thread this is. */
static __thread struct bk_executor *mine;

/* ---- Making and freeing ---- */

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

int bk_executor_new(bk_executor **out, const bk_executor_opts *opts)
{
    unsigned max = opts && opts->max_threads ? opts->max_threads : default_threads();
    struct bk_executor *ex = bki_zalloc(sizeof *ex + max * sizeof ex->threads[0]);
    if (!ex || bk_channel_new(&ex->all_ended, &(bk_channel_opts){.limit = 1}) < 0) {
        bki_free(ex);
        return bk_fail(-ENOMEM, "no memory for an executor");
    }
    ex->refs = 1;
    pthread_mutex_init(&ex->mutex, NULL);
    pthread_cond_init(&ex->more, NULL);
    init_ended(&ex->ended);
    bki_list_init(&ex->queue);
    ex->max_threads = max;
    snprintf(ex->name, sizeof ex->name, "%s", opts && opts->name ? opts->name : "beck-pool");
    *out = ex;
    return 0;
}

/* Under the mutex, which it lets go. */
static void unref(struct bk_executor *ex)
{
    bool last = --ex->refs == 0;
    pthread_mutex_unlock(&ex->mutex);
    if (!last)
        return;
    bk_channel_free(&ex->all_ended);
    pthread_cond_destroy(&ex->more);
    pthread_cond_destroy(&ex->ended);
    pthread_mutex_destroy(&ex->mutex);
    bki_free(ex);
}

/* ---- On its threads ---- */

/* Under the mutex, which it lets go: the last thing a thread does. */
static void leave(struct bk_executor *ex)
{
    if (--ex->n_alive == 0)
        bk_channel_close(ex->all_ended);
    pthread_cond_broadcast(&ex->ended);
    unref(ex);
}

static void *work(void *arg)
{
    struct bk_executor *ex = mine = arg;
    pthread_mutex_lock(&ex->mutex);
    for (;;) {
        struct bki_list *first = bki_list_pop(&ex->queue);
        if (first) {
            struct bki_job *job = bki_container(first, struct bki_job, link);
            ex->n_queued--;
            ex->n_free--;
            job->state = BKI_JOB_RUNNING;
            pthread_mutex_unlock(&ex->mutex);
            job->run(job);
            pthread_mutex_lock(&ex->mutex);
        } else if (ex->closing) {
            break;
        } else {
            pthread_cond_wait(&ex->more, &ex->mutex);
        }
    }
    leave(ex);
    return NULL;
}

void bki_block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, before);
}

/* Under the mutex. */
static int start_thread(struct bk_executor *ex)
{
    sigset_t before;
    bki_block_signals(&before);
    int err = pthread_create(&ex->threads[ex->n_threads], NULL, work, ex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    pthread_setname_np(ex->threads[ex->n_threads], ex->name);
    ex->n_threads++;
    ex->n_alive++;
    ex->n_free++;
    ex->refs++;
    return 0;
}

/* ---- Jobs ---- */

int bki_executor_submit(struct bk_executor *ex, struct bki_job *job)
{
    int r = 0;
    pthread_mutex_lock(&ex->mutex);
    if (ex->closing)
        r = -BK_ECLOSED;
    else if (ex->n_queued >= ex->n_free && ex->n_threads < ex->max_threads)
        r = start_thread(ex);
    if (r != -BK_ECLOSED && ex->n_threads > 0) {
        job->executor = ex;
        job->state = BKI_JOB_QUEUED;
        bki_list_push_back(&ex->queue, &job->link);
        ex->n_queued++;
        pthread_cond_signal(&ex->more);
        r = 0;
    }
    pthread_mutex_unlock(&ex->mutex);
    if (r == -BK_ECLOSED)
        return bk_fail(r, "the executor was shut down");
    return r < 0 ? bki_fail_errno(-EAGAIN, "no thread could be started") : 0;
}

bool bki_executor_withdraw(struct bk_executor *ex, struct bki_job *job)
{
    pthread_mutex_lock(&ex->mutex);
    bool queued = job->state == BKI_JOB_QUEUED;
    if (queued) {
        bki_list_remove(&job->link);
        ex->n_queued--;
    }
    pthread_mutex_unlock(&ex->mutex);
    return queued;
}

void bki_executor_done(struct bki_job *job)
{
    struct bk_executor *ex = job->executor;
    pthread_mutex_lock(&ex->mutex);
    job->state = BKI_JOB_DONE;
    ex->n_free++;
    pthread_mutex_unlock(&ex->mutex);
}

/* ---- The end ---- */

static void close_executor(struct bk_executor *ex)
{
    pthread_mutex_lock(&ex->mutex);
    ex->closing = true;
    if (ex->n_alive == 0)
        bk_channel_close(ex->all_ended);
    pthread_cond_broadcast(&ex->more);
    pthread_mutex_unlock(&ex->mutex);
}

/* All have ended: waits for their last steps. */
static void join(struct bk_executor *ex)
{
    pthread_mutex_lock(&ex->mutex);
    bool joined = ex->joined;
    ex->joined = true;
    pthread_mutex_unlock(&ex->mutex);
    for (unsigned i = 0; !joined && i < ex->n_threads; i++)
        pthread_join(ex->threads[i], NULL);
}

unsigned bki_executor_wait(struct bk_executor *ex, bk_duration limit)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t until = bk_time_add((bk_time){t.tv_sec * 1000000000 + t.tv_nsec}, limit).ns;
    t = (struct timespec){.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int err = 0;
    close_executor(ex);
    pthread_mutex_lock(&ex->mutex);
    while (ex->n_alive > 0 && err != ETIMEDOUT)
        err = pthread_cond_timedwait(&ex->ended, &ex->mutex, &t);
    unsigned n_left = ex->n_alive;
    pthread_mutex_unlock(&ex->mutex);
    if (n_left == 0)
        join(ex);
    return n_left;
}

/* In a task: until the channel is closed. */
static int wait_in_task(struct bk_executor *ex, bk_duration limit)
{
    bk_msg *none = NULL;
    bk_timeout *scope = NULL;
    int r = limit.ns == BK_FOREVER_NS ? 0 : bk_timeout_open(&scope, limit);
    if (r == 0)
        r = bk_channel_recv(ex->all_ended, &none);
    r = bk_timeout_close(&scope, r);
    if (r == 0)
        join(ex);
    return r;
}

int bk_executor_shutdown(bk_executor *ex, bk_duration limit)
{
    if (mine == ex)
        return bk_fail(-EDEADLK, "an executor was shut down in one of its own calls");
    close_executor(ex);
    bool waits = bki_in_task() && limit.ns > 0;
    int r = waits ? wait_in_task(ex, limit) : bki_executor_wait(ex, limit) > 0 ? -ETIMEDOUT : 0;
    return r == -ETIMEDOUT ? bk_fail(r, "calls on the executor '%s' go on", ex->name) : r;
}

void bk_executor_free(bk_executor **executor)
{
    struct bk_executor *ex = *executor;
    *executor = NULL;
    if (!ex)
        return;
    bki_executor_wait(ex, bk_ns(0));
    pthread_mutex_lock(&ex->mutex);
    for (unsigned i = 0; !ex->joined && i < ex->n_threads; i++)
        pthread_detach(ex->threads[i]);
    ex->joined = true;
    unref(ex);
}
