/* SPDX-License-Identifier: MIT
 * Tests of bodies that are sent in pieces, of waiting for 100, of early answers, of upgrades, of
 * proxies. */
#include "proto/http_call.h"
#include "proto/http_script_fixture.h"
#include "tests/tls_fixture.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"
#define TOO_LARGE "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"

static bool asked(const struct script *script, const char *text)
{
    return strstr(script->asked, text) != NULL;
}

LOOP_TEST(a_chunked_body)
{
    struct script script = {.answers = {HELLO}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_open(&call, NULL, "PUT", script_url(&script, "/"), -1, NULL), 0);
    CHECK_EQ(bk_http_call_write(call, "hello", 5), 0);
    CHECK_EQ(bk_http_call_write(call, "", 0), 0);
    CHECK_EQ(bk_http_call_write(call, " world", 6), 0);
    CHECK_EQ(bk_http_call_read(call, &(char){0}, 1), -EINVAL);
    CHECK_EQ(bk_http_call_finish(call), 0);
    CHECK_EQ(bk_http_call_status(call), 200);
    CHECK_EQ(bk_http_call_finish(call), -EINVAL);
    CHECK_EQ(bk_http_call_write(call, "x", 1), -EINVAL);
    bk_http_call_close(&call, 0);
    CHECK(asked(&script, "Transfer-Encoding: chunked\r\n"));
    CHECK(asked(&script, "\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"));
    script_close(&script);
}

LOOP_TEST(a_body_of_a_length_told_before)
{
    struct script script = {.answers = {HELLO, HELLO}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_open(&call, NULL, "PUT", script_url(&script, "/"), 7, NULL), 0);
    CHECK_EQ(bk_http_call_write(call, "abcd", 4), 0);
    CHECK_EQ(bk_http_call_write(call, "efgh", 4), -EINVAL);
    CHECK_EQ(bk_http_call_finish(call), -EINVAL);
    CHECK_EQ(bk_http_call_write(call, "efg", 3), 0);
    CHECK_EQ(bk_http_call_finish(call), 0);
    bk_http_call_close(&call, 0);
    CHECK(asked(&script, "Content-Length: 7\r\n") && asked(&script, "\r\n\r\nabcdefg"));
    CHECK_EQ(bk_http_open(&call, NULL, "POST", script_url(&script, "/"), 0, NULL), 0);
    CHECK_EQ(bk_http_call_finish(call), 0);
    bk_http_call_close(&call, 0);
    CHECK(asked(&script, "Content-Length: 0\r\n"));
    script_close(&script);
}

LOOP_TEST(a_body_waits_for_100)
{
    struct script script = {.answers = {EARLY CONTINUE}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(bk_http_request(&call, NULL, "POST", script_url(&script, "/"), bk_span_str("body"),
                             &(bk_http_opts){.expect_continue = true}),
             -BK_EINCOMPLETE);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, 0);
    CHECK(asked(&script, "Expect: 100-continue\r\n"));
    script_close(&script);
}

LOOP_TEST(a_body_waits_no_longer_than_1_s)
{
    struct script script = {.answers = {HELLO}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(bk_http_request(&call, NULL, "POST", script_url(&script, "/"), bk_span_str("body"),
                             &(bk_http_opts){.expect_continue = true}),
             0);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(1).ns);
    CHECK(asked(&script, "\r\n\r\nbody"));
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(a_refusal_saves_the_body)
{
    struct script script = {.answers = {EARLY TOO_LARGE, EARLY TOO_LARGE}};
    bk_http_call *call = NULL;
    bk_http_opts opts = {.expect_continue = true};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(
        bk_http_request(&call, NULL, "POST", script_url(&script, "/"), bk_span_str("body"), &opts),
        0);
    CHECK_EQ(bk_http_call_status(call), 413);
    bk_http_call_close(&call, 0);
    CHECK_EQ(bk_http_open(&call, NULL, "POST", script_url(&script, "/"), -1, &opts), 0);
    CHECK_EQ(bk_http_call_write(call, "x", 1), -BK_ECLOSED);
    CHECK_EQ(bk_http_call_finish(call), 0);
    CHECK_EQ(bk_http_call_status(call), 413);
    bk_http_call_close(&call, 0);
    script_close(&script);
}

struct hinter {
    bk_listener *listener;
    bk_event *hinted;
    bool silent; /* it does not */
};

/* Says something before the body is there that is no answer yet. */
static int hint_and_answer(void *ctx, bk_stream **stream)
{
    struct hinter *h = ctx;
    bk_span head;
    char body[10];
    int r = bk_stream_read_until(*stream, bk_span_str("\r\n\r\n"), &head);
    if (r == 1 && h->silent)
        r = 0;
    else if (r == 1)
        r = bk_stream_write(*stream, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 40);
    bk_event_set(h->hinted);
    if (r == 0)
        r = bk_stream_read_exactly(*stream, body, sizeof body);
    return r < 0 ? r : bk_stream_write(*stream, HELLO, strlen(HELLO));
}

static int serve_hints(void *ctx)
{
    struct hinter *h = ctx;
    return bk_serve(h->listener, hint_and_answer, h, NULL);
}

/* A body in two pieces, the second when the hint, or what TLS has to say, is there. */
static void upload_in_pieces(bk_tls *server_tls, bk_tls *client_tls)
{
    struct hinter h = {.silent = server_tls != NULL};
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    bk_task *server = NULL;
    char url[100];
    CHECK_EQ(bk_event_new(&h.hinted, NULL), 0);
    CHECK_EQ(bk_listen(&h.listener, "127.0.0.1:0", &(bk_listen_opts){.tls = server_tls}), 0);
    CHECK_EQ(bk_go(&server, serve_hints, &h, NULL), 0);
    CHECK_EQ(bk_http_client_new(&client, &(bk_http_client_opts){.tls = client_tls}), 0);
    snprintf(url, sizeof url, "http%s://%s/", client_tls ? "s" : "",
             bk_listener_address(h.listener));
    CHECK_EQ(bk_http_open(&call, client, "PUT", url, 10, NULL), 0);
    CHECK_EQ(bk_http_call_write(call, "hello", 5), 0);
    CHECK_EQ(bk_event_wait(h.hinted), 0);
    CHECK_EQ(bk_http_call_write(call, "world", 5), 0);
    CHECK_EQ(bk_http_call_finish(call), 0);
    CHECK_EQ(bk_http_call_status(call), 200);
    bk_http_call_close(&call, 0);
    bk_http_client_free(&client);
    bk_task_cancel(server);
    bk_task_wait(server, NULL);
    bk_task_free(&server);
    bk_listener_close(&h.listener, 0);
    bk_event_free(&h.hinted);
}

LOOP_TEST(hints_while_a_body_is_sent_do_not_end_it)
{
    upload_in_pieces(NULL, NULL);
}

/* Under TLS there is more to be read than what the server says: tickets to resume by. */
LOOP_TEST(tickets_while_a_body_is_sent_do_not_end_it)
{
    bk_tls *server = NULL, *client = NULL;
    CHECK_EQ(bk_tls_server_new(&server, &(bk_tls_opts){.cert_file = tls_file("server")}), 0);
    CHECK_EQ(bk_tls_client_new(&client, &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    upload_in_pieces(server, client);
    bk_tls_free(&server);
    bk_tls_free(&client);
}

/* RFC 9110 10.1.1: somebody on the way does not know expectations. */
LOOP_TEST(a_refused_expectation_is_given_up)
{
    struct script script = {
        .answers = {EARLY "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", HELLO}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_request(&call, NULL, "POST", script_url(&script, "/"), bk_span_str("body"),
                             &(bk_http_opts){.expect_continue = true}),
             0);
    CHECK_EQ(bk_http_call_status(call), 200);
    CHECK_EQ(script.n_asked, 2);
    const char *second = strstr(script.asked + 1, "POST /");
    CHECK(second && !strstr(second, "Expect") && strstr(second, "\r\n\r\nbody"));
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(an_early_answer_is_found_while_the_body_goes_out)
{
    static char body[4 << 20];
    struct script script = {.answers = {EARLY TOO_LARGE}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    int r = bk_http_request(&call, NULL, "POST", script_url(&script, "/"),
                            bk_span_of(body, sizeof body), NULL);
    /* The server closes with unread data: its reset may overtake the answer. */
    CHECK(r == 0 || r == -ECONNRESET);
    CHECK(r < 0 || bk_http_call_status(call) == 413);
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(an_upgrade_hands_the_stream_over)
{
    struct script script = {
        .answers = {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nfirst", HELLO}};
    bk_http_call *call = NULL;
    bk_http_headers *headers = NULL;
    bk_stream *stream = NULL;
    char text[5];
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_headers_new(&headers), 0);
    CHECK_EQ(bk_http_headers_add(headers, "Upgrade", "echo"), 0);
    CHECK_EQ(bk_http_headers_add(headers, "Connection", "Upgrade"), 0);
    CHECK_EQ(
        bk_http_get(&call, NULL, script_url(&script, "/"), &(bk_http_opts){.headers = headers}), 0);
    CHECK_EQ(bk_http_call_status(call), 101);
    CHECK_EQ(bk_http_call_take_stream(call, &stream), 0);
    bk_http_call_close(&call, 0);
    CHECK_EQ(bk_stream_read_exactly(stream, text, 5), 0);
    CHECK_MEM(text, 5, "first", 5);
    bk_stream_close(&stream, 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), NULL), 0);
    CHECK_EQ(bk_http_call_take_stream(call, &stream), -EINVAL);
    bk_http_call_close(&call, 0);
    bk_http_headers_free(&headers);
    script_close(&script);
}

/* ---- Proxies: the script is the proxy ---- */

static int get_by(struct script *script, const char *credentials, const char *url, int *status)
{
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    char proxy[200];
    snprintf(proxy, sizeof proxy, "http://%s%s", credentials,
             bk_listener_address(script->listener));
    int r = bk_http_client_new(&client, &(bk_http_client_opts){.proxy = proxy});
    if (r == 0)
        r = bk_http_get(&call, client, url, NULL);
    *status = call ? bk_http_call_status(call) : 0;
    r = bk_http_call_close(&call, r);
    bk_http_client_free(&client);
    return r;
}

LOOP_TEST(a_proxy_is_asked_for_the_whole_url)
{
    struct script script = {.answers = {HELLO}};
    int status;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(get_by(&script, "joe:pw@", "http://nowhere.test:81/x?y", &status), 0);
    CHECK_EQ(status, 200);
    CHECK(asked(&script, "GET http://nowhere.test:81/x?y HTTP/1.1\r\nHost: nowhere.test:81\r\n"));
    CHECK(asked(&script, "Proxy-Authorization: Basic am9lOnB3\r\n"));
    script_close(&script);
}

/* RFC 9112 3.2.4: "*" to the server itself, a URL without a path to a proxy. */
LOOP_TEST(options_without_a_path_are_about_the_server)
{
    static const char *const wanted[][2] = {{"", "OPTIONS * HTTP/1.1\r\n"},
                                            {"/", "OPTIONS / HTTP/1.1\r\n"},
                                            {"?q", "OPTIONS /?q HTTP/1.1\r\n"}};
    struct script script = {.answers = {HELLO, HELLO, HELLO, HELLO}};
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    char proxy[200];
    CHECK_EQ(script_open(&script), 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(bk_http_request(&call, NULL, "OPTIONS", script_url(&script, wanted[i][0]),
                                 bk_span_str(""), NULL),
                 0);
        bk_http_call_close(&call, 0);
        CHECK(asked(&script, wanted[i][1]));
    }
    snprintf(proxy, sizeof proxy, "http://%s", bk_listener_address(script.listener));
    CHECK_EQ(bk_http_client_new(&client, &(bk_http_client_opts){.proxy = proxy}), 0);
    CHECK_EQ(bk_http_request(&call, client, "OPTIONS", "http://h.test:81", bk_span_str(""), NULL),
             0);
    bk_http_call_close(&call, 0);
    bk_http_client_free(&client);
    CHECK(asked(&script, "OPTIONS http://h.test:81 HTTP/1.1\r\n"));
    script_close(&script);
}

LOOP_TEST(a_tunnel_is_asked_for_before_tls)
{
    struct script script = {.answers = {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                                        CLOSE "HTTP/1.1 200 Connected\r\nContent-Length: x\r\n"
                                              "Transfer-Encoding: chunked\r\n\r\n"}};
    int status;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(get_by(&script, "joe:pw@", "https://nowhere.test/x", &status), -BK_EREFUSED);
    CHECK(strstr(bk_errmsg(), "403 Forbidden") && !strstr(bk_errmsg(), "pw@"));
    CHECK(asked(&script, "CONNECT nowhere.test:443 HTTP/1.1\r\nHost: nowhere.test:443\r\n"));
    CHECK(asked(&script, "Proxy-Authorization: Basic am9lOnB3\r\n"));
    /* What the proxy says of a body is ignored (RFC 9110 9.3.6), but there is no TLS behind it. */
    CHECK(get_by(&script, "", "https://nowhere.test/x", &status) < 0);
    CHECK(strstr(bk_errmsg(), "TLS"));
    CHECK_EQ(script.n_asked, 2);
    script_close(&script);
}

LOOP_TEST(urls_that_are_none)
{
    bk_http_call *call = NULL;
    bk_http_client *client = NULL;
    CHECK_EQ(bk_http_get(&call, NULL, "ftp://h/", NULL), -BK_EURL);
    CHECK_EQ(bk_http_get(&call, NULL, "http://", NULL), -BK_EURL);
    CHECK_EQ(bk_http_get(&call, NULL, "http://h:0/", NULL), -BK_EURL);
    CHECK_EQ(bk_http_get(&call, NULL, "http://h/a b", NULL), -BK_EURL);
    CHECK_EQ(bk_http_request(&call, NULL, "G T", "http://h/", bk_span_str(""), NULL), -EINVAL);
    CHECK_EQ(bk_http_request(&call, NULL, "TRACE", "http://h/", bk_span_str("x"), NULL), -EINVAL);
    CHECK_EQ(bk_http_open(&call, NULL, "TRACE", "http://h/", -1, NULL), -EINVAL);
    CHECK_EQ(bk_http_client_new(&client, &(bk_http_client_opts){.proxy = "socks://h"}), -BK_EURL);
    CHECK(!call && !client);
}

CHECK_MAIN(TEST(a_chunked_body), TEST(a_body_of_a_length_told_before), TEST(a_body_waits_for_100),
           TEST(a_body_waits_no_longer_than_1_s), TEST(a_refusal_saves_the_body),
           TEST(a_refused_expectation_is_given_up), TEST(hints_while_a_body_is_sent_do_not_end_it),
           TEST(tickets_while_a_body_is_sent_do_not_end_it),
           TEST(an_early_answer_is_found_while_the_body_goes_out),
           TEST(an_upgrade_hands_the_stream_over), TEST(a_proxy_is_asked_for_the_whole_url),
           TEST(options_without_a_path_are_about_the_server),
           TEST(a_tunnel_is_asked_for_before_tls), TEST(urls_that_are_none))
