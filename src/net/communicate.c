/* SPDX-License-Identifier: MIT
 * Feeding a child and reading what it says at the same time. */
#include <beck/gather.h>

#include "net/process.h"
#include "net/stream.h"

#define DEFAULT_LIMIT ((size_t)64 * 1024 * 1024)

struct exchange {
    struct bk_process *process;
    bk_span input;
    size_t limit;
    bool keep_out, keep_err;
};

/* ---- Feeding ---- */

/* Straight from the caller's memory: so n_fed is exact, whatever strikes. */
static int feed_some(struct bk_process *p, bk_span input)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)(input.data + p->n_fed),
                        .iov_len = input.len - p->n_fed};
    struct bki_op op = {.kind = BKI_OP_SEND, .fd = &p->in->fd, .iov = &iov, .iov_n = 1};
    int64_t n = bki_op_run(&op, &bki_wait_write, p->in);
    if (n > 0)
        p->n_fed += (size_t)n;
    return n < 0 ? (int)n : 0;
}

static int feed(void *ctx)
{
    struct exchange *x = ctx;
    struct bk_process *p = x->process;
    int r = bk_stream_flush(p->in);
    while (r == 0 && p->n_fed < x->input.len)
        r = feed_some(p, x->input);
    /* A child that does not want all of it has its reasons. */
    if (r == -EPIPE || r == -ECONNRESET)
        r = 0;
    return r < 0 ? r : bk_process_close_in(p);
}

/* ---- Reading ---- */

static int drop_all(bk_stream *s)
{
    bk_span piece;
    int r;
    while ((r = bk_stream_peek(s, 1, &piece)) > 0)
        bk_stream_consume(s, piece.len);
    return r;
}

/* What was read waits in *said until everything has worked. */
static int read_end(const struct exchange *x, bk_stream *s, bool keep, bk_msg **said)
{
    if (!keep)
        return drop_all(s);
    return *said ? 0 : bk_stream_read_all(s, x->limit, said);
}

static int read_out(void *ctx)
{
    struct exchange *x = ctx;
    return read_end(x, x->process->out, x->keep_out, &x->process->said_out);
}

static int read_err(void *ctx)
{
    struct exchange *x = ctx;
    return read_end(x, x->process->err, x->keep_err, &x->process->said_err);
}

/* ---- The call ---- */

static int check_pipes(const struct bk_process *p, bk_span input, bool keep_out, bool keep_err)
{
    if (!p->loop)
        return bk_fail(-BK_ECLOSED, "the run of process %d is over", (int)p->pid);
    if (input.len > p->n_fed && !p->in)
        return bk_fail(-EINVAL, "input for a process whose in is no pipe, or closed");
    if ((keep_out && !p->out) || (keep_err && !p->err))
        return bk_fail(-EINVAL, "output of a process whose %s is no pipe",
                       keep_out && !p->out ? "out" : "err");
    return 0;
}

static void hand_over(bk_msg **to, bk_msg **said)
{
    if (to) {
        *to = *said;
        *said = NULL;
    }
}

int bk_process_communicate(bk_process *p, bk_span input, bk_msg **out, bk_msg **err,
                           const bk_communicate_opts *opts)
{
    struct exchange x = {
        .process = p,
        .input = input,
        .limit = opts && opts->limit ? opts->limit : DEFAULT_LIMIT,
        .keep_out = out != NULL,
        .keep_err = err != NULL,
    };
    bk_call calls[3];
    size_t n = 0;
    int r = check_pipes(p, input, out, err);
    if (p->in)
        calls[n++] = (bk_call){.fn = feed, .ctx = &x};
    if (p->out)
        calls[n++] = (bk_call){.fn = read_out, .ctx = &x};
    if (p->err)
        calls[n++] = (bk_call){.fn = read_err, .ctx = &x};
    if (r == 0 && n > 0)
        r = bk_gather(calls, n, NULL);
    if (r == 0)
        r = bk_process_wait(p, NULL);
    if (r < 0)
        return r;
    hand_over(out, &p->said_out);
    hand_over(err, &p->said_err);
    return 0;
}
