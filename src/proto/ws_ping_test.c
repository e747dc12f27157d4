/* SPDX-License-Identifier: MIT
 * Automatic pings, on the virtual clock: when they go out, what counts as an answer, and how a
 * silent peer's connection ends. */
#include <netinet/tcp.h>

#include "proto/ws_stream_test.h"

static int64_t began_ns;

static int64_t seconds_passed(void)
{
    return (bk_now().ns - began_ns) / 1000000000;
}

struct receiver {
    struct raw raw;
    bk_task *task;
    int r;
    int64_t ended; /* seconds after the beginning */
};

static int receive_to_the_end(void *ctx)
{
    struct receiver *receiver = ctx;
    bk_msg *msg = NULL;
    while ((receiver->r = bk_ws_recv(receiver->raw.ws, &msg)) > 0)
        bk_msg_free(&msg);
    receiver->ended = seconds_passed();
    return 0;
}

/* A server with a raw peer, and a task that receives. */
static int begin(struct receiver *receiver, const bk_ws_opts *opts)
{
    *receiver = (struct receiver){.r = 1};
    int r = open_raw(&receiver->raw, opts);
    began_ns = bk_now().ns;
    return r < 0 ? r : bk_go(&receiver->task, receive_to_the_end, receiver, NULL);
}

static void end(struct receiver *receiver)
{
    bk_task_cancel(receiver->task);
    bk_task_wait(receiver->task, NULL);
    bk_task_free(&receiver->task);
    close_raw(&receiver->raw);
}

/* The ping that has come, its payload in *payload; or not. */
static bool heard_ping(const struct raw *raw, char payload[5])
{
    char buf[100];
    ssize_t n = hear(raw, buf, sizeof buf);
    if (n != 6 || memcmp(buf, "\x89\x04", 2) != 0)
        return false;
    memcpy(payload, buf + 2, 4);
    payload[4] = '\0';
    return true;
}

static void send_pong(const struct raw *raw, const char *payload, size_t len)
{
    char frame[100];
    size_t n = put_frame(frame, 0x8a, payload, len);
    CHECK_EQ(write(raw->peer, frame, n), (ssize_t)n);
}

LOOP_TEST(a_ping_every_20_seconds_by_default)
{
    struct receiver receiver;
    char payload[5], last[5] = "";
    CHECK_EQ(begin(&receiver, NULL), 0);
    for (int i = 0; i < 5; i++) {
        bk_sleep(bk_ms(19999));
        CHECK(!heard_ping(&receiver.raw, payload));
        bk_sleep(bk_ms(1));
        CHECK(heard_ping(&receiver.raw, payload));
        CHECK(memcmp(payload, last, 4) != 0);
        memcpy(last, payload, 4);
        send_pong(&receiver.raw, payload, 4);
    }
    CHECK_EQ(receiver.r, 1);
    end(&receiver);
}

LOOP_TEST(no_pong_within_20_seconds_ends_the_connection)
{
    struct receiver receiver;
    char buf[100];
    CHECK_EQ(begin(&receiver, NULL), 0);
    CHECK_EQ(bk_task_wait(receiver.task, NULL), 0);
    CHECK_EQ(receiver.r, -ETIMEDOUT);
    CHECK_EQ(receiver.ended, 40);
    CHECK_EQ(bk_ws_recv(receiver.raw.ws, &(bk_msg *){NULL}), -ETIMEDOUT);
    CHECK(bk_ws_send_text(receiver.raw.ws, "x", 1) < 0);
    ssize_t n = hear(&receiver.raw, buf, sizeof buf);
    CHECK_MEM(buf + 6, (size_t)n - 6, "\x88\x11\x03\xf3no pong in time", 19);
    CHECK_EQ(hear(&receiver.raw, buf, sizeof buf), 0); /* the stream's end */
    end(&receiver);
}

LOOP_TEST(intervals_are_options_and_can_be_turned_off)
{
    struct receiver receiver;
    char payload[5];
    bk_ws_opts quick = {.ping_interval = bk_seconds(5), .ping_timeout = bk_seconds(3)};
    CHECK_EQ(begin(&receiver, &quick), 0);
    bk_sleep(bk_seconds(5));
    CHECK(heard_ping(&receiver.raw, payload));
    send_pong(&receiver.raw, payload, 4);
    CHECK_EQ(bk_task_wait(receiver.task, NULL), 0);
    CHECK_EQ(receiver.r, -ETIMEDOUT);
    CHECK_EQ(receiver.ended, 13);
    end(&receiver);

    CHECK_EQ(begin(&receiver, &(bk_ws_opts){.ping_interval = bk_forever()}), 0);
    bk_sleep(bk_seconds(100000));
    CHECK(!heard_ping(&receiver.raw, payload));
    CHECK_EQ(receiver.r, 1);
    end(&receiver);

    CHECK_EQ(begin(&receiver, &(bk_ws_opts){.ping_timeout = bk_forever()}), 0);
    for (int i = 0; i < 10; i++) { /* nobody answers, nobody minds */
        bk_sleep(bk_seconds(20));
        CHECK(heard_ping(&receiver.raw, payload));
    }
    CHECK_EQ(receiver.r, 1);
    end(&receiver);
}

LOOP_TEST(only_the_pong_of_the_last_ping_counts)
{
    struct receiver receiver;
    char payload[5], other[5];
    CHECK_EQ(begin(&receiver, NULL), 0);
    bk_sleep(bk_seconds(20));
    CHECK(heard_ping(&receiver.raw, payload));
    send_pong(&receiver.raw, payload, 4);
    bk_sleep(bk_seconds(20));
    CHECK(heard_ping(&receiver.raw, other));
    send_pong(&receiver.raw, payload, 4);
    send_pong(&receiver.raw, "", 0);
    send_pong(&receiver.raw, other, 3);
    send_raw(&receiver.raw, 0x81, "a message is no answer");
    CHECK_EQ(bk_task_wait(receiver.task, NULL), 0);
    CHECK_EQ(receiver.r, -ETIMEDOUT);
    CHECK_EQ(receiver.ended, 60);
    end(&receiver);
}

/* A late pong answers as long as nobody has given up. */
LOOP_TEST(a_pong_may_take_its_time)
{
    struct receiver receiver;
    char payload[5];
    CHECK_EQ(begin(&receiver, NULL), 0);
    bk_sleep(bk_seconds(20));
    CHECK(heard_ping(&receiver.raw, payload));
    bk_sleep(bk_ms(19999));
    send_pong(&receiver.raw, payload, 4);
    bk_sleep(bk_ms(1));
    CHECK_EQ(receiver.r, 1);
    CHECK(heard_ping(&receiver.raw, payload)); /* the next is due at once */
    end(&receiver);
}

/* ---- When it cannot be judged ---- */

LOOP_TEST(nobody_is_judged_while_nobody_receives)
{
    struct raw raw;
    char payload[5];
    CHECK_EQ(open_raw(&raw, NULL), 0);
    bk_sleep(bk_seconds(20));
    CHECK(heard_ping(&raw, payload));
    bk_sleep(bk_seconds(500));
    CHECK(!heard_ping(&raw, payload));
    send_raw(&raw, 0x81, "here all the time");
    send_pong(&raw, payload, 4);
    check_receives(raw.ws, BK_TEXT, "here all the time");
    bk_sleep(bk_seconds(60));
    send_raw(&raw, 0x81, "still here");
    check_receives(raw.ws, BK_TEXT, "still here");
    close_raw(&raw);
}

/* Since no pong can come before its end. */
LOOP_TEST(nobody_is_judged_in_the_middle_of_a_long_frame)
{
    struct receiver receiver;
    static char frame[1000];
    size_t n = put_frame(frame, 0x82, frame + 500, 400);
    CHECK_EQ(begin(&receiver, NULL), 0);
    CHECK_EQ(write(receiver.raw.peer, frame, 10), 10);
    for (size_t at = 10; at < 110; at++) {
        CHECK_EQ(write(receiver.raw.peer, frame + at, 1), 1);
        bk_sleep(bk_seconds(10));
    }
    CHECK_EQ(receiver.r, 1);
    CHECK_EQ(write(receiver.raw.peer, frame + 110, n - 110), (ssize_t)n - 110);
    CHECK_EQ(bk_task_wait(receiver.task, NULL), 0);
    CHECK_EQ(receiver.r, -ETIMEDOUT);
    CHECK(receiver.ended > 1000 && receiver.ended <= 1040);
    end(&receiver);
}

/* ---- With senders ---- */

static int send_megabyte(void *ctx)
{
    static char block[1000 * 1000];
    return bk_ws_send_binary(ctx, block, sizeof block);
}

LOOP_TEST(a_sender_that_waits_for_a_silent_peer_is_freed)
{
    struct receiver receiver;
    bk_task *sender = NULL;
    int r = 0;
    CHECK_EQ(begin(&receiver, NULL), 0);
    set_buffer(bk_stream_fd(receiver.raw.ws->stream), SO_SNDBUF, 4096);
    CHECK_EQ(bk_go(&sender, send_megabyte, receiver.raw.ws, NULL), 0);
    CHECK_EQ(bk_task_wait(sender, &r), 0);
    CHECK(r < 0 && r != -ECANCELED);
    CHECK_EQ(seconds_passed(), 40);
    CHECK_EQ(bk_task_wait(receiver.task, NULL), 0);
    CHECK_EQ(receiver.r, -ETIMEDOUT);
    bk_task_free(&sender);
    end(&receiver);
}

LOOP_TEST(a_ping_waits_for_the_end_of_a_message)
{
    struct receiver receiver;
    bk_task *sender = NULL;
    static char heard[1000 * 1000 + 100];
    CHECK_EQ(begin(&receiver, NULL), 0);
    set_buffer(bk_stream_fd(receiver.raw.ws->stream), SO_SNDBUF, 4096);
    CHECK_EQ(bk_go(&sender, send_megabyte, receiver.raw.ws, NULL), 0);
    bk_sleep(bk_seconds(25));
    size_t total = 0, want = 10 + 1000 * 1000 + 6;
    for (int i = 0; i < 2000 && total < want; i++) {
        ssize_t n = hear(&receiver.raw, heard + total, sizeof heard - total);
        total += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            bk_sleep(bk_ms(1));
    }
    CHECK_EQ(total, want);
    CHECK_MEM(heard + want - 6, 2, "\x89\x04", 2);
    bk_task_wait(sender, NULL);
    bk_task_free(&sender);
    end(&receiver);
}

/* ---- Both roles ---- */

static int receive_until_closed(void *ctx)
{
    bk_msg *msg = NULL;
    int r = bk_ws_recv(ctx, &msg);
    bk_msg_free(&msg);
    return r;
}

LOOP_TEST(an_idle_connection_lives_by_its_pings)
{
    bk_ws *client = NULL, *server = NULL;
    bk_task *at_client = NULL, *at_server = NULL;
    int r = 1;
    CHECK_EQ(open_ws_pair(&client, &server, "/", NULL, NULL), 0);
    CHECK_EQ(bk_go(&at_client, receive_until_closed, client, NULL), 0);
    CHECK_EQ(bk_go(&at_server, receive_until_closed, server, NULL), 0);
    bk_sleep(bk_seconds(3605));
    CHECK(!bk_task_done(at_client) && !bk_task_done(at_server));
    CHECK_EQ(server->ping.number, 180);
    CHECK_EQ(client->ping.number, 180);
    CHECK_EQ(bk_ws_send_close(client, 1000, "enough"), 0);
    CHECK_EQ(bk_task_wait(at_server, &r), 0);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_task_wait(at_client, &r), 0);
    CHECK_EQ(r, 0);
    bk_sleep(bk_seconds(100)); /* and no ping after the end */
    CHECK_EQ(server->ping.number, 180);
    bk_task_free(&at_client);
    bk_task_free(&at_server);
    CHECK_EQ(bk_ws_close(&server, 0), 0);
    CHECK_EQ(bk_ws_close(&client, 0), 0);
}

LOOP_TEST(the_kernel_knows_how_long_silence_may_last)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_opts off = {.ping_interval = bk_forever()};
    unsigned ms = 1;
    socklen_t len = sizeof ms;
    CHECK_EQ(open_ws_pair(&client, &server, "/", &off, NULL), 0);
    CHECK_EQ(getsockopt(bk_stream_fd(server->stream), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len), 0);
    CHECK_EQ(ms, 40000);
    CHECK_EQ(getsockopt(bk_stream_fd(client->stream), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len), 0);
    CHECK_EQ(ms, 0);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

CHECK_MAIN(TEST(a_ping_every_20_seconds_by_default),
           TEST(no_pong_within_20_seconds_ends_the_connection),
           TEST(intervals_are_options_and_can_be_turned_off),
           TEST(only_the_pong_of_the_last_ping_counts), TEST(a_pong_may_take_its_time),
           TEST(nobody_is_judged_while_nobody_receives),
           TEST(nobody_is_judged_in_the_middle_of_a_long_frame),
           TEST(a_sender_that_waits_for_a_silent_peer_is_freed),
           TEST(a_ping_waits_for_the_end_of_a_message), TEST(an_idle_connection_lives_by_its_pings),
           TEST(the_kernel_knows_how_long_silence_may_last))
