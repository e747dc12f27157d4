/* SPDX-License-Identifier: MIT
 * A WebSocket connection's life after its handshake: made, asked, closed. */
#include "proto/ws_stream.h"

#define DEFAULT_CLOSE_SECONDS 10
/* What a read brings is still in the nearest cache when it is parsed. */
#define READ_SIZE ((size_t)16 * 1024)
#define LINGER_MS 1000 /* for the peer to end the stream, and to read why we did */
#define PARTING_MS 10  /* for the last frame of a dropped connection to reach the kernel */

enum { NORMAL = 1000, GOING_AWAY = 1001, INTERNAL_ERROR = 1011 };

int bki_ws_new(struct bk_ws **out, enum bki_ws_role role, const bk_ws_opts *opts)
{
    size_t keys = role == BKI_WS_CLIENT ? sizeof(struct bki_ws_keys) : 0;
    int r = bki_ws_zip_check(&opts->deflate);
    if (r < 0)
        return r;
    struct bk_ws *ws = bki_zalloc(sizeof *ws + keys);
    if (!ws)
        return bk_fail(-ENOMEM, "no memory for a WebSocket connection");
    struct bki_ws_limits limits = {.max_message = opts->max_message,
                                   .max_fragments = opts->max_fragments > UINT32_MAX
                                                        ? UINT32_MAX
                                                        : (uint32_t)opts->max_fragments};
    bki_ws_init(&ws->conn, role, &limits, keys ? ws->keys : NULL);
    ws->intake.let_go = bki_ws_let_go;
    bki_list_init(&ws->send_line);
    bki_list_init(&ws->parts_line);
    bki_list_init(&ws->members);
    ws->close_timeout =
        opts->close_timeout.ns ? opts->close_timeout : bk_seconds(DEFAULT_CLOSE_SECONDS);
    *out = ws;
    return 0;
}

int bki_ws_start(struct bk_ws *ws, bk_stream **stream, const bk_ws_opts *opts)
{
    ws->stream = *stream;
    int r = bki_ws_ping_start(ws, opts);
    if (r < 0) {
        ws->stream = NULL;
        return bk_fail(r, "no memory for a WebSocket connection");
    }
    if (opts->write_buffer)
        ws->stream->write_buffer = opts->write_buffer;
    ws->stream->read_limit = READ_SIZE;
    *stream = NULL;
    return 0;
}

int bki_ws_free(struct bk_ws *ws, int r)
{
    if (!ws)
        return r;
    if (ws->stream) {
        bki_ws_leave_hubs(ws);
        bki_ws_ping_stop(ws);
        bki_ws_outbox_clear(ws);
        bki_ws_drop_part(ws);
        r = bk_stream_close(&ws->stream, r);
    }
    bki_ws_zip_free(&ws->zip);
    bki_free(ws->target);
    bki_free(ws->protocol);
    bki_free(ws->extensions);
    bki_free(ws);
    return r;
}

/* ---- Questions ---- */

const char *bk_ws_target(const bk_ws *ws)
{
    return ws->target ? ws->target : "";
}

const char *bk_ws_protocol(const bk_ws *ws)
{
    return ws->protocol ? ws->protocol : "";
}

const char *bk_ws_extensions(const bk_ws *ws)
{
    return ws->extensions ? ws->extensions : "";
}

const char *bk_ws_peer(const bk_ws *ws)
{
    return bk_stream_peer(ws->stream);
}

int bk_ws_close_code(const bk_ws *ws)
{
    return ws->conn.close_code;
}

const char *bk_ws_close_reason(const bk_ws *ws)
{
    return bki_ws_reason(&ws->conn);
}

/* ---- Closing ---- */

/* Reads and drops what comes, until the peer ends the stream, or a moment has passed. */
static void wait_for_end(bk_stream *s)
{
    bk_timeout *limit = NULL;
    char buf[1024];
    ssize_t n;
    bki_buf_free(&s->in);
    if (bk_timeout_open(&limit, bk_ms(LINGER_MS)) < 0)
        return;
    while ((n = bk_stream_read(s, buf, sizeof buf)) > 0)
        ;
    bk_timeout_close(&limit, (int)n);
}

static int drop_messages(struct bk_ws *ws, void *out)
{
    struct bki_ws_event dropped;
    int r;
    (void)out;
    do {
        r = bki_ws_next_data(ws, (struct bki_ws_place){0}, &dropped);
    } while (r == 1);
    return r;
}

static int finish_handshake(struct bk_ws *ws)
{
    int r = ws->conn.sent_close ? 0 : bki_ws_begin_close(ws, NORMAL, bk_span_of(NULL, 0));
    return r < 0 ? r : bki_ws_receive(ws, drop_messages, NULL);
}

/* The orderly end, deaf to cancels.  The server is who ends the TCP connection (RFC 6455 7.1.1), so
 * that the client's port is free again. */
static int finish(void *ctx)
{
    struct bk_ws *ws = ctx;
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, ws->close_timeout);
    if (r < 0)
        return r;
    if (!ws->ended)
        r = finish_handshake(ws);
    if (r >= 0 && ws->end == 0 && ws->conn.role == BKI_WS_CLIENT)
        wait_for_end(ws->stream);
    r = bk_timeout_close(&limit, r);
    if (r == -ETIMEDOUT)
        bk_fail(r, "%s: no close frame within close_timeout", bk_ws_peer(ws));
    return r;
}

static int flush_shortly(void *ctx)
{
    struct bk_ws *ws = ctx;
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, bk_ms(PARTING_MS));
    return r < 0 ? r : bk_timeout_close(&limit, bk_stream_flush(ws->stream));
}

void bki_ws_linger(bk_stream *s)
{
    if (bk_stream_write_eof(s) == 0)
        wait_for_end(s);
}

void bki_ws_give_up(struct bk_ws *ws, int error)
{
    ws->given_up = error;
    bk_stream_abort(ws->stream);
    bki_ws_outbox_clear(ws);
}

void bki_ws_dismiss(struct bk_ws *ws, unsigned code, int error)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    bool blocked = ws->sending || bk_stream_unsent(ws->stream) > 0;
    ws->given_up = error;
    if (!blocked) {
        bk_span why = bk_span_str(bki_ws_why_given_up(error));
        ssize_t n = bki_ws_close_frame(&ws->conn, code, why, frame);
        if (n > 0)
            bki_stream_push(ws->stream, frame, (size_t)n);
        bk_stream_hang_up(ws->stream);
    }
    if (blocked || bk_stream_unsent(ws->stream) > 0)
        bki_ws_give_up(ws, error);
}

static void drop(struct bk_ws *ws, int r)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    unsigned code = r == -ECANCELED ? GOING_AWAY : INTERNAL_ERROR;
    if (!ws->ended) {
        ssize_t n = bki_ws_close_frame(&ws->conn, code, bk_span_of(NULL, 0), frame);
        if (n > 0)
            bki_stream_push(ws->stream, frame, (size_t)n);
    }
    if (bk_stream_unsent(ws->stream) > 0)
        bk_shield(flush_shortly, ws);
    if (ws->conn.result < 0)
        bki_ws_linger(ws->stream);
}

int bk_ws_close(bk_ws **wsp, int r)
{
    struct bk_ws *ws = *wsp;
    if (!ws)
        return r;
    if (bki_check_task() < 0)
        return -BK_ENOTASK;
    bool sending = ws->sending && !(ws->outbox && ws->outbox->has_turn);
    if (ws->receiver || sending || !bki_list_empty(&ws->send_line) ||
        !bki_list_empty(&ws->parts_line))
        return bk_fail(-EBUSY, "close of a WebSocket that another task is using");
    bki_ws_leave_hubs(ws);
    if (r >= 0 && ws->send_parts && !ws->ended)
        r = bk_fail(-BK_EINCOMPLETE, "%s: closed in the middle of a message", bk_ws_peer(ws));
    if (r >= 0 && !(ws->ended && ws->end < 0)) {
        int finished = bk_shield(finish, ws);
        r = finished < 0 ? finished : r;
    }
    /* Why it failed is what the caller wants to know, not how the parting went. */
    struct bki_error_slot *detail = &bki_self()->error, kept = *detail;
    detail->text = NULL;
    bool orderly = ws->ended && ws->end == 0;
    if (!orderly)
        drop(ws, r);
    else if (r < 0 && bk_stream_unsent(ws->stream) > 0)
        bk_shield(flush_shortly, ws);
    bki_error_slot_free(detail);
    *detail = kept;
    *wsp = NULL;
    /* The peer has said goodbye: what it does not read of ours any more, it does not want. */
    bki_ws_free(ws, orderly && r >= 0 ? 0 : -1);
    return r;
}
