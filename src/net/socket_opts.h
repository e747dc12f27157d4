/* SPDX-License-Identifier: MIT
 * Options of sockets that connecting and listening share. */
#ifndef BECK_SRC_NET_SOCKET_OPTS_H
#define BECK_SRC_NET_SOCKET_OPTS_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <beck/base.h>

/* 0 or -errno. */
static inline int bki_set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

/* Small writes go out at once: who writes knows when there is enough. */
static inline int bki_set_nodelay(int fd)
{
    return bki_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* Asks a TCP peer that was silent for so long whether it is still there; 0: never. */
static inline int bki_set_keep_alive(int fd, bk_duration silence)
{
    if (silence.ns <= 0)
        return 0;
    int64_t s = (silence.ns + 999999999) / 1000000000;
    int seconds = s < 32767 ? (int)s : 32767; /* the kernel's limit */
    int r = bki_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (r == 0)
        r = bki_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    return r < 0 ? r : bki_set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
}

#endif
