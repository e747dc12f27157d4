/* SPDX-License-Identifier: MIT
 * A URL's options: reading them as numbers, durations and words, and guessing what a wrong one
 * meant. */
#include <stdio.h>
#include <strings.h>

#include "base/text.h"
#include "connectors/connector.h"

#define NAME_MAX_LEN 32

const char *bki_target_option(const struct bki_target *target, const char *name)
{
    for (size_t i = 0; i < target->n_options; i++)
        if (strcmp(target->options[i].name, name) == 0)
            return target->options[i].value;
    return NULL;
}

bool bki_target_flag(const struct bki_target *target, const char *name)
{
    const char *value = bki_target_option(target, name);
    return value && strcmp(value, "no") != 0 && strcmp(value, "false") != 0 &&
           strcmp(value, "0") != 0;
}

static int bad_value(const char *name, const char *value, const char *wanted)
{
    return bk_fail(-BK_EURL, "%s=%s: %s", name, value, wanted);
}

int bki_target_int(const struct bki_target *target, const char *name, int64_t min, int64_t max,
                   int64_t fallback, int64_t *out)
{
    const char *value = bki_target_option(target, name);
    *out = fallback;
    if (!value || bki_parse_int(out, value, min, max) == 0)
        return 0;
    char wanted[80];
    snprintf(wanted, sizeof wanted, "a number from %lld to %lld is wanted", (long long)min,
             (long long)max);
    return bad_value(name, value, wanted);
}

int bki_target_duration(const struct bki_target *target, const char *name, bk_duration fallback,
                        bk_duration *out)
{
    const char *value = bki_target_option(target, name);
    *out = fallback;
    if (!value || bki_parse_duration(out, value) == 0)
        return 0;
    return bad_value(name, value, "a duration such as 250ms or 10s is wanted");
}

int bki_target_size(const struct bki_target *target, const char *name, uint64_t fallback,
                    uint64_t *out)
{
    const char *value = bki_target_option(target, name);
    *out = fallback;
    if (!value || bki_parse_size(out, value) == 0)
        return 0;
    return bad_value(name, value, "a size such as 512 or 64KiB is wanted");
}

int bki_target_choice(const struct bki_target *target, const char *name, const char *const *words,
                      int fallback, int *out)
{
    const char *value = bki_target_option(target, name);
    *out = fallback;
    if (!value)
        return 0;
    char wanted[120] = "one of";
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], value) == 0) {
            *out = i;
            return 0;
        }
        size_t len = strlen(wanted);
        snprintf(wanted + len, sizeof wanted - len, " %s", words[i]);
    }
    return bad_value(name, value, wanted);
}

/* ---- Guessing ---- */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein's distance, letters compared without case; both at most NAME_MAX_LEN long. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned row[NAME_MAX_LEN + 1];
    for (unsigned j = 0; j <= b_len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned cost = strncasecmp(&a[i - 1], &b[j - 1], 1) != 0;
            unsigned next = least(row[j] + 1, row[j - 1] + 1, diagonal + cost);
            diagonal = row[j];
            row[j] = next;
        }
    }
    return row[b_len];
}

const char *bki_nearest(const char *text, size_t len, const char *const *names)
{
    const char *best = NULL;
    unsigned best_distance = 0;
    if (len > NAME_MAX_LEN)
        return NULL;
    for (; *names; names++) {
        size_t name_len = strlen(*names);
        if (name_len > NAME_MAX_LEN)
            continue;
        unsigned d = distance(text, len, *names, name_len);
        if (d <= (len + 2) / 3 && d < name_len && (!best || d < best_distance)) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}
