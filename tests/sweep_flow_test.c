/* SPDX-License-Identifier: MIT
 * Sweeps over flows: whatever strikes, every item that the source gave has ended in one way, and
 * the sink has what counts as stored; and over connectors, with their files and processes. */
#include <fcntl.h>

#include <beck/flow.h>

#include "tests/sweep.h"

enum { ITEMS = 8, LIKED = 6 };

struct mill {
    bk_flow *flow;
    char in[64], out[64]; /* files */
    int n_given, n_stored;
    int n_settled[ITEMS + 1];
};

static int give(void *ctx, bk_msg **msg)
{
    struct mill *m = ctx;
    if (m->n_given == ITEMS)
        return 0;
    int r = bk_yield();
    char digit = (char)('1' + m->n_given);
    if (r == 0)
        r = bk_msg_copy(msg, &digit, 1);
    if (r < 0)
        return r;
    m->n_given++;
    return 1;
}

static void settled(void *ctx, uint64_t n, enum bk_outcome outcome)
{
    struct mill *m = ctx;
    (void)outcome;
    m->n_settled[n]++;
}

/* Drops 3 and 8, and makes the others tens. */
static int work(void *ctx, bk_msg **msg)
{
    (void)ctx;
    char tens[2] = {bk_msg_data(*msg)[0], '0'};
    int r = bk_sleep(bk_ms(1 + tens[0] % 3));
    if (r < 0)
        return r;
    bk_msg_free(msg);
    return tens[0] == '3' || tens[0] == '8' ? 0 : bk_msg_copy(msg, tens, 2);
}

static int store(void *ctx, bk_msg **msg)
{
    struct mill *m = ctx;
    int r = bk_yield();
    if (r == 0 && (bk_msg_len(*msg) != 2 || bk_msg_data(*msg)[1] != '0'))
        sweep_lost("the sink gets %.*s", (int)bk_msg_len(*msg), bk_msg_data(*msg));
    m->n_stored += r == 0;
    return r;
}

static int build(struct mill *m)
{
    int r = bk_flow_new(&m->flow, &(bk_flow_opts){.limit = 4});
    if (r == 0)
        r = bk_flow_from_fn(m->flow, give, m, &(bk_source_opts){.settled = settled});
    if (r == 0)
        r = bk_flow_map(m->flow, work, m, &(bk_stage_opts){.parallel = 2, .ordered = true});
    return r < 0 ? r : bk_flow_to_fn(m->flow, store, m, NULL);
}

static int grind(void *ctx)
{
    struct mill *m = ctx;
    int r = build(m);
    return r < 0 ? r : bk_flow_run(m->flow);
}

/* jq takes its time to compile: few items. */
static int grind_as_told(void *ctx)
{
    struct mill *m = ctx;
    int r = bk_flow_new(&m->flow, NULL);
    if (r == 0)
        r = bk_flow_from_fn(m->flow, give, m, &(bk_source_opts){.settled = settled});
    if (r == 0)
        r = bk_flow_take(m->flow, 2);
    if (r == 0)
        r = bk_flow_where(m->flow, ". != 1");
    if (r == 0)
        r = bk_flow_jq(m->flow, ". * 10");
    if (r == 0)
        r = bk_flow_to_fn(m->flow, store, m, NULL);
    return r < 0 ? r : bk_flow_run(m->flow);
}

static bk_flow_stats balanced(const bk_flow *flow)
{
    bk_flow_stats s = {0};
    if (flow)
        bk_flow_stats_get(flow, &s);
    if (s.received != s.stored + s.dropped + s.failed + s.lost + s.returned || s.settle_errors)
        sweep_lost("%d items received, %d stored, %d dropped, %d failed, %d lost", (int)s.received,
                   (int)s.stored, (int)s.dropped, (int)s.failed, (int)s.lost);
    return s;
}

static void settled_once(const struct mill *m)
{
    for (int i = 1; i <= m->n_given; i++)
        if (m->n_settled[i] != 1)
            sweep_lost("item %d was settled %d times", i, m->n_settled[i]);
}

static void every_item_has_one_end(const struct mill *m)
{
    bk_flow_stats s = balanced(m->flow);
    if ((int)s.received != m->n_given || (int)s.stored != m->n_stored)
        sweep_lost("%d items given, %d stored; the flow says %d and %d", m->n_given, m->n_stored,
                   (int)s.received, (int)s.stored);
    settled_once(m);
}

static void all_liked_are_stored(void *ctx, int result)
{
    struct mill *m = ctx;
    every_item_has_one_end(m);
    if (result == 0 && (m->n_given != ITEMS || m->n_stored != LIKED))
        sweep_lost("of %d items %d are stored", m->n_given, m->n_stored);
}

static void one_of_two_is_stored(void *ctx, int result)
{
    struct mill *m = ctx;
    every_item_has_one_end(m);
    if (result == 0 && (m->n_given != 2 || m->n_stored != 1))
        sweep_lost("of %d items %d are stored", m->n_given, m->n_stored);
}

/* ---- Two sources into two sinks ---- */

struct crossing {
    bk_flow *flow;
    struct mill side[2];
};

static int keep(void *ctx, bk_msg **msg)
{
    struct mill *m = ctx;
    (void)msg;
    int r = bk_yield();
    m->n_stored += r == 0;
    return r;
}

static int cross(void *ctx)
{
    struct crossing *c = ctx;
    int r = bk_flow_new(&c->flow, &(bk_flow_opts){.limit = 3});
    for (int i = 0; i < 2 && r == 0; i++)
        r = bk_flow_from_fn(c->flow, give, &c->side[i], &(bk_source_opts){.settled = settled});
    for (int i = 0; i < 2 && r == 0; i++)
        r = bk_flow_to_fn(c->flow, keep, &c->side[i], NULL);
    return r < 0 ? r : bk_flow_run(c->flow);
}

static void both_have_all(void *ctx, int result)
{
    struct crossing *c = ctx;
    bk_flow_stats s = balanced(c->flow);
    for (int i = 0; i < 2; i++) {
        struct mill *m = &c->side[i];
        settled_once(m);
        if (m->n_stored < (int)s.stored || (result == 0 && m->n_stored != 2 * ITEMS))
            sweep_lost("%d items are stored, %d by sink %d", (int)s.stored, m->n_stored, i + 1);
    }
}

static void free_crossing(void *ctx)
{
    bk_flow_free(&((struct crossing *)ctx)->flow);
}

/* ---- From a file, or a command, into a file ---- */

static const char lines[] = "1\n2\n3\n4\n5\n6\n";

static int open_files(void *ctx)
{
    struct mill *m = ctx;
    snprintf(m->in, sizeof m->in, "/tmp/beck-sweep-%d.in", (int)getpid());
    snprintf(m->out, sizeof m->out, "/tmp/beck-sweep-%d.out", (int)getpid());
    int fd =
        (int)syscall(SYS_openat, AT_FDCWD, m->in, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_write, fd, lines, sizeof lines - 1) != sizeof lines - 1)
        return -errno;
    return close(fd);
}

static void close_files(void *ctx)
{
    struct mill *m = ctx;
    bk_flow_free(&m->flow);
    unlink(m->in);
    unlink(m->out);
}

static int copy_from(struct mill *m, const char *source)
{
    char sink[80];
    snprintf(sink, sizeof sink, "file:%s?truncate", m->out);
    int r = bk_flow_new(&m->flow, &(bk_flow_opts){.limit = 2});
    if (r == 0)
        r = bk_flow_from(m->flow, source);
    if (r == 0)
        r = bk_flow_to(m->flow, sink);
    return r < 0 ? r : bk_flow_run(m->flow);
}

static int copy_a_file(void *ctx)
{
    struct mill *m = ctx;
    char source[80];
    snprintf(source, sizeof source, "file:%s", m->in);
    return copy_from(m, source);
}

static int copy_what_a_command_says(void *ctx)
{
    struct mill *m = ctx;
    char source[80];
    snprintf(source, sizeof source, "exec:cat %s", m->in);
    return copy_from(m, source);
}

/* Whole lines in their order, and at least those that count as stored. */
static void stored_lines_are_there(void *ctx, int result)
{
    struct mill *m = ctx;
    bk_flow_stats s = balanced(m->flow);
    char text[sizeof lines] = "";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, m->out, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    if (n < 0 || n >= (long)sizeof lines || memcmp(text, lines, (size_t)n) != 0 ||
        (n % 2 == 1 && !sweep_excused()) || n / 2 < (long)s.stored)
        sweep_lost("%d lines stored, and the file has %ld bytes: %.20s", (int)s.stored, n, text);
    if (result == 0 && n != sizeof lines - 1)
        sweep_lost("the file has %ld bytes", n);
}

static void free_flow(void *ctx)
{
    bk_flow_free(&((struct mill *)ctx)->flow);
}

static const struct sweep_scenario scenarios[] = {
    {.name = "flow",
     .state_size = sizeof(struct mill),
     .close = free_flow,
     .subject = grind,
     .check = all_liked_are_stored},
    {.name = "flow with expressions",
     .state_size = sizeof(struct mill),
     .close = free_flow,
     .subject = grind_as_told,
     .check = one_of_two_is_stored},
    {.name = "flow of two into two",
     .state_size = sizeof(struct crossing),
     .close = free_crossing,
     .subject = cross,
     .check = both_have_all},
    {.name = "flow of a file",
     .state_size = sizeof(struct mill),
     .open = open_files,
     .close = close_files,
     .subject = copy_a_file,
     .check = stored_lines_are_there,
     .patient = true,
     .blame_elsewhere = true},
    {.name = "flow of a command",
     .state_size = sizeof(struct mill),
     .open = open_files,
     .close = close_files,
     .subject = copy_what_a_command_says,
     .check = stored_lines_are_there,
     .patient = true,
     .blame_elsewhere = true},
};

SWEEP_MAIN(scenarios)
