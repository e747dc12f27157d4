/* SPDX-License-Identifier: MIT
 * Tests of the byte buffer: contents, limit, cost, failure. */
#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>

#include <beck/error.h>

#include "tests/alloc_sweep.h"
#include "tests/check.h"

#define CHECK_BUF(buf, text) CHECK_MEM(bki_buf_start(buf), bki_buf_len(buf), text, strlen(text))

static void test_append_consume(void)
{
    struct bki_buf buf;
    bki_buf_init(&buf, 1000);
    CHECK_EQ(bki_buf_len(&buf), 0);
    CHECK(bki_buf_start(&buf) == NULL && bki_buf_end(&buf) == NULL);
    CHECK_EQ(bki_buf_append(&buf, NULL, 0), 0);
    CHECK_EQ(bki_buf_append(&buf, "hello ", 6), 0);
    CHECK_EQ(bki_buf_append(&buf, "world", 5), 0);
    CHECK_BUF(&buf, "hello world");
    bki_buf_consume(&buf, 6);
    CHECK_BUF(&buf, "world");
    bki_buf_truncate(&buf, 3);
    CHECK_BUF(&buf, "wor");
    CHECK_EQ(bki_buf_span(&buf).len, 3);
    bki_buf_consume(&buf, 3);
    CHECK_EQ(bki_buf_room(&buf), buf.cap); /* an empty buffer starts over at its front */
    CHECK_EQ(bki_buf_append(&buf, "again", 5), 0);
    bki_buf_truncate(&buf, 0);
    CHECK_EQ(bki_buf_room(&buf), buf.cap);
    bki_buf_free(&buf);
    CHECK_EQ(bki_buf_append(&buf, "usable", 6), 0);
    CHECK_BUF(&buf, "usable");
    bki_buf_free(&buf);
}

static void test_reserve_and_commit(void)
{
    struct bki_buf buf;
    bki_buf_init(&buf, 1 << 20);
    CHECK_EQ(bki_buf_reserve(&buf, 5000), 0);
    CHECK(bki_buf_room(&buf) >= 5000);
    memcpy(bki_buf_end(&buf), "abc", 3);
    bki_buf_commit(&buf, 3);
    CHECK_BUF(&buf, "abc");
    size_t cap = buf.cap;
    CHECK_EQ(bki_buf_reserve(&buf, cap - 3), 0);
    CHECK_EQ(buf.cap, cap);
    bki_buf_free(&buf);
}

static void test_limit(void)
{
    struct bki_buf buf;
    volatile size_t huge = SIZE_MAX;
    bki_buf_init(&buf, 10);
    CHECK_EQ(bki_buf_append(&buf, "0123456789", 10), 0);
    CHECK_EQ(bki_buf_limit_left(&buf), 0);
    CHECK_EQ(bki_buf_append(&buf, "x", 1), -BK_ELIMIT);
    CHECK(strstr(bk_errmsg(), "limit of 10") != NULL);
    CHECK_EQ(bki_buf_reserve(&buf, huge), -BK_ELIMIT);
    CHECK_BUF(&buf, "0123456789");
    bki_buf_consume(&buf, 4);
    CHECK_EQ(bki_buf_append(&buf, "abcde", 5), -BK_ELIMIT);
    CHECK_EQ(bki_buf_append(&buf, "abcd", 4), 0);
    CHECK_BUF(&buf, "456789abcd");
    CHECK(buf.cap <= 20);
    bki_buf_free(&buf);
}

static void test_no_limit_overflows_nothing(void)
{
    struct bki_buf buf;
    volatile size_t huge = SIZE_MAX;
    bki_buf_init(&buf, huge);
    CHECK_EQ(bki_buf_append(&buf, "x", 1), 0);
    CHECK_EQ(bki_buf_reserve(&buf, huge), -BK_ELIMIT);
    CHECK_EQ(bki_buf_reserve(&buf, huge - 1), -ENOMEM);
    CHECK_BUF(&buf, "x");
    bki_buf_free(&buf);
}

static void test_compact(void)
{
    struct bki_buf buf;
    char big[10000];
    memset(big, 'x', sizeof big);
    bki_buf_init(&buf, 1 << 20);
    CHECK_EQ(bki_buf_append(&buf, big, sizeof big), 0);
    CHECK_EQ(bki_buf_append(&buf, "tail", 4), 0);
    bki_buf_consume(&buf, sizeof big);
    bki_buf_compact(&buf);
    CHECK_BUF(&buf, "tail");
    CHECK_EQ(buf.head, 0);
    CHECK(buf.cap <= 256);
    bki_buf_consume(&buf, 4);
    bki_buf_compact(&buf);
    CHECK(buf.data == NULL); /* idle and empty: no memory at all */
    bki_buf_compact(&buf);
    CHECK_EQ(buf.limit, 1 << 20);
}

/* A window of `held` bytes slides over a long stream; the memory stays small and the bytes right.
 */
static void slide(size_t held, size_t step, size_t limit)
{
    struct bki_buf buf;
    unsigned char in = 0, out = 0;
    bki_buf_init(&buf, limit);
    for (size_t done = 0; done < 200000; done += step) {
        unsigned char chunk[64];
        for (size_t i = 0; i < step; i++)
            chunk[i] = in++;
        CHECK_EQ(bki_buf_append(&buf, chunk, step), 0);
        while (bki_buf_len(&buf) > held) {
            CHECK_EQ((unsigned char)*bki_buf_start(&buf), out++);
            bki_buf_consume(&buf, 1);
        }
    }
    CHECK(buf.cap <= 2 * limit && buf.cap <= 4 * (held + step) + 256);
    bki_buf_free(&buf);
}

static void test_sliding_window(void)
{
    slide(0, 1, 1);
    slide(1, 1, 2);
    slide(100, 7, 107);
    slide(5000, 64, 5064);
    slide(5000, 64, 1 << 20);
}

/* Bytes moved or copied in a long life, counted by watching where the data goes. */
static void test_cost_is_linear(void)
{
    enum { HELD = 100000, TOTAL = 3000000 };
    struct bki_buf buf;
    bki_buf_init(&buf, HELD + 1);
    size_t moved = 0;
    for (size_t i = 0; i < TOTAL; i++) {
        size_t head = buf.head;
        char *data = buf.data;
        CHECK_EQ(bki_buf_append(&buf, "x", 1), 0);
        if (buf.data != data || buf.head != head)
            moved += bki_buf_len(&buf);
        if (bki_buf_len(&buf) > HELD)
            bki_buf_consume(&buf, 1);
    }
    CHECK(moved <= 3 * (size_t)TOTAL);
    bki_buf_free(&buf);
}

static int scenario(void *ctx)
{
    (void)ctx;
    struct bki_buf buf;
    int r = 0;
    size_t n = 0;
    bki_buf_init(&buf, 100000);
    for (; r == 0 && n < 1000; n++)
        r = bki_buf_append(&buf, "0123456789", 10);
    if (r < 0)
        n--;
    if (bki_buf_len(&buf) != n * 10)
        r = -EPROTO;
    if (n > 900) {
        bki_buf_consume(&buf, 9000);
        bki_buf_compact(&buf); /* shrinks, or does not; never fails */
        if (memcmp(bki_buf_start(&buf), "0123456789", 10) != 0)
            r = -EPROTO;
    }
    bki_buf_free(&buf);
    return r;
}

static void test_without_memory(void)
{
    CHECK(alloc_sweep(scenario, NULL) >= 6);
}

CHECK_MAIN(TEST(test_append_consume), TEST(test_reserve_and_commit), TEST(test_limit),
           TEST(test_no_limit_overflows_nothing), TEST(test_compact), TEST(test_sliding_window),
           TEST(test_cost_is_linear), TEST(test_without_memory))
