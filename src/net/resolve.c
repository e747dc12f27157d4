/* SPDX-License-Identifier: MIT
 * Addresses from host names: getaddrinfo, on the pool of threads because it blocks. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include <beck/error.h>
#include <beck/thread.h>

#include "base/alloc.h"
#include "net/address.h"

/* What the thread works on; the thread's alone once the waiting task has gone. */
struct lookup {
    char host[BKI_HOST_MAX];
    char port[8];
    struct addrinfo *found;
};

static void lookup_free(struct lookup *l)
{
    if (l->found)
        freeaddrinfo(l->found);
    bki_free(l);
}

static void lookup_abandoned(void *ctx, int result)
{
    (void)result;
    lookup_free(ctx);
}

static int look_up(void *ctx)
{
    struct lookup *l = ctx;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int e = getaddrinfo(l->host, l->port, &hints, &l->found);
    if (e == 0)
        return 0;
    l->found = NULL;
    if (e == EAI_MEMORY)
        return -ENOMEM;
    return bk_fail(-BK_ERESOLVE, "resolve '%s': %s", l->host,
                   e == EAI_SYSTEM ? bk_strerror(errno) : gai_strerror(e));
}

static int family_rank(int family, enum bki_address_use use)
{
    return use == BKI_TO_LISTEN && family == AF_INET6;
}

/* The usable addresses of a finished look-up, in order of rank and otherwise as the resolver gave
 * them. */
static int collect(const struct lookup *l, enum bki_address_use use, struct bki_address **out)
{
    size_t n = 0, at = 0;
    for (const struct addrinfo *a = l->found; a; a = a->ai_next)
        n += a->ai_addrlen <= sizeof(struct sockaddr_in6);
    if (n == 0)
        return bk_fail(-BK_ERESOLVE, "resolve '%s': no address found", l->host);
    struct bki_address *list = bki_realloc_array(NULL, n, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (int rank = 0; rank <= 1; rank++) {
        for (const struct addrinfo *a = l->found; a; a = a->ai_next) {
            if (a->ai_addrlen > sizeof(struct sockaddr_in6) ||
                family_rank(a->ai_family, use) != rank)
                continue;
            memset(&list[at], 0, sizeof list[at]);
            memcpy(&list[at].any, a->ai_addr, a->ai_addrlen);
            list[at++].len = a->ai_addrlen;
        }
    }
    *out = list;
    return (int)n;
}

static int resolve_name(const struct bki_address_spec *spec, enum bki_address_use use,
                        struct bki_address **out)
{
    struct lookup *l = bki_zalloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    memcpy(l->host, spec->host, sizeof l->host);
    snprintf(l->port, sizeof l->port, "%u", spec->port);
    bool abandoned = false;
    int r = bk_to_thread(look_up, l, &(bk_to_thread_opts){.on_abandon = lookup_abandoned});
    abandoned = r == -ECANCELED;
    if (r == 0)
        r = collect(l, use, out);
    if (!abandoned)
        lookup_free(l);
    return r;
}

int bki_resolve(const char *text, enum bki_address_use use, struct bki_address **out)
{
    struct bki_address_spec spec;
    int r = bki_address_parse(&spec, text);
    if (r < 0)
        return r;
    if (use == BKI_TO_CONNECT && spec.any_host)
        return bk_fail(-BK_EURL, "address '%s': no host to connect to", text);
    if (use == BKI_TO_CONNECT && spec.address.any.sa_family != AF_UNIX && spec.port == 0)
        return bk_fail(-BK_EURL, "address '%s': port 0 is only for listening", text);
    if (spec.is_name)
        return resolve_name(&spec, use, out);

    struct bki_address *list = bki_realloc_array(NULL, 2, sizeof *list);
    if (!list)
        return -ENOMEM;
    list[0] = spec.address;
    *out = list;
    if (!spec.any_host)
        return 1;
    memset(&list[1], 0, sizeof list[1]);
    list[1].in4.sin_family = AF_INET;
    list[1].in4.sin_port = htons(spec.port);
    list[1].len = sizeof list[1].in4;
    return 2;
}
