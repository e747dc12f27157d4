/* SPDX-License-Identifier: MIT
 * Barriers.  Tests named as in CPython's test_locks.BarrierTests show the same behaviour, except
 * where cancellation is level-triggered: who was let through before a cancel, abort or reset has
 * its place. */
#include <beck/sync.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

enum { N = 5 };

struct party {
    bk_barrier *barrier;
    int number;
    int rounds;
};

/* Waits as often as it is told; says "number:place" each time. */
static int pass(void *ctx)
{
    struct party *p = ctx;
    int r = 0;
    for (int i = 0; r >= 0 && i < (p->rounds ? p->rounds : 1); i++) {
        r = bk_barrier_wait(p->barrier);
        if (r >= 0)
            trace("%d:%d", p->number, r);
        else
            trace("%d!", p->number);
    }
    return r < 0 ? r : 0;
}

static bk_barrier *barrier_of(size_t parties)
{
    bk_barrier *barrier = NULL;
    bk_barrier_new(&barrier, parties, "gate");
    return barrier;
}

static struct party parties[3 * N];
static bk_task *tasks[3 * N];

static void start_parties(bk_barrier *barrier, int from, int n)
{
    for (int i = from; i < from + n; i++) {
        parties[i] = (struct party){barrier, i, 1};
        tasks[i] = start(pass, &parties[i]);
    }
}

LOOP_TEST(S5_test_barrier)
{
    bk_barrier *b = barrier_of(N);
    CHECK_EQ(bk_barrier_parties(b), N);
    CHECK_EQ(bk_barrier_waiting(b), 0);
    CHECK(!bk_barrier_broken(b));
    bk_barrier_free(&b);
    CHECK(!b);
    bk_barrier_free(&b);
    CHECK_EQ(bk_barrier_new(&b, 0, NULL), -EINVAL);
    CHECK_EQ(bk_barrier_new(&b, (size_t)INT32_MAX + 1, NULL), -EINVAL);
    CHECK(!b);
}

LOOP_TEST(C115_S5_N6_parties_leave_together_and_the_last_one_runs_first)
{
    bk_barrier *b = barrier_of(N);
    start_parties(b, 0, N - 1);
    let_run(1);
    CHECK_EQ(bk_barrier_waiting(b), N - 1);
    CHECK_STR(trace_text(), "");
    start_parties(b, N - 1, 1);
    let_run(2);
    CHECK_STR(trace_text(), "4:4 0:0 1:1 2:2 3:3");
    CHECK_EQ(bk_barrier_waiting(b), 0);
    for (int i = 0; i < N; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    bk_barrier_free(&b);
}

LOOP_TEST(S5_test_wait_task_multiple_rounds)
{
    bk_barrier *b = barrier_of(2);
    struct party one = {b, 1, 3}, two = {b, 2, 3};
    bk_task *t1 = start(pass, &one), *t2 = start(pass, &two);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_STR(trace_text(), "2:1 1:0 1:1 2:0 2:1 1:0");
    bk_barrier_free(&b);
}

LOOP_TEST(S5_one_party_never_waits)
{
    bk_barrier *b = barrier_of(1);
    CHECK_EQ(bk_barrier_wait(b), 0);
    CHECK_EQ(bk_barrier_wait(b), 0);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_barrier_wait(b), -ECANCELED);
    bk_uncancel();
    bk_barrier_free(&b);
}

static struct {
    bk_barrier *barrier;
    bk_task *late;
    struct party party;
} drain;

/* Lets the first party through and comes back before that has run. */
static int complete_and_come_back(void *ctx)
{
    (void)ctx;
    int r = bk_barrier_wait(drain.barrier);
    trace("completed:%d waiting:%zu", r, bk_barrier_waiting(drain.barrier));
    drain.party = (struct party){drain.barrier, 9, 1};
    drain.late = start(pass, &drain.party);
    r = bk_barrier_wait(drain.barrier);
    trace("again:%d", r);
    return r < 0 ? r : 0;
}

/* Two who would make a group come while another one leaves: they wait until it has left. */
LOOP_TEST(C116_S5_nobody_enters_while_a_group_leaves)
{
    drain.barrier = barrier_of(2);
    struct party first = {drain.barrier, 0, 1};
    bk_task *t = start(pass, &first), *c = start(complete_and_come_back, NULL);
    let_run(1);
    CHECK_EQ(finish(&c), 0);
    CHECK_EQ(finish(&drain.late), 0);
    CHECK_EQ(finish(&t), 0);
    CHECK_STR(trace_text(), "completed:1 waiting:0 0:0 9:1 again:0");
    bk_barrier_free(&drain.barrier);
}

/* More come while a group leaves than fit the next one. */
LOOP_TEST(C116_S5_groups_form_one_after_the_other)
{
    bk_barrier *b = barrier_of(2);
    start_parties(b, 0, 7);
    let_run(4);
    CHECK_STR(trace_text(), "1:1 0:0 2:0 3:1 4:0 5:1");
    CHECK_EQ(bk_barrier_waiting(b), 1);
    CHECK_EQ(bk_barrier_wait(b), 1);
    for (int i = 0; i < 7; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    bk_barrier_free(&b);
}

LOOP_TEST(C116_S5_a_cancelled_waiter_just_leaves)
{
    bk_barrier *b = barrier_of(3);
    start_parties(b, 0, 2);
    let_run(1);
    bk_task_cancel(tasks[0]);
    let_run(1);
    CHECK_EQ(bk_barrier_waiting(b), 1);
    start_parties(b, 2, 1);
    let_run(1);
    CHECK_EQ(bk_barrier_waiting(b), 2);
    CHECK(!bk_barrier_broken(b));
    CHECK_EQ(bk_barrier_wait(b), 2);
    CHECK_EQ(finish(&tasks[0]), -ECANCELED);
    CHECK_EQ(finish(&tasks[1]), 0);
    CHECK_EQ(finish(&tasks[2]), 0);
    CHECK_STR(trace_text(), "0! 1:0 2:1"); /* each place once, whoever left */
    bk_barrier_free(&b);
}

/* The others go in either case: it was there.  asyncio raises the cancel in both; here who was let
 * through before it has its place. */
static void let_through_and_cancelled(bool cancel_first)
{
    bk_barrier *b = barrier_of(3);
    start_parties(b, 0, 2);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(tasks[0]);
    CHECK_EQ(bk_barrier_wait(b), 2);
    if (!cancel_first)
        bk_task_cancel(tasks[0]);
    CHECK_EQ(finish(&tasks[0]), -ECANCELED); /* not told, so it ends as cancelled */
    CHECK_EQ(finish(&tasks[1]), 0);
    CHECK_STR(trace_text(), cancel_first ? "0! 1:1" : "0:0 1:1");
    CHECK_EQ(bk_barrier_waiting(b), 0);
    bk_barrier_free(&b);
}

LOOP_TEST(S5_differs_let_through_and_cancelled_in_one_turn)
{
    let_through_and_cancelled(false);
    trace_reset();
    let_through_and_cancelled(true);
}

LOOP_TEST(C116_S5_test_reset_barrier)
{
    bk_barrier *b = barrier_of(N);
    CHECK_EQ(bk_barrier_reset(b), 0); /* nobody is hurt */
    start_parties(b, 0, N - 1);
    let_run(1);
    CHECK_EQ(bk_barrier_reset(b), 0);
    CHECK(!bk_barrier_broken(b));
    CHECK_EQ(bk_barrier_waiting(b), 0);
    for (int i = 0; i < N - 1; i++) {
        CHECK_EQ(finish(&tasks[i]), -BK_EBROKEN);
        CHECK(bk_barrier_waiting(b) == 0);
    }
    start_parties(b, 0, N - 1);
    let_run(1);
    CHECK_EQ(bk_barrier_wait(b), N - 1);
    for (int i = 0; i < N - 1; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    bk_barrier_free(&b);
}

/* Who comes between a reset and the last broken one's turn begins the next group. */
LOOP_TEST(C116_S5_newcomers_wait_while_a_reset_empties_the_barrier)
{
    bk_barrier *b = barrier_of(2);
    start_parties(b, 0, 1);
    let_run(1);
    CHECK_EQ(bk_barrier_reset(b), 0);
    start_parties(b, 1, 1);
    CHECK_EQ(bk_barrier_wait(b), 0); /* suspends, though two are here: one is leaving */
    CHECK_EQ(finish(&tasks[0]), -BK_EBROKEN);
    CHECK_EQ(finish(&tasks[1]), 0);
    CHECK_STR(trace_text(), "0! 1:1");
    bk_barrier_free(&b);
}

/* asyncio breaks those who were let through but have not run; here they have their places. */
LOOP_TEST(S5_differs_test_reset_barrier_while_tasks_draining)
{
    bk_barrier *b = barrier_of(3);
    start_parties(b, 0, 2);
    let_run(1);
    CHECK_EQ(bk_barrier_wait(b), 2);
    CHECK_EQ(bk_barrier_reset(b), 0);
    CHECK_EQ(finish(&tasks[0]), 0);
    CHECK_EQ(finish(&tasks[1]), 0);
    CHECK_STR(trace_text(), "0:0 1:1");
    bk_barrier_free(&b);
}

LOOP_TEST(C116_S5_test_abort_barrier)
{
    bk_barrier *b = barrier_of(N);
    start_parties(b, 0, N - 1);
    let_run(1);
    CHECK_EQ(bk_barrier_abort(b), 0);
    CHECK(bk_barrier_broken(b));
    for (int i = 0; i < N - 1; i++)
        CHECK_EQ(finish(&tasks[i]), -BK_EBROKEN);
    CHECK_EQ(bk_barrier_wait(b), -BK_EBROKEN);
    CHECK_STR(bk_errmsg(), "the barrier is broken");
    CHECK_EQ(bk_barrier_abort(b), 0);
    CHECK_EQ(bk_barrier_reset(b), 0);
    CHECK(!bk_barrier_broken(b));
    start_parties(b, 0, N - 1);
    let_run(1);
    CHECK_EQ(bk_barrier_wait(b), N - 1);
    for (int i = 0; i < N - 1; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    bk_barrier_free(&b);
}

/* An abort while a group leaves: it leaves whole, and who waits for the next one is told. */
LOOP_TEST(S5_test_abort_barrier_when_tasks_half_draining)
{
    bk_barrier *b = barrier_of(2);
    start_parties(b, 0, 1);
    let_run(1);
    CHECK_EQ(bk_barrier_wait(b), 1);
    start_parties(b, 1, 1);
    let_run(1); /* the first has left, the second waits */
    start_parties(b, 2, 2);
    let_run(1);
    trace_reset();
    bk_barrier_abort(b);
    for (int i = 0; i < 4; i++) {
        int r = finish(&tasks[i]);
        CHECK(r == 0 || r == -BK_EBROKEN);
    }
    CHECK(bk_barrier_broken(b));
    bk_barrier_free(&b);
}

static int free_barrier(void *ctx)
{
    bk_barrier_free(ctx);
    return 0;
}

/* Freed while one has been let through but not run, and another is in line behind it. */
LOOP_TEST(S5_free_wakes_waiters)
{
    bk_barrier *b = barrier_of(2);
    start_parties(b, 0, 1);
    let_run(1);
    start_parties(b, 1, 1);
    bk_task *f = start(free_barrier, &b);
    CHECK_EQ(bk_barrier_wait(b), 1);
    CHECK_EQ(finish(&tasks[0]), 0);
    CHECK_EQ(finish(&tasks[1]), -BK_ECLOSED);
    CHECK_EQ(finish(&f), 0);
    CHECK(!b);
    CHECK_STR(trace_text(), "0:0 1!");
}

LOOP_TEST(test_dump)
{
    bk_barrier *b = barrier_of(2);
    start_parties(b, 0, 1);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for barrier 'gate' (1 of 2), since"));
    bk_barrier_free(&b);
    CHECK_EQ(finish(&tasks[0]), -BK_ECLOSED);
}

static int make_one(void *ctx)
{
    (void)ctx;
    bk_barrier *barrier = NULL;
    int r = bk_barrier_new(&barrier, 2, "x");
    bk_barrier_free(&barrier);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_one, NULL), 1);
}

CHECK_MAIN(TEST(S5_test_barrier),
           TEST(C115_S5_N6_parties_leave_together_and_the_last_one_runs_first),
           TEST(S5_test_wait_task_multiple_rounds), TEST(S5_one_party_never_waits),
           TEST(C116_S5_nobody_enters_while_a_group_leaves),
           TEST(C116_S5_groups_form_one_after_the_other),
           TEST(C116_S5_a_cancelled_waiter_just_leaves),
           TEST(S5_differs_let_through_and_cancelled_in_one_turn), TEST(C116_S5_test_reset_barrier),
           TEST(C116_S5_newcomers_wait_while_a_reset_empties_the_barrier),
           TEST(S5_differs_test_reset_barrier_while_tasks_draining),
           TEST(C116_S5_test_abort_barrier), TEST(S5_test_abort_barrier_when_tasks_half_draining),
           TEST(S5_free_wakes_waiters), TEST(test_dump), TEST(test_out_of_memory))
