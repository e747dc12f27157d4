/* SPDX-License-Identifier: MIT
 * The JSON scanner: see json.h. */
#include "flow/json.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>

#include <beck/error.h>

#include "base/alloc.h"

#define DIGITS_MAX 64 /* of a number that is copied to be converted on the stack */

void bki_json_start(struct bki_json *json, bk_span text)
{
    *json = (struct bki_json){.p = text.data, .end = text.data + text.len, .start = text.data};
}

static int fail(struct bki_json *json, const char *at, const char *what)
{
    json->p = at;
    json->what = what;
    return -BK_EFORMAT;
}

static int unexpected(struct bki_json *json, const char *at, const char *wanted)
{
    return fail(json, at, at == json->end ? "the text ends too early" : wanted);
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct bki_json *json)
{
    while (json->p < json->end && is_space(*json->p))
        json->p++;
}

static inline bool is_digit(const struct bki_json *json, const char *p)
{
    return p < json->end && *p >= '0' && *p <= '9';
}

static int scan_hex4(struct bki_json *json, const char *p)
{
    for (int i = 0; i < 4; i++)
        if (p + i >= json->end || !strchr("0123456789abcdefABCDEF", p[i]) || !p[i])
            return unexpected(json, p + i, "\\u takes four hexadecimal digits");
    return 0;
}

/* Whether eight bytes hold neither a quote nor a backslash nor a control character.  A byte below n
 * is one where subtracting n borrows from the top bit; a byte equal to c is one where XOR with c is
 * below 1. */
static inline bool eight_plain(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    uint64_t v;
    memcpy(&v, p, sizeof v);
    uint64_t quote = v ^ ones * '"', backslash = v ^ ones * '\\';
    uint64_t found =
        ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
    return (found & tops) == 0;
}

static int scan_string(struct bki_json *json, struct bki_json_value *out)
{
    const char *p = json->p + 1;
    out->type = BKI_JSON_STRING;
    out->escaped = false;
    for (;; p++) {
        while (json->end - p >= 8 && eight_plain(p))
            p += 8;
        while (p < json->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
            p++;
        if (p == json->end)
            return fail(json, json->p, "a string without its end");
        if (*p == '"')
            break;
        if (*p != '\\')
            return fail(json, p, "a control character in a string");
        out->escaped = true;
        if (++p == json->end)
            return fail(json, json->p, "a string without its end");
        if (*p == 'u') {
            if (scan_hex4(json, p + 1) < 0)
                return -BK_EFORMAT;
            p += 4;
        } else if (!*p || !strchr("\"\\/bfnrt", *p)) {
            return fail(json, p, "no such escape in a string");
        }
    }
    out->text = bk_span_of(json->p + 1, (size_t)(p - json->p - 1));
    json->p = p + 1;
    return 0;
}

static int scan_number(struct bki_json *json, struct bki_json_value *out)
{
    const char *p = json->p + (*json->p == '-');
    out->type = BKI_JSON_INTEGER;
    if (!is_digit(json, p))
        return unexpected(json, p, "a digit is missing");
    if (*p == '0' && is_digit(json, p + 1))
        return fail(json, p, "a number with a leading zero");
    while (is_digit(json, p))
        p++;
    if (p < json->end && *p == '.') {
        out->type = BKI_JSON_REAL;
        if (!is_digit(json, ++p))
            return unexpected(json, p, "a digit is missing");
        while (is_digit(json, p))
            p++;
    }
    if (p < json->end && (*p == 'e' || *p == 'E')) {
        out->type = BKI_JSON_REAL;
        p++;
        p += p < json->end && (*p == '+' || *p == '-');
        if (!is_digit(json, p))
            return unexpected(json, p, "a digit is missing");
        while (is_digit(json, p))
            p++;
    }
    out->text = bk_span_of(json->p, (size_t)(p - json->p));
    json->p = p;
    return 0;
}

static int scan_word(struct bki_json *json, struct bki_json_value *out)
{
    size_t left = (size_t)(json->end - json->p), len = 4;
    if (left >= 4 && memcmp(json->p, "null", 4) == 0) {
        out->type = BKI_JSON_NULL;
    } else if (left >= 4 && memcmp(json->p, "true", 4) == 0) {
        out->type = BKI_JSON_TRUE;
    } else if (left >= 5 && memcmp(json->p, "false", 5) == 0) {
        out->type = BKI_JSON_FALSE;
        len = 5;
    } else {
        return unexpected(json, json->p, "a value was expected");
    }
    out->text = bk_span_of(json->p, len);
    json->p += len;
    return 0;
}

static int scan_scalar(struct bki_json *json, struct bki_json_value *out)
{
    out->escaped = false;
    if (json->p == json->end)
        return fail(json, json->p, "the text ends too early");
    if (*json->p == '"')
        return scan_string(json, out);
    if (*json->p == '-' || (*json->p >= '0' && *json->p <= '9'))
        return scan_number(json, out);
    return scan_word(json, out);
}

/* A key and its colon. */
static int scan_key(struct bki_json *json, struct bki_json_value *key)
{
    skip_space(json);
    if (json->p == json->end || *json->p != '"')
        return unexpected(json, json->p, "a key in quotes was expected");
    if (scan_string(json, key) < 0)
        return -BK_EFORMAT;
    skip_space(json);
    if (json->p == json->end || *json->p != ':')
        return unexpected(json, json->p, "':' was expected after a key");
    json->p++;
    return 0;
}

/* The open brackets of a nested value: a bit for each, set for an object. */
struct nesting {
    size_t depth;
    uint8_t is_object[BKI_JSON_DEPTH / 8];
};

static int open_bracket(struct bki_json *json, struct nesting *in)
{
    bool object = *json->p == '{';
    if (in->depth == BKI_JSON_DEPTH)
        return fail(json, json->p, "nested too deeply");
    size_t d = in->depth++;
    uint8_t bit = (uint8_t)(1u << d % 8);
    in->is_object[d / 8] =
        (uint8_t)(object ? in->is_object[d / 8] | bit : in->is_object[d / 8] & ~bit);
    json->p++;
    return 0;
}

static bool in_object(const struct nesting *in)
{
    size_t d = in->depth - 1;
    return in->is_object[d / 8] >> d % 8 & 1;
}

/* After a value inside brackets: closes those that end here.  1 when another value must follow, 0
 * when the outermost bracket is closed. */
static int close_brackets(struct bki_json *json, struct nesting *in)
{
    while (in->depth > 0) {
        skip_space(json);
        bool object = in_object(in);
        if (json->p < json->end && *json->p == ',') {
            json->p++;
            struct bki_json_value key;
            return object && scan_key(json, &key) < 0 ? -BK_EFORMAT : 1;
        }
        if (json->p == json->end || *json->p != (object ? '}' : ']'))
            return unexpected(json, json->p,
                              object ? "',' or '}' was expected" : "',' or ']' was expected");
        json->p++;
        in->depth--;
    }
    return 0;
}

/* Reads values, descending into brackets, until the outermost one is closed. */
static int scan_nested(struct bki_json *json)
{
    struct nesting in = {.depth = 0};
    int r;
    do {
        skip_space(json);
        if (json->p < json->end && (*json->p == '{' || *json->p == '[')) {
            if (open_bracket(json, &in) < 0)
                return -BK_EFORMAT;
            skip_space(json);
            struct bki_json_value key;
            bool object = in_object(&in);
            if (json->p < json->end && *json->p == (object ? '}' : ']'))
                r = close_brackets(json, &in);
            else
                r = object && scan_key(json, &key) < 0 ? -BK_EFORMAT : 1;
        } else {
            struct bki_json_value scalar;
            r = scan_scalar(json, &scalar) < 0 ? -BK_EFORMAT : close_brackets(json, &in);
        }
    } while (r > 0);
    return r;
}

static int scan_value(struct bki_json *json, struct bki_json_value *out)
{
    skip_space(json);
    if (json->p == json->end || (*json->p != '{' && *json->p != '['))
        return scan_scalar(json, out);
    const char *from = json->p;
    out->type = *from == '{' ? BKI_JSON_OBJECT : BKI_JSON_ARRAY;
    out->escaped = false;
    if (scan_nested(json) < 0)
        return -BK_EFORMAT;
    out->text = bk_span_of(from, (size_t)(json->p - from));
    return 0;
}

int bki_json_value(struct bki_json *json, struct bki_json_value *out)
{
    skip_space(json);
    if (json->p == json->end)
        return 0;
    return scan_value(json, out) < 0 ? -BK_EFORMAT : 1;
}

int bki_json_end(struct bki_json *json)
{
    skip_space(json);
    return json->p == json->end ? 0 : fail(json, json->p, "more follows the value");
}

int bki_json_object(struct bki_json *json)
{
    skip_space(json);
    if (json->p == json->end || *json->p != '{')
        return 0;
    json->p++;
    json->first = true;
    return 1;
}

int bki_json_member(struct bki_json *json, struct bki_json_value *key, struct bki_json_value *value)
{
    skip_space(json);
    if (json->p < json->end && *json->p == '}') {
        json->p++;
        return 0;
    }
    if (!json->first) {
        if (json->p == json->end || *json->p != ',')
            return unexpected(json, json->p, "',' or '}' was expected");
        json->p++;
    }
    json->first = false;
    if (scan_key(json, key) < 0 || scan_value(json, value) < 0)
        return -BK_EFORMAT;
    return 1;
}

int bki_json_fail(const struct bki_json *json)
{
    return bk_fail(-BK_EFORMAT, "not JSON: %s at column %zu", json->what,
                   (size_t)(json->p - json->start) + 1);
}

int bki_json_check(bk_span text)
{
    struct bki_json json;
    struct bki_json_value value;
    bki_json_start(&json, text);
    int r = bki_json_value(&json, &value);
    if (r < 0 || (r > 0 && bki_json_end(&json) < 0))
        return bki_json_fail(&json);
    return r;
}

int bki_json_find(bk_span text, const char *name, struct bki_json_value *out)
{
    struct bki_json json;
    struct bki_json_value key, value;
    bki_json_start(&json, text);
    int r = bki_json_object(&json), found = 0;
    if (r == 0)
        return 0;
    while ((r = bki_json_member(&json, &key, &value)) > 0) {
        if (bki_json_equals(&key, name)) {
            *out = value;
            found = 1;
        }
    }
    if (r < 0 || bki_json_end(&json) < 0)
        return bki_json_fail(&json);
    return found;
}

/* ---- Values ---- */

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t digit = (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        v = v << 4 | digit;
    }
    return v;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* p is at the digits of an escape already checked; returns past what it used. */
static const char *decode_u(const char *p, const char *end, char **out)
{
    uint32_t c = hex4(p);
    p += 4;
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        uint32_t low = hex4(p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        }
    }
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd;
    *out = put_utf8(*out, c);
    return p;
}

static char plain_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

size_t bki_json_decode(const struct bki_json_value *string, char *out)
{
    const char *p = string->text.data, *end = p + string->text.len;
    char *start = out;
    while (p < end) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        char c = p[1];
        p += 2;
        if (c == 'u')
            p = decode_u(p, end, &out);
        else
            *out++ = plain_escape(c);
    }
    return (size_t)(out - start);
}

bool bki_json_equals(const struct bki_json_value *string, const char *name)
{
    size_t len = strlen(name);
    if (!string->escaped)
        return string->text.len == len && memcmp(string->text.data, name, len) == 0;
    char small[256];
    if (string->text.len > sizeof small)
        return false; /* an escape takes at most six times the bytes of what it stands for */
    size_t n = bki_json_decode(string, small);
    return n == len && memcmp(small, name, len) == 0;
}

bool bki_json_int(const struct bki_json_value *number, int64_t *out)
{
    const char *p = number->text.data, *end = p + number->text.len;
    bool negative = *p == '-';
    int64_t v = 0;
    if (number->type != BKI_JSON_INTEGER)
        return false;
    for (p += negative; p < end; p++) {
        int digit = *p - '0';
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, negative ? -digit : digit, &v))
            return false;
    }
    *out = v;
    return true;
}

/* The program's locale may write 1,5. */
static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Up to 15 digits and a power of ten up to 22 are both exact as doubles, and so one division rounds
 * once, to the nearest: the value that strtod finds more slowly.  False: not such a number. */
static bool short_decimal(bk_span text, double *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *p = text.data, *end = p + text.len;
    bool negative = *p == '-';
    int64_t digits = 0;
    const char *point = end;
    int n = 0;
    for (p += negative; p < end; p++) {
        if (*p == '.')
            point = p + 1;
        else if (*p < '0' || *p > '9' || n++ == 15)
            return false;
        else
            digits = digits * 10 + (*p - '0');
    }
    double value = (double)digits / powers[end - point];
    *out = negative ? -value : value;
    return true;
}

double bki_json_double(const struct bki_json_value *number)
{
    char digits[DIGITS_MAX];
    size_t len = number->text.len;
    double fast;
    if (short_decimal(number->text, &fast))
        return fast;
    char *text = len < sizeof digits ? digits : bki_alloc(len + 1);
    if (!text)
        return 0;
    memcpy(text, number->text.data, len);
    text[len] = '\0';
    pthread_once(&c_locale_once, make_c_locale);
    double d = c_locale ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
    if (text != digits)
        bki_free(text);
    return d;
}
