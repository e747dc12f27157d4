/* SPDX-License-Identifier: MIT
 * A message's layout, for layers that touch every message and should not pay a call for it. */
#ifndef BECK_SRC_BASE_MSG_INTERNAL_H
#define BECK_SRC_BASE_MSG_INTERNAL_H

#include <stdatomic.h>

#include <beck/msg.h>

/* One block of memory holds the header and, behind it, the bytes.  A slice is a header alone, which
 * keeps a reference to the block its bytes are in. */
struct bk_msg {
    char *data;
    size_t len;
    union {
        struct bk_msg *owner; /* whose block holds the bytes: itself, or a slice's origin */
        struct bk_msg *next;  /* while in a free list */
    };
    atomic_uint refs; /* of an owner: itself and the slices that need its block */
    uint8_t kind;
    uint8_t size_class;
};

static inline char *bki_msg_data(struct bk_msg *msg)
{
    return msg->data;
}

static inline size_t bki_msg_len(const struct bk_msg *msg)
{
    return msg->len;
}

static inline bk_span bki_msg_span(const struct bk_msg *msg)
{
    return bk_span_of(msg->data, msg->len);
}

/* Frees the blocks that are kept for reuse: by the calling thread, which does so itself when it
 * ends, and for all threads. */
void bki_msg_cache_trim(void);

#endif
