/* SPDX-License-Identifier: MIT
 * Receiving from a WebSocket: whole messages out of what one read brought, or built in place. */
#include "base/msg_internal.h"
#include "proto/ws_stream.h"
#include "rt/timeout.h"

/* What is left of a frame is read straight into the message from this size on. */
#define DIRECT_SIZE ((size_t)16 * 1024)
#define FIRST_INFLATED ((size_t)256) /* room for what a compressed message may become, at least */

enum { CONTINUE = 2 }; /* besides a receive call's results: nothing to return yet */

/* ---- The end ---- */

int bki_ws_end(struct bk_ws *ws, int r)
{
    ws->ended = true;
    ws->end = r;
    bk_msg_free(&ws->part);
    bki_ws_ping_stop(ws);
    bki_ws_outbox_clear(ws);
    bki_grant_all(&ws->parts_line, 0);
    return r;
}

int bki_ws_end_failed(struct bk_ws *ws, unsigned code, int r, const char *detail)
{
    struct bki_ws_event fail;
    bki_ws_fail(&ws->conn, code, r, detail, &fail);
    bki_ws_reply(ws, fail.reply);
    return bki_ws_end(ws, bk_fail(r, "%s: %s", bk_ws_peer(ws), detail));
}

static const char *why_given_up(int error)
{
    return error == -ETIMEDOUT   ? "no pong in time"
           : error == -BK_ELIMIT ? "too slow for what a hub sends"
                                 : "out of memory";
}

static int input_ended(struct bk_ws *ws, int r)
{
    if (r == -ECANCELED || r == -ENOMEM)
        return r;
    if (ws->given_up)
        return bki_ws_end(
            ws, bk_fail(ws->given_up, "%s: %s", bk_ws_peer(ws), why_given_up(ws->given_up)));
    if (r == 0) {
        r = bki_ws_eof(&ws->conn);
        bk_fail(r, "%s: the connection ended without a close frame", bk_ws_peer(ws));
    }
    return bki_ws_end(ws, r);
}

/* ---- Events ---- */

static int take_event(struct bk_ws *ws, const struct bki_ws_event *ev)
{
    if (__builtin_expect(ev->type == BKI_WS_DATA, 1))
        return 1;
    if (ev->reply.len > 0)
        bki_ws_reply(ws, ev->reply);
    switch (ev->type) {
    case BKI_WS_PONG:
        bki_ws_ping_answered(ws, ev->payload);
        return CONTINUE;
    case BKI_WS_CLOSE:
        return bki_ws_end(ws, 0);
    case BKI_WS_FAIL:
        return bki_ws_end(ws, bk_fail(ws->conn.result, "%s: %s", bk_ws_peer(ws), ev->detail));
    default:
        return CONTINUE;
    }
}

static int next_event(struct bk_ws *ws, char *in, size_t len, size_t *used, struct bki_ws_event *ev)
{
    return bki_ws_next(&ws->conn, in, len, used, ev) == 0 ? CONTINUE : take_event(ws, ev);
}

/* The rest of a long frame, straight to its place. */
static int read_in_place(struct bk_ws *ws, char *place, size_t left, struct bki_ws_event *ev)
{
    size_t used;
    ssize_t n = bki_stream_recv_past(ws->stream, place, left);
    return n <= 0 ? input_ended(ws, (int)n) : next_event(ws, place, (size_t)n, &used, ev);
}

static int read_more(struct bk_ws *ws)
{
    int r = bki_stream_fill(ws->stream, 1);
    return r <= 0 ? input_ended(ws, r) : CONTINUE;
}

int bki_ws_next_data(struct bk_ws *ws, struct bki_ws_place place, struct bki_ws_event *ev)
{
    struct bki_buf *in = &ws->stream->in;
    int r = CONTINUE;
    while (r == CONTINUE) {
        size_t used, len = bki_buf_len(in);
        if (len > 0) {
            r = next_event(ws, bki_buf_start(in), len, &used, ev);
            bki_buf_consume(in, used); /* what ev shows stays there until the next fill */
            continue;
        }
        uint64_t left = bki_ws_frame_left(&ws->conn);
        if (left >= DIRECT_SIZE && left <= place.room)
            r = read_in_place(ws, place.at, (size_t)left, ev);
        else
            r = read_more(ws);
        ws->ping.heard = true;
    }
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

static struct bki_ws_place place_in_part(const struct bk_ws *ws)
{
    if (!ws->part)
        return (struct bki_ws_place){0};
    return (struct bki_ws_place){bk_msg_data(ws->part) + ws->part_len,
                                 bk_msg_len(ws->part) - ws->part_len};
}

/* Adds a piece; one that was read straight to its place is there already. */
static int add_piece(struct bk_ws *ws, const struct bki_ws_event *ev)
{
    bool in_place = ws->part && ev->payload.data == place_in_part(ws).at;
    /* The frame's announced rest is within max_message. */
    int r = in_place ? 0 : grow_part(ws, ev->payload.len + (size_t)ev->more);
    if (r < 0)
        return r;
    if (!in_place && ev->payload.len > 0)
        memcpy(bk_msg_data(ws->part) + ws->part_len, ev->payload.data, ev->payload.len);
    ws->part_len += ev->payload.len;
    return 0;
}

/* Adds what a compressed piece stands for; a byte more than is allowed is enough to see that it is
 * too much. */
static int add_inflated(struct bk_ws *ws, const struct bki_ws_event *ev)
{
    bk_span in = ev->payload;
    struct bki_ws_place place;
    size_t made;
    do {
        uint64_t allowed = ws->conn.max_message - ws->part_len;
        size_t want = in.len * 2 > FIRST_INFLATED ? in.len * 2 : FIRST_INFLATED;
        int r = grow_part(ws, want <= allowed ? want : (size_t)allowed + 1);
        if (r < 0)
            return r;
        place = place_in_part(ws);
        if (place.room > allowed)
            place.room = (size_t)allowed + 1;
        r = bki_ws_zip_inflate(ws, ev->kind, &in, ev->last, place.at, place.room, &made);
        if (r < 0)
            return r;
        ws->part_len += made;
    } while (made == place.room);
    return 0;
}

static int take_piece(struct bk_ws *ws, const struct bki_ws_event *ev, bk_msg **msg)
{
    if (ev->first)
        ws->part_len = 0;
    int r = ev->rsv ? add_inflated(ws, ev) : add_piece(ws, ev);
    if (r < 0 || !ev->last)
        return r < 0 ? r : CONTINUE;
    bk_msg_truncate(ws->part, ws->part_len);
    *msg = ws->part;
    ws->part = NULL;
    return 1;
}

static int receive_whole(struct bk_ws *ws, void *out)
{
    bk_msg **msg = out;
    struct bki_ws_event ev;
    int r = CONTINUE;
    if (ws->mode == BKI_WS_PARTS)
        return bk_fail(-EINVAL, "the rest of this message comes by bk_ws_recv_part");
    while (r == CONTINUE) {
        /* Compressed bytes have no place in the message. */
        struct bki_ws_place none = {0}, place = ws->conn.rsv ? none : place_in_part(ws);
        r = bki_ws_next_data(ws, place, &ev);
        if (r != 1)
            return r;
        bool whole = ev.first && ev.last && !ev.rsv;
        r = whole ? bk_msg_copy(msg, ev.payload.data, ev.payload.len) : take_piece(ws, &ev, msg);
        if (whole && r == 0)
            r = 1;
    }
    if (r == 1)
        bk_msg_kind_set(*msg, ev.kind == BKI_WS_TEXT ? BK_TEXT : BK_BINARY);
    else if (!ws->ended) /* its bytes are gone from the stream, so the connection cannot go on */
        r = bki_ws_end_failed(ws, 1011, r, "out of memory");
    return r;
}

/* ---- The calls ---- */

typedef int receive_fn(struct bk_ws *ws, void *out);

static int receive_as_reader(struct bk_ws *ws, receive_fn *body, void *out)
{
    int r = bki_stream_begin_read(ws->stream);
    if (r < 0)
        return r;
    r = body(ws, out);
    ws->stream->reading = false;
    return r;
}

/* After our close frame, the peer's is due within close_timeout. */
static int receive_the_close(struct bk_ws *ws, receive_fn *body, void *out)
{
    struct bk_timeout limit;
    int r = bki_timeout_start(&limit, ws->close_deadline.ns);
    if (r < 0)
        return r;
    r = bki_timeout_end(&limit, receive_as_reader(ws, body, out));
    if (r == -ETIMEDOUT && !ws->ended)
        bki_ws_end(ws, bk_fail(r, "%s: no close frame within close_timeout", bk_ws_peer(ws)));
    return r;
}

/* What the last part was handed out from is not needed any more. */
static void drop_handed_out(struct bk_ws *ws)
{
    if (ws->mode == BKI_WS_PARTS) {
        bk_msg_free(&ws->part);
    } else if (ws->zip && ws->zip->piece) {
        bki_free(ws->zip->piece);
        ws->zip->piece = NULL;
    }
}

int bki_ws_receive(struct bk_ws *ws, receive_fn *body, void *out)
{
    if (ws->receiver)
        return bk_fail(-EBUSY, "another task receives from this WebSocket");
    drop_handed_out(ws);
    if (ws->ended)
        return ws->end;
    ws->receiver = bki_self();
    int r = __builtin_expect(ws->conn.sent_close, 0) ? receive_the_close(ws, body, out)
                                                     : receive_as_reader(ws, body, out);
    ws->receiver = NULL;
    return r;
}

/* Most calls: the next message lies in the in-buffer, one frame, small enough to be worth copying
 * in one go with the checks.  Anything else, and anything wrong, is left as it was.  (While another
 * task waits in a receive call the buffer is empty.) */
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

int bk_ws_recv(bk_ws *ws, bk_msg **msg)
{
    if (__builtin_expect(ws->mode == BKI_WS_WHOLE && take_small(ws, msg), 1))
        return 1;
    return bki_ws_receive(ws, receive_whole, msg);
}
