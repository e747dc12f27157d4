/* SPDX-License-Identifier: MIT
 * A first-in first-out array of pointers that wraps around; queues and channels keep their items in
 * one.
 *
 * Invariants: head and tail count the items taken and put since the beginning (those taken at the
 * back aside), so tail - head are inside, and item i lies in slots[i & mask]; the number of slots
 * is a power of two. */
#ifndef BECK_SRC_RT_RING_H
#define BECK_SRC_RT_RING_H

#include <beck/base.h>

struct bki_ring {
    size_t head, tail;
    void **slots;
    size_t mask; /* number of slots, less one */
};

/* How many places to begin with: all for a limit up to 1,024, some for a larger one. */
size_t bki_ring_slots_for(size_t limit);
/* Gives an empty ring its first slots: bki_ring_slots_for(limit), or a few more.  0 or -ENOMEM. */
int bki_ring_init(struct bki_ring *ring, size_t limit);
void bki_ring_free(struct bki_ring *ring);
/* Doubles the slots; called when all are full.  0 or -ENOMEM, and nothing has changed. */
int bki_ring_grow(struct bki_ring *ring);

static inline size_t bki_ring_len(const struct bki_ring *ring)
{
    return ring->tail - ring->head;
}

static inline size_t bki_ring_capacity(const struct bki_ring *ring)
{
    return ring->mask + 1;
}

/* There is a free slot. */
static inline void bki_ring_push(struct bki_ring *ring, void *item)
{
    ring->slots[ring->tail++ & ring->mask] = item;
}

/* It is not empty. */
static inline void *bki_ring_pop(struct bki_ring *ring)
{
    return ring->slots[ring->head++ & ring->mask];
}

/* The newest. */
static inline void *bki_ring_pop_back(struct bki_ring *ring)
{
    return ring->slots[--ring->tail & ring->mask];
}

#endif
