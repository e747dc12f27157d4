/* SPDX-License-Identifier: MIT
 * URLs of protocols on streams, taken apart and checked. */
#include "proto/endpoint.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include <beck/error.h>

#include "base/alloc.h"

#define SHOWN_MAX 200
#define SPAN_ARGS(span) (int)(span).len, (span).len > 0 ? (span).data : ""

char *bki_text_join(const char *format, ...)
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

void bki_endpoint_free(struct bki_endpoint *t)
{
    bki_free(t->host);
    bki_free(t->address);
    bki_free(t->authority);
    bki_free(t->path);
    bki_free(t->user);
    bki_free(t->password);
    bki_free(t->shown);
    memset(t, 0, sizeof *t);
}

static int take_userinfo(struct bki_endpoint *t, bk_span userinfo)
{
    const char *colon = memchr(userinfo.data, ':', userinfo.len);
    size_t user_len = colon ? (size_t)(colon - userinfo.data) : userinfo.len;
    int r = bki_url_decode(&t->user, bk_span_of(userinfo.data, user_len));
    if (r == 0)
        r = colon ? bki_url_decode(&t->password, bk_span_of(colon + 1, userinfo.len - user_len - 1))
                  : 0;
    return r;
}

/* The host as it is looked up (RFC 3986 6.2.2): percent-encoding undone, in lower case.  What that
 * lets through may not end up in a request's head. */
static int take_host(struct bki_endpoint *t, const struct bki_url *url)
{
    int r = bki_url_decode(&t->host, url->host);
    if (r < 0 || url->host_is_ipv6)
        return r;
    for (char *c = t->host; *c; c++) {
        if ((unsigned char)*c >= 0x80)
            return bk_fail(-BK_EURL, "%s: %s", t->shown, BKI_URL_XN);
        if (*c >= 'A' && *c <= 'Z')
            *c += 'a' - 'A';
        if (!isalnum((unsigned char)*c) && !strchr(".-_", *c))
            return bk_fail(-BK_EURL, "%s: a byte in the host that no name holds", t->shown);
    }
    return 0;
}

static int take_parts(struct bki_endpoint *t, const struct bki_url *url, bool secure)
{
    const char *open = url->host_is_ipv6 ? "[" : "", *close = url->host_is_ipv6 ? "]" : "";
    int own_port = secure ? 443 : 80, r = take_host(t, url);
    if (r < 0)
        return r;
    t->secure = secure;
    t->bare = url->path.len == 0 && !url->query.data;
    t->port = url->port < 0 ? own_port : url->port;
    t->address = bki_text_join("%s%s%s:%d", open, t->host, close, t->port);
    t->host[strcspn(t->host, "%")] = '\0'; /* a zone means something here alone (RFC 6874 4) */
    t->authority = t->port == own_port ? bki_text_join("%s%s%s", open, t->host, close)
                                       : bki_text_join("%s%s%s:%d", open, t->host, close, t->port);
    t->path = bki_text_join("%s%.*s%s%.*s", url->path.len == 0 ? "/" : "", SPAN_ARGS(url->path),
                            url->query.data ? "?" : "", SPAN_ARGS(url->query));
    if (!t->address || !t->authority || !t->path)
        return bk_fail(-ENOMEM, "no memory for a URL");
    return url->userinfo.data ? take_userinfo(t, url->userinfo) : 0;
}

int bki_endpoint_make(struct bki_endpoint *t, const char *text, const char *plain,
                      const char *secure)
{
    struct bki_url url;
    char shown[SHOWN_MAX];
    memset(t, 0, sizeof *t);
    int r = bki_url_parse(&url, text);
    if (r < 0)
        return r;
    bki_url_redacted(&url, shown, sizeof shown);
    t->shown = bki_strdup(shown);
    if (!t->shown)
        return bk_fail(-ENOMEM, "no memory for a URL");
    bool is_secure = bki_url_scheme_is(&url, secure);
    if (!is_secure && !bki_url_scheme_is(&url, plain))
        return bk_fail(-BK_EURL, "%s: not a URL with %s:// or %s://", shown, plain, secure);
    if (!url.host.data || url.host.len == 0)
        return bk_fail(-BK_EURL, "%s: the host is missing", shown);
    if (url.port == 0)
        return bk_fail(-BK_EURL, "%s: there is no port 0", shown);
    return take_parts(t, &url, is_secure);
}

int bki_endpoint_make_proxy(struct bki_endpoint *t, const char *url)
{
    memset(t, 0, sizeof *t);
    char *whole = bki_text_join("%s%s", strstr(url, "://") ? "" : "http://", url);
    if (!whole)
        return bk_fail(-ENOMEM, "no memory for a URL");
    int r = bki_endpoint_make(t, whole, "http", "https");
    if (r == -BK_EURL)
        bk_fail(r, "proxy: %s", bk_errmsg());
    bki_free(whole);
    return r;
}

bool bki_endpoint_same_origin(const struct bki_endpoint *a, const struct bki_endpoint *b)
{
    return a->secure == b->secure && strcmp(a->address, b->address) == 0;
}
