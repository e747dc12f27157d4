/* SPDX-License-Identifier: MIT
 * For sweeps over flows from and to WebSockets: what the flow and its peer share, and how numbers
 * are said and heard; and a server to talk to. */
#ifndef BECK_TESTS_SWEEP_TALK_H
#define BECK_TESTS_SWEEP_TALK_H

#include <beck/sync.h>
#include <beck/tls.h>
#include <beck/ws.h>

#include "tests/sweep_flow.h"

enum { MESSAGES = 3, HEARD_MAX = 16 * MESSAGES };

struct talk {
    struct sweep_flow flow;
    char url[160]; /* the flow's */
    bk_task *peer;
    bool over;   /* the peer is to end */
    int n_heard; /* messages that the peer has received */
    int heard[HEARD_MAX];
    /* A server for ws:, or with tls for wss: */
    const char *options; /* of the flow's URL */
    bk_tls *tls;
    bk_listener *listener;
    int n_connections, n_serving; /* so far; now */
    int said;                     /* its last message */
    int breaks_after;             /* its first connection, so many messages; 0: it does not */
    /* A client for ws-listen: */
    char where[96];    /* of the flow; "" while nobody listens */
    bk_event *changed; /* that, or whether it is over */
    int n_notes;       /* of the flow, on its clients */
    int ended;         /* how the last connection did */
};

/* A flow to be struck, as a sweep_scenario. */
#define TALK_FLOW(open_talk, run_flow, check_talk)                                                 \
    .state_size = sizeof(struct talk), .open = open_talk, .close = close_talk,                     \
    .subject = run_flow, .check = check_talk, .blame_elsewhere = true

static inline int say(bk_ws *ws, int n)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d", n);
    int r = bk_ws_send_text(ws, text, (size_t)len);
    return r < 0 ? r : bk_ws_flush(ws);
}

/* 1, 0 at the end, or an error. */
static inline int hear(struct talk *t, bk_ws *ws)
{
    bk_msg *msg = NULL;
    char text[16] = "";
    int r = bk_ws_recv(ws, &msg);
    if (r <= 0)
        return r;
    if (bk_msg_len(msg) < sizeof text)
        memcpy(text, bk_msg_data(msg), bk_msg_len(msg));
    if (t->n_heard < HEARD_MAX)
        t->heard[t->n_heard++] = (int)strtol(text, NULL, 10);
    bk_msg_free(&msg);
    return 1;
}

/* The peer has heard 1, 2, 3... */
static inline void heard_in_order(const struct talk *t)
{
    for (int i = 0; i < t->n_heard; i++)
        if (t->heard[i] != i + 1)
            sweep_lost("message %d is the number %d", i + 1, t->heard[i]);
}

/* ---- The flow ---- */

static inline int flow_from(void *ctx)
{
    struct talk *t = ctx;
    t->said = 0;
    return sweep_flow_run(&t->flow, t->url, NULL);
}

static inline int flow_into(void *ctx)
{
    struct talk *t = ctx;
    return sweep_flow_run(&t->flow, NULL, t->url);
}

static inline void close_talk(void *ctx)
{
    struct talk *t = ctx;
    t->over = true;
    if (t->peer) {
        bk_task_cancel(t->peer);
        (void)bk_task_wait(t->peer, NULL);
    }
    bk_task_free(&t->peer);
    bk_event_free(&t->changed);
    bk_listener_close(&t->listener, 0);
    bk_tls_free(&t->tls);
    bk_flow_free(&t->flow.flow);
}

/* ---- A server for ws: and wss: ---- */

static inline int say_all(struct talk *t, bk_ws *ws, int connection)
{
    int r = 0;
    for (int i = 1; r == 0 && t->said < MESSAGES; i++) {
        r = say(ws, t->said + 1);
        t->said += r == 0;
        if (connection == 1 && i == t->breaks_after)
            return -ECONNRESET;
    }
    return r;
}

static inline int hear_all(struct talk *t, bk_ws *ws, int connection)
{
    int r = 1;
    for (int i = 1; r > 0; i++) {
        r = hear(t, ws);
        if (r > 0 && connection == 1 && i == t->breaks_after)
            return -ECONNRESET;
    }
    return r;
}

static inline int serve_one(struct talk *t, bk_stream **stream,
                            int (*talk)(struct talk *t, bk_ws *ws, int connection))
{
    bk_ws *ws = NULL;
    t->n_serving++;
    int r = bk_ws_accept(&ws, stream, NULL);
    if (r == 0)
        r = bk_ws_close(&ws, talk(t, ws, ++t->n_connections));
    t->n_serving--;
    return r;
}

static inline int serve_talker(void *ctx, bk_stream **stream)
{
    return serve_one(ctx, stream, say_all);
}

static inline int serve_listener(void *ctx, bk_stream **stream)
{
    return serve_one(ctx, stream, hear_all);
}

/* What befalls its connections, the flow must bear. */
static inline void ignore_failure(void *ctx, bk_stream *stream, int result)
{
    (void)ctx;
    (void)stream;
    (void)result;
}

static inline int serve(struct talk *t, bk_stream_fn *handler)
{
    int r = 0;
    while (r != -ECANCELED)
        r = bk_serve(t->listener, handler, t, &(bk_serve_opts){.on_error = ignore_failure});
    return 0;
}

static inline int talk_to_clients(void *ctx)
{
    return serve(ctx, serve_talker);
}

static inline int listen_to_clients(void *ctx)
{
    return serve(ctx, serve_listener);
}

static inline int open_server(struct talk *t, bk_fn *peer)
{
    int r = bk_listen(&t->listener, "127.0.0.1:0", &(bk_listen_opts){.tls = t->tls});
    if (r < 0)
        return r;
    snprintf(t->url, sizeof t->url, "%s://%s/%s", t->tls ? "wss" : "ws",
             bk_listener_address(t->listener), t->options);
    t->flow.n_items = MESSAGES;
    return bk_go(&t->peer, peer, t, NULL);
}

/* The server has read what there was, in a few turns as a rule. */
static inline void let_server_finish(struct talk *t)
{
    for (int i = 0; i < 1000 && t->n_serving > 0; i++)
        (void)(i < 50 ? bk_yield() : bk_sleep(bk_ms(100)));
    if (t->n_serving > 0)
        sweep_lost("%d connections are still served", t->n_serving);
}

static inline void received_in_order(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    sweep_flow_got_in_order(&t->flow, result);
    let_server_finish(t);
}

static inline void sent_in_order(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    let_server_finish(t);
    heard_in_order(t);
    if (t->n_heard < (int)t->flow.stats.stored && !sweep_excused())
        sweep_lost("%d messages are sent, and %d heard", (int)t->flow.stats.stored, t->n_heard);
    if (result == 0 && (int)t->flow.stats.stored != MESSAGES)
        sweep_lost("of %d messages %d are sent", MESSAGES, (int)t->flow.stats.stored);
}

#endif
