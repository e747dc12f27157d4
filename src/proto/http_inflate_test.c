/* SPDX-License-Identifier: MIT
 * Tests of undoing gzip and deflate: every format, cut anywhere, damaged anywhere. */
#include "proto/http_inflate.h"

#include <stdlib.h>

#include <zlib.h>

#include <beck/error.h>

#include "tests/alloc_sweep.h"
#include "tests/check.h"
#include "tests/guard_page.h"

#define GZIP (16 + MAX_WBITS)

static char plain[3000], coded[8000], result[6000];

static size_t compress_to(char *out, size_t out_len, const char *in, size_t in_len, int window_bits)
{
    z_stream z = {0};
    deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (uint8_t *)(uintptr_t)in;
    z.avail_in = (uInt)in_len;
    z.next_out = (uint8_t *)out;
    z.avail_out = (uInt)out_len;
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return z.total_out;
}

/* Compresses plain into coded + at; returns the length. */
static size_t compress_at(size_t at, int window_bits)
{
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (char)("beck "[i % 5] + (char)(i * i / 97 % 3));
    return compress_to(coded + at, sizeof coded - at, plain, sizeof plain, window_bits);
}

/* Decodes in[0..len), given in pieces of in_step into pieces of out_step; the length, or an error.
 */
static long decode_with(struct bki_inflate *f, const char *in, size_t len, size_t in_step,
                        size_t out_step)
{
    struct guard_page page = {0};
    size_t n_out = 0;
    int r = 0;
    for (size_t at = 0; r == 0 && at < len; at += in_step) {
        size_t n = len - at < in_step ? len - at : in_step, used, made = out_step;
        const char *piece = guard_page_put(&page, in + at, n);
        while (r == 0 && (n > 0 || made == out_step)) {
            r = bki_inflate_next(f, piece, n, &used, result + n_out, out_step, &made);
            n_out += made;
            piece += used;
            n -= used;
            if (r == 0 && made < out_step && n > 0)
                r = -EPROTO;
        }
    }
    if (r == 0)
        r = bki_inflate_end(f);
    guard_page_free(&page);
    return r < 0 ? r : (long)n_out;
}

static long decode(enum bki_coding coding, const char *in, size_t len, size_t in_step,
                   size_t out_step)
{
    struct bki_inflate *f = NULL;
    long n = bki_inflate_add(&f, coding);
    if (n == 0)
        n = decode_with(f, in, len, in_step, out_step);
    bki_inflate_free(&f);
    return n;
}

/* The same for gzip, then deflate. */
static long decode_twice(const char *in, size_t len, size_t in_step, size_t out_step)
{
    struct bki_inflate *f = NULL;
    long n = bki_inflate_add(&f, BKI_CODING_GZIP);
    if (n == 0)
        n = bki_inflate_add(&f, BKI_CODING_DEFLATE);
    if (n == 0)
        n = decode_with(f, in, len, in_step, out_step);
    bki_inflate_free(&f);
    return n;
}

static void check_all_cuts(enum bki_coding coding, int window_bits)
{
    size_t len = compress_at(0, window_bits);
    for (size_t in_step = 1; in_step < 8; in_step++)
        for (size_t out_step = 1; out_step < 600; out_step = out_step * 3 + 1) {
            memset(result, 0, sizeof result);
            CHECK_EQ(decode(coding, coded, len, in_step, out_step), sizeof plain);
            CHECK_MEM(result, sizeof plain, plain, sizeof plain);
        }
    CHECK_EQ(decode(coding, coded, len, len, 3000), sizeof plain);
    for (size_t n = 1; n < len; n++)
        CHECK_EQ(decode(coding, coded, n, n, 3000), -BK_EINCOMPLETE);
    CHECK_EQ(decode(coding, coded, 0, 1, 3000), 0);
}

static void gzip(void)
{
    check_all_cuts(BKI_CODING_GZIP, GZIP);
}

static void deflate_is_zlibs_format(void)
{
    check_all_cuts(BKI_CODING_DEFLATE, MAX_WBITS);
}

static void bare_deflate_is_recognised(void)
{
    check_all_cuts(BKI_CODING_DEFLATE, -MAX_WBITS);
}

static void gzip_of_several_members(void)
{
    size_t len = compress_at(0, GZIP);
    len += compress_at(len, GZIP);
    for (size_t step = 1; step < 50; step++) {
        CHECK_EQ(decode(BKI_CODING_GZIP, coded, len, step, 1000), 2 * sizeof plain);
        CHECK_MEM(result + sizeof plain, sizeof plain, plain, sizeof plain);
    }
}

static void data_behind_the_end_is_refused(void)
{
    size_t len = compress_at(0, GZIP);
    coded[len] = coded[len + 1] = 'x';
    CHECK_EQ(decode(BKI_CODING_GZIP, coded, len + 2, 1, 1000), -BK_EFORMAT);
    CHECK_EQ(decode(BKI_CODING_GZIP, coded, len + 2, len + 2, 1000), -BK_EFORMAT);
    len = compress_at(0, MAX_WBITS);
    CHECK_EQ(decode(BKI_CODING_DEFLATE, coded, len + 1, len + 1, 1000), -BK_EFORMAT);
}

static void damage_is_noticed(void)
{
    size_t len = compress_at(0, GZIP);
    for (size_t i = 10; i < len; i++) {
        coded[i] ^= 0x55;
        CHECK(decode(BKI_CODING_GZIP, coded, len, 100, 1000) < 0);
        coded[i] ^= 0x55;
    }
    CHECK_EQ(decode(BKI_CODING_GZIP, "not gzip at all", 15, 15, 100), -BK_EFORMAT);
    CHECK_EQ(decode(BKI_CODING_DEFLATE, "\xff\xff\xff", 3, 3, 100), -BK_EFORMAT);
}

static void one_coding_upon_the_other(void)
{
    static char twice[9000];
    size_t once = compress_at(0, GZIP);
    size_t len = compress_to(twice, sizeof twice, coded, once, MAX_WBITS);
    for (size_t in_step = 1; in_step < 8; in_step++)
        for (size_t out_step = 1; out_step < 600; out_step = out_step * 3 + 1) {
            memset(result, 0, sizeof result);
            CHECK_EQ(decode_twice(twice, len, in_step, out_step), sizeof plain);
            CHECK_MEM(result, sizeof plain, plain, sizeof plain);
        }
    for (size_t n = 1; n < len; n++)
        CHECK_EQ(decode_twice(twice, n, n, 3000), -BK_EINCOMPLETE);
    CHECK_EQ(decode_twice(twice, 0, 1, 3000), 0);
    len = compress_to(twice, sizeof twice, coded, once - 1, MAX_WBITS);
    CHECK_EQ(decode_twice(twice, len, len, 3000), -BK_EINCOMPLETE);
    coded[once - 1] ^= 1;
    len = compress_to(twice, sizeof twice, coded, once, MAX_WBITS);
    CHECK_EQ(decode_twice(twice, len, len, 3000), -BK_EFORMAT);
}

static void names(void)
{
    CHECK_EQ(bki_coding_named(bk_span_str("gzip")), BKI_CODING_GZIP);
    CHECK_EQ(bki_coding_named(bk_span_str("X-GZip")), BKI_CODING_GZIP);
    CHECK_EQ(bki_coding_named(bk_span_str("Deflate")), BKI_CODING_DEFLATE);
    CHECK_EQ(bki_coding_named(bk_span_str("br")), -1);
    CHECK_EQ(bki_coding_named(bk_span_str("")), -1);
}

static int scenario(void *ctx)
{
    long n = decode(*(enum bki_coding *)ctx, coded, 200, 50, 1000);
    return n == -BK_EINCOMPLETE ? 0 : (int)n;
}

static int scenario_twice(void *ctx)
{
    long n = decode_twice(ctx, 100, 50, 1000);
    return n == -BK_EINCOMPLETE ? 0 : (int)n;
}

static void without_memory(void)
{
    static char twice[9000];
    compress_to(twice, sizeof twice, coded, compress_at(0, GZIP), MAX_WBITS);
    CHECK(alloc_sweep(scenario_twice, twice) > 4);
    compress_at(0, GZIP);
    CHECK(alloc_sweep(scenario, &(enum bki_coding){BKI_CODING_GZIP}) > 2);
    compress_at(0, MAX_WBITS);
    CHECK(alloc_sweep(scenario, &(enum bki_coding){BKI_CODING_DEFLATE}) > 2);
}

CHECK_MAIN(TEST(gzip), TEST(deflate_is_zlibs_format), TEST(bare_deflate_is_recognised),
           TEST(gzip_of_several_members), TEST(data_behind_the_end_is_refused),
           TEST(damage_is_noticed), TEST(one_coding_upon_the_other), TEST(names),
           TEST(without_memory))
