/* SPDX-License-Identifier: MIT
 * Tests of the HTTP head parser: every sample whole, in two parts cut anywhere, byte by byte from a
 * buffer that moves, and against a guard page must give the same. */
#include "proto/http_head.h"

#include <beck/error.h>
#include <stdarg.h>
#include <stdlib.h>

#include "tests/check.h"
#include "tests/guard_page.h"

#define MAX_FIELDS 100

struct sample_run {
    struct bki_http_head head;
    struct bki_http_field fields[MAX_FIELDS];
    int result;
    char text[4096];
};

static size_t add(char *text, size_t at, size_t cap, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text + at, cap - at, format, ap);
    va_end(ap);
    return at + (size_t)n < cap ? at + (size_t)n : cap - 1;
}

static size_t add_range(char *text, size_t at, size_t cap, const struct bki_http_head *h,
                        struct bki_range r)
{
    bk_span s = bki_http_span(h, r);
    return add(text, at, cap, "[%.*s]", (int)s.len, s.data);
}

/* All that a parser found, as text. */
static void describe(struct sample_run *t)
{
    const struct bki_http_head *h = &t->head;
    size_t cap = sizeof t->text, n = 0;
    if (t->result <= 0) {
        add(t->text, 0, cap, "%s", t->result == 0 ? "more" : bki_http_error_text(h->error));
        return;
    }
    n = add(t->text, n, cap, "1.%d ", h->minor);
    if (h->kind == BKI_HTTP_REQUEST) {
        n = add_range(t->text, n, cap, h, h->method);
        n = add_range(t->text, n, cap, h, h->target);
        n = add(t->text, n, cap, "%d", h->form);
    } else if (h->kind == BKI_HTTP_RESPONSE) {
        n = add(t->text, n, cap, "%d", h->status);
        n = add_range(t->text, n, cap, h, h->reason);
    }
    for (size_t i = 0; i < h->n_fields; i++) {
        n = add(t->text, n, cap, " ");
        n = add_range(t->text, n, cap, h, h->fields[i].name);
        n = add_range(t->text, n, cap, h, h->fields[i].value);
    }
    add(t->text, n, cap, " +%zu", h->len);
}

/* Feeds buf[0..len), where the parser has seen `first` bytes of it before, in parts of `step`. */
static void feed_in_parts(struct sample_run *t, enum bki_http_kind kind, const char *buf,
                          size_t len, size_t first, size_t step,
                          const struct bki_http_limits *limits)
{
    char *copies[2] = {malloc(len + 1), malloc(len + 1)};
    bki_http_init(&t->head, kind, t->fields, MAX_FIELDS, limits);
    t->result = bki_http_feed(&t->head, copies[0], 0);
    size_t round = 0;
    for (size_t at = first < len ? first : len; t->result == 0;
         at = at + step < len ? at + step : len) {
        char *now = copies[round++ % 2];
        memset(copies[round % 2], 'X', len + 1); /* the parser may not look where the bytes were */
        memcpy(now, buf, at);
        t->result = bki_http_feed(&t->head, now, at);
        if (at == len)
            break;
    }
    describe(t);
    free(copies[0]);
    free(copies[1]);
}

/* The description of a sample, the same whichever way it is fed; a difference fails the test. */
static const char *parse_with(enum bki_http_kind kind, const char *buf, size_t len,
                              const struct bki_http_limits *limits)
{
    static struct sample_run whole, other;
    static struct guard_page page;
    const char *edge = guard_page_put(&page, buf, len);
    bki_http_init(&whole.head, kind, whole.fields, MAX_FIELDS, limits);
    whole.result = bki_http_feed(&whole.head, edge, len);
    describe(&whole);
    for (size_t cut = 0; cut <= len && len < 2000; cut++) {
        feed_in_parts(&other, kind, buf, len, cut, len, limits);
        if (strcmp(other.text, whole.text) != 0)
            return "differs when cut in two";
    }
    feed_in_parts(&other, kind, buf, len, 1, len < 2000 ? 1 : 97, limits);
    if (strcmp(other.text, whole.text) != 0)
        return "differs when fed in small parts";
    return whole.text;
}

static const char *request(const char *text)
{
    return parse_with(BKI_HTTP_REQUEST, text, strlen(text), NULL);
}

static const char *response(const char *text)
{
    return parse_with(BKI_HTTP_RESPONSE, text, strlen(text), NULL);
}

/* A request that is good but for this line. */
static const char *with_line(const char *line)
{
    char text[1024];
    snprintf(text, sizeof text, "POST /x HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", line);
    return request(text);
}

static void test_requests(void)
{
    CHECK_STR(request("GET / HTTP/1.1\r\nHost: example.org:80\r\n\r\nbody"),
              "1.1 [GET][/]0 [Host][example.org:80] +40");
    CHECK_STR(request("GET /a?b=c|d{e} HTTP/1.0\r\n\r\n"), "1.0 [GET][/a?b=c|d{e}]0 +28");
    CHECK_STR(request("\r\nget /%20 HTTP/1.7\r\nHost:\r\nX-Y: \t a \t b \t \r\nEmpty:\t\r\n\r\n"),
              "1.7 [get][/%20]0 [Host][] [X-Y][a \t b] [Empty][] +56");
    CHECK_STR(request("GET http://u.example/p?q HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n"),
              "1.1 [GET][http://u.example/p?q]1 [host][[::1]:8080] +55");
    CHECK_STR(request("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
              "1.1 [CONNECT][example.org:443]2 [Host][example.org:443] +59");
    CHECK_STR(request("OPTIONS * HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"), "Host is malformed");
    CHECK_STR(request("OPTIONS * HTTP/1.1\r\nHost: e\r\nX: \xc3\xa9\r\n\r\n"),
              "1.1 [OPTIONS][*]3 [Host][e] [X][\xc3\xa9] +38");
    CHECK_STR(request("GET / HTTP/1.1\r\nHost: [FE80::1.2.3.4%25eth0]\r\n\r\n"),
              "1.1 [GET][/]0 [Host][[FE80::1.2.3.4%25eth0]] +48");
    CHECK_STR(request("GET / HTTP/1.1\r\nHost: [v1.a]:1\r\n\r\n"),
              "1.1 [GET][/]0 [Host][[v1.a]:1] +34");
    CHECK_STR(request("GET / HTTP/1.1\r\nHost: a%2db\r\n\r\n"), "1.1 [GET][/]0 [Host][a%2db] +31");
    CHECK_STR(request("GET / HTTP/1.1\r\nHost: [::]:65535\r\n\r\n"),
              "1.1 [GET][/]0 [Host][[::]:65535] +36");
    CHECK_STR(request("GET z://a HTTP/1.1\r\nHost: a:\r\n\r\n"),
              "1.1 [GET][z://a]1 [Host][a:] +32");
    CHECK_STR(request(""), "more");
    CHECK_STR(request("GET / HTTP/1.1\r\nHost: a\r\n\r"), "more");
}

static void test_request_lines_refused(void)
{
    static const char *const bad[][2] = {
        {"\r\n\r\nGET / HTTP/1.1\r\n", "more than one empty line before the start line"},
        {" GET / HTTP/1.1\r\n", "the method is not a token"},
        {"G@T / HTTP/1.1\r\n", "the method is not a token"},
        {"GET\t/ HTTP/1.1\r\n", "the method is not a token"},
        {"\x16\x03\x01\x02", "a control character in the head"},
        {"GET / HTTP/1.1\n", "a line ended by a bare line feed"},
        {"\nGET / HTTP/1.1\r\n", "a line ended by a bare line feed"},
        {"GET / HTTP/1.1\rX", "a carriage return without a line feed"},
        {"GET / HTTP/1.1\r\r\n", "a carriage return without a line feed"},
        {"GET\r\n", "the request line is not method, target, version"},
        {"GET /\r\n", "the request line is not method, target, version"},
        {"GET  / HTTP/1.1\r\n", "the request target is malformed"},
        {"GET /#top HTTP/1.1\r\n", "the request target is malformed"},
        {"GET /\xc3\xa9 HTTP/1.1\r\n", "the request target is malformed"},
        {"GET /\x7f HTTP/1.1\r\n", "a control character in the head"},
        {"GET /  HTTP/1.1\r\n", "the HTTP version is malformed"},
        {"GET / HTTP/1.1 \r\n", "the HTTP version is malformed"},
        {"GET / http/1.1\r\n", "the HTTP version is malformed"},
        {"GET / HTTP/1.10\r\n", "the HTTP version is malformed"},
        {"GET / HTTP/+1.1\r\n", "the HTTP version is malformed"},
        {"GET / HTTP/1\r\n", "the HTTP version is malformed"},
        {"GET / HTTP/1x1\r\n", "the HTTP version is malformed"},
        {"REPORTS * HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"OPTIONS x HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET +http://a HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET http://a%2/ HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET ://a HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET http:abcd HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"PRI * HTTP/2.0\r\n", "this form of request target does not fit the method"},
        {"GET / HTTP/2.0\r\n", "the HTTP version is not 1.x"},
        {"GET / HTTP/0.9\r\n", "the HTTP version is not 1.x"},
        {"GET * HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET x HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET http:/x HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET http:// HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET http:///x HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"GET http://u@h/ HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"CONNECT / HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"CONNECT a HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"CONNECT a: HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"CONNECT a:123456 HTTP/1.1\r\n", "this form of request target does not fit the method"},
        {"CONNECT [::1:1 HTTP/1.1\r\n", "this form of request target does not fit the method"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(request(bad[i][0]), bad[i][1]);
}

static void test_header_lines_refused(void)
{
    static const char *const bad[][2] = {
        {"X : 1", "a header name is not a token directly before its colon"},
        {"X\t: 1", "a header name is not a token directly before its colon"},
        {": 1", "a header name is not a token directly before its colon"},
        {"X", "a header name is not a token directly before its colon"},
        {"X(y): 1", "a header name is not a token directly before its colon"},
        {"X\xc3\xa9: 1", "a header name is not a token directly before its colon"},
        {"X: 1\r\n folded", "a header line starts with white space"},
        {"X: 1\r\n\t: 2", "a header line starts with white space"},
        {"X: a\rb", "a carriage return without a line feed"},
        {"X: a\nY: b", "a line ended by a bare line feed"},
        {"X: a\x01", "a control character in the head"},
        {"X: a\x7f", "a control character in the head"},
        {"Host: a", "Host is given more than once"},
        {"Content-Length: ", "Content-Length is not a number below 2^63"},
        {"Content-Length: +1", "Content-Length is not a number below 2^63"},
        {"Content-Length: -1", "Content-Length is not a number below 2^63"},
        {"Content-Length: 0x1", "Content-Length is not a number below 2^63"},
        {"Content-Length: 1 2", "Content-Length is not a number below 2^63"},
        {"Content-Length: 1,", "Content-Length is not a number below 2^63"},
        {"Content-Length: 9223372036854775808", "Content-Length is not a number below 2^63"},
        {"Content-Length: 99999999999999999999", "Content-Length is not a number below 2^63"},
        {"Content-Length: 1, 2", "two Content-Length values differ"},
        {"Content-Length: 0, 1", "two Content-Length values differ"},
        {"Content-Length: 0\r\nTransfer-Encoding: chunked",
         "both Content-Length and Transfer-Encoding"},
        {"Transfer-Encoding: ;", "Transfer-Encoding is malformed"},
        {"Content-Length: 1\r\ncontent-length: 2", "two Content-Length values differ"},
        {"Content-Length: 1\r\nTransfer-Encoding: chunked",
         "both Content-Length and Transfer-Encoding"},
        {"Transfer-Encoding: chunked\r\nContent-Length: 1",
         "both Content-Length and Transfer-Encoding"},
        {"Transfer-Encoding: gzip", "chunked is not the last transfer coding of a request"},
        {"Transfer-Encoding:", "chunked is not the last transfer coding of a request"},
        {"Transfer-Encoding: chunked, gzip",
         "chunked is not the last transfer coding of a request"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
         "chunked is not the last transfer coding of a request"},
        {"Transfer-Encoding: chunked, chunked", "Transfer-Encoding is malformed"},
        {"Transfer-Encoding: chunked;a=b", "Transfer-Encoding is malformed"},
        {"Transfer-Encoding: \"chunked\"", "Transfer-Encoding is malformed"},
        {"Transfer-Encoding: chunked x", "Transfer-Encoding is malformed"},
        {"Transfer-Encoding: xchunked", "chunked is not the last transfer coding of a request"},
        {"Transfer-Encoding: gzip, chunked", "a transfer coding other than chunked"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(with_line(bad[i][0]), bad[i][1]);
    CHECK_STR(request("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
              "a header line starts with white space");
    CHECK_STR(request("GET / HTTP/1.1\r\n\r\n"), "an HTTP/1.1 request without Host");
    CHECK_STR(request("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
              "Host is given more than once");
    CHECK_STR(request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
              "Transfer-Encoding in an HTTP/1.0 message");
    static const char *const hosts[] = {
        "a b",  "a,b",  "a/b",    "u@a",    "a:b",       "a:123456", ":80",
        "[]",   "[::1", "[::1]x", "::1",    "a#",        "a%",       "a%2",
        "a%2g", "[zz]", "[1]",    "[::1%]", "[::1%25/]", "[v1.[]",   "[::1::]"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i]);
        CHECK_STR(request(text), "Host is malformed");
    }
    static const char nul[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    CHECK_STR(parse_with(BKI_HTTP_REQUEST, nul, sizeof nul - 1, NULL),
              "a control character in the head");
}

static void test_good_lengths(void)
{
    CHECK_STR(with_line("Content-Length: 5, 5 ,005"),
              "1.1 [POST][/x]0 [Host][a] [Content-Length][5, 5 ,005] +56");
    CHECK_STR(with_line("Content-Length: 9223372036854775807"),
              "1.1 [POST][/x]0 [Host][a] [Content-Length][9223372036854775807] +66");
    CHECK_STR(with_line("Transfer-Encoding: , Chunked ,"),
              "1.1 [POST][/x]0 [Host][a] [Transfer-Encoding][, Chunked ,] +61");
}

/* RFC 9112 5.2: a client replaces each fold by blanks before it looks at the value. */
static void test_folded_responses(void)
{
    CHECK_STR(response("HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\n"), "1.1 200[OK] [A][b\r\n\tc] +29");
    CHECK_STR(response("HTTP/1.1 200 OK\nA:\n  b\n \n\n"), "1.1 200[OK] [A][b] +26");
    CHECK_STR(response("HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n \r\n\r\n"),
              "1.1 200[OK] [Content-Length][5] +43");
    CHECK_STR(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: ,\r\n chunked\r\n\r\n"),
              "1.1 200[OK] [Transfer-Encoding][,\r\n chunked] +51");
}

static void test_responses(void)
{
    CHECK_STR(response("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), "1.1 200[OK] [A][b] +25");
    CHECK_STR(response("HTTP/1.0 404 \r\n\r\n"), "1.0 404[] +17");
    CHECK_STR(response("HTTP/1.1 599\r\n\r\n"), "1.1 599[] +16");
    CHECK_STR(response("HTTP/1.1 200 a \xe4 b\n\nbody"), "1.1 200[a \xe4 b] +20");
    CHECK_STR(response("HTTP/1.1 200 OK\nA: b\nHost: a b\nHost:\n\n"),
              "1.1 200[OK] [A][b] [Host][a b] [Host][] +38");
    static const char *const bad[][2] = {
        {"\r\nHTTP/1.1 200 OK\r\n", "the status line is malformed"},
        {"HTTP/1.1 2000 OK\r\n", "the status line is malformed"},
        {"HTTP/1.1 20 OK\r\n", "the status line is malformed"},
        {"HTTP/1.1 099 OK\r\n", "the status line is malformed"},
        {"HTTP/1.1  200 OK\r\n", "the status line is malformed"},
        {"HTTP/1.1\r\n", "the status line is malformed"},
        {"ICY 200 OK, fine\r\n", "the status line is malformed"},
        {"HTTP/2.0 200 OK\r\n", "the HTTP version is not 1.x"},
        {"HTTP/1.1 200 O\x01K\r\n", "a control character in the head"},
        {"HTTP/1.1 200 OK\rX", "a carriage return without a line feed"},
        {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
         "a header name is not a token directly before its colon"},
        {"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "a header line starts with white space"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
         "Content-Length is not a number below 2^63"},
        {"HTTP/1.1 200 OK\r\nA: b\r\n c", "more"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
         "two Content-Length values differ"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "both Content-Length and Transfer-Encoding"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
         "a transfer coding other than chunked"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         "a transfer coding other than chunked"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: ,\r\n\r\n", "Transfer-Encoding is malformed"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
         "Transfer-Encoding in an HTTP/1.0 message"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(response(bad[i][0]), bad[i][1]);
}

static void test_trailers(void)
{
    const char *text = "Sum: 1\r\nContent-Length: x\r\n\r\nnext";
    CHECK_STR(parse_with(BKI_HTTP_TRAILERS, text, strlen(text), NULL),
              "1.0  [Sum][1] [Content-Length][x] +29");
    CHECK_STR(parse_with(BKI_HTTP_TRAILERS, "\r\n", 2, NULL), "1.0  +2");
    CHECK_STR(parse_with(BKI_HTTP_TRAILERS, "A: b\n\n", 6, NULL),
              "a line ended by a bare line feed");
}

/* A request whose start line and header block have exactly these sizes, line ends included. */
static size_t make_request(char *out, size_t line, size_t block)
{
    memset(out, 'x', line + block);
    memcpy(out, "GET /", 5);
    memcpy(out + line - 11, " HTTP/1.1\r\n", 11);
    memcpy(out + line, "Host: a\r\nX: ", 12);
    memcpy(out + line + block - 4, "\r\n\r\n", 4);
    return line + block;
}

static const char *sized(size_t line, size_t block, const struct bki_http_limits *limits)
{
    static char text[200000];
    size_t n = make_request(text, line, block);
    const char *found = parse_with(BKI_HTTP_REQUEST, text, n, limits);
    return strncmp(found, "1.1 [GET]", 9) == 0 ? "ok" : found;
}

static void test_size_limits(void)
{
    CHECK_STR(sized(8192, 65536, NULL), "ok");
    CHECK_STR(sized(8193, 100, NULL), "the request line is over its limit");
    CHECK_STR(sized(100, 65537, NULL), "the header block is over its limit");
    struct bki_http_limits small = {.max_line = 30, .max_block = 40};
    CHECK_STR(sized(30, 40, &small), "ok");
    CHECK_STR(sized(31, 40, &small), "the request line is over its limit");
    CHECK_STR(sized(30, 41, &small), "the header block is over its limit");
    struct bki_http_limits wide = {.max_line = SIZE_MAX, .max_block = SIZE_MAX};
    CHECK_STR(sized(100000, 90000, &wide), "ok");

    /* the limit bites without waiting for the line to end */
    char endless[64];
    memset(endless, 'A', sizeof endless);
    CHECK_STR(parse_with(BKI_HTTP_REQUEST, endless, 29, &small), "more");
    CHECK_STR(parse_with(BKI_HTTP_REQUEST, endless, 30, &small),
              "the request line is over its limit");
    CHECK_STR(parse_with(BKI_HTTP_RESPONSE, endless, 30, &small),
              "the status line is over its limit");
    CHECK_STR(parse_with(BKI_HTTP_TRAILERS, endless, 40, &small),
              "the header block is over its limit");
}

static void test_field_limit(void)
{
    char text[4096] = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 1; i < MAX_FIELDS; i++)
        strncat(text, "A: b\r\n", sizeof text - strlen(text) - 1);
    size_t n = strlen(text);
    memcpy(text + n, "\r\n", 3);
    CHECK(strncmp(request(text), "1.1 [GET]", 9) == 0);
    memcpy(text + n, "A: b\r\n\r\n", 9);
    CHECK_STR(request(text), "more header fields than the limit");
}

static int status_of(enum bki_http_kind kind, const char *text, int *result)
{
    struct bki_http_field fields[2];
    struct bki_http_head h;
    bki_http_init(&h, kind, fields, 2, &(struct bki_http_limits){.max_line = 40, .max_block = 60});
    *result = bki_http_feed(&h, text, strlen(text));
    if (*result < 0 && bki_http_feed(&h, text, strlen(text)) != *result)
        return -1; /* a refusal stays */
    return bki_http_error_status(&h);
}

static void test_statuses(void)
{
    int r;
    CHECK_EQ(status_of(BKI_HTTP_REQUEST, "GET\r\n", &r), 400);
    CHECK_EQ(r, -BK_EPROTO);
    CHECK_EQ(status_of(BKI_HTTP_REQUEST, "GET / HTTP/3.0\r\n", &r), 505);
    CHECK_EQ(r, -BK_EPROTO);
    CHECK_EQ(status_of(BKI_HTTP_REQUEST, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &r),
             414);
    CHECK_EQ(r, -BK_ELIMIT);
    CHECK_EQ(status_of(BKI_HTTP_REQUEST, "GET / HTTP/1.0\r\nA: b\r\nA: b\r\nA: b\r\n", &r), 431);
    CHECK_EQ(r, -BK_ELIMIT);
    CHECK_EQ(
        status_of(
            BKI_HTTP_REQUEST,
            "GET / HTTP/1.0\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n",
            &r),
        431);
    CHECK_EQ(r, -BK_ELIMIT);
    CHECK_EQ(status_of(BKI_HTTP_REQUEST,
                       "POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: br, chunked\r\n\r\n", &r),
             501);
    CHECK_EQ(status_of(BKI_HTTP_RESPONSE, "nonsense\r\n", &r), 502);
    CHECK_EQ(status_of(BKI_HTTP_REQUEST, "GET / HTTP/1.0\r\n\r\n", &r), 200);
    CHECK_EQ(r, 1);
}

static void test_where_it_failed(void)
{
    const char *text = "GET / HTTP/1.0\r\nGood: a\r\nB ad: b\r\n\r\n";
    struct bki_http_field fields[4];
    struct bki_http_head h;
    bki_http_init(&h, BKI_HTTP_REQUEST, fields, 4, NULL);
    CHECK_EQ(bki_http_feed(&h, text, strlen(text)), -BK_EPROTO);
    CHECK_EQ(h.error_at, strstr(text, "B ad") - text);
}

static void test_moved_head(void)
{
    char text[] = "GET /here HTTP/1.0\r\nA: b\r\n\r\n", copy[sizeof text];
    struct bki_http_field fields[4];
    struct bki_http_head h;
    bki_http_init(&h, BKI_HTTP_REQUEST, fields, 4, NULL);
    CHECK_EQ(bki_http_feed(&h, text, sizeof text - 1), 1);
    memcpy(copy, text, sizeof text);
    memset(text, 0, sizeof text);
    CHECK_EQ(bki_http_feed(&h, copy, sizeof copy), 1); /* once whole, whole */
    h.base = copy;
    bk_span target = bki_http_span(&h, h.target), value = bki_http_span(&h, h.fields[0].value);
    CHECK_MEM(target.data, target.len, "/here", 5);
    CHECK_MEM(value.data, value.len, "b", 1);
}

/* Lines that were taken are spoilt behind the parser's back: it must not look at them again, nor at
 * more than one byte of the line it is in the middle of. */
static void test_never_looks_back(void)
{
    char text[] = "GET /here HTTP/1.1\r\nHost: a\r\nLong: aaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n";
    struct bki_http_field fields[4];
    struct bki_http_head h;
    bki_http_init(&h, BKI_HTTP_REQUEST, fields, 4, NULL);
    for (size_t at = 1; at < sizeof text - 1; at++) {
        CHECK_EQ(bki_http_feed(&h, text, at), 0);
        CHECK(h.scanned >= at - 1);
        memset(text, 0, h.line);
    }
    CHECK_EQ(bki_http_feed(&h, text, sizeof text - 1), 1);
    CHECK_EQ(h.n_fields, 2);
}

CHECK_MAIN(TEST(test_requests), TEST(test_request_lines_refused), TEST(test_header_lines_refused),
           TEST(test_good_lengths), TEST(test_folded_responses), TEST(test_responses),
           TEST(test_trailers), TEST(test_size_limits), TEST(test_field_limit), TEST(test_statuses),
           TEST(test_where_it_failed), TEST(test_moved_head), TEST(test_never_looks_back))
