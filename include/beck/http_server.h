/* SPDX-License-Identifier: MIT
 * HTTP/1.1 servers (RFC 9110, 9112): a task for each connection, bodies streamed both ways.
 *
 *     static int hello(void *ctx, bk_http_req *req)
 *     {
 *         if (strcmp(bk_http_req_path(req), "/") != 0)
 *             return bk_http_reply_text(req, 404, "no such page\n");
 *         const char *name = bk_http_req_query(req, "name");
 *         bk_http_reply_header(req, "Cache-Control", "no-store");
 *         return bk_http_reply_text(req, 200, name ? name : "hello");
 *     }
 *
 *     bk_listener *listener = NULL;
 *     int r = bk_listen(&listener, ":8080", NULL);          // with .tls in its options: https
 *     if (r == 0)
 *         r = bk_http_serve(listener, hello, NULL, NULL);
 *     return bk_listener_close(&listener, r);
 *
 * A handler replies by one bk_http_reply, or by _start, any number of _write, and _end (which its
 * return does as well).  Requests of a connection are handled one after the other.  What comes
 * malformed, too large or too slowly is answered without the handler, and the connection closed.
 *
 * Everything here is for the loop thread.  One task at a time reads a request and one replies to
 * it; they may be two tasks, and have to end before the handler returns.  Every call that can
 * suspend fails with -ECANCELED in a cancelled task. */
#ifndef BECK_HTTP_SERVER_H
#define BECK_HTTP_SERVER_H

#include <beck/http.h>
#include <beck/msg.h>
#include <beck/server.h>

BK_BEGIN_DECLS

/* A request, and the way to reply to it.  It and every text and list got from it are valid until
 * its handler returns. */
typedef struct bk_http_req bk_http_req;

/* Handles a request, in its connection's task.  ctx: as passed to bk_http_serve, borrowed.
 * Returns 0, or an error: when nothing has been sent yet, the client is told 500 (or what is wrong
 * with a body that could not be read: 400, 408, 413); else the connection is reset, so that half a
 * reply is not taken for a whole one. */
typedef int bk_http_fn(void *ctx, bk_http_req *req);

/* ---- Serving ---- */

typedef struct bk_http_serve_opts {
    size_t limit;             /* most connections at once, accepting pauses there; default 10,000 */
    size_t max_line;          /* bytes of a request line, 414 beyond; default 8 KiB */
    size_t max_head;          /* bytes of all header lines, 431 beyond; default 64 KiB */
    size_t max_headers;       /* header lines, 431 beyond; default 100 */
    size_t max_body;          /* bytes of a body, 413 beyond; default 1 MiB; BK_UNBOUNDED */
    size_t max_chunk_ext;     /* bytes of chunk extensions in a body; default 4 KiB */
    bk_duration head_timeout; /* for a whole head, 408 beyond; default 10 s */
    bk_duration idle_timeout; /* between requests, and in a stalled body; default 60 s */
    size_t min_rate;          /* bytes/s that a client must send of a body while it is waited */
    bk_duration min_rate_grace; /* for, and take of a reply, after the grace; default 240, 5 s */
    bool trace;                 /* TRACE goes to the handler; by default it is answered with 501 */
    bk_duration drain;          /* once cancelled, for requests in progress; default 10 s */
    /* Called in the connection's task when a handler has failed (other than with -ECANCELED), or a
     * reply was left incomplete; bk_errmsg has the detail.
     * Default: bk_run_opts.on_error is told, unless the client just went away. */
    void (*on_error)(void *ctx, bk_http_req *req, int result);
} bk_http_serve_opts;

/* Accepts connections for ever, and runs handler(ctx, req) for each request.
 * Suspends until cancelled (-ECANCELED) or until accepting fails for good (that error).  Then idle
 * connections are closed; requests in progress may go on for .drain, each the last of its
 * connection; what is left then is cancelled and waited for.  The listener stays open. */
BK_API int bk_http_serve(bk_listener *listener, bk_http_fn *handler, void *ctx,
                         const bk_http_serve_opts *opts);

/* ---- The request ---- */

BK_API const char *bk_http_req_method(const bk_http_req *req); /* "GET" */
BK_API const char *bk_http_req_target(const bk_http_req *req); /* as sent: "/a%20b?x=1" */

/* The target's path, percent-decoded: "/a b"; "*" for OPTIONS *.  What would decode to a NUL, and a
 * percent sign without two digits, is left as it is. */
BK_API const char *bk_http_req_path(bk_http_req *req);

/* The value of the first pair of that name in the target's query, decoded as forms are ("+" is a
 * space); "" for a name without "=", NULL when there is none. */
BK_API const char *bk_http_req_query(bk_http_req *req, const char *name);

/* Whom it was sent to: the authority of an absolute target, else Host; "" without. */
BK_API const char *bk_http_req_host(bk_http_req *req);

/* The first field of that name, NULL when there is none; and all of them. */
BK_API const char *bk_http_req_header(const bk_http_req *req, const char *name);
BK_API const bk_http_headers *bk_http_req_headers(const bk_http_req *req);

BK_API int bk_http_req_minor(const bk_http_req *req);        /* of the version: HTTP/1.minor */
BK_API const char *bk_http_req_peer(const bk_http_req *req); /* as bk_stream_peer */
/* The connection, for its facts (TLS, addresses): do not read, write or close it. */
BK_API bk_stream *bk_http_req_stream(const bk_http_req *req);
/* The server is being stopped: an endless reply had better end. */
BK_API bool bk_http_req_stopping(const bk_http_req *req);

/* ---- Its body: read in pieces or as a whole; what is not read is skipped ---- */

/* How long it is: 0 without one, -1 when that is not known beforehand. */
BK_API int64_t bk_http_req_length(const bk_http_req *req);

/* Another limit for this body than max_body, before it is read; BK_UNBOUNDED for none. */
BK_API void bk_http_req_set_max_body(bk_http_req *req, size_t max_body);

/* Reads up to len bytes of the body: what there is, and at least one.
 * A client that sent "Expect: 100-continue" is told to go on by the first read, unless a reply has
 * been started.  Suspends until there is something.
 * Returns the count; 0 at the end; -EMSGSIZE over the limit (at once when the length says so);
 * -BK_EPROTO, -BK_ELIMIT (malformed chunks); -BK_EINCOMPLETE (the client went away); -ETIMEDOUT
 * (too slow); -ECANCELED, nothing lost; or the connection's error. */
BK_API ssize_t bk_http_req_read(bk_http_req *req, void *buf, size_t len);

/* Reads the whole body, or what is left of it.
 * out: NULL on entry, yours after (bk_msg_free).  Suspends until it is there, also while long ones
 * of others hold what there is of bk_run_opts.max_intake.
 * Returns 0 or as bk_http_req_read; -ENOMEM; -ENOBUFS (others have waited for its memory, and too
 * little has come: the client is told 503). */
BK_API int bk_http_req_body(bk_http_req *req, bk_msg **out);

/* The fields behind a chunked body, once it has been read to its end; else an empty list. */
BK_API const bk_http_headers *bk_http_req_trailers(const bk_http_req *req);

/* ---- The reply ----
 *
 * Date, Content-Length, Transfer-Encoding and Connection are the server's to send.  To HEAD, and
 * with the statuses 204 and 304, no body is sent: what is written of one is dropped. */

/* Sets a field of the reply to come, replacing any of that name; _add_ keeps those (Set-Cookie).
 * "Connection: close" ends the connection after the reply.
 * Returns 0, or as bk_http_headers_set; -EINVAL also for Content-Length and Transfer-Encoding, and
 * once the reply has been started. */
BK_API int bk_http_reply_header(bk_http_req *req, const char *name, const char *value);
BK_API int bk_http_reply_add_header(bk_http_req *req, const char *name, const char *value);

/* Sends a whole reply, in one piece with its head.
 * status: 200 to 999.  type: for Content-Type, NULL for none.  body: copied or sent when the call
 * returns.
 * Suspends while the client does not take what is sent to it.  Returns 0; -EINVAL for another
 * status, a body with 204, 205 or 304, or a second reply; -ETIMEDOUT (the client is too slow);
 * -ECANCELED; -ENOMEM; or the connection's error. */
BK_API int bk_http_reply(bk_http_req *req, int status, const char *type, const void *body,
                         size_t len);
/* The same with "text/plain; charset=utf-8". */
BK_API int bk_http_reply_text(bk_http_req *req, int status, const char *text);

/* Starts a reply whose body follows.
 * len: its bytes; or -1 when that is not known: then it is sent in chunks, or to an HTTP/1.0 client
 * until the connection closes.
 * Small pieces are gathered until the task gives way.  Returns as bk_http_reply. */
BK_API int bk_http_reply_start(bk_http_req *req, int status, int64_t len);

/* Sends a piece of the body.  Returns as bk_http_reply; -EINVAL for more than len bytes in all. */
BK_API int bk_http_reply_write(bk_http_req *req, const void *data, size_t len);

/* Adds a field to be sent behind a chunked body.  Returns 1; 0 when the reply is not chunked, so
 * that it cannot be sent; -EINVAL as for headers, or for a name that does not belong there;
 * -ENOMEM. */
BK_API int bk_http_reply_trailer(bk_http_req *req, const char *name, const char *value);

/* Ends the body.  Returns as bk_http_reply; -EINVAL when fewer than len bytes were written. */
BK_API int bk_http_reply_end(bk_http_req *req);

/* Sends an interim response (103 Early Hints, 102) with these fields (NULL for none), as often as
 * wanted before the reply.  An HTTP/1.0 client is sent nothing.  Returns as bk_http_reply. */
BK_API int bk_http_reply_interim(bk_http_req *req, int status, const bk_http_headers *headers);

/* Answers "101 Switching Protocols" and hands the connection over.
 * protocol: what the request's Upgrade has to name; headers set before are sent along.
 * out: NULL on entry, yours after; bytes that came behind the request are its first.  Nothing can
 * be read from or replied to the request any more, and its handler may go on with the stream, or
 * leave it to another task.
 * Returns 0; -BK_EPROTO, nothing sent, when the request does not ask for it; -EINVAL (a reply was
 * started); or as bk_http_reply. */
BK_API int bk_http_req_upgrade(bk_http_req *req, const char *protocol, bk_stream **out);

BK_END_DECLS
#endif
