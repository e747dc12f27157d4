/* SPDX-License-Identifier: MIT
 * "ws-listen:" as a source: each message of each client is an item. */
#include <beck/queue.h>

#include "base/alloc.h"
#include "connectors/ws_server.h"

#define QUEUE                                                                                      \
    64 /* messages received and not yet taken by the flow; each client may hold one more */

struct source {
    struct bki_ws_server server;
    bk_queue *messages; /* from the clients' tasks to next; closed when the server has ended */
};

/* A message that has come belongs to the flow, also when its client's task is cancelled
 * meanwhile. */
struct handing_over {
    bk_queue *queue;
    bk_msg *msg;
};

static int hand_over(void *ctx)
{
    struct handing_over *h = ctx;
    int r = bk_queue_put(h->queue, h->msg);
    if (r == 0)
        h->msg = NULL;
    return r;
}

static int serve_client(void *ctx, bk_ws **ws)
{
    struct source *s = ctx;
    struct handing_over h = {.queue = s->messages};
    int r;
    while ((r = bk_ws_recv(*ws, &h.msg)) > 0) {
        r = hand_over(&h);
        if (r == -ECANCELED)
            (void)bk_shield(hand_over, &h);
        bk_msg_free(&h.msg);
        if (r < 0)
            break;
    }
    return bk_ws_close(ws, r == -ECANCELED ? 0 : r);
}

static void server_ended(void *ctx)
{
    struct source *s = ctx;
    bk_queue_close(s->messages);
}

static void free_message(void *item)
{
    bk_msg *msg = item;
    bk_msg_free(&msg);
}

static int source_open(void *self, struct bki_port *port)
{
    struct source *s = self;
    bk_queue_opts opts = {.limit = QUEUE, .free_item = free_message, .name = "ws-listen"};
    int r = bk_queue_new(&s->messages, &opts);
    if (r < 0)
        return r;
    s->server.client = serve_client;
    s->server.ended = server_ended;
    s->server.ctx = s;
    r = bki_ws_server_open(&s->server, port);
    if (r < 0)
        bk_queue_free(&s->messages);
    return r;
}

static int source_next(void *self, bk_msg **msg)
{
    struct source *s = self;
    void *item = NULL;
    int r = bk_queue_get(s->messages, &item);
    if (r > 0)
        *msg = item;
    return r == 0 ? bki_ws_server_check(&s->server) : r;
}

static void source_drain(void *self)
{
    struct source *s = self;
    bki_ws_server_stop(&s->server);
}

static int source_close(void *self, int r)
{
    struct source *s = self;
    bk_queue_close(s->messages); /* a client's task may be waiting for room in it */
    r = bki_ws_server_close(&s->server, r);
    bk_queue_free(&s->messages);
    return r;
}

static void source_dispose(void *self)
{
    struct source *s = self;
    bki_ws_server_free(&s->server);
    bki_free(s);
}

static const struct bki_source_ops source_ops = {
    .source_class = BK_SOURCE_NONE,
    .open = source_open,
    .next = source_next,
    .drain = source_drain,
    .close = source_close,
    .dispose = source_dispose,
};

int bki_ws_listen_add_source(bk_flow *flow, const struct bki_target *target)
{
    struct source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a source");
    int r = bki_ws_server_init(&s->server, target);
    if (r == 0)
        r = bki_flow_add_source(flow, &source_ops, s, target->name);
    if (r < 0)
        source_dispose(s);
    return r;
}
