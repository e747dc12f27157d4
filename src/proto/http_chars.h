/* SPDX-License-Identifier: MIT
 * Which bytes may stand where in an HTTP head (RFC 9110 5.6, RFC 9112, RFC 3986), and ASCII case.
 */
#ifndef BECK_SRC_PROTO_HTTP_CHARS_H
#define BECK_SRC_PROTO_HTTP_CHARS_H

#include <beck/base.h>

enum {
    BKI_CHAR_TOKEN = 1,  /* tchar */
    BKI_CHAR_TARGET = 2, /* request target: visible ASCII without '#' */
    BKI_CHAR_VALUE = 4,  /* field value: visible, space, tab, bytes from 0x80 */
    BKI_CHAR_HOST = 8,   /* reg-name, without the comma that would join two of them */
    BKI_CHAR_SCHEME = 16,
    BKI_CHAR_DIGIT = 32,
};

extern const uint8_t bki_http_chars[256];

static inline bool bki_char_is(char c, int classes)
{
    return bki_http_chars[(uint8_t)c] & classes;
}

/* Is every byte of s in one of the classes?  True of the empty span. */
bool bki_chars_all(bk_span s, int classes);

/* One or more tchars. */
static inline bool bki_is_token(bk_span s)
{
    return s.len > 0 && bki_chars_all(s, BKI_CHAR_TOKEN);
}

/* Equal but for ASCII case. */
bool bki_same_nocase(bk_span s, bk_span other);

static inline bool bki_is_nocase(bk_span s, const char *text)
{
    return bki_same_nocase(s, bk_span_str(text));
}

/* Is it one of the names, NULL behind the last, but for ASCII case? */
bool bki_is_one_of(bk_span s, const char *const *names);

/* s without the spaces, tabs and folds at its ends. */
bk_span bki_trim(bk_span s);

#endif
