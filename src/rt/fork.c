/* SPDX-License-Identifier: MIT
 * Forked children.
 *
 * A child has its parent's memory, one thread, and descriptors of the same open files: what it told
 * an epoll set would be said in the parent's name.  So in the child every loop loses its backend,
 * its tasks are no longer ready, and its thread has no loop; the suspending calls, which ask for
 * that first, fail.  The child may exec, _exit, or begin a run of its own. */
#include "rt/fork.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "rt/fd.h"
#include "rt/owner.h"

bool bki_forked;

int bki_fail_forked(void)
{
    return bk_fail(-BK_ENOTASK, "this process was forked from one that runs an event loop, and "
                                "came to the end of a task that is its parent's");
}

/* ---- The backend of a loop that is the parent's ---- */

static void forked_close_fd(struct bk_loop *loop, struct bki_fd *f)
{
    bki_fd_disclaim(loop, f);
    if (f->fd >= 0)
        close(f->fd); /* the child's copy */
    f->fd = -1;
}

static int forked_start(struct bk_loop *loop, struct bki_op *op)
{
    (void)loop;
    op->in_flight = false;
    return -BK_ENOTASK;
}

/* Nobody will tell of its end. */
static void forked_cancel(struct bk_loop *loop, struct bki_op *op)
{
    (void)loop;
    op->in_flight = false;
    op->result = -ECANCELED;
}

static int forked_poll(struct bk_loop *loop, int64_t timeout_ns)
{
    (void)loop;
    (void)timeout_ns;
    return -BK_ENOTASK;
}

static void forked_nothing(struct bk_loop *loop)
{
    (void)loop;
}

static int forked_pollable(struct bk_loop *loop)
{
    (void)loop;
    return -BK_ENOTASK;
}

static bool forked_no(struct bk_loop *loop)
{
    (void)loop;
    return false;
}

static const char *forked_features(struct bk_loop *loop)
{
    (void)loop;
    return "";
}

static const struct bki_backend bki_backend_forked = {
    .name = "none",
    .close = forked_nothing,
    .forked = forked_nothing,
    .close_fd = forked_close_fd,
    .start = forked_start,
    .cancel = forked_cancel,
    .poll = forked_poll,
    .wake = forked_nothing,
    .pollable = forked_pollable,
    .doze = forked_no,
    .busy = forked_no,
    .features = forked_features,
};

/* ---- The fork ---- */

static void part_with(struct bk_loop *loop)
{
    loop->forked = true;
    if (loop->backend)
        loop->backend->forked(loop);
    loop->backend = &bki_backend_forked;
    loop->fatal = -BK_ENOTASK;
    loop->ready_head = loop->ready_tail = NULL;
    if (loop->inbox)
        bki_inbox_forked(loop);
}

static void before_fork(void)
{
    bki_loops_before_fork();
}

static void in_parent(void)
{
    bki_loops_after_fork(false);
}

static void in_child(void)
{
    bki_forked = bki_forked || !bki_list_empty(&bki_loops);
    if (bki_loop->sigpipe_blocked) { /* by a stream; what the child may exec would not expect it */
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    bki_signals_forked();
    for (struct bki_list *n = bki_list_first(&bki_loops); n; n = bki_list_next(&bki_loops, n))
        part_with(bki_container(n, struct bk_loop, loops_link));
    bki_loop = &bki_nowhere;
    bki_loops_after_fork(true);
}

static void watch_once(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}

void bki_fork_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_once);
}
