/* SPDX-License-Identifier: MIT
 * Cleanup that a task leaves behind for its end. */
#include "base/alloc.h"
#include "rt/rt.h"

struct bki_deferred {
    struct bki_deferred *earlier;
    void (*fn)(void *ctx);
    void *ctx;
};

int bk_defer(void (*fn)(void *ctx), void *ctx)
{
    int r = bki_check_task();
    struct bki_deferred *d = r < 0 ? NULL : bki_alloc(sizeof *d);
    if (!d) {
        fn(ctx);
        return r < 0 ? r : bk_fail(-ENOMEM, "no memory for the cleanup at the end of a task");
    }
    *d = (struct bki_deferred){bki_self()->deferred, fn, ctx};
    bki_self()->deferred = d;
    return 0;
}

/* Off the list before it runs: it may add others. */
static void take_off(struct bk_task *task, bool run)
{
    struct bki_deferred d = *task->deferred;
    bki_free(task->deferred);
    task->deferred = d.earlier;
    if (run)
        d.fn(d.ctx);
}

int bk_defer_pop(bool run)
{
    int r = bki_check_task();
    if (r < 0)
        return r;
    if (!bki_self()->deferred)
        return bk_fail(-ENOENT, "no cleanup was left for the end of this task");
    take_off(bki_self(), run);
    return 0;
}

void bki_deferred_run(struct bk_task *task)
{
    /* What the cleanup fails with is not the task's failure. */
    struct bki_error_slot error = task->error;
    task->error = (struct bki_error_slot){NULL};
    while (task->deferred)
        take_off(task, true);
    bki_error_slot_free(&task->error);
    task->error = error;
}
