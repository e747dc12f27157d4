/* SPDX-License-Identifier: MIT
 * Blocking calls on an executor's threads, and the executor that each loop has of its own. */
#include <stdio.h>
#include <unistd.h>

#include <beck/gather.h>
#include <beck/loop.h>
#include <beck/parallel.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "rt/executor.h"
#include "rt/local.h"
#include "rt/report.h"

/* One call.  The thread that runs it owns it until its post has run in the loop, the loop before
 * and after; `fate` is what the two settle when the caller leaves. */
enum fate { WAITED_FOR, ABANDONED, OVER };

struct call {
    struct bki_job job;
    struct bki_post post;
    struct bk_loop *loop; /* of an abandoned call: with a reference */
    bk_fn *fn;
    void *ctx;
    void (*on_abandon)(void *ctx, int result);
    bk_task *task;
    struct bki_locals *locals; /* the caller's */
    _Atomic enum fate fate;
    atomic_bool cancelled; /* the caller was, while it ran */
    bool returned;         /* the post has run; loop thread only */
    int result;
    char error[BKI_ERROR_TEXT_SIZE];
};

static void describe_call(const void *object, char *buf, size_t size)
{
    const struct call *call = object;
    struct bk_executor *ex = call->job.executor;
    pthread_mutex_lock(&ex->mutex);
    bool queued = call->job.state == BKI_JOB_QUEUED;
    pthread_mutex_unlock(&ex->mutex);
    if (queued)
        snprintf(buf, size, "(all %u are busy)", ex->n_threads);
}

static const struct bki_wait_kind call_kind = {.what = "thread", .describe = describe_call};

static void free_call(struct call *call)
{
    bki_locals_unref(call->locals);
    bki_free(call);
}

/* ---- On a thread ---- */

static void clear_error(void)
{
    struct bki_error_slot none = {NULL};
    bki_error_slot_adopt(&none);
}

static __thread const struct call *running;

bool bk_thread_is_cancelled(void)
{
    return running && atomic_load_explicit(&running->cancelled, memory_order_relaxed);
}

static void run_call(struct bki_job *job)
{
    struct call *call = bki_container(job, struct call, job);
    clear_error();
    bki_locals_enter_thread(call->locals);
    running = call;
    call->result = call->fn(call->ctx);
    running = NULL;
    if (call->result < 0)
        snprintf(call->error, sizeof call->error, "%s", bk_errmsg());
    bki_executor_done(job);
    enum fate waited_for = WAITED_FOR;
    bool abandoned = !atomic_compare_exchange_strong(&call->fate, &waited_for, OVER);
    if (abandoned)
        call->on_abandon(call->ctx, call->result);
    bki_locals_leave_thread();
    struct bk_loop *loop = call->loop;
    if (bki_inbox_post(loop, &call->post) < 0) {
        free_call(call); /* it was abandoned, and the loop has closed without waiting for it */
        bk_loop_free(&loop);
    }
}

/* ---- In the loop ---- */

/* The thread is done with the call. */
static void come_back(struct bki_post *post, struct bk_loop *loop)
{
    struct call *call = bki_container(post, struct call, post);
    loop->n_jobs--;
    if (atomic_load(&call->fate) == ABANDONED) {
        free_call(call);
        bk_loop_free(&loop);
        return;
    }
    call->returned = true;
    bki_wake(call->task);
}

enum leaving { LEAVE_NOT_STARTED, LEAVE_ABANDONED, STAY };

/* The caller was cancelled: what becomes of its call? */
static enum leaving leave(struct call *call)
{
    if (bki_executor_withdraw(call->job.executor, &call->job))
        return LEAVE_NOT_STARTED;
    atomic_store(&call->cancelled, true);
    if (!call->on_abandon)
        return STAY;
    enum fate waited_for = WAITED_FOR;
    bk_loop_ref(call->loop);
    if (atomic_compare_exchange_strong(&call->fate, &waited_for, ABANDONED))
        return LEAVE_ABANDONED;
    bk_loop_free(&(struct bk_loop *){call->loop});
    return STAY;
}

/* Waits for the call, or parts with it.  STAY: it has come back. */
static enum leaving wait_for_call(struct call *call)
{
    struct bki_cancel_told told = bki_cancel_told_save();
    while (!call->returned) {
        if (bki_park(&call_kind, call) == 0 || call->returned)
            continue;
        enum leaving how = leave(call);
        if (how != STAY)
            return how;
    }
    bki_cancel_told_restore(told); /* whatever woke us, the caller is not told of a cancel */
    return STAY;
}

static int finish(struct call *call)
{
    int r = call->result;
    if (r < 0) {
        struct bki_error_slot slot = {call->error};
        bki_error_slot_adopt(&slot);
    }
    free_call(call);
    return r;
}

/* The loop's own, made for its first call; NULL without memory. */
static struct bk_executor *default_executor(struct bk_loop *loop)
{
    if (loop->opts.executor)
        return loop->opts.executor;
    if (!loop->executor)
        bk_executor_new(&loop->executor,
                        &(bk_executor_opts){.max_threads = loop->opts.max_threads});
    return loop->executor;
}

static int submit(struct call **out, bk_fn *fn, void *ctx, const bk_to_thread_opts *opts)
{
    struct bk_executor *ex = opts && opts->executor ? opts->executor : default_executor(bki_loop);
    struct call *call = ex ? bki_alloc(sizeof *call) : NULL;
    if (!call)
        return bk_fail(-ENOMEM, "no memory for a call on another thread");
    *call = (struct call){
        .job.run = run_call,
        .post.run = come_back,
        .loop = bki_loop,
        .fn = fn,
        .ctx = ctx,
        .on_abandon = opts ? opts->on_abandon : NULL,
        .task = bki_self(),
        .locals = bki_locals_share(),
    };
    int r = bki_executor_submit(ex, &call->job);
    if (r < 0)
        free_call(call);
    else
        *out = call;
    return r;
}

int bk_to_thread(bk_fn *fn, void *ctx, const bk_to_thread_opts *opts)
{
    void (*on_abandon)(void *ctx, int result) = opts ? opts->on_abandon : NULL;
    struct call *call = NULL;
    int r = bki_check_cancel();
    if (r == -ECANCELED && on_abandon)
        on_abandon(ctx, r);
    if (r == 0)
        r = submit(&call, fn, ctx, opts);
    if (r < 0)
        return r;
    bki_loop->n_jobs++;
    switch (wait_for_call(call)) {
    case STAY:
        return finish(call);
    case LEAVE_NOT_STARTED:
        bki_loop->n_jobs--;
        free_call(call);
        if (on_abandon)
            on_abandon(ctx, -ECANCELED);
        return -ECANCELED;
    case LEAVE_ABANDONED:
        break; /* come_back frees it */
    }
    return -ECANCELED;
}

/* ---- All cores ---- */

struct map {
    bk_to_thread_opts opts;
    bk_fn *fn;
    char *items;
    size_t n, size;
    atomic_size_t next;
};

static int map_on_thread(void *ctx)
{
    struct map *map = ctx;
    size_t i;
    int r = 0;
    while (r >= 0 && !bk_thread_is_cancelled() && (i = atomic_fetch_add(&map->next, 1)) < map->n)
        r = map->fn(map->items + i * map->size);
    return r < 0 ? r : 0;
}

/* Its failure makes the gather cancel the others, which stop after the item they are at. */
static int map_in_task(void *ctx)
{
    struct map *map = ctx;
    return bk_to_thread(map_on_thread, map, &map->opts);
}

static size_t n_workers(const struct bk_executor *ex, size_t n_items)
{
    size_t n = bk_cpu_count();
    if (ex && ex->max_threads < n)
        n = ex->max_threads;
    return n < n_items ? n : n_items;
}

int bk_executor_map(bk_executor *executor, bk_fn *fn, void *items, size_t n, size_t size)
{
    struct map map = {.opts.executor = executor, .fn = fn, .items = items, .n = n, .size = size};
    size_t n_calls = n_workers(executor, n);
    int r = bki_check_cancel();
    if (r < 0 || n == 0)
        return r;
    bk_call *calls = bki_zalloc(n_calls * sizeof *calls);
    if (!calls)
        return bk_fail(-ENOMEM, "no memory for %zu calls on threads", n_calls);
    for (size_t i = 0; i < n_calls; i++)
        calls[i] = (bk_call){.fn = map_in_task, .ctx = &map};
    r = bk_gather(calls, n_calls, NULL);
    bki_free(calls);
    return r;
}

/* ---- The end of the loop ---- */

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
    if (!loop->executor)
        return;
    unsigned n_left = bki_executor_wait(loop->executor, loop->opts.thread_limit);
    if (n_left > 0)
        report_left(n_left);
    bk_executor_free(&loop->executor);
}
