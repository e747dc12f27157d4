/* SPDX-License-Identifier: MIT
 * What N idle TCP connections cost their server's process: resident bytes each, once they are
 * accepted and their tasks wait for a line, and once each has had a line echoed.  The clients are
 * plain sockets of another process.  idle_conn [CONNECTIONS], 10,000 by default. */
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

static int connect_once(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        _exit(1);
    return fd;
}

static void be_the_clients(int orders)
{
    uint16_t port;
    char go, line[6];
    int *fds = calloc(n_wanted, sizeof *fds);
    if (!fds || read(orders, &port, sizeof port) != sizeof port)
        _exit(1);
    for (size_t i = 0; i < n_wanted; i++)
        fds[i] = connect_once(port);
    if (read(orders, &go, 1) != 1)
        _exit(1);
    for (size_t i = 0; i < n_wanted; i++)
        if (write(fds[i], "hello\n", 6) != 6 || read(fds[i], line, 6) != 6)
            _exit(1);
    while (read(orders, &go, 1) > 0)
        ;
    _exit(0);
}

/* ---- The server ---- */

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_span line;
    int r;
    n_open++;
    while ((r = bk_stream_read_line(*stream, &line)) > 0) {
        const bk_span parts[] = {line, bk_span_str("\n")};
        r = bk_stream_writev(*stream, parts, 2);
        if (r < 0)
            break;
        n_echoed++;
    }
    return r;
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
    bk_server *server = NULL;
    bk_server_opts opts = {.listen.backlog = 4096, .serve.limit = n_wanted + 1};
    int r = bk_server_open(&server, "127.0.0.1:0", echo, NULL, &opts);
    if (r < 0)
        return r;
    long before = bench_vm_bytes("VmRSS:");
    const char *address = bk_server_address(server, 0);
    uint16_t port = (uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
    if (write(to_clients, &port, sizeof port) != sizeof port)
        return 1;
    r = wait_for(&n_open);
    double opened = each(before);
    if (r < 0 || write(to_clients, "", 1) != 1)
        return 1;
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
        fprintf(stderr, "idle_conn: %zu descriptors are needed\n", n_wanted + 100);
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
