/* SPDX-License-Identifier: MIT
 * Which proxy the environment names for a URL: http_proxy, https_proxy, all_proxy, no_proxy.
 *
 * As curl reads them: the names in lower case come first, in upper case second, but HTTP_PROXY is
 * not read at all (a server's CGI programs get it from whoever sends a "Proxy:" header).  no_proxy
 * is a list of host names, each with its subdomains, addresses and address ranges ("10.0.0.0/8"),
 * each with a port or without, or "*" for every host. */
#ifndef BECK_SRC_PROTO_HTTP_PROXY_H
#define BECK_SRC_PROTO_HTTP_PROXY_H

#include "proto/endpoint.h"

/* The proxy's URL or "host:port", as it stands in the environment; NULL for none.  env: getenv, or
 * what a test puts in its place. */
const char *bki_proxy_from_env(const struct bki_endpoint *target, char *(*env)(const char *name));

/* Whether a no_proxy list names the target. */
bool bki_proxy_exempt(const char *list, const struct bki_endpoint *target);

#endif
