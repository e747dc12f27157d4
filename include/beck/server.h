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
 * A server on several addresses, in the background, that lets its clients finish in the end:
 *
 *     bk_server *server = NULL;
 *     int r = bk_server_open(&server, "localhost:7000, unix:/run/greet.sock", greet, NULL, NULL);
 *     if (r == 0)
 *         r = bk_server_serve_forever(server);                    // until cancelled, as by Ctrl-C
 *     return bk_server_close(&server, r == -ECANCELED ? 0 : r);
 *
 * Its parts, for who wants to put them together otherwise: bk_listen, bk_accept, bk_serve.
 *
 * Addresses are those of stream.h, and to listen also ":8080" for every interface, and "fd:3" for a
 * socket that listens already, which whoever started the program has left open.  Port 0 lets the
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
    int backlog;     /* connections the kernel keeps waiting; default 4096, or what it allows */
    bool reuse_port; /* several processes may listen on the port and share what comes */
    bool ipv6_only;  /* "[::]:80" and ":80" refuse IPv4; by default they take both */
    bk_duration keep_alive; /* ask a TCP peer silent for so long if it is there; default: never */
    bk_stream_opts stream;  /* of accepted connections */
    bk_tls *tls;            /* accepted connections are its servers; default: plain */
} bk_listen_opts;

/* Binds address and listens on it, with SO_REUSEADDR.  Of a host name the first address is taken,
 * IPv4 before IPv6.  A Unix socket file where nobody listens any more is replaced. out: NULL on
 * entry; bk_listener_close it.  Suspends only to resolve a name. Returns 0, or -BK_EURL,
 * -BK_ERESOLVE, -EADDRINUSE, -EACCES, -ENOMEM, -ECANCELED, ... */
BK_API int bk_listen(bk_listener **out, const char *address, const bk_listen_opts *opts);

/* The address bound, with the port the kernel chose; bk_connect takes it.  Valid while the listener
 * is. */
BK_API const char *bk_listener_address(const bk_listener *listener);

/* Its file descriptor, which stays the listener's. */
BK_API int bk_listener_fd(const bk_listener *listener);

/* Accepts the next connection.
 * out: NULL on entry; bk_stream_close it.
 * Suspends until there is one.  Returns 1; -EBUSY when another task accepts; -ECANCELED, no
 * connection lost; or an error of the listening socket.  When the process is out of file
 * descriptors or memory, on_error of the run is told once, and it tries again every second, so that
 * a burst does not end a server. */
BK_API int bk_accept(bk_listener *listener, bk_stream **out);

/* Closes *listener and sets it to NULL; its Unix socket file is removed if it is still the same.
 * NULL is fine.  Connections accepted before live on.  Does not suspend.  Returns r; -EBUSY, and
 * nothing is closed, while another task accepts. */
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

/* ---- Servers in the background ---- */

typedef struct bk_server bk_server;

typedef struct bk_server_opts {
    bk_listen_opts listen; /* of each address */
    bk_serve_opts serve;   /* of all of them together */
    bool paused;           /* bind, but listen only when bk_server_start says so */
} bk_server_opts;

/* Binds addresses, listens, and from now on, while the caller goes on, accepts connections and runs
 * handler(ctx, &stream) for each in a task of its own, as bk_serve does.
 * addresses: one, or several separated by commas.  Of a host name every address is bound, with port
 * 0 all to the same port; what is named twice is bound once.  handler, ctx: borrowed until the
 * server is closed.
 * out: NULL on entry; bk_server_close it.
 * Suspends only to resolve names.  Returns 0, or as bk_listen, and then nothing stays bound. */
BK_API int bk_server_open(bk_server **out, const char *addresses, bk_stream_fn *handler, void *ctx,
                          const bk_server_opts *opts);

/* Starts one that was opened paused; nothing when it serves already.  Does not suspend.
 * Returns 0; -BK_ECLOSED when it has stopped; -EADDRINUSE, -ENOMEM, ... */
BK_API int bk_server_start(bk_server *server);

/* It accepts connections: started, and not stopped. */
BK_API bool bk_server_is_serving(const bk_server *server);

/* The addresses bound, each with the port the kernel chose, counted from 0; NULL beyond the last.
 * Valid while the server is. */
BK_API const char *bk_server_address(const bk_server *server, int i);
/* The listening socket behind it, which stays the server's; -1 once it has stopped. */
BK_API int bk_server_fd(const bk_server *server, int i);

/* Connections that are open. */
BK_API size_t bk_server_count(const bk_server *server);

/* Starts the server if need be, and suspends until it stops.
 * Returns 0 when another task has stopped it; -ECANCELED, and then it has stopped too; the error
 * when accepting failed for good; -BK_ECLOSED when it had stopped before; -EBUSY when another task
 * is here.  Clients go on in any case: bk_server_close sees to them. */
BK_API int bk_server_serve_forever(bk_server *server);

/* Stops listening: no more connections are accepted, and the sockets are closed in the loop's next
 * turn.  Clients are not touched.  Does not suspend.  asyncio: Server.close. */
BK_API void bk_server_stop(bk_server *server);

/* Suspends until the server has stopped and no connection is left.  Returns 0 or -ECANCELED. */
BK_API int bk_server_wait_closed(bk_server *server);

/* Hangs up on every client (bk_stream_hang_up), or aborts every connection (bk_stream_abort).  The
 * handlers see it when they read or write.  Neither suspends. */
BK_API void bk_server_close_clients(bk_server *server);
BK_API void bk_server_abort_clients(bk_server *server);

/* Stops, and ends every connection within the limit: calls serve.on_drain, lets the handlers end by
 * themselves for so long, then cancels those left, and 5 s later aborts their connections.
 * Suspends until none is left, deaf to cancels.
 * Returns 0 when all ended by themselves, -ETIMEDOUT when some did not. */
BK_API int bk_server_shutdown(bk_server *server, bk_duration limit);

/* Shuts *server down and frees it, and sets it to NULL.  NULL is fine.  Suspends until no
 * connection is left.
 * r: how the caller's work went.  r >= 0: handlers get serve.drain to end, by default 10 s here;
 * r < 0: they are cancelled at once.
 * Returns r, or the error that had ended the accepting; -EBUSY, and nothing is closed, while
 * another task waits for the server. */
BK_API int bk_server_close(bk_server **server, int r);

BK_END_DECLS
#endif
