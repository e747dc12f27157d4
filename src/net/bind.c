/* SPDX-License-Identifier: MIT
 * Sockets to listen with: made, bound, adopted, set to listen. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/listener.h"
#include "net/socket_opts.h"

static int set_options(int fd, int family, const bk_listen_opts *opts, bool v6only)
{
    if (family == AF_UNIX)
        return 0;
    int r = bki_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && opts->reuse_port)
        r = bki_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0 && family == AF_INET6)
        r = bki_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
    /* Accepted sockets inherit these. */
    if (r == 0)
        r = bki_set_nodelay(fd);
    return r < 0 ? r : bki_set_keep_alive(fd, opts->keep_alive);
}

/* A socket bound to address: its descriptor, or an error. */
static int open_socket(const struct bki_address *address, const bk_listen_opts *opts, bool v6only)
{
    int family = address->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = set_options(fd, family, opts, v6only);
    if (r == 0)
        r = bki_bind(fd, SOCK_STREAM, address);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* Keeps the address for people. */
static int remember(struct bk_listener *l)
{
    struct bki_address bound = {.len = sizeof bound - offsetof(struct bki_address, any)};
    char text[BKI_ADDRESS_TEXT];
    if (getsockname(l->fd.fd, &bound.any, &bound.len) < 0)
        return -errno;
    l->address = bki_strdup(bki_address_format(&bound, text));
    return l->address ? 0 : -ENOMEM;
}

int bki_listener_bind(struct bk_listener *l, const struct bki_address *address, bool v6only)
{
    int r = open_socket(address, &l->opts, v6only);
    if (r < 0)
        return r;
    bki_fd_init(&l->fd, r, true);
    r = bki_unix_file_take(&l->file, address);
    return r < 0 ? r : remember(l);
}

int bki_fd_address(const char *text)
{
    char *end;
    if (strncmp(text, "fd:", 3) != 0 || text[3] < '0' || text[3] > '9')
        return -1;
    unsigned long fd = strtoul(text + 3, &end, 10);
    return *end == '\0' && fd < INT_MAX ? (int)fd : -1;
}

int bki_listener_adopt(struct bk_listener *l, const char *text)
{
    int fd = bki_fd_address(text), listens = 0;
    socklen_t len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0)
        return -errno;
    if (!listens)
        return -EINVAL;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    bki_fd_init(&l->fd, fd, true);
    l->listens = true;
    int r = remember(l);
    if (r < 0)
        l->fd.fd = -1; /* it stays whose it was */
    return r;
}

int bki_listener_start(struct bk_listener *l)
{
    if (!l->listens && listen(l->fd.fd, l->opts.backlog) < 0)
        return bki_fail_errno(errno, "listen on %s", l->address);
    l->listens = true;
    return 0;
}
