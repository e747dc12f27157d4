/* SPDX-License-Identifier: MIT
 * Park, wake, and the turn of the loop: inbox, kernel, timers, ready tasks. */
#include "rt/sched.h"

#include <time.h>

#include "base/alloc.h"
#include "base/list.h"
#include "rt/debug.h"

struct bk_loop bki_nowhere = {
    .current = &bki_nowhere.scheduler,
    .scheduler = {.loop = &bki_nowhere,
                  .cancel_frame = &bki_nowhere.scheduler.cancel_root,
                  .cancel_root.pending = 1}, /* see bki_tell_cancel */
    .closing = true,
};

__thread struct bk_loop *bki_loop __attribute__((tls_model("initial-exec"))) = &bki_nowhere;

#define TRIM_EVERY_NS ((int64_t)20 * 1000000)
/* Under the virtual clock: real time granted to the kernel before the clock jumps past an operation
 * in flight. */
#define VIRTUAL_GRACE_NS ((int64_t)2 * 1000000)

static int64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bki_clock_ns(const struct bk_loop *loop)
{
    return loop->virtual_clock ? loop->virtual_ns : monotonic_ns();
}

bk_time bk_now(void)
{
    bk_time t = {bki_has_loop() ? bki_clock_ns(bki_loop) : monotonic_ns()};
    return t;
}

/* ---- Park and wake ---- */

static void park(const struct bki_wait_kind *kind, const void *object, bool cancellable)
{
    struct bk_loop *loop = bki_loop;
    struct bk_task *self = loop->current;
    self->wait_kind = kind;
    self->wait_object = object;
    self->wait_since_ns = loop->now_ns;
    self->cancellable = cancellable;
    self->state = BKI_PARKED;
    loop->n_external += kind->external;
    bki_hand_over(loop, self, bki_ready_take(loop), false);
    loop->n_external -= kind->external;
}

int bki_park(const struct bki_wait_kind *kind, const void *object)
{
    park(kind, object, true);
    return bki_check_cancel();
}

void bki_park_hard(const struct bki_wait_kind *kind, const void *object)
{
    park(kind, object, false);
}

void bki_wake(struct bk_task *task)
{
    if (task->state != BKI_PARKED)
        return;
    task->state = BKI_READY;
    bki_ready_push(bki_loop, &task->run);
    /* With many tasks the stack it goes on with has left the cache: have it fetched until its turn
     * comes.  The saved registers, and beyond the red zone the frames of a call that waits. */
    const char *frame = task->run.sp;
    __builtin_prefetch(frame);
    for (int i = 128; i <= 512; i += 64)
        __builtin_prefetch(frame + i);
}

struct bk_task *bki_ready_take_rare(struct bk_loop *loop)
{
    if (loop->n_starting == 0)
        return &loop->scheduler;
    /* An eager task's first wait used the budget up.  Whoever started it is first in line, and goes
     * on before the scheduler looks at anything. */
    struct bki_runnable *starter = loop->ready_head;
    loop->ready_head = starter->next;
    return bki_container(starter, struct bk_task, run);
}

/* Inline in bk_yield: a call in between costs as much as the switch. */
static inline void give_way(struct bk_loop *loop)
{
    struct bk_task *self = loop->current;
    self->state = BKI_READY;
    bki_ready_push(loop, &self->run);
    struct bk_task *next = bki_ready_take(loop);
    if (next != self)
        bki_hand_over(loop, self, next, false);
    else
        self->state = BKI_RUNNING;
}

void bki_give_way(struct bk_loop *loop)
{
    give_way(loop);
}

int bk_yield(void)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    give_way(bki_loop);
    return bki_check_cancel();
}

int bki_wait(struct bki_list *line, struct bki_waiter *w, const struct bki_wait_kind *kind,
             const void *object)
{
    w->task = bki_self();
    w->select = NULL;
    w->granted = false;
    bki_list_push_back(line, &w->link);
    park(kind, object, true);
    if (w->granted)
        return w->result;
    bki_list_remove(&w->link);
    return bki_tell_cancel(w->task);
}

bool bki_grant(struct bki_waiter *w, int result)
{
    bki_list_remove(&w->link);
    if (__builtin_expect(w->select != NULL, 0) && !bki_select_claim(w->select, w))
        return false;
    w->granted = true;
    w->result = result;
    bki_wake(w->task);
    return true;
}

struct bki_waiter *bki_grant_first(struct bki_list *line, int result)
{
    struct bki_list *first;
    while ((first = bki_list_first(line))) {
        struct bki_waiter *w = bki_container(first, struct bki_waiter, link);
        if (w->task->state == BKI_PARKED && bki_grant(w, result))
            return w;
        /* It has been woken by something else, a cancel or another case of its select, and has yet
         * to leave the line: that finds it alone. */
        if (bki_list_linked(first))
            bki_list_remove(first);
        bki_list_init(first);
    }
    return NULL;
}

void bki_grant_all(struct bki_list *line, int result)
{
    struct bki_list *first;
    while ((first = bki_list_first(line)))
        bki_grant(bki_container(first, struct bki_waiter, link), result);
}

/* ---- Operations ---- */

static void op_done(struct bki_op *op)
{
    bki_wake(op->owner);
}

int64_t bki_op_run(struct bki_op *op, const struct bki_wait_kind *kind, const void *object)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    struct bk_loop *loop = bki_loop;
    op->owner = loop->current;
    op->done = op_done;
    r = loop->backend->start(loop, op);
    if (r < 0)
        return r;
    if (r > 0) {
        /* Whoever never has to wait must not keep the others waiting. */
        int64_t result = op->result;
        if (__builtin_expect(--loop->budget < 0, 0))
            bki_give_way(loop);
        return result;
    }
    park(kind, object, true);
    if (op->in_flight) {
        /* A cancel woke us: the kernel may still hold op, which lives in our caller's frame. */
        loop->backend->cancel(loop, op);
        while (op->in_flight)
            park(kind, object, false);
    }
    if (op->result == -ECANCELED)
        bki_tell_cancel(loop->current);
    return op->result;
}

/* ---- Turns ---- */

/* Those that were armed before, so that a call which arms another one keeps nobody waiting.  When
 * nothing is ready, a call whose time has come is made here: before the tasks that wake in the same
 * instant, as in asyncio, where a task takes one step more from its timer. */
static bool fire_timers(struct bk_loop *loop)
{
    bool fired = false;
    uint64_t end = loop->timers.next_seq;
    loop->calls_at_once = !loop->ready_head;
    while (loop->timers.len > 0 && loop->timers.entries[0].seq < end &&
           bki_heap_min_key(&loop->timers) <= loop->now_ns) {
        struct bki_timer *timer =
            bki_container(bki_heap_pop(&loop->timers), struct bki_timer, node);
        timer->fire(timer);
        fired = true;
    }
    loop->calls_at_once = false;
    return fired;
}

static void poll_backend(struct bk_loop *loop, int64_t timeout_ns)
{
    int64_t since_ns = __builtin_expect(loop->debug != NULL, 0) ? bki_debug_clock_ns() : 0;
    loop->polling = timeout_ns != 0;
    int r = loop->backend->poll(loop, timeout_ns);
    loop->polling = false;
    if (__builtin_expect(since_ns != 0, 0) && timeout_ns >= 0)
        bki_debug_slow(since_ns, timeout_ns, "the loop woke late", "");
    if (r < 0 && !loop->fatal)
        loop->fatal = r;
    unsigned flags = atomic_load_explicit(&loop->inbox_flags, memory_order_relaxed);
    if (flags) {
        flags = atomic_exchange(&loop->inbox_flags, 0);
        if (flags & BKI_INBOX_SIGNAL)
            bki_signals_run(loop);
        if (flags & BKI_INBOX_POSTS)
            bki_inbox_run(loop);
    }
}

/* Until the next timer, or until it is time to give back the stacks that nobody uses. */
static int64_t real_timeout(struct bk_loop *loop)
{
    int64_t next = bki_heap_min_key(&loop->timers);
    if (next > loop->trim_at_ns && bki_stacks_may_trim(&loop->stacks))
        next = loop->trim_at_ns;
    return next == INT64_MAX ? -1 : next > loop->now_ns ? next - loop->now_ns : 0;
}

/* Whether anything but a timer may make a task ready. */
static bool is_anything_outside(struct bk_loop *loop)
{
    return loop->n_external > 0 || loop->n_jobs > 0 || loop->handed_out || loop->forever ||
           loop->backend->busy(loop) || atomic_load(&loop->inbox_flags) != 0;
}

static void trim(struct bk_loop *loop)
{
    if (loop->now_ns < loop->trim_at_ns)
        return;
    bool crowd = bki_stacks_may_trim(&loop->stacks);
    /* The last stacks of a crowd that has gone: what it left on the heap goes, too. */
    if (!bki_stacks_trim(&loop->stacks) && crowd)
        bki_alloc_trim();
    loop->trim_at_ns = loop->now_ns + TRIM_EVERY_NS;
}

/* Nothing is ready: sleeps until something is.  False when nothing ever can be. */
static bool wait_for_something(struct bk_loop *loop)
{
    bool timed = loop->timers.len > 0;
    bool outside = is_anything_outside(loop);
    if (!timed && !outside)
        return false;
    if (!loop->virtual_clock) {
        poll_backend(loop, real_timeout(loop));
        return true;
    }
    bool jobs = loop->n_jobs > 0;
    int64_t start_ns = monotonic_ns();
    poll_backend(loop, jobs || !timed ? -1 : outside ? VIRTUAL_GRACE_NS : 0);
    /* A poll that ended early was interrupted, or moved something that no task has noticed yet. */
    bool idle = !outside || monotonic_ns() - start_ns >= VIRTUAL_GRACE_NS;
    if (idle && !loop->ready_head && timed && loop->n_jobs == 0 && loop->timers.len > 0)
        loop->virtual_ns = bki_heap_min_key(&loop->timers);
    return true;
}

/* Looks at the world once.  False when no task can ever run again. */
static bool turn(struct bk_loop *loop)
{
    bool ready = loop->ready_head != NULL || loop->stop_asked;
    bool asked = atomic_load_explicit(&loop->inbox_flags, memory_order_relaxed) != 0;
    if (loop->timers.len > 0 || loop->default_stacks->n_warm > loop->default_stacks->min_warm ||
        !ready)
        loop->now_ns = bki_clock_ns(loop);
    bool fired = fire_timers(loop);
    trim(loop);
    if (ready || fired || loop->ready_head) {
        if (asked || loop->backend->busy(loop))
            poll_backend(loop, 0);
        return true;
    }
    if (!wait_for_something(loop))
        return false;
    loop->now_ns = bki_clock_ns(loop);
    fire_timers(loop);
    return true;
}

void bki_call_push(struct bk_loop *loop, struct bki_call *call)
{
    call->run.sp = NULL;
    bki_ready_push(loop, &call->run);
}

/* Runs the calls at the head of the ready queue.  Each counts like a switch: calls that make
 * further calls keep neither the kernel nor the timers waiting. */
static void run_calls(struct bk_loop *loop)
{
    struct bki_runnable *r;
    while ((r = loop->ready_head) && !r->sp && --loop->budget >= 0) {
        struct bki_call *call = bki_container(r, struct bki_call, run);
        loop->ready_head = r->next;
        call->go(call);
    }
}

void bki_sched_drain(struct bk_loop *loop)
{
    struct bki_runnable *r;
    while ((r = loop->ready_head)) {
        loop->budget = BKI_BUDGET;
        run_calls(loop);
        if (r == loop->ready_head)
            loop->ready_head = r->next; /* a task that the end of the loop leaves behind */
    }
}

/* ---- Stopping ---- */

static void stop_here(struct bki_call *call)
{
    struct bk_loop *loop = bki_container(call, struct bk_loop, stop_mark);
    loop->stop_queued = false;
    loop->stopped = true;
    loop->budget = 0;
}

/* A mark in the ready queue: what is ready before it still runs. */
static void queue_stop(struct bk_loop *loop)
{
    loop->stop_asked = false;
    if (loop->stop_queued)
        return;
    loop->stop_queued = true;
    loop->stop_mark.go = stop_here;
    bki_call_push(loop, &loop->stop_mark);
}

void bki_sched_stop(struct bk_loop *loop)
{
    if (loop->running)
        queue_stop(loop);
    else
        loop->stop_asked = true;
}

void bki_sched_unstop(struct bk_loop *loop)
{
    if (!loop->stop_queued)
        return;
    loop->stop_queued = false;
    struct bki_runnable **link = &loop->ready_head, *before = NULL;
    while (*link != &loop->stop_mark.run) {
        before = *link;
        link = &before->next;
    }
    *link = loop->stop_mark.run.next;
    if (loop->ready_tail == &loop->stop_mark.run)
        loop->ready_tail = before;
}

/* ---- Running ---- */

/* Runs what is ready, in order, until nothing is or the budget is used up. */
static void run_ready(struct bk_loop *loop)
{
    loop->n_turns++;
    struct bk_task *next;
    do {
        run_calls(loop);
        next = bki_ready_take(loop);
        if (next != &loop->scheduler)
            bki_hand_over(loop, &loop->scheduler, next, false);
    } while (loop->ready_head && loop->budget > 0);
}

void bki_sched_run(struct bk_loop *loop, bool (*done)(struct bk_loop *loop))
{
    while (!done(loop) && !loop->fatal) {
        if (!turn(loop)) {
            loop->deadlocked = true;
            return;
        }
        if (loop->stop_asked)
            queue_stop(loop); /* behind what this turn has found */
        loop->budget = BKI_BUDGET;
        run_ready(loop);
    }
}

void bki_sched_part(struct bk_loop *loop)
{
    while (loop->n_parting > 0 && !loop->fatal)
        poll_backend(loop, -1);
}

/* ---- As a guest ---- */

/* The virtual clock jumps when a turn has found nothing to do; while something outside may still
 * move, only after the host has given it the grace. */
static void jump(struct bk_loop *loop)
{
    int64_t now = monotonic_ns();
    if (loop->ready_head) {
        loop->idle_since_ns = 0;
        return;
    }
    if (!loop->idle_since_ns)
        loop->idle_since_ns = now;
    bool idle = loop->n_jobs == 0 &&
                (!is_anything_outside(loop) || now - loop->idle_since_ns >= VIRTUAL_GRACE_NS);
    if (idle && loop->timers.len > 0) {
        loop->virtual_ns = bki_heap_min_key(&loop->timers);
        loop->idle_since_ns = 0;
    }
}

void bki_sched_turn(struct bk_loop *loop)
{
    poll_backend(loop, 0);
    if (loop->virtual_clock)
        jump(loop);
    loop->now_ns = bki_clock_ns(loop);
    fire_timers(loop);
    trim(loop);
    loop->budget = BKI_BUDGET;
    run_ready(loop);
}

int64_t bki_sched_timeout(struct bk_loop *loop)
{
    if (loop->ready_head || !loop->backend->doze(loop))
        return 0;
    loop->now_ns = bki_clock_ns(loop);
    if (!loop->virtual_clock) {
        int64_t ns = real_timeout(loop);
        return ns < 0 ? BK_FOREVER_NS : ns;
    }
    if (loop->timers.len == 0 || loop->n_jobs > 0)
        return BK_FOREVER_NS;
    return is_anything_outside(loop) ? VIRTUAL_GRACE_NS : 0;
}
