/* SPDX-License-Identifier: MIT
 * A byte buffer that is filled at its end and emptied at its front.
 *
 * Invariants: head <= tail <= cap, and tail - head <= limit; the readable bytes are
 * data[head..tail), the writable ones data[tail..cap).  Any sequence of calls costs time linear in
 * the bytes that pass through: growth doubles, and bytes are moved to the front only when at least
 * as many have been consumed.  Pointers into the buffer are valid until the next call that may
 * grow, compact or free it (reserve, append, compact, free); consuming moves nothing. */
#ifndef BECK_SRC_BASE_BUF_H
#define BECK_SRC_BASE_BUF_H

#include <assert.h>

#include <beck/base.h>

struct bki_buf {
    char *data;
    size_t head, tail, cap;
    size_t limit; /* of the readable bytes */
};

/* An empty buffer that may hold up to `limit` bytes; allocates nothing yet. */
static inline void bki_buf_init(struct bki_buf *buf, size_t limit)
{
    *buf = (struct bki_buf){.limit = limit};
}

static inline size_t bki_buf_len(const struct bki_buf *buf)
{
    return buf->tail - buf->head;
}

/* The first readable byte; with an empty buffer maybe NULL, and not to be read. */
static inline char *bki_buf_start(const struct bki_buf *buf)
{
    return buf->data ? buf->data + buf->head : NULL;
}

static inline bk_span bki_buf_span(const struct bki_buf *buf)
{
    return bk_span_of(bki_buf_start(buf), bki_buf_len(buf));
}

/* Where to write (after a reserve), and how many bytes fit there. */
static inline char *bki_buf_end(const struct bki_buf *buf)
{
    return buf->data ? buf->data + buf->tail : NULL;
}

static inline size_t bki_buf_room(const struct bki_buf *buf)
{
    return buf->cap - buf->tail;
}

/* How many bytes more the limit allows. */
static inline size_t bki_buf_limit_left(const struct bki_buf *buf)
{
    return buf->limit - bki_buf_len(buf);
}

/* Makes room for n more bytes behind the last.  Returns 0; -BK_ELIMIT when the buffer would then
 * hold more than its limit, -ENOMEM; on failure the buffer is as before. */
int bki_buf_reserve(struct bki_buf *buf, size_t n);

/* Makes the first n bytes of the room readable; n <= bki_buf_room. */
void bki_buf_commit(struct bki_buf *buf, size_t n);

/* Adds a copy of data[0..len), all or nothing.  Errors as bki_buf_reserve. */
int bki_buf_append(struct bki_buf *buf, const void *data, size_t len);

/* Drops the first n readable bytes; n <= bki_buf_len. */
static inline void bki_buf_consume(struct bki_buf *buf, size_t n)
{
    assert(n <= bki_buf_len(buf));
    buf->head += n;
    if (buf->head == buf->tail)
        buf->head = buf->tail = 0;
}

/* Drops readable bytes from the end until n are left; n <= bki_buf_len. */
void bki_buf_truncate(struct bki_buf *buf, size_t n);

/* Moves the readable bytes to the front and gives back memory that is mostly unused.  Never fails.
 */
void bki_buf_compact(struct bki_buf *buf);

/* Releases the memory; the buffer is then empty, with the same limit, and may be used again. */
void bki_buf_free(struct bki_buf *buf);

#endif
