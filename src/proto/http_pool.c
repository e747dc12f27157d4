/* SPDX-License-Identifier: MIT
 * An HTTP client and its connections. */
#include "proto/http_pool.h"

#include <poll.h>
#include <stdio.h>

#include "base/alloc.h"
#include "net/tls.h"

#define DEFAULT_LIMIT 100
#define DEFAULT_IDLE_SECONDS 60

/* ---- Clients ---- */

static int copy_opts(struct bk_http_client *client, const bk_http_client_opts *opts)
{
    const char *agent = opts->user_agent;
    client->limit = opts->limit ? opts->limit : DEFAULT_LIMIT;
    client->idle_ns =
        opts->idle_timeout.ns ? opts->idle_timeout.ns : bk_seconds(DEFAULT_IDLE_SECONDS).ns;
    client->tls = bki_tls_ref(opts->tls ? opts->tls : bk_tls_default());
    client->user_agent = agent ? bki_strdup(agent) : bki_text_join("beck/%s", bk_version());
    if (opts->proxy)
        client->proxy = bki_strdup(opts->proxy);
    if (!client->user_agent || (opts->proxy && !client->proxy))
        return bk_fail(-ENOMEM, "no memory for an HTTP client");
    struct bki_endpoint proxy = {0};
    int r = opts->proxy && *opts->proxy ? bki_endpoint_make_proxy(&proxy, opts->proxy) : 0;
    bki_endpoint_free(&proxy);
    return r;
}

int bk_http_client_new(bk_http_client **out, const bk_http_client_opts *opts)
{
    static const bk_http_client_opts defaults;
    struct bk_http_client *client = bki_zalloc(sizeof *client);
    if (!client)
        return bk_fail(-ENOMEM, "no memory for an HTTP client");
    client->loop = bki_loop;
    client->refs = 1;
    bki_list_init(&client->idle);
    bki_list_init(&client->line);
    int r = copy_opts(client, opts ? opts : &defaults);
    if (r < 0) {
        bki_http_client_unref(client);
        return r;
    }
    *out = client;
    return 0;
}

void bki_http_client_unref(struct bk_http_client *client)
{
    if (--client->refs > 0)
        return;
    bk_tls_free(&client->tls);
    bki_free(client->proxy);
    bki_free(client->user_agent);
    bki_free(client);
}

size_t bk_http_client_open(const bk_http_client *client)
{
    return client->n_open;
}

size_t bk_http_client_idle(const bk_http_client *client)
{
    return client->n_idle;
}

/* ---- Connections ---- */

static void free_conn(struct bki_http_conn *conn)
{
    if (conn->stream) {
        bki_stream_goodbye(conn->stream); /* RFC 9112 9.8 */
        bk_stream_close(&conn->stream, -ECANCELED);
    }
    bki_free(conn->route);
    bki_free(conn);
}

/* A place is free: the next call has it, or nobody does. */
static void give_place(struct bk_http_client *client)
{
    if (client->n_open > client->limit || !bki_grant_first(&client->line, 0))
        client->n_open--;
}

static void unlink_idle(struct bk_http_client *client, struct bki_http_conn *conn)
{
    bki_list_remove(&conn->link);
    client->n_idle--;
}

static struct bki_http_conn *oldest_idle(struct bk_http_client *client)
{
    struct bki_list *first = bki_list_first(&client->idle);
    return first ? bki_container(first, struct bki_http_conn, link) : NULL;
}

/* Also from the timer, outside any task. */
static void close_idle(struct bk_http_client *client, struct bki_http_conn *conn)
{
    unlink_idle(client, conn);
    free_conn(conn);
    give_place(client);
}

static void reap(struct bki_timer *timer);

static void arm_reaper(struct bk_http_client *client)
{
    struct bki_http_conn *oldest = oldest_idle(client);
    bki_timer_stop(client->loop, &client->reap);
    /* Without memory for the timer they stay until the next call looks. */
    if (oldest && oldest->idle_until_ns != INT64_MAX)
        bki_timer_start(client->loop, &client->reap, oldest->idle_until_ns, reap);
}

static void close_expired(struct bk_http_client *client)
{
    struct bki_http_conn *conn;
    int64_t now = bki_clock_ns(client->loop);
    while ((conn = oldest_idle(client)) && conn->idle_until_ns <= now)
        close_idle(client, conn);
    arm_reaper(client);
}

static void reap(struct bki_timer *timer)
{
    close_expired(bki_container(timer, struct bk_http_client, reap));
}

/* An idle connection on which the server has said something, or gone, is of no use.  (Under TLS it
 * may have said no more than how to resume the session.) */
static bool still_stands(struct bki_http_conn *conn)
{
    bk_tls_info info;
    bool secure = bk_stream_tls_info(conn->stream, &info) != -EINVAL;
    struct pollfd p = {.fd = bk_stream_fd(conn->stream), .events = POLLRDHUP};
    if (!secure)
        p.events |= POLLIN;
    return poll(&p, 1, 0) == 0;
}

static struct bki_http_conn *take_idle(struct bk_http_client *client, const char *route)
{
    struct bki_list *n = bki_list_last(&client->idle), *before;
    for (; n; n = before) {
        before = bki_list_prev(&client->idle, n);
        struct bki_http_conn *conn = bki_container(n, struct bki_http_conn, link);
        if (strcmp(conn->route, route) != 0)
            continue;
        if (still_stands(conn)) {
            unlink_idle(client, conn);
            return conn;
        }
        close_idle(client, conn);
    }
    return NULL;
}

/* ---- Taking and giving ---- */

static void describe_pool(const void *object, char *buf, size_t size)
{
    const struct bk_http_client *client = object;
    snprintf(buf, size, "%zu of %zu in use", client->n_open - client->n_idle, client->limit);
}

static const struct bki_wait_kind place_kind = {.what = "HTTP connection",
                                                .describe = describe_pool};

/* Counts one more connection, for which there is a place, or waits for one. */
static int take_place(struct bk_http_client *client)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (client->n_open >= client->limit && client->n_idle > 0)
        close_idle(client, oldest_idle(client));
    if (client->n_open < client->limit && bki_list_empty(&client->line)) {
        client->n_open++;
        return 0;
    }
    struct bki_waiter w;
    return bki_wait(&client->line, &w, &place_kind, client);
}

static char *route_name(const struct bki_http_route *route)
{
    const struct bki_endpoint *proxy = route->proxy;
    /* Through a proxy, plain requests to all hosts go over one connection. */
    const char *host = proxy && !route->target->secure ? "*" : route->target->address;
    return bki_text_join("%s %s %s%s %s:%s", route->target->secure ? "https" : "http", host,
                         proxy ? (proxy->secure ? "https " : "http ") : "",
                         proxy ? proxy->address : "", proxy && proxy->user ? proxy->user : "",
                         proxy && proxy->password ? proxy->password : "");
}

static int make_conn(struct bk_http_client *client, const struct bki_http_route *route,
                     struct bki_http_conn **out, char **name)
{
    struct bki_http_conn *conn = bki_zalloc(sizeof *conn);
    if (!conn)
        return bk_fail(-ENOMEM, "no memory for an HTTP connection");
    const struct bki_http_means means = {client->tls, client->user_agent};
    int r = bki_http_connect(&conn->stream, &means, route);
    if (r < 0) {
        bki_free(conn);
        return r;
    }
    conn->route = *name;
    *name = NULL;
    *out = conn;
    return 0;
}

int bki_http_pool_take(struct bk_http_client *client, const struct bki_http_route *route,
                       struct bki_http_conn **out)
{
    char *name = route_name(route);
    if (!name)
        return bk_fail(-ENOMEM, "no memory for an HTTP connection");
    close_expired(client);
    *out = route->fresh ? NULL : take_idle(client, name);
    int r = *out ? 0 : take_place(client);
    /* While this call waited, a connection may have come back, of use or in the way. */
    if (r == 0 && !*out && !route->fresh && (*out = take_idle(client, name)))
        give_place(client);
    if (r == 0 && !*out) {
        while (client->n_open > client->limit && client->n_idle > 0)
            close_idle(client, oldest_idle(client));
        r = make_conn(client, route, out, &name);
        if (r < 0)
            give_place(client);
    }
    bki_free(name);
    return r;
}

bk_stream *bki_http_pool_detach(struct bk_http_client *client, struct bki_http_conn **conn)
{
    bk_stream *stream = (*conn)->stream;
    (*conn)->stream = NULL;
    bki_http_pool_give(client, conn, false);
    return stream;
}

void bki_http_pool_give(struct bk_http_client *client, struct bki_http_conn **conn, bool again)
{
    struct bki_http_conn *c = *conn;
    *conn = NULL;
    if (!again || client->freed) {
        free_conn(c);
        give_place(client);
        return;
    }
    c->reused = true;
    c->idle_until_ns =
        bk_time_add((bk_time){bki_clock_ns(client->loop)}, bk_ns(client->idle_ns)).ns;
    bki_list_push_back(&client->idle, &c->link);
    client->n_idle++;
    /* The next call uses it, or closes it for its place: until then there is one too many. */
    if (bki_grant_first(&client->line, 0))
        client->n_open++;
    arm_reaper(client);
}

void bk_http_client_free(bk_http_client **client)
{
    struct bk_http_client *c = *client;
    struct bki_http_conn *conn;
    *client = NULL;
    if (!c)
        return;
    c->freed = true;
    while ((conn = oldest_idle(c)))
        close_idle(c, conn);
    bki_timer_stop(c->loop, &c->reap);
    bki_http_client_unref(c);
}
