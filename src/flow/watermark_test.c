/* SPDX-License-Identifier: MIT
 * The watermark: contiguous, growing, frozen before what must come again. */
#include "flow/watermark.h"

#include "tests/check.h"

static struct bki_watermark w;
static struct bki_mark marks[64];

static void take(int n)
{
    bki_watermark_init(&w);
    memset(marks, 0, sizeof marks);
    for (int i = 0; i < n; i++)
        bki_watermark_take(&w, &marks[i]);
}

static bool settle(uint64_t n)
{
    return bki_watermark_settle(&w, &marks[n - 1], false);
}

static void test_in_order(void)
{
    take(3);
    CHECK_EQ(marks[0].n, 1);
    CHECK_EQ(marks[2].n, 3);
    for (uint64_t n = 1; n <= 3; n++) {
        CHECK(settle(n));
        CHECK_EQ(w.committed, n);
    }
}

static void test_out_of_order(void)
{
    take(5);
    CHECK(!settle(2));
    CHECK(!settle(4));
    CHECK_EQ(w.committed, 0);
    CHECK(settle(1));
    CHECK_EQ(w.committed, 2);
    CHECK(settle(3));
    CHECK_EQ(w.committed, 4);
    CHECK(settle(5));
    CHECK_EQ(w.committed, 5);
}

/* One settled, two failing, three dropped: the watermark stays at one. */
static void test_never_passes_a_failure(void)
{
    take(3);
    CHECK(settle(1));
    CHECK(!bki_watermark_settle(&w, &marks[1], true));
    CHECK(!settle(3));
    CHECK_EQ(w.committed, 1);
}

static void test_the_first_failure_counts(void)
{
    take(6);
    CHECK(!bki_watermark_settle(&w, &marks[4], true));
    CHECK(!bki_watermark_settle(&w, &marks[2], true));
    CHECK(settle(1));
    CHECK(settle(2));
    CHECK(!settle(4));
    CHECK(!settle(6));
    CHECK_EQ(w.committed, 2);
}

/* Every order of settling five items, against a watermark computed naively. */
static void check_order(const int *order, int n)
{
    bool settled[8] = {false};
    take(n);
    for (int i = 0; i < n; i++) {
        uint64_t before = w.committed, want = 0;
        settled[order[i]] = true;
        while (want < (uint64_t)n && settled[want])
            want++;
        bool grew = settle((uint64_t)order[i] + 1);
        CHECK_EQ(w.committed, want);
        CHECK_EQ(grew, want > before);
    }
}

static void permute(int *order, int n, int fixed)
{
    if (fixed == n)
        check_order(order, n);
    for (int i = fixed; i < n; i++) {
        int t = order[fixed];
        order[fixed] = order[i];
        order[i] = t;
        permute(order, n, fixed + 1);
        order[i] = order[fixed];
        order[fixed] = t;
    }
}

static void test_every_order(void)
{
    int order[5] = {0, 1, 2, 3, 4};
    permute(order, 5, 0);
}

CHECK_MAIN(TEST(test_in_order), TEST(test_out_of_order), TEST(test_never_passes_a_failure),
           TEST(test_the_first_failure_counts), TEST(test_every_order))
