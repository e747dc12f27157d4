/* SPDX-License-Identifier: MIT
 * Messages: blocks of a few sizes, recycled through a small cache in each thread.
 *
 * A freed block goes to the cache of the thread that frees it, so the cache needs no lock.  It is
 * bounded (CACHE_BYTES for each size); what does not fit goes back to the allocator. */
#include <beck/msg.h>

#include <assert.h>
#include <pthread.h>

#include <beck/error.h>

#include "base/alloc.h"
#include "base/msg_internal.h"

/* Block sizes 64, 96, 128, 192, 256, ... 65536: at most a third of a block is unused. */
#define N_CLASSES 21
#define MIN_BLOCK ((size_t)64)
#define MAX_BLOCK ((size_t)65536)
#define CLASS_NONE 0xff /* larger: straight from the allocator */
#define CACHE_BYTES ((size_t)256 * 1024)

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
    struct {
        struct bk_msg *first;
        unsigned room; /* how many more may be kept */
    } class[N_CLASSES];
    enum cache_state state;
};

/* initial-exec: one instruction instead of a call for each access in the shared library; the struct
 * is small enough for the space that the C library keeps free for this. */
static __thread struct cache cache __attribute__((tls_model("initial-exec")));

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_exists;

static inline size_t class_size(unsigned size_class)
{
    return (MIN_BLOCK << size_class / 2) + (size_class % 2 ? (MIN_BLOCK / 2) << size_class / 2 : 0);
}

/* The least class whose blocks hold size bytes, or CLASS_NONE. */
static inline unsigned class_of(size_t size)
{
    if (size <= MIN_BLOCK)
        return 0;
    if (size > MAX_BLOCK)
        return CLASS_NONE;
    unsigned top =
        63 - (unsigned)__builtin_clzll((unsigned long long)size - 1); /* its highest bit */
    unsigned upper_half = (unsigned)((size - 1) >> (top - 1)) & 1;
    return (top - 6) * 2 + 1 + upper_half;
}

void bki_msg_cache_trim(void)
{
    for (unsigned c = 0; c < N_CLASSES; c++) {
        struct bk_msg *msg;
        while ((msg = cache.class[c].first)) {
            cache.class[c].first = msg->next;
            cache.class[c].room++;
            bki_free(msg);
        }
    }
}

static void thread_ends(void *value)
{
    (void)value;
    bki_msg_cache_trim();
    memset(cache.class, 0, sizeof cache.class);
    cache.state = CACHE_OFF;
}

static void make_key(void)
{
    key_exists = pthread_key_create(&key, thread_ends) == 0;
}

/* A thread of the program, not of the library, may still be running here; its cache is lost with
 * it. */
__attribute__((destructor)) static void library_ends(void)
{
    bki_msg_cache_trim();
    memset(cache.class, 0, sizeof cache.class);
    cache.state = CACHE_OFF;
    if (key_exists)
        pthread_key_delete(key);
    key_exists = false;
}

/* The first free in a thread; returns whether blocks may be kept. */
static bool start_cache(void)
{
    pthread_once(&key_once, make_key);
    if (!USE_CACHE || !key_exists || pthread_setspecific(key, &cache) != 0) {
        cache.state = CACHE_OFF;
        return false;
    }
    for (unsigned c = 0; c < N_CLASSES; c++)
        cache.class[c].room = (unsigned)(CACHE_BYTES / class_size(c));
    cache.state = CACHE_ON;
    return true;
}

/* Room that is left is counted only while the cache is on, so the common case is one test. */
static __attribute__((noinline)) void free_block_slowly(struct bk_msg *msg)
{
    unsigned c = msg->size_class;
    if (c == CLASS_NONE || cache.state != CACHE_NEW || !start_cache()) {
        bki_free(msg);
        return;
    }
    msg->next = NULL;
    cache.class[c].first = msg;
    cache.class[c].room--;
}

static inline void free_block(struct bk_msg *msg)
{
    unsigned c = msg->size_class;
    if (c >= N_CLASSES || cache.class[c].room == 0) {
        free_block_slowly(msg);
        return;
    }
    msg->next = cache.class[c].first;
    cache.class[c].first = msg;
    cache.class[c].room--;
}

static __attribute__((noinline)) struct bk_msg *new_block_slowly(unsigned c, size_t len)
{
    size_t size;
    if (c != CLASS_NONE)
        size = class_size(c);
    else if (__builtin_add_overflow(len, sizeof(struct bk_msg), &size))
        size = SIZE_MAX;
    struct bk_msg *msg = bki_alloc(size);
    if (!msg)
        (void)bk_fail(-ENOMEM, "no memory for a message of %zu bytes", len);
    return msg;
}

/* A block with room for len bytes behind the header; only its size_class is set. */
static inline struct bk_msg *new_block(size_t len)
{
    unsigned c = len <= MAX_BLOCK ? class_of(len + sizeof(struct bk_msg)) : CLASS_NONE;
    struct bk_msg *msg = c < N_CLASSES ? cache.class[c].first : NULL;
    if (msg) {
        cache.class[c].first = msg->next;
        cache.class[c].room++;
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
