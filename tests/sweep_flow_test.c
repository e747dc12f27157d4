/* SPDX-License-Identifier: MIT
 * Sweeps over flows: whatever strikes, every item that the source gave has ended in one way, and
 * the sink has what counts as stored. */
#include <beck/flow.h>

#include "tests/sweep.h"

enum { ITEMS = 8, LIKED = 6 };

struct mill {
    bk_flow *flow;
    int n_given, n_stored;
    int n_settled[ITEMS + 1];
};

static int give(void *ctx, bk_msg **msg)
{
    struct mill *m = ctx;
    if (m->n_given == ITEMS)
        return 0;
    int r = bk_yield();
    char digit = (char)('1' + m->n_given);
    if (r == 0)
        r = bk_msg_copy(msg, &digit, 1);
    if (r < 0)
        return r;
    m->n_given++;
    return 1;
}

static void settled(void *ctx, uint64_t n, enum bk_outcome outcome)
{
    struct mill *m = ctx;
    (void)outcome;
    m->n_settled[n]++;
}

static int work(void *ctx, bk_msg **msg)
{
    (void)ctx;
    return bk_sleep(bk_ms(1 + bk_msg_data(*msg)[0] % 3));
}

static int store(void *ctx, bk_msg **msg)
{
    struct mill *m = ctx;
    int r = bk_yield();
    if (r == 0 && (bk_msg_len(*msg) != 2 || bk_msg_data(*msg)[1] != '0'))
        sweep_lost("the sink gets %.*s", (int)bk_msg_len(*msg), bk_msg_data(*msg));
    m->n_stored += r == 0;
    return r;
}

static int build(struct mill *m)
{
    int r = bk_flow_new(&m->flow, &(bk_flow_opts){.limit = 4});
    if (r == 0)
        r = bk_flow_from_fn(m->flow, give, m, &(bk_source_opts){.settled = settled});
    if (r == 0)
        r = bk_flow_where(m->flow, ". != 3 and . < 8");
    if (r == 0)
        r = bk_flow_map(m->flow, work, m, &(bk_stage_opts){.parallel = 2, .ordered = true});
    if (r == 0)
        r = bk_flow_jq(m->flow, ". * 10");
    return r < 0 ? r : bk_flow_to_fn(m->flow, store, m, NULL);
}

static int grind(void *ctx)
{
    struct mill *m = ctx;
    int r = build(m);
    return r < 0 ? r : bk_flow_run(m->flow);
}

static void every_item_has_ended(void *ctx, int result)
{
    struct mill *m = ctx;
    bk_flow_stats s = {0};
    if (!m->flow)
        return;
    bk_flow_stats_get(m->flow, &s);
    if (s.received != s.stored + s.dropped + s.failed + s.lost + s.returned || s.settle_errors)
        sweep_lost("%d items received, %d stored, %d dropped, %d failed, %d lost", (int)s.received,
                   (int)s.stored, (int)s.dropped, (int)s.failed, (int)s.lost);
    if ((int)s.received != m->n_given || (int)s.stored != m->n_stored)
        sweep_lost("%d items given, %d stored; the flow says %d and %d", m->n_given, m->n_stored,
                   (int)s.received, (int)s.stored);
    for (int i = 1; i <= m->n_given; i++)
        if (m->n_settled[i] != 1)
            sweep_lost("item %d was settled %d times", i, m->n_settled[i]);
    if (result == 0 && (m->n_given != ITEMS || m->n_stored != LIKED))
        sweep_lost("of %d items %d are stored", m->n_given, m->n_stored);
}

static void free_flow(void *ctx)
{
    bk_flow_free(&((struct mill *)ctx)->flow);
}

static const struct sweep_scenario scenarios[] = {
    {.name = "flow",
     .state_size = sizeof(struct mill),
     .close = free_flow,
     .subject = grind,
     .check = every_item_has_ended},
};

SWEEP_MAIN(scenarios)
