/* SPDX-License-Identifier: MIT
 * Pairs of streams under TLS for tests, with certificates made for the occasion.
 *
 *     struct pair p;
 *     CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
 *                        &(bk_tls_opts){.cert_file = tls_file("server")}), 0);
 *     CHECK_EQ(shake(&p), 0);
 *     ...
 *     close_pair(&p); */
#ifndef BECK_SRC_NET_TLS_FIXTURE_H
#define BECK_SRC_NET_TLS_FIXTURE_H

#include "net/net_test.h"
#include "tests/tls_fixture.h"

struct pair {
    bk_tls *client_tls, *server_tls;
    bk_stream *client, *server;
    int client_result, server_result;
    char client_error[256], server_error[256];
    const char *name; /* whom the client asks for */
    const char *const *client_alpn, *const *server_alpn;
    size_t portion; /* a man in the middle passes on so many bytes at a time; 0: there is none */
    bk_stream *near_client, *near_server; /* his */
    bk_group *pumps;
    bk_task *to_server, *to_client;
};

static inline int shake_client(void *ctx)
{
    struct pair *p = ctx;
    bk_start_tls_opts opts = {.server_name = p->name, .alpn = p->client_alpn};
    p->client_result = bk_stream_start_tls(p->client, p->client_tls, &opts);
    snprintf(p->client_error, sizeof p->client_error, "%s", p->client_result ? bk_errmsg() : "");
    return 0;
}

static inline int shake_server(void *ctx)
{
    struct pair *p = ctx;
    bk_start_tls_opts opts = {.alpn = p->server_alpn};
    p->server_result = bk_stream_start_tls(p->server, p->server_tls, &opts);
    snprintf(p->server_error, sizeof p->server_error, "%s", p->server_result ? bk_errmsg() : "");
    return 0;
}

/* Both at once.  TLS 1.3 clients are done before the server has looked at their certificate. */
static inline int shake(struct pair *p)
{
    bk_call both[] = {{.fn = shake_client, .ctx = p}, {.fn = shake_server, .ctx = p}};
    int r = bk_gather(both, 2, NULL);
    return r < 0 ? r : p->client_result < 0 ? p->client_result : p->server_result;
}

static inline int open_sockets(bk_stream **a, bk_stream **b, const bk_stream_opts *opts)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    int r = bk_stream_from_fd(a, fds[0], opts);
    if (r < 0)
        close(fds[0]);
    else
        r = bk_stream_from_fd(b, fds[1], opts);
    if (r < 0)
        close(fds[1]);
    return r;
}

static inline int pump(bk_stream *from, bk_stream *to, size_t portion)
{
    char buf[4096];
    ssize_t n;
    while ((n = bk_stream_read(from, buf, sizeof buf)) > 0) {
        for (ssize_t at = 0; at < n; at += (ssize_t)portion) {
            size_t len = (size_t)(n - at) < portion ? (size_t)(n - at) : portion;
            int r = bk_stream_write(to, buf + at, len);
            for (int i = 0; r == 0 && i < 3; i++)
                r = bk_yield();
            if (r < 0)
                return r == -ECANCELED ? r : 0;
        }
    }
    if (n == 0)
        bk_stream_write_eof(to);
    return n == -ECANCELED ? (int)n : 0;
}

static inline int pump_to_server(void *ctx)
{
    struct pair *p = ctx;
    return pump(p->near_client, p->near_server, p->portion);
}

static inline int pump_to_client(void *ctx)
{
    struct pair *p = ctx;
    return pump(p->near_server, p->near_client, p->portion);
}

static inline int open_streams(struct pair *p, const bk_stream_opts *opts)
{
    if (p->portion == 0)
        return open_sockets(&p->client, &p->server, opts);
    int r = open_sockets(&p->client, &p->near_client, opts);
    if (r == 0)
        r = open_sockets(&p->server, &p->near_server, opts);
    if (r == 0)
        r = bk_go(&p->to_server, pump_to_server, p, NULL);
    return r < 0 ? r : bk_go(&p->to_client, pump_to_client, p, NULL);
}

static inline void stop_pump(bk_task **task)
{
    if (!*task)
        return;
    bk_task_cancel(*task);
    bk_task_wait(*task, NULL);
    bk_task_free(task);
}

static inline void close_streams(struct pair *p)
{
    stop_pump(&p->to_server);
    stop_pump(&p->to_client);
    bk_stream_close(&p->client, -1);
    bk_stream_close(&p->server, -1);
    bk_stream_close(&p->near_client, -1);
    bk_stream_close(&p->near_server, -1);
}

static inline void close_pair(struct pair *p)
{
    close_streams(p);
    bk_tls_free(&p->client_tls);
    bk_tls_free(&p->server_tls);
}

static inline int open_pair_with(struct pair *p, const bk_tls_opts *client,
                                 const bk_tls_opts *server, size_t portion,
                                 const bk_stream_opts *opts)
{
    *p = (struct pair){.name = "localhost", .portion = portion};
    int r = bk_tls_client_new(&p->client_tls, client);
    if (r == 0)
        r = bk_tls_server_new(&p->server_tls, server);
    return r < 0 ? r : open_streams(p, opts);
}

static inline int open_pair(struct pair *p, const bk_tls_opts *client, const bk_tls_opts *server)
{
    return open_pair_with(p, client, server, 0, NULL);
}

/* The usual one, hands shaken. */
static inline int open_shaken(struct pair *p, size_t portion, const bk_stream_opts *opts)
{
    int r = open_pair_with(p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                           &(bk_tls_opts){.cert_file = tls_file("server")}, portion, opts);
    return r < 0 ? r : shake(p);
}

/* Writes text and has the other end read it. */
static inline int pass(bk_stream *from, bk_stream *to, const char *text)
{
    char buf[64];
    size_t len = strlen(text);
    int r = bk_stream_write(from, text, len);
    if (r == 0)
        r = bk_stream_read_exactly(to, buf, len);
    return r < 0 ? r : memcmp(buf, text, len) == 0 ? 0 : -EIO;
}

/* One connection more, and whether it resumed a session. */
static inline int connect_again(struct pair *p, bool *resumed)
{
    bk_tls_info info = {0};
    close_streams(p);
    int r = open_streams(p, NULL);
    if (r == 0)
        r = shake(p);
    if (r == 0)
        r = pass(p->server, p->client, "tickets come first");
    if (r == 0)
        r = bk_stream_tls_info(p->client, &info);
    *resumed = info.resumed;
    if (r == 0)
        r = bk_stream_tls_info(p->server, &info);
    return r < 0 ? r : info.resumed == *resumed ? 0 : -EIO;
}

#endif
