/* SPDX-License-Identifier: MIT
 * The limits that a WebSocket has when nobody says otherwise: times, heads, messages, fragments.
 * (Those of pings are in ws_ping_test.c.) */
#include "proto/ws_stream_test.h"

static int64_t ms_since(bk_time start)
{
    return bk_time_since(bk_now(), start).ns / 1000000;
}

/* ---- Times ---- */

LOOP_TEST(a_server_waits_10_seconds_for_a_request)
{
    struct ends e;
    bk_ws *ws = NULL;
    char buf[300] = "";
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "GET /half a request");
    bk_time start = bk_now();
    CHECK_EQ(bk_ws_accept(&ws, &e.s, NULL), -ETIMEDOUT);
    CHECK_EQ(ms_since(start), 10000);
    CHECK(recv(e.peer, buf, sizeof buf - 1, MSG_DONTWAIT) > 0);
    CHECK(strstr(buf, "408 Request Timeout"));
    close_ends(&e);
}

static int accept_and_be_silent(void *ctx)
{
    bk_stream *s = NULL;
    int r = bk_accept(ctx, &s);
    if (r > 0)
        r = bk_sleep_forever();
    return bk_stream_close(&s, r);
}

LOOP_TEST(a_client_waits_10_seconds_for_an_answer)
{
    bk_listener *l = NULL;
    bk_task *task = NULL;
    bk_ws *ws = NULL;
    char url[100];
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_go(&task, accept_and_be_silent, l, NULL), 0);
    snprintf(url, sizeof url, "ws://%s/", bk_listener_address(l));
    bk_time start = bk_now();
    CHECK_EQ(bk_ws_connect(&ws, url, NULL), -ETIMEDOUT);
    CHECK_EQ(ms_since(start), 10000);
    bk_task_cancel(task);
    bk_task_wait(task, NULL);
    bk_task_free(&task);
    bk_listener_close(&l, 0);
}

LOOP_TEST(a_close_waits_10_seconds_for_the_peers)
{
    for (int received = 0; received < 2; received++) {
        struct raw raw;
        bk_msg *msg = NULL;
        CHECK_EQ(open_raw(&raw, NULL), 0);
        bk_time start = bk_now();
        if (received) {
            CHECK_EQ(bk_ws_send_close(raw.ws, 1000, NULL), 0);
            CHECK_EQ(bk_ws_recv(raw.ws, &msg), -ETIMEDOUT);
        } else {
            CHECK_EQ(bk_ws_close(&raw.ws, 0), -ETIMEDOUT);
        }
        CHECK_EQ(ms_since(start), 10000);
        close_raw(&raw);
    }
}

/* ---- Heads ---- */

/* A request whose target is of that length, and which has n further lines of that. */
static size_t make_request(char *head, int n, size_t line_len, size_t target_len)
{
    static const char rest[] =
        " HTTP/1.1\r\nHost: x\r\n" REQUEST_UPGRADE REQUEST_KEY REQUEST_VERSION;
    char *at = head;
    memcpy(at, "GET /", 5);
    memset(at + 5, 't', target_len);
    at += 5 + target_len;
    memcpy(at, rest, sizeof rest - 1);
    at += sizeof rest - 1;
    for (int i = 0; i < n; i++) {
        memcpy(at, "X: ", 3);
        memset(at + 3, 'v', line_len - 3);
        memcpy(at + line_len, "\r\n", 2);
        at += line_len + 2;
    }
    memcpy(at, "\r\n", 2);
    return (size_t)(at + 2 - head);
}

/* The status that answers it. */
static long status_of(int n, size_t line_len, size_t target_len)
{
    static char head[200000], answer[300];
    struct ends e;
    bk_ws *ws = NULL;
    size_t len = make_request(head, n, line_len, target_len);
    long status = 0;
    if (open_ends(&e, NULL) < 0)
        return -1;
    set_buffer(e.peer, SO_SNDBUF, 1 << 20);
    if (send(e.peer, head, len, MSG_DONTWAIT) != (ssize_t)len)
        return -2;
    if (bk_ws_accept(&ws, &e.s, NULL) == 0)
        bk_ws_flush(ws);
    memset(answer, 0, sizeof answer);
    if (recv(e.peer, answer, sizeof answer - 1, MSG_DONTWAIT) > 0)
        status = strtol(answer + sizeof "HTTP/1.1 " - 1, NULL, 10);
    bk_ws_close(&ws, -EIO);
    close_ends(&e);
    return status;
}

LOOP_TEST(a_head_has_100_fields_8_kib_lines_and_64_kib_in_all)
{
    CHECK_EQ(status_of(0, 0, 0), 101);
    CHECK_EQ(status_of(95, 10, 0), 101); /* five are the handshake's */
    CHECK_EQ(status_of(96, 10, 0), 431);
    CHECK_EQ(status_of(0, 0, 8192 - 16), 101); /* with the rest of its line */
    CHECK_EQ(status_of(0, 0, 8192 - 15), 414);
    CHECK_EQ(status_of(7, 8000, 0), 101);
    CHECK_EQ(status_of(9, 8000, 0), 431);
}

/* ---- Messages ---- */

/* Sends a message of len bytes in n frames; gives what the server makes of it. */
static int received_as(size_t len, size_t n, unsigned *code)
{
    struct raw raw;
    bk_msg *msg = NULL;
    char buf[200];
    char *frames = malloc(len + n * 14);
    size_t at = 0, each = len / n;
    for (size_t i = 0; i < n; i++) {
        int first_byte = (i == n - 1 ? 0x80 : 0) | (i == 0 ? 0x02 : 0x00);
        size_t size = i == n - 1 ? len - each * i : each;
        char *payload = calloc(size + 1, 1);
        at += put_frame(frames + at, first_byte, payload, size);
        free(payload);
    }
    int r = open_raw(&raw, NULL), ended = 1;
    for (size_t sent = 0; r == 0 && ended == 1 && sent < at;) {
        ssize_t put = send(raw.peer, frames + sent, at - sent, MSG_DONTWAIT);
        sent += put > 0 ? (size_t)put : 0;
        bk_timeout *limit = NULL;
        if (msg || bk_timeout_open(&limit, bk_ms(1)) < 0)
            break;
        int got = bk_timeout_close(&limit, bk_ws_recv(raw.ws, &msg));
        ended = got == -ETIMEDOUT ? 1 : got;
        if (got == 1)
            break;
    }
    free(frames);
    r = r < 0 ? r : msg ? (int)bk_msg_len(msg) : ended;
    bk_msg_free(&msg);
    bk_ws_flush(raw.ws);
    *code = 0;
    if (hear(&raw, buf, sizeof buf) >= 4)
        *code = (unsigned)(uint8_t)buf[2] << 8 | (uint8_t)buf[3];
    close_raw(&raw);
    return r;
}

LOOP_TEST(a_message_has_1_mib)
{
    unsigned code;
    CHECK_EQ(received_as(1 << 20, 1, &code), 1 << 20);
    CHECK_EQ(received_as(1 << 20, 7, &code), 1 << 20);
    CHECK_EQ(code, 0);
    CHECK_EQ(received_as((1 << 20) + 1, 1, &code), -EMSGSIZE);
    CHECK_EQ(code, 1009);
    CHECK_EQ(received_as((1 << 20) + 1, 7, &code), -EMSGSIZE);
    CHECK_EQ(code, 1009);
}

LOOP_TEST(a_message_has_16384_fragments)
{
    unsigned code;
    CHECK_EQ(received_as(16384, 16384, &code), 16384);
    CHECK_EQ(code, 0);
    CHECK_EQ(received_as(16385, 16385, &code), -EMSGSIZE);
    CHECK_EQ(code, 1009);
}

CHECK_MAIN(TEST(a_server_waits_10_seconds_for_a_request),
           TEST(a_client_waits_10_seconds_for_an_answer),
           TEST(a_close_waits_10_seconds_for_the_peers),
           TEST(a_head_has_100_fields_8_kib_lines_and_64_kib_in_all), TEST(a_message_has_1_mib),
           TEST(a_message_has_16384_fragments))
