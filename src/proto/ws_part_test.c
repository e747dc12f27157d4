/* SPDX-License-Identifier: MIT
 * WebSocket messages in parts: received as they come, sent as frames of their own, passed on, with
 * and without compression. */
#include "proto/ws_stream_test.h"

static const bk_ws_opts zipped = {.deflate = {.on = true}};

static bk_ws_part text_part(const char *text, bool first, bool last)
{
    return (bk_ws_part){bk_span_str(text), BK_TEXT, first, last};
}

static void check_part(bk_ws *ws, const char *text, bool first, bool last)
{
    bk_ws_part part;
    CHECK_EQ(bk_ws_recv_part(ws, &part), 1);
    CHECK(bk_span_equal(part.data, bk_span_str(text)));
    CHECK_EQ(part.kind, BK_TEXT);
    CHECK_EQ(part.first, first);
    CHECK_EQ(part.last, last);
}

/* ---- Receiving ---- */

LOOP_TEST(a_message_comes_in_parts_as_it_arrives)
{
    struct raw raw;
    char frame[100];
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_raw(&raw, 0x81, "whole");
    check_part(raw.ws, "whole", true, true);
    send_raw(&raw, 0x01, "one ");
    check_part(raw.ws, "one ", true, false);
    send_raw(&raw, 0x89, "?");
    send_raw(&raw, 0x00, "");
    send_raw(&raw, 0x00, "two ");
    check_part(raw.ws, "two ", false, false);
    CHECK_HEARD(&raw, "\x8a\x01?");
    send_raw(&raw, 0x80, "");
    check_part(raw.ws, "", false, true);
    size_t n = put_frame(frame, 0x81, "half a frame", 12);
    CHECK_EQ(write(raw.peer, frame, n - 6), (ssize_t)n - 6);
    check_part(raw.ws, "half a", true, false);
    CHECK_EQ(write(raw.peer, frame + n - 6, 6), 6);
    check_part(raw.ws, " frame", false, true);
    send_raw(&raw, 0x81, "");
    check_part(raw.ws, "", true, true);
    send_raw(&raw, 0x88, "\x03\xe8");
    bk_ws_part part;
    CHECK_EQ(bk_ws_recv_part(raw.ws, &part), 0);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), 0);
    close_raw(&raw);
}

LOOP_TEST(text_in_parts_is_checked_as_it_comes)
{
    struct raw raw;
    bk_ws_part part;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_raw(&raw, 0x01, "caf\xc3"); /* a part may end inside a character */
    check_part(raw.ws, "caf\xc3", true, false);
    send_raw(&raw, 0x00, "\xa9 \xf0\x9f");
    check_part(raw.ws, "\xa9 \xf0\x9f", false, false);
    send_raw(&raw, 0x00, "x"); /* the message has not ended, and is wrong already */
    CHECK_EQ(bk_ws_recv_part(raw.ws, &part), -BK_EPROTO);
    CHECK_HEARD(&raw, "\x88\x18\x03\xeftext that is not UTF-8");
    close_raw(&raw);
}

/* The two ways to receive change places between messages only, and nothing is lost. */
LOOP_TEST(a_message_begun_whole_may_go_on_in_parts)
{
    struct raw raw;
    bk_msg *msg = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    send_raw(&raw, 0x01, "one ");
    bk_timeout *limit = NULL;
    CHECK_EQ(bk_timeout_open(&limit, bk_ms(5)), 0);
    CHECK_EQ(bk_timeout_close(&limit, bk_ws_recv(raw.ws, &msg)), -ETIMEDOUT);
    check_part(raw.ws, "one ", true, false);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -EINVAL);
    send_raw(&raw, 0x00, "two ");
    check_part(raw.ws, "two ", false, false);
    send_raw(&raw, 0x80, "three");
    send_raw(&raw, 0x81, "next");
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -EINVAL);
    check_part(raw.ws, "three", false, true);
    check_receives(raw.ws, BK_TEXT, "next");
    close_raw(&raw);
}

static int receive_part_into(void *ctx)
{
    bk_ws_part part;
    int r = bk_ws_recv_part(ctx, &part);
    return r == 1 ? (int)part.data.len : r;
}

LOOP_TEST(a_cancelled_receive_of_a_part_loses_nothing)
{
    struct raw raw;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_wait_for(receive_part_into, raw.ws, bk_ms(1)), -ETIMEDOUT);
    send_raw(&raw, 0x01, "one");
    check_part(raw.ws, "one", true, false);
    CHECK_EQ(bk_wait_for(receive_part_into, raw.ws, bk_ms(1)), -ETIMEDOUT);
    send_raw(&raw, 0x80, "two");
    check_part(raw.ws, "two", false, true);
    close_raw(&raw);
}

/* ---- Sending ---- */

LOOP_TEST(each_part_is_a_frame)
{
    struct raw raw;
    bk_ws_part part = text_part("one ", true, false);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_HEARD(&raw, "\x01\x04one ");
    CHECK_EQ(bk_ws_ping(raw.ws, "!", 1), 0); /* between the parts */
    CHECK_HEARD(&raw, "\x89\x01!");
    part = text_part("", false, false);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_HEARD(&raw, "\x00\x00");
    part = text_part("two", false, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_HEARD(&raw, "\x80\x03two");
    part = text_part("whole", true, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_HEARD(&raw, "\x81\x05whole");
    CHECK_EQ(bk_ws_send_text(raw.ws, "x", 1), 0);
    CHECK_HEARD(&raw, "\x81\x01x");
    close_raw(&raw);
}

LOOP_TEST(parts_out_of_order_are_refused)
{
    struct raw raw;
    bk_ws_part part = text_part("x", false, true);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), -EINVAL); /* of nothing */
    part.first = true;
    part.last = false;
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), -EINVAL); /* the first twice */
    CHECK_EQ(bk_ws_send_text(raw.ws, "x", 1), -EINVAL);
    part = (bk_ws_part){bk_span_str("y"), BK_BINARY, false, true};
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), -EINVAL); /* of another kind */
    part = text_part("\xc3", false, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), -EINVAL); /* text that ends in a character */
    part.last = false;
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    part = text_part("x", false, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), -EINVAL); /* and does not go on in it */
    part = text_part("\xa9", false, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_HEARD(&raw, "\x01\x01x\x00\x01\xc3\x80\x01\xa9");
    close_raw(&raw);
}

struct other {
    bk_ws *ws;
    const char *text;
    bool in_parts;
    int r;
};

static int send_whole(void *ctx)
{
    struct other *other = ctx;
    bk_ws_part part = text_part(other->text, true, true);
    other->r = other->in_parts ? bk_ws_send_part(other->ws, &part)
                               : bk_ws_send_text(other->ws, other->text, strlen(other->text));
    return 0;
}

LOOP_TEST(other_messages_wait_for_the_last_part)
{
    struct raw raw;
    bk_ws_part part = text_part("1", true, false);
    bk_group *group = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    struct other a = {raw.ws, "a", false, 1}, b = {raw.ws, "b", true, 1},
                 c = {raw.ws, "c", false, 1};
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    bk_group_go(group, send_whole, &a, NULL);
    bk_group_go(group, send_whole, &b, NULL);
    bk_group_go(group, send_whole, &c, NULL);
    bk_sleep(bk_ms(1));
    CHECK_EQ(a.r, 1);
    part = text_part("2", false, false);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_HEARD(&raw, "\x01\x01\x31\x00\x01\x32");
    CHECK_EQ(bk_ws_close(&raw.ws, 0), -EBUSY);
    part = text_part("3", false, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK(a.r == 0 && b.r == 0 && c.r == 0);
    CHECK_HEARD(&raw, "\x80\x01\x33\x81\x01\x61\x81\x01\x62\x81\x01\x63");
    close_raw(&raw);
}

LOOP_TEST(who_waits_for_the_last_part_hears_of_a_close)
{
    struct raw raw;
    bk_ws_part part = text_part("1", true, false);
    bk_task *task = NULL;
    CHECK_EQ(open_raw(&raw, NULL), 0);
    struct other a = {raw.ws, "a", false, 1};
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_EQ(bk_go(&task, send_whole, &a, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_ws_send_close(raw.ws, 1000, NULL), 0);
    CHECK_EQ(bk_task_wait(task, NULL), 0);
    bk_task_free(&task);
    CHECK_EQ(a.r, -BK_ECLOSED);
    part = text_part("2", false, true);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), -BK_ECLOSED);
    close_raw(&raw);
}

LOOP_TEST(a_close_in_the_middle_of_a_message_is_no_orderly_one)
{
    struct raw raw;
    bk_ws_part part = text_part("1", true, false);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), -BK_EINCOMPLETE);
    char buf[100];
    CHECK_EQ(hear(&raw, buf, sizeof buf), 7);
    CHECK_MEM(buf + 3, 4, "\x88\x02\x03\xf3", 4);
    close_raw(&raw);
}

/* A pong does not wait for the end of the message, which may be far. */
LOOP_TEST(a_pong_goes_between_parts)
{
    struct raw raw;
    bk_ws_part part = text_part("1", true, false);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(bk_ws_send_part(raw.ws, &part), 0);
    send_raw(&raw, 0x89, "?");
    send_raw(&raw, 0x81, "x");
    check_receives(raw.ws, BK_TEXT, "x");
    CHECK_HEARD(&raw, "\x01\x01\x31\x8a\x01?");
    close_raw(&raw);
}

/* ---- Both ---- */

enum { HUGE_LENGTH = 5 * 1000 * 1000 };

static char byte_at(size_t i)
{
    return (char)('a' + (i / 7 + i % 11) % 26);
}

static int send_huge(void *ctx)
{
    static char piece[50000];
    for (size_t at = 0; at < HUGE_LENGTH; at += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = byte_at(at + i);
        bk_ws_part part = {bk_span_of(piece, sizeof piece), BK_TEXT, at == 0,
                           at + sizeof piece == HUGE_LENGTH};
        int r = bk_ws_send_part(ctx, &part);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Sends on what it receives, part by part. */
struct relay {
    bk_ws *from, *to;
};

static int pass_on(void *ctx)
{
    struct relay *relay = ctx;
    bk_ws_part part = {.last = false};
    int r = 0;
    while (r >= 0 && !part.last)
        if ((r = bk_ws_recv_part(relay->from, &part)) == 1)
            r = bk_ws_send_part(relay->to, &part);
    return r;
}

static int receive_huge(void *ctx)
{
    bk_ws_part part = {.last = false};
    size_t at = 0;
    for (int n = 0; !part.last; n++) {
        int r = bk_ws_recv_part(ctx, &part);
        if (r != 1 || part.kind != BK_TEXT || part.first != (n == 0) || part.data.len > 16384)
            return -EPROTO;
        for (size_t i = 0; i < part.data.len; i++, at++)
            if (part.data.data[i] != byte_at(at))
                return -EBADMSG;
    }
    return at == HUGE_LENGTH ? 0 : -EMSGSIZE;
}

static void check_huge(bool first_zipped, bool second_zipped)
{
    bk_ws *a = NULL, *b = NULL, *c = NULL, *d = NULL;
    bk_ws_opts roomy = {.max_message = HUGE_LENGTH}, packed = roomy;
    packed.deflate.on = true;
    const bk_ws_opts *one = first_zipped ? &packed : &roomy,
                     *two = second_zipped ? &packed : &roomy;
    CHECK_EQ(open_ws_pair(&a, &b, "/", one, one), 0);
    CHECK_EQ(open_ws_pair(&c, &d, "/", two, two), 0);
    struct relay relay = {b, c};
    bk_call calls[] = {
        {send_huge, a, "send", 0}, {pass_on, &relay, "relay", 0}, {receive_huge, d, "receive", 0}};
    CHECK_EQ(bk_gather(calls, 3, NULL), 0);
    CHECK_EQ(a->zip != NULL, first_zipped);
    bk_ws_close(&a, -EIO);
    bk_ws_close(&b, -EIO);
    bk_ws_close(&c, -EIO);
    bk_ws_close(&d, -EIO);
}

LOOP_TEST(a_huge_message_is_passed_on_in_parts)
{
    check_huge(false, false);
    check_huge(true, false);
    check_huge(false, true);
    check_huge(true, true);
}

LOOP_TEST(max_message_holds_for_parts_as_well)
{
    bk_ws *client = NULL, *server = NULL;
    bk_ws_part part = {.last = false};
    bk_task *task = NULL;
    for (int on = 0; on < 2; on++) {
        const bk_ws_opts *opts = on ? &zipped : NULL; /* by default 1 MiB */
        size_t got = 0;
        int r;
        CHECK_EQ(open_ws_pair(&client, &server, "/", opts, opts), 0);
        CHECK_EQ(bk_go(&task, send_huge, client, NULL), 0);
        while ((r = bk_ws_recv_part(server, &part)) == 1)
            got += part.data.len;
        CHECK_EQ(r, -EMSGSIZE);
        CHECK(got <= 1 << 20 && got > 900000);
        bk_task_cancel(task);
        bk_task_wait(task, NULL);
        bk_task_free(&task);
        bk_ws_close(&server, -EIO);
        bk_ws_close(&client, -EIO);
    }
}

/* ---- Compressed ---- */

LOOP_TEST(compressed_parts_can_be_read_one_by_one)
{
    bk_ws *client = NULL, *server = NULL;
    static const char *const texts[] = {"one one one one ", "", "two two two", "", "three"};
    CHECK_EQ(open_ws_pair(&client, &server, "/", &zipped, &zipped), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++) {
            bk_ws_part part = text_part(texts[i], i == 0, i == 4);
            CHECK_EQ(bk_ws_send_part(client, &part), 0);
            if (texts[i][0])
                check_part(server, texts[i], i == 0, i == 4);
        }
        for (int i = 0; i < 5; i++) {
            bk_ws_part part = text_part(texts[i], i == 0, i == 4);
            CHECK_EQ(bk_ws_send_part(client, &part), 0);
        }
        check_receives(server, BK_TEXT, "one one one one two two twothree");
        bk_ws_part empty = text_part("", true, false), end = text_part("", false, true);
        CHECK_EQ(bk_ws_send_part(client, &empty), 0);
        CHECK_EQ(bk_ws_send_part(client, &end), 0);
        check_receives(server, BK_TEXT, "");
    }
    CHECK(!server->zip->piece); /* what parts were handed out from is gone */
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

LOOP_TEST(a_compressed_message_begun_whole_may_go_on_in_parts)
{
    bk_ws *client = NULL, *server = NULL;
    bk_msg *msg = NULL;
    bk_timeout *limit = NULL;
    CHECK_EQ(open_ws_pair(&client, &server, "/", &zipped, &zipped), 0);
    bk_ws_part part = text_part("one one one ", true, false);
    CHECK_EQ(bk_ws_send_part(client, &part), 0);
    CHECK_EQ(bk_timeout_open(&limit, bk_ms(5)), 0);
    CHECK_EQ(bk_timeout_close(&limit, bk_ws_recv(server, &msg)), -ETIMEDOUT);
    check_part(server, "one one one ", true, false);
    part = text_part("two", false, true);
    CHECK_EQ(bk_ws_send_part(client, &part), 0);
    check_part(server, "two", false, true);
    CHECK_EQ(bk_ws_send_text(client, "next", 4), 0);
    check_receives(server, BK_TEXT, "next");
    bk_ws_close(&server, -EIO);
    bk_ws_close(&client, -EIO);
}

CHECK_MAIN(TEST(a_message_comes_in_parts_as_it_arrives), TEST(text_in_parts_is_checked_as_it_comes),
           TEST(a_message_begun_whole_may_go_on_in_parts),
           TEST(a_cancelled_receive_of_a_part_loses_nothing), TEST(each_part_is_a_frame),
           TEST(parts_out_of_order_are_refused), TEST(other_messages_wait_for_the_last_part),
           TEST(who_waits_for_the_last_part_hears_of_a_close),
           TEST(a_close_in_the_middle_of_a_message_is_no_orderly_one),
           TEST(a_pong_goes_between_parts), TEST(a_huge_message_is_passed_on_in_parts),
           TEST(max_message_holds_for_parts_as_well), TEST(compressed_parts_can_be_read_one_by_one),
           TEST(a_compressed_message_begun_whole_may_go_on_in_parts))
