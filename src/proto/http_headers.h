/* SPDX-License-Identifier: MIT
 * A list of header fields: their bytes in one block, where each name and value lies in another.
 *
 * Names and values are NUL-terminated in place, so that they can be handed out as C strings; the
 * parser lets no NUL into either.  A received list is a copy of its head's bytes, whose separators
 * made way for the NULs. */
#ifndef BECK_SRC_PROTO_HTTP_HEADERS_H
#define BECK_SRC_PROTO_HTTP_HEADERS_H

#include <beck/http.h>

#include "proto/http_head.h"
#include "proto/http_write.h"

struct bk_http_headers {
    char *bytes;
    size_t len, cap;
    struct bki_http_field *fields; /* offsets into bytes */
    size_t n, max;
};

/* Forgets the fields and keeps the memory.  A zeroed list is an empty one. */
void bki_http_headers_clear(struct bk_http_headers *list);

/* Frees the memory; the list is then empty. */
void bki_http_headers_release(struct bk_http_headers *list);

/* Makes room for n bytes and n_fields fields in all.  -ENOMEM, the list as before. */
int bki_http_headers_reserve(struct bk_http_headers *list, size_t n, size_t n_fields);

/* Takes over a finished head: copies its bytes, terminates its parts, and makes `head` refer to the
 * copy, so that the questions of http_head.h go on working.  n_extra: bytes to leave room for
 * behind them.  -ENOMEM. */
int bki_http_headers_take(struct bk_http_headers *list, struct bki_http_head *head, size_t n_extra);

int bki_http_headers_add(struct bk_http_headers *list, bk_span name, bk_span value);

/* A part of a taken head, as a string. */
static inline const char *bki_http_text(const struct bk_http_headers *list, struct bki_range range)
{
    return list->bytes + range.at;
}

/* Writes all fields but those named in `except` (NULL-terminated; may be NULL). */
void bki_http_write_headers(struct bki_http_writer *w, const struct bk_http_headers *list,
                            const char *const *except);

#endif
