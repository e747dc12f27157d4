/* SPDX-License-Identifier: MIT
 * OpenSSL used directly as one end of a connection, for what beck never does: the other is beck's.
 *
 *     struct peer p;
 *     CHECK_EQ(open_peer(&p, true, "server", &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
 *     ... what p.ctx should be like ...
 *     start_peer(&p, true);
 *     CHECK_EQ(meet(&p, NULL), 0);
 *     close_peer(&p); */
#ifndef BECK_TESTS_TLS_PEER_FIXTURE_H
#define BECK_TESTS_TLS_PEER_FIXTURE_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net/stream.h"
#include "net/tls_fixture.h"

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* from and to the wire */
    bk_stream *wire;
    bk_tls *tls;
    bk_stream *s; /* beck's end */
    bk_start_tls_opts opts;
    char error[256]; /* of beck's handshake */
};

static inline int open_peer(struct peer *p, bool peer_is_server, const char *cert,
                            const bk_tls_opts *opts)
{
    *p = (struct peer){.opts = {.server_name = "localhost"}};
    p->ctx = SSL_CTX_new(peer_is_server ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_security_level(p->ctx, 0);
    SSL_CTX_set_cipher_list(p->ctx, "ALL:COMPLEMENTOFALL");
    if (cert) {
        SSL_CTX_use_certificate_chain_file(p->ctx, tls_file(cert));
        SSL_CTX_use_PrivateKey_file(p->ctx, tls_file(cert), SSL_FILETYPE_PEM);
    }
    int r = peer_is_server ? bk_tls_client_new(&p->tls, opts) : bk_tls_server_new(&p->tls, opts);
    return r < 0 ? r : open_sockets(&p->s, &p->wire, NULL);
}

/* After what a test has set on the context. */
static inline void start_peer(struct peer *p, bool peer_is_server)
{
    p->ssl = SSL_new(p->ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(p->in, -1);
    SSL_set_bio(p->ssl, p->in, p->out);
    if (peer_is_server)
        SSL_set_accept_state(p->ssl);
    else
        SSL_set_connect_state(p->ssl);
}

static inline void close_peer(struct peer *p)
{
    bk_stream_close(&p->s, -1);
    bk_stream_close(&p->wire, -1);
    bk_tls_free(&p->tls);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
}

/* Whatever the peer has to say goes out. */
static inline int peer_flush(struct peer *p)
{
    char *data;
    long len = BIO_get_mem_data(p->out, &data);
    int r = len > 0 ? bk_stream_write(p->wire, data, (size_t)len) : 0;
    (void)BIO_reset(p->out);
    return r;
}

static inline int peer_fill(struct peer *p)
{
    char buf[4096];
    int r = peer_flush(p);
    ssize_t n = r < 0 ? r : bk_stream_read(p->wire, buf, sizeof buf);
    if (n > 0)
        BIO_write(p->in, buf, (int)n);
    return (int)n;
}

/* Goes on with what has returned r until it is done: 1, 0 at the end, or an error. */
static inline int peer_handle(struct peer *p, int r)
{
    if (r > 0)
        return peer_flush(p) < 0 ? -EPIPE : 1;
    if (SSL_get_error(p->ssl, r) == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (SSL_get_error(p->ssl, r) != SSL_ERROR_WANT_READ) {
        unsigned long error = ERR_get_error();
        peer_flush(p);
        return bk_fail(-EPROTO, "%s", ERR_reason_error_string(error));
    }
    r = peer_fill(p);
    return r > 0 ? -EAGAIN : r == 0 ? -ECONNRESET : r;
}

static inline int peer_handshake(void *ctx)
{
    struct peer *p = ctx;
    int r;
    ERR_clear_error();
    while ((r = peer_handle(p, SSL_do_handshake(p->ssl))) == -EAGAIN)
        ;
    return r;
}

static inline int peer_read(struct peer *p, char *buf, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ERR_clear_error();
        int n = SSL_read(p->ssl, buf + got, (int)(len - got)), r = peer_handle(p, n);
        if (r > 0)
            got += (size_t)n;
        else if (r != -EAGAIN)
            return r;
    }
    return 1;
}

static inline int beck_handshake(void *ctx)
{
    struct peer *p = ctx;
    int r = bk_stream_start_tls(p->s, p->tls, &p->opts);
    snprintf(p->error, sizeof p->error, "%s", r < 0 ? bk_errmsg() : "");
    return r;
}

/* beck's result; the peer's is in *peer_result. */
static inline int meet(struct peer *p, int *peer_result)
{
    bk_call calls[] = {{.fn = beck_handshake, .ctx = p}, {.fn = peer_handshake, .ctx = p}};
    bk_gather(calls, 2, &(bk_gather_opts){.collect = true});
    if (peer_result)
        *peer_result = calls[1].result;
    return calls[0].result;
}

static inline int open_met(struct peer *p, bool peer_is_server)
{
    bk_tls_opts client = {.ca_file = tls_file("ca")}, server = {.cert_file = tls_file("server")};
    int r =
        peer_is_server ? open_peer(p, true, "server", &client) : open_peer(p, false, NULL, &server);
    if (r == 0) {
        start_peer(p, peer_is_server);
        r = meet(p, NULL);
    }
    return r;
}

#endif
