/* SPDX-License-Identifier: MIT
 * Naming the task whose stack overflowed, instead of dying in silence. */
#ifndef BECK_SRC_RT_FAULT_H
#define BECK_SRC_RT_FAULT_H

struct bk_loop;

/* Gives this thread a signal stack and, where the program has no SIGSEGV handler of its own,
 * installs one that reports a hit guard page on stderr and then lets the signal end the process.
 * -ENOMEM. */
int bki_fault_open(struct bk_loop *loop);
void bki_fault_close(struct bk_loop *loop);

#endif
