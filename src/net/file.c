/* SPDX-License-Identifier: MIT
 * Files: opened, read and written, closed. */
#include "net/file.h"

#include <stdio.h>
#include <unistd.h>

#include <beck/task.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "base/error_slot.h"

#define DEFAULT_LINE_LIMIT ((size_t)64 * 1024)
#define READ_AHEAD ((size_t)64 * 1024)

static int fail(const struct bk_file *f, int64_t r, const char *what)
{
    return r == -ECANCELED ? (int)r : bki_fail_errno((int)r, "%s '%.160s'", what, f->name);
}

/* ---- Opening ---- */

static int check_kind(const char *name, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return bki_fail_errno(errno, "'%.160s'", name);
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(fd)))
        return bk_fail(-EINVAL, "'%.160s' is no file: a pipe, socket or terminal is a stream",
                       name);
    return 0;
}

static struct bk_file *new_file(const char *name, const bk_file_opts *opts)
{
    struct bk_file *f = bki_zalloc(sizeof *f);
    char *copy = f ? bki_strdup(name) : NULL;
    if (!copy) {
        bki_free(f);
        return NULL;
    }
    f->fd = -1;
    f->loop = bki_loop;
    f->name = copy;
    f->line_limit = opts && opts->line_limit ? opts->line_limit : DEFAULT_LINE_LIMIT;
    bki_buf_init(&f->in, SIZE_MAX / 2);
    return f;
}

static void free_file(struct bk_file *f)
{
    bki_buf_free(&f->in);
    bki_free(f->name);
    bki_free(f);
}

/* O_NONBLOCK keeps the open of a pipe from waiting for its other end.  To a file it means nothing,
 * but that io_uring may then refuse to wait for the disk. */
static int open_file(struct bk_file *f, const char *path, int flags, unsigned mode)
{
    struct bki_op op = {.kind = BKI_OP_OPEN};
    op.file.path = path;
    op.file.flags = flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    op.file.mode = mode;
    int64_t fd = bki_file_run(&op, path);
    if (fd < 0)
        return fail(f, fd, "cannot open");
    int r = check_kind(path, (int)fd), status = fcntl((int)fd, F_GETFL);
    if (r == 0 && (status < 0 || fcntl((int)fd, F_SETFL, status & ~O_NONBLOCK) < 0))
        r = fail(f, -errno, "cannot open");
    if (r < 0)
        close((int)fd);
    else
        f->fd = (int)fd;
    return r;
}

int bk_file_open(bk_file **out, const char *path, int flags, const bk_file_opts *opts)
{
    struct bk_file *f = new_file(path, opts);
    if (!f)
        return bk_fail(-ENOMEM, "no memory for a file");
    int r = open_file(f, path, flags, opts && opts->mode ? opts->mode : 0666);
    if (r < 0) {
        free_file(f);
        return r;
    }
    *out = f;
    return 0;
}

int bk_file_from_fd(bk_file **out, int fd, const bk_file_opts *opts)
{
    char name[32];
    snprintf(name, sizeof name, "descriptor %d", fd);
    int r = check_kind(name, fd);
    if (r < 0)
        return r;
    struct bk_file *f = new_file(name, opts);
    if (!f)
        return bk_fail(-ENOMEM, "no memory for a file");
    f->fd = fd;
    *out = f;
    return 0;
}

int bk_file_fd(const bk_file *f)
{
    return f->fd;
}

/* ---- Transfers ---- */

static int64_t transfer(struct bk_file *f, enum bki_op_kind kind, const void *mem, size_t size,
                        int64_t offset)
{
    struct bki_op op = {.kind = kind};
    op.file.number = f->fd;
    op.file.mem = (void *)(uintptr_t)mem;
    op.file.size = size;
    op.file.offset = offset;
    f->n_inside++;
    int64_t n = bki_file_run(&op, f->name);
    f->n_inside--;
    return n;
}

/* offset: -1 at the position.  What was read before an error counts; the error will come again. */
static ssize_t read_whole(struct bk_file *f, void *buf, size_t len, int64_t offset)
{
    struct bki_cancel_told told;
    size_t done = 0;
    int64_t n = 1;
    while (done < len && n > 0) {
        told = bki_cancel_told_save();
        n = transfer(f, BKI_OP_READ, (char *)buf + done, len - done,
                     offset < 0 ? offset : offset + (int64_t)done);
        done += n > 0 ? (size_t)n : 0;
    }
    if (n < 0 && done == 0)
        return fail(f, n, "read of");
    if (n < 0)
        bki_cancel_told_restore(told);
    return (ssize_t)done;
}

static int write_whole(struct bk_file *f, const void *data, size_t len, int64_t offset)
{
    size_t done = 0;
    while (done < len) {
        int64_t n = transfer(f, BKI_OP_WRITE, (const char *)data + done, len - done,
                             offset < 0 ? offset : offset + (int64_t)done);
        if (n <= 0)
            return fail(f, n < 0 ? n : -EIO, "write to");
        done += (size_t)n;
    }
    return 0;
}

ssize_t bk_file_pread(bk_file *f, void *buf, size_t len, int64_t offset)
{
    if (offset < 0)
        return bk_fail(-EINVAL, "'%.160s': an offset below 0", f->name);
    return read_whole(f, buf, len, offset);
}

int bk_file_pwrite(bk_file *f, const void *data, size_t len, int64_t offset)
{
    if (offset < 0)
        return bk_fail(-EINVAL, "'%.160s': an offset below 0", f->name);
    return write_whole(f, data, len, offset);
}

/* ---- At the position ---- */

static int begin(struct bk_file *f)
{
    if (f->busy)
        return bk_fail(-EBUSY, "another task is at the position of '%.160s'", f->name);
    f->busy = true;
    bki_buf_consume(&f->in, f->line_len);
    f->line_len = 0;
    return 0;
}

static ssize_t end(struct bk_file *f, ssize_t r)
{
    f->busy = false;
    return r;
}

/* The kernel's position goes back to the one that the caller knows. */
static int drop_ahead(struct bk_file *f)
{
    size_t ahead = bki_buf_len(&f->in);
    if (ahead > 0 && lseek(f->fd, -(off_t)ahead, SEEK_CUR) < 0)
        return fail(f, -errno, "seek in");
    bki_buf_consume(&f->in, ahead);
    f->scanned = 0;
    f->skip_line = false;
    return 0;
}

static ssize_t read_at_position(struct bk_file *f, void *buf, size_t len)
{
    size_t ahead = bki_buf_len(&f->in), first = ahead < len ? ahead : len;
    if (first > 0)
        memcpy(buf, bki_buf_start(&f->in), first);
    ssize_t n = first < len ? read_whole(f, (char *)buf + first, len - first, -1) : 0;
    if (n < 0)
        return n; /* nothing is consumed */
    bki_buf_consume(&f->in, first);
    f->scanned = 0;
    f->skip_line = false;
    return (ssize_t)first + n;
}

ssize_t bk_file_read(bk_file *f, void *buf, size_t len)
{
    int r = begin(f);
    return r < 0 ? r : end(f, read_at_position(f, buf, len));
}

int bk_file_write(bk_file *f, const void *data, size_t len)
{
    int r = begin(f);
    if (r < 0)
        return r;
    r = drop_ahead(f);
    if (r == 0)
        r = write_whole(f, data, len, -1);
    return (int)end(f, r);
}

int64_t bk_file_seek(bk_file *f, int64_t offset, int whence)
{
    int r = begin(f);
    if (r == 0)
        r = (int)end(f, drop_ahead(f));
    if (r < 0)
        return r;
    off_t at = lseek(f->fd, offset, whence);
    return at < 0 ? fail(f, -errno, "seek in") : at;
}

/* ---- Lines ---- */

/* 1, 0 at the end of the file. */
static int read_ahead(struct bk_file *f)
{
    int r = bki_buf_reserve(&f->in, READ_AHEAD);
    if (r < 0)
        return bk_fail(r, "no memory to read '%.160s'", f->name);
    int64_t n = transfer(f, BKI_OP_READ, bki_buf_end(&f->in), READ_AHEAD, -1);
    if (n < 0)
        return fail(f, n, "read of");
    bki_buf_commit(&f->in, (size_t)n);
    return n > 0;
}

/* The length of the first line with its end, once that is here; 0 at the end of the file, all of
 * what is left being the line. */
static int64_t find_line(struct bk_file *f)
{
    for (;;) {
        size_t len = bki_buf_len(&f->in);
        const char *start = bki_buf_start(&f->in);
        const char *end_of_line =
            len > f->scanned ? memchr(start + f->scanned, '\n', len - f->scanned) : NULL;
        if (end_of_line)
            return end_of_line - start + 1;
        f->scanned = len;
        if (len > f->line_limit)
            return -BK_ELIMIT;
        int r = read_ahead(f);
        if (r <= 0)
            return r;
    }
}

/* Drops what there is of a line that is too long, up to its end. */
static int skip_line(struct bk_file *f)
{
    int64_t n;
    while ((n = find_line(f)) == -BK_ELIMIT) {
        bki_buf_consume(&f->in, bki_buf_len(&f->in));
        f->scanned = 0;
    }
    if (n < 0)
        return (int)n;
    bki_buf_consume(&f->in, n > 0 ? (size_t)n : bki_buf_len(&f->in));
    f->scanned = 0;
    f->skip_line = false;
    return 0;
}

static int read_line(struct bk_file *f, bk_span *line)
{
    int r = f->skip_line ? skip_line(f) : 0;
    int64_t n = r < 0 ? r : find_line(f);
    size_t len = n > 0 ? (size_t)n : bki_buf_len(&f->in);
    if (n == -BK_ELIMIT || (n >= 0 && len > f->line_limit + (n > 0))) {
        f->skip_line = true;
        return bk_fail(-BK_ELIMIT, "'%.160s': a line over line_limit (%zu bytes)", f->name,
                       f->line_limit);
    }
    if (n < 0 || len == 0)
        return (int)n;
    f->line_len = len;
    f->scanned = 0;
    *line = bk_span_of(bki_buf_start(&f->in), len - (n > 0));
    if (n > 0 && line->len > 0 && line->data[line->len - 1] == '\r')
        line->len--;
    return 1;
}

int bk_file_read_line(bk_file *f, bk_span *line)
{
    int r = begin(f);
    return r < 0 ? r : (int)end(f, read_line(f, line));
}

/* ---- Facts ---- */

int bk_file_sync(bk_file *f, bool data_only)
{
    struct bki_op op = {.kind = BKI_OP_SYNC};
    op.file.number = f->fd;
    op.file.data_only = data_only;
    f->n_inside++;
    int64_t r = bki_file_run(&op, f->name);
    f->n_inside--;
    return r < 0 ? fail(f, r, "sync of") : 0;
}

struct fact {
    int fd;
    int64_t size;
    struct stat *stat;
};

static int truncate_on_thread(void *ctx)
{
    const struct fact *fact = ctx;
    int r;
    do {
        r = ftruncate(fact->fd, fact->size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int stat_on_thread(void *ctx)
{
    const struct fact *fact = ctx;
    return fstat(fact->fd, fact->stat) < 0 ? -errno : 0;
}

static int on_thread(struct bk_file *f, bk_fn *fn, struct fact *fact, const char *what)
{
    f->n_inside++;
    int r = bk_to_thread(fn, fact, NULL);
    f->n_inside--;
    return r < 0 ? fail(f, r, what) : 0;
}

int bk_file_truncate(bk_file *f, int64_t size)
{
    struct fact fact = {.fd = f->fd, .size = size};
    return on_thread(f, truncate_on_thread, &fact, "truncate of");
}

int bk_file_stat(bk_file *f, struct stat *out)
{
    struct fact fact = {.fd = f->fd, .stat = out};
    return on_thread(f, stat_on_thread, &fact, "stat of");
}

/* ---- Closing ---- */

static int close_shielded(void *ctx)
{
    struct bk_file *f = ctx;
    struct bki_op op = {.kind = BKI_OP_CLOSE};
    op.file.number = f->fd;
    return (int)bki_file_run(&op, f->name);
}

int bk_file_close(bk_file **file, int r)
{
    struct bk_file *f = *file;
    if (!f)
        return r;
    if (f->busy || f->n_inside > 0)
        return bk_fail(-EBUSY, "close of '%.160s', which another task is using", f->name);
    int closed = bk_shield(close_shielded, f);
    /* There was no way to do it elsewhere, or this is no task (but a forked child's copy of one).
     */
    if (closed == -ENOMEM || closed == -EAGAIN || closed == -BK_ENOTASK)
        closed = close(f->fd) < 0 ? -errno : 0;
    if (closed < 0 && r >= 0)
        r = fail(f, closed, "close of");
    free_file(f);
    *file = NULL;
    return r;
}
