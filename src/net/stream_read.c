/* SPDX-License-Identifier: MIT
 * Reading from a stream: the in-buffer and the calls that look into it. */
#include <poll.h>

#include "base/alloc.h"
#include "net/stream.h"

#define KEEP_SIZE ((size_t)4096)      /* an idle stream may keep a buffer of this size */
#define MAX_OFFER ((size_t)64 * 1024) /* most bytes one receive is offered by itself */
#define SMALL_READS 256               /* reads below this many bytes go through the buffer */
#define SMALL_FILLS_TO_SHRINK 16
#define MAX_SEPARATOR 16

/* ---- Raw ---- */

static ssize_t read_failed(struct bk_stream *s, int error)
{
    if (error == -ECANCELED)
        return error;
    s->read_error = error;
    const char *peer = bk_stream_peer(s);
    return bki_fail_errno(error, peer[0] ? "read from %s" : "read%s", peer);
}

/* What a receive's result means. */
static ssize_t received(struct bk_stream *s, int64_t n, bool nowait)
{
    if (n > 0)
        return (ssize_t)n;
    if (n == -EAGAIN && nowait)
        return n;
    if (n < 0)
        return read_failed(s, (int)n);
    /* The kernel tells of a reset once; when a write was told, the end it shows here is not an
     * orderly one. */
    if (s->write_error == -ECONNRESET)
        return read_failed(s, -ECONNRESET);
    s->at_eof = true;
    return 0;
}

static ssize_t receive(struct bk_stream *s, void *buf, size_t len, bool nowait)
{
    struct bki_op *op = &s->read_op;
    if (s->read_error)
        return s->read_error;
    if (s->at_eof)
        return 0;
    op->kind = BKI_OP_RECV;
    op->buf = buf;
    op->len = len;
    op->nowait = nowait;
    return received(s, bki_op_run(op, &bki_wait_read, s), nowait);
}

ssize_t bki_stream_recv(struct bk_stream *s, void *buf, size_t len)
{
    return receive(s, buf, len, false);
}

ssize_t bki_stream_recv_now(struct bk_stream *s, void *buf, size_t len)
{
    struct bki_op *op = &s->read_op;
    if (s->read_error)
        return s->read_error;
    if (s->at_eof)
        return 0;
    /* The last one was short: the wait that follows tells when that has changed. */
    if (!s->fd.maybe_readable)
        return -EAGAIN;
    op->kind = BKI_OP_RECV;
    op->buf = buf;
    op->len = len;
    op->nowait = true;
    int r = s->loop->backend->start(s->loop, op);
    return received(s, r < 0 ? r : op->result, true);
}

int bki_stream_wait_readable(struct bk_stream *s)
{
    struct bki_op *op = &s->read_op;
    op->kind = BKI_OP_POLL;
    op->events = POLLIN;
    op->nowait = false;
    int64_t r = bki_op_run(op, &bki_wait_read, s);
    if (r < 0)
        return (int)read_failed(s, (int)r);
    s->fd.maybe_readable = true;
    return 0;
}

/* As receive, behind the filter. */
static ssize_t receive_past(struct bk_stream *s, void *buf, size_t len, bool nowait)
{
    if (__builtin_expect(s->filter != NULL, 0))
        return s->filter->recv(s, buf, len, nowait);
    return receive(s, buf, len, nowait);
}

ssize_t bki_stream_recv_past(struct bk_stream *s, void *buf, size_t len)
{
    return receive_past(s, buf, len, false);
}

/* ---- The in-buffer ---- */

/* Room for `want` bytes in all and for one more at least, better for half a usual fill. */
static int make_room(struct bk_stream *s, size_t want)
{
    size_t len = bki_stream_buffered(s);
    size_t more = want > len ? want - len : 1;
    size_t good = len > 0 ? s->in_size / 2 : s->in_size;
    if (len == 0) {
        s->in.limit = s->read_limit;
        if (s->in.cap < more || s->in.cap < good)
            bki_buf_free(&s->in);
    }
    if (good > s->in.limit - len)
        good = s->in.limit - len;
    return bki_buf_reserve(&s->in, more > good ? more : good);
}

/* The free part of the buffer: what one receive is offered. */
static size_t room(const struct bk_stream *s)
{
    size_t allowed = s->in.limit - bki_stream_buffered(s);
    return bki_buf_room(&s->in) < allowed ? bki_buf_room(&s->in) : allowed;
}

/* How much to offer follows what came: twice as much after a full one, half after a run of small
 * ones. */
static void adapt(struct bk_stream *s, size_t offered, size_t got)
{
    size_t most = s->read_limit < MAX_OFFER ? s->read_limit : MAX_OFFER;
    if (got == offered) {
        s->in_small = 0;
        if (got >= s->in_size)
            s->in_size = s->in_size * 2 < most ? s->in_size * 2 : most;
    } else if (got >= s->in_size / 4) {
        s->in_small = 0;
    } else if (++s->in_small >= SMALL_FILLS_TO_SHRINK && s->in_size > KEEP_SIZE) {
        s->in_small = 0;
        s->in_size /= 2;
    }
}

/* The buffer is empty and large: waits for bytes without it, so that idle streams cost little. */
static int wait_without_buffer(struct bk_stream *s)
{
    bki_buf_free(&s->in);
    return s->filter ? s->filter->wait(s) : bki_stream_wait_readable(s);
}

/* The buffer it would receive into is too large to idle with. */
static bool waits_without_buffer(const struct bk_stream *s)
{
    return bki_stream_buffered(s) == 0 && (s->in.cap > KEEP_SIZE || s->in_size > KEEP_SIZE);
}

/* As bki_stream_recv_past into the free part of the buffer. */
static ssize_t receive_in(struct bk_stream *s, size_t want)
{
    for (;;) {
        bool lazy = waits_without_buffer(s);
        if (!lazy || s->filter || s->fd.maybe_readable || !s->loop->backend->ready_based) {
            int r = make_room(s, want);
            if (r < 0)
                return r;
            ssize_t n = receive_past(s, bki_buf_end(&s->in), room(s), lazy);
            if (n != -EAGAIN || !lazy)
                return n;
        }
        int r = wait_without_buffer(s);
        if (r < 0)
            return r;
    }
}

int bki_stream_fill(struct bk_stream *s, size_t want)
{
    ssize_t n = receive_in(s, want);
    if (n <= 0)
        return (int)n;
    adapt(s, room(s), (size_t)n);
    bki_buf_commit(&s->in, (size_t)n);
    return 1;
}

static size_t take(struct bk_stream *s, void *buf, size_t len)
{
    size_t n = bki_stream_buffered(s);
    if (n > len)
        n = len;
    if (n > 0) {
        memcpy(buf, bki_buf_start(&s->in), n);
        bki_buf_consume(&s->in, n);
    }
    return n;
}

/* Puts bytes back that were received straight into the caller's memory; the buffer is empty. */
static int give_back(struct bk_stream *s, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    if (s->in.limit < len)
        s->in.limit = len;
    if (bki_buf_append(&s->in, data, len) == 0)
        return 0;
    /* There is a gap from here on: nothing after it may be read, not even the stream's end. */
    s->read_error = -ENOMEM;
    return bk_fail(-ENOMEM, "no memory for %zu bytes that a read gave back", len);
}

/* ---- The calls ---- */

static ssize_t end_read(struct bk_stream *s, ssize_t r)
{
    s->reading = false;
    return r;
}

ssize_t bk_stream_read(bk_stream *s, void *buf, size_t len)
{
    ssize_t r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    if (bki_stream_buffered(s) == 0) {
        if (len >= SMALL_READS)
            return end_read(s, bki_stream_recv_past(s, buf, len));
        if (len == 0)
            return end_read(s, bk_fail(-EINVAL, "read of 0 bytes"));
        r = bki_stream_fill(s, 1);
        if (r <= 0)
            return end_read(s, r);
    }
    return end_read(s, (ssize_t)take(s, buf, len));
}

static int ended_early(struct bk_stream *s, size_t got, size_t len)
{
    return bk_fail(-BK_EINCOMPLETE, "%s: the stream ended after %zu of %zu bytes",
                   bk_stream_peer(s), got, len);
}

/* Straight into the caller's memory; whatever goes wrong, what came is given back. */
static int read_exactly_direct(struct bk_stream *s, char *buf, size_t len)
{
    size_t got = take(s, buf, len);
    while (got < len) {
        ssize_t n = bki_stream_recv_past(s, buf + got, len - got);
        if (n <= 0) {
            int r = give_back(s, buf, got);
            if (r < 0)
                return r;
            return n == 0 ? ended_early(s, got, len) : (int)n;
        }
        got += (size_t)n;
    }
    return 0;
}

static int read_exactly_buffered(struct bk_stream *s, char *buf, size_t len)
{
    while (bki_stream_buffered(s) < len) {
        int r = bki_stream_fill(s, len);
        if (r <= 0)
            return r == 0 ? ended_early(s, bki_stream_buffered(s), len) : r;
    }
    take(s, buf, len);
    return 0;
}

int bk_stream_read_exactly(bk_stream *s, void *buf, size_t len)
{
    int r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    bool buffered = len < KEEP_SIZE && len <= s->read_limit;
    r = buffered ? read_exactly_buffered(s, buf, len) : read_exactly_direct(s, buf, len);
    return (int)end_read(s, r);
}

static bk_span consume_front(struct bk_stream *s, size_t len)
{
    bk_span front = bk_span_of(bki_buf_start(&s->in), len);
    bki_buf_consume(&s->in, len);
    return front;
}

/* Looks for the separator in [*scanned, len) of the buffer; returns the length up to and including
 * it, or 0 and moves *scanned on. */
static size_t find(const struct bk_stream *s, bk_span separator, size_t len, size_t *scanned)
{
    size_t overlap = separator.len - 1;
    size_t from = *scanned > overlap ? *scanned - overlap : 0;
    const char *start = bki_buf_start(&s->in);
    const char *hit = separator.len == 1
                          ? memchr(start + from, separator.data[0], len - from)
                          : memmem(start + from, len - from, separator.data, separator.len);
    *scanned = len;
    return hit ? (size_t)(hit - start) + separator.len : 0;
}

/* As bk_stream_read_until, but on -BK_ELIMIT and -BK_EINCOMPLETE without a detail. */
static int read_until(struct bk_stream *s, bk_span separator, bk_span *out)
{
    size_t scanned = 0;
    for (;;) {
        size_t len = bki_stream_buffered(s);
        size_t within = len < s->read_limit ? len : s->read_limit;
        size_t found = within > scanned ? find(s, separator, within, &scanned) : 0;
        if (found) {
            *out = consume_front(s, found);
            return 1;
        }
        if (len >= s->read_limit)
            return -BK_ELIMIT;
        int r = bki_stream_fill(s, len + 1);
        if (r < 0)
            return r;
        if (r == 0) {
            *out = consume_front(s, len);
            return len == 0 ? 0 : -BK_EINCOMPLETE;
        }
    }
}

int bk_stream_read_until(bk_stream *s, bk_span separator, bk_span *out)
{
    if (separator.len == 0 || separator.len > MAX_SEPARATOR)
        return bk_fail(-EINVAL, "a separator has 1 to %d bytes, not %zu", MAX_SEPARATOR,
                       separator.len);
    int r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    r = (int)end_read(s, read_until(s, separator, out));
    if (r == -BK_ELIMIT)
        return bk_fail(r, "%s: no separator within read_limit (%zu bytes)", bk_stream_peer(s),
                       s->read_limit);
    if (r == -BK_EINCOMPLETE)
        return bk_fail(r, "%s: the stream ended before a separator", bk_stream_peer(s));
    return r;
}

/* Drops what is left of a line that was too long.  1 when it is gone, or as fill. */
static int drop_line(struct bk_stream *s)
{
    while (s->skip_line) {
        size_t len = bki_stream_buffered(s);
        const char *start = bki_buf_start(&s->in);
        const char *newline = len > 0 ? memchr(start, '\n', len) : NULL;
        bki_buf_consume(&s->in, newline ? (size_t)(newline - start) + 1 : len);
        if (newline)
            break;
        int r = bki_stream_fill(s, 1);
        if (r <= 0)
            return r;
    }
    s->skip_line = false;
    return 1;
}

static int read_line(struct bk_stream *s, bk_span *line)
{
    int r = s->skip_line ? drop_line(s) : 1;
    if (r <= 0)
        return r;
    r = read_until(s, bk_span_of("\n", 1), line);
    if (r == -BK_EINCOMPLETE)
        return 1;
    if (r == 1) {
        line->len--;
        if (line->len > 0 && line->data[line->len - 1] == '\r')
            line->len--;
    }
    if (r == -BK_ELIMIT)
        s->skip_line = true;
    return r;
}

int bk_stream_read_line(bk_stream *s, bk_span *line)
{
    int r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    r = (int)end_read(s, read_line(s, line));
    if (r == -BK_ELIMIT)
        return bk_fail(r, "%s: a line over read_limit (%zu bytes)", bk_stream_peer(s),
                       s->read_limit);
    return r;
}

int bk_stream_peek(bk_stream *s, size_t want, bk_span *out)
{
    if (want > s->read_limit)
        return bk_fail(-EINVAL, "peek of %zu bytes over read_limit (%zu)", want, s->read_limit);
    int r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    r = 1;
    while (bki_stream_buffered(s) < want && r > 0)
        r = bki_stream_fill(s, want);
    if (r >= 0)
        *out = bki_buf_span(&s->in);
    return (int)end_read(s, r);
}

void bk_stream_consume(bk_stream *s, size_t len)
{
    size_t have = bki_stream_buffered(s);
    bki_buf_consume(&s->in, len < have ? len : have);
}
