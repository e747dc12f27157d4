/* SPDX-License-Identifier: MIT
 * Receiving from a WebSocket: the events of its connection, and small messages in one go. */
#include "base/msg_internal.h"
#include "proto/ws_stream.h"
#include "rt/timeout.h"
#include "rt/turn.h"

/* What is left of a frame is read straight into the message from this size on. */
#define DIRECT_SIZE ((size_t)16 * 1024)

/* Bytes received, sent or computed on, after which others run: behind a thousand connections that
 * are never done a quiet one waits for a slice of each.  Between two reads, that is; in the middle
 * of what one has brought later, so that few hold something in a buffer while others run. */
#define SLICE ((size_t)32 * 1024)
#define LONG_SLICE (4 * SLICE)
#define SMALL_READ ((size_t)4 * 1024) /* a long slice is enough for it, whatever is in it */
#define EVENT_WEIGHT ((size_t)64)     /* bytes that a fragment counts for */
#define CONTROL_EVENTS 32 /* fragments that a control frame, and its answer, count for */

#define CONTINUE BKI_WS_CONTINUE

/* ---- The end ---- */

int bki_ws_end(struct bk_ws *ws, int r)
{
    ws->ended = true;
    ws->end = r;
    bki_ws_drop_begun(ws);
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

const char *bki_ws_why_given_up(int error)
{
    return error == -ETIMEDOUT   ? "no pong in time"
           : error == -BK_ELIMIT ? "too slow for what a hub sends"
           : error == -ENOBUFS   ? "messages of others waited for the memory of an unfinished one"
                                 : "out of memory";
}

static int tell_given_up(const struct bk_ws *ws)
{
    return bk_fail(ws->given_up, "%s: %s", bk_ws_peer(ws), bki_ws_why_given_up(ws->given_up));
}

int bki_ws_input_ended(struct bk_ws *ws, int r)
{
    if (r == -ECANCELED || r == -ENOMEM)
        return r;
    if (ws->given_up)
        return bki_ws_end(ws, tell_given_up(ws));
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

/* Others run; what one read brought is best dealt with before they do, for it is held meanwhile. */
static void end_slice(struct bk_ws *ws)
{
    struct bk_stream *s = ws->stream;
    bki_charge(ws->worked);
    ws->worked = 0;
    if (bki_stream_buffered(s) == 0)
        bki_buf_free(&s->in);
    else if (s->in_size > SMALL_READ)
        s->in_size /= 2;
    bki_give_way(bki_loop);
}

/* The rest of a long frame, straight to its place. */
static int read_in_place(struct bk_ws *ws, char *place, size_t left, struct bki_ws_event *ev)
{
    size_t used;
    ssize_t n = bki_stream_recv_past(ws->stream, place, left);
    if (n <= 0)
        return bki_ws_input_ended(ws, (int)n);
    ws->worked += (size_t)n;
    return next_event(ws, place, (size_t)n, &used, ev);
}

static int read_more(struct bk_ws *ws)
{
    int r = bki_stream_fill(ws->stream, 1);
    ws->worked += bki_stream_buffered(ws->stream);
    return r <= 0 ? bki_ws_input_ended(ws, r) : CONTINUE;
}

int bki_ws_next_data(struct bk_ws *ws, struct bki_ws_place place, struct bki_ws_event *ev)
{
    struct bki_buf *in = &ws->stream->in;
    int r = CONTINUE;
    while (r == CONTINUE) {
        size_t used, len = bki_buf_len(in);
        if (ws->worked >= (len > 0 ? LONG_SLICE : SLICE))
            end_slice(ws);
        if (len > 0) {
            r = next_event(ws, bki_buf_start(in), len, &used, ev);
            bki_buf_consume(in, used); /* what ev shows stays there until the next fill */
            continue;
        }
        uint64_t left = bki_ws_frame_left(&ws->conn);
        if (left >= DIRECT_SIZE && place.room >= DIRECT_SIZE)
            r = read_in_place(ws, place.at, left < place.room ? (size_t)left : place.room, ev);
        else
            r = read_more(ws);
        ws->ping.heard = true;
    }
    return r;
}

/* ---- The calls ---- */

static int receive_as_reader(struct bk_ws *ws, bki_ws_receive_fn *body, void *out)
{
    int r = bki_stream_begin_read(ws->stream);
    if (r < 0)
        return r;
    r = body(ws, out);
    ws->stream->reading = false;
    return r;
}

/* After our close frame, the peer's is due within close_timeout. */
static int receive_the_close(struct bk_ws *ws, bki_ws_receive_fn *body, void *out)
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
        bki_ws_drop_part(ws);
    } else if (ws->zip && ws->zip->piece) {
        bki_free(ws->zip->piece);
        ws->zip->piece = NULL;
    }
}

int bki_ws_receive(struct bk_ws *ws, bki_ws_receive_fn *body, void *out)
{
    if (ws->receiver)
        return bk_fail(-EBUSY, "another task receives from this WebSocket");
    drop_handed_out(ws);
    if (ws->ended)
        return ws->given_up ? tell_given_up(ws) : ws->end;
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
    return bki_ws_receive(ws, bki_ws_receive_whole, msg);
}
