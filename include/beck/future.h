/* SPDX-License-Identifier: MIT
 * Futures: an outcome that is set once, and that any number of tasks and callbacks wait for.
 *
 * A future belongs to the thread that uses it first: what returns a result returns -EPERM on
 * another.  Calls of the loop, and code outside of any run, may use all but bk_future_wait. */
#ifndef BECK_FUTURE_H
#define BECK_FUTURE_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_future bk_future;

/* Makes a pending future.  -ENOMEM. */
BK_API int bk_future_new(bk_future **out);

/* Gives it back and empties *future; NULL is fine.  One that is still pending ends: tasks that wait
 * for it get -BK_ECLOSED, and so does bk_future_get in its callbacks.  A failure (a result below
 * zero other than -ECANCELED) that nobody has got or waited for goes to bk_run_opts.on_error.
 * May be called from its own callbacks. */
BK_API void bk_future_free(bk_future **future);

/* Settles it: result as of a task, value anything (borrowed, may be NULL).  Waiters wake and
 * callbacks run in the order they came, none of them from inside this call.
 * Returns 0, or -EALREADY when it was settled or cancelled before. */
BK_API int bk_future_set(bk_future *future, int result, void *value);

/* Settles it as cancelled.  Returns 1, or 0 when it was settled before. */
BK_API int bk_future_cancel(bk_future *future);

/* It is no longer pending. */
BK_API bool bk_future_done(const bk_future *future);
BK_API bool bk_future_cancelled(const bk_future *future);

/* The outcome of a settled future: 0 and *result (NULL to drop), *value (NULL to drop); -ECANCELED
 * when it was cancelled, -EINPROGRESS when it is not settled.  Does not suspend. */
BK_API int bk_future_get(bk_future *future, int *result, void **value);

/* Suspends until settled, then as bk_future_get.  At once, without a suspension, when already
 * settled. -ECANCELED also when the caller was cancelled: the future is not. */
BK_API int bk_future_wait(bk_future *future, int *result, void **value);

/* The same within a time: -ETIMEDOUT after limit (at once for zero or less), the future stays as it
 * is.  A settled one gives its outcome whatever the limit.  Otherwise as bk_future_wait, and
 * -ENOMEM. */
BK_API int bk_future_wait_for(bk_future *future, int *result, void **value, bk_duration limit);

/* ---- Callbacks ---- */

/* Called by the loop, outside any task, once future is settled; future: valid for the call.  Must
 * not suspend.  A negative result goes to bk_run_opts.on_error. */
typedef int bk_future_fn(void *ctx, bk_future *future);

/* Calls fn(ctx, future) when future has been settled, also when it is settled already; through the
 * loop, like bk_call_soon.  The same fn and ctx may be added several times.  ctx must live until
 * then.
 * Returns 0; -ENOMEM; -EINVAL on a thread without a loop; -BK_ECLOSED when the loop is closing. */
BK_API int bk_future_add_done_callback(bk_future *future, bk_future_fn *fn, void *ctx);

/* Takes out every callback that was added with the same fn and ctx, and returns how many; none once
 * the future is settled, when they are on their way. */
BK_API int bk_future_remove_done_callback(bk_future *future, bk_future_fn *fn, void *ctx);

/* ---- Chains ---- */

/* Ties dest to source, through the loop like callbacks: when source is settled, dest gets its
 * result and value, or is cancelled when source was cancelled or freed; when dest is cancelled, so
 * is source.  What is settled already stays as it is.  Either may be freed at any time. Returns 0;
 * -EINVAL for a future and itself; and as bk_future_add_done_callback. asyncio: wrap_future. */
BK_API int bk_future_chain(bk_future *source, bk_future *dest);

BK_END_DECLS
#endif
