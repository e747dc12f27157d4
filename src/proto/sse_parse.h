/* SPDX-License-Identifier: MIT
 * The event stream format, read without I/O (WHATWG HTML, 9.2.5 and 9.2.6).
 *
 *     while ((r = bki_sse_next(&sse, in, len, &used)) > 0) {
 *         in += used, len -= used;
 *         ... sse.type, sse.data, sse.id: one event ...
 *     }
 *
 * Bytes that are not UTF-8 become U+FFFD, so that what is given out always is.  An event that the
 * stream does not finish with an empty line is dropped, as the text says. */
#ifndef BECK_SRC_PROTO_SSE_PARSE_H
#define BECK_SRC_PROTO_SSE_PARSE_H

#include "base/buf.h"

#define BKI_SSE_MAX_LINE ((size_t)1024 * 1024)
#define BKI_SSE_MAX_EVENT ((size_t)4 * 1024 * 1024)

struct bki_sse {
    /* The event that bki_sse_next returned; valid until the next call. */
    bk_span type; /* "message" unless the stream named one */
    bk_span data;

    /* Outlives the connection: what a reconnection sends as Last-Event-ID, "" for none.  Set by
     * events only, valid until the next. */
    bk_span id;
    int64_t retry_ms; /* the last "retry:" of the stream; -1 before one came */

    struct bki_buf line;     /* of a line that the input cut */
    struct bki_buf data_buf; /* the data field so far, each line with a line feed */
    struct bki_buf type_buf;
    struct bki_buf id_buf;  /* of the event in progress */
    struct bki_buf id_last; /* of the last event dispatched */
    bool id_pending;        /* id_buf has a newer id than id_last */
    bool has_data;          /* a data field came, maybe an empty one */
    bool given;             /* the buffers hold an event already given out */
    bool after_cr;          /* a line feed now belongs to the carriage return before it */
    uint8_t bom;            /* bytes of a byte order mark seen at the start; 3: past it */
    size_t max_line, max_event;
    int error;
};

/* max_line, max_event: bytes of a line, of an event's data; 0: 1 MiB, 4 MiB. */
void bki_sse_init(struct bki_sse *sse, size_t max_line, size_t max_event);
void bki_sse_free(struct bki_sse *sse);

/* The id that counts as the last one until the stream has another.  -ENOMEM. */
int bki_sse_go_on(struct bki_sse *sse, bk_span id);

/* Forgets what a connection that ended left half read, for the next one.  Keeps id and retry_ms. */
void bki_sse_restart(struct bki_sse *sse);

/* Reads on in in[0..len).
 * *used: how many bytes it took; give the rest again.
 * Returns 1 for an event; 0 when all bytes are taken and more are needed; -BK_ELIMIT for a line or
 * an event over its limit, -ENOMEM: then until bki_sse_restart always. */
int bki_sse_next(struct bki_sse *sse, const char *in, size_t len, size_t *used);

#endif
