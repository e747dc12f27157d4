/* SPDX-License-Identifier: MIT
 * What N idle WebSocket connections cost their server's process: resident bytes each, once they
 * have shaken hands, and once each has had a message echoed.  The clients are plain sockets of
 * another process.  idle_ws [CONNECTIONS], 10,000 by default. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <beck.h>

#include "bench.h"

static size_t n_wanted, n_open, n_echoed;
static int to_clients; /* a pipe: a byte lets them go on */

/* ---- The clients, in a process of their own ---- */

static void say(int fd, const void *data, size_t len)
{
    if (write(fd, data, len) != (ssize_t)len)
        _exit(1);
}

static void hear(int fd, size_t least)
{
    char buf[1000];
    for (size_t got = 0; got < least;) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n <= 0)
            _exit(1);
        got += (size_t)n;
    }
}

static int connect_once(int port)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        _exit(1);
    say(fd, request, sizeof request - 1);
    hear(fd, 129); /* the whole answer */
    return fd;
}

static void be_the_clients(int orders)
{
    uint16_t port;
    int *fds = calloc(n_wanted, sizeof *fds);
    char go;
    if (!fds || read(orders, &port, sizeof port) != sizeof port)
        _exit(1);
    for (size_t i = 0; i < n_wanted; i++)
        fds[i] = connect_once(port);
    if (read(orders, &go, 1) != 1)
        _exit(1);
    for (size_t i = 0; i < n_wanted; i++) {
        say(fds[i], "\x81\x85\0\0\0\0hello", 11);
        hear(fds[i], 7);
    }
    while (read(orders, &go, 1) > 0)
        ;
    _exit(0);
}

/* ---- The server ---- */

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = bk_ws_accept(&ws, stream, NULL);
    n_open += r == 0;
    while (r == 0 && (r = bk_ws_recv(ws, &msg)) > 0) {
        r = bk_ws_send(ws, &msg);
        n_echoed += r == 0;
    }
    bk_msg_free(&msg);
    return bk_ws_close(&ws, r);
}

static int serve(void *ctx)
{
    return bk_serve(ctx, echo, NULL, &(bk_serve_opts){.limit = n_wanted + 1});
}

static int wait_for(const size_t *count)
{
    int r = 0;
    while (r == 0 && *count < n_wanted)
        r = bk_sleep(bk_ms(10));
    return r < 0 ? r : bk_sleep(bk_ms(100)); /* for the last ones to settle */
}

static double each(long before)
{
    return (double)(bench_vm_bytes("VmRSS:") - before) / (double)n_wanted;
}

static int bench(void *ctx)
{
    (void)ctx;
    bk_listener *listener = NULL;
    bk_task *server = NULL;
    int r = bk_listen(&listener, "127.0.0.1:0", &(bk_listen_opts){.backlog = 4096});
    if (r == 0)
        r = bk_go(&server, serve, listener, NULL);
    if (r < 0)
        return r;
    long before = bench_vm_bytes("VmRSS:");
    uint16_t port = (uint16_t)strtoul(strrchr(bk_listener_address(listener), ':') + 1, NULL, 10);
    say(to_clients, &port, sizeof port);
    r = wait_for(&n_open);
    double opened = each(before);
    say(to_clients, "", 1);
    if (r == 0)
        r = wait_for(&n_echoed);
    if (r == 0)
        printf("RESULT rss_B=%.0f echoed_rss_B=%.0f connections=%zu\n", opened, each(before),
               n_wanted);
    fflush(stdout);
    _exit(r < 0); /* taking ten thousand connections down again is not measured */
}

int main(int argc, char **argv)
{
    int orders[2];
    struct rlimit files;
    n_wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur < n_wanted + 100 ||
        pipe(orders) < 0) {
        fprintf(stderr, "idle_ws: %zu descriptors are needed\n", n_wanted + 100);
        return 1;
    }
    pid_t clients = fork();
    if (clients == 0) {
        close(orders[1]);
        be_the_clients(orders[0]);
    }
    to_clients = orders[1];
    close(orders[0]);
    return clients < 0 || bk_run(bench, NULL, NULL) != 0;
}
