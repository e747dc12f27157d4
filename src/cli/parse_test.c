/* SPDX-License-Identifier: MIT
 * The command line's words: counts, sizes, durations, the nearest of several, and whole lines of
 * arguments. */
#include "cli/cli.h"
#include "tests/check.h"

static void counts(void)
{
    uint64_t n = 0;
    CHECK(cli_parse_count("0", &n) && n == 0);
    CHECK(cli_parse_count("1707", &n) && n == 1707);
    CHECK(cli_parse_count("10k", &n) && n == 10000);
    CHECK(cli_parse_count("1.5M", &n) && n == 1500000);
    static const char *const bad[] = {"",    "-1",  "x",     "1x",
                                      "1 k", "0.5", "1e999", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!cli_parse_count(bad[i], &n));
}

static void sizes(void)
{
    uint64_t n = 0;
    CHECK(cli_parse_size("512", &n) && n == 512);
    CHECK(cli_parse_size("64KiB", &n) && n == 65536);
    CHECK(cli_parse_size("64kb", &n) && n == 64000);
    CHECK(cli_parse_size("1.5M", &n) && n == 1572864);
    CHECK(!cli_parse_size("1XB", &n) && !cli_parse_size("KiB", &n));
}

static void durations(void)
{
    bk_duration d = {0};
    CHECK(cli_parse_duration("250ms", &d) && d.ns == bk_ms(250).ns);
    CHECK(cli_parse_duration("10", &d) && d.ns == bk_seconds(10).ns);
    CHECK(cli_parse_duration("1m30s", &d) && d.ns == bk_seconds(90).ns);
    CHECK(cli_parse_duration("1.5h", &d) && d.ns == bk_minutes(90).ns);
    CHECK(!cli_parse_duration("soon", &d) && !cli_parse_duration("1y", &d) &&
          !cli_parse_duration("", &d) && !cli_parse_duration("999999999999h", &d));
}

static void nearest(void)
{
    static const char *const words[] = {"--where", "--jq", "--parallel", NULL};
    CHECK_STR(cli_nearest("--wehre", words), "--where");
    CHECK_STR(cli_nearest("--Paralel", words), "--parallel");
    CHECK(!cli_nearest("--something", words));
}

static int read_line(struct cli_args *args, const char *const *words, int n)
{
    return cli_args_read(args, n, (char **)words);
}

#define READ(args, ...)                                                                            \
    read_line(args, (const char *const[]){__VA_ARGS__},                                            \
              (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void a_whole_line(void)
{
    struct cli_args a;
    CHECK_EQ(READ(&a, "gen:", "-", "--where", "x", "--so=a.so:f", "--parallel", "8", "--ordered",
                  "--so", "b.so:g", "--jq", "-1", "-n5", "--to", "null:", "--to=-"),
             CLI_OK);
    CHECK_EQ(a.n_sources, 2);
    CHECK_STR(a.sources[1], "-");
    CHECK_EQ(a.n_stages, 4);
    CHECK_EQ(a.stages[0].kind, CLI_WHERE);
    CHECK_EQ(a.stages[1].parallel, 8);
    CHECK(a.stages[1].ordered);
    CHECK_EQ(a.stages[2].parallel, 1);
    CHECK(!a.stages[2].ordered);
    CHECK_STR(a.stages[3].text, "-1");
    CHECK_EQ(a.limit, 5);
    CHECK_EQ(a.n_sinks, 2);
    CHECK_EQ(a.drain.ns, bk_seconds(20).ns);
}

static void what_is_not_said(void)
{
    struct cli_args a;
    CHECK_EQ(READ(&a, "gen:"), CLI_OK);
    CHECK_EQ(a.n_sinks, 1);
    CHECK_STR(a.sinks[0], "-");
    CHECK_EQ(READ(&a, "--parallel", "4", "gen:", "--so", "a.so:f", "--where", "1"), CLI_OK);
    CHECK_EQ(a.stages[0].parallel, 4);
    CHECK_EQ(READ(&a, "--help", "--nonsense"), CLI_OK);
    CHECK(a.help);
    CHECK_EQ(READ(&a, "--to", "null:"), CLI_USAGE);
}

CHECK_MAIN(TEST(counts), TEST(sizes), TEST(durations), TEST(nearest), TEST(a_whole_line),
           TEST(what_is_not_said))
