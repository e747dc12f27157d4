/* SPDX-License-Identifier: MIT
 * Server-sent events: how they are written, and what becomes of streams of them. */
#include "proto/http_serve_fixture.h"

#include <beck/sse.h>

#include "proto/sse_parse.h"

#define GET "GET /events HTTP/1.1\r\n" HOST "\r\n"
#define HEAD_OF_EVENTS                                                                             \
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n"         \
    "Cache-Control: no-store\r\n\r\n"

/* ---- Encoding ---- */

static const char *encoded(const bk_sse_event *event)
{
    static char text[1000];
    bk_msg *msg = NULL;
    int r = bk_sse_encode(&msg, event);
    if (r < 0)
        return strerrorname_np(-r);
    snprintf(text, sizeof text, "%.*s", (int)bk_msg_len(msg), bk_msg_data(msg));
    bk_msg_free(&msg);
    return text;
}

#define S bk_span_str

static void events_are_lines(void)
{
    CHECK_STR(encoded(&(bk_sse_event){.data = S("hello")}), "data: hello\n\n");
    CHECK_STR(encoded(&(bk_sse_event){.data = S("")}), "data: \n\n");
    CHECK_STR(encoded(&(bk_sse_event){0}), "\n");
    CHECK_STR(encoded(&(bk_sse_event){.type = S("tick"), .id = S("7"), .data = S(" x")}),
              "id: 7\nevent: tick\ndata:  x\n\n");
    CHECK_STR(encoded(&(bk_sse_event){.retry = bk_ms(1500)}), "retry: 1500\n\n");
    CHECK_STR(encoded(&(bk_sse_event){.clear_id = true, .data = S("x")}), "id\ndata: x\n\n");
}

static void data_may_have_lines_of_any_kind(void)
{
    CHECK_STR(encoded(&(bk_sse_event){.data = S("a\nb\r\nc\rd")}),
              "data: a\ndata: b\ndata: c\ndata: d\n\n");
    CHECK_STR(encoded(&(bk_sse_event){.data = S("\n\r\n\r")}),
              "data: \ndata: \ndata: \ndata: \n\n");
    CHECK_STR(encoded(&(bk_sse_event){.data = S("x\n\nid: 3\nevent: y")}),
              "data: x\ndata: \ndata: id: 3\ndata: event: y\n\n");
}

static void what_would_be_read_otherwise_is_refused(void)
{
    CHECK_STR(encoded(&(bk_sse_event){.type = S("a\nb")}), "EINVAL");
    CHECK_STR(encoded(&(bk_sse_event){.type = S("a\rb")}), "EINVAL");
    CHECK_STR(encoded(&(bk_sse_event){.id = S("a\nb")}), "EINVAL");
    CHECK_STR(encoded(&(bk_sse_event){.id = bk_span_of("a\0b", 3)}), "EINVAL");
    CHECK_STR(encoded(&(bk_sse_event){.data = S("\xff")}), "EINVAL");
    CHECK_STR(encoded(&(bk_sse_event){.type = S("\xc3")}), "EINVAL");
    CHECK_STR(encoded(&(bk_sse_event){.retry = bk_ms(-1)}), "EINVAL");
}

/* What is written is what a client reads, but for the kind of line ends. */
static void events_are_read_back(void)
{
    static const char *const datas[] = {"x",      "", " a\n b", "a\r\nb", "\xe2\x82\xac: y\n",
                                        "data: z"};
    struct bki_sse sse;
    bki_sse_init(&sse, 0, 0);
    for (size_t i = 0; i < sizeof datas / sizeof *datas; i++) {
        bk_msg *msg = NULL;
        size_t used;
        char want[100];
        CHECK_EQ(bk_sse_encode(&msg, &(bk_sse_event){.data = S(datas[i]), .id = S("id 1 ")}), 0);
        CHECK_EQ(bki_sse_next(&sse, bk_msg_data(msg), bk_msg_len(msg), &used), 1);
        size_t n = 0;
        for (const char *c = datas[i]; *c; c++)
            if (*c != '\r')
                want[n++] = *c;
        CHECK_MEM(sse.data.data, sse.data.len, want, n);
        CHECK_MEM(sse.id.data, sse.id.len, "id 1 ", 5);
        bk_msg_free(&msg);
    }
    bki_sse_free(&sse);
}

/* ---- Streams ---- */

struct feed {
    struct site site; /* first: what handlers get */
    bk_sse_opts opts;
    bk_sse *clients[4];
    int n_clients, n_left;
    char last_id[100];
};

static int follow(void *ctx, bk_http_req *req)
{
    struct feed *feed = ctx;
    bk_sse *sse = NULL;
    int r = bk_sse_open(&sse, req, &feed->opts);
    if (r < 0)
        return r;
    snprintf(feed->last_id, sizeof feed->last_id, "%s", bk_sse_last_id(sse));
    int i = feed->n_clients++;
    feed->clients[i] = sse;
    r = bk_sse_wait(sse);
    feed->clients[i] = NULL;
    feed->n_left++;
    return bk_sse_close(&sse, r);
}

static int open_feed(struct feed *feed, bk_stream **client)
{
    feed->site.handler = follow;
    int r = site_open(&feed->site);
    if (r == 0)
        r = dial(&feed->site, client);
    return r < 0 ? r : send_text(*client, GET);
}

LOOP_TEST(events_leave_as_chunks)
{
    struct feed feed = {.opts.retry = bk_seconds(2)};
    bk_stream *s = NULL;
    CHECK_EQ(open_feed(&feed, &s), 0);
    CHECK_STR(so_far(s), HEAD_OF_EVENTS "d\r\nretry: 2000\n\n\r\n");
    CHECK_EQ(bk_sse_send(feed.clients[0], NULL, "one"), 0);
    CHECK_STR(so_far(s), "b\r\ndata: one\n\n\r\n");
    CHECK_EQ(bk_sse_send(feed.clients[0], "tick", "two"), 0);
    CHECK_EQ(bk_sse_comment(feed.clients[0], "psst"), 0);
    CHECK_EQ(bk_sse_comment(feed.clients[0], "a\nb"), -EINVAL);
    CHECK_STR(so_far(s), "17\r\nevent: tick\ndata: two\n\n\r\n8\r\n: psst\n\n\r\n");
    bk_stream_close(&s, -1);
    settle();
    CHECK_EQ(feed.n_left, 1);
    CHECK_EQ(site_close(&feed.site), -ECANCELED);
    CHECK_EQ(feed.site.n_errors, 0);
}

LOOP_TEST(clients_say_where_they_were)
{
    struct feed feed = {.site.handler = follow};
    bk_stream *s = NULL;
    CHECK_EQ(site_open(&feed.site), 0);
    CHECK_EQ(dial(&feed.site, &s), 0);
    CHECK_EQ(send_text(s, "GET / HTTP/1.1\r\n" HOST "Last-Event-ID: 17 x\r\n\r\n"), 0);
    settle();
    CHECK_STR(feed.last_id, "17 x");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&feed.site), -ECANCELED);
}

LOOP_TEST(silence_is_broken_every_15_seconds)
{
    struct feed feed = {0};
    bk_stream *s = NULL;
    CHECK_EQ(open_feed(&feed, &s), 0);
    CHECK_STR(so_far(s), HEAD_OF_EVENTS);
    bk_sleep(bk_ms(14900));
    CHECK_STR(so_far(s), "");
    bk_sleep(bk_ms(200));
    CHECK_STR(so_far(s), "3\r\n:\n\n\r\n");
    bk_sleep(bk_seconds(10));
    CHECK_EQ(bk_sse_send(feed.clients[0], NULL, "x"), 0);
    CHECK_STR(so_far(s), "9\r\ndata: x\n\n\r\n");
    bk_sleep(bk_ms(14900));
    CHECK_STR(so_far(s), "");
    bk_sleep(bk_ms(200));
    CHECK_STR(so_far(s), "3\r\n:\n\n\r\n");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&feed.site), -ECANCELED);

    struct feed quiet = {.opts.keep_alive = bk_forever()};
    CHECK_EQ(open_feed(&quiet, &s), 0);
    CHECK_STR(so_far(s), HEAD_OF_EVENTS);
    bk_sleep(bk_minutes(60));
    CHECK_STR(so_far(s), "");
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&quiet.site), -ECANCELED);
}

LOOP_TEST(a_stopped_server_ends_streams_in_order)
{
    struct feed feed = {0};
    bk_stream *s = NULL;
    CHECK_EQ(open_feed(&feed, &s), 0);
    CHECK_STR(so_far(s), HEAD_OF_EVENTS);
    bk_time begin = bk_now();
    CHECK_EQ(site_close(&feed.site), -ECANCELED);
    CHECK(bk_time_since(bk_now(), begin).ns < bk_seconds(1).ns);
    CHECK_STR(rest_of(s), "0\r\n\r\n");
    CHECK_EQ(feed.site.n_errors, 0);
    bk_stream_close(&s, -1);
}

static int chatter(void *ctx, bk_http_req *req)
{
    bk_sse *sse = NULL;
    (void)ctx;
    int r = bk_sse_open(&sse, req, NULL);
    while (r == 0 && (r = bk_sse_send(sse, NULL, "x")) == 0)
        r = bk_sleep(bk_seconds(1));
    return bk_sse_close(&sse, r);
}

LOOP_TEST(a_handler_that_only_sends_learns_of_the_end_by_sending)
{
    struct site site = {.handler = chatter};
    bk_stream *s = NULL;
    CHECK_EQ(site_open(&site), 0);
    CHECK_EQ(dial(&site, &s), 0);
    CHECK_EQ(send_text(s, GET), 0);
    bk_sleep(bk_ms(1500));
    CHECK_STR(so_far(s), HEAD_OF_EVENTS "9\r\ndata: x\n\n\r\n9\r\ndata: x\n\n\r\n");
    bk_time begin = bk_now();
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK(bk_time_since(bk_now(), begin).ns < bk_seconds(2).ns);
    CHECK_STR(rest_of(s), "0\r\n\r\n");
    CHECK_EQ(site.n_errors, 0);
    bk_stream_close(&s, -1);
}

/* Between its events it sleeps. */
static int tick(void *ctx, bk_http_req *req)
{
    struct feed *feed = ctx;
    bk_sse *sse = NULL;
    int r = bk_sse_open(&sse, req, &feed->opts);
    while (r == 0 && (r = bk_sse_send(sse, NULL, "x")) == 0)
        r = bk_sse_sleep(sse, bk_seconds(100));
    feed->n_left += r == -BK_ECLOSED;
    return bk_sse_close(&sse, r);
}

LOOP_TEST(a_handler_that_sleeps_between_events_wakes_for_the_end)
{
    struct feed feed = {.site.handler = tick, .opts.keep_alive = bk_forever()};
    bk_stream *s = NULL, *left = NULL;
    CHECK_EQ(site_open(&feed.site), 0);
    CHECK(dial(&feed.site, &s) == 0 && dial(&feed.site, &left) == 0);
    CHECK(send_text(s, GET) == 0 && send_text(left, GET) == 0);
    CHECK_STR(so_far(s), HEAD_OF_EVENTS "9\r\ndata: x\n\n\r\n");
    bk_sleep(bk_seconds(99));
    CHECK_STR(so_far(left), HEAD_OF_EVENTS "9\r\ndata: x\n\n\r\n");
    bk_stream_close(&left, -1);
    settle();
    CHECK_EQ(feed.n_left, 1);
    bk_sleep(bk_seconds(2));
    CHECK(strstr(so_far(s), "9\r\ndata: x\n\n\r\n"));
    bk_time begin = bk_now();
    CHECK_EQ(site_close(&feed.site), -ECANCELED);
    CHECK(bk_time_since(bk_now(), begin).ns < bk_seconds(1).ns);
    CHECK_EQ(feed.n_left, 2);
    CHECK_STR(rest_of(s), "0\r\n\r\n");
    CHECK_EQ(feed.site.n_errors, 0);
    bk_stream_close(&s, -1);
}

LOOP_TEST(one_event_is_told_to_many_and_waits_for_nobody)
{
    /* TCP would keep a time of its own. */
    char address[64], text[5000];
    snprintf(address, sizeof address, "unix:@beck-sse-%d", (int)getpid());
    struct feed feed = {.site.handler = follow, .site.address = address};
    bk_stream *fast = NULL, *slow = NULL;
    bk_msg *msg = NULL;
    CHECK_EQ(site_open(&feed.site), 0);
    CHECK(dial(&feed.site, &fast) == 0 && dial(&feed.site, &slow) == 0);
    CHECK(send_text(fast, GET) == 0 && send_text(slow, GET) == 0);
    CHECK_STR(so_far(fast), HEAD_OF_EVENTS);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_EQ(bk_sse_encode(&msg, &(bk_sse_event){.data = S(text)}), 0);
    int behind = 0, told = 0;
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(bk_sse_try_send_msg(feed.clients[0], msg), 0);
        int r = bk_sse_try_send_msg(feed.clients[1], msg);
        CHECK(r == 0 || r == -EAGAIN);
        behind += r == -EAGAIN;
        told += r == 0;
        CHECK_EQ(strlen(so_far(fast)), bk_msg_len(msg) + 8);
    }
    CHECK(behind > 0 && told > 10);
    /* What was refused is no part of the stream. */
    size_t want = strlen(HEAD_OF_EVENTS) + (size_t)told * (bk_msg_len(msg) + 8), n = 0;
    for (const char *got; (got = so_far(slow))[0];)
        n += strlen(got);
    CHECK_EQ(n, want);
    CHECK_EQ(bk_sse_send_msg(feed.clients[1], msg), 0);
    CHECK_EQ(strlen(so_far(slow)), bk_msg_len(msg) + 8);
    bk_msg_free(&msg);
    bk_stream_close(&slow, -1);
    settle();
    CHECK(feed.n_left == 1 && !feed.clients[1]);
    bk_stream_close(&fast, -1);
    settle();
    CHECK_EQ(feed.n_left, 2);
    CHECK_EQ(site_close(&feed.site), -ECANCELED);
    CHECK_EQ(feed.site.n_errors, 0);
}

LOOP_TEST(other_requests_get_what_they_can)
{
    struct site site = {.handler = chatter};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(ask(&site, "HEAD / HTTP/1.1\r\n" HOST "\r\n"), HEAD_OF_EVENTS);
    bk_stream *s = NULL;
    CHECK_EQ(dial(&site, &s), 0);
    CHECK_EQ(send_text(s, "GET / HTTP/1.0\r\n\r\n"), 0);
    CHECK_STR(so_far(s),
              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n"
              "Cache-Control: no-store\r\n\r\ndata: x\n\n");
    bk_stream_close(&s, -1);
    bk_sleep(bk_seconds(5));
    CHECK_EQ(site_close(&site), -ECANCELED);
}

CHECK_MAIN(TEST(events_are_lines), TEST(data_may_have_lines_of_any_kind),
           TEST(what_would_be_read_otherwise_is_refused), TEST(events_are_read_back),
           TEST(events_leave_as_chunks), TEST(clients_say_where_they_were),
           TEST(silence_is_broken_every_15_seconds), TEST(a_stopped_server_ends_streams_in_order),
           TEST(a_handler_that_only_sends_learns_of_the_end_by_sending),
           TEST(a_handler_that_sleeps_between_events_wakes_for_the_end),
           TEST(one_event_is_told_to_many_and_waits_for_nobody),
           TEST(other_requests_get_what_they_can))
