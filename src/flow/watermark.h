/* SPDX-License-Identifier: MIT
 * The watermark of a source: up to which item everything is settled, with no gap.
 *
 * The unsettled items form a list in the order they were taken, so the watermark is the number
 * before the oldest of them.  Nothing is allocated: the memory is that of the items in flight,
 * however far the newest are ahead of the oldest.  An item that must be taken again freezes the
 * watermark before it. */
#ifndef BECK_SRC_FLOW_WATERMARK_H
#define BECK_SRC_FLOW_WATERMARK_H

#include <stdint.h>

#include "base/list.h"

struct bki_mark {
    struct bki_list link; /* linked while unsettled */
    uint64_t n;
};

struct bki_watermark {
    struct bki_list unsettled;
    uint64_t last;      /* the newest number taken */
    uint64_t committed; /* what bki_watermark_settle reported last */
    uint64_t limit;     /* the first number that must be taken again, UINT64_MAX for none */
};

void bki_watermark_init(struct bki_watermark *w);

/* The next item is taken: gives it its number, one more than the last. */
void bki_watermark_take(struct bki_watermark *w, struct bki_mark *mark);

/* An item is settled for good, or (again) must be taken once more after a restart.
 * Returns whether the watermark, w->committed, has grown. */
bool bki_watermark_settle(struct bki_watermark *w, struct bki_mark *mark, bool again);

#endif
