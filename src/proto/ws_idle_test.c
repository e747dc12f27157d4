/* SPDX-License-Identifier: MIT
 * What an idle WebSocket connection holds: one page of its task's stack, no buffer, two small
 * objects; also once it has been busy. */
#include <sys/mman.h>

#include "proto/ws_stream_test.h"

static int serve_one(void *ctx)
{
    bk_stream *s = NULL;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = bk_accept(ctx, &s);
    if (r > 0)
        r = bk_ws_accept(&ws, &s, NULL);
    while (r == 0 && (r = bk_ws_recv(ws, &msg)) > 0)
        r = bk_ws_send(ws, &msg);
    bk_msg_free(&msg);
    bk_stream_close(&s, -1);
    return bk_ws_close(&ws, r);
}

/* Pages of its stack that are in memory. */
static int stack_pages(const bk_task *task)
{
    unsigned char in_memory[1024];
    size_t size = bki_stack_size(task->stack), n = (size + 4095) / 4096;
    int count = 0;
    if (n > sizeof in_memory || mincore(bki_stack_low(task->stack), n * 4096, in_memory) != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        count += in_memory[i] & 1;
    return count;
}

static void dirty_the_stack(void)
{
    volatile char deep[20000];
    for (size_t i = 0; i < sizeof deep; i += 1000)
        deep[i] = 1;
}

static int receive_after_going_deep(void *ctx)
{
    bk_msg *msg = NULL;
    dirty_the_stack();
    int r = bk_ws_recv(ctx, &msg);
    bk_msg_free(&msg);
    return r;
}

static void check_echo(bk_ws *client, size_t len)
{
    static char bytes[100000];
    bk_msg *msg = NULL;
    CHECK_EQ(bk_ws_send_binary(client, bytes, len), 0);
    CHECK_EQ(bk_ws_recv(client, &msg), 1);
    bool same = bk_msg_len(msg) == len;
    bk_msg_free(&msg);
    CHECK(same);
    bk_yield();
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOST_PAGES 16 /* their frames are large */
#elif defined(__OPTIMIZE__)
#define MOST_PAGES 1
#else
#define MOST_PAGES 2
#endif

LOOP_TEST(an_idle_connection_holds_one_page_of_stack_and_no_buffer)
{
    bk_listener *l = NULL;
    bk_task *server = NULL;
    bk_ws *client = NULL;
    char url[100];
    int r = -1;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_go(&server, serve_one, l, NULL), 0);
    snprintf(url, sizeof url, "ws://%s/", bk_listener_address(l));
    CHECK_EQ(bk_ws_connect(&client, url, NULL), 0);
    bk_yield();
    CHECK(stack_pages(server) <= MOST_PAGES);
    check_echo(client, 100);
    CHECK(stack_pages(server) <= MOST_PAGES);
    check_echo(client, 100000);
    CHECK_EQ(bk_ws_close(&client, 0), 0);
    CHECK_EQ(bk_task_wait(server, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&server);
    bk_listener_close(&l, 0);
    CHECK(sizeof(struct bk_ws) + sizeof(struct bk_stream) <= 1200);
}

/* A program that went deep between two messages is relieved of that by the next ping. */
LOOP_TEST(a_ping_finds_stack_that_nobody_stands_on)
{
    struct raw raw;
    bk_task *task = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_go(&task, receive_after_going_deep, raw.ws, NULL), 0);
    bk_sleep(bk_seconds(1));
    int before = stack_pages(task);
    bk_sleep(bk_seconds(19));
    int after = stack_pages(task);
    bk_task_cancel(task);
    bk_task_wait(task, NULL);
    bk_task_free(&task);
    close_raw(&raw);
    CHECK(before >= 5);
    CHECK(after <= MOST_PAGES && after < before);
}

LOOP_TEST(a_connection_that_was_busy_gives_its_buffers_back)
{
    struct raw raw;
    bk_task *task = NULL;
    static char frame[60010], payload[59000];
    CHECK_EQ(open_raw(&raw, NULL), 0);
    size_t n = put_frame(frame, 0x82, payload, sizeof payload);
    CHECK_EQ(write(raw.peer, frame, n), (ssize_t)n);
    bk_msg *msg = NULL;
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 1);
    bk_msg_free(&msg);
    CHECK_EQ(bk_go(&task, receive_after_going_deep, raw.ws, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(raw.ws->stream->in.cap, 0);
    CHECK(!raw.ws->part);
    bk_task_cancel(task);
    bk_task_wait(task, NULL);
    bk_task_free(&task);
    close_raw(&raw);
}

CHECK_MAIN(TEST(an_idle_connection_holds_one_page_of_stack_and_no_buffer),
           TEST(a_ping_finds_stack_that_nobody_stands_on),
           TEST(a_connection_that_was_busy_gives_its_buffers_back))
