/* SPDX-License-Identifier: MIT
 * Takes URLs apart (RFC 3986), without allocating: the parts are spans of the text that was given.
 *
 *     wss://user:pw@example.com:8443/feed?key=v#part     with an authority: checked strictly
 *     file:relative/path?follow   sqlite:trades.db?table=t   exec:jq -c '.a?'    without: anything
 * goes
 *     -                                                   standard input or output
 *
 * A part is as written, percent signs and all (bki_url_decode); its data is NULL when it is absent,
 * which differs from empty: "ws://h?" has a query. */
#ifndef BECK_SRC_BASE_URL_H
#define BECK_SRC_BASE_URL_H

#include <beck/base.h>

#define BKI_URL_MAX 65536

#define BKI_URL_XN "a host's name beyond ASCII is written in its xn-- form"

struct bki_url {
    bk_span scheme; /* "-" for the URL "-" */
    bk_span rest;   /* all behind "scheme:", for schemes with a syntax of their own (exec) */
    bk_span userinfo;
    bk_span host; /* absent: there is no authority; without the brackets of an IPv6 address */
    bool host_is_ipv6;
    int port; /* -1: not given */
    bk_span path;
    bk_span query;
    bk_span fragment;
};

/* Takes text apart; url is valid while text is.  Returns 0, or -BK_EURL with the reason and the
 * place in the detail, which quotes nothing of the text: it may hold a password. */
int bki_url_parse(struct bki_url *url, const char *text);

/* Whether the scheme is this one, in upper or lower case (section 3.1). */
bool bki_url_scheme_is(const struct bki_url *url, const char *scheme);

/* Replaces percent-encoded bytes (section 2.1); "+" stays.  *out: NUL-terminated, bki_free it.
 * Errors: -BK_EURL (not two hex digits, or a NUL), -ENOMEM. */
int bki_url_decode(char **out, bk_span part);

/* Walks over the pairs of a query, "name=value&name&...":
 *
 *     struct bki_url_query q;
 *     bki_url_query_begin(&q, url.query);
 *     while ((r = bki_url_query_next(&q)) > 0)
 *         ... q.name, q.value: decoded, valid until the next call; value is NULL without a "=" ...
 *     bki_url_query_end(&q);
 */
struct bki_url_query {
    bk_span left;
    char *pair;
    const char *name, *value;
};

void bki_url_query_begin(struct bki_url_query *q, bk_span query);

/* Returns 1 for a pair, 0 at the end, < 0 as bki_url_decode.  Empty pairs ("a&&b") are passed over.
 */
int bki_url_query_next(struct bki_url_query *q);

void bki_url_query_end(struct bki_url_query *q);

/* Finds the first pair of that name.  *out: its value ("" without one), bki_free it.
 * Returns 1, 0 when there is none, < 0 as bki_url_decode. */
int bki_url_query_get(bk_span query, const char *name, char **out);

/* What a reference ("../x?y", "//host/x", a whole URL) means inside the absolute URL base (section
 * 5.2), as for a Location field: what no URL holds (spaces, bytes beyond ASCII, quotes, braces, a
 * '%' without two hex digits) is percent-encoded on the way, control characters are refused.
 * *out: NUL-terminated, bki_free it.  Errors: -BK_EURL (base is not absolute, a control character,
 * over BKI_URL_MAX), -ENOMEM.  The result is no more than put together: bki_url_parse judges it. */
int bki_url_resolve(char **out, const char *base, bk_span reference);

/* The URL without its secrets: "***" for the user information, for every query value and for the
 * fragment; control characters become dots.  What stands in a path (or in a
 * command line) is shown.  Cut to what fits out[0..size), size > 0.  Returns out. */
char *bki_url_redacted(const struct bki_url *url, char *out, size_t size);

#endif
