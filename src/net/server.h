/* SPDX-License-Identifier: MIT
 * A server's inside. */
#ifndef BECK_SRC_NET_SERVER_H
#define BECK_SRC_NET_SERVER_H

#include "net/serve.h"

enum bki_server_state { BKI_SERVER_PAUSED, BKI_SERVER_SERVING, BKI_SERVER_STOPPED };

/* While it serves, a task of its own owns two groups: of the accepting tasks, one for each
 * listener, and of the handlers.  Stopping ends the first. */
struct bk_server {
    struct bki_serve serve;
    bk_server_opts opts;
    bk_stream_fn *handler;
    void *ctx;
    bk_listener **listeners; /* their sockets are closed once the server has stopped */
    char **addresses;
    int n; /* of each */
    enum bki_server_state state;
    bool running;  /* its task has begun and not ended */
    bool let_go;   /* streams that handlers have given away are not waited for */
    bool drained;  /* serve.on_drain was called */
    bool awaited;  /* a task is in serve_forever */
    int n_waiting; /* tasks inside a call that waits for the server */
    int failure;   /* why accepting ended by itself, 0 */
    char failure_text[256];
    bk_group *accepting;
    struct bki_list waiters; /* for the server to stop, or to have ended */
};

/* Binds everything in addresses, a list with commas.  *out: the listeners, not listening yet; also
 * when it fails, for the caller to close.  Returns how many, or as bk_listen. */
int bki_bind_all(struct bk_listener ***out, int *n, const char *addresses,
                 const bk_listen_opts *opts);

#endif
