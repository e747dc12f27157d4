/* SPDX-License-Identifier: MIT
 * The scheduler's inside: who runs next, and the hand-over from one stack to another.
 *
 * A task that suspends switches straight to the next ready one; the scheduler's own context (the
 * stack bk_run was called on) runs only when none is ready, or after BKI_BUDGET switches, to look
 * at the clock and the kernel. */
#ifndef BECK_SRC_RT_SCHED_H
#define BECK_SRC_RT_SCHED_H

#include "rt/fiber.h"
#include "rt/rt.h"
#include "rt/switch.h"

#define BKI_BUDGET 128

static inline void bki_ready_push(struct bk_loop *loop, struct bki_runnable *r)
{
    r->next = NULL;
    if (loop->ready_head)
        loop->ready_tail->next = r;
    else
        loop->ready_head = r;
    loop->ready_tail = r;
}

/* The task that starts an eager one goes on as soon as that waits. */
static inline void bki_ready_push_front(struct bk_loop *loop, struct bki_runnable *r)
{
    r->next = loop->ready_head;
    if (!loop->ready_head)
        loop->ready_tail = r;
    loop->ready_head = r;
}

/* When nothing is ready, a call is, or the budget is used up. */
struct bk_task *bki_ready_take_rare(struct bk_loop *loop);

/* Takes who runs next: a ready task, or the scheduler, who also runs the calls. */
static inline struct bk_task *bki_ready_take(struct bk_loop *loop)
{
    struct bki_runnable *r = loop->ready_head;
    if (__builtin_expect(!r || !r->sp || --loop->budget < 0, 0))
        return bki_ready_take_rare(loop);
    loop->ready_head = r->next;
    return bki_container(r, struct bk_task, run);
}

/* Leaves `from` for `to`; returns when `from` runs again (never, when it is dying). */
static inline void bki_hand_over(struct bk_loop *loop, struct bk_task *from, struct bk_task *to,
                                 bool dying)
{
    loop->current = to;
    to->state = BKI_RUNNING;
#if defined(BKI_ASAN) || defined(BKI_TSAN)
    struct bki_fiber_notes notes = {0};
    bki_fiber_before(&notes, dying, to->stack ? bki_stack_low(to->stack) : loop->scheduler_low,
                     to->stack ? bki_stack_size(to->stack) : loop->scheduler_size,
                     to->stack ? to->stack->tsan_fiber : loop->scheduler_tsan);
    bki_switch(&from->run.sp, to->run.sp);
    bki_fiber_after(&notes, NULL, NULL);
#else
    (void)dying;
    bki_switch(&from->run.sp, to->run.sp);
#endif
}

/* First thing on a new task's stack. */
static inline void bki_arrive(struct bk_loop *loop)
{
    (void)loop;
#if defined(BKI_ASAN)
    bool first = !loop->scheduler_low;
    const void *low;
    size_t size;
    bki_fiber_after(NULL, &low, &size);
    if (first) { /* the first switch of a run comes from the scheduler */
        loop->scheduler_low = low;
        loop->scheduler_size = size;
    }
#endif
}

/* When no task is left: waits for the operations whose owners have gone. */
void bki_sched_part(struct bk_loop *loop);

/* For a host that waits in our place: one turn that does not wait, and how long the host may wait
 * before the next, as a number of nanoseconds or BK_FOREVER_NS. */
void bki_sched_turn(struct bk_loop *loop);
int64_t bki_sched_timeout(struct bk_loop *loop);

/* Ends the present run, or the next, once what is ready has run. */
void bki_sched_stop(struct bk_loop *loop);
/* After a run: forgets a stop that it did not come to. */
void bki_sched_unstop(struct bk_loop *loop);

/* Runs the calls in the ready queue until it is empty; no task runs any more. */
void bki_sched_drain(struct bk_loop *loop);

/* Runs ready tasks and the world around them until done(loop) says so. */
void bki_sched_run(struct bk_loop *loop, bool (*done)(struct bk_loop *loop));

#endif
