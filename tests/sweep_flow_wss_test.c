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

static const struct sweep_scenario scenarios[] = {
    {.name = "flow from wss", TALK_FLOW(open_talker, flow_from, received_in_order)},
    {.name = "flow into wss", TALK_FLOW(open_listener, flow_into, sent_in_order)},
};

SWEEP_MAIN(scenarios)
