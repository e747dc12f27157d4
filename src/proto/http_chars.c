/* SPDX-License-Identifier: MIT
 * The character classes of HTTP heads as one table, and the few span helpers that go with it. */
#include "proto/http_chars.h"

#define T BKI_CHAR_TOKEN
#define R BKI_CHAR_TARGET
#define V BKI_CHAR_VALUE
#define H BKI_CHAR_HOST
#define S BKI_CHAR_SCHEME
#define ALPHA (T | R | V | H | S)
#define DIGIT (T | R | V | H | S | BKI_CHAR_DIGIT)

const uint8_t bki_http_chars[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | R | V | H,
    ['"'] = R | V,
    ['#'] = T | V,
    ['$'] = T | R | V | H,
    ['%'] = T | R | V | H,
    ['&'] = T | R | V | H,
    ['\''] = T | R | V | H,
    ['('] = R | V | H,
    [')'] = R | V | H,
    ['*'] = T | R | V | H,
    ['+'] = T | R | V | H | S,
    [','] = R | V,
    ['-'] = T | R | V | H | S,
    ['.'] = T | R | V | H | S,
    ['/'] = R | V,
    ['0' ... '9'] = DIGIT,
    [':'] = R | V,
    [';'] = R | V | H,
    ['<'] = R | V,
    ['='] = R | V | H,
    ['>' ... '@'] = R | V,
    ['A' ... 'Z'] = ALPHA,
    ['[' ... ']'] = R | V,
    ['^'] = T | R | V,
    ['_'] = T | R | V | H,
    ['`'] = T | R | V,
    ['a' ... 'z'] = ALPHA,
    ['{'] = R | V,
    ['|'] = T | R | V,
    ['}'] = R | V,
    ['~'] = T | R | V | H,
    [0x80 ... 0xff] = V,
};

bool bki_chars_all(bk_span s, int classes)
{
    for (size_t i = 0; i < s.len; i++)
        if (!bki_char_is(s.data[i], classes))
            return false;
    return true;
}

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

bool bki_same_nocase(bk_span s, bk_span other)
{
    if (s.len != other.len)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (lower(s.data[i]) != lower(other.data[i]))
            return false;
    return true;
}

bool bki_is_one_of(bk_span s, const char *const *names)
{
    for (; *names; names++)
        if (bki_is_nocase(s, *names))
            return true;
    return false;
}

/* Line ends are left in a folded value only. */
static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bk_span bki_trim(bk_span s)
{
    while (s.len > 0 && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}
