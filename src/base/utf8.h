/* SPDX-License-Identifier: MIT
 * Checks that bytes are UTF-8 (RFC 3629), in pieces of any size.
 *
 * Overlong forms, surrogates (U+D800..U+DFFF), code points above U+10FFFF, stray and missing
 * continuation bytes are refused at the first byte that cannot be part of any valid text. */
#ifndef BECK_SRC_BASE_UTF8_H
#define BECK_SRC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* What is left of a sequence at the end of a piece.  Zero-initialised: the start of a text. */
struct bki_utf8 {
    unsigned char missing;   /* continuation bytes still to come */
    unsigned char low, high; /* the range the next of them must lie in; 0, 0: any */
    bool broken;             /* an error was seen; nothing after it counts */
};

/* Takes the next piece.  Returns whether all so far can be the start of a valid text. */
bool bki_utf8_feed(struct bki_utf8 *utf8, const void *data, size_t len);

/* Whether the text may end here: no error, and no sequence cut in the middle. */
static inline bool bki_utf8_complete(const struct bki_utf8 *utf8)
{
    return !utf8->broken && utf8->missing == 0;
}

/* Whether data[0..len) is a whole valid text. */
static inline bool bki_utf8_valid(const void *data, size_t len)
{
    struct bki_utf8 utf8 = {0};
    return bki_utf8_feed(&utf8, data, len) && bki_utf8_complete(&utf8);
}

#endif
