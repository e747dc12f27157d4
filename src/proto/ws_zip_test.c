/* SPDX-License-Identifier: MIT
 * Compressed WebSocket connections: agreed by both roles, every option, what is small, long, in
 * fragments, too large, or malformed; and what a connection holds in memory. */
#include "base/msg_internal.h"
#include "proto/ws_zip_fixture.h"

/* ---- Both roles ---- */

static bk_msg *make_message(size_t len, unsigned seed)
{
    static const char *const words[] = {"\"symbol\":", "\"price\":", "buy", "\xe2\x82\xac", "0."};
    bk_msg *msg = NULL;
    if (bk_msg_new(&msg, len) < 0)
        return NULL;
    char *data = bk_msg_data(msg);
    for (size_t at = 0; at < len;) {
        const char *word = words[next_random(&seed) % 5];
        size_t n = strlen(word);
        if (n > len - at)
            word = "1234567890", n = len - at;
        memcpy(data + at, word, n);
        at += n;
    }
    return msg;
}

struct passing {
    bk_ws *from;
    size_t len;
    unsigned seed;
};

static int send_one(void *ctx)
{
    struct passing *passing = ctx;
    bk_msg *msg = make_message(passing->len, passing->seed);
    int r = bk_ws_send(passing->from, &msg);
    bk_msg_free(&msg);
    return r;
}

static void check_passes(bk_ws *from, bk_ws *to, size_t len, unsigned seed)
{
    struct passing passing = {from, len, seed};
    bk_task *task = NULL;
    bk_msg *got = NULL, *want = make_message(len, seed);
    CHECK_EQ(bk_go(&task, send_one, &passing, NULL), 0);
    int r = bk_ws_recv(to, &got), sent = 0;
    bool same = r == 1 && bk_span_equal(bk_msg_span(got), bk_msg_span(want));
    bk_task_wait(task, &sent);
    bk_task_free(&task);
    bk_msg_free(&got);
    bk_msg_free(&want);
    CHECK_EQ(sent, 0);
    CHECK_EQ(r, 1);
    CHECK(same);
}

static void check_agreement(const bk_ws_opts *client_opts, const bk_ws_opts *server_opts,
                            const char *want)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 300, 5000, 70000, 300000, 1 << 20};
    bk_ws *client = NULL, *server = NULL;
    unsigned seed = 1;
    CHECK_EQ(open_ws_pair(&client, &server, "/", client_opts, server_opts), 0);
    CHECK_STR(bk_ws_extensions(client), want);
    CHECK_STR(bk_ws_extensions(server), want);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_passes(client, server, sizes[i], ++seed);
        check_passes(server, client, sizes[i], ++seed);
    }
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

#define NAME "permessage-deflate"

LOOP_TEST(both_roles_agree_and_messages_of_every_size_pass)
{
    bk_ws_opts plain = {0}, on = COMPRESSED(.level = 0),
               alone = COMPRESSED(.send_no_context = true),
               small = COMPRESSED(.send_window_bits = 9, .recv_window_bits = 10, .mem_level = 1,
                                  .level = 1),
               asking = COMPRESSED(.recv_no_context = true),
               least = COMPRESSED(.send_window_bits = 8, .recv_window_bits = 8, .min_size = 1);
    check_agreement(&plain, &on, "");
    check_agreement(&on, &plain, "");
    check_agreement(&on, &on, NAME);
    check_agreement(&alone, &on, NAME "; client_no_context_takeover");
    check_agreement(&on, &alone, NAME "; server_no_context_takeover");
    check_agreement(&asking, &alone, NAME "; server_no_context_takeover");
    check_agreement(&asking, &asking,
                    NAME "; server_no_context_takeover; client_no_context_takeover");
    check_agreement(&small, &on, NAME "; server_max_window_bits=10; client_max_window_bits=9");
    check_agreement(&on, &small, NAME "; server_max_window_bits=9; client_max_window_bits=10");
    check_agreement(&least, &on, NAME "; server_max_window_bits=8; client_max_window_bits=8");
    check_agreement(&on, &least, NAME "; server_max_window_bits=8; client_max_window_bits=8");
}

LOOP_TEST(numbers_out_of_range_are_refused)
{
    bk_ws *ws = NULL;
    struct ends e;
    bk_ws_opts bad[] = {COMPRESSED(.send_window_bits = 7), COMPRESSED(.recv_window_bits = 16),
                        COMPRESSED(.level = 10), COMPRESSED(.mem_level = -1)};
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(open_ends(&e, NULL), 0);
        say(&e, REQUEST);
        CHECK_EQ(bk_ws_accept(&ws, &e.s, &bad[i]), -EINVAL);
        CHECK(e.s && !ws);
        close_ends(&e);
    }
}

/* ---- The bytes ---- */

LOOP_TEST(the_examples_of_the_rfc_as_frames)
{
    struct raw raw;
    bk_ws_opts opts = COMPRESSED(.min_size = 1);
    CHECK_EQ(open_zipped(&raw, &opts), 0);
    CHECK_EQ(bk_ws_send_text(raw.ws, "Hello", 5), 0);
    CHECK_HEARD(&raw, "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    CHECK_EQ(bk_ws_send_text(raw.ws, "Hello", 5), 0);
    CHECK_HEARD(&raw, "\xc1\x05\xf2\x00\x11\x00\x00");
    CHECK_EQ(bk_ws_send_text(raw.ws, "", 0), 0);
    CHECK_HEARD(&raw, "\x81\x00");

    send_frame(&raw, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    check_receives(raw.ws, BK_TEXT, "Hello");
    send_frame(&raw, 0x81, "not compressed", 14);
    check_receives(raw.ws, BK_TEXT, "not compressed");
    send_frame(&raw, 0x41, "\xf2\x48\xcd", 3); /* in fragments, with a ping between */
    send_frame(&raw, 0x89, "?", 1);
    send_frame(&raw, 0x00, "", 0);
    send_frame(&raw, 0x80, "\xc9\xc9\x07\x00", 4);
    check_receives(raw.ws, BK_TEXT, "Hello");
    CHECK_HEARD(&raw, "\x8a\x01?");
    send_frame(&raw, 0xc2, "\xf2\x00\x11\x00\x00", 5);
    check_receives(raw.ws, BK_BINARY, "Hello");
    send_frame(&raw, 0xc1, "\x00", 1);
    check_receives(raw.ws, BK_TEXT, "");
    send_frame(&raw, 0x42, "", 0);
    send_frame(&raw, 0x80, "\x00", 1);
    check_receives(raw.ws, BK_BINARY, "");
    close_raw(&raw);
}

LOOP_TEST(short_messages_are_not_compressed)
{
    struct raw raw;
    char text[64], buf[200];
    memset(text, 'x', sizeof text);
    CHECK_EQ(open_zipped(&raw, &COMPRESSED(.level = 0)), 0);
    CHECK_EQ(bk_ws_send_binary(raw.ws, text, 63), 0);
    bk_ws_flush(raw.ws);
    CHECK_EQ(hear(&raw, buf, sizeof buf), 65);
    CHECK_EQ((uint8_t)buf[0], 0x82);
    CHECK_EQ(bk_ws_send_binary(raw.ws, text, 64), 0);
    bk_ws_flush(raw.ws);
    CHECK(hear(&raw, buf, sizeof buf) < 20);
    CHECK_EQ((uint8_t)buf[0], 0xc2);
    close_raw(&raw);
}

/* A conversation in two portions, or byte by byte. */
struct script {
    int fd;
    size_t len, first;
    char bytes[200];
};

static int play(void *ctx)
{
    struct script *script = ctx;
    for (size_t at = 0; at < script->len;) {
        size_t n = script->first == 0 ? 1 : at == 0 ? script->first : script->len - at;
        if (write(script->fd, script->bytes + at, n) != (ssize_t)n)
            return -errno;
        at += n;
        bk_sleep(bk_ms(1));
    }
    return 0;
}

static void check_part_of(struct raw *raw, const char *text)
{
    bk_ws_part part = {.last = false};
    char got[20] = "";
    size_t n = 0;
    while (!part.last) {
        CHECK_EQ(bk_ws_recv_part(raw->ws, &part), 1);
        CHECK(part.data.len <= sizeof got - n && part.first == (n == 0));
        if (part.data.len > 0)
            memcpy(got + n, part.data.data, part.data.len);
        n += part.data.len;
    }
    CHECK_MEM(got, n, text, strlen(text));
}

static void play_in_portions(size_t first, size_t *len)
{
    struct raw raw;
    struct script script = {.first = first};
    bk_task *player = NULL;
    bk_msg *msg = NULL;
    char *at = script.bytes;
    at += put_frame(at, 0x41, "\xf2\x48\xcd", 3);
    at += put_frame(at, 0x89, "?", 1);
    at += put_frame(at, 0x80, "\xc9\xc9\x07\x00", 4);
    at += put_frame(at, 0xc1, "\xf2\x00\x11\x00\x00", 5);
    at += put_frame(at, 0x81, "plain", 5);
    at += put_frame(at, 0xc1, "\xf2\x00\x11\x00\x00", 5);
    at += put_frame(at, 0x88, "\x03\xe8", 2);
    *len = script.len = (size_t)(at - script.bytes);
    CHECK_EQ(open_zipped(&raw, &COMPRESSED(.level = 0)), 0);
    script.fd = raw.peer;
    CHECK_EQ(bk_go(&player, play, &script, NULL), 0);
    check_receives(raw.ws, BK_TEXT, "Hello");
    check_part_of(&raw, "Hello");
    check_receives(raw.ws, BK_TEXT, "plain");
    check_receives(raw.ws, BK_TEXT, "Hello");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 0);
    bk_task_wait(player, NULL);
    bk_task_free(&player);
    close_raw(&raw);
}

LOOP_TEST(compressed_frames_come_in_any_portions)
{
    int before = check_failures;
    size_t len = 1;
    for (size_t first = 0; first < len && check_failures == before; first++)
        play_in_portions(first, &len);
}

/* ---- Faults ---- */

static void check_fails(const bk_ws_opts *opts, int first_byte, const char *payload, size_t len,
                        int result, const char *close_frame)
{
    struct raw raw;
    bk_msg *msg = NULL;
    char buf[200];
    CHECK_EQ(open_zipped(&raw, opts), 0);
    send_frame(&raw, first_byte, payload, len);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), result);
    CHECK(!msg);
    bk_ws_flush(raw.ws);
    CHECK(hear(&raw, buf, sizeof buf) > 4);
    CHECK_MEM(buf + 2, 2, close_frame, 2);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), result);
    shutdown(raw.peer, SHUT_WR);
    CHECK_EQ(bk_ws_close(&raw.ws, result), result);
    close_raw(&raw);
}

LOOP_TEST(faults_of_compression_end_the_connection_with_their_codes)
{
    bk_ws_opts opts = COMPRESSED(.level = 0);
    char out[100];
    check_fails(&opts, 0xc1, "\xff\xff\xff", 3, -BK_EPROTO, "\x03\xef");     /* 1007 */
    check_fails(&opts, 0xc1, "\xf2\x48\xcd\xc9", 4, -BK_EPROTO, "\x03\xef"); /* cut */
    size_t n = compress(out, sizeof out, "not UTF-8: \xff", 12);
    check_fails(&opts, 0xc1, out, n, -BK_EPROTO, "\x03\xef");
    n = compress(out, sizeof out, "not whole: \xe2\x82", 13);
    check_fails(&opts, 0xc1, out, n, -BK_EPROTO, "\x03\xef");
    check_fails(&opts, 0xc9, "x", 1, -BK_EPROTO, "\x03\xea"); /* a compressed ping: 1002 */
    check_fails(&opts, 0xa1, "x", 1, -BK_EPROTO, "\x03\xea"); /* RSV2 */
    check_fails(&opts, 0xc0, "x", 1, -BK_EPROTO, "\x03\xea"); /* a continuation of nothing */
}

LOOP_TEST(a_continuation_must_not_say_that_it_is_compressed)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_zipped(&raw, &COMPRESSED(.level = 0)), 0);
    send_frame(&raw, 0x41, "\xf2\x48\xcd", 3);
    send_frame(&raw, 0xc0, "\xc9\xc9\x07\x00", 4);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -BK_EPROTO);
    close_raw(&raw);
}

/* Without an agreement the bit has no meaning. */
LOOP_TEST(nothing_is_compressed_unless_agreed)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_frame(&raw, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -BK_EPROTO);
    close_raw(&raw);
}

/* ---- Limits ---- */

LOOP_TEST(a_bomb_is_stopped_at_max_message)
{
    static char zeros[4 << 20], bomb[20000];
    size_t n = compress(bomb, sizeof bomb, zeros, sizeof zeros);
    CHECK(n > 0 && n < 5000);
    bk_ws_opts opts = COMPRESSED(.level = 0);
    check_fails(&opts, 0xc2, bomb, n, -EMSGSIZE, "\x03\xf1"); /* 1009; by default 1 MiB */
    n = compress(bomb, sizeof bomb, zeros, 1 << 20);
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_zipped(&raw, &opts), 0);
    send_frame(&raw, 0xc2, bomb, n);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), 1);
    CHECK_EQ(bk_msg_len(msg), 1 << 20);
    bk_msg_free(&msg);
    close_raw(&raw);
    n = compress(bomb, sizeof bomb, zeros, (1 << 20) + 1);
    check_fails(&opts, 0xc2, bomb, n, -EMSGSIZE, "\x03\xf1");
    opts.max_message = 10;
    n = compress(bomb, sizeof bomb, zeros, 11);
    check_fails(&opts, 0xc2, bomb, n, -EMSGSIZE, "\x03\xf1");
}

/* What does not compress gets longer, and counts by what it stands for. */
LOOP_TEST(noise_of_just_max_message_passes)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_opts opts = COMPRESSED(.mem_level = 1);
    opts.max_message = 100000;
    CHECK_EQ(open_ws_pair(&client, &server, "/", &opts, &opts), 0);
    for (int i = 0; i < 3; i++) {
        bk_msg *msg = NULL, *got = NULL;
        unsigned seed = 7;
        CHECK_EQ(bk_msg_new(&msg, 100000), 0);
        for (size_t k = 0; k < 100000; k++)
            bk_msg_data(msg)[k] = (char)next_random(&seed);
        bk_msg_kind_set(msg, BK_BINARY);
        CHECK_EQ(bk_ws_send(client, &msg), 0);
        CHECK_EQ(bk_ws_recv(server, &got), 1);
        CHECK_EQ(bk_msg_len(got), 100000);
        bk_msg_free(&got);
    }
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

/* ---- Contexts ---- */

LOOP_TEST(without_a_context_nothing_is_kept_between_messages)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_opts both = COMPRESSED(.send_no_context = true, .recv_no_context = true),
               on = COMPRESSED(.level = 0);
    CHECK_EQ(open_ws_pair(&client, &server, "/", &both, &on), 0);
    for (unsigned i = 1; i < 4; i++) {
        check_passes(client, server, 5000, i);
        check_passes(server, client, 5000, i);
        CHECK(!client->zip->deflater && !client->zip->inflater);
        CHECK(!server->zip->deflater && !server->zip->inflater);
    }
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
    CHECK_EQ(open_ws_pair(&client, &server, "/", &on, &on), 0);
    CHECK(!client->zip->deflater && !server->zip->inflater); /* nor before the first */
    check_passes(client, server, 5000, 1);
    CHECK(client->zip->deflater && server->zip->inflater);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

static int send_large(void *ctx)
{
    unsigned seed = 5;
    bk_msg *msg = NULL;
    int r = bk_msg_new(&msg, 1 << 20);
    for (size_t i = 0; r == 0 && i < 1 << 20; i++)
        bk_msg_data(msg)[i] = (char)next_random(&seed);
    if (r == 0)
        bk_msg_kind_set(msg, BK_BINARY);
    r = bk_ws_send(ctx, &msg);
    bool left = msg != NULL;
    bk_msg_free(&msg);
    return left ? r : -EPIPE;
}

/* What was compressed for a message that did not go out must not be referred to by the next. */
LOOP_TEST(a_message_that_was_not_sent_leaves_no_trace)
{
    struct raw raw;
    char buf[4096];
    bk_task *task = NULL;
    int r = 0;
    CHECK_EQ(open_zipped(&raw, &COMPRESSED(.min_size = 1)), 0);
    bk_ws_send_text(raw.ws, "Hello", 5);
    bk_ws_flush(raw.ws);
    CHECK_EQ(hear(&raw, buf, sizeof buf), 9);
    set_buffer(bk_stream_fd(raw.ws->stream), SO_SNDBUF, 4096);
    while (bk_stream_unsent(raw.ws->stream) == 0) /* until the next one must wait */
        CHECK_EQ(bki_stream_push(raw.ws->stream, buf, sizeof buf), 0);
    bki_stream_push(raw.ws->stream, buf, sizeof buf);
    raw.ws->stream->write_buffer = 1;
    CHECK_EQ(bk_go(&task, send_large, raw.ws, NULL), 0);
    bk_yield();
    bk_task_cancel(task);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    bk_task_free(&task);
    CHECK_EQ(r, -ECANCELED);
    raw.ws->stream->write_buffer = 65536;
    CHECK_EQ(bk_ws_send_text(raw.ws, "Hello", 5), 0);
    ssize_t n = 0, last = 0;
    while (bk_stream_unsent(raw.ws->stream) > 0 || (n = hear(&raw, buf, sizeof buf)) > 0) {
        if (bk_stream_unsent(raw.ws->stream) > 0)
            n = hear(&raw, buf, sizeof buf);
        last = n > 0 ? n : last;
        bk_sleep(bk_ms(1));
    }
    CHECK(last >= 9);
    CHECK_MEM(buf + last - 9, 9, "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", 9);
    close_raw(&raw);
}

/* Each connection's part of the promise in ws.h. */
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

static void memory_body(void)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_opts opts = COMPRESSED(.level = 0);
    CHECK_EQ(open_ws_pair(&client, &server, "/", &opts, &opts), 0);
    check_passes(client, server, 20, 2); /* not compressed, but the streams get their buffers */
    bki_msg_cache_trim();
    size_t before = live_bytes;
    check_passes(client, server, 3000, 3);
    bki_msg_cache_trim();
    size_t held = live_bytes - before;
    CHECK(held > 60000); /* a context each, that of the client and that of the server */
    CHECK(held <= (38 + 39) * 1024 + 1024);
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

static void contexts_take_as_much_memory_as_promised(void)
{
    bk_set_allocator(count_bytes);
    run_in_loop(memory_body);
    bki_msg_cache_trim();
    bk_set_allocator(NULL);
    CHECK_EQ(live_bytes, 0);
}

CHECK_MAIN(TEST(contexts_take_as_much_memory_as_promised),
           TEST(both_roles_agree_and_messages_of_every_size_pass),
           TEST(numbers_out_of_range_are_refused), TEST(the_examples_of_the_rfc_as_frames),
           TEST(short_messages_are_not_compressed), TEST(compressed_frames_come_in_any_portions),
           TEST(faults_of_compression_end_the_connection_with_their_codes),
           TEST(a_continuation_must_not_say_that_it_is_compressed),
           TEST(nothing_is_compressed_unless_agreed), TEST(a_bomb_is_stopped_at_max_message),
           TEST(noise_of_just_max_message_passes),
           TEST(without_a_context_nothing_is_kept_between_messages),
           TEST(a_message_that_was_not_sent_leaves_no_trace))
