/* SPDX-License-Identifier: MIT
 * Task-local values. */
#include "rt/local.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "rt/rt.h"

/* A value that the local owns; counted by the tables that hold it, on several threads perhaps. */
struct box {
    atomic_uint refs;
    void (*free)(void *value);
    void *value;
};

struct bki_locals {
    atomic_uint refs;
    unsigned n;
    struct entry {
        const bk_local *local;
        void *value;
        struct box *box; /* NULL: borrowed */
    } entries[];
};

struct bk_context {
    unsigned refs; /* the handle, and each task that runs in it */
    struct bki_locals *locals;
};

/* The table of the function that runs on this pool thread. */
static __thread struct bki_locals *thread_locals;
static __thread bool in_thread;

/* ---- Tables ---- */

static void box_unref(struct box *box)
{
    if (!box || atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) > 1)
        return;
    box->free(box->value);
    bki_free(box);
}

static struct bki_locals *ref(struct bki_locals *locals)
{
    if (locals)
        atomic_fetch_add_explicit(&locals->refs, 1, memory_order_relaxed);
    return locals;
}

void bki_locals_unref(struct bki_locals *locals)
{
    if (!locals || atomic_fetch_sub_explicit(&locals->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned i = 0; i < locals->n; i++)
        box_unref(locals->entries[i].box);
    bki_free(locals);
}

/* Where the caller's table is kept; NULL outside tasks, calls and pool threads. */
static struct bki_locals **place(void)
{
    if (!bki_has_loop())
        return in_thread ? &thread_locals : NULL;
    struct bk_task *self = bki_loop->current;
    return self->context ? &self->context->locals : &self->locals;
}

static struct entry *find(struct bki_locals *locals, const bk_local *local)
{
    for (unsigned i = 0; locals && i < locals->n; i++)
        if (locals->entries[i].local == local)
            return &locals->entries[i];
    return NULL;
}

/* Makes *at a table of its own with room for `more` entries. */
static bool make_own(struct bki_locals **at, unsigned more)
{
    struct bki_locals *old = *at;
    unsigned n = old ? old->n : 0;
    bool shared = old && atomic_load_explicit(&old->refs, memory_order_acquire) > 1;
    if (old && !shared && more == 0)
        return true;
    struct bki_locals *own = bki_alloc(sizeof *own + (n + more) * sizeof own->entries[0]);
    if (!own)
        return false;
    atomic_init(&own->refs, 1);
    own->n = n;
    for (unsigned i = 0; i < n; i++) {
        own->entries[i] = old->entries[i];
        if (own->entries[i].box)
            atomic_fetch_add_explicit(&own->entries[i].box->refs, 1, memory_order_relaxed);
    }
    bki_locals_unref(old);
    *at = own;
    return true;
}

/* ---- Setting and getting ---- */

void *bk_local_get(const bk_local *local)
{
    struct bki_locals **at = place();
    struct entry *entry = at ? find(*at, local) : NULL;
    return entry ? entry->value : NULL;
}

static int box_new(struct box **out, const bk_local *local, void *value)
{
    if (!local->free || !value)
        return 0;
    struct box *box = bki_alloc(sizeof *box);
    if (!box)
        return bk_fail(-ENOMEM, "no memory for a task-local value");
    atomic_init(&box->refs, 1);
    box->free = local->free;
    box->value = value;
    *out = box;
    return 0;
}

int bk_local_set(const bk_local *local, void *value)
{
    struct bki_locals **at = place();
    if (!at)
        return bk_fail(-EINVAL, "a task-local value outside of tasks");
    struct entry *entry = find(*at, local);
    if (entry ? entry->value == value : !value)
        return 0;
    struct box *box = NULL;
    int r = box_new(&box, local, value);
    if (r < 0)
        return r;
    struct box *old = entry ? entry->box : NULL;
    if (!make_own(at, entry ? 0 : 1)) {
        bki_free(box);
        return bk_fail(-ENOMEM, "no memory for a task-local value");
    }
    entry = entry ? find(*at, local) : &(*at)->entries[(*at)->n++];
    *entry = (struct entry){local, value, box};
    box_unref(old);
    return 0;
}

/* ---- Scopes and contexts ---- */

static int run_in(bk_context *context, struct bki_locals *locals, bk_fn *fn, void *ctx)
{
    struct bk_task *self = bki_self();
    bk_context *context_before = self->context;
    struct bki_locals *locals_before = self->locals;
    self->context = context;
    self->locals = locals;
    int r = fn(ctx);
    bki_locals_unref(self->locals);
    self->context = context_before;
    self->locals = locals_before;
    return r;
}

int bk_local_scope(bk_fn *fn, void *ctx)
{
    if (bki_has_loop())
        return run_in(NULL, bki_locals_share(), fn, ctx);
    struct bki_locals *before = ref(thread_locals);
    int r = fn(ctx);
    bki_locals_unref(thread_locals);
    thread_locals = before;
    return r;
}

int bk_context_copy(bk_context **out)
{
    bk_context *context = bki_alloc(sizeof *context);
    if (!context)
        return bk_fail(-ENOMEM, "no memory for a context");
    context->refs = 1;
    context->locals = bki_locals_share();
    *out = context;
    return 0;
}

static void context_unref(bk_context *context)
{
    if (!context || --context->refs > 0)
        return;
    bki_locals_unref(context->locals);
    bki_free(context);
}

void bk_context_free(bk_context **context)
{
    bk_context *c = *context;
    *context = NULL;
    context_unref(c);
}

int bk_context_run(bk_context *context, bk_fn *fn, void *ctx)
{
    if (!bki_has_loop())
        return bk_fail(-EINVAL, "bk_context_run outside bk_run");
    context->refs++; /* fn may give the handle back */
    int r = run_in(context, NULL, fn, ctx);
    context_unref(context);
    return r;
}

/* ---- From a starter to what it starts ---- */

struct bki_locals *bki_locals_share(void)
{
    struct bki_locals **at = place();
    return at ? ref(*at) : NULL;
}

void bki_locals_inherit(struct bk_task *task, bk_context *context)
{
    if (context)
        context->refs++;
    else
        task->locals = bki_locals_share();
    task->context = context;
}

void bki_locals_drop(struct bk_task *task)
{
    bki_locals_unref(task->locals);
    context_unref(task->context);
    task->locals = NULL;
    task->context = NULL;
}

struct bki_locals *bki_locals_enter(struct bki_locals *locals)
{
    struct bki_locals *before = bki_self()->locals;
    bki_self()->locals = locals;
    return before;
}

void bki_locals_leave(struct bki_locals *before)
{
    bki_locals_unref(bki_self()->locals);
    bki_self()->locals = before;
}

void bki_locals_enter_thread(struct bki_locals *locals)
{
    thread_locals = ref(locals);
    in_thread = true;
}

void bki_locals_leave_thread(void)
{
    in_thread = false;
    bki_locals_unref(thread_locals);
    thread_locals = NULL;
}
