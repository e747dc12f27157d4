/* SPDX-License-Identifier: MIT
 * Stages: how an item goes from one to the next, and the stage made of a C function, and
 * bk_flow_take. */
#include <stdio.h>

#include "base/alloc.h"
#include "flow/engine.h"

int bki_flow_push(struct bk_flow *flow, struct bki_stage *stage, struct bki_item item)
{
    for (; stage; stage = stage->next) {
        if (stage->lane)
            return bki_lane_enter(stage->lane, item);
        int r = stage->ops->apply(stage, &item);
        if (r < 0 && flow->aborting) {
            bki_item_settle(&item, BKI_SETTLE_RETURNED);
            return r;
        }
        if (r < 0) {
            bki_item_fail(&item, stage->name, r);
            return 0;
        }
        if (r == BKI_STAGE_EMITTED || !item.msg) {
            bki_item_settle(&item, BKI_SETTLE_DROPPED);
            return 0;
        }
    }
    return bki_flow_deliver(flow, item);
}

int bki_stage_emit(struct bki_stage *stage, const struct bki_item *item, bk_msg **msg)
{
    struct bki_item part = {*msg, item->handle};
    *msg = NULL;
    bki_handle_ref(part.handle);
    part.handle->n_in_stages++;
    return bki_flow_push(stage->flow, stage->next, part);
}

int bki_flow_add_stage(struct bk_flow *flow, const struct bki_stage_ops *ops, void *self,
                       const char *name, const bk_stage_opts *opts)
{
    if (flow->ran)
        return bk_fail(-EALREADY, "the flow has been run");
    struct bki_stage *stage = bki_zalloc(sizeof *stage);
    if (!stage)
        return bk_fail(-ENOMEM, "no memory for a stage");
    stage->flow = flow;
    stage->ops = ops;
    stage->self = self;
    snprintf(stage->name, sizeof stage->name, "%s", name);
    if (opts && opts->parallel > 1) {
        int r = bki_lane_new(&stage->lane, stage, opts);
        if (r < 0) {
            bki_free(stage);
            return r;
        }
    }
    if (flow->last_stage)
        flow->last_stage->next = stage;
    else
        flow->stages = stage;
    flow->last_stage = stage;
    return 0;
}

/* ---- A function of the user's ---- */

struct map {
    bk_msg_fn *fn;
    void *ctx;
};

static int map_apply(struct bki_stage *stage, struct bki_item *item)
{
    struct map *map = stage->self;
    int r = map->fn(map->ctx, &item->msg);
    return r < 0 ? r : BKI_STAGE_ON;
}

static const struct bki_stage_ops map_ops = {.apply = map_apply, .dispose = bki_free};

int bk_flow_map(bk_flow *flow, bk_msg_fn *fn, void *ctx, const bk_stage_opts *opts)
{
    struct map *map = bki_alloc(sizeof *map);
    if (!map)
        return bk_fail(-ENOMEM, "no memory for a stage");
    *map = (struct map){fn, ctx};
    const char *name = opts && opts->name ? opts->name : "map";
    int r = bki_flow_add_stage(flow, &map_ops, map, name, opts);
    if (r < 0)
        bki_free(map);
    return r;
}

/* ---- Take ---- */

static int take_apply(struct bki_stage *stage, struct bki_item *item)
{
    uint64_t *left = stage->self;
    if (*left == 0) {
        bk_msg_free(&item->msg);
        return BKI_STAGE_ON;
    }
    if (--*left == 0)
        bki_flow_enough(stage->flow);
    return BKI_STAGE_ON;
}

static const struct bki_stage_ops take_ops = {.apply = take_apply, .dispose = bki_free};

int bk_flow_take(bk_flow *flow, uint64_t n)
{
    if (n == 0)
        return bk_fail(-EINVAL, "take: at least one item");
    uint64_t *left = bki_alloc(sizeof *left);
    if (!left)
        return bk_fail(-ENOMEM, "no memory for a stage");
    *left = n;
    int r = bki_flow_add_stage(flow, &take_ops, left, "take", NULL);
    if (r < 0)
        bki_free(left);
    return r;
}
