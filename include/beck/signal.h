/* SPDX-License-Identifier: MIT
 * Unix signals as something a task waits for. */
#ifndef BECK_SIGNAL_H
#define BECK_SIGNAL_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_signal bk_signal;

/* Takes over signal number signo for this loop until closed; the handler in place before comes back
 * then. Main thread's loop only (-EPERM elsewhere).  -EBUSY when another bk_signal has it. */
BK_API int bk_signal_open(bk_signal **out, int signo);

/* Suspends until the signal came at least once since the last call.  Returns 1, or -ECANCELED. */
BK_API int bk_signal_wait(bk_signal *signal);

BK_API void bk_signal_close(bk_signal **signal);

BK_END_DECLS
#endif
