/* SPDX-License-Identifier: MIT
 * bk_run: results, the orderly end, deadlock, stack overflow, what can be asked of a running loop.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <beck/group.h>
#include <beck/loop.h>
#include <beck/sync.h>

#include "tests/trace.h"

static int return_7(void *ctx)
{
    (void)ctx;
    return 7;
}

static int fail_with_detail(void *ctx)
{
    (void)ctx;
    return bk_fail(-EIO, "line %d", 17);
}

static int run_again(void *ctx)
{
    (void)ctx;
    return bk_run(return_7, NULL, NULL);
}

static void R1_the_result_is_mains(void)
{
    CHECK_EQ(trace_run(return_7, NULL), 7);
    CHECK_EQ(trace_run(fail_with_detail, NULL), -EIO);
    CHECK_STR(bk_errmsg(), "line 17");
}

static void C013_R1_a_run_inside_a_run_is_refused(void)
{
    CHECK_EQ(trace_run(run_again, NULL), -EBUSY);
    CHECK(bk_loop_current() == NULL);
}

static void an_unknown_backend_is_refused_by_name(void)
{
    CHECK_EQ(bk_run(return_7, NULL, &(bk_run_opts){.backend = "kqueue"}), -EINVAL);
    CHECK(strstr(bk_errmsg(), "kqueue") != NULL);
}

static int hang(void *ctx)
{
    (void)ctx;
    int r = bk_sleep_forever();
    trace(r == -ECANCELED ? "ended" : "?");
    return r;
}

static int fail_when_cancelled(void *ctx)
{
    (void)ctx;
    bk_sleep_forever();
    return bk_fail(-EIO, "cleanup failed");
}

static int leave_tasks(void *ctx)
{
    (void)ctx;
    bk_go(NULL, hang, NULL, NULL);
    bk_go(NULL, fail_when_cancelled, NULL, NULL);
    bk_go(NULL, hang, NULL, NULL);
    bk_yield();
    trace("main");
    return 0;
}

static void note(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("report:%s", report->detail);
}

static void C016_R1_remaining_tasks_are_cancelled_awaited_and_reported(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = note};
    CHECK_EQ(bk_run(leave_tasks, NULL, &opts), 0);
    CHECK_STR(trace_text(), "main ended report:cleanup failed ended");
}

static int too_many(void *ctx)
{
    (void)ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 100; i++)
        r = bk_go(NULL, hang, NULL, NULL);
    trace("%zu", bk_task_count());
    trace("%s", bk_errmsg());
    return r;
}

static void max_tasks_is_a_limit_with_a_name(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .max_tasks = 5};
    CHECK_EQ(bk_run(too_many, NULL, &opts), -EAGAIN);
    CHECK(strncmp(trace_text(), "5 max_tasks (5) are alive", 25) == 0);
}

/* Runs main in a child process and returns its stderr and wait status. */
static int in_child(int (*body)(void), char *text, size_t size)
{
    int fds[2];
    if (pipe(fds) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        _exit(body());
    }
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while (len + 1 < size && (n = read(fds[0], text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(fds[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
}

static int wait_for_nobody(void *ctx)
{
    (void)ctx;
    bk_event *event = NULL;
    bk_event_new(&event, "tomorrow");
    int r = bk_event_wait(event);
    bk_event_free(&event);
    return r;
}

static int deadlock_body(void)
{
    int r = bk_run(wait_for_nobody, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
    return r == -EDEADLK ? 42 : 1;
}

static void a_deadlock_is_reported_and_ends_the_run(void)
{
    char text[4096];
    int status = in_child(deadlock_body, text, sizeof text);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 42);
    CHECK(strstr(text, "every task waits for something that cannot happen") != NULL);
    CHECK(strstr(text, "main: waits for event") != NULL);
    CHECK(strstr(text, "tomorrow") != NULL);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static volatile int depth;

static int __attribute__((noinline)) dig(int n)
{
    volatile char frame[512];
    frame[0] = (char)n;
    depth = n;
    return n < 0 ? n : dig(n + 1) + frame[0];
}

static int overflowing(void *ctx)
{
    (void)ctx;
    return dig(0);
}

static int overflow_main(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, overflowing, NULL, &(bk_task_opts){.name = "digger"});
    return bk_task_wait(t, NULL);
}

static int overflow_body(void)
{
    return bk_run(overflow_main, NULL, NULL);
}

static void a_stack_overflow_names_the_task(void)
{
    char text[4096];
    int status = in_child(overflow_body, text, sizeof text);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGSEGV);
    CHECK(strstr(text, "stack overflow in task #2 digger (started in overflow_main+0x") != NULL);
    CHECK(strstr(text, "64 KiB") != NULL);
}
#else
static void a_stack_overflow_names_the_task(void)
{
}
#endif

static int dump_child(void *ctx)
{
    return bk_event_wait(ctx);
}

static int dump_main(void *ctx)
{
    int fd = *(int *)ctx;
    bk_event *event = NULL;
    bk_group *g = NULL;
    bk_event_new(&event, "news");
    bk_group_open(&g, &(bk_group_opts){.name = "readers"});
    for (int i = 0; i < 30; i++)
        bk_group_go(g, dump_child, event, NULL);
    bk_sleep(bk_ms(1500));
    int r = bk_dump(fd);
    bk_event_set(event);
    r = bk_group_close(&g, r);
    bk_event_free(&event);
    return r;
}

static void a_dump_shows_the_tree_and_what_each_waits_for(void)
{
    int fds[2];
    char text[8192];
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(trace_run(dump_main, &fds[1]), 0);
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    CHECK(n > 0);
    text[n] = '\0';
    CHECK(strncmp(text, "31 tasks, backend ", 18) == 0);
    CHECK(strstr(text, "#1 main: running") != NULL);
    CHECK(strstr(text, "\n  #2 dump_child: waits for event 'news'") != NULL);
    CHECK(strstr(text, "since 1.500 s (started in dump_main+0x") != NULL);
    CHECK(strstr(text, "\n  ... and 10 more beside them\n") != NULL);
}

static void *thread_body(void *arg)
{
    *(int *)arg = bk_run(return_7, NULL, NULL);
    return NULL;
}

static int other_thread(void *ctx)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_body, ctx) != 0)
        return -EAGAIN;
    pthread_join(thread, NULL);
    return 0;
}

static void each_thread_may_run_a_loop(void)
{
    int result = 0;
    CHECK_EQ(trace_run(other_thread, &result), 0);
    CHECK_EQ(result, 7);
}

static int sleeper(void *ctx)
{
    (void)ctx;
    int64_t before = bk_now().ns;
    bk_sleep(bk_seconds(86400));
    return (int)((bk_now().ns - before) / 1000000000);
}

static void virtual_time_jumps(void)
{
    CHECK_EQ(trace_run(sleeper, NULL), 86400);
}

static int real_sleep(void *ctx)
{
    (void)ctx;
    int64_t before = bk_now().ns;
    bk_sleep(bk_us(300));
    return bk_now().ns - before >= 300000;
}

static void C005_a_sleep_is_never_early(void)
{
    CHECK_EQ(bk_run(real_sleep, NULL, &(bk_run_opts){.clock = BK_CLOCK_REAL}), 1);
}

static int yield_on(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        trace("%s%d", (const char *)ctx, i);
        bk_yield();
    }
    return 0;
}

static int start_it(void *ctx)
{
    return bk_go(NULL, yield_on, ctx, NULL);
}

/* As if main had stopped the loop: what is ready has one more step, and no more. */
static void R1_R4_what_is_ready_as_main_ends_has_a_last_step(void)
{
    bk_loop *loop = NULL;
    trace_reset();
    CHECK_EQ(bk_loop_new(&loop, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}), 0);
    CHECK_EQ(bk_loop_run(loop, start_it, "task"), 0);
    CHECK_STR(trace_text(), "task0");
    CHECK_EQ(bk_loop_run(loop, return_7, NULL), 7);
    CHECK_STR(trace_text(), "task0 task1 task2");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static void info_says_what_runs(void)
{
    bk_info info;
    bk_info_get(&info);
    const char *wish = getenv("BECK_BACKEND");
    if (wish)
        CHECK_STR(info.backend, wish);
    CHECK(info.backend_reason[0] != '\0');
    CHECK(strncmp(info.kernel, "Linux ", 6) == 0);
    CHECK(strcmp(info.stack_guard, "madvise") == 0 || strcmp(info.stack_guard, "mprotect") == 0);
}

CHECK_MAIN(TEST(R1_the_result_is_mains), TEST(C013_R1_a_run_inside_a_run_is_refused),
           TEST(an_unknown_backend_is_refused_by_name),
           TEST(C016_R1_remaining_tasks_are_cancelled_awaited_and_reported),
           TEST(R1_R4_what_is_ready_as_main_ends_has_a_last_step),
           TEST(max_tasks_is_a_limit_with_a_name), TEST(a_deadlock_is_reported_and_ends_the_run),
           TEST(a_stack_overflow_names_the_task),
           TEST(a_dump_shows_the_tree_and_what_each_waits_for), TEST(each_thread_may_run_a_loop),
           TEST(virtual_time_jumps), TEST(C005_a_sleep_is_never_early), TEST(info_says_what_runs))
