/* SPDX-License-Identifier: MIT
 * Reads the head of an HTTP message from a stream. */
#ifndef BECK_SRC_PROTO_HTTP_READ_H
#define BECK_SRC_PROTO_HTTP_READ_H

#include <beck/stream.h>

#include "proto/http_head.h"

/* Reads until h, prepared by bki_http_init, is whole.  Its bytes stay in the stream's buffer, so
 * that h is good until the next read call; bk_stream_consume(s, h->len) makes way for what follows.
 * A long one of a request also waits while others hold what there is of bk_run_opts.max_intake.
 * Returns 1; 0 when the stream ended before its first byte; -BK_EINCOMPLETE when it ended inside;
 * -BK_EPROTO or -BK_ELIMIT as bki_http_feed (h->error says what; a head over the stream's
 * read_limit is over the block's limit); or the stream's error.  bk_errmsg() tells of either. */
int bki_http_read_head(bk_stream *s, struct bki_http_head *h);

#define BKI_HTTP_MAX_INFORMATIONAL 20 /* 1xx answers before the final one */

/* The same for a response.  Informational ones ahead of it are passed over (RFC 9110 15.2), up to
 * the limit; 101 is none of them. */
int bki_http_read_response(bk_stream *s, struct bki_http_head *h);

#endif
