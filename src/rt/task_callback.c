/* SPDX-License-Identifier: MIT
 * Callbacks of tasks. */
#include "rt/callback.h"

static int run(struct bki_callback *cb)
{
    return ((bk_task_done_fn *)(uintptr_t)cb->fn)(cb->ctx, cb->subject);
}

static void ref(void *subject)
{
    bk_task_ref(subject);
}

static void unref(void *subject)
{
    bki_task_unref(subject);
}

static const struct bki_callback_kind callback_kind = {
    .failed = "callback of a task failed", .run = run, .ref = ref, .unref = unref};

int bk_task_add_done_callback(bk_task *task, bk_task_done_fn *fn, void *ctx)
{
    struct bki_callback *cb = NULL;
    if (task->loop != bki_loop)
        return bk_fail(-EPERM, "the task belongs to another loop");
    int r = bki_callback_new(&cb, &callback_kind, task, (const void *)(uintptr_t)fn, ctx);
    if (r < 0)
        return r;
    if (task->state == BKI_DONE)
        bki_callback_send_off(cb);
    else
        bki_watch_start(&cb->watch, task, bki_callback_ended);
    return 0;
}

int bk_task_remove_done_callback(bk_task *task, bk_task_done_fn *fn, void *ctx)
{
    if (task->loop != bki_loop)
        return bk_fail(-EPERM, "the task belongs to another loop");
    return bki_callback_remove(&task->joiners, (const void *)(uintptr_t)fn, ctx);
}
