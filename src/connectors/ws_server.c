/* SPDX-License-Identifier: MIT
 * A WebSocket server running beside a flow, and the connector "ws-listen:" that is made of it. */
#include "connectors/ws_server.h"

#include <stdio.h>

#include "base/alloc.h"

/* HOST:PORT of "ws-listen:HOST:PORT" or "ws-listen://HOST:PORT/", in memory that is to be freed. */
static int read_address(const struct bki_target *target, char **out)
{
    const struct bki_url *u = &target->parts;
    const char *path = target->path;
    char text[300];
    if (u->host.data && u->port >= 0 && (!path[0] || strcmp(path, "/") == 0))
        snprintf(text, sizeof text, u->host_is_ipv6 ? "[%.*s]:%d" : "%.*s:%d", (int)u->host.len,
                 u->host.data, u->port);
    else if (!u->host.data && strchr(path, ':') && !strchr(path, '/'))
        snprintf(text, sizeof text, "%s", path);
    else
        return bk_fail(-BK_EURL, "ws-listen: is written ws-listen:HOST:PORT, or ws-listen::PORT");
    *out = bki_strdup(text);
    return *out ? 0 : bk_fail(-ENOMEM, "no memory for an address");
}

int bki_ws_server_init(struct bki_ws_server *server, const struct bki_target *target)
{
    uint64_t max;
    int r = bki_target_size(target, "max", 0, &max);
    server->opts.max_message = (size_t)max;
    if (r == 0)
        r = read_address(target, &server->address);
    return r < 0 ? r : bki_target_tls_server(target, &server->tls);
}

void bki_ws_server_free(struct bki_ws_server *server)
{
    bki_free(server->address);
    bk_tls_free(&server->tls);
}

static int serve_stream(void *ctx, bk_stream **stream)
{
    struct bki_ws_server *server = ctx;
    bk_ws *ws = NULL;
    int r = bk_ws_accept(&ws, stream, &server->opts);
    return r < 0 ? r : server->client(server->ctx, &ws);
}

static void client_failed(void *ctx, bk_stream *stream, int result)
{
    struct bki_ws_server *server = ctx;
    const char *why = bk_errmsg()[0] ? bk_errmsg() : bk_strerror(result);
    bki_port_event(server->port, BK_FLOW_NOTE, result, "a client%s%s: %s", stream ? " at " : "",
                   stream ? bk_stream_peer(stream) : "", why);
}

static int serve(void *ctx)
{
    struct bki_ws_server *server = ctx;
    server->result = bk_serve(server->listener, serve_stream, server,
                              &(bk_serve_opts){.on_error = client_failed});
    if (server->ended)
        server->ended(server->ctx);
    return 0;
}

int bki_ws_server_open(struct bki_ws_server *server, struct bki_port *port)
{
    server->port = port;
    int r = bk_listen(&server->listener, server->address, &(bk_listen_opts){.tls = server->tls});
    if (r == 0)
        r = bk_go(&server->task, serve, server, &(bk_task_opts){.name = "ws-listen"});
    if (r == 0)
        r = bk_yield(); /* a task cancelled before it began would not say that it has ended */
    if (r < 0)
        return bki_ws_server_close(server, r);
    bki_port_event(port, BK_FLOW_READY, 0, "listening on %s://%s/", server->tls ? "wss" : "ws",
                   bk_listener_address(server->listener));
    return 0;
}

int bki_ws_server_check(const struct bki_ws_server *server)
{
    if (server->result >= 0 || server->result == -ECANCELED)
        return 0;
    return bk_fail(server->result, "cannot accept clients: %s", bk_strerror(server->result));
}

void bki_ws_server_stop(struct bki_ws_server *server)
{
    if (server->task)
        bk_task_cancel(server->task);
}

int bki_ws_server_close(struct bki_ws_server *server, int r)
{
    bki_ws_server_stop(server);
    if (server->task)
        (void)bk_task_wait(server->task, NULL);
    bk_task_free(&server->task);
    (void)bk_listener_close(&server->listener, 0);
    return r;
}

const struct bki_connector bki_connector_ws_listen = {
    .info = {.scheme = "ws-listen",
             .usage = "ws-listen:HOST:PORT[?max=SIZE&cert=FILE&key=FILE&cacert=FILE]  "
                      "sink: ws-listen:HOST:PORT[?wait=N&buffer=N&slow=wait|drop|close]",
             .about = "A WebSocket server, with cert under TLS: what clients send; as a sink, each "
                      "message to every client, the first N waited for.",
             .source = true,
             .sink = true,
             .source_class = BK_SOURCE_NONE},
    .options_in = BKI_OPTIONS_IN_QUERY,
    .source_options = (const char *const[]){BKI_WS_SERVER_OPTIONS, NULL},
    .sink_options = (const char *const[]){"wait", "buffer", "slow", BKI_WS_SERVER_OPTIONS, NULL},
    .add_source = bki_ws_listen_add_source,
    .add_sink = bki_ws_listen_add_sink,
};
