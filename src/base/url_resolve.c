/* SPDX-License-Identifier: MIT
 * References resolved against a base URL (RFC 3986 5.2). */
#include <beck/error.h>

#include "base/alloc.h"
#include "base/text.h"
#include "base/url.h"

/* The five components as appendix B splits any text; data is NULL for one that is absent. */
struct parts {
    bk_span scheme, authority, path, query, fragment;
};

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_scheme(bk_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!is_alpha(c) && !(other && i > 0))
            return false;
    }
    return text.len > 0;
}

static size_t span_until(const char *p, const char *end, const char *stop)
{
    const char *at = p;
    while (at < end && !strchr(stop, *at))
        at++;
    return (size_t)(at - p);
}

static struct parts split(bk_span text)
{
    struct parts parts = {0};
    const char *p = text.data, *end = p + text.len;
    size_t n = span_until(p, end, ":/?#");
    if (p + n < end && p[n] == ':' && is_scheme(bk_span_of(p, n))) {
        parts.scheme = bk_span_of(p, n);
        p += n + 1;
    }
    if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
        p += 2;
        n = span_until(p, end, "/?#");
        parts.authority = bk_span_of(p, n);
        p += n;
    }
    n = span_until(p, end, "?#");
    parts.path = bk_span_of(p, n);
    p += n;
    if (p < end && *p == '?') {
        n = span_until(++p, end, "#");
        parts.query = bk_span_of(p, n);
        p += n;
    }
    if (p < end)
        parts.fragment = bk_span_of(p + 1, (size_t)(end - p - 1));
    return parts;
}

/* ---- Putting together ---- */

struct text {
    char *bytes; /* room enough for all */
    size_t len;
};

static void put(struct text *out, const char *bytes, size_t len)
{
    if (len > 0)
        memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

/* May the byte stand in a URL as it is (RFC 3986 2)?  A '%' does with two hex digits behind it. */
static bool is_kept(bk_span part, size_t i)
{
    char c = part.data[i];
    if (c == '%')
        return bki_is_percent_triple(part.data + i, part.len - i);
    return c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c);
}

static void put_encoded(struct text *out, bk_span part)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.data[i];
        if (is_kept(part, i))
            put(out, part.data + i, 1);
        else
            put(out, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

static void put_part(struct text *out, const char *before, bk_span part)
{
    if (part.data) {
        put(out, before, strlen(before));
        put_encoded(out, part);
    }
}

static bool starts(const char *p, const char *end, const char *with)
{
    size_t len = strlen(with);
    return (size_t)(end - p) >= len && memcmp(p, with, len) == 0;
}

static bool is_rest(const char *p, const char *end, const char *text)
{
    return (size_t)(end - p) == strlen(text) && starts(p, end, text);
}

/* Section 5.2.4, in place over out->bytes[from..out->len). */
static void remove_dot_segments(struct text *out, size_t from)
{
    const char *p = out->bytes + from, *end = out->bytes + out->len;
    char *const base = out->bytes + from, *to = base;
    while (p < end) {
        bool up = starts(p, end, "/../") || is_rest(p, end, "/..");
        if (up || starts(p, end, "/./") || is_rest(p, end, "/.")) {
            const char *next = p + (up ? 3 : 2);
            if (next == end)
                end = p + 1; /* a "/" is left of it */
            else
                p = next;
            while (up && to > base && *--to != '/')
                continue;
        } else if (starts(p, end, "../") || starts(p, end, "./")) {
            p += *p == '.' && p[1] == '.' ? 3 : 2;
        } else if (is_rest(p, end, ".") || is_rest(p, end, "..")) {
            break;
        } else {
            size_t n = 1 + span_until(p + 1, end, "/");
            memmove(to, p, n);
            to += n;
            p += n;
        }
    }
    out->len = (size_t)(to - out->bytes);
}

/* Section 5.2.3: the base's path up to its last "/", then the reference's. */
static void put_merged(struct text *out, const struct parts *base, bk_span path)
{
    size_t n = base->path.len;
    while (n > 0 && base->path.data[n - 1] != '/')
        n--;
    if (base->authority.data && base->path.len == 0)
        put(out, "/", 1);
    put_encoded(out, bk_span_of(base->path.data, n));
    put_encoded(out, path);
}

static void put_target(struct text *out, const struct parts *base, const struct parts *ref)
{
    bool whole = ref->scheme.data, own_authority = whole || ref->authority.data;
    bool own_path = own_authority || ref->path.len > 0;
    put_part(out, "", whole ? ref->scheme : base->scheme);
    put(out, ":", 1);
    put_part(out, "//", own_authority ? ref->authority : base->authority);
    size_t path = out->len;
    if (!own_path) {
        put_encoded(out, base->path);
    } else {
        if (own_authority || ref->path.data[0] == '/')
            put_encoded(out, ref->path);
        else
            put_merged(out, base, ref->path);
        remove_dot_segments(out, path);
    }
    put_part(out, "?", own_path || ref->query.data ? ref->query : base->query);
    put_part(out, "#", ref->fragment);
}

static int check_text(bk_span text, const char *what)
{
    if (text.len > BKI_URL_MAX)
        return bk_fail(-BK_EURL, "%s is over %d bytes", what, BKI_URL_MAX);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return bk_fail(-BK_EURL, "%s, byte %zu: a control character", what, i + 1);
    return 0;
}

int bki_url_resolve(char **out, const char *base, bk_span reference)
{
    int r = check_text(bk_span_str(base), "base URL");
    if (r == 0)
        r = check_text(reference, "URL reference");
    if (r < 0)
        return r;
    struct parts b = split(bk_span_str(base));
    struct parts ref = split(reference.data ? reference : bk_span_str(""));
    if (!b.scheme.data)
        return bk_fail(-BK_EURL, "base URL: it is not absolute");
    struct text text = {.bytes = bki_alloc(3 * (strlen(base) + reference.len) + 8)};
    if (!text.bytes)
        return bk_fail(-ENOMEM, "no memory for a URL");
    put_target(&text, &b, &ref);
    text.bytes[text.len] = '\0';
    *out = text.bytes;
    return 0;
}
