/* SPDX-License-Identifier: MIT
 * Tasks: start, wait, cancel; sleep, timeouts, shields.  Several at once: gather.h, group.h.
 *
 * Suspending: while a task waits in a beck call, the others run.  A call that has what it needs
 * returns at once, without letting others run (a queue with an item, a line already received); only
 * bk_yield and the sleeps always give way.  A loop that never has to wait yields now and then.
 * Outside of tasks (in calls of the loop, callbacks, on_error, and on threads without a loop) every
 * call that may suspend fails with -BK_ENOTASK and does nothing.
 *
 * Cancelling is level-triggered: once a task is cancelled, every suspending call in it returns
 * -ECANCELED until the task ends, the scope that cancelled it ends, or bk_uncancel says otherwise;
 * so a lost return code cannot swallow it.  Where a call has already taken something (an item,
 * bytes, a connection, a lock), it returns that, and the cancel shows at the next call.  Cleanup
 * that must wait runs inside bk_shield.
 *
 * Everything here is for the loop thread. */
#ifndef BECK_TASK_H
#define BECK_TASK_H

#include <beck/msg.h>
#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_task bk_task;

typedef struct bk_task_opts {
    const char *name;  /* cut at 31 bytes; default: see bk_task_name */
    size_t stack_size; /* default bk_run_opts.stack_size */
    /* Run it at once, inside the call that starts it, until it waits for the first time; it may be
     * done when that call returns.  Nobody else runs meanwhile.  (Outside tasks: as without.) */
    bool eager;
    /* Run it with these task-local values (local.h) instead of a copy of its starter's. */
    struct bk_context *context;
} bk_task_opts;

/* Starts fn(ctx) as a free-standing task.  It first runs at the caller's next suspension, after
 * tasks started before it (opts.eager: at once).  The run owns it: it cancels it when main ends,
 * and reports its failure if nobody sees it.  ctx must outlive the task: prefer a group, which
 * cannot outlive its function.
 * out: NULL, or filled with a handle to wait for and cancel the task.
 * Errors: -ENOMEM, -EAGAIN over bk_run_opts.max_tasks.  Does not suspend. */
BK_API int bk_go(bk_task **out, bk_fn *fn, void *ctx, const bk_task_opts *opts);

/* ---- Handles: all of them end with the run ---- */

/* One more handle of a task, also of a borrowed one.  Returns task. */
BK_API bk_task *bk_task_ref(bk_task *task);

/* Gives a handle back and empties *task; the task itself runs on.  NULL is fine. */
BK_API void bk_task_free(bk_task **task);

/* The same for n handles that lie in tasks[]: gives each back and empties its place.  NULLs among
 * them are fine.  Does not suspend. */
BK_API void bk_task_free_all(bk_task *tasks[], size_t n);

/* Suspends until task has ended, and puts its result into *result (NULL to drop it); its failure
 * counts as seen.  At once, without a suspension, when it has ended already. Returns 0; -ECANCELED
 * when the caller was cancelled meanwhile: the cancel was passed on to task, and task has ended
 * (its result is in *result all the same); -EDEADLK: a task waited for itself; -EPERM for a task
 * of another loop. */
BK_API int bk_task_wait(bk_task *task, int *result);

/* As bk_task_wait, but a cancel of the caller stops only the waiting: returns -ECANCELED at once,
 * the task runs on, *result is untouched.  asyncio.shield. */
BK_API int bk_task_wait_shielded(bk_task *task, int *result);

/* As bk_task_wait, but cancels task when it has not ended after limit, and waits until it has: it
 * may clean up, and the call takes that much longer.
 * Returns 0 when task ended by itself, also when it ended with something else than -ECANCELED after
 * it was cancelled; -ETIMEDOUT when it gave way (*result is -ECANCELED); -ECANCELED and -EDEADLK as
 * bk_task_wait.  A limit of zero or less: a task that has ended gives its result, any other is
 * cancelled.  asyncio.wait_for. */
BK_API int bk_task_wait_for(bk_task *task, int *result, bk_duration limit);

/* Asks task to stop: its suspending calls return -ECANCELED from now on.  A task that has not
 * started never runs its body.  Returns 1; 0 when it had already ended; -EPERM for a task of
 * another loop.  Does not suspend. */
BK_API int bk_task_cancel(bk_task *task);

/* It has ended. */
BK_API bool bk_task_done(const bk_task *task);
/* The result of a task that has ended, which counts as seen; -EINPROGRESS before. */
BK_API int bk_task_result(const bk_task *task);
/* It has ended because of a cancel: its result is -ECANCELED. */
BK_API bool bk_task_cancelled(const bk_task *task);
/* The detail text of a failed task, "" if none.  Valid while the handle is. */
BK_API const char *bk_task_errmsg(const bk_task *task);
/* By default one that no other task of the loop has: its body's function, where that is known, and
 * its number ("serve-7").  "" when there is no memory for it.  Valid until the next
 * bk_task_set_name; a name of NULL means the default. */
BK_API const char *bk_task_name(const bk_task *task);
BK_API void bk_task_set_name(bk_task *task, const char *name);
/* 1 for the main task, then counting up. */
BK_API uint64_t bk_task_id(const bk_task *task);

/* The running task, borrowed: valid until it ends (bk_task_ref keeps it).  NULL outside tasks. */
BK_API bk_task *bk_task_current(void);
/* Tasks alive on this loop, the running one included. */
BK_API size_t bk_task_count(void);
/* The same tasks, oldest first: puts a handle of each (bk_task_free them) into tasks, max at most.
 * Returns how many it put there.  Does not suspend.  asyncio.all_tasks. */
BK_API size_t bk_task_list(bk_task *tasks[], size_t max);

/* How many bk_task_cancel requests the running task has had, less those taken back.  What a timeout
 * or an aborting group does is not counted; it ends with its scope.  Inside bk_shield the requests
 * are held back but counted. */
BK_API int bk_cancelling(void);
/* The same of any task, also of one that has ended. */
BK_API int bk_task_cancelling(const bk_task *task);
/* Takes back one request; at zero, suspending calls work again.  Returns the number left. */
BK_API int bk_uncancel(void);

/* ---- Callbacks ---- */

/* Called by the loop, outside any task, once task has ended; task: borrowed for the call.  Must not
 * suspend.  A negative result goes to bk_run_opts.on_error. */
typedef int bk_task_done_fn(void *ctx, bk_task *task);

/* Calls fn(ctx, task) when task has ended, also when it has already; through the loop, like
 * bk_call_soon, in the order they were added.  It does not count as seeing a failure.  ctx must
 * live until then. Returns 0; -ENOMEM; -BK_ECLOSED when the loop is closing; -EPERM for a task of
 * another loop. */
BK_API int bk_task_add_done_callback(bk_task *task, bk_task_done_fn *fn, void *ctx);
/* Takes out every callback that was added with the same fn and ctx, and returns how many; none once
 * the task has ended, when they are on their way. */
BK_API int bk_task_remove_done_callback(bk_task *task, bk_task_done_fn *fn, void *ctx);

/* ---- Cleanup ---- */

/* Has fn(ctx) called when the running task ends: once its body has returned, for whatever reason,
 * and before anybody is told.  The last one added is called first.  It runs in the task, and may
 * suspend (in a cancelled task: inside bk_shield); ctx must outlive the body's frames.
 * Does not suspend.  Returns 0; -ENOMEM or -BK_ENOTASK, and fn(ctx) has been called already: so
 * that "bk_defer(free, p)" loses nothing.  As pthread_cleanup_push. */
BK_API int bk_defer(void (*fn)(void *ctx), void *ctx);
/* Takes the last one off again, and calls it if run.  0, -ENOENT when there is none, -BK_ENOTASK.
 * Suspends as that function does. */
BK_API int bk_defer_pop(bool run);

/* ---- Time ---- */

/* Suspends until every other ready task has run once.  Returns 0 or -ECANCELED. */
BK_API int bk_yield(void);
/* Suspends for a time, or until the moment `when`; zero or less, and a moment that has passed, are
 * bk_yield.  Returns 0, -ECANCELED or -ENOMEM. */
BK_API int bk_sleep(bk_duration duration);
BK_API int bk_sleep_until(bk_time when);
/* Suspends until cancelled: returns -ECANCELED. */
BK_API int bk_sleep_forever(void);

/* ---- Scopes ---- */

/* Runs fn(ctx) in the calling task with cancels from outside held back until it returns: for
 * cleanup that must wait.  Timeouts and groups opened inside work as ever.  Suspends as fn does.
 * Returns fn's result. */
BK_API int bk_shield(bk_fn *fn, void *ctx);

/* Runs fn(ctx) in the calling task, cancelling it (not its caller) when the limit has passed.
 * Suspends as fn does.
 * Returns fn's result, or -ETIMEDOUT when the time ran out and fn ended with -ECANCELED.
 * A fn that succeeds late, or fails with another error, keeps its result.  Zero or less: -ETIMEDOUT
 * and fn is not called. */
BK_API int bk_wait_for(bk_fn *fn, void *ctx, bk_duration limit);

/* The same as a scope in straight-line code:
 *
 *     bk_timeout *limit = NULL;
 *     int r = bk_timeout_open(&limit, bk_seconds(5));
 *     if (r == 0)
 *         r = talk_to_the_peer();
 *     return bk_timeout_close(&limit, r);
 *
 * Around a single call, whichever, it is two lines; what the call has taken in time is not lost:
 *
 *     if ((r = bk_timeout_open(&limit, bk_seconds(5))) == 0)
 *         r = bk_timeout_close(&limit, bk_queue_get(queue, &item));
 *
 * When it strikes, after limit or at the deadline, the task is cancelled until the scope is closed.
 * A limit of zero or less strikes at the next suspension; bk_forever() never does.  Scopes nest:
 * close them in reverse order, in the task that opened them.  When several have struck, the
 * outermost says -ETIMEDOUT.  Opening and closing does not suspend.  Errors: -ENOMEM; -EINVAL when
 * *out is not NULL (that scope is open already). */
typedef struct bk_timeout bk_timeout;
BK_API int bk_timeout_open(bk_timeout **out, bk_duration limit);
BK_API int bk_timeout_open_at(bk_timeout **out, bk_time deadline);
/* Moves the deadline.  -EINVAL when it has already struck. */
BK_API int bk_timeout_reschedule(bk_timeout *timeout, bk_time deadline);
BK_API bool bk_timeout_expired(const bk_timeout *timeout);
/* The deadline as it was set last. */
BK_API bk_time bk_timeout_when(const bk_timeout *timeout);
/* Ends the scope and empties *timeout; NULL is fine.  Returns r, but -ETIMEDOUT for an -ECANCELED
 * that this scope alone caused. */
BK_API int bk_timeout_close(bk_timeout **timeout, int r);

BK_END_DECLS
#endif
