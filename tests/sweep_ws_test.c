/* SPDX-License-Identifier: MIT
 * Sweeps over WebSocket connections: messages arrive whole, in order, and each that was taken
 * arrives or the connection says that it is broken. */
#include <sys/socket.h>

#include "proto/http_serve.h"
#include "tests/sweep.h"

enum { MESSAGES = 14, LONGEST = 70000 };

struct talk {
    bk_listener *listener;
    char url[64];
    bk_ws *here, *there;     /* the server's end, the subject's; the client's, the helper's */
    bk_stream *stream;       /* before it is a WebSocket */
    bk_ws_hub *hub;          /* with `here` in it */
    struct bki_intake crowd; /* others whose messages are coming in */
    int n_sent, n_tried, n_got;
    size_t n_part; /* bytes of the next message that came in parts */
    bool in_parts; /* received like that */
    int closed;    /* what the subject's close returned */
    bool dropped;
};

static size_t length_of(int number)
{
    static const size_t lengths[] = {1, 200, LONGEST, 0, 5000, 70, 12000};
    return lengths[number % 7];
}

static const char *bytes_of(int number)
{
    static char bytes[LONGEST + MESSAGES];
    if (!bytes[0])
        for (int i = 0; i < LONGEST + MESSAGES; i++)
            bytes[i] = (char)('a' + i % 23);
    return bytes + number;
}

/* ---- Both ends ---- */

static const bk_ws_opts plain = {.write_buffer = 4096, .close_timeout = {3000000000}};
static const bk_ws_opts zipped = {.write_buffer = 4096,
                                  .close_timeout = {3000000000},
                                  .deflate = {.on = true, .send_no_context = true}};
static const bk_ws_opts *ws_opts = &plain;

static int listen_somewhere(struct talk *t)
{
    int r = bk_listen(&t->listener, "127.0.0.1:0", NULL);
    if (r == 0)
        snprintf(t->url, sizeof t->url, "ws://%s/talk", bk_listener_address(t->listener));
    return r;
}

static int open_listener(void *ctx)
{
    return listen_somewhere(ctx);
}

static int connect_there(void *ctx)
{
    struct talk *t = ctx;
    return bk_ws_connect(&t->there, t->url, ws_opts);
}

static int accept_here(void *ctx)
{
    struct talk *t = ctx;
    int r = bk_accept(t->listener, &t->stream);
    if (r < 0)
        return r;
    int size = 4096;
    setsockopt(bk_stream_fd(t->stream), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    r = bk_ws_accept(&t->here, &t->stream, ws_opts);
    if ((r == 0) != (t->stream == NULL) || (r == 0) != (t->here != NULL))
        sweep_lost("bk_ws_accept returns %d, and the stream has %s owner", r,
                   t->stream && t->here   ? "two"
                   : t->stream || t->here ? "the wrong"
                                          : "no");
    bk_stream_close(&t->stream, -1);
    return r;
}

static int open_talk(void *ctx)
{
    struct talk *t = ctx;
    int r = listen_somewhere(t);
    bk_call calls[] = {{.fn = connect_there, .ctx = t}, {.fn = accept_here, .ctx = t}};
    return r < 0 ? r : bk_gather(calls, 2, NULL);
}

static int open_zipped_talk(void *ctx)
{
    ws_opts = &zipped;
    return open_talk(ctx);
}

/* Others hold all that unfinished messages may have. */
static int open_crowded_talk(void *ctx)
{
    struct talk *t = ctx;
    int r = open_talk(ctx);
    bki_loop->opts.max_intake = 4096;
    return r < 0 ? r : bki_intake_ask(&t->crowd, 1 << 20);
}

static int open_hub(void *ctx)
{
    struct talk *t = ctx;
    int r = open_talk(ctx);
    if (r == 0)
        r = bk_ws_hub_new(&t->hub, &(bk_ws_hub_opts){.slow = BK_WS_SLOW_WAIT, .backlog = 2});
    return r < 0 ? r : bk_ws_hub_add(t->hub, t->here);
}

static void close_talk(void *ctx)
{
    struct talk *t = ctx;
    bk_ws_hub_free(&t->hub);
    ws_opts = &plain;
    bki_intake_release(bki_loop, &t->crowd);
    bk_stream_close(&t->stream, -1);
    bk_ws_close(&t->here, -1);
    bk_ws_close(&t->there, -1);
    bk_listener_close(&t->listener, 0);
}

/* ---- Messages ---- */

static int send_one(struct talk *t, bk_ws *from)
{
    bk_msg *msg = NULL;
    int r = bk_msg_copy(&msg, bytes_of(t->n_sent), length_of(t->n_sent));
    if (r < 0)
        return r;
    t->n_tried = t->n_sent + 1;
    r = bk_ws_send(from, &msg);
    if (r == 0 && msg)
        sweep_lost("a message was sent and kept");
    bk_msg_free(&msg);
    t->n_sent += r == 0;
    return r;
}

static int send_all(struct talk *t, bk_ws *from)
{
    int r = 0;
    while (r == 0 && t->n_sent < MESSAGES) {
        r = send_one(t, from);
        if (r == 0)
            r = bk_yield();
    }
    return r;
}

static int receive_all(struct talk *t, bk_ws *at)
{
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_ws_recv(at, &msg)) == 1) {
        size_t len = length_of(t->n_got);
        if (bk_msg_len(msg) != len || memcmp(bk_msg_data(msg), bytes_of(t->n_got), len) != 0)
            sweep_lost("message %d is not the one that was sent", t->n_got);
        t->n_got++;
        bk_msg_free(&msg);
        if ((r = bk_yield()) < 0)
            break;
    }
    if (msg)
        sweep_lost("bk_ws_recv returns %d and a message", r);
    return r;
}

static int send_one_in_parts(struct talk *t, bk_ws *from)
{
    size_t len = length_of(t->n_sent), third = len / 3;
    t->n_tried = t->n_sent + 1;
    for (int i = 0; i < 3; i++) {
        size_t at = (size_t)i * third;
        bk_ws_part part = {bk_span_of(bytes_of(t->n_sent) + at, i == 2 ? len - at : third), BK_TEXT,
                           i == 0, i == 2};
        int r = bk_ws_send_part(from, &part);
        if (r < 0)
            return r;
    }
    t->n_sent++;
    return 0;
}

static int send_all_in_parts(struct talk *t, bk_ws *from)
{
    int r = 0;
    while (r == 0 && t->n_sent < MESSAGES) {
        r = send_one_in_parts(t, from);
        if (r == 0)
            r = bk_yield();
    }
    return r;
}

static int receive_all_in_parts(struct talk *t, bk_ws *at)
{
    bk_ws_part part;
    int r;
    while ((r = bk_ws_recv_part(at, &part)) == 1) {
        size_t len = length_of(t->n_got), n = part.data.len;
        if (n > len - t->n_part || part.first != (t->n_part == 0) ||
            (part.last && t->n_part + n < len) ||
            (n > 0 && memcmp(part.data.data, bytes_of(t->n_got) + t->n_part, n) != 0))
            sweep_lost("message %d, %zu bytes: after %zu a part of %zu%s%s that is not of it",
                       t->n_got, len, t->n_part, n, part.first ? ", the first," : "",
                       part.last ? ", the last," : "");
        t->n_part = part.last ? 0 : t->n_part + n;
        t->n_got += part.last;
        if ((r = bk_yield()) < 0)
            break;
    }
    return r;
}

static int receive_there(void *ctx)
{
    struct talk *t = ctx;
    return t->in_parts ? receive_all_in_parts(t, t->there) : receive_all(t, t->there);
}

static int send_there(void *ctx)
{
    struct talk *t = ctx;
    int r = send_all(t, t->there);
    return r < 0 ? r : bk_ws_send_close(t->there, 1000, "all said");
}

/* The others come to their end, and others come. */
static int be_a_crowd(void *ctx)
{
    struct talk *t = ctx;
    int r = 0;
    while (r == 0) {
        for (int i = 0; r == 0 && i < 20; i++)
            r = bk_yield();
        bki_intake_release(bki_loop, &t->crowd);
        if (r == 0)
            r = bki_intake_ask(&t->crowd, 1 << 20);
    }
    return r;
}

/* ---- The subjects ---- */

static int receive_here(void *ctx)
{
    struct talk *t = ctx;
    return receive_all(t, t->here);
}

static int send_here(void *ctx)
{
    struct talk *t = ctx;
    return send_all(t, t->here);
}

static int send_bytes_here(void *ctx)
{
    struct talk *t = ctx;
    int r = 0;
    while (r == 0 && t->n_sent < MESSAGES) {
        const char *bytes = bytes_of(t->n_sent);
        size_t len = length_of(t->n_sent);
        t->n_tried = t->n_sent + 1;
        r = t->n_sent % 2 ? bk_ws_send_text(t->here, bytes, len)
                          : bk_ws_send_binary(t->here, bytes, len);
        t->n_sent += r == 0;
    }
    return r < 0 ? r : bk_ws_send_close(t->here, 1000, "all said");
}

static int send_and_flush(void *ctx)
{
    struct talk *t = ctx;
    int r = 0;
    while (r == 0 && t->n_sent < MESSAGES) {
        r = send_one(t, t->here);
        if (r == 0)
            r = bk_ws_ping(t->here, "?", 1);
        if (r == 0)
            r = bk_ws_flush(t->here);
    }
    return r;
}

static int send_and_close(void *ctx)
{
    struct talk *t = ctx;
    int r = send_all(t, t->here);
    if (r == 0)
        r = bk_ws_close(&t->here, 3);
    t->dropped = !t->here && r < 0; /* and it has said so */
    return r;
}

static int receive_parts_here(void *ctx)
{
    struct talk *t = ctx;
    t->in_parts = true;
    return receive_all_in_parts(t, t->here);
}

static int send_parts_here(void *ctx)
{
    struct talk *t = ctx;
    return send_all_in_parts(t, t->here);
}

static int send_by_hub(void *ctx)
{
    struct talk *t = ctx;
    while (t->n_sent < MESSAGES) {
        bk_msg *msg = NULL;
        int r = bk_msg_copy(&msg, bytes_of(t->n_sent), length_of(t->n_sent));
        if (r < 0)
            return r;
        t->n_tried = t->n_sent + 1;
        r = bk_ws_hub_send(t->hub, &msg);
        if ((r >= 0) != (msg == NULL))
            sweep_lost("bk_ws_hub_send returns %d, and the message is %s", r,
                       msg ? "kept" : "gone");
        bk_msg_free(&msg);
        if (r <= 0)
            return r < 0 ? r : -EPIPE; /* the one connection is gone */
        t->n_sent++;
    }
    return 0;
}

/* ---- Checks ---- */

/* The client's messages: got, or still to be received. */
static void all_can_be_received(void *ctx, int result)
{
    struct talk *t = ctx;
    (void)result;
    bool broken = t->n_tried > t->n_sent; /* by the sender's end, perhaps in half a message */
    int r = bk_ws_send_close(t->there, 1000, NULL);
    if (r < 0 && r != -BK_ECLOSED) {
        if (!broken && !sweep_excused())
            sweep_lost("the sender cannot close: %d", r);
        bk_ws_close(&t->there, -1);
    }
    r = t->in_parts ? receive_all_in_parts(t, t->here) : receive_all(t, t->here);
    if (r < 0 && !broken && !sweep_excused())
        sweep_lost("what was left cannot be received: %d", r);
    if (t->n_got != t->n_sent && !(sweep_excused() && r < 0) && !(broken && t->n_got > t->n_sent))
        sweep_lost("%d messages sent, %d got", t->n_sent, t->n_got);
}

/* The server's: closes what the subject left open, while the client receives. */
static void all_has_arrived(void *ctx, int result)
{
    struct talk *t = ctx;
    bk_task *receiver = NULL;
    (void)result;
    if (bk_go(&receiver, receive_there, t, NULL) < 0)
        return; /* for want of memory */
    int closed = bk_ws_close(&t->here, 0), ended = 0;
    bk_task_wait(receiver, &ended);
    bk_task_free(&receiver);
    bool broken = closed < 0 || ended < 0 || t->dropped;
    if (broken && t->n_tried == t->n_sent && !sweep_excused())
        sweep_lost("the connection is broken: close gives %d, receive %d", closed, ended);
    if (t->n_got > t->n_tried || (t->n_got < t->n_sent && !broken))
        sweep_lost("%d messages sent, %d got", t->n_sent, t->n_got);
}

/* ---- Opening ---- */

static int connect_and_close(void *ctx)
{
    struct talk *t = ctx;
    int r = connect_there(t);
    return bk_ws_close(&t->there, r);
}

static int accept_and_receive(void *ctx)
{
    struct talk *t = ctx;
    int r = accept_here(t);
    if (r == 0)
        r = receive_all(t, t->here);
    return bk_ws_close(&t->here, r);
}

static int talk_over_http(void *ctx, bk_http_req *req)
{
    struct talk *t = ctx;
    int r = bk_ws_accept_req(&t->here, req, ws_opts);
    if ((r == 0) != (t->here != NULL))
        sweep_lost("bk_ws_accept_req returns %d and %s connection", r, t->here ? "a" : "no");
    if (r == 0)
        r = receive_all(t, t->here);
    return bk_ws_close(&t->here, r);
}

static int serve_http(void *ctx)
{
    struct talk *t = ctx;
    struct bki_http_server server;
    bki_http_server_init(&server, talk_over_http, t, NULL);
    int r = bk_accept(t->listener, &t->stream);
    if (r == 1)
        r = bki_http_serve_stream(&server, &t->stream);
    return bk_stream_close(&t->stream, r);
}

/* For the other side, which may be left in the middle. */
static int unless_left(int r)
{
    return r == -ECANCELED || sweep_excused() ? r : 0;
}

static int be_the_client(void *ctx)
{
    return unless_left(connect_and_close(ctx));
}

static int be_the_server(void *ctx)
{
    return unless_left(accept_and_receive(ctx));
}

#define TALK(function, helper)                                                                     \
    .state_size = sizeof(struct talk), .open = open_talk, .close = close_talk,                     \
    .subject = function, .helpers = {helper}
#define ZIPPED_TALK(function, helper)                                                              \
    .state_size = sizeof(struct talk), .open = open_zipped_talk, .close = close_talk,              \
    .subject = function, .helpers = {helper}
#define OPENING(function, helper)                                                                  \
    .state_size = sizeof(struct talk), .open = open_listener, .close = close_talk,                 \
    .subject = function, .helpers = {helper}, .blame_elsewhere = true

static const struct sweep_scenario scenarios[] = {
    {.name = "ws connect", OPENING(connect_and_close, be_the_server)},
    {.name = "ws accept", OPENING(accept_and_receive, be_the_client)},
    {.name = "ws accept over http", OPENING(serve_http, be_the_client)},
    {.name = "ws receive", TALK(receive_here, send_there), .check = all_can_be_received},
    {.name = "ws send", TALK(send_here, receive_there), .check = all_has_arrived},
    {.name = "ws send bytes", TALK(send_bytes_here, receive_there), .check = all_has_arrived},
    {.name = "ws ping and flush", TALK(send_and_flush, receive_there), .check = all_has_arrived},
    {.name = "ws receive in parts",
     TALK(receive_parts_here, send_there),
     .check = all_can_be_received},
    {.name = "ws send in parts", TALK(send_parts_here, receive_there), .check = all_has_arrived},
    {.name = "ws receive compressed",
     ZIPPED_TALK(receive_here, send_there),
     .check = all_can_be_received},
    {.name = "ws receive in a crowd",
     .state_size = sizeof(struct talk),
     .open = open_crowded_talk,
     .close = close_talk,
     .subject = receive_here,
     .helpers = {send_there, be_a_crowd},
     .check = all_can_be_received},
    {.name = "ws send compressed", ZIPPED_TALK(send_here, receive_there), .check = all_has_arrived},
    {.name = "ws receive compressed in parts",
     ZIPPED_TALK(receive_parts_here, send_there),
     .check = all_can_be_received},
    {.name = "ws send compressed in parts",
     ZIPPED_TALK(send_parts_here, receive_there),
     .check = all_has_arrived},
    {.name = "ws send by hub",
     .state_size = sizeof(struct talk),
     .open = open_hub,
     .close = close_talk,
     .subject = send_by_hub,
     .helpers = {receive_there},
     .blame_elsewhere = true,
     .check = all_has_arrived},
    {.name = "ws close", TALK(send_and_close, receive_there), .check = all_has_arrived, .want = 3},
};

SWEEP_MAIN(scenarios)
