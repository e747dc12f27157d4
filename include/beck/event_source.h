/* SPDX-License-Identifier: MIT
 * Server-sent events, received (WHATWG HTML 9.2): one stream of events, over as many connections as
 * it takes.
 *
 *     bk_event_source *source = NULL;
 *     bk_server_event event;
 *     int r = bk_event_source_open(&source, "https://example.org/events", NULL);
 *     while (r >= 0 && (r = bk_event_source_next(source, &event)) > 0)
 *         printf("%.*s\n", (int)event.data.len, event.data.data);
 *     return bk_event_source_close(&source, r);
 *
 * When the connection ends or cannot be made, it is made again after the time that the server asked
 * for (its "retry:"; 3 s before it did), with the last event's id, so that the server can go on
 * where it was; after failures in a row the wait doubles, up to max_delay.  Every connection begins
 * at the URL that was given, and follows redirects from there.
 *
 * Everything here is for the loop thread, in a task. */
#ifndef BECK_EVENT_SOURCE_H
#define BECK_EVENT_SOURCE_H

#include <beck/http_client.h>

BK_BEGIN_DECLS

typedef struct bk_event_source bk_event_source;

typedef struct bk_event_source_opts {
    bk_http_client *client;         /* borrowed until close; default: one of its own */
    const bk_http_headers *headers; /* further fields of each request; borrowed until close */
    const char *bearer;             /* a bearer token */
    const char *last_event_id;      /* where to go on: sent with the first request */
    bk_duration delay; /* before a new connection, until the server says otherwise; default 3 s */
    bk_duration max_delay; /* that failures in a row lead to; default 30 s */
    size_t max_failures;   /* in a row, then next fails with the last of them; default: no limit */
    bk_duration timeout;   /* for connecting, up to the response's head; default 30 s */
    bk_duration stall_timeout;  /* silence that ends a connection; default: none does */
    size_t max_line, max_event; /* bytes of a line, of an event's data; default 1 MiB, 4 MiB */
} bk_event_source_opts;

/* Makes a source; the first bk_event_source_next connects.
 * out: NULL on entry; bk_event_source_close it.  url: "http:" or "https:".
 * Errors: -BK_EURL, -ENOMEM.  Does not suspend. */
BK_API int bk_event_source_open(bk_event_source **out, const char *url,
                                const bk_event_source_opts *opts);

/* One event, valid until the next call; always UTF-8. */
typedef struct bk_server_event {
    bk_span type; /* "message" where the server named none */
    bk_span data;
    bk_span id; /* the last that came, maybe with an event before: "" for none */
} bk_server_event;

/* Receives the next event, connecting (again) as needed.  One task at a time (-EBUSY).
 * Suspends until there is one.  Returns 1 and *event; 0 when the server has ended it for good
 * (204); -ECANCELED, nothing lost (what was being connected is begun again); and what ends it for
 * good, which later calls return again: -BK_EREFUSED (a status that is not 200), -BK_EFORMAT (it is
 * no event stream), -BK_ELIMIT (a line or an event over its limit, too many redirects), -BK_EURL
 * (redirected to a URL of another kind, or from https: to http:), -BK_ECERT, -EINVAL, -ENOMEM, or
 * the last of max_failures. */
BK_API int bk_event_source_next(bk_event_source *source, bk_server_event *event);

/* How often a connection was lost and made again: events may have been missed where the server does
 * not go on from an id. */
BK_API size_t bk_event_source_reconnects(const bk_event_source *source);

/* The last event's id, "" for none; valid until the next bk_event_source_next. */
BK_API bk_span bk_event_source_last_id(const bk_event_source *source);

/* Ends the connection and sets *source to NULL.  NULL is fine.  Returns r.  Does not suspend. */
BK_API int bk_event_source_close(bk_event_source **source, int r);

BK_END_DECLS
#endif
