/* SPDX-License-Identifier: MIT
 * Tests of the framing of bodies: every sample whole, cut in two anywhere, byte by byte, and
 * against a guard page must give the same. */
#include "proto/http_body.h"

#include <beck/error.h>
#include <stdarg.h>
#include <stdlib.h>

#include "tests/check.h"
#include "tests/guard_page.h"

struct outcome {
    char text[4096]; /* content, then how it ended */
    size_t n, used;  /* bytes of the sample that belong to the body */
};

static struct guard_page page;

static void note(struct outcome *o, const char *data, size_t len)
{
    if (len > sizeof o->text - 1 - o->n)
        len = sizeof o->text - 1 - o->n;
    memcpy(o->text + o->n, data, len);
    o->n += len;
    o->text[o->n] = '\0';
}

/* Gives the decoder one portion; false when it is done. */
static bool feed(struct bki_http_decoder *d, struct outcome *o, const char *in, size_t len)
{
    for (;;) {
        size_t skip;
        int r = bki_http_decode(d, in, len, &skip);
        if (r < 0) {
            note(o, "!", 1);
            note(o, bki_http_error_text(d->error), strlen(bki_http_error_text(d->error)));
            return false;
        }
        o->used += skip;
        in += skip;
        len -= skip;
        if (r == BKI_HTTP_MORE)
            return true;
        if (r == BKI_HTTP_TRAILER || r == BKI_HTTP_END) {
            note(o, r == BKI_HTTP_END ? "<end>" : "<trailer>", r == BKI_HTTP_END ? 5 : 9);
            return false;
        }
        size_t n = (int64_t)len < d->left ? len : (size_t)d->left;
        note(o, in, n);
        bki_http_decode_took(d, n);
        o->used += n;
        in += n;
        len -= n;
        if (len == 0 && d->left > 0)
            return true;
    }
}

/* Portions of `first` bytes, then of `step` each. */
static void play(struct bki_http_decoder d, struct outcome *o, const char *in, size_t len,
                 size_t first, size_t step)
{
    bool more = true;
    o->n = o->used = 0;
    o->text[0] = '\0';
    for (size_t at = 0, n = first; more && at < len; at += n, n = step) {
        if (n > len - at)
            n = len - at;
        more = feed(&d, o, guard_page_put(&page, in + at, n), n);
    }
    if (more)
        more = feed(&d, o, "", 0);
    if (more)
        note(o, "...", 3);
}

/* A refused body has no length. */
static bool same(const struct outcome *a, const struct outcome *b)
{
    return strcmp(a->text, b->text) == 0 && (strchr(a->text, '!') || a->used == b->used);
}

static const char *decode_as(struct bki_http_decoder d, const char *in, size_t len)
{
    static struct outcome whole;
    struct outcome parts;
    play(d, &whole, in, len, len, 1);
    play(d, &parts, in, len, 1, 1);
    for (size_t cut = 1; same(&whole, &parts) && cut < len; cut++)
        play(d, &parts, in, len, cut, len);
    if (!same(&whole, &parts))
        snprintf(whole.text, sizeof whole.text, "differs in parts: %.4000s", parts.text);
    return whole.text;
}

/* How a request's chunks are read: "content<trailer>", "content...", "content!why". */
static const char *chunks(const char *in)
{
    struct bki_http_decoder d;
    bki_http_decode_init(&d, BKI_HTTP_BODY_CHUNKED, -1, false, 64);
    return decode_as(d, in, strlen(in));
}

static const char *response_chunks(const char *in)
{
    struct bki_http_decoder d;
    bki_http_decode_init(&d, BKI_HTTP_BODY_CHUNKED, -1, true, 64);
    return decode_as(d, in, strlen(in));
}

#define SIZE_WRONG "!a chunk's size is not a hexadecimal number below 2^63"
#define EXT_WRONG "!a chunk extension is malformed"
#define END_WRONG "!a chunk does not end where its size says"
#define EXT_LIMIT "!chunk extensions are over their limit"
#define BARE_LF "!a line ended by a bare line feed"
#define BARE_CR "!a carriage return without a line feed"

static void chunks_are_joined(void)
{
    CHECK_STR(chunks("3\r\nabc\r\n0\r\n\r\nnext"), "abc<trailer>");
    CHECK_STR(chunks("1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n"), "abcd<trailer>");
    CHECK_STR(chunks("a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n"),
              "01234567890123456789<trailer>");
    CHECK_STR(chunks("2\r\n\r\n\r\n0\r\n\r\n"), "\r\n<trailer>");
    CHECK_STR(chunks("0\r\nA: b\r\n"), "<trailer>");
    CHECK_STR(chunks("000000000000000000000000000000003\r\nabc\r\n0\r\n"), "abc<trailer>");
}

static void what_has_not_come_is_waited_for(void)
{
    CHECK_STR(chunks(""), "...");
    CHECK_STR(chunks("3"), "...");
    CHECK_STR(chunks("3\r"), "...");
    CHECK_STR(chunks("3\r\nab"), "ab...");
    CHECK_STR(chunks("3\r\nabc\r"), "abc...");
    CHECK_STR(chunks("3\r\nabc\r\n"), "abc...");
    CHECK_STR(chunks("7fffffffffffffff\r\nabc"), "abc...");
    CHECK_STR(chunks("0000000000000007fffffffffffffff\r\nabc"), "abc...");
}

static void sizes_are_hexadecimal_and_fit(void)
{
    static const char *const bad[] = {
        "\r\nabc",
        "\nabc",
        "g\r\n",
        " 3\r\nabc",
        "\t3\r\nabc",
        "-3\r\nabc",
        "+3\r\nabc",
        ";a\r\n",
        "\x80",
        "8000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000003\r\nabc",
        "fffffffffffffffffffffffffff",
        "3\r\nabc\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *got = chunks(bad[i]);
        CHECK_STR(strchr(got, '!') ? strchr(got, '!') : got, SIZE_WRONG);
    }
    CHECK_STR(chunks("0x3\r\nabc"), EXT_WRONG);
    CHECK_STR(chunks("3 4\r\nabc"), EXT_WRONG);
    CHECK_STR(chunks("3_0\r\nabc"), EXT_WRONG);
    CHECK_STR(chunks("3,3\r\nabc"), EXT_WRONG);
}

static void lines_end_with_both(void)
{
    CHECK_STR(chunks("3\nabc\r\n0\r\n\r\n"), BARE_LF);
    CHECK_STR(response_chunks("3\nabc\r\n0\r\n\r\n"), BARE_LF);
    CHECK_STR(chunks("3;a\nabc"), BARE_LF);
    CHECK_STR(chunks("3;a=b\nabc"), BARE_LF);
    CHECK_STR(chunks("3;a=\"\nabc"), BARE_LF);
    CHECK_STR(chunks("3\r\rabc"), BARE_CR);
    CHECK_STR(chunks("3\rabc"), BARE_CR);
    CHECK_STR(chunks("3;a\rb"), BARE_CR);
    CHECK_STR(chunks("0\r\r"), BARE_CR);
    CHECK_STR(chunks("3\r\nabc\n0\r\n"), "abc" END_WRONG);
    CHECK_STR(chunks("3\r\nabc\r0\r\n"), "abc" END_WRONG);
    CHECK_STR(chunks("3\r\nabcd\r\n0\r\n"), "abc" END_WRONG);
    CHECK_STR(chunks("3\r\nab\r\n0\r\n\r\n"), "ab\r" END_WRONG);
    CHECK_STR(chunks("3\r\nabc0\r\n\r\n"), "abc" END_WRONG);
}

static void extensions_are_passed_over(void)
{
    CHECK_STR(chunks("3;a\r\nabc\r\n0;b=c;d=\"e;f\"\r\n"), "abc<trailer>");
    CHECK_STR(chunks("3 ; a = b ; c\r\nabc\r\n0\r\n"), "abc<trailer>");
    CHECK_STR(chunks("3;a=\"\\\"\\\\ \t\x80\"\r\nabc"), "abc...");
    CHECK_STR(chunks("3;a=\"\"\r\nabc"), "abc...");
    CHECK_STR(chunks("3;a\t=\tb\t;c\r\nabc"), "abc...");
}

static void malformed_extensions_are_refused(void)
{
    static const char *const bad[] = {
        "3;\r\n",        "3;;a\r\n",   "3; \r\n",    "3;=a\r\n",       "3;a=\r\n",
        "3;a=;b\r\n",    "3 a\r\n",    "3 \r\n",     "3;a b\r\n",      "3;a \r\n",
        "3;a=b c\r\n",   "3;a=b \r\n", "3;a=\"\r\n", "3;a=\"b\"c\r\n", "3;a=\"b\\\r\n",
        "3;a=\"b\x01\"", "3;a\x7f",    "3;a=(\r\n",  "3;a==b\r\n",     "3;\xc3\xa4",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(chunks(bad[i]), EXT_WRONG);
}

static void old_servers_pad_the_size(void)
{
    CHECK_STR(response_chunks("3  \r\nabc\r\n0 \r\n"), "abc<trailer>");
    CHECK_STR(response_chunks("3;a \r\nabc"), "abc...");
    CHECK_STR(response_chunks("3; \r\nabc"), EXT_WRONG);
    CHECK_STR(response_chunks("3 4\r\nabc"), EXT_WRONG);
}

static void extensions_have_one_limit_for_the_whole_body(void)
{
    static const char thirty[] = ";aaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    char text[400];
    snprintf(text, sizeof text, "1%s\r\nx\r\n1%s\r\ny\r\n1;a=b\r\nz\r\n0\r\n", thirty, thirty);
    CHECK_STR(chunks(text), "xyz<trailer>");
    snprintf(text, sizeof text, "1%s\r\nx\r\n1%s\r\ny\r\n1;a=b\r\nz\r\n0;\r\n", thirty, thirty);
    CHECK_STR(chunks(text), "xyz" EXT_LIMIT);
    snprintf(text, sizeof text, "%0100d\r\n", 1); /* more zeros than any number needs */
    CHECK_STR(chunks(text), EXT_LIMIT);
    snprintf(text, sizeof text, "%080d\r\nabc", 1);
    CHECK_STR(chunks(text), "a" END_WRONG);
}

static void the_default_limit_is_4_KiB(void)
{
    struct bki_http_decoder d;
    char *text = malloc(5000);
    size_t skip;
    text[0] = '1';
    text[1] = ';';
    memset(text + 2, 'a', 4998);
    bki_http_decode_init(&d, BKI_HTTP_BODY_CHUNKED, -1, false, 0);
    CHECK_EQ(bki_http_decode(&d, text, 4097, &skip), BKI_HTTP_MORE);
    CHECK_EQ(bki_http_decode(&d, text + 4097, 1, &skip), -BK_ELIMIT);
    CHECK_EQ(d.error, BKI_HTTP_E_CHUNK_EXT_LIMIT);
    CHECK_EQ(bki_http_decode(&d, text, 1, &skip), -BK_ELIMIT);
    free(text);
}

static const char *plain(enum bki_http_body kind, int64_t length, const char *in)
{
    struct bki_http_decoder d;
    bki_http_decode_init(&d, kind, length, false, 0);
    return decode_as(d, in, strlen(in));
}

static void plain_bodies(void)
{
    CHECK_STR(plain(BKI_HTTP_BODY_LENGTH, 5, "abc"), "abc...");
    CHECK_STR(plain(BKI_HTTP_BODY_LENGTH, 5, "abcdefg"), "abcde<end>");
    CHECK_STR(plain(BKI_HTTP_BODY_LENGTH, 0, "abc"), "<end>");
    CHECK_STR(plain(BKI_HTTP_BODY_NONE, -1, "abc"), "<end>");
    CHECK_STR(plain(BKI_HTTP_BODY_TUNNEL, -1, "abc"), "<end>");
    CHECK_STR(plain(BKI_HTTP_BODY_UNTIL_CLOSE, -1, "abc"), "abc...");
}

static int ended_after(enum bki_http_body kind, const char *in)
{
    struct bki_http_decoder d;
    struct outcome o;
    o.n = o.used = 0;
    bki_http_decode_init(&d, kind, 3, false, 0);
    feed(&d, &o, in, strlen(in));
    int r = bki_http_decode_eof(&d);
    if (r == 0)
        feed(&d, &o, "", 0);
    return r == 0 && strstr(o.text, "<end>") ? 1 : r;
}

static void only_an_end_in_the_right_place_is_one(void)
{
    CHECK_EQ(ended_after(BKI_HTTP_BODY_UNTIL_CLOSE, "abc"), 1);
    CHECK_EQ(ended_after(BKI_HTTP_BODY_UNTIL_CLOSE, ""), 1);
    CHECK_EQ(ended_after(BKI_HTTP_BODY_LENGTH, "ab"), -BK_EINCOMPLETE);
    CHECK_EQ(ended_after(BKI_HTTP_BODY_LENGTH, "abc"), 1);
    CHECK_EQ(ended_after(BKI_HTTP_BODY_CHUNKED, ""), -BK_EINCOMPLETE);
    CHECK_EQ(ended_after(BKI_HTTP_BODY_CHUNKED, "3\r\nabc"), -BK_EINCOMPLETE);
    CHECK_EQ(ended_after(BKI_HTTP_BODY_CHUNKED, "3\r\nabc\r\n0\r\n"), -BK_EINCOMPLETE);
}

static void after_the_trailers_the_body_is_over(void)
{
    struct bki_http_decoder d;
    size_t skip;
    bki_http_decode_init(&d, BKI_HTTP_BODY_CHUNKED, -1, false, 0);
    CHECK_EQ(bki_http_decode(&d, "0\r\nA: b\r\n\r\n", 11, &skip), BKI_HTTP_TRAILER);
    CHECK_EQ(skip, 3);
    bki_http_decode_trailer_read(&d);
    CHECK_EQ(bki_http_decode(&d, "GET", 3, &skip), BKI_HTTP_END);
    CHECK_EQ(skip, 0);
    CHECK_EQ(bki_http_decode_eof(&d), 0);
}

static void chunk_heads_are_read_back(void)
{
    static const size_t sizes[] = {1, 9, 10, 15, 16, 255, 256, 65536, 0x123456789abcdef, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char out[BKI_HTTP_CHUNK_HEAD];
        struct bki_http_decoder d;
        size_t skip, n = bki_http_chunk_head(out, sizes[i]);
        bki_http_decode_init(&d, BKI_HTTP_BODY_CHUNKED, -1, false, 0);
        CHECK(n <= sizeof out && out[0] != '0');
        CHECK_EQ(bki_http_decode(&d, out, n, &skip), BKI_HTTP_CONTENT);
        CHECK_EQ(skip, n);
        CHECK_EQ(d.left, sizes[i]);
    }
    char out[BKI_HTTP_CHUNK_HEAD];
    CHECK_MEM(out, bki_http_chunk_head(out, SIZE_MAX), "ffffffffffffffff\r\n", 18);
    CHECK_MEM(out, bki_http_chunk_head(out, 0x1f), "1f\r\n", 4);
}

CHECK_MAIN(TEST(chunks_are_joined), TEST(what_has_not_come_is_waited_for),
           TEST(sizes_are_hexadecimal_and_fit), TEST(lines_end_with_both),
           TEST(extensions_are_passed_over), TEST(malformed_extensions_are_refused),
           TEST(old_servers_pad_the_size), TEST(extensions_have_one_limit_for_the_whole_body),
           TEST(the_default_limit_is_4_KiB), TEST(plain_bodies),
           TEST(only_an_end_in_the_right_place_is_one), TEST(after_the_trailers_the_body_is_over),
           TEST(chunk_heads_are_read_back))
