/* SPDX-License-Identifier: MIT
 * For the backends' tests: a loop without tasks, driven through the vtable alone. */
#ifndef BECK_SRC_RT_BACKEND_TEST_H
#define BECK_SRC_RT_BACKEND_TEST_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rt/backend_uring.h"
#include "rt/rt.h"
#include "tests/check.h"

#define SECOND ((int64_t)1000000000)
#define PATIENCE (10 * SECOND)

static struct bk_loop loop;
static const struct bki_backend *be;
static bool loop_is_open;

static inline int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static inline void close_loop(void)
{
    if (loop_is_open)
        be->close(&loop);
    loop_is_open = false;
}

static inline int open_loop(void)
{
    close_loop();
    memset(&loop, 0, sizeof loop);
    loop.backend = be;
    int r = be->open(&loop);
    loop_is_open = r == 0;
    return r;
}

/* An op with a count of its completions. */
struct probe {
    struct bki_op op;
    int n_done;
    void (*then)(struct probe *p);
    void *arg;
};

static inline void probe_done(struct bki_op *op)
{
    struct probe *p = op->owner;
    p->n_done++;
    if (p->then)
        p->then(p);
}

static inline int start(struct probe *p)
{
    p->n_done = 0;
    p->op.owner = p;
    p->op.done = probe_done;
    return be->start(&loop, &p->op);
}

/* Polls until p is done; false on an error, or out of patience. */
static inline bool await(struct probe *p)
{
    int64_t end = clock_ns() + PATIENCE;
    while (!p->n_done && clock_ns() < end)
        if (be->poll(&loop, SECOND) < 0)
            return false;
    return p->n_done == 1;
}

/* Starts p and polls until it is done; its result, or -ETIME. */
static inline int64_t run(struct probe *p)
{
    int r = start(p);
    if (r != 0)
        return r < 0 ? r : p->op.result;
    return await(p) ? p->op.result : -ETIME;
}

/* Lets the backend see what happened meanwhile: a few polls without waiting. */
static inline void settle(void)
{
    for (int i = 0; i < 4; i++)
        be->poll(&loop, 0);
}

/* How many of a few short polls end before their time. */
static inline int count_early_polls(void)
{
    int early = 0;
    for (int i = 0; i < 6; i++) {
        int64_t before = clock_ns();
        if (be->poll(&loop, 2000000) < 0)
            return -1;
        early += clock_ns() - before < 2000000;
    }
    return early;
}

static inline struct probe recv_op(struct bki_fd *f, void *buf, size_t len)
{
    return (struct probe){.op = {.kind = BKI_OP_RECV, .fd = f, .buf = buf, .len = len}};
}

static inline struct probe send_op(struct bki_fd *f, const struct iovec *iov, int iov_n)
{
    return (struct probe){.op = {.kind = BKI_OP_SEND, .fd = f, .iov = iov, .iov_n = iov_n}};
}

static inline struct probe accept_op(struct bki_fd *f)
{
    return (struct probe){.op = {.kind = BKI_OP_ACCEPT, .fd = f}};
}

static inline struct probe poll_op(struct bki_fd *f, short events)
{
    return (struct probe){.op = {.kind = BKI_OP_POLL, .fd = f, .events = events}};
}

static inline struct probe connect_op(struct bki_fd *f, const struct sockaddr *addr, size_t len)
{
    return (struct probe){
        .op = {.kind = BKI_OP_CONNECT, .fd = f, .addr = addr, .addr_len = (socklen_t)len}};
}

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A listener on a free port of the loopback, and its address. */
static inline int listener(struct sockaddr_in *addr)
{
    *addr = loopback(0);
    socklen_t len = sizeof *addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)addr, len) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)addr, &len) < 0)
        return -1;
    return fd;
}

/* Two ends of a TCP connection: near is non-blocking, far blocks. */
static inline bool tcp_pair(int *near, int *far)
{
    struct sockaddr_in addr;
    int l = listener(&addr);
    *far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l < 0 || *far < 0 || connect(*far, (struct sockaddr *)&addr, sizeof addr) < 0)
        return false;
    *near = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(l);
    int one = 1;
    setsockopt(*far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return *near >= 0;
}

/* The same of a Unix stream. */
static inline bool unix_pair(int *near, int *far)
{
    int s[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
        return false;
    *near = s[0];
    *far = s[1];
    return fcntl(*near, F_SETFL, O_NONBLOCK) == 0;
}

/* Raises the limit of open files; how many of n it allows, with some to spare. */
static inline int room_for_files(int n)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > (rlim_t)n + 100 ? n : (int)limit.rlim_cur - 100;
}

static inline int run_on_this_backend(const struct check_test *tests, size_t n, int argc,
                                      char **argv)
{
    int r = open_loop();
    if (r == -ENOSYS || r == -EPERM || r == -EINVAL) {
        printf("skipped: %s\n", bk_errmsg());
        return 77;
    }
    if (r < 0) {
        fprintf(stderr, "%s\n", bk_errmsg());
        return 1;
    }
    printf("%s: %s\n", be->name, be->features(&loop));
    r = check_run(tests, n, argc, argv);
    close_loop();
    return r;
}

/* Runs the tests on BECK_BACKEND, or epoll, and io_uring also as older kernels would have it set
 * up; 77 when the kernel does not have it. */
static inline int backend_main(const struct check_test *tests, size_t n, int argc, char **argv)
{
    be = &bki_backend_epoll;
#ifndef BECK_NO_URING
    const char *name = getenv("BECK_BACKEND");
    if (name && strcmp(name, "uring") == 0) {
        be = &bki_backend_uring;
        int r = 0;
        for (unsigned i = 0; i < bki_uring_n_setups && r == 0; i++) {
            bki_uring_first_setup = i;
            r = run_on_this_backend(tests, n, argc, argv);
        }
        return r;
    }
#endif
    return run_on_this_backend(tests, n, argc, argv);
}

#define BACKEND_MAIN(...)                                                                          \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct check_test tests[] = {__VA_ARGS__};                                    \
        return backend_main(tests, sizeof tests / sizeof *tests, argc, argv);                      \
    }

#endif
