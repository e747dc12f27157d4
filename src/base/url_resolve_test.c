/* SPDX-License-Identifier: MIT
 * Tests of resolving references: RFC 3986's own examples (5.4), and what Location fields hold. */
#include <beck/error.h>

#include "base/alloc.h"
#include "base/url.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

static const char *resolve(const char *base, const char *reference)
{
    static char text[400];
    char *out = NULL;
    int r = bki_url_resolve(&out, base, bk_span_str(reference));
    snprintf(text, sizeof text, "%s", r < 0 ? bk_errmsg() : out);
    bki_free(out);
    return text;
}

static void check_all(const char *const (*cases)[2])
{
    for (; (*cases)[0]; cases++)
        CHECK_STR(resolve("http://a/b/c/d;p?q", (*cases)[0]), (*cases)[1]);
}

static void normal_examples(void)
{
    static const char *const cases[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q#s"},
        {"g#s", "http://a/b/c/g#s"},
        {"g?y#s", "http://a/b/c/g?y#s"},
        {";x", "http://a/b/c/;x"},
        {"g;x", "http://a/b/c/g;x"},
        {"g;x?y#s", "http://a/b/c/g;x?y#s"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../", "http://a/"},
        {"../../g", "http://a/g"},
        {NULL, NULL},
    };
    check_all(cases);
}

static void abnormal_examples(void)
{
    static const char *const cases[][2] = {
        {"../../../g", "http://a/g"},
        {"../../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {".g", "http://a/b/c/.g"},
        {"g..", "http://a/b/c/g.."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"g?y/./x", "http://a/b/c/g?y/./x"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
        {"g#s/./x", "http://a/b/c/g#s/./x"},
        {"g#s/../x", "http://a/b/c/g#s/../x"},
        {"http:g", "http:g"},
        {NULL, NULL},
    };
    check_all(cases);
}

static void other_bases(void)
{
    CHECK_STR(resolve("http://a", "g"), "http://a/g");
    CHECK_STR(resolve("http://a?q", "g"), "http://a/g");
    CHECK_STR(resolve("http://a?q", ""), "http://a?q");
    CHECK_STR(resolve("http://a?q#f", "?"), "http://a?");
    CHECK_STR(resolve("https://u@a:8/b//c", "../x"), "https://u@a:8/b/x");
    CHECK_STR(resolve("http://a/b", "//c//d/../../e"), "http://c/e");
    CHECK_STR(resolve("http://a/b", "https://[::1]:8443/x/./y"), "https://[::1]:8443/x/y");
    CHECK_STR(resolve("http://a/b", "a:b:c"), "a:b:c");
    CHECK_STR(resolve("http://a/b", "1a:b"), "http://a/1a:b");
}

static void what_is_not_ascii_is_encoded(void)
{
    CHECK_STR(resolve("http://a/b", "/caf\xc3\xa9 x?y z#\x80"), "http://a/caf%C3%A9%20x?y%20z#%80");
    CHECK_STR(resolve("http://a/b", "%c3%A9%"), "http://a/%c3%A9%25");
    CHECK_STR(resolve("http://a/b", "/100%?of=%zz%4&x=%41"), "http://a/100%25?of=%25zz%254&x=%41");
    CHECK_STR(resolve("http://a/b", "\"<>\\^`{|}[]"), "http://a/%22%3C%3E%5C%5E%60%7B%7C%7D[]");
}

static void refusals(void)
{
    CHECK_STR(resolve("/b", "g"), "base URL: it is not absolute");
    CHECK_STR(resolve("http://a/b", "/x\r\nSet-Cookie: y"),
              "URL reference, byte 3: a control character");
    CHECK_STR(resolve("http://a/\x7f", "/x"), "base URL, byte 10: a control character");
    static char long_text[BKI_URL_MAX + 2];
    memset(long_text, 'a', BKI_URL_MAX + 1);
    CHECK_STR(resolve("http://a/", long_text), "URL reference is over 65536 bytes");
}

static int scenario(void *ctx)
{
    char *out = NULL;
    (void)ctx;
    int r = bki_url_resolve(&out, "http://a/b", bk_span_str("../\xff"));
    bki_free(out);
    return r;
}

static void without_memory(void)
{
    CHECK_EQ(alloc_sweep(scenario, NULL), 1);
}

CHECK_MAIN(TEST(normal_examples), TEST(abnormal_examples), TEST(other_bases),
           TEST(what_is_not_ascii_is_encoded), TEST(refusals), TEST(without_memory))
