/* SPDX-License-Identifier: MIT
 * An event source: the parser on one HTTP response after the other. */
#include <beck/event_source.h>

#include "base/alloc.h"
#include "proto/endpoint.h"
#include "proto/http_chars.h"
#include "proto/sse_parse.h"
#include "rt/rt.h"

#define READ_SIZE ((size_t)16 * 1024)
#define DEFAULT_DELAY_SECONDS 3
#define DEFAULT_MAX_DELAY_SECONDS 30

struct bk_event_source {
    char *url, *bearer;
    char *shown; /* the URL without its secrets */
    bk_http_client *client, *own_client;
    const bk_http_headers *headers;
    bk_http_call *call; /* NULL: not connected */
    bk_duration delay, max_delay, timeout, stall_timeout;
    size_t max_failures;

    bool busy;
    bool ended;         /* for good: */
    int end;            /* 0, or why */
    size_t n_failures;  /* in a row, the end of a stream among them */
    bk_time due;        /* when to connect: not put off when next is cancelled meanwhile */
    size_t n_connected; /* connections that brought an event stream */
    struct bki_sse sse;
    size_t at, len; /* what is read and not parsed: buf[at..len) */
    char buf[READ_SIZE];
};

static int copy_opts(struct bk_event_source *s, const char *url, const bk_event_source_opts *opts)
{
    struct bki_endpoint target;
    int r = bki_endpoint_make(&target, url, "http", "https");
    s->shown = target.shown;
    target.shown = NULL;
    bki_endpoint_free(&target);
    if (r < 0)
        return r;
    s->url = bki_strdup(url);
    s->bearer = opts->bearer ? bki_strdup(opts->bearer) : NULL;
    s->headers = opts->headers;
    s->client = opts->client;
    s->delay = opts->delay.ns ? opts->delay : bk_seconds(DEFAULT_DELAY_SECONDS);
    s->max_delay = opts->max_delay.ns ? opts->max_delay : bk_seconds(DEFAULT_MAX_DELAY_SECONDS);
    s->timeout = opts->timeout;
    s->stall_timeout = opts->stall_timeout.ns ? opts->stall_timeout : bk_forever();
    s->max_failures = opts->max_failures ? opts->max_failures : SIZE_MAX;
    if (!s->url || (opts->bearer && !s->bearer))
        return bk_fail(-ENOMEM, "no memory for an event source");
    r = opts->last_event_id ? bki_sse_go_on(&s->sse, bk_span_str(opts->last_event_id)) : 0;
    if (r < 0 || s->client)
        return r;
    r = bk_http_client_new(&s->own_client, NULL);
    s->client = s->own_client;
    return r;
}

int bk_event_source_open(bk_event_source **out, const char *url, const bk_event_source_opts *opts)
{
    static const bk_event_source_opts defaults;
    if (!opts)
        opts = &defaults;
    struct bk_event_source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for an event source");
    bki_sse_init(&s->sse, opts->max_line, opts->max_event);
    int r = copy_opts(s, url, opts);
    if (r < 0)
        return bk_event_source_close(&s, r);
    *out = s;
    return 0;
}

int bk_event_source_close(bk_event_source **source, int r)
{
    struct bk_event_source *s = *source;
    *source = NULL;
    if (!s)
        return r;
    bk_http_call_close(&s->call, -ECANCELED);
    bk_http_client_free(&s->own_client);
    bki_sse_free(&s->sse);
    bki_free(s->url);
    bki_free(s->bearer);
    bki_free(s->shown);
    bki_free(s);
    return r;
}

size_t bk_event_source_reconnects(const bk_event_source *source)
{
    return source->n_connected > 0 ? source->n_connected - 1 : 0;
}

bk_span bk_event_source_last_id(const bk_event_source *source)
{
    return source->sse.id;
}

/* ---- Connecting ---- */

/* An id that no header field can hold is not sent. */
static int add_last_id(const struct bk_event_source *s, bk_http_headers *headers)
{
    bk_span id = bk_event_source_last_id(s);
    if (id.len == 0 || !bki_chars_all(id, BKI_CHAR_VALUE))
        return 0;
    char *text = bki_strndup(id.data, id.len);
    int r = text ? bk_http_headers_set(headers, "Last-Event-ID", text)
                 : bk_fail(-ENOMEM, "no memory for a request");
    bki_free(text);
    return r;
}

static int make_headers(const struct bk_event_source *s, bk_http_headers **out)
{
    const char *name, *value;
    int r = bk_http_headers_new(out);
    if (r == 0)
        r = bk_http_headers_add(*out, "Accept", "text/event-stream");
    if (r == 0)
        r = bk_http_headers_add(*out, "Cache-Control", "no-cache");
    for (size_t i = 0; r == 0 && s->headers && bk_http_headers_at(s->headers, i, &name, &value);
         i++)
        r = bk_http_headers_set(*out, name, value);
    return r == 0 ? add_last_id(s, *out) : r;
}

static int end_for_good(struct bk_event_source *s, int r)
{
    s->ended = true;
    s->end = r;
    bk_http_call_close(&s->call, r);
    return r;
}

static bool is_event_stream(const bk_http_headers *headers)
{
    const char *type = bk_http_headers_get(headers, "Content-Type");
    size_t len = type ? strcspn(type, ";") : 0;
    while (len > 0 && (type[len - 1] == ' ' || type[len - 1] == '\t'))
        len--;
    return bki_same_nocase(bk_span_of(type, len), bk_span_str("text/event-stream"));
}

/* The response's head is in: is it an event stream? */
static int check_response(struct bk_event_source *s)
{
    int status = bk_http_call_status(s->call);
    if (status == 204)
        return end_for_good(s, 0);
    if (status != 200)
        return end_for_good(s, bk_fail(-BK_EREFUSED, "%s: the server answered %d %s", s->shown,
                                       status, bk_http_call_reason(s->call)));
    if (!is_event_stream(bk_http_call_headers(s->call)))
        return end_for_good(
            s, bk_fail(-BK_EFORMAT, "%s: the answer is not text/event-stream", s->shown));
    bki_sse_restart(&s->sse);
    s->at = s->len = 0;
    s->n_connected++;
    s->n_failures = 0;
    return 0;
}

/* What another attempt will not change. */
static bool is_final(int r)
{
    return r == -BK_EURL || r == -EINVAL || r == -ENOMEM || r == -BK_ELIMIT || r == -BK_ECERT ||
           r == -BK_EUNSUPPORTED;
}

static bk_duration delay_of(const struct bk_event_source *s)
{
    int64_t most = s->max_delay.ns;
    int64_t ns = s->sse.retry_ms < 0                     ? s->delay.ns
                 : s->sse.retry_ms < INT64_MAX / 1000000 ? s->sse.retry_ms * 1000000
                                                         : INT64_MAX;
    /* Also when the server asked for no wait at all, failures in a row must not spin. */
    for (size_t i = 1; i < s->n_failures && ns < most; i++)
        ns = ns < 1000000 ? bk_ms(100).ns : ns > most / 2 ? most : ns * 2;
    return bk_ns(ns);
}

/* The connection has failed or ended (r is 0): another follows, or none. */
static int lost(struct bk_event_source *s, int r)
{
    if (r == -ECANCELED)
        return r;
    bk_http_call_close(&s->call, -ECANCELED);
    if (is_final(r) || (r < 0 && s->n_failures + 1 >= s->max_failures))
        return end_for_good(s, r);
    s->n_failures++;
    s->due = bk_time_add(bk_now(), delay_of(s));
    return 0;
}

static int connect_once(struct bk_event_source *s)
{
    bk_http_headers *headers = NULL;
    int r = s->n_failures > 0 ? bk_sleep_until(s->due) : 0;
    if (r == 0)
        r = make_headers(s, &headers);
    if (r == 0)
        r = bk_http_get(&s->call, s->client, s->url,
                        &(bk_http_opts){.headers = headers,
                                        .bearer = s->bearer,
                                        .timeout = s->timeout,
                                        .stall_timeout = s->stall_timeout});
    bk_http_headers_free(&headers);
    return r < 0 ? lost(s, r) : check_response(s);
}

/* ---- Events ---- */

static int parse(struct bk_event_source *s, bk_server_event *event)
{
    size_t used;
    int r = bki_sse_next(&s->sse, s->buf + s->at, s->len - s->at, &used);
    s->at += used;
    if (r < 0)
        return end_for_good(s, bk_fail(r, "%s: %s", s->shown, bk_errmsg()));
    if (r > 0)
        *event = (bk_server_event){s->sse.type, s->sse.data, s->sse.id};
    return r;
}

static int fill(struct bk_event_source *s)
{
    ssize_t n = bk_http_call_read(s->call, s->buf, sizeof s->buf);
    if (n <= 0)
        return lost(s, (int)n);
    s->at = 0;
    s->len = (size_t)n;
    return 0;
}

static int next(struct bk_event_source *s, bk_server_event *event)
{
    int r = 0;
    while (r == 0 && !s->ended) {
        if (!s->call)
            r = connect_once(s);
        else if (s->at < s->len)
            r = parse(s, event);
        else
            r = fill(s);
    }
    if (r == 0 && s->end < 0)
        return bk_fail(s->end, "%s: it has failed before", s->shown);
    return r;
}

int bk_event_source_next(bk_event_source *source, bk_server_event *event)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (source->busy)
        return bk_fail(-EBUSY, "another task receives from this event source");
    source->busy = true;
    r = next(source, event);
    source->busy = false;
    return r;
}
