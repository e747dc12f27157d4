/* SPDX-License-Identifier: MIT
 * The HTTP server: requests of every form, replies of every kind, one after the other. */
#include "proto/http_serve_fixture.h"

/* ---- Handlers ---- */

/* Replies with what the request is. */
static int tell(void *ctx, bk_http_req *req)
{
    char text[1024];
    bk_msg *body = NULL;
    (void)ctx;
    int r = bk_http_req_body(req, &body);
    if (r < 0)
        return r;
    snprintf(text, sizeof text, "%s|%s|%s|%s|1.%d|%.*s", bk_http_req_method(req),
             bk_http_req_target(req), bk_http_req_path(req), bk_http_req_host(req),
             bk_http_req_minor(req), (int)bk_msg_len(body), bk_msg_data(body));
    bk_msg_free(&body);
    return bk_http_reply(req, 200, NULL, text, strlen(text));
}

static int hello(void *ctx, bk_http_req *req)
{
    (void)ctx;
    return bk_http_reply_text(req, 200, "hello");
}

#define TEXT "Content-Type: text/plain; charset=utf-8\r\n"

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end ? end + 4 : answer;
}

/* ---- Requests ---- */

LOOP_TEST(a_request_is_answered)
{
    struct site site = {.handler = hello};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask_in_all_parts(&site, "GET / HTTP/1.1\r\n" HOST "\r\n"),
              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" TEXT "\r\nhello");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

LOOP_TEST(targets_have_four_forms)
{
    struct site site = {.handler = tell};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(body_of(ask(&site, "GET /a%20b?x=1 HTTP/1.1\r\n" HOST "\r\n")),
              "GET|/a%20b?x=1|/a b|h|1.1|");
    CHECK_STR(body_of(ask(&site, "GET http://example.org:80/p?q HTTP/1.1\r\n" HOST "\r\n")),
              "GET|http://example.org:80/p?q|/p|example.org:80|1.1|");
    CHECK_STR(body_of(ask(&site, "GET HTTP://example.org?q HTTP/1.1\r\n" HOST "\r\n")),
              "GET|HTTP://example.org?q|/|example.org|1.1|");
    CHECK_STR(body_of(ask(&site, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n")), "OPTIONS|*|*|h|1.1|");
    CHECK_STR(body_of(ask(&site, "GET / HTTP/1.0\r\n\r\n")), "GET|/|/||1.0|");
    CHECK_STR(body_of(ask(&site, "get / HTTP/1.1\r\nHost:\r\n\r\n")), "get|/|/||1.1|");
    CHECK_STR(body_of(ask(&site, "WHAT-EVER! //x HTTP/1.9\r\n" HOST "\r\n")),
              "WHAT-EVER!|//x|//x|h|1.9|");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(bodies_come_with_a_length_or_in_chunks)
{
    struct site site = {.handler = tell};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(body_of(ask_in_all_parts(&site, "POST / HTTP/1.1\r\n" HOST
                                              "Content-Length: 5\r\n\r\nhello")),
              "POST|/|/|h|1.1|hello");
    CHECK_STR(body_of(ask_in_all_parts(&site, "PUT / HTTP/1.1\r\n" HOST
                                              "Transfer-Encoding: chunked\r\n\r\n"
                                              "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n")),
              "PUT|/|/|h|1.1|hello!");
    CHECK_STR(body_of(ask(&site, "GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n")),
              "GET|/|/|h|1.1|");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(connections_serve_one_request_after_the_other)
{
    struct site site = {.handler = tell};
    CHECK_EQ(site_open(&site), 0);
    const char *text = "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\none"
                       "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"
                       "POST /3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                       "2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"
                       "GET /4 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"
                       "GET /5 HTTP/1.1\r\n" HOST "\r\n";
    CHECK_STR(ask_in_all_parts(&site, text),
              "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nPOST|/1|/1|h|1.1|one"
              "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nGET|/2|/2|h|1.1|"
              "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nPOST|/3|/3|h|1.1|three"
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 16\r\n\r\n"
              "GET|/4|/4|h|1.1|");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(old_clients_keep_a_connection_only_when_they_ask)
{
    struct site site = {.handler = hello};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n" TEXT "\r\nhello");
    CHECK_STR(ask(&site, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
                         "GET / HTTP/1.0\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n" TEXT "\r\nhello"
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n" TEXT "\r\nhello");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(some_methods_are_refused)
{
    struct site site = {.handler = hello};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(ask(&site, "CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n")), "501");
    CHECK_STR(status_of_answer(ask(&site, "TRACE / HTTP/1.1\r\n" HOST "\r\n")), "501");
    CHECK_STR(status_of_answer(ask(&site, "trace / HTTP/1.1\r\n" HOST "\r\n")), "200");
    CHECK_EQ(site.n_handled, 1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(a_trace_is_handled_when_asked)
{
    struct site site = {.handler = hello, .opts = {.trace = true}};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(ask(&site, "TRACE / HTTP/1.1\r\n" HOST "\r\n")), "200");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(requests_that_end_too_early)
{
    struct site site = {.handler = tell};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, ""), "");
    CHECK_STR(ask(&site, "\r\n"), "");
    CHECK_STR(status_of_answer(ask(&site, "GET / HTTP/1.1\r\nHo")), "400");
    CHECK_STR(status_of_answer(ask(&site, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab")),
              "400");
    CHECK_STR(status_of_answer(
                  ask(&site, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1")),
              "400");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* ---- Replies ---- */

/* Replies as the path says. */
static int reply_as_asked(void *ctx, bk_http_req *req)
{
    const char *path = bk_http_req_path(req);
    int r = 0;
    (void)ctx;
    if (strcmp(path, "/204") == 0)
        return bk_http_reply(req, 204, NULL, NULL, 0);
    if (strcmp(path, "/205") == 0)
        return bk_http_reply_start(req, 205, -1);
    if (strcmp(path, "/304") == 0)
        return bk_http_reply(req, 304, NULL, NULL, 0);
    if (strcmp(path, "/304-of-7") == 0)
        return bk_http_reply_start(req, 304, 7);
    if (strcmp(path, "/empty") == 0)
        return bk_http_reply(req, 200, NULL, NULL, 0);
    if (strcmp(path, "/close") == 0)
        bk_http_reply_header(req, "Connection", "close");
    if (strcmp(path, "/426") == 0) {
        bk_http_reply_header(req, "Upgrade", "websocket");
        return bk_http_reply(req, 426, NULL, NULL, 0);
    }
    bool counted = strcmp(path, "/counted") == 0;
    r = bk_http_reply_start(req, 201, counted ? 10 : -1);
    for (int i = 0; i < 10 && r == 0; i++)
        r = bk_http_reply_write(req, "0123456789" + i, 1);
    if (r == 0 && strcmp(path, "/trailers") == 0) {
        r = bk_http_reply_trailer(req, "Sum", "45");
        if (r >= 0)
            r = bk_http_reply_trailer(req, "Last", "9");
        return r < 0 ? r : bk_http_reply_end(req);
    }
    return r;
}

#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define HEAD(path) "HEAD " path " HTTP/1.1\r\n" HOST "\r\n"
#define CHUNKS                                                                                     \
    "1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n1\r\n3\r\n1\r\n4\r\n1\r\n5\r\n1\r\n6\r\n1\r\n7\r\n1\r\n8\r\n"   \
    "1\r\n9\r\n0\r\n"

LOOP_TEST(replies_have_a_length_or_come_in_chunks)
{
    struct site site = {.handler = reply_as_asked};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, GET("/counted")),
              "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n0123456789");
    CHECK_STR(ask(&site, GET("/chunks") GET("/close")),
              "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNKS "\r\n"
              "HTTP/1.1 201 Created\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
              "\r\n" CHUNKS "\r\n");
    CHECK_STR(ask(&site, GET("/trailers")),
              "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNKS
              "Sum: 45\r\nLast: 9\r\n\r\n");
    CHECK_STR(ask(&site, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/")),
              "HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n0123456789");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(some_replies_have_no_body)
{
    struct site site = {.handler = reply_as_asked};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, GET("/204")), "HTTP/1.1 204 No Content\r\n\r\n");
    CHECK_STR(ask(&site, GET("/205")), "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n");
    CHECK_STR(ask(&site, GET("/304")), "HTTP/1.1 304 Not Modified\r\n\r\n");
    CHECK_STR(ask(&site, GET("/304-of-7")),
              "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
    CHECK_STR(ask(&site, GET("/empty")), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    CHECK_STR(ask(&site, GET("/426")), "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\n"
                                       "Content-Length: 0\r\nUpgrade: websocket\r\n\r\n");
    CHECK_STR(ask(&site, HEAD("/counted") HEAD("/chunks") HEAD("/trailers") HEAD("/204")),
              "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n"
              "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
              "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
              "HTTP/1.1 204 No Content\r\n\r\n");
    CHECK_STR(ask(&site, "HEAD /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
              "HTTP/1.1 201 Created\r\nConnection: keep-alive\r\n\r\n");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* ---- Handlers that get it wrong ---- */

static int misbehave(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    const char *path = bk_http_req_path(req);
    if (strcmp(path, "/silent") == 0)
        return 0;
    if (strcmp(path, "/fails") == 0)
        return bk_fail(-ENOENT, "nothing here");
    if (strcmp(path, "/fails-late") == 0) {
        bk_http_reply_start(req, 200, -1);
        bk_http_reply_write(req, "half", 4);
        bk_yield(); /* now it is gone */
        return bk_fail(-ENOENT, "nothing more");
    }
    if (strcmp(path, "/fails-in-time") == 0) {
        bk_http_reply_start(req, 200, -1);
        bk_http_reply_write(req, "half", 4);
        return bk_fail(-ENOENT, "nothing has left yet");
    }
    if (strcmp(path, "/fails-after") == 0) {
        bk_http_reply_text(req, 200, "whole");
        return bk_fail(-ENOENT, "afterwards");
    }
    if (strcmp(path, "/short") == 0) {
        bk_http_reply_start(req, 200, 10);
        return bk_http_reply_write(req, "123", 3);
    }
    snprintf(site->note, sizeof site->note, "%d %d %d %d %d %d %d %d %d %d",
             bk_http_reply_header(req, "Content-Length", "3"),
             bk_http_reply_add_header(req, "transfer-encoding", "chunked"),
             bk_http_reply_header(req, "A", "b\r\nC: d"), bk_http_reply_header(req, "A b", "c"),
             bk_http_reply(req, 99, NULL, NULL, 0), bk_http_reply(req, 1000, NULL, NULL, 0),
             bk_http_reply(req, 204, NULL, "x", 1), bk_http_reply_write(req, "x", 1),
             bk_http_reply_end(req), bk_http_reply_interim(req, 101, NULL));
    int r = bk_http_reply_start(req, 200, 3);
    snprintf(site->note + strlen(site->note), 100, " %d %d %d %d %d %d",
             bk_http_reply_start(req, 200, 3), bk_http_reply_header(req, "A", "b"),
             bk_http_reply_write(req, "1234", 4), bk_http_reply_trailer(req, "Host", "x"),
             bk_http_reply_trailer(req, "X", "y"), bk_http_reply_interim(req, 103, NULL));
    return r < 0 ? r : bk_http_reply_write(req, "123", 3);
}

#define INTERNAL_ERROR                                                                             \
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 26\r\n" TEXT                            \
    "\r\n500 Internal Server Error\n"

LOOP_TEST(failing_handlers_are_told_from_replies)
{
    struct site site = {.handler = misbehave};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, GET("/fails")), INTERNAL_ERROR);
    CHECK_EQ(site.n_errors, 1);
    CHECK_EQ(site.last_error, -ENOENT);
    CHECK_STR(site.last_detail, "nothing here");
    CHECK_STR(ask(&site, GET("/silent") GET("/silent")), INTERNAL_ERROR INTERNAL_ERROR);
    CHECK_STR(site.last_detail, "GET /silent: the handler gave no reply");
    CHECK_STR(ask(&site, GET("/fails-late")),
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n!ECONNRESET");
    CHECK_STR(site.last_detail, "nothing more");
    CHECK_STR(ask(&site, GET("/fails-in-time") GET("/fails-in-time")),
              INTERNAL_ERROR INTERNAL_ERROR);
    CHECK_STR(site.last_detail, "nothing has left yet");
    CHECK_STR(ask(&site, GET("/short")), INTERNAL_ERROR);
    CHECK_STR(site.last_detail, "a reply ends 7 bytes before its length");
    CHECK_EQ(site.n_errors, 7);
    CHECK_STR(ask(&site, GET("/fails-after") GET("/fails-after")),
              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" TEXT "\r\nwhole"
              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" TEXT "\r\nwhole");
    CHECK_EQ(site.n_errors, 9);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(wrong_calls_are_refused_and_change_nothing)
{
    struct site site = {.handler = misbehave};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, GET("/")), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n123");
    CHECK_STR(site.note, "-22 -22 -22 -22 -22 -22 -22 -22 -22 -22 -22 -22 -22 -22 0 -22");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

CHECK_MAIN(TEST(a_request_is_answered), TEST(targets_have_four_forms),
           TEST(bodies_come_with_a_length_or_in_chunks),
           TEST(connections_serve_one_request_after_the_other),
           TEST(old_clients_keep_a_connection_only_when_they_ask), TEST(some_methods_are_refused),
           TEST(a_trace_is_handled_when_asked), TEST(requests_that_end_too_early),
           TEST(replies_have_a_length_or_come_in_chunks), TEST(some_replies_have_no_body),
           TEST(failing_handlers_are_told_from_replies),
           TEST(wrong_calls_are_refused_and_change_nothing))
