/* SPDX-License-Identifier: MIT
 * Futures tied together. */
#include <beck/future.h>
#include <beck/loop.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static struct {
    bk_future *source, *dest;
} two;

static bool open_two(void)
{
    return bk_future_new(&two.source) == 0 && bk_future_new(&two.dest) == 0 &&
           bk_future_chain(two.source, two.dest) == 0;
}

static void free_two(void)
{
    bk_future_free(&two.source);
    bk_future_free(&two.dest);
}

LOOP_TEST(C032_F4_a_result_goes_on_through_the_loop)
{
    int result = 0;
    void *value = NULL;
    CHECK(open_two());
    CHECK_EQ(bk_future_set(two.source, 7, &two), 0);
    CHECK(!bk_future_done(two.dest)); /* not inline */
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_future_get(two.dest, &result, &value), 0);
    CHECK_EQ(result, 7);
    CHECK(value == &two);
    free_two();
}

LOOP_TEST(C032_F4_an_error_goes_on)
{
    int result = 0;
    CHECK(open_two());
    CHECK_EQ(bk_future_set(two.source, -EIO, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    bk_future_free(&two.source);
    CHECK_EQ(bk_future_get(two.dest, &result, NULL), 0);
    CHECK_EQ(result, -EIO);
    free_two();
}

LOOP_TEST(C032_F4_a_cancel_goes_both_ways)
{
    CHECK(open_two());
    CHECK_EQ(bk_future_cancel(two.source), 1);
    CHECK_EQ(bk_yield(), 0);
    CHECK(bk_future_cancelled(two.dest));
    free_two();
    CHECK(open_two());
    CHECK_EQ(bk_future_cancel(two.dest), 1);
    CHECK_EQ(bk_yield(), 0);
    CHECK(bk_future_cancelled(two.source));
    free_two();
}

LOOP_TEST(C032_what_is_settled_stays_as_it_is)
{
    int result = 0;
    CHECK(open_two());
    CHECK_EQ(bk_future_set(two.dest, 1, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK(!bk_future_done(two.source)); /* a result does not go back */
    CHECK_EQ(bk_future_set(two.source, 2, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_future_get(two.dest, &result, NULL), 0);
    CHECK_EQ(result, 1);
    free_two();
    /* Both in the same turn. */
    CHECK(open_two());
    CHECK_EQ(bk_future_cancel(two.dest), 1);
    CHECK_EQ(bk_future_set(two.source, 2, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK(bk_future_cancelled(two.dest));
    CHECK_EQ(bk_future_get(two.source, &result, NULL), 0);
    CHECK_EQ(result, 2);
    free_two();
}

LOOP_TEST(C032_a_settled_source_settles_at_once)
{
    bk_future *source = NULL, *dest = NULL;
    int result = 0;
    CHECK_EQ(bk_future_new(&source), 0);
    CHECK_EQ(bk_future_new(&dest), 0);
    CHECK_EQ(bk_future_chain(source, source), -EINVAL);
    CHECK_EQ(bk_future_set(source, 3, NULL), 0);
    CHECK_EQ(bk_future_chain(source, dest), 0);
    CHECK_EQ(bk_future_wait(dest, &result, NULL), 0);
    CHECK_EQ(result, 3);
    bk_future_free(&source);
    bk_future_free(&dest);
}

LOOP_TEST(C031_C032_freed_while_tied)
{
    int result = 0;
    CHECK(open_two());
    bk_future_free(&two.dest);
    CHECK_EQ(bk_yield(), 0);
    CHECK(!bk_future_done(two.source)); /* nobody cancelled anything */
    CHECK_EQ(bk_future_set(two.source, 2, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    free_two();
    CHECK(open_two());
    bk_future_free(&two.source);
    CHECK_EQ(bk_future_wait(two.dest, &result, NULL), -ECANCELED);
    free_two();
    CHECK(open_two());
    CHECK_EQ(bk_future_set(two.source, 4, NULL), 0);
    bk_future_free(&two.source);
    CHECK_EQ(bk_future_wait(two.dest, &result, NULL), 0);
    CHECK_EQ(result, 4);
    free_two();
}

LOOP_TEST(C032_a_chain_of_chains)
{
    enum { N = 100 };
    bk_future *f[N] = {NULL};
    int result = 0;
    for (int i = 0; i < N; i++)
        CHECK_EQ(bk_future_new(&f[i]), 0);
    for (int i = 0; i + 1 < N; i++)
        CHECK_EQ(bk_future_chain(f[i], f[i + 1]), 0);
    CHECK_EQ(bk_future_set(f[0], 9, NULL), 0);
    CHECK_EQ(bk_future_wait(f[N - 1], &result, NULL), 0);
    CHECK_EQ(result, 9);
    for (int i = 0; i < N; i++)
        bk_future_free(&f[i]);
}

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("[%s]", report->what);
}

static int fail_unseen(void *ctx)
{
    (void)ctx;
    if (!open_two())
        return -ENOMEM;
    bk_future_set(two.source, -EIO, NULL);
    let_run(2);
    bk_future_free(&two.source);
    trace("source");
    bk_future_free(&two.dest);
    trace("dest");
    return 0;
}

/* Told once, of the end of the chain. */
static void C028_C032_F3_a_failure_that_nobody_reads_is_reported_once(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = note_report};
    CHECK_EQ(bk_run(fail_unseen, NULL, &opts), 0);
    CHECK_STR(trace_text(), "source [future failed and nobody looked at it] dest");
}

static int leave_two(void *ctx)
{
    (void)ctx;
    return open_two() ? 0 : -ENOMEM;
}

static int chain_scenario(void *ctx)
{
    two.source = two.dest = NULL;
    int r = in_loop(leave_two, ctx);
    free_two(); /* when the loop has closed */
    return r;
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(chain_scenario, NULL) > 5);
}

CHECK_MAIN(TEST(C032_F4_a_result_goes_on_through_the_loop), TEST(C032_F4_an_error_goes_on),
           TEST(C032_F4_a_cancel_goes_both_ways), TEST(C032_what_is_settled_stays_as_it_is),
           TEST(C032_a_settled_source_settles_at_once), TEST(C031_C032_freed_while_tied),
           TEST(C032_a_chain_of_chains),
           TEST(C028_C032_F3_a_failure_that_nobody_reads_is_reported_once),
           TEST(every_allocation_may_fail))
