/* SPDX-License-Identifier: MIT
 * First frames for the assembly switches, and the whole switch by ucontext where there is no
 * assembly. */
#include "rt/switch.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && !defined(BECK_FORCE_UCONTEXT)

/* All inline. */

#elif defined(__aarch64__) && !defined(BECK_FORCE_UCONTEXT)

void bki_switch_start(void);

void *bki_switch_prepare(void *low, void *top, void (*entry)(void *arg), void *arg)
{
    (void)low;
    void **frame = (void **)((char *)top - 160);
    memset(frame, 0, 160);
    frame[0] = arg;                                  /* x19 */
    frame[1] = (void *)(uintptr_t)entry;             /* x20 */
    frame[11] = (void *)(uintptr_t)bki_switch_start; /* x30 */
    return frame;
}

#else

#include <ucontext.h>

/* The saved "stack pointer" is the address of a ucontext on the stack it describes. */
void bki_switch(void **save_sp, void *load_sp)
{
    ucontext_t here;
    *save_sp = &here;
    swapcontext(&here, load_sp);
}

struct start {
    void (*entry)(void *arg);
    void *arg;
};

/* makecontext passes ints: the pointer goes in two halves. */
static void start_task(unsigned high, unsigned low)
{
    struct start *start = (struct start *)(((uintptr_t)high << 32) | low);
    start->entry(start->arg);
}

void *bki_switch_prepare(void *low, void *top, void (*entry)(void *arg), void *arg)
{
    char *p = (char *)top - sizeof(ucontext_t);
    ucontext_t *context = (ucontext_t *)((uintptr_t)p & ~(uintptr_t)15);
    struct start *start = (struct start *)((char *)context - sizeof *start);
    start->entry = entry;
    start->arg = arg;
    getcontext(context);
    context->uc_stack.ss_sp = low;
    context->uc_stack.ss_size = ((size_t)((char *)start - (char *)low)) & ~(size_t)15;
    context->uc_link = NULL;
    uint64_t bits = (uint64_t)(uintptr_t)start;
    makecontext(context, (void (*)(void))start_task, 2, (unsigned)(bits >> 32), (unsigned)bits);
    return context;
}

#endif
