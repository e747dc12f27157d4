/* SPDX-License-Identifier: MIT
 * Server-sent events, written: an endless reply that is kept alive. */
#include <stdio.h>

#include <beck/sse.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "proto/http_serve.h"

#define DEFAULT_KEEP_ALIVE_SECONDS 15
#define KEEP ((size_t)4096) /* memory for encoding that is kept */

struct bk_sse {
    struct bk_http_req *req;
    bk_duration keep_alive;
    bk_time sent; /* when something was sent last */
    struct bki_timer timer;
    struct bki_buf buf;
};

/* ---- Encoding ---- */

static bool is_line(bk_span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\n' || s.data[i] == '\r' || s.data[i] == '\0')
            return false;
    return bki_utf8_valid(s.data, s.len);
}

static int check_event(const bk_sse_event *event)
{
    if (!is_line(event->type))
        return bk_fail(-EINVAL, "an event's type is not one line of UTF-8");
    if (!is_line(event->id))
        return bk_fail(-EINVAL, "an event's id is not one line of UTF-8");
    if (!bki_utf8_valid(event->data.data, event->data.len))
        return bk_fail(-EINVAL, "an event's data is not UTF-8");
    if (event->retry.ns < 0)
        return bk_fail(-EINVAL, "a negative time to reconnect after");
    return 0;
}

/* Counts like snprintf: *n grows by what would be written. */
static void put(char *out, size_t *n, const char *name, bk_span value)
{
    bk_span parts[] = {bk_span_str(name), value, bk_span_str("\n")};
    for (size_t i = 0; i < 3; i++) {
        if (out && parts[i].len > 0)
            memcpy(out + *n, parts[i].data, parts[i].len);
        *n += parts[i].len;
    }
}

/* A line of data for each line of the text, whichever way they end. */
static void put_data(char *out, size_t *n, bk_span data)
{
    size_t at = 0;
    for (;;) {
        size_t end = at;
        while (end < data.len && data.data[end] != '\n' && data.data[end] != '\r')
            end++;
        put(out, n, "data: ", bk_span_of(data.data + at, end - at));
        if (end == data.len)
            return;
        bool both = data.data[end] == '\r' && end + 1 < data.len && data.data[end + 1] == '\n';
        at = end + 1 + both;
    }
}

/* Writes the event into out, or only counts when that is NULL.  Returns its length. */
static size_t encode(char *out, const bk_sse_event *event)
{
    size_t n = 0;
    char retry[24];
    if (event->retry.ns > 0) {
        int len = snprintf(retry, sizeof retry, "%lld", (long long)(event->retry.ns / 1000000));
        put(out, &n, "retry: ", bk_span_of(retry, (size_t)len));
    }
    if (event->id.len > 0)
        put(out, &n, "id: ", event->id);
    else if (event->clear_id)
        put(out, &n, "id", event->id);
    if (event->type.len > 0)
        put(out, &n, "event: ", event->type);
    if (event->data.data)
        put_data(out, &n, event->data);
    put(out, &n, "", bk_span_of(NULL, 0));
    return n;
}

int bk_sse_encode(bk_msg **out, const bk_sse_event *event)
{
    int r = check_event(event);
    if (r == 0)
        r = bk_msg_new(out, encode(NULL, event));
    if (r == 0)
        encode(bk_msg_data(*out), event);
    return r;
}

/* ---- Sending ---- */

/* 0 when something may be sent. */
static int check_open(struct bk_sse *sse)
{
    if (sse->req->server->draining)
        return bk_fail(-BK_ECLOSED, "the server is being stopped");
    if (sse->req->no_body) /* to HEAD */
        return bk_fail(-BK_ECLOSED, "the request asks for no events");
    return 0;
}

static int sent(struct bk_sse *sse, int r)
{
    if (r == 0)
        sse->sent = bk_now();
    return r;
}

static int send_bytes(struct bk_sse *sse, const void *data, size_t len)
{
    int r = check_open(sse);
    return r < 0 ? r : sent(sse, bk_http_reply_write(sse->req, data, len));
}

int bk_sse_send_event(bk_sse *sse, const bk_sse_event *event)
{
    int r = check_event(event);
    if (r < 0)
        return r;
    size_t n = encode(NULL, event);
    r = bki_buf_reserve(&sse->buf, n);
    if (r < 0)
        return bk_fail(r, "no memory for an event of %zu bytes", n);
    encode(bki_buf_end(&sse->buf), event);
    r = send_bytes(sse, bki_buf_end(&sse->buf), n);
    if (sse->buf.cap > KEEP)
        bki_buf_free(&sse->buf);
    return r;
}

int bk_sse_send(bk_sse *sse, const char *type, const char *data)
{
    return bk_sse_send_event(
        sse, &(bk_sse_event){.type = bk_span_str(type ? type : ""), .data = bk_span_str(data)});
}

int bk_sse_comment(bk_sse *sse, const char *text)
{
    char line[300];
    if (!is_line(bk_span_str(text)))
        return bk_fail(-EINVAL, "a comment is not one line of UTF-8");
    int n = snprintf(line, sizeof line, ": %s\n\n", text);
    if (n >= (int)sizeof line)
        return bk_fail(-EINVAL, "a comment of more than %zu bytes", sizeof line - 5);
    return send_bytes(sse, line, (size_t)n);
}

int bk_sse_send_msg(bk_sse *sse, const bk_msg *msg)
{
    bk_span bytes = bk_msg_span(msg);
    return send_bytes(sse, bytes.data, bytes.len);
}

int bk_sse_try_send_msg(bk_sse *sse, const bk_msg *msg)
{
    int r = check_open(sse);
    return r < 0 ? r : sent(sse, bki_http_try_write(sse->req, bk_msg_span(msg)));
}

/* ---- Life ---- */

static void keep_alive(struct bki_timer *timer)
{
    struct bk_sse *sse = bki_container(timer, struct bk_sse, timer);
    if (bk_time_since(bk_now(), sse->sent).ns >= sse->keep_alive.ns) {
        bki_http_try_write(sse->req, bk_span_str(":\n\n"));
        sse->sent = bk_now(); /* or the client is far behind, and needs no comment */
    }
    /* There is room for it: this timer has just left the heap. */
    bki_timer_start(bki_loop, timer, bk_time_add(sse->sent, sse->keep_alive).ns, keep_alive);
}

static int start(struct bk_sse *sse, const bk_sse_opts *opts)
{
    struct bk_http_req *req = sse->req;
    int r = bk_http_reply_header(req, "Content-Type", "text/event-stream");
    if (r == 0)
        r = bk_http_reply_header(req, "Cache-Control", "no-store");
    if (r == 0)
        r = bk_http_reply_start(req, 200, -1);
    if (r == 0 && opts && opts->retry.ns > 0 && !req->no_body)
        r = bk_sse_send_event(sse, &(bk_sse_event){.retry = opts->retry});
    sse->sent = bk_now();
    if (r == 0 && sse->keep_alive.ns != BK_FOREVER_NS)
        r = bki_timer_start(bki_loop, &sse->timer, bk_time_add(sse->sent, sse->keep_alive).ns,
                            keep_alive);
    return r;
}

int bk_sse_open(bk_sse **out, bk_http_req *req, const bk_sse_opts *opts)
{
    struct bk_sse *sse = bki_zalloc(sizeof *sse);
    if (!sse)
        return bk_fail(-ENOMEM, "no memory for an event stream");
    sse->req = req;
    sse->keep_alive = bk_seconds(DEFAULT_KEEP_ALIVE_SECONDS);
    if (opts && opts->keep_alive.ns > 0)
        sse->keep_alive = opts->keep_alive;
    bki_buf_init(&sse->buf, SIZE_MAX / 2);
    int r = start(sse, opts);
    if (r < 0)
        return bk_sse_close(&sse, r);
    *out = sse;
    return 0;
}

const char *bk_sse_last_id(const bk_sse *sse)
{
    const char *id = bk_http_req_header(sse->req, "Last-Event-ID");
    return id ? id : "";
}

int bk_sse_wait(bk_sse *sse)
{
    return bki_http_wait_left(sse->req);
}

static int wait_left(void *ctx)
{
    return bki_http_wait_left(ctx);
}

int bk_sse_sleep(bk_sse *sse, bk_duration duration)
{
    int r = bk_wait_for(wait_left, sse->req, duration);
    if (r == 0)
        return bk_fail(-BK_ECLOSED, "the client has left, or the server is being stopped");
    return r == -ETIMEDOUT ? 0 : r;
}

int bk_sse_close(bk_sse **sse, int r)
{
    struct bk_sse *s = *sse;
    *sse = NULL;
    if (!s)
        return r;
    struct bk_http_req *req = s->req;
    bki_timer_stop(bki_loop, &s->timer);
    bki_buf_free(&s->buf);
    bki_free(s);
    if (r == -BK_ECLOSED)
        r = 0;
    if (r < 0 || req->reply != BKI_REPLY_STARTED || req->broken)
        return r;
    if (req->stream->at_eof || req->stream->read_error) {
        req->broken = true; /* who should read the end has gone */
        return r;
    }
    int ended = bk_http_reply_end(req);
    return ended < 0 ? ended : r;
}
