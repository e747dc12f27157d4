/* SPDX-License-Identifier: MIT
 * A thread that watches whether the loop goes on, and says who holds it when it does not. */
#ifndef BECK_SRC_RT_STALL_H
#define BECK_SRC_RT_STALL_H

#include "rt/rt.h"

/* Starts watching this thread's loop when its options ask for it.  0 or -ENOMEM, -EAGAIN. */
int bki_stall_open(struct bk_loop *loop);
/* Waits for the watching thread to end. */
void bki_stall_close(struct bk_loop *loop);

#endif
