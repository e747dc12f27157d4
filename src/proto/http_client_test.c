/* SPDX-License-Identifier: MIT
 * Tests of HTTP calls: requests as they are sent, responses as they are read, redirects, limits. */
#include <zlib.h>

#include "proto/http_call.h"
#include "proto/http_script_fixture.h"
#include "tests/tls_fixture.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define NO_BODY "HTTP/1.1 204 No Content\r\n\r\n"

static char body_text[400];

/* The whole body, or the error's words. */
static const char *body_of(bk_http_call *call)
{
    bk_msg *body = NULL;
    int r = bk_http_call_body(call, &body);
    if (r < 0)
        snprintf(body_text, sizeof body_text, "%s", bk_strerror(r));
    else
        snprintf(body_text, sizeof body_text, "%.*s", (int)bk_msg_len(body), bk_msg_data(body));
    bk_msg_free(&body);
    return body_text;
}

/* GETs path and returns the result; the body is in body_text. */
static int get(struct script *script, const char *path, const bk_http_opts *opts)
{
    bk_http_call *call = NULL;
    body_text[0] = '\0';
    int r = bk_http_get(&call, NULL, script_url(script, path), opts);
    if (r == 0)
        body_of(call);
    return bk_http_call_close(&call, r);
}

static bool asked(const struct script *script, const char *text)
{
    return strstr(script->asked, text) != NULL;
}

LOOP_TEST(a_get_as_it_is_sent_and_answered)
{
    struct script script = {.answers = {HELLO}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/a%20b?x=y#part"), NULL), 0);
    CHECK_EQ(bk_http_call_status(call), 200);
    CHECK_STR(bk_http_call_reason(call), "OK");
    CHECK_STR(bk_http_headers_get(bk_http_call_headers(call), "content-length"), "5");
    CHECK_STR(body_of(call), "hello");
    CHECK_STR(body_of(call), "");
    CHECK_EQ(bk_http_call_check(call), 0);
    CHECK_EQ(bk_http_call_close(&call, 7), 7);
    CHECK(!call);
    char want[300];
    snprintf(want, sizeof want,
             "GET /a%%20b?x=y HTTP/1.1\r\nHost: %s\r\nUser-Agent: beck/%s\r\nAccept: */*\r\n"
             "Accept-Encoding: gzip, deflate\r\n\r\n",
             bk_listener_address(script.listener), bk_version());
    CHECK_STR(script.asked, want);
    script_close(&script);
}

LOOP_TEST(a_post_with_its_body)
{
    struct script script = {.answers = {HELLO, HELLO}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(
        bk_http_request(&call, NULL, "POST", script_url(&script, "/"), bk_span_str("a=b"), NULL),
        0);
    CHECK(asked(&script, "Content-Length: 3\r\n\r\na=b"));
    bk_http_call_close(&call, 0);
    CHECK_EQ(bk_http_request(&call, NULL, "POST", script_url(&script, "/"), bk_span_str(""), NULL),
             0);
    CHECK(asked(&script, "Content-Length: 0\r\n\r\n"));
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(headers_of_the_callers)
{
    struct script script = {.answers = {HELLO, HELLO}};
    bk_http_headers *headers = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_headers_new(&headers), 0);
    CHECK_EQ(bk_http_headers_add(headers, "X-One", "1"), 0);
    CHECK_EQ(bk_http_headers_add(headers, "accept", "text/html"), 0);
    CHECK_EQ(bk_http_headers_add(headers, "Host", "other"), 0);
    CHECK_EQ(get(&script, "/", &(bk_http_opts){.headers = headers}), 0);
    CHECK(asked(&script, "X-One: 1\r\naccept: text/html\r\nHost: other\r\n"));
    CHECK(!asked(&script, "Accept: */*"));
    CHECK(!asked(&script, "Host: 127"));
    CHECK_EQ(bk_http_headers_add(headers, "Content-Length", "9"), 0);
    CHECK_EQ(get(&script, "/", &(bk_http_opts){.headers = headers}), -EINVAL);
    bk_http_headers_free(&headers);
    script_close(&script);
}

/* Part of a compressed body could not be decoded. */
LOOP_TEST(a_range_is_asked_for_uncompressed)
{
    struct script script = {.answers = {"HTTP/1.1 206 Partial\r\nContent-Encoding: gzip\r\n"
                                        "Content-Length: 4\r\n\r\n\1\2\3\4",
                                        HELLO}};
    bk_http_headers *headers = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_headers_new(&headers), 0);
    CHECK_EQ(bk_http_headers_add(headers, "range", "bytes=5-8"), 0);
    CHECK_EQ(get(&script, "/", &(bk_http_opts){.headers = headers}), 0);
    CHECK_STR(body_text, "\1\2\3\4");
    CHECK(asked(&script, "Accept-Encoding: identity\r\n"));
    CHECK_EQ(get(&script, "/", NULL), 0);
    CHECK(asked(&script, "Accept-Encoding: gzip, deflate\r\n"));
    bk_http_headers_free(&headers);
    script_close(&script);
}

LOOP_TEST(authorization)
{
    struct script script = {.answers = {HELLO, HELLO, HELLO}};
    bk_http_call *call = NULL;
    char url[200];
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(get(&script, "/", &(bk_http_opts){.user = "Aladdin", .password = "open sesame"}), 0);
    CHECK(asked(&script, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    CHECK_EQ(get(&script, "/", &(bk_http_opts){.bearer = "tok.en"}), 0);
    CHECK(asked(&script, "Authorization: Bearer tok.en\r\n"));
    snprintf(url, sizeof url, "http://us%%65r:p%%40w@%s/", bk_listener_address(script.listener));
    CHECK_EQ(bk_http_get(&call, NULL, url, NULL), 0);
    CHECK(asked(&script, "Authorization: Basic dXNlcjpwQHc=\r\n"));
    CHECK(!strstr(bk_http_call_url(call), "p@w") && !strstr(bk_http_call_url(call), "p%40w"));
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(bodies_end_as_the_head_says)
{
    struct script script = {
        .answers = {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n"
            "0\r\nX-Sum: 5\r\n\r\n",
            CLOSE "HTTP/1.1 200 OK\r\n\r\nuntil the end", CLOSE "HTTP/1.0 200 OK\r\n\r\nold",
            NO_BODY, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), NULL), 0);
    CHECK_EQ(bk_http_headers_count(bk_http_call_trailers(call)), 0);
    CHECK_STR(body_of(call), "abcde");
    CHECK_STR(bk_http_headers_get(bk_http_call_trailers(call), "x-sum"), "5");
    bk_http_call_close(&call, 0);
    CHECK_EQ(get(&script, "/", NULL), 0);
    CHECK_STR(body_text, "until the end");
    CHECK_EQ(get(&script, "/", NULL), 0);
    CHECK_STR(body_text, "old");
    CHECK_EQ(get(&script, "/", NULL), 0);
    CHECK_STR(body_text, "");
    CHECK_EQ(get(&script, "/", NULL), 0);
    CHECK_STR(body_text, "");
    script_close(&script);
}

LOOP_TEST(a_head_has_no_body)
{
    struct script script = {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_request(&call, NULL, "HEAD", script_url(&script, "/"), bk_span_str(""), NULL),
             0);
    CHECK_STR(body_of(call), "");
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(a_body_cut_short_is_incomplete)
{
    static const char *const answers[] = {
        CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct script script = {.answers = {answers[i]}};
        bk_http_call *call = NULL;
        bk_msg *body = NULL;
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), NULL), 0);
        CHECK_EQ(bk_http_call_body(call, &body), -BK_EINCOMPLETE);
        CHECK_EQ(bk_http_call_body(call, &body), -BK_EINCOMPLETE);
        bk_http_call_close(&call, 0);
        script_close(&script);
    }
}

LOOP_TEST(answers_that_are_none)
{
    static const struct {
        const char *answer;
        int want;
    } cases[] = {
        {CLOSE "", -BK_EINCOMPLETE},
        {CLOSE "HTTP/1.1 200 OK\r\nX: y", -BK_EINCOMPLETE},
        {CLOSE "SSH-2.0-OpenSSH\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         -BK_EPROTO},
        {CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", -BK_EPROTO},
        {CLOSE "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", -BK_EPROTO},
        {RESET, -ECONNRESET},
        {SILENT, -ETIMEDOUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script script = {.answers = {cases[i].answer, cases[i].answer}};
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(get(&script, "/", NULL), cases[i].want);
        CHECK(strstr(bk_errmsg(), "http://127.0.0.1:"));
        CHECK_EQ(script.n_asked, 1);
        script_close(&script);
    }
}

LOOP_TEST(what_goes_wrong_in_tls_is_told_as_that)
{
    bk_tls *server = NULL, *trust = NULL;
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    char url[100];
    CHECK_EQ(bk_tls_server_new(&server, &(bk_tls_opts){.cert_file = tls_file("server")}), 0);
    CHECK_EQ(bk_tls_client_new(&trust, &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    CHECK_EQ(bk_http_client_new(&client, &(bk_http_client_opts){.tls = trust}), 0);
    struct script script = {.answers = {PLAIN HELLO},
                            .listen_opts = &(bk_listen_opts){.tls = server}};
    CHECK_EQ(script_open(&script), 0);
    snprintf(url, sizeof url, "https://%s/", bk_listener_address(script.listener));
    CHECK_EQ(bk_http_get(&call, client, url, NULL), -BK_EPROTO);
    CHECK(strstr(bk_errmsg(), "what the peer sends is not TLS"));
    script_close(&script);
    bk_http_client_free(&client);
    bk_tls_free(&trust);
    bk_tls_free(&server);
}

LOOP_TEST(informational_responses_are_passed_over)
{
    struct script script = {.answers = {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                                        "HTTP/1.1 100 Continue\r\n\r\n" HELLO}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(get(&script, "/", NULL), 0);
    CHECK_STR(body_text, "hello");
    script_close(&script);
}

LOOP_TEST(endless_informational_responses_are_an_error)
{
    static char many[3000];
    for (int i = 0; i < 100; i++)
        memcpy(many + i * 25, "HTTP/1.1 100 Continue\r\n\r\n", 26);
    struct script script = {.answers = {many}};
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(get(&script, "/", NULL), -BK_EPROTO);
    script_close(&script);
}

LOOP_TEST(check_tells_of_a_status_that_is_no_success)
{
    struct script script = {.answers = {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"}};
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/x?key=secret"), NULL), 0);
    CHECK_EQ(bk_http_call_check(call), -BK_EREFUSED);
    CHECK(strstr(bk_errmsg(), "404 Not Found") && !strstr(bk_errmsg(), "secret"));
    CHECK_STR(body_of(call), "no");
    bk_http_call_close(&call, 0);
    script_close(&script);
}

/* ---- Compression and limits ---- */

/* Makes a gzip response of n zeros; returns its length. */
static size_t gzip_answer(char *out, size_t size, size_t n, const char *head)
{
    static char zeros[1 << 16];
    size_t len = (size_t)snprintf(out, size, "%s", head);
    z_stream z = {0};
    deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    z.next_out = (uint8_t *)out + len;
    z.avail_out = (uInt)(size - len);
    while (n > 0) {
        z.next_in = (uint8_t *)zeros;
        z.avail_in = (uInt)(n < sizeof zeros ? n : sizeof zeros);
        n -= z.avail_in;
        deflate(&z, Z_NO_FLUSH);
    }
    deflate(&z, Z_FINISH);
    len += z.total_out;
    deflateEnd(&z);
    return len;
}

#define GZIP_HEAD "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"

/* "hello" by zlib, and that by gzip. */
#define HELLO_TWICE                                                                                \
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x98\x73\xda\xe3\xec\xc9\x93\xec"                 \
    "\x0c\x6c\x3a\x4c\xa2\x00\x44\xfe\x85\xaa\x0d\x00\x00\x00"

LOOP_TEST(codings_are_undone_in_turn)
{
    static const char *const lines[] = {
        "Content-Encoding: deflate, gzip\r\n",
        "Content-Encoding: deflate\r\nContent-Encoding: gzip\r\n",
        "Content-Encoding: Identity, deflate,, identity ,X-GZIP\r\n",
        "Content-Encoding: deflate, gzip, br\r\n", /* not asked for: as it comes */
        "Content-Encoding: deflate, gzip, gzip\r\n",
    };
    static const char twice[] = HELLO_TWICE;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char answer[400], text[100];
        struct script script = {.answers = {answer}};
        bk_http_call *call = NULL;
        int n = snprintf(answer, sizeof answer, CLOSE "HTTP/1.1 200 OK\r\n%s\r\n", lines[i]);
        memcpy(answer + n, twice, sizeof twice - 1);
        script.lens[0] = (size_t)n + sizeof twice - 1;
        CHECK_EQ(script_open(&script), 0);
        int r = bk_http_get(&call, NULL, script_url(&script, "/"), NULL);
        CHECK_EQ(r, i == 4 ? -BK_ELIMIT : 0);
        if (r == 0) {
            ssize_t len = bk_http_call_read(call, text, sizeof text);
            const char *want = i < 3 ? "hello" : twice;
            CHECK_MEM(text, (size_t)len, want, i < 3 ? 5 : sizeof twice - 1);
        }
        bk_http_call_close(&call, 0);
        script_close(&script);
    }
}

LOOP_TEST(compression_is_undone)
{
    static char answer[2000];
    char text[100];
    struct script script = {.answers = {answer, answer}};
    size_t len = gzip_answer(answer + 1, sizeof answer - 1, 90, GZIP_HEAD);
    answer[0] = *CLOSE;
    script.lens[0] = script.lens[1] = len + 1;
    bk_http_call *call = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), NULL), 0);
    size_t total = 0;
    ssize_t n;
    while ((n = bk_http_call_read(call, text, 7)) > 0)
        total += (size_t)n;
    CHECK_EQ(n, 0);
    CHECK_EQ(total, 90);
    bk_http_call_close(&call, 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), &(bk_http_opts){.raw = true}), 0);
    CHECK_EQ(bk_http_call_read(call, text, sizeof text), (ssize_t)(len - strlen(GZIP_HEAD)));
    bk_http_call_close(&call, 0);
    script_close(&script);
}

static void check_limit(const char *answer, size_t len, size_t max_body, int want)
{
    struct script script = {.answers = {answer}, .lens = {len}};
    bk_http_call *call = NULL;
    bk_msg *body = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(
        bk_http_get(&call, NULL, script_url(&script, "/"), &(bk_http_opts){.max_body = max_body}),
        0);
    CHECK_EQ(bk_http_call_body(call, &body), want);
    bk_msg_free(&body);
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(a_body_over_its_limit)
{
    check_limit(HELLO, 0, 5, 0);
    check_limit(HELLO, 0, 4, -BK_ELIMIT);
    check_limit(CLOSE "HTTP/1.1 200 OK\r\n\r\nhello", 0, 5, 0);
    check_limit(CLOSE "HTTP/1.1 200 OK\r\n\r\nhello", 0, 4, -BK_ELIMIT);
}

LOOP_TEST(a_bomb_stops_at_the_default_limit_of_16_mib)
{
    static char answer[64 * 1024];
    answer[0] = *CLOSE;
    size_t len = gzip_answer(answer + 1, sizeof answer - 1, 16 << 20, GZIP_HEAD);
    check_limit(answer, len + 1, 0, 0);
    len = gzip_answer(answer + 1, sizeof answer - 1, (16 << 20) + 1, GZIP_HEAD);
    check_limit(answer, len + 1, 0, -BK_ELIMIT);
}

LOOP_TEST(a_body_that_stalls)
{
    struct script script = {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"}};
    bk_http_call *call = NULL;
    char text[20];
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), NULL), 0);
    CHECK_EQ(bk_http_call_read(call, text, sizeof text), 5);
    bk_time before = bk_now();
    CHECK_EQ(bk_http_call_read(call, text, sizeof text), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(60).ns);
    bk_http_call_close(&call, 0);
    script_close(&script);
}

LOOP_TEST(no_answer_within_30_s)
{
    struct script script = {.answers = {SILENT}};
    CHECK_EQ(script_open(&script), 0);
    bk_time before = bk_now();
    CHECK_EQ(get(&script, "/", NULL), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), before).ns, bk_seconds(30).ns);
    script_close(&script);
}

/* A time limit within has the word: the one for TLS handshakes. */
LOOP_TEST(no_handshake_within_10_s)
{
    bk_listener *listener = NULL;
    bk_http_call *call = NULL;
    char url[100];
    CHECK_EQ(bk_listen(&listener, "127.0.0.1:0", NULL), 0);
    snprintf(url, sizeof url, "https://%s/", bk_listener_address(listener));
    CHECK_EQ(bk_http_get(&call, NULL, url, NULL), -ETIMEDOUT);
    CHECK(strstr(bk_errmsg(), "no handshake within 10000 ms"));
    bk_listener_close(&listener, 0);
}

LOOP_TEST(folds_of_a_head_and_of_trailers_are_blanks)
{
    struct script script = {.answers = {CLOSE
                                        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nTransfer-Encoding:"
                                        "\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\nT: u\r\n\tv\r\n\r\n"}};
    bk_http_call *call = NULL;
    char text[100];
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_get(&call, NULL, script_url(&script, "/"), NULL), 0);
    CHECK_STR(bk_http_headers_get(bk_http_call_headers(call), "A"), "b   c");
    CHECK_EQ(bk_http_call_read(call, text, sizeof text), 2);
    CHECK_EQ(bk_http_call_read(call, text, sizeof text), 0);
    CHECK_STR(bk_http_headers_get(bk_http_call_trailers(call), "T"), "u  \tv");
    bk_http_call_close(&call, 0);
    script_close(&script);
}

CHECK_MAIN(TEST(a_get_as_it_is_sent_and_answered), TEST(a_post_with_its_body),
           TEST(headers_of_the_callers), TEST(a_range_is_asked_for_uncompressed),
           TEST(authorization), TEST(bodies_end_as_the_head_says), TEST(a_head_has_no_body),
           TEST(a_body_cut_short_is_incomplete), TEST(answers_that_are_none),
           TEST(what_goes_wrong_in_tls_is_told_as_that),
           TEST(informational_responses_are_passed_over),
           TEST(endless_informational_responses_are_an_error),
           TEST(check_tells_of_a_status_that_is_no_success), TEST(codings_are_undone_in_turn),
           TEST(compression_is_undone), TEST(a_body_over_its_limit),
           TEST(a_bomb_stops_at_the_default_limit_of_16_mib), TEST(a_body_that_stalls),
           TEST(no_answer_within_30_s), TEST(no_handshake_within_10_s),
           TEST(folds_of_a_head_and_of_trailers_are_blanks))
