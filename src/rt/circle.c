/* SPDX-License-Identifier: MIT
 * Follows the waits from the task that is about to join them, to see whether they lead back to it.
 * Most often the first step ends it: whoever holds a lock is running or asleep. */
#include "rt/circle.h"

#include <stdio.h>
#include <string.h>

#include "rt/about.h"
#include "rt/group.h"
#include "rt/report.h"
#include "rt/sync.h"

#define MOST_STEPS 64    /* of a circle */
#define MOST_VISITS 4096 /* tasks looked at, groups make them many */

struct walk {
    const struct bk_task *self;
    const struct bk_task *path[MOST_STEPS]; /* tasks that wait, from the first self waits for */
    int depth;
    int n_visits;
};

static bool leads_back(struct walk *w, const struct bk_task *task);

static bool through_group(struct walk *w, const struct bk_group *group)
{
    const struct bki_list *children = bki_group_children(group);
    for (struct bki_list *n = bki_list_first(children); n; n = bki_list_next(children, n))
        if (leads_back(w, bki_container(n, struct bk_task, group_link)))
            return true;
    return false;
}

static bool through(struct walk *w, const struct bki_wait_kind *kind, const void *object)
{
    switch ((enum bki_edge)kind->edge) {
    case BKI_TO_TASK:
        return leads_back(w, object);
    case BKI_TO_HOLDER: {
        const struct bk_task *holder = bki_lock_holder(object);
        return holder && leads_back(w, holder);
    }
    case BKI_TO_GROUP:
        return through_group(w, object);
    case BKI_NO_EDGE:
        break;
    }
    return false;
}

static bool leads_back(struct walk *w, const struct bk_task *task)
{
    if (task == w->self)
        return true;
    if (task->state != BKI_PARKED || !task->wait_kind->edge || w->depth == MOST_STEPS ||
        ++w->n_visits > MOST_VISITS)
        return false;
    w->path[w->depth++] = task;
    if (through(w, task->wait_kind, task->wait_object))
        return true;
    w->depth--;
    return false;
}

static size_t add(char *buf, size_t len, size_t size, const struct bk_task *task,
                  const struct bki_wait_kind *kind, const void *object)
{
    char label[BKI_NAME_MAX * 2], about[96];
    bki_describe(kind, object, about, sizeof about);
    int n = snprintf(buf + len, size - len, "%s#%llu %s waits for %s%s%s", len ? "; " : "",
                     (unsigned long long)task->id, bki_task_label(task, label, sizeof label),
                     kind->what, about[0] ? " " : "", about);
    return n < 0 || (size_t)n >= size - len ? size - 1 : len + (size_t)n;
}

static __attribute__((noinline)) void report(const struct walk *w, const struct bki_wait_kind *kind,
                                             const void *object)
{
    char text[512], label[BKI_NAME_MAX * 2];
    size_t len = add(text, 0, sizeof text, w->self, kind, object);
    for (int i = 0; i < w->depth; i++)
        len =
            add(text, len, sizeof text, w->path[i], w->path[i]->wait_kind, w->path[i]->wait_object);
    bk_error_report r = {
        .what = "tasks wait for each other in a circle",
        .task = bki_task_label(w->self, label, sizeof label),
        .task_id = w->self->id,
        .result = -EDEADLK,
        .detail = text,
    };
    bki_report(&r);
}

void bki_circle_check(const struct bki_wait_kind *kind, const void *object)
{
    struct walk w = {.self = bki_self()};
    if (through(&w, kind, object))
        report(&w, kind, object);
}
