/* SPDX-License-Identifier: MIT
 * Sweeps over waiting for tasks that exist already: wait, gather_tasks, as_completed, wait_for;
 * and a race. */
#include "tests/sweep.h"
#include "tests/sweep_crowd.h"

/* ---- wait ---- */

static int start_three(void *ctx)
{
    return start_children(ctx, walk_to_1, walk_into_a_wall, walk_to_2);
}

static int start_two_and_one_that_stands(void *ctx)
{
    return start_children(ctx, walk_to_1, stand, walk_to_2);
}

static int wait_for_three(void *ctx)
{
    struct crowd *c = ctx;
    int r = bk_wait(c->tasks, 3, BK_FIRST_COMPLETED, bk_forever());
    if (r >= 1)
        r = bk_wait(c->tasks, 3, BK_FIRST_ERROR, bk_seconds(1));
    if (r >= 1)
        r = bk_wait(c->tasks, 3, BK_ALL_COMPLETED, bk_forever());
    return r;
}

static int wait_with_a_limit(void *ctx)
{
    struct crowd *c = ctx;
    return bk_wait(c->tasks, 3, BK_ALL_COMPLETED, bk_ms(5));
}

/* bk_wait cancels nobody. */
static void all_get_through(void *ctx, int result)
{
    struct crowd *c = ctx;
    int results[3] = {0};
    (void)result;
    for (int i = 0; i < 3; i++)
        bk_task_wait(c->tasks[i], &results[i]);
    bool ok = results[0] == 1 && results[1] == -EIO && results[2] == 2;
    if (!ok && !sweep_excused())
        sweep_lost("results %d %d %d", results[0], results[1], results[2]);
}

static void one_stands(void *ctx, int result)
{
    struct crowd *c = ctx;
    int results[3] = {0};
    (void)result;
    bk_task_wait(c->tasks[0], &results[0]);
    bk_task_wait(c->tasks[2], &results[2]);
    bool ok = results[0] == 1 && results[2] == 2 && !bk_task_done(c->tasks[1]);
    if (!ok && !sweep_excused())
        sweep_lost("results %d %d, or the third has gone", results[0], results[2]);
}

/* ---- gather_tasks ---- */

static int start_two_walkers(void *ctx)
{
    return start_children(ctx, walk_to_1, walk_to_2, NULL);
}

static int gather_two(void *ctx)
{
    struct crowd *c = ctx;
    c->waited = true;
    int r = bk_gather_tasks(c->tasks, 2, NULL);
    if (r == 0 && bk_task_result(c->tasks[0]) + bk_task_result(c->tasks[1]) != 3)
        sweep_lost("gathered, and the results are others");
    return r;
}

/* Whoever was cancelled has ended by the time that the call returns. */
static void both_have_ended(void *ctx, int result)
{
    const struct crowd *c = ctx;
    if (c->waited && result != -ENOMEM)
        for (int i = 0; i < 2; i++)
            if (!bk_task_done(c->tasks[i]))
                sweep_lost("the gather is over and child %d is not", i);
}

static int gather_with_a_failure(void *ctx)
{
    struct crowd *c = ctx;
    return bk_gather_tasks(c->tasks, 3, NULL);
}

/* The failure comes first; the one that stands runs on, unless the caller was cancelled. */
static int start_a_failure_and_one_that_stands(void *ctx)
{
    return start_children(ctx, walk_into_a_wall, stand, walk_to_2);
}

static void one_stands_or_all_were_cancelled(void *ctx, int result)
{
    struct crowd *c = ctx;
    if (result == -EIO && bk_task_done(c->tasks[1]))
        sweep_lost("a failure has ended its neighbour");
    if (!bk_task_done(c->tasks[0]))
        return; /* the subject never began */
    bk_task_result(c->tasks[0]);
}

static int collect_three(void *ctx)
{
    struct crowd *c = ctx;
    return bk_gather_tasks(c->tasks, 3, &(bk_gather_opts){.collect = true});
}

/* ---- as_completed ---- */

static int take_one_by_one(void *ctx)
{
    struct crowd *c = ctx;
    bk_as_completed *ended = NULL;
    size_t i;
    int sum = 0;
    int r = bk_as_completed_new(&ended, c->tasks, 3, bk_seconds(1));
    while (r >= 0 && (r = bk_as_completed_next(ended, &i)) > 0)
        sum += bk_task_result(c->tasks[i]);
    bk_as_completed_free(&ended);
    return r < 0 ? r : sum;
}

static int take_until_the_limit(void *ctx)
{
    struct crowd *c = ctx;
    bk_as_completed *ended = NULL;
    size_t i;
    int r = bk_as_completed_new(&ended, c->tasks, 3, bk_ms(5));
    while (r >= 0 && (r = bk_as_completed_next(ended, &i)) > 0)
        c->n_clean++;
    bk_as_completed_free(&ended);
    if (r == -ETIMEDOUT && c->n_clean != 2 && !sweep_excused())
        sweep_lost("the limit has passed, and %d ended", c->n_clean);
    return r;
}

/* ---- wait_for ---- */

static int start_one(void *ctx)
{
    return start_children(ctx, walk_to_2, NULL, NULL);
}

static int start_one_that_stands(void *ctx)
{
    return start_children(ctx, stand, NULL, NULL);
}

static int wait_for_one(void *ctx)
{
    struct crowd *c = ctx;
    c->waited = true;
    c->result = -EINPROGRESS;
    int r = bk_task_wait_for(c->tasks[0], &c->result, bk_ms(2));
    return r < 0 ? r : c->result;
}

static void the_child_has_ended(void *ctx, int result)
{
    const struct crowd *c = ctx;
    if (c->waited && result != -ENOMEM && !bk_task_done(c->tasks[0]))
        sweep_lost("the wait is over and the child is not");
    if (c->waited && result != -ENOMEM && bk_task_result(c->tasks[0]) != c->result)
        sweep_lost("the child ends with %d, not %d", bk_task_result(c->tasks[0]), c->result);
}

struct promise {
    bk_future *future;
    bool set;
};

static int make_promise(void *ctx)
{
    return bk_future_new(&((struct promise *)ctx)->future);
}

static void drop_promise(void *ctx)
{
    bk_future_free(&((struct promise *)ctx)->future);
}

static int keep_promise(void *ctx)
{
    struct promise *p = ctx;
    int r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_yield();
    if (r == 0)
        r = bk_future_set(p->future, 3, NULL);
    p->set = r == 0;
    return r;
}

static int wait_for_promise(void *ctx)
{
    struct promise *p = ctx;
    int result = -EINPROGRESS;
    int r = bk_future_wait_for(p->future, &result, NULL, bk_ms(2));
    if (r == 0 && !p->set)
        sweep_lost("a result before it was set");
    return r < 0 ? r : result;
}

/* ---- race ---- */

static int race_three(void *ctx)
{
    struct crowd *c = ctx;
    c->calls[0] = (bk_call){walk_into_a_wall, c, NULL, -EINPROGRESS};
    c->calls[1] = (bk_call){walk_to_1, c, NULL, -EINPROGRESS};
    c->calls[2] = (bk_call){stand, c, "third", -EINPROGRESS};
    int r = bk_race(c->calls, 3, bk_us(500));
    if (r >= 0 && c->calls[r].result < 0)
        sweep_lost("the winner's result is %d", c->calls[r].result);
    return r;
}

static int race_and_lose(void *ctx)
{
    struct crowd *c = ctx;
    c->calls[0] = (bk_call){walk_into_a_wall, c, NULL, -EINPROGRESS};
    c->calls[1] = (bk_call){trip_at_once, c, NULL, -EINPROGRESS};
    return bk_race(c->calls, 2, bk_forever());
}

#define CROWD .state_size = sizeof(struct crowd), .close = leave_children

static const struct sweep_scenario scenarios[] = {
    {.name = "wait for several", CROWD, .open = start_three,
     .subject = wait_for_three, .check = all_get_through, .want = 3},
    {.name = "wait with a limit", CROWD,
     .open = start_two_and_one_that_stands, .subject = wait_with_a_limit,
     .check = one_stands, .want = 2},
    {.name = "gather tasks", CROWD, .open = start_two_walkers, .subject = gather_two,
     .check = both_have_ended},
    {.name = "gather tasks, one fails", CROWD, .open = start_a_failure_and_one_that_stands,
     .subject = gather_with_a_failure, .check = one_stands_or_all_were_cancelled, .want = -EIO},
    {.name = "gather tasks, collect", CROWD, .open = start_three, .subject = collect_three},
    {.name = "as_completed", CROWD, .open = start_three, .subject = take_one_by_one,
     .check = all_get_through, .want = 3 - EIO},
    {.name = "as_completed with a limit", CROWD, .open = start_two_and_one_that_stands,
     .subject = take_until_the_limit, .check = one_stands, .want = -ETIMEDOUT},
    {.name = "task wait_for", CROWD, .open = start_one, .subject = wait_for_one,
     .check = the_child_has_ended, .want = 2},
    {.name = "task wait_for, too late", CROWD, .open = start_one_that_stands,
     .subject = wait_for_one, .check = the_child_has_ended, .want = -ETIMEDOUT},
    {.name = "future wait_for", .state_size = sizeof(struct promise), .open = make_promise,
     .close = drop_promise, .subject = wait_for_promise, .helpers = {keep_promise}, .want = 3},
    {.name = "future wait_for, too late", .state_size = sizeof(struct promise),
     .open = make_promise, .close = drop_promise, .subject = wait_for_promise,
     .want = -ETIMEDOUT},
    {.name = "race", CROWD, .subject = race_three, .check = all_have_ended, .want = 1},
    {.name = "race, all fail", CROWD, .subject = race_and_lose, .check = all_have_ended,
     .want = -EIO},
};

SWEEP_MAIN(scenarios)
