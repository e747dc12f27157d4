/* SPDX-License-Identifier: MIT
 * Numbers, sizes and durations as people read and write them. */
#ifndef BECK_SRC_BASE_TEXT_H
#define BECK_SRC_BASE_TEXT_H

#include <beck/base.h>

/* A short text by value, to be used within one expression: printf("%s", bki_format_count(n).s). */
struct bki_text {
    char s[32];
};

/* 1707 is "1,707". */
struct bki_text bki_format_count(uint64_t n);

/* "512 B", "1.2 MiB", "340 GiB": one decimal below 100. */
struct bki_text bki_format_bytes(uint64_t n);

/* "350ms", "1.5s", "1m 4s", "2h 5m", "3d 4h": two units or two digits, rounded; "forever". */
struct bki_text bki_format_duration(bk_duration d);

/* What a hexadecimal digit stands for; -1 for another character. */
static inline int bki_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Whether p[0..len) begins with a percent-encoded byte: '%' and two hexadecimal digits. */
static inline bool bki_is_percent_triple(const char *p, size_t len)
{
    return len >= 3 && p[0] == '%' && bki_hex_value(p[1]) >= 0 && bki_hex_value(p[2]) >= 0;
}

/* The parsers take a whole NUL-terminated text, without blanks around it, and return 0 and set
 * *out; or return a negative result, set the detail (which quotes the text) and leave *out alone.
 */

/* A decimal integer from min to max.  Errors: -EINVAL not an integer, -ERANGE. */
int bki_parse_int(int64_t *out, const char *text, int64_t min, int64_t max);

/* "100ms", "1.5s", "2m", "1h30m", "1d": numbers with a unit of ns, us, ms, s, m, h, d, each unit
 * smaller than the one before; or "0".  Errors: -EINVAL, -ERANGE (292 years and more). */
int bki_parse_duration(bk_duration *out, const char *text);

/* "512", "512B", "64KiB", "1.5MiB", "2GiB", "1TiB"; K, M, G, T mean the same as KiB and so on; kB,
 * MB, GB, TB are powers of 1000.  A part of a byte is dropped.  Errors: -EINVAL, -ERANGE. */
int bki_parse_size(uint64_t *out, const char *text);

#endif
