/* SPDX-License-Identifier: MIT
 * A WebSocket client by hand, as far as receiving whole small frames goes: no more is checked than
 * where they end. */
#ifndef BECK_BENCH_PEERS_WS_DIAL_H
#define BECK_BENCH_PEERS_WS_DIAL_H

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "tcp.h"

#define DIAL_BUFFER 65536u

struct dial {
    int fd;
    size_t have;
    char buf[DIAL_BUFFER];
};

static inline int64_t dial_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void dial_more(struct dial *d)
{
    ssize_t n = recv(d->fd, d->buf + d->have, sizeof d->buf - d->have, 0);
    if (n <= 0)
        exit(1);
    d->have += (size_t)n;
}

static inline void dial_drop(struct dial *d, size_t n)
{
    d->have -= n;
    memmove(d->buf, d->buf + n, d->have);
}

/* argv: PORT MESSAGES BATCH */
static inline void dial_open(struct dial *d, char **argv)
{
    struct sockaddr_in address = tcp_loopback(argv[1]);
    char request[300];
    int n = snprintf(request, sizeof request,
                     "GET /%s/%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                     "Sec-WebSocket-Version: 13\r\n\r\n",
                     argv[2], argv[3]);
    const char *end;
    d->have = 0;
    d->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(d->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        send(d->fd, request, (size_t)n, 0) != n)
        exit(1);
    do
        dial_more(d);
    while (!(end = memmem(d->buf, d->have, "\r\n\r\n", 4)));
    dial_drop(d, (size_t)(end + 4 - d->buf));
}

/* Calls take(payload, len) for each whole frame in the buffer, and keeps the rest. */
static inline __attribute__((always_inline)) void dial_each(struct dial *d,
                                                            void (*take)(const char *, size_t))
{
    size_t at = 0;
    while (d->have - at >= 4) {
        const unsigned char *p = (const unsigned char *)d->buf + at;
        size_t head = 2, len = p[1];
        if (len == 126) {
            head = 4;
            len = (size_t)p[2] << 8 | p[3];
        }
        if (d->have - at < head + len)
            break;
        if (p[0] == 0x81)
            take((const char *)p + head, len);
        at += head + len;
    }
    dial_drop(d, at);
}

#endif
