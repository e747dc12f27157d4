/* SPDX-License-Identifier: MIT
 * The HTTP/1.x head parser: finds each line once, checks it, remembers where its parts are. */
#include "proto/http_head.h"

#include <arpa/inet.h>
#include <ctype.h>

#include <beck/error.h>

#include "base/text.h"
#include "proto/http_chars.h"

#define BKI_HTTP_ERROR_RESULT(name, result, status, text) -(result),
#define BKI_HTTP_ERROR_STATUS(name, result, status, text) status,
#define BKI_HTTP_ERROR_TEXT(name, result, status, text) text,
static const int error_results[] = {BKI_HTTP_ERRORS(BKI_HTTP_ERROR_RESULT)};
static const int error_statuses[] = {BKI_HTTP_ERRORS(BKI_HTTP_ERROR_STATUS)};
static const char *const error_texts[] = {BKI_HTTP_ERRORS(BKI_HTTP_ERROR_TEXT)};

/* Offsets are 32 bits wide; this keeps start line and block together far below that. */
#define MOST_BYTES (1u << 30)

const char *bki_http_error_text(enum bki_http_error error)
{
    return (unsigned)error < BKI_HTTP_ERROR_COUNT ? error_texts[error] : "unknown error";
}

int bki_http_error_result(enum bki_http_error error)
{
    return error_results[error];
}

int bki_http_error_status(const struct bki_http_head *h)
{
    return h->error && h->kind == BKI_HTTP_RESPONSE ? 502 : error_statuses[h->error];
}

static uint32_t limit_of(size_t given, uint32_t fallback)
{
    if (given == 0)
        return fallback;
    return given < MOST_BYTES ? (uint32_t)given : MOST_BYTES;
}

void bki_http_init(struct bki_http_head *h, enum bki_http_kind kind, struct bki_http_field *fields,
                   size_t max_fields, const struct bki_http_limits *limits)
{
    *h = (struct bki_http_head){
        .kind = kind,
        .fields = fields,
        .max_fields = max_fields < MOST_BYTES ? (uint32_t)max_fields : MOST_BYTES,
        .max_line = limit_of(limits ? limits->max_line : 0, BKI_HTTP_MAX_LINE),
        .max_block = limit_of(limits ? limits->max_block : 0, BKI_HTTP_MAX_BLOCK),
        .content_length = -1,
        .in_fields = kind == BKI_HTTP_TRAILERS,
        .folds = kind == BKI_HTTP_RESPONSE,
    };
}

static int refuse(struct bki_http_head *h, enum bki_http_error error)
{
    h->error = error;
    h->error_at = h->line;
    return error_results[error];
}

static struct bki_range range_of(const struct bki_http_head *h, bk_span s)
{
    return (struct bki_range){(uint32_t)(s.data - h->base), (uint32_t)s.len};
}

/* ---- Start lines ---- */

/* "HTTP/1.1": fills h->minor. */
static int take_version(struct bki_http_head *h, bk_span s)
{
    if (s.len != 8 || memcmp(s.data, "HTTP/", 5) != 0 || !bki_char_is(s.data[5], BKI_CHAR_DIGIT) ||
        s.data[6] != '.' || !bki_char_is(s.data[7], BKI_CHAR_DIGIT))
        return refuse(h, BKI_HTTP_E_VERSION);
    if (s.data[5] != '1')
        return refuse(h, BKI_HTTP_E_VERSION_MAJOR);
    h->minor = s.data[7] - '0';
    return 0;
}

/* How many bytes of s a host may have that is a name; a '%' needs two hex digits behind it. */
static size_t name_len(bk_span s)
{
    size_t i = 0;
    while (i < s.len && bki_char_is(s.data[i], BKI_CHAR_HOST)) {
        if (s.data[i] == '%' && !bki_is_percent_triple(s.data + i, s.len - i))
            break;
        i++;
    }
    return i;
}

/* The same for an address in brackets: of version 6, a zone behind it, or of some future one. */
static size_t literal_len(bk_span s)
{
    const char *end = memchr(s.data, ']', s.len);
    size_t len = end ? (size_t)(end - s.data) - 1 : 0, zone = 0;
    char text[INET6_ADDRSTRLEN] = "";
    struct in6_addr address;
    if (len == 0)
        return 0;
    bk_span inside = bk_span_of(s.data + 1, len);
    if ((inside.data[0] | 0x20) == 'v')
        return bki_chars_all(inside, BKI_CHAR_HOST) ? len + 2 : 0;
    while (zone < len && inside.data[zone] != '%')
        zone++;
    bk_span rest = bk_span_of(inside.data + zone, len - zone);
    if (zone >= sizeof text || name_len(rest) < rest.len)
        return 0;
    memcpy(text, inside.data, zone);
    return inet_pton(AF_INET6, text, &address) == 1 ? len + 2 : 0;
}

/* host [":" port], RFC 9110 7.2, without user information. */
static bool is_authority(bk_span s, bool port_needed)
{
    size_t i = s.len > 0 && s.data[0] == '[' ? literal_len(s) : name_len(s);
    if (i == 0)
        return false;
    if (i == s.len)
        return !port_needed;
    bk_span port = bk_span_of(s.data + i + 1, s.len - i - 1);
    return s.data[i] == ':' && port.len <= 5 && bki_chars_all(port, BKI_CHAR_DIGIT) &&
           (port.len > 0 || !port_needed);
}

/* scheme "://" authority [path] [query] */
static bool is_absolute(bk_span s)
{
    size_t i = 0;
    while (i < s.len && bki_char_is(s.data[i], BKI_CHAR_SCHEME))
        i++;
    if (i == 0 || !isalpha((unsigned char)s.data[0]) || s.len - i < 4 ||
        memcmp(s.data + i, "://", 3) != 0)
        return false;
    size_t start = i += 3;
    while (i < s.len && s.data[i] != '/' && s.data[i] != '?')
        i++;
    return is_authority(bk_span_of(s.data + start, i - start), false);
}

static int take_target(struct bki_http_head *h, bk_span method, bk_span s)
{
    if (s.len == 0 || !bki_chars_all(s, BKI_CHAR_TARGET))
        return refuse(h, BKI_HTTP_E_TARGET);
    bool connect = method.len == 7 && memcmp(method.data, "CONNECT", 7) == 0;
    bool options = method.len == 7 && memcmp(method.data, "OPTIONS", 7) == 0;
    bool fits;
    if (connect) {
        h->form = BKI_HTTP_AUTHORITY;
        fits = is_authority(s, true);
    } else if (s.data[0] == '/') {
        h->form = BKI_HTTP_ORIGIN;
        fits = true;
    } else if (s.len == 1 && s.data[0] == '*') {
        h->form = BKI_HTTP_ASTERISK;
        fits = options;
    } else {
        h->form = BKI_HTTP_ABSOLUTE;
        fits = is_absolute(s);
    }
    h->target = range_of(h, s);
    return fits ? 0 : refuse(h, BKI_HTTP_E_TARGET_FORM);
}

/* method SP target SP version, RFC 9112 3 */
static int take_request_line(struct bki_http_head *h, bk_span line)
{
    const char *end = line.data + line.len;
    const char *sp = memchr(line.data, ' ', line.len);
    bk_span method = bk_span_of(line.data, sp ? (size_t)(sp - line.data) : line.len);
    if (!bki_is_token(method))
        return refuse(h, BKI_HTTP_E_METHOD);
    const char *target = sp ? sp + 1 : end;
    const char *sp2 = memchr(target, ' ', (size_t)(end - target));
    if (!sp2)
        return refuse(h, BKI_HTTP_E_REQUEST_LINE);
    h->method = range_of(h, method);
    int r = take_target(h, method, bk_span_of(target, (size_t)(sp2 - target)));
    return r < 0 ? r : take_version(h, bk_span_of(sp2 + 1, (size_t)(end - sp2 - 1)));
}

/* version SP status [SP reason], RFC 9112 4.  The second space is missing often enough to be let
 * go. */
static int take_status_line(struct bki_http_head *h, bk_span line)
{
    if (line.len < 12 || line.data[8] != ' ')
        return refuse(h, BKI_HTTP_E_STATUS_LINE);
    int r = take_version(h, bk_span_of(line.data, 8));
    if (r < 0)
        return r;
    if (!bki_chars_all(bk_span_of(line.data + 9, 3), BKI_CHAR_DIGIT) || line.data[9] == '0' ||
        (line.len > 12 && line.data[12] != ' '))
        return refuse(h, BKI_HTTP_E_STATUS_LINE);
    h->status = (line.data[9] - '0') * 100 + (line.data[10] - '0') * 10 + (line.data[11] - '0');
    h->reason = range_of(h, bk_span_of(line.data + 12, 0));
    if (line.len > 13)
        h->reason = range_of(h, bk_span_of(line.data + 13, line.len - 13));
    return 0;
}

/* ---- Header lines ---- */

static int take_host(struct bki_http_head *h, bk_span value)
{
    if (h->has_host)
        return refuse(h, BKI_HTTP_E_HOST_TWICE);
    h->has_host = true;
    if (value.len > 0 && !is_authority(value, false))
        return refuse(h, BKI_HTTP_E_HOST);
    return 0;
}

/* One number, or the same one several times (RFC 9110 8.6). */
static int take_length(struct bki_http_head *h, bk_span value)
{
    for (;;) {
        const char *comma = memchr(value.data, ',', value.len);
        size_t n = comma ? (size_t)(comma - value.data) : value.len;
        bk_span digits = bki_trim(bk_span_of(value.data, n));
        int64_t length = 0;
        for (size_t i = 0; i < digits.len; i++) {
            if (!bki_char_is(digits.data[i], BKI_CHAR_DIGIT) ||
                __builtin_mul_overflow(length, 10, &length) ||
                __builtin_add_overflow(length, digits.data[i] - '0', &length))
                return refuse(h, BKI_HTTP_E_LENGTH);
        }
        if (digits.len == 0)
            return refuse(h, BKI_HTTP_E_LENGTH);
        if (h->content_length >= 0 && h->content_length != length)
            return refuse(h, BKI_HTTP_E_LENGTH_DIFFERS);
        h->content_length = length;
        if (!comma)
            return 0;
        value = bk_span_of(comma + 1, value.len - n - 1);
    }
}

static int take_codings(struct bki_http_head *h, bk_span value)
{
    bk_span coding;
    h->has_coding = true;
    while (bki_http_list_next(&value, &coding)) {
        struct bki_http_param param;
        bk_span rest = coding;
        if (bki_is_nocase(coding, "chunked")) {
            if (h->chunked_seen)
                return refuse(h, BKI_HTTP_E_CODING);
            h->chunked = h->chunked_seen = true;
            continue;
        }
        int r = bki_http_param_next(&rest, &param);
        if (r <= 0 || param.has_value || bki_is_nocase(param.name, "chunked"))
            return refuse(h, BKI_HTTP_E_CODING);
        h->chunked = false;
        h->other_coding = true;
    }
    return 0;
}

static int take_field(struct bki_http_head *h, bk_span line)
{
    if (line.data[0] == ' ' || line.data[0] == '\t')
        return refuse(h, BKI_HTTP_E_FOLDED);
    size_t colon = 0;
    while (colon < line.len && bki_char_is(line.data[colon], BKI_CHAR_TOKEN))
        colon++;
    if (colon == 0 || colon == line.len || line.data[colon] != ':')
        return refuse(h, BKI_HTTP_E_NAME);
    if (h->n_fields == h->max_fields)
        return refuse(h, BKI_HTTP_E_FIELDS_LIMIT);
    bk_span name = bk_span_of(line.data, colon);
    bk_span value = bki_trim(bk_span_of(line.data + colon + 1, line.len - colon - 1));
    h->fields[h->n_fields++] = (struct bki_http_field){range_of(h, name), range_of(h, value)};
    if (h->kind == BKI_HTTP_TRAILERS || bki_http_ends_with_head(h))
        return 0;
    switch (name.len) {
    case 4:
        return bki_is_nocase(name, "Host") && h->kind == BKI_HTTP_REQUEST ? take_host(h, value) : 0;
    case 14:
        return bki_is_nocase(name, "Content-Length") ? take_length(h, value) : 0;
    case 17:
        return bki_is_nocase(name, "Transfer-Encoding") ? take_codings(h, value) : 0;
    default:
        return 0;
    }
}

/* What only the whole block can tell. */
static int finish(struct bki_http_head *h)
{
    bool request = h->kind == BKI_HTTP_REQUEST;
    if (request && h->minor >= 1 && !h->has_host)
        return refuse(h, BKI_HTTP_E_NO_HOST);
    if (h->has_coding) {
        if (h->content_length >= 0)
            return refuse(h, BKI_HTTP_E_LENGTH_AND_CODING);
        if (h->minor == 0)
            return refuse(h, BKI_HTTP_E_CODING_1_0);
        if (request && !h->chunked)
            return refuse(h, BKI_HTTP_E_NOT_CHUNKED);
        if (h->other_coding)
            return refuse(h, BKI_HTTP_E_CODING_UNKNOWN);
        if (!h->chunked)
            return refuse(h, BKI_HTTP_E_CODING);
    }
    return 1;
}

static int take_line(struct bki_http_head *h, bk_span line, uint32_t next)
{
    if (h->in_fields) {
        if (line.len > 0)
            return take_field(h, line);
        h->len = next;
        return finish(h);
    }
    if (line.len == 0 && h->kind == BKI_HTTP_REQUEST) {
        if (h->saw_empty)
            return refuse(h, BKI_HTTP_E_EMPTY_LINE);
        h->saw_empty = true;
        return 0;
    }
    h->in_fields = true;
    h->block = next;
    return h->kind == BKI_HTTP_REQUEST ? take_request_line(h, line) : take_status_line(h, line);
}

/* ---- Finding lines ---- */

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* Offset of the first control character other than tab in buf[from..to), or `to`. */
static size_t find_control(const char *buf, size_t from, size_t to)
{
    size_t i = from;
    while (i < to) {
        size_t stop = to;
        if (to - i >= 8) {
            uint64_t v, del;
            memcpy(&v, buf + i, 8);
            del = v ^ (ONES * 0x7f);
            if (!((((v - ONES * 0x20) & ~v) | ((del - ONES) & ~del)) & HIGHS)) {
                i += 8;
                continue;
            }
            stop = i + 8;
        }
        for (; i < stop; i++) {
            uint8_t c = (uint8_t)buf[i];
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return i;
        }
    }
    return to;
}

/* No byte at or beyond this offset may belong to what is being read. */
static size_t limit_at(const struct bki_http_head *h)
{
    return h->in_fields ? (size_t)h->block + h->max_block : (size_t)h->line + h->max_line;
}

static int over_limit(struct bki_http_head *h)
{
    if (h->in_fields)
        return refuse(h, BKI_HTTP_E_BLOCK_LIMIT);
    return refuse(h, h->kind == BKI_HTTP_REQUEST ? BKI_HTTP_E_LINE_LIMIT
                                                 : BKI_HTTP_E_STATUS_LINE_LIMIT);
}

/* Finds the next line end.  Returns 1 with *end at its terminator and *next behind it; 0 when stop
 * came first; or the refusal. */
static int find_line_end(struct bki_http_head *h, const char *buf, size_t stop, size_t *end,
                         size_t *next)
{
    size_t at = find_control(buf, h->scanned, stop);
    h->scanned = (uint32_t)at;
    *end = at;
    if (at == stop)
        return 0;
    if (buf[at] == '\n') {
        *next = at + 1;
        return h->kind == BKI_HTTP_RESPONSE ? 1 : refuse(h, BKI_HTTP_E_BARE_LF);
    }
    if (buf[at] != '\r')
        return refuse(h, BKI_HTTP_E_CONTROL);
    if (at + 1 == stop)
        return 0;
    *next = at + 2;
    return buf[at + 1] == '\n' ? 1 : refuse(h, BKI_HTTP_E_BARE_CR);
}

/* The same for a whole line: a client takes the folds of a response's field for blanks, a server
 * refuses them (RFC 9112 5.2). */
static int find_line(struct bki_http_head *h, const char *buf, size_t stop, size_t *end,
                     size_t *next)
{
    int r;
    while ((r = find_line_end(h, buf, stop, end, next)) == 1) {
        if (!h->folds || !h->in_fields || *end == h->line)
            return 1;
        if (*next == stop)
            return 0; /* what follows tells */
        if (buf[*next] != ' ' && buf[*next] != '\t')
            return 1;
        h->folded = true;
        h->scanned = (uint32_t)*next;
    }
    return r;
}

int bki_http_feed(struct bki_http_head *h, const char *buf, size_t len)
{
    if (h->error)
        return error_results[h->error];
    h->base = buf;
    if (h->len)
        return 1;
    for (;;) {
        size_t limit = limit_at(h), stop = len < limit ? len : limit, end, next;
        int r = find_line(h, buf, stop, &end, &next);
        if (r == 0)
            return stop == limit ? over_limit(h) : 0;
        if (r < 0)
            return r;
        r = take_line(h, bk_span_of(buf + h->line, end - h->line), (uint32_t)next);
        if (r != 0)
            return r;
        h->line = h->scanned = (uint32_t)next;
    }
}
