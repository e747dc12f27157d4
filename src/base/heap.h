/* SPDX-License-Identifier: MIT
 * A min-heap of nodes ordered by a 64-bit key (an instant, say); equal keys leave in order of
 * arrival.
 *
 * Each node records where it is, so that any node can be taken out without a search.  The nodes
 * belong to the caller and must stay where they are in memory while in the heap.  The keys lie
 * beside each other in the heap's own array, with four children to a parent: a comparison never
 * reads a node. */
#ifndef BECK_SRC_BASE_HEAP_H
#define BECK_SRC_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bki_heap_node {
    size_t place; /* index in the heap's array, plus 1; 0: in no heap */
};

struct bki_heap_entry {
    int64_t key;
    uint64_t seq;
    struct bki_heap_node *node;
};

/* Zero-initialised is empty. */
struct bki_heap {
    struct bki_heap_entry *entries;
    size_t len, cap;
    uint64_t next_seq;
};

static inline bool bki_heap_contains(const struct bki_heap_node *node)
{
    return node->place != 0;
}

/* The node with the least key, or NULL. */
static inline struct bki_heap_node *bki_heap_peek(const struct bki_heap *heap)
{
    return heap->len ? heap->entries[0].node : NULL;
}

/* The least key, or INT64_MAX when the heap is empty. */
static inline int64_t bki_heap_min_key(const struct bki_heap *heap)
{
    return heap->len ? heap->entries[0].key : INT64_MAX;
}

/* Puts in a node that is in no heap.  Returns 0, or -ENOMEM and changes nothing.  O(log n). */
int bki_heap_insert(struct bki_heap *heap, struct bki_heap_node *node, int64_t key);

/* Takes out a node that is in this heap.  Never fails.  O(log n). */
void bki_heap_remove(struct bki_heap *heap, struct bki_heap_node *node);

/* Takes out the node with the least key; NULL when empty.  O(log n). */
struct bki_heap_node *bki_heap_pop(struct bki_heap *heap);

/* Releases the heap's memory.  Nodes still inside are marked as in no heap. */
void bki_heap_free(struct bki_heap *heap);

#endif
