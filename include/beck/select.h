/* SPDX-License-Identifier: MIT
 * Waiting for the first of several things: queues, channels, events, futures, tasks, a time limit.
 *
 *     void *job;
 *     bk_case cases[] = {
 *         bk_case_get(jobs, &job),
 *         bk_case_event(stop),
 *         bk_case_sleep(bk_seconds(30)),
 *     };
 *     switch (bk_select(cases, 3)) {
 *     case 0:
 *         return cases[0].result == 1 ? work(job) : 0;  // 0: the queue was closed
 *     case 1:
 *         return 0;
 *     case 2:
 *         return say("nothing to do");
 *     default:
 *         return -ECANCELED;
 *     }
 *
 * Making a case does nothing yet, and never suspends.  Everything here is for the loop thread. */
#ifndef BECK_SELECT_H
#define BECK_SELECT_H

#include <beck/channel.h>
#include <beck/future.h>
#include <beck/queue.h>
#include <beck/sync.h>
#include <beck/task.h>

BK_BEGIN_DECLS

/* One thing that may happen.  Made by the functions below, kept where the caller likes, used again
 * as often as the caller likes (and changed in between: cases[1] = bk_case_put(queue, next)).  A
 * case whose object is NULL never happens, which is a way to leave one out. */
typedef struct bk_case {
    const struct bki_case_kind *kind; /* private, like all but result */
    void *object;
    void *slot;
    int64_t time_ns;
    int result; /* of the case that happened: what the call by itself would have returned */
} bk_case;

/* bk_queue_get: 1 and *item, 0 closed and drained, -BK_ECLOSED. */
BK_API bk_case bk_case_get(bk_queue *queue, void **item);
/* bk_queue_put of item: 0, -BK_ECLOSED, -ENOMEM. */
BK_API bk_case bk_case_put(bk_queue *queue, void *item);
/* bk_channel_recv: 1 and *msg (NULL before), 0 closed and drained. */
BK_API bk_case bk_case_recv(bk_channel *channel, bk_msg **msg);
/* bk_channel_send: 0 and *msg is emptied; else it is still yours: -BK_ECLOSED, -ENOMEM, -EINVAL. */
BK_API bk_case bk_case_send(bk_channel *channel, bk_msg **msg);
/* bk_event_wait: 0, -BK_ECLOSED. */
BK_API bk_case bk_case_event(bk_event *event);
/* The future is settled or cancelled: 0, and bk_future_get says how; -BK_ECLOSED when freed. */
BK_API bk_case bk_case_future(bk_future *future);
/* The task has ended: 0, and bk_task_result says how. */
BK_API bk_case bk_case_task(bk_task *task);
/* A time has passed since the call of bk_select: 0.  bk_forever() never does. */
BK_API bk_case bk_case_sleep(bk_duration duration);
/* The moment `when` of the loop's clock has come: 0. */
BK_API bk_case bk_case_sleep_until(bk_time when);

/* Suspends until one of the cases can happen, and lets it: exactly one does, and the others are as
 * if nobody had asked.  Of several that could happen each has the same chance.
 * Returns its index, and its outcome in cases[index].result.  Errors, and then nothing has
 * happened: -ECANCELED; -EINVAL when n is 0; -BK_ENOTASK; -EPERM when an object belongs to
 * another loop; -ENOMEM, with time limits or more than 8 cases.  A case that took something (an
 * item, a message) wins over a cancel that comes after it, before the caller runs again; the cancel
 * shows at the next call. */
BK_API int bk_select(bk_case *cases, size_t n);

/* The same without waiting: -EAGAIN when nothing can happen now.  Never suspends, and looks at no
 * cancel; also for threads without a loop, where the objects allow it. */
BK_API int bk_try_select(bk_case *cases, size_t n);

BK_END_DECLS
#endif
