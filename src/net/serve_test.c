/* SPDX-License-Identifier: MIT
 * Serving: many connections, the limit, failing handlers, ends; and the failure sweep of all of it.
 */
#include <sys/un.h>

#include "net/net_test.h"
#include "tests/alloc_sweep.h"

struct server {
    bk_listener *listener;
    bk_task *task;
    bk_stream_fn *handler;
    bk_serve_opts opts;
    int n_running, n_most; /* handlers at once */
    int n_errors, last_error;
    char last_detail[256];
    bk_stream *kept;
};

static int echo(void *ctx, bk_stream **stream)
{
    struct server *server = ctx;
    char buf[2000];
    ssize_t n = 0;
    int r = 0;
    server->n_running++;
    if (server->n_running > server->n_most)
        server->n_most = server->n_running;
    while (r == 0 && (n = bk_stream_read(*stream, buf, sizeof buf)) > 0)
        r = bk_stream_write(*stream, buf, (size_t)n);
    server->n_running--;
    return r < 0 ? r : (int)n;
}

static int serve(void *ctx)
{
    struct server *server = ctx;
    int r = bk_serve(server->listener, server->handler, server, &server->opts);
    return bk_listener_close(&server->listener, r);
}

static int start_server(struct server *server, bk_stream_fn *handler)
{
    server->handler = handler;
    int r = bk_listen(&server->listener, "127.0.0.1:0", NULL);
    return r < 0 ? r : bk_go(&server->task, serve, server, NULL);
}

/* Returns what bk_serve did. */
static int stop_server(struct server *server)
{
    int r = 0;
    if (server->task) {
        bk_task_cancel(server->task);
        bk_task_wait(server->task, &r);
        bk_task_free(&server->task);
    }
    return bk_listener_close(&server->listener, r);
}

static int dial(const struct server *server, bk_stream **out)
{
    if (!server->listener)
        return -ECONNRESET;
    return bk_connect(out, bk_listener_address(server->listener), NULL);
}

static int talk(bk_stream *s, const char *text)
{
    char buf[2000];
    size_t len = strlen(text);
    int r = bk_stream_write(s, text, len);
    if (r == 0)
        r = bk_stream_read_exactly(s, buf, len);
    return r < 0 ? r : memcmp(buf, text, len) != 0;
}

enum { MANY = 200 };

LOOP_TEST(many_connections_are_served_at_once)
{
    struct server server = {0};
    bk_stream *s[MANY] = {0};
    CHECK_EQ(start_server(&server, echo), 0);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(dial(&server, &s[i]), 0);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < MANY; i++)
            CHECK_EQ(talk(s[i], "hello"), 0);
    CHECK_EQ(server.n_running, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(bk_stream_close(&s[i], 0), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(server.n_running, 0);
    CHECK_EQ(stop_server(&server), -ECANCELED);
}

LOOP_TEST(accepting_pauses_at_the_limit)
{
    struct server server = {.opts.limit = 3};
    bk_stream *s[8] = {0};
    char c;
    CHECK_EQ(start_server(&server, echo), 0);
    int before = n_open_fds();
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(dial(&server, &s[i]), 0);
        CHECK_EQ(bk_stream_write(s[i], "x", 1), 0);
    }
    bk_sleep(bk_ms(1));
    CHECK_EQ(server.n_running, 3);
    CHECK_EQ(n_open_fds() - before, 8 + 3); /* the others wait in the kernel */
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(bk_stream_read(s[i], &c, 1), 1);
        CHECK_EQ(bk_stream_close(&s[i], 0), 0);
    }
    bk_sleep(bk_ms(1));
    CHECK_EQ(server.n_most, 3);
    CHECK_EQ(server.n_running, 0);
    stop_server(&server);
}

static int fail(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_stream_write(*stream, "dropped or not", 14);
    return bk_fail(-EPROTO, "line %d", 17);
}

static void note_error(void *ctx, bk_stream *stream, int result)
{
    struct server *server = ctx;
    server->n_errors++;
    server->last_error = result;
    snprintf(server->last_detail, sizeof server->last_detail, "%s",
             stream ? bk_errmsg() : "the handler took it");
}

LOOP_TEST(C145_a_failing_handler_ends_its_connection_alone)
{
    struct server server = {.opts.on_error = note_error};
    bk_stream *s = NULL;
    char buf[1000];
    CHECK_EQ(start_server(&server, fail), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(dial(&server, &s), 0);
        while (bk_stream_read(s, buf, sizeof buf) > 0)
            ;
        bk_stream_close(&s, -1);
    }
    CHECK_EQ(server.n_errors, 3);
    CHECK_EQ(server.last_error, -EPROTO);
    CHECK_STR(server.last_detail, "line 17");
    CHECK(!bk_task_done(server.task));
    CHECK_EQ(stop_server(&server), -ECANCELED);
}

static int fail_as_told(void *ctx, bk_stream **stream)
{
    struct server *server = ctx;
    char peer[100];
    snprintf(peer, sizeof peer, "%s", bk_stream_peer(*stream));
    server->n_errors++;
    if (server->n_errors == 1)
        return bk_fail(-EPROTO, "no good");
    if (server->n_errors == 2)
        return bk_fail(-EPROTO, "%s: no good", peer);
    bk_stream_close(stream, -1);
    return bk_fail(-EPROTO, "%s: no good", peer);
}

static void keep_report(void *ctx, const bk_error_report *report)
{
    struct server *server = ctx;
    snprintf(server->last_detail, sizeof server->last_detail, "%s", report->detail);
}

/* By the report, or by the message in it, or of a stream that is gone. */
LOOP_TEST(a_report_names_the_peer_once)
{
    struct server server = {0};
    bk_loop_set_on_error(bk_loop_current(), keep_report, &server);
    CHECK_EQ(start_server(&server, fail_as_told), 0);
    for (int i = 0; i < 3; i++) {
        bk_stream *s = NULL;
        char want[100], c;
        CHECK_EQ(dial(&server, &s), 0);
        snprintf(want, sizeof want, "%s: no good", bk_stream_local(s));
        CHECK(bk_stream_read(s, &c, 1) <= 0);
        bk_sleep(bk_ms(1));
        CHECK_STR(server.last_detail, want);
        bk_stream_close(&s, -1);
    }
    bk_loop_set_on_error(bk_loop_current(), NULL, NULL);
    stop_server(&server);
}

static int keep(void *ctx, bk_stream **stream)
{
    struct server *server = ctx;
    server->kept = *stream;
    *stream = NULL;
    return 0;
}

LOOP_TEST(a_handler_may_keep_its_stream)
{
    struct server server = {0};
    bk_stream *s = NULL;
    char c;
    CHECK_EQ(start_server(&server, keep), 0);
    CHECK_EQ(dial(&server, &s), 0);
    bk_sleep(bk_ms(1));
    CHECK(server.kept != NULL);
    CHECK_EQ(bk_stream_write(server.kept, "k", 1), 0);
    CHECK_EQ(bk_stream_read(s, &c, 1), 1);
    stop_server(&server);
    CHECK_EQ(bk_stream_close(&server.kept, 0), 0);
    bk_stream_close(&s, 0);
}

static int read_on(void *ctx)
{
    char c;
    ssize_t n = bk_stream_read(ctx, &c, 1);
    return n < 0 ? (int)n : 0;
}

static int leave_a_reader(void *ctx, bk_stream **stream)
{
    (void)ctx;
    int r = bk_go(NULL, read_on, *stream, NULL);
    return r < 0 ? r : bk_yield(); /* the reader waits by now */
}

LOOP_TEST(a_stream_still_in_use_is_taken_back)
{
    struct server server = {.opts.on_error = note_error};
    bk_stream *s = NULL;
    char c;
    CHECK_EQ(start_server(&server, leave_a_reader), 0);
    CHECK_EQ(dial(&server, &s), 0);
    CHECK_EQ(bk_stream_read(s, &c, 1), 0);
    CHECK_EQ(bk_stream_close(&s, 0), 0);
    bk_sleep(bk_ms(5));
    CHECK_EQ(server.n_errors, 1);
    CHECK_EQ(server.last_error, -EBUSY);
    stop_server(&server);
}

LOOP_TEST(a_cancelled_server_cancels_its_handlers)
{
    struct server server = {.opts.on_error = note_error};
    bk_stream *s[4] = {0};
    CHECK_EQ(start_server(&server, echo), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(dial(&server, &s[i]), 0);
    CHECK_EQ(talk(s[3], "x"), 0);
    CHECK_EQ(stop_server(&server), -ECANCELED);
    CHECK_EQ(server.n_running, 0);
    CHECK_EQ(server.n_errors, 0);
    for (int i = 0; i < 4; i++)
        bk_stream_close(&s[i], -1);
}

static int serve_and_close(void *ctx)
{
    struct server *server = ctx;
    char url[48];
    snprintf(url, sizeof url, "unix:@beck-serve-test-%d", (int)getpid()); /* one for each program */
    int r = bk_listen(&server->listener, url, NULL);
    if (r == 0)
        r = bk_serve(server->listener, server->handler, server, NULL);
    return bk_listener_close(&server->listener, r);
}

struct canceller {
    bk_stream *s;
    bk_task *victim;
};

static int cancel_after_a_byte(void *ctx)
{
    struct canceller *c = ctx;
    char byte;
    ssize_t n = bk_stream_read(c->s, &byte, 1);
    bk_task_cancel(c->victim);
    return n < 0 ? (int)n : 0;
}

/* The connection is accepted, and before the server runs somebody cancels it. */
/* ---- Draining ---- */

struct draining {
    struct server server; /* first: what the callbacks get */
    bool drains;
    bk_time ended;
};

static void note_drain(void *ctx)
{
    ((struct draining *)ctx)->drains = true;
}

/* Ends two seconds after the server began to drain, or when it is cancelled. */
static int end_in_time(void *ctx, bk_stream **stream)
{
    struct draining *d = ctx;
    int r = 0;
    (void)stream;
    d->server.n_running++;
    while (r == 0 && !d->drains)
        r = bk_sleep(bk_ms(100));
    if (r == 0)
        r = bk_sleep(bk_seconds(2));
    d->ended = bk_now();
    d->server.n_running--;
    return r;
}

static bk_duration drain_within(struct draining *d, bk_duration limit)
{
    bk_stream *c = NULL;
    d->server.opts = (bk_serve_opts){.drain = limit, .on_drain = note_drain};
    if (start_server(&d->server, end_in_time) < 0 || dial(&d->server, &c) < 0)
        return bk_ns(-1);
    bk_sleep(bk_seconds(1));
    bk_time before = bk_now();
    int r = stop_server(&d->server);
    bk_stream_close(&c, -1);
    return r == -ECANCELED && d->server.n_running == 0 ? bk_time_since(bk_now(), before)
                                                       : bk_ns(-1);
}

LOOP_TEST(SV2_handlers_get_time_to_end_when_that_is_asked_for)
{
    struct draining enough = {0}, too_short = {0}, none = {0};
    int64_t took = drain_within(&enough, bk_seconds(5)).ns;
    CHECK(enough.drains);
    CHECK(took >= bk_seconds(2).ns && took < bk_ms(2500).ns);
    took = drain_within(&too_short, bk_seconds(1)).ns;
    CHECK(too_short.drains);
    CHECK(took >= bk_seconds(1).ns && took < bk_ms(1500).ns);
    took = drain_within(&none, bk_ns(0)).ns;
    CHECK(!none.drains);
    CHECK(took >= 0 && took < bk_ms(500).ns);
}

LOOP_TEST(a_connection_whose_handler_never_ran_is_closed)
{
    static struct server server = {.handler = echo};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int n = snprintf(un.sun_path + 1, 40, "beck-serve-test-%d", (int)getpid());
    socklen_t len = (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 + (socklen_t)n;
    struct canceller canceller = {0};
    struct ends e;
    bk_task *task = NULL;
    int r = 0;
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_go(&task, serve_and_close, &server, NULL), 0);
    canceller = (struct canceller){e.s, task};
    CHECK_EQ(bk_go(NULL, cancel_after_a_byte, &canceller, NULL), 0);
    bk_sleep(bk_ms(1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    say(&e, "!");
    int connected = connect(fd, (const struct sockaddr *)&un, len);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    bk_task_free(&task);
    close(fd);
    close_ends(&e);
    CHECK_EQ(connected, 0);
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(server.n_most, 0);
}

static void ignore(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    (void)report;
}

static void no_stream_error(void *ctx, bk_stream *stream, int result)
{
    (void)ctx;
    (void)stream;
    (void)result;
}

static int ask_for_a_line(void *ctx)
{
    bk_span line;
    int r = bk_stream_write(ctx, "a line\n", 7);
    return r < 0 ? r : bk_stream_read_line(ctx, &line);
}

static int talk_to_a_server(void *ctx)
{
    (void)ctx;
    struct server server = {.opts.on_error = no_stream_error};
    bk_stream *s = NULL;
    static char block[100 * 1000];
    int r = start_server(&server, echo);
    if (r == 0)
        r = dial(&server, &s);
    if (r == 0)
        r = talk(s, "hello");
    if (r == 0)
        r = ask_for_a_line(s);
    if (r > 0)
        r = bk_stream_write(s, block, sizeof block);
    for (size_t left = sizeof block; r == 0 && left > 0;) {
        ssize_t n = bk_stream_read(s, block, left);
        if (n <= 0)
            r = n < 0 ? (int)n : -ECONNRESET;
        else
            left -= (size_t)n;
    }
    r = bk_stream_close(&s, r);
    int stopped = stop_server(&server);
    return r < 0 ? r : stopped == -ECANCELED ? 0 : stopped;
}

static int run_scenario(void *ctx)
{
    int r = bk_run(talk_to_a_server, ctx,
                   &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = ignore});
    /* A server that had no memory for a connection's work has closed the connection. */
    bool cut_off = r == -ECONNRESET || r == -ECONNREFUSED || r == -EPIPE || r == -BK_EINCOMPLETE ||
                   r == -ETIMEDOUT;
    return cut_off && atomic_load(&alloc_sweep_failed) ? -ENOMEM : r;
}

static void every_allocation_may_fail(void)
{
    int before = n_open_fds();
    CHECK(alloc_sweep(run_scenario, NULL) > 10);
    CHECK_EQ(n_open_fds(), before);
}

CHECK_MAIN(TEST(many_connections_are_served_at_once), TEST(a_stream_still_in_use_is_taken_back),
           TEST(accepting_pauses_at_the_limit),
           TEST(C145_a_failing_handler_ends_its_connection_alone),
           TEST(a_report_names_the_peer_once), TEST(a_handler_may_keep_its_stream),
           TEST(a_cancelled_server_cancels_its_handlers),
           TEST(SV2_handlers_get_time_to_end_when_that_is_asked_for),
           TEST(a_connection_whose_handler_never_ran_is_closed), TEST(every_allocation_may_fail))
