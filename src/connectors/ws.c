/* SPDX-License-Identifier: MIT
 * The connectors "ws:" and "wss:": the messages of a WebSocket server, and messages sent to one.
 *
 * The first connection must succeed.  One lost later is made again, with a growing wait, and the
 * gap is told: what the server sent meanwhile is gone.  Options stand behind a "#", since the query
 * is the server's. */
#include <stdio.h>

#include <beck/sync.h>
#include <beck/ws.h>

#include "base/alloc.h"
#include "connectors/backoff.h"
#include "connectors/connector.h"
#include "connectors/tls_options.h"

#define CLOSE_NORMAL 1000
#define SINK_BATCH 256

enum reconnect { RECONNECT_LOST, RECONNECT_ALWAYS, RECONNECT_NEVER };

/* A connection that is made again when it is lost. */
struct link {
    bk_ws *ws; /* NULL: to be made again at retry_at */
    char *url;
    char *hello; /* sent after each connect; NULL: nothing */
    struct bki_port *port;
    struct bki_backoff backoff;
    bk_time lost_at, retry_at;
    bk_ws_opts opts;
    int reconnect; /* enum reconnect */
};

static int link_init(struct link *link, const struct bki_target *target)
{
    static const char *const words[] = {"lost", "always", "never", NULL};
    uint64_t max;
    const char *hello = bki_target_option(target, "send");
    int r = bki_target_choice(target, "reconnect", words, RECONNECT_LOST, &link->reconnect);
    if (r == 0)
        r = bki_target_size(target, "max", 0, &max);
    if (r < 0)
        return r;
    link->opts.max_message = (size_t)max;
    link->url = bki_strndup(target->url, strcspn(target->url, "#"));
    link->hello = hello ? bki_strdup(hello) : NULL;
    if (!link->url || (hello && !link->hello))
        return bk_fail(-ENOMEM, "no memory for a URL");
    if (!target->parts.host.data)
        return bk_fail(-BK_EURL, "ws: is written ws://HOST[:PORT]/PATH, with TLS wss://");
    if (target->parts.userinfo.data)
        return bk_fail(-BK_EURL, "a user and password do not go into the URL of a WebSocket");
    return bki_target_tls_client(target, &link->opts.tls);
}

static void link_free(struct link *link)
{
    bki_free(link->url);
    bki_free(link->hello);
    bk_tls_free(&link->opts.tls);
}

static int link_connect(struct link *link)
{
    int r = bk_ws_connect(&link->ws, link->url, &link->opts);
    if (r == 0 && link->hello)
        r = bk_ws_send_text(link->ws, link->hello, strlen(link->hello));
    if (r < 0)
        (void)bk_ws_close(&link->ws, r);
    return r;
}

static void link_lost(struct link *link, const char *why)
{
    (void)bk_ws_close(&link->ws, -ECONNRESET);
    bk_duration wait = bki_backoff_next(&link->backoff);
    link->lost_at = bk_now();
    link->retry_at = bk_time_add(link->lost_at, wait);
    bki_port_event(link->port, BK_FLOW_DISCONNECTED, -ECONNRESET, "%s; trying again", why);
}

/* Tries again until it succeeds.  0 or -ECANCELED, after which it may be called again. */
static int link_reconnect(struct link *link)
{
    while (!link->ws) {
        int r = bk_sleep_until(link->retry_at);
        if (r == 0)
            r = link_connect(link);
        if (r == -ECANCELED)
            return r;
        if (r < 0)
            link->retry_at = bk_time_add(bk_now(), bki_backoff_next(&link->backoff));
    }
    bk_duration gap = bk_time_since(bk_now(), link->lost_at);
    bki_port_gap(link->port, gap);
    bki_port_event(link->port, BK_FLOW_RECONNECTED, 0, "connected again after %.1f s",
                   (double)gap.ns / 1e9);
    return 0;
}

/* ---- Source ---- */

struct source {
    struct link link;
    bk_duration stall; /* no message for so long: the connection is dead */
};

static int source_open(void *self, struct bki_port *port)
{
    struct source *s = self;
    s->link.port = port;
    return link_connect(&s->link);
}

static int receive(struct source *s, bk_msg **msg)
{
    if (s->stall.ns == BK_FOREVER_NS)
        return bk_ws_recv(s->link.ws, msg);
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, s->stall);
    if (r < 0)
        return r;
    return bk_timeout_close(&limit, bk_ws_recv(s->link.ws, msg));
}

/* The connection has ended with result r of receiving.  1: make it again; 0: that was the end; or
 * the error. */
static int after_end(struct source *s, int r)
{
    struct link *link = &s->link;
    char why[200];
    int code = bk_ws_close_code(link->ws);
    if (r == -EMSGSIZE)
        return bk_fail(r, "a message over the limit (raise it with #max=SIZE)");
    if (r == -ECANCELED || r == -ENOMEM)
        return r;
    bool lost = r < 0 || code != CLOSE_NORMAL;
    if (!lost && link->reconnect != RECONNECT_ALWAYS)
        return 0;
    if (r == -ETIMEDOUT)
        snprintf(why, sizeof why, "no message for %.1f s", (double)s->stall.ns / 1e9);
    else if (r < 0)
        snprintf(why, sizeof why, "connection lost: %s",
                 bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
    else
        snprintf(why, sizeof why, "closed by the server (%d%s%.100s)", code,
                 bk_ws_close_reason(link->ws)[0] ? " " : "", bk_ws_close_reason(link->ws));
    if (link->reconnect == RECONNECT_NEVER)
        return bk_fail(r < 0 ? r : -ECONNRESET, "%s", why);
    link_lost(link, why);
    return 1;
}

static int source_next(void *self, bk_msg **msg)
{
    struct source *s = self;
    for (;;) {
        int r = s->link.ws ? 0 : link_reconnect(&s->link);
        if (r < 0)
            return r;
        r = receive(s, msg);
        if (r > 0 || *msg) {
            bki_backoff_reset(&s->link.backoff);
            return 1;
        }
        r = after_end(s, r);
        if (r <= 0)
            return r;
    }
}

static int source_close(void *self, int r)
{
    struct source *s = self;
    return bk_ws_close(&s->link.ws, r);
}

static void source_dispose(void *self)
{
    struct source *s = self;
    link_free(&s->link);
    bki_free(s);
}

static const struct bki_source_ops source_ops = {
    .source_class = BK_SOURCE_NONE,
    .open = source_open,
    .next = source_next,
    .close = source_close,
    .dispose = source_dispose,
};

static int add_source(bk_flow *flow, const struct bki_target *target)
{
    struct source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a source");
    int r = link_init(&s->link, target);
    if (r == 0)
        r = bki_target_duration(target, "stall", bk_forever(), &s->stall);
    if (r == 0)
        r = bki_flow_add_source(flow, &source_ops, s, target->name);
    if (r < 0)
        source_dispose(s);
    return r;
}

/* ---- Sink ---- */

struct sink {
    struct link link;
    bk_task *reader; /* answers pings, and notices the end */
};

/* Whatever the server says is dropped. */
static int read_on(void *ctx)
{
    bk_ws *ws = ctx;
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_ws_recv(ws, &msg)) > 0)
        bk_msg_free(&msg);
    return r == -ECANCELED ? r : 0;
}

static int start_reader(struct sink *s)
{
    return bk_go(&s->reader, read_on, s->link.ws, &(bk_task_opts){.name = "ws sink reader"});
}

static void stop_reader(struct sink *s)
{
    if (!s->reader)
        return;
    bk_task_cancel(s->reader);
    (void)bk_task_wait(s->reader, NULL);
    bk_task_free(&s->reader);
}

static int sink_open(void *self, struct bki_port *port)
{
    struct sink *s = self;
    s->link.port = port;
    int r = link_connect(&s->link);
    if (r == 0)
        r = start_reader(s);
    if (r < 0)
        (void)bk_ws_close(&s->link.ws, r);
    return r;
}

/* Sends shares of the messages, which are still needed if the connection breaks. */
static int send_all(struct sink *s, struct bki_batch *batch)
{
    int r = 0;
    if (bk_task_done(s->reader))
        return bk_fail(-BK_ECLOSED, "closed by the server");
    for (size_t i = batch->n_done; i < batch->n && r == 0; i++) {
        bk_msg *share = NULL, *msg = batch->entries[i].msg;
        r = bk_msg_slice(&share, msg, 0, bk_msg_len(msg));
        if (r == 0)
            r = bk_ws_send(s->link.ws, &share);
        bk_msg_free(&share);
    }
    return r < 0 ? r : bk_ws_flush(s->link.ws);
}

static int sink_write(void *self, struct bki_batch *batch)
{
    struct sink *s = self;
    for (;;) {
        int r = 0;
        if (!s->link.ws) {
            r = link_reconnect(&s->link);
            if (r == 0)
                r = start_reader(s);
            if (r < 0)
                return r;
        }
        r = send_all(s, batch);
        if (r == 0)
            bki_backoff_reset(&s->link.backoff);
        if (r == 0 || r == -ECANCELED || r == -ENOMEM)
            return r;
        char why[200];
        snprintf(why, sizeof why, "connection lost: %s",
                 bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
        stop_reader(s);
        if (s->link.reconnect == RECONNECT_NEVER)
            return bk_fail(r, "%s", why);
        link_lost(&s->link, why);
    }
}

static int sink_close(void *self, int r)
{
    struct sink *s = self;
    stop_reader(s);
    return bk_ws_close(&s->link.ws, r);
}

static void sink_dispose(void *self)
{
    struct sink *s = self;
    link_free(&s->link);
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
    struct sink *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a sink");
    int r = link_init(&s->link, target);
    if (r == 0)
        r = bki_flow_add_sink(flow, &sink_ops, s, target->name,
                              &(struct bki_sink_limits){.max_items = SINK_BATCH});
    if (r < 0)
        sink_dispose(s);
    return r;
}

#define OPTIONS "[#reconnect=lost|always|never&send=TEXT&stall=TIME&max=SIZE"

const struct bki_connector bki_connector_ws = {
    .info = {.scheme = "ws",
             .usage = "ws://HOST[:PORT]/PATH" OPTIONS "]",
             .about = "The messages of a WebSocket server, reconnecting when the connection is "
                      "lost; as a sink, messages sent to it.",
             .source = true,
             .sink = true,
             .source_class = BK_SOURCE_NONE},
    .options_in = BKI_OPTIONS_IN_FRAGMENT,
    .source_options = (const char *const[]){"reconnect", "send", "stall", "max", NULL},
    .sink_options = (const char *const[]){"reconnect", "send", "max", NULL},
    .add_source = add_source,
    .add_sink = add_sink,
};

const struct bki_connector bki_connector_wss = {
    .info = {.scheme = "wss",
             .usage = "wss://HOST[:PORT]/PATH" OPTIONS "&cacert=FILE&cert=FILE&key=FILE&insecure]",
             .about = "The same under TLS; the certificate must be from whom the system trusts, or "
                      "cacert.",
             .source = true,
             .sink = true,
             .source_class = BK_SOURCE_NONE},
    .options_in = BKI_OPTIONS_IN_FRAGMENT,
    .source_options =
        (const char *const[]){"reconnect", "send", "stall", "max", BKI_TLS_CLIENT_OPTIONS, NULL},
    .sink_options = (const char *const[]){"reconnect", "send", "max", BKI_TLS_CLIENT_OPTIONS, NULL},
    .add_source = add_source,
    .add_sink = add_sink,
};
