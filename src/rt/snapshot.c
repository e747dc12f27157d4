/* SPDX-License-Identifier: MIT
 * Walks the loops and their tasks.  Those of another process change meanwhile: what has been read
 * must make sense, or it is read again. */
#include "rt/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/owner.h"

#define DEFAULT_SIBLINGS 20
#define DEFAULT_RETRIES 10
#define MOST_LOOPS 1024
#define MOST_TASKS ((size_t)64 << 20)

/* ---- Memory ---- */

struct bki_arena_block {
    struct bki_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

void *bki_arena_get(struct bki_arena *arena, size_t size)
{
    struct bki_arena_block *block = arena->blocks;
    size = (size + 15) / 16 * 16;
    if (!block || block->size - block->used < size) {
        size_t room = size > 16384 ? size : 16384;
        block = bki_alloc(sizeof *block + room);
        if (!block) {
            arena->failed = true;
            return NULL;
        }
        *block = (struct bki_arena_block){.next = arena->blocks, .size = room};
        arena->blocks = block;
    }
    void *p = block->bytes + block->used;
    block->used += size;
    return p;
}

const char *bki_arena_text(struct bki_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size == 1)
        return "";
    char *copy = bki_arena_get(arena, size);
    return copy ? memcpy(copy, text, size) : "";
}

void bki_arena_free(struct bki_arena *arena)
{
    while (arena->blocks) {
        struct bki_arena_block *next = arena->blocks->next;
        bki_free(arena->blocks);
        arena->blocks = next;
    }
    arena->failed = false;
}

static void *grow(void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return array;
    size_t more = *capacity ? *capacity * 2 : 64;
    array = bki_realloc_array(array, more, size);
    if (array)
        *capacity = more;
    return array;
}

/* ---- Tasks ---- */

static uint64_t field(const unsigned char *task, uint16_t at)
{
    uint64_t word;
    memcpy(&word, task + at, sizeof word);
    return word;
}

static void read_entry(struct bki_entry *e, const struct bki_target *target,
                       const unsigned char *task)
{
    const struct bki_layout *l = &target->layout;
    unsigned pending = 0;
    e->id = field(task, l->task.id);
    e->parent_id = field(task, l->task.parent_id);
    e->name = task[l->task.name_made] ? 0 : field(task, l->task.name);
    e->fn = field(task, l->task.fn);
    e->site = field(task, l->task.site);
    e->sp = field(task, l->task.sp);
    e->group = field(task, l->task.group);
    e->kind = field(task, l->task.wait_kind);
    e->object = field(task, l->task.wait_object);
    e->since_ns = (int64_t)field(task, l->task.wait_since);
    e->state = task[l->task.state];
    e->has_joiners = field(task, l->task.joiners) != e->address + l->task.joiners;
    if (bki_target_read(target, field(task, l->task.cancel_frame), &pending, sizeof pending))
        e->cancelled = pending != 0;
}

/* Tasks lie in order of their ids; whoever walks astray finds one that is not. */
static int read_tasks(struct bk_snapshot *s, const struct bki_target *target, size_t *capacity)
{
    struct bki_loop_seen *loop = &s->loops[s->n_loops];
    const struct bki_layout *l = &target->layout;
    uint64_t head = loop->address + l->loop.tasks, node = bki_target_word(target, head);
    unsigned char task[BKI_MOST_TASK_SIZE];
    uint64_t last_id = 0;
    for (; node != head; node = field(task, l->task.link)) {
        uint64_t address = node - l->task.link;
        if (node == 0 || s->n_entries > MOST_TASKS ||
            !bki_target_read(target, address, task, l->task.size))
            return -EAGAIN;
        void *entries = grow(s->entries, s->n_entries, capacity, sizeof *s->entries);
        if (!entries)
            return -ENOMEM;
        s->entries = entries;
        struct bki_entry *e = &s->entries[s->n_entries++];
        *e = (struct bki_entry){.address = address, .loop = s->n_loops, .last_child = SIZE_MAX};
        read_entry(e, target, task);
        if (e->id <= last_id || e->state > BKI_DONE)
            return -EAGAIN;
        last_id = e->id;
        loop->n++;
    }
    return 0;
}

/* ---- Loops ---- */

static int64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int count_kept(struct bki_loop_seen *loop, const struct bki_target *target)
{
    uint64_t head = loop->address + target->layout.loop.ended;
    uint64_t node = bki_target_word(target, head);
    for (; node != head; node = bki_target_word(target, node))
        if (node == 0 || ++loop->n_kept > MOST_TASKS)
            return -EAGAIN;
    return 0;
}

static int read_loop(struct bk_snapshot *s, const struct bki_target *target, uint64_t address,
                     size_t *capacity)
{
    const struct bki_layout *l = &target->layout;
    bool is_virtual = false;
    struct bki_loop_seen *loop = &s->loops[s->n_loops];
    *loop =
        (struct bki_loop_seen){.address = address, .first = s->n_entries, .last_root = SIZE_MAX};
    loop->id = bki_target_word(target, address + l->loop.id);
    bki_target_read(target, address + l->loop.thread_id, &loop->thread_id, sizeof(int));
    bki_target_read(target, address + l->loop.virtual_clock, &is_virtual, sizeof is_virtual);
    loop->now_ns = is_virtual ? (int64_t)bki_target_word(target, address + l->loop.virtual_ns)
                              : monotonic_ns();
    int r = read_tasks(s, target, capacity);
    if (r == 0)
        r = count_kept(loop, target);
    s->n_loops++;
    return r;
}

static int read_loops(struct bk_snapshot *s, const struct bki_target *target, size_t *capacity)
{
    if (!target->pid)
        return read_loop(s, target, (uint64_t)(uintptr_t)bki_loop, capacity);
    uint64_t head = (uint64_t)(uintptr_t)target->layout.loops;
    uint64_t node = bki_target_word(target, head);
    int r = 0;
    for (; r == 0 && node != head; node = bki_target_word(target, node)) {
        if (node == 0 || s->n_loops == MOST_LOOPS)
            return -EAGAIN;
        r = read_loop(s, target, node - target->layout.loop.link, capacity);
    }
    return r;
}

/* ---- Which ones are told of ---- */

size_t bki_snapshot_find(const struct bk_snapshot *s, size_t loop, uint64_t id)
{
    size_t low = s->loops[loop].first, end = low + s->loops[loop].n, high = end;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->entries[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < end && s->entries[low].id == id ? low : SIZE_MAX;
}

/* The first of each parent, whose own parents are told of; and whoever is in a circle. */
static void choose(struct bk_snapshot *s)
{
    for (size_t i = 0; i < s->n_entries; i++) {
        struct bki_entry *e = &s->entries[i];
        size_t parent = bki_snapshot_find(s, e->loop, e->parent_id);
        size_t *n =
            parent == SIZE_MAX ? &s->loops[e->loop].n_roots : &s->entries[parent].n_children;
        size_t *last =
            parent == SIZE_MAX ? &s->loops[e->loop].last_root : &s->entries[parent].last_child;
        bool room = (*n)++ < s->opts.siblings;
        bool above = parent == SIZE_MAX || s->entries[parent].told;
        e->told = e->in_cycle || (room && above);
        if (e->told) {
            e->info = s->n_infos++;
            *last = i;
        } else if (*last != SIZE_MAX) {
            s->entries[*last].n_hidden++;
        }
    }
    s->n_total = s->n_entries;
}

/* ---- The whole ---- */

static void forget(struct bk_snapshot *s)
{
    bki_arena_free(&s->arena);
    bki_free(s->infos);
    bki_free(s->entry_of);
    bki_free(s->entries);
    bki_free(s->edges);
    bki_free(s->back);
    s->infos = NULL;
    s->entry_of = NULL;
    s->entries = NULL;
    s->edges = s->back = NULL;
    s->n_infos = s->n_loops = s->n_entries = s->n_edges = s->edges_capacity = 0;
}

static int read_all(struct bk_snapshot *s, struct bki_target *target)
{
    size_t capacity = 0;
    int r = read_loops(s, target, &capacity);
    if (r == 0)
        r = bki_snapshot_edges(s, target);
    if (r < 0)
        return r;
    bki_snapshot_cycles(s);
    choose(s);
    return bki_snapshot_infos(s, target);
}

static int read_again(struct bk_snapshot *s, struct bki_target *target)
{
    int r = -EAGAIN;
    for (unsigned i = 0; r == -EAGAIN && i <= s->opts.retries; i++) {
        forget(s);
        r = read_all(s, target);
    }
    if (r == -EAGAIN)
        return bk_fail(r, "the tasks of process %d change too quickly to be read", s->pid);
    return r < 0 ? bk_fail(r, "no memory for a look at the tasks") : r;
}

static int open_snapshot(struct bk_snapshot **out, int pid, const bk_snapshot_opts *opts)
{
    struct bk_snapshot *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a look at the tasks");
    if (opts)
        s->opts = *opts;
    if (!s->opts.siblings)
        s->opts.siblings = DEFAULT_SIBLINGS;
    if (!s->opts.retries)
        s->opts.retries = DEFAULT_RETRIES;
    s->pid = pid;
    s->loops = bki_realloc_array(NULL, pid ? MOST_LOOPS : 1, sizeof *s->loops);
    if (!s->loops) {
        bki_free(s);
        return bk_fail(-ENOMEM, "no memory for a look at the tasks");
    }
    *out = s;
    return 0;
}

int bk_snapshot_take(bk_snapshot **out, int pid, const bk_snapshot_opts *opts)
{
    bk_snapshot *s = NULL;
    if (pid == 0 && !bki_has_loop())
        return bk_fail(-EINVAL, "bk_snapshot_take of this thread's loop, outside bk_run");
    int r = open_snapshot(&s, pid, opts);
    if (r < 0)
        return r;
    struct bki_target *target = bki_alloc(sizeof *target);
    r = target ? bki_target_open(target, pid) : bk_fail(-ENOMEM, "no memory to read a process");
    if (r == 0) {
        r = read_again(s, target);
        bki_target_close(target);
    }
    bki_free(target);
    if (r < 0)
        bk_snapshot_free(&s);
    else
        *out = s;
    return r;
}

void bk_snapshot_free(bk_snapshot **snapshot)
{
    struct bk_snapshot *s = *snapshot;
    *snapshot = NULL;
    if (!s)
        return;
    forget(s);
    bki_free(s->loops);
    bki_free(s);
}

const bk_task_info *bk_snapshot_tasks(const bk_snapshot *snapshot, size_t *n)
{
    *n = snapshot->n_infos;
    return snapshot->infos;
}

size_t bk_snapshot_total(const bk_snapshot *snapshot)
{
    return snapshot->n_total;
}
