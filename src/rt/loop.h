/* SPDX-License-Identifier: MIT
 * The loop as an object, for those who run it. */
#ifndef BECK_SRC_RT_LOOP_H
#define BECK_SRC_RT_LOOP_H

#include "rt/rt.h"

/* bk_loop_new, for a caller who does not give the address away. */
int bki_loop_open(struct bk_loop **out, const bk_run_opts *opts);

/* 0, or -EPERM on another thread than the loop's. */
int bki_loop_check_thread(const struct bk_loop *loop);
/* The same, and -EBUSY while it runs. */
int bki_loop_check(const struct bk_loop *loop);

/* Prints a line and the tree of tasks to stderr. */
void bki_loop_report_deadlock(struct bk_loop *loop, const char *what);

#endif
