/* SPDX-License-Identifier: MIT
 * Memory for messages that are still coming in: what all connections of a loop may hold of theirs
 * together.
 *
 *     r = bki_intake_ask(&c->intake, size);      // before more is read
 *     ...
 *     bki_intake_release(loop, &c->intake);      // the message is whole, or given up
 *
 * BKI_INTAKE_OWN bytes everybody has, so that short messages never wait.  Who wants more than that
 * asks, waits while there is none, and does not read meanwhile, which holds up its peer.
 *
 * Those who hold some wait for their peers, so somebody must see to it that nobody waits for ever:
 *   - who holds some goes before who does not: what is begun is ended first;
 *   - when all who hold some wait for more, the first of them may go beyond the limit, it alone,
 *     until its message is there;
 *   - while others have waited for BKI_INTAKE_PATIENCE_SECONDS, who was granted nothing in that
 *     time, and has not come to an end, is told to let go. */
#ifndef BECK_SRC_RT_INTAKE_H
#define BECK_SRC_RT_INTAKE_H

#include "rt/rt.h"

#define BKI_INTAKE_OWN ((size_t)2048)
#define BKI_INTAKE_FIRST ((size_t)32 * 1024) /* few get on, rather than all a bit */
#define BKI_INTAKE_PATIENCE_SECONDS 10

/* One connection's part in it.  Zeroed it holds nothing. */
struct bki_intake {
    struct bki_list link; /* holders, linked while held > 0 */
    size_t held;          /* bytes, besides BKI_INTAKE_OWN */
    int64_t since_ns;     /* of the last grant */
    /* Outside any task: the connection is to end, and to release what it holds, now or soon.  NULL:
     * it ends by itself. */
    void (*let_go)(struct bki_intake *intake);
    bool waiting;
    bool whole; /* set by the owner: the message is there, and waits for nothing of its peer's */
};

void bki_intake_init(struct bki_intake_pool *pool);

/* How many bytes its owner may hold as it is. */
static inline size_t bki_intake_room(const struct bki_intake *intake)
{
    return BKI_INTAKE_OWN + intake->held;
}

/* How much to ask for when `have` bytes are there and more will come. */
static inline size_t bki_intake_next(size_t have)
{
    return have < BKI_INTAKE_FIRST / 2 ? BKI_INTAKE_FIRST : 2 * have;
}

/* May its owner hold `size` bytes in all?  Suspends until it may.  0; -ECANCELED, -ENOMEM: it may
 * hold what it could before. */
int bki_intake_ask(struct bki_intake *intake, size_t size);

/* The same at once, or not: true when it may. */
bool bki_intake_try(struct bki_intake *intake, size_t size);

/* Back to BKI_INTAKE_OWN.  In and outside tasks; fine when it holds no more. */
void bki_intake_release(struct bk_loop *loop, struct bki_intake *intake);

#endif
