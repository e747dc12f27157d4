/* SPDX-License-Identifier: MIT
 * A loop driven by a hand-written main loop around poll(). */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include <beck/loop.h>
#include <beck/sync.h>
#include <beck/thread.h>

#include "rt/backend_uring.h"
#include "rt/sched.h"
#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

/* The host: polls the loop and a pipe of its own. */
struct host {
    bk_loop *loop;
    int own[2];
    int n_polls, n_turns, n_own;
};

/* Until nothing is left in the loop, or for so many rounds.  The last turn's result. */
static int drive(struct host *host, int rounds)
{
    int r = 1;
    while (r > 0 && rounds-- > 0) {
        struct pollfd fds[] = {{.fd = bk_loop_fd(host->loop), .events = POLLIN},
                               {.fd = host->own[0], .events = POLLIN}};
        if (fds[0].fd < 0)
            return fds[0].fd;
        poll(fds, 2, bk_poll_ms(bk_loop_timeout(host->loop)));
        host->n_polls++;
        char c;
        if ((fds[1].revents & POLLIN) && read(host->own[0], &c, 1) == 1) {
            host->n_own++;
            trace("host");
        }
        r = bk_loop_turn(host->loop);
        host->n_turns++;
    }
    return r;
}

static bool host_open(struct host *host, enum bk_clock clock)
{
    *host = (struct host){0};
    trace_reset();
    return pipe2(host->own, O_CLOEXEC | O_NONBLOCK) == 0 &&
           bk_loop_new(&host->loop, &(bk_run_opts){.clock = clock}) == 0;
}

static int host_close(struct host *host)
{
    close(host->own[0]);
    close(host->own[1]);
    return bk_loop_close(&host->loop, 0);
}

/* ---- What the loop is asked to do ---- */

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

static int sleeper(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        bk_sleep(bk_us(300));
        trace("%s%d", (const char *)ctx, i);
    }
    return 0;
}

struct pipe_end {
    struct bki_fd fd;
    int other;
};

static const struct bki_wait_kind pipe_kind = {.what = "pipe", .external = true};

static int reader(void *ctx)
{
    struct pipe_end *end = ctx;
    int r;
    do {
        char c;
        struct bki_op op = {.kind = BKI_OP_RECV, .fd = &end->fd, .buf = &c, .len = 1};
        r = (int)bki_op_run(&op, &pipe_kind, NULL);
        if (r == 1)
            trace("read%c", c);
    } while (r == 1);
    bki_loop->backend->close_fd(bki_loop, &end->fd);
    return r;
}

static bool pipe_open(struct pipe_end *end)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    bki_fd_init(&end->fd, fds[0], false);
    end->other = fds[1];
    return true;
}

/* ---- The tests ---- */

static void R9_timers_and_tasks_from_a_foreign_main_loop(void)
{
    struct host host;
    bk_task *task = NULL;
    int result = 0;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    CHECK_EQ(bk_loop_timeout(host.loop).ns, BK_FOREVER_NS); /* nothing to wait for */
    CHECK_EQ(bk_loop_turn(host.loop), 0);
    CHECK_EQ(bk_go(&task, sleeper, "t", NULL), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "soon"), 0);
    CHECK_EQ(bk_loop_timeout(host.loop).ns, 0);
    CHECK_EQ(drive(&host, 1000), 0);
    CHECK_STR(trace_text(), "soon t0 t1 t2");
    CHECK(bk_task_done(task));
    CHECK_EQ(bk_loop_run_until_complete(host.loop, task, &result), 0);
    CHECK_EQ(result, 0);
    bk_task_free(&task);
    CHECK(host.n_turns < 50); /* it slept in between, and was not woken for nothing */
    CHECK_EQ(host_close(&host), 0);
}

/* Descriptors of the loop end the host's wait; those of the host come in between. */
static void read_pipes(void)
{
    struct host host;
    struct pipe_end end;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    CHECK(pipe_open(&end));
    CHECK_EQ(bk_go(NULL, reader, &end, NULL), 0);
    CHECK_EQ(drive(&host, 1), 1); /* it waits for input now */
    CHECK_EQ(bk_loop_timeout(host.loop).ns, BK_FOREVER_NS);
    for (char c = 'a'; c < 'd'; c++) {
        CHECK_EQ(write(end.other, &c, 1), 1);
        for (int i = 0; i < 5 && !strchr(trace_text(), c); i++)
            CHECK_EQ(drive(&host, 1), 1);
        CHECK_EQ(write(host.own[1], "", 1), 1);
        int n_own = host.n_own;
        for (int i = 0; i < 5 && host.n_own == n_own; i++)
            CHECK_EQ(drive(&host, 1), 1);
    }
    close(end.other);
    CHECK_EQ(drive(&host, 10), 0);
    CHECK_STR(trace_text(), "reada host readb host readc host");
    CHECK_EQ(host_close(&host), 0);
}

static void R9_descriptors_of_both(void)
{
    read_pipes();
#ifndef BECK_NO_URING
    /* Each way to set the ring up tells of completions in its own way. */
    for (unsigned i = 1; i < bki_uring_n_setups; i++) {
        bki_uring_first_setup = i;
        read_pipes();
    }
    bki_uring_first_setup = 0;
#endif
}

static void *call_in(void *ctx)
{
    for (int i = 0; i < 100; i++)
        bk_call_soon_threadsafe(ctx, say, ".");
    bk_go_threadsafe(ctx, say, "end");
    return NULL;
}

static int wait_for_event(void *ctx)
{
    return bk_event_wait(ctx);
}

static int set_event(void *ctx)
{
    return bk_event_set(ctx);
}

static void *set_from_thread(void *ctx)
{
    bk_event *event = ((void **)ctx)[0];
    bk_call_soon_threadsafe(((void **)ctx)[1], set_event, event);
    return NULL;
}

/* A thread's call ends the host's wait, however often the host went back to it. */
static void R7_R9_calls_from_threads_end_the_hosts_wait(void)
{
    struct host host;
    bk_event *event = NULL;
    pthread_t thread;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(bk_event_new(&event, "thread"), 0);
        CHECK_EQ(bk_go(NULL, wait_for_event, event, NULL), 0);
        void *both[] = {event, host.loop};
        CHECK_EQ(pthread_create(&thread, NULL, set_from_thread, both), 0);
        CHECK_EQ(drive(&host, 1000), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        bk_event_free(&event);
    }
    CHECK_EQ(pthread_create(&thread, NULL, call_in, host.loop), 0);
    while (!strstr(trace_text(), "end"))
        drive(&host, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(strlen(trace_text()), 100 * 2 + 3);
    CHECK_EQ(host_close(&host), 0);
}

static int seven(void *ctx)
{
    (void)ctx;
    return 7;
}

static int use_the_pool(void *ctx)
{
    *(int *)ctx = bk_to_thread(seven, NULL, NULL);
    return 0;
}

static void R9_a_function_on_a_thread(void)
{
    struct host host;
    int result = 0;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    CHECK_EQ(bk_go(NULL, use_the_pool, &result, NULL), 0);
    CHECK_EQ(drive(&host, 1000), 0);
    CHECK_EQ(result, 7);
    CHECK_EQ(host_close(&host), 0);
}

/* On the virtual clock a day passes in a few turns, also with a descriptor waited for. */
static void R9_virtual_time(void)
{
    struct host host;
    struct pipe_end end;
    CHECK(host_open(&host, BK_CLOCK_VIRTUAL));
    CHECK(pipe_open(&end));
    CHECK_EQ(bk_go(NULL, reader, &end, NULL), 0);
    CHECK_EQ(bk_call_later(NULL, bk_seconds(86400), say, "tomorrow"), 0);
    CHECK_EQ(bk_call_later(NULL, bk_seconds(86401), say, "and on"), 0);
    while (!strstr(trace_text(), "and on"))
        CHECK_EQ(drive(&host, 1), 1);
    CHECK_EQ(bk_now().ns, bk_seconds(86401).ns);
    CHECK_STR(trace_text(), "tomorrow and on");
    close(end.other);
    CHECK_EQ(drive(&host, 100), 0);
    CHECK_EQ(host_close(&host), 0);
}

static int chain(void *ctx)
{
    (*(int *)ctx)++;
    bk_call_soon(NULL, chain, ctx); /* refused in the end */
    return 0;
}

/* asyncio's turn runs what was ready at its start.  Here it is a number of steps, whenever they
 * became ready; that bounds how long the kernel and the timers wait just as well. */
static void R5_differs_a_turn_is_a_number_of_steps(void)
{
    struct host host;
    int n = 0;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    CHECK_EQ(bk_call_soon(NULL, chain, &n), 0);
    CHECK_EQ(bk_loop_turn(host.loop), 1);
    CHECK_EQ(n, BKI_BUDGET);
    CHECK_EQ(bk_loop_turn(host.loop), 1);
    CHECK_EQ(n, 2 * BKI_BUDGET);
    CHECK_EQ(host_close(&host), 0);
}

static void R9_a_turn_ends_and_does_not_wait(void)
{
    struct host host;
    int n = 0;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    CHECK_EQ(bk_call_soon(NULL, chain, &n), 0);
    CHECK_EQ(bk_loop_turn(host.loop), 1);
    CHECK(n > 0 && n < 1000);
    CHECK_EQ(bk_loop_timeout(host.loop).ns, 0);
    CHECK_EQ(bk_loop_stop(host.loop), 0); /* is for runs: nothing to a host */
    CHECK_EQ(bk_loop_turn(host.loop), 1);
    CHECK_EQ(host_close(&host), 0);
}

static void R3_R9_signals_are_the_hosts(void)
{
    struct host host;
    struct sigaction now;
    CHECK(host_open(&host, BK_CLOCK_REAL));
    CHECK_EQ(bk_call_soon(NULL, say, "x"), 0);
    CHECK_EQ(drive(&host, 1), 0);
    CHECK_EQ(sigaction(SIGINT, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_DFL);
    CHECK_EQ(host_close(&host), 0);
}

static void poll_ms_rounds_up(void)
{
    CHECK_EQ(bk_poll_ms(bk_forever()), -1);
    CHECK_EQ(bk_poll_ms(bk_ns(0)), 0);
    CHECK_EQ(bk_poll_ms(bk_ns(-5)), 0);
    CHECK_EQ(bk_poll_ms(bk_ns(1)), 1);
    CHECK_EQ(bk_poll_ms(bk_ms(7)), 7);
    CHECK_EQ(bk_poll_ms(bk_ns(7000001)), 8);
    CHECK_EQ(bk_poll_ms(bk_ns(BK_FOREVER_NS - 1)), INT32_MAX);
}

static int drive_once(void *ctx)
{
    struct host host;
    if (!host_open(&host, BK_CLOCK_VIRTUAL))
        return -ENOMEM;
    int r = bk_call_later(NULL, bk_ms(1), say, "x");
    if (r == 0)
        r = bk_loop_fd(host.loop) < 0 ? -EINVAL : drive(&host, 100);
    (void)ctx;
    host_close(&host);
    return r;
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(drive_once, NULL) > 3);
}

CHECK_MAIN(TEST(R9_timers_and_tasks_from_a_foreign_main_loop), TEST(R9_descriptors_of_both),
           TEST(R7_R9_calls_from_threads_end_the_hosts_wait), TEST(R9_a_function_on_a_thread),
           TEST(R9_virtual_time), TEST(R5_differs_a_turn_is_a_number_of_steps),
           TEST(R9_a_turn_ends_and_does_not_wait), TEST(R3_R9_signals_are_the_hosts),
           TEST(poll_ms_rounds_up), TEST(every_allocation_may_fail))
