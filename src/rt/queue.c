/* SPDX-License-Identifier: MIT
 * Bounded queues between the tasks of one loop. */
#include <beck/queue.h>

#include "base/alloc.h"
#include "rt/ring.h"
#include "rt/sync.h"

#define DEFAULT_LIMIT 64

/* Getters wait only while the ring is empty, putters only while it holds `limit`: in between nobody
 * has to be woken, and put and get are a few instructions.  The two bounds tell "in between" by one
 * unsigned comparison: with n items inside, n - 1 < bound fails for 0 (it wraps) as well as for the
 * other end. An item handed straight to a waiting getter passes through head and tail too, so tail
 * counts all puts. */
struct bk_queue {
    struct bki_ring ring;
    size_t put_bound; /* least of limit and slots, less one; 0 once closed */
    size_t get_bound; /* limit - 1 */
    size_t limit;
    size_t n_done; /* task_done calls: tail - n_done are unfinished */
    struct bki_list getters, putters, joiners;
    bool closed;
    void (*free_item)(void *item);
    char name[BKI_NAME_MAX];
};

static void describe_queue(const void *object, char *buf, size_t size)
{
    const struct bk_queue *queue = object;
    char name[BKI_QUOTED_MAX];
    bki_name_quoted(queue->name, name);
    size_t len = bki_ring_len(&queue->ring);
    if (queue->limit == BK_UNBOUNDED)
        snprintf(buf, size, "%s(%zu)", name, len);
    else
        snprintf(buf, size, "%s(%zu of %zu)", name, len, queue->limit);
}

static void describe_join(const void *object, char *buf, size_t size)
{
    const struct bk_queue *queue = object;
    char name[BKI_QUOTED_MAX];
    snprintf(buf, size, "%s(%zu unfinished)", bki_name_quoted(queue->name, name),
             queue->ring.tail - queue->n_done);
}

static const struct bki_wait_kind get_kind = {.what = "queue get", .describe = describe_queue};
static const struct bki_wait_kind put_kind = {.what = "queue put", .describe = describe_queue};
static const struct bki_wait_kind join_kind = {.what = "queue join", .describe = describe_join};

static void set_put_bound(struct bk_queue *queue)
{
    size_t slots = bki_ring_capacity(&queue->ring);
    queue->put_bound = (queue->limit < slots ? queue->limit : slots) - 1;
}

int bk_queue_new(bk_queue **out, const bk_queue_opts *opts)
{
    struct bk_queue *queue = bki_zalloc(sizeof *queue);
    if (!queue)
        return bk_fail(-ENOMEM, "no memory for a queue");
    queue->limit = opts && opts->limit ? opts->limit : DEFAULT_LIMIT;
    if (bki_ring_init(&queue->ring, queue->limit) < 0) {
        bki_free(queue);
        return bk_fail(-ENOMEM, "no memory for a queue");
    }
    set_put_bound(queue);
    queue->get_bound = queue->limit - 1;
    bki_list_init(&queue->getters);
    bki_list_init(&queue->putters);
    bki_list_init(&queue->joiners);
    queue->free_item = opts ? opts->free_item : NULL;
    bki_name_set(queue->name, opts ? opts->name : NULL);
    *out = queue;
    return 0;
}

void bk_queue_free(bk_queue **queue)
{
    struct bk_queue *q = *queue;
    *queue = NULL;
    if (!q)
        return;
    bki_grant_all(&q->getters, -BK_ECLOSED);
    bki_grant_all(&q->putters, -BK_ECLOSED);
    bki_grant_all(&q->joiners, -BK_ECLOSED);
    while (bki_ring_len(&q->ring) > 0) {
        void *item = bki_ring_pop(&q->ring);
        if (q->free_item)
            q->free_item(item);
    }
    bki_ring_free(&q->ring);
    bki_free(q);
}

/* ---- Put ---- */

static int fail_closed(void)
{
    return bk_fail(-BK_ECLOSED, "the queue is closed");
}

static inline bool put_between(struct bk_queue *queue, void *item)
{
    if (__builtin_expect(bki_ring_len(&queue->ring) - 1 >= queue->put_bound, 0))
        return false;
    bki_ring_push(&queue->ring, item);
    return true;
}

/* Everything a put can meet, short of waiting: 0, -EAGAIN when it is full, or an error. */
static int put_now(struct bk_queue *queue, void *item)
{
    if (queue->closed)
        return fail_closed();
    size_t len = bki_ring_len(&queue->ring);
    if (len == 0) {
        if (bki_line_is_foreign(&queue->getters))
            return bki_fail_foreign("queue");
        struct bki_waiter *getter = bki_grant_first(&queue->getters, 1);
        if (getter) {
            getter->value = item;
            queue->ring.head++;
            queue->ring.tail++;
            return 0;
        }
    }
    if (len >= queue->limit)
        return -EAGAIN;
    if (len == bki_ring_capacity(&queue->ring)) {
        if (bki_ring_grow(&queue->ring) < 0)
            return bk_fail(-ENOMEM, "no memory for more than %zu items in a queue", len);
        set_put_bound(queue);
    }
    bki_ring_push(&queue->ring, item);
    return 0;
}

static __attribute__((noinline)) int put_slowly(struct bk_queue *queue, void *item)
{
    int r = put_now(queue, item);
    if (r != -EAGAIN)
        return r;
    if (bki_line_is_foreign(&queue->putters))
        return bki_fail_foreign("queue");
    struct bki_waiter w = {.value = item};
    r = bki_wait(&queue->putters, &w, &put_kind, queue);
    return r == -BK_ECLOSED ? fail_closed() : r;
}

int bk_queue_put(bk_queue *queue, void *item)
{
    int r = bki_check_cancel();
    if (__builtin_expect(r < 0, 0))
        return r;
    if (__builtin_expect(put_between(queue, item), 1))
        return 0;
    return put_slowly(queue, item);
}

int bk_queue_try_put(bk_queue *queue, void *item)
{
    return put_between(queue, item) ? 0 : put_now(queue, item);
}

/* ---- Get ---- */

static inline bool get_between(struct bk_queue *queue, void **item)
{
    if (__builtin_expect(bki_ring_len(&queue->ring) - 1 >= queue->get_bound, 0))
        return false;
    *item = bki_ring_pop(&queue->ring);
    return true;
}

/* Everything a get can meet, short of waiting: 1, 0 when closed, -EAGAIN when empty, or an error.
 */
static int get_now(struct bk_queue *queue, void **item)
{
    if (bki_ring_len(&queue->ring) == 0)
        return queue->closed ? 0 : -EAGAIN;
    if (bki_line_is_foreign(&queue->putters))
        return bki_fail_foreign("queue");
    *item = bki_ring_pop(&queue->ring);
    struct bki_waiter *putter = bki_grant_first(&queue->putters, 0);
    if (putter)
        bki_ring_push(&queue->ring, putter->value);
    return 1;
}

static __attribute__((noinline)) int get_slowly(struct bk_queue *queue, void **item)
{
    int r = get_now(queue, item);
    if (r != -EAGAIN)
        return r;
    if (bki_line_is_foreign(&queue->getters))
        return bki_fail_foreign("queue");
    struct bki_waiter w;
    r = bki_wait(&queue->getters, &w, &get_kind, queue);
    if (r == 1)
        *item = w.value;
    return bki_fail_freed(r, "queue");
}

int bk_queue_get(bk_queue *queue, void **item)
{
    int r = bki_check_cancel();
    if (__builtin_expect(r < 0, 0))
        return r;
    if (__builtin_expect(get_between(queue, item), 1))
        return 1;
    return get_slowly(queue, item);
}

int bk_queue_try_get(bk_queue *queue, void **item)
{
    return get_between(queue, item) ? 1 : get_now(queue, item);
}

/* ---- The end, and counted work ---- */

void bk_queue_close(bk_queue *queue)
{
    queue->closed = true;
    queue->put_bound = 0;
    bki_grant_all(&queue->putters, -BK_ECLOSED);
    bki_grant_all(&queue->getters, 0); /* they waited, so it is empty */
}

bool bk_queue_closed(const bk_queue *queue)
{
    return queue->closed;
}

size_t bk_queue_len(const bk_queue *queue)
{
    return bki_ring_len(&queue->ring);
}

int bk_queue_task_done(bk_queue *queue)
{
    if (queue->n_done == queue->ring.tail)
        return bk_fail(-EINVAL, "bk_queue_task_done called more often than items were put");
    if (bki_line_is_foreign(&queue->joiners))
        return bki_fail_foreign("queue");
    if (++queue->n_done == queue->ring.tail)
        bki_grant_all(&queue->joiners, 0);
    return 0;
}

int bk_queue_join(bk_queue *queue)
{
    int r = bki_check_cancel();
    if (r < 0 || queue->n_done == queue->ring.tail)
        return r;
    if (bki_line_is_foreign(&queue->joiners))
        return bki_fail_foreign("queue");
    struct bki_waiter w;
    r = bki_wait(&queue->joiners, &w, &join_kind, queue);
    /* As with an event, nothing was taken. */
    return r < 0 ? bki_fail_freed(r, "queue") : bki_check_cancel();
}
