/* SPDX-License-Identifier: MIT
 * The beginning and the end of a WebSocket on a stream: handshakes good and bad, closes in every
 * order, time limits, and every allocation failing in turn. */
#include "proto/ws_handshake.h"
#include "proto/ws_stream_test.h"
#include "tests/alloc_sweep.h"

/* ---- Requests to a server ---- */

/* Sends request, in two portions when cut > 0, and hangs up behind it if asked.  Returns what
 * bk_ws_accept said; answer: what it sent. */
static int offer(const char *request, bool end, char *answer, size_t size)
{
    struct ends e;
    bk_ws *ws = NULL;
    size_t len = strlen(request);
    int r = open_ends(&e, NULL);
    if (r < 0)
        return r;
    if (write(e.peer, request, len) != (ssize_t)len)
        return -errno;
    if (end)
        shutdown(e.peer, SHUT_WR);
    r = bk_ws_accept(&ws, &e.s, NULL);
    if (r == 0)
        bk_ws_flush(ws);
    ssize_t n = recv(e.peer, answer, size - 1, MSG_DONTWAIT);
    answer[n > 0 ? n : 0] = '\0';
    bk_ws_close(&ws, -EIO);
    close_ends(&e);
    return r;
}

static void check_refused(const char *request, const char *status, const char *why)
{
    char answer[1000], want[100];
    CHECK_EQ(offer(request, false, answer, sizeof answer), -BK_EPROTO);
    bool named = strstr(bk_errmsg(), why) != NULL;
    snprintf(want, sizeof want, "HTTP/1.1 %s\r\n", status);
    if (strncmp(answer, want, strlen(want)) != 0 || !strstr(answer, why) || !named)
        fprintf(stderr, "%s\n%s\n%s\n", request, answer, bk_errmsg());
    CHECK(strncmp(answer, want, strlen(want)) == 0);
    CHECK(strstr(answer, why) != NULL);
    CHECK(strstr(answer, "Connection: ") != NULL);
    CHECK(named);
}

LOOP_TEST(other_requests_get_an_http_error)
{
    check_refused("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "426 Upgrade Required",
                  "this is a WebSocket endpoint");
    check_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
                  "405 Method Not Allowed", "must be a GET");
    check_refused("GET / HTTP/1.1\r\n\r\n", "400 Bad Request", "without Host");
    check_refused(REQUEST_START REQUEST_UPGRADE REQUEST_KEY "Sec-WebSocket-Version: 8\r\n\r\n",
                  "426 Upgrade Required", "must be 13");
    check_refused(REQUEST_START REQUEST_UPGRADE REQUEST_VERSION "\r\n", "400 Bad Request",
                  "Sec-WebSocket-Key");
    check_refused("GET / HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported", "not 1.x");
    check_refused("\x16\x03\x01\x02\x00\x01\r\n\r\n", "400 Bad Request", "");
}

LOOP_TEST(a_refused_HEAD_gets_no_content)
{
    char answer[1000];
    CHECK_EQ(offer("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", false, answer, sizeof answer), -BK_EPROTO);
    CHECK(strncmp(answer, "HTTP/1.1 405 ", 13) == 0);
    CHECK_STR(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    CHECK_EQ(offer("HEAD / HTTP/1.1\r\n\r\n", false, answer, sizeof answer), -BK_EPROTO);
    CHECK(strncmp(answer, "HTTP/1.1 400 ", 13) == 0);
    CHECK_STR(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

struct refusing {
    bk_listener *listener;
    char why[200];
};

static int accept_one(void *ctx)
{
    struct refusing *refusing = ctx;
    bk_stream *s = NULL;
    bk_ws *ws = NULL;
    int r = bk_accept(refusing->listener, &s);
    if (r > 0)
        r = bk_ws_accept(&ws, &s, NULL);
    snprintf(refusing->why, sizeof refusing->why, "%s", bk_errmsg());
    return bk_stream_close(&s, r);
}

/* What the client goes on sending does not reset the connection, and the answer with it. */
LOOP_TEST(a_refused_client_can_read_why)
{
    static char request[50000] = "POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 49000\r\n\r\n";
    struct refusing refusing = {NULL};
    bk_task *task = NULL;
    bk_stream *s = NULL;
    bk_msg *answer = NULL;
    char from[100];
    int r = 0;
    CHECK_EQ(bk_listen(&refusing.listener, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_go(&task, accept_one, &refusing, NULL), 0);
    CHECK_EQ(bk_connect(&s, bk_listener_address(refusing.listener), NULL), 0);
    CHECK_EQ(bk_stream_write(s, request, sizeof request), 0);
    CHECK_EQ(bk_stream_write_eof(s), 0);
    snprintf(from, sizeof from, "%s: a WebSocket request must be a GET", bk_stream_local(s));
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, -BK_EPROTO);
    CHECK(strncmp(refusing.why, from, strlen(from)) == 0);
    CHECK_EQ(bk_stream_read_all(s, 1000, &answer), 0);
    CHECK(strncmp(bk_msg_data(answer), "HTTP/1.1 405 ", 13) == 0);
    bk_msg_free(&answer);
    bk_task_free(&task);
    bk_stream_close(&s, 0);
    bk_listener_close(&refusing.listener, 0);
}

LOOP_TEST(an_endless_head_is_refused)
{
    static char request[80 * 1000];
    size_t at = (size_t)snprintf(request, sizeof request, "%s", REQUEST_START);
    while (at < sizeof request - 100)
        at += (size_t)snprintf(request + at, sizeof request - at, "X-Pad-%zu: %060zu\r\n", at, at);
    check_refused(request, "431 Request Header Fields Too Large", "limit");
    memset(request, 'a', sizeof request - 1);
    memcpy(request, "GET /", 5);
    request[sizeof request - 1] = '\0';
    check_refused(request, "414 URI Too Long", "request line is over its limit");
}

LOOP_TEST(a_client_that_goes_away_is_incomplete)
{
    char answer[1000];
    CHECK_EQ(offer("", true, answer, sizeof answer), -BK_EINCOMPLETE);
    CHECK_STR(answer, "");
    CHECK_EQ(offer("GET / HTT", true, answer, sizeof answer), -BK_EINCOMPLETE);
    CHECK_STR(answer, "");
}

LOOP_TEST(a_silent_client_runs_out_of_time)
{
    char answer[1000];
    bk_time start = bk_now();
    CHECK_EQ(offer("GET / HTT", false, answer, sizeof answer), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_seconds(10).ns);
    CHECK(strncmp(answer, "HTTP/1.1 408 ", 13) == 0);
    CHECK(strstr(bk_errmsg(), "no WebSocket request in time") != NULL);
}

LOOP_TEST(frames_right_behind_the_request_are_kept)
{
    struct ends e;
    bk_ws *ws = NULL;
    char buf[sizeof REQUEST + 100];
    memcpy(buf, REQUEST, sizeof REQUEST - 1);
    size_t len = sizeof REQUEST - 1 + put_frame(buf + sizeof REQUEST - 1, 0x81, "early", 5);
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(write(e.peer, buf, len), (ssize_t)len);
    CHECK_EQ(bk_ws_accept(&ws, &e.s, NULL), 0);
    CHECK(e.s == NULL);
    CHECK_STR(bk_ws_target(ws), "/chat?room=7");
    CHECK_STR(bk_ws_protocol(ws), "");
    check_receives(ws, BK_TEXT, "early");
    bk_ws_close(&ws, -EIO);
    close_ends(&e);
}

/* ---- Clients ---- */

LOOP_TEST(protocol_target_and_headers_are_agreed)
{
    static const char *const client_speaks[] = {"chess", "go", NULL};
    static const char *const server_speaks[] = {"draughts", "go", "chess", NULL};
    static const char *const lines[] = {"X-Test: yes", "Authorization: Bearer 123", NULL};
    bk_ws *client = NULL, *server = NULL;
    CHECK_EQ(open_ws_pair(&client, &server, "/feed?x=1%20&y", /**/
                          &(bk_ws_opts){.protocols = client_speaks,
                                        .headers = lines,
                                        .origin = "http://example.org"},
                          &(bk_ws_opts){.protocols = server_speaks, .headers = lines}),
             0);
    CHECK_STR(bk_ws_target(server), "/feed?x=1%20&y");
    CHECK_STR(bk_ws_target(client), "");
    CHECK_STR(bk_ws_protocol(client), "go");
    CHECK_STR(bk_ws_protocol(server), "go");
    CHECK_STR(bk_ws_peer(server), bk_stream_local(client->stream));
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

static void check_not_connected(const char *url, const bk_ws_opts *opts, int result,
                                const char *why)
{
    bk_ws *ws = NULL;
    CHECK_EQ(bk_ws_connect(&ws, url, opts), result);
    CHECK(ws == NULL);
    if (!strstr(bk_errmsg(), why))
        fprintf(stderr, "%s: %s\n", url, bk_errmsg());
    CHECK(strstr(bk_errmsg(), why) != NULL);
}

LOOP_TEST(what_is_no_websocket_url_is_refused)
{
    check_not_connected("http://localhost/", NULL, -BK_EURL, "not a URL with ws:// or wss://");
    check_not_connected("ws:/localhost", NULL, -BK_EURL, "the host is missing");
    check_not_connected("ws://u:secret@localhost/", NULL, -BK_EURL, "pass an Authorization header");
    CHECK(strstr(bk_errmsg(), "secret") == NULL);
    check_not_connected("ws://localhost/#here", NULL, -BK_EURL, "no fragment");
    check_not_connected("ws://localhost:0/", NULL, -BK_EURL, "no port 0");
    check_not_connected("ws://local host/", NULL, -BK_EURL, "");
    check_not_connected("nonsense", NULL, -BK_EURL, "");
}

/* A server that answers every request with the same text. */
struct answering {
    bk_listener *listener;
    const char *answer;
    char url[100];
    bk_task *task;
};

static int answer_one(void *ctx)
{
    struct answering *a = ctx;
    bk_stream *s = NULL;
    bk_span request;
    int r = bk_accept(a->listener, &s);
    if (r > 0)
        r = bk_stream_read_until(s, bk_span_str("\r\n\r\n"), &request);
    if (r > 0)
        r = a->answer ? bk_stream_write(s, a->answer, strlen(a->answer)) : bk_sleep_forever();
    return bk_stream_close(&s, r);
}

static int start_answering(struct answering *a, const char *answer)
{
    *a = (struct answering){.answer = answer};
    int r = bk_listen(&a->listener, "127.0.0.1:0", NULL);
    if (r == 0)
        snprintf(a->url, sizeof a->url, "ws://%s/x", bk_listener_address(a->listener));
    return r < 0 ? r : bk_go(&a->task, answer_one, a, NULL);
}

static void stop_answering(struct answering *a)
{
    bk_task_cancel(a->task);
    bk_task_wait(a->task, NULL);
    bk_task_free(&a->task);
    bk_listener_close(&a->listener, 0);
}

static void check_answer(const char *answer, int result, const char *why)
{
    struct answering a;
    CHECK_EQ(start_answering(&a, answer), 0);
    check_not_connected(a.url, &(bk_ws_opts){.timeout = bk_seconds(3)}, result, why);
    stop_answering(&a);
}

LOOP_TEST(a_server_that_does_not_agree_is_named)
{
    check_answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", -BK_EREFUSED,
                 "the server answered 404 Not Found");
    check_answer("HTTP/1.0 200 OK\r\n\r\n", -BK_EREFUSED, "the server answered 200 OK");
    check_answer(RESPONSE, -BK_EPROTO, "does not answer the key");
    check_answer("SSH-2.0-OpenSSH_9.2\r\n\r\n", -BK_EPROTO, "");
    check_answer("", -BK_EREFUSED, "closed the connection without an answer");
    check_answer("HTTP/1.1 101 Sw", -BK_EINCOMPLETE, "in the middle of a head");
    check_answer(NULL, -ETIMEDOUT, "no WebSocket within 3000 ms");
    struct answering a;
    CHECK_EQ(start_answering(&a, ""), 0);
    stop_answering(&a);
    check_not_connected(a.url, NULL, -ECONNREFUSED, "Connection refused");
}

LOOP_TEST(informational_answers_are_passed_over)
{
    static const char wait[] = "HTTP/1.1 102 Wait\r\n\r\n";
    static char many[21 * sizeof wait];
    for (size_t i = 0, len = sizeof wait - 1; i < 21; i++)
        memcpy(many + i * len, wait, len);
    check_answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" RESPONSE,
        -BK_EPROTO, "does not answer the key");
    check_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Gone\r\n\r\n", -BK_EREFUSED,
                 "the server answered 404 Gone");
    check_answer(many, -BK_EREFUSED, "the server answered 102 Wait");
}

LOOP_TEST(headers_that_would_break_the_handshake_are_refused)
{
    static const char *const host[] = {"Host: elsewhere", NULL};
    static const char *const split[] = {"X-A: b\r\nX-C: d", NULL};
    struct answering a;
    CHECK_EQ(start_answering(&a, ""), 0);
    check_not_connected(a.url, &(bk_ws_opts){.headers = host}, -EINVAL, "handshake's own");
    stop_answering(&a);
    CHECK_EQ(start_answering(&a, ""), 0);
    check_not_connected(a.url, &(bk_ws_opts){.headers = split}, -EINVAL, "");
    stop_answering(&a);
}

/* ---- Closing ---- */

LOOP_TEST(the_peer_closes_first)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_close_code(raw.ws), 1006);
    CHECK_STR(bk_ws_close_reason(raw.ws), "");
    send_raw(&raw, 0x88,
             "\x0f\xa0"
             "bye");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 0);
    CHECK_EQ(bk_ws_close_code(raw.ws), 4000);
    CHECK_STR(bk_ws_close_reason(raw.ws), "bye");
    CHECK_EQ(bk_ws_send_text(raw.ws, "x", 1), -BK_ECLOSED);
    CHECK_EQ(bk_ws_ping(raw.ws, "x", 1), -BK_ECLOSED);
    CHECK_EQ(bk_ws_send_close(raw.ws, 1000, NULL), -BK_ECLOSED);
    CHECK_HEARD(&raw, "\x88\x02\x0f\xa0");
    CHECK_EQ(bk_ws_close(&raw.ws, 3), 3);
    close_raw(&raw);
}

LOOP_TEST(we_close_first_and_receive_the_rest)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_send_close(raw.ws, 1004, NULL), -EINVAL);
    CHECK_EQ(bk_ws_send_close(raw.ws, -1, NULL), -EINVAL);
    CHECK_EQ(bk_ws_send_close(raw.ws, 3000, "\xff"), -EINVAL);
    CHECK_EQ(bk_ws_send_close(raw.ws, 3000, "done"), 0);
    CHECK_EQ(bk_ws_send_close(raw.ws, 3000, "done"), -BK_ECLOSED);
    CHECK_EQ(bk_ws_send_text(raw.ws, "x", 1), -BK_ECLOSED);
    CHECK_HEARD(&raw, "\x88\x06\x0b\xb8"
                      "done");
    send_raw(&raw, 0x81, "on its way");
    send_raw(&raw, 0x88, "");
    check_receives(raw.ws, BK_TEXT, "on its way");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 0);
    CHECK_EQ(bk_ws_close_code(raw.ws), 1005);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), 0);
    close_raw(&raw);
}

LOOP_TEST(close_alone_does_the_handshake)
{
    struct raw raw;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_raw(&raw, 0x81, "to be dropped");
    send_raw(&raw, 0x88, "\x03\xe8");
    bk_task_cancel(bk_task_current()); /* it is deaf to that */
    CHECK_EQ(bk_ws_close(&raw.ws, 7), 7);
    bk_uncancel();
    char buf[100];
    CHECK_MEM(buf, (size_t)hear(&raw, buf, sizeof buf), "\x88\x02\x03\xe8", 4);
    close_raw(&raw);
}

static int close_in_order(void *ctx)
{
    bk_ws *ws = ctx;
    return bk_ws_close(&ws, 0);
}

LOOP_TEST(both_close_at_once)
{
    bk_ws *client = NULL, *server = NULL;
    CHECK_EQ(open_ws_pair(&client, &server, "/", NULL, NULL), 0);
    bk_call calls[] = {{close_in_order, client, "client", 0},
                       {close_in_order, server, "server", 0}};
    CHECK_EQ(bk_gather(calls, 2, NULL), 0);
}

static int receive_to_the_end(void *ctx)
{
    bk_ws *ws = ctx;
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_ws_recv(ws, &msg)) > 0)
        bk_msg_free(&msg);
    return bk_ws_close(&ws, r);
}

static void check_one_side_closes(bool client_closes)
{
    bk_ws *client = NULL, *server = NULL;
    CHECK_EQ(open_ws_pair(&client, &server, "/", NULL, NULL), 0);
    CHECK_EQ(bk_ws_send_text(client, "x", 1), 0);
    CHECK_EQ(bk_ws_send_text(server, "y", 1), 0);
    bk_time start = bk_now();
    bk_call calls[] = {{client_closes ? close_in_order : receive_to_the_end, client, "client", 0},
                       {client_closes ? receive_to_the_end : close_in_order, server, "server", 0}};
    CHECK_EQ(bk_gather(calls, 2, NULL), 0);
    CHECK(bk_time_since(bk_now(), start).ns < bk_seconds(1).ns);
}

LOOP_TEST(one_side_closes_and_the_other_receives)
{
    check_one_side_closes(true);
    check_one_side_closes(false);
}

LOOP_TEST(a_peer_that_never_answers_a_close_is_left)
{
    struct raw raw;
    bk_msg *msg = NULL;
    bk_ws_opts opts = {.close_timeout = bk_seconds(4)};
    CHECK_EQ(open_raw(&raw, &opts), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_ws_close(&raw.ws, 0), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_seconds(4).ns);
    CHECK(strstr(bk_errmsg(), "no close frame within close_timeout") != NULL);
    close_raw(&raw);

    CHECK_EQ(open_raw(&raw, &opts), 0);
    start = bk_now();
    CHECK_EQ(bk_ws_send_close(raw.ws, 1000, NULL), 0);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_seconds(4).ns);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -ETIMEDOUT);
    CHECK_EQ(bk_ws_close(&raw.ws, -ETIMEDOUT), -ETIMEDOUT);
    close_raw(&raw);
}

LOOP_TEST(a_peer_that_is_gone_at_the_close_is_an_error)
{
    struct raw raw;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    shutdown(raw.peer, SHUT_WR);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), -ECONNRESET);
    close_raw(&raw);
}

LOOP_TEST(a_dropped_connection_says_why)
{
    struct raw raw;
    char buf[100];
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_close(&raw.ws, -EIO), -EIO);
    CHECK_MEM(buf, (size_t)hear(&raw, buf, sizeof buf), "\x88\x02\x03\xf3", 4);
    close_raw(&raw);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_close(&raw.ws, -ECANCELED), -ECANCELED);
    CHECK_MEM(buf, (size_t)hear(&raw, buf, sizeof buf), "\x88\x02\x03\xe9", 4);
    close_raw(&raw);
    CHECK_EQ(bk_ws_close(&raw.ws, 9), 9); /* NULL by now */
}

/* The server's end of a TCP connection, raw, after its handshake. */
static int accept_raw(bk_listener *l, bk_stream **s)
{
    bk_span head;
    char accept[BKI_WS_ACCEPT_LEN + 1], response[300];
    int r = bk_accept(l, s);
    if (r > 0)
        r = bk_stream_read_until(*s, bk_span_str("\r\n\r\n"), &head);
    if (r <= 0)
        return r;
    const char *key = memmem(head.data, head.len, "Sec-WebSocket-Key: ", 19);
    bki_ws_accept_of(bk_span_of(key + 19, BKI_WS_KEY_LEN), accept);
    int n = snprintf(response, sizeof response,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                     accept);
    return bk_stream_write(*s, response, (size_t)n);
}

/* Answers a close, and then takes its time to end the TCP connection. */
static bk_duration delay;

static int close_slowly(void *ctx)
{
    bk_stream *s = NULL;
    char frame[8];
    int r = accept_raw(ctx, &s);
    if (r == 0)
        r = bk_stream_read_exactly(s, frame, sizeof frame);
    if (r == 0)
        r = bk_stream_write(s, "\x88\x02\x03\xe8", 4);
    if (r == 0)
        r = bk_sleep(delay);
    return bk_stream_close(&s, r);
}

static void check_client_waits(bk_duration server_takes, bk_duration client_waits)
{
    bk_listener *l = NULL;
    bk_task *server = NULL;
    bk_ws *ws = NULL;
    char url[100];
    delay = server_takes;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_go(&server, close_slowly, l, NULL), 0);
    snprintf(url, sizeof url, "ws://%s", bk_listener_address(l));
    CHECK_EQ(bk_ws_connect(&ws, url, NULL), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_ws_close(&ws, 0), 0);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, client_waits.ns);
    CHECK_EQ(bk_task_wait(server, NULL), 0);
    bk_task_free(&server);
    bk_listener_close(&l, 0);
}

LOOP_TEST(a_client_lets_the_server_end_the_connection)
{
    check_client_waits(bk_ms(700), bk_ms(700));
    check_client_waits(bk_seconds(3), bk_seconds(1)); /* both have said goodbye */
}

/* Input that nobody reads any more must not reset the connection before the peer has read why. */
LOOP_TEST(a_peer_at_fault_can_read_why)
{
    struct accepting a = {0};
    bk_task *accepting = NULL;
    bk_stream *s = NULL;
    bk_msg *msg = NULL;
    bk_span head;
    char buf[300];
    CHECK_EQ(bk_listen(&a.listener, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_go(&accepting, accept_ws, &a, NULL), 0);
    CHECK_EQ(bk_connect(&s, bk_listener_address(a.listener), NULL), 0);
    CHECK_EQ(bk_stream_write(s, REQUEST, sizeof REQUEST - 1), 0);
    CHECK_EQ(bk_stream_read_until(s, bk_span_str("\r\n\r\n"), &head), 1);
    CHECK_EQ(bk_task_wait(accepting, NULL), 0);
    bk_task_free(&accepting);
    CHECK_EQ(bk_stream_write(s, "\xff\xff", 2), 0);
    CHECK_EQ(bk_ws_recv(a.ws, &msg), -BK_EPROTO);
    CHECK_EQ(bk_stream_write(s, "nobody reads this", 17), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_ws_close(&a.ws, -BK_EPROTO), -BK_EPROTO);
    ssize_t n = bk_stream_read(s, buf, sizeof buf);
    CHECK(n > 4);
    CHECK_MEM(buf, 1, "\x88", 1);
    CHECK_EQ(bk_stream_read(s, buf, sizeof buf), 0);
    bk_stream_close(&s, -1);
    bk_listener_close(&a.listener, 0);
}

/* ---- Failing allocations ---- */

static int converse(void *ctx)
{
    (void)ctx;
    static char block[70000];
    bk_ws *client = NULL, *server = NULL;
    bk_msg *msg = NULL;
    static const char *const protocols[] = {"go", NULL};
    bk_ws_opts opts = {.protocols = protocols};
    int r = open_ws_pair(&client, &server, "/x", &opts, &opts);
    if (r == 0)
        r = bk_ws_send_binary(client, block, sizeof block);
    if (r == 0 && (r = bk_ws_recv(server, &msg)) > 0)
        r = bk_ws_send(server, &msg);
    bk_msg_free(&msg);
    if (r == 0 && (r = bk_ws_recv(client, &msg)) > 0)
        r = 0;
    bk_msg_free(&msg);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
    return r;
}

static void ignore(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    (void)report;
}

static int run_conversation(void *ctx)
{
    int r = bk_run(converse, ctx, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = ignore});
    /* The side without memory ends the connection, and the other side sees that. */
    bool cut_off = r == -ECONNRESET || r == -EPIPE || r == -BK_EINCOMPLETE || r == -ETIMEDOUT ||
                   r == -BK_EREFUSED || r == -BK_ECLOSED;
    return cut_off && atomic_load(&alloc_sweep_failed) ? -ENOMEM : r;
}

static void every_allocation_may_fail(void)
{
    int before = n_open_fds();
    CHECK(alloc_sweep(run_conversation, NULL) > 20);
    CHECK_EQ(n_open_fds(), before);
}

CHECK_MAIN(TEST(other_requests_get_an_http_error), TEST(a_refused_HEAD_gets_no_content),
           TEST(a_refused_client_can_read_why), TEST(an_endless_head_is_refused),
           TEST(a_client_that_goes_away_is_incomplete), TEST(a_silent_client_runs_out_of_time),
           TEST(frames_right_behind_the_request_are_kept),
           TEST(protocol_target_and_headers_are_agreed), TEST(what_is_no_websocket_url_is_refused),
           TEST(a_server_that_does_not_agree_is_named), TEST(informational_answers_are_passed_over),
           TEST(headers_that_would_break_the_handshake_are_refused), TEST(the_peer_closes_first),
           TEST(we_close_first_and_receive_the_rest), TEST(close_alone_does_the_handshake),
           TEST(both_close_at_once), TEST(one_side_closes_and_the_other_receives),
           TEST(a_peer_that_never_answers_a_close_is_left),
           TEST(a_peer_that_is_gone_at_the_close_is_an_error), TEST(a_dropped_connection_says_why),
           TEST(a_client_lets_the_server_end_the_connection), TEST(a_peer_at_fault_can_read_why),
           TEST(every_allocation_may_fail))
