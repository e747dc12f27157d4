/* SPDX-License-Identifier: MIT
 * The JSON scanner: what it takes, what it refuses and where, members, strings, numbers. */
#include "flow/json.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <beck/error.h>

#include "tests/check.h"

static int check(const char *text)
{
    return bki_json_check(bk_span_str(text));
}

static void test_accepts(void)
{
    static const char *const good[] = {"null",
                                       "true",
                                       "false",
                                       "0",
                                       "-0",
                                       "12",
                                       "-1.5e+30",
                                       "1E5",
                                       "\"\"",
                                       "\"a\\u00e9\\n\\\"\"",
                                       "[]",
                                       "{}",
                                       " [ 1 , 2 ] ",
                                       "{\"a\":{\"b\":[{},[],null]}}",
                                       "[[[[1]]]]",
                                       "{\"a\":1,\"a\":2}",
                                       "\t{\"x\" : \"\\ud83d\\ude00\"}\r\n",
                                       "\"\xc3\xa9\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_EQ(check(good[i]), 1);
    CHECK_EQ(check(""), 0);
    CHECK_EQ(check(" \t\r\n"), 0);
}

static void test_refuses_with_a_place(void)
{
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"nul", "not JSON: a value was expected at column 1"},
        {"{\"a\":1,}", "not JSON: a key in quotes was expected at column 8"},
        {"[1,]", "not JSON: a value was expected at column 4"},
        {"[1 2]", "not JSON: ',' or ']' was expected at column 4"},
        {"{\"a\" 1}", "not JSON: ':' was expected after a key at column 6"},
        {"{\"a\":1 \"b\":2}", "not JSON: ',' or '}' was expected at column 8"},
        {"{\"a\":", "not JSON: the text ends too early at column 6"},
        {"[1", "not JSON: the text ends too early at column 3"},
        {"\"abc", "not JSON: a string without its end at column 1"},
        {"\"\\x\"", "not JSON: no such escape in a string at column 3"},
        {"\"\\u12g4\"", "not JSON: \\u takes four hexadecimal digits at column 6"},
        {"\"a\tb\"", "not JSON: a control character in a string at column 3"},
        {"01", "not JSON: a number with a leading zero at column 1"},
        {"1.", "not JSON: the text ends too early at column 3"},
        {"-x", "not JSON: a digit is missing at column 2"},
        {"1e", "not JSON: the text ends too early at column 3"},
        {"1 2", "not JSON: more follows the value at column 3"},
        {"}", "not JSON: a value was expected at column 1"},
        {"{\"a\":[1,{\"b\":2]}", "not JSON: ',' or '}' was expected at column 15"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(check(bad[i].text), -BK_EFORMAT);
        CHECK_STR(bk_errmsg(), bad[i].error);
    }
}

static void test_depth(void)
{
    static char text[2 * BKI_JSON_DEPTH + 4];
    memset(text, '[', BKI_JSON_DEPTH);
    memset(text + BKI_JSON_DEPTH, ']', BKI_JSON_DEPTH);
    CHECK_EQ(bki_json_check(bk_span_of(text, 2 * BKI_JSON_DEPTH)), 1);
    memset(text, '[', BKI_JSON_DEPTH + 1);
    memset(text + BKI_JSON_DEPTH + 1, ']', BKI_JSON_DEPTH + 1);
    CHECK_EQ(bki_json_check(bk_span_of(text, 2 * BKI_JSON_DEPTH + 2)), -BK_EFORMAT);
    CHECK(strstr(bk_errmsg(), "nested too deeply"));
}

static void test_members(void)
{
    struct bki_json json;
    struct bki_json_value key, value;
    bki_json_start(&json, bk_span_str("{\"a\":1, \"b\\n\" : [1,{}] ,\"c\":\"x\"}"));
    CHECK_EQ(bki_json_object(&json), 1);
    CHECK_EQ(bki_json_member(&json, &key, &value), 1);
    CHECK(bki_json_equals(&key, "a"));
    CHECK_EQ(value.type, BKI_JSON_INTEGER);
    CHECK_EQ(bki_json_member(&json, &key, &value), 1);
    CHECK(bki_json_equals(&key, "b\n"));
    CHECK_EQ(value.type, BKI_JSON_ARRAY);
    CHECK_MEM(value.text.data, value.text.len, "[1,{}]", 6);
    CHECK_EQ(bki_json_member(&json, &key, &value), 1);
    CHECK_MEM(value.text.data, value.text.len, "x", 1);
    CHECK_EQ(bki_json_member(&json, &key, &value), 0);
    CHECK_EQ(bki_json_end(&json), 0);
    bki_json_start(&json, bk_span_str("[1]"));
    CHECK_EQ(bki_json_object(&json), 0);
}

static void test_find(void)
{
    struct bki_json_value v;
    CHECK_EQ(bki_json_find(bk_span_str("{\"t\":1,\"x\":{\"t\":9},\"t\":2}"), "t", &v), 1);
    CHECK_MEM(v.text.data, v.text.len, "2", 1);
    CHECK_EQ(bki_json_find(bk_span_str("{\"a\":1}"), "t", &v), 0);
    CHECK_EQ(bki_json_find(bk_span_str("[1]"), "t", &v), 0);
    CHECK_EQ(bki_json_find(bk_span_str("{\"t\":1"), "t", &v), -BK_EFORMAT);
}

static bool decodes(const char *quoted, const char *want, size_t want_len)
{
    struct bki_json json;
    struct bki_json_value v;
    char out[64];
    bki_json_start(&json, bk_span_str(quoted));
    return bki_json_value(&json, &v) == 1 && bki_json_decode(&v, out) == want_len &&
           memcmp(out, want, want_len) == 0;
}

static void test_decode(void)
{
    CHECK(decodes("\"a\\/\\b\\f\\n\\r\\t\\\\\\\"\"", "a/\b\f\n\r\t\\\"", 9));
    CHECK(decodes("\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac", 6));
    CHECK(decodes("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4));
    CHECK(decodes("\"\\ud83dx\"", "\xef\xbf\xbdx", 4));
    CHECK(decodes("\"\\ude00\"", "\xef\xbf\xbd", 3));
    CHECK(decodes("\"\\u0000\"", "\0", 1));
}

static struct bki_json_value number(const char *text)
{
    struct bki_json json;
    struct bki_json_value v = {0};
    bki_json_start(&json, bk_span_str(text));
    (void)bki_json_value(&json, &v);
    return v;
}

static void test_numbers(void)
{
    int64_t n = 0;
    struct bki_json_value v = number("9223372036854775807");
    CHECK(bki_json_int(&v, &n) && n == INT64_MAX);
    v = number("-9223372036854775808");
    CHECK(bki_json_int(&v, &n) && n == INT64_MIN);
    v = number("9223372036854775808");
    CHECK(!bki_json_int(&v, &n));
    CHECK(bki_json_double(&v) == 9223372036854775808.0);
    v = number("1.0");
    CHECK(!bki_json_int(&v, &n));
    CHECK(bki_json_double(&v) == 1.0);
    v = number("-2.5e-3");
    CHECK(bki_json_double(&v) == -2.5e-3);
    char longest[200] = "0.";
    memset(longest + 2, '1', sizeof longest - 3);
    v = number(longest);
    CHECK(fabs(bki_json_double(&v) - 1.0 / 9) < 1e-15);
}

/* Every prefix of a text, each against the end of a page: the scanner never reads past its
 * input. */
static void test_flush_against_a_guard_page(void)
{
    static const char text[] = "{\"a\":[1,-2.5e+3,\"x\\u00e9\\n\",true,null],\"b\":{\"c\":false}}";
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len = sizeof text - 1;
    char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    CHECK_EQ(mprotect(map + page, page, PROT_NONE), 0);
    for (size_t n = 1; n <= len; n++) {
        struct bki_json_value v;
        char *at = map + page - n;
        memcpy(at, text, n);
        CHECK_EQ(bki_json_check(bk_span_of(at, n)), n == len ? 1 : -BK_EFORMAT);
        CHECK_EQ(bki_json_find(bk_span_of(at, n), "b", &v), n == len ? 1 : -BK_EFORMAT);
    }
    munmap(map, 2 * page);
}

CHECK_MAIN(TEST(test_accepts), TEST(test_refuses_with_a_place), TEST(test_depth),
           TEST(test_members), TEST(test_find), TEST(test_decode), TEST(test_numbers),
           TEST(test_flush_against_a_guard_page))
