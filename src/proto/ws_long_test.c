/* SPDX-License-Identifier: MIT
 * Long compressed messages: inflated when they are whole, in steps, one at a time; and compressed
 * likewise. */
#include "proto/ws_zip_fixture.h"
#include "rt/turn.h"

#define MIB ((size_t)1 << 20)

static const bk_ws_opts large = {
    .max_message = 16 << 20, .max_fragments = 1 << 17, .deflate = {.on = true}};

static bk_task *start(bk_fn *fn, void *ctx)
{
    bk_task *task = NULL;
    return bk_go(&task, fn, ctx, NULL) == 0 ? task : NULL;
}

static int finish(bk_task **task)
{
    int result = -EINPROGRESS;
    bk_task_wait(*task, &result);
    bk_task_free(task);
    return result;
}

/* n zeros, compressed into a frame of a text message; zeros are UTF-8. */
static char *make_bomb(size_t n, size_t *len)
{
    size_t room = n / 500 + 1000;
    char *zeros = calloc(1, n), *packed = malloc(room), *frame = malloc(room + 14);
    *len = compress(packed, room, zeros, n);
    *len = put_frame(frame, 0xc1, packed, *len);
    free(zeros);
    free(packed);
    return frame;
}

static void say_bytes(const struct raw *raw, const char *bytes, size_t len)
{
    CHECK_EQ(write(raw->peer, bytes, len), (ssize_t)len);
}

static void open_large(struct raw *raw)
{
    CHECK_EQ(open_zipped(raw, &large), 0);
    set_buffer(raw->peer, SO_SNDBUF, 1 << 20);
}

struct receiving {
    bk_ws *ws;
    size_t len;
    bool done;
};

static int receive_one(void *ctx)
{
    struct receiving *r = ctx;
    bk_msg *msg = NULL;
    int got = bk_ws_recv(r->ws, &msg);
    r->len = msg ? bk_msg_len(msg) : 0;
    r->done = true;
    bk_msg_free(&msg);
    return got;
}

/* ---- Others run meanwhile ---- */

LOOP_TEST(others_run_while_a_long_message_is_inflated)
{
    struct raw raw;
    size_t len;
    uint64_t turns = bki_loop->n_turns;
    char *bomb = make_bomb(8 * MIB, &len);
    open_large(&raw);
    say_bytes(&raw, bomb, len);
    struct receiving r = {.ws = raw.ws};
    bk_task *task = start(receive_one, &r);
    CHECK_EQ(finish(&task), 1);
    CHECK_EQ(r.len, 8 * MIB);
    CHECK(bki_loop->n_turns - turns > 30); /* 256 KiB at a time */
    CHECK(!bki_turn_is_taken());
    free(bomb);
    close_raw(&raw);
}

struct passing {
    bk_ws *from;
    bk_msg *msg;
};

static int pass_on(void *ctx)
{
    struct passing *p = ctx;
    return bk_ws_send(p->from, &p->msg);
}

LOOP_TEST(others_run_while_a_long_message_is_compressed)
{
    struct raw raw;
    static char buf[65536];
    uint64_t turns = bki_loop->n_turns;
    open_large(&raw);
    struct passing passing = {.from = raw.ws};
    CHECK_EQ(bk_msg_new(&passing.msg, 8 * MIB), 0);
    memset(bk_msg_data(passing.msg), 0, 8 * MIB);
    bk_task *task = start(pass_on, &passing);
    CHECK_EQ(finish(&task), 0);
    CHECK(bki_loop->n_turns - turns > 100);
    bk_ws_flush(raw.ws);
    CHECK(hear(&raw, buf, sizeof buf) > 8000);
    CHECK_EQ((uint8_t)buf[0] & 0x70, BKI_WS_RSV1);
    close_raw(&raw);
}

/* A read is one of 128 until the loop goes round; one full of fragments is more. */
LOOP_TEST(others_run_while_many_fragments_are_read)
{
    enum { N = 30000 };
    static char bytes[N * 7 + 100];
    struct raw raw;
    size_t len = put_frame(bytes, 0x02, "x", 1);
    uint64_t turns = bki_loop->n_turns;
    for (int i = 0; i < N; i++)
        len += put_frame(bytes + len, 0x00, "x", 1);
    len += put_frame(bytes + len, 0x80, "x", 1);
    open_large(&raw);
    say_bytes(&raw, bytes, len);
    struct receiving r = {.ws = raw.ws};
    bk_task *task = start(receive_one, &r);
    CHECK_EQ(finish(&task), 1);
    CHECK_EQ(r.len, N + 2);
    CHECK(bki_loop->n_turns - turns > 5);
    close_raw(&raw);
}

/* Few bytes, but much to do: a read brings hundreds of fragments. */
LOOP_TEST(others_run_while_fragments_are_put_together)
{
    enum { FRAGMENTS = 8192 };
    struct raw raw;
    static char frames[FRAGMENTS * 8];
    size_t len = 0;
    int turns = 0;
    open_large(&raw);
    for (int i = 0; i < FRAGMENTS; i++)
        len += put_frame(frames + len, i == 0 ? 0x02 : i < FRAGMENTS - 1 ? 0x00 : 0x80, "x", 1);
    say_bytes(&raw, frames, len);
    struct receiving r = {.ws = raw.ws};
    bk_task *task = start(receive_one, &r);
    for (; !r.done; turns += raw.ws->part != NULL)
        bk_yield();
    CHECK_EQ(finish(&task), 1);
    CHECK_EQ(r.len, FRAGMENTS);
    CHECK(turns >= 5);
    close_raw(&raw);
}

/* ---- One at a time ---- */

enum { CROWD = 5 };

LOOP_TEST(of_many_long_messages_one_is_inflated_at_a_time)
{
    struct raw raw[CROWD];
    struct receiving r[CROWD] = {0};
    bk_task *tasks[CROWD];
    size_t len, most = 0;
    int n_done = 0;
    char *bomb = make_bomb(4 * MIB, &len);
    for (int i = 0; i < CROWD; i++) {
        open_large(&raw[i]);
        say_bytes(&raw[i], bomb, len);
        r[i].ws = raw[i].ws;
        tasks[i] = start(receive_one, &r[i]);
    }
    while (n_done < CROWD) {
        size_t n_long = 0;
        n_done = 0;
        for (int i = 0; i < CROWD; i++) {
            n_long += !r[i].done && raw[i].ws->part && raw[i].ws->part_len > BKI_WS_LONG;
            n_done += r[i].done;
        }
        most = n_long > most ? n_long : most;
        bk_yield();
    }
    CHECK_EQ(most, 1);
    for (int i = 0; i < CROWD; i++) {
        CHECK_EQ(finish(&tasks[i]), 1);
        CHECK_EQ(r[i].len, 4 * MIB);
        close_raw(&raw[i]);
    }
    free(bomb);
}

LOOP_TEST(a_short_message_does_not_wait_for_the_turn)
{
    struct raw raw;
    char packed[100];
    size_t n = compress(packed, sizeof packed, "Hello", 5);
    open_large(&raw);
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    send_frame(&raw, 0xc1, packed, n);
    check_receives(raw.ws, BK_TEXT, "Hello");
    CHECK_EQ(bk_ws_send_text(raw.ws, packed, 0), 0);
    bki_turn_give();
    close_raw(&raw);
}

/* Few bytes may stand for many: what is not whole holds no more than has come. */
LOOP_TEST(a_message_in_pieces_is_inflated_when_it_is_whole)
{
    struct raw raw;
    size_t len;
    char *bomb = make_bomb(8 * MIB, &len);
    open_large(&raw);
    struct receiving r = {.ws = raw.ws};
    bk_task *task = start(receive_one, &r);
    say_bytes(&raw, bomb, len - 1);
    bk_sleep(bk_ms(1));
    CHECK(!r.done && !bki_turn_is_taken());
    CHECK(!raw.ws->part && !raw.ws->zip->inflater);
    CHECK_EQ(raw.ws->zip->kept_len, len - 1 - 8);
    say_bytes(&raw, bomb + len - 1, 1);
    CHECK_EQ(finish(&task), 1);
    CHECK_EQ(r.len, 8 * MIB);
    CHECK(!raw.ws->zip->kept);
    free(bomb);
    close_raw(&raw);
}

/* ---- Cancels ---- */

/* Cancelled after `turns`, and taken up again: whole, or in parts. */
static bool cut_and_go_on(const char *bomb, size_t len, int turns, bool parts)
{
    struct raw raw;
    char hello[100];
    size_t n = 0, want = 600000;
    int got;
    if (open_zipped(&raw, &large) < 0)
        return false;
    ssize_t sent = write(raw.peer, bomb, len);
    sent += write(raw.peer, hello, put_frame(hello, 0x81, "next", 4));
    struct receiving r = {.ws = raw.ws};
    bk_task *task = start(receive_one, &r);
    for (int i = 0; i < turns; i++)
        bk_yield();
    bool early = r.done;
    bk_task_cancel(task);
    got = finish(&task);
    if (early) {
        n = r.len;
    } else if (got == -ECANCELED && !parts) {
        receive_one(&r);
        n = r.len;
    } else if (got == -ECANCELED) {
        for (bk_ws_part part = {.last = false}; !part.last; n += part.data.len)
            if (bk_ws_recv_part(raw.ws, &part) != 1 || part.kind != BK_TEXT ||
                part.first != (n == 0))
                break;
    }
    bool good = n == want && !bki_turn_is_taken() && sent > 0;
    if (!good)
        fprintf(stderr, "cut after %d turns: %zu bytes, %d\n", turns, n, got);
    check_receives(raw.ws, BK_TEXT, "next");
    close_raw(&raw);
    return good && !early;
}

LOOP_TEST(a_receive_that_is_cut_while_it_inflates_loses_nothing)
{
    size_t len;
    int n = 0, before = check_failures;
    char *bomb = make_bomb(600000, &len);
    for (int parts = 0; parts < 2; parts++)
        for (int turns = 0; turns < 30 && check_failures == before; turns++)
            n += cut_and_go_on(bomb, len, turns, parts);
    free(bomb);
    CHECK(n > 10);
}

LOOP_TEST(nobody_else_receives_while_one_inflates)
{
    struct raw raw;
    bk_msg *msg = NULL;
    size_t len;
    char *bomb = make_bomb(MIB, &len);
    open_large(&raw);
    say_bytes(&raw, bomb, len);
    send_raw(&raw, 0x81, "next");
    struct receiving r = {.ws = raw.ws};
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bk_task *task = start(receive_one, &r);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), -EBUSY);
    CHECK_EQ(bk_ws_close(&raw.ws, 0), -EBUSY);
    bki_turn_give();
    CHECK_EQ(finish(&task), 1);
    CHECK_EQ(r.len, MIB);
    check_receives(raw.ws, BK_TEXT, "next");
    free(bomb);
    close_raw(&raw);
}

/* ---- Who leaves ---- */

static void leave_while_waiting(bool goodbye, int want)
{
    struct raw raw;
    bk_msg *msg = NULL;
    size_t len;
    char *bomb = make_bomb(MIB, &len);
    open_large(&raw);
    say_bytes(&raw, bomb, len);
    struct receiving r = {.ws = raw.ws};
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bk_task *task = start(receive_one, &r);
    bk_sleep(bk_ms(1));
    if (goodbye)
        send_raw(&raw, 0x88, "\x03\xe8");
    shutdown(raw.peer, SHUT_WR);
    bki_turn_give();
    CHECK_EQ(finish(&task), want);
    CHECK_EQ(bk_ws_recv(raw.ws, &msg), goodbye ? 0 : -ECONNRESET);
    CHECK(!bki_turn_is_taken());
    free(bomb);
    close_raw(&raw);
}

LOOP_TEST(what_a_peer_leaves_behind_without_goodbye_is_not_inflated)
{
    leave_while_waiting(false, -ECONNRESET);
    leave_while_waiting(true, 1);
}

LOOP_TEST(a_cancelled_sender_leaves_the_line_and_its_message)
{
    struct raw raw;
    open_large(&raw);
    bk_msg *msg = NULL;
    CHECK_EQ(bk_msg_new(&msg, MIB), 0);
    memset(bk_msg_data(msg), 0, MIB);
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bk_timeout *limit = NULL;
    CHECK_EQ(bk_timeout_open(&limit, bk_ms(5)), 0);
    CHECK_EQ(bk_timeout_close(&limit, bk_ws_send(raw.ws, &msg)), -ETIMEDOUT);
    CHECK(msg);
    bki_turn_give();
    CHECK_EQ(bk_ws_send(raw.ws, &msg), 0);
    CHECK(!msg);
    close_raw(&raw);
}

CHECK_MAIN(TEST(others_run_while_a_long_message_is_inflated),
           TEST(others_run_while_a_long_message_is_compressed),
           TEST(others_run_while_fragments_are_put_together),
           TEST(others_run_while_many_fragments_are_read),
           TEST(of_many_long_messages_one_is_inflated_at_a_time),
           TEST(a_short_message_does_not_wait_for_the_turn),
           TEST(a_message_in_pieces_is_inflated_when_it_is_whole),
           TEST(a_receive_that_is_cut_while_it_inflates_loses_nothing),
           TEST(nobody_else_receives_while_one_inflates),
           TEST(what_a_peer_leaves_behind_without_goodbye_is_not_inflated),
           TEST(a_cancelled_sender_leaves_the_line_and_its_message))
