/* SPDX-License-Identifier: MIT
 * Reading up to something: several separators, long searches, all there is. */
#include "net/stream.h"

#include "net/net_test.h"

#define CHECK_SPAN(span, text) CHECK_MEM((span).data, (span).len, text, strlen(text))

/* Writes text in portions of n bytes, then hangs up. */
struct script {
    int fd;
    const char *text;
    size_t n;
};

static int play(void *ctx)
{
    struct script *p = ctx;
    size_t len = strlen(p->text);
    for (size_t at = 0; at < len; at += p->n) {
        size_t n = len - at < p->n ? len - at : p->n;
        if (write(p->fd, p->text + at, n) != (ssize_t)n)
            return -errno;
        int r = bk_sleep(bk_ms(1));
        if (r < 0)
            return r;
    }
    close(p->fd);
    return 0;
}

/* Runs read_it against text in portions of every size. */
static void in_all_portions(const char *text, void (*read_it)(bk_stream *s))
{
    for (size_t n = 1; n <= strlen(text); n++) {
        struct ends e;
        bk_task *writer = NULL;
        CHECK_EQ(open_ends(&e, NULL), 0);
        struct script p = {e.peer, text, n};
        e.peer = -1;
        CHECK_EQ(bk_go(&writer, play, &p, NULL), 0);
        int before = check_failures;
        read_it(e.s);
        if (check_failures != before)
            fprintf(stderr, "... in portions of %zu bytes\n", n);
        CHECK_EQ(bk_task_wait(writer, NULL), 0);
        bk_task_free(&writer);
        close_ends(&e);
    }
}

static void read_to_whichever_ends_first(bk_stream *s)
{
    const bk_span ends[] = {bk_span_str("\r\n"), bk_span_str("\n"), bk_span_str("ABCDE"),
                            bk_span_str("CD")};
    const char *want[] = {"one\r\n", "two\n", "ABCD", "E\r\r\n"};
    bk_span out;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK_EQ(bk_stream_read_until_any(s, ends, 4, &out), 1);
        CHECK_SPAN(out, want[i]);
    }
    CHECK_EQ(bk_stream_read_until_any(s, ends, 4, &out), -BK_EINCOMPLETE);
    CHECK_SPAN(out, "rest\rABC");
    CHECK_EQ(bk_stream_read_until_any(s, ends, 4, &out), 0);
}

LOOP_TEST(C130_C133_ST2_the_separator_that_ends_first_wins)
{
    in_all_portions("one\r\ntwo\nABCDE\r\r\nrest\rABC", read_to_whichever_ends_first);
}

LOOP_TEST(C130_ST2_separators_keep_to_the_limits)
{
    struct ends e;
    bk_span out, many[17];
    for (int i = 0; i < 17; i++)
        many[i] = bk_span_str(";");
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 8}), 0);
    CHECK_EQ(bk_stream_read_until_any(e.s, many, 0, &out), -EINVAL);
    CHECK_EQ(bk_stream_read_until_any(e.s, many, 17, &out), -EINVAL);
    many[3] = bk_span_str("");
    CHECK_EQ(bk_stream_read_until_any(e.s, many, 16, &out), -EINVAL);
    const bk_span ends[] = {bk_span_str(";"), bk_span_str(",.")};
    say(&e, "1234567,.");
    CHECK_EQ(bk_stream_read_until_any(e.s, ends, 2, &out), -BK_ELIMIT); /* found beyond it */
    CHECK_EQ(bk_stream_peek(e.s, 0, &out), 1);
    CHECK_MEM(out.data, out.len, "1234567,", 8); /* nothing is consumed */
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str(","), &out), 1);
    CHECK_SPAN(out, "1234567,");
    close_ends(&e);
}

/* ---- Long searches ---- */

enum { LONG = 64 * 1024 * 1024, CHUNK = 4096 };

static int write_a_long_line(void *ctx)
{
    static char chunk[CHUNK];
    memset(chunk, '\r', sizeof chunk); /* half a separator, everywhere */
    int r = 0;
    for (size_t i = 0; r == 0 && i < LONG / CHUNK; i++) {
        r = bk_stream_write(ctx, chunk, sizeof chunk);
        if (r == 0)
            r = bk_stream_flush(ctx);
    }
    return r < 0 ? r : bk_stream_write(ctx, "\n", 1);
}

/* In time that grows with the square, this would take minutes. */
LOOP_TEST(C133_ST2_a_search_through_64_MiB_looks_at_each_byte_once)
{
    bk_stream *reader = NULL;
    struct ends e;
    bk_span out;
    bk_task *writer = NULL;
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_stream_from_fd(&reader, e.peer, &(bk_stream_opts){.read_limit = LONG + 1}), 0);
    e.peer = -1;
    CHECK_EQ(bk_go(&writer, write_a_long_line, e.s, NULL), 0);
    CHECK_EQ(bk_stream_read_until(reader, bk_span_str("\r\n"), &out), 1);
    CHECK_EQ(out.len, LONG + 1);
    CHECK(out.data[LONG - 1] == '\r' && out.data[LONG] == '\n');
    CHECK_EQ(bk_task_wait(writer, NULL), 0);
    bk_task_free(&writer);
    bk_stream_close(&reader, 0);
    close_ends(&e);
}

LOOP_TEST(C132_ST2_an_exact_read_goes_beyond_the_limit)
{
    struct ends e;
    static char block[100 * 1000], got[sizeof block];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7);
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 100}), 0);
    set_buffer(e.peer, SO_SNDBUF, 1 << 20);
    CHECK_EQ(write(e.peer, block, sizeof block), (ssize_t)sizeof block);
    CHECK_EQ(bk_stream_read_exactly(e.s, got, sizeof got), 0);
    CHECK_MEM(got, sizeof got, block, sizeof block);
    close_ends(&e);
}

/* asyncio's error holds the part that came; here it stays in the stream, for another read. */
LOOP_TEST(C129_ST2_differs_a_short_exact_read_leaves_the_part_in_the_stream)
{
    struct ends e;
    char buf[10];
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "seven b");
    hang_up(&e);
    CHECK_EQ(bk_stream_read_exactly(e.s, buf, 10), -BK_EINCOMPLETE);
    CHECK(strstr(bk_errmsg(), "7 of 10 bytes") != NULL);
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), 7);
    CHECK_MEM(buf, 7, "seven b", 7);
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), 0);
    close_ends(&e);
}

/* ---- All there is ---- */

static void read_it_all(bk_stream *s)
{
    bk_msg *all = NULL;
    bk_span line;
    CHECK_EQ(bk_stream_read_line(s, &line), 1);
    CHECK_EQ(bk_stream_read_all(s, 12, &all), 0);
    CHECK_SPAN(bk_msg_span(all), "second\nthird");
    bk_msg_free(&all);
    CHECK_EQ(bk_stream_read_all(s, 0, &all), 0); /* the end, again */
    CHECK_EQ(bk_msg_len(all), 0);
    bk_msg_free(&all);
}

LOOP_TEST(C134_ST2_read_all_reads_to_the_end)
{
    in_all_portions("first\nsecond\nthird", read_it_all);
}

LOOP_TEST(ST2_read_all_goes_beyond_read_limit)
{
    struct ends e;
    static char block[150 * 1000];
    bk_msg *all = NULL;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 11);
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 1000}), 0);
    set_buffer(e.peer, SO_SNDBUF, 1 << 20);
    CHECK_EQ(write(e.peer, block, sizeof block), (ssize_t)sizeof block);
    hang_up(&e);
    CHECK_EQ(bk_stream_read_all(e.s, BK_UNBOUNDED, &all), 0);
    CHECK_MEM(bk_msg_data(all), bk_msg_len(all), block, sizeof block);
    bk_msg_free(&all);
    close_ends(&e);
}

LOOP_TEST(ST2_read_all_keeps_to_its_limit_and_loses_nothing)
{
    struct ends e;
    char buf[300];
    bk_msg *all = NULL;
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "0123456789");
    CHECK_EQ(bk_stream_read_all(e.s, 9, &all), -BK_ELIMIT);
    CHECK(all == NULL);
    CHECK(strstr(bk_errmsg(), "more than 9 bytes") != NULL);
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), 10);
    CHECK_MEM(buf, 10, "0123456789", 10);
    close_ends(&e);
}

CHECK_MAIN(TEST(C130_C133_ST2_the_separator_that_ends_first_wins),
           TEST(C130_ST2_separators_keep_to_the_limits),
           TEST(C133_ST2_a_search_through_64_MiB_looks_at_each_byte_once),
           TEST(C132_ST2_an_exact_read_goes_beyond_the_limit),
           TEST(C129_ST2_differs_a_short_exact_read_leaves_the_part_in_the_stream),
           TEST(C134_ST2_read_all_reads_to_the_end), TEST(ST2_read_all_goes_beyond_read_limit),
           TEST(ST2_read_all_keeps_to_its_limit_and_loses_nothing))
