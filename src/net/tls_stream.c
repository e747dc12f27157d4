/* SPDX-License-Identifier: MIT
 * TLS as a stream's filter: what waits, and the public calls on streams. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/alloc.h"

#define MIN_RECORD ((size_t)1024)       /* even for a smaller write_buffer */
#define MAX_ANSWERS ((size_t)64 * 1024) /* unsent bytes over write_buffer that reading may make */
#define SCRAP 2048

static void describe_handshake(const void *object, char *buf, size_t size)
{
    const struct bki_tls_conn *c = object;
    const char *who = c->name ? c->name : bk_stream_peer(c->stream);
    size_t len = strnlen(who, size - 1);
    memcpy(buf, who, len);
    buf[len] = '\0';
}

static const struct bki_wait_kind wait_handshake = {.what = "TLS", .describe = describe_handshake};

/* ---- The raw side ---- */

ssize_t bki_tls_raw_recv(struct bki_tls_conn *c, void *buf, size_t len)
{
    size_t early = bki_buf_len(&c->early);
    if (early > 0) {
        size_t n = early < len ? early : len;
        memcpy(buf, bki_buf_start(&c->early), n);
        bki_buf_consume(&c->early, n);
        if (n == early)
            bki_buf_free(&c->early);
        return (ssize_t)n;
    }
    return c->below ? bki_tls_read(c->below, buf, len) : bki_stream_recv_now(c->stream, buf, len);
}

static int send_below(struct bki_tls_conn *below, const char *data, size_t len)
{
    int r = 0;
    while (r == 0 && len > 0) {
        size_t n = len < BKI_TLS_RECORD ? len : BKI_TLS_RECORD;
        r = bki_tls_write(below, data, n);
        data += n;
        len -= n;
    }
    return r;
}

int bki_tls_raw_send(struct bki_tls_conn *c, const void *data, size_t len)
{
    struct bk_stream *s = c->stream;
    if (c->reading && bki_stream_unsent(s) > s->write_buffer + MAX_ANSWERS)
        return bk_fail(-BK_EPROTO, "TLS with %s: the peer asks and does not take the answers",
                       bk_stream_peer(s));
    int r = c->below ? send_below(c->below, data, len) : bki_stream_send_now(s, data, len);
    /* A connection that takes nothing more may still have something to read, such as why. */
    return s->write_error ? 0 : r;
}

/* Waits until the connection may have something: one task does, and wakes the others. */
static int wait_raw(struct bk_stream *s)
{
    struct bki_tls_conn *c = s->filter_state; /* of all layers the uppermost */
    struct bki_waiter w = {0};
    if (c->polling)
        return bki_wait(&c->waiters, &w, c->done ? &bki_wait_read : &wait_handshake,
                        c->done ? (const void *)c->stream : c);
    c->polling = true;
    int r = bki_stream_wait_readable(s);
    c->polling = false;
    bki_grant_all(&c->waiters, 0);
    return r;
}

/* ---- The handshake ---- */

static int shake_hands(struct bki_tls_conn *c)
{
    int r = c->below && !c->below->done ? shake_hands(c->below) : 0;
    while (r == 0 && (r = bki_tls_handshake(c)) == -EAGAIN)
        r = wait_raw(c->stream);
    return r;
}

/* Nothing more will come or go, unless error is only this call's. */
static void fail_stream(struct bk_stream *s, int error)
{
    if (error == -ECANCELED || error == -ESHUTDOWN)
        return;
    if (!s->read_error)
        s->read_error = error;
    bki_stream_fail_write(s, error);
}

static int handshake(struct bki_tls_conn *c)
{
    struct bk_stream *s = c->stream;
    bk_timeout *limit = NULL;
    if (c->done)
        return 0;
    if (s->read_error && !c->failure)
        return bk_fail(s->read_error, "TLS with %s: the handshake has failed", bk_stream_peer(s));
    int r = bk_timeout_open_at(&limit, c->deadline);
    if (r < 0)
        return r;
    r = bk_timeout_close(&limit, shake_hands(c));
    if (r == -ETIMEDOUT && !c->failure)
        bk_fail(r, "TLS with %s: no handshake within %lld ms",
                c->name ? c->name : bk_stream_peer(s),
                (long long)(c->tls->config.handshake_timeout.ns / 1000000));
    if (r < 0)
        fail_stream(s, r);
    return r;
}

/* ---- The filter ---- */

static ssize_t tls_recv(struct bk_stream *s, void *buf, size_t len, bool nowait)
{
    struct bki_tls_conn *c = s->filter_state;
    ssize_t r = handshake(c);
    while (r >= 0) {
        r = bki_tls_read(c, buf, len);
        if (r >= 0)
            break;
        if (r != -EAGAIN)
            fail_stream(s, (int)r);
        else if (nowait)
            break;
        else
            r = wait_raw(s);
    }
    if (r > 0)
        bki_stream_breathe(s);
    return r;
}

/* What is left of a write. */
struct rest {
    const bk_span *pieces;
    size_t n, at; /* at: in the first piece */
    size_t left;
    char *joined; /* small pieces make one record */
};

/* The next `max` bytes at most, in one place; they stay in the rest. */
static bk_span next_record(struct rest *rest, size_t max)
{
    while (rest->at == rest->pieces->len) {
        rest->pieces++;
        rest->at = 0;
    }
    bk_span first = bk_span_of(rest->pieces->data + rest->at, rest->pieces->len - rest->at);
    if (first.len > max)
        first.len = max;
    if (first.len == max || first.len == rest->left)
        return first;
    if (!rest->joined)
        rest->joined = bki_alloc(rest->left < max ? rest->left : max);
    if (!rest->joined)
        return (bk_span){0};
    size_t len = 0, at = rest->at;
    for (const bk_span *p = rest->pieces; len < max && len < rest->left; p++, at = 0) {
        size_t n = p->len - at < max - len ? p->len - at : max - len;
        if (n > 0)
            memcpy(rest->joined + len, p->data + at, n);
        len += n;
    }
    return bk_span_of(rest->joined, len);
}

static void advance(struct rest *rest, size_t n)
{
    rest->left -= n;
    while (n > 0) {
        size_t have = rest->pieces->len - rest->at, take = have < n ? have : n;
        rest->at += take;
        n -= take;
        if (n > 0) {
            rest->pieces++;
            rest->at = 0;
        }
    }
}

static int wait_for_room(struct bk_stream *s, size_t len)
{
    size_t need = len + BKI_TLS_OVERHEAD;
    if (s->pushing || bki_stream_unsent(s) == 0 || bki_stream_unsent(s) + need <= s->write_buffer)
        return 0;
    return bki_stream_wait_unsent(s, need < s->write_buffer ? s->write_buffer - need : 0);
}

static int send_rest(struct bki_tls_conn *c, struct rest *rest)
{
    struct bk_stream *s = c->stream;
    size_t max = s->write_buffer < MIN_RECORD ? MIN_RECORD : s->write_buffer;
    if (max > BKI_TLS_RECORD)
        max = BKI_TLS_RECORD;
    while (rest->left > 0) {
        bk_span record = next_record(rest, max);
        if (record.len == 0)
            return bk_fail(-ENOMEM, "no memory for a record of TLS");
        int r = wait_for_room(s, record.len);
        if (r < 0)
            return r;
        /* -EAGAIN: half of a message of TLS itself has come, and the other half goes first. */
        while ((r = bki_tls_write(c, record.data, record.len)) == -EAGAIN) {
            r = s->pushing ? -EAGAIN : wait_raw(s);
            if (r < 0)
                return r;
        }
        if (r < 0)
            fail_stream(s, r);
        else if (s->write_error)
            r = bki_stream_write_failed(s);
        if (r < 0)
            return r;
        advance(rest, record.len);
        bki_stream_breathe(s);
    }
    return 0;
}

static int tls_send(struct bk_stream *s, const bk_span *pieces, size_t n, size_t *taken)
{
    struct bki_tls_conn *c = s->filter_state;
    struct rest rest = {.pieces = pieces, .n = n};
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += pieces[i].len;
    rest.left = total;
    int r = c->done || !s->pushing ? handshake(c) : -EAGAIN;
    if (r == 0)
        r = send_rest(c, &rest);
    if (r == -ESHUTDOWN)
        r = bk_fail(-EPIPE, "TLS with %s: it was hung up", bk_stream_peer(s));
    bki_free(rest.joined);
    if (taken)
        *taken = total - rest.left;
    /* As in bki_stream_send: whatever followed would be read as the other half. */
    if (r < 0 && rest.left < total && !s->write_error)
        s->write_error = -EPIPE;
    return r;
}

static int tls_eof(struct bk_stream *s)
{
    struct bki_tls_conn *c = s->filter_state;
    int r = 0;
    for (; c && r == 0; c = c->below)
        r = bki_tls_goodbye(c);
    return r;
}

/* Drops what still comes, until the peer's goodbye.  Closing with bytes unread would reset the
 * connection, and take from the peer what it has not read either. */
static int wait_for_goodbye(void *ctx)
{
    struct bk_stream *s = ctx;
    struct bki_tls_conn *c = s->filter_state;
    char scrap[SCRAP];
    bk_timeout *limit = NULL;
    ssize_t n = bk_timeout_open(&limit, c->tls->config.shutdown_timeout);
    if (n < 0)
        return (int)n;
    do {
        n = tls_recv(s, scrap, sizeof scrap, false);
    } while (n > 0);
    return bk_timeout_close(&limit, (int)n);
}

static void tls_linger(struct bk_stream *s)
{
    const struct bki_tls_conn *c = s->filter_state;
    if (!c->done || c->got_bye || s->read_error || s->at_eof)
        return;
    s->hung_up = false; /* by others, who are gone */
    shutdown(s->fd.fd, SHUT_WR);
    (void)bk_shield(wait_for_goodbye, s);
}

static void conn_free(struct bki_tls_conn *c)
{
    bki_tls_stop(c);
    bki_tls_engine_free(c->engine);
    bk_tls_free(&c->tls);
    bki_buf_free(&c->early);
    bki_free(c->alpn.data);
    bki_free(c->name);
    bki_free(c->failure_text);
    bki_free(c->cert_fault);
    bki_free(c->info_texts);
    bki_free(c);
}

static void tls_free(struct bk_stream *s)
{
    struct bki_tls_conn *next;
    for (struct bki_tls_conn *c = s->filter_state; c; c = next) {
        next = c->below;
        conn_free(c);
    }
}

static const struct bki_filter tls_filter = {
    .recv = tls_recv,
    .wait = wait_raw,
    .send = tls_send,
    .eof = tls_eof,
    .linger = tls_linger,
    .free = tls_free,
};

/* ---- Starting ---- */

/* A host name as it stands in a certificate (RFC 9525 6.3): ASCII labels, none of them empty. */
static bool is_host_name(const char *name, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)name[i];
        if (ch == '.' ? i == 0 || name[i - 1] == '.'
                      : ch >= 0x80 || (!isalnum(ch) && ch != '-' && ch != '_'))
            return false;
    }
    return true;
}

static int set_name(struct bki_tls_conn *c, const char *name)
{
    const struct bki_tls_config *config = &c->tls->config;
    if (config->server)
        return 0;
    if (!name)
        return config->check_peer
                   ? bk_fail(-EINVAL, "TLS: no server_name to check the certificate against")
                   : 0;
    char ip[INET6_ADDRSTRLEN];
    size_t len = strlen(name), zone = strcspn(name, "%"); /* that is not in certificates */
    snprintf(ip, sizeof ip, "%.*s", (int)(zone < sizeof ip ? zone : 0), name);
    if (inet_pton(AF_INET, name, c->ip) == 1)
        c->ip_len = 4;
    else if (inet_pton(AF_INET6, ip, c->ip) == 1)
        c->ip_len = 16;
    else if (len > 1 && name[len - 1] == '.')
        len--; /* the root's dot is not in certificates */
    if (c->ip_len == 0 && !is_host_name(name, len))
        return bk_fail(-EINVAL, "TLS: '%s' is neither a host name nor an IP address", name);
    c->name = bki_strndup(name, len);
    return c->name ? 0 : bk_fail(-ENOMEM, "no memory for TLS");
}

/* Sessions are for the same name, and port: behind one name there may be several servers. */
static int set_session_key(struct bki_tls_conn *c)
{
    char whom[400];
    const char *peer = bk_stream_peer(c->stream), *port = strrchr(peer, ':');
    int n =
        snprintf(whom, sizeof whom, "%s%s", c->name ? c->name : "", c->name && port ? port : peer);
    return bki_sha256(c->session_key, whom, (size_t)n < sizeof whom ? (size_t)n : sizeof whom - 1);
}

static int fill(struct bki_tls_conn *c, const bk_start_tls_opts *opts)
{
    int r = set_name(c, opts ? opts->server_name : NULL);
    if (r == 0 && opts)
        r = bki_tls_alpn_encode(&c->alpn, opts->alpn);
    if (r == 0 && !c->tls->config.server)
        r = set_session_key(c);
    if (r == 0)
        r = bki_tls_engine_get(c->tls, &c->engine);
    return r == 0 ? bki_tls_start(c) : r;
}

int bki_tls_attach(struct bk_stream *s, struct bk_tls *tls, const bk_start_tls_opts *opts)
{
    struct bki_tls_conn *c = bki_zalloc(sizeof *c);
    if (!c)
        return bk_fail(-ENOMEM, "no memory for TLS");
    c->stream = s;
    c->tls = bki_tls_ref(tls);
    bki_list_init(&c->waiters);
    int r = fill(c, opts);
    if (r < 0) {
        conn_free(c);
        return r;
    }
    c->deadline = bk_time_add(bk_now(), tls->config.handshake_timeout);
    c->early = s->in;
    bki_buf_init(&s->in, s->read_limit);
    s->skip_line = false; /* the rest of that line, too, is no protected text */
    c->below = s->filter_state;
    s->filter = &tls_filter;
    s->filter_state = c;
    return 0;
}

int bk_stream_start_tls(bk_stream *s, bk_tls *tls, const bk_start_tls_opts *opts)
{
    if (s->reading || s->writing)
        return bk_fail(-EBUSY, "another task uses this stream");
    if (s->write_error)
        return bki_stream_write_failed(s);
    if (s->write_closed || s->hung_up)
        return bk_fail(-EPIPE, "TLS on a stream that has ended");
    /* From here on nothing is said in plain, however this call ends. */
    int r = bki_tls_attach(s, tls, opts);
    if (r < 0)
        return r;
    s->reading = s->writing = true;
    r = bki_stream_wait_unsent(s, 0);
    if (r == 0)
        r = handshake(s->filter_state);
    s->reading = s->writing = false;
    return r;
}

int bk_stream_handshake(bk_stream *s)
{
    struct bki_tls_conn *c = s->filter_state;
    if (!s->filter || c->done)
        return 0;
    int r = bki_stream_begin_read(s);
    if (r < 0)
        return r;
    r = handshake(c);
    s->reading = false;
    return r;
}

int bk_stream_tls_info(bk_stream *s, bk_tls_info *out)
{
    struct bki_tls_conn *c = s->filter_state;
    if (!s->filter)
        return bk_fail(-EINVAL, "the stream is not under TLS");
    if (!c->done)
        return bk_fail(-EAGAIN, "the handshake is not done");
    int r = bki_tls_describe(c);
    if (r == 0)
        *out = c->info;
    return r;
}
