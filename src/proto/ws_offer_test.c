/* SPDX-License-Identifier: MIT
 * Tests of agreeing on permessage-deflate: every parameter, alone and with others, both sides. */
#include "proto/ws_offer.h"

#include <beck/error.h>
#include <stdio.h>

#include "tests/check.h"

#define NAME "permessage-deflate"
#define FIELD "Sec-WebSocket-Extensions: "

static struct bki_http_field fields[20];
static char head_text[2000];

/* A head with these fields; `lines` are whole lines, each with its line end. */
static struct bki_http_head head_of(enum bki_http_kind kind, const char *lines)
{
    struct bki_http_head h;
    int n = snprintf(head_text, sizeof head_text, "%s\r\n%s\r\n",
                     kind == BKI_HTTP_REQUEST ? "GET / HTTP/1.1\r\nHost: x"
                                              : "HTTP/1.1 101 Switching Protocols",
                     lines);
    bki_http_init(&h, kind, fields, 20, NULL);
    if (bki_http_feed(&h, head_text, (size_t)n) != 1) {
        check_failures++;
        fprintf(stderr, "not a head: %s\n", lines);
    }
    return h;
}

static const char *terms_text(const struct bki_ws_terms *t)
{
    static char text[100];
    snprintf(text, sizeof text, "send %d%s, recv %d%s", t->send_bits, t->send_alone ? " alone" : "",
             t->recv_bits, t->recv_alone ? " alone" : "");
    return text;
}

/* ---- The server ---- */

/* The answer to these fields, and what it means; "declined" */
static const char *answer_to(const char *lines, const struct bki_ws_terms *wish)
{
    static char text[400];
    char answer[BKI_WS_TERMS_TEXT];
    struct bki_ws_terms agreed;
    struct bki_http_head h = head_of(BKI_HTTP_REQUEST, lines);
    if (!bki_ws_offer_answer(&h, wish, &agreed, answer))
        return "declined";
    snprintf(text, sizeof text, "%s (%s)", answer, terms_text(&agreed));
    return text;
}

static const struct bki_ws_terms no_wish;

#define ANSWERS(offer, want) CHECK_STR(answer_to(FIELD offer "\r\n", &no_wish), want)

static void a_server_meets_what_the_client_asks_for(void)
{
    ANSWERS(NAME, NAME " (send 15, recv 15)");
    ANSWERS("PerMessage-Deflate", NAME " (send 15, recv 15)");
    ANSWERS(NAME "; client_max_window_bits", NAME " (send 15, recv 15)");
    ANSWERS(NAME "; client_max_window_bits=10",
            NAME "; client_max_window_bits=10 (send 15, recv 10)");
    ANSWERS(NAME "; server_max_window_bits=8", NAME "; server_max_window_bits=8 (send 8, recv 15)");
    ANSWERS(NAME "; server_max_window_bits=15",
            NAME "; server_max_window_bits=15 (send 15, recv 15)");
    ANSWERS(NAME "; server_max_window_bits=\"10\"",
            NAME "; server_max_window_bits=10 (send 10, recv 15)");
    ANSWERS(NAME "; server_no_context_takeover",
            NAME "; server_no_context_takeover (send 15 alone, recv 15)");
    ANSWERS(NAME "; client_no_context_takeover",
            NAME "; client_no_context_takeover (send 15, recv 15 alone)");
    ANSWERS(NAME ";server_no_context_takeover ; client_max_window_bits=9;"
                 "client_no_context_takeover;server_max_window_bits=11",
            NAME "; server_no_context_takeover; client_no_context_takeover;"
                 " server_max_window_bits=11; client_max_window_bits=9"
                 " (send 11 alone, recv 9 alone)");
}

static void a_server_declines_what_is_malformed(void)
{
    static const char *const bad[] = {
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=010",
        "server_max_window_bits=1 0",
        "server_max_window_bits=",
        "server_max_window_bits=\"\"",
        "server_max_window_bits=x",
        "server_max_window_bits=+9",
        "server_max_window_bits=100000000000000000009",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=",
        "client_max_window_bits=0",
        "server_no_context_takeover=1",
        "server_no_context_takeover=\"\"",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
        "unknown",
        "unknown=1",
        "server_no_context_takeove",
        "=5",
        "x y",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[200];
        snprintf(line, sizeof line, FIELD NAME "; %s\r\n", bad[i]);
        CHECK_STR(answer_to(line, &no_wish), "declined");
    }
    ANSWERS("x-webkit-deflate-frame", "declined");
    ANSWERS("permessage-deflate=1", "declined");
    ANSWERS("permessage-deflated", "declined");
    ANSWERS("permessage-bzip2, foo; bar=baz", "declined");
    CHECK_STR(answer_to("X: y\r\n", &no_wish), "declined");
    CHECK_STR(answer_to(FIELD "\r\n", &no_wish), "declined");
}

static void a_server_takes_the_first_offer_that_it_can_meet(void)
{
    ANSWERS("foo, " NAME "; server_max_window_bits=10, " NAME,
            NAME "; server_max_window_bits=10 (send 10, recv 15)");
    ANSWERS(NAME "; nonsense, " NAME "; server_max_window_bits=99, " NAME
                 "; client_no_context_takeover",
            NAME "; client_no_context_takeover (send 15, recv 15 alone)");
    CHECK_STR(answer_to(FIELD "foo\r\n" FIELD ", ," NAME "; bad\r\n" FIELD NAME "\r\n", &no_wish),
              NAME " (send 15, recv 15)");
}

static void a_server_has_wishes_of_its_own(void)
{
    struct bki_ws_terms wish = {
        .send_bits = 11, .recv_bits = 10, .send_alone = true, .recv_alone = true};
    /* The client's window can be limited only when it has said so. */
    CHECK_STR(answer_to(FIELD NAME "\r\n", &wish),
              NAME "; server_no_context_takeover; client_no_context_takeover;"
                   " server_max_window_bits=11 (send 11 alone, recv 15 alone)");
    CHECK_STR(answer_to(FIELD NAME "; client_max_window_bits\r\n", &wish),
              NAME "; server_no_context_takeover; client_no_context_takeover;"
                   " server_max_window_bits=11; client_max_window_bits=10"
                   " (send 11 alone, recv 10 alone)");
    CHECK_STR(
        answer_to(FIELD NAME "; client_max_window_bits=9; server_max_window_bits=14\r\n", &wish),
        NAME "; server_no_context_takeover; client_no_context_takeover;"
             " server_max_window_bits=11; client_max_window_bits=9"
             " (send 11 alone, recv 9 alone)");
    wish = (struct bki_ws_terms){.send_bits = 15, .recv_bits = 15};
    CHECK_STR(
        answer_to(FIELD NAME "; client_max_window_bits=15; server_max_window_bits=9\r\n", &wish),
        NAME "; server_max_window_bits=9 (send 9, recv 15)");
}

/* ---- The client ---- */

static const char *offer_of(struct bki_ws_terms wish)
{
    static char text[BKI_WS_TERMS_TEXT];
    bki_ws_offer_write(&wish, text);
    return text;
}

static void a_client_offers_what_it_wishes(void)
{
    CHECK_STR(offer_of((struct bki_ws_terms){0}), NAME "; client_max_window_bits");
    CHECK_STR(offer_of((struct bki_ws_terms){.send_bits = 15, .recv_bits = 15}),
              NAME "; client_max_window_bits");
    CHECK_STR(offer_of((struct bki_ws_terms){.send_bits = 9, .recv_bits = 10}),
              NAME "; server_max_window_bits=10; client_max_window_bits=9");
    CHECK_STR(offer_of((struct bki_ws_terms){
                  .send_bits = 8, .recv_bits = 8, .send_alone = true, .recv_alone = true}),
              NAME "; server_no_context_takeover; client_no_context_takeover;"
                   " server_max_window_bits=8; client_max_window_bits=8");
}

static const char *judgement_of(const char *lines, const struct bki_ws_terms *wish)
{
    struct bki_ws_terms agreed;
    const char *why = NULL;
    struct bki_http_head h = head_of(BKI_HTTP_RESPONSE, lines);
    int r = bki_ws_offer_judge(&h, wish, &agreed, &why);
    return r == 1 ? terms_text(&agreed) : r == 0 ? "declined" : r == -BK_EPROTO ? why : "?";
}

#define JUDGES(answer, wish, want) CHECK_STR(judgement_of(FIELD answer "\r\n", wish), want)
#define BAD_PARAMETER                                                                              \
    "the server answered with a parameter of " NAME " that is unknown, repeated or malformed"

static void a_client_does_as_the_server_says(void)
{
    JUDGES(NAME, &no_wish, "send 15, recv 15");
    JUDGES(NAME "; server_no_context_takeover", &no_wish, "send 15, recv 15 alone");
    JUDGES(NAME "; client_no_context_takeover", &no_wish, "send 15 alone, recv 15");
    JUDGES(NAME "; server_max_window_bits=8", &no_wish, "send 15, recv 8");
    JUDGES(NAME "; client_max_window_bits=8", &no_wish, "send 8, recv 15");
    JUDGES(NAME "; client_max_window_bits=\"9\"", &no_wish, "send 9, recv 15");
    CHECK_STR(judgement_of("", &no_wish), "declined");
    struct bki_ws_terms wish = {
        .send_bits = 10, .recv_bits = 11, .send_alone = true, .recv_alone = true};
    JUDGES(NAME "; server_no_context_takeover; server_max_window_bits=11", &wish,
           "send 10 alone, recv 11 alone");
    JUDGES(NAME "; server_no_context_takeover; server_max_window_bits=9;"
                "client_max_window_bits=12; client_no_context_takeover",
           &wish, "send 10 alone, recv 9 alone");
}

static void a_client_refuses_what_it_did_not_offer(void)
{
    struct bki_ws_terms wish = {.recv_bits = 10};
    JUDGES(NAME, &wish, "the server's window is larger than the offer allows");
    JUDGES(NAME "; server_max_window_bits=11", &wish,
           "the server's window is larger than the offer allows");
    wish = (struct bki_ws_terms){.recv_alone = true};
    JUDGES(NAME, &wish,
           "the server's answer lacks server_no_context_takeover, which was asked for");
    JUDGES("foo", &no_wish, "the server chose an extension that was not offered");
    JUDGES(NAME ", foo", &no_wish, "the server chose an extension that was not offered");
    JUDGES(NAME ", " NAME, &no_wish, "the server chose " NAME " twice");
    CHECK_STR(judgement_of(FIELD NAME "\r\n" FIELD NAME "\r\n", &no_wish),
              "the server chose " NAME " twice");
    JUDGES(NAME "; client_max_window_bits", &no_wish, BAD_PARAMETER);
    JUDGES(NAME "; client_max_window_bits=7", &no_wish, BAD_PARAMETER);
    JUDGES(NAME "; server_max_window_bits", &no_wish, BAD_PARAMETER);
    JUDGES(NAME "; server_max_window_bits=16", &no_wish, BAD_PARAMETER);
    JUDGES(NAME "; server_no_context_takeover=x", &no_wish, BAD_PARAMETER);
    JUDGES(NAME "; server_no_context_takeover; server_no_context_takeover", &no_wish,
           BAD_PARAMETER);
    JUDGES(NAME "; foo=1", &no_wish, BAD_PARAMETER);
}

/* Whatever one side of ours wishes, the other meets, and both mean the same by it. */
static void both_sides_agree(void)
{
    for (unsigned i = 0; i < 4 * 4 * 81; i++) {
        static const uint8_t bits[] = {0, 8, 15};
        struct bki_ws_terms client = {bits[i % 3], bits[i / 3 % 3], i / 9 % 2, i / 18 % 2};
        unsigned j = i / 36;
        struct bki_ws_terms server = {bits[j % 3], bits[j / 3 % 3], j / 9 % 2, j / 18 % 2};
        struct bki_ws_terms by_client, by_server;
        char answer[BKI_WS_TERMS_TEXT], line[300];
        const char *why = NULL;
        snprintf(line, sizeof line, FIELD "%s\r\n", offer_of(client));
        struct bki_http_head h = head_of(BKI_HTTP_REQUEST, line);
        CHECK(bki_ws_offer_answer(&h, &server, &by_server, answer));
        snprintf(line, sizeof line, FIELD "%s\r\n", answer);
        h = head_of(BKI_HTTP_RESPONSE, line);
        CHECK_EQ(bki_ws_offer_judge(&h, &client, &by_client, &why), 1);
        CHECK(by_client.send_bits <= by_server.recv_bits);
        CHECK_EQ(by_client.recv_bits, by_server.send_bits);
        CHECK(by_client.send_alone || !by_server.recv_alone);
        CHECK_EQ(by_client.recv_alone, by_server.send_alone);
        CHECK(!client.recv_bits || by_server.send_bits <= client.recv_bits);
        CHECK(!server.recv_bits || by_client.send_bits <= server.recv_bits);
        CHECK((!client.recv_alone && !server.send_alone) || by_server.send_alone);
        CHECK((!client.send_alone && !server.recv_alone) || by_client.send_alone);
    }
}

CHECK_MAIN(TEST(a_server_meets_what_the_client_asks_for), TEST(a_server_declines_what_is_malformed),
           TEST(a_server_takes_the_first_offer_that_it_can_meet),
           TEST(a_server_has_wishes_of_its_own), TEST(a_client_offers_what_it_wishes),
           TEST(a_client_does_as_the_server_says), TEST(a_client_refuses_what_it_did_not_offer),
           TEST(both_sides_agree))
