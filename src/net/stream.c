/* SPDX-License-Identifier: MIT
 * A stream's beginning: made of a descriptor, and named. */
#include "net/stream.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/debug.h"

#define DEFAULT_LIMIT ((size_t)64 * 1024)
#define FIRST_READ_SIZE ((size_t)4096)

int bki_stream_new(struct bk_stream **out, int fd, bool is_socket, const bk_stream_opts *opts)
{
    struct bk_stream *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a stream");
    s->loop = bki_loop;
    bki_fd_init(&s->fd, fd, is_socket);
    s->read_limit = opts && opts->read_limit ? opts->read_limit : DEFAULT_LIMIT;
    if (s->read_limit > SIZE_MAX / 4)
        s->read_limit = SIZE_MAX / 4;
    s->write_buffer = opts && opts->write_buffer ? opts->write_buffer : DEFAULT_LIMIT;
    bki_buf_init(&s->in, s->read_limit);
    s->in_size = s->read_limit < FIRST_READ_SIZE ? s->read_limit : FIRST_READ_SIZE;
    s->restore_flags = -1;
    bki_list_init(&s->write_waiters);
    bki_track(&s->tracked, "stream");
    *out = s;
    return 0;
}

void bki_stream_set_fd(struct bk_stream *s, int fd)
{
    bki_fd_init(&s->fd, fd, s->fd.is_socket);
}

void bki_stream_free(struct bk_stream *s)
{
    bki_untrack(&s->tracked);
    if (s->serve)
        bki_serve_forget(s);
    if (s->filter)
        s->filter->free(s);
    if (s->restore_flags >= 0)
        fcntl(s->fd.fd, F_SETFL, s->restore_flags);
    if (s->fd.fd >= 0)
        s->loop->backend->close_fd(s->loop, &s->fd);
    bki_buf_free(&s->in);
    bki_out_free(s);
    bki_free(s->peer);
    bki_free(s->local);
    bki_free(s);
}

/* ---- Adopting a descriptor ---- */

/* Non-blocking is a property of the open file, which other processes may share (a terminal, a pipe
 * from the shell): opens the same pipe or terminal once more and puts that in fd's place.  Returns
 * whether it could. */
static bool reopen_nonblocking(int fd, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int keep = flags & (O_ACCMODE | O_APPEND);
    int again = open(path, keep | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (again < 0)
        return false;
    int cloexec = fcntl(fd, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
    bool ok = dup3(again, fd, cloexec) >= 0;
    close(again);
    return ok;
}

static int set_nonblocking(int fd, mode_t mode, int *restore_flags)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return bki_fail_errno(errno, "descriptor %d", fd);
    if (flags & O_NONBLOCK)
        return 0;
    if ((S_ISFIFO(mode) || S_ISCHR(mode)) && reopen_nonblocking(fd, flags))
        return 0;
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return bki_fail_errno(errno, "descriptor %d", fd);
    *restore_flags = flags;
    return 0;
}

/* Devices such as /dev/null cannot be waited for. */
static bool can_be_polled(int fd)
{
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {0};
    bool ok = ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM;
    if (ep >= 0)
        close(ep);
    return ok;
}

static int check_kind(int fd, mode_t mode)
{
    if (S_ISSOCK(mode)) {
        int type = 0;
        socklen_t len = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
            return bki_fail_errno(errno, "descriptor %d", fd);
        if (type != SOCK_STREAM)
            return bk_fail(-EINVAL, "descriptor %d: not a stream socket", fd);
        return 0;
    }
    if (S_ISREG(mode) || S_ISDIR(mode) || S_ISBLK(mode))
        return bk_fail(-EINVAL, "descriptor %d: files cannot be waited for", fd);
    if (!can_be_polled(fd))
        return bk_fail(-EINVAL, "descriptor %d: this device cannot be waited for", fd);
    return 0;
}

void bki_block_sigpipe(struct bk_loop *loop)
{
    sigset_t set, before;
    if (loop->sigpipe_blocked)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    loop->sigpipe_blocked = !sigismember(&before, SIGPIPE);
}

int bk_stream_from_fd(bk_stream **out, int fd, const bk_stream_opts *opts)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return bki_fail_errno(errno, "descriptor %d", fd);
    int r = check_kind(fd, st.st_mode);
    if (r < 0)
        return r;
    struct bk_stream *s;
    r = bki_stream_new(&s, -1, S_ISSOCK(st.st_mode), opts);
    if (r < 0)
        return r;
    r = set_nonblocking(fd, st.st_mode, &s->restore_flags);
    if (r < 0) {
        bki_stream_free(s);
        return r;
    }
    bki_stream_set_fd(s, fd);
    if (s->fd.is_socket) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on what is not TCP */
    } else {
        bki_block_sigpipe(s->loop);
    }
    *out = s;
    return 0;
}

int bk_stream_fd(const bk_stream *stream)
{
    return stream->fd.fd;
}

/* ---- Names ---- */

typedef int get_name_fn(int fd, struct sockaddr *address, socklen_t *len);

static const char *name_of(const struct bk_stream *s, get_name_fn *get_name, char **kept)
{
    struct bki_address address = {.len = sizeof address - offsetof(struct bki_address, any)};
    char text[BKI_ADDRESS_TEXT];
    if (*kept)
        return *kept;
    if (!s->fd.is_socket || get_name(s->fd.fd, &address.any, &address.len) < 0)
        return "";
    *kept = bki_strdup(bki_address_format(&address, text));
    return *kept ? *kept : "";
}

static int get_peer(int fd, struct sockaddr *address, socklen_t *len)
{
    return getpeername(fd, address, len);
}

static int get_local(int fd, struct sockaddr *address, socklen_t *len)
{
    return getsockname(fd, address, len);
}

const char *bk_stream_peer(const bk_stream *stream)
{
    return name_of(stream, get_peer, &((struct bk_stream *)stream)->peer);
}

const char *bk_stream_local(const bk_stream *stream)
{
    return name_of(stream, get_local, &((struct bk_stream *)stream)->local);
}

static void describe_stream(const void *object, char *buf, size_t size)
{
    const struct bk_stream *s = object;
    const char *peer = bk_stream_peer(s);
    size_t unsent = bki_stream_unsent(s);
    int n = peer[0] ? snprintf(buf, size, "%s", peer) : snprintf(buf, size, "fd %d", s->fd.fd);
    if (unsent > 0 && n > 0 && (size_t)n < size)
        snprintf(buf + n, size - (size_t)n, " (%zu bytes unsent)", unsent);
}

/* From outside the peer can be told only if somebody has asked for its name before. */
#define ABOUT_STREAM                                                                               \
    .describe = describe_stream, .about = "fd %i %s",                                              \
    .at = {offsetof(struct bk_stream, fd.fd), offsetof(struct bk_stream, peer)}

const struct bki_wait_kind bki_wait_read = {.what = "read", ABOUT_STREAM};
const struct bki_wait_kind bki_wait_write = {.what = "write", ABOUT_STREAM};
const struct bki_wait_kind bki_wait_close = {.what = "close", ABOUT_STREAM};
