/* SPDX-License-Identifier: MIT
 * Sinks: collecting batches on one side, writing them in the sink's own task on the other.
 *
 * Two arrays: producers fill one while the sink's task writes the other.  The task takes the
 * filling one when it is full, when its oldest item has waited limits.linger, when nothing more
 * will come, or when somebody needs its settlements; with a linger of zero, as soon as the task
 * runs, which is after the producers have suspended: an idle flow is flushed at once, a busy one in
 * whole batches. */
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "flow/engine.h"

#define ITEM_BATCH ((size_t)1024)
#define BYTE_BATCH ((size_t)256 * 1024)

static void describe_sink(const void *object, char *buf, size_t size)
{
    const struct bki_sink_node *sink = object;
    snprintf(buf, size, "'%s' (%zu of %zu)", sink->port.name, sink->n_filling,
             sink->limits.max_items);
}

static const struct bki_wait_kind wait_room = {.what = "room in a sink", .describe = describe_sink};
static const struct bki_wait_kind wait_work = {.what = "items for a sink",
                                               .describe = describe_sink};

int bki_entry_refuse(struct bki_entry *entry, int result, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bki_free(entry->why);
    entry->why = bki_strdup(text);
    entry->result = result;
    return result;
}

int bki_flow_add_sink(struct bk_flow *flow, const struct bki_sink_ops *ops, void *self,
                      const char *name, const struct bki_sink_limits *limits)
{
    if (flow->ran)
        return bk_fail(-EALREADY, "the flow has been run");
    struct bki_sink_node *sink = bki_zalloc(sizeof *sink);
    if (!sink)
        return bk_fail(-ENOMEM, "no memory for a sink");
    if (limits)
        sink->limits = *limits;
    if (sink->limits.max_items == 0)
        sink->limits.max_items = ITEM_BATCH;
    if (sink->limits.max_bytes == 0)
        sink->limits.max_bytes = BYTE_BATCH;
    sink->filling = bki_realloc_array(NULL, sink->limits.max_items, sizeof *sink->filling);
    sink->writing = bki_realloc_array(NULL, sink->limits.max_items, sizeof *sink->writing);
    if (!sink->filling || !sink->writing) {
        bki_free(sink->filling);
        bki_free(sink->writing);
        bki_free(sink);
        return bk_fail(-ENOMEM, "no memory for a sink");
    }
    sink->port.flow = flow;
    snprintf(sink->port.name, sizeof sink->port.name, "%s", name);
    sink->ops = ops;
    sink->self = self;
    bki_list_init(&sink->room);
    bki_list_init(&sink->work);
    if (flow->last_sink)
        flow->last_sink->next = sink;
    else
        flow->sinks = sink;
    flow->last_sink = sink;
    flow->n_sinks++;
    return 0;
}

/* ---- The producers' side ---- */

static bool full(const struct bki_sink_node *sink)
{
    return sink->n_filling >= sink->limits.max_items ||
           sink->bytes_filling >= sink->limits.max_bytes;
}

static void wake_sink(struct bki_sink_node *sink)
{
    bki_grant_first(&sink->work, 0);
}

void bki_sink_hurry(struct bki_sink_node *sink)
{
    if (sink->n_filling > 0)
        wake_sink(sink);
}

void bki_sink_close(struct bki_sink_node *sink)
{
    sink->closed = true;
    wake_sink(sink);
}

/* Settles a part that has left the stages. */
static void settle_part(struct bki_item *item, enum bki_settle how)
{
    bk_msg_free(&item->msg);
    bki_handle_settle(item->handle, how);
}

int bki_sink_put(struct bki_sink_node *sink, struct bki_item item)
{
    while (!sink->left && full(sink)) {
        struct bki_waiter w;
        int r = bki_check_cancel();
        if (r == 0)
            r = bki_wait(&sink->room, &w, &wait_room, sink);
        if (r < 0) {
            settle_part(&item, BKI_SETTLE_RETURNED);
            return r;
        }
    }
    if (sink->left) {
        settle_part(&item, BKI_SETTLE_UNWANTED);
        return 0;
    }
    size_t n = sink->n_filling++;
    sink->filling[n] = (struct bki_entry){.msg = item.msg, .handle = item.handle};
    sink->bytes_filling += bk_msg_len(item.msg);
    if (n == 0)
        sink->first_ns = sink->port.flow->loop->now_ns;
    if (n == 0 || full(sink))
        wake_sink(sink);
    return 0;
}

int bki_flow_deliver(struct bk_flow *flow, struct bki_item item)
{
    struct bki_handle *handle = item.handle;
    int r = 0;
    for (struct bki_sink_node *sink = flow->sinks; sink && r == 0; sink = sink->next) {
        struct bki_item part = {NULL, handle};
        if (sink->next) {
            r = bk_msg_slice(&part.msg, item.msg, 0, bk_msg_len(item.msg));
            if (r < 0)
                break;
            bki_handle_ref(handle);
        } else {
            part.msg = item.msg;
            item.msg = NULL;
            bki_handle_staged(handle);
        }
        r = bki_sink_put(sink, part);
    }
    if (item.msg)
        bki_item_settle(&item, BKI_SETTLE_RETURNED);
    return r;
}

/* ---- The sink's task ---- */

static void linger_over(struct bki_timer *timer)
{
    wake_sink(bki_container(timer, struct bki_sink_node, linger));
}

static bool ready(const struct bki_sink_node *sink)
{
    const struct bk_flow *flow = sink->port.flow;
    if (sink->n_filling == 0)
        return sink->closed;
    return sink->closed || full(sink) || !bki_list_empty(&flow->credit) ||
           flow->loop->now_ns >= sink->first_ns + sink->limits.linger.ns;
}

static int wait_ready(struct bki_sink_node *sink)
{
    struct bk_loop *loop = sink->port.flow->loop;
    int r = 0;
    while (r == 0 && !ready(sink)) {
        struct bki_waiter w;
        r = bki_check_cancel();
        if (r == 0 && sink->n_filling > 0)
            r = bki_timer_start(loop, &sink->linger, sink->first_ns + sink->limits.linger.ns,
                                linger_over);
        if (r == 0)
            r = bki_wait(&sink->work, &w, &wait_work, sink);
        bki_timer_stop(loop, &sink->linger);
    }
    return r;
}

static void settle_entry(struct bki_sink_node *sink, struct bki_entry *entry, enum bki_settle how)
{
    struct bki_item item = {entry->msg, entry->handle};
    if (entry->result < 0 && how == BKI_SETTLE_STORED) {
        bki_handle_report(item.handle, sink->port.name, entry->result,
                          entry->why ? entry->why : bk_strerror(entry->result));
        how = BKI_SETTLE_FAILED;
    } else if (entry->result == BKI_ENTRY_DROPPED && how == BKI_SETTLE_STORED) {
        how = BKI_SETTLE_DROPPED;
    } else if (how == BKI_SETTLE_STORED) {
        sink->n_written++;
        sink->port.flow->stats.written++;
    }
    bki_free(entry->why);
    settle_part(&item, how);
}

static void settle_batch(struct bki_sink_node *sink, size_t n_done, enum bki_settle rest)
{
    while (sink->n_settled < sink->n_writing) {
        struct bki_entry *entry = &sink->writing[sink->n_settled++];
        settle_entry(sink, entry, sink->n_settled <= n_done ? BKI_SETTLE_STORED : rest);
    }
    sink->n_writing = sink->n_settled = 0;
}

void bki_batch_advance(struct bki_batch *batch, size_t n_done)
{
    struct bki_sink_node *sink = batch->sink;
    batch->n_done = n_done;
    while (sink->n_settled < n_done)
        settle_entry(sink, &sink->writing[sink->n_settled++], BKI_SETTLE_STORED);
}

static void let_producers_in(struct bki_sink_node *sink)
{
    bki_grant_all(&sink->room, 0);
}

/* Nobody reads this sink any more.  When that is true of every sink, there is no point in taking
 * more. */
static void sink_left(struct bki_sink_node *sink)
{
    struct bk_flow *flow = sink->port.flow;
    sink->left = true;
    let_producers_in(sink);
    bool all = true;
    for (struct bki_sink_node *s = flow->sinks; s; s = s->next)
        all = all && s->left;
    if (all)
        bki_flow_enough(flow);
}

static int write_batch(struct bki_sink_node *sink)
{
    struct bki_entry *entries = sink->filling;
    sink->filling = sink->writing;
    sink->writing = entries;
    sink->n_writing = sink->n_filling;
    sink->n_filling = sink->bytes_filling = 0;
    let_producers_in(sink);

    struct bki_batch batch = {.entries = entries, .n = sink->n_writing, .sink = sink};
    int r = sink->left ? BKI_SINK_LEFT : sink->ops->write(sink->self, &batch);
    if (r < 0 && r != -ECANCELED)
        bki_flow_failed(sink->port.flow, r, "%s: %s", sink->port.name,
                        bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
    if (r < 0)
        sink->port.flow->aborting = true;
    settle_batch(sink, r == 0 ? batch.n : batch.n_done,
                 r < 0 ? BKI_SETTLE_RETURNED : BKI_SETTLE_UNWANTED);
    if (r == BKI_SINK_LEFT && !sink->left)
        sink_left(sink);
    return r < 0 ? r : 0;
}

int bki_sink_task(void *ctx)
{
    struct bki_sink_node *sink = ctx;
    int r = 0;
    while (r == 0) {
        r = wait_ready(sink);
        if (r == 0 && sink->n_filling == 0)
            break;
        if (r == 0)
            r = write_batch(sink);
    }
    return bki_sink_end(sink, r);
}

void bki_sink_abandon(struct bki_sink_node *sink)
{
    settle_batch(sink, 0, BKI_SETTLE_RETURNED);
    sink->n_writing = sink->n_filling;
    struct bki_entry *entries = sink->writing;
    sink->writing = sink->filling;
    sink->filling = entries;
    sink->n_filling = sink->bytes_filling = 0;
    settle_batch(sink, 0, BKI_SETTLE_RETURNED);
}
