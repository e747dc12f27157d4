/* SPDX-License-Identifier: MIT
 * The load for HTTP servers: connections that are kept, with a number of requests in flight on
 * each. Every response must be as long as the first. Usage: http_client PORT CONNECTIONS IN_FLIGHT
 * SECONDS */
#include <string.h>
#include <sys/epoll.h>

#include "../bench.h"
#include "tcp.h"

#define REQUEST                                                                                    \
    "GET /hello.txt HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
#define MAX_SAMPLES 4000000
#define MAX_IN_FLIGHT 64

static char request[sizeof REQUEST * MAX_IN_FLIGHT], answer[65536];
static uint32_t *samples; /* microseconds from a batch of requests to its last response */
static size_t n_samples;

struct connection {
    int fd;
    size_t got;
    int64_t sent_ns;
};

static void fail(const char *what)
{
    fprintf(stderr, "http_client: %s\n", what);
    exit(1);
}

static void connect_one(struct connection *c, const char *port)
{
    struct sockaddr_in address = tcp_loopback(port);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("cannot connect");
}

static void send_requests(struct connection *c, size_t in_flight)
{
    size_t len = in_flight * (sizeof REQUEST - 1);
    c->got = 0;
    c->sent_ns = bench_ns();
    if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail("cannot send");
}

static void receive(struct connection *c, size_t len)
{
    ssize_t n = recv(c->fd, answer, len - c->got, 0);
    if (n <= 0)
        fail("the server closed a connection");
    c->got += (size_t)n;
}

/* The length of a response, learnt from one. */
static size_t learn(struct connection *c)
{
    size_t n = 0;
    send_requests(c, 1);
    for (;;) {
        ssize_t got = recv(c->fd, answer + n, sizeof answer - 1 - n, 0);
        if (got <= 0)
            fail("no response");
        n += (size_t)got;
        answer[n] = '\0';
        char *end = strstr(answer, "\r\n\r\n"),
             *length = strcasestr(answer, "\r\nContent-Length: ");
        if (!end || strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || !length)
            continue;
        size_t whole = (size_t)(end + 4 - answer) + strtoul(length + 18, NULL, 10);
        if (n == whole)
            return whole;
    }
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
    size_t n = strtoul(argv[2], NULL, 10), in_flight = strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    struct connection *connections = calloc(n, sizeof *connections);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    for (size_t i = 0; i < MAX_IN_FLIGHT; i++)
        memcpy(request + i * (sizeof REQUEST - 1), REQUEST, sizeof REQUEST);
    for (size_t i = 0; i < n; i++)
        connect_one(&connections[i], argv[1]);
    size_t len = learn(&connections[0]) * in_flight;
    int epoll = epoll_create1(0);
    int64_t start = bench_ns(), end = start + (int64_t)(seconds * 1e9), now = start;
    for (size_t i = 0; i < n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
        send_requests(&connections[i], in_flight);
    }
    while (now < end && n_samples < MAX_SAMPLES - 512) {
        struct epoll_event events[512];
        int ready = epoll_wait(epoll, events, 512, 1000);
        now = bench_ns();
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            receive(c, len);
            if (c->got < len)
                continue;
            samples[n_samples++] = (uint32_t)((now - c->sent_ns) / 1000);
            send_requests(c, in_flight);
        }
    }
    qsort(samples, n_samples, sizeof *samples, by_value);
    printf("RESULT rps=%.0f p50_us=%u p99_us=%u\n",
           (double)(n_samples * in_flight) * 1e9 / (double)(now - start), samples[n_samples / 2],
           samples[n_samples * 99 / 100]);
    return 0;
}
