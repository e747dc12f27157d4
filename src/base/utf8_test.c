/* SPDX-License-Identifier: MIT
 * Tests of the UTF-8 validator, against a table of cases and against a naive decoder. */
#include "base/utf8.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/check.h"

/* Decodes one character the slow and obvious way; returns its length, or 0 when there is none. */
static size_t naive_decode(const unsigned char *p, size_t len, uint32_t *code)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    *code = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    bool ok = *code >= least[n] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
    return ok ? n : 0;
}

static bool naive_valid(const unsigned char *p, size_t len)
{
    uint32_t code;
    for (size_t n; len > 0; p += n, len -= n)
        if ((n = naive_decode(p, len, &code)) == 0)
            return false;
    return true;
}

static size_t encode(uint32_t code, unsigned char *out)
{
    if (code < 0x80) {
        out[0] = (unsigned char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (unsigned char)(0x80 | (code & 0x3f));
    out[0] = (unsigned char)((0xf00u >> n) | code);
    return n;
}

static bool valid_bytewise(const unsigned char *p, size_t len)
{
    struct bki_utf8 u = {0};
    for (size_t i = 0; i < len; i++)
        if (!bki_utf8_feed(&u, p + i, 1))
            return false;
    return bki_utf8_complete(&u);
}

static void test_every_code_point(void)
{
    for (uint32_t code = 0; code < 0x1fffff; code++) {
        unsigned char text[4];
        size_t n = encode(code, text);
        bool want = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        CHECK_EQ(bki_utf8_valid(text, n), want);
        CHECK_EQ(valid_bytewise(text, n), want);
        if (want && n > 1)
            CHECK(!bki_utf8_valid(text, n - 1)); /* cut short */
    }
}

/* Every two bytes, and every three and four with bytes taken from around all limits. */
static void test_all_short_sequences(void)
{
    static const unsigned char edge[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
                                         0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    enum { N = sizeof edge };
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            unsigned char text[4] = {(unsigned char)a, (unsigned char)b};
            CHECK_EQ(bki_utf8_valid(text, 1), naive_valid(text, 1));
            CHECK_EQ(bki_utf8_valid(text, 2), naive_valid(text, 2));
            for (size_t c = 0; c < N; c++) {
                text[2] = edge[c];
                CHECK_EQ(bki_utf8_valid(text, 3), naive_valid(text, 3));
                for (size_t d = 0; d < N; d++) {
                    text[3] = edge[d];
                    CHECK_EQ(bki_utf8_valid(text, 4), naive_valid(text, 4));
                }
            }
        }
    }
}

static void test_fails_at_the_first_bad_byte(void)
{
    static const struct {
        const char *text;
        size_t bad; /* index of the first byte that no valid text continues with */
    } cases[] = {{"a\x80", 1},
                 {"\xc0\xaf", 0},
                 {"\xe0\x9f\x80", 1},
                 {"\xed\xa0\x80", 1},
                 {"\xf4\x90\x80\x80", 1},
                 {"\xf8\x88\x80\x80\x80", 0},
                 {"\xf0\x9f\x8c\x41", 3},
                 {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80", 12}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct bki_utf8 u = {0};
        for (size_t i = 0; i < cases[c].bad; i++)
            CHECK(bki_utf8_feed(&u, cases[c].text + i, 1));
        CHECK(!bki_utf8_feed(&u, cases[c].text + cases[c].bad, 1));
        CHECK(!bki_utf8_complete(&u));
        CHECK(!bki_utf8_feed(&u, "a", 1)); /* stays broken */
        CHECK(!bki_utf8_feed(&u, NULL, 0));
    }
}

static uint32_t random_state = 7;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

/* Mostly valid text of mixed width, sometimes damaged. */
static size_t random_text(unsigned char *text, size_t most)
{
    size_t len = 0, want = next_random() % (most - 4);
    while (len < want) {
        static const uint32_t top[] = {0x80, 0x80, 0x80, 0x800, 0xd800, 0x10000, 0x110000};
        uint32_t kind = next_random() % 7, code = next_random() % top[kind];
        if (code >= 0xd800 && code <= 0xdfff)
            continue;
        size_t run = kind == 0 ? next_random() % 40 : 1;
        for (size_t i = 0; i < run && len < want; i++)
            len += encode(code, text + len);
    }
    if (len > 0 && next_random() % 2)
        text[next_random() % len] = (unsigned char)next_random();
    return len;
}

static void test_random_texts_in_random_pieces(void)
{
    unsigned char text[300];
    int n_valid = 0;
    for (int round = 0; round < 100000; round++) {
        size_t len = random_text(text, sizeof text);
        struct bki_utf8 u = {0};
        bool ok = true;
        for (size_t at = 0, n; at < len; at += n) {
            n = 1 + next_random() % 50;
            n = n < len - at ? n : len - at;
            ok = bki_utf8_feed(&u, text + at, n);
        }
        bool want = naive_valid(text, len);
        CHECK_EQ(ok && bki_utf8_complete(&u), want);
        CHECK_EQ(bki_utf8_valid(text, len), want);
        n_valid += want;
    }
    CHECK(n_valid > 20000 && n_valid < 80000); /* both sides were really tried */
}

/* The text ends where readable memory ends: a read beyond it is a crash. */
static void test_reads_nothing_beyond_the_end(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map =
        mmap(NULL, page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    CHECK_EQ(mprotect(map + page, page, PROT_NONE), 0);
    for (size_t len = 0; len < 200; len++) {
        unsigned char *text = map + page - len;
        memset(text, 'a', len);
        CHECK(bki_utf8_valid(text, len));
        for (size_t i = 0; i < len; i++) { /* and no byte is skipped */
            text[i] = 0x80;
            CHECK(!bki_utf8_valid(text, len));
            text[i] = 'a';
        }
    }
    munmap(map, page * 2);
}

CHECK_MAIN(TEST(test_every_code_point), TEST(test_all_short_sequences),
           TEST(test_fails_at_the_first_bad_byte), TEST(test_random_texts_in_random_pieces),
           TEST(test_reads_nothing_beyond_the_end))
