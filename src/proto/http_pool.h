/* SPDX-License-Identifier: MIT
 * The connections of an HTTP client: in use, idle, and calls that wait for one.
 *
 * A connection belongs to one route: an origin, and the proxy it is reached by.  Whoever takes one
 * gives it back, for another call to use or to be closed; what then becomes free goes to the call
 * that has waited longest. */
#ifndef BECK_SRC_PROTO_HTTP_POOL_H
#define BECK_SRC_PROTO_HTTP_POOL_H

#include <beck/http_client.h>

#include "proto/endpoint.h"
#include "rt/rt.h"

struct bki_http_conn {
    struct bki_list link; /* in client->idle */
    bk_stream *stream;
    char *route;
    bool reused; /* it has served a call before */
    int64_t idle_until_ns;
};

struct bk_http_client {
    struct bk_loop *loop;
    size_t refs; /* the caller's, and one for each call */
    bool freed;  /* by the caller: no connection stays idle any more */
    size_t limit;
    int64_t idle_ns;
    bk_tls *tls;
    char *proxy; /* NULL: as the environment says */
    char *user_agent;
    size_t n_open; /* connections, and places for them that calls were granted */
    size_t n_idle;
    struct bki_list idle;  /* the one used last at the end */
    struct bki_list line;  /* calls that wait for a connection or a place */
    struct bki_timer reap; /* armed for the first idle connection's end */
};

/* How a URL is reached. */
struct bki_http_route {
    const struct bki_endpoint *target;
    const struct bki_endpoint *proxy; /* NULL: directly */
    bool fresh;                       /* a new connection is wanted */
    bool tunnel;                      /* by CONNECT to a plain target, too */
};

/* With what connections are made; the owner's. */
struct bki_http_means {
    bk_tls *tls;
    const char *user_agent;
};

/* Takes a connection for a route: an idle one that still stands, or a new one.
 * Suspends for a place below the limit, and to connect.  Returns 0; or as bk_connect,
 * bk_stream_start_tls; -BK_EREFUSED (the proxy). */
int bki_http_pool_take(struct bk_http_client *client, const struct bki_http_route *route,
                       struct bki_http_conn **out);

/* Gives *conn back and empties it.  again: it can serve another call. */
void bki_http_pool_give(struct bk_http_client *client, struct bki_http_conn **conn, bool again);

/* Gives up the place of *conn and empties it; the stream is the caller's. */
bk_stream *bki_http_pool_detach(struct bk_http_client *client, struct bki_http_conn **conn);

/* One reference less; the last one frees. */
void bki_http_client_unref(struct bk_http_client *client);

/* Makes a connection for a route (http_connect.c).  Suspends. */
int bki_http_connect(bk_stream **out, const struct bki_http_means *means,
                     const struct bki_http_route *route);

/* By which proxy the target is reached: `given` (a URL, "" for none), or, when that is NULL, what
 * the environment says.  Returns 1: *proxy is filled; 0: directly; -BK_EURL, -ENOMEM.
 * bki_endpoint_free *proxy, whatever it returned (http_connect.c). */
int bki_http_choose_proxy(struct bki_endpoint *proxy, const struct bki_endpoint *target,
                          const char *given);

/* "Basic " and the credentials (RFC 7617); bki_free it.  NULL without memory (http_connect.c). */
char *bki_http_basic(const char *user, const char *password);

#endif
