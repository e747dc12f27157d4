/* SPDX-License-Identifier: MIT
 * Several at once: gather, race, wait, as_completed.
 *
 * bk_gather and bk_race run functions as tasks and wait for all of them: nothing of them is left
 * when they return.  The others wait for tasks that exist already, and leave those that have not
 * ended running.  Tasks given to them may be named twice, which counts once; their handles stay the
 * caller's.  Everything here is for the loop thread: tasks of another loop are refused, with
 * -EPERM.
 */
#ifndef BECK_GATHER_H
#define BECK_GATHER_H

#include <beck/errors.h>
#include <beck/task.h>

BK_BEGIN_DECLS

/* One piece of work for bk_gather or bk_race. */
typedef struct bk_call {
    bk_fn *fn;
    void *ctx;
    const char *name; /* NULL: the function's name */
    int result;       /* filled */
} bk_call;

typedef struct bk_gather_opts {
    bool collect;       /* a failure is a result like others: go on, return 0, look at each */
    bk_errors **errors; /* bk_gather: as bk_group_opts.errors */
} bk_gather_opts;

/* Runs every call as a task of its own, at the same time, and suspends until all have ended.
 * Results are in calls[i].result.  When one fails, the others are cancelled and waited for.
 * Returns 0; the first failure (with collect: 0 even then); -ECANCELED when the caller was
 * cancelled (so were the calls); -ENOMEM. */
BK_API int bk_gather(bk_call *calls, size_t n, const bk_gather_opts *opts);

/* Several ways to the same end: the first call that returns zero or more wins, and the others are
 * cancelled and waited for.  Starts the first call as a task, and each further one as soon as the
 * one before it has failed, or has not ended within delay (zero: all at once; bk_forever(): only
 * after a failure).  calls[i].result is -ECANCELED for those that were never started.  A loser may
 * have got through as well before its cancel reached it: its result is zero or more, and what it
 * made is the caller's to free.  Suspends until all have ended.
 * Returns the winner's index, also when the caller was cancelled meanwhile; else the failure that
 * came first, whose text is in bk_errmsg; -ECANCELED (so were the calls); -EINVAL when n is 0;
 * -ENOMEM.  asyncio: staggered_race. */
BK_API int bk_race(bk_call *calls, size_t n, bk_duration delay);

/* Suspends until all of these tasks have ended, or (without collect) one has failed, -ECANCELED
 * included: the others run on.  Look at bk_task_result of each afterwards.
 * Returns 0; the first failure, whose text is in bk_errmsg; -ECANCELED when the caller was
 * cancelled: then every task was cancelled too, and has ended (with collect as well); -ENOMEM.
 * asyncio.gather. */
BK_API int bk_gather_tasks(bk_task *const tasks[], size_t n, const bk_gather_opts *opts);

enum bk_wait_until { BK_ALL_COMPLETED, BK_FIRST_COMPLETED, BK_FIRST_ERROR };

/* Suspends until tasks have ended, without cancelling or failing with them: until all have, one
 * has, or one has failed (cancelled ones do not count), or the limit has passed (bk_forever() for
 * none).
 * Returns how many have ended, and bk_task_done tells which; -ECANCELED (the tasks run on); -EINVAL
 * when n is 0; -ENOMEM.  To see each once as they end, take bk_as_completed, or keep together what
 * is pending:
 *
 *     while (n > 0 && (r = bk_wait(tasks, n, BK_FIRST_COMPLETED, bk_forever())) > 0)
 *         for (size_t i = n; i-- > 0;)
 *             if (bk_task_done(tasks[i])) {
 *                 use(bk_task_result(tasks[i]));
 *                 bk_task_free(&tasks[i]);
 *                 tasks[i] = tasks[--n];
 *             }
 */
BK_API int bk_wait(bk_task *const tasks[], size_t n, enum bk_wait_until until, bk_duration limit);

/* Tasks one by one as they end:
 *
 *     bk_as_completed *ended = NULL;
 *     size_t i;
 *     int r = bk_as_completed_new(&ended, tasks, n, bk_seconds(10));
 *     while (r >= 0 && (r = bk_as_completed_next(ended, &i)) > 0)
 *         use(i, bk_task_result(tasks[i]));
 *     bk_as_completed_free(&ended);
 *
 * limit counts from here, for all of them together (bk_forever() for none).  tasks[] is read only
 * now.  Does not suspend.  Errors: -ENOMEM. */
typedef struct bk_as_completed bk_as_completed;
BK_API int bk_as_completed_new(bk_as_completed **out, bk_task *const tasks[], size_t n,
                               bk_duration limit);
/* Frees it and empties *completed; the tasks run on.  Whoever waits in next gets -BK_ECLOSED. */
BK_API void bk_as_completed_free(bk_as_completed **completed);
/* Suspends until the next task has ended, unless one has already, and puts its place in tasks[]
 * into *index.  Several tasks may call it: each ended task goes to one of them.
 * Returns 1; 0 when all have been told; -ETIMEDOUT when the limit has passed (the others are left
 * running, and never told); -ECANCELED (nothing is skipped: call it again); -BK_ECLOSED. */
BK_API int bk_as_completed_next(bk_as_completed *completed, size_t *index);

BK_END_DECLS
#endif
