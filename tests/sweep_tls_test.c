/* SPDX-License-Identifier: MIT
 * Sweeps over TLS: whatever strikes in a handshake, a read, a write or a goodbye, no byte is lost
 * or changed, and nothing is left. */
#include "net/tls_fixture.h"
#include "tests/sweep.h"

enum { TOTAL = 20000 };

struct talk {
    struct pair p;
    bk_listener *listener;
    bk_task *other;
    char name[64];
    size_t n_got, n_written, n_tried;
    bool ended; /* the end was read */
};

static const char *all_bytes(void)
{
    static char bytes[TOTAL];
    if (!bytes[0])
        for (unsigned i = 0, x = 1; i < TOTAL; i++, x = x * 1103515245 + 12345)
            bytes[i] = (char)(1 + (x >> 16) % 255);
    return bytes;
}

static int open_plain(void *ctx)
{
    struct talk *t = ctx;
    return open_pair(&t->p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                     &(bk_tls_opts){.cert_file = tls_file("server")});
}

static int open_protected(void *ctx)
{
    struct talk *t = ctx;
    int r = open_plain(t);
    return r < 0 ? r : shake(&t->p);
}

/* Writers have to wait again and again. */
static int open_narrow(void *ctx)
{
    struct talk *t = ctx;
    int r = open_pair_with(&t->p, &(bk_tls_opts){.ca_file = tls_file("ca")},
                           &(bk_tls_opts){.cert_file = tls_file("server")}, 0,
                           &(bk_stream_opts){.write_buffer = 4096});
    if (r == 0)
        set_buffer(bk_stream_fd(t->p.client), SO_SNDBUF, 4096);
    return r < 0 ? r : shake(&t->p);
}

static void close_talk(void *ctx)
{
    struct talk *t = ctx;
    close_pair(&t->p);
    bk_listener_close(&t->listener, 0);
}

/* ---- Reading and writing ---- */

static int got(struct talk *t, const char *data, size_t n)
{
    if (t->n_got + n > TOTAL || memcmp(data, all_bytes() + t->n_got, n) != 0) {
        sweep_lost("bytes from %zu on are not those that were written", t->n_got);
        return -EIO;
    }
    t->n_got += n;
    return 0;
}

static int read_to_the_end(struct talk *t, bk_stream *s)
{
    char buf[3000];
    ssize_t n;
    while ((n = bk_stream_read(s, buf, sizeof buf)) > 0) {
        int r = got(t, buf, (size_t)n);
        if (r == 0)
            r = bk_yield();
        if (r < 0)
            return r;
    }
    t->ended = n == 0;
    return (int)n;
}

static int write_all(struct talk *t, bk_stream *s)
{
    int r = 0;
    while (r == 0 && t->n_written < TOTAL) {
        size_t n = TOTAL - t->n_written < 9000 ? TOTAL - t->n_written : 9000;
        t->n_tried = t->n_written + n;
        const bk_span pieces[] = {bk_span_of(all_bytes() + t->n_written, 10),
                                  bk_span_of(all_bytes() + t->n_written + 10, n - 10)};
        r = bk_stream_writev(s, pieces, 2);
        if (r == 0)
            t->n_written += n;
    }
    return r < 0 ? r : bk_stream_write_eof(s);
}

/* ---- Handshakes ---- */

static int client_asks(void *ctx)
{
    struct talk *t = ctx;
    char answer[4];
    shake_client(&t->p);
    int r = t->p.client_result;
    if (r == 0)
        r = bk_stream_write(t->p.client, "ask\n", 4);
    return r < 0 ? r : bk_stream_read_exactly(t->p.client, answer, 4);
}

static int server_answers(void *ctx)
{
    struct talk *t = ctx;
    bk_span line;
    shake_server(&t->p);
    int r = t->p.server_result;
    if (r == 0)
        r = bk_stream_read_line(t->p.server, &line);
    return r == 1 ? bk_stream_write(t->p.server, "said", 4) : r < 0 ? r : -EIO;
}

/* A helper's troubles are those of the subject. */
static int client_asks_along(void *ctx)
{
    int r = client_asks(ctx);
    return r == -ENOMEM || r == -ECANCELED ? r : 0;
}

static int server_answers_along(void *ctx)
{
    int r = server_answers(ctx);
    return r == -ENOMEM || r == -ECANCELED ? r : 0;
}

/* A cancelled handshake can go on, with the next read or write. */
static void it_can_go_on(void *ctx, int result)
{
    struct talk *t = ctx;
    if (result != -ECANCELED || t->p.client_result != -ECANCELED || t->p.server_result != 0 ||
        sweep_excused())
        return;
    char byte;
    int r = bk_stream_handshake(t->p.client);
    if (r == 0 && bk_stream_write(t->p.client, "x", 1) == 0)
        r = (int)bk_stream_read(t->p.server, &byte, 1);
    if (r < 0 && r != -BK_EINCOMPLETE)
        sweep_lost("the handshake cannot go on: %d %s", r, bk_errmsg());
}

/* ---- Reads ---- */

static int client_reads(void *ctx)
{
    struct talk *t = ctx;
    return read_to_the_end(t, t->p.client);
}

static int server_writes_along(void *ctx)
{
    struct talk *t = ctx;
    int r = write_all(t, t->p.server);
    return r == -ENOMEM || r == -ECANCELED ? r : 0;
}

static int client_reads_on(void *ctx)
{
    struct talk *t = ctx;
    int r = read_to_the_end(t, t->p.client);
    return bk_stream_close(&t->p.client, r);
}

/* What is left is read while the writer, who may have been stopped in the middle, closes. */
static void check_rest(struct talk *t, bk_fn *read_on, bk_stream **writer)
{
    bk_task *reader = NULL;
    if (sweep_excused() || t->ended || bk_go(&reader, read_on, t, NULL) < 0)
        return;
    int closed = bk_stream_close(writer, 0);
    bk_task_wait(reader, NULL);
    bk_task_free(&reader);
    if (closed < 0 && closed != -EPIPE && !(closed == -ENOMEM && sweep_excused()))
        sweep_lost("close gives %d", closed);
    if (t->n_got > t->n_tried || (closed == 0 && t->n_got < t->n_written))
        sweep_lost("%zu bytes written, %zu tried, %zu got; close gives %d", t->n_written,
                   t->n_tried, t->n_got, closed);
}

static void all_is_read(void *ctx, int result)
{
    struct talk *t = ctx;
    check_rest(t, client_reads_on, &t->p.server);
    if (result == 0 && t->n_got != TOTAL && !sweep_excused())
        sweep_lost("%zu of %d bytes got", t->n_got, TOTAL);
}

/* ---- Writes ---- */

static int client_writes(void *ctx)
{
    struct talk *t = ctx;
    return write_all(t, t->p.client);
}

static int server_reads_along(void *ctx)
{
    struct talk *t = ctx;
    int r = read_to_the_end(t, t->p.server);
    return r == -ENOMEM || r == -ECANCELED ? r : 0;
}

static int server_reads_on(void *ctx)
{
    struct talk *t = ctx;
    int r = read_to_the_end(t, t->p.server);
    return bk_stream_close(&t->p.server, r);
}

static void what_was_written_arrives(void *ctx, int result)
{
    struct talk *t = ctx;
    (void)result;
    check_rest(t, server_reads_on, &t->p.client);
}

/* ---- Goodbyes ---- */

static int client_writes_and_closes(void *ctx)
{
    struct talk *t = ctx;
    int r = bk_stream_write(t->p.client, all_bytes(), 5000);
    return bk_stream_close(&t->p.client, r);
}

static int server_reads_and_closes(void *ctx)
{
    struct talk *t = ctx;
    int r = read_to_the_end(t, t->p.server);
    r = bk_stream_close(&t->p.server, r);
    return r == -ENOMEM || r == -ECANCELED ? r : 0;
}

/* ---- From the start ---- */

static int open_port(void *ctx)
{
    struct talk *t = ctx;
    int r = bk_tls_server_new(&t->p.server_tls, &(bk_tls_opts){.cert_file = tls_file("server")});
    if (r == 0)
        r = bk_tls_client_new(&t->p.client_tls, &(bk_tls_opts){.ca_file = tls_file("ca")});
    if (r == 0)
        r = bk_listen(&t->listener, "127.0.0.1:0", &(bk_listen_opts){.tls = t->p.server_tls});
    if (r == 0)
        snprintf(t->name, sizeof t->name, "localhost%s",
                 strrchr(bk_listener_address(t->listener), ':'));
    return r;
}

static int greet(void *ctx, bk_stream **stream)
{
    (void)ctx;
    return bk_stream_write(*stream, "hello\n", 6);
}

static void nobody_cares(void *ctx, bk_stream *stream, int result)
{
    (void)ctx;
    (void)stream;
    (void)result;
}

static int serve(void *ctx)
{
    struct talk *t = ctx;
    return bk_serve(t->listener, greet, t, &(bk_serve_opts){.on_error = nobody_cares});
}

static int connect_once(struct talk *t)
{
    bk_stream *s = NULL;
    bk_span line;
    int r = bk_connect(&s, bk_listener_address(t->listener),
                       &(bk_connect_opts){.tls = t->p.client_tls});
    if ((r == 0) != (s != NULL))
        sweep_lost("bk_connect returns %d and %s stream", r, s ? "a" : "no");
    if (r == 0)
        r = bk_stream_read_line(s, &line);
    return bk_stream_close(&s, r == 1 ? 0 : r == 0 ? -EIO : r);
}

static int connect_twice(void *ctx)
{
    int r = connect_once(ctx);
    return r < 0 ? r : connect_once(ctx);
}

static int accept_and_shake(void *ctx)
{
    struct talk *t = ctx;
    bk_stream *s = NULL;
    int r = bk_accept(t->listener, &s);
    if (r == 1)
        r = bk_stream_handshake(s);
    if (r == 0)
        r = bk_stream_write(s, "hello\n", 6);
    return bk_stream_close(&s, r);
}

static int connect_along(void *ctx)
{
    int r = connect_once(ctx);
    return r == -ENOMEM || r == -ECANCELED || sweep_excused() ? r : 0;
}

#define TALK(how) .state_size = sizeof(struct talk), .open = open_##how, .close = close_talk

static const struct sweep_scenario scenarios[] = {
    {.name = "handshake of a client",
     TALK(plain),
     .subject = client_asks,
     .helpers = {server_answers_along},
     .check = it_can_go_on,
     .blame_elsewhere = true},
    {.name = "handshake of a server",
     TALK(plain),
     .subject = server_answers,
     .helpers = {client_asks_along},
     .blame_elsewhere = true},
    {.name = "read",
     TALK(protected),
     .subject = client_reads,
     .helpers = {server_writes_along},
     .check = all_is_read,
     .blame_elsewhere = true},
    {.name = "write",
     TALK(narrow),
     .subject = client_writes,
     .helpers = {server_reads_along},
     .check = what_was_written_arrives,
     .blame_elsewhere = true},
    {.name = "goodbye",
     TALK(protected),
     .subject = client_writes_and_closes,
     .helpers = {server_reads_and_closes},
     .blame_elsewhere = true},
    {.name = "handshake of an accepted one",
     TALK(port),
     .subject = accept_and_shake,
     .helpers = {connect_along},
     .blame_elsewhere = true},
    {.name = "connect",
     TALK(port),
     .subject = connect_twice,
     .helpers = {serve},
     .blame_elsewhere = true},
};

SWEEP_MAIN(scenarios)
