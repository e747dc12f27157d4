/* SPDX-License-Identifier: MIT
 * What N idle connections cost their server's process: resident bytes each, once they are open, and
 * once each has had something echoed.  The clients are plain sockets of another process.
 *
 *     static const struct idle kind = {"idle_conn", start, NULL, ask};
 *     int main(int argc, char **argv) { return idle_main(&kind, argc, argv); }
 */
#ifndef BECK_BENCH_IDLE_H
#define BECK_BENCH_IDLE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <beck.h>

#include "bench.h"

struct idle {
    const char *name;
    int (*start)(uint16_t *port); /* a server that counts n_open and n_echoed */
    void (*shake_hands)(int fd);  /* a client's; NULL: nothing to do */
    void (*ask)(int fd);          /* and hear the echo */
};

static const struct idle *kind;
static size_t n_wanted, n_open, n_echoed;
static int to_clients; /* a pipe: the port, then a byte that lets them ask */

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

static int connect_once(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        _exit(1);
    if (kind->shake_hands)
        kind->shake_hands(fd);
    return fd;
}

static void be_the_clients(int orders)
{
    uint16_t port;
    char go;
    int *fds = calloc(n_wanted, sizeof *fds);
    if (!fds || read(orders, &port, sizeof port) != sizeof port)
        _exit(1);
    for (size_t i = 0; i < n_wanted; i++)
        fds[i] = connect_once(port);
    if (read(orders, &go, 1) != 1)
        _exit(1);
    for (size_t i = 0; i < n_wanted; i++)
        kind->ask(fds[i]);
    while (read(orders, &go, 1) > 0)
        ;
    _exit(0);
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

static int measure(void *ctx)
{
    uint16_t port = 0;
    (void)ctx;
    int r = kind->start(&port);
    if (r < 0)
        return r;
    long before = bench_vm_bytes("VmRSS:");
    say(to_clients, &port, sizeof port);
    r = wait_for(&n_open);
    double opened = each(before);
    if (r == 0) {
        say(to_clients, "", 1);
        r = wait_for(&n_echoed);
    }
    if (r == 0)
        printf("RESULT rss_B=%.0f echoed_rss_B=%.0f connections=%zu\n", opened, each(before),
               n_wanted);
    fflush(stdout);
    _exit(r < 0); /* taking ten thousand connections down again is not measured */
}

static int idle_main(const struct idle *what, int argc, char **argv)
{
    int orders[2];
    struct rlimit files;
    kind = what;
    n_wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur < n_wanted + 100 ||
        pipe(orders) < 0) {
        fprintf(stderr, "%s: %zu descriptors are needed\n", kind->name, n_wanted + 100);
        return 1;
    }
    pid_t clients = fork();
    if (clients == 0) {
        close(orders[1]);
        be_the_clients(orders[0]);
    }
    to_clients = orders[1];
    close(orders[0]);
    return clients < 0 || bk_run(measure, NULL, NULL) != 0;
}

#endif
