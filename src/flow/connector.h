/* SPDX-License-Identifier: MIT
 * What a source or a sink is to a flow: a table of a few functions, and a port back into the flow.
 *
 * All functions run in tasks of the flow's loop and may suspend, except settled, committed and
 * dispose.  After a successful open, close is called exactly once, with cancels held back. */
#ifndef BECK_SRC_FLOW_CONNECTOR_H
#define BECK_SRC_FLOW_CONNECTOR_H

#include <beck/error.h>
#include <beck/flow.h>

#define BKI_NODE_NAME_MAX 64

/* A source's or sink's way to talk to its flow; valid from open to close. */
struct bki_port {
    struct bk_flow *flow;
    char name[BKI_NODE_NAME_MAX]; /* its URL, shortened; for messages */
};

void bki_port_event(struct bki_port *port, enum bk_flow_event_kind kind, int result,
                    const char *format, ...) BK_PRINTF(4, 5);
/* A connection has been made again, after so long without it. */
void bki_port_gap(struct bki_port *port, bk_duration gap);
/* The flow takes no more items from its sources. */
bool bki_port_draining(const struct bki_port *port);
/* It is being torn down: whoever closes, shielded from the cancel, should be quick. */
bool bki_port_aborting(const struct bki_port *port);

struct bki_source_ops {
    enum bk_source_class source_class;
    bool lines; /* item n is line n: it is named "NAME:N", otherwise "NAME message N" */
    int (*open)(void *self, struct bki_port *port);
    /* 1 and *msg (NULL on entry), 0 at the end, or an error.  -ECANCELED: nothing was taken, and
     * next may be called again. */
    int (*next)(void *self, bk_msg **msg);
    /* May be NULL: draining ends the source at once, which loses nothing if it can be read again.
     * Otherwise: stop taking in more, but let next give what has been taken in already, until it
     * returns 0.  Must not suspend.  A next under way then returns -ECANCELED, and is called
     * again. */
    void (*drain)(void *self);
    /* Both may be NULL; as in bk_source_opts. */
    void (*settled)(void *self, uint64_t n, enum bk_outcome outcome);
    void (*committed)(void *self, uint64_t n);
    int (*close)(void *self, int r); /* r < 0: at once; returns r or a failure of closing */
    void (*dispose)(void *self);     /* frees self; also when never opened */
};

/* Some messages on their way into a sink. */
struct bki_entry {
    bk_msg *msg;               /* the sink may read it, or take it and leave NULL */
    struct bki_handle *handle; /* the flow's */
    char *why;                 /* set by bki_entry_refuse */
    int result;                /* 0; BKI_ENTRY_DROPPED; or why the sink refused this one */
};

struct bki_batch {
    struct bki_entry *entries;
    size_t n;
    size_t n_done; /* the first so many are written for good, or refused; settled even when write
                      fails */
    struct bki_sink_node *sink;
};

/* Settles the first n_done entries now, rather than when write returns.  Loop thread. */
void bki_batch_advance(struct bki_batch *batch, size_t n_done);

/* Marks an entry as refused: its item fails, the batch goes on.  Any thread.  Returns result. */
int bki_entry_refuse(struct bki_entry *entry, int result, const char *format, ...) BK_PRINTF(3, 4);

/* The result of an entry that there is no point in storing, such as a blank line. */
enum { BKI_ENTRY_DROPPED = 1 };

enum { BKI_SINK_LEFT = 1 }; /* nobody reads any more, and that is no failure */

struct bki_sink_ops {
    int (*open)(void *self, struct bki_port *port);
    /* Writes a batch (n >= 1).  0: all of it is done.  BKI_SINK_LEFT: n_done are, the sink wants no
     * more.  Below zero: n_done are, the sink is broken, and with it the flow.  The next batch is
     * collected meanwhile. */
    int (*write)(void *self, struct bki_batch *batch);
    /* No more will come (r >= 0), or the flow has failed (r < 0).  Returns r or a failure of
     * closing, which is the flow's failure: nothing that could still fail may be settled before. */
    int (*close)(void *self, int r);
    void (*dispose)(void *self);
};

/* How a batch is collected: until it holds max_items or max_bytes, or its first item has waited
 * `linger`, or nothing more can come.  Zeros: 1,024 items, 256 KiB, no waiting. */
struct bki_sink_limits {
    size_t max_items;
    size_t max_bytes;
    bk_duration linger;
};

/* Add a node; the flow owns self (dispose) on success.  name is shortened to fit.  -ENOMEM,
 * -EALREADY. */
int bki_flow_add_source(struct bk_flow *flow, const struct bki_source_ops *ops, void *self,
                        const char *name);
int bki_flow_add_sink(struct bk_flow *flow, const struct bki_sink_ops *ops, void *self,
                      const char *name, const struct bki_sink_limits *limits);

#endif
