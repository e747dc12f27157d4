/* SPDX-License-Identifier: MIT
 * Receiving from a WebSocket: whole messages out of what one read brought, or built in place. */
#include "proto/ws_stream.h"

#include "base/msg_internal.h"

/* What is left of a frame is read straight into the message from this size on. */
#define DIRECT_SIZE ((size_t)16 * 1024)

enum { CONTINUE = 2 }; /* besides bki_ws_receive's results: no message yet */

static int end_with(struct bk_ws *ws, int r)
{
    ws->ended = true;
    ws->end = r;
    bk_msg_free(&ws->part);
    return r;
}

/* ---- Messages in several pieces ---- */

/* Room for `more` bytes behind the part_len that are there. */
static int grow_part(struct bk_ws *ws, size_t more)
{
    size_t have = ws->part ? bk_msg_len(ws->part) : 0, need = ws->part_len + more;
    if (ws->part && need <= have)
        return 0;
    bk_msg *larger = NULL;
    int r = bk_msg_new(&larger, need > have * 2 ? need : have * 2);
    if (r < 0)
        return r;
    if (ws->part_len > 0)
        memcpy(bk_msg_data(larger), bk_msg_data(ws->part), ws->part_len);
    bk_msg_free(&ws->part);
    ws->part = larger;
    return 0;
}

/* Adds a piece; one that was read straight to its place is there already. */
static int add_piece(struct bk_ws *ws, const struct bki_ws_event *ev)
{
    if (ev->first)
        ws->part_len = 0;
    bool in_place = ws->part && ev->payload.data == bk_msg_data(ws->part) + ws->part_len;
    /* The frame's announced rest is within max_message. */
    int r = in_place ? 0 : grow_part(ws, ev->payload.len + (size_t)ev->more);
    if (r < 0)
        return r;
    if (!in_place && ev->payload.len > 0)
        memcpy(bk_msg_data(ws->part) + ws->part_len, ev->payload.data, ev->payload.len);
    ws->part_len += ev->payload.len;
    return 0;
}

static int take_data(struct bk_ws *ws, const struct bki_ws_event *ev, bk_msg **msg)
{
    int r;
    if (ev->first && ev->last) {
        r = bk_msg_copy(msg, ev->payload.data, ev->payload.len);
    } else {
        r = add_piece(ws, ev);
        if (r == 0 && !ev->last)
            return CONTINUE;
        if (r == 0) {
            bk_msg_truncate(ws->part, ws->part_len);
            *msg = ws->part;
            ws->part = NULL;
        }
    }
    if (r == 0) {
        bk_msg_kind_set(*msg, ev->kind == BKI_WS_TEXT ? BK_TEXT : BK_BINARY);
        return 1;
    }
    /* Its bytes are gone from the stream, so the connection cannot go on. */
    struct bki_ws_event fail;
    bki_ws_fail(&ws->conn, 1011, r, "out of memory", &fail);
    bki_ws_reply(ws, fail.type, fail.reply);
    return end_with(ws, bk_fail(r, "%s: no memory for a message", bk_ws_peer(ws)));
}

/* ---- Events ---- */

static int take_event(struct bk_ws *ws, const struct bki_ws_event *ev, bk_msg **msg)
{
    if (__builtin_expect(ev->type == BKI_WS_DATA, 1))
        return take_data(ws, ev, msg);
    if (ev->reply.len > 0)
        bki_ws_reply(ws, ev->type, ev->reply);
    switch (ev->type) {
    case BKI_WS_CLOSE:
        memcpy(ws->reason, ev->payload.data, ev->payload.len);
        ws->reason[ev->payload.len] = '\0';
        return end_with(ws, 0);
    case BKI_WS_FAIL:
        bk_fail(ws->conn.result, "%s: %s", bk_ws_peer(ws), ev->detail);
        return end_with(ws, ws->conn.result);
    default:
        return CONTINUE;
    }
}

/* Takes events out of in[0..len) until a message is whole; *used says how far it came. */
static int take_events(struct bk_ws *ws, char *in, size_t len, size_t *used, bk_msg **msg)
{
    size_t at = 0;
    int r = CONTINUE;
    while (r == CONTINUE && at < len) {
        struct bki_ws_event ev;
        size_t n;
        int got = bki_ws_next(&ws->conn, in + at, len - at, &n, &ev);
        at += n;
        r = got == 0 ? CONTINUE : take_event(ws, &ev, msg);
    }
    *used = at;
    return r;
}

/* ---- Input ---- */

static int input_ended(struct bk_ws *ws, int r)
{
    if (r == -ECANCELED || r == -ENOMEM)
        return r;
    if (r == 0) {
        r = bki_ws_eof(&ws->conn);
        bk_fail(r, "%s: the connection ended without a close frame", bk_ws_peer(ws));
    }
    return end_with(ws, r);
}

/* A large frame's rest goes straight to its place in the message. */
static int read_in_place(struct bk_ws *ws, size_t left, bk_msg **msg)
{
    char *place = bk_msg_data(ws->part) + ws->part_len;
    size_t used;
    ssize_t n = bki_stream_recv_past(ws->stream, place, left);
    return n <= 0 ? input_ended(ws, (int)n) : take_events(ws, place, (size_t)n, &used, msg);
}

static int read_more(struct bk_ws *ws, bk_msg **msg)
{
    uint64_t left = ws->part && ws->part_len > 0 ? bki_ws_frame_left(&ws->conn) : 0;
    if (left >= DIRECT_SIZE && left <= bk_msg_len(ws->part) - ws->part_len)
        return read_in_place(ws, (size_t)left, msg);
    int r = bki_stream_fill(ws->stream, 1);
    return r <= 0 ? input_ended(ws, r) : CONTINUE;
}

int bki_ws_receive(struct bk_ws *ws, bk_msg **msg)
{
    struct bki_buf *in = &ws->stream->in;
    int r = bki_stream_begin_read(ws->stream);
    if (r < 0)
        return r;
    r = CONTINUE;
    while (r == CONTINUE) {
        size_t used, len = bki_buf_len(in);
        if (len == 0) {
            r = read_more(ws, msg);
            continue;
        }
        r = take_events(ws, bki_buf_start(in), len, &used, msg);
        bki_buf_consume(in, used);
    }
    ws->stream->reading = false;
    return r;
}

/* After our close frame, the peer's is due within close_timeout. */
static int receive_the_close(struct bk_ws *ws, bk_msg **msg)
{
    bk_timeout *limit = NULL;
    int r = bk_timeout_open_at(&limit, ws->close_deadline);
    if (r < 0)
        return r;
    r = bk_timeout_close(&limit, bki_ws_receive(ws, msg));
    if (r == -ETIMEDOUT)
        end_with(ws, bk_fail(r, "%s: no close frame within close_timeout", bk_ws_peer(ws)));
    return r;
}

/* Most calls: the next message lies in the in-buffer, one frame, small enough to be worth copying
 * in one go with the checks.  Anything else, and anything wrong, is left as it was. */
static inline bool take_small(struct bk_ws *ws, bk_msg **msg)
{
    struct bki_buf *in = &ws->stream->in;
    struct bki_ws_whole f;
    bk_msg *m = NULL;
    const char *start = in->data + in->head;
    size_t size = bki_ws_whole_frame(&ws->conn, start, in->tail - in->head, &f);
    if (size == 0 || bki_check_cancel() < 0 || bk_msg_new(&m, f.len) < 0)
        return false;
    bool ascii = bki_ws_take(m->data, start + f.head, f.len, f.key);
    m->kind = BK_BINARY;
    if (f.kind == BKI_WS_TEXT) {
        if (!ascii && !bki_utf8_valid(m->data, f.len)) {
            bk_msg_free(&m);
            return false;
        }
        m->kind = BK_TEXT;
    }
    bki_buf_consume(in, size);
    *msg = m;
    return true;
}

static __attribute__((noinline)) int receive_slowly(struct bk_ws *ws, bk_msg **msg)
{
    if (ws->receiving)
        return bk_fail(-EBUSY, "another task receives from this WebSocket");
    if (ws->ended)
        return ws->end;
    ws->receiving = true;
    int r = __builtin_expect(ws->conn.sent_close, 0) ? receive_the_close(ws, msg)
                                                     : bki_ws_receive(ws, msg);
    ws->receiving = false;
    return r;
}

int bk_ws_recv(bk_ws *ws, bk_msg **msg)
{
    if (__builtin_expect(!ws->receiving && !ws->conn.sent_close && take_small(ws, msg), 1))
        return 1;
    return receive_slowly(ws, msg);
}
