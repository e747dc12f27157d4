/* SPDX-License-Identifier: MIT
 * A child process's inside.
 *
 * An object lives as long as the child is watched, or somebody has its handle.  The watch is one
 * operation on the process descriptor (or, without one, a thread that waits); when it is done the
 * child is reaped at once, whether anybody waits for it or not. */
#ifndef BECK_SRC_NET_PROCESS_H
#define BECK_SRC_NET_PROCESS_H

#include <pthread.h>

#include <beck/process.h>

#include "rt/rt.h"

struct bk_process {
    struct bk_loop *loop; /* NULL once the run has ended */
    struct bki_at_end at_end;
    pid_t pid;
    bool is_group; /* signals go to its process group */
    bool ended;    /* reaped; code is set */
    bool detached; /* it may outlive the run */
    bool owned;    /* somebody has the handle */
    int code;
    struct bki_list waiters;
    bk_stream *in, *out, *err;
    size_t n_fed; /* bk_process_communicate: bytes of its input that are in the pipe */
    bk_msg *said_out, *said_err; /* what it has read to the end and not handed over yet */

    struct bki_fd pidfd;
    struct bki_op watch;

    pthread_t thread; /* without a process descriptor */
    bool has_thread;
    struct bki_post post;
};

/* Begins to watch p, which has its pid; pidfd: -1 where the kernel has none.  On failure nothing is
 * watched.  -ENOMEM, -EAGAIN, ... */
int bki_process_watch(struct bk_process *p, int pidfd);

/* Closes its pipes, dropping what is unsent.  In a task. */
void bki_process_close_pipes(struct bk_process *p);

#endif
