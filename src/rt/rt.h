/* SPDX-License-Identifier: MIT
 * The runtime's inner structures: task, loop, park and wake.  Every file of src/rt, and src/net,
 * builds on these.
 *
 * How a task waits, everywhere in beck:
 *
 *     struct bki_waiter w;
 *     int r = bki_check_cancel();                       // level-triggered: fail before doing
 * anything if (r < 0) return r; r = bki_wait(&object->waiters, &w, &kind, object); // 0 granted,
 * -ECANCELED not granted and unlinked
 *
 * and whoever makes the condition true calls bki_grant_first(&object->waiters).  A grant and a
 * cancel may come in one turn, before the task runs again; the first of the two counts.  Who was
 * granted something and then cancelled sees 0 (the cancel shows at its next call), so nothing
 * handed over is lost; who was cancelled and has yet to run is granted nothing. */
#ifndef BECK_SRC_RT_RT_H
#define BECK_SRC_RT_RT_H

#include <stdatomic.h>

#include <beck/error.h>
#include <beck/gather.h>
#include <beck/group.h>
#include <beck/run.h>
#include <beck/task.h>

#include "base/error_slot.h"
#include "base/heap.h"
#include "base/list.h"
#include "rt/backend.h"
#include "rt/crowd.h"
#include "rt/stack.h"

#define BKI_NAME_MAX 32

/* ---- Timers: deadline in loop time; equal deadlines fire in the order they were armed. ---- */

struct bki_timer {
    struct bki_heap_node node;
    void (*fire)(struct bki_timer *timer); /* outside any task: may wake, must not suspend */
};

/* Arms an idle timer.  -ENOMEM.  A deadline in the past fires before any task that suspends now
 * runs again. */
int bki_timer_start(struct bk_loop *loop, struct bki_timer *timer, int64_t deadline_ns,
                    void (*fire)(struct bki_timer *timer));
/* Disarms it; fine when it is not armed (zeroed, fired or stopped). */
void bki_timer_stop(struct bk_loop *loop, struct bki_timer *timer);

/* ---- Tasks ---- */

enum bki_task_state { BKI_NEW, BKI_READY, BKI_RUNNING, BKI_PARKED, BKI_DONE };

/* The tasks that must all do something before a wait can end. */
enum bki_edge {
    BKI_NO_EDGE,
    BKI_TO_HOLDER, /* about begins with "%n%h": the task of that id */
    BKI_TO_TASK,   /* the object is a task: it must end */
    BKI_TO_GROUP,  /* the object is a group: every task of it must end */
};

/* What a parked task waits for, for dumps: one static object for each kind of wait. */
struct bki_wait_kind {
    const char *what; /* "queue get", "sleep", "read" */
    /* What to say about the object, also from another process (about.h): a format and the places of
     * its values in the object.  NULL: nothing, or by describe. */
    const char *about;
    uint16_t at[6];
    uint8_t edge; /* enum bki_edge: which tasks the object leads to */
    /* Writes about object ("for 0.250 s more") into buf; where a format will not do. */
    void (*describe)(const void *object, char *buf, size_t size);
    /* Something outside this loop's tasks and timers can end the wait (another thread, a signal):
     * it is no deadlock. */
    bool external;
};

/* Counts cancels in force: one for the task itself, one more for each running bk_shield. */
struct bki_cancel_frame {
    unsigned pending;
    struct bki_cancel_frame *outer;
};

/* What the ready queue holds: a task, or a call (below). */
struct bki_runnable {
    void *sp; /* a task's saved stack pointer while it is not running; NULL: a call */
    struct bki_runnable *next;
};

/* A plain function in the ready queue: the scheduler runs it, outside any task.  It may wake and
 * start tasks, must not suspend, and does with call's memory what it likes. */
struct bki_call {
    struct bki_runnable run; /* sp is NULL */
    void (*go)(struct bki_call *call);
};

struct bk_task {
    /* What parking, waking and switching touch lies in the first cache line. */
    struct bki_runnable run;
    uint8_t state;     /* enum bki_task_state */
    bool cancellable;  /* parked so that a cancel wakes it */
    bool cancel_seen;  /* a suspending call has returned -ECANCELED since the last request */
    bool has_msg;      /* the body is msg_fn(ctx, &msg) */
    bool was_observed; /* somebody waited for it or read its result: its failure is seen */
    bool counted;      /* already met, while a list of tasks is gone through */
    bool name_made;    /* the name is not the program's, but made up for bk_task_name */
    struct bki_cancel_frame *cancel_frame; /* innermost: what bki_check_cancel looks at */
    const struct bki_wait_kind *wait_kind;
    const void *wait_object;
    int64_t wait_since_ns;
    struct bki_cancel_frame cancel_root; /* its count is the line's last word */

    struct bk_loop *loop;
    unsigned refs; /* the loop's one while alive, and one for each handle */
    int result;
    union {
        bk_fn *fn;
        bk_msg_fn *msg_fn;
    };
    void *ctx;
    bk_msg *msg;
    struct bki_list all_link;    /* loop->tasks, in order of creation */
    struct bki_list joiners;     /* bki_waiters in bk_task_wait, and bki_watches */
    struct bk_group *group;      /* the group it is a child of, NULL when free-standing */
    struct bki_starter *starter; /* the bk_group_start that waits for it to be ready, or NULL */
    struct bki_list group_link;
    unsigned n_cancel;      /* bk_cancelling */
    uint64_t id;            /* 1 is the main task */
    uint64_t parent_id;     /* the task that started it, 0 for main */
    const void *spawn_site; /* the address the start call returns to */
    struct bki_error_slot error;
    struct bki_locals *locals;     /* task-local values */
    struct bk_context *context;    /* where they are instead, when it shares them */
    struct bki_deferred *deferred; /* cleanup at its end, the latest first */
    struct bki_stack *stack;       /* NULL for the scheduler's own pseudo-task */
    char *name;                    /* NULL: named after fn; else allocated */
};

/* An object that debug mode looks after (debug.h). */
struct bki_tracked {
    struct bki_list link;
    const char *what;
    uint64_t site;
};

/* ---- The loop ---- */

/* Something outside that must not outlive the loop, such as a child process: run is called when the
 * last task has ended, with the backend still at work, in no task; the link is out of the list. */
struct bki_at_end {
    struct bki_list link; /* loop->at_end */
    void (*run)(struct bki_at_end *at_end, struct bk_loop *loop);
};

/* Who computes at length (turn.h). */
struct bki_turn {
    bool taken;
    struct bki_crowd crowd;
    struct bki_list lines[2]; /* bki_waiters, by enum bki_turn_line */
};

/* Memory for messages that are still coming in (intake.h). */
struct bki_intake_pool {
    size_t held;               /* by all; the limit is opts.max_intake */
    size_t n_active;           /* who hold some and do not wait for more */
    struct bki_list holders;   /* struct bki_intake, who was granted some longest ago first */
    struct bki_list lines[2];  /* bki_waiters: who hold some already, who do not */
    struct bki_intake *beyond; /* who was let beyond the limit, so that somebody goes on */
    struct bki_timer timer;    /* on while somebody waits */
    struct bki_crowd crowd;
    size_t contexts; /* bytes that connections may hold between messages, not counted in held */
};

struct bk_loop {
    struct bk_task *current;
    struct bki_runnable *ready_head, *ready_tail;
    int budget;          /* switches left before the scheduler looks at the world */
    unsigned n_starting; /* eager tasks in their first step: whoever started them runs next */
    bool running;
    bool forever;       /* the present run has no end of its own: another thread may bring work */
    bool stop_asked;    /* bk_loop_stop while it was not running */
    bool stop_queued;   /* stop_mark is in the ready queue */
    bool stopped;       /* the present run is to end */
    bool shutting_down; /* tasks are cancelled before their first step */
    bool closing;       /* nothing can be started any more */
    bool calls_at_once; /* timers fire while nothing is ready: their calls need not stand in line */
    int64_t now_ns;     /* the clock at the start of this turn; bki_clock_ns for the exact time */
    struct bk_task scheduler;  /* stands for the thread that called bk_run */
    const void *scheduler_low; /* its stack, for sanitizers */
    size_t scheduler_size;
    void *scheduler_tsan;
    struct bki_heap timers;
    struct bki_stacks stacks;
    struct bki_stack_class *default_stacks;
    int64_t trim_at_ns; /* when to look at unused stacks again */

    const struct bki_backend *backend;
    void *backend_state;
    const char *backend_reason;
    struct bki_fd **fds; /* who has which descriptor number (fd.h) */
    size_t n_fds;
    bool virtual_clock;
    int64_t virtual_ns;    /* its time */
    int64_t idle_since_ns; /* as a guest on the virtual clock: real time of the first idle turn */
    size_t n_external;     /* tasks parked on something outside the loop: no deadlock */
    size_t n_edges;        /* tasks that wait for a lock or for a single task (circle.c) */
    size_t
        n_jobs; /* calls on pool threads that have not come back: virtual time waits for them too */
    size_t n_parting; /* operations whose owners have gone: the end waits for theirs */
    bool handed_out;  /* bk_loop_current has told its address: other threads may start tasks */

    struct bki_list at_end;
    struct bki_list tasks;
    size_t n_tasks;
    uint64_t next_task_id;
    bk_task *main_task;        /* the run ends with it, and a signal cancels it; NULL: none */
    struct bki_call stop_mark; /* what is ready behind it is for the next run */
    atomic_uint n_refs;        /* the owner's, and those of bk_loop_ref */
    struct bki_list ended;     /* tasks that have ended while somebody holds a handle */
    bool deadlocked;           /* nothing could wake any task: the run is being ended */
    bool forked;               /* this is a forked child, and the loop its parent's */
    int fatal;                 /* the backend's error that ends the run, 0 */
    struct bki_fault *fault;   /* the overflow reporter's signal stack */

    atomic_uint inbox_flags;      /* BKI_INBOX_*: set by other threads and signal handlers before
                                     backend->wake */
    struct bki_inbox *inbox;      /* work posted by other threads */
    struct bk_executor *executor; /* threads for blocking calls, made at first use */
    struct bki_debug *debug;      /* debug.c: NULL unless in debug mode */
    struct bki_stall *stall;      /* stall.c: who watches whether it goes on */
    uint64_t n_turns;
    bool polling; /* waits in the kernel */
    struct bki_turn turn;
    struct bki_intake_pool intake;
    uint32_t select_seed;       /* select.c: chance, the same in every run */
    struct bki_list loops_link; /* owner.h: the loops alive */
    uint64_t id;                /* 1 is the process's first loop */
    int thread_id;              /* the kernel's, of the thread that runs it */
    struct bki_signals *signals;
    int signal_seen;      /* the signal that ended the run, 0 */
    bool reporting;       /* on_error is running */
    bool sigpipe_blocked; /* by a stream, in this thread: the run gives it back */
    bk_run_opts opts;
};

/* This thread's loop, or bki_nowhere: never NULL, so that nobody has to ask before looking at it.
 */
extern __thread struct bk_loop *bki_loop __attribute__((tls_model("initial-exec")));

/* Stands for the loop of every thread that has none: no task runs in it, nothing can be started.
 * Never written to. */
extern struct bk_loop bki_nowhere;

static inline bool bki_has_loop(void)
{
    return bki_loop != &bki_nowhere;
}

static inline struct bk_task *bki_self(void)
{
    return bki_loop->current;
}

/* True when the caller is a task of a running loop. */
static inline bool bki_in_task(void)
{
    return bki_loop->current != &bki_loop->scheduler;
}

/* ---- Park and wake ---- */

/* Notes that the running task is told of a cancel, and returns -ECANCELED; outside of tasks
 * -BK_ENOTASK. */
int bki_tell_cancel(struct bk_task *self);

/* 0, or -ECANCELED when a cancel is in force for the running task. */
static inline int bki_check_cancel(void)
{
    struct bk_task *self = bki_self();
    if (__builtin_expect(self->cancel_frame->pending != 0, 0))
        return bki_tell_cancel(self);
    return 0;
}

/* 0, or -BK_ENOTASK outside of tasks: for what waits whatever cancels are in force, or opens a
 * scope in the running task. */
static inline int bki_check_task(void)
{
    return bki_in_task() ? 0 : bki_tell_cancel(bki_self());
}

/* For a call that may look at cancels, or wait, without telling its caller: puts cancel_seen back
 * to what it was when the call began, unless a new request has come since. */
struct bki_cancel_told {
    unsigned n_cancel;
    bool seen;
};

static inline struct bki_cancel_told bki_cancel_told_save(void)
{
    const struct bk_task *self = bki_self();
    return (struct bki_cancel_told){self->n_cancel, self->cancel_seen};
}

static inline void bki_cancel_told_restore(struct bki_cancel_told before)
{
    struct bk_task *self = bki_self();
    self->cancel_seen = before.seen && self->n_cancel == before.n_cancel;
}

/* Suspends the running task until bki_wake.  Cancellable: a cancel wakes it too, and it returns
 * -ECANCELED when one is in force on waking (the caller decides whether something was granted
 * first). */
int bki_park(const struct bki_wait_kind *kind, const void *object);
/* The same, deaf to cancels: for waits that must finish, such as an operation's last completion. */
void bki_park_hard(const struct bki_wait_kind *kind, const void *object);
/* Lets every other ready task run once, and looks at no cancel. */
void bki_give_way(struct bk_loop *loop);
/* Makes a parked task ready; nothing when it is not parked.  Loop thread, in or outside tasks. */
void bki_wake(struct bk_task *task);

/* Puts a call at the end of the ready queue.  Loop thread only. */
void bki_call_push(struct bk_loop *loop, struct bki_call *call);

/* select.h: true for the first who asks, whose waiter `by` has won. */
struct bki_select;
bool bki_select_claim(struct bki_select *select, const void *by);

/* A place in an object's line of waiting tasks; lives in the waiting call's frame. */
struct bki_waiter {
    struct bki_list link;
    struct bk_task *task;
    void *value;               /* what a grant hands over, or what the waiter offers */
    struct bki_select *select; /* it is one of several that wait for the first of them, or NULL */
    int result; /* what bki_wait returns when granted: 0 unless the granter says otherwise */
    bool granted;
};

/* Joins the line and parks.  Returns w->result when granted, -ECANCELED when not (and it has left
 * the line). */
int bki_wait(struct bki_list *line, struct bki_waiter *w, const struct bki_wait_kind *kind,
             const void *object);
/* Takes w out of its line and makes its task ready with result.  False: it belongs to a select that
 * something else has ended already, and nobody was granted anything. */
bool bki_grant(struct bki_waiter *w, int result);
/* Hands what can be had once only to the first in line and returns it (valid until its task runs).
 * Who has been cancelled, and has not run since, is passed over.  NULL when nobody waits. */
struct bki_waiter *bki_grant_first(struct bki_list *line, int result);
/* Tells everybody in line, also those who have been cancelled: what is set, closed or gone. */
void bki_grant_all(struct bki_list *line, int result);

/* A place in a task's joiners that wakes nobody: as the task ends (its result is set, its state is
 * not yet BKI_DONE), the watch is taken out and ended is called, which must not suspend. */
struct bki_watch {
    struct bki_waiter w; /* w.task is NULL */
    void (*ended)(struct bki_watch *watch, struct bk_task *task);
};
/* task must not have ended. */
void bki_watch_start(struct bki_watch *watch, struct bk_task *task,
                     void (*ended)(struct bki_watch *watch, struct bk_task *task));
/* Fine when it was never started, or has told of the end. */
void bki_watch_stop(struct bki_watch *watch);

/* The loop's clock, exact: real or virtual. */
int64_t bki_clock_ns(const struct bk_loop *loop);

/* ---- Operations on descriptors, as straight-line calls ---- */

/* Starts op and suspends until it is done; a cancel of the task cancels the op and waits for its
 * end. op->kind, fd and arguments set by the caller.  Returns op->result (so -ECANCELED only when
 * nothing was done). */
int64_t bki_op_run(struct bki_op *op, const struct bki_wait_kind *kind, const void *object);

/* ---- Internal cancel, used by groups, timeouts and the end of the run ---- */

/* One more (less) cancel in force at frame; wakes task if it is parked cancellably. */
void bki_cancel_raise(struct bk_task *task, struct bki_cancel_frame *frame);
void bki_cancel_lower(struct bki_cancel_frame *frame);

/* Starts a task without the public wrapper's defaults; site: where the caller was called from. */
struct bki_task_spec {
    bk_fn *fn;
    bk_msg_fn *msg_fn; /* set: fn is NULL, and *msg is taken on success */
    void *ctx;
    bk_msg **msg;
    struct bk_group *group;
    struct bki_starter *starter;
    const bk_task_opts *opts; /* or NULL */
    const void *site;
};
/* *out is filled before an eager task runs. */
int bki_task_start(bk_task **out, const struct bki_task_spec *spec);
void bki_task_unref(struct bk_task *task);
/* 0, or -EPERM when the task is not of this thread's loop. */
static inline int bki_task_check(const struct bk_task *task)
{
    if (__builtin_expect(task->loop == bki_loop, 1))
        return 0;
    return bk_fail(-EPERM, "this task belongs to another loop");
}
/* Runs what bk_defer has left; in the task. */
void bki_deferred_run(struct bk_task *task);
/* At the end of the run: tells on_error of failures in tasks whose handles nobody used or freed,
 * and frees what those tasks still hold. */
void bki_task_report_ended(struct bk_loop *loop);
/* Gives back the memory of its stack that a task does not stand on: of the running task, or of a
 * suspended one.  A system call; for who has been deep and may now wait long. */
void bki_task_trim(const struct bk_task *task);
/* The task's name for people: its own, or its body's function name, in buf. */
const char *bki_task_label(const struct bk_task *task, char *buf, size_t size);

/* ---- Threads ---- */

/* Makes the loop look at its inbox; any thread, also signal handlers. */
#define BKI_INBOX_POSTS 1u
#define BKI_INBOX_SIGNAL 2u
void bki_loop_notify(struct bk_loop *loop, unsigned flag);
/* Called by the scheduler when flags are up. */
void bki_inbox_run(struct bk_loop *loop);   /* inbox.c */
void bki_signals_run(struct bk_loop *loop); /* signal.c */

/* A piece of work that another thread hands to a loop: run(post) is called in the loop thread,
 * outside any task (may wake and start tasks, must not suspend); post's memory is the caller's
 * business and may be freed from run. */
struct bki_post {
    struct bki_post *next;
    void (*run)(struct bki_post *post, struct bk_loop *loop);
};
int bki_inbox_open(struct bk_loop *loop);
/* Any thread; posts from one thread run in order.  -BK_ECLOSED once the loop has closed its inbox.
 */
int bki_inbox_post(struct bk_loop *loop, struct bki_post *post);
/* From now on bk_go_threadsafe is refused: the run is ending. */
void bki_inbox_refuse_tasks(struct bk_loop *loop);
bool bki_inbox_refuses_tasks(const struct bk_loop *loop); /* any thread */
/* Runs what was posted, refuses the rest, and waits for threads that are just posting.  The loop
 * must still be able to be woken, and nothing may need a post any more. */
void bki_inbox_close(struct bk_loop *loop);
void bki_inbox_forked(struct bk_loop *loop); /* in a forked child: refuses everything */
void bki_inbox_free(struct bk_loop *loop);   /* together with the loop */
void bki_pool_close(struct bk_loop *loop);   /* pool.c: waits for running jobs */
int bki_signals_open(struct bk_loop *loop);
/* From here on SIGINT, SIGTERM and SIGUSR1 are taken as bk_run_opts says.  False: they are already.
 */
bool bki_signals_begin(struct bk_loop *loop);
void bki_signals_end(struct bk_loop *loop);
void bki_signals_close(struct bk_loop *loop);
void bki_signals_forked(void); /* in a forked child: handlers as they were before */

#endif
