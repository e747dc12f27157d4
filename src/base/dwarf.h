/* SPDX-License-Identifier: MIT
 * Reading DWARF's numbers: a place in a section that never leaves it (DWARF 5, section 7). */
#ifndef BECK_SRC_BASE_DWARF_H
#define BECK_SRC_BASE_DWARF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct bki_dwarf {
    const unsigned char *at, *end;
    bool bad; /* something was wanted behind the end: all reads give 0 */
};

static inline uint64_t bki_dwarf_fixed(struct bki_dwarf *d, unsigned size)
{
    uint64_t value = 0;
    if ((size_t)(d->end - d->at) < size) {
        d->bad = true;
        d->at = d->end;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)d->at[i] << (8 * i);
    d->at += size;
    return value;
}

static inline uint8_t bki_dwarf_u8(struct bki_dwarf *d)
{
    return (uint8_t)bki_dwarf_fixed(d, 1);
}

static inline uint64_t bki_dwarf_uleb(struct bki_dwarf *d)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = bki_dwarf_u8(d);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
}

static inline int64_t bki_dwarf_sleb(struct bki_dwarf *d)
{
    uint64_t value = 0;
    unsigned shift = 0;
    for (;;) {
        uint8_t byte = bki_dwarf_u8(d);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (byte & 0x80)
            continue;
        if (shift < 64 && (byte & 0x40))
            value |= ~(uint64_t)0 << shift;
        return (int64_t)value;
    }
}

/* "" when it does not end. */
static inline const char *bki_dwarf_text(struct bki_dwarf *d)
{
    const unsigned char *zero = d->at < d->end ? memchr(d->at, 0, (size_t)(d->end - d->at)) : NULL;
    const char *text = (const char *)d->at;
    if (!zero) {
        d->bad = true;
        d->at = d->end;
        return "";
    }
    d->at = zero + 1;
    return text;
}

/* The next `size` bytes as a place of their own. */
static inline struct bki_dwarf bki_dwarf_cut(struct bki_dwarf *d, uint64_t size)
{
    struct bki_dwarf part = {d->at, d->at, false};
    if (size > (uint64_t)(d->end - d->at)) {
        d->bad = part.bad = true;
        d->at = d->end;
        return part;
    }
    part.end = d->at += size;
    return part;
}

#endif
