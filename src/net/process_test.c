/* SPDX-License-Identifier: MIT
 * Tests of subprocesses: started, waited for, signalled, given up, and what they inherit. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "net/net_test.h"
#include "net/spawn.h"

static const bk_process_opts out_piped = {.out = BK_PIPE};
static const bk_process_opts all_piped = {.in = BK_PIPE, .out = BK_PIPE, .err = BK_PIPE};

/* Runs a shell command to its end; its output is in text. */
static int said(const char *command, const bk_process_opts *opts, char *text, size_t size)
{
    bk_process *p = NULL;
    bk_msg *out = NULL;
    text[0] = '\0';
    int r = bk_process_shell(&p, command, opts);
    if (r == 0)
        r = bk_process_communicate(p, bk_span_of("", 0), &out, NULL, NULL);
    if (r == 0)
        snprintf(text, size, "%.*s", (int)bk_msg_len(out), bk_msg_data(out));
    bk_msg_free(&out);
    return bk_process_close(&p, r);
}

static int n_children(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD ? 0 : 1;
}

/* ---- Starting ---- */

LOOP_TEST(P1_exec_runs_a_program_with_its_arguments)
{
    bk_process *p = NULL;
    bk_msg *out = NULL;
    const char *argv[] = {"printf", "%s|", "a b", "", "c", NULL};
    int code = -1;
    CHECK_EQ(bk_process_exec(&p, argv, &out_piped), 0);
    CHECK(bk_process_pid(p) > 1);
    CHECK_EQ(bk_process_communicate(p, bk_span_of("", 0), &out, NULL, NULL), 0);
    CHECK_MEM(bk_msg_data(out), bk_msg_len(out), "a b||c|", 7);
    CHECK_EQ(bk_process_wait(p, &code), 0);
    CHECK_EQ(code, 0);
    bk_msg_free(&out);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK(!p);
    CHECK_EQ(n_children(), 0);
}

LOOP_TEST(P1_shell_runs_a_command_line)
{
    char text[64];
    CHECK_EQ(said("echo one; echo two | tr a-z A-Z", &out_piped, text, sizeof text), 0);
    CHECK_STR(text, "one\nTWO\n");
}

LOOP_TEST(C157_a_missing_program_is_an_error_at_once_and_no_zombie)
{
    bk_process *p = NULL;
    const char *missing[] = {"/no/such/program", NULL}, *searched[] = {"no-such-program", NULL},
               *a_file[] = {"/etc/passwd", NULL}, *a_dir[] = {"/tmp", NULL}, *none[] = {NULL},
               *ok[] = {"true", NULL};
    CHECK_EQ(bk_process_exec(&p, missing, &all_piped), -ENOENT);
    CHECK(strstr(bk_errmsg(), "cannot start '/no/such/program': No such file"));
    CHECK_EQ(bk_process_exec(&p, searched, &all_piped), -ENOENT);
    CHECK_EQ(bk_process_exec(&p, a_file, NULL), -EACCES);
    CHECK_EQ(bk_process_exec(&p, a_dir, NULL), -EACCES);
    CHECK_EQ(bk_process_exec(&p, ok, &(bk_process_opts){.cwd = "/no/such/place"}), -ENOENT);
    CHECK(strstr(bk_errmsg(), "cannot start 'true' in '/no/such/place'"));
    CHECK_EQ(bk_process_exec(&p, none, NULL), -EINVAL);
    CHECK(!p);
    CHECK_EQ(n_children(), 0);
}

LOOP_TEST(P1_wrong_options_are_told)
{
    bk_process *p = NULL;
    const char *argv[] = {"true", NULL};
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.in = BK_STDOUT}), -EINVAL);
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.out = BK_STDOUT}), -EINVAL);
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.out = -9}), -EINVAL);
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.out = 999}), -EBADF);
    CHECK(strstr(bk_errmsg(), "its descriptors"));
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.pass_fds = (int[]){1}, .n_pass_fds = 1}),
             -EINVAL);
    CHECK_EQ(bk_process_shell(&p, NULL, NULL), -EINVAL);
    CHECK(!p);
}

LOOP_TEST(P1_environment_and_directory)
{
    char text[256];
    const char *env[] = {"BECK_TEST=hello", "PATH=/usr/bin:/bin", NULL};
    bk_process_opts opts = {.out = BK_PIPE, .env = env, .cwd = "/usr"};
    CHECK_EQ(said("pwd; echo $BECK_TEST; env | grep -c HOME=", &opts, text, sizeof text), 0);
    CHECK_STR(text, "/usr\nhello\n0\n");
    setenv("BECK_TEST", "inherited", 1);
    CHECK_EQ(said("echo $BECK_TEST", &out_piped, text, sizeof text), 0);
    CHECK_STR(text, "inherited\n");
}

LOOP_TEST(P1_the_path_of_the_given_environment_is_searched)
{
    bk_process *p = NULL;
    const char *argv[] = {"true", NULL};
    const char *nowhere[] = {"PATH=/no/such:/dev/null/x", NULL}, *no_path[] = {"A=b", NULL},
               *later[] = {"PATH=/no/such::/usr/bin:/bin", NULL};
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.env = nowhere}), -ENOENT);
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.env = no_path}), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK_EQ(bk_process_exec(&p, argv, &(bk_process_opts){.env = later}), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

/* ---- Standard streams ---- */

LOOP_TEST(P1_each_stream_may_be_a_pipe_nothing_the_others_or_a_descriptor)
{
    char text[256];
    CHECK_EQ(said("cat; echo err >&2; echo out",
                  &(bk_process_opts){.in = BK_DEVNULL, .out = BK_PIPE, .err = BK_STDOUT}, text,
                  sizeof text),
             0);
    CHECK_STR(text, "err\nout\n");
    CHECK_EQ(said("echo err >&2; echo out", &(bk_process_opts){.out = BK_PIPE, .err = BK_DEVNULL},
                  text, sizeof text),
             0);
    CHECK_STR(text, "out\n");

    bk_process *p = NULL;
    int file = memfd_create("out", MFD_CLOEXEC);
    bk_process_opts opts = {.out = file, .err = BK_STDOUT};
    CHECK_EQ(bk_process_shell(&p, "echo one; echo two >&2", &opts), 0);
    CHECK_EQ(bk_process_wait(p, NULL), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK_EQ(pread(file, text, sizeof text, 0), 8);
    CHECK_MEM(text, 8, "one\ntwo\n", 8);
    close(file);
}

/* 1 and 2 change places. */
LOOP_TEST(P1_standard_streams_may_be_crossed)
{
    bk_process *p = NULL;
    char text[16] = "";
    int keep_out = dup(1), keep_err = dup(2), a = memfd_create("a", 0), b = memfd_create("b", 0);
    dup2(a, 1);
    dup2(b, 2);
    int r =
        bk_process_shell(&p, "echo to-1; echo to-2 >&2", &(bk_process_opts){.out = 2, .err = 1});
    dup2(keep_out, 1);
    dup2(keep_err, 2);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_process_wait(p, NULL), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK_EQ(pread(a, text, sizeof text, 0), 5);
    CHECK_MEM(text, 5, "to-2\n", 5);
    CHECK_EQ(pread(b, text, sizeof text, 0), 5);
    CHECK_MEM(text, 5, "to-1\n", 5);
    close(a), close(b), close(keep_out), close(keep_err);
}

LOOP_TEST(P1_pipes_get_numbers_that_standard_streams_had)
{
    char text[16];
    int keep = dup(0);
    close(0);
    int r =
        said("cat; echo hi", &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE}, text, sizeof text);
    dup2(keep, 0);
    close(keep);
    CHECK_EQ(r, 0);
    CHECK_STR(text, "hi\n");
}

/* ---- What is inherited ---- */

/* What ls finds open besides what it opens itself. */
static void only_wanted_descriptors(void)
{
    bk_process *p = NULL;
    bk_msg *out = NULL;
    int kept = fcntl(2, F_DUPFD, 100), stray = dup(2); /* neither is close-on-exec */
    const char *argv[] = {"ls", "/proc/self/fd", NULL};
    bk_process_opts opts = {.out = BK_PIPE, .pass_fds = &kept, .n_pass_fds = 1};
    CHECK_EQ(bk_process_exec(&p, argv, &opts), 0);
    CHECK_EQ(bk_process_communicate(p, bk_span_of(NULL, 0), &out, NULL, NULL), 0);
    CHECK_EQ(kept, 100);
    CHECK_MEM(bk_msg_data(out), bk_msg_len(out), "0\n1\n100\n2\n3\n", 12);
    bk_msg_free(&out);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    close(kept);
    close(stray);
}

LOOP_TEST(C159_P1_only_wanted_descriptors_are_inherited)
{
    only_wanted_descriptors();
}

LOOP_TEST(C159_P1_only_wanted_descriptors_are_inherited_without_close_range)
{
    bki_spawn_old_kernel = true;
    only_wanted_descriptors();
    bki_spawn_old_kernel = false;
}

/* A set of signals from a process' status; all of them when it is not there. */
static unsigned long long signals_of(const char *status, const char *field)
{
    const char *at = strstr(status, field);
    return at ? strtoull(at + strlen(field), NULL, 16) : ~0ull;
}

static unsigned long long ignored_here(void)
{
    char status[4096] = "";
    FILE *f = fopen("/proc/self/status", "re");
    if (f) {
        status[fread(status, 1, sizeof status - 1, f)] = '\0';
        fclose(f);
    }
    return signals_of(status, "SigIgn:");
}

static void on_usr1(int signo)
{
    (void)signo;
}

LOOP_TEST(P1_signals_are_as_a_program_expects_them)
{
    char text[512];
    sigset_t set, before;
    struct sigaction action = {.sa_handler = on_usr1}, ignore = {.sa_handler = SIG_IGN}, old[3];
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    sigaction(SIGUSR1, &action, &old[0]);
    sigaction(SIGPIPE, &ignore, &old[1]);
    sigaction(SIGHUP, &ignore, &old[2]);
    /* Whoever started the tests may ignore more. */
    unsigned long long ignored = ignored_here() & ~(1ull << (SIGPIPE - 1) | 1ull << (SIGXFSZ - 1));
    int r = said("grep -E 'Sig(Blk|Ign)' /proc/self/status", &out_piped, text, sizeof text);
    struct sigaction still;
    sigaction(SIGUSR1, NULL, &still);
    sigaction(SIGUSR1, &old[0], NULL);
    sigaction(SIGPIPE, &old[1], NULL);
    sigaction(SIGHUP, &old[2], NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    CHECK_EQ(r, 0);
    CHECK(still.sa_handler == on_usr1);
    CHECK_EQ(signals_of(text, "SigBlk:"), 0);
    CHECK_EQ(signals_of(text, "SigIgn:"), ignored);
    CHECK(ignored >> (SIGHUP - 1) & 1);
}

LOOP_TEST(P1_a_group_and_a_session_of_its_own)
{
    char text[128];
    long pid, pgrp, session, here = getsid(0);
    const char *command = "set -- $(cat /proc/$$/stat); echo $1 $5 $6";
    CHECK_EQ(said(command, &out_piped, text, sizeof text), 0);
    CHECK_EQ(sscanf(text, "%ld %ld %ld", &pid, &pgrp, &session), 3);
    CHECK(pgrp == getpgrp() && session == here);
    CHECK_EQ(
        said(command, &(bk_process_opts){.out = BK_PIPE, .new_group = true}, text, sizeof text), 0);
    CHECK_EQ(sscanf(text, "%ld %ld %ld", &pid, &pgrp, &session), 3);
    CHECK(pgrp == pid && session == here);
    CHECK_EQ(
        said(command, &(bk_process_opts){.out = BK_PIPE, .new_session = true}, text, sizeof text),
        0);
    CHECK_EQ(sscanf(text, "%ld %ld %ld", &pid, &pgrp, &session), 3);
    CHECK(pgrp == pid && session == pid);
}

/* ---- Waiting ---- */

static int wait_code(void *ctx)
{
    int code = -1, r = bk_process_wait(ctx, &code);
    return r < 0 ? r : 1000 + code;
}

static bk_task *go(bk_fn *fn, void *ctx)
{
    bk_task *task = NULL;
    return bk_go(&task, fn, ctx, NULL) == 0 ? task : NULL;
}

static int result_of(bk_task **task)
{
    int result = -EINPROGRESS, r = bk_task_wait(*task, &result);
    bk_task_free(task);
    return r < 0 ? r : result;
}

static void wait_by_several(void)
{
    bk_process *p = NULL;
    bk_task *tasks[3];
    int code = 0;
    CHECK_EQ(bk_process_shell(&p, "read x; exit 7", &(bk_process_opts){.in = BK_PIPE}), 0);
    for (int i = 0; i < 3; i++)
        tasks[i] = go(wait_code, p);
    bk_yield();
    CHECK_EQ(bk_process_returncode(p, &code), -EINPROGRESS);
    CHECK_EQ(bk_process_close_in(p), 0);
    CHECK(!bk_process_in(p));
    CHECK_EQ(bk_process_close_in(p), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(result_of(&tasks[i]), 1007);
    CHECK_EQ(bk_process_returncode(p, &code), 0);
    CHECK_EQ(code, 7);
    CHECK_EQ(wait_code(p), 1007);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(C156_P1_wait_by_several_tasks_all_return)
{
    wait_by_several();
}

LOOP_TEST(C156_P1_wait_by_several_tasks_without_process_descriptors)
{
    bki_spawn_old_kernel = true;
    wait_by_several();
    bki_spawn_old_kernel = false;
}

LOOP_TEST(C156_P1_the_code_of_a_signal_is_negative)
{
    bk_process *p = NULL;
    CHECK_EQ(bk_process_shell(&p, "kill -KILL $$", NULL), 0);
    CHECK_EQ(wait_code(p), 1000 - SIGKILL);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK_EQ(bk_process_shell(&p, "exec sleep 1000", NULL), 0);
    CHECK_EQ(bk_process_terminate(p), 0);
    CHECK_EQ(wait_code(p), 1000 - SIGTERM);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(P1_signals_to_a_dead_child_are_harmless)
{
    bk_process *p = NULL;
    CHECK_EQ(bk_process_shell(&p, ":", NULL), 0);
    CHECK_EQ(wait_code(p), 1000);
    CHECK_EQ(bk_process_signal(p, SIGUSR1), 0);
    CHECK_EQ(bk_process_terminate(p), 0);
    CHECK_EQ(bk_process_kill(p), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK_EQ(bk_process_shell(&p, "exec sleep 1000", NULL), 0);
    CHECK_EQ(bk_process_signal(p, 1000), -EINVAL);
    CHECK_EQ(bk_process_close(&p, -1), -1);
}

LOOP_TEST(C158_output_outlives_the_child)
{
    bk_process *p = NULL;
    bk_span line;
    CHECK_EQ(bk_process_shell(&p, "echo kept", &out_piped), 0);
    CHECK_EQ(wait_code(p), 1000);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 1);
    CHECK_MEM(line.data, line.len, "kept", 4);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

/* A grandchild has the pipe, and is there as long as we do not let it go. */
LOOP_TEST(P1_wait_does_not_wait_for_whoever_has_inherited_a_pipe)
{
    bk_process *p = NULL;
    bk_span line;
    CHECK_EQ(bk_process_shell(&p, "exec 3<&0; (read x <&3; echo bye) & exit 3",
                              &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE}),
             0);
    CHECK_EQ(wait_code(p), 1003);
    CHECK_EQ(bk_stream_write(bk_process_in(p), "\n", 1), 0);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 1);
    CHECK_MEM(line.data, line.len, "bye", 3);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(C160_P1_two_children_that_end_at_once_are_both_reaped)
{
    bk_process *p[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++)
        CHECK_EQ(bk_process_shell(&p[i], "exec sleep 1000", NULL), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(bk_process_kill(p[i]), 0);
    siginfo_t info; /* both are dead before the loop looks */
    for (int i = 0; i < 2; i++)
        CHECK_EQ(waitid(P_PID, (id_t)bk_process_pid(p[i]), &info, WEXITED | WNOWAIT), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(wait_code(p[i]), 1000 - SIGKILL);
        CHECK_EQ(bk_process_close(&p[i], 0), 0);
    }
    CHECK_EQ(n_children(), 0);
}

static int n_reports;
static char report_text[128];

static void on_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    n_reports++;
    snprintf(report_text, sizeof report_text, "%s", report->what);
}

static int reaped_elsewhere(void *ctx)
{
    bk_process *p = NULL;
    (void)ctx;
    int r = bk_process_shell(&p, "exec sleep 1000", NULL);
    if (r < 0)
        return r;
    bk_process_kill(p);
    waitpid(bk_process_pid(p), NULL, 0);
    r = wait_code(p);
    return bk_process_close(&p, r);
}

static void C160_P1_a_child_reaped_elsewhere_gives_255_and_a_report(void)
{
    for (int i = 0; i < 2; i++) {
        n_reports = 0;
        bki_spawn_old_kernel = i;
        CHECK_EQ(bk_run(reaped_elsewhere, NULL, &(bk_run_opts){.on_error = on_report}), 1255);
        CHECK_EQ(n_reports, 1);
        CHECK_STR(report_text, "a child was reaped by somebody else");
    }
    bki_spawn_old_kernel = false;
}

/* ---- Cancels ---- */

LOOP_TEST(C161_P1_cancel_of_a_wait_leaves_the_child)
{
    bk_process *p = NULL;
    CHECK_EQ(bk_process_shell(&p, "read x; exit 4", &(bk_process_opts){.in = BK_PIPE}), 0);
    bk_task *t = go(wait_code, p);
    bk_yield();
    bk_task_cancel(t);
    CHECK_EQ(result_of(&t), -ECANCELED);
    CHECK_EQ(bk_process_returncode(p, NULL), -EINPROGRESS);
    CHECK_EQ(bk_process_close_in(p), 0);
    CHECK_EQ(wait_code(p), 1004);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

static int start_and_wait(void *ctx)
{
    bk_process *p = NULL;
    pid_t *pid = ctx;
    int code, r = bk_process_shell(&p, "exec sleep 1000", NULL);
    if (r == 0)
        *pid = bk_process_pid(p);
    if (r == 0)
        r = bk_process_wait(p, &code);
    return bk_process_close(&p, r);
}

/* What was started is handed over although the cancel came meanwhile (as every call returns what
 * it has taken), and the plain way out of the function kills and reaps it; asyncio does that inside
 * the call. */
LOOP_TEST(C161_P1_differs_a_cancel_while_starting_shows_at_the_next_call)
{
    for (int turns = 0; turns < 3; turns++) {
        pid_t pid = 0;
        bk_task *t = go(start_and_wait, &pid);
        for (int i = 0; i < turns; i++)
            bk_yield();
        bk_task_cancel(t);
        CHECK_EQ(result_of(&t), -ECANCELED);
        if (pid)
            CHECK(kill(pid, 0) < 0 && errno == ESRCH);
        CHECK_EQ(n_children(), 0);
    }
}

static int close_in_task(void *ctx)
{
    return bk_process_close(ctx, 0);
}

LOOP_TEST(P1_close_waits_for_the_child_and_kills_it_when_cancelled)
{
    bk_process *p = NULL;
    CHECK_EQ(bk_process_shell(&p, "exec sleep 1000", NULL), 0);
    pid_t pid = bk_process_pid(p);
    bk_task *t = go(close_in_task, &p);
    bk_yield();
    bk_yield();
    CHECK(!bk_task_done(t));
    CHECK_EQ(kill(pid, 0), 0);
    bk_task_cancel(t);
    CHECK_EQ(result_of(&t), -ECANCELED);
    CHECK(!p);
    CHECK_EQ(n_children(), 0);
}

LOOP_TEST(P1_stop_asks_first_and_kills_after_a_while)
{
    bk_process *p = NULL;
    bk_span line;
    int code = 0;
    CHECK_EQ(
        bk_process_shell(&p, "trap 'exit 9' TERM; echo; while :; do sleep 0.01; done", &out_piped),
        0);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 1);
    CHECK_EQ(bk_process_stop(p, bk_forever(), &code), 0);
    CHECK_EQ(code, 9);
    CHECK_EQ(bk_process_close(&p, 0), 0);

    CHECK_EQ(bk_process_shell(&p, "trap '' TERM; echo; exec sleep 1000", &out_piped), 0);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 1);
    CHECK_EQ(bk_process_stop(p, bk_seconds(2), &code), 0);
    CHECK_EQ(code, -SIGKILL);
    CHECK_EQ(bk_process_stop(p, bk_seconds(2), &code), 0);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(P1_signals_reach_the_whole_group)
{
    bk_process *p = NULL;
    bk_span line;
    CHECK_EQ(bk_process_shell(&p, "sleep 1000 & sleep 1000 & echo; wait",
                              &(bk_process_opts){.out = BK_PIPE, .new_group = true}),
             0);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 1);
    CHECK_EQ(bk_process_kill(p), 0);
    CHECK_EQ(bk_stream_read_line(bk_process_out(p), &line), 0); /* all who had the pipe are gone */
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

/* ---- The end of the run ---- */

static bk_process *left;

static int leave_a_child(void *ctx)
{
    pid_t *pid = ctx;
    int r = bk_process_shell(&left, "exec sleep 1000", &all_piped);
    if (r == 0)
        *pid = bk_process_pid(left);
    if (r == 0)
        r = bk_stream_write(bk_process_in(left), "unread", 6);
    return r;
}

static void C159_P1_a_child_left_at_the_end_of_the_run_is_killed_and_reaped(void)
{
    for (int i = 0; i < 2; i++) {
        pid_t pid = 0;
        int code = 0, fds = n_open_fds();
        bki_spawn_old_kernel = i;
        CHECK_EQ(bk_run(leave_a_child, &pid, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}), 0);
        CHECK(kill(pid, 0) < 0 && errno == ESRCH);
        CHECK_EQ(n_open_fds(), fds);
        CHECK_EQ(bk_process_returncode(left, &code), 0);
        CHECK_EQ(code, -SIGKILL);
        CHECK_EQ(bk_process_kill(left), 0);
        CHECK_EQ(bk_process_close(&left, 0), 0);
    }
    bki_spawn_old_kernel = false;
}

static int detach_a_child(void *ctx)
{
    pid_t *pid = ctx;
    bk_process *p = NULL;
    int r = bk_process_shell(&p, "exec sleep 1000", &all_piped);
    if (r == 0)
        *pid = bk_process_pid(p);
    bk_process_detach(&p);
    return r < 0 ? r : p != NULL;
}

static void P1_a_detached_child_outlives_the_run(void)
{
    for (int i = 0; i < 2; i++) {
        pid_t pid = 0;
        int fds = n_open_fds();
        bki_spawn_old_kernel = i;
        CHECK_EQ(bk_run(detach_a_child, &pid, NULL), 0);
        CHECK_EQ(kill(pid, 0), 0);
        CHECK_EQ(n_open_fds(), fds);
        kill(pid, SIGKILL);
        CHECK_EQ(waitpid(pid, NULL, 0), pid);
    }
    bki_spawn_old_kernel = false;
}

LOOP_TEST(P1_a_detached_child_is_reaped_while_the_run_goes_on)
{
    bk_process *p = NULL;
    CHECK_EQ(bk_process_shell(&p, "exec sleep 1000", NULL), 0);
    pid_t pid = bk_process_pid(p);
    bk_process_detach(&p);
    kill(pid, SIGKILL);
    while (kill(pid, 0) == 0)
        bk_sleep(bk_ms(1));
    CHECK_EQ(n_children(), 0);
}

CHECK_MAIN(TEST(P1_exec_runs_a_program_with_its_arguments), TEST(P1_shell_runs_a_command_line),
           TEST(C157_a_missing_program_is_an_error_at_once_and_no_zombie),
           TEST(P1_wrong_options_are_told), TEST(P1_environment_and_directory),
           TEST(P1_the_path_of_the_given_environment_is_searched),
           TEST(P1_each_stream_may_be_a_pipe_nothing_the_others_or_a_descriptor),
           TEST(P1_standard_streams_may_be_crossed),
           TEST(P1_pipes_get_numbers_that_standard_streams_had),
           TEST(C159_P1_only_wanted_descriptors_are_inherited),
           TEST(C159_P1_only_wanted_descriptors_are_inherited_without_close_range),
           TEST(P1_signals_are_as_a_program_expects_them),
           TEST(P1_a_group_and_a_session_of_its_own),
           TEST(C156_P1_wait_by_several_tasks_all_return),
           TEST(C156_P1_wait_by_several_tasks_without_process_descriptors),
           TEST(C156_P1_the_code_of_a_signal_is_negative),
           TEST(P1_signals_to_a_dead_child_are_harmless), TEST(C158_output_outlives_the_child),
           TEST(P1_wait_does_not_wait_for_whoever_has_inherited_a_pipe),
           TEST(C160_P1_two_children_that_end_at_once_are_both_reaped),
           TEST(C160_P1_a_child_reaped_elsewhere_gives_255_and_a_report),
           TEST(C161_P1_cancel_of_a_wait_leaves_the_child),
           TEST(C161_P1_differs_a_cancel_while_starting_shows_at_the_next_call),
           TEST(P1_close_waits_for_the_child_and_kills_it_when_cancelled),
           TEST(P1_stop_asks_first_and_kills_after_a_while), TEST(P1_signals_reach_the_whole_group),
           TEST(C159_P1_a_child_left_at_the_end_of_the_run_is_killed_and_reaped),
           TEST(P1_a_detached_child_outlives_the_run),
           TEST(P1_a_detached_child_is_reaped_while_the_run_goes_on))
