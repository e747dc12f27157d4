/* SPDX-License-Identifier: MIT
 * A byte stream's inside, for the files of this layer and for protocols that sit on streams.
 *
 * From the caller down:
 *   - read calls take from the in-buffer first, then receive; write calls hand over pieces;
 *   - a filter, when there is one, turns received bytes into the caller's, and the caller's into
 *     those to send;
 *   - bki_stream_recv and bki_stream_send do the raw I/O: the backend's operations, and the two
 *     out-buffers.
 *
 * Invariants:
 *   - a span given out of the in-buffer stays intact until the next fill;
 *   - at most one operation for each direction; out->sending is the backend's while out->op is in
 *     flight, so that new bytes go to out->queued, and the two change places;
 *   - outside of these files' functions, `out` is there exactly while its operation is in flight,
 *     and nothing is unsent without it. */
#ifndef BECK_SRC_NET_STREAM_H
#define BECK_SRC_NET_STREAM_H

#include <beck/stream.h>

#include "base/buf.h"
#include "net/address.h"
#include "rt/rt.h"

/* What TLS and the like implement; every call is made by a task inside a read or write call of the
 * stream, and may suspend. */
struct bki_filter {
    /* As bki_stream_recv, of the caller's bytes.  nowait: -EAGAIN when there are none, and then...
     */
    ssize_t (*recv)(struct bk_stream *s, void *buf, size_t len, bool nowait);
    /* ...this suspends until there may be: 0 or an error. */
    int (*wait)(struct bk_stream *s);
    /* As bki_stream_send, of the caller's bytes. */
    int (*send)(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken);
    /* Says goodbye before the write side ends.  Does not suspend. */
    int (*eof)(struct bk_stream *s);
    /* A good close has sent everything: waits for the peer's goodbye, for a while. */
    void (*linger)(struct bk_stream *s);
    /* Frees s->filter_state; no I/O. */
    void (*free)(struct bk_stream *s);
};

/* What a stream has while bytes are sent in the background, and no longer. */
struct bki_out {
    struct bk_stream *s;
    struct bki_op op; /* in flight */
    struct iovec iov;
    struct bki_buf sending, queued;
    /* When set: called outside any task when nothing is unsent any more, or writing has failed. */
    void (*drained)(void *owner);
    void *drained_owner;
};

/* Small, and what every call looks at first: idle ones are many, and a busy server finds most of
 * them outside the cache.  Operations that a task waits for live on its stack. */
struct bk_stream {
    struct bki_fd fd;
    struct bk_loop *loop;
    const struct bki_filter *filter; /* NULL: none */
    int read_error, write_error;     /* of the connection; told to every later call */
    bool at_eof;
    bool hung_up;      /* bk_stream_hang_up: reads tell of the end, writes are over */
    bool aborted;      /* bk_stream_abort: both errors are set */
    bool reading;      /* a task is in a read call */
    bool writing;      /* a task is in a write call */
    bool pushing;      /* what is written is taken at once, whatever write_buffer says */
    bool write_closed; /* write_eof was called */
    bool closing;      /* close waits for the operations in flight */
    struct bki_out *out;

    struct bki_buf in; /* received, not consumed: up to read_limit, and what was given back */
    size_t in_size;    /* how much a fill offers the kernel: follows what comes */
    size_t read_limit;
    size_t write_buffer;
    struct bki_list write_waiters; /* waiting for few unsent bytes: value is how few */

    unsigned in_small;       /* fills in a row that used little of in_size */
    int restore_flags;       /* file status flags to put back at close; -1: none */
    bool skip_line;          /* the rest of an over-long line is still to be dropped */
    struct bki_serve *serve; /* the server it was accepted by, while that runs */
    struct bki_list serve_link;
    void *filter_state;
    char *peer, *local; /* NULL: not asked for yet */
    struct bki_tracked tracked;
};

/* Makes a stream of fd (non-blocking, close-on-exec), which it owns on success.  -ENOMEM. */
int bki_stream_new(struct bk_stream **out, int fd, bool is_socket, const bk_stream_opts *opts);

/* For a stream made ahead of its descriptor: gives it one. */
void bki_stream_set_fd(struct bk_stream *s, int fd);

/* Closes the descriptor and frees everything, at once; nothing may be in flight. */
void bki_stream_free(struct bk_stream *s);

/* A task is inside a read or write call. */
bool bki_stream_in_use(const struct bk_stream *s);

/* The part of close that may take time: r >= 0 flushes, deaf to cancels, for a few seconds at most.
 * Returns r, or the first error of the flush. */
int bki_stream_finish(struct bk_stream *s, int r);

/* Says the filter's goodbye as far as that needs no waiting: before a stream is dropped, or freed
 * outside of tasks.  Never suspends. */
void bki_stream_goodbye(struct bk_stream *s);

/* Raw receive: the count (at least one), 0 at the end, or an error; sticky from then on.  Suspends.
 * -ESHUTDOWN when the stream was hung up meanwhile: a filter passes it on, and the read call tells
 * of the end. */
ssize_t bki_stream_recv(struct bk_stream *s, void *buf, size_t len);

/* The same without suspending, -EAGAIN for nothing now; and a wait for there to be something: 0, or
 * the connection's error. */
ssize_t bki_stream_recv_now(struct bk_stream *s, void *buf, size_t len);
int bki_stream_wait_readable(struct bk_stream *s);

/* Raw send: all pieces go to the kernel or into the out-buffer.  Suspends while they do not fit.
 * On -ECANCELED and errors *taken (may be NULL) says how many bytes are gone. */
int bki_stream_send(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken);

/* The same without suspending, whatever write_buffer says: 0, or the connection's error.  No task
 * may be inside bki_stream_send. */
int bki_stream_send_now(struct bk_stream *s, const void *data, size_t len);

/* Says that writing has failed, by s->write_error, which it returns. */
int bki_stream_write_failed(const struct bk_stream *s);

/* bki_stream_send_now from above the filter: hands bytes over without suspending, whatever
 * write_buffer says, and deaf to cancels: for short answers of a protocol, whose number its owner
 * bounds.  No task may be writing.  0, or the connection's error. */
int bki_stream_push(struct bk_stream *s, const void *data, size_t len);
int bki_stream_pushv(struct bk_stream *s, const bk_span *pieces, size_t n);

/* A buffer with room for len bytes more, NULL for want of memory.  Once they are in, and unless the
 * operation is in flight already, bki_out_send sends. */
struct bki_buf *bki_out_room(struct bk_stream *s, size_t len);
void bki_out_send(struct bk_stream *s);

/* For close: ends the sending.  True: the kernel has let go of the memory.  Outside of tasks, where
 * nobody can wait for that, false: the end of the operation frees the stream. */
bool bki_out_stop(struct bk_stream *s);

/* Nothing is in flight. */
void bki_out_free(struct bk_stream *s);

/* Something was sent or a write has ended: what was hung up ends once nothing is unsent. */
void bki_stream_end_hung_up(struct bk_stream *s);

/* Drops all that is unsent and tells every writer of error; later ones too.  An operation in flight
 * is only asked to end. */
void bki_stream_fail_write(struct bk_stream *s, int error);

/* Between begin_write and end_write: as bki_stream_send, behind the filter. */
int bki_stream_send_past(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken);

/* bk_stream_writev that also says how much was taken when it fails. */
int bki_stream_writev(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken);

/* Receives straight into the caller's memory, past the in-buffer, which must be empty.  Between
 * bki_stream_begin_read and its end.  As bki_stream_recv, behind the filter. */
ssize_t bki_stream_recv_past(struct bk_stream *s, void *buf, size_t len);

/* Receives into the in-buffer, making room for at least `want` bytes in all.  1, 0 at the end, or
 * an error. */
int bki_stream_fill(struct bk_stream *s, size_t want);
/* The same of what there is, without waiting for it: -EAGAIN for nothing. */
int bki_stream_fill_now(struct bk_stream *s);

/* The next fills offer the kernel no more than this; they may again when such fills were full. */
static inline void bki_stream_offer_at_most(struct bk_stream *s, size_t most)
{
    if (s->in_size > most)
        s->in_size = most;
}

/* A reader inside a call sees what has become of the stream; if nothing has, its call fails with
 * -ECANCELED although nobody has cancelled it, and nothing is lost. */
void bki_stream_interrupt(struct bk_stream *s);

/* Bytes sent that the peer's kernel has not got yet, those unsent included. */
size_t bki_stream_unacked(const struct bk_stream *s);

/* Suspends until at most `limit` bytes are unsent.  0, -ECANCELED, or the connection's error. */
int bki_stream_wait_unsent(struct bk_stream *s, size_t limit);

/* Writing to a pipe without a reader, or a file to a socket, has no flag against SIGPIPE: until the
 * end of the run the loop's thread keeps it blocked, and sees EPIPE. */
void bki_block_sigpipe(struct bk_loop *loop);

/* After an operation that completed at once: gives other tasks their turn now and then. */
static inline void bki_stream_breathe(struct bk_stream *s)
{
    if (__builtin_expect(--s->loop->budget < 0, 0) && !s->pushing)
        bki_give_way(s->loop);
}

/* Start and end of a public read call: one reader at a time, and not in a cancelled task. */
static inline int bki_stream_begin_read(struct bk_stream *s)
{
    if (__builtin_expect(s->reading, 0))
        return bk_fail(-EBUSY, "another task reads from this stream");
    int r = bki_check_cancel();
    if (__builtin_expect(r == 0, 1))
        s->reading = true;
    return r;
}

/* Start and end of a public write call: one writer at a time, and while writing is possible.  The
 * end returns r. */
int bki_stream_begin_write(struct bk_stream *s);
int bki_stream_end_write(struct bk_stream *s, int r);

static inline size_t bki_stream_buffered(const struct bk_stream *s)
{
    return bki_buf_len(&s->in);
}

static inline size_t bki_stream_unsent(const struct bk_stream *s)
{
    return s->out ? bki_buf_len(&s->out->sending) + bki_buf_len(&s->out->queued) : 0;
}

/* Tells the run's on_error of a connection's handler that failed, unless the peer just went away.
 * bk_errmsg has the detail; s may be NULL. */
void bki_serve_report(const struct bk_stream *s, int result);

/* Tells s->serve that the stream is being freed. */
void bki_serve_forget(struct bk_stream *s);

extern const struct bki_wait_kind bki_wait_read, bki_wait_write, bki_wait_close;

#endif
