/* SPDX-License-Identifier: MIT
 * Whole files: read into a message, replaced in one step.  Each is one piece of work on a thread of
 * the pool. */
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include <beck/file.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error_slot.h"

#define FIRST_READ ((size_t)4096)

/* ---- Load ---- */

struct load {
    const char *path;
    size_t limit;
    bk_msg *msg;
};

/* What its size says is only a hint: files grow, and those of /proc have none. */
static size_t first_room(int fd, size_t limit)
{
    struct stat st;
    size_t size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size
                                                                               : FIRST_READ;
    return (size < limit ? size : limit) + 1;
}

/* Everything, and at most a byte more than limit, which shows that there is more. */
static int read_all(int fd, size_t limit, struct bki_buf *buf)
{
    int r = bki_buf_reserve(buf, first_room(fd, limit));
    while (r == 0 && bki_buf_len(buf) <= limit) {
        ssize_t n = read(fd, bki_buf_end(buf), bki_buf_room(buf));
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        bki_buf_commit(buf, n < 0 ? 0 : (size_t)n);
        if (bki_buf_room(buf) == 0)
            r = bki_buf_reserve(buf, bki_buf_len(buf));
    }
    return r < 0 ? r : -BK_ELIMIT;
}

static int load_fd(struct load *l, int fd)
{
    struct bki_buf buf;
    bki_buf_init(&buf, SIZE_MAX / 2);
    int r = read_all(fd, l->limit < SIZE_MAX / 4 ? l->limit : SIZE_MAX / 4, &buf);
    if (r == -BK_ELIMIT)
        r = bk_fail(r, "'%.160s' has more than %zu bytes", l->path, l->limit);
    else if (r < 0)
        r = bki_fail_errno(r, "read of '%.160s'", l->path);
    if (r == 0)
        r = bk_msg_copy(&l->msg, bki_buf_start(&buf), bki_buf_len(&buf));
    bki_buf_free(&buf);
    return r;
}

static int load_on_thread(void *ctx)
{
    struct load *l = ctx;
    int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return bki_fail_errno(errno, "cannot open '%.160s'", l->path);
    int r = load_fd(l, fd);
    close(fd);
    return r;
}

int bk_file_load(const char *path, size_t limit, bk_msg **out)
{
    struct load l = {.path = path, .limit = limit};
    int r = bk_to_thread(load_on_thread, &l, NULL);
    if (r == 0)
        *out = l.msg;
    return r;
}

/* ---- Save ---- */

struct save {
    const char *path;
    const char *data;
    size_t len;
    const bk_file_save_opts *opts;
    char *temp; /* room for the name it is written under */
    size_t temp_size;
};

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        data += n < 0 ? 0 : n;
        len -= n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

#define TEMP_TRIES 100

/* A new file beside the one that is to be replaced. */
static int open_temp(const struct save *s, mode_t mode)
{
    for (int i = 0; i < TEMP_TRIES; i++) {
        uint32_t chance;
        if (getrandom(&chance, sizeof chance, 0) != sizeof chance)
            return -EIO;
        snprintf(s->temp, s->temp_size, "%s.%08x", s->path, chance);
        int fd = open(s->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, mode);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST && errno != EINTR)
            return -errno;
    }
    return -EEXIST;
}

static int write_temp(const struct save *s, int fd, bool keep_mode, mode_t mode)
{
    int r = write_all(fd, s->data, s->len);
    if (r == 0 && keep_mode && fchmod(fd, mode) < 0) /* the umask does not count */
        r = -errno;
    if (r == 0 && !s->opts->no_sync && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

/* What the rename has done; the temporary name, which is not needed any more, becomes the
 * directory's. */
static int sync_directory(const struct save *s)
{
    char *slash = strrchr(s->temp, '/');
    if (slash)
        slash[slash == s->temp] = '\0';
    int fd = open(slash ? s->temp : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return r;
}

/* 1: *mode is that of the file that is there; 0: it is for a new one; or -errno. */
static int find_mode(const struct save *s, mode_t *mode)
{
    struct stat st = {0};
    *mode = s->opts->mode ? s->opts->mode : 0666;
    if (!s->opts->mode && lstat(s->path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    *mode = st.st_mode & 07777;
    return 1;
}

static int save_on_thread(void *ctx)
{
    struct save *s = ctx;
    mode_t mode;
    int r = 0, keep_mode = find_mode(s, &mode);
    int fd = keep_mode < 0 ? keep_mode : open_temp(s, mode);
    if (fd >= 0) {
        r = write_temp(s, fd, keep_mode, mode);
        if (r == 0 && rename(s->temp, s->path) < 0)
            r = -errno;
        if (r < 0)
            unlink(s->temp);
    }
    if (fd < 0 || r < 0)
        return bki_fail_errno(fd < 0 ? fd : r, "cannot write '%.160s'", s->path);
    if (!s->opts->no_sync)
        r = sync_directory(s);
    return r < 0 ? bki_fail_errno(r, "sync of the directory of '%.160s'", s->path) : 0;
}

int bk_file_save(const char *path, const void *data, size_t len, const bk_file_save_opts *opts)
{
    static const bk_file_save_opts defaults;
    struct save s = {.path = path, .data = data, .len = len, .opts = opts ? opts : &defaults};
    s.temp_size = strlen(path) + sizeof ".01234567";
    s.temp = bki_alloc(s.temp_size);
    if (!s.temp)
        return bk_fail(-ENOMEM, "no memory to write '%.160s'", path);
    int r = bk_to_thread(save_on_thread, &s, NULL);
    bki_free(s.temp);
    return r;
}
