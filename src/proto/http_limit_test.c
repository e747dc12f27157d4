/* SPDX-License-Identifier: MIT
 * The limits of the HTTP server: each default holds, to the byte and to the second, and each can be
 * set. */
#include <sys/resource.h>

#include "proto/http_serve_fixture.h"

static int take_body(void *ctx, bk_http_req *req)
{
    bk_msg *body = NULL;
    char text[32];
    (void)ctx;
    int r = bk_http_req_body(req, &body);
    if (r < 0)
        return r;
    snprintf(text, sizeof text, "%zu", bk_msg_len(body));
    bk_msg_free(&body);
    return bk_http_reply_text(req, 200, text);
}

static const char *status_of(const struct site *site, const char *text)
{
    return status_of_answer(ask(site, text));
}

/* ---- Sizes ---- */

static char *padded(char *at, size_t n)
{
    memset(at, 'x', n);
    return at + n;
}

/* A request whose first line has so many bytes, with its end. */
static const char *with_line(size_t size)
{
    static char text[20000];
    char *at = stpncpy(text, "GET /", 6);
    at = padded(at, size - strlen("GET / HTTP/1.1\r\n"));
    memcpy(at, " HTTP/1.1\r\n" HOST "\r\n", sizeof " HTTP/1.1\r\n" HOST "\r\n");
    return text;
}

/* A request with n header lines, which have so many bytes in all, with the empty line. */
static const char *with_fields(size_t size, size_t n)
{
    static char text[100000];
    char *at = stpncpy(text, "GET / HTTP/1.1\r\n" HOST, 100);
    for (size_t i = 2; i < n; i++)
        at = stpncpy(at, "A:\r\n", 5);
    at = stpncpy(at, "B:", 3);
    at = padded(at, size - strlen(HOST) - 4 * (n - 2) - strlen("B:\r\n\r\n"));
    memcpy(at, "\r\n\r\n", 5);
    return text;
}

LOOP_TEST(request_lines_are_limited)
{
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_line(8192)), "200");
    CHECK_STR(status_of(&site, with_line(8193)), "414");
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.max_line = 16384;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_line(16384)), "200");
    CHECK_STR(status_of(&site, with_line(16385)), "414");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(header_blocks_are_limited)
{
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_fields(65536, 3)), "200");
    CHECK_STR(status_of(&site, with_fields(65537, 3)), "431");
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.max_head = 1000;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_fields(1000, 5)), "200");
    CHECK_STR(status_of(&site, with_fields(1001, 5)), "431");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(header_lines_are_counted)
{
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_fields(1000, 100)), "200");
    CHECK_STR(status_of(&site, with_fields(1000, 101)), "431");
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.max_headers = 300;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_fields(3000, 300)), "200");
    CHECK_STR(status_of(&site, with_fields(3000, 301)), "431");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

/* A body of so many bytes, with a length or in two chunks. */
static const char *with_body(size_t size, bool chunked)
{
    static char text[3 << 20];
    char *at = text;
    if (!chunked) {
        at += snprintf(at, 200, "POST / HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", size);
        *padded(at, size) = '\0';
        return text;
    }
    at += snprintf(at, 200, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\n");
    at = padded(at, 1);
    at += snprintf(at, 200, "\r\n%zx\r\n", size - 1);
    at = padded(at, size - 1);
    snprintf(at, 200, "\r\n0\r\n\r\n");
    return text;
}

LOOP_TEST(bodies_are_limited)
{
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    for (int chunked = 0; chunked < 2; chunked++) {
        CHECK_STR(status_of(&site, with_body(1 << 20, chunked)), "200");
        CHECK_STR(status_of(&site, with_body((1 << 20) + 1, chunked)), "413");
    }
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.max_body = 10;
    CHECK_EQ(site_open(&site), 0);
    for (int chunked = 0; chunked < 2; chunked++) {
        CHECK_STR(status_of(&site, with_body(10, chunked)), "200");
        CHECK_STR(status_of(&site, with_body(11, chunked)), "413");
    }
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.max_body = BK_UNBOUNDED;
    CHECK_EQ(site_open(&site), 0);
    for (int chunked = 0; chunked < 2; chunked++)
        CHECK_STR(status_of(&site, with_body(2 << 20, chunked)), "200");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* A handler may choose for itself. */
static int take_ten(void *ctx, bk_http_req *req)
{
    bk_http_req_set_max_body(req, 10);
    return take_body(ctx, req);
}

LOOP_TEST(a_handler_may_set_the_limit_of_a_body)
{
    struct site site = {.handler = take_ten};
    CHECK_EQ(site_open(&site), 0);
    for (int chunked = 0; chunked < 2; chunked++) {
        CHECK_STR(status_of(&site, with_body(10, chunked)), "200");
        CHECK_STR(status_of(&site, with_body(11, chunked)), "413");
    }
    CHECK_EQ(site_close(&site), -ECANCELED);
}

static const char *with_extension(size_t size)
{
    static char text[10000];
    char *at =
        stpncpy(text, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;", 200);
    at = padded(at, size - 1);
    snprintf(at, 100, "\r\na\r\n0\r\n\r\n");
    return text;
}

LOOP_TEST(chunk_extensions_are_limited)
{
    struct site site = {.handler = take_body};
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_extension(4096)), "200");
    CHECK_STR(status_of(&site, with_extension(4097)), "400");
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.max_chunk_ext = 5;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of(&site, with_extension(5)), "200");
    CHECK_STR(status_of(&site, with_extension(6)), "400");
    CHECK_EQ(site_close(&site), -ECANCELED);
}

/* ---- Times ---- */

static int64_t ms_since(bk_time begin)
{
    return bk_time_since(bk_now(), begin).ns / 1000000;
}

/* Says text, and waits for the connection to end.  What came, and after how many ms it ended. */
static const char *answer_to(const struct site *site, const char *text, int64_t *ms)
{
    bk_stream *s = NULL;
    bk_time begin = bk_now();
    if (dial(site, &s) < 0 || send_text(s, text) < 0)
        return "!no connection";
    const char *got = rest_of(s);
    *ms = ms_since(begin);
    bk_stream_close(&s, -1);
    return got;
}

#define GET "GET / HTTP/1.1\r\n" HOST "\r\n"
/* The clock may not stand still to the millisecond while the kernel works. */
#define CHECK_ABOUT(ms, want) CHECK((ms) >= (want) && (ms) < (want) + 100)

LOOP_TEST(a_head_has_ten_seconds)
{
    struct site site = {.handler = take_body};
    int64_t ms;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(answer_to(&site, "", &ms), "");
    CHECK_ABOUT(ms, 10000);
    CHECK_STR(status_of_answer(answer_to(&site, "GET / HTTP/1.1\r\nHo", &ms)), "408");
    CHECK_ABOUT(ms, 10000);
    CHECK_STR(answer_to(&site, "\r\n", &ms), "");
    CHECK_ABOUT(ms, 10000);
    /* A next one has them from its first byte, which has come already. */
    const char *got = answer_to(&site, GET "GET ", &ms);
    CHECK(strstr(got, "HTTP/1.1 200 OK") && strstr(got, "HTTP/1.1 408 Request Timeout"));
    CHECK_ABOUT(ms, 10000);
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.head_timeout = bk_ms(500);
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(answer_to(&site, "GET", &ms)), "408");
    CHECK_ABOUT(ms, 500);
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* Trickling does not help. */
LOOP_TEST(a_head_has_ten_seconds_however_busy_its_client_is)
{
    struct site site = {.handler = take_body};
    bk_stream *s = NULL;
    CHECK_EQ(site_open(&site), 0);
    CHECK_EQ(dial(&site, &s), 0);
    bk_time begin = bk_now();
    int r = 0;
    CHECK_EQ(send_text(s, "GET / HTTP/1.1\r\n"), 0);
    while (r == 0 && !bk_stream_is_closing(s) && ms_since(begin) < 9900) {
        r = send_text(s, "A: b\r\n");
        bk_sleep(bk_ms(900));
    }
    CHECK_STR(status_of_answer(rest_of(s)), "408");
    CHECK_ABOUT(ms_since(begin), 10000);
    bk_stream_close(&s, -1);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

LOOP_TEST(idle_connections_end_after_a_minute)
{
    struct site site = {.handler = take_body};
    int64_t ms;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(answer_to(&site, GET, &ms)), "200");
    CHECK_ABOUT(ms, 60000);
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.idle_timeout = bk_seconds(3);
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(answer_to(&site, GET, &ms)), "200");
    CHECK_ABOUT(ms, 3000);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

static int see_answer(void *ctx)
{
    bk_span answer;
    return bk_stream_peek(ctx, 1, &answer);
}

/* Sends a body of `total` bytes, so many each second, from a second on; what is answered, and when.
 */
static const char *send_slowly(const struct site *site, int total, int each, int64_t *ms)
{
    bk_stream *s = NULL;
    char text[200], piece[3000];
    memset(piece, 'x', sizeof piece);
    snprintf(text, sizeof text,
             "POST / HTTP/1.1\r\n" HOST "Connection: close\r\n"
             "Content-Length: %d\r\n\r\n",
             total);
    bk_time begin = bk_now();
    if (dial(site, &s) < 0 || send_text(s, text) < 0)
        return "!no connection";
    for (int sent = 0; sent < total; sent += each) {
        if (bk_wait_for(see_answer, s, bk_seconds(1)) != -ETIMEDOUT)
            break;
        if (bk_stream_write(s, piece, (size_t)(total - sent < each ? total - sent : each)) < 0)
            break;
        settle();
    }
    const char *got = rest_of(s);
    *ms = ms_since(begin);
    bk_stream_close(&s, -1);
    return status_of_answer(got);
}

LOOP_TEST(a_body_comes_at_240_bytes_a_second_after_five_seconds)
{
    struct site site = {.handler = take_body};
    int64_t ms;
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(send_slowly(&site, 3200, 320, &ms), "200");
    CHECK_ABOUT(ms, 10000);
    CHECK_STR(send_slowly(&site, 3000, 200, &ms), "408");
    CHECK(ms >= 5000 && ms <= 7000);
    CHECK_STR(send_slowly(&site, 40, 10, &ms), "200"); /* done within the grace */
    CHECK_STR(send_slowly(&site, 1000, 0, &ms), "408");
    CHECK_ABOUT(ms, 5000);
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.min_rate = 1000;
    site.opts.min_rate_grace = bk_seconds(2);
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(send_slowly(&site, 8000, 2100, &ms), "200");
    CHECK_STR(send_slowly(&site, 5000, 900, &ms), "408");
    CHECK(ms >= 2000 && ms <= 4000);
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 0);
}

/* Whoever has sent much may pause, but no longer than a connection may idle. */
LOOP_TEST(a_body_does_not_stand_still_for_more_than_a_minute)
{
    struct site site = {.handler = take_body};
    static char text[600000];
    int64_t ms;
    char *at =
        text + snprintf(text, 200, "POST / HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
    *padded(at, 500000) = '\0';
    CHECK_EQ(site_open(&site), 0);
    CHECK_STR(status_of_answer(answer_to(&site, text, &ms)), "408");
    CHECK_ABOUT(ms, 60000);
    CHECK_EQ(site_close(&site), -ECANCELED);
}

/* ---- Replies ---- */

static int send_much(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    static char piece[50000];
    int r = bk_http_reply_start(req, 200, -1);
    bk_time begin = bk_now();
    for (int i = 0; r == 0 && i < 100; i++)
        r = bk_http_reply_write(req, piece, sizeof piece);
    snprintf(site->note, sizeof site->note, "%s after %lld s",
             r == 0 ? "whole" : strerrorname_np(-r), (long long)(ms_since(begin) / 1000));
    return r;
}

/* Takes so many bytes each second, after `pause`. */
static void take_slowly(struct site *site, size_t each, bk_duration pause)
{
    bk_stream *s = NULL;
    static char buf[100000];
    ssize_t n = 1;
    if (dial(site, &s) < 0)
        return;
    send_text(s, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    bk_sleep(pause);
    while (n > 0) {
        bk_sleep(bk_seconds(1));
        for (size_t at = 0; n > 0 && at < each; at += (size_t)n)
            n = bk_stream_read(s, buf, each - at);
    }
    bk_stream_close(&s, -1);
}

LOOP_TEST(a_reply_is_taken_or_the_connection_ends)
{
    /* TCP would keep a time of its own. */
    char address[64];
    snprintf(address, sizeof address, "unix:@beck-http-limit-%d", (int)getpid());
    struct site site = {.handler = send_much, .address = address};
    CHECK_EQ(site_open(&site), 0);
    take_slowly(&site, 100000, bk_seconds(100));
    CHECK_STR(site.note, "ETIMEDOUT after 5 s");
    take_slowly(&site, 100000, bk_seconds(0));
    CHECK_STR(strncmp(site.note, "whole", 5) == 0 ? "whole" : site.note, "whole");
    CHECK_EQ(site_close(&site), -ECANCELED);
    CHECK_EQ(site.n_errors, 1);
    CHECK_EQ(site.last_error, -ETIMEDOUT);
}

/* ---- Connections ---- */

static int hold(void *ctx, bk_http_req *req)
{
    (void)ctx, (void)req;
    return bk_sleep_forever();
}

/* So many clients ask, and hang up; how many requests are in a handler then. */
static int n_held(struct site *site, int n_clients)
{
    for (int i = 0; i < n_clients; i++) {
        bk_stream *s = NULL;
        if (dial(site, &s) < 0 || send_text(s, GET) < 0)
            return -1;
        bk_stream_close(&s, 0);
        if (i % 50 == 0)
            settle();
    }
    bk_sleep(bk_seconds(1));
    return site->n_handled;
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { MOST = 1000 }; /* a sanitizer has no room for more */
#else
enum { MOST = 10000 };
#endif

LOOP_TEST(so_many_connections_are_served_at_once)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t before = files.rlim_cur;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct site site = {.handler = hold, .opts.drain = bk_ms(1), .listen.backlog = 4096};
    if (MOST != 10000)
        site.opts.limit = MOST;
    CHECK_EQ(site_open(&site), 0);
    CHECK(files.rlim_max > MOST + 100);
    CHECK_EQ(n_held(&site, MOST + 10), MOST);
    CHECK_EQ(site_close(&site), -ECANCELED);
    site.opts.limit = 3;
    site.n_handled = 0;
    CHECK_EQ(site_open(&site), 0);
    CHECK_EQ(n_held(&site, 5), 3);
    CHECK_EQ(site_close(&site), -ECANCELED);
    files.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &files);
}

CHECK_MAIN(TEST(request_lines_are_limited), TEST(header_blocks_are_limited),
           TEST(header_lines_are_counted), TEST(bodies_are_limited),
           TEST(a_handler_may_set_the_limit_of_a_body), TEST(chunk_extensions_are_limited),
           TEST(a_head_has_ten_seconds), TEST(a_head_has_ten_seconds_however_busy_its_client_is),
           TEST(idle_connections_end_after_a_minute),
           TEST(a_body_comes_at_240_bytes_a_second_after_five_seconds),
           TEST(a_body_does_not_stand_still_for_more_than_a_minute),
           TEST(a_reply_is_taken_or_the_connection_ends),
           TEST(so_many_connections_are_served_at_once))
