/* SPDX-License-Identifier: MIT
 * Tasks one by one, in the order in which they end. */
#include <stdio.h>

#include "base/alloc.h"
#include "rt/owner.h"

struct entry {
    struct bki_watch watch;
    struct bki_fifo_node ended_link;
    struct bk_as_completed *owner;
    struct bk_task *task;
};

struct bk_as_completed {
    struct bki_timer timer;
    struct bki_owner owner;
    struct bki_list line;  /* next calls that wait; w.value is their entry's index + 1 */
    struct bki_fifo ended; /* entries that nobody has asked for yet */
    size_t n_left;         /* entries still to end */
    bool expired;
    size_t n;
    struct entry entries[];
};

static void describe(const void *object, char *buf, size_t size)
{
    const struct bk_as_completed *c = object;
    snprintf(buf, size, "(%zu of %zu run)", c->n_left, c->n);
}

static const struct bki_wait_kind next_kind = {.what = "next of several tasks",
                                               .describe = describe};

static size_t index_of(const struct bk_as_completed *c, const struct entry *entry)
{
    return (size_t)(entry - c->entries);
}

/* Nothing more will end: those still in line are told so. */
static void dismiss(struct bk_as_completed *c, int result)
{
    struct bki_list *first;
    while ((first = bki_list_first(&c->line))) {
        struct bki_waiter *w = bki_container(first, struct bki_waiter, link);
        w->value = NULL;
        bki_grant(w, result);
    }
}

static void entry_ended(struct bki_watch *watch, struct bk_task *task)
{
    struct entry *entry = bki_container(watch, struct entry, watch);
    struct bk_as_completed *c = entry->owner;
    (void)task;
    c->n_left--;
    struct bki_waiter *w = bki_grant_first(&c->line, 0);
    if (w)
        w->value = (void *)(uintptr_t)(index_of(c, entry) + 1);
    else
        bki_fifo_push(&c->ended, &entry->ended_link);
    if (c->n_left == 0)
        dismiss(c, 0);
}

static void stop_watching(struct bk_as_completed *c)
{
    for (size_t i = 0; i < c->n; i++)
        bki_watch_stop(&c->entries[i].watch);
}

static void time_is_up(struct bki_timer *timer)
{
    struct bk_as_completed *c = bki_container(timer, struct bk_as_completed, timer);
    c->expired = true;
    stop_watching(c);
    dismiss(c, -ETIMEDOUT);
}

int bk_as_completed_new(bk_as_completed **out, bk_task *const tasks[], size_t n, bk_duration limit)
{
    int r = bki_check_task();
    for (size_t i = 0; r == 0 && i < n; i++)
        r = bki_task_check(tasks[i]);
    if (r < 0)
        return r;
    struct bk_as_completed *c = bki_zalloc(sizeof *c + n * sizeof c->entries[0]);
    r = c ? 0 : -ENOMEM;
    if (c && limit.ns != BK_FOREVER_NS)
        r = bki_timer_start(bki_loop, &c->timer, bk_time_add(bk_now(), limit).ns, time_is_up);
    if (r < 0) {
        bki_free(c);
        return bk_fail(-ENOMEM, "no memory to wait for %zu tasks", n);
    }
    bki_owner_init(&c->owner);
    bki_list_init(&c->line);
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = &c->entries[i];
        entry->owner = c;
        entry->task = bk_task_ref(tasks[i]);
        if (tasks[i]->counted)
            continue;
        tasks[i]->counted = true;
        if (bk_task_done(tasks[i])) {
            bki_fifo_push(&c->ended, &entry->ended_link);
        } else {
            bki_watch_start(&entry->watch, tasks[i], entry_ended);
            c->n_left++;
        }
    }
    for (size_t i = 0; i < n; i++)
        tasks[i]->counted = false;
    *out = c;
    return 0;
}

void bk_as_completed_free(bk_as_completed **completed)
{
    struct bk_as_completed *c = *completed;
    *completed = NULL;
    if (!c || bki_owner_refuse_free(&c->owner, "as_completed"))
        return;
    bki_timer_stop(bki_loop, &c->timer);
    stop_watching(c);
    dismiss(c, -BK_ECLOSED);
    for (size_t i = 0; i < c->n; i++)
        bki_task_unref(c->entries[i].task);
    bki_free(c);
}

static int fail_late(void)
{
    return bk_fail(-ETIMEDOUT, "the tasks that are left have not ended within the time limit");
}

int bk_as_completed_next(bk_as_completed *completed, size_t *index)
{
    int r = bki_owner_check_wait(&completed->owner, "as_completed");
    if (r < 0)
        return r;
    struct bki_fifo_node *first = bki_fifo_pop(&completed->ended);
    if (first) {
        *index = index_of(completed, bki_container(first, struct entry, ended_link));
        return 1;
    }
    if (completed->expired)
        return fail_late();
    if (completed->n_left == 0)
        return 0;
    struct bki_waiter w;
    r = bki_wait(&completed->line, &w, &next_kind, completed);
    /* It may have been freed by now. */
    if (r == -ETIMEDOUT)
        return fail_late();
    if (r == -BK_ECLOSED)
        return bk_fail(r, "as_completed was freed while a task waited in it");
    if (r < 0 || !w.value)
        return r;
    *index = (uintptr_t)w.value - 1;
    return 1;
}
