/* SPDX-License-Identifier: MIT
 * The body of an HTTP response: framing taken off, compression undone, limits kept. */
#include "base/alloc.h"
#include "base/buf.h"
#include "proto/http_call.h"
#include "proto/http_chars.h"

#define FIRST_BODY ((size_t)16 * 1024)
#define MAX_CODINGS 2 /* each multiplies the work that a byte can make by a thousand */

/* The codings of the content in the order they were applied, "identity" apart.  Their number; 0
 * when there is one that we did not ask for: then the body is left as it comes. */
static int codings_of(const struct bk_http_call *call, enum bki_coding codings[MAX_CODINGS])
{
    static const char name[] = "Content-Encoding";
    const struct bki_http_head *h = &call->head;
    int n = 0;
    for (ssize_t i = bki_http_find(h, name, 0); i >= 0; i = bki_http_find(h, name, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value), coding;
        while (bki_http_list_next(&rest, &coding)) {
            if (bki_is_nocase(coding, "identity"))
                continue;
            int named = bki_coding_named(coding);
            if (named < 0)
                return 0;
            if (n == MAX_CODINGS)
                return bk_fail(-BK_ELIMIT, "%s: the body is compressed more than %d times",
                               call->target.shown, MAX_CODINGS);
            codings[n++] = (enum bki_coding)named;
        }
    }
    return n;
}

int bki_http_reply_begin(struct bk_http_call *call)
{
    bki_http_reader_init(&call->reader, call->conn->stream, call->kind, call->head.content_length,
                         true, 0);
    if (call->kind == BKI_HTTP_BODY_TUNNEL || call->kind == BKI_HTTP_BODY_NONE)
        return 0;
    enum bki_coding codings[MAX_CODINGS];
    int n = call->own_coding ? 0 : codings_of(call, codings), r = n < 0 ? n : 0;
    for (int i = 0; i < n && r == 0; i++)
        r = bki_inflate_add(&call->inflate, codings[i]);
    return r;
}

/* ---- Reading ---- */

/* Decompresses what is there into buf; reads on until something comes out. */
static ssize_t read_inflated(struct bk_http_call *call, void *buf, size_t len)
{
    for (;;) {
        bk_span in;
        size_t used, made;
        int r = bki_http_reader_peek(&call->reader, &in);
        if (r < 0)
            return r;
        if (r == 0)
            in = bk_span_str("");
        int decoded = bki_inflate_next(call->inflate, in.data, in.len, &used, buf, len, &made);
        if (decoded < 0)
            return decoded;
        if (r == 1)
            bki_http_reader_took(&call->reader, used);
        if (made > 0)
            return (ssize_t)made;
        if (r == 0)
            return bki_inflate_end(call->inflate);
    }
}

static ssize_t read_body(struct bk_http_call *call, void *buf, size_t len)
{
    return call->inflate ? read_inflated(call, buf, len)
                         : bki_http_reader_read(&call->reader, buf, len);
}

/* A cancel leaves everything as it was; any other failure is the body's end. */
static ssize_t fail_body(struct bk_http_call *call, ssize_t r)
{
    if (r == -ECANCELED || r == -EINVAL)
        return r;
    call->body_error = (int)r;
    return bk_fail((int)r, "%s: %s", call->target.shown, bk_errmsg());
}

ssize_t bk_http_call_read(bk_http_call *call, void *buf, size_t len)
{
    if (!call->answered)
        return bk_fail(-EINVAL, "no response has come yet");
    if (call->body_error < 0)
        return bk_fail(call->body_error, "%s: the body failed before", call->target.shown);
    if (len == 0)
        return bk_fail(-EINVAL, "read of 0 bytes");
    if (call->kind == BKI_HTTP_BODY_TUNNEL || call->kind == BKI_HTTP_BODY_NONE || !call->conn)
        return 0;
    bk_timeout *limit = NULL;
    ssize_t n = bk_timeout_open(&limit, call->stall_timeout);
    if (n < 0)
        return n;
    n = read_body(call, buf, len);
    int r = bk_timeout_close(&limit, n < 0 ? (int)n : 0);
    if (r == -ETIMEDOUT)
        bk_fail(r, "no more of the body came within %lld ms",
                (long long)(call->stall_timeout.ns / 1000000));
    return r < 0 ? fail_body(call, r) : n;
}

/* ---- All of it ---- */

static int over_limit(const struct bk_http_call *call)
{
    return bk_fail(-BK_ELIMIT, "%s: the body is over max_body (%zu bytes)", call->target.shown,
                   call->max_body);
}

/* How much to expect: what the head says, if it may be believed. */
static size_t first_size(const struct bk_http_call *call)
{
    int64_t told = call->head.content_length;
    if (call->inflate || call->kind != BKI_HTTP_BODY_LENGTH || told < 0)
        return FIRST_BODY;
    return (uint64_t)told < FIRST_BODY ? (size_t)told + 1 : FIRST_BODY;
}

/* body may take a byte more than the limit, which tells that there is one. */
static int read_all(struct bk_http_call *call, struct bki_buf *body)
{
    size_t want = first_size(call);
    for (;;) {
        size_t most = bki_buf_limit_left(body);
        int r = bki_buf_room(body) > 0 ? 0 : bki_buf_reserve(body, want < most ? want : most);
        if (r < 0)
            return r;
        size_t room = bki_buf_room(body) < most ? bki_buf_room(body) : most;
        ssize_t n = bk_http_call_read(call, bki_buf_end(body), room);
        if (n <= 0)
            return (int)n;
        bki_buf_commit(body, (size_t)n);
        if (bki_buf_len(body) > call->max_body)
            return over_limit(call);
        want = 1;
    }
}

int bk_http_call_body(bk_http_call *call, bk_msg **out)
{
    struct bki_buf body;
    if (!call->inflate && call->answered && call->kind == BKI_HTTP_BODY_LENGTH &&
        (uint64_t)call->head.content_length > call->max_body)
        return over_limit(call);
    bki_buf_init(&body, call->max_body + 1);
    int r = read_all(call, &body);
    if (r == 0)
        r = bk_msg_copy(out, bki_buf_start(&body), bki_buf_len(&body));
    bki_buf_free(&body);
    return r;
}

/* ---- What it says about itself ---- */

int bk_http_call_status(const bk_http_call *call)
{
    return call->answered ? call->head.status : 0;
}

const char *bk_http_call_reason(const bk_http_call *call)
{
    return call->answered ? bki_http_text(&call->headers, call->head.reason) : "";
}

const bk_http_headers *bk_http_call_headers(const bk_http_call *call)
{
    return &call->headers;
}

const bk_http_headers *bk_http_call_trailers(const bk_http_call *call)
{
    return &call->reader.trailers;
}

const char *bk_http_call_url(const bk_http_call *call)
{
    return call->target.shown;
}

int bk_http_call_check(const bk_http_call *call)
{
    int status = bk_http_call_status(call);
    if (status / 100 == 2)
        return 0;
    return bk_fail(-BK_EREFUSED, "%s: the server answered %d %s", call->target.shown, status,
                   bk_http_call_reason(call));
}

int bk_http_call_take_stream(bk_http_call *call, bk_stream **out)
{
    if (!call->answered || call->kind != BKI_HTTP_BODY_TUNNEL || !call->conn)
        return bk_fail(-EINVAL, "%s: the response does not hand the connection over",
                       call->target.shown);
    *out = bki_http_pool_detach(call->client, &call->conn);
    return 0;
}
