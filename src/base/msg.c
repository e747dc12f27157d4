/* SPDX-License-Identifier: MIT
 * Messages: blocks of a few sizes, recycled through a small cache in each thread and a depot that
 * all threads share.
 *
 * A freed block goes to the cache of the thread that frees it, so the cache needs no lock.  What is
 * more than a few goes to the depot, a batch at a time, where a thread that makes messages for
 * others to free finds it.  The depot holds DEPOT_BYTES at most, of whatever sizes are used now;
 * the rest goes back to the allocator. */
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
#define BATCH_BLOCKS 32
#define BATCH_BYTES ((size_t)32 * 1024) /* at most, unless a single block is larger */
#define DEPOT_BYTES ((size_t)4 * 1024 * 1024)

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

/* Blocks are made from first, and from spare when that is used up; they are freed to first, which
 * becomes the spare batch when it is one. */
struct cache {
    enum cache_state state;
    uint8_t room[N_CLASSES + 1]; /* blocks that first may still take; 0 unless CACHE_ON */
    struct {
        struct bk_msg *first, *spare;
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

static inline unsigned batch_of(unsigned c)
{
    size_t fit = BATCH_BYTES / class_size[c];
    return fit >= BATCH_BLOCKS ? BATCH_BLOCKS : fit ? (unsigned)fit : 1;
}

static void free_blocks(struct bk_msg *first)
{
    while (first) {
        struct bk_msg *msg = first;
        first = msg->next;
        bki_free(msg);
    }
}

/* ---- The depot ---- */

/* Batches of each size; of a batch in it, the first block's data leads to the next batch.  Nobody
 * waits long for it: who finds it taken (for ever, in a forked child) does without. */
static struct {
    atomic_flag taken;
    size_t room; /* bytes */
    struct {
        struct bk_msg *first;
        size_t n;
    } class[N_CLASSES];
} depot = {.taken = ATOMIC_FLAG_INIT, .room = DEPOT_BYTES};

static bool depot_enter(void)
{
    for (int i = 0; i < 100; i++)
        if (!atomic_flag_test_and_set_explicit(&depot.taken, memory_order_acquire))
            return true;
    return false;
}

static void depot_leave(void)
{
    atomic_flag_clear_explicit(&depot.taken, memory_order_release);
}

static struct bk_msg *depot_take(unsigned c)
{
    if (!depot_enter())
        return NULL;
    struct bk_msg *batch = depot.class[c].first;
    if (batch) {
        depot.class[c].first = (struct bk_msg *)(void *)batch->data;
        depot.class[c].n--;
        depot.room += batch_of(c) * class_size[c];
    }
    depot_leave();
    return batch;
}

static void depot_trim(void)
{
    for (unsigned c = 0; c < N_CLASSES; c++) {
        struct bk_msg *batch;
        while ((batch = depot_take(c)))
            free_blocks(batch);
    }
}

static bool depot_put(struct bk_msg *batch, unsigned c)
{
    size_t size = batch_of(c) * class_size[c];
    if (!depot_enter())
        return false;
    bool fits = size <= depot.room;
    if (fits) {
        batch->data = (char *)depot.class[c].first;
        depot.class[c].first = batch;
        depot.class[c].n++;
        depot.room -= size;
    }
    bool others = !fits && depot.class[c].n * size < DEPOT_BYTES / 2;
    depot_leave();
    if (others)
        depot_trim();
    return fits || (others && depot_put(batch, c));
}

/* ---- A thread's cache ---- */

static void empty_cache(void)
{
    for (unsigned c = 0; c < N_CLASSES; c++) {
        struct bk_msg *first = cache.class[c].first, *spare = cache.class[c].spare;
        cache.class[c].first = cache.class[c].spare = NULL;
        cache.room[c] = cache.state == CACHE_ON ? (uint8_t)batch_of(c) : 0;
        free_blocks(first);
        free_blocks(spare);
    }
}

void bki_msg_cache_trim(void)
{
    empty_cache();
    depot_trim();
}

static void stop_cache(void)
{
    cache.state = CACHE_OFF;
    empty_cache();
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
    depot_trim();
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
    empty_cache(); /* it has room now */
}

static inline void keep_block(struct bk_msg *msg, unsigned c)
{
    msg->next = cache.class[c].first;
    cache.class[c].first = msg;
    cache.room[c]--;
}

/* first is a whole batch: it becomes the spare one, and what was that goes to the depot. */
static void free_block_slowly(struct bk_msg *msg, unsigned c)
{
    if (cache.state == CACHE_NEW)
        start_cache();
    if (c == CLASS_LARGE || cache.state != CACHE_ON) {
        bki_free(msg);
        return;
    }
    if (cache.room[c] == 0) {
        struct bk_msg *old = cache.class[c].spare;
        cache.class[c].spare = cache.class[c].first;
        cache.class[c].first = NULL;
        cache.room[c] = (uint8_t)batch_of(c);
        if (old && !depot_put(old, c))
            free_blocks(old);
    }
    keep_block(msg, c);
}

static inline void free_block(struct bk_msg *msg)
{
    unsigned c = msg->size_class;
    if (cache.room[c] > 0)
        keep_block(msg, c);
    else
        free_block_slowly(msg, c);
}

static __attribute__((noinline)) struct bk_msg *new_block_slowly(unsigned c, size_t len)
{
    if (cache.state == CACHE_NEW)
        start_cache();
    if (c != CLASS_LARGE && cache.state == CACHE_ON) {
        struct bk_msg *batch = cache.class[c].spare;
        cache.class[c].spare = NULL;
        if (batch || (batch = depot_take(c))) {
            cache.class[c].first = batch->next;
            cache.room[c] = 1;
            return batch;
        }
    }
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
        cache.room[c]++;
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
