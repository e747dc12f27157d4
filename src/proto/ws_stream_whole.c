/* SPDX-License-Identifier: MIT
 * Receiving whole WebSocket messages: those that come in several pieces, or compressed, are put
 * together in one place. */
#include <poll.h>

#include "proto/ws_stream.h"
#include "rt/turn.h"

#define FIRST_INFLATED ((size_t)256) /* room for what a compressed message may become, at least */
#define INFLATE_STEP ((size_t)64 * 1024) /* of output, at a time */
#define SMALLEST_READ ((size_t)512)      /* nobody is let read less */

#define CONTINUE BKI_WS_CONTINUE

enum { TRY_AGAIN_LATER = 1013 };

/* ---- What is held of the message in progress ---- */

void bki_ws_drop_part(struct bk_ws *ws)
{
    bk_msg_free(&ws->part);
    if (ws->stream)
        bki_intake_release(ws->stream->loop, &ws->intake);
}

void bki_ws_drop_begun(struct bk_ws *ws)
{
    bki_ws_drop_part(ws);
    if (ws->zip) {
        bki_ws_zip_drop(ws->zip);
        bki_ws_inflater_free(&ws->zip->inflater);
    }
}

static size_t held(const struct bk_ws *ws)
{
    return ws->zip && ws->zip->keeping ? ws->zip->kept_len : ws->part ? ws->part_len : 0;
}

size_t bki_ws_grown(const struct bk_ws *ws, size_t room)
{
    size_t most = ws->conn.max_message < SIZE_MAX ? (size_t)ws->conn.max_message + 1 : SIZE_MAX;
    size_t granted = bki_intake_room(&ws->intake);
    size_t larger = room < most / 2 ? room * 2 : most;
    if (room == 0 && !ws->conn.frame.fin)
        larger = BKI_INTAKE_OWN < most ? BKI_INTAKE_OWN : most;
    if (room < granted && (ws->intake.held > 0 || granted < larger))
        return granted < most ? granted : most;
    return larger;
}

/* Bytes of it still to come, as far as its peer has said. */
static uint64_t rest_of(const struct bki_ws_conn *c)
{
    uint64_t left = bki_ws_frame_left(c);
    return left > 0 && c->frame.fin ? left : UINT64_MAX;
}

/* Before more is read: waits until that may be held, and sees to it that it is not more. */
static int limit_read(struct bk_ws *ws, struct bki_ws_place *place)
{
    struct bk_stream *s = ws->stream;
    size_t have = held(ws), room = bki_intake_room(&ws->intake);
    if (have == 0 || (have <= room && rest_of(&ws->conn) <= room - have))
        return 0;
    size_t want = bki_intake_next(have);
    uint64_t most_needed = ws->conn.max_message;
    if (want > most_needed && have + SMALLEST_READ <= most_needed)
        want = (size_t)most_needed;
    bool must = have + SMALLEST_READ > room, should = have + s->in_size > room;
    if (should && !bki_intake_try(&ws->intake, want) && must) {
        bki_buf_free(&s->in); /* empty; the wait may be long */
        int r = bki_intake_ask(&ws->intake, want);
        if (r < 0)
            return r;
    }
    size_t most = bki_intake_room(&ws->intake) - have;
    bki_stream_offer_at_most(s, most);
    if (place->room > most)
        place->room = most;
    return 0;
}

/* Others wait for what it holds, and its peer has not sent the rest. */
void bki_ws_let_go(struct bki_intake *intake)
{
    struct bk_ws *ws = bki_container(intake, struct bk_ws, intake);
    bki_ws_dismiss(ws, TRY_AGAIN_LATER, -ENOBUFS);
    if (!ws->receiver && !ws->ended)
        bki_ws_end(ws, -ENOBUFS);
}

/* ---- The pieces ---- */

/* Room for `more` bytes behind the part_len that are there. */
static int grow_part(struct bk_ws *ws, size_t more)
{
    size_t have = ws->part ? bk_msg_len(ws->part) : 0, need = ws->part_len + more;
    if (ws->part && need <= have)
        return 0;
    size_t size = bki_ws_grown(ws, have);
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

/* ---- Inflating ---- */

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

/* Room for the rest, if it is like what there is so far.  When there will be too much of it, it is
 * not worth any. */
static int reserve_rest(struct bk_ws *ws)
{
    size_t left = ws->zip->rest.len, used = ws->zip->packed - left;
    uint64_t allowed = ws->conn.max_message - ws->part_len;
    if (used == 0 || left == 0)
        return 0;
    double more = (double)left / (double)used * (double)ws->part_len;
    int r = more < (double)allowed ? 0 : bki_ws_zip_measure(ws);
    if (r < 0)
        return r;
    more *= 1.1;
    return grow_part(ws, more < (double)allowed ? (size_t)more : (size_t)allowed + 1);
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
        r = peer_has_gone(ws) ? bki_ws_input_ended(ws, 0) : 0;
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
    bool is_long = zip->rest.len > short_of(BKI_WS_LONG_PACKED), fresh = !zip->inflater;
    bk_span message = zip->rest;
    int r = 0;
    ws->intake.whole = true;
    while (r == 0 && zip->more) {
        size_t most = short_of(BKI_WS_LONG);
        is_long |= ws->part_len >= most;
        /* The line may be long: nobody holds a window in it, or what came out so far. */
        if (is_long && fresh && bki_turn_is_taken())
            bki_ws_zip_rewind(ws, message);
        r = is_long ? inflate_in_turn(ws) : add_inflated(ws, most - ws->part_len);
    }
    return r < 0 ? r : 1;
}

/* ---- Whole messages ---- */

/* A short one does not keep the room there was for more. */
static void hand_out(struct bk_ws *ws, bk_msg **msg)
{
    if (ws->part_len > BKI_INTAKE_OWN / 2 || bk_msg_len(ws->part) < 2 * ws->part_len ||
        bk_msg_copy(msg, bk_msg_data(ws->part), ws->part_len) < 0) {
        bk_msg_truncate(ws->part, ws->part_len);
        *msg = ws->part;
        ws->part = NULL;
    }
    bk_msg_free(&ws->part);
    bki_intake_release(ws->stream->loop, &ws->intake);
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
    struct bki_ws_place place = ws->conn.rsv ? (struct bki_ws_place){0} : place_in_part(ws);
    int r = bki_stream_buffered(ws->stream) > 0 ? 0 : limit_read(ws, &place);
    if (r == 0)
        r = bki_ws_next_data(ws, place, &ev);
    if (r != 1)
        return r;
    *kind = ev.kind;
    return take_piece(ws, &ev, msg);
}

int bki_ws_receive_whole(struct bk_ws *ws, void *out)
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
