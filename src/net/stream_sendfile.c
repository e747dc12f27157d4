/* SPDX-License-Identifier: MIT
 * Sending a file: by the kernel alone, else by reading and writing. */
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <beck/thread.h>

#include "base/alloc.h"
#include "net/stream.h"

#define PIECE ((size_t)64 * 1024)            /* read and written at once */
#define PORTION ((size_t)16 * 1024)          /* of which written at once: a record of TLS */
#define MARGIN ((size_t)1024)                /* for what TLS adds */
#define STRETCH ((size_t)1024 * 1024)        /* sent by one call of the kernel's */
#define NOT_BY_THE_KERNEL (-BK_EUNSUPPORTED) /* what sendfile's refusals become */

struct sending {
    struct bk_stream *s;
    int fd;
    int64_t at;   /* the next byte */
    int64_t left; /* at most */
    char *buf;    /* for what is read; NULL: the kernel does it */
    size_t n_buf;
};

/* ---- The file ---- */

static int file_failed(int error)
{
    return bki_fail_errno(error, "sendfile: reading the file");
}

/* On a thread of the pool: the file may be on a slow disk. */
static int read_piece(void *ctx)
{
    struct sending *f = ctx;
    ssize_t n;
    do {
        n = pread(f->fd, f->buf, f->n_buf, f->at);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static int load(void *ctx)
{
    struct sending *f = ctx;
    /* Sending the bytes would fail as this does; but it would hold up the loop. */
    return readahead(f->fd, f->at, f->n_buf) < 0 ? -errno : 0;
}

/* The bytes at f->at, n_buf at most, as a preadv2 that does not wait for a disk: -EAGAIN when they
 * are not in memory.  Where the file system has no such thing, nothing is known to be slow. */
static ssize_t read_at_once(struct sending *f, void *buf, size_t len)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    ssize_t n = preadv2(f->fd, &iov, 1, f->at, RWF_NOWAIT);
    return n < 0 ? -errno : n;
}

/* Makes sure that the next stretch is in memory. */
static int warm_up(struct sending *f)
{
    char byte;
    if (read_at_once(f, &byte, 1) != -EAGAIN)
        return 0;
    f->n_buf = STRETCH;
    int r = bk_to_thread(load, f, NULL);
    return r == -EINVAL || r == -EOPNOTSUPP ? 0 : r;
}

/* ---- By the kernel ---- */

static int wait_writable(struct bk_stream *s)
{
    struct bki_op op;
    op.kind = BKI_OP_POLL;
    op.fd = &s->fd;
    op.events = POLLOUT;
    op.nowait = false;
    int64_t r = bki_op_run(&op, &bki_wait_write, s);
    return r < 0 ? (int)r : 0;
}

/* One call: the count, 0 at the file's end, -EAGAIN, or an error. */
static ssize_t send_stretch(struct sending *f)
{
    size_t len = f->left < (int64_t)STRETCH ? (size_t)f->left : STRETCH;
    off_t at = f->at;
    ssize_t n;
    do {
        n = sendfile(f->s->fd.fd, f->fd, &at, len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static bool is_refusal(ssize_t error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP || error == -EOVERFLOW;
}

/* Who is to blame: the file, or this process, or else the connection, which is then over. */
static int stretch_failed(struct bk_stream *s, int error)
{
    if (error == -EIO || error == -ENOMEM || error == -EBADF)
        return file_failed(error);
    bki_stream_fail_write(s, error);
    return bki_stream_write_failed(s);
}

static int send_natively(struct sending *f)
{
    struct bk_stream *s = f->s;
    int r = bki_stream_wait_unsent(s, 0);
    bki_block_sigpipe(s->loop);
    while (r == 0 && f->left > 0) {
        r = bki_check_cancel();
        if (r == 0)
            r = warm_up(f);
        if (r < 0)
            break;
        ssize_t n = s->write_error ? s->write_error : send_stretch(f);
        if (n == 0)
            break;
        if (n > 0) {
            f->at += n;
            f->left -= n;
            bki_stream_breathe(s);
        } else if (n == -EAGAIN) {
            r = wait_writable(s);
        } else {
            r = is_refusal(n) ? NOT_BY_THE_KERNEL : stretch_failed(s, (int)n);
        }
    }
    return r == -ECANCELED && s->aborted ? bki_stream_write_failed(s) : r;
}

/* ---- By reading and writing ---- */

/* Sends n bytes of the buffer, in portions that the out-buffer has room for: so none is cut in two
 * by a cancel, and the position always says what has gone. */
static int send_piece(struct sending *f, size_t n)
{
    struct bk_stream *s = f->s;
    size_t portion = s->write_buffer < PORTION ? s->write_buffer : PORTION;
    size_t filled = s->write_buffer > portion + MARGIN ? s->write_buffer - portion - MARGIN : 0;
    for (size_t at = 0; at < n; at += portion) {
        bk_span piece = bk_span_of(f->buf + at, n - at < portion ? n - at : portion);
        size_t taken = 0;
        int r = bki_stream_wait_unsent(s, filled);
        if (r == 0)
            r = bki_stream_send_past(s, &piece, 1, &taken);
        f->at += (int64_t)taken;
        f->left -= (int64_t)taken;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The count, 0 at the end, or an error. */
static ssize_t next_piece(struct sending *f)
{
    f->n_buf = f->left < (int64_t)PIECE ? (size_t)f->left : PIECE;
    ssize_t n = read_at_once(f, f->buf, f->n_buf);
    if (n < 0)
        n = bk_to_thread(read_piece, f, NULL);
    return n < 0 && n != -ECANCELED ? file_failed((int)n) : n;
}

static int send_by_hand(struct sending *f)
{
    ssize_t r = 1;
    f->buf = bki_alloc(PIECE);
    if (!f->buf)
        return bk_fail(-ENOMEM, "no memory to send a file");
    while (r > 0 && f->left > 0) {
        r = bki_check_cancel();
        if (r == 0)
            r = next_piece(f);
        if (r <= 0)
            break;
        int sent = send_piece(f, (size_t)r);
        r = sent < 0 ? sent : r;
        bki_stream_breathe(f->s);
    }
    bki_free(f->buf);
    return r < 0 ? (int)r : 0;
}

/* ---- The call ---- */

static int send_file(struct sending *f, const bk_sendfile_opts *opts)
{
    int r = f->s->filter ? NOT_BY_THE_KERNEL : send_natively(f);
    if (r != NOT_BY_THE_KERNEL)
        return r;
    if (opts && opts->no_fallback)
        return bk_fail(-EOPNOTSUPP, "sendfile: not by the kernel alone");
    return send_by_hand(f);
}

int64_t bk_stream_sendfile(bk_stream *s, int fd, int64_t offset, int64_t count,
                           const bk_sendfile_opts *opts)
{
    struct stat st;
    off_t position = lseek(fd, 0, SEEK_CUR);
    if (position < 0 || fstat(fd, &st) < 0)
        return bki_fail_errno(errno, "sendfile: descriptor %d", fd);
    if (S_ISDIR(st.st_mode))
        return bk_fail(-EISDIR, "sendfile: descriptor %d is a directory", fd);
    struct sending f = {.s = s,
                        .fd = fd,
                        .at = offset < 0 ? position : offset,
                        .left = count < 0 ? INT64_MAX : count};
    int64_t start = f.at;
    int r = bki_stream_begin_write(s);
    if (r < 0)
        return r;
    r = bki_stream_end_write(s, send_file(&f, opts));
    lseek(fd, f.at, SEEK_SET);
    return r < 0 ? r : f.at - start;
}
