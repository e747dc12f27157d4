/* SPDX-License-Identifier: MIT
 * Sweeps over flows from and to WebSockets, with the other end in a task of its own: what counts as
 * stored has been sent or given out, in order, and once it is over the same flow gets through. */
#include "tests/sweep_talk.h"

/* ---- Servers ---- */

static int open_talker(void *ctx)
{
    struct talk *t = ctx;
    t->options = "#reconnect=never";
    return open_server(t, talk_to_clients);
}

static int open_breaking_talker(void *ctx)
{
    struct talk *t = ctx;
    t->options = "";
    t->breaks_after = 2;
    return open_server(t, talk_to_clients);
}

static int open_listener(void *ctx)
{
    struct talk *t = ctx;
    t->options = "#reconnect=never";
    return open_server(t, listen_to_clients);
}

/* Until the first connection has broken, and time passes: the flow has noticed. */
static int let_it_break(void *ctx)
{
    struct talk *t = ctx;
    int r = 0;
    for (int i = 0; r == 0 && t->n_connections == 1 && t->n_serving > 0; i++)
        r = i < 50 ? bk_yield() : bk_sleep(bk_ms(1));
    return r < 0 || t->flow.n_given > 1 ? r : bk_sleep(bk_ms(1));
}

static int open_breaking_listener(void *ctx)
{
    struct talk *t = ctx;
    t->options = "";
    t->breaks_after = 1;
    t->flow.pause = let_it_break;
    t->flow.event_ctx = t;
    t->flow.limit = 1;
    return open_server(t, listen_to_clients);
}

/* ---- ws: as a source ---- */

static void received_twice(void *ctx, int result)
{
    struct talk *t = ctx;
    received_in_order(ctx, result);
    int r = flow_from(t);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&t->flow);
    sweep_flow_got_in_order(&t->flow, r);
}

/* Each connection may have lost what was under way, and the flow says so. */
static void received_with_gaps(void *ctx, int result)
{
    struct talk *t = ctx;
    struct sweep_flow *f = &t->flow;
    sweep_calm();
    sweep_flow_end(f);
    for (int i = 1; i < f->n_got; i++)
        if (f->got[i] <= f->got[i - 1])
            sweep_lost("after %d comes %d", f->got[i - 1], f->got[i]);
    if (f->n_got != (int)f->stats.stored)
        sweep_lost("%d items got, and %d are stored", f->n_got, (int)f->stats.stored);
    if (f->n_got < (f->n_got ? f->got[f->n_got - 1] : 0) && f->stats.reconnects == 0)
        sweep_lost("messages are missing, and the flow says nothing of it");
    if (result == 0 && f->stats.reconnects == 0)
        sweep_lost("the flow has not connected again");
    let_server_finish(t);
    t->breaks_after = 0;
    int r = flow_from(t);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(f);
    sweep_flow_got_in_order(f, r);
}

/* ---- ws: as a sink ---- */

static void send_again(struct talk *t)
{
    t->breaks_after = t->n_heard = 0;
    t->flow.pause = NULL;
    int r = flow_into(t);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&t->flow);
    let_server_finish(t);
    heard_in_order(t);
    if (t->n_heard != MESSAGES)
        sweep_lost("of %d messages %d are heard", MESSAGES, t->n_heard);
}

static void sent_twice(void *ctx, int result)
{
    struct talk *t = ctx;
    sent_in_order(ctx, result);
    send_again(t);
}

/* What a connection had taken when it broke is sent, and may not be heard. */
static void sent_with_gaps(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    let_server_finish(t);
    for (int i = 0; i < t->n_heard; i++)
        if (t->heard[i] < 1 || t->heard[i] > MESSAGES || (i > 0 && t->heard[i] < t->heard[i - 1]))
            sweep_lost("message %d is the number %d", i + 1, t->heard[i]);
    if (result == 0 && (int)t->flow.stats.stored != MESSAGES)
        sweep_lost("of %d messages %d are sent", MESSAGES, (int)t->flow.stats.stored);
    if (result == 0 && t->flow.stats.reconnects == 0)
        sweep_lost("the flow has not connected again");
    send_again(t);
}

static const struct sweep_scenario scenarios[] = {
    {.name = "flow from ws", TALK_FLOW(open_talker, flow_from, received_twice)},
    {.name = "flow from ws, which breaks",
     TALK_FLOW(open_breaking_talker, flow_from, received_with_gaps)},
    {.name = "flow into ws", TALK_FLOW(open_listener, flow_into, sent_twice)},
    {.name = "flow into ws, which breaks",
     TALK_FLOW(open_breaking_listener, flow_into, sent_with_gaps)},
};

SWEEP_MAIN(scenarios)
