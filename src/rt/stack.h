/* SPDX-License-Identifier: MIT
 * Stacks for tasks: slots cut from large mappings, each with a guard page below, recycled last in,
 * first out.
 *
 * A slot from low to high: guard page | stack, growing down | the task object | struct bki_stack |
 * colour gap. With its guard page a slot is an odd number of pages, and the gap differs from slot
 * to slot: otherwise the tops of all stacks would fall into the same few sets of the caches.  A
 * fresh task touches one page.  Slots are cold (no memory behind them) until first used; those
 * given back stay warm until they have gone unused for a while, then go cold again. */
#ifndef BECK_SRC_RT_STACK_H
#define BECK_SRC_RT_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bki_slab;

/* The bookkeeping near the top of a slot; the task object lies right below it. */
struct bki_stack {
    struct bki_stack *next_warm;
    struct bki_slab *slab;
    struct bki_stack_class *class;
    void *owner;     /* the task on it, for the overflow report; NULL while free */
    uint32_t index;  /* of the slot in its slab */
    uint32_t n_used; /* the sanitizers' notes about this stack */
    void *asan_fake;
    void *tsan_fiber;
};

/* One size of stack. */
struct bki_stack_class {
    size_t slot_size;
    struct bki_stack *warm;
    size_t n_warm;
    size_t min_warm;            /* least n_warm since the last trim: slots nobody needed */
    struct bki_slab *slabs;     /* all */
    struct bki_slab *cold_slab; /* one with cold slots, or NULL */
};

#define BKI_STACK_MIN_SHIFT 14 /* 16 KiB */
#define BKI_STACK_CLASSES 13   /* up to 64 MiB */

struct bki_stacks {
    struct bki_stack_class classes[BKI_STACK_CLASSES];
};

void bki_stacks_open(struct bki_stacks *stacks);
/* Unmaps everything: no stack may be in use. */
void bki_stacks_close(struct bki_stacks *stacks);

/* The class for stacks of at least size bytes, or NULL when that is more than 64 MiB. */
struct bki_stack_class *bki_stack_class_for(struct bki_stacks *stacks, size_t size);

/* A stack, or NULL when address space or mappings run out (bk_fail text set). */
struct bki_stack *bki_stack_get_cold(struct bki_stack_class *class);

static inline struct bki_stack *bki_stack_get(struct bki_stack_class *class)
{
    struct bki_stack *stack = class->warm;
    if (!stack)
        return bki_stack_get_cold(class);
    class->warm = stack->next_warm;
    /* The next get finds its links in the cache. */
    __builtin_prefetch(class->warm, 1);
    if (--class->n_warm < class->min_warm)
        class->min_warm = class->n_warm;
    return stack;
}

/* Gives a stack back; its memory stays valid until the next get, so a task may give back the one it
 * runs on. */
static inline void bki_stack_put(struct bki_stack *stack)
{
    struct bki_stack_class *class = stack->class;
    stack->owner = NULL;
    stack->next_warm = class->warm;
    class->warm = stack;
    class->n_warm++;
}

/* Lets go of the memory of warm slots that went unused since the last call: 512 at most, and never
 * the last 256.  Call now and then, not from a task.  Returns whether a later call may find more.
 */
bool bki_stacks_trim(struct bki_stacks *stacks);
/* Whether there is anything to let go of, once it has gone unused for long enough. */
bool bki_stacks_may_trim(const struct bki_stacks *stacks);

/* Lets go of the memory below sp: of a stack whose task stands there and is not running. */
void bki_stack_trim(const struct bki_stack *stack, const void *sp);

/* The lowest usable byte, above the guard. */
void *bki_stack_low(const struct bki_stack *stack) __attribute__((pure));
size_t bki_stack_size(const struct bki_stack *stack);

/* The stack whose guard page holds addr, or NULL.  Async-signal-safe. */
struct bki_stack *bki_stack_of_guard(const struct bki_stacks *stacks, const void *addr);

/* "madvise" or "mprotect". */
const char *bki_stack_guard_name(void);

#endif
