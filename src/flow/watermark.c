/* SPDX-License-Identifier: MIT
 * The watermark of a source: see watermark.h. */
#include "flow/watermark.h"

void bki_watermark_init(struct bki_watermark *w)
{
    bki_list_init(&w->unsettled);
    w->last = 0;
    w->committed = 0;
    w->limit = UINT64_MAX;
}

void bki_watermark_take(struct bki_watermark *w, struct bki_mark *mark)
{
    mark->n = ++w->last;
    bki_list_push_back(&w->unsettled, &mark->link);
}

bool bki_watermark_settle(struct bki_watermark *w, struct bki_mark *mark, bool again)
{
    bki_list_remove(&mark->link);
    if (again && mark->n < w->limit)
        w->limit = mark->n;
    struct bki_list *oldest = bki_list_first(&w->unsettled);
    uint64_t reached = oldest ? bki_container(oldest, struct bki_mark, link)->n - 1 : w->last;
    if (reached >= w->limit)
        reached = w->limit - 1;
    if (reached <= w->committed)
        return false;
    w->committed = reached;
    return true;
}
