/* SPDX-License-Identifier: MIT
 * "ws-listen:" as a sink: each message goes to every client connected.
 *
 * Each client has a bounded queue and two tasks: one sends from the queue, one receives, which
 * answers pings and notices the end.  The flow's task puts shares of a message into all queues;
 * what it does at a full one is the option slow. */
#include <stdio.h>

#include <beck/group.h>
#include <beck/queue.h>
#include <beck/sync.h>

#include "base/alloc.h"
#include "base/list.h"
#include "connectors/ws_server.h"

#define BUFFER 1024
#define TOO_SLOW 1008       /* close code: policy violation */
#define FAREWELL_SECONDS 10 /* for the clients to take what is left, at the end */

enum slow { SLOW_WAIT, SLOW_DROP, SLOW_CLOSE };

struct sink {
    struct bki_ws_server server;
    struct bki_list clients; /* also those that have left, until nobody walks the list */
    bk_event *changed;       /* a client has come or gone */
    size_t n_clients;
    int64_t wait, buffer;
    int slow;
    bool walking;
    bool closing;
    uint64_t n_skipped; /* messages that slow clients did not get */
};

struct client {
    struct bki_list link;
    struct sink *sink;
    bk_ws *ws;
    bk_queue *queue;
    bool gone, too_slow; /* gets nothing more */
    bool finished;       /* its task has ended; the list is being walked, so it is freed later */
};

static void free_message(void *item)
{
    bk_msg *msg = item;
    bk_msg_free(&msg);
}

/* ---- A client's tasks ---- */

static int receive(void *ctx)
{
    struct client *c = ctx;
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_ws_recv(c->ws, &msg)) > 0)
        bk_msg_free(&msg);
    c->gone = true;
    bk_queue_close(c->queue);
    return r == -ECANCELED ? r : 0;
}

static int send_queue(struct client *c)
{
    void *item;
    int r;
    while ((r = bk_queue_get(c->queue, &item)) > 0) {
        bk_msg *msg = item;
        r = c->gone ? -BK_ECLOSED : bk_ws_send(c->ws, &msg);
        bk_msg_free(&msg);
        if (r < 0)
            break;
    }
    if (r == 0 && c->too_slow)
        r = bk_ws_send_close(c->ws, TOO_SLOW, "too slow");
    return r;
}

static int run_client(struct client *c)
{
    bk_group *tasks = NULL;
    int r = bk_group_open(&tasks, NULL);
    if (r < 0)
        return r;
    r = bk_group_go(tasks, receive, c, &(bk_task_opts){.name = "ws-listen receive"});
    if (r == 0)
        r = send_queue(c);
    c->gone = true;
    bk_group_cancel(tasks);
    return bk_group_close(&tasks, r);
}

static void remove_client(struct client *c)
{
    bki_list_remove(&c->link);
    bk_queue_free(&c->queue);
    bki_free(c);
}

static int serve_client(void *ctx, bk_ws **ws)
{
    struct sink *s = ctx;
    struct client *c = s->closing ? NULL : bki_zalloc(sizeof *c);
    if (!c)
        return bk_ws_close(ws, s->closing ? 0 : -ENOMEM);
    bk_queue_opts opts = {.limit = (size_t)s->buffer, .free_item = free_message, .name = "client"};
    int r = bk_queue_new(&c->queue, &opts);
    if (r < 0) {
        bki_free(c);
        return bk_ws_close(ws, r);
    }
    c->sink = s;
    c->ws = *ws;
    bki_list_push_back(&s->clients, &c->link);
    s->n_clients++;
    bk_event_set(s->changed);
    r = run_client(c);
    r = bk_ws_close(ws, r == -BK_ECLOSED || r == -ECANCELED ? 0 : r);
    c->gone = c->finished = true;
    s->n_clients--;
    bk_event_set(s->changed);
    if (s->walking)
        bk_queue_close(c->queue);
    else
        remove_client(c);
    return r;
}

/* ---- The flow's side ---- */

static void server_ended(void *ctx)
{
    struct sink *s = ctx;
    bk_event_set(s->changed);
}

static int wait_for_clients(struct sink *s, bool enough(const struct sink *s))
{
    int r = bki_ws_server_check(&s->server);
    while (r == 0 && !enough(s)) {
        bk_event_clear(s->changed);
        r = bk_event_wait(s->changed);
        if (r == 0)
            r = bki_ws_server_check(&s->server);
    }
    return r;
}

static bool all_here(const struct sink *s)
{
    return (int64_t)s->n_clients >= s->wait;
}

static bool all_gone(const struct sink *s)
{
    return s->n_clients == 0;
}

static int sink_close(void *self, int r);

static int sink_open(void *self, struct bki_port *port)
{
    struct sink *s = self;
    bki_list_init(&s->clients);
    int r = bk_event_new(&s->changed, "ws-listen clients");
    if (r < 0)
        return r;
    s->server.client = serve_client;
    s->server.ended = server_ended;
    s->server.ctx = s;
    r = bki_ws_server_open(&s->server, port);
    if (r == 0) {
        r = wait_for_clients(s, all_here);
        if (r < 0)
            (void)sink_close(s, r);
    } else {
        bk_event_free(&s->changed);
    }
    return r;
}

/* Gives a client its share of a message.  0, also when it does without; below zero the flow is
 * being ended. */
static int give(struct sink *s, struct client *c, bk_msg *msg)
{
    bk_msg *share = NULL;
    if (c->gone || c->too_slow)
        return 0;
    int r = bk_msg_slice(&share, msg, 0, bk_msg_len(msg));
    if (r == 0)
        r = s->slow == SLOW_WAIT ? bk_queue_put(c->queue, share)
                                 : bk_queue_try_put(c->queue, share);
    if (r < 0)
        bk_msg_free(&share);
    if (r == -EAGAIN) {
        s->n_skipped++;
        if (s->slow == SLOW_CLOSE) {
            c->too_slow = true;
            bk_queue_close(c->queue);
        }
    }
    return r == -EAGAIN || r == -BK_ECLOSED ? 0 : r;
}

static int broadcast(struct sink *s, struct bki_entry *entry)
{
    int r = 0;
    if (s->n_clients == 0)
        entry->result = BKI_ENTRY_DROPPED;
    for (struct bki_list *n = bki_list_first(&s->clients); n && r == 0;
         n = bki_list_next(&s->clients, n))
        r = give(s, bki_container(n, struct client, link), entry->msg);
    return r;
}

static void sweep(struct sink *s)
{
    for (struct bki_list *n = bki_list_first(&s->clients), *next; n; n = next) {
        struct client *c = bki_container(n, struct client, link);
        next = bki_list_next(&s->clients, n);
        if (c->finished)
            remove_client(c);
    }
}

static int sink_write(void *self, struct bki_batch *batch)
{
    struct sink *s = self;
    int r = bki_ws_server_check(&s->server);
    s->walking = true;
    for (size_t i = 0; i < batch->n && r == 0; i++) {
        r = broadcast(s, &batch->entries[i]);
        if (r == 0)
            batch->n_done = i + 1;
    }
    s->walking = false;
    sweep(s);
    return r;
}

/* Every client gets what is in its queue, and then a closing handshake. */
static int say_farewell(void *ctx)
{
    struct sink *s = ctx;
    for (struct bki_list *n = bki_list_first(&s->clients); n; n = bki_list_next(&s->clients, n))
        bk_queue_close(bki_container(n, struct client, link)->queue);
    return wait_for_clients(s, all_gone);
}

static int sink_close(void *self, int r)
{
    struct sink *s = self;
    s->closing = true;
    if (r >= 0)
        r = bk_wait_for(say_farewell, s, bk_seconds(FAREWELL_SECONDS));
    if (r == -ETIMEDOUT) {
        bki_port_event(s->server.port, BK_FLOW_NOTE, r,
                       "%zu clients have not taken the last messages in %d s", s->n_clients,
                       FAREWELL_SECONDS);
        r = 0;
    }
    if (s->n_skipped)
        bki_port_event(s->server.port, BK_FLOW_NOTE, 0, "%llu messages did not reach slow clients",
                       (unsigned long long)s->n_skipped);
    r = bki_ws_server_close(&s->server, r);
    bk_event_free(&s->changed);
    return r;
}

static void sink_dispose(void *self)
{
    struct sink *s = self;
    bki_ws_server_free(&s->server);
    bki_free(s);
}

static const struct bki_sink_ops sink_ops = {
    .open = sink_open,
    .write = sink_write,
    .close = sink_close,
    .dispose = sink_dispose,
};

int bki_ws_listen_add_sink(bk_flow *flow, const struct bki_target *target)
{
    static const char *const words[] = {"wait", "drop", "close", NULL};
    struct sink *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a sink");
    int r = bki_ws_server_init(&s->server, target);
    if (r == 0)
        r = bki_target_int(target, "wait", 0, 10000, 1, &s->wait);
    if (r == 0)
        r = bki_target_int(target, "buffer", 1, 1000000, BUFFER, &s->buffer);
    if (r == 0)
        r = bki_target_choice(target, "slow", words, SLOW_WAIT, &s->slow);
    if (r == 0)
        r = bki_flow_add_sink(flow, &sink_ops, s, target->name, NULL);
    if (r < 0)
        sink_dispose(s);
    return r;
}
