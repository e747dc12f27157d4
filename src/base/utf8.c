/* SPDX-License-Identifier: MIT
 * The incremental UTF-8 validator. */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t word_at(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The place in memory of the first of the bytes whose high bits these are. */
static inline size_t first_of(uint64_t high_bits)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(high_bits) / 8;
#else
    return (size_t)__builtin_clzll(high_bits) / 8;
#endif
}

/* The first byte that is not ASCII, or end. */
static inline const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end)
{
    while (end - p >= 32) {
        uint64_t a = word_at(p) | word_at(p + 8), b = word_at(p + 16) | word_at(p + 24);
        if ((a | b) & HIGH_BITS)
            break;
        p += 32;
    }
    for (; end - p >= 8; p += 8) {
        uint64_t high = word_at(p) & HIGH_BITS;
        if (high)
            return p + first_of(high);
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

/* How many bytes follow a lead byte and the range of the first of them (RFC 3629 section 4): the
 * narrowed ranges shut out overlong forms (C0, C1, E0, F0), surrogates (ED) and what lies above
 * U+10FFFF (F4, F5..FF). */
static inline bool begin(struct bki_utf8 *utf8, unsigned char lead)
{
    utf8->low = 0x80;
    utf8->high = 0xbf;
    if (lead < 0xc2)
        return false;
    if (lead < 0xe0) {
        utf8->missing = 1;
    } else if (lead < 0xf0) {
        utf8->missing = 2;
        if (lead == 0xe0)
            utf8->low = 0xa0;
        else if (lead == 0xed)
            utf8->high = 0x9f;
    } else if (lead < 0xf5) {
        utf8->missing = 3;
        if (lead == 0xf0)
            utf8->low = 0x90;
        else if (lead == 0xf4)
            utf8->high = 0x8f;
    } else {
        return false;
    }
    return true;
}

static inline bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* The length of the whole, valid sequence at p, with four bytes to look at; 0: there is none, which
 * the state machine below judges. */
static inline size_t whole_sequence(const unsigned char *p)
{
    struct bki_utf8 u;
    if (!begin(&u, p[0]) || p[1] < u.low || p[1] > u.high)
        return 0;
    if (u.missing >= 2 && !is_continuation(p[2]))
        return 0;
    if (u.missing == 3 && !is_continuation(p[3]))
        return 0;
    return 1u + u.missing;
}

static bool fail(struct bki_utf8 *utf8)
{
    utf8->broken = true;
    return false;
}

bool bki_utf8_feed(struct bki_utf8 *utf8, const void *data, size_t len)
{
    if (utf8->broken)
        return false;
    struct bki_utf8 u = *utf8; /* in registers */
    const unsigned char *p = data, *end = len ? p + len : p;
    while (p < end) {
        if (u.missing == 0) {
            if (*p < 0x80 && (p = skip_ascii(p, end)) == end)
                break;
            size_t n = end - p >= 4 ? whole_sequence(p) : 0;
            p += n;
            if (n > 0)
                continue;
            if (!begin(&u, *p++))
                return fail(utf8);
            continue;
        }
        if (*p < u.low || *p > u.high)
            return fail(utf8);
        p++;
        u.missing--;
        u.low = 0x80;
        u.high = 0xbf;
    }
    *utf8 = u;
    return true;
}
