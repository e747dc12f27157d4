/* SPDX-License-Identifier: MIT
 * HTTP/1.1 clients (RFC 9110, 9112): connections that are used again, bodies streamed both ways,
 * redirects, compression, proxies.
 *
 *     bk_http_client *client = NULL;
 *     bk_http_call *call = NULL;
 *     bk_msg *body = NULL;
 *     int r = bk_http_client_new(&client, NULL);
 *     if (r == 0)
 *         r = bk_http_get(&call, client, "https://example.org/prices", NULL);
 *     if (r == 0)
 *         r = bk_http_call_check(call);                  // not a 2xx: -BK_EREFUSED
 *     if (r == 0)
 *         r = bk_http_call_body(call, &body);
 *     ...
 *     bk_msg_free(&body);
 *     r = bk_http_call_close(&call, r);
 *     bk_http_client_free(&client);
 *
 * A call is one request and its response.  One task at a time uses a call; any number of calls of
 * one client go on at once.  Everything here is for the loop thread, in a task, and every call that
 * can suspend fails with -ECANCELED in a cancelled task: close it then with that result, and its
 * connection is dropped. */
#ifndef BECK_HTTP_CLIENT_H
#define BECK_HTTP_CLIENT_H

#include <beck/http.h>
#include <beck/msg.h>
#include <beck/stream.h>
#include <beck/tls.h>

BK_BEGIN_DECLS

/* ---- Clients ---- */

/* What calls share: connections that may be used again, and how to make new ones. */
typedef struct bk_http_client bk_http_client;

typedef struct bk_http_client_opts {
    size_t limit;             /* most connections at once, a further call waits; default 100 */
    bk_duration idle_timeout; /* a connection unused for this long is closed; default 60 s */
    bk_tls *tls;              /* for https: URLs; default bk_tls_default() */
    /* "http://[user:password@]host:port" or "https://...", for every URL; "" for none.  Default:
     * what the environment says (http_proxy, https_proxy, all_proxy, no_proxy). */
    const char *proxy;
    const char *user_agent; /* default "beck/VERSION" */
} bk_http_client_opts;

/* out: NULL on entry; bk_http_client_free it, before its loop ends.  opts: copied.
 * Errors: -BK_EURL (proxy), -ENOMEM.  Does not suspend. */
BK_API int bk_http_client_new(bk_http_client **out, const bk_http_client_opts *opts);

/* Closes the idle connections, and frees the client once its last call is closed.  NULL is fine.
 * Does not suspend. */
BK_API void bk_http_client_free(bk_http_client **client);

/* Connections open now, and those of them that no call uses. */
BK_API size_t bk_http_client_open(const bk_http_client *client);
BK_API size_t bk_http_client_idle(const bk_http_client *client);

/* ---- Calls ---- */

typedef struct bk_http_call bk_http_call;

typedef struct bk_http_opts {
    const bk_http_headers *headers; /* further fields of the request; borrowed for the call */
    const char *user, *password;    /* Basic authentication, also as "https://user:password@..." */
    const char *bearer;             /* a bearer token (RFC 6750) */
    bk_duration timeout; /* from here to the response's head, all redirects; default 30 s */
    bk_duration
        stall_timeout;     /* a body that brings nothing for so long: -ETIMEDOUT; default 60 s */
    int max_redirects;     /* followed, then -BK_ELIMIT; default 5, negative: none is followed */
    bool redirect_to_http; /* follow also from https: to http: */
    size_t max_body;       /* for bk_http_call_body, decoded; default 16 MiB */
    /* Do not ask for compression, nor undo it; so it is too when headers have an Accept-Encoding or
     * a Range of their own. */
    bool raw;
    bool expect_continue; /* send a body only once the server wants it, or 1 s has passed */
} bk_http_opts;

/* Sends a GET and receives the response's head; redirects are followed.
 * out: NULL on entry; bk_http_call_close it.
 * client: NULL for a connection of this call's own.  url: "http:" or "https:"; opts: NULL is fine.
 * Suspends until the head is in.  Returns 0, whatever the status; -BK_EURL (also for a redirect to
 * a URL of another kind, or from https: to http:); -EINVAL (a header that may not be sent);
 * -BK_EPROTO (no HTTP response); -BK_ELIMIT (a head or redirects over their limit);
 * -BK_EINCOMPLETE, -ECONNRESET (the server went away); -BK_EREFUSED (by the proxy); -ETIMEDOUT; or
 * as bk_connect and bk_stream_start_tls. */
BK_API int bk_http_get(bk_http_call **out, bk_http_client *client, const char *url,
                       const bk_http_opts *opts);

/* The same for any method, with a body (borrowed; len 0: none).  A redirect by 303, or by 301 or
 * 302 of a POST, is followed by a GET without the fields that tell of a body; by 307 or 308, with
 * the same body again.
 * method: upper case as it is sent.  OPTIONS of a URL without a path asks about the server as a
 * whole. */
BK_API int bk_http_request(bk_http_call **out, bk_http_client *client, const char *method,
                           const char *url, bk_span body, const bk_http_opts *opts);

/* Opens a call whose body follows by bk_http_call_write and ends with bk_http_call_finish.
 * method: as bk_http_request.  len: its bytes, or -1 when that is not known (chunked).  Otherwise
 * as bk_http_get, but that redirects are not followed, since the body is gone. */
BK_API int bk_http_open(bk_http_call **out, bk_http_client *client, const char *method,
                        const char *url, int64_t len, const bk_http_opts *opts);

/* Sends a piece of the body.
 * Suspends while the connection does not take it.  Returns 0; -EINVAL for more than len bytes;
 * -BK_ECLOSED when the server has answered already and wants no more: bk_http_call_finish has the
 * answer; -ECANCELED; or the connection's error. */
BK_API int bk_http_call_write(bk_http_call *call, const void *data, size_t len);

/* Ends the body, and receives the response's head.  Returns as bk_http_get; -EINVAL when fewer
 * than len bytes were written. */
BK_API int bk_http_call_finish(bk_http_call *call);

/* ---- The response ---- */

/* The status: 200; 0 before the response's head is in. */
BK_API int bk_http_call_status(const bk_http_call *call);

/* Its fields.  Valid while call is, as are the URL that answered in the end (without secrets), and
 * the words behind the status. */
BK_API const bk_http_headers *bk_http_call_headers(const bk_http_call *call);
BK_API const char *bk_http_call_url(const bk_http_call *call);
BK_API const char *bk_http_call_reason(const bk_http_call *call);

/* Returns 0 when the status is 2xx; else -BK_EREFUSED, with URL and status in bk_errmsg. */
BK_API int bk_http_call_check(const bk_http_call *call);

/* Reads up to len bytes of the body, gzip and deflate undone: what there is, and at least one.  A
 * body in a coding that was not asked for is given as it comes: its Content-Encoding tells.
 * Suspends until there is some.  Returns the count; 0 at the end of a whole body; -BK_EINCOMPLETE
 * (the connection ended before it), -BK_EPROTO, -BK_EFORMAT (the compression is damaged),
 * -ETIMEDOUT, -ECANCELED (nothing is lost), or the connection's error. */
BK_API ssize_t bk_http_call_read(bk_http_call *call, void *buf, size_t len);

/* Reads all that is left of the body.
 * out: NULL on entry, yours after.  Returns 0; -BK_ELIMIT over max_body; or as bk_http_call_read.
 */
BK_API int bk_http_call_body(bk_http_call *call, bk_msg **out);

/* The fields behind a chunked body, once it is read to its end; an empty list before, and when
 * there are none. */
BK_API const bk_http_headers *bk_http_call_trailers(const bk_http_call *call);

/* After "101 Switching Protocols", and a 2xx answer to CONNECT: the connection, for the other
 * protocol; what came behind the head is the first that it reads.
 * out: NULL on entry, yours after.  Returns 0; -EINVAL after another response.  Never suspends. */
BK_API int bk_http_call_take_stream(bk_http_call *call, bk_stream **out);

/* Ends the call and sets *call to NULL.  NULL is fine.
 * r: how the caller's work with it went.  After a response that was read to its end the connection
 * can serve another call, else it is dropped.  Returns r.  Does not suspend. */
BK_API int bk_http_call_close(bk_http_call **call, int r);

BK_END_DECLS
#endif
