/* SPDX-License-Identifier: MIT
 * Sweeps over connections: listen, connect, accept, serve.  Whoever has connected is accepted, and
 * no descriptor stays behind. */
#include "net/resolver_fixture.h"
#include "tests/sweep.h"

enum { CLIENTS = 3 };

struct port {
    bk_listener *listener;
    bk_event *done;
    const char *address; /* of the listener */
    bk_datagram *datagram;
    bk_stream *clients[CLIENTS], *taken[CLIENTS + 2];
    int n_connected, n_taken;
    bool seen[CLIENTS]; /* whose greeting has arrived */
    int n_begun, n_ended;
    int other[4];          /* sockets of an address that does not answer */
    int n_asked, n_served; /* clients that have come to an end, and to a good one */
};

static int open_at(struct port *p, const char *address, int backlog)
{
    int r = bk_listen(&p->listener, address, &(bk_listen_opts){.backlog = backlog});
    if (r < 0)
        return r;
    p->address = bk_listener_address(p->listener);
    return bk_event_new(&p->done, "done");
}

static int open_tcp(void *ctx)
{
    return open_at(ctx, "127.0.0.1:0", 0);
}

static int open_named(void *ctx)
{
    struct port *p = ctx;
    int r = open_tcp(p);
    if (r == 0)
        fake_names("name", p->address);
    return r;
}

static int open_unix_at(struct port *p, int backlog)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@beck-sweep-%d", (int)getpid());
    return open_at(p, address, backlog);
}

static int open_unix(void *ctx)
{
    return open_unix_at(ctx, 0);
}

/* Nobody else gets into this backlog before somebody accepts. */
static int open_full_unix(void *ctx)
{
    struct port *p = ctx;
    int r = open_unix_at(p, 1);
    for (int i = 0; r == 0 && i < 2; i++)
        r = bk_connect(&p->clients[i], p->address, NULL);
    return r;
}

/* "many" has an address before the listener's: one that refuses, or one whose queue is full. */
static int open_many(struct port *p, int backlog)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct bki_address other = {.len = sizeof other.in6};
    char names[200], text[BKI_ADDRESS_TEXT];
    for (int i = 0; i < 4; i++)
        p->other[i] = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->other[3] < 0 || bind(p->other[0], (struct sockaddr *)&at, sizeof at) < 0 ||
        getsockname(p->other[0], &other.any, &other.len) < 0)
        return -errno;
    if (backlog >= 0)
        listen(p->other[0], backlog);
    for (int i = 1; i < 4; i++)
        (void)!connect(p->other[i], &other.any, other.len);
    int r = open_tcp(p);
    if (r == 0) {
        snprintf(names, sizeof names, "%s %s", bki_address_format(&other, text), p->address);
        fake_names("many", names);
    }
    return r;
}

static int open_refusing(void *ctx)
{
    return open_many(ctx, -1);
}

static int open_silent(void *ctx)
{
    return open_many(ctx, 0);
}

static void close_port(void *ctx)
{
    struct port *p = ctx;
    for (int i = 0; i < 4; i++)
        if (p->other[i] > 0)
            close(p->other[i]);
    for (int i = 0; i < CLIENTS; i++)
        bk_stream_close(&p->clients[i], -1);
    for (int i = 0; i < p->n_taken; i++)
        bk_stream_close(&p->taken[i], -1);
    bk_listener_close(&p->listener, 0);
    bk_datagram_close(&p->datagram, 0);
    bk_event_free(&p->done);
}

/* ---- Accept ---- */

static int connect_all(void *ctx)
{
    struct port *p = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < CLIENTS; i++) {
        char greeting[2] = {(char)('0' + i), '\n'};
        r = bk_connect(&p->clients[i], p->address, NULL);
        if (r == 0)
            r = bk_stream_write(p->clients[i], greeting, 2);
        if (r == 0) {
            p->n_connected++;
            r = bk_yield();
        }
    }
    return r;
}

static int take_one(struct port *p)
{
    int r = bk_accept(p->listener, &p->taken[p->n_taken]);
    if ((r == 1) != (p->taken[p->n_taken] != NULL))
        sweep_lost("bk_accept returns %d and %s stream", r, r == 1 ? "no" : "a");
    p->n_taken += r == 1;
    return r;
}

static int accept_all(void *ctx)
{
    struct port *p = ctx;
    int r = 1;
    while (r == 1 && p->n_taken < CLIENTS)
        r = take_one(p);
    return r < 0 ? r : 0;
}

/* Every client that connected and said something is in one of the streams, or can be accepted. */
static void all_are_accepted(void *ctx, int result)
{
    struct port *p = ctx;
    int n_seen = 0;
    (void)result;
    for (int i = 0; n_seen < p->n_connected; i++) {
        bk_span line;
        if (i == p->n_taken && (i == CLIENTS + 2 || take_one(p) != 1))
            break;
        int r = bk_stream_read_line(p->taken[i], &line);
        if (r == -ENOMEM)
            r = bk_stream_read_line(p->taken[i], &line);
        n_seen += r < 0 && sweep_faulted; /* what it said is lost */
        if (r != 1 || line.len != 1)
            continue; /* a client that was cancelled while it connected */
        int client = line.data[0] - '0';
        if (client < 0 || client >= CLIENTS || p->seen[client])
            sweep_lost("client %d twice", client);
        else
            p->seen[client] = true;
        n_seen++;
    }
    if (n_seen != p->n_connected && !sweep_excused())
        sweep_lost("%d clients connected, %d accepted", p->n_connected, n_seen);
}

/* ---- Connect ---- */

static int greet_all(void *ctx)
{
    struct port *p = ctx;
    for (;;) {
        bk_stream *s = NULL;
        int r = bk_accept(p->listener, &s);
        if (r < 0)
            return r;
        r = bk_stream_write(s, "hi\n", 3);
        r = bk_stream_close(&s, r < 0 ? r : 0);
        if (r < 0 && r != -EPIPE && r != -ECONNRESET)
            return r;
    }
}

static int greet_all_later(void *ctx)
{
    int r = bk_sleep(bk_ms(15));
    return r < 0 ? r : greet_all(ctx);
}

static int connect_to(const char *address)
{
    bk_stream *s = NULL;
    bk_span line;
    int r = bk_connect(&s, address, NULL);
    if ((r == 0) != (s != NULL))
        sweep_lost("bk_connect returns %d and %s stream", r, s ? "a" : "no");
    if (r == 0)
        r = bk_stream_read_line(s, &line);
    if (r == 1 && (line.len != 2 || memcmp(line.data, "hi", 2) != 0))
        sweep_lost("the greeting is wrong");
    return bk_stream_close(&s, r == 1 ? 0 : r == 0 ? -EIO : r);
}

static int connect_twice(void *ctx)
{
    struct port *p = ctx;
    int r = connect_to(p->address);
    return r < 0 ? r : connect_to(p->address);
}

static int connect_by_name(void *ctx)
{
    (void)ctx;
    return connect_to("name:80");
}

static int connect_to_many(void *ctx)
{
    (void)ctx;
    return connect_to("many:80");
}

/* ---- Names ---- */

static int open_names(void *ctx)
{
    (void)ctx;
    fake_names("many", "10.0.0.1:80 [fd00::1]:80");
    fake.name = "host.example";
    return 0;
}

static int resolve(void *ctx)
{
    (void)ctx;
    bk_addresses *list = NULL;
    char name[BK_HOST_MAX];
    int n = bk_resolve(&list, "many:80", NULL);
    if ((n == 2) != (list != NULL))
        sweep_lost("bk_resolve returns %d and %s list", n, list ? "a" : "no");
    bk_addresses_free(&list);
    return n < 0 ? n : bk_resolve_name("10.0.0.1:0", name, sizeof name);
}

/* ---- Listen ---- */

static int open_own_name(void *ctx)
{
    (void)ctx;
    fake_names("name", "127.0.0.1:0");
    return 0;
}

static int listen_by_name(void *ctx)
{
    struct port *p = ctx;
    int r = bk_listen(&p->listener, "name:0", NULL);
    return bk_listener_close(&p->listener, r);
}

/* A datagram socket at a name, which sends to itself. */
static int talk_to_itself(void *ctx)
{
    struct port *p = ctx;
    bk_address here, from;
    bk_msg *msg = NULL;
    int r = bk_datagram_open(&p->datagram, &(bk_datagram_opts){.local = "name:0"});
    if (r == 0)
        r = bk_address_parse(&here, bk_datagram_local(p->datagram));
    if (r == 0)
        r = bk_datagram_send_to(p->datagram, &here, "me", 2);
    if (r == 0)
        r = bk_datagram_recv(p->datagram, &msg, &from);
    if (r == 1 && (bk_msg_len(msg) != 2 || !bk_address_equal(&from, &here)))
        sweep_lost("a datagram of %zu bytes from elsewhere", bk_msg_len(msg));
    bk_msg_free(&msg);
    return r < 0 ? r : bk_yield();
}

/* ---- Serve ---- */

static void both_are_served(void *ctx, int result)
{
    struct port *p = ctx;
    if (result == 0 && p->n_served != 2 && !sweep_excused())
        sweep_lost("%d of 2 clients served", p->n_served);
}

static int answer(void *ctx, bk_stream **stream)
{
    struct port *p = ctx;
    bk_span line;
    int r;
    p->n_begun++;
    while ((r = bk_stream_read_line(*stream, &line)) == 1) {
        const bk_span parts[] = {line, bk_span_str("!\n")};
        r = bk_stream_writev(*stream, parts, 2);
        if (r < 0)
            break;
    }
    p->n_ended++;
    return r;
}

static int ask(struct port *p, int client)
{
    bk_stream **s = &p->clients[client];
    bk_span line;
    int r = bk_connect(s, p->address, NULL);
    if (r == 0)
        r = bk_stream_write(*s, "one\ntwo\n", 8);
    for (int i = 0; r >= 0 && i < 2; i++) {
        r = bk_stream_read_line(*s, &line);
        if (r == 1 && (line.len != 4 || memcmp(line.data, i ? "two!" : "one!", 4) != 0))
            sweep_lost("a wrong answer: '%.*s'", (int)line.len, line.data);
    }
    p->n_served += r == 1;
    if (++p->n_asked == 2)
        bk_event_set(p->done);
    bk_stream_close(s, r == 1 ? 0 : -1);
    return r == -ECANCELED || r == -ENOMEM ? r : 0; /* a server that is stopped hangs up on us */
}

static int ask_first(void *ctx)
{
    return ask(ctx, 0);
}

static int ask_second(void *ctx)
{
    return ask(ctx, 1);
}

static int serve_many(void *ctx)
{
    struct port *p = ctx;
    return bk_serve(p->listener, answer, p, NULL);
}

static int serve_one_at_a_time(void *ctx)
{
    struct port *p = ctx;
    return bk_serve(p->listener, answer, p, &(bk_serve_opts){.limit = 1});
}

static int serve_until_done(struct port *p, bk_fn *serve)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    if (r < 0)
        return r;
    r = bk_group_go(group, serve, p, NULL);
    if (r == 0)
        r = bk_event_wait(p->done);
    bk_group_cancel(group);
    r = bk_group_close(&group, r);
    if (p->n_begun != p->n_ended)
        sweep_lost("the server has ended: %d handlers begun, %d ended", p->n_begun, p->n_ended);
    return r;
}

static int serve_until_both_are_done(void *ctx)
{
    return serve_until_done(ctx, serve_many);
}

static int serve_one_until_both_are_done(void *ctx)
{
    return serve_until_done(ctx, serve_one_at_a_time);
}

#define PORT(kind) .state_size = sizeof(struct port), .open = open_##kind, .close = close_port

static const struct sweep_scenario scenarios[] = {
    {.name = "accept", PORT(tcp), .subject = accept_all, .helpers = {connect_all},
     .check = all_are_accepted},
    {.name = "accept, unix", PORT(unix), .subject = accept_all, .helpers = {connect_all},
     .check = all_are_accepted},
    {.name = "connect", PORT(tcp), .subject = connect_twice, .helpers = {greet_all}},
    {.name = "connect by name", PORT(named), .subject = connect_by_name, .helpers = {greet_all}},
    {.name = "connect, unix", PORT(unix), .subject = connect_twice, .helpers = {greet_all}},
    {.name = "connect, unix, full backlog", PORT(full_unix), .subject = connect_twice,
     .helpers = {greet_all_later}},
    {.name = "connect, the first of two refuses", PORT(refusing), .subject = connect_to_many,
     .helpers = {greet_all}},
    {.name = "connect, the first of two is silent", PORT(silent), .subject = connect_to_many,
     .helpers = {greet_all}},
    {.name = "resolve", .open = open_names, .subject = resolve},
    {.name = "listen by name", .state_size = sizeof(struct port), .open = open_own_name,
     .subject = listen_by_name},
    {.name = "datagram by name", PORT(own_name), .subject = talk_to_itself,
     .blame_elsewhere = true},
    {.name = "serve", PORT(tcp), .subject = serve_until_both_are_done,
     .helpers = {ask_first, ask_second}, .check = both_are_served},
    {.name = "serve one at a time", PORT(unix), .subject = serve_one_until_both_are_done,
     .helpers = {ask_first, ask_second}, .check = both_are_served},
};

SWEEP_MAIN(scenarios)
