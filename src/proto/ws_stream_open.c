/* SPDX-License-Identifier: MIT
 * The opening handshake on a stream: bk_ws_connect and bk_ws_accept. */
#include <stdarg.h>
#include <stdio.h>

#include <beck/tls.h>

#include "base/alloc.h"
#include "base/url.h"
#include "proto/http_read.h"
#include "proto/http_serve.h"
#include "proto/ws_handshake.h"
#include "proto/ws_stream.h"

#define DEFAULT_TIMEOUT_SECONDS 10
#define PARTING_MS 10
#define HEAD_SIZE 1024 /* of most heads; a longer one is allocated */

static const bk_ws_opts default_opts;

static bk_duration timeout_of(const bk_ws_opts *opts)
{
    return opts->timeout.ns ? opts->timeout : bk_seconds(DEFAULT_TIMEOUT_SECONDS);
}

/* Writes what write(w, what) makes, in a buffer of the size it turns out to need. */
static int send_head(bk_stream *s, ssize_t (*write)(struct bki_http_writer *w, const void *what),
                     const void *what)
{
    char small[HEAD_SIZE], *large = NULL;
    struct bki_http_writer w;
    bki_http_write_init(&w, small, sizeof small);
    ssize_t n = write(&w, what);
    if (n > (ssize_t)sizeof small) {
        large = bki_alloc((size_t)n);
        if (!large)
            return bk_fail(-ENOMEM, "no memory for a head of %zd bytes", n);
        bki_http_write_init(&w, large, (size_t)n);
        n = write(&w, what);
    }
    int r;
    if (n == -EINVAL)
        r = bk_fail(-EINVAL, "WebSocket handshake: %s", w.fault);
    else if (n < 0)
        r = bk_fail((int)n, "WebSocket handshake: out of memory");
    else
        r = bk_stream_write(s, large ? large : small, (size_t)n);
    bki_free(large);
    return r;
}

static int keep_text(char **out, bk_span text)
{
    *out = bki_strndup(text.data, text.len);
    return *out ? 0 : bk_fail(-ENOMEM, "no memory for a WebSocket connection");
}

static int begin_compression(struct bk_ws *ws, const struct bki_ws_terms *agreed,
                             const bk_ws_opts *opts)
{
    ws->conn.rsv_allowed = BKI_WS_RSV1;
    return bki_ws_zip_new(&ws->zip, &opts->deflate, agreed);
}

/* ---- Server ---- */

struct refusal {
    int status;
    const char *why;
};

static ssize_t write_refusal(struct bki_http_writer *w, const void *what)
{
    const struct refusal *refusal = what;
    return bki_ws_write_refusal(w, refusal->status, refusal->why);
}

static ssize_t write_response(struct bki_http_writer *w, const void *what)
{
    return bki_ws_write_response(w, what);
}

/* Answers with an HTTP error and returns -BK_EPROTO. */
static int refuse(bk_stream *s, int status, const char *why)
{
    struct refusal refusal = {status, why};
    int r = send_head(s, write_refusal, &refusal);
    if (r == 0)
        bk_stream_flush(s);
    return bk_fail(-BK_EPROTO, "%s: %s (answered %d)", bk_stream_peer(s), why, status);
}

static int accept_compression(struct bk_ws *ws, const struct bki_http_head *h,
                              const bk_ws_opts *opts)
{
    char answer[BKI_WS_TERMS_TEXT];
    struct bki_ws_terms wish = bki_ws_zip_wish(&opts->deflate), agreed;
    if (!opts->deflate.on || !bki_ws_offer_answer(h, &wish, &agreed, answer))
        return 0;
    int r = keep_text(&ws->extensions, bk_span_str(answer));
    return r < 0 ? r : begin_compression(ws, &agreed, opts);
}

static int respond(struct bk_ws *ws, bk_stream *s, const struct bki_http_head *h, bk_span key,
                   const bk_ws_opts *opts)
{
    const char *protocol = bki_ws_pick_protocol(h, opts->protocols);
    struct bki_ws_response response = {.key = key, .headers = opts->headers};
    int r = keep_text(&ws->target, bki_http_span(h, h->target));
    if (r == 0)
        r = accept_compression(ws, h, opts);
    response.extensions = bk_span_str(bk_ws_extensions(ws));
    if (r == 0 && protocol) {
        response.protocol = bk_span_str(protocol);
        r = keep_text(&ws->protocol, response.protocol);
    }
    return r < 0 ? r : send_head(s, write_response, &response);
}

static int read_request(bk_stream *s, struct bki_http_head *h, struct bki_ws_offer *offer)
{
    int r = bki_http_read_head(s, h);
    if (r == 0)
        return bk_fail(-BK_EINCOMPLETE, "%s: the connection ended without a request",
                       bk_stream_peer(s));
    if (r == -BK_EPROTO || r == -BK_ELIMIT)
        return refuse(s, bki_http_error_status(h), bki_http_error_text(h->error));
    if (r < 0)
        return r;
    r = bki_ws_check_request(h, offer);
    return r < 0 ? refuse(s, offer->status, offer->why) : 0;
}

/* Makes a connection of *stream, and answers the request whose head is h; on failure *stream is as
 * it was. */
static int accept_head(struct bk_ws **out, bk_stream **stream, const struct bki_http_head *h,
                       bk_span key, const bk_ws_opts *opts)
{
    struct bk_ws *ws = NULL;
    bk_stream *s = *stream;
    int r = bki_ws_stream_new(&ws, stream, BKI_WS_SERVER, opts);
    if (r < 0)
        return r;
    r = respond(ws, s, h, key, opts);
    if (r == 0)
        r = bki_ws_ping_start(ws, opts);
    if (r < 0) {
        *stream = ws->stream;
        ws->stream = NULL;
        bki_ws_stream_free(ws, -1);
        return r;
    }
    *out = ws;
    return 0;
}

static int accept_stream(struct bk_ws **out, bk_stream **stream, const bk_ws_opts *opts)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head h;
    struct bki_ws_offer offer;
    bk_stream *s = *stream;
    bki_http_init(&h, BKI_HTTP_REQUEST, fields, BKI_HTTP_MAX_FIELDS, NULL);
    int r = read_request(s, &h, &offer);
    if (r == 0)
        r = accept_head(out, stream, &h, offer.key, opts);
    if (r == 0)
        bk_stream_consume(s, h.len);
    return r;
}

/* Time is up; a moment more, so that the peer gets to know. */
static void refuse_late(bk_stream *s)
{
    struct refusal refusal = {408, "no whole request in time"};
    bk_timeout *limit = NULL;
    if (bk_timeout_open(&limit, bk_ms(PARTING_MS)) == 0) {
        int r = bk_stream_unsent(s) > 0 ? -EBUSY : send_head(s, write_refusal, &refusal);
        bk_timeout_close(&limit, r < 0 ? r : bk_stream_flush(s));
    }
    bk_fail(-ETIMEDOUT, "%s: no WebSocket request in time", bk_stream_peer(s));
}

int bk_ws_accept(bk_ws **out, bk_stream **stream, const bk_ws_opts *opts)
{
    if (!opts)
        opts = &default_opts;
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, timeout_of(opts));
    if (r < 0)
        return r;
    r = bk_timeout_close(&limit, accept_stream(out, stream, opts));
    if (r == -ETIMEDOUT)
        refuse_late(*stream);
    bki_task_trim(bki_self()); /* a handshake goes deeper than what follows: receiving, sending */
    return r;
}

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

int bk_ws_accept_req(bk_ws **out, bk_http_req *req, const bk_ws_opts *opts)
{
    struct bki_ws_offer offer;
    bk_stream *s = bk_http_req_stream(req);
    int r = bki_http_check_unanswered(req);
    if (r < 0)
        return r;
    if (bki_ws_check_request(&req->head, &offer) < 0)
        return refuse_req(req, &offer);
    r = bki_http_flush(req);
    if (r == 0)
        r = accept_head(out, &s, &req->head, offer.key, opts ? opts : &default_opts);
    if (r == 0)
        bki_http_hand_over(req);
    bki_task_trim(bki_self());
    return r;
}

/* ---- Client ---- */

struct target {
    char *address; /* for bk_connect */
    char *host;    /* for the Host field */
    char *path;    /* with the query */
    char *shown;   /* the URL without its secrets, for messages */
    bool tls;
};

static void free_target(struct target *t)
{
    bki_free(t->address);
    bki_free(t->host);
    bki_free(t->path);
    bki_free(t->shown);
}

/* What is wrong with the URL; NULL: nothing. */
static const char *url_fault(const struct bki_url *url)
{
    if (!bki_url_scheme_is(url, "ws") && !bki_url_scheme_is(url, "wss"))
        return "not a ws:// or wss:// URL";
    if (!url->host.data || url->host.len == 0)
        return "the host is missing";
    if (url->userinfo.data)
        return "a user and password do not go in here: pass an Authorization header";
    if (url->fragment.data)
        return "a WebSocket URL has no fragment";
    if (url->port == 0)
        return "there is no port 0";
    return NULL;
}

static char *join(const char *format, ...) BK_PRINTF(1, 2);

static char *join(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = bki_alloc((size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

#define SPAN_ARGS(span) (int)(span).len, (span).len > 0 ? (span).data : ""

static int make_target(struct target *t, const char *text)
{
    struct bki_url url;
    char shown[200];
    int r = bki_url_parse(&url, text);
    if (r < 0)
        return r;
    bki_url_redacted(&url, shown, sizeof shown);
    const char *fault = url_fault(&url);
    if (fault)
        return bk_fail(-BK_EURL, "%s: %s", shown, fault);
    const char *open = url.host_is_ipv6 ? "[" : "", *close = url.host_is_ipv6 ? "]" : "";
    t->tls = bki_url_scheme_is(&url, "wss");
    int usual = t->tls ? 443 : 80, port = url.port < 0 ? usual : url.port;
    t->address = join("%s%.*s%s:%d", open, SPAN_ARGS(url.host), close, port);
    t->host = port == usual ? join("%s%.*s%s", open, SPAN_ARGS(url.host), close)
                            : join("%s%.*s%s:%d", open, SPAN_ARGS(url.host), close, port);
    t->path = join("%s%.*s%s%.*s", url.path.len == 0 ? "/" : "", SPAN_ARGS(url.path),
                   url.query.data ? "?" : "", SPAN_ARGS(url.query));
    t->shown = bki_strdup(shown);
    if (!t->address || !t->host || !t->path || !t->shown)
        return bk_fail(-ENOMEM, "no memory for a WebSocket connection");
    return 0;
}

static ssize_t write_request(struct bki_http_writer *w, const void *what)
{
    return bki_ws_write_request(w, what);
}

static int learn_compression(struct bk_ws *ws, const struct bki_http_head *h,
                             const bk_ws_opts *opts, const char *shown)
{
    struct bki_ws_terms wish = bki_ws_zip_wish(&opts->deflate), agreed;
    const char *why = NULL;
    int r = opts->deflate.on ? bki_ws_offer_judge(h, &wish, &agreed, &why) : 0;
    if (r < 0)
        return bk_fail(r, "%s: %s", shown, why);
    if (r == 0)
        return 0;
    ssize_t i = bki_http_find(h, "Sec-WebSocket-Extensions", 0);
    r = keep_text(&ws->extensions, bki_http_span(h, h->fields[i].value));
    return r < 0 ? r : begin_compression(ws, &agreed, opts);
}

static int read_response(struct bk_ws *ws, bk_stream *s, const struct bki_ws_request *request,
                         const bk_ws_opts *opts, const char *shown)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head h;
    struct bki_ws_agreed agreed;
    bki_http_init(&h, BKI_HTTP_RESPONSE, fields, BKI_HTTP_MAX_FIELDS, NULL);
    int r = bki_http_read_head(s, &h);
    if (r == 0)
        return bk_fail(-BK_EREFUSED, "%s: the server closed the connection without an answer",
                       shown);
    if (r == -BK_EPROTO || r == -BK_ELIMIT)
        return bk_fail(-BK_EPROTO, "%s: %s", shown, bki_http_error_text(h.error));
    if (r < 0)
        return r;
    r = bki_ws_check_response(&h, request, &agreed);
    bk_span reason = bki_http_span(&h, h.reason);
    if (r == -BK_EREFUSED)
        return bk_fail(r, "%s: the server answered %d %.*s", shown, h.status, SPAN_ARGS(reason));
    if (r < 0)
        return bk_fail(r, "%s: %s", shown, agreed.why ? agreed.why : "out of memory");
    r = learn_compression(ws, &h, opts, shown);
    if (r == 0 && agreed.protocol.len > 0)
        r = keep_text(&ws->protocol, agreed.protocol);
    bk_stream_consume(s, h.len);
    return r;
}

/* Asks for a WebSocket on the stream that ws has. */
static int shake_hands(struct bk_ws *ws, const struct target *t, const bk_ws_opts *opts)
{
    char key[BKI_WS_KEY_LEN + 1], offer[BKI_WS_TERMS_TEXT] = "";
    struct bki_ws_terms wish = bki_ws_zip_wish(&opts->deflate);
    if (opts->deflate.on)
        bki_ws_offer_write(&wish, offer);
    int r = bki_ws_handshake_key(ws->keys, key);
    if (r < 0)
        return bki_fail_errno(r, "%s: no random key", t->shown);
    struct bki_ws_request request = {
        .host = bk_span_str(t->host),
        .target = bk_span_str(t->path),
        .key = bk_span_str(key),
        .origin = bk_span_str(opts->origin ? opts->origin : ""),
        .extensions = bk_span_str(offer),
        .protocols = opts->protocols,
        .headers = opts->headers,
    };
    r = send_head(ws->stream, write_request, &request);
    return r < 0 ? r : read_response(ws, ws->stream, &request, opts, t->shown);
}

static int connect_target(bk_ws **out, const struct target *t, const bk_ws_opts *opts)
{
    bk_stream *s = NULL;
    struct bk_ws *ws = NULL;
    bk_connect_opts how = {.timeout = bk_forever()};
    if (t->tls) {
        how.tls = opts->tls ? opts->tls : bk_tls_default();
        how.alpn = (const char *const[]){"http/1.1", NULL};
    }
    int r = bk_connect(&s, t->address, &how);
    if (r < 0)
        return r;
    r = bki_ws_stream_new(&ws, &s, BKI_WS_CLIENT, opts);
    if (r < 0)
        return bk_stream_close(&s, r);
    r = shake_hands(ws, t, opts);
    if (r == 0)
        r = bki_ws_ping_start(ws, opts);
    if (r < 0)
        return bki_ws_stream_free(ws, r);
    *out = ws;
    return 0;
}

int bk_ws_connect(bk_ws **out, const char *url, const bk_ws_opts *opts)
{
    struct target t = {0};
    bk_timeout *limit = NULL;
    if (!opts)
        opts = &default_opts;
    int r = make_target(&t, url);
    if (r == 0)
        r = bk_timeout_open(&limit, timeout_of(opts));
    if (r == 0)
        r = bk_timeout_close(&limit, connect_target(out, &t, opts));
    if (r == -ETIMEDOUT)
        bk_fail(r, "%s: no WebSocket within %lld ms", t.shown,
                (long long)(timeout_of(opts).ns / 1000000));
    free_target(&t);
    return r;
}
