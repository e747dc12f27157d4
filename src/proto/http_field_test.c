/* SPDX-License-Identifier: MIT
 * Tests of the questions about a finished HTTP head: fields, lists, parameters, body framing,
 * keep-alive. */
#include "proto/http_head.h"

#include <beck/error.h>

#include "proto/http_chars.h"
#include "tests/check.h"

static struct bki_http_field fields[20];

static struct bki_http_head parse_answer(enum bki_http_kind kind, const char *asked,
                                         const char *text)
{
    struct bki_http_head h;
    bki_http_init(&h, kind, fields, 20, NULL);
    h.asked = asked;
    if (bki_http_feed(&h, text, strlen(text)) != 1) {
        check_failures++;
        fprintf(stderr, "%s: %s\n", text, bki_http_error_text(h.error));
    }
    return h;
}

static struct bki_http_head parse(enum bki_http_kind kind, const char *text)
{
    return parse_answer(kind, NULL, text);
}

static void test_find(void)
{
    struct bki_http_head h =
        parse(BKI_HTTP_REQUEST,
              "GET / HTTP/1.1\r\nhOST: a\r\nTwo: 1\r\nTwos: x\r\ntwo: 2\r\nAZaz: 1\r\n\r\n");
    bk_span value = {NULL, 0};
    CHECK_EQ(bki_http_find(&h, "Host", 0), 0);
    CHECK_EQ(bki_http_find(&h, "TWO", 0), 1);
    CHECK_EQ(bki_http_find(&h, "TWO", 2), 3);
    CHECK_EQ(bki_http_find(&h, "TWO", 4), -1);
    CHECK_EQ(bki_http_find(&h, "Tw", 0), -1);
    CHECK_EQ(bki_http_find(&h, "azAZ", 0), 4);
    CHECK_EQ(bki_http_get(&h, "host", &value), 1);
    CHECK_MEM(value.data, value.len, "a", 1);
    CHECK_EQ(bki_http_get(&h, "two", &value), -BK_EPROTO);
    CHECK_EQ(bki_http_get(&h, "three", &value), 0);
}

static void test_tokens(void)
{
    struct bki_http_head h = parse(BKI_HTTP_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n"
                                                     "Connection: , keep-alive,\tUPGRADE ,\r\n"
                                                     "Connection: \"a, b\", c;q=1\r\n\r\n");
    CHECK(bki_http_has_token(&h, "connection", "upgrade"));
    CHECK(bki_http_has_token(&h, "Connection", "Keep-Alive"));
    CHECK(bki_http_has_token(&h, "Connection", "c;q=1"));
    CHECK(!bki_http_has_token(&h, "Connection", "keep"));
    CHECK(!bki_http_has_token(&h, "Connection", "a"));
    CHECK(!bki_http_has_token(&h, "Connection", "b\""));
    CHECK(!bki_http_has_token(&h, "Connection", ""));
    CHECK(!bki_http_has_token(&h, "Upgrade", "keep-alive"));
}

/* A list as its elements in brackets. */
static const char *list(const char *text)
{
    static char out[200];
    bk_span rest = bk_span_str(text), element;
    size_t n = 0;
    out[0] = '\0';
    while (bki_http_list_next(&rest, &element))
        n += (size_t)snprintf(out + n, sizeof out - n, "[%.*s]", (int)element.len, element.data);
    return out;
}

static void test_lists(void)
{
    CHECK_STR(list(""), "");
    CHECK_STR(list(" , ,\t"), "");
    CHECK_STR(list("a"), "[a]");
    CHECK_STR(list(" a b ,c,, d "), "[a b][c][d]");
    CHECK_STR(list("a;x=\"1,2\", b"), "[a;x=\"1,2\"][b]");
    CHECK_STR(list("\"\\\",\", b"), "[\"\\\",\"][b]");
    CHECK_STR(list("\"open, b"), "[\"open, b]");
    CHECK_STR(list("\"end\\"), "[\"end\\]");
}

static const char *params(const char *text)
{
    static char out[200];
    bk_span rest = bk_span_str(text);
    struct bki_http_param p;
    size_t n = 0;
    int r;
    out[0] = '\0';
    while ((r = bki_http_param_next(&rest, &p)) > 0)
        n += (size_t)snprintf(out + n, sizeof out - n,
                              p.has_value ? "[%.*s=%.*s%s]" : "[%.*s%.*s%s]", (int)p.name.len,
                              p.name.data, (int)p.value.len, p.value.len ? p.value.data : "",
                              p.quoted ? " quoted" : "");
    return r == 0 ? out : "refused";
}

static void test_params(void)
{
    CHECK_STR(params(""), "");
    CHECK_STR(params("permessage-deflate; client_max_window_bits ;x=15"),
              "[permessage-deflate][client_max_window_bits][x=15]");
    CHECK_STR(params("a;;b=\"\""), "[a][b= quoted]");
    CHECK_STR(params("a;b=\"x;\\\"y\""), "[a][b=x;\\\"y quoted]");
    CHECK_STR(params("a;b="), "refused");
    CHECK_STR(params("a;=b"), "refused");
    CHECK_STR(params("a;b = c"), "refused");
    CHECK_STR(params("a;b=\"x"), "refused");
    CHECK_STR(params("a;b=\""), "refused");
    CHECK_STR(params("a;b=\"x\"y"), "refused");
    CHECK_STR(params("a b"), "refused");
}

static enum bki_http_body body_of(enum bki_http_kind kind, const char *method, const char *text)
{
    struct bki_http_head h = parse_answer(kind, method, text);
    return bki_http_body_of(&h);
}

static void test_request_bodies(void)
{
    enum bki_http_kind q = BKI_HTTP_REQUEST;
    CHECK_EQ(body_of(q, "", "POST / HTTP/1.0\r\n\r\n"), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(q, "", "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n"), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(q, "", "GET / HTTP/1.0\r\nContent-Length: 7\r\n\r\n"), BKI_HTTP_BODY_LENGTH);
    CHECK_EQ(body_of(q, "", "HEAD / HTTP/1.0\r\nContent-Length: 7\r\n\r\n"), BKI_HTTP_BODY_LENGTH);
    CHECK_EQ(body_of(q, "", "PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n"),
             BKI_HTTP_BODY_CHUNKED);
    struct bki_http_head h = parse(q, "GET / HTTP/1.0\r\nContent-Length: 1234567890123\r\n\r\n");
    CHECK_EQ(h.content_length, 1234567890123);
}

static void test_response_bodies(void)
{
    enum bki_http_kind p = BKI_HTTP_RESPONSE;
    const char *len = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    const char *chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    CHECK_EQ(body_of(p, "GET", len), BKI_HTTP_BODY_LENGTH);
    CHECK_EQ(body_of(p, "HEAD", len), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(p, "head", len), BKI_HTTP_BODY_LENGTH); /* methods have case */
    CHECK_EQ(body_of(p, "CONNECT", len), BKI_HTTP_BODY_TUNNEL);
    CHECK_EQ(body_of(p, "GET", chunked), BKI_HTTP_BODY_CHUNKED);
    CHECK_EQ(body_of(p, "HEAD", chunked), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(p, "CONNECT", chunked), BKI_HTTP_BODY_TUNNEL);
    CHECK_EQ(body_of(p, "GET", "HTTP/1.1 200 OK\r\n\r\n"), BKI_HTTP_BODY_UNTIL_CLOSE);
    CHECK_EQ(body_of(p, "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(p, "GET", "HTTP/1.1 204 X\r\n\r\n"), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(p, "GET", "HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n"), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(p, "GET", "HTTP/1.1 103 X\r\n\r\n"), BKI_HTTP_BODY_NONE);
    CHECK_EQ(body_of(p, "GET", "HTTP/1.1 101 X\r\n\r\n"), BKI_HTTP_BODY_TUNNEL);
    /* Whatever the fields say (RFC 9112 6.3). */
    static const char odd[] = "Content-Length: x\r\nTransfer-Encoding: gzip\r\n\r\n";
    static const struct {
        const char *asked, *line;
        enum bki_http_body body;
    } bodiless[] = {
        {"GET", "HTTP/1.1 103 X", BKI_HTTP_BODY_NONE},
        {"GET", "HTTP/1.1 204 X", BKI_HTTP_BODY_NONE},
        {"GET", "HTTP/1.0 304 X", BKI_HTTP_BODY_NONE},
        {"HEAD", "HTTP/1.1 200 X", BKI_HTTP_BODY_NONE},
        {"HEAD", "HTTP/1.1 404 X", BKI_HTTP_BODY_NONE},
        {"GET", "HTTP/1.1 101 X", BKI_HTTP_BODY_TUNNEL},
        {"CONNECT", "HTTP/1.1 299 X", BKI_HTTP_BODY_TUNNEL},
    };
    for (size_t i = 0; i < sizeof bodiless / sizeof *bodiless; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s\r\n%s", bodiless[i].line, odd);
        CHECK_EQ(body_of(p, bodiless[i].asked, text), bodiless[i].body);
    }
    CHECK_EQ(body_of(p, "CONNECT", "HTTP/1.1 403 X\r\nContent-Length: 9\r\n\r\n"),
             BKI_HTTP_BODY_LENGTH);
}

static bool keeps(const char *text)
{
    struct bki_http_head h = parse(BKI_HTTP_RESPONSE, text);
    return bki_http_keep_alive(&h);
}

static void test_keep_alive(void)
{
    CHECK(keeps("HTTP/1.1 200 OK\r\n\r\n"));
    CHECK(!keeps("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n"));
    CHECK(!keeps("HTTP/1.0 200 OK\r\n\r\n"));
    CHECK(keeps("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n"));
    CHECK(!keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n\r\n"));
}

/* The table against the grammar's own lists. */
static void test_characters(void)
{
    for (int c = 0; c < 256; c++) {
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool tchar = alnum || (c && strchr("!#$%&'*+-.^_`|~", c));
        bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
        CHECK_EQ(bki_char_is((char)c, BKI_CHAR_TOKEN), tchar);
        CHECK_EQ(bki_char_is((char)c, BKI_CHAR_VALUE), value);
        CHECK_EQ(bki_char_is((char)c, BKI_CHAR_TARGET), c > 0x20 && c < 0x7f && c != '#');
        CHECK_EQ(bki_char_is((char)c, BKI_CHAR_HOST), alnum || (c && strchr("-._~%!$&'()*+;=", c)));
        CHECK_EQ(bki_char_is((char)c, BKI_CHAR_SCHEME), alnum || (c && strchr("+-.", c)));
        CHECK_EQ(bki_char_is((char)c, BKI_CHAR_DIGIT), c >= '0' && c <= '9');
    }
}

CHECK_MAIN(TEST(test_find), TEST(test_tokens), TEST(test_lists), TEST(test_params),
           TEST(test_request_bodies), TEST(test_response_bodies), TEST(test_keep_alive),
           TEST(test_characters))
