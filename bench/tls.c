/* SPDX-License-Identifier: MIT
 * TLS 1.3 over loopback TCP with both ends on one thread, beside OpenSSL in a loop by hand: bytes
 * in writes of 16 KiB, messages there and back, handshakes, and what an idle connection costs. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include <beck.h>

#include "../tests/tls_fixture.h"
#include "bench.h"

#define BLOCK 16384
#define BYTES ((size_t)1 << 29)
#define PINGS 50000
#define HANDSHAKES 300
#define IDLE 500

static char block[4 * BLOCK], sink[4 * BLOCK];

/* Of this process: both ends are in it, and whoever else uses the machine is not. */
static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- By hand ---- */

static SSL_CTX *client_ctx, *server_ctx;

static int tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 1) == 0 &&
              getsockname(listener, (struct sockaddr *)&address, &len) == 0 &&
              connect(fds[0], (struct sockaddr *)&address, len) == 0;
    fds[1] = ok ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    close(listener);
    for (int i = 0; i < 2; i++) {
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    return fds[1] < 0 ? -1 : 0;
}

static SSL *new_ssl(SSL_CTX *ctx, int fd, bool client)
{
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (client) {
        SSL_set1_host(ssl, "localhost");
        SSL_set_connect_state(ssl);
    } else {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

static int hand_connect(SSL *ssl[2])
{
    int fds[2], r[2];
    if (tcp_pair(fds) < 0)
        return -1;
    ssl[0] = new_ssl(client_ctx, fds[0], true);
    ssl[1] = new_ssl(server_ctx, fds[1], false);
    do {
        r[0] = SSL_do_handshake(ssl[0]);
        r[1] = SSL_do_handshake(ssl[1]);
    } while (r[0] != 1 || r[1] != 1);
    return 0;
}

static void hand_close(SSL *ssl[2])
{
    for (int i = 0; i < 2; i++) {
        int fd = SSL_get_fd(ssl[i]);
        SSL_free(ssl[i]);
        close(fd);
    }
}

static void hand_bytes(SSL *ssl[2])
{
    size_t sent = 0, got = 0;
    while (got < BYTES) {
        int n;
        while (sent < BYTES && (n = SSL_write(ssl[0], block, BLOCK)) > 0)
            sent += (size_t)n;
        while ((n = SSL_read(ssl[1], sink, sizeof sink)) > 0)
            got += (size_t)n;
    }
}

static void hand_pings(SSL *ssl[2])
{
    for (int i = 0; i < PINGS; i++) {
        for (int from = 0; from < 2; from++) {
            SSL_write(ssl[from], block, 64);
            while (SSL_read(ssl[!from], sink, sizeof sink) <= 0)
                ;
        }
    }
}

static long hand_idle(void)
{
    static SSL *ssl[IDLE][2];
    long before = bench_vm_bytes("VmRSS:");
    for (int i = 0; i < IDLE; i++) {
        if (hand_connect(ssl[i]) < 0)
            return -1;
        SSL_write(ssl[i][1], "x", 1);
        while (SSL_read(ssl[i][0], sink, 1) <= 0)
            ;
        for (int end = 0; end < 2; end++)
            SSL_read(ssl[i][end], sink, sizeof sink); /* it waits for more */
    }
    long bytes = bench_vm_bytes("VmRSS:") - before;
    for (int i = 0; i < IDLE; i++)
        hand_close(ssl[i]);
    return bytes / (2 * IDLE);
}

static int hand(void)
{
    SSL *ssl[2];
    client_ctx = SSL_CTX_new(TLS_client_method());
    server_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_load_verify_file(client_ctx, tls_file("ca"));
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_use_certificate_chain_file(server_ctx, tls_file("server"));
    SSL_CTX_use_PrivateKey_file(server_ctx, tls_file("server"), SSL_FILETYPE_PEM);
    for (SSL_CTX **ctx = &client_ctx; ctx; ctx = ctx == &client_ctx ? &server_ctx : NULL) {
        SSL_CTX_set_mode(*ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_read_ahead(*ctx, 1);
    }
    if (hand_connect(ssl) < 0)
        return 1;
    int64_t start = cpu_ns();
    hand_bytes(ssl);
    int64_t bytes_ns = cpu_ns() - start;
    start = cpu_ns();
    hand_pings(ssl);
    int64_t pings_ns = cpu_ns() - start;
    hand_close(ssl);
    start = cpu_ns();
    for (int i = 0; i < HANDSHAKES; i++) {
        if (hand_connect(ssl) < 0)
            return 1;
        hand_close(ssl);
    }
    int64_t handshakes_ns = cpu_ns() - start;
    printf("RESULT mb_s=%.0f ping_us=%.2f handshake_us=%.0f idle_bytes=%ld\n",
           (double)BYTES * 1e3 / (double)bytes_ns, (double)pings_ns / 1e3 / PINGS,
           (double)handshakes_ns / 1e3 / HANDSHAKES, hand_idle());
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    return 0;
}

/* ---- beck ---- */

static struct {
    bk_tls *client_tls, *server_tls;
    bk_stream *client, *server;
    bool plain;
} b;

static int shake_server(void *ctx)
{
    (void)ctx;
    return b.plain ? 0 : bk_stream_start_tls(b.server, b.server_tls, NULL);
}

static int connect_pair(void)
{
    int fds[2];
    bk_task *task = NULL;
    if (tcp_pair(fds) < 0)
        return -errno;
    int r = bk_stream_from_fd(&b.client, fds[0], NULL);
    if (r == 0)
        r = bk_stream_from_fd(&b.server, fds[1], NULL);
    if (r < 0 || b.plain)
        return r;
    r = bk_go(&task, shake_server, NULL, NULL);
    if (r == 0)
        r = bk_stream_start_tls(b.client, b.client_tls,
                                &(bk_start_tls_opts){.server_name = "localhost"});
    bk_task_wait(task, NULL);
    bk_task_free(&task);
    return r;
}

static void close_pair(void)
{
    bk_stream_close(&b.client, -1);
    bk_stream_close(&b.server, -1);
}

static int write_bytes(void *ctx)
{
    (void)ctx;
    int r = 0;
    for (size_t sent = 0; r == 0 && sent < BYTES; sent += BLOCK)
        r = bk_stream_write(b.client, block, BLOCK);
    return r;
}

static int read_bytes(void *ctx)
{
    (void)ctx;
    ssize_t n;
    for (size_t got = 0; got < BYTES; got += (size_t)n) {
        n = bk_stream_read(b.server, sink, sizeof sink);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
    }
    return 0;
}

static int echo(void *ctx)
{
    (void)ctx;
    ssize_t n = 1;
    char buf[64];
    for (int i = 0; n > 0 && i < PINGS; i++) {
        n = bk_stream_read_exactly(b.server, buf, sizeof buf);
        if (n == 0)
            n = bk_stream_write(b.server, buf, sizeof buf) == 0;
    }
    return n < 0 ? (int)n : 0;
}

static int ping(void *ctx)
{
    (void)ctx;
    char buf[64];
    int r = 0;
    for (int i = 0; r == 0 && i < PINGS; i++) {
        r = bk_stream_write(b.client, block, sizeof buf);
        if (r == 0)
            r = bk_stream_read_exactly(b.client, buf, sizeof buf);
    }
    return r;
}

static int64_t both(bk_fn *one, bk_fn *other)
{
    bk_call calls[] = {{.fn = one}, {.fn = other}};
    int64_t start = cpu_ns();
    return bk_gather(calls, 2, NULL) < 0 ? -1 : cpu_ns() - start;
}

static int64_t shake_many(void)
{
    int64_t start = cpu_ns();
    for (int i = 0; i < HANDSHAKES; i++) {
        if (connect_pair() < 0)
            return -1;
        close_pair();
    }
    return cpu_ns() - start;
}

static int read_once(void *ctx)
{
    return (int)bk_stream_read(ctx, sink, sizeof sink);
}

/* Has a task wait for more, and then not any more. */
static int wait_in_vain(bk_stream *s)
{
    bk_task *task = NULL;
    int r = bk_go(&task, read_once, s, NULL);
    if (r == 0)
        r = bk_yield();
    bk_task_cancel(task);
    bk_task_wait(task, NULL);
    bk_task_free(&task);
    return r;
}

/* Bytes that one end of an idle connection costs, beside its sockets and the task that waits. */
static long idle_bytes(void)
{
    static bk_stream *clients[IDLE], *servers[IDLE];
    long before = bench_vm_bytes("VmRSS:");
    for (int i = 0; i < IDLE; i++) {
        char byte;
        if (connect_pair() < 0 || bk_stream_write(b.server, "x", 1) < 0 ||
            bk_stream_read(b.client, &byte, 1) != 1 || wait_in_vain(b.client) < 0 ||
            wait_in_vain(b.server) < 0)
            return -1;
        clients[i] = b.client;
        servers[i] = b.server;
        b.client = b.server = NULL;
    }
    long bytes = bench_vm_bytes("VmRSS:") - before;
    for (int i = 0; i < IDLE; i++) {
        bk_stream_close(&clients[i], -1);
        bk_stream_close(&servers[i], -1);
    }
    return bytes / (2 * IDLE);
}

static int bench(void *ctx)
{
    (void)ctx;
    if (connect_pair() < 0)
        return 1;
    int64_t bytes_ns = both(write_bytes, read_bytes), pings_ns = both(ping, echo);
    close_pair();
    int64_t handshakes_ns = shake_many();
    if (bytes_ns < 0 || pings_ns < 0 || handshakes_ns < 0)
        return 1;
    printf("RESULT mb_s=%.0f ping_us=%.2f handshake_us=%.0f idle_bytes=%ld\n",
           (double)BYTES * 1e3 / (double)bytes_ns, (double)pings_ns / 1e3 / PINGS,
           (double)handshakes_ns / 1e3 / HANDSHAKES, idle_bytes());
    return 0;
}

/* Without resumption, which the loop by hand does not do either.  Each in a process of its own:
 * memory that one has freed, the next would have for nothing. */
int main(int argc, char **argv)
{
    bk_tls_opts client = {.ca_file = tls_file("ca"), .no_resumption = true};
    bk_tls_opts server = {.cert_file = tls_file("server")};
    int r = 0;
    b.plain = argc == 2 && strcmp(argv[1], "plain") == 0;
    if (argc == 2 && strcmp(argv[1], "hand") == 0)
        return hand();
    if (argc > 1 && !b.plain) {
        fputs("usage: tls [hand | plain]\n", stderr);
        return 2;
    }
    if (bk_tls_client_new(&b.client_tls, &client) < 0 ||
        bk_tls_server_new(&b.server_tls, &server) < 0)
        r = 1;
    if (r == 0)
        r = bk_run(bench, NULL, NULL);
    bk_tls_free(&b.client_tls);
    bk_tls_free(&b.server_tls);
    return r;
}
