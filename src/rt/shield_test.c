/* SPDX-License-Identifier: MIT
 * Shielded waits: who sees what becomes of the task inside. */
#include "tests/run_helper.h"

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("report:%s", report->detail);
}

static int run_noting(bk_fn *body)
{
    trace_reset();
    return bk_run(body, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = note_report});
}

static int nap(void *ctx)
{
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : (int)(intptr_t)ctx;
}

static int fail_later(void *ctx)
{
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : bk_fail(-EIO, "%s", (const char *)ctx);
}

static int wait_shielded(void *ctx)
{
    int result = 99;
    int r = bk_task_wait_shielded(ctx, &result);
    trace("%s", r == 0 ? "ended" : r == -ECANCELED ? "cancelled" : "?");
    return r < 0 ? r : result;
}

LOOP_TEST(C085_T8_a_cancel_of_the_waiter_leaves_the_task_running)
{
    bk_task *inner = start(nap, (void *)5), *outer = start(wait_shielded, inner);
    let_run(2);
    bk_task_cancel(outer);
    CHECK_EQ(finish(&outer), -ECANCELED);
    CHECK(!bk_task_done(inner));
    CHECK_EQ(bk_task_cancelling(inner), 0);
    CHECK_EQ(finish(&inner), 5);
    CHECK_STR(trace_text(), "cancelled");
}

LOOP_TEST(C085_T8_result_error_and_cancel_of_the_task_come_through)
{
    bk_task *inner = start(nap, (void *)5), *outer = start(wait_shielded, inner);
    CHECK_EQ(finish(&outer), 5);
    outer = start(wait_shielded, inner); /* done already: as it is */
    CHECK_EQ(finish(&outer), 5);
    bk_task_free(&inner);
    inner = start(fail_later, "broken");
    outer = start(wait_shielded, inner);
    CHECK_EQ(finish(&outer), -EIO);
    CHECK_STR(bk_errmsg(), "broken");
    bk_task_free(&inner);
    inner = start(nap, (void *)5);
    outer = start(wait_shielded, inner);
    let_run(2);
    bk_task_cancel(inner); /* by somebody else */
    CHECK_EQ(finish(&outer), -ECANCELED);
    bk_task_free(&inner);
    CHECK_STR(trace_text(), "ended ended ended ended");
}

static int two_waiters(void *ctx)
{
    (void)ctx;
    bk_task *inner = start(fail_later, "nobody waited");
    bk_task *a = start(wait_shielded, inner), *b = start(wait_shielded, inner);
    let_run(2);
    bk_task_cancel(a);
    bk_task_cancel(b);
    finish(&a);
    finish(&b);
    bk_task_free(&inner);
    return bk_sleep(bk_ms(20));
}

static void C085_T8_a_failure_after_the_waiters_went_is_reported_once(void)
{
    CHECK_EQ(run_noting(two_waiters), 0);
    CHECK_STR(trace_text(), "cancelled cancelled report:nobody waited");
}

static int one_stays(void *ctx)
{
    (void)ctx;
    bk_task *inner = start(fail_later, "somebody waited");
    bk_task *a = start(wait_shielded, inner), *b = start(wait_shielded, inner);
    let_run(2);
    bk_task_cancel(a);
    finish(&a);
    int r = finish(&b);
    bk_task_free(&inner);
    return r == -EIO ? 0 : -1;
}

static void T8_a_failure_that_one_waiter_saw_is_not_reported(void)
{
    CHECK_EQ(run_noting(one_stays), 0);
    CHECK_STR(trace_text(), "cancelled ended");
}

static int keep_no_handle(void *ctx)
{
    (void)ctx;
    bk_task *inner = start(nap, (void *)5);
    bk_task *borrowed = inner;
    bk_task *outer = start(wait_shielded, borrowed);
    let_run(2);
    bk_task_free(&inner); /* the waiter keeps it while it waits, the run as long as it lives */
    bk_task_cancel(outer);
    finish(&outer);
    trace("%zu", bk_task_count());
    return bk_sleep(bk_ms(20));
}

static void T8_N4_a_task_without_handles_runs_on(void)
{
    CHECK_EQ(run_noting(keep_no_handle), 0);
    CHECK_STR(trace_text(), "cancelled 2");
}

CHECK_MAIN(TEST(C085_T8_a_cancel_of_the_waiter_leaves_the_task_running),
           TEST(C085_T8_result_error_and_cancel_of_the_task_come_through),
           TEST(C085_T8_a_failure_after_the_waiters_went_is_reported_once),
           TEST(T8_a_failure_that_one_waiter_saw_is_not_reported),
           TEST(T8_N4_a_task_without_handles_runs_on))
