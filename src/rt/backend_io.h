/* SPDX-License-Identifier: MIT
 * What both backends share: one direct try of an operation, and the bell that ends a wait.
 *
 * A try never waits.  It returns what the operation did (>= 0) or a negative errno; -EAGAIN says
 * that it has to wait.  It keeps the descriptor's hints: a short read has probably emptied it, a
 * short write filled it.  "Probably", since a read stops short with more behind it at urgent data,
 * at a passed descriptor, at the end of a terminal's line or of a datagram. */
#ifndef BECK_SRC_RT_BACKEND_IO_H
#define BECK_SRC_RT_BACKEND_IO_H

#include <stdatomic.h>

#include "rt/backend.h"

/* The most that one read takes: what the kernel's 32-bit counts hold with room to spare. */
#define BKI_IO_MAX ((size_t)1 << 30)

int64_t bki_io_recv(struct bki_op *op);
int64_t bki_io_send(struct bki_op *op);
int64_t bki_io_recv_msg(struct bki_op *op);
int64_t bki_io_send_msg(struct bki_op *op);
int64_t bki_io_accept(struct bki_op *op);
/* Has to wait: -EINPROGRESS, since connect's -EAGAIN is final (no free port, a Unix listener's full
 * backlog).  again: it was called before and went on in the background. */
int64_t bki_io_connect(struct bki_op *op, bool again);

/* Results that mean "this one failed, wait for the next": a connection that died in the queue. */
bool bki_io_accept_again(int64_t result);

/* Fills op->msg for sendmsg from op's iovecs. */
void bki_io_msg(struct bki_op *op);
/* Sets the hints from a read's (write's) result. */
void bki_io_read_hint(struct bki_op *op, int64_t result);
void bki_io_write_hint(struct bki_op *op, int64_t result);

/* Both directions that op needs, as POLLIN | POLLOUT; 0: not an op. */
short bki_io_events(const struct bki_op *op);
/* 0, or -EBUSY when one of these places, fd->reader and fd->writer, is taken. */
int bki_io_check_places(const struct bki_fd *f, short events);
/* Takes its places, or returns -EBUSY; and gives them back. */
int bki_io_occupy(struct bki_op *op, short events);
void bki_io_vacate(struct bki_op *op);

/* Running under valgrind, which complains of system calls it does not know, does not see what a
 * completion wrote, and stops all threads while one waits in io_uring_enter. */
bool bki_io_on_valgrind(void);

/* The bell: an eventfd that other threads and signal handlers ring to end the loop's wait.  Ringing
 * costs a system call only when the loop is in its wait or about to enter it. */
struct bki_bell {
    int fd;
    atomic_int state;
};

enum { BKI_BELL_AWAKE, BKI_BELL_DOZING, BKI_BELL_RUNG };

/* 0, or a negative errno with text. */
int bki_bell_open(struct bki_bell *bell);
void bki_bell_close(struct bki_bell *bell);
void bki_bell_ring(struct bki_bell *bell);

/* Before a wait: false when it was rung since bki_bell_awake, so that there must be no wait. */
static inline bool bki_bell_doze(struct bki_bell *bell)
{
    int state = BKI_BELL_AWAKE;
    return atomic_compare_exchange_strong(&bell->state, &state, BKI_BELL_DOZING) ||
           state == BKI_BELL_DOZING;
}

/* After a poll, with or without a wait, before the loop looks for what it was rung for: what the
 * ringer wrote before ringing is then seen. */
static inline void bki_bell_awake(struct bki_bell *bell)
{
    if (atomic_load_explicit(&bell->state, memory_order_relaxed) != BKI_BELL_AWAKE)
        atomic_exchange(&bell->state, BKI_BELL_AWAKE);
}

#endif
