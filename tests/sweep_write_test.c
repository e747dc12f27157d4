/* SPDX-License-Identifier: MIT
 * Sweeps over the write calls of a stream: what arrives is what was written, from its beginning,
 * and nothing that a call took is missing unless the stream says so. */
#include <sys/mman.h>
#include <sys/socket.h>

#include "tests/sweep.h"

enum { WRITE_BUFFER = 4096, TOTAL = 150000 };

struct writing {
    bk_stream *here, *there; /* the subject's end, the reader's */
    size_t n_written;        /* by calls that succeeded */
    size_t n_tried;          /* and by one that did not */
    size_t n_got;
    int file;     /* of all bytes */
    bool dropped; /* what was unsent when it was closed is gone */
    char buf[8192];
};

static const char *all_bytes(void)
{
    static char bytes[TOTAL];
    if (!bytes[0])
        for (unsigned i = 0, x = 1; i < TOTAL; i++, x = x * 1103515245 + 12345)
            bytes[i] = (char)(1 + (x >> 16) % 255);
    return bytes;
}

static int open_writing(void *ctx)
{
    struct writing *w = ctx;
    int fds[2], size = 4096;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    bk_stream_opts opts = {.write_buffer = WRITE_BUFFER};
    int e = bk_stream_from_fd(&w->here, fds[0], &opts);
    if (e < 0)
        close(fds[0]);
    int f = bk_stream_from_fd(&w->there, fds[1], NULL);
    if (f < 0)
        close(fds[1]);
    return e < 0 ? e : f;
}

static int open_file(void *ctx)
{
    struct writing *w = ctx;
    w->file = memfd_create("sweep", MFD_CLOEXEC);
    if (w->file < 0 || syscall(SYS_write, w->file, all_bytes(), TOTAL) != TOTAL)
        return -errno;
    return open_writing(w);
}

static int open_file_to_copy(void *ctx)
{
    shim_no_sendfile = true;
    return open_file(ctx);
}

static void close_writing(void *ctx)
{
    struct writing *w = ctx;
    shim_no_sendfile = false;
    if (w->file > 0)
        close(w->file);
    bk_stream_close(&w->here, -1);
    bk_stream_close(&w->there, -1);
}

/* The reader: slow, so that the writer has to wait again and again. */
static int read_to_the_end(void *ctx)
{
    struct writing *w = ctx;
    ssize_t n;
    while ((n = bk_stream_read(w->there, w->buf, sizeof w->buf)) > 0) {
        if (w->n_got + (size_t)n > TOTAL || memcmp(w->buf, all_bytes() + w->n_got, (size_t)n) != 0)
            sweep_lost("bytes from %zu on are not those that were written", w->n_got);
        w->n_got += (size_t)n;
        int e = bk_yield();
        if (e < 0)
            return e;
    }
    return (int)n;
}

static int read_and_answer(void *ctx)
{
    struct writing *w = ctx;
    int e = read_to_the_end(ctx);
    return e < 0 ? e : bk_stream_write(w->there, "bye", 3);
}

/* Closes what the subject left open, while a reader takes what comes. */
static void all_arrives(void *ctx, int result)
{
    struct writing *w = ctx;
    bk_task *reader = NULL;
    (void)result;
    if (bk_go(&reader, read_to_the_end, w, NULL) < 0)
        return; /* for want of memory */
    size_t unsent = w->here ? bk_stream_unsent(w->here) : 0;
    int closed = bk_stream_close(&w->here, sweep_faulted ? -1 : 0), ended = 0;
    bk_task_wait(reader, &ended);
    bk_task_free(&reader);
    if (sweep_faulted) {
        if (w->n_got > w->n_tried)
            sweep_lost("%zu bytes written, %zu got", w->n_tried, w->n_got);
        return;
    }
    if (closed == 0)
        unsent = w->dropped ? TOTAL : 0;
    else if (closed != -EPIPE && !(closed == -ENOMEM && sweep_excused()))
        sweep_lost("close gives %d", closed);
    if (ended < 0 && ended != -ENOMEM)
        sweep_lost("the reader ends with %d", ended);
    if (ended < 0)
        return;
    bool partial = closed < 0 || w->dropped;
    size_t most = partial ? w->n_tried : w->n_written;
    if (w->n_got > most || w->n_got + unsent < w->n_written)
        sweep_lost("%zu bytes written, %zu more tried, %zu got; close gives %d", w->n_written,
                   w->n_tried - w->n_written, w->n_got, closed);
}

/* ---- The subjects ---- */

static int wrote(struct writing *w, size_t len, int e)
{
    w->n_tried = w->n_written + len;
    if (e == 0)
        w->n_written += len;
    return e;
}

static int write_piece(struct writing *w, size_t len)
{
    return wrote(w, len, bk_stream_write(w->here, all_bytes() + w->n_written, len));
}

static int write_little(void *ctx)
{
    int e = 0;
    for (int i = 0; e == 0 && i < 12; i++)
        e = write_piece(ctx, 3000);
    return e;
}

static int write_much(void *ctx)
{
    int e = write_piece(ctx, 30000);
    if (e == 0)
        e = write_piece(ctx, 10);
    return e < 0 ? e : write_piece(ctx, 20000);
}

static int write_pieces(void *ctx)
{
    struct writing *w = ctx;
    int e = 0;
    for (int i = 0; e == 0 && i < 5; i++) {
        const char *data = all_bytes() + w->n_written;
        const bk_span pieces[] = {bk_span_of(data, 1), bk_span_of(data + 1, 0),
                                  bk_span_of(data + 1, 5000), bk_span_of(data + 5001, 2000)};
        e = wrote(w, 7001, bk_stream_writev(w->here, pieces, 4));
    }
    return e;
}

static int write_and_drain(void *ctx)
{
    struct writing *w = ctx;
    int e = 0;
    for (int i = 0; e == 0 && i < 10; i++) {
        e = write_piece(w, 4000);
        if (e == 0)
            e = bk_stream_drain(w->here);
        if (e == 0 && bk_stream_unsent(w->here) > WRITE_BUFFER / 4)
            sweep_lost("%zu bytes unsent after drain", bk_stream_unsent(w->here));
    }
    return e;
}

static int write_and_flush(void *ctx)
{
    struct writing *w = ctx;
    int e = 0;
    for (int i = 0; e == 0 && i < 6; i++) {
        e = write_piece(w, 9000);
        if (e == 0)
            e = bk_stream_flush(w->here);
        if (e == 0 && bk_stream_unsent(w->here) > 0)
            sweep_lost("%zu bytes unsent after flush", bk_stream_unsent(w->here));
    }
    return e;
}

static int write_to_the_end(void *ctx)
{
    struct writing *w = ctx;
    char answer[3];
    int e = write_piece(w, 12000);
    if (e == 0)
        e = bk_stream_write_eof(w->here);
    if (e == 0)
        e = bk_stream_read_exactly(w->here, answer, 3);
    if (e == 0 && memcmp(answer, "bye", 3) != 0)
        sweep_lost("a wrong answer");
    return e;
}

static int write_and_close(void *ctx)
{
    struct writing *w = ctx;
    int e = write_piece(w, 15000);
    if (e == 0)
        e = write_piece(w, 4000);
    if (e == 0)
        e = bk_stream_close(&w->here, 7);
    w->dropped = !w->here && e < 0; /* and it has said so */
    return e;
}

static int write_and_drop(void *ctx)
{
    struct writing *w = ctx;
    int e = write_piece(w, 15000);
    if (e == 0)
        e = write_piece(w, 4000);
    w->dropped = e == 0;
    return e < 0 ? e : bk_stream_close(&w->here, -EBADMSG);
}

/* Whatever happens, the position says what was taken. */
static int send_a_file(void *ctx)
{
    struct writing *w = ctx;
    int64_t r = 0;
    for (int i = 0; r >= 0 && i < 2; i++) {
        r = bk_stream_sendfile(w->here, w->file, (int64_t)w->n_written, 20000, NULL);
        if (r >= 0 && r != 20000)
            sweep_lost("%lld of 20000 bytes", (long long)r);
        off_t position = lseek(w->file, 0, SEEK_CUR);
        if (position != TOTAL)
            w->n_tried = w->n_written = (size_t)position;
    }
    return r < 0 ? (int)r : 0;
}

/* A write that was cancelled before it took anything has left the stream as it was. */
static int write_and_go_on(void *ctx)
{
    struct writing *w = ctx;
    int e = 0;
    for (int i = 0; e == 0 && i < 8; i++)
        while ((e = write_piece(w, 3000)) == -ECANCELED)
            bk_uncancel();
    if (bk_yield() == -ECANCELED) /* it came at the very end */
        bk_uncancel();
    return e == -EPIPE ? 0 : e; /* part of a write was sent: nothing more may follow */
}

/* A call that gives way to others although it need not wait tells nobody of a cancel. */
static int write_and_give_way(void *ctx)
{
    int e = write_piece(ctx, 10);
    bki_loop->budget = 0;
    return e < 0 ? e : write_piece(ctx, 10);
}

#define WRITING(function)                                                                          \
    .state_size = sizeof(struct writing), .open = open_writing, .close = close_writing,            \
    .subject = function, .helpers = {read_to_the_end}, .check = all_arrives

static const struct sweep_scenario scenarios[] = {
    {.name = "write, small", WRITING(write_little)},
    {.name = "write, large", WRITING(write_much)},
    {.name = "writev", WRITING(write_pieces)},
    {.name = "drain", WRITING(write_and_drain)},
    {.name = "flush", WRITING(write_and_flush)},
    {.name = "write eof",
     .state_size = sizeof(struct writing),
     .open = open_writing,
     .close = close_writing,
     .subject = write_to_the_end,
     .helpers = {read_and_answer},
     .check = all_arrives},
    {.name = "close", WRITING(write_and_close), .want = 7},
    {.name = "close with an error", WRITING(write_and_drop), .want = -EBADMSG},
    {.name = "sendfile",
     .state_size = sizeof(struct writing),
     .open = open_file,
     .close = close_writing,
     .subject = send_a_file,
     .helpers = {read_to_the_end},
     .check = all_arrives},
    {.name = "sendfile, copied",
     .state_size = sizeof(struct writing),
     .open = open_file_to_copy,
     .close = close_writing,
     .subject = send_a_file,
     .helpers = {read_to_the_end},
     .check = all_arrives},
    {.name = "write and give way", WRITING(write_and_give_way)},
    {.name = "write and uncancel", WRITING(write_and_go_on), .survives = true},
};

SWEEP_MAIN(scenarios)
