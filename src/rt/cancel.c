/* SPDX-License-Identifier: MIT
 * Cancellation: requests, shields, timeout scopes.
 *
 * Each task counts the cancels in force in a frame: its root, or that of the innermost running
 * bk_shield.  Whatever cancels (a request, a timeout that struck, a group that aborts) raises the
 * count of the frame it was opened in, and lowers it when it is over; suspending calls only look at
 * the innermost count. */
#include <string.h>

#include "base/alloc.h"
#include "rt/fork.h"
#include "rt/timeout.h"

void bki_cancel_raise(struct bk_task *task, struct bki_cancel_frame *frame)
{
    frame->pending++;
    if (frame == task->cancel_frame && task->state == BKI_PARKED && task->cancellable)
        bki_wake(task);
}

void bki_cancel_lower(struct bki_cancel_frame *frame)
{
    frame->pending--;
}

int bki_tell_cancel(struct bk_task *self)
{
    /* The scheduler has a cancel in force for ever, so that no call, timer or handler that it runs
     * can suspend it. */
    if (self == &self->loop->scheduler)
        return bk_fail(-BK_ENOTASK, "only a task can wait: %s",
                       bki_has_loop() ? "this runs outside of tasks"
                       : bki_forked   ? "this process was forked from one that runs an event loop, "
                                        "and has none of its own"
                                      : "there is no event loop in this thread");
    self->cancel_seen = true;
    /* A cancel has no detail, and that of an older failure would mislead. */
    bki_error_slot_clear();
    return -ECANCELED;
}

int bk_task_cancel(bk_task *task)
{
    int r = bki_task_check(task);
    if (r < 0 || task->state == BKI_DONE)
        return r;
    task->n_cancel++;
    task->cancel_seen = false;
    bki_cancel_raise(task, &task->cancel_root);
    return 1;
}

int bk_cancelling(void)
{
    return (int)bki_self()->n_cancel;
}

int bk_task_cancelling(const bk_task *task)
{
    return (int)task->n_cancel;
}

int bk_uncancel(void)
{
    struct bk_task *self = bki_self();
    if (self->n_cancel > 0) {
        self->n_cancel--;
        bki_cancel_lower(&self->cancel_root);
    }
    return (int)self->n_cancel;
}

int bk_shield(bk_fn *fn, void *ctx)
{
    int r = bki_check_task();
    if (r < 0)
        return r;
    struct bk_task *self = bki_self();
    struct bki_cancel_frame frame = {.outer = self->cancel_frame};
    struct bki_cancel_told told = bki_cancel_told_save();
    self->cancel_frame = &frame;
    r = fn(ctx);
    self->cancel_frame = frame.outer;
    /* Only timeouts and groups opened inside could say -ECANCELED there. */
    bki_cancel_told_restore(told);
    return r;
}

/* ---- Timeout scopes ---- */

void bki_timeout_strike(struct bk_timeout *timeout)
{
    timeout->expired = true;
    bki_cancel_raise(timeout->task, timeout->frame);
}

static void expire(struct bki_timer *timer)
{
    bki_timeout_strike(bki_container(timer, struct bk_timeout, timer));
}

static int arm(struct bk_timeout *timeout, int64_t deadline_ns)
{
    timeout->deadline_ns = deadline_ns;
    if (deadline_ns == INT64_MAX)
        return 0;
    return bki_timer_start(timeout->task->loop, &timeout->timer, deadline_ns, expire);
}

int bki_timeout_start(struct bk_timeout *timeout, int64_t deadline_ns)
{
    int r = bki_check_task();
    if (r < 0)
        return r;
    memset(timeout, 0, sizeof *timeout);
    timeout->task = bki_self();
    timeout->frame = timeout->task->cancel_frame;
    return arm(timeout, deadline_ns);
}

int bki_timeout_end(struct bk_timeout *timeout, int r)
{
    bki_timer_stop(timeout->task->loop, &timeout->timer);
    if (!timeout->expired)
        return r;
    bki_cancel_lower(timeout->frame);
    if (r != -ECANCELED)
        return r;
    /* Another cancel in force (an outer scope's, a request) wins: the scope that caused it will say
     * so. */
    if (timeout->frame->pending > 0)
        return bki_tell_cancel(timeout->task);
    return bk_fail(-ETIMEDOUT, "not done within the time limit");
}

int bk_timeout_open_at(bk_timeout **out, bk_time deadline)
{
    if (*out)
        return bk_fail(-EINVAL, "this timeout is open already");
    struct bk_timeout *timeout = bki_alloc(sizeof *timeout);
    if (!timeout)
        return bk_fail(-ENOMEM, "no memory for a timeout");
    int r = bki_timeout_start(timeout, deadline.ns);
    if (r < 0) {
        bki_free(timeout);
        return r;
    }
    *out = timeout;
    return 0;
}

int bk_timeout_open(bk_timeout **out, bk_duration limit)
{
    return bk_timeout_open_at(out, bk_time_add(bk_now(), limit));
}

int bk_timeout_reschedule(bk_timeout *timeout, bk_time deadline)
{
    if (timeout->expired)
        return bk_fail(-EINVAL, "the timeout has already struck");
    bki_timer_stop(timeout->task->loop, &timeout->timer);
    return arm(timeout, deadline.ns);
}

bk_time bk_timeout_when(const bk_timeout *timeout)
{
    return (bk_time){timeout->deadline_ns};
}

bool bk_timeout_expired(const bk_timeout *timeout)
{
    return timeout->expired;
}

int bk_timeout_close(bk_timeout **timeout, int r)
{
    struct bk_timeout *t = *timeout;
    *timeout = NULL;
    if (!t)
        return r;
    r = bki_timeout_end(t, r);
    bki_free(t);
    return r;
}
