/* SPDX-License-Identifier: MIT
 * Socket addresses: from text, to text, and from names.
 *
 *     127.0.0.1:80    [::1]:80    [fe80::1%eth0]:80    example.org:80    :80    unix:/path
 * unix:@abstract */
#ifndef BECK_SRC_NET_ADDRESS_H
#define BECK_SRC_NET_ADDRESS_H

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <beck/base.h>

struct bki_address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* Longest text of bki_address_format with its NUL: a Unix path of 107 bytes, every one escaped. */
#define BKI_ADDRESS_TEXT (sizeof "unix:" + 4 * 108)

#define BKI_HOST_MAX 254 /* a DNS name of 253 bytes and its NUL */

/* What a text says, before any look-up. */
struct bki_address_spec {
    bool is_name;  /* host and port are meant: look host up; else address is final */
    bool any_host; /* ":80": address is the IPv6 wildcard */
    struct bki_address address;
    char host[BKI_HOST_MAX]; /* as written, without brackets; "" for any_host and Unix sockets */
    uint16_t port;
};

/* Reads text.  Returns 0 or -BK_EURL with a detail that quotes it.  Never suspends; any thread. */
int bki_address_parse(struct bki_address_spec *out, const char *text);

/* Writes the text form of an address into buf, which bki_address_parse reads back: an IPv4 address
 * mapped into IPv6 as IPv4, an unnamed Unix socket as "unix:", bytes outside printable ASCII in
 * Unix paths as "\xNN" (those do not read back).  Returns buf. */
const char *bki_address_format(const struct bki_address *address, char buf[BKI_ADDRESS_TEXT]);

enum bki_address_use { BKI_TO_CONNECT, BKI_TO_LISTEN, BKI_TO_SHOW };

/* All addresses that text stands for, each once, in the order to try them; names are looked up on
 * the pool, but for localhost: that is 127.0.0.1 and ::1.  family: AF_INET or AF_INET6 for those
 * alone, AF_UNSPEC for all.
 * To listen, IPv4 comes first, so that a name means what every client can reach, and ":80" is the
 * IPv6 wildcard followed by the IPv4 one, for hosts without IPv6.  *out: free with bki_free.
 * Returns how many, or -BK_EURL, -BK_ERESOLVE, -ENOMEM, -ECANCELED, -EAGAIN.  Suspends for names.
 */
int bki_resolve_family(const char *text, enum bki_address_use use, int family,
                       struct bki_address **out);

static inline int bki_resolve(const char *text, enum bki_address_use use, struct bki_address **out)
{
    return bki_resolve_family(text, use, AF_UNSPEC, out);
}

bool bki_address_equal(const struct bki_address *a, const struct bki_address *b);

/* The system's resolver, called on threads of the pool; tests put another in its place. */
extern struct bki_resolver {
    int (*getaddrinfo)(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **out);
    void (*freeaddrinfo)(struct addrinfo *list);
    int (*getnameinfo)(const struct sockaddr *address, socklen_t len, char *host,
                       socklen_t host_size, char *port, socklen_t port_size, int flags);
} bki_resolver;

#endif
