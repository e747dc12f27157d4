/* SPDX-License-Identifier: MIT
 * bk_run: sets a loop up, runs it, ends it in order. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/call.h"
#include "rt/choose.h"
#include "rt/dump.h"
#include "rt/fault.h"
#include "rt/fd.h"
#include "rt/owner.h"
#include "rt/report.h"
#include "rt/sched.h"

#define DEFAULT_STACK ((size_t)64 * 1024)
#define DEFAULT_MAX_TASKS ((size_t)4000000)

bk_loop *bk_loop_current(void)
{
    if (!bki_has_loop())
        return NULL;
    bki_loop->handed_out = true;
    return bki_loop;
}

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
    if (!loop->opts.on_error)
        loop->opts.on_error = bki_report_print;
    loop->virtual_clock = loop->opts.clock == BK_CLOCK_VIRTUAL ||
                          (loop->opts.clock == BK_CLOCK_DEFAULT && env_is("BECK_CLOCK", "virtual"));
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

/* What is in the ready queue still runs, and what that makes ready; calls whose time has not come
 * are dropped. */
static void end_calls(struct bk_loop *loop)
{
    struct bki_heap_node *node;
    bki_sched_drain(loop);
    while ((node = bki_heap_pop(&loop->timers)))
        bki_call_drop_timer(bki_container(node, struct bki_timer, node));
}

static void run_at_end(struct bk_loop *loop)
{
    struct bki_list *node;
    while ((node = bki_list_pop(&loop->at_end))) {
        struct bki_at_end *at_end = bki_container(node, struct bki_at_end, link);
        at_end->run(at_end, loop);
    }
}

static void loop_close(struct bk_loop *loop)
{
    run_at_end(loop);
    if (loop->sigpipe_blocked)
        unblock_sigpipe();
    loop->closing = true;
    bki_inbox_close(loop);
    end_calls(loop);
    bki_signals_close(loop);
    bki_fault_close(loop);
    if (loop->backend)
        loop->backend->close(loop);
    bki_fd_table_free(loop);
    bki_stacks_close(&loop->stacks);
    bki_heap_free(&loop->timers);
    bki_inbox_free(loop);
    bki_loops_remove(loop);
    bki_loop = &bki_nowhere;
    bki_free(loop);
}

static int loop_open(struct bk_loop **out, const bk_run_opts *opts)
{
    struct bk_loop *loop = bki_zalloc(sizeof *loop);
    if (!loop)
        return bk_fail(-ENOMEM, "no memory for an event loop");
    apply_opts(loop, opts);
    bki_list_init(&loop->at_end);
    bki_list_init(&loop->tasks);
    bki_list_init(&loop->ended);
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
    loop->now_ns = bki_clock_ns(loop);
    if (r < 0) {
        loop_close(loop);
        return r;
    }
    *out = loop;
    return 0;
}

static bool main_done(struct bk_loop *loop)
{
    return loop->main_task->state == BKI_DONE;
}

static bool all_done(struct bk_loop *loop)
{
    return loop->n_tasks == 0;
}

static void report_deadlock(struct bk_loop *loop, const char *what)
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

/* Runs main to its end, then everything it left.  Returns 0, or the error that ended the loop
 * before that. */
static int run_to_the_end(struct bk_loop *loop)
{
    int r = 0;
    bki_sched_run(loop, main_done);
    if (loop->deadlocked && !main_done(loop)) {
        report_deadlock(loop, "every task waits for something that cannot happen; the run ends:");
        r = -EDEADLK;
    }
    loop->deadlocked = false;
    loop->shutting_down = true;
    bki_inbox_refuse_tasks(loop);
    cancel_all(loop);
    bki_sched_run(loop, all_done);
    if (loop->deadlocked && !all_done(loop)) {
        report_deadlock(loop, "tasks do not end although cancelled; they are abandoned:");
        r = -EDEADLK;
    }
    return loop->fatal < 0 ? loop->fatal : r;
}

static int main_result(struct bk_loop *loop, int r)
{
    if (r < 0)
        return bk_fail(r, r == -EDEADLK ? "every task waited for something that cannot happen"
                                        : "the event loop failed");
    r = loop->main_task->result;
    loop->main_task->was_observed = true;
    if (r < 0)
        bki_error_slot_adopt(&loop->main_task->error);
    if (r == -ECANCELED && loop->signal_seen)
        return bk_fail(-BK_EINTERRUPTED, "stopped by SIG%s", sigabbrev_np(loop->signal_seen));
    return r;
}

int bk_run(bk_fn *main, void *ctx, const bk_run_opts *opts)
{
    if (bki_has_loop())
        return bk_fail(-EBUSY, "an event loop already runs in this thread");
    bki_error_slot_clear();
    struct bk_loop *loop = NULL;
    int r = loop_open(&loop, opts);
    if (r < 0)
        return r;
    struct bki_task_spec spec = {.fn = main,
                                 .ctx = ctx,
                                 .opts = &(bk_task_opts){.name = "main"},
                                 .site = __builtin_return_address(0)};
    r = bki_task_start(&loop->main_task, &spec);
    if (r < 0) {
        loop_close(loop);
        return r;
    }
    r = run_to_the_end(loop);
    bki_pool_close(loop);
    r = main_result(loop, r);
    bki_task_report_ended(loop);
    if (loop->main_task->state == BKI_DONE)
        bki_task_unref(loop->main_task);
    loop_close(loop);
    return r;
}
