/* SPDX-License-Identifier: MIT
 * Sweeps over the operations of a backend: whatever is said of the n-th of them, on both backends.
 * (sweep_calls.h is about libc's calls; what io_uring does goes past those.)
 *
 * The backend of the run is wrapped: the n-th operation of a kind is not started, or does not reach
 * the kernel and is completed with an error at the next poll, as if the kernel had said so. */
#ifndef BECK_TESTS_SWEEP_OPERATIONS_H
#define BECK_TESTS_SWEEP_OPERATIONS_H

#include <sys/socket.h>

#include "rt/backend_io.h"
#include "tests/sweep_harness.h"

#define SWEEP_ANY_OP ((enum bki_op_kind) - 1)

static const struct sweep_operation_fault {
    enum bki_op_kind kind;
    const char *name;
    int error;
    bool refused; /* start() says so; else the operation is done, with this error */
    bool recovers;
} sweep_operation_faults[] = {
    {SWEEP_ANY_OP, "operation", ENOMEM, .refused = true},
    {BKI_OP_RECV, "recv", ECONNRESET, .refused = false},
    {BKI_OP_RECV, "recv", ENOMEM, .refused = false},
    {BKI_OP_SEND, "send", EPIPE, .refused = false},
    {BKI_OP_SEND, "send", ENOMEM, .refused = false},
    {BKI_OP_ACCEPT, "accept", EMFILE, .recovers = true},
    {BKI_OP_ACCEPT, "accept", ENOMEM, .recovers = true},
    {BKI_OP_CONNECT, "connect", ECONNREFUSED, .refused = false},
    {BKI_OP_CONNECT, "connect", ENOMEM, .refused = false},
    {BKI_OP_POLL, "poll", ENOMEM, .refused = false},
    {BKI_OP_RECV_MSG, "recvmsg", ENOMEM, .refused = false},
    {BKI_OP_SEND_MSG, "sendmsg", ENOMEM, .refused = false},
    {BKI_OP_OPEN, "open", EMFILE, .refused = false},
    {BKI_OP_CLOSE, "close", EIO, .refused = false},
    {BKI_OP_READ, "read", EIO, .refused = false},
    {BKI_OP_WRITE, "write", ENOSPC, .refused = false},
    {BKI_OP_SYNC, "sync", EIO, .refused = false},
};

static struct {
    const struct bki_backend *real;
    struct bki_backend wrapper;
    const struct sweep_operation_fault *fault;
    bool awake;
    int nth, n_seen, n_hits;
    unsigned kinds;      /* which there were, since it was cleared */
    struct bki_op *held; /* kept from the kernel, to be completed by the next poll */
} sweep_ops;

/* ---- The wrapper ---- */

static inline int sweep_ops_start(struct bk_loop *loop, struct bki_op *op)
{
    const struct sweep_operation_fault *fault = sweep_ops.fault;
    if (sweep_ops.awake)
        sweep_ops.kinds |= 1u << op->kind;
    bool meant = sweep_ops.awake && (fault->kind == SWEEP_ANY_OP || fault->kind == op->kind) &&
                 !(fault->refused && op->nowait);
    if (!meant || ++sweep_ops.n_seen != sweep_ops.nth)
        return sweep_ops.real->start(loop, op);
    sweep_ops.n_hits++;
    if (fault->refused)
        return -fault->error;
    if (fault->error == ECONNRESET || fault->error == EPIPE)
        shutdown(op->fd->fd, SHUT_RDWR); /* the other end sees it too */
    if (op->kind == BKI_OP_CLOSE)
        close(op->file.number);
    op->result = -fault->error;
    if (op->nowait)
        return 1;
    int r = op->fd ? bki_io_occupy(op, bki_io_events(op)) : 0;
    if (r < 0)
        return r;
    op->in_flight = true;
    sweep_ops.held = op;
    return 0;
}

static inline void sweep_ops_cancel(struct bk_loop *loop, struct bki_op *op)
{
    if (sweep_ops.held != op) /* which is being completed */
        sweep_ops.real->cancel(loop, op);
}

/* The held one comes first: the real backend would take it for its own. */
static inline int sweep_ops_poll(struct bk_loop *loop, int64_t timeout_ns)
{
    struct bki_op *op = sweep_ops.held;
    sweep_ops.held = NULL;
    if (op) {
        if (op->fd)
            bki_io_vacate(op);
        op->in_flight = false;
        op->done(op);
    }
    return sweep_ops.real->poll(loop, op ? 0 : timeout_ns);
}

static inline bool sweep_ops_busy(struct bk_loop *loop)
{
    return sweep_ops.held || sweep_ops.real->busy(loop);
}

/* From when the scenario is open until the run is over; the wrapper stays until the loop closes. */
static inline void sweep_ops_phase(bool running)
{
    sweep_ops.awake = running;
    if (!running)
        return;
    sweep_ops.real = bki_loop->backend;
    sweep_ops.wrapper = *sweep_ops.real;
    sweep_ops.wrapper.start = sweep_ops_start;
    sweep_ops.wrapper.cancel = sweep_ops_cancel;
    sweep_ops.wrapper.poll = sweep_ops_poll;
    sweep_ops.wrapper.busy = sweep_ops_busy;
    bki_loop->backend = &sweep_ops.wrapper;
}

/* ---- The sweep ---- */

/* Fails each operation of one kind in turn; returns how many there were, -1 when a run went wrong.
 */
static inline int sweep_operation_pass(const struct sweep_scenario *sc,
                                       const struct sweep_operation_fault *fault)
{
    for (int nth = 1; nth < SWEEP_MAX_STEPS; nth++) {
        struct sweep_run run = {.scenario = sc};
        snprintf(sweep_label, sizeof sweep_label, "%s: %s %d %s with %s", sc->name, fault->name,
                 nth, fault->refused ? "is refused" : "ends", strerrorname_np(fault->error));
        sweep_ops.fault = fault;
        sweep_ops.nth = nth;
        sweep_ops.n_seen = sweep_ops.n_hits = 0;
        sweep_faulted = !fault->recovers;
        alloc_sweep_fail_nth(0);
        int r = sweep_once(&run);
        sweep_judge_fault(&run, r, sweep_ops.n_hits > 0, fault->recovers);
        if (sweep_failed_run)
            return -1;
        if (sweep_ops.n_hits == 0)
            return nth - 1;
    }
    sweep_lost("does not end");
    return -1;
}

/* True when every scenario stands every fault at each of its operations. */
static inline bool sweep_operations(const struct sweep_scenario *scenarios, size_t n)
{
    bool ok = true;
    sweep_on_phase = sweep_ops_phase;
    for (size_t i = 0; i < n; i++) {
        if (!sweep_wanted(&scenarios[i]) || scenarios[i].survives)
            continue;
        size_t n_faults = sizeof sweep_operation_faults / sizeof *sweep_operation_faults;
        sweep_ops.kinds = 0;
        for (size_t f = 0; f < n_faults; f++) {
            const struct sweep_operation_fault *fault = &sweep_operation_faults[f];
            if (f > 0 && !(sweep_ops.kinds & 1u << fault->kind))
                continue;
            sweep_begin();
            int n_ops = sweep_operation_pass(&scenarios[i], fault);
            if (getenv("SWEEP_VERBOSE"))
                fprintf(stderr, "%s: %d\n", sweep_label, n_ops);
            ok = ok && n_ops >= 0;
        }
    }
    sweep_on_phase = NULL;
    sweep_faulted = false;
    return ok;
}

#endif
