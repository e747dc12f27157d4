/* SPDX-License-Identifier: MIT
 * Tests of the WebSocket opening handshake: the bytes, each rule of both judges, subprotocols,
 * extensions. */
#include "proto/ws_handshake.h"

#include <beck/error.h>
#include <errno.h>

#include "tests/check.h"

#define S(text) bk_span_str(text)
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static struct bki_http_field fields[30];
static char text[2000];

static struct bki_http_head parse(enum bki_http_kind kind, const char *bytes, size_t len)
{
    struct bki_http_head h;
    bki_http_init(&h, kind, fields, 30, NULL);
    int r = bki_http_feed(&h, bytes, len);
    if (r != 1 || h.len != len) {
        check_failures++;
        fprintf(stderr, "not a head: %s\n%.*s\n", bki_http_error_text(h.error), (int)len, bytes);
    }
    return h;
}

static int fixed_keys(void *out, size_t len)
{
    memset(out, 0x5a, len);
    return 0;
}

static void test_keys(void)
{
    char key[BKI_WS_KEY_LEN + 1], accept[BKI_WS_ACCEPT_LEN + 1];
    struct bki_ws_keys keys = {.fill = fixed_keys};
    CHECK_EQ(bki_ws_handshake_key(&keys, key), 0);
    CHECK_STR(key, "WlpaWlpaWlpaWlpaWlpaWg==");
    CHECK_EQ(bki_ws_accept_of(S(KEY), accept), 0);
    CHECK_STR(accept, ACCEPT);
    CHECK_EQ(bki_ws_accept_of(S("short"), accept), -EINVAL);
}

static void test_request_bytes(void)
{
    static const char *const protocols[] = {"chat.v2", "chat", NULL};
    static const char *const headers[] = {"Authorization:  Bearer x ", "X-Empty:", NULL};
    struct bki_ws_request q = {
        .host = S("example.org:8080"), .target = S("/feed?x=1"), .key = S(KEY)};
    struct bki_http_writer w;
    bki_http_write_init(&w, text, sizeof text);
    ssize_t n = bki_ws_write_request(&w, &q);
    const char *want = "GET /feed?x=1 HTTP/1.1\r\nHost: example.org:8080\r\n"
                       "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n";
    CHECK_MEM(text, (size_t)n, want, strlen(want));
    q.protocols = protocols;
    q.headers = headers;
    q.origin = S("http://o");
    q.extensions = S("permessage-deflate; client_max_window_bits");
    bki_http_write_init(&w, text, sizeof text);
    n = bki_ws_write_request(&w, &q);
    want = "GET /feed?x=1 HTTP/1.1\r\nHost: example.org:8080\r\n"
           "Upgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\nOrigin: http://o\r\n"
           "Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Protocol: chat\r\n"
           "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
           "Authorization: Bearer x\r\nX-Empty: \r\n\r\n";
    CHECK_MEM(text, (size_t)n, want, strlen(want));
}

static const char *request_fault(const char *header, const char *protocol, const char *second)
{
    const char *const headers[] = {header, NULL}, *const protocols[] = {protocol, second, NULL};
    struct bki_ws_request q = {.host = S("h"),
                               .target = S("/"),
                               .key = S(KEY),
                               .headers = headers,
                               .protocols = protocols};
    struct bki_http_writer w;
    bki_http_write_init(&w, text, sizeof text);
    return bki_ws_write_request(&w, &q) == -EINVAL ? w.fault : "none";
}

static void test_request_faults(void)
{
    static const char *const own[] = {"Host: x",
                                      "upgrade: x",
                                      "Connection: close",
                                      "Content-Length: 1",
                                      "Transfer-Encoding: chunked",
                                      "sec-websocket-key: x"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        CHECK_STR(request_fault(own[i], NULL, NULL),
                  "a header line would replace one of the handshake's own");
    CHECK_STR(request_fault("X-Y: z", "a", "A"), "none");
    CHECK_STR(request_fault("Sec-WebSocket: longer names", NULL, NULL), "none");
    CHECK_STR(request_fault("X-Sec-WebSocket-Key: is another", NULL, NULL), "none");
    CHECK_STR(request_fault("no colon", NULL, NULL), "a header line has no colon");
    CHECK_STR(request_fault("a b: c", NULL, NULL), "a header name is not a token");
    CHECK_STR(request_fault("a: b\r\nX: c", NULL, NULL), "a control character in a header value");
    CHECK_STR(request_fault(NULL, "a b", NULL), "a subprotocol is not a token");
    CHECK_STR(request_fault(NULL, "a", "a"), "a subprotocol is given twice");
}

/* The request with some of its lines replaced; NULL leaves a line out. */
struct lines {
    const char *start, *host, *upgrade, *connection, *version, *key, *more;
};

static int judge_request(const struct lines *l, struct bki_ws_offer *offer)
{
    int n = snprintf(text, sizeof text, "%s\r\n%s%s%s%s%s%s\r\n",
                     l->start ? l->start : "GET / HTTP/1.1", l->host ? l->host : "Host: h\r\n",
                     l->upgrade ? l->upgrade : "Upgrade: websocket\r\n",
                     l->connection ? l->connection : "Connection: Upgrade\r\n",
                     l->version ? l->version : "Sec-WebSocket-Version: 13\r\n",
                     l->key ? l->key : "Sec-WebSocket-Key: " KEY "\r\n", l->more ? l->more : "");
    struct bki_http_head h = parse(BKI_HTTP_REQUEST, text, (size_t)n);
    return bki_ws_check_request(&h, offer);
}

static void test_requests_accepted(void)
{
    static const struct lines good[] = {
        {0},
        {.start = "GET /chat HTTP/1.3"},
        {.upgrade = "UPGRADE: h2c, WebSocket\r\n"},
        {.connection = "Connection: keep-alive, upgrade\r\n"},
        {.connection = "Connection: keep-alive\r\nConnection: Upgrade\r\n"},
        {.key = "sec-websocket-KEY:\t" KEY " \r\n"},
        {.more = "Content-Length: 0\r\n"},
        {.more = "Sec-WebSocket-Protocol: a,, b \r\n"},
        {.more = "Sec-WebSocket-Extensions:\r\n"},
        {.more = "Sec-WebSocket-Extensions: a ;b; c=\"1\"\r\n"},
        {.more = "Sec-WebSocket-Extensions: a; b=\"1\\2\", , c\r\n"},
    };
    struct bki_ws_offer offer;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_EQ(judge_request(&good[i], &offer), 0);
        CHECK_MEM(offer.key.data, offer.key.len, KEY, 24);
        CHECK_EQ(offer.origin.len, 0);
    }
    CHECK_EQ(judge_request(&(struct lines){.more = "Origin: http://o\r\n"}, &offer), 0);
    CHECK_MEM(offer.origin.data, offer.origin.len, "http://o", 8);
}

static void test_requests_refused(void)
{
    static const struct {
        struct lines lines;
        int status;
    } bad[] = {
        {{.start = "POST / HTTP/1.1"}, 405},
        {{.start = "get / HTTP/1.1"}, 405},
        {{.start = "GET / HTTP/1.0"}, 400},
        {{.upgrade = ""}, 426},
        {{.upgrade = "Upgrade: h2c\r\n"}, 426},
        {{.connection = ""}, 426},
        {{.connection = "Connection: close\r\n"}, 426},
        {{.version = ""}, 426},
        {{.version = "Sec-WebSocket-Version: 8\r\n"}, 426},
        {{.version = "Sec-WebSocket-Version: 13, 8\r\n"}, 426},
        {{.version = "Sec-WebSocket-Version: 013\r\n"}, 426},
        {{.version = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n"}, 400},
        {{.key = ""}, 400},
        {{.key = "Sec-WebSocket-Key:\r\n"}, 400},
        {{.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"}, 400},
        {{.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=A\r\n"}, 400},
        {{.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ.==\r\n"}, 400},
        {{.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE=\r\n"}, 400},
        {{.key = "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Key: " KEY "\r\n"}, 400},
        {{.more = "Origin: a\r\nOrigin: b\r\n"}, 400},
        {{.more = "Content-Length: 1\r\n"}, 400},
        {{.more = "Sec-WebSocket-Protocol: a b\r\n"}, 400},
        {{.more = "Sec-WebSocket-Protocol: a, (b)\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: permessage-deflate;\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: permessage-deflate; ; x\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: ; x\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: permessage-deflate=1\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; =1\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=1 2\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=\"1 2\"\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=\"\"\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=\";,\\\"\", , c\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a b\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=\"1\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a; b=\"1\"2\r\n"}, 400},
        {{.more = "Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b;\r\n"}, 400},
        {{.more = "Transfer-Encoding: chunked\r\n"}, 400},
    };
    struct bki_ws_offer offer;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(judge_request(&bad[i].lines, &offer), -BK_EPROTO);
        CHECK_EQ(offer.status, bad[i].status);
        CHECK(offer.why && strlen(offer.why) > 10);
    }
}

/* Each byte in each place of the key. */
static void test_key_characters(void)
{
    const char *base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < BKI_WS_KEY_LEN; at++) {
        for (int c = 0x21; c < 0x7f; c++) {
            char line[] = "Sec-WebSocket-Key: " KEY "\r\n";
            struct bki_ws_offer offer;
            line[19 + at] = (char)c;
            bool good = at < 22 ? strchr(base64, c) != NULL : c == '=';
            CHECK_EQ(judge_request(&(struct lines){.key = line}, &offer), good ? 0 : -BK_EPROTO);
        }
    }
}

static const char *pick(const char *offered, const char *const *ours)
{
    int n = snprintf(text, sizeof text, "GET / HTTP/1.0\r\n%s\r\n", offered);
    struct bki_http_head h = parse(BKI_HTTP_REQUEST, text, (size_t)n);
    const char *picked = bki_ws_pick_protocol(&h, ours);
    return picked ? picked : "none";
}

static void test_subprotocol_choice(void)
{
    static const char *const ours[] = {"v2", "v1", NULL};
    CHECK_STR(pick("", ours), "none");
    CHECK_STR(pick("Sec-WebSocket-Protocol: v1, v2\r\n", ours), "v2");
    CHECK_STR(pick("Sec-WebSocket-Protocol: v1\r\n", ours), "v1");
    CHECK_STR(pick("Sec-WebSocket-Protocol: x, v1\r\nSec-WebSocket-Protocol: v2\r\n", ours), "v2");
    CHECK_STR(pick("Sec-WebSocket-Protocol: V2, v22, v\r\n", ours), "none");
    CHECK_STR(pick("Sec-WebSocket-Protocol: v1\r\n", NULL), "none");
}

static void test_response_bytes(void)
{
    static const char *const headers[] = {"Server: beck", NULL};
    struct bki_ws_response p = {.key = S(KEY)};
    struct bki_http_writer w;
    bki_http_write_init(&w, text, sizeof text);
    ssize_t n = bki_ws_write_response(&w, &p);
    const char *want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n";
    CHECK_MEM(text, (size_t)n, want, strlen(want));
    p.protocol = S("v2");
    p.extensions = S("permessage-deflate");
    p.headers = headers;
    bki_http_write_init(&w, text, sizeof text);
    n = bki_ws_write_response(&w, &p);
    want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n"
           "Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
           "Server: beck\r\n\r\n";
    CHECK_MEM(text, (size_t)n, want, strlen(want));
}

/* RFC 9110 6.6.1: with a date, whatever it is. */
static void check_refusal(struct bki_ws_refusal refusal, const char *want)
{
    struct bki_http_writer w;
    bki_http_write_init(&w, text, sizeof text);
    size_t n = (size_t)bki_ws_write_refusal(&w, &refusal), line = strcspn(want, "\n") + 1;
    const char *end = memchr(text + line, '\n', n - line);
    CHECK_MEM(text, line, want, line);
    CHECK(end && memcmp(text + line, "Date: ", 6) == 0);
    CHECK_EQ(end + 1 - (text + line),
             (ssize_t)sizeof "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" - 1);
    CHECK_MEM(end + 1, n - (size_t)(end + 1 - text), want + line, strlen(want) - line);
}

static void test_refusal_bytes(void)
{
    struct bki_http_writer w;
    check_refusal((struct bki_ws_refusal){426, "old", false},
                  "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n\r\nold\n");
    check_refusal((struct bki_ws_refusal){405, "no", false},
                  "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nno\n");
    check_refusal((struct bki_ws_refusal){405, "no", true},
                  "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\n");
    bki_http_write_init(&w, text, sizeof text);
    CHECK_EQ(bki_ws_write_refusal(&w, &(struct bki_ws_refusal){1, "no", false}), -EINVAL);
}

static int judge_response(const char *lines, const char *offered_extensions,
                          struct bki_ws_agreed *agreed)
{
    static const char *const protocols[] = {"v2", "v1", NULL};
    struct bki_ws_request q = {
        .key = S(KEY), .protocols = protocols, .extensions = S(offered_extensions)};
    int n = snprintf(text, sizeof text, "%s\r\n", lines);
    struct bki_http_head h = parse(BKI_HTTP_RESPONSE, text, (size_t)n);
    return bki_ws_check_response(&h, &q, agreed);
}

#define STATUS "HTTP/1.1 101 Switching Protocols\r\n"
#define UP "Upgrade: WebSocket\r\nConnection: upgrade\r\n"
#define ACC "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define PROTO "Sec-WebSocket-Protocol: "
#define EXT "Sec-WebSocket-Extensions: "
#define MALFORMED "the response's Sec-WebSocket-Extensions is malformed"

static void test_responses_accepted(void)
{
    struct bki_ws_agreed a;
    CHECK_EQ(judge_response(STATUS UP ACC, "", &a), 0);
    CHECK(a.protocol.len == 0 && !a.extensions);
    CHECK_EQ(judge_response(STATUS UP ACC PROTO "v1\r\n", "", &a), 0);
    CHECK_MEM(a.protocol.data, a.protocol.len, "v1", 2);
    CHECK_EQ(judge_response(STATUS UP ACC EXT "pd; x=1\r\n", "a, pd; y", &a), 0);
    CHECK(a.extensions);
    CHECK_EQ(judge_response(STATUS UP ACC EXT "pd\r\n" EXT "a, \r\n", "a, pd", &a), 0);
    CHECK_EQ(judge_response(STATUS EXT "pd\r\n" UP ACC, "pd", &a), 0);
    CHECK(a.extensions);
    CHECK_EQ(judge_response(STATUS UP ACC EXT "\r\n", "", &a), 0);
    CHECK(!a.extensions);
}

static void test_responses_refused(void)
{
    static const struct {
        const char *lines, *offered, *why;
    } bad[] = {
        {"HTTP/1.0 101 x\r\n" UP ACC, "", "a 101 response of HTTP/1.0"},
        {STATUS "Connection: upgrade\r\n" ACC, "", "the response's Upgrade is not websocket"},
        {STATUS "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n" ACC, "",
         "the response's Upgrade is not websocket"},
        {STATUS UP UP ACC, "", "the response's Upgrade is not websocket"},
        {STATUS "Upgrade: websocket\r\n" ACC, "", "the response's Connection has no Upgrade"},
        {STATUS UP, "", "Sec-WebSocket-Accept does not answer the key"},
        {STATUS UP ACC ACC, "", "Sec-WebSocket-Accept does not answer the key"},
        {STATUS UP "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "",
         "Sec-WebSocket-Accept does not answer the key"},
        {STATUS UP "Sec-WebSocket-Accept:\r\n", "", "Sec-WebSocket-Accept does not answer the key"},
        {STATUS UP ACC PROTO "v3\r\n", "", "the server chose a subprotocol that was not offered"},
        {STATUS UP ACC PROTO "V1\r\n", "", "the server chose a subprotocol that was not offered"},
        {STATUS UP ACC PROTO "v1, v2\r\n", "",
         "the server chose a subprotocol that was not offered"},
        {STATUS UP ACC PROTO "\r\n", "", "the server chose a subprotocol that was not offered"},
        {STATUS UP ACC PROTO "v1\r\n" PROTO "v1\r\n", "",
         "the server chose more than one subprotocol"},
        {STATUS UP ACC EXT "pd\r\n", "", "the server chose an extension that was not offered"},
        {STATUS UP ACC EXT "pd, b\r\n", "pd", "the server chose an extension that was not offered"},
        {STATUS UP ACC EXT "pd\r\n", "pdx", "the server chose an extension that was not offered"},
        {STATUS EXT "pd\r\n" UP ACC, "", "the server chose an extension that was not offered"},
        {STATUS UP ACC EXT ";\r\n", "pd", MALFORMED},
        {STATUS UP ACC EXT "=\r\n", "pd", MALFORMED},
        {STATUS UP ACC EXT "pd=1\r\n", "pd", MALFORMED},
        {STATUS UP ACC EXT "pd;\r\n", "pd", MALFORMED},
        {STATUS UP ACC EXT "pd; x=\r\n", "pd", MALFORMED},
        {STATUS UP ACC EXT "pd; x=\"1\r\n", "pd", MALFORMED},
    };
    struct bki_ws_agreed a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(judge_response(bad[i].lines, bad[i].offered, &a), -BK_EPROTO);
        CHECK_STR(a.why, bad[i].why);
    }
    CHECK_EQ(judge_response("HTTP/1.1 302 Found\r\nLocation: /x\r\n", "", &a), -BK_EREFUSED);
    CHECK_EQ(judge_response("HTTP/1.1 200 OK\r\n" UP ACC, "", &a), -BK_EREFUSED);
}

/* What one side writes, the other accepts. */
static void test_both_sides(void)
{
    static const char *const protocols[] = {"v1", "v2", NULL}, *const ours[] = {"v2", NULL};
    static char answer[1000];
    struct bki_ws_keys keys = {0};
    char key[BKI_WS_KEY_LEN + 1];
    struct bki_http_writer w;
    CHECK_EQ(bki_ws_handshake_key(&keys, key), 0);
    struct bki_ws_request q = {
        .host = S("h"), .target = S("/"), .key = S(key), .protocols = protocols};
    bki_http_write_init(&w, text, sizeof text);
    ssize_t n = bki_ws_write_request(&w, &q);
    CHECK(n > 0);
    struct bki_http_head h = parse(BKI_HTTP_REQUEST, text, (size_t)n);
    struct bki_ws_offer offer;
    CHECK_EQ(bki_ws_check_request(&h, &offer), 0);
    struct bki_ws_response p = {.key = offer.key, .protocol = S(bki_ws_pick_protocol(&h, ours))};
    bki_http_write_init(&w, answer, sizeof answer);
    n = bki_ws_write_response(&w, &p);
    CHECK(n > 0);
    h = parse(BKI_HTTP_RESPONSE, answer, (size_t)n);
    struct bki_ws_agreed agreed;
    CHECK_EQ(bki_ws_check_response(&h, &q, &agreed), 0);
    CHECK_MEM(agreed.protocol.data, agreed.protocol.len, "v2", 2);
}

CHECK_MAIN(TEST(test_keys), TEST(test_request_bytes), TEST(test_request_faults),
           TEST(test_requests_accepted), TEST(test_requests_refused), TEST(test_key_characters),
           TEST(test_subprotocol_choice), TEST(test_response_bytes), TEST(test_refusal_bytes),
           TEST(test_responses_accepted), TEST(test_responses_refused), TEST(test_both_sides))
