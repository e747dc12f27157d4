/* SPDX-License-Identifier: MIT
 * Files: read whole, followed through growth, truncation and replacement; written line by line. */
#include "connectors/url_fixture.h"

static struct urls u;

static void fresh(const char *from, const char *to)
{
    memset(&u, 0, sizeof u);
    u.from = from;
    u.to = to;
}

static void a_whole_file(void)
{
    write_file(place("", "whole", ""), "w", "one\n\ntwo\r\nlast");
    fresh(place("file:", "whole", ""), NULL);
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "one\n\ntwo\r\nlast\n");
    CHECK_EQ(u.stats.stored, 4);
    unlink(place("", "whole", ""));
}

static void missing_files_and_folders(void)
{
    fresh(place("file:", "nosuch", ""), NULL);
    CHECK_EQ(urls_run(&u), -ENOENT);
    CHECK(strstr(u.error, "No such file or directory"));
    CHECK(!u.stats.started);
    fresh("file:/tmp", NULL);
    CHECK_EQ(urls_run(&u), -EISDIR);
}

static void failures_name_the_line(void)
{
    write_file(place("", "long", ""), "w", "short\nfar too long\n");
    fresh(place("file:", "long", "?max=6"), NULL);
    CHECK_EQ(urls_run(&u), -EMSGSIZE);
    CHECK_EQ(u.stats.stored, 1);
    unlink(place("", "long", ""));
}

/* ---- Following ---- */

static const char *log_path(void)
{
    return place("", "log", "");
}

static int grow(void *ctx)
{
    struct urls *urls = ctx;
    int r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "a", "two\nthr");
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "a", "ee\n");
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    bk_flow_drain(urls->flow);
    return r;
}

static void a_growing_file(void)
{
    write_file(log_path(), "w", "one\n");
    fresh(place("file:", "log", "?follow"), NULL);
    u.beside = grow;
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "one\ntwo\nthree\n");
    CHECK_EQ(u.at_ms[0], 0);
    CHECK(u.at_ms[1] >= 1000 && u.at_ms[1] <= 1100);
    CHECK(u.at_ms[2] >= 2000 && u.at_ms[2] <= 2100);
    CHECK_EQ(u.stats.elapsed.ns, bk_ms(3000).ns);
    unlink(log_path());
}

static int grow_later(void *ctx)
{
    struct urls *urls = ctx;
    int r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "a", " of a line\nwhole\n");
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    bk_flow_drain(urls->flow);
    return r;
}

static void from_the_end_starts_with_a_whole_line(void)
{
    write_file(log_path(), "w", "one\nthe first part");
    fresh(place("file:", "log", "?follow&from=end"), NULL);
    u.beside = grow_later;
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "whole\n");
    unlink(log_path());
}

static int truncate_it(void *ctx)
{
    struct urls *urls = ctx;
    int r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "w", "");
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "a", "new\n");
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    bk_flow_drain(urls->flow);
    return r;
}

static void a_truncated_file_is_read_again(void)
{
    write_file(log_path(), "w", "one\ntwo\nhalf");
    fresh(place("file:", "log", "?follow"), NULL);
    u.beside = truncate_it;
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "one\ntwo\nnew\n");
    CHECK(strstr(u.events, "truncated"));
    unlink(log_path());
}

static int replace_it(void *ctx)
{
    struct urls *urls = ctx;
    int r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "a", "late\nhalf");
    rename(log_path(), place("", "log.1", ""));
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    write_file(log_path(), "w", "new\n");
    if (r == 0)
        r = bk_sleep(bk_ms(1000));
    bk_flow_drain(urls->flow);
    return r;
}

/* Nothing of the old file is lost, its last line without a newline included. */
static void a_replaced_file_is_followed(void)
{
    write_file(log_path(), "w", "one\n");
    fresh(place("file:", "log", "?follow"), NULL);
    u.beside = replace_it;
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "one\nlate\nhalf\nnew\n");
    CHECK(strstr(u.events, "replaced"));
    unlink(log_path());
    unlink(place("", "log.1", ""));
}

static void a_file_at_its_pace(void)
{
    write_file(log_path(), "w", "{\"t\":0}\n{\"t\":10000}\n{\"t\":30000}\n");
    fresh(place("file:", "log", "?pace=t&speed=10x"), NULL);
    CHECK_EQ(urls_run(&u), 0);
    CHECK_EQ(u.at_ms[1], 1000);
    CHECK_EQ(u.at_ms[2], 3000);
    unlink(log_path());
}

/* ---- Writing ---- */

static const char *read_back(const char *name)
{
    static char text[1024];
    FILE *f = fopen(place("", name, ""), "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    return text;
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void lines_are_appended_or_begin_anew(void)
{
    static const char *const queries[] = {"", "?sync", "?truncate"};
    static const char *const want[] = {"a\nb\n", "a\nb\na\nb\n", "a\nb\n"};
    for (int i = 0; i < 3; i++) {
        fresh(NULL, place("file:", "out", queries[i]));
        u.lines = LINES("a", "b");
        CHECK_EQ(urls_run(&u), 0);
        CHECK_STR(read_back("out"), want[i]);
        CHECK_EQ(u.stats.stored, 2);
    }
    unlink(place("", "out", ""));
}

static void a_line_of_any_length(void)
{
    enum { LONG = 300000 };
    static char line[LONG + 1];
    memset(line, 'x', LONG);
    fresh(NULL, place("file:", "out", ""));
    u.lines = LINES("a", line, "b");
    CHECK_EQ(urls_run(&u), 0);
    fresh(place("file:", "out", ""), NULL);
    CHECK_EQ(urls_run(&u), 0);
    CHECK_EQ(u.n_got, 3);
    CHECK_EQ(u.stats.received, 3);
    unlink(place("", "out", ""));
}

static void a_full_device_is_told(void)
{
    fresh(NULL, "file:/dev/full");
    u.lines = LINES("a", "b");
    CHECK_EQ(urls_run(&u), -ENOSPC);
    CHECK_STR(u.error, "file:/dev/full: write: No space left on device");
    CHECK_EQ(u.stats.stored, 0);
    CHECK_EQ(u.stats.lost, 2);
}

static void the_folder_is_left_empty(void)
{
    CHECK_EQ(remove_place(), 0);
}

CHECK_MAIN(TEST(a_whole_file), TEST(missing_files_and_folders), TEST(failures_name_the_line),
           TEST(a_growing_file), TEST(from_the_end_starts_with_a_whole_line),
           TEST(a_truncated_file_is_read_again), TEST(a_replaced_file_is_followed),
           TEST(a_file_at_its_pace), TEST(lines_are_appended_or_begin_anew),
           TEST(a_line_of_any_length), TEST(a_full_device_is_told), TEST(the_folder_is_left_empty))
