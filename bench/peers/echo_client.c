/* SPDX-License-Identifier: MIT
 * The load for echo servers: connections with one message in flight each.
 * Usage: echo_client PORT CONNECTIONS BYTES SECONDS */
#include <string.h>
#include <sys/epoll.h>

#include "../bench.h"
#include "tcp.h"

#define MAX_SAMPLES 4000000

static char message[65536], answer[65536];
static uint32_t *samples; /* microseconds */
static size_t n_samples;

struct connection {
    int fd;
    size_t got;
    int64_t sent_ns;
};

static void send_message(struct connection *c, size_t len)
{
    c->got = 0;
    c->sent_ns = bench_ns();
    if (send(c->fd, message, len, MSG_NOSIGNAL) != (ssize_t)len) {
        perror("send");
        exit(1);
    }
}

static void connect_one(struct connection *c, const char *port, int epoll)
{
    struct sockaddr_in address = tcp_loopback(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("connect");
        exit(1);
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

/* Returns 1 when the whole message has come back. */
static int receive(struct connection *c, size_t len)
{
    ssize_t n = recv(c->fd, answer, len - c->got, 0);
    if (n <= 0) {
        fprintf(stderr, "echo_client: the server closed a connection\n");
        exit(1);
    }
    c->got += (size_t)n;
    return c->got == len;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    size_t n = strtoul(argv[2], NULL, 10), len = strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    struct connection *connections = calloc(n, sizeof *connections);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    int epoll = epoll_create1(0);
    for (size_t i = 0; i < n; i++)
        connect_one(&connections[i], argv[1], epoll);
    int64_t start = bench_ns(), end = start + (int64_t)(seconds * 1e9), now = start;
    for (size_t i = 0; i < n; i++)
        send_message(&connections[i], len);
    while (now < end && n_samples < MAX_SAMPLES - 512) {
        struct epoll_event events[512];
        int ready = epoll_wait(epoll, events, 512, 1000);
        now = bench_ns();
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c, len))
                continue;
            samples[n_samples++] = (uint32_t)((now - c->sent_ns) / 1000);
            send_message(c, len);
        }
    }
    qsort(samples, n_samples, sizeof *samples, by_value);
    printf("RESULT rps=%.0f p50_us=%u p99_us=%u\n", (double)n_samples * 1e9 / (double)(now - start),
           samples[n_samples / 2], samples[n_samples * 99 / 100]);
    return 0;
}
