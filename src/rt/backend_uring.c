/* SPDX-License-Identifier: MIT
 * The io_uring backend: operations go to the kernel as entries of the submission ring, many with
 * one system call, and come back as entries of the completion ring.
 *
 * What usually succeeds at once is tried directly: a send, a read after one that filled its buffer.
 * Pipes and terminals are polled through the ring and then tried directly, since kernels differ on
 * whether a read of a non-blocking pipe waits in the ring.
 *
 * The kernel may write to op's memory until op's last completion has been reaped, so cancel() never
 * ends an op that the kernel has: it submits a request to cancel, whose own answer is ignored, and
 * op ends when it is reaped.  An op's cancel request is submitted before op is reaped, so it cannot
 * hit a later op at the same address. */
#include "rt/backend.h"

#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "rt/backend_io.h"
#include "rt/backend_uring.h"
#include "rt/fd.h"
#include "rt/fiber.h"
#include "rt/rt.h"

#define SQ_ENTRIES 1024
#define CQ_ENTRIES 8192
#define SECOND_NS 1000000000

/* user_data: an op's address, or one of these. */
#define TAG_CANCEL 1
#define TAG_BELL 2

/* fd->armed: set once a read has come back, so that maybe_readable means something. */
#define HAS_READ 1

/* op->step */
enum {
    STEP_POLLING = 1,  /* the ring tells when it is ready; then a direct try */
    STEP_QUEUED = 2,   /* in st->backlog: not submitted yet */
    STEP_CANCEL = 4,   /* in st->backlog: its cancel request is not submitted yet */
    STEP_COMPLETE = 8, /* in st->completed: ended without the kernel */
};

struct uring_state {
    struct io_uring ring;
    struct bki_bell bell;
    bool bell_armed;
    int host_fd, host_event; /* what a host polls, -1: none does */
    size_t n_in_flight;
    struct bki_list backlog;   /* what found the submission ring full, in order */
    struct bki_list completed; /* ops with their result, until done() */
    char features[128];
};

/* ---- Submission ---- */

/* NULL: the ring is full and the kernel takes nothing now (out of memory). */
static struct io_uring_sqe *get_sqe(struct uring_state *st)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&st->ring);
    if (sqe)
        return sqe;
    io_uring_submit(&st->ring);
    return io_uring_get_sqe(&st->ring);
}

static void prepare_on_file(struct io_uring_sqe *sqe, struct bki_op *op)
{
    unsigned size = (unsigned)(op->file.size < BKI_IO_MAX ? op->file.size : BKI_IO_MAX);
    uint64_t offset = (uint64_t)op->file.offset;
    switch (op->kind) {
    case BKI_OP_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, op->file.path, op->file.flags, op->file.mode);
        break;
    case BKI_OP_CLOSE:
        io_uring_prep_close(sqe, op->file.number);
        break;
    case BKI_OP_READ:
        io_uring_prep_read(sqe, op->file.number, op->file.mem, size, offset);
        break;
    case BKI_OP_WRITE:
        io_uring_prep_write(sqe, op->file.number, op->file.mem, size, offset);
        break;
    default:
        io_uring_prep_fsync(sqe, op->file.number, op->file.data_only ? IORING_FSYNC_DATASYNC : 0);
        break;
    }
    io_uring_sqe_set_data(sqe, op);
}

static void prepare(struct io_uring_sqe *sqe, struct bki_op *op)
{
    if (bki_op_on_file(op->kind)) {
        prepare_on_file(sqe, op);
        return;
    }
    int fd = op->fd->fd;
    if (op->step & STEP_POLLING) {
        io_uring_prep_poll_add(sqe, fd, (unsigned)bki_io_events(op));
        io_uring_sqe_set_data(sqe, op);
        return;
    }
    unsigned len = (unsigned)(op->len < BKI_IO_MAX ? op->len : BKI_IO_MAX);
    switch (op->kind) {
    case BKI_OP_RECV:
        if (op->fd->is_socket)
            io_uring_prep_recv(sqe, fd, op->buf, len, 0);
        else
            io_uring_prep_read(sqe, fd, op->buf, len, (uint64_t)-1);
        break;
    case BKI_OP_SEND:
        bki_io_msg(op);
        if (op->fd->is_socket)
            io_uring_prep_sendmsg(sqe, fd, &op->msg, MSG_NOSIGNAL);
        else
            io_uring_prep_writev(sqe, fd, op->msg.msg_iov, (unsigned)op->msg.msg_iovlen,
                                 (uint64_t)-1);
        break;
    case BKI_OP_ACCEPT:
        io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case BKI_OP_CONNECT:
        io_uring_prep_connect(sqe, fd, op->addr, op->addr_len);
        break;
    case BKI_OP_POLL:
        io_uring_prep_poll_add(sqe, fd, (unsigned)bki_io_events(op));
        break;
    case BKI_OP_RECV_MSG:
        io_uring_prep_recvmsg(sqe, fd, op->hdr, (unsigned)op->msg_flags);
        break;
    case BKI_OP_SEND_MSG:
        io_uring_prep_sendmsg(sqe, fd, op->hdr, (unsigned)op->msg_flags | MSG_NOSIGNAL);
        break;
    default:
        break;
    }
    io_uring_sqe_set_data(sqe, op);
}

static void prepare_cancel(struct io_uring_sqe *sqe, struct bki_op *op)
{
    io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, TAG_CANCEL);
}

/* Submits op, or its cancel request, as soon as there is room. */
static void submit(struct uring_state *st, struct bki_op *op, uint8_t step)
{
    struct io_uring_sqe *sqe = bki_list_empty(&st->backlog) ? get_sqe(st) : NULL;
    if (!sqe) {
        op->step |= step;
        bki_list_push_back(&st->backlog, &op->link);
    } else if (step == STEP_QUEUED) {
        prepare(sqe, op);
    } else {
        prepare_cancel(sqe, op);
    }
}

static void submit_backlog(struct uring_state *st)
{
    struct bki_list *node;
    struct io_uring_sqe *sqe;
    while ((node = bki_list_first(&st->backlog)) && (sqe = get_sqe(st))) {
        struct bki_op *op = bki_container(node, struct bki_op, link);
        bki_list_remove(node);
        if (op->step & STEP_QUEUED)
            prepare(sqe, op);
        else
            prepare_cancel(sqe, op);
        op->step &= (uint8_t) ~(STEP_QUEUED | STEP_CANCEL);
    }
}

/* ---- Ops ---- */

/* A direct try where it pays: -EAGAIN when not. */
static int64_t try_directly(struct bki_op *op)
{
    struct bki_fd *f = op->fd;
    switch (op->kind) {
    case BKI_OP_RECV:
        if (op->nowait)
            return bki_io_recv(op);
        if (f->is_file || !f->maybe_readable || (f->is_socket && f->armed != HAS_READ))
            return -EAGAIN;
        return bki_io_recv(op);
    case BKI_OP_SEND:
        return f->is_file && !op->nowait ? -EAGAIN : f->maybe_writable ? bki_io_send(op) : -EAGAIN;
    case BKI_OP_RECV_MSG:
        return op->nowait || (f->maybe_readable && f->armed == HAS_READ) ? bki_io_recv_msg(op)
                                                                         : -EAGAIN;
    case BKI_OP_SEND_MSG:
        return f->maybe_writable ? bki_io_send_msg(op) : -EAGAIN;
    case BKI_OP_ACCEPT:
        /* Clients come in crowds: behind one that was waited for there may be more. */
        return f->maybe_readable && f->armed == HAS_READ ? bki_io_accept(op) : -EAGAIN;
    default:
        return -EAGAIN;
    }
}

/* Takes op's places, and tries what may succeed at once.  1: it is done. */
static int start_on_fd(struct bki_op *op)
{
    int r = bki_io_occupy(op, bki_io_events(op));
    if (r < 0)
        return r;
    op->result = try_directly(op);
    if (op->result != -EAGAIN || op->nowait) {
        bki_io_vacate(op);
        return 1;
    }
    if (!op->fd->is_socket && !op->fd->is_file && op->kind != BKI_OP_POLL)
        op->step = STEP_POLLING;
    return 0;
}

static int uring_start(struct bk_loop *loop, struct bki_op *op)
{
    struct uring_state *st = loop->backend_state;
    op->in_flight = op->cancelled = false;
    op->step = 0;
    op->link.next = NULL;
    int r = bki_op_on_file(op->kind) ? 0 : start_on_fd(op);
    if (r != 0)
        return r;
    op->in_flight = true;
    st->n_in_flight++;
    submit(st, op, STEP_QUEUED);
    return 0;
}

static void uring_cancel(struct bk_loop *loop, struct bki_op *op)
{
    struct uring_state *st = loop->backend_state;
    if (!op->in_flight || op->cancelled)
        return;
    op->cancelled = true;
    if (op->step & STEP_COMPLETE)
        return;
    if (op->step & STEP_QUEUED) {
        /* The kernel has never seen it. */
        bki_list_remove(&op->link);
        op->step = STEP_COMPLETE;
        op->result = -ECANCELED;
        bki_list_push_back(&st->completed, &op->link);
        return;
    }
    submit(st, op, STEP_CANCEL);
}

static void uring_close_fd(struct bk_loop *loop, struct bki_fd *f)
{
    bki_fd_disclaim(loop, f);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->armed = 0;
}

/* ---- Completion ---- */

static void finish(struct uring_state *st, struct bki_op *op, int64_t result)
{
    if (bki_list_linked(&op->link))
        bki_list_remove(&op->link); /* its cancel request comes too late */
    if (op->fd)
        bki_io_vacate(op);
    op->result = result;
    op->in_flight = false;
    st->n_in_flight--;
    op->done(op);
}

/* The ring says that op's descriptor is ready: tries. */
static int64_t try_ready(struct bki_op *op)
{
    switch (op->kind) {
    case BKI_OP_RECV:
        return bki_io_recv(op);
    case BKI_OP_SEND:
        return bki_io_send(op);
    case BKI_OP_ACCEPT:
        return bki_io_accept(op);
    case BKI_OP_CONNECT:
        return bki_io_connect(op, true);
    case BKI_OP_RECV_MSG:
        return bki_io_recv_msg(op);
    case BKI_OP_SEND_MSG:
        return bki_io_send_msg(op);
    default:
        return -EINVAL;
    }
}

/* True when res does not end op: it has to wait (once more). */
static bool must_wait(const struct bki_op *op, int64_t res)
{
    switch (op->kind) {
    case BKI_OP_ACCEPT:
        return bki_io_accept_again(res);
    case BKI_OP_CONNECT:
        return res == -EINPROGRESS || res == -EALREADY || res == -EINTR;
    default:
        return res == -EINTR || (res == -EAGAIN && !bki_op_on_file(op->kind));
    }
}

static void take_hints(struct bki_op *op, int64_t res, unsigned flags)
{
    if (op->kind == BKI_OP_RECV) {
        bki_io_read_hint(op, res);
        if (flags & IORING_CQE_F_SOCK_NONEMPTY)
            op->fd->maybe_readable = true;
        op->fd->armed = HAS_READ;
    } else if (op->kind == BKI_OP_RECV_MSG || op->kind == BKI_OP_ACCEPT) {
        op->fd->maybe_readable = true;
        op->fd->armed = HAS_READ;
    } else if (op->kind == BKI_OP_SEND || op->kind == BKI_OP_SEND_MSG) {
        /* It has waited, and what waited went: the next is worth a try. */
        op->fd->maybe_writable = true;
    }
}

static void op_reaped(struct uring_state *st, struct bki_op *op, int64_t res, unsigned flags)
{
    if ((op->step & STEP_POLLING) && res > 0)
        res = try_ready(op);
    else if (res >= 0)
        take_hints(op, res, flags);
    if (!must_wait(op, res)) {
        finish(st, op, res);
    } else if (op->cancelled) {
        finish(st, op, -ECANCELED);
    } else {
        /* Waiting for readiness works where the kernel will not keep the operation itself. */
        op->step = op->kind == BKI_OP_POLL || !op->fd ? 0 : STEP_POLLING;
        submit(st, op, STEP_QUEUED);
    }
}

static void arm_bell(struct uring_state *st)
{
    struct io_uring_sqe *sqe = get_sqe(st);
    if (!sqe)
        return;
    io_uring_prep_poll_multishot(sqe, st->bell.fd, POLLIN);
    io_uring_sqe_set_data64(sqe, TAG_BELL);
    st->bell_armed = true;
}

/* Takes what was complete when it began: done() may submit, and so complete, further ops. */
static void reap(struct uring_state *st)
{
    unsigned mask = st->ring.cq.ring_mask;
    for (unsigned n = io_uring_cq_ready(&st->ring); n > 0; n--) {
        unsigned head = *st->ring.cq.khead;
        struct io_uring_cqe cqe = st->ring.cq.cqes[head & mask];
        io_uring_cq_advance(&st->ring, 1);
        /* With many connections, the next op has left the cache. */
        __builtin_prefetch((const void *)(uintptr_t)st->ring.cq.cqes[(head + 1) & mask].user_data);
        if (cqe.user_data > TAG_BELL)
            op_reaped(st, (void *)(uintptr_t)cqe.user_data, cqe.res, cqe.flags);
        else if (cqe.user_data == TAG_BELL && !(cqe.flags & IORING_CQE_F_MORE))
            st->bell_armed = false;
    }
}

static void deliver(struct uring_state *st)
{
    struct bki_list batch;
    bki_list_init(&batch);
    bki_list_append(&batch, &st->completed);
    struct bki_list *node;
    while ((node = bki_list_first(&batch))) {
        struct bki_op *op = bki_container(node, struct bki_op, link);
        finish(st, op, op->result);
    }
}

/* One system call at most: submits, runs the kernel's side of completions, waits when told to. */
static int enter(struct uring_state *st, int64_t timeout_ns)
{
    struct io_uring *ring = &st->ring;
    int r = 0;
    if (timeout_ns < 0) {
        r = io_uring_submit_and_wait(ring, 1);
    } else if (timeout_ns > 0) {
        struct io_uring_cqe *cqe;
        struct __kernel_timespec t = {.tv_sec = timeout_ns / SECOND_NS,
                                      .tv_nsec = timeout_ns % SECOND_NS};
        r = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &t, NULL);
    } else {
        unsigned flags = IO_URING_READ_ONCE(*ring->sq.kflags);
        if (io_uring_sq_ready(ring) || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
            r = io_uring_submit_and_get_events(ring);
    }
    switch (-r) {
    case ETIME:
    case EINTR:
    /* The kernel is out of memory, or has completions for us first: entries not taken stay. */
    case EAGAIN:
    case EBUSY:
    case ENOMEM:
        return 0;
    default:
        return r < 0 ? r : 0;
    }
}

static void host_close(struct uring_state *st)
{
    if (st->host_fd >= 0)
        close(st->host_fd);
    if (st->host_event >= 0)
        close(st->host_event);
    st->host_fd = st->host_event = -1;
}

/* What the host was told of is looked at now; what comes from here on tells it again. */
static void quiet_host(struct uring_state *st)
{
    struct epoll_event events[4];
    epoll_wait(st->host_fd, events, 4, 0);
}

static int uring_poll(struct bk_loop *loop, int64_t timeout_ns)
{
    struct uring_state *st = loop->backend_state;
    submit_backlog(st);
    if (!st->bell_armed)
        arm_bell(st);
    if (st->host_fd >= 0)
        quiet_host(st);
    if (timeout_ns != 0 &&
        (!st->bell_armed || io_uring_cq_ready(&st->ring) || !bki_list_empty(&st->completed) ||
         !bki_list_empty(&st->backlog) || !bki_bell_doze(&st->bell)))
        timeout_ns = 0;
    int r = enter(st, timeout_ns);
    bki_bell_awake(&st->bell);
    reap(st);
    deliver(st);
    return r < 0 ? bki_fail_errno(r, "io_uring_enter") : 0;
}

static void uring_wake(struct bk_loop *loop)
{
    struct uring_state *st = loop->backend_state;
    bki_bell_ring(&st->bell);
}

static int host_watch(struct uring_state *st, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events};
    return epoll_ctl(st->host_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int host_open(struct uring_state *st)
{
    st->host_fd = epoll_create1(EPOLL_CLOEXEC);
    st->host_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (st->host_fd < 0 || st->host_event < 0)
        return -errno;
    int r = io_uring_register_eventfd(&st->ring, st->host_event);
    if (r == 0)
        r = host_watch(st, st->ring.ring_fd, EPOLLIN);
    if (r == 0)
        r = host_watch(st, st->host_event, EPOLLIN | EPOLLET);
    if (r == 0)
        r = host_watch(st, st->bell.fd, EPOLLIN | EPOLLET);
    return r;
}

/* The ring's descriptor is readable when there are completions, but kernels differ in whether it
 * wakes a poller when there is only deferred work that will become one.  The eventfd registered
 * with the ring counts that; and the bell must be heard directly, since some kernels lose the
 * eventfd's signal when it is another eventfd, like the bell, that caused it. */
static int uring_pollable(struct bk_loop *loop)
{
    struct uring_state *st = loop->backend_state;
    if (st->host_fd >= 0)
        return st->host_fd;
    int r = host_open(st);
    if (r < 0) {
        io_uring_unregister_eventfd(&st->ring);
        host_close(st);
        return bki_fail_errno(r, "io_uring: a descriptor for the host");
    }
    return st->host_fd;
}

static bool uring_doze(struct bk_loop *loop)
{
    struct uring_state *st = loop->backend_state;
    submit_backlog(st);
    if (!st->bell_armed)
        arm_bell(st);
    io_uring_submit(&st->ring);
    return st->bell_armed && io_uring_sq_ready(&st->ring) == 0 &&
           io_uring_cq_ready(&st->ring) == 0 && bki_list_empty(&st->completed) &&
           bki_list_empty(&st->backlog) && bki_bell_doze(&st->bell);
}

static bool uring_busy(struct bk_loop *loop)
{
    const struct uring_state *st = loop->backend_state;
    return st->n_in_flight > 0;
}

/* ---- Open and close ---- */

/* From the best to what every kernel with the features below takes.  DEFER_TASKRUN completes in
 * poll() instead of whenever the kernel interrupts; TASKRUN_FLAG tells poll(0) whether there is
 * any. */
static const struct setup {
    unsigned flags;
    const char *name;
} setups[] = {
    {IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
         IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
     "defer_taskrun single_issuer coop_taskrun submit_all"},
    {IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
     "coop_taskrun submit_all"},
    {IORING_SETUP_SUBMIT_ALL, "submit_all"},
    {0, "plain"},
};

unsigned bki_uring_first_setup;
const unsigned bki_uring_n_setups = sizeof setups / sizeof *setups;

/* liburing maps and unmaps rings by bare system calls, so ThreadSanitizer does not see that memory
 * goes from one thread's loop to another's. */
static void note_ring_memory(bool comes)
{
#ifdef BKI_TSAN
    static char memory;
    if (comes)
        __tsan_acquire(&memory);
    else
        __tsan_release(&memory);
#endif
    (void)comes;
}

static int init_ring(struct io_uring *ring, const char **name)
{
    int r = -EINVAL;
    for (size_t i = bki_uring_first_setup; i < bki_uring_n_setups && r == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = setups[i].flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = CQ_ENTRIES,
        };
        r = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
        *name = setups[i].name;
    }
    note_ring_memory(true);
    if (r == -EACCES)
        r = -EPERM; /* a security module's way to say it */
    return r < 0 ? bki_fail_errno(r, "io_uring_setup") : 0;
}

/* What the code above relies on, with the kernel that brought it. */
static int check_features(struct io_uring *ring)
{
    static const struct {
        unsigned bit;
        const char *name;
    } features[] = {
        {IORING_FEAT_NODROP, "NODROP (Linux 5.5)"},
        {IORING_FEAT_SUBMIT_STABLE, "SUBMIT_STABLE (5.5)"},
        {IORING_FEAT_RW_CUR_POS, "RW_CUR_POS (5.6)"},
        {IORING_FEAT_FAST_POLL, "FAST_POLL (5.7)"},
        {IORING_FEAT_EXT_ARG, "EXT_ARG (5.11)"},
        {IORING_FEAT_CQE_SKIP, "CQE_SKIP (5.17)"},
    };
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (!(ring->features & features[i].bit))
            return bk_fail(-ENOSYS, "io_uring: the kernel lacks %s", features[i].name);
    static const uint8_t ops[] = {IORING_OP_RECV,    IORING_OP_SENDMSG,  IORING_OP_ACCEPT,
                                  IORING_OP_CONNECT, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
                                  IORING_OP_READ,    IORING_OP_WRITEV,   IORING_OP_RECVMSG,
                                  IORING_OP_OPENAT,  IORING_OP_CLOSE,    IORING_OP_WRITE,
                                  IORING_OP_FSYNC};
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)];
    } u;
    memset(&u, 0, sizeof u);
    int r = io_uring_register_probe(ring, &u.probe, 256);
    if (r < 0)
        return bki_fail_errno(r, "io_uring: asking for the kernel's operations");
    for (size_t i = 0; i < sizeof ops; i++)
        if (!io_uring_opcode_supported(&u.probe, ops[i]))
            return bk_fail(-ENOSYS, "io_uring: the kernel lacks operation %d", ops[i]);
    return 0;
}

/* Submits the bell's poll: also the proof that io_uring_enter is allowed. */
static int first_submit(struct uring_state *st)
{
    int r = bki_bell_open(&st->bell);
    if (r < 0)
        return r;
    arm_bell(st);
    r = io_uring_submit(&st->ring);
    return r < 0 ? bki_fail_errno(r, "io_uring_enter") : 0;
}

static void free_state(struct uring_state *st)
{
    host_close(st);
    bki_bell_close(&st->bell);
    bki_free(st);
}

static void uring_close(struct bk_loop *loop)
{
    struct uring_state *st = loop->backend_state;
    loop->backend_state = NULL;
    if (!st)
        return;
    note_ring_memory(false);
    io_uring_queue_exit(&st->ring);
    free_state(st);
}

/* The rings themselves are not in the child's memory. */
static void uring_forked(struct bk_loop *loop)
{
    struct uring_state *st = loop->backend_state;
    host_close(st);
    bki_bell_close(&st->bell);
    close(st->ring.ring_fd);
}

static int uring_open(struct bk_loop *loop)
{
    if (bki_io_on_valgrind())
        return bk_fail(-ENOSYS, "io_uring: valgrind cannot follow it");
    struct uring_state *st = bki_zalloc(sizeof *st);
    if (!st)
        return bk_fail(-ENOMEM, "io_uring: out of memory");
    st->bell.fd = -1;
    st->host_fd = st->host_event = -1;
    bki_list_init(&st->backlog);
    bki_list_init(&st->completed);
    const char *setup = "";
    int r = init_ring(&st->ring, &setup);
    if (r < 0) {
        free_state(st);
        return r;
    }
    loop->backend_state = st;
    r = check_features(&st->ring);
    if (r == 0)
        r = first_submit(st);
    if (r < 0) {
        uring_close(loop);
        return r;
    }
    /* A forked child that touches the rings faults instead of mixing up its parent's. */
    io_uring_ring_dontfork(&st->ring);
    bool registered = io_uring_register_ring_fd(&st->ring) == 1;
    snprintf(st->features, sizeof st->features, "%s%s", setup,
             registered ? " registered_ring" : "");
    return 0;
}

static const char *uring_features(struct bk_loop *loop)
{
    const struct uring_state *st = loop->backend_state;
    return st->features;
}

const struct bki_backend bki_backend_uring = {
    .name = "uring",
    .files = true,
    .open = uring_open,
    .close = uring_close,
    .forked = uring_forked,
    .close_fd = uring_close_fd,
    .start = uring_start,
    .cancel = uring_cancel,
    .poll = uring_poll,
    .wake = uring_wake,
    .pollable = uring_pollable,
    .doze = uring_doze,
    .busy = uring_busy,
    .features = uring_features,
};
