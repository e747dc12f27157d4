/* SPDX-License-Identifier: MIT
 * As outside_test, for what goes over descriptors: connections, protocols, processes, flows. */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <beck.h>

#include "tests/run_helper.h"

static bool check(const char *what, ssize_t r)
{
    if (r == -BK_ENOTASK && strstr(bk_errmsg(), "only a task can wait"))
        return true;
    trace("%s: %zd %s", what, r, bk_errmsg());
    return false;
}

#define REFUSED(call) (check(#call, (call)))

/* Runs fn in a call of the loop and says what it said. */
static const char *in_a_call(bk_fn *fn, void *ctx)
{
    trace_reset();
    if (bk_call_soon(NULL, fn, ctx) == 0)
        bk_yield();
    return trace_text();
}

/* ---- What opens ---- */

static int serve_nobody(void *ctx, bk_stream **stream)
{
    (void)ctx;
    (void)stream;
    return 0;
}

static int serve_no_request(void *ctx, bk_http_req *req)
{
    (void)ctx;
    return bk_http_reply_text(req, 200, "");
}

static int open_things(void *ctx)
{
    bk_listener *listener = ctx;
    bk_stream *s = NULL;
    bk_addresses *addresses = NULL;
    bk_http_call *call = NULL;
    bk_event_source *source = NULL;
    bk_server_event event;
    bk_ws *ws = NULL;
    char name[64];
    bool ok = REFUSED(bk_connect(&s, "127.0.0.1:9", NULL)) & REFUSED(bk_accept(listener, &s)) &
              REFUSED(bk_serve(listener, serve_nobody, NULL, NULL)) &
              REFUSED(bk_http_serve(listener, serve_no_request, NULL, NULL)) &
              REFUSED(bk_resolve(&addresses, "name.invalid:80", NULL)) &
              REFUSED(bk_resolve_name("127.0.0.1:80", name, sizeof name)) &
              REFUSED(bk_http_get(&call, NULL, "http://127.0.0.1:9/", NULL)) &
              REFUSED(bk_ws_connect(&ws, "ws://127.0.0.1:9/", NULL));
    if (bk_event_source_open(&source, "http://127.0.0.1:9/", NULL) == 0)
        ok &= REFUSED(bk_event_source_next(source, &event));
    ok &= bk_event_source_close(&source, 0) == 0;
    trace(ok && !s && !addresses && !call && !ws ? "all refused" : "not all refused");
    return 0;
}

LOOP_TEST(nothing_is_opened_in_a_call)
{
    bk_listener *listener = NULL;
    CHECK_EQ(bk_listen(&listener, "127.0.0.1:0", NULL), 0);
    CHECK_STR(in_a_call(open_things, listener), "all refused");
    CHECK_EQ(bk_listener_close(&listener, 0), 0);
}

/* ---- Descriptors and processes ---- */

static int wait_for_fd(void *ctx)
{
    int fd = *(int *)ctx;
    trace(REFUSED(bk_fd_wait(fd, POLLIN, bk_forever())) ? "refused" : "not refused");
    return 0;
}

LOOP_TEST(nor_a_descriptor_waited_for)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    CHECK_STR(in_a_call(wait_for_fd, &fds[0]), "refused");
    close(fds[0]);
    close(fds[1]);
}

static int use_process(void *ctx)
{
    bk_process *p = ctx, *other = NULL;
    bk_msg *out = NULL, *err = NULL;
    const char *const argv[] = {"true", NULL};
    int code = 0;
    bool ok = REFUSED(bk_process_wait(p, &code)) & REFUSED(bk_process_stop(p, bk_ms(1), &code)) &
              REFUSED(bk_process_communicate(p, bk_span_str("x"), &out, NULL, NULL)) &
              REFUSED(bk_process_close(&p, 0)) & REFUSED(bk_process_close(&p, -EIO)) &
              REFUSED(bk_process_exec(&other, argv, NULL));
    trace(ok && p && !other && !out && !err ? "all refused" : "not all refused");
    return 0;
}

LOOP_TEST(nor_a_process)
{
    const char *const argv[] = {"cat", NULL};
    bk_process *p = NULL;
    int code = -1;
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE}), 0);
    CHECK_STR(in_a_call(use_process, p), "all refused");
    CHECK_EQ(bk_process_close_in(p), 0);
    CHECK_EQ(bk_process_wait(p, &code), 0);
    CHECK_EQ(code, 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

/* ---- Streams with something to send ---- */

/* One whose peer does not read, so that an operation is under way. */
static bool stuff(bk_stream **out, int *peer)
{
    int fds[2], small = 4096;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return false;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    *peer = fds[1];
    static char data[60000];
    return bk_stream_from_fd(out, fds[0], NULL) == 0 &&
           bk_stream_write(*out, data, sizeof data) == 0 && bk_stream_unsent(*out) > 0;
}

static int close_well(void *ctx)
{
    bk_stream *s = ctx;
    trace(REFUSED(bk_stream_close(&s, 0)) && s ? "refused" : "not refused");
    return 0;
}

static int close_at_once(void *ctx)
{
    bk_stream **s = ctx;
    int r = bk_stream_close(s, -EIO);
    trace("%d %d", r == -EIO, !*s);
    return 0;
}

static bool peer_sees_the_end(int peer)
{
    char buf[4096];
    ssize_t n;
    while ((n = read(peer, buf, sizeof buf)) > 0)
        ;
    return n == 0 || errno == ECONNRESET;
}

LOOP_TEST(nor_is_a_stream_flushed_but_it_may_be_cut)
{
    bk_stream *s = NULL;
    int peer = -1;
    CHECK(stuff(&s, &peer));
    CHECK_STR(in_a_call(close_well, s), "refused");
    CHECK_STR(in_a_call(close_at_once, &s), "1 1");
    CHECK_EQ(bk_sleep(bk_ms(1)), 0); /* the operation ends, and the descriptor is closed */
    CHECK(peer_sees_the_end(peer));
    close(peer);
}

struct clogged {
    bk_stream *s;
    int peer;
};

static int cut_at_the_end(void *ctx)
{
    trace("%d", bk_call_soon(NULL, close_at_once, ctx));
    return 0;
}

static int leave_a_clogged_stream(void *ctx)
{
    struct clogged *clogged = ctx;
    if (!stuff(&clogged->s, &clogged->peer))
        return -EIO;
    return bk_call_soon(NULL, cut_at_the_end, &clogged->s);
}

/* In the last calls of the loop, too: its end waits for the kernel. */
static void a_stream_cut_as_the_loop_ends(void)
{
    struct clogged clogged = {NULL, -1};
    CHECK_EQ(in_loop(leave_a_clogged_stream, &clogged), 0);
    CHECK_STR(trace_text(), "0 1 1");
    CHECK(peer_sees_the_end(clogged.peer));
    close(clogged.peer);
}

/* ---- A WebSocket at work ---- */

struct pair {
    bk_listener *listener;
    bk_ws *client, *server;
};

static int accept_ws(void *ctx)
{
    struct pair *pair = ctx;
    bk_stream *s = NULL;
    int r = bk_accept(pair->listener, &s);
    if (r >= 0)
        r = bk_ws_accept(&pair->server, &s, NULL);
    return bk_stream_close(&s, r);
}

static int use_ws(void *ctx)
{
    struct pair *pair = ctx;
    bk_ws *ws = pair->client;
    bk_msg *msg = NULL;
    bool ok = REFUSED(bk_ws_recv(ws, &msg)) & REFUSED(bk_ws_send_text(ws, "x", 1)) &
              REFUSED(bk_ws_ping(ws, NULL, 0)) & REFUSED(bk_ws_flush(ws)) &
              REFUSED(bk_ws_send_close(ws, 1000, NULL)) & REFUSED(bk_ws_close(&ws, 0)) &
              REFUSED(bk_ws_close(&ws, -EIO));
    trace(ok && ws ? "all refused" : "not all refused");
    return 0;
}

LOOP_TEST(nor_a_websocket)
{
    struct pair pair = {NULL};
    char url[64];
    bk_msg *msg = NULL;
    CHECK_EQ(bk_listen(&pair.listener, "127.0.0.1:0", NULL), 0);
    snprintf(url, sizeof url, "ws://%s/", bk_listener_address(pair.listener));
    bk_task *t = start(accept_ws, &pair);
    CHECK_EQ(bk_ws_connect(&pair.client, url, NULL), 0);
    CHECK_EQ(finish(&t), 0);
    CHECK_STR(in_a_call(use_ws, &pair), "all refused");
    /* It is as it was. */
    CHECK_EQ(bk_ws_send_text(pair.client, "hello", 5), 0);
    CHECK_EQ(bk_ws_recv(pair.server, &msg), 1);
    CHECK_EQ(bk_msg_len(msg), 5);
    bk_msg_free(&msg);
    CHECK_EQ(bk_ws_close(&pair.server, -1), -1);
    bk_ws_close(&pair.client, -1);
    CHECK_EQ(bk_listener_close(&pair.listener, 0), 0);
}

/* ---- An HTTP call under way ---- */

static int reply_slowly(void *ctx, bk_http_req *req)
{
    (void)ctx;
    int r = bk_http_reply_start(req, 200, 4);
    if (r == 0)
        r = bk_http_reply_write(req, "ab", 2);
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_http_reply_write(req, "cd", 2);
    return r < 0 ? r : bk_http_reply_end(req);
}

static int serve(void *ctx)
{
    return bk_http_serve(ctx, reply_slowly, NULL, NULL);
}

static int use_call(void *ctx)
{
    bk_http_call *call = ctx;
    bk_msg *body = NULL;
    char buf[4];
    bool ok =
        REFUSED(bk_http_call_read(call, buf, sizeof buf)) & REFUSED(bk_http_call_body(call, &body));
    trace(ok && !body ? "all refused" : "not all refused");
    return 0;
}

static int close_call(void *ctx)
{
    bk_http_call **call = ctx;
    trace("%d", bk_http_call_close(call, -EIO) == -EIO);
    return 0;
}

LOOP_TEST(nor_an_http_call_read)
{
    bk_listener *listener = NULL;
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    bk_msg *body = NULL;
    char url[64];
    CHECK_EQ(bk_listen(&listener, "127.0.0.1:0", NULL), 0);
    snprintf(url, sizeof url, "http://%s/", bk_listener_address(listener));
    bk_task *t = start(serve, listener);
    CHECK_EQ(bk_http_client_new(&client, NULL), 0);
    CHECK_EQ(bk_http_get(&call, client, url, NULL), 0);
    CHECK_STR(in_a_call(use_call, call), "all refused");
    CHECK_EQ(bk_http_call_body(call, &body), 0);
    CHECK_EQ(bk_msg_len(body), 4);
    bk_msg_free(&body);
    CHECK_EQ(bk_http_call_close(&call, 0), 0);
    CHECK_EQ(bk_http_get(&call, client, url, NULL), 0);
    CHECK_STR(in_a_call(close_call, &call), "1"); /* which does not wait */
    bk_http_client_free(&client);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_EQ(bk_listener_close(&listener, 0), 0);
}

/* ---- A flow ---- */

static int run_flow(void *ctx)
{
    trace(REFUSED(bk_flow_run(ctx)) ? "refused" : "not refused");
    return 0;
}

LOOP_TEST(nor_a_flow)
{
    bk_flow *flow = NULL;
    CHECK_EQ(bk_flow_new(&flow, NULL), 0);
    CHECK_EQ(bk_flow_from(flow, "gen:?count=3"), 0);
    CHECK_EQ(bk_flow_to(flow, "null:"), 0);
    CHECK_STR(in_a_call(run_flow, flow), "refused");
    CHECK_EQ(bk_flow_run(flow), 0);
    bk_flow_free(&flow);
}

CHECK_MAIN(TEST(nothing_is_opened_in_a_call), TEST(nor_a_descriptor_waited_for),
           TEST(nor_a_process), TEST(nor_is_a_stream_flushed_but_it_may_be_cut),
           TEST(a_stream_cut_as_the_loop_ends), TEST(nor_a_websocket), TEST(nor_an_http_call_read),
           TEST(nor_a_flow))
