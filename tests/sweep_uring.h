/* SPDX-License-Identifier: MIT
 * io_uring's own system calls that go wrong: liburing's functions in front of liburing's, for
 * programs that include this (sweep_shim.h).  What they submit is sweep_operations.h's. */
#ifndef BECK_TESTS_SWEEP_URING_H
#define BECK_TESTS_SWEEP_URING_H

#ifndef BECK_NO_URING
#include <liburing.h>

#include "tests/sweep_shim.h"

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    int (*real)(unsigned, struct io_uring *, struct io_uring_params *);
    *(void **)&real = shim_behind("io_uring_queue_init_params");
    int error = shim_decide(SHIM_URING_SETUP, -1, NULL);
    return error ? -error : real(entries, ring, p);
}

int io_uring_submit(struct io_uring *ring)
{
    int (*real)(struct io_uring *);
    *(void **)&real = shim_behind("io_uring_submit");
    int error = shim_decide(SHIM_URING_SUBMIT, -1, NULL);
    return error ? -error : real(ring);
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
    int (*real)(struct io_uring *);
    *(void **)&real = shim_behind("io_uring_submit_and_get_events");
    int error = shim_decide(SHIM_URING_ENTER, -1, NULL);
    return error ? -error : real(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    int (*real)(struct io_uring *, unsigned);
    *(void **)&real = shim_behind("io_uring_submit_and_wait");
    int error = shim_decide(SHIM_URING_ENTER, -1, NULL);
    return error ? -error : real(ring, wait_nr);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                     unsigned wait_nr, struct __kernel_timespec *ts,
                                     sigset_t *sigmask)
{
    int (*real)(struct io_uring *, struct io_uring_cqe **, unsigned, struct __kernel_timespec *,
                sigset_t *);
    *(void **)&real = shim_behind("io_uring_submit_and_wait_timeout");
    int error = shim_decide(SHIM_URING_ENTER, -1, NULL);
    return error ? -error : real(ring, cqe, wait_nr, ts, sigmask);
}
#endif

#endif
