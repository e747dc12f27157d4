/* SPDX-License-Identifier: MIT
 * Tests of messages: bytes, sharing, the cache and its bound, threads, failure. */
#include <beck/msg.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <beck/error.h>

#include "base/msg_internal.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

static void test_new_write_read(void)
{
    bk_msg *msg = NULL;
    CHECK_EQ(bk_msg_new(&msg, 5), 0);
    CHECK_EQ(bk_msg_len(msg), 5);
    CHECK_EQ(bk_msg_kind_get(msg), BK_TEXT);
    memcpy(bk_msg_data(msg), "hello", 5);
    CHECK_MEM(bk_msg_span(msg).data, bk_msg_span(msg).len, "hello", 5);
    bk_msg_kind_set(msg, BK_BINARY);
    CHECK_EQ(bk_msg_kind_get(msg), BK_BINARY);
    bk_msg_free(&msg);
    CHECK(msg == NULL);
    bk_msg_free(&msg); /* nothing to free is fine */
}

static void test_a_reused_block_is_text_again(void)
{
    bk_msg *msg = NULL;
    CHECK_EQ(bk_msg_new(&msg, 5), 0);
    bk_msg_kind_set(msg, BK_BINARY);
    bk_msg_free(&msg);
    CHECK_EQ(bk_msg_new(&msg, 5), 0);
    CHECK_EQ(bk_msg_kind_get(msg), BK_TEXT);
    bk_msg_free(&msg);
}

static void test_empty(void)
{
    bk_msg *msg = NULL, *part = NULL;
    CHECK_EQ(bk_msg_copy(&msg, NULL, 0), 0);
    CHECK_EQ(bk_msg_len(msg), 0);
    CHECK(bk_msg_data(msg) != NULL);
    CHECK_EQ(bk_msg_slice(&part, msg, 0, 0), 0);
    bk_msg_free(&msg);
    CHECK_EQ(bk_msg_len(part), 0);
    bk_msg_free(&part);
}

/* Every size around every block size keeps its bytes, and its neighbours' too. */
static void test_every_size(void)
{
    for (size_t round = 0; round < 2; round++) { /* from the allocator, then from the cache */
        for (size_t block = 64; block <= 256 * 1024; block += block / 2) {
            for (size_t len = block - 34; len <= block + 2; len++) {
                bk_msg *a = NULL, *b = NULL;
                CHECK_EQ(bk_msg_new(&a, len), 0);
                CHECK_EQ(bk_msg_new(&b, len), 0);
                CHECK_EQ((uintptr_t)bk_msg_data(a) % 16, 0);
                memset(bk_msg_data(a), 1, len);
                memset(bk_msg_data(b), 2, len);
                CHECK(bk_msg_data(a)[0] == 1 && bk_msg_data(a)[len - 1] == 1);
                CHECK(bk_msg_data(b)[0] == 2 && bk_msg_data(b)[len - 1] == 2);
                CHECK_EQ(bk_msg_len(a), len);
                bk_msg_free(&a);
                bk_msg_free(&b);
            }
        }
    }
}

static void test_slices_share(void)
{
    bk_msg *whole = NULL, *hello = NULL, *ell = NULL;
    CHECK_EQ(bk_msg_copy(&whole, "hello world", 11), 0);
    bk_msg_kind_set(whole, BK_BINARY);
    CHECK_EQ(bk_msg_slice(&hello, whole, 0, 5), 0);
    CHECK_EQ(bk_msg_slice(&ell, hello, 1, 3), 0); /* of a slice */
    CHECK(bk_msg_data(ell) == bk_msg_data(whole) + 1);
    CHECK_EQ(bk_msg_kind_get(ell), BK_BINARY);
    bk_msg_free(&whole); /* the storage stays */
    bk_msg_free(&hello);
    CHECK_MEM(bk_msg_data(ell), bk_msg_len(ell), "ell", 3);
    bk_msg_free(&ell);
}

static void test_slice_ranges(void)
{
    bk_msg *msg = NULL, *part = NULL;
    CHECK_EQ(bk_msg_copy(&msg, "12345678", 8), 0);
    CHECK_EQ(bk_msg_slice(&part, msg, 8, 0), 0);
    bk_msg_free(&part);
    CHECK_EQ(bk_msg_slice(&part, msg, 9, 0), -EINVAL);
    CHECK_EQ(bk_msg_slice(&part, msg, 3, 6), -EINVAL);
    CHECK_STR(bk_errmsg(), "bytes 3+6 lie outside a message of 8");
    CHECK_EQ(bk_msg_slice(&part, msg, 1, SIZE_MAX), -EINVAL); /* the sum wraps round */
    CHECK_EQ(bk_msg_slice(&part, msg, SIZE_MAX, 1), -EINVAL);
    CHECK(part == NULL);
    bk_msg_free(&msg);
}

static void test_truncate(void)
{
    bk_msg *msg = NULL, *part = NULL;
    CHECK_EQ(bk_msg_copy(&msg, "hello", 5), 0);
    CHECK_EQ(bk_msg_slice(&part, msg, 1, 4), 0);
    CHECK_EQ(bk_msg_truncate(msg, 6), -EINVAL);
    CHECK_EQ(bk_msg_truncate(msg, 5), 0);
    CHECK_EQ(bk_msg_truncate(msg, 2), 0);
    CHECK_MEM(bk_msg_data(msg), bk_msg_len(msg), "he", 2);
    CHECK_EQ(bk_msg_truncate(msg, 3), -EINVAL);
    CHECK_MEM(bk_msg_data(part), bk_msg_len(part), "ello", 4);
    bk_msg_free(&msg);
    bk_msg_free(&part);
}

static void test_impossible_sizes(void)
{
    bk_msg *msg = NULL;
    volatile size_t huge = SIZE_MAX;
    CHECK_EQ(bk_msg_new(&msg, huge), -ENOMEM);
    CHECK_EQ(bk_msg_new(&msg, huge - 16), -ENOMEM);
    CHECK_EQ(bk_msg_new(&msg, huge / 2), -ENOMEM);
    CHECK(strstr(bk_errmsg(), "no memory for a message of") != NULL);
    CHECK(msg == NULL);
}

/* Live blocks that remain when `n` messages of len bytes were made and freed. */
static long kept_after(size_t n, size_t len)
{
    bk_msg **all = calloc(n, sizeof *all);
    long bad = all ? 0 : 1;
    for (size_t i = 0; !bad && i < n; i++)
        bad += bk_msg_new(&all[i], len) != 0;
    for (size_t i = 0; all && i < n; i++)
        bk_msg_free(&all[i]);
    free(all);
    return bad ? -1 : atomic_load(&alloc_sweep_live);
}

static bool cache_in_use(void)
{
    alloc_sweep_fail_nth(0);
    long kept = kept_after(1, 1);
    alloc_sweep_end();
    return kept == 1;
}

static void test_the_cache_is_bounded(void)
{
    if (!cache_in_use()) /* a sanitizer build */
        return;
    const long bound = 4 * 1024 * 1024; /* of the depot; of each size a thread has two batches */
    alloc_sweep_fail_nth(0);
    CHECK_EQ(kept_after(100, 1000), 100);
    CHECK_EQ(kept_after(100, 1000), 100); /* the same again */
    bki_msg_cache_trim();
    CHECK_EQ(kept_after(200, 65504), bound / 65536 + 2);
    CHECK_EQ(kept_after(200, 65504), bound / 65536 + 2);
    CHECK_EQ(kept_after(20, 65505), bound / 65536 + 2); /* larger ones are never kept */
    /* A new size takes the old one's place in the depot. */
    CHECK_EQ(kept_after(200000, 10), bound / 64 + 2 * 32 + 2);
    CHECK_EQ(alloc_sweep_end(), 0);
}

/* What was once in heavy use, and left the cache again, does not count for what is in it now. */
static void test_the_cache_follows_the_use(void)
{
    if (!cache_in_use())
        return;
    alloc_sweep_fail_nth(0);
    for (int i = 0; i < 100000; i++)
        CHECK_EQ(kept_after(1, 1000), 1);
    CHECK(kept_after(100, 65504) >= 63); /* full */
    CHECK(kept_after(200, 1000) >= 200); /* they emptied the depot of the others */
    CHECK_EQ(alloc_sweep_end(), 0);
}

static void *make_and_free(void *arg)
{
    bk_msg **handed = arg;
    bk_msg_free(handed); /* made by another thread */
    for (int i = 0; i < 100; i++) {
        bk_msg *msg = NULL;
        if (bk_msg_copy(&msg, "x", 1) < 0)
            return NULL;
        bk_msg_free(&msg);
    }
    bk_msg_new(handed, 10);
    return NULL;
}

enum { MADE = 100000, AT_A_TIME = 500 };

static void *free_all(void *arg)
{
    bk_msg **msgs = arg;
    for (int i = 0; i < AT_A_TIME; i++)
        bk_msg_free(&msgs[i]);
    return NULL;
}

/* One thread makes them and others free them: the blocks come back. */
static void test_what_others_free_is_made_again(void)
{
    if (!cache_in_use())
        return;
    alloc_sweep_fail_nth(0);
    bk_msg *msgs[AT_A_TIME] = {NULL};
    for (int n = 0; n < MADE; n += AT_A_TIME) {
        pthread_t thread;
        for (int i = 0; i < AT_A_TIME; i++)
            CHECK_EQ(bk_msg_copy(&msgs[i], "x", 1), 0);
        CHECK_EQ(pthread_create(&thread, NULL, free_all, msgs), 0);
        pthread_join(thread, NULL);
    }
    /* Of each lot a thread keeps two batches at most, and frees them with itself. */
    long allocated = -atomic_load(&alloc_sweep_until_failure);
    CHECK(allocated < MADE / AT_A_TIME * 100);
    CHECK_EQ(alloc_sweep_end(), 0);
}

/* Threads that make, pass on and free messages of several sizes, all at once. */
enum { PASSERS = 4, PASSES = 20000 };

static _Atomic(bk_msg *) passed[8];

static void *pass_around(void *arg)
{
    static const size_t sizes[] = {1, 40, 3000, 60000};
    unsigned x = (unsigned)(uintptr_t)arg * 7919 + 1;
    for (int i = 0; i < PASSES; i++) {
        x = x * 1103515245 + 12345;
        size_t len = sizes[(x >> 16) % 4];
        bk_msg *msg = NULL;
        if (bk_msg_new(&msg, len) < 0)
            return arg;
        memset(bk_msg_data(msg), (int)len & 0x7f, len);
        msg = atomic_exchange(&passed[(x >> 20) % 8], msg);
        if (msg && bk_msg_data(msg)[bk_msg_len(msg) - 1] != ((int)bk_msg_len(msg) & 0x7f))
            return arg;
        bk_msg_free(&msg);
    }
    return NULL;
}

static void test_threads_share_the_depot(void)
{
    pthread_t threads[PASSERS];
    alloc_sweep_fail_nth(0);
    for (uintptr_t i = 0; i < PASSERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, pass_around, (void *)(i + 1)), 0);
    for (int i = 0; i < PASSERS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(!failed);
    }
    for (int i = 0; i < 8; i++) {
        bk_msg *msg = atomic_exchange(&passed[i], NULL);
        bk_msg_free(&msg);
    }
    CHECK_EQ(alloc_sweep_end(), 0);
}

static void test_a_thread_empties_its_cache(void)
{
    alloc_sweep_fail_nth(0);
    bk_msg *msg = NULL;
    pthread_t thread;
    CHECK_EQ(bk_msg_new(&msg, 1000), 0);
    CHECK_EQ(pthread_create(&thread, NULL, make_and_free, &msg), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(msg != NULL);
    CHECK_EQ(atomic_load(&alloc_sweep_live), 1);
    bk_msg_free(&msg);
    CHECK_EQ(alloc_sweep_end(), 0);
}

static pthread_key_t late_key;

static void free_late(void *value)
{
    bk_msg *msg = value;
    bk_msg_free(&msg);
}

/* A message that some other thread-exit handler frees: after the cache was emptied when it was in
 * use, before it was ever used otherwise. */
static void *leave_one(void *use_cache)
{
    bk_msg *msg = NULL;
    if (use_cache && bk_msg_new(&msg, 10) == 0)
        bk_msg_free(&msg);
    if (bk_msg_new(&msg, 10) == 0)
        pthread_setspecific(late_key, msg);
    return NULL;
}

static void test_a_free_while_the_thread_ends(void)
{
    alloc_sweep_fail_nth(0);
    pthread_t thread;
    CHECK_EQ(pthread_key_create(&late_key, free_late), 0);
    for (int use_cache = 0; use_cache < 2; use_cache++) {
        CHECK_EQ(pthread_create(&thread, NULL, leave_one, use_cache ? &thread : NULL), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    pthread_key_delete(late_key);
    CHECK_EQ(alloc_sweep_end(), 0);
}

struct sharing {
    bk_msg *part;
    bool intact;
};

static void *read_and_free(void *arg)
{
    struct sharing *s = arg;
    s->intact = true;
    for (int i = 0; i < 1000; i++) {
        bk_msg *again = NULL;
        if (bk_msg_slice(&again, s->part, 1, 2) < 0)
            s->intact = false;
        else
            s->intact &= memcmp(bk_msg_data(again), "bc", 2) == 0;
        bk_msg_free(&again);
    }
    bk_msg_free(&s->part);
    return NULL;
}

static void test_threads_share_a_block(void)
{
    enum { N = 4, ROUNDS = 50 };
    for (int round = 0; round < ROUNDS; round++) {
        struct sharing s[N] = {0};
        pthread_t threads[N];
        bk_msg *whole = NULL;
        CHECK_EQ(bk_msg_copy(&whole, "abcd", 4), 0);
        for (int i = 0; i < N; i++)
            CHECK_EQ(bk_msg_slice(&s[i].part, whole, 0, 4), 0);
        for (int i = 0; i < N; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, read_and_free, &s[i]), 0);
        bk_msg_free(&whole);
        for (int i = 0; i < N; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        for (int i = 0; i < N; i++)
            CHECK(s[i].intact && !s[i].part);
    }
}

static int scenario(void *ctx)
{
    (void)ctx;
    bk_msg *copy = NULL, *large = NULL, *part = NULL;
    int r = bk_msg_copy(&copy, "some bytes", 10);
    if (r == 0)
        r = bk_msg_new(&large, 100000);
    if (r == 0)
        r = bk_msg_slice(&part, large, 5, 10);
    if (r < 0 && part)
        r = -EPROTO;
    bk_msg_free(&copy);
    bk_msg_free(&large);
    bk_msg_free(&part);
    return r;
}

static void test_without_memory(void)
{
    CHECK_EQ(alloc_sweep(scenario, NULL), 3);
}

CHECK_MAIN(TEST(test_new_write_read), TEST(test_a_reused_block_is_text_again), TEST(test_empty),
           TEST(test_every_size), TEST(test_slices_share), TEST(test_slice_ranges),
           TEST(test_truncate), TEST(test_impossible_sizes), TEST(test_the_cache_is_bounded),
           TEST(test_the_cache_follows_the_use), TEST(test_what_others_free_is_made_again),
           TEST(test_threads_share_the_depot), TEST(test_a_thread_empties_its_cache),
           TEST(test_a_free_while_the_thread_ends), TEST(test_threads_share_a_block),
           TEST(test_without_memory))
