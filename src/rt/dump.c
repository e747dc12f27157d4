/* SPDX-License-Identifier: MIT
 * Prints the tree of a loop's tasks: who started whom, what each waits for and since when. */
#include "rt/dump.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/rt.h"
#include "rt/symbol.h"

#define MAX_SIBLINGS 20 /* printed under one parent; the rest are counted */
#define MAX_DEPTH 32
#define NONE SIZE_MAX

struct out {
    int fd;
    int error;
    size_t len;
    char buf[4096];
};

static void out_flush(struct out *out)
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

static void out_print(struct out *out, const char *format, ...) BK_PRINTF(2, 3);

static void out_print(struct out *out, const char *format, ...)
{
    if (sizeof out->buf - out->len < 512)
        out_flush(out);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out->buf + out->len, sizeof out->buf - out->len, format, args);
    va_end(args);
    if (n > 0)
        out->len +=
            (size_t)n < sizeof out->buf - out->len ? (size_t)n : sizeof out->buf - out->len - 1;
}

/* One task in the tree; tasks are in order of their ids, so a parent comes before its children. */
struct node {
    const struct bk_task *task;
    size_t first_child, last_child, next_sibling;
};

struct tree {
    struct node *nodes;
    size_t n;
    size_t first_root, last_root;
};

static size_t find_id(const struct tree *tree, uint64_t id)
{
    size_t low = 0, high = tree->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (tree->nodes[mid].task->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < tree->n && tree->nodes[low].task->id == id ? low : NONE;
}

static void append(struct tree *tree, size_t parent, size_t child)
{
    size_t *first = parent == NONE ? &tree->first_root : &tree->nodes[parent].first_child;
    size_t *last = parent == NONE ? &tree->last_root : &tree->nodes[parent].last_child;
    if (*first == NONE)
        *first = child;
    else
        tree->nodes[*last].next_sibling = child;
    *last = child;
}

static bool tree_build(struct tree *tree, struct bk_loop *loop)
{
    *tree = (struct tree){.first_root = NONE, .last_root = NONE};
    tree->nodes = bki_realloc_array(NULL, loop->n_tasks + 1, sizeof *tree->nodes);
    if (!tree->nodes)
        return false;
    for (struct bki_list *n = bki_list_first(&loop->tasks); n; n = bki_list_next(&loop->tasks, n))
        tree->nodes[tree->n++] = (struct node){
            .task = bki_container(n, struct bk_task, all_link),
            .first_child = NONE,
            .last_child = NONE,
            .next_sibling = NONE,
        };
    for (size_t i = 0; i < tree->n; i++)
        append(tree, find_id(tree, tree->nodes[i].task->parent_id), i);
    return true;
}

static void describe_wait(const struct bk_task *task, char *buf, size_t size)
{
    char about[160] = "";
    switch (task->state) {
    case BKI_NEW:
        snprintf(buf, size, "about to start");
        return;
    case BKI_RUNNING:
        snprintf(buf, size, "running");
        return;
    case BKI_PARKED:
        break;
    default:
        snprintf(buf, size, "ready");
        return;
    }
    if (task->wait_kind->describe)
        task->wait_kind->describe(task->wait_object, about, sizeof about);
    double since = (double)(bki_clock_ns(task->loop) - task->wait_since_ns) / 1e9;
    snprintf(buf, size, "waits for %s%s%s, since %.3f s%s", task->wait_kind->what,
             about[0] ? " " : "", about, since < 0 ? 0 : since,
             task->cancel_frame->pending ? ", cancelled" : "");
}

static void print_task(struct out *out, const struct bk_task *task, const char *indent)
{
    char label[BKI_NAME_MAX * 2], wait[256], site[64];
    describe_wait(task, wait, sizeof wait);
    long offset = bki_symbol_name(task->spawn_site, site, sizeof site);
    out_print(out, "%s#%llu %s: %s", indent, (unsigned long long)task->id,
              bki_task_label(task, label, sizeof label), wait);
    if (offset >= 0)
        out_print(out, " (started in %s+0x%lx)", site, (unsigned long)offset);
    out_print(out, "\n");
}

/* Depth first without recursion: path[] holds the node being printed at each level. */
static void print_tree(struct out *out, const struct tree *tree)
{
    char indent[2 * MAX_DEPTH + 1];
    size_t path[MAX_DEPTH], printed[MAX_DEPTH];
    size_t depth = 0;
    path[0] = tree->first_root;
    printed[0] = 0;
    for (;;) {
        size_t i = path[depth];
        if (i != NONE && printed[depth] < MAX_SIBLINGS) {
            memset(indent, ' ', 2 * depth);
            indent[2 * depth] = '\0';
            print_task(out, tree->nodes[i].task, indent);
            printed[depth]++;
            path[depth] = tree->nodes[i].next_sibling;
            if (tree->nodes[i].first_child != NONE && depth + 1 < MAX_DEPTH) {
                depth++;
                path[depth] = tree->nodes[i].first_child;
                printed[depth] = 0;
            }
            continue;
        }
        size_t more = 0;
        for (; i != NONE; i = tree->nodes[i].next_sibling)
            more++;
        if (more)
            out_print(out, "%*s... and %zu more beside them\n", (int)(2 * depth), "", more);
        if (depth-- == 0)
            return;
    }
}

static size_t count(struct bki_list *list)
{
    size_t n = 0;
    for (struct bki_list *l = bki_list_first(list); l; l = bki_list_next(list, l))
        n++;
    return n;
}

int bki_dump_loop(struct bk_loop *loop, int fd)
{
    struct out *out = bki_alloc(sizeof *out);
    struct tree tree;
    if (!out)
        return -ENOMEM;
    out->fd = fd;
    out->error = 0;
    out->len = 0;
    out_print(out, "%zu task%s", loop->n_tasks, loop->n_tasks == 1 ? "" : "s");
    size_t n_kept = count(&loop->ended);
    if (n_kept > 0)
        out_print(out, " (not counting %zu ended, with handles not freed)", n_kept);
    out_print(out, ", backend %s:\n", loop->backend->name);
    if (tree_build(&tree, loop))
        print_tree(out, &tree);
    bki_free(tree.nodes);
    out_flush(out);
    int r = out->error;
    bki_free(out);
    return r;
}

int bk_dump(int fd)
{
    if (!bki_has_loop())
        return bk_fail(-EINVAL, "bk_dump outside bk_run");
    return bki_dump_loop(bki_loop, fd);
}
