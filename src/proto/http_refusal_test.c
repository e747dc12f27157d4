/* SPDX-License-Identifier: MIT
 * Requests that the HTTP server refuses: each with its status, cut anywhere, and then the end of
 * the connection, whatever follows. */
#include "proto/http_serve_fixture.h"

static int take_body(void *ctx, bk_http_req *req)
{
    bk_msg *body = NULL;
    (void)ctx;
    int r = bk_http_req_body(req, &body);
    bk_msg_free(&body);
    return r < 0 ? r : bk_http_reply_text(req, 200, "fine");
}

#define NEXT "GET /next HTTP/1.1\r\n" HOST "\r\n"

static const struct {
    const char *text, *status;
} refused[] = {
    /* RFC 9112 2.2: line ends */
    {"GET / HTTP/1.1\n" HOST "\r\n", "400"},
    {"GET / HTTP/1.1\r\nHost: h\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "A: b\rC: d\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "\rA: b\r\n\r\n", "400"},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "400"},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n", "400"},
    /* 3: request line */
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", "400"},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"G(T / HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET /\r\n" HOST "\r\n", "400"},
    {"GET HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET /#x HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET example.org:80 HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"CONNECT / HTTP/1.1\r\n" HOST "\r\n", "400"},
    {"GET / HTTP/1\r\n" HOST "\r\n", "400"},
    {"GET / http/1.1\r\n" HOST "\r\n", "400"},
    {"GET / HTTP/1.10\r\n" HOST "\r\n", "400"},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", "505"},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", "505"},
    /* 3.2: Host */
    {"GET / HTTP/1.1\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", "400"},
    {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
    /* 5: fields */
    {"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", "400"},
    {"GET / HTTP/1.1\r\n" HOST "A\x80: b\r\n\r\n", "400"},
    /* 6: framing */
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 2\r\n\r\nab", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\na", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\na", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\na", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\na", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\na", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\na", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
     "400"},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n0\r\n\r\n", "400"},
/* 7.1: chunks */
#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
    {CHUNKED "3\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "3\r\nabc\n0\r\n\r\n", "400"},
    {CHUNKED "3\r\nabcd\r\n0\r\n\r\n", "400"},
    {CHUNKED "g\r\n", "400"},
    {CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED " 3\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "3 \r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "-3\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "3;=\r\nabc\r\n0\r\n\r\n", "400"},
    {CHUNKED "0\r\nA: b\n\r\n", "400"},
    {CHUNKED "0\r\n A: b\r\n\r\n", "400"},
    {CHUNKED "0\r\nA : b\r\n\r\n", "400"},
    {CHUNKED "\r\n", "400"},
    /* RFC 9110 10.1.1 */
    {"POST / HTTP/1.1\r\n" HOST "Expect: something\r\nContent-Length: 1\r\n\r\na", "417"},
    {"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\na", "417"},
};

/* The answer is one response that says so and that the connection ends. */
static bool is_refused(const char *answer, const char *status)
{
    return strcmp(status_of_answer(answer), status) == 0 &&
           strstr(answer, "\r\nConnection: close\r\n") && !strstr(answer, "HTTP/1.1 2") &&
           !strchr(answer, '!');
}

LOOP_TEST(malformed_requests_are_refused_wherever_they_are_cut)
{
    struct site site = {.handler = take_body};
    char text[1024];
    CHECK_EQ(site_open(&site), 0);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(text, sizeof text, "%s%s", refused[i].text, NEXT);
        const char *answer = ask_in_all_parts(&site, text);
        if (!is_refused(answer, refused[i].status))
            fprintf(stderr, "want %s for\n%s\ngot\n%s\n", refused[i].status, text, answer);
        CHECK(is_refused(answer, refused[i].status));
    }
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* Not "GET": a NUL ends C strings. */
LOOP_TEST(a_NUL_is_refused_everywhere)
{
    static const char text[] = "GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    for (size_t i = 0; i < sizeof text - 3; i++) {
        char copy[sizeof text];
        memcpy(copy, text, sizeof text);
        copy[i] = '\0';
        const char *answer = ask_in_parts(&site, copy, sizeof text - 1, sizeof text);
        CHECK(is_refused(answer, "400"));
    }
    CHECK_EQ(site.n_handled, 0);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(a_refused_HEAD_has_no_body)
{
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    const char *answer = ask(&site, "HEAD / HTTP/1.1\r\n\r\n");
    CHECK_STR(status_of_answer(answer), "400");
    CHECK_STR(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(what_looks_odd_and_is_allowed)
{
    static const char *const fine[] = {
        "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1\r\nHost: h:80\r\n\r\n",
        "GET / HTTP/1.1\r\nhOsT:h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Empty:\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A: \t b \t \r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Utf-8: \xc3\xa4\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\na",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 0000000000000000000000001\r\n\r\na",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: , chunked ,\r\n\r\n0\r\n\r\n",
        CHUNKED "0003 ; a = \"b;\\\"\" \t;c\r\nabc\r\n000\r\n\r\n",
        "POST / HTTP/1.0\r\nExpect: something\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na\r\n",
    };
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        const char *answer = ask_in_all_parts(&site, fine[i]);
        if (strcmp(status_of_answer(answer), "200") != 0)
            fprintf(stderr, "want 200 for\n%s\ngot\n%s\n", fine[i], answer);
        CHECK_STR(status_of_answer(answer), "200");
    }
    CHECK_EQ(site_close(&site), -ECANCELED);
}

CHECK_MAIN(TEST(malformed_requests_are_refused_wherever_they_are_cut),
           TEST(a_NUL_is_refused_everywhere), TEST(a_refused_HEAD_has_no_body),
           TEST(what_looks_odd_and_is_allowed))
