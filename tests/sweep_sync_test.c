/* SPDX-License-Identifier: MIT
 * Sweeps over queues, locks, semaphores, conditions, events and futures: what was handed over is
 * with somebody, always. */
#include "rt/sync.h"
#include "tests/sweep_harness.h"

/* ---- Queues: items put = got + left ---- */

enum { ITEMS = 8 };

struct line {
    bk_queue *queue;
    intptr_t n_put, n_got, n_done;
    intptr_t last_got; /* items are numbered from 1: they come in order, none twice */
    int n_closed;
};

static int open_queue(void *ctx, size_t limit)
{
    struct line *l = ctx;
    return bk_queue_new(&l->queue, &(bk_queue_opts){.limit = limit, .name = "line"});
}

static int open_short_queue(void *ctx)
{
    return open_queue(ctx, 1);
}

static int open_unbounded_queue(void *ctx)
{
    return open_queue(ctx, BK_UNBOUNDED);
}

static void close_queue(void *ctx)
{
    struct line *l = ctx;
    bk_queue_free(&l->queue);
}

static void got(struct line *l, void *item)
{
    intptr_t number = (intptr_t)item;
    if (number != l->last_got + 1)
        sweep_lost("item %ld follows item %ld", (long)number, (long)l->last_got);
    l->last_got = number;
    l->n_got++;
}

static int put_all(void *ctx)
{
    struct line *l = ctx;
    int r = 0;
    while (r == 0 && l->n_put < ITEMS) {
        r = bk_queue_put(l->queue, (void *)(l->n_put + 1));
        l->n_put += r == 0;
        if (r == 0 && l->n_put == ITEMS / 2)
            r = bk_yield(); /* so that getters find it empty now and then */
    }
    return r;
}

static int get_all(void *ctx)
{
    struct line *l = ctx;
    int r = 1;
    while (r == 1 && l->n_got < ITEMS) {
        void *item = NULL;
        r = bk_queue_get(l->queue, &item);
        if (r == 1) {
            got(l, item);
            bk_queue_task_done(l->queue);
            l->n_done++;
        }
    }
    return r < 0 ? r : 0;
}

static int put_all_and_close(void *ctx)
{
    struct line *l = ctx;
    int r = put_all(ctx);
    if (r == 0)
        bk_queue_close(l->queue);
    return r;
}

static int get_until_closed(void *ctx)
{
    struct line *l = ctx;
    void *item = NULL;
    int r;
    while ((r = bk_queue_get(l->queue, &item)) == 1)
        got(l, item);
    return r;
}

static int join_queue(void *ctx)
{
    struct line *l = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_queue_join(l->queue);
    if (r == 0 && l->n_put > 0 && l->n_done == 0)
        sweep_lost("joined with no item done");
    return r;
}

static void items_are_accounted_for(void *ctx, int result)
{
    struct line *l = ctx;
    void *item;
    (void)result;
    while (bk_queue_try_get(l->queue, &item) == 1)
        got(l, item);
    if (l->n_got != l->n_put)
        sweep_lost("%ld items put, %ld got or left", (long)l->n_put, (long)l->n_got);
}

/* The putter waits on a full queue, which is closed under it. */
static int put_until_closed(void *ctx)
{
    struct line *l = ctx;
    int r = put_all(ctx);
    l->n_closed += r == -BK_ECLOSED;
    return r;
}

static int close_soon(void *ctx)
{
    struct line *l = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    bk_queue_close(l->queue);
    return r;
}

/* One queue to the next: a getter and a putter in one task. */
struct relay {
    struct line in, out;
};

static int open_relay(void *ctx)
{
    struct relay *r = ctx;
    int e = open_queue(&r->in, 1);
    return e < 0 ? e : open_queue(&r->out, 1);
}

static void close_relay(void *ctx)
{
    struct relay *r = ctx;
    close_queue(&r->in);
    close_queue(&r->out);
}

static int feed_relay(void *ctx)
{
    return put_all(&((struct relay *)ctx)->in);
}

static int empty_relay(void *ctx)
{
    return get_all(&((struct relay *)ctx)->out);
}

static int pass_on(void *ctx)
{
    struct relay *l = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < ITEMS; i++) {
        void *item = NULL;
        r = bk_queue_get(l->in.queue, &item);
        if (r < 0)
            break;
        got(&l->in, item);
        r = bk_queue_put(l->out.queue, item);
        if (r == 0)
            l->out.n_put++;
    }
    return r;
}

/* At most the one item that was in the subject's hand did not arrive. */
static void relayed(void *ctx, int result)
{
    struct relay *l = ctx;
    intptr_t held = l->in.n_got - l->out.n_put;
    items_are_accounted_for(&l->in, result);
    items_are_accounted_for(&l->out, result);
    if (held < 0 || held > (result == 0 ? 0 : 1))
        sweep_lost("%ld items were in hand", (long)held);
}

/* ---- Locks, semaphores, conditions ---- */

struct room {
    bk_lock *lock;
    bk_sem *sem;
    bk_cond *cond;
    bk_event *event;
    bk_future *future;
    int inside, most;    /* tasks that hold what admits them */
    int tickets, served; /* what the condition is about */
    int fewer_tickets;   /* than two */
    int n_visits;
};

static int open_room(void *ctx)
{
    struct room *m = ctx;
    int r = bk_lock_new(&m->lock, "door");
    if (r == 0)
        r = bk_sem_new(&m->sem, 2, 2, "seats");
    if (r == 0)
        r = bk_cond_new(&m->cond, m->lock, "tickets");
    if (r == 0)
        r = bk_event_new(&m->event, "opening");
    return r < 0 ? r : bk_future_new(&m->future);
}

static int open_room_with_one_ticket(void *ctx)
{
    struct room *m = ctx;
    m->fewer_tickets = 1;
    return open_room(ctx);
}

static void close_room(void *ctx)
{
    struct room *m = ctx;
    bk_cond_free(&m->cond);
    bk_lock_free(&m->lock);
    bk_sem_free(&m->sem);
    bk_event_free(&m->event);
    bk_future_free(&m->future);
}

static int visit(struct room *m)
{
    m->inside++;
    m->n_visits++;
    if (m->inside > m->most)
        m->most = m->inside;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    m->inside--;
    return r;
}

static int visit_under_lock(void *ctx)
{
    struct room *m = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_lock_acquire(m->lock);
        if (r < 0)
            return r;
        r = visit(m);
        bk_lock_release(m->lock);
    }
    return r;
}

static void the_lock_is_free(void *ctx, int result)
{
    struct room *m = ctx;
    (void)result;
    if (m->inside != 0 || m->most > 1)
        sweep_lost("%d inside, %d at most", m->inside, m->most);
    if (bk_lock_try_acquire(m->lock) != 0)
        sweep_lost("nobody holds the lock, yet it is held");
    else
        bk_lock_release(m->lock);
}

static int visit_with_permit(void *ctx)
{
    struct room *m = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_sem_acquire(m->sem);
        if (r < 0)
            return r;
        r = visit(m);
        if (bk_sem_release(m->sem) < 0)
            sweep_lost("one permit too many");
    }
    return r;
}

static void permits_are_back(void *ctx, int result)
{
    struct room *m = ctx;
    (void)result;
    if (bk_sem_value(m->sem) != 2 || m->inside != 0 || m->most > 2)
        sweep_lost("%zu permits, %d inside", bk_sem_value(m->sem), m->inside);
}

/* Takes tickets, under the lock, until `wanted` have been taken by anybody. */
static int take_tickets(struct room *m, int n, int wanted)
{
    int r = bk_lock_acquire(m->lock);
    if (r < 0)
        return r;
    while (r == 0 && n > 0 && m->served < wanted) {
        while (r == 0 && m->tickets == 0 && m->served < wanted)
            r = bk_cond_wait(m->cond);
        if (!bki_lock_is_mine(m->lock))
            sweep_lost("bk_cond_wait returned %d without the lock", r);
        if (r == 0 && m->tickets > 0) {
            m->tickets--;
            m->served++;
            n--;
            bk_cond_notify_all(m->cond);
            r = visit(m); /* with the lock, so that others have to wait for it */
        }
    }
    bk_lock_release(m->lock);
    return r;
}

static int take_one_ticket(void *ctx)
{
    struct room *m = ctx;
    return take_tickets(m, 1, 2 - m->fewer_tickets);
}

/* Also the one that a cancelled subject does not take: it must hear of it. */
static int take_the_other_tickets(void *ctx)
{
    struct room *m = ctx;
    return take_tickets(m, 2, 2 - m->fewer_tickets);
}

/* One notify for each ticket. */
static int hand_out_tickets(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    for (int i = 0; r == 0 && i < 2 - m->fewer_tickets; i++) {
        r = bk_lock_acquire(m->lock);
        if (r < 0)
            return r;
        m->tickets++;
        bk_cond_notify(m->cond, 1);
        bk_lock_release(m->lock);
    }
    return r;
}

/* The same, when the subject is already first in line. */
static int take_the_ticket_later(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : take_the_other_tickets(ctx);
}

static int hand_out_tickets_later(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : hand_out_tickets(ctx);
}

static void all_tickets_are_taken(void *ctx, int result)
{
    struct room *m = ctx;
    the_lock_is_free(ctx, result);
    if ((m->tickets != 0 || m->served != 2 - m->fewer_tickets) && !sweep_excused())
        sweep_lost("%d tickets taken, %d left", m->served, m->tickets);
}

/* Three permits come at once while one waits: those who ask before it has run wait behind it. */

static int open_empty_room(void *ctx)
{
    struct room *m = ctx;
    return bk_sem_new(&m->sem, 0, 3, "seats");
}

static int release_three(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    for (int i = 0; i < 3; i++)
        bk_sem_release(m->sem);
    return r;
}

static int come_later(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    return r < 0 ? r : bk_sem_acquire(m->sem);
}

static int come_first(void *ctx)
{
    struct room *m = ctx;
    int r = bk_sem_acquire(m->sem);
    m->n_visits += r == 0;
    return r;
}

static void one_permit_for_each(void *ctx, int result)
{
    struct room *m = ctx;
    size_t want = m->n_visits ? 0 : 1;
    (void)result;
    if (bk_sem_value(m->sem) != want && !sweep_excused())
        sweep_lost("%zu permits are left, not %zu", bk_sem_value(m->sem), want);
}

/* ---- Events and futures ---- */

static int open_the_door(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    bk_event_set(m->event);
    bk_event_clear(m->event); /* those who waited wake all the same */
    bk_future_set(m->future, 5, m);
    return r;
}

static int wait_for_the_door(void *ctx)
{
    struct room *m = ctx;
    return bk_event_wait(m->event);
}

static int wait_for_the_future(void *ctx)
{
    struct room *m = ctx;
    int result = 0;
    void *value = NULL;
    int r = bk_future_wait(m->future, &result, &value);
    if (r == 0 && (result != 5 || value != m))
        sweep_lost("the future is %d", result);
    return r;
}

static void the_future_is_untouched(void *ctx, int result)
{
    struct room *m = ctx;
    int value = 0;
    (void)result;
    if (bk_future_get(m->future, &value, NULL) == 0 && value != 5)
        sweep_lost("the future is %d", value);
    if (bk_future_cancelled(m->future))
        sweep_lost("a waiter's cancel has cancelled the future");
}

/* ---- Channels, within one loop ---- */

struct link {
    bk_channel *channel;
    uint32_t n_sent, n_got;
};

static int open_channel(void *ctx)
{
    struct link *l = ctx;
    return bk_channel_new(&l->channel, &(bk_channel_opts){.limit = 1, .name = "link"});
}

static void close_channel(void *ctx)
{
    struct link *l = ctx;
    bk_channel_free(&l->channel);
}

static int send_all(void *ctx)
{
    struct link *l = ctx;
    int r = 0;
    while (r == 0 && l->n_sent < ITEMS) {
        bk_msg *msg = NULL;
        uint32_t number = l->n_sent + 1;
        r = bk_msg_copy(&msg, &number, sizeof number);
        if (r < 0)
            return r;
        r = bk_channel_send(l->channel, &msg);
        if ((r == 0) != (msg == NULL))
            sweep_lost("bk_channel_send returns %d and the message is %s", r,
                       msg ? "kept" : "gone");
        l->n_sent += r == 0;
        bk_msg_free(&msg);
    }
    return r;
}

static void received(struct link *l, bk_msg **msg)
{
    uint32_t number = 0;
    memcpy(&number, bk_msg_data(*msg), sizeof number);
    bk_msg_free(msg);
    if (number != ++l->n_got)
        sweep_lost("message %u is number %u", l->n_got, number);
}

static int receive_all(void *ctx)
{
    struct link *l = ctx;
    int r = 0;
    while (r >= 0 && l->n_got < ITEMS) {
        bk_msg *msg = NULL;
        r = bk_channel_recv(l->channel, &msg);
        if ((r == 1) != (msg != NULL))
            sweep_lost("bk_channel_recv returns %d and %s", r, msg ? "a message" : "none");
        if (r == 1)
            received(l, &msg);
    }
    return r < 0 ? r : 0;
}

static void messages_are_accounted_for(void *ctx, int result)
{
    struct link *l = ctx;
    bk_msg *msg = NULL;
    (void)result;
    while (bk_channel_try_recv(l->channel, &msg) == 1)
        received(l, &msg);
    if (l->n_got != l->n_sent)
        sweep_lost("%u messages sent, %u got or left", l->n_sent, l->n_got);
}

#define QUEUE(limit)                                                                               \
    .state_size = sizeof(struct line), .open = open_##limit##_queue, .close = close_queue,         \
    .check = items_are_accounted_for
#define ROOM .state_size = sizeof(struct room), .open = open_room, .close = close_room
#define CHANNEL                                                                                    \
    .state_size = sizeof(struct link), .open = open_channel, .close = close_channel,               \
    .check = messages_are_accounted_for

static const struct sweep_scenario scenarios[] = {
    {.name = "queue put", QUEUE(short), .subject = put_all, .helpers = {get_all}},
    {.name = "queue get", QUEUE(short), .subject = get_all, .helpers = {put_all}},
    {.name = "queue put, unbounded", QUEUE(unbounded), .subject = put_all, .helpers = {get_all}},
    {.name = "queue get until closed", QUEUE(short), .subject = get_until_closed,
     .helpers = {put_all_and_close}},
    {.name = "queue put until closed", QUEUE(short), .subject = put_until_closed,
     .helpers = {close_soon}, .want = -BK_ECLOSED},
    {.name = "queue join", QUEUE(short), .subject = join_queue, .helpers = {put_all, get_all}},
    {.name = "queue relay", .state_size = sizeof(struct relay), .open = open_relay,
     .close = close_relay, .subject = pass_on, .helpers = {feed_relay, empty_relay},
     .check = relayed},
    {.name = "lock", ROOM, .subject = visit_under_lock,
     .helpers = {visit_under_lock, visit_under_lock}, .helpers_finish = true,
     .check = the_lock_is_free},
    {.name = "semaphore", ROOM, .subject = visit_with_permit,
     .helpers = {visit_with_permit, visit_with_permit, visit_with_permit},
     .helpers_finish = true, .check = permits_are_back},
    {.name = "semaphore, several permits", .state_size = sizeof(struct room),
     .open = open_empty_room, .close = close_room, .subject = come_first,
     .helpers = {release_three, come_later, come_later}, .helpers_finish = true,
     .check = one_permit_for_each},
    {.name = "condition", ROOM, .subject = take_one_ticket,
     .helpers = {hand_out_tickets, take_the_other_tickets, visit_under_lock},
     .helpers_finish = true, .check = all_tickets_are_taken},
    {.name = "condition, last in line", ROOM, .subject = take_one_ticket,
     .helpers = {take_the_other_tickets, hand_out_tickets}, .helpers_finish = true,
     .check = all_tickets_are_taken},
    {.name = "condition, one notify for two", .state_size = sizeof(struct room),
     .open = open_room_with_one_ticket, .close = close_room, .subject = take_one_ticket,
     .helpers = {hand_out_tickets, take_the_other_tickets}, .helpers_finish = true,
     .check = all_tickets_are_taken},
    {.name = "condition, the first of two", .state_size = sizeof(struct room),
     .open = open_room_with_one_ticket, .close = close_room, .subject = take_one_ticket,
     .helpers = {take_the_ticket_later, hand_out_tickets_later}, .helpers_finish = true,
     .check = all_tickets_are_taken},
    {.name = "event", ROOM, .subject = wait_for_the_door,
     .helpers = {open_the_door, wait_for_the_door}, .helpers_finish = true},
    {.name = "future", ROOM, .subject = wait_for_the_future,
     .helpers = {open_the_door, wait_for_the_future}, .helpers_finish = true,
     .check = the_future_is_untouched},
    {.name = "channel send", CHANNEL, .subject = send_all, .helpers = {receive_all}},
    {.name = "channel receive", CHANNEL, .subject = receive_all, .helpers = {send_all}},
};

SWEEP_MAIN(scenarios)
