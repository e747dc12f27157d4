/* SPDX-License-Identifier: MIT
 * Sweeps over tasks: sleeping, waiting for a task, gather, groups, timeouts, shields. */
#include "tests/sweep.h"
#include "tests/sweep_crowd.h"

/* ---- Sleep ---- */

static int sleep_in_all_ways(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_ms(2));
    if (r == 0)
        r = bk_yield();
    if (r == 0)
        r = bk_sleep_until(bk_time_add(bk_now(), bk_ms(1)));
    return r < 0 ? r : bk_sleep(bk_ms(0));
}

static int sleep_for_ever(void *ctx)
{
    (void)ctx;
    return bk_sleep_forever();
}

static int sleep_for_ever_with_a_limit(void *ctx)
{
    return bk_wait_for(sleep_for_ever, ctx, bk_ms(2));
}

/* ---- Waiting for tasks ---- */

static int start_one(void *ctx)
{
    return start_children(ctx, walk_to_2, NULL, NULL);
}

static int wait_for_one(void *ctx)
{
    struct crowd *c = ctx;
    c->waited = true;
    c->result = -EINPROGRESS;
    int r = bk_task_wait(c->tasks[0], &c->result);
    return r < 0 ? r : c->result;
}

/* The cancel is passed on, so the child has either got through or was cancelled too. */
static void the_child_has_ended(void *ctx, int result)
{
    struct crowd *c = ctx;
    if (!c->waited)
        return;
    all_have_ended(ctx, result);
    if (bk_task_result(c->tasks[0]) != c->result)
        sweep_lost("the child ends with %d, not %d", bk_task_result(c->tasks[0]), c->result);
    if (c->result != 2 && c->result != -ECANCELED && !sweep_excused())
        sweep_lost("the child's result is %d", c->result);
}

/* The child never ends by itself: the cancel must be passed on. */
static int start_one_that_stands(void *ctx)
{
    return start_children(ctx, stand, NULL, NULL);
}

static int wait_for_one_with_a_limit(void *ctx)
{
    return bk_wait_for(wait_for_one, ctx, bk_ms(2));
}

static void the_child_was_cancelled(void *ctx, int result)
{
    struct crowd *c = ctx;
    (void)result;
    if (c->waited && !bk_task_cancelled(c->tasks[0]) && !sweep_excused())
        sweep_lost("the child was not cancelled");
}

static int wait_shielded(void *ctx)
{
    struct crowd *c = ctx;
    int result = -EINPROGRESS;
    int r = bk_task_wait_shielded(c->tasks[0], &result);
    if (r < 0 && result != -EINPROGRESS)
        sweep_lost("a wait that failed has touched the result");
    return r < 0 ? r : result;
}

static void the_child_got_through(void *ctx, int result)
{
    struct crowd *c = ctx;
    int r = 0;
    (void)result;
    bk_task_wait(c->tasks[0], &r);
    if (r != 2 && !sweep_excused())
        sweep_lost("the shielded child ends with %d", r);
}

/* ---- Gather ---- */

static int gather_three(void *ctx)
{
    struct crowd *c = ctx;
    c->calls[0] = (bk_call){walk_to_1, c, NULL, -EINPROGRESS};
    c->calls[1] = (bk_call){walk_to_2, c, "second", -EINPROGRESS};
    c->calls[2] = (bk_call){walk_to_1, c, NULL, -EINPROGRESS};
    return bk_gather(c->calls, 3, NULL);
}

static int gather_with_a_failure(void *ctx)
{
    struct crowd *c = ctx;
    c->calls[0] = (bk_call){walk_to_1, c, NULL, -EINPROGRESS};
    c->calls[1] = (bk_call){walk_into_a_wall, c, NULL, -EINPROGRESS};
    c->calls[2] = (bk_call){stand, c, NULL, -EINPROGRESS};
    return bk_gather(c->calls, 3, NULL);
}

static int collect_results(struct crowd *c, bk_fn *with_failure)
{
    c->calls[0] = (bk_call){walk_to_1, c, NULL, -EINPROGRESS};
    c->calls[1] = (bk_call){with_failure, c, NULL, -EINPROGRESS};
    c->calls[2] = (bk_call){walk_to_2, c, NULL, -EINPROGRESS};
    int r = bk_gather(c->calls, 3, &(bk_gather_opts){.collect = true});
    if (r == 0 && c->finished != 3 && !sweep_excused())
        sweep_lost("success, though %d of 3 calls got through", c->finished);
    return r;
}

static int collect_with_a_late_failure(void *ctx)
{
    return collect_results(ctx, walk_into_a_wall);
}

static int collect_with_an_early_failure(void *ctx)
{
    return collect_results(ctx, trip_at_once);
}

static void calls_have_results(void *ctx, int result)
{
    struct crowd *c = ctx;
    all_have_ended(ctx, result);
    int n_through = 0;
    for (int i = 0; i < 3; i++) {
        int r = c->calls[i].result;
        n_through += r > 0 || r == -EIO;
        if (c->calls[i].fn && r <= 0 && r != -ECANCELED && r != -EIO && r != -ENOMEM)
            sweep_lost("call %d has the result %d", i, r);
    }
    if (n_through > c->finished)
        sweep_lost("%d results of %d calls that got through", n_through, c->finished);
}

/* ---- Groups ---- */

static int hold_message(void *ctx, bk_msg **msg)
{
    struct crowd *c = ctx;
    if (!*msg || bk_msg_len(*msg) != 3)
        sweep_lost("the message has changed on its way");
    int r = walk(c, 0);
    if (r == 0)
        bk_msg_free(msg);
    return r;
}

static int go_message(struct crowd *c)
{
    bk_msg *msg = NULL;
    int r = bk_msg_copy(&msg, "abc", 3);
    if (r < 0)
        return r;
    r = bk_group_go_msg(c->group, hold_message, c, &msg);
    if ((r == 0) != (msg == NULL))
        sweep_lost("bk_group_go_msg returns %d and the message is %s", r, msg ? "kept" : "gone");
    bk_msg_free(&msg);
    return r;
}

static int fill_a_group(void *ctx)
{
    struct crowd *c = ctx;
    bk_task *child = NULL;
    int r = bk_group_open(&c->group, &(bk_group_opts){.limit = 2, .name = "crowd"});
    if (r < 0)
        return r;
    for (int i = 0; r == 0 && i < 3; i++)
        r = bk_group_go(c->group, walk_to_1, c, NULL);
    if (r == 0)
        r = go_message(c);
    if (r == 0)
        r = bk_group_wait(c->group);
    if (r == 0)
        r = bk_group_go_task(c->group, &child, walk_to_2, c, &(bk_task_opts){.name = "last"});
    r = bk_group_close(&c->group, r);
    if (child && !bk_task_done(child))
        sweep_lost("a child has outlived its group");
    bk_task_free(&child);
    if (c->begun != c->ended)
        sweep_lost("the group is closed: %d begun, %d ended", c->begun, c->ended);
    return r;
}

static int close_at_once(void *ctx)
{
    struct crowd *c = ctx;
    int r = bk_group_open(&c->group, NULL);
    for (int i = 0; r == 0 && i < 3; i++)
        r = bk_group_go(c->group, i == 1 ? walk_to_2 : walk_to_1, c, NULL);
    return bk_group_close(&c->group, r);
}

/* The child fails, which cancels its sibling and the opener, until the group is closed. */
static int fail_in_a_group(void *ctx)
{
    struct crowd *c = ctx;
    int r = bk_group_open(&c->group, NULL);
    if (r == 0)
        r = bk_group_go(c->group, stand, c, NULL);
    if (r == 0)
        r = bk_group_go(c->group, walk_into_a_wall, c, NULL);
    if (r == 0)
        r = bk_sleep_forever();
    r = bk_group_close(&c->group, r);
    if (r != -EIO)
        return r;
    r = bk_sleep(bk_ms(1)); /* works again */
    return r < 0 ? r : -EIO;
}

static int go_from_inside(void *ctx)
{
    struct crowd *c = ctx;
    c->begun++;
    int r = 0;
    for (int i = 0; r == 0 && i < 3; i++)
        r = bk_group_go(c->group, walk_to_1, c, NULL);
    c->ended++;
    return r;
}

static int call_a_group_off(void *ctx)
{
    struct crowd *c = ctx;
    int r = bk_group_open(&c->group, &(bk_group_opts){.limit = 3});
    if (r < 0)
        return r;
    r = bk_group_go(c->group, go_from_inside, c, NULL);
    if (r == 0)
        r = bk_group_go(c->group, stand, c, NULL);
    if (r == 0)
        r = bk_sleep(bk_ms(3));
    bk_group_cancel(c->group);
    return bk_group_close(&c->group, r);
}

static int become_ready(void *ctx)
{
    struct crowd *c = ctx;
    c->begun++;
    int r = bk_sleep(bk_ms(1));
    if (r == 0)
        bk_started(c);
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    c->ended++;
    return r;
}

static int start_and_wait_until_ready(void *ctx)
{
    struct crowd *c = ctx;
    void *value = NULL;
    int r = bk_group_open(&c->group, &(bk_group_opts){.limit = 1});
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_group_start(c->group, &value, become_ready, c, NULL);
        if ((r == 0) != (value == c) || c->begun != c->ended + (int)bk_group_count(c->group))
            sweep_lost("start returns %d with %zu children", r, bk_group_count(c->group));
        value = NULL;
    }
    return bk_group_close(&c->group, r);
}

static int fail_with_a_list(void *ctx)
{
    struct crowd *c = ctx;
    bk_errors *errors = NULL;
    int r = bk_group_open(&c->group, &(bk_group_opts){.errors = &errors});
    if (r == 0)
        r = bk_group_go(c->group, stand, c, NULL);
    if (r == 0)
        r = bk_group_go(c->group, walk_into_a_wall, c, &(bk_task_opts){.name = "wall"});
    if (r == 0)
        r = bk_sleep_forever();
    r = bk_group_close(&c->group, r);
    if (r == -EIO && bk_errors_count(errors) != 1 && !sweep_excused())
        sweep_lost("%zu failures", bk_errors_count(errors));
    bk_errors_free(&errors);
    if (r != -EIO)
        return r;
    r = bk_sleep(bk_ms(1));
    return r < 0 ? r : -EIO;
}

/* ---- Timeouts and shields ---- */

static int wait_for_inner(void *ctx)
{
    int r = bk_wait_for(sleep_for_ever, ctx, bk_ms(1));
    if (r != -ETIMEDOUT)
        return r;
    return bk_sleep(bk_ms(1));
}

static int nest_timeouts(void *ctx)
{
    bk_timeout *outer = NULL, *inner = NULL;
    int r = bk_timeout_open(&outer, bk_ms(20));
    if (r == 0)
        r = bk_timeout_open(&inner, bk_ms(2));
    if (r == 0)
        r = bk_sleep_forever();
    r = bk_timeout_close(&inner, r);
    if (r == -ETIMEDOUT)
        r = bk_wait_for(wait_for_inner, ctx, bk_ms(10)); /* the inner one strikes, not this one */
    if (r == 0)
        r = bk_timeout_reschedule(outer, bk_time_add(bk_now(), bk_ms(3)));
    if (r == 0)
        r = bk_sleep_forever(); /* until outer strikes */
    r = bk_timeout_close(&outer, r);
    if (r != -ETIMEDOUT)
        return r;
    return bk_sleep(bk_ms(1));
}

static int clean_up(void *ctx)
{
    struct crowd *c = ctx;
    c->begun++;
    int r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_yield();
    if (r == 0 && bk_wait_for(sleep_for_ever, NULL, bk_ms(1)) != -ETIMEDOUT)
        sweep_lost("a timeout within a shield does not work");
    c->n_clean += r == 0;
    c->ended++;
    return r;
}

static int clean_up_under_a_shield(void *ctx)
{
    int r = bk_shield(clean_up, ctx);
    if (r < 0 && !sweep_excused())
        sweep_lost("a cancel came through the shield: %d", r);
    return r < 0 ? r : bk_yield();
}

/* Nothing after the shield tells of a cancel: the task ends as cancelled all the same. */
static int end_with_a_shield(void *ctx)
{
    return bk_shield(clean_up, ctx);
}

static void cleaned_up(void *ctx, int result)
{
    const struct crowd *c = ctx;
    all_have_ended(ctx, result);
    if (c->n_clean != c->begun && !sweep_excused())
        sweep_lost("the cleanup was cut short");
}

/* ---- Values and cleanup ---- */

static const bk_local place;

static int go_elsewhere(void *ctx)
{
    int r = bk_local_set(&place, ctx);
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_yield();
    if (bk_local_get(&place) != ctx && !sweep_excused())
        sweep_lost("a value was changed while its task was away");
    return r;
}

static int go_to_places(void *ctx)
{
    struct crowd *c = ctx;
    bk_context *context = NULL;
    int r = bk_local_set(&place, "home");
    if (r < 0)
        return r;
    r = bk_local_scope(go_elsewhere, c);
    if (r == 0)
        r = bk_context_copy(&context);
    if (r == 0)
        r = bk_context_run(context, go_elsewhere, c);
    if (strcmp(bk_local_get(&place), "home") != 0)
        sweep_lost("a value was not put back");
    bk_context_free(&context);
    return r;
}

/* Deferred work of a task that is struck must suspend under a shield. */
static void tidy_up(void *ctx)
{
    bk_shield(clean_up, ctx);
}

/* A cancel that comes once the body has returned would change nothing, and is not swept. */
static void tidy_up_at_once(void *ctx)
{
    struct crowd *c = ctx;
    c->begun++;
    c->n_clean++;
    c->ended++;
}

static int defer_and_go(void *ctx)
{
    int r = bk_defer(tidy_up, ctx);
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_defer_pop(true);
    if (r == 0)
        r = bk_defer(tidy_up_at_once, ctx);
    return r < 0 ? r : bk_yield();
}

static void tidied_up(void *ctx, int result)
{
    const struct crowd *c = ctx;
    cleaned_up(ctx, result);
    if (result == 0 && c->ended != 2 && !sweep_excused())
        sweep_lost("tidied up %d times", c->ended);
}

/* A task that will not be stopped: each cancel is seen once and taken back. */
static int go_on_regardless(void *ctx)
{
    (void)ctx;
    int r = 0, n = 0;
    for (int i = 0; i < 4; i++) {
        while ((r = i % 2 ? bk_yield() : bk_sleep(bk_ms(1))) == -ECANCELED) {
            bk_uncancel();
            n++;
        }
        if (r < 0)
            return r;
    }
    if (n > 1)
        sweep_lost("one cancel was told %d times", n);
    r = bk_yield(); /* a cancel that came last */
    if (r == -ECANCELED)
        bk_uncancel();
    return 7;
}

static const struct sweep_scenario scenarios[] = {
    {.name = "sleep", .subject = sleep_in_all_ways},
    {.name = "sleep with a limit", .subject = sleep_for_ever_with_a_limit, .want = -ETIMEDOUT},
    {.name = "task wait", .state_size = sizeof(struct crowd), .open = start_one,
     .close = leave_children, .subject = wait_for_one, .check = the_child_has_ended,
     .want = 2},
    {.name = "task wait with a limit", .state_size = sizeof(struct crowd),
     .open = start_one_that_stands, .close = leave_children,
     .subject = wait_for_one_with_a_limit, .check = the_child_was_cancelled, .want = -ETIMEDOUT},
    {.name = "task wait shielded", .state_size = sizeof(struct crowd), .open = start_one,
     .close = leave_children, .subject = wait_shielded, .check = the_child_got_through, .want = 2},
    {.name = "gather", .state_size = sizeof(struct crowd), .subject = gather_three,
     .check = calls_have_results},
    {.name = "gather, one fails", .state_size = sizeof(struct crowd),
     .subject = gather_with_a_failure, .check = calls_have_results, .want = -EIO},
    {.name = "collect, one fails late", .state_size = sizeof(struct crowd),
     .subject = collect_with_a_late_failure, .check = calls_have_results},
    {.name = "collect, one fails early", .state_size = sizeof(struct crowd),
     .subject = collect_with_an_early_failure, .check = calls_have_results},
    {.name = "group at its limit", .state_size = sizeof(struct crowd), .subject = fill_a_group,
     .check = all_have_ended},
    {.name = "group close", .state_size = sizeof(struct crowd), .subject = close_at_once,
     .check = all_have_ended},
    {.name = "group with a failure", .state_size = sizeof(struct crowd),
     .subject = fail_in_a_group, .check = all_have_ended, .want = -EIO},
    {.name = "group called off", .state_size = sizeof(struct crowd), .subject = call_a_group_off,
     .check = all_have_ended},
    {.name = "group with a list", .state_size = sizeof(struct crowd),
     .subject = fail_with_a_list, .check = all_have_ended, .want = -EIO},
    {.name = "group start", .state_size = sizeof(struct crowd),
     .subject = start_and_wait_until_ready, .check = all_have_ended},
    {.name = "nested timeouts", .subject = nest_timeouts},
    {.name = "shield", .state_size = sizeof(struct crowd), .subject = clean_up_under_a_shield,
     .check = cleaned_up},
    {.name = "shield at the end", .state_size = sizeof(struct crowd),
     .subject = end_with_a_shield, .check = cleaned_up},
    {.name = "values", .state_size = sizeof(struct crowd), .subject = go_to_places},
    {.name = "cleanup", .state_size = sizeof(struct crowd), .subject = defer_and_go,
     .check = tidied_up},
    {.name = "uncancel", .subject = go_on_regardless, .want = 7, .survives = true},
};

SWEEP_MAIN(scenarios)
