/* SPDX-License-Identifier: MIT
 * A JSON scanner (RFC 8259): checks a text, walks the members of an object, decodes strings and
 * numbers.
 *
 * It builds nothing and allocates nothing: values are spans of the text.  Nesting is limited, not
 * recursive, so a hostile text costs neither stack nor memory.  Bytes above 0x7f are passed over
 * unchecked. */
#ifndef BECK_SRC_FLOW_JSON_H
#define BECK_SRC_FLOW_JSON_H

#include <beck/base.h>

#define BKI_JSON_DEPTH 1024

enum bki_json_type {
    BKI_JSON_NULL,
    BKI_JSON_FALSE,
    BKI_JSON_TRUE,
    BKI_JSON_INTEGER, /* a number without fraction or exponent, of any size */
    BKI_JSON_REAL,
    BKI_JSON_STRING,
    BKI_JSON_ARRAY,
    BKI_JSON_OBJECT,
};

struct bki_json_value {
    enum bki_json_type type;
    bool escaped; /* a string with backslashes in it */
    bk_span text; /* as written; of a string without its quotes */
};

/* A text under way.  After an error, `what` says what was wrong at `p`. */
struct bki_json {
    const char *p, *end;
    const char *start;
    const char *what;
    bool first; /* no member of the object has been read yet */
};

void bki_json_start(struct bki_json *json, bk_span text);

/* Reads the next value, nested ones whole.  1; 0 when only white space is left; -BK_EFORMAT. */
int bki_json_value(struct bki_json *json, struct bki_json_value *out);

/* After a value: 0 when only white space follows, -BK_EFORMAT otherwise. */
int bki_json_end(struct bki_json *json);

/* The text opens an object: 1; it holds another value: 0, nothing consumed; -BK_EFORMAT. */
int bki_json_object(struct bki_json *json);
/* The next member: 1 and *key (a string) and *value; 0 after the last; -BK_EFORMAT. */
int bki_json_member(struct bki_json *json, struct bki_json_value *key,
                    struct bki_json_value *value);

/* One value and nothing else: 1; 0 for a blank text; -BK_EFORMAT with bk_errmsg "not JSON: ... at
 * column N". */
int bki_json_check(bk_span text);
/* Sets bk_errmsg for an error met in json and returns -BK_EFORMAT. */
int bki_json_fail(const struct bki_json *json);

/* The member `name` of the object in text, the last one if there are several.  1; 0 not there, or
 * no object; -BK_EFORMAT. */
int bki_json_find(bk_span text, const char *name, struct bki_json_value *out);

/* Decodes a string into out (at least text.len bytes): its length.  Lone surrogates become
 * U+FFFD. */
size_t bki_json_decode(const struct bki_json_value *string, char *out);
/* True when a string, decoded, is name. */
bool bki_json_equals(const struct bki_json_value *string, const char *name);
/* The value of an integer that fits; false otherwise. */
bool bki_json_int(const struct bki_json_value *number, int64_t *out);
/* The value of any number, rounded. */
double bki_json_double(const struct bki_json_value *number);

#endif
