/* SPDX-License-Identifier: MIT
 * The seam between the loop and the kernel: whatever waits on a descriptor, and the clock.
 *
 * It is completion-shaped: an operation is started, and later it is done.  A backend is one file
 * that fills a struct bki_backend.  Invariants every backend keeps:
 *   - An op that start() put in flight is completed exactly once, by calling op->done(op) from
 *     poll(), never from start() or cancel(); until then op and the memory it points to belong to
 *     the backend.
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

/* A descriptor that the loop may wait on.  Opened non-blocking by its owner and embedded in the
 * owner's object, which stays where it is until close_fd.  One op at a time for input and one for
 * output: start() of another fails with -EBUSY. */
struct bki_fd {
    int fd;
    bool is_socket;      /* recv/send rather than read/write */
    bool is_file;        /* always ready: a regular file, a block device */
    bool is_watch;       /* a duplicate of somebody's descriptor, for bk_fd_wait (fd.c) */
    bool maybe_readable; /* hint: a direct try is worth it; correctness needs neither */
    bool maybe_writable;
    uint8_t unheard;       /* the backend's: events in a row that nobody waited for */
    uint32_t armed;        /* the backend's: what it has asked the kernel for */
    struct bki_op *reader; /* the op that waits for input (recv, accept, poll-in) */
    struct bki_op *writer; /* the op that waits for output (send, connect, poll-out) */
};

/* Makes f stand for a fresh descriptor, which stays the caller's until close_fd; bk_fd_wait refuses
 * its number until then. */
void bki_fd_init(struct bki_fd *f, int fd, bool is_socket);

enum bki_op_kind {
    BKI_OP_RECV,    /* up to len bytes into buf: result count, 0 at the end */
    BKI_OP_SEND,    /* iov[0..iov_n), not empty: result count of bytes taken, at least one; no
                     * SIGPIPE from sockets */
    BKI_OP_ACCEPT,  /* result: the new descriptor, non-blocking and close-on-exec */
    BKI_OP_CONNECT, /* to addr: result 0; on epoll -EAGAIN when a Unix listener's backlog is full */
    BKI_OP_POLL,    /* until one of events (POLLIN, POLLOUT) or an error is up: result revents */
    BKI_OP_RECV_MSG, /* recvmsg(hdr, msg_flags): result its return value */
    BKI_OP_SEND_MSG, /* sendmsg(hdr, msg_flags): the same */
    /* On files, for backends with `files`: fd is NULL and takes no place, so that any number may be
     * under way on one file. */
    BKI_OP_OPEN,  /* path, flags and mode as for open(2): result the descriptor */
    BKI_OP_CLOSE, /* number */
    BKI_OP_READ,  /* up to size bytes into mem at offset, -1: at the file's position */
    BKI_OP_WRITE, /* the same out of mem */
    BKI_OP_SYNC,  /* fsync, fdatasync with data_only */
};

static inline bool bki_op_on_file(enum bki_op_kind kind)
{
    return kind >= BKI_OP_OPEN;
}

/* What every one touches comes first: with many connections, an op is never in the cache. */
struct bki_op {
    enum bki_op_kind kind;
    uint8_t step;   /* the backend's scratch */
    bool in_flight; /* between start() returning 0 and done() */
    bool cancelled; /* cancel() was asked for */
    /* RECV, SEND, and their _MSG: start() never puts it in flight: it completes at once, with
     * -EAGAIN when that is not possible now or not worth a system call of its own (a backend that
     * batches may leave a small SEND to a later op). */
    bool nowait;
    struct bki_fd *fd;
    int64_t result; /* >= 0, or a negative errno */
    /* Called from poll(), outside any task: may wake tasks, start, cancel and close, must not
     * suspend.  op may be freed or reused from inside. */
    void (*done)(struct bki_op *op);
    void *owner;          /* for done */
    struct bki_list link; /* the backend's */
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
        struct {
            struct msghdr *hdr;
            int msg_flags;
        };
        struct {
            union {
                int number;
                const char *path;
            };
            union {
                void *mem;
                struct {
                    int flags;
                    unsigned mode;
                };
                bool data_only;
            };
            size_t size;
            int64_t offset;
        } file;
    };
    struct msghdr msg; /* the backend's scratch */
};

struct bki_backend {
    const char *name;

    /* It waits for readiness and then makes the call: a POLL before a nowait RECV costs no more
     * than a RECV that waits, and maybe_readable is current while an op waits for input. */
    bool ready_based;
    /* It has the operations on files.  Others leave them to threads: files always count as ready,
     * and block. */
    bool files;

    /* Sets up loop->backend_state.  0, or a negative errno with bk_fail text.  -ENOSYS, -EPERM and
     * -EINVAL mean "this kernel does not have it": the caller falls back to epoll. */
    int (*open)(struct bk_loop *loop);
    /* No op is in flight. */
    void (*close)(struct bk_loop *loop);
    /* In a forked child: closes the child's copies of the backend's own descriptors, and touches
     * nothing that is the parent's. */
    void (*forked)(struct bk_loop *loop);

    /* Ends the backend's interest in fd (no op of it is in flight) and closes fd->fd. */
    void (*close_fd)(struct bk_loop *loop, struct bki_fd *fd);

    /* Starts op; the caller has set the fields up to `nowait`, `fd`, the arguments and `done`.
     * Returns 1 when it completed at once (op->result is set, done is not called), 0 when it is in
     * flight, negative when it could not be started (-EBUSY, -ENOMEM, -ENOSPC, -EINVAL). */
    int (*start)(struct bk_loop *loop, struct bki_op *op);
    /* Asks for the early end of an op in flight; again, or when it is being completed: nothing. */
    void (*cancel)(struct bk_loop *loop, struct bki_op *op);

    /* Submits what start() collected, waits up to timeout_ns (0: not at all, negative: until
     * something happens), and completes what is done.  Does not wait when an op is complete already
     * or wake() was called since the last poll.  May return early with nothing done, but never
     * because of a timeout that is not over.  Whoever calls wake() sets its flag first, and the
     * caller looks at such flags after each poll.  Returns 0, or a negative errno that leaves the
     * loop unable to go on. */
    int (*poll)(struct bk_loop *loop, int64_t timeout_ns);

    /* Makes poll() return soon.  Any thread, also signal handlers. */
    void (*wake)(struct bk_loop *loop);

    /* For a host that waits in the loop's place: a descriptor that is readable when poll() would
     * find something, also after wake(); the same one each time.  A negative errno when it cannot
     * be made. */
    int (*pollable)(struct bk_loop *loop);
    /* Before the host's wait: submits what start() collected.  False when poll() has something to
     * do already.  Until the next poll() wake() makes the descriptor readable. */
    bool (*doze)(struct bk_loop *loop);

    /* True when ops are in flight, so that poll(0) could have something to do.  No system call. */
    bool (*busy)(struct bk_loop *loop);

    /* Kernel features in use, space-separated, for bk_info. */
    const char *(*features)(struct bk_loop *loop);
};

extern const struct bki_backend bki_backend_epoll;
#ifndef BECK_NO_URING
extern const struct bki_backend bki_backend_uring;
#endif

#endif
