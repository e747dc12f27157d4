/* SPDX-License-Identifier: MIT
 * Sweeps over the read calls of a stream: every byte written is got once, or still there. */
#include <sys/socket.h>

#include "tests/sweep.h"

/* What is sent: records of 16 bytes, numbered; a long line may stand before them. */
enum { RECORD = 16, RECORDS = 700, TOTAL = RECORD * RECORDS, LONG = 160 };

struct reading {
    bk_stream *here, *there; /* the subject's end, the writer's */
    size_t n_long;           /* bytes of a long line that come first */
    size_t n_written;
    size_t n_got;
    int n_too_long;
    char buf[TOTAL + LONG];
};

/* The long line, of which a scenario sends the last n_long bytes or none, and the records. */
static const char *all_bytes(size_t n_long)
{
    static char bytes[LONG + TOTAL + 1];
    if (!bytes[0]) {
        memset(bytes, '*', LONG - 1);
        bytes[LONG - 1] = '\n';
        for (int i = 0; i < RECORDS; i++)
            snprintf(bytes + LONG + i * RECORD, RECORD + 1, "record %07d\r\n", i);
    }
    return bytes + LONG - n_long;
}

static void got(struct reading *r, const char *data, size_t len)
{
    if (r->n_got + len > r->n_long + TOTAL)
        sweep_lost("more bytes than were sent");
    else if (memcmp(data, all_bytes(r->n_long) + r->n_got, len) != 0)
        sweep_lost("bytes from %zu on are not those that were sent", r->n_got);
    r->n_got += len;
}

static int open_pair(struct reading *r, const bk_stream_opts *opts)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    int e = bk_stream_from_fd(&r->here, fds[0], opts);
    if (e < 0)
        close(fds[0]);
    int f = bk_stream_from_fd(&r->there, fds[1], NULL);
    if (f < 0)
        close(fds[1]);
    return e < 0 ? e : f;
}

static int open_reading(void *ctx)
{
    return open_pair(ctx, NULL);
}

static int open_reading_with_a_limit(void *ctx)
{
    struct reading *r = ctx;
    r->n_long = LONG;
    return open_pair(ctx, &(bk_stream_opts){.read_limit = 64});
}

static void close_reading(void *ctx)
{
    struct reading *r = ctx;
    bk_stream_close(&r->here, -1);
    bk_stream_close(&r->there, -1);
}

/* The writer: pieces of growing size, so that they end anywhere in a record; all of it fits into
 * the socket, so that no write is cut in two. */
static int write_all(void *ctx)
{
    struct reading *r = ctx;
    size_t total = TOTAL + r->n_long, piece = 3;
    int e = 0;
    while (e == 0 && r->n_written < total) {
        size_t left = total - r->n_written;
        size_t n = piece < left ? piece : left;
        e = bk_stream_write(r->there, all_bytes(r->n_long) + r->n_written, n);
        if (e == 0) {
            r->n_written += n;
            e = bk_yield();
        }
        piece = piece < 1000 ? piece * 2 + 1 : 2048;
    }
    return e < 0 ? e : bk_stream_write_eof(r->there);
}

static void the_rest_is_readable(void *ctx, int result)
{
    struct reading *r = ctx;
    (void)result;
    bk_stream_close(&r->there, 0);
    for (;;) {
        ssize_t n = bk_stream_read(r->here, r->buf, sizeof r->buf);
        if (n > 0)
            got(r, r->buf, (size_t)n);
        else if (n < 0 && sweep_excused())
            return; /* honest: it does not say that this is the end */
        else if (n < 0)
            sweep_lost("what was left cannot be read: %zd", n);
        if (n <= 0)
            break;
    }
    /* A write that failed may have reached us, in part. */
    if (r->n_got != r->n_written && !sweep_faulted)
        sweep_lost("%zu bytes written, %zu got", r->n_written, r->n_got);
}

/* ---- The subjects ---- */

static int read_in_pieces(struct reading *r, size_t len)
{
    ssize_t n;
    while ((n = bk_stream_read(r->here, r->buf, len)) > 0)
        got(r, r->buf, (size_t)n);
    return (int)n;
}

static int read_much(void *ctx)
{
    return read_in_pieces(ctx, 3000);
}

static int read_little(void *ctx)
{
    return read_in_pieces(ctx, 100);
}

static int read_exactly(struct reading *r, size_t len)
{
    int e = 0;
    while (e == 0 && r->n_got + len <= TOTAL) {
        e = bk_stream_read_exactly(r->here, r->buf, len);
        if (e == 0)
            got(r, r->buf, len);
    }
    if (e < 0)
        return e;
    /* The end comes before that many. */
    e = bk_stream_read_exactly(r->here, r->buf, len);
    return e == -BK_EINCOMPLETE ? 0 : e;
}

static int read_exactly_little(void *ctx)
{
    return read_exactly(ctx, 900);
}

static int read_exactly_much(void *ctx)
{
    return read_exactly(ctx, 5000);
}

static int read_exactly_by_turns(void *ctx)
{
    struct reading *r = ctx;
    int e = 0;
    for (size_t i = 0; e == 0 && i < 4; i++) {
        size_t len = i % 2 ? 4500 : 10;
        e = bk_stream_read_exactly(r->here, r->buf, len);
        if (e == 0)
            got(r, r->buf, len);
    }
    return e;
}

static int read_records(void *ctx)
{
    struct reading *r = ctx;
    bk_span record;
    int e;
    while ((e = bk_stream_read_until(r->here, bk_span_str("\r\n"), &record)) == 1)
        got(r, record.data, record.len);
    return e;
}

/* Half a line is the last one of a writer that failed. */
static void got_line(struct reading *r, bk_span line)
{
    got(r, line.data, line.len);
    if (line.len == RECORD - 2)
        got(r, "\r\n", 2);
    else if (!sweep_excused())
        sweep_lost("a line of %zu bytes", line.len);
}

static int read_lines(void *ctx)
{
    struct reading *r = ctx;
    bk_span line;
    int e;
    while ((e = bk_stream_read_line(r->here, &line)) == 1)
        got_line(r, line);
    return e;
}

static int read_records_of_two_ends(void *ctx)
{
    const bk_span ends[] = {bk_span_str("\n"), bk_span_str("\r\n")};
    struct reading *r = ctx;
    bk_span record;
    int e;
    while ((e = bk_stream_read_until_any(r->here, ends, 2, &record)) == 1)
        got(r, record.data, record.len);
    return e;
}

static int read_all_at_once(void *ctx)
{
    struct reading *r = ctx;
    bk_msg *all = NULL;
    int e = bk_stream_read_all(r->here, TOTAL, &all);
    if (e == 0)
        got(r, bk_msg_data(all), bk_msg_len(all));
    bk_msg_free(&all);
    return e;
}

static int peek_and_consume(void *ctx)
{
    struct reading *r = ctx;
    bk_span all;
    int e;
    while ((e = bk_stream_peek(r->here, 3 * RECORD, &all)) == 1) {
        size_t n = all.len - all.len % RECORD;
        got(r, all.data, n);
        bk_stream_consume(r->here, n);
    }
    return e;
}

/* ---- Lines over the limit ---- */

static int read_line_or_complain(struct reading *r)
{
    bk_span line;
    int e = bk_stream_read_line(r->here, &line);
    if (e == -BK_ELIMIT && r->n_too_long++ == 0) {
        r->n_got = r->n_long;
        return 1;
    }
    if (e == 1)
        got_line(r, line);
    return e;
}

static int read_lines_within_the_limit(void *ctx)
{
    int e;
    while ((e = read_line_or_complain(ctx)) == 1)
        ;
    return e;
}

static void the_other_lines_follow(void *ctx, int result)
{
    struct reading *r = ctx;
    (void)result;
    /* The writer goes on where it was stopped, so that the last line is whole. */
    int e = write_all(ctx);
    while (e >= 0 && (e = read_line_or_complain(r)) == 1)
        ;
    if (e < 0 && sweep_excused())
        return;
    if (e < 0)
        sweep_lost("what was left cannot be read: %d", e);
    bool all = r->n_too_long == 1 && r->n_got == r->n_written;
    if (!all && !sweep_faulted)
        sweep_lost("%d lines too long; %zu bytes written, %zu got", r->n_too_long, r->n_written,
                   r->n_got);
}

#define READING(function)                                                                          \
    .state_size = sizeof(struct reading), .open = open_reading, .close = close_reading,            \
    .subject = function, .helpers = {write_all}, .check = the_rest_is_readable

static const struct sweep_scenario scenarios[] = {
    {.name = "read, large", READING(read_much)},
    {.name = "read, small", READING(read_little)},
    {.name = "read exactly, small", READING(read_exactly_little)},
    {.name = "read exactly, large", READING(read_exactly_much)},
    {.name = "read exactly, by turns", READING(read_exactly_by_turns)},
    {.name = "read until", READING(read_records)},
    {.name = "read until one of two", READING(read_records_of_two_ends)},
    {.name = "read all", READING(read_all_at_once)},
    {.name = "read line", READING(read_lines)},
    {.name = "peek", READING(peek_and_consume)},
    {.name = "read line over the limit",
     .state_size = sizeof(struct reading),
     .open = open_reading_with_a_limit,
     .close = close_reading,
     .subject = read_lines_within_the_limit,
     .helpers = {write_all},
     .check = the_other_lines_follow},
};

SWEEP_MAIN(scenarios)
