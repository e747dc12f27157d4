/* SPDX-License-Identifier: MIT
 * Running a loop: until a task has ended, until it is stopped, and bk_run on top of both. */
#include <string.h>

#include <beck/loop.h>

#include "base/alloc.h"
#include "rt/fork.h"
#include "rt/loop.h"
#include "rt/sched.h"

/* What is ready as the main task ends still has its step: end_task has put the stop behind it. */
static bool is_over(struct bk_loop *loop)
{
    return loop->stopped ||
           (loop->main_task && loop->main_task->state == BKI_DONE && !loop->stop_queued);
}

/* until: NULL: for ever. */
static int run(struct bk_loop *loop, bk_task *until)
{
    loop->main_task = until;
    loop->forever = !until;
    loop->stopped = loop->deadlocked = false;
    loop->signal_seen = 0;
    loop->running = true;
    bool signals_are_mine = bki_signals_begin(loop);
    bki_sched_run(loop, is_over);
    if (signals_are_mine)
        bki_signals_end(loop);
    loop->running = loop->forever = false;
    bki_sched_unstop(loop);
    bool over = is_over(loop);
    loop->main_task = NULL;
    if (over)
        return 0;
    if (loop->fatal < 0)
        return bk_fail(loop->fatal, "the event loop failed");
    bki_loop_report_deadlock(loop,
                             "every task waits for something that cannot happen; the run ends:");
    return bk_fail(-EDEADLK, "every task waited for something that cannot happen");
}

static int interrupted(struct bk_loop *loop)
{
    return bk_fail(-BK_EINTERRUPTED, "stopped by SIG%s", sigabbrev_np(loop->signal_seen));
}

static int run_until(struct bk_loop *loop, bk_task *task, int *result)
{
    int r = run(loop, task);
    if (r < 0)
        return r;
    if (task->state != BKI_DONE)
        return bk_fail(-EINPROGRESS, "the loop was stopped before the task had ended");
    *result = bk_task_result(task);
    if (*result < 0)
        bki_error_slot_adopt(&task->error);
    /* When somebody else wanted it cancelled, too, that is how it ended. */
    bool by_signal = loop->signal_seen && task->n_cancel <= 1;
    return *result == -ECANCELED && by_signal ? interrupted(loop) : 0;
}

static int run_main(struct bk_loop *loop, bk_fn *fn, void *ctx, const void *site)
{
    bk_task *main = NULL;
    struct bki_task_spec spec = {
        .fn = fn, .ctx = ctx, .opts = &(bk_task_opts){.name = "main"}, .site = site};
    bki_error_slot_clear();
    int result = 0, r = bki_task_start(&main, &spec);
    if (r < 0)
        return r;
    r = run_until(loop, main, &result);
    bki_task_unref(main);
    return r < 0 ? r : result;
}

int bk_run(bk_fn *main, void *ctx, const bk_run_opts *opts)
{
    struct bk_loop *loop = NULL;
    int r = bki_loop_open(&loop, opts);
    if (r < 0)
        return r;
    bki_signals_begin(loop); /* until the loop is closed */
    r = run_main(loop, main, ctx, __builtin_return_address(0));
    if (loop->forked)
        return bki_fail_forked();
    return bk_loop_close(&loop, r);
}

int bk_loop_run(bk_loop *loop, bk_fn *main, void *ctx)
{
    int r = bki_loop_check(loop);
    return r < 0 ? r : run_main(loop, main, ctx, __builtin_return_address(0));
}

int bk_loop_run_until_complete(bk_loop *loop, bk_task *task, int *result)
{
    int ended = 0, r = bki_loop_check(loop);
    if (r < 0)
        return r;
    bk_task_ref(task); /* its handle may be freed in the run */
    r = run_until(loop, task, &ended);
    bki_task_unref(task);
    if (result && (r == 0 || r == -BK_EINTERRUPTED))
        *result = ended;
    return r;
}

int bk_loop_run_forever(bk_loop *loop)
{
    int r = bki_loop_check(loop);
    if (r == 0)
        r = run(loop, NULL);
    return r == 0 && loop->signal_seen ? interrupted(loop) : r;
}

int bk_loop_stop(bk_loop *loop)
{
    int r = bki_loop_check_thread(loop);
    if (r == 0)
        bki_sched_stop(loop);
    return r;
}
