/* SPDX-License-Identifier: MIT
 * Futures: a result that one task sets once and any number wait for. */
#ifndef BECK_FUTURE_H
#define BECK_FUTURE_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_future bk_future;

BK_API int bk_future_new(bk_future **out);
/* Frees it and empties *future; tasks still waiting get -BK_ECLOSED. */
BK_API void bk_future_free(bk_future **future);

/* Settles it: result as of a task, value anything (borrowed, may be NULL).  Waiters wake in the
 * order they came. Returns 0, or -EALREADY when it was settled or cancelled before. */
BK_API int bk_future_set(bk_future *future, int result, void *value);

/* Settles it as cancelled.  Returns 1, or 0 when it was settled before. */
BK_API int bk_future_cancel(bk_future *future);

BK_API bool bk_future_done(const bk_future *future);
BK_API bool bk_future_cancelled(const bk_future *future);

/* The outcome of a settled future: 0 and *result (NULL to drop), *value (NULL to drop); -ECANCELED
 * when it was cancelled, -EINPROGRESS when it is not settled.  Does not suspend. */
BK_API int bk_future_get(bk_future *future, int *result, void **value);

/* Suspends until settled, then as bk_future_get.  At once, without a suspension, when already
 * settled. -ECANCELED also when the caller was cancelled: the future is not. */
BK_API int bk_future_wait(bk_future *future, int *result, void **value);

BK_END_DECLS
#endif
