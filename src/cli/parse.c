/* SPDX-License-Identifier: MIT
 * Reading counts, sizes and durations from the command line, and guessing at misspelt words. */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "cli/cli.h"

#define WORD_MAX 32

struct unit {
    const char *name;
    double factor;
};

/* A number and one of the units behind it; several such pairs when `repeat`. */
static bool parse(const char *text, const struct unit *units, bool repeat, double *out)
{
    *out = 0;
    if (!*text)
        return false;
    do {
        char *end;
        if (!isdigit((unsigned char)*text))
            return false;
        double number = strtod(text, &end);
        size_t len = strcspn(end, "0123456789");
        const struct unit *u = units;
        while (u->name && (strlen(u->name) != len || strncasecmp(u->name, end, len) != 0))
            u++;
        if (!u->name)
            return false;
        *out += number * u->factor;
        text = end + len;
    } while (*text && repeat);
    return !*text && *out < 9e18;
}

bool cli_parse_count(const char *text, uint64_t *out)
{
    static const struct unit units[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
    double n;
    if (!parse(text, units, false, &n) || n != (double)(uint64_t)n)
        return false;
    *out = (uint64_t)n;
    return true;
}

bool cli_parse_size(const char *text, uint64_t *out)
{
    static const struct unit units[] = {{"", 1},          {"B", 1},         {"k", 1 << 10},
                                        {"KiB", 1 << 10}, {"M", 1 << 20},   {"MiB", 1 << 20},
                                        {"G", 1 << 30},   {"GiB", 1 << 30}, {"kB", 1e3},
                                        {"MB", 1e6},      {"GB", 1e9},      {NULL, 0}};
    double n;
    if (!parse(text, units, false, &n))
        return false;
    *out = (uint64_t)n;
    return true;
}

bool cli_parse_duration(const char *text, bk_duration *out)
{
    static const struct unit units[] = {{"ms", 1e6},   {"s", 1e9},     {"", 1e9},   {"m", 60e9},
                                        {"h", 3600e9}, {"d", 86400e9}, {"us", 1e3}, {NULL, 0}};
    double n;
    if (!parse(text, units, true, &n))
        return false;
    out->ns = (int64_t)n;
    return true;
}

/* Levenshtein's distance without regard to case; both at most WORD_MAX long. */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1], b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best =
                diagonal + (tolower((unsigned char)a[i]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

const char *cli_nearest(const char *text, const char *const *words)
{
    const char *best = NULL;
    size_t len = strlen(text), best_distance = 0;
    if (len > WORD_MAX)
        return NULL;
    for (; *words; words++) {
        if (strlen(*words) > WORD_MAX)
            continue;
        size_t d = distance(text, *words);
        if (d <= (len + 2) / 3 && d < len && (!best || d < best_distance)) {
            best = *words;
            best_distance = d;
        }
    }
    return best;
}
