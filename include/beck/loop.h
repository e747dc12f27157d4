/* SPDX-License-Identifier: MIT
 * Calls: plain functions that the loop runs between the steps of tasks.
 *
 * A call is for the moment when something must happen a little later, and a task would be too much:
 * it has no stack, no name and nobody waits for it.  bk_task_current is NULL in it, and whatever
 * would suspend fails with -BK_ENOTASK; it may start tasks, wake them and make further calls.  A
 * call that returns a negative result is reported to on_error, and the loop goes on.
 *
 * Calls and the steps of tasks run in the order in which they became ready, one at a time. */
#ifndef BECK_LOOP_H
#define BECK_LOOP_H

#include <beck/run.h>

BK_BEGIN_DECLS

/* ---- Calls ---- */

/* A call that may still be called off. */
typedef struct bk_handle bk_handle;

/* Runs fn(ctx) after everything that is ready now; never at once.  ctx must live until then.
 * out: NULL, or filled with a handle (bk_handle_free it); the call runs whether it is kept or not.
 * Returns 0; -ENOMEM; -EINVAL on a thread without a loop; -BK_ECLOSED when the loop is closing.
 * Does not suspend.  asyncio: loop.call_soon. */
BK_API int bk_call_soon(bk_handle **out, bk_fn *fn, void *ctx);

/* The same once a time has passed on the loop's clock, never early; zero or less: after what is
 * ready now.  Calls for the same instant run in the order they were made.  Those whose time has not
 * come when the loop closes are dropped.
 * Errors: as bk_call_soon, and -EINVAL for bk_forever().  asyncio: loop.call_later, call_at. */
BK_API int bk_call_later(bk_handle **out, bk_duration delay, bk_fn *fn, void *ctx);
BK_API int bk_call_at(bk_handle **out, bk_time when, bk_fn *fn, void *ctx);

/* bk_call_soon for any thread, which wakes a loop that is asleep.  Never blocks; calls from one
 * thread run in order.  loop: from bk_loop_current, and not freed yet.
 * Returns 0: fn will run, also when the loop is about to close; -BK_ECLOSED: it is closed, fn will
 * not run; -ENOMEM.  asyncio: loop.call_soon_threadsafe. */
BK_API int bk_call_soon_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx);

/* ---- Handles: for the loop's thread ---- */

/* Calls it off: fn will not run, and ctx is free to go.  Returns 1, or 0 when it has run, runs just
 * now, or was called off before. */
BK_API int bk_handle_cancel(bk_handle *handle);

/* True after bk_handle_cancel returned 1, and when the loop closed before its time came. */
BK_API bool bk_handle_cancelled(const bk_handle *handle);

/* When a call of bk_call_later or bk_call_at is due; for bk_call_soon when it was made. */
BK_API bk_time bk_handle_when(const bk_handle *handle);

/* Gives the handle back and empties *handle, before, inside or after the call; also when the loop
 * is closed.  The call itself is not touched.  NULL is fine. */
BK_API void bk_handle_free(bk_handle **handle);

BK_END_DECLS
#endif
