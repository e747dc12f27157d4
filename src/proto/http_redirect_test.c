/* SPDX-License-Identifier: MIT
 * Tests of redirects: methods, bodies, credentials, limits. */
#include "proto/http_call.h"
#include "proto/http_script_fixture.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define TO(status, where)                                                                          \
    "HTTP/1.1 " status " Moved\r\nLocation: " where "\r\nContent-Length: 0\r\n\r\n"

static char final_url[300];
static int final_status;

static int request(struct script *script, const char *method, const char *body,
                   const bk_http_opts *opts)
{
    bk_http_call *call = NULL;
    int r =
        bk_http_request(&call, NULL, method, script_url(script, "/a/b?q"), bk_span_str(body), opts);
    final_status = r == 0 ? bk_http_call_status(call) : 0;
    snprintf(final_url, sizeof final_url, "%s", r == 0 ? bk_http_call_url(call) : "");
    return bk_http_call_close(&call, r);
}

static bool asked(const struct script *script, const char *text)
{
    return strstr(script->asked, text) != NULL;
}

LOOP_TEST(a_location_is_resolved_against_the_url)
{
    struct script script = {
        .answers = {TO("301", "c?x"), TO("302", "/d"), TO("307", "../e/./f#g"), HELLO}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(request(&script, "GET", "", NULL), 0);
    CHECK_EQ(final_status, 200);
    CHECK(asked(&script, "GET /a/c?x HTTP") && asked(&script, "GET /d HTTP"));
    CHECK(asked(&script, "GET /e/f HTTP"));
    CHECK_EQ(script.n_connections, 1);
    script_close(&script);
}

/* What follows a method, a status: the method and the body of the next request. */
LOOP_TEST(methods_change_as_they_should)
{
    static const struct {
        const char *method, *answer, *want;
        bool body;
    } cases[] = {
        {"POST", TO("301", "/x"), "GET /x", false},     {"POST", TO("302", "/x"), "GET /x", false},
        {"POST", TO("303", "/x"), "GET /x", false},     {"POST", TO("307", "/x"), "POST /x", true},
        {"POST", TO("308", "/x"), "POST /x", true},     {"PUT", TO("301", "/x"), "PUT /x", true},
        {"PUT", TO("302", "/x"), "PUT /x", true},       {"PUT", TO("303", "/x"), "GET /x", false},
        {"DELETE", TO("308", "/x"), "DELETE /x", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script script = {.answers = {cases[i].answer, HELLO}};
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(request(&script, cases[i].method, "body!", NULL), 0);
        const char *second = strstr(script.asked, cases[i].want);
        CHECK(second);
        CHECK_EQ(strstr(second, "\r\n\r\nbody!") != NULL, cases[i].body);
        CHECK_EQ(strstr(second, "Content-Length") != NULL, cases[i].body);
        script_close(&script);
    }
    struct script script = {.answers = {TO("303", "/x"), HELLO}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(request(&script, "HEAD", "", NULL), 0);
    CHECK(asked(&script, "HEAD /x"));
    script_close(&script);
}

/* RFC 9110 15.4: what was said of the body does not go with the GET that has none. */
LOOP_TEST(what_tells_of_a_body_goes_with_the_body)
{
    static const char *const answers[] = {TO("303", "/x"), TO("307", "/x")};
    for (int kept = 0; kept < 2; kept++) {
        struct script script = {.answers = {answers[kept], HELLO}};
        bk_http_headers *headers = NULL;
        CHECK_EQ(bk_http_headers_new(&headers), 0);
        bk_http_headers_add(headers, "content-type", "text/x");
        bk_http_headers_add(headers, "Content-Encoding", "x");
        bk_http_headers_add(headers, "X-Other", "kept");
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(request(&script, "POST", "body!", &(bk_http_opts){.headers = headers}), 0);
        const char *second = strstr(script.asked, kept ? "POST /x" : "GET /x");
        CHECK(second && strstr(second, "X-Other: kept\r\n"));
        CHECK_EQ(strstr(second, "content-type: text/x\r\n") != NULL, kept);
        CHECK_EQ(strstr(second, "Content-Encoding: x\r\n") != NULL, kept);
        script_close(&script);
        bk_http_headers_free(&headers);
    }
}

LOOP_TEST(five_are_followed_by_default)
{
    struct script script = {.answers = {TO("302", "/1"), TO("302", "/2"), TO("302", "/3"),
                                        TO("302", "/4"), TO("302", "/5"), HELLO}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(request(&script, "GET", "", NULL), 0);
    script_close(&script);
    struct script more = {.answers = {TO("302", "/1"), TO("302", "/2"), TO("302", "/3"),
                                      TO("302", "/4"), TO("302", "/5"), TO("302", "/6"), HELLO}};
    CHECK_EQ(script_open(&more), 0);
    CHECK_EQ(request(&more, "GET", "", NULL), -BK_ELIMIT);
    CHECK(strstr(bk_errmsg(), "more than 5 redirects"));
    CHECK_EQ(more.n_asked, 6);
    script_close(&more);
}

LOOP_TEST(none_is_followed_when_asked)
{
    struct script script = {.answers = {TO("302", "/1"), HELLO}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(request(&script, "GET", "", &(bk_http_opts){.max_redirects = -1}), 0);
    CHECK_EQ(final_status, 302);
    script_close(&script);
}

LOOP_TEST(what_is_no_redirect)
{
    static const char *const answers[] = {
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        TO("304", "/x"),
        TO("300", "/x"),
        TO("201", "/x"),
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct script script = {.answers = {answers[i], HELLO}};
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(request(&script, "GET", "", NULL), 0);
        CHECK_EQ(script.n_asked, 1);
        script_close(&script);
    }
}

LOOP_TEST(other_schemes_are_refused)
{
    static const char *const answers[] = {
        TO("302", "ftp://127.0.0.1/"), TO("302", "file:///etc/passwd"),
        TO("302", "ws://127.0.0.1/"),  TO("302", "javascript:alert(1)"),
        TO("302", "http://"),          TO("302", "//"),
        TO("302", "http:g"),           TO("302", "http:"),
        TO("302", "http:/g"),          TO("302", "HTTP:?g"),
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct script script = {.answers = {answers[i], HELLO}};
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(request(&script, "GET", "", NULL), -BK_EURL);
        CHECK(strstr(bk_errmsg(), "redirected to something else than an HTTP URL: "));
        CHECK_EQ(script.n_asked, 1);
        script_close(&script);
    }
}

static int with_secrets(struct script *script, const char *where)
{
    static char answer[400];
    bk_http_headers *headers = NULL;
    snprintf(answer, sizeof answer,
             "HTTP/1.1 302 Moved\r\nLocation: %.300s\r\nContent-Length: 0\r\n\r\n", where);
    script->answers[0] = answer;
    script->asked_len = 0;
    bk_http_headers_new(&headers);
    bk_http_headers_add(headers, "Cookie", "secret-cookie");
    bk_http_headers_add(headers, "X-Other", "kept");
    int r =
        request(script, "GET", "", &(bk_http_opts){.headers = headers, .bearer = "secret-token"});
    bk_http_headers_free(&headers);
    return r;
}

LOOP_TEST(credentials_stay_with_their_origin)
{
    struct script first = {.answers = {NULL}}, second = {.answers = {HELLO}};
    CHECK_EQ(script_open(&first), 0);
    CHECK_EQ(script_open(&second), 0);
    CHECK_EQ(with_secrets(&first, script_url(&second, "/x")), 0);
    CHECK(asked(&first, "secret-token") && asked(&first, "secret-cookie"));
    CHECK(!asked(&second, "secret") && asked(&second, "X-Other: kept"));
    script_close(&first);
    script_close(&second);
    struct script same = {.answers = {NULL, HELLO}};
    CHECK_EQ(script_open(&same), 0);
    CHECK_EQ(with_secrets(&same, "/x"), 0);
    const char *again = strstr(same.asked, "GET /x");
    CHECK(again && strstr(again, "secret-token") && strstr(again, "secret-cookie"));
    script_close(&same);
}

LOOP_TEST(user_information_of_the_url_stays_with_its_origin)
{
    char url[420];
    bk_http_call *call = NULL;
    struct script script = {.answers = {TO("302", "/x"), HELLO}};
    CHECK_EQ(script_open(&script), 0);
    const char *plain = script_url(&script, "/");
    snprintf(url, sizeof url, "http://u:p@%s", plain + strlen("http://"));
    CHECK_EQ(bk_http_get(&call, NULL, url, NULL), 0);
    bk_http_call_close(&call, 0);
    const char *again = strstr(script.asked, "GET /x");
    CHECK(again && strstr(again, "Authorization: Basic dTpw\r\n"));
    script_close(&script);
}

/* They do not come back either, once the chain has left their origin. */
LOOP_TEST(credentials_do_not_return)
{
    static char back[400];
    struct script first = {.answers = {NULL}}, second = {.answers = {back}};
    CHECK_EQ(script_open(&first), 0);
    CHECK_EQ(script_open(&second), 0);
    snprintf(back, sizeof back,
             "HTTP/1.1 302 Back\r\nLocation: %.300s\r\nContent-Length: 0\r\n\r\n",
             script_url(&first, "/back"));
    first.answers[1] = HELLO;
    CHECK_EQ(with_secrets(&first, script_url(&second, "/x")), 0);
    const char *again = strstr(first.asked, "GET /back");
    CHECK(again && !strstr(again, "secret"));
    script_close(&first);
    script_close(&second);
}

CHECK_MAIN(TEST(a_location_is_resolved_against_the_url), TEST(methods_change_as_they_should),
           TEST(what_tells_of_a_body_goes_with_the_body), TEST(five_are_followed_by_default),
           TEST(none_is_followed_when_asked), TEST(what_is_no_redirect),
           TEST(other_schemes_are_refused), TEST(credentials_stay_with_their_origin),
           TEST(user_information_of_the_url_stays_with_its_origin), TEST(credentials_do_not_return))
