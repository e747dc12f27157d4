/* SPDX-License-Identifier: MIT
 * What the tests of streams share: bodies that run in a loop, connected pairs, and the raw other
 * end.
 *
 *     LOOP_TEST(reads_what_there_is)
 *     {
 *         struct ends e;
 *         CHECK_EQ(open_ends(&e, NULL), 0);
 *         ...
 *         close_ends(&e);
 *     } */
#ifndef BECK_SRC_NET_NET_TEST_H
#define BECK_SRC_NET_NET_TEST_H

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <beck.h>

#include "tests/check.h"

static int call_void_body(void *ctx)
{
    void (**body)(void) = ctx;
    (*body)();
    return 0;
}

static inline int n_open_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Runs body as the main task on the virtual clock; it must leave no descriptor open. */
static inline void run_in_loop(void (*body)(void))
{
    int before = n_open_fds(), failures = check_failures;
    CHECK_EQ(bk_run(call_void_body, &body, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}), 0);
    if (failures == check_failures)
        CHECK_EQ(n_open_fds(), before);
}

/* A test whose body is a task. */
#define LOOP_TEST(name)                                                                            \
    static void name##_body(void);                                                                 \
    static void name(void)                                                                         \
    {                                                                                              \
        run_in_loop(name##_body);                                                                  \
    }                                                                                              \
    static void name##_body(void)

/* A stream and the plain blocking descriptor of its other end. */
struct ends {
    bk_stream *s;
    int peer;
};

static inline int open_ends(struct ends *e, const bk_stream_opts *opts)
{
    int fds[2];
    e->s = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    e->peer = fds[1];
    return bk_stream_from_fd(&e->s, fds[0], opts);
}

static inline void close_ends(struct ends *e)
{
    bk_stream_close(&e->s, -1);
    if (e->peer >= 0)
        close(e->peer);
    e->peer = -1;
}

/* The peer says text. */
static inline void say(const struct ends *e, const char *text)
{
    size_t len = strlen(text);
    CHECK_EQ(write(e->peer, text, len), (ssize_t)len);
}

static inline void hang_up(struct ends *e)
{
    close(e->peer);
    e->peer = -1;
}

/* Two connected streams over TCP. */
static inline int open_tcp_pair(bk_stream **a, bk_stream **b, const bk_stream_opts *opts)
{
    bk_listener *l = NULL;
    bk_listen_opts listen_opts = {0};
    bk_connect_opts connect_opts = {0};
    if (opts)
        listen_opts.stream = connect_opts.stream = *opts;
    int r = bk_listen(&l, "127.0.0.1:0", &listen_opts);
    if (r == 0)
        r = bk_connect(a, bk_listener_address(l), &connect_opts);
    if (r == 0)
        r = bk_accept(l, b);
    return bk_listener_close(&l, r < 0 ? r : 0);
}

static inline int set_buffer(int fd, int option, int size)
{
    return setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

/* So that close resets the connection. */
static inline void reset_on_close(int fd)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* The same bytes for the same seed, everywhere. */
static inline unsigned next_random(unsigned *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
