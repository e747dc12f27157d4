/* SPDX-License-Identifier: MIT
 * Tests of the writer of HTTP heads: the bytes, what is refused, memory that is too small. */
#include "proto/http_write.h"

#include <errno.h>

#include "proto/http_head.h"
#include "tests/check.h"

#define S(text) bk_span_str(text)

static void test_request(void)
{
    char buf[200];
    struct bki_http_writer w;
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_request(&w, S("GET"), S("/a?b"));
    bki_http_write_field(&w, S("Host"), S("example.org"));
    bki_http_write_field(&w, S("Empty"), S(""));
    bki_http_write_number(&w, S("Content-Length"), UINT64_MAX);
    ssize_t n = bki_http_write_end(&w);
    const char *want = "GET /a?b HTTP/1.1\r\nHost: example.org\r\nEmpty: \r\n"
                       "Content-Length: 18446744073709551615\r\n\r\n";
    CHECK_MEM(buf, (size_t)n, want, strlen(want));
}

static void test_status(void)
{
    char buf[200];
    struct bki_http_writer w;
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_status(&w, 426, S(""));
    ssize_t n = bki_http_write_end(&w);
    CHECK_MEM(buf, (size_t)n, "HTTP/1.1 426 Upgrade Required\r\n\r\n", 33);
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_status(&w, 299, S("My Words"));
    n = bki_http_write_end(&w);
    CHECK_MEM(buf, (size_t)n, "HTTP/1.1 299 My Words\r\n\r\n", 25);
    CHECK_STR(bki_http_reason(299), "");
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_status(&w, 100, S(""));
    bki_http_write_status(&w, 999, S("last"));
    CHECK_EQ(bki_http_write_end(&w), 23 + 19 + 2);
}

/* A head that is good but for these parts. */
static const char *fault_of(const char *method, const char *target, const char *name, bk_span value)
{
    static char buf[500];
    struct bki_http_writer w;
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_request(&w, S(method), S(target));
    bki_http_write_field(&w, S(name), value);
    bki_http_write_field(&w, S("Last"), S("good"));
    ssize_t n = bki_http_write_end(&w);
    if ((n == -EINVAL) != (w.fault != NULL))
        return "the result and the fault differ";
    return w.fault ? w.fault : "none";
}

static void test_injection(void)
{
    static const char *const values[] = {"a\r\nX: b", "a\rb", "a\nb", "\x7f", "\x01", "\r\n", "\n"};
    CHECK_STR(fault_of("GET", "/", "A", S("b \t\x80\xff")), "none");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        CHECK_STR(fault_of("GET", "/", "A", S(values[i])), "a control character in a header value");
    CHECK_STR(fault_of("GET", "/", "A", bk_span_of("a\0b", 3)),
              "a control character in a header value");
    static const char *const names[] = {"", "a b", "a:", "a\r\n", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_STR(fault_of("GET", "/", names[i], S("b")), "a header name is not a token");
    static const char *const targets[] = {"", "/a b", "/\r\n", "/#x", "/\xc3\xa9", "/\x7f"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        CHECK_STR(fault_of("GET", targets[i], "A", S("b")),
                  "the request target has bytes that must be percent-encoded");
    CHECK_STR(fault_of("G T", "/", "A", S("b")), "the method is not a token");
    CHECK_STR(fault_of("", "/", "A", S("b")), "the method is not a token");

    struct bki_http_writer w;
    static const int statuses[] = {-1, 0, 99, 1000};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        bki_http_write_init(&w, NULL, 0);
        bki_http_write_status(&w, statuses[i], S(""));
        CHECK_EQ(bki_http_write_end(&w), -EINVAL);
    }
    bki_http_write_init(&w, NULL, 0);
    bki_http_write_status(&w, 200, S("O\nK"));
    CHECK_EQ(bki_http_write_end(&w), -EINVAL);
}

static ssize_t write_into(char *buf, size_t cap)
{
    struct bki_http_writer w;
    bki_http_write_init(&w, buf, cap);
    bki_http_write_status(&w, 200, S(""));
    bki_http_write_field(&w, S("Name"), S("value"));
    return bki_http_write_end(&w);
}

static void test_small_memory(void)
{
    char whole[64], part[64];
    ssize_t n = write_into(whole, sizeof whole);
    CHECK_EQ(n, 32);
    CHECK_EQ(write_into(NULL, 0), n);
    for (size_t cap = 0; cap <= (size_t)n; cap++) {
        memset(part, '#', sizeof part);
        CHECK_EQ(write_into(part, cap), n);
        CHECK_MEM(part, cap, whole, cap);
        CHECK_EQ(part[cap], '#');
    }
}

static void test_date(void)
{
    char text[BKI_HTTP_DATE_SIZE];
    bki_http_date(text, 784111777); /* the example of RFC 9110 5.6.7 */
    CHECK_STR(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    bki_http_date(text, 951868800 - 1);
    CHECK_STR(text, "Tue, 29 Feb 2000 23:59:59 GMT");
}

CHECK_MAIN(TEST(test_request), TEST(test_status), TEST(test_date), TEST(test_injection),
           TEST(test_small_memory))
