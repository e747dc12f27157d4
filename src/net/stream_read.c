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
#define NO_SEPARATOR 2 /* the stream ended before one */
#define MAX_SEPARATORS 16

/* ---- Raw ---- */

static ssize_t tell_read_error(struct bk_stream *s)
{
    const char *peer = bk_stream_peer(s);
    return bki_fail_errno(s->read_error, peer[0] ? "read from %s" : "read%s", peer);
}

/* An operation has failed; when it was not the task that was cancelled, it was the operation: by
 * bk_stream_abort or bk_stream_hang_up. */
static ssize_t read_failed(struct bk_stream *s, int error)
{
    if (error == -ECANCELED && !s->aborted)
        return s->hung_up ? -ESHUTDOWN : error;
    if (!s->read_error)
        s->read_error = error;
    return tell_read_error(s);
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

static bool is_over(const struct bk_stream *s)
{
    return s->read_error || s->hung_up || s->at_eof;
}

static ssize_t tell_the_end(struct bk_stream *s)
{
    return s->read_error ? tell_read_error(s) : s->hung_up ? -ESHUTDOWN : 0;
}

static void receive_op(struct bki_op *op, struct bk_stream *s, void *buf, size_t len, bool nowait)
{
    op->kind = BKI_OP_RECV;
    op->fd = &s->fd;
    op->buf = buf;
    op->len = len;
    op->nowait = nowait;
}

static ssize_t receive(struct bk_stream *s, void *buf, size_t len, bool nowait)
{
    struct bki_op op;
    if (__builtin_expect(is_over(s), 0))
        return tell_the_end(s);
    receive_op(&op, s, buf, len, nowait);
    return received(s, bki_op_run(&op, &bki_wait_read, s), nowait);
}

ssize_t bki_stream_recv(struct bk_stream *s, void *buf, size_t len)
{
    return receive(s, buf, len, false);
}

ssize_t bki_stream_recv_now(struct bk_stream *s, void *buf, size_t len)
{
    struct bki_op op;
    if (is_over(s))
        return tell_the_end(s);
    /* The last one was short: the wait that follows tells when that has changed. */
    if (!s->fd.maybe_readable)
        return -EAGAIN;
    receive_op(&op, s, buf, len, true);
    int r = s->loop->backend->start(s->loop, &op);
    return received(s, r < 0 ? r : op.result, true);
}

int bki_stream_wait_readable(struct bk_stream *s)
{
    struct bki_op op;
    op.kind = BKI_OP_POLL;
    op.fd = &s->fd;
    op.events = POLLIN;
    op.nowait = false;
    int64_t r = bki_op_run(&op, &bki_wait_read, s);
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

/* What was hung up has ended, whatever a filter makes of that. */
static ssize_t end_if_hung_up(const struct bk_stream *s, ssize_t n)
{
    return __builtin_expect(s->hung_up, 0) && n < 0 && !s->read_error ? 0 : n;
}

ssize_t bki_stream_recv_past(struct bk_stream *s, void *buf, size_t len)
{
    return end_if_hung_up(s, receive_past(s, buf, len, false));
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

/* The buffer is empty: waits for bytes without it, so that idle streams cost little. */
static int wait_without_buffer(struct bk_stream *s)
{
    bki_buf_free(&s->in);
    return s->filter ? s->filter->wait(s) : bki_stream_wait_readable(s);
}

/* As bki_stream_recv_past, into the buffer, which is empty: it gets its memory when there is
 * something to put there. */
static ssize_t receive_lazily(struct bk_stream *s, size_t want)
{
    bool try = s->filter || s->fd.maybe_readable;
    for (;;) {
        int r = try ? make_room(s, want) : 0;
        if (r < 0)
            return r;
        ssize_t n = try ? receive_past(s, bki_buf_end(&s->in), room(s), true) : -EAGAIN;
        if (n != -EAGAIN)
            return n;
        r = wait_without_buffer(s);
        if (r < 0)
            return r;
        try = true;
    }
}

static ssize_t receive_more(struct bk_stream *s, size_t want)
{
    int r = make_room(s, want);
    return r < 0 ? r : receive_past(s, bki_buf_end(&s->in), room(s), false);
}

int bki_stream_fill(struct bk_stream *s, size_t want)
{
    bool lazily = !is_over(s) && bki_stream_buffered(s) == 0;
    ssize_t n = end_if_hung_up(s, lazily ? receive_lazily(s, want) : receive_more(s, want));
    if (n <= 0)
        return (int)n;
    adapt(s, room(s), (size_t)n);
    bki_buf_commit(&s->in, (size_t)n);
    return 1;
}

int bki_stream_fill_now(struct bk_stream *s)
{
    int r = make_room(s, bki_stream_buffered(s) + 1);
    ssize_t n = r < 0 ? r : end_if_hung_up(s, receive_past(s, bki_buf_end(&s->in), room(s), true));
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

/* The first place in start[0..len) where the separator ends, 0 when it is not there. */
static size_t find_end(const char *start, size_t len, bk_span separator)
{
    const char *hit = separator.len == 1 ? memchr(start, separator.data[0], len)
                                         : memmem(start, len, separator.data, separator.len);
    return hit ? (size_t)(hit - start) + separator.len : 0;
}

/* Looks for whichever separator ends first in the first `len` bytes of the buffer, of which
 * *scanned are known to hold none; returns the length up to and including it, or 0 and moves
 * *scanned on. */
static size_t find(const struct bk_stream *s, const bk_span *separators, size_t n, size_t len,
                   size_t *scanned)
{
    const char *start = bki_buf_start(&s->in);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        size_t overlap = separators[i].len - 1;
        size_t from = *scanned > overlap ? *scanned - overlap : 0;
        size_t end = find_end(start + from, (found ? found : len) - from, separators[i]);
        if (end)
            found = from + end;
    }
    *scanned = len;
    return found;
}

/* As bk_stream_read_until_any, but without a detail on -BK_ELIMIT, and NO_SEPARATOR when the stream
 * ended before one: -BK_EINCOMPLETE may be the error of a connection that was cut. */
static int read_until(struct bk_stream *s, const bk_span *separators, size_t n, bk_span *out)
{
    size_t scanned = 0;
    for (;;) {
        size_t len = bki_stream_buffered(s);
        size_t within = len < s->read_limit ? len : s->read_limit;
        size_t found = within > scanned ? find(s, separators, n, within, &scanned) : 0;
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
            return len == 0 ? 0 : NO_SEPARATOR;
        }
    }
}

static int check_separators(const bk_span *separators, size_t n)
{
    if (n == 0 || n > MAX_SEPARATORS)
        return bk_fail(-EINVAL, "there are 1 to %d separators, not %zu", MAX_SEPARATORS, n);
    for (size_t i = 0; i < n; i++)
        if (separators[i].len == 0 || separators[i].len > MAX_SEPARATOR)
            return bk_fail(-EINVAL, "a separator has 1 to %d bytes, not %zu", MAX_SEPARATOR,
                           separators[i].len);
    return 0;
}

int bk_stream_read_until_any(bk_stream *s, const bk_span *separators, size_t n, bk_span *out)
{
    int r = check_separators(separators, n);
    if (r == 0)
        r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    *out = (bk_span){0};
    r = (int)end_read(s, read_until(s, separators, n, out));
    if (r == -BK_ELIMIT)
        return bk_fail(r, "%s: no separator within read_limit (%zu bytes)", bk_stream_peer(s),
                       s->read_limit);
    if (r == NO_SEPARATOR)
        return bk_fail(-BK_EINCOMPLETE, "%s: the stream ended before a separator",
                       bk_stream_peer(s));
    return r;
}

int bk_stream_read_until(bk_stream *s, bk_span separator, bk_span *out)
{
    return bk_stream_read_until_any(s, &separator, 1, out);
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
    const bk_span newline = bk_span_of("\n", 1);
    r = read_until(s, &newline, 1, line);
    if (r == NO_SEPARATOR)
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

/* Receives until the stream ends.  Beyond read_limit, and not beyond `limit` but by one byte, which
 * shows that there is more. */
static int fill_to_end(struct bk_stream *s, size_t limit)
{
    int r = 1;
    while (r > 0 && bki_stream_buffered(s) <= limit) {
        size_t most = limit < SIZE_MAX / 4 ? limit + 1 : SIZE_MAX / 4;
        if (s->in.limit < most)
            s->in.limit = most;
        r = bki_stream_fill(s, 1);
    }
    return r <= 0 ? r : -BK_ELIMIT;
}

int bk_stream_read_all(bk_stream *s, size_t limit, bk_msg **out)
{
    int r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    r = (int)end_read(s, fill_to_end(s, limit));
    if (r == -BK_ELIMIT)
        return bk_fail(r, "%s: the stream has more than %zu bytes", bk_stream_peer(s), limit);
    if (r == 0)
        r = bk_msg_copy(out, bki_buf_start(&s->in), bki_stream_buffered(s));
    if (r == 0)
        bki_buf_free(&s->in);
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
