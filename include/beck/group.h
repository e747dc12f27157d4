/* SPDX-License-Identifier: MIT
 * Groups: tasks that end before the function that opened the group returns.
 *
 *     bk_group *tasks = NULL;
 *     int r = bk_group_open(&tasks, &(bk_group_opts){.limit = 64});
 *     while (r == 0 && next_item(&item))
 *         r = bk_group_go(tasks, work, item, NULL);
 *     return bk_group_close(&tasks, r);
 *
 * When a child fails, the group aborts: the other children are cancelled, and so is the opener
 * until it closes the group, which then returns that first failure.  It aborts once what is
 * ready has run: others may fail as well.  A child that ends with -ECANCELED is not a failure.
 *
 * Everything here is for the loop thread, in a task; what may suspend says so. */
#ifndef BECK_GROUP_H
#define BECK_GROUP_H

#include <beck/errors.h>
#include <beck/task.h>

BK_BEGIN_DECLS

typedef struct bk_group bk_group;

/* The body of a task that owns a message: it may take *msg (and set it to NULL); what it leaves
 * there is freed when it returns. */
typedef int bk_msg_fn(void *ctx, bk_msg **msg);

typedef struct bk_group_opts {
    size_t limit;    /* most children at once, a further go suspends; default 1,024; BK_UNBOUNDED */
    bool keep_going; /* a failed child does not abort the group */
    const char *name; /* for bk_dump; cut at 31 bytes */
    /* Called for each child that failed, as it ends; must not suspend.  child: borrowed for the
     * call (bk_task_name, bk_task_errmsg). */
    void (*on_failure)(void *ctx, bk_task *child, int result);
    void *on_failure_ctx; /* passed to on_failure, borrowed */
    /* Where close puts the list of all failures, NULL when there were none: those of children in
     * the order in which they ended, the opener's own last.  *errors: NULL before, bk_errors_free
     * it.  A failure that neither this, nor on_failure, nor the result of close tells of goes to
     * bk_run_opts.on_error. */
    bk_errors **errors;
} bk_group_opts;

/* Opens a group in the calling task, which must close it.  Errors: -ENOMEM. */
BK_API int bk_group_open(bk_group **out, const bk_group_opts *opts);

/* Starts fn(ctx) as a child.  Suspends while the group is at its limit.  Any task may call it, also
 * a child; but when as many children as the limit wait here, none of them ends: recursion wants a
 * group without limit, or a queue and a few workers.
 * Returns 0; -ECANCELED when the caller or the group is cancelled; -ENOMEM; -EAGAIN (max_tasks);
 * -EPERM for a group of another loop. */
BK_API int bk_group_go(bk_group *group, bk_fn *fn, void *ctx, const bk_task_opts *opts);

/* Starts fn(ctx, &message) as a child that owns *msg; empties *msg on success, leaves it alone on
 * failure.  Otherwise as bk_group_go. */
BK_API int bk_group_go_msg(bk_group *group, bk_msg_fn *fn, void *ctx, bk_msg **msg);

/* As bk_group_go, with a handle (bk_task_free it) to wait for or cancel this child. */
BK_API int bk_group_go_task(bk_group *group, bk_task **out, bk_fn *fn, void *ctx,
                            const bk_task_opts *opts);

/* Starts fn(ctx) as a child and waits until it says that it is ready, by bk_started.  For a server
 * that must listen before its clients are started: what bk_started is given comes out in *value
 * (NULL to drop it).  Suspends also while the group is at its limit.
 * Returns 0: the child runs on; the child's failure when it ended before it was ready, which is
 * then no failure of the group; -EINVAL when it ended well without a word; otherwise as
 * bk_group_go.  -ECANCELED when the caller was cancelled: so was the child, and it has ended.
 * trio: nursery.start. */
BK_API int bk_group_start(bk_group *group, void **value, bk_fn *fn, void *ctx,
                          const bk_task_opts *opts);

/* Says that the running task is ready, to the bk_group_start that waits for it; nothing otherwise,
 * so that the same function can be started in other ways too.  Does not suspend. */
BK_API void bk_started(void *value);

/* Suspends until no child is left; the group stays open.  For any task that is not a child.
 * Returns 0 or -ECANCELED. */
BK_API int bk_group_wait(bk_group *group);

/* Calls the group off: cancels every child, and the opener until it closes the group; further go
 * calls fail with -ECANCELED.  That is a normal end, not a failure: close then returns 0, also for
 * an r of -ECANCELED, unless the opener is cancelled from outside as well.  Any task may call it,
 * several times. */
BK_API void bk_group_cancel(bk_group *group);

BK_API size_t bk_group_count(const bk_group *group);    /* children alive */
BK_API size_t bk_group_failures(const bk_group *group); /* children that failed so far */

/* Waits for all children (r < 0: cancels them first), frees the group and empties *group, in this
 * order.  Suspends until then even when the caller is cancelled, passing the cancel on to them.
 * r: how the caller's own work went.  NULL is fine: returns r.  Returns, the first that applies:
 *   with keep_going, an r below zero;
 *   whichever failed first, a child or the caller (an r other than -ECANCELED);
 *   -ECANCELED when the caller is cancelled from outside the group;
 *   r.
 * Any other task than the opener gets -EPERM, and nothing happens. */
BK_API int bk_group_close(bk_group **group, int r);

BK_END_DECLS
#endif
