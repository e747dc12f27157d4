/* SPDX-License-Identifier: MIT
 * Blocking calls on other threads, and calls into a loop from other threads. */
#ifndef BECK_THREAD_H
#define BECK_THREAD_H

#include <beck/task.h>

BK_BEGIN_DECLS

typedef struct bk_executor bk_executor;

typedef struct bk_to_thread_opts {
    bk_executor *executor; /* on whose threads; default: those of the loop */
    /* NULL (default): a cancelled caller waits until fn has returned, so ctx may live on its stack.
     * Otherwise a cancelled caller returns at once, fn runs on alone, and the thread then calls
     * on_abandon(ctx, result) to free what fn used.  If fn had not started, the caller's thread
     * calls it with -ECANCELED.  So ctx is the caller's again exactly when bk_to_thread returns
     * something else than -ECANCELED (which fn itself should not return then). */
    void (*on_abandon)(void *ctx, int result);
} bk_to_thread_opts;

/* Runs fn(ctx), which may block, on a thread of the pool and suspends until it returns.  At most
 * bk_run_opts.max_threads calls run at once; further ones wait their turn in order.  The threads
 * have all signals blocked.  fn must not call suspending functions.
 * Returns fn's result, also when cancelled meanwhile, and fn's bk_fail text becomes the caller's;
 * -ECANCELED when cancelled before fn started, or abandoned; -BK_ECLOSED when the executor was shut
 * down; -ENOMEM; -EAGAIN when no thread could be started.  asyncio: to_thread, run_in_executor. */
BK_API int bk_to_thread(bk_fn *fn, void *ctx, const bk_to_thread_opts *opts);

/* In such a function: whether its caller was cancelled meanwhile, so that long work may stop early.
 * False on any other thread. */
BK_API bool bk_thread_is_cancelled(void);

/* ---- Executors: threads of one's own for bk_to_thread ----
 *
 * For calls that must not wait behind others, or must not run more than so many at once (a library
 * that is not thread-safe: one thread).  Any number of loops may use one, and everything here is
 * for any thread. */

typedef struct bk_executor_opts {
    unsigned max_threads; /* most calls at once; default min(32, CPUs + 4) */
    const char *name;     /* of the threads, for top and debuggers; cut at 15 bytes */
} bk_executor_opts;

/* Makes an executor; its threads start with the calls that need them.
 * out: NULL on entry; bk_executor_free it.  Errors: -ENOMEM.  Does not suspend. */
BK_API int bk_executor_new(bk_executor **out, const bk_executor_opts *opts);

/* Refuses further calls, and waits until those that it has, queued or running, have ended, limit at
 * most (bk_forever() for none): a task suspends, a thread without a loop blocks.  May be called
 * again.
 * Returns 0: no thread of it is left; -ETIMEDOUT (zero or less: at once) or -ECANCELED: some calls
 * go on; -ENOMEM; -EDEADLK in one of its own calls. */
BK_API int bk_executor_shutdown(bk_executor *executor, bk_duration limit);

/* Refuses further calls, without waiting, and gives it back.  NULL is fine.  Does not suspend. */
BK_API void bk_executor_free(bk_executor **executor);

/* Runs fn(item) for each of n items of `size` bytes that lie one after the other, as many at once
 * as there are processors or the executor has threads: work for all cores. executor: NULL for the
 * threads of the loop.  Items begin in order. Suspends until all have ended.  Returns 0; the first
 * failure, items that have not begun are left out then; -ECANCELED, the same; or what keeps
 * bk_to_thread from starting.  In a task. */
BK_API int bk_executor_map(bk_executor *executor, bk_fn *fn, void *items, size_t n, size_t size);

/* ---- Into a loop from other threads ---- */

/* Starts fn(ctx) as a free-standing task of loop.  Any thread; never blocks.  Calls from one thread
 * start in order.  Once bk_loop_current has been called, the loop waits for such calls instead of
 * reporting a deadlock.
 * Returns 0: the task will start, or is cancelled before its first step if the run ends first (and
 * on_error hears of it when there is no memory for it); -BK_ECLOSED when the run is ending (fn will
 * not run); -ENOMEM. */
BK_API int bk_go_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx);

/* ---- The outcome of such a task, for other threads ---- */

/* Any thread may use one, several at once, too, until it is freed. */
typedef struct bk_thread_future bk_thread_future;

/* bk_go_threadsafe with something to wait for: fills *out (bk_thread_future_free it).  That fn
 * could not be started after all, or was cancelled before its first step, is then its result.
 * Returns 0, -BK_ECLOSED or -ENOMEM.  asyncio: run_coroutine_threadsafe. */
BK_API int bk_go_threadsafe_future(bk_loop *loop, bk_thread_future **out, bk_fn *fn, void *ctx);

/* Waits until the task has ended, limit at most (bk_forever() for none; zero or less only looks): a
 * thread without a loop blocks, a task of any loop suspends.
 * Returns 0, *result is the task's (NULL to drop it) and bk_errmsg the detail of its failure;
 * -ETIMEDOUT: the task goes on; -ECANCELED: the calling task was cancelled, the other one goes on;
 * -EDEADLK in the task itself; -BK_ENOTASK in a call of a loop; -ENOMEM. */
BK_API int bk_thread_future_wait(bk_thread_future *future, bk_duration limit, int *result);

/* Asks the task to stop, as bk_task_cancel does; one that has not started never will.  The outcome
 * shows whether it did.  Returns 1, or 0 when it has ended.  Neither suspends nor blocks. */
BK_API int bk_thread_future_cancel(bk_thread_future *future);

/* The task has ended.  Any thread. */
BK_API bool bk_thread_future_done(bk_thread_future *future);

/* Gives it back and empties *future; the task runs on.  A failure that nobody waited for goes to
 * the loop's on_error (stderr, once that is closed).  Nobody may still wait.  NULL is fine. */
BK_API void bk_thread_future_free(bk_thread_future **future);

BK_END_DECLS
#endif
