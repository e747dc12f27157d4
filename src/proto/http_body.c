/* SPDX-License-Identifier: MIT
 * The framing of bodies: a state for each place in the grammar of a chunk's line (RFC 9112 7.1). */
#include "proto/http_body.h"

#include <beck/error.h>

#include "base/text.h"
#include "proto/http_chars.h"

#define MAX_DIGITS 16 /* more are leading zeros, which count as extension bytes */

enum state {
    PLAIN, /* content without chunks: d->left bytes of it */
    SIZE,  /* in a chunk's size */
    /* chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
    EXT_SPACE,      /* behind the size, or a value: white space before the ";" */
    EXT_NAME_FIRST, /* behind the ";" */
    EXT_NAME,
    EXT_NAME_SPACE,  /* white space before the "=" */
    EXT_VALUE_FIRST, /* behind the "=" */
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_QUOTED_END,
    LINE_LF, /* behind the CR of a chunk's line */
    CHUNK,   /* in a chunk: d->left bytes of it are to come */
    CHUNK_CR,
    CHUNK_LF,
    TRAILER,
    OVER,
};

void bki_http_decode_init(struct bki_http_decoder *d, enum bki_http_body kind, int64_t length,
                          bool response, size_t max_ext)
{
    if (max_ext == 0)
        max_ext = BKI_HTTP_MAX_CHUNK_EXT;
    *d = (struct bki_http_decoder){
        .kind = kind,
        .response = response,
        .max_ext = max_ext < UINT32_MAX ? (uint32_t)max_ext : UINT32_MAX - 1,
    };
    if (kind == BKI_HTTP_BODY_CHUNKED) {
        d->state = SIZE;
    } else if (kind == BKI_HTTP_BODY_UNTIL_CLOSE) {
        d->state = PLAIN;
        d->left = INT64_MAX;
    } else {
        d->left = kind == BKI_HTTP_BODY_LENGTH ? length : 0;
        d->state = d->left > 0 ? PLAIN : OVER;
    }
}

static int refuse(struct bki_http_decoder *d, enum bki_http_error error)
{
    d->error = error;
    return bki_http_error_result(error);
}

/* A byte of the size.  Its digits keep within 64 bits by their number, leading zeros apart. */
static int take_digit(struct bki_http_decoder *d, int digit)
{
    if (d->left > INT64_MAX >> 4)
        return refuse(d, BKI_HTTP_E_CHUNK_SIZE);
    d->left = d->left << 4 | digit;
    if (d->digits < MAX_DIGITS)
        d->digits++;
    else if (++d->ext > d->max_ext)
        return refuse(d, BKI_HTTP_E_CHUNK_EXT_LIMIT);
    return 0;
}

/* May a line end in this state? */
static bool may_end(const struct bki_http_decoder *d)
{
    switch (d->state) {
    case SIZE:
        return d->digits > 0;
    case EXT_NAME:
    case EXT_VALUE:
    case EXT_QUOTED_END:
        return true;
    case EXT_SPACE:
    case EXT_NAME_SPACE:
        return d->response;
    default:
        return false;
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The state behind byte c of an extension; OVER: it may not stand there. */
static enum state extension(enum state state, char c)
{
    bool token = bki_char_is(c, BKI_CHAR_TOKEN);
    switch (state) {
    case SIZE:
    case EXT_SPACE:
    case EXT_QUOTED_END:
        return c == ';' ? EXT_NAME_FIRST : is_space(c) ? EXT_SPACE : OVER;
    case EXT_NAME_FIRST:
        return token ? EXT_NAME : is_space(c) ? EXT_NAME_FIRST : OVER;
    case EXT_NAME:
        if (token)
            return EXT_NAME;
        __attribute__((fallthrough));
    case EXT_NAME_SPACE:
        if (c == '=')
            return EXT_VALUE_FIRST;
        return c == ';' ? EXT_NAME_FIRST : is_space(c) ? EXT_NAME_SPACE : OVER;
    case EXT_VALUE_FIRST:
        if (c == '"')
            return EXT_QUOTED;
        return token ? EXT_VALUE : is_space(c) ? EXT_VALUE_FIRST : OVER;
    case EXT_VALUE:
        if (token)
            return EXT_VALUE;
        return c == ';' ? EXT_NAME_FIRST : is_space(c) ? EXT_SPACE : OVER;
    case EXT_QUOTED:
        if (c == '"')
            return EXT_QUOTED_END;
        return c == '\\' ? EXT_ESCAPED : bki_char_is(c, BKI_CHAR_VALUE) ? EXT_QUOTED : OVER;
    default: /* EXT_ESCAPED */
        return bki_char_is(c, BKI_CHAR_VALUE) ? EXT_QUOTED : OVER;
    }
}

/* A byte of a chunk's line, before its CR. */
static int take_line_byte(struct bki_http_decoder *d, char c)
{
    int digit = d->state == SIZE ? bki_hex_value(c) : -1;
    if (digit >= 0)
        return take_digit(d, digit);
    if (c == '\r' && may_end(d)) {
        d->state = LINE_LF;
        return 0;
    }
    if (d->state == SIZE && d->digits == 0)
        return refuse(d, BKI_HTTP_E_CHUNK_SIZE);
    enum state next = extension(d->state, c);
    if (next == OVER)
        return refuse(d, c == '\n' ? BKI_HTTP_E_BARE_LF : BKI_HTTP_E_CHUNK_EXT);
    d->state = next;
    return ++d->ext > d->max_ext ? refuse(d, BKI_HTTP_E_CHUNK_EXT_LIMIT) : 0;
}

/* One byte of framing. */
static int take_byte(struct bki_http_decoder *d, char c)
{
    switch (d->state) {
    case LINE_LF:
        if (c != '\n')
            return refuse(d, BKI_HTTP_E_BARE_CR);
        d->state = d->left > 0 ? CHUNK : TRAILER;
        return 0;
    case CHUNK_CR:
        d->state = CHUNK_LF;
        return c == '\r' ? 0 : refuse(d, BKI_HTTP_E_CHUNK_END);
    case CHUNK_LF:
        d->state = SIZE;
        d->digits = 0;
        return c == '\n' ? 0 : refuse(d, BKI_HTTP_E_CHUNK_END);
    default:
        return take_line_byte(d, c);
    }
}

int bki_http_decode(struct bki_http_decoder *d, const char *in, size_t len, size_t *skip)
{
    *skip = 0;
    if (d->error)
        return bki_http_error_result(d->error);
    for (size_t i = 0;; i++) {
        *skip = i;
        if (d->state == OVER)
            return BKI_HTTP_END;
        if (d->state == TRAILER)
            return BKI_HTTP_TRAILER;
        if (d->state == PLAIN || d->state == CHUNK)
            return BKI_HTTP_CONTENT;
        if (i == len)
            return BKI_HTTP_MORE;
        int r = take_byte(d, in[i]);
        if (r < 0)
            return r;
    }
}

void bki_http_decode_took(struct bki_http_decoder *d, size_t n)
{
    if (d->kind == BKI_HTTP_BODY_UNTIL_CLOSE)
        return;
    d->left -= (int64_t)n;
    if (d->left == 0)
        d->state = d->state == CHUNK ? CHUNK_CR : OVER;
}

void bki_http_decode_trailer_read(struct bki_http_decoder *d)
{
    d->state = OVER;
}

int bki_http_decode_eof(struct bki_http_decoder *d)
{
    if (d->kind == BKI_HTTP_BODY_UNTIL_CLOSE)
        d->state = OVER;
    return d->state == OVER ? 0 : -BK_EINCOMPLETE;
}

size_t bki_http_chunk_head(char out[BKI_HTTP_CHUNK_HEAD], size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 1;
    while (n < 16 && len >> (4 * n))
        n++;
    for (size_t i = 0; i < n; i++)
        out[i] = digits[len >> (4 * (n - 1 - i)) & 15];
    out[n] = '\r';
    out[n + 1] = '\n';
    return n + 2;
}
