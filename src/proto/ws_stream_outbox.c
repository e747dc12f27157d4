/* SPDX-License-Identifier: MIT
 * Frames that a WebSocket connection shares with others: sent at once, or by reference when it is
 * ready for them.
 *
 * What the kernel takes goes there straight from the shared frame.  Of a frame that it takes in
 * part, the rest is copied into the stream; the frames behind that one wait here until the stream
 * has nothing unsent. */
#include "proto/ws_stream.h"

struct waiting {
    struct bki_list link;
    struct bki_ws_shared *frame;
};

static void drained(void *owner);

static bool is_closed(const struct bk_ws *ws)
{
    return ws->ended || ws->conn.sent_close || ws->conn.got_close ||
           bk_stream_is_closing(ws->stream);
}

/* With the right to send, and nothing unsent. */
static void push(struct bk_ws *ws, struct bki_ws_shared *frame)
{
    /* The peer's window takes in what this frame stands for, ours does not: ours begins anew. */
    if (frame->zipped)
        bki_ws_deflater_free(&ws->zip->deflater);
    /* Its owner would not learn of half a frame that is gone. */
    if (bki_stream_push(ws->stream, frame->bytes, frame->len) == -ENOMEM) {
        ws->given_up = -ENOMEM;
        bk_stream_abort(ws->stream);
    }
}

static struct bki_ws_shared *take_first(struct bki_ws_outbox *box)
{
    struct waiting *w = bki_container(bki_list_first(&box->frames), struct waiting, link);
    struct bki_ws_shared *frame = w->frame;
    bki_list_remove(&w->link);
    bki_free(w);
    box->n--;
    box->quota -= box->quota > 0;
    return frame;
}

static void drop_all(struct bk_ws *ws)
{
    while (ws->outbox->n > 0)
        bki_ws_shared_unref(take_first(ws->outbox));
}

/* Calls drained(ws) when nothing is unsent any more (something is now); or no more. */
static void watch(struct bk_ws *ws, bool on)
{
    struct bki_out *out = ws->stream->out;
    if (!out)
        return;
    out->drained = on ? drained : NULL;
    out->drained_owner = ws;
}

static void end_turn(struct bk_ws *ws)
{
    ws->outbox->has_turn = false;
    watch(ws, false);
    if (ws->outbox->n == 0) {
        bki_free(ws->outbox);
        ws->outbox = NULL;
    }
    bki_ws_next_sender(ws);
}

/* The next frame is in nobody's way. */
static bool may_go_on(const struct bk_ws *ws)
{
    return ws->outbox->n > 0 && (ws->outbox->quota > 0 || bki_list_empty(&ws->send_line));
}

/* Sends while the kernel takes everything; the outbox has the turn. */
static void pump(struct bk_ws *ws)
{
    struct bki_ws_outbox *box = ws->outbox;
    while (may_go_on(ws) && bk_stream_unsent(ws->stream) == 0 && !is_closed(ws)) {
        struct bki_ws_shared *frame = take_first(box);
        push(ws, frame);
        bki_ws_shared_unref(frame);
    }
    if (is_closed(ws))
        drop_all(ws);
    bki_ws_push_owed(ws);
    bki_ws_tell_hubs(ws);
    if (may_go_on(ws))
        watch(ws, true);
    else
        end_turn(ws);
}

static void drained(void *owner)
{
    pump(owner);
}

static void take_turn(struct bk_ws *ws)
{
    ws->outbox->has_turn = true;
    ws->outbox->quota = ws->outbox->n;
    pump(ws);
}

bool bki_ws_outbox_turn(struct bk_ws *ws)
{
    if (!ws->outbox || ws->send_parts)
        return false;
    take_turn(ws);
    return true;
}

void bki_ws_outbox_clear(struct bk_ws *ws)
{
    if (!ws->outbox)
        return;
    bool had_turn = ws->outbox->has_turn;
    drop_all(ws);
    bki_ws_tell_hubs(ws);
    if (had_turn) {
        end_turn(ws);
    } else {
        bki_free(ws->outbox);
        ws->outbox = NULL;
    }
}

static int append(struct bk_ws *ws, struct bki_ws_shared *frame)
{
    struct waiting *w = bki_alloc(sizeof *w);
    if (w && !ws->outbox) {
        ws->outbox = bki_zalloc(sizeof *ws->outbox);
        if (ws->outbox)
            bki_list_init(&ws->outbox->frames);
    }
    if (!w || !ws->outbox) {
        bki_free(w);
        return -ENOMEM;
    }
    w->frame = frame;
    frame->refs++;
    bki_list_push_back(&ws->outbox->frames, &w->link);
    ws->outbox->n++;
    return 0;
}

int bki_ws_outbox_give(struct bk_ws *ws, struct bki_ws_shared *frame, size_t limit)
{
    if (is_closed(ws))
        return BKI_WS_GONE;
    if (!ws->sending && !ws->send_parts && bk_stream_unsent(ws->stream) == 0) {
        push(ws, frame);
        return is_closed(ws) ? BKI_WS_GONE : BKI_WS_GIVEN;
    }
    if (ws->outbox && ws->outbox->n >= limit)
        return BKI_WS_FULL;
    int r = append(ws, frame);
    if (r == 0 && !ws->sending && !ws->send_parts) {
        ws->sending = true;
        take_turn(ws);
    }
    return r;
}
