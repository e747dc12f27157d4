/* SPDX-License-Identifier: MIT
 * A WebSocket server running beside a flow: what ws-listen: has in common as source and as sink. */
#ifndef BECK_SRC_CONNECTORS_WS_SERVER_H
#define BECK_SRC_CONNECTORS_WS_SERVER_H

#include <beck/task.h>
#include <beck/ws.h>

#include "connectors/connector.h"
#include "connectors/tls_options.h"

struct bki_ws_server {
    char *address;
    bk_ws_opts opts;
    bk_tls *tls; /* NULL: plain */
    struct bki_port *port;
    bk_listener *listener;
    bk_task *task;
    /* Called in a task for each client; it closes *ws.  Its failures are notes of the flow. */
    int (*client)(void *ctx, bk_ws **ws);
    void (*ended)(void *ctx); /* no client's task is left and none will come; NULL: nobody cares */
    void *ctx;
    int result; /* how accepting ended */
};

/* Reads the address and the options of a target; free with bki_ws_server_free in every case. */
int bki_ws_server_init(struct bki_ws_server *server, const struct bki_target *target);
void bki_ws_server_free(struct bki_ws_server *server);

/* Listens, says where, and starts to accept. */
int bki_ws_server_open(struct bki_ws_server *server, struct bki_port *port);

/* 0, or the error with which accepting has ended: then no client is left, and none will come. */
int bki_ws_server_check(const struct bki_ws_server *server);

/* Stops accepting and cancels the clients' tasks; does not wait. */
void bki_ws_server_stop(struct bki_ws_server *server);

/* Stops, waits for the end, and closes.  Returns r. */
int bki_ws_server_close(struct bki_ws_server *server, int r);

/* Options that it understands. */
#define BKI_WS_SERVER_OPTIONS "max", BKI_TLS_SERVER_OPTIONS

/* The source and the sink, each in a file of its own. */
int bki_ws_listen_add_source(bk_flow *flow, const struct bki_target *target);
int bki_ws_listen_add_sink(bk_flow *flow, const struct bki_target *target);

#endif
