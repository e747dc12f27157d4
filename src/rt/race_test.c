/* SPDX-License-Identifier: MIT
 * race: who starts when, who wins, and what becomes of the others. */
#include <beck/error.h>

#include "tests/run_helper.h"

struct runner {
    int ms;        /* how long it takes */
    int result;    /* what it comes to */
    int tidy_ms;   /* how long it cleans up when cancelled */
    bool stubborn; /* succeeds although cancelled */
};

static int64_t now_ms(void)
{
    return bk_now().ns / 1000000;
}

static int tidy(void *ctx)
{
    return bk_sleep(bk_ms(((struct runner *)ctx)->tidy_ms));
}

static int run(void *ctx)
{
    struct runner *runner = ctx;
    trace("+%d", (int)now_ms());
    int r = runner->ms ? bk_sleep(bk_ms(runner->ms)) : 0;
    if (r < 0)
        bk_shield(tidy, runner);
    trace(r == 0 ? "-%d" : "x%d", (int)now_ms());
    if (r < 0 && !runner->stubborn)
        return r;
    return runner->result < 0 ? bk_fail(runner->result, "failed after %d", runner->ms)
                              : runner->result;
}

static int race(struct runner *runners, bk_call *calls, int n, bk_duration delay)
{
    for (int i = 0; i < n; i++)
        calls[i] = (bk_call){.fn = run, .ctx = &runners[i], .result = 99};
    return bk_race(calls, (size_t)n, delay);
}

LOOP_TEST(T17_the_next_starts_when_one_is_slow_and_the_first_success_wins)
{
    struct runner runners[] = {{.ms = 300}, {.ms = 40, .result = 7}, {.ms = 50}};
    bk_call calls[3];
    CHECK_EQ(race(runners, calls, 3, bk_ms(20)), 1);
    CHECK_STR(trace_text(), "+0 +20 +40 -60 x60 x60");
    CHECK_EQ(calls[0].result, -ECANCELED);
    CHECK_EQ(calls[1].result, 7);
    CHECK_EQ(calls[2].result, -ECANCELED);
}

LOOP_TEST(T17_the_next_starts_at_once_when_the_one_before_fails)
{
    struct runner runners[] = {{.ms = 5, .result = -EIO}, {.ms = 30}, {.ms = 1}};
    bk_call calls[3];
    CHECK_EQ(race(runners, calls, 3, bk_ms(20)), 2);
    CHECK_STR(trace_text(), "+0 -5 +5 +25 -26 x26");
    CHECK_EQ(calls[0].result, -EIO);
    trace_reset();
    /* The failure of an earlier one does not hurry the next. */
    struct runner early[] = {{.ms = 25, .result = -EIO}, {.ms = 100}, {.ms = 1}};
    CHECK_EQ(race(early, calls, 3, bk_ms(20)), 2);
    CHECK_STR(trace_text(), "+26 +46 -51 +66 -67 x67");
}

LOOP_TEST(T17_one_that_is_done_at_once_leaves_the_others_unstarted)
{
    struct runner runners[] = {{.ms = 0, .result = 3}, {.ms = 1}};
    bk_call calls[2];
    CHECK_EQ(race(runners, calls, 2, bk_ms(20)), 0);
    CHECK_STR(trace_text(), "+0 -0");
    CHECK_EQ(calls[1].result, -ECANCELED);
}

LOOP_TEST(T17_all_at_once_or_only_after_failures)
{
    struct runner runners[] = {{.ms = 30}, {.ms = 20}, {.ms = 10, .result = -EIO}};
    bk_call calls[3];
    CHECK_EQ(race(runners, calls, 3, bk_ms(0)), 1);
    CHECK_STR(trace_text(), "+0 +0 +0 -10 -20 x20");
    trace_reset();
    struct runner failing[] = {{.ms = 30, .result = -EIO}, {.ms = 20}, {.ms = 10}};
    CHECK_EQ(race(failing, calls, 3, bk_forever()), 1);
    CHECK_STR(trace_text(), "+20 -50 +50 -70");
}

LOOP_TEST(T17_when_all_fail_the_first_failure_is_told)
{
    struct runner runners[] = {{.ms = 30, .result = -EIO}, {.ms = 5, .result = -EPIPE}};
    bk_call calls[2];
    CHECK_EQ(race(runners, calls, 2, bk_ms(10)), -EPIPE);
    CHECK_STR(bk_errmsg(), "failed after 5");
    CHECK_EQ(calls[0].result, -EIO);
    CHECK_EQ(calls[1].result, -EPIPE);
    CHECK_EQ(bk_race(calls, 0, bk_ms(1)), -EINVAL);
}

LOOP_TEST(T17_losers_are_waited_for_and_may_have_succeeded_too)
{
    struct runner runners[] = {{.ms = 300, .tidy_ms = 50}, {.ms = 5}, {.ms = 300, .result = 4}};
    runners[2].stubborn = true;
    bk_call calls[3];
    CHECK_EQ(race(runners, calls, 3, bk_ms(0)), 1);
    CHECK_EQ(now_ms(), 55);
    CHECK_EQ(calls[2].result, 4);
}

static int race_for_ever(void *ctx)
{
    struct runner runners[] = {{.ms = 9000, .tidy_ms = 10}, {.ms = 9001}};
    bk_call calls[2];
    runners[1].stubborn = ctx != NULL;
    return race(runners, calls, 2, bk_ms(5));
}

LOOP_TEST(T17_a_cancel_from_outside_reaches_all)
{
    bk_task *task = start(race_for_ever, NULL);
    bk_sleep(bk_ms(20));
    bk_task_cancel(task);
    CHECK_EQ(finish(&task), -ECANCELED);
    CHECK_EQ(now_ms(), 30);
    CHECK_STR(trace_text(), "+0 +5 x20 x30");
}

LOOP_TEST(T17_a_cancelled_race_that_was_won_tells_the_winner)
{
    bk_task *task = start(race_for_ever, (void *)1);
    bk_sleep(bk_ms(20));
    bk_task_cancel(task);
    int result = 0;
    CHECK_EQ(bk_task_wait(task, &result), 0);
    /* The body returned 1 without having been told: it ends as cancelled. */
    CHECK_EQ(result, -ECANCELED);
    bk_task_free(&task);
    CHECK_EQ(bk_wait_for(race_for_ever, (void *)1, bk_ms(10)), 1);
}

static int race_eagerly(void *ctx)
{
    (void)ctx;
    struct runner runners[] = {{.result = -EIO}, {.ms = 10}, {.result = 7}, {.ms = 1}};
    bk_call calls[4];
    int r = race(runners, calls, 4, bk_ms(5));
    trace("%d %d %d", r, calls[0].result == -EIO, calls[3].result == -ECANCELED);
    trace("%d", bk_yield());
    return 0;
}

static void T17_T2_with_eager_tasks(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .eager = true};
    CHECK_EQ(bk_run(race_eagerly, NULL, &opts), 0);
    CHECK_STR(trace_text(), "+0 -0 +0 +5 -5 x5 2 1 1 0");
}

CHECK_MAIN(TEST(T17_the_next_starts_when_one_is_slow_and_the_first_success_wins),
           TEST(T17_the_next_starts_at_once_when_the_one_before_fails),
           TEST(T17_one_that_is_done_at_once_leaves_the_others_unstarted),
           TEST(T17_all_at_once_or_only_after_failures),
           TEST(T17_when_all_fail_the_first_failure_is_told),
           TEST(T17_losers_are_waited_for_and_may_have_succeeded_too),
           TEST(T17_T2_with_eager_tasks), TEST(T17_a_cancel_from_outside_reaches_all),
           TEST(T17_a_cancelled_race_that_was_won_tells_the_winner))
