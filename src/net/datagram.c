/* SPDX-License-Identifier: MIT
 * Datagram sockets: receiving, sending, multicast groups, closing. */
#include "net/datagram.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "net/socket_opts.h"

static const char *name_of(bk_datagram *d)
{
    const char *remote = bk_datagram_remote(d);
    return remote[0] ? remote : bk_datagram_local(d);
}

static void describe_datagram(const void *object, char *buf, size_t size)
{
    snprintf(buf, size, "%s", name_of((bk_datagram *)(uintptr_t)object));
}

static const struct bki_wait_kind wait_recv = {.what = "datagram", .describe = describe_datagram};
static const struct bki_wait_kind wait_send = {.what = "datagram send",
                                               .describe = describe_datagram};

/* ---- Receiving ---- */

/* IPv4 through an IPv6 socket is IPv4. */
static void unmap(struct bki_address *a)
{
    if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
        return;
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = a->in6.sin6_port};
    memcpy(&in4.sin_addr, &a->in6.sin6_addr.s6_addr[12], sizeof in4.sin_addr);
    a->in4 = in4;
    a->len = sizeof in4;
}

static int fail_too_long(const struct bk_datagram *d, int64_t len, const struct bki_address *from)
{
    char text[BKI_ADDRESS_TEXT];
    return bk_fail(-EMSGSIZE,
                   "a datagram of %lld bytes from %s is over max_size (%zu), and dropped",
                   (long long)len, bki_address_format(from, text), d->max_size);
}

static int receive(struct bk_datagram *d, bk_msg **msg, bk_address *from)
{
    struct bki_address sender = {0};
    struct iovec iov = {.iov_base = d->room, .iov_len = d->max_size};
    struct msghdr hdr = {.msg_name = &sender.any,
                         .msg_namelen = sizeof sender - offsetof(struct bki_address, any),
                         .msg_iov = &iov,
                         .msg_iovlen = 1};
    struct bki_op op = {.kind = BKI_OP_RECV_MSG, .fd = &d->fd, .hdr = &hdr, .msg_flags = MSG_TRUNC};
    int64_t n = bki_op_run(&op, &wait_recv, d);
    if (n == -ECANCELED)
        return (int)n;
    if (n < 0)
        return bki_fail_errno((int)n, "datagram at %s", name_of(d));
    sender.len = hdr.msg_namelen;
    unmap(&sender);
    if (hdr.msg_flags & MSG_TRUNC)
        return fail_too_long(d, n, &sender);
    int r = bk_msg_copy(msg, d->room, (size_t)n);
    if (r < 0)
        return r;
    bk_msg_kind_set(*msg, BK_BINARY);
    if (from)
        bki_address_to_public(from, &sender);
    return 1;
}

int bk_datagram_recv(bk_datagram *d, bk_msg **msg, bk_address *from)
{
    if (d->receiving)
        return bk_fail(-EBUSY, "another task receives from this socket");
    if (!d->room && !(d->room = bki_alloc(d->max_size)))
        return bk_fail(-ENOMEM, "no memory to receive datagrams");
    d->receiving = true;
    int r = receive(d, msg, from);
    d->receiving = false;
    return r;
}

/* ---- Sending ---- */

/* The address as the socket's family has it.  False: it has not. */
static bool suit(const struct bk_datagram *d, struct bki_address *to)
{
    if (to->any.sa_family == d->family)
        return true;
    if (to->any.sa_family != AF_INET || d->family != AF_INET6 || d->ipv6_only)
        return false;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = to->in4.sin_port};
    in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&in6.sin6_addr.s6_addr[12], &to->in4.sin_addr, sizeof to->in4.sin_addr);
    to->in6 = in6;
    to->len = sizeof in6;
    return true;
}

struct sending {
    struct bki_address to;
    struct iovec iov;
    struct msghdr hdr;
    struct bki_op op;
};

static int prepare(struct bk_datagram *d, struct sending *s, const bk_address *to, const void *data,
                   size_t len)
{
    s->iov = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    s->hdr = (struct msghdr){.msg_iov = &s->iov, .msg_iovlen = 1};
    s->op = (struct bki_op){.kind = BKI_OP_SEND_MSG, .fd = &d->fd, .hdr = &s->hdr};
    if (!to)
        return 0;
    bki_address_from_public(&s->to, to);
    if (!suit(d, &s->to)) {
        char text[BKI_ADDRESS_TEXT];
        return bk_fail(-EAFNOSUPPORT, "%s is no address for a socket at %s",
                       bki_address_format(&s->to, text), bk_datagram_local(d));
    }
    if (d->peer.len > 0 && !bki_address_equal(&s->to, &d->peer))
        return bk_fail(-EISCONN, "this socket is connected to %s", bk_datagram_remote(d));
    if (d->peer.len > 0)
        return 0;
    s->hdr.msg_name = &s->to.any;
    s->hdr.msg_namelen = s->to.len;
    return 0;
}

static int told(struct bk_datagram *d, const struct sending *s, int64_t n)
{
    char text[BKI_ADDRESS_TEXT];
    if (n >= 0 || n == -ECANCELED)
        return n < 0 ? (int)n : 0;
    return bki_fail_errno((int)n, "datagram of %zu bytes to %s", s->iov.iov_len,
                          s->to.len ? bki_address_format(&s->to, text) : bk_datagram_remote(d));
}

/* -EAGAIN: it has to wait, or to stand in line. */
static int64_t send_now(struct bk_datagram *d, struct sending *s)
{
    if (d->sending)
        return -EAGAIN;
    s->op.nowait = true;
    int r = d->loop->backend->start(d->loop, &s->op);
    return r < 0 ? r : s->op.result;
}

/* Whoever came first sends first. */
static int64_t send_in_turn(struct bk_datagram *d, struct sending *s)
{
    struct bki_waiter w;
    int64_t n = d->sending ? bki_wait(&d->senders, &w, &wait_send, d) : 0;
    if (n < 0)
        return n;
    d->sending = true;
    s->op.nowait = false;
    n = bki_op_run(&s->op, &wait_send, d);
    /* It stays taken for the next in line, so that nobody comes in between. */
    d->sending = bki_grant_first(&d->senders, 0) != NULL;
    return n;
}

int bk_datagram_try_send(bk_datagram *d, const bk_address *to, const void *data, size_t len)
{
    struct sending s = {0};
    int r = prepare(d, &s, to, data, len);
    if (r < 0)
        return r;
    int64_t n = send_now(d, &s);
    return n == -EAGAIN ? (int)n : told(d, &s, n);
}

static int send_datagram(struct bk_datagram *d, const bk_address *to, const void *data, size_t len)
{
    struct sending s = {0};
    int r = bki_check_cancel();
    if (r == 0)
        r = prepare(d, &s, to, data, len);
    if (r < 0)
        return r;
    int64_t n = send_now(d, &s);
    if (n == -EAGAIN)
        n = send_in_turn(d, &s);
    else if (--d->loop->budget < 0)
        bki_give_way(d->loop);
    return told(d, &s, n);
}

int bk_datagram_send(bk_datagram *d, const void *data, size_t len)
{
    return send_datagram(d, NULL, data, len);
}

int bk_datagram_send_to(bk_datagram *d, const bk_address *to, const void *data, size_t len)
{
    return send_datagram(d, to, data, len);
}

/* ---- Multicast ---- */

static int group_request(struct group_req *out, const char *group, const char *interface)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, group, &in4.sin_addr) == 1)
        memcpy(&out->gr_group, &in4, sizeof in4);
    else if (inet_pton(AF_INET6, group, &in6.sin6_addr) == 1)
        memcpy(&out->gr_group, &in6, sizeof in6);
    else
        return bk_fail(-EINVAL, "'%s' is no numeric address of a multicast group", group);
    out->gr_interface = interface ? if_nametoindex(interface) : 0;
    if (interface && out->gr_interface == 0)
        return bki_fail_errno(errno, "interface '%s'", interface);
    return 0;
}

static int change_group(struct bk_datagram *d, int option, const char *group, const char *interface)
{
    struct group_req request;
    int r = group_request(&request, group, interface);
    if (r < 0)
        return r;
    int level = request.gr_group.ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    if (setsockopt(d->fd.fd, level, option, &request, sizeof request) < 0)
        return bki_fail_errno(errno, "multicast group %s", group);
    return 0;
}

int bk_datagram_join(bk_datagram *d, const char *group, const char *interface)
{
    return change_group(d, MCAST_JOIN_GROUP, group, interface);
}

int bk_datagram_leave(bk_datagram *d, const char *group, const char *interface)
{
    return change_group(d, MCAST_LEAVE_GROUP, group, interface);
}

/* ---- Facts, and the end ---- */

typedef int get_name_fn(int fd, struct sockaddr *address, socklen_t *len);

static const char *ask_name(struct bk_datagram *d, get_name_fn *get_name, char **kept)
{
    struct bki_address a = {.len = sizeof a - offsetof(struct bki_address, any)};
    char text[BKI_ADDRESS_TEXT];
    if (get_name(d->fd.fd, &a.any, &a.len) < 0)
        return "";
    bki_free(*kept);
    *kept = bki_strdup(bki_address_format(&a, text));
    return *kept ? *kept : "";
}

static int get_local(int fd, struct sockaddr *address, socklen_t *len)
{
    return getsockname(fd, address, len);
}

static int get_remote(int fd, struct sockaddr *address, socklen_t *len)
{
    return getpeername(fd, address, len);
}

/* Asked each time: the kernel may choose a port as late as with the first datagram. */
const char *bk_datagram_local(bk_datagram *d)
{
    return ask_name(d, get_local, &d->local);
}

const char *bk_datagram_remote(bk_datagram *d)
{
    return ask_name(d, get_remote, &d->remote);
}

int bk_datagram_fd(const bk_datagram *d)
{
    return d->fd.fd;
}

int bk_datagram_close(bk_datagram **datagram, int r)
{
    struct bk_datagram *d = *datagram;
    if (!d)
        return r;
    if (d->receiving || d->sending)
        return bk_fail(-EBUSY, "close of a socket that another task is using");
    /* A forked child closes its copy, and leaves the file to its parent. */
    bki_unix_file_drop(&d->file, d->loop == bki_loop);
    if (d->fd.fd >= 0)
        d->loop->backend->close_fd(d->loop, &d->fd);
    bki_free(d->room);
    bki_free(d->local);
    bki_free(d->remote);
    bki_free(d);
    *datagram = NULL;
    return r;
}
