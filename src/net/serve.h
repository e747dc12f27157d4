/* SPDX-License-Identifier: MIT
 * What bk_serve and bk_server share: accepting up to a limit, a task for each connection, the end.
 *
 * A connection is a stream, from when it was accepted until it is closed, whoever closes it; it is
 * in one of two lists all that time.  A handler mostly lives as long as its stream, but may end
 * before (it handed the stream to somebody) or after it. */
#ifndef BECK_SRC_NET_SERVE_H
#define BECK_SRC_NET_SERVE_H

#include "net/listener.h"

struct bki_serve {
    const char *address; /* of a listener, for people */
    bk_stream_fn *handler;
    void *ctx;
    bk_serve_opts opts;
    bk_group *handlers;
    size_t n_handlers, n_streams;
    struct bki_list
        not_run;          /* streams whose handler has not run: a cancel now, and it never does */
    struct bki_list open; /* the others */
    struct bki_list room; /* accepting tasks, at the limit */
    struct bki_list end;  /* tasks that wait for the last connection to end */
};

/* Opens the group of handlers in the calling task, which must end it.  -ENOMEM. */
int bki_serve_begin(struct bki_serve *serve, const char *address, bk_stream_fn *handler, void *ctx,
                    const bk_serve_opts *opts);

/* Accepts until cancelled, or until accepting fails for good; returns that. */
int bki_serve_accept(struct bki_serve *serve, bk_listener *listener);

/* Suspends until no connection and no handler is left, or until somebody sets *enough and grants
 * the waiters in `end`.  0 or -ECANCELED. */
int bki_serve_wait_end(struct bki_serve *serve, const bool *enough);

/* Ends the group: waits for the handlers, or for r < 0 cancels them first.  Returns r or
 * -ECANCELED.
 */
int bki_serve_end_handlers(struct bki_serve *serve, int r);

/* Streams that handlers have given away are their owners' alone from now on. */
void bki_serve_end(struct bki_serve *serve);

#endif
