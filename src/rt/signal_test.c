/* SPDX-License-Identifier: MIT
 * Signals: what a run does about them by itself, and waiting for them. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include <beck/group.h>
#include <beck/signal.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static const bk_run_opts virtual_clock = {.clock = BK_CLOCK_VIRTUAL};

/* ThreadSanitizer keeps a signal from another thread until the fiber that it met makes a call it
 * knows, which a task waiting for that signal never does. */
#ifdef __SANITIZE_THREAD__
enum { SIGNALS_BETWEEN_THREADS = false };
#else
enum { SIGNALS_BETWEEN_THREADS = true };
#endif

static bool handler_is(int signo, void (*handler)(int))
{
    struct sigaction now;
    return sigaction(signo, NULL, &now) == 0 && now.sa_handler == handler;
}

static void *hang_up(void *ctx)
{
    pthread_kill(*(pthread_t *)ctx, SIGHUP);
    return NULL;
}

static void hang_up_from_thread(void)
{
    pthread_t thread, self = pthread_self();
    if (pthread_create(&thread, NULL, hang_up, &self) == 0)
        pthread_join(thread, NULL);
}

/* ---- Waiting ---- */

static int wait_for_it(void *ctx)
{
    int r = bk_signal_wait(ctx);
    trace("%d", r);
    return r;
}

LOOP_TEST(C162_P2_a_signal_wakes_its_waiter_and_close_restores_the_default)
{
    bk_signal *s = NULL;
    struct sigaction action;
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    CHECK_EQ(sigaction(SIGHUP, NULL, &action), 0);
    CHECK(action.sa_flags & SA_RESTART);
    bk_task *t = start(wait_for_it, s);
    let_run(2);
    CHECK(strstr(dump_text(), "waits for signal SIGHUP, since"));
    CHECK_STR(trace_text(), "");
    raise(SIGHUP);
    CHECK_EQ(finish(&t), 1);
    bk_signal_close(&s);
    CHECK(!s);
    bk_signal_close(&s);
    CHECK(handler_is(SIGHUP, SIG_DFL));
}

/* Any number before a wait is one; none is lost. */
LOOP_TEST(C162_P2_1000_in_a_burst_coalesce_and_never_vanish)
{
    bk_signal *s = NULL, *rt = NULL;
    CHECK_EQ(bk_signal_open(&s, SIGUSR2), 0);
    CHECK_EQ(bk_signal_open(&rt, SIGRTMIN + 1), 0);
    for (int i = 0; i < 1000; i++)
        raise(i % 2 ? SIGUSR2 : SIGRTMIN + 1);
    CHECK_EQ(bk_signal_wait(s), 1);
    CHECK_EQ(bk_signal_wait(rt), 1);
    bk_task *t = start(wait_for_it, s);
    let_run(200); /* more than a turn of the loop */
    CHECK(!bk_task_done(t));
    raise(SIGUSR2);
    CHECK_EQ(finish(&t), 1);
    raise(SIGUSR2);
    CHECK_EQ(bk_signal_wait(s), 1);
    bk_signal_close(&s);
    bk_signal_close(&rt);
}

enum { PING_PONGS = 2000 };

static atomic_int n_pongs;

static void *ping(void *ctx)
{
    pthread_t target = *(pthread_t *)ctx;
    for (int i = 0; i < PING_PONGS; i++) {
        pthread_kill(target, SIGUSR2);
        while (atomic_load(&n_pongs) <= i)
            sched_yield();
    }
    return NULL;
}

/* Each one, sent after the last was seen, wakes a loop that may be awake, asleep or on its way. */
static int pong(void *ctx)
{
    (void)ctx;
    bk_signal *s = NULL;
    pthread_t self = pthread_self(), thread;
    int r = bk_signal_open(&s, SIGUSR2);
    if (r < 0 || pthread_create(&thread, NULL, ping, &self) != 0)
        return -EIO;
    for (int i = 0; i < PING_PONGS && r >= 0; i++) {
        r = bk_signal_wait(s);
        atomic_fetch_add(&n_pongs, 1);
    }
    pthread_join(thread, NULL);
    bk_signal_close(&s);
    return r;
}

static void C162_P2_none_is_lost_whatever_the_loop_is_doing(void)
{
    atomic_store(&n_pongs, 0);
    if (SIGNALS_BETWEEN_THREADS)
        CHECK_EQ(bk_run(pong, NULL, NULL), 1);
}

LOOP_TEST(P2_a_cancelled_wait_takes_no_signal)
{
    bk_signal *s = NULL;
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    bk_task *t = start(wait_for_it, s);
    let_run(1);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    raise(SIGHUP);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_signal_wait(s), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(bk_signal_wait(s), 1); /* still there */
    bk_signal_close(&s);
}

LOOP_TEST(test_close_wakes_waiters)
{
    bk_signal *s = NULL;
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    bk_task *t = start(wait_for_it, s);
    let_run(1);
    bk_signal_close(&s);
    CHECK_EQ(finish(&t), -BK_ECLOSED);
}

static int sleep_long(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(1000));
}

/* Waiting for a signal does not hold back virtual time, and is no deadlock. */
LOOP_TEST(test_time_passes_meanwhile)
{
    bk_signal *s = NULL;
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    bk_task *t = start(wait_for_it, s);
    CHECK_EQ(sleep_long(NULL), 0);
    if (SIGNALS_BETWEEN_THREADS)
        hang_up_from_thread();
    else
        raise(SIGHUP);
    CHECK_EQ(finish(&t), 1);
    bk_signal_close(&s);
}

LOOP_TEST(test_refusals)
{
    bk_signal *s = NULL, *second = NULL;
    CHECK_EQ(bk_signal_open(&s, 0), -EINVAL);
    CHECK_EQ(bk_signal_open(&s, -1), -EINVAL);
    CHECK_EQ(bk_signal_open(&s, 1000), -EINVAL);
    CHECK_EQ(bk_signal_open(&s, SIGKILL), -EINVAL);
    CHECK_EQ(bk_signal_open(&s, SIGSEGV), -EINVAL);
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    CHECK_EQ(bk_signal_open(&second, SIGHUP), -EBUSY);
    bk_signal_close(&s);
    CHECK_EQ(bk_signal_open(&second, SIGHUP), 0);
    bk_signal_close(&second);
}

static int open_hup(void *ctx)
{
    (void)ctx;
    bk_signal *s = NULL;
    int r = bk_signal_open(&s, SIGHUP);
    bk_signal_close(&s);
    return r;
}

static void *run_open(void *ctx)
{
    (void)ctx;
    return (void *)(intptr_t)bk_run(open_hup, NULL, NULL);
}

static void P2_signals_are_for_the_main_thread(void)
{
    pthread_t thread;
    void *r = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, run_open, NULL), 0);
    CHECK_EQ(pthread_join(thread, &r), 0);
    CHECK_EQ((intptr_t)r, -EPERM);
    CHECK_EQ(open_hup(NULL), -EPERM);
    CHECK_EQ(bk_run(open_hup, NULL, &(bk_run_opts){.no_signals = true}), 0);
}

static void own_handler(int signo)
{
    (void)signo;
}

static void other_handler(int signo)
{
    (void)signo;
}

LOOP_TEST(P2_the_handler_before_comes_back)
{
    bk_signal *s = NULL;
    signal(SIGHUP, own_handler);
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    CHECK(!handler_is(SIGHUP, own_handler));
    bk_signal_close(&s);
    CHECK(handler_is(SIGHUP, own_handler));
    /* one that the program installed meanwhile stays */
    CHECK_EQ(bk_signal_open(&s, SIGHUP), 0);
    signal(SIGHUP, other_handler);
    bk_signal_close(&s);
    CHECK(handler_is(SIGHUP, other_handler));
    signal(SIGHUP, SIG_DFL);
}

static bk_signal *forgotten;

static int forget(void *ctx)
{
    (void)ctx;
    return bk_signal_open(&forgotten, SIGHUP);
}

static void P2_what_is_left_open_is_undone_by_the_run(void)
{
    CHECK_EQ(in_loop(forget, NULL), 0);
    CHECK(handler_is(SIGHUP, SIG_DFL));
    bk_signal_close(&forgotten);
}

/* ---- What a run does by itself ---- */

static int raise_and_sleep(void *ctx)
{
    raise((int)(intptr_t)ctx);
    int r = bk_sleep(bk_seconds(1));
    trace("%s", r == -ECANCELED ? "cancelled" : "slept");
    return r;
}

static void C057_R3_first_signal_cancels_main(void)
{
    trace_reset();
    CHECK_EQ(bk_run(raise_and_sleep, (void *)SIGINT, &virtual_clock), -BK_EINTERRUPTED);
    CHECK(strstr(bk_errmsg(), "stopped by"));
    CHECK_EQ(bk_run(raise_and_sleep, (void *)SIGTERM, &virtual_clock), -BK_EINTERRUPTED);
    CHECK_STR(trace_text(), "cancelled cancelled");
    CHECK(handler_is(SIGINT, SIG_DFL));
    CHECK(handler_is(SIGTERM, SIG_DFL));
    CHECK(handler_is(SIGUSR1, SIG_DFL));
}

static void *kill_when_asleep(void *ctx)
{
    pthread_t *loop_thread = ctx;
    pthread_kill(*loop_thread, SIGINT);
    return NULL;
}

static int sleep_while_killed(void *ctx)
{
    (void)ctx;
    pthread_t self = pthread_self(), thread;
    pthread_create(&thread, NULL, kill_when_asleep, &self);
    int r = bk_sleep(bk_minutes(1)); /* the signal ends it at once */
    pthread_join(thread, NULL);
    return r;
}

static void C162_P2_a_signal_wakes_an_idle_loop(void)
{
    for (int i = 0; i < 100 && SIGNALS_BETWEEN_THREADS; i++)
        CHECK_EQ(bk_run(sleep_while_killed, NULL, NULL), -BK_EINTERRUPTED);
}

static int cleanup(void *ctx)
{
    (void)ctx;
    trace("cleanup %d", bk_sleep(bk_seconds(1)));
    return 0;
}

static int drain(void *ctx)
{
    (void)ctx;
    raise(SIGINT);
    if (bk_sleep_forever() == -ECANCELED)
        bk_shield(cleanup, NULL);
    return 3;
}

static void R3_main_may_end_well(void)
{
    trace_reset();
    CHECK_EQ(bk_run(drain, NULL, &virtual_clock), 3);
    CHECK_STR(trace_text(), "cleanup 0");
}

static int raise_only(void *ctx)
{
    raise((int)(intptr_t)ctx);
    return bk_sleep(bk_seconds(1));
}

static void R3_own_handlers_are_left_alone(void)
{
    signal(SIGINT, own_handler);
    signal(SIGTERM, SIG_IGN);
    CHECK_EQ(bk_run(raise_only, (void *)SIGINT, &virtual_clock), 0);
    CHECK_EQ(bk_run(raise_only, (void *)SIGTERM, &virtual_clock), 0);
    CHECK(handler_is(SIGINT, own_handler));
    CHECK(handler_is(SIGTERM, SIG_IGN));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static int look(void *ctx)
{
    bool *all_default = ctx;
    *all_default =
        handler_is(SIGINT, SIG_DFL) && handler_is(SIGTERM, SIG_DFL) && handler_is(SIGUSR1, SIG_DFL);
    return 0;
}

static void *look_in_thread(void *ctx)
{
    bk_run(look, ctx, NULL);
    return NULL;
}

static void test_no_signals(void)
{
    bool all_default = false;
    CHECK_EQ(bk_run(look, &all_default, &(bk_run_opts){.no_signals = true}), 0);
    CHECK(all_default);
    CHECK_EQ(bk_run(look, &all_default, NULL), 0);
    CHECK(!all_default);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, look_in_thread, &all_default), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(all_default); /* not the main thread */
}

static int open_int(void *ctx)
{
    (void)ctx;
    bk_signal *s = NULL;
    int r = bk_signal_open(&s, SIGINT);
    if (r < 0)
        return r;
    for (int i = 0; i < 3; i++) {
        raise(SIGINT);
        trace("%d", bk_signal_wait(s));
        trace("%d", bk_sleep(bk_ms(1)));
    }
    bk_signal_close(&s);
    raise(SIGINT);
    trace("%d", bk_sleep(bk_ms(1)) == -ECANCELED);
    return -ECANCELED;
}

/* An opened SIGINT belongs to the program until it is closed. */
static void test_open_replaces_the_default(void)
{
    trace_reset();
    CHECK_EQ(bk_run(open_int, NULL, &virtual_clock), -BK_EINTERRUPTED);
    CHECK_STR(trace_text(), "1 0 1 0 1 0 1");
}

/* ---- In a process of its own ---- */

/* Runs main in a child, its stderr in a memory file; returns waitpid's status, and the text in buf.
 */
static int run_in_child(bk_fn *main, void *ctx, char *buf, size_t size)
{
    int status = -1;
    int fd = memfd_create("stderr", 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd, STDERR_FILENO);
        _exit(bk_run(main, ctx, &virtual_clock) == 0 ? 0 : 99);
    }
    waitpid(pid, &status, 0);
    ssize_t n = pread(fd, buf, size - 1, 0);
    buf[n > 0 ? n : 0] = '\0';
    close(fd);
    return status;
}

static int will_not_stop(void *ctx)
{
    int second = (int)(intptr_t)ctx;
    raise(SIGINT);
    bk_yield();
    raise(second);
    _exit(7); /* not reached */
}

static void C057_R3_second_signal_ends_the_process(void)
{
    char text[256];
    int status = run_in_child(will_not_stop, (void *)SIGINT, text, sizeof text);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGINT);
    status = run_in_child(will_not_stop, (void *)SIGTERM, text, sizeof text);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGTERM);
}

static int dump_by_signal(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, sleep_long, NULL, &(bk_task_opts){.name = "napper"});
    bk_yield();
    raise(SIGUSR1);
    return finish(&t);
}

static void test_usr1_prints_the_dump(void)
{
    char text[4096];
    int status = run_in_child(dump_by_signal, NULL, text, sizeof text);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK(strstr(text, "napper: waits for sleep"));
}

static int open_one(void *ctx)
{
    (void)ctx;
    bk_signal *s = NULL;
    int r = bk_signal_open(&s, SIGHUP);
    bk_signal_close(&s);
    return r;
}

static int scenario(void *ctx)
{
    return in_loop(open_one, ctx);
}

static void test_out_of_memory(void)
{
    CHECK(alloc_sweep(scenario, NULL) > 2);
    CHECK(handler_is(SIGHUP, SIG_DFL));
    CHECK(handler_is(SIGINT, SIG_DFL));
}

CHECK_MAIN(TEST(C162_P2_a_signal_wakes_its_waiter_and_close_restores_the_default),
           TEST(C162_P2_1000_in_a_burst_coalesce_and_never_vanish),
           TEST(C162_P2_none_is_lost_whatever_the_loop_is_doing),
           TEST(P2_a_cancelled_wait_takes_no_signal), TEST(test_close_wakes_waiters),
           TEST(test_time_passes_meanwhile), TEST(test_refusals),
           TEST(P2_signals_are_for_the_main_thread), TEST(P2_the_handler_before_comes_back),
           TEST(P2_what_is_left_open_is_undone_by_the_run), TEST(C057_R3_first_signal_cancels_main),
           TEST(C162_P2_a_signal_wakes_an_idle_loop), TEST(R3_main_may_end_well),
           TEST(R3_own_handlers_are_left_alone), TEST(test_no_signals),
           TEST(test_open_replaces_the_default), TEST(C057_R3_second_signal_ends_the_process),
           TEST(test_usr1_prints_the_dump), TEST(test_out_of_memory))
