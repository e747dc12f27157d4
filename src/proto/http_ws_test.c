/* SPDX-License-Identifier: MIT
 * Pages and WebSockets from one port. */
#include "proto/http_serve_fixture.h"

static int page_or_echo(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    if (strcmp(bk_http_req_path(req), "/") == 0)
        return bk_http_reply_text(req, 200, "page");
    static const char *const protocols[] = {"chat", NULL};
    bk_ws_opts opts = {.protocols = protocols, .close_timeout = bk_seconds(1)};
    int r = bk_ws_accept_req(&ws, req, &opts);
    if (r < 0)
        return r;
    snprintf(site->note, sizeof site->note, "%s %s", bk_ws_target(ws), bk_ws_protocol(ws));
    while ((r = bk_ws_recv(ws, &msg)) > 0 && (r = bk_ws_send(ws, &msg)) == 0)
        ;
    bk_msg_free(&msg);
    return bk_ws_close(&ws, r);
}

static int say_and_hear(bk_ws *ws, const char *text)
{
    bk_msg *msg = NULL;
    int r = bk_ws_send_text(ws, text, strlen(text));
    if (r == 0)
        r = bk_ws_recv(ws, &msg);
    if (r == 1)
        r = bk_span_equal(bk_msg_span(msg), bk_span_str(text)) ? 0 : -EILSEQ;
    bk_msg_free(&msg);
    return r;
}

static int connect_ws(const struct site *site, bk_ws **out, const char *path)
{
    char url[100];
    static const char *const protocols[] = {"other", "chat", NULL};
    snprintf(url, sizeof url, "ws://%s%s", bk_listener_address(site->listener), path);
    return bk_ws_connect(out, url, &(bk_ws_opts){.protocols = protocols});
}

LOOP_TEST(one_port_serves_pages_and_WebSockets)
{
    struct site site = {.handler = page_or_echo};
    bk_ws *ws = NULL;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(ask(&site, "GET / HTTP/1.1\r\n" HOST "\r\n")), "200");
    CHECK_EQ(connect_ws(&site, &ws, "/ws?x=1"), 0);
    CHECK_STR(bk_ws_protocol(ws), "chat");
    CHECK_STR(site.note, "/ws?x=1 chat");
    CHECK_EQ(say_and_hear(ws, "hello"), 0);
    CHECK_EQ(say_and_hear(ws, "again"), 0);
    CHECK_EQ(bk_ws_close(&ws, 0), 0);
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

#define ASK_WS                                                                                     \
    "GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n"                    \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"                                       \
    "\r\n"

/* A page, then the handshake, and a masked frame right behind it. */
LOOP_TEST(what_comes_behind_the_handshake_is_its_first_message)
{
    struct site site = {.handler = page_or_echo};
    CHECK_EQ(site_open(&site), 0);
    const char *got = ask_in_all_parts(&site, "GET / HTTP/1.1\r\n" HOST "\r\n" ASK_WS
                                              "\x81\x85\x01\x01\x01\x01\x69\x64\x6d\x6d\x6e");
    const char *switched = strstr(got, SWITCHED);
    CHECK(switched && strstr(got, "\r\n\r\npage") && strncmp(got, "differs", 7) != 0);
    CHECK(strncmp(switched + strlen(SWITCHED), "\x81\x05hello", 7) == 0);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(what_is_no_WebSocket_request_is_told_and_may_go_on)
{
    struct site site = {.handler = page_or_echo};
    CHECK_EQ(site_open(&site), 0);
    const char *got = ask(&site, "GET /ws HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n");
    CHECK_STR(status_of_answer(got), "426");
    CHECK(strstr(got, "\r\nSec-WebSocket-Version: 13\r\n"));
    CHECK(strstr(got, "\r\nUpgrade: websocket\r\n") && strstr(got, "\r\nConnection: upgrade\r\n"));
    CHECK(strstr(got, "\r\n\r\npage"));
    got = ask(&site, "POST /ws HTTP/1.1\r\n" HOST "\r\n");
    CHECK_STR(status_of_answer(got), "405");
    CHECK(strstr(got, "\r\nAllow: GET\r\n"));
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

LOOP_TEST(a_stopped_server_says_goodbye_to_WebSockets)
{
    struct site site = {.handler = page_or_echo};
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    CHECK_EQ(site_open(&site), 0);
    CHECK_EQ(connect_ws(&site, &ws, "/ws"), 0);
    CHECK_EQ(say_and_hear(ws, "hello"), 0);
    bk_time begin = bk_now();
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK(bk_time_since(bk_now(), begin).ns < bk_seconds(1).ns);
    CHECK_EQ(bk_ws_recv(ws, &msg), 0);
    CHECK_EQ(bk_ws_close_code(ws), 1001);
    bk_ws_close(&ws, 0);
    CHECK_EQ(site.n_errors, 0);
}

CHECK_MAIN(TEST(one_port_serves_pages_and_WebSockets),
           TEST(what_comes_behind_the_handshake_is_its_first_message),
           TEST(what_is_no_WebSocket_request_is_told_and_may_go_on),
           TEST(a_stopped_server_says_goodbye_to_WebSockets))
