/* SPDX-License-Identifier: MIT
 * The opening handshake on a stream, as a server: bk_ws_accept, and bk_ws_accept_req out of an HTTP
 * server. */
#include "proto/http_read.h"
#include "proto/http_serve.h"
#include "proto/ws_handshake.h"
#include "proto/ws_stream.h"

#define PARTING_MS 10

static const bk_ws_opts default_opts;

/* ---- What is agreed ---- */

static int accept_compression(struct bk_ws *ws, const struct bki_http_head *h,
                              const bk_ws_opts *opts)
{
    char answer[BKI_WS_TERMS_TEXT];
    struct bki_ws_terms wish = bki_ws_zip_wish(&opts->deflate), agreed;
    bki_ws_zip_spare(&wish);
    if (!opts->deflate.on || !bki_ws_offer_answer(h, &wish, &agreed, answer))
        return 0;
    int r = bki_ws_keep_text(&ws->extensions, bk_span_str(answer));
    return r < 0 ? r : bki_ws_begin_compression(ws, &agreed, opts);
}

/* Makes a connection, still without its stream, of a request that has been judged. */
static int agree(struct bk_ws **out, const struct bki_http_head *h, const bk_ws_opts *opts)
{
    const char *protocol = bki_ws_pick_protocol(h, opts->protocols);
    struct bk_ws *ws = NULL;
    int r = bki_ws_new(&ws, BKI_WS_SERVER, opts);
    if (r < 0)
        return r;
    r = bki_ws_keep_text(&ws->target, bki_http_span(h, h->target));
    if (r == 0)
        r = accept_compression(ws, h, opts);
    if (r == 0 && protocol)
        r = bki_ws_keep_text(&ws->protocol, bk_span_str(protocol));
    if (r < 0)
        return bki_ws_free(ws, r);
    *out = ws;
    return 0;
}

/* ---- Out of a stream ---- */

static ssize_t write_refusal(struct bki_http_writer *w, const void *what)
{
    return bki_ws_write_refusal(w, what);
}

static ssize_t write_response(struct bki_http_writer *w, const void *what)
{
    return bki_ws_write_response(w, what);
}

/* Answers the request, as far as it has been read, with an HTTP error and returns -BK_EPROTO. */
static int refuse(bk_stream *s, const struct bki_http_head *h, int status, const char *why)
{
    bk_span method = bki_http_span(h, h->method);
    const char *peer = bk_stream_peer(s); /* nobody knows any more once both sides have ended */
    struct bki_ws_refusal refusal = {status, why, bk_span_equal(method, bk_span_str("HEAD"))};
    int r = bki_ws_send_head(s, write_refusal, &refusal);
    if (r == 0)
        bki_ws_linger(s);
    return bk_fail(-BK_EPROTO, "%s: %s (answered %d)", peer, why, status);
}

static int respond(const struct bk_ws *ws, bk_stream *s, bk_span key, const bk_ws_opts *opts)
{
    struct bki_ws_response response = {
        .key = key,
        .protocol = bk_span_str(bk_ws_protocol(ws)),
        .extensions = bk_span_str(bk_ws_extensions(ws)),
        .headers = opts->headers,
    };
    return bki_ws_send_head(s, write_response, &response);
}

static int read_request(bk_stream *s, struct bki_http_head *h, struct bki_ws_offer *offer)
{
    int r = bki_http_read_head(s, h);
    if (r == 0)
        return bk_fail(-BK_EINCOMPLETE, "%s: the connection ended without a request",
                       bk_stream_peer(s));
    if (h->error)
        return refuse(s, h, bki_http_error_status(h), bki_http_error_text(h->error));
    if (r < 0)
        return r;
    r = bki_ws_check_request(h, offer);
    return r < 0 ? refuse(s, h, offer->status, offer->why) : 0;
}

static int accept_stream(struct bk_ws **out, bk_stream **stream, const bk_ws_opts *opts)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head h;
    struct bki_ws_offer offer;
    struct bk_ws *ws = NULL;
    bki_http_init(&h, BKI_HTTP_REQUEST, fields, BKI_HTTP_MAX_FIELDS, NULL);
    int r = read_request(*stream, &h, &offer);
    if (r == 0)
        r = agree(&ws, &h, opts);
    if (r < 0)
        return r;
    r = respond(ws, *stream, offer.key, opts);
    if (r < 0)
        return bki_ws_free(ws, r);
    bk_stream_consume(*stream, h.len);
    *out = ws;
    return 0;
}

/* Time is up; a moment more, so that the peer gets to know. */
static void refuse_late(bk_stream *s)
{
    struct bki_ws_refusal refusal = {408, "no whole request in time", false};
    bk_timeout *limit = NULL;
    if (bk_timeout_open(&limit, bk_ms(PARTING_MS)) == 0) {
        int r = bk_stream_unsent(s) > 0 ? -EBUSY : bki_ws_send_head(s, write_refusal, &refusal);
        bk_timeout_close(&limit, r < 0 ? r : bk_stream_flush(s));
    }
    bk_fail(-ETIMEDOUT, "%s: no WebSocket request in time", bk_stream_peer(s));
}

int bk_ws_accept(bk_ws **out, bk_stream **stream, const bk_ws_opts *opts)
{
    struct bk_ws *ws = NULL;
    bk_timeout *limit = NULL;
    if (!opts)
        opts = &default_opts;
    int r = bk_timeout_open(&limit, bki_ws_timeout_of(opts));
    if (r < 0)
        return r;
    r = bk_timeout_close(&limit, accept_stream(&ws, stream, opts));
    if (r == -ETIMEDOUT)
        refuse_late(*stream);
    if (r == 0)
        r = bki_ws_start(ws, stream, opts);
    if (r < 0)
        return bki_ws_free(ws, r);
    *out = ws;
    bki_task_trim(bki_self()); /* a handshake goes deeper than what follows: receiving, sending */
    return 0;
}

/* ---- Out of an HTTP server ---- */

/* Replies that the request is none, which is the client's fault, and returns -BK_EPROTO. */
static int refuse_req(bk_http_req *req, const struct bki_ws_offer *offer)
{
    if (offer->status == 405)
        bk_http_reply_header(req, "Allow", "GET");
    if (offer->status == 426) {
        bk_http_reply_header(req, "Upgrade", "websocket");
        bk_http_reply_header(req, "Sec-WebSocket-Version", "13");
    }
    int r = bki_http_answer_fault(req, offer->status, offer->why);
    if (r < 0)
        return r;
    return bk_fail(-BK_EPROTO, "%s: %s (answered %d)", bk_http_req_peer(req), offer->why,
                   offer->status);
}

static int accept_req(struct bk_ws **out, bk_http_req *req, bk_span key, const bk_ws_opts *opts)
{
    struct bk_ws *ws = NULL;
    bk_stream *s = bk_http_req_stream(req);
    int r = agree(&ws, &req->head, opts);
    if (r == 0)
        r = respond(ws, s, key, opts);
    if (r == 0)
        r = bki_ws_start(ws, &s, opts);
    if (r < 0)
        return bki_ws_free(ws, r);
    bki_http_hand_over(req);
    *out = ws;
    return 0;
}

int bk_ws_accept_req(bk_ws **out, bk_http_req *req, const bk_ws_opts *opts)
{
    struct bki_ws_offer offer;
    int r = bki_http_check_unanswered(req);
    if (r < 0)
        return r;
    if (bki_ws_check_request(&req->head, &offer) < 0)
        return refuse_req(req, &offer);
    r = bki_http_flush(req);
    if (r == 0)
        r = accept_req(out, req, offer.key, opts ? opts : &default_opts);
    bki_task_trim(bki_self()); /* as in bk_ws_accept */
    return r;
}
