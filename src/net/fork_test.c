/* SPDX-License-Identifier: MIT
 * Tests of forks in a running loop: what a child can do, and what it cannot do to its parent. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "net/net_test.h"

#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZER 1
#else
#define THREAD_SANITIZER 0
#endif

/* CHECK in a child: its exit status is the line that failed, modulo 251 and never 0. */
#define CHILD_CHECK(cond)                                                                          \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            dprintf(2, "%s:%d: not true in the child: %s (%s)\n", __FILE__, __LINE__, #cond,       \
                    bk_errmsg());                                                                  \
            _exit(1 + __LINE__ % 251);                                                             \
        }                                                                                          \
    } while (0)

/* 0 when the child ended with _exit(0). */
static int status_of(pid_t pid)
{
    int status = -1;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int do_nothing(void *ctx)
{
    (void)ctx;
    return 0;
}

static int n_ran;

static int run_on(void *ctx)
{
    (void)ctx;
    for (;;) {
        n_ran++;
        int r = bk_yield();
        if (r < 0)
            return r;
    }
}

LOOP_TEST(C166_a_childs_calls_fail_and_say_why)
{
    bk_group *group = NULL;
    bk_queue *queue = NULL;
    void *item;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_queue_new(&queue, NULL), 0);
    CHECK_EQ(bk_group_go(group, run_on, NULL, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    bk_loop *loop = bk_loop_current();
    pid_t pid = fork();
    if (pid == 0) {
        int before = n_ran;
        CHILD_CHECK(bk_yield() == -BK_ENOTASK);
        CHILD_CHECK(strstr(bk_errmsg(), "was forked from one that runs an event loop"));
        CHILD_CHECK(bk_sleep(bk_seconds(1)) == -BK_ENOTASK);
        CHILD_CHECK(bk_go(NULL, do_nothing, NULL, NULL) < 0);
        CHILD_CHECK(bk_group_go(group, do_nothing, NULL, NULL) < 0);
        CHILD_CHECK(bk_queue_get(queue, &item) < 0);
        CHILD_CHECK(bk_to_thread(do_nothing, NULL, NULL) == -BK_ENOTASK);
        CHILD_CHECK(bk_fd_wait(0, BK_READABLE, bk_forever()) == -BK_ENOTASK);
        CHILD_CHECK(bk_go_threadsafe(loop, do_nothing, NULL) == -BK_ECLOSED);
        CHILD_CHECK(!bk_loop_current());
        CHILD_CHECK(!bk_task_current());
        CHILD_CHECK(n_ran == before);
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(bk_yield(), 0);
    bk_group_cancel(group);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    bk_queue_free(&queue);
}

/* ---- Nothing of the parent's is touched ---- */

static bool has_descriptor(const char *kind)
{
    char path[64], target[64];
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0 && (target[n] = '\0', strstr(target, kind)))
            return true;
    }
    return false;
}

LOOP_TEST(C166_a_child_has_no_descriptor_of_the_loop)
{
    bk_yield();
    CHECK(has_descriptor("eventfd"));
    CHECK(has_descriptor("eventpoll") || has_descriptor("io_uring"));
    pid_t pid = fork();
    if (pid == 0) {
        CHILD_CHECK(!has_descriptor("eventfd"));
        CHILD_CHECK(!has_descriptor("eventpoll"));
        CHILD_CHECK(!has_descriptor("io_uring"));
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 0);
}

static int read_line(void *ctx)
{
    bk_span line;
    int r = bk_stream_read_line(ctx, &line);
    return r == 1 ? (int)line.len : r;
}

LOOP_TEST(C166_a_child_may_close_its_copies_and_the_parents_waits_go_on)
{
    struct ends e, full;
    bk_task *reader = NULL;
    static char block[1 << 20];
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(open_ends(&full, &(bk_stream_opts){.write_buffer = sizeof block}), 0);
    CHECK_EQ(bk_stream_write(full.s, block, sizeof block), 0); /* most of it is still under way */
    CHECK(bk_stream_unsent(full.s) > 0);
    CHECK_EQ(bk_go(&reader, read_line, e.s, NULL), 0);
    bk_yield();
    bk_yield();
    pid_t pid = fork();
    if (pid == 0) {
        bk_stream *copy = full.s;
        CHILD_CHECK(bk_stream_write(full.s, "x", 1) == -BK_ENOTASK);
        CHILD_CHECK(bk_stream_close(&copy, -1) == -1);
        CHILD_CHECK(!copy);
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 0);
    say(&e, "hello\n");
    int result;
    CHECK_EQ(bk_task_wait(reader, &result), 0);
    CHECK_EQ(result, 5);
    bk_task_free(&reader);
    size_t got = 0;
    static char buf[65536];
    while (got < sizeof block) {
        ssize_t n = recv(full.peer, buf, sizeof buf, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        bk_yield();
    }
    CHECK_EQ(bk_stream_flush(full.s), 0);
    close_ends(&e);
    close_ends(&full);
}

LOOP_TEST(C166_what_a_child_closes_stays_the_parents)
{
    char path[64], address[80], file[64];
    snprintf(path, sizeof path, "/tmp/beck-fork-%d", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    snprintf(file, sizeof file, "/tmp/beck-fork-file-%d", (int)getpid());
    bk_listener *listener = NULL;
    bk_process *process = NULL;
    bk_file *f = NULL;
    CHECK_EQ(bk_listen(&listener, address, NULL), 0);
    CHECK_EQ(bk_process_shell(&process, "exec sleep 1000", NULL), 0);
    CHECK_EQ(bk_file_open(&f, file, O_RDWR | O_CREAT, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c = 'x';
        CHILD_CHECK(bk_listener_close(&listener, 0) == 0);
        CHILD_CHECK(bk_process_kill(process) == -EPERM);
        CHILD_CHECK(bk_process_close(&process, -1) == -BK_ENOTASK);
        CHILD_CHECK(bk_file_read(f, &c, 1) == -BK_ENOTASK);
        CHILD_CHECK(bk_file_close(&f, 0) == 0);
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 0);
    struct stat st;
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(kill(bk_process_pid(process), 0), 0);
    CHECK_EQ(bk_process_returncode(process, NULL), -EINPROGRESS);
    CHECK_EQ(bk_file_write(f, "abc", 3), 0);
    CHECK_EQ(bk_process_close(&process, -1), -1);
    CHECK_EQ(bk_listener_close(&listener, 0), 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    unlink(file);
}

/* ---- A run of its own ---- */

static int live_a_little(void *ctx)
{
    bk_stream *reader = NULL, *writer = NULL;
    char buf[8];
    (void)ctx;
    int r = bk_pipe_open(&reader, &writer, NULL);
    if (r == 0)
        r = bk_stream_write(writer, "child", 5);
    if (r == 0)
        r = bk_stream_read_exactly(reader, buf, 5);
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    bk_stream_close(&writer, r);
    return bk_stream_close(&reader, r < 0 ? r : 77);
}

LOOP_TEST(C166_a_child_may_run_a_loop_of_its_own)
{
    bk_task *beside = NULL;
    CHECK_EQ(bk_go(&beside, run_on, NULL, NULL), 0);
    bk_yield();
    pid_t pid = fork();
    if (pid == 0) {
        int before = n_ran;
        CHILD_CHECK(bk_run(live_a_little, NULL, NULL) == 77);
        CHILD_CHECK(bk_run(live_a_little, NULL, NULL) == 77);
        CHILD_CHECK(bk_yield() == -BK_ENOTASK);
        CHILD_CHECK(n_ran == before);
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 0);
    int before = n_ran;
    bk_yield();
    CHECK(n_ran > before);
    bk_task_cancel(beside);
    bk_task_free(&beside);
}

static int fork_on_thread(void *ctx)
{
    pid_t *pid = ctx;
    *pid = fork();
    if (*pid == 0)
        _exit(bk_run(live_a_little, NULL, NULL) == 77 ? 0 : 1);
    return 0;
}

LOOP_TEST(C166_a_fork_on_another_thread)
{
    pid_t pid = 0;
    if (THREAD_SANITIZER) /* it allows no threads after such a fork */
        return;
    CHECK_EQ(bk_to_thread(fork_on_thread, &pid, NULL), 0);
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(bk_yield(), 0);
}

/* ---- Coming back from a task ---- */

static int fork_and_return(void *ctx)
{
    pid_t *pid = ctx;
    bk_task *beside = NULL;
    int r = bk_go(&beside, run_on, NULL, NULL);
    if (r == 0)
        r = bk_yield();
    *pid = fork();
    if (*pid > 0) {
        bk_task_cancel(beside);
        r = status_of(*pid);
    }
    bk_task_free(&beside);
    return r;
}

static void C166_a_child_that_returns_from_its_task_comes_out_of_bk_run(void)
{
    if (THREAD_SANITIZER) /* it does not know the child's stacks */
        return;
    pid_t pid = -1;
    n_ran = 0;
    int r = bk_run(fork_and_return, &pid, NULL);
    if (pid == 0) {
        CHILD_CHECK(r == -BK_ENOTASK);
        CHILD_CHECK(strstr(bk_errmsg(), "came to the end of a task that is its parent's"));
        CHILD_CHECK(n_ran == 1); /* no other task of the parent went on */
        _exit(0);
    }
    CHECK_EQ(r, 0);
}

/* ---- Signals ---- */

LOOP_TEST(C166_a_child_has_the_signal_handlers_of_before)
{
    bk_signal *hup = NULL;
    CHECK_EQ(bk_signal_open(&hup, SIGHUP), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sigaction action;
        sigset_t mask;
        CHILD_CHECK(sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        CHILD_CHECK(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        CHILD_CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && !sigismember(&mask, SIGPIPE));
        bk_signal_close(&hup);
        raise(SIGTERM);
        _exit(0);
    }
    CHECK_EQ(status_of(pid), 1000 + SIGTERM);
    raise(SIGHUP);
    CHECK_EQ(bk_signal_wait(hup), 1);
    bk_signal_close(&hup);
}

CHECK_MAIN(TEST(C166_a_childs_calls_fail_and_say_why),
           TEST(C166_a_child_has_no_descriptor_of_the_loop),
           TEST(C166_a_child_may_close_its_copies_and_the_parents_waits_go_on),
           TEST(C166_what_a_child_closes_stays_the_parents),
           TEST(C166_a_child_may_run_a_loop_of_its_own), TEST(C166_a_fork_on_another_thread),
           TEST(C166_a_child_that_returns_from_its_task_comes_out_of_bk_run),
           TEST(C166_a_child_has_the_signal_handlers_of_before))
