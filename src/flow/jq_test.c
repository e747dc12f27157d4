/* SPDX-License-Identifier: MIT
 * The jq stages: what passes byte for byte, what is rewritten, what fails and how it is told. */
#include <stdio.h>

#include <beck/error.h>
#include <beck/flow.h>
#include <beck/run.h>

#include "tests/check.h"

static const char *const *inputs;
static char output[4096];
static bk_flow *flow;
static const char *where, *rewrite;
static bk_flow_opts opts;
static bk_flow_stats stats;

static int next(void *ctx, bk_msg **msg)
{
    (void)ctx;
    if (!*inputs)
        return 0;
    const char *text = *inputs++;
    int r = bk_msg_copy(msg, text, strlen(text));
    return r < 0 ? r : 1;
}

static int store(void *ctx, bk_msg **msg)
{
    (void)ctx;
    size_t len = strlen(output);
    snprintf(output + len, sizeof output - len, "%.*s\n", (int)bk_msg_len(*msg), bk_msg_data(*msg));
    return 0;
}

static int run(void *ctx)
{
    (void)ctx;
    int r = bk_flow_new(&flow, &opts);
    if (r == 0)
        r = bk_flow_from_fn(flow, next, NULL, NULL);
    if (r == 0 && where)
        r = bk_flow_where(flow, where);
    if (r == 0 && rewrite)
        r = bk_flow_jq(flow, rewrite);
    if (r == 0)
        r = bk_flow_to_fn(flow, store, NULL, NULL);
    if (r == 0)
        r = bk_flow_run(flow);
    bk_flow_stats_get(flow, &stats);
    bk_flow_free(&flow);
    return r;
}

static char error[512];

static int run_and_keep_error(void *ctx)
{
    int r = run(ctx);
    snprintf(error, sizeof error, "%s", r < 0 ? bk_errmsg() : "");
    return r;
}

static int go(const char *const *lines, const char *where_, const char *rewrite_)
{
    inputs = lines;
    where = where_;
    rewrite = rewrite_;
    output[0] = '\0';
    return bk_run(run_and_keep_error, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void where_passes_the_bytes_unchanged(void)
{
    CHECK_EQ(go(LINES("{ \"mag\" : 5.10,\t\"id\":12345678901234567890 }", "{\"mag\":4.9}",
                      "{\"mag\":null}", "{\"other\":1}", " {\"mag\":7e0}\r"),
                ".mag >= 5", NULL),
             0);
    CHECK_STR(output, "{ \"mag\" : 5.10,\t\"id\":12345678901234567890 }\n {\"mag\":7e0}\r\n");
    CHECK_EQ(stats.dropped, 3);
    CHECK_EQ(stats.stored, 2);
}

static void where_takes_any_true_value_once(void)
{
    CHECK_EQ(go(LINES("[1,2]", "[0]", "[]", "[null,false]"), ".[]", NULL), 0);
    CHECK_STR(output, "[1,2]\n[0]\n");
}

static void blank_items_are_dropped(void)
{
    CHECK_EQ(go(LINES("", " \t", "1"), "true", "."), 0);
    CHECK_STR(output, "1\n");
    CHECK_EQ(stats.dropped, 2);
}

static void jq_rewrites_compactly_and_fans_out(void)
{
    CHECK_EQ(
        go(LINES("{\"a\": [1, 2.50, \"\\u00e9\"]}", "{\"a\":[]}", "{\"a\":[{\"b\":1,\"a\":2}]}"),
           NULL, ".a[]"),
        0);
    CHECK_STR(output, "1\n2.5\n\"\xc3\xa9\"\n{\"b\":1,\"a\":2}\n");
    CHECK_EQ(stats.received, 3);
    CHECK_EQ(stats.stored, 2);
    CHECK_EQ(stats.dropped, 1);
    CHECK_EQ(stats.written, 4);
    CHECK_EQ(stats.processed, 3);
}

/* One item may become very many, and they wait for room like any others. */
static void a_wide_fan_out_is_bounded(void)
{
    opts.limit = 1;
    CHECK_EQ(go(LINES("50000"), NULL, "range(.)|select(. % 25000 == 7)"), 0);
    CHECK_STR(output, "7\n25007\n");
    CHECK_EQ(go(LINES("5000"), NULL, "range(.)"), 0);
    CHECK_EQ(stats.written, 5000);
    CHECK_EQ(stats.stored, 1);
    opts.limit = 0;
}

static void broken_json_names_the_column(void)
{
    CHECK_EQ(go(LINES("1", "{\"a\":1,}", "2"), ".", NULL), -BK_EFORMAT);
    CHECK_STR(error, "source message 2: where '.': not JSON: a key in quotes was expected "
                     "at column 8");
    CHECK_STR(output, "1\n");
    opts.on_error = BK_ON_ERROR_SKIP;
    CHECK_EQ(go(LINES("1", "{\"a\":1,}", "2"), NULL, "."), 0);
    CHECK_STR(output, "1\n2\n");
    CHECK_EQ(stats.failed, 1);
    CHECK_EQ(go(LINES("1 2", "\"x", "3"), NULL, "."), 0);
    CHECK_STR(output, "3\n");
    CHECK_EQ(stats.failed, 2);
    opts.on_error = BK_ON_ERROR_STOP;
}

static void a_failing_program_says_jqs_words(void)
{
    CHECK_EQ(go(LINES("{\"a\":1}", "[1]"), ".a > 0", NULL), -BK_EFORMAT);
    CHECK_STR(error, "source message 2: where '.a > 0': Cannot index array with string \"a\"");
    CHECK_EQ(go(LINES("1"), NULL, "1, error({a:1}), 2"), -BK_EFORMAT);
    CHECK(strstr(error, "{\"a\":1}"));
    CHECK_STR(output, "1\n");
    CHECK_EQ(go(LINES("1"), NULL, "halt"), -BK_EFORMAT);
    CHECK(strstr(error, "halt"));
}

static void a_wrong_expression_is_told_at_once(void)
{
    CHECK_EQ(go(LINES("1"), ".mag >", NULL), -EINVAL);
    CHECK(strstr(error, "jq expression '.mag >': syntax error"));
    CHECK_EQ(go(LINES("1"), NULL, "nosuch(1)"), -EINVAL);
    CHECK(strstr(error, "nosuch/1 is not defined"));
    CHECK_EQ(go(LINES("1"), NULL, "import \"nosuch\" as n; ."), -EINVAL);
    CHECK(strstr(error, "nosuch"));
}

static void deep_nesting_is_survived(void)
{
    static char deep[20001];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    CHECK_EQ(go(LINES(deep), NULL, "."), -BK_EFORMAT);
    CHECK_EQ(go(LINES("1"), NULL, "reduce range(5000) as $i (0; [.]) | flatten"), 0);
    CHECK_STR(output, "[0]\n");
}

CHECK_MAIN(TEST(where_passes_the_bytes_unchanged), TEST(where_takes_any_true_value_once),
           TEST(blank_items_are_dropped), TEST(jq_rewrites_compactly_and_fans_out),
           TEST(a_wide_fan_out_is_bounded), TEST(broken_json_names_the_column),
           TEST(a_failing_program_says_jqs_words), TEST(a_wrong_expression_is_told_at_once),
           TEST(deep_nesting_is_survived))
