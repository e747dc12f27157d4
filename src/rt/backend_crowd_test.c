/* SPDX-License-Identifier: MIT
 * Many ops at once, descriptors that go away or are shared, and whatever done() may do. */
#include "rt/backend_test.h"

#include <poll.h>
#include <sys/eventfd.h>

/* ---- Many ---- */

static int n_done_all;

static void count(struct probe *p)
{
    (void)p;
    n_done_all++;
}

static bool await_all(int n)
{
    int64_t end = clock_ns() + PATIENCE;
    while (n_done_all < n && clock_ns() < end)
        if (be->poll(&loop, SECOND) < 0)
            return false;
    return n_done_all == n;
}

/* More ops than the rings have entries, all on duplicates of one open file. */
static void check_many(bool cancel, bool settled)
{
    enum { MANY = 10000 };
    static struct bki_fd f[MANY];
    static struct probe p[MANY];
    CHECK_EQ(open_loop(), 0);
    int n = room_for_files(MANY), efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    n_done_all = 0;
    for (int i = 0; i < n; i++) {
        int fd = fcntl(efd, F_DUPFD_CLOEXEC, 0);
        CHECK(fd >= 0);
        bki_fd_init(&f[i], fd, false);
        p[i] = poll_op(&f[i], POLLIN);
        p[i].then = count;
        CHECK_EQ(start(&p[i]), 0);
    }
    if (settled)
        settle();
    CHECK_EQ(n_done_all, 0);
    if (cancel) {
        for (int i = 0; i < n; i++)
            be->cancel(&loop, &p[i].op);
    } else {
        CHECK_EQ(eventfd_write(efd, 1), 0);
    }
    CHECK(await_all(n));
    for (int i = 0; i < n; i++) {
        CHECK_EQ(p[i].n_done, 1);
        CHECK_EQ(p[i].op.result, cancel ? -ECANCELED : POLLIN);
        be->close_fd(&loop, &f[i]);
    }
    CHECK(!be->busy(&loop));
    close(efd);
    close_loop();
}

static void test_ten_thousand_in_flight(void)
{
    for (int i = 0; i < 4; i++)
        check_many(i & 1, i & 2);
}

static void test_many_reads(void)
{
    enum { MANY = 3000 };
    static struct bki_fd f[MANY];
    static struct probe p[MANY];
    static int far[MANY], got[MANY];
    CHECK_EQ(open_loop(), 0);
    int n = room_for_files(2 * MANY) / 2;
    n_done_all = 0;
    for (int i = 0; i < n; i++) {
        int near;
        CHECK(unix_pair(&near, &far[i]));
        bki_fd_init(&f[i], near, true);
        p[i] = recv_op(&f[i], &got[i], sizeof got[i]);
        p[i].then = count;
        CHECK_EQ(start(&p[i]), 0);
        if (i % 2) /* before the read is submitted, for some */
            CHECK_EQ(write(far[i], &i, sizeof i), sizeof i);
    }
    for (int i = 0; i < n; i += 2)
        CHECK_EQ(write(far[i], &i, sizeof i), sizeof i);
    CHECK(await_all(n));
    for (int i = 0; i < n; i++) {
        CHECK_EQ(p[i].op.result, sizeof i);
        CHECK_EQ(got[i], i);
        be->close_fd(&loop, &f[i]);
        close(far[i]);
    }
    close_loop();
}

/* ---- Descriptors that go away ---- */

static void test_number_reused_after_close(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far, near2, far2;
    char buf[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f, g;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf), q = recv_op(&g, buf, sizeof buf);
    CHECK_EQ(start(&p), 0);
    settle();
    be->cancel(&loop, &p.op);
    CHECK(await(&p));
    /* The open file outlives its number: a duplicate keeps it, with input that nobody reads. */
    int keeper = fcntl(near, F_DUPFD_CLOEXEC, 0);
    CHECK_EQ(write(far, "old", 3), 3);
    be->close_fd(&loop, &f);
    /* An event that still found its way to f would complete this. */
    struct probe trap = poll_op(&f, POLLIN);
    trap.op.owner = &trap;
    trap.op.done = probe_done;
    f.reader = &trap.op;
    CHECK(unix_pair(&near2, &far2));
    CHECK_EQ(near2, near);
    bki_fd_init(&g, near2, true);
    CHECK_EQ(start(&q), 0);
    settle();
    CHECK_EQ(write(far, "more", 4), 4);
    settle();
    CHECK_EQ(q.n_done, 0);
    CHECK_EQ(trap.n_done, 0);
    CHECK_EQ(write(far2, "new", 3), 3);
    CHECK(await(&q));
    CHECK_MEM(buf, (size_t)q.op.result, "new", 3);
    be->close_fd(&loop, &g);
    close(keeper);
    close(far);
    close(far2);
    close_loop();
}

static void test_two_descriptors_of_one_file(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char a[8], b[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f, g;
    bki_fd_init(&f, near, true);
    bki_fd_init(&g, fcntl(near, F_DUPFD_CLOEXEC, 0), true);
    struct probe p = recv_op(&f, a, sizeof a), q = recv_op(&g, b, sizeof b);
    CHECK_EQ(start(&p), 0);
    CHECK_EQ(start(&q), 0);
    settle();
    CHECK_EQ(write(far, "x", 1), 1);
    while (!p.n_done && !q.n_done)
        CHECK_EQ(be->poll(&loop, SECOND), 0);
    settle();
    CHECK_EQ(p.n_done + q.n_done, 1);
    struct probe *first = p.n_done ? &p : &q, *second = p.n_done ? &q : &p;
    CHECK_EQ(first->op.result, 1);
    be->close_fd(&loop, first->op.fd);
    CHECK_EQ(write(far, "yz", 2), 2);
    CHECK(await(second));
    CHECK_EQ(second->op.result, 2);
    be->close_fd(&loop, second->op.fd);
    close(far);
    close_loop();
}

/* Input and hang-ups that nobody waits for: told a few times at most, then the loop sleeps. */
static void check_quiet(bool hang_up)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf), w = poll_op(&f, POLLOUT);
    CHECK_EQ(start(&p), 0);
    CHECK_EQ(run(&w), POLLOUT);
    be->cancel(&loop, &p.op);
    CHECK(await(&p));
    CHECK_EQ(write(far, "abc", 3), 3);
    if (hang_up)
        close(far);
    int early = count_early_polls();
    CHECK(early >= 0 && early <= 3);
    CHECK_EQ(run(&p), 3);
    if (!hang_up)
        close(far);
    CHECK_EQ(run(&p), 0);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_unwanted_events_fall_silent(void)
{
    check_quiet(false);
    check_quiet(true);
}

/* ---- What done() may do ---- */

static void close_other(struct probe *p)
{
    /* Its event may be in the same batch; its memory is gone at once. */
    struct bki_fd *other = p->arg;
    be->close_fd(&loop, other);
    memset(other, 0xee, sizeof *other);
    free(other);
}

static void test_done_closes_others(void)
{
    enum { N = 64 };
    CHECK_EQ(open_loop(), 0);
    static struct bki_fd f[N];
    static struct probe p[N];
    struct bki_fd *other[N];
    int far[N], other_far[N], near;
    char buf[N];
    for (int i = 0; i < N; i++) {
        CHECK(unix_pair(&near, &far[i]));
        bki_fd_init(&f[i], near, true);
        CHECK(unix_pair(&near, &other_far[i]));
        other[i] = malloc(sizeof *other[i]);
        bki_fd_init(other[i], near, true);
        struct probe q = recv_op(other[i], buf, 1); /* makes it known to the kernel */
        CHECK_EQ(start(&q), 0);
        settle();
        be->cancel(&loop, &q.op);
        CHECK(await(&q));
        p[i] = recv_op(&f[i], &buf[i], 1);
        p[i].then = close_other;
        p[i].arg = other[i];
        CHECK_EQ(start(&p[i]), 0);
    }
    settle();
    for (int i = 0; i < N; i++) {
        CHECK_EQ(write(other_far[i], "x", 1), 1);
        CHECK_EQ(write(far[i], "x", 1), 1);
    }
    for (int i = 0; i < N; i++) {
        CHECK(await(&p[i]));
        be->close_fd(&loop, &f[i]);
        close(far[i]);
        close(other_far[i]);
    }
    close_loop();
}

static int relay_left;

/* Frees the op that is done, and starts another in its place. */
static void free_and_restart(struct probe *p)
{
    struct bki_op next = p->op;
    free(p);
    if (--relay_left == 0)
        return;
    struct probe *q = malloc(sizeof *q);
    *q = (struct probe){.op = next, .then = free_and_restart};
    start(q);
}

static void test_done_frees_and_starts(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[1];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    relay_left = 100;
    struct probe *p = malloc(sizeof *p);
    *p = recv_op(&f, buf, 1);
    p->then = free_and_restart;
    CHECK_EQ(start(p), 0);
    while (relay_left > 0) {
        CHECK_EQ(write(far, "x", 1), 1);
        int before = relay_left;
        int64_t end = clock_ns() + PATIENCE;
        while (relay_left == before && clock_ns() < end)
            CHECK_EQ(be->poll(&loop, SECOND), 0);
        CHECK_EQ(relay_left, before - 1);
    }
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void cancel_other(struct probe *p)
{
    struct probe *other = p->arg;
    be->cancel(&loop, &other->op);
}

/* Two ops complete in one batch, and each cancels the other: both keep what they have. */
static void test_done_cancels_what_is_complete(void)
{
    CHECK_EQ(open_loop(), 0);
    int near[2], far[2];
    char buf[2][8];
    struct bki_fd f[2];
    struct probe p[2];
    for (int i = 0; i < 2; i++) {
        CHECK(unix_pair(&near[i], &far[i]));
        bki_fd_init(&f[i], near[i], true);
        p[i] = recv_op(&f[i], buf[i], 8);
        p[i].then = cancel_other;
        p[i].arg = &p[1 - i];
        CHECK_EQ(start(&p[i]), 0);
    }
    settle();
    CHECK_EQ(write(far[0], "ab", 2), 2);
    CHECK_EQ(write(far[1], "cd", 2), 2);
    CHECK(await(&p[0]));
    CHECK(await(&p[1]));
    settle();
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(p[i].n_done, 1);
        if (p[i].op.result == -ECANCELED) {
            p[i].then = NULL;
            CHECK_EQ(run(&p[i]), 2);
        }
        CHECK_EQ(p[i].op.result, 2);
        be->close_fd(&loop, &f[i]);
        close(far[i]);
    }
    close_loop();
}

/* ---- Input that another reader of the same file takes first ---- */

static void check_stolen(bool is_pipe)
{
    CHECK_EQ(open_loop(), 0);
    int near, far, ends[2];
    char buf[8];
    if (is_pipe) {
        CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        near = ends[0];
        far = ends[1];
    } else {
        CHECK(unix_pair(&near, &far));
    }
    struct bki_fd f;
    bki_fd_init(&f, near, !is_pipe);
    struct probe p = recv_op(&f, buf, sizeof buf);
    CHECK_EQ(start(&p), 0);
    for (int i = 0; i < 3; i++) {
        settle();
        CHECK_EQ(p.n_done, 0);
        CHECK_EQ(write(far, "abc", 3), 3);
        char stolen[8];
        if (read(near, stolen, sizeof stolen) < 0) {
            /* Some kernels complete the op during the write. */
            CHECK(await(&p));
            CHECK_EQ(p.op.result, 3);
            CHECK_EQ(start(&p), 0);
        }
    }
    settle();
    CHECK_EQ(p.n_done, 0);
    CHECK_EQ(write(far, "mine", 4), 4);
    CHECK(await(&p));
    CHECK_EQ(p.op.result, 4);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void test_stolen_input(void)
{
    check_stolen(false);
    check_stolen(true);
}

static void steal_and_cancel(struct probe *p)
{
    struct probe *other = p->arg;
    char sink[8];
    if (read(other->op.fd->fd, sink, sizeof sink) < 0)
        CHECK_EQ(errno, EAGAIN);
    be->cancel(&loop, &other->op);
}

/* The second is told that it is ready, then cancelled, and finds nothing when it tries. */
static void test_stolen_and_cancelled(void)
{
    CHECK_EQ(open_loop(), 0);
    int ends[2][2];
    char buf[2][8];
    struct bki_fd f[2];
    struct probe p[2];
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pipe2(ends[i], O_NONBLOCK | O_CLOEXEC), 0);
        bki_fd_init(&f[i], ends[i][0], false);
        p[i] = recv_op(&f[i], buf[i], sizeof buf[i]);
        CHECK_EQ(start(&p[i]), 0);
    }
    p[0].then = steal_and_cancel;
    p[0].arg = &p[1];
    settle();
    CHECK_EQ(write(ends[0][1], "one", 3), 3);
    CHECK_EQ(write(ends[1][1], "two", 3), 3);
    CHECK(await(&p[0]));
    CHECK_EQ(p[0].op.result, 3);
    CHECK(await(&p[1]));
    CHECK(p[1].op.result == 3 || p[1].op.result == -ECANCELED);
    settle();
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(p[i].n_done, 1);
        be->close_fd(&loop, &f[i]);
        close(ends[i][1]);
    }
    close_loop();
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        TEST(test_ten_thousand_in_flight),
        TEST(test_many_reads),
        TEST(test_number_reused_after_close),
        TEST(test_two_descriptors_of_one_file),
        TEST(test_unwanted_events_fall_silent),
        TEST(test_done_closes_others),
        TEST(test_done_frees_and_starts),
        TEST(test_done_cancels_what_is_complete),
        TEST(test_stolen_input),
        TEST(test_stolen_and_cancelled),
    };
    return backend_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
