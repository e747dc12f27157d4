/* SPDX-License-Identifier: MIT
 * How connections under TLS end: in order, cut short, too late, or before they have begun. */
#include "net/stream.h"
#include "net/tls_fixture.h"

#define CLIENT                                                                                     \
    &(bk_tls_opts)                                                                                 \
    {                                                                                              \
        .ca_file = tls_file("ca")                                                                  \
    }
#define SERVER                                                                                     \
    &(bk_tls_opts)                                                                                 \
    {                                                                                              \
        .cert_file = tls_file("server")                                                            \
    }

static int64_t now_ms(void)
{
    return bk_now().ns / 1000000;
}

/* ---- In order ---- */

static int close_client(void *ctx)
{
    struct pair *p = ctx;
    return bk_stream_close(&p->client, 0);
}

LOOP_TEST(C150_closing_says_goodbye_and_waits_for_the_peer_s)
{
    struct pair p;
    char buf[16];
    bk_task *task = NULL;
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(bk_stream_write(p.client, "last words", 10), 0);
    CHECK_EQ(bk_go(&task, close_client, &p, NULL), 0);
    bk_sleep(bk_seconds(1));
    CHECK(!bk_task_done(task));
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 10);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 0);
    int64_t before = now_ms();
    CHECK_EQ(bk_stream_close(&p.server, 0), 0);
    CHECK_EQ(now_ms(), before); /* the other goodbye is here */
    int r = -1;
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, 0);
    CHECK_EQ(now_ms(), before);
    bk_task_free(&task);
    close_pair(&p);
}

LOOP_TEST(C150_the_peer_s_goodbye_is_waited_for_so_long)
{
    static const int seconds[] = {0, 2};
    for (int i = 0; i < 2; i++) {
        struct pair p;
        bk_tls_opts client = {.ca_file = tls_file("ca"),
                              .shutdown_timeout = bk_seconds(seconds[i])};
        CHECK_EQ(open_pair(&p, &client, SERVER), 0);
        CHECK_EQ(shake(&p), 0);
        int64_t before = now_ms();
        CHECK_EQ(bk_stream_close(&p.client, 0), 0);
        CHECK_EQ(now_ms() - before, seconds[i] ? 2000 : 5000);
        close_pair(&p);
    }
}

static int talk_on(void *ctx)
{
    struct pair *p = ctx;
    int r = 0;
    while (r == 0) {
        r = bk_stream_write(p->server, "and another thing\n", 18);
        if (r == 0)
            r = bk_sleep(bk_ms(10));
    }
    return 0;
}

static int talk_once(void *ctx)
{
    struct pair *p = ctx;
    return bk_stream_write(p->client, "hello", 5);
}

LOOP_TEST(C150_a_peer_that_talks_on_is_not_listened_to_for_ever)
{
    struct pair p;
    bk_task *task = NULL;
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(bk_go(&task, talk_on, &p, NULL), 0);
    int64_t before = now_ms();
    CHECK_EQ(bk_stream_close(&p.client, 0), 0);
    CHECK_EQ(now_ms() - before, 5000);
    stop_pump(&task);
    close_pair(&p);
}

LOOP_TEST(a_half_closed_connection_goes_on_the_other_way)
{
    struct pair p;
    char buf[4];
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(bk_stream_write_eof(p.client), 0);
    CHECK_EQ(bk_stream_write(p.client, "x", 1), -EPIPE);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 0);
    CHECK_EQ(pass(p.server, p.client, "still here"), 0);
    CHECK_EQ(bk_stream_write_eof(p.server), 0);
    CHECK_EQ(bk_stream_read(p.client, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_close(&p.client, 0), 0);
    CHECK_EQ(bk_stream_close(&p.server, 0), 0);
    close_pair(&p);
}

LOOP_TEST(a_dropped_connection_says_no_goodbye)
{
    struct pair p;
    char buf[4];
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(pass(p.server, p.client, "hello"), 0);
    int64_t before = now_ms();
    CHECK_EQ(bk_stream_close(&p.client, -EIO), -EIO);
    CHECK_EQ(now_ms(), before);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EINCOMPLETE);
    close_pair(&p);
}

/* ---- Ended from elsewhere ---- */

static int read_one(void *ctx)
{
    char byte;
    return (int)bk_stream_read(ctx, &byte, 1);
}

LOOP_TEST(a_hung_up_stream_ends_in_order)
{
    struct pair p;
    char buf[8];
    bk_task *reader = NULL, *closer = NULL;
    int r = -1;
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(bk_go(&reader, read_one, p.client, NULL), 0);
    bk_sleep(bk_seconds(1));
    bk_stream_hang_up(p.client);
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&reader);
    CHECK_EQ(bk_stream_read(p.client, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_write(p.client, "x", 1), -EPIPE);
    CHECK_EQ(bk_go(&closer, close_client, &p, NULL), 0);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_close(&p.server, 0), 0);
    CHECK_EQ(bk_task_wait(closer, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&closer);
    close_pair(&p);
}

LOOP_TEST(an_aborted_stream_ends_at_once)
{
    struct pair p;
    char buf[8];
    bk_task *reader = NULL;
    int r = -1;
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(pass(p.server, p.client, "hello"), 0);
    CHECK_EQ(bk_go(&reader, read_one, p.client, NULL), 0);
    bk_sleep(bk_seconds(1));
    bk_stream_abort(p.client);
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, -ECONNABORTED);
    bk_task_free(&reader);
    CHECK_EQ(bk_stream_read(p.client, buf, sizeof buf), -ECONNABORTED);
    CHECK_EQ(bk_stream_write(p.client, "x", 1), -ECONNABORTED);
    int64_t before = now_ms();
    CHECK_EQ(bk_stream_close(&p.client, 0), -ECONNABORTED);
    CHECK_EQ(now_ms(), before);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EINCOMPLETE);
    close_pair(&p);
}

/* Both sides of one stream wait for the handshake when it is ended. */
static void check_end_in_handshake(void (*end)(bk_stream *s), int read_result, int write_result)
{
    struct pair p;
    bk_task *reader = NULL, *writer = NULL;
    int r = -1;
    CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
    CHECK_EQ(bk_go(&writer, shake_client, &p, NULL), 0);
    bk_yield();
    bk_task_cancel(writer); /* the handshake has begun, and is the next call's to end */
    CHECK_EQ(bk_task_wait(writer, NULL), 0);
    bk_task_free(&writer);
    struct pair q = {.client = p.client};
    CHECK_EQ(bk_go(&reader, read_one, p.client, NULL), 0);
    CHECK_EQ(bk_go(&writer, talk_once, &q, NULL), 0);
    bk_sleep(bk_seconds(1));
    CHECK(!bk_task_done(reader) && !bk_task_done(writer));
    end(p.client);
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, read_result);
    CHECK_EQ(bk_task_wait(writer, &r), 0);
    CHECK_EQ(r, write_result);
    bk_task_free(&reader);
    bk_task_free(&writer);
    close_pair(&p);
}

LOOP_TEST(a_stream_may_be_ended_in_the_handshake)
{
    check_end_in_handshake(bk_stream_hang_up, 0, -EPIPE);
    check_end_in_handshake(bk_stream_abort, -ECONNABORTED, -ECONNABORTED);
}

/* ---- Cut short ---- */

/* The man in the middle hangs up. */
static void cut(struct pair *p)
{
    stop_pump(&p->to_server);
    bk_stream_write_eof(p->near_server);
}

LOOP_TEST(C150_an_end_without_a_goodbye_is_an_error)
{
    struct pair p;
    char buf[16];
    bk_span line;
    CHECK_EQ(open_shaken(&p, 4096, NULL), 0);
    CHECK_EQ(pass(p.client, p.server, "all is well"), 0);
    CHECK_EQ(bk_stream_write(p.client, "half a li", 9), 0);
    bk_sleep(bk_seconds(1));
    cut(&p);
    CHECK_EQ(bk_stream_read_line(p.server, &line), -BK_EINCOMPLETE);
    CHECK(strstr(bk_errmsg(), "the connection ended without a goodbye (close_notify)"));
    CHECK_EQ(bk_stream_read_until(p.server, bk_span_str("\n"), &line), -BK_EINCOMPLETE);
    CHECK_EQ(line.len, 0);
    CHECK_EQ(bk_stream_peek(p.server, 0, &line), 1);
    CHECK_MEM(line.data, line.len, "half a li", 9); /* it came, and may be looked at */
    bk_stream_consume(p.server, 9);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EINCOMPLETE);
        CHECK(strstr(bk_errmsg(), "goodbye"));
    }
    CHECK_EQ(bk_stream_read_exactly(p.server, buf, 4), -BK_EINCOMPLETE);
    close_pair(&p);
}

LOOP_TEST(C150_so_is_an_end_inside_a_record)
{
    struct pair p;
    static char text[6000], buf[6000];
    CHECK_EQ(open_shaken(&p, 4000, NULL), 0);
    CHECK_EQ(bk_stream_write(p.client, text, sizeof text), 0);
    while (bk_stream_unsent(p.client) > 0)
        bk_yield();
    bk_yield();
    cut(&p);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EINCOMPLETE);
    close_pair(&p);
}

static int cut_soon(void *ctx)
{
    struct pair *p = ctx;
    bk_sleep(bk_seconds(1));
    cut(p);
    return 0;
}

LOOP_TEST(C150_and_an_end_in_the_handshake)
{
    struct pair p;
    bk_task *task = NULL;
    CHECK_EQ(open_pair_with(&p, CLIENT, SERVER, 4096, NULL), 0);
    CHECK_EQ(bk_go(&task, cut_soon, &p, NULL), 0);
    CHECK_EQ(shake_server(&p), 0);
    CHECK_EQ(p.server_result, -BK_EINCOMPLETE);
    CHECK(strstr(p.server_error, "the connection ended in the handshake"));
    stop_pump(&task);
    close_pair(&p);
}

LOOP_TEST(C150_a_changed_byte_is_noticed)
{
    struct pair p;
    char record[200];
    CHECK_EQ(open_shaken(&p, 4096, NULL), 0);
    stop_pump(&p.to_server);
    CHECK_EQ(bk_stream_write(p.client, "pay 1", 5), 0);
    ssize_t n = bk_stream_read(p.near_client, record, sizeof record);
    CHECK(n > 5 && n < (ssize_t)sizeof record);
    record[n - 3] ^= 1;
    CHECK_EQ(bk_stream_write(p.near_server, record, (size_t)n), 0);
    CHECK_EQ(bk_stream_read(p.server, record, sizeof record), -BK_EPROTO);
    CHECK(strstr(bk_errmsg(), "bad record mac"));
    CHECK_EQ(bk_stream_read(p.server, record, sizeof record), -BK_EPROTO);
    CHECK_EQ(bk_stream_write(p.server, "x", 1), -BK_EPROTO);
    CHECK_EQ(bk_stream_read(p.client, record, sizeof record), -BK_EREFUSED);
    CHECK(strstr(bk_errmsg(), "the peer ended it: bad record mac"));
    close_pair(&p);
}

LOOP_TEST(what_has_come_is_read_before_the_error_is_told)
{
    struct pair p;
    static char buf[65536];
    CHECK_EQ(open_shaken(&p, 4096, NULL), 0);
    CHECK_EQ(bk_stream_write(p.client, "one", 3), 0);
    CHECK_EQ(bk_stream_write(p.client, "two", 3), 0);
    bk_sleep(bk_seconds(1));
    CHECK_EQ(bk_stream_write(p.near_server, "garbage", 7), 0);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 6);
    CHECK_MEM(buf, 6, "onetwo", 6);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EPROTO);
    close_pair(&p);
}

LOOP_TEST(a_reset_is_one)
{
    bk_stream *a = NULL, *b = NULL;
    struct pair p = {.name = "localhost"};
    char buf[4];
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_tls_client_new(&p.client_tls, CLIENT), 0);
    CHECK_EQ(bk_tls_server_new(&p.server_tls, SERVER), 0);
    p.client = a;
    p.server = b;
    CHECK_EQ(shake(&p), 0);
    reset_on_close(bk_stream_fd(p.client));
    bk_stream_close(&p.client, -1);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -ECONNRESET);
    CHECK(strstr(bk_errmsg(), "Connection reset by peer"));
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -ECONNRESET);
    close_pair(&p);
}

/* In the handshake of a connection through a proxy nobody would know whose read that was. */
LOOP_TEST(a_reset_in_the_handshake_says_so)
{
    bk_stream *a = NULL, *b = NULL;
    struct pair p = {.name = "localhost"};
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_tls_client_new(&p.client_tls, CLIENT), 0);
    p.client = a;
    reset_on_close(bk_stream_fd(b));
    bk_stream_close(&b, -1);
    shake_client(&p);
    CHECK_EQ(p.client_result, -ECONNRESET);
    CHECK(strstr(p.client_error, "TLS with localhost: "));
    CHECK(strstr(p.client_error, "Connection reset by peer"));
    close_pair(&p);
}

/* A peer that has said its answer and takes no more: what it said can be read. */
LOOP_TEST(what_was_said_before_a_broken_write_is_read)
{
    struct pair p;
    char buf[16];
    static char data[1024 * 1024];
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    CHECK_EQ(bk_stream_write(p.server, "no thanks", 9), 0);
    bk_stream_close(&p.server, -1);
    int r = 0;
    while (r == 0)
        r = bk_stream_write(p.client, data, sizeof data);
    CHECK(r == -EPIPE || r == -ECONNRESET);
    CHECK_EQ(bk_stream_read(p.client, buf, sizeof buf), 9);
    CHECK_MEM(buf, 9, "no thanks", 9);
    r = (int)bk_stream_read(p.client, buf, sizeof buf);
    CHECK(r == -BK_EINCOMPLETE || r == -ECONNRESET);
    close_pair(&p);
}

/* ---- Peers that do not speak TLS, or nothing ---- */

static void check_plain_peer(bool server, const char *says, int want, const char *why)
{
    struct pair p;
    CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
    CHECK_EQ(bk_stream_write(server ? p.client : p.server, says, strlen(says)), 0);
    if (server)
        shake_server(&p);
    else
        shake_client(&p);
    CHECK_EQ(server ? p.server_result : p.client_result, want);
    CHECK(strstr(server ? p.server_error : p.client_error, why));
    close_pair(&p);
}

LOOP_TEST(a_peer_that_does_not_speak_TLS)
{
    check_plain_peer(true, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", -BK_EPROTO,
                     "what the peer sends is not TLS");
    check_plain_peer(false, "HTTP/1.1 400 Bad Request\r\n\r\n", -BK_EPROTO,
                     "TLS with localhost: what the peer sends is not TLS");
    check_plain_peer(false, "220 mail.example ESMTP ready\r\n", -BK_EPROTO, "is not TLS");
}

static void check_silent_peer(bool server, int seconds)
{
    struct pair p;
    bk_tls_opts client = {.ca_file = tls_file("ca"), .handshake_timeout = bk_seconds(seconds)};
    bk_tls_opts serving = {.cert_file = tls_file("server"),
                           .handshake_timeout = bk_seconds(seconds)};
    char buf[4];
    CHECK_EQ(open_pair(&p, &client, &serving), 0);
    bk_stream *s = server ? p.server : p.client;
    int64_t before = now_ms(), limit = seconds ? seconds * 1000 : 10000;
    if (server)
        shake_server(&p);
    else
        shake_client(&p);
    CHECK_EQ(now_ms() - before, limit);
    CHECK_EQ(server ? p.server_result : p.client_result, -ETIMEDOUT);
    CHECK(strstr(server ? p.server_error : p.client_error,
                 seconds ? "no handshake within 3000 ms" : "no handshake within 10000 ms"));
    CHECK_EQ(bk_stream_read(s, buf, sizeof buf), -ETIMEDOUT);
    CHECK_EQ(bk_stream_write(s, "x", 1), -ETIMEDOUT);
    close_pair(&p);
}

LOOP_TEST(C150_a_handshake_has_ten_seconds)
{
    check_silent_peer(false, 0);
    check_silent_peer(true, 0);
    check_silent_peer(false, 3);
    check_silent_peer(true, 3);
}

/* Whoever sends a byte now and then gets no more time for it. */
static int drip(void *ctx)
{
    struct pair *p = ctx;
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof hello; i++) {
        r = bk_stream_write(p->client, hello + i, 1);
        if (r == 0)
            r = bk_sleep(bk_seconds(2));
    }
    return 0;
}

LOOP_TEST(C150_and_no_more_for_a_byte_now_and_then)
{
    struct pair p;
    bk_task *task = NULL;
    CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
    CHECK_EQ(bk_go(&task, drip, &p, NULL), 0);
    int64_t before = now_ms();
    shake_server(&p);
    CHECK_EQ(p.server_result, -ETIMEDOUT);
    CHECK_EQ(now_ms() - before, 10000);
    stop_pump(&task);
    close_pair(&p);
}

CHECK_MAIN(TEST(C150_closing_says_goodbye_and_waits_for_the_peer_s),
           TEST(C150_the_peer_s_goodbye_is_waited_for_so_long),
           TEST(C150_a_peer_that_talks_on_is_not_listened_to_for_ever),
           TEST(a_half_closed_connection_goes_on_the_other_way),
           TEST(a_dropped_connection_says_no_goodbye), TEST(a_hung_up_stream_ends_in_order),
           TEST(an_aborted_stream_ends_at_once), TEST(a_stream_may_be_ended_in_the_handshake),
           TEST(C150_an_end_without_a_goodbye_is_an_error), TEST(C150_so_is_an_end_inside_a_record),
           TEST(C150_and_an_end_in_the_handshake), TEST(C150_a_changed_byte_is_noticed),
           TEST(what_has_come_is_read_before_the_error_is_told), TEST(a_reset_is_one),
           TEST(a_reset_in_the_handshake_says_so),
           TEST(what_was_said_before_a_broken_write_is_read), TEST(a_peer_that_does_not_speak_TLS),
           TEST(C150_a_handshake_has_ten_seconds), TEST(C150_and_no_more_for_a_byte_now_and_then))
