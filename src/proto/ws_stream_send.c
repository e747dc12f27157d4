/* SPDX-License-Identifier: MIT
 * Sending to a WebSocket: whole messages in turn, control frames between them. */
#include <stdio.h>

#include "base/utf8.h"
#include "proto/ws_stream.h"
#include "rt/turn.h"

#define SMALL_MESSAGE ((size_t)256)    /* header and payload in one piece up to here */
#define MASK_CHUNK ((size_t)64 * 1024) /* a client's large payload is masked in pieces of this */
#define REPLY_SLACK ((size_t)4096)     /* replies may exceed write_buffer by this */

static void describe_send(const void *object, char *buf, size_t size)
{
    snprintf(buf, size, "%s", bk_ws_peer(object));
}

static const struct bki_wait_kind wait_turn = {.what = "turn to send", .describe = describe_send};

/* ---- Taking turns ---- */

int bki_ws_begin_send(struct bk_ws *ws)
{
    struct bki_waiter w;
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (!ws->sending) {
        ws->sending = true;
        return 0;
    }
    if (ws->outbox && bki_list_empty(&ws->send_line))
        ws->outbox->quota = ws->outbox->n; /* what a hub has sent by now goes first */
    return bki_wait(&ws->send_line, &w, &wait_turn, ws);
}

void bki_ws_push_owed(struct bk_ws *ws)
{
    if (ws->owed > 0)
        bki_stream_push(ws->stream, ws->conn.reply, ws->owed);
    ws->owed = 0;
    if (ws->ping.owed)
        bki_ws_ping_push(ws);
}

void bki_ws_next_sender(struct bk_ws *ws)
{
    if (!bki_grant_first(&ws->send_line, 0))
        ws->sending = false;
}

void bki_ws_end_send(struct bk_ws *ws)
{
    bki_ws_push_owed(ws);
    if (!bki_ws_outbox_turn(ws))
        bki_ws_next_sender(ws);
}

/* Only the last reply is kept: of several pongs it is the one due (RFC 6455 5.5.3), and a close is
 * the last there is. */
void bki_ws_reply(struct bk_ws *ws, bk_span reply)
{
    ws->owed = (uint8_t)reply.len;
    if (ws->sending)
        return; /* bki_ws_end_send will */
    /* A peer that pings and does not read gets no more than this; the next event tries again. */
    bool pong = !ws->conn.sent_close;
    if (pong && bk_stream_unsent(ws->stream) > ws->stream->write_buffer + REPLY_SLACK)
        return;
    bki_ws_push_owed(ws);
}

static bool is_closed(const struct bk_ws *ws)
{
    return ws->conn.sent_close || ws->conn.got_close || ws->stream->write_error;
}

/* The right to send a message's first frame: also waits for the end of another's parts. */
static int begin_message(struct bk_ws *ws)
{
    int r = bki_ws_begin_send(ws);
    while (r == 0 && ws->send_parts && !is_closed(ws)) {
        struct bki_waiter w;
        bki_ws_end_send(ws);
        if (ws->parts_task == bki_self())
            return bk_fail(-EINVAL, "the message begun by bk_ws_send_part has no end yet");
        r = bki_wait(&ws->parts_line, &w, &wait_turn, ws);
        if (r == 0)
            r = bki_ws_begin_send(ws);
    }
    return r;
}

/* ---- Frames ---- */

static int send_small(struct bk_ws *ws, const struct bki_ws_head *head, bk_span payload,
                      size_t *taken)
{
    char frame[BKI_WS_HEAD_MAX + SMALL_MESSAGE];
    memcpy(frame, head->bytes, head->len);
    if (head->masked)
        bki_ws_mask(frame + head->len, payload.data, payload.len, head->key, 0);
    else if (payload.len > 0)
        memcpy(frame + head->len, payload.data, payload.len);
    bk_span piece = bk_span_of(frame, head->len + payload.len);
    return bki_stream_writev(ws->stream, &piece, 1, taken);
}

static int send_large(struct bk_ws *ws, const struct bki_ws_head *head, bk_span payload,
                      size_t *taken)
{
    const bk_span pieces[] = {bk_span_of(head->bytes, head->len), payload};
    return bki_stream_writev(ws->stream, pieces, 2, taken);
}

static int send_large_masked(struct bk_ws *ws, const struct bki_ws_head *head, bk_span payload,
                             size_t *taken)
{
    char *chunk = bki_alloc(payload.len < MASK_CHUNK ? payload.len : MASK_CHUNK);
    if (!chunk)
        return bk_fail(-ENOMEM, "no memory to mask a message");
    int r = 0;
    for (size_t at = 0; at < payload.len && r == 0;) {
        size_t n = payload.len - at < MASK_CHUNK ? payload.len - at : MASK_CHUNK, part;
        bki_ws_mask(chunk, payload.data + at, n, head->key, at);
        const bk_span pieces[] = {bk_span_of(head->bytes, at == 0 ? head->len : 0),
                                  bk_span_of(chunk, n)};
        r = bki_stream_writev(ws->stream, pieces, 2, &part);
        *taken += part;
        at += n;
    }
    bki_free(chunk);
    return r;
}

static int closed_already(const struct bk_ws *ws)
{
    return bk_fail(-BK_ECLOSED, "%s: send after a close frame", bk_ws_peer(ws));
}

static int make_head(struct bk_ws *ws, const struct bki_ws_out *f, struct bki_ws_head *head)
{
    int r = bki_ws_data_head(&ws->conn, head, f->kind, f->rsv, f->first, f->last, f->payload.len);
    if (r == -BK_ECLOSED)
        return closed_already(ws);
    if (r == -EINVAL)
        return bk_fail(r, "a part of a message that is out of order, or of another kind");
    return r < 0 ? bki_fail_errno(r, "%s: no masking key", bk_ws_peer(ws)) : 0;
}

int bki_ws_send_frame(struct bk_ws *ws, const struct bki_ws_out *f, size_t *taken)
{
    struct bki_ws_head head;
    uint8_t kind_before = ws->conn.out_kind;
    *taken = 0;
    int r = make_head(ws, f, &head);
    if (r < 0)
        return r;
    if (head.masked && f->scratch) {
        char *bytes = (char *)(uintptr_t)f->payload.data;
        bki_ws_mask(bytes, bytes, f->payload.len, head.key, 0);
        head.masked = false;
    }
    if (f->payload.len <= SMALL_MESSAGE)
        r = send_small(ws, &head, f->payload, taken);
    else if (!head.masked)
        r = send_large(ws, &head, f->payload, taken);
    else
        r = send_large_masked(ws, &head, f->payload, taken);
    if (r < 0 && *taken == 0)
        ws->conn.out_kind = kind_before;
    ws->worked += *taken;
    return r;
}

/* ---- Messages ---- */

/* A long text is looked at in steps. */
static bool feed_utf8(struct bki_utf8 *utf8, bk_span text)
{
    while (text.len > BKI_WS_LONG) {
        if (!bki_utf8_feed(utf8, text.data, BKI_WS_LONG))
            return false;
        text = bk_span_of(text.data + BKI_WS_LONG, text.len - BKI_WS_LONG);
        bki_work(BKI_WS_LONG / 4);
    }
    return bki_utf8_feed(utf8, text.data, text.len);
}

bool bki_ws_is_text(bk_span text)
{
    struct bki_utf8 utf8 = {0};
    if (text.len <= BKI_WS_LONG)
        return bki_utf8_valid(text.data, text.len);
    return feed_utf8(&utf8, text) && bki_utf8_complete(&utf8);
}

/* *broken: part of it went out, and no more will. */
static int send_in_turn(struct bk_ws *ws, const struct bki_ws_out *out, bool zipped, bool *broken)
{
    size_t taken;
    int r = zipped ? bki_ws_zip_send(ws, out, &taken) : bki_ws_send_frame(ws, out, &taken);
    *broken = r < 0 && taken > 0;
    /* A chunk may have gone out whole before the next was cancelled. */
    if (*broken && !ws->stream->write_error)
        ws->stream->write_error = -EPIPE;
    return r;
}

static bool is_worth_compressing(const struct bk_ws *ws, size_t len)
{
    return ws->zip && len >= ws->zip->min_size;
}

static int send_message(struct bk_ws *ws, uint8_t kind, bk_span payload, bool *broken)
{
    struct bki_ws_out out = {.payload = payload, .kind = kind, .first = true, .last = true};
    *broken = false;
    if (kind == BKI_WS_TEXT && !bki_ws_is_text(payload))
        return bk_fail(-EINVAL, "a text message that is not UTF-8: send it as binary");
    int r = begin_message(ws);
    if (r < 0)
        return r;
    r = send_in_turn(ws, &out, is_worth_compressing(ws, payload.len), broken);
    bki_ws_end_send(ws);
    return r;
}

int bk_ws_send(bk_ws *ws, bk_msg **msg)
{
    bool broken;
    uint8_t kind = bk_msg_kind_get(*msg) == BK_TEXT ? BKI_WS_TEXT : BKI_WS_BINARY;
    int r = send_message(ws, kind, bk_msg_span(*msg), &broken);
    if (r == 0 || broken)
        bk_msg_free(msg);
    return r;
}

int bk_ws_send_text(bk_ws *ws, const char *text, size_t len)
{
    bool broken;
    return send_message(ws, BKI_WS_TEXT, bk_span_of(text, len), &broken);
}

int bk_ws_send_binary(bk_ws *ws, const void *data, size_t len)
{
    bool broken;
    return send_message(ws, BKI_WS_BINARY, bk_span_of(data, len), &broken);
}

/* ---- Parts of messages ---- */

static void end_parts(struct bk_ws *ws)
{
    ws->send_parts = false;
    ws->parts_task = NULL;
    bki_grant_all(&ws->parts_line, 0);
}

static int send_part_in_turn(struct bk_ws *ws, const struct bki_ws_out *out)
{
    bool broken;
    if (out->first)
        ws->parts_zipped = is_worth_compressing(ws, out->last ? out->payload.len : SIZE_MAX);
    else if (!ws->send_parts)
        return bk_fail(-EINVAL, "there is no message that this part continues");
    int r = send_in_turn(ws, out, ws->parts_zipped, &broken);
    if (ws->stream->write_error || (r == 0 && out->last)) {
        end_parts(ws);
    } else if (r == 0 && out->first) {
        ws->send_parts = true;
        ws->parts_task = bki_self();
    }
    return r;
}

int bk_ws_send_part(bk_ws *ws, const bk_ws_part *part)
{
    struct bki_ws_out out = {.payload = part->data,
                             .kind = part->kind == BK_TEXT ? BKI_WS_TEXT : BKI_WS_BINARY,
                             .first = part->first,
                             .last = part->last};
    struct bki_utf8 utf8 = {0};
    if (!part->first)
        utf8 = ws->part_utf8;
    if (part->kind == BK_TEXT &&
        (!feed_utf8(&utf8, part->data) || (part->last && !bki_utf8_complete(&utf8))))
        return bk_fail(-EINVAL, "a text message that is not UTF-8: send it as binary");
    int r = part->first ? begin_message(ws) : bki_ws_begin_send(ws);
    if (r < 0)
        return r;
    r = send_part_in_turn(ws, &out);
    if (r == 0)
        ws->part_utf8 = utf8;
    bki_ws_end_send(ws);
    return r;
}

/* ---- Control frames ---- */

int bk_ws_ping(bk_ws *ws, const void *data, size_t len)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    if (len > BKI_WS_CONTROL_MAX)
        return bk_fail(-EINVAL, "a ping has at most %u bytes, not %zu", BKI_WS_CONTROL_MAX, len);
    int r = bki_ws_begin_send(ws);
    if (r < 0)
        return r;
    ssize_t n = bki_ws_control(&ws->conn, BKI_WS_OP_PING, bk_span_of(data, len), frame);
    if (n > 0)
        r = bk_stream_write(ws->stream, frame, (size_t)n);
    else
        r = n == -BK_ECLOSED ? closed_already(ws) : (int)n;
    bki_ws_end_send(ws);
    return r;
}

int bki_ws_begin_close(struct bk_ws *ws, unsigned code, bk_span reason)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    int r = bki_ws_begin_send(ws);
    if (r < 0)
        return r;
    ssize_t n = bki_ws_close_frame(&ws->conn, code, reason, frame);
    ws->close_deadline = bk_time_add(bk_now(), ws->close_timeout);
    /* Once the connection counts as closed the frame must go out: no cancel in between. */
    if (n > 0)
        r = bki_stream_push(ws->stream, frame, (size_t)n);
    else
        r = n == -BK_ECLOSED ? closed_already(ws) : (int)n;
    bki_ws_end_send(ws);
    bki_grant_all(&ws->parts_line, 0);
    return r;
}

int bk_ws_send_close(bk_ws *ws, int code, const char *reason)
{
    int r =
        bki_ws_begin_close(ws, code < 0 ? 0 : (unsigned)code, bk_span_str(reason ? reason : ""));
    if (r == -EINVAL)
        return bk_fail(r, "a close frame may not carry code %d, or this reason", code);
    return r;
}

int bk_ws_flush(bk_ws *ws)
{
    return bk_stream_flush(ws->stream);
}
