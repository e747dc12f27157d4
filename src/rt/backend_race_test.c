/* SPDX-License-Identifier: MIT
 * What comes from another side: cancels against completions, wakes against waits; and the clock. */
#include "rt/backend_test.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

/* ---- Cancel ---- */

/* How far the kernel has got when the cancel comes. */
enum stage { NOT_SUBMITTED, WAITING, ARRIVED, ARRIVED_AND_CANCELLED_TWICE, N_STAGES };

static void cancel_at(struct probe *p, enum stage stage, void (*arrive)(void *arg), void *arg)
{
    CHECK_EQ(start(p), 0);
    if (stage != NOT_SUBMITTED)
        settle();
    CHECK_EQ(p->n_done, 0);
    if (stage >= ARRIVED)
        arrive(arg);
    be->cancel(&loop, &p->op);
    CHECK_EQ(p->n_done, 0);
    if (stage == ARRIVED_AND_CANCELLED_TWICE)
        be->cancel(&loop, &p->op);
    CHECK(await(p));
    CHECK(p->op.result == -ECANCELED || stage >= ARRIVED);
    be->cancel(&loop, &p->op); /* too late: nothing */
    settle();
    CHECK_EQ(p->n_done, 1);
    if (stage < ARRIVED)
        arrive(arg);
}

static void write_abc(void *arg)
{
    CHECK_EQ(write(*(int *)arg, "abc", 3), 3);
}

static void check_cancel_read(enum stage stage, bool is_pipe, bool poll_only)
{
    CHECK_EQ(open_loop(), 0);
    int near, far, ends[2];
    char buf[8];
    if (is_pipe) {
        CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        near = ends[0];
        far = ends[1];
    } else {
        CHECK(tcp_pair(&near, &far));
    }
    struct bki_fd f;
    bki_fd_init(&f, near, !is_pipe);
    struct probe p = recv_op(&f, buf, sizeof buf), q = poll_op(&f, POLLIN);
    cancel_at(poll_only ? &q : &p, stage, write_abc, &far);
    if (poll_only || p.op.result == -ECANCELED)
        CHECK_EQ(run(&p), 3);
    CHECK_EQ(p.op.result, 3);
    CHECK_MEM(buf, 3, "abc", 3);
    CHECK(!be->busy(&loop));
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void test_cancel_read(void)
{
    for (enum stage stage = 0; stage < N_STAGES; stage++)
        for (int i = 0; i < 4; i++)
            check_cancel_read(stage, i & 1, i & 2);
}

struct drain {
    int fd;
    size_t got;
};

static void drain(void *arg)
{
    static char sink[65536];
    struct drain *d = arg;
    ssize_t n;
    while ((n = read(d->fd, sink, sizeof sink)) > 0)
        d->got += (size_t)n;
}

static void check_cancel_send(enum stage stage, bool is_pipe)
{
    CHECK_EQ(open_loop(), 0);
    static char block[1 << 20];
    int near, ends[2];
    struct drain far = {0};
    if (is_pipe) {
        CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        near = ends[1];
        far.fd = ends[0];
    } else {
        CHECK(unix_pair(&near, &far.fd));
        CHECK_EQ(fcntl(far.fd, F_SETFL, O_NONBLOCK), 0);
    }
    struct bki_fd f;
    bki_fd_init(&f, near, !is_pipe);
    struct iovec iov = {block, sizeof block};
    struct probe p = send_op(&f, &iov, 1);
    size_t sent = 0;
    p.op.nowait = true;
    while (start(&p) == 1 && p.op.result > 0)
        sent += (size_t)p.op.result;
    p.op.nowait = false;
    cancel_at(&p, stage, drain, &far);
    if (p.op.result > 0)
        sent += (size_t)p.op.result;
    drain(&far);
    CHECK_EQ(far.got, sent);
    int64_t n = run(&p);
    CHECK(n > 0);
    be->close_fd(&loop, &f);
    drain(&far);
    CHECK_EQ(far.got, sent + (size_t)n);
    close(far.fd);
    close_loop();
}

static void test_cancel_send(void)
{
    for (enum stage stage = 0; stage < N_STAGES; stage++) {
        check_cancel_send(stage, false);
        check_cancel_send(stage, true);
    }
}

struct caller {
    struct sockaddr_in addr;
    int fd;
};

static void call(void *arg)
{
    struct caller *c = arg;
    CHECK_EQ(connect(c->fd, (struct sockaddr *)&c->addr, sizeof c->addr), 0);
}

static void test_cancel_accept(void)
{
    for (enum stage stage = 0; stage < N_STAGES; stage++) {
        CHECK_EQ(open_loop(), 0);
        struct caller c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        struct bki_fd f;
        bki_fd_init(&f, listener(&c.addr), true);
        struct probe p = accept_op(&f);
        cancel_at(&p, stage, call, &c);
        if (p.op.result == -ECANCELED)
            run(&p);
        CHECK(p.op.result >= 0);
        close((int)p.op.result);
        close(c.fd);
        be->close_fd(&loop, &f);
        close_loop();
    }
}

/* ---- Wake ---- */

static atomic_int flag;

static void *wake_once(void *arg)
{
    (void)arg;
    atomic_store(&flag, 1);
    be->wake(&loop);
    return NULL;
}

static void test_wake_from_a_thread(void)
{
    CHECK_EQ(open_loop(), 0);
    pthread_t thread;
    atomic_store(&flag, 0);
    CHECK_EQ(pthread_create(&thread, NULL, wake_once, NULL), 0);
    int64_t before = clock_ns();
    while (!atomic_load(&flag))
        CHECK_EQ(be->poll(&loop, PATIENCE), 0);
    CHECK(clock_ns() - before < PATIENCE / 2);
    pthread_join(thread, NULL);
    close_loop();
}

static void test_wake_before_poll(void)
{
    CHECK_EQ(open_loop(), 0);
    int64_t before = clock_ns();
    for (int i = 0; i < 100; i++) {
        be->wake(&loop);
        be->wake(&loop);
        CHECK_EQ(be->poll(&loop, i & 1 ? -1 : PATIENCE), 0);
    }
    CHECK(clock_ns() - before < PATIENCE / 2);
    close_loop();
}

enum { EXCHANGES = 20000 };

static void *ask(void *arg)
{
    (void)arg;
    for (int i = 0; i < EXCHANGES; i++) {
        atomic_store(&flag, 1);
        be->wake(&loop);
        while (atomic_load(&flag))
            ;
    }
    return NULL;
}

/* A wake that got lost would leave the loop in a long wait. */
static void test_no_wake_is_lost(void)
{
    CHECK_EQ(open_loop(), 0);
    pthread_t thread;
    atomic_store(&flag, 0);
    CHECK_EQ(pthread_create(&thread, NULL, ask, NULL), 0);
    int64_t before = clock_ns();
    for (int n = 0; n < EXCHANGES;) {
        if (atomic_load(&flag)) {
            n++;
            atomic_store(&flag, 0);
        }
        int r = be->poll(&loop, n < EXCHANGES ? PATIENCE * 3 : 0);
        if (r < 0)
            break;
    }
    pthread_join(thread, NULL);
    CHECK(clock_ns() - before < PATIENCE * 3);
    close_loop();
}

static int errno_after_wake;

static void on_signal(int number)
{
    (void)number;
    errno = EXDEV;
    be->wake(&loop);
    errno_after_wake = errno;
}

static void test_wake_from_a_signal_handler(void)
{
    CHECK_EQ(open_loop(), 0);
    struct sigaction old, new = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR2, &new, &old), 0);
    int64_t before = clock_ns();
    for (int i = 0; i < 10; i++) {
        raise(SIGUSR2);
        CHECK_EQ(be->poll(&loop, -1), 0);
        CHECK_EQ(errno_after_wake, EXDEV); /* untouched */
    }
    CHECK(clock_ns() - before < PATIENCE / 2);
    sigaction(SIGUSR2, &old, NULL);
    close_loop();
}

static void test_timeouts_are_never_early(void)
{
    CHECK_EQ(open_loop(), 0);
    static const int64_t timeouts[] = {1, 999, 1000, 100001, 999999, 1000001, 2500000, 4999999};
    settle();
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        int64_t before = clock_ns();
        CHECK_EQ(be->poll(&loop, timeouts[i]), 0);
        CHECK(clock_ns() - before >= timeouts[i]);
    }
    close_loop();
}

static void test_a_wake_is_told_once(void)
{
    CHECK_EQ(open_loop(), 0);
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        atomic_store(&flag, 0);
        CHECK_EQ(pthread_create(&thread, NULL, wake_once, NULL), 0);
        while (!atomic_load(&flag))
            CHECK_EQ(be->poll(&loop, PATIENCE), 0);
        pthread_join(thread, NULL);
        int early = count_early_polls();
        CHECK(early >= 0 && early <= 2);
    }
    close_loop();
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        TEST(test_cancel_read),
        TEST(test_cancel_send),
        TEST(test_cancel_accept),
        TEST(test_wake_from_a_thread),
        TEST(test_wake_before_poll),
        TEST(test_no_wake_is_lost),
        TEST(test_wake_from_a_signal_handler),
        TEST(test_timeouts_are_never_early),
        TEST(test_a_wake_is_told_once),
    };
    return backend_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
