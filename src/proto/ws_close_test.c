/* SPDX-License-Identifier: MIT
 * Tests of WebSocket closing (Autobahn family 7): the handshake from both sides, codes, reasons,
 * what comes too late, the end of input. */
#include <beck/error.h>

#include "proto/ws_conn.h"
#include "proto/ws_script_fixture.h"
#include "tests/check.h"

#define FAIL_1002 "fail(1002)>close(1002)"

static const char *run_close(const char *payload, size_t len)
{
    script_begin();
    script_frame(0x88, payload, len);
    return script_run();
}

static const char *run_code(unsigned code)
{
    char payload[2] = {(char)(code >> 8), (char)code};
    return run_close(payload, 2);
}

static void test_order(void)
{
    script_begin();
    script_text(0x81, "Hello");
    script_text(0x88, "\x03\xe8");
    script_text(0x88, "\x03\xe8");
    CHECK_STR(script_run(), "text(Hello) close(1000)>close(1000)");
    script_begin();
    script_text(0x88, "\x03\xe8");
    script_text(0x89, "late");
    script_text(0x81, "late");
    script_text(0x7f, "not even a frame that may be");
    CHECK_STR(script_run(), "close(1000)>close(1000)");
    script_begin(); /* in the middle of a message */
    script_text(0x01, "frag");
    script_text(0x88, "\x03\xe8");
    script_text(0x80, "ment");
    CHECK_STR(script_run(), "close(1000)>close(1000)");
}

static void test_payloads(void)
{
    char long_reason[125], want[200];
    memset(long_reason, 'r', sizeof long_reason);
    memcpy(long_reason, "\x03\xe8", 2);
    CHECK_STR(run_close("", 0), "close(1005)>close()");
    CHECK_STR(run_close("\x03", 1), FAIL_1002);
    CHECK_STR(run_close("\x03\xe8", 2), "close(1000)>close(1000)");
    CHECK_STR(run_close("\x0b\xb8gone", 6), "close(3000,gone)>close(3000)");
    CHECK_STR(run_close("\x03\xe8\xc2\xb5", 4), "close(1000,\\xc2\\xb5)>close(1000)");
    snprintf(want, sizeof want, "close(1000,%.123s)>close(1000)", long_reason + 2);
    CHECK_STR(run_close(long_reason, 125), want);
    script_begin();
    script_frame(0x88, want, 126);
    CHECK_STR(script_run(), FAIL_1002);
    CHECK_STR(run_close("\x03\xe8\xce\xba\xed\xa0\x80", 7), "fail(1007)>close(1007)");
    CHECK_STR(run_close("\x03\xe8\xce", 3), "fail(1007)>close(1007)");
}

static void test_codes(void)
{
    for (unsigned code = 0; code <= 65535; code += code < 5100 ? 1 : 1009) {
        bool good = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                    (code >= 3000 && code <= 4999);
        char want[64];
        snprintf(want, sizeof want, "close(%u)>close(%u)", code, code);
        CHECK_EQ(bki_ws_code_valid(code), good);
        if (code % 50 < 17 || code < 1020) /* each takes many runs */
            CHECK_STR(run_code(code), good ? want : FAIL_1002);
    }
    CHECK_STR(run_code(65535), FAIL_1002);
}

/* 7.1.6: everything before the close frame is still delivered. */
static void test_after_much_data(void)
{
    size_t size = 256 * 1024;
    char *data = calloc(1, size);
    script_begin();
    script_frame(0x82, data, size);
    script_text(0x88, "\x03\xe8");
    script_text(0x89, "late");
    CHECK_STR(script_run(), "binary(262144 bytes, 00000000) close(1000)>close(1000)");
    free(data);
}

/* Both ends of a connection made of memory. */
struct pair {
    struct bki_ws_conn client, server;
    struct bki_ws_keys keys;
};

static void pair_init(struct pair *p)
{
    p->keys = (struct bki_ws_keys){.fill = script_fixed_keys};
    bki_ws_init(&p->client, BKI_WS_CLIENT, NULL, &p->keys);
    bki_ws_init(&p->server, BKI_WS_SERVER, NULL, NULL);
}

static void test_we_begin(void)
{
    char out[BKI_WS_CONTROL_FRAME_MAX], more[BKI_WS_CONTROL_FRAME_MAX], reply[200];
    struct bki_ws_event ev;
    struct bki_ws_head head;
    struct pair p;
    size_t used;
    pair_init(&p);
    CHECK_EQ(p.client.close_code, 1006);
    ssize_t n = bki_ws_close_frame(&p.client, 4000, bk_span_str("enough"), out);
    CHECK_EQ(n, 6 + 2 + 6);

    /* nothing may follow, but what the peer still sends is told, without pongs */
    CHECK_EQ(bki_ws_close_frame(&p.client, 1000, bk_span_str(""), more), -BK_ECLOSED);
    CHECK_EQ(bki_ws_control(&p.client, BKI_WS_OP_PING, bk_span_str(""), more), -BK_ECLOSED);
    CHECK_EQ(bki_ws_data_head(&p.client, &head, BKI_WS_TEXT, 0, true, true, 1), -BK_ECLOSED);
    char late[] = "\x81\x01x\x89\x01p";
    CHECK_EQ(bki_ws_next(&p.client, late, 6, &used, &ev), 1);
    CHECK_EQ(ev.type, BKI_WS_DATA);
    CHECK_EQ(bki_ws_next(&p.client, late + used, 6 - used, &used, &ev), 1);
    CHECK_EQ(ev.type, BKI_WS_PING);
    CHECK_EQ(ev.reply.len, 0);
    CHECK_EQ(bki_ws_eof(&p.client), -ECONNRESET);

    CHECK_EQ(bki_ws_next(&p.server, out, (size_t)n, &used, &ev), 1);
    CHECK_EQ(ev.type, BKI_WS_CLOSE);
    CHECK_EQ(ev.code, 4000);
    CHECK_MEM(ev.payload.data, ev.payload.len, "enough", 6);
    CHECK_EQ(ev.reply.len, 4);
    memcpy(reply, ev.reply.data, ev.reply.len);
    CHECK_EQ(p.server.close_code, 4000);
    CHECK_MEM(p.server.ctl + 2, p.server.reason_len, "enough", 6);
    CHECK_EQ(bki_ws_eof(&p.server), 0);
    CHECK_EQ(bki_ws_data_head(&p.server, &head, BKI_WS_TEXT, 0, true, true, 1), -BK_ECLOSED);

    CHECK_EQ(bki_ws_next(&p.client, reply, 4, &used, &ev), 1);
    CHECK_EQ(ev.type, BKI_WS_CLOSE);
    CHECK_EQ(ev.code, 4000);
    CHECK_EQ(ev.reply.len, 0);
    CHECK_EQ(bki_ws_eof(&p.client), 0);
}

static void test_close_frame_refused(void)
{
    char out[BKI_WS_CONTROL_FRAME_MAX], reason[124];
    struct pair p;
    pair_init(&p);
    memset(reason, 'r', sizeof reason);
    static const unsigned bad[] = {0, 999, 1004, 1006, 1015, 2999, 5000, 65536 + 1000};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(bki_ws_close_frame(&p.server, bad[i], bk_span_str(""), out), -EINVAL);
    CHECK_EQ(bki_ws_close_frame(&p.server, 1000, bk_span_of(reason, 124), out), -EINVAL);
    CHECK_EQ(bki_ws_close_frame(&p.server, 1000, bk_span_str("\xff"), out), -EINVAL);
    CHECK_EQ(bki_ws_close_frame(&p.server, 1005, bk_span_str("x"), out), -EINVAL);
    CHECK_EQ(bki_ws_close_frame(&p.server, 1000, bk_span_of(reason, 123), out), 127);
    pair_init(&p);
    CHECK_EQ(bki_ws_close_frame(&p.server, 1005, bk_span_str(""), out), 2);
    CHECK_MEM(out, 2, "\x88\x00", 2);
}

static void test_failure_after_our_close(void)
{
    char out[BKI_WS_CONTROL_FRAME_MAX], bad[] = "\x83\x00";
    struct bki_ws_event ev;
    struct pair p;
    size_t used;
    pair_init(&p);
    CHECK(bki_ws_close_frame(&p.client, 1000, bk_span_str(""), out) > 0);
    CHECK_EQ(bki_ws_next(&p.client, bad, 2, &used, &ev), -BK_EPROTO);
    CHECK_EQ(ev.type, BKI_WS_FAIL);
    CHECK_EQ(ev.reply.len, 0); /* one close frame has gone already */
    CHECK_EQ(bki_ws_eof(&p.client), -BK_EPROTO);
}

static void test_owner_fails(void)
{
    struct bki_ws_event ev;
    struct pair p;
    size_t used;
    char in[] = "\x81\x00", detail[200];
    pair_init(&p);
    memset(detail, 0, sizeof detail);
    for (size_t i = 0; i < 198; i += 2)
        memcpy(detail + i, "\xc3\xa9", 2);
    CHECK_EQ(bki_ws_fail(&p.server, 1011, -EIO, detail, &ev), -EIO);
    CHECK_EQ(ev.reply.len, 2 + 2 + 122); /* cut between characters */
    CHECK_EQ(bki_ws_next(&p.server, in, 2, &used, &ev), -EIO);
    CHECK_EQ(used, 2);
    CHECK_EQ(ev.reply.len, 0);
}

static int no_keys(void *out, size_t len)
{
    memset(out, 0, len);
    return -EIO;
}

static void test_no_masking_keys(void)
{
    char in[][5] = {"\x89\x01x", "\x88\x02\x03\xe8", "\x83\x00"};
    static const size_t lens[] = {3, 4, 2};
    static const int want[] = {-EIO, -EIO, -BK_EPROTO};
    for (size_t i = 0; i < 3; i++) {
        struct bki_ws_keys keys = {.fill = no_keys};
        struct bki_ws_conn c;
        struct bki_ws_event ev;
        struct bki_ws_head head;
        size_t used;
        bki_ws_init(&c, BKI_WS_CLIENT, NULL, &keys);
        CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, true, true, 1), -EIO);
        CHECK_EQ(bki_ws_next(&c, in[i], lens[i], &used, &ev), want[i]);
        CHECK_EQ(ev.type, BKI_WS_FAIL);
        CHECK_EQ(ev.reply.len, 0);
        CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, true, true, 1), -BK_ECLOSED);
    }
}

CHECK_MAIN(TEST(test_order), TEST(test_payloads), TEST(test_codes), TEST(test_after_much_data),
           TEST(test_we_begin), TEST(test_close_frame_refused), TEST(test_failure_after_our_close),
           TEST(test_owner_fails), TEST(test_no_masking_keys))
