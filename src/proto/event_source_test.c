/* SPDX-License-Identifier: MIT
 * Tests of event sources: events over several connections, reconnecting, what ends them. */
#include <beck/event_source.h>

#include "proto/http_script_fixture.h"

#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

static char got[2000];

/* "[type|data|id]" of each event until the source ends; returns how it did. */
static int run(struct script *script, const bk_event_source_opts *opts, int max_events)
{
    bk_event_source *source = NULL;
    bk_server_event e;
    got[0] = '\0';
    int r = bk_event_source_open(&source, script_url(script, "/events"), opts);
    for (int n = 0; r >= 0 && n < max_events && (r = bk_event_source_next(source, &e)) > 0; n++) {
        size_t len = strlen(got);
        snprintf(got + len, sizeof got - len, "[%.*s|%.*s|%.*s]", (int)e.type.len, e.type.data,
                 (int)e.data.len, e.data.data, (int)e.id.len, e.id.data);
    }
    int again = r <= 0 && source ? bk_event_source_next(source, &e) : r;
    bk_event_source_close(&source, r);
    return again == r ? r : 1000;
}

static bool asked(const struct script *script, const char *text)
{
    return strstr(script->asked, text) != NULL;
}

LOOP_TEST(events_until_the_server_says_204)
{
    struct script script = {.answers = {CLOSE STREAM "data: a\n\nevent: x\nid: 7\ndata: b\n\n",
                                        CLOSE STREAM "data: c\n\n",
                                        "HTTP/1.1 204 No Content\r\n\r\n"}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(run(&script, NULL, 100), 0);
    CHECK_STR(got, "[message|a|][x|b|7][message|c|7]");
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(6).ns);
    CHECK_EQ(script.n_asked, 3);
    CHECK(asked(&script, "Accept: text/event-stream\r\nCache-Control: no-cache\r\n"));
    const char *second = strstr(script.asked + 10, "GET ");
    CHECK(second && strstr(second, "Last-Event-ID: 7\r\n"));
    script_close(&script);
}

LOOP_TEST(the_server_sets_the_delay)
{
    struct script script = {
        .answers = {CLOSE STREAM "retry: 150\ndata: a\n\n", "HTTP/1.1 204 No Content\r\n\r\n"}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(run(&script, NULL, 100), 0);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_ms(150).ns);
    script_close(&script);
}

LOOP_TEST(an_event_cut_off_is_dropped)
{
    struct script script = {.answers = {CLOSE STREAM "data: a\n\ndata: lost",
                                        CLOSE STREAM "\n\ndata: b\n\n",
                                        "HTTP/1.1 204 No Content\r\n\r\n"}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(run(&script, NULL, 100), 0);
    CHECK_STR(got, "[message|a|][message|b|]");
    script_close(&script);
}

LOOP_TEST(what_ends_it_for_good)
{
    static const struct {
        const char *answer;
        int want;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", -BK_EREFUSED},
        {"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", -BK_EREFUSED},
        {"HTTP/1.1 201 Created\r\nContent-Type: text/event-stream\r\n\r\n", -BK_EREFUSED},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", -BK_EFORMAT},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/event-streamer\r\n\r\n", -BK_EFORMAT},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream x\r\n\r\n", -BK_EFORMAT},
        {"HTTP/1.1 200 OK\r\n\r\n", -BK_EFORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script script = {.answers = {cases[i].answer}};
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(run(&script, NULL, 100), cases[i].want);
        CHECK_EQ(script.n_asked, 1);
        script_close(&script);
    }
}

/* Only the same URL could be asked again, and it would lead there again. */
LOOP_TEST(so_does_a_redirect_that_is_not_followed)
{
    static const struct {
        const char *where;
        int want;
    } cases[] = {{"ftp://127.0.0.1/", -BK_EURL},
                 {"data:text/event-stream,", -BK_EURL},
                 {"/again", -BK_ELIMIT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char answer[200];
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", cases[i].where);
        struct script script = {.answers = {answer, answer, answer, answer, answer, answer}};
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(run(&script, NULL, 100), cases[i].want);
        script_close(&script);
    }
}

LOOP_TEST(parameters_of_the_type_do_not_matter)
{
    struct script script = {.answers = {CLOSE
                                        "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream ; "
                                        "charset=utf-8\r\n\r\ndata: a\n\n"}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(run(&script, NULL, 1), 1);
    CHECK_STR(got, "[message|a|]");
    script_close(&script);
}

/* Whoever says nothing of Accept-Encoding takes any coding, so the usual ones are undone. */
LOOP_TEST(a_compressed_stream)
{
    static const char answer[] =
        CLOSE "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
              "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x49\x2c\x49\xb4\x52\x48\xe4\xe2"
              "\x02\x00\x7e\xe3\xc4\x38\x09\x00\x00\x00";
    struct script script = {.answers = {answer}, .lens = {sizeof answer - 1}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(run(&script, NULL, 1), 1);
    CHECK_STR(got, "[message|a|]");
    CHECK(asked(&script, "Accept-Encoding: gzip, deflate\r\n"));
    script_close(&script);
}

LOOP_TEST(failures_in_a_row_wait_longer)
{
    struct script script = {.answers = {RESET, RESET, RESET, RESET, RESET, RESET}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(run(&script, &(bk_event_source_opts){.max_failures = 6}, 1), -ECONNRESET);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(3 + 6 + 12 + 24 + 30).ns);
    CHECK_EQ(script.n_asked, 6);
    script_close(&script);
}

/* What ends in order is no failure, even if nothing came. */
LOOP_TEST(ends_in_a_row_do_not_wait_longer)
{
    struct script script = {.answers = {CLOSE STREAM, RESET, CLOSE STREAM, CLOSE STREAM,
                                        "HTTP/1.1 204 No Content\r\n\r\n"}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(run(&script, &(bk_event_source_opts){.max_failures = 3}, 1), 0);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(3 + 6 + 3 + 3).ns);
    script_close(&script);
}

LOOP_TEST(a_retry_of_0_does_not_spin)
{
    struct script script = {
        .answers = {CLOSE STREAM "retry: 0\n\n", RESET, RESET, RESET, RESET, RESET, RESET}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(run(&script, &(bk_event_source_opts){.max_failures = 5}, 1), -ECONNRESET);
    CHECK(bk_time_since(bk_now(), before).ns > bk_ms(100).ns);
    script_close(&script);
}

LOOP_TEST(where_to_begin)
{
    struct script script = {.answers = {CLOSE STREAM "data: a\n\n"}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(run(&script, &(bk_event_source_opts){.last_event_id = "41", .bearer = "t"}, 1), 1);
    CHECK(asked(&script, "Last-Event-ID: 41\r\n") && asked(&script, "Bearer t\r\n"));
    script_close(&script);
}

/* An empty line makes an id the last one, whether or not there is an event to give out. */
LOOP_TEST(an_id_without_data_counts)
{
    struct script script = {.answers = {CLOSE STREAM "retry: 1\nid: 9\n\n", CLOSE STREAM "id: 10\n",
                                        CLOSE STREAM "data: a\n\n"}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(run(&script, &(bk_event_source_opts){.last_event_id = "8"}, 1), 1);
    CHECK_STR(got, "[message|a|9]");
    const char *second = strstr(script.asked, "Last-Event-ID: 8\r\n");
    CHECK(second && (second = strstr(second, "Last-Event-ID: 9\r\n")));
    CHECK(strstr(second + 1, "Last-Event-ID: 9\r\n"));
    script_close(&script);
}

LOOP_TEST(an_event_over_its_limit)
{
    struct script script = {.answers = {STREAM "data: 12345678901\n\n"}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(run(&script, &(bk_event_source_opts){.max_event = 10}, 1), -BK_ELIMIT);
    script_close(&script);
}

LOOP_TEST(silence_is_allowed_unless_it_is_limited)
{
    struct script script = {.answers = {STREAM "data: a\n\n", "HTTP/1.1 204 Done\r\n\r\n"}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(run(&script, &(bk_event_source_opts){.stall_timeout = bk_seconds(40)}, 10), 0);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(43).ns);
    script_close(&script);
}

static int next_event(void *ctx)
{
    bk_server_event e;
    return bk_event_source_next(ctx, &e);
}

LOOP_TEST(a_cancel_loses_nothing)
{
    struct script script = {.answers = {STREAM "data: a\n\n"}};
    bk_event_source *source = NULL;
    bk_server_event e;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_event_source_open(&source, script_url(&script, "/"), NULL), 0);
    CHECK_EQ(bk_event_source_next(source, &e), 1);
    CHECK_EQ(bk_wait_for(next_event, source, bk_seconds(5)), -ETIMEDOUT);
    CHECK_EQ(bk_event_source_reconnects(source), 0);
    CHECK_EQ(script.n_open, 1);
    bk_event_source_close(&source, 0);
    script_close(&script);
}

LOOP_TEST(a_cancel_does_not_put_off_the_next_connection)
{
    struct script script = {.answers = {CLOSE STREAM, CLOSE STREAM "data: a\n\n"}};
    bk_event_source *source = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_event_source_open(&source, script_url(&script, "/"), NULL), 0);
    bk_time before = bk_now();
    int r = -ETIMEDOUT;
    for (int i = 0; i < 20 && r == -ETIMEDOUT; i++)
        r = bk_wait_for(next_event, source, bk_ms(700));
    CHECK_EQ(r, 1);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(3).ns);
    bk_event_source_close(&source, 0);
    script_close(&script);
}

CHECK_MAIN(TEST(events_until_the_server_says_204), TEST(the_server_sets_the_delay),
           TEST(an_event_cut_off_is_dropped), TEST(what_ends_it_for_good),
           TEST(so_does_a_redirect_that_is_not_followed),
           TEST(parameters_of_the_type_do_not_matter), TEST(a_compressed_stream),
           TEST(an_id_without_data_counts), TEST(failures_in_a_row_wait_longer),
           TEST(ends_in_a_row_do_not_wait_longer), TEST(a_retry_of_0_does_not_spin),
           TEST(where_to_begin), TEST(an_event_over_its_limit),
           TEST(silence_is_allowed_unless_it_is_limited), TEST(a_cancel_loses_nothing),
           TEST(a_cancel_does_not_put_off_the_next_connection))
