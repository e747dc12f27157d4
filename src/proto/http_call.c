/* SPDX-License-Identifier: MIT
 * One HTTP exchange on one connection: the request goes out, the response's head comes in. */
#include "proto/http_call.h"

#include <poll.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "net/stream.h"
#include "proto/http_chars.h"
#include "proto/http_read.h"
#include "proto/http_send.h"

#define PIECE ((size_t)64 * 1024)
#define CONTINUE_SECONDS 1

/* ---- The request's head ---- */

struct outgoing {
    const struct bk_http_call *call;
    const struct bki_http_request *request;
    const char *authorization, *proxy_authorization;
};

/* What says where the body ends, and who speaks to whom, is the client's own business. */
static const char *const reserved[] = {"Content-Length",
                                       "Transfer-Encoding",
                                       "Expect",
                                       "Proxy-Authorization",
                                       "Keep-Alive",
                                       "TE",
                                       NULL};
static const char *const credentials[] = {"Authorization", "Cookie", "Host", NULL};
static const char *const of_a_body[] = {
    "Content-Type",   "Content-Encoding", "Content-Language", "Content-Location",
    "Content-Digest", "Digest",           "Last-Modified",    NULL};

/* What is left of the caller's fields behind a redirect (RFC 9110 15.4). */
static bool goes_along(const struct outgoing *out, const char *name)
{
    return !(out->request->foreign && bki_is_one_of(bk_span_str(name), credentials)) &&
           !(out->request->bodiless && bki_is_one_of(bk_span_str(name), of_a_body));
}

static bool has(const struct outgoing *out, const char *name)
{
    return out->request->headers && bk_http_headers_get(out->request->headers, name) &&
           goes_along(out, name);
}

static void write_default(struct bki_http_writer *w, const struct outgoing *out, const char *name,
                          const char *value)
{
    if (value && !has(out, name))
        bki_http_write_field(w, bk_span_str(name), bk_span_str(value));
}

static void write_users(struct bki_http_writer *w, const struct outgoing *out)
{
    const char *name, *value;
    for (size_t i = 0; bk_http_headers_at(out->request->headers, i, &name, &value); i++) {
        if (bki_is_one_of(bk_span_str(name), reserved))
            bki_http_write_fault(w, "this header field is the client's own to send");
        else if (goes_along(out, name))
            bki_http_write_field(w, bk_span_str(name), bk_span_str(value));
    }
}

static void write_framing(struct bki_http_writer *w, const struct bk_http_call *call)
{
    static const char *const with_body[] = {"POST", "PUT", "PATCH", NULL};
    if (call->body_len < 0)
        bki_http_write_field(w, bk_span_str("Transfer-Encoding"), bk_span_str("chunked"));
    else if (call->body_len > 0 || call->streamed ||
             bki_is_one_of(bk_span_str(call->method), with_body))
        bki_http_write_number(w, bk_span_str("Content-Length"), (uint64_t)call->body_len);
    if (call->expect && call->body_len != 0)
        bki_http_write_field(w, bk_span_str("Expect"), bk_span_str("100-continue"));
}

/* A proxy is asked with the whole URL (RFC 9112 3.2.2), CONNECT names an authority, and OPTIONS
 * without a path is about the whole server (3.2.4). */
static void write_line(struct bki_http_writer *w, const struct bk_http_call *call)
{
    bk_span method = bk_span_str(call->method);
    bool whole = call->target.bare && strcmp(call->method, "OPTIONS") == 0;
    if (strcmp(call->method, "CONNECT") == 0) {
        bki_http_write_request(w, method, bk_span_str(call->target.address));
    } else if (call->by_proxy && !call->target.secure) {
        char *url =
            bki_text_join("http://%s%s", call->target.authority, whole ? "" : call->target.path);
        bki_http_write_request(w, method, bk_span_str(url ? url : "*"));
        if (!url)
            bki_http_write_fault(w, "out of memory");
        bki_free(url);
    } else {
        bki_http_write_request(w, method, bk_span_str(whole ? "*" : call->target.path));
    }
}

static ssize_t write_head(struct bki_http_writer *w, const void *what)
{
    const struct outgoing *out = what;
    const struct bk_http_call *call = out->call;
    write_line(w, call);
    write_default(w, out, "Host", call->target.authority);
    write_default(w, out, "User-Agent", call->client->user_agent);
    write_default(w, out, "Accept", "*/*");
    if (call->ranged || !call->own_coding)
        write_default(w, out, "Accept-Encoding", call->ranged ? "identity" : "gzip, deflate");
    write_default(w, out, "Authorization", out->authorization);
    if (out->proxy_authorization)
        bki_http_write_field(w, bk_span_str("Proxy-Authorization"),
                             bk_span_str(out->proxy_authorization));
    if (out->request->headers)
        write_users(w, out);
    write_framing(w, call);
    return bki_http_write_end(w);
}

static int make_authorization(char **out, const struct bk_http_call *call,
                              const struct bki_http_request *request)
{
    if (request->foreign)
        return 0;
    if (request->bearer)
        *out = bki_text_join("Bearer %s", request->bearer);
    else if (request->user || request->password)
        *out = bki_http_basic(request->user, request->password);
    else if (call->target.user)
        *out = bki_http_basic(call->target.user, call->target.password);
    else
        return 0;
    return *out ? 0 : bk_fail(-ENOMEM, "no memory for credentials");
}

static int send_head(struct bk_http_call *call, const struct bki_http_request *request,
                     bk_span body)
{
    char *authorization = NULL, *proxy_authorization = NULL;
    int r = make_authorization(&authorization, call, request);
    if (r == 0 && call->by_proxy && !call->target.secure && call->proxy.user &&
        !(proxy_authorization = bki_http_basic(call->proxy.user, call->proxy.password)))
        r = bk_fail(-ENOMEM, "no memory for credentials");
    struct outgoing out = {call, request, authorization, proxy_authorization};
    if (r == 0)
        r = bki_http_send(call->conn->stream, write_head, &out, body, call->target.shown);
    bki_free(authorization);
    bki_free(proxy_authorization);
    return r;
}

/* ---- The request's body ---- */

/* Drops informational responses that have come.  Whether another one, or nonsense, is there. */
static bool skip_informational(struct bk_stream *s)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head head;
    while (bki_stream_buffered(s) > 0) {
        bk_span in = bki_buf_span(&s->in);
        bki_http_init(&head, BKI_HTTP_RESPONSE, fields, BKI_HTTP_MAX_FIELDS, NULL);
        int r = bki_http_feed(&head, in.data, in.len);
        if (r == 0)
            return false;
        if (r < 0 || head.status >= 200 || head.status == 101)
            return true;
        bk_stream_consume(s, head.len);
    }
    return false;
}

/* Whether the server has answered, or gone: looked at between pieces of a long body.  That it has
 * said something is not enough: hints may come meanwhile, and what a protocol below has to say. */
static bool has_answered(struct bk_stream *s)
{
    struct pollfd p = {.fd = bk_stream_fd(s), .events = POLLIN | POLLRDHUP};
    int r = 1;
    while (r == 1 && !skip_informational(s)) {
        if (poll(&p, 1, 0) <= 0)
            return false;
        s->fd.maybe_readable = true;
        r = bki_stream_fill_now(s);
    }
    return r != -EAGAIN && r != -ECANCELED; /* of a cancel the write tells */
}

/* A server that ends the connection while the body comes has mostly answered before. */
static bool is_gone(int r)
{
    return r == -EPIPE || r == -ECONNRESET;
}

static int send_body(struct bk_http_call *call, bk_span body)
{
    bk_stream *s = call->conn->stream;
    while (body.len > 0) {
        size_t n = body.len < PIECE ? body.len : PIECE;
        if (call->body_sent > 0 && has_answered(s)) {
            call->broken = true; /* the rest will not be sent, so nothing can follow it */
            return 0;
        }
        int r = bk_stream_write(s, body.data, n);
        if (r < 0) {
            call->broken = true;
            return is_gone(r) ? 0 : r;
        }
        call->body_sent += (int64_t)n;
        body = bk_span_of(body.data + n, body.len - n);
    }
    return 0;
}

/* The end that a chunked body needs, or the check of a counted one. */
int bki_http_end_body(struct bk_http_call *call)
{
    int r = 0;
    if (call->answered || call->broken)
        return 0;
    if (call->body_len < 0)
        r = bk_stream_write(call->conn->stream, "0\r\n\r\n", 5);
    else if (call->body_sent < call->body_len)
        return bk_fail(-EINVAL, "%s: %lld bytes of the body are missing", call->target.shown,
                       (long long)(call->body_len - call->body_sent));
    call->body_done = r == 0;
    call->broken = r < 0;
    return is_gone(r) ? 0 : r;
}

static int write_piece(struct bk_http_call *call, const void *data, size_t len)
{
    char head[BKI_HTTP_CHUNK_HEAD];
    if (call->body_len >= 0)
        return bk_stream_write(call->conn->stream, data, len);
    const bk_span pieces[] = {bk_span_of(head, bki_http_chunk_head(head, len)),
                              bk_span_of(data, len), bk_span_str("\r\n")};
    return bk_stream_writev(call->conn->stream, pieces, 3);
}

int bk_http_call_write(bk_http_call *call, const void *data, size_t len)
{
    if (!call->streamed || call->body_done)
        return bk_fail(-EINVAL, "%s: no body is being sent", call->target.shown);
    if (call->body_len >= 0 && (uint64_t)(call->body_len - call->body_sent) < len)
        return bk_fail(-EINVAL, "%s: more than the %lld bytes of body that were announced",
                       call->target.shown, (long long)call->body_len);
    if (len == 0)
        return 0;
    bool early = call->answered || call->broken || has_answered(call->conn->stream);
    int r = early ? -EPIPE : write_piece(call, data, len);
    if (r < 0)
        call->broken = true;
    else
        call->body_sent += (int64_t)len;
    return is_gone(r) ? bk_fail(-BK_ECLOSED, "%s: the server has answered before the end",
                                call->target.shown)
                      : r;
}

int bki_http_begin(struct bk_http_call *call, const struct bki_http_request *request, bool fresh)
{
    struct bki_http_route route = {
        .target = &call->target, .proxy = call->by_proxy ? &call->proxy : NULL, .fresh = fresh};
    int r = bki_http_pool_take(call->client, &route, &call->conn);
    if (r < 0)
        return r;
    call->broken = false;
    call->body_sent = 0;
    bool at_once = !call->streamed && !call->expect && request->body.len <= PIECE;
    r = send_head(call, request, at_once ? request->body : bk_span_str(""));
    if (at_once)
        call->body_done = true;
    if (r < 0)
        call->broken = true;
    return is_gone(r) ? 0 : r;
}

/* ---- The response's head ---- */

static int take_head(struct bk_http_call *call)
{
    int r = bki_http_headers_take(&call->headers, &call->head, 0);
    if (r < 0)
        return r;
    bk_stream_consume(call->conn->stream, call->head.len);
    call->answered = true;
    call->kind = bki_http_body_of(&call->head);
    return bki_http_reply_begin(call);
}

static int head_failed(struct bk_http_call *call, int r, bool *stale)
{
    const char *shown = call->target.shown;
    *stale = call->conn->reused && (r == 0 || is_gone(r));
    call->broken = true;
    if (r == 0)
        return bk_fail(-BK_EINCOMPLETE, "%s: the server closed the connection without an answer",
                       shown);
    return r == -ECANCELED ? r : bk_fail(r, "%s: %s", shown, bk_errmsg());
}

/* Reads one head, its fields in the call's list.  1, or 0 and less as bki_http_read_head. */
static int read_one(struct bk_http_call *call)
{
    int r = bki_http_headers_reserve(&call->headers, 0, BKI_HTTP_MAX_FIELDS);
    if (r < 0)
        return r;
    bki_http_init(&call->head, BKI_HTTP_RESPONSE, call->headers.fields, BKI_HTTP_MAX_FIELDS, NULL);
    call->head.asked = call->method;
    return bki_http_read_head(call->conn->stream, &call->head);
}

/* Reads heads until a final one, or "100 Continue" if that is waited for (2). */
static int read_heads(struct bk_http_call *call, bool want_continue, bool *stale)
{
    for (int n_informational = 0;; n_informational++) {
        int r = read_one(call);
        if (r <= 0)
            return head_failed(call, r, stale);
        int status = call->head.status;
        if (status >= 200 || (status == 101 && call->upgrade))
            return take_head(call);
        if (status == 101 || n_informational == BKI_HTTP_MAX_INFORMATIONAL) {
            call->broken = true;
            return bk_fail(-BK_EPROTO, "%s: %s", call->target.shown,
                           status == 101 ? "the server switches to a protocol nobody asked for"
                                         : "too many informational responses");
        }
        bk_stream_consume(call->conn->stream, call->head.len);
        if (status == 100 && want_continue)
            return 2;
    }
}

int bki_http_wait_for_continue(struct bk_http_call *call, bool *stale)
{
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, bk_seconds(CONTINUE_SECONDS));
    if (r == 0)
        r = bk_timeout_close(&limit, read_heads(call, true, stale));
    if (r == -ETIMEDOUT)
        call->broken = *stale = false;
    return r == -ETIMEDOUT || r == 2 ? 0 : r;
}

int bki_http_receive_head(struct bk_http_call *call, bool *stale)
{
    int r = call->answered ? 0 : read_heads(call, false, stale);
    return r < 0 ? r : 0;
}

int bki_http_exchange(struct bk_http_call *call, const struct bki_http_request *request, bool fresh,
                      bool *stale)
{
    *stale = false;
    int r = bki_http_begin(call, request, fresh);
    if (r == 0 && call->expect && !call->broken)
        r = bki_http_wait_for_continue(call, stale);
    if (r == 0 && !call->body_done && !call->answered && !call->broken)
        r = send_body(call, request->body);
    if (r == 0 && !call->broken && !call->answered)
        call->body_done = true;
    return r < 0 ? r : bki_http_receive_head(call, stale);
}

/* ---- The end of an exchange ---- */

/* Another call may follow on the connection: this one's request and response are both whole. */
static bool can_serve_again(struct bk_http_call *call)
{
    bool over = call->reader.over || call->kind == BKI_HTTP_BODY_NONE;
    if (!call->answered || !over || !call->body_done || call->broken || call->body_error)
        return false;
    if (call->kind == BKI_HTTP_BODY_UNTIL_CLOSE || call->kind == BKI_HTTP_BODY_TUNNEL)
        return false;
    /* Not by bk_stream_peek: that would tell of a cancel, which nobody would hear. */
    const struct bk_stream *s = call->conn->stream;
    return bki_http_keep_alive(&call->head) && bki_stream_unsent(s) == 0 &&
           bki_stream_buffered(s) == 0 && !bk_stream_is_closing(s) && !s->at_eof;
}

void bki_http_reset(struct bk_http_call *call)
{
    if (call->conn)
        bki_http_pool_give(call->client, &call->conn, can_serve_again(call));
    bki_inflate_free(&call->inflate);
    call->answered = call->body_done = call->broken = false;
    call->body_error = 0;
    bki_http_headers_clear(&call->headers);
}
