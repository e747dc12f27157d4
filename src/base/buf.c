/* SPDX-License-Identifier: MIT
 * The growable byte buffer. */
#include "base/buf.h"

#include <assert.h>

#include <beck/error.h>

#include "base/alloc.h"

#define MIN_CAP 256

static void move_to_front(struct bki_buf *buf)
{
    if (buf->head == 0)
        return;
    memmove(buf->data, buf->data + buf->head, bki_buf_len(buf));
    buf->tail -= buf->head;
    buf->head = 0;
}

static bool resize(struct bki_buf *buf, size_t cap)
{
    char *data = bki_realloc(buf->data, cap);
    if (!data)
        return false;
    buf->data = data;
    buf->cap = cap;
    return true;
}

/* The limit is on what is readable; twice that in memory means that moving is never forced before
 * at least as many bytes were consumed as there are to move. */
static size_t grown_cap(const struct bki_buf *buf, size_t need)
{
    size_t most = buf->limit <= SIZE_MAX / 2 ? buf->limit * 2 : SIZE_MAX;
    size_t cap = buf->cap <= SIZE_MAX / 2 ? buf->cap * 2 : SIZE_MAX;
    if (cap < MIN_CAP)
        cap = MIN_CAP;
    if (cap > most)
        cap = most;
    return cap > need ? cap : need;
}

int bki_buf_reserve(struct bki_buf *buf, size_t n)
{
    size_t len = bki_buf_len(buf);
    if (n > bki_buf_limit_left(buf))
        return bk_fail(-BK_ELIMIT, "%zu bytes more in a buffer of %zu are over its limit of %zu", n,
                       len, buf->limit);
    if (n <= bki_buf_room(buf))
        return 0;
    if (buf->head >= len && n <= buf->cap - len) {
        move_to_front(buf);
        return 0;
    }
    move_to_front(buf);
    if (!resize(buf, grown_cap(buf, len + n)))
        return bk_fail(-ENOMEM, "no memory for a buffer of %zu bytes", len + n);
    return 0;
}

void bki_buf_commit(struct bki_buf *buf, size_t n)
{
    assert(n <= bki_buf_room(buf));
    buf->tail += n;
}

int bki_buf_append(struct bki_buf *buf, const void *data, size_t len)
{
    int r = bki_buf_reserve(buf, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(buf->data + buf->tail, data, len);
    buf->tail += len;
    return 0;
}

void bki_buf_truncate(struct bki_buf *buf, size_t n)
{
    assert(n <= bki_buf_len(buf));
    buf->tail = buf->head + n;
    if (n == 0)
        buf->head = buf->tail = 0;
}

void bki_buf_compact(struct bki_buf *buf)
{
    size_t len = bki_buf_len(buf);
    if (len == 0) {
        bki_buf_free(buf);
        return;
    }
    move_to_front(buf);
    if (buf->cap > MIN_CAP && len <= buf->cap / 4)
        (void)resize(buf, len * 2 > MIN_CAP ? len * 2 : MIN_CAP);
}

void bki_buf_free(struct bki_buf *buf)
{
    bki_free(buf->data);
    bki_buf_init(buf, buf->limit);
}
