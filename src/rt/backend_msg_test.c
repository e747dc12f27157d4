/* SPDX-License-Identifier: MIT
 * Tests of the backends' operations on datagrams, and on files where a backend has those. */
#include <sys/mman.h>

#include "rt/backend_test.h"

static bool datagram_pair(int *near, int *far)
{
    int s[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s) < 0)
        return false;
    *near = s[0];
    *far = s[1];
    return true;
}

static struct probe msg_op(enum bki_op_kind kind, struct bki_fd *f, struct msghdr *hdr, int flags)
{
    return (struct probe){.op = {.kind = kind, .fd = f, .hdr = hdr, .msg_flags = flags}};
}

static struct msghdr header(struct iovec *iov)
{
    return (struct msghdr){.msg_iov = iov, .msg_iovlen = 1};
}

static void test_datagrams_keep_their_bounds(void)
{
    int near, far;
    char buf[8];
    struct bki_fd f;
    struct iovec iov = {buf, sizeof buf};
    struct msghdr hdr = header(&iov);
    CHECK(datagram_pair(&near, &far));
    bki_fd_init(&f, near, true);
    struct probe r = msg_op(BKI_OP_RECV_MSG, &f, &hdr, MSG_TRUNC);
    CHECK_EQ(start(&r), 0);
    settle();
    CHECK_EQ(r.n_done, 0);
    CHECK_EQ(write(far, "one", 3), 3);
    CHECK_EQ(write(far, "", 0), 0);
    CHECK_EQ(write(far, "longer than that", 16), 16);
    CHECK(await(&r));
    CHECK_EQ(r.op.result, 3);
    CHECK_EQ(hdr.msg_flags & MSG_TRUNC, 0);
    hdr = header(&iov);
    CHECK_EQ(run(&r), 0);
    hdr = header(&iov);
    CHECK_EQ(run(&r), 16);
    CHECK(hdr.msg_flags & MSG_TRUNC);
    CHECK_MEM(buf, 8, "longer t", 8);
    hdr = header(&iov);
    r.op.nowait = true;
    CHECK_EQ(run(&r), -EAGAIN);
    be->close_fd(&loop, &f);
    close(far);
}

static void test_a_full_socket_is_waited_for(void)
{
    int near, far, n = 0;
    char buf[512] = {0};
    struct bki_fd f;
    struct iovec iov = {buf, sizeof buf};
    struct msghdr hdr = header(&iov);
    CHECK(datagram_pair(&near, &far));
    bki_fd_init(&f, near, true);
    struct probe s = msg_op(BKI_OP_SEND_MSG, &f, &hdr, 0);
    s.op.nowait = true;
    while (run(&s) == 512 && n < 100000)
        n++;
    CHECK_EQ(s.op.result, -EAGAIN);
    s.op.nowait = false;
    CHECK_EQ(start(&s), 0);
    settle();
    CHECK_EQ(s.n_done, 0);
    CHECK_EQ(start(&s) == -EBUSY ? 0 : 1, 0);
    CHECK_EQ(read(far, buf, sizeof buf), 512);
    be->poll(&loop, SECOND);
    int got = 1;
    while (read(far, buf, sizeof buf) == 512)
        got++;
    while (f.writer)
        CHECK_EQ(be->poll(&loop, SECOND), 0);
    while (read(far, buf, sizeof buf) == 512)
        got++;
    CHECK_EQ(got, n + 1);
    be->close_fd(&loop, &f);
    close(far);
}

static void test_a_cancelled_receive_takes_no_datagram(void)
{
    int near, far;
    char buf[8];
    struct bki_fd f;
    struct iovec iov = {buf, sizeof buf};
    CHECK(datagram_pair(&near, &far));
    bki_fd_init(&f, near, true);
    for (int i = 0; i < 20; i++) {
        struct msghdr hdr = header(&iov);
        struct probe r = msg_op(BKI_OP_RECV_MSG, &f, &hdr, 0);
        CHECK_EQ(start(&r), 0);
        if (i % 2)
            settle();
        be->cancel(&loop, &r.op);
        CHECK_EQ(write(far, "kept", 4), 4);
        CHECK(await(&r));
        if (r.op.result == -ECANCELED) {
            hdr = header(&iov);
            CHECK_EQ(run(&r), 4);
        }
        CHECK_EQ(r.op.result, 4);
        r.op.nowait = true;
        CHECK_EQ(run(&r), -EAGAIN);
    }
    be->close_fd(&loop, &f);
    close(far);
}

/* ---- Files ---- */

static struct probe file_op(enum bki_op_kind kind, int number)
{
    return (struct probe){.op = {.kind = kind, .file = {.number = number}}};
}

static struct probe transfer(enum bki_op_kind kind, int number, void *mem, size_t size,
                             int64_t offset)
{
    struct probe p = file_op(kind, number);
    p.op.file.mem = mem;
    p.op.file.size = size;
    p.op.file.offset = offset;
    return p;
}

static void test_files(void)
{
    char path[] = "/tmp/beck-backend-XXXXXX", buf[16] = "";
    if (!be->files)
        return;
    close(mkstemp(path));
    struct probe open_it = file_op(BKI_OP_OPEN, 0);
    open_it.op.file.path = path;
    open_it.op.file.flags = O_RDWR | O_CLOEXEC;
    int fd = (int)run(&open_it);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    struct probe w = transfer(BKI_OP_WRITE, fd, "0123456789", 10, -1);
    CHECK_EQ(run(&w), 10);
    struct probe a = transfer(BKI_OP_READ, fd, buf, 4, 2),
                 b = transfer(BKI_OP_READ, fd, buf + 8, 4, 6);
    CHECK_EQ(start(&a), 0);
    CHECK_EQ(start(&b), 0); /* two at once on one file */
    CHECK(await(&a));
    while (!b.n_done)
        CHECK_EQ(be->poll(&loop, SECOND), 0);
    CHECK_EQ(a.op.result, 4);
    CHECK_MEM(buf, 4, "2345", 4);
    CHECK_MEM(buf + 8, 4, "6789", 4);
    struct probe at_end = transfer(BKI_OP_READ, fd, buf, 4, -1);
    CHECK_EQ(run(&at_end), 0);
    struct probe sync_it = file_op(BKI_OP_SYNC, fd);
    CHECK_EQ(run(&sync_it), 0);
    sync_it.op.file.data_only = true;
    CHECK_EQ(run(&sync_it), 0);
    struct probe close_it = file_op(BKI_OP_CLOSE, fd);
    CHECK_EQ(run(&close_it), 0);
    CHECK_EQ(run(&close_it), -EBADF);
    unlink(path);
    CHECK_EQ(run(&open_it), -ENOENT);
}

/* Whatever becomes of them, they end, and leave memory alone then. */
static void test_cancelled_file_operations_end(void)
{
    if (!be->files)
        return;
    int fd = memfd_create("file", MFD_CLOEXEC);
    char block[256] = "x";
    for (int i = 0; i < 20; i++) {
        struct probe w = transfer(BKI_OP_WRITE, fd, block, sizeof block, 0);
        CHECK_EQ(start(&w), 0);
        if (i % 2)
            be->poll(&loop, 0);
        be->cancel(&loop, &w.op);
        if (!w.n_done)
            CHECK(await(&w));
        CHECK(w.op.result == -ECANCELED || w.op.result == (int)sizeof block);
    }
    close(fd);
}

BACKEND_MAIN(TEST(test_datagrams_keep_their_bounds), TEST(test_a_full_socket_is_waited_for),
             TEST(test_a_cancelled_receive_takes_no_datagram), TEST(test_files),
             TEST(test_cancelled_file_operations_end))
