/* SPDX-License-Identifier: MIT
 * A heap of pointers in the order of a compare function; equal ones leave in order of arrival. */
#ifndef BECK_SRC_RT_PQUEUE_H
#define BECK_SRC_RT_PQUEUE_H

#include <beck/base.h>

struct bki_pqueue_entry {
    void *item;
    uint64_t seq;
};

struct bki_pqueue {
    struct bki_pqueue_entry *entries;
    size_t len, capacity;
    uint64_t next_seq;
    int (*compare)(const void *a, const void *b);
};

/* Makes an empty one with room for n.  0 or -ENOMEM. */
int bki_pqueue_init(struct bki_pqueue *q, size_t n, int (*compare)(const void *a, const void *b));
void bki_pqueue_free(struct bki_pqueue *q);
/* 0 or -ENOMEM, and nothing has changed. */
int bki_pqueue_push(struct bki_pqueue *q, void *item);
/* It is not empty. */
void *bki_pqueue_pop(struct bki_pqueue *q);

#endif
