/* SPDX-License-Identifier: MIT
 * Timeout scopes in a frame of our own. */
#ifndef BECK_SRC_RT_TIMEOUT_H
#define BECK_SRC_RT_TIMEOUT_H

#include "rt/rt.h"

struct bk_timeout {
    struct bki_timer timer;
    struct bk_task *task;
    struct bki_cancel_frame *frame; /* where it was opened */
    int64_t deadline_ns;
    bool expired;
};

/* bk_timeout_open_at and bk_timeout_close without the allocation. */
int bki_timeout_start(struct bk_timeout *timeout, int64_t deadline_ns);
int bki_timeout_end(struct bk_timeout *timeout, int r);

/* Cancels the task now; once, and not when the deadline has passed. */
void bki_timeout_strike(struct bk_timeout *timeout);

#endif
