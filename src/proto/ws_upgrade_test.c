/* SPDX-License-Identifier: MIT
 * WebSockets beside pages, out of an HTTP server. */
#include "proto/ws_stream_test.h"

#define PAGE "<p>a page</p>"

struct site {
    bk_listener *listener;
    bk_task *server;
    const bk_ws_opts *opts;
    char url[100];
    int result; /* of the last upgrade */
    int ended;  /* of the last WebSocket */
};

static int handle(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    if (strcmp(bk_http_req_path(req), "/") == 0)
        return bk_http_reply(req, 200, "text/html", PAGE, sizeof PAGE - 1);
    int r = site->result = bk_ws_accept_req(&ws, req, site->opts);
    if (r < 0)
        return r == -BK_EPROTO ? 0 : r; /* the client has been told */
    while ((r = bk_ws_recv(ws, &msg)) > 0 && (r = bk_ws_send(ws, &msg)) == 0)
        ;
    bk_msg_free(&msg);
    site->ended = r;
    return bk_ws_close(&ws, r);
}

static int serve(void *ctx)
{
    struct site *site = ctx;
    return bk_http_serve(site->listener, handle, site, NULL);
}

static int open_site(struct site *site, const bk_ws_opts *opts)
{
    *site = (struct site){.opts = opts};
    int r = bk_listen(&site->listener, "127.0.0.1:0", NULL);
    if (r == 0)
        r = bk_go(&site->server, serve, site, NULL);
    if (r == 0)
        snprintf(site->url, sizeof site->url, "ws://%s/chat?room=1",
                 bk_listener_address(site->listener));
    return r;
}

static void close_site(struct site *site)
{
    bk_task_cancel(site->server);
    bk_task_wait(site->server, NULL);
    bk_task_free(&site->server);
    bk_listener_close(&site->listener, 0);
}

/* Sends a request and reads until the server closes or has said `until`. */
static const char *ask(const struct site *site, const char *request, const char *until)
{
    static char text[4000];
    bk_stream *s = NULL;
    size_t n = 0;
    memset(text, 0, sizeof text);
    if (bk_connect(&s, bk_listener_address(site->listener), NULL) < 0)
        return "";
    bk_stream_write(s, request, strlen(request));
    while (n < sizeof text - 1 && !strstr(text, until)) {
        ssize_t got = bk_stream_read(s, text + n, sizeof text - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    bk_stream_close(&s, -1);
    return text;
}

LOOP_TEST(pages_and_websockets_from_one_address)
{
    static const char *const speaks[] = {"chat", NULL}, *const lines[] = {"X-Room: one", NULL};
    bk_ws_opts opts = {.protocols = speaks, .headers = lines, .deflate = {.on = true}};
    struct site site;
    bk_ws *ws = NULL;
    CHECK_EQ(open_site(&site, &opts), 0);
    CHECK(strstr(ask(&site, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", PAGE), "200 OK"));
    CHECK_EQ(bk_ws_connect(&ws, site.url, &opts), 0);
    CHECK_STR(bk_ws_protocol(ws), "chat");
    CHECK_STR(bk_ws_extensions(ws), "permessage-deflate");
    CHECK_EQ(bk_ws_send_text(ws, "hello", 5), 0);
    check_receives(ws, BK_TEXT, "hello");
    CHECK_EQ(bk_ws_close(&ws, 0), 0);
    CHECK_EQ(site.ended, 0);
    close_site(&site);
}

/* The bytes of the answer, and a frame that came behind the request. */
LOOP_TEST(what_comes_right_behind_the_request_is_kept)
{
    struct site site;
    CHECK_EQ(open_site(&site, NULL), 0);
    const char *got = ask(&site, REQUEST "\x81\x82\1\1\1\1gh", "fi");
    const char *end = strstr(got, "\r\n\r\n");
    CHECK(strstr(got, "HTTP/1.1 101 Switching Protocols\r\n") == got);
    CHECK(strstr(got, "\r\nUpgrade: websocket\r\n"));
    CHECK(strcasestr(got, "\r\nConnection: upgrade\r\n"));
    CHECK(strstr(got, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    CHECK(end);
    CHECK_MEM(end + 4, 4,
              "\x81\x02"
              "fi",
              4);
    close_site(&site);
}

LOOP_TEST(what_asks_for_no_websocket_is_told_so)
{
    struct site site;
    CHECK_EQ(open_site(&site, NULL), 0);
    const char *got = ask(&site, "GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", "missing");
    CHECK(strstr(got, "426 Upgrade Required"));
    CHECK(strstr(got, "\r\nUpgrade: websocket\r\n"));
    CHECK_EQ(site.result, -BK_EPROTO);
    got = ask(&site, "POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "GET");
    CHECK(strstr(got, "405 Method Not Allowed"));
    got = ask(&site, REQUEST_START REQUEST_UPGRADE REQUEST_KEY "Sec-WebSocket-Version: 8\r\n\r\n",
              "13\r\n");
    CHECK(strstr(got, "426 Upgrade Required"));
    CHECK(strstr(got, "\r\nSec-WebSocket-Version: 13\r\n"));
    got =
        ask(&site, REQUEST_START REQUEST_UPGRADE "Sec-WebSocket-Key: x\r\n" REQUEST_VERSION "\r\n",
            "base64");
    CHECK(strstr(got, "400 Bad Request"));
    close_site(&site);
}

LOOP_TEST(headers_that_may_not_be_sent_are_an_error)
{
    static const char *const lines[] = {"Upgrade: something else", NULL};
    bk_ws_opts opts = {.headers = lines};
    struct site site;
    CHECK_EQ(open_site(&site, &opts), 0);
    CHECK(strstr(ask(&site, REQUEST, "\r\n\r\n"), "500 Internal Server Error"));
    CHECK_EQ(site.result, -EINVAL);
    close_site(&site);
}

static int close_late(void *ctx)
{
    struct site *site = ctx;
    bk_sleep(bk_seconds(1));
    bk_task_cancel(site->server);
    return 0;
}

LOOP_TEST(a_server_that_ends_says_goodbye)
{
    struct site site;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    bk_task *closer = NULL;
    CHECK_EQ(open_site(&site, NULL), 0);
    CHECK_EQ(bk_ws_connect(&ws, site.url, NULL), 0);
    CHECK_EQ(bk_go(&closer, close_late, &site, NULL), 0);
    CHECK_EQ(bk_ws_recv(ws, &msg), 0);
    CHECK_EQ(bk_ws_close_code(ws), 1001);
    CHECK_EQ(bk_ws_close(&ws, 0), 0);
    bk_task_wait(closer, NULL);
    bk_task_free(&closer);
    close_site(&site);
}

CHECK_MAIN(TEST(pages_and_websockets_from_one_address),
           TEST(what_comes_right_behind_the_request_is_kept),
           TEST(what_asks_for_no_websocket_is_told_so),
           TEST(headers_that_may_not_be_sent_are_an_error), TEST(a_server_that_ends_says_goodbye))
