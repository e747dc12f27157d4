/* SPDX-License-Identifier: MIT
 * Sweeps over child processes: whatever strikes while one is started, fed, read, waited for or
 * stopped, no process and no descriptor is left. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/sweep.h"

static void no_child_is_left(void *ctx, int result)
{
    siginfo_t info;
    (void)ctx;
    (void)result;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        sweep_lost("a child is left");
}

static int run_a_child(void *ctx)
{
    bk_process *p = NULL;
    int code = -1;
    (void)ctx;
    const char *argv[] = {"/bin/true", NULL};
    int r = bk_process_exec(&p, argv, NULL);
    if (r == 0)
        r = bk_process_wait(p, &code);
    if (r == 0 && code != 0)
        sweep_lost("its code is %d", code);
    return bk_process_close(&p, r);
}

static int close_a_child(void *ctx)
{
    bk_process *p = NULL;
    (void)ctx;
    const char *argv[] = {"/bin/cat", NULL};
    int r = bk_process_exec(&p, argv, &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE});
    if (r == 0)
        r = bk_stream_write(bk_process_in(p), "abc", 3);
    return bk_process_close(&p, r);
}

static int talk_to_a_child(void *ctx)
{
    bk_process *p = NULL;
    bk_msg *out = NULL, *err = NULL;
    (void)ctx;
    const char *argv[] = {"/bin/cat", NULL};
    int r = bk_process_exec(&p, argv,
                            &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE, .err = BK_PIPE});
    static char text[100000];
    if (r == 0)
        r = bk_process_communicate(p, bk_span_of(text, sizeof text), &out, &err, NULL);
    /* A write that fails looks like a child that does not read. */
    bool all = r != 0 || (bk_msg_len(out) == sizeof text && bk_msg_len(err) == 0);
    if (!all && !sweep_excused())
        sweep_lost("it said %zu and %zu bytes", bk_msg_len(out), bk_msg_len(err));
    bk_msg_free(&out);
    bk_msg_free(&err);
    return bk_process_close(&p, r);
}

/* A shell that ends once its input does; what it said is still there to be read. */
static int end_its_input(void *ctx)
{
    bk_process *p = NULL;
    char said[4];
    int code = -1;
    (void)ctx;
    int r = bk_process_shell(&p, "cat", &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE});
    if (r == 0)
        r = bk_stream_write(bk_process_in(p), "abcd", 4);
    if (r == 0)
        r = bk_process_close_in(p);
    if (r == 0)
        r = bk_process_wait(p, &code);
    if (r == 0)
        r = bk_stream_read_exactly(bk_process_out(p), said, 4);
    if (r == 0 && (code != 0 || memcmp(said, "abcd", 4) != 0))
        sweep_lost("it ended with %d and said %.4s", code, said);
    return bk_process_close(&p, r);
}

/* Deaf to cancels: its code is known whatever happened. */
static int stop_a_child(void *ctx)
{
    bk_process *p = NULL;
    int code = 0;
    (void)ctx;
    int r = bk_process_shell(&p, "exec cat", &(bk_process_opts){.in = BK_PIPE});
    if (r == 0)
        r = bk_process_stop(p, bk_seconds(1), &code);
    if (r == 0 && code != -SIGTERM && code != -SIGKILL)
        sweep_lost("it was stopped, and ended with %d", code);
    return bk_process_close(&p, r);
}

static const struct sweep_scenario scenarios[] = {
    {.name = "child", .subject = run_a_child, .check = no_child_is_left, .patient = true},
    {.name = "child, closed", .subject = close_a_child, .check = no_child_is_left, .patient = true},
    {.name = "child, talked to",
     .subject = talk_to_a_child,
     .check = no_child_is_left,
     .patient = true},
    {.name = "child, its input ended",
     .subject = end_its_input,
     .check = no_child_is_left,
     .patient = true},
    {.name = "child, stopped", .subject = stop_a_child, .check = no_child_is_left, .patient = true},
};

SWEEP_MAIN(scenarios)
