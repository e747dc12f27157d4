/* SPDX-License-Identifier: MIT
 * The parts of a request target, decoded into memory of the caller's. */
#ifndef BECK_SRC_PROTO_HTTP_QUERY_H
#define BECK_SRC_PROTO_HTTP_QUERY_H

#include "proto/http_head.h"

/* Path and query of a target, as sent; an absolute one without a path has "/". */
struct bki_http_parts {
    bk_span authority; /* empty unless the target is absolute */
    bk_span path;
    bk_span query; /* data NULL: none */
};

void bki_http_split_target(struct bki_http_parts *parts, bk_span target, enum bki_http_form form);

/* Decodes percent signs of s into out (s.len + 1 bytes), with a NUL behind; returns the length.
 * What would be a NUL, or is no two hexadecimal digits, stays as it is.  plus: "+" is a space. */
size_t bki_http_decode_percent(char *out, bk_span s, bool plus);

/* Decodes the pairs of a query into out (2 * query.len + 2 bytes): name NUL value NUL, again and
 * again.  Returns their length in all. */
size_t bki_http_decode_query(char *out, bk_span query);

#endif
