/* SPDX-License-Identifier: MIT
 * Debug mode in this layer: streams that were left behind, and names that are looked up slowly. */
#include <beck/fd.h>
#include <beck/resolve.h>
#include <beck/stream.h>

#include "base/alloc.h"
#include "net/resolver_fixture.h"
#include "tests/run_helper.h"

static struct {
    int n;
    char text[4][300];
} seen;

static void note(void *ctx, const bk_error_report *r)
{
    (void)ctx;
    if (seen.n < 4)
        snprintf(seen.text[seen.n++], sizeof seen.text[0], "%s|%s|%s", r->what, r->detail,
                 r->origin);
}

static void no_stalls(void *ctx, const bk_stall_report *report)
{
    (void)ctx, (void)report;
}

static int run_mode(bk_fn *fn, bk_duration limit)
{
    memset(&seen, 0, sizeof seen);
    return bk_run(
        fn, NULL,
        &(bk_run_opts){
            .on_error = note, .on_stall = no_stalls, .stall_limit = limit, .debug = true});
}

static bk_stream *reader, *writer;
static int line;

static int leave_the_reader(void *ctx)
{
    (void)ctx;
    line = __LINE__ + 1;
    int r = bk_pipe_open(&reader, &writer, NULL);
    if (r < 0)
        return r;
    return bk_stream_close(&writer, 0);
}

/* Streams of a loop that has ended cannot be closed any more: this one's memory is the process's
 * until it ends. */
static void D2_a_stream_that_was_left_is_told_with_its_line(void)
{
    CHECK_EQ(run_mode(leave_the_reader, bk_seconds(10)), 0);
    CHECK_EQ(seen.n, 1);
    CHECK(strncmp(seen.text[0], "a stream was not freed||made in leave_the_reader", 48) == 0);
#ifndef __OPTIMIZE__
    char where[40];
    snprintf(where, sizeof where, "(stream_debug_test.c:%d)", line);
    CHECK(strstr(seen.text[0], where));
#endif
}

static int look_up(void *ctx)
{
    struct bki_address *list = NULL;
    (void)ctx;
    int r = bki_resolve("name:80", BKI_TO_CONNECT, &list);
    bki_free(list);
    return r < 0 ? r : 0;
}

/* With a limit of next to nothing every look-up is slow. */
static void D2_P4_a_name_that_is_looked_up_slowly_is_told(void)
{
    fake_names("name", "10.0.0.1:80");
    CHECK_EQ(run_mode(look_up, bk_ns(1)), 0);
    CHECK(seen.n >= 1);
    CHECK(strncmp(seen.text[0], "a name was looked up slowly|name: 0.", 36) == 0);
    CHECK_EQ(run_mode(look_up, bk_seconds(1000)), 0);
    CHECK_EQ(seen.n, 0);
    real_names();
}

CHECK_MAIN(TEST(D2_a_stream_that_was_left_is_told_with_its_line),
           TEST(D2_P4_a_name_that_is_looked_up_slowly_is_told))
