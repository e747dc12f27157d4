/* SPDX-License-Identifier: MIT
 * bk_connect: resolve, race to the first address that answers, start TLS; all within one limit. */
#include "base/alloc.h"
#include "net/connect_race.h"
#include "net/tls.h"

#define DEFAULT_TIMEOUT_SECONDS 30
#define DEFAULT_DELAY_MS 250 /* RFC 8305 section 8 */
#define MIN_DELAY_MS 10

static bk_duration delay_of(const bk_connect_opts *opts)
{
    if (opts->attempt_delay.ns == 0)
        return bk_ms(DEFAULT_DELAY_MS);
    return opts->attempt_delay.ns < bk_ms(MIN_DELAY_MS).ns ? bk_ms(MIN_DELAY_MS)
                                                           : opts->attempt_delay;
}

static int resolve_and_connect(bk_stream **out, const char *address, const bk_connect_opts *opts)
{
    struct bki_address *list = NULL, *local = NULL;
    struct bki_race_opts race = {.name = address,
                                 .delay = delay_of(opts),
                                 .keep_alive = opts->keep_alive,
                                 .stream = &opts->stream};
    int r = 0, n = bki_resolve(address, BKI_TO_CONNECT, &list);
    if (n < 0)
        return n;
    if (opts->local_address)
        r = race.n_local = bki_resolve(opts->local_address, BKI_TO_LISTEN, &local);
    race.local = local;
    bki_interleave(list, n);
    if (r >= 0)
        r = bki_connect_race(out, list, n, &race);
    bki_free(local);
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
    static const bk_connect_opts defaults;
    if (!opts)
        opts = &defaults;
    bk_duration limit = opts->timeout.ns ? opts->timeout : bk_seconds(DEFAULT_TIMEOUT_SECONDS);
    bk_timeout *timeout = NULL;
    int r = bk_timeout_open(&timeout, limit);
    if (r < 0)
        return r;
    r = resolve_and_connect(out, address, opts);
    if (r == 0 && opts->tls)
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
