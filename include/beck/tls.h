/* SPDX-License-Identifier: MIT
 * TLS 1.2 and 1.3 on streams, as client and as server.
 *
 * A client:
 *
 *     bk_stream *s = NULL;
 *     int r = bk_connect(&s, "example.org:443", &(bk_connect_opts){.tls = bk_tls_default()});
 *
 * A server:
 *
 *     bk_tls *tls = NULL;
 *     bk_listener *listener = NULL;
 *     int r = bk_tls_server_new(&tls, &(bk_tls_opts){.cert_file = "c.pem", .key_file = "k.pem"});
 *     if (r == 0)
 *         r = bk_listen(&listener, ":8443", &(bk_listen_opts){.tls = tls});
 *     bk_tls_free(&tls);                                 // the listener has its own share
 *     if (r == 0)
 *         r = bk_serve(listener, handler, NULL, NULL);
 *     return bk_listener_close(&listener, r);
 *
 * A stream under TLS is read, written and closed like any other, and everything stream.h says
 * holds.  What is particular:
 *   - Reading returns 0 only when the peer has said goodbye (close_notify).  A connection that just
 *     ends may have been cut by somebody else: -BK_EINCOMPLETE.
 *   - A good bk_stream_close says goodbye and waits for the peer's, for shutdown_timeout at most.
 *   - Unsent bytes are counted as they go out, encrypted.
 *   - The first read or write on an accepted stream shakes hands, with the errors of
 *     bk_stream_start_tls.  Later ones may fail with -BK_EPROTO (the peer broke TLS) and
 *     -BK_EREFUSED (it ended the connection with an alert), too.
 *
 * Only cipher suites with forward secrecy and authenticated encryption are offered.  There is no
 * renegotiation, no compression, no early data, and no log of keys.  A handshake takes up to 14 KiB
 * of the calling task's stack.
 *
 * A stream is for its loop's thread; a bk_tls may be shared by all. */
#ifndef BECK_TLS_H
#define BECK_TLS_H

#include <beck/stream.h>

BK_BEGIN_DECLS

enum bk_tls_version { BK_TLS_1_2 = 0x0303, BK_TLS_1_3 = 0x0304 };

enum bk_tls_verify {
    BK_TLS_VERIFY_DEFAULT,     /* a client: required; a server: if it has a ca_file or ca_path */
    BK_TLS_VERIFY_REQUIRED,    /* the peer shows a certificate from somebody trusted, or fails */
    BK_TLS_VERIFY_OPTIONAL,    /* a server: clients without a certificate may come too */
    BK_TLS_INSECURE_NO_VERIFY, /* a client: anybody may pose as the server */
};

/* A certificate chain and its key, in PEM files. */
typedef struct bk_tls_cert {
    const char *cert_file;    /* the certificate, then those of its issuers */
    const char *key_file;     /* its private key; default: it is in cert_file */
    const char *key_password; /* of a key that is encrypted */
} bk_tls_cert;

typedef struct bk_tls_opts {
    const char *cert_file;    /* as in bk_tls_cert: a server's, or a client's where servers ask */
    const char *key_file;     /* as there */
    const char *key_password; /* as there */
    const bk_tls_cert *more_certs; /* a server's for other names, then one without cert_file */
    const char *ca_file;       /* PEM, whom to trust instead of whom the system trusts; and/or */
    const char *ca_path;       /* a folder of such files, prepared by `openssl rehash` */
    enum bk_tls_verify verify; /* whether the peer must show who it is */
    enum bk_tls_version min_version, max_version; /* default: 1.2 to 1.3 */
    const char *const *alpn;       /* application protocols, the preferred first, then NULL */
    bk_duration handshake_timeout; /* default 10 s */
    bk_duration shutdown_timeout;  /* for the peer's goodbye after ours; default 5 s */
    bool no_resumption;            /* every connection shakes hands in full */
} bk_tls_opts;

/* Makes what clients (servers) share: certificates, whom to trust, sessions to resume.
 * out: NULL on entry; bk_tls_free it.  opts: copied, the file names too.
 * Reads the files at once and does not suspend: make it before there is traffic.
 * Returns 0; -ENOENT, -EACCES, ...; -BK_EFORMAT (a file holds something else, or a key that is not
 * the certificate's, or the password is wrong); -EINVAL (options that contradict each other);
 * -ENOMEM.  Any thread, and streams of any thread may share it. */
BK_API int bk_tls_client_new(bk_tls **out, const bk_tls_opts *opts);
BK_API int bk_tls_server_new(bk_tls **out, const bk_tls_opts *opts);

/* The client with default options: whom the system trusts ($SSL_CERT_FILE and $SSL_CERT_DIR may
 * name others).  Shared by the whole process, made at first use; not to be freed (though
 * bk_tls_free does no harm).  Any thread. */
BK_API bk_tls *bk_tls_default(void);

/* Reads the files again, say after a renewal: connections made from now on use what is there now,
 * those that exist go on.  When it fails everything stays as it was.  Returns as bk_tls_client_new;
 * does not suspend.  Any thread. */
BK_API int bk_tls_reload(bk_tls *tls);

/* Gives *tls back and sets it to NULL; NULL is fine.  Streams and listeners that use it keep their
 * share.  Any thread. */
BK_API void bk_tls_free(bk_tls **tls);

typedef struct bk_start_tls_opts {
    /* A client: whom the certificate must be for, a host name or an IP address; a name is also told
     * to the server (SNI).  Needed unless verification is off. */
    const char *server_name;
    const char *const *alpn; /* default: those of the bk_tls */
} bk_start_tls_opts;

/* Turns a plain stream into one under TLS, where a protocol says so (STARTTLS, CONNECT); on a
 * stream under TLS, makes a second layer.  tls decides whether as client or as server; it may be
 * freed afterwards. First all written bytes go out.  Bytes read ahead and not consumed are taken as
 * the peer's handshake, so that nothing that came in plain is ever read as if it were protected.
 * Suspends until the handshake is done, for handshake_timeout at most.
 * Returns 0, and reading and writing are protected.  -EINVAL (no server_name, or a protocol name
 * that is not 1 to 255 bytes long) and -EBUSY (another task uses the stream): nothing has changed.
 * -ECANCELED: the next read or write goes on with the handshake.  Other errors are final, reading
 * and writing return them again: -BK_ECERT (the certificate is not acceptable; bk_errmsg says why),
 * -BK_EREFUSED (the peer ended it with an alert), -BK_EPROTO, -BK_EINCOMPLETE (the peer went away),
 * -ETIMEDOUT, -ENOMEM, or the connection's.  RFC 8446, 5246, 6066 (names), 7301 (protocols), 9525
 * (whom a certificate is for: alternative names only, a "*" for one whole first label). */
BK_API int bk_stream_start_tls(bk_stream *stream, bk_tls *tls, const bk_start_tls_opts *opts);

/* Shakes hands on a stream that bk_accept made, which otherwise the first read or write does.  (In
 * a handler of bk_serve it is done already.)  At once when it is done or there is no TLS. Returns 0
 * or as bk_stream_start_tls. */
BK_API int bk_stream_handshake(bk_stream *stream);

/* What the handshake agreed on; texts are "" where there is nothing, and valid while the stream
 * is. */
typedef struct bk_tls_info {
    const char *version;      /* "TLSv1.3" */
    const char *cipher;       /* "TLS_AES_256_GCM_SHA384" */
    const char *alpn;         /* the application protocol: "h2" */
    const char *server_name;  /* whom the client asked for */
    const char *peer_subject; /* of the peer's certificate: "CN=joe,O=Example" */
    const char *peer_issuer;
    const char *peer_names;  /* its alternative names: "DNS:example.org, IP:192.0.2.7" */
    const char *peer_sha256; /* its fingerprint: 64 hexadecimal digits */
    bool peer_verified;      /* it was checked and found good */
    bool resumed;            /* by a session that was known from before */
} bk_tls_info;

/* Fills *out.  Returns 0; -EINVAL when the stream is not under TLS; -EAGAIN before the end of the
 * handshake; -ENOMEM.  Does not suspend. */
BK_API int bk_stream_tls_info(bk_stream *stream, bk_tls_info *out);

BK_END_DECLS
#endif
