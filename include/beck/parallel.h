/* SPDX-License-Identifier: MIT
 * Several loops on several threads: tasks on all cores.
 *
 *     static int serve(void *ctx, unsigned index)
 *     {
 *         bk_listener *listener = NULL;
 *         int r = bk_listen(&listener, "0.0.0.0:80", &(bk_listen_opts){.reuse_port = true});
 *         if (r == 0)
 *             r = bk_serve(listener, handle, ctx, NULL);
 *         return bk_listener_close(&listener, r);
 *     }
 *
 *     r = bk_loops_run(0, serve, &app, NULL);
 *
 * Each loop has its tasks, and they stay on its thread, so that what one loop has needs no locks.
 * Between loops go messages: channels (channel.h) hand work out and results back, and with
 * reuse_port the kernel spreads connections.  For functions without a loop, bk_executor_map. */
#ifndef BECK_PARALLEL_H
#define BECK_PARALLEL_H

#include <beck/run.h>

BK_BEGIN_DECLS

/* The body of each loop's main task.  index: 0 to n - 1.  Returns as a bk_fn. */
typedef int bk_loops_fn(void *ctx, unsigned index);

typedef struct bk_loops_opts {
    bk_run_opts run;  /* of each loop; on_error is called in that loop's thread */
    bool pin;         /* each thread stays on a processor of its own */
    const char *name; /* of the threads, for top and debuggers; cut at 15 bytes; default "beck" */
} bk_loops_opts;

/* Runs main(ctx, index) as the main task of a loop of its own on each of n threads, and waits for
 * all of them to end.  When one fails, the main tasks of the others are cancelled.
 * n: 0 for as many as the process may use processors.  ctx: shared by all, borrowed.
 * In a task it suspends; a cancel is passed on to the main tasks, and their end waited for.  On a
 * thread without a loop it blocks, and where bk_run would listen to signals the first SIGINT or
 * SIGTERM cancels them all.  The threads have all signals blocked.
 * Returns 0; the first failure, with its text (those of others, except -ECANCELED, go to
 * on_error); -ECANCELED or -BK_EINTERRUPTED when it was called off; -EAGAIN when a thread could not
 * be started; -ENOMEM. */
BK_API int bk_loops_run(unsigned n, bk_loops_fn *main, void *ctx, const bk_loops_opts *opts);

/* How many processors the process may use now; at least 1.  Any thread. */
BK_API unsigned bk_cpu_count(void);

BK_END_DECLS
#endif
