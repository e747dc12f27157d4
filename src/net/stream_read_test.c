/* SPDX-License-Identifier: MIT
 * Reading: every call, its ends and limits, with the bytes coming in any portions, and cancels. */
#include "net/stream.h"

#include "net/net_test.h"

#define CHECK_SPAN(span, text) CHECK_MEM((span).data, (span).len, text, strlen(text))

/* asyncio answers a read of 0 bytes with none; in C that would look like the end. */
LOOP_TEST(C134_ST2_read_returns_what_there_is)
{
    struct ends e;
    char buf[1024];
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "hello");
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), 5);
    CHECK_MEM(buf, 5, "hello", 5);
    say(&e, "little");
    CHECK_EQ(bk_stream_read(e.s, buf, 4), 4); /* small reads share one receive */
    CHECK_EQ(bk_stream_read(e.s, buf + 4, sizeof buf), 2);
    CHECK_MEM(buf, 6, "little", 6);
    CHECK_EQ(bk_stream_read(e.s, buf, 0), -EINVAL);
    hang_up(&e);
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_read(e.s, buf, 1), 0);
    close_ends(&e);
}

LOOP_TEST(a_large_read_skips_the_buffer)
{
    struct ends e;
    char buf[1024];
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "straight");
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), 8);
    CHECK(e.s->in.data == NULL);
    close_ends(&e);
}

/* ---- Portions ---- */

/* Sends a text in two portions with a pause between, then hangs up. */
struct portions {
    int fd;
    const char *text;
    size_t first;
    bool each_byte;
};

static int send_portions(void *ctx)
{
    struct portions *p = ctx;
    size_t len = strlen(p->text);
    for (size_t at = 0; at < len;) {
        size_t n = p->each_byte ? 1 : at == 0 && p->first > 0 ? p->first : len - at;
        if (write(p->fd, p->text + at, n) != (ssize_t)n)
            return -errno;
        at += n;
        int r = bk_sleep(bk_ms(1));
        if (r < 0)
            return r;
    }
    close(p->fd);
    return 0;
}

/* Runs read(stream) against the text in every two portions, and byte by byte. */
static void in_all_portions(const char *text, void (*read_all)(bk_stream *s))
{
    size_t len = strlen(text);
    for (size_t first = 0; first <= len; first++) {
        struct ends e;
        CHECK_EQ(open_ends(&e, NULL), 0);
        struct portions p = {e.peer, text, first, first == len};
        e.peer = -1;
        bk_task *sender = NULL;
        CHECK_EQ(bk_go(&sender, send_portions, &p, NULL), 0);
        int before = check_failures;
        read_all(e.s);
        if (check_failures != before)
            fprintf(stderr, "... after %zu bytes\n", first);
        CHECK_EQ(check_failures, before);
        CHECK_EQ(bk_task_wait(sender, NULL), 0);
        bk_task_free(&sender);
        close_ends(&e);
    }
}

static void read_the_lines(bk_stream *s)
{
    bk_span line;
    const char *want[] = {"alpha", "", "be\rta", "\r", "end"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK_EQ(bk_stream_read_line(s, &line), 1);
        CHECK_SPAN(line, want[i]);
    }
    CHECK_EQ(bk_stream_read_line(s, &line), 0);
    CHECK_EQ(bk_stream_read_line(s, &line), 0);
}

LOOP_TEST(C128_ST2_lines_come_in_any_portions)
{
    in_all_portions("alpha\r\n\nbe\rta\n\r\r\nend", read_the_lines);
}

static void read_to_separators(bk_stream *s)
{
    bk_span out;
    CHECK_EQ(bk_stream_read_until(s, bk_span_str("aab"), &out), 1);
    CHECK_SPAN(out, "aaaab");
    CHECK_EQ(bk_stream_read_until(s, bk_span_str("\r\n\r\n"), &out), 1);
    CHECK_SPAN(out, "he\r\r\n\r\n");
    CHECK_EQ(bk_stream_read_until(s, bk_span_str(";"), &out), 1);
    CHECK_SPAN(out, ";");
    CHECK_EQ(bk_stream_read_until(s, bk_span_str("0123456789abcdef"), &out), -BK_EINCOMPLETE);
    CHECK_SPAN(out, "rest0123456789");
    CHECK_EQ(bk_stream_read_until(s, bk_span_str(";"), &out), 0);
}

LOOP_TEST(C133_ST2_separators_come_in_any_portions)
{
    in_all_portions("aaaabhe\r\r\n\r\n;rest0123456789", read_to_separators);
}

static void read_exact_parts(bk_stream *s)
{
    char buf[16];
    CHECK_EQ(bk_stream_read_exactly(s, buf, 4), 0);
    CHECK_MEM(buf, 4, "0123", 4);
    CHECK_EQ(bk_stream_read_exactly(s, buf, 0), 0);
    CHECK_EQ(bk_stream_read_exactly(s, buf, 6), 0);
    CHECK_MEM(buf, 6, "456789", 6);
    CHECK_EQ(bk_stream_read_exactly(s, buf, 4), -BK_EINCOMPLETE);
    CHECK(strstr(bk_errmsg(), "after 3 of 4 bytes") != NULL);
    CHECK_EQ(bk_stream_read_exactly(s, buf, 3), 0);
    CHECK_MEM(buf, 3, "xyz", 3);
    CHECK_EQ(bk_stream_read_exactly(s, buf, 1), -BK_EINCOMPLETE);
}

LOOP_TEST(ST2_exact_reads_come_in_any_portions)
{
    in_all_portions("0123456789xyz", read_exact_parts);
}

static void peek_and_consume(bk_stream *s)
{
    bk_span out;
    CHECK_EQ(bk_stream_peek(s, 3, &out), 1);
    CHECK(out.len >= 3 && memcmp(out.data, "abc", 3) == 0);
    ((char *)(uintptr_t)out.data)[1] = 'B';
    bk_stream_consume(s, 1);
    CHECK_EQ(bk_stream_peek(s, 5, &out), 1);
    CHECK(out.len >= 5 && memcmp(out.data, "Bcdef", 5) == 0);
    bk_stream_consume(s, 4);
    CHECK_EQ(bk_stream_peek(s, 5, &out), 0);
    CHECK_SPAN(out, "fgh");
    CHECK_EQ(bk_stream_peek(s, 0, &out), 1);
    CHECK_SPAN(out, "fgh");
    bk_stream_consume(s, 100);
    CHECK_EQ(bk_stream_peek(s, 1, &out), 0);
    CHECK_EQ(out.len, 0);
}

LOOP_TEST(peeks_come_in_any_portions)
{
    in_all_portions("abcdefgh", peek_and_consume);
}

/* ---- A long mixture against what was sent ---- */

enum { MIX_SIZE = 600 * 1000 };

static char mix[MIX_SIZE];

static void make_mix(void)
{
    unsigned seed = 42;
    for (size_t i = 0; i < MIX_SIZE; i++) {
        unsigned r = next_random(&seed);
        mix[i] = (char)(r % 40 == 0 ? '\n' : 'a' + r % 26);
    }
}

static int send_mix(void *ctx)
{
    bk_stream *s = ctx;
    unsigned seed = 7;
    for (size_t at = 0; at < MIX_SIZE;) {
        unsigned r = next_random(&seed);
        size_t n = r % 8 == 0 ? r / 8 % 50000 : r / 8 % 300;
        if (n > MIX_SIZE - at)
            n = MIX_SIZE - at;
        int w = bk_stream_write(s, mix + at, n);
        if (w < 0)
            return w;
        at += n;
        if (r % 5 == 0)
            bk_yield();
    }
    return bk_stream_write_eof(s);
}

static void read_some_way(bk_stream *s, unsigned how, size_t *at)
{
    static char buf[20000];
    bk_span span;
    size_t left = MIX_SIZE - *at, len = how / 5 % (how % 3 == 0 ? sizeof buf : 700) + 1;
    if (len > left)
        len = left;
    switch (how % 5) {
    case 0: {
        ssize_t n = bk_stream_read(s, buf, len);
        CHECK(n > 0 && (size_t)n <= len);
        CHECK_MEM(buf, (size_t)n, mix + *at, (size_t)n);
        *at += (size_t)n;
        break;
    }
    case 1:
        CHECK_EQ(bk_stream_read_exactly(s, buf, len), 0);
        CHECK_MEM(buf, len, mix + *at, len);
        *at += len;
        break;
    case 2: {
        CHECK_EQ(bk_stream_read_line(s, &span), 1);
        const char *newline = memchr(mix + *at, '\n', left);
        size_t want = newline ? (size_t)(newline - mix) - *at : left;
        CHECK_MEM(span.data, span.len, mix + *at, want);
        *at += want + (newline != NULL);
        break;
    }
    case 3: {
        int r = bk_stream_read_until(s, bk_span_str("q\n"), &span);
        CHECK(r == 1 || r == -BK_EINCOMPLETE);
        CHECK(span.len <= left);
        CHECK_MEM(span.data, span.len, mix + *at, span.len);
        CHECK(r < 0 || memmem(span.data, span.len - 1, "q\n", 2) == NULL);
        *at += span.len;
        break;
    }
    default:
        CHECK_EQ(bk_stream_peek(s, len, &span), 1);
        CHECK(span.len >= len);
        CHECK_MEM(span.data, len, mix + *at, len);
        bk_stream_consume(s, len / 2);
        *at += len / 2;
        break;
    }
}

LOOP_TEST(a_mixture_of_calls_reads_everything_once)
{
    bk_stream *a = NULL, *b = NULL;
    bk_task *sender = NULL;
    unsigned seed = 99;
    make_mix();
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_go(&sender, send_mix, a, NULL), 0);
    int before = check_failures;
    for (size_t at = 0; at < MIX_SIZE && check_failures == before;)
        read_some_way(b, next_random(&seed) >> 3, &at);
    char c;
    CHECK_EQ(bk_stream_read(b, &c, 1), 0);
    CHECK_EQ(bk_task_wait(sender, NULL), 0);
    bk_task_free(&sender);
    bk_stream_close(&a, 0);
    bk_stream_close(&b, 0);
}

/* ---- Limits ---- */

LOOP_TEST(C130_C132_ST2_read_limit_bounds_a_separator_search)
{
    struct ends e;
    bk_span out;
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 8}), 0);
    say(&e, "1234567;123456789;");
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str(";"), &out), 1);
    CHECK_SPAN(out, "1234567;");
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str(";"), &out), -BK_ELIMIT);
    CHECK(strstr(bk_errmsg(), "read_limit (8 bytes)") != NULL);
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str(";"), &out), -BK_ELIMIT);
    char buf[10];
    CHECK_EQ(bk_stream_read_exactly(e.s, buf, 10),
             0); /* nothing was consumed, exactly goes beyond */
    CHECK_MEM(buf, 10, "123456789;", 10);
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str(""), &out), -EINVAL);
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str("0123456789abcdefg"), &out), -EINVAL);
    CHECK_EQ(bk_stream_peek(e.s, 9, &out), -EINVAL);
    close_ends(&e);
}

/* asyncio drops the whole buffer when no end of the line is in sight, and takes the line's later
 * part for a line; beck drops the line, to its end. */
LOOP_TEST(C131_ST2_differs_a_long_line_is_skipped_to_its_end)
{
    struct ends e;
    bk_span line;
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 8}), 0);
    say(&e, "0123456789012345678901234567890\nshort\n1234567\n12345678\nlast");
    CHECK_EQ(bk_stream_read_line(e.s, &line), -BK_ELIMIT);
    CHECK(strstr(bk_errmsg(), "a line over read_limit (8 bytes)") != NULL);
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    CHECK_SPAN(line, "short");
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    CHECK_SPAN(line, "1234567");
    CHECK_EQ(bk_stream_read_line(e.s, &line), -BK_ELIMIT);
    hang_up(&e);
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    CHECK_SPAN(line, "last");
    close_ends(&e);
}

LOOP_TEST(a_long_last_line_ends_with_the_stream)
{
    struct ends e;
    bk_span line;
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 8}), 0);
    say(&e, "0123456789012345678901234567890");
    hang_up(&e);
    CHECK_EQ(bk_stream_read_line(e.s, &line), -BK_ELIMIT);
    CHECK_EQ(bk_stream_read_line(e.s, &line), 0);
    close_ends(&e);
}

LOOP_TEST(C137_ST1_the_buffer_stays_within_twice_the_limit)
{
    struct ends e;
    bk_span line;
    static char text[3001];
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.read_limit = 1000}), 0);
    memset(text, 'x', 3000);
    for (int i = 1; i < 3000; i += 7)
        text[i] = '\n';
    text[2999] = '\n';
    for (int round = 0; round < 20; round++) {
        say(&e, text);
        for (int i = 0; i < 429; i++) {
            CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
            CHECK(e.s->in.cap <= 2000);
        }
    }
    close_ends(&e);
}

LOOP_TEST(an_idle_stream_gives_its_large_buffer_back)
{
    bk_stream *a = NULL, *b = NULL;
    static char block[256 * 1024];
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    bk_task *sender = NULL;
    memset(block, 'x', sizeof block);
    make_mix();
    CHECK_EQ(bk_go(&sender, send_mix, a, NULL), 0);
    size_t largest = 0;
    bk_span out;
    for (size_t left = MIX_SIZE; left > 0; left -= out.len) {
        CHECK_EQ(bk_stream_peek(b, 1, &out), 1);
        largest = b->in.cap > largest ? b->in.cap : largest;
        bk_stream_consume(b, out.len);
        bk_sleep(bk_ms(1)); /* so that much comes at once */
    }
    CHECK(largest >= 32 * 1024);
    CHECK_EQ(bk_task_wait(sender, NULL), 0);
    bk_task_free(&sender);
    bk_stream_close(&a, 0);
    bk_stream_close(&b, 0);
}

static int peek_one(void *ctx)
{
    bk_span out;
    return bk_stream_peek(ctx, 1, &out);
}

LOOP_TEST(a_waiting_stream_holds_no_large_buffer)
{
    struct ends e;
    static char block[100 * 1000];
    bk_span out;
    CHECK_EQ(open_ends(&e, NULL), 0);
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(write(e.peer, block, sizeof block), (ssize_t)sizeof block);
        for (size_t left = sizeof block; left > 0; left -= out.len) {
            CHECK_EQ(bk_stream_peek(e.s, 1, &out), 1);
            bk_stream_consume(e.s, out.len);
        }
    }
    CHECK(e.s->in.cap >= 32 * 1024);
    bk_task *reader = NULL;
    int r = 0;
    CHECK_EQ(bk_go(&reader, peek_one, e.s, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(e.s->in.cap, 0);
    say(&e, "x");
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, 1);
    bk_task_free(&reader);
    close_ends(&e);
}

/* ---- One reader; cancels ---- */

static int read_a_line(void *ctx)
{
    bk_span line;
    return bk_stream_read_line(ctx, &line);
}

LOOP_TEST(C135_ST1_a_second_reader_is_refused)
{
    struct ends e;
    char buf[8];
    bk_task *reader = NULL;
    bk_span out;
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_go(&reader, read_a_line, e.s, NULL), 0);
    bk_yield();
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), -EBUSY);
    CHECK_EQ(bk_stream_read_exactly(e.s, buf, 1), -EBUSY);
    CHECK_EQ(bk_stream_read_until(e.s, bk_span_str("\n"), &out), -EBUSY);
    CHECK_EQ(bk_stream_peek(e.s, 1, &out), -EBUSY);
    CHECK_EQ(bk_stream_close(&e.s, 0), -EBUSY);
    CHECK(e.s != NULL);
    CHECK_EQ(bk_stream_write(e.s, "x", 1), 0); /* a writer is welcome */
    say(&e, "done\n");
    int r = 0;
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, 1);
    bk_task_free(&reader);
    close_ends(&e);
}

enum { EXACT = 300 * 1000 };

struct exact {
    bk_stream *s;
    size_t len;
    char *buf;
};

static int read_exactly_into(void *ctx)
{
    struct exact *x = ctx;
    return bk_stream_read_exactly(x->s, x->buf, x->len);
}

/* A read of `len` bytes is cancelled by time again and again while they trickle in. */
static void check_cancelled_exact_reads(size_t len, size_t portion)
{
    struct ends e;
    char *want = malloc(len), *got = malloc(len);
    unsigned seed = 5;
    CHECK_EQ(open_ends(&e, NULL), 0);
    for (size_t i = 0; i < len; i++)
        want[i] = (char)next_random(&seed);
    struct exact x = {e.s, len, got};
    int r = 0;
    for (size_t at = 0; at < len; at += portion) {
        CHECK_EQ(r, at ? -ETIMEDOUT : 0);
        size_t n = len - at < portion ? len - at : portion;
        CHECK_EQ(write(e.peer, want + at, n), (ssize_t)n);
        memset(got, 0, len);
        r = bk_wait_for(read_exactly_into, &x, bk_ms(1));
    }
    CHECK_EQ(r, 0);
    CHECK_MEM(got, len, want, len);
    close_ends(&e);
    free(want);
    free(got);
}

LOOP_TEST(ST2_cancelled_exact_reads_lose_nothing)
{
    check_cancelled_exact_reads(100, 7);
    check_cancelled_exact_reads(5000, 700);
    check_cancelled_exact_reads(EXACT, 100 * 1000);
}

LOOP_TEST(ST2_cancelled_searches_lose_nothing)
{
    struct ends e;
    CHECK_EQ(open_ends(&e, NULL), 0);
    for (int i = 0; i < 20; i++) {
        say(&e, "0123456789");
        CHECK_EQ(bk_wait_for(read_a_line, e.s, bk_ms(1)), -ETIMEDOUT);
    }
    say(&e, "!\n");
    bk_span line;
    CHECK_EQ(bk_stream_read_line(e.s, &line), 1);
    CHECK_EQ(line.len, 201);
    CHECK(line.data[0] == '0' && line.data[199] == '9' && line.data[200] == '!');
    close_ends(&e);
}

LOOP_TEST(a_cancelled_task_reads_nothing)
{
    struct ends e;
    char buf[8];
    CHECK_EQ(open_ends(&e, NULL), 0);
    say(&e, "ab\n");
    bk_span out;
    CHECK_EQ(bk_stream_peek(e.s, 1, &out), 1);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), -ECANCELED);
    CHECK_EQ(bk_stream_read_line(e.s, &out), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(bk_stream_read_line(e.s, &out), 1);
    CHECK_SPAN(out, "ab");
    close_ends(&e);
}

/* ---- Broken connections ---- */

LOOP_TEST(C136_ST2_a_reset_is_an_error_for_ever)
{
    bk_stream *a = NULL, *b = NULL;
    char buf[1024];
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_stream_write(a, "last words", 10), 0);
    CHECK_EQ(bk_stream_read_exactly(b, buf, 4), 0);
    reset_on_close(bk_stream_fd(a));
    bk_stream_close(&a, 0);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 6); /* what came before is still read */
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), -ECONNRESET);
    CHECK(strncmp(bk_errmsg(), "read", 4) == 0);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), -ECONNRESET);
    bk_stream_close(&b, -1);
}

LOOP_TEST(a_reset_seen_by_a_write_is_no_orderly_end_for_reads)
{
    bk_stream *a = NULL, *b = NULL;
    char buf[1024];
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    reset_on_close(bk_stream_fd(a));
    bk_stream_close(&a, 0);
    int r = bk_stream_write(b, "x", 1);
    if (r == 0)
        r = bk_stream_flush(b);
    CHECK_EQ(r, -ECONNRESET);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), -ECONNRESET);
    bk_stream_close(&b, -1);
}

CHECK_MAIN(TEST(C134_ST2_read_returns_what_there_is), TEST(a_large_read_skips_the_buffer),
           TEST(C128_ST2_lines_come_in_any_portions),
           TEST(C133_ST2_separators_come_in_any_portions),
           TEST(ST2_exact_reads_come_in_any_portions), TEST(peeks_come_in_any_portions),
           TEST(a_mixture_of_calls_reads_everything_once),
           TEST(C130_C132_ST2_read_limit_bounds_a_separator_search),
           TEST(C131_ST2_differs_a_long_line_is_skipped_to_its_end),
           TEST(a_long_last_line_ends_with_the_stream),
           TEST(C137_ST1_the_buffer_stays_within_twice_the_limit),
           TEST(an_idle_stream_gives_its_large_buffer_back),
           TEST(a_waiting_stream_holds_no_large_buffer), TEST(C135_ST1_a_second_reader_is_refused),
           TEST(ST2_cancelled_exact_reads_lose_nothing), TEST(ST2_cancelled_searches_lose_nothing),
           TEST(a_cancelled_task_reads_nothing), TEST(C136_ST2_a_reset_is_an_error_for_ever),
           TEST(a_reset_seen_by_a_write_is_no_orderly_end_for_reads))
