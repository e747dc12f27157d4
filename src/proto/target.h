/* SPDX-License-Identifier: MIT
 * What a URL of a protocol on streams asks for: whom to connect to, and what to ask there. */
#ifndef BECK_SRC_PROTO_TARGET_H
#define BECK_SRC_PROTO_TARGET_H

#include "base/url.h"

/* All texts are owned by the target; NULL when absent. */
struct bki_target {
    bool secure;           /* the scheme with TLS */
    int port;              /* given, or the scheme's */
    char *host;            /* without the brackets of an IPv6 address: the name to verify */
    char *address;         /* for bk_connect: "host:port", "[::1]:443" */
    char *authority;       /* for the Host field: without the port if that is the scheme's own */
    char *path;            /* origin form, with the query; at least "/" */
    char *user, *password; /* of the user information, decoded */
    char *shown;           /* the URL without its secrets, for people */
};

/* Takes url apart.  plain, secure: the two schemes accepted ("http", "https").
 * Returns 0; -BK_EURL, saying what is wrong with the URL without showing its secrets; -ENOMEM.
 * bki_target_free what it left, whatever it returned; *target need not be initialised. */
int bki_target_make(struct bki_target *target, const char *url, const char *plain,
                    const char *secure);
void bki_target_free(struct bki_target *target);

/* The same for a proxy: "http://..." or "https://...", or without a scheme, which means http. */
int bki_target_make_proxy(struct bki_target *target, const char *url);

/* The same scheme, host and port (RFC 6454 section 5). */
bool bki_target_same_origin(const struct bki_target *a, const struct bki_target *b);

/* A text made as by printf; NULL when there is no memory for it. */
char *bki_text_join(const char *format, ...) BK_PRINTF(1, 2);

#endif
