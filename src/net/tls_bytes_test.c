/* SPDX-License-Identifier: MIT
 * Bytes through TLS: in any portions, both ways at once, under pressure, cut and ended. */
#include "net/tls.h"
#include "net/tls_fixture.h"

#define MiB ((size_t)1024 * 1024)

/* ---- Any portions ---- */

struct talk {
    bk_stream *from, *to;
    size_t total, max_write;
    unsigned seed;
    int result;
};

static char pattern(size_t at)
{
    return (char)(at * 7 + (at >> 8) * 3 + (at >> 16));
}

static int write_all(void *ctx)
{
    struct talk *t = ctx;
    unsigned random = t->seed;
    char buf[5000];
    int r = 0;
    for (size_t at = 0; r == 0 && at < t->total;) {
        size_t n = 1 + next_random(&random) % t->max_write;
        if (n > t->total - at)
            n = t->total - at;
        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(at + i);
        bk_span pieces[3] = {bk_span_of(buf, n / 3), bk_span_of(NULL, 0),
                             bk_span_of(buf + n / 3, n - n / 3)};
        r = bk_stream_writev(t->from, pieces, 3);
        at += n;
    }
    return r < 0 ? r : bk_stream_write_eof(t->from);
}

/* With all the calls in turn. */
static int read_all(void *ctx)
{
    struct talk *t = ctx;
    unsigned random = t->seed + 1;
    char buf[5000];
    ssize_t n = 1;
    for (size_t at = 0;; at += (size_t)n) {
        bk_span seen = {0};
        const char *data = buf;
        size_t want = 1 + next_random(&random) % sizeof buf;
        switch (next_random(&random) % 3) {
        case 0:
            n = bk_stream_read(t->to, buf, want);
            break;
        case 1:
            if (want > t->total - at)
                want = t->total - at;
            n = want == 0 ? 0 : bk_stream_read_exactly(t->to, buf, want);
            n = n == 0 ? (ssize_t)want : n;
            break;
        default:
            n = bk_stream_peek(t->to, want < t->total - at ? want : t->total - at, &seen);
            data = seen.data;
            n = n < 0 ? n : (ssize_t)seen.len;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (data[i] != pattern(at + (size_t)i))
                return bk_fail(-EIO, "byte %zu is wrong", at + (size_t)i);
        }
        if (data != buf && n > 0)
            bk_stream_consume(t->to, (size_t)n);
        if (n < 0)
            return (int)n;
        if (at + (size_t)n == t->total) {
            n = bk_stream_read(t->to, buf, 1);
            return n == 0 ? 0 : n < 0 ? (int)n : -EIO;
        }
    }
}

static int both_ways(struct pair *p, size_t total, size_t max_write)
{
    struct talk there = {p->client, p->server, total, max_write, 1, 0};
    struct talk back = {p->server, p->client, total, max_write, 7, 0};
    bk_call calls[] = {{.fn = write_all, .ctx = &there},
                       {.fn = read_all, .ctx = &there},
                       {.fn = write_all, .ctx = &back},
                       {.fn = read_all, .ctx = &back}};
    int r = bk_gather(calls, 4, NULL);
    if (r < 0)
        fprintf(stderr, "%s\n", bk_errmsg());
    return r;
}

LOOP_TEST(every_byte_comes_one_by_one)
{
    struct pair p;
    CHECK_EQ(open_shaken(&p, 1, NULL), 0);
    CHECK_EQ(both_ways(&p, 2000, 300), 0);
    close_pair(&p);
}

LOOP_TEST(bytes_come_in_any_portions)
{
    static const size_t portions[] = {2, 3, 5, 21, 100, 517, 4096};
    for (size_t i = 0; i < sizeof portions / sizeof *portions; i++) {
        struct pair p;
        CHECK_EQ(open_shaken(&p, portions[i], NULL), 0);
        CHECK_EQ(both_ways(&p, 20000, 5000), 0);
        close_pair(&p);
    }
}

LOOP_TEST(a_handshake_of_single_bytes_of_each_version)
{
    for (enum bk_tls_version v = BK_TLS_1_2; v <= BK_TLS_1_3; v++) {
        struct pair p;
        bk_tls_opts client = {.ca_file = tls_file("ca"), .cert_file = tls_file("client")};
        bk_tls_opts server = {
            .cert_file = tls_file("server"), .ca_file = tls_file("ca"), .max_version = v};
        CHECK_EQ(open_pair_with(&p, &client, &server, 1, NULL), 0);
        CHECK_EQ(shake(&p), 0);
        CHECK_EQ(pass(p.client, p.server, "hello"), 0);
        CHECK_EQ(pass(p.server, p.client, "you too"), 0);
        close_pair(&p);
    }
}

LOOP_TEST(both_directions_at_once_through_small_buffers)
{
    static const bk_stream_opts small = {.read_limit = 8192, .write_buffer = 1};
    static const bk_stream_opts *const opts[] = {NULL, &small};
    for (size_t i = 0; i < 2; i++) {
        struct pair p;
        CHECK_EQ(open_shaken(&p, 0, opts[i]), 0);
        CHECK_EQ(both_ways(&p, 2 * MiB, 5000), 0);
        close_pair(&p);
    }
}

/* ---- Big writes ---- */

struct big {
    bk_stream *s;
    char *data;
    size_t len;
};

static int write_big(void *ctx)
{
    struct big *b = ctx;
    return bk_stream_write(b->s, b->data, b->len);
}

static int read_big(void *ctx)
{
    struct big *b = ctx;
    return bk_stream_read_exactly(b->s, b->data, b->len);
}

LOOP_TEST(one_big_write_and_one_big_read)
{
    struct pair p;
    struct big out = {.len = 5 * MiB + 17}, in = {.len = out.len};
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    out.s = p.client;
    in.s = p.server;
    out.data = malloc(out.len);
    in.data = malloc(in.len);
    for (size_t i = 0; i < out.len; i++)
        out.data[i] = pattern(i);
    bk_call calls[] = {{.fn = write_big, .ctx = &out}, {.fn = read_big, .ctx = &in}};
    CHECK_EQ(bk_gather(calls, 2, NULL), 0);
    CHECK(memcmp(in.data, out.data, in.len) == 0);
    free(out.data);
    free(in.data);
    close_pair(&p);
}

/* Writes until it has to wait; returns the task that does. */
static bk_task *write_until_stuck(struct big *b)
{
    bk_task *task = NULL;
    if (bk_go(&task, write_big, b, NULL) < 0)
        return NULL;
    for (int i = 0; i < 100; i++)
        bk_yield();
    return task;
}

LOOP_TEST(a_writer_waits_for_a_slow_reader)
{
    struct pair p;
    static char data[4 * 1024 * 1024];
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    struct big out = {p.client, data, sizeof data}, in = {p.server, data, sizeof data};
    bk_task *task = write_until_stuck(&out);
    CHECK(task && !bk_task_done(task));
    CHECK(bk_stream_unsent(p.client) > 0);
    CHECK(bk_stream_unsent(p.client) <= 65536);
    CHECK_EQ(read_big(&in), 0);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    CHECK_EQ(bk_task_result(task), 0);
    bk_task_free(&task);
    close_pair(&p);
}

LOOP_TEST(a_cancelled_write_breaks_the_write_side)
{
    struct pair p;
    static char data[4 * 1024 * 1024];
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    struct big out = {p.client, data, sizeof data};
    bk_task *task = write_until_stuck(&out);
    bk_task_cancel(task);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    CHECK_EQ(bk_task_result(task), -ECANCELED);
    bk_task_free(&task);
    CHECK_EQ(bk_stream_write(p.client, "x", 1), -EPIPE);
    CHECK_EQ(pass(p.server, p.client, "reading goes on"), 0);
    close_pair(&p);
}

/* A peer that makes us answer, and takes no answers, does not get all our memory. */
LOOP_TEST(answers_that_nobody_takes_are_limited)
{
    struct pair p;
    static char data[1024];
    size_t sent = 0;
    int r = 0;
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    struct bki_tls_conn *c = p.client->filter_state;
    c->reading = true;
    while (r == 0 && sent < 16 * MiB) {
        r = bki_tls_raw_send(c, data, sizeof data);
        sent += sizeof data;
    }
    CHECK_EQ(r, -BK_EPROTO);
    CHECK(bk_stream_unsent(p.client) > 128 * 1024 && bk_stream_unsent(p.client) < 132 * 1024);
    close_pair(&p);
}

/* ---- Cancels lose nothing ---- */

static int read_some(void *ctx)
{
    struct talk *t = ctx;
    char buf[3000];
    for (;;) {
        ssize_t n = bk_stream_read(t->to, buf, sizeof buf);
        if (n <= 0)
            return (int)n;
        for (ssize_t i = 0; i < n; i++, t->total++) {
            if (buf[i] != pattern(t->total))
                return -EIO;
        }
    }
}

LOOP_TEST(C150_cancelled_reads_lose_nothing)
{
    struct pair p;
    CHECK_EQ(open_shaken(&p, 100, NULL), 0);
    struct talk out = {p.client, p.server, 60000, 2000, 1, 0}, in = {.to = p.server};
    bk_task *writer = NULL;
    CHECK_EQ(bk_go(&writer, write_all, &out, NULL), 0);
    int r = -ECANCELED;
    for (int round = 0; r == -ECANCELED; round++) {
        bk_task *reader = NULL;
        CHECK_EQ(bk_go(&reader, read_some, &in, NULL), 0);
        for (int i = 0; i < round % 7; i++)
            bk_yield();
        bk_task_cancel(reader);
        CHECK_EQ(bk_task_wait(reader, &r), 0);
        bk_task_free(&reader);
        CHECK(round < 100000);
        if (round % 100 == 99)
            bk_sleep(bk_ms(1));
    }
    CHECK_EQ(r, 0);
    CHECK_EQ(in.total, 60000);
    stop_pump(&writer);
    close_pair(&p);
}

LOOP_TEST(what_must_not_wait_does_not_wait_for_the_handshake)
{
    struct pair p;
    char buf[8];
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(
        bki_tls_attach(p.client, p.client_tls, &(bk_start_tls_opts){.server_name = "localhost"}),
        0);
    CHECK_EQ(bk_stream_try_write(p.client, "hello", 5), -EAGAIN);
    bk_task *task = NULL;
    CHECK_EQ(bk_go(&task, shake_server, &p, NULL), 0);
    CHECK_EQ(bk_stream_handshake(p.client), 0);
    CHECK_EQ(bk_stream_try_write(p.client, "hello", 5), 0);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 5);
    close_pair(&p);
}

LOOP_TEST(C150_a_cancelled_handshake_goes_on_with_the_next_read)
{
    struct pair p;
    char buf[8];
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    bk_task *task = NULL;
    CHECK_EQ(bk_go(&task, shake_client, &p, NULL), 0);
    bk_sleep(bk_seconds(1));
    bk_task_cancel(task);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    CHECK_EQ(p.client_result, -ECANCELED);
    CHECK_EQ(bk_go(&task, shake_server, &p, NULL), 0);
    CHECK_EQ(bk_stream_write(p.client, "late", 4), 0);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    CHECK_EQ(p.server_result, 0);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 4);
    close_pair(&p);
}

/* ---- Starting in the middle ---- */

LOOP_TEST(ST6_a_server_keeps_what_it_has_read_ahead)
{
    struct pair p;
    bk_span line;
    bk_task *task = NULL;
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(bk_stream_write(p.client, "STARTTLS\n", 9), 0);
    CHECK_EQ(bk_go(&task, shake_client, &p, NULL), 0);
    bk_sleep(bk_seconds(1));
    CHECK_EQ(bk_stream_read_line(p.server, &line), 1);
    CHECK_MEM(line.data, line.len, "STARTTLS", 8);
    CHECK(bki_stream_buffered(p.server) > 100);
    CHECK_EQ(shake_server(&p), 0);
    CHECK_EQ(p.server_result, 0);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    CHECK_EQ(p.client_result, 0);
    CHECK_EQ(pass(p.client, p.server, "hello"), 0);
    close_pair(&p);
}

LOOP_TEST(ST6_what_was_injected_in_plain_is_never_read)
{
    struct pair p;
    bk_span line;
    char buf[64];
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(bk_stream_write(p.client, "STARTTLS\nRCPT TO:<mallory>\n", 27), 0);
    CHECK_EQ(bk_stream_read_line(p.server, &line), 1);
    bk_call both[] = {{.fn = shake_client, .ctx = &p}, {.fn = shake_server, .ctx = &p}};
    CHECK_EQ(bk_gather(both, 2, NULL), 0);
    CHECK_EQ(p.server_result, -BK_EPROTO);
    CHECK(strstr(p.server_error, "what the peer sends is not TLS"));
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EPROTO);
    close_pair(&p);
}

LOOP_TEST(ST6_nor_by_a_client)
{
    struct pair p;
    bk_span line;
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(bk_stream_write(p.server, "220 go ahead\n250 mallory\n", 26), 0);
    CHECK_EQ(bk_stream_read_line(p.client, &line), 1);
    shake_client(&p);
    CHECK_EQ(p.client_result, -BK_EPROTO);
    CHECK(strstr(p.client_error, "what the peer sends is not TLS"));
    CHECK_EQ(bk_stream_read_line(p.client, &line), -BK_EPROTO);
    close_pair(&p);
}

static int read_a_line(void *ctx)
{
    bk_span line;
    return bk_stream_read_line(ctx, &line);
}

/* Its rest was to be dropped. */
LOOP_TEST(ST6_a_plain_line_over_the_limit_ends_with_the_plain_text)
{
    struct pair p;
    bk_span line;
    char text[1024];
    memset(text, 'x', sizeof text);
    CHECK_EQ(open_pair_with(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                            &(bk_tls_opts){.cert_file = tls_file("server")}, 0,
                            &(bk_stream_opts){.read_limit = sizeof text}),
             0);
    CHECK_EQ(bk_stream_write(p.client, text, sizeof text), 0);
    CHECK_EQ(bk_stream_read_line(p.server, &line), -BK_ELIMIT);
    CHECK_EQ(bk_wait_for(read_a_line, p.server, bk_seconds(1)), -ETIMEDOUT);
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(bk_stream_write(p.client, "first\nsecond\n", 13), 0);
    CHECK_EQ(bk_stream_read_line(p.server, &line), 1);
    CHECK_MEM(line.data, line.len, "first", 5);
    close_pair(&p);
}

LOOP_TEST(ST6_start_tls_drains_what_was_written_before)
{
    struct pair p;
    static char data[1024 * 1024];
    CHECK_EQ(open_pair_with(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                            &(bk_tls_opts){.cert_file = tls_file("server")}, 0,
                            &(bk_stream_opts){.write_buffer = 2 * MiB}),
             0);
    bk_task *task = NULL;
    CHECK_EQ(bk_stream_write(p.client, data, sizeof data), 0);
    CHECK(bk_stream_unsent(p.client) > 0);
    CHECK_EQ(bk_go(&task, shake_client, &p, NULL), 0);
    CHECK_EQ(bk_stream_read_exactly(p.server, data, sizeof data), 0);
    CHECK_EQ(shake_server(&p), 0);
    CHECK_EQ(p.server_result, 0);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    CHECK_EQ(p.client_result, 0);
    CHECK_EQ(pass(p.client, p.server, "hello"), 0);
    close_pair(&p);
}

static int write_secret(void *ctx)
{
    return bk_stream_write(ctx, "secret", 6);
}

static int read_answer(void *ctx)
{
    char buf[6];
    return bk_stream_read_exactly(ctx, buf, 6);
}

LOOP_TEST(ST6_nothing_goes_out_in_plain_after_a_cancelled_start)
{
    struct pair p;
    static char data[1024 * 1024];
    char buf[8];
    int r = -1;
    CHECK_EQ(open_pair_with(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                            &(bk_tls_opts){.cert_file = tls_file("server")}, 0,
                            &(bk_stream_opts){.write_buffer = 2 * MiB}),
             0);
    bk_task *task = NULL;
    CHECK_EQ(bk_stream_write(p.client, data, sizeof data), 0);
    CHECK_EQ(bk_go(&task, shake_client, &p, NULL), 0);
    bk_sleep(bk_ms(10)); /* it waits for the data to go out */
    stop_pump(&task);
    CHECK_EQ(p.client_result, -ECANCELED);
    CHECK_EQ(bk_go(&task, write_secret, p.client, NULL), 0);
    CHECK_EQ(bk_stream_read_exactly(p.server, data, sizeof data), 0);
    CHECK_EQ(shake_server(&p), 0);
    CHECK_EQ(p.server_result, 0);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 6);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&task);
    close_pair(&p);
}

/* Two layers, both handshakes still to do, and a reader and a writer who need them. */
LOOP_TEST(two_tasks_share_two_handshakes)
{
    struct pair p;
    int r = -1;
    CHECK_EQ(open_pair_with(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                            &(bk_tls_opts){.cert_file = tls_file("server")}, 7, NULL),
             0);
    bk_task *reader = NULL, *writer = NULL;
    for (int i = 0; i < 2; i++)
        CHECK_EQ(bki_tls_attach(p.client, p.client_tls,
                                &(bk_start_tls_opts){.server_name = "localhost"}),
                 0);
    CHECK_EQ(bk_go(&reader, read_answer, p.client, NULL), 0);
    CHECK_EQ(bk_go(&writer, write_secret, p.client, NULL), 0);
    CHECK_EQ(shake_server(&p), 0);
    CHECK_EQ(p.server_result, 0);
    CHECK_EQ(shake_server(&p), 0);
    CHECK_EQ(p.server_result, 0);
    CHECK_EQ(read_answer(p.server), 0);
    CHECK_EQ(write_secret(p.server), 0);
    CHECK_EQ(bk_task_wait(writer, &r), 0);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&reader);
    bk_task_free(&writer);
    close_pair(&p);
}

LOOP_TEST(a_stream_that_has_ended_cannot_start)
{
    struct pair p;
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(bk_stream_write_eof(p.client), 0);
    shake_client(&p);
    CHECK_EQ(p.client_result, -EPIPE);
    bk_stream_abort(p.server);
    shake_server(&p);
    CHECK_EQ(p.server_result, -ECONNABORTED);
    close_pair(&p);
}

LOOP_TEST(a_stream_in_use_cannot_start)
{
    struct pair p;
    struct talk in = {0};
    bk_task *reader = NULL;
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    in.to = p.client;
    CHECK_EQ(bk_go(&reader, read_some, &in, NULL), 0);
    bk_yield();
    shake_client(&p);
    CHECK_EQ(p.client_result, -EBUSY);
    stop_pump(&reader);
    CHECK_EQ(shake(&p), 0);
    close_pair(&p);
}

LOOP_TEST(TLS_runs_through_TLS)
{
    struct pair p;
    bk_tls_info info;
    CHECK_EQ(open_shaken(&p, 0, NULL), 0);
    p.name = "x.example.org";
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
    CHECK_STR(info.server_name, "x.example.org");
    CHECK_EQ(both_ways(&p, MiB, 5000), 0);
    close_pair(&p);
    CHECK_EQ(open_shaken(&p, 1, NULL), 0);
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(both_ways(&p, 500, 100), 0);
    close_pair(&p);
}

CHECK_MAIN(TEST(every_byte_comes_one_by_one), TEST(bytes_come_in_any_portions),
           TEST(a_handshake_of_single_bytes_of_each_version),
           TEST(both_directions_at_once_through_small_buffers),
           TEST(one_big_write_and_one_big_read), TEST(a_writer_waits_for_a_slow_reader),
           TEST(a_cancelled_write_breaks_the_write_side),
           TEST(answers_that_nobody_takes_are_limited), TEST(C150_cancelled_reads_lose_nothing),
           TEST(what_must_not_wait_does_not_wait_for_the_handshake),
           TEST(C150_a_cancelled_handshake_goes_on_with_the_next_read),
           TEST(ST6_a_server_keeps_what_it_has_read_ahead),
           TEST(ST6_what_was_injected_in_plain_is_never_read), TEST(ST6_nor_by_a_client),
           TEST(ST6_a_plain_line_over_the_limit_ends_with_the_plain_text),
           TEST(ST6_start_tls_drains_what_was_written_before),
           TEST(ST6_nothing_goes_out_in_plain_after_a_cancelled_start),
           TEST(two_tasks_share_two_handshakes), TEST(a_stream_that_has_ended_cannot_start),
           TEST(a_stream_in_use_cannot_start), TEST(TLS_runs_through_TLS))
