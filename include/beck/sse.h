/* SPDX-License-Identifier: MIT
 * Server-sent events, sent (WHATWG HTML 9.2): an endless reply of a handler of bk_http_serve.
 *
 *     static int clock(void *ctx, bk_http_req *req)
 *     {
 *         bk_sse *sse = NULL;
 *         int r = bk_sse_open(&sse, req, NULL);
 *         while (r == 0 && (r = bk_sse_send(sse, "tick", time_text())) == 0)
 *             r = bk_sse_sleep(sse, bk_seconds(1));
 *         return bk_sse_close(&sse, r);
 *     }
 *
 * To tell many clients the same, the handler of each only waits for its client to leave:
 *
 *         r = bk_sse_open(&sse, req, NULL);
 *         ... add sse to a list ...
 *         r = bk_sse_wait(sse);
 *         ... remove it from there ...
 *         return bk_sse_close(&sse, r);
 *
 * and who has news encodes it once (bk_sse_encode) and gives it to each without waiting for the
 * slow ones (bk_sse_try_send_msg).
 *
 * Any task of the loop may send, one at a time; everything here is for the loop thread, and what
 * suspends says so.  A client that has gone is noticed by bk_sse_wait and bk_sse_sleep at once, and
 * by sending some time after.  They are received by bk_event_source. */
#ifndef BECK_SSE_H
#define BECK_SSE_H

#include <beck/http_server.h>

BK_BEGIN_DECLS

typedef struct bk_sse bk_sse;

typedef struct bk_sse_opts {
    /* A comment is sent after so much silence, so that proxies keep the connection; default 15 s,
     * bk_forever() for none. */
    bk_duration keep_alive;
    bk_duration retry; /* how long clients are to wait before they reconnect; default: theirs */
} bk_sse_opts;

/* Starts the reply: 200, text/event-stream, not to be cached; headers set before go along.
 * out: NULL on entry; bk_sse_close it, in the handler.
 * Returns 0, or as bk_http_reply_start.  Does not suspend. */
BK_API int bk_sse_open(bk_sse **out, bk_http_req *req, const bk_sse_opts *opts);

/* The id of the last event that a reconnecting client has had, "" for none.  Valid while the
 * request is. */
BK_API const char *bk_sse_last_id(const bk_sse *sse);

/* What an event may have.  Texts are UTF-8; what is left empty is not sent. */
typedef struct bk_sse_event {
    bk_span type;  /* one line; clients take none for "message" */
    bk_span data;  /* any lines; an event is dispatched only when data.data is not NULL */
    bk_span id;    /* one line: what a client sends as Last-Event-ID from now on */
    bool clear_id; /* it is to send none */
    bk_duration retry;
} bk_sse_event;

/* Sends an event of that type (NULL for "message").
 * Suspends while the client does not take what is sent to it, as bk_http_reply_write.
 * Returns 0; -BK_ECLOSED when the server is being stopped (bk_sse_close takes it for a good end);
 * -EINVAL for what is not UTF-8 or a type of several lines; or as bk_http_reply_write. */
BK_API int bk_sse_send(bk_sse *sse, const char *type, const char *data);

/* The same with all that an event may have. */
BK_API int bk_sse_send_event(bk_sse *sse, const bk_sse_event *event);

/* Sends text as a comment, which clients ignore: one line.  Returns as bk_sse_send. */
BK_API int bk_sse_comment(bk_sse *sse, const char *text);

/* Makes the bytes of an event, to send to several.
 * out: NULL on entry, yours after (bk_msg_free).  Errors: -EINVAL, -ENOMEM.  Any thread; never
 * suspends. */
BK_API int bk_sse_encode(bk_msg **out, const bk_sse_event *event);

/* Sends what bk_sse_encode made; msg: borrowed.  Returns as bk_sse_send. */
BK_API int bk_sse_send_msg(bk_sse *sse, const bk_msg *msg);

/* Sends it if that needs no waiting: all of it, or nothing.  Never suspends.
 * Returns 0; -EAGAIN when the client is so slow that it has not taken what was sent before; or as
 * bk_sse_send. */
BK_API int bk_sse_try_send_msg(bk_sse *sse, const bk_msg *msg);

/* Suspends until the client has left or the server is being stopped.  In the handler's task.
 * Returns 0 or -ECANCELED. */
BK_API int bk_sse_wait(bk_sse *sse);

/* The same for so long at most: what a handler waits with between two events.
 * Returns 0 when the time is over; -BK_ECLOSED when the client has left or the server is being
 * stopped; -ECANCELED. */
BK_API int bk_sse_sleep(bk_sse *sse, bk_duration duration);

/* Ends the reply and sets *sse to NULL.  NULL is fine.  Suspends as bk_http_reply_end.
 * r: how the handler's work with it went.  r >= 0, or -BK_ECLOSED: in order, and the client will
 * reconnect; else the connection is reset.  Returns r, 0 for -BK_ECLOSED, or as
 * bk_http_reply_end. */
BK_API int bk_sse_close(bk_sse **sse, int r);

BK_END_DECLS
#endif
