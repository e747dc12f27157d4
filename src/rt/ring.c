/* SPDX-License-Identifier: MIT
 * The memory of rings. */
#include "rt/ring.h"

#include <errno.h>

#include "base/alloc.h"

#define ALL_AT_ONCE 1024 /* slots: 8 KiB */
#define TO_BEGIN_WITH 64

size_t bki_ring_slots_for(size_t limit)
{
    return limit <= ALL_AT_ONCE ? limit : TO_BEGIN_WITH;
}

int bki_ring_init(struct bki_ring *ring, size_t limit)
{
    size_t wanted = bki_ring_slots_for(limit);
    size_t n = 1;
    while (n < wanted)
        n *= 2;
    ring->slots = bki_realloc_array(NULL, n, sizeof *ring->slots);
    if (!ring->slots)
        return -ENOMEM;
    ring->head = ring->tail = 0;
    ring->mask = n - 1;
    return 0;
}

void bki_ring_free(struct bki_ring *ring)
{
    bki_free(ring->slots);
}

int bki_ring_grow(struct bki_ring *ring)
{
    size_t n = bki_ring_capacity(ring);
    void **slots = n <= SIZE_MAX / 2 ? bki_realloc_array(NULL, n * 2, sizeof *slots) : NULL;
    if (!slots)
        return -ENOMEM;
    for (size_t i = ring->head; i != ring->tail; i++)
        slots[i & (n * 2 - 1)] = ring->slots[i & ring->mask];
    bki_free(ring->slots);
    ring->slots = slots;
    ring->mask = n * 2 - 1;
    return 0;
}
