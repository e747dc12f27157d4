/* SPDX-License-Identifier: MIT
 * Futures: an outcome set once, and the tasks and callbacks that wait for it. */
#include <beck/future.h>

#include "base/alloc.h"
#include "rt/callback.h"
#include "rt/debug.h"
#include "rt/report.h"
#include "rt/select.h"
#include "rt/sync.h"
#include "rt/timeout.h"

enum future_state { PENDING, SETTLED, CANCELLED, FREED };

struct bk_future {
    struct bki_owner owner;
    struct bki_list waiters; /* tasks and callbacks, in the order they came */
    enum future_state state;
    bool seen; /* somebody has the result */
    int result;
    void *value;
    unsigned refs; /* the owner's, each waiter's, each callback's that is on its way */
    struct bki_tracked tracked;
};

static const struct bki_wait_kind future_kind = {.what = "future"};

/* ---- Life ---- */

int bk_future_new(bk_future **out)
{
    struct bk_future *future = bki_zalloc(sizeof *future);
    if (!future)
        return bk_fail(-ENOMEM, "no memory for a future");
    bki_list_init(&future->waiters);
    bki_owner_init(&future->owner);
    future->refs = 1;
    bki_track(&future->tracked, "future");
    *out = future;
    return 0;
}

static void report_unseen(struct bk_future *f)
{
    char origin[160];
    const void *site = (const void *)(uintptr_t)f->tracked.site;
    bk_error_report report = {
        .what = "future failed and nobody looked at it",
        .future = f,
        .result = f->result,
        .origin = bki_debug_origin("made", site, origin, sizeof origin),
    };
    bki_report(&report);
}

static void unref(struct bk_future *f)
{
    if (--f->refs > 0)
        return;
    if (f->state == SETTLED && f->result < 0 && f->result != -ECANCELED && !f->seen) {
        f->refs = 1; /* the handler may look at it */
        report_unseen(f);
    }
    bki_free(f);
}

/* ---- Callbacks ---- */

static int run_callback(struct bki_callback *cb)
{
    return ((bk_future_fn *)(uintptr_t)cb->fn)(cb->ctx, cb->subject);
}

static void ref_subject(void *subject)
{
    ((struct bk_future *)subject)->refs++;
}

static void unref_subject(void *subject)
{
    unref(subject);
}

static const struct bki_callback_kind callback_kind = {
    .failed = "callback of a future failed",
    .run = run_callback,
    .ref = ref_subject,
    .unref = unref_subject,
};

static int new_callback(struct bki_callback **out, bk_future *future, bk_future_fn *fn, void *ctx)
{
    int r = bki_owner_check(&future->owner, "future");
    return r < 0 ? r
                 : bki_callback_new(out, &callback_kind, future, (const void *)(uintptr_t)fn, ctx);
}

static void put_in_line(struct bki_callback *cb)
{
    bk_future *future = cb->subject;
    if (future->state == PENDING)
        bki_list_push_back(&future->waiters, &cb->watch.w.link);
    else
        bki_callback_send_off(cb);
}

int bk_future_add_done_callback(bk_future *future, bk_future_fn *fn, void *ctx)
{
    struct bki_callback *cb = NULL;
    int r = new_callback(&cb, future, fn, ctx);
    if (r == 0)
        put_in_line(cb);
    return r;
}

int bk_future_remove_done_callback(bk_future *future, bk_future_fn *fn, void *ctx)
{
    int r = bki_owner_check(&future->owner, "future");
    return r < 0 ? r : bki_callback_remove(&future->waiters, (const void *)(uintptr_t)fn, ctx);
}

/* ---- Settling ---- */

static void settle(struct bk_future *f, enum future_state state)
{
    f->state = state;
    struct bki_list *l;
    while ((l = bki_list_first(&f->waiters))) {
        struct bki_waiter *w = bki_container(l, struct bki_waiter, link);
        if (w->task) {
            bki_grant(w, 0);
        } else {
            bki_list_remove(l);
            bki_callback_send_off(bki_callback_of(w));
        }
    }
}

void bk_future_free(bk_future **future)
{
    struct bk_future *f = *future;
    *future = NULL;
    if (!f)
        return;
    bool in_use = !bki_list_empty(&f->waiters) || bki_list_linked(&f->tracked.link);
    if (in_use && bki_owner_refuse_free(&f->owner, "future"))
        return;
    bki_untrack(&f->tracked);
    if (f->state == PENDING)
        settle(f, FREED);
    unref(f);
}

int bk_future_set(bk_future *future, int result, void *value)
{
    int r = bki_owner_check(&future->owner, "future");
    if (r < 0)
        return r;
    if (future->state != PENDING)
        return bk_fail(-EALREADY, "the future was settled before");
    future->result = result;
    future->value = value;
    settle(future, SETTLED);
    return 0;
}

int bk_future_cancel(bk_future *future)
{
    int r = bki_owner_check(&future->owner, "future");
    if (r < 0)
        return r;
    if (future->state != PENDING)
        return 0;
    settle(future, CANCELLED);
    return 1;
}

/* ---- Looking ---- */

bool bk_future_done(const bk_future *future)
{
    return future->state != PENDING;
}

bool bk_future_cancelled(const bk_future *future)
{
    return future->state == CANCELLED;
}

static int outcome(struct bk_future *f, int *result, void **value)
{
    switch (f->state) {
    case PENDING:
        return -EINPROGRESS;
    case CANCELLED:
        return -ECANCELED;
    case FREED:
        return bk_fail(-BK_ECLOSED, "the future was freed");
    case SETTLED:
        break;
    }
    f->seen = true;
    if (result)
        *result = f->result;
    if (value)
        *value = f->value;
    return 0;
}

int bk_future_get(bk_future *future, int *result, void **value)
{
    int r = bki_owner_check(&future->owner, "future");
    return r < 0 ? r : outcome(future, result, value);
}

int bk_future_wait(bk_future *future, int *result, void **value)
{
    int r = bki_owner_check_wait(&future->owner, "future");
    if (r < 0)
        return r;
    if (future->state != PENDING)
        return outcome(future, result, value);
    struct bki_waiter w;
    future->refs++; /* its owner may free it before we run */
    r = bki_wait(&future->waiters, &w, &future_kind, future);
    /* The outcome stays with the future, so a cancel of the same turn shows at once. */
    if (r == 0)
        r = bki_check_cancel();
    if (r == 0)
        r = outcome(future, result, value);
    unref(future);
    return r;
}

int bk_future_wait_for(bk_future *future, int *result, void **value, bk_duration limit)
{
    struct bk_timeout scope;
    if (future->state != PENDING)
        return bk_future_wait(future, result, value);
    int r = bki_owner_check_wait(&future->owner, "future");
    if (r == 0 && limit.ns <= 0)
        return bk_fail(-ETIMEDOUT, "no time is left");
    if (r == 0)
        r = bki_timeout_start(&scope, bk_time_add(bk_now(), limit).ns);
    if (r < 0)
        return r;
    future->refs++;
    r = bki_timeout_end(&scope, bk_future_wait(future, result, value));
    if (r == -ETIMEDOUT && future->state != PENDING)
        r = outcome(future, result, value); /* it came in the same turn */
    unref(future);
    return r;
}

/* ---- Chains ---- */

/* Two futures tied together; each of the two callbacks holds one of the references. */
struct chain {
    bk_future *source, *dest;
    unsigned refs;
};

static void leave_chain(void *ctx)
{
    struct chain *chain = ctx;
    if (--chain->refs > 0)
        return;
    unref(chain->source);
    unref(chain->dest);
    bki_free(chain);
}

static int source_done(void *ctx, bk_future *source)
{
    struct chain *chain = ctx;
    bk_future *dest = chain->dest;
    if (dest->state == PENDING) {
        source->seen = true; /* whoever looks at dest looks at its failure */
        dest->result = source->result;
        dest->value = source->value;
        settle(dest, source->state == SETTLED ? SETTLED : CANCELLED);
    }
    leave_chain(chain);
    return 0;
}

static int dest_done(void *ctx, bk_future *dest)
{
    struct chain *chain = ctx;
    if (dest->state == CANCELLED)
        bk_future_cancel(chain->source);
    leave_chain(chain);
    return 0;
}

int bk_future_chain(bk_future *source, bk_future *dest)
{
    if (source == dest)
        return bk_fail(-EINVAL, "a future cannot be chained to itself");
    struct chain *chain = bki_alloc(sizeof *chain);
    if (!chain)
        return bk_fail(-ENOMEM, "no memory to chain two futures");
    *chain = (struct chain){.source = source, .dest = dest, .refs = 2};
    struct bki_callback *from = NULL, *to = NULL;
    int r = new_callback(&from, source, source_done, chain);
    if (r == 0)
        r = new_callback(&to, dest, dest_done, chain);
    if (r < 0) {
        bki_callback_free(from);
        bki_free(chain);
        return r;
    }
    source->refs++;
    dest->refs++;
    from->dropped = to->dropped = leave_chain;
    put_in_line(from);
    put_in_line(to);
    return 0;
}

/* ---- In a select ---- */

static int check_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return bki_owner_check(&((struct bk_future *)c->object)->owner, "future");
}

static int try_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return bk_future_done(c->object) ? 0 : -EAGAIN;
}

static int join_case(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    struct bk_future *future = c->object;
    future->refs++;
    return bki_case_join(state, select, &future->waiters, NULL);
}

static void leave_case(bk_case *c, struct bki_case_state *state)
{
    struct bk_future *future = c->object;
    bki_case_leave(c, state);
    state->w.result = future->state == FREED ? -BK_ECLOSED : 0;
    unref(future);
}

static int finish_case(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    return bki_fail_freed(state->w.result, "future");
}

static const struct bki_case_kind future_case = {
    .wait = &future_kind,
    .check = check_case,
    .try_now = try_case,
    .join = join_case,
    .leave = leave_case,
    .finish = finish_case,
};

bk_case bk_case_future(bk_future *future)
{
    return (bk_case){.kind = &future_case, .object = future};
}
