/* SPDX-License-Identifier: MIT
 * The outcome of a task, for threads that are not its loop's. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include <beck/loop.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "rt/local.h"
#include "rt/report.h"
#include "rt/timeout.h"

struct bk_thread_future {
    /* Guards what is below, up to `loop`. */
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* for threads; tasks stand in the line */
    struct bki_list waiters;
    bool done, seen;
    bool freed; /* by its owner */
    bool cancel_posted;
    int result;
    char error[BKI_ERROR_TEXT_SIZE];

    bk_loop *loop;    /* a reference */
    atomic_uint refs; /* the owner's, the task's until it has ended, each post's, each wait's */

    /* Of the loop's thread. */
    struct bki_post start, cancel, report;
    bk_task *task; /* while it is alive */
    struct bki_watch watch;
    struct bki_at_end at_end;
    bk_fn *fn;
    void *ctx;
    const void *site;
    struct bki_locals *locals; /* of the thread that started it */
};

/* A task that waits, of any loop; lives in its frame.  Once it is out of the line it is settled,
 * and must not leave the frame before it has been told so. */
struct waiter {
    struct bki_list link;
    struct waiter *next; /* among those just settled */
    struct bki_post post;
    bk_task *task;
    bool settled, arrived;
};

static const struct bki_wait_kind thread_future_kind = {.what = "task of another loop",
                                                        .external = true};

/* ---- Life ---- */

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void ref(struct bk_thread_future *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

static void unref(struct bk_thread_future *f)
{
    if (atomic_fetch_sub(&f->refs, 1) > 1)
        return;
    bk_loop_free(&f->loop);
    pthread_cond_destroy(&f->ended);
    pthread_mutex_destroy(&f->mutex);
    bki_free(f);
}

/* A failure that nobody waited for, in the loop's thread or, when that is gone, anywhere. */
static void report_unseen(struct bk_thread_future *f)
{
    bk_error_report report = {.what = "task of another thread failed and nobody waited for it",
                              .result = f->result,
                              .detail = f->error};
    bki_report(&report);
}

/* Under the mutex. */
static bool is_unseen_failure(const struct bk_thread_future *f)
{
    return f->done && !f->seen && f->result < 0 && f->result != -ECANCELED;
}

/* ---- The end of the task ---- */

static void arrive(struct bki_post *post, struct bk_loop *loop)
{
    (void)loop;
    struct waiter *w = bki_container(post, struct waiter, post);
    w->arrived = true;
    bki_wake(w->task);
}

/* Under the mutex: takes all out of the line. */
static struct waiter *settle_waiters(struct bk_thread_future *f)
{
    struct waiter *first = NULL, **end = &first;
    struct bki_list *l;
    while ((l = bki_list_pop(&f->waiters))) {
        struct waiter *w = bki_container(l, struct waiter, link);
        w->settled = true;
        *end = w;
        end = &w->next;
    }
    return first;
}

static void settle(struct bk_thread_future *f, int result, const char *detail)
{
    pthread_mutex_lock(&f->mutex);
    f->result = result;
    if (result < 0)
        snprintf(f->error, sizeof f->error, "%s", detail);
    f->done = true;
    struct waiter *w = settle_waiters(f);
    bool unseen = f->freed && is_unseen_failure(f);
    pthread_cond_broadcast(&f->ended);
    pthread_mutex_unlock(&f->mutex);
    while (w) {
        struct waiter *next = w->next;
        if (w->task->loop == bki_loop)
            arrive(&w->post, bki_loop);
        else
            bki_inbox_post(w->task->loop, &w->post);
        w = next;
    }
    if (unseen)
        report_unseen(f);
    unref(f);
}

static void task_ended(struct bki_watch *watch, struct bk_task *task)
{
    struct bk_thread_future *f = bki_container(watch, struct bk_thread_future, watch);
    bki_list_remove(&f->at_end.link);
    f->task = NULL;
    task->was_observed = true; /* from here on it is the future's */
    settle(f, task->result, bki_error_slot_text(&task->error));
    bki_task_unref(task);
}

/* The loop ends, and the task does not. */
static void left_behind(struct bki_at_end *at_end, struct bk_loop *loop)
{
    (void)loop;
    struct bk_thread_future *f = bki_container(at_end, struct bk_thread_future, at_end);
    bki_watch_stop(&f->watch);
    f->task = NULL;
    settle(f, -EDEADLK, "the task did not end although cancelled");
}

/* ---- The start ---- */

static void start_posted(struct bki_post *post, struct bk_loop *loop)
{
    struct bk_thread_future *f = bki_container(post, struct bk_thread_future, start);
    struct bki_task_spec spec = {.fn = f->fn, .ctx = f->ctx, .site = f->site};
    struct bki_locals *before = bki_locals_enter(f->locals);
    /* A task started at the end of the loop would be cancelled before its first step. */
    int r = loop->shutting_down ? -ECANCELED : bki_task_start(&f->task, &spec);
    bki_locals_leave(before);
    if (r < 0) {
        settle(f, r, r == -ECANCELED ? "" : bk_errmsg());
        return;
    }
    bki_watch_start(&f->watch, f->task, task_ended);
    f->at_end.run = left_behind;
    bki_list_push_back(&loop->at_end, &f->at_end.link);
}

int bk_go_threadsafe_future(bk_loop *loop, bk_thread_future **out, bk_fn *fn, void *ctx)
{
    if (bki_inbox_refuses_tasks(loop))
        return bk_fail(-BK_ECLOSED, "the loop is ending");
    struct bk_thread_future *f = bki_zalloc(sizeof *f);
    if (!f)
        return bk_fail(-ENOMEM, "no memory to start a task in another thread's loop");
    pthread_mutex_init(&f->mutex, NULL);
    init_cond(&f->ended);
    bki_list_init(&f->waiters);
    atomic_init(&f->refs, 2);
    f->loop = bk_loop_ref(loop);
    f->fn = fn;
    f->ctx = ctx;
    f->site = __builtin_return_address(0);
    f->locals = bki_locals_share();
    f->start.run = start_posted;
    int r = bki_inbox_post(loop, &f->start);
    if (r < 0) {
        bki_locals_unref(f->locals);
        unref(f);
        unref(f);
        return bk_fail(r, "the loop is closed");
    }
    *out = f;
    return 0;
}

/* ---- Waiting ---- */

/* Under the mutex, which it gives back for the wait. */
static void wait_in_thread(struct bk_thread_future *f, bk_duration limit)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t until = bk_time_add((bk_time){t.tv_sec * 1000000000 + t.tv_nsec}, limit).ns;
    t = (struct timespec){.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int err = 0;
    while (!f->done && err != ETIMEDOUT)
        err = pthread_cond_timedwait(&f->ended, &f->mutex, &t);
}

/* Whoever settles us and a cancel of ours may meet: who has the mutex first is right. */
static int leave_line(struct bk_thread_future *f, struct waiter *w)
{
    pthread_mutex_lock(&f->mutex);
    bool settled = w->settled;
    if (!settled)
        bki_list_remove(&w->link);
    pthread_mutex_unlock(&f->mutex);
    return settled ? 0 : -ECANCELED;
}

static int wait_arrival(struct bk_thread_future *f, struct waiter *w)
{
    struct bki_cancel_told told = bki_cancel_told_save();
    while (!w->arrived)
        if (bki_park(&thread_future_kind, f) < 0 && !w->arrived && leave_line(f, w) < 0)
            return -ECANCELED;
    bki_cancel_told_restore(told); /* whatever woke us, the caller is not told of a cancel */
    return 0;
}

/* Under the mutex, which it gives back for the wait. */
static int wait_in_task(struct bk_thread_future *f, bk_duration limit)
{
    struct bk_timeout scope;
    int r = bki_timeout_start(&scope, bk_time_add(bk_now(), limit).ns);
    if (r < 0)
        return r;
    struct waiter w = {.task = bki_self(), .post.run = arrive};
    bki_list_push_back(&f->waiters, &w.link);
    pthread_mutex_unlock(&f->mutex);
    r = bki_timeout_end(&scope, wait_arrival(f, &w));
    pthread_mutex_lock(&f->mutex);
    return r;
}

static int check_wait(const struct bk_thread_future *f)
{
    if (!bki_has_loop())
        return 0;
    int r = bki_check_cancel();
    if (r == 0 && f->loop == bki_loop && f->task == bki_self())
        return bk_fail(-EDEADLK, "a task waited for itself");
    return r;
}

/* Under the mutex: until it is done or the limit has passed. */
static int wait_until_done(struct bk_thread_future *f, bk_duration limit)
{
    int r = 0;
    if (!f->done && limit.ns > 0 && (r = check_wait(f)) == 0) {
        if (bki_has_loop())
            r = wait_in_task(f, limit);
        else
            wait_in_thread(f, limit);
    }
    if (r == 0 && !f->done)
        r = bk_fail(-ETIMEDOUT, "the task has not ended yet");
    return r;
}

int bk_thread_future_wait(bk_thread_future *future, bk_duration limit, int *result)
{
    ref(future);
    pthread_mutex_lock(&future->mutex);
    int r = wait_until_done(future, limit);
    if (r == 0)
        future->seen = true;
    pthread_mutex_unlock(&future->mutex);
    /* Once it is done nothing changes any more. */
    if (r == 0 && result)
        *result = future->result;
    if (r == 0 && future->result < 0)
        bki_error_slot_adopt(&(struct bki_error_slot){future->error});
    unref(future);
    return r;
}

bool bk_thread_future_done(bk_thread_future *future)
{
    pthread_mutex_lock(&future->mutex);
    bool done = future->done;
    pthread_mutex_unlock(&future->mutex);
    return done;
}

/* ---- Cancelling and freeing ---- */

static void cancel_posted(struct bki_post *post, struct bk_loop *loop)
{
    (void)loop;
    struct bk_thread_future *f = bki_container(post, struct bk_thread_future, cancel);
    pthread_mutex_lock(&f->mutex);
    f->cancel_posted = false;
    pthread_mutex_unlock(&f->mutex);
    if (f->task)
        bk_task_cancel(f->task);
    unref(f);
}

int bk_thread_future_cancel(bk_thread_future *future)
{
    pthread_mutex_lock(&future->mutex);
    bool done = future->done, post = !done && !future->cancel_posted;
    if (post)
        future->cancel_posted = true;
    pthread_mutex_unlock(&future->mutex);
    if (post) {
        ref(future);
        future->cancel.run = cancel_posted;
        if (bki_inbox_post(future->loop, &future->cancel) < 0)
            unref(future); /* the end of the loop cancels it, or has */
    }
    return !done;
}

static void report_posted(struct bki_post *post, struct bk_loop *loop)
{
    (void)loop;
    struct bk_thread_future *f = bki_container(post, struct bk_thread_future, report);
    report_unseen(f);
    unref(f);
}

void bk_thread_future_free(bk_thread_future **future)
{
    struct bk_thread_future *f = *future;
    *future = NULL;
    if (!f)
        return;
    pthread_mutex_lock(&f->mutex);
    f->freed = true;
    bool unseen = is_unseen_failure(f);
    pthread_mutex_unlock(&f->mutex);
    if (unseen) {
        f->report.run = report_posted;
        if (bki_inbox_post(f->loop, &f->report) == 0)
            return; /* our reference is the post's now */
        report_unseen(f);
    }
    unref(f);
}
