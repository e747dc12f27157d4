/* SPDX-License-Identifier: MIT
 * A flow cancelled at every suspension point, and one whose n-th allocation fails for every n:
 * nothing leaks, and every item is accounted for. */
#include <beck/group.h>

#include "flow/flow_fixture.h"
#include "tests/alloc_sweep.h"

static struct fix fix;

static int work(void *ctx, bk_msg **msg)
{
    (void)ctx;
    int n = fix_number(*msg);
    int r = bk_sleep(bk_ms(1 + n * 7919 % 17));
    if (r == 0)
        r = bk_yield();
    return r < 0 ? r : n % 10 == 3 ? -EIO : 0;
}

static int drop_some(void *ctx, bk_msg **msg)
{
    (void)ctx;
    if (fix_number(*msg) % 10 == 4)
        bk_msg_free(msg);
    return 0;
}

static int build_everything(struct fix *f)
{
    bk_stage_opts ordered = {.parallel = 4, .ordered = true}, any = {.parallel = 3};
    int r = bk_flow_map(f->flow, work, NULL, &ordered);
    if (r == 0)
        r = bk_flow_map(f->flow, drop_some, NULL, NULL);
    if (r == 0)
        r = bk_flow_map(f->flow, work, NULL, &any);
    return r < 0 ? r : fix_to_sink(f);
}

static void prepare(int n)
{
    memset(&fix, 0, sizeof fix);
    fix.n = n;
    fix.build = build_everything;
    fix.opts.limit = fix.in_flight_limit = 12;
    fix.opts.on_error = BK_ON_ERROR_SKIP;
    fix.source_gap = bk_ms(1);
    fix.sink_gap = bk_ms(2);
}

/* ---- Cancel after the k-th turn of the loop ---- */

static int turns, drain_at;

static int cancel_after_turns(void *ctx)
{
    bk_task *task = NULL;
    int r = bk_go(&task, fix_run_flow, ctx, NULL);
    if (r < 0)
        return r;
    for (int i = 0; i < turns && !bk_task_done(task); i++) {
        if (i == drain_at && fix.flow)
            bk_flow_drain(fix.flow);
        r = i % 8 == 7 ? bk_sleep(bk_us(500)) : bk_yield();
        if (r < 0)
            break;
    }
    bk_task_cancel(task);
    (void)bk_task_wait(task, &r);
    bk_task_free(&task);
    return r;
}

static void sweep_cancel(int with_drain)
{
    int cancelled = 0;
    for (turns = 0;; turns++) {
        prepare(40);
        drain_at = with_drain ? turns / 2 : -1;
        int r = bk_run(cancel_after_turns, &fix, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
        CHECK_EQ(fix.wrong, 0);
        CHECK_EQ(fix.given == (int)fix.stats.received, 1);
        if (r == 0 && fix.result == 0 && fix.given > 0 && turns > 100)
            break;
        CHECK(r == -ECANCELED || (r == 0 && with_drain));
        cancelled += r == -ECANCELED;
        CHECK(turns < 20000);
    }
    CHECK(cancelled > 50);
}

static void cancel_at_every_turn(void)
{
    sweep_cancel(0);
}

static void cancel_while_draining(void)
{
    sweep_cancel(1);
}

/* What a cancel interrupts goes back to the source, and the watermark stays below it. */
static void a_cancel_returns_what_is_in_flight(void)
{
    prepare(1000);
    turns = 400;
    drain_at = -1;
    CHECK_EQ(bk_run(cancel_after_turns, &fix, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}),
             -ECANCELED);
    CHECK(fix.stats.returned > 0);
    CHECK_EQ(fix.stats.lost, 0);
    for (int i = 1; i <= (int)fix.committed; i++)
        CHECK(fix.outcome[i] != BK_RETURNED);
    CHECK(fix.outcome[fix.committed + 1] == BK_RETURNED);
    CHECK_EQ(fix.wrong, 0);
}

/* ---- Memory ---- */

static int run_small(void *ctx)
{
    (void)ctx;
    prepare(12);
    fix.opts.on_event = NULL;
    int r = fix_run(&fix);
    if (fix.wrong)
        return -EINVAL;
    return r;
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(run_small, NULL) > 20);
}

CHECK_MAIN(TEST(cancel_at_every_turn), TEST(cancel_while_draining),
           TEST(a_cancel_returns_what_is_in_flight), TEST(every_allocation_may_fail))
