/* SPDX-License-Identifier: MIT
 * Sweeps over servers in the background: opened, served, stopped, waited for, shut down.  Every
 * client gets its answers or an end, and nothing of a server stays behind. */
#include "net/resolver_fixture.h"
#include "tests/sweep.h"

struct house {
    bk_server *server;
    bk_stream *client;
    bk_event *asked; /* a client has got its first answer */
    int n_begun, n_ended;
};

static int answer(void *ctx, bk_stream **stream)
{
    struct house *h = ctx;
    bk_span line;
    int r;
    h->n_begun++;
    while ((r = bk_stream_read_line(*stream, &line)) == 1) {
        const bk_span parts[] = {line, bk_span_str("!\n")};
        r = bk_stream_writev(*stream, parts, 2);
        if (r < 0)
            break;
    }
    h->n_ended++;
    return r;
}

static const bk_server_opts quick = {.serve.drain = {5000000}};

static int open_house(struct house *h, const char *addresses)
{
    return bk_server_open(&h->server, addresses, answer, h, &quick);
}

static int open_server(void *ctx)
{
    struct house *h = ctx;
    int r = bk_event_new(&h->asked, "asked");
    return r < 0 ? r : open_house(h, "127.0.0.1:0,127.0.0.2:0");
}

static int close_server(struct house *h, int r)
{
    int result = bk_server_close(&h->server, r);
    if (h->server)
        sweep_lost("the server cannot be closed: %d", result);
    if (h->n_begun != h->n_ended)
        sweep_lost("%d handlers begun, %d ended", h->n_begun, h->n_ended);
    return result;
}

static void close_house(void *ctx)
{
    struct house *h = ctx;
    bk_stream_close(&h->client, -1);
    close_server(h, 0);
    bk_event_free(&h->asked);
}

/* A client that asks until the server ends it. */
static int ask_on(void *ctx)
{
    struct house *h = ctx;
    bk_span line;
    int r = bk_connect(&h->client, bk_server_address(h->server, 0), NULL);
    while (r >= 0) {
        r = bk_stream_write(h->client, "what\n", 5);
        if (r == 0)
            r = bk_stream_read_line(h->client, &line);
        if (r <= 0)
            break;
        if (line.len != 5 || memcmp(line.data, "what!", 5) != 0)
            sweep_lost("a wrong answer: '%.*s'", (int)line.len, line.data);
        bk_event_set(h->asked);
        r = bk_sleep(bk_ms(20));
    }
    bk_event_set(h->asked);
    bk_stream_close(&h->client, -1);
    return r == -ECANCELED || r == -ENOMEM ? r : 0; /* a server that ends hangs up on us */
}

/* ---- The subjects ---- */

static int open_and_close(void *ctx)
{
    struct house *h = ctx;
    fake_names("many", "127.0.0.1:0 127.0.0.2:0 127.0.0.1:0");
    int r = open_house(h, "many:0");
    if ((r == 0) != (h->server != NULL))
        sweep_lost("bk_server_open returns %d and %s server", r, h->server ? "a" : "no");
    return close_server(h, r);
}

static int serve_until_stopped(void *ctx)
{
    struct house *h = ctx;
    int r = bk_server_serve_forever(h->server);
    if (r == -ECANCELED && bk_server_is_serving(h->server))
        sweep_lost("serve_forever was cancelled, and the server serves");
    return close_server(h, r == -ECANCELED ? 0 : r) < 0 ? -EIO : r;
}

static int stop_it(void *ctx)
{
    struct house *h = ctx;
    int r = bk_event_wait(h->asked);
    if (r == 0)
        bk_server_stop(h->server);
    return r;
}

static int wait_for_the_last(void *ctx)
{
    struct house *h = ctx;
    int r = bk_event_wait(h->asked);
    bk_server_stop(h->server);
    bk_server_close_clients(h->server);
    if (r == 0)
        r = bk_server_wait_closed(h->server);
    if (r == 0 && bk_server_count(h->server) != 0)
        sweep_lost("closed, with %zu connections", bk_server_count(h->server));
    return r;
}

static int shut_down(void *ctx)
{
    struct house *h = ctx;
    int r = bk_event_wait(h->asked);
    int ended = bk_server_shutdown(h->server, bk_ms(5));
    if (bk_server_count(h->server) != 0)
        sweep_lost("shut down, with %zu connections", bk_server_count(h->server));
    return ended < 0 && ended != -ETIMEDOUT ? ended : r;
}

static int abort_them(void *ctx)
{
    struct house *h = ctx;
    int r = bk_event_wait(h->asked);
    bk_server_stop(h->server);
    bk_server_abort_clients(h->server);
    return r < 0 ? r : bk_server_wait_closed(h->server);
}

#define HOUSE .state_size = sizeof(struct house), .close = close_house

static const struct sweep_scenario scenarios[] = {
    {.name = "open and close", HOUSE, .subject = open_and_close},
    {.name = "serve until stopped", HOUSE, .open = open_server, .subject = serve_until_stopped,
     .helpers = {ask_on, stop_it}},
    {.name = "wait for the last client", HOUSE, .open = open_server, .subject = wait_for_the_last,
     .helpers = {ask_on}},
    {.name = "shut down", HOUSE, .open = open_server, .subject = shut_down, .helpers = {ask_on}},
    {.name = "abort clients", HOUSE, .open = open_server, .subject = abort_them,
     .helpers = {ask_on}},
};

SWEEP_MAIN(scenarios)
