/* SPDX-License-Identifier: MIT
 * The opening handshake on a stream, as a client: bk_ws_connect; and what both sides need. */
#include <beck/tls.h>
#include <stdio.h>

#include "base/alloc.h"
#include "proto/endpoint.h"
#include "proto/http_pool.h"
#include "proto/http_read.h"
#include "proto/http_send.h"
#include "proto/ws_handshake.h"
#include "proto/ws_stream.h"

#define DEFAULT_TIMEOUT_SECONDS 10

static const bk_ws_opts default_opts;

bk_duration bki_ws_timeout_of(const bk_ws_opts *opts)
{
    return opts->timeout.ns ? opts->timeout : bk_seconds(DEFAULT_TIMEOUT_SECONDS);
}

int bki_ws_send_head(bk_stream *s, bki_ws_write_fn *write, const void *what)
{
    return bki_http_send(s, write, what, bk_span_str(""), "WebSocket handshake");
}

int bki_ws_keep_text(char **out, bk_span text)
{
    *out = bki_strndup(text.data, text.len);
    return *out ? 0 : bk_fail(-ENOMEM, "no memory for a WebSocket connection");
}

int bki_ws_begin_compression(struct bk_ws *ws, const struct bki_ws_terms *agreed,
                             const bk_ws_opts *opts)
{
    ws->conn.rsv_allowed = BKI_WS_RSV1;
    return bki_ws_zip_new(&ws->zip, &opts->deflate, agreed);
}

/* ---- Client ---- */

#define SPAN_ARGS(span) (int)(span).len, (span).len > 0 ? (span).data : ""

static int make_target(struct bki_endpoint *t, const char *url)
{
    int r = bki_endpoint_make(t, url, "ws", "wss");
    if (r == 0 && (t->user || t->password))
        r = bk_fail(-BK_EURL,
                    "%s: a user and password do not go in here: pass an Authorization header",
                    t->shown);
    if (r == 0 && strchr(url, '#'))
        r = bk_fail(-BK_EURL, "%s: a WebSocket URL has no fragment", t->shown);
    return r;
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
    r = bki_ws_keep_text(&ws->extensions, bki_http_span(h, h->fields[i].value));
    return r < 0 ? r : bki_ws_begin_compression(ws, &agreed, opts);
}

static int read_response(struct bk_ws *ws, bk_stream *s, const struct bki_ws_request *request,
                         const bk_ws_opts *opts, const char *shown)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head h;
    struct bki_ws_agreed agreed;
    bki_http_init(&h, BKI_HTTP_RESPONSE, fields, BKI_HTTP_MAX_FIELDS, NULL);
    int r = bki_http_read_response(s, &h);
    if (r == 0)
        return bk_fail(-BK_EREFUSED, "%s: the server closed the connection without an answer",
                       shown);
    if (r < 0)
        return r == -ECANCELED ? r
                               : bk_fail(h.error ? -BK_EPROTO : r, "%s: %s", shown, bk_errmsg());
    r = bki_ws_check_response(&h, request, &agreed);
    bk_span reason = bki_http_span(&h, h.reason);
    if (r == -BK_EREFUSED)
        return bk_fail(r, "%s: the server answered %d %.*s", shown, h.status, SPAN_ARGS(reason));
    if (r < 0)
        return bk_fail(r, "%s: %s", shown, agreed.why ? agreed.why : "out of memory");
    r = learn_compression(ws, &h, opts, shown);
    if (r == 0 && agreed.protocol.len > 0)
        r = bki_ws_keep_text(&ws->protocol, agreed.protocol);
    bk_stream_consume(s, h.len);
    return r;
}

/* Asks for a WebSocket on the stream. */
static int shake_hands(struct bk_ws *ws, bk_stream *s, const struct bki_endpoint *t,
                       const bk_ws_opts *opts)
{
    char key[BKI_WS_KEY_LEN + 1], offer[BKI_WS_TERMS_TEXT] = "";
    struct bki_ws_terms wish = bki_ws_zip_wish(&opts->deflate);
    if (opts->deflate.on)
        bki_ws_offer_write(&wish, offer);
    int r = bki_ws_handshake_key(ws->keys, key);
    if (r < 0)
        return bki_fail_errno(r, "%s: no random key", t->shown);
    struct bki_ws_request request = {
        .host = bk_span_str(t->authority),
        .target = bk_span_str(t->path),
        .key = bk_span_str(key),
        .origin = bk_span_str(opts->origin ? opts->origin : ""),
        .extensions = bk_span_str(offer),
        .protocols = opts->protocols,
        .headers = opts->headers,
    };
    r = bki_ws_send_head(s, write_request, &request);
    return r < 0 ? r : read_response(ws, s, &request, opts, t->shown);
}

/* Through a proxy by CONNECT, without TLS as well (RFC 6455 4.1). */
static int connect_stream(bk_stream **out, const struct bki_endpoint *t, const bk_ws_opts *opts)
{
    struct bki_endpoint proxy;
    char agent[40];
    struct bki_http_means means = {.tls = opts->tls, .user_agent = agent};
    struct bki_http_route route = {.target = t, .tunnel = true};
    snprintf(agent, sizeof agent, "beck/%s", bk_version());
    int r = bki_http_choose_proxy(&proxy, t, opts->proxy);
    route.proxy = r > 0 ? &proxy : NULL;
    if (!means.tls && (t->secure || (r > 0 && proxy.secure)))
        means.tls = bk_tls_default();
    if (r >= 0)
        r = bki_http_connect(out, &means, &route);
    bki_endpoint_free(&proxy);
    return r;
}

static int connect_target(bk_ws **out, const struct bki_endpoint *t, const bk_ws_opts *opts)
{
    bk_stream *s = NULL;
    struct bk_ws *ws = NULL;
    int r = connect_stream(&s, t, opts);
    if (r < 0)
        return r;
    r = bki_ws_new(&ws, BKI_WS_CLIENT, opts);
    if (r == 0)
        r = shake_hands(ws, s, t, opts);
    if (r == 0)
        r = bki_ws_start(ws, &s, opts);
    if (r < 0) {
        bk_stream_close(&s, -1);
        return bki_ws_free(ws, r);
    }
    *out = ws;
    return 0;
}

int bk_ws_connect(bk_ws **out, const char *url, const bk_ws_opts *opts)
{
    struct bki_endpoint t;
    bk_timeout *limit = NULL;
    if (!opts)
        opts = &default_opts;
    int r = make_target(&t, url);
    if (r == 0)
        r = bk_timeout_open(&limit, bki_ws_timeout_of(opts));
    if (r == 0)
        r = bk_timeout_close(&limit, connect_target(out, &t, opts));
    if (r == -ETIMEDOUT)
        bk_fail(r, "%s: no WebSocket within %lld ms", t.shown,
                (long long)(bki_ws_timeout_of(opts).ns / 1000000));
    bki_endpoint_free(&t);
    return r;
}
