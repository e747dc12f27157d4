/* SPDX-License-Identifier: MIT
 * Addresses from host names and back: getaddrinfo and getnameinfo, on the pool of threads because
 * they block. */
#include <beck/resolve.h>

#include <stdio.h>
#include <strings.h>

#include <beck/thread.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "net/address.h"
#include "rt/debug.h"

struct bki_resolver bki_resolver = {
    .getaddrinfo = getaddrinfo,
    .freeaddrinfo = freeaddrinfo,
    .getnameinfo = getnameinfo,
};

/* ---- Addresses of a name ---- */

/* What the thread works on; the thread's alone once the waiting task has gone. */
struct lookup {
    char host[BKI_HOST_MAX];
    char port[8];
    int family;
    struct addrinfo *found;
};

static void lookup_free(struct lookup *l)
{
    if (l->found)
        bki_resolver.freeaddrinfo(l->found);
    bki_free(l);
}

static void lookup_abandoned(void *ctx, int result)
{
    (void)result;
    lookup_free(ctx);
}

static int resolve_failed(const char *what, int error)
{
    if (error == EAI_MEMORY)
        return -ENOMEM;
    return bk_fail(-BK_ERESOLVE, "resolve '%s': %s", what,
                   error == EAI_SYSTEM ? bk_strerror(errno) : gai_strerror(error));
}

static int look_up(void *ctx)
{
    struct lookup *l = ctx;
    struct addrinfo hints = {
        .ai_family = l->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int e = bki_resolver.getaddrinfo(l->host, l->port, &hints, &l->found);
    if (e == 0)
        return 0;
    l->found = NULL;
    return resolve_failed(l->host, e);
}

static int family_rank(int family, enum bki_address_use use)
{
    return use == BKI_TO_LISTEN && family == AF_INET6;
}

static bool is_usable(const struct addrinfo *a)
{
    return (a->ai_family == AF_INET || a->ai_family == AF_INET6) &&
           a->ai_addrlen <= sizeof(struct sockaddr_in6);
}

/* Adds an address that is not in the list yet; returns how many there are then. */
static size_t add(struct bki_address *list, size_t n, const struct addrinfo *a)
{
    struct bki_address *new = &list[n];
    memset(new, 0, sizeof *new);
    memcpy(&new->any, a->ai_addr, a->ai_addrlen);
    new->len = a->ai_addrlen;
    for (size_t i = 0; i < n; i++)
        if (bki_address_equal(&list[i], new))
            return n;
    return n + 1;
}

/* The usable addresses of a finished look-up, in order of rank and otherwise as the resolver gave
 * them. */
static int collect(const struct lookup *l, enum bki_address_use use, struct bki_address **out)
{
    size_t max = 0, n = 0;
    for (const struct addrinfo *a = l->found; a; a = a->ai_next)
        max += is_usable(a);
    if (max == 0)
        return bk_fail(-BK_ERESOLVE, "resolve '%s': no address found", l->host);
    struct bki_address *list = bki_realloc_array(NULL, max, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (int rank = 0; rank <= 1; rank++)
        for (const struct addrinfo *a = l->found; a; a = a->ai_next)
            if (is_usable(a) && family_rank(a->ai_family, use) == rank)
                n = add(list, n, a);
    *out = list;
    return (int)n;
}

static int resolve_name(const struct bki_address_spec *spec, enum bki_address_use use, int family,
                        struct bki_address **out)
{
    struct lookup *l = bki_zalloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    memcpy(l->host, spec->host, sizeof l->host);
    l->family = family;
    snprintf(l->port, sizeof l->port, "%u", spec->port);
    bool abandoned = false;
    int64_t since_ns = bki_debug_clock_ns();
    int r = bk_to_thread(look_up, l, &(bk_to_thread_opts){.on_abandon = lookup_abandoned});
    bki_debug_slow(since_ns, 0, "a name was looked up slowly", spec->host);
    abandoned = r == -ECANCELED;
    if (r == 0)
        r = collect(l, use, out);
    if (!abandoned)
        lookup_free(l);
    return r;
}

/* "localhost" and all below it are this host, whatever a name server or a file says (RFC 6761 6.3).
 */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host), own = sizeof name - 1;
    if (len > 0 && host[len - 1] == '.')
        len--;
    return len >= own && strncasecmp(host + len - own, name, own) == 0 &&
           (len == own || host[len - own - 1] == '.');
}

/* What needs no look-up: one address, or one of each family: the wildcards, the loopbacks. */
static int known(const struct bki_address_spec *spec, int family, struct bki_address **out)
{
    struct bki_address both[2] = {spec->address, {.len = sizeof both->in4}};
    both[1].in4.sin_family = AF_INET;
    both[1].in4.sin_port = htons(spec->port);
    if (spec->is_name) { /* IPv4 first: there most servers listen, and all clients come from */
        both[0] = both[1];
        both[0].in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        both[1].len = sizeof both->in6;
        both[1].in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                            .sin6_port = htons(spec->port),
                                            .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    }
    struct bki_address *list = bki_realloc_array(NULL, 2, sizeof *list);
    int n = 0;
    if (!list)
        return -ENOMEM;
    for (int i = 0; i < (spec->any_host || spec->is_name ? 2 : 1); i++)
        if (family == AF_UNSPEC || family == both[i].any.sa_family)
            list[n++] = both[i];
    if (n > 0)
        *out = list;
    else
        bki_free(list);
    return n;
}

int bki_resolve_family(const char *text, enum bki_address_use use, int family,
                       struct bki_address **out)
{
    struct bki_address_spec spec;
    int r = bki_address_parse(&spec, text);
    if (r < 0)
        return r;
    if (use == BKI_TO_CONNECT && spec.any_host)
        return bk_fail(-BK_EURL, "address '%s': no host to connect to", text);
    if (use == BKI_TO_CONNECT && spec.address.any.sa_family != AF_UNIX && spec.port == 0)
        return bk_fail(-BK_EURL, "address '%s': port 0 is only for listening", text);
    r = spec.is_name && !is_localhost(spec.host) ? resolve_name(&spec, use, family, out)
                                                 : known(&spec, family, out);
    return r != 0 ? r : bk_fail(-BK_ERESOLVE, "address '%s' is of another family", text);
}

/* ---- The same as text ---- */

struct bk_addresses {
    int n;
    char text[][BKI_ADDRESS_TEXT];
};

int bk_resolve(bk_addresses **out, const char *address, const bk_resolve_opts *opts)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    struct bki_address *found = NULL;
    int n = bki_resolve_family(address, BKI_TO_SHOW, families[opts ? opts->family : BK_ANY_FAMILY],
                               &found);
    if (n < 0)
        return n;
    bk_addresses *list = bki_zalloc(sizeof *list + (size_t)n * sizeof *list->text);
    for (int i = 0; list && i < n; i++)
        bki_address_format(&found[i], list->text[i]);
    bki_free(found);
    if (!list)
        return bk_fail(-ENOMEM, "no memory for %d addresses", n);
    list->n = n;
    *out = list;
    return n;
}

int bk_addresses_count(const bk_addresses *list)
{
    return list->n;
}

const char *bk_addresses_get(const bk_addresses *list, int i)
{
    return i >= 0 && i < list->n ? list->text[i] : NULL;
}

void bk_addresses_free(bk_addresses **list)
{
    bki_free(*list);
    *list = NULL;
}

/* ---- The name at an address ---- */

struct reverse {
    struct bki_address address;
    char text[BKI_ADDRESS_TEXT];
    char name[BK_HOST_MAX];
};

static void reverse_abandoned(void *ctx, int result)
{
    (void)result;
    bki_free(ctx);
}

static int look_up_name(void *ctx)
{
    struct reverse *l = ctx;
    int e = bki_resolver.getnameinfo(&l->address.any, l->address.len, l->name, sizeof l->name, NULL,
                                     0, NI_NAMEREQD);
    return e == 0 ? 0 : resolve_failed(l->text, e);
}

int bk_resolve_name(const char *address, char *name, size_t size)
{
    struct bki_address_spec spec;
    int r = bki_address_parse(&spec, address);
    if (r < 0)
        return r;
    if (spec.is_name || spec.any_host || spec.address.any.sa_family == AF_UNIX)
        return bk_fail(-BK_EURL, "address '%s': not that of a host in numbers", address);
    struct reverse *l = bki_zalloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    l->address = spec.address;
    bki_address_format(&l->address, l->text);
    r = bk_to_thread(look_up_name, l, &(bk_to_thread_opts){.on_abandon = reverse_abandoned});
    if (r == -ECANCELED)
        return r;
    size_t len = strlen(l->name);
    if (r == 0 && len < size)
        memcpy(name, l->name, len + 1);
    else if (r == 0)
        r = bk_fail(-ENOSPC, "no room for the %zu bytes of a host's name", len);
    bki_free(l);
    return r;
}
