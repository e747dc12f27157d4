/* SPDX-License-Identifier: MIT
 * Long computations in the loop's thread: in steps between which everybody else runs, and, where
 * their memory must be bounded too, one at a time.
 *
 *     r = bki_turn_take(BKI_TURN_MAKES);
 *     while (r == 0 && ...) {
 *         ... a step over n bytes ...
 *         bki_work(n);
 *     }
 *     bki_turn_give();
 *
 * Whoever has the turn computes: it waits for nothing but its next step, and so nobody waits for a
 * peer of somebody else's. */
#ifndef BECK_SRC_RT_TURN_H
#define BECK_SRC_RT_TURN_H

#include "rt/rt.h"

/* The loop's budget of switches goes down by one for so many bytes computed on: 256 KiB use it up,
 * and the kernel is looked at before the next. */
#define BKI_BYTES_PER_SWITCH 2048

/* n bytes have been computed on: the next operation gives way earlier.  Outside of tasks, nothing.
 */
static inline void bki_charge(size_t n)
{
    if (bki_in_task())
        bki_loop->budget -= (int)(n / BKI_BYTES_PER_SWITCH);
}

/* The same, and gives way at once when it is time; looks at no cancel. */
static inline void bki_work(size_t n)
{
    bki_charge(n);
    if (__builtin_expect(bki_loop->budget < 0, 0) && bki_in_task())
        bki_give_way(bki_loop);
}

/* What uses up something large that is there goes before what makes something large: of both
 * together there is not more than one at a time. */
enum bki_turn_line { BKI_TURN_USES, BKI_TURN_MAKES };

/* Takes the loop's turn; in each line, first come, first served.  Suspends while another task has
 * it.  0, or 1 after a wait; -ECANCELED. */
int bki_turn_take(enum bki_turn_line line);

static inline bool bki_turn_is_taken(void)
{
    return bki_loop->turn.taken;
}

/* Gives it up.  A task that takes it again at once, to use what it has just made, still comes
 * before those who wait to make something. */
void bki_turn_give(void);

#endif
