/* SPDX-License-Identifier: MIT
 * Heaps of pointers: the parent of entry i is entry (i - 1) / 2, and no parent comes after its
 * child. */
#include "rt/pqueue.h"

#include <errno.h>

#include "base/alloc.h"

int bki_pqueue_init(struct bki_pqueue *q, size_t n, int (*compare)(const void *a, const void *b))
{
    *q = (struct bki_pqueue){.capacity = n, .compare = compare};
    q->entries = bki_realloc_array(NULL, n, sizeof *q->entries);
    return q->entries ? 0 : -ENOMEM;
}

void bki_pqueue_free(struct bki_pqueue *q)
{
    bki_free(q->entries);
}

static bool before(const struct bki_pqueue *q, const struct bki_pqueue_entry *a,
                   const struct bki_pqueue_entry *b)
{
    int order = q->compare(a->item, b->item);
    return order != 0 ? order < 0 : a->seq < b->seq;
}

int bki_pqueue_push(struct bki_pqueue *q, void *item)
{
    if (q->len == q->capacity) {
        size_t n = q->capacity * 2;
        void *entries = bki_realloc_array(q->entries, n, sizeof *q->entries);
        if (!entries)
            return -ENOMEM;
        q->entries = entries;
        q->capacity = n;
    }
    struct bki_pqueue_entry new = {item, q->next_seq++};
    size_t i = q->len++;
    for (; i > 0 && before(q, &new, &q->entries[(i - 1) / 2]); i = (i - 1) / 2)
        q->entries[i] = q->entries[(i - 1) / 2];
    q->entries[i] = new;
    return 0;
}

void *bki_pqueue_pop(struct bki_pqueue *q)
{
    void *first = q->entries[0].item;
    struct bki_pqueue_entry last = q->entries[--q->len];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->len)
            break;
        if (child + 1 < q->len && before(q, &q->entries[child + 1], &q->entries[child]))
            child++;
        if (!before(q, &q->entries[child], &last))
            break;
        q->entries[i] = q->entries[child];
        i = child;
    }
    q->entries[i] = last;
    return first;
}
