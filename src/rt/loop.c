/* SPDX-License-Identifier: MIT
 * The loop as an object: made, run once or several times, closed in order. */
#include <beck/loop.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/call.h"
#include "rt/choose.h"
#include "rt/debug.h"
#include "rt/dump.h"
#include "rt/fault.h"
#include "rt/fd.h"
#include "rt/local.h"
#include "rt/fork.h"
#include "rt/intake.h"
#include "rt/loop.h"
#include "rt/owner.h"
#include "rt/report.h"
#include "rt/sched.h"
#include "rt/stall.h"
#include "rt/turn.h"

#define DEFAULT_STACK ((size_t)64 * 1024)
#define DEFAULT_MAX_TASKS ((size_t)4000000)
#define DEFAULT_MAX_INTAKE ((size_t)256 << 20)
#define DEFAULT_THREAD_LIMIT_SECONDS 300

/* ---- Open ---- */

static struct bki_error_slot *running_task_slot(void)
{
    return bki_in_task() ? &bki_self()->error : NULL;
}

static bool env_is(const char *name, const char *value)
{
    const char *set = getenv(name);
    return set && strcmp(set, value) == 0;
}

static void apply_opts(struct bk_loop *loop, const bk_run_opts *opts)
{
    if (opts)
        loop->opts = *opts;
    if (!loop->opts.stack_size)
        loop->opts.stack_size = DEFAULT_STACK;
    if (!loop->opts.max_tasks)
        loop->opts.max_tasks = DEFAULT_MAX_TASKS;
    if (!loop->opts.max_intake)
        loop->opts.max_intake = DEFAULT_MAX_INTAKE;
    if (!loop->opts.thread_limit.ns)
        loop->opts.thread_limit = bk_seconds(DEFAULT_THREAD_LIMIT_SECONDS);
    if (!loop->opts.on_error)
        loop->opts.on_error = bki_report_print;
    loop->virtual_clock = loop->opts.clock == BK_CLOCK_VIRTUAL ||
                          (loop->opts.clock == BK_CLOCK_DEFAULT && env_is("BECK_CLOCK", "virtual"));
}

/* Frees what bki_loop_open has made, however far it came. */
static void dismantle(struct bk_loop *loop)
{
    bki_stall_close(loop);
    bki_debug_close(loop);
    bki_signals_close(loop);
    bki_fault_close(loop);
    if (loop->backend)
        loop->backend->close(loop);
    bki_fd_table_free(loop);
    bki_stacks_close(&loop->stacks);
    bki_heap_free(&loop->timers);
    bki_loops_remove(loop);
    bki_loop = &bki_nowhere;
    bk_loop_free(&loop);
}

int bki_loop_open(struct bk_loop **out, const bk_run_opts *opts)
{
    if (bki_has_loop())
        return bk_fail(-EBUSY, "this thread has an event loop already");
    struct bk_loop *loop = bki_zalloc(sizeof *loop);
    if (!loop)
        return bk_fail(-ENOMEM, "no memory for an event loop");
    apply_opts(loop, opts);
    atomic_init(&loop->n_refs, 1);
    bki_list_init(&loop->at_end);
    bki_list_init(&loop->tasks);
    bki_list_init(&loop->ended);
    bki_list_init(&loop->turn.lines[BKI_TURN_USES]);
    bki_list_init(&loop->turn.lines[BKI_TURN_MAKES]);
    bki_intake_init(&loop->intake);
    loop->current = &loop->scheduler;
    loop->scheduler.loop = loop;
    loop->scheduler.cancel_frame = &loop->scheduler.cancel_root;
    loop->scheduler.cancel_root.pending = 1; /* see bki_tell_cancel */
    loop->next_task_id = 1;
    bki_stacks_open(&loop->stacks);
    loop->default_stacks = bki_stack_class_for(&loop->stacks, loop->opts.stack_size);
#ifdef BKI_TSAN
    loop->scheduler_tsan = __tsan_get_current_fiber();
#endif
    bki_fork_watch();
    bki_loop = loop;
    bki_loops_add(loop);
    bki_error_slot_hook_set(running_task_slot);
    int r = loop->default_stacks ? bki_backend_choose(loop)
                                 : bk_fail(-EINVAL, "stack_size is over the limit of 64 MiB");
    if (r == 0)
        r = bki_inbox_open(loop);
    if (r == 0)
        r = bki_fault_open(loop);
    if (r == 0)
        r = bki_signals_open(loop);
    if (r == 0)
        r = bki_debug_open(loop);
    if (r == 0)
        r = bki_stall_open(loop);
    loop->now_ns = bki_clock_ns(loop);
    if (r < 0) {
        dismantle(loop);
        return r;
    }
    *out = loop;
    return 0;
}

int bk_loop_new(bk_loop **out, const bk_run_opts *opts)
{
    int r = bki_loop_open(out, opts);
    if (r == 0)
        (*out)->handed_out = true;
    return r;
}

/* ---- Close ---- */

static bool all_done(struct bk_loop *loop)
{
    return loop->n_tasks == 0;
}

void bki_loop_report_deadlock(struct bk_loop *loop, const char *what)
{
    dprintf(STDERR_FILENO, "beck: %s\n", what);
    bki_dump_loop(loop, STDERR_FILENO);
}

static void cancel_all(struct bk_loop *loop)
{
    struct bki_list *next;
    for (struct bki_list *n = bki_list_first(&loop->tasks); n; n = next) {
        next = bki_list_next(&loop->tasks, n);
        bk_task_cancel(bki_container(n, struct bk_task, all_link));
    }
}

static int end_tasks(struct bk_loop *loop)
{
    loop->shutting_down = true;
    bki_inbox_refuse_tasks(loop);
    cancel_all(loop);
    loop->deadlocked = false;
    loop->running = true;
    bki_sched_run(loop, all_done);
    loop->running = false;
    if (!loop->deadlocked || all_done(loop))
        return loop->fatal;
    bki_loop_report_deadlock(loop, "tasks do not end although cancelled; they are abandoned:");
    return bk_fail(-EDEADLK, "tasks did not end although cancelled");
}

static void run_at_end(struct bk_loop *loop)
{
    struct bki_list *node;
    while ((node = bki_list_pop(&loop->at_end))) {
        struct bki_at_end *at_end = bki_container(node, struct bki_at_end, link);
        at_end->run(at_end, loop);
    }
}

/* What is in the ready queue still runs, and what that makes ready; calls whose time has not come
 * are dropped. */
static void end_calls(struct bk_loop *loop)
{
    loop->closing = true;
    bki_inbox_close(loop);
    struct bki_heap_node *node;
    loop->running = true;
    bki_sched_drain(loop);
    loop->running = false;
    while ((node = bki_heap_pop(&loop->timers)))
        bki_call_drop_timer(bki_container(node, struct bki_timer, node));
}

/* A stream blocked SIGPIPE: those that came meanwhile were errors of its writes, and no signals. */
static void unblock_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigtimedwait(&set, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int end(struct bk_loop *loop)
{
    int r = end_tasks(loop);
    run_at_end(loop);
    bki_pool_close(loop);
    end_calls(loop);
    bki_sched_part(loop);
    bki_task_report_ended(loop);
    bki_debug_report_leaks(loop);
    bki_locals_drop(&loop->scheduler);
    if (loop->sigpipe_blocked)
        unblock_sigpipe();
    dismantle(loop);
    return r;
}

int bk_loop_close(bk_loop **loop, int r)
{
    struct bk_loop *l = *loop;
    if (!l)
        return r;
    int ok = bki_loop_check(l);
    if (ok < 0)
        return ok;
    /* The detail of a failure in r is the caller's: what goes on in here must not change it. */
    char detail[BKI_ERROR_TEXT_SIZE];
    snprintf(detail, sizeof detail, "%s", bk_errmsg());
    int ended = end(l);
    *loop = NULL;
    if (r >= 0 && ended < 0)
        return ended;
    bki_error_slot_adopt(&(struct bki_error_slot){detail});
    return r;
}

/* ---- References ---- */

bk_loop *bk_loop_ref(bk_loop *loop)
{
    atomic_fetch_add_explicit(&loop->n_refs, 1, memory_order_relaxed);
    return loop;
}

void bk_loop_free(bk_loop **loop)
{
    struct bk_loop *l = *loop;
    *loop = NULL;
    if (!l || atomic_fetch_sub(&l->n_refs, 1) > 1)
        return;
    bki_inbox_free(l);
    bki_free(l);
}

/* ---- What it is asked and told ---- */

int bki_loop_check_thread(const struct bk_loop *loop)
{
    return loop == bki_loop ? 0 : bk_fail(-EPERM, "a loop belongs to the thread that made it");
}

int bki_loop_check(const struct bk_loop *loop)
{
    int r = bki_loop_check_thread(loop);
    return r == 0 && loop->running ? bk_fail(-EBUSY, "the loop is running") : r;
}

bk_loop *bk_loop_current(void)
{
    if (!bki_has_loop())
        return NULL;
    bki_loop->handed_out = true;
    return bki_loop;
}

bool bk_loop_is_running(const bk_loop *loop)
{
    return loop->running;
}

int bk_loop_set_on_error(bk_loop *loop, bk_error_fn *on_error, void *ctx)
{
    int r = bki_loop_check_thread(loop);
    if (r < 0)
        return r;
    loop->opts.on_error = on_error ? on_error : bki_report_print;
    loop->opts.on_error_ctx = ctx;
    return 0;
}

int bk_loop_call_on_error(bk_loop *loop, const bk_error_report *report)
{
    int r = bki_loop_check_thread(loop);
    if (r == 0)
        bki_report(report);
    return r;
}
