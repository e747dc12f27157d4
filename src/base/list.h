/* SPDX-License-Identifier: MIT
 * Intrusive containers: a doubly linked list, and a FIFO that links one way.
 *
 * "Intrusive": the caller's object embeds the node, so inserting allocates nothing and cannot fail;
 * an object is in at most one list per node it embeds; the container never owns its objects.
 * bki_container leads from the node back to the object:
 *
 *     for (struct bki_list *n = bki_list_first(&list); n; n = bki_list_next(&list, n)) {
 *         struct task *t = bki_container(n, struct task, siblings);
 *
 * When the loop's body may remove n, fetch the next one first. */
#ifndef BECK_SRC_BASE_LIST_H
#define BECK_SRC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* The object of type `type` whose member `member` is *ptr; ptr must not be NULL. */
#define bki_container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* The list.  One type serves as a list's head and as the node in an object.  Invariants:
 *   - a list is a ring through its head, which bki_list_init closes; once initialised, a head must
 * not be moved or copied, nor a node while in a list;
 *   - a node outside any list has next == NULL (zero-initialised memory is fine); in one both links
 * are set, and bki_list_remove needs no list to take it out;
 *   - inserting a node that is in a list corrupts both: remove it first. */
struct bki_list {
    struct bki_list *next, *prev;
};

static inline void bki_list_init(struct bki_list *list)
{
    list->next = list->prev = list;
}

static inline bool bki_list_empty(const struct bki_list *list)
{
    return list->next == list;
}

static inline bool bki_list_linked(const struct bki_list *node)
{
    return node->next != NULL;
}

static inline void bki_list_insert_after(struct bki_list *place, struct bki_list *node)
{
    node->prev = place;
    node->next = place->next;
    place->next->prev = node;
    place->next = node;
}

static inline void bki_list_push_back(struct bki_list *list, struct bki_list *node)
{
    bki_list_insert_after(list->prev, node);
}

static inline void bki_list_push_front(struct bki_list *list, struct bki_list *node)
{
    bki_list_insert_after(list, node);
}

/* The node must be in a list. */
static inline void bki_list_remove(struct bki_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

/* The neighbours of a node, NULL past either end. */
static inline struct bki_list *bki_list_next(const struct bki_list *list,
                                             const struct bki_list *node)
{
    return node->next == list ? NULL : node->next;
}

static inline struct bki_list *bki_list_prev(const struct bki_list *list,
                                             const struct bki_list *node)
{
    return node->prev == list ? NULL : node->prev;
}

static inline struct bki_list *bki_list_first(const struct bki_list *list)
{
    return bki_list_next(list, list);
}

static inline struct bki_list *bki_list_last(const struct bki_list *list)
{
    return bki_list_prev(list, list);
}

/* Takes the first node out; NULL when the list is empty. */
static inline struct bki_list *bki_list_pop(struct bki_list *list)
{
    struct bki_list *node = bki_list_first(list);
    if (node)
        bki_list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`, in order; `from` is then empty. */
static inline void bki_list_append(struct bki_list *to, struct bki_list *from)
{
    if (bki_list_empty(from))
        return;
    struct bki_list *first = from->next, *last = from->prev;
    first->prev = to->prev;
    to->prev->next = first;
    last->next = to;
    to->prev = last;
    bki_list_init(from);
}

/* The FIFO: half the memory and fewer stores, but a node leaves only at the front.  Invariants:
 *   - zero-initialised is empty; it may be moved and copied (the copy takes over);
 *   - head == NULL exactly when empty; `last` means something only when not;
 *   - a node does not know whether it is in one, and its link means nothing outside. */
struct bki_fifo_node {
    struct bki_fifo_node *next;
};

struct bki_fifo {
    struct bki_fifo_node *head, *last;
};

static inline bool bki_fifo_empty(const struct bki_fifo *fifo)
{
    return !fifo->head;
}

static inline struct bki_fifo_node *bki_fifo_first(const struct bki_fifo *fifo)
{
    return fifo->head;
}

static inline void bki_fifo_push(struct bki_fifo *fifo, struct bki_fifo_node *node)
{
    node->next = NULL;
    if (fifo->head)
        fifo->last->next = node;
    else
        fifo->head = node;
    fifo->last = node;
}

static inline void bki_fifo_push_front(struct bki_fifo *fifo, struct bki_fifo_node *node)
{
    if (!fifo->head)
        fifo->last = node;
    node->next = fifo->head;
    fifo->head = node;
}

/* Takes the first node out; NULL when empty. */
static inline struct bki_fifo_node *bki_fifo_pop(struct bki_fifo *fifo)
{
    struct bki_fifo_node *node = fifo->head;
    if (node)
        fifo->head = node->next;
    return node;
}

/* Moves all of `from` to the end of `to`, in order; `from` is then empty. */
static inline void bki_fifo_append(struct bki_fifo *to, struct bki_fifo *from)
{
    if (!from->head)
        return;
    if (to->head)
        to->last->next = from->head;
    else
        to->head = from->head;
    to->last = from->last;
    from->head = NULL;
}

#endif
