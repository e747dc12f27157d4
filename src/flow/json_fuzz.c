/* SPDX-License-Identifier: MIT
 * Fuzzes the JSON scanner and the conditions without libjq: two ways of reading a text must agree,
 * nothing may be read beyond it, and whatever stands for a condition is parsed or refused.
 *
 * Input: an expression up to the first newline, then the text. */
#include "flow/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "flow/where.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

static void check_string(const struct bki_json_value *string)
{
    char *decoded = malloc(string->text.len + 1);
    MUST(decoded);
    size_t len = bki_json_decode(string, decoded);
    MUST(len <= string->text.len);
    decoded[len] = '\0';
    if (strlen(decoded) == len && len < 40)
        MUST(bki_json_equals(string, decoded));
    free(decoded);
}

static void check_number(const struct bki_json_value *number)
{
    int64_t n;
    double d = bki_json_double(number);
    char *text = strndup(number->text.data, number->text.len);
    MUST(text);
    MUST(d == strtod(text, NULL));
    if (bki_json_int(number, &n))
        MUST(number->type == BKI_JSON_INTEGER && (double)n == d);
    free(text);
}

/* Walks the members; the number of them, or -1 when the text is not an object. */
static int walk(bk_span text)
{
    struct bki_json json;
    struct bki_json_value key, value;
    int r, n = 0;
    bki_json_start(&json, text);
    if (bki_json_object(&json) != 1)
        return -1;
    while ((r = bki_json_member(&json, &key, &value)) > 0) {
        n++;
        check_string(&key);
        MUST(value.text.data >= text.data);
        MUST(value.text.data + value.text.len <= text.data + text.len);
        if (value.type == BKI_JSON_STRING)
            check_string(&value);
        else if (value.type == BKI_JSON_INTEGER || value.type == BKI_JSON_REAL)
            check_number(&value);
        else
            MUST(bki_json_check(value.text) == 1);
    }
    return r < 0 || bki_json_end(&json) < 0 ? -1 : n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t len = newline ? (size_t)(newline - data) : 0, skip = newline ? len + 1 : 0;
    char *expression = strndup((const char *)data, len);
    MUST(expression);
    /* A copy of its own, so that a sanitizer sees its end. */
    char *copy = malloc(size - skip + 1);
    MUST(copy);
    memcpy(copy, data + skip, size - skip);
    char *exact = realloc(copy, size - skip ? size - skip : 1);
    bk_span text = bk_span_of(exact, size - skip);

    int whole = bki_json_check(text), members = walk(text);
    MUST(members < 0 || whole == 1);
    struct bki_where *where = bki_where_new(expression);
    if (where) {
        int r = bki_where_test(where, text);
        MUST(r < 0 || (whole == 1 && members >= 0));
    }
    bki_where_free(where);
    free(exact);
    free(expression);
    return 0;
}
