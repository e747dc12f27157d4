/* SPDX-License-Identifier: MIT
 * A backend against system calls that fail or do less than asked for no visible reason, and the
 * count of system calls on the hot path.
 *
 * The program has its own recv, send and so on in front of libc's: each counts, and a script says
 * which calls go wrong.  A random scenario checks that every byte arrives once, in order, whatever
 * happens. */
#include "rt/backend_test.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

/* ---- The calls in front of libc's ---- */

static struct {
    int recv, send, accept, connect, epoll_wait, epoll_ctl;
} calls;

static int fault_percent;      /* of the calls below, how many go wrong */
static bool faults_may_refuse; /* also with EAGAIN though there is something to do */
static uint32_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

/* An errno to fail with; 0: go on, perhaps with less of *len. */
static int fault(size_t *len)
{
    if ((int)random_below(100) >= fault_percent)
        return 0;
    switch (random_below(faults_may_refuse ? 3 : 2)) {
    case 0:
        return EINTR;
    case 1:
        if (len && *len > 1)
            *len = 1 + random_below((uint32_t)*len / 2);
        return 0;
    default:
        return EAGAIN;
    }
}

#define FAIL_IF(error)                                                                             \
    do {                                                                                           \
        int error_ = (error);                                                                      \
        if (error_) {                                                                              \
            errno = error_;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    calls.recv++;
    FAIL_IF(fault(&len));
    return syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    calls.send++;
    FAIL_IF(fault(&len));
    return syscall(SYS_sendto, fd, buf, len, flags, NULL, 0);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    calls.accept++;
    FAIL_IF(fault(NULL));
    return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    calls.connect++;
    FAIL_IF(random_below(100) < (uint32_t)fault_percent ? EINTR : 0);
    return (int)syscall(SYS_connect, fd, addr, len);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    calls.epoll_wait++;
    FAIL_IF(random_below(100) < (uint32_t)fault_percent ? EINTR : 0);
    return (int)syscall(SYS_epoll_pwait, fd, events, max, timeout, NULL, 8);
}

int epoll_ctl(int fd, int op, int target, struct epoll_event *event)
{
    calls.epoll_ctl++;
    return (int)syscall(SYS_epoll_ctl, fd, op, target, event);
}

/* ---- The hot path ---- */

/* A message that is waited for, read, and answered: what a loop written by hand would call. */
static void test_system_calls_of_an_echo(void)
{
    enum { ROUNDS = 100 };
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[4096];
    CHECK(tcp_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct iovec iov = {buf, 5};
    struct probe r = recv_op(&f, buf, sizeof buf), w = send_op(&f, &iov, 1);
    for (int i = 0; i <= ROUNDS; i++) {
        if (i == 1) /* the first round makes the descriptor known */
            memset(&calls, 0, sizeof calls);
        CHECK_EQ(start(&r), 0);
        if (i == 0)
            settle();
        CHECK_EQ(write(far, "hello", 5), 5);
        CHECK_EQ(be->poll(&loop, -1), 0);
        CHECK_EQ(r.n_done, 1);
        CHECK_EQ(r.op.result, 5);
        CHECK_EQ(start(&w), 1);
        CHECK_EQ(read(far, buf, sizeof buf), 5);
    }
    bool is_epoll = be == &bki_backend_epoll;
    CHECK_EQ(calls.recv, is_epoll ? ROUNDS : 0);
    CHECK_EQ(calls.epoll_wait, is_epoll ? ROUNDS : 0);
    CHECK_EQ(calls.epoll_ctl, 0);
    CHECK_EQ(calls.send, ROUNDS);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

/* A writer that fills the socket again and again asks for its events once. */
static void test_system_calls_of_a_bulk_write(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    static char block[1 << 20];
    CHECK(unix_pair(&near, &far));
    CHECK_EQ(fcntl(far, F_SETFL, O_NONBLOCK), 0);
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct iovec iov = {block, sizeof block};
    struct probe w = send_op(&f, &iov, 1);
    memset(&calls, 0, sizeof calls);
    for (int i = 0; i < 100; i++) {
        int r = start(&w);
        CHECK(r >= 0);
        if (r == 0) {
            while (read(far, block, sizeof block) > 0)
                ;
            CHECK(await(&w));
        }
        CHECK(w.op.result > 0);
    }
    CHECK_EQ(calls.epoll_ctl, be == &bki_backend_epoll ? 1 : 0);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

/* ---- Everything at random ---- */

/* Both directions of one connection carry 0, 1, 2, ... modulo PERIOD: from any place in it, as many
 * bytes as one read or write has. */
enum { PERIOD = 251, MOST = 100000 };

static const char *pattern(uint64_t at)
{
    static char bytes[PERIOD + MOST];
    if (!bytes[1])
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(i % PERIOD);
    return bytes + at % PERIOD;
}

struct talk {
    struct bki_fd fd;
    int far;
    struct probe in, out;
    char in_buf[300], out_buf[70000];
    struct iovec iov[2];
    uint64_t far_sent, received, sent, far_got;
    bool wrong, again; /* again: done() starts the next read itself */
    int64_t ended;
};

static void expect_bytes(struct talk *t, const char *buf, size_t n, uint64_t *at)
{
    if (memcmp(buf, pattern(*at), n) != 0)
        t->wrong = true;
    *at += n;
}

static void talk_read(struct talk *t);

static void read_done(struct talk *t)
{
    int64_t n = t->in.op.result;
    if (n > 0)
        expect_bytes(t, t->in_buf, (size_t)n, &t->received);
    else if (n == 0)
        t->ended = 1;
    else if (n != -ECANCELED)
        t->wrong = true;
}

static void on_read(struct probe *p)
{
    struct talk *t = p->arg;
    read_done(t);
    if (t->again && !t->ended)
        talk_read(t);
}

static void talk_read(struct talk *t)
{
    for (int i = 0; i < 3 && !t->in.op.in_flight && !t->ended; i++) {
        t->in = recv_op(&t->fd, t->in_buf, 1 + random_below(sizeof t->in_buf));
        t->in.arg = t;
        t->in.then = on_read;
        memset(t->in_buf, 0xff, sizeof t->in_buf);
        if (start(&t->in) == 1)
            read_done(t);
    }
}

static void write_done(struct talk *t)
{
    if (t->out.op.result > 0)
        t->sent += (uint64_t)t->out.op.result;
    else if (t->out.op.result != -ECANCELED && t->out.op.result != -EAGAIN)
        t->wrong = true;
}

static void on_write(struct probe *p)
{
    write_done(p->arg);
}

static void talk_write(struct talk *t)
{
    if (t->out.op.in_flight)
        return;
    size_t n = 2 + random_below(sizeof t->out_buf - 2), cut = 1 + random_below((uint32_t)n - 1);
    memcpy(t->out_buf, pattern(t->sent), n);
    t->iov[0] = (struct iovec){t->out_buf, cut};
    t->iov[1] = (struct iovec){t->out_buf + cut, n - cut};
    t->out = send_op(&t->fd, t->iov, 1 + (int)random_below(2));
    t->out.op.nowait = random_below(4) == 0;
    t->out.arg = t;
    t->out.then = on_write;
    if (start(&t->out) == 1)
        write_done(t);
}

static void far_writes(struct talk *t)
{
    ssize_t put = write(t->far, pattern(t->far_sent), 1 + random_below(999));
    if (put > 0)
        t->far_sent += (uint64_t)put;
}

static void far_reads(struct talk *t)
{
    static char buf[MOST];
    ssize_t got = read(t->far, buf, 1 + random_below(sizeof buf - 1));
    if (got > 0)
        expect_bytes(t, buf, (size_t)got, &t->far_got);
}

static void step(struct talk *t)
{
    switch (random_below(8)) {
    case 0:
    case 1:
        far_writes(t);
        break;
    case 2:
    case 3:
        far_reads(t);
        break;
    case 4:
        talk_read(t);
        break;
    case 5:
        talk_write(t);
        break;
    case 6:
        t->again = random_below(2);
        be->cancel(&loop, random_below(2) ? &t->in.op : &t->out.op);
        break;
    default:
        be->poll(&loop, 0);
    }
}

/* The far end says it is done; both directions run dry. */
static void finish(struct talk *t)
{
    t->again = true;
    int64_t end = clock_ns() + PATIENCE;
    be->cancel(&loop, &t->out.op);
    while (t->out.op.in_flight && clock_ns() < end)
        be->poll(&loop, SECOND);
    shutdown(t->far, SHUT_WR);
    while (!t->ended && clock_ns() < end) {
        if (!t->in.op.in_flight)
            talk_read(t);
        be->poll(&loop, t->in.op.in_flight ? SECOND : 0);
    }
    while (t->far_got < t->sent && !t->wrong && clock_ns() < end)
        far_reads(t);
}

static void check_talks(uint32_t seed, bool unix_sockets)
{
    enum { TALKS = 8, STEPS = 8000 };
    static struct talk talks[TALKS];
    random_state = seed;
    CHECK_EQ(open_loop(), 0);
    memset(talks, 0, sizeof talks);
    int percent = fault_percent;
    fault_percent = 0;
    for (int i = 0; i < TALKS; i++) {
        int near;
        CHECK(unix_sockets ? unix_pair(&near, &talks[i].far) : tcp_pair(&near, &talks[i].far));
        CHECK_EQ(fcntl(talks[i].far, F_SETFL, O_NONBLOCK), 0);
        bki_fd_init(&talks[i].fd, near, true);
    }
    fault_percent = percent;
    for (int i = 0; i < STEPS; i++)
        step(&talks[random_below(TALKS)]);
    for (int i = 0; i < TALKS; i++) {
        finish(&talks[i]);
        CHECK(!talks[i].wrong);
        CHECK(talks[i].ended);
        CHECK_EQ(talks[i].received, talks[i].far_sent);
        CHECK_EQ(talks[i].far_got, talks[i].sent);
        CHECK(talks[i].received > 0 && talks[i].sent > 0);
        be->close_fd(&loop, &talks[i].fd);
        close(talks[i].far);
    }
    CHECK(!be->busy(&loop));
    close_loop();
}

static void test_talks(void)
{
    fault_percent = 0;
    for (uint32_t seed = 1; seed <= 6; seed++)
        check_talks(seed, seed & 1);
}

static void test_talks_with_faults(void)
{
    for (uint32_t seed = 1; seed <= 12; seed++) {
        fault_percent = seed % 3 ? 20 : 70;
        faults_may_refuse = seed & 2;
        check_talks(seed, seed & 1);
    }
    fault_percent = 0;
    faults_may_refuse = false;
}

static void test_connections_with_faults(void)
{
    random_state = 7;
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(open_loop(), 0);
        struct sockaddr_in addr;
        struct bki_fd l, f;
        bki_fd_init(&l, listener(&addr), true);
        bki_fd_init(&f, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), true);
        struct probe a = accept_op(&l), c = connect_op(&f, (struct sockaddr *)&addr, sizeof addr);
        fault_percent = 50;
        faults_may_refuse = true;
        int64_t connected = run(&c), accepted = run(&a);
        fault_percent = 0;
        CHECK_EQ(connected, 0);
        CHECK(accepted >= 0);
        close((int)accepted);
        be->close_fd(&loop, &f);
        be->close_fd(&loop, &l);
        close_loop();
    }
    faults_may_refuse = false;
}

BACKEND_MAIN(TEST(test_system_calls_of_an_echo), TEST(test_system_calls_of_a_bulk_write),
             TEST(test_talks), TEST(test_talks_with_faults), TEST(test_connections_with_faults))
