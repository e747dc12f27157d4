/* SPDX-License-Identifier: MIT
 * Turns at long computations: one at a time, in order, what uses before what makes, cancels. */
#include "rt/turn.h"

#include <beck/loop.h>

#include "tests/run_helper.h"

struct job {
    const char *name;
    enum bki_turn_line line;
    int steps;
    bool again; /* when it has made something, it uses it at once */
};

static int n_waited;

static int compute(void *ctx)
{
    const struct job *job = ctx;
    int r = bki_turn_take(job->line);
    n_waited += r > 0;
    if (r < 0) {
        trace("%s!", job->name);
        return r;
    }
    for (int i = 0; i < job->steps; i++) {
        trace("%s", job->name);
        bki_work(256 * 1024);
    }
    bki_turn_give();
    if (!job->again)
        return 0;
    const struct job use = {.name = "use", .line = BKI_TURN_USES, .steps = 2};
    return compute((void *)(uintptr_t)&use);
}

LOOP_TEST(who_has_the_turn_keeps_it_over_its_steps_and_lets_others_run)
{
    struct job a = {.name = "a", .line = BKI_TURN_MAKES, .steps = 2};
    struct job b = {.name = "b", .line = BKI_TURN_MAKES, .steps = 2};
    bk_task *ta = start(compute, &a), *tb = start(compute, &b);
    for (int i = 0; i < 4; i++) {
        trace("other");
        bk_yield();
    }
    CHECK_EQ(finish(&ta), 0);
    CHECK_EQ(finish(&tb), 0);
    CHECK_STR(trace_text(), "other a other a other other b b");
    CHECK_EQ(n_waited, 1);
}

LOOP_TEST(first_come_first_served_and_use_before_making)
{
    struct job makes[] = {{"a", BKI_TURN_MAKES, 1, false}, {"b", BKI_TURN_MAKES, 1, false}};
    struct job uses[] = {{"c", BKI_TURN_USES, 1, false}, {"d", BKI_TURN_USES, 1, false}};
    bk_task *tasks[4];
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    tasks[0] = start(compute, &makes[0]);
    tasks[1] = start(compute, &makes[1]);
    tasks[2] = start(compute, &uses[0]);
    tasks[3] = start(compute, &uses[1]);
    let_run(3);
    CHECK_STR(trace_text(), "");
    bki_turn_give();
    for (int i = 0; i < 4; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    CHECK_STR(trace_text(), "c d a b");
}

/* So two large things are never there together because the first one's owner was not quick enough.
 */
LOOP_TEST(what_was_just_made_is_used_before_the_next_is_made)
{
    struct job a = {"a", BKI_TURN_MAKES, 2, true}, b = {"b", BKI_TURN_MAKES, 1, true};
    bk_task *ta = start(compute, &a), *tb = start(compute, &b);
    CHECK_EQ(finish(&ta), 0);
    CHECK_EQ(finish(&tb), 0);
    CHECK_STR(trace_text(), "a a use use b use use");
}

LOOP_TEST(a_cancelled_waiter_passes_the_turn_on)
{
    struct job a = {"a", BKI_TURN_MAKES, 1, false}, b = {"b", BKI_TURN_MAKES, 1, false};
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bk_task *ta = start(compute, &a), *tb = start(compute, &b);
    let_run(2);
    bki_turn_give();    /* a is told, */
    bk_task_cancel(ta); /* and cancelled before it runs */
    CHECK_EQ(finish(&ta), -ECANCELED);
    CHECK_EQ(finish(&tb), 0);
    CHECK_STR(trace_text(), "a! b");
}

LOOP_TEST(a_waiter_is_seen_in_the_dump_and_can_be_cancelled)
{
    struct job a = {"a", BKI_TURN_USES, 1, false};
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bk_task *ta = start(compute, &a);
    let_run(2);
    CHECK(strstr(dump_text(), "turn to compute"));
    bk_task_cancel(ta);
    CHECK_EQ(finish(&ta), -ECANCELED);
    bki_turn_give();
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bki_turn_give();
}

static int take_cancelled(void *ctx)
{
    (void)ctx;
    bk_task_cancel(bk_task_current());
    return bki_turn_take(BKI_TURN_MAKES);
}

LOOP_TEST(a_cancelled_task_takes_no_turn)
{
    bk_task *task = start(take_cancelled, NULL);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    bki_turn_give();
}

static int say_once(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

LOOP_TEST(little_work_adds_up)
{
    bk_task *other = start(say_once, (char[]){"other"});
    for (int i = 0; i < 200; i++) {
        bki_work(4096);
        if (i % 50 == 0)
            trace("%d", i);
    }
    CHECK_EQ(finish(&other), 0);
    CHECK_STR(trace_text(), "0 50 other 100 150");
}

static int work_in_call(void *ctx)
{
    bki_work(10 << 20);
    *(bool *)ctx = true;
    return bki_turn_take(BKI_TURN_MAKES) == -BK_ENOTASK ? 0 : -EPROTO;
}

LOOP_TEST(a_call_works_on)
{
    bool called = false;
    CHECK_EQ(bk_call_soon(NULL, work_in_call, &called), 0);
    let_run(2);
    CHECK(called && !bki_turn_is_taken());
}

static void without_a_loop_there_is_nobody_to_give_way_to(void)
{
    bki_work(10 << 20);
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), -BK_ENOTASK);
    CHECK_EQ(bki_nowhere.budget, 0);
}

CHECK_MAIN(TEST(a_call_works_on), TEST(without_a_loop_there_is_nobody_to_give_way_to),
           TEST(who_has_the_turn_keeps_it_over_its_steps_and_lets_others_run),
           TEST(first_come_first_served_and_use_before_making),
           TEST(what_was_just_made_is_used_before_the_next_is_made),
           TEST(a_cancelled_waiter_passes_the_turn_on),
           TEST(a_waiter_is_seen_in_the_dump_and_can_be_cancelled),
           TEST(a_cancelled_task_takes_no_turn), TEST(little_work_adds_up))
