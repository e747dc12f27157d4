/* SPDX-License-Identifier: MIT
 * Sending in the background what a write has left behind. */
#include "base/alloc.h"
#include "net/stream.h"

/* Wakes who waited for this few bytes, or for an end of it. */
static void wake_writers(struct bk_stream *s)
{
    size_t unsent = bki_stream_unsent(s);
    struct bki_list *next;
    for (struct bki_list *n = bki_list_first(&s->write_waiters); n; n = next) {
        struct bki_waiter *w = bki_container(n, struct bki_waiter, link);
        next = bki_list_next(&s->write_waiters, n);
        if (s->write_error || unsent <= (size_t)(uintptr_t)w->value)
            bki_grant(w, 0);
    }
}

void bki_out_free(struct bk_stream *s)
{
    if (!s->out)
        return;
    bki_buf_free(&s->out->sending);
    bki_buf_free(&s->out->queued);
    bki_free(s->out);
    s->out = NULL;
}

/* `n` more bytes have gone. */
static void advance(struct bki_out *out, size_t n)
{
    bki_buf_consume(&out->sending, n);
    if (bki_buf_len(&out->sending) > 0)
        return;
    struct bki_buf empty = out->sending;
    out->sending = out->queued;
    out->queued = empty;
}

static void send_done(struct bki_op *op);

void bki_out_send(struct bk_stream *s)
{
    struct bki_out *out = s->out;
    struct bki_op *op = &out->op;
    while (bki_buf_len(&out->sending) > 0) {
        out->iov.iov_base = bki_buf_start(&out->sending);
        out->iov.iov_len = bki_buf_len(&out->sending);
        op->kind = BKI_OP_SEND;
        op->fd = &s->fd;
        op->iov = &out->iov;
        op->iov_n = 1;
        op->nowait = false;
        op->done = send_done;
        int r = s->loop->backend->start(s->loop, op);
        if (r == 0)
            return;
        int64_t n = r < 0 ? r : op->result;
        if (n < 0) {
            bki_stream_fail_write(s, (int)n);
            return;
        }
        advance(out, (size_t)n);
    }
    bki_out_free(s);
}

void bki_stream_fail_write(struct bk_stream *s, int error)
{
    if (!s->write_error)
        s->write_error = error;
    if (s->out)
        bki_buf_free(&s->out->queued);
    /* A task's own, or that of the background, which holds `sending` and comes here again. */
    if (s->fd.writer)
        s->loop->backend->cancel(s->loop, s->fd.writer);
    if (s->out && !s->out->op.in_flight)
        bki_out_free(s);
    wake_writers(s);
}

/* The stream has been closed; who closed it waits for this, or could not. */
static void last_send_done(struct bk_stream *s)
{
    if (s->out->op.owner) {
        bki_wake(s->out->op.owner);
        return;
    }
    s->loop->n_parting--;
    bki_stream_free(s);
}

/* Nobody is being told that the background failed, and a peer that waits for what was lost may wait
 * for ever: whoever reads hears of it.  That the peer has gone a reader sees by itself, behind what
 * has come. */
static void tell_reader(struct bk_stream *s)
{
    if (s->read_error || s->write_error == -EPIPE || s->write_error == -ECONNRESET)
        return;
    s->read_error = s->write_error;
    bki_stream_interrupt(s);
}

/* Outside any task. */
static void send_done(struct bki_op *op)
{
    struct bki_out *out = bki_container(op, struct bki_out, op);
    struct bk_stream *s = out->s;
    void (*drained)(void *owner) = out->drained;
    void *drained_owner = out->drained_owner;
    if (s->closing) {
        last_send_done(s);
        return;
    }
    if (op->result >= 0)
        advance(out, (size_t)op->result);
    if (op->result < 0 || s->write_error)
        bki_stream_fail_write(s, (int)op->result);
    else
        bki_out_send(s);
    if (__builtin_expect(s->write_error, 0))
        tell_reader(s);
    wake_writers(s);
    if (__builtin_expect(s->hung_up, 0))
        bki_stream_end_hung_up(s);
    if (drained && (!s->out || s->write_error))
        drained(drained_owner);
}

struct bki_buf *bki_out_room(struct bk_stream *s, size_t len)
{
    if (!s->out) {
        s->out = bki_zalloc(sizeof *s->out);
        if (!s->out)
            return NULL;
        s->out->s = s;
        bki_buf_init(&s->out->sending, SIZE_MAX / 2);
        bki_buf_init(&s->out->queued, SIZE_MAX / 2);
    }
    struct bki_buf *b = s->out->op.in_flight ? &s->out->queued : &s->out->sending;
    if (bki_buf_reserve(b, len) == 0)
        return b;
    if (!s->out->op.in_flight)
        bki_out_free(s);
    return NULL;
}

bool bki_out_stop(struct bk_stream *s)
{
    if (!s->out)
        return true;
    s->closing = true;
    s->out->op.owner = bki_in_task() ? bki_self() : NULL;
    s->loop->backend->cancel(s->loop, &s->out->op);
    if (!s->out->op.owner) {
        s->loop->n_parting++;
        return false;
    }
    while (s->out->op.in_flight)
        bki_park_hard(&bki_wait_close, s);
    return true;
}
