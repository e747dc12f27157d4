/* SPDX-License-Identifier: MIT
 * Sweeps over flows from and to WebSockets under TLS: as sweep_flow_ws_test.c, and nothing that
 * OpenSSL made is left.  (A handshake takes its time: few messages, and no second flow.) */
#include "tests/sweep_talk.h"
#include "tests/tls_fixture.h"

static int open_with_tls(struct talk *t, bk_fn *peer)
{
    static char options[96];
    snprintf(options, sizeof options, "#reconnect=never&cacert=%s", tls_file("ca"));
    t->options = options;
    int r = bk_tls_server_new(&t->tls, &(bk_tls_opts){.cert_file = tls_file("server")});
    return r < 0 ? r : open_server(t, peer);
}

static int open_talker(void *ctx)
{
    return open_with_tls(ctx, talk_to_clients);
}

static int open_listener(void *ctx)
{
    return open_with_tls(ctx, listen_to_clients);
}

static int flow_from(void *ctx)
{
    struct talk *t = ctx;
    return sweep_flow_run(&t->flow, t->url, NULL);
}

static void received_in_order(void *ctx, int result)
{
    struct talk *t = ctx;
    sweep_calm();
    sweep_flow_end(&t->flow);
    sweep_flow_got_in_order(&t->flow, result);
    let_server_finish(t);
}

static int flow_into(void *ctx)
{
    struct talk *t = ctx;
    return sweep_flow_run(&t->flow, NULL, t->url);
}

static void sent_in_order(void *ctx, int result)
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

static const struct sweep_scenario scenarios[] = {
    {.name = "flow from wss",
     .state_size = sizeof(struct talk),
     .open = open_talker,
     .close = close_talk,
     .subject = flow_from,
     .check = received_in_order,
     .blame_elsewhere = true},
    {.name = "flow into wss",
     .state_size = sizeof(struct talk),
     .open = open_listener,
     .close = close_talk,
     .subject = flow_into,
     .check = sent_in_order,
     .blame_elsewhere = true},
};

SWEEP_MAIN(scenarios)
