/* SPDX-License-Identifier: MIT
 * The stall detector names the task, function and line that hold the loop, while they do: in a
 * computation and in a system call that blocks. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <beck/inspect.h>
#include <beck/loop.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static struct {
    atomic_int n_told, n_ended;
    char task[64], function[64], file[64];
    uint64_t id;
    int line;
    int64_t held_ns;
    atomic_int read_end, write_end;
} seen;

/* The first function of the program's own, which all are called hold_... here. */
static void note_stack(const bk_stall_report *report)
{
    seen.function[0] = '\0';
    for (size_t i = 0; i < report->n_stack && !seen.function[0]; i++)
        if (strncmp(report->stack[i].function, "hold_", 5) == 0) {
            snprintf(seen.function, sizeof seen.function, "%s", report->stack[i].function);
            snprintf(seen.file, sizeof seen.file, "%s", report->stack[i].file);
            seen.line = report->stack[i].line;
        }
}

static void note(void *ctx, const bk_stall_report *report)
{
    (void)ctx;
    if (report->ended) {
        atomic_fetch_add(&seen.n_ended, 1);
        return;
    }
    snprintf(seen.task, sizeof seen.task, "%s", report->task);
    seen.id = report->task_id;
    seen.held_ns = report->held.ns;
    note_stack(report);
    atomic_fetch_add(&seen.n_told, 1);
    int fd = atomic_load(&seen.write_end);
    if (fd && write(fd, "x", 1) < 0)
        abort();
}

static int run(bk_fn *fn)
{
    memset(&seen, 0, sizeof seen);
    return bk_run(fn, NULL, &(bk_run_opts){.stall_limit = bk_ms(10), .on_stall = note});
}

/* Holds the loop until that has been noticed. */
static __attribute__((noinline)) int hold_computing(void)
{
    int n = 0;
    while (atomic_load(&seen.n_told) == 0)
        n++;
    return n > 0;
}

static int compute(void *ctx)
{
    (void)ctx;
    return hold_computing() ? 0 : -EIO;
}

static int wait_for_the_end(void)
{
    int r = 0;
    while (r == 0 && atomic_load(&seen.n_ended) == 0)
        r = bk_sleep(bk_ms(1));
    return r;
}

static int computing_main(void *ctx)
{
    bk_task *task = NULL;
    (void)ctx;
    int r = bk_go(&task, compute, NULL, &(bk_task_opts){.name = "number cruncher"});
    if (r == 0)
        r = finish(&task);
    return r < 0 ? r : wait_for_the_end();
}

static void check_function(const char *name)
{
#if defined(__SANITIZE_THREAD__)
    /* It keeps signals back until the program calls it. */
    CHECK(seen.function[0] == '\0' || strcmp(seen.function, name) == 0);
#else
    CHECK_STR(seen.function, name);
#ifndef __OPTIMIZE__ /* else it is compiled without lines */
    CHECK_STR(seen.file, "stall_test.c");
    CHECK(seen.line > 60);
#endif
#endif
}

static void C021_D2_a_step_that_computes_is_named(void)
{
    CHECK_EQ(run(computing_main), 0);
    CHECK(atomic_load(&seen.n_told) >= 1);
    CHECK_STR(seen.task, "number cruncher");
    CHECK_EQ(seen.id, 2);
    CHECK(seen.held_ns >= bk_ms(10).ns);
    check_function("hold_computing");
}

/* ---- In the kernel ---- */

static __attribute__((noinline)) int hold_reading(void)
{
    char byte;
    ssize_t n = read(atomic_load(&seen.read_end), &byte, 1);
    return n == 1 ? 0 : -EINTR; /* not disturbed */
}

/* poll is cut short by any signal, so there is none; and its caller is found all the same. */
static __attribute__((noinline)) int hold_polling(void)
{
    struct pollfd fd = {.fd = atomic_load(&seen.read_end), .events = POLLIN};
    return poll(&fd, 1, -1) == 1 ? 0 : -EINTR;
}

/* hold: sleeps until there is something in the pipe. */
static int hold_at_a_pipe(int (*hold)(void))
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    atomic_store(&seen.read_end, ends[0]);
    atomic_store(&seen.write_end, ends[1]);
    int r = hold();
    if (r == 0)
        r = wait_for_the_end();
    atomic_store(&seen.write_end, 0);
    close(ends[0]);
    close(ends[1]);
    return r;
}

static int reading_main(void *ctx)
{
    (void)ctx;
    return hold_at_a_pipe(hold_reading);
}

static int polling_main(void *ctx)
{
    (void)ctx;
    return hold_at_a_pipe(hold_polling);
}

/* A sanitizer's own frame, with a frame pointer, lies between the system call and its caller. */
static void check_sleeper(const char *name)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    check_function(name);
#else
    (void)name;
#endif
}

static void D2_a_call_that_signals_cut_short_is_left_alone(void)
{
    CHECK_EQ(run(polling_main), 0);
    CHECK_STR(seen.task, "main");
    check_sleeper("hold_polling");
}

static void D2_a_step_that_blocks_in_the_kernel_is_named(void)
{
    CHECK_EQ(run(reading_main), 0);
    CHECK_STR(seen.task, "main");
    CHECK_EQ(seen.id, 1);
    check_sleeper("hold_reading");
}

/* Computes and waits by turns of some microseconds, until that has been noticed. */
static __attribute__((noinline)) int hold_by_turns(int *n_cut)
{
    int before = atomic_load(&seen.n_told), n = 0;
    while (atomic_load(&seen.n_told) == before) {
        for (volatile int i = 0; i < 10000; i++)
            ;
        if (ppoll(NULL, 0, &(struct timespec){.tv_nsec = 20000}, NULL) < 0)
            ++*n_cut;
        n++;
    }
    return n;
}

static int alternating_main(void *ctx)
{
    int r = 0;
    for (int i = 0; r == 0 && i < 50; i++) {
        hold_by_turns(ctx);
        r = bk_sleep(bk_ms(1));
    }
    return r;
}

static void D2_no_call_ends_early_because_of_a_look(void)
{
    int n_cut = 0;
    memset(&seen, 0, sizeof seen);
    CHECK_EQ(
        bk_run(alternating_main, &n_cut, &(bk_run_opts){.stall_limit = bk_ms(2), .on_stall = note}),
        0);
    CHECK(atomic_load(&seen.n_told) >= 50);
    CHECK_EQ(n_cut, 0);
}

/* ---- The signal ---- */

static void on_signal(int signo)
{
    (void)signo;
}

/* Runs a step that computes while SIGURG is handled so, and says whether it still is then. */
static bool compute_with(void (*handler)(int), bool *kept)
{
    struct sigaction before, mine = {.sa_handler = handler}, after;
    sigaction(SIGURG, &mine, &before);
    int r = run(computing_main);
    sigaction(SIGURG, &before, &after);
    *kept = after.sa_handler == handler;
    return r == 0;
}

static void D2_a_signal_that_was_ignored_is_as_good(void)
{
    bool kept;
    CHECK(compute_with(SIG_IGN, &kept));
    CHECK(!kept);
    check_function("hold_computing");
}

static void D2_a_handler_of_the_programs_own_stays(void)
{
    bool kept;
    CHECK(compute_with(on_signal, &kept));
    CHECK(kept);
    CHECK_STR(seen.task, "number cruncher");
    CHECK_EQ(seen.id, 2);
    CHECK_STR(seen.function, "");
}

/* ---- Calls, and several loops ---- */

static __attribute__((noinline)) int hold_in_a_call(void *ctx)
{
    (void)ctx;
    int n = 0;
    while (atomic_load(&seen.n_told) == 0)
        n++;
    return n > 0 ? 0 : -EIO;
}

static int call_main(void *ctx)
{
    (void)ctx;
    int r = bk_call_soon(NULL, hold_in_a_call, NULL);
    return r < 0 ? r : wait_for_the_end();
}

static void C021_D2_a_call_is_named(void)
{
    CHECK_EQ(run(call_main), 0);
    CHECK_STR(seen.task, "");
    CHECK_EQ(seen.id, 0);
    check_function("hold_in_a_call");
}

static int nothing(void *ctx)
{
    (void)ctx;
    return 0;
}

static int run_watched(void *ctx)
{
    return bk_run(nothing, ctx, &(bk_run_opts){.stall_limit = bk_seconds(1)});
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(run_watched, NULL) > 3);
}

CHECK_MAIN(TEST(C021_D2_a_step_that_computes_is_named),
           TEST(D2_a_step_that_blocks_in_the_kernel_is_named),
           TEST(D2_a_call_that_signals_cut_short_is_left_alone),
           TEST(D2_no_call_ends_early_because_of_a_look),
           TEST(D2_a_signal_that_was_ignored_is_as_good),
           TEST(D2_a_handler_of_the_programs_own_stays), TEST(C021_D2_a_call_is_named),
           TEST(every_allocation_may_fail))
