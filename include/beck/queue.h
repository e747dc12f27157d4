/* SPDX-License-Identifier: MIT
 * A bounded first-in first-out queue of pointers between the tasks of one loop.
 *
 *     void *item;
 *     while ((r = bk_queue_get(queue, &item)) > 0)
 *         r = handle((struct job *)item); */
#ifndef BECK_QUEUE_H
#define BECK_QUEUE_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_queue bk_queue;

typedef struct bk_queue_opts {
    size_t limit;                  /* most items held; default 64; BK_UNBOUNDED for no limit */
    void (*free_item)(void *item); /* called for items left when the queue is freed */
    const char *name;              /* for bk_dump; copied, cut at 31 bytes */
} bk_queue_opts;

BK_API int bk_queue_new(bk_queue **out, const bk_queue_opts *opts);
/* Frees it and what is left in it; tasks waiting on it get -BK_ECLOSED. */
BK_API void bk_queue_free(bk_queue **queue);

/* Appends item (any pointer, also NULL).  Suspends while full.
 * Returns 0; -BK_ECLOSED after close; -ECANCELED, the item not taken; -ENOMEM, which cannot happen
 * with a limit up to 1,024: larger queues get their memory as they fill. */
BK_API int bk_queue_put(bk_queue *queue, void *item);
/* -EAGAIN when full.  Never suspends. */
BK_API int bk_queue_try_put(bk_queue *queue, void *item);

/* Takes the oldest item.  Suspends while empty.
 * Returns 1 and *item; 0 when closed and drained; -ECANCELED, nothing taken; -BK_ECLOSED when
 * freed. */
BK_API int bk_queue_get(bk_queue *queue, void **item);
/* 1, 0 when closed and drained, -EAGAIN when empty.  Never suspends. */
BK_API int bk_queue_try_get(bk_queue *queue, void **item);

/* No more puts (waiting ones fail with -BK_ECLOSED); what is inside can still be got, and then gets
 * return 0, waiting ones at once.  Idempotent. */
BK_API void bk_queue_close(bk_queue *queue);
BK_API bool bk_queue_closed(const bk_queue *queue);
BK_API size_t bk_queue_len(const bk_queue *queue);

/* Counted work, as with asyncio's queue: every item put counts as unfinished until somebody says
 * task_done, also when closing.  task_done returns 0, or -EINVAL when called once too often; join
 * suspends until nothing is unfinished and returns 0, -ECANCELED or -BK_ECLOSED (freed). */
BK_API int bk_queue_task_done(bk_queue *queue);
BK_API int bk_queue_join(bk_queue *queue);

BK_END_DECLS
#endif
