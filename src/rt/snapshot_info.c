/* SPDX-License-Identifier: MIT
 * What is told of a task: its name, what it waits for, its stack. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "rt/about.h"
#include "rt/snapshot.h"

#define MOST_FRAMES 64
#define LABEL 64

struct work {
    struct bk_snapshot *s;
    struct bki_target *target;
    size_t loop;       /* of the task being told of */
    char label[LABEL]; /* of the last task that was asked for */
    uint64_t pcs[MOST_FRAMES];
    bool is_caller[MOST_FRAMES];
    size_t n_frames;
    uint64_t low, high; /* of the stack being walked */
};

/* ---- Names ---- */

static const char *label_of(struct work *w, const struct bki_entry *e)
{
    if (e->name)
        bki_target_text(w->target, e->name, w->label, BKI_NAME_MAX);
    else
        snprintf(w->label, LABEL, "%s",
                 bki_code_map_place(&w->target->code, e->fn, false)->function);
    if (!w->label[0])
        snprintf(w->label, LABEL, "task");
    return w->label;
}

static const char *name_of_id(void *ctx, uint64_t id)
{
    struct work *w = ctx;
    size_t i = bki_snapshot_find(w->s, w->loop, id);
    return i == SIZE_MAX ? NULL : label_of(w, &w->s->entries[i]);
}

static const char *name_of_task(void *ctx, uint64_t address, uint64_t *id)
{
    struct work *w = ctx;
    *id = bki_target_word(w->target, address + w->target->layout.task.id);
    return name_of_id(ctx, *id);
}

/* ---- Words ---- */

static bool read_object(void *ctx, uint64_t address, void *buf, size_t size)
{
    return bki_target_read(((struct work *)ctx)->target, address, buf, size);
}

/* In our own process an object may say more by a function. */
static void describe_object(struct work *w, const struct bki_entry *e, char *buf, size_t size)
{
    const struct bki_layout *l = &w->target->layout;
    uint16_t at[6] = {0};
    char format[64];
    const struct bki_wait_kind *kind = (const void *)(uintptr_t)e->kind;
    buf[0] = '\0';
    if (!w->target->pid && kind->describe) {
        kind->describe((const void *)(uintptr_t)e->object, buf, size);
        return;
    }
    uint64_t about = bki_target_word(w->target, e->kind + l->kind.about);
    if (!about || !bki_target_read(w->target, e->kind + l->kind.at, at, sizeof at))
        return;
    bki_target_text(w->target, about, format, sizeof format);
    struct bki_about_source source = {
        .read = read_object,
        .name_of = name_of_id,
        .task_at = name_of_task,
        .now_ns = w->s->loops[e->loop].now_ns,
        .ctx = w,
    };
    bki_about(&source, format, at, e->object, buf, size);
}

static void tell_wait(struct work *w, const struct bki_entry *e, bk_task_info *info)
{
    static const char *const states[] = {"new", "ready", "running", "waiting", "done"};
    char what[64], about[192], text[sizeof what + sizeof about + 2];
    info->state = states[e->state];
    info->waits_for = "";
    info->cancelled = e->cancelled;
    if (e->state != BKI_PARKED || !e->kind)
        return;
    int64_t ns = w->s->loops[e->loop].now_ns - e->since_ns;
    info->waiting = (bk_duration){ns > 0 ? ns : 0};
    bki_target_text(w->target, bki_target_word(w->target, e->kind + w->target->layout.kind.what),
                    what, sizeof what);
    describe_object(w, e, about, sizeof about);
    snprintf(text, sizeof text, "%s%s%s", what, about[0] ? " " : "", about);
    info->waits_for = bki_arena_text(&w->s->arena, text);
}

/* ---- Stacks ---- */

static bk_place public_place(struct bki_arena *arena, const struct bki_place *place)
{
    return (bk_place){
        .function = bki_arena_text(arena, place->function),
        .offset = place->offset,
        .file = bki_arena_text(arena, place->file),
        .line = place->line,
    };
}

static bool read_stack(void *ctx, uint64_t address, void *buf, size_t size)
{
    struct work *w = ctx;
    return address >= w->low && address < w->high && size <= w->high - address &&
           bki_target_read_cached(w->target, address, buf, size);
}

/* The task object lies at the top of its stack. */
static void walk(struct work *w, const struct bki_entry *e, struct bki_frame *frame)
{
    w->n_frames = 0;
    w->target->page_at = 0;
    w->low = frame->regs[BKI_UNWIND_SP] - 256; /* below it what the switch has saved */
    w->high = e->address;
    do {
        w->pcs[w->n_frames] = frame->pc;
        w->is_caller[w->n_frames++] = frame->is_caller;
    } while (w->n_frames < MOST_FRAMES &&
             bki_code_map_unwind(&w->target->code, frame, read_stack, w) == 1);
}

static void walk_suspended(struct work *w, const struct bki_entry *e)
{
    const struct bki_layout *l = &w->target->layout;
    struct bki_frame frame = {.pc = bki_target_word(w->target, e->sp + l->saved.pc)};
    bki_frame_set(&frame, BKI_UNWIND_FP, bki_target_word(w->target, e->sp + l->saved.fp));
    bki_frame_set(&frame, BKI_UNWIND_SP,
                  l->saved.sp ? bki_target_word(w->target, e->sp + l->saved.sp)
                              : e->sp + l->saved.add);
    walk(w, e, &frame);
}

/* The task that asks: from here on. */
static __attribute__((noinline)) void walk_here(struct work *w, const struct bki_entry *e)
{
    struct bki_frame frame;
    bki_frame_here(&frame);
    walk(w, e, &frame);
}

static const struct bki_place *frame_place(struct work *w, size_t i)
{
    return bki_code_map_place(&w->target->code, w->pcs[i], w->is_caller[i]);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static const char *function_of(struct work *w, size_t i)
{
    return i < w->n_frames ? frame_place(w, i)->function : "";
}

/* Behind the frames of whoever takes the snapshot. */
static size_t first_of_self(struct work *w)
{
    size_t first = 0;
    for (size_t i = 0; i < w->n_frames && i < 16; i++)
        if (begins(function_of(w, i), "bk_snapshot_") || begins(function_of(w, i), "bki_dump") ||
            strcmp(function_of(w, i), "bk_dump") == 0)
            first = i;
    return first;
}

/* The runtime's own frames say nothing, down to the public call that suspends. */
static size_t first_of_suspended(struct work *w)
{
    size_t i = 0;
    while (begins(function_of(w, i), "bki_") || strcmp(function_of(w, i), "park") == 0 ||
           strcmp(function_of(w, i), "give_way") == 0)
        i++;
    /* Then perhaps some that are the file's own, of which a user may have as many. */
    const struct bki_place *at = i < w->n_frames ? frame_place(w, i) : NULL;
    char file[sizeof at->file];
    if (!at)
        return 0;
    snprintf(file, sizeof file, "%s", at->file);
    for (size_t k = i; k < w->n_frames && k <= i + 4; k++) {
        if (begins(function_of(w, k), "bk_"))
            return k;
        if (!file[0] || strcmp(frame_place(w, k)->file, file) != 0)
            break;
    }
    return i;
}

static size_t end_of_stack(struct work *w, size_t i)
{
    while (i < w->n_frames && strcmp(function_of(w, i), "task_entry") != 0)
        i++;
    return i;
}

static int tell_stack(struct work *w, const struct bki_entry *e, bk_task_info *info)
{
    bool self = !w->target->pid && e->state == BKI_RUNNING;
    if (w->s->opts.no_stacks || (!self && e->state != BKI_PARKED && e->state != BKI_READY))
        return 0;
    self ? walk_here(w, e) : walk_suspended(w, e);
    size_t first = self ? first_of_self(w) : first_of_suspended(w), end = end_of_stack(w, first);
    bk_place *places = bki_arena_get(&w->s->arena, (end - first) * sizeof *places + 1);
    if (!places)
        return -ENOMEM;
    for (size_t i = first; i < end; i++)
        places[i - first] = public_place(&w->s->arena, frame_place(w, i));
    info->stack = places;
    info->n_stack = end - first;
    return 0;
}

/* ---- The whole ---- */

static int tell_edges(struct work *w, const struct bki_entry *e, bk_task_info *info)
{
    const struct bk_snapshot *s = w->s;
    uint64_t *ids = bki_arena_get(&w->s->arena, (e->n_edges + e->n_back) * sizeof *ids + 1);
    if (!ids)
        return -ENOMEM;
    for (size_t i = 0; i < e->n_edges; i++)
        ids[i] = s->entries[s->edges[e->first_edge + i].to].id;
    for (size_t i = 0; i < e->n_back; i++)
        ids[e->n_edges + i] = s->entries[s->back[e->first_back + i].from].id;
    info->awaits = ids;
    info->n_awaits = e->n_edges;
    info->awaited_by = ids + e->n_edges;
    info->n_awaited_by = e->n_back;
    info->in_cycle = e->in_cycle;
    info->n_hidden = e->n_hidden;
    return 0;
}

static int tell(struct work *w, const struct bki_entry *e, bk_task_info *info)
{
    struct bki_arena *arena = &w->s->arena;
    w->loop = e->loop;
    *info = (bk_task_info){
        .loop = w->s->loops[e->loop].id,
        .thread_id = w->s->loops[e->loop].thread_id,
        .id = e->id,
        .parent_id = e->parent_id,
        .name = bki_arena_text(arena, label_of(w, e)),
        .started = public_place(arena, bki_code_map_place(&w->target->code, e->site, true)),
    };
    tell_wait(w, e, info);
    int r = tell_edges(w, e, info);
    if (r == 0)
        r = tell_stack(w, e, info);
    return arena->failed ? -ENOMEM : r;
}

int bki_snapshot_infos(struct bk_snapshot *s, struct bki_target *target)
{
    struct work *w = bki_alloc(sizeof *w);
    s->infos = bki_realloc_array(NULL, s->n_infos + 1, sizeof *s->infos);
    s->entry_of = bki_realloc_array(NULL, s->n_infos + 1, sizeof *s->entry_of);
    int r = w && s->infos && s->entry_of ? 0 : -ENOMEM;
    if (r == 0)
        *w = (struct work){.s = s, .target = target};
    for (size_t i = 0; r == 0 && i < s->n_entries; i++)
        if (s->entries[i].told) {
            s->entry_of[s->entries[i].info] = i;
            r = tell(w, &s->entries[i], &s->infos[s->entries[i].info]);
        }
    bki_free(w);
    return r;
}
