/* SPDX-License-Identifier: MIT
 * Waiting for descriptors that are not beck's.
 *
 * A watch exists while tasks wait for a descriptor, and waits on a duplicate of its own.  So the
 * caller may close the descriptor and the kernel give its number to another file at any time: what
 * is waited for stays the file that was meant, and taking it out of an epoll set, which goes by
 * number and file, always works. */
#include "rt/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <beck/fd.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "rt/rt.h"

#define FIRST_SLOTS 64

struct watch {
    struct bki_fd fd; /* our duplicate; is_watch */
    int number;       /* the caller's descriptor: the watch's place in the table */
    int gone;         /* why its waits end early, 0 */
    unsigned n_waiters;
};

/* ---- The table: loop->fds[number] ---- */

static struct bki_fd *holder_of(struct bk_loop *loop, int number)
{
    return number >= 0 && (size_t)number < loop->n_fds ? loop->fds[number] : NULL;
}

static struct watch *as_watch(struct bki_fd *f)
{
    return f && f->is_watch ? bki_container(f, struct watch, fd) : NULL;
}

static int make_room(struct bk_loop *loop, int number)
{
    size_t n = loop->n_fds ? loop->n_fds : FIRST_SLOTS;
    if ((size_t)number < loop->n_fds)
        return 0;
    while (n <= (size_t)number)
        n *= 2;
    struct bki_fd **fds = bki_realloc_array(loop->fds, n, sizeof *fds);
    if (!fds)
        return -ENOMEM;
    memset(fds + loop->n_fds, 0, (n - loop->n_fds) * sizeof *fds);
    loop->fds = fds;
    loop->n_fds = n;
    return 0;
}

/* Takes the watch out of the table and ends its waits. */
static void watch_gone(struct bk_loop *loop, struct watch *w, int why)
{
    loop->fds[w->number] = NULL;
    w->gone = why;
    struct bki_op *reader = w->fd.reader, *writer = w->fd.writer;
    if (reader)
        loop->backend->cancel(loop, reader);
    if (writer && writer != reader)
        loop->backend->cancel(loop, writer);
}

void bki_fd_claim(struct bki_fd *f)
{
    struct bk_loop *loop = bki_loop;
    if (!bki_has_loop() || f->fd < 0)
        return;
    struct watch *stale = as_watch(holder_of(loop, f->fd));
    if (stale)
        watch_gone(loop, stale, -EBADF);
    if (make_room(loop, f->fd) == 0)
        loop->fds[f->fd] = f;
}

void bki_fd_disclaim(struct bk_loop *loop, struct bki_fd *f)
{
    if (holder_of(loop, f->fd) == f)
        loop->fds[f->fd] = NULL;
}

void bki_fd_table_free(struct bk_loop *loop)
{
    bki_free(loop->fds);
    loop->fds = NULL;
    loop->n_fds = 0;
}

/* ---- Watches ---- */

static int watch_new(struct watch **out, int number)
{
    struct bk_loop *loop = bki_loop;
    struct watch *w = make_room(loop, number) == 0 ? bki_alloc(sizeof *w) : NULL;
    if (!w)
        return bk_fail(-ENOMEM, "no memory to wait for descriptor %d", number);
    int fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        bki_free(w);
        return bki_fail_errno(errno, "descriptor %d: a duplicate to wait on", number);
    }
    *w = (struct watch){.number = number};
    bki_fd_init(&w->fd, fd, false);
    w->fd.is_watch = true;
    loop->fds[number] = &w->fd;
    *out = w;
    return 0;
}

static void watch_leave(struct bk_loop *loop, struct watch *w)
{
    if (--w->n_waiters > 0)
        return;
    if (!w->gone)
        loop->fds[w->number] = NULL;
    loop->backend->close_fd(loop, &w->fd);
    bki_free(w);
}

static const struct bki_wait_kind watch_kind = {
    .what = "descriptor", .about = "%i", .at = {offsetof(struct watch, number)}};

/* ---- Waiting ---- */

static short poll_events(int events)
{
    return (short)((events & BK_READABLE ? POLLIN : 0) | (events & BK_WRITABLE ? POLLOUT : 0));
}

/* Trouble is something to read and to write: the call that follows tells what it is. */
static int ready_events(int revents, int asked)
{
    int up = (revents & POLLIN ? BK_READABLE : 0) | (revents & POLLOUT ? BK_WRITABLE : 0);
    return revents & (POLLERR | POLLHUP) ? asked : up & asked;
}

/* What is up now: 0 or more of events, or an error. */
static int look(int fd, int events)
{
    struct pollfd p = {.fd = fd, .events = poll_events(events)};
    int n;
    do {
        n = poll(&p, 1, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return bki_fail_errno(errno, "descriptor %d", fd);
    if (fd < 0 || (p.revents & POLLNVAL))
        return bki_fail_errno(EBADF, "descriptor %d", fd);
    return ready_events(p.revents, events);
}

static int wait_on(struct watch *w, int events)
{
    struct bki_op op = {.kind = BKI_OP_POLL, .fd = &w->fd, .events = poll_events(events)};
    struct bki_cancel_told told = bki_cancel_told_save();
    int r = (int)bki_op_run(&op, &watch_kind, w);
    if (w->gone) {
        bki_cancel_told_restore(told); /* it may have been our own cancel of the operation */
        return bk_fail(w->gone, "descriptor %d was closed while waited for", w->number);
    }
    if (r == -EBUSY)
        return bk_fail(r, "another task waits for descriptor %d", w->number);
    if (r < 0)
        return r;
    /* Nothing was taken, so that a cancel of the same turn shows at once. */
    int cancelled = bki_check_cancel();
    return cancelled < 0 ? cancelled : ready_events(r, events);
}

static int wait_ready(int fd, int events)
{
    struct bk_loop *loop = bki_loop;
    struct watch *w = as_watch(holder_of(loop, fd));
    int r = w ? 0 : watch_new(&w, fd);
    if (r < 0)
        return r;
    w->n_waiters++;
    r = wait_on(w, events);
    watch_leave(loop, w);
    return r;
}

/* Descriptors of beck's own objects are theirs alone. */
static int check_owner(int fd)
{
    struct bki_fd *f = holder_of(bki_loop, fd);
    return f && !f->is_watch ? bk_fail(-EBUSY, "descriptor %d belongs to a stream", fd) : 0;
}

int bk_fd_wait(int fd, int events, bk_duration limit)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (!events || (events & ~(BK_READABLE | BK_WRITABLE)))
        return bk_fail(-EINVAL, "bk_fd_wait: no such events: %d", events);
    r = check_owner(fd);
    if (r == 0)
        r = look(fd, events);
    /* Whoever never has to wait must not keep the others waiting. */
    if (r > 0 && --bki_loop->budget < 0)
        bki_give_way(bki_loop);
    if (r != 0)
        return r;
    if (limit.ns <= 0)
        return bk_fail(-ETIMEDOUT, "descriptor %d is not ready", fd);
    if (limit.ns == BK_FOREVER_NS)
        return wait_ready(fd, events);
    bk_timeout *scope = NULL;
    r = bk_timeout_open(&scope, limit);
    if (r == 0)
        r = wait_ready(fd, events);
    return bk_timeout_close(&scope, r);
}

int bk_fd_close(int fd)
{
    struct watch *w = as_watch(holder_of(bki_loop, fd));
    int r = check_owner(fd);
    if (r < 0)
        return r;
    if (w)
        watch_gone(bki_loop, w, -BK_ECLOSED);
    return close(fd) < 0 ? bki_fail_errno(errno, "descriptor %d", fd) : 0;
}
