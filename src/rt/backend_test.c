/* SPDX-License-Identifier: MIT
 * Every operation of a backend on real descriptors: what it returns, and that nothing is lost. */
#include "rt/backend_test.h"

#include <poll.h>
#include <signal.h>
#include <sys/un.h>

/* ---- Reading ---- */

static void test_recv_waits(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[64];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    for (int i = 0; i < 3; i++) {
        CHECK(!be->busy(&loop));
        CHECK_EQ(start(&p), 0);
        CHECK(p.op.in_flight && be->busy(&loop));
        settle();
        CHECK_EQ(p.n_done, 0);
        CHECK_EQ(write(far, "hello", 5), 5);
        CHECK(await(&p));
        CHECK(!p.op.in_flight);
        CHECK_MEM(buf, (size_t)p.op.result, "hello", 5);
    }
    be->close_fd(&loop, &f);
    CHECK_EQ(f.fd, -1);
    CHECK_EQ(read(far, buf, 1), 0);
    close(far);
    close_loop();
}

static void test_recv_finds_what_is_there(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[4];
    CHECK(tcp_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    CHECK_EQ(write(far, "abcdefghij", 10), 10);
    struct probe p = recv_op(&f, buf, sizeof buf);
    CHECK_EQ(run(&p), 4);
    CHECK_EQ(run(&p), 4);
    CHECK_EQ(run(&p), 2);
    CHECK_MEM(buf, 2, "ij", 2);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void check_end(bool tcp, bool waiting, bool pause)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[64];
    CHECK(tcp ? tcp_pair(&near, &far) : unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    if (waiting)
        CHECK_EQ(start(&p), 0);
    if (waiting)
        settle();
    CHECK_EQ(write(far, "last", 4), 4);
    if (!pause)
        close(far);
    if (waiting) {
        CHECK(await(&p));
        CHECK_EQ(p.op.result, 4);
    } else {
        CHECK_EQ(run(&p), 4);
    }
    if (pause) {
        /* The end arrives while nobody reads. */
        settle();
        close(far);
        settle();
    }
    for (int i = 0; i < 3; i++)
        CHECK_EQ(run(&p), 0);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_end_after_data(void)
{
    for (int i = 0; i < 8; i++)
        check_end(i & 1, i & 2, i & 4);
}

static void check_reset(bool waiting)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[64];
    CHECK(tcp_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    if (waiting)
        CHECK_EQ(start(&p), 0);
    settle();
    struct linger now = {.l_onoff = 1};
    CHECK_EQ(setsockopt(far, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(far);
    settle();
    if (waiting) {
        CHECK(await(&p));
        CHECK_EQ(p.op.result, -ECONNRESET);
    } else {
        CHECK_EQ(run(&p), -ECONNRESET);
    }
    struct iovec iov = {"x", 1};
    struct probe s = send_op(&f, &iov, 1);
    CHECK_EQ(run(&s), -EPIPE);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_reset(void)
{
    check_reset(true);
    check_reset(false);
}

/* Reads that stop short although more is behind: the rest comes without a further arrival. */
static void test_short_read_at_passed_descriptor(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[64], control[CMSG_SPACE(sizeof(int))] = {0};
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    CHECK_EQ(start(&p), 0);
    settle();
    struct iovec iov = {"with", 4};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &far, sizeof far);
    CHECK_EQ(sendmsg(far, &m, 0), 4);
    CHECK_EQ(write(far, "behind", 6), 6);
    CHECK(await(&p));
    CHECK_EQ(p.op.result, 4);
    CHECK_EQ(run(&p), 6);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void test_short_read_at_urgent_data(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[64];
    CHECK(tcp_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    CHECK_EQ(start(&p), 0);
    settle();
    CHECK_EQ(send(far, "before", 6, MSG_MORE), 6);
    CHECK_EQ(send(far, "!", 1, MSG_OOB), 1);
    CHECK_EQ(send(far, "after", 5, 0), 5);
    CHECK(await(&p));
    size_t got = (size_t)p.op.result;
    while (got < 11) {
        int64_t n = run(&p);
        CHECK(n > 0);
        got += (size_t)n;
    }
    CHECK_EQ(got, 11);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

/* ---- Writing ---- */

static void check_fill_and_drain(bool pipe_end, int iov_n)
{
    CHECK_EQ(open_loop(), 0);
    int near, far, ends[2];
    static char block[3][5000], sink[65536];
    if (pipe_end) {
        CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        near = ends[1];
        far = ends[0];
    } else {
        CHECK(unix_pair(&near, &far));
        CHECK_EQ(fcntl(far, F_SETFL, O_NONBLOCK), 0);
    }
    struct bki_fd f;
    bki_fd_init(&f, near, !pipe_end);
    struct iovec iov[3] = {{block[0], 5000}, {block[1], 5000}, {block[2], 5000}};
    struct probe p = send_op(&f, iov, iov_n);
    size_t sent = 0, got = 0;
    for (int blocked = 0; blocked < 5;) {
        int r = start(&p);
        CHECK(r >= 0);
        if (r == 0) {
            settle();
            CHECK_EQ(p.n_done, 0);
            ssize_t n;
            while ((n = read(far, sink, sizeof sink)) > 0)
                got += (size_t)n;
            CHECK(await(&p));
            blocked++;
        }
        CHECK(p.op.result > 0);
        sent += (size_t)p.op.result;
    }
    be->close_fd(&loop, &f);
    ssize_t n;
    while ((n = read(far, sink, sizeof sink)) > 0)
        got += (size_t)n;
    CHECK_EQ(got, sent);
    close(far);
    close_loop();
}

static void test_send_fills_and_waits(void)
{
    for (int iov_n = 1; iov_n <= 3; iov_n += 2) {
        check_fill_and_drain(false, iov_n);
        check_fill_and_drain(true, iov_n);
    }
}

static void test_send_gathers(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[64];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct iovec iov[] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};
    struct probe p = send_op(&f, iov, 4);
    CHECK_EQ(run(&p), 13);
    CHECK_EQ(read(far, buf, sizeof buf), 13);
    CHECK_MEM(buf, 13, "one two three", 13);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void test_send_takes_any_number_of_pieces(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    static struct iovec iov[3000];
    for (int i = 0; i < 3000; i++)
        iov[i] = (struct iovec){"x", 1};
    struct probe p = send_op(&f, iov, 3000);
    int64_t n = run(&p);
    CHECK(n > 0 && n <= 3000);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void test_broken_pipe(void)
{
    CHECK_EQ(open_loop(), 0);
    int ends[2];
    CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    struct bki_fd f;
    bki_fd_init(&f, ends[1], false);
    static char block[65536];
    struct iovec iov = {block, sizeof block};
    struct probe p = send_op(&f, &iov, 1);
    while (start(&p) == 1)
        CHECK(p.op.result > 0);
    settle();
    CHECK_EQ(p.n_done, 0);
    close(ends[0]);
    CHECK(await(&p));
    CHECK_EQ(p.op.result, -EPIPE);
    be->close_fd(&loop, &f);
    close_loop();
}

/* ---- Pipes and files ---- */

static void test_pipe_reads(void)
{
    CHECK_EQ(open_loop(), 0);
    int ends[2];
    char buf[16];
    CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    struct bki_fd f;
    bki_fd_init(&f, ends[0], false);
    struct probe p = recv_op(&f, buf, sizeof buf);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(start(&p), 0);
        settle();
        CHECK_EQ(p.n_done, 0);
        CHECK_EQ(write(ends[1], "0123456789", 10), 10);
        CHECK(await(&p));
        CHECK_MEM(buf, (size_t)p.op.result, "0123456789", 10);
    }
    CHECK_EQ(start(&p), 0);
    settle();
    close(ends[1]);
    CHECK(await(&p));
    CHECK_EQ(p.op.result, 0);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_regular_file(void)
{
    CHECK_EQ(open_loop(), 0);
    char path[] = "/tmp/beck-backend-XXXXXX", buf[8];
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    struct bki_fd f;
    bki_fd_init(&f, fd, false);
    CHECK(f.is_file);
    struct iovec iov[] = {{"hello ", 6}, {"world", 5}};
    struct probe w = send_op(&f, iov, 2), w1 = send_op(&f, iov, 1);
    CHECK_EQ(run(&w), 11);
    CHECK_EQ(run(&w1), 6);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    struct probe r = recv_op(&f, buf, sizeof buf);
    CHECK_EQ(run(&r), 8);
    CHECK_MEM(buf, 8, "hello wo", 8);
    CHECK_EQ(run(&r), 8);
    CHECK_EQ(run(&r), 1);
    CHECK_EQ(run(&r), 0);
    CHECK_EQ(run(&r), 0);
    struct probe p = poll_op(&f, POLLIN | POLLOUT);
    CHECK_EQ(run(&p), POLLIN | POLLOUT);
    be->close_fd(&loop, &f);
    close_loop();
}

/* A device that epoll refuses although it is no regular file. */
static void test_unpollable_device(void)
{
    CHECK_EQ(open_loop(), 0);
    struct bki_fd f;
    bki_fd_init(&f, open("/dev/null", O_RDWR | O_NONBLOCK | O_CLOEXEC), false);
    char buf[8];
    struct probe r = recv_op(&f, buf, sizeof buf), p = poll_op(&f, POLLIN);
    f.maybe_readable = false;
    CHECK_EQ(run(&r), 0);
    CHECK_EQ(run(&p), POLLIN);
    be->close_fd(&loop, &f);
    close_loop();
}

/* ---- Connections ---- */

static void test_accept_waits(void)
{
    CHECK_EQ(open_loop(), 0);
    struct sockaddr_in addr;
    struct bki_fd f;
    bki_fd_init(&f, listener(&addr), true);
    struct probe p = accept_op(&f);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(start(&p), 0);
        settle();
        CHECK_EQ(p.n_done, 0);
        int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(c, (struct sockaddr *)&addr, sizeof addr), 0);
        CHECK(await(&p));
        int s = (int)p.op.result;
        CHECK(s >= 0);
        CHECK(fcntl(s, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(s, F_GETFD) & FD_CLOEXEC);
        close(s);
        close(c);
    }
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_accept_burst(void)
{
    enum { N = 100 };
    CHECK_EQ(open_loop(), 0);
    struct sockaddr_in addr;
    int c[N];
    struct bki_fd f;
    bki_fd_init(&f, listener(&addr), true);
    for (int i = 0; i < N; i++) {
        c[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(c[i], (struct sockaddr *)&addr, sizeof addr), 0);
    }
    struct probe p = accept_op(&f);
    for (int i = 0; i < N; i++) {
        int64_t s = run(&p);
        CHECK(s >= 0);
        close((int)s);
        close(c[i]);
    }
    CHECK_EQ(start(&p), 0);
    settle();
    CHECK_EQ(p.n_done, 0);
    be->cancel(&loop, &p.op);
    CHECK(await(&p));
    CHECK_EQ(p.op.result, -ECANCELED);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_connect(void)
{
    CHECK_EQ(open_loop(), 0);
    struct sockaddr_in addr;
    struct bki_fd l, f;
    bki_fd_init(&l, listener(&addr), true);
    bki_fd_init(&f, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), true);
    struct probe p = connect_op(&f, (struct sockaddr *)&addr, sizeof addr), a = accept_op(&l);
    CHECK_EQ(run(&p), 0);
    int64_t s = run(&a);
    CHECK(s >= 0);
    struct iovec iov = {"hi", 2};
    struct probe w = send_op(&f, &iov, 1);
    CHECK_EQ(run(&w), 2);
    char buf[8];
    CHECK_EQ(recv((int)s, buf, sizeof buf, 0), 2);
    close((int)s);
    CHECK_EQ(run(&p), -EISCONN);
    be->close_fd(&loop, &f);

    /* Nobody listens there any more. */
    be->close_fd(&loop, &l);
    bki_fd_init(&f, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), true);
    CHECK_EQ(run(&p), -ECONNREFUSED);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_connect_unix(void)
{
    CHECK_EQ(open_loop(), 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    /* An abstract name, the kernel's choice. */
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof addr;
    CHECK_EQ(bind(l, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
    CHECK_EQ(getsockname(l, (struct sockaddr *)&addr, &len), 0);
    struct bki_fd f;
    bki_fd_init(&f, socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), true);
    struct probe p = connect_op(&f, (struct sockaddr *)&addr, len);
    CHECK_EQ(run(&p), -ECONNREFUSED);
    CHECK_EQ(listen(l, 4), 0);
    CHECK_EQ(run(&p), 0);
    be->close_fd(&loop, &f);
    close(l);
    close_loop();
}

/* A listener whose queue is full answers no more: the connection attempt stays open, and can be
 * cancelled. */
static void test_connect_waits_and_is_cancelled(void)
{
    CHECK_EQ(open_loop(), 0);
    struct sockaddr_in addr;
    int l = listener(&addr), c[8];
    CHECK_EQ(listen(l, 0), 0);
    for (int i = 0; i < 8; i++) {
        c[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(c[i], (struct sockaddr *)&addr, sizeof addr);
    }
    struct bki_fd f;
    bki_fd_init(&f, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), true);
    struct probe p = connect_op(&f, (struct sockaddr *)&addr, sizeof addr);
    CHECK_EQ(start(&p), 0);
    settle();
    CHECK_EQ(p.n_done, 0);
    be->cancel(&loop, &p.op);
    CHECK(await(&p));
    CHECK_EQ(p.op.result, -ECANCELED);
    be->close_fd(&loop, &f);
    for (int i = 0; i < 8; i++)
        close(c[i]);
    close(l);
    close_loop();
}

/* ---- Readiness ---- */

static void test_poll_op(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe in = poll_op(&f, POLLIN), out = poll_op(&f, POLLOUT),
                 both = poll_op(&f, POLLIN | POLLOUT), none = poll_op(&f, 0);
    CHECK_EQ(start(&none), -EINVAL);
    CHECK_EQ(run(&out), POLLOUT);
    CHECK_EQ(run(&both), POLLOUT);
    CHECK_EQ(start(&in), 0);
    CHECK_EQ(start(&both), -EBUSY);
    CHECK_EQ(run(&out), POLLOUT); /* beside a reader */
    settle();
    CHECK_EQ(in.n_done, 0);
    CHECK_EQ(write(far, "x", 1), 1);
    CHECK(await(&in));
    CHECK_EQ(in.op.result, POLLIN);
    CHECK_EQ(run(&both), POLLIN | POLLOUT);
    CHECK_EQ(run(&in), POLLIN); /* a level, not an edge */
    CHECK_EQ(read(near, buf, 8), 1);
    CHECK_EQ(start(&in), 0);
    settle();
    CHECK_EQ(in.n_done, 0);
    close(far);
    CHECK(await(&in));
    CHECK(in.op.result & POLLHUP);
    be->close_fd(&loop, &f);
    close_loop();
}

static void test_one_reader_one_writer(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char a[8], b[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, a, sizeof a), q = recv_op(&f, b, sizeof b);
    struct iovec iov = {"x", 1};
    struct probe w = send_op(&f, &iov, 1);
    CHECK_EQ(start(&p), 0);
    CHECK_EQ(start(&q), -EBUSY);
    CHECK_EQ(run(&w), 1);
    CHECK_EQ(write(far, "y", 1), 1);
    CHECK(await(&p));
    CHECK_EQ(start(&q), 0);
    be->cancel(&loop, &q.op);
    CHECK(await(&q));
    CHECK_EQ(start(&p), 0);
    be->cancel(&loop, &p.op);
    CHECK(await(&p));
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

static void test_nowait(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    p.op.nowait = true;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(start(&p), 1);
        CHECK_EQ(p.op.result, -EAGAIN);
        CHECK_EQ(write(far, "abc", 3), 3);
        CHECK_EQ(start(&p), 1);
        CHECK_EQ(p.op.result, 3);
    }
    static char block[65536];
    struct iovec iov = {block, sizeof block};
    struct probe w = send_op(&f, &iov, 1);
    w.op.nowait = true;
    do {
        CHECK_EQ(start(&w), 1);
        CHECK(w.op.result > 0 || w.op.result == -EAGAIN);
    } while (w.op.result > 0);
    CHECK(!be->busy(&loop));
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        TEST(test_recv_waits),
        TEST(test_recv_finds_what_is_there),
        TEST(test_end_after_data),
        TEST(test_reset),
        TEST(test_short_read_at_passed_descriptor),
        TEST(test_short_read_at_urgent_data),
        TEST(test_send_fills_and_waits),
        TEST(test_send_gathers),
        TEST(test_send_takes_any_number_of_pieces),
        TEST(test_broken_pipe),
        TEST(test_pipe_reads),
        TEST(test_regular_file),
        TEST(test_unpollable_device),
        TEST(test_accept_waits),
        TEST(test_accept_burst),
        TEST(test_connect),
        TEST(test_connect_unix),
        TEST(test_connect_waits_and_is_cancelled),
        TEST(test_poll_op),
        TEST(test_one_reader_one_writer),
        TEST(test_nowait),
    };
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    return backend_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
