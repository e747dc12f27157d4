/* SPDX-License-Identifier: MIT
 * Proxies as the environment names them. */
#include "proto/http_proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

#define ADDRESS_MAX 46 /* of an IPv6 address as text, with its NUL */

static bool to_text(char out[ADDRESS_MAX], bk_span span)
{
    if (span.len >= ADDRESS_MAX)
        return false;
    if (span.len > 0)
        memcpy(out, span.data, span.len);
    out[span.len] = '\0';
    return true;
}

/* The family of an address, and its bytes; 0 for a name. */
static int parse_address(bk_span host, uint8_t out[16])
{
    char text[ADDRESS_MAX];
    if (!to_text(text, host))
        return 0;
    if (inet_pton(AF_INET, text, out) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, text, out) == 1 ? AF_INET6 : 0;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, long bits)
{
    long bytes = bits / 8, rest = bits % 8;
    if (memcmp(a, b, (size_t)bytes) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 || ((a[bytes] ^ b[bytes]) & mask) == 0;
}

/* "10.0.0.0/8", "fd00::/8", or an address alone, against the target's address. */
static bool range_holds(bk_span range, bk_span host)
{
    uint8_t net[16], address[16];
    const char *slash = memchr(range.data, '/', range.len);
    bk_span base = slash ? bk_span_of(range.data, (size_t)(slash - range.data)) : range;
    int family = parse_address(base, net);
    if (family == 0 || parse_address(host, address) != family)
        return false;
    long bits = family == AF_INET ? 32 : 128;
    if (slash) {
        char text[ADDRESS_MAX], *end;
        bk_span number = bk_span_of(slash + 1, range.len - base.len - 1);
        if (!to_text(text, number))
            return false;
        long given = strtol(text, &end, 10);
        if (number.len == 0 || *end || given < 0 || given > bits)
            return false;
        bits = given;
    }
    return same_bits(net, address, bits);
}

/* A name and its subdomains; a dot in front, or a dot at the end of either, changes nothing. */
static bool domain_holds(bk_span domain, bk_span host)
{
    if (domain.len >= 2 && domain.data[0] == '*' && domain.data[1] == '.')
        domain = bk_span_of(domain.data + 1, domain.len - 1);
    if (domain.len > 0 && domain.data[0] == '.')
        domain = bk_span_of(domain.data + 1, domain.len - 1);
    if (domain.len > 0 && domain.data[domain.len - 1] == '.')
        domain.len--;
    if (host.len > 0 && host.data[host.len - 1] == '.')
        host.len--;
    if (domain.len == 0 || host.len < domain.len)
        return false;
    const char *tail = host.data + host.len - domain.len;
    return strncasecmp(tail, domain.data, domain.len) == 0 &&
           (tail == host.data || tail[-1] == '.');
}

/* Takes ":port" and the brackets of an IPv6 address off an entry.  False when the port is another
 * than the target's. */
static bool strip_port(bk_span *entry, int port)
{
    const char *end = entry->data + entry->len, *colon = NULL;
    if (entry->len > 0 && entry->data[0] == '[') {
        const char *close = memchr(entry->data, ']', entry->len);
        if (!close)
            return false;
        colon = close + 1 < end && close[1] == ':' ? close + 1 : NULL;
        *entry = bk_span_of(entry->data + 1, (size_t)(close - entry->data - 1));
    } else {
        colon = memchr(entry->data, ':', entry->len);
        if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            return true; /* an IPv6 address without brackets has no port */
        if (colon)
            entry->len = (size_t)(colon - entry->data);
    }
    if (!colon)
        return true;
    long wanted = 0;
    for (const char *p = colon + 1; p < end && *p >= '0' && *p <= '9' && wanted < 100000; p++)
        wanted = wanted * 10 + (*p - '0');
    return wanted == port;
}

static bool entry_holds(bk_span entry, const struct bki_endpoint *target)
{
    if (bk_span_equal(entry, bk_span_str("*")))
        return true;
    if (!strip_port(&entry, target->port))
        return false;
    bk_span host = bk_span_str(target->host);
    return range_holds(entry, host) || domain_holds(entry, host);
}

bool bki_proxy_exempt(const char *list, const struct bki_endpoint *target)
{
    static const char separators[] = ", \t";
    while (*(list += strspn(list, separators))) {
        size_t len = strcspn(list, separators);
        if (entry_holds(bk_span_of(list, len), target))
            return true;
        list += len;
    }
    return false;
}

static const char *first_set(char *(*env)(const char *name), const char *lower, const char *upper)
{
    const char *value = env(lower);
    if (!value && upper)
        value = env(upper);
    return value && *value ? value : NULL;
}

const char *bki_proxy_from_env(const struct bki_endpoint *target, char *(*env)(const char *name))
{
    const char *proxy = target->secure ? first_set(env, "https_proxy", "HTTPS_PROXY")
                                       : first_set(env, "http_proxy", NULL);
    if (!proxy)
        proxy = first_set(env, "all_proxy", "ALL_PROXY");
    const char *exempt = proxy ? first_set(env, "no_proxy", "NO_PROXY") : NULL;
    return exempt && bki_proxy_exempt(exempt, target) ? NULL : proxy;
}
