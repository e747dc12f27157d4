/* SPDX-License-Identifier: MIT
 * Sweeps over flows that are WebSocket servers, with a client in a task of its own: what the client
 * said comes out in order, and what counts as stored reaches it, or the flow says that it did not.
 */
#include "tests/sweep_talk.h"

/* ---- The client ---- */

static void listen_for_address(void *ctx, const bk_flow_event *event)
{
    struct talk *t = ctx;
    static const char before[] = "listening on ";
    if (event->kind == BK_FLOW_READY && strncmp(event->text, before, sizeof before - 1) == 0) {
        snprintf(t->where, sizeof t->where, "%s", event->text + sizeof before - 1);
        bk_event_set(t->changed);
    } else if (event->kind == BK_FLOW_NOTE) {
        t->n_notes++;
    }
}

/* Until something has changed, or a little while. */
static int wait_for_change(struct talk *t)
{
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, bk_ms(20));
    if (r == 0)
        r = bk_timeout_close(&limit, bk_event_wait(t->changed));
    bk_event_clear(t->changed);
    return r;
}

/* Until the talk is over, connects again and again: a connection may fail. */
static int be_client(struct talk *t, int (*talk)(struct talk *t, bk_ws *ws))
{
    int r = 0;
    while (r != -ECANCELED && !t->over) {
        bk_ws *ws = NULL;
        if (t->where[0])
            r = bk_ws_connect(&ws, t->where, NULL);
        if (ws)
            r = t->ended = bk_ws_close(&ws, talk(t, ws));
        if (r != -ECANCELED && !t->over)
            r = wait_for_change(t);
    }
    return 0;
}

/* Says all, and waits for the end. */
static int say_and_wait(struct talk *t, bk_ws *ws)
{
    int r = 0;
    for (int i = 1; r == 0 && i <= MESSAGES; i++)
        r = say(ws, i);
    while (r >= 0 && (r = hear(t, ws)) > 0)
        ;
    return r;
}

static int hear_until_the_end(struct talk *t, bk_ws *ws)
{
    int r;
    while ((r = hear(t, ws)) > 0)
        ;
    return r;
}

static int talk_to_server(void *ctx)
{
    return be_client(ctx, say_and_wait);
}

static int listen_to_server(void *ctx)
{
    return be_client(ctx, hear_until_the_end);
}

static int open_client(struct talk *t, bk_fn *client, const char *options)
{
    snprintf(t->url, sizeof t->url, "ws-listen:127.0.0.1:0%s", options);
    t->flow.on_event = listen_for_address;
    t->flow.event_ctx = t;
    t->flow.n_items = MESSAGES;
    int r = bk_event_new(&t->changed, NULL);
    return r < 0 ? r : bk_go(&t->peer, client, t, NULL);
}

static int open_talker(void *ctx)
{
    struct talk *t = ctx;
    t->flow.take = MESSAGES;
    return open_client(t, talk_to_server, "");
}

/* What the flow has given out may still be on its way when it ends. */
static int open_listener(void *ctx)
{
    struct talk *t = ctx;
    t->flow.at_once = true;
    return open_client(ctx, listen_to_server, "?buffer=2");
}

/* Messages that find the queue full are left out, and counted. */
static int open_dropping_listener(void *ctx)
{
    return open_client(ctx, listen_to_server, "?buffer=1&slow=drop");
}

/* Nobody listens any more: the client is done when it has noticed. */
static void let_client_finish(struct talk *t)
{
    t->over = true;
    bk_event_set(t->changed);
    if (t->peer)
        (void)bk_task_wait(t->peer, NULL);
    bk_task_free(&t->peer);
    t->over = false;
    t->where[0] = 0;
}

/* ---- The flow ---- */

/* The whole thing once more, with a new client. */
static int run_again(struct talk *t, bk_fn *client, bk_fn *flow)
{
    t->n_heard = t->n_notes = 0;
    int r = bk_go(&t->peer, client, t, NULL);
    if (r == 0)
        r = flow(t);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&t->flow);
    let_client_finish(t);
    return r;
}

/* After a failure the client may begin anew. */
static void got_in_order(struct talk *t, int result)
{
    struct sweep_flow *f = &t->flow;
    for (int i = 1; i < f->n_got; i++)
        if (f->got[i] != f->got[i - 1] + 1 && f->got[i] != 1)
            sweep_lost("after %d comes %d", f->got[i - 1], f->got[i]);
    if (f->n_got != (int)f->stats.stored)
        sweep_lost("%d items got, and %d are stored", f->n_got, (int)f->stats.stored);
    if (result == 0 && f->n_got != f->n_items)
        sweep_lost("of %d items %d are stored", f->n_items, f->n_got);
}

static void given_in_order(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    if (sweep_excused())
        got_in_order(t, result);
    else
        sweep_flow_got_in_order(&t->flow, result);
    let_client_finish(t);
    int r = run_again(t, talk_to_server, flow_from);
    sweep_flow_got_in_order(&t->flow, r);
}

/* What comes when the client has been lost is dropped. */
static void heard_all(struct talk *t, int result)
{
    int given_out = (int)t->flow.stats.stored, dropped = (int)t->flow.stats.dropped;
    if (result == 0 && (given_out + dropped != MESSAGES || (dropped > 0 && !sweep_excused())))
        sweep_lost("of %d messages %d are given out, %d dropped", MESSAGES, given_out, dropped);
    bool why = t->n_notes > 0 || (t->ended < 0 && sweep_excused());
    if (result == 0 && t->n_heard < MESSAGES && !why)
        sweep_lost("the client has heard %d messages, and nobody says why", t->n_heard);
}

static void given_out_in_order(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    let_client_finish(t);
    heard_in_order(t);
    heard_all(t, result);
    int r = run_again(t, listen_to_server, flow_into);
    heard_in_order(t);
    heard_all(t, r);
}

/* In order, with gaps. */
static void sent_some(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    let_client_finish(t);
    for (int i = 0; i < t->n_heard; i++)
        if (t->heard[i] <= (i > 0 ? t->heard[i - 1] : 0) || t->heard[i] > MESSAGES)
            sweep_lost("message %d is the number %d", i + 1, t->heard[i]);
    heard_all(t, result);
    int r = run_again(t, listen_to_server, flow_into);
    heard_all(t, r);
}

static const struct sweep_scenario scenarios[] = {
    {.name = "flow from ws-listen", TALK_FLOW(open_talker, flow_from, given_in_order)},
    {.name = "flow into ws-listen", TALK_FLOW(open_listener, flow_into, given_out_in_order)},
    {.name = "flow into ws-listen, dropping",
     TALK_FLOW(open_dropping_listener, flow_into, sent_some)},
};

SWEEP_MAIN(scenarios)
