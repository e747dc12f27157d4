/* SPDX-License-Identifier: MIT
 * The connector "exec:": the lines a command prints, or lines for a command to read.
 *
 * The command runs under /bin/sh in a process group of its own, so that Ctrl-C reaches beck alone,
 * which then ends the command in order.  A status other than zero is a failure of the flow. */
#include <beck/process.h>

#include "base/alloc.h"
#include "connectors/line_sink.h"
#include "connectors/lines.h"

#define LOOK_MS 20       /* how often a command that is waited for may be found unwanted */
#define PATIENCE_MS 2000 /* from SIGTERM to SIGKILL */

/* ---- The command ---- */

struct command {
    char *line;
    bk_process *process;
};

static int start(struct command *c, const bk_process_opts *opts)
{
    return bk_process_shell(&c->process, c->line, opts);
}

static int code_result(const struct command *c, int code)
{
    if (code == 127)
        return bk_fail(-ENOENT, "'%.100s' ended with status 127: no such command?", c->line);
    if (code > 0)
        return bk_fail(-EIO, "'%.100s' ended with status %d", c->line, code);
    if (code < 0)
        return bk_fail(-EIO, "'%.100s' was killed by signal %d", c->line, -code);
    return 0;
}

static int wait_for_end(void *ctx)
{
    return bk_process_wait(ctx, NULL);
}

/* Waits for the end of the command, which has no pipe any more; once unwanted(port) it is told to
 * end, and its status does not matter. */
static int finish(struct command *c, bool (*unwanted)(const struct bki_port *port),
                  const struct bki_port *port)
{
    bool stopped = false;
    int code = 0, r = c->process ? -ETIMEDOUT : 0;
    while (r == -ETIMEDOUT) {
        stopped = unwanted(port);
        if (stopped)
            r = bk_process_stop(c->process, bk_ms(PATIENCE_MS), NULL);
        else
            r = bk_wait_for(wait_for_end, c->process, bk_ms(LOOK_MS));
    }
    if (r == 0 && c->process && !stopped)
        r = bk_process_returncode(c->process, &code);
    r = bk_process_close(&c->process, r);
    return r < 0 ? r : code_result(c, code);
}

/* ---- Source ---- */

struct source {
    struct command command;
    struct bki_lines lines;
    struct bki_port *port;
    bool ended;
};

static ssize_t read_output(void *ctx, char *buf, size_t len)
{
    struct source *s = ctx;
    ssize_t n = bk_stream_read(bk_process_out(s->command.process), buf, len);
    s->ended = n == 0;
    return n;
}

static int source_open(void *self, struct bki_port *port)
{
    struct source *s = self;
    s->port = port;
    return start(&s->command,
                 &(bk_process_opts){.in = BK_DEVNULL, .out = BK_PIPE, .new_group = true});
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
    int r = start(&s->command, &(bk_process_opts){.in = BK_PIPE, .new_group = true});
    if (r == 0)
        s->lines.bytes.stream = bk_process_in(s->command.process);
    return r;
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
    s->lines.bytes = (struct bki_bytes)BKI_BYTES_CLOSED; /* it is the process's */
    int closed = r < 0 || !s->command.process ? r : bk_process_close_in(s->command.process);
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
