/* SPDX-License-Identifier: MIT
 * For the flow's tests: numbered messages, a source and a sink that watch the flow's promises. */
#ifndef BECK_SRC_FLOW_FLOW_FIXTURE_H
#define BECK_SRC_FLOW_FLOW_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include <beck/error.h>
#include <beck/flow.h>
#include <beck/gather.h>
#include <beck/run.h>

#include "tests/check.h"

#define FIX_MAX 4096

/* One run of a flow: what to do, and what was seen. */
struct fix {
    bk_flow *flow;
    bk_flow_opts opts;
    int n;                         /* messages that the source has */
    bk_duration source_gap;        /* before each of them */
    bk_duration sink_gap;          /* for each of them */
    int (*build)(struct fix *fix); /* adds stages, and whatever else the test wants */
    size_t in_flight_limit;        /* checked whenever something runs; 0: not */

    int given;        /* by the source */
    int got[FIX_MAX]; /* by the sink, in its order */
    int n_got;
    int n_settled[FIX_MAX]; /* how often each number was settled */
    enum bk_outcome outcome[FIX_MAX];
    uint64_t committed;
    int wrong; /* promises broken */
    int result;
    char error[512];
    char events[1024];
    bk_flow_stats stats;
};

static inline int fix_number(const bk_msg *msg)
{
    char text[32];
    bk_span span = bk_msg_span(msg);
    snprintf(text, sizeof text, "%.*s", (int)span.len, span.data);
    return (int)strtol(text, NULL, 10);
}

static inline int fix_message(bk_msg **msg, int n)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%d", n);
    return bk_msg_copy(msg, text, (size_t)len);
}

static inline bool fix_balanced(const bk_flow_stats *s)
{
    return s->received == s->stored + s->dropped + s->failed + s->lost + s->returned + s->in_flight;
}

static inline void fix_watch(struct fix *fix)
{
    bk_flow_stats s;
    bk_flow_stats_get(fix->flow, &s);
    if (!fix_balanced(&s) || s.settle_errors ||
        (fix->in_flight_limit && s.in_flight > fix->in_flight_limit))
        fix->wrong++;
}

static inline int fix_next(void *ctx, bk_msg **msg)
{
    struct fix *fix = ctx;
    fix_watch(fix);
    if (fix->given == fix->n)
        return 0;
    int r = fix->source_gap.ns ? bk_sleep(fix->source_gap) : 0;
    if (r == 0)
        r = fix_message(msg, fix->given + 1);
    if (r < 0)
        return r;
    fix->given++;
    return 1;
}

static inline int fix_store(void *ctx, bk_msg **msg)
{
    struct fix *fix = ctx;
    fix_watch(fix);
    int r = fix->sink_gap.ns ? bk_sleep(fix->sink_gap) : 0;
    if (r == 0 && fix->n_got < FIX_MAX)
        fix->got[fix->n_got++] = fix_number(*msg);
    return r;
}

static inline void fix_settled(void *ctx, uint64_t n, enum bk_outcome outcome)
{
    struct fix *fix = ctx;
    fix->n_settled[n]++;
    fix->outcome[n] = outcome;
}

/* Everything up to n must be settled by now, and not for another time. */
static inline void fix_committed(void *ctx, uint64_t n)
{
    struct fix *fix = ctx;
    if (n <= fix->committed)
        fix->wrong++;
    for (uint64_t i = fix->committed + 1; i <= n; i++)
        if (fix->n_settled[i] != 1 || fix->outcome[i] == BK_RETURNED)
            fix->wrong++;
    fix->committed = n;
}

static inline void fix_event(void *ctx, const bk_flow_event *event)
{
    struct fix *fix = ctx;
    size_t len = strlen(fix->events);
    snprintf(fix->events + len, sizeof fix->events - len, "%s: %s\n", event->where, event->text);
}

static inline int fix_to_sink(struct fix *fix)
{
    return bk_flow_to_fn(fix->flow, fix_store, fix, NULL);
}

static inline int fix_run_flow(void *ctx)
{
    struct fix *fix = ctx;
    if (!fix->opts.on_event) {
        fix->opts.on_event = fix_event;
        fix->opts.event_ctx = fix;
    }
    int r = bk_flow_new(&fix->flow, &fix->opts);
    if (r == 0)
        r = bk_flow_from_fn(
            fix->flow, fix_next, fix,
            &(bk_source_opts){.name = "src", .settled = fix_settled, .committed = fix_committed});
    if (r == 0)
        r = fix->build ? fix->build(fix) : fix_to_sink(fix);
    if (r == 0)
        r = bk_flow_run(fix->flow);
    fix->result = r;
    snprintf(fix->error, sizeof fix->error, "%s", r < 0 ? bk_errmsg() : "");
    if (fix->flow) {
        bk_flow_stats_get(fix->flow, &fix->stats);
        if (!fix_balanced(&fix->stats) || fix->stats.in_flight || fix->stats.settle_errors ||
            fix->stats.bytes)
            fix->wrong++;
        for (int i = 1; i <= fix->given && i < FIX_MAX; i++)
            if (fix->n_settled[i] != 1)
                fix->wrong++;
    }
    bk_flow_free(&fix->flow);
    return r;
}

static inline int fix_run(struct fix *fix)
{
    return bk_run(fix_run_flow, fix, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

#endif
