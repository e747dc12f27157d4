/* SPDX-License-Identifier: MIT
 * One direct try of each operation, and the bell. */
#include "rt/backend_io.h"

#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#include "base/error_slot.h"
#include "rt/fd.h"

bool bki_io_on_valgrind(void)
{
#ifdef RUNNING_ON_VALGRIND
    return RUNNING_ON_VALGRIND > 0;
#else
    return false;
#endif
}

void bki_fd_init(struct bki_fd *f, int fd, bool is_socket)
{
    *f = (struct bki_fd){.fd = fd, .is_socket = is_socket};
    f->maybe_readable = f->maybe_writable = true;
    struct stat st;
    if (!is_socket && fstat(fd, &st) == 0)
        f->is_file = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISDIR(st.st_mode);
    bki_fd_claim(f);
}

/* ---- Tries ---- */

void bki_io_read_hint(struct bki_op *op, int64_t result)
{
    /* At the end of the stream (0) the next read will not wait either. */
    if (result >= 0)
        op->fd->maybe_readable = op->fd->is_file || result == 0 || (size_t)result >= op->len;
    else if (result == -EAGAIN)
        op->fd->maybe_readable = false;
}

void bki_io_write_hint(struct bki_op *op, int64_t result)
{
    if (result == -EAGAIN) {
        op->fd->maybe_writable = false;
    } else if (result >= 0) {
        size_t want = 0;
        for (int i = 0; i < op->iov_n; i++)
            want += op->iov[i].iov_len;
        op->fd->maybe_writable = op->fd->is_file || (size_t)result >= want;
    }
}

int64_t bki_io_recv(struct bki_op *op)
{
    struct bki_fd *f = op->fd;
    size_t len = op->len < BKI_IO_MAX ? op->len : BKI_IO_MAX;
    ssize_t n;
    do {
        n = f->is_socket ? recv(f->fd, op->buf, len, MSG_DONTWAIT) : read(f->fd, op->buf, len);
    } while (n < 0 && errno == EINTR);
    int64_t result = n < 0 ? -errno : n;
    bki_io_read_hint(op, result);
    return result;
}

void bki_io_msg(struct bki_op *op)
{
    /* sendmsg does not write through msg_iov; it takes IOV_MAX pieces, and an op need not take all.
     */
    op->msg = (struct msghdr){
        .msg_iov = (struct iovec *)(uintptr_t)op->iov,
        .msg_iovlen = (size_t)(op->iov_n < IOV_MAX ? op->iov_n : IOV_MAX),
    };
}

static ssize_t send_once(struct bki_op *op)
{
    int fd = op->fd->fd, flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (op->fd->is_socket) {
        if (op->iov_n == 1)
            return send(fd, op->iov->iov_base, op->iov->iov_len, flags);
        bki_io_msg(op);
        return sendmsg(fd, &op->msg, flags);
    }
    if (op->iov_n == 1)
        return write(fd, op->iov->iov_base, op->iov->iov_len);
    return writev(fd, op->iov, op->iov_n < IOV_MAX ? op->iov_n : IOV_MAX);
}

int64_t bki_io_send(struct bki_op *op)
{
    ssize_t n;
    do {
        n = send_once(op);
    } while (n < 0 && errno == EINTR);
    int64_t result = n < 0 ? -errno : n;
    bki_io_write_hint(op, result);
    return result;
}

/* A datagram says nothing about whether there is another: the hints stay up until one is refused.
 */
int64_t bki_io_recv_msg(struct bki_op *op)
{
    ssize_t n;
    do {
        n = recvmsg(op->fd->fd, op->hdr, op->msg_flags | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    op->fd->maybe_readable = n >= 0 || errno != EAGAIN;
    return n < 0 ? -errno : n;
}

int64_t bki_io_send_msg(struct bki_op *op)
{
    ssize_t n;
    do {
        n = sendmsg(op->fd->fd, op->hdr, op->msg_flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    op->fd->maybe_writable = n >= 0 || errno != EAGAIN;
    return n < 0 ? -errno : n;
}

bool bki_io_accept_again(int64_t result)
{
    switch (-result) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    /* Linux hands a pending error of the new connection to accept; see accept(2). */
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

int64_t bki_io_accept(struct bki_op *op)
{
    int fd = accept4(op->fd->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        return fd;
    if (!bki_io_accept_again(-errno))
        return -errno;
    /* Only an empty queue ends the direct tries; after another's failure the next is tried. */
    op->fd->maybe_readable = errno != EAGAIN;
    return -EAGAIN;
}

int64_t bki_io_connect(struct bki_op *op, bool again)
{
    if (connect(op->fd->fd, op->addr, op->addr_len) == 0)
        return 0;
    switch (errno) {
    case EISCONN:
        return again ? 0 : -EISCONN;
    case EALREADY:
    case EINTR: /* it goes on in the background */
        return -EINPROGRESS;
    default:
        return -errno;
    }
}

/* ---- Places ---- */

short bki_io_events(const struct bki_op *op)
{
    switch (op->kind) {
    case BKI_OP_RECV:
    case BKI_OP_RECV_MSG:
    case BKI_OP_ACCEPT:
        return POLLIN;
    case BKI_OP_SEND:
    case BKI_OP_SEND_MSG:
    case BKI_OP_CONNECT:
        return POLLOUT;
    case BKI_OP_POLL:
        return op->events & (POLLIN | POLLOUT);
    default:
        return 0;
    }
}

int bki_io_check_places(const struct bki_fd *f, short events)
{
    if (!events)
        return -EINVAL;
    bool taken = ((events & POLLIN) && f->reader) || ((events & POLLOUT) && f->writer);
    return taken ? -EBUSY : 0;
}

int bki_io_occupy(struct bki_op *op, short events)
{
    struct bki_fd *f = op->fd;
    int r = bki_io_check_places(f, events);
    if (r < 0)
        return r;
    if (events & POLLIN)
        f->reader = op;
    if (events & POLLOUT)
        f->writer = op;
    return 0;
}

void bki_io_vacate(struct bki_op *op)
{
    if (op->fd->reader == op)
        op->fd->reader = NULL;
    if (op->fd->writer == op)
        op->fd->writer = NULL;
}

/* ---- The bell ---- */

int bki_bell_open(struct bki_bell *bell)
{
    atomic_init(&bell->state, BKI_BELL_AWAKE);
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell->fd < 0 ? bki_fail_errno(errno, "eventfd") : 0;
}

void bki_bell_close(struct bki_bell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

void bki_bell_ring(struct bki_bell *bell)
{
    if (atomic_exchange(&bell->state, BKI_BELL_RUNG) != BKI_BELL_DOZING)
        return;
    /* Never read back: each write is an event of its own, and 2^64 of them do not fit in a life. */
    int saved = errno;
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(bell->fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    errno = saved;
}
