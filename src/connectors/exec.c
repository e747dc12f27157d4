/* SPDX-License-Identifier: MIT
 * The connector "exec:": the lines a command prints, or lines for a command to read.
 *
 * The command runs under /bin/sh in a process group of its own, so that Ctrl-C reaches beck alone,
 * which then ends the command in order.  A status other than zero is a failure of the flow. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <beck/task.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "connectors/line_sink.h"
#include "connectors/lines.h"

#define POLL_MAX_MS 20   /* between two looks whether a command has ended */
#define PATIENCE_MS 2000 /* from SIGTERM to SIGKILL */

extern char **environ;

/* ---- The command ---- */

struct command {
    char *line;
    pid_t pid; /* 0: none running */
};

static int spawn(struct command *c, int child_fd, int target_fd)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    char *argv[] = {(char *)"sh", (char *)"-c", c->line, NULL};
    int err = posix_spawn_file_actions_init(&files);
    if (err)
        return bki_fail_errno(err, "cannot start a command");
    err = posix_spawnattr_init(&attr);
    if (err) {
        posix_spawn_file_actions_destroy(&files);
        return bki_fail_errno(err, "cannot start a command");
    }
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    if (target_fd == STDOUT_FILENO)
        err = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!err)
        err = posix_spawn_file_actions_adddup2(&files, child_fd, target_fd);
    if (!err)
        err = posix_spawn(&c->pid, "/bin/sh", &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    if (err) {
        c->pid = 0;
        return bki_fail_errno(err, "cannot start '%s'", c->line);
    }
    return 0;
}

/* Starts the command with a pipe to its standard input or from its standard output; *bytes is our
 * end. */
static int start(struct command *c, int target_fd, struct bki_bytes *bytes)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return bki_fail_errno(errno, "pipe");
    bool from_command = target_fd == STDOUT_FILENO;
    int theirs = pipe_fds[from_command ? 1 : 0], ours = pipe_fds[from_command ? 0 : 1];
    int r = spawn(c, theirs, target_fd);
    close(theirs);
    if (r < 0) {
        close(ours);
        return r;
    }
    return bki_bytes_from_fd(bytes, ours);
}

static int status_result(const struct command *c, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return bk_fail(-ENOENT, "'%.100s' ended with status 127: no such command?", c->line);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return bk_fail(-EIO, "'%.100s' ended with status %d", c->line, WEXITSTATUS(status));
    if (WIFSIGNALED(status))
        return bk_fail(-EIO, "'%.100s' was killed by signal %d", c->line, WTERMSIG(status));
    return 0;
}

/* Waits for the end of the command, whose pipe is closed; once unwanted(port) it is told to end. */
static int finish(struct command *c, bool (*unwanted)(const struct bki_port *port),
                  const struct bki_port *port)
{
    int status = 0, waited_ms = 0, step_ms = 1;
    bool terminated = false, killed = false;
    pid_t pid = c->pid;
    if (pid == 0)
        return 0;
    c->pid = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (!terminated && unwanted(port)) {
            kill(-pid, SIGTERM);
            terminated = true;
            waited_ms = 0;
        } else if (terminated && !killed && waited_ms > PATIENCE_MS) {
            kill(-pid, SIGKILL);
            killed = true;
        }
        (void)bk_sleep(bk_ms(step_ms));
        waited_ms += step_ms;
        step_ms = step_ms * 2 < POLL_MAX_MS ? step_ms * 2 : POLL_MAX_MS;
    }
    return terminated ? 0 : status_result(c, status);
}

/* ---- Source ---- */

struct source {
    struct command command;
    struct bki_lines lines;
    struct bki_bytes bytes;
    struct bki_port *port;
    bool ended;
};

static ssize_t read_output(void *ctx, char *buf, size_t len)
{
    struct source *s = ctx;
    ssize_t n = bki_bytes_read(&s->bytes, buf, len);
    s->ended = n == 0;
    return n;
}

static int source_open(void *self, struct bki_port *port)
{
    struct source *s = self;
    s->port = port;
    return start(&s->command, STDOUT_FILENO, &s->bytes);
}

static int source_next(void *self, bk_msg **msg)
{
    struct source *s = self;
    return bki_lines_next(&s->lines, msg);
}

static void source_drain(void *self)
{
    struct source *s = self;
    s->lines.draining = true;
}

static bool always(const struct bki_port *port)
{
    (void)port;
    return true;
}

static int source_close(void *self, int r)
{
    struct source *s = self;
    (void)bki_bytes_close(&s->bytes, r);
    int ended = finish(&s->command, s->ended ? bki_port_draining : always, s->port);
    return r < 0 ? r : ended;
}

static void source_dispose(void *self)
{
    struct source *s = self;
    bki_lines_free(&s->lines);
    bki_free(s->command.line);
    bki_free(s);
}

static const struct bki_source_ops source_ops = {
    .source_class = BK_SOURCE_NONE,
    .lines = true,
    .open = source_open,
    .next = source_next,
    .drain = source_drain,
    .close = source_close,
    .dispose = source_dispose,
};

static int command_line(const struct bki_target *target, char **out)
{
    bk_span rest = target->parts.rest;
    if (rest.len == 0)
        return bk_fail(-BK_EURL, "exec: needs a command, as in 'exec:tail -f log'");
    *out = bki_strndup(rest.data, rest.len);
    return *out ? 0 : bk_fail(-ENOMEM, "no memory for a command");
}

static int add_source(bk_flow *flow, const struct bki_target *target)
{
    struct source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a source");
    s->bytes = (struct bki_bytes)BKI_BYTES_CLOSED;
    int r = bki_lines_init(&s->lines, target);
    s->lines.read = read_output;
    s->lines.ctx = s;
    if (r == 0)
        r = command_line(target, &s->command.line);
    if (r == 0)
        r = bki_flow_add_source(flow, &source_ops, s, target->name);
    if (r < 0)
        source_dispose(s);
    return r;
}

/* ---- Sink ---- */

struct sink {
    struct command command;
    struct bki_line_sink lines;
    struct bki_port *port;
};

static int sink_open(void *self, struct bki_port *port)
{
    struct sink *s = self;
    s->port = port;
    return start(&s->command, STDIN_FILENO, &s->lines.bytes);
}

static int sink_write(void *self, struct bki_batch *batch)
{
    struct sink *s = self;
    size_t partial;
    int r = bki_line_sink_write(&s->lines, batch, &partial);
    if (r == -EPIPE)
        return bk_fail(-EPIPE, "'%.100s' has stopped reading", s->command.line);
    return r;
}

static int sink_close(void *self, int r)
{
    struct sink *s = self;
    int closed = bki_bytes_close(&s->lines.bytes, r);
    /* After the last line the command is given the time it needs, also when the flow drains. */
    int ended = finish(&s->command, r < 0 ? always : bki_port_aborting, s->port);
    return closed < 0 ? closed : ended;
}

static void sink_dispose(void *self)
{
    struct sink *s = self;
    bki_line_sink_free(&s->lines);
    bki_free(s->command.line);
    bki_free(s);
}

static const struct bki_sink_ops sink_ops = {
    .open = sink_open,
    .write = sink_write,
    .close = sink_close,
    .dispose = sink_dispose,
};

static int add_sink(bk_flow *flow, const struct bki_target *target)
{
    struct sink *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a sink");
    bki_line_sink_init(&s->lines);
    int r = command_line(target, &s->command.line);
    if (r == 0)
        r = bki_flow_add_sink(flow, &sink_ops, s, target->name, NULL);
    if (r < 0)
        sink_dispose(s);
    return r;
}

const struct bki_connector bki_connector_exec = {
    .info = {.scheme = "exec",
             .usage = "exec:COMMAND",
             .about = "The lines that a shell command prints; as a sink, lines for it to read.",
             .source = true,
             .sink = true,
             .source_class = BK_SOURCE_NONE},
    .options_in = BKI_NO_OPTIONS,
    .add_source = add_source,
    .add_sink = add_sink,
};
