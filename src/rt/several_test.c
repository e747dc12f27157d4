/* SPDX-License-Identifier: MIT
 * Waiting for several tasks that exist already: wait, gather_tasks, as_completed. */

#include <beck/error.h>
#include <beck/loop.h>

#include "tests/run_helper.h"

/* A task that sleeps for its number of milliseconds and returns it. */
static int nap(void *ctx)
{
    int ms = (int)(intptr_t)ctx;
    int r = bk_sleep(bk_ms(ms));
    trace(r == 0 ? "%d" : "x%d", ms);
    return r < 0 ? r : ms;
}

static int fail_after(void *ctx)
{
    int ms = (int)(intptr_t)ctx;
    int r = bk_sleep(bk_ms(ms));
    return r < 0 ? r : bk_fail(-EIO, "failed after %d ms", ms);
}

static bk_task *nap_for(int ms)
{
    return start(nap, (void *)(intptr_t)ms);
}

static bk_task *fail_in(int ms)
{
    return start(fail_after, (void *)(intptr_t)ms);
}

static int64_t now_ms(void)
{
    return bk_now().ns / 1000000;
}

/* Ends what still runs. */
static void stop_all(bk_task *tasks[], int n)
{
    for (int i = 0; i < n; i++) {
        bk_task_cancel(tasks[i]);
        finish(&tasks[i]);
    }
}

/* ---- wait ---- */

LOOP_TEST(C059_T10_wait_until_first_completed_first_error_all)
{
    bk_task *t[4] = {nap_for(10), fail_in(20), nap_for(30), nap_for(40)};
    CHECK_EQ(bk_wait(t, 4, BK_FIRST_COMPLETED, bk_forever()), 1);
    CHECK(bk_task_done(t[0]) && !bk_task_done(t[1]));
    CHECK_EQ(bk_wait(t, 4, BK_FIRST_ERROR, bk_forever()), 2);
    CHECK(bk_task_done(t[1]) && !bk_task_done(t[2]));
    CHECK_EQ(bk_wait(t, 4, BK_ALL_COMPLETED, bk_forever()), 4);
    CHECK_EQ(now_ms(), 40);
    CHECK_EQ(bk_task_result(t[1]), -EIO);
    CHECK_EQ(bk_task_result(t[3]), 40);
    bk_task_free_all(t, 4);
}

LOOP_TEST(T10_several_may_have_ended_at_once)
{
    bk_task *t[3] = {nap_for(10), nap_for(10), nap_for(20)};
    CHECK_EQ(bk_wait(t, 3, BK_FIRST_COMPLETED, bk_forever()), 2);
    CHECK_EQ(bk_wait(t, 3, BK_FIRST_COMPLETED, bk_forever()), 2); /* at once */
    CHECK_EQ(now_ms(), 10);
    stop_all(t, 3);
}

LOOP_TEST(T10_a_cancelled_task_is_no_error)
{
    bk_task *t[3] = {nap_for(9000), fail_in(20), nap_for(30)};
    let_run(1);
    bk_task_cancel(t[0]);
    CHECK_EQ(bk_wait(t, 3, BK_FIRST_ERROR, bk_forever()), 2);
    CHECK_EQ(now_ms(), 20);
    CHECK_EQ(bk_wait(t, 1, BK_FIRST_ERROR, bk_forever()), 1); /* none is left that could fail */
    bk_task_result(t[1]);
    stop_all(t, 3);
}

LOOP_TEST(C060_T10_a_limit_cancels_nobody_and_is_no_error)
{
    bk_task *t[2] = {nap_for(10), nap_for(30)};
    CHECK_EQ(bk_wait(t, 2, BK_ALL_COMPLETED, bk_ms(20)), 1);
    CHECK_EQ(now_ms(), 20);
    CHECK(!bk_task_done(t[1]));
    CHECK_EQ(bk_wait(&t[1], 1, BK_ALL_COMPLETED, bk_ms(0)), 0);
    CHECK_EQ(finish(&t[1]), 30);
    bk_task_free(&t[0]);
}

LOOP_TEST(C061_T10_no_tasks_are_an_error_and_twins_count_once)
{
    CHECK_EQ(bk_wait(NULL, 0, BK_ALL_COMPLETED, bk_forever()), -EINVAL);
    CHECK_STR(bk_errmsg(), "bk_wait for no tasks");
    bk_task *task = nap_for(10), *other = nap_for(20);
    bk_task *t[4] = {task, task, other, task};
    CHECK_EQ(bk_wait(t, 4, BK_FIRST_COMPLETED, bk_forever()), 1);
    CHECK_EQ(bk_wait(t, 4, BK_ALL_COMPLETED, bk_forever()), 2);
    bk_task_free(&task);
    bk_task_free(&other);
}

struct crew {
    bk_task *tasks[3];
    int n;
    bool collect;
};

static int wait_for_crew(void *ctx)
{
    struct crew *c = ctx;
    return bk_wait(c->tasks, (size_t)c->n, BK_ALL_COMPLETED, bk_forever());
}

LOOP_TEST(C062_T10_a_cancelled_wait_leaves_the_tasks_alone)
{
    struct crew c = {{nap_for(10), nap_for(20)}, 2, false};
    bk_task *waiter = start(wait_for_crew, &c);
    let_run(2);
    bk_task_cancel(waiter);
    CHECK_EQ(finish(&waiter), -ECANCELED);
    CHECK_EQ(finish(&c.tasks[0]), 10);
    CHECK_EQ(finish(&c.tasks[1]), 20);
}

static int free_a_handle(void *ctx)
{
    bk_task_free(ctx);
    return 0;
}

LOOP_TEST(a_handle_may_be_freed_while_others_wait)
{
    bk_task *t[2] = {nap_for(10), nap_for(20)};
    bk_task *freeing = start(free_a_handle, &t[0]);
    struct crew c = {{t[0], t[1]}, 2, false};
    bk_as_completed *ended = NULL;
    size_t i = 9;
    CHECK_EQ(bk_as_completed_new(&ended, c.tasks, 2, bk_forever()), 0);
    CHECK_EQ(wait_for_crew(&c), 2);
    CHECK(t[0] == NULL);
    CHECK_EQ(bk_as_completed_next(ended, &i), 1);
    CHECK_EQ(i, 0);
    bk_as_completed_free(&ended);
    bk_task_free(&t[1]);
    CHECK_EQ(finish(&freeing), 0);
}

/* Each end costs the same, however many are waited for. */
LOOP_TEST(thousands_of_tasks_are_waited_for_at_once)
{
    enum { N = 5000 };
    static bk_task *t[N];
    for (int i = 0; i < N; i++)
        CHECK((t[i] = nap_for(i % 100)) != NULL);
    trace_reset();
    CHECK_EQ(bk_wait(t, N, BK_ALL_COMPLETED, bk_forever()), N);
    CHECK_EQ(bk_gather_tasks(t, N, NULL), 0);
    bk_task_free_all(t, N);
}

/* ---- gather ---- */

LOOP_TEST(C078_T9_results_in_argument_order)
{
    bk_task *t[3] = {nap_for(30), nap_for(10), nap_for(20)};
    CHECK_EQ(bk_gather_tasks(t, 3, NULL), 0);
    CHECK_STR(trace_text(), "10 20 30");
    CHECK_EQ(bk_task_result(t[0]), 30);
    CHECK_EQ(bk_task_result(t[1]), 10);
    CHECK_EQ(bk_task_result(t[2]), 20);
    bk_task_free_all(t, 3);
}

LOOP_TEST(C079_T9_the_first_error_at_once_while_the_others_run_on)
{
    bk_task *t[3] = {nap_for(30), fail_in(10), fail_in(20)};
    CHECK_EQ(bk_gather_tasks(t, 3, NULL), -EIO);
    CHECK_STR(bk_errmsg(), "failed after 10 ms");
    CHECK_EQ(now_ms(), 10);
    CHECK_EQ(finish(&t[0]), 30);
    bk_task_free(&t[1]);
    CHECK_EQ(finish(&t[2]), -EIO);
}

LOOP_TEST(C080_T9_with_collect_errors_and_cancels_are_results)
{
    bk_task *t[3] = {fail_in(10), nap_for(20), nap_for(9000)};
    let_run(1);
    bk_task_cancel(t[2]);
    CHECK_EQ(bk_gather_tasks(t, 3, &(bk_gather_opts){.collect = true}), 0);
    CHECK_EQ(bk_task_result(t[0]), -EIO);
    CHECK_EQ(bk_task_result(t[1]), 20);
    CHECK_EQ(bk_task_result(t[2]), -ECANCELED);
    CHECK(bk_task_cancelled(t[2]));
    bk_task_free_all(t, 3);
}

static int gather_crew(void *ctx)
{
    struct crew *c = ctx;
    int r = bk_gather_tasks(c->tasks, (size_t)c->n, &(bk_gather_opts){.collect = c->collect});
    trace("gather %s", r == -ECANCELED ? "cancelled" : "?");
    return r;
}

static void cancel_a_gather(bool collect)
{
    struct crew c = {{nap_for(9000), nap_for(10), nap_for(9001)}, 3, collect};
    bk_task *gather = start(gather_crew, &c);
    bk_sleep(bk_ms(20));
    CHECK_EQ(bk_task_cancel(gather), 1);
    CHECK_EQ(finish(&gather), -ECANCELED);
    CHECK_STR(trace_text(), "10 x9000 x9001 gather cancelled");
    CHECK_EQ(bk_task_result(c.tasks[1]), 10);
    bk_task_free_all(c.tasks, 3);
}

LOOP_TEST(C081_T9_a_cancelled_gather_cancels_the_tasks_and_waits_for_them)
{
    cancel_a_gather(false);
}

LOOP_TEST(C081_T9_a_cancelled_gather_ends_cancelled_even_with_collect)
{
    cancel_a_gather(true);
}

static int cancelled_gather(void *ctx)
{
    bk_task_cancel(bk_task_current());
    return gather_crew(ctx);
}

LOOP_TEST(T9_a_gather_in_a_cancelled_task_cancels_at_once)
{
    struct crew c = {{nap_for(9000), nap_for(9001)}, 2, false};
    bk_task *gather = start(cancelled_gather, &c);
    CHECK_EQ(finish(&gather), -ECANCELED);
    CHECK_EQ(now_ms(), 0);
    CHECK(bk_task_cancelled(c.tasks[0]) && bk_task_cancelled(c.tasks[1]));
    bk_task_free_all(c.tasks, 2);
}

LOOP_TEST(T9_a_cancel_after_the_gather_is_decided_touches_no_task)
{
    struct crew c = {{fail_in(0), nap_for(20)}, 2, false};
    bk_task *gather = start(gather_crew, &c);
    let_run(1);
    while (!bk_task_done(c.tasks[0]))
        let_run(1);
    bk_task_cancel(gather); /* decided, and it has not run yet */
    CHECK_EQ(finish(&gather), -ECANCELED);
    CHECK_EQ(finish(&c.tasks[1]), 20);
    bk_task_result(c.tasks[0]);
    bk_task_free(&c.tasks[0]);
}

LOOP_TEST(C082_T9_a_child_cancelled_by_others_is_a_failure_of_that_child)
{
    bk_task *t[2] = {nap_for(9000), nap_for(20)};
    let_run(1);
    bk_task_cancel(t[0]);
    CHECK_EQ(bk_gather_tasks(t, 2, NULL), -ECANCELED);
    CHECK_EQ(bk_cancelling(), 0); /* the caller is not cancelled */
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(finish(&t[1]), 20);
    bk_task_free(&t[0]);
}

LOOP_TEST(C083_T9_of_nothing_it_is_done_and_twins_run_once)
{
    CHECK_EQ(bk_gather_tasks(NULL, 0, NULL), 0);
    bk_task *task = nap_for(4);
    bk_task *t[2] = {task, task};
    CHECK_EQ(bk_gather_tasks(t, 2, NULL), 0);
    CHECK_STR(trace_text(), "4");
    CHECK_EQ(bk_task_result(t[0]) + bk_task_result(t[1]), 8);
    bk_task_free(&task);
}

static int wait_in_a_call(void *ctx)
{
    bk_task *task = ctx;
    bk_as_completed *ended = NULL;
    trace("%d", bk_wait(&task, 1, BK_ALL_COMPLETED, bk_forever()) == -BK_ENOTASK);
    trace("%d", bk_gather_tasks(&task, 1, NULL) == -BK_ENOTASK);
    trace("%d", bk_as_completed_new(&ended, &task, 1, bk_ms(5)) == -BK_ENOTASK);
    return 0;
}

LOOP_TEST(only_tasks_wait_for_several)
{
    bk_task *task = nap_for(10);
    CHECK_EQ(bk_call_soon(NULL, wait_in_a_call, task), 0);
    CHECK_EQ(finish(&task), 10);
    CHECK_STR(trace_text(), "1 1 1 10");
}

static void outside_of_a_run_nobody_waits_for_several(void)
{
    trace_reset();
    wait_in_a_call(NULL);
    CHECK_STR(trace_text(), "1 1 1");
}

LOOP_TEST(gathering_oneself_is_an_error)
{
    bk_task *t[2] = {nap_for(10), bk_task_current()};
    CHECK_EQ(bk_gather_tasks(t, 2, NULL), -EDEADLK);
    CHECK_STR(bk_errmsg(), "a task waited for itself");
    CHECK_EQ(finish(&t[0]), 10);
}

static void count_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("report:%s", report->detail);
}

static int fail_late_main(void *ctx)
{
    (void)ctx;
    bk_task *t[3] = {fail_in(10), fail_in(20), fail_in(30)};
    int r = bk_gather_tasks(t, 3, NULL);
    trace("gathered %d", r == -EIO);
    bk_task_free_all(t, 3);
    return bk_sleep(bk_ms(40));
}

/* asyncio swallows what fails after the first. */
static void C084_later_failures_of_gathered_tasks_are_reported(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = count_report};
    CHECK_EQ(bk_run(fail_late_main, NULL, &opts), 0);
    CHECK_STR(trace_text(), "gathered 1 report:failed after 20 ms report:failed after 30 ms");
}

/* ---- as_completed ---- */

LOOP_TEST(C086_T11_tasks_in_the_order_in_which_they_end)
{
    bk_task *t[4] = {nap_for(30), nap_for(10), fail_in(20), nap_for(10)};
    bk_as_completed *ended = NULL;
    size_t i;
    int r = bk_as_completed_new(&ended, t, 4, bk_forever());
    trace_reset();
    while (r >= 0 && (r = bk_as_completed_next(ended, &i)) > 0)
        trace("[%zu]=%d", i, bk_task_result(t[i]));
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_as_completed_next(ended, &i), 0);
    CHECK_STR(trace_text(), "10 10 [1]=10 [3]=10 [2]=-5 30 [0]=30");
    bk_as_completed_free(&ended);
    CHECK(ended == NULL);
    bk_as_completed_free(&ended);
    bk_task_free_all(t, 4);
}

LOOP_TEST(C086_T11_a_limit_for_all_and_the_others_go_on)
{
    bk_task *t[4] = {nap_for(10), nap_for(30), nap_for(20), nap_for(40)};
    bk_as_completed *ended = NULL;
    size_t i = 9;
    CHECK_EQ(bk_as_completed_new(&ended, t, 4, bk_ms(25)), 0);
    CHECK_EQ(bk_as_completed_next(ended, &i), 1);
    CHECK_EQ(i, 0);
    bk_sleep(bk_ms(25)); /* the third ends, then time is up */
    CHECK_EQ(bk_as_completed_next(ended, &i), 1);
    CHECK_EQ(i, 2);
    CHECK_EQ(bk_as_completed_next(ended, &i), -ETIMEDOUT);
    CHECK_EQ(bk_as_completed_next(ended, &i), -ETIMEDOUT);
    CHECK_EQ(now_ms(), 35);
    bk_as_completed_free(&ended);
    CHECK_EQ(finish(&t[3]), 40);
    CHECK_EQ(bk_task_result(t[1]), 30);
    bk_task_free_all(t, 3);
}

LOOP_TEST(T11_a_limit_strikes_while_next_waits)
{
    bk_task *t[1] = {nap_for(9000)};
    bk_as_completed *ended = NULL;
    size_t i;
    CHECK_EQ(bk_as_completed_new(&ended, t, 1, bk_ms(25)), 0);
    CHECK_EQ(bk_as_completed_next(ended, &i), -ETIMEDOUT);
    CHECK_STR(bk_errmsg(), "the tasks that are left have not ended within the time limit");
    CHECK_EQ(now_ms(), 25);
    bk_as_completed_free(&ended);
    stop_all(t, 1);
}

LOOP_TEST(T11_of_nothing_and_of_twins)
{
    bk_as_completed *ended = NULL;
    size_t i = 9;
    CHECK_EQ(bk_as_completed_new(&ended, NULL, 0, bk_ms(5)), 0);
    CHECK_EQ(bk_as_completed_next(ended, &i), 0);
    bk_as_completed_free(&ended);
    bk_task *done = nap_for(1), *task = nap_for(10);
    bk_sleep(bk_ms(5));
    bk_task *t[4] = {task, done, task, done};
    CHECK_EQ(bk_as_completed_new(&ended, t, 4, bk_forever()), 0);
    CHECK_EQ(bk_as_completed_next(ended, &i), 1);
    CHECK_EQ(i, 1);
    CHECK_EQ(bk_as_completed_next(ended, &i), 1);
    CHECK_EQ(i, 0);
    CHECK_EQ(bk_as_completed_next(ended, &i), 0);
    bk_as_completed_free(&ended);
    bk_task_free(&task);
    bk_task_free(&done);
}

struct consumer {
    bk_as_completed *ended;
    char name;
};

static int consume(void *ctx)
{
    struct consumer *c = ctx;
    size_t i;
    int r;
    while ((r = bk_as_completed_next(c->ended, &i)) > 0)
        trace("%c%zu", c->name, i);
    trace("%c:%s", c->name, r == 0 ? "end" : r == -ECANCELED ? "cancelled" : bk_errmsg());
    return r;
}

LOOP_TEST(T11_concurrent_consumers_share_the_tasks)
{
    bk_task *t[3] = {nap_for(10), nap_for(20), nap_for(30)};
    struct consumer a = {.name = 'a'}, b = {.name = 'b'};
    CHECK_EQ(bk_as_completed_new(&a.ended, t, 3, bk_forever()), 0);
    b.ended = a.ended;
    bk_task *first = start(consume, &a), *second = start(consume, &b);
    CHECK_EQ(finish(&second), 0);
    CHECK_EQ(finish(&first), 0);
    CHECK_STR(trace_text(), "10 a0 20 b1 30 a2 a:end b:end");
    bk_as_completed_free(&a.ended);
    bk_task_free_all(t, 3);
}

LOOP_TEST(T11_a_cancelled_consumer_skips_nothing)
{
    bk_task *t[2] = {nap_for(10), nap_for(20)};
    struct consumer a = {.name = 'a'};
    size_t i;
    CHECK_EQ(bk_as_completed_new(&a.ended, t, 2, bk_forever()), 0);
    bk_task *first = start(consume, &a);
    let_run(2);
    bk_task_cancel(first);
    CHECK_EQ(finish(&first), -ECANCELED);
    CHECK_EQ(bk_as_completed_next(a.ended, &i), 1); /* it can be resumed */
    CHECK_EQ(i, 0);
    first = start(consume, &a);
    let_run(1);
    while (!bk_task_done(t[1]))
        bk_sleep(bk_ms(10));
    /* It was given the last one, and is cancelled before it runs: it still gets it. */
    bk_task_cancel(first);
    CHECK_EQ(finish(&first), -ECANCELED);
    CHECK_STR(trace_text(), "a:cancelled 10 20 a1 a:cancelled");
    bk_as_completed_free(&a.ended);
    bk_task_free_all(t, 2);
}

LOOP_TEST(as_completed_may_be_freed_while_a_task_waits_in_it)
{
    bk_task *t[1] = {nap_for(10)};
    struct consumer a = {.name = 'a'};
    CHECK_EQ(bk_as_completed_new(&a.ended, t, 1, bk_seconds(1)), 0);
    bk_task *first = start(consume, &a);
    let_run(2);
    bk_as_completed_free(&a.ended);
    CHECK_EQ(finish(&first), -BK_ECLOSED);
    CHECK_STR(trace_text(), "a:as_completed was freed while a task waited in it");
    CHECK_EQ(finish(&t[0]), 10);
}

/* The loop of gather.h: those that have ended are taken out of the array. */
LOOP_TEST(C059_T10_the_pending_ones_are_kept_together)
{
    bk_task *tasks[] = {nap_for(30), nap_for(10), nap_for(20), nap_for(10)};
    size_t n = 4;
    int sum = 0, rounds = 0, r = 0;
    while (n > 0 && (r = bk_wait(tasks, n, BK_FIRST_COMPLETED, bk_forever())) > 0) {
        rounds++;
        for (size_t i = n; i-- > 0;)
            if (bk_task_done(tasks[i])) {
                sum += bk_task_result(tasks[i]);
                bk_task_free(&tasks[i]);
                tasks[i] = tasks[--n];
            }
    }
    CHECK(r > 0 && n == 0);
    CHECK_EQ(sum, 70);
    CHECK_EQ(rounds, 3); /* of the two that end in one instant, one wait tells */
}

LOOP_TEST(handles_are_given_back_together)
{
    bk_task *tasks[] = {nap_for(10), NULL, nap_for(20)};
    bk_task_free_all(tasks, 3);
    CHECK(!tasks[0] && !tasks[1] && !tasks[2]);
    bk_task_free_all(tasks, 3);
    bk_task_free_all(NULL, 0);
    CHECK_EQ(bk_sleep(bk_ms(30)), 0);
    CHECK_STR(trace_text(), "10 20");
}

CHECK_MAIN(TEST(C059_T10_the_pending_ones_are_kept_together), TEST(handles_are_given_back_together),
           TEST(C059_T10_wait_until_first_completed_first_error_all),
           TEST(T10_several_may_have_ended_at_once), TEST(T10_a_cancelled_task_is_no_error),
           TEST(C060_T10_a_limit_cancels_nobody_and_is_no_error),
           TEST(C061_T10_no_tasks_are_an_error_and_twins_count_once),
           TEST(C062_T10_a_cancelled_wait_leaves_the_tasks_alone),
           TEST(a_handle_may_be_freed_while_others_wait),
           TEST(thousands_of_tasks_are_waited_for_at_once), TEST(C078_T9_results_in_argument_order),
           TEST(C079_T9_the_first_error_at_once_while_the_others_run_on),
           TEST(C080_T9_with_collect_errors_and_cancels_are_results),
           TEST(C081_T9_a_cancelled_gather_cancels_the_tasks_and_waits_for_them),
           TEST(C081_T9_a_cancelled_gather_ends_cancelled_even_with_collect),
           TEST(T9_a_gather_in_a_cancelled_task_cancels_at_once),
           TEST(T9_a_cancel_after_the_gather_is_decided_touches_no_task),
           TEST(C082_T9_a_child_cancelled_by_others_is_a_failure_of_that_child),
           TEST(C083_T9_of_nothing_it_is_done_and_twins_run_once),
           TEST(only_tasks_wait_for_several), TEST(outside_of_a_run_nobody_waits_for_several),
           TEST(gathering_oneself_is_an_error),
           TEST(C084_later_failures_of_gathered_tasks_are_reported),
           TEST(C086_T11_tasks_in_the_order_in_which_they_end),
           TEST(C086_T11_a_limit_for_all_and_the_others_go_on),
           TEST(T11_a_limit_strikes_while_next_waits), TEST(T11_of_nothing_and_of_twins),
           TEST(T11_concurrent_consumers_share_the_tasks),
           TEST(T11_a_cancelled_consumer_skips_nothing),
           TEST(as_completed_may_be_freed_while_a_task_waits_in_it))
