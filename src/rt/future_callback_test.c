/* SPDX-License-Identifier: MIT
 * Futures: callbacks, failures that nobody looked at, other threads. */
#include <pthread.h>

#include <beck/future.h>
#include <beck/loop.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static int say(void *ctx, bk_future *future)
{
    (void)future;
    trace("%s", (const char *)ctx);
    return 0;
}

LOOP_TEST(C025_F2_N6_callbacks_in_order_through_the_loop)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb0"), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb1"), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb2"), 0);
    CHECK_EQ(bk_future_set(f, 1, NULL), 0);
    trace("set");
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "set cb0 cb1 cb2");
    bk_future_free(&f);
}

static int wait_for_it(void *ctx)
{
    int r = bk_future_wait(ctx, NULL, NULL);
    trace("task");
    return r;
}

LOOP_TEST(F2_N6_tasks_and_callbacks_in_one_line)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb0"), 0);
    bk_task *task = start(wait_for_it, f);
    let_run(1);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb1"), 0);
    CHECK_EQ(bk_future_set(f, 0, NULL), 0);
    CHECK_EQ(bk_future_remove_done_callback(f, say, "cb1"), 0);
    CHECK_EQ(finish(&task), 0);
    let_run(1);
    CHECK_STR(trace_text(), "cb0 task cb1");
    bk_future_free(&f);
}

LOOP_TEST(C026_F2_added_to_a_done_future_it_is_still_scheduled)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_set(f, 1, NULL), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb"), 0);
    trace("added");
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "added cb");
    bk_future_free(&f);
}

LOOP_TEST(F2_a_cancel_calls_back_too)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "cb"), 0);
    CHECK_EQ(bk_future_cancel(f), 1);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "cb");
    bk_future_free(&f);
}

LOOP_TEST(C027_F2_remove_takes_out_all_equal_ones)
{
    bk_future *f = NULL;
    static char a[] = "a", b[] = "b";
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_remove_done_callback(f, say, a), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, a), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, b), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, a), 0);
    CHECK_EQ(bk_future_remove_done_callback(f, say, a), 2);
    CHECK_EQ(bk_future_remove_done_callback(f, say, a), 0);
    CHECK_EQ(bk_future_set(f, 0, NULL), 0);
    CHECK_EQ(bk_future_remove_done_callback(f, say, b), 0); /* on its way */
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "b");
    bk_future_free(&f);
}

static int add_and_remove(void *ctx, bk_future *future)
{
    trace("first");
    bk_future_add_done_callback(future, say, "added inside");
    trace("%d", bk_future_remove_done_callback(future, say, ctx));
    return 0;
}

LOOP_TEST(C027_F2_callbacks_may_add_and_remove)
{
    bk_future *f = NULL;
    static char last[] = "last";
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, add_and_remove, last), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, last), 0);
    CHECK_EQ(bk_future_set(f, 0, NULL), 0);
    let_run(2);
    CHECK_STR(trace_text(), "first 0 last added inside");
    bk_future_free(&f);
}

/* ---- Freeing ---- */

static int free_it(void *ctx, bk_future *future)
{
    bk_future **owner = ctx;
    int result = 0;
    bk_future_free(owner);
    int r = bk_future_get(future, &result, NULL); /* valid until we return */
    trace("%d %d", r, result);
    return 0;
}

LOOP_TEST(C031_freed_inside_its_own_callback)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, free_it, &f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, "next"), 0);
    CHECK_EQ(bk_future_set(f, 7, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "0 7 next");
    CHECK(!f);
}

static int get_it(void *ctx, bk_future *future)
{
    (void)ctx;
    trace("%s", bk_future_get(future, NULL, NULL) == -BK_ECLOSED ? "closed" : "?");
    return 0;
}

LOOP_TEST(freed_while_pending_its_callbacks_hear_of_it)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, get_it, NULL), 0);
    bk_future_free(&f);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "closed");
}

/* ---- Failures ---- */

static int n_reports;

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    n_reports++;
    trace("[%s%s%s %d %s]", report->what, report->call[0] ? ": " : "", report->call, report->result,
          report->future ? "future" : "");
}

static void run_noting(bk_fn *main)
{
    trace_reset();
    n_reports = 0;
    CHECK_EQ(bk_run(main, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = note_report}),
             0);
}

static int ignore_callback(void *ctx, bk_future *future)
{
    (void)ctx;
    (void)future;
    return 0;
}

static int never_read(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    bk_future_new(&f);
    bk_future_add_done_callback(f, ignore_callback, NULL);
    bk_future_set(f, -EIO, NULL);
    trace("set");
    bk_yield();
    trace("free");
    bk_future_free(&f);
    trace("freed");
    return 0;
}

static void C028_F3_a_failure_nobody_read_is_reported_once_when_freed(void)
{
    run_noting(never_read);
    char want[96];
    snprintf(want, sizeof want, "set free [future failed and nobody looked at it %d future] freed",
             -EIO);
    CHECK_STR(trace_text(), want);
}

static int await_it(void *ctx)
{
    return bk_future_wait(ctx, NULL, NULL);
}

static int read_or_cancelled(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    int result = 0, r = bk_future_new(&f);
    bk_future_set(f, -EIO, NULL);
    bk_future_get(f, &result, NULL);
    bk_future_free(&f);
    if (r < 0 || result != -EIO)
        return -EINVAL;

    bk_future_new(&f); /* freed before the task that waits has run */
    bk_task *waiter = start(await_it, f);
    bk_yield();
    bk_future_set(f, -EIO, NULL);
    bk_future_free(&f);
    r = finish(&waiter);

    bk_future_new(&f);
    bk_future_cancel(f);
    bk_future_free(&f);
    bk_future_new(&f);
    bk_future_set(f, -ECANCELED, NULL);
    bk_future_free(&f);
    return r;
}

static void C028_F3_not_when_read_awaited_or_cancelled(void)
{
    run_noting(read_or_cancelled);
    CHECK_STR(trace_text(), "");
}

static int cancelled_waiter(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    bk_future_new(&f);
    bk_task *waiter = start(await_it, f);
    bk_yield();
    bk_future_set(f, -EIO, NULL);
    bk_task_cancel(waiter);
    bk_future_free(&f);
    trace("%d", finish(&waiter) == -ECANCELED);
    return 0;
}

static void C028_F3_a_cancelled_waiter_has_not_read_it(void)
{
    run_noting(cancelled_waiter);
    CHECK_EQ(n_reports, 1);
}

static int fail(void *ctx, bk_future *future)
{
    (void)ctx;
    (void)future;
    return -EPIPE;
}

static int failing_callback(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    bk_future_new(&f);
    bk_future_add_done_callback(f, fail, NULL);
    bk_future_add_done_callback(f, say, "next");
    bk_future_set(f, 0, NULL);
    bk_yield();
    bk_future_free(&f);
    return 0;
}

static void C008_D1_a_failing_callback_is_reported(void)
{
    run_noting(failing_callback);
    char want[96];
    snprintf(want, sizeof want, "[callback of a future failed: fail %d ] next", -EPIPE);
    CHECK_STR(trace_text(), want);
}

/* ---- Other threads, and no loop ---- */

static void *use_it(void *ctx)
{
    bk_future *f = ctx;
    bool refused = bk_future_set(f, 1, NULL) == -EPERM && bk_future_cancel(f) == -EPERM &&
                   bk_future_get(f, NULL, NULL) == -EPERM &&
                   bk_future_add_done_callback(f, say, NULL) == -EPERM &&
                   bk_future_remove_done_callback(f, say, NULL) == -EPERM;
    return refused && strstr(bk_errmsg(), "another loop") ? ctx : NULL;
}

static int use_in_a_loop(void *ctx)
{
    return bk_future_wait(ctx, NULL, NULL) == -EPERM ? 0 : -EINVAL;
}

static void *use_it_in_a_loop(void *ctx)
{
    bool refused = use_it(ctx) && bk_run(use_in_a_loop, ctx, NULL) == 0;
    return refused ? ctx : NULL;
}

static int free_in_a_loop(void *ctx)
{
    bk_future *f = ctx;
    bk_future_free(&f);
    return f ? -EINVAL : 0;
}

static void *free_it_in_a_loop(void *ctx)
{
    bk_run(free_in_a_loop, ctx, &(bk_run_opts){.on_error = note_report});
    return NULL;
}

LOOP_TEST(C117_F4_N5_another_thread_is_refused)
{
    bk_future *f = NULL;
    pthread_t thread;
    void *ok = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    bk_task *waiter = start(await_it, f);
    bk_yield();
    CHECK_EQ(pthread_create(&thread, NULL, use_it, f), 0);
    CHECK_EQ(pthread_join(thread, &ok), 0);
    CHECK(ok);
    CHECK_EQ(pthread_create(&thread, NULL, use_it_in_a_loop, f), 0);
    CHECK_EQ(pthread_join(thread, &ok), 0);
    CHECK(ok);
    n_reports = 0;
    CHECK_EQ(pthread_create(&thread, NULL, free_it_in_a_loop, f), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(n_reports, 1); /* it is still there */
    CHECK(!bk_future_done(f));
    CHECK_EQ(bk_future_set(f, 0, NULL), 0);
    CHECK_EQ(finish(&waiter), 0);
    bk_future_free(&f);
}

static void without_a_loop_only_callbacks_are_refused(void)
{
    bk_future *f = NULL;
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, say, NULL), -EINVAL);
    CHECK_EQ(bk_future_set(f, 3, NULL), 0);
    CHECK_EQ(bk_future_get(f, NULL, NULL), 0);
    bk_future_free(&f);
}

static int leave_one(void *ctx)
{
    bk_future *f = NULL;
    bk_future_new(&f);
    bk_future_add_done_callback(f, say, "no");
    *(bk_future **)ctx = f;
    return 0;
}

static void a_future_may_outlive_its_loop(void)
{
    bk_future *f = NULL;
    alloc_sweep_fail_nth(0);
    CHECK_EQ(in_loop(leave_one, &f), 0);
    bk_future_free(&f);
    CHECK_EQ(alloc_sweep_end(), 0);
    CHECK_STR(trace_text(), "");
}

static int make_callbacks(void *ctx)
{
    (void)ctx;
    bk_future *f = NULL;
    int r = bk_future_new(&f);
    if (r == 0)
        r = bk_future_add_done_callback(f, ignore_callback, NULL);
    if (r == 0)
        r = bk_future_add_done_callback(f, ignore_callback, NULL);
    if (r == 0)
        r = bk_future_set(f, 0, NULL);
    bk_future_free(&f);
    return r;
}

static int make_callbacks_run(void *ctx)
{
    return in_loop(make_callbacks, ctx);
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(make_callbacks_run, NULL) > 3);
}

CHECK_MAIN(TEST(C025_F2_N6_callbacks_in_order_through_the_loop),
           TEST(F2_N6_tasks_and_callbacks_in_one_line),
           TEST(C026_F2_added_to_a_done_future_it_is_still_scheduled),
           TEST(F2_a_cancel_calls_back_too), TEST(C027_F2_remove_takes_out_all_equal_ones),
           TEST(C027_F2_callbacks_may_add_and_remove), TEST(C031_freed_inside_its_own_callback),
           TEST(freed_while_pending_its_callbacks_hear_of_it),
           TEST(C028_F3_a_failure_nobody_read_is_reported_once_when_freed),
           TEST(C028_F3_not_when_read_awaited_or_cancelled),
           TEST(C028_F3_a_cancelled_waiter_has_not_read_it),
           TEST(C008_D1_a_failing_callback_is_reported), TEST(C117_F4_N5_another_thread_is_refused),
           TEST(without_a_loop_only_callbacks_are_refused), TEST(a_future_may_outlive_its_loop),
           TEST(every_allocation_may_fail))
