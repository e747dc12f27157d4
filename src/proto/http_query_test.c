/* SPDX-License-Identifier: MIT
 * Tests of request targets taken apart and decoded. */
#include "proto/http_query.h"

#include <stdlib.h>

#include "tests/check.h"
#include "tests/guard_page.h"

static const char *parts_of(const char *target, enum bki_http_form form)
{
    static char text[300];
    struct guard_page page = {0};
    struct bki_http_parts parts;
    size_t len = strlen(target);
    bki_http_split_target(&parts, bk_span_of(guard_page_put(&page, target, len), len), form);
    snprintf(text, sizeof text, "%.*s|%.*s|%.*s%s", (int)parts.authority.len,
             parts.authority.len ? parts.authority.data : "", (int)parts.path.len, parts.path.data,
             (int)parts.query.len, parts.query.len ? parts.query.data : "",
             parts.query.data ? "" : "none");
    guard_page_free(&page);
    return text;
}

static void targets_are_taken_apart(void)
{
    CHECK_STR(parts_of("/", BKI_HTTP_ORIGIN), "|/|none");
    CHECK_STR(parts_of("/a/b?c=d?e", BKI_HTTP_ORIGIN), "|/a/b|c=d?e");
    CHECK_STR(parts_of("/?", BKI_HTTP_ORIGIN), "|/|");
    CHECK_STR(parts_of("*", BKI_HTTP_ASTERISK), "|*|none");
    CHECK_STR(parts_of("http://h:1/p", BKI_HTTP_ABSOLUTE), "h:1|/p|none");
    CHECK_STR(parts_of("http://h", BKI_HTTP_ABSOLUTE), "h|/|none");
    CHECK_STR(parts_of("http://h?q", BKI_HTTP_ABSOLUTE), "h|/|q");
    CHECK_STR(parts_of("h:80", BKI_HTTP_AUTHORITY), "h:80||none");
}

static const char *decoded(const char *in, bool plus)
{
    static char out[100];
    struct guard_page page = {0};
    size_t len = strlen(in);
    size_t n = bki_http_decode_percent(out, bk_span_of(guard_page_put(&page, in, len), len), plus);
    guard_page_free(&page);
    return strlen(out) == n ? out : "wrong length";
}

static void percents_are_decoded(void)
{
    CHECK_STR(decoded("", false), "");
    CHECK_STR(decoded("a%20b+c", false), "a b+c");
    CHECK_STR(decoded("a%20b+c", true), "a b c");
    CHECK_STR(decoded("%c3%A4%2f", false), "\xc3\xa4/");
    CHECK_STR(decoded("%00%4", false), "%00%4");
    CHECK_STR(decoded("%", false), "%");
    CHECK_STR(decoded("%g0%0g%%41", false), "%g0%0g%A");
    CHECK_STR(decoded("%2520", false), "%20");
}

static const char *pairs_of(const char *query)
{
    static char text[300];
    size_t len = strlen(query), n_text = 0;
    char *out = malloc(2 * len + 2); /* what its comment asks for, and not a byte more */
    struct guard_page page = {0};
    bk_span span = bk_span_of(guard_page_put(&page, query, len), len);
    size_t n = bki_http_decode_query(out, span);
    text[0] = '\0';
    for (const char *at = out; at < out + n;) {
        const char *value = at + strlen(at) + 1;
        n_text += (size_t)snprintf(text + n_text, sizeof text - n_text, "[%s=%s]", at, value);
        at = value + strlen(value) + 1;
    }
    guard_page_free(&page);
    free(out);
    return text;
}

static void queries_are_pairs(void)
{
    CHECK_STR(pairs_of(""), "");
    CHECK_STR(pairs_of("a=1&b=2"), "[a=1][b=2]");
    CHECK_STR(pairs_of("a&b&c"), "[a=][b=][c=]");
    CHECK_STR(pairs_of("a"), "[a=]");
    CHECK_STR(pairs_of("&&a=&=b&"), "[a=][=b]");
    CHECK_STR(pairs_of("a=b=c&d+e=f+g&%26=%3D"), "[a=b=c][d e=f g][&==]");
    bk_span none = {0};
    char out[2];
    CHECK_EQ(bki_http_decode_query(out, none), 0);
}

CHECK_MAIN(TEST(targets_are_taken_apart), TEST(percents_are_decoded), TEST(queries_are_pairs))
