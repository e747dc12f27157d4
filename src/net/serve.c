/* SPDX-License-Identifier: MIT
 * bk_serve: a task for each connection. */
#include <stdio.h>
#include <sys/socket.h>

#include <beck/server.h>

#include "net/stream.h"
#include "net/tls.h"

#define DEFAULT_LIMIT 10000
#define BACK_OFF_SECONDS 1

struct bki_serve {
    bk_listener *listener;
    bk_stream_fn *handler;
    void *ctx;
    bk_serve_opts opts;
    bk_group *connections;
    size_t n; /* connections open */
    struct bki_list
        not_run;          /* streams whose task has not run yet: a cancel now, and it never does */
    struct bki_list room; /* the accepting task, at the limit, or waiting for the last to end */
};

static void describe_serve(const void *object, char *buf, size_t size)
{
    const struct bki_serve *serve = object;
    snprintf(buf, size, "%zu of %zu connections on %s", serve->n, serve->opts.limit,
             bk_listener_address(serve->listener));
}

static const struct bki_wait_kind wait_room = {.what = "serve limit", .describe = describe_serve};
static const struct bki_wait_kind wait_end = {.what = "serve drain", .describe = describe_serve};

/* ---- One connection ---- */

void bki_serve_report(const struct bk_stream *s, int result)
{
    /* The peer went away: its business, and too common to be news. */
    if (result == -ECONNRESET || result == -EPIPE)
        return;
    char detail[512];
    snprintf(detail, sizeof detail, "%s%s%s", s ? bk_stream_peer(s) : "",
             bk_errmsg()[0] ? ": " : "", bk_errmsg());
    const bk_task *self = bk_task_current();
    bk_error_report failed = {
        .what = "a connection's handler failed",
        .task = bk_task_name(self),
        .task_id = bk_task_id(self),
        .result = result,
        .detail = detail,
    };
    bki_loop->opts.on_error(bki_loop->opts.on_error_ctx, &failed);
}

static void connection_failed(struct bki_serve *serve, struct bk_stream *s, int result)
{
    if (result == -ECANCELED)
        return;
    if (serve->opts.on_error)
        serve->opts.on_error(serve->ctx, s, result);
    else
        bki_serve_report(s, result);
}

/* Another task is still inside a call on a stream whose handler has returned: its call fails, and
 * the stream goes when it has. */
static int take_back(void *ctx)
{
    struct bk_stream *s = ctx;
    shutdown(s->fd.fd, SHUT_RDWR);
    while (bki_stream_in_use(s))
        bk_sleep(bk_ms(1));
    return 0;
}

/* The body of a connection's task; its name is what task lists show. */
static int connection(void *ctx)
{
    bk_stream *s = ctx;
    struct bki_serve *serve = s->serve;
    bki_list_remove(&s->serve_link);
    s->serve = NULL;
    int r = bk_stream_handshake(s);
    if (r == 0)
        r = serve->handler(serve->ctx, &s);
    if (s && bki_stream_in_use(s)) {
        if (r >= 0)
            r = bk_fail(-EBUSY, "the handler returned while another task used its stream");
        bk_shield(take_back, s);
    } else if (s) {
        r = bki_stream_finish(s, r);
    }
    if (r < 0)
        connection_failed(serve, s, r);
    bk_stream_close(&s, -1);
    serve->n--;
    bki_grant_first(&serve->room, 0);
    return r == -ECANCELED ? r : 0;
}

/* ---- The server ---- */

static int wait_for_room(struct bki_serve *serve)
{
    struct bki_waiter w;
    int r = 0;
    while (r == 0 && serve->n >= serve->opts.limit)
        r = bki_wait(&serve->room, &w, &wait_room, serve);
    return r;
}

/* Starts the connection's task.  Out of memory or tasks it tries again a little later. */
static int start(struct bki_serve *serve, bk_stream *s)
{
    s->serve = serve;
    bki_list_push_back(&serve->not_run, &s->serve_link);
    serve->n++;
    int r;
    while ((r = bk_group_go(serve->connections, connection, s, NULL)) < 0) {
        if (r == -ENOMEM || r == -EAGAIN)
            r = bk_sleep(bk_seconds(BACK_OFF_SECONDS));
        if (r < 0)
            break;
    }
    if (r < 0) {
        bki_list_remove(&s->serve_link);
        bki_stream_free(s);
        serve->n--;
    }
    return r;
}

static int accept_all(struct bki_serve *serve)
{
    for (;;) {
        bk_stream *s = NULL;
        int r = wait_for_room(serve);
        if (r >= 0)
            r = bk_accept(serve->listener, &s);
        if (r >= 0)
            r = start(serve, s);
        if (r < 0)
            return r;
    }
}

/* ---- The end ---- */

static int wait_for_end(void *ctx)
{
    struct bki_serve *serve = ctx;
    struct bki_waiter w;
    int r = 0;
    while (r == 0 && serve->n > 0)
        r = bki_wait(&serve->room, &w, &wait_end, serve);
    return r;
}

/* Inside a shield: the cancel that ended the accepting does not end this. */
static int drain(void *ctx)
{
    struct bki_serve *serve = ctx;
    if (serve->opts.on_drain)
        serve->opts.on_drain(serve->ctx);
    return bk_wait_for(wait_for_end, serve, serve->opts.drain);
}

int bk_serve(bk_listener *listener, bk_stream_fn *handler, void *ctx, const bk_serve_opts *opts)
{
    struct bki_serve serve = {.listener = listener, .handler = handler, .ctx = ctx};
    struct bki_list *node;
    if (opts)
        serve.opts = *opts;
    if (!serve.opts.limit)
        serve.opts.limit = DEFAULT_LIMIT;
    bki_list_init(&serve.not_run);
    bki_list_init(&serve.room);
    int r = bk_group_open(
        &serve.connections,
        &(bk_group_opts){.limit = serve.opts.limit, .keep_going = true, .name = "connections"});
    if (r < 0)
        return r;
    r = accept_all(&serve);
    if (serve.opts.drain.ns > 0)
        bk_shield(drain, &serve);
    r = bk_group_close(&serve.connections, r);
    while ((node = bki_list_pop(&serve.not_run)))
        bki_stream_free(bki_container(node, struct bk_stream, serve_link));
    return r;
}
