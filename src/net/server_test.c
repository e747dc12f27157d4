/* SPDX-License-Identifier: MIT
 * Servers in the background: several addresses, stopping, waiting, ending clients, shutdown. */
#include <beck/server.h>

#include "net/net_test.h"
#include "net/resolver_fixture.h"

struct app {
    bk_server *server;
    int n_running, n_begun, n_errors, last_error;
    bool drains, stubborn;
    bk_stream *kept;
};

static int echo(void *ctx, bk_stream **stream)
{
    struct app *app = ctx;
    char buf[2000];
    ssize_t n = 0;
    int r = 0;
    app->n_begun++;
    app->n_running++;
    while (r == 0 && (n = bk_stream_read(*stream, buf, sizeof buf)) > 0)
        r = bk_stream_write(*stream, buf, (size_t)n);
    app->n_running--;
    return r < 0 ? r : (int)n;
}

static void note_error(void *ctx, bk_stream *stream, int result)
{
    struct app *app = ctx;
    (void)stream;
    app->n_errors++;
    app->last_error = result;
}

static int open_app(struct app *app, const char *addresses, bk_stream_fn *handler,
                    const bk_server_opts *opts)
{
    bk_server_opts o = {0};
    memset(app, 0, sizeof *app);
    if (opts)
        o = *opts;
    o.serve.on_error = note_error;
    return bk_server_open(&app->server, addresses, handler, app, &o);
}

/* Whether somebody at address says back what we say. */
static int talk_to(const char *address)
{
    bk_stream *s = NULL;
    char buf[5];
    int r = bk_connect(&s, address, NULL);
    if (r == 0)
        r = bk_stream_write(s, "hello", 5);
    if (r == 0)
        r = bk_stream_read_exactly(s, buf, 5);
    return bk_stream_close(&s, r);
}

static int dial(const struct app *app, bk_stream **out)
{
    int r = bk_connect(out, bk_server_address(app->server, 0), NULL);
    if (r == 0)
        r = bk_stream_write(*out, "x", 1);
    char c;
    return r < 0 ? r : bk_stream_read_exactly(*out, &c, 1);
}

static int port_of(const char *address)
{
    return (int)strtol(strrchr(address, ':') + 1, NULL, 10);
}

/* ---- Addresses ---- */

LOOP_TEST(SV1_a_server_listens_on_several_addresses)
{
    struct app app;
    char list[200], un[64];
    snprintf(un, sizeof un, "unix:@beck-server-%d", (int)getpid());
    snprintf(list, sizeof list, "127.0.0.1:0 , [::1]:0,%s", un);
    CHECK_EQ(open_app(&app, list, echo, NULL), 0);
    for (int i = 0; i < 3; i++) {
        CHECK(bk_server_address(app.server, i) != NULL);
        CHECK(bk_server_fd(app.server, i) >= 0);
        CHECK_EQ(talk_to(bk_server_address(app.server, i)), 0);
    }
    CHECK_STR(bk_server_address(app.server, 2), un);
    CHECK(bk_server_address(app.server, 3) == NULL);
    CHECK(bk_server_address(app.server, -1) == NULL);
    CHECK_EQ(bk_server_fd(app.server, 3), -1);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
    CHECK(app.server == NULL);
    CHECK_EQ(app.n_begun, 3);
}

LOOP_TEST(SV1_all_addresses_of_a_name_are_bound_to_one_port)
{
    struct app app;
    fake_names("host", "[::1]:0 127.0.0.1:0 127.0.0.2:0 127.0.0.1:0");
    CHECK_EQ(open_app(&app, "host:0", echo, NULL), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(port_of(bk_server_address(app.server, i)),
                 port_of(bk_server_address(app.server, 0)));
        CHECK_EQ(talk_to(bk_server_address(app.server, i)), 0);
    }
    CHECK(bk_server_address(app.server, 3) == NULL);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
    real_names();
}

static int n_addresses(const struct app *app)
{
    int n = 0;
    while (bk_server_address(app->server, n))
        n++;
    return n;
}

LOOP_TEST(SV1_what_is_named_twice_is_bound_once)
{
    struct app app;
    char list[300];
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    int port = port_of(bk_server_address(app.server, 0));
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
    fake_names("host", "");
    snprintf(fake.addresses, sizeof fake.addresses, "127.0.0.1:%d 127.0.0.2:%d", port, port);
    snprintf(list, sizeof list, "127.0.0.1:%d,host:%d,127.0.0.2:%d", port, port, port);
    CHECK_EQ(open_app(&app, list, echo, NULL), 0);
    CHECK_EQ(n_addresses(&app), 2);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
    real_names();
}

LOOP_TEST(SV1_every_interface_of_both_families)
{
    struct app app;
    char list[100], address[64];
    CHECK_EQ(open_app(&app, ":0", echo, NULL), 0);
    int port = port_of(bk_server_address(app.server, 0));
    CHECK_EQ(n_addresses(&app), 1); /* one socket takes both */
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    CHECK_EQ(talk_to(address), 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);

    /* Named apart, each has its own. */
    snprintf(list, sizeof list, "[::]:%d,0.0.0.0:%d", port, port);
    CHECK_EQ(open_app(&app, list, echo, NULL), 0);
    CHECK_EQ(n_addresses(&app), 2);
    CHECK_EQ(talk_to(address), 0);
    snprintf(address, sizeof address, "[::1]:%d", port);
    CHECK_EQ(talk_to(address), 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);

    CHECK_EQ(open_app(&app, ":0", echo, &(bk_server_opts){.listen.ipv6_only = true}), 0);
    CHECK_EQ(n_addresses(&app), 2);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

LOOP_TEST(SV1_what_cannot_be_bound_leaves_nothing_bound)
{
    struct app app, other;
    char list[200];
    int before = n_open_fds();
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    snprintf(list, sizeof list, "127.0.0.1:0,%s", bk_server_address(app.server, 0));
    CHECK_EQ(open_app(&other, list, echo, NULL), -EADDRINUSE);
    CHECK(strstr(bk_errmsg(), bk_server_address(app.server, 0)) != NULL);
    CHECK(other.server == NULL);
    CHECK_EQ(open_app(&other, "127.0.0.1:0,", echo, NULL), -BK_EURL);
    CHECK_EQ(open_app(&other, "", echo, NULL), -BK_EURL);
    CHECK_EQ(open_app(&other, "nonsense", echo, NULL), -BK_EURL);
    CHECK_EQ(open_app(&other, "fd:9999", echo, NULL), -EBADF);
    CHECK_EQ(open_app(&other, "fd:0", echo, NULL), -ENOTSOCK);
    CHECK_EQ(n_open_fds(), before + 1);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
    CHECK_EQ(bk_server_close(&app.server, -EIO), -EIO);
}

LOOP_TEST(SV1_a_socket_that_listens_already_is_adopted)
{
    struct app app;
    char text[20];
    bk_listener *l = NULL;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK_EQ(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
        snprintf(text, sizeof text, "fd:%d", fd);
        CHECK_EQ(bk_listen(&l, text, NULL), -EINVAL);
        CHECK_EQ(listen(fd, 5), 0);
        if (i == 0) {
            char twice[44];
            snprintf(twice, sizeof twice, "%s,%s", text, text);
            CHECK_EQ(open_app(&app, twice, echo, NULL), 0);
            CHECK_EQ(n_addresses(&app), 1);
            CHECK_EQ(bk_server_fd(app.server, 0), fd);
            CHECK_EQ(talk_to(bk_server_address(app.server, 0)), 0);
            CHECK_EQ(bk_server_close(&app.server, 0), 0);
        } else {
            CHECK_EQ(bk_listen(&l, text, NULL), 0);
            CHECK_EQ(bk_listener_fd(l), fd);
            CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            CHECK_EQ(bk_listener_close(&l, 0), 0);
        }
        CHECK_EQ(fcntl(fd, F_GETFD), -1); /* it was ours */
    }
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    getsockopt(fd, level, option, &value, &len);
    return value;
}

LOOP_TEST(SV1_N7_options_of_the_sockets)
{
    struct app app, second;
    bk_server_opts opts = {.listen = {.reuse_port = true, .keep_alive = bk_seconds(45)}};
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, &opts), 0);
    int fd = bk_server_fd(app.server, 0);
    CHECK_EQ(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    CHECK_EQ(option_of(fd, SOL_SOCKET, SO_REUSEPORT), 1);
    CHECK_EQ(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_EQ(open_app(&second, bk_server_address(app.server, 0), echo, &opts), 0);
    CHECK_EQ(bk_server_close(&second.server, 0), 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    fd = bk_server_fd(app.server, 0);
    CHECK_EQ(option_of(fd, SOL_SOCKET, SO_REUSEPORT), 0);
    CHECK_EQ(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

/* ---- Starting and stopping ---- */

LOOP_TEST(SV2_a_paused_server_is_bound_and_does_not_listen)
{
    struct app app;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, &(bk_server_opts){.paused = true}), 0);
    const char *address = bk_server_address(app.server, 0);
    CHECK(!bk_server_is_serving(app.server));
    CHECK_EQ(talk_to(address), -ECONNREFUSED);
    CHECK_EQ(bk_server_start(app.server), 0);
    CHECK_EQ(bk_server_start(app.server), 0);
    CHECK(bk_server_is_serving(app.server));
    CHECK_EQ(talk_to(address), 0);
    bk_server_stop(app.server);
    CHECK(!bk_server_is_serving(app.server));
    CHECK_EQ(bk_server_start(app.server), -BK_ECLOSED);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);

    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, &(bk_server_opts){.paused = true}), 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0); /* never started */
}

static int wait_closed(void *ctx)
{
    return bk_server_wait_closed(ctx);
}

LOOP_TEST(C144_SV2_stop_leaves_clients_alone_and_wait_closed_waits_for_them)
{
    struct app app;
    bk_stream *s = NULL;
    char c, address[64];
    bk_task *waiter = NULL;
    int r = -1;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    snprintf(address, sizeof address, "%s", bk_server_address(app.server, 0));
    CHECK_EQ(dial(&app, &s), 0);
    CHECK_EQ(bk_server_count(app.server), 1);
    CHECK_EQ(bk_go(&waiter, wait_closed, app.server, NULL), 0);
    bk_sleep(bk_ms(1));
    bk_server_stop(app.server);
    bk_server_stop(app.server);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_server_fd(app.server, 0), -1);
    CHECK_EQ(talk_to(address), -ECONNREFUSED);
    CHECK_EQ(bk_stream_write(s, "y", 1), 0); /* the client goes on */
    CHECK_EQ(bk_stream_read(s, &c, 1), 1);
    CHECK(!bk_task_done(waiter));
    bk_stream_close(&s, 0);
    CHECK_EQ(bk_task_wait(waiter, &r), 0);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_server_count(app.server), 0);
    CHECK_EQ(bk_server_wait_closed(app.server), 0); /* again, at once */
    bk_task_free(&waiter);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

static int keep(void *ctx, bk_stream **stream)
{
    struct app *app = ctx;
    app->kept = *stream;
    *stream = NULL;
    return 0;
}

LOOP_TEST(SV2_wait_closed_waits_for_streams_that_handlers_gave_away)
{
    struct app app;
    bk_stream *s = NULL;
    bk_task *waiter = NULL;
    int r = -1;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", keep, NULL), 0);
    CHECK_EQ(bk_connect(&s, bk_server_address(app.server, 0), NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK(app.kept != NULL);
    bk_server_stop(app.server);
    CHECK_EQ(bk_go(&waiter, wait_closed, app.server, NULL), 0);
    bk_sleep(bk_seconds(1));
    CHECK(!bk_task_done(waiter));
    CHECK_EQ(bk_server_close(&app.server, 0), -EBUSY);
    bk_stream_close(&app.kept, 0);
    CHECK_EQ(bk_task_wait(waiter, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&waiter);
    bk_stream_close(&s, 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

/* Whoever keeps a stream beyond the server's end owns it alone. */
LOOP_TEST(SV2_a_stream_outlives_its_server)
{
    struct app app;
    bk_stream *s = NULL;
    char c;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", keep, NULL), 0);
    CHECK_EQ(bk_connect(&s, bk_server_address(app.server, 0), NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_server_close(&app.server, -EIO), -EIO);
    CHECK_EQ(bk_stream_write(app.kept, "z", 1), 0);
    CHECK_EQ(bk_stream_read(s, &c, 1), 1);
    bk_stream_close(&app.kept, 0);
    bk_stream_close(&s, 0);
}

/* ---- For ever ---- */

static int serve_forever(void *ctx)
{
    return bk_server_serve_forever(ctx);
}

LOOP_TEST(SV2_serve_forever_ends_by_a_cancel_and_then_the_server_has_stopped)
{
    struct app app;
    bk_task *task = NULL;
    bk_stream *s = NULL;
    int r = 0;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, &(bk_server_opts){.paused = true}), 0);
    CHECK_EQ(bk_go(&task, serve_forever, app.server, NULL), 0);
    bk_yield();
    CHECK(bk_server_is_serving(app.server)); /* it starts what is paused */
    CHECK_EQ(bk_server_serve_forever(app.server), -EBUSY);
    CHECK_EQ(dial(&app, &s), 0);
    bk_task_cancel(task);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, -ECANCELED);
    CHECK(!bk_server_is_serving(app.server));
    CHECK_EQ(bk_server_serve_forever(app.server), -BK_ECLOSED);
    CHECK_EQ(bk_server_count(app.server), 1); /* the client is not touched */
    bk_stream_close(&s, 0);
    bk_task_free(&task);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

LOOP_TEST(SV2_serve_forever_ends_when_another_task_stops_the_server)
{
    struct app app;
    bk_task *task = NULL;
    int r = -1;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    CHECK_EQ(bk_go(&task, serve_forever, app.server, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_server_close(&app.server, 0), -EBUSY);
    bk_server_stop(app.server);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&task);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

LOOP_TEST(SV2_an_error_of_the_listening_socket_ends_the_server)
{
    struct app app;
    bk_task *task = NULL;
    int r = 0;
    CHECK_EQ(open_app(&app, "127.0.0.1:0,[::1]:0", echo, NULL), 0);
    CHECK_EQ(bk_go(&task, serve_forever, app.server, NULL), 0);
    bk_sleep(bk_ms(1));
    shutdown(bk_server_fd(app.server, 0), SHUT_RDWR); /* accept says EINVAL */
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, -EINVAL);
    CHECK(strstr(bk_task_errmsg(task), "accept on 127.0.0.1:") != NULL);
    CHECK(!bk_server_is_serving(app.server));
    bk_task_free(&task);
    CHECK_EQ(bk_server_close(&app.server, 0), -EINVAL);
    CHECK(strstr(bk_errmsg(), "accept on 127.0.0.1:") != NULL);
}

/* ---- Ending clients ---- */

LOOP_TEST(C144_SV2_close_clients_lets_what_was_written_arrive)
{
    struct app app;
    bk_stream *s[3] = {0};
    char c;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(dial(&app, &s[i]), 0);
        CHECK_EQ(bk_stream_write(s[i], "w", 1), 0);
    }
    bk_sleep(bk_ms(1)); /* the echo is on its way */
    bk_server_close_clients(app.server);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(bk_stream_read(s[i], &c, 1), 1);
        CHECK_EQ(bk_stream_read(s[i], &c, 1), 0);
    }
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_server_count(app.server), 0);
    CHECK_EQ(app.n_errors, 0);                              /* an orderly end */
    CHECK_EQ(talk_to(bk_server_address(app.server, 0)), 0); /* the server goes on */
    for (int i = 0; i < 3; i++)
        bk_stream_close(&s[i], 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

LOOP_TEST(C144_SV2_abort_clients_cuts_connections)
{
    struct app app;
    bk_stream *s[3] = {0};
    char c;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(dial(&app, &s[i]), 0);
    bk_server_abort_clients(app.server);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(bk_stream_read(s[i], &c, 1), -ECONNRESET);
        bk_stream_close(&s[i], -1);
    }
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_server_count(app.server), 0);
    CHECK_EQ(app.n_errors, 3);
    CHECK_EQ(app.last_error, -ECONNABORTED);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

static int fail(void *ctx, bk_stream **stream)
{
    (void)ctx;
    (void)stream;
    return bk_fail(-EPROTO, "nobody understands");
}

LOOP_TEST(C145_SV1_a_failing_handler_is_reported_and_ends_its_connection_alone)
{
    struct app app;
    bk_stream *s = NULL;
    char c;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", fail, NULL), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(bk_connect(&s, bk_server_address(app.server, 0), NULL), 0);
        CHECK(bk_stream_read(s, &c, 1) <= 0);
        bk_stream_close(&s, -1);
    }
    CHECK_EQ(app.n_errors, 3);
    CHECK_EQ(app.last_error, -EPROTO);
    CHECK(bk_server_is_serving(app.server));
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

/* ---- Shutdown ---- */

static void note_drain(void *ctx)
{
    ((struct app *)ctx)->drains = true;
}

static int say_goodbye(void *ctx)
{
    struct app *app = ctx;
    if (app->stubborn)
        return bk_sleep(bk_seconds(3600));
    return bk_sleep(bk_seconds(1));
}

static int read_for_ever(void *ctx)
{
    char c;
    ssize_t n;
    while ((n = bk_stream_read(ctx, &c, 1)) > 0)
        ;
    return (int)n;
}

/* Ends 3 s after the server drains; when it is cancelled before, cleans up for a second, or, if it
 * is stubborn, as long as its connection lives. */
static int long_work(void *ctx, bk_stream **stream)
{
    struct app *app = ctx;
    int r = bk_stream_write(*stream, "x", 1);
    app->n_running++;
    while (r == 0 && !app->drains)
        r = bk_sleep(bk_ms(100));
    if (r == 0)
        r = bk_sleep(bk_seconds(3));
    if (r < 0)
        app->stubborn ? bk_shield(read_for_ever, *stream) : bk_shield(say_goodbye, app);
    app->n_running--;
    return r;
}

/* Opens, connects one client, shuts down; how long that took, in ms. */
static int64_t shutdown_takes(struct app *app, bool stubborn, bk_duration limit, int *result)
{
    bk_stream *s = NULL;
    bk_server_opts opts = {.serve.on_drain = note_drain};
    char c;
    if (open_app(app, "127.0.0.1:0", long_work, &opts) < 0)
        return -1;
    app->stubborn = stubborn;
    if (bk_connect(&s, bk_server_address(app->server, 0), NULL) < 0 ||
        bk_stream_read(s, &c, 1) != 1)
        return -1;
    bk_time start = bk_now();
    bk_task_cancel(bk_task_current()); /* it is deaf to that */
    *result = bk_server_shutdown(app->server, limit);
    bk_uncancel();
    int64_t took = bk_time_since(bk_now(), start).ns / 1000000;
    bk_stream_close(&s, -1);
    if (bk_server_close(&app->server, 0) != 0)
        return -1;
    return took;
}

LOOP_TEST(SV2_shutdown_lets_handlers_end_and_cuts_off_those_that_do_not)
{
    struct app app;
    int r = -1;
    int64_t took = shutdown_takes(&app, false, bk_seconds(10), &r);
    CHECK(took >= 3000 && took <= 3100);
    CHECK_EQ(r, 0);
    CHECK(app.drains);
    CHECK_EQ(app.n_errors, 0);

    took = shutdown_takes(&app, false, bk_seconds(2), &r); /* cancelled, and a second of goodbye */
    CHECK_EQ(took, 3000);
    CHECK_EQ(r, -ETIMEDOUT);

    took = shutdown_takes(&app, false, bk_ns(0), &r);
    CHECK_EQ(took, 1000);
    CHECK_EQ(r, -ETIMEDOUT);
    CHECK(!app.drains);

    took = shutdown_takes(&app, true, bk_seconds(1), &r); /* aborted 5 s later */
    CHECK_EQ(took, 6000);
    CHECK_EQ(r, -ETIMEDOUT);
    CHECK_EQ(app.n_running, 0);
}

LOOP_TEST(SV2_shutdown_of_an_idle_server_takes_no_time)
{
    struct app app;
    CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_server_shutdown(app.server, bk_ns(0)), 0);
    CHECK_EQ(bk_server_shutdown(app.server, bk_seconds(5)), 0);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, 0);
    CHECK_EQ(bk_server_wait_closed(app.server), 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

LOOP_TEST(SV2_close_gives_idle_clients_ten_seconds_or_none)
{
    for (int good = 0; good < 2; good++) {
        struct app app;
        bk_stream *s = NULL;
        CHECK_EQ(open_app(&app, "127.0.0.1:0", echo, NULL), 0);
        CHECK_EQ(dial(&app, &s), 0);
        bk_time start = bk_now();
        CHECK_EQ(bk_server_close(&app.server, good ? 0 : -EIO), good ? 0 : -EIO);
        CHECK_EQ(bk_time_since(bk_now(), start).ns, good ? bk_seconds(10).ns : 0);
        CHECK_EQ(app.n_running, 0);
        bk_stream_close(&s, -1);
    }
}

/* ---- The limit ---- */

LOOP_TEST(the_limit_holds_over_all_addresses_together)
{
    struct app app;
    bk_stream *s[6] = {0};
    char c;
    CHECK_EQ(open_app(&app, "127.0.0.1:0,127.0.0.2:0", echo, &(bk_server_opts){.serve.limit = 2}),
             0);
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(bk_connect(&s[i], bk_server_address(app.server, i % 2), NULL), 0);
        CHECK_EQ(bk_stream_write(s[i], "x", 1), 0);
    }
    for (int left = 6; left > 0; left--) {
        bk_sleep(bk_ms(1));
        CHECK_EQ(app.n_running, left < 2 ? left : 2);
        for (int i = 0; i < 6; i++) { /* whoever has got an answer goes */
            if (s[i] && recv(bk_stream_fd(s[i]), &c, 1, MSG_DONTWAIT) == 1) {
                bk_stream_close(&s[i], 0);
                break;
            }
        }
    }
    bk_sleep(bk_ms(1));
    CHECK_EQ(app.n_begun, 6);
    CHECK_EQ(app.n_running, 0);
    CHECK_EQ(bk_server_close(&app.server, 0), 0);
}

/* A server that nobody has closed is ended by the run, like every task. */
static struct app forgotten;

LOOP_TEST(a_run_ends_with_a_server_left_open)
{
    CHECK_EQ(open_app(&forgotten, "127.0.0.1:0", echo, NULL), 0);
    bk_stream *s = NULL;
    CHECK_EQ(dial(&forgotten, &s), 0);
    bk_stream_close(&s, 0);
}

CHECK_MAIN(TEST(SV1_a_server_listens_on_several_addresses),
           TEST(SV1_all_addresses_of_a_name_are_bound_to_one_port),
           TEST(SV1_what_is_named_twice_is_bound_once), TEST(SV1_every_interface_of_both_families),
           TEST(SV1_what_cannot_be_bound_leaves_nothing_bound),
           TEST(SV1_a_socket_that_listens_already_is_adopted), TEST(SV1_N7_options_of_the_sockets),
           TEST(SV2_a_paused_server_is_bound_and_does_not_listen),
           TEST(C144_SV2_stop_leaves_clients_alone_and_wait_closed_waits_for_them),
           TEST(SV2_wait_closed_waits_for_streams_that_handlers_gave_away),
           TEST(SV2_a_stream_outlives_its_server),
           TEST(SV2_serve_forever_ends_by_a_cancel_and_then_the_server_has_stopped),
           TEST(SV2_serve_forever_ends_when_another_task_stops_the_server),
           TEST(SV2_an_error_of_the_listening_socket_ends_the_server),
           TEST(C144_SV2_close_clients_lets_what_was_written_arrive),
           TEST(C144_SV2_abort_clients_cuts_connections),
           TEST(C145_SV1_a_failing_handler_is_reported_and_ends_its_connection_alone),
           TEST(SV2_shutdown_lets_handlers_end_and_cuts_off_those_that_do_not),
           TEST(SV2_shutdown_of_an_idle_server_takes_no_time),
           TEST(SV2_close_gives_idle_clients_ten_seconds_or_none),
           TEST(the_limit_holds_over_all_addresses_together),
           TEST(a_run_ends_with_a_server_left_open))
