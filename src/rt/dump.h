/* SPDX-License-Identifier: MIT
 * The tree of tasks, for people. */
#ifndef BECK_SRC_RT_DUMP_H
#define BECK_SRC_RT_DUMP_H

struct bk_loop;

/* Writes the tree to fd.  Returns 0 or write's error. */
int bki_dump_loop(struct bk_loop *loop, int fd);

#endif
