/* SPDX-License-Identifier: MIT
 * Tasks that wait for each other in a circle, while others run on: noticed by the wait that closes
 * it. */
#ifndef BECK_SRC_RT_CIRCLE_H
#define BECK_SRC_RT_CIRCLE_H

#include "rt/rt.h"

/* The running task is about to wait for object, a thing of this kind, which has an edge.  Tells
 * on_error when that closes a circle of waits.  Nothing else happens: a time limit or a cancel may
 * still break it. */
void bki_circle_check(const struct bki_wait_kind *kind, const void *object);

#endif
