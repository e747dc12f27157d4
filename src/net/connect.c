/* SPDX-License-Identifier: MIT
 * bk_connect: resolve, then try each address in turn, within one time limit. */
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/stream.h"
#include "net/tls.h"

#define DEFAULT_TIMEOUT_SECONDS 30
#define BACKLOG_RETRY_MS 10

static void describe_connect(const void *object, char *buf, size_t size)
{
    char text[BKI_ADDRESS_TEXT];
    bki_address_format(object, text);
    size_t len = strnlen(text, size - 1);
    memcpy(buf, text, len);
    buf[len] = '\0';
}

static const struct bki_wait_kind wait_connect = {.what = "connect", .describe = describe_connect};

static int connect_op(struct bk_stream *s, const struct bki_address *address)
{
    struct bki_op op = {
        .kind = BKI_OP_CONNECT, .fd = &s->fd, .addr = &address->any, .addr_len = address->len};
    for (;;) {
        int r = (int)bki_op_run(&op, &wait_connect, address);
        /* A Unix socket whose backlog is full says EAGAIN, and nothing tells when to ask again. */
        if ((r != -EAGAIN && r != -EBUSY) || address->any.sa_family != AF_UNIX)
            return r;
        r = bk_sleep(bk_ms(BACKLOG_RETRY_MS));
        if (r < 0)
            return r;
    }
}

static int connect_to(bk_stream **out, const struct bki_address *address,
                      const bk_stream_opts *opts)
{
    char text[BKI_ADDRESS_TEXT];
    bki_address_format(address, text);
    int family = address->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return bki_fail_errno(errno, "connect %s", text);
    struct bk_stream *s;
    int r = bki_stream_new(&s, fd, true, opts);
    if (r < 0) {
        close(fd);
        return r;
    }
    int one = 1;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    r = connect_op(s, address);
    if (r >= 0) {
        s->peer = bki_strdup(text);
        *out = s;
        return 0;
    }
    bki_stream_free(s);
    return r == -ECANCELED ? r : bki_fail_errno(r, "connect %s", text);
}

static int resolve_and_connect(bk_stream **out, const char *address, const bk_stream_opts *opts)
{
    struct bki_address *list = NULL;
    int n = bki_resolve(address, BKI_TO_CONNECT, &list);
    int r = n;
    for (int i = 0; i < n; i++) {
        r = connect_to(out, &list[i], opts);
        if (r == 0 || r == -ECANCELED || r == -ENOMEM)
            break;
    }
    bki_free(list);
    return r;
}

/* The certificate must be for whom the address names, unless the options say for whom. */
static int start_tls(bk_stream *s, const char *address, const bk_connect_opts *opts)
{
    struct bki_address_spec spec;
    bk_start_tls_opts tls_opts = {.server_name = opts->server_name, .alpn = opts->alpn};
    int r = bki_address_parse(&spec, address);
    if (r == 0 && !tls_opts.server_name && spec.host[0])
        tls_opts.server_name = spec.host;
    return r < 0 ? r : bk_stream_start_tls(s, opts->tls, &tls_opts);
}

int bk_connect(bk_stream **out, const char *address, const bk_connect_opts *opts)
{
    bk_duration limit = opts ? opts->timeout : bk_ns(0);
    if (limit.ns == 0)
        limit = bk_seconds(DEFAULT_TIMEOUT_SECONDS);
    bk_timeout *timeout = NULL;
    int r = bk_timeout_open(&timeout, limit);
    if (r < 0)
        return r;
    r = resolve_and_connect(out, address, opts ? &opts->stream : NULL);
    if (r == 0 && opts && opts->tls)
        r = start_tls(*out, address, opts);
    bool late = bk_timeout_expired(timeout);
    r = bk_timeout_close(&timeout, r);
    if (r < 0)
        bk_stream_close(out, r);
    if (r == -ETIMEDOUT && late)
        bk_fail(r, "connect %s: no answer within %lld ms", address,
                (long long)(limit.ns / 1000000));
    return r;
}
