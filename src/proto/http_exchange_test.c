/* SPDX-License-Identifier: MIT
 * How the HTTP server and a client take turns: 100 Continue, bodies in both directions at once,
 * what is left unread, interim responses, what leaves together, upgrades, the end of the server. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>

#include "proto/http_serve_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

/* Opens the site, or a connection to it, or ends the test. */
#define OPEN(site, s)                                                                              \
    bk_stream *s = NULL;                                                                           \
    CHECK_EQ(site_open(&site), 0);                                                                 \
    CHECK_EQ(dial(&site, &s), 0)

static int hello(void *ctx, bk_http_req *req)
{
    (void)ctx;
    return bk_http_reply(req, 200, NULL, "hello", 5);
}

static int take_body(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    bk_msg *body = NULL;
    int r = bk_http_req_body(req, &body);
    if (r < 0)
        return r;
    r = bk_http_reply(req, 200, NULL, bk_msg_data(body), bk_msg_len(body));
    const char *trailer = bk_http_headers_get(bk_http_req_trailers(req), "T");
    snprintf(site->note, sizeof site->note, "%s", trailer ? trailer : "none");
    bk_msg_free(&body);
    return r;
}

/* ---- RFC 9110 10.1.1 ---- */

#define EXPECT "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"

LOOP_TEST(the_first_read_tells_a_client_that_waits_to_go_on)
{
    struct site site = {.handler = take_body};
    OPEN(site, s);
    CHECK_EQ(send_text(s, EXPECT), 0);
    CHECK_STR(so_far(s), "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK_STR(so_far(s), "");
    CHECK_EQ(send_text(s, "hello"), 0);
    CHECK_STR(so_far(s), OK5 "hello");
    /* Who does not wait is not told. */
    CHECK_EQ(send_text(s, EXPECT "hello"), 0);
    CHECK_STR(so_far(s), OK5 "hello");
    CHECK_EQ(send_text(s, "POST / HTTP/1.1\r\n" HOST "eXpect: 100-Continue\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n"),
             0);
    CHECK_STR(so_far(s), "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK_EQ(send_text(s, "5\r\nhello\r\n0\r\nT: t\r\n\r\n"), 0);
    CHECK_STR(so_far(s), OK5 "hello");
    CHECK_STR(site.note, "t");
    /* There is nothing to wait for. */
    CHECK_EQ(send_text(s, "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"), 0);
    CHECK_STR(so_far(s), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(old_clients_are_not_told_to_go_on)
{
    struct site site = {.handler = take_body};
    OPEN(site, s);
    CHECK_EQ(send_text(s, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
             0);
    CHECK_STR(so_far(s), "");
    CHECK_EQ(send_text(s, "hello"), 0);
    CHECK_STR(rest_of(s), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(a_client_that_is_refused_is_not_told_to_go_on)
{
    struct site site = {.handler = hello};
    OPEN(site, s);
    CHECK_EQ(send_text(s, EXPECT), 0);
    CHECK_STR(rest_of(s), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.handler = take_body;
    site.opts.max_body = 4;
    CHECK_EQ(site_open(&site), 0);
    CHECK_EQ(dial(&site, &s), 0);
    CHECK_EQ(send_text(s, EXPECT), 0);
    CHECK_STR(status_of_answer(rest_of(s)), "413");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* ---- Bodies in both directions ---- */

static int echo_pieces(void *ctx, bk_http_req *req)
{
    char buf[1000];
    ssize_t n;
    (void)ctx;
    int r = bk_http_reply_start(req, 200, bk_http_req_length(req));
    while (r == 0 && (n = bk_http_req_read(req, buf, sizeof buf)) != 0)
        r = n < 0 ? (int)n : bk_http_reply_write(req, buf, (size_t)n);
    return r;
}

LOOP_TEST(a_body_is_answered_while_it_comes)
{
    struct site site = {.handler = echo_pieces};
    OPEN(site, s);
    CHECK_EQ(send_text(s, "POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n"), 0);
    CHECK_STR(so_far(s), "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
    CHECK_EQ(send_text(s, "one"), 0);
    CHECK_STR(so_far(s), "one");
    CHECK_EQ(send_text(s, "two" GET("/")), 0);
    CHECK_STR(so_far(s), "twoHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    CHECK_EQ(send_text(s, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 0);
    CHECK_STR(so_far(s), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    CHECK_EQ(send_text(s, "3\r\none\r\n"), 0);
    CHECK_STR(so_far(s), "3\r\none\r\n");
    CHECK_EQ(send_text(s, "2\r\ntw\r\n1\r\no\r\n0\r\n\r\n"), 0);
    CHECK_STR(so_far(s), "2\r\ntw\r\n1\r\no\r\n0\r\n\r\n");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

LOOP_TEST(a_body_that_breaks_off_breaks_the_reply_that_has_begun)
{
    struct site site = {.handler = echo_pieces};
    OPEN(site, s);
    CHECK_EQ(send_text(s, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 0);
    CHECK_STR(so_far(s), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    CHECK_EQ(send_text(s, "3\r\none\r\nx\r\n"), 0);
    CHECK_STR(rest_of(s), "!ECONNRESET"); /* what had not left yet is dropped */
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

enum { LARGE = 3000000 };

static int send_large(void *ctx)
{
    bk_stream *s = ctx;
    char *data = malloc(LARGE);
    for (int i = 0; i < LARGE; i++)
        data[i] = (char)(i % 253);
    char head[200];
    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: %d\r\n\r\n", LARGE);
    int r = send_text(s, head);
    if (r == 0)
        r = bk_stream_write(s, data, LARGE);
    free(data);
    return r;
}

static void large_body(bk_http_fn *handler, const char *framing)
{
    struct site site = {.handler = handler, .opts.max_body = BK_UNBOUNDED};
    bk_span line;
    static char buf[50000];
    OPEN(site, s);
    bk_task *sender = NULL;
    CHECK_EQ(bk_go(&sender, send_large, s, NULL), 0);
    while (bk_stream_read_line(s, &line) == 1 && line.len > 0)
        if (line.data[0] == 'C' && line.data[8] == 'L')
            CHECK_MEM(line.data, line.len, framing, strlen(framing));
    int n = 0;
    ssize_t got;
    while ((got = bk_stream_read(s, buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < got; i++)
            CHECK_EQ((uint8_t)buf[i], n++ % 253);
    CHECK_EQ(got, 0);
    CHECK_EQ(n, LARGE);
    int sent = -1;
    bk_task_wait(sender, &sent);
    bk_task_free(&sender);
    CHECK_EQ(sent, 0);
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(large_bodies_pass_through)
{
    large_body(echo_pieces, "Content-Length: 3000000");
    large_body(take_body, "Content-Length: 3000000");
}

/* ---- What a handler leaves unread ---- */

/* The answer to a body of n bytes that nobody reads, and to the request behind it. */
static const char *unread(const struct site *site, size_t n, bool chunked)
{
    static char text[1 << 20];
    char *at = text + snprintf(text, 200,
                               chunked ? "POST / HTTP/1.1\r\n" HOST
                                         "Transfer-Encoding: chunked\r\n\r\n%zx\r\n"
                                       : "POST / HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                               n);
    memset(at, 'x', n);
    snprintf(at + n, 200, "%s" GET("/"), chunked ? "\r\n0\r\n\r\n" : "");
    return ask(site, text);
}

LOOP_TEST(an_unread_body_is_skipped_or_ends_the_connection)
{
    struct site site = {.handler = hello};
    CHECK_EQ(site_open(&site), 0);
    for (int chunked = 0; chunked < 2; chunked++) {
        CHECK_STR(unread(&site, 1, chunked), OK5 "hello" OK5 "hello");
        CHECK_STR(unread(&site, 256 << 10, chunked), OK5 "hello" OK5 "hello");
        CHECK_STR(unread(&site, (256 << 10) + 1, chunked), OK5 "hello");
    }
    CHECK_EQ(site_close(&site), -ECANCELED);
}

/* ---- Interim responses ---- */

static int hint(void *ctx, bk_http_req *req)
{
    bk_http_headers *hints = NULL;
    (void)ctx;
    int r = bk_http_headers_new(&hints);
    if (r == 0)
        r = bk_http_headers_add(hints, "Link", "</a>; rel=preload");
    if (r == 0)
        r = bk_http_reply_interim(req, 103, hints);
    bk_http_headers_free(&hints);
    if (r == 0)
        r = bk_http_reply_interim(req, 102, NULL);
    return r < 0 ? r : bk_http_reply(req, 200, NULL, "hello", 5);
}

LOOP_TEST(interim_responses_come_ahead)
{
    struct site site = {.handler = hint};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, GET("/")), "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
                                    "HTTP/1.1 102 Processing\r\n\r\n" OK5 "hello");
    CHECK_STR(ask(&site, "GET / HTTP/1.0\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

/* ---- What leaves when ---- */

static int slow_second(void *ctx, bk_http_req *req)
{
    if (strcmp(bk_http_req_path(req), "/slow") == 0)
        bk_sleep(bk_seconds(1));
    return hello(ctx, req);
}

LOOP_TEST(a_reply_does_not_wait_for_the_next)
{
    struct site site = {.handler = slow_second};
    OPEN(site, s);
    CHECK_EQ(send_text(s, GET("/") GET("/slow") GET("/")), 0);
    CHECK_STR(so_far(s), OK5 "hello");
    bk_sleep(bk_ms(1500));
    CHECK_STR(so_far(s), OK5 "hello" OK5 "hello");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

static int trickle(void *ctx, bk_http_req *req)
{
    (void)ctx;
    int r = bk_http_reply_start(req, 200, 5);
    for (int i = 0; i < 5 && r == 0; i++) {
        r = bk_http_reply_write(req, "hello" + i, 1);
        if (i == 2)
            bk_sleep(bk_seconds(1));
    }
    return r;
}

LOOP_TEST(pieces_leave_when_the_task_gives_way)
{
    struct site site = {.handler = trickle};
    OPEN(site, s);
    CHECK_EQ(send_text(s, GET("/")), 0);
    CHECK_STR(so_far(s), OK5 "hel");
    bk_sleep(bk_ms(1500));
    CHECK_STR(so_far(s), "lo");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

/* Segments with data that the other end of s has sent. */
static unsigned n_segments(bk_stream *s)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    getsockopt(bk_stream_fd(s), IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_data_segs_in;
}

static int reply_in_steps(void *ctx, bk_http_req *req)
{
    (void)ctx;
    bk_http_reply_header(req, "A", "b");
    int r = bk_http_reply_start(req, 200, -1);
    for (int i = 0; r == 0 && i < 100; i++)
        r = bk_http_reply_write(req, "piece", 5);
    return r;
}

LOOP_TEST(a_reply_is_one_write_and_so_are_those_to_pipelined_requests)
{
    struct site site = {.handler = hello};
    OPEN(site, s);
    CHECK_EQ(send_text(s, GET("/")), 0);
    CHECK_STR(so_far(s), OK5 "hello");
    CHECK_EQ(n_segments(s), 1);
    CHECK_EQ(send_text(s, GET("/") GET("/") GET("/")), 0);
    CHECK_STR(so_far(s), OK5 "hello" OK5 "hello" OK5 "hello");
    CHECK_EQ(n_segments(s), 2);
    site.handler = reply_in_steps;
    CHECK_EQ(send_text(s, GET("/")), 0);
    CHECK(strstr(so_far(s), "\r\n0\r\n\r\n"));
    CHECK_EQ(n_segments(s), 3);
    CHECK_EQ(send_text(s, GET("/") GET("/")), 0);
    CHECK(strstr(so_far(s), "\r\n0\r\n\r\n"));
    CHECK_EQ(n_segments(s), 4);
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

static atomic_long n_allocations;

static void *count_allocations(void *ptr, size_t size)
{
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    atomic_fetch_add(&n_allocations, 1);
    return realloc(ptr, size);
}

static void many_requests(void)
{
    struct site site = {.handler = take_body};
    static const char text[] = "POST /some/path?and=query HTTP/1.1\r\n" HOST "User-Agent: test\r\n"
                               "Accept: */*\r\nContent-Length: 5\r\n\r\nhello";
    char answer[500];
    OPEN(site, s);
    long before = 0;
    for (int i = 0; i < 60; i++) {
        if (i == 10)
            before = atomic_load(&n_allocations);
        CHECK_EQ(send(bk_stream_fd(s), text, sizeof text - 1, 0), sizeof text - 1);
        settle();
        CHECK(recv(bk_stream_fd(s), answer, sizeof answer, MSG_DONTWAIT) > 0);
    }
    /* A stream waits without its buffer, and takes it again when something comes.  (The body's
     * message is from a cache.) */
#ifndef __SANITIZE_ADDRESS__ /* under which there is no cache */
    CHECK(atomic_load(&n_allocations) - before <= 50);
#endif
    CHECK_EQ(site.n_handled, 60);
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

static void a_request_takes_no_memory_but_its_stream_s_buffer(void)
{
    bk_set_allocator(count_allocations);
    run_in_loop(many_requests);
    bk_set_allocator(NULL);
}

/* ---- Upgrades ---- */

static int upgrade(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    bk_stream *s = NULL;
    bk_span line;
    bk_http_reply_header(req, "X-More", "1");
    int r = bk_http_req_upgrade(req, "shout", &s);
    if (r < 0)
        return s ? -EILSEQ : bk_http_reply(req, 200, NULL, "hello", 5);
    char byte;
    snprintf(site->note, sizeof site->note, "%d %d %zd", bk_http_req_upgrade(req, "shout", &s),
             bk_http_reply_text(req, 200, ""), bk_http_req_read(req, &byte, 1));
    while ((r = bk_stream_read_line(s, &line)) == 1) {
        const bk_span parts[] = {line, bk_span_str("!\n")};
        bk_stream_writev(s, parts, 2);
    }
    if (r == -ECANCELED)
        bk_stream_try_write(s, "bye\n", 4);
    bk_stream_close(&s, 0);
    return r;
}

#define OK5_MORE "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-More: 1\r\n\r\n"
#define SWITCHING                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nX-More: 1\r\nUpgrade: shout\r\n"                          \
    "Connection: Upgrade\r\n\r\n"
#define UPGRADE                                                                                    \
    "GET / HTTP/1.1\r\n" HOST "Upgrade: shout/1, Shout\r\nConnection: x, upgrade\r\n\r\n"

LOOP_TEST(a_connection_is_handed_over_with_what_has_come)
{
    struct site site = {.handler = upgrade};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask_in_all_parts(&site, GET("/") UPGRADE "one\ntwo\n"),
              OK5_MORE "hello" SWITCHING "one!\ntwo!\n");
    CHECK_STR(site.note, "-22 -22 -22");
    CHECK_STR(
        ask(&site, "GET / HTTP/1.0\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\nX-More: 1\r\n\r\nhello");
    CHECK_STR(ask(&site, "GET / HTTP/1.1\r\n" HOST "Upgrade: shout\r\n\r\n"), OK5_MORE "hello");
    CHECK_STR(ask(&site, "GET / HTTP/1.1\r\n" HOST "Upgrade: other\r\nConnection: upgrade\r\n\r\n"),
              OK5_MORE "hello");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* ---- The end of the server ---- */

static int busy(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    bool quick = strcmp(bk_http_req_path(req), "/quick") == 0;
    int r = bk_sleep(quick ? bk_seconds(2) : bk_minutes(5));
    snprintf(site->note + strlen(site->note), 100, "%s %d stopping %d; ", bk_http_req_path(req), r,
             bk_http_req_stopping(req));
    return r < 0 ? r : hello(ctx, req);
}

LOOP_TEST(SV2_a_stopped_server_finishes_what_it_has_begun)
{
    struct site site = {.handler = busy};
    bk_stream *idle = NULL, *quick = NULL, *slow = NULL, *partial = NULL;
    CHECK_EQ(site_open(&site), 0);
    CHECK(dial(&site, &idle) == 0 && dial(&site, &quick) == 0 && dial(&site, &slow) == 0 &&
          dial(&site, &partial) == 0);
    send_text(quick, GET("/quick") GET("/quick"));
    send_text(slow, GET("/slow"));
    send_text(partial, "GET /quick HTTP/1.1\r\n");
    settle();
    bk_time begin = bk_now();
    bk_task_cancel(site.task);
    settle();
    CHECK_STR(so_far(idle), "(end)");
    send_text(partial, HOST "\r\n");
    CHECK_STR(rest_of(quick),
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    CHECK_STR(rest_of(partial),
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    CHECK_EQ(bk_time_since(bk_now(), begin).ns / 1000000000, 2);
    CHECK(strcmp(rest_of(slow), "") == 0);
    CHECK_EQ(bk_time_since(bk_now(), begin).ns / 1000000000, 10);
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_STR(site.note, "/quick 0 stopping 1; /quick 0 stopping 1; /slow -125 stopping 1; ");
    CHECK_EQ(site.n_errors, 0);
    bk_stream_close(&idle, -1);
    bk_stream_close(&quick, -1);
    bk_stream_close(&slow, -1);
    bk_stream_close(&partial, -1);
}

LOOP_TEST(other_protocols_are_told_at_once_by_a_cancel)
{
    struct site site = {.handler = upgrade};
    OPEN(site, s);
    bk_time begin = bk_now();
    CHECK_EQ(send_text(s, UPGRADE "one\n"), 0);
    CHECK_STR(so_far(s), SWITCHING "one!\n");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK(bk_time_since(bk_now(), begin).ns < bk_ms(500).ns);
    CHECK_STR(rest_of(s), "bye\n");
    bk_stream_close(&s, -1);
}

/* A client that does not read is not waited for. */
LOOP_TEST(the_client_gets_time_to_read_an_answer_that_ends_the_connection)
{
    struct site site = {.handler = hello};
    OPEN(site, s);
    CHECK_EQ(send_text(s, "BAD\r\n\r\n"), 0);
    settle();
    /* It goes on sending, which must not make the answer get lost. */
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(send_text(s, GET("/")), 0);
        settle();
    }
    bk_sleep(bk_seconds(4));
    CHECK_STR(status_of_answer(rest_of(s)), "400");
    bk_sleep(bk_seconds(2));
    CHECK(send_text(s, "x") < 0 || (settle(), send_text(s, "x")) < 0);
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

CHECK_MAIN(TEST(the_first_read_tells_a_client_that_waits_to_go_on),
           TEST(old_clients_are_not_told_to_go_on),
           TEST(a_client_that_is_refused_is_not_told_to_go_on),
           TEST(a_body_is_answered_while_it_comes),
           TEST(a_body_that_breaks_off_breaks_the_reply_that_has_begun),
           TEST(large_bodies_pass_through), TEST(an_unread_body_is_skipped_or_ends_the_connection),
           TEST(interim_responses_come_ahead), TEST(a_reply_does_not_wait_for_the_next),
           TEST(pieces_leave_when_the_task_gives_way),
           TEST(a_reply_is_one_write_and_so_are_those_to_pipelined_requests),
           TEST(a_request_takes_no_memory_but_its_stream_s_buffer),
           TEST(a_connection_is_handed_over_with_what_has_come),
           TEST(SV2_a_stopped_server_finishes_what_it_has_begun),
           TEST(other_protocols_are_told_at_once_by_a_cancel),
           TEST(the_client_gets_time_to_read_an_answer_that_ends_the_connection))
