/* SPDX-License-Identifier: MIT
 * The connector "file:": the lines of a file, now or as they come; and lines appended to a file. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <beck/task.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "connectors/line_sink.h"
#include "connectors/lines.h"

#define POLL_MS 100 /* how often a followed file is looked at */

/* ---- Source ---- */

struct source {
    struct bki_lines lines;
    struct bki_bytes bytes;
    struct bki_port *port;
    char *path;
    uint64_t offset; /* of the next byte to read */
    bool follow, from_end;
    bool resync; /* in the middle of a line that began before us */
};

enum change { UNCHANGED, GREW, SHRANK, REPLACED };

struct looking {
    const struct source *source;
    enum change change;
};

/* Compares the open file with its path, as `tail -F` does.  A path that is gone for a moment is no
 * change. */
static int look(void *ctx)
{
    struct looking *l = ctx;
    struct stat ours, theirs;
    if (fstat(l->source->bytes.fd, &ours) < 0)
        return bki_fail_errno(errno, "fstat");
    l->change = UNCHANGED;
    if ((uint64_t)ours.st_size > l->source->offset)
        l->change = GREW;
    else if ((uint64_t)ours.st_size < l->source->offset)
        l->change = SHRANK;
    else if (stat(l->source->path, &theirs) == 0 &&
             (theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev))
        l->change = REPLACED;
    return 0;
}

static int open_again(struct source *s)
{
    struct bki_bytes fresh;
    int r = bki_bytes_open(&fresh, s->path, O_RDONLY, 0);
    if (r < 0)
        return r;
    (void)bki_bytes_close(&s->bytes, 0);
    s->bytes = fresh;
    s->offset = 0;
    s->resync = false;
    bki_port_event(s->port, BK_FLOW_NOTE, 0, "the file was replaced; reading the new one");
    return BKI_LINES_BREAK;
}

static int start_over(struct source *s)
{
    if (lseek(s->bytes.fd, 0, SEEK_SET) < 0)
        return bki_fail_errno(errno, "seek");
    s->offset = 0;
    s->resync = false;
    bki_port_event(s->port, BK_FLOW_NOTE, 0, "the file was truncated; reading from its start");
    return BKI_LINES_DROP;
}

/* At the end of a followed file: waits until there is more.  0, BKI_LINES_BREAK, BKI_LINES_DROP or
 * an error. */
static int wait_for_more(struct source *s)
{
    for (;;) {
        struct looking l = {.source = s};
        int r = bk_to_thread(look, &l, NULL);
        if (r < 0 || l.change == GREW)
            return r;
        if (l.change == SHRANK)
            return start_over(s);
        if (l.change == REPLACED) {
            r = open_again(s);
            if (r != -ENOENT)
                return r;
        }
        r = bk_sleep(bk_ms(POLL_MS));
        if (r < 0)
            return r;
    }
}

/* Drops the rest of a line whose start we have not seen; returns what is left of buf[0..n). */
static size_t drop_first_part(struct source *s, char *buf, size_t n)
{
    char *nl = memchr(buf, '\n', n);
    size_t skip = nl ? (size_t)(nl - buf) + 1 : n;
    s->resync = !nl;
    memmove(buf, buf + skip, n - skip);
    return n - skip;
}

static ssize_t read_file(void *ctx, char *buf, size_t len)
{
    struct source *s = ctx;
    for (;;) {
        ssize_t n = bki_bytes_read(&s->bytes, buf, len);
        if (n < 0)
            return n;
        s->offset += (uint64_t)n;
        if (n > 0 && s->resync)
            n = (ssize_t)drop_first_part(s, buf, (size_t)n);
        else if (n == 0 && !s->follow)
            return 0;
        if (n > 0)
            return n;
        int r = wait_for_more(s);
        if (r < 0)
            return r;
    }
}

static int seek_to_end(struct source *s)
{
    char before;
    off_t end = lseek(s->bytes.fd, 0, SEEK_END);
    if (end < 0)
        return bki_fail_errno(errno, "seek");
    s->offset = (uint64_t)end;
    s->resync = end > 0 && pread(s->bytes.fd, &before, 1, end - 1) == 1 && before != '\n';
    return 0;
}

static int source_open(void *self, struct bki_port *port)
{
    struct source *s = self;
    s->port = port;
    int r = bki_bytes_open(&s->bytes, s->path, O_RDONLY, 0);
    if (r == 0 && s->follow && s->bytes.fd < 0)
        r = bk_fail(-EINVAL, "only a regular file can be followed");
    if (r == 0 && s->from_end && s->bytes.fd >= 0)
        r = seek_to_end(s);
    if (r < 0)
        (void)bki_bytes_close(&s->bytes, r);
    return r;
}

static int source_next(void *self, bk_msg **msg)
{
    struct source *s = self;
    return bki_lines_next(&s->lines, msg);
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
    bki_free(s->path);
    bki_free(s);
}

static const struct bki_source_ops source_ops = {
    .source_class = BK_SOURCE_POSITION,
    .lines = true,
    .open = source_open,
    .next = source_next,
    .close = source_close,
    .dispose = source_dispose,
};

/* Item n is not line n when the start was skipped. */
static const struct bki_source_ops from_end_ops = {
    .source_class = BK_SOURCE_POSITION,
    .open = source_open,
    .next = source_next,
    .close = source_close,
    .dispose = source_dispose,
};

static int need_path(const struct bki_target *target)
{
    if (target->parts.host.data && target->parts.host.len > 0)
        return bk_fail(-BK_EURL, "file://%.*s/...: files are local; say file:PATH",
                       (int)target->parts.host.len, target->parts.host.data);
    if (!target->path[0])
        return bk_fail(-BK_EURL, "file: needs a path, as in file:trades.ndjson");
    return 0;
}

static int add_source(bk_flow *flow, const struct bki_target *target)
{
    static const char *const places[] = {"beginning", "end", NULL};
    int from;
    int r = need_path(target);
    if (r == 0)
        r = bki_target_choice(target, "from", places, 0, &from);
    if (r < 0)
        return r;
    struct source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a source");
    s->bytes = (struct bki_bytes)BKI_BYTES_CLOSED;
    s->follow = bki_target_flag(target, "follow");
    s->from_end = from == 1;
    s->path = bki_strdup(target->path);
    r = bki_lines_init(&s->lines, target);
    s->lines.read = read_file;
    s->lines.ctx = s;
    if (!s->path)
        r = bk_fail(-ENOMEM, "no memory for a path");
    if (r == 0)
        r = bki_flow_add_source(flow, s->from_end ? &from_end_ops : &source_ops, s, target->name);
    if (r < 0)
        source_dispose(s);
    return r;
}

/* ---- Sink ---- */

struct sink {
    struct bki_line_sink lines;
    char *path;
    bool truncate, sync;
};

static int sink_open(void *self, struct bki_port *port)
{
    (void)port;
    struct sink *s = self;
    int flags = O_WRONLY | O_CREAT | (s->truncate ? O_TRUNC : O_APPEND);
    return bki_bytes_open(&s->lines.bytes, s->path, flags, 0666);
}

struct cutting {
    int fd;
    off_t partial;
};

/* Takes the torn line at the end of the file away. */
static int cut(void *ctx)
{
    struct cutting *c = ctx;
    struct stat st;
    if (fstat(c->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= c->partial)
        return ftruncate(c->fd, st.st_size - c->partial);
    return 0;
}

static int sink_write(void *self, struct bki_batch *batch)
{
    struct sink *s = self;
    size_t partial;
    int r = bki_line_sink_write(&s->lines, batch, &partial);
    if (r < 0 && partial > 0 && s->lines.bytes.fd >= 0)
        (void)cut(&(struct cutting){s->lines.bytes.fd, (off_t)partial});
    if (r == 0 && s->sync)
        r = bki_bytes_sync(&s->lines.bytes);
    if (r < 0 && s->sync)
        batch->n_done = 0;
    return r;
}

static int sink_close(void *self, int r)
{
    struct sink *s = self;
    return bki_bytes_close(&s->lines.bytes, r);
}

static void sink_dispose(void *self)
{
    struct sink *s = self;
    bki_line_sink_free(&s->lines);
    bki_free(s->path);
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
    int r = need_path(target);
    if (r < 0)
        return r;
    struct sink *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a sink");
    bki_line_sink_init(&s->lines);
    s->truncate = bki_target_flag(target, "truncate");
    s->sync = bki_target_flag(target, "sync");
    s->path = bki_strdup(target->path);
    r = s->path ? bki_flow_add_sink(flow, &sink_ops, s, target->name, NULL)
                : bk_fail(-ENOMEM, "no memory for a path");
    if (r < 0)
        sink_dispose(s);
    return r;
}

const struct bki_connector bki_connector_file = {
    .info = {.scheme = "file",
             .usage = "file:PATH[?follow&from=end&pace=FIELD&speed=N&max=SIZE]  "
                      "sink: file:PATH[?truncate&sync]",
             .about = "The lines of a file, followed like `tail -F` or replayed at the pace of a "
                      "time field; as a sink, lines appended to it.",
             .source = true,
             .sink = true,
             .source_class = BK_SOURCE_POSITION},
    .options_in = BKI_OPTIONS_IN_QUERY,
    .source_options = (const char *const[]){"follow", "from", BKI_LINES_OPTIONS, NULL},
    .sink_options = (const char *const[]){"truncate", "sync", NULL},
    .add_source = add_source,
    .add_sink = add_sink,
};
