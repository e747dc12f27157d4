/* SPDX-License-Identifier: MIT
 * Lines out of bytes: cut the same way however the bytes come, limited, and paced. */
#include "connectors/lines.h"

#include <stdio.h>

#include <beck/run.h>
#include <beck/task.h>

#include "base/alloc.h"
#include "tests/check.h"

/* Bytes in portions of a given size; then what the script says. */
struct input {
    const char *text;
    size_t at, portion;
    ssize_t signal_at, signal; /* at this offset, once: this result instead of bytes */
};

static ssize_t read_input(void *ctx, char *buf, size_t len)
{
    struct input *in = ctx;
    if (in->signal && (ssize_t)in->at == in->signal_at) {
        ssize_t signal = in->signal;
        in->signal = 0;
        return signal;
    }
    size_t left = strlen(in->text) - in->at;
    size_t n = left < in->portion ? left : in->portion;
    if (in->signal && in->at + n > (size_t)in->signal_at)
        n = (size_t)in->signal_at - in->at;
    if (n > len)
        n = len;
    memcpy(buf, in->text + in->at, n);
    in->at += n;
    return (ssize_t)n;
}

static struct bki_option options[4];
static size_t n_options;
static char got[4096];
static int64_t at_ms[32];

static int start(struct bki_lines *lines, struct input *in)
{
    static struct bki_target target;
    target = (struct bki_target){.n_options = n_options};
    memcpy(target.options, options, sizeof options);
    n_options = 0;
    got[0] = '\0';
    int r = bki_lines_init(lines, &target);
    lines->read = read_input;
    lines->ctx = in;
    return r;
}

static void option(const char *name, const char *value)
{
    options[n_options++] = (struct bki_option){(char *)name, (char *)value};
}

/* All lines, each in brackets. */
static int read_all(struct bki_lines *lines)
{
    bk_msg *msg = NULL;
    int r, n = 0;
    while ((r = bki_lines_next(lines, &msg)) > 0) {
        size_t len = strlen(got);
        snprintf(got + len, sizeof got - len, "[%.*s]", (int)bk_msg_len(msg), bk_msg_data(msg));
        if (n < 32)
            at_ms[n++] = bk_now().ns / 1000000;
        bk_msg_free(&msg);
    }
    return r;
}

static void cut_the_same_way_however_the_bytes_come(void)
{
    for (size_t portion = 1; portion < 24; portion++) {
        struct bki_lines lines;
        struct input in = {.text = "one\n\ntwo words\r\n\n\nlast", .portion = portion};
        CHECK_EQ(start(&lines, &in), 0);
        CHECK_EQ(read_all(&lines), 0);
        CHECK_EQ(read_all(&lines), 0);
        bki_lines_free(&lines);
        CHECK_STR(got, "[one][][two words\r][][][last]");
    }
}

static void nothing_and_a_lone_newline(void)
{
    struct bki_lines lines;
    struct input in = {.text = "", .portion = 9};
    CHECK_EQ(start(&lines, &in), 0);
    CHECK_EQ(read_all(&lines), 0);
    bki_lines_free(&lines);
    CHECK_STR(got, "");
    in = (struct input){.text = "\n", .portion = 9};
    CHECK_EQ(start(&lines, &in), 0);
    CHECK_EQ(read_all(&lines), 0);
    bki_lines_free(&lines);
    CHECK_STR(got, "[]");
}

static void lines_are_limited(void)
{
    for (size_t portion = 1; portion < 12; portion += 5) {
        struct bki_lines lines;
        struct input in = {.text = "12345\n123456\n", .portion = portion};
        option("max", "5");
        CHECK_EQ(start(&lines, &in), 0);
        CHECK_EQ(read_all(&lines), -EMSGSIZE);
        CHECK_STR(got, "[12345]");
        CHECK(strstr(bk_errmsg(), "more than 5 bytes"));
        bki_lines_free(&lines);
    }
}

/* A break makes a line of what is left, a drop forgets it, a cancel changes nothing. */
static void signals_between_bytes(void)
{
    static const struct {
        ssize_t signal;
        const char *want;
        int result;
    } cases[] = {
        {BKI_LINES_BREAK, "[one][tw][o]", 0},
        {BKI_LINES_DROP, "[one][o]", 0},
        {-ECANCELED, "[one]", -ECANCELED},
        {-EIO, "[one]", -EIO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bki_lines lines;
        struct input in = {
            .text = "one\ntwo\n", .portion = 99, .signal_at = 6, .signal = cases[i].signal};
        CHECK_EQ(start(&lines, &in), 0);
        CHECK_EQ(read_all(&lines), cases[i].result);
        CHECK_STR(got, cases[i].want);
        if (cases[i].result == -ECANCELED) {
            CHECK_EQ(read_all(&lines), 0);
            CHECK_STR(got, "[one][two]");
        }
        bki_lines_free(&lines);
    }
}

static void a_drain_gives_what_is_here(void)
{
    struct bki_lines lines;
    struct input in = {.text = "one\ntwo\nthree\nfour\n", .portion = 15};
    bk_msg *msg = NULL;
    CHECK_EQ(start(&lines, &in), 0);
    CHECK_EQ(bki_lines_next(&lines, &msg), 1);
    bk_msg_free(&msg);
    lines.draining = true;
    CHECK_EQ(read_all(&lines), 0);
    CHECK_STR(got, "[two][three]");
    bki_lines_free(&lines);
}

static void wrong_options_are_refused(void)
{
    static const char *const wrong[][2] = {
        {"speed", "10"}, {"max", "0"}, {"max", "lots"}, {"pace", ""}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct bki_lines lines;
        option(wrong[i][0], wrong[i][1]);
        CHECK_EQ(start(&lines, NULL), -BK_EURL);
        bki_lines_free(&lines);
    }
    static const char *const speeds[] = {"0", "-1", "x", "fast", ""};
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
        struct bki_lines lines;
        option("pace", "t");
        option("speed", speeds[i]);
        CHECK_EQ(start(&lines, NULL), -BK_EURL);
        bki_lines_free(&lines);
    }
}

/* ---- Pace ---- */

static int pace_result;

static int run_paced(void *ctx)
{
    struct bki_lines *lines = ctx;
    pace_result = read_all(lines);
    return 0;
}

static int paced(const char *text, const char *speed)
{
    struct bki_lines lines;
    struct input in = {.text = text, .portion = 1000};
    option("pace", "t");
    option("speed", speed);
    if (start(&lines, &in) < 0)
        return -1;
    int r = bk_run(run_paced, &lines, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
    bki_lines_free(&lines);
    return r < 0 ? r : pace_result;
}

static void lines_keep_their_pace(void)
{
    CHECK_EQ(paced("{\"t\":1000}\n{\"t\":1500}\n{\"t\":1400}\n{\"x\":1}\n{\"t\":4000}\n", "1"), 0);
    CHECK_EQ(at_ms[1] - at_ms[0], 500);
    CHECK_EQ(at_ms[2] - at_ms[0], 500); /* a time that goes back waits for nothing */
    CHECK_EQ(at_ms[3] - at_ms[0], 500); /* nor does a line without one */
    CHECK_EQ(at_ms[4] - at_ms[0], 3000);
    CHECK_EQ(paced("{\"t\":\"2018-01-31T00:00:00Z\"}\n{\"t\":\"2018-01-31T01:00:00.500+00:00\"}\n",
                   "10x"),
             0);
    CHECK_EQ(at_ms[1] - at_ms[0], 360050);
}

static void a_wrong_field_is_noticed(void)
{
    CHECK_EQ(paced("{\"x\":1000}\n", "1"), -BK_EFORMAT);
    CHECK_STR(got, "");
}

static void times_are_parsed(void)
{
    static const struct {
        const char *text;
        double ms;
    } good[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00:01Z", 1000},
        {"2018-01-31T01:49:59.650Z", 1517363399650},
        {"2000-02-29 12:00", 951825600000},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2018-01-31T02:49:59.65+01:00", 1517363399650},
        {"2018-01-30T20:19:59-0530", 1517363399000},
    };
    static const char *const bad[] = {"",
                                      "soon",
                                      "2018",
                                      "2018-13-01",
                                      "2018-01-31T",
                                      "2018-01-31x",
                                      "2018-01-31T01:00:00+1",
                                      "2018-01-31T01:00Zz"};
    double ms = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(bki_time_parse(bk_span_str(good[i].text), true, &ms));
        CHECK(ms > good[i].ms - 0.01 && ms < good[i].ms + 0.01);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!bki_time_parse(bk_span_str(bad[i]), true, &ms));
    CHECK(bki_time_parse(bk_span_str("1517363399650"), false, &ms) && ms == 1517363399650.0);
}

CHECK_MAIN(TEST(cut_the_same_way_however_the_bytes_come), TEST(nothing_and_a_lone_newline),
           TEST(lines_are_limited), TEST(signals_between_bytes), TEST(a_drain_gives_what_is_here),
           TEST(wrong_options_are_refused), TEST(lines_keep_their_pace),
           TEST(a_wrong_field_is_noticed), TEST(times_are_parsed))
