/* SPDX-License-Identifier: MIT
 * bk_http_serve: connections, and one request after the other on each. */
#include <stdio.h>

#include "base/alloc.h"
#include "proto/http_chars.h"
#include "proto/http_read.h"
#include "proto/http_serve.h"

/* Of a body that a handler left unread: more is not waited for. */
#define SKIP ((size_t)256 * 1024)
#define LINGER_SECONDS 5
#define LINGER_DRAINING_MS 500
#define KEEP ((size_t)4096) /* memory that an idle connection keeps of its last request */

/* ---- Reading a request's head ---- */

struct head_read {
    struct bk_http_req *req;
    struct bki_http_head *h;
};

static int wait_first_byte(void *ctx)
{
    struct bk_http_req *req = ctx;
    bk_span in;
    return bk_stream_peek(req->stream, 1, &in);
}

static int read_on(void *ctx)
{
    struct head_read *read = ctx;
    return bki_http_read_head(read->req->stream, read->h);
}

/* Waits for the first byte of a request.  1; 0 when none will come; or an error. */
static int wait_idle(struct bk_http_req *req, bk_duration limit)
{
    if (bki_stream_buffered(req->stream) > 0)
        return 1;
    if (req->server->draining)
        return 0;
    if (req->in.cap > KEEP)
        bki_http_headers_release(&req->in);
    req->idle = true;
    int r = bk_wait_for(wait_first_byte, req, limit);
    req->idle = false;
    return r == -ETIMEDOUT ? 0 : r;
}

/* The first request has head_timeout from the connection's beginning, the others idle_timeout until
 * they begin, and head_timeout from there.  1; 0 at the end of the connection; or an error, which
 * h->error explains if it is one. */
static int read_head(struct bk_http_req *req, struct bki_http_head *h, bool first)
{
    const bk_http_serve_opts *opts = &req->server->opts;
    struct head_read read = {req, h};
    bk_time begin = first ? bk_now() : (bk_time){0};
    int r = wait_idle(req, first ? opts->head_timeout : opts->idle_timeout);
    if (r <= 0)
        return r;
    bk_span in = bki_buf_span(&req->stream->in);
    r = bki_http_feed(h, in.data, in.len);
    if (r != 0)
        return r;
    bk_duration left = opts->head_timeout;
    if (first && left.ns != BK_FOREVER_NS)
        left.ns -= bk_time_since(bk_now(), begin).ns;
    r = bk_wait_for(read_on, &read, left);
    /* Old clients send an empty line too many behind a body: that begins no request. */
    bool begun = h->in_fields || h->error || h->line < bki_stream_buffered(req->stream);
    return !begun && (r == -ETIMEDOUT || r == -BK_EINCOMPLETE) ? 0 : r;
}

/* Answers what could not be read as a request. */
static int refuse(struct bk_http_req *req, const struct bki_http_head *h, int r)
{
    req->close = true;
    bki_buf_free(&req->stream->in); /* what may be long, and is not needed for the answer */
    if (h->error)
        return bki_http_answer_error(req, bki_http_error_status(h), bki_http_error_text(h->error));
    if (r == -ETIMEDOUT)
        return bki_http_answer_error(req, 408, "the request's head has not come in time");
    if (r == -BK_EINCOMPLETE)
        return bki_http_answer_error(req, 400, "the request's head is not whole");
    return r;
}

/* What an answer depends on, as far as the head has been read. */
static void note_request_line(struct bk_http_req *req, const struct bki_http_head *h)
{
    bool line = h->in_fields && h->method.len > 0;
    req->is_head = line && bk_span_equal(bki_http_span(h, h->method), bk_span_str("HEAD"));
    req->head.minor = line ? h->minor : 1;
    req->close = !line || req->server->draining || !bki_http_keep_alive(h);
}

/* Requests that no handler sees.  Returns the status that answers it, 0: none. */
static int refusal(const struct bk_http_req *req, const char **why)
{
    const struct bki_http_head *h = &req->head;
    const char *method = bk_http_req_method(req);
    bool trace = strcmp(method, "TRACE") == 0 && !req->server->opts.trace;
    if (strcmp(method, "CONNECT") == 0 || trace) {
        *why = "this server does not do that";
        return 501;
    }
    if (h->minor >= 1) {
        bk_span rest, element;
        for (ssize_t i = bki_http_find(h, "Expect", 0); i >= 0;
             i = bki_http_find(h, "Expect", (size_t)i + 1)) {
            rest = bki_http_span(h, h->fields[i].value);
            while (bki_http_list_next(&rest, &element))
                if (!bki_is_nocase(element, "100-continue")) {
                    *why = "only 100-continue can be expected";
                    return 417;
                }
        }
    }
    return 0;
}

/* 1: a request for the handler; 0: the connection is at its end; or an error. */
static int next_request(struct bk_http_req *req, struct bki_http_field *fields, size_t max_fields,
                        bool first)
{
    const bk_http_serve_opts *opts = &req->server->opts;
    struct bki_http_limits limits = {opts->max_line, opts->max_head};
    struct bki_http_head h;
    bki_http_init(&h, BKI_HTTP_REQUEST, fields, max_fields, &limits);
    int r = read_head(req, &h, first);
    if (r == 0 || r == -ECANCELED)
        return r;
    bki_http_answer_begin(req);
    note_request_line(req, &h);
    if (r == 1)
        r = bki_http_req_begin(req, &h);
    else
        return refuse(req, &h, r);
    if (r < 0)
        return r;
    bk_stream_consume(req->stream, h.len);
    const char *why;
    int status = refusal(req, &why);
    if (!status)
        return 1;
    req->close = true;
    return bki_http_answer_error(req, status, why);
}

static int read_request(struct bk_http_req *req, bool first)
{
    struct bki_http_field usual[BKI_HTTP_MAX_FIELDS];
    size_t max = req->server->opts.max_headers;
    if (max <= BKI_HTTP_MAX_FIELDS)
        return next_request(req, usual, max, first);
    struct bki_http_field *fields = bki_realloc_array(NULL, max, sizeof *fields);
    if (!fields)
        return bk_fail(-ENOMEM, "no memory for %zu header fields", max);
    int r = next_request(req, fields, max, first);
    bki_free(fields);
    return r;
}

/* ---- Answering it ---- */

static void failed(struct bk_http_req *req, int r)
{
    struct bki_http_server *server = req->server;
    if (r == -ECANCELED)
        return;
    if (server->opts.on_error)
        server->opts.on_error(server->ctx, req, r);
    else
        bki_serve_report(req->stream, r);
}

/* A handler's failure, told to the client if it has been told nothing yet. */
static int answer_failure(struct bk_http_req *req)
{
    bki_http_headers_clear(&req->out); /* they were meant for another reply */
    return bki_http_answer_error(req, req->fault_status ? req->fault_status : 500, "");
}

/* Completes the reply of a handler that has returned r.  0, or why nothing can follow. */
static int complete(struct bk_http_req *req, int r)
{
    if (r >= 0 && req->reply == BKI_REPLY_STARTED && !req->broken)
        r = bk_http_reply_end(req);
    if (r >= 0 && req->reply == BKI_REPLY_NONE)
        r = bk_fail(-EINVAL, "%s %s: the handler gave no reply", bk_http_req_method(req),
                    bk_http_req_path(req));
    if (r < 0 && req->fault_status == 0)
        failed(req, r);
    if (r < 0 && r != -ECANCELED)
        bki_http_answer_take_back(req);
    if (r == -ECANCELED || req->broken || req->reply == BKI_REPLY_STARTED)
        return r < 0 ? r : -ECANCELED;
    return r < 0 && req->reply == BKI_REPLY_NONE ? answer_failure(req) : 0;
}

static int handle(struct bk_http_req *req)
{
    int r = req->server->handler(req->server->ctx, req);
    if (!req->taken)
        return complete(req, r);
    if (r < 0)
        failed(req, r);
    return r < 0 ? r : 0;
}

/* Reads what the handler left of the body, so that the next request can follow.  0, or an error. */
static int skip_body(struct bk_http_req *req)
{
    if (req->body.over || req->close)
        return 0;
    int64_t left = req->body.decoder.left;
    bool counted = req->body.decoder.kind == BKI_HTTP_BODY_LENGTH;
    int r = counted && left > (int64_t)SKIP ? 0 : bki_http_req_skip_body(req, SKIP);
    if (r == 0)
        req->close = true;
    return r < 0 ? r : 0;
}

static int serve_requests(struct bk_http_req *req)
{
    bool first = true;
    int r;
    do {
        r = read_request(req, first);
        if (r == 1) {
            r = handle(req);
            if (r == 0)
                r = skip_body(req);
            if (r == 0)
                r = !req->taken;
        }
        first = false;
    } while (r == 1 && !req->close);
    return r < 0 ? r : 0;
}

/* ---- A connection ---- */

static int drop_input(void *ctx)
{
    struct bk_http_req *req = ctx;
    char buf[2048];
    ssize_t n;
    bki_buf_consume(&req->stream->in, bki_stream_buffered(req->stream));
    while ((n = bk_stream_read(req->stream, buf, sizeof buf)) > 0)
        ;
    return (int)n;
}

static int end_writing(void *ctx)
{
    struct bk_http_req *req = ctx;
    return bk_stream_write_eof(req->stream);
}

/* The last reply is out.  Closing at once, with input unread, would reset the connection and the
 * reply with it: first only the write side ends, and the client gets time to see that (RFC 9112
 * 9.6). */
static int linger(struct bk_http_req *req)
{
    bk_duration limit = bk_seconds(LINGER_SECONDS);
    if (req->server->draining)
        limit = bk_ms(LINGER_DRAINING_MS);
    int r = bk_wait_for(end_writing, req, limit);
    if (r == 0)
        r = bk_wait_for(drop_input, req, limit);
    return r == -ECANCELED ? r : 0;
}

int bki_http_serve_stream(struct bki_http_server *server, bk_stream **stream)
{
    struct bk_http_req req = {
        .server = server, .stream = *stream, .slot = stream, .task = bk_task_current()};
    size_t head = server->opts.max_line + server->opts.max_head + 4;
    if (req.stream->read_limit < head)
        req.stream->read_limit = head;
    bki_http_answer_init(&req);
    bki_list_push_back(&server->conns, &req.link);
    int r = serve_requests(&req);
    if (!req.taken && r == 0)
        r = bki_http_flush(&req);
    if (!req.taken && r == 0 && !req.stream->at_eof && !req.stream->hung_up)
        r = linger(&req);
    /* So that half a reply is not taken for a whole one. */
    if (!req.taken && r < 0 && req.reply == BKI_REPLY_STARTED)
        bk_stream_abort(req.stream);
    bki_list_remove(&req.link);
    bki_http_answer_release(&req);
    bki_http_headers_release(&req.in);
    bki_http_headers_release(&req.body.trailers);
    /* What went wrong has been told; the connection is dropped. */
    return r < 0 ? -ECANCELED : 0;
}

/* ---- The server ---- */

static int serve_connection(void *ctx, bk_stream **stream)
{
    return bki_http_serve_stream(ctx, stream);
}

static void begin_drain(void *ctx)
{
    struct bki_http_server *server = ctx;
    server->draining = true;
    struct bki_list *next, *conns = &server->conns;
    for (struct bki_list *node = bki_list_first(conns); node; node = next) {
        struct bk_http_req *req = bki_container(node, struct bk_http_req, link);
        next = bki_list_next(conns, node);
        if (req->idle)
            bk_stream_hang_up(req->stream);
        else if (req->waiting)
            bki_stream_interrupt(req->stream);
        else if (req->taken)
            bk_task_cancel(req->task);
    }
}

static void fill_size(size_t *value, size_t fallback)
{
    if (*value == 0)
        *value = fallback;
}

static void fill_time(bk_duration *value, bk_duration fallback)
{
    if (value->ns == 0)
        *value = fallback;
}

static void fill_defaults(bk_http_serve_opts *opts)
{
    fill_size(&opts->max_line, BKI_HTTP_MAX_LINE);
    fill_size(&opts->max_head, BKI_HTTP_MAX_BLOCK);
    fill_size(&opts->max_headers, BKI_HTTP_MAX_FIELDS);
    fill_size(&opts->max_body, (size_t)1 << 20);
    fill_size(&opts->max_chunk_ext, BKI_HTTP_MAX_CHUNK_EXT);
    fill_size(&opts->min_rate, 240);
    fill_time(&opts->head_timeout, bk_seconds(10));
    fill_time(&opts->idle_timeout, bk_seconds(60));
    fill_time(&opts->min_rate_grace, bk_seconds(5));
    fill_time(&opts->drain, bk_seconds(10));
}

void bki_http_server_init(struct bki_http_server *server, bk_http_fn *handler, void *ctx,
                          const bk_http_serve_opts *opts)
{
    *server = (struct bki_http_server){.handler = handler, .ctx = ctx};
    if (opts)
        server->opts = *opts;
    fill_defaults(&server->opts);
    bki_list_init(&server->conns);
}

int bk_http_serve(bk_listener *listener, bk_http_fn *handler, void *ctx,
                  const bk_http_serve_opts *opts)
{
    struct bki_http_server server;
    bki_http_server_init(&server, handler, ctx, opts);
    return bk_serve(listener, serve_connection, &server,
                    &(bk_serve_opts){.limit = server.opts.limit,
                                     .drain = server.opts.drain,
                                     .on_drain = begin_drain});
}
