/* SPDX-License-Identifier: MIT
 * The connector "-": lines from standard input, lines to standard output. */
#include <unistd.h>

#include "base/alloc.h"
#include "connectors/line_sink.h"
#include "connectors/lines.h"

/* ---- Source ---- */

struct source {
    struct bki_lines lines;
    struct bki_bytes bytes;
};

static ssize_t read_input(void *ctx, char *buf, size_t len)
{
    struct source *s = ctx;
    return bki_bytes_read(&s->bytes, buf, len);
}

static int source_open(void *self, struct bki_port *port)
{
    (void)port;
    struct source *s = self;
    return bki_bytes_from_std(&s->bytes, STDIN_FILENO);
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

static int source_close(void *self, int r)
{
    struct source *s = self;
    return bki_bytes_close(&s->bytes, r);
}

static void source_dispose(void *self)
{
    struct source *s = self;
    bki_lines_free(&s->lines);
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

static int add_source(bk_flow *flow, const struct bki_target *target)
{
    struct source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a source");
    s->bytes = (struct bki_bytes)BKI_BYTES_CLOSED;
    int r = bki_lines_init(&s->lines, target);
    s->lines.read = read_input;
    s->lines.ctx = s;
    if (r == 0)
        r = bki_flow_add_source(flow, &source_ops, s, "stdin");
    if (r < 0)
        source_dispose(s);
    return r;
}

/* ---- Sink ---- */

static int sink_open(void *self, struct bki_port *port)
{
    (void)port;
    struct bki_line_sink *s = self;
    return bki_bytes_from_std(&s->bytes, STDOUT_FILENO);
}

static int sink_write(void *self, struct bki_batch *batch)
{
    size_t partial;
    int r = bki_line_sink_write(self, batch, &partial);
    return r == -EPIPE || r == -ECONNRESET ? BKI_SINK_LEFT : r;
}

static int sink_close(void *self, int r)
{
    struct bki_line_sink *s = self;
    r = bki_bytes_close(&s->bytes, r);
    return r == -EPIPE ? 0 : r;
}

static void sink_dispose(void *self)
{
    bki_line_sink_free(self);
    bki_free(self);
}

static const struct bki_sink_ops sink_ops = {
    .open = sink_open,
    .write = sink_write,
    .close = sink_close,
    .dispose = sink_dispose,
};

static int add_sink(bk_flow *flow, const struct bki_target *target)
{
    (void)target;
    struct bki_line_sink *s = bki_alloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a sink");
    bki_line_sink_init(s);
    int r = bki_flow_add_sink(flow, &sink_ops, s, "stdout", NULL);
    if (r < 0)
        sink_dispose(s);
    return r;
}

const struct bki_connector bki_connector_stdio = {
    .info = {.scheme = "-",
             .usage = "-",
             .about = "Lines from standard input, lines to standard output.",
             .source = true,
             .sink = true,
             .source_class = BK_SOURCE_NONE},
    .add_source = add_source,
    .add_sink = add_sink,
};
