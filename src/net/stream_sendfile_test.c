/* SPDX-License-Identifier: MIT
 * Sending files: by the kernel, by reading and writing, through TLS; the position, errors, cancels.
 *
 * The kernel's calls go through this file, which can refuse them and counts them. */
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "net/stream.h"
#include "net/tls_fixture.h"

static struct {
    int refuse;      /* errno of every sendfile, 0 */
    int refuse_from; /* ... from this call on, counted from 1 */
    bool cold;       /* nothing is in memory yet */
    int n_sendfile, n_preadv2;
} kernel;

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    kernel.n_sendfile++;
    if (kernel.refuse && kernel.n_sendfile >= kernel.refuse_from) {
        errno = kernel.refuse;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, offset, len);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    kernel.n_preadv2++;
    if (kernel.cold && (flags & RWF_NOWAIT)) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_preadv2, fd, iov, (long)n, (long)offset, 0L, (long)flags);
}

static void behave(int refuse, int refuse_from, bool cold)
{
    memset(&kernel, 0, sizeof kernel);
    kernel.refuse = refuse;
    kernel.refuse_from = refuse_from;
    kernel.cold = cold;
}

/* ---- A file, and who reads what is sent ---- */

enum { MUCH = 3 * 1000 * 1000 };

static char much[MUCH], got[MUCH + 100];

static int open_file(size_t len)
{
    unsigned seed = 5;
    for (size_t i = 0; i < MUCH; i++)
        much[i] = (char)next_random(&seed);
    char path[] = "/tmp/beck-sendfile-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    if (write(fd, much, len) != (ssize_t)len || lseek(fd, 7, SEEK_SET) != 7)
        return -1;
    return fd;
}

/* Reads to the end into got; the count. */
static int read_all(void *ctx)
{
    size_t at = 0;
    ssize_t n;
    while ((n = bk_stream_read(ctx, got + at, sizeof got - at)) > 0)
        at += (size_t)n;
    return n < 0 ? (int)n : (int)at;
}

struct sendfile_call {
    bk_stream *s;
    int fd;
    int64_t offset, count, result;
    const bk_sendfile_opts *opts;
};

static int send_it(void *ctx)
{
    struct sendfile_call *c = ctx;
    c->result = bk_stream_sendfile(c->s, c->fd, c->offset, c->count, c->opts);
    return c->result < 0 ? (int)c->result : 0;
}

/* Sends [offset, offset + count) between a word before and one after; *sent is what it returned. */
static void check_sent(bk_stream *a, bk_stream *b, int fd, int64_t offset, int64_t count,
                       int64_t start, int64_t want)
{
    bk_task *reader = NULL;
    int r = 0;
    CHECK_EQ(bk_go(&reader, read_all, b, NULL), 0);
    CHECK_EQ(bk_stream_write(a, "before", 6), 0);
    CHECK_EQ(bk_stream_sendfile(a, fd, offset, count, NULL), want);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), start + want);
    CHECK_EQ(bk_stream_write(a, "after", 5), 0);
    CHECK_EQ(bk_stream_write_eof(a), 0);
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    bk_task_free(&reader);
    CHECK_EQ(r, want + 11);
    CHECK_MEM(got, 6, "before", 6);
    CHECK_MEM(got + 6, (size_t)want, much + start, (size_t)want);
    CHECK_MEM(got + 6 + want, 5, "after", 5);
}

/* All of it, a part, what the position says, and more than there is, over TCP. */
static void check_parts(void)
{
    static const struct {
        int64_t offset, count, start, want;
    } parts[] = {
        {0, -1, 0, MUCH},      {1000, 5000, 1000, 5000},         {-1, 10, 7, 10},
        {-1, -1, 7, MUCH - 7}, {MUCH - 10, 5000, MUCH - 10, 10}, {MUCH + 5, -1, MUCH + 5, 0},
        {0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bk_stream *a = NULL, *b = NULL;
        int fd = open_file(MUCH), before = check_failures;
        CHECK(fd >= 0);
        CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
        check_sent(a, b, fd, parts[i].offset, parts[i].count, parts[i].start, parts[i].want);
        bk_stream_close(&a, 0);
        bk_stream_close(&b, 0);
        close(fd);
        if (check_failures != before)
            fprintf(stderr, "... in part %zu\n", i);
        CHECK_EQ(check_failures, before);
    }
}

LOOP_TEST(P7_the_kernel_sends_a_file)
{
    behave(0, 0, false);
    check_parts();
    CHECK(kernel.n_sendfile > 0);
}

LOOP_TEST(C153_P7_what_the_kernel_refuses_is_read_and_written)
{
    static const int refusals[] = {EINVAL, ENOSYS, EOPNOTSUPP};
    for (int i = 0; i < 3; i++) {
        behave(refusals[i], 1, false);
        check_parts();
    }
}

LOOP_TEST(C153_P7_the_fallback_goes_on_where_the_kernel_stopped)
{
    behave(EINVAL, 2, false);
    check_parts();
    CHECK(kernel.n_sendfile >= 2);
}

LOOP_TEST(P7_a_file_that_is_not_in_memory_is_read_by_a_thread)
{
    behave(0, 0, true);
    check_parts();
    CHECK(kernel.n_preadv2 > 0);
    behave(EINVAL, 1, true);
    check_parts();
}

LOOP_TEST(C153_P7_without_the_fallback_a_refusal_is_an_error)
{
    struct ends e;
    int fd = open_file(1000);
    behave(EINVAL, 1, false);
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_stream_sendfile(e.s, fd, 0, -1, &(bk_sendfile_opts){.no_fallback = true}),
             -EOPNOTSUPP);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
    behave(0, 0, false);
    CHECK_EQ(bk_stream_sendfile(e.s, fd, 0, -1, &(bk_sendfile_opts){.no_fallback = true}), 1000);
    close(fd);
    close_ends(&e);
}

LOOP_TEST(C153_P7_through_TLS_a_file_is_read_and_written)
{
    struct pair p;
    int fd = open_file(MUCH);
    behave(0, 0, false);
    CHECK(fd >= 0);
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(shake(&p), 0);
    check_sent(p.client, p.server, fd, 100, -1, 100, MUCH - 100);
    CHECK_EQ(kernel.n_sendfile, 0);
    CHECK_EQ(bk_stream_sendfile(p.server, fd, 0, 10, &(bk_sendfile_opts){.no_fallback = true}),
             -EOPNOTSUPP);
    close_pair(&p);
    close(fd);
}

LOOP_TEST(P7_files_go_into_pipes_too)
{
    bk_stream *in = NULL, *out = NULL;
    bk_task *sender = NULL;
    int fds[2], fd = open_file(MUCH), r = -1;
    behave(0, 0, false);
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    CHECK_EQ(bk_stream_from_fd(&in, fds[0], NULL), 0);
    CHECK_EQ(bk_stream_from_fd(&out, fds[1], NULL), 0);
    struct sendfile_call c = {out, fd, 0, -1, 0, NULL};
    CHECK_EQ(bk_go(&sender, send_it, &c, NULL), 0);
    CHECK_EQ(bk_stream_read_exactly(in, got, MUCH), 0);
    CHECK_EQ(bk_task_wait(sender, &r), 0);
    CHECK_EQ(c.result, MUCH);
    CHECK_MEM(got, MUCH, much, MUCH);
    bk_task_free(&sender);
    bk_stream_close(&out, 0);
    bk_stream_close(&in, 0);
    close(fd);
}

/* ---- What goes wrong ---- */

LOOP_TEST(what_cannot_be_sent_is_said)
{
    struct ends e;
    int fds[2], fd = open_file(100);
    behave(0, 0, false);
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    CHECK_EQ(bk_stream_sendfile(e.s, fds[0], 0, -1, NULL), -ESPIPE);
    CHECK_EQ(bk_stream_sendfile(e.s, -1, 0, -1, NULL), -EBADF);
    int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQ(bk_stream_sendfile(e.s, dir, 0, -1, NULL), -EISDIR);
    int write_only = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK_EQ(bk_stream_sendfile(e.s, write_only, 0, 10, NULL), -EBADF);
    CHECK(strncmp(bk_errmsg(), "sendfile: reading the file", 26) == 0);
    behave(EIO, 1, false);
    CHECK_EQ(bk_stream_sendfile(e.s, fd, 0, -1, NULL), -EIO);
    CHECK_EQ(bk_stream_write(e.s, "fine", 4), 0); /* the stream is */
    CHECK_EQ(bk_stream_write_eof(e.s), 0);
    CHECK_EQ(bk_stream_sendfile(e.s, fd, 0, -1, NULL), -EPIPE);
    close(fds[0]);
    close(fds[1]);
    close(dir);
    close(write_only);
    close(fd);
    close_ends(&e);
}

/* The peer takes some and goes: no signal, and the position counts what the kernel has taken. */
static void check_lost(int refuse)
{
    struct ends e;
    bk_task *sender = NULL;
    int r = 0, fd = open_file(MUCH);
    behave(refuse, 1, false);
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    struct sendfile_call c = {e.s, fd, 0, -1, 0, NULL};
    CHECK_EQ(bk_go(&sender, send_it, &c, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK(!bk_task_done(sender));
    CHECK_EQ(read(e.peer, got, 2000), 2000);
    bk_sleep(bk_ms(1));
    hang_up(&e);
    CHECK_EQ(bk_task_wait(sender, &r), 0);
    CHECK(r == -EPIPE || r == -ECONNRESET);
    off_t position = lseek(fd, 0, SEEK_CUR);
    CHECK(position >= 2000 && position < MUCH);
    CHECK(bk_stream_write(e.s, "x", 1) < 0);
    bk_task_free(&sender);
    close(fd);
    close_ends(&e);
}

LOOP_TEST(C153_P7_the_position_is_right_when_the_connection_is_lost)
{
    check_lost(0);
    check_lost(EINVAL);
}

/* Takes what is there, so many bytes at most; how many that were. */
static size_t take_some(int fd, size_t at, size_t most)
{
    size_t n_got = 0;
    ssize_t n;
    while (n_got < most &&
           (n = recv(fd, got + at + n_got, sizeof got - at - n_got, MSG_DONTWAIT)) > 0)
        n_got += (size_t)n;
    return n_got;
}

/* Cancelled again and again, and going on where the position says: every byte arrives once. */
static void check_cancelled(int refuse)
{
    struct ends e;
    int r = 0, fd = open_file(MUCH), n_cancels = 0;
    size_t n_got = 0;
    behave(refuse, 1, false);
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    lseek(fd, 0, SEEK_SET);
    struct sendfile_call c = {e.s, fd, -1, -1, 0, NULL};
    while ((r = bk_wait_for(send_it, &c, bk_ms(1))) == -ETIMEDOUT) {
        n_cancels++;
        n_got += take_some(e.peer, n_got, 100 * 1000);
    }
    CHECK_EQ(r, 0);
    CHECK(n_cancels > 5);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), MUCH);
    while (n_got < MUCH) {
        n_got += take_some(e.peer, n_got, MUCH);
        bk_sleep(bk_ms(1));
    }
    CHECK_MEM(got, n_got, much, MUCH);
    close(fd);
    close_ends(&e);
}

LOOP_TEST(C153_P7_a_cancelled_sendfile_goes_on_where_the_position_says)
{
    check_cancelled(0);
    check_cancelled(EINVAL);
}

LOOP_TEST(a_second_writer_is_refused_while_a_file_is_sent)
{
    struct ends e;
    bk_task *sender = NULL;
    int fd = open_file(MUCH), r = 0;
    behave(0, 0, false);
    CHECK_EQ(open_ends(&e, NULL), 0);
    struct sendfile_call c = {e.s, fd, 0, -1, 0, NULL};
    CHECK_EQ(bk_go(&sender, send_it, &c, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_stream_write(e.s, "x", 1), -EBUSY);
    CHECK_EQ(bk_stream_sendfile(e.s, fd, 0, 10, NULL), -EBUSY);
    bk_stream_abort(e.s);
    CHECK_EQ(bk_task_wait(sender, &r), 0);
    CHECK_EQ(r, -ECONNABORTED);
    bk_task_free(&sender);
    close(fd);
    close_ends(&e);
}

CHECK_MAIN(TEST(P7_the_kernel_sends_a_file),
           TEST(C153_P7_what_the_kernel_refuses_is_read_and_written),
           TEST(C153_P7_the_fallback_goes_on_where_the_kernel_stopped),
           TEST(P7_a_file_that_is_not_in_memory_is_read_by_a_thread),
           TEST(C153_P7_without_the_fallback_a_refusal_is_an_error),
           TEST(C153_P7_through_TLS_a_file_is_read_and_written), TEST(P7_files_go_into_pipes_too),
           TEST(what_cannot_be_sent_is_said),
           TEST(C153_P7_the_position_is_right_when_the_connection_is_lost),
           TEST(C153_P7_a_cancelled_sendfile_goes_on_where_the_position_says),
           TEST(a_second_writer_is_refused_while_a_file_is_sent))
