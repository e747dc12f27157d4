/* SPDX-License-Identifier: MIT
 * Stack slots: mapping, guarding, recycling. */
#include "rt/stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "rt/fiber.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

#define GUARD_SIZE ((size_t)4096)
#define SLAB_SIZE ((size_t)16 << 20)
#define KEEP_WARM ((size_t)256)
#define TRIM_BATCH ((size_t)512) /* about half a millisecond of system calls */
#define COLOURS 16

/* A mapping of n slots.  cold[0..n_cold) are the indexes of slots without memory, the next one to
 * use last. */
struct bki_slab {
    struct bki_slab *next, *next_cold;
    struct bki_stack_class *class;
    char *base;
    size_t n_slots;
    size_t n_cold;
    size_t n_born; /* slots that were used at least once have their guard */
    uint32_t cold[];
};

enum guard_kind { GUARD_UNKNOWN, GUARD_MADVISE, GUARD_MPROTECT };

/* The same for every thread, and finding it twice does no harm. */
static int guard_kind_found;

static enum guard_kind guard_kind(void)
{
    int kind = __atomic_load_n(&guard_kind_found, __ATOMIC_RELAXED);
    if (kind != GUARD_UNKNOWN)
        return (enum guard_kind)kind;
    kind = GUARD_MPROTECT;
    const char *wish = getenv("BECK_STACK_GUARD");
    if (!wish || strcmp(wish, "mprotect") != 0) {
        void *page =
            mmap(NULL, GUARD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED) {
            /* An emulator such as qemu-user says yes to any advice, and ignores it. */
            if (madvise(page, GUARD_SIZE, MADV_GUARD_INSTALL) == 0 &&
                madvise(page, GUARD_SIZE, -1) != 0)
                kind = GUARD_MADVISE;
            munmap(page, GUARD_SIZE);
        }
    }
    __atomic_store_n(&guard_kind_found, kind, __ATOMIC_RELAXED);
    return (enum guard_kind)kind;
}

const char *bki_stack_guard_name(void)
{
    return guard_kind() == GUARD_MADVISE ? "madvise" : "mprotect";
}

void bki_stacks_open(struct bki_stacks *stacks)
{
    for (size_t i = 0; i < BKI_STACK_CLASSES; i++) {
        stacks->classes[i] = (struct bki_stack_class){0};
        stacks->classes[i].slot_size = ((size_t)1 << (BKI_STACK_MIN_SHIFT + i)) + GUARD_SIZE;
    }
}

static char *slot_of(const struct bki_slab *slab, size_t index)
{
    return slab->base + index * slab->class->slot_size;
}

static struct bki_stack *stack_of(const struct bki_slab *slab, size_t index)
{
    return (struct bki_stack *)(void *)(slot_of(slab, index + 1) - index % COLOURS * 64 -
                                        sizeof(struct bki_stack));
}

void *bki_stack_low(const struct bki_stack *stack)
{
    return slot_of(stack->slab, stack->index) + GUARD_SIZE;
}

size_t bki_stack_size(const struct bki_stack *stack)
{
    return stack->slab->class->slot_size - GUARD_SIZE;
}

void bki_stacks_close(struct bki_stacks *stacks)
{
    for (size_t i = 0; i < BKI_STACK_CLASSES; i++) {
        struct bki_stack_class *class = &stacks->classes[i];
        for (struct bki_stack *s = class->warm; s; s = s->next_warm)
            bki_fiber_destroy(s);
        for (struct bki_slab *slab = class->slabs, *next; slab; slab = next) {
            next = slab->next;
            bki_fiber_forget_memory(slab->base, slab->n_slots * class->slot_size);
            munmap(slab->base, slab->n_slots * class->slot_size);
            bki_free(slab);
        }
        size_t slot_size = class->slot_size;
        *class = (struct bki_stack_class){.slot_size = slot_size};
    }
}

struct bki_stack_class *bki_stack_class_for(struct bki_stacks *stacks, size_t size)
{
    for (size_t i = 0; i < BKI_STACK_CLASSES; i++)
        if (stacks->classes[i].slot_size - GUARD_SIZE >= size)
            return &stacks->classes[i];
    return NULL;
}

static struct bki_slab *slab_new(struct bki_stack_class *class)
{
    size_t n = SLAB_SIZE / class->slot_size;
    if (n < 1)
        n = 1;
    struct bki_slab *slab = bki_zalloc(sizeof *slab + n * sizeof slab->cold[0]);
    if (!slab) {
        bk_fail(-ENOMEM, "no memory for task stacks");
        return NULL;
    }
    int prot = guard_kind() == GUARD_MADVISE ? PROT_READ | PROT_WRITE : PROT_NONE;
    slab->base = mmap(NULL, n * class->slot_size, prot,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (slab->base == MAP_FAILED) {
        bki_fail_errno(errno, "mapping %zu KiB for task stacks", n * class->slot_size / 1024);
        bki_free(slab);
        return NULL;
    }
    /* A huge page behind a stack would be 2 MiB of memory for one task. */
    madvise(slab->base, n * class->slot_size, MADV_NOHUGEPAGE);
    slab->class = class;
    slab->n_slots = slab->n_cold = n;
    for (size_t i = 0; i < n; i++)
        slab->cold[i] = (uint32_t)(n - 1 - i);
    slab->next = class->slabs;
    class->slabs = slab;
    slab->next_cold = class->cold_slab;
    class->cold_slab = slab;
    return slab;
}

/* Makes the slot usable: memory may be touched, and the page below it may not. */
static bool guard_slot(struct bki_slab *slab, uint32_t index)
{
    char *slot = slot_of(slab, index);
    int r;
    if (guard_kind() == GUARD_MADVISE)
        r = madvise(slot, GUARD_SIZE, MADV_GUARD_INSTALL);
    else
        r = mprotect(slot + GUARD_SIZE, slab->class->slot_size - GUARD_SIZE,
                     PROT_READ | PROT_WRITE);
    if (r == 0)
        return true;
    bki_fail_errno(errno, "guarding a task stack%s",
                   errno == ENOMEM && guard_kind() == GUARD_MPROTECT
                       ? " (this kernel needs two mappings for each task: see vm.max_map_count)"
                       : "");
    return false;
}

struct bki_stack *bki_stack_get_cold(struct bki_stack_class *class)
{
    struct bki_slab *slab = class->cold_slab;
    if (!slab) {
        slab = slab_new(class);
        if (!slab)
            return NULL;
    }
    uint32_t index = slab->cold[slab->n_cold - 1];
    /* Slots are born in order: lower indexes than n_born keep the guard of their first use. */
    if (index >= slab->n_born) {
        if (!guard_slot(slab, index))
            return NULL;
        slab->n_born = index + 1;
    }
    if (--slab->n_cold == 0)
        class->cold_slab = slab->next_cold;
    struct bki_stack *stack = stack_of(slab, index);
    *stack = (struct bki_stack){.slab = slab, .class = class, .index = index};
    bki_fiber_create(stack);
    return stack;
}

static void make_cold(struct bki_stack *stack)
{
    struct bki_slab *slab = stack->slab;
    uint32_t index = stack->index;
    bki_fiber_destroy(stack);
    bki_fiber_forget_memory(slot_of(slab, index) + GUARD_SIZE, slab->class->slot_size - GUARD_SIZE);
    madvise(slot_of(slab, index) + GUARD_SIZE, slab->class->slot_size - GUARD_SIZE, MADV_DONTNEED);
    if (slab->n_cold == 0) {
        slab->next_cold = slab->class->cold_slab;
        slab->class->cold_slab = slab;
    }
    slab->cold[slab->n_cold++] = index;
}

void bki_stack_trim(const struct bki_stack *stack, const void *sp)
{
    char *low = bki_stack_low(stack);
    size_t below = (size_t)((const char *)sp - low) & ~(GUARD_SIZE - 1); /* whole pages */
    if (below > 0)
        madvise(low, below, MADV_DONTNEED);
}

bool bki_stacks_may_trim(const struct bki_stacks *stacks)
{
    for (size_t i = 0; i < BKI_STACK_CLASSES; i++)
        if (stacks->classes[i].n_warm > KEEP_WARM)
            return true;
    return false;
}

bool bki_stacks_trim(struct bki_stacks *stacks)
{
    for (size_t i = 0; i < BKI_STACK_CLASSES; i++) {
        struct bki_stack_class *class = &stacks->classes[i];
        size_t n = class->min_warm > KEEP_WARM ? class->min_warm - KEEP_WARM : 0;
        if (n > TRIM_BATCH)
            n = TRIM_BATCH;
        for (size_t k = 0; k < n; k++) {
            struct bki_stack *stack = class->warm;
            class->warm = stack->next_warm;
            class->n_warm--;
            make_cold(stack);
        }
        class->min_warm = class->n_warm;
    }
    return bki_stacks_may_trim(stacks);
}

struct bki_stack *bki_stack_of_guard(const struct bki_stacks *stacks, const void *addr)
{
    for (size_t i = 0; i < BKI_STACK_CLASSES; i++) {
        size_t slot_size = stacks->classes[i].slot_size;
        for (const struct bki_slab *slab = stacks->classes[i].slabs; slab; slab = slab->next) {
            size_t offset = (size_t)((const char *)addr - slab->base);
            if ((const char *)addr >= slab->base && offset < slab->n_slots * slot_size &&
                offset % slot_size < GUARD_SIZE && offset / slot_size < slab->n_born)
                return stack_of(slab, offset / slot_size);
        }
    }
    return NULL;
}
