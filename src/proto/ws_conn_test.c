/* SPDX-License-Identifier: MIT
 * Tests of WebSocket receiving, by the families of the Autobahn test suite: framing, pings,
 * reserved bits, opcodes, fragmentation, limits, auto-fragmentation; and of what lies between
 * client and server. */
#include "proto/ws_conn.h"

#include <beck/error.h>

#include "proto/ws_script_fixture.h"
#include "tests/check.h"

#define FAIL_1002 "fail(1002)>close(1002)"

static char *filled(size_t len, char first)
{
    char *data = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        data[i] = first ? (char)(first + i % 23) : (char)(i * 7 + i / 256);
    return data;
}

/* What script_run says of one message with this payload. */
static const char *expected(int opcode, const char *data, size_t len)
{
    static char text[1000];
    struct script_player p = {.seen = text};
    text[0] = '\0';
    script_note(&p, opcode == BKI_WS_TEXT ? "text(" : "binary(");
    script_note_bytes(&p, bk_span_of(data, len));
    script_note(&p, ")");
    return text;
}

/* 1: messages of every length form */
static void test_framing(void)
{
    static const size_t sizes[] = {0, 1, 7, 8, 125, 126, 127, 128, 65535, 65536, 70001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int opcode = 1; opcode <= 2; opcode++) {
            char *data = filled(sizes[i], opcode == BKI_WS_TEXT ? 'a' : 0);
            script_begin();
            script_frame(0x80 | opcode, data, sizes[i]);
            const char *seen = script_run();
            CHECK_STR(seen, expected(opcode, data, sizes[i]));
            free(data);
        }
    }
    script_begin();
    for (int i = 0; i < 40; i++)
        script_text(i % 2 ? 0x81 : 0x82, "x");
    CHECK(strlen(script_run()) == 20 * strlen(" text(x)") + 20 * strlen(" binary(x)") - 1);
}

/* 2: pings and pongs */
static void test_pings(void)
{
    char long_ping[127], want[400], *at = want;
    memset(long_ping, 'p', sizeof long_ping);
    script_begin();
    script_text(0x89, "");
    CHECK_STR(script_run(), "ping()>pong()");
    script_begin();
    script_text(0x89, "Hello, world!");
    CHECK_STR(script_run(), "ping(Hello, world!)>pong(Hello, world!)");
    script_begin();
    script_frame(0x89, "\x00\xff\xfe\xfd", 4);
    CHECK_STR(script_run(), "ping(\\x00\\xff\\xfe\\xfd)>pong(\\x00\\xff\\xfe\\xfd)");
    script_begin();
    script_frame(0x89, long_ping, 125);
    snprintf(want, sizeof want, "ping(%.125s)>pong(%.125s)", long_ping, long_ping);
    CHECK_STR(script_run(), want);
    script_begin();
    script_frame(0x89, long_ping, 126);
    CHECK_STR(script_run(), FAIL_1002);
    script_begin();
    script_text(0x8a, "unasked");
    script_text(0x89, "a");
    script_text(0x8a, "");
    CHECK_STR(script_run(), "pong(unasked) ping(a)>pong(a) pong()");
    script_begin();
    for (int i = 0; i < 10; i++) {
        char payload[8];
        snprintf(payload, sizeof payload, "p%d", i);
        script_text(0x89, payload);
        at += snprintf(at, sizeof want - (size_t)(at - want), "%sping(%s)>pong(%s)", i ? " " : "",
                       payload, payload);
    }
    CHECK_STR(script_run(), want);
}

/* 3: reserved bits */
static void test_reserved_bits(void)
{
    for (int rsv = 0x10; rsv <= 0x70; rsv += 0x10) {
        for (int opcode = 0; opcode < 16; opcode++) {
            script_begin();
            script_text(0x81, "ok");
            script_text(0x80 | rsv | opcode, "");
            script_text(0x89, "late");
            CHECK_STR(script_run(), "text(ok) " FAIL_1002);
        }
        script_begin();
        script_text(0x01, "a");
        script_text(0x80 | rsv, "b");
        CHECK_STR(script_run(), FAIL_1002);
    }
}

static void test_reserved_bits_of_an_extension(void)
{
    script_begin();
    script.rsv_allowed = BKI_WS_RSV1;
    script_text(0xc1, "\xff");
    script_text(0x41, "a");
    script_text(0x89, "p");
    script_text(0x80, "b\xff");
    script_text(0x81, "plain");
    CHECK_STR(script_run(), "text(\\xff,rsv 40) ping(p)>pong(p) text(ab\\xff,rsv 40) text(plain)");
    static const int bad[] = {0xa1, 0xe1, 0xc9, 0xca, 0xc8};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        script_begin();
        script.rsv_allowed = BKI_WS_RSV1;
        script_text(bad[i], "");
        CHECK_STR(script_run(), FAIL_1002);
    }
    script_begin(); /* not on a fragment that is not the first */
    script.rsv_allowed = BKI_WS_RSV1;
    script_text(0x41, "a");
    script_text(0xc0, "b");
    CHECK_STR(script_run(), FAIL_1002);
}

/* 4: reserved opcodes */
static void test_opcodes(void)
{
    static const int reserved[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        script_begin();
        script_text(0x81, "ok");
        script_text(0x80 | reserved[i], i % 2 ? "payload" : "");
        script_text(0x89, "");
        CHECK_STR(script_run(), "text(ok) " FAIL_1002);
    }
}

/* 5: fragmentation */
static void test_fragments(void)
{
    script_begin();
    script_text(0x01, "frag1");
    script_text(0x80, "frag2");
    CHECK_STR(script_run(), "text(frag1frag2)");
    script_begin();
    script_text(0x02, "a");
    script_text(0x89, "1");
    script_text(0x00, "b");
    script_text(0x00, "");
    script_text(0x8a, "2");
    script_text(0x89, "");
    script_text(0x80, "c");
    script_text(0x81, "next");
    CHECK_STR(script_run(), "ping(1)>pong(1) pong(2) ping()>pong() binary(abc) text(next)");
    script_begin();
    script_text(0x01, "");
    script_text(0x00, "");
    script_text(0x80, "");
    CHECK_STR(script_run(), "text()");
    script_begin();
    script_text(0x01, "");
    script_text(0x00, "middle");
    script_text(0x80, "");
    CHECK_STR(script_run(), "text(middle)");
}

static void test_fragments_refused(void)
{
    enum { CONT = 0x100 }; /* a zero would end the list */
    static const struct {
        int first[4];
        const char *want;
    } cases[] = {
        {{0x09, 0x80}, FAIL_1002}, /* control frames in fragments */
        {{0x0a, 0x80}, FAIL_1002},
        {{0x08, 0x80}, FAIL_1002},
        {{0x80, 0x81}, FAIL_1002}, /* nothing to continue */
        {{CONT, 0x81}, FAIL_1002},
        {{0x81, 0x80}, "text(x) " FAIL_1002},
        {{0x01, 0x80, 0x80, 0x81}, "text(xx) " FAIL_1002},
        {{0x02, 0x80, CONT, 0x81}, "binary(xx) " FAIL_1002},
        {{0x01, 0x81}, FAIL_1002}, /* a message inside another */
        {{0x01, 0x01}, FAIL_1002},
        {{0x01, 0x82}, FAIL_1002},
        {{0x02, CONT, 0x82}, FAIL_1002},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        script_begin();
        for (int j = 0; j < 4 && cases[i].first[j]; j++)
            script_text(cases[i].first[j] & 0xff, "x");
        script_text(0x89, "late");
        CHECK_STR(script_run(), cases[i].want);
    }
}

/* 9: big messages, whole and in fragments of many sizes */
static void test_big_messages(void)
{
    const size_t size = 4u << 20;
    char *data = filled(size, 'a');
    static const size_t parts[] = {64, 4096, 65536, 1u << 20, 4u << 20};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        script_begin();
        script.limits.max_fragments = 100000;
        for (size_t at = 0; at < size; at += parts[i])
            script_frame((at == 0 ? 1 : 0) | (at + parts[i] >= size ? 0x80 : 0), data + at,
                         parts[i]);
        CHECK_STR(script_run(), expected(BKI_WS_TEXT, data, size));
    }
    free(data);
}

/* 10: a message of 65,536 bytes in frames of 1,300 */
static void test_auto_fragments(void)
{
    char *data = filled(65536, 'A');
    script_begin();
    for (size_t at = 0; at < 65536; at += 1300)
        script_frame((at == 0 ? 1 : 0) | (at + 1300 >= 65536 ? 0x80 : 0), data + at,
                     at + 1300 < 65536 ? 1300 : 65536 - at);
    CHECK_STR(script_run(), expected(BKI_WS_TEXT, data, 65536));
    free(data);
}

static const char *sized(uint64_t limit, size_t first, size_t second)
{
    char *data = filled(first + second, 'a');
    script_begin();
    script.limits.max_message = limit;
    script_frame(second ? 0x02 : 0x82, data, first);
    if (second)
        script_frame(0x80, data, second);
    const char *seen = script_run();
    free(data);
    return strncmp(seen, "binary(", 7) == 0 ? "ok" : seen;
}

static void test_size_limit(void)
{
    const char *too_big = "fail(1009)>close(1009)";
    CHECK_STR(sized(10, 10, 0), "ok");
    CHECK_STR(sized(10, 11, 0), too_big);
    CHECK_STR(sized(10, 5, 5), "ok");
    CHECK_STR(sized(10, 5, 6), too_big);
    CHECK_STR(sized(200, 200, 0), "ok");
    CHECK_STR(sized(200, 201, 0), too_big);
    CHECK_STR(sized(0, 1u << 20, 0), "ok"); /* the default */
    CHECK_STR(sized(0, (1u << 20) + 1, 0), too_big);

    /* found from the header alone, for the largest length there is */
    struct bki_ws_conn c;
    struct bki_ws_event ev;
    size_t used;
    char head[] = "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
    bki_ws_init(&c, BKI_WS_CLIENT, NULL, &script_keys);
    CHECK_EQ(bki_ws_next(&c, head, 9, &used, &ev), 0);
    CHECK_EQ(bki_ws_next(&c, head + 9, 1, &used, &ev), -EMSGSIZE);
    CHECK_EQ(ev.code, 1009);
}

/* Each message is measured by itself. */
static void test_size_limit_of_each(void)
{
    script_begin();
    script.limits.max_message = 10;
    for (int i = 0; i < 3; i++) {
        script_text(0x02, "12345");
        script_text(0x80, "67890");
    }
    CHECK_STR(script_run(), "binary(1234567890) binary(1234567890) binary(1234567890)");
}

static void test_fragment_limit(void)
{
    for (uint32_t n = 4; n <= 5; n++) {
        script_begin();
        script.limits.max_fragments = 4;
        script_text(0x81, "before");
        for (uint32_t i = 0; i < n; i++)
            script_text((i ? 0 : 1) | (i == n - 1 ? 0x80 : 0), i == 2 ? "" : "x");
        CHECK_STR(script_run(),
                  n == 4 ? "text(before) text(xxx)" : "text(before) fail(1009)>close(1009)");
    }
    for (uint32_t n = 16384; n <= 16385; n++) {
        script_begin();
        for (uint32_t i = 0; i < n; i++)
            script_text((i ? 0 : 1) | (i == n - 1 ? 0x80 : 0), "");
        CHECK_STR(script_run(), n == 16384 ? "text()" : "fail(1009)>close(1009)");
    }
}

/* What the role makes of frames that only the other one may get. */
static const char *run_swapped(enum bki_ws_role role)
{
    struct script_bytes plain = script.wire[0], masked = script.wire[1];
    script.wire[0] = masked;
    script.wire[1] = plain;
    const char *seen = script_run_as(role);
    script.wire[0] = plain;
    script.wire[1] = masked;
    return seen;
}

static void test_mask_must_fit_role(void)
{
    static const int firsts[] = {0x81, 0x82, 0x01, 0x89, 0x8a, 0x88};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        script_begin();
        script_text(firsts[i], i % 2 ? "Hello" : "");
        CHECK_STR(run_swapped(BKI_WS_CLIENT), FAIL_1002);
        CHECK_STR(run_swapped(BKI_WS_SERVER), FAIL_1002);
    }
}

static const char *client_sees(const char *bytes, size_t len)
{
    script_begin();
    script_add(&script.wire[0], bytes, len);
    return script_run_as(BKI_WS_CLIENT);
}

static void test_lengths_must_be_shortest(void)
{
    CHECK_STR(client_sees("\x82\x7e\x00\x7d", 4), FAIL_1002);
    CHECK_STR(client_sees("\x82\x7e\x00\x00", 4), FAIL_1002);
    CHECK_STR(client_sees("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10), FAIL_1002);
    CHECK_STR(client_sees("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10), FAIL_1002);
    CHECK_STR(client_sees("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10), FAIL_1002);
    CHECK_STR(client_sees("\x89\x7e\x00\x10", 4), FAIL_1002);
    CHECK_STR(client_sees("\x82\x7e\x00", 3), "");
}

/* Pieces may be read straight to where they stay: the frame says how much of it is to come. */
static void test_frame_left(void)
{
    char wire[] = "\x02\x7e\x01\x00", ping[] = "\x89\x02pp", *payload = filled(256, 'a');
    struct bki_ws_conn c;
    struct bki_ws_event ev;
    size_t used;
    bki_ws_init(&c, BKI_WS_CLIENT, NULL, &script_keys);
    CHECK_EQ(bki_ws_frame_left(&c), 0);
    CHECK_EQ(bki_ws_next(&c, wire, 4, &used, &ev), 0);
    CHECK_EQ(bki_ws_frame_left(&c), 256);
    CHECK_EQ(bki_ws_next(&c, payload, 100, &used, &ev), 1);
    CHECK_EQ(bki_ws_frame_left(&c), 156);
    CHECK_EQ(ev.more, 156);
    CHECK(ev.payload.data == payload && ev.first && !ev.last);
    CHECK_EQ(bki_ws_next(&c, payload + 100, 156, &used, &ev), 1);
    CHECK(ev.payload.data == payload + 100 && !ev.first && !ev.last);
    CHECK_EQ(bki_ws_frame_left(&c), 0);
    CHECK_EQ(bki_ws_next(&c, ping, 3, &used, &ev), 0);
    CHECK_EQ(bki_ws_frame_left(&c), 0);
    free(payload);
}

/* An extension's output is checked like a message of its own. */
static void test_decoded(void)
{
    struct bki_ws_conn c;
    struct bki_ws_event ev;
    struct bki_ws_limits limits = {.max_message = 8};
    bki_ws_init(&c, BKI_WS_SERVER, &limits, NULL);
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("abc\xc3", 4), false, &ev), 0);
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("\xa9xyz", 4), true, &ev), 0);
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_BINARY, bk_span_of("\xff", 1), false, &ev), 0);
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_BINARY, bk_span_of(NULL, 0), true, &ev), 0);
    struct bki_ws_conn fresh = c;
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("abcd", 4), false, &ev), 0);
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("efghi", 5), false, &ev), -EMSGSIZE);
    CHECK_EQ(ev.code, 1009);
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("", 0), true, &ev), -EMSGSIZE);
    c = fresh;
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("a\xff", 2), false, &ev), -BK_EPROTO);
    CHECK_EQ(ev.code, 1007);
    c = fresh;
    CHECK_EQ(bki_ws_decoded(&c, BKI_WS_TEXT, bk_span_of("a\xc3", 2), true, &ev), -BK_EPROTO);
    CHECK_EQ(ev.code, 1007);
    CHECK(ev.reply.len > 4);
}

CHECK_MAIN(TEST(test_framing), TEST(test_pings), TEST(test_reserved_bits),
           TEST(test_reserved_bits_of_an_extension), TEST(test_opcodes), TEST(test_fragments),
           TEST(test_fragments_refused), TEST(test_big_messages), TEST(test_auto_fragments),
           TEST(test_size_limit), TEST(test_size_limit_of_each), TEST(test_fragment_limit),
           TEST(test_mask_must_fit_role), TEST(test_lengths_must_be_shortest),
           TEST(test_frame_left), TEST(test_decoded))
