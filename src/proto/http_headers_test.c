/* SPDX-License-Identifier: MIT
 * Tests of lists of header fields: of one's own, and taken from a head. */
#include "proto/http_headers.h"

#include <stdlib.h>

#include "tests/alloc_sweep.h"
#include "tests/check.h"
#include "tests/guard_page.h"

/* "name=value name=value" */
static const char *text_of(const bk_http_headers *list)
{
    static char text[4096];
    const char *name, *value;
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; bk_http_headers_at(list, i, &name, &value); i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s=%s", n ? " " : "", name, value);
    return text;
}

static void fields_keep_their_order_and_may_repeat(void)
{
    bk_http_headers *list = NULL;
    CHECK_EQ(bk_http_headers_new(&list), 0);
    CHECK_EQ(bk_http_headers_add(list, "Accept", "a"), 0);
    CHECK_EQ(bk_http_headers_add(list, "Cookie", ""), 0);
    CHECK_EQ(bk_http_headers_add(list, "accept", "  b\t"), 0);
    CHECK_STR(text_of(list), "Accept=a Cookie= accept=b");
    CHECK_EQ(bk_http_headers_count(list), 3);
    CHECK_STR(bk_http_headers_get(list, "ACCEPT"), "a");
    CHECK_STR(bk_http_headers_get(list, "cookie"), "");
    CHECK(!bk_http_headers_get(list, "Accep"));
    CHECK_EQ(bk_http_headers_remove(list, "aCCept"), 2);
    CHECK_STR(text_of(list), "Cookie=");
    CHECK_EQ(bk_http_headers_remove(list, "Accept"), 0);
    bk_http_headers_free(&list);
    CHECK(!list);
    bk_http_headers_free(&list);
}

static void set_replaces_all_of_that_name(void)
{
    struct bk_http_headers list = {0};
    CHECK_EQ(bk_http_headers_add(&list, "A", "1"), 0);
    CHECK_EQ(bk_http_headers_add(&list, "B", "2"), 0);
    CHECK_EQ(bk_http_headers_add(&list, "a", "3"), 0);
    CHECK_EQ(bk_http_headers_set(&list, "A", "4"), 0);
    CHECK_STR(text_of(&list), "B=2 A=4");
    CHECK_EQ(bk_http_headers_set(&list, "A", "4\n"), -EINVAL);
    CHECK_STR(text_of(&list), "B=2 A=4");
    bki_http_headers_release(&list);
}

static void texts_of_the_list_may_be_given_back_to_it(void)
{
    struct bk_http_headers list = {0};
    CHECK_EQ(bk_http_headers_add(&list, "Name-0", "a value"), 0);
    for (int i = 0; i < 200; i++) { /* the block moves meanwhile */
        const char *name, *value;
        CHECK(bk_http_headers_at(&list, list.n - 1, &name, &value));
        CHECK_EQ(bk_http_headers_add(&list, name, value), 0);
    }
    for (size_t i = 0; i < list.n; i++) {
        const char *name, *value;
        CHECK(bk_http_headers_at(&list, i, &name, &value));
        CHECK_STR(name, "Name-0");
        CHECK_STR(value, "a value");
    }
    const char *name, *value;
    CHECK(bk_http_headers_at(&list, 77, &name, &value));
    CHECK_EQ(bk_http_headers_set(&list, name, value), 0);
    CHECK_STR(text_of(&list), "Name-0=a value");
    bki_http_headers_release(&list);
}

static void setting_again_and_again_takes_no_more_memory(void)
{
    struct bk_http_headers list = {0};
    char value[64];
    CHECK_EQ(bk_http_headers_add(&list, "First", "stays"), 0);
    for (int i = 0; i < 20000; i++) {
        snprintf(value, sizeof value, "%0*d", i % 40 + 1, i);
        CHECK_EQ(bk_http_headers_set(&list, "Counter", value), 0);
    }
    CHECK_EQ(bk_http_headers_add(&list, "Last", "one"), 0);
    CHECK_STR(text_of(&list),
              "First=stays Counter=0000000000000000000000000000000000019999 Last=one");
    CHECK(list.cap <= 2048);
    bki_http_headers_release(&list);
}

static void nothing_that_ends_a_line_gets_in(void)
{
    struct bk_http_headers list = {0};
    static const char *const bad_names[] = {"",     " A",   "A ", "A:", "A\r\n",
                                            "A\nB", "\x80", "A(", "a b"};
    static const char *const bad_values[] = {"a\r\nB: c", "a\n", "\r", "a\x01", "\x7f", "a\vb"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++)
        CHECK_EQ(bk_http_headers_add(&list, bad_names[i], "v"), -EINVAL);
    for (size_t i = 0; i < sizeof bad_values / sizeof *bad_values; i++) {
        CHECK_EQ(bk_http_headers_add(&list, "Secret", bad_values[i]), -EINVAL);
        CHECK_EQ(bk_http_headers_set(&list, "Secret", bad_values[i]), -EINVAL);
    }
    CHECK_STR(bk_errmsg(), "Secret: a control character in a header value");
    CHECK_EQ(bk_http_headers_count(&list), 0);
    CHECK_EQ(bk_http_headers_add(&list, "Ok", "tab\tand \xc3\xa4"), 0);
    bki_http_headers_release(&list);
}

static void tokens_are_found_in_all_values(void)
{
    struct bk_http_headers list = {0};
    CHECK_EQ(bk_http_headers_add(&list, "Connection", "keep-alive, ,Upgrade"), 0);
    CHECK_EQ(bk_http_headers_add(&list, "connection", "x;q=1"), 0);
    CHECK_EQ(bk_http_headers_add(&list, "CONNECTION", "\"close\", TE"), 0);
    CHECK(bk_http_headers_has(&list, "connection", "upgrade"));
    CHECK(bk_http_headers_has(&list, "connection", "te"));
    CHECK(!bk_http_headers_has(&list, "connection", "close"));
    CHECK(!bk_http_headers_has(&list, "connection", "x"));
    CHECK(!bk_http_headers_has(&list, "connection", "keep"));
    CHECK(!bk_http_headers_has(&list, "connectio", "te"));
    bki_http_headers_release(&list);
}

static void a_taken_head_is_a_list_of_strings(void)
{
    static const char text[] =
        "GET /a?b HTTP/1.1\r\nHost:h\r\nEmpty:\r\nPadded: \t x y \t\r\n\r\nrest";
    size_t len = sizeof text - 1;
    struct guard_page page = {0};
    struct bki_http_field fields[8];
    struct bki_http_head head;
    struct bk_http_headers list = {0};
    bki_http_init(&head, BKI_HTTP_REQUEST, fields, 8, NULL);
    CHECK_EQ(bki_http_feed(&head, guard_page_put(&page, text, len - 4), len - 4), 1);
    CHECK_EQ(bki_http_headers_take(&list, &head, 100), 0);
    guard_page_free(&page);
    CHECK(list.cap >= len - 4 + 100);
    CHECK_STR(bki_http_text(&list, head.method), "GET");
    CHECK_STR(bki_http_text(&list, head.target), "/a?b");
    CHECK_STR(text_of(&list), "Host=h Empty= Padded=x y");
    bk_span value;
    CHECK_EQ(bki_http_get(&head, "padded", &value), 1);
    CHECK_MEM(value.data, value.len, "x y", 3);

    bki_http_init(&head, BKI_HTTP_RESPONSE, fields, 8, NULL);
    CHECK_EQ(bki_http_feed(&head, "HTTP/1.1 404 Not Here\r\nA:b\n\r\n", 29), 1);
    CHECK_EQ(bki_http_headers_take(&list, &head, 0), 0);
    CHECK_STR(bki_http_text(&list, head.reason), "Not Here");
    CHECK_STR(text_of(&list), "A=b");

    static const char folded[] = "HTTP/1.1 200\r\nA: b\r\n\tc\r\nE:\r\n \r\n\r\n";
    bki_http_init(&head, BKI_HTTP_RESPONSE, fields, 8, NULL);
    CHECK_EQ(bki_http_feed(&head, folded, sizeof folded - 1), 1);
    CHECK_EQ(bki_http_headers_take(&list, &head, 0), 0);
    CHECK_STR(text_of(&list), "A=b  \tc E=");

    bki_http_init(&head, BKI_HTTP_RESPONSE, fields, 8, NULL);
    CHECK_EQ(bki_http_feed(&head, "HTTP/1.1 200\r\n\r\n", 16), 1);
    CHECK_EQ(bki_http_headers_take(&list, &head, 0), 0);
    CHECK_STR(bki_http_text(&list, head.reason), "");
    CHECK_STR(text_of(&list), "");
    bki_http_headers_release(&list);
}

static void lists_are_written_but_for_some_names(void)
{
    struct bk_http_headers list = {0};
    char out[200];
    struct bki_http_writer w;
    CHECK_EQ(bk_http_headers_add(&list, "A", "1"), 0);
    CHECK_EQ(bk_http_headers_add(&list, "date", "2"), 0);
    CHECK_EQ(bk_http_headers_add(&list, "B", ""), 0);
    bki_http_write_init(&w, out, sizeof out);
    bki_http_write_headers(&w, &list, (const char *const[]){"Date", NULL});
    bki_http_write_headers(&w, &list, NULL);
    CHECK_MEM(out, w.len, "A: 1\r\nB: \r\nA: 1\r\ndate: 2\r\nB: \r\n", 31);
    bki_http_headers_release(&list);
}

static void a_failed_allocation_changes_nothing(void)
{
    for (long nth = 1;; nth++) {
        alloc_sweep_fail_nth(nth);
        struct bk_http_headers list = {0};
        int done = 0;
        for (int i = 0; i < 40; i++) {
            char value[100];
            snprintf(value, sizeof value, "%090d", i);
            int r = bk_http_headers_set(&list, i % 2 ? "Odd" : "Even", value);
            if (r == 0)
                r = bk_http_headers_add(&list, "More", value);
            if (r < 0) {
                CHECK_EQ(r, -ENOMEM);
                break;
            }
            done++;
        }
        bool hit = atomic_load(&alloc_sweep_failed) != 0;
        CHECK(hit ? done < 40 : done == 40);
        CHECK_EQ(bk_http_headers_count(&list) >= (size_t)done, 1);
        bki_http_headers_release(&list);
        CHECK_EQ(alloc_sweep_end(), 0);
        if (!hit)
            return;
    }
}

CHECK_MAIN(TEST(fields_keep_their_order_and_may_repeat), TEST(set_replaces_all_of_that_name),
           TEST(texts_of_the_list_may_be_given_back_to_it),
           TEST(setting_again_and_again_takes_no_more_memory),
           TEST(nothing_that_ends_a_line_gets_in), TEST(tokens_are_found_in_all_values),
           TEST(a_taken_head_is_a_list_of_strings), TEST(lists_are_written_but_for_some_names),
           TEST(a_failed_allocation_changes_nothing))
