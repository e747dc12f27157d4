/* SPDX-License-Identifier: MIT
 * Leaving one stack and entering another: the register switch, and what sanitizers want to hear of
 * it. */
#ifndef BECK_SRC_RT_SWITCH_H
#define BECK_SRC_RT_SWITCH_H

#include <stddef.h>
#include <stdint.h>

#if defined(BECK_FORCE_UCONTEXT) || (!defined(__x86_64__) && !defined(__aarch64__))
#define BKI_SWITCH_NAME "ucontext"
#elif defined(__x86_64__)
#define BKI_SWITCH_NAME "x86-64"
#else
#define BKI_SWITCH_NAME "aarch64"
#endif

/* bki_switch(&from, to): saves what a function call preserves on the running stack and its pointer
 * in `from`, then goes on with the stack saved in `to`.  Returns when somebody switches back.
 * Floating-point control words are not part of a task.
 *
 * On x86-64 it is inline: the compiler saves just the registers that are live, and the processor's
 * return stack stays in step, since no call is left without its return.  (Out of line it costs 18
 * ns instead of 4: the return of the caller is mispredicted every time.)  It leaves by an indirect
 * jump, for a `ret` would be mispredicted too; that rules out shadow stacks (CET).  A suspended
 * task's stack holds, from its saved pointer up: rip, rbp, 128 bytes of red zone. */
#if defined(__x86_64__) && !defined(BECK_FORCE_UCONTEXT)
#ifdef __AVX512F__
#define BKI_SWITCH_MORE_CLOBBERS                                                                   \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define BKI_SWITCH_MORE_CLOBBERS
#endif
static inline __attribute__((always_inline)) void bki_switch(void **save_sp, void *load_sp)
{
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t" /* the red zone below the running frame */
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t"
                     "popq %%rax\n\t"
                     "notrack jmp *%%rax\n"
                     "1:\tpopq %%rbp\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     : "+D"(save_sp), "+S"(load_sp)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
                       "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15" BKI_SWITCH_MORE_CLOBBERS);
}
#else
void bki_switch(void **save_sp, void *load_sp);
#endif

/* Where the saved stack pointer of a task that is away leads: program counter, frame pointer, stack
 * pointer (0: the saved one plus BKI_SAVED_SIZE).  For those who walk the stack. */
#if defined(BECK_FORCE_UCONTEXT) || (!defined(__x86_64__) && !defined(__aarch64__))
#include <ucontext.h>
#if defined(__x86_64__)
#define BKI_SAVED_REG(n) (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * (n))
#define BKI_SAVED_PC BKI_SAVED_REG(16) /* REG_RIP */
#define BKI_SAVED_FP BKI_SAVED_REG(10) /* REG_RBP */
#define BKI_SAVED_SP BKI_SAVED_REG(15) /* REG_RSP */
#elif defined(__aarch64__)
#define BKI_SAVED_PC offsetof(ucontext_t, uc_mcontext.pc)
#define BKI_SAVED_FP (offsetof(ucontext_t, uc_mcontext.regs) + 8 * 29)
#define BKI_SAVED_SP offsetof(ucontext_t, uc_mcontext.sp)
#else
#define BKI_SAVED_PC 0
#define BKI_SAVED_FP 0
#define BKI_SAVED_SP 0
#endif
#define BKI_SAVED_SIZE 0
#elif defined(__x86_64__)
#define BKI_SAVED_PC 0
#define BKI_SAVED_FP 8
#define BKI_SAVED_SP 0
#define BKI_SAVED_SIZE 144
#else
#define BKI_SAVED_PC 88 /* x30 */
#define BKI_SAVED_FP 80 /* x29 */
#define BKI_SAVED_SP 0
#define BKI_SAVED_SIZE 160
#endif

/* Lays out a new stack, growing down from top (16-byte aligned), so that the first switch to the
 * value returned calls entry(arg) on it; entry must not return.  low: the stack's lowest usable
 * byte. */
#if defined(__x86_64__) && !defined(BECK_FORCE_UCONTEXT)
void bki_switch_start(void);

static inline void *bki_switch_prepare(void *low, void *top, void (*entry)(void *arg), void *arg)
{
    (void)low;
    void **sp = top;
    *--sp = (void *)(uintptr_t)entry;
    *--sp = arg;
    *--sp = (void *)(uintptr_t)bki_switch_start;
    return sp;
}
#else
void *bki_switch_prepare(void *low, void *top, void (*entry)(void *arg), void *arg);
#endif

#endif
