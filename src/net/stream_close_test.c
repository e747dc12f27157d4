/* SPDX-License-Identifier: MIT
 * Ends of a stream that somebody else brings about: hung up, aborted; and what a close leaves the
 * peer with. */
#include "net/stream.h"

#include "net/net_test.h"

static int read_to_the_end(void *ctx)
{
    char buf[1000];
    ssize_t n, total = 0;
    while ((n = bk_stream_read(ctx, buf, sizeof buf)) > 0)
        total += n;
    return n < 0 ? (int)n : (int)total;
}

static int read_a_line(void *ctx)
{
    bk_span line;
    return bk_stream_read_line(ctx, &line);
}

static int write_much(void *ctx)
{
    static char much[1000 * 1000];
    return bk_stream_write(ctx, much, sizeof much);
}

static int flush_it(void *ctx)
{
    return bk_stream_flush(ctx);
}

static int result_of(bk_task **task)
{
    int r = -EINPROGRESS;
    bk_task_wait(*task, &r);
    bk_task_free(task);
    return r;
}

/* ---- Hung up ---- */

LOOP_TEST(ST4_hanging_up_ends_a_read_that_waits)
{
    bk_stream *a = NULL, *b = NULL;
    char buf[300];
    for (int buffered = 0; buffered < 2; buffered++) {
        bk_task *reader = NULL;
        CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
        CHECK_EQ(bk_go(&reader, buffered ? read_a_line : read_to_the_end, a, NULL), 0);
        bk_sleep(bk_ms(1));
        CHECK(!bk_task_done(reader) && !bk_stream_is_closing(a));
        bk_stream_hang_up(a);
        CHECK(bk_stream_is_closing(a));
        CHECK_EQ(result_of(&reader), 0);
        CHECK_EQ(bk_stream_read(a, buf, sizeof buf), 0);
        CHECK_EQ(bk_stream_read(a, buf, 1), 0);
        CHECK_EQ(bk_stream_write(a, "x", 1), -EPIPE);
        CHECK(strstr(bk_errmsg(), "hung up") != NULL);
        CHECK_EQ(bk_stream_try_write(a, "x", 1), -EPIPE);
        CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 0); /* the peer sees the end already */
        CHECK_EQ(bk_stream_close(&a, 0), 0);
        CHECK_EQ(bk_stream_close(&b, 0), 0);
    }
}

LOOP_TEST(ST4_what_had_come_is_read_after_hanging_up)
{
    struct ends e;
    bk_span line;
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "one\ntwo\nthree");
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    bk_stream_hang_up(e.s);
    bk_stream_hang_up(e.s);
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    CHECK_MEM(line.data, line.len, "two", 3);
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    CHECK_MEM(line.data, line.len, "three", 5);
    CHECK_EQ(bk_stream_read_line(e.s, &line), 0);
    close_ends(&e);
}

LOOP_TEST(ST4_what_was_written_is_sent_before_the_peer_sees_the_end)
{
    struct ends e;
    static char block[60 * 1000], got[sizeof block + 1];
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    CHECK_EQ(bk_stream_write(e.s, block, sizeof block), 0);
    CHECK(bk_stream_unsent(e.s) > 0);
    bk_stream_hang_up(e.s);
    size_t n_got = 0;
    ssize_t n;
    while ((n = read(e.peer, got, sizeof got)) > 0) {
        n_got += (size_t)n;
        bk_sleep(bk_ms(1));
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(n_got, sizeof block);
    CHECK_EQ(bk_stream_close(&e.s, 0), 0);
    close_ends(&e);
}

LOOP_TEST(ST4_a_write_under_way_goes_to_its_end_after_hanging_up)
{
    struct ends e;
    bk_task *writer = NULL;
    static char got[100 * 1000];
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_go(&writer, write_much, e.s, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK(!bk_task_done(writer));
    bk_stream_hang_up(e.s);
    size_t n_got = 0;
    ssize_t n;
    while ((n = read(e.peer, got, sizeof got)) > 0) {
        n_got += (size_t)n;
        bk_sleep(bk_ms(1));
    }
    CHECK_EQ(n_got, 1000 * 1000);
    CHECK_EQ(result_of(&writer), 0);
    close_ends(&e);
}

/* ---- Aborted ---- */

/* In asyncio a reader sees an orderly end, here an error: what it has is not all there was. */
LOOP_TEST(C136_C142_ST4_differs_abort_fails_everybody_inside)
{
    struct ends e;
    bk_task *reader = NULL, *writer = NULL, *flusher = NULL;
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_go(&reader, read_to_the_end, e.s, NULL), 0);
    CHECK_EQ(bk_go(&writer, write_much, e.s, NULL), 0);
    CHECK_EQ(bk_go(&flusher, flush_it, e.s, NULL), 0);
    bk_sleep(bk_ms(1));
    bk_stream_abort(e.s);
    bk_stream_abort(e.s);
    CHECK(bk_stream_is_closing(e.s));
    bk_sleep(bk_ms(1));
    CHECK(bk_task_done(reader) && bk_task_done(writer));
    CHECK_EQ(result_of(&reader), -ECONNABORTED);
    CHECK_EQ(result_of(&writer), -ECONNABORTED);
    int r = result_of(&flusher);
    CHECK(r == 0 || r == -ECONNABORTED); /* nothing was unsent while the write itself waited */
    CHECK_EQ(bk_stream_unsent(e.s), 0);
    CHECK_EQ(bk_stream_write(e.s, "x", 1), -ECONNABORTED);
    CHECK_EQ(bk_stream_drain(e.s), -ECONNABORTED);
    char buf[300];
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), -ECONNABORTED);
    CHECK(strstr(bk_errmsg(), "read") != NULL);
    CHECK_EQ(bk_stream_close(&e.s, 0), -ECONNABORTED);
    CHECK(e.s == NULL);
    close_ends(&e);
}

LOOP_TEST(C142_ST4_abort_drops_what_is_sent_in_the_background)
{
    struct ends e;
    static char block[60 * 1000];
    bk_task *flusher = NULL;
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    CHECK_EQ(bk_stream_write(e.s, block, sizeof block), 0);
    CHECK_EQ(bk_stream_write(e.s, block, 100), 0);
    CHECK_EQ(bk_go(&flusher, flush_it, e.s, NULL), 0);
    bk_yield();
    CHECK(!bk_task_done(flusher));
    bk_stream_abort(e.s);
    CHECK_EQ(result_of(&flusher), -ECONNABORTED);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_stream_unsent(e.s), 0);
    close_ends(&e);
}

LOOP_TEST(C142_ST4_abort_resets_a_tcp_connection)
{
    bk_stream *a = NULL, *b = NULL;
    char buf[300];
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_stream_write(a, "half a mess", 11), 0);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 11);
    bk_stream_abort(a);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), -ECONNRESET); /* before a is closed */
    CHECK(bk_stream_peer(a)[0] != '\0');
    bk_stream_close(&a, -1);
    bk_stream_close(&b, -1);
}

/* ---- Closed ---- */

LOOP_TEST(C142_ST4_what_close_drops_is_no_orderly_end_for_the_peer)
{
    bk_stream *a = NULL, *b = NULL;
    static char block[8 * 1000 * 1000];
    CHECK_EQ(open_tcp_pair(&a, &b, &(bk_stream_opts){.write_buffer = sizeof block}), 0);
    set_buffer(bk_stream_fd(a), SO_SNDBUF, 64 * 1024);
    CHECK_EQ(bk_stream_write(a, block, sizeof block), 0);
    CHECK(bk_stream_unsent(a) > 0);
    CHECK_EQ(bk_stream_close(&a, -EIO), -EIO);
    CHECK_EQ(read_to_the_end(b), -ECONNRESET);
    bk_stream_close(&b, -1);
}

LOOP_TEST(C142_ST4_a_second_close_returns_at_once)
{
    struct ends e;
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_stream_close(&e.s, 0), 0);
    CHECK_EQ(bk_stream_close(&e.s, 0), 0);
    CHECK_EQ(bk_stream_close(&e.s, -EIO), -EIO);
    close_ends(&e);
}

LOOP_TEST(C149_ST4_a_peer_that_left_data_unread_holds_up_no_close)
{
    bk_stream *a = NULL, *b = NULL;
    static char block[4 * 1000 * 1000];
    CHECK_EQ(open_tcp_pair(&a, &b, &(bk_stream_opts){.write_buffer = sizeof block}), 0);
    set_buffer(bk_stream_fd(a), SO_SNDBUF, 64 * 1024);
    CHECK_EQ(bk_stream_write(a, block, sizeof block), 0);
    CHECK(bk_stream_unsent(a) > 0);
    CHECK_EQ(bk_stream_write(b, "unread", 6), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_stream_close(&b, 0), 0); /* resets the connection: it had not read */
    int r = bk_stream_close(&a, 0);
    CHECK(r == -ECONNRESET || r == -EPIPE);
    CHECK(bk_time_since(bk_now(), start).ns < bk_seconds(5).ns);
}

CHECK_MAIN(TEST(ST4_hanging_up_ends_a_read_that_waits),
           TEST(ST4_what_had_come_is_read_after_hanging_up),
           TEST(ST4_what_was_written_is_sent_before_the_peer_sees_the_end),
           TEST(ST4_a_write_under_way_goes_to_its_end_after_hanging_up),
           TEST(C136_C142_ST4_differs_abort_fails_everybody_inside),
           TEST(C142_ST4_abort_drops_what_is_sent_in_the_background),
           TEST(C142_ST4_abort_resets_a_tcp_connection),
           TEST(C142_ST4_what_close_drops_is_no_orderly_end_for_the_peer),
           TEST(C142_ST4_a_second_close_returns_at_once),
           TEST(C149_ST4_a_peer_that_left_data_unread_holds_up_no_close))
