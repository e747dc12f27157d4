/* SPDX-License-Identifier: MIT
 * Tests of the allocation calls: sizes, zeroing, the hook, failure. */
#include "base/alloc.h"

#include <stdlib.h>

#include "tests/alloc_sweep.h"
#include "tests/check.h"

static void test_sizes_overflow(void)
{
    /* volatile: the compiler would otherwise reject the sizes at compile time */
    volatile size_t huge = SIZE_MAX, half = SIZE_MAX / 2 + 2;
    CHECK(bki_alloc(huge) == NULL);
    CHECK(bki_alloc(half) == NULL);
    CHECK(bki_zalloc(huge) == NULL);
    CHECK(bki_realloc(NULL, half) == NULL);
    CHECK(bki_realloc_array(NULL, half, 2) == NULL); /* wraps round to 2 */
    CHECK(bki_realloc_array(NULL, 3, huge) == NULL);
    CHECK(bki_strndup("x", huge) == NULL);
}

static void test_failed_realloc_keeps_the_block(void)
{
    volatile size_t huge = SIZE_MAX;
    char *p = bki_strdup("kept");
    CHECK(p != NULL);
    CHECK(bki_realloc(p, huge) == NULL);
    CHECK_STR(p, "kept");
    bki_free(p);
}

static void test_zero_size_is_a_block(void)
{
    void *a = bki_alloc(0), *b = bki_zalloc(0), *c = bki_realloc_array(NULL, 0, 8);
    CHECK(a && b && c && a != b && b != c);
    a = bki_realloc(a, 0);
    CHECK(a != NULL);
    bki_free(a);
    bki_free(b);
    bki_free(c);
    bki_free(NULL);
}

static void test_zalloc_zeroes(void)
{
    for (int with_hook = 0; with_hook < 2; with_hook++) {
        if (with_hook)
            alloc_sweep_fail_nth(0);
        for (int round = 0; round < 2; round++) {
            unsigned char *p = bki_zalloc(100);
            CHECK(p != NULL);
            for (int i = 0; i < 100; i++)
                CHECK_EQ(p[i], 0);
            memset(p, 0xff, 100);
            bki_free(p);
        }
        if (with_hook)
            CHECK_EQ(alloc_sweep_end(), 0);
    }
}

static void test_strings(void)
{
    char *a = bki_strdup(""), *b = bki_strndup("a\0b-and-more", 3), *c = bki_strndup(NULL, 0);
    CHECK(a && b && c);
    CHECK_STR(a, "");
    CHECK_MEM(b, 4, "a\0b", 4);
    CHECK_STR(c, "");
    bki_free(a);
    bki_free(b);
    bki_free(c);
}

static size_t seen_size;
static void *seen_ptr;

static void *recording_hook(void *ptr, size_t size)
{
    seen_ptr = ptr;
    seen_size = size;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, size);
}

static void test_hook_sees_every_call(void)
{
    bk_set_allocator(recording_hook);
    void *p = bki_alloc(10);
    CHECK(p && seen_ptr == NULL);
    CHECK_EQ(seen_size, 10);
    p = bki_realloc_array(p, 5, 4);
    CHECK_EQ(seen_size, 20);
    void *last = p;
    seen_size = 99;
    bki_free(p);
    CHECK(seen_ptr == last);
    CHECK_EQ(seen_size, 0);
    seen_size = 99;
    bki_free(NULL); /* the hook is not bothered */
    CHECK_EQ(seen_size, 99);
    bk_set_allocator(NULL);
    bki_free(bki_alloc(7));
    CHECK_EQ(seen_size, 99);
}

static int three_allocations(void *ctx)
{
    int *runs = ctx;
    ++*runs;
    void *a = bki_alloc(1), *b = bki_zalloc(2);
    char *c = bki_strdup("c");
    int r = a && b && c ? 0 : -ENOMEM;
    bki_free(a);
    bki_free(b);
    bki_free(c);
    return r;
}

static void test_sweep_fails_each_in_turn(void)
{
    int runs = 0;
    CHECK_EQ(alloc_sweep(three_allocations, &runs), 3);
    CHECK_EQ(runs, 4);
}

static void *leaked;

static int leaking(void *ctx)
{
    (void)ctx;
    leaked = bki_alloc(1);
    return 0;
}

static void test_sweep_sees_a_leak(void)
{
    fprintf(stderr, "the next line is expected: ");
    CHECK_EQ(alloc_sweep(leaking, NULL), -1);
    bki_free(leaked);
}

static void test_version(void)
{
    int major, minor, patch, end = 0;
    CHECK_EQ(sscanf(bk_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
    CHECK_EQ(end, strlen(bk_version()));
}

CHECK_MAIN(TEST(test_sizes_overflow), TEST(test_failed_realloc_keeps_the_block),
           TEST(test_zero_size_is_a_block), TEST(test_zalloc_zeroes), TEST(test_strings),
           TEST(test_hook_sees_every_call), TEST(test_sweep_fails_each_in_turn),
           TEST(test_sweep_sees_a_leak), TEST(test_version))
