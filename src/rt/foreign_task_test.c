/* SPDX-License-Identifier: MIT
 * Tasks, groups and iterators of one loop in the hands of another: refused, and nothing is harmed.
 * And cancels that go on to a task that has refused one. */
#include <pthread.h>

#include <beck/error.h>
#include <beck/group.h>
#include <beck/thread.h>

#include "tests/run_helper.h"

struct all {
    bk_task *task;
    bk_group *group;
    bk_as_completed *ended;
    int n_wrong, n_reports;
};

static void want(struct all *all, const char *what, int r)
{
    if (r == -EPERM)
        return;
    fprintf(stderr, "%s: %d, want -EPERM\n", what, r);
    all->n_wrong++;
}

static int nap(void *ctx)
{
    int r = bk_sleep(bk_ms(5));
    return r < 0 ? r : (int)(intptr_t)ctx;
}

#define WANT(call) want(all, #call, call)

static int meddle(void *ctx)
{
    struct all *all = ctx;
    bk_task *task = all->task;
    bk_group *group = all->group;
    bk_as_completed *ended = NULL;
    int result = 0;
    size_t i;
    WANT(bk_task_cancel(task));
    WANT(bk_task_wait(task, &result));
    WANT(bk_task_wait_shielded(task, &result));
    WANT(bk_task_wait_for(task, &result, bk_ms(1)));
    WANT(bk_wait(&task, 1, BK_ALL_COMPLETED, bk_forever()));
    WANT(bk_gather_tasks(&task, 1, NULL));
    WANT(bk_as_completed_new(&ended, &task, 1, bk_forever()));
    WANT(bk_as_completed_next(all->ended, &i));
    WANT(bk_group_go(group, nap, NULL, NULL));
    WANT(bk_group_start(group, NULL, nap, NULL, NULL));
    WANT(bk_group_wait(group));
    WANT(bk_group_close(&group, 0));
    bk_group_cancel(group);
    ended = all->ended;
    bk_as_completed_free(&ended);
    return bk_yield();
}

static void count_report(void *ctx, const bk_error_report *report)
{
    struct all *all = ctx;
    all->n_reports += report->result == -EPERM;
}

static int run_another_loop(void *ctx)
{
    struct all *all = ctx;
    return bk_run(meddle, all, &(bk_run_opts){.on_error = count_report, .on_error_ctx = all});
}

LOOP_TEST(N5_tasks_and_groups_of_another_loop_are_refused)
{
    struct all all = {.task = start(nap, (void *)7)};
    size_t i = 9;
    CHECK_EQ(bk_group_open(&all.group, NULL), 0);
    CHECK_EQ(bk_group_go(all.group, nap, NULL, NULL), 0);
    CHECK_EQ(bk_as_completed_new(&all.ended, &all.task, 1, bk_forever()), 0);
    CHECK_EQ(bk_to_thread(run_another_loop, &all, NULL), 0);
    CHECK_EQ(all.n_wrong, 0);
    CHECK_EQ(all.n_reports, 2);
    CHECK_EQ(bk_as_completed_next(all.ended, &i), 1);
    CHECK_EQ(i, 0);
    bk_as_completed_free(&all.ended);
    CHECK_EQ(bk_group_close(&all.group, 0), 0);
    CHECK_EQ(finish(&all.task), 7);
}

static int close_it(void *ctx)
{
    return bk_group_close(ctx, 0);
}

LOOP_TEST(a_group_is_closed_by_its_opener_alone)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    bk_task *task = start(close_it, &group);
    CHECK_EQ(finish(&task), -EPERM);
    CHECK_STR(bk_errmsg(), "a group is closed by the task that opened it");
    CHECK_EQ(bk_group_close(&group, 0), 0);
}

/* ---- A task that refuses its first cancel ---- */

static int refuse_once(void *ctx)
{
    (void)ctx;
    if (bk_sleep(bk_seconds(1)) == -ECANCELED) {
        trace("refused");
        bk_uncancel();
    }
    int r = bk_sleep(bk_seconds(1));
    trace("%s", r == 0 ? "slept" : "gave in");
    return r;
}

static int wait_for_it(void *ctx)
{
    return bk_task_wait(ctx, NULL);
}

static int gather_it(void *ctx)
{
    bk_task *task = ctx;
    return bk_gather_tasks(&task, 1, NULL);
}

static void cancel_twice(bk_fn *waiter)
{
    trace_reset();
    bk_task *inner = start(refuse_once, NULL), *outer = start(waiter, inner);
    let_run(2);
    bk_task_cancel(outer);
    bk_sleep(bk_ms(10));
    CHECK(!bk_task_done(outer)); /* it waits for what it has cancelled */
    bk_task_cancel(outer);
    CHECK_EQ(finish(&outer), -ECANCELED);
    CHECK(bk_task_cancelled(inner));
    CHECK_STR(trace_text(), "refused gave in");
    bk_task_free(&inner);
}

LOOP_TEST(T3_a_task_that_refused_a_cancel_can_be_cancelled_again_through_its_waiter)
{
    cancel_twice(wait_for_it);
}

LOOP_TEST(T9_so_it_can_through_a_gather)
{
    cancel_twice(gather_it);
}

CHECK_MAIN(TEST(N5_tasks_and_groups_of_another_loop_are_refused),
           TEST(a_group_is_closed_by_its_opener_alone),
           TEST(T3_a_task_that_refused_a_cancel_can_be_cancelled_again_through_its_waiter),
           TEST(T9_so_it_can_through_a_gather))
