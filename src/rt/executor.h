/* SPDX-License-Identifier: MIT
 * Threads for blocking calls, and the line of calls in front of them. */
#ifndef BECK_SRC_RT_EXECUTOR_H
#define BECK_SRC_RT_EXECUTOR_H

#include <pthread.h>
#include <signal.h>

#include <beck/channel.h>
#include <beck/thread.h>

#include "base/list.h"

/* A call.  The executor's mutex guards its state; whoever runs it owns the rest. */
enum bki_job_state { BKI_JOB_QUEUED, BKI_JOB_RUNNING, BKI_JOB_DONE };

struct bki_job {
    struct bki_list link; /* in executor->queue while queued */
    enum bki_job_state state;
    /* On a thread of the executor; calls bki_executor_done when the thread may be taken to be free,
     * and may free the job. */
    void (*run)(struct bki_job *job);
    struct bk_executor *executor; /* borrowed: a job that has begun keeps it alive */
};

struct bk_executor {
    unsigned refs; /* the owner's, and one for each thread; under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t more;   /* jobs in the queue, or closing */
    pthread_cond_t ended;  /* a thread has ended */
    bk_channel *all_ended; /* closed then: what tasks wait for */
    struct bki_list queue;
    size_t n_queued;
    unsigned n_free; /* threads that run no job: asleep on `more`, or on their way there */
    unsigned n_alive;
    bool closing;
    bool joined; /* or detached: nobody waits for the threads' last steps */
    char name[16];
    unsigned n_threads, max_threads;
    pthread_t threads[];
};

/* For a thread that is about to be made: signals are for the program's own threads, but for those
 * that a fault raises in the thread itself. */
void bki_block_signals(sigset_t *before);

/* Queues the job and makes sure that some thread will take it.  -EAGAIN when there is none,
 * -BK_ECLOSED after a shutdown. */
int bki_executor_submit(struct bk_executor *ex, struct bki_job *job);

/* Takes a job out of the queue.  False: it has begun. */
bool bki_executor_withdraw(struct bk_executor *ex, struct bki_job *job);

/* The calling thread has done the job's work: it is free already before the caller knows, so that
 * the caller's next job does not start another thread. */
void bki_executor_done(struct bki_job *job);

/* Waits on the calling thread until all threads have ended.  Returns how many have not when the
 * limit is over. */
unsigned bki_executor_wait(struct bk_executor *ex, bk_duration limit);

#endif
