/* SPDX-License-Identifier: MIT
 * HTTP calls as their users see them: time limits, retries, redirects. */
#include "base/alloc.h"
#include "proto/http_call.h"
#include "proto/http_chars.h"

#define DEFAULT_TIMEOUT_SECONDS 30
#define DEFAULT_STALL_SECONDS 60
#define DEFAULT_REDIRECTS 5
#define DEFAULT_MAX_BODY ((size_t)16 * 1024 * 1024)

static const bk_http_opts default_opts;

/* ---- Making a call ---- */

static int choose_proxy(struct bk_http_call *call)
{
    bki_endpoint_free(&call->proxy);
    int r = bki_http_choose_proxy(&call->proxy, &call->target, call->client->proxy);
    call->by_proxy = r > 0;
    return r < 0 ? r : 0;
}

static int set_target(struct bk_http_call *call, const char *url)
{
    bki_endpoint_free(&call->target);
    int r = bki_endpoint_make(&call->target, url, "http", "https");
    return r < 0 ? r : choose_proxy(call);
}

static bk_duration or_seconds(bk_duration given, int seconds)
{
    return given.ns ? given : bk_seconds(seconds);
}

static void apply_opts(struct bk_http_call *call, const bk_http_opts *opts)
{
    const bk_http_headers *headers = opts->headers;
    call->timeout = or_seconds(opts->timeout, DEFAULT_TIMEOUT_SECONDS);
    call->stall_timeout = or_seconds(opts->stall_timeout, DEFAULT_STALL_SECONDS);
    call->max_redirects = opts->max_redirects ? opts->max_redirects : DEFAULT_REDIRECTS;
    call->redirect_to_http = opts->redirect_to_http;
    call->max_body = opts->max_body ? opts->max_body : DEFAULT_MAX_BODY;
    if (call->max_body > SIZE_MAX / 4)
        call->max_body = SIZE_MAX / 4;
    call->expect = opts->expect_continue;
    call->ranged = headers && bk_http_headers_get(headers, "Range");
    call->own_coding =
        opts->raw || call->ranged || (headers && bk_http_headers_get(headers, "Accept-Encoding"));
    call->upgrade = headers && bk_http_headers_get(headers, "Upgrade");
}

static int new_call(struct bk_http_call **out, bk_http_client *client, const char *method,
                    const char *url, bool has_body, const bk_http_opts *opts)
{
    if (strlen(method) >= BKI_HTTP_METHOD_MAX || !bki_is_token(bk_span_str(method)))
        return bk_fail(-EINVAL, "the HTTP method is not a token of fewer than %d bytes",
                       BKI_HTTP_METHOD_MAX);
    if (has_body && strcmp(method, "TRACE") == 0) /* RFC 9110 9.3.8 */
        return bk_fail(-EINVAL, "a TRACE request has no body");
    struct bk_http_call *call = bki_zalloc(sizeof *call);
    if (!call)
        return bk_fail(-ENOMEM, "no memory for an HTTP call");
    int r = client ? 0 : bk_http_client_new(&call->own_client, NULL);
    if (r < 0) {
        bki_free(call);
        return r;
    }
    call->client = client ? client : call->own_client;
    call->client->refs++;
    memcpy(call->method, method, strlen(method) + 1);
    apply_opts(call, opts);
    r = set_target(call, url);
    *out = call;
    return r < 0 ? bk_http_call_close(out, r) : 0;
}

int bk_http_call_close(bk_http_call **call, int r)
{
    struct bk_http_call *c = *call;
    *call = NULL;
    if (!c)
        return r;
    bki_http_reset(c);
    bki_http_headers_release(&c->headers);
    bki_http_headers_release(&c->reader.trailers);
    bki_endpoint_free(&c->target);
    bki_endpoint_free(&c->proxy);
    bki_http_client_unref(c->client);
    bk_http_client_free(&c->own_client);
    bki_free(c);
    return r;
}

/* ---- One exchange; once more on a fresh connection, or without an expectation ---- */

/* What may be sent twice (RFC 9110 9.2.2). */
static bool is_idempotent(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return false;
}

static int exchange(struct bk_http_call *call, const struct bki_http_request *request)
{
    bool stale;
    int r = bki_http_exchange(call, request, false, &stale);
    if (r < 0 && stale && is_idempotent(call->method)) {
        bki_http_reset(call);
        r = bki_http_exchange(call, request, true, &stale);
    }
    if (r == 0 && call->expect && call->head.status == 417) { /* RFC 9110 10.1.1 */
        bki_http_reset(call);
        call->expect = false;
        r = bki_http_exchange(call, request, false, &stale);
    }
    return r;
}

/* ---- Redirects (RFC 9110 15.4) ---- */

static bool is_redirect(const struct bk_http_call *call, bk_span *location)
{
    int status = call->head.status;
    bool kind = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    return kind && call->max_redirects > 0 && bki_http_get(&call->head, "Location", location) == 1;
}

/* The next request is a GET without a body, where the status says so. */
static void change_method(struct bk_http_call *call, struct bki_http_request *request)
{
    int status = call->head.status;
    bool is_head = strcmp(call->method, "HEAD") == 0;
    bool was_post = strcmp(call->method, "POST") == 0;
    if ((status == 303 && !is_head) || ((status == 301 || status == 302) && was_post)) {
        memcpy(call->method, "GET", sizeof "GET");
        request->body = bk_span_str("");
        request->bodiless = true;
        call->body_len = 0;
        call->expect = false;
    }
}

static int check_new_target(const struct bk_http_call *call, const struct bki_endpoint *before)
{
    if (before->secure && !call->target.secure && !call->redirect_to_http)
        return bk_fail(-BK_EURL, "%s: redirected from https: to %s", before->shown,
                       call->target.shown);
    return 0;
}

/* User information in a URL holds for the whole of its origin. */
static void keep_user(struct bki_endpoint *target, struct bki_endpoint *before)
{
    if (target->user)
        return;
    target->user = before->user;
    target->password = before->password;
    before->user = before->password = NULL;
}

static int follow(struct bk_http_call *call, struct bki_http_request *request, bk_span location)
{
    struct bki_endpoint before = call->target;
    char *base =
        bki_text_join("%s://%s%s", before.secure ? "https" : "http", before.authority, before.path);
    char *url = NULL;
    int r =
        base ? bki_url_resolve(&url, base, location) : bk_fail(-ENOMEM, "no memory for a redirect");
    change_method(call, request);
    bki_http_reset(call);
    call->target = (struct bki_endpoint){0};
    if (r == 0)
        r = set_target(call, url);
    if (r == -BK_EURL)
        r = bk_fail(r, "%s: redirected to something else than an HTTP URL: %s", before.shown,
                    bk_errmsg());
    if (r == 0)
        r = check_new_target(call, &before);
    if (r == 0 && bki_endpoint_same_origin(&before, &call->target))
        keep_user(&call->target, &before);
    else
        request->foreign = true;
    bki_free(base);
    bki_free(url);
    bki_endpoint_free(&before);
    return r;
}

static int exchange_all(struct bk_http_call *call, struct bki_http_request *request)
{
    bk_span location;
    for (int n_redirects = 0;; n_redirects++) {
        int r = exchange(call, request);
        if (r < 0 || !is_redirect(call, &location))
            return r;
        if (n_redirects == call->max_redirects)
            return bk_fail(-BK_ELIMIT, "%s: more than %d redirects", call->target.shown,
                           call->max_redirects);
        r = follow(call, request, location);
        if (r < 0)
            return r;
    }
}

/* ---- The public calls ---- */

/* What ran into a time limit of its own, such as a TLS handshake, has said so. */
static int end_limit(const struct bk_http_call *call, bk_timeout **limit, int r)
{
    int end = bk_timeout_close(limit, r);
    if (end == -ETIMEDOUT && r == -ECANCELED)
        bk_fail(end, "%s: no answer within %lld ms", call->target.shown ? call->target.shown : "",
                (long long)(call->timeout.ns / 1000000));
    return end;
}

static struct bki_http_request request_of(const bk_http_opts *opts, bk_span body)
{
    return (struct bki_http_request){.body = body,
                                     .headers = opts->headers,
                                     .user = opts->user,
                                     .password = opts->password,
                                     .bearer = opts->bearer};
}

int bk_http_request(bk_http_call **out, bk_http_client *client, const char *method, const char *url,
                    bk_span body, const bk_http_opts *opts)
{
    struct bk_http_call *call = NULL;
    bk_timeout *limit = NULL;
    if (!opts)
        opts = &default_opts;
    int r = new_call(&call, client, method, url, body.len > 0, opts);
    if (r < 0)
        return r;
    struct bki_http_request request = request_of(opts, body);
    call->body_len = (int64_t)body.len;
    call->expect = call->expect && body.len > 0;
    r = bk_timeout_open(&limit, call->timeout);
    if (r == 0)
        r = end_limit(call, &limit, exchange_all(call, &request));
    if (r < 0)
        return bk_http_call_close(&call, r);
    *out = call;
    return 0;
}

int bk_http_get(bk_http_call **out, bk_http_client *client, const char *url,
                const bk_http_opts *opts)
{
    return bk_http_request(out, client, "GET", url, bk_span_str(""), opts);
}

int bk_http_open(bk_http_call **out, bk_http_client *client, const char *method, const char *url,
                 int64_t len, const bk_http_opts *opts)
{
    struct bk_http_call *call = NULL;
    bk_timeout *limit = NULL;
    bool stale;
    if (!opts)
        opts = &default_opts;
    int r = new_call(&call, client, method, url, len != 0, opts);
    if (r < 0)
        return r;
    struct bki_http_request request = request_of(opts, bk_span_str(""));
    call->streamed = true;
    call->body_len = len < 0 ? -1 : len;
    call->max_redirects = -1;
    r = bk_timeout_open(&limit, call->timeout);
    if (r == 0) {
        r = bki_http_begin(call, &request, !is_idempotent(method));
        if (r == 0 && call->expect)
            r = bki_http_wait_for_continue(call, &stale);
        r = end_limit(call, &limit, r);
    }
    if (r < 0)
        return bk_http_call_close(&call, r);
    *out = call;
    return 0;
}

int bk_http_call_finish(bk_http_call *call)
{
    bk_timeout *limit = NULL;
    bool stale;
    if (!call->streamed || call->body_done)
        return bk_fail(-EINVAL, "%s: no body is being sent", call->target.shown);
    int r = bk_timeout_open(&limit, call->timeout);
    if (r < 0)
        return r;
    r = bki_http_end_body(call);
    if (r == 0)
        r = bki_http_receive_head(call, &stale);
    return end_limit(call, &limit, r);
}
