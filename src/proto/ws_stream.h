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
#include "proto/ws_deflate.h"
#include "proto/ws_offer.h"

/* permessage-deflate, once it is agreed. */
struct bki_ws_zip {
    struct bki_ws_terms terms;
    uint8_t level, mem_level;
    size_t min_size;
    struct bki_ws_deflater *deflater; /* NULL: nothing to remember */
    struct bki_ws_inflater *inflater;
    /* Of a message received in parts: */
    bk_span rest;   /* what has come and not been inflated yet */
    bool more;      /* there may be such, or something still inside the inflater */
    bool rest_last; /* the message ends with it */
    uint8_t kind;
    char *piece; /* where it is inflated to and handed out from; NULL: not in use */
};

enum bki_ws_receiving {
    BKI_WS_WHOLE, /* between messages, or in one that comes whole */
    BKI_WS_PARTS, /* part of a message has been handed out */
};

struct bk_ws {
    bk_stream *stream;
    struct bki_ws_zip *zip; /* NULL: no compression */
    char *target;           /* of the request; servers */
    char *protocol;         /* agreed; NULL: none */
    char *extensions;       /* likewise */

    const bk_task *receiver; /* who is in a receive call */
    uint8_t mode;   /* enum bki_ws_receiving */
    bool ended;     /* nothing more will be received: */
    int end;        /* 0 the peer closed, else the error */
    bk_msg *part;   /* the message in progress, with room to spare */
    size_t part_len;
    bk_duration close_timeout;
    bk_time close_deadline; /* for the peer's close frame, once ours went out */

    bool sending;    /* a task holds the right to send a frame */
    bool send_parts; /* a message is being sent in parts: */
    bool parts_zipped;
    const bk_task *parts_task; /* who began it */
    uint8_t owed;              /* bytes of conn.reply that are still to be sent */
    struct bki_list send_line;
    struct bki_list parts_line; /* messages that wait for the last part of another */
    struct bki_utf8 part_utf8;

    struct {
        struct bki_timer timer;
        bk_duration interval, timeout;
        int64_t sent_ns; /* the last one */
        uint32_t number; /* of it: its payload */
        bool owed;       /* it is still to be sent */
        bool unanswered;
        bool heard;   /* something has come since the timer was set */
        bool gave_up; /* no pong came: the stream was ended for that */
    } ping;

    struct bki_ws_conn conn;
    struct bki_ws_keys keys[]; /* one, of a client */
};

/* Makes a connection of *stream (taken on success), after its handshake.  -ENOMEM, -EINVAL. */
int bki_ws_stream_new(struct bk_ws **out, bk_stream **stream, enum bki_ws_role role,
                      const bk_ws_opts *opts);

/* Closes the stream as bk_stream_close(.., r) and frees everything.  Returns what that returned. */
int bki_ws_stream_free(struct bk_ws *ws, int r);

/* ---- Receiving (ws_stream_recv.c) ---- */

/* The connection has ended with r; returns r. */
int bki_ws_end(struct bk_ws *ws, int r);

/* Ends it for a reason of ours, having told the peer. */
int bki_ws_end_failed(struct bk_ws *ws, unsigned code, int r, const char *detail);

/* Where the rest of a long frame may be read to; room 0: nowhere. */
struct bki_ws_place {
    char *at;
    size_t room;
};

/* The next piece of a message's payload; control frames are dealt with on the way.  Between
 * bki_ws_begin_receive and bki_ws_end_receive.  1: *ev is a BKI_WS_DATA event; or how the
 * connection ended; or -ECANCELED, -ENOMEM. */
int bki_ws_next_data(struct bk_ws *ws, struct bki_ws_place place, struct bki_ws_event *ev);

/* Runs body(ws, out) as the one receiver, within what is left of close_timeout after our close
 * frame. */
int bki_ws_receive(struct bk_ws *ws, int (*body)(struct bk_ws *ws, void *out), void *out);

/* What the receiver owes the peer, in conn.reply: sends it, or leaves it to who is sending. */
void bki_ws_reply(struct bk_ws *ws, bk_span reply);

/* ---- Sending (ws_stream_send.c) ---- */

/* The right to send one frame.  0, -ECANCELED. */
int bki_ws_begin_send(struct bk_ws *ws);
void bki_ws_end_send(struct bk_ws *ws);

/* Begins the close handshake.  Suspends for its turn.  0, -BK_ECLOSED, -EINVAL, -ECANCELED, or the
 * connection's error. */
int bki_ws_begin_close(struct bk_ws *ws, unsigned code, bk_span reason);

/* A data frame to be sent. */
struct bki_ws_out {
    bk_span payload;
    uint8_t kind, rsv;
    bool first, last;
    bool scratch; /* the payload may be overwritten */
};

/* Sends it.  *taken: how many bytes went out, also of a frame that failed; 0: as if never tried. */
int bki_ws_send_frame(struct bk_ws *ws, const struct bki_ws_out *frame, size_t *taken);

/* ---- Compression (ws_stream_zip.c) ---- */

/* 0, or -EINVAL for numbers out of range. */
int bki_ws_zip_check(const bk_ws_deflate *opts);

int bki_ws_zip_new(struct bki_ws_zip **out, const bk_ws_deflate *opts,
                   const struct bki_ws_terms *agreed);
void bki_ws_zip_free(struct bki_ws_zip **zip);

/* What opts ask for, as terms. */
struct bki_ws_terms bki_ws_zip_wish(const bk_ws_deflate *opts);

/* Inflates from *in to out[0..room), checks what comes out, and ends the connection when something
 * is wrong with it.  As bki_ws_inflate otherwise. */
int bki_ws_zip_inflate(struct bk_ws *ws, int kind, bk_span *in, bool last, char *out, size_t room,
                       size_t *made);

/* Sends a part of a message compressed, in one frame or more.  Otherwise as bki_ws_send_frame; when
 * it fails and the part was not the message's first, the connection is broken. */
int bki_ws_zip_send(struct bk_ws *ws, const struct bki_ws_out *part, size_t *taken);

/* ---- Pings (ws_stream_ping.c) ---- */

int bki_ws_ping_start(struct bk_ws *ws, const bk_ws_opts *opts);
void bki_ws_ping_stop(struct bk_ws *ws);
void bki_ws_ping_answered(struct bk_ws *ws, bk_span payload);

/* Sends the ping that could not go out when it was due; by whoever has the right to send. */
void bki_ws_ping_push(struct bk_ws *ws);

#endif
