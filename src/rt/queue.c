/* SPDX-License-Identifier: MIT
 * Bounded queues between the tasks of one loop. */
#include <limits.h>

#include <beck/queue.h>

#include "base/alloc.h"
#include "rt/pqueue.h"
#include "rt/ring.h"
#include "rt/select.h"
#include "rt/sync.h"

#define DEFAULT_LIMIT 64

/* Getters wait only while it is empty, putters only while it holds `limit`: in between nobody has
 * to be woken, and put and get are a few instructions.  The two bounds tell "in between" by one
 * unsigned comparison: with n items inside, n - 1 < bound fails for 0 (it wraps) as well as for the
 * other end.  The other orders take the long way always.
 *
 * An item handed straight to a waiting getter passes through the ring's head and tail too, so the
 * tail counts all puts, but for those taken back at the tail (LIFO) and those in the heap. */
struct bk_queue {
    struct bki_owner owner;
    struct bki_ring ring;
    size_t put_bound; /* least of limit and slots, less one; 0 once closed, or if not FIFO */
    size_t get_bound; /* limit - 1; 0 if not FIFO */
    size_t limit;
    size_t n_done; /* task_done calls, and items dropped: n_puts - n_done are unfinished */
    struct bki_list getters, putters, joiners;
    enum bk_queue_order order;
    bool closed, aborted;
    uint64_t producer_id, consumer_id; /* who was last seen off the fast path, for dumps */
    size_t n_back;          /* items that left behind the tail: the newest, or out of the heap */
    struct bki_pqueue heap; /* BK_PRIORITY: the items */
    void (*free_item)(void *item);
    char name[BKI_NAME_MAX];
};

static size_t n_unfinished(const struct bk_queue *queue)
{
    return queue->ring.tail + queue->heap.len + queue->n_back - queue->n_done;
}

#define QUEUE(member) offsetof(struct bk_queue, member)

static void describe_join(const void *object, char *buf, size_t size)
{
    const struct bk_queue *queue = object;
    char name[BKI_QUOTED_MAX];
    snprintf(buf, size, "%s(%zu unfinished)", bki_name_quoted(queue->name, name),
             n_unfinished(queue));
}

static const struct bki_wait_kind get_kind = {
    .what = "queue get",
    .about = "%n(%r%l)%p",
    .at = {QUEUE(name), QUEUE(ring), QUEUE(heap.len), QUEUE(limit), QUEUE(producer_id)},
};
static const struct bki_wait_kind put_kind = {
    .what = "queue put",
    .about = "%n(%r%l)%c",
    .at = {QUEUE(name), QUEUE(ring), QUEUE(heap.len), QUEUE(limit), QUEUE(consumer_id)},
};
static const struct bki_wait_kind join_kind = {.what = "queue join", .describe = describe_join};

/* ---- The items, in whatever order ---- */

static void set_put_bound(struct bk_queue *queue)
{
    size_t slots = bki_ring_capacity(&queue->ring);
    queue->put_bound = (queue->limit < slots ? queue->limit : slots) - 1;
}

static int init_items(struct bk_queue *queue, int (*compare)(const void *a, const void *b))
{
    size_t n = bki_ring_slots_for(queue->limit);
    if (queue->order == BK_PRIORITY)
        return bki_pqueue_init(&queue->heap, n, compare);
    int r = bki_ring_init(&queue->ring, queue->limit);
    if (r == 0 && queue->order == BK_FIFO) {
        set_put_bound(queue);
        queue->get_bound = queue->limit - 1;
    }
    return r;
}

static int store(struct bk_queue *queue, void *item)
{
    if (queue->order == BK_PRIORITY)
        return bki_pqueue_push(&queue->heap, item);
    if (bki_ring_len(&queue->ring) == bki_ring_capacity(&queue->ring)) {
        if (bki_ring_grow(&queue->ring) < 0)
            return -ENOMEM;
        if (queue->order == BK_FIFO)
            set_put_bound(queue);
    }
    bki_ring_push(&queue->ring, item);
    return 0;
}

/* It is not empty. */
static void *take_out(struct bk_queue *queue)
{
    if (queue->order == BK_FIFO)
        return bki_ring_pop(&queue->ring);
    queue->n_back++;
    return queue->order == BK_LIFO ? bki_ring_pop_back(&queue->ring) : bki_pqueue_pop(&queue->heap);
}

/* Returns how many there were. */
static size_t drop_items(struct bk_queue *queue)
{
    size_t n = 0;
    for (; bk_queue_len(queue) > 0; n++) {
        void *item = take_out(queue);
        if (queue->free_item)
            queue->free_item(item);
    }
    return n;
}

/* ---- Life ---- */

int bk_queue_new(bk_queue **out, const bk_queue_opts *opts)
{
    static const bk_queue_opts defaults;
    if (!opts)
        opts = &defaults;
    if ((opts->order == BK_PRIORITY) != (opts->compare != NULL))
        return bk_fail(-EINVAL, "a queue needs both of BK_PRIORITY and compare, or neither");
    struct bk_queue *queue = bki_zalloc(sizeof *queue);
    if (!queue)
        return bk_fail(-ENOMEM, "no memory for a queue");
    queue->limit = opts->limit ? opts->limit : DEFAULT_LIMIT;
    queue->order = opts->order;
    if (init_items(queue, opts->compare) < 0) {
        bki_free(queue);
        return bk_fail(-ENOMEM, "no memory for a queue");
    }
    bki_owner_init(&queue->owner);
    bki_list_init(&queue->getters);
    bki_list_init(&queue->putters);
    bki_list_init(&queue->joiners);
    queue->free_item = opts->free_item;
    bki_name_set(queue->name, opts->name);
    *out = queue;
    return 0;
}

void bk_queue_free(bk_queue **queue)
{
    struct bk_queue *q = *queue;
    *queue = NULL;
    if (!q || bki_owner_refuse_free(&q->owner, "queue"))
        return;
    bki_grant_all(&q->getters, -BK_ECLOSED);
    bki_grant_all(&q->putters, -BK_ECLOSED);
    bki_grant_all(&q->joiners, -BK_ECLOSED);
    drop_items(q);
    bki_ring_free(&q->ring);
    bki_pqueue_free(&q->heap);
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
    size_t len = bk_queue_len(queue);
    queue->producer_id = bki_self()->id;
    if (len == 0) {
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
    if (store(queue, item) < 0)
        return bk_fail(-ENOMEM, "no memory for more than %zu items in a queue", len);
    return 0;
}

static __attribute__((noinline)) int put_slowly(struct bk_queue *queue, void *item)
{
    int r = bki_owner_check_wait(&queue->owner, "queue");
    if (r == 0)
        r = put_now(queue, item);
    if (r != -EAGAIN)
        return r;
    struct bki_waiter w = {.value = item};
    r = bki_wait(&queue->putters, &w, &put_kind, queue);
    return r == -BK_ECLOSED ? fail_closed() : r;
}

int bk_queue_put(bk_queue *queue, void *item)
{
    if (bki_owner_is_fine(&queue->owner) && put_between(queue, item))
        return 0;
    return put_slowly(queue, item);
}

int bk_queue_try_put(bk_queue *queue, void *item)
{
    if (queue->owner.loop == bki_loop && put_between(queue, item))
        return 0;
    int r = bki_owner_check(&queue->owner, "queue");
    return r < 0 ? r : put_now(queue, item);
}

/* ---- Get ---- */

static inline bool get_between(struct bk_queue *queue, void **item)
{
    if (__builtin_expect(bki_ring_len(&queue->ring) - 1 >= queue->get_bound, 0))
        return false;
    *item = bki_ring_pop(&queue->ring);
    return true;
}

static int fail_aborted(void)
{
    return bk_fail(-BK_ECLOSED, "the queue was aborted");
}

/* Everything a get can meet, short of waiting: 1, 0 when closed, -EAGAIN when empty, or an error.
 */
static int get_now(struct bk_queue *queue, void **item)
{
    queue->consumer_id = bki_self()->id;
    if (bk_queue_len(queue) == 0)
        return queue->aborted ? fail_aborted() : queue->closed ? 0 : -EAGAIN;
    *item = take_out(queue);
    struct bki_waiter *putter = bki_grant_first(&queue->putters, 0);
    if (putter)
        store(queue, putter->value); /* into the place that came free: it cannot fail */
    return 1;
}

/* What a wait in the line of getters has brought. */
static int got(const struct bki_waiter *w, int r, void **item)
{
    if (r == 1)
        *item = w->value;
    return r == -BK_ECLOSED ? bk_fail(r, "the queue was aborted or freed") : r;
}

static __attribute__((noinline)) int get_slowly(struct bk_queue *queue, void **item)
{
    int r = bki_owner_check_wait(&queue->owner, "queue");
    if (r < 0)
        return r;
    r = get_now(queue, item);
    if (r != -EAGAIN)
        return r;
    struct bki_waiter w;
    return got(&w, bki_wait(&queue->getters, &w, &get_kind, queue), item);
}

int bk_queue_get(bk_queue *queue, void **item)
{
    if (bki_owner_is_fine(&queue->owner) && get_between(queue, item))
        return 1;
    return get_slowly(queue, item);
}

int bk_queue_try_get(bk_queue *queue, void **item)
{
    if (queue->owner.loop == bki_loop && get_between(queue, item))
        return 1;
    int r = bki_owner_check(&queue->owner, "queue");
    return r < 0 ? r : get_now(queue, item);
}

/* ---- In a select ---- */

static int check_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return bki_owner_check(&((struct bk_queue *)c->object)->owner, "queue");
}

static int try_put_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return put_now(c->object, c->slot);
}

static int join_put_case(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    return bki_case_join(state, select, &((struct bk_queue *)c->object)->putters, c->slot);
}

static int finish_put_case(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    int r = state->w.result;
    return r == -BK_ECLOSED ? fail_closed() : r;
}

static const struct bki_case_kind put_case = {
    .wait = &put_kind,
    .takes = true,
    .check = check_case,
    .try_now = try_put_case,
    .join = join_put_case,
    .leave = bki_case_leave,
    .finish = finish_put_case,
};

bk_case bk_case_put(bk_queue *queue, void *item)
{
    return (bk_case){.kind = &put_case, .object = queue, .slot = item};
}

static int try_get_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return get_now(c->object, c->slot);
}

static int join_get_case(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    return bki_case_join(state, select, &((struct bk_queue *)c->object)->getters, NULL);
}

static int finish_get_case(bk_case *c, struct bki_case_state *state)
{
    return got(&state->w, state->w.result, c->slot);
}

static const struct bki_case_kind get_case = {
    .wait = &get_kind,
    .takes = true,
    .check = check_case,
    .try_now = try_get_case,
    .join = join_get_case,
    .leave = bki_case_leave,
    .finish = finish_get_case,
};

bk_case bk_case_get(bk_queue *queue, void **item)
{
    return (bk_case){.kind = &get_case, .object = queue, .slot = item};
}

/* ---- The end, and counted work ---- */

static void end_puts(struct bk_queue *queue)
{
    queue->closed = true;
    queue->put_bound = 0;
    bki_grant_all(&queue->putters, -BK_ECLOSED);
}

static void wake_joiners(struct bk_queue *queue)
{
    if (n_unfinished(queue) == 0)
        bki_grant_all(&queue->joiners, 0);
}

int bk_queue_close(bk_queue *queue)
{
    int r = bki_owner_check(&queue->owner, "queue");
    if (r < 0)
        return r;
    end_puts(queue);
    bki_grant_all(&queue->getters, 0); /* they waited, so it is empty */
    return 0;
}

int bk_queue_abort(bk_queue *queue)
{
    int r = bki_owner_check(&queue->owner, "queue");
    if (r < 0)
        return r;
    queue->aborted = true;
    end_puts(queue);
    size_t unfinished = n_unfinished(queue), n = drop_items(queue);
    /* Somebody may have said task_done for items that nobody has taken. */
    queue->n_done += n < unfinished ? n : unfinished;
    bki_grant_all(&queue->getters, -BK_ECLOSED);
    wake_joiners(queue);
    return n < INT_MAX ? (int)n : INT_MAX;
}

bool bk_queue_closed(const bk_queue *queue)
{
    return queue->closed;
}

size_t bk_queue_len(const bk_queue *queue)
{
    return bki_ring_len(&queue->ring) + queue->heap.len;
}

bool bk_queue_empty(const bk_queue *queue)
{
    return bk_queue_len(queue) == 0;
}

bool bk_queue_full(const bk_queue *queue)
{
    return bk_queue_len(queue) >= queue->limit;
}

int bk_queue_task_done(bk_queue *queue)
{
    int r = bki_owner_check(&queue->owner, "queue");
    if (r < 0)
        return r;
    if (n_unfinished(queue) == 0)
        return bk_fail(-EINVAL, "bk_queue_task_done called more often than items were put");
    queue->n_done++;
    wake_joiners(queue);
    return 0;
}

int bk_queue_join(bk_queue *queue)
{
    int r = bki_owner_check_wait(&queue->owner, "queue");
    if (r < 0 || n_unfinished(queue) == 0)
        return r;
    struct bki_waiter w;
    r = bki_wait(&queue->joiners, &w, &join_kind, queue);
    /* As with an event, nothing was taken. */
    return r < 0 ? bki_fail_freed(r, "queue") : bki_check_cancel();
}
