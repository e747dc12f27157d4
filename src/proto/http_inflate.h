/* SPDX-License-Identifier: MIT
 * The content codings gzip and deflate undone (RFC 9110 8.4.1), in pieces of any size, without I/O.
 *
 * "deflate" means zlib's format; bare deflate data, which some servers send instead, is recognised.
 * Whoever calls bounds what comes out: nothing here does. */
#ifndef BECK_SRC_PROTO_HTTP_INFLATE_H
#define BECK_SRC_PROTO_HTTP_INFLATE_H

#include <beck/base.h>

struct bki_inflate;

enum bki_coding { BKI_CODING_GZIP, BKI_CODING_DEFLATE };

/* The coding of a name ("gzip", "x-gzip", "deflate", in any case); -1 for another. */
int bki_coding_named(bk_span name);

/* *chain: NULL, or a decoder, which from now on decodes what the new one makes: codings are added
 * in the order in which they were applied.  bki_inflate_free it.  -ENOMEM: *chain is as before. */
int bki_inflate_add(struct bki_inflate **chain, enum bki_coding coding);
void bki_inflate_free(struct bki_inflate **inflate);

/* Decodes from in[0..in_len) into out[0..out_len), out_len > 0.
 * *used: bytes taken; give the rest again.  *made: bytes written.
 * Returns 0; -BK_EFORMAT for what is not that format, data behind its end included; -ENOMEM.  When
 * *made is less than out_len, all input has been taken. */
int bki_inflate_next(struct bki_inflate *inflate, const char *in, size_t in_len, size_t *used,
                     char *out, size_t out_len, size_t *made);

/* The input is over.  Returns 0; -BK_EINCOMPLETE when the coded data was not; no data at all is a
 * whole body of nothing. */
int bki_inflate_end(const struct bki_inflate *inflate);

#endif
