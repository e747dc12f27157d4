/* SPDX-License-Identifier: MIT
 * Receiving from a WebSocket: whole messages out of what one read brought, or built in place. */
#include <poll.h>

#include "base/msg_internal.h"
#include "proto/ws_stream.h"
#include "rt/timeout.h"
#include "rt/turn.h"

/* What is left of a frame is read straight into the message from this size on. */
#define DIRECT_SIZE ((size_t)16 * 1024)
#define FIRST_INFLATED ((size_t)256) /* room for what a compressed message may become, at least */
#define INFLATE_STEP ((size_t)64 * 1024) /* of output, at a time */

/* Bytes received, sent or computed on, after which others run: behind a thousand connections that
 * are never done a quiet one waits for a slice of each. */
#define SLICE ((size_t)32 * 1024)
#define EVENT_WEIGHT ((size_t)64) /* bytes that a fragment counts for */
#define CONTROL_EVENTS 32         /* fragments that a control frame, and its answer, count for */

enum { CONTINUE = 2 }; /* besides a receive call's results: nothing to return yet */

/* ---- The end ---- */

int bki_ws_end(struct bk_ws *ws, int r)
{
    ws->ended = true;
    ws->end = r;
    bk_msg_free(&ws->part);
    if (ws->zip)
        bki_ws_zip_drop(ws->zip);
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

int bki_ws_end_no_memory(struct bk_ws *ws)
{
    return bki_ws_end_failed(ws, 1011, -ENOMEM, "out of memory");
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
    ws->worked += CONTROL_EVENTS * EVENT_WEIGHT;
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
    ws->worked += EVENT_WEIGHT;
    return bki_ws_next(&ws->conn, in, len, used, ev) == 0 ? CONTINUE : take_event(ws, ev);
}

static void end_slice(struct bk_ws *ws)
{
    bki_charge(ws->worked);
    ws->worked = 0;
    bki_give_way(bki_loop);
}

/* The rest of a long frame, straight to its place. */
static int read_in_place(struct bk_ws *ws, char *place, size_t left, struct bki_ws_event *ev)
{
    size_t used;
    ssize_t n = bki_stream_recv_past(ws->stream, place, left);
    if (n <= 0)
        return input_ended(ws, (int)n);
    ws->worked += (size_t)n;
    return next_event(ws, place, (size_t)n, &used, ev);
}

static int read_more(struct bk_ws *ws)
{
    int r = bki_stream_fill(ws->stream, 1);
    ws->worked += bki_stream_buffered(ws->stream);
    return r <= 0 ? input_ended(ws, r) : CONTINUE;
}

int bki_ws_next_data(struct bk_ws *ws, struct bki_ws_place place, struct bki_ws_event *ev)
{
    struct bki_buf *in = &ws->stream->in;
    int r = CONTINUE;
    while (r == CONTINUE) {
        if (ws->worked >= SLICE)
            end_slice(ws);
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

/* Room for `more` bytes behind the part_len that are there; it doubles, up to what is allowed and
 * the byte that shows that it is too much. */
static int grow_part(struct bk_ws *ws, size_t more)
{
    size_t have = ws->part ? bk_msg_len(ws->part) : 0, need = ws->part_len + more;
    if (ws->part && need <= have)
        return 0;
    size_t most = ws->conn.max_message < SIZE_MAX ? (size_t)ws->conn.max_message + 1 : SIZE_MAX;
    size_t size = have < most / 2 ? have * 2 : most;
    bk_msg *larger = NULL;
    if (bk_msg_new(&larger, need > size ? need : size) < 0)
        return bki_ws_end_no_memory(ws);
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

/* Adds a step of what was compressed, `most` bytes or less; a byte more than is allowed is enough
 * to see that it is too much. */
static int add_inflated(struct bk_ws *ws, size_t most)
{
    size_t want = ws->zip->rest.len * 2, made;
    uint64_t allowed = ws->conn.max_message - ws->part_len;
    want = want < FIRST_INFLATED ? FIRST_INFLATED : want;
    want = want < most ? want : most;
    int r = grow_part(ws, want <= allowed ? want : (size_t)allowed + 1);
    if (r < 0)
        return r;
    struct bki_ws_place place = place_in_part(ws);
    if (place.room > allowed)
        place.room = (size_t)allowed + 1;
    if (place.room > most)
        place.room = most;
    r = bki_ws_zip_inflate(ws, place.at, place.room, &made);
    if (r == 0)
        ws->part_len += made;
    return r;
}

/* The peer has ended the connection, without a close frame or anything else behind its message. */
static bool peer_has_gone(const struct bk_ws *ws)
{
    struct pollfd p = {.fd = ws->stream->fd.fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && !bki_ws_has_input(ws);
}

/* Room for the rest, if it is like what there is so far. */
static int reserve_rest(struct bk_ws *ws)
{
    size_t left = ws->zip->rest.len, used = ws->zip->packed - left;
    uint64_t allowed = ws->conn.max_message - ws->part_len + 1;
    if (used == 0 || left == 0)
        return 0;
    double more = (double)left / (double)used * (double)ws->part_len * 1.1;
    return grow_part(ws, more < (double)allowed ? (size_t)more : (size_t)allowed);
}

/* A long message, after a wait for its turn: what a peer has left behind is not worth the work. */
static int inflate_in_turn(struct bk_ws *ws)
{
    int reserved = 0;
    if (ws->zip->rest.data == ws->zip->kept && bki_stream_buffered(ws->stream) == 0)
        bki_buf_free(&ws->stream->in);
    int r = bki_turn_take(BKI_TURN_MAKES);
    if (r < 0)
        return r;
    if (r > 0)
        r = peer_has_gone(ws) ? input_ended(ws, 0) : 0;
    while (r == 0 && ws->zip->more) {
        r = add_inflated(ws, INFLATE_STEP);
        if (r == 0 && ws->zip->more && !reserved++)
            r = reserve_rest(ws);
        if (r == 0 && ws->zip->more)
            r = bki_check_cancel();
    }
    bki_turn_give();
    return r;
}

/* How much of a message may be inflated at once, outside the turn: less while somebody has that,
 * for there may be a crowd. */
static size_t short_of(size_t size)
{
    return bki_turn_is_taken() ? size / 4 : size;
}

/* What there is of the message, which is all of it.  1, or an error. */
static int inflate_taken(struct bk_ws *ws)
{
    struct bki_ws_zip *zip = ws->zip;
    bool is_long = zip->rest.len > short_of(BKI_WS_LONG_PACKED);
    int r = 0;
    while (r == 0 && zip->more) {
        size_t most = short_of(BKI_WS_LONG);
        is_long |= ws->part_len >= most;
        r = is_long ? inflate_in_turn(ws) : add_inflated(ws, most - ws->part_len);
    }
    return r < 0 ? r : 1;
}

static void hand_out(struct bk_ws *ws, bk_msg **msg)
{
    bk_msg_truncate(ws->part, ws->part_len);
    *msg = ws->part;
    ws->part = NULL;
}

/* A piece of a message, or a whole one, has come.  1: *msg is the message. */
static int take_piece(struct bk_ws *ws, const struct bki_ws_event *ev, bk_msg **msg)
{
    if (ev->first)
        ws->part_len = 0;
    if (ev->rsv) {
        int r = bki_ws_zip_take(ws, ev, true);
        return r < 0 ? r : CONTINUE;
    }
    if (ev->first && ev->last)
        return bk_msg_copy(msg, ev->payload.data, ev->payload.len) < 0 ? bki_ws_end_no_memory(ws)
                                                                       : 1;
    int r = add_piece(ws, ev);
    if (r < 0 || !ev->last)
        return r < 0 ? r : CONTINUE;
    hand_out(ws, msg);
    return 1;
}

static int receive_next(struct bk_ws *ws, bk_msg **msg, uint8_t *kind)
{
    struct bki_ws_event ev;
    if (ws->zip && ws->zip->more) {
        int r = inflate_taken(ws);
        if (r == 1)
            hand_out(ws, msg);
        *kind = ws->zip->kind;
        return r;
    }
    /* Compressed bytes have no place in the message. */
    struct bki_ws_place none = {0}, place = ws->conn.rsv ? none : place_in_part(ws);
    int r = bki_ws_next_data(ws, place, &ev);
    if (r != 1)
        return r;
    *kind = ev.kind;
    return take_piece(ws, &ev, msg);
}

static int receive_whole(struct bk_ws *ws, void *out)
{
    bk_msg **msg = out;
    uint8_t kind = BKI_WS_BINARY;
    int r;
    if (ws->mode == BKI_WS_PARTS)
        return bk_fail(-EINVAL, "the rest of this message comes by bk_ws_recv_part");
    do {
        r = receive_next(ws, msg, &kind);
    } while (r == CONTINUE);
    ws->mode = r < 0 && ws->zip && ws->zip->more ? BKI_WS_CUT : BKI_WS_WHOLE;
    if (r == 1)
        bk_msg_kind_set(*msg, kind == BKI_WS_TEXT ? BK_TEXT : BK_BINARY);
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
