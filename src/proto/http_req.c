/* SPDX-License-Identifier: MIT
 * A request as its handler sees it: its parts, and its body. */
#include "proto/http_query.h"
#include "proto/http_serve.h"

#define FIRST_BODY ((size_t)4096) /* room for a body whose length is not known */

int bki_http_req_begin(struct bk_http_req *req, struct bki_http_head *h)
{
    /* Behind the head's bytes: path, host and pairs, once they are asked for. */
    int r = bki_http_headers_take(&req->in, h, 4 * (size_t)h->target.len + 4);
    if (r < 0)
        return r;
    req->head = *h;
    req->path = req->host = req->pairs = NULL;
    req->body_pace = (struct bki_http_pace){0};
    req->max_body = req->server->opts.max_body;
    req->n_body = 0;
    req->dismissed = false;
    req->fault_status = 0;
    enum bki_http_body kind = bki_http_body_of(h);
    bki_http_reader_init(&req->body, req->stream, kind, h->content_length, false,
                         req->server->opts.max_chunk_ext);
    req->body.over = kind == BKI_HTTP_BODY_NONE;
    req->expects =
        h->minor >= 1 && !req->body.over && bki_http_has_token(h, "Expect", "100-continue");
    return 0;
}

/* ---- Its parts ---- */

const char *bk_http_req_method(const bk_http_req *req)
{
    return bki_http_text(&req->in, req->head.method);
}

const char *bk_http_req_target(const bk_http_req *req)
{
    return bki_http_text(&req->in, req->head.target);
}

static void split_target(const struct bk_http_req *req, struct bki_http_parts *parts)
{
    bki_http_split_target(parts, bki_http_span(&req->head, req->head.target), req->head.form);
}

const char *bk_http_req_path(bk_http_req *req)
{
    struct bki_http_parts parts;
    if (!req->path) {
        char *out = req->in.bytes + req->in.len;
        split_target(req, &parts);
        req->in.len += bki_http_decode_percent(out, parts.path, false) + 1;
        req->path = out;
    }
    return req->path;
}

const char *bk_http_req_host(bk_http_req *req)
{
    struct bki_http_parts parts;
    if (!req->host) {
        split_target(req, &parts);
        req->host = bk_http_headers_get(&req->in, "Host");
        if (parts.authority.len > 0) {
            char *out = req->in.bytes + req->in.len;
            memcpy(out, parts.authority.data, parts.authority.len);
            out[parts.authority.len] = '\0';
            req->in.len += parts.authority.len + 1;
            req->host = out;
        }
        if (!req->host)
            req->host = "";
    }
    return req->host;
}

const char *bk_http_req_query(bk_http_req *req, const char *name)
{
    struct bki_http_parts parts;
    if (!req->pairs) {
        char *out = req->in.bytes + req->in.len;
        split_target(req, &parts);
        req->pairs_len = bki_http_decode_query(out, parts.query);
        req->in.len += req->pairs_len;
        req->pairs = out;
    }
    for (const char *at = req->pairs, *end = at + req->pairs_len; at < end;) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

const char *bk_http_req_header(const bk_http_req *req, const char *name)
{
    return bk_http_headers_get(&req->in, name);
}

const bk_http_headers *bk_http_req_headers(const bk_http_req *req)
{
    return &req->in;
}

int bk_http_req_minor(const bk_http_req *req)
{
    return req->head.minor;
}

const char *bk_http_req_peer(const bk_http_req *req)
{
    return req->stream ? bk_stream_peer(req->stream) : "";
}

bk_stream *bk_http_req_stream(const bk_http_req *req)
{
    return req->stream;
}

bool bk_http_req_stopping(const bk_http_req *req)
{
    return req->server->draining;
}

int64_t bk_http_req_length(const bk_http_req *req)
{
    return req->head.chunked ? -1 : req->head.content_length > 0 ? req->head.content_length : 0;
}

void bk_http_req_set_max_body(bk_http_req *req, size_t max_body)
{
    req->max_body = max_body;
}

const bk_http_headers *bk_http_req_trailers(const bk_http_req *req)
{
    return &req->body.trailers;
}

/* ---- Its pace ---- */

bk_duration bki_http_pace_left(const struct bki_http_server *server,
                               const struct bki_http_pace *pace)
{
    const bk_http_serve_opts *opts = &server->opts;
    double paid = (double)pace->bytes * 1e9 / (double)opts->min_rate;
    double left = paid - (double)pace->waited_ns;
    if (paid < (double)opts->min_rate_grace.ns)
        left = (double)(opts->min_rate_grace.ns - pace->waited_ns);
    return left < (double)opts->idle_timeout.ns ? bk_ns((int64_t)left) : opts->idle_timeout;
}

/* ---- Its body ---- */

struct body_read {
    struct bk_http_req *req;
    void *buf;
    size_t len;
    ssize_t n;
};

static int read_now(void *ctx)
{
    struct body_read *read = ctx;
    read->n = bki_http_reader_read(&read->req->body, read->buf, read->len);
    return read->n < 0 ? (int)read->n : 0;
}

/* Reads with the time that the client's pace leaves it; what is there already takes none. */
static ssize_t read_paced(struct bk_http_req *req, void *buf, size_t len)
{
    struct body_read read = {.req = req, .buf = buf, .len = len};
    struct bki_http_pace *pace = &req->body_pace;
    if (req->body.decoder.left > 0 && bki_stream_buffered(req->stream) > 0) {
        int r = read_now(&read);
        pace->bytes += r == 0 ? (uint64_t)read.n : 0;
        return r < 0 ? r : read.n;
    }
    int64_t start = bk_now().ns;
    int r = bk_wait_for(read_now, &read, bki_http_pace_left(req->server, pace));
    pace->waited_ns += bk_now().ns - start;
    if (r == -ETIMEDOUT)
        return bk_fail(r, "%s: the body comes too slowly (%llu bytes so far)",
                       bk_stream_peer(req->stream), (unsigned long long)pace->bytes);
    if (r < 0)
        return r;
    pace->bytes += (uint64_t)read.n;
    return read.n;
}

static int too_large(struct bk_http_req *req)
{
    return bk_fail(-EMSGSIZE, "%s: a body of more than %zu bytes", bk_stream_peer(req->stream),
                   req->max_body);
}

/* Which status tells the client what is wrong with its body. */
static int status_of(const struct bk_http_req *req, ssize_t r)
{
    switch (r) {
    case -EMSGSIZE:
        return 413;
    case -ETIMEDOUT:
        return 408;
    case -BK_EPROTO:
    case -BK_ELIMIT:
        return req->body.error == BKI_HTTP_E_BLOCK_LIMIT ||
                       req->body.error == BKI_HTTP_E_FIELDS_LIMIT
                   ? 431
                   : 400;
    case -BK_EINCOMPLETE:
        return 400;
    case -ENOBUFS:
        return 503;
    default:
        return 0;
    }
}

/* The reason not to read a body at all. */
static int check_length(struct bk_http_req *req)
{
    if (req->taken)
        return bk_fail(-EINVAL, "the connection has been handed over");
    if (req->fault_status)
        return bk_fail(-BK_EPROTO, "the body of this request could not be read");
    if (req->n_body == 0 && req->head.content_length >= 0 &&
        (uint64_t)req->head.content_length > req->max_body)
        return too_large(req);
    return 0;
}

static ssize_t read_body(struct bk_http_req *req, void *buf, size_t len)
{
    if (len == 0)
        return bk_fail(-EINVAL, "read of 0 bytes");
    int r = check_length(req);
    if (r < 0 || req->body.over)
        return r;
    r = bki_http_answer_continue(req);
    if (r < 0)
        return r;
    /* One byte more than allowed may be asked for: it tells whether there are more. */
    size_t left = req->max_body - req->n_body;
    if (len > left)
        len = left + 1;
    ssize_t n = read_paced(req, buf, len);
    if (n > 0 && (size_t)n > left)
        return too_large(req);
    if (n > 0)
        req->n_body += (size_t)n;
    return n;
}

/* What is wrong with a body is remembered: it may be the answer to the request. */
static ssize_t remember(struct bk_http_req *req, ssize_t r)
{
    if (r < 0 && !req->fault_status)
        req->fault_status = status_of(req, r);
    if (req->fault_status)
        req->close = true;
    return r;
}

ssize_t bk_http_req_read(bk_http_req *req, void *buf, size_t len)
{
    return remember(req, read_body(req, buf, len));
}

/* Room for more of a body: what its length says, else twice as much as before. */
static int grow(struct bk_http_req *req, bk_msg **msg, size_t len)
{
    bk_msg *larger = NULL;
    int64_t length = bk_http_req_length(req);
    size_t size = len > 0 ? 2 * len : length > 0 ? (size_t)length : FIRST_BODY;
    int r = bk_msg_new(&larger, size);
    if (r < 0)
        return r;
    if (len > 0)
        memcpy(bk_msg_data(larger), bk_msg_data(*msg), len);
    bk_msg_free(msg);
    *msg = larger;
    return 0;
}

/* Others wait for what the body holds, and its client has not sent the rest. */
static void let_go(struct bki_intake *intake)
{
    struct bk_http_req *req = bki_container(intake, struct bk_http_req, intake);
    req->dismissed = true;
    bki_stream_interrupt(req->stream);
}

static ssize_t tell_dismissed(struct bk_http_req *req)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    r = bk_fail(-ENOBUFS, "%s: messages of others waited for the memory of an unfinished body",
                bk_stream_peer(req->stream));
    return remember(req, r);
}

/* More of a body of which len bytes are there: waits until that may be held, then reads. */
static ssize_t collect(struct bk_http_req *req, bk_msg **msg, size_t len)
{
    size_t held = bki_intake_room(&req->intake);
    int r = len < held ? 0 : bki_intake_ask(&req->intake, bki_intake_next(len));
    if (r == 0 && len == bk_msg_len(*msg))
        r = grow(req, msg, len);
    if (r < 0)
        return r;
    if (req->dismissed)
        return tell_dismissed(req);
    size_t room = bk_msg_len(*msg) - len;
    held = bki_intake_room(&req->intake) - len;
    struct bki_cancel_told told = bki_cancel_told_save();
    ssize_t n = bk_http_req_read(req, bk_msg_data(*msg) + len, room < held ? room : held);
    if (n != -ECANCELED || !req->dismissed)
        return n;
    bki_cancel_told_restore(told);
    return tell_dismissed(req);
}

int bk_http_req_body(bk_http_req *req, bk_msg **out)
{
    bk_msg *msg = NULL;
    size_t len = 0;
    ssize_t n = remember(req, check_length(req));
    if (n == 0)
        n = req->body.over ? bk_msg_new(&msg, 0) : grow(req, &msg, 0);
    req->intake.let_go = let_go;
    while (n >= 0 && !req->body.over) {
        n = collect(req, &msg, len);
        len += n > 0 ? (size_t)n : 0;
    }
    bki_intake_release(bki_loop, &req->intake);
    if (n < 0) {
        bk_msg_free(&msg);
        return (int)n;
    }
    bk_msg_truncate(msg, len);
    *out = msg;
    return 0;
}

int bki_http_req_skip_body(struct bk_http_req *req, size_t most)
{
    char buf[2048];
    while (!req->body.over) {
        ssize_t n = read_paced(req, buf, most < sizeof buf ? most + 1 : sizeof buf);
        if (n < 0 || (size_t)n > most)
            return n < 0 ? (int)n : 0;
        most -= (size_t)n;
    }
    return 1;
}

/* ---- Its client ---- */

int bki_http_wait_left(struct bk_http_req *req)
{
    struct bk_stream *s = req->stream;
    bk_span in;
    int r = bki_check_cancel();
    req->waiting = true;
    /* What it sends meanwhile is its next request. */
    while (r >= 0 && !req->server->draining && !req->broken &&
           bki_stream_buffered(s) < s->read_limit) {
        struct bki_cancel_told told = bki_cancel_told_save();
        r = bk_stream_peek(s, bki_stream_buffered(s) + 1, &in);
        if (r == -ECANCELED && (req->server->draining || req->broken)) {
            bki_cancel_told_restore(told);
            r = bki_check_cancel();
        }
        if (r <= 0)
            break;
    }
    req->waiting = false;
    return r == -ECANCELED ? r : 0;
}
