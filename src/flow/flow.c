/* SPDX-License-Identifier: MIT
 * Building a flow, its counters, and the source and the sink made of C functions. */
#include <stdio.h>

#include "base/alloc.h"
#include "flow/engine.h"

#define DEFAULT_LIMIT ((size_t)4096)
#define DEFAULT_BYTES ((size_t)64 * 1024 * 1024)

int bk_flow_new(bk_flow **out, const bk_flow_opts *opts)
{
    struct bk_flow *flow = bki_zalloc(sizeof *flow);
    if (!flow)
        return bk_fail(-ENOMEM, "no memory for a flow");
    if (opts)
        flow->opts = *opts;
    if (flow->opts.limit == 0)
        flow->opts.limit = DEFAULT_LIMIT;
    if (flow->opts.max_bytes == 0)
        flow->opts.max_bytes = DEFAULT_BYTES;
    bki_list_init(&flow->credit);
    *out = flow;
    return 0;
}

static void free_source(struct bki_source_node *source)
{
    if (source->ops->dispose)
        source->ops->dispose(source->self);
    bki_free(source);
}

static void free_stage(struct bki_stage *stage)
{
    if (stage->ops->dispose)
        stage->ops->dispose(stage->self);
    bki_lane_free(&stage->lane);
    bki_free(stage);
}

static void free_sink(struct bki_sink_node *sink)
{
    if (sink->ops->dispose)
        sink->ops->dispose(sink->self);
    bki_free(sink->filling);
    bki_free(sink->writing);
    bki_free(sink);
}

void bk_flow_free(bk_flow **flow)
{
    struct bk_flow *f = *flow;
    *flow = NULL;
    if (!f)
        return;
    for (struct bki_source_node *s = f->sources, *next; s; s = next) {
        next = s->next;
        free_source(s);
    }
    for (struct bki_stage *s = f->stages, *next; s; s = next) {
        next = s->next;
        free_stage(s);
    }
    for (struct bki_sink_node *s = f->sinks, *next; s; s = next) {
        next = s->next;
        free_sink(s);
    }
    bki_lane_free(&f->merge);
    bki_handle_pool_free(f);
    bki_free(f);
}

void bk_flow_stats_get(const bk_flow *flow, bk_flow_stats *out)
{
    *out = flow->stats;
    out->draining = flow->draining;
    if (out->started)
        out->elapsed.ns = (flow->running ? bk_now().ns : flow->end_ns) - flow->start_ns;
}

/* ---- A source made of a function ---- */

struct fn_source {
    bk_source_fn *fn;
    void *ctx;
    bk_source_opts opts;
};

static int fn_source_next(void *self, bk_msg **msg)
{
    struct fn_source *source = self;
    return source->fn(source->ctx, msg);
}

static void fn_source_settled(void *self, uint64_t n, enum bk_outcome outcome)
{
    struct fn_source *source = self;
    if (source->opts.settled)
        source->opts.settled(source->ctx, n, outcome);
}

static void fn_source_committed(void *self, uint64_t n)
{
    struct fn_source *source = self;
    if (source->opts.committed)
        source->opts.committed(source->ctx, n);
}

static const struct bki_source_ops plain_fn_ops = {
    .source_class = BK_SOURCE_NONE,
    .next = fn_source_next,
    .dispose = bki_free,
};

static const struct bki_source_ops told_fn_ops = {
    .source_class = BK_SOURCE_POSITION,
    .next = fn_source_next,
    .settled = fn_source_settled,
    .committed = fn_source_committed,
    .dispose = bki_free,
};

int bki_flow_add_source(struct bk_flow *flow, const struct bki_source_ops *ops, void *self,
                        const char *name)
{
    if (flow->ran)
        return bk_fail(-EALREADY, "the flow has been run");
    struct bki_source_node *source = bki_zalloc(sizeof *source);
    if (!source)
        return bk_fail(-ENOMEM, "no memory for a source");
    source->port.flow = flow;
    snprintf(source->port.name, sizeof source->port.name, "%s", name);
    source->ops = ops;
    source->self = self;
    bki_watermark_init(&source->watermark);
    if (flow->last_source)
        flow->last_source->next = source;
    else
        flow->sources = source;
    flow->last_source = source;
    flow->n_sources++;
    return 0;
}

int bk_flow_from_fn(bk_flow *flow, bk_source_fn *fn, void *ctx, const bk_source_opts *opts)
{
    struct fn_source *self = bki_zalloc(sizeof *self);
    if (!self)
        return bk_fail(-ENOMEM, "no memory for a source");
    *self = (struct fn_source){.fn = fn, .ctx = ctx};
    if (opts)
        self->opts = *opts;
    bool told = self->opts.settled || self->opts.committed;
    int r = bki_flow_add_source(flow, told ? &told_fn_ops : &plain_fn_ops, self,
                                self->opts.name ? self->opts.name : "source");
    self->opts.name = NULL; /* borrowed only until now */
    if (r < 0)
        bki_free(self);
    return r;
}

/* ---- A sink made of a function ---- */

struct fn_sink {
    bk_msg_fn *fn;
    void *ctx;
};

static int fn_sink_write(void *self, struct bki_batch *batch)
{
    struct fn_sink *sink = self;
    for (size_t i = 0; i < batch->n; i++) {
        struct bki_entry *entry = &batch->entries[i];
        int r = sink->fn(sink->ctx, &entry->msg);
        if (r == -ECANCELED && bki_check_cancel() < 0)
            return r;
        if (r < 0)
            bki_entry_refuse(entry, r, "%s", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
        bki_batch_advance(batch, i + 1);
    }
    return 0;
}

static const struct bki_sink_ops fn_sink_ops = {.write = fn_sink_write, .dispose = bki_free};

int bk_flow_to_fn(bk_flow *flow, bk_msg_fn *fn, void *ctx, const bk_sink_opts *opts)
{
    struct fn_sink *self = bki_alloc(sizeof *self);
    if (!self)
        return bk_fail(-ENOMEM, "no memory for a sink");
    *self = (struct fn_sink){fn, ctx};
    int r =
        bki_flow_add_sink(flow, &fn_sink_ops, self, opts && opts->name ? opts->name : "sink", NULL);
    if (r < 0)
        bki_free(self);
    return r;
}
