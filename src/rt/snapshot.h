/* SPDX-License-Identifier: MIT
 * The inside of a snapshot, for the files that make one:
 *
 *     snapshot.c        walks the loops and their tasks, and decides which are told of
 *     snapshot_graph.c  who waits for whom, and in a circle
 *     snapshot_info.c   names, words, stacks
 *     snapshot_write.c  for people */
#ifndef BECK_SRC_RT_SNAPSHOT_H
#define BECK_SRC_RT_SNAPSHOT_H

#include <beck/inspect.h>

#include "rt/target.h"

/* A task as it was read; all of them, in order of their ids, loop by loop. */
struct bki_entry {
    uint64_t address, id, parent_id;
    uint64_t name, fn, site, sp, group;
    uint64_t kind, object;
    int64_t since_ns;
    size_t loop; /* index */
    uint8_t state;
    bool cancelled, has_joiners;
    bool in_cycle;
    bool told;
    size_t n_children, last_child; /* seen so far; the last one told of, SIZE_MAX */
    size_t n_hidden;               /* siblings behind it that are left out */
    size_t info;                   /* index among the told */
    size_t first_edge, n_edges;    /* of those that lead from it; and to it */
    size_t first_back, n_back;
};

/* `from` waits for `to`; hard: it needs all that its hard edges lead to. */
struct bki_wait_edge {
    size_t from, to;
    bool hard;
};

struct bki_loop_seen {
    uint64_t id, address;
    int thread_id;
    int64_t now_ns;
    size_t first, n; /* entries */
    size_t n_roots, last_root;
    size_t n_kept; /* tasks that have ended, with handles not freed */
};

/* Memory that goes all at once. */
struct bki_arena {
    struct bki_arena_block *blocks;
    bool failed; /* something found no memory */
};

void *bki_arena_get(struct bki_arena *arena, size_t size);             /* NULL: no memory */
const char *bki_arena_text(struct bki_arena *arena, const char *text); /* then "" */
void bki_arena_free(struct bki_arena *arena);

struct bk_snapshot {
    struct bki_arena arena; /* what the infos point to */
    bk_task_info *infos;
    size_t n_infos, n_total;
    size_t *entry_of; /* by info */
    struct bki_loop_seen *loops;
    size_t n_loops;
    struct bki_entry *entries;
    size_t n_entries;
    struct bki_wait_edge *edges; /* in order of `from` */
    struct bki_wait_edge *back;  /* the same, in order of `to` */
    size_t n_edges, edges_capacity;
    bk_snapshot_opts opts;
    int pid;
};

/* The entry with an id in a loop; SIZE_MAX when there is none. */
size_t bki_snapshot_find(const struct bk_snapshot *s, size_t loop, uint64_t id);

/* -ENOMEM; -EAGAIN when it makes no sense. */
int bki_snapshot_edges(struct bk_snapshot *s, const struct bki_target *target);
void bki_snapshot_cycles(struct bk_snapshot *s);
int bki_snapshot_infos(struct bk_snapshot *s, struct bki_target *target);

#endif
