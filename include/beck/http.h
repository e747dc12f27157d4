/* SPDX-License-Identifier: MIT
 * What HTTP clients and servers share: lists of header fields (RFC 9110 section 5), queries of
 * URLs.  The server is in http_server.h, the client in http_client.h.
 *
 * Nothing here suspends; any thread, one at a time. */
#ifndef BECK_HTTP_H
#define BECK_HTTP_H

#include <beck/error.h>

BK_BEGIN_DECLS

/* ---- Header fields ----
 *
 * A list in the order of the wire, where a name may stand more than once.  Names are compared
 * without regard to case.  A list that came in a message is const and lives as long as that; one of
 * your own is sent with a message, and is still yours. */
typedef struct bk_http_headers bk_http_headers;

/* Makes an empty list.  out: NULL on entry; bk_http_headers_free it.  Errors: -ENOMEM. */
BK_API int bk_http_headers_new(bk_http_headers **out);

/* Frees *headers and empties it; NULL is fine. */
BK_API void bk_http_headers_free(bk_http_headers **headers);

/* Adds a field behind the others; name and value are copied.
 * Errors, nothing added: -EINVAL when name is not a token or value holds a control character, CR
 * and LF among them, so that nothing can be smuggled in (spaces at the ends of value are dropped);
 * -ENOMEM. */
BK_API int bk_http_headers_add(bk_http_headers *headers, const char *name, const char *value);

/* Removes all fields of that name, then adds this one.  Errors, nothing changed: as
 * bk_http_headers_add. */
BK_API int bk_http_headers_set(bk_http_headers *headers, const char *name, const char *value);

/* Removes all fields of that name; returns how many there were. */
BK_API size_t bk_http_headers_remove(bk_http_headers *headers, const char *name);

/* The value of the first field of that name, NULL when there is none.  Valid until the list
 * changes. */
BK_API const char *bk_http_headers_get(const bk_http_headers *headers, const char *name);

/* Whether token is an element of the comma-separated values of that name ("close" in
 * "Connection: keep-alive, Close"), without regard to case. */
BK_API bool bk_http_headers_has(const bk_http_headers *headers, const char *name,
                                const char *token);

/* How many fields there are. */
BK_API size_t bk_http_headers_count(const bk_http_headers *headers);

/* Name and value of the field at index i; false, both NULL, beyond the last.  Valid until the list
 * changes. */
BK_API bool bk_http_headers_at(const bk_http_headers *headers, size_t i, const char **name,
                               const char **value);

/* ---- Words ---- */

/* The usual words for a status ("Not Found"); "" when there are none.  Static; any thread. */
BK_API const char *bk_http_status_text(int status);

BK_END_DECLS
#endif
