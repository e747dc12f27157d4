/* SPDX-License-Identifier: MIT
 * Tests of text messages (Autobahn family 6): valid and invalid UTF-8, in any cut, found at once.
 */
#include <beck/error.h>

#include "proto/ws_conn.h"
#include "proto/ws_script_fixture.h"
#include "tests/check.h"

#define FAIL_1007 "fail(1007)>close(1007)"

/* The message in one frame, in two cut anywhere, with an empty one between them, and in a frame for
 * each byte; the same result from all, or a text that says so. */
static const char *run_text(const char *text, size_t len)
{
    static char first[8192];
    script_begin();
    script_frame(0x81, text, len);
    snprintf(first, sizeof first, "%s", script_run());
    for (size_t cut = 0; cut <= len; cut++) {
        script_begin();
        script_frame(0x01, text, cut);
        if (cut % 3 == 0)
            script_text(0x00, "");
        script_frame(0x80, text + cut, len - cut);
        if (strcmp(script_run(), first) != 0)
            return "differs in fragments";
    }
    script_begin();
    for (size_t i = 0; i < len; i++)
        script_frame(i ? 0x00 : 0x01, text + i, 1);
    script_text(len ? 0x80 : 0x81, "");
    if (strcmp(script_run(), first) != 0)
        return "differs byte by byte";
    return first;
}

static const char *judge(const char *text)
{
    const char *seen = run_text(text, strlen(text));
    return strncmp(seen, "text(", 5) == 0 && seen[strlen(seen) - 1] == ')' ? "ok" : seen;
}

static void test_valid(void)
{
    static const char *const good[] = {
        "",
        "Hello, ASCII only, more than thirty-two bytes of it",
        "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbd",
        "\xef\xbf\xbe",
        "\xf0\x9f\xbf\xbe",
        "\xf4\x8f\xbf\xbe",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_STR(judge(good[i]), "ok");
    CHECK_STR(run_text("a\0b", 3), "text(a\\x00b)");
}

static void test_invalid(void)
{
    static const char *const bad[] = {
        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
        "\xf8\x88\x80\x80\x80",
        "\xfc\x84\x80\x80\x80\x80",
        "\xf7\xbf\xbf\xbf",
        "\xfb\xbf\xbf\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\x80",
        "\xbf\xbf",
        "abc\x80\xbf",
        "\xc2",
        "\xc2 ",
        "\xe1\x80",
        "\xe1\x80 ",
        "\xf1\x80\x80",
        "\xf1\x80\x80 ",
        "\xfe",
        "\xff",
        "\xfe\xfe\xff\xff",
        "\xc0\xaf",
        "\xe0\x80\xaf",
        "\xf0\x80\x80\xaf",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xc0\x80",
        "\xed\xa0\x80",
        "\xed\xaf\xbf\xed\xbf\xbf",
        "thirty-two bytes of ASCII and then some \xff",
        "thirty-two bytes of ASCII and then some, cut \xe2\x82",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(run_text(bad[i], strlen(bad[i])), FAIL_1007);
}

/* A binary message may hold anything, also after a text that ended well. */
static void test_binary_is_not_checked(void)
{
    script_begin();
    script_text(0x81, "\xc2\xb5");
    script_text(0x82, "\xff\xc2");
    script_text(0x02, "\xff");
    script_text(0x80, "\xc2");
    script_text(0x81, "x");
    CHECK_STR(script_run(), "text(\\xc2\\xb5) binary(\\xff\\xc2) binary(\\xff\\xc2) text(x)");
}

/* 6.4: the failure is found with the first byte that cannot be right, not at the end of the frame.
 */
static void test_fails_fast(void)
{
    static const struct {
        const char *text;
        size_t bad; /* index of that byte */
    } cases[] = {
        {"\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90\x80\x80\x65\x64", 8},
        {"abc\xed\xa0\x80", 4},
        {"abc\xe0\x9f\x80", 4},
        {"\xc0\xaf", 0},
        {"0123456789012345678901234567890123456789\xff and more of it", 40},
        {"\xf0\x90\x80\x41 tail", 3},
    };
    char seen[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = strlen(cases[i].text);
        script_begin();
        script_frame(0x81, cases[i].text, len);
        CHECK_EQ(script_play_parts(BKI_WS_CLIENT, 1, 1, seen), 2 + cases[i].bad + 1);
        CHECK_EQ(script_play_parts(BKI_WS_SERVER, 1, 1, seen), 6 + cases[i].bad + 1);

        /* in fragments: the frame behind the bad byte is never read */
        script_begin();
        script_frame(0x01, cases[i].text, cases[i].bad + 1);
        size_t first_len = script.wire[0].len;
        script_frame(0x80, cases[i].text + cases[i].bad + 1, len - cases[i].bad - 1);
        CHECK_EQ(script_play_parts(BKI_WS_CLIENT, 1, 1, seen), first_len);
    }
}

/* Every piece handed out before a failure is the start of valid text. */
static void test_long_text_fails_in_the_middle(void)
{
    char *text = malloc(200000);
    char seen[8192];
    memset(text, 'a', 200000);
    text[150000] = (char)0x80;
    script_begin();
    script_frame(0x81, text, 200000);
    size_t at = script_play_parts(BKI_WS_CLIENT, 65536, 65536, seen);
    CHECK_STR(seen, FAIL_1007);
    CHECK_EQ(at, 3 * 65536);
    free(text);
}

/* One bad byte, in any place of a message of any small length. */
static void test_no_byte_is_missed(void)
{
    for (size_t len = 1; len <= 100; len++) {
        for (size_t bad = 0; bad < len; bad++) {
            char wire[2 + 100] = {(char)0x81, (char)len};
            struct bki_ws_conn c;
            struct bki_ws_event ev;
            size_t used;
            memset(wire + 2, 'a', len);
            bki_ws_init(&c, BKI_WS_CLIENT, NULL, &script_keys);
            CHECK_EQ(bki_ws_next(&c, wire, 2 + len, &used, &ev), 1);
            wire[2 + bad] = (char)0xff;
            CHECK_EQ(bki_ws_next(&c, wire, 2 + len, &used, &ev), -BK_EPROTO);
            CHECK_EQ(used, 2 + len);
            bki_ws_init(&c, BKI_WS_CLIENT, NULL, &script_keys);
            CHECK_EQ(bki_ws_next(&c, wire, 1, &used, &ev), 0); /* not by the fast path */
            CHECK_EQ(bki_ws_next(&c, wire + 1, bad + 2, &used, &ev), -BK_EPROTO);
            CHECK_EQ(bki_ws_frame_left(&c), 0);
        }
    }
}

CHECK_MAIN(TEST(test_valid), TEST(test_invalid), TEST(test_binary_is_not_checked),
           TEST(test_fails_fast), TEST(test_long_text_fails_in_the_middle),
           TEST(test_no_byte_is_missed))
