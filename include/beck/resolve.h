/* SPDX-License-Identifier: MIT
 * Names: the addresses of a host, and the host at an address.
 *
 *     bk_addresses *list = NULL;
 *     int n = bk_resolve(&list, "example.org:443", NULL);
 *     for (int i = 0; i < n; i++)
 *         puts(bk_addresses_get(list, i));
 *     bk_addresses_free(&list);
 *
 * bk_connect and bk_listen look names up by themselves; this is for programs that want to see them.
 * The system's own resolver is asked (getaddrinfo, getnameinfo), on a thread of the pool, since it
 * blocks.  A cancelled task stops waiting at once; the thread ends its look-up alone.
 *
 * Everything here is for the loop thread; what suspends is for tasks. */
#ifndef BECK_RESOLVE_H
#define BECK_RESOLVE_H

#include <beck/run.h>

BK_BEGIN_DECLS

enum bk_family { BK_ANY_FAMILY, BK_IPV4, BK_IPV6 };

typedef struct bk_resolve_opts {
    enum bk_family family; /* addresses of this family alone; default: of both */
} bk_resolve_opts;

/* A list of addresses as text, in the order in which to try them (RFC 6724). */
typedef struct bk_addresses bk_addresses;

/* Looks up the addresses of the host in address ("example.org:443"), each with the same port.  What
 * is numeric already ("127.0.0.1:80", "[::1]:80", ":80") or no name at all ("unix:/path") is not
 * looked up, and stands for itself; "localhost" and names below it are 127.0.0.1 and ::1, and
 * nobody is asked (RFC 6761 section 6.3).
 * out: NULL on entry; bk_addresses_free it.
 * Suspends while a name is looked up.  Returns how many there are, at least one; -BK_EURL (not an
 * address), -BK_ERESOLVE, -ECANCELED, -ENOMEM, or -EAGAIN when no thread could be started. */
BK_API int bk_resolve(bk_addresses **out, const char *address, const bk_resolve_opts *opts);

/* How many there are. */
BK_API int bk_addresses_count(const bk_addresses *list);
/* The address at index i, counted from 0; NULL beyond the last.  Valid while the list is. */
BK_API const char *bk_addresses_get(const bk_addresses *list, int i);
/* Frees *list (NULL is fine) and sets it to NULL. */
BK_API void bk_addresses_free(bk_addresses **list);

#define BK_HOST_MAX 256 /* bytes enough for every host name and its NUL */

/* Looks up the name of the host at a numeric address, whose port does not matter ("127.0.0.1:0").
 * name: gets it, NUL-terminated; size: BK_HOST_MAX is enough for any.
 * Suspends while it is looked up.  Returns 0; -BK_EURL when address is not numeric; -BK_ERESOLVE
 * when the host has no name; -ENOSPC when size is too small; -ECANCELED, -ENOMEM, -EAGAIN. */
BK_API int bk_resolve_name(const char *address, char *name, size_t size);

BK_END_DECLS
#endif
