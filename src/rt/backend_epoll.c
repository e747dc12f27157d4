/* SPDX-License-Identifier: MIT
 * The epoll backend: tries an operation directly, and waits for readiness when it would block.
 *
 * A descriptor enters the epoll set when an op first has to wait, level-triggered, and the events
 * once asked for stay asked for: a task that reads again and again costs no epoll_ctl.  Only when
 * events keep arriving that nobody waits for are they taken back, so that unread input does not
 * keep the loop awake. Level triggering makes a wrong hint, a short read or a failed call harmless:
 * what is there is told again.
 *
 * poll() has two phases.  First every event of the batch is turned into system calls and results;
 * then done() is called for what is complete.  No event is looked at after user code ran, so done()
 * may close and free any descriptor. */
#include "rt/backend.h"

#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "rt/backend_io.h"
#include "rt/fd.h"
#include "rt/rt.h"

#define EVENTS_MAX 32

/* glibc 2.35 brought the call; a kernel before 5.11, or a filter, may still refuse it. */
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 35)
#define HAVE_EPOLL_PWAIT2 1
#endif
#endif

struct epoll_state {
    int fd;
    bool has_pwait2;
    size_t n_in_flight;
    struct bki_list completed; /* ops with their result, until done() */
    struct bki_bell bell;
    struct epoll_event events[EVENTS_MAX];
};

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
                   EPOLLHUP == POLLHUP,
               "poll's events are epoll's");

/* ---- What the kernel watches ---- */

/* fd->armed: EPOLLIN and EPOLLOUT as asked for; 0 when it is not in the set.  With neither asked
 * for it holds EPOLLET alone: errors are told whether asked for or not, and then only once. */
static int watch(struct epoll_state *st, struct bki_fd *f, uint32_t events)
{
    struct epoll_event e = {.events = events ? events : EPOLLET, .data.ptr = f};
    if (epoll_ctl(st->fd, f->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, f->fd, &e) < 0)
        return errno == EEXIST ? -EBUSY : -errno;
    f->armed = e.events;
    return 0;
}

static int watch_more(struct epoll_state *st, struct bki_fd *f, uint32_t events)
{
    uint32_t asked = f->armed & (EPOLLIN | EPOLLOUT);
    return (asked | events) == asked ? 0 : watch(st, f, asked | events);
}

/* ---- Ops ---- */

static int64_t try_op(struct bki_op *op, bool again)
{
    switch (op->kind) {
    case BKI_OP_RECV:
        return op->fd->maybe_readable || again ? bki_io_recv(op) : -EAGAIN;
    case BKI_OP_SEND:
        return op->fd->maybe_writable || again ? bki_io_send(op) : -EAGAIN;
    case BKI_OP_ACCEPT:
        return op->fd->maybe_readable || again ? bki_io_accept(op) : -EAGAIN;
    case BKI_OP_CONNECT:
        return bki_io_connect(op, again);
    case BKI_OP_RECV_MSG:
        return op->fd->maybe_readable || again ? bki_io_recv_msg(op) : -EAGAIN;
    case BKI_OP_SEND_MSG:
        return op->fd->maybe_writable || again ? bki_io_send_msg(op) : -EAGAIN;
    default:
        return -EAGAIN;
    }
}

static bool must_wait(const struct bki_op *op, int64_t result)
{
    return result == (op->kind == BKI_OP_CONNECT ? -EINPROGRESS : -EAGAIN);
}

static void complete(struct epoll_state *st, struct bki_op *op, int64_t result)
{
    bki_io_vacate(op);
    op->result = result;
    bki_list_push_back(&st->completed, &op->link);
    __builtin_prefetch(op->owner); /* the task that done() will wake */
}

/* fd is always ready, as epoll says when it refuses a file: what does not work now never will. */
static int64_t run_unpollable(struct bki_op *op)
{
    op->fd->is_file = true;
    return op->kind == BKI_OP_POLL ? bki_io_events(op) : try_op(op, true);
}

/* It would block: has the descriptor watched. */
static int wait_for(struct epoll_state *st, struct bki_op *op, short events)
{
    int r = watch_more(st, op->fd, (uint32_t)events);
    if (r == -EPERM) {
        op->result = run_unpollable(op);
        return 1;
    }
    if (r < 0)
        return r;
    op->in_flight = true;
    st->n_in_flight++;
    bki_io_occupy(op, events);
    return 0;
}

static int epoll_start(struct bk_loop *loop, struct bki_op *op)
{
    short events = bki_io_events(op);
    op->in_flight = op->cancelled = false;
    op->link.next = NULL;
    int r = bki_io_check_places(op->fd, events);
    if (r < 0)
        return r;
    op->fd->unheard = 0;
    /* A nowait read asks the kernel even if the last one was short: no wait will correct the hint.
     */
    op->result = try_op(op, op->nowait && op->kind == BKI_OP_RECV);
    return must_wait(op, op->result) && !op->nowait ? wait_for(loop->backend_state, op, events) : 1;
}

static void epoll_cancel(struct bk_loop *loop, struct bki_op *op)
{
    if (!op->in_flight || op->cancelled)
        return;
    op->cancelled = true;
    if (!bki_list_linked(&op->link))
        complete(loop->backend_state, op, -ECANCELED);
}

static void epoll_close_fd(struct bk_loop *loop, struct bki_fd *f)
{
    struct epoll_state *st = loop->backend_state;
    /* Closing is not enough: the set would keep f for as long as a duplicate or a child holds the
     * same open file. */
    if (f->armed)
        epoll_ctl(st->fd, EPOLL_CTL_DEL, f->fd, NULL);
    f->armed = 0;
    bki_fd_disclaim(loop, f);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* ---- Events ---- */

static void advance(struct epoll_state *st, struct bki_op *op, uint32_t up)
{
    int64_t result = -EAGAIN;
    if (op->kind == BKI_OP_POLL) {
        uint32_t seen = up & ((uint32_t)op->events | EPOLLERR | EPOLLHUP);
        if (seen)
            result = seen;
    } else {
        result = try_op(op, true);
    }
    if (!must_wait(op, result))
        complete(st, op, result);
}

static void dispatch(struct epoll_state *st, struct bki_fd *f, uint32_t up)
{
    struct bki_op *reader = f->reader, *writer = f->writer;
    uint32_t ready = up & (EPOLLERR | EPOLLHUP) ? EPOLLIN | EPOLLOUT : up, unwanted = 0;
    if (ready & EPOLLIN) {
        f->maybe_readable = true;
        if (reader)
            advance(st, reader, up);
        else
            unwanted |= EPOLLIN;
    }
    if (ready & EPOLLOUT) {
        f->maybe_writable = true;
        if (!writer)
            unwanted |= EPOLLOUT;
        else if (writer != reader || !(ready & EPOLLIN))
            advance(st, writer, up);
    }
    /* A task that was told may not have had its turn yet: only a second event in a row that nobody
     * waits for is taken back.  (An error is told forever while anything is asked for.) */
    if ((unwanted & f->armed) && f->unheard++ > 0)
        watch(st, f, f->armed & (EPOLLIN | EPOLLOUT) & ~unwanted);
}

/* With many connections, what an event leads to has left the cache: the descriptor, then its op.
 * Those of the next events are fetched while this one's system call runs. */
static inline void fetch_ahead(const struct epoll_state *st, int i, int n)
{
    if (i + 2 < n)
        __builtin_prefetch(st->events[i + 2].data.ptr);
    if (i + 1 < n && st->events[i + 1].data.ptr != &st->bell) {
        const struct bki_fd *next = st->events[i + 1].data.ptr;
        __builtin_prefetch(next->reader);
        __builtin_prefetch((const char *)next->reader + 64);
    }
}

static void deliver(struct epoll_state *st)
{
    /* What done() completes by cancelling is for the next poll: tasks run in between. */
    struct bki_list batch;
    bki_list_init(&batch);
    bki_list_append(&batch, &st->completed);
    struct bki_list *node;
    while ((node = bki_list_pop(&batch))) {
        struct bki_op *op = bki_container(node, struct bki_op, link);
        op->in_flight = false;
        st->n_in_flight--;
        op->done(op);
    }
}

static int wait_timed(struct epoll_state *st, int64_t timeout_ns)
{
#ifdef HAVE_EPOLL_PWAIT2
    if (st->has_pwait2) {
        struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
        int n = epoll_pwait2(st->fd, st->events, EVENTS_MAX, &t, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        st->has_pwait2 = false;
    }
#endif
    int64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return epoll_wait(st->fd, st->events, EVENTS_MAX, ms > INT_MAX ? INT_MAX : (int)ms);
}

static int epoll_poll(struct bk_loop *loop, int64_t timeout_ns)
{
    struct epoll_state *st = loop->backend_state;
    if (timeout_ns != 0 && (!bki_list_empty(&st->completed) || !bki_bell_doze(&st->bell)))
        timeout_ns = 0;
    int n = timeout_ns > 0 ? wait_timed(st, timeout_ns)
                           : epoll_wait(st->fd, st->events, EVENTS_MAX, timeout_ns < 0 ? -1 : 0);
    int r = n < 0 && errno != EINTR && errno != EAGAIN ? -errno : 0;
    bki_bell_awake(&st->bell);
    for (int i = 0; i < n; i++) {
        fetch_ahead(st, i, n);
        if (st->events[i].data.ptr != &st->bell)
            dispatch(st, st->events[i].data.ptr, st->events[i].events);
    }
    deliver(st);
    return r < 0 ? bki_fail_errno(r, "epoll_wait") : 0;
}

static void epoll_wake(struct bk_loop *loop)
{
    struct epoll_state *st = loop->backend_state;
    bki_bell_ring(&st->bell);
}

/* An epoll set is readable itself when it has events. */
static int epoll_pollable(struct bk_loop *loop)
{
    const struct epoll_state *st = loop->backend_state;
    return st->fd;
}

static bool epoll_doze(struct bk_loop *loop)
{
    struct epoll_state *st = loop->backend_state;
    return bki_list_empty(&st->completed) && bki_bell_doze(&st->bell);
}

static bool epoll_busy(struct bk_loop *loop)
{
    const struct epoll_state *st = loop->backend_state;
    return st->n_in_flight > 0;
}

/* ---- Open and close ---- */

static void epoll_close(struct bk_loop *loop)
{
    struct epoll_state *st = loop->backend_state;
    loop->backend_state = NULL;
    if (!st)
        return;
    bki_bell_close(&st->bell);
    if (st->fd >= 0)
        close(st->fd);
    bki_free(st);
}

static void epoll_forked(struct bk_loop *loop)
{
    struct epoll_state *st = loop->backend_state;
    bki_bell_close(&st->bell);
    close(st->fd);
}

static int epoll_open(struct bk_loop *loop)
{
    struct epoll_state *st = bki_zalloc(sizeof *st);
    if (!st)
        return bk_fail(-ENOMEM, "epoll: out of memory");
    loop->backend_state = st;
    st->has_pwait2 = !bki_io_on_valgrind();
    st->bell.fd = -1;
    bki_list_init(&st->completed);
    int r = 0;
    st->fd = epoll_create1(EPOLL_CLOEXEC);
    if (st->fd < 0)
        r = bki_fail_errno(errno, "epoll_create1");
    if (r == 0)
        r = bki_bell_open(&st->bell);
    if (r == 0) {
        /* Edge-triggered: each ring is an event, and nothing needs to be read back. */
        struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = &st->bell};
        if (epoll_ctl(st->fd, EPOLL_CTL_ADD, st->bell.fd, &e) < 0)
            r = bki_fail_errno(errno, "epoll_ctl");
    }
    if (r < 0)
        epoll_close(loop);
    return r;
}

static const char *epoll_features(struct bk_loop *loop)
{
    const struct epoll_state *st = loop->backend_state;
#ifdef HAVE_EPOLL_PWAIT2
    if (st->has_pwait2)
        return "level-triggered eventfd epoll_pwait2";
#endif
    (void)st;
    return "level-triggered eventfd";
}

const struct bki_backend bki_backend_epoll = {
    .name = "epoll",
    .ready_based = true,
    .open = epoll_open,
    .close = epoll_close,
    .forked = epoll_forked,
    .close_fd = epoll_close_fd,
    .start = epoll_start,
    .cancel = epoll_cancel,
    .poll = epoll_poll,
    .wake = epoll_wake,
    .pollable = epoll_pollable,
    .doze = epoll_doze,
    .busy = epoll_busy,
    .features = epoll_features,
};
