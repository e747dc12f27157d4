/* SPDX-License-Identifier: MIT
 * What the loop and other callbacks need of calls. */
#ifndef BECK_SRC_RT_CALL_H
#define BECK_SRC_RT_CALL_H

#include <stdio.h>

#include "rt/rt.h"

/* 0 when the caller's loop takes calls; -EINVAL without a loop, -BK_ECLOSED when it is closing. */
int bki_call_allowed(void);

/* Reports that fn, a call (handle) or a callback (NULL), returned a negative result; bk_errmsg is
 * its detail. */
void bki_call_failed(const char *what, const struct bk_handle *handle, const void *fn, int result);

/* When the loop closes: drops the call that waits for timer, which is out of the heap already.
 * False: the timer is none of a call's. */
bool bki_call_drop_timer(struct bki_timer *timer);

#endif
