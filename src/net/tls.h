/* SPDX-License-Identifier: MIT
 * TLS inside: what clients or servers share, and a connection.
 *
 * Three files, from above:
 *   - tls_stream.c is the filter: all that suspends, and the public calls on streams;
 *   - tls.c holds bk_tls objects: options, files read again, sessions to resume;
 *   - tls_openssl.c is the engine, the one file that knows OpenSSL.  It never suspends: it takes
 *     and gives records through bki_tls_raw_recv and bki_tls_raw_send, which do not either.
 * So a task that reads and one that writes never meet inside the library's object, and the errors
 * in its queue, one for each thread, are those of the call just made. */
#ifndef BECK_SRC_NET_TLS_H
#define BECK_SRC_NET_TLS_H

#include <pthread.h>
#include <stdatomic.h>

#include <beck/tls.h>

#include "base/buf.h"
#include "net/digest.h"
#include "net/stream.h"

/* OpenSSL's. */
struct ssl_st;
struct ssl_session_st;

/* ---- What is shared (tls.c) ---- */

/* Protocol names as they stand in a handshake: each behind a byte that is its length. */
struct bki_tls_alpn {
    unsigned char *data;
    size_t len;
};

/* Options, as copies. */
struct bki_tls_config {
    bool server;
    bool check_peer;               /* ask for a certificate and check it */
    bool require_peer;             /* no certificate: no connection */
    bk_tls_cert cert, *more_certs; /* more_certs: ended by one without cert_file, or NULL */
    char *ca_file, *ca_path;
    enum bk_tls_version min_version, max_version;
    struct bki_tls_alpn alpn;
    bk_duration handshake_timeout, shutdown_timeout;
    bool no_resumption;
};

/* What the engine makes of a configuration and its files; counted, and never changed. */
struct bki_tls_engine;

/* A session that a server gave a client.  A key is the digest of whom it was with. */
struct bki_tls_session {
    unsigned char key[BKI_SHA256_LEN];
    struct ssl_session_st *session; /* NULL: a free place */
    uint64_t age;
};

#define BKI_TLS_SESSIONS 128

struct bk_tls {
    atomic_uint refs;
    bool is_static; /* lives as long as the process */
    struct bki_tls_config config;
    pthread_mutex_t mutex;         /* of what follows */
    struct bki_tls_engine *engine; /* NULL: not made yet */
    struct bki_tls_session sessions[BKI_TLS_SESSIONS];
    uint64_t n_sessions_ever;
};

struct bk_tls *bki_tls_ref(struct bk_tls *tls);

/* The engine as it is now, counted; makes it when there is none.  0, or as bk_tls_client_new. */
int bki_tls_engine_get(struct bk_tls *tls, struct bki_tls_engine **out);

/* Converts a list of names ended by NULL; free with bki_free(out->data).  0, -EINVAL, -ENOMEM. */
int bki_tls_alpn_encode(struct bki_tls_alpn *out, const char *const *names);

/* Keeps a session for a next connection to whom key says; the session is the cache's from here. */
void bki_tls_session_put(struct bk_tls *tls, const unsigned char key[BKI_SHA256_LEN],
                         struct ssl_session_st *session);
/* One for that connection, counted, or NULL. */
struct ssl_session_st *bki_tls_session_take(struct bk_tls *tls,
                                            const unsigned char key[BKI_SHA256_LEN]);

/* ---- A connection (tls_stream.c) ---- */

struct bki_tls_conn {
    struct bk_stream *stream;
    struct bki_tls_conn *below; /* the TLS that this one runs through, or NULL */
    struct bk_tls *tls;
    struct bki_tls_engine *engine;
    struct ssl_st *ssl;
    struct bki_tls_alpn alpn; /* instead of the configuration's, when there is one */
    char *name;               /* a client's: whom the certificate must be for; NULL: anybody */
    unsigned char ip[16];     /* the name is this address */
    size_t ip_len;            /* 0: it is none */
    unsigned char session_key[BKI_SHA256_LEN];
    bk_time deadline;        /* of the handshake */
    bool done;               /* the handshake */
    bool said_bye;           /* our close_notify is out */
    bool got_bye;            /* the peer's is in */
    bool reading;            /* the engine is reading: what it sends is an answer */
    bool raw_ended;          /* the connection, without a goodbye so far */
    bool polling;            /* a task waits for the raw side to have something... */
    struct bki_list waiters; /* ...and these for that task */
    struct bki_buf early;    /* the peer's bytes that were read ahead as plain ones */
    int raw_error;           /* what went wrong below the engine in the call under way */
    int failure;             /* what ended reading for good, and its text */
    char *failure_text;
    char *cert_fault;   /* what is wrong with the peer's certificate */
    uint64_t n_records; /* written */
    bk_tls_info info;   /* filled when asked for; its texts are one block */
    char *info_texts;
};

/* The raw side, for the engine.  recv: a count, 0 at the end, -EAGAIN when there is nothing now, or
 * an error.  send takes everything: 0 or an error. */
ssize_t bki_tls_raw_recv(struct bki_tls_conn *c, void *buf, size_t len);
int bki_tls_raw_send(struct bki_tls_conn *c, const void *data, size_t len);

/* Puts TLS on the stream, without any I/O; the time for the handshake begins.
 * 0, or -EINVAL, -ENOMEM and those of bk_tls_client_new, with the stream as it was. */
int bki_tls_attach(struct bk_stream *s, struct bk_tls *tls, const bk_start_tls_opts *opts);

/* ---- The engine (tls_openssl.c) ---- */

/* Reads the files.  0, or as bk_tls_client_new. */
int bki_tls_engine_new(struct bki_tls_engine **out, const struct bki_tls_config *config);
struct bki_tls_engine *bki_tls_engine_ref(struct bki_tls_engine *engine);
void bki_tls_engine_free(struct bki_tls_engine *engine);

struct ssl_session_st *bki_tls_session_ref(struct ssl_session_st *session);
void bki_tls_session_free(struct ssl_session_st *session);
/* It is good for one connection only (TLS 1.3), so that nobody on the way can tell that two
 * connections are one client's. */
bool bki_tls_session_is_once(const struct ssl_session_st *session);

/* Makes c->ssl out of what else is in c.  0, or -ENOMEM; stop takes what start left. */
int bki_tls_start(struct bki_tls_conn *c);
void bki_tls_stop(struct bki_tls_conn *c);

/* Each goes as far as it gets; -EAGAIN: the raw side has nothing now.  Errors come with their text.
 * handshake: 0 when done.  read: a count, or 0 when the peer has said goodbye.  write: takes up to
 * BKI_TLS_RECORD bytes, all of them: 0.  goodbye: 0. */
#define BKI_TLS_RECORD ((size_t)16384)
#define BKI_TLS_OVERHEAD ((size_t)64) /* that a record adds to its bytes, at most */
/* After so many records keys are updated (RFC 8446 5.5: before 2^24.5); tests have less patience.
 */
extern uint64_t bki_tls_key_records;
int bki_tls_handshake(struct bki_tls_conn *c);
ssize_t bki_tls_read(struct bki_tls_conn *c, void *buf, size_t len);
int bki_tls_write(struct bki_tls_conn *c, const void *data, size_t len);
int bki_tls_goodbye(struct bki_tls_conn *c);

/* Fills c->info, once.  0 or -ENOMEM. */
int bki_tls_describe(struct bki_tls_conn *c);

#endif
