/* SPDX-License-Identifier: MIT
 * Blocking calls on other threads, and calls into a loop from other threads. */
#ifndef BECK_THREAD_H
#define BECK_THREAD_H

#include <beck/task.h>

BK_BEGIN_DECLS

typedef struct bk_to_thread_opts {
    /* NULL (default): a cancelled caller waits until fn has returned, so ctx may live on its stack.
     * Otherwise a cancelled caller returns at once, fn runs on alone, and the thread then calls
     * on_abandon(ctx, result) to free what fn used. */
    void (*on_abandon)(void *ctx, int result);
} bk_to_thread_opts;

/* Runs fn(ctx), which may block, on a thread of the pool and suspends until it returns.
 * Returns fn's result; -ECANCELED when cancelled before fn started, or abandoned.  fn's bk_fail
 * text becomes the caller's.  -ENOMEM, -EAGAIN when no thread could be started.  fn must not call
 * suspending functions. */
BK_API int bk_to_thread(bk_fn *fn, void *ctx, const bk_to_thread_opts *opts);

/* Starts fn(ctx) as a free-standing task of loop.  Any thread; never blocks.  Calls from one thread
 * start in order. Returns 0, -BK_ECLOSED when the loop is ending (fn will not run), -ENOMEM. */
BK_API int bk_go_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx);

BK_END_DECLS
#endif
