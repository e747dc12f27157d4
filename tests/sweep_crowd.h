/* SPDX-License-Identifier: MIT
 * The children that sweeps over tasks wait for: they go a few steps and account for themselves. */
#ifndef BECK_TESTS_SWEEP_CROWD_H
#define BECK_TESTS_SWEEP_CROWD_H

#include "tests/sweep_harness.h"

struct crowd {
    int begun, ended, finished;
    bk_task *tasks[3];
    bk_call calls[3];
    bk_group *group;
    bool waited; /* the subject has begun */
    int result;  /* what it was told */
    int n_clean;
};

static inline int walk(struct crowd *c, int result)
{
    c->begun++;
    int r = bk_yield();
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_yield();
    c->ended++;
    c->finished += r == 0;
    return r < 0 ? r : result;
}

static inline int walk_to_1(void *ctx)
{
    return walk(ctx, 1);
}

static inline int walk_to_2(void *ctx)
{
    return walk(ctx, 2);
}

static inline int walk_into_a_wall(void *ctx)
{
    return walk(ctx, -EIO);
}

static inline int trip_at_once(void *ctx)
{
    struct crowd *c = ctx;
    c->begun++;
    c->ended++;
    c->finished++;
    return -EIO;
}

static inline int stand(void *ctx)
{
    struct crowd *c = ctx;
    c->begun++;
    int r = bk_sleep_forever();
    c->ended++;
    return r;
}

static inline void all_have_ended(void *ctx, int result)
{
    const struct crowd *c = ctx;
    (void)result;
    if (c->begun != c->ended)
        sweep_lost("%d begun, %d ended", c->begun, c->ended);
}

static inline int start_children(void *ctx, bk_fn *a, bk_fn *b, bk_fn *c)
{
    struct crowd *crowd = ctx;
    bk_fn *const fns[] = {a, b, c};
    int r = 0;
    for (int i = 0; r == 0 && i < 3 && fns[i]; i++)
        r = bk_go(&crowd->tasks[i], fns[i], crowd, NULL);
    return r;
}

/* Waits for what still runs, so that nothing is left of a run, and gives the handles back. */
static inline void leave_children(void *ctx)
{
    struct crowd *c = ctx;
    for (int i = 0; i < 3; i++) {
        if (c->tasks[i]) {
            bk_task_cancel(c->tasks[i]);
            bk_task_wait(c->tasks[i], NULL);
        }
        bk_task_free(&c->tasks[i]);
    }
}

#endif
