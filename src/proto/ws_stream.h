/* SPDX-License-Identifier: MIT
 * A WebSocket connection on a stream: what its files share.
 *
 * One task receives; any number send, each message whole, in the order they asked.  The receiver
 * never waits for a sender, since that one may be waiting for a peer that waits for us to receive:
 * what it owes in answer (pong, close) goes out at once when nobody is sending, and else is left
 * here for the sender to send next.  Of several pongs owed, the last is enough (RFC 6455 5.5.3). */
#ifndef BECK_SRC_PROTO_WS_STREAM_H
#define BECK_SRC_PROTO_WS_STREAM_H

#include <beck/ws.h>

#include "net/stream.h"
#include "proto/ws_conn.h"

struct bki_ws_owed {
    uint8_t len; /* 0: nothing */
    char bytes[BKI_WS_CONTROL_FRAME_MAX];
};

struct bk_ws {
    bk_stream *stream;
    bk_duration close_timeout;
    char *target;   /* of the request; servers */
    char *protocol; /* agreed; NULL: none */

    bool receiving; /* a task is in bk_ws_recv */
    bool ended;     /* nothing more will be received: */
    int end;        /* 0 the peer closed, else the error */
    bk_msg *part;   /* the message in progress, with room to spare */
    size_t part_len;
    bk_time close_deadline; /* for the peer's close frame, once ours went out */
    char reason[BKI_WS_CONTROL_MAX];

    bool sending; /* a task holds the right to send */
    struct bki_list send_line;
    struct bki_ws_owed pong, close;

    struct bki_ws_conn conn;
    struct bki_ws_keys keys; /* a client's */
};

/* Makes a connection of *stream (taken on success), after its handshake.  -ENOMEM. */
int bki_ws_stream_new(struct bk_ws **out, bk_stream **stream, enum bki_ws_role role,
                      const bk_ws_opts *opts);

/* Closes the stream as bk_stream_close(.., r) and frees everything.  Returns what that returned. */
int bki_ws_stream_free(struct bk_ws *ws, int r);

/* The body of bk_ws_recv: 1, or how the connection ended, or -ECANCELED. */
int bki_ws_receive(struct bk_ws *ws, bk_msg **msg);

/* What the receiver owes the peer: sends it, or leaves it to who is sending. */
void bki_ws_reply(struct bk_ws *ws, int event_type, bk_span reply);

/* Begins the close handshake.  Suspends for its turn.  0, -BK_ECLOSED, -EINVAL, -ECANCELED, or the
 * connection's error. */
int bki_ws_begin_close(struct bk_ws *ws, unsigned code, bk_span reason);

#endif
