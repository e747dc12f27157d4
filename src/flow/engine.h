/* SPDX-License-Identifier: MIT
 * The flow's inner structures: items and their handles, stages, lanes, sinks.  Shared by src/flow
 * only.
 *
 * One item's way:
 *
 *     source task: take a handle (that is the credit), next(), then bki_flow_push through the
 * stages an inline stage is a call a parallel stage is a lane: a task for each item, and one
 * segment task that takes the results and pushes them through the stages after it after the last
 * stage: bki_flow_deliver puts it into every sink's next batch sink task: writes a batch, then
 * settles its items
 *
 * Invariants:
 *   - A handle is taken from the pool by a source and goes back when its last part is settled;
 * there are at most opts.limit of them, and that is the bound on everything in flight.
 *   - Whoever holds a struct bki_item owns one part of its handle and must pass it on or settle it,
 * on every path.
 *   - push, deliver and their helpers consume the item in every case.  They fail only when the
 * whole flow is being torn down (cancelled, a sink broken, no memory); a failed item is not a
 * failure of theirs. */
#ifndef BECK_SRC_FLOW_ENGINE_H
#define BECK_SRC_FLOW_ENGINE_H

#include "base/list.h"
#include "flow/connector.h"
#include "flow/watermark.h"
#include "rt/rt.h"

struct bki_source_node;
struct bki_stage;

/* How the parts of an item ended; the highest wins for the item. */
enum bki_settle {
    BKI_SETTLE_DROPPED,
    BKI_SETTLE_STORED,
    BKI_SETTLE_UNWANTED, /* a reader left: counts as dropped, but it was not delivered either */
    BKI_SETTLE_FAILED,
    BKI_SETTLE_RETURNED, /* the flow was torn down */
};

struct bki_handle {
    struct bki_mark mark; /* in its source's watermark; mark.n is the item's number */
    struct bki_source_node *source;
    struct bki_handle *next_free;
    size_t bytes;
    uint32_t n_parts;     /* unsettled parts; 0 while in the pool */
    uint32_t n_in_stages; /* parts that no sink has yet */
    uint16_t attempt;     /* 0 for the first */
    uint8_t worst;        /* enum bki_settle, of the parts settled so far */
};

struct bki_item {
    bk_msg *msg;
    struct bki_handle *handle;
};

struct bki_source_node {
    struct bki_source_node *next;
    struct bki_port port;
    const struct bki_source_ops *ops;
    void *self;
    struct bki_watermark watermark;
    bk_task *task; /* while it runs */
    uint64_t n_taken;
    bool opened;
    bool in_next;         /* suspended in ops->next, or about to be */
    bool drain_cancelled; /* bk_flow_drain has cancelled it there */
};

/* What a stage does with an item. */
enum { BKI_STAGE_ON = 0, BKI_STAGE_EMITTED = 1 };

struct bki_stage_ops {
    /* BKI_STAGE_ON: item->msg goes on (NULL: dropped).  BKI_STAGE_EMITTED: everything there was to
     * say went through bki_stage_emit, and the stage's part is to be settled as dropped.  Below
     * zero: the item failed, or, when the flow is being torn down, nothing matters any more. */
    int (*apply)(struct bki_stage *stage, struct bki_item *item);
    void (*dispose)(void *self);
};

struct bki_stage {
    struct bki_stage *next;
    struct bk_flow *flow;
    const struct bki_stage_ops *ops;
    void *self;
    struct bki_lane *lane; /* parallel: ops are called in the lane's tasks */
    char name[BKI_NODE_NAME_MAX];
};

struct bki_sink_node {
    struct bki_sink_node *next;
    struct bki_port port;
    const struct bki_sink_ops *ops;
    void *self;
    struct bki_sink_limits limits;
    struct bki_entry *filling, *writing; /* limits.max_items each */
    size_t n_filling, bytes_filling;
    size_t n_writing, n_settled; /* of the batch under way: those up to n_settled are settled */
    struct bki_list room;        /* tasks that wait to put something in */
    struct bki_list work;        /* the sink's task, waiting */
    struct bki_timer linger;
    int64_t first_ns; /* when the oldest of `filling` came */
    uint64_t n_written;
    bool opened;
    bool closed; /* nothing more will come */
    bool left;   /* wants no more */
};

struct bk_flow {
    bk_flow_opts opts;
    struct bki_source_node *sources, *last_source;
    struct bki_stage *stages, *last_stage;
    struct bki_sink_node *sinks, *last_sink;
    struct bki_lane *merge; /* where several sources meet, NULL for one source */
    size_t n_sources, n_sinks;
    struct bk_loop *loop;
    bk_group *tasks;

    struct bki_handle_slab *slabs; /* the pool's memory */
    struct bki_handle *free_handles;
    struct bki_list credit; /* sources waiting for a handle */
    size_t n_credits;       /* handles out: in flight, or held for the next message */
    size_t n_sources_running;

    int error; /* the first failure */
    char error_text[512];
    bool ran, running;
    bk_task *opening; /* the task in bk_flow_run, while it opens a node */
    bool open_cancelled;
    bool draining;
    bool enough;   /* draining, and what sources still hold is not wanted either */
    bool aborting; /* being torn down: what fails now is not the item's fault */
    int64_t start_ns, end_ns;
    bk_flow_stats stats;
};

/* ---- handle.c ---- */

/* Takes a handle and with it the right to one more message.  Suspends while the flow is at its
 * limits. 1; 0 when the flow is draining; -ECANCELED, -ENOMEM. */
int bki_handle_get(struct bki_source_node *source, struct bki_handle **out);
/* A message has come: the handle is now item n of its source, with one part. */
void bki_handle_start(struct bki_handle *handle, bk_msg *msg);
/* Gives back one that was never started. */
void bki_handle_put(struct bk_flow *flow, struct bki_handle *handle);
/* One more part. */
void bki_handle_ref(struct bki_handle *handle);
/* One of its parts has left the stages. */
void bki_handle_staged(struct bki_handle *handle);
/* Settles one part, of which the sinks have had it (staged) or not, and with the last one the
 * item. */
void bki_handle_settle(struct bki_handle *handle, enum bki_settle how);
/* Frees an item's message and settles its part, which is still in the stages. */
void bki_item_settle(struct bki_item *item, enum bki_settle how);
/* The item's stage has failed with r (bk_errmsg): counts and reports it, and settles it.  Under
 * BK_ON_ERROR_STOP the flow drains. */
void bki_item_fail(struct bki_item *item, const char *node, int r);
/* The same without settling. */
void bki_handle_report(struct bki_handle *handle, const char *node, int r, const char *why);
void bki_handle_pool_free(struct bk_flow *flow);
/* "file:quakes.ndjson:17" */
void bki_handle_label(const struct bki_handle *handle, char *buf, size_t size);

/* ---- stage.c ---- */

/* Sends an item through `stage` and those after it, and to the sinks.  Suspends while they are
 * full. */
int bki_flow_push(struct bk_flow *flow, struct bki_stage *stage, struct bki_item item);
/* A further part, made of *msg (taken), leaves `stage` for the next. */
int bki_stage_emit(struct bki_stage *stage, const struct bki_item *item, bk_msg **msg);
int bki_flow_add_stage(struct bk_flow *flow, const struct bki_stage_ops *ops, void *self,
                       const char *name, const bk_stage_opts *opts);

/* ---- lane.c ---- */

struct bki_lane; /* the inside of a parallel stage, or the place where several sources meet */

int bki_lane_new(struct bki_lane **out, struct bki_stage *stage, const bk_stage_opts *opts);
void bki_lane_free(struct bki_lane **lane);
int bki_lane_enter(struct bki_lane *lane, struct bki_item item);
/* No more will enter. */
void bki_lane_close(struct bki_lane *lane);
/* The next item to leave.  1; 0 when closed and empty; -ECANCELED. */
int bki_lane_take(struct bki_lane *lane, struct bki_item *item);
/* Settles what is inside as returned; no task uses the lane any more. */
void bki_lane_abandon(struct bki_lane *lane);

/* ---- sink.c ---- */

int bki_sink_put(struct bki_sink_node *sink, struct bki_item item);
int bki_flow_deliver(struct bk_flow *flow, struct bki_item item);
int bki_sink_task(void *ctx);
void bki_sink_close(struct bki_sink_node *sink);
void bki_sink_abandon(struct bki_sink_node *sink);
/* Wakes a sink that collects at leisure: a source waits for settlements. */
void bki_sink_hurry(struct bki_sink_node *sink);

/* ---- run.c ---- */

/* Closes an opened node, cancels held back; its failure is the flow's.  Returns r or that
 * failure. */
int bki_sink_end(struct bki_sink_node *sink, int r);

/* Remembers the first failure; format gives the whole line for the user. */
void bki_flow_failed(struct bk_flow *flow, int r, const char *format, ...) BK_PRINTF(3, 4);
/* Stops the sources at once: what they have not given yet is not wanted. */
void bki_flow_enough(struct bk_flow *flow);
/* The source is to give no more. */
bool bki_source_stops(const struct bki_source_node *source);
void bki_flow_event(struct bk_flow *flow, enum bk_flow_event_kind kind, const char *where,
                    int result, const char *text);

#endif
