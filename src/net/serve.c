/* SPDX-License-Identifier: MIT
 * A task for each connection; bk_serve, which accepts in the calling task. */
#include "net/serve.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/tls.h"
#include "rt/report.h"

#define DEFAULT_LIMIT 10000
#define BACK_OFF_SECONDS 1

static void describe_serve(const void *object, char *buf, size_t size)
{
    const struct bki_serve *serve = object;
    snprintf(buf, size, "%zu of %zu connections on %s", serve->n_streams, serve->opts.limit,
             serve->address);
}

static const struct bki_wait_kind wait_room = {.what = "serve limit", .describe = describe_serve};
static const struct bki_wait_kind wait_last = {.what = "serve end", .describe = describe_serve};

/* ---- One connection ---- */

void bki_serve_report(const struct bk_stream *s, int result)
{
    /* The peer went away: its business, and too common to be news. */
    if (result == -ECONNRESET || result == -EPIPE)
        return;
    if (result == -ECONNABORTED && s && s->aborted)
        return; /* we did that */
    char detail[512];
    const char *peer = s ? bk_stream_peer(s) : "", *why = bk_errmsg();
    /* Of a connection that the handler took, and of most others, the message says it. */
    if (strncmp(why, peer, strlen(peer)) == 0)
        peer = "";
    snprintf(detail, sizeof detail, "%s%s%s", peer, peer[0] && why[0] ? ": " : "", why);
    const bk_task *self = bk_task_current();
    bk_error_report failed = {
        .what = "a connection's handler failed",
        .task = bk_task_name(self),
        .task_id = bk_task_id(self),
        .result = result,
        .detail = detail,
    };
    bki_report(&failed);
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

/* A connection or a handler has ended. */
static void changed(struct bki_serve *serve)
{
    bki_grant_first(&serve->room, 0);
    if (serve->n_handlers + serve->n_streams == 0)
        bki_grant_all(&serve->end, 0);
}

static void leave(struct bk_stream *s)
{
    bki_list_remove(&s->serve_link);
    s->serve->n_streams--;
    s->serve = NULL;
}

void bki_serve_forget(struct bk_stream *s)
{
    struct bki_serve *serve = s->serve;
    leave(s);
    changed(serve);
}

/* Another task is still inside a call on a stream whose handler has returned: its call fails, and
 * the stream goes when it has. */
static int take_back(void *ctx)
{
    struct bk_stream *s = ctx;
    bk_stream_hang_up(s);
    shutdown(s->fd.fd, SHUT_RDWR); /* a write that waits is not to hold it up */
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
    bki_list_push_back(&serve->open, &s->serve_link);
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
    serve->n_handlers--;
    changed(serve);
    return r == -ECANCELED ? r : 0;
}

/* ---- Accepting ---- */

static int wait_for_room(struct bki_serve *serve)
{
    struct bki_waiter w;
    size_t limit = serve->opts.limit;
    int r = 0;
    while (r == 0 && (serve->n_streams >= limit || serve->n_handlers >= limit))
        r = bki_wait(&serve->room, &w, &wait_room, serve);
    return r;
}

/* Starts the connection's task.  Out of memory or tasks it tries again a little later. */
static int start_handler(struct bki_serve *serve, bk_stream *s)
{
    int r;
    while ((r = bk_group_go(serve->handlers, connection, s, NULL)) < 0) {
        if (r == -ENOMEM || r == -EAGAIN)
            r = bk_sleep(bk_seconds(BACK_OFF_SECONDS));
        if (r < 0)
            break;
    }
    return r;
}

static int start(struct bki_serve *serve, bk_stream *s)
{
    /* There was room when this task went to accept; another one may have taken it since. */
    int r = wait_for_room(serve);
    s->serve = serve;
    bki_list_push_back(&serve->not_run, &s->serve_link);
    serve->n_streams++;
    serve->n_handlers++;
    if (r == 0)
        r = start_handler(serve, s);
    if (r < 0) {
        serve->n_handlers--;
        bk_stream_close(&s, -1);
    }
    return r;
}

int bki_serve_accept(struct bki_serve *serve, bk_listener *listener)
{
    for (;;) {
        bk_stream *s = NULL;
        int r = wait_for_room(serve);
        if (r >= 0)
            r = bk_accept(listener, &s);
        if (r >= 0)
            r = start(serve, s);
        if (r < 0)
            return r;
    }
}

/* ---- Beginning and end ---- */

int bki_serve_begin(struct bki_serve *serve, const char *address, bk_stream_fn *handler, void *ctx,
                    const bk_serve_opts *opts)
{
    *serve = (struct bki_serve){.address = address, .handler = handler, .ctx = ctx};
    if (opts)
        serve->opts = *opts;
    if (!serve->opts.limit)
        serve->opts.limit = DEFAULT_LIMIT;
    bki_list_init(&serve->not_run);
    bki_list_init(&serve->open);
    bki_list_init(&serve->room);
    bki_list_init(&serve->end);
    return bk_group_open(
        &serve->handlers,
        &(bk_group_opts){.limit = serve->opts.limit, .keep_going = true, .name = "connections"});
}

int bki_serve_wait_end(struct bki_serve *serve, const bool *enough)
{
    struct bki_waiter w;
    int r = bki_check_cancel();
    while (r == 0 && serve->n_handlers + serve->n_streams > 0 && !*enough)
        r = bki_wait(&serve->end, &w, &wait_last, serve);
    return r;
}

int bki_serve_end_handlers(struct bki_serve *serve, int r)
{
    struct bki_list *node;
    r = bk_group_close(&serve->handlers, r);
    while ((node = bki_list_first(&serve->not_run))) {
        struct bk_stream *s = bki_container(node, struct bk_stream, serve_link);
        bk_stream_close(&s, -1);
    }
    serve->n_handlers = 0; /* those that never ran included */
    return r;
}

void bki_serve_end(struct bki_serve *serve)
{
    struct bki_list *node;
    while ((node = bki_list_first(&serve->open)))
        leave(bki_container(node, struct bk_stream, serve_link));
}

/* ---- In the calling task ---- */

static int wait_end(void *ctx)
{
    static const bool never;
    return bki_serve_wait_end(ctx, &never);
}

/* Inside a shield: the cancel that ended the accepting does not end this. */
static int drain(void *ctx)
{
    struct bki_serve *serve = ctx;
    if (serve->opts.on_drain)
        serve->opts.on_drain(serve->ctx);
    return bk_wait_for(wait_end, serve, serve->opts.drain);
}

int bk_serve(bk_listener *listener, bk_stream_fn *handler, void *ctx, const bk_serve_opts *opts)
{
    struct bki_serve serve;
    int r = bki_serve_begin(&serve, listener->address, handler, ctx, opts);
    if (r < 0)
        return r;
    r = bki_serve_accept(&serve, listener);
    if (serve.opts.drain.ns > 0)
        bk_shield(drain, &serve);
    r = bki_serve_end_handlers(&serve, r);
    bki_serve_end(&serve);
    return r;
}
