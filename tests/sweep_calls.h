/* SPDX-License-Identifier: MIT
 * Sweeps over system calls: scenarios whose calls fall short, are interrupted, or fail, one after
 * the other. */
#ifndef BECK_TESTS_SWEEP_CALLS_H
#define BECK_TESTS_SWEEP_CALLS_H

#include "tests/sweep_harness.h"
#include "tests/sweep_shim.h"
#include "tests/sweep_uring.h"

/* ---- What nobody may notice ---- */

static inline void sweep_disturb_phase(bool running)
{
    atomic_store(&shim.asleep, !running);
}

static inline void sweep_disturb(uint64_t seed, unsigned percent)
{
    shim_reset(seed);
    sweep_on_phase = sweep_disturb_phase;
    sweep_disturb_phase(false);
    shim_add((struct shim_rule){.call = SHIM_RECV, .what = SHIM_SHORT, .percent = percent});
    shim_add((struct shim_rule){.call = SHIM_SEND, .what = SHIM_SHORT, .percent = percent});
    shim_add((struct shim_rule){.call = SHIM_RECV, .what = EINTR, .percent = percent / 2});
    shim_add((struct shim_rule){.call = SHIM_SEND, .what = EINTR, .percent = percent / 2});
    shim_add((struct shim_rule){.call = SHIM_RECV, .what = EAGAIN, .percent = percent / 4});
    shim_add((struct shim_rule){.call = SHIM_SEND, .what = EAGAIN, .percent = percent / 4});
    shim_add((struct shim_rule){.call = SHIM_CONNECT, .what = EINTR, .percent = percent});
    shim_add((struct shim_rule){.call = SHIM_EPOLL_WAIT, .what = EINTR, .percent = percent});
    shim_add((struct shim_rule){.call = SHIM_POLL, .what = EINTR, .percent = percent});
    shim_add((struct shim_rule){.call = SHIM_URING_ENTER, .what = EINTR, .percent = percent});
    shim_add((struct shim_rule){.call = SHIM_URING_ENTER, .what = EBUSY, .percent = percent / 4});
}

/* Strikes at every step, with calls that do less than they could. */
static inline bool sweep_disturbed(const struct sweep_scenario *scenarios, size_t n)
{
    bool ok = true;
    for (uint64_t seed = 1; ok && seed <= 3; seed++) {
        sweep_disturb(seed, 40);
        ok = sweep_strikes(scenarios, n, SWEEP_CANCEL);
        if (!ok)
            fprintf(stderr, "(seed %d)\n", (int)seed);
    }
    sweep_on_phase = NULL;
    shim_reset(0);
    return ok;
}

/* ---- What is told ---- */

/* recovers: the call is made again, and the scenario ends as if nothing had happened. */
static const struct sweep_call_fault {
    enum shim_call call;
    int error;
    bool recovers;
} sweep_call_faults[] = {
    {SHIM_RECV, ECONNRESET, false},
    {SHIM_RECV, ENOMEM, false},
    {SHIM_SEND, ECONNRESET, false},
    {SHIM_SEND, EPIPE, false},
    {SHIM_CONNECT, ECONNREFUSED, false},
    {SHIM_CONNECT, ETIMEDOUT, false},
    {SHIM_SOCKET, EMFILE, false},
    {SHIM_SOCKET, ENOMEM, false},
    {SHIM_EPOLL_CREATE, EMFILE, false},
    {SHIM_EVENTFD, ENFILE, false},
    {SHIM_EPOLL_CTL, ENOMEM, false},
    {SHIM_EPOLL_CTL, ENOSPC, false},
    {SHIM_STACK, ENOMEM, false},
    {SHIM_ACCEPT, EMFILE, true},
    {SHIM_ACCEPT, ENOMEM, true},
    {SHIM_ACCEPT, ECONNABORTED, true},
    {SHIM_ACCEPT, EINTR, true},
    {SHIM_EPOLL_WAIT, EINTR, true},
    {SHIM_OPEN, EMFILE, false},
    {SHIM_OPEN, ENFILE, false},
    {SHIM_FILE, EIO, false},
    {SHIM_FILE, ENOSPC, false},
    {SHIM_FILE, EINTR, true},
    {SHIM_FILE, SHIM_SHORT, true},
    {SHIM_FILE, SHIM_TORN, false},
    {SHIM_CLONE, EAGAIN, false},
    {SHIM_CLONE, ENOMEM, false},
    {SHIM_THREAD, EAGAIN, false},
    {SHIM_BIND, EADDRINUSE, false},
    {SHIM_BIND, ENOBUFS, false},
    {SHIM_ASK, ENOBUFS, false},
    {SHIM_STAT, ENOMEM, false},
    {SHIM_RENAME, ENOSPC, false},
    {SHIM_POLL, EINTR, true},
    {SHIM_POLL, ENOMEM, false},
    {SHIM_URING_SETUP, ENOMEM, false},
    {SHIM_URING_SETUP, EMFILE, false},
    {SHIM_URING_SUBMIT, ENOMEM, false},
    {SHIM_URING_ENTER, EINTR, true},
    {SHIM_URING_ENTER, EAGAIN, true},
    {SHIM_URING_ENTER, EBUSY, true},
    {SHIM_URING_ENTER, ENOMEM, true},
};

/* Fails each call of one kind in turn; returns how many there were, -1 when a run went wrong. */
static inline int sweep_call_pass(const struct sweep_scenario *sc,
                                  const struct sweep_call_fault *fault)
{
    bool recovers = fault->recovers && !(sc->tells_more && fault->error == EINTR);
    for (int nth = 1; nth < SWEEP_MAX_STEPS; nth++) {
        struct sweep_run run = {.scenario = sc};
        snprintf(sweep_label, sizeof sweep_label, "%s: %s call %d fails with %s", sc->name,
                 shim_call_names[fault->call], nth,
                 fault->error > 0             ? strerrorname_np(fault->error)
                 : fault->error == SHIM_SHORT ? "less than all"
                                              : "less than all, and ENOSPC");
        shim_reset(0);
        shim_add((struct shim_rule){
            .call = fault->call, .what = fault->error, .first = nth, .last = nth});
        sweep_faulted = !recovers;
        alloc_sweep_fail_nth(0);
        int r = sweep_once(&run);
        sweep_judge_fault(&run, r, atomic_load(&shim.n_hits) > 0, recovers);
        if (sweep_failed_run)
            return -1;
        if (atomic_load(&shim.n_hits) == 0)
            return nth - 1;
    }
    sweep_lost("does not end");
    return -1;
}

/* True when every scenario stands every fault at each of the calls it is about. */
static inline bool sweep_calls(const struct sweep_scenario *scenarios, size_t n)
{
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        /* One that takes back the cancel by which its failed helpers end it would go on alone. */
        if (!sweep_wanted(&scenarios[i]) || scenarios[i].survives)
            continue;
        atomic_store(&shim.seen, 0);
        for (size_t f = 0; f < sizeof sweep_call_faults / sizeof *sweep_call_faults; f++) {
            const struct sweep_call_fault *fault = &sweep_call_faults[f];
            if (f > 0 && !(atomic_load(&shim.seen) & 1u << fault->call))
                continue;
            sweep_begin();
            int calls = sweep_call_pass(&scenarios[i], fault);
            if (getenv("SWEEP_VERBOSE"))
                fprintf(stderr, "%s: %d\n", sweep_label, calls);
            ok = ok && calls >= 0;
        }
    }
    sweep_faulted = false;
    shim_reset(0);
    return ok;
}

#endif
