/* SPDX-License-Identifier: MIT
 * WebSocket clients behind proxies: CONNECT for plain and secure URLs, credentials, refusals, the
 * environment's choice. */
#include <stdlib.h>

#include "proto/ws_stream_test.h"
#include "tests/tls_fixture.h"

/* A proxy that says what it is told to, and passes on what the tunnel carries. */
struct proxy {
    bk_listener *listener, *target;
    const char *answer; /* to CONNECT */
    bk_task *task, *server;
    char asked[1000];
    char url[200]; /* of the proxy, with credentials */
    bk_ws *ws;     /* the server's end */
};

#define CONNECTED "HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n"

static int pass(void *ctx)
{
    bk_stream **pair = ctx;
    char buf[1000];
    ssize_t n;
    while ((n = bk_stream_read(pair[0], buf, sizeof buf)) > 0 &&
           (n = bk_stream_write(pair[1], buf, (size_t)n)) >= 0)
        ;
    bk_stream_write_eof(pair[1]);
    return 0;
}

static int relay(bk_stream *client, const char *address)
{
    bk_stream *target = NULL;
    bk_task *task = NULL;
    int r = bk_connect(&target, address, NULL);
    bk_stream *back[] = {target, client}, *there[] = {client, target};
    if (r == 0)
        r = bk_go(&task, pass, back, NULL);
    if (r == 0) {
        pass(there);
        bk_task_wait(task, NULL);
    }
    bk_task_free(&task);
    return bk_stream_close(&target, -1);
}

static int act(void *ctx)
{
    struct proxy *p = ctx;
    bk_stream *s = NULL;
    size_t n = 0;
    int r = bk_accept(p->listener, &s);
    while (r >= 0 && !strstr(p->asked, "\r\n\r\n")) {
        ssize_t got = bk_stream_read(s, p->asked + n, sizeof p->asked - 1 - n);
        r = got <= 0 ? -EPROTO : 0;
        n += got > 0 ? (size_t)got : 0;
    }
    if (r >= 0)
        r = bk_stream_write(s, p->answer, strlen(p->answer));
    if (r >= 0)
        r = bk_stream_flush(s);
    if (r >= 0 && strncmp(p->answer, "HTTP/1.1 2", 10) == 0)
        relay(s, bk_listener_address(p->target));
    return bk_stream_close(&s, r);
}

static int serve_one(void *ctx)
{
    struct proxy *p = ctx;
    bk_stream *s = NULL;
    bk_msg *msg = NULL;
    int r = bk_accept(p->target, &s);
    if (r >= 0)
        r = bk_ws_accept(&p->ws, &s, NULL);
    while (r >= 0 && (r = bk_ws_recv(p->ws, &msg)) > 0)
        r = bk_ws_send(p->ws, &msg);
    bk_msg_free(&msg);
    r = bk_ws_close(&p->ws, r);
    bk_stream_close(&s, -1);
    return r;
}

/* tls: the target's; NULL for none. */
static void open_secure_proxy(struct proxy *p, const char *answer, bk_tls *tls)
{
    *p = (struct proxy){.answer = answer};
    CHECK_EQ(bk_listen(&p->listener, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_listen(&p->target, "127.0.0.1:0", &(bk_listen_opts){.tls = tls}), 0);
    CHECK_EQ(bk_go(&p->task, act, p, NULL), 0);
    CHECK_EQ(bk_go(&p->server, serve_one, p, NULL), 0);
    snprintf(p->url, sizeof p->url, "http://joe:pw@%s", bk_listener_address(p->listener));
}

static void open_proxy(struct proxy *p, const char *answer)
{
    open_secure_proxy(p, answer, NULL);
}

static void close_proxy(struct proxy *p)
{
    bk_task_cancel(p->server);
    bk_task_cancel(p->task);
    bk_task_wait(p->server, NULL);
    bk_task_wait(p->task, NULL);
    bk_task_free(&p->server);
    bk_task_free(&p->task);
    bk_listener_close(&p->target, 0);
    bk_listener_close(&p->listener, 0);
}

static int talk(const char *url, const bk_ws_opts *opts)
{
    bk_ws *ws = NULL;
    int r = bk_ws_connect(&ws, url, opts);
    if (r < 0)
        return r;
    if (bk_ws_send_text(ws, "Hello", 5) == 0)
        check_receives(ws, BK_TEXT, "Hello");
    return bk_ws_close(&ws, 0);
}

LOOP_TEST(a_plain_url_goes_through_a_tunnel)
{
    struct proxy p;
    open_proxy(&p, CONNECTED);
    CHECK_EQ(talk("ws://nowhere.test/chat", &(bk_ws_opts){.proxy = p.url}), 0);
    CHECK(strstr(p.asked, "CONNECT nowhere.test:80 HTTP/1.1\r\nHost: nowhere.test:80\r\n") ==
          p.asked);
    CHECK(strstr(p.asked, "User-Agent: beck/"));
    CHECK(strstr(p.asked, "Proxy-Authorization: Basic am9lOnB3\r\n"));
    close_proxy(&p);
}

LOOP_TEST(the_words_of_a_server_go_to_the_server)
{
    struct proxy p;
    open_proxy(&p, CONNECTED);
    CHECK_EQ(talk("ws://nowhere.test:81/", &(bk_ws_opts){.proxy = p.url}), 0);
    CHECK(strstr(p.asked, "CONNECT nowhere.test:81 "));
    CHECK(!strstr(p.asked, "Upgrade") && !strstr(p.asked, "Sec-WebSocket"));
    close_proxy(&p);
}

LOOP_TEST(a_refusal_of_the_proxy_is_told_without_secrets)
{
    struct proxy p;
    open_proxy(&p, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    CHECK_EQ(talk("ws://nowhere.test/?key=secret", &(bk_ws_opts){.proxy = p.url}), -BK_EREFUSED);
    CHECK(strstr(bk_errmsg(), "407 Proxy Authentication Required"));
    CHECK(!strstr(bk_errmsg(), "pw") && !strstr(bk_errmsg(), "secret"));
    close_proxy(&p);
}

LOOP_TEST(a_secure_url_speaks_tls_in_the_tunnel)
{
    struct proxy p;
    bk_tls *server = NULL, *client = NULL;
    CHECK_EQ(bk_tls_server_new(&server, &(bk_tls_opts){.cert_file = tls_file("server")}), 0);
    CHECK_EQ(bk_tls_client_new(&client, &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    open_secure_proxy(&p, CONNECTED, server);
    bk_ws_opts opts = {.proxy = p.url, .tls = client};
    CHECK_EQ(talk("wss://ws.example.org/", &opts), 0);
    CHECK(strstr(p.asked, "CONNECT ws.example.org:443 HTTP/1.1\r\n") == p.asked);
    close_proxy(&p);
    open_secure_proxy(&p, CONNECTED, server); /* the name is the target's, as ever */
    opts.proxy = p.url;
    CHECK(talk("wss://nowhere.test/", &opts) < 0);
    CHECK(strstr(bk_errmsg(), "certificate"));
    close_proxy(&p);
    bk_tls_free(&server);
    bk_tls_free(&client);
}

LOOP_TEST(proxies_that_are_none)
{
    bk_ws *ws = NULL;
    CHECK_EQ(bk_ws_connect(&ws, "ws://h/", &(bk_ws_opts){.proxy = "socks://h"}), -BK_EURL);
    CHECK_EQ(bk_ws_connect(&ws, "ws://h/", &(bk_ws_opts){.proxy = "http://"}), -BK_EURL);
    CHECK(!ws);
}

static void clear_env(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

LOOP_TEST(the_environment_names_the_proxy)
{
    struct proxy p;
    open_proxy(&p, CONNECTED);
    clear_env();
    setenv("http_proxy", p.url, 1);
    CHECK_EQ(talk("ws://nowhere.test/", NULL), 0);
    CHECK(strstr(p.asked, "CONNECT nowhere.test:80 "));
    clear_env();
    close_proxy(&p);
}

LOOP_TEST(a_target_that_is_exempt_is_reached_directly)
{
    struct proxy p;
    char url[100];
    for (int by_opts = 0; by_opts < 2; by_opts++) {
        open_proxy(&p, CONNECTED);
        clear_env();
        setenv("all_proxy", p.url, 1);
        if (!by_opts)
            setenv("no_proxy", "127.0.0.0/8", 1);
        snprintf(url, sizeof url, "ws://%s/", bk_listener_address(p.target));
        CHECK_EQ(talk(url, by_opts ? &(bk_ws_opts){.proxy = ""} : NULL), 0);
        CHECK_STR(p.asked, "");
        clear_env();
        close_proxy(&p);
    }
}

CHECK_MAIN(TEST(a_plain_url_goes_through_a_tunnel), TEST(the_words_of_a_server_go_to_the_server),
           TEST(a_refusal_of_the_proxy_is_told_without_secrets),
           TEST(a_secure_url_speaks_tls_in_the_tunnel), TEST(proxies_that_are_none),
           TEST(the_environment_names_the_proxy), TEST(a_target_that_is_exempt_is_reached_directly))
