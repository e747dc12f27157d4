/* SPDX-License-Identifier: MIT
 * What a fork in a process with event loops leaves of them in the child: nothing that could reach
 * the parent's. */
#ifndef BECK_SRC_RT_FORK_H
#define BECK_SRC_RT_FORK_H

#include <stdbool.h>

/* From now on forks are noticed.  Any thread, any number of times. */
void bki_fork_watch(void);

/* This process is the child of one that ran loops. */
extern bool bki_forked;

/* -BK_ENOTASK with its text, for a call that finds itself in the child. */
int bki_fail_forked(void);

#endif
