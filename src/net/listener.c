/* SPDX-License-Identifier: MIT
 * Listening sockets: bind, accept, remove. */
#include "net/listener.h"

#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/tls.h"

#define DEFAULT_BACKLOG 100
#define BACK_OFF_SECONDS 1

static void describe_listener(const void *object, char *buf, size_t size)
{
    const struct bk_listener *l = object;
    size_t len = strnlen(l->address, size - 1);
    memcpy(buf, l->address, len);
    buf[len] = '\0';
}

static const struct bki_wait_kind wait_accept = {.what = "accept", .describe = describe_listener};

/* ---- Binding ---- */

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int set_options(int fd, int family, const bk_listen_opts *opts)
{
    if (family == AF_UNIX)
        return 0;
    int r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && opts->reuse_port)
        r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0 && family == AF_INET6)
        r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, opts->ipv6_only);
    /* Accepted sockets inherit it. */
    if (r == 0)
        r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return r;
}

/* Does nobody listen on this Unix socket file any more? */
static bool is_stale(const struct bki_address *address)
{
    struct stat st;
    if (address->un.sun_path[0] == '\0' || stat(address->un.sun_path, &st) < 0 ||
        !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, &address->any, address->len) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_to(int fd, const struct bki_address *address)
{
    if (bind(fd, &address->any, address->len) == 0)
        return 0;
    if (errno != EADDRINUSE || address->any.sa_family != AF_UNIX)
        return -errno;
    if (!is_stale(address))
        return -EADDRINUSE;
    unlink(address->un.sun_path);
    return bind(fd, &address->any, address->len) < 0 ? -errno : 0;
}

/* A socket that listens on address: its descriptor, or an error. */
static int open_socket(const struct bki_address *address, const bk_listen_opts *opts)
{
    int family = address->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = set_options(fd, family, opts);
    if (r == 0)
        r = bind_to(fd, address);
    if (r == 0 && listen(fd, opts->backlog ? opts->backlog : DEFAULT_BACKLOG) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* Keeps what is needed later: the address for people, and which file to remove. */
static int remember(struct bk_listener *l, const struct bki_address *wanted)
{
    struct bki_address bound = {.len = sizeof bound - offsetof(struct bki_address, any)};
    char text[BKI_ADDRESS_TEXT];
    struct stat st;
    if (getsockname(l->fd.fd, &bound.any, &bound.len) < 0)
        return bki_fail_errno(errno, "listen");
    if (wanted->any.sa_family == AF_UNIX && wanted->un.sun_path[0] != '\0') {
        l->path = bki_strdup(wanted->un.sun_path);
        if (!l->path)
            return bk_fail(-ENOMEM, "no memory for a listener");
        if (stat(l->path, &st) == 0) {
            l->dev = st.st_dev;
            l->ino = st.st_ino;
        }
    }
    l->address = bki_strdup(bki_address_format(&bound, text));
    return l->address ? 0 : bk_fail(-ENOMEM, "no memory for a listener");
}

/* The first address that can be bound; an address family this host lacks is passed over. */
static int open_first(const struct bki_address *list, int n, const bk_listen_opts *opts,
                      const char *text, const struct bki_address **bound)
{
    int r = -EADDRNOTAVAIL;
    for (int i = 0; i < n; i++) {
        r = open_socket(&list[i], opts);
        if (r >= 0) {
            *bound = &list[i];
            return r;
        }
        if (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL)
            break;
    }
    return bki_fail_errno(r, "listen on %s", text);
}

static int listen_on(struct bk_listener *l, const char *address, const bk_listen_opts *opts)
{
    struct bki_address *list = NULL;
    const struct bki_address *bound = NULL;
    int n = bki_resolve(address, BKI_TO_LISTEN, &list);
    if (n < 0)
        return n;
    int r = open_first(list, n, opts, address, &bound);
    if (r >= 0) {
        bki_fd_init(&l->fd, r, true);
        r = remember(l, bound);
    }
    bki_free(list);
    return r;
}

int bk_listen(bk_listener **out, const char *address, const bk_listen_opts *opts)
{
    static const bk_listen_opts defaults;
    if (!opts)
        opts = &defaults;
    struct bk_listener *l = bki_zalloc(sizeof *l);
    if (!l)
        return bk_fail(-ENOMEM, "no memory for a listener");
    l->loop = bki_loop;
    l->fd.fd = -1;
    l->fd.is_socket = true;
    l->stream_opts = opts->stream;
    l->tls = opts->tls ? bki_tls_ref(opts->tls) : NULL;
    int r = listen_on(l, address, opts);
    if (r < 0)
        return bk_listener_close(&l, r);
    *out = l;
    return 0;
}

const char *bk_listener_address(const bk_listener *listener)
{
    return listener->address;
}

int bk_listener_close(bk_listener **listener, int r)
{
    struct bk_listener *l = *listener;
    struct stat st;
    if (!l)
        return r;
    if (l->accepting)
        return bk_fail(-EBUSY, "close of a listener that another task accepts from");
    if (l->path && stat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
    if (l->fd.fd >= 0)
        l->loop->backend->close_fd(l->loop, &l->fd);
    if (l->spare)
        bki_stream_free(l->spare);
    bk_tls_free(&l->tls);
    bki_free(l->path);
    bki_free(l->address);
    bki_free(l);
    *listener = NULL;
    return r;
}

/* ---- Accepting ---- */

static bool is_out_of_resources(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* Errors of one connection that ended before it was accepted, not of the listener: accept(2). */
static bool is_passing(int error)
{
    switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -ENOPROTOOPT:
    case -ENETDOWN:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -EHOSTUNREACH:
    case -ENONET:
    case -EOPNOTSUPP:
    case -EPERM:
    case -EAGAIN:
        return true;
    default:
        return false;
    }
}

static int accept_one(struct bk_listener *l, bk_stream **out)
{
    if (!l->spare) {
        int r = bki_stream_new(&l->spare, -1, true, &l->stream_opts);
        if (r < 0)
            return r;
    }
    if (l->spare->fd.fd < 0) {
        l->op.kind = BKI_OP_ACCEPT;
        l->op.fd = &l->fd;
        int64_t fd = bki_op_run(&l->op, &wait_accept, l);
        if (fd < 0)
            return (int)fd;
        bki_stream_set_fd(l->spare, (int)fd);
    }
    if (l->tls) {
        int r = bki_tls_attach(l->spare, l->tls, NULL);
        if (r < 0)
            return r;
    }
    *out = l->spare;
    l->spare = NULL;
    return 1;
}

int bk_accept(bk_listener *l, bk_stream **out)
{
    if (l->accepting)
        return bk_fail(-EBUSY, "another task accepts from this listener");
    l->accepting = true;
    int r;
    do {
        r = accept_one(l, out);
        if (is_out_of_resources(r))
            r = bk_sleep(bk_seconds(BACK_OFF_SECONDS));
        else if (is_passing(r))
            r = 0;
    } while (r == 0);
    l->accepting = false;
    if (r < 0 && r != -ECANCELED)
        return bki_fail_errno(r, "accept on %s", l->address);
    return r;
}
