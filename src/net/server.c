/* SPDX-License-Identifier: MIT
 * bk_server: serving in the background. */
#include "net/server.h"

#include <stdio.h>

#include "base/alloc.h"

#define DEFAULT_DRAIN_SECONDS 10
#define GOODBYE_SECONDS 5 /* for cancelled handlers to clean up, before their connections go */

static void describe_server(const void *object, char *buf, size_t size)
{
    const struct bk_server *server = object;
    snprintf(buf, size, "%.60s (%zu connections)", server->n ? server->addresses[0] : "",
             server->serve.n_streams);
}

static const struct bki_wait_kind wait_server = {.what = "server", .describe = describe_server};

/* ---- Its task ---- */

static void note_failure(struct bk_server *server, int r)
{
    if (server->failure || r == -ECANCELED)
        return; /* it was stopped */
    server->failure = r;
    snprintf(server->failure_text, sizeof server->failure_text, "%s", bk_errmsg());
}

/* The body of an accepting task. */
static int accept_clients(void *ctx)
{
    bk_listener *listener = ctx;
    struct bk_server *server = listener->server;
    int r = bki_serve_accept(&server->serve, listener);
    note_failure(server, r);
    return r;
}

/* Accepts on every listener until the server is stopped, or its task cancelled. */
static int accept_on_all(struct bk_server *server)
{
    bk_group *accepting = NULL;
    int r = bk_group_open(&accepting, &(bk_group_opts){.limit = BK_UNBOUNDED, .name = "accepting"});
    server->accepting = accepting;
    for (int i = 0; i < server->n && r == 0; i++)
        r = bk_group_go(accepting, accept_clients, server->listeners[i],
                        &(bk_task_opts){.name = "accept"});
    if (r == 0)
        r = bk_group_wait(accepting);
    server->accepting = NULL;
    return bk_group_close(&accepting, r);
}

static void close_listeners(struct bk_server *server)
{
    for (int i = 0; i < server->n; i++)
        bk_listener_close(&server->listeners[i], 0);
}

static void stopped(struct bk_server *server)
{
    server->state = BKI_SERVER_STOPPED;
    bki_grant_all(&server->waiters, 0);
}

/* The body of the server's task; its name is what task lists show. */
static int server_task(void *ctx)
{
    struct bk_server *server = ctx;
    int r = bki_serve_begin(&server->serve, server->addresses[0], server->handler, server->ctx,
                            &server->opts.serve);
    if (r < 0)
        return r;
    server->running = true;
    int accepted = accept_on_all(server);
    close_listeners(server);
    stopped(server);
    r = bki_serve_end_handlers(&server->serve, accepted == -ECANCELED ? accepted : 0);
    if (r == 0)
        r = bki_serve_wait_end(&server->serve, &server->let_go);
    bki_serve_end(&server->serve);
    server->running = false;
    bki_grant_all(&server->waiters, 0);
    return server->failure ? 0 : accepted; /* a failure is told by serve_forever and by close */
}

/* ---- Beginning ---- */

static int copy_addresses(struct bk_server *server)
{
    server->addresses = bki_zalloc((size_t)server->n * sizeof *server->addresses);
    if (!server->addresses)
        return -ENOMEM;
    for (int i = 0; i < server->n; i++) {
        server->addresses[i] = bki_strdup(bk_listener_address(server->listeners[i]));
        if (!server->addresses[i])
            return -ENOMEM;
        server->listeners[i]->server = server;
    }
    return 0;
}

static void server_free(struct bk_server **server)
{
    struct bk_server *s = *server;
    close_listeners(s);
    for (int i = 0; s->addresses && i < s->n; i++)
        bki_free(s->addresses[i]);
    bki_free(s->addresses);
    bki_free(s->listeners);
    bki_free(s);
    *server = NULL;
}

int bk_server_open(bk_server **out, const char *addresses, bk_stream_fn *handler, void *ctx,
                   const bk_server_opts *opts)
{
    struct bk_server *server = bki_zalloc(sizeof *server);
    if (!server)
        return bk_fail(-ENOMEM, "no memory for a server");
    if (opts)
        server->opts = *opts;
    server->handler = handler;
    server->ctx = ctx;
    bki_list_init(&server->waiters);
    int r = bki_bind_all(&server->listeners, &server->n, addresses, &server->opts.listen);
    if (r == 0)
        r = copy_addresses(server);
    if (r == 0 && !server->opts.paused)
        r = bk_server_start(server);
    if (r == 0)
        *out = server;
    else
        server_free(&server);
    return r;
}

int bk_server_start(bk_server *server)
{
    bk_task *task = NULL;
    if (server->state == BKI_SERVER_SERVING)
        return 0;
    if (server->state == BKI_SERVER_STOPPED)
        return bk_fail(-BK_ECLOSED, "the server on %s has stopped", server->addresses[0]);
    for (int i = 0; i < server->n; i++) {
        int r = bki_listener_start(server->listeners[i]);
        if (r < 0)
            return r;
    }
    server->state = BKI_SERVER_SERVING;
    /* Eager: what cannot begin has ended when bk_go returns. */
    int r = bk_go(&task, server_task, server, &(bk_task_opts){.name = "server", .eager = true});
    if (r == 0 && bk_task_done(task))
        r = bk_task_result(task);
    if (r < 0)
        server->state = BKI_SERVER_STOPPED;
    bk_task_free(&task);
    return r;
}

/* ---- What it is ---- */

bool bk_server_is_serving(const bk_server *server)
{
    return server->state == BKI_SERVER_SERVING;
}

const char *bk_server_address(const bk_server *server, int i)
{
    return i >= 0 && i < server->n ? server->addresses[i] : NULL;
}

int bk_server_fd(const bk_server *server, int i)
{
    return i >= 0 && i < server->n && server->listeners[i] ? server->listeners[i]->fd.fd : -1;
}

size_t bk_server_count(const bk_server *server)
{
    return server->serve.n_streams;
}

/* ---- Waiting for it ---- */

static int wait_change(struct bk_server *server)
{
    struct bki_waiter w;
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    server->n_waiting++;
    r = bki_wait(&server->waiters, &w, &wait_server, server);
    server->n_waiting--;
    return r;
}

static int tell_failure(const struct bk_server *server)
{
    return bk_fail(server->failure, "%s", server->failure_text);
}

int bk_server_serve_forever(bk_server *server)
{
    if (server->awaited)
        return bk_fail(-EBUSY, "another task is in bk_server_serve_forever");
    int r = bk_server_start(server);
    if (r < 0)
        return server->failure ? tell_failure(server) : r;
    server->awaited = true;
    while (r == 0 && server->state != BKI_SERVER_STOPPED)
        r = wait_change(server);
    server->awaited = false;
    if (r < 0)
        bk_server_stop(server);
    return r == 0 && server->failure ? tell_failure(server) : r;
}

static int wait_closed(void *ctx)
{
    struct bk_server *server = ctx;
    int r = 0;
    while (r == 0 && (server->running || server->state != BKI_SERVER_STOPPED))
        r = wait_change(server);
    return r;
}

int bk_server_wait_closed(bk_server *server)
{
    return wait_closed(server);
}

/* ---- Ending it ---- */

void bk_server_stop(bk_server *server)
{
    if (server->state == BKI_SERVER_STOPPED)
        return;
    if (!server->running)
        close_listeners(server);
    if (server->accepting)
        bk_group_cancel(server->accepting);
    stopped(server);
}

static void each_client(bk_server *server, void (*end)(bk_stream *stream))
{
    struct bki_list *const lists[] = {&server->serve.not_run, &server->serve.open};
    for (int i = 0; server->running && i < 2; i++)
        for (struct bki_list *n = bki_list_first(lists[i]); n; n = bki_list_next(lists[i], n))
            end(bki_container(n, struct bk_stream, serve_link));
}

void bk_server_close_clients(bk_server *server)
{
    each_client(server, bk_stream_hang_up);
}

void bk_server_abort_clients(bk_server *server)
{
    each_client(server, bk_stream_abort);
}

struct shutdown {
    bk_server *server;
    bk_duration limit;
    size_t n_cut_off;
};

/* The handlers have had their time. */
static void cut_off(bk_server *server)
{
    bk_group_cancel(server->serve.handlers);
    server->let_go = true;
    bki_grant_all(&server->serve.end, 0);
    if (bk_wait_for(wait_closed, server, bk_seconds(GOODBYE_SECONDS)) == 0)
        return;
    bk_server_abort_clients(server);
    wait_closed(server);
}

/* Inside a shield. */
static int shut_down(void *ctx)
{
    struct shutdown *s = ctx;
    bk_server *server = s->server;
    bk_server_stop(server);
    if (server->opts.serve.on_drain && s->limit.ns > 0 && !server->drained)
        server->opts.serve.on_drain(server->ctx);
    server->drained = true;
    if (s->limit.ns > 0)
        bk_wait_for(wait_closed, server, s->limit);
    s->n_cut_off = server->serve.n_streams;
    if (server->running)
        cut_off(server);
    return 0;
}

int bk_server_shutdown(bk_server *server, bk_duration limit)
{
    struct shutdown s = {.server = server, .limit = limit};
    bk_shield(shut_down, &s);
    if (s.n_cut_off > 0)
        return bk_fail(-ETIMEDOUT, "%zu connections on %s did not end within %lld ms", s.n_cut_off,
                       server->addresses[0], (long long)(limit.ns / 1000000));
    return 0;
}

int bk_server_close(bk_server **server, int r)
{
    struct bk_server *s = *server;
    if (!s)
        return r;
    if (s->n_waiting > 0)
        return bk_fail(-EBUSY, "close of a server that another task waits for");
    bk_duration drain = s->opts.serve.drain;
    if (drain.ns == 0)
        drain = bk_seconds(DEFAULT_DRAIN_SECONDS);
    bk_server_shutdown(s, r < 0 ? bk_ns(0) : drain);
    if (r >= 0 && s->failure)
        r = tell_failure(s);
    server_free(server);
    return r;
}
