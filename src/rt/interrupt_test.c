/* SPDX-License-Identifier: MIT
 * Ctrl-C: what the first does to the different kinds of run, and the second; and exit in a task. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <beck/future.h>
#include <beck/loop.h>
#include <beck/signal.h>

#include "tests/run_helper.h"

static const bk_run_opts virtual_clock = {.clock = BK_CLOCK_VIRTUAL};

static int interrupt(void *ctx)
{
    (void)ctx;
    raise(SIGINT);
    return 0;
}

static bool sigint_is(void (*handler)(int))
{
    struct sigaction now;
    return sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == handler;
}

/* ---- The first ---- */

static int sleep_and_clean_up(void *ctx)
{
    bk_call_later(NULL, bk_ms(1), interrupt, NULL);
    int r = bk_sleep_forever();
    trace("cancelled=%d", r == -ECANCELED);
    bk_shield((bk_fn *)ctx, NULL);
    return r;
}

static int clean_up(void *ctx)
{
    (void)ctx;
    trace("clean=%d", bk_sleep(bk_ms(10)));
    return 0;
}

static void C057_R3_the_first_cancels_main_and_the_run_is_interrupted_after_its_cleanup(void)
{
    trace_reset();
    CHECK_EQ(bk_run(sleep_and_clean_up, (void *)(uintptr_t)clean_up, &virtual_clock),
             -BK_EINTERRUPTED);
    CHECK_STR(trace_text(), "cancelled=1 clean=0");
    CHECK_STR(bk_errmsg(), "stopped by SIGINT");
    CHECK(sigint_is(SIG_DFL));
}

static int busy(void *ctx)
{
    (void)ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 100000; i++) {
        if (i == 500)
            raise(SIGINT);
        r = bk_yield();
    }
    return r;
}

/* A main that never waits for anything is told at its next suspension. */
static void R3_interrupt_of_a_busy_main(void)
{
    CHECK_EQ(bk_run(busy, NULL, &virtual_clock), -BK_EINTERRUPTED);
}

static int chain(void *ctx)
{
    int *n = ctx;
    if (++*n == 500)
        raise(SIGINT);
    if (*n < 100000)
        bk_call_soon(NULL, chain, ctx);
    return 0;
}

static int wait_beside_a_chain(void *ctx)
{
    bk_call_soon(NULL, chain, ctx);
    return bk_sleep_forever();
}

static void R3_interrupt_call_soon(void)
{
    int n = 0;
    CHECK_EQ(bk_run(wait_beside_a_chain, &n, &virtual_clock), -BK_EINTERRUPTED);
    CHECK(n < 100000);
}

static int swallow(void *ctx)
{
    (void)ctx;
    interrupt(NULL);
    bk_sleep_forever();
    bk_uncancel();
    trace("%d", bk_sleep(bk_ms(1)));
    return 5;
}

static void R3_a_main_that_takes_the_cancel_back_ends_as_it_likes(void)
{
    trace_reset();
    CHECK_EQ(bk_run(swallow, NULL, &virtual_clock), 5);
    CHECK_STR(trace_text(), "0");
}

static int cancel_main(void *ctx)
{
    bk_task_cancel(ctx);
    return 0;
}

static int cancelled_twice(void *ctx)
{
    (void)ctx;
    interrupt(NULL);
    bk_call_later(NULL, bk_ms(1), cancel_main, bk_task_current());
    bk_sleep_forever();
    bk_shield(clean_up, NULL);
    return -ECANCELED;
}

/* Somebody else wanted it cancelled as well: it ends as cancelled. */
static void R3_a_cancel_from_elsewhere_is_told_as_that(void)
{
    trace_reset();
    CHECK_EQ(bk_run(cancelled_twice, NULL, &virtual_clock), -ECANCELED);
}

/* ---- Other kinds of run ---- */

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

static void C056_R3_it_ends_a_run_for_ever_and_a_run_for_a_task(void)
{
    bk_loop *loop = NULL;
    bk_task *task = NULL;
    int result = 0;
    trace_reset();
    CHECK_EQ(bk_loop_new(&loop, &virtual_clock), 0);
    CHECK_EQ(bk_call_soon(NULL, interrupt, NULL), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "ready"), 0);
    CHECK_EQ(bk_loop_run_forever(loop), -BK_EINTERRUPTED);
    CHECK_STR(trace_text(), "ready");
    CHECK(sigint_is(SIG_DFL)); /* between runs it is nobody's */
    CHECK_EQ(bk_go(&task, busy, NULL, NULL), 0);
    CHECK_EQ(bk_loop_run_until_complete(loop, task, &result), -BK_EINTERRUPTED);
    CHECK_EQ(result, -ECANCELED);
    bk_task_free(&task);
    /* And the next run knows nothing of it. */
    CHECK_EQ(bk_loop_run(loop, clean_up, NULL), 0);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static int open_signal(void *ctx)
{
    return bk_signal_open(ctx, SIGINT);
}

static int wait_for_signal(void *ctx)
{
    bk_call_later(NULL, bk_ms(1), interrupt, NULL);
    return bk_signal_wait(ctx);
}

/* A signal that is open stays so from run to run. */
static void R3_an_open_signal_outlives_its_run(void)
{
    bk_loop *loop = NULL;
    bk_signal *signal = NULL;
    CHECK_EQ(bk_loop_new(&loop, &virtual_clock), 0);
    CHECK_EQ(bk_loop_run(loop, open_signal, &signal), 0);
    CHECK(!sigint_is(SIG_DFL));
    CHECK_EQ(bk_loop_run(loop, wait_for_signal, signal), 1);
    raise(SIGINT);
    CHECK_EQ(bk_loop_run(loop, wait_for_signal, signal), 1);
    bk_signal_close(&signal);
    CHECK(sigint_is(SIG_DFL));
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

/* ---- In a process of its own ---- */

static int status_of(bk_fn *main)
{
    int status = -1;
    pid_t pid = fork();
#ifdef __SANITIZE_ADDRESS__
    if (pid == 0)
        __lsan_disable(); /* what the tasks hold when one calls exit is not given back */
#endif
    if (pid == 0)
        _exit(bk_run(main, NULL, &virtual_clock) == 0 ? 0 : 99);
    waitpid(pid, &status, 0);
    return status;
}

static int stuck_in_cleanup(void *ctx)
{
    (void)ctx;
    interrupt(NULL);
    bk_sleep_forever();
    interrupt(NULL); /* the loop gets no turn: it must not need one */
    for (volatile int forever = 1; forever;)
        ;
    return 0;
}

static void C057_R3_the_second_breaks_in_at_once(void)
{
    int status = status_of(stuck_in_cleanup);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGINT);
}

static int exit_in_a_task(void *ctx)
{
    (void)ctx;
    exit(3); /* as in any C program: its handlers run, and the process ends */
}

static int wait_for_exit(void *ctx)
{
    (void)ctx;
    bk_go(NULL, exit_in_a_task, NULL, NULL);
    bk_sleep_forever();
    return 0;
}

static void C056_exit_in_a_task_ends_the_process(void)
{
    int status = status_of(wait_for_exit);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 3);
}

CHECK_MAIN(TEST(C057_R3_the_first_cancels_main_and_the_run_is_interrupted_after_its_cleanup),
           TEST(R3_interrupt_of_a_busy_main), TEST(R3_interrupt_call_soon),
           TEST(R3_a_main_that_takes_the_cancel_back_ends_as_it_likes),
           TEST(R3_a_cancel_from_elsewhere_is_told_as_that),
           TEST(C056_R3_it_ends_a_run_for_ever_and_a_run_for_a_task),
           TEST(R3_an_open_signal_outlives_its_run), TEST(C057_R3_the_second_breaks_in_at_once),
           TEST(C056_exit_in_a_task_ends_the_process))
