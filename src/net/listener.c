/* SPDX-License-Identifier: MIT
 * Listening sockets: their life, and accepting. */
#include "net/listener.h"

#include "base/alloc.h"
#include "net/tls.h"
#include "rt/report.h"

#define DEFAULT_BACKLOG 4096
#define BACK_OFF_SECONDS 1

static const struct bki_wait_kind wait_accept = {
    .what = "accept", .about = "%s", .at = {offsetof(struct bk_listener, address)}};

/* ---- Life ---- */

int bki_listener_new(struct bk_listener **out, const bk_listen_opts *opts)
{
    struct bk_listener *l = bki_zalloc(sizeof *l);
    if (!l)
        return bk_fail(-ENOMEM, "no memory for a listener");
    l->loop = bki_loop;
    l->fd.fd = -1;
    l->fd.is_socket = true;
    if (opts)
        l->opts = *opts;
    if (!l->opts.backlog)
        l->opts.backlog = DEFAULT_BACKLOG;
    l->tls = l->opts.tls ? bki_tls_ref(l->opts.tls) : NULL;
    *out = l;
    return 0;
}

/* The first address that can be bound; an address family this host lacks is passed over. */
static int bind_first(struct bk_listener *l, const struct bki_address *list, int n)
{
    int r = -EADDRNOTAVAIL;
    for (int i = 0; i < n; i++) {
        r = bki_listener_bind(l, &list[i], l->opts.ipv6_only);
        if (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL)
            break;
    }
    return r;
}

static int open_listener(struct bk_listener *l, const char *address)
{
    struct bki_address *list = NULL;
    int r;
    if (bki_fd_address(address) >= 0) {
        r = bki_listener_adopt(l, address);
    } else {
        r = bki_resolve(address, BKI_TO_LISTEN, &list);
        if (r < 0)
            return r;
        r = bind_first(l, list, r);
        bki_free(list);
    }
    return r < 0 ? bki_fail_errno(r, "listen on %s", address) : bki_listener_start(l);
}

int bk_listen(bk_listener **out, const char *address, const bk_listen_opts *opts)
{
    struct bk_listener *l;
    int r = bki_listener_new(&l, opts);
    if (r < 0)
        return r;
    r = open_listener(l, address);
    if (r < 0)
        return bk_listener_close(&l, r);
    *out = l;
    return 0;
}

const char *bk_listener_address(const bk_listener *listener)
{
    return listener->address;
}

int bk_listener_fd(const bk_listener *listener)
{
    return listener->fd.fd;
}

int bk_listener_close(bk_listener **listener, int r)
{
    struct bk_listener *l = *listener;
    if (!l)
        return r;
    if (l->accepting)
        return bk_fail(-EBUSY, "close of a listener that another task accepts from");
    /* A forked child closes its copy, and leaves the file to its parent. */
    bki_unix_file_drop(&l->file, l->loop == bki_loop);
    if (l->fd.fd >= 0)
        l->loop->backend->close_fd(l->loop, &l->fd);
    if (l->spare)
        bki_stream_free(l->spare);
    bk_tls_free(&l->tls);
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
        int r = bki_stream_new(&l->spare, -1, true, &l->opts.stream);
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

/* Nothing tells when there is room again.  It is said once, not every second. */
static int back_off(struct bk_listener *l, int error)
{
    if (!l->starved)
        bki_report(&(bk_error_report){.what = "accepting pauses: no descriptors or memory",
                                      .call = "bk_accept",
                                      .result = error,
                                      .detail = l->address});
    l->starved = true;
    return bk_sleep(bk_seconds(BACK_OFF_SECONDS));
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
            r = back_off(l, r);
        else if (is_passing(r))
            r = 0;
    } while (r == 0);
    l->accepting = false;
    l->starved = l->starved && r != 1;
    if (r < 0 && r != -ECANCELED)
        return bki_fail_errno(r, "accept on %s", l->address);
    return r;
}
