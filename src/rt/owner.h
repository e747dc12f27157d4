/* SPDX-License-Identifier: MIT
 * Which loop an object belongs to, so that another thread's loop is refused instead of corrupting
 * it; and the loops that are alive.
 *
 * An object belongs to the loop that made it, or else to the first one that uses it.  When that
 * loop has ended, nobody is left to be corrupted: the next one to use the object takes it over. */
#ifndef BECK_SRC_RT_OWNER_H
#define BECK_SRC_RT_OWNER_H

#include "rt/rt.h"

/* ---- Loops ---- */

/* The loops alive, in order of their ids; guarded by the functions here.  Other processes read it
 * too (layout.h). */
extern struct bki_list bki_loops;
void bki_loops_add(struct bk_loop *loop); /* gives it its id */
void bki_loops_remove(struct bk_loop *loop);
/* Calls visit(ctx, loop) for each while none can go; visit must not add or remove one. */
void bki_loops_each(void (*visit)(void *ctx, struct bk_loop *loop), void *ctx);

/* Around a fork, so that the child finds the list whole.  In the child, its loops are gone. */
void bki_loops_before_fork(void);
void bki_loops_after_fork(bool in_child);

/* ---- Objects ---- */

struct bki_owner {
    struct bk_loop *loop; /* BKI_NO_OWNER: none has used the object yet */
    uint64_t loop_id;     /* tells it from a later loop at the same address */
};

/* Never the address of a loop, nor that of a thread without one. */
#define BKI_NO_OWNER ((struct bk_loop *)1)

void bki_owner_init(struct bki_owner *owner);

/* The part of the checks below that is seldom needed. */
int bki_owner_settle(struct bki_owner *owner, const char *what);

/* For a call that does not suspend: 0, or -EPERM when the object, a `what`, belongs to another loop
 * that is alive. */
static inline int bki_owner_check(struct bki_owner *owner, const char *what)
{
    if (__builtin_expect(owner->loop == bki_loop, 1))
        return 0;
    return bki_owner_settle(owner, what);
}

/* For a call that may suspend: the same, and what bki_check_cancel says. */
static inline int bki_owner_check_wait(struct bki_owner *owner, const char *what)
{
    if (__builtin_expect(owner->loop != bki_loop, 0)) {
        int r = bki_owner_settle(owner, what);
        if (r < 0)
            return r;
    }
    return bki_check_cancel();
}

/* For free, which has no result: true when bki_owner_check fails, and then on_error is told that
 * the object was left as it is. */
bool bki_owner_refuse_free(struct bki_owner *owner, const char *what);

/* The common case of bki_owner_check_wait, for a function whose other cases are one tail call: then
 * it saves no registers. */
static inline bool bki_owner_is_fine(const struct bki_owner *owner)
{
    return __builtin_expect(owner->loop == bki_loop, 1) &&
           __builtin_expect(bki_loop->current->cancel_frame->pending == 0, 1);
}

#endif
