/* SPDX-License-Identifier: MIT
 * Servers and clients under TLS from the start: bk_listen, bk_accept, bk_serve, bk_connect. */
#include "net/tls_fixture.h"

/* A server of lines, and what it has seen. */
static struct {
    bk_tls *tls, *client_tls;
    bk_listener *listener;
    bk_task *task;
    char name[64]; /* "localhost:PORT" */
    int n_handled, n_failed, last_failure;
    char why[256];
} server;

static int echo(void *ctx, bk_stream **stream)
{
    bk_span line;
    bk_tls_info info;
    int r = bk_stream_tls_info(*stream, &info); /* hands have been shaken */
    (void)ctx;
    server.n_handled++;
    while (r >= 0 && (r = bk_stream_read_line(*stream, &line)) == 1) {
        const bk_span parts[] = {line, bk_span_str("!\n")};
        r = bk_stream_writev(*stream, parts, 2);
    }
    return r;
}

static void on_error(void *ctx, bk_stream *stream, int result)
{
    (void)ctx;
    (void)stream;
    server.n_failed++;
    server.last_failure = result;
    snprintf(server.why, sizeof server.why, "%s", bk_errmsg());
}

static int serve(void *ctx)
{
    (void)ctx;
    return bk_serve(server.listener, echo, NULL, &(bk_serve_opts){.on_error = on_error});
}

static int open_listener(void)
{
    memset(&server, 0, sizeof server);
    int r = bk_tls_server_new(&server.tls, &(bk_tls_opts){.cert_file = tls_file("server")});
    if (r == 0)
        r = bk_tls_client_new(&server.client_tls, &(bk_tls_opts){.ca_file = tls_file("ca")});
    if (r == 0)
        r = bk_listen(&server.listener, "127.0.0.1:0", &(bk_listen_opts){.tls = server.tls});
    bk_tls_free(&server.tls); /* the listener has its share */
    if (r == 0)
        snprintf(server.name, sizeof server.name, "localhost%s",
                 strrchr(bk_listener_address(server.listener), ':'));
    return r;
}

static int open_server(void)
{
    int r = open_listener();
    return r < 0 ? r : bk_go(&server.task, serve, NULL, NULL);
}

static void close_server(void)
{
    if (server.task) {
        bk_task_cancel(server.task);
        bk_task_wait(server.task, NULL);
    }
    bk_task_free(&server.task);
    bk_tls_free(&server.client_tls);
    CHECK_EQ(bk_listener_close(&server.listener, 0), 0);
}

static int ask(const char *address, const bk_connect_opts *opts)
{
    bk_stream *s = NULL;
    bk_span line;
    int r = bk_connect(&s, address, opts);
    if (r == 0)
        r = bk_stream_write(s, "hi\n", 3);
    if (r == 0)
        r = bk_stream_read_line(s, &line);
    if (r == 1)
        r = line.len == 3 && memcmp(line.data, "hi!", 3) == 0 ? 0 : -EIO;
    return bk_stream_close(&s, r);
}

LOOP_TEST(a_client_checks_the_host_it_connects_to)
{
    CHECK_EQ(open_server(), 0);
    CHECK_EQ(ask(server.name, &(bk_connect_opts){.tls = server.client_tls}), 0);
    CHECK_EQ(
        ask(bk_listener_address(server.listener), &(bk_connect_opts){.tls = server.client_tls}), 0);
    CHECK_EQ(ask(server.name,
                 &(bk_connect_opts){.tls = server.client_tls, .server_name = "a.example.org"}),
             0);
    CHECK_EQ(server.n_handled, 3);
    CHECK_EQ(ask(server.name,
                 &(bk_connect_opts){.tls = server.client_tls, .server_name = "example.net"}),
             -BK_ECERT);
    CHECK(strstr(bk_errmsg(), "TLS with example.net: host name mismatch"));
    while (server.n_failed == 0)
        bk_yield();
    CHECK_EQ(server.last_failure, -BK_EREFUSED);
    close_server();
}

LOOP_TEST(a_unix_socket_needs_a_name)
{
    bk_tls *tls = NULL;
    bk_listener *listener = NULL;
    bk_stream *s = NULL;
    char address[64];
    snprintf(address, sizeof address, "unix:@beck-tls-%d", (int)getpid());
    CHECK_EQ(bk_tls_client_new(&tls, &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    CHECK_EQ(bk_listen(&listener, address, NULL), 0);
    CHECK_EQ(bk_connect(&s, address, &(bk_connect_opts){.tls = tls}), -EINVAL);
    CHECK(s == NULL);
    CHECK(strstr(bk_errmsg(), "no server_name"));
    bk_tls_free(&tls);
    bk_listener_close(&listener, 0);
}

LOOP_TEST(C150_a_silent_client_holds_up_nobody)
{
    bk_stream *silent[20] = {0};
    CHECK_EQ(open_server(), 0);
    int64_t before = bk_now().ns;
    for (int i = 0; i < 20; i++)
        CHECK_EQ(bk_connect(&silent[i], bk_listener_address(server.listener), NULL), 0);
    CHECK_EQ(ask(server.name, &(bk_connect_opts){.tls = server.client_tls}), 0);
    CHECK(bk_now().ns - before < bk_seconds(5).ns);
    CHECK_EQ(server.n_handled, 1);
    bk_sleep(bk_seconds(11));
    CHECK_EQ(server.n_failed, 20);
    CHECK_EQ(server.last_failure, -ETIMEDOUT);
    CHECK(strstr(server.why, "no handshake within 10000 ms"));
    for (int i = 0; i < 20; i++)
        bk_stream_close(&silent[i], -1);
    close_server();
}

LOOP_TEST(clients_that_speak_something_else_are_told_of)
{
    bk_stream *s = NULL;
    bk_span answer;
    CHECK_EQ(open_server(), 0);
    CHECK_EQ(bk_connect(&s, bk_listener_address(server.listener), NULL), 0);
    CHECK_EQ(bk_stream_write(s, "GET / HTTP/1.0\r\n\r\n", 18), 0);
    int r = bk_stream_peek(s, 7, &answer); /* an alert */
    CHECK(r == 1 || r == -ECONNRESET || r == 0);
    while (server.n_failed == 0)
        bk_yield();
    CHECK_EQ(server.last_failure, -BK_EPROTO);
    CHECK(strstr(server.why, "what the peer sends is not TLS"));
    CHECK_EQ(server.n_handled, 0);
    bk_stream_close(&s, -1);
    close_server();
}

/* ---- bk_accept, where the first read or write shakes hands ---- */

static int ask_it(void *ctx)
{
    return ask(server.name, ctx);
}

static void check_accepted(bool by_handshake)
{
    bk_stream *s = NULL;
    bk_span line;
    bk_tls_info info;
    bk_task *client = NULL;
    int r = -1;
    CHECK_EQ(open_listener(), 0);
    bk_connect_opts opts = {.tls = server.client_tls};
    CHECK_EQ(bk_go(&client, ask_it, &opts, NULL), 0);
    CHECK_EQ(bk_accept(server.listener, &s), 1);
    CHECK_EQ(bk_stream_tls_info(s, &info), -EAGAIN);
    if (by_handshake) {
        CHECK_EQ(bk_stream_handshake(s), 0);
        CHECK_EQ(bk_stream_tls_info(s, &info), 0);
    }
    CHECK_EQ(bk_stream_read_line(s, &line), 1);
    CHECK_EQ(bk_stream_tls_info(s, &info), 0);
    CHECK_STR(info.server_name, "localhost");
    CHECK_EQ(bk_stream_handshake(s), 0);
    CHECK_EQ(bk_stream_write(s, "hi!\n", 4), 0);
    CHECK_EQ(bk_stream_close(&s, 0), 0);
    CHECK_EQ(bk_task_wait(client, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&client);
    close_server();
}

LOOP_TEST(an_accepted_stream_shakes_hands_when_it_is_used)
{
    check_accepted(false);
    check_accepted(true);
}

static int write_hello(void *ctx)
{
    return bk_stream_write(ctx, "hello\n", 6);
}

static int read_hello(void *ctx)
{
    bk_span line;
    int r = bk_stream_read_line(ctx, &line);
    return r == 1 && line.len == 5 ? 0 : r < 0 ? r : -EIO;
}

/* A reader and a writer begin at once, on both ends: one handshake, and both go on. */
LOOP_TEST(a_reader_and_a_writer_share_the_handshake)
{
    bk_stream *a = NULL, *b = NULL;
    CHECK_EQ(open_listener(), 0);
    CHECK_EQ(bk_connect(&a, bk_listener_address(server.listener), NULL), 0);
    CHECK_EQ(bk_accept(server.listener, &b), 1);
    bk_task *client = NULL, *writer = NULL, *reader = NULL;
    CHECK_EQ(bk_go(&reader, read_hello, b, NULL), 0);
    CHECK_EQ(bk_go(&writer, write_hello, b, NULL), 0);
    bk_sleep(bk_seconds(1));
    CHECK(!bk_task_done(reader) && !bk_task_done(writer));
    CHECK_EQ(
        bk_stream_start_tls(a, server.client_tls, &(bk_start_tls_opts){.server_name = "localhost"}),
        0);
    CHECK_EQ(bk_go(&client, read_hello, a, NULL), 0);
    CHECK_EQ(write_hello(a), 0);
    bk_task *tasks[] = {client, writer, reader};
    for (int i = 0; i < 3; i++) {
        int r = -1;
        CHECK_EQ(bk_task_wait(tasks[i], &r), 0);
        CHECK_EQ(r, 0);
        bk_task_free(&tasks[i]);
    }
    bk_stream_close(&a, -1);
    bk_stream_close(&b, -1);
    close_server();
}

LOOP_TEST(a_listener_that_is_closed_with_clients_waiting)
{
    bk_stream *s = NULL;
    CHECK_EQ(open_listener(), 0);
    CHECK_EQ(bk_connect(&s, bk_listener_address(server.listener), NULL), 0);
    close_server();
    bk_stream_close(&s, -1);
}

/* ---- The connection's time is one limit ---- */

LOOP_TEST(a_connect_timeout_covers_the_handshake)
{
    bk_listener *listener = NULL;
    bk_tls *tls = NULL;
    bk_stream *s = NULL;
    CHECK_EQ(bk_tls_client_new(&tls, &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    CHECK_EQ(bk_listen(&listener, "127.0.0.1:0", NULL), 0);
    int64_t before = bk_now().ns;
    CHECK_EQ(bk_connect(&s, bk_listener_address(listener),
                        &(bk_connect_opts){.tls = tls, .timeout = bk_seconds(4)}),
             -ETIMEDOUT);
    CHECK(strstr(bk_errmsg(), "no answer within 4000 ms"));
    CHECK_EQ((bk_now().ns - before) / 1000000, 4000);
    CHECK_EQ(bk_connect(&s, bk_listener_address(listener), &(bk_connect_opts){.tls = tls}),
             -ETIMEDOUT);
    CHECK(strstr(bk_errmsg(), "no handshake within 10000 ms"));
    CHECK_EQ((bk_now().ns - before) / 1000000, 14000);
    bk_tls_free(&tls);
    bk_listener_close(&listener, 0);
}

CHECK_MAIN(TEST(a_client_checks_the_host_it_connects_to), TEST(a_unix_socket_needs_a_name),
           TEST(C150_a_silent_client_holds_up_nobody),
           TEST(clients_that_speak_something_else_are_told_of),
           TEST(an_accepted_stream_shakes_hands_when_it_is_used),
           TEST(a_reader_and_a_writer_share_the_handshake),
           TEST(a_listener_that_is_closed_with_clients_waiting),
           TEST(a_connect_timeout_covers_the_handshake))
