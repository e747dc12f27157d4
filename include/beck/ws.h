/* SPDX-License-Identifier: MIT
 * WebSocket connections, client and server (RFC 6455), compressed if both want (RFC 7692).
 *
 *     bk_ws *ws = NULL;
 *     bk_msg *msg = NULL;
 *     int r = bk_ws_connect(&ws, "ws://127.0.0.1:7000/feed", NULL);
 *     while (r >= 0 && (r = bk_ws_recv(ws, &msg)) > 0) {
 *         printf("%.*s\n", (int)bk_msg_len(msg), bk_msg_data(msg));
 *         bk_msg_free(&msg);
 *     }
 *     return bk_ws_close(&ws, r);
 *
 * A server's handler for bk_serve begins with bk_ws_accept(&ws, stream, NULL), one for
 * bk_http_serve with bk_ws_accept_req(&ws, req, NULL).
 *
 * One task at a time receives (-EBUSY for a second); any number send, and each message goes out
 * whole.  Pings are answered, and the peer's close is, by the receiving task: keep one receiving.
 * A peer that goes silent is found out by pings of our own (ping_interval), and then receiving and
 * sending fail.
 * Everything here is for the loop thread, in a task, and every call that can suspend fails with
 * -ECANCELED in a cancelled task. */
#ifndef BECK_WS_H
#define BECK_WS_H

#include <beck/http_server.h>

BK_BEGIN_DECLS

typedef struct bk_ws bk_ws;

/* permessage-deflate: messages compressed by zlib.
 * Sending takes 2^(window_bits+2) + 2^(mem_level+9) + 6 Ki bytes (by default 38 KiB), receiving
 * 2^window_bits + 7 Ki bytes (39 KiB).  With a context both are held from the first compressed
 * message until the connection ends; without, only while a message is under way.  A server agrees
 * on contexts while half of bk_run_opts.max_intake is enough for those of its connections. */
typedef struct bk_ws_deflate {
    bool on;              /* a client offers it, a server accepts it; default: no compression */
    bool send_no_context; /* compress each message by itself: larger, but nothing is kept */
    bool recv_no_context; /* ask the peer to (server_no_context_takeover, or client_...) */
    int send_window_bits; /* 8 to 15: how far back compression looks, 2^bits bytes; default 12 */
    int recv_window_bits; /* ask the peer to look no further back; default 15 */
    int level;            /* from 1, fast, to 9, small; default 6 */
    int mem_level;        /* of sending, 1 to 9; default 5 */
    size_t min_size;      /* shorter messages are sent as they are; default 64 bytes */
} bk_ws_deflate;

typedef struct bk_ws_opts {
    size_t max_message;           /* bytes received, inflated, over all fragments; default 1 MiB */
    size_t max_fragments;         /* of a message received; default 16,384 */
    bk_duration timeout;          /* resolve, connect and handshakes together; default 10 s */
    bk_duration close_timeout;    /* for the peer's close frame after ours; default 10 s */
    const char *const *headers;   /* further request or response lines, "Name: value", then NULL */
    const char *const *protocols; /* subprotocols, the preferred first, then NULL */
    const char *origin;           /* client: the Origin header; default none */
    bk_tls *tls;                  /* client, for wss://, in use until connected; default
                                   * bk_tls_default() */
    const char *proxy;            /* client: as in bk_http_client_opts, for ws: URLs as for http: */
    size_t write_buffer;          /* as in bk_stream_opts; default 64 KiB */
    bk_ws_deflate deflate;        /* default: off */
    /* A ping goes out this long after the one before; default 20 s, bk_forever() for none.  Without
     * its pong within ping_timeout (default 20 s) the connection ends with -ETIMEDOUT; but only
     * while a task receives, and not while a long frame is coming in. */
    bk_duration ping_interval, ping_timeout;
} bk_ws_opts;

/* Connects to "ws://host[:port]/path?query", or under TLS to "wss://...", and asks for a WebSocket
 * there; by the proxy that opts or the environment names, through CONNECT.
 * out: NULL on entry; bk_ws_close it.  Suspends until the server has answered.
 * Returns 0; -BK_EURL; -BK_EREFUSED (the answer was not "101 Switching Protocols": bk_errmsg has
 * its status); -BK_EPROTO; -ETIMEDOUT; -EINVAL (a header, a protocol or a number in opts that may
 * not be sent); or as bk_connect, with the errors of TLS. */
BK_API int bk_ws_connect(bk_ws **out, const char *url, const bk_ws_opts *opts);

/* Reads a WebSocket request from a stream just accepted, and answers it.
 * out: NULL on entry; bk_ws_close it.
 * *stream: on success it is the connection's and set to NULL; on failure it is still yours, the
 * client having been told by an HTTP error where that was possible.
 * Suspends until the request is in and answered, and for up to a second more while a client that is
 * refused has not ended its side.  Returns 0; -BK_EPROTO (no WebSocket request); -BK_EINCOMPLETE
 * (the client went away); -ETIMEDOUT; -ECANCELED; -ENOMEM; or the stream's error. */
BK_API int bk_ws_accept(bk_ws **out, bk_stream **stream, const bk_ws_opts *opts);

/* Makes a WebSocket of a request that a handler of bk_http_serve got, so that one port serves pages
 * and WebSockets.
 * out: NULL on entry; bk_ws_close it.  On success the connection is its own, and the handler may go
 * on with it, or leave it to another task; opts->headers are sent, others set before are not.
 * Suspends only while the client does not take what it was sent before.
 * Returns 0; -BK_EPROTO (no WebSocket request), and the client has been told by an HTTP error;
 * -EINVAL (a reply was started, or a header or protocol that may not be sent), -ENOMEM, -ECANCELED,
 * or the stream's error, and it has not. */
BK_API int bk_ws_accept_req(bk_ws **out, bk_http_req *req, const bk_ws_opts *opts);

/* What a server's connection was asked for ("/feed?x=1"), "" for a client's; the subprotocol
 * agreed, or ""; the extensions agreed, as in Sec-WebSocket-Extensions, or ""; the peer's address,
 * as bk_stream_peer.  Valid while ws is. */
BK_API const char *bk_ws_target(const bk_ws *ws);
BK_API const char *bk_ws_protocol(const bk_ws *ws);
BK_API const char *bk_ws_extensions(const bk_ws *ws);
BK_API const char *bk_ws_peer(const bk_ws *ws);

/* Receives the next whole message; bk_msg_kind_get says whether it is text (checked to be UTF-8) or
 * binary.
 * msg: NULL on entry, yours after (bk_msg_free).
 * Suspends until a whole message is in; a long one that comes in pieces also while others hold what
 * there is of bk_run_opts.max_intake, and one that is long when inflated (64 KiB) while others are
 * inflated, for they are made one at a time in a loop.  Returns 1 for a message; 0 when the peer
 * has closed in order; -ECANCELED, nothing lost; -EBUSY when another task receives.  Other errors
 * end the connection, and later calls return them again: -ECONNRESET (it ended without a close
 * frame, maybe with a long message that waited behind others), -EMSGSIZE (over max_message or
 * max_fragments), -BK_EPROTO, -ENOMEM, -ETIMEDOUT (no close frame within close_timeout of ours, or
 * no pong), -BK_ELIMIT (a hub has cut it off), -ENOBUFS (others have waited for the memory of its
 * unfinished message, of which too little has come).  Where it was the peer's fault, the peer has
 * been told the matching close code.  RFC 6455 sections 5 to 7. */
BK_API int bk_ws_recv(bk_ws *ws, bk_msg **msg);

/* A piece of a message. */
typedef struct bk_ws_part {
    bk_span data;
    enum bk_msg_kind kind; /* of the message, the same in all its parts */
    bool first, last;      /* the message begins, ends with this part */
} bk_ws_part;

/* Receives what has come of the next message, for one too large to hold: as much as one read
 * brought, 16 KiB or less.  Text is checked as it comes; a part may end inside a character.
 * *part: .data is the connection's, valid until the next receive; empty only in a .last part.
 * Set max_message for what may be large: it holds here too.
 * Suspends and returns as bk_ws_recv: 1 for a part.  What a cancelled bk_ws_recv had of a message
 * comes as its first part; once a part has come, bk_ws_recv is refused (-EINVAL) until the last. */
BK_API int bk_ws_recv_part(bk_ws *ws, bk_ws_part *part);

/* Sends *msg, by its kind, and empties it.
 * Up to write_buffer bytes are kept unsent; the call suspends beyond that, and for its turn while
 * other tasks send.
 * Returns 0; -BK_ECLOSED after a close in either direction; -EINVAL for text that is not UTF-8;
 * -ENOMEM; -ECANCELED; or the connection's error.  When it fails *msg is still yours, unless part
 * of it went out: then the connection is broken and *msg is emptied. */
BK_API int bk_ws_send(bk_ws *ws, bk_msg **msg);

/* The same with bytes of yours. */
BK_API int bk_ws_send_text(bk_ws *ws, const char *text, size_t len);
BK_API int bk_ws_send_binary(bk_ws *ws, const void *data, size_t len);

/* Sends a part of a message, as a frame of its own.  Other tasks' messages wait from the .first
 * part to the .last, pings and closes do not; a part may be empty.  What bk_ws_recv_part gave can
 * be passed on like this. Returns as bk_ws_send; -EINVAL for parts out of order, or of another kind
 * than the first. When it fails with -ECANCELED the same part may be sent again, unless some of it
 * went out: then the connection is broken, and says so (-EPIPE). */
BK_API int bk_ws_send_part(bk_ws *ws, const bk_ws_part *part);

/* Sends a ping with up to 125 bytes of payload.  Returns as bk_ws_send. */
BK_API int bk_ws_ping(bk_ws *ws, const void *data, size_t len);

/* Suspends until the kernel has taken everything sent so far.  Returns as bk_stream_flush. */
BK_API int bk_ws_flush(bk_ws *ws);

/* Starts the close handshake: nothing can be sent after it.  Receive until 0 to get what the peer
 * still sends, or just bk_ws_close.
 * code: 1000 for a normal end, 1001 going away, 3000 to 4999 for the application's own, ...; 1005
 * sends none.  reason: UTF-8, 123 bytes at most; NULL for none.
 * Suspends as bk_ws_send.
 * Returns 0; -EINVAL for another code or reason; -BK_ECLOSED when a close was sent already;
 * -ECANCELED; or the connection's error. */
BK_API int bk_ws_send_close(bk_ws *ws, int code, const char *reason);

/* The close code the peer sent: 1005 when its close frame had none, 1006 when no close frame came
 * (yet).  And its reason, "" for none.  Valid while ws is. */
BK_API int bk_ws_close_code(const bk_ws *ws);
BK_API const char *bk_ws_close_reason(const bk_ws *ws);

/* Ends the connection and sets *ws to NULL.  NULL is fine.
 * r: how the caller's work with it went.  r >= 0: completes the close handshake, deaf to cancels,
 * within close_timeout: sends code 1000 unless a close was sent, and drops what the peer still
 * sends, for which it suspends.
 * r < 0: drops the connection at once, telling the peer 1001 for -ECANCELED and 1011 otherwise if
 * the kernel takes it without waiting.
 * Returns r; or, for r >= 0, why the peer did not confirm a close that it had not asked for itself
 * (-ETIMEDOUT, -ECONNRESET, ...): messages sent may not have reached it; or -BK_EINCOMPLETE after a
 * bk_ws_send_part that was not the last: then it is dropped as for r < 0.
 * -EBUSY, and nothing is closed: another task is inside a call on it. */
BK_API int bk_ws_close(bk_ws **ws, int r);

/* ---- One message for many ----
 *
 *     bk_ws_hub_add(room, ws);                       // in each connection's handler
 *     while ((r = bk_ws_recv(ws, &msg)) > 0 && (r = bk_ws_hub_send(room, &msg)) >= 0)
 *         ;
 *     return bk_ws_close(&ws, r);                    // and it has left the room
 *
 * A message is made a frame once, and compressed once for all connections that compress; they share
 * it, and the kernel is given it from there.  A connection that does not take it has references
 * waiting in line, not copies.  (To clients' masked connections, and under TLS, each its own.) */
typedef struct bk_ws_hub bk_ws_hub;

/* What becomes of a connection that has fallen behind by a whole backlog. */
enum bk_ws_slow {
    BK_WS_SLOW_DROP, /* it is cut off: calls inside it fail with -BK_ELIMIT */
    BK_WS_SLOW_SKIP, /* it misses messages (bk_ws_hub_missed) */
    BK_WS_SLOW_WAIT, /* bk_ws_hub_send waits for it */
};

typedef struct bk_ws_hub_opts {
    enum bk_ws_slow slow; /* default BK_WS_SLOW_DROP */
    size_t backlog;       /* messages that may wait for a connection; default 64 */
} bk_ws_hub_opts;

/* Makes a hub.  out: NULL on entry; bk_ws_hub_free it.  Returns 0 or -ENOMEM. */
BK_API int bk_ws_hub_new(bk_ws_hub **out, const bk_ws_hub_opts *opts);

/* Empties *hub, takes every connection out and frees it.  NULL is fine.  No task may be inside
 * bk_ws_hub_send. */
BK_API void bk_ws_hub_free(bk_ws_hub **hub);

/* Adds a connection, which may be in several hubs; it gets what is sent from now on.  Closing it
 * takes it out.  Never suspends.  Returns 0; -EALREADY when it is in this one; -ENOMEM. */
BK_API int bk_ws_hub_add(bk_ws_hub *hub, bk_ws *ws);
/* Takes it out; what waits for it is still sent.  Fine when it is not in. */
BK_API void bk_ws_hub_remove(bk_ws_hub *hub, bk_ws *ws);
BK_API size_t bk_ws_hub_count(const bk_ws_hub *hub); /* connections */

/* Sends *msg to every connection in the hub, and empties it.
 * Suspends with BK_WS_SLOW_WAIT, while one has a full backlog, and now and then while a long
 * message is compressed; messages sent meanwhile wait their turn.  A connection that is closing, or
 * has failed, is passed over. Returns to how many it goes; -EINVAL for text that is not UTF-8;
 * -ECANCELED or -ENOMEM, *msg still yours: it does not go to all, but maybe to some. */
BK_API int bk_ws_hub_send(bk_ws_hub *hub, bk_msg **msg);

/* How often a connection has missed a message, or was cut off for not taking it. */
BK_API uint64_t bk_ws_hub_missed(const bk_ws_hub *hub);

BK_END_DECLS
#endif
