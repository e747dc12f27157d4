/* SPDX-License-Identifier: MIT
 * Sweeps over an HTTP server's connections: what a client gets is the beginning of what it should
 * get, and all of it when nobody was struck; and over the server as a whole. */
#include <sys/socket.h>

#include <beck/sse.h>

#include "proto/http_serve.h"
#include "tests/sweep.h"

enum { LARGE = 150000 };

struct site {
    bk_listener *listener;
    struct bki_http_server server;
    bk_timeout *until; /* the whole server's, which its last request ends */
    int n_handled;
    char got[LARGE + 2000];
    size_t n_got;
};

static int listen_somewhere(void *ctx)
{
    struct site *site = ctx;
    return bk_listen(&site->listener, "127.0.0.1:0", NULL);
}

static void close_listener(void *ctx)
{
    struct site *site = ctx;
    bk_listener_close(&site->listener, 0);
}

/* ---- Handlers; the date is always the same ---- */

static int start(bk_http_req *req, int64_t len)
{
    int r = bk_http_reply_header(req, "Date", "today");
    return r < 0 ? r : bk_http_reply_start(req, 200, len);
}

/* Sends the body back in pieces, as it comes. */
static int echo(void *ctx, bk_http_req *req)
{
    char piece[3];
    (void)ctx;
    ssize_t n = bk_http_req_read(req, piece, sizeof piece);
    int r = n < 0 ? (int)n : start(req, bk_http_req_length(req));
    while (r == 0 && n > 0) {
        r = bk_http_reply_write(req, piece, (size_t)n);
        if (r == 0)
            n = bk_http_req_read(req, piece, sizeof piece);
    }
    return r < 0 ? r : (int)n;
}

static int take_whole(void *ctx, bk_http_req *req)
{
    bk_msg *body = NULL;
    (void)ctx;
    int r = bk_http_req_body(req, &body);
    if ((r == 0) != (body != NULL))
        sweep_lost("bk_http_req_body returns %d and %s body", r, body ? "a" : "no");
    if (r == 0)
        r = bk_http_reply_header(req, "Date", "today");
    if (r == 0)
        r = bk_http_reply(req, 200, NULL, bk_msg_data(body), bk_msg_len(body));
    bk_msg_free(&body);
    return r;
}

static const char *large_text(void)
{
    static char text[LARGE];
    for (int i = 0; i < LARGE; i++)
        text[i] = (char)('a' + i % 23);
    return text;
}

static int send_large(void *ctx, bk_http_req *req)
{
    (void)ctx;
    int r = start(req, LARGE);
    for (size_t at = 0, n; r == 0 && at < LARGE; at += n) {
        n = LARGE - at < 40000 ? LARGE - at : 40000;
        r = bk_http_reply_write(req, large_text() + at, n);
    }
    return r;
}

/* A hint before a reply in chunks, and its trailer. */
static int send_hinted(void *ctx, bk_http_req *req)
{
    bk_http_headers *hint = NULL;
    (void)ctx;
    int r = bk_http_headers_new(&hint);
    if (r == 0)
        r = bk_http_headers_add(hint, "Link", "</style>");
    if (r == 0)
        r = bk_http_reply_interim(req, 103, hint);
    if (r == 0)
        r = start(req, -1);
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_http_reply_write(req, "abc", 3);
        if (r == 0)
            r = bk_yield();
    }
    if (r == 0)
        r = bk_http_reply_trailer(req, "Sum", "6");
    bk_http_headers_free(&hint);
    return r < 0 ? r : bk_http_reply_end(req);
}

static int send_text(void *ctx, bk_http_req *req)
{
    (void)ctx;
    int r = bk_http_reply_header(req, "Date", "today");
    return r < 0 ? r : bk_http_reply_text(req, 200, "so");
}

/* Each way to send something: the same event three times, and a comment. */
static int send_one_event(bk_sse *sse, int i)
{
    const bk_sse_event event = {.type = bk_span_str("tick"), .data = bk_span_str("x")};
    bk_msg *msg = NULL;
    if (i == 0)
        return bk_sse_send(sse, "tick", "x");
    if (i == 1)
        return bk_sse_send_event(sse, &event);
    int r = bk_sse_encode(&msg, &event);
    if (r == 0)
        r = bk_sse_send_msg(sse, msg);
    bk_msg_free(&msg);
    return r;
}

static int send_events(void *ctx, bk_http_req *req)
{
    bk_sse *sse = NULL;
    (void)ctx;
    int r = bk_http_reply_header(req, "Date", "today");
    if (r == 0)
        r = bk_sse_open(&sse, req, NULL);
    for (int i = 0; i < 3 && r == 0; i++) {
        r = send_one_event(sse, i);
        if (r == 0)
            r = bk_sse_sleep(sse, bk_ms(1));
    }
    if (r == 0)
        r = bk_sse_comment(sse, "bye");
    if (r == 0)
        r = bk_sse_wait(sse);
    return bk_sse_close(&sse, r);
}

static int upgrade(void *ctx, bk_http_req *req)
{
    bk_stream *s = NULL;
    bk_span line;
    (void)ctx;
    int r = bk_http_req_upgrade(req, "shout", &s);
    if ((r == 0) != (s != NULL))
        sweep_lost("bk_http_req_upgrade returns %d and %s stream", r, s ? "a" : "no");
    while (r >= 0 && (r = bk_stream_read_line(s, &line)) == 1) {
        const bk_span parts[] = {line, bk_span_str("!\n")};
        r = bk_stream_writev(s, parts, 2);
    }
    return bk_stream_close(&s, r);
}

/* ---- The subjects: a connection, accepted and served ---- */

/* The clock ticks slowly in a sweep. */
static const bk_http_serve_opts impatient = {
    .head_timeout = {500000000},
    .min_rate_grace = {60000000000}, /* but TCP keeps a time of its own */
    .drain = {500000000},
};

/* For a client that waits for events and sends nothing more: what is over ends soon. */
static const bk_http_serve_opts impatient_when_idle = {
    .head_timeout = {500000000},
    .idle_timeout = {1000000000},
    .min_rate_grace = {60000000000},
};

/* A client that has failed does not come. */
static int accept_in_time(struct site *site, bk_stream **s)
{
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, bk_seconds(3));
    return r < 0 ? r : bk_timeout_close(&limit, bk_accept(site->listener, s));
}

static int serve_with(struct site *site, bk_http_fn *handler, const bk_http_serve_opts *opts)
{
    bk_stream *s = NULL;
    bki_http_server_init(&site->server, handler, site, opts);
    int r = accept_in_time(site, &s);
    if (r == 1) {
        int size = 4096;
        setsockopt(bk_stream_fd(s), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        s->write_buffer = 8192;
        r = bki_http_serve_stream(&site->server, &s);
    }
    return bk_stream_close(&s, r);
}

static int serve_one(struct site *site, bk_http_fn *handler)
{
    return serve_with(site, handler, &impatient);
}

static int serve_echo(void *ctx)
{
    return serve_one(ctx, echo);
}

static int serve_whole(void *ctx)
{
    return serve_one(ctx, take_whole);
}

static int serve_large(void *ctx)
{
    return serve_one(ctx, send_large);
}

static int serve_hinted(void *ctx)
{
    return serve_one(ctx, send_hinted);
}

static int serve_text(void *ctx)
{
    return serve_one(ctx, send_text);
}

static int serve_events(void *ctx)
{
    int r = serve_with(ctx, send_events, &impatient_when_idle);
    /* Its client leaves, and the connection is dropped. */
    return r == -ECANCELED && bki_check_cancel() == 0 ? 0 : r;
}

static int serve_upgrade(void *ctx)
{
    return serve_one(ctx, upgrade);
}

/* ---- Clients: send all in pieces, read all ---- */

static int read_all(struct site *site, bk_stream *s)
{
    ssize_t n;
    while ((n = bk_stream_read(s, site->got + site->n_got, sizeof site->got - site->n_got)) > 0) {
        site->n_got += (size_t)n;
        if (bk_yield() < 0)
            break;
    }
    return (int)n;
}

/* What becomes of it is the check's to see. */
static int talk(struct site *site, const char *text, size_t step, bool end)
{
    bk_stream *s = NULL;
    int r = bk_connect(&s, bk_listener_address(site->listener), NULL);
    for (size_t at = 0, len = strlen(text), n; r == 0 && at < len; at += n) {
        n = len - at < step ? len - at : step;
        r = bk_stream_write(s, text + at, n);
        if (r == 0)
            r = bk_yield();
    }
    if (r == 0 && end)
        r = bk_stream_write_eof(s);
    if (r == 0)
        r = read_all(site, s);
    return bk_stream_close(&s, r) == -ECANCELED ? -ECANCELED : 0;
}

#define HEAD " HTTP/1.1\r\nHost: h\r\n"
#define REPLY "HTTP/1.1 200 OK\r\n"
#define DATED "\r\nDate: today\r\n\r\n"

#define SEVERAL                                                                                    \
    "GET /1" HEAD "\r\nPOST /2" HEAD "Content-Length: 5\r\n\r\nhello"                              \
    "POST /3" HEAD                                                                                 \
    "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n"               \
    "GET /4" HEAD "Connection: close\r\n\r\n"

static int ask_several(void *ctx)
{
    return talk(ctx, SEVERAL, 23, false);
}

static int ask_waiting(void *ctx)
{
    return talk(ctx,
                "POST /" HEAD "Expect: 100-continue\r\nConnection: close\r\n"
                "Content-Length: 5\r\n\r\n"
                "hello",
                85, false);
}

static int ask_once(void *ctx)
{
    return talk(ctx, "GET /" HEAD "Connection: close\r\n\r\n", 1000, false);
}

static int ask_malformed(void *ctx)
{
    return talk(ctx, "GET /" HEAD "A : b\r\n\r\nGET /" HEAD "\r\n", 7, false);
}

static int ask_to_shout(void *ctx)
{
    return talk(ctx, "GET /" HEAD "Upgrade: shout\r\nConnection: upgrade\r\n\r\none\ntwo\n", 1000,
                true);
}

/* Reads three events, and leaves. */
static int follow(void *ctx)
{
    struct site *site = ctx;
    bk_stream *s = NULL;
    bk_span event;
    int r = bk_connect(&s, bk_listener_address(site->listener), NULL);
    if (r == 0)
        r = bk_stream_write(s, "GET /" HEAD "\r\n", strlen("GET /" HEAD "\r\n"));
    for (int i = 0; i < 5 && r >= 0; i++) {
        r = bk_stream_read_until(s, bk_span_str(i == 0 ? "\r\n\r\n" : "\n\n\r\n"), &event);
        if (r == 1) {
            memcpy(site->got + site->n_got, event.data, event.len);
            site->n_got += event.len;
        }
    }
    return bk_stream_close(&s, r) == -ECANCELED ? -ECANCELED : 0;
}

/* ---- Checks ---- */

static void judge(const struct site *site, const char *want, size_t len, int result)
{
    bool begins = site->n_got <= len && memcmp(site->got, want, site->n_got) == 0;
    /* Of a connection that was cut before a word, nothing has come; of one that lost its memory, an
     * answer that says so. */
    if (!begins && !(sweep_excused() && strstr(site->got, "HTTP/1.1 500")))
        sweep_lost("the client got %zu bytes that do not begin what it should get: %.300s",
                   site->n_got, site->got);
    if (result == 0 && site->n_got != len && !sweep_excused())
        sweep_lost("the client got %zu of %zu bytes", site->n_got, len);
}

static void several_replies(void *ctx, int result)
{
    static const char want[] = REPLY "Content-Length: 0" DATED REPLY "Content-Length: 5" DATED
                                     "hello" REPLY "Content-Length: 5" DATED "hello" REPLY
                                     "Connection: close\r\nContent-Length: 0" DATED;
    judge(ctx, want, sizeof want - 1, result);
}

static void an_echo(void *ctx, int result)
{
    static const char want[] = "HTTP/1.1 100 Continue\r\n\r\n" REPLY
                               "Connection: close\r\nContent-Length: 5" DATED "hello";
    static const char at_once[] = REPLY "Connection: close\r\nContent-Length: 5" DATED "hello";
    struct site *site = ctx;
    if (strncmp(site->got, "HTTP/1.1 1", 10) == 0)
        judge(site, want, sizeof want - 1, result);
    else
        judge(site, at_once, sizeof at_once - 1, result);
}

static void a_large_reply(void *ctx, int result)
{
    static const char head[] = REPLY "Connection: close\r\nContent-Length: 150000" DATED;
    static char want[sizeof head + LARGE];
    memcpy(want, head, sizeof head);
    memcpy(want + sizeof head - 1, large_text(), LARGE);
    judge(ctx, want, sizeof head - 1 + LARGE, result);
}

static void three_events(void *ctx, int result)
{
    static const char want[] =
        REPLY "Transfer-Encoding: chunked\r\nDate: today\r\nContent-Type: text/event-stream\r\n"
              "Cache-Control: no-store\r\n\r\n"
              "15\r\nevent: tick\ndata: x\n\n\r\n15\r\nevent: tick\ndata: x\n\n\r\n"
              "15\r\nevent: tick\ndata: x\n\n\r\n"
              "7\r\n: bye\n\n\r\n";
    judge(ctx, want, sizeof want - 1, result);
}

static void a_hinted_reply(void *ctx, int result)
{
    static const char want[] = "HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n" REPLY
                               "Connection: close\r\nTransfer-Encoding: chunked" DATED
                               "3\r\nabc\r\n3\r\nabc\r\n0\r\nSum: 6\r\n\r\n";
    judge(ctx, want, sizeof want - 1, result);
}

static void a_text(void *ctx, int result)
{
    static const char want[] = REPLY "Connection: close\r\nContent-Length: 2\r\nDate: today\r\n"
                                     "Content-Type: text/plain; charset=utf-8\r\n\r\nso";
    judge(ctx, want, sizeof want - 1, result);
}

static void a_shout(void *ctx, int result)
{
    static const char want[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\n"
                               "Connection: Upgrade\r\n\r\none!\ntwo!\n";
    (void)result; /* the server does not wait until the client has read it all */
    judge(ctx, want, sizeof want - 1, -1);
}

static void a_refusal(void *ctx, int result)
{
    struct site *site = ctx;
    static const char want[] = "HTTP/1.1 400 Bad Request\r\n";
    if (site->n_got > sizeof want - 1)
        site->n_got = sizeof want - 1;
    judge(ctx, want, sizeof want - 1, result);
}

/* ---- A whole server ---- */

static int end_server(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    if (++site->n_handled == 3)
        bk_timeout_reschedule(site->until, bk_now());
    return take_whole(ctx, req);
}

/* Serves until the third request, or until nobody comes any more. */
static int serve_three(void *ctx)
{
    struct site *site = ctx;
    int r = bk_timeout_open(&site->until, bk_seconds(4));
    if (r < 0)
        return r;
    r = bk_http_serve(site->listener, end_server, site, &impatient);
    r = bk_timeout_close(&site->until, r);
    return r == -ETIMEDOUT ? 0 : r;
}

/* A client that is answered is answered right. */
static int ask_for_itself(struct site *site, size_t step)
{
    static const char want[] = REPLY "Connection: close\r\nContent-Length: 0" DATED;
    struct site *own = calloc(1, sizeof *own);
    own->listener = site->listener;
    int r = talk(own, "GET /4" HEAD "Connection: close\r\n\r\n", step, false);
    if (own->n_got > 0)
        judge(own, want, sizeof want - 1, -1);
    free(own);
    return r;
}

static int ask_at_once(void *ctx)
{
    return ask_for_itself(ctx, 1000);
}

static int ask_slowly(void *ctx)
{
    return ask_for_itself(ctx, 9);
}

#define SITE(function)                                                                             \
    .state_size = sizeof(struct site), .open = listen_somewhere, .close = close_listener,          \
    .subject = function, .blame_elsewhere = true

static const struct sweep_scenario scenarios[] = {
    {.name = "http serve, several",
     SITE(serve_whole),
     .helpers = {ask_several},
     .check = several_replies},
    {.name = "http serve, echo", SITE(serve_echo), .helpers = {ask_waiting}, .check = an_echo},
    {.name = "http serve, large", SITE(serve_large), .helpers = {ask_once}, .check = a_large_reply},
    {.name = "http serve, events", SITE(serve_events), .helpers = {follow}, .check = three_events},
    {.name = "http serve, hinted",
     SITE(serve_hinted),
     .helpers = {ask_once},
     .check = a_hinted_reply},
    {.name = "http serve, text", SITE(serve_text), .helpers = {ask_once}, .check = a_text},
    {.name = "http serve, upgrade",
     SITE(serve_upgrade),
     .helpers = {ask_to_shout},
     .check = a_shout},
    {.name = "http serve, malformed",
     SITE(serve_whole),
     .helpers = {ask_malformed},
     .check = a_refusal},
    {.name = "http server", SITE(serve_three), .helpers = {ask_at_once, ask_slowly, ask_at_once}},
};

SWEEP_MAIN(scenarios)
