/* SPDX-License-Identifier: MIT
 * Request targets taken apart and decoded. */
#include "proto/http_query.h"

#include "base/text.h"

void bki_http_split_target(struct bki_http_parts *parts, bk_span target, enum bki_http_form form)
{
    *parts = (struct bki_http_parts){.path = target};
    if (form == BKI_HTTP_AUTHORITY) {
        parts->authority = target;
        parts->path = bk_span_str("");
        return;
    }
    const char *at = target.data, *end = target.data + target.len;
    if (form == BKI_HTTP_ABSOLUTE) {
        at = (const char *)memmem(at, target.len, "://", 3) + 3;
        const char *path = at;
        while (path < end && *path != '/' && *path != '?')
            path++;
        parts->authority = bk_span_of(at, (size_t)(path - at));
        at = path;
    }
    const char *query = memchr(at, '?', (size_t)(end - at));
    parts->path = bk_span_of(at, (size_t)((query ? query : end) - at));
    if (parts->path.len == 0)
        parts->path = bk_span_str("/");
    if (query)
        parts->query = bk_span_of(query + 1, (size_t)(end - query - 1));
}

size_t bki_http_decode_percent(char *out, bk_span s, bool plus)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '%' && s.len - i > 2) {
            int high = bki_hex_value(s.data[i + 1]), low = bki_hex_value(s.data[i + 2]);
            if (high >= 0 && low >= 0 && (high | low)) {
                c = (char)(high << 4 | low);
                i += 2;
            }
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return n;
}

size_t bki_http_decode_query(char *out, bk_span query)
{
    size_t n = 0;
    for (const char *at = query.data, *end = at + query.len; at < end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        bk_span pair = bk_span_of(at, (size_t)((stop ? stop : end) - at));
        at += pair.len + 1;
        if (pair.len == 0)
            continue;
        const char *equals = memchr(pair.data, '=', pair.len);
        size_t name = equals ? (size_t)(equals - pair.data) : pair.len;
        n += bki_http_decode_percent(out + n, bk_span_of(pair.data, name), true) + 1;
        bk_span value = bk_span_of(pair.data + name, pair.len - name);
        if (value.len > 0)
            value = bk_span_of(value.data + 1, value.len - 1);
        n += bki_http_decode_percent(out + n, value, true) + 1;
    }
    return n;
}
