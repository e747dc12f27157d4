/* SPDX-License-Identifier: MIT
 * Writes HTTP/1.1 heads into memory of the caller's, and lets nothing through that would end a line
 * early.
 *
 * A writer counts like snprintf: it writes what fits and knows how long the whole is.  Faults are
 * remembered, so only the end needs a check:
 *
 *     bki_http_write_init(&w, buf, sizeof buf);
 *     bki_http_write_request(&w, bk_span_str("GET"), target);
 *     bki_http_write_field(&w, bk_span_str("Host"), host);
 *     ssize_t n = bki_http_write_end(&w);       n > sizeof buf: take a buffer of n bytes and write
 * again
 */
#ifndef BECK_SRC_PROTO_HTTP_WRITE_H
#define BECK_SRC_PROTO_HTTP_WRITE_H

#include <time.h>

#include <beck/base.h>

struct bki_http_writer {
    char *buf;
    size_t cap;
    size_t len;        /* bytes of the whole so far, also of what did not fit */
    const char *fault; /* what was wrong with the first bad part; NULL: nothing */
};

/* buf: may be NULL when cap is 0. */
void bki_http_write_init(struct bki_http_writer *w, char *buf, size_t cap);

/* The request line.  Faults: a method that is not a token, a target with other than visible ASCII.
 */
void bki_http_write_request(struct bki_http_writer *w, bk_span method, bk_span target);

/* The status line.  reason: empty for the usual words.  Faults: status outside 100..999, control
 * characters in reason. */
void bki_http_write_status(struct bki_http_writer *w, int status, bk_span reason);

/* One header line.  Faults: a name that is not a token, control characters (CR and LF among them)
 * in value. */
void bki_http_write_field(struct bki_http_writer *w, bk_span name, bk_span value);
void bki_http_write_number(struct bki_http_writer *w, bk_span name, uint64_t value);

/* The empty line.  Returns the length of the whole head, which is in buf only when it is <= cap; or
 * -EINVAL, see w->fault. */
ssize_t bki_http_write_end(struct bki_http_writer *w);

/* Adds body bytes behind the end of the head.  Returns the length of head and body so far, or
 * -EINVAL. */
ssize_t bki_http_write_body(struct bki_http_writer *w, bk_span body);

/* Notes a fault of the caller's own finding. */
void bki_http_write_fault(struct bki_http_writer *w, const char *fault);

#define BKI_HTTP_DATE_SIZE 32

/* A time as in "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7). */
void bki_http_date(char text[BKI_HTTP_DATE_SIZE], time_t when);

/* The usual words for a status (RFC 9110 15); "" when there are none. */
const char *bki_http_reason(int status);

#endif
