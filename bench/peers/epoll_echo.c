/* SPDX-License-Identifier: MIT
 * The limit for echo on epoll: nothing but epoll_wait, recv and send.  Usage: epoll_echo PORT */
#include <stdbool.h>
#include <sys/epoll.h>

#include "tcp.h"

static char buffer[65536];

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        watch(epoll, fd);
}

static void echo(int fd)
{
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        close(fd);
    for (ssize_t done = 0; done < n;) {
        ssize_t sent = send(fd, buffer + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return;
        done += sent > 0 ? sent : 0;
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[512];
    int listener = tcp_listen(argc > 1 ? argv[1] : "0", SOCK_NONBLOCK), epoll = epoll_create1(0);
    watch(epoll, listener);
    for (;;) {
        int n = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < n; i++)
            events[i].data.fd == listener ? accept_all(epoll, listener) : echo(events[i].data.fd);
    }
}
