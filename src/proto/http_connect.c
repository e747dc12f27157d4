/* SPDX-License-Identifier: MIT
 * A connection for a client of HTTP or WebSocket: to the origin, to a proxy, or through one (RFC
 * 9110 9.3.6). */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "proto/http_call.h"
#include "proto/http_proxy.h"
#include "proto/http_read.h"
#include "proto/http_send.h"

int bki_http_choose_proxy(struct bki_endpoint *proxy, const struct bki_endpoint *target,
                          const char *given)
{
    *proxy = (struct bki_endpoint){0};
    if (!given)
        given = bki_proxy_from_env(target, getenv);
    if (!given || !*given)
        return 0;
    int r = bki_endpoint_make_proxy(proxy, given);
    return r < 0 ? r : 1;
}

static int start_tls(bk_stream *s, const struct bki_http_means *means, const char *host)
{
    static const char *const alpn[] = {"http/1.1", NULL};
    return bk_stream_start_tls(s, means->tls,
                               &(bk_start_tls_opts){.server_name = host, .alpn = alpn});
}

char *bki_http_basic(const char *user, const char *password)
{
    char *plain = bki_text_join("%s:%s", user ? user : "", password ? password : "");
    size_t len = plain ? strlen(plain) : 0;
    char *value = plain ? bki_alloc(sizeof "Basic " + BKI_BASE64_LEN(len)) : NULL;
    if (value) {
        memcpy(value, "Basic ", 6);
        bki_base64_encode(value + 6, plain, len);
    }
    bki_free(plain);
    return value;
}

/* ---- Tunnels ---- */

struct tunnel {
    const struct bki_endpoint *target;
    const char *credentials;
    const char *user_agent;
};

static ssize_t write_connect(struct bki_http_writer *w, const void *what)
{
    const struct tunnel *tunnel = what;
    bk_span address = bk_span_str(tunnel->target->address);
    bki_http_write_request(w, bk_span_str("CONNECT"), address);
    bki_http_write_field(w, bk_span_str("Host"), address);
    bki_http_write_field(w, bk_span_str("User-Agent"), bk_span_str(tunnel->user_agent));
    if (tunnel->credentials)
        bki_http_write_field(w, bk_span_str("Proxy-Authorization"),
                             bk_span_str(tunnel->credentials));
    return bki_http_write_end(w);
}

static int read_connect_answer(bk_stream *s, const struct bki_endpoint *proxy)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head head;
    bki_http_init(&head, BKI_HTTP_RESPONSE, fields, BKI_HTTP_MAX_FIELDS, NULL);
    head.asked = "CONNECT";
    int r = bki_http_read_response(s, &head);
    if (r == 0 || r == -BK_EINCOMPLETE)
        return bk_fail(-BK_EREFUSED, "proxy %s: it closed the connection", proxy->shown);
    if (r < 0)
        return r == -ECANCELED ? r : bk_fail(r, "proxy %s: %s", proxy->shown, bk_errmsg());
    if (head.status / 100 != 2)
        return bk_fail(-BK_EREFUSED, "proxy %s: it answered %d %.*s", proxy->shown, head.status,
                       (int)head.reason.len, head.base + head.reason.at);
    bk_stream_consume(s, head.len);
    return 0;
}

static int open_tunnel(bk_stream *s, const struct bki_http_means *means,
                       const struct bki_http_route *route)
{
    char *credentials = NULL;
    if (route->proxy->user) {
        credentials = bki_http_basic(route->proxy->user, route->proxy->password);
        if (!credentials)
            return bk_fail(-ENOMEM, "no memory for credentials");
    }
    struct tunnel tunnel = {route->target, credentials, means->user_agent};
    int r = bki_http_send(s, write_connect, &tunnel, bk_span_str(""), "CONNECT request");
    bki_free(credentials);
    return r < 0 ? r : read_connect_answer(s, route->proxy);
}

static int connect_by_proxy(bk_stream *s, const struct bki_http_means *means,
                            const struct bki_http_route *route)
{
    int r = route->proxy->secure ? start_tls(s, means, route->proxy->host) : 0;
    if (r == 0 && (route->target->secure || route->tunnel))
        r = open_tunnel(s, means, route);
    return r;
}

int bki_http_connect(bk_stream **out, const struct bki_http_means *means,
                     const struct bki_http_route *route)
{
    const struct bki_endpoint *first = route->proxy ? route->proxy : route->target;
    bk_stream *s = NULL;
    int r = bk_connect(&s, first->address,
                       &(bk_connect_opts){.timeout = bk_forever(),
                                          .stream = {.read_limit = BKI_HTTP_STREAM_LIMIT}});
    if (r == 0 && route->proxy)
        r = connect_by_proxy(s, means, route);
    if (r == 0 && route->target->secure)
        r = start_tls(s, means, route->target->host);
    if (r < 0)
        return bk_stream_close(&s, r);
    *out = s;
    return 0;
}
