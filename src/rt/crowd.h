/* SPDX-License-Identifier: MIT
 * Crowds: what many held while they waited lies about on the heap, and goes back to the system when
 * the last of them has come to its end. */
#ifndef BECK_SRC_RT_CROWD_H
#define BECK_SRC_RT_CROWD_H

#include "base/alloc.h"

#define BKI_CROWD 64

struct bki_crowd {
    unsigned n, most; /* who wait now; since nobody did */
};

static inline void bki_crowd_join(struct bki_crowd *crowd)
{
    if (++crowd->n > crowd->most)
        crowd->most = crowd->n;
}

static inline void bki_crowd_leave(struct bki_crowd *crowd)
{
    crowd->n--;
}

/* Somebody has given back what the others waited for. */
static inline void bki_crowd_look(struct bki_crowd *crowd)
{
    if (crowd->n > 0)
        return;
    if (crowd->most >= BKI_CROWD)
        bki_alloc_trim();
    crowd->most = 0;
}

#endif
