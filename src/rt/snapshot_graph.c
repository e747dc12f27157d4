/* SPDX-License-Identifier: MIT
 * Who waits for whom: a lock leads to its holder, the end of a group to all its tasks, and a task's
 * joiners to it.  A circle of waits that all need what they wait for never ends by itself. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "rt/snapshot.h"

#define NONE SIZE_MAX
#define MOST_JOINERS 1000000

static int add_edge(struct bk_snapshot *s, size_t from, size_t to, bool hard)
{
    if (from == NONE || to == NONE)
        return 0;
    if (s->n_edges == s->edges_capacity) {
        size_t n = s->edges_capacity ? s->edges_capacity * 2 : 64;
        void *edges = bki_realloc_array(s->edges, n, sizeof *s->edges);
        if (!edges)
            return -ENOMEM;
        s->edges = edges;
        s->edges_capacity = n;
    }
    s->edges[s->n_edges++] = (struct bki_wait_edge){from, to, hard};
    return 0;
}

/* ---- Joiners: each a call that waits for this task, alone or among others ---- */

static int add_joiners(struct bk_snapshot *s, const struct bki_target *target, size_t to)
{
    const struct bki_layout *l = &target->layout;
    const struct bki_entry *e = &s->entries[to];
    uint64_t head = e->address + l->task.joiners, node = bki_target_word(target, head);
    int r = 0, n = 0;
    for (; r == 0 && node != head; node = bki_target_word(target, node)) {
        if (node == 0 || ++n > MOST_JOINERS)
            return -EAGAIN;
        uint64_t waiter = node - l->waiter.link;
        uint64_t task = bki_target_word(target, waiter + l->waiter.task);
        bool hard = task && !bki_target_word(target, waiter + l->waiter.select);
        if (!task)
            task = bki_target_word(target, waiter + l->waiter.value);
        if (!task)
            continue;
        uint64_t id = bki_target_word(target, task + l->task.id);
        r = add_edge(s, bki_snapshot_find(s, e->loop, id), to, hard);
    }
    return r;
}

/* ---- Locks and groups ---- */

static int compare_groups(const void *a, const void *b, void *entries)
{
    const struct bki_entry *x = (struct bki_entry *)entries + *(const size_t *)a;
    const struct bki_entry *y = (struct bki_entry *)entries + *(const size_t *)b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The tasks of groups, those of one group beside each other. */
static size_t *sort_by_group(const struct bk_snapshot *s, size_t *n)
{
    size_t *sorted = bki_realloc_array(NULL, s->n_entries, sizeof *sorted);
    *n = 0;
    for (size_t i = 0; sorted && i < s->n_entries; i++)
        if (s->entries[i].group)
            sorted[(*n)++] = i;
    if (sorted)
        qsort_r(sorted, *n, sizeof *sorted, compare_groups, s->entries);
    return sorted;
}

static int add_group(struct bk_snapshot *s, size_t from, const size_t *sorted, size_t n)
{
    uint64_t group = s->entries[from].object;
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->entries[sorted[mid]].group < group)
            low = mid + 1;
        else
            high = mid;
    }
    int r = 0;
    for (; r == 0 && low < n && s->entries[sorted[low]].group == group; low++)
        r = add_edge(s, from, sorted[low], true);
    return r;
}

static enum bki_edge edge_of(const struct bki_entry *e, const struct bki_target *target)
{
    uint8_t edge = BKI_NO_EDGE;
    if (e->state == BKI_PARKED && e->kind)
        bki_target_read(target, e->kind + target->layout.kind.edge, &edge, sizeof edge);
    return (enum bki_edge)edge;
}

static int add_holder(struct bk_snapshot *s, const struct bki_target *target, size_t from)
{
    const struct bki_entry *e = &s->entries[from];
    uint16_t at[2];
    if (!bki_target_read(target, e->kind + target->layout.kind.at, at, sizeof at))
        return -EAGAIN;
    uint64_t id = bki_target_word(target, e->object + at[1]);
    return add_edge(s, from, bki_snapshot_find(s, e->loop, id), true);
}

static int compare_edges(const void *a, const void *b)
{
    const struct bki_wait_edge *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

static int compare_back(const void *a, const void *b)
{
    const struct bki_wait_edge *x = a, *y = b;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

static int index_edges(struct bk_snapshot *s)
{
    size_t size = s->n_edges * sizeof *s->edges;
    if (size == 0)
        return 0;
    s->back = bki_alloc(size);
    if (!s->back)
        return -ENOMEM;
    memcpy(s->back, s->edges, size);
    qsort(s->edges, s->n_edges, sizeof *s->edges, compare_edges);
    qsort(s->back, s->n_edges, sizeof *s->back, compare_back);
    for (size_t i = s->n_edges; i-- > 0;) {
        s->entries[s->edges[i].from].first_edge = i;
        s->entries[s->edges[i].from].n_edges++;
        s->entries[s->back[i].to].first_back = i;
        s->entries[s->back[i].to].n_back++;
    }
    return 0;
}

int bki_snapshot_edges(struct bk_snapshot *s, const struct bki_target *target)
{
    size_t *sorted = NULL, n_sorted = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_entries; i++) {
        enum bki_edge edge = edge_of(&s->entries[i], target);
        if (s->entries[i].has_joiners)
            r = add_joiners(s, target, i);
        if (r == 0 && edge == BKI_TO_HOLDER)
            r = add_holder(s, target, i);
        if (r < 0 || edge != BKI_TO_GROUP)
            continue;
        if (!sorted)
            sorted = sort_by_group(s, &n_sorted);
        r = sorted ? add_group(s, i, sorted, n_sorted) : -ENOMEM;
    }
    bki_free(sorted);
    return r < 0 ? r : index_edges(s);
}

/* ---- Circles ---- */

/* Takes away, as long as there is one, a task that waits for nobody left (or that nobody left waits
 * for); what stays lies on a circle, or between two. */
static bool prune(struct bk_snapshot *s, bool forward)
{
    bool any = false;
    for (size_t i = 0; i < s->n_entries; i++)
        s->entries[i].told = false; /* here: something leads on from it */
    for (size_t k = 0; k < s->n_edges; k++) {
        const struct bki_wait_edge *e = &s->edges[k];
        if (e->hard && s->entries[e->from].in_cycle && s->entries[e->to].in_cycle)
            s->entries[forward ? e->from : e->to].told = true;
    }
    for (size_t i = 0; i < s->n_entries; i++) {
        any = any || (s->entries[i].in_cycle && !s->entries[i].told);
        s->entries[i].in_cycle = s->entries[i].in_cycle && s->entries[i].told;
    }
    return any;
}

void bki_snapshot_cycles(struct bk_snapshot *s)
{
    bool any = false;
    for (size_t k = 0; k < s->n_edges; k++)
        any = any || s->edges[k].hard;
    for (size_t i = 0; i < s->n_entries; i++)
        s->entries[i].in_cycle = any && s->entries[i].n_edges > 0;
    if (any)
        while (prune(s, true) || prune(s, false))
            ;
    for (size_t i = 0; i < s->n_entries; i++)
        s->entries[i].told = false;
}
