/* SPDX-License-Identifier: MIT
 * Bytes from and to files, pipes and terminals: see bytes.h. */
#include "connectors/bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <beck/thread.h>

#include "base/error_slot.h"
#include "net/file.h"

/* Pipes, sockets and terminals can be waited for: 1 or 0, or -errno. */
static int can_be_waited_for(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(fd));
}

int bki_bytes_from_fd(struct bki_bytes *bytes, int fd)
{
    *bytes = (struct bki_bytes)BKI_BYTES_CLOSED;
    int r = can_be_waited_for(fd);
    if (r == 0) {
        bytes->fd = fd;
        return 0;
    }
    r = r < 0 ? bki_fail_errno(r, "descriptor %d", fd)
              : bk_stream_from_fd(&bytes->stream, fd, NULL);
    if (r < 0)
        close(fd);
    return r;
}

int bki_bytes_from_std(struct bki_bytes *bytes, int std_fd)
{
    char path[32];
    int fd = -1;
    *bytes = (struct bki_bytes)BKI_BYTES_CLOSED;
    snprintf(path, sizeof path, "/proc/self/fd/%d", std_fd);
    /* Opening it anew gives flags of our own; sockets, and terminals of others, cannot be. */
    if (can_be_waited_for(std_fd) > 0)
        fd = open(path, (std_fd == 0 ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        fd = fcntl(std_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return bki_fail_errno(errno, "standard %s", std_fd == 0 ? "input" : "output");
    return bki_bytes_from_fd(bytes, fd);
}

struct opening {
    const char *path;
    int flags;
    unsigned mode;
};

static int open_file(void *ctx)
{
    struct opening *o = ctx;
    struct stat st;
    int fd = open(o->path, o->flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, o->mode);
    if (fd < 0)
        return bki_fail_errno(errno, "cannot open '%s'", o->path);
    if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode))) {
        close(fd);
        return S_ISDIR(st.st_mode)
                   ? bki_fail_errno(EISDIR, "cannot open '%s'", o->path)
                   : bk_fail(-EINVAL, "'%s' is not a file; a pipe goes through '-'", o->path);
    }
    fcntl(fd, F_SETFL, o->flags & O_APPEND); /* O_NONBLOCK was for the open alone */
    return fd;
}

int bki_bytes_open(struct bki_bytes *bytes, const char *path, int flags, unsigned mode)
{
    struct opening o = {path, flags, mode};
    *bytes = (struct bki_bytes)BKI_BYTES_CLOSED;
    int fd = bk_to_thread(open_file, &o, NULL);
    return fd < 0 ? fd : bki_bytes_from_fd(bytes, fd);
}

/* ---- Transfers ---- */

static int64_t run(const struct bki_bytes *bytes, enum bki_op_kind kind, const void *mem,
                   size_t len)
{
    struct bki_op op = {.kind = kind};
    op.file.number = bytes->fd;
    op.file.mem = (void *)(uintptr_t)mem;
    op.file.size = len;
    op.file.offset = -1;
    return bki_file_run(&op, "file");
}

static int told(int64_t r, const char *what)
{
    return r == -ECANCELED ? (int)r : bki_fail_errno((int)r, "%s", what);
}

ssize_t bki_bytes_read(struct bki_bytes *bytes, void *buf, size_t len)
{
    if (bytes->stream)
        return bk_stream_read(bytes->stream, buf, len);
    int64_t n = run(bytes, BKI_OP_READ, buf, len);
    return n < 0 ? told(n, "read") : (ssize_t)n;
}

static int write_file(struct bki_bytes *bytes, const char *data, size_t len, size_t *done)
{
    while (*done < len) {
        int64_t n = run(bytes, BKI_OP_WRITE, data + *done, len - *done);
        if (n < 0)
            return told(n, "write");
        *done += (size_t)n;
    }
    return 0;
}

int bki_bytes_write(struct bki_bytes *bytes, const void *data, size_t len, size_t *done)
{
    *done = 0;
    if (!bytes->stream)
        return write_file(bytes, data, len, done);
    int r = bk_stream_write(bytes->stream, data, len);
    if (r == 0)
        r = bk_stream_flush(bytes->stream);
    if (r == 0)
        *done = len;
    return r;
}

int bki_bytes_sync(struct bki_bytes *bytes)
{
    struct bki_op op = {.kind = BKI_OP_SYNC};
    op.file.number = bytes->fd;
    op.file.data_only = true;
    int64_t r = bytes->stream ? 0 : bki_file_run(&op, "file");
    /* A device that has nothing to sync says EINVAL. */
    return r < 0 && r != -EINVAL ? told(r, "sync") : 0;
}

int bki_bytes_close(struct bki_bytes *bytes, int r)
{
    if (bytes->fd >= 0 && close(bytes->fd) < 0 && r >= 0)
        r = bki_fail_errno(errno, "close");
    bytes->fd = -1;
    return bk_stream_close(&bytes->stream, r);
}
