/* SPDX-License-Identifier: MIT
 * The life of a task: start on a stack of its own, run, end, be waited for. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "rt/circle.h"
#include "rt/debug.h"
#include "rt/group.h"
#include "rt/local.h"
#include "rt/report.h"
#include "rt/sched.h"
#include "rt/select.h"
#include "rt/symbol.h"

static void task_entry(void *arg) __attribute__((noreturn));

/* ---- Starting ---- */

static void set_name(struct bk_task *task, const char *name)
{
    bki_free(task->name);
    task->name = name ? bki_strndup(name, strnlen(name, BKI_NAME_MAX - 1)) : NULL;
    task->name_made = false;
}

static const bk_task_opts default_opts;

/* The task object at the top of its stack, on a cache line of its own. */
static struct bk_task *place_task(struct bki_stack *stack)
{
    uintptr_t top = (uintptr_t)stack - sizeof(struct bk_task);
    return (struct bk_task *)(top & ~(uintptr_t)63);
}

/* In pieces that become plain stores: one memset of this size is an instruction that takes longer
 * to begin than the task to run. */
static inline void zero_task(struct bk_task *task)
{
    char *p = (char *)task;
    enum { WHOLE = sizeof *task / 64 * 64 };
#pragma GCC unroll 8
    for (size_t i = 0; i < WHOLE; i += 64)
        memset(p + i, 0, 64);
    memset(p + WHOLE, 0, sizeof *task - WHOLE);
}

static int get_stack(struct bk_loop *loop, size_t size, struct bki_stack **out)
{
    struct bki_stack_class *class = loop->default_stacks;
    if (__builtin_expect(loop->closing, 0))
        return bk_fail(-BK_ECLOSED, "the loop is closing");
    if (__builtin_expect(loop->n_tasks >= loop->opts.max_tasks, 0))
        return bk_fail(-EAGAIN, "max_tasks (%zu) are alive", loop->opts.max_tasks);
    if (size) {
        class = bki_stack_class_for(&loop->stacks, size);
        if (!class)
            return bk_fail(-EINVAL, "a stack of %zu bytes is over the limit of 64 MiB", size);
    }
    *out = bki_stack_get(class);
    return *out ? 0 : -ENOMEM;
}

/* The running task stands first in line while the new one takes its first step.  Not inline, for
 * the registers that it must save. */
static __attribute__((noinline)) int run_at_once(struct bk_loop *loop, struct bk_task *task)
{
    struct bk_task *self = loop->current;
    self->state = BKI_READY;
    bki_ready_push_front(loop, &self->run);
    loop->n_starting++;
    bki_hand_over(loop, self, task, false);
    loop->n_starting--;
    return 0;
}

int bki_task_start(bk_task **out, const struct bki_task_spec *spec)
{
    struct bk_loop *loop = bki_loop;
    struct bki_stack *stack = NULL;
    const bk_task_opts *opts = spec->opts ? spec->opts : &default_opts;
    int r = get_stack(loop, opts->stack_size, &stack);
    if (r < 0)
        return r;
    bki_fiber_reuse(stack);
    struct bk_task *task = place_task(stack);
    zero_task(task);
    stack->owner = task;
    task->stack = stack;
    task->loop = loop;
    task->refs = out ? 2 : 1;
    task->cancel_frame = &task->cancel_root;
    task->ctx = spec->ctx;
    if (spec->msg_fn) {
        task->msg_fn = spec->msg_fn;
        task->has_msg = true;
        task->msg = *spec->msg;
        *spec->msg = NULL;
    } else {
        task->fn = spec->fn;
    }
    bki_list_init(&task->joiners);
    task->id = loop->next_task_id++;
    task->parent_id = loop->current->id;
    task->spawn_site = spec->site;
    if (opts->name)
        set_name(task, opts->name);
    task->run.sp = bki_switch_prepare(bki_stack_low(stack), task, task_entry, task);
    bki_list_push_back(&loop->tasks, &task->all_link);
    loop->n_tasks++;
    task->state = BKI_NEW;
    struct bk_task *starter = loop->current;
    if (__builtin_expect(starter->locals || starter->context || opts->context, 0))
        bki_locals_inherit(task, opts->context);
    if (spec->group) {
        task->starter = spec->starter;
        bki_group_child_add(spec->group, task);
    }
    if (__builtin_expect(loop->shutting_down, 0))
        bk_task_cancel(task);
    if (out)
        *out = task;
    if ((opts->eager || loop->opts.eager) && loop->current != &loop->scheduler)
        return run_at_once(loop, task);
    bki_ready_push(loop, &task->run);
    return 0;
}

int bk_go(bk_task **out, bk_fn *fn, void *ctx, const bk_task_opts *opts)
{
    if (!bki_has_loop())
        return bk_fail(-EINVAL, "bk_go outside bk_run");
    struct bki_task_spec spec = {
        .fn = fn, .ctx = ctx, .opts = opts, .site = __builtin_return_address(0)};
    return bki_task_start(out, &spec);
}

/* ---- Standing still ---- */

#define CALL_DEPTH 1024 /* what the call that gives the memory back may take itself */

void bki_task_trim(const struct bk_task *task)
{
    const char *sp = task->run.sp;
    if (!task->stack)
        return;
    if (task == bki_self())
        sp = (const char *)__builtin_frame_address(0) - CALL_DEPTH;
    bki_stack_trim(task->stack, sp);
}

/* ---- Ending ---- */

static void report_unseen(struct bk_task *task)
{
    if (task->result >= 0 || task->result == -ECANCELED || task->was_observed)
        return;
    task->was_observed = true;
    char label[BKI_NAME_MAX * 2], origin[160];
    bk_error_report report = {
        .what = "task failed and nobody waited for it",
        .task = bki_task_label(task, label, sizeof label),
        .task_id = task->id,
        .result = task->result,
        .detail = bki_error_slot_text(&task->error),
        .origin = bki_debug_origin("started", task->spawn_site, origin, sizeof origin),
    };
    bki_report(&report);
}

static void report_kept(const struct bk_task *task)
{
    char label[BKI_NAME_MAX * 2], origin[160];
    if (!bki_debug_on())
        return;
    bk_error_report report = {
        .what = "a task's handle was not freed",
        .task = bki_task_label(task, label, sizeof label),
        .task_id = task->id,
        .origin = bki_debug_origin("started", task->spawn_site, origin, sizeof origin),
    };
    bki_report(&report);
}

static void free_texts(struct bk_task *task)
{
    if (task->name)
        bki_free(task->name);
    task->name = NULL;
    if (task->error.text)
        bki_error_slot_free(&task->error);
}

void bki_task_unref(struct bk_task *task)
{
    if (--task->refs > 0)
        return;
    if (bki_list_linked(&task->all_link))
        bki_list_remove(&task->all_link); /* of loop->ended */
    report_unseen(task);
    free_texts(task);
    bki_stack_put(task->stack);
}

void bki_task_report_ended(struct bk_loop *loop)
{
    for (struct bki_list *n = bki_list_first(&loop->ended); n; n = bki_list_next(&loop->ended, n)) {
        struct bk_task *task = bki_container(n, struct bk_task, all_link);
        report_unseen(task);
        report_kept(task);
        free_texts(task);
    }
}

void bki_watch_start(struct bki_watch *watch, struct bk_task *task,
                     void (*ended)(struct bki_watch *watch, struct bk_task *task))
{
    watch->w.task = NULL;
    watch->w.value = bki_self(); /* for those who ask who waits for it */
    watch->ended = ended;
    bki_list_push_back(&task->joiners, &watch->w.link);
}

void bki_watch_stop(struct bki_watch *watch)
{
    if (bki_list_linked(&watch->w.link))
        bki_list_remove(&watch->w.link);
}

static void tell_joiners(struct bk_task *task)
{
    struct bki_list *first;
    while ((first = bki_list_first(&task->joiners))) {
        struct bki_waiter *w = bki_container(first, struct bki_waiter, link);
        if (w->task) {
            bki_grant(w, 0);
            continue;
        }
        struct bki_watch *watch = bki_container(w, struct bki_watch, w);
        bki_watch_stop(watch);
        watch->ended(watch, task);
    }
}

static void end_task(struct bk_task *task, int result)
{
    struct bk_loop *loop = task->loop;
    task->result = result;
    bki_list_remove(&task->all_link);
    loop->n_tasks--;
    /* The group first: its abort reaches an opener that waits for this child. */
    if (task->group)
        bki_group_child_done(task);
    tell_joiners(task);
    if (task->refs > 1)
        bki_list_push_back(&loop->ended, &task->all_link);
    /* DONE last: whoever looks before sees a task still alive. */
    task->state = BKI_DONE;
    if (task == loop->main_task)
        bki_sched_stop(loop);
    bki_task_unref(task);
}

static void task_entry(void *arg)
{
    struct bk_task *task = arg;
    struct bk_loop *loop = task->loop;
    bki_arrive(loop);
    int result = -ECANCELED;
    if (task->cancel_frame->pending == 0)
        result = task->has_msg ? task->msg_fn(task->ctx, &task->msg) : task->fn(task->ctx);
    /* Cancelled, and never got to know: it ends as cancelled. */
    if (task->n_cancel > 0 && !task->cancel_seen && result >= 0)
        result = -ECANCELED;
    if (task->deferred)
        bki_deferred_run(task);
    if (task->msg)
        bk_msg_free(&task->msg);
    if (__builtin_expect(task->locals || task->context, 0))
        bki_locals_drop(task);
    end_task(task, result);
    /* The stack may already be in the pool: nothing takes it before we have left. */
    bki_hand_over(loop, task, bki_ready_take(loop), true);
    __builtin_unreachable();
}

/* ---- Waiting for one ---- */

static const struct bki_wait_kind join_kind = {.what = "task", .about = "%T", .edge = BKI_TO_TASK};

static int observe(struct bk_task *task, int *result, int r)
{
    task->was_observed = true;
    if (result)
        *result = task->result;
    if (r == 0 && task->result < 0)
        bki_error_slot_adopt(&task->error);
    return r;
}

/* Keeps the task object while we wait: its owner may free the handle meanwhile. */
static int join(struct bk_task *task)
{
    struct bki_waiter w;
    task->refs++;
    bki_circle_check(&join_kind, task);
    bki_loop->n_edges++;
    int r = bki_wait(&task->joiners, &w, &join_kind, task);
    bki_loop->n_edges--;
    return r;
}

/* What both waits begin with: 1 when the result is there already. */
static int begin_wait(struct bk_task *task)
{
    if (task == bki_self())
        return bk_fail(-EDEADLK, "a task waited for itself");
    int r = bki_task_check(task);
    return r < 0 ? r : task->state == BKI_DONE;
}

int bk_task_wait_shielded(bk_task *task, int *result)
{
    int r = begin_wait(task);
    if (r > 0)
        return observe(task, result, 0);
    if (r == 0)
        r = bki_check_cancel();
    if (r < 0)
        return r;
    r = join(task);
    if (r == 0 && bki_check_cancel() < 0)
        r = -ECANCELED; /* nothing was consumed: the result stays with the task */
    if (r == 0)
        observe(task, result, r);
    bki_task_unref(task);
    return r;
}

/* The caller was cancelled, and so is task: waits until it has ended.  A further cancel goes on to
 * task as well, which may have taken the last one back. */
static void cancel_and_join(struct bk_task *task)
{
    struct bki_waiter w = {.task = bki_self()};
    bk_task_cancel(task);
    if (task->state == BKI_DONE)
        return;
    bki_list_push_back(&task->joiners, &w.link);
    while (!w.granted) {
        bki_park(&join_kind, task);
        if (!w.granted)
            bk_task_cancel(task);
    }
}

static __attribute__((noinline)) int wait_for_end(bk_task *task, int *result)
{
    int r = begin_wait(task);
    if (r == 0)
        r = bki_check_task();
    if (r < 0)
        return r;
    r = bki_check_cancel();
    if (r < 0)
        task->refs++;
    else
        r = join(task);
    if (r < 0) {
        cancel_and_join(task);
        bki_tell_cancel(bki_self()); /* also of one that came while the task ended */
    } else {
        r = bki_check_cancel();
    }
    r = observe(task, result, r);
    bki_task_unref(task);
    return r;
}

/* Apart from the wait, whose registers need not be saved for a result that is there already. */
int bk_task_wait(bk_task *task, int *result)
{
    if (task->loop == bki_loop && task->state == BKI_DONE)
        return observe(task, result, 0);
    return wait_for_end(task, result);
}

/* ---- In a select ---- */

static int check_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    const struct bk_task *task = c->object;
    if (bki_in_task() && task == bki_self())
        return bk_fail(-EDEADLK, "a task waited for itself");
    return bki_task_check(task);
}

static int try_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return bk_task_done(c->object) ? 0 : -EAGAIN;
}

static int join_case(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    struct bk_task *task = bk_task_ref(c->object);
    return bki_case_join(state, select, &task->joiners, NULL);
}

static void leave_case(bk_case *c, struct bki_case_state *state)
{
    bki_case_leave(c, state);
    bki_task_unref(c->object);
}

static int finish_case(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    return state->w.result;
}

static const struct bki_case_kind task_case = {
    .wait = &join_kind,
    .check = check_case,
    .try_now = try_case,
    .join = join_case,
    .leave = leave_case,
    .finish = finish_case,
};

bk_case bk_case_task(bk_task *task)
{
    return (bk_case){.kind = &task_case, .object = task};
}

/* ---- Handles ---- */

void bk_task_free(bk_task **task)
{
    struct bk_task *t = *task;
    *task = NULL;
    if (t)
        bki_task_unref(t);
}

void bk_task_free_all(bk_task *tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        bk_task_free(&tasks[i]);
}

bk_task *bk_task_ref(bk_task *task)
{
    task->refs++;
    return task;
}

bool bk_task_done(const bk_task *task)
{
    return task->state == BKI_DONE;
}

int bk_task_result(const bk_task *task)
{
    if (task->state != BKI_DONE)
        return -EINPROGRESS;
    ((bk_task *)(uintptr_t)task)->was_observed = true;
    return task->result;
}

bool bk_task_cancelled(const bk_task *task)
{
    return task->state == BKI_DONE && task->result == -ECANCELED;
}

const char *bk_task_errmsg(const bk_task *task)
{
    return bki_error_slot_text(&task->error);
}

const char *bki_task_label(const struct bk_task *task, char *buf, size_t size)
{
    if (task->name && !task->name_made)
        return task->name;
    uintptr_t body = task->has_msg ? (uintptr_t)task->msg_fn : (uintptr_t)task->fn;
    if (bki_symbol_name((const void *)body, buf, size) < 0)
        snprintf(buf, size, "task");
    return buf;
}

const char *bk_task_name(const bk_task *task)
{
    bk_task *t = (bk_task *)(uintptr_t)task;
    char label[BKI_NAME_MAX * 2], id[24], name[BKI_NAME_MAX];
    if (!t->name) {
        int n = snprintf(id, sizeof id, "-%llu", (unsigned long long)t->id);
        snprintf(name, sizeof name, "%.*s%s", BKI_NAME_MAX - 1 - n,
                 bki_task_label(t, label, sizeof label), id);
        set_name(t, name);
        t->name_made = true;
    }
    return t->name ? t->name : "";
}

void bk_task_set_name(bk_task *task, const char *name)
{
    set_name(task, name);
}

uint64_t bk_task_id(const bk_task *task)
{
    return task->id;
}

bk_task *bk_task_current(void)
{
    return bki_in_task() ? bki_self() : NULL;
}

size_t bk_task_count(void)
{
    return bki_loop->n_tasks;
}

size_t bk_task_list(bk_task *tasks[], size_t max)
{
    size_t n = 0;
    if (!bki_has_loop())
        return 0;
    struct bki_list *all = &bki_loop->tasks;
    for (struct bki_list *l = bki_list_first(all); l && n < max; l = bki_list_next(all, l))
        tasks[n++] = bk_task_ref(bki_container(l, struct bk_task, all_link));
    return n;
}
