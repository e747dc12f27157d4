/* SPDX-License-Identifier: MIT
 * Hubs: one message for many connections; those that are slow, leave, compress, or are in the
 * middle of something else. */
#include "base/msg_internal.h"
#include "proto/ws_stream_test.h"

enum { MANY = 5, LARGE = 20000 };

/* What a raw peer has heard and not looked at. */
struct reader {
    char bytes[LARGE * 2];
    size_t n;
};

struct room {
    bk_ws_hub *hub;
    struct raw raws[MANY];
    struct reader *readers;
    int n;
};

static int open_room(struct room *room, int n, const bk_ws_hub_opts *opts)
{
    bk_ws_opts no_pings = {.ping_interval = bk_forever(), .write_buffer = 4096};
    *room = (struct room){.n = n, .readers = calloc(MANY, sizeof(struct reader))};
    int r = bk_ws_hub_new(&room->hub, opts);
    for (int i = 0; i < n && r == 0; i++) {
        r = open_raw(&room->raws[i], &no_pings);
        if (r == 0)
            r = bk_ws_hub_add(room->hub, room->raws[i].ws);
        if (r == 0)
            set_buffer(bk_stream_fd(room->raws[i].ws->stream), SO_SNDBUF, 4096);
    }
    return r;
}

static void close_room(struct room *room)
{
    for (int i = 0; i < room->n; i++)
        close_raw(&room->raws[i]);
    bk_ws_hub_free(&room->hub);
    free(room->readers);
}

static int hub_send(bk_ws_hub *hub, const char *text, size_t len)
{
    bk_msg *msg = NULL;
    int r = bk_msg_copy(&msg, text, len);
    if (r == 0)
        r = bk_ws_hub_send(hub, &msg);
    if ((r >= 0) != (msg == NULL))
        r = -EPROTO;
    bk_msg_free(&msg);
    return r;
}

static const char *large(char c)
{
    static char text[LARGE];
    memset(text, c, sizeof text);
    return text;
}

/* Reads what a member gets, up to `want` bytes of it: "abc" for three large messages of those
 * letters, small messages as they are. */
static const char *frames_of(struct room *room, int i, size_t want)
{
    static char seen[200];
    struct reader *in = &room->readers[i];
    size_t n_seen = 0;
    memset(seen, 0, sizeof seen);
    for (int idle = 0; idle < 20 && n_seen < want;) {
        struct bki_ws_frame f;
        int head = bki_ws_frame_read(&f, in->bytes, in->n);
        if (head > 0 && in->n >= (size_t)head + f.len) {
            size_t show = f.len == LARGE ? 1 : f.len;
            memcpy(seen + n_seen, in->bytes + head, show);
            n_seen += show;
            in->n -= (size_t)head + f.len;
            memmove(in->bytes, in->bytes + head + f.len, in->n);
            continue;
        }
        ssize_t got = hear(&room->raws[i], in->bytes + in->n, sizeof in->bytes - in->n);
        idle = got > 0 ? 0 : idle + 1;
        in->n += got > 0 ? (size_t)got : 0;
        if (got <= 0)
            bk_sleep(bk_ms(1));
    }
    return seen;
}

LOOP_TEST(a_message_goes_to_every_connection)
{
    struct room room;
    CHECK_EQ(open_room(&room, 3, NULL), 0);
    CHECK_EQ(bk_ws_hub_count(room.hub), 3);
    CHECK_EQ(hub_send(room.hub, "hello", 5), 3);
    for (int i = 0; i < 3; i++)
        CHECK_HEARD(&room.raws[i], "\x81\x05hello");
    bk_ws_hub_remove(room.hub, room.raws[1].ws);
    bk_ws_hub_remove(room.hub, room.raws[1].ws);
    CHECK_EQ(hub_send(room.hub, "", 0), 2);
    CHECK_HEARD(&room.raws[0], "\x81\x00");
    CHECK_EQ(hear(&room.raws[1], (char[10]){0}, 10), -1);
    CHECK_EQ(bk_ws_hub_add(room.hub, room.raws[0].ws), -EALREADY);
    CHECK_EQ(bk_ws_hub_add(room.hub, room.raws[1].ws), 0);
    bk_ws_close(&room.raws[2].ws, -EIO); /* a close takes it out */
    CHECK_EQ(bk_ws_hub_count(room.hub), 2);
    CHECK_EQ(hub_send(room.hub, "\xff", 1), -EINVAL);
    bk_msg *binary = NULL;
    CHECK_EQ(bk_msg_copy(&binary, "\xff", 1), 0);
    bk_msg_kind_set(binary, BK_BINARY);
    CHECK_EQ(bk_ws_hub_send(room.hub, &binary), 2);
    CHECK_HEARD(&room.raws[1], "\x82\x01\xff");
    close_room(&room);
}

LOOP_TEST(an_empty_hub_takes_messages)
{
    bk_ws_hub *hub = NULL;
    CHECK_EQ(bk_ws_hub_new(&hub, NULL), 0);
    CHECK_EQ(hub_send(hub, "x", 1), 0);
    bk_ws_hub_free(&hub);
    bk_ws_hub_free(&hub);
}

LOOP_TEST(a_connection_may_be_in_several_hubs_and_outlive_them)
{
    struct room room;
    bk_ws_hub *other = NULL;
    CHECK_EQ(open_room(&room, 2, NULL), 0);
    CHECK_EQ(bk_ws_hub_new(&other, NULL), 0);
    CHECK_EQ(bk_ws_hub_add(other, room.raws[0].ws), 0);
    CHECK_EQ(hub_send(other, "1", 1), 1);
    CHECK_EQ(hub_send(room.hub, "2", 1), 2);
    CHECK_HEARD(&room.raws[0], "\x81\x01\x31\x81\x01\x32");
    bk_ws_hub_free(&room.hub);
    CHECK_EQ(hub_send(other, "3", 1), 1);
    CHECK_HEARD(&room.raws[0], "\x81\x01\x33");
    bk_ws_close(&room.raws[0].ws, -EIO);
    CHECK_EQ(bk_ws_hub_count(other), 0);
    bk_ws_hub_free(&other);
    close_room(&room);
}

/* ---- Slow ones ---- */

static int receive_end(void *ctx)
{
    bk_msg *msg = NULL;
    int r = bk_ws_recv(ctx, &msg);
    bk_msg_free(&msg);
    return r;
}

LOOP_TEST(a_slow_connection_is_cut_off_by_default)
{
    struct room room;
    bk_task *task = NULL;
    int r = 0, n = 0;
    CHECK_EQ(open_room(&room, 2, NULL), 0);
    CHECK_EQ(bk_go(&task, receive_end, room.raws[1].ws, NULL), 0);
    bk_yield();
    while (n < 200 && bk_ws_hub_missed(room.hub) == 0) {
        hub_send(room.hub, large('a'), LARGE);
        CHECK_STR(frames_of(&room, 0, 1), "a"); /* who reads gets all */
        n++;
    }
    CHECK(n > 64 && n < 80); /* the backlog, and what the kernel and the stream took */
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, -BK_ELIMIT);
    CHECK_EQ(bk_ws_recv(room.raws[1].ws, &(bk_msg *){NULL}), -BK_ELIMIT);
    CHECK(bk_ws_send_text(room.raws[1].ws, "x", 1) < 0);
    CHECK_EQ(hub_send(room.hub, "b", 1), 1);
    bk_task_free(&task);
    close_room(&room);
}

LOOP_TEST(a_slow_connection_may_miss_messages)
{
    struct room room;
    char letters[] = "abcdefghijklmnopqrstuvwxyz";
    CHECK_EQ(open_room(&room, 2, &(bk_ws_hub_opts){.slow = BK_WS_SLOW_SKIP, .backlog = 3}), 0);
    int got = 0;
    for (int i = 0; i < 26; i++) {
        got += hub_send(room.hub, large(letters[i]), LARGE) - 1;
        CHECK_EQ(frames_of(&room, 0, 1)[0], letters[i]);
    }
    CHECK(got >= 4 && got < 15);
    CHECK_EQ(bk_ws_hub_missed(room.hub), 26 - got);
    letters[got] = '\0';
    CHECK_STR(frames_of(&room, 1, (size_t)got), letters);
    CHECK_EQ(hub_send(room.hub, "now it is awake", 15), 2);
    CHECK_STR(frames_of(&room, 1, 15), "now it is awake");
    close_room(&room);
}

struct sender {
    bk_ws_hub *hub;
    int n;
    bool cancelled;
};

static int send_the_alphabet(void *ctx)
{
    struct sender *sender = ctx;
    for (; sender->n < 26; sender->n++) {
        int r = hub_send(sender->hub, large((char)('a' + sender->n)), LARGE);
        if (r < 0)
            return r;
    }
    return 0;
}

/* With 26 messages under way, who reads is given the next ones; the others only what fits. */
LOOP_TEST(the_sender_may_wait_for_slow_connections)
{
    struct room room;
    bk_task *task = NULL;
    int r = -1;
    CHECK_EQ(open_room(&room, 3, &(bk_ws_hub_opts){.slow = BK_WS_SLOW_WAIT, .backlog = 2}), 0);
    struct sender sender = {.hub = room.hub};
    CHECK_EQ(bk_go(&task, send_the_alphabet, &sender, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK(sender.n >= 2 && sender.n < 10);
    for (int i = 0, at[3] = {0}; i < 26 * 3; i++) { /* in turn, a message each */
        char got = frames_of(&room, i % 3, 1)[0];
        CHECK_EQ(got, 'a' + at[i % 3]);
        at[i % 3]++;
    }
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&task);
    close_room(&room);
}

LOOP_TEST(a_sender_stops_waiting_when_the_slow_one_leaves)
{
    for (int way = 0; way < 3; way++) {
        struct room room;
        bk_task *task = NULL;
        int r = -1;
        CHECK_EQ(open_room(&room, 1, &(bk_ws_hub_opts){.slow = BK_WS_SLOW_WAIT, .backlog = 2}), 0);
        struct sender first = {.hub = room.hub};
        CHECK_EQ(bk_go(&task, send_the_alphabet, &first, NULL), 0);
        bk_sleep(bk_ms(1));
        CHECK(first.n < 10);
        if (way == 0)
            bk_ws_hub_remove(room.hub, room.raws[0].ws);
        else if (way == 1)
            bk_ws_close(&room.raws[0].ws, -EIO);
        else
            bk_task_cancel(task);
        CHECK_EQ(bk_task_wait(task, &r), 0);
        CHECK_EQ(r, way == 2 ? -ECANCELED : 0);
        bk_task_free(&task);
        close_room(&room);
    }
}

LOOP_TEST(messages_of_several_senders_keep_one_order_for_all)
{
    struct room room;
    bk_group *group = NULL;
    char first[60], second[60];
    CHECK_EQ(open_room(&room, 2, &(bk_ws_hub_opts){.slow = BK_WS_SLOW_WAIT, .backlog = 2}), 0);
    struct sender a = {.hub = room.hub}, b = {.hub = room.hub};
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    bk_group_go(group, send_the_alphabet, &a, NULL);
    bk_group_go(group, send_the_alphabet, &b, NULL);
    for (int i = 0; i < 52; i++) {
        first[i] = frames_of(&room, 0, 1)[0];
        second[i] = frames_of(&room, 1, 1)[0];
    }
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_MEM(first, 52, second, 52);
    close_room(&room);
}

/* ---- In the middle of something else ---- */

/* What a task sends and what a hub sends come in the order in which they were sent. */
LOOP_TEST(a_hub_and_its_connections_keep_the_order)
{
    struct room room;
    bk_ws_part part = {bk_span_str("1"), BK_TEXT, true, false};
    CHECK_EQ(open_room(&room, 1, NULL), 0);
    bk_ws *ws = room.raws[0].ws;
    CHECK_EQ(bk_ws_send_text(ws, "x", 1), 0);
    CHECK_EQ(hub_send(room.hub, "y", 1), 1);
    CHECK_EQ(bk_ws_send_part(ws, &part), 0);
    CHECK_EQ(hub_send(room.hub, "z", 1), 1); /* not between the parts of a message */
    CHECK_EQ(bk_ws_ping(ws, "", 0), 0);
    part = (bk_ws_part){bk_span_str("2"), BK_TEXT, false, true};
    CHECK_EQ(bk_ws_send_part(ws, &part), 0);
    CHECK_EQ(bk_ws_send_text(ws, "!", 1), 0);
    CHECK_HEARD(&room.raws[0],
                "\x81\x01x\x81\x01y\x01\x01\x31\x89\x00\x80\x01\x32\x81\x01z\x81\x01!");
    close_room(&room);
}

static int send_letter(void *ctx)
{
    return bk_ws_send_text(ctx, "T", 1);
}

/* The outbox has its turn, then a task that waits, then what came later. */
LOOP_TEST(a_task_is_not_kept_waiting_by_a_busy_hub)
{
    struct room room;
    bk_task *task = NULL;
    char want[100] = "";
    CHECK_EQ(open_room(&room, 1, NULL), 0);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(hub_send(room.hub, large('a'), LARGE), 1);
    CHECK_EQ(bk_go(&task, send_letter, room.raws[0].ws, NULL), 0);
    bk_yield();
    for (int i = 0; i < 10; i++)
        CHECK_EQ(hub_send(room.hub, large('b'), LARGE), 1);
    const char *seen = frames_of(&room, 0, 21);
    snprintf(want, sizeof want, "%s", seen);
    CHECK_EQ(strlen(want), 21);
    const char *t = strchr(want, 'T');
    CHECK(t && t - want >= 10 && t - want < 20); /* not behind them all */
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    close_room(&room);
}

LOOP_TEST(a_pong_does_not_wait_for_the_whole_backlog)
{
    struct room room;
    CHECK_EQ(open_room(&room, 1, NULL), 0);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(hub_send(room.hub, large('a'), LARGE), 1);
    send_raw(&room.raws[0], 0x89, "P");
    send_raw(&room.raws[0], 0x81, "x");
    check_receives(room.raws[0].ws, BK_TEXT, "x");
    const char *seen = frames_of(&room, 0, 11);
    const char *p = strchr(seen, 'P');
    CHECK(p && p - seen < 10);
    close_room(&room);
}

struct closing {
    struct raw *raw;
    int r;
};

static int close_in_order(void *ctx)
{
    struct closing *closing = ctx;
    closing->r = bk_ws_close(&closing->raw->ws, 0);
    return 0;
}

LOOP_TEST(an_orderly_close_sends_what_waits)
{
    struct room room;
    bk_task *task = NULL;
    CHECK_EQ(open_room(&room, 1, NULL), 0);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(hub_send(room.hub, large('a'), LARGE), 1);
    struct closing closing = {&room.raws[0], -1};
    CHECK_EQ(bk_go(&task, close_in_order, &closing, NULL), 0);
    CHECK_STR(frames_of(&room, 0, 12), "aaaaaaaaaa\x03\xe8");
    send_raw(&room.raws[0], 0x88, "\x03\xe8");
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    CHECK_EQ(closing.r, 0);
    bk_task_free(&task);
    close_room(&room);
}

/* ---- Forms of frames ---- */

static void check_both_get(bk_ws *a, bk_ws *b, const char *text)
{
    check_receives(a, BK_TEXT, text);
    check_receives(b, BK_TEXT, text);
}

/* One compressed frame for all that compress, whatever they have in their contexts. */
LOOP_TEST(compressed_once_for_all_that_compress)
{
    bk_ws *clients[4] = {NULL}, *servers[4] = {NULL};
    bk_ws_hub *hub = NULL;
    bk_ws_opts opts[4] = {{.deflate = {.on = true}},
                          {.deflate = {.on = true, .send_no_context = true}},
                          {.deflate = {.on = true, .send_window_bits = 9}},
                          {0}};
    static const char text[] = "the same words the same words the same words the same words "
                               "the same words the same words the same words";
    CHECK_EQ(bk_ws_hub_new(&hub, NULL), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(open_ws_pair(&clients[i], &servers[i], "/", &opts[0], &opts[i]), 0);
        CHECK_EQ(bk_ws_hub_add(hub, servers[i]), 0);
    }
    for (int round = 0; round < 4; round++) {
        CHECK_EQ(hub_send(hub, text, sizeof text - 1), 4);
        check_both_get(clients[0], clients[1], text);
        check_both_get(clients[2], clients[3], text);
        for (int i = 0; i < 4; i++) { /* and between them messages of their own */
            CHECK_EQ(bk_ws_send_text(servers[i], text + round, sizeof text - 1 - (size_t)round), 0);
            check_receives(clients[i], BK_TEXT, text + round);
        }
    }
    for (int i = 0; i < 4; i++) {
        bk_ws_close(&servers[i], -EIO);
        bk_ws_close(&clients[i], -EIO);
    }
    bk_ws_hub_free(&hub);
}

LOOP_TEST(clients_in_a_hub_mask_their_own)
{
    bk_ws *clients[2] = {NULL}, *servers[2] = {NULL};
    bk_ws_hub *hub = NULL;
    CHECK_EQ(bk_ws_hub_new(&hub, NULL), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(open_ws_pair(&clients[i], &servers[i], "/", NULL, NULL), 0);
        CHECK_EQ(bk_ws_hub_add(hub, clients[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(hub_send(hub, "a message", 9), 2);
        check_both_get(servers[0], servers[1], "a message");
    }
    for (int i = 0; i < 2; i++) {
        bk_ws_close(&servers[i], -EIO);
        bk_ws_close(&clients[i], -EIO);
    }
    bk_ws_hub_free(&hub);
}

/* ---- Memory ---- */

static size_t live_bytes;

static void *count_bytes(void *ptr, size_t size)
{
    size_t *block = ptr ? (size_t *)ptr - 2 : NULL;
    if (block)
        live_bytes -= block[0];
    if (size == 0) {
        free(block);
        return NULL;
    }
    block = realloc(block, size + 2 * sizeof *block);
    if (!block)
        return NULL;
    block[0] = size;
    live_bytes += size;
    return block + 2;
}

static void sharing_body(void)
{
    struct room room;
    CHECK_EQ(open_room(&room, MANY, NULL), 0);
    for (int i = 0; i < 3; i++) /* what the kernel and the streams take */
        CHECK_EQ(hub_send(room.hub, large('a'), LARGE), MANY);
    bki_msg_cache_trim();
    size_t before = live_bytes;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(hub_send(room.hub, large('b'), LARGE), MANY);
    bki_msg_cache_trim();
    size_t held = live_bytes - before;
    for (int i = 0; i < MANY; i++)
        CHECK_STR(frames_of(&room, i, 13), "aaabbbbbbbbbb");
    CHECK(held >= 10 * LARGE);
    CHECK(held < 11 * LARGE); /* and not that for each connection */
    close_room(&room);
}

static void what_waits_is_held_once(void)
{
    bk_set_allocator(count_bytes);
    run_in_loop(sharing_body);
    bki_msg_cache_trim();
    bk_set_allocator(NULL);
    CHECK_EQ(live_bytes, 0);
}

CHECK_MAIN(TEST(what_waits_is_held_once), TEST(a_message_goes_to_every_connection),
           TEST(an_empty_hub_takes_messages),
           TEST(a_connection_may_be_in_several_hubs_and_outlive_them),
           TEST(a_slow_connection_is_cut_off_by_default), TEST(a_slow_connection_may_miss_messages),
           TEST(the_sender_may_wait_for_slow_connections),
           TEST(a_sender_stops_waiting_when_the_slow_one_leaves),
           TEST(messages_of_several_senders_keep_one_order_for_all),
           TEST(a_hub_and_its_connections_keep_the_order),
           TEST(a_task_is_not_kept_waiting_by_a_busy_hub),
           TEST(a_pong_does_not_wait_for_the_whole_backlog),
           TEST(an_orderly_close_sends_what_waits), TEST(compressed_once_for_all_that_compress),
           TEST(clients_in_a_hub_mask_their_own))
