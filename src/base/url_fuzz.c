/* SPDX-License-Identifier: MIT
 * Fuzzes the URL parser: whatever the text, the parts lie inside it and put it together again, the
 * query ends, and the redacted form is bounded and shows no user information. */
#include <stdlib.h>

#include <beck/error.h>

#include "base/alloc.h"
#include "base/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static size_t part_len(const struct bki_url *url, const char *text, bk_span part)
{
    const char *end = url->rest.data + url->rest.len;
    must(!part.data || (part.data >= text && part.data + part.len <= end));
    return part.data ? part.len + 1 : 0; /* a present part has one delimiter of its own */
}

static void check_parts(const struct bki_url *url, const char *text)
{
    size_t len = part_len(url, text, url->query) + part_len(url, text, url->fragment);
    len += part_len(url, text, url->path) - 1;
    if (url->host.data) {
        const char *host_end = url->host.data + url->host.len;
        const char *authority = url->userinfo.data ? url->userinfo.data : url->host.data;
        must(authority - url->rest.data == 2 + (url->host_is_ipv6 && !url->userinfo.data));
        must(host_end <= url->path.data);
        must(url->port >= -1 && url->port <= 65535);
        len += (size_t)(url->path.data - url->rest.data);
    }
    must(len == url->rest.len);
}

static void check_query(const struct bki_url *url)
{
    struct bki_url_query q;
    int r;
    size_t n = 0;
    bki_url_query_begin(&q, url->query);
    while ((r = bki_url_query_next(&q)) > 0) {
        must(q.name && ++n <= url->query.len);
        must(strlen(q.name) + (q.value ? strlen(q.value) : 0) <= url->query.len);
    }
    must(r == 0 || r == -BK_EURL);
    bki_url_query_end(&q);
}

static void check_redacted(const struct bki_url *url)
{
    char text[100];
    for (size_t size = 1; size <= sizeof text; size += 33) {
        must(bki_url_redacted(url, text, size) == text);
        must(strlen(text) < size);
        must(!url->userinfo.data || !strchr(text, '@') || strstr(text, "***@"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bki_url url;
    char *text = bki_strndup((const char *)data, size), *decoded = NULL;
    if (!text)
        return 0;
    int r = bki_url_parse(&url, text);
    must(r == 0 || (r == -BK_EURL && *bk_errmsg()));
    if (r == 0) {
        check_parts(&url, text);
        check_query(&url);
        check_redacted(&url);
        if (bki_url_decode(&decoded, url.rest) == 0)
            must(strlen(decoded) <= url.rest.len);
    }
    bki_free(decoded);
    bki_free(text);
    return 0;
}
