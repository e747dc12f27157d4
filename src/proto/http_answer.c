/* SPDX-License-Identifier: MIT
 * Replies: heads made, bodies framed, and what goes out when. */
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "proto/http_chars.h"
#include "proto/http_serve.h"
#include "proto/http_write.h"

#define GATHER ((size_t)16 * 1024) /* bytes that may be pending */
#define KEEP ((size_t)4096)        /* memory that a connection keeps from one reply to the next */
#define FIRST_HEAD 512             /* room for most heads */
#define S bk_span_str

/* ---- Sending ---- */

static int wait_for_room(void *ctx)
{
    struct bk_http_req *req = ctx;
    return bki_stream_wait_unsent(req->stream, req->stream->write_buffer / 4);
}

/* Suspends until the stream may take more, as long as the client's pace allows. */
static int wait_paced(struct bk_http_req *req)
{
    struct bki_http_pace *pace = &req->reply_pace;
    bool moved;
    int r;
    do {
        int64_t start = bk_now().ns;
        size_t before = bki_stream_unacked(req->stream);
        r = bk_wait_for(wait_for_room, req, bki_http_pace_left(req->server, pace));
        size_t after = bki_stream_unacked(req->stream);
        pace->waited_ns += bk_now().ns - start;
        moved = before > after;
        pace->bytes += moved ? before - after : 0;
    } while (r == -ETIMEDOUT && moved && bki_http_pace_left(req->server, pace).ns > 0);
    if (r != -ETIMEDOUT)
        return r;
    bk_fail(r, "%s: the client takes the reply too slowly", bk_stream_peer(req->stream));
    bk_stream_abort(req->stream);
    return r;
}

static size_t size_of(const bk_span *pieces, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += pieces[i].len;
    return size;
}

/* Gives the stream what is pending and up to `most` bytes of the pieces, which lose them. */
static int push_some(struct bk_http_req *req, bk_span *pieces, size_t n, size_t most)
{
    bk_span now[4] = {bki_buf_span(&req->pending)};
    size_t n_now = 1, size = now[0].len;
    for (size_t i = 0; i < n && most > 0; i++) {
        size_t len = pieces[i].len < most ? pieces[i].len : most;
        now[n_now++] = bk_span_of(pieces[i].data, len);
        pieces[i] = bk_span_of(pieces[i].data + len, pieces[i].len - len);
        most -= len;
        size += len;
    }
    int r = bki_stream_pushv(req->stream, now, n_now);
    req->gone = true;
    bki_buf_consume(&req->pending, now[0].len);
    req->n_sent += size;
    if (r < 0)
        req->broken = true;
    return r;
}

/* Sends what is pending and the pieces, three at most. */
static int send_all(struct bk_http_req *req, bk_span *pieces, size_t n)
{
    struct bk_stream *s = req->stream;
    int r = bki_check_cancel();
    if (req->sending)
        return bk_fail(-EBUSY, "another task is sending a piece of this reply");
    req->sending = true;
    do {
        if (r == 0 && bki_stream_unsent(s) > s->write_buffer / 4)
            r = wait_paced(req);
        if (r == 0)
            r = push_some(req, pieces, n, s->write_buffer - s->write_buffer / 4);
    } while (r == 0 && size_of(pieces, n) > 0);
    req->sending = false;
    if (r < 0)
        req->broken = true;
    else
        bki_stream_breathe(s);
    return r;
}

int bki_http_flush(struct bk_http_req *req)
{
    return bki_buf_len(&req->pending) > 0 ? send_all(req, NULL, 0) : 0;
}

int bki_http_push(struct bk_http_req *req)
{
    if (bki_buf_len(&req->pending) == 0 || !req->stream)
        return 0;
    return push_some(req, NULL, 0, 0);
}

/* The task has given way, or ended. */
static void flush_called(struct bki_call *call)
{
    struct bk_http_req *req = bki_container(call, struct bk_http_req, flush_call);
    req->flush_queued = false;
    if (bki_http_push(req) < 0 && req->waiting)
        bki_stream_interrupt(req->stream);
}

/* After r == 0: what is pending goes out when the task gives way. */
static int send_soon(struct bk_http_req *req, int r)
{
    if (r == 0 && !req->flush_queued) {
        req->flush_queued = true;
        bki_call_push(bki_loop, &req->flush_call);
    }
    return r;
}

/* Adds the pieces to what is pending: all, or none. */
static int gather(struct bk_http_req *req, const bk_span *pieces, size_t n)
{
    size_t size = size_of(pieces, n);
    int r = bki_buf_reserve(&req->pending, size);
    if (r < 0)
        return bk_fail(r, "no memory for %zu bytes of a reply", size);
    for (size_t i = 0; i < n; i++)
        bki_buf_append(&req->pending, pieces[i].data, pieces[i].len);
    return 0;
}

/* Adds the pieces to what is pending, or sends them at once when they are many bytes. */
static int put(struct bk_http_req *req, bk_span *pieces, size_t n)
{
    size_t size = size_of(pieces, n);
    if (req->sending || bki_buf_len(&req->pending) + size > GATHER)
        return send_all(req, pieces, n);
    int r = bki_check_cancel();
    if (r == 0)
        r = gather(req, pieces, n);
    if (r < 0)
        req->broken = true;
    return r;
}

/* ---- Heads ---- */

/* The text of the time is made once for each second. */
static bk_span date_now(struct bki_http_server *server)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != server->date_second || !server->date[0]) {
        bki_http_date(server->date, now.tv_sec);
        server->date_second = now.tv_sec;
    }
    return S(server->date);
}

static void write_connection(struct bki_http_writer *w, const struct bk_http_req *req)
{
    bool upgrade = bk_http_headers_get(&req->out, "Upgrade") && req->head.minor >= 1;
    if (req->close)
        bki_http_write_field(w, S("Connection"), S(upgrade ? "close, upgrade" : "close"));
    else if (upgrade)
        bki_http_write_field(w, S("Connection"), S("upgrade"));
    else if (req->head.minor == 0)
        bki_http_write_field(w, S("Connection"), S("keep-alive"));
}

/* RFC 9110 8.6 and RFC 9112 6.1: who may say how long it is. */
static void write_framing(struct bki_http_writer *w, const struct bk_http_req *req, int status,
                          int64_t len)
{
    if (status == 204 || (status == 304 && len <= 0))
        return;
    if (len >= 0)
        bki_http_write_number(w, S("Content-Length"), (uint64_t)len);
    else if (req->reply_kind == BKI_HTTP_BODY_CHUNKED && status != 304)
        bki_http_write_field(w, S("Transfer-Encoding"), S("chunked"));
}

static ssize_t write_reply(struct bki_http_writer *w, struct bk_http_req *req, int status,
                           int64_t len)
{
    static const char *const ours[] = {"Connection", NULL};
    bki_http_write_status(w, status, S(""));
    if (!bk_http_headers_get(&req->out, "Date"))
        bki_http_write_field(w, S("Date"), date_now(req->server));
    write_connection(w, req);
    write_framing(w, req, status, len);
    bki_http_write_headers(w, &req->out, ours);
    return bki_http_write_end(w);
}

static ssize_t write_interim(struct bki_http_writer *w, int status, const bk_http_headers *headers)
{
    bki_http_write_status(w, status, S(""));
    if (headers)
        bki_http_write_headers(w, headers, NULL);
    return bki_http_write_end(w);
}

/* Makes a head in the room behind what is pending, which is enlarged if need be. */
static int put_head(struct bk_http_req *req, int status, int64_t len,
                    const bk_http_headers *interim)
{
    ssize_t n = FIRST_HEAD;
    for (;;) {
        struct bki_http_writer w;
        int r = bki_buf_reserve(&req->pending, (size_t)n);
        if (r < 0)
            return bk_fail(r, "no memory for %zd bytes of a reply's head", n);
        bki_http_write_init(&w, bki_buf_end(&req->pending), bki_buf_room(&req->pending));
        n = status >= 200 ? write_reply(&w, req, status, len) : write_interim(&w, status, interim);
        if (n < 0)
            return bk_fail(-EINVAL, "a reply's head: %s", w.fault);
        if ((size_t)n <= w.cap)
            break;
    }
    bki_buf_commit(&req->pending, (size_t)n);
    return 0;
}

/* ---- One reply after the other ---- */

void bki_http_answer_init(struct bk_http_req *req)
{
    bki_buf_init(&req->pending, SIZE_MAX / 2);
    req->flush_call.go = flush_called;
}

void bki_http_answer_begin(struct bk_http_req *req)
{
    bki_http_headers_clear(&req->out);
    bki_http_headers_clear(&req->out_trailers);
    req->reply = BKI_REPLY_NONE;
    req->reply_pace = (struct bki_http_pace){0};
    req->no_body = false;
    if (bki_buf_len(&req->pending) == 0 && req->pending.cap > KEEP)
        bki_buf_free(&req->pending);
    if (req->out.cap > KEEP)
        bki_http_headers_release(&req->out);
}

void bki_http_answer_release(struct bk_http_req *req)
{
    while (req->flush_queued)
        bki_give_way(bki_loop);
    bki_buf_free(&req->pending);
    bki_http_headers_release(&req->out);
    bki_http_headers_release(&req->out_trailers);
}

int bki_http_check_unanswered(const struct bk_http_req *req)
{
    if (req->taken)
        return bk_fail(-EINVAL, "the connection has been handed over");
    if (req->reply != BKI_REPLY_NONE)
        return bk_fail(-EINVAL, "a reply has been started already");
    return 0;
}

/* Fields by which a message is framed. */
static bool is_framing(const char *name)
{
    return bki_is_nocase(S(name), "Content-Length") || bki_is_nocase(S(name), "Transfer-Encoding");
}

static int add_header(struct bk_http_req *req, const char *name, const char *value,
                      int (*add)(bk_http_headers *headers, const char *name, const char *value))
{
    int r = bki_http_check_unanswered(req);
    if (r < 0)
        return r;
    if (is_framing(name))
        return bk_fail(-EINVAL, "%s: the server sends it itself", name);
    return add(&req->out, name, value);
}

int bk_http_reply_header(bk_http_req *req, const char *name, const char *value)
{
    return add_header(req, name, value, bk_http_headers_set);
}

int bk_http_reply_add_header(bk_http_req *req, const char *name, const char *value)
{
    return add_header(req, name, value, bk_http_headers_add);
}

/* Whether another request may follow: known when the head is made (RFC 9112 9.3). */
static void decide_close(struct bk_http_req *req)
{
    if (req->server->draining || req->reply_kind == BKI_HTTP_BODY_UNTIL_CLOSE ||
        bk_http_headers_has(&req->out, "Connection", "close"))
        req->close = true;
    /* It may send the body after all, or not: RFC 9110 10.1.1. */
    if (req->expects && bki_stream_buffered(req->stream) == 0)
        req->close = true;
}

static int start_reply(struct bk_http_req *req, int status, int64_t len)
{
    int r = bki_http_check_unanswered(req);
    if (r < 0)
        return r;
    if (status < 200 || status > 999 || len < -1)
        return bk_fail(-EINVAL, "a reply with status %d and %lld bytes", status, (long long)len);
    if (status == 205)
        len = 0; /* RFC 9110 15.3.6 */
    req->no_body = req->is_head || status == 204 || status == 304;
    req->reply_kind = len >= 0               ? BKI_HTTP_BODY_LENGTH
                      : req->head.minor >= 1 ? BKI_HTTP_BODY_CHUNKED
                      : req->no_body         ? BKI_HTTP_BODY_NONE
                                             : BKI_HTTP_BODY_UNTIL_CLOSE;
    req->left = len;
    decide_close(req);
    req->reply_at = bki_buf_len(&req->pending);
    req->gone = false;
    r = put_head(req, status, len, NULL);
    if (r == 0)
        req->reply = BKI_REPLY_STARTED;
    return r;
}

int bk_http_reply_start(bk_http_req *req, int status, int64_t len)
{
    return send_soon(req, start_reply(req, status, len));
}

/* 0 when a body may be written. */
static int check_started(const struct bk_http_req *req)
{
    if (req->reply != BKI_REPLY_STARTED)
        return bk_fail(-EINVAL, req->reply == BKI_REPLY_NONE ? "no reply has been started"
                                                             : "the reply has ended");
    if (req->broken)
        return bk_fail(-EPIPE, "an earlier write of this reply failed");
    return 0;
}

/* The pieces that a piece of the body is sent as: with size the line before a chunk. */
static void frame(const struct bk_http_req *req, bk_span data, char size[BKI_HTTP_CHUNK_HEAD],
                  bk_span pieces[3])
{
    pieces[0] = pieces[2] = (bk_span){0};
    pieces[1] = data;
    if (req->reply_kind == BKI_HTTP_BODY_CHUNKED) {
        pieces[0] = bk_span_of(size, bki_http_chunk_head(size, data.len));
        pieces[2] = S("\r\n");
    }
}

static int write_body(struct bk_http_req *req, const void *data, size_t len)
{
    char size[BKI_HTTP_CHUNK_HEAD];
    bk_span pieces[3];
    int r = check_started(req);
    if (r < 0 || len == 0)
        return r;
    if (req->reply_kind == BKI_HTTP_BODY_LENGTH) {
        if (len > (uint64_t)req->left)
            return bk_fail(-EINVAL, "a reply of %zu bytes more than its length",
                           len - (size_t)req->left);
        req->left -= (int64_t)len;
    }
    if (req->no_body)
        return bki_check_cancel();
    frame(req, bk_span_of(data, len), size, pieces);
    return put(req, pieces, 3);
}

int bk_http_reply_write(bk_http_req *req, const void *data, size_t len)
{
    return send_soon(req, write_body(req, data, len));
}

int bki_http_try_write(struct bk_http_req *req, bk_span data)
{
    char size[BKI_HTTP_CHUNK_HEAD];
    bk_span pieces[3];
    int r = check_started(req);
    if (r < 0 || data.len == 0 || req->no_body)
        return r;
    size_t behind = bki_stream_unsent(req->stream) + bki_buf_len(&req->pending);
    if (req->sending || (behind > 0 && behind + data.len > req->stream->write_buffer))
        return -EAGAIN;
    frame(req, data, size, pieces);
    if (bki_buf_len(&req->pending) + size_of(pieces, 3) > GATHER)
        return push_some(req, pieces, 3, SIZE_MAX);
    return send_soon(req, gather(req, pieces, 3));
}

/* Fields that say how to read a message, or whose it is, come before it: RFC 9110 6.5.1. */
static bool belongs_ahead(const char *name)
{
    static const char *const names[] = {"Host",
                                        "Trailer",
                                        "Connection",
                                        "Cache-Control",
                                        "Set-Cookie",
                                        "Content-Encoding",
                                        "Content-Type",
                                        "Content-Range",
                                        "Authorization",
                                        "WWW-Authenticate",
                                        NULL};
    return bki_is_one_of(S(name), names) || is_framing(name);
}

int bk_http_reply_trailer(bk_http_req *req, const char *name, const char *value)
{
    int r = check_started(req);
    if (r < 0)
        return r;
    if (belongs_ahead(name))
        return bk_fail(-EINVAL, "%s does not belong behind a body", name);
    r = bk_http_headers_add(&req->out_trailers, name, value);
    return r < 0 ? r : req->reply_kind == BKI_HTTP_BODY_CHUNKED && !req->no_body;
}

static int put_last_chunk(struct bk_http_req *req)
{
    bk_span start = S("0\r\n"), end = S("\r\n");
    int r = put(req, &start, 1);
    for (size_t i = 0; i < req->out_trailers.n && r == 0; i++) {
        const char *name, *value;
        bk_http_headers_at(&req->out_trailers, i, &name, &value);
        bk_span line[] = {S(name), S(": "), S(value)};
        r = put(req, line, 3);
        if (r == 0)
            r = put(req, (bk_span[]){end}, 1);
    }
    return r < 0 ? r : put(req, &end, 1);
}

int bk_http_reply_end(bk_http_req *req)
{
    int r = check_started(req);
    if (r < 0)
        return r;
    if (!req->no_body && req->reply_kind == BKI_HTTP_BODY_LENGTH && req->left > 0) {
        req->broken = true;
        return bk_fail(-EINVAL, "a reply ends %lld bytes before its length", (long long)req->left);
    }
    if (!req->no_body && req->reply_kind == BKI_HTTP_BODY_CHUNKED)
        r = put_last_chunk(req);
    if (r < 0)
        return r;
    req->reply = BKI_REPLY_ENDED;
    /* More requests are there: their replies go out together, when the task gives way. */
    bool more = req->body.over && !req->close && bki_stream_buffered(req->stream) > 0;
    return more ? send_soon(req, 0) : bki_http_flush(req);
}

int bk_http_reply(bk_http_req *req, int status, const char *type, const void *body, size_t len)
{
    if (len > 0 && (status == 204 || status == 205 || status == 304))
        return bk_fail(-EINVAL, "a reply with status %d has no body", status);
    if (len > INT64_MAX)
        return bk_fail(-EINVAL, "a reply of %zu bytes", len);
    int r = type ? bk_http_reply_header(req, "Content-Type", type) : 0;
    if (r == 0)
        r = start_reply(req, status, (int64_t)len);
    if (r == 0)
        r = write_body(req, body, len);
    return r < 0 ? r : bk_http_reply_end(req);
}

int bk_http_reply_text(bk_http_req *req, int status, const char *text)
{
    return bk_http_reply(req, status, "text/plain; charset=utf-8", text, strlen(text));
}

void bki_http_answer_take_back(struct bk_http_req *req)
{
    if (req->reply != BKI_REPLY_STARTED || req->gone)
        return;
    bki_buf_truncate(&req->pending, req->reply_at);
    req->reply = BKI_REPLY_NONE;
    req->broken = false;
}

/* ---- In between ---- */

int bk_http_reply_interim(bk_http_req *req, int status, const bk_http_headers *headers)
{
    int r = bki_http_check_unanswered(req);
    if (r < 0)
        return r;
    if (status < 100 || status > 199 || status == 101)
        return bk_fail(-EINVAL, "%d is no interim status", status);
    if (req->head.minor == 0) /* RFC 9110 15.2 */
        return bki_check_cancel();
    if (status == 100)
        req->expects = false;
    r = put_head(req, status, 0, headers);
    return r < 0 ? r : bki_http_flush(req);
}

int bki_http_answer_continue(struct bk_http_req *req)
{
    if (!req->expects || req->reply != BKI_REPLY_NONE)
        return 0;
    req->expects = false;
    if (bki_stream_buffered(req->stream) > 0) /* it has not waited */
        return 0;
    return bk_http_reply_interim(req, 100, NULL);
}

int bki_http_answer_error(struct bk_http_req *req, int status, const char *what)
{
    char text[300];
    int n = snprintf(text, sizeof text, "%d %s%s%s\n", status, bki_http_reason(status),
                     what[0] ? ": " : "", what);
    return bk_http_reply(req, status, "text/plain; charset=utf-8", text,
                         n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

int bki_http_answer_fault(struct bk_http_req *req, int status, const char *what)
{
    req->fault_status = status;
    return bki_http_answer_error(req, status, what);
}

/* ---- Handing the connection over ---- */

static bool asks_for(const struct bk_http_req *req, const char *protocol)
{
    return req->head.minor >= 1 && bki_http_has_token(&req->head, "Upgrade", protocol) &&
           bki_http_has_token(&req->head, "Connection", "Upgrade");
}

void bki_http_hand_over(struct bk_http_req *req)
{
    req->taken = req->close = true;
    *req->slot = req->stream = NULL;
    bki_buf_free(&req->pending);
    bki_http_headers_release(&req->out);
}

int bk_http_req_upgrade(bk_http_req *req, const char *protocol, bk_stream **out)
{
    int r = bki_http_check_unanswered(req);
    if (r < 0)
        return r;
    if (!asks_for(req, protocol) || !req->body.over)
        return bk_fail(-BK_EPROTO, "%s: no request to upgrade to %s", bk_http_req_peer(req),
                       protocol);
    r = bk_http_headers_set(&req->out, "Upgrade", protocol);
    if (r == 0)
        r = bk_http_headers_set(&req->out, "Connection", "Upgrade");
    if (r == 0)
        r = put_head(req, 101, 0, &req->out);
    if (r == 0)
        r = bki_http_flush(req);
    if (r < 0)
        return r;
    *out = req->stream;
    bki_http_hand_over(req);
    return 0;
}
