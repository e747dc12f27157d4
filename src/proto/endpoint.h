/* SPDX-License-Identifier: MIT
 * What a URL of a protocol on streams asks for: whom to connect to, and what to ask there. */
#ifndef BECK_SRC_PROTO_ENDPOINT_H
#define BECK_SRC_PROTO_ENDPOINT_H

#include "base/url.h"

/* All texts are owned by the target; NULL when absent. */
struct bki_endpoint {
    bool secure;           /* the scheme with TLS */
    bool bare;             /* neither path nor query were given */
    int port;              /* given, or the scheme's */
    char *host;            /* without brackets and zone: the name to verify; in lower case */
    char *address;         /* for bk_connect: "host:port", "[::1]:443", "[fe80::1%eth0]:80" */
    char *authority;       /* for the Host field: without the port if that is the scheme's own */
    char *path;            /* origin form, with the query; at least "/" */
    char *user, *password; /* of the user information, decoded */
    char *shown;           /* the URL without its secrets, for people */
};

/* Takes url apart.  plain, secure: the two schemes accepted ("http", "https").
 * Returns 0; -BK_EURL, saying what is wrong with the URL without showing its secrets; -ENOMEM.
 * bki_endpoint_free what it left, whatever it returned; *target need not be initialised. */
int bki_endpoint_make(struct bki_endpoint *target, const char *url, const char *plain,
                      const char *secure);
void bki_endpoint_free(struct bki_endpoint *target);

/* The same for a proxy: "http://..." or "https://...", or without a scheme, which means http. */
int bki_endpoint_make_proxy(struct bki_endpoint *target, const char *url);

/* The same scheme, host and port (RFC 6454 section 5). */
bool bki_endpoint_same_origin(const struct bki_endpoint *a, const struct bki_endpoint *b);

/* A text made as by printf; NULL when there is no memory for it. */
char *bki_text_join(const char *format, ...) BK_PRINTF(1, 2);

#endif
