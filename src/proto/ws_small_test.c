/* SPDX-License-Identifier: MIT
 * The short way that most messages take out of the in-buffer: it gives what the long way gives. */
#include "proto/ws_stream_test.h"

static size_t put_masked(char *out, int first_byte, const char *payload, size_t len, uint32_t key)
{
    struct bki_ws_frame f = {.len = len,
                             .fin = first_byte & 0x80,
                             .opcode = (uint8_t)(first_byte & 0x0f),
                             .masked = true,
                             .key = key};
    size_t n = bki_ws_frame_write(out, &f);
    bki_ws_mask(out + n, payload, len, key, 0);
    return n + len;
}

static void check_text(bk_ws *ws, const char *want, size_t len)
{
    bk_msg *msg = NULL;
    CHECK_EQ(bk_ws_recv(ws, &msg), 1);
    bool same = bk_msg_kind_get(msg) == BK_TEXT && bk_msg_len(msg) == len &&
                memcmp(bk_msg_data(msg), want, len) == 0;
    bk_msg_free(&msg);
    CHECK(same);
}

/* Two of each length in one read: the first comes the long way, since the buffer was empty, and the
 * second the short one. */
LOOP_TEST(short_messages_of_every_length_masked_by_any_key)
{
    struct raw raw;
    char text[300], frames[700];
    CHECK_EQ(open_raw(&raw, NULL), 0);
    for (size_t len = 0; len < sizeof text; len++) {
        uint32_t key = len % 3 == 0 ? 0 : 0x9c3f0081u * (uint32_t)len;
        for (size_t i = 0; i < len; i++)
            text[i] = (char)('a' + (i + len) % 26);
        if (len >= 20)
            memcpy(text + len / 2, "\xf0\x9f\x98\x80", 4);
        size_t n = put_masked(frames, 0x81, text, len, key);
        n += put_masked(frames + n, 0x81, text, len, key);
        CHECK_EQ(write(raw.peer, frames, n), (ssize_t)n);
        check_text(raw.ws, text, len);
        check_text(raw.ws, text, len);
    }
    close_raw(&raw);
}

LOOP_TEST(what_follows_a_short_message_is_judged_as_ever)
{
    static const struct {
        int first_byte;
        const char *payload;
        int result;
    } cases[] = {{0x81, "an emoji cut off: \xf0\x9f\x98", -BK_EPROTO},
                 {0x81, "\x80", -BK_EPROTO},
                 {0x81, "longer than max_message allows", -EMSGSIZE},
                 {0x83, "a reserved opcode", -BK_EPROTO},
                 {0x80, "a continuation of nothing", -BK_EPROTO},
                 {0xc2, "a bit without meaning", -BK_EPROTO},
                 {0x88, "\x03\xe8", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raw raw;
        bk_msg *msg = NULL;
        char frames[100];
        CHECK_EQ(open_raw(&raw, &(bk_ws_opts){.max_message = 25}), 0);
        size_t n = put_frame(frames, 0x82, "1", 1);
        n += put_frame(frames + n, 0x82, "2", 1);
        n += put_frame(frames + n, cases[i].first_byte, cases[i].payload, strlen(cases[i].payload));
        CHECK_EQ(write(raw.peer, frames, n), (ssize_t)n);
        check_receives(raw.ws, BK_BINARY, "1");
        check_receives(raw.ws, BK_BINARY, "2");
        CHECK_EQ(bk_ws_recv(raw.ws, &msg), cases[i].result);
        CHECK(msg == NULL);
        close_raw(&raw);
    }
}

static int receive_and_keep(void *ctx)
{
    struct raw *raw = ctx;
    bk_msg *msg = NULL;
    bk_task_cancel(bk_task_current());
    int r = bk_ws_recv(raw->ws, &msg); /* the message lies ready */
    bk_msg_free(&msg);
    return r;
}

LOOP_TEST(a_cancelled_task_gets_no_message_and_loses_none)
{
    struct raw raw;
    char frames[100];
    CHECK_EQ(open_raw(&raw, NULL), 0);
    size_t n = put_frame(frames, 0x81, "one", 3);
    n += put_frame(frames + n, 0x81, "two", 3);
    CHECK_EQ(write(raw.peer, frames, n), (ssize_t)n);
    check_receives(raw.ws, BK_TEXT, "one");
    bk_task *task = NULL;
    int r = 0;
    CHECK_EQ(bk_go(&task, receive_and_keep, &raw, NULL), 0);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    bk_task_free(&task);
    CHECK_EQ(r, -ECANCELED);
    check_receives(raw.ws, BK_TEXT, "two");
    close_raw(&raw);
}

CHECK_MAIN(TEST(short_messages_of_every_length_masked_by_any_key),
           TEST(what_follows_a_short_message_is_judged_as_ever),
           TEST(a_cancelled_task_gets_no_message_and_loses_none))
