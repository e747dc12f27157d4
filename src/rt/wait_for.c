/* SPDX-License-Identifier: MIT
 * wait_for: a call or a task, within a time. */
#include "rt/timeout.h"

int bk_wait_for(bk_fn *fn, void *ctx, bk_duration limit)
{
    if (limit.ns <= 0)
        return bk_fail(-ETIMEDOUT, "no time is left");
    struct bk_timeout scope;
    int r = bki_timeout_start(&scope, bk_time_add(bk_now(), limit).ns);
    if (r < 0)
        return r;
    return bki_timeout_end(&scope, fn(ctx));
}

int bk_task_wait_for(bk_task *task, int *result, bk_duration limit)
{
    struct bk_timeout scope;
    int own = 0, r = bki_task_check(task);
    if (r < 0)
        return r;
    bool at_once = limit.ns <= 0 && !bk_task_done(task);
    r = bki_timeout_start(&scope, at_once ? INT64_MAX : bk_time_add(bk_now(), limit).ns);
    if (r < 0)
        return r;
    if (at_once)
        bki_timeout_strike(&scope); /* before a new task takes its first step */
    bk_task_ref(task);
    r = bki_timeout_end(&scope, bk_task_wait(task, &own));
    if (r == -ETIMEDOUT && own != -ECANCELED) {
        /* It ended in its own way although it was told to stop. */
        r = 0;
        if (own < 0)
            bki_error_slot_adopt(&task->error);
    }
    if (result && r != -EDEADLK)
        *result = own;
    bki_task_unref(task);
    return r;
}
