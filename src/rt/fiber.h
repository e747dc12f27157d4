/* SPDX-License-Identifier: MIT
 * What AddressSanitizer, ThreadSanitizer and valgrind must hear about stacks; nothing in other
 * builds. */
#ifndef BECK_SRC_RT_FIBER_H
#define BECK_SRC_RT_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#include "rt/stack.h"

#if defined(__SANITIZE_ADDRESS__)
#define BKI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BKI_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define BKI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BKI_TSAN 1
#endif
#endif

#ifdef BKI_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef BKI_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* A stack slot got memory. */
static inline void bki_fiber_create(struct bki_stack *stack)
{
    (void)stack;
#ifdef BKI_TSAN
    stack->tsan_fiber = __tsan_create_fiber(0);
#endif
}

/* A stack is about to carry another task.  The last frames of a task never return; under
 * ThreadSanitizer each of them stays on the fiber's record of calls, which holds 65,536. */
static inline void bki_fiber_reuse(struct bki_stack *stack)
{
    (void)stack;
#ifdef BKI_TSAN
    if (++stack->n_used % 4096 == 0) {
        __tsan_destroy_fiber(stack->tsan_fiber);
        stack->tsan_fiber = __tsan_create_fiber(0);
    }
#endif
}

/* A stack slot is about to lose its memory; not the one running. */
static inline void bki_fiber_destroy(struct bki_stack *stack)
{
    (void)stack;
#ifdef BKI_TSAN
    __tsan_destroy_fiber(stack->tsan_fiber);
#endif
}

/* Frames that never returned leave their poison behind: before memory is used anew. */
static inline void bki_fiber_forget_memory(void *low, size_t size)
{
    (void)low;
    (void)size;
#ifdef BKI_ASAN
    __asan_unpoison_memory_region(low, size);
#endif
}

/* Around bki_switch: before it, from -> to (dying: from never runs again); after it, on the stack
 * arrived at. */
struct bki_fiber_notes {
    void *asan_fake;
};

static inline void bki_fiber_before(struct bki_fiber_notes *notes, bool dying, const void *to_low,
                                    size_t to_size, void *to_tsan)
{
    (void)notes, (void)dying, (void)to_low, (void)to_size, (void)to_tsan;
#ifdef BKI_ASAN
    __sanitizer_start_switch_fiber(dying ? NULL : &notes->asan_fake, to_low, to_size);
#endif
#ifdef BKI_TSAN
    __tsan_switch_to_fiber(to_tsan, 0);
#endif
}

/* notes: NULL on a stack entered for the first time.  old_low, old_size: of the stack just left. */
static inline void bki_fiber_after(struct bki_fiber_notes *notes, const void **old_low,
                                   size_t *old_size)
{
    (void)notes, (void)old_low, (void)old_size;
#ifdef BKI_ASAN
    __sanitizer_finish_switch_fiber(notes ? notes->asan_fake : NULL, old_low, old_size);
#endif
}

#endif
