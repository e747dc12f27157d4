/* SPDX-License-Identifier: MIT
 * Tests of WebSocket sending: what one side writes, the other reads; misuse is refused. */
#include <beck/error.h>
#include <errno.h>

#include "proto/ws_conn.h"
#include "proto/ws_script_fixture.h"
#include "tests/check.h"

static struct script_bytes wire;

/* Sends one frame of a message to the wire. */
static int send_frame(struct bki_ws_conn *c, int kind, int rsv, bool first, bool last,
                      const char *text, size_t len)
{
    struct bki_ws_head head;
    int r = bki_ws_data_head(c, &head, kind, rsv, first, last, len);
    if (r < 0)
        return r;
    script_add(&wire, head.bytes, head.len);
    char *copy = malloc(len + 1);
    bki_ws_mask(copy, text, len, head.masked ? head.key : 0, 0);
    script_add(&wire, copy, len);
    free(copy);
    return 0;
}

/* What the other side makes of the wire. */
static const char *received(enum bki_ws_role role, int rsv_allowed)
{
    script_begin();
    script.rsv_allowed = rsv_allowed;
    script_add(&script.wire[role], wire.data, wire.len);
    wire.len = 0;
    return script_run_as(role);
}

static void both_ways(enum bki_ws_role from, struct bki_ws_keys *keys)
{
    enum bki_ws_role to = from == BKI_WS_CLIENT ? BKI_WS_SERVER : BKI_WS_CLIENT;
    char out[BKI_WS_CONTROL_FRAME_MAX];
    struct bki_ws_conn c;
    bki_ws_init(&c, from, NULL, keys);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, 0, true, true, "Hello", 5), 0);
    CHECK_EQ(send_frame(&c, BKI_WS_BINARY, 0, true, true, "", 0), 0);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, 0, true, false, "fr", 2), 0);
    ssize_t n = bki_ws_control(&c, BKI_WS_OP_PING, bk_span_str("p"), out);
    script_add(&wire, out, (size_t)n);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, 0, false, false, "a", 1), 0);
    n = bki_ws_control(&c, BKI_WS_OP_PONG, bk_span_of(NULL, 0), out);
    script_add(&wire, out, (size_t)n);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, 0, false, true, "g", 1), 0);
    n = bki_ws_close_frame(&c, 1001, bk_span_str("away"), out);
    script_add(&wire, out, (size_t)n);
    CHECK_STR(received(to, 0), "text(Hello) binary() ping(p)>pong(p) pong() text(frag)"
                               " close(1001,away)>close(1001)");
}

static void test_both_ways(void)
{
    struct bki_ws_keys keys = {0};
    both_ways(BKI_WS_CLIENT, &keys);
    both_ways(BKI_WS_SERVER, NULL);
}

static void test_every_length_form(void)
{
    static const size_t sizes[] = {125, 126, 65535, 65536};
    struct bki_ws_keys keys = {0};
    struct bki_ws_conn client, server;
    bki_ws_init(&client, BKI_WS_CLIENT, NULL, &keys);
    bki_ws_init(&server, BKI_WS_SERVER, NULL, NULL);
    char *data = calloc(1, 65536);
    memset(data, 'x', 65536);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        static char seen[8192];
        CHECK_EQ(send_frame(&client, BKI_WS_TEXT, 0, true, true, data, sizes[i]), 0);
        snprintf(seen, sizeof seen, "%s", received(BKI_WS_SERVER, 0));
        CHECK(strncmp(seen, "text(", 5) == 0);
        CHECK_EQ(send_frame(&server, BKI_WS_TEXT, 0, true, true, data, sizes[i]), 0);
        CHECK_STR(received(BKI_WS_CLIENT, 0), seen);
    }
    free(data);
}

/* The RSV bits of an extension go on the first frame, and the peer sees them. */
static void test_extension_bits(void)
{
    struct bki_ws_conn c;
    bki_ws_init(&c, BKI_WS_SERVER, NULL, NULL);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, BKI_WS_RSV1, true, true, "x", 1), -EINVAL);
    c.rsv_allowed = BKI_WS_RSV1;
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, BKI_WS_RSV2, true, true, "x", 1), -EINVAL);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, BKI_WS_RSV1, true, false, "\xff", 1), 0);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, BKI_WS_RSV1, false, true, "\xfe", 1), 0);
    CHECK_EQ(send_frame(&c, BKI_WS_TEXT, 0, true, true, "plain", 5), 0);
    CHECK_STR(received(BKI_WS_CLIENT, BKI_WS_RSV1), "text(\\xff\\xfe,rsv 40) text(plain)");
}

static void test_misuse(void)
{
    char out[BKI_WS_CONTROL_FRAME_MAX], payload[126] = {0};
    struct bki_ws_head head;
    struct bki_ws_conn c;
    bki_ws_init(&c, BKI_WS_SERVER, NULL, NULL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_CONT, 0, true, true, 1), -EINVAL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_OP_PING, 0, true, true, 1), -EINVAL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, true, true, 1ull << 63), -EINVAL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, false, true, 1), -EINVAL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, true, false, 1), 0);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, true, true, 1), -EINVAL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_BINARY, 0, false, true, 1), -EINVAL);
    CHECK_EQ(bki_ws_data_head(&c, &head, BKI_WS_TEXT, 0, false, true, 1), 0);
    CHECK_EQ(bki_ws_control(&c, BKI_WS_OP_PING, bk_span_of(payload, 126), out), -EINVAL);
    CHECK_EQ(bki_ws_control(&c, BKI_WS_OP_CLOSE, bk_span_of(payload, 2), out), -EINVAL);
    CHECK_EQ(bki_ws_control(&c, BKI_WS_TEXT, bk_span_of(payload, 2), out), -EINVAL);
    CHECK_EQ(bki_ws_control(&c, BKI_WS_OP_PING, bk_span_of(payload, 125), out), 127);
}

CHECK_MAIN(TEST(test_both_ways), TEST(test_every_length_form), TEST(test_extension_bits),
           TEST(test_misuse))
