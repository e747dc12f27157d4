/* SPDX-License-Identifier: MIT
 * Starting another program: the part that runs between clone and exec. */
#ifndef BECK_SRC_NET_SPAWN_H
#define BECK_SRC_NET_SPAWN_H

#include <sys/types.h>

#include <beck/base.h>

struct bki_spawn {
    const char *const *argv;
    const char *const *env;
    const char *cwd; /* NULL: here */
    int stdio[3];    /* what becomes 0, 1 and 2 */
    const int *pass_fds;
    size_t n_pass_fds;
    bool new_group, new_session;

    pid_t pid; /* filled */
    int pidfd; /* filled; -1 where the kernel has none */
};

/* Starts the program; blocks until it runs, or could not be started.  Any thread.  Returns 0, or a
 * negative errno with bk_fail text, and no process is left. */
int bki_spawn(struct bki_spawn *spawn);

/* For tests: as if the kernel had neither process descriptors nor close_range. */
extern bool bki_spawn_old_kernel;

#endif
