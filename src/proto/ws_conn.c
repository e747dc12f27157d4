/* SPDX-License-Identifier: MIT
 * The receiving side of a WebSocket connection: a fast path for whole small frames, and the state
 * machine for all else. */
#include "proto/ws_conn.h"

#include <beck/error.h>

enum state {
    STATE_IDLE,    /* between messages, nothing kept; 0, as bki_ws_whole_frame takes it to be */
    STATE_HEAD,    /* in a header, or before that of a further fragment */
    STATE_PAYLOAD, /* behind a header */
    STATE_ENDED,   /* closed or failed: the input is ignored */
};

enum { PROTOCOL_ERROR = 1002, NO_CODE = 1005, NO_CLOSE = 1006, BAD_TEXT = 1007, TOO_BIG = 1009 };

void bki_ws_init(struct bki_ws_conn *c, enum bki_ws_role role, const struct bki_ws_limits *limits,
                 struct bki_ws_keys *keys)
{
    *c = (struct bki_ws_conn){
        .role = (uint8_t)role,
        .mask_bit = role == BKI_WS_SERVER ? 0x80 : 0,
        .max_message = limits && limits->max_message ? limits->max_message : 1u << 20,
        .max_fragments = limits && limits->max_fragments ? limits->max_fragments : 16384,
        .keys = keys,
        .close_code = NO_CLOSE,
    };
}

int bki_ws_eof(const struct bki_ws_conn *c)
{
    if (c->result < 0)
        return c->result;
    return c->got_close ? 0 : -ECONNRESET;
}

int bki_ws_fail(struct bki_ws_conn *c, unsigned code, int result, const char *detail,
                struct bki_ws_event *ev)
{
    size_t len = strlen(detail), most = BKI_WS_CONTROL_MAX - 2;
    if (len > most)
        for (len = most; len > 0 && (detail[len] & 0xc0) == 0x80;)
            len--; /* not in the middle of a character */
    *ev = (struct bki_ws_event){.type = BKI_WS_FAIL, .code = (uint16_t)code, .detail = detail};
    ssize_t n = bki_ws_close_frame(c, code, bk_span_of(detail, len), c->reply);
    if (n > 0)
        ev->reply = bk_span_of(c->reply, (size_t)n);
    c->sent_close = true; /* even when no key could be had for it */
    c->state = STATE_ENDED;
    c->left = 0;
    return c->result = result;
}

static int broken(struct bki_ws_conn *c, const char *detail, struct bki_ws_event *ev)
{
    return bki_ws_fail(c, PROTOCOL_ERROR, -BK_EPROTO, detail, ev);
}

/* ---- Control frames ---- */

static int take_close(struct bki_ws_conn *c, struct bki_ws_event *ev)
{
    unsigned code = NO_CODE;
    size_t len = c->ctl_len;
    if (len == 1)
        return broken(c, "a close frame with half a code", ev);
    if (len >= 2) {
        code = (unsigned)(uint8_t)c->ctl[0] << 8 | (uint8_t)c->ctl[1];
        if (!bki_ws_code_valid(code))
            return broken(c, "a close frame with a code that must not be sent", ev);
        if (!bki_utf8_valid(c->ctl + 2, len - 2))
            return bki_ws_fail(c, BAD_TEXT, -BK_EPROTO, "a close reason that is not UTF-8", ev);
        c->reason_len = (uint8_t)(len - 2);
        c->ctl[len] = '\0';
    }
    c->got_close = true;
    c->close_code = (uint16_t)code;
    c->state = STATE_ENDED;
    *ev = (struct bki_ws_event){.type = BKI_WS_CLOSE, .code = (uint16_t)code};
    ev->payload = bk_span_of(c->ctl + 2, c->reason_len);
    if (!c->sent_close) {
        ssize_t n = bki_ws_close_frame(c, code, bk_span_of(NULL, 0), c->reply);
        if (n < 0)
            return bki_ws_fail(c, code, (int)n, "no masking key", ev);
        ev->reply = bk_span_of(c->reply, (size_t)n);
    }
    return 1;
}

/* A control frame is whole in ctl. */
static int take_control(struct bki_ws_conn *c, struct bki_ws_event *ev)
{
    size_t len = c->ctl_len;
    bki_ws_mask(c->ctl, c->ctl, len, c->frame.masked ? c->frame.key : 0, 0);
    c->state = c->kind ? STATE_HEAD : STATE_IDLE;
    if (c->frame.opcode == BKI_WS_OP_CLOSE)
        return take_close(c, ev);
    c->ctl_len = 0;
    *ev = (struct bki_ws_event){.type = BKI_WS_PONG, .payload = bk_span_of(c->ctl, len)};
    if (c->frame.opcode == BKI_WS_OP_PONG)
        return 1;
    ev->type = BKI_WS_PING;
    if (!c->sent_close) {
        ssize_t n = bki_ws_control(c, BKI_WS_OP_PONG, ev->payload, c->reply);
        if (n < 0)
            return bki_ws_fail(c, 1011, (int)n, "no masking key", ev);
        ev->reply = bk_span_of(c->reply, (size_t)n);
    }
    return 1;
}

/* Takes what there is of a control frame's payload.  Returns 0 when that is not all. */
static int read_control(struct bki_ws_conn *c, const char *in, size_t len, size_t *at,
                        struct bki_ws_event *ev)
{
    size_t n = len - *at < c->left ? len - *at : (size_t)c->left;
    if (n > 0)
        memcpy(c->ctl + c->ctl_len, in + *at, n);
    *at += n;
    c->ctl_len = (uint8_t)(c->ctl_len + n);
    c->left -= n;
    return c->left > 0 ? 0 : take_control(c, ev);
}

/* ---- Data frames ---- */

/* Judges the first two bytes of a header: all there is to know but the length. */
static const char *head_fault(const struct bki_ws_conn *c)
{
    uint8_t b0 = (uint8_t)c->head[0], b1 = (uint8_t)c->head[1];
    unsigned opcode = b0 & 0x0f, rsv = b0 & 0x70;
    if ((b1 & 0x80) != c->mask_bit)
        return c->mask_bit ? "a frame of the client's is not masked"
                           : "a frame of the server's is masked";
    switch (opcode) {
    case BKI_WS_CONT:
        if (!c->kind)
            return "a continuation frame without a message to continue";
        return rsv ? "a reserved bit is set" : NULL;
    case BKI_WS_TEXT:
    case BKI_WS_BINARY:
        if (c->kind)
            return "a new message inside another";
        return rsv & ~c->rsv_allowed ? "a reserved bit is set" : NULL;
    case BKI_WS_OP_CLOSE:
    case BKI_WS_OP_PING:
    case BKI_WS_OP_PONG:
        if (rsv)
            return "a reserved bit is set";
        if (!(b0 & 0x80))
            return "a control frame in fragments";
        return (b1 & 0x7f) > BKI_WS_CONTROL_MAX ? "a control frame of more than 125 bytes" : NULL;
    default:
        return "a reserved opcode";
    }
}

/* How long the payload of the message in progress may be: compressed data that does not compress is
 * longer than what it stands for. */
static uint64_t longest(const struct bki_ws_conn *c)
{
    uint64_t more = c->rsv ? c->max_message / 16 + 1024 : 0;
    return c->max_message > UINT64_MAX - more ? UINT64_MAX : c->max_message + more;
}

/* The header is whole: the connection turns to the payload. */
static int begin_frame(struct bki_ws_conn *c, struct bki_ws_event *ev)
{
    struct bki_ws_frame *f = &c->frame;
    if (bki_ws_frame_read(f, c->head, c->head_len) < 0)
        return broken(c, "a frame length that is not in its shortest form", ev);
    c->head_len = 0;
    c->left = f->len;
    c->state = STATE_PAYLOAD;
    if (f->opcode & 8)
        return 0;
    if (f->opcode != BKI_WS_CONT) {
        c->kind = f->opcode;
        c->rsv = f->rsv;
        c->first = true;
        c->received = 0;
        c->n_frames = 0;
        c->utf8 = (struct bki_utf8){0};
    }
    if (f->len > longest(c) - c->received)
        return bki_ws_fail(c, TOO_BIG, -EMSGSIZE, "a message over the size limit", ev);
    if (++c->n_frames > c->max_fragments)
        return bki_ws_fail(c, TOO_BIG, -EMSGSIZE, "a message of too many fragments", ev);
    c->received += f->len;
    return 0;
}

/* Collects a header.  Returns 1 when the payload is next, 0 when the input ended. */
static int read_head(struct bki_ws_conn *c, const char *in, size_t len, size_t *at,
                     struct bki_ws_event *ev)
{
    while (*at < len) {
        c->head[c->head_len++] = in[(*at)++];
        if (c->head_len < 2)
            continue;
        const char *fault = c->head_len == 2 ? head_fault(c) : NULL;
        if (fault)
            return broken(c, fault, ev);
        if (c->head_len == bki_ws_head_size(c->head)) {
            int r = begin_frame(c, ev);
            return r < 0 ? r : 1;
        }
    }
    if (c->head_len > 0)
        c->state = STATE_HEAD;
    return 0;
}

/* Hands out what there is of a data frame's payload.  Returns 1 with an event, 0 without one: the
 * input has ended or the frame has, with nothing to tell. */
static int read_data(struct bki_ws_conn *c, char *in, size_t len, size_t *at,
                     struct bki_ws_event *ev)
{
    size_t n = len - *at < c->left ? len - *at : (size_t)c->left;
    char *data = n > 0 ? in + *at : NULL;
    if (c->frame.masked)
        bki_ws_mask(data, data, n, c->frame.key, c->frame.len - c->left);
    *at += n;
    c->left -= n;
    bool frame_done = c->left == 0, last = frame_done && c->frame.fin;
    if (c->kind == BKI_WS_TEXT && !c->rsv &&
        (!bki_utf8_feed(&c->utf8, data, n) || (last && !bki_utf8_complete(&c->utf8))))
        return bki_ws_fail(c, BAD_TEXT, -BK_EPROTO, "text that is not UTF-8", ev);
    if (frame_done)
        c->state = last ? STATE_IDLE : STATE_HEAD;
    if (n == 0 && !last)
        return 0;
    *ev = (struct bki_ws_event){
        .type = BKI_WS_DATA,
        .kind = c->kind,
        .rsv = c->rsv,
        .first = c->first,
        .last = last,
        .payload = bk_span_of(data, n),
        .more = c->left,
    };
    c->first = false;
    if (last)
        c->kind = 0;
    return 1;
}

static int next_slow(struct bki_ws_conn *c, char *in, size_t len, size_t *consumed,
                     struct bki_ws_event *ev)
{
    size_t at = 0;
    int r = 0;
    do {
        if (c->state == STATE_ENDED) {
            at = len;
            *ev = (struct bki_ws_event){.type = c->result < 0 ? BKI_WS_FAIL : BKI_WS_NONE};
            r = c->result;
            break;
        }
        if (c->state != STATE_PAYLOAD) {
            r = read_head(c, in, len, &at, ev);
            if (r <= 0)
                break;
        }
        r = c->frame.opcode & 8 ? read_control(c, in, len, &at, ev)
                                : read_data(c, in, len, &at, ev);
    } while (r == 0 && at < len);
    *consumed = r < 0 ? len : at;
    return r;
}

int bki_ws_next(struct bki_ws_conn *c, char *in, size_t len, size_t *consumed,
                struct bki_ws_event *ev)
{
    struct bki_ws_whole f;
    size_t size = bki_ws_whole_frame(c, in, len, &f);
    if (size == 0)
        return next_slow(c, in, len, consumed, ev);
    char *data = in + f.head;
    if (f.key)
        bki_ws_mask(data, data, f.len, f.key, 0);
    if (f.kind == BKI_WS_TEXT && !bki_utf8_valid(data, f.len)) {
        *consumed = len;
        return bki_ws_fail(c, BAD_TEXT, -BK_EPROTO, "text that is not UTF-8", ev);
    }
    *consumed = size;
    *ev = (struct bki_ws_event){
        .type = BKI_WS_DATA,
        .kind = f.kind,
        .first = true,
        .last = true,
        .payload = bk_span_of(data, f.len),
    };
    return 1;
}

int bki_ws_decoded(struct bki_ws_conn *c, int kind, bk_span piece, bool last,
                   struct bki_ws_event *ev)
{
    if (c->result < 0)
        return c->result;
    if (piece.len > c->max_message - c->decoded)
        return bki_ws_fail(c, TOO_BIG, -EMSGSIZE, "a message over the size limit", ev);
    c->decoded += piece.len;
    if (kind == BKI_WS_TEXT && (!bki_utf8_feed(&c->decoded_utf8, piece.data, piece.len) ||
                                (last && !bki_utf8_complete(&c->decoded_utf8))))
        return bki_ws_fail(c, BAD_TEXT, -BK_EPROTO, "text that is not UTF-8", ev);
    if (last)
        bki_ws_decode_again(c);
    return 0;
}

void bki_ws_decode_again(struct bki_ws_conn *c)
{
    c->decoded = 0;
    c->decoded_utf8 = (struct bki_utf8){0};
}
