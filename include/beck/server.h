/* SPDX-License-Identifier: MIT
 * Servers: listen, accept, and a task for each connection.
 *
 *     static int greet(void *ctx, bk_stream **stream)
 *     {
 *         bk_span line;
 *         int r = bk_stream_read_line(*stream, &line);
 *         if (r <= 0)
 *             return r;
 *         const bk_span parts[] = {bk_span_str("hello, "), line, bk_span_str("\n")};
 *         return bk_stream_writev(*stream, parts, 3);
 *     }
 *
 *     bk_listener *listener = NULL;
 *     int r = bk_listen(&listener, "127.0.0.1:7000", NULL);
 *     if (r == 0)
 *         r = bk_serve(listener, greet, NULL, NULL);
 *     return bk_listener_close(&listener, r);
 *
 * Addresses are those of stream.h, and ":8080" to listen on every interface.  Port 0 lets the
 * kernel choose one.
 *
 * Everything here is for the loop thread, in a task, and every call that can suspend fails with
 * -ECANCELED in a cancelled task. */
#ifndef BECK_SERVER_H
#define BECK_SERVER_H

#include <beck/stream.h>

BK_BEGIN_DECLS

typedef struct bk_listener bk_listener;

typedef struct bk_listen_opts {
    int backlog;           /* connections the kernel keeps waiting; default 100 */
    bool reuse_port;       /* several processes may listen on the port and share what comes */
    bool ipv6_only;        /* "[::]:80" and ":80" refuse IPv4; by default they take both */
    bk_stream_opts stream; /* of accepted connections */
    bk_tls *tls;           /* accepted connections are its servers; default: plain */
} bk_listen_opts;

/* Binds address and listens on it.  Of a host name the first address is taken, IPv4 before IPv6.  A
 * Unix socket file where nobody listens any more is replaced.
 * out: NULL on entry; bk_listener_close it.  Suspends only to resolve a name.
 * Returns 0, or -BK_EURL, -BK_ERESOLVE, -EADDRINUSE, -EACCES, -ENOMEM, -ECANCELED, ... */
BK_API int bk_listen(bk_listener **out, const char *address, const bk_listen_opts *opts);

/* The address bound, with the port the kernel chose; bk_connect takes it.  Valid while the listener
 * is. */
BK_API const char *bk_listener_address(const bk_listener *listener);

/* Accepts the next connection.
 * out: NULL on entry; bk_stream_close it.
 * Suspends until there is one.  Returns 1; -EBUSY when another task accepts; -ECANCELED, no
 * connection lost; or an error of the listening socket.  When the process is out of file
 * descriptors or memory it tries again every second, so that a burst does not end a server. */
BK_API int bk_accept(bk_listener *listener, bk_stream **out);

/* Closes *listener and sets it to NULL; its Unix socket file is removed if it is still the same.
 * NULL is fine.  Connections accepted before live on.  Returns r; -EBUSY, and nothing is closed,
 * while another task accepts. */
BK_API int bk_listener_close(bk_listener **listener, int r);

/* The body of a connection's task.  *stream is closed when it returns, by the sign of the result as
 * bk_stream_close does; a handler that keeps the stream, or hands it to somebody, sets *stream to
 * NULL.  A task that is still inside a call on *stream then sees the connection end, and on_error
 * is told of -EBUSY.  To say goodbye when cancelled, write inside bk_shield and return 0. ctx: as
 * passed to bk_serve, borrowed. */
typedef int bk_stream_fn(void *ctx, bk_stream **stream);

typedef struct bk_serve_opts {
    size_t limit; /* most connections at once, accepting pauses there; default 10,000 */
    /* Called in the task of a handler that failed (other than with -ECANCELED), or whose last bytes
     * could not be sent; bk_errmsg has the detail.  stream: not yet closed, NULL if the handler
     * took it.
     * Default: bk_run_opts.on_error is told, unless the peer just went away (-ECONNRESET,
     * -EPIPE). */
    void (*on_error)(void *ctx, bk_stream *stream, int result);
    bk_duration drain; /* once cancelled, how long handlers may go on; default: not at all */
    /* Called when that begins: a protocol tells its handlers to come to an end.  Must not suspend.
     */
    void (*on_drain)(void *ctx);
} bk_serve_opts;

/* Accepts connections for ever and runs handler(ctx, &stream) for each in a task of its own.  A
 * handler that fails ends only its connection.
 * Suspends until cancelled (-ECANCELED) or until accepting fails for good (that error).  Handlers
 * still running then get .drain to end by themselves; those left are cancelled and waited for.  The
 * listener stays open. */
BK_API int bk_serve(bk_listener *listener, bk_stream_fn *handler, void *ctx,
                    const bk_serve_opts *opts);

BK_END_DECLS
#endif
