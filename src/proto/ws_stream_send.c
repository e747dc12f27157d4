/* SPDX-License-Identifier: MIT
 * Sending to a WebSocket: whole messages in turn, control frames between them. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "proto/ws_stream.h"

#define SMALL_MESSAGE ((size_t)2048)   /* header and payload in one piece up to here */
#define MASK_CHUNK ((size_t)64 * 1024) /* a client's large payload is masked in pieces of this */
#define REPLY_SLACK ((size_t)4096)     /* replies may exceed write_buffer by this */

static void describe_send(const void *object, char *buf, size_t size)
{
    snprintf(buf, size, "%s", bk_ws_peer(object));
}

static const struct bki_wait_kind wait_turn = {.what = "turn to send", .describe = describe_send};

/* ---- Taking turns ---- */

static int begin_send(struct bk_ws *ws)
{
    struct bki_waiter w;
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (ws->sending)
        return bki_wait(&ws->send_line, &w, &wait_turn, ws);
    ws->sending = true;
    return 0;
}

static void push_owed(struct bk_ws *ws, struct bki_ws_owed *owed)
{
    if (owed->len > 0)
        bki_stream_push(ws->stream, owed->bytes, owed->len);
    owed->len = 0;
}

static void end_send(struct bk_ws *ws)
{
    push_owed(ws, &ws->pong);
    push_owed(ws, &ws->close);
    if (!bki_grant_first(&ws->send_line, 0))
        ws->sending = false;
}

void bki_ws_reply(struct bk_ws *ws, int event_type, bk_span reply)
{
    struct bki_ws_owed *owed = event_type == BKI_WS_PING ? &ws->pong : &ws->close;
    memcpy(owed->bytes, reply.data, reply.len);
    owed->len = (uint8_t)reply.len;
    if (ws->sending)
        return; /* end_send will */
    /* A peer that pings and does not read gets no more than this; the next event tries again. */
    if (owed == &ws->pong && bk_stream_unsent(ws->stream) > ws->stream->write_buffer + REPLY_SLACK)
        return;
    push_owed(ws, &ws->pong);
    push_owed(ws, &ws->close);
}

/* ---- Messages ---- */

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
    char *chunk = bki_alloc(MASK_CHUNK);
    if (!chunk)
        return bk_fail(-ENOMEM, "no memory to mask a message");
    int r = 0;
    *taken = 0;
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

/* *broken: part of the message went out, and no more will. */
static int send_in_turn(struct bk_ws *ws, int kind, bk_span payload, bool *broken)
{
    struct bki_ws_head head;
    size_t taken = 0;
    int r = bki_ws_data_head(&ws->conn, &head, kind, 0, true, true, payload.len);
    if (r == -BK_ECLOSED)
        return closed_already(ws);
    if (r < 0)
        return bki_fail_errno(r, "%s: no masking key", bk_ws_peer(ws));
    if (payload.len <= SMALL_MESSAGE)
        r = send_small(ws, &head, payload, &taken);
    else if (!head.masked)
        r = send_large(ws, &head, payload, &taken);
    else
        r = send_large_masked(ws, &head, payload, &taken);
    *broken = r < 0 && taken > 0;
    /* A chunk may have gone out whole before the next was cancelled. */
    if (*broken && !ws->stream->write_error)
        ws->stream->write_error = -EPIPE;
    return r;
}

static int send_message(struct bk_ws *ws, int kind, bk_span payload, bool *broken)
{
    *broken = false;
    if (kind == BKI_WS_TEXT && !bki_utf8_valid(payload.data, payload.len))
        return bk_fail(-EINVAL, "a text message that is not UTF-8: send it as binary");
    int r = begin_send(ws);
    if (r < 0)
        return r;
    r = send_in_turn(ws, kind, payload, broken);
    end_send(ws);
    return r;
}

int bk_ws_send(bk_ws *ws, bk_msg **msg)
{
    bool broken;
    int kind = bk_msg_kind_get(*msg) == BK_TEXT ? BKI_WS_TEXT : BKI_WS_BINARY;
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

/* ---- Control frames ---- */

int bk_ws_ping(bk_ws *ws, const void *data, size_t len)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    if (len > BKI_WS_CONTROL_MAX)
        return bk_fail(-EINVAL, "a ping has at most %u bytes, not %zu", BKI_WS_CONTROL_MAX, len);
    int r = begin_send(ws);
    if (r < 0)
        return r;
    ssize_t n = bki_ws_control(&ws->conn, BKI_WS_OP_PING, bk_span_of(data, len), frame);
    if (n > 0)
        r = bk_stream_write(ws->stream, frame, (size_t)n);
    else
        r = n == -BK_ECLOSED ? closed_already(ws) : (int)n;
    end_send(ws);
    return r;
}

int bki_ws_begin_close(struct bk_ws *ws, unsigned code, bk_span reason)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    int r = begin_send(ws);
    if (r < 0)
        return r;
    ssize_t n = bki_ws_close_frame(&ws->conn, code, reason, frame);
    ws->close_deadline = bk_time_add(bk_now(), ws->close_timeout);
    /* Once the connection counts as closed the frame must go out: no cancel in between. */
    if (n > 0)
        r = bki_stream_push(ws->stream, frame, (size_t)n);
    else
        r = n == -BK_ECLOSED ? closed_already(ws) : (int)n;
    end_send(ws);
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
