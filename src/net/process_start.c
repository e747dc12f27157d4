/* SPDX-License-Identifier: MIT
 * Starting a child process: pipes and streams here, the start itself on a thread. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <beck/thread.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "net/process.h"
#include "net/spawn.h"

extern char **environ;

struct start {
    struct bk_process *process;
    const bk_process_opts *opts;
    struct bki_spawn spawn;
    int theirs[3]; /* descriptors made for the child, closed when it has them; -1 */
};

static int check_opts(const char *const argv[], const bk_process_opts *opts)
{
    if (!argv || !argv[0] || !argv[0][0])
        return bk_fail(-EINVAL, "a process needs a program");
    if (opts->in < BK_DEVNULL || opts->out < BK_DEVNULL || opts->err < BK_DEVNULL)
        return bk_fail(-EINVAL, "a standard stream is one of enum bk_stdio, or a descriptor");
    if (opts->in == BK_STDOUT || opts->out == BK_STDOUT)
        return bk_fail(-EINVAL, "BK_STDOUT is for the standard error");
    for (size_t i = 0; i < opts->n_pass_fds; i++)
        if (opts->pass_fds[i] <= STDERR_FILENO)
            return bk_fail(-EINVAL, "pass_fds: %d is not above 2", opts->pass_fds[i]);
    return 0;
}

/* ---- The three streams ---- */

/* A pipe with our end as a stream; returns the child's. */
static int open_pipe(struct start *s, int number, bk_stream **stream)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return bki_fail_errno(errno, "pipe");
    int ours = fds[number == STDIN_FILENO ? 1 : 0], theirs = fds[number == STDIN_FILENO ? 0 : 1];
    int r = 0;
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0) /* the other end is an open file of its own */
        r = bki_fail_errno(errno, "pipe");
    if (r == 0)
        r = bk_stream_from_fd(stream, ours, &s->opts->stream);
    if (r < 0) {
        close(ours);
        close(theirs);
        return r;
    }
    return theirs;
}

static int open_stdio(struct start *s, int number, int choice, bk_stream **stream)
{
    int fd = choice;
    switch (choice) {
    case BK_INHERIT:
        fd = number;
        break;
    case BK_STDOUT:
        fd = s->spawn.stdio[STDOUT_FILENO];
        break;
    case BK_PIPE:
        fd = s->theirs[number] = open_pipe(s, number, stream);
        break;
    case BK_DEVNULL:
        fd = s->theirs[number] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            fd = bki_fail_errno(errno, "/dev/null");
        break;
    }
    s->spawn.stdio[number] = fd;
    return fd < 0 ? fd : 0;
}

static int open_all(struct start *s)
{
    struct bk_process *p = s->process;
    int r = open_stdio(s, STDIN_FILENO, s->opts->in, &p->in);
    if (r == 0)
        r = open_stdio(s, STDOUT_FILENO, s->opts->out, &p->out);
    if (r == 0)
        r = open_stdio(s, STDERR_FILENO, s->opts->err, &p->err);
    return r;
}

static void close_theirs(struct start *s)
{
    for (int i = 0; i < 3; i++)
        if (s->theirs[i] >= 0)
            close(s->theirs[i]);
}

/* ---- The start ---- */

static int spawn_on_thread(void *ctx)
{
    struct start *s = ctx;
    return bki_spawn(&s->spawn);
}

/* It has just begun, and nobody knows it. */
static void discard(const struct bki_spawn *spawn)
{
    kill(spawn->pid, SIGKILL);
    while (waitpid(spawn->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (spawn->pidfd >= 0)
        close(spawn->pidfd);
}

static int start(struct start *s)
{
    int r = bk_to_thread(spawn_on_thread, s, NULL);
    if (r < 0)
        return r;
    s->process->pid = s->spawn.pid;
    r = bki_process_watch(s->process, s->spawn.pidfd);
    if (r < 0)
        discard(&s->spawn);
    return r;
}

int bk_process_exec(bk_process **out, const char *const argv[], const bk_process_opts *opts)
{
    static const bk_process_opts defaults;
    opts = opts ? opts : &defaults;
    int r = bki_check_cancel();
    if (r == 0)
        r = check_opts(argv, opts);
    if (r < 0)
        return r;
    struct bk_process *p = bki_zalloc(sizeof *p);
    if (!p)
        return bk_fail(-ENOMEM, "no memory for a process");
    p->loop = bki_loop;
    p->owned = true;
    p->is_group = opts->new_group || opts->new_session;
    struct start s = {
        .process = p,
        .opts = opts,
        .theirs = {-1, -1, -1},
        .spawn = {.argv = argv,
                  .env = opts->env ? opts->env : (const char *const *)environ,
                  .cwd = opts->cwd,
                  .pass_fds = opts->pass_fds,
                  .n_pass_fds = opts->n_pass_fds,
                  .new_group = opts->new_group,
                  .new_session = opts->new_session},
    };
    r = open_all(&s);
    if (r == 0)
        r = start(&s);
    close_theirs(&s);
    if (r < 0) {
        bki_process_close_pipes(p);
        bki_free(p);
        return r;
    }
    *out = p;
    return 0;
}

int bk_process_shell(bk_process **out, const char *command, const bk_process_opts *opts)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    if (!command)
        return bk_fail(-EINVAL, "a shell needs a command");
    return bk_process_exec(out, argv, opts);
}
