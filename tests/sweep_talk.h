/* SPDX-License-Identifier: MIT
 * For sweeps over flows from and to WebSockets: what the flow and its peer share, and how numbers
 * are said and heard. */
#ifndef BECK_TESTS_SWEEP_TALK_H
#define BECK_TESTS_SWEEP_TALK_H

#include <beck/sync.h>
#include <beck/ws.h>

#include "tests/sweep_flow.h"

enum { MESSAGES = 3, HEARD_MAX = 16 * MESSAGES };

struct talk {
    struct sweep_flow flow;
    char url[96]; /* the flow's */
    bk_task *peer;
    bool over;   /* the peer is to end */
    int n_heard; /* messages that the peer has received */
    int heard[HEARD_MAX];
    /* A server for ws: */
    const char *options;
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
    bk_flow_free(&t->flow.flow);
}

#endif
