/* SPDX-License-Identifier: MIT
 * Flows: source -> stages -> sink, with bounded parallelism, backpressure, and every item accounted
 * for.
 *
 *     static int enrich(void *ctx, bk_msg **msg);        // the body of a task for each message
 *
 *     bk_flow *flow = NULL;
 *     int r = bk_flow_new(&flow, NULL);
 *     if (r == 0)
 *         r = bk_flow_from(flow, "wss://feed.example.org/trades");
 *     if (r == 0)
 *         r = bk_flow_where(flow, ".amount >= 1000");
 *     if (r == 0)
 *         r = bk_flow_map(flow, enrich, &app, &(bk_stage_opts){.parallel = 64, .ordered = true});
 *     if (r == 0)
 *         r = bk_flow_to(flow, "sqlite:trades.db?table=trades");
 *     if (r == 0)
 *         r = bk_flow_run(flow);
 *     bk_flow_free(&flow);
 *
 * An item is a message and the obligation to settle it, exactly once, as stored, dropped or
 * failed.  A source takes the next message only while fewer than `limit` items are unsettled, so a
 * slow sink holds back the source and memory stays bounded whatever happens downstream.
 *
 * Everything here is for one loop's thread; bk_flow_new and the building calls also work outside
 * bk_run. */
#ifndef BECK_FLOW_H
#define BECK_FLOW_H

#include <beck/group.h>

BK_BEGIN_DECLS

typedef struct bk_flow bk_flow;

/* ---- Make one ---- */

/* What to do about an item that a stage or a sink refuses (it is counted as failed either way). */
enum bk_on_error {
    BK_ON_ERROR_STOP, /* take no more, finish what is in flight, return that failure */
    BK_ON_ERROR_SKIP, /* tell on_event and go on */
};

enum bk_flow_event_kind {
    BK_FLOW_ITEM_FAILED,  /* text says why; `where` names it ("file:quakes.ndjson:17") */
    BK_FLOW_DISCONNECTED, /* a source or sink lost its connection and will try again */
    BK_FLOW_RECONNECTED,  /* it is back; text says how long the gap was */
    BK_FLOW_READY,        /* it is open; text says where ("ws://127.0.0.1:8080/") */
    BK_FLOW_NOTE,         /* anything else worth a line */
};

typedef struct bk_flow_event {
    enum bk_flow_event_kind kind; /* what happened */
    const char *where;            /* the source, stage, sink or item it is about */
    const char *text;             /* one line, no newline */
    int result;                   /* the error behind it, 0 if none */
} bk_flow_event;

typedef struct bk_flow_opts {
    size_t limit;              /* most unsettled items; default 4,096 */
    size_t max_bytes;          /* take no more while they hold this much; default 64 MiB */
    enum bk_on_error on_error; /* default BK_ON_ERROR_STOP */
    /* Called in the loop thread as things happen; must not suspend.  The event is valid during the
     * call. */
    void (*on_event)(void *ctx, const bk_flow_event *event);
    void *event_ctx; /* passed to on_event, borrowed */
} bk_flow_opts;

/* Makes an empty flow.  out: NULL on entry; bk_flow_free it.  Errors: -ENOMEM. */
BK_API int bk_flow_new(bk_flow **out, const bk_flow_opts *opts);
/* Frees a flow that is not running.  NULL is fine. */
BK_API void bk_flow_free(bk_flow **flow);

/* ---- Where items come from ---- */

/* Adds a source by URL ("ws://...", "file:trades.ndjson?follow", "-" for standard input;
 * bk_connector_list has all).  Several sources are merged.  Nothing is opened before bk_flow_run.
 * Errors: -BK_EURL (no such scheme, unknown option, malformed: bk_errmsg says what was expected),
 * -ENOMEM. */
BK_API int bk_flow_from(bk_flow *flow, const char *url);

/* The next message of a source: the shape of bk_ws_recv and bk_channel_recv.  May suspend.
 * Returns 1 and *msg (NULL on entry), 0 at the end, or an error.  When it returns -ECANCELED it has
 * taken nothing. */
typedef int bk_source_fn(void *ctx, bk_msg **msg);

/* How an item ended. */
enum bk_outcome {
    BK_STORED,   /* every sink has it */
    BK_DROPPED,  /* a stage dropped it on purpose */
    BK_FAILED,   /* a stage or sink refused it */
    BK_RETURNED, /* the flow stopped first: take it again next time */
};

typedef struct bk_source_opts {
    const char *name; /* for messages and bk_dump; copied, cut at 63 bytes */
    /* Items are numbered 1, 2, 3... as they come.  settled: item n ended this way; any order, each
     * number once. */
    void (*settled)(void *ctx, uint64_t n, enum bk_outcome outcome);
    /* Items 1..n are all stored, dropped, or failed and skipped (BK_ON_ERROR_SKIP): a restart may
     * go on after n.  Only grows. */
    void (*committed)(void *ctx, uint64_t n);
} bk_source_opts;

/* Adds a source made of a function and its context (borrowed until bk_flow_run returns). */
BK_API int bk_flow_from_fn(bk_flow *flow, bk_source_fn *fn, void *ctx, const bk_source_opts *opts);

/* ---- What happens to them, in the order added ---- */

typedef struct bk_stage_opts {
    const char *name;  /* for messages and bk_dump; copied, cut at 63 bytes */
    size_t parallel;   /* most calls at once, each in a task; default 1: one after the other */
    bool ordered;      /* parallel: items leave in the order they came */
    size_t stack_size; /* parallel: of its tasks; default bk_run_opts.stack_size */
} bk_stage_opts;

/* Calls fn(ctx, &msg) for each item (the same function bk_group_go_msg takes).  It may suspend and
 * change, replace or take *msg.  On 0, what is in *msg goes on, NULL meaning the item is dropped on
 * purpose; below zero the item failed.  An ordered stage starts no item more than 4 * parallel
 * ahead of the oldest unfinished one. */
BK_API int bk_flow_map(bk_flow *flow, bk_msg_fn *fn, void *ctx, const bk_stage_opts *opts);

/* Keeps the items for which the jq expression gives a true value (any but false and null), as they
 * are, byte for byte.  Items that are not JSON fail; blank ones are dropped.  In a task it suspends
 * while jq compiles.  Errors: -EINVAL (bk_errmsg has jq's words), -ECANCELED,
 * -ENOMEM. */
BK_API int bk_flow_where(bk_flow *flow, const char *expression);

/* Replaces each item by the values the jq expression gives, none or several, each compact on one
 * line.  A number that the expression touches or passes on is a double: integers beyond 2^53 lose
 * digits.  Otherwise as bk_flow_where. */
BK_API int bk_flow_jq(bk_flow *flow, const char *expression);

/* Lets n items pass, then stops the sources; later ones that are in flight already are dropped.
 * Returns 0 or -ENOMEM. */
BK_API int bk_flow_take(bk_flow *flow, uint64_t n);

/* ---- Where they go ---- */

/* Adds a sink by URL ("-" for standard output).  With several, each item goes to all of them, and
 * is stored when all have stored it.  Errors as of bk_flow_from. */
BK_API int bk_flow_to(bk_flow *flow, const char *url);

typedef struct bk_sink_opts {
    const char *name; /* for messages and bk_dump; copied, cut at 63 bytes */
} bk_sink_opts;

/* Adds a sink made of a function: called for one item after the other, may suspend; 0 means stored
 * (what it leaves in *msg is freed), below zero the item failed. */
BK_API int bk_flow_to_fn(bk_flow *flow, bk_msg_fn *fn, void *ctx, const bk_sink_opts *opts);

/* ---- Run it ---- */

/* Opens sinks, then sources, and suspends the calling task until the sources have ended and every
 * item is settled.  A flow runs once.  Cancelling the caller stops it at once: unsettled items
 * count as lost or returned.
 * Returns 0; the first failure (of opening, a source, a sink, or an item under BK_ON_ERROR_STOP),
 * bk_errmsg naming what failed; -ECANCELED; -EINVAL without a source and a sink; -EALREADY. */
BK_API int bk_flow_run(bk_flow *flow);

/* Stops the sources; what is in flight is finished and settled, and bk_flow_run returns.
 * Idempotent; never suspends.  From any task of the loop, also a stage of this flow. */
BK_API void bk_flow_drain(bk_flow *flow);

/* Counts of items.  At any time
 *     received = stored + dropped + failed + lost + returned + in_flight */
typedef struct bk_flow_stats {
    uint64_t received;  /* taken from the sources */
    uint64_t processed; /* through all stages, or dropped or failed in one */
    uint64_t stored;    /* settled: every sink has it */
    /* settled: dropped on purpose, by a stage, bk_flow_take, or a reader that left */
    uint64_t dropped;
    uint64_t failed; /* settled: refused by a stage or sink */
    /* unsettled when the flow was stopped, from a source that cannot give them again */
    uint64_t lost;
    uint64_t returned;  /* unsettled when the flow was stopped, from a source that can */
    uint64_t in_flight; /* unsettled now */
    uint64_t bytes;     /* held by them, as received */
    uint64_t peak;      /* most in flight so far */
    /* messages written by sinks (bk_flow_jq may make several of an item, several sinks as well) */
    uint64_t written;
    uint64_t reconnects; /* connections lost and made again */
    bk_duration gap;     /* time sources were without a connection */
    bk_duration elapsed; /* since everything was open; final once bk_flow_run has returned */
    bool started;        /* everything was opened */
    bool draining;
    uint64_t settle_errors; /* beck's own accounting: settled twice, or never; always 0 */
} bk_flow_stats;

/* Fills *out; at any time, also after bk_flow_run. */
BK_API void bk_flow_stats_get(const bk_flow *flow, bk_flow_stats *out);

/* ---- What there is ---- */

/* What a source can promise about an item that was taken but not settled. */
enum bk_source_class {
    BK_SOURCE_NONE,     /* nothing: it is gone (a WebSocket, a pipe) */
    BK_SOURCE_POSITION, /* it can be read again from its position (a file) */
    BK_SOURCE_TOKEN,    /* it is given again until it is acknowledged */
};

typedef struct bk_connector {
    const char *scheme;                /* "file", "-" */
    const char *usage;                 /* "file:PATH[?follow][&pace=FIELD&speed=N]" */
    const char *about;                 /* a sentence */
    bool source, sink;                 /* what it can be */
    enum bk_source_class source_class; /* what it promises as a source */
} bk_connector;

/* Every connector of this build, in alphabetical order; *n: how many.  Static, any thread. */
BK_API const bk_connector *bk_connector_list(size_t *n);

BK_END_DECLS
#endif
