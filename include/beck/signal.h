/* SPDX-License-Identifier: MIT
 * Unix signals as something a task waits for.
 *
 * Everything here is for the thread of the loop that opened the signal; only bk_signal_wait
 * suspends. */
#ifndef BECK_SIGNAL_H
#define BECK_SIGNAL_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_signal bk_signal;

/* Takes over signal number signo for this loop until closed; the handler in place before comes back
 * then, and at the latest when the run ends.  For SIGINT, SIGTERM and SIGUSR1 it replaces what the
 * run does by itself (bk_run_opts.no_signals).  Loop of the main thread only (-EPERM elsewhere).
 * Errors: -EBUSY when another bk_signal has it; -EINVAL for no signal number, for SIGKILL and
 * SIGSTOP, and for faults such as SIGSEGV; -ENOMEM. */
BK_API int bk_signal_open(bk_signal **out, int signo);

/* Suspends until the signal came at least once since the last call.
 * Returns 1; -ECANCELED; -BK_ECLOSED when it was closed meanwhile. */
BK_API int bk_signal_wait(bk_signal *signal);

/* Gives the signal back, wakes who waits, and empties *signal; NULL is fine. */
BK_API void bk_signal_close(bk_signal **signal);

BK_END_DECLS
#endif
