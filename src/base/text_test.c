/* SPDX-License-Identifier: MIT
 * Tests of formatting and parsing numbers, sizes and durations. */
#include "base/text.h"

#include <beck/error.h>

#include "tests/check.h"

static void test_count(void)
{
    CHECK_STR(bki_format_count(0).s, "0");
    CHECK_STR(bki_format_count(999).s, "999");
    CHECK_STR(bki_format_count(1000).s, "1,000");
    CHECK_STR(bki_format_count(1707).s, "1,707");
    CHECK_STR(bki_format_count(123456789).s, "123,456,789");
    CHECK_STR(bki_format_count(UINT64_MAX).s, "18,446,744,073,709,551,615");
}

static void test_bytes(void)
{
    CHECK_STR(bki_format_bytes(0).s, "0 B");
    CHECK_STR(bki_format_bytes(1023).s, "1023 B");
    CHECK_STR(bki_format_bytes(1024).s, "1.0 KiB");
    CHECK_STR(bki_format_bytes(1258291).s, "1.2 MiB");
    CHECK_STR(bki_format_bytes(102348).s, "99.9 KiB");
    CHECK_STR(bki_format_bytes(102400).s, "100 KiB");
    CHECK_STR(bki_format_bytes(1023 * 1024 + 511).s, "1023 KiB");
    CHECK_STR(bki_format_bytes(1023 * 1024 + 512).s, "1.0 MiB"); /* rounds into the next unit */
    CHECK_STR(bki_format_bytes(UINT64_C(340) << 30).s, "340 GiB");
    CHECK_STR(bki_format_bytes(UINT64_MAX).s, "16.0 EiB");
}

static void test_duration(void)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {999, "999ns"},
        {1000, "1us"},
        {1500, "1.5us"},
        {999499, "999us"},
        {999500, "1ms"},
        {9949999, "9.9ms"},
        {9950000, "10ms"},
        {350000000, "350ms"},
        {999500000, "1s"},
        {1500000000, "1.5s"},
        {12340000000, "12s"},
        {59499999999, "59s"},
        {59500000000, "1m"},
        {64000000000, "1m 4s"},
        {3599000000000, "59m 59s"},
        {3599500000000, "1h"},
        {7500000000000, "2h 5m"},
        {86370000000000, "1d"},
        {3 * INT64_C(86400000000000) + 4 * INT64_C(3600000000000), "3d 4h"},
        {INT64_MAX, "forever"},
        {-1500000000, "-1.5s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(bki_format_duration(bk_ns(cases[i].ns)).s, cases[i].text);
    CHECK_STR(bki_format_duration(bk_ns(INT64_MAX - 1)).s, "106752d");
    CHECK_STR(bki_format_duration(bk_ns(INT64_MIN)).s, "-106752d");
}

static void test_parse_int(void)
{
    int64_t n = 77;
    CHECK_EQ(bki_parse_int(&n, "0", 0, 0), 0);
    CHECK_EQ(n, 0);
    CHECK_EQ(bki_parse_int(&n, "+42", 1, 100), 0);
    CHECK_EQ(n, 42);
    CHECK_EQ(bki_parse_int(&n, "-9223372036854775808", INT64_MIN, INT64_MAX), 0);
    CHECK(n == INT64_MIN);
    CHECK_EQ(bki_parse_int(&n, "9223372036854775807", INT64_MIN, INT64_MAX), 0);
    CHECK(n == INT64_MAX);
    static const char *const bad[] = {"", "-", "+", "x", "12x", " 1", "1 ", "1.0", "0x10", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(bki_parse_int(&n, bad[i], INT64_MIN, INT64_MAX), -EINVAL);
    CHECK_STR(bk_errmsg(), "'--1' is not a whole number");
    static const char *const far[] = {"0", "65536", "-1", "99999999999999999999999"};
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(bki_parse_int(&n, far[i], 1, 65535), -ERANGE);
    CHECK_STR(bk_errmsg(), "'99999999999999999999999' is not from 1 to 65535");
    CHECK_EQ(bki_parse_int(&n, "99999999999999999999999x", 1, 2), -EINVAL);
    CHECK_EQ(bki_parse_int(&n, "-9223372036854775809", INT64_MIN, INT64_MAX), -ERANGE);
    CHECK(n == INT64_MAX); /* left alone */
}

static void test_parse_duration(void)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"0s", 0},
        {"7ns", 7},
        {"20us", 20000},
        {"100ms", 100000000},
        {"5s", 5000000000},
        {"1.5s", 1500000000},
        {"2m", 120000000000},
        {"1h30m", 5400000000000},
        {"1d12h", 129600000000000},
        {"1m0.25s", 60250000000},
        {"0.5ns", 0},
        {"1.000000001s", 1000000001},
        {"9223372036854775806ns", INT64_MAX - 1},
    };
    bk_duration d;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_EQ(bki_parse_duration(&d, good[i].text), 0);
        CHECK_EQ(d.ns, good[i].ns);
    }
    static const char *const bad[] = {"",    "5",   "s",    "5 s",  "-5s",  "5x",           "1.s",
                                      ".5s", "5s5", "5s5s", "1s2m", "5sec", "1.0000000001s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(bki_parse_duration(&d, bad[i]), -EINVAL);
    CHECK(strstr(bk_errmsg(), "'1.0000000001s' is not a duration") == bk_errmsg());
    static const char *const far[] = {"9223372036854775807ns", "106752d", "106751d24h",
                                      "99999999999999999999999999999999999999999d"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        CHECK_EQ(bki_parse_duration(&d, far[i]), -ERANGE);
    CHECK_EQ(d.ns, INT64_MAX - 1);
}

static void test_parse_size(void)
{
    static const struct {
        const char *text;
        uint64_t n;
    } good[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64KiB", 65536},
        {"64K", 65536},
        {"1MiB", 1048576},
        {"1.5MiB", 1572864},
        {"2G", UINT64_C(2) << 30},
        {"1TiB", UINT64_C(1) << 40},
        {"3kB", 3000},
        {"3MB", 3000000},
        {"0.3333KiB", 341},
        {"9223372036854775807", INT64_MAX},
    };
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_EQ(bki_parse_size(&n, good[i].text), 0);
        CHECK_EQ(n, good[i].n);
    }
    static const char *const bad[] = {"", "K", "-1", "1 K", "1KB", "1kib", "1Ki", "1K1", "1."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(bki_parse_size(&n, bad[i]), -EINVAL);
    CHECK_EQ(bki_parse_size(&n, "9223372036854775808"), -ERANGE);
    CHECK_EQ(bki_parse_size(&n, "8388608TiB"), -ERANGE);
    CHECK_EQ(bki_parse_size(&n, "99999999999999999999999999TiB"), -ERANGE);
    CHECK_EQ(n, INT64_MAX);
}

static void test_what_is_written_can_be_read(void)
{
    static const int64_t some[] = {1, 999, 20000, 350000000, 5000000000, 120000000000};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        bk_duration d;
        CHECK_EQ(bki_parse_duration(&d, bki_format_duration(bk_ns(some[i])).s), 0);
        CHECK_EQ(d.ns, some[i]);
    }
}

CHECK_MAIN(TEST(test_count), TEST(test_bytes), TEST(test_duration), TEST(test_parse_int),
           TEST(test_parse_duration), TEST(test_parse_size), TEST(test_what_is_written_can_be_read))
