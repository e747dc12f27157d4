/* SPDX-License-Identifier: MIT
 * Groups: children that end before their opener goes on. */
#include "rt/group.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "rt/circle.h"
#include "rt/errors.h"
#include "rt/report.h"

#define DEFAULT_LIMIT 1024

struct bk_group {
    struct bk_task *owner;
    struct bki_cancel_frame *frame; /* of the owner, where the group was opened */
    struct bki_list children;
    size_t n; /* children alive, and places granted to waiting go calls */
    size_t limit;
    size_t failures;
    struct bki_list go_line;   /* go calls waiting for a place */
    struct bki_list idle_line; /* waits for n == 0 */
    struct failure {
        char task[BKI_NAME_MAX * 2];
        uint64_t task_id;
        int result;
        struct bki_error_slot error;
    } first; /* failure of a child */
    void (*on_failure)(void *ctx, bk_task *child, int result);
    void *on_failure_ctx;
    bk_errors *errors;      /* collected so far */
    bk_errors **errors_out; /* where they go, or NULL */
    struct bki_call abort_call;
    bool keep_going;
    bool abort_queued; /* abort_call is in the ready queue */
    bool cancelled;    /* no more children */
    bool called_off;   /* cancelled by bk_group_cancel */
    bool owner_raised; /* the owner is cancelled until it closes the group */
    char name[BKI_NAME_MAX];
};

#define ABOUT_GROUP                                                                                \
    .about = "%n(%u of %u tasks)",                                                                 \
    .at = {offsetof(struct bk_group, name), offsetof(struct bk_group, n),                          \
           offsetof(struct bk_group, limit)}

static const struct bki_wait_kind limit_kind = {.what = "place in group", ABOUT_GROUP};
static const struct bki_wait_kind idle_kind = {
    .what = "end of group", ABOUT_GROUP, .edge = BKI_TO_GROUP};

int bk_group_open(bk_group **out, const bk_group_opts *opts)
{
    static const bk_group_opts defaults;
    if (!opts)
        opts = &defaults;
    int r = bki_check_task();
    if (r < 0)
        return r;
    struct bk_group *group = bki_zalloc(sizeof *group);
    if (!group)
        return bk_fail(-ENOMEM, "no memory for a group");
    group->owner = bki_self();
    group->frame = group->owner->cancel_frame;
    bki_list_init(&group->children);
    bki_list_init(&group->go_line);
    bki_list_init(&group->idle_line);
    group->limit = opts->limit ? opts->limit : DEFAULT_LIMIT;
    group->keep_going = opts->keep_going;
    group->on_failure = opts->on_failure;
    group->on_failure_ctx = opts->on_failure_ctx;
    group->errors_out = opts->errors;
    if (opts->name)
        snprintf(group->name, sizeof group->name, "%s", opts->name);
    *out = group;
    return 0;
}

static int check_loop(const struct bk_group *group)
{
    if (__builtin_expect(group->owner->loop == bki_loop, 1))
        return 0;
    return bk_fail(-EPERM, "this group belongs to another loop");
}

/* ---- Starting children ---- */

static int take_place(struct bk_group *group)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (group->n >= group->limit || !bki_list_empty(&group->go_line)) {
        struct bki_waiter w;
        r = bki_wait(&group->go_line, &w, &limit_kind, group);
        if (r < 0)
            return r;
    } else {
        group->n++;
    }
    return 0;
}

/* A place is free: the next in line has it (n stays), or nobody does. */
static void give_place(struct bk_group *group)
{
    if (bki_grant_first(&group->go_line, 0))
        return;
    if (--group->n == 0)
        bki_grant_all(&group->idle_line, 0);
}

void bki_group_child_add(struct bk_group *group, struct bk_task *task)
{
    task->group = group;
    bki_list_push_back(&group->children, &task->group_link);
}

static int start_child(struct bk_group *group, bk_task **out, struct bki_task_spec *spec)
{
    int r = check_loop(group);
    if (r == 0 && group->cancelled)
        r = bk_fail(-ECANCELED, "the group has been cancelled");
    if (r == 0)
        r = take_place(group);
    if (r < 0)
        return r;
    if (group->cancelled) {
        give_place(group);
        return bk_fail(-ECANCELED, "the group has been cancelled");
    }
    spec->group = group;
    r = bki_task_start(out, spec);
    if (r < 0)
        give_place(group);
    return r;
}

int bk_group_go(bk_group *group, bk_fn *fn, void *ctx, const bk_task_opts *opts)
{
    struct bki_task_spec spec = {
        .fn = fn, .ctx = ctx, .opts = opts, .site = __builtin_return_address(0)};
    return start_child(group, NULL, &spec);
}

int bk_group_go_task(bk_group *group, bk_task **out, bk_fn *fn, void *ctx, const bk_task_opts *opts)
{
    struct bki_task_spec spec = {
        .fn = fn, .ctx = ctx, .opts = opts, .site = __builtin_return_address(0)};
    return start_child(group, out, &spec);
}

int bk_group_go_msg(bk_group *group, bk_msg_fn *fn, void *ctx, bk_msg **msg)
{
    struct bki_task_spec spec = {
        .msg_fn = fn, .ctx = ctx, .msg = msg, .site = __builtin_return_address(0)};
    return start_child(group, NULL, &spec);
}

/* ---- Starting a child and waiting until it is ready ---- */

/* In the frame of bk_group_start. */
struct bki_starter {
    struct bki_list line; /* its only waiter */
    bool ready;
    void *value;
};

static const struct bki_wait_kind ready_kind = {.what = "start of a child", ABOUT_GROUP};

void bk_started(void *value)
{
    struct bki_starter *starter = bki_self()->starter;
    if (!starter)
        return;
    bki_self()->starter = NULL;
    starter->ready = true;
    starter->value = value;
    bki_grant_first(&starter->line, 0);
}

static void end_before_ready(struct bk_task *task)
{
    struct bki_starter *starter = task->starter;
    task->starter = NULL;
    bki_grant_first(&starter->line, 0);
}

/* 0 once it is ready or has ended. */
static int wait_until_ready(struct bki_starter *starter, bk_task *child)
{
    struct bki_waiter w;
    if (starter->ready || bk_task_done(child))
        return 0;
    int r = bki_wait(&starter->line, &w, &ready_kind, child->group);
    if (r < 0) {
        child->starter = NULL; /* from now on a child like others, but a cancelled one */
        bk_task_wait(child, NULL);
    }
    return r;
}

static int failed_start(bk_task *child)
{
    char label[BKI_NAME_MAX * 2];
    int r = bk_task_result(child);
    if (r >= 0)
        return bk_fail(-EINVAL, "task '%s' ended without bk_started",
                       bki_task_label(child, label, sizeof label));
    bki_error_slot_adopt(&child->error);
    return r;
}

int bk_group_start(bk_group *group, void **value, bk_fn *fn, void *ctx, const bk_task_opts *opts)
{
    struct bki_starter starter = {.ready = false};
    struct bki_task_spec spec = {.fn = fn,
                                 .ctx = ctx,
                                 .starter = &starter,
                                 .opts = opts,
                                 .site = __builtin_return_address(0)};
    bk_task *child = NULL;
    bki_list_init(&starter.line);
    int r = start_child(group, &child, &spec);
    if (r < 0)
        return r;
    r = wait_until_ready(&starter, child);
    if (r == 0 && !starter.ready)
        r = failed_start(child);
    else if (r == 0 && value)
        *value = starter.value;
    bk_task_free(&child);
    return r;
}

/* ---- Cancelling and ending ---- */

static void cancel_children(struct bk_group *group)
{
    group->cancelled = true;
    struct bki_list *next;
    for (struct bki_list *n = bki_list_first(&group->children); n; n = next) {
        next = bki_list_next(&group->children, n);
        bk_task_cancel(bki_container(n, struct bk_task, group_link));
    }
    bki_grant_all(&group->go_line, -ECANCELED);
}

/* No more children; those there are, and the owner until it closes the group, are cancelled. */
static void abort_group(struct bk_group *group)
{
    cancel_children(group);
    if (group->owner_raised)
        return;
    group->owner_raised = true;
    bki_cancel_raise(group->owner, group->frame);
}

static void abort_now(struct bki_call *call)
{
    struct bk_group *group = bki_container(call, struct bk_group, abort_call);
    group->abort_queued = false;
    abort_group(group);
}

/* In the ready queue, as asyncio does: children that are ready have their step first, and when they
 * fail, too, the group tells of it. */
static void abort_soon(struct bk_group *group)
{
    if (group->abort_queued || group->owner_raised)
        return;
    group->abort_queued = true;
    group->abort_call.go = abort_now;
    bki_call_push(group->owner->loop, &group->abort_call);
}

void bk_group_cancel(bk_group *group)
{
    if (check_loop(group) < 0) {
        bki_report(&(bk_error_report){
            .what = "a group was not cancelled: it belongs to another loop", .result = -EPERM});
        return;
    }
    group->called_off = true;
    abort_group(group);
}

/* The first failure is what close returns.  on_failure and errors see all; without them the later
 * ones go the way of failures nobody waited for. */
static void record_failure(struct bk_group *group, struct bk_task *task)
{
    struct failure *first = &group->first;
    char buf[BKI_NAME_MAX * 2];
    if (group->failures++ == 0) {
        task->was_observed = true;
        snprintf(first->task, sizeof first->task, "%s", bki_task_label(task, buf, sizeof buf));
        first->task_id = task->id;
        first->result = task->result;
        bki_error_slot_copy(&first->error, &task->error);
    }
    if (group->errors_out &&
        bki_errors_add(&group->errors, &(bk_error_report){
                                           .what = "a child failed",
                                           .task = bki_task_label(task, buf, sizeof buf),
                                           .task_id = task->id,
                                           .result = task->result,
                                           .detail = bki_error_slot_text(&task->error),
                                       }))
        task->was_observed = true;
    if (group->on_failure) {
        task->was_observed = true;
        group->on_failure(group->on_failure_ctx, task, task->result);
    }
}

void bki_group_child_done(struct bk_task *task)
{
    struct bk_group *group = task->group;
    bki_list_remove(&task->group_link);
    task->group = NULL;
    if (task->starter) {
        end_before_ready(task);
    } else if (task->result < 0 && task->result != -ECANCELED) {
        record_failure(group, task);
        if (!group->keep_going)
            abort_soon(group);
    }
    give_place(group);
}

const struct bki_list *bki_group_children(const struct bk_group *group)
{
    return &group->children;
}

/* A circle has a wait for a lock or for one task in it: the ends of groups alone lead down. */
static void check_circle(const struct bk_group *group)
{
    if (bki_loop->n_edges > 0)
        bki_circle_check(&idle_kind, group);
}

int bk_group_wait(bk_group *group)
{
    int r = check_loop(group);
    if (r == 0)
        r = bki_check_cancel();
    if (r < 0 || group->n == 0)
        return r;
    check_circle(group);
    struct bki_waiter w;
    return bki_wait(&group->idle_line, &w, &idle_kind, group);
}

size_t bk_group_count(const bk_group *group)
{
    return group->n;
}

size_t bk_group_failures(const bk_group *group)
{
    return group->failures;
}

/* Waits for all children whatever happens to the owner; a cancel of the owner is passed on. */
static void wait_for_children(struct bk_group *group)
{
    if (group->n > 0)
        check_circle(group);
    while (group->n > 0) {
        struct bki_waiter w = {.task = bki_self()};
        if (!group->cancelled) {
            if (bki_wait(&group->idle_line, &w, &idle_kind, group) < 0)
                cancel_children(group);
            continue;
        }
        bki_list_push_back(&group->idle_line, &w.link);
        while (!w.granted)
            bki_park_hard(&idle_kind, group);
    }
}

static bool is_failure(int r)
{
    return r < 0 && r != -ECANCELED;
}

/* r: how the opener's own work went.  True when a child's failure is the group's result. */
static bool child_failed_first(const struct bk_group *group, int r, int failure_before)
{
    /* What the opener tolerated does not hide how its own work ended. */
    if (group->keep_going && r < 0 && !(r == -ECANCELED && group->called_off))
        return false;
    return failure_before < 0 || (group->first.result < 0 && !is_failure(r));
}

static int own_result(const struct bk_group *group, int r)
{
    if (is_failure(r) || (group->keep_going && r < 0 && !group->called_off))
        return r;
    if (group->frame->pending > 0)
        return -ECANCELED; /* from outside */
    /* The opener stopped because its group was called off: that is a normal end. */
    return r == -ECANCELED && group->called_off ? 0 : r;
}

/* Collects the opener's failure, and tells on_error of one that nobody else will tell of. */
static void account_for_failures(struct bk_group *group, int r, bool child_first)
{
    char buf[BKI_NAME_MAX * 2];
    if (is_failure(r)) {
        bk_error_report own = {
            .what = "the opener of a group failed",
            .task = bki_task_label(group->owner, buf, sizeof buf),
            .task_id = group->owner->id,
            .result = r,
            .detail = bki_error_slot_text(&group->owner->error),
        };
        bool collected = group->errors_out && bki_errors_add(&group->errors, &own);
        if (child_first && !collected)
            bki_report(&own);
    }
    if (group->first.result < 0 && !child_first && !group->errors_out && !group->on_failure)
        bki_report(&(bk_error_report){
            .what = "a child failed, and its group ended otherwise",
            .task = group->first.task,
            .task_id = group->first.task_id,
            .result = group->first.result,
            .detail = bki_error_slot_text(&group->first.error),
        });
}

int bk_group_close(bk_group **group, int r)
{
    struct bk_group *g = *group;
    if (!g)
        return r;
    if (bki_check_task() < 0)
        return -BK_ENOTASK;
    if (g->owner != bki_self())
        return bk_fail(-EPERM, "a group is closed by the task that opened it");
    int failure_before = g->first.result;
    struct bki_cancel_told told = bki_cancel_told_save();
    if ((r < 0 || bki_check_cancel() < 0) && !g->cancelled)
        cancel_children(g);
    wait_for_children(g);
    while (g->abort_queued) {
        bki_give_way(g->owner->loop);
        wait_for_children(g);
    }
    if (g->owner_raised)
        bki_cancel_lower(g->frame);
    bool child_first = child_failed_first(g, r, failure_before);
    account_for_failures(g, r, child_first);
    r = child_first ? g->first.result : own_result(g, r);
    if (child_first)
        bki_error_slot_adopt(&g->first.error);
    if (g->errors_out)
        *g->errors_out = g->errors;
    if (r != -ECANCELED)
        bki_cancel_told_restore(told);
    else
        bki_check_cancel(); /* told now, when it came between the last child's end and here */
    *group = NULL;          /* not before: children may reach the group through it */
    bki_error_slot_free(&g->first.error);
    bki_free(g);
    return r;
}
