/* SPDX-License-Identifier: MIT
 * Socket addresses from text and to text. */
#include "net/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include <beck/error.h>

static int parse_unix(struct bki_address_spec *out, const char *text, const char *path)
{
    struct sockaddr_un *un = &out->address.un;
    size_t len = strlen(path);
    bool abstract = path[0] == '@';
    if (len == 0 || (abstract && len == 1))
        return bk_fail(-BK_EURL, "address '%s': the socket's path is missing", text);
    /* The kernel wants a NUL behind a path, not behind an abstract name. */
    if (len > sizeof un->sun_path - !abstract)
        return bk_fail(-BK_EURL, "address '%s': the socket's path is over %zu bytes", text,
                       sizeof un->sun_path - !abstract);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len);
    if (abstract)
        un->sun_path[0] = '\0';
    out->address.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
    return 0;
}

static int parse_port(uint16_t *port, const char *text, const char *digits)
{
    unsigned value = 0;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || digits[n] != '\0')
        return bk_fail(-BK_EURL, "address '%s': the port must be a number", text);
    for (size_t i = 0; i < n && value <= 65535; i++)
        value = value * 10 + (unsigned)(digits[i] - '0');
    if (value > 65535)
        return bk_fail(-BK_EURL, "address '%s': the port is over 65535", text);
    *port = (uint16_t)value;
    return 0;
}

static int parse_ip6(struct bki_address_spec *out, const char *text)
{
    struct sockaddr_in6 *in6 = &out->address.in6;
    char host[BKI_HOST_MAX];
    memcpy(host, out->host, sizeof host);
    char *scope = strchr(host, '%');
    if (scope) {
        *scope++ = '\0';
        char *end;
        unsigned long number = strtoul(scope, &end, 10);
        in6->sin6_scope_id =
            *scope && !*end && number <= UINT32_MAX ? (uint32_t)number : if_nametoindex(scope);
        if (in6->sin6_scope_id == 0)
            return bk_fail(-BK_EURL, "address '%s': no network interface '%s'", text, scope);
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
        return bk_fail(-BK_EURL, "address '%s': not an IPv6 address in brackets", text);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(out->port);
    out->address.len = sizeof *in6;
    return 0;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

/* A dotted quad, or a name.  Other numbers are never a name: "1.2.3" and "0x7f.1" are mistakes, not
 * the 1.2.0.3 and 127.0.0.1 that the resolver would make of them. */
static int parse_host(struct bki_address_spec *out, const char *text)
{
    struct sockaddr_in *in4 = &out->address.in4;
    struct in_addr odd;
    if (inet_pton(AF_INET, out->host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons(out->port);
        out->address.len = sizeof *in4;
        return 0;
    }
    if (out->host[strspn(out->host, "0123456789.")] == '\0' || inet_aton(out->host, &odd))
        return bk_fail(-BK_EURL, "address '%s': not an IPv4 address", text);
    for (const char *c = out->host; *c; c++)
        if (!is_host_char(*c))
            return bk_fail(-BK_EURL, "address '%s': a host name holds no '%c'", text, *c);
    out->is_name = true;
    return 0;
}

int bki_address_parse(struct bki_address_spec *out, const char *text)
{
    memset(out, 0, sizeof *out);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(out, text, text + 5);

    const char *colon = strrchr(text, ':');
    if (!colon)
        return bk_fail(-BK_EURL, "address '%s': want host:port or unix:path", text);
    const char *host = text;
    size_t host_len = (size_t)(colon - text);
    bool brackets = host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']';
    if (brackets) {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len)) {
        return bk_fail(-BK_EURL, "address '%s': an IPv6 address stands in brackets, as in [::1]:80",
                       text);
    }
    if (host_len >= sizeof out->host)
        return bk_fail(-BK_EURL, "address '%.40s...': the host name is over %zu bytes", text,
                       sizeof out->host - 1);
    memcpy(out->host, host, host_len);
    int r = parse_port(&out->port, text, colon + 1);
    if (r < 0)
        return r;
    if (brackets)
        return parse_ip6(out, text);
    if (host_len > 0)
        return parse_host(out, text);
    out->any_host = true;
    out->address.in6.sin6_family = AF_INET6;
    out->address.in6.sin6_port = htons(out->port);
    out->address.len = sizeof out->address.in6;
    return 0;
}

static void format_unix(const struct bki_address *address, char *buf)
{
    size_t offset = offsetof(struct sockaddr_un, sun_path);
    size_t len = address->len > offset ? address->len - offset : 0;
    const char *path = address->un.sun_path;
    bool abstract = len > 0 && path[0] == '\0';
    if (!abstract)
        len = strnlen(path, len);
    size_t at = (size_t)snprintf(buf, BKI_ADDRESS_TEXT, "unix:");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i];
        if (i == 0 && abstract)
            c = '@';
        if (c >= 0x20 && c < 0x7f)
            buf[at++] = (char)c;
        else
            at += (size_t)snprintf(buf + at, BKI_ADDRESS_TEXT - at, "\\x%02x", c);
    }
    buf[at] = '\0';
}

const char *bki_address_format(const struct bki_address *address, char buf[BKI_ADDRESS_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in6 *in6 = &address->in6;
    buf[0] = '\0';
    if (address->len < sizeof(sa_family_t))
        return buf;
    switch (address->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address->in4.sin_addr, ip, sizeof ip);
        snprintf(buf, BKI_ADDRESS_TEXT, "%s:%u", ip, ntohs(address->in4.sin_port));
        break;
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ip, sizeof ip);
            snprintf(buf, BKI_ADDRESS_TEXT, "%s:%u", ip, ntohs(in6->sin6_port));
            break;
        }
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        if (in6->sin6_scope_id)
            snprintf(buf, BKI_ADDRESS_TEXT, "[%s%%%u]:%u", ip, in6->sin6_scope_id,
                     ntohs(in6->sin6_port));
        else
            snprintf(buf, BKI_ADDRESS_TEXT, "[%s]:%u", ip, ntohs(in6->sin6_port));
        break;
    case AF_UNIX:
        format_unix(address, buf);
        break;
    default:
        break;
    }
    return buf;
}

bool bki_address_equal(const struct bki_address *a, const struct bki_address *b)
{
    return a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0;
}
