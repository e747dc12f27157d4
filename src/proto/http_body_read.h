/* SPDX-License-Identifier: MIT
 * Reads the body of an HTTP message from a stream, for either role. */
#ifndef BECK_SRC_PROTO_HTTP_BODY_READ_H
#define BECK_SRC_PROTO_HTTP_BODY_READ_H

#include <beck/stream.h>

#include "proto/http_body.h"
#include "proto/http_headers.h"

struct bki_http_reader {
    bk_stream *stream;
    struct bki_http_decoder decoder;
    struct bk_http_headers trailers; /* of a chunked body, once it is over; the owner releases it */
    enum bki_http_error error; /* why the body was refused; 0 when a result was the stream's */
    bool over;                 /* read to its end */
};

/* Prepares to read what follows the head, which has been consumed.  Arguments as
 * bki_http_decode_init; reader->trailers keeps its memory. */
void bki_http_reader_init(struct bki_http_reader *reader, bk_stream *stream,
                          enum bki_http_body kind, int64_t length, bool response, size_t max_ext);

/* Reads up to len bytes of content: what there is, and at least one.
 * Suspends until there is some.  Returns the count; 0 at the end of the body; -BK_EPROTO,
 * -BK_ELIMIT (reader->error says why), -BK_EINCOMPLETE, -ENOMEM, -ECANCELED or the stream's error;
 * after a cancel it can be called again, nothing lost. */
ssize_t bki_http_reader_read(struct bki_http_reader *reader, void *buf, size_t len);

/* Shows the content that is there, at least a byte of it, in the stream's buffer: *out is valid
 * until the next read call; bki_http_reader_took says how much of it was used.  Returns 1, or as
 * bki_http_reader_read. */
int bki_http_reader_peek(struct bki_http_reader *reader, bk_span *out);
void bki_http_reader_took(struct bki_http_reader *reader, size_t n);

#endif
