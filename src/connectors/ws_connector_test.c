/* SPDX-License-Identifier: MIT
 * WebSockets as sources and sinks, client and server, against each other on the loopback
 * interface. */
#include <beck/ws.h>

#include "connectors/url_fixture.h"

static struct urls u;

/* ---- A server for ws: to talk to ---- */

static bk_listener *listener;
static int n_connections;
static char heard[4096]; /* what clients have sent */
static int (*script)(bk_ws *ws,
                     int connection); /* what the server does; its result closes the connection */

static int serve_one(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_ws *ws = NULL;
    int r = bk_ws_accept(&ws, stream, NULL);
    return r < 0 ? r : bk_ws_close(&ws, script(ws, ++n_connections));
}

static int serve(void *ctx)
{
    (void)ctx;
    return bk_serve(listener, serve_one, NULL, NULL);
}

static int say(bk_ws *ws, int from, int to)
{
    char text[32];
    int r = 0;
    for (int i = from; i <= to && r == 0; i++) {
        int len = snprintf(text, sizeof text, "%d", i);
        r = bk_ws_send_text(ws, text, (size_t)len);
    }
    return r < 0 ? r : bk_ws_flush(ws);
}

static int listen_all(bk_ws *ws)
{
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_ws_recv(ws, &msg)) > 0) {
        size_t len = strlen(heard);
        snprintf(heard + len, sizeof heard - len, "%.*s\n", (int)bk_msg_len(msg), bk_msg_data(msg));
        bk_msg_free(&msg);
    }
    return r;
}

static const char *url_options;
static bool as_sink;

static int main_with_server(void *ctx)
{
    static char url[200];
    bk_task *server = NULL;
    int r = bk_listen(&listener, "127.0.0.1:0", NULL);
    if (r == 0)
        r = bk_go(&server, serve, NULL, NULL);
    if (r < 0)
        return r;
    snprintf(url, sizeof url, "ws://%s/feed?a=1%s", bk_listener_address(listener), url_options);
    *(as_sink ? &u.to : &u.from) = url;
    r = urls_main(ctx);
    bk_task_cancel(server);
    (void)bk_task_wait(server, NULL);
    bk_task_free(&server);
    return bk_listener_close(&listener, r);
}

static int against(int (*server_script)(bk_ws *ws, int connection), const char *options)
{
    memset(&u, 0, sizeof u);
    heard[0] = '\0';
    n_connections = 0;
    script = server_script;
    url_options = options;
    as_sink = false;
    return bk_run(main_with_server, &u, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

/* ---- ws: as a source ---- */

static int say_three(bk_ws *ws, int connection)
{
    (void)connection;
    return say(ws, 1, 3);
}

static void a_feed_that_ends(void)
{
    CHECK_EQ(against(say_three, ""), 0);
    CHECK_STR(u.output, "1\n2\n3\n");
    CHECK_EQ(n_connections, 1);
    CHECK_EQ(u.stats.reconnects, 0);
}

/* The first two connections break, the third ends in order. */
static int break_twice(bk_ws *ws, int connection)
{
    int r = say(ws, connection * 10, connection * 10 + 1);
    return r < 0 || connection == 3 ? r : -ECONNRESET;
}

static void a_lost_connection_is_made_again(void)
{
    CHECK_EQ(against(break_twice, ""), 0);
    CHECK_STR(u.output, "10\n11\n20\n21\n30\n31\n");
    CHECK_EQ(u.stats.reconnects, 2);
    CHECK(u.stats.gap.ns >= 2 * bk_ms(75).ns);
    CHECK(strstr(u.events, "trying again"));
    CHECK(strstr(u.events, "connected again after 0.1 s"));
    CHECK(strstr(u.events, "ws://127.0.0.1:"));
}

static void or_not_if_told_so(void)
{
    CHECK(against(break_twice, "#reconnect=never") < 0);
    CHECK_STR(u.output, "10\n11\n");
    CHECK_EQ(u.stats.stored, 2);
    CHECK(u.stats.started);
}

static int go_away(bk_ws *ws, int connection)
{
    int r = say(ws, connection, connection);
    if (r == 0)
        r = bk_ws_send_close(ws, connection < 4 ? 1001 : 1000, "going away");
    return r;
}

static void a_server_that_goes_away_will_be_back(void)
{
    CHECK_EQ(against(go_away, ""), 0);
    CHECK_STR(u.output, "1\n2\n3\n4\n");
    CHECK(strstr(u.events, "closed by the server (1001 going away)"));
}

static int go_silent(bk_ws *ws, int connection)
{
    int r = say(ws, connection, connection);
    return r < 0 || connection == 3 ? r : bk_sleep(bk_seconds(3600));
}

static void a_silent_feed_is_a_lost_one(void)
{
    CHECK_EQ(against(go_silent, "#stall=30s"), 0);
    CHECK_STR(u.output, "1\n2\n3\n");
    CHECK(strstr(u.events, "no message for 30.0 s"));
    CHECK(u.stats.elapsed.ns >= bk_seconds(60).ns && u.stats.elapsed.ns < bk_seconds(70).ns);
}

static int wait_for_hello(bk_ws *ws, int connection)
{
    bk_msg *msg = NULL;
    int r = bk_ws_recv(ws, &msg);
    if (r > 0)
        r = bk_ws_send(ws, &msg);
    bk_msg_free(&msg);
    return r < 0 || connection == 2 ? r : -ECONNRESET;
}

static void a_hello_after_each_connect(void)
{
    CHECK_EQ(against(wait_for_hello, "#send=%7B%22op%22:%22sub%22%7D"), 0);
    CHECK_STR(u.output, "{\"op\":\"sub\"}\n{\"op\":\"sub\"}\n");
}

static void the_first_connection_must_succeed(void)
{
    memset(&u, 0, sizeof u);
    u.from = "ws://127.0.0.1:1/";
    CHECK_EQ(urls_run(&u), -ECONNREFUSED);
    CHECK(strstr(u.error, "ws://127.0.0.1:1/: "));
    CHECK(!u.stats.started);
}

static int say_a_lot(bk_ws *ws, int connection)
{
    (void)connection;
    static char text[2000];
    memset(text, 'x', sizeof text);
    int r = say(ws, 1, 1);
    return r < 0 ? r : bk_ws_send_text(ws, text, sizeof text);
}

static void a_message_over_the_limit(void)
{
    CHECK_EQ(against(say_a_lot, "#max=1KiB"), -EMSGSIZE);
    CHECK(strstr(u.error, "raise it with #max="));
    CHECK_EQ(u.stats.stored, 1);
}

/* ---- ws: as a sink ---- */

static int listen_and_break_once(bk_ws *ws, int connection)
{
    if (connection == 1)
        return -ECONNRESET;
    return listen_all(ws);
}

static int listen_script(bk_ws *ws, int connection)
{
    (void)connection;
    return listen_all(ws);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static int into(int (*server_script)(bk_ws *ws, int connection), const char *options)
{
    memset(&u, 0, sizeof u);
    u.lines = LINES("a", "b", "c");
    heard[0] = '\0';
    n_connections = 0;
    script = server_script;
    url_options = options;
    as_sink = true;
    return bk_run(main_with_server, &u, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

static void messages_are_sent(void)
{
    CHECK_EQ(into(listen_script, ""), 0);
    CHECK_STR(heard, "a\nb\nc\n");
    CHECK_EQ(u.stats.stored, 3);
}

static void and_sent_again_after_a_loss(void)
{
    CHECK_EQ(into(listen_and_break_once, ""), 0);
    CHECK_EQ(u.stats.stored, 3);
    CHECK(n_connections == 1 || strstr(heard, "a\nb\nc\n"));
}

/* ---- ws-listen: as a source ---- */

/* "ws://127.0.0.1:PORT/" out of the event that says where the flow listens; waits for it. */
static int find_url(char *url, size_t size)
{
    const char *at;
    while (!(at = strstr(u.events, "listening on "))) {
        int r = bk_yield();
        if (r < 0)
            return r;
    }
    snprintf(url, size, "%.*s", (int)strcspn(at + 13, "\n"), at + 13);
    return 0;
}

static int talk(void *ctx)
{
    char url[100];
    bk_ws *ws = NULL;
    int from = *(int *)ctx, r = find_url(url, sizeof url);
    if (r == 0)
        r = bk_ws_connect(&ws, url, NULL);
    if (r == 0)
        r = say(ws, from, from + 199);
    return bk_ws_close(&ws, r);
}

/* Two clients send 200 messages each; the flow is drained when some are stored. */
static int talk_and_drain(void *ctx)
{
    (void)ctx;
    int from[] = {1, 1001};
    bk_call calls[] = {{.fn = talk, .ctx = &from[0]}, {.fn = talk, .ctx = &from[1]}};
    int r = bk_gather(calls, 2, &(bk_gather_opts){.collect = true});
    while (r == 0 && u.n_got < 300)
        r = bk_sleep(bk_ms(1));
    bk_flow_drain(u.flow);
    return r;
}

static void what_clients_send_is_received(void)
{
    memset(&u, 0, sizeof u);
    u.from = "ws-listen:127.0.0.1:0";
    u.beside = talk_and_drain;
    CHECK_EQ(urls_run(&u), 0);
    CHECK(u.stats.received >= 300 && u.stats.received <= 400);
    CHECK_EQ(u.stats.stored, u.stats.received);
    CHECK_EQ(u.stats.lost, 0);
}

static int send_and_hang(void *ctx)
{
    (void)ctx;
    char url[100];
    bk_ws *ws = NULL;
    int r = find_url(url, sizeof url);
    if (r == 0)
        r = bk_ws_connect(&ws, url, NULL);
    if (r == 0)
        r = say(ws, 1, 500);
    while (r == 0 && u.n_got < 20)
        r = bk_sleep(bk_ms(1));
    bk_flow_drain(u.flow);
    bk_msg *msg = NULL;
    if (r == 0)
        r = bk_ws_recv(ws, &msg);
    bk_msg_free(&msg);
    return bk_ws_close(&ws, r) < 0 ? 0 : 0;
}

/* A slow sink, a client in the middle of sending: what has been taken from it is stored. */
static int store_slowly(void *ctx, bk_msg **msg)
{
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : urls_store(ctx, msg);
}

static int slow_flow(void *ctx)
{
    int r =
        bk_flow_new(&u.flow, &(bk_flow_opts){.limit = 4, .on_event = urls_event, .event_ctx = &u});
    if (r == 0)
        r = bk_flow_from(u.flow, "ws-listen:127.0.0.1:0");
    if (r == 0)
        r = bk_flow_to_fn(u.flow, store_slowly, ctx, NULL);
    bk_task *client = NULL;
    if (r == 0)
        r = bk_go(&client, send_and_hang, NULL, NULL);
    if (r == 0)
        r = bk_flow_run(u.flow);
    (void)bk_task_wait(client, NULL);
    bk_task_free(&client);
    bk_flow_stats_get(u.flow, &u.stats);
    bk_flow_free(&u.flow);
    return r;
}

static void a_drain_stores_what_was_taken(void)
{
    memset(&u, 0, sizeof u);
    CHECK_EQ(bk_run(slow_flow, &u, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}), 0);
    CHECK(u.stats.received >= 20 + 64);
    CHECK(u.stats.received < 500);
    CHECK_EQ(u.stats.stored, u.stats.received);
    for (int i = 1; i < 84; i++) {
        char line[16];
        snprintf(line, sizeof line, "%d\n", i);
        CHECK(strstr(u.output, line));
    }
}

/* ---- ws-listen: as a sink ---- */

static char got[2][4096];
static int codes[2];
static int n_messages[2];

/* Client i listens until the server closes; slow: it does not read until the flow has ended. */
static int hear(int i, bool slow)
{
    char url[100];
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = find_url(url, sizeof url);
    if (r == 0)
        r = bk_ws_connect(&ws, url, NULL);
    while (r == 0 && slow && u.n_got == 0)
        r = bk_sleep(bk_ms(10));
    while (r >= 0 && (r = bk_ws_recv(ws, &msg)) > 0) {
        size_t len = strlen(got[i]);
        snprintf(got[i] + len, sizeof got[i] - len, "%.*s\n",
                 (int)(bk_msg_len(msg) < 16 ? bk_msg_len(msg) : 16), bk_msg_data(msg));
        n_messages[i]++;
        bk_msg_free(&msg);
    }
    codes[i] = ws ? bk_ws_close_code(ws) : 0;
    return bk_ws_close(&ws, r);
}

static int hear_0(void *ctx)
{
    (void)ctx;
    return hear(0, false);
}

static int hear_1(void *ctx)
{
    return hear(1, ctx != NULL);
}

static bool second_is_slow;

static int two_clients(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = hear_0, .ctx = NULL},
                       {.fn = hear_1, .ctx = second_is_slow ? &u : NULL}};
    (void)bk_gather(calls, 2, &(bk_gather_opts){.collect = true});
    return 0;
}

static int broadcast(const char *const *lines, const char *url, bool slow)
{
    memset(&u, 0, sizeof u);
    memset(got, 0, sizeof got);
    memset(n_messages, 0, sizeof n_messages);
    second_is_slow = slow;
    u.lines = lines;
    u.to = url;
    u.beside = two_clients;
    return urls_run(&u);
}

static void every_client_gets_every_message(void)
{
    CHECK_EQ(broadcast(LINES("a", "b", "c"), "ws-listen:127.0.0.1:0?wait=2", false), 0);
    CHECK_STR(got[0], "a\nb\nc\n");
    CHECK_STR(got[1], "a\nb\nc\n");
    CHECK_EQ(codes[0], 1000);
    CHECK_EQ(codes[1], 1000);
    CHECK_EQ(u.stats.stored, 3);
}

static void messages_for_nobody_are_dropped(void)
{
    memset(&u, 0, sizeof u);
    u.lines = LINES("a", "b");
    u.to = "ws-listen:127.0.0.1:0?wait=0";
    CHECK_EQ(urls_run(&u), 0);
    CHECK_EQ(u.stats.dropped, 2);
    CHECK_EQ(u.stats.stored, 0);
}

/* More than the kernel's buffers hold, so that a client that does not read is noticed. */
#define N_BIG 200
static const char *big_lines[N_BIG + 1];

static void make_big_lines(void)
{
    static char text[128 * 1024 + 1];
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < N_BIG; i++)
        big_lines[i] = text;
}

static int wake_the_slow_one(void *ctx)
{
    (void)ctx;
    while (u.stats.received == 0) {
        bk_flow_stats_get(u.flow, &u.stats);
        int r = bk_sleep(bk_ms(50));
        if (r < 0)
            return r;
        if (u.stats.received < N_BIG || u.stats.in_flight > 0)
            u.stats.received = 0;
    }
    u.n_got = 1;
    return 0;
}

static int two_clients_and_a_waker(void *ctx)
{
    bk_call calls[] = {{.fn = two_clients, .ctx = ctx}, {.fn = wake_the_slow_one, .ctx = ctx}};
    return bk_gather(calls, 2, NULL);
}

/* The quick client keeps up: a line waits until it has all but two of those before. */
static bool quick_one_lags(void)
{
    return u.lines - big_lines > n_messages[0] + 2;
}

static int broadcast_big(const char *url)
{
    memset(&u, 0, sizeof u);
    memset(got, 0, sizeof got);
    memset(n_messages, 0, sizeof n_messages);
    make_big_lines();
    second_is_slow = true;
    u.lines = big_lines;
    u.hold = quick_one_lags;
    u.to = url;
    u.beside = two_clients_and_a_waker;
    return urls_run(&u);
}

static void a_slow_client_may_be_skipped(void)
{
    CHECK_EQ(broadcast_big("ws-listen:127.0.0.1:0?wait=2&slow=drop&buffer=4"), 0);
    CHECK(n_messages[1] > 0 && n_messages[1] < N_BIG);
    CHECK_EQ(n_messages[0], N_BIG);
    CHECK_EQ(codes[1], 1000);
    CHECK(strstr(u.events, "did not reach slow clients"));
    CHECK_EQ(u.stats.stored, N_BIG);
}

static void or_be_closed(void)
{
    CHECK_EQ(broadcast_big("ws-listen:127.0.0.1:0?wait=2&slow=close&buffer=4"), 0);
    CHECK(n_messages[1] < N_BIG);
    CHECK_EQ(codes[1], 1008);
}

static int slow_reader(void *ctx)
{
    (void)ctx;
    char url[100];
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = find_url(url, sizeof url);
    if (r == 0)
        r = bk_ws_connect(&ws, url, &(bk_ws_opts){.timeout = bk_seconds(100)});
    while (r == 0 || (r > 0 && n_messages[0] < N_BIG)) {
        r = bk_sleep(bk_ms(5));
        if (r == 0)
            r = bk_ws_recv(ws, &msg);
        n_messages[0] += r > 0;
        bk_msg_free(&msg);
        if (r == 0)
            break;
    }
    return bk_ws_close(&ws, r < 0 ? r : 0);
}

static void by_default_the_flow_waits(void)
{
    memset(&u, 0, sizeof u);
    memset(n_messages, 0, sizeof n_messages);
    make_big_lines();
    u.lines = big_lines;
    u.to = "ws-listen:127.0.0.1:0?buffer=4";
    u.beside = slow_reader;
    CHECK_EQ(urls_run(&u), 0);
    CHECK_EQ(n_messages[0], N_BIG);
    CHECK_EQ(u.stats.stored, N_BIG);
}

CHECK_MAIN(TEST(a_feed_that_ends), TEST(a_lost_connection_is_made_again), TEST(or_not_if_told_so),
           TEST(a_server_that_goes_away_will_be_back), TEST(a_silent_feed_is_a_lost_one),
           TEST(a_hello_after_each_connect), TEST(the_first_connection_must_succeed),
           TEST(a_message_over_the_limit), TEST(messages_are_sent),
           TEST(and_sent_again_after_a_loss), TEST(what_clients_send_is_received),
           TEST(a_drain_stores_what_was_taken), TEST(every_client_gets_every_message),
           TEST(messages_for_nobody_are_dropped), TEST(a_slow_client_may_be_skipped),
           TEST(or_be_closed), TEST(by_default_the_flow_waits))
