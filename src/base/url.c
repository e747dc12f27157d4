/* SPDX-License-Identifier: MIT
 * The URL parser.  Sections are those of RFC 3986. */
#include "base/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

#include <beck/error.h>

#include "base/alloc.h"
#include "base/text.h"

#define HOST_MAX 255 /* section 3.2.2 */

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

/* What user information and a registered name consist of, percent-encoding aside: the unreserved
 * characters and the sub-delimiters (sections 2.2, 2.3). */
static bool is_name_char(char c)
{
    return is_alpha(c) || is_digit(c) || is_one_of(c, "-._~!$&'()*+,;=");
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* A URL being read: text[0..len). */
struct reader {
    const char *text;
    const char *end;
};

static int refuse(const struct reader *r, const char *at, const char *why)
{
    return bk_fail(-BK_EURL, "URL, byte %zu: %s", (size_t)(at - r->text) + 1, why);
}

static int refuse_char(const struct reader *r, const char *at, const char *where)
{
    size_t place = (size_t)(at - r->text) + 1;
    unsigned char c = (unsigned char)*at;
    if (c == '%')
        return bk_fail(-BK_EURL, "URL, byte %zu: '%%' without two hex digits behind it", place);
    if (is_control((char)c) || c >= 0x80)
        return bk_fail(-BK_EURL, "URL, byte %zu: a byte 0x%02x in the %s; write %%%02X", place, c,
                       where, c);
    return bk_fail(-BK_EURL, "URL, byte %zu: '%c' in the %s; write %%%02X", place, c, where, c);
}

/* Checks every character of part: one that allowed() takes, or percent-encoded. */
static int check_chars(const struct reader *r, bk_span part, bool (*allowed)(char c),
                       const char *where)
{
    const char *end = part.data + part.len;
    for (const char *p = part.data; p < end;) {
        if (bki_is_percent_triple(p, (size_t)(end - p)))
            p += 3;
        else if (*p == '%' || !allowed(*p))
            return refuse_char(r, p, where);
        else
            p++;
    }
    return 0;
}

static bool is_userinfo_char(char c)
{
    return is_name_char(c) || c == ':';
}

/* More than section 3.3 and 3.4 list: brackets, braces and the like are common and do no harm.
 * Blanks and control characters would end an HTTP request line. */
static bool is_path_char(char c)
{
    return !is_control(c) && c != ' ' && (unsigned char)c < 0x80;
}

static bk_span between(const char *start, const char *end)
{
    return bk_span_of(start, (size_t)(end - start));
}

static const char *find(const char *p, const char *end, const char *set)
{
    while (p < end && !is_one_of(*p, set))
        p++;
    return p;
}

/* ":port" or nothing between the host and the end of the authority (section 3.2.3). */
static int parse_port(const struct reader *r, struct bki_url *url, const char *p, const char *end)
{
    if (p == end)
        return 0;
    if (*p != ':')
        return refuse(r, p, "only ':' and a port can follow the host");
    if (++p == end)
        return 0; /* an empty port is the default one */
    int port = 0;
    for (const char *digit = p; digit < end; digit++) {
        if (!is_digit(*digit))
            return refuse(r, digit, "a port consists of digits");
        port = port * 10 + (*digit - '0');
        if (port > 65535)
            return refuse(r, p, "a port is at most 65535");
    }
    url->port = port;
    return 0;
}

/* An IPv6 address, maybe with a zone: "fe80::1%25eth0" (RFC 6874). */
static int check_ipv6(const struct reader *r, bk_span host)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    const char *end = host.data + host.len, *zone = find(host.data, end, "%");
    size_t len = (size_t)(zone - host.data);
    if (len >= sizeof address)
        return refuse(r, host.data, "not an IPv6 address in the brackets");
    memcpy(address, host.data, len);
    address[len] = '\0';
    if (inet_pton(AF_INET6, address, &parsed) != 1)
        return refuse(r, host.data, "not an IPv6 address in the brackets");
    if (zone == end)
        return 0;
    if (end - zone < 4 || memcmp(zone, "%25", 3) != 0)
        return refuse(r, zone, "a zone is written as %25 and its name");
    return check_chars(r, between(zone + 3, end), is_name_char, "zone");
}

static int check_name(const struct reader *r, bk_span host)
{
    for (const char *p = host.data; p < host.data + host.len; p++)
        if ((unsigned char)*p >= 0x80)
            return refuse(r, p, BKI_URL_XN);
    return check_chars(r, host, is_name_char, "host");
}

/* [userinfo@]host[:port] (section 3.2) */
static int parse_authority(const struct reader *r, struct bki_url *url, const char *p,
                           const char *end)
{
    int result = 0;
    const char *at = find(p, end, "@");
    if (at < end) {
        url->userinfo = between(p, at);
        result = check_chars(r, url->userinfo, is_userinfo_char, "user information");
        if (result < 0)
            return result;
        p = at + 1;
    }
    if (p < end && *p == '[') {
        const char *close = find(p, end, "]");
        if (close == end)
            return refuse(r, p, "'[' without ']'");
        url->host = between(p + 1, close);
        url->host_is_ipv6 = true;
        result = check_ipv6(r, url->host);
        p = close + 1;
    } else {
        const char *colon = find(p, end, ":");
        url->host = between(p, colon);
        result = check_name(r, url->host);
        p = colon;
    }
    if (result < 0)
        return result;
    if (url->host.len > HOST_MAX)
        return refuse(r, url->host.data, "a host of more than 255 bytes");
    return parse_port(r, url, p, end);
}

/* path[?query][#fragment] (sections 3.3 to 3.5) */
static void parse_tail(struct bki_url *url, const char *p, const char *end)
{
    const char *path_end = find(p, end, "?#"), *query_end = find(path_end, end, "#");
    url->path = between(p, path_end);
    if (path_end < query_end)
        url->query = between(path_end + 1, query_end);
    if (query_end < end)
        url->fragment = between(query_end + 1, end);
}

/* With an authority only: a path of the file system, say, need not be encoded. */
static int check_tail(const struct reader *r, const struct bki_url *url)
{
    int result = check_chars(r, url->path, is_path_char, "path");
    if (result == 0 && url->query.data)
        result = check_chars(r, url->query, is_path_char, "query");
    if (result == 0 && url->fragment.data)
        result = check_chars(r, url->fragment, is_path_char, "fragment");
    return result;
}

static int parse_scheme(const struct reader *r, struct bki_url *url)
{
    const char *p = r->text;
    if (p == r->end)
        return refuse(r, p, "it is empty");
    while (p < r->end && (is_alpha(*p) || is_digit(*p) || is_one_of(*p, "+-.")))
        p++;
    if (p == r->text || *p != ':' || !is_alpha(*r->text))
        return refuse(r, r->text, "it must begin with a scheme, such as 'file:' or 'ws://'");
    url->scheme = between(r->text, p);
    url->rest = between(p + 1, r->end);
    return 0;
}

static int parse(struct bki_url *url, const char *text)
{
    struct reader r = {text, text + strnlen(text, BKI_URL_MAX + 1)};
    if (r.end - r.text > BKI_URL_MAX)
        return refuse(&r, r.end - 1, "a URL has at most 65536 bytes");
    if (strcmp(text, "-") == 0) {
        url->scheme = between(text, r.end);
        url->rest = url->path = between(r.end, r.end);
        return 0;
    }
    int result = parse_scheme(&r, url);
    if (result < 0)
        return result;
    const char *p = url->rest.data;
    if (r.end - p < 2 || p[0] != '/' || p[1] != '/') {
        parse_tail(url, p, r.end);
        return 0;
    }
    const char *authority_end = find(p + 2, r.end, "/?#");
    result = parse_authority(&r, url, p + 2, authority_end);
    if (result < 0)
        return result;
    parse_tail(url, authority_end, r.end);
    return check_tail(&r, url);
}

int bki_url_parse(struct bki_url *url, const char *text)
{
    *url = (struct bki_url){.port = -1};
    return parse(url, text);
}

bool bki_url_scheme_is(const struct bki_url *url, const char *scheme)
{
    return strlen(scheme) == url->scheme.len &&
           strncasecmp(url->scheme.data, scheme, url->scheme.len) == 0;
}

/* Decodes part to out, which has room for it and a NUL. */
static int decode_to(char *out, bk_span part)
{
    size_t at = 0;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.data[i];
        if (c == '%') {
            if (!bki_is_percent_triple(part.data + i, part.len - i))
                return bk_fail(-BK_EURL, "'%%' without two hex digits behind it; write %%25");
            c = (char)(bki_hex_value(part.data[i + 1]) * 16 + bki_hex_value(part.data[i + 2]));
            i += 2;
        }
        if (c == '\0')
            return bk_fail(-BK_EURL, "%%00 in a URL");
        out[at++] = c;
    }
    out[at] = '\0';
    return 0;
}

int bki_url_decode(char **out, bk_span part)
{
    char *text = bki_alloc(part.len + 1);
    if (!text)
        return bk_fail(-ENOMEM, "no memory for a URL of %zu bytes", part.len);
    int result = decode_to(text, part);
    if (result < 0)
        bki_free(text);
    else
        *out = text;
    return result;
}

void bki_url_query_begin(struct bki_url_query *q, bk_span query)
{
    *q = (struct bki_url_query){.left = query};
}

/* Takes the next raw pair off the front of a query; false at its end. */
static bool next_pair(bk_span *left, bk_span *name, bk_span *value)
{
    while (left->len > 0) {
        const char *p = left->data, *end = p + left->len;
        const char *pair_end = find(p, end, "&"), *equals = find(p, pair_end, "=");
        *left = pair_end < end ? between(pair_end + 1, end) : between(end, end);
        *name = between(p, equals);
        *value = equals < pair_end ? between(equals + 1, pair_end) : bk_span_of(NULL, 0);
        if (p < pair_end)
            return true;
    }
    return false;
}

int bki_url_query_next(struct bki_url_query *q)
{
    bk_span name, value;
    bki_url_query_end(q);
    if (!next_pair(&q->left, &name, &value))
        return 0;
    q->pair = bki_alloc(name.len + value.len + 2);
    if (!q->pair)
        return bk_fail(-ENOMEM, "no memory for a URL of %zu bytes", name.len + value.len);
    int result = decode_to(q->pair, name);
    if (result == 0 && value.data)
        result = decode_to(q->pair + name.len + 1, value);
    if (result < 0) {
        bki_url_query_end(q);
        return result;
    }
    q->name = q->pair;
    q->value = value.data ? q->pair + name.len + 1 : NULL;
    return 1;
}

/* Keeps what is left to read: bki_url_query_next uses it too. */
void bki_url_query_end(struct bki_url_query *q)
{
    bki_free(q->pair);
    q->pair = NULL;
    q->name = q->value = NULL;
}

int bki_url_query_get(bk_span query, const char *name, char **out)
{
    struct bki_url_query q;
    int result;
    bki_url_query_begin(&q, query);
    while ((result = bki_url_query_next(&q)) > 0) {
        if (strcmp(q.name, name) != 0)
            continue;
        char *value = bki_strdup(q.value ? q.value : "");
        if (value)
            *out = value;
        else
            result = bk_fail(-ENOMEM, "no memory for the value of '%.60s'", name);
        break;
    }
    bki_url_query_end(&q);
    return result;
}

/* Text being written, cut at `size`. */
struct writer {
    char *out;
    size_t size, len;
};

static void put(struct writer *w, bk_span part)
{
    for (size_t i = 0; i < part.len && w->len + 1 < w->size; i++)
        w->out[w->len++] = is_control(part.data[i]) ? '.' : part.data[i];
    w->out[w->len] = '\0';
}

static void put_text(struct writer *w, const char *text)
{
    put(w, bk_span_str(text));
}

static void put_query(struct writer *w, bk_span query)
{
    bk_span name, value;
    const char *separator = "?";
    while (next_pair(&query, &name, &value)) {
        put_text(w, separator);
        put(w, name);
        if (value.data)
            put_text(w, "=***");
        separator = "&";
    }
}

char *bki_url_redacted(const struct bki_url *url, char *out, size_t size)
{
    struct writer w = {out, size, 0};
    put(&w, url->scheme);
    if (url->rest.data != url->scheme.data + url->scheme.len)
        put_text(&w, ":");
    if (url->host.data) {
        put_text(&w, url->userinfo.data ? "//***@" : "//");
        put_text(&w, url->host_is_ipv6 ? "[" : "");
        put(&w, url->host);
        put_text(&w, url->host_is_ipv6 ? "]" : "");
        char port[16] = "";
        if (url->port >= 0)
            snprintf(port, sizeof port, ":%d", url->port);
        put_text(&w, port);
    }
    put(&w, url->path);
    put_query(&w, url->query);
    if (url->fragment.data)
        put_text(&w, "#***");
    return out;
}
