/* SPDX-License-Identifier: MIT
 * Handles: the pool that bounds what is in flight, and the one place where items are settled. */
#include <assert.h>
#include <stdio.h>

#include "base/alloc.h"
#include "flow/engine.h"

#define SLAB_HANDLES 128

struct bki_handle_slab {
    struct bki_handle_slab *next;
    struct bki_handle handles[SLAB_HANDLES];
};

static const struct bki_wait_kind wait_credit = {.what = "room in the flow"};

static int grow_pool(struct bk_flow *flow)
{
    struct bki_handle_slab *slab = bki_zalloc(sizeof *slab);
    if (!slab)
        return bk_fail(-ENOMEM, "no memory for the items of a flow");
    slab->next = flow->slabs;
    flow->slabs = slab;
    for (size_t i = SLAB_HANDLES; i-- > 0;) {
        slab->handles[i].next_free = flow->free_handles;
        flow->free_handles = &slab->handles[i];
    }
    return 0;
}

static bool at_limit(const struct bk_flow *flow)
{
    return flow->n_credits >= flow->opts.limit || flow->stats.bytes >= flow->opts.max_bytes;
}

/* A sink that collects a batch at leisure would now wait for items that cannot come. */
static void hurry_sinks(struct bk_flow *flow)
{
    for (struct bki_sink_node *s = flow->sinks; s; s = s->next)
        bki_sink_hurry(s);
}

int bki_handle_get(struct bki_source_node *source, struct bki_handle **out)
{
    struct bk_flow *flow = source->port.flow;
    while (!bki_source_stops(source) && at_limit(flow)) {
        int r = bki_check_cancel();
        if (r < 0)
            return r;
        hurry_sinks(flow);
        struct bki_waiter w;
        r = bki_wait(&flow->credit, &w, &wait_credit, flow);
        if (r < 0)
            return r;
    }
    if (bki_source_stops(source))
        return 0;
    if (!flow->free_handles) {
        int r = grow_pool(flow);
        if (r < 0)
            return r;
    }
    struct bki_handle *handle = flow->free_handles;
    flow->free_handles = handle->next_free;
    handle->source = source;
    flow->n_credits++;
    *out = handle;
    return 1;
}

void bki_handle_start(struct bki_handle *handle, bk_msg *msg)
{
    struct bki_source_node *source = handle->source;
    struct bk_flow *flow = source->port.flow;
    bki_watermark_take(&source->watermark, &handle->mark);
    handle->bytes = bk_msg_len(msg);
    handle->n_parts = 1;
    handle->n_in_stages = 1;
    handle->attempt = 0;
    handle->worst = BKI_SETTLE_DROPPED;
    flow->stats.received++;
    flow->stats.in_flight++;
    flow->stats.bytes += handle->bytes;
    if (flow->stats.in_flight > flow->stats.peak)
        flow->stats.peak = flow->stats.in_flight;
}

void bki_handle_put(struct bk_flow *flow, struct bki_handle *handle)
{
    handle->next_free = flow->free_handles;
    flow->free_handles = handle;
    flow->n_credits--;
    if (!at_limit(flow))
        bki_grant_first(&flow->credit, 0);
}

void bki_handle_ref(struct bki_handle *handle)
{
    handle->n_parts++;
}

void bki_handle_staged(struct bki_handle *handle)
{
    if (--handle->n_in_stages == 0)
        handle->source->port.flow->stats.processed++;
}

/* The last part is settled: count the item and tell its source. */
static void settle_item(struct bki_handle *handle)
{
    struct bki_source_node *source = handle->source;
    struct bk_flow *flow = source->port.flow;
    enum bk_outcome outcome = BK_RETURNED;
    bool again = false;
    switch ((enum bki_settle)handle->worst) {
    case BKI_SETTLE_DROPPED:
        flow->stats.dropped++;
        outcome = BK_DROPPED;
        break;
    case BKI_SETTLE_STORED:
        flow->stats.stored++;
        outcome = BK_STORED;
        break;
    case BKI_SETTLE_UNWANTED:
        flow->stats.dropped++;
        again = true;
        break;
    case BKI_SETTLE_FAILED:
        flow->stats.failed++;
        outcome = BK_FAILED;
        again = flow->opts.on_error == BK_ON_ERROR_STOP;
        break;
    case BKI_SETTLE_RETURNED:
        *(source->ops->source_class == BK_SOURCE_NONE ? &flow->stats.lost
                                                      : &flow->stats.returned) += 1;
        again = true;
        break;
    }
    flow->stats.in_flight--;
    flow->stats.bytes -= handle->bytes;
    uint64_t n = handle->mark.n;
    bool advanced = bki_watermark_settle(&source->watermark, &handle->mark, again);
    bki_handle_put(flow, handle);
    if (source->ops->settled)
        source->ops->settled(source->self, n, outcome);
    if (advanced && source->ops->committed)
        source->ops->committed(source->self, source->watermark.committed);
}

void bki_handle_settle(struct bki_handle *handle, enum bki_settle how)
{
    if (handle->n_parts == 0) {
        handle->source->port.flow->stats.settle_errors++;
        assert(false && "an item was settled twice");
        return;
    }
    if (how > handle->worst)
        handle->worst = (uint8_t)how;
    if (--handle->n_parts == 0)
        settle_item(handle);
}

void bki_item_settle(struct bki_item *item, enum bki_settle how)
{
    struct bki_handle *handle = item->handle;
    bk_msg_free(&item->msg);
    item->handle = NULL;
    if (how == BKI_SETTLE_RETURNED)
        handle->n_in_stages--;
    else
        bki_handle_staged(handle);
    bki_handle_settle(handle, how);
}

void bki_handle_label(const struct bki_handle *handle, char *buf, size_t size)
{
    const struct bki_source_node *source = handle->source;
    snprintf(buf, size, source->ops->lines ? "%s:%llu" : "%s message %llu", source->port.name,
             (unsigned long long)handle->mark.n);
}

void bki_handle_report(struct bki_handle *handle, const char *node, int r, const char *why)
{
    struct bk_flow *flow = handle->source->port.flow;
    char where[BKI_NODE_NAME_MAX + 32], text[BKI_NODE_NAME_MAX + 280];
    bki_handle_label(handle, where, sizeof where);
    snprintf(text, sizeof text, "%s: %s", node, why);
    bki_flow_event(flow, BK_FLOW_ITEM_FAILED, where, r, text);
    if (flow->opts.on_error == BK_ON_ERROR_STOP) {
        bki_flow_failed(flow, r, "%s: %s", where, text);
        bki_flow_enough(flow);
    }
}

void bki_item_fail(struct bki_item *item, const char *node, int r)
{
    const char *detail = bk_errmsg();
    bki_handle_report(item->handle, node, r, detail[0] ? detail : bk_strerror(r));
    bki_item_settle(item, BKI_SETTLE_FAILED);
}

void bki_handle_pool_free(struct bk_flow *flow)
{
    while (flow->slabs) {
        struct bki_handle_slab *slab = flow->slabs;
        flow->slabs = slab->next;
        bki_free(slab);
    }
    flow->free_handles = NULL;
}
