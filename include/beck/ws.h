/* SPDX-License-Identifier: MIT
 * WebSocket connections, client and server (RFC 6455).
 *
 * One task receives at a time and any number may send; a ping is answered and a close handshake completed by whoever
 * receives, so keep receiving.  Loop thread only. */
#ifndef BECK_WS_H
#define BECK_WS_H

#include <beck/msg.h>
#include <beck/stream.h>

BK_BEGIN_DECLS

typedef struct bk_ws bk_ws;

typedef struct bk_ws_opts {
    size_t max_message;          /* bytes, over all fragments; default 1 MiB */
    size_t max_fragments;        /* of a message; default 16,384 */
    bk_duration timeout;         /* resolve, connect and handshake together; default 10 s */
    bk_duration close_timeout;   /* for the peer's close frame; default 10 s */
    const char *const *headers;  /* further request or response header lines "Name: value", NULL at the end */
    const char *const *protocols; /* subprotocols, the preferred first, NULL at the end */
    const char *origin;          /* client: the Origin header, none by default */
    size_t write_buffer;         /* as bk_stream_opts; default 64 KiB */
} bk_ws_opts;

/* Connects to "ws://host[:port]/path?query".
 * Errors: -BK_EURL, -BK_EREFUSED (the answer was not 101: bk_errmsg has the status), -BK_EPROTO, and bk_connect's. */
BK_API int bk_ws_connect(bk_ws **out, const char *url, const bk_ws_opts *opts);

/* Reads a WebSocket request from a stream just accepted, and answers it.  On success the connection owns the stream and
 * empties *stream; on failure the stream is still yours, an HTTP error having been sent where that was possible. */
BK_API int bk_ws_accept(bk_ws **out, bk_stream **stream, const bk_ws_opts *opts);

/* The request target of a server connection ("/feed?x=1"); the subprotocol agreed, or "".  Valid while ws is. */
BK_API const char *bk_ws_target(const bk_ws *ws);
BK_API const char *bk_ws_protocol(const bk_ws *ws);
BK_API const char *bk_ws_peer(const bk_ws *ws);

/* Receives the next whole message; bk_msg_kind_get says whether it is text (checked UTF-8) or binary.
 * msg: NULL on entry, yours after (bk_msg_free).
 * Suspends until a whole message is in.  Returns 1 message; 0 the peer closed in order; < 0 error.
 * Errors: -ECANCELED (nothing lost), -ECONNRESET (no close frame came), -EMSGSIZE (over max_message),
 * -BK_EPROTO, -EBUSY (another task receives).  The peer has been told the matching close code.
 * RFC 6455 sections 5 to 7. */
BK_API int bk_ws_recv(bk_ws *ws, bk_msg **msg);

/* Sends *msg by its kind and empties it, keeping up to write_buffer bytes unsent and suspending beyond.
 * Returns 0; -BK_ECLOSED after a close in either direction; the connection's error; -ECANCELED, *msg still yours unless
 * part of it went out (then the connection is broken and *msg is emptied). */
BK_API int bk_ws_send(bk_ws *ws, bk_msg **msg);
BK_API int bk_ws_send_text(bk_ws *ws, const char *text, size_t len);
BK_API int bk_ws_send_binary(bk_ws *ws, const void *data, size_t len);

/* Sends a ping with up to 125 bytes of payload. */
BK_API int bk_ws_ping(bk_ws *ws, const void *data, size_t len);

/* Sends what is buffered to the kernel before returning. */
BK_API int bk_ws_flush(bk_ws *ws);

/* Starts the close handshake: sends code (1000 for a normal end) and reason (UTF-8, 123 bytes at most, NULL for none).
 * Nothing can be sent after; receive until 0 to complete it, or just bk_ws_close. */
BK_API int bk_ws_send_close(bk_ws *ws, int code, const char *reason);

/* The close code the peer sent; 1005 when its close frame had none, 1006 when no close frame came (yet). */
BK_API int bk_ws_close_code(const bk_ws *ws);
BK_API const char *bk_ws_close_reason(const bk_ws *ws);

/* Ends the connection and empties *ws.  r >= 0: completes the close handshake with code 1000 if need be, dropping messages
 * that still come; r < 0: drops the connection (code 1011 is sent if that needs no waiting).  Returns r.  NULL is fine. */
BK_API int bk_ws_close(bk_ws **ws, int r);

BK_END_DECLS
#endif
