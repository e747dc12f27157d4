/* SPDX-License-Identifier: MIT
 * Tests of the min-heap: order, stability, removal of any node, memory. */
#include "base/heap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

struct timer {
    struct bki_heap_node node;
    int64_t key;
    int number;
};

static uint32_t random_state = 1;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static struct timer *pop(struct bki_heap *heap)
{
    struct bki_heap_node *node = bki_heap_pop(heap);
    return node ? bki_container(node, struct timer, node) : NULL;
}

/* Whether every entry knows its place and no child is less than its parent. */
static bool well_formed(const struct bki_heap *heap)
{
    for (size_t i = 0; i < heap->len; i++) {
        const struct bki_heap_entry *e = &heap->entries[i],
                                    *up = &heap->entries[i ? (i - 1) / 4 : 0];
        if (e->node->place != i + 1)
            return false;
        if (i && (e->key < up->key || (e->key == up->key && e->seq < up->seq)))
            return false;
    }
    return true;
}

static void test_empty(void)
{
    struct bki_heap heap = {0};
    CHECK(bki_heap_peek(&heap) == NULL);
    CHECK(bki_heap_pop(&heap) == NULL);
    CHECK_EQ(bki_heap_min_key(&heap), INT64_MAX);
    bki_heap_free(&heap);
}

static void test_extreme_keys(void)
{
    static const int64_t keys[] = {0, INT64_MAX, -1, INT64_MIN, 1, INT64_MAX - 1, INT64_MIN + 1};
    static const int64_t sorted[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    struct timer t[7] = {0};
    struct bki_heap heap = {0};
    for (int i = 0; i < 7; i++) {
        t[i].key = keys[i];
        CHECK_EQ(bki_heap_insert(&heap, &t[i].node, keys[i]), 0);
    }
    for (int i = 0; i < 7; i++) {
        CHECK_EQ(bki_heap_min_key(&heap), sorted[i]);
        CHECK_EQ(pop(&heap)->key, sorted[i]);
    }
    bki_heap_free(&heap);
}

static void test_equal_keys_leave_in_order(void)
{
    enum { N = 1000 };
    static struct timer t[N];
    struct bki_heap heap = {0};
    for (int i = 0; i < N; i++) {
        t[i] = (struct timer){.key = (int64_t)next_random() % 7, .number = i};
        CHECK_EQ(bki_heap_insert(&heap, &t[i].node, t[i].key), 0);
    }
    struct timer *before = pop(&heap), *now;
    for (; (now = pop(&heap)); before = now)
        CHECK(before->key < now->key || (before->key == now->key && before->number < now->number));
    bki_heap_free(&heap);
}

static void test_remove_any(void)
{
    enum { N = 300 };
    static struct timer t[N];
    struct bki_heap heap = {0};
    memset(t, 0, sizeof t);
    for (int step = 0; step < 50000; step++) {
        struct timer *one = &t[next_random() % N];
        if (bki_heap_contains(&one->node)) {
            bki_heap_remove(&heap, &one->node);
            CHECK(!bki_heap_contains(&one->node));
        } else {
            one->key = (int64_t)next_random() % 100;
            CHECK_EQ(bki_heap_insert(&heap, &one->node, one->key), 0);
            CHECK(bki_heap_contains(&one->node));
        }
        if (step % 16 == 0)
            CHECK(well_formed(&heap));
        if (step % 1000 == 0) { /* against a scan of all */
            int64_t least = INT64_MAX;
            size_t n = 0;
            for (int i = 0; i < N; i++)
                if (bki_heap_contains(&t[i].node)) {
                    least = t[i].key < least ? t[i].key : least;
                    n++;
                }
            CHECK_EQ(heap.len, n);
            CHECK_EQ(bki_heap_min_key(&heap), least);
        }
    }
    bki_heap_free(&heap);
    for (int i = 0; i < N; i++)
        CHECK(!bki_heap_contains(&t[i].node));
}

static void test_a_million(void)
{
    enum { N = 1000000 };
    struct timer *t = calloc(N, sizeof *t);
    struct bki_heap heap = {0};
    CHECK(t != NULL);
    for (int i = 0; i < N; i++)
        CHECK_EQ(bki_heap_insert(&heap, &t[i].node, t[i].key = (int64_t)next_random()), 0);
    CHECK(heap.cap >= N);
    int64_t before = INT64_MIN;
    for (int i = 0; i < N; i++) {
        struct timer *one = pop(&heap);
        CHECK(one && one->key >= before);
        before = one->key;
    }
    CHECK_EQ(heap.len, 0);
    CHECK(heap.cap <= 64); /* gave its memory back */
    bki_heap_free(&heap);
    free(t);
}

static int scenario(void *ctx)
{
    (void)ctx;
    struct timer t[200] = {0};
    struct bki_heap heap = {0};
    int r = 0;
    size_t n = 0;
    while (r == 0 && n < 200)
        if ((r = bki_heap_insert(&heap, &t[n].node, (int64_t)(200 - n))) == 0)
            n++;
    if (heap.len != n || !well_formed(&heap) || (n < 200 && bki_heap_contains(&t[n].node)))
        r = -EPROTO;
    while (n > 0) /* a shrink that fails is not noticed */
        if (pop(&heap) != &t[--n])
            r = -EPROTO;
    bki_heap_free(&heap);
    return r;
}

static void test_without_memory(void)
{
    CHECK(alloc_sweep(scenario, NULL) >= 4);
}

CHECK_MAIN(TEST(test_empty), TEST(test_extreme_keys), TEST(test_equal_keys_leave_in_order),
           TEST(test_remove_any), TEST(test_a_million), TEST(test_without_memory))
