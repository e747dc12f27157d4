/* SPDX-License-Identifier: MIT
 * The seam between the loop and the kernel: whatever waits on a descriptor, and the clock.
 *
 * It is completion-shaped: an operation is started, and later it is done.  A backend is one file that
 * fills a struct bki_backend.  Invariants every backend keeps:
 *   - An op that start() put in flight is completed exactly once, by calling op->done(op) from poll(), never from
 *     start() or cancel(); until then op and the memory it points to belong to the backend.
 *   - cancel() only asks: the op still completes, with -ECANCELED or with what it had done by then.
 *   - Nothing is lost: a byte received, a connection accepted is in some op's result.
 *   - EINTR never shows. */
#ifndef BECK_SRC_RT_BACKEND_H
#define BECK_SRC_RT_BACKEND_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <beck/base.h>

#include "base/list.h"

struct bk_loop;
struct bki_op;

/* A descriptor that the loop may wait on.  Opened non-blocking by its owner; embedded in the owner's object. */
struct bki_fd {
    int fd;
    bool is_socket;         /* recv/send rather than read/write */
    bool registered;        /* epoll: known to the kernel, edge-triggered for both directions */
    bool maybe_readable;    /* no read has found it empty since the last edge */
    bool maybe_writable;
    struct bki_op *reader;  /* epoll: the op waiting for input (recv, accept, poll-in) */
    struct bki_op *writer;  /* epoll: the op waiting for output (send, connect, poll-out) */
};

enum bki_op_kind {
    BKI_OP_RECV,    /* up to len bytes into buf: result count, 0 at the end */
    BKI_OP_SEND,    /* iov[0..iov_n): result count of bytes taken, at least one (MSG_NOSIGNAL) */
    BKI_OP_ACCEPT,  /* result: the new descriptor, non-blocking and close-on-exec */
    BKI_OP_CONNECT, /* to addr: result 0 */
    BKI_OP_POLL,    /* until one of events (POLLIN, POLLOUT) or an error is up: result revents */
};

struct bki_op {
    enum bki_op_kind kind;
    bool in_flight;  /* between start() returning 0 and done() */
    bool cancelled;  /* cancel() was asked for */
    /* RECV, SEND: start() never puts it in flight: it completes at once, with -EAGAIN when that is not possible now or
     * not worth a system call of its own (a backend that batches may leave a small SEND to a later op). */
    bool nowait;
    struct bki_fd *fd;
    union {
        struct {
            void *buf;
            size_t len;
        };
        struct {
            const struct iovec *iov;
            int iov_n;
        };
        struct {
            const struct sockaddr *addr;
            socklen_t addr_len;
        };
        short events;
    };
    int64_t result; /* >= 0, or a negative errno */
    /* Called from poll(), outside any task: may wake tasks and start further ops, must not suspend.
     * op may be freed or reused from inside. */
    void (*done)(struct bki_op *op);
    void *owner;           /* for done */
    struct msghdr msg;     /* the backend's scratch */
    struct bki_list link; /* the backend's */
};

struct bki_backend {
    const char *name;

    /* Sets up loop->backend_state.  0, or a negative errno with bk_fail text. -ENOSYS, -EPERM and -EINVAL mean "this
     * kernel does not have it": the caller falls back to epoll. */
    int (*open)(struct bk_loop *loop);
    void (*close)(struct bk_loop *loop);

    /* Ends the backend's interest in fd (no op of it is in flight) and closes fd->fd. */
    void (*close_fd)(struct bk_loop *loop, struct bki_fd *fd);

    /* Starts op.  Returns 1 when it completed at once (op->result is set, done is not called), 0 when it is in flight,
     * negative when it could not be started (-ENOMEM, -ENOSPC). */
    int (*start)(struct bk_loop *loop, struct bki_op *op);
    void (*cancel)(struct bk_loop *loop, struct bki_op *op);

    /* Submits what start() collected, waits up to timeout_ns (0: not at all, negative: until something happens), and
     * completes what is done.  A wake() from another thread ends the waiting.  Returns 0, or a negative errno that
     * leaves the loop unable to go on. */
    int (*poll)(struct bk_loop *loop, int64_t timeout_ns);

    /* Makes poll() return soon.  Any thread, also signal handlers. */
    void (*wake)(struct bk_loop *loop);

    /* True when poll(0) could have something to do: ops are in flight or completions wait.  Cheap: no system call. */
    bool (*busy)(struct bk_loop *loop);

    /* Kernel features in use, space-separated, for bk_info. */
    const char *(*features)(struct bk_loop *loop);
};

extern const struct bki_backend bki_backend_epoll;
#ifndef BECK_NO_URING
extern const struct bki_backend bki_backend_uring;
#endif

#endif
