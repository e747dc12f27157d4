/* SPDX-License-Identifier: MIT
 * Blocking calls on other threads, and calls into a loop from other threads. */
#ifndef BECK_THREAD_H
#define BECK_THREAD_H

#include <beck/task.h>

BK_BEGIN_DECLS

typedef struct bk_to_thread_opts {
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
 * -ECANCELED when cancelled before fn started, or abandoned; -ENOMEM; -EAGAIN when no thread could
 * be started. */
BK_API int bk_to_thread(bk_fn *fn, void *ctx, const bk_to_thread_opts *opts);

/* Starts fn(ctx) as a free-standing task of loop.  Any thread; never blocks.  Calls from one thread
 * start in order.  Once bk_loop_current has been called, the loop waits for such calls instead of
 * reporting a deadlock.
 * Returns 0: the task will start, or is cancelled before its first step if the run ends first (and
 * on_error hears of it when there is no memory for it); -BK_ECLOSED when the run is ending (fn will
 * not run); -ENOMEM. */
BK_API int bk_go_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx);

BK_END_DECLS
#endif
