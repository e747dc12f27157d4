/* SPDX-License-Identifier: MIT
 * Sweeps over queues and channels within one loop: what was put is got or left, always. */
#include "tests/sweep.h"

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

static int put_what_can_be(void *ctx)
{
    int r = put_all(ctx);
    return r == -BK_ECLOSED ? 0 : r;
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

static int abort_soon(void *ctx)
{
    struct line *l = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    int n = bk_queue_abort(l->queue);
    l->n_got += n; /* they count as accounted for */
    return r;
}

static int get_until_aborted(void *ctx)
{
    struct line *l = ctx;
    void *item;
    int r;
    while ((r = bk_queue_get(l->queue, &item)) == 1)
        l->n_got++;
    return r;
}

/* The newest first: they are all there, in whatever order. */
static int open_lifo_queue(void *ctx)
{
    struct line *l = ctx;
    return bk_queue_new(&l->queue, &(bk_queue_opts){.limit = 2, .order = BK_LIFO});
}

static int get_some(void *ctx)
{
    struct line *l = ctx;
    int r = 1;
    while (r == 1 && l->n_got < ITEMS) {
        void *item = NULL;
        r = bk_queue_get(l->queue, &item);
        l->n_got += r == 1;
        l->last_got += (intptr_t)item; /* the sum */
    }
    return r < 0 ? r : 0;
}

static void sum_is_right(void *ctx, int result)
{
    struct line *l = ctx;
    void *item;
    (void)result;
    while (bk_queue_try_get(l->queue, &item) == 1) {
        l->n_got++;
        l->last_got += (intptr_t)item;
    }
    if (l->n_got != l->n_put || l->last_got != l->n_put * (l->n_put + 1) / 2)
        sweep_lost("%ld items put, %ld got or left, their sum %ld", (long)l->n_put, (long)l->n_got,
                   (long)l->last_got);
}

static void items_are_counted(void *ctx, int result)
{
    struct line *l = ctx;
    void *item;
    (void)result;
    while (bk_queue_try_get(l->queue, &item) == 1)
        l->n_got++;
    if (l->n_got != l->n_put)
        sweep_lost("%ld items put, %ld got, dropped or left", (long)l->n_put, (long)l->n_got);
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
    {.name = "queue put until aborted", .state_size = sizeof(struct line),
     .open = open_short_queue, .close = close_queue, .check = items_are_counted,
     .subject = put_until_closed, .helpers = {abort_soon}, .want = -BK_ECLOSED},
    {.name = "queue get until aborted", .state_size = sizeof(struct line),
     .open = open_short_queue, .close = close_queue, .check = items_are_counted,
     .subject = get_until_aborted, .helpers = {put_what_can_be, abort_soon},
     .want = -BK_ECLOSED},
    {.name = "queue, the newest first", .state_size = sizeof(struct line),
     .open = open_lifo_queue, .close = close_queue, .check = sum_is_right, .subject = get_some,
     .helpers = {put_all}},
    {.name = "channel send", CHANNEL, .subject = send_all, .helpers = {receive_all}},
    {.name = "channel receive", CHANNEL, .subject = receive_all, .helpers = {send_all}},
};

SWEEP_MAIN(scenarios)
