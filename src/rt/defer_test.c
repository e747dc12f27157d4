/* SPDX-License-Identifier: MIT
 * Cleanup at the end of a task: when, in which order, and what it leaves alone. */
#include <stdlib.h>

#include <beck/error.h>
#include <beck/group.h>
#include <beck/loop.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static void say(void *ctx)
{
    trace("%s", (const char *)ctx);
}

static void nap_and_say(void *ctx)
{
    trace("%s", bk_sleep(bk_ms(5)) == 0 ? "slept" : "cut");
    say(ctx);
}

static int nap_shielded(void *ctx)
{
    nap_and_say(ctx);
    return 0;
}

static void clean_up_shielded(void *ctx)
{
    bk_shield(nap_shielded, ctx);
}

static int return_5(void *ctx)
{
    int r = bk_defer(say, "first");
    if (r == 0)
        r = bk_defer(nap_and_say, "second");
    if (r == 0)
        r = bk_defer(say, ctx);
    trace("body");
    return r < 0 ? r : 5;
}

LOOP_TEST(N2_cleanup_runs_on_return_last_in_first_out)
{
    bk_task *task = start(return_5, "third");
    CHECK_EQ(finish(&task), 5);
    CHECK_STR(trace_text(), "body third slept second first");
}

static int wait_long(void *ctx)
{
    int r = bk_defer(clean_up_shielded, ctx);
    if (r == 0)
        r = bk_defer(nap_and_say, "plain");
    return r < 0 ? r : bk_sleep_forever();
}

LOOP_TEST(N2_cleanup_runs_on_cancel_and_waits_inside_a_shield)
{
    bk_task *task = start(wait_long, "shielded");
    let_run(1);
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "cut plain slept shielded");
}

static int leave_one_waiting(void *ctx)
{
    int r = bk_go(NULL, wait_long, ctx, NULL);
    return r < 0 ? r : bk_yield();
}

static void N2_cleanup_runs_when_the_run_ends(void)
{
    CHECK_EQ(in_loop(leave_one_waiting, "at exit"), 0);
    CHECK_STR(trace_text(), "cut plain slept at exit");
    CHECK_EQ(in_loop(return_5, "main's"), 5);
    CHECK_STR(trace_text(), "body main's slept second first");
}

LOOP_TEST(N2_a_task_that_never_began_has_none)
{
    bk_task *task = start(wait_long, "never");
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_STR(trace_text(), "");
}

static void fail_in_cleanup(void *ctx)
{
    (void)ctx;
    bk_fail(-EPIPE, "the cleanup failed");
}

static int fail(void *ctx)
{
    (void)ctx;
    int r = bk_defer(fail_in_cleanup, NULL);
    return r < 0 ? r : bk_fail(-EIO, "the body failed");
}

LOOP_TEST(N2_the_failure_is_the_bodys)
{
    bk_task *task = start(fail, NULL);
    int result = 0;
    CHECK_EQ(bk_task_wait(task, &result), 0);
    CHECK_EQ(result, -EIO);
    CHECK_STR(bk_errmsg(), "the body failed");
    bk_task_free(&task);
}

static void cancel_me(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
}

static int succeed_before_the_cancel(void *ctx)
{
    (void)ctx;
    int r = bk_defer(cancel_me, NULL);
    return r < 0 ? r : 7;
}

LOOP_TEST(a_cancel_that_comes_during_the_cleanup_is_too_late)
{
    bk_task *task = start(succeed_before_the_cancel, NULL);
    CHECK_EQ(finish(&task), 7);
}

static void defer_more(void *ctx)
{
    trace("outer");
    bk_defer(say, ctx);
}

LOOP_TEST(N2_pop_runs_or_drops_the_last)
{
    CHECK_EQ(bk_defer_pop(true), -ENOENT);
    CHECK_EQ(bk_defer(say, "a"), 0);
    CHECK_EQ(bk_defer(say, "b"), 0);
    CHECK_EQ(bk_defer(say, "c"), 0);
    CHECK_EQ(bk_defer_pop(true), 0);
    CHECK_EQ(bk_defer_pop(false), 0);
    CHECK_STR(trace_text(), "c");
    CHECK_EQ(bk_defer(defer_more, "inner"), 0);
    CHECK_EQ(bk_defer_pop(true), 0);
    CHECK_EQ(bk_defer_pop(true), 0);
    CHECK_EQ(bk_defer_pop(true), 0);
    CHECK_STR(trace_text(), "c outer inner a");
}

static int defer_in_a_call(void *ctx)
{
    trace("%d", bk_defer(say, ctx) == -BK_ENOTASK);
    trace("%d", bk_defer_pop(true) == -BK_ENOTASK);
    return 0;
}

LOOP_TEST(outside_of_tasks_it_is_called_at_once)
{
    CHECK_EQ(bk_call_soon(NULL, defer_in_a_call, "now"), 0);
    let_run(1);
    CHECK_STR(trace_text(), "now 1 1");
}

static int keep_memory(void *ctx)
{
    (void)ctx;
    void *p = malloc(10);
    int r = p ? bk_defer(free, p) : -ENOMEM;
    return r < 0 ? r : bk_yield();
}

static int run_keep_memory(void *ctx)
{
    return in_loop(keep_memory, ctx);
}

static void out_of_memory_nothing_is_lost(void)
{
    CHECK(alloc_sweep(run_keep_memory, NULL) > 0); /* the sanitizer watches p */
}

static int hold_message(void *ctx, bk_msg **msg)
{
    (void)ctx;
    (void)msg;
    return bk_defer(say, "deferred");
}

LOOP_TEST(N2_children_of_groups_too)
{
    bk_group *group = NULL;
    bk_msg *msg = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_msg_copy(&msg, "abc", 3), 0);
    CHECK_EQ(bk_group_go_msg(group, hold_message, NULL, &msg), 0);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    trace("closed");
    CHECK_STR(trace_text(), "deferred closed");
}

CHECK_MAIN(TEST(N2_cleanup_runs_on_return_last_in_first_out),
           TEST(N2_cleanup_runs_on_cancel_and_waits_inside_a_shield),
           TEST(N2_cleanup_runs_when_the_run_ends), TEST(N2_a_task_that_never_began_has_none),
           TEST(N2_the_failure_is_the_bodys),
           TEST(a_cancel_that_comes_during_the_cleanup_is_too_late),
           TEST(N2_pop_runs_or_drops_the_last), TEST(outside_of_tasks_it_is_called_at_once),
           TEST(out_of_memory_nothing_is_lost), TEST(N2_children_of_groups_too))
