/* SPDX-License-Identifier: MIT
 * For the connectors' tests: runs a flow of URLs on virtual time and keeps what came out, beside an
 * optional task. */
#ifndef BECK_SRC_CONNECTORS_URL_FIXTURE_H
#define BECK_SRC_CONNECTORS_URL_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <beck/error.h>
#include <beck/flow.h>
#include <beck/gather.h>
#include <beck/run.h>

#include "tests/check.h"

struct urls {
    const char *from; /* NULL: lines */
    const char *const *lines;
    bool (*hold)(void); /* the next line waits while it says so; NULL: none does */
    const char *to; /* NULL: into output */
    bk_flow_opts opts;
    bk_fn *beside; /* a task that runs along with the flow; NULL: none */

    bk_flow *flow;
    char output[8192]; /* the items, each with a newline */
    char events[2048];
    int64_t at_ms[64]; /* when the first items came, since the flow was made */
    int n_got;
    int64_t start_ms;
    int result;
    char error[512];
    bk_flow_stats stats;
};

static inline int urls_next(void *ctx, bk_msg **msg)
{
    struct urls *u = ctx;
    if (!*u->lines)
        return 0;
    while (u->hold && u->hold()) {
        int held = bk_yield();
        if (held < 0)
            return held;
    }
    const char *text = *u->lines++;
    int r = bk_msg_copy(msg, text, strlen(text));
    return r < 0 ? r : 1;
}

static inline int urls_store(void *ctx, bk_msg **msg)
{
    struct urls *u = ctx;
    size_t len = strlen(u->output);
    snprintf(u->output + len, sizeof u->output - len, "%.*s\n", (int)bk_msg_len(*msg),
             bk_msg_data(*msg));
    if (u->n_got < 64)
        u->at_ms[u->n_got] = bk_now().ns / 1000000 - u->start_ms;
    u->n_got++;
    return 0;
}

static inline void urls_event(void *ctx, const bk_flow_event *event)
{
    struct urls *u = ctx;
    size_t len = strlen(u->events);
    snprintf(u->events + len, sizeof u->events - len, "%s: %s\n", event->where, event->text);
}

static inline int urls_flow(void *ctx)
{
    struct urls *u = ctx;
    int r = u->from ? bk_flow_from(u->flow, u->from) : bk_flow_from_fn(u->flow, urls_next, u, NULL);
    if (r == 0)
        r = u->to ? bk_flow_to(u->flow, u->to) : bk_flow_to_fn(u->flow, urls_store, u, NULL);
    if (r == 0)
        r = bk_flow_run(u->flow);
    u->result = r;
    snprintf(u->error, sizeof u->error, "%s", r < 0 ? bk_errmsg() : "");
    return 0;
}

static inline int urls_main(void *ctx)
{
    struct urls *u = ctx;
    u->start_ms = bk_now().ns / 1000000;
    u->opts.on_event = urls_event;
    u->opts.event_ctx = u;
    int r = bk_flow_new(&u->flow, &u->opts);
    if (r < 0)
        return r;
    bk_call calls[] = {{.fn = urls_flow, .ctx = u}, {.fn = u->beside, .ctx = u}};
    r = bk_gather(calls, u->beside ? 2 : 1, NULL);
    bk_flow_stats_get(u->flow, &u->stats);
    bk_flow_free(&u->flow);
    return r < 0 ? r : u->result;
}

static inline int urls_run(struct urls *u)
{
    return bk_run(urls_main, u, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

/* prefix + the path of `name` in a folder of the test's own + suffix; good for the next seven
 * calls. */
static inline const char *place(const char *prefix, const char *name, const char *suffix)
{
    static char folder[64], texts[8][512];
    static int which;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/beck-test-XXXXXX");
        if (!mkdtemp(folder))
            perror("mkdtemp");
    }
    char *text = texts[which++ % 8];
    snprintf(text, sizeof texts[0], "%s%s/%s%s", prefix, folder, name, suffix);
    return text;
}

/* Removes the folder, which must be empty by then. */
static inline int remove_place(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s", place("", "", ""));
    return rmdir(path);
}

static inline void write_file(const char *path, const char *mode, const char *text)
{
    FILE *f = fopen(path, mode);
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

#endif
