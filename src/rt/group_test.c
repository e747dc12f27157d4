/* SPDX-License-Identifier: MIT
 * Groups and gather: limits, failures, cancels, messages, who waits for whom. */
#include <beck/gather.h>
#include <beck/group.h>

#include "tests/trace.h"

static int nap(void *ctx)
{
    int ms = (int)(intptr_t)ctx;
    int r = bk_sleep(bk_ms(ms));
    trace(r == 0 ? "%d" : "x%d", ms);
    return r;
}

static int fail_after(void *ctx)
{
    int r = bk_sleep(bk_ms((int)(intptr_t)ctx));
    return r < 0 ? r : bk_fail(-EIO, "failed after %d ms", (int)(intptr_t)ctx);
}

static int t37_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, NULL);
    bk_group_go(g, nap, (void *)20, NULL);
    bk_group_go(g, nap, (void *)10, NULL);
    trace("body");
    int r = bk_group_close(&g, 0);
    trace("out");
    return r;
}

static void C087_T14_the_group_waits_for_its_children(void)
{
    CHECK_EQ(trace_run(t37_main, NULL), 0);
    CHECK_STR(trace_text(), "body 10 20 out");
}

static int t38_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, NULL);
    bk_group_go(g, fail_after, (void *)10, NULL);
    bk_group_go(g, nap, (void *)9000, NULL);
    int r = bk_sleep(bk_seconds(9));
    trace(r == -ECANCELED ? "body" : "?");
    trace("%d", bk_group_go(g, nap, (void *)1, NULL) == -ECANCELED);
    r = bk_group_close(&g, r);
    trace("%s", bk_errmsg());
    trace("%d %d", bk_cancelling(), bk_yield());
    return r;
}

static void C088_T14_a_child_failure_cancels_siblings_and_opener(void)
{
    CHECK_EQ(trace_run(t38_main, NULL), -EIO);
    CHECK_STR(trace_text(), "x9000 body 1 failed after 10 ms 0 0");
}

static int t39_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, NULL);
    bk_group_go(g, nap, (void *)9000, NULL);
    bk_yield();
    return bk_group_close(&g, -ENOENT);
}

static void C089_T14_the_openers_failure_cancels_the_children(void)
{
    CHECK_EQ(trace_run(t39_main, NULL), -ENOENT);
    CHECK_STR(trace_text(), "x9000");
}

static int keep_going_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, &(bk_group_opts){.keep_going = true});
    bk_group_go(g, fail_after, (void *)10, NULL);
    bk_group_go(g, fail_after, (void *)5, NULL);
    bk_group_go(g, nap, (void *)20, NULL);
    trace("%d", bk_group_wait(g));
    trace("%zu", bk_group_failures(g));
    int r = bk_group_close(&g, 0);
    trace("%s", bk_errmsg());
    return r;
}

static void keep_going_lets_the_others_finish(void)
{
    CHECK_EQ(trace_run(keep_going_main, NULL), -EIO);
    CHECK_STR(trace_text(), "20 0 2 failed after 5 ms");
}

struct gauge {
    int now, most, total;
};

static int measured(void *ctx)
{
    struct gauge *gauge = ctx;
    if (++gauge->now > gauge->most)
        gauge->most = gauge->now;
    gauge->total++;
    bk_sleep(bk_ms(gauge->total % 7 + 1));
    gauge->now--;
    return 0;
}

static int limit_main(void *ctx)
{
    bk_group *g = NULL;
    int r = bk_group_open(&g, &(bk_group_opts){.limit = 3});
    for (int i = 0; r == 0 && i < 100; i++)
        r = bk_group_go(g, measured, ctx, NULL);
    return bk_group_close(&g, r);
}

static void a_full_group_suspends_go(void)
{
    struct gauge gauge = {0};
    CHECK_EQ(trace_run(limit_main, &gauge), 0);
    CHECK_EQ(gauge.total, 100);
    CHECK_EQ(gauge.most, 3);
    CHECK_EQ(gauge.now, 0);
}

static int full_group_body(void *ctx)
{
    bk_group *g = NULL;
    bk_group_open(&g, &(bk_group_opts){.limit = 1});
    bk_group_go(g, nap, (void *)9000, NULL);
    int r = bk_group_go(g, nap, (void *)1, NULL);
    trace(r == -ECANCELED ? "refused" : "?");
    (void)ctx;
    return bk_group_close(&g, r);
}

static int cancel_go_main(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    int result = 0;
    bk_go(&t, full_group_body, NULL, NULL);
    bk_sleep(bk_ms(1));
    bk_task_cancel(t);
    bk_task_wait(t, &result);
    bk_task_free(&t);
    return result;
}

static void C092_T14_a_cancel_from_outside_reaches_the_children_and_comes_back(void)
{
    CHECK_EQ(trace_run(cancel_go_main, NULL), -ECANCELED);
    CHECK_STR(trace_text(), "refused x9000");
}

static int nested_main(void *ctx)
{
    (void)ctx;
    bk_group *outer = NULL, *inner = NULL;
    bk_group_open(&outer, NULL);
    bk_group_go(outer, nap, (void *)30, NULL);
    bk_group_open(&inner, NULL);
    bk_group_go(inner, fail_after, (void *)10, NULL);
    int r = bk_group_close(&inner, bk_sleep(bk_seconds(9)));
    trace("inner %d", r == -EIO);
    return bk_group_close(&outer, 0);
}

static void C094_T14_an_inner_failure_stays_inside_its_group(void)
{
    CHECK_EQ(trace_run(nested_main, NULL), 0);
    CHECK_STR(trace_text(), "inner 1 30");
}

static int call_off_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, NULL);
    for (int i = 0; i < 3; i++)
        bk_group_go(g, nap, (void *)9000, NULL);
    bk_sleep(bk_ms(1));
    bk_group_cancel(g);
    trace("%zu", bk_group_count(g));
    return bk_group_close(&g, 0);
}

static void T15_calling_a_group_off_is_no_failure(void)
{
    CHECK_EQ(trace_run(call_off_main, NULL), 0);
    CHECK_STR(trace_text(), "3 x9000 x9000 x9000");
}

/* A message goes to the task; what the task leaves is freed; a failed start leaves it with the
 * caller. */
static int take_msg(void *ctx, bk_msg **msg)
{
    *(size_t *)ctx += bk_msg_len(*msg);
    if (bk_msg_len(*msg) % 2)
        bk_msg_free(msg);
    return 0;
}

static int msg_main(void *ctx)
{
    bk_group *g = NULL;
    bk_msg *msg = NULL;
    bk_group_open(&g, NULL);
    for (size_t i = 1; i <= 10; i++) {
        bk_msg_copy(&msg, "0123456789", i);
        bk_group_go_msg(g, take_msg, ctx, &msg);
        trace("%d", msg == NULL);
    }
    bk_group_cancel(g); /* those not started never see theirs, and it is freed */
    bk_msg_copy(&msg, "kept", 4);
    int r = bk_group_go_msg(g, take_msg, ctx, &msg);
    trace("%d %d", r == -ECANCELED, msg != NULL);
    bk_msg_free(&msg);
    return bk_group_close(&g, 0);
}

static void C093_a_message_moves_into_its_task_or_stays_with_the_caller(void)
{
    size_t bytes = 0;
    CHECK_EQ(trace_run(msg_main, &bytes), 0);
    CHECK_STR(trace_text(), "1 1 1 1 1 1 1 1 1 1 1 1");
    CHECK_EQ(bytes, 0);
}

/* Children reach the group through the opener's pointer, also while it closes the group. */
static int go_through_pointer(void *ctx)
{
    bk_sleep(bk_ms(1));
    trace("%d", bk_group_go(*(bk_group **)ctx, nap, (void *)5, NULL));
    return 0;
}

static int shared_pointer_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, NULL);
    bk_group_go(g, go_through_pointer, &g, NULL);
    int r = bk_group_close(&g, 0);
    trace("%d", g == NULL);
    return r;
}

static void close_empties_the_pointer_last(void)
{
    CHECK_EQ(trace_run(shared_pointer_main, NULL), 0);
    CHECK_STR(trace_text(), "0 5 1");
}

static void note_failure(void *ctx, bk_task *child, int result)
{
    (void)ctx;
    trace("%s:%d:%s", bk_task_name(child), result == -EIO, bk_task_errmsg(child));
}

static int on_failure_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_task *t = NULL;
    bk_group_open(&g, &(bk_group_opts){.keep_going = true, .on_failure = note_failure});
    bk_group_go(g, fail_after, (void *)5, NULL);
    bk_group_go_task(g, &t, fail_after, (void *)9, NULL);
    int r = bk_sleep(bk_ms(20));
    trace("%s", bk_task_errmsg(t));
    bk_task_free(&t);
    return bk_group_close(&g, r < 0 ? r : -ECANCELED);
}

static void on_failure_sees_each_and_handles_keep_the_detail(void)
{
    CHECK_EQ(trace_run(on_failure_main, NULL), -ECANCELED); /* keep_going: what the opener says */
    CHECK_STR(trace_text(), "fail_after-2:1:failed after 5 ms fail_after-3:1:failed after 9 ms "
                            "failed after 9 ms");
}

static void count_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("report:%s", report->detail);
}

static void later_failures_are_reported(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = count_report};
    CHECK_EQ(bk_run(keep_going_main, NULL, &opts), -EIO);
    CHECK_STR(trace_text(), "report:failed after 10 ms 20 0 2 failed after 5 ms");
}

static int spawn_siblings(void *ctx)
{
    bk_group *g = ctx;
    bk_sleep(bk_ms(1));
    trace("%d", bk_group_go(g, nap, (void *)5, NULL));
    return 0;
}

static int siblings_main(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_group_open(&g, NULL);
    bk_group_go(g, spawn_siblings, g, NULL);
    int r = bk_group_close(&g, 0);
    trace("out");
    return r;
}

static void C087_T14_children_may_start_siblings(void)
{
    CHECK_EQ(trace_run(siblings_main, NULL), 0);
    CHECK_STR(trace_text(), "0 5 out");
}

static int value(void *ctx)
{
    int v = (int)(intptr_t)ctx;
    int r = bk_sleep(bk_ms(30 - v));
    if (r == 0)
        trace("done%d", v);
    return r < 0 ? r : v;
}

static int gather_main(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = value, .ctx = (void *)1}, {.fn = value, .ctx = (void *)2}};
    int r = bk_gather(calls, 2, NULL);
    trace("[%d,%d]", calls[0].result, calls[1].result);
    trace("%d", bk_gather(NULL, 0, NULL));
    return r;
}

static void C078_C083_T9_gather_results_in_argument_order(void)
{
    CHECK_EQ(trace_run(gather_main, NULL), 0);
    CHECK_STR(trace_text(), "done2 done1 [1,2] 0");
}

/* asyncio's gather returns while the siblings of a failure run on; the contexts of calls often live
 * in the frame of the caller, so it waits for them here (docs/adr/0005); bk_gather_tasks is as
 * asyncio's. */
static int gather_fail_main(void *ctx)
{
    bk_call calls[] = {{.fn = value, .ctx = (void *)1},
                       {.fn = fail_after, .ctx = (void *)5},
                       {.fn = fail_after, .ctx = (void *)40}};
    int r = bk_gather(calls, 3, &(bk_gather_opts){.collect = ctx != NULL});
    trace("%d %d %d", calls[0].result, calls[1].result, calls[2].result);
    return r;
}

static void T9_differs_gather_of_calls_cancels_the_rest_or_collects_all(void)
{
    char want[64];
    CHECK_EQ(trace_run(gather_fail_main, NULL), -EIO);
    snprintf(want, sizeof want, "%d %d %d", -ECANCELED, -EIO, -ECANCELED);
    CHECK_STR(trace_text(), want);
    CHECK_EQ(trace_run(gather_fail_main, (void *)1), 0);
    snprintf(want, sizeof want, "done1 1 %d %d", -EIO, -EIO);
    CHECK_STR(trace_text(), want);
}

/* ThreadSanitizer knows 8,128 stacks at most. */
#ifdef __SANITIZE_THREAD__
#define MANY 1000
#else
#define MANY 10000
#endif

static int many_body(void *ctx)
{
    int *seen = ctx;
    if (bk_sleep(bk_seconds(1)) == -ECANCELED)
        ++*seen;
    return -ECANCELED;
}

static int many_main(void *ctx)
{
    bk_group *g = NULL;
    int r = bk_group_open(&g, &(bk_group_opts){.limit = 20000});
    for (int i = 0; r == 0 && i < MANY; i++)
        r = bk_group_go(g, many_body, ctx, NULL);
    bk_group_go(g, fail_after, (void *)1, NULL);
    return bk_group_close(&g, r == 0 ? bk_sleep(bk_seconds(9)) : r);
}

static void C098_of_thousands_one_fails_and_each_sees_one_cancel(void)
{
    int seen = 0;
    CHECK_EQ(trace_run(many_main, &seen), -EIO);
    CHECK_EQ(seen, MANY);
}

CHECK_MAIN(TEST(C087_T14_the_group_waits_for_its_children),
           TEST(C088_T14_a_child_failure_cancels_siblings_and_opener),
           TEST(C089_T14_the_openers_failure_cancels_the_children),
           TEST(keep_going_lets_the_others_finish), TEST(a_full_group_suspends_go),
           TEST(C092_T14_a_cancel_from_outside_reaches_the_children_and_comes_back),
           TEST(C094_T14_an_inner_failure_stays_inside_its_group),
           TEST(T15_calling_a_group_off_is_no_failure),
           TEST(C093_a_message_moves_into_its_task_or_stays_with_the_caller),
           TEST(C087_T14_children_may_start_siblings), TEST(close_empties_the_pointer_last),
           TEST(on_failure_sees_each_and_handles_keep_the_detail),
           TEST(later_failures_are_reported), TEST(C078_C083_T9_gather_results_in_argument_order),
           TEST(T9_differs_gather_of_calls_cancels_the_rest_or_collects_all),
           TEST(C098_of_thousands_one_fails_and_each_sees_one_cancel))
