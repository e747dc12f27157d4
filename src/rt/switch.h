/* SPDX-License-Identifier: MIT
 * Leaving one stack and entering another: the register switch, and what sanitizers want to hear of it. */
#ifndef BECK_SRC_RT_SWITCH_H
#define BECK_SRC_RT_SWITCH_H

#include <stddef.h>

#if defined(BECK_FORCE_UCONTEXT) || (!defined(__x86_64__) && !defined(__aarch64__))
#define BKI_SWITCH_NAME "ucontext"
#elif defined(__x86_64__)
#define BKI_SWITCH_NAME "x86-64"
#else
#define BKI_SWITCH_NAME "aarch64"
#endif

/* Saves the callee-saved registers on the running stack and its pointer in *save_sp, then goes on with the stack saved in
 * load_sp.  Returns when somebody switches back.  Floating-point control words are not part of a task. */
void bki_switch(void **save_sp, void *load_sp);

/* Lays out a new stack, growing down from top (16-byte aligned), so that the first switch to the value returned calls
 * entry(arg) on it; entry must not return.  low: the stack's lowest usable byte. */
void *bki_switch_prepare(void *low, void *top, void (*entry)(void *arg), void *arg);

#endif
