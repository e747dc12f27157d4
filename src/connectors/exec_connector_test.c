/* SPDX-License-Identifier: MIT
 * Commands as sources and sinks, their statuses, their end; and the made-up objects of gen:. */
#include <signal.h>

#include "connectors/url_fixture.h"

static struct urls u;

static void fresh(const char *from, const char *to)
{
    memset(&u, 0, sizeof u);
    u.from = from;
    u.to = to;
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void the_lines_of_a_command(void)
{
    fresh("exec:printf 'a\\nb?x=1&y\\n'; echo c; cat", NULL); /* its standard input is empty */
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "a\nb?x=1&y\nc\n");
}

static void a_status_other_than_zero_is_a_failure(void)
{
    fresh("exec:echo a; exit 3", NULL);
    CHECK_EQ(urls_run(&u), -EIO);
    CHECK_STR(u.output, "a\n");
    CHECK_STR(u.error, "exec:echo a; exit 3: 'echo a; exit 3' ended with status 3");
    fresh("exec:kill -9 $$", NULL);
    CHECK_EQ(urls_run(&u), -EIO);
    CHECK(strstr(u.error, "killed by signal 9"));
    fresh("exec:exec /no/such/command 2>/dev/null", NULL);
    CHECK_EQ(urls_run(&u), -ENOENT);
    CHECK(strstr(u.error, "no such command?"));
}

/* Draining ends a command that would go on for ever, and that is no failure. */
static int drain_after_the_first(void *ctx)
{
    struct urls *urls = ctx;
    while (urls->n_got == 0) {
        int r = bk_sleep(bk_ms(1));
        if (r < 0)
            return r;
    }
    bk_flow_drain(urls->flow);
    return 0;
}

static void a_drain_ends_the_command(void)
{
    fresh("exec:echo $$; exec cat /dev/zero > /dev/null", NULL);
    u.beside = drain_after_the_first;
    CHECK_EQ(urls_run(&u), 0);
    pid_t pid = (pid_t)strtol(u.output, NULL, 10);
    CHECK(pid > 1);
    CHECK(kill(pid, 0) < 0 && errno == ESRCH);
}

static void lines_for_a_command(void)
{
    fresh(NULL, place("exec:sort -r > ", "out", ""));
    u.lines = LINES("b", "a", "c");
    CHECK_EQ(urls_run(&u), 0);
    CHECK_EQ(u.stats.stored, 3);
    fresh(place("file:", "out", ""), NULL);
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, "c\nb\na\n");
    unlink(place("", "out", ""));
    remove_place();
}

static void a_sink_command_that_fails(void)
{
    fresh(NULL, "exec:cat > /dev/null; exit 5");
    u.lines = LINES("a");
    CHECK_EQ(urls_run(&u), -EIO);
    CHECK(strstr(u.error, "ended with status 5"));
    fresh("gen:", "exec:head -1 > /dev/null"); /* stops reading: the rest cannot be stored */
    CHECK_EQ(urls_run(&u), -EPIPE);
    CHECK(strstr(u.error, "has stopped reading"));
}

static void gen_is_the_same_every_time(void)
{
    static char first[8192];
    fresh("gen:?count=3&size=80", NULL);
    CHECK_EQ(urls_run(&u), 0);
    memcpy(first, u.output, sizeof first);
    for (char *line = strtok_r(u.output, "\n", &(char *){NULL}); line; line = NULL)
        CHECK_EQ(strlen(line), 80);
    fresh("gen:?count=3&size=80", NULL);
    CHECK_EQ(urls_run(&u), 0);
    CHECK_STR(u.output, first);
    fresh("gen:?count=3&size=80&seed=2", NULL);
    CHECK_EQ(urls_run(&u), 0);
    CHECK(strcmp(u.output, first) != 0);
}

static void gen_keeps_its_rate(void)
{
    fresh("gen:?count=5&rate=4/s", NULL);
    CHECK_EQ(urls_run(&u), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(u.at_ms[i], 250 * i);
    CHECK(strstr(u.output, "\"time\":1700000000750"));
}

CHECK_MAIN(TEST(the_lines_of_a_command), TEST(a_status_other_than_zero_is_a_failure),
           TEST(a_drain_ends_the_command), TEST(lines_for_a_command),
           TEST(a_sink_command_that_fails), TEST(gen_is_the_same_every_time),
           TEST(gen_keeps_its_rate))
