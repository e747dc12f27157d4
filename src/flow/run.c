/* SPDX-License-Identifier: MIT
 * Running a flow: opening, its tasks, draining, and the orderly end. */
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "flow/engine.h"

#define TASK_STACK ((size_t)1024 * 1024) /* for the tasks that evaluate expressions */
#define YIELD_EVERY 256                  /* items that a source may take without a suspension */

/* ---- Failures and events ---- */

void bki_flow_event(struct bk_flow *flow, enum bk_flow_event_kind kind, const char *where,
                    int result, const char *text)
{
    if (flow->opts.on_event)
        flow->opts.on_event(flow->opts.event_ctx, &(bk_flow_event){kind, where, text, result});
}

void bki_flow_failed(struct bk_flow *flow, int r, const char *format, ...)
{
    if (flow->error)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(flow->error_text, sizeof flow->error_text, format, args);
    va_end(args);
    flow->error = r;
}

static const char *detail_of(int r)
{
    const char *detail = bk_errmsg();
    return detail[0] ? detail : bk_strerror(r);
}

void bki_port_event(struct bki_port *port, enum bk_flow_event_kind kind, int result,
                    const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bki_flow_event(port->flow, kind, port->name, result, text);
}

void bki_port_gap(struct bki_port *port, bk_duration gap)
{
    port->flow->stats.gap.ns += gap.ns;
    port->flow->stats.reconnects++;
}

bool bki_port_draining(const struct bki_port *port)
{
    return port->flow->draining || port->flow->aborting;
}

bool bki_port_aborting(const struct bki_port *port)
{
    return port->flow->aborting;
}

/* ---- Opening and closing ---- */

static int open_failed(struct bki_port *port, int r)
{
    if (r != -ECANCELED)
        bki_flow_failed(port->flow, r, "%s: %s", port->name, detail_of(r));
    return r;
}

/* 0; BKI_SINK_LEFT when a drain came instead; or an error. */
static int open_node(struct bki_port *port, int (*open)(void *self, struct bki_port *port),
                     void *self, bool *opened)
{
    struct bk_flow *flow = port->flow;
    if (flow->draining)
        return BKI_SINK_LEFT;
    flow->opening = bk_task_current();
    int r = open ? open(self, port) : 0;
    flow->opening = NULL;
    if (flow->open_cancelled)
        bk_uncancel();
    if (flow->open_cancelled && r == -ECANCELED)
        return BKI_SINK_LEFT;
    *opened = r >= 0;
    return r < 0 ? open_failed(port, r) : 0;
}

/* Sinks first: nothing is taken before there is a place for it. */
static int open_all(struct bk_flow *flow)
{
    int r = 0;
    for (struct bki_sink_node *s = flow->sinks; s && r == 0; s = s->next)
        r = open_node(&s->port, s->ops->open, s->self, &s->opened);
    for (struct bki_source_node *s = flow->sources; s && r == 0; s = s->next)
        r = open_node(&s->port, s->ops->open, s->self, &s->opened);
    return r;
}

struct closing {
    int (*close)(void *self, int r);
    void *self;
    int r;
};

static int close_now(void *ctx)
{
    struct closing *c = ctx;
    return c->close(c->self, c->r);
}

static int end_node(struct bki_port *port, int (*close)(void *self, int r), void *self, int r)
{
    if (!close)
        return r;
    int ended = bk_shield(close_now, &(struct closing){close, self, r});
    if (r >= 0 && ended < 0)
        bki_flow_failed(port->flow, ended, "%s: %s", port->name, detail_of(ended));
    return r < 0 ? r : ended < 0 ? ended : 0;
}

int bki_sink_end(struct bki_sink_node *sink, int r)
{
    sink->opened = false;
    return end_node(&sink->port, sink->ops->close, sink->self, r);
}

static int source_end(struct bki_source_node *source, int r)
{
    source->opened = false;
    return end_node(&source->port, source->ops->close, source->self, r);
}

/* ---- The tasks ---- */

static void close_downstream(struct bk_flow *flow, struct bki_stage *stage)
{
    for (; stage; stage = stage->next) {
        if (stage->lane) {
            bki_lane_close(stage->lane);
            return;
        }
    }
    for (struct bki_sink_node *s = flow->sinks; s; s = s->next)
        bki_sink_close(s);
}

bool bki_source_stops(const struct bki_source_node *source)
{
    const struct bk_flow *flow = source->port.flow;
    return flow->enough || (flow->draining && !source->ops->drain);
}

/* 1 and *msg; 0 when the source gives no more, which may be a failure that the flow remembers;
 * -ECANCELED. */
static int call_next(struct bki_source_node *source, bk_msg **msg)
{
    int r;
    for (;;) {
        source->in_next = true;
        r = source->ops->next(source->self, msg);
        source->in_next = false;
        if (!source->drain_cancelled)
            break;
        bk_uncancel();
        source->drain_cancelled = false;
        if (r != -ECANCELED)
            break;
        if (bki_source_stops(source))
            return 0;
    }
    if (r < 0 && (r != -ECANCELED || bki_check_cancel() == 0)) {
        bki_flow_failed(source->port.flow, r, "%s: %s", source->port.name, detail_of(r));
        bki_flow_enough(source->port.flow);
        return 0;
    }
    return r;
}

/* Takes items until the source ends, fails (which the flow remembers) or is drained: 0; below zero
 * the flow is being torn down. */
static int pump(struct bki_source_node *source)
{
    struct bk_flow *flow = source->port.flow;
    for (unsigned n = 1;; n++) {
        struct bki_handle *handle = NULL;
        bk_msg *msg = NULL;
        int r = bki_handle_get(source, &handle);
        if (r <= 0)
            return r;
        r = call_next(source, &msg);
        if (r <= 0) {
            bki_handle_put(flow, handle);
            return r;
        }
        bki_handle_start(handle, msg);
        struct bki_item item = {msg, handle};
        r = flow->merge ? bki_lane_enter(flow->merge, item)
                        : bki_flow_push(flow, flow->stages, item);
        if (r == 0 && n % YIELD_EVERY == 0)
            r = bk_yield();
        if (r < 0)
            return r;
    }
}

static int torn_down(struct bk_flow *flow, int r)
{
    if (r < 0) {
        flow->aborting = true;
        if (r != -ECANCELED)
            bki_flow_failed(flow, r, "%s", detail_of(r));
    }
    return r;
}

static int source_task(void *ctx)
{
    struct bki_source_node *source = ctx;
    struct bk_flow *flow = source->port.flow;
    source->task = bk_task_current();
    if (flow->draining && source->ops->drain)
        source->ops->drain(source->self);
    int r = torn_down(flow, pump(source));
    source->task = NULL;
    if (source_end(source, r) < 0 && r == 0)
        bki_flow_enough(flow);
    if (--flow->n_sources_running == 0) {
        if (flow->merge)
            bki_lane_close(flow->merge);
        else
            close_downstream(flow, flow->stages);
    }
    return r;
}

struct segment {
    struct bk_flow *flow;
    struct bki_lane *lane;
    struct bki_stage *next;
};

static int segment_task(void *ctx)
{
    struct segment *segment = ctx;
    struct bki_item item;
    int r;
    while ((r = bki_lane_take(segment->lane, &item)) > 0) {
        r = bki_flow_push(segment->flow, segment->next, item);
        if (r < 0)
            break;
    }
    torn_down(segment->flow, r);
    close_downstream(segment->flow, segment->next);
    return r;
}

static int start(struct bk_flow *flow, bk_fn *fn, void *ctx, const char *name)
{
    bk_task_opts opts = {.name = name, .stack_size = TASK_STACK};
    return bk_group_go(flow->tasks, fn, ctx, &opts);
}

/* The consumers first, so that whatever moves finds somebody downstream. */
static int start_all(struct bk_flow *flow, struct segment *segments)
{
    int r = 0;
    size_t n = 0;
    for (struct bki_sink_node *s = flow->sinks; s && r == 0; s = s->next)
        r = start(flow, bki_sink_task, s, s->port.name);
    if (flow->merge && r == 0) {
        segments[n] = (struct segment){flow, flow->merge, flow->stages};
        r = start(flow, segment_task, &segments[n++], "merge");
    }
    for (struct bki_stage *s = flow->stages; s && r == 0; s = s->next) {
        if (s->lane) {
            segments[n] = (struct segment){flow, s->lane, s->next};
            r = start(flow, segment_task, &segments[n++], s->name);
        }
    }
    flow->n_sources_running = flow->n_sources;
    for (struct bki_source_node *s = flow->sources; s && r == 0; s = s->next)
        r = start(flow, source_task, s, s->port.name);
    return r;
}

static int run_tasks(struct bk_flow *flow)
{
    size_t n_segments = 1;
    for (struct bki_stage *s = flow->stages; s; s = s->next)
        n_segments += s->lane != NULL;
    struct segment *segments = bki_realloc_array(NULL, n_segments, sizeof *segments);
    if (!segments)
        return bk_fail(-ENOMEM, "no memory for a flow's tasks");
    int r = bk_group_open(&flow->tasks, &(bk_group_opts){.limit = SIZE_MAX, .name = "flow"});
    if (r == 0) {
        r = start_all(flow, segments);
        if (r == 0)
            r = bk_group_wait(flow->tasks);
        if (r < 0)
            flow->aborting = true;
        bk_group *ending = flow->tasks; /* children may still start others meanwhile */
        r = bk_group_close(&ending, r);
        flow->tasks = NULL;
    }
    bki_free(segments);
    return r;
}

/* ---- The flow as a whole ---- */

/* Whatever is left after a teardown goes back; then every handle must be in the pool. */
static void settle_leftovers(struct bk_flow *flow, int r)
{
    for (struct bki_source_node *s = flow->sources; s; s = s->next)
        if (s->opened)
            source_end(s, r);
    for (struct bki_sink_node *s = flow->sinks; s; s = s->next)
        if (s->opened)
            bki_sink_end(s, r);
    if (flow->merge)
        bki_lane_abandon(flow->merge);
    for (struct bki_stage *s = flow->stages; s; s = s->next)
        if (s->lane)
            bki_lane_abandon(s->lane);
    for (struct bki_sink_node *s = flow->sinks; s; s = s->next)
        bki_sink_abandon(s);
    flow->stats.settle_errors += flow->n_credits;
}

int bk_flow_run(bk_flow *flow)
{
    int r = bki_check_task();
    if (r < 0)
        return r;
    if (flow->ran)
        return bk_fail(-EALREADY, "the flow has been run");
    if (!flow->sources || !flow->sinks)
        return bk_fail(-EINVAL, "a flow needs a source and a sink");
    if (flow->n_sources > 1)
        r = bki_lane_new(&flow->merge, NULL, NULL);
    if (r < 0)
        return r;
    flow->ran = flow->running = true;
    flow->loop = bki_loop;
    r = open_all(flow);
    flow->start_ns = bk_now().ns;
    if (r == 0) {
        flow->stats.started = true;
        r = run_tasks(flow);
    }
    if (r > 0)
        r = 0;
    if (r < 0 && r != -ECANCELED)
        bki_flow_failed(flow, r, "%s", detail_of(r));
    settle_leftovers(flow, r);
    flow->end_ns = bk_now().ns;
    flow->running = false;
    if (flow->error)
        return bk_fail(flow->error, "%s", flow->error_text);
    return r;
}

/* Makes sources that are in next look again. */
static void interrupt_sources(struct bk_flow *flow)
{
    bki_grant_all(&flow->credit, 0);
    for (struct bki_source_node *s = flow->sources; s; s = s->next) {
        if (s->task && s->in_next && !s->drain_cancelled) {
            s->drain_cancelled = true;
            bk_task_cancel(s->task);
        }
    }
}

void bki_flow_enough(struct bk_flow *flow)
{
    if (flow->enough)
        return;
    flow->draining = flow->enough = true;
    interrupt_sources(flow);
}

void bk_flow_drain(bk_flow *flow)
{
    if (flow->draining)
        return;
    flow->draining = true;
    if (flow->opening && !flow->open_cancelled) {
        flow->open_cancelled = true;
        bk_task_cancel(flow->opening);
    }
    for (struct bki_source_node *s = flow->sources; s; s = s->next)
        if (s->task && s->ops->drain)
            s->ops->drain(s->self);
    interrupt_sources(flow);
}
