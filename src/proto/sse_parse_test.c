/* SPDX-License-Identifier: MIT
 * Tests of the event stream parser: the WHATWG text's rules, whole, cut anywhere, at a guard page.
 */
#include "proto/sse_parse.h"

#include <beck/error.h>

#include "base/alloc.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"
#include "tests/guard_page.h"

static char got[4096];

static void say(const struct bki_sse *sse)
{
    size_t len = strlen(got);
    snprintf(got + len, sizeof got - len, "%s[%.*s|%.*s|%.*s]", len ? " " : "", (int)sse->type.len,
             sse->type.data, (int)sse->data.len, sse->data.data, (int)sse->id.len, sse->id.data);
}

/* Feeds in[0..len) in pieces of `step` bytes; returns the last result. */
static int feed(struct bki_sse *sse, const char *in, size_t len, size_t step)
{
    struct guard_page page = {0};
    int r = 0;
    for (size_t at = 0; at < len && r >= 0; at += step) {
        size_t n = len - at < step ? len - at : step, used;
        const char *piece = guard_page_put(&page, in + at, n);
        while ((r = bki_sse_next(sse, piece, n, &used)) > 0) {
            say(sse);
            piece += used;
            n -= used;
        }
    }
    guard_page_free(&page);
    return r;
}

/* "[type|data|id] ..." of a whole stream, the same for every way of cutting it. */
static const char *events_of(const char *in, size_t len)
{
    static char whole[sizeof got];
    for (size_t step = len; step > 0; step = step > 5 ? 5 : step - 1) {
        struct bki_sse sse;
        bki_sse_init(&sse, 0, 0);
        got[0] = '\0';
        if (feed(&sse, in, len, step) < 0)
            snprintf(got, sizeof got, "error");
        bki_sse_free(&sse);
        if (step == len)
            memcpy(whole, got, sizeof got);
        else if (strcmp(whole, got) != 0)
            return "another result for another cut";
    }
    return whole;
}

#define EVENTS(text) events_of(text, sizeof(text) - 1)

static void fields(void)
{
    CHECK_STR(EVENTS("data: a\n\n"), "[message|a|]");
    CHECK_STR(EVENTS("data:a\n\n"), "[message|a|]");
    CHECK_STR(EVENTS("data:  a \n\n"), "[message| a |]");
    CHECK_STR(EVENTS("data\n\n"), "[message||]");
    CHECK_STR(EVENTS("data\ndata\n\n"), "[message|\n|]");
    CHECK_STR(EVENTS("data: a\ndata: b\ndata: c\n\n"), "[message|a\nb\nc|]");
    CHECK_STR(EVENTS("event: add\ndata: 1\n\ndata: 2\n\n"), "[add|1|] [message|2|]");
    CHECK_STR(EVENTS("event: a\nevent: b\ndata: 1\n\n"), "[b|1|]");
    CHECK_STR(EVENTS("event:\ndata: 1\n\n"), "[message|1|]");
    CHECK_STR(EVENTS("data: a:b\n\n"), "[message|a:b|]");
    CHECK_STR(EVENTS("Data: a\nDATA: b\n\n"), "");
    CHECK_STR(EVENTS(" data: a\n\n"), "");
    CHECK_STR(EVENTS("nothing: a\nx\ndata: b\n\n"), "[message|b|]");
    CHECK_STR(EVENTS(": a comment\n:\n\ndata: b\n\n"), "[message|b|]");
}

static void an_event_without_data_is_none(void)
{
    CHECK_STR(EVENTS("event: add\n\ndata: b\n\n"), "[message|b|]");
    CHECK_STR(EVENTS("id: 7\n\ndata: b\n\n"), "[message|b|7]");
    CHECK_STR(EVENTS("\n\n\n"), "");
    CHECK_STR(EVENTS("data: the end is missing\n"), "");
    CHECK_STR(EVENTS("data: the end is missing"), "");
}

static void ids_stay(void)
{
    CHECK_STR(EVENTS("id: 1\ndata: a\n\ndata: b\n\n"), "[message|a|1] [message|b|1]");
    CHECK_STR(EVENTS("id: 1\ndata: a\n\nid\ndata: b\n\n"), "[message|a|1] [message|b|]");
    CHECK_STR(EVENTS("id: 1\ndata: a\n\nid: x\0y\ndata: b\n\n"), "[message|a|1] [message|b|1]");
    CHECK_STR(EVENTS("id: 1\nid: 2\ndata: a\n\n"), "[message|a|2]");
}

static void line_ends(void)
{
    CHECK_STR(EVENTS("data: a\r\n\r\ndata: b\r\rdata: c\n\n"),
              "[message|a|] [message|b|] [message|c|]");
    CHECK_STR(EVENTS("data: a\rdata: b\r\ndata: c\n\r\n"), "[message|a\nb\nc|]");
    CHECK_STR(EVENTS("data: a\n\rdata: b\n\n"), "[message|a|] [message|b|]");
}

static void lines_of_any_length(void)
{
    static const char *const ends[] = {"\n", "\r", "\r\n"};
    for (size_t i = 0; i < 3 * 500; i++) {
        char text[520], stream[1200], want[600];
        memset(text, 'x', sizeof text);
        text[i / 3] = '\0';
        const char *end = ends[i % 3];
        int len = snprintf(stream, sizeof stream, "data:%s%s%sdata:y%s:%s%s%s", text, end, end, end,
                           text, end, end);
        snprintf(want, sizeof want, "[message|%s|] [message|y|]", text);
        struct bki_sse sse;
        bki_sse_init(&sse, 0, 0);
        got[0] = '\0';
        int r = feed(&sse, stream, (size_t)len, i % 7 == 0 ? 11 : (size_t)len);
        bki_sse_free(&sse);
        CHECK_EQ(r, 0);
        CHECK_STR(got, want);
    }
}

static void byte_order_mark(void)
{
    CHECK_STR(EVENTS("\xef\xbb\xbf"
                     "data: a\n\n"),
              "[message|a|]");
    CHECK_STR(EVENTS("\xef\xbb\xbf\xef\xbb\xbf"
                     "data: a\n\n"),
              "");
    CHECK_STR(EVENTS("data: b\n\n\xef\xbb\xbf"
                     "data: a\n\n"),
              "[message|b|]");
    CHECK_STR(EVENTS("\xef\xbb"
                     "data: a\ndata: b\n\n"),
              "[message|b|]");
}

/* The counts are those of the Encoding standard's decoder. */
static void what_is_not_utf8_is_replaced(void)
{
#define R "\xef\xbf\xbd"
    CHECK_STR(EVENTS("data: \xff.\n\n"), "[message|" R ".|]");
    CHECK_STR(EVENTS("data: \xc3\n\n"), "[message|" R "|]");
    CHECK_STR(EVENTS("data: \xe2\x82.\n\n"), "[message|" R ".|]");
    CHECK_STR(EVENTS("data: \xe2\x82\xac\xf0\x9f\x98\x80.\n\n"),
              "[message|\xe2\x82\xac\xf0\x9f\x98\x80.|]");
    CHECK_STR(EVENTS("data: \xf0\x9f\x98"
                     "A\n\n"),
              "[message|" R "A|]");
    CHECK_STR(EVENTS("data: \xed\xa0\x80\n\n"), "[message|" R R R "|]");
    CHECK_STR(EVENTS("data: \xc0\xaf\n\n"), "[message|" R R "|]");
    CHECK_STR(EVENTS("event: \x80\nid: \x81\ndata: x\n\n"), "[" R "|x|" R "]");
#undef R
}

static void retry(void)
{
    static const struct {
        const char *in;
        int64_t want;
    } cases[] = {
        {"retry: 1500\n", 1500},     {"retry: 0\n", 0},    {"retry:\n", -1},
        {"retry: -1\n", -1},         {"retry: 1.5\n", -1}, {"retry: 5s\n", -1},
        {"retry: 7\nretry: x\n", 7}, {"retry: +1\n", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bki_sse sse;
        bki_sse_init(&sse, 0, 0);
        feed(&sse, cases[i].in, strlen(cases[i].in), 3);
        int64_t retry_ms = sse.retry_ms;
        bki_sse_free(&sse);
        CHECK_EQ(retry_ms, cases[i].want);
    }
    struct bki_sse sse;
    bki_sse_init(&sse, 0, 0);
    feed(&sse, "retry: 99999999999999999999999999\n", 34, 34);
    int64_t huge = sse.retry_ms;
    bki_sse_free(&sse);
    CHECK(huge > INT64_MAX / 200);
}

static void a_new_connection_keeps_id_and_retry(void)
{
    struct bki_sse sse;
    bki_sse_init(&sse, 0, 0);
    got[0] = '\0';
    feed(&sse, "retry: 9\nid: 4\ndata: a\n\nid: 5\ndata: lost", 40, 40);
    bki_sse_restart(&sse);
    feed(&sse,
         "\xef\xbb\xbf"
         "data: b\n\n",
         12, 12);
    int64_t retry_ms = sse.retry_ms;
    bki_sse_free(&sse);
    CHECK_STR(got, "[message|a|4] [message|b|4]");
    CHECK_EQ(retry_ms, 9);
}

static int feed_limited(const char *in, size_t step)
{
    struct bki_sse sse;
    bki_sse_init(&sse, 10, 12);
    got[0] = '\0';
    int r = feed(&sse, in, strlen(in), step);
    size_t used;
    int again = bki_sse_next(&sse, "data: x\n\n", 9, &used);
    bki_sse_free(&sse);
    return r < 0 && again != r ? 1 : r;
}

static void limits(void)
{
    for (size_t step = 1; step < 40; step++) {
        CHECK_EQ(feed_limited("data: 1234\n\n", step), 0);
        CHECK_STR(got, "[message|1234|]");
        CHECK_EQ(feed_limited("data: 12345\n\n", step), -BK_ELIMIT);
        CHECK_EQ(feed_limited("a comment that does not end", step), -BK_ELIMIT);
        CHECK_EQ(feed_limited("data: 1234\ndata: 1234\ndata: 1\n\n", step), 0);
        CHECK_EQ(feed_limited("data: 1234\ndata: 1234\ndata: 123\n\n", step), -BK_ELIMIT);
    }
}

static void the_default_limits_are_1_and_4_mib(void)
{
    struct bki_sse sse;
    bki_sse_init(&sse, 0, 0);
    size_t max_line = sse.max_line, max_event = sse.max_event;
    bki_sse_free(&sse);
    CHECK_EQ(max_line, 1 << 20);
    CHECK_EQ(max_event, 4 << 20);
}

static int scenario(void *ctx)
{
    static const char in[] = "id: 1\nevent: e\ndata: a\xff\ndata: b\n\nid: 2\ndata: c\n\n";
    struct bki_sse sse;
    bki_sse_init(&sse, 0, 0);
    got[0] = '\0';
    int r = feed(&sse, in, sizeof in - 1, 7);
    bki_sse_free(&sse);
    (void)ctx;
    return r;
}

static void without_memory(void)
{
    CHECK(alloc_sweep(scenario, NULL) > 4);
}

CHECK_MAIN(TEST(fields), TEST(an_event_without_data_is_none), TEST(ids_stay), TEST(line_ends),
           TEST(lines_of_any_length), TEST(byte_order_mark), TEST(what_is_not_utf8_is_replaced),
           TEST(retry), TEST(a_new_connection_keeps_id_and_retry), TEST(limits),
           TEST(the_default_limits_are_1_and_4_mib), TEST(without_memory))
