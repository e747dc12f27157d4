/* SPDX-License-Identifier: MIT
 * Eager tasks: they run inside the call that starts them until they wait for the first time. */
#include <beck/future.h>
#include <beck/group.h>

#include "tests/run_helper.h"

static const bk_task_opts eager = {.eager = true};

static int say_twice(void *ctx)
{
    trace("%s1", (const char *)ctx);
    int r = bk_yield();
    trace("%s2", (const char *)ctx);
    return r;
}

static int answer(void *ctx)
{
    (void)ctx;
    return 42;
}

LOOP_TEST(C033_T2_it_runs_inside_the_call_until_it_waits)
{
    bk_task *ordinary = start(say_twice, (void *)"o");
    bk_task *task = NULL;
    CHECK_EQ(bk_go(&task, say_twice, (void *)"e", &eager), 0);
    trace("back");
    CHECK(!bk_task_done(task));
    CHECK_EQ(finish(&task), 0);
    CHECK_EQ(finish(&ordinary), 0);
    CHECK_STR(trace_text(), "e1 back o1 e2 o2");
}

LOOP_TEST(T2_it_may_be_done_on_return)
{
    bk_task *task = NULL;
    CHECK_EQ(bk_go(&task, answer, NULL, &eager), 0);
    CHECK(bk_task_done(task));
    CHECK_EQ(bk_task_result(task), 42);
    bk_task_free(&task);
    CHECK_EQ(bk_go(NULL, answer, NULL, &eager), 0); /* nobody holds it: it is gone */
    CHECK_EQ(bk_task_count(), 1);
}

/* A gather of tasks that are all done is done at once: nobody else has run. */
LOOP_TEST(T2_a_gather_of_done_tasks_is_done_at_once)
{
    bk_task *tasks[3] = {NULL};
    bk_task *other = start(say_twice, (void *)"o");
    for (int i = 0; i < 3; i++)
        CHECK_EQ(bk_go(&tasks[i], answer, NULL, &eager), 0);
    CHECK_EQ(bk_gather_tasks(tasks, 3, NULL), 0);
    CHECK_STR(trace_text(), "");
    for (int i = 0; i < 3; i++)
        bk_task_free(&tasks[i]);
    CHECK_EQ(finish(&other), 0);
}

struct whoami {
    bk_task *inside, *handle;
};

static int look_at_me(void *ctx)
{
    struct whoami *who = ctx;
    who->inside = bk_task_current();
    trace("%s", bk_task_name(who->handle)); /* filled before the body runs */
    return 0;
}

LOOP_TEST(T2_the_current_task_is_swapped)
{
    struct whoami who = {NULL, NULL};
    bk_task *me = bk_task_current();
    CHECK_EQ(bk_go(&who.handle, look_at_me, &who, &(bk_task_opts){.name = "w", .eager = true}), 0);
    CHECK(who.inside == who.handle);
    CHECK(bk_task_current() == me);
    CHECK_STR(trace_text(), "w");
    bk_task_free(&who.handle);
}

static int nest(void *ctx)
{
    int depth = (int)(intptr_t)ctx;
    trace("in%d", depth);
    if (depth < 3 && bk_go(NULL, nest, (void *)(intptr_t)(depth + 1), &eager) < 0)
        return -1;
    trace("back%d", depth);
    int r = bk_yield();
    trace("out%d", depth);
    return r;
}

LOOP_TEST(T2_they_nest)
{
    CHECK_EQ(bk_go(NULL, nest, (void *)1, &eager), 0);
    trace("main");
    let_run(2);
    CHECK_STR(trace_text(), "in1 in2 in3 back3 back2 back1 main out3 out2 out1");
}

/* ---- Whoever is ready must wait, and the world must not ---- */

static int n_spun;

static int spin(void *ctx)
{
    (void)ctx;
    for (;; n_spun++) {
        int r = bk_yield();
        if (r < 0)
            return r;
    }
}

/* More starts than the loop makes switches before it looks at the world. */
LOOP_TEST(T2_nobody_else_runs_meanwhile)
{
    bk_task *tasks[500] = {NULL}, *other = start(spin, NULL);
    n_spun = 0;
    let_run(3);
    int before = n_spun;
    for (int i = 0; i < 500; i++)
        CHECK_EQ(bk_go(&tasks[i], say_twice, (void *)"", &eager), 0);
    CHECK_EQ(n_spun, before);
    trace_reset();
    for (int i = 0; i < 500; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    bk_task_cancel(other);
    CHECK_EQ(finish(&other), -ECANCELED);
}

static int wait_once(void *ctx)
{
    (void)ctx;
    return bk_yield();
}

static int start_for_ever(void *ctx)
{
    int *n = ctx;
    int r = 0;
    for (; r == 0; (*n)++) {
        r = bk_go(NULL, wait_once, NULL, &eager);
        if (r == 0)
            r = bk_yield();
    }
    return r;
}

/* Each start takes a switch of the loop's budget: it must not be the one that is always skipped. */
LOOP_TEST(T2_timers_fire_however_many_are_started)
{
    int n = 0;
    bk_task *task = start(start_for_ever, &n);
    bk_timeout *limit = NULL;
    CHECK_EQ(bk_timeout_open(&limit, bk_ms(-1)), 0);
    int r = 0;
    for (int i = 0; i < 1000 && r == 0; i++)
        r = bk_yield();
    CHECK_EQ(bk_timeout_close(&limit, r), -ETIMEDOUT);
    CHECK(n < 300);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
}

/* ---- In groups ---- */

static int fail_now(void *ctx)
{
    (void)ctx;
    return bk_fail(-EIO, "at once");
}

static int nap(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(9));
}

LOOP_TEST(T2_T14_a_failure_inside_the_call_aborts_the_group)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, nap, NULL, &eager), 0);
    CHECK_EQ(bk_group_go(group, fail_now, NULL, &eager), 0);
    CHECK_EQ(bk_group_count(group), 1);
    CHECK_EQ(bk_yield(), -ECANCELED); /* so is the opener */
    CHECK_EQ(bk_group_go(group, nap, NULL, &eager), -ECANCELED);
    CHECK_EQ(bk_group_close(&group, 0), -EIO);
    CHECK_STR(bk_errmsg(), "at once");
    CHECK_EQ(bk_yield(), 0);
}

static int call_off(void *ctx)
{
    bk_group_cancel(ctx);
    trace("%s", bk_yield() == -ECANCELED ? "cancelled too" : "missed");
    return 0;
}

LOOP_TEST(T2_T15_a_child_that_calls_its_group_off_inside_the_call_is_part_of_it)
{
    bk_group *group = NULL;
    bk_task *task = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go_task(group, &task, call_off, group, &eager), 0);
    CHECK(bk_task_done(task));
    bk_task_free(&task);
    CHECK_EQ(bk_group_go(group, nap, NULL, NULL), -ECANCELED);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_STR(trace_text(), "cancelled too");
}

static int many_levels(void *ctx)
{
    int depth = (int)(intptr_t)ctx;
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    for (int i = 0; r == 0 && depth > 0 && i < 2; i++)
        r = bk_group_go(group, many_levels, (void *)(intptr_t)(depth - 1), &eager);
    if (r == 0)
        r = bk_yield();
    trace("%d", depth);
    return bk_group_close(&group, r);
}

LOOP_TEST(T2_groups_within_groups)
{
    CHECK_EQ(many_levels((void *)2), 0);
    CHECK_STR(trace_text(), "0 0 1 0 0 1 2");
}

/* ---- Everywhere ---- */

static int start_two(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = say_twice, .ctx = "a"}, {.fn = say_twice, .ctx = "b"}};
    bk_future *future = NULL; /* loop.create_future, loop.time */
    int r = bk_future_new(&future);
    bk_future_free(&future);
    if (r == 0 && bk_now().ns == 0)
        r = bk_go(NULL, say_twice, "c", NULL);
    trace("main");
    return r < 0 ? r : bk_gather(calls, 2, NULL);
}

/* asyncio's loop takes a factory, which makes its tasks; what such factories are for are eager
 * tasks, and an option of the run asks for those. */
static void T18_differs_an_option_of_the_run_makes_every_task_eager(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .eager = true};
    CHECK_EQ(bk_run(start_two, NULL, &opts), 0);
    CHECK_STR(trace_text(), "c1 main a1 b1 c2 a2 b2");
}

/* ---- At the end ---- */

static int leave_another(void *ctx)
{
    (void)ctx;
    int r = bk_sleep_forever();
    trace("%d", bk_go(NULL, say_twice, (void *)"never", &eager));
    return r;
}

static int end_early(void *ctx)
{
    (void)ctx;
    int r = bk_go(NULL, leave_another, NULL, NULL);
    return r < 0 ? r : bk_yield();
}

static void started_while_the_run_ends_it_never_runs(void)
{
    CHECK_EQ(in_loop(end_early, NULL), 0);
    CHECK_STR(trace_text(), "0");
}

CHECK_MAIN(TEST(C033_T2_it_runs_inside_the_call_until_it_waits), TEST(T2_it_may_be_done_on_return),
           TEST(T2_a_gather_of_done_tasks_is_done_at_once), TEST(T2_the_current_task_is_swapped),
           TEST(T2_they_nest), TEST(T2_nobody_else_runs_meanwhile),
           TEST(T2_timers_fire_however_many_are_started),
           TEST(T2_T14_a_failure_inside_the_call_aborts_the_group),
           TEST(T2_T15_a_child_that_calls_its_group_off_inside_the_call_is_part_of_it),
           TEST(T2_groups_within_groups),
           TEST(T18_differs_an_option_of_the_run_makes_every_task_eager),
           TEST(started_while_the_run_ends_it_never_runs))
