/* SPDX-License-Identifier: MIT
 * Callbacks of futures and tasks, on their way from the line to the loop. */
#include "rt/callback.h"

#include "base/alloc.h"
#include "rt/call.h"

int bki_callback_new(struct bki_callback **out, const struct bki_callback_kind *kind, void *subject,
                     const void *fn, void *ctx)
{
    int r = bki_call_allowed();
    if (r < 0)
        return r;
    struct bki_callback *cb = bki_zalloc(sizeof *cb);
    if (!cb)
        return bk_fail(-ENOMEM, "no memory for a callback");
    cb->watch.ended = bki_callback_ended;
    cb->kind = kind;
    cb->subject = subject;
    cb->fn = fn;
    cb->ctx = ctx;
    cb->locals = bki_locals_share();
    *out = cb;
    return 0;
}

void bki_callback_free(struct bki_callback *cb)
{
    if (!cb)
        return;
    bki_locals_unref(cb->locals);
    bki_free(cb);
}

static void run(struct bki_call *call)
{
    struct bki_callback *cb = bki_container(call, struct bki_callback, call);
    bki_error_slot_clear();
    struct bki_locals *before = bki_locals_enter(cb->locals);
    cb->locals = NULL;
    int r = cb->kind->run(cb);
    if (r < 0)
        bki_call_failed(cb->kind->failed, NULL, cb->fn, r);
    bki_locals_leave(before);
    cb->kind->unref(cb->subject);
    bki_callback_free(cb);
}

void bki_callback_send_off(struct bki_callback *cb)
{
    if (bki_has_loop()) {
        cb->kind->ref(cb->subject);
        cb->call.go = run;
        bki_call_push(bki_loop, &cb->call);
        return;
    }
    /* The loop it was for has closed. */
    if (cb->dropped)
        cb->dropped(cb->ctx);
    bki_callback_free(cb);
}

void bki_callback_ended(struct bki_watch *watch, struct bk_task *task)
{
    (void)task;
    bki_callback_send_off(bki_container(watch, struct bki_callback, watch));
}

/* In a task's line are watches of others, too. */
static bool is_callback(const struct bki_waiter *w)
{
    return !w->task && bki_container(w, struct bki_watch, w)->ended == bki_callback_ended;
}

int bki_callback_remove(struct bki_list *line, const void *fn, void *ctx)
{
    int n = 0;
    struct bki_list *next;
    for (struct bki_list *l = bki_list_first(line); l; l = next) {
        struct bki_waiter *w = bki_container(l, struct bki_waiter, link);
        next = bki_list_next(line, l);
        if (!is_callback(w))
            continue;
        struct bki_callback *cb = bki_callback_of(w);
        if (cb->fn != fn || cb->ctx != ctx)
            continue;
        bki_list_remove(l);
        bki_callback_free(cb);
        n++;
    }
    return n;
}
