/* SPDX-License-Identifier: MIT
 * One WebSocket connection after its handshake, client or server, without I/O (RFC 6455 sections
 * 5-8).
 *
 * Bytes in, events out.  The receiver gives what it has read and takes event after event:
 *
 *     while ((r = bki_ws_next(&ws, buf, len, &used, &ev)) > 0) {
 *         buf += used, len -= used;
 *         ... ev ...
 *         if (ev.reply.len > 0) send ev.reply
 *     }
 *     if (r < 0 && ev.reply.len > 0) send ev.reply, then end the connection
 *
 * When bki_ws_next returns 0, every byte has been taken in (a header cut in two is kept inside):
 * the buffer is free for the next read, there is nothing to move to its front.
 *
 * A message comes as one or more BKI_WS_DATA events.  Most often it is one, .first and .last both
 * set, its payload lying in the input buffer, unmasked in place.  A message of several frames, or
 * one that the input cuts, comes in pieces, each valid until its bytes are reused; a huge message
 * is thus never held here.  Text is checked as it comes: a piece that was handed out is the start
 * of some valid UTF-8.
 *
 * What is due in answer (pong, close) is given as bytes in ev.reply, to be sent in order, between
 * frames.
 *
 * Extensions: set .rsv_allowed after the handshake; the first event of a message then carries the
 * RSV bits of its first frame.  The payload of such a message is given raw, not checked as UTF-8,
 * and may be longer than max_message by what a compressor adds at worst; whoever decodes it passes
 * the result to bki_ws_decoded.
 *
 * Bytes out: bki_ws_data_head gives the header of each data frame and the key that its payload must
 * be masked with (bki_ws_mask); bki_ws_control and bki_ws_close_frame give whole frames. */
#ifndef BECK_SRC_PROTO_WS_CONN_H
#define BECK_SRC_PROTO_WS_CONN_H

#include "base/utf8.h"
#include "proto/ws_frame.h"

enum bki_ws_role { BKI_WS_CLIENT, BKI_WS_SERVER };

/* Zero takes the default. */
struct bki_ws_limits {
    uint64_t max_message;   /* bytes, over all fragments: 1 MiB */
    uint32_t max_fragments; /* frames of a message: 16,384 */
};

enum bki_ws_event_type {
    BKI_WS_NONE,
    BKI_WS_DATA,
    BKI_WS_PING,
    BKI_WS_PONG,
    BKI_WS_CLOSE, /* the peer's close frame; the last event of an orderly end */
    BKI_WS_FAIL,  /* the peer broke the protocol; the last event */
};

struct bki_ws_event {
    uint8_t type;
    uint8_t kind;     /* DATA: BKI_WS_TEXT or BKI_WS_BINARY */
    uint8_t rsv;      /* DATA: of the message's first frame */
    bool first, last; /* DATA: the message begins, ends with this piece */
    uint16_t code;    /* CLOSE: the peer's, 1005 for none; FAIL: the one to tell the peer */
    bk_span
        payload;   /* DATA; PING, PONG: application data; CLOSE: the reason.  Empty only if .last */
    bk_span reply; /* bytes to send, valid until the next call on the connection; may be empty */
    uint64_t
        more; /* DATA: bytes of this frame still to come; a promise of the peer's, not a fact */
    const char *detail; /* FAIL: what was wrong, in words */
};

struct bki_ws_conn {
    /* receiving */
    uint8_t state;
    uint8_t role;
    uint8_t mask_bit;          /* of the second header byte, on every frame of the peer's */
    uint8_t rsv_allowed;       /* set by the owner: RSV bits that an extension gave a meaning */
    uint8_t kind;              /* of the message in progress; 0: none */
    uint8_t rsv;               /* of the message in progress */
    bool first;                /* nothing of the message in progress has been handed out */
    uint8_t head_len;          /* bytes of an incomplete header in head */
    uint8_t ctl_len;           /* bytes of an incomplete control frame in ctl */
    uint32_t n_frames;         /* of the message in progress */
    struct bki_ws_frame frame; /* the one being read */
    uint64_t left;             /* payload bytes of it to come */
    uint64_t received; /* payload bytes of the message in progress, announced ones included */
    uint64_t max_message;
    uint32_t max_fragments;
    struct bki_utf8 utf8;
    struct bki_utf8 decoded_utf8; /* of the message an extension decodes */
    uint64_t decoded;
    int result; /* of bki_ws_next, once the connection has ended */

    /* sending */
    uint8_t out_kind; /* of the message in progress; 0: none */
    bool sent_close, got_close;
    struct bki_ws_keys *keys;

    /* the peer's close frame */
    uint16_t close_code; /* 1006 until one came, 1005 when it had none */
    uint8_t reason_len;  /* the reason lies in ctl + 2, to stay */

    char head[BKI_WS_HEAD_MAX];
    char ctl[BKI_WS_CONTROL_MAX + 1]; /* a NUL behind the reason */
    char reply[BKI_WS_CONTROL_FRAME_MAX];
};

/* The reason in the peer's close frame; "" for none, or as long as none came. */
static inline const char *bki_ws_reason(const struct bki_ws_conn *c)
{
    return c->reason_len > 0 ? c->ctl + 2 : "";
}

/* limits: NULL for the defaults.  keys: where a client takes its masking keys, borrowed; NULL for a
 * server. */
void bki_ws_init(struct bki_ws_conn *c, enum bki_ws_role role, const struct bki_ws_limits *limits,
                 struct bki_ws_keys *keys);

/* The next event in in[0..len), whose bytes may be written to (unmasking).
 * *consumed: how many bytes it took; give the rest again.
 * Returns 1: *ev is the event; 0: no event, all bytes taken, more are needed (or, after the peer's
 * close, ignored); < 0: the connection has failed, *ev is BKI_WS_FAIL and this was the last event:
 * -BK_EPROTO (codes 1002, 1007), -EMSGSIZE (1009), or the error of the masking keys.  Later calls
 * return the same, with an empty reply. */
int bki_ws_next(struct bki_ws_conn *c, char *in, size_t len, size_t *consumed,
                struct bki_ws_event *ev);

/* The fast way in: a message of one frame that lies whole at the front of in[0..len), between
 * messages.  Returns its size, header included; 0 when what comes is anything else, which only
 * bki_ws_next can judge.  Nothing is taken, changed, or checked as UTF-8 by this. */
struct bki_ws_whole {
    uint8_t kind;
    uint8_t head; /* bytes before the payload */
    uint32_t key; /* that the payload is masked with, 0: none */
    size_t len;   /* of the payload */
};

static inline size_t bki_ws_whole_frame(const struct bki_ws_conn *c, const char *in, size_t len,
                                        struct bki_ws_whole *out)
{
    if (c->state != 0 || len < 2)
        return 0;
    uint8_t b1 = (uint8_t)in[1], head = 2;
    size_t n = b1 & 0x7f;
    out->kind = (uint8_t)in[0] & 0x7f;
    /* FIN, no RSV bit, text or binary, masked as it must be. */
    if ((uint8_t)((uint8_t)in[0] - 0x81) > 1 || (b1 & 0x80) != c->mask_bit || n == 127)
        return 0;
    if (n == 126) {
        if (len < 4)
            return 0;
        n = (size_t)(uint8_t)in[2] << 8 | (uint8_t)in[3];
        if (n < 126)
            return 0;
        head = 4;
    }
    out->key = 0;
    if (b1 & 0x80) {
        head = (uint8_t)(head + 4);
        if (len >= head)
            memcpy(&out->key, in + head - 4, 4);
    }
    if (len < head || len - head < n || n > c->max_message)
        return 0;
    out->head = head;
    out->len = n;
    return head + n;
}

/* Payload bytes of the data frame being received that bki_ws_next has not seen.  They may be read
 * straight to where they shall stay and passed to it there, up to this many at once. */
static inline uint64_t bki_ws_frame_left(const struct bki_ws_conn *c)
{
    return c->frame.opcode & 8 ? 0 : c->left;
}

/* The input has ended.  Returns 0 when the peer's close frame came first; its own failure when the
 * connection had failed; else -ECONNRESET. */
int bki_ws_eof(const struct bki_ws_conn *c);

/* A piece of what an extension made of the message in progress: checks its size and, if kind is
 * BKI_WS_TEXT, its UTF-8.  last: the message ends with it.
 * Returns 0, or fails the connection as bki_ws_next does. */
int bki_ws_decoded(struct bki_ws_conn *c, int kind, bk_span piece, bool last,
                   struct bki_ws_event *ev);

/* The pieces of the message in progress come again, from its beginning. */
void bki_ws_decode_again(struct bki_ws_conn *c);

/* Fails the connection for a reason of the owner's: fills *ev, whose reply says code and detail
 * (cut at 123 bytes) unless a close frame was sent already.  Returns result, and so will
 * bki_ws_next. */
int bki_ws_fail(struct bki_ws_conn *c, unsigned code, int result, const char *detail,
                struct bki_ws_event *ev);

/* ---- Sending ---- */

struct bki_ws_head {
    char bytes[BKI_WS_HEAD_MAX];
    uint8_t len;
    bool masked;  /* the payload must be masked */
    uint32_t key; /* with this */
};

/* The header of the next data frame, len bytes of payload.  kind: BKI_WS_TEXT or BKI_WS_BINARY, the
 * same for all frames of a message.  first, last: of the message; the RSV bits go on the first
 * frame only. Returns 0; -BK_ECLOSED after a close in either direction; -EINVAL when first does not
 * fit what was sent before, or for a bad kind or length; the error of the masking keys. */
int bki_ws_data_head(struct bki_ws_conn *c, struct bki_ws_head *out, int kind, int rsv, bool first,
                     bool last, uint64_t len);

/* Writes a whole ping or pong frame.  Returns its size; -BK_ECLOSED; -EINVAL when the payload is
 * longer than 125 bytes; the error of the masking keys. */
ssize_t bki_ws_control(struct bki_ws_conn *c, int opcode, bk_span payload,
                       char out[BKI_WS_CONTROL_FRAME_MAX]);

/* Writes the close frame that starts the closing handshake.  code: 1005 for none; else one that
 * bki_ws_code_valid accepts; reason: UTF-8, 123 bytes at most.  Nothing may be sent after it.
 * Returns its size; -BK_ECLOSED when one was sent already; -EINVAL; the error of the masking keys.
 */
ssize_t bki_ws_close_frame(struct bki_ws_conn *c, unsigned code, bk_span reason,
                           char out[BKI_WS_CONTROL_FRAME_MAX]);

#endif
