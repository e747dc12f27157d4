/* SPDX-License-Identifier: MIT
 * Tests of permessage-deflate payloads: the RFC's examples, round trips in all portions, contexts,
 * windows, what is malformed, and running out of memory. */
#include "proto/ws_deflate.h"

#include <beck/error.h>
#include <stdlib.h>

#include "tests/alloc_sweep.h"
#include "tests/check.h"
#include "tests/guard_page.h"

enum { MOST = 300000 };

static char plain[MOST], packed[MOST + MOST / 8], back[MOST + 1000];

/* Inflates in[0..len) as one message, given in pieces of `in_step` and taken in pieces of
 * `out_step`, each input against a guard page.  The length, or the error. */
static ssize_t inflate_in_steps(struct bki_ws_inflater *f, const char *in, size_t len,
                                size_t in_step, size_t out_step)
{
    static struct guard_page page;
    size_t n_out = 0, at = 0, made;
    do {
        size_t left = len - at < in_step ? len - at : in_step;
        bool last = at + left == len;
        const char *piece = guard_page_put(&page, in + at, left);
        at += left;
        do {
            size_t room = sizeof back - n_out < out_step ? sizeof back - n_out : out_step;
            if (room == 0)
                return -EMSGSIZE;
            int r = bki_ws_inflate(f, &piece, &left, last, back + n_out, room, &made);
            if (r < 0)
                return r;
            n_out += made;
            if (made < room)
                break;
        } while (true);
        if (left > 0)
            return -EIO; /* it promised to have taken all */
    } while (at < len);
    return (ssize_t)n_out;
}

static size_t deflate_in_steps(struct bki_ws_deflater *d, const char *in, size_t len,
                               size_t in_step, size_t out_step)
{
    size_t n = 0, at = 0;
    do {
        size_t left = len - at < in_step ? len - at : in_step, made;
        bool last = at + left == len;
        const char *piece = in + at;
        at += left;
        while (!bki_ws_deflate(d, &piece, &left, last, packed + n, out_step, &made))
            n += made;
        n += made;
    } while (at < len);
    return n;
}

/* ---- RFC 7692 section 7.2.3 ---- */

static void check_inflates_to(struct bki_ws_inflater *f, const char *in, size_t len,
                              const char *want)
{
    for (size_t step = 1; step <= len; step++) {
        ssize_t n = inflate_in_steps(f, in, len, step, 3);
        CHECK(n >= 0);
        CHECK_MEM(back, (size_t)n, want, strlen(want));
    }
}

#define INFLATES(f, bytes, want) check_inflates_to(f, bytes, sizeof(bytes) - 1, want)

static void the_examples_of_the_rfc(void)
{
    struct bki_ws_inflater *f = NULL;
    CHECK_EQ(bki_ws_inflater_new(&f, 15), 0);
    INFLATES(f, "\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");
    INFLATES(f, "\xf2\x00\x11\x00\x00", "Hello"); /* by reference to the one before */
    INFLATES(f, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"); /* a stored block */
    INFLATES(f, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"); /* a block that says it is the last */
    INFLATES(f, "\xf2\x00\x11\x00\x00", "Hello");             /* and what was is not forgotten */
    INFLATES(f, "\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello");     /* nothing behind it */
    INFLATES(f, "\xf2\x00\x11\x00\x00", "Hello");
    INFLATES(f, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"); /* two blocks */
    INFLATES(f, "\x00", "");
    bki_ws_inflater_free(&f);

    struct bki_ws_deflater *d = NULL;
    CHECK_EQ(bki_ws_deflater_new(&d, 15, 6, 8), 0);
    size_t n = deflate_in_steps(d, "Hello", 5, 5, 100);
    CHECK_MEM(packed, n, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    n = deflate_in_steps(d, "Hello", 5, 5, 100);
    CHECK_MEM(packed, n, "\xf2\x00\x11\x00\x00", 5);
    bki_ws_deflater_reset(d);
    n = deflate_in_steps(d, "Hello", 5, 5, 100);
    CHECK_MEM(packed, n, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    bki_ws_deflater_free(&d);
}

/* ---- Round trips ---- */

static unsigned seed = 1;

static unsigned next_random(void)
{
    seed = seed * 1103515245u + 12345;
    return seed >> 8;
}

enum { WORDS, NOISE, ZEROS };

static void fill(size_t len, int what)
{
    static const char *const words[] = {"price", "symbol", "{\"type\":\"trade\"}", "buy", "0.0001"};
    for (size_t i = 0; i < len;) {
        if (what == WORDS) {
            const char *word = words[next_random() % 5];
            size_t n = strlen(word) < len - i ? strlen(word) : len - i;
            memcpy(plain + i, word, n);
            i += n;
        } else {
            plain[i++] = what == NOISE ? (char)next_random() : 0;
        }
    }
}

static void check_round_trip(struct bki_ws_deflater *d, struct bki_ws_inflater *f, size_t len,
                             size_t in_step, size_t out_step)
{
    size_t n = deflate_in_steps(d, plain, len, in_step, out_step);
    ssize_t m = inflate_in_steps(f, packed, n, in_step, out_step);
    CHECK_EQ(m, len);
    CHECK(memcmp(back, plain, len) == 0);
}

static void messages_of_any_length_and_portion_come_back(void)
{
    static const size_t lens[] = {0, 1, 2, 3, 4, 5, 20, 125, 126, 1000, 40000, 70000};
    static const size_t steps[] = {16, 17, 100, 4096, MOST};
    int before = check_failures;
    struct bki_ws_deflater *d = NULL;
    struct bki_ws_inflater *f = NULL;
    CHECK_EQ(bki_ws_deflater_new(&d, 12, 6, 5), 0);
    CHECK_EQ(bki_ws_inflater_new(&f, 12), 0);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        for (int what = WORDS; what <= ZEROS; what++) {
            fill(lens[i], what);
            for (size_t k = 0; k < 25 && check_failures == before; k++)
                check_round_trip(d, f, lens[i], steps[k % 5], steps[k / 5]);
            if (lens[i] <= 20)
                check_round_trip(d, f, lens[i], 1, 16);
        }
    }
    bki_ws_deflater_free(&d);
    bki_ws_inflater_free(&f);
}

/* A piece that is not the last can be read at once; nothing waits for more but the tail. */
static void each_piece_can_be_read_when_it_is_there(void)
{
    struct bki_ws_deflater *d = NULL;
    struct bki_ws_inflater *f = NULL;
    CHECK_EQ(bki_ws_deflater_new(&d, 15, 6, 8), 0);
    CHECK_EQ(bki_ws_inflater_new(&f, 15), 0);
    for (int i = 0; i < 40; i++) {
        fill(200, WORDS);
        const char *in = plain, *out = packed;
        size_t left = i % 7 == 3 ? 0 : 200, len = left, n, made;
        CHECK(bki_ws_deflate(d, &in, &left, i == 39, packed, sizeof packed, &n));
        CHECK_EQ(left, 0);
        CHECK_EQ(bki_ws_inflate(f, &out, &n, i == 39, back, sizeof back, &made), 0);
        CHECK_MEM(back, made, plain, len);
    }
    bki_ws_deflater_free(&d);
    bki_ws_inflater_free(&f);
}

static void every_window_and_memory_level(void)
{
    int before = check_failures;
    for (int bits = 8; bits <= 15; bits++) {
        for (int mem_level = 1; mem_level <= 9; mem_level++) {
            struct bki_ws_deflater *d = NULL;
            struct bki_ws_inflater *f = NULL;
            CHECK_EQ(bki_ws_deflater_new(&d, bits, 1 + mem_level % 9, mem_level), 0);
            CHECK_EQ(bki_ws_inflater_new(&f, bits), 0);
            for (int i = 0; i < 6 && check_failures == before; i++) {
                fill(9000, i % 3);
                /* Small portions make the inflater look back into its window. */
                check_round_trip(d, f, 9000, 64, 64);
                check_round_trip(d, f, 9000, MOST, MOST);
            }
            bki_ws_deflater_free(&d);
            bki_ws_inflater_free(&f);
        }
    }
}

/* zlib deflates with no less than 512 bytes; a peer of 256 must be able to read that. */
static void a_window_of_256_bytes_is_never_looked_beyond(void)
{
    struct bki_ws_deflater *d = NULL;
    struct bki_ws_inflater *f = NULL;
    CHECK_EQ(bki_ws_deflater_new(&d, 8, 9, 9), 0);
    CHECK_EQ(bki_ws_inflater_new(&f, 8), 0);
    for (size_t period = 200; period <= 600; period += 7) {
        fill(period, NOISE);
        for (size_t i = period; i < 8000; i++)
            plain[i] = plain[i - period];
        check_round_trip(d, f, 8000, 100, 50);
        size_t n = deflate_in_steps(d, plain, 8000, MOST, MOST);
        CHECK((n < 4000) == (period <= 250)); /* what lies further back is of no use */
        CHECK_EQ(inflate_in_steps(f, packed, n, 1, 1), 8000);
    }
    bki_ws_deflater_free(&d);
    bki_ws_inflater_free(&f);
}

/* After a reset nothing refers to what came before: a new inflater can read it. */
static void a_message_by_itself(void)
{
    struct bki_ws_deflater *d = NULL;
    CHECK_EQ(bki_ws_deflater_new(&d, 15, 6, 8), 0);
    for (int i = 0; i < 5; i++) {
        struct bki_ws_inflater *f = NULL;
        CHECK_EQ(bki_ws_inflater_new(&f, 15), 0);
        fill(3000, WORDS);
        const char *in = plain;
        size_t left = 1000, made;
        bki_ws_deflate(d, &in, &left, false, packed, sizeof packed, &made);
        bki_ws_deflater_reset(d); /* also in the middle of one */
        check_round_trip(d, f, 3000, MOST, MOST);
        bki_ws_deflater_reset(d);
        bki_ws_inflater_free(&f);
    }
    bki_ws_deflater_free(&d);
}

/* ---- What is malformed ---- */

static void check_malformed(const char *in, size_t len)
{
    for (size_t step = 1; step <= len; step += len > 20 ? 7 : 1) {
        struct bki_ws_inflater *f = NULL;
        CHECK_EQ(bki_ws_inflater_new(&f, 15), 0);
        ssize_t n = inflate_in_steps(f, in, len, step, 100);
        bki_ws_inflater_free(&f);
        CHECK_EQ(n, -BK_EFORMAT);
        CHECK(strstr(bk_errmsg(), "not DEFLATE data") != NULL);
    }
}

#define MALFORMED(bytes) check_malformed(bytes, sizeof(bytes) - 1)

/* The RFC's empty message is a byte (7.2.3.6); zlib, asked twice for one, gives none. */
static void no_bytes_are_an_empty_message(void)
{
    struct bki_ws_inflater *f = NULL;
    CHECK_EQ(bki_ws_inflater_new(&f, 15), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(inflate_in_steps(f, "", 0, 1, 10), 0);
        CHECK_EQ(inflate_in_steps(f, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 2, 10), 5);
        CHECK_EQ(inflate_in_steps(f, "\x00", 1, 1, 10), 0);
    }
    bki_ws_inflater_free(&f);
}

static void what_is_no_whole_message_is_refused(void)
{
    MALFORMED("\xff\xff\xff\xff");                 /* a block of the reserved type */
    MALFORMED("\xf2\x48\xcd\xc9");                 /* cut in the middle of a block */
    MALFORMED("\x00\x06\x00\xf9\xff\x48");         /* in the middle of a stored one */
    MALFORMED("\x00\x05\x00\xfa\xfe\x48\x65\x00"); /* a stored length that does not check */
    MALFORMED("\xf2\x00\x11\x00\x00");             /* a reference to before the beginning */
    MALFORMED("\xf2\x48\xcd\xc9\xc9\x07\x18");     /* the empty block is of another type */
    fill(1000, WORDS);
    struct bki_ws_deflater *d = NULL;
    CHECK_EQ(bki_ws_deflater_new(&d, 15, 6, 8), 0);
    size_t n = deflate_in_steps(d, plain, 1000, MOST, MOST);
    bki_ws_deflater_free(&d);
    for (size_t cut = 1; cut + 1 < n; cut += 5)
        check_malformed(packed, cut);
}

/* ---- Memory ---- */

static int scenario(void *ctx)
{
    (void)ctx;
    struct bki_ws_deflater *d = NULL;
    struct bki_ws_inflater *f = NULL;
    int r = bki_ws_deflater_new(&d, 12, 6, 5);
    if (r == 0)
        r = bki_ws_inflater_new(&f, 12);
    if (r == 0) {
        size_t n = deflate_in_steps(d, plain, 9000, MOST, MOST);
        ssize_t m = inflate_in_steps(f, packed, n, 100, 100);
        r = m == 9000 ? 0 : (int)m;
    }
    bki_ws_deflater_free(&d);
    bki_ws_inflater_free(&f);
    return r;
}

static void running_out_of_memory(void)
{
    fill(9000, WORDS);
    CHECK(alloc_sweep(scenario, NULL) > 5);
}

CHECK_MAIN(TEST(the_examples_of_the_rfc), TEST(messages_of_any_length_and_portion_come_back),
           TEST(each_piece_can_be_read_when_it_is_there), TEST(every_window_and_memory_level),
           TEST(a_window_of_256_bytes_is_never_looked_beyond), TEST(a_message_by_itself),
           TEST(no_bytes_are_an_empty_message), TEST(what_is_no_whole_message_is_refused),
           TEST(running_out_of_memory))
