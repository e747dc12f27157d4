/* SPDX-License-Identifier: MIT
 * Formats and parses numbers, sizes and durations. */
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

#include <beck/error.h>

#define QUOTED "'%.60s'"

#define US INT64_C(1000)
#define MS (1000 * US)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

struct bki_text bki_format_count(uint64_t n)
{
    char digits[21];
    struct bki_text text;
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, n), at = 0;
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text.s[at++] = ',';
        text.s[at++] = digits[i];
    }
    text.s[at] = '\0';
    return text;
}

struct bki_text bki_format_bytes(uint64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct bki_text text;
    if (n < 1024) {
        snprintf(text.s, sizeof text.s, "%u B", (unsigned)n);
        return text;
    }
    for (unsigned unit = 1;; unit++) {
        unsigned shift = unit * 10;
        uint64_t part = n & ((UINT64_C(1) << shift) - 1), half = UINT64_C(1) << (shift - 1);
        uint64_t tenths = (n >> shift) * 10 + ((part * 10 + half) >> shift);
        uint64_t whole = (n >> shift) + (part >= half);
        if (whole >= 1024 && unit < 6)
            continue; /* rounds up to the next unit */
        if (tenths < 1000)
            snprintf(text.s, sizeof text.s, "%u.%u %s", (unsigned)(tenths / 10),
                     (unsigned)(tenths % 10), units[unit]);
        else
            snprintf(text.s, sizeof text.s, "%u %s", (unsigned)whole, units[unit]);
        return text;
    }
}

/* How many times unit goes into ns, rounded. */
static uint64_t rounded(uint64_t ns, int64_t unit)
{
    return ns / (uint64_t)unit + (ns % (uint64_t)unit >= ((uint64_t)unit + 1) / 2);
}

/* n is small: the steps below keep it so. */
static void format_two_units(struct bki_text *text, uint64_t n, unsigned per_large, char large,
                             char small)
{
    unsigned whole = (unsigned)n / per_large, rest = (unsigned)n % per_large;
    if (rest)
        snprintf(text->s, sizeof text->s, "%u%c %u%c", whole, large, rest, small);
    else
        snprintf(text->s, sizeof text->s, "%u%c", whole, large);
}

/* Each step rounds first and then looks whether the result fits: 59.96 s is "1m", not "60s". */
static struct bki_text format_ns(uint64_t ns)
{
    static const struct {
        int64_t unit;
        unsigned below;
        const char *name;
    } steps[] = {{1, 1000, "ns"}, {US, 1000, "us"}, {MS, 1000, "ms"}, {SECOND, 60, "s"}};
    struct bki_text text = {""};
    for (size_t i = 0; i < 4; i++) {
        uint64_t n = rounded(ns, steps[i].unit);
        if (n >= steps[i].below)
            continue;
        uint64_t tenths = i == 0 ? n * 10 : rounded(ns, steps[i].unit / 10);
        if (tenths < 100 && tenths % 10)
            snprintf(text.s, sizeof text.s, "%u.%u%s", (unsigned)(tenths / 10),
                     (unsigned)(tenths % 10), steps[i].name);
        else
            snprintf(text.s, sizeof text.s, "%u%s", (unsigned)n, steps[i].name);
        return text;
    }
    if (rounded(ns, SECOND) < 3600)
        format_two_units(&text, rounded(ns, SECOND), 60, 'm', 's');
    else if (rounded(ns, MINUTE) < UINT64_C(24) * 60)
        format_two_units(&text, rounded(ns, MINUTE), 60, 'h', 'm');
    else
        format_two_units(&text, rounded(ns, HOUR), 24, 'd', 'h');
    return text;
}

struct bki_text bki_format_duration(bk_duration d)
{
    if (d.ns == 0)
        return (struct bki_text){"0s"};
    if (d.ns == BK_FOREVER_NS)
        return (struct bki_text){"forever"};
    if (d.ns > 0)
        return format_ns((uint64_t)d.ns);
    struct bki_text positive = format_ns(0 - (uint64_t)d.ns), text = {"-"};
    memcpy(text.s + 1, positive.s, sizeof text.s - 1);
    text.s[sizeof text.s - 1] = '\0';
    return text;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int bki_parse_int(int64_t *out, const char *text, int64_t min, int64_t max)
{
    bool negative = *text == '-';
    const char *p = text + (*text == '-' || *text == '+');
    bool fits = true;
    int64_t n = 0;
    if (!is_digit(*p))
        return bk_fail(-EINVAL, QUOTED " is not a whole number", text);
    for (; is_digit(*p); p++) {
        int digit = *p - '0';
        fits = fits && !__builtin_mul_overflow(n, 10, &n) &&
               !__builtin_add_overflow(n, negative ? -digit : digit, &n);
    }
    if (*p)
        return bk_fail(-EINVAL, QUOTED " is not a whole number", text);
    if (!fits || n < min || n > max)
        return bk_fail(-ERANGE, QUOTED " is not from %" PRId64 " to %" PRId64, text, min, max);
    *out = n;
    return 0;
}

struct unit {
    const char *name;
    int64_t size;
};

/* A decimal number with a fraction of at most nine digits; an exact value in billionths. */
#define BILLION 1000000000
__extension__ typedef unsigned __int128 billionths;

/* Reads digits[.digits] at *p and moves *p behind it.  False: not a number, or beyond all use. */
static bool parse_decimal(const char **p, billionths *out)
{
    billionths n = 0;
    int n_decimals = 0;
    const char *s = *p;
    if (!is_digit(*s))
        return false;
    for (; is_digit(*s); s++) {
        n = n * 10 + (unsigned)(*s - '0');
        if (n > UINT64_MAX)
            n = UINT64_MAX; /* out of range in every unit, and stays so */
    }
    if (*s == '.') {
        for (s++; is_digit(*s); s++, n_decimals++)
            n = n * 10 + (unsigned)(*s - '0');
        if (n_decimals == 0 || n_decimals > 9)
            return false;
    }
    for (; n_decimals < 9; n_decimals++)
        n *= 10;
    *out = n;
    *p = s;
    return true;
}

/* The unit whose whole name stands at *p before a digit or the end; NULL when there is none. */
static const struct unit *parse_unit(const char **p, const struct unit *units)
{
    size_t len = 0;
    while ((*p)[len] && !is_digit((*p)[len]))
        len++;
    for (; units->name; units++) {
        if (strlen(units->name) == len && memcmp(units->name, *p, len) == 0) {
            *p += len;
            return units;
        }
    }
    return NULL;
}

/* n units, or false when that is `most` or more. */
static bool scale(billionths *n, const struct unit *unit, uint64_t most)
{
    if (*n >= (billionths)most * BILLION / (billionths)unit->size)
        return false;
    *n *= (billionths)unit->size;
    return true;
}

int bki_parse_duration(bk_duration *out, const char *text)
{
    static const struct unit units[] = {{"ns", 1},     {"us", US},  {"ms", MS}, {"s", SECOND},
                                        {"m", MINUTE}, {"h", HOUR}, {"d", DAY}, {NULL, 0}};
    const char *p = text;
    billionths total = 0, n;
    int64_t before = INT64_MAX;
    if (strcmp(text, "0") == 0) {
        *out = bk_ns(0);
        return 0;
    }
    do {
        const struct unit *unit = NULL;
        if (parse_decimal(&p, &n))
            unit = parse_unit(&p, units);
        if (!unit || unit->size >= before)
            return bk_fail(-EINVAL, QUOTED " is not a duration (such as 100ms, 1.5s, 2m, 1h30m)",
                           text);
        before = unit->size;
        if (!scale(&n, unit, BK_FOREVER_NS) || (total += n) / BILLION >= BK_FOREVER_NS)
            return bk_fail(-ERANGE, QUOTED " is too long", text);
    } while (*p);
    *out = bk_ns((int64_t)(total / BILLION));
    return 0;
}

int bki_parse_size(uint64_t *out, const char *text)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", INT64_C(1) << 10},
        {"MiB", INT64_C(1) << 20},
        {"GiB", INT64_C(1) << 30},
        {"TiB", INT64_C(1) << 40},
        {"K", INT64_C(1) << 10},
        {"M", INT64_C(1) << 20},
        {"G", INT64_C(1) << 30},
        {"T", INT64_C(1) << 40},
        {"kB", 1000},
        {"MB", INT64_C(1000) * 1000},
        {"GB", INT64_C(1000) * 1000 * 1000},
        {"TB", INT64_C(1000) * 1000 * 1000 * 1000},
        {NULL, 0},
    };
    const char *p = text;
    const struct unit *unit = NULL;
    billionths n;
    if (parse_decimal(&p, &n))
        unit = parse_unit(&p, units);
    if (!unit || *p)
        return bk_fail(-EINVAL, QUOTED " is not a size (such as 512, 64KiB, 1.5MiB)", text);
    if (!scale(&n, unit, UINT64_C(1) << 63))
        return bk_fail(-ERANGE, QUOTED " is too large", text);
    *out = (uint64_t)(n / BILLION);
    return 0;
}
