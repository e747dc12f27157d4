/* SPDX-License-Identifier: MIT
 * Unfinished heads and bodies of many requests share the loop's memory for what is coming in: all
 * come to their end, and a client that does not go on makes way for others. */
#include "proto/http_serve_fixture.h"
#include "rt/intake.h"

enum { CROWD = 20, LENGTH = 24 * 1024, LIMIT = 64 * 1024 };

static size_t most_held;

static int take_body(void *ctx, bk_http_req *req)
{
    bk_msg *body = NULL;
    char text[32];
    (void)ctx;
    int r = bk_http_req_body(req, &body);
    most_held = bki_loop->intake.held > most_held ? bki_loop->intake.held : most_held;
    if (r < 0)
        return r;
    snprintf(text, sizeof text, "%zu", bk_msg_len(body));
    bk_msg_free(&body);
    return bk_http_reply_text(req, 200, text);
}

static char body[LENGTH];

static bk_stream *begin(const struct site *site, const char *rest_of_head, size_t len)
{
    char head[200];
    bk_stream *s = NULL;
    memset(body, 'x', sizeof body);
    snprintf(head, sizeof head, "POST / HTTP/1.1\r\n" HOST "Connection: close\r\n%s", rest_of_head);
    if (dial(site, &s) < 0 || send_text(s, head) < 0 || bk_stream_write(s, body, len) < 0)
        bk_stream_close(&s, -EIO);
    return s;
}

static void open_site(struct site *site)
{
    bki_loop->opts.max_intake = LIMIT;
    most_held = 0;
    site->handler = take_body;
    site->opts.min_rate_grace = bk_seconds(3600); /* so that slow clients may be that slow */
    CHECK_EQ(site_open(site), 0);
}

static void check_site(struct site *site)
{
    CHECK_EQ(site_close(site), -ECANCELED);
    CHECK_EQ(bki_loop->intake.held, 0);
    CHECK_EQ(bki_loop->intake.n_active, 0);
}

static void take_crowd(const char *how, const char *last)
{
    struct site site = {.n_errors = 0};
    bk_stream *s[CROWD];
    open_site(&site);
    for (int i = 0; i < CROWD; i++)
        s[i] = begin(&site, how, LENGTH - 1);
    bk_sleep(bk_ms(10));
    CHECK(bki_loop->intake.held > LIMIT / 2);
    CHECK(bki_loop->intake.held <= LIMIT + LENGTH);
    CHECK(!bki_list_empty(&bki_loop->intake.lines[1]));
    for (int i = 0; i < CROWD; i++)
        CHECK_EQ(send_text(s[i], last), 0);
    for (int i = 0; i < CROWD; i++) {
        const char *answer = rest_of(s[i]);
        CHECK_STR(status_of_answer(answer), "200");
        CHECK(strstr(answer, "\r\n\r\n24576"));
        bk_stream_close(&s[i], 0);
    }
    CHECK_EQ(site.n_errors, 0);
    CHECK(most_held > LIMIT / 2 && most_held <= LIMIT + LENGTH);
    check_site(&site);
}

LOOP_TEST(a_crowd_of_bodies_comes_through_within_the_limit)
{
    take_crowd("Content-Length: 24576\r\n\r\n", "x");
}

LOOP_TEST(so_does_a_crowd_of_chunked_ones)
{
    take_crowd("Transfer-Encoding: chunked\r\n\r\n6000\r\n", "x\r\n0\r\n\r\n");
}

LOOP_TEST(a_short_body_waits_for_nobody)
{
    struct site site = {.n_errors = 0};
    bk_stream *s[CROWD];
    open_site(&site);
    for (int i = 0; i < CROWD; i++)
        s[i] = begin(&site, "Content-Length: 24576\r\n\r\n", LENGTH / 2);
    bk_sleep(bk_ms(10));
    bk_stream *small = begin(&site, "Content-Length: 1500\r\n\r\n", 700);
    settle();
    CHECK_EQ(bk_stream_write(small, body, 800), 0);
    CHECK(strstr(rest_of(small), "\r\n\r\n1500"));
    bk_stream_close(&small, 0);
    for (int i = 0; i < CROWD; i++)
        bk_stream_close(&s[i], 0);
    check_site(&site);
}

LOOP_TEST(a_client_that_does_not_go_on_is_told_503)
{
    struct site site = {.n_errors = 0};
    open_site(&site);
    bki_loop->opts.max_intake = 20 * 1024;
    bk_stream *slow = begin(&site, "Content-Length: 24576\r\n\r\n", LENGTH - 1000);
    settle();
    bk_stream *other = begin(&site, "Content-Length: 24576\r\n\r\n", LENGTH);
    bk_sleep(bk_seconds(9));
    CHECK_STR(so_far(other), "");
    CHECK_STR(so_far(slow), "");
    bk_sleep(bk_seconds(2));
    CHECK_STR(status_of_answer(rest_of(slow)), "503");
    CHECK(strstr(rest_of(other), "\r\n\r\n24576"));
    bk_stream_close(&slow, 0);
    bk_stream_close(&other, 0);
    check_site(&site);
}

/* ---- Heads ---- */

static int hello(void *ctx, bk_http_req *req)
{
    (void)ctx;
    return bk_http_reply_text(req, 200, "hello");
}

/* A head of some size, without the empty line that ends it. */
static bk_stream *begin_head(const struct site *site, size_t size)
{
    static char head[LENGTH];
    bk_stream *s = NULL;
    int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n");
    while ((size_t)n + 1010 < size)
        n += snprintf(head + n, sizeof head - (size_t)n, "X: %.990s\r\n", body);
    if (dial(site, &s) < 0 || send_text(s, head) < 0)
        bk_stream_close(&s, -EIO);
    return s;
}

LOOP_TEST(long_heads_come_through_within_the_limit)
{
    struct site site = {.n_errors = 0};
    bk_stream *s[CROWD];
    memset(body, 'x', sizeof body);
    open_site(&site);
    site.handler = hello;
    for (int i = 0; i < CROWD; i++)
        s[i] = begin_head(&site, LENGTH);
    bk_sleep(bk_ms(10));
    CHECK(bki_loop->intake.held > LIMIT / 2);
    CHECK(bki_loop->intake.held <= LIMIT + 2 * LENGTH);
    bk_stream *shorter = begin_head(&site, 3500); /* waits for nobody */
    CHECK_EQ(send_text(shorter, "\r\n"), 0);
    CHECK_STR(status_of_answer(rest_of(shorter)), "200");
    bk_stream_close(&shorter, 0);
    for (int i = 0; i < CROWD; i++)
        CHECK_EQ(send_text(s[i], "\r\n"), 0);
    for (int i = 0; i < CROWD; i++) {
        CHECK_STR(status_of_answer(rest_of(s[i])), "200");
        bk_stream_close(&s[i], 0);
    }
    CHECK_EQ(site.n_errors, 0);
    check_site(&site);
}

LOOP_TEST(heads_that_never_end_make_way_in_time)
{
    struct site site = {.n_errors = 0};
    bk_stream *s[CROWD], *last;
    memset(body, 'x', sizeof body);
    open_site(&site);
    site.handler = hello;
    for (int i = 0; i < CROWD; i++)
        s[i] = begin_head(&site, LENGTH);
    bk_sleep(bk_seconds(11)); /* head_timeout is 10 s */
    last = begin_head(&site, LENGTH);
    CHECK_EQ(send_text(last, "\r\n"), 0);
    CHECK_STR(status_of_answer(rest_of(last)), "200");
    bk_stream_close(&last, 0);
    for (int i = 0; i < CROWD; i++) {
        CHECK_STR(status_of_answer(rest_of(s[i])), "408");
        bk_stream_close(&s[i], 0);
    }
    check_site(&site);
}

CHECK_MAIN(TEST(a_crowd_of_bodies_comes_through_within_the_limit),
           TEST(so_does_a_crowd_of_chunked_ones), TEST(a_short_body_waits_for_nobody),
           TEST(a_client_that_does_not_go_on_is_told_503),
           TEST(long_heads_come_through_within_the_limit),
           TEST(heads_that_never_end_make_way_in_time))
