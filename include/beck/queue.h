/* SPDX-License-Identifier: MIT
 * A bounded queue of pointers between the tasks of one loop: first in, first out, or in another
 * order.
 *
 *     void *item;
 *     while ((r = bk_queue_get(queue, &item)) > 0)
 *         r = handle((struct job *)item);
 *
 * It belongs to one loop, and is fair with cancelled waiters, as the objects of <beck/sync.h> are:
 * from another loop every call returns -EPERM and changes nothing.  Calls that may suspend are for
 * tasks (-BK_ENOTASK).  Between threads use a channel
 * (<beck/channel.h>). */
#ifndef BECK_QUEUE_H
#define BECK_QUEUE_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_queue bk_queue;

/* Which item a get takes: the oldest, the newest, or the least by bk_queue_opts.compare (of equal
 * ones the oldest). */
enum bk_queue_order { BK_FIFO, BK_LIFO, BK_PRIORITY };

typedef struct bk_queue_opts {
    size_t limit;                  /* most items held; default 64; BK_UNBOUNDED for no limit */
    void (*free_item)(void *item); /* called for items left when the queue is freed or aborted */
    const char *name;              /* for bk_dump; copied, cut at 31 bytes */
    enum bk_queue_order order;     /* default BK_FIFO */
    /* For BK_PRIORITY: below 0 when item a leaves before item b, above 0 when after it, 0 when they
     * are equal.  It must not use the queue. */
    int (*compare)(const void *a, const void *b);
} bk_queue_opts;

/* Errors: -ENOMEM; -EINVAL when one of BK_PRIORITY and compare is given without the other. */
BK_API int bk_queue_new(bk_queue **out, const bk_queue_opts *opts);
/* Frees it and what is left in it, and empties *queue; tasks waiting on it get -BK_ECLOSED. */
BK_API void bk_queue_free(bk_queue **queue);

/* Puts item (any pointer, also NULL) in.  Suspends while full; those who wait get their turn in
 * order, one for each item that is taken.
 * Returns 0; -BK_ECLOSED after close; -ECANCELED, the item not taken; -ENOMEM, which cannot happen
 * with a limit up to 1,024: larger queues get their memory as they fill. */
BK_API int bk_queue_put(bk_queue *queue, void *item);
/* -EAGAIN when full.  Never suspends. */
BK_API int bk_queue_try_put(bk_queue *queue, void *item);

/* Takes the item whose turn it is.  Suspends while empty; those who wait are served in order.
 * Returns 1 and *item; 0 when closed and drained; -ECANCELED, nothing taken; -BK_ECLOSED when
 * aborted or freed. */
BK_API int bk_queue_get(bk_queue *queue, void **item);
/* 1, 0 when closed and drained, -EAGAIN when empty.  Never suspends. */
BK_API int bk_queue_try_get(bk_queue *queue, void **item);

/* The end of the input (asyncio's shutdown): no more puts (waiting ones fail with -BK_ECLOSED);
 * what is inside can still be got, and then gets return 0, waiting ones at once.  Idempotent.
 * Returns 0 or -EPERM. */
BK_API int bk_queue_close(bk_queue *queue);
/* The end of everything (asyncio's shutdown with immediate): closes it, drops what is inside (by
 * free_item; those items no longer count as unfinished), and from now on gets fail with -BK_ECLOSED
 * too, waiting ones at once.  Idempotent.  Returns how many items were dropped, or -EPERM. */
BK_API int bk_queue_abort(bk_queue *queue);
BK_API bool bk_queue_closed(const bk_queue *queue);
BK_API size_t bk_queue_len(const bk_queue *queue);
BK_API bool bk_queue_empty(const bk_queue *queue);
/* A put would wait. */
BK_API bool bk_queue_full(const bk_queue *queue);

/* Counted work, as with asyncio's queue: every item put counts as unfinished until somebody says
 * that it is done, also when closing.  Returns 0, or -EINVAL when called once too often. */
BK_API int bk_queue_task_done(bk_queue *queue);
/* Suspends until nothing is unfinished.  Returns 0, -ECANCELED or -BK_ECLOSED (freed). */
BK_API int bk_queue_join(bk_queue *queue);

BK_END_DECLS
#endif
