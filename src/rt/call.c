/* SPDX-License-Identifier: MIT
 * Calls: plain functions that the loop runs between the steps of tasks, now or at a time. */
#include "rt/call.h"

#include <beck/loop.h>

#include "base/alloc.h"
#include "rt/local.h"
#include "rt/report.h"
#include "rt/symbol.h"

/* Where a call is on its way.  It holds one reference while it is on it, the caller's handle the
 * other. */
enum call_state {
    TIMED,  /* its timer is armed */
    POSTED, /* in the inbox, from another thread */
    READY,  /* in the ready queue */
    GONE,   /* has run, or is running */
    OFF,    /* will not run; still in the ready queue, perhaps */
};

struct bk_handle {
    struct bki_call call;
    struct bki_timer timer;
    struct bki_post post;
    struct bk_loop *loop;
    bk_fn *fn;
    void *ctx;
    int64_t when_ns;
    enum call_state state;
    struct bki_locals *locals; /* of who made it */
    unsigned refs;
};

static void unref(struct bk_handle *h)
{
    if (--h->refs > 0)
        return;
    bki_locals_unref(h->locals);
    bki_free(h);
}

/* ---- Running ---- */

void bki_call_failed(const char *what, const struct bk_handle *handle, const void *fn, int result)
{
    char name[BKI_NAME_MAX * 2];
    if (bki_symbol_name(fn, name, sizeof name) < 0)
        snprintf(name, sizeof name, "%p", fn);
    bk_error_report report = {
        .what = what, .call = name, .handle = handle, .result = result, .detail = bk_errmsg()};
    bki_report(&report);
}

static void run(struct bki_call *call)
{
    struct bk_handle *h = bki_container(call, struct bk_handle, call);
    if (h->state == READY) {
        h->state = GONE;
        bki_error_slot_clear();
        struct bki_locals *before = bki_locals_enter(h->locals);
        h->locals = NULL;
        int r = h->fn(h->ctx);
        if (r < 0)
            bki_call_failed("call failed", h, (const void *)(uintptr_t)h->fn, r);
        bki_locals_leave(before);
    }
    unref(h);
}

static void make_ready(struct bk_handle *h)
{
    h->state = READY;
    h->call.go = run;
    bki_call_push(h->loop, &h->call);
}

static void due(struct bki_timer *timer)
{
    struct bk_handle *h = bki_container(timer, struct bk_handle, timer);
    if (h->loop->calls_at_once) {
        h->state = READY;
        run(&h->call);
    } else {
        make_ready(h);
    }
}

static void arrive(struct bki_post *post, struct bk_loop *loop)
{
    (void)loop;
    make_ready(bki_container(post, struct bk_handle, post));
}

/* ---- Making ---- */

static int new_call(struct bk_handle **out, struct bk_loop *loop, bk_fn *fn, void *ctx)
{
    struct bk_handle *h = bki_zalloc(sizeof *h);
    if (!h)
        return bk_fail(-ENOMEM, "no memory for a call");
    h->loop = loop;
    h->fn = fn;
    h->ctx = ctx;
    h->locals = bki_locals_share();
    h->refs = 1;
    *out = h;
    return 0;
}

int bki_call_allowed(void)
{
    if (!bki_has_loop())
        return bk_fail(-EINVAL, "a call on a thread without an event loop");
    return bki_loop->closing ? bk_fail(-BK_ECLOSED, "the loop is closing") : 0;
}

static int new_local(struct bk_handle **out, bk_fn *fn, void *ctx)
{
    int r = bki_call_allowed();
    return r < 0 ? r : new_call(out, bki_loop, fn, ctx);
}

static int hand_out(struct bk_handle **out, struct bk_handle *h)
{
    if (out) {
        h->refs++;
        *out = h;
    }
    return 0;
}

int bk_call_soon(bk_handle **out, bk_fn *fn, void *ctx)
{
    struct bk_handle *h = NULL;
    int r = new_local(&h, fn, ctx);
    if (r < 0)
        return r;
    h->when_ns = h->loop->now_ns;
    make_ready(h);
    return hand_out(out, h);
}

int bk_call_at(bk_handle **out, bk_time when, bk_fn *fn, void *ctx)
{
    struct bk_handle *h = NULL;
    if (when.ns == INT64_MAX)
        return bk_fail(-EINVAL, "a call whose time never comes");
    int r = new_local(&h, fn, ctx);
    if (r < 0)
        return r;
    h->when_ns = when.ns;
    h->state = TIMED;
    r = bki_timer_start(h->loop, &h->timer, when.ns, due);
    if (r < 0) {
        unref(h);
        return r;
    }
    return hand_out(out, h);
}

int bk_call_later(bk_handle **out, bk_duration delay, bk_fn *fn, void *ctx)
{
    return bk_call_at(out, bk_time_add(bk_now(), delay), fn, ctx);
}

int bk_call_soon_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx)
{
    struct bk_handle *h = NULL;
    int r = new_call(&h, loop, fn, ctx);
    if (r < 0)
        return r;
    /* In line with what this thread makes ready without the inbox. */
    if (loop == bki_loop && !loop->closing) {
        make_ready(h);
        return 0;
    }
    h->state = POSTED;
    h->post.run = arrive;
    r = bki_inbox_post(loop, &h->post);
    if (r < 0) {
        unref(h);
        return bk_fail(r, "the loop is closed");
    }
    return 0;
}

/* ---- At the end of the loop ---- */

bool bki_call_drop_timer(struct bki_timer *timer)
{
    if (timer->fire != due)
        return false;
    struct bk_handle *h = bki_container(timer, struct bk_handle, timer);
    h->state = OFF;
    unref(h);
    return true;
}

/* ---- Handles ---- */

int bk_handle_cancel(bk_handle *handle)
{
    if (handle->state == TIMED) {
        bki_timer_stop(handle->loop, &handle->timer);
        handle->state = OFF;
        unref(handle);
        return 1;
    }
    if (handle->state != READY)
        return 0;
    handle->state = OFF; /* and leaves the ready queue in its turn */
    return 1;
}

bool bk_handle_cancelled(const bk_handle *handle)
{
    return handle->state == OFF;
}

bk_time bk_handle_when(const bk_handle *handle)
{
    return (bk_time){handle->when_ns};
}

void bk_handle_free(bk_handle **handle)
{
    struct bk_handle *h = *handle;
    *handle = NULL;
    if (h)
        unref(h);
}
