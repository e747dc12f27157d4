/* SPDX-License-Identifier: MIT
 * TLS between two streams of one loop: handshakes, what is checked, bytes, ends. */
#include "net/net_test.h"
#include "tests/tls_fixture.h"

/* A client and a server over a pair of sockets. */
struct pair {
    bk_tls *client_tls, *server_tls;
    bk_stream *client, *server;
    int client_result, server_result;
    const char *name;
};

static int shake_client(void *ctx)
{
    struct pair *p = ctx;
    p->client_result =
        bk_stream_start_tls(p->client, p->client_tls, &(bk_start_tls_opts){.server_name = p->name});
    return 0;
}

static int shake_server(void *ctx)
{
    struct pair *p = ctx;
    p->server_result = bk_stream_start_tls(p->server, p->server_tls, NULL);
    return 0;
}

static int shake(struct pair *p)
{
    bk_call both[] = {{.fn = shake_client, .ctx = p}, {.fn = shake_server, .ctx = p}};
    int r = bk_gather(both, 2, NULL);
    return r < 0 ? r : p->client_result < 0 ? p->client_result : p->server_result;
}

static int connect_pair(struct pair *p)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    int r = bk_stream_from_fd(&p->client, fds[0], NULL);
    return r < 0 ? r : bk_stream_from_fd(&p->server, fds[1], NULL);
}

static int open_pair(struct pair *p, const bk_tls_opts *client, const bk_tls_opts *server)
{
    *p = (struct pair){.name = "localhost"};
    int r = bk_tls_client_new(&p->client_tls, client);
    if (r == 0)
        r = bk_tls_server_new(&p->server_tls, server);
    return r < 0 ? r : connect_pair(p);
}

static void close_pair(struct pair *p)
{
    bk_stream_close(&p->client, -1);
    bk_stream_close(&p->server, -1);
    bk_tls_free(&p->client_tls);
    bk_tls_free(&p->server_tls);
}

LOOP_TEST(C150_ST6_hands_are_shaken_and_bytes_pass)
{
    struct pair p;
    bk_tls_info info;
    char buf[16];
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                       &(bk_tls_opts){.cert_file = tls_file("server")}),
             0);
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(bk_stream_write(p.client, "hello", 5), 0);
    CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), 5);
    CHECK_MEM(buf, 5, "hello", 5);
    CHECK_EQ(bk_stream_write(p.server, "you too", 7), 0);
    CHECK_EQ(bk_stream_read_exactly(p.client, buf, 7), 0);
    CHECK_MEM(buf, 7, "you too", 7);
    CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
    CHECK_STR(info.version, "TLSv1.3");
    CHECK_STR(info.peer_subject, "CN=not looked at");
    CHECK_STR(info.peer_names,
              "DNS:localhost, DNS:*.example.org, IP:127.0.0.1, IP:0:0:0:0:0:0:0:1");
    CHECK(info.peer_verified && !info.resumed);
    close_pair(&p);
}

CHECK_MAIN(TEST(C150_ST6_hands_are_shaken_and_bytes_pass))
