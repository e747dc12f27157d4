/* SPDX-License-Identifier: MIT
 * The loop as an object, to run several times or to drive from another main loop; and calls: plain
 * functions that it runs between the steps of tasks.
 *
 * bk_run does for a program that has one main task.  A loop of one's own is for more than one run:
 *
 *     bk_loop *loop = NULL;
 *     int r = bk_loop_new(&loop, NULL);
 *     if (r == 0)
 *         r = bk_loop_run(loop, prepare, ctx);
 *     if (r >= 0)
 *         r = bk_loop_run(loop, work, ctx);    // tasks that prepare left behind go on meanwhile
 *     return bk_loop_close(&loop, r);
 *
 * A thread has one loop at a time.  From bk_loop_new to bk_loop_close everything that does not
 * suspend works in it, also while the loop does not run: starting tasks, making calls, setting
 * futures.  What they set off happens in the next run.
 *
 * A call is for the moment when something must happen a little later, and a task would be too much:
 * it has no stack, no name and nobody waits for it.  bk_task_current is NULL in it, and whatever
 * would suspend fails with -BK_ENOTASK; it may start tasks, wake them and make further calls.  A
 * call that returns a negative result is reported to on_error, and the loop goes on.
 *
 * Calls and the steps of tasks run in the order in which they became ready, one at a time. */
#ifndef BECK_LOOP_H
#define BECK_LOOP_H

#include <beck/task.h>

BK_BEGIN_DECLS

/* ---- Loops: for the thread that made them, but for the two that say otherwise ---- */

/* Makes an event loop for this thread, with the options of bk_run.  Close it: bk_loop_close.
 * Errors: -EBUSY when the thread has a loop already; -ENOMEM, -EINVAL, -ENOSYS as bk_run.
 * asyncio: new_event_loop, Runner. */
BK_API int bk_loop_new(bk_loop **out, const bk_run_opts *opts);

/* Runs main(ctx) as a task until it has ended, and everything else that is ready meanwhile or then.
 * What it leaves behind stays and goes on in the next run.  Signals are taken as
 * bk_run_opts.no_signals says while it runs.  When nothing can happen it waits for other threads,
 * where bk_run would report a deadlock: they may know the loop.
 * Returns main's result, or:
 * -BK_EINTERRUPTED  a signal cancelled main, and it ended with -ECANCELED
 * -EINPROGRESS      bk_loop_stop came before main had ended; it stays, too
 * -ENOMEM, -EAGAIN  main could not be started
 * -EBUSY            the loop is running
 * -EPERM            another thread's loop.
 * asyncio: Runner.run. */
BK_API int bk_loop_run(bk_loop *loop, bk_fn *main, void *ctx);

/* Runs until task, one of this loop's, has ended; its result, which counts as seen, goes to *result
 * (NULL to drop it).  A signal cancels task.
 * Returns 0; -BK_EINTERRUPTED (*result is -ECANCELED); or an error as bk_loop_run.
 * asyncio: loop.run_until_complete. */
BK_API int bk_loop_run_until_complete(bk_loop *loop, bk_task *task, int *result);

/* Runs until bk_loop_stop, waiting for what other threads may send when there is nothing to do.
 * Returns 0; -BK_EINTERRUPTED when a signal stopped it; or an error as bk_loop_run.
 * asyncio: loop.run_forever. */
BK_API int bk_loop_run_forever(bk_loop *loop);

/* Ends the present run once everything that is ready now has run; what becomes ready later waits
 * for the next run.  When the loop is not running, the next run looks at the clock and at what has
 * arrived once, without waiting, runs what is ready, and ends.
 * Returns 0, or -EPERM on another thread (bk_call_soon_threadsafe it).  asyncio: loop.stop. */
BK_API int bk_loop_stop(bk_loop *loop);

/* It is inside one of the run calls, or a turn. */
BK_API bool bk_loop_is_running(const bk_loop *loop);

/* Ends the loop as bk_run does, in this order: cancels all tasks and waits for them; waits for
 * functions on threads (bk_run_opts.thread_limit); runs the calls that are due; tells on_error of
 * failures nobody saw; closes and empties *loop.  Handles of tasks end with it.
 * r: how things went.  NULL is fine: returns r.
 * Returns r when it is below zero; -EDEADLK when tasks did not end although cancelled (a report
 * went to stderr); -EBUSY while the loop runs and -EPERM on another thread, where it does nothing;
 * r. */
BK_API int bk_loop_close(bk_loop **loop, int r);

/* A further reference, for another thread: what that thread posts is refused once the loop has
 * closed, and the memory stays until the last reference is given back by bk_loop_free (which
 * empties *loop, and takes NULL).  Returns loop.  Any thread that holds a reference. */
BK_API bk_loop *bk_loop_ref(bk_loop *loop);
BK_API void bk_loop_free(bk_loop **loop);

/* ---- Failures that nobody saw ---- */

/* Hears of failures: as bk_run_opts.on_error. */
typedef void bk_error_fn(void *ctx, const bk_error_report *report);

/* Replaces bk_run_opts.on_error from now on.  NULL: one line on stderr.  Also in a run, and inside
 * the handler.  Returns 0, or -EPERM on another thread.  asyncio: loop.set_exception_handler. */
BK_API int bk_loop_set_on_error(bk_loop *loop, bk_error_fn *on_error, void *ctx);

/* Calls the handler: for a program's own failures that nobody is there to see.  Texts may be NULL.
 * Returns 0, or -EPERM on another thread.  asyncio: loop.call_exception_handler. */
BK_API int bk_loop_call_on_error(bk_loop *loop, const bk_error_report *report);

/* ---- As the guest of another main loop ----
 *
 * A program that has a main loop already (a toolkit's, a game's) drives this one from there:
 *
 *     struct pollfd fds[] = {{.fd = bk_loop_fd(loop), .events = POLLIN}, ...};
 *     poll(fds, n, bk_poll_ms(bk_loop_timeout(loop)));
 *     bk_loop_turn(loop);
 *
 * The host may start tasks, make calls and set futures between turns; it asks for the timeout after
 * that.  Signals are left to the host.  asyncio: guest mode. */

/* A descriptor that is readable (POLLIN) when a turn has something to do before the timeout.  The
 * same one each time, and the loop's: only to be polled.  An error: -EMFILE, -ENOMEM, -EPERM on
 * another thread. */
BK_API int bk_loop_fd(bk_loop *loop);

/* How long the host may wait: until the next deadline, bk_forever() when there is none, zero when
 * something is ready.  Submits what the loop has to ask of the kernel, so it comes last before the
 * host's wait.  bk_forever(), too, on another thread and while the loop runs. */
BK_API bk_duration bk_loop_timeout(bk_loop *loop);

/* Takes what has arrived, fires what is due, and runs what is ready, some hundred steps at most.
 * Never waits.
 * Returns 1; 0 when no task and no call is left; -EBUSY when the loop is running; -EPERM on another
 * thread; the error that keeps the loop from going on. */
BK_API int bk_loop_turn(bk_loop *loop);

/* ---- Calls ---- */

/* A call that may still be called off. */
typedef struct bk_handle bk_handle;

/* Runs fn(ctx) after everything that is ready now; never at once.  ctx must live until then.
 * out: NULL, or filled with a handle (bk_handle_free it); the call runs whether it is kept or not.
 * Returns 0; -ENOMEM; -EINVAL on a thread without a loop; -BK_ECLOSED when the loop is closing.
 * Does not suspend.  asyncio: loop.call_soon. */
BK_API int bk_call_soon(bk_handle **out, bk_fn *fn, void *ctx);

/* The same once a time (delay, or the moment `when`) has passed on the loop's clock, never early;
 * zero or less: after what is ready now.  Calls for the same instant run in the order they were
 * made, and before tasks that wake in that instant.  Those whose time has not come when the loop
 * closes are dropped. Errors: as bk_call_soon, and -EINVAL for bk_forever().  asyncio:
 * loop.call_later, call_at. */
BK_API int bk_call_later(bk_handle **out, bk_duration delay, bk_fn *fn, void *ctx);
BK_API int bk_call_at(bk_handle **out, bk_time when, bk_fn *fn, void *ctx);

/* bk_call_soon for any thread, which wakes a loop that is asleep.  Never blocks; calls from one
 * thread run in order.  loop: from bk_loop_current, and not freed yet.
 * Returns 0: fn will run, also when the loop is about to close; -BK_ECLOSED: it is closed, fn will
 * not run; -ENOMEM.  asyncio: loop.call_soon_threadsafe. */
BK_API int bk_call_soon_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx);

/* ---- Handles: for the loop's thread ---- */

/* Calls it off: fn will not run, and ctx is free to go.  Returns 1, or 0 when it has run, runs just
 * now, or was called off before. */
BK_API int bk_handle_cancel(bk_handle *handle);

/* True after bk_handle_cancel returned 1, and when the loop closed before its time came. */
BK_API bool bk_handle_cancelled(const bk_handle *handle);

/* When a call of bk_call_later or bk_call_at is due; for bk_call_soon when it was made. */
BK_API bk_time bk_handle_when(const bk_handle *handle);

/* Gives the handle back and empties *handle, before, inside or after the call; also when the loop
 * is closed.  The call itself is not touched.  NULL is fine. */
BK_API void bk_handle_free(bk_handle **handle);

BK_END_DECLS
#endif
