/* SPDX-License-Identifier: MIT
 * The commonest conditions answered without libjq: fields compared with constants, joined by and,
 * or.
 *
 *     condition = comparison { ("and" | "or") comparison }        with jq's precedence
 *     comparison = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=") operand ]
 *     operand = .name{.name} | number | "text" | true | false | null | ( condition )
 *
 * It answers only where it is certain to say what jq says; for anything else in an expression it is
 * not made, and for anything unusual in an item it says that it does not know. */
#ifndef BECK_SRC_FLOW_WHERE_H
#define BECK_SRC_FLOW_WHERE_H

#include <beck/base.h>

struct bki_where;

/* NULL when the expression is not one of those, or memory is out.  The expression must be one that
 * jq has compiled. */
struct bki_where *bki_where_new(const char *expression);
void bki_where_free(struct bki_where *where);

/* 1: the condition is true of this JSON text; 0: it is not; -1: ask jq. */
int bki_where_test(const struct bki_where *where, bk_span text);

#endif
