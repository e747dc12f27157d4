/* SPDX-License-Identifier: MIT
 * Sweeps over flows of lines: from standard input, to standard output, into commands, and from
 * files that grow.  What counts as stored has been written, in order and in whole lines, and once
 * it is over the same flow gets through. */
#include <beck/stream.h>

#include "tests/sweep_flow.h"

enum { LINES = 6, LONG = 1500 /* three are more than the pipe holds */ };

struct lines {
    struct sweep_flow flow;
    char in[64], out[64], fresh[64]; /* files */
    char url[128];
    int input, output; /* the process's own standard input or output, set aside; or -1 */
    int far_end;       /* of the pipe that is standard output instead; or -1 */
    bool endless;      /* the input */
    bk_task *peer;     /* reads that, or writes to a file */
    char text[LINES * LONG + LONG]; /* what was written */
    size_t len;
};

/* ---- Files, past the shim ---- */

static int write_lines(const char *path, int flags, int from, int to)
{
    char text[16 * LINES];
    int len = 0;
    for (int i = from; i <= to; i++)
        len += snprintf(text + len, sizeof text - (size_t)len, "%d\n", i);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return -errno;
    int r = syscall(SYS_write, fd, text, len) == len ? 0 : -EIO;
    close(fd);
    return r;
}

static void read_back(struct lines *l, const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? 0 : syscall(SYS_read, fd, l->text, sizeof l->text);
    l->len = n > 0 ? (size_t)n : 0;
    if (fd >= 0)
        close(fd);
}

/* Numbers, each on a line with whatever stands after it: 1, 2, 3...  Returns how many. */
static int whole_lines(const struct lines *l)
{
    int n = 0;
    for (const char *p = l->text, *end = l->text + l->len, *nl;
         (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) {
        int number = (int)strtol(p, NULL, 10);
        n++;
        if (number != n || (size_t)(nl - p) != strlen(l->flow.after) + 1)
            sweep_lost("line %d has %d bytes and begins with %d", n, (int)(nl - p), number);
    }
    return n;
}

/* ---- Standard input and output ---- */

static int move_std(int std, int fd)
{
    int kept = (int)syscall(SYS_fcntl, std, F_DUPFD_CLOEXEC, 3);
    if (kept >= 0)
        syscall(SYS_dup3, fd, std, 0);
    syscall(SYS_close, fd);
    return kept;
}

static void put_back(int std, int *kept)
{
    if (*kept >= 0) {
        syscall(SYS_dup3, *kept, std, 0);
        syscall(SYS_close, *kept);
    }
    *kept = -1;
}

static void begin(struct lines *l, const char *after)
{
    l->input = l->output = l->far_end = -1;
    l->flow.n_items = LINES;
    l->flow.after = after;
    snprintf(l->in, sizeof l->in, "%s/beck-sweep-%d.in", sweep_place(), (int)getpid());
    snprintf(l->out, sizeof l->out, "%s/beck-sweep-%d.out", sweep_place(), (int)getpid());
    snprintf(l->fresh, sizeof l->fresh, "%s/beck-sweep-%d.new", sweep_place(), (int)getpid());
}

static int fill_input(struct lines *l)
{
    static const char text[] = "1\n2\n3\n4\n5\n6\n";
    int fds[2];
    put_back(0, &l->input);
    if (syscall(SYS_pipe2, fds, O_CLOEXEC) < 0)
        return -errno;
    long n = syscall(SYS_write, fds[1], text, sizeof text - 1);
    if (l->endless)
        l->far_end = fds[1];
    else
        syscall(SYS_close, fds[1]);
    l->input = move_std(0, fds[0]);
    return n == sizeof text - 1 && l->input >= 0 ? 0 : -EIO;
}

/* Whose writer goes on. */
static int open_endless_input(void *ctx)
{
    struct lines *l = ctx;
    begin(l, "");
    l->endless = true;
    return fill_input(l);
}

static int open_input(void *ctx)
{
    struct lines *l = ctx;
    begin(l, "");
    return fill_input(l);
}

static int read_output(void *ctx)
{
    struct lines *l = ctx;
    bk_stream *stream = NULL;
    int fd = l->far_end;
    l->far_end = -1;
    int r = bk_stream_from_fd(&stream, fd, NULL);
    if (r < 0)
        syscall(SYS_close, fd);
    while (r == 0 && l->len < sizeof l->text) {
        ssize_t n = bk_stream_read(stream, l->text + l->len, 1000);
        if (n <= 0)
            break;
        l->len += (size_t)n;
    }
    return bk_stream_close(&stream, r);
}

/* A pipe of a page, and somebody at its far end. */
static int open_pipe(struct lines *l)
{
    int fds[2];
    if (syscall(SYS_pipe2, fds, O_CLOEXEC) < 0)
        return -errno;
    syscall(SYS_fcntl, fds[1], F_SETPIPE_SZ, 4096);
    l->far_end = fds[0];
    l->output = move_std(1, fds[1]);
    l->len = 0;
    return l->output < 0 ? -EMFILE : bk_go(&l->peer, read_output, l, NULL);
}

static int open_output(void *ctx)
{
    static char after[LONG];
    memset(after, 'x', sizeof after - 1);
    begin(ctx, after);
    return open_pipe(ctx);
}

/* What was written has been read. */
static void end_output(struct lines *l)
{
    put_back(1, &l->output);
    if (l->peer)
        (void)bk_task_wait(l->peer, NULL);
    bk_task_free(&l->peer);
}

static void close_lines(void *ctx)
{
    struct lines *l = ctx;
    put_back(0, &l->input);
    if (l->peer)
        bk_task_cancel(l->peer);
    end_output(l);
    if (l->far_end >= 0)
        close(l->far_end);
    bk_flow_free(&l->flow.flow);
    unlink(l->in);
    unlink(l->out);
    unlink(l->fresh);
}

static int from_input(void *ctx)
{
    struct lines *l = ctx;
    return sweep_flow_run(&l->flow, "-", NULL);
}

/* Once an item is there: the source stops, and what it has taken in already still comes. */
static int drain(void *ctx)
{
    struct lines *l = ctx;
    while (l->flow.n_got == 0)
        if (bk_sleep(bk_ms(1)) == -ECANCELED)
            return -ECANCELED;
    if (l->flow.flow)
        bk_flow_drain(l->flow.flow);
    return 0;
}

/* The lines that had come when the flow was drained. */
static void drained_in_order(void *ctx, int result)
{
    struct lines *l = ctx;
    sweep_calm();
    sweep_flow_end(&l->flow);
    l->flow.n_items = l->flow.n_got;
    sweep_flow_got_in_order(&l->flow, result);
    if (result == 0 && l->flow.stats.lost > 0)
        sweep_lost("%d lines are lost", (int)l->flow.stats.lost);
    if (result == 0 && l->flow.stats.received != LINES)
        sweep_lost("of %d lines %d came", LINES, (int)l->flow.stats.received);
}

static void read_in_order(void *ctx, int result)
{
    struct lines *l = ctx;
    sweep_calm();
    sweep_flow_end(&l->flow);
    sweep_flow_got_in_order(&l->flow, result);
    int r = fill_input(l);
    if (r == 0)
        r = from_input(l);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&l->flow);
    sweep_flow_got_in_order(&l->flow, r);
}

static int into_output(void *ctx)
{
    struct lines *l = ctx;
    return sweep_flow_run(&l->flow, NULL, "-");
}

/* result: of the flow that has written l->text. */
static void lines_are_there(struct lines *l, int result)
{
    int n = whole_lines(l), stored = (int)l->flow.stats.stored;
    if (n < stored)
        sweep_lost("%d lines are stored, and %d are there", stored, n);
    if (result == 0 && stored != LINES)
        sweep_lost("of %d lines %d are stored", LINES, stored);
}

static void written_in_order(void *ctx, int result)
{
    struct lines *l = ctx;
    sweep_calm();
    sweep_flow_end(&l->flow);
    end_output(l);
    /* If the reader was struck, nobody reads, which is no failure. */
    if (!sweep_excused())
        lines_are_there(l, result);
    int r = open_pipe(l);
    if (r == 0)
        r = into_output(l);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&l->flow);
    end_output(l);
    lines_are_there(l, r);
}

/* ---- Commands ---- */

static int open_command(void *ctx)
{
    struct lines *l = ctx;
    begin(l, "");
    snprintf(l->url, sizeof l->url, "exec:cat >%s", l->out);
    return 0;
}

static int open_failing_command(void *ctx)
{
    struct lines *l = ctx;
    begin(l, "");
    snprintf(l->url, sizeof l->url, "exec:cat >%s; exit 3", l->out);
    return 0;
}

static int into_url(void *ctx)
{
    struct lines *l = ctx;
    return sweep_flow_run(&l->flow, NULL, l->url);
}

/* A command that is stopped has perhaps not read all that was written. */
static void read_by_command(void *ctx, int result)
{
    struct lines *l = ctx;
    sweep_calm();
    sweep_flow_end(&l->flow);
    read_back(l, l->out);
    if (result == 0 || result == -EIO)
        lines_are_there(l, result);
    else
        (void)whole_lines(l);
    int r = into_url(l);
    if (r < 0 && r != -EIO)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&l->flow);
    read_back(l, l->out);
    lines_are_there(l, 0);
}

/* ---- Files ---- */

/* Lines 1 and 2 are there; 3 and 4 are appended, 5 and 6 stand in a file that takes its place.  No
 * memory for a sleep is no reason not to write. */
static int grow(void *ctx)
{
    struct lines *l = ctx;
    int r = bk_sleep(bk_ms(150));
    if (r != -ECANCELED)
        r = write_lines(l->in, O_APPEND, 3, 4);
    if (r == 0)
        r = bk_sleep(bk_ms(300));
    if (r != -ECANCELED)
        r = write_lines(l->fresh, O_TRUNC, 5, 6);
    if (r == 0 && syscall(SYS_renameat2, AT_FDCWD, l->fresh, AT_FDCWD, l->in, 0) < 0)
        r = -errno;
    return r;
}

static int start_growing(struct lines *l)
{
    int r = write_lines(l->in, O_TRUNC, 1, 2);
    return r < 0 ? r : bk_go(&l->peer, grow, l, NULL);
}

static int open_growing(void *ctx)
{
    struct lines *l = ctx;
    begin(l, "");
    l->flow.take = LINES;
    snprintf(l->url, sizeof l->url, "file:%s?follow", l->in);
    return start_growing(l);
}

static void stop_growing(struct lines *l)
{
    if (l->peer) {
        bk_task_cancel(l->peer);
        (void)bk_task_wait(l->peer, NULL);
    }
    bk_task_free(&l->peer);
}

static int from_url(void *ctx)
{
    struct lines *l = ctx;
    return sweep_flow_run(&l->flow, l->url, NULL);
}

static void followed_in_order(void *ctx, int result)
{
    struct lines *l = ctx;
    sweep_calm();
    sweep_flow_end(&l->flow);
    sweep_flow_got_in_order(&l->flow, result);
    stop_growing(l);
    int r = start_growing(l);
    if (r == 0)
        r = from_url(l);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&l->flow);
    sweep_flow_got_in_order(&l->flow, r);
}

static int open_synced(void *ctx)
{
    struct lines *l = ctx;
    begin(l, "");
    l->flow.limit = 2;
    snprintf(l->url, sizeof l->url, "file:%s?truncate&sync", l->out);
    return 0;
}

/* A line that could not be written wholly is taken away again. */
static void synced_in_order(void *ctx, int result)
{
    struct lines *l = ctx;
    sweep_calm();
    sweep_flow_end(&l->flow);
    read_back(l, l->out);
    lines_are_there(l, result);
    if (l->len > 0 && l->text[l->len - 1] != '\n')
        sweep_lost("the last line is torn");
    int r = into_url(l);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&l->flow);
    read_back(l, l->out);
    lines_are_there(l, r);
}

#define FLOW(opens, runs, checks)                                                                  \
    .state_size = sizeof(struct lines), .open = opens, .close = close_lines, .subject = runs,      \
    .check = checks, .blame_elsewhere = true

static const struct sweep_scenario scenarios[] = {
    {.name = "flow from standard input", FLOW(open_input, from_input, read_in_order)},
    {.name = "flow from standard input, drained",
     FLOW(open_endless_input, from_input, drained_in_order),
     .helpers = {drain}},
    {.name = "flow into standard output", FLOW(open_output, into_output, written_in_order)},
    {.name = "flow into a command", FLOW(open_command, into_url, read_by_command), .patient = true},
    {.name = "flow into a command that fails",
     .want = -EIO,
     FLOW(open_failing_command, into_url, read_by_command),
     .patient = true},
    {.name = "flow from a growing file",
     FLOW(open_growing, from_url, followed_in_order),
     .patient = true},
    {.name = "flow into a file, synced",
     FLOW(open_synced, into_url, synced_in_order),
     .patient = true},
};

SWEEP_MAIN(scenarios)
