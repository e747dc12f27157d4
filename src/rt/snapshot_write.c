/* SPDX-License-Identifier: MIT
 * A snapshot for people: the tree of who started whom, with stacks and circles; or a table. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/snapshot.h"

#define MOST_DEPTH 32
#define MOST_NAMED 8 /* of those that wait for a task */

struct out {
    int fd;
    int error;
    size_t len;
    char buf[4096];
};

static void flush(struct out *out)
{
    for (size_t done = 0; done < out->len && !out->error;) {
        ssize_t n = write(out->fd, out->buf + done, out->len - done);
        if (n < 0 && errno != EINTR)
            out->error = -errno;
        else if (n > 0)
            done += (size_t)n;
    }
    out->len = 0;
}

static void print(struct out *out, const char *format, ...) BK_PRINTF(2, 3);

static void print(struct out *out, const char *format, ...)
{
    if (sizeof out->buf - out->len < 768)
        flush(out);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out->buf + out->len, sizeof out->buf - out->len, format, args);
    va_end(args);
    size_t room = sizeof out->buf - out->len - 1;
    out->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room;
}

/* ---- Pieces ---- */

static void print_place(struct out *out, const bk_place *p)
{
    print(out, "%s+0x%lx", p->function[0] ? p->function : "?", p->offset);
    if (p->line)
        print(out, " (%s:%d)", p->file, p->line);
}

static void print_state(struct out *out, const bk_task_info *t)
{
    if (strcmp(t->state, "new") == 0)
        print(out, "about to start");
    else if (strcmp(t->state, "waiting") != 0)
        print(out, "%s", t->state);
    else
        print(out, "waits for %s, since %.3f s", t->waits_for, (double)t->waiting.ns / 1e9);
    if (t->cancelled)
        print(out, ", cancelled");
}

static void print_task(struct out *out, const bk_task_info *t, int indent)
{
    print(out, "%*s#%llu %s: ", indent, "", (unsigned long long)t->id, t->name);
    print_state(out, t);
    if (t->started.function[0]) {
        print(out, " (started in %s+0x%lx", t->started.function, t->started.offset);
        if (t->started.line)
            print(out, ", %s:%d", t->started.file, t->started.line);
        print(out, ")");
    }
    print(out, "\n");
    for (size_t i = 0; i < t->n_awaited_by && i < MOST_NAMED; i++)
        print(out, "%*s%s#%llu", i ? 0 : indent, "", i ? ", " : "  awaited by ",
              (unsigned long long)t->awaited_by[i]);
    if (t->n_awaited_by > MOST_NAMED)
        print(out, " and %zu more", t->n_awaited_by - MOST_NAMED);
    if (t->n_awaited_by > 0)
        print(out, "\n");
    for (size_t i = 0; i < t->n_stack; i++) {
        print(out, "%*s  at ", indent, "");
        print_place(out, &t->stack[i]);
        print(out, "\n");
    }
}

/* ---- The tree ---- */

/* Parents come before their children, so that a task's depth is known from its parent's. */
static int *depths(const bk_snapshot *s)
{
    int *depth = bki_realloc_array(NULL, s->n_infos + 1, sizeof *depth);
    for (size_t i = 0; depth && i < s->n_infos; i++) {
        size_t parent =
            bki_snapshot_find(s, s->entries[s->entry_of[i]].loop, s->infos[i].parent_id);
        bool told = parent != SIZE_MAX && s->entries[parent].told;
        depth[i] = told ? depth[s->entries[parent].info] + 1 : 0;
    }
    return depth;
}

struct tree {
    const bk_snapshot *s;
    const int *depth;
    size_t *first_child, *last_child, *next; /* indices of infos; SIZE_MAX: none */
};

static bool open_tree(struct tree *tree, const bk_snapshot *s)
{
    size_t *links = bki_realloc_array(NULL, 3 * s->n_infos + 1, sizeof *links);
    *tree = (struct tree){.s = s, .depth = depths(s), .first_child = links};
    if (!links)
        return false;
    tree->last_child = links + s->n_infos;
    tree->next = links + 2 * s->n_infos;
    memset(links, 0xff, 3 * s->n_infos * sizeof *links);
    for (size_t i = 0; i < s->n_infos; i++) {
        const struct bki_entry *e = &s->entries[s->entry_of[i]];
        size_t parent = bki_snapshot_find(s, e->loop, e->parent_id);
        if (parent == SIZE_MAX || !s->entries[parent].told)
            continue;
        size_t p = s->entries[parent].info;
        if (tree->first_child[p] == SIZE_MAX)
            tree->first_child[p] = i;
        else
            tree->next[tree->last_child[p]] = i;
        tree->last_child[p] = i;
    }
    return tree->depth != NULL;
}

static void close_tree(struct tree *tree)
{
    bki_free((void *)(uintptr_t)tree->depth);
    bki_free(tree->first_child);
}

static void print_hidden(struct out *out, const bk_task_info *t, int indent)
{
    if (t->n_hidden)
        print(out, "%*s... and %zu more beside them\n", indent, "", t->n_hidden);
}

/* A task and everything below it, without recursion: down, along, and back up. */
static void print_below(struct out *out, const struct tree *tree, size_t root)
{
    size_t path[MOST_DEPTH];
    int depth = 0;
    path[0] = root;
    for (;;) {
        size_t i = path[depth];
        print_task(out, &tree->s->infos[i], 2 * depth);
        if (tree->first_child[i] != SIZE_MAX && depth + 1 < MOST_DEPTH) {
            path[++depth] = tree->first_child[i];
            continue;
        }
        for (; depth >= 0; depth--) {
            i = path[depth];
            print_hidden(out, &tree->s->infos[i], 2 * depth);
            if (depth > 0 && tree->next[i] != SIZE_MAX)
                break;
        }
        if (depth <= 0)
            return;
        path[depth] = tree->next[i];
    }
}

static void print_loop_line(struct out *out, const bk_snapshot *s, size_t loop)
{
    const struct bki_loop_seen *l = &s->loops[loop];
    if (s->pid)
        print(out, "loop %llu on thread %d: ", (unsigned long long)l->id, l->thread_id);
    print(out, "%zu task%s", l->n, l->n == 1 ? "" : "s");
    if (l->n_kept > 0)
        print(out, " (not counting %zu ended, with handles not freed)", l->n_kept);
    if (!s->pid)
        print(out, ", backend %s", bki_loop->backend->name);
    print(out, ":\n");
}

static void print_tree(struct out *out, const bk_snapshot *s)
{
    struct tree tree;
    bool ok = open_tree(&tree, s);
    for (size_t loop = 0; loop < s->n_loops; loop++) {
        print_loop_line(out, s, loop);
        for (size_t i = 0; i < s->n_infos; i++) {
            const struct bki_entry *e = &s->entries[s->entry_of[i]];
            if (e->loop != loop)
                continue;
            if (!ok)
                print_task(out, &s->infos[i], 0);
            else if (tree.depth[i] == 0)
                print_below(out, &tree, i);
        }
    }
    close_tree(&tree);
}

/* ---- Circles ---- */

/* Where a task in a circle waits for another one in it. */
static size_t next_in_circle(const bk_snapshot *s, size_t entry)
{
    const struct bki_entry *e = &s->entries[entry];
    for (size_t k = e->first_edge; k < e->first_edge + e->n_edges; k++)
        if (s->edges[k].hard && s->entries[s->edges[k].to].in_cycle)
            return s->edges[k].to;
    return SIZE_MAX;
}

static void print_circles(struct out *out, const bk_snapshot *s)
{
    bool *seen = bki_zalloc(s->n_infos + 1);
    for (size_t i = 0; seen && i < s->n_infos; i++) {
        if (!s->infos[i].in_cycle || seen[i])
            continue;
        print(out, "these wait for each other, and none can go on:\n");
        size_t entry = s->entry_of[i];
        while (entry != SIZE_MAX && !seen[s->entries[entry].info]) {
            const bk_task_info *t = &s->infos[s->entries[entry].info];
            seen[s->entries[entry].info] = true;
            print(out, "  #%llu %s waits for %s\n", (unsigned long long)t->id, t->name,
                  t->waits_for);
            entry = next_in_circle(s, entry);
        }
    }
    bki_free(seen);
}

/* ---- The table ---- */

static void print_table(struct out *out, const bk_snapshot *s)
{
    print(out, "%4s %6s %6s  %-20s %-8s %9s  %-40s %s\n", "loop", "task", "parent", "name", "state",
          "since", "waits for", "at");
    for (size_t i = 0; i < s->n_infos; i++) {
        const bk_task_info *t = &s->infos[i];
        print(out, "%4llu %6llu %6llu  %-20s %-8s %9.3f  %-40s ", (unsigned long long)t->loop,
              (unsigned long long)t->id, (unsigned long long)t->parent_id, t->name,
              t->cancelled ? "cancel" : t->state, (double)t->waiting.ns / 1e9, t->waits_for);
        size_t at = 0; /* the program's own function */
        while (at + 1 < t->n_stack && strncmp(t->stack[at].function, "bk_", 3) == 0)
            at++;
        if (t->n_stack > 0)
            print_place(out, &t->stack[at]);
        print(out, "\n");
    }
    if (s->n_total > s->n_infos)
        print(out, "... and %zu more\n", s->n_total - s->n_infos);
}

int bk_snapshot_write(const bk_snapshot *snapshot, int fd, enum bk_snapshot_form form)
{
    struct out *out = bki_alloc(sizeof *out);
    if (!out)
        return bk_fail(-ENOMEM, "no memory to write a snapshot");
    out->fd = fd;
    out->error = 0;
    out->len = 0;
    if (form == BK_TREE)
        print_tree(out, snapshot);
    else
        print_table(out, snapshot);
    print_circles(out, snapshot);
    flush(out);
    int r = out->error;
    bki_free(out);
    return r;
}
