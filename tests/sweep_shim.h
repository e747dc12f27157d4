/* SPDX-License-Identifier: MIT
 * System calls that go wrong on purpose: functions of libc's names in front of libc's.
 *
 * A program that includes this calls them instead (its own definitions come first); sweep_shim.c
 * makes a library of it for LD_PRELOAD.  Rules say what goes wrong when: the n-th matching call, or
 * a share of them by a seeded generator, so that a run can be repeated.  Transfers fall short, and
 * say EAGAIN, only where the caller must expect it: on non-blocking descriptors.  What io_uring
 * does goes past all this. */
#ifndef BECK_TESTS_SWEEP_SHIM_H
#define BECK_TESTS_SWEEP_SHIM_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum shim_call {
    SHIM_RECV, /* read, recv */
    SHIM_SEND, /* write, writev, send, sendmsg, sendfile */
    SHIM_ACCEPT,
    SHIM_CONNECT,
    SHIM_SOCKET,
    SHIM_EPOLL_CREATE,
    SHIM_EPOLL_CTL,
    SHIM_EPOLL_WAIT,
    SHIM_EVENTFD,
    SHIM_STACK,  /* mmap and madvise for task stacks */
    SHIM_OPEN,   /* open, pipe2, and fcntl for a duplicate */
    SHIM_FILE,   /* read, write, pread, pwrite, fsync and so on of regular files */
    SHIM_CLONE,  /* the start of a child process */
    SHIM_THREAD, /* pthread_create */
    SHIM_BIND,   /* bind, listen */
    SHIM_ASK,    /* setsockopt, getsockopt, getsockname, getpeername */
    SHIM_STAT,   /* stat, lstat, fstat */
    SHIM_RENAME,
    SHIM_POLL,
    SHIM_URING_SETUP, /* these three: sweep_uring.h */
    SHIM_URING_SUBMIT,
    SHIM_URING_ENTER,
    SHIM_CALLS
};

static const char *const shim_call_names[SHIM_CALLS] = {
    "recv",          "send",    "accept", "connect", "socket", "epoll_create",   "epoll_ctl",
    "epoll_wait",    "eventfd", "stack",  "open",    "file",   "clone",          "thread",
    "bind",          "ask",     "stat",   "rename",  "poll",   "io_uring_setup", "io_uring_submit",
    "io_uring_enter"};

#define SHIM_SHORT (-1) /* a transfer of half of it, or less */
#define SHIM_TORN (-2)  /* the same, and the disk is full at the next one (ENOSPC) */

struct shim_rule {
    enum shim_call call;
    int what;         /* an errno, SHIM_SHORT or SHIM_TORN */
    unsigned percent; /* of the calls; 0: by number */
    long first, last; /* which calls, counted from 1 */
};

#define SHIM_RULES 12
static struct {
    struct shim_rule rules[SHIM_RULES];
    atomic_int n_rules;
    atomic_bool asleep;              /* rules do not apply */
    atomic_long n_calls[SHIM_RULES]; /* those that a rule is about */
    atomic_long n_hits;
    atomic_int torn;  /* the descriptor of which the rest is refused; 0: none */
    atomic_uint seen; /* which calls there were while rules applied, since it was cleared */
    _Atomic uint64_t random;
} shim;

/* No rules, nothing counted, and the generator at a seed. */
static inline void shim_reset(uint64_t seed)
{
    atomic_store(&shim.n_rules, 0);
    atomic_store(&shim.asleep, false);
    atomic_store(&shim.n_hits, 0);
    atomic_store(&shim.torn, 0);
    atomic_store(&shim.random, seed * 0x9e3779b97f4a7c15u + 1);
}

static inline void shim_add(struct shim_rule rule)
{
    int i = atomic_load(&shim.n_rules);
    if (i == SHIM_RULES)
        return;
    shim.rules[i] = rule;
    atomic_store(&shim.n_calls[i], 0);
    atomic_store(&shim.n_rules, i + 1);
}

static inline unsigned shim_random(unsigned below)
{
    uint64_t x = atomic_load(&shim.random), next;
    do {
        next = x ^ (x << 13);
        next ^= next >> 7;
        next ^= next << 17;
    } while (!atomic_compare_exchange_weak(&shim.random, &x, next));
    return (unsigned)(next >> 33) % below;
}

/* ---- Deciding ---- */

static inline bool shim_hits(int i)
{
    const struct shim_rule *rule = &shim.rules[i];
    long n = atomic_fetch_add(&shim.n_calls[i], 1) + 1;
    return rule->percent ? shim_random(100) < rule->percent : n >= rule->first && n <= rule->last;
}

/* The errno to fail with; 0: go on, perhaps with less of *len. */
static inline int shim_decide(enum shim_call call, int fd, size_t *len)
{
    if (!atomic_load(&shim.asleep))
        atomic_fetch_or(&shim.seen, 1u << call);
    if (fd > 2 && fd == atomic_load(&shim.torn) && len && !atomic_load(&shim.asleep)) {
        atomic_store(&shim.torn, 0);
        return ENOSPC;
    }
    for (int i = 0; !atomic_load(&shim.asleep) && i < atomic_load(&shim.n_rules); i++) {
        int what = shim.rules[i].what;
        if (shim.rules[i].call != call || (fd >= 0 && fd <= 2))
            continue;
        if ((what < 0 && (!len || *len < 2)) || !shim_hits(i))
            continue;
        atomic_fetch_add(&shim.n_hits, 1);
        if (what == ECONNRESET || what == EPIPE)
            syscall(SYS_shutdown, fd, SHUT_RDWR); /* the other end sees it too */
        if (what > 0)
            return what;
        *len = 1 + shim_random((unsigned)(*len / 2));
        if (what == SHIM_TORN)
            atomic_store(&shim.torn, fd);
    }
    return 0;
}

/* For transfers: 8 bytes are a wake-up through an eventfd, which is never cut or refused. */
static inline int shim_transfer(enum shim_call call, int fd, size_t *len)
{
    if (*len == sizeof(uint64_t) || atomic_load(&shim.n_rules) == 0)
        return 0;
    int saved = errno;
    long flags = syscall(SYS_fcntl, fd, F_GETFL, 0);
    errno = saved;
    return flags >= 0 && (flags & O_NONBLOCK) ? shim_decide(call, fd, len) : 0;
}

static inline int shim_on_file(int fd, size_t *len)
{
    struct stat st;
    if (atomic_load(&shim.n_rules) == 0 || syscall(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    return shim_decide(SHIM_FILE, fd, len);
}

static inline long shim_fail(int error)
{
    errno = error;
    return -1;
}

/* The pieces cut to len bytes in all, at most `max` of them. */
static inline int shim_cut(struct iovec *out, int max, const struct iovec *iov, int n, size_t len)
{
    int at = 0;
    while (at < n && at < max && len > 0) {
        out[at] = iov[at];
        if (out[at].iov_len > len)
            out[at].iov_len = len;
        len -= out[at++].iov_len;
    }
    return at;
}

static inline size_t shim_total(const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

/* ---- The calls: also for the libraries that the program is linked with ---- */

/* Not under ThreadSanitizer, which would call them before it has begun. */
#ifndef __SANITIZE_THREAD__
#pragma GCC visibility push(default)
#endif

#define SHIM_PIECES 16

ssize_t read(int fd, void *buf, size_t len)
{
    int error = shim_transfer(SHIM_RECV, fd, &len);
    if (!error)
        error = shim_on_file(fd, &len);
    return error ? shim_fail(error) : syscall(SYS_read, fd, buf, len);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    int error = shim_transfer(SHIM_RECV, fd, &len);
    return error ? shim_fail(error) : syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}

ssize_t write(int fd, const void *buf, size_t len)
{
    int error = shim_transfer(SHIM_SEND, fd, &len);
    if (!error)
        error = shim_on_file(fd, &len);
    return error ? shim_fail(error) : syscall(SYS_write, fd, buf, len);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    int error = shim_transfer(SHIM_SEND, fd, &len);
    return error ? shim_fail(error) : syscall(SYS_sendto, fd, buf, len, flags, NULL, 0);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    struct iovec cut[SHIM_PIECES];
    size_t len = shim_total(iov, n), all = len;
    int error = shim_transfer(SHIM_SEND, fd, &len);
    if (error)
        return shim_fail(error);
    if (len < all) {
        n = shim_cut(cut, SHIM_PIECES, iov, n, len);
        iov = cut;
    }
    return syscall(SYS_writev, fd, iov, n);
}

static bool shim_no_sendfile; /* as if the kernel could not do it */

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    if (shim_no_sendfile)
        return shim_fail(EINVAL);
    int error = shim_transfer(SHIM_SEND, out, &len);
    return error ? shim_fail(error) : syscall(SYS_sendfile, out, in, offset, len);
}

/* Those go whole, or not at all. */
static inline bool shim_is_datagram(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_DGRAM;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct iovec cut[SHIM_PIECES];
    struct msghdr less = *msg;
    size_t len = shim_total(msg->msg_iov, (int)msg->msg_iovlen), all = len;
    int error = shim_transfer(SHIM_SEND, fd, &len);
    if (error)
        return shim_fail(error);
    if (len < all && !shim_is_datagram(fd)) {
        less.msg_iovlen =
            (size_t)shim_cut(cut, SHIM_PIECES, msg->msg_iov, (int)msg->msg_iovlen, len);
        less.msg_iov = cut;
    }
    return syscall(SYS_sendmsg, fd, &less, flags);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    int error = shim_decide(SHIM_ACCEPT, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_accept4, fd, addr, len, flags));
}

/* An interrupted connect goes on in the background, so it is begun first. */
int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    int error = shim_decide(SHIM_CONNECT, fd, NULL);
    if (error && error != EINTR)
        return (int)shim_fail(error);
    int r = (int)syscall(SYS_connect, fd, addr, len);
    return error && (r == 0 || errno == EINPROGRESS) ? (int)shim_fail(error) : r;
}

int socket(int domain, int type, int protocol)
{
    int error = shim_decide(SHIM_SOCKET, -1, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_socket, domain, type, protocol));
}

int epoll_create1(int flags)
{
    int error = shim_decide(SHIM_EPOLL_CREATE, -1, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_epoll_create1, flags));
}

int epoll_ctl(int fd, int op, int target, struct epoll_event *event)
{
    int error = op == EPOLL_CTL_DEL ? 0 : shim_decide(SHIM_EPOLL_CTL, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_epoll_ctl, fd, op, target, event));
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    int error = shim_decide(SHIM_EPOLL_WAIT, fd, NULL);
    if (error)
        return (int)shim_fail(error);
    return (int)syscall(SYS_epoll_pwait, fd, events, max, timeout, NULL, (size_t)8);
}

int epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *mask)
{
    int error = shim_decide(SHIM_EPOLL_WAIT, fd, NULL);
    if (error)
        return (int)shim_fail(error);
    return (int)syscall(SYS_epoll_pwait2, fd, events, max, timeout, mask, (size_t)8);
}

int eventfd(unsigned int count, int flags)
{
    int error = shim_decide(SHIM_EVENTFD, -1, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_eventfd2, count, flags));
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    int error = flags & MAP_STACK ? shim_decide(SHIM_STACK, -1, NULL) : 0;
    return (void *)(error ? shim_fail(error)
                          : syscall(SYS_mmap, addr, len, prot, flags, fd, offset));
}

int madvise(void *addr, size_t len, int advice)
{
    enum { GUARD_INSTALL = 102 };
    int error = advice == GUARD_INSTALL ? shim_decide(SHIM_STACK, -1, NULL) : 0;
    return (int)(error ? shim_fail(error) : syscall(SYS_madvise, addr, len, advice));
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    size_t all = 1;
    int error = shim_transfer(SHIM_RECV, fd, &all); /* not cut: a datagram comes whole */
    return error ? shim_fail(error) : syscall(SYS_recvmsg, fd, msg, flags);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    int error = shim_on_file(fd, &len);
    return error ? shim_fail(error) : syscall(SYS_pread64, fd, buf, len, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    int error = shim_on_file(fd, &len);
    return error ? shim_fail(error) : syscall(SYS_pwrite64, fd, buf, len, offset);
}

int fsync(int fd)
{
    int error = shim_on_file(fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    int error = shim_on_file(fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_fdatasync, fd));
}

int ftruncate(int fd, off_t size)
{
    int error = shim_on_file(fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_ftruncate, fd, size));
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    int error = shim_decide(SHIM_OPEN, -1, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

int pipe2(int fds[2], int flags)
{
    int error = shim_decide(SHIM_OPEN, -1, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_pipe2, fds, flags));
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long arg = va_arg(args, long);
    va_end(args);
    int error = command == F_DUPFD_CLOEXEC ? shim_decide(SHIM_OPEN, -1, NULL) : 0;
    return (int)(error ? shim_fail(error) : syscall(SYS_fcntl, fd, command, arg));
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    int error = shim_decide(SHIM_BIND, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_bind, fd, addr, len));
}

int listen(int fd, int backlog)
{
    int error = shim_decide(SHIM_BIND, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_listen, fd, backlog));
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    int error = shim_decide(SHIM_ASK, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_setsockopt, fd, level, option, value, len));
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    int error = shim_decide(SHIM_ASK, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_getsockopt, fd, level, option, value, len));
}

int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    int error = shim_decide(SHIM_ASK, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_getsockname, fd, addr, len));
}

int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    int error = shim_decide(SHIM_ASK, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_getpeername, fd, addr, len));
}

int stat(const char *path, struct stat *out)
{
    int error = shim_decide(SHIM_STAT, -1, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_newfstatat, AT_FDCWD, path, out, 0));
}

int lstat(const char *path, struct stat *out)
{
    int error = shim_decide(SHIM_STAT, -1, NULL);
    return (int)(error ? shim_fail(error)
                       : syscall(SYS_newfstatat, AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW));
}

int fstat(int fd, struct stat *out)
{
    int error = shim_decide(SHIM_STAT, fd, NULL);
    return (int)(error ? shim_fail(error) : syscall(SYS_fstat, fd, out));
}

int rename(const char *from, const char *to)
{
    int error = shim_decide(SHIM_RENAME, -1, NULL);
    return (int)(error ? shim_fail(error)
                       : syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    struct timespec t = {timeout / 1000, timeout % 1000 * 1000000L};
    int error = shim_decide(SHIM_POLL, -1, NULL);
    return (int)(error ? shim_fail(error)
                       : syscall(SYS_ppoll, fds, n, timeout < 0 ? NULL : &t, NULL, (size_t)8));
}

/* What stands behind a name here: libc's, or a sanitizer's. */
static inline void *shim_behind(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = shim_behind("pthread_create");
    int error = shim_decide(SHIM_THREAD, -1, NULL);
    return error ? error : real(thread, attr, fn, arg);
}

/* libc's own, under a name of its own. */
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);

int clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...)
{
    va_list args;
    va_start(args, arg);
    int *parent_tid = va_arg(args, int *);
    va_end(args);
    int error = shim_decide(SHIM_CLONE, -1, NULL);
    return (int)(error ? shim_fail(error) : __clone(fn, stack, flags, arg, parent_tid));
}

/* What libraries call them that were built for large files. */
#define SHIM_SAME_AS(name) __attribute__((alias(#name)))
int open64(const char *path, int flags, ...) SHIM_SAME_AS(open);
int fcntl64(int fd, int command, ...) SHIM_SAME_AS(fcntl);
ssize_t pread64(int fd, void *buf, size_t len, off64_t offset) SHIM_SAME_AS(pread);
ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t offset) SHIM_SAME_AS(pwrite);
int stat64(const char *path, struct stat64 *out) SHIM_SAME_AS(stat);
int lstat64(const char *path, struct stat64 *out) SHIM_SAME_AS(lstat);
int fstat64(int fd, struct stat64 *out) SHIM_SAME_AS(fstat);
int ftruncate64(int fd, off64_t size) SHIM_SAME_AS(ftruncate);
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
    SHIM_SAME_AS(mmap);
ssize_t sendfile64(int out, int in, off64_t *offset, size_t len) SHIM_SAME_AS(sendfile);
#ifndef __SANITIZE_THREAD__
#pragma GCC visibility pop
#endif

#endif
