/* SPDX-License-Identifier: MIT
 * Messages: blocks of a few sizes, recycled through a small cache in each thread.
 *
 * A freed block goes to the cache of the thread that frees it, so the cache needs no lock.  It
 * holds CACHE_BYTES at most, of whatever sizes this thread uses now; the rest goes back to the
 * allocator. */
#include <beck/msg.h>

#include <assert.h>
#include <pthread.h>

#include <beck/error.h>

#include "base/alloc.h"
#include "base/msg_internal.h"

/* Block sizes 64, 96, 128, 192, 256, ... 65536: at most a third of a block is unused.  One class
 * more stands for larger ones, which are never kept. */
#define N_CLASSES 21
#define CLASS_LARGE N_CLASSES
#define MIN_BLOCK ((size_t)64)
#define MAX_BLOCK ((size_t)65536)
#define CACHE_BYTES ((size_t)4 * 1024 * 1024)

/* The address sanitizer can tell a use after free only of blocks that are really freed. */
#if defined(__SANITIZE_ADDRESS__)
#define USE_CACHE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USE_CACHE 0
#endif
#endif
#ifndef USE_CACHE
#define USE_CACHE 1
#endif

enum cache_state {
    CACHE_NEW, /* nothing in it, and nobody told yet to empty it when the thread ends */
    CACHE_ON,
    CACHE_OFF, /* the thread is ending, or emptying could not be arranged */
};

struct cache {
    size_t room; /* bytes that may still be put in; 0 unless CACHE_ON */
    enum cache_state state;
    struct {
        struct bk_msg *first;
        size_t n;
    } class[N_CLASSES + 1];
};

/* initial-exec: one instruction instead of a call for each access in the shared library; the struct
 * is small enough for the space that the C library keeps free for this. */
static __thread struct cache cache __attribute__((tls_model("initial-exec")));

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_exists;

#define TWO_SIZES(exponent)                                                                        \
    (uint32_t) MIN_BLOCK << (exponent), 3 * ((uint32_t)MIN_BLOCK / 2) << (exponent)

/* CLASS_LARGE: more than there can ever be room for. */
static const uint32_t class_size[N_CLASSES + 1] = {
    TWO_SIZES(0), TWO_SIZES(1), TWO_SIZES(2), TWO_SIZES(3), TWO_SIZES(4), TWO_SIZES(5),
    TWO_SIZES(6), TWO_SIZES(7), TWO_SIZES(8), TWO_SIZES(9), MAX_BLOCK,    UINT32_MAX,
};

/* The least class whose blocks hold size bytes. */
static inline unsigned class_of(size_t size)
{
    if (size <= MIN_BLOCK)
        return 0;
    if (size > MAX_BLOCK)
        return CLASS_LARGE;
    unsigned top = 31 - (unsigned)__builtin_clz((unsigned)size - 1); /* its highest bit */
    unsigned upper_half = (unsigned)((size - 1) >> (top - 1)) & 1;
    return (top - 6) * 2 + 1 + upper_half;
}

void bki_msg_cache_trim(void)
{
    for (unsigned c = 0; c < N_CLASSES; c++) {
        struct bk_msg *msg;
        while ((msg = cache.class[c].first)) {
            cache.class[c].first = msg->next;
            bki_free(msg);
        }
        cache.class[c].n = 0;
    }
    if (cache.state == CACHE_ON)
        cache.room = CACHE_BYTES;
}

static void stop_cache(void)
{
    cache.state = CACHE_OFF;
    cache.room = 0;
    bki_msg_cache_trim();
}

static void thread_ends(void *value)
{
    (void)value;
    stop_cache();
}

static void make_key(void)
{
    key_exists = pthread_key_create(&key, thread_ends) == 0;
}

/* A thread that still runs when the library goes loses what its cache holds. */
__attribute__((destructor)) static void library_ends(void)
{
    stop_cache();
    if (key_exists)
        pthread_key_delete(key);
    key_exists = false;
}

static void start_cache(void)
{
    cache.state = CACHE_OFF;
    pthread_once(&key_once, make_key);
    if (!USE_CACHE || !key_exists || pthread_setspecific(key, &cache) != 0)
        return;
    cache.state = CACHE_ON;
    cache.room = CACHE_BYTES;
}

static void keep_block(struct bk_msg *msg, unsigned c)
{
    msg->next = cache.class[c].first;
    cache.class[c].first = msg;
    cache.class[c].n++;
    cache.room -= class_size[c];
}

/* There is no room for the block.  When most of the cache holds other sizes, those have gone out of
 * use (or share it badly): it starts afresh, which costs no more than if they had never been kept.
 */
static __attribute__((noinline)) void free_block_slowly(struct bk_msg *msg, unsigned c)
{
    if (c != CLASS_LARGE) {
        if (cache.state == CACHE_NEW)
            start_cache();
        else if (cache.state == CACHE_ON && cache.class[c].n * class_size[c] < CACHE_BYTES / 2)
            bki_msg_cache_trim();
        if (class_size[c] <= cache.room) {
            keep_block(msg, c);
            return;
        }
    }
    bki_free(msg);
}

static inline void free_block(struct bk_msg *msg)
{
    unsigned c = msg->size_class;
    if (class_size[c] <= cache.room)
        keep_block(msg, c);
    else
        free_block_slowly(msg, c);
}

static __attribute__((noinline)) struct bk_msg *new_block_slowly(unsigned c, size_t len)
{
    size_t size = class_size[c];
    if (c == CLASS_LARGE && __builtin_add_overflow(len, sizeof(struct bk_msg), &size))
        size = SIZE_MAX;
    struct bk_msg *msg = bki_alloc(size);
    if (!msg)
        (void)bk_fail(-ENOMEM, "no memory for a message of %zu bytes", len);
    return msg;
}

/* A block with room for len bytes behind the header; only its size_class is set. */
static inline struct bk_msg *new_block(size_t len)
{
    unsigned c = len < MAX_BLOCK ? class_of(len + sizeof(struct bk_msg)) : CLASS_LARGE;
    struct bk_msg *msg = cache.class[c].first;
    if (msg) {
        cache.class[c].first = msg->next;
        cache.class[c].n--;
        cache.room += class_size[c];
    } else if (!(msg = new_block_slowly(c, len))) {
        return NULL;
    }
    msg->size_class = (uint8_t)c;
    return msg;
}

static inline struct bk_msg *new_owner(size_t len)
{
    struct bk_msg *msg = new_block(len);
    if (!msg)
        return NULL;
    msg->data = (char *)(msg + 1);
    msg->len = len;
    msg->owner = msg;
    atomic_init(&msg->refs, 1);
    msg->kind = BK_TEXT;
    return msg;
}

int bk_msg_new(bk_msg **out, size_t len)
{
    struct bk_msg *msg = new_owner(len);
    if (!msg)
        return -ENOMEM;
    *out = msg;
    return 0;
}

int bk_msg_copy(bk_msg **out, const void *data, size_t len)
{
    struct bk_msg *msg = new_owner(len);
    if (!msg)
        return -ENOMEM;
    if (len)
        memcpy(msg->data, data, len);
    *out = msg;
    return 0;
}

int bk_msg_slice(bk_msg **out, bk_msg *msg, size_t offset, size_t len)
{
    if (offset > msg->len || len > msg->len - offset)
        return bk_fail(-EINVAL, "bytes %zu+%zu lie outside a message of %zu", offset, len,
                       msg->len);
    struct bk_msg *slice = new_block(0);
    if (!slice)
        return -ENOMEM;
    slice->data = msg->data + offset;
    slice->len = len;
    slice->owner = msg->owner;
    slice->kind = msg->kind;
    atomic_fetch_add_explicit(&msg->owner->refs, 1, memory_order_relaxed);
    *out = slice;
    return 0;
}

int bk_msg_share(bk_msg **out, bk_msg *msg)
{
    return bk_msg_slice(out, msg, 0, bk_msg_len(msg));
}

char *bk_msg_data(bk_msg *msg)
{
    return bki_msg_data(msg);
}

size_t bk_msg_len(const bk_msg *msg)
{
    return bki_msg_len(msg);
}

bk_span bk_msg_span(const bk_msg *msg)
{
    return bki_msg_span(msg);
}

int bk_msg_truncate(bk_msg *msg, size_t new_len)
{
    if (new_len > msg->len)
        return bk_fail(-EINVAL, "a message of %zu bytes cannot be cut to %zu", msg->len, new_len);
    msg->len = new_len;
    return 0;
}

/* Whoever sees itself as the only holder needs no atomic subtraction: only a holder can add one. */
static inline void drop(struct bk_msg *owner)
{
    if (atomic_load_explicit(&owner->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&owner->refs, 1, memory_order_acq_rel) == 1)
        free_block(owner);
}

void bk_msg_free(bk_msg **msg)
{
    struct bk_msg *m = *msg;
    if (!m)
        return;
    *msg = NULL;
    struct bk_msg *owner = m->owner;
    if (owner != m)
        free_block(m);
    drop(owner);
}

enum bk_msg_kind bk_msg_kind_get(const bk_msg *msg)
{
    return (enum bk_msg_kind)msg->kind;
}

void bk_msg_kind_set(bk_msg *msg, enum bk_msg_kind kind)
{
    msg->kind = (uint8_t)kind;
}

static_assert(sizeof(struct bk_msg) % 16 == 0, "the bytes of a message are aligned as malloc's");
static_assert(sizeof(struct bk_msg) <= MIN_BLOCK, "a slice fits the smallest block");
