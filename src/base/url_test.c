/* SPDX-License-Identifier: MIT
 * Tests of the URL parser: parts, refusals and their place, queries, decoding, redaction. */
#include "base/url.h"

#include <stdlib.h>

#include <beck/error.h>

#include "base/alloc.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

static void append_part(char *out, size_t size, const char *name, bk_span part)
{
    size_t len = strlen(out);
    if (part.data)
        snprintf(out + len, size - len, " %s=%.*s", name, (int)part.len, part.data);
}

/* All parts that are there, or the error. */
static const char *parts(const char *text)
{
    static char out[600];
    struct bki_url url;
    if (bki_url_parse(&url, text) < 0) {
        snprintf(out, sizeof out, "%s", bk_errmsg());
        return out;
    }
    snprintf(out, sizeof out, "%.*s", (int)url.scheme.len, url.scheme.data);
    append_part(out, sizeof out, "user", url.userinfo);
    append_part(out, sizeof out, url.host_is_ipv6 ? "host6" : "host", url.host);
    if (url.port != -1)
        snprintf(out + strlen(out), sizeof out - strlen(out), " port=%d", url.port);
    append_part(out, sizeof out, "path", url.path);
    append_part(out, sizeof out, "query", url.query);
    append_part(out, sizeof out, "fragment", url.fragment);
    return out;
}

static void test_with_authority(void)
{
    CHECK_STR(parts("ws://h"), "ws host=h path=");
    CHECK_STR(parts("ws://h/"), "ws host=h path=/");
    CHECK_STR(
        parts("wss://user:pw@example.com:8443/feed/a?key=v&b#part"),
        "wss user=user:pw host=example.com port=8443 path=/feed/a query=key=v&b fragment=part");
    CHECK_STR(parts("http://h?q"), "http host=h path= query=q");
    CHECK_STR(parts("http://h#f?x"), "http host=h path= fragment=f?x");
    CHECK_STR(parts("http://h?#"), "http host=h path= query= fragment=");
    CHECK_STR(parts("ws-listen://:8080"), "ws-listen host= port=8080 path=");
    CHECK_STR(parts("ws://h:/x"), "ws host=h path=/x");
    CHECK_STR(parts("tcp://127.0.0.1:0"), "tcp host=127.0.0.1 port=0 path=");
    CHECK_STR(parts("tcp://@h:65535"), "tcp user= host=h port=65535 path=");
    CHECK_STR(parts("sse+https://a_b.c/%C3%A9"), "sse+https host=a_b.c path=/%C3%A9");
    CHECK_STR(parts("file:///tmp/x"), "file host= path=/tmp/x");
    CHECK_STR(parts("ws://h/a?b={c:[1]}|d/?:@"), "ws host=h path=/a query=b={c:[1]}|d/?:@");
}

static void test_ipv6(void)
{
    CHECK_STR(parts("ws://[::1]:80/x"), "ws host6=::1 port=80 path=/x");
    CHECK_STR(parts("ws://u@[2001:db8::7]"), "ws user=u host6=2001:db8::7 path=");
    CHECK_STR(parts("ws://[::ffff:1.2.3.4]/"), "ws host6=::ffff:1.2.3.4 path=/");
    CHECK_STR(parts("ws://[fe80::1%25eth0]/"), "ws host6=fe80::1%25eth0 path=/");
    CHECK_STR(parts("ws://[::1"), "URL, byte 6: '[' without ']'");
    CHECK_STR(parts("ws://[::g]/"), "URL, byte 7: not an IPv6 address in the brackets");
    CHECK_STR(parts("ws://[]/"), "URL, byte 7: not an IPv6 address in the brackets");
    CHECK_STR(parts("ws://[v1.x]/"), "URL, byte 7: not an IPv6 address in the brackets");
    CHECK_STR(parts("ws://[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111]/"),
              "URL, byte 7: not an IPv6 address in the brackets");
    CHECK_STR(parts("ws://[fe80::1%eth0]/"), "URL, byte 14: a zone is written as %25 and its name");
    CHECK_STR(parts("ws://[fe80::1%25]/"), "URL, byte 14: a zone is written as %25 and its name");
    CHECK_STR(parts("ws://[::1]x"), "URL, byte 11: only ':' and a port can follow the host");
}

static void test_without_authority(void)
{
    CHECK_STR(parts("file:relative/path?follow"), "file path=relative/path query=follow");
    CHECK_STR(parts("file:/abs/a b"), "file path=/abs/a b");
    CHECK_STR(parts("file:"), "file path=");
    CHECK_STR(parts("sqlite:trades.db?table=t"), "sqlite path=trades.db query=table=t");
    CHECK_STR(parts("null:"), "null path=");
    CHECK_STR(parts("gen:?rate=5"), "gen path= query=rate=5");
    CHECK_STR(parts("unix:/run/\xc3\xa9.sock"), "unix path=/run/\xc3\xa9.sock");
    CHECK_STR(parts("-"), "- path=");
    struct bki_url url;
    CHECK_EQ(bki_url_parse(&url, "exec:grep -c '100%?#' \"a b\""), 0);
    CHECK_MEM(url.rest.data, url.rest.len, "grep -c '100%?#' \"a b\"", 22);
    CHECK(url.host.data == NULL);
}

static void test_refusals_name_the_place(void)
{
    CHECK_STR(parts(""), "URL, byte 1: it is empty");
    static const char *const no_scheme[] = {"trades.json", "./a", "/tmp/x:y", ":x",
                                            "1a:x",        "--",  "a b:"};
    for (size_t i = 0; i < sizeof no_scheme / sizeof *no_scheme; i++)
        CHECK(strstr(parts(no_scheme[i]), "URL, byte 1: it must begin with a scheme"));
    CHECK_STR(parts("ws://h:70000/"), "URL, byte 8: a port is at most 65535");
    CHECK_STR(parts("ws://h:65536/"), "URL, byte 8: a port is at most 65535");
    CHECK_STR(parts("ws://h:99999999999999999999/"), "URL, byte 8: a port is at most 65535");
    CHECK_STR(parts("ws://h:80a/"), "URL, byte 10: a port consists of digits");
    CHECK_STR(parts("ws://h:-1/"), "URL, byte 8: a port consists of digits");
    CHECK_STR(parts("ws://a b/"), "URL, byte 7: ' ' in the host; write %20");
    CHECK_STR(parts("ws://u@v@h/"), "URL, byte 9: '@' in the host; write %40");
    CHECK_STR(parts("ws://u/p@h"), "ws host=u path=/p@h");
    CHECK_STR(parts("ws://u p@h/"), "URL, byte 7: ' ' in the user information; write %20");
    CHECK_STR(parts("ws://h/a b"), "URL, byte 9: ' ' in the path; write %20");
    CHECK_STR(parts("ws://h/?a b"), "URL, byte 10: ' ' in the query; write %20");
    CHECK_STR(parts("ws://h/#\x7f"), "URL, byte 9: a byte 0x7f in the fragment; write %7F");
    CHECK_STR(parts("ws://h/\r\nX: y"), "URL, byte 8: a byte 0x0d in the path; write %0D");
    CHECK_STR(parts("ws://h\xc3\xa9/"),
              "URL, byte 7: a host's name beyond ASCII is written in its xn-- form");
    CHECK_STR(parts("ws://h/%2"), "URL, byte 8: '%' without two hex digits behind it");
    CHECK_STR(parts("ws://h/%zz"), "URL, byte 8: '%' without two hex digits behind it");
    struct bki_url url;
    CHECK_EQ(bki_url_parse(&url, "x"), -BK_EURL);
}

static void test_limits(void)
{
    char host[300] = "ws://";
    memset(host + 5, 'h', 255);
    struct bki_url url;
    CHECK_EQ(bki_url_parse(&url, host), 0);
    host[260] = 'h';
    CHECK_EQ(bki_url_parse(&url, host), -BK_EURL);
    char *text = calloc(1, BKI_URL_MAX + 2);
    CHECK(text != NULL);
    memset(text, 'x', BKI_URL_MAX);
    memcpy(text, "file:", 5);
    CHECK_EQ(bki_url_parse(&url, text), 0);
    CHECK_EQ(url.path.len, BKI_URL_MAX - 5);
    text[BKI_URL_MAX] = 'x';
    CHECK_EQ(bki_url_parse(&url, text), -BK_EURL);
    free(text);
}

static void test_scheme_is(void)
{
    struct bki_url url;
    CHECK_EQ(bki_url_parse(&url, "WSS://h"), 0);
    CHECK(bki_url_scheme_is(&url, "wss"));
    CHECK(!bki_url_scheme_is(&url, "ws"));
    CHECK(!bki_url_scheme_is(&url, "wsss"));
    CHECK_EQ(bki_url_parse(&url, "-"), 0);
    CHECK(bki_url_scheme_is(&url, "-"));
}

static void test_decode(void)
{
    static const struct {
        const char *raw, *text;
    } good[] = {{"", ""}, {"a+b", "a+b"}, {"%41%7a%2F", "Az/"}, {"%c3%A9%25", "\xc3\xa9%"}};
    char *text = NULL;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_EQ(bki_url_decode(&text, bk_span_str(good[i].raw)), 0);
        CHECK_STR(text, good[i].text);
        bki_free(text);
    }
    text = NULL;
    static const char *const bad[] = {"%", "a%4", "%4x", "%x4", "%00", "100%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(bki_url_decode(&text, bk_span_str(bad[i])), -BK_EURL);
    CHECK(text == NULL);
    CHECK_EQ(bki_url_decode(&text, bk_span_of(NULL, 0)), 0); /* an absent part */
    CHECK_STR(text, "");
    bki_free(text);
    CHECK_EQ(bki_url_decode(&text, bk_span_of("%41", 2)), -BK_EURL); /* looks not beyond the span */
}

/* The pairs as "name:value;", names alone as "name;", then the last result. */
static const char *pairs(const char *query)
{
    static char out[200];
    struct bki_url_query q;
    int r;
    out[0] = '\0';
    bki_url_query_begin(&q, bk_span_str(query));
    while ((r = bki_url_query_next(&q)) > 0) {
        size_t len = strlen(out);
        snprintf(out + len, sizeof out - len, "%s%s%s;", q.name, q.value ? ":" : "",
                 q.value ? q.value : "");
    }
    bki_url_query_end(&q);
    return r < 0 ? "error" : out;
}

static void test_query(void)
{
    CHECK_STR(pairs(""), "");
    CHECK_STR(pairs("follow"), "follow;");
    CHECK_STR(pairs("a=1&b=2"), "a:1;b:2;");
    CHECK_STR(pairs("a=&b"), "a:;b;");
    CHECK_STR(pairs("a=b=c&=x"), "a:b=c;:x;");
    CHECK_STR(pairs("&&a&&"), "a;");
    CHECK_STR(pairs("a%26b=%3D1+2"), "a&b:=1+2;");
    CHECK_STR(pairs("a=1&b=%g"), "error");
    CHECK_STR(pairs("%=1"), "error");
}

static void test_query_get(void)
{
    char *value = NULL;
    bk_span query = bk_span_str("follow&pace=time&pace=second&speed=1000x&p%61ce2=z");
    CHECK_EQ(bki_url_query_get(query, "pace", &value), 1);
    CHECK_STR(value, "time");
    bki_free(value);
    CHECK_EQ(bki_url_query_get(query, "pace2", &value), 1);
    CHECK_STR(value, "z");
    bki_free(value);
    CHECK_EQ(bki_url_query_get(query, "follow", &value), 1);
    CHECK_STR(value, "");
    bki_free(value);
    value = NULL;
    CHECK_EQ(bki_url_query_get(query, "pac", &value), 0);
    CHECK_EQ(bki_url_query_get(bk_span_of(NULL, 0), "pace", &value), 0);
    CHECK(value == NULL);
}

static const char *redacted(const char *text)
{
    static char out[200];
    struct bki_url url;
    return bki_url_parse(&url, text) < 0 ? NULL : bki_url_redacted(&url, out, sizeof out);
}

static void test_redacted(void)
{
    CHECK_STR(redacted("wss://user:pw@h.example:8443/feed?key=secret&follow&b=#token"),
              "wss://***@h.example:8443/feed?key=***&follow&b=***#***");
    CHECK_STR(redacted("ws://[::1]:80/x"), "ws://[::1]:80/x");
    CHECK_STR(redacted("file:a\tb\x1b[31m?follow"), "file:a.b.[31m?follow");
    CHECK_STR(redacted("sqlite:trades.db"), "sqlite:trades.db");
    CHECK_STR(redacted("-"), "-");
    CHECK_STR(redacted("null:"), "null:");
    struct bki_url url;
    char small[8];
    CHECK_EQ(bki_url_parse(&url, "wss://u:p@h/"), 0);
    CHECK_STR(bki_url_redacted(&url, small, sizeof small), "wss://*");
    CHECK_STR(bki_url_redacted(&url, small, 1), "");
}

static int scenario(void *ctx)
{
    (void)ctx;
    struct bki_url url;
    struct bki_url_query q;
    char *path = NULL, *value = NULL;
    int r = bki_url_parse(&url, "sqlite:my%20trades.db?table=t&x=y");
    if (r == 0)
        r = bki_url_decode(&path, url.path);
    if (r == 0)
        r = bki_url_query_get(url.query, "x", &value);
    bki_url_query_begin(&q, url.query);
    while (r >= 0 && (r = bki_url_query_next(&q)) > 0)
        ;
    bki_url_query_end(&q);
    bki_free(path);
    bki_free(value);
    return r;
}

static void test_without_memory(void)
{
    CHECK_EQ(alloc_sweep(scenario, NULL), 6);
}

CHECK_MAIN(TEST(test_with_authority), TEST(test_ipv6), TEST(test_without_authority),
           TEST(test_refusals_name_the_place), TEST(test_limits), TEST(test_scheme_is),
           TEST(test_decode), TEST(test_query), TEST(test_query_get), TEST(test_redacted),
           TEST(test_without_memory))
