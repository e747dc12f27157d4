/* SPDX-License-Identifier: MIT
 * For sweeps over flows: one from URL to URL, with numbered items where a URL is missing, and what
 * must be true of it afterwards.
 *
 * Items of the flow's own source are the numbers from 1 to n_items; its own sink keeps which of
 * them it got. */
#ifndef BECK_TESTS_SWEEP_FLOW_H
#define BECK_TESTS_SWEEP_FLOW_H

#include <beck/flow.h>

#include "tests/sweep.h"

#define SWEEP_ITEMS_MAX 64

struct sweep_flow {
    bk_flow *flow;
    int n_items;                /* given */
    uint64_t take;              /* the flow ends after so many; 0: with its source */
    size_t limit;               /* of items in flight; 0: 4 */
    const char *before, *after; /* what stands around the number in an item; NULL: nothing */
    int n_given;                /* to the flow */
    uint64_t committed;         /* as the source was told */
    int n_got;                  /* by the flow's own sink */
    int got[SWEEP_ITEMS_MAX];   /* which */
    bk_flow_stats stats;        /* at the end */
    bool at_once;               /* items come without a suspension */
    bk_fn *pause;               /* called with event_ctx before an item but the first; or NULL */
    /* As bk_flow_opts'. */
    void (*on_event)(void *ctx, const bk_flow_event *event);
    void *event_ctx;
};

/* For files: in memory, if we can, where a sync costs nothing. */
static inline const char *sweep_place(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static inline int sweep_flow_give(void *ctx, bk_msg **msg)
{
    struct sweep_flow *f = ctx;
    if (f->n_given == f->n_items)
        return 0;
    char text[2048];
    int len = snprintf(text, sizeof text, "%s%d%s", f->before ? f->before : "", f->n_given + 1,
                       f->after ? f->after : "");
    int r = 0;
    if (f->pause && f->n_given > 0)
        r = f->pause(f->event_ctx);
    else if (!f->at_once)
        r = bk_yield();
    if (r == 0)
        r = bk_msg_copy(msg, text, (size_t)len);
    if (r < 0)
        return r;
    f->n_given++;
    return 1;
}

static inline void sweep_flow_committed(void *ctx, uint64_t n)
{
    struct sweep_flow *f = ctx;
    f->committed = n;
}

static inline int sweep_flow_store(void *ctx, bk_msg **msg)
{
    struct sweep_flow *f = ctx;
    char text[16] = "";
    int r = bk_yield();
    if (r < 0)
        return r;
    if (bk_msg_len(*msg) < sizeof text)
        memcpy(text, bk_msg_data(*msg), bk_msg_len(*msg));
    int n = (int)strtol(text, NULL, 10);
    if (f->n_got == SWEEP_ITEMS_MAX || n == 0)
        sweep_lost("the sink gets %.*s", (int)bk_msg_len(*msg), bk_msg_data(*msg));
    else
        f->got[f->n_got++] = n;
    return 0;
}

static inline int sweep_flow_build(struct sweep_flow *f, const char *from, const char *to)
{
    bk_flow_opts opts = {
        .limit = f->limit ? f->limit : 4, .on_event = f->on_event, .event_ctx = f->event_ctx};
    int r = bk_flow_new(&f->flow, &opts);
    if (r == 0)
        r = from ? bk_flow_from(f->flow, from)
                 : bk_flow_from_fn(f->flow, sweep_flow_give, f,
                                   &(bk_source_opts){.committed = sweep_flow_committed});
    if (r == 0 && f->take)
        r = bk_flow_take(f->flow, f->take);
    if (r == 0)
        r = to ? bk_flow_to(f->flow, to) : bk_flow_to_fn(f->flow, sweep_flow_store, f, NULL);
    return r;
}

/* from, to: URLs, or NULL for the flow's own.  Whatever it did before is forgotten. */
static inline int sweep_flow_run(struct sweep_flow *f, const char *from, const char *to)
{
    f->n_given = f->n_got = 0;
    f->committed = 0;
    int r = sweep_flow_build(f, from, to);
    return r < 0 ? r : bk_flow_run(f->flow);
}

/* Every item has ended in one way; frees the flow. */
static inline void sweep_flow_end(struct sweep_flow *f)
{
    f->stats = (bk_flow_stats){0};
    if (f->flow)
        bk_flow_stats_get(f->flow, &f->stats);
    const bk_flow_stats *s = &f->stats;
    if (s->received != s->stored + s->dropped + s->failed + s->lost + s->returned ||
        s->in_flight != 0 || s->settle_errors != 0)
        sweep_lost("%d items received, %d stored, %d dropped, %d failed, %d lost, %d returned",
                   (int)s->received, (int)s->stored, (int)s->dropped, (int)s->failed, (int)s->lost,
                   (int)s->returned);
    if (f->committed > s->stored + s->dropped + s->failed)
        sweep_lost("%d items are committed, and %d are stored", (int)f->committed, (int)s->stored);
    bk_flow_free(&f->flow);
}

/* The flow's own sink got 1, 2, 3..., as many as count as stored, and all of them at the end. */
static inline void sweep_flow_got_in_order(struct sweep_flow *f, int result)
{
    for (int i = 0; i < f->n_got; i++)
        if (f->got[i] != i + 1)
            sweep_lost("item %d is the number %d", i + 1, f->got[i]);
    if (f->n_got != (int)f->stats.stored)
        sweep_lost("%d items got, and %d are stored", f->n_got, (int)f->stats.stored);
    if (result == 0 && f->n_got != f->n_items)
        sweep_lost("of %d items %d are stored", f->n_items, f->n_got);
}

#endif
