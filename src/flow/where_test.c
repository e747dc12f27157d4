/* SPDX-License-Identifier: MIT
 * Conditions without libjq say what libjq says, or nothing: on hand-picked cases and on many
 * made-up ones. */
#include "flow/where.h"

#include <jq.h>
#include <stdio.h>

#include "tests/check.h"

/* What jq says: 1, 0; -1 when the program fails or the text is not JSON; -2 when it cannot be
 * compiled. */
static jq_state *compiled;

static void no_words(void *ctx, jv message)
{
    (void)ctx;
    jv_free(message);
}

static bool jq_new(const char *expression)
{
    compiled = jq_init();
    jq_set_error_cb(compiled, no_words, NULL);
    return jq_compile(compiled, expression) != 0;
}

static int jq_test(const char *text)
{
    jv value = jv_parse(text);
    if (!jv_is_valid(value)) {
        jv_free(value);
        return -1;
    }
    jq_start(compiled, value, 0);
    value = jq_next(compiled);
    int r = -1;
    if (jv_is_valid(value))
        r = jv_get_kind(value) != JV_KIND_FALSE && jv_get_kind(value) != JV_KIND_NULL;
    jv_free(value);
    return r;
}

static const char *const items[] = {
    "{\"a\":1,\"b\":\"x\",\"c\":null,\"d\":true}",
    "{\"a\":5.0,\"b\":\"xy\",\"c\":{\"d\":2},\"d\":false}",
    "{\"a\":-0.5e1,\"b\":\"\",\"c\":{}}",
    "{\"a\":\"5\",\"b\":7,\"c\":{\"d\":null}}",
    "{ \"a\" : 4.999999999999999 , \"a\" : 5 }",
    "{\"\\u0061\":6,\"c\":{\"d\":{\"e\":\"deep\"}}}",
    "{\"a\":[1],\"b\":{},\"c\":[1]}",
    "{\"a\":\"caf\xc3\xa9\",\"b\":\"\\u0078\",\"c\":3}",
    "{}",
    "{\"a\":123456789012345678,\"b\":1e400,\"c\":{\"d\":0.1}}",
    "{\"ab\":1,\"a_b\":2,\"A\":3}",
    "[1]",
    "5",
    "null",
    "{\"a\":1",
    "{\"a\":01}",
};

static const char *const expressions[] = {
    ".a >= 5",
    ".a == 5",
    ".a != 5.0",
    ".a < \"5\"",
    ".a",
    ".c",
    ".d",
    ".c.d",
    ".c.d.e == \"deep\"",
    ".b == \"x\"",
    ".b < \"xy\"",
    ".b > \"\"",
    ".a > null",
    ".d == true",
    ".d != false and .a",
    ".a > 1 or .b == \"x\"",
    "(.a > 1 or .b == \"x\") and .c != null",
    ".a > -5",
    ".a == -5.0e0",
    "5 <= .a",
    ".a == .b",
    "true",
    "null",
    "false or .d",
    ".missing == null",
    ".ab",
    ".a_b == 2",
    ".A == 3",
    "1 < 2",
    "\"a\" < \"b\"",
    ".a <= 5 and .a >= 5 or .c.d == 0.1",
    ".a == 123456789012345678",
    ".b == 1e400",
    "( .a )",
    "(.a) == (5)",
};

#define COUNT(array) (sizeof array / sizeof *array)

static void says_what_jq_says(void)
{
    int sure = 0;
    for (size_t e = 0; e < COUNT(expressions); e++) {
        struct bki_where *where = bki_where_new(expressions[e]);
        bool ok = jq_new(expressions[e]);
        for (size_t i = 0; ok && where && i < COUNT(items); i++) {
            int got = bki_where_test(where, bk_span_str(items[i]));
            sure += got >= 0;
            if (got >= 0 && got != jq_test(items[i])) {
                fprintf(stderr, "%s of %s\n", expressions[e], items[i]);
                CHECK_EQ(got, jq_test(items[i]));
            }
        }
        if (!ok || !where)
            fprintf(stderr, "not made: %s\n", expressions[e]);
        CHECK(ok && where);
        bki_where_free(where);
        jq_teardown(&compiled);
    }
    CHECK(sure > 280);
}

static void leaves_everything_else_to_jq(void)
{
    static const char *const others[] = {
        ".",
        ".[0]",
        ".a?",
        ".a | not",
        ".a + 1 > 2",
        ".a >= 5 // true",
        ".a[]",
        "not",
        ".a == [1]",
        ".\"a\"",
        ".a == \"\\n\"",
        ".a == \"caf\xc3\xa9\"",
        ".a | length > 2",
        "-5 < .a",
        ".a .b",
        "any(.a; . > 1)",
        ".a as $x | $x",
        "nullify",
        "true_",
        ".a == 5, .b",
        ".a ==",
        "",
        "((((((((((.a",
        ".a andy",
        ".a and",
        ".a == 5 == true",
        "$__loc__",
        ".a > .5",
        ".a > 5.",
        "null::x",
        ".a # x",
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        struct bki_where *where = bki_where_new(others[i]);
        if (where)
            fprintf(stderr, "made: %s\n", others[i]);
        CHECK(!where);
    }
}

static void does_not_know_unusual_items(void)
{
    static const struct {
        const char *expression, *item;
    } cases[] = {
        {".a > 1", "[1]"},
        {".a > 1", "{\"a\":1"},
        {".a.b", "{\"a\":1}"},
        {".a > 1", "{\"a\":[]}"},
        {".a > 1", "nonsense"},
        {".a > 1", ""},
        {".a < \"x\"", "{\"a\":\"\\n\"}"},
        {".a > 1", "{\"a\":1} {}"},
        {".a > 1", "{\"a\":1}x"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bki_where *where = bki_where_new(cases[i].expression);
        CHECK(where);
        CHECK_EQ(bki_where_test(where, bk_span_str(cases[i].item)), -1);
        bki_where_free(where);
    }
}

/* ---- Made up ---- */

static uint64_t state = 88172645463325252ULL;

static unsigned dice(unsigned sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % sides);
}

static const char *pick(const char *const *words, unsigned n)
{
    return words[dice(n)];
}

static size_t put(char *out, size_t at, size_t size, const char *text)
{
    int n = snprintf(out + at, size - at, "%s", text);
    return at + (size_t)n < size ? at + (size_t)n : size - 1;
}

static size_t make_value(char *out, size_t at, size_t size, int depth)
{
    static const char *const scalars[] = {"0",
                                          "1",
                                          "-1",
                                          "1.5",
                                          "2e0",
                                          "10",
                                          "9.99",
                                          "0.1",
                                          "\"\"",
                                          "\"a\"",
                                          "\"b\"",
                                          "\"ab\"",
                                          "\"\\u0061\"",
                                          "null",
                                          "true",
                                          "false",
                                          "[]",
                                          "[1]",
                                          "100000000000000000000"};
    static const char *const keys[] = {"\"a\"", "\"b\"", "\"c\"", "\"\\u0062\"", "\"ab\""};
    if (depth == 0 || dice(3) > 0)
        return put(out, at, size, pick(scalars, COUNT(scalars)));
    at = put(out, at, size, "{");
    for (unsigned i = 0, n = dice(4); i < n; i++) {
        at = put(out, at, size, i ? "," : "");
        at = put(out, at, size, pick(keys, COUNT(keys)));
        at = put(out, at, size, dice(2) ? ":" : " : ");
        at = make_value(out, at, size, depth - 1);
    }
    return put(out, at, size, "}");
}

static size_t make_operand(char *out, size_t at, size_t size)
{
    static const char *const operands[] = {".a", ".b",    ".c",    ".a.b", ".b.c.a", "1",    "1.5",
                                           "10", "\"a\"", "\"b\"", "null", "true",   "false"};
    return put(out, at, size, pick(operands, COUNT(operands)));
}

static size_t make_condition(char *out, size_t at, size_t size, int depth)
{
    static const char *const signs[] = {" == ", "!=", " < ", "<=", " > ", ">="};
    if (depth == 0 || dice(2)) {
        at = make_operand(out, at, size);
        if (dice(4) == 0)
            return at;
        at = put(out, at, size, pick(signs, COUNT(signs)));
        return make_operand(out, at, size);
    }
    bool bracket = dice(2);
    at = put(out, at, size, bracket ? "(" : "");
    at = make_condition(out, at, size, depth - 1);
    at = put(out, at, size, dice(2) ? " and " : " or ");
    at = make_condition(out, at, size, depth - 1);
    return put(out, at, size, bracket ? ")" : "");
}

static void says_it_of_many(void)
{
    int sure = 0, made = 0;
    for (int round = 0; round < 40; round++) {
        char expression[512], item[2048];
        make_condition(expression, 0, sizeof expression, 3);
        struct bki_where *where = bki_where_new(expression);
        CHECK(jq_new(expression));
        made += where != NULL;
        for (int i = 0; where && i < 500; i++) {
            size_t at = put(item, 0, sizeof item, "{\"a\":");
            at = make_value(item, at, sizeof item, 2);
            at = put(item, at, sizeof item, ",\"b\":");
            at = make_value(item, at, sizeof item, 2);
            put(item, at, sizeof item, "}");
            int got = bki_where_test(where, bk_span_str(item));
            sure += got >= 0;
            if (got >= 0 && got != jq_test(item)) {
                fprintf(stderr, "%s of %s\n", expression, item);
                CHECK_EQ(got, jq_test(item));
            }
        }
        bki_where_free(where);
        jq_teardown(&compiled);
    }
    CHECK(made > 30);
    CHECK(sure > 5000);
}

CHECK_MAIN(TEST(says_what_jq_says), TEST(leaves_everything_else_to_jq),
           TEST(does_not_know_unusual_items), TEST(says_it_of_many))
