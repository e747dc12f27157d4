/* SPDX-License-Identifier: MIT
 * Writing to a stream: at once when the kernel takes it, else in the background. */
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/stream.h"

#define MAX_IOV 16

/* ---- Waiting ---- */

int bki_stream_write_failed(const struct bk_stream *s)
{
    const char *peer = bk_stream_peer(s);
    return bki_fail_errno(s->write_error, peer[0] ? "write to %s" : "write%s", peer);
}

int bki_stream_wait_unsent(struct bk_stream *s, size_t limit)
{
    struct bki_waiter w = {.value = (void *)(uintptr_t)limit};
    int r = bki_check_cancel();
    while (r == 0 && !s->write_error && bki_stream_unsent(s) > limit)
        r = bki_wait(&s->write_waiters, &w, &bki_wait_write, s);
    return r == 0 && s->write_error ? bki_stream_write_failed(s) : r;
}

/* ---- Sending ---- */

/* What is left of a write. */
struct rest {
    const bk_span *pieces;
    size_t n;
    size_t at;   /* in the first piece */
    size_t left; /* in all */
};

static void rest_advance(struct rest *rest, size_t n)
{
    rest->left -= n;
    n += rest->at;
    while (rest->n > 0 && n >= rest->pieces->len) {
        n -= rest->pieces->len;
        rest->pieces++;
        rest->n--;
    }
    rest->at = n;
}

/* One operation straight from the caller's memory; the out-buffers are empty.  The count, or an
 * error (-EAGAIN with nowait). */
static int64_t send_op(struct bk_stream *s, const struct iovec *iov, int n, bool nowait)
{
    struct bki_op op;
    op.kind = BKI_OP_SEND;
    op.fd = &s->fd;
    op.iov = iov;
    op.iov_n = n;
    op.nowait = nowait;
    if (!nowait)
        return bki_op_run(&op, &bki_wait_write, s);
    int r = s->loop->backend->start(s->loop, &op);
    return r < 0 ? r : op.result;
}

static int64_t send_direct(struct bk_stream *s, const struct rest *rest, bool nowait)
{
    struct iovec iov[MAX_IOV];
    size_t at = rest->at;
    int n = 0;
    for (size_t i = 0; i < rest->n && n < MAX_IOV; i++, at = 0) {
        iov[n].iov_base = (void *)(uintptr_t)(rest->pieces[i].data + at);
        iov[n].iov_len = rest->pieces[i].len - at;
        n += iov[n].iov_len > 0;
    }
    return send_op(s, iov, n, nowait);
}

static int append_all(struct bk_stream *s, struct rest *rest)
{
    struct bki_buf *b = bki_out_room(s, rest->left);
    if (!b)
        return bk_fail(-ENOMEM, "no memory for %zu bytes of write buffer", rest->left);
    while (rest->left > 0) {
        size_t n = rest->pieces->len - rest->at;
        bki_buf_append(b, rest->pieces->data + rest->at, n);
        rest_advance(rest, n);
    }
    if (!s->out->op.in_flight)
        bki_out_send(s);
    return s->write_error ? bki_stream_write_failed(s) : 0;
}

/* Whether the out-buffer may take so many bytes more.  Only a push goes beyond write_buffer. */
static bool fits(const struct bk_stream *s, size_t len)
{
    size_t unsent = bki_stream_unsent(s);
    return s->pushing || (unsent <= s->write_buffer && len <= s->write_buffer - unsent);
}

/* What an operation's result means for the rest. */
static int sent(struct bk_stream *s, struct rest *rest, int64_t n)
{
    if (n > 0)
        rest_advance(rest, (size_t)n);
    if (n >= 0 || n == -EAGAIN)
        return 0;
    if (n == -ECANCELED && !s->aborted)
        return (int)n;
    bki_stream_fail_write(s, (int)n);
    return bki_stream_write_failed(s);
}

/* Part of the rest goes straight to the kernel; it waits for that when the rest does not fit. */
static int send_some(struct bk_stream *s, struct rest *rest)
{
    int64_t n = send_direct(s, rest, true);
    if (n == -EAGAIN && !fits(s, rest->left))
        n = send_direct(s, rest, false);
    return sent(s, rest, n);
}

static int send_rest(struct bk_stream *s, struct rest *rest)
{
    while (rest->left > 0) {
        int r = bki_stream_unsent(s) == 0 ? send_some(s, rest) : 0;
        if (r < 0)
            return r;
        if (fits(s, rest->left))
            return rest->left > 0 ? append_all(s, rest) : 0;
        size_t room = rest->left < s->write_buffer ? rest->left : s->write_buffer;
        bki_stream_breathe(s);
        r = bki_stream_wait_unsent(s, s->write_buffer - room);
        if (r < 0)
            return r;
    }
    return 0;
}

/* All of it, after a first operation, if there was one, that returned n. */
static __attribute__((noinline)) int send_all(struct bk_stream *s, struct rest *rest, int64_t n,
                                              size_t *taken)
{
    size_t total = 0;
    for (size_t i = 0; i < rest->n; i++)
        total += rest->pieces[i].len;
    rest->left = total;
    int r = sent(s, rest, n);
    if (r == 0)
        r = send_rest(s, rest);
    if (taken)
        *taken = total - rest->left;
    /* Half a write has gone out: whatever followed would be read as its other half. */
    if (r < 0 && rest->left < total && rest->left > 0 && !s->write_error)
        s->write_error = -EPIPE;
    return r;
}

int bki_stream_send(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken)
{
    struct rest rest = {.pieces = pieces, .n = n};
    int64_t first = 0;
    /* By far the most common: one piece, which the kernel takes. */
    if (n == 1 && !s->out && pieces->len > 0) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)pieces->data, .iov_len = pieces->len};
        first = send_op(s, &iov, 1, true);
        if (__builtin_expect(first == (int64_t)pieces->len, 1)) {
            if (taken)
                *taken = pieces->len;
            return 0;
        }
    }
    return send_all(s, &rest, first, taken);
}

int bki_stream_send_now(struct bk_stream *s, const void *data, size_t len)
{
    bk_span piece = bk_span_of(data, len);
    bool pushing = s->pushing;
    if (s->write_error)
        return bki_stream_write_failed(s);
    s->pushing = true;
    int r = bki_stream_send(s, &piece, 1, NULL);
    s->pushing = pushing;
    return r;
}

/* ---- The calls ---- */

/* 0 when a write may be made. */
static int check_writable(struct bk_stream *s)
{
    if (__builtin_expect(s->writing, 0))
        return bk_fail(-EBUSY, "another task writes to this stream");
    if (__builtin_expect(s->write_error, 0))
        return bki_stream_write_failed(s);
    if (__builtin_expect(s->hung_up, 0))
        return bk_fail(-EPIPE, "write to %s, which was hung up", bk_stream_peer(s));
    if (__builtin_expect(s->write_closed, 0))
        return bk_fail(-EPIPE, "write after bk_stream_write_eof");
    return 0;
}

int bki_stream_begin_write(struct bk_stream *s)
{
    int r = bki_check_cancel();
    if (r == 0)
        r = check_writable(s);
    if (r == 0)
        s->writing = true;
    return r;
}

int bki_stream_end_write(struct bk_stream *s, int r)
{
    s->writing = false;
    if (__builtin_expect(s->hung_up, 0))
        bki_stream_end_hung_up(s);
    return r;
}

int bki_stream_send_past(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken)
{
    if (__builtin_expect(s->filter != NULL, 0))
        return s->filter->send(s, pieces, n, taken);
    return bki_stream_send(s, pieces, n, taken);
}

int bki_stream_writev(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken)
{
    if (taken)
        *taken = 0;
    int r = bki_stream_begin_write(s);
    if (r < 0)
        return r;
    r = bki_stream_end_write(s, bki_stream_send_past(s, pieces, n, taken));
    bki_stream_breathe(s);
    return r;
}

int bki_stream_pushv(struct bk_stream *s, const bk_span *pieces, size_t n)
{
    int r = check_writable(s);
    if (r < 0)
        return r;
    s->writing = s->pushing = true;
    r = bki_stream_send_past(s, pieces, n, NULL);
    s->pushing = false;
    return bki_stream_end_write(s, r);
}

int bki_stream_push(struct bk_stream *s, const void *data, size_t len)
{
    bk_span piece = bk_span_of(data, len);
    return bki_stream_pushv(s, &piece, 1);
}

int bk_stream_try_write(bk_stream *s, const void *data, size_t len)
{
    int r = check_writable(s);
    if (r == 0 && bki_stream_unsent(s) > 0 && !fits(s, len))
        r = -EAGAIN;
    return r < 0 ? r : bki_stream_push(s, data, len);
}

int bk_stream_writev(bk_stream *stream, const bk_span *pieces, size_t n)
{
    return bki_stream_writev(stream, pieces, n, NULL);
}

int bk_stream_write(bk_stream *stream, const void *data, size_t len)
{
    bk_span piece = bk_span_of(data, len);
    return bki_stream_writev(stream, &piece, 1, NULL);
}

int bk_stream_drain(bk_stream *stream)
{
    return bki_stream_wait_unsent(stream, stream->write_buffer / 4);
}

int bk_stream_flush(bk_stream *stream)
{
    return bki_stream_wait_unsent(stream, 0);
}

size_t bk_stream_unsent(const bk_stream *stream)
{
    return bki_stream_unsent(stream);
}

size_t bki_stream_unacked(const struct bk_stream *s)
{
    int in_kernel = 0;
    if (s->fd.is_socket && ioctl(s->fd.fd, SIOCOUTQ, &in_kernel) < 0)
        in_kernel = 0;
    return bki_stream_unsent(s) + (size_t)in_kernel;
}

static int write_eof(struct bk_stream *s)
{
    if (!s->fd.is_socket)
        return bk_fail(-EOPNOTSUPP, "only a socket can end its write side alone: close the stream");
    int r = s->filter ? s->filter->eof(s) : 0;
    if (r == 0)
        r = bki_stream_wait_unsent(s, 0);
    if (r < 0)
        return r;
    s->write_closed = true;
    if (shutdown(s->fd.fd, SHUT_WR) < 0)
        return bki_fail_errno(errno, "end of writing to %s", bk_stream_peer(s));
    return 0;
}

int bk_stream_write_eof(bk_stream *stream)
{
    if (stream->write_closed)
        return 0;
    int r = bki_stream_begin_write(stream);
    if (r < 0)
        return r;
    return bki_stream_end_write(stream, write_eof(stream));
}
