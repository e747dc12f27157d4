/* SPDX-License-Identifier: MIT
 * WebSocket messages between both roles: sizes, kinds, pieces, portions, senders at once, limits,
 * cancels. */
#include "proto/ws_stream_test.h"

/* ---- Both roles ---- */

static bk_msg *make_message(size_t len, enum bk_msg_kind kind)
{
    bk_msg *msg = NULL;
    unsigned seed = (unsigned)len + 1;
    if (bk_msg_new(&msg, len) < 0)
        return NULL;
    for (size_t i = 0; i < len; i++)
        bk_msg_data(msg)[i] = (char)(kind == BK_TEXT ? 'a' + i % 26 : next_random(&seed));
    bk_msg_kind_set(msg, kind);
    return msg;
}

struct sending {
    bk_ws *ws;
    size_t len;
    enum bk_msg_kind kind;
};

static int send_one(void *ctx)
{
    struct sending *sending = ctx;
    bk_msg *msg = make_message(sending->len, sending->kind);
    int r = bk_ws_send(sending->ws, &msg);
    bk_msg_free(&msg);
    return r;
}

/* One message from a to b, which must come out as it went in. */
static void check_passes(bk_ws *a, bk_ws *b, size_t len, enum bk_msg_kind kind)
{
    struct sending sending = {a, len, kind};
    bk_task *task = NULL;
    bk_msg *got = NULL, *want = make_message(len, kind);
    CHECK_EQ(bk_go(&task, send_one, &sending, NULL), 0);
    int r = bk_ws_recv(b, &got), sent = 0;
    bool same = r == 1 && bk_msg_kind_get(got) == kind && bk_msg_len(got) == len &&
                memcmp(bk_msg_data(got), bk_msg_data(want), len) == 0;
    bk_task_wait(task, &sent);
    bk_task_free(&task);
    bk_msg_free(&got);
    bk_msg_free(&want);
    if (!same)
        fprintf(stderr, "... %zu bytes, %s\n", len, bk_errmsg());
    CHECK_EQ(sent, 0);
    CHECK_EQ(r, 1);
    CHECK(same);
}

LOOP_TEST(messages_of_every_size_pass_both_ways)
{
    static const size_t sizes[] = {0,    1,    125,  126,   127,   2047,  2048,   2049,
                                   4096, 8191, 8192, 65535, 65536, 65537, 200000, 1 << 20};
    bk_ws *client = NULL, *server = NULL;
    CHECK_EQ(open_ws_pair(&client, &server, "/", NULL, NULL), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_passes(client, server, sizes[i], BK_BINARY);
        check_passes(server, client, sizes[i], BK_TEXT);
        check_passes(client, server, sizes[i], BK_TEXT);
        check_passes(server, client, sizes[i], BK_BINARY);
    }
    CHECK_EQ(bk_ws_close(&server, -EIO), -EIO);
    CHECK_EQ(bk_ws_close(&client, -EIO), -EIO);
}

LOOP_TEST(sixteen_mebibytes_pass_both_ways)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_opts roomy = {.max_message = 16 << 20};
    CHECK_EQ(open_ws_pair(&client, &server, "/", &roomy, &roomy), 0);
    check_passes(client, server, 16 << 20, BK_BINARY);
    check_passes(server, client, 16 << 20, BK_TEXT);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

LOOP_TEST(a_wrong_text_is_not_sent)
{
    struct raw raw;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_send_text(raw.ws, "\xff", 1), -EINVAL);
    CHECK_EQ(bk_ws_send_binary(raw.ws, "\xff", 1), 0);
    CHECK_HEARD(&raw, "\x82\x01\xff");
    close_raw(&raw);
}

/* ---- What a raw peer sends ---- */

LOOP_TEST(fragments_make_one_message_with_pings_between)
{
    struct raw raw;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_raw(&raw, 0x01, "one ");
    send_raw(&raw, 0x89, "ping!");
    send_raw(&raw, 0x00, "two ");
    send_raw(&raw, 0x00, "");
    send_raw(&raw, 0x8a, "a pong nobody asked for");
    send_raw(&raw, 0x80, "three");
    check_receives(raw.ws, BK_TEXT, "one two three");
    CHECK_HEARD(&raw, "\x8a\x05ping!");
    close_raw(&raw);
}

/* The bytes of a whole conversation, and where their first portion ends. */
struct script {
    int fd;
    char bytes[400];
    size_t len, first;
};

static int play_script(void *ctx)
{
    struct script *script = ctx;
    bool each_byte = script->first == script->len;
    for (size_t at = 0; at < script->len;) {
        size_t n = each_byte ? 1 : at == 0 && script->first > 0 ? script->first : script->len - at;
        if (write(script->fd, script->bytes + at, n) != (ssize_t)n)
            return -errno;
        at += n;
        bk_sleep(bk_ms(1));
    }
    return 0;
}

static void play_in_portions(size_t first)
{
    struct raw raw;
    struct script script = {.first = first};
    bk_task *player = NULL;
    bk_msg *msg = NULL;
    char long_text[127];
    memset(long_text, 'L', 126);
    long_text[126] = '\0';
    char *at = script.bytes;
    at += put_frame(at, 0x01, "frag\xc3", 5);
    at += put_frame(at, 0x80,
                    "\xa9"
                    "ment",
                    5);
    at += put_frame(at, 0x89, "?", 1);
    at += put_frame(at, 0x82, long_text, 126);
    at += put_frame(at, 0x81, "", 0);
    at += put_frame(at, 0x88, "\x03\xe8_ok", 5);
    script.len = (size_t)(at - script.bytes);
    if (script.first > script.len)
        script.first = script.len;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    script.fd = raw.peer;
    CHECK_EQ(bk_go(&player, play_script, &script, NULL), 0);
    check_receives(raw.ws, BK_TEXT, "frag\xc3\xa9ment");
    check_receives(raw.ws, BK_BINARY, long_text);
    check_receives(raw.ws, BK_TEXT, "");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 0);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 0);
    CHECK_EQ(bk_ws_close_code(raw.ws), 1000);
    CHECK_STR(bk_ws_close_reason(raw.ws), "_ok");
    CHECK_HEARD(&raw, "\x8a\x01?\x88\x02\x03\xe8");
    bk_task_wait(player, NULL);
    bk_task_free(&player);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), 0);
    close_raw(&raw);
}

LOOP_TEST(frames_come_in_any_portions)
{
    int before = check_failures;
    for (size_t first = 0; first <= 191 && check_failures == before; first++)
        play_in_portions(first);
}

static int count_turns(void *ctx)
{
    int *n = ctx;
    while (bk_yield() == 0)
        ++*n;
    return 0;
}

LOOP_TEST(many_small_messages_cost_few_suspensions)
{
    struct raw raw;
    static char bytes[1000 * 10];
    bk_task *counter = NULL;
    int n_turns = 0;
    size_t len = 0;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    for (int i = 0; i < 1000; i++)
        len += put_frame(bytes + len, 0x82, "1234", 4);
    CHECK_EQ(write(raw.peer, bytes, len), (ssize_t)len);
    CHECK_EQ(bk_go(&counter, count_turns, &n_turns, NULL), 0);
    for (int i = 0; i < 1000; i++)
        check_receives(raw.ws, BK_BINARY, "1234");
    CHECK(n_turns < 400); /* the budget of a turn or two, not one for each message */
    bk_task_cancel(counter);
    bk_task_wait(counter, NULL);
    bk_task_free(&counter);
    close_raw(&raw);
}

/* ---- Faults and limits ---- */

/* The peer sends a frame; the server gives up with result, tells code, and stays so. */
static void check_refused(int first_byte, const char *payload, int result, unsigned code,
                          const char *why)
{
    struct raw raw;
    bk_msg *msg = NULL;
    char buf[200];
    CHECK_EQ(open_raw(&raw, &(bk_ws_opts){.max_message = 8, .max_fragments = 3}), 0);
    send_raw(&raw, first_byte, payload);
    int r = bk_ws_recv(raw.ws, &msg);
    bool said = strstr(bk_errmsg(), why) != NULL;
    CHECK_EQ(r, result);
    CHECK(said);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), result);
    CHECK_EQ(bk_ws_send_text(raw.ws, "x", 1), -BK_ECLOSED);
    bk_ws_flush(raw.ws);
    ssize_t n = hear(&raw, buf, sizeof buf);
    CHECK(n >= 4);
    CHECK_EQ((uint8_t)buf[0], 0x88);
    CHECK_EQ((uint8_t)buf[2] << 8 | (uint8_t)buf[3], code);
    shutdown(raw.peer, SHUT_WR);
    CHECK_EQ(bk_ws_close(&raw.ws, r), result);
    close_raw(&raw);
}

LOOP_TEST(a_fault_ends_the_connection_with_its_code)
{
    check_refused(0x83, "x", -BK_EPROTO, 1002, "a reserved opcode");
    check_refused(0xc1, "x", -BK_EPROTO, 1002, "a reserved bit");
    check_refused(0x80, "x", -BK_EPROTO, 1002, "a continuation frame");
    check_refused(0x81, "\xc0\x80", -BK_EPROTO, 1007, "not UTF-8");
    check_refused(0x88, "\x03\xed", -BK_EPROTO, 1002, "a code that must not be sent");
    check_refused(0x81, "123456789", -EMSGSIZE, 1009, "over the size limit");
}

LOOP_TEST(limits_count_all_fragments)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_raw(&raw, &(bk_ws_opts){.max_message = 8, .max_fragments = 3}), 0);
    send_raw(&raw, 0x01, "1234");
    send_raw(&raw, 0x00, "56");
    send_raw(&raw, 0x80, "78");
    check_receives(raw.ws, BK_TEXT, "12345678");
    send_raw(&raw, 0x01, "1234");
    send_raw(&raw, 0x80, "56789");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -EMSGSIZE);
    close_raw(&raw);
    CHECK_EQ(open_raw(&raw, &(bk_ws_opts){.max_message = 8, .max_fragments = 3}), 0);
    send_raw(&raw, 0x01, "1");
    for (int i = 0; i < 3; i++)
        send_raw(&raw, 0x00, "1");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -EMSGSIZE);
    CHECK(strstr(bk_errmsg(), "too many fragments") != NULL);
    close_raw(&raw);
}

LOOP_TEST(a_connection_that_just_ends_is_reset)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_raw(&raw, 0x01, "half a message");
    shutdown(raw.peer, SHUT_WR);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -ECONNRESET);
    CHECK(strstr(bk_errmsg(), "without a close frame") != NULL);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -ECONNRESET);
    CHECK_EQ(bk_ws_close_code(raw.ws), 1006);
    close_raw(&raw);
}

/* ---- Several tasks ---- */

enum { SENDERS = 4, EACH = 40, LENGTH = 9000 };

struct sender {
    bk_ws *ws;
    char letter;
    int n_sent;
};

static int send_many(void *ctx)
{
    struct sender *sender = ctx;
    char text[LENGTH];
    memset(text, sender->letter, sizeof text);
    for (; sender->n_sent < EACH; sender->n_sent++) {
        size_t len = sender->n_sent % 3 == 0 ? 10 : sizeof text;
        int r = bk_ws_send_text(sender->ws, text, len);
        if (r < 0)
            return r;
    }
    return 0;
}

static void check_many_senders(bk_ws *from, bk_ws *to)
{
    struct sender senders[SENDERS];
    bk_group *group = NULL;
    int n_from[SENDERS] = {0};
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){from, (char)('A' + i), 0};
        CHECK_EQ(bk_group_go(group, send_many, &senders[i], NULL), 0);
    }
    for (int i = 0; i < SENDERS * EACH; i++) {
        bk_msg *msg = NULL;
        CHECK_EQ(bk_ws_recv(to, &msg), 1);
        const char *text = bk_msg_data(msg);
        size_t len = bk_msg_len(msg);
        bool pure = memcmp(text, text + 1, len - 1) == 0; /* one letter all through */
        n_from[text[0] - 'A']++;
        bk_msg_free(&msg);
        CHECK(pure);
        CHECK(len == 10 || len == LENGTH);
    }
    for (int i = 0; i < SENDERS; i++)
        CHECK_EQ(n_from[i], EACH);
    CHECK_EQ(bk_group_close(&group, 0), 0);
}

LOOP_TEST(senders_take_turns_with_whole_messages)
{
    bk_ws *client = NULL, *server = NULL;
    /* TCP with small buffers takes real time, which virtual time passes by: without pings. */
    bk_ws_opts narrow = {.write_buffer = 1000, .ping_interval = {BK_FOREVER_NS}};
    CHECK_EQ(open_ws_pair(&client, &server, "/", &narrow, &narrow), 0);
    set_buffer(bk_stream_fd(client->stream), SO_SNDBUF, 4096);
    set_buffer(bk_stream_fd(server->stream), SO_SNDBUF, 4096);
    check_many_senders(client, server);
    check_many_senders(server, client);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

enum { FLOOD = 30, FLOOD_LENGTH = 200 * 1000 }; /* over write_buffer: sent in several steps */

static int flood(void *ctx)
{
    static char block[FLOOD_LENGTH];
    for (int i = 0; i < FLOOD; i++) {
        int r = bk_ws_send_binary(ctx, block, sizeof block);
        if (r == 0)
            r = bk_ws_ping(ctx, "are you there?", 14);
        if (r < 0)
            return r;
    }
    return 0;
}

static int count_flood(void *ctx)
{
    for (int i = 0; i < FLOOD; i++) {
        bk_msg *msg = NULL;
        int r = bk_ws_recv(ctx, &msg);
        bk_msg_free(&msg);
        if (r <= 0)
            return -EPROTO;
    }
    return 0;
}

/* Each side sends more than all buffers hold, and owes pongs, before it is read from. */
LOOP_TEST(two_busy_peers_do_not_wait_for_each_other)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_opts no_pings = {.ping_interval = {BK_FOREVER_NS}};
    CHECK_EQ(open_ws_pair(&client, &server, "/", &no_pings, &no_pings), 0);
    set_buffer(bk_stream_fd(client->stream), SO_SNDBUF, 4096);
    set_buffer(bk_stream_fd(server->stream), SO_SNDBUF, 4096);
    bk_call calls[] = {{flood, client, "client sends", 0},
                       {flood, server, "server sends", 0},
                       {count_flood, client, "client receives", 0},
                       {count_flood, server, "server receives", 0}};
    CHECK_EQ(bk_gather(calls, 4, NULL), 0);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

static int receive_one(void *ctx)
{
    bk_msg *msg = NULL;
    int r = bk_ws_recv(ctx, &msg);
    bk_msg_free(&msg);
    return r;
}

static int send_megabyte(void *ctx)
{
    static char block[1000 * 1000];
    return bk_ws_send_binary(ctx, block, sizeof block);
}

/* Asked in the middle of a long message: answered behind it, once, with the last question. */
LOOP_TEST(a_pong_waits_for_the_end_of_a_message)
{
    struct raw raw;
    bk_task *sender = NULL, *receiver = NULL;
    static char heard[1000 * 1000 + 100];
    int r = -1;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    set_buffer(bk_stream_fd(raw.ws->stream), SO_SNDBUF, 4096);
    CHECK_EQ(bk_go(&sender, send_megabyte, raw.ws, NULL), 0);
    CHECK_EQ(bk_go(&receiver, receive_one, raw.ws, NULL), 0);
    bk_sleep(bk_ms(1));
    send_raw(&raw, 0x89, "1");
    send_raw(&raw, 0x89, "2");
    bk_sleep(bk_ms(1));
    size_t total = 0, want = 10 + 1000 * 1000 + 3;
    for (int i = 0; i < 2000 && total < want; i++) {
        ssize_t n = hear(&raw, heard + total, sizeof heard - total);
        total += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            bk_sleep(bk_ms(1));
    }
    CHECK_EQ(total, want);
    CHECK_MEM(heard + want - 3, 3, "\x8a\x01\x32", 3);
    CHECK_EQ(bk_task_wait(sender, &r), 0);
    CHECK_EQ(r, 0);
    send_raw(&raw, 0x81, "done");
    CHECK_EQ(bk_task_wait(receiver, &r), 0);
    CHECK_EQ(r, 1);
    bk_task_free(&sender);
    bk_task_free(&receiver);
    close_raw(&raw);
}

LOOP_TEST(a_second_receiver_is_refused)
{
    struct raw raw;
    bk_msg *msg = NULL;
    bk_task *task = NULL;
    int r = 0;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_go(&task, receive_one, raw.ws, NULL), 0);
    bk_yield();
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -EBUSY);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), -EBUSY);
    CHECK(raw.ws != NULL);
    send_raw(&raw, 0x81, "x");
    CHECK_EQ(bk_task_wait(task, &r), 0);
    CHECK_EQ(r, 1);
    bk_task_free(&task);
    close_raw(&raw);
}

/* ---- Cancels ---- */

struct receiving {
    bk_ws *ws;
    bk_msg *msg;
};

static int receive_into(void *ctx)
{
    struct receiving *receiving = ctx;
    return bk_ws_recv(receiving->ws, &receiving->msg);
}

/* A message trickles in, and each time the receive is cancelled. */
static void check_cancelled_receives(size_t len, size_t portion)
{
    struct raw raw;
    char *payload = malloc(len), *frame = malloc(len + 14);
    unsigned seed = 1;
    for (size_t i = 0; i < len; i++)
        payload[i] = (char)next_random(&seed);
    size_t size = put_frame(frame, 0x82, payload, len);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    struct receiving receiving = {raw.ws, NULL};
    int r = -ETIMEDOUT;
    for (size_t at = 0; at < size; at += portion) {
        CHECK_EQ(r, -ETIMEDOUT);
        size_t n = size - at < portion ? size - at : portion;
        CHECK_EQ(write(raw.peer, frame + at, n), (ssize_t)n);
        r = bk_wait_for(receive_into, &receiving, bk_ms(1));
    }
    CHECK_EQ(r, 1);
    bool same =
        bk_msg_len(receiving.msg) == len && memcmp(bk_msg_data(receiving.msg), payload, len) == 0;
    bk_msg_free(&receiving.msg);
    free(payload);
    free(frame);
    CHECK(same);
    close_raw(&raw);
}

LOOP_TEST(cancelled_receives_lose_nothing)
{
    check_cancelled_receives(20, 1);
    check_cancelled_receives(70000, 9999);
    check_cancelled_receives(500000, 100000);
}

struct handing {
    bk_ws *ws;
    bk_msg *msg;
};

static int send_handed(void *ctx)
{
    struct handing *handing = ctx;
    return bk_ws_send(handing->ws, &handing->msg);
}

LOOP_TEST(a_cancelled_send_gives_the_message_back_or_breaks_the_connection)
{
    struct raw raw;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    set_buffer(bk_stream_fd(raw.ws->stream), SO_SNDBUF, 4096);
    struct handing first = {raw.ws, make_message(1 << 20, BK_BINARY)};
    struct handing second = {raw.ws, make_message(10, BK_BINARY)};
    bk_task *large = NULL;
    int r = 0;
    CHECK_EQ(bk_go(&large, send_handed, &first, NULL), 0);
    bk_yield();
    CHECK_EQ(bk_wait_for(send_handed, &second, bk_ms(1)), -ETIMEDOUT); /* waited for its turn */
    CHECK(second.msg != NULL);
    bk_task_cancel(large);
    CHECK_EQ(bk_task_wait(large, &r), 0);
    CHECK_EQ(r, -ECANCELED);
    CHECK(first.msg == NULL);
    CHECK_EQ(bk_ws_send(raw.ws, &second.msg), -EPIPE);
    CHECK(second.msg != NULL);
    bk_msg_free(&second.msg);
    bk_task_free(&large);
    close_raw(&raw);
}

CHECK_MAIN(TEST(messages_of_every_size_pass_both_ways), TEST(sixteen_mebibytes_pass_both_ways),
           TEST(a_wrong_text_is_not_sent), TEST(fragments_make_one_message_with_pings_between),
           TEST(frames_come_in_any_portions), TEST(many_small_messages_cost_few_suspensions),
           TEST(a_fault_ends_the_connection_with_its_code), TEST(limits_count_all_fragments),
           TEST(a_connection_that_just_ends_is_reset), TEST(senders_take_turns_with_whole_messages),
           TEST(two_busy_peers_do_not_wait_for_each_other),
           TEST(a_pong_waits_for_the_end_of_a_message), TEST(a_second_receiver_is_refused),
           TEST(cancelled_receives_lose_nothing),
           TEST(a_cancelled_send_gives_the_message_back_or_breaks_the_connection))
