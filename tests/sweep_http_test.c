/* SPDX-License-Identifier: MIT
 * Sweeps over HTTP calls and event sources: a call has one outcome, what was read is what was
 * sent, and its connection is used again or gone. */
#include <beck/event_source.h>

#include "tests/sweep.h"

#define BODY "abcdefghijklmnopqrstuvwxyz"

struct web {
    bk_listener *listener;
    bk_http_client *client;
    char url[64];
    bk_event_source *source;
    int n_events; /* the subject's, of 6 */
};

/* ---- The server: a plain one, whose answers depend on the path ---- */

static int say(bk_stream *s, const char *text)
{
    int r = bk_stream_write(s, text, strlen(text));
    return r < 0 ? r : bk_yield();
}

static int read_request(bk_stream *s, char *path, size_t size)
{
    bk_span line;
    char *end;
    long len = 0;
    bool expects = false;
    int r = bk_stream_read_line(s, &line);
    if (r <= 0)
        return r;
    const char *start = memchr(line.data, ' ', line.len);
    size_t n = start ? strcspn(start + 1, " ") : 0;
    snprintf(path, size, "%.*s", (int)n, start ? start + 1 : "");
    while ((r = bk_stream_read_line(s, &line)) > 0 && line.len > 0)
        if (line.len > 16 && memcmp(line.data, "Content-Length: ", 16) == 0)
            len = strtol(line.data + 16, &end, 10);
        else if (line.len > 18 && memcmp(line.data, "Transfer-Encoding:", 18) == 0)
            len = -1;
        else if (line.len > 7 && memcmp(line.data, "Expect:", 7) == 0)
            expects = true;
    if (r > 0 && expects)
        r = say(s, "HTTP/1.1 100 Continue\r\n\r\n") < 0 ? -1 : 1;
    if (r > 0 && len < 0)
        r = bk_stream_read_until(s, bk_span_str("\r\n0\r\n\r\n"), &line);
    for (char byte; r > 0 && len > 0; len--)
        r = bk_stream_read_exactly(s, &byte, 1) < 0 ? -1 : 1;
    return r;
}

static int answer(bk_stream *s, const char *path)
{
    if (strcmp(path, "/moved") == 0)
        return say(s, "HTTP/1.1 302 Found\r\nLocation: /whole\r\nContent-Length: 0\r\n\r\n");
    if (strcmp(path, "/events") == 0) {
        int r = say(s, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        if (r == 0)
            r = say(s, "retry: 10\nid: 0\ndata: a\n\nid: 1\ndata:");
        if (r == 0)
            r = say(s, " b\n\nid: 2\ndata: c\n\n");
        return r < 0 ? r : -BK_ECLOSED;
    }
    int r = say(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (r == 0)
        r = say(s, "D\r\nabcdefghijklm\r\n");
    return r == 0 ? say(s, "D\r\nnopqrstuvwxyz\r\n0\r\nX: y\r\n\r\n") : r;
}

static int handle(void *ctx, bk_stream **stream)
{
    char path[64];
    int r;
    (void)ctx;
    while ((r = read_request(*stream, path, sizeof path)) > 0)
        if ((r = answer(*stream, path)) < 0)
            break;
    bk_stream_close(stream, r == -BK_ECLOSED ? 0 : r);
    return 0;
}

static int be_the_server(void *ctx)
{
    struct web *w = ctx;
    int r = bk_serve(w->listener, handle, NULL, NULL);
    return r == -ECANCELED || sweep_excused() ? r : 0;
}

static int open_web(void *ctx)
{
    struct web *w = ctx;
    int r = bk_listen(&w->listener, "127.0.0.1:0", NULL);
    if (r == 0)
        snprintf(w->url, sizeof w->url, "http://%s", bk_listener_address(w->listener));
    return r < 0 ? r : bk_http_client_new(&w->client, NULL);
}

static void close_web(void *ctx)
{
    struct web *w = ctx;
    bk_event_source_close(&w->source, 0);
    bk_http_client_free(&w->client);
    bk_listener_close(&w->listener, 0);
}

/* ---- The subjects ---- */

static const char *url_of(const struct web *w, const char *path)
{
    static char url[200];
    snprintf(url, sizeof url, "%s%s", w->url, path);
    return url;
}

/* The response that a call brings, read to its end. */
static int read_response(bk_http_call *call)
{
    bk_msg *body = NULL;
    int r = bk_http_call_body(call, &body);
    if (r == 0 && !bk_span_equal(bk_msg_span(body), bk_span_str(BODY)))
        sweep_lost("the body is not the one that was sent");
    if (r < 0 && body)
        sweep_lost("bk_http_call_body returns %d and a body", r);
    bk_msg_free(&body);
    return r;
}

static int get(struct web *w, const char *path)
{
    bk_http_call *call = NULL;
    int r = bk_http_get(&call, w->client, url_of(w, path), NULL);
    if ((r == 0) != (call != NULL))
        sweep_lost("bk_http_get returns %d, and %s call", r, call ? "a" : "no");
    if (r == 0)
        r = read_response(call);
    return bk_http_call_close(&call, r);
}

static int get_twice(void *ctx)
{
    struct web *w = ctx;
    int r = get(w, "/whole");
    return r < 0 ? r : get(w, "/whole");
}

static int get_in_pieces(void *ctx)
{
    struct web *w = ctx;
    bk_http_call *call = NULL;
    char got[40], *at = got;
    ssize_t n = 0;
    int r = bk_http_get(&call, w->client, url_of(w, "/whole"), NULL);
    while (r == 0 && (n = bk_http_call_read(call, at, 5)) > 0)
        at += n;
    bool whole = at - got == 26 && memcmp(got, BODY, 26) == 0;
    bool begun = at - got <= 26 && memcmp(got, BODY, (size_t)(at - got)) == 0;
    if (r == 0 && !(n == 0 ? whole : begun))
        sweep_lost("the body is not the one that was sent");
    return bk_http_call_close(&call, n < 0 ? (int)n : r);
}

static int get_moved(void *ctx)
{
    return get(ctx, "/moved");
}

static int post(void *ctx)
{
    struct web *w = ctx;
    static char data[100000];
    bk_http_call *call = NULL;
    int r = bk_http_request(&call, w->client, "POST", url_of(w, "/whole"),
                            bk_span_of(data, sizeof data), NULL);
    if (r == 0)
        r = read_response(call);
    return bk_http_call_close(&call, r);
}

static int upload(void *ctx)
{
    struct web *w = ctx;
    bk_http_call *call = NULL;
    int r = bk_http_open(&call, w->client, "PUT", url_of(w, "/whole"), -1, NULL);
    for (int i = 0; i < 3 && r == 0; i++)
        r = bk_http_call_write(call, "piece", 5);
    if (r == 0)
        r = bk_http_call_finish(call);
    if (r == 0)
        r = read_response(call);
    return bk_http_call_close(&call, r);
}

/* The server is asked first, and the response has a field behind its body. */
static int upload_when_wanted(void *ctx)
{
    struct web *w = ctx;
    bk_http_call *call = NULL;
    int r = bk_http_open(&call, w->client, "PUT", url_of(w, "/whole"), 10,
                         &(bk_http_opts){.expect_continue = true});
    for (int i = 0; i < 2 && r == 0; i++)
        r = bk_http_call_write(call, "piece", 5);
    if (r == 0)
        r = bk_http_call_finish(call);
    if (r == 0)
        r = read_response(call);
    if (r == 0 && !bk_http_headers_has(bk_http_call_trailers(call), "X", "y"))
        sweep_lost("the trailer is lost");
    return bk_http_call_close(&call, r);
}

static int follow_events(void *ctx)
{
    struct web *w = ctx;
    bk_server_event event;
    int r = w->source ? 0
                      : bk_event_source_open(&w->source, url_of(w, "/events"),
                                             &(bk_event_source_opts){.client = w->client});
    while (r >= 0 && w->n_events < 6 && (r = bk_event_source_next(w->source, &event)) > 0) {
        if (event.data.len != 1 || event.id.len != 1 ||
            event.data.data[0] != "abc"[event.id.data[0] - '0'])
            sweep_lost("event %d is not one that was sent", w->n_events);
        w->n_events++;
    }
    return r > 0 ? 0 : r;
}

/* Whatever became of the subject's call, the connections are idle or gone. */
static void none_is_in_use(void *ctx, int result)
{
    struct web *w = ctx;
    (void)result;
    size_t open = bk_http_client_open(w->client), idle = bk_http_client_idle(w->client);
    if (open != idle)
        sweep_lost("%zu connections, %zu of them idle", open, idle);
}

#define WEB(function)                                                                              \
    .state_size = sizeof(struct web), .open = open_web, .close = close_web, .subject = function,   \
    .helpers = {be_the_server}, .blame_elsewhere = true

static const struct sweep_scenario scenarios[] = {
    {.name = "http get, twice", WEB(get_twice), .check = none_is_in_use},
    {.name = "http get, in pieces", WEB(get_in_pieces), .check = none_is_in_use},
    {.name = "http redirect", WEB(get_moved), .check = none_is_in_use},
    {.name = "http post", WEB(post), .check = none_is_in_use},
    {.name = "http upload", WEB(upload), .check = none_is_in_use},
    {.name = "http upload, expected", WEB(upload_when_wanted), .check = none_is_in_use},
    {.name = "event source", WEB(follow_events)},
};

SWEEP_MAIN(scenarios)
