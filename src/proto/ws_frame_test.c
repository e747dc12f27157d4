/* SPDX-License-Identifier: MIT
 * Tests of WebSocket frame headers, masking at any length, place and offset, and masking keys. */
#include "proto/ws_frame.h"

#include <beck/error.h>
#include <errno.h>

#include "tests/check.h"
#include "tests/guard_page.h"

/* Writes f, reads it back, also from each part of it. */
static int round_trip(const struct bki_ws_frame *f)
{
    static struct guard_page page;
    char head[BKI_WS_HEAD_MAX];
    struct bki_ws_frame got;
    size_t n = bki_ws_frame_write(head, f);
    if (bki_ws_head_size(head) != n)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (bki_ws_frame_read(&got, guard_page_put(&page, head, i), i) != 0)
            return -2;
    if (bki_ws_frame_read(&got, guard_page_put(&page, head, n), n) != (int)n)
        return -3;
    if (got.len != f->len || got.opcode != f->opcode || got.rsv != f->rsv || got.fin != f->fin ||
        got.masked != f->masked || (f->masked && got.key != f->key))
        return -4;
    return (int)n;
}

static void test_headers(void)
{
    static const struct {
        uint64_t len;
        int size;
    } cases[] = {{0, 2},     {1, 2},      {125, 2},       {126, 4},
                 {65535, 4}, {65536, 10}, {1u << 24, 10}, {INT64_MAX, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int first = 0; first < 256; first++) {
            struct bki_ws_frame f = {.len = cases[i].len,
                                     .fin = first & 0x80,
                                     .rsv = (uint8_t)(first & 0x70),
                                     .opcode = (uint8_t)(first & 0x0f)};
            CHECK_EQ(round_trip(&f), cases[i].size);
            f.masked = true;
            f.key = 0x12345678;
            CHECK_EQ(round_trip(&f), cases[i].size + 4);
        }
    }
}

/* The examples of RFC 6455 section 5.7. */
static void test_rfc_examples(void)
{
    struct bki_ws_frame f;
    char text[5];
    const char *masked = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    CHECK_EQ(bki_ws_frame_read(&f, masked, 11), 6);
    CHECK(f.fin && f.masked && f.opcode == BKI_WS_TEXT && f.len == 5 && f.rsv == 0);
    bki_ws_mask(text, masked + 6, 5, f.key, 0);
    CHECK_MEM(text, 5, "Hello", 5);
    CHECK_EQ(bki_ws_frame_read(&f, "\x82\x7e\x01\x00", 4), 4);
    CHECK(f.fin && !f.masked && f.opcode == BKI_WS_BINARY && f.len == 256);
    CHECK_EQ(bki_ws_frame_read(&f, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10), 10);
    CHECK_EQ(f.len, 65536);
}

static void test_lengths_refused(void)
{
    struct bki_ws_frame f;
    CHECK_EQ(bki_ws_frame_read(&f, "\x82\x7e\x00\x7d", 4), -BK_EPROTO);
    CHECK_EQ(bki_ws_frame_read(&f, "\x82\x7f\0\0\0\0\0\0\xff\xff", 10), -BK_EPROTO);
    CHECK_EQ(bki_ws_frame_read(&f, "\x82\x7f\x80\0\0\0\0\0\0\0", 10), -BK_EPROTO);
}

static void test_masking(void)
{
    enum { MOST = 200 };
    char src[MOST + 32], want[MOST], far[MOST + 32];
    const uint8_t key_bytes[4] = {0x01, 0x80, 0x7f, 0xfe};
    uint32_t key;
    memcpy(&key, key_bytes, 4);
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (char)(i * 31 + 7);
    for (size_t len = 0; len <= MOST; len++) {
        for (size_t place = 0; place < 17; place++) {
            uint64_t offset = len * 5 + place;
            for (size_t i = 0; i < len; i++)
                want[i] = (char)(src[place + i] ^ key_bytes[(offset + i) % 4]);
            memset(far, '#', sizeof far);
            bki_ws_mask(far + 3, src + place, len, key, offset);
            CHECK_MEM(far + 3, len, want, len);
            CHECK(far[2] == '#' && far[3 + len] == '#');
            memset(far, '#', sizeof far);
            memcpy(far + place, src + place, len); /* in place */
            bki_ws_mask(far + place, far + place, len, key, offset);
            CHECK_MEM(far + place, len, want, len);
            CHECK(far[place + len] == '#');
        }
    }
    bki_ws_mask(NULL, NULL, 0, key, 3);
}

static void test_masking_reads_no_further(void)
{
    static struct guard_page page;
    char data[130] = {0}, out[130];
    for (size_t len = 0; len <= sizeof data; len++) {
        char *edge = guard_page_put(&page, data, len);
        bki_ws_mask(out, edge, len, 0x01020304, 1);
        bki_ws_mask(edge, edge, len, 0x01020304, 1);
        CHECK_MEM(edge, len, out, len);
    }
}

static void test_taking_copies_unmasks_and_tells_ascii(void)
{
    static struct guard_page page;
    char src[160], want[160], out[162];
    for (size_t len = 0; len <= sizeof src; len++) {
        for (int masked = 0; masked < 2; masked++) {
            uint32_t key = masked ? 0x817f02fe : 0;
            for (size_t i = 0; i < len; i++)
                want[i] = (char)('!' + i % 90);
            for (size_t high = 0; high <= len; high++) { /* at each place, and nowhere */
                if (high < len)
                    want[high] = (char)(0x80 | want[high]);
                bki_ws_mask(src, want, len, key, 0);
                memset(out, '#', sizeof out);
                bool ascii = bki_ws_take(out + 1, guard_page_put(&page, src, len), len, key);
                CHECK_MEM(out + 1, len, want, len);
                CHECK(out[0] == '#' && out[len + 1] == '#');
                CHECK_EQ(ascii, high == len);
                if (high < len)
                    want[high] = (char)(0x7f & want[high]);
            }
        }
    }
}

static int n_fills;

static int count_fills(void *out, size_t len)
{
    n_fills++;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i + (size_t)n_fills);
    return n_fills > 2 ? -EIO : 0;
}

static void test_keys(void)
{
    struct bki_ws_keys keys = {.fill = count_fills};
    uint32_t key, last = 0;
    for (int i = 0; i < 128; i++) {
        CHECK_EQ(bki_ws_key_take(&keys, &key), 0);
        CHECK(key != last);
        last = key;
    }
    CHECK_EQ(n_fills, 2); /* 64 keys a batch */
    CHECK_EQ(bki_ws_key_take(&keys, &key), -EIO);
    CHECK_EQ(bki_ws_key_take(&keys, &key), -EIO);

    struct bki_ws_keys kernel = {0};
    uint32_t all_and = ~0u, all_or = 0;
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(bki_ws_key_take(&kernel, &key), 0);
        all_and &= key;
        all_or |= key;
    }
    CHECK(all_and == 0 && all_or == ~0u);
}

CHECK_MAIN(TEST(test_headers), TEST(test_rfc_examples), TEST(test_lengths_refused),
           TEST(test_masking), TEST(test_masking_reads_no_further),
           TEST(test_taking_copies_unmasks_and_tells_ascii), TEST(test_keys))
