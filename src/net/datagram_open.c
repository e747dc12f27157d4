/* SPDX-License-Identifier: MIT
 * Datagram sockets: made, bound, connected; and addresses as values. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "net/datagram.h"
#include "net/socket_opts.h"

#define MAX_SIZE ((size_t)65535)

/* ---- Addresses ---- */

int bk_address_parse(bk_address *out, const char *text)
{
    struct bki_address_spec spec;
    int r = bki_address_parse(&spec, text);
    if (r < 0)
        return r;
    if (spec.is_name)
        return bk_fail(-BK_EURL, "address '%s': a host name has to be looked up first", text);
    bki_address_to_public(out, &spec.address);
    return 0;
}

const char *bk_address_format(const bk_address *address, char *text, size_t size)
{
    struct bki_address a;
    char whole[BKI_ADDRESS_TEXT];
    bki_address_from_public(&a, address);
    if (size > 0)
        snprintf(text, size, "%s", bki_address_format(&a, whole));
    return text;
}

bool bk_address_equal(const bk_address *a, const bk_address *b)
{
    struct bki_address x, y;
    bki_address_from_public(&x, a);
    bki_address_from_public(&y, b);
    return bki_address_equal(&x, &y);
}

/* ---- Options ---- */

static int set_multicast(int fd, int family, const bk_datagram_opts *opts)
{
    bool v6 = family == AF_INET6;
    int r = 0;
    if (opts->multicast_ttl)
        r = bki_set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, opts->multicast_ttl);
    if (r == 0 && opts->multicast_ttl && v6)
        r = bki_set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, opts->multicast_ttl);
    if (r == 0 && opts->multicast_no_loop)
        r = bki_set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
    if (r == 0 && opts->multicast_no_loop && v6)
        r = bki_set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
    return r;
}

static int set_options(int fd, int family, const bk_datagram_opts *opts)
{
    int r = 0;
    if (opts->recv_buffer)
        r = bki_set_option(fd, SOL_SOCKET, SO_RCVBUF, opts->recv_buffer);
    if (r == 0 && opts->send_buffer)
        r = bki_set_option(fd, SOL_SOCKET, SO_SNDBUF, opts->send_buffer);
    if (r < 0 || family == AF_UNIX)
        return r;
    if (opts->reuse_port)
        r = bki_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0 && opts->broadcast)
        r = bki_set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (r == 0 && family == AF_INET6)
        r = bki_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, opts->ipv6_only);
    return r == 0 ? set_multicast(fd, family, opts) : r;
}

/* ---- Opening ---- */

static void set_fd(struct bk_datagram *d, int fd, int family)
{
    d->family = (sa_family_t)family;
    d->peer.len = sizeof d->peer - offsetof(struct bki_address, any);
    if (getpeername(fd, &d->peer.any, &d->peer.len) < 0)
        d->peer.len = 0;
    bki_fd_init(&d->fd, fd, true);
}

/* Opens d's socket.  local, remote: NULL for none. */
static int open_socket(struct bk_datagram *d, const struct bki_address *local,
                       const struct bki_address *remote, const bk_datagram_opts *opts)
{
    /* A Unix socket has no name to be answered at unless it asks for one. */
    static const struct bki_address unnamed = {.len = sizeof(sa_family_t),
                                               .any.sa_family = AF_UNIX};
    const struct bki_address *any = local ? local : remote;
    int family = any ? any->any.sa_family : AF_INET6;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && !any)
        fd = socket(family = AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (!local && family == AF_UNIX)
        local = &unnamed;
    int r = set_options(fd, family, opts);
    if (r == 0 && local)
        r = bki_bind(fd, SOCK_DGRAM, local);
    if (r == 0 && remote && connect(fd, &remote->any, remote->len) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    set_fd(d, fd, family);
    return local ? bki_unix_file_take(&d->file, local) : 0;
}

/* ---- Names ---- */

struct places {
    struct bki_address *local, *remote;
    int n_local, n_remote;
};

static int find_places(struct places *p, const bk_datagram_opts *opts)
{
    int r = opts->remote ? bki_resolve(opts->remote, BKI_TO_CONNECT, &p->remote) : 0;
    p->n_remote = r > 0 ? r : 0;
    if (r >= 0 && opts->local) {
        r = bki_resolve(opts->local, BKI_TO_LISTEN, &p->local);
        p->n_local = r > 0 ? r : 0;
    }
    return r < 0 ? r : 0;
}

/* The first pair of one kind that works. */
static int try_places(struct bk_datagram *d, const struct places *p, const bk_datagram_opts *opts)
{
    int r = -EINVAL;
    for (int i = 0; i < (p->n_remote ? p->n_remote : 1); i++) {
        const struct bki_address *remote = p->n_remote ? &p->remote[i] : NULL;
        for (int j = 0; j < (p->n_local ? p->n_local : 1); j++) {
            const struct bki_address *local = p->n_local ? &p->local[j] : NULL;
            if (remote && local && remote->any.sa_family != local->any.sa_family)
                continue;
            r = open_socket(d, local, remote, opts);
            if (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL)
                return r;
        }
    }
    return r;
}

static int open_places(struct bk_datagram *d, const bk_datagram_opts *opts)
{
    struct places p = {0};
    int r = find_places(&p, opts);
    if (r == 0) {
        r = try_places(d, &p, opts);
        if (r < 0)
            r = bki_fail_errno(r, "datagram socket%s%s%s%s", opts->local ? " at " : "",
                               opts->local ? opts->local : "", opts->remote ? " to " : "",
                               opts->remote ? opts->remote : "");
    }
    bki_free(p.local);
    bki_free(p.remote);
    return r;
}

/* ---- The calls ---- */

static int new_datagram(struct bk_datagram **out, const bk_datagram_opts *opts)
{
    struct bk_datagram *d = bki_zalloc(sizeof *d);
    if (!d)
        return bk_fail(-ENOMEM, "no memory for a datagram socket");
    d->loop = bki_loop;
    d->fd.fd = -1;
    d->max_size = opts->max_size ? opts->max_size : MAX_SIZE;
    d->ipv6_only = opts->ipv6_only;
    bki_list_init(&d->senders);
    *out = d;
    return 0;
}

int bk_datagram_open(bk_datagram **out, const bk_datagram_opts *opts)
{
    static const bk_datagram_opts defaults;
    struct bk_datagram *d;
    opts = opts ? opts : &defaults;
    int r = bki_check_cancel();
    if (r == 0)
        r = new_datagram(&d, opts);
    if (r < 0)
        return r;
    r = open_places(d, opts);
    if (r < 0)
        return bk_datagram_close(&d, r);
    *out = d;
    return 0;
}

static int ask_option(int fd, int option, int *value)
{
    socklen_t len = sizeof *value;
    if (getsockopt(fd, SOL_SOCKET, option, value, &len) < 0)
        return bki_fail_errno(errno, "descriptor %d", fd);
    return 0;
}

int bk_datagram_from_fd(bk_datagram **out, int fd, const bk_datagram_opts *opts)
{
    static const bk_datagram_opts defaults;
    struct bk_datagram *d;
    int type = 0, family = 0;
    int r = ask_option(fd, SO_TYPE, &type);
    if (r == 0)
        r = ask_option(fd, SO_DOMAIN, &family);
    if (r == 0 && type != SOCK_DGRAM)
        r = bk_fail(-EINVAL, "descriptor %d: not a datagram socket", fd);
    if (r == 0)
        r = new_datagram(&d, opts ? opts : &defaults);
    if (r < 0)
        return r;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        r = bki_fail_errno(errno, "descriptor %d", fd);
        return bk_datagram_close(&d, r);
    }
    set_fd(d, fd, family);
    *out = d;
    return 0;
}
