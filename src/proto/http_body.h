/* SPDX-License-Identifier: MIT
 * Where the body of an HTTP/1.1 message ends (RFC 9112 6 and 7): a decoder that tells content from
 * framing, and the encoder's side.
 *
 * The decoder owns no memory and does no I/O.  It is given the bytes behind the head in any
 * portions, and tells for each how much was framing, which it drops, and how much is content:
 *
 *     r = bki_http_decode(&d, in, len, &skip);
 *     BKI_HTTP_MORE      all of in[0..len) was framing
 *     BKI_HTTP_CONTENT   at in[skip] begin d.left bytes of content (INT64_MAX: until the
 *                        connection ends); bki_http_decode_took says how many of them were used
 *     BKI_HTTP_TRAILER   the chunks are over, a trailer section begins at in[skip]: a head of
 *                        the kind BKI_HTTP_TRAILERS
 *     BKI_HTTP_END       the body is over; what begins at in[skip] is the next message
 *
 * In requests it is as strict as the head's parser: lines end with CRLF, extensions follow their
 * grammar, no white space at the end of a chunk's line.  In responses that white space is taken,
 * since old servers pad the size with it. */
#ifndef BECK_SRC_PROTO_HTTP_BODY_H
#define BECK_SRC_PROTO_HTTP_BODY_H

#include "proto/http_head.h"

#define BKI_HTTP_MAX_CHUNK_EXT 4096u

struct bki_http_decoder {
    int64_t left; /* bytes of content known to follow */
    enum bki_http_body kind;
    enum bki_http_error error; /* why it was refused; bki_http_error_text */
    bool response;
    uint8_t state;
    uint8_t digits;        /* of a chunk's size so far */
    uint32_t ext, max_ext; /* bytes of all chunk lines beyond their sizes */
};

/* kind: as bki_http_body_of tells it (a tunnel counts as no body).  length: for
 * BKI_HTTP_BODY_LENGTH.  response: who sent it.  max_ext: most bytes of chunk extensions in the
 * whole body; 0: 4 KiB. */
void bki_http_decode_init(struct bki_http_decoder *d, enum bki_http_body kind, int64_t length,
                          bool response, size_t max_ext);

enum bki_http_event { BKI_HTTP_MORE, BKI_HTTP_CONTENT, BKI_HTTP_TRAILER, BKI_HTTP_END };

/* Reads framing until content or the end.  Returns an event; or -BK_EPROTO or -BK_ELIMIT, see
 * d->error, and so does every later call.  Never suspends, never allocates. */
int bki_http_decode(struct bki_http_decoder *d, const char *in, size_t len, size_t *skip);

/* n bytes of the content told by BKI_HTTP_CONTENT have been taken; n <= d->left. */
void bki_http_decode_took(struct bki_http_decoder *d, size_t n);

/* The trailer section told by BKI_HTTP_TRAILER has been read: the body is over. */
void bki_http_decode_trailer_read(struct bki_http_decoder *d);

/* The connection has ended.  Returns 0 when that is the body's end, else -BK_EINCOMPLETE. */
int bki_http_decode_eof(struct bki_http_decoder *d);

/* ---- Sending ---- */

#define BKI_HTTP_CHUNK_HEAD 18u /* 16 digits and CRLF */

/* Writes the line before a chunk of len bytes, len > 0; returns its length.  CRLF follows the
 * chunk, and "0" CRLF, trailers, CRLF the last one. */
size_t bki_http_chunk_head(char out[BKI_HTTP_CHUNK_HEAD], size_t len);

#endif
