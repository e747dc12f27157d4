/* SPDX-License-Identifier: MIT
 * Waiting longer after each failure, with some chance in it so that many clients do not come back
 * at once. */
#ifndef BECK_SRC_CONNECTORS_BACKOFF_H
#define BECK_SRC_CONNECTORS_BACKOFF_H

#include <beck/task.h>

#define BKI_BACKOFF_FIRST_MS 100
#define BKI_BACKOFF_MAX_MS 30000

struct bki_backoff {
    int64_t next_ms; /* 0: no failure yet */
};

/* How long to wait now: three to five quarters of a time that doubles. */
static inline bk_duration bki_backoff_next(struct bki_backoff *b)
{
    int64_t ms = b->next_ms ? b->next_ms : BKI_BACKOFF_FIRST_MS;
    b->next_ms = ms * 2 < BKI_BACKOFF_MAX_MS ? ms * 2 : BKI_BACKOFF_MAX_MS;
    int64_t chance = (bk_now().ns / 1000 % 1000) * ms / 2000;
    return bk_ms(ms - ms / 4 + chance);
}

static inline void bki_backoff_reset(struct bki_backoff *b)
{
    b->next_ms = 0;
}

#endif
