/* SPDX-License-Identifier: MIT
 * The 4-ary min-heap behind timers. */
#include "base/heap.h"

#include <beck/error.h>

#include "base/alloc.h"

#define ARITY 4
#define MIN_CAP 64

/* Key and arrival number as one number, which compilers compare without a branch: random keys would
 * make every second branch a wrong guess. */
__extension__ typedef __int128 rank;

static inline rank rank_of(const struct bki_heap_entry *e)
{
    return (rank)(((unsigned __int128)(__int128)e->key << 64) | e->seq);
}

static inline void place(struct bki_heap *heap, size_t i, struct bki_heap_entry e)
{
    heap->entries[i] = e;
    e.node->place = i + 1;
}

/* Moves the hole at i up until e fits, and fills it. */
static void sift_up(struct bki_heap *heap, size_t i, struct bki_heap_entry e)
{
    while (i > 0) {
        size_t parent = (i - 1) / ARITY;
        if (rank_of(&heap->entries[parent]) <= rank_of(&e))
            break;
        place(heap, i, heap->entries[parent]);
        i = parent;
    }
    place(heap, i, e);
}

/* Index of the least of the four children that start at first; all exist. */
static inline size_t least_of_four(const struct bki_heap_entry *entries, size_t first)
{
    const struct bki_heap_entry *c = entries + first;
    size_t left = rank_of(&c[1]) < rank_of(&c[0]);
    size_t right = 2 + (size_t)(rank_of(&c[3]) < rank_of(&c[2]));
    return first + (rank_of(&c[right]) < rank_of(&c[left]) ? right : left);
}

static inline size_t least_child(const struct bki_heap *heap, size_t first)
{
    if (first + ARITY <= heap->len)
        return least_of_four(heap->entries, first);
    size_t least = first;
    for (size_t c = first + 1; c < heap->len; c++)
        if (rank_of(&heap->entries[c]) < rank_of(&heap->entries[least]))
            least = c;
    return least;
}

/* Fills the hole at i with e, which comes from the end of the array and so most likely belongs near
 * the bottom: the hole goes all the way down first, and e up from there, past i too if it must. */
static void refill(struct bki_heap *heap, size_t i, struct bki_heap_entry e)
{
    size_t first;
    while ((first = i * ARITY + 1) < heap->len) {
        size_t least = least_child(heap, first);
        place(heap, i, heap->entries[least]);
        i = least;
    }
    sift_up(heap, i, e);
}

static bool resize(struct bki_heap *heap, size_t cap)
{
    void *entries = bki_realloc_array(heap->entries, cap, sizeof *heap->entries);
    if (!entries)
        return false;
    heap->entries = entries;
    heap->cap = cap;
    return true;
}

int bki_heap_insert(struct bki_heap *heap, struct bki_heap_node *node, int64_t key)
{
    if (heap->len == heap->cap && !resize(heap, heap->cap ? heap->cap * 2 : MIN_CAP))
        return bk_fail(-ENOMEM, "no memory for timer %zu", heap->len + 1);
    struct bki_heap_entry e = {key, heap->next_seq++, node};
    sift_up(heap, heap->len++, e);
    return 0;
}

void bki_heap_remove(struct bki_heap *heap, struct bki_heap_node *node)
{
    size_t hole = node->place - 1;
    struct bki_heap_entry last = heap->entries[--heap->len];
    node->place = 0;
    if (hole < heap->len)
        refill(heap, hole, last);
    /* a quarter full goes to half the size, so that no sequence of calls resizes each time */
    if (heap->cap > MIN_CAP && heap->len <= heap->cap / 4)
        (void)resize(heap, heap->cap / 2);
}

struct bki_heap_node *bki_heap_pop(struct bki_heap *heap)
{
    struct bki_heap_node *node = bki_heap_peek(heap);
    if (node)
        bki_heap_remove(heap, node);
    return node;
}

void bki_heap_free(struct bki_heap *heap)
{
    for (size_t i = 0; i < heap->len; i++)
        heap->entries[i].node->place = 0;
    bki_free(heap->entries);
    *heap = (struct bki_heap){0};
}
