/* SPDX-License-Identifier: MIT
 * The TLS engine: the one file that knows OpenSSL. */
#include "net/tls.h"

#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/alloc.h"
#include "base/error_slot.h"

/* Of TLS 1.2: forward secrecy and authenticated encryption only.  (1.3 has no others.) */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SECURITY_LEVEL 2 /* 112 bits: RSA keys of 2048 bits and up, no SHA-1 signatures */

/* Alternative names only, and a "*" only as a whole label (which has to be the first). */
#define HOST_FLAGS (X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)

struct bki_tls_engine {
    atomic_uint refs;
    size_t n;
    SSL_CTX *ctx[]; /* one for each certificate; the first is for who asks for none */
};

static int out_of_memory(void)
{
    return bk_fail(-ENOMEM, "no memory for TLS");
}

/* ---- Digests ---- */

static int digest(unsigned char *out, const EVP_MD *md, const void *data, size_t len)
{
    ERR_clear_error();
    return EVP_Digest(data, len, out, NULL, md, NULL) == 1 ? 0 : out_of_memory();
}

int bki_sha1(unsigned char out[BKI_SHA1_LEN], const void *data, size_t len)
{
    return digest(out, EVP_sha1(), data, len);
}

int bki_sha256(unsigned char out[BKI_SHA256_LEN], const void *data, size_t len)
{
    return digest(out, EVP_sha256(), data, len);
}

/* ---- The raw side ---- */

static BIO_METHOD *raw_method;

static int raw_read(BIO *bio, char *buf, int len)
{
    struct bki_tls_conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = bki_tls_raw_recv(c, buf, (size_t)len);
    if (n > 0)
        return (int)n;
    /* Of an end OpenSSL is not told: it would send an alert, and forget the session. */
    c->raw_ended = n == 0;
    if (n == 0 || n == -EAGAIN)
        BIO_set_retry_read(bio);
    else
        c->raw_error = (int)n;
    return -1;
}

static int raw_write(BIO *bio, const char *data, int len)
{
    struct bki_tls_conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    int r = bki_tls_raw_send(c, data, (size_t)len);
    if (r == 0)
        return len;
    c->raw_error = r;
    return -1;
}

static long raw_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void make_raw_method(void)
{
    raw_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "beck stream");
    if (!raw_method)
        return;
    BIO_meth_set_read(raw_method, raw_read);
    BIO_meth_set_write(raw_method, raw_write);
    BIO_meth_set_ctrl(raw_method, raw_control);
}

static BIO *new_raw(struct bki_tls_conn *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_raw_method);
    BIO *bio = raw_method ? BIO_new(raw_method) : NULL;
    if (bio)
        BIO_set_data(bio, c);
    return bio;
}

/* ---- Texts ---- */

/* Bytes from a certificate: nothing that could confuse a terminal or a reader. */
static void print_bytes(BIO *out, const unsigned char *data, int len)
{
    for (int i = 0; i < len; i++)
        BIO_write(out, data[i] > ' ' && data[i] < 0x7f ? (const void *)&data[i] : ".", 1);
}

static void print_ip(BIO *out, const unsigned char *ip, int len)
{
    if (len == 4)
        BIO_printf(out, "%d.%d.%d.%d", ip[0], ip[1], ip[2], ip[3]);
    for (int i = 0; len == 16 && i < len; i += 2)
        BIO_printf(out, "%s%x", i ? ":" : "", ip[i] << 8 | ip[i + 1]);
}

/* "DNS:a.example, IP:192.0.2.7": what a certificate is for; false for nothing. */
static bool print_names(BIO *out, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const char *comma = "";
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        const char *label = type == GEN_DNS     ? "DNS:"
                            : type == GEN_IPADD ? "IP:"
                            : type == GEN_URI   ? "URI:"
                            : type == GEN_EMAIL ? "email:"
                                                : NULL;
        if (!label)
            continue;
        BIO_printf(out, "%s%s", comma, label);
        comma = ", ";
        if (type == GEN_IPADD)
            print_ip(out, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
        else
            print_bytes(out, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
    }
    GENERAL_NAMES_free(names);
    return *comma;
}

static void print_name(BIO *out, const X509_NAME *name)
{
    X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
}

/* What was printed, with a NUL behind it, in memory for bki_free; NULL: out of memory. */
static char *take_text(BIO *bio)
{
    char *data = NULL;
    long len = bio ? BIO_get_mem_data(bio, &data) : 0;
    char *text = bio ? bki_strndup(data, (size_t)len) : NULL;
    BIO_free(bio);
    return text;
}

/* ---- Certificates of peers ---- */

/* What a person needs to know besides OpenSSL's text. */
static void explain(BIO *out, int error, const X509 *cert, bool by_server)
{
    bool late = error == X509_V_ERR_CERT_HAS_EXPIRED;
    if (late || error == X509_V_ERR_CERT_NOT_YET_VALID) {
        BIO_puts(out, late ? " on " : ", but from ");
        ASN1_TIME_print_ex(out, late ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert),
                           ASN1_DTFLGS_ISO8601);
    } else if (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY) {
        BIO_puts(out, " (");
        print_name(out, X509_get_issuer_name(cert));
        BIO_puts(out, " is not trusted here, or the peer leaves out who vouches for it)");
    } else if (error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT) {
        BIO_puts(out, " (and not among those that are trusted)");
    } else if (error == X509_V_ERR_INVALID_PURPOSE) {
        BIO_puts(out, by_server ? " (it is not for clients)" : " (it is not for servers)");
    } else if (error == X509_V_ERR_EE_KEY_TOO_SMALL || error == X509_V_ERR_CA_KEY_TOO_SMALL) {
        BIO_puts(out, " (RSA needs 2048 bits)");
    } else if (error == X509_V_ERR_CA_MD_TOO_WEAK) {
        BIO_puts(out, " (SHA-256 is good)");
    }
}

/* Keeps what is wrong: afterwards the certificate is gone. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct bki_tls_conn *c = SSL_get_app_data(ssl);
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    int error = X509_STORE_CTX_get_error(store);
    BIO *out = ok || !cert || c->cert_fault ? NULL : BIO_new(BIO_s_mem());
    if (!out)
        return ok;
    if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        BIO_puts(out, "host name mismatch: the certificate is for ");
        if (!print_names(out, cert))
            BIO_puts(out, "no host");
    } else {
        BIO_puts(out, X509_verify_cert_error_string(error));
        explain(out, error, cert, c->tls->config.server);
        if (X509_STORE_CTX_get_error_depth(store) > 0) {
            BIO_puts(out, " (of the issuer ");
            print_name(out, X509_get_subject_name(cert));
            BIO_puts(out, ")");
        }
    }
    c->cert_fault = take_text(out);
    return ok;
}

static const char *peer_label(const struct bki_tls_conn *c)
{
    return c->name ? c->name : bk_stream_peer(c->stream);
}

static int certificate_failed(const struct bki_tls_conn *c)
{
    const char *why = c->cert_fault ? c->cert_fault
                                    : X509_verify_cert_error_string(SSL_get_verify_result(c->ssl));
    return bk_fail(-BK_ECERT, "TLS with %s: %s", peer_label(c), why);
}

/* ---- Errors of a connection ---- */

static int protocol_failed(const struct bki_tls_conn *c)
{
    unsigned long error = 0, next;
    while ((next = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(next) == ERR_R_MALLOC_FAILURE)
            return out_of_memory();
        if (!error || (ERR_GET_LIB(error) != ERR_LIB_SSL && ERR_GET_LIB(next) == ERR_LIB_SSL))
            error = next; /* first comes what was noticed below TLS, whose numbers mean others */
    }
    int reason = ERR_GET_REASON(error);
    const char *who = peer_label(c), *why = ERR_reason_error_string(error);
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return certificate_failed(c);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return bk_fail(-BK_ECERT, "TLS with %s: the client shows no certificate", who);
    if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED) /* it has no name below */
        return bk_fail(-BK_EREFUSED, "TLS with %s: the peer ended it: certificate required", who);
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) /* an alert */
        return bk_fail(-BK_EREFUSED, "TLS with %s: the peer ended it: %s", who,
                       SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST)
        return bk_fail(-BK_EPROTO, "TLS with %s: what the peer sends is not TLS", who);
    return bk_fail(-BK_EPROTO, "TLS with %s: %s%s", who, why ? why : "the protocol was broken",
                   reason == SSL_R_UNSUPPORTED_PROTOCOL
                       ? " (of the versions of TLS that the peer speaks none is allowed here)"
                       : "");
}

static int cut_short(const struct bki_tls_conn *c)
{
    return bk_fail(-BK_EINCOMPLETE,
                   c->done ? "TLS with %s: the connection ended without a goodbye (close_notify)"
                           : "TLS with %s: the connection ended in the handshake",
                   peer_label(c));
}

/* What a call has come to that returned r <= 0: 0 for a goodbye, -EAGAIN, or an error. */
static int judge(struct bki_tls_conn *c, int r)
{
    int error = SSL_get_error(c->ssl, r);
    if (error == SSL_ERROR_WANT_READ && !c->raw_ended)
        return -EAGAIN;
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (c->raw_error == -ESHUTDOWN)
        return -ESHUTDOWN;        /* hung up by this side, which may still say goodbye */
    if (c->raw_error && !c->done) /* through a proxy, nobody would know whose read that was */
        bk_fail(c->raw_error, "TLS with %s: %s", peer_label(c), bk_errmsg());
    r = c->raw_error ? c->raw_error : c->raw_ended ? cut_short(c) : protocol_failed(c);
    c->failure = r;
    c->failure_text = bki_strdup(bk_errmsg());
    return r;
}

/* Before each call.  An error is final, and is told again. */
static int begin(struct bki_tls_conn *c)
{
    if (c->failure)
        return bk_fail(c->failure, "%s", c->failure_text ? c->failure_text : "TLS has failed");
    c->raw_error = 0;
    ERR_clear_error();
    return 0;
}

/* ---- What a connection does ---- */

int bki_tls_handshake(struct bki_tls_conn *c)
{
    int r = begin(c);
    if (r < 0)
        return r;
    r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        c->done = true;
        return 0;
    }
    r = judge(c, r);
    return r == 0 ? cut_short(c) : r;
}

ssize_t bki_tls_read(struct bki_tls_conn *c, void *buf, size_t len)
{
    size_t got = 0;
    int r = begin(c);
    c->reading = true;
    while (r == 0 && got < len && !c->got_bye) {
        size_t n = 0;
        int ok = SSL_read_ex(c->ssl, (char *)buf + got, len - got, &n);
        got += n;
        if (ok && !SSL_has_pending(c->ssl))
            break;
        if (!ok) {
            r = judge(c, ok);
            c->got_bye = r == 0;
        }
    }
    c->reading = false;
    return got > 0 ? (ssize_t)got : r;
}

int bki_tls_write(struct bki_tls_conn *c, const void *data, size_t len)
{
    size_t n = 0;
    int r = begin(c);
    if (r == 0 && ++c->n_records % bki_tls_key_records == 0) {
        SSL_key_update(c->ssl, SSL_KEY_UPDATE_NOT_REQUESTED); /* TLS 1.2 has none, and needs none */
        ERR_clear_error();
    }
    if (r < 0 || SSL_write_ex(c->ssl, data, len, &n))
        return r;
    r = judge(c, 0);
    return r == 0 ? bk_fail(-EPIPE, "TLS with %s: it was closed", peer_label(c)) : r;
}

int bki_tls_goodbye(struct bki_tls_conn *c)
{
    int r = begin(c);
    if (r < 0 || c->said_bye || !c->done)
        return r;
    r = SSL_shutdown(c->ssl);
    c->said_bye = true;
    return r < 0 ? judge(c, r) : 0;
}

/* ---- What a connection begins with ---- */

struct ssl_session_st *bki_tls_session_ref(struct ssl_session_st *session)
{
    return SSL_SESSION_up_ref(session) ? session : NULL;
}

void bki_tls_session_free(struct ssl_session_st *session)
{
    SSL_SESSION_free(session);
}

bool bki_tls_session_is_once(const struct ssl_session_st *session)
{
    return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}

/* A client got a session to resume. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct bki_tls_conn *c = SSL_get_app_data(ssl);
    bki_tls_session_put(c->tls, c->session_key, session);
    return 1;
}

/* Whom the certificate must be for, and which one a server with several should show. */
static int set_name(const struct bki_tls_conn *c)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
    X509_VERIFY_PARAM_set_hostflags(param, HOST_FLAGS);
    if (!c->name)
        return 1;
    if (c->ip_len > 0)
        return X509_VERIFY_PARAM_set1_ip(param, c->ip, c->ip_len);
    return X509_VERIFY_PARAM_set1_host(param, c->name, 0) &&
           SSL_set_tlsext_host_name(c->ssl, c->name);
}

static int start_client(struct bki_tls_conn *c)
{
    const struct bki_tls_config *config = &c->tls->config;
    const struct bki_tls_alpn *alpn = c->alpn.data ? &c->alpn : &config->alpn;
    SSL_set_connect_state(c->ssl);
    if (!set_name(c) ||
        (alpn->len > 0 && SSL_set_alpn_protos(c->ssl, alpn->data, (unsigned)alpn->len) != 0))
        return out_of_memory();
    SSL_SESSION *session =
        config->no_resumption ? NULL : bki_tls_session_take(c->tls, c->session_key);
    if (session)
        SSL_set_session(c->ssl, session); /* which does not fit: a full handshake */
    SSL_SESSION_free(session);
    return 0;
}

int bki_tls_start(struct bki_tls_conn *c)
{
    ERR_clear_error();
    c->ssl = SSL_new(c->engine->ctx[0]);
    BIO *bio = c->ssl ? new_raw(c) : NULL;
    if (!bio)
        return out_of_memory();
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_app_data(c->ssl, c);
    if (!c->tls->config.server)
        return start_client(c);
    SSL_set_accept_state(c->ssl);
    return 0;
}

void bki_tls_stop(struct bki_tls_conn *c)
{
    /* A session outlives a connection that was dropped, or cut (RFC 5246 7.2.1). */
    if (c->ssl && (!c->failure || c->raw_ended || c->raw_error))
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    c->ssl = NULL;
}

/* Adds a text to those printed before, and returns where it begins. */
static long begin_text(BIO *out)
{
    BIO_write(out, "", 1);
    return (long)BIO_ctrl_pending(out);
}

int bki_tls_describe(struct bki_tls_conn *c)
{
    if (c->info_texts)
        return 0;
    BIO *out = BIO_new(BIO_s_mem());
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    const unsigned char *alpn = NULL;
    unsigned char sha256[BKI_SHA256_LEN];
    unsigned alpn_len = 0;
    if (!out)
        return out_of_memory();
    const char *sni = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    const char *asked = c->name ? c->name : sni ? sni : "";
    SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_len);
    BIO_write(out, alpn, (int)alpn_len);
    long name_at = begin_text(out);
    print_bytes(out, (const unsigned char *)asked, (int)strlen(asked));
    long subject_at = begin_text(out);
    if (cert)
        print_name(out, X509_get_subject_name(cert));
    long issuer_at = begin_text(out);
    if (cert)
        print_name(out, X509_get_issuer_name(cert));
    long names_at = begin_text(out);
    if (cert)
        print_names(out, cert);
    long digest_at = begin_text(out);
    for (int i = 0; cert && X509_digest(cert, EVP_sha256(), sha256, NULL) && i < BKI_SHA256_LEN;
         i++)
        BIO_printf(out, "%02x", sha256[i]);
    c->info_texts = take_text(out);
    if (!c->info_texts)
        return out_of_memory();
    c->info = (bk_tls_info){
        .version = SSL_get_version(c->ssl),
        .cipher = SSL_get_cipher_name(c->ssl),
        .alpn = c->info_texts,
        .server_name = c->info_texts + name_at,
        .peer_subject = c->info_texts + subject_at,
        .peer_issuer = c->info_texts + issuer_at,
        .peer_names = c->info_texts + names_at,
        .peer_sha256 = c->info_texts + digest_at,
        .peer_verified =
            cert && c->tls->config.check_peer && SSL_get_verify_result(c->ssl) == X509_V_OK,
        .resumed = SSL_session_reused(c->ssl),
    };
    return 0;
}

/* ---- Making an engine ---- */

/* A server's choice among the client's protocols. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offered, unsigned offered_len, void *arg)
{
    const struct bki_tls_conn *c = SSL_get_app_data(ssl);
    const struct bki_tls_alpn *ours = c->alpn.data ? &c->alpn : &c->tls->config.alpn;
    unsigned char *chosen = NULL;
    (void)arg;
    if (ours->len == 0 || offered_len == 0)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto(&chosen, out_len, ours->data, (unsigned)ours->len, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A server's choice among its certificates. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct bki_tls_conn *c = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    (void)arg;
    for (size_t i = 0; name && i < c->engine->n; i++) {
        X509 *cert = SSL_CTX_get0_certificate(c->engine->ctx[i]);
        if (X509_check_host(cert, name, 0, HOST_FLAGS, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, c->engine->ctx[i]);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

/* A key's password, and whether the key needs one. */
struct password {
    const char *text;
    bool asked;
};

/* Never asks on a terminal, which OpenSSL would do by itself. */
static int on_password(char *buf, int size, int writing, void *arg)
{
    struct password *password = arg;
    size_t len = password->text ? strlen(password->text) : 0;
    (void)writing;
    password->asked = true;
    if (len == 0 || len > (size_t)size)
        return -1;
    memcpy(buf, password->text, len);
    return (int)len;
}

/* Says why a file could not be used.  what: that it should hold. */
static int file_failed(const char *file, const char *what)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error), lib = ERR_GET_LIB(error);
    if (ERR_SYSTEM_ERROR(error))
        return bki_fail_errno(reason, "%s", file);
    if (reason == ERR_R_MALLOC_FAILURE)
        return out_of_memory();
    if (reason == X509_R_KEY_VALUES_MISMATCH && lib == ERR_LIB_X509)
        return bk_fail(-BK_EFORMAT, "%s: the key is not that of the certificate", file);
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    return bk_fail(-BK_EFORMAT, "%s: no usable %s in it (%s)", file, what, why ? why : "unknown");
}

static int load_cert(SSL_CTX *ctx, const bk_tls_cert *cert)
{
    const char *key_file = cert->key_file ? cert->key_file : cert->cert_file;
    struct password password = {.text = cert->key_password};
    if (!cert->cert_file)
        return 0;
    SSL_CTX_set_default_passwd_cb(ctx, on_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &password);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert->cert_file) != 1)
        return file_failed(cert->cert_file, "certificate");
    int ok = SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (ok == 1)
        return 0;
    if (password.asked)
        return bk_fail(-BK_EFORMAT, "%s: the key is encrypted, and %s", key_file,
                       password.text ? "this is not its password" : "there is no password");
    return file_failed(key_file, "private key");
}

/* Clients with several certificates choose by the issuers that a server names. */
static int name_issuers(SSL_CTX *ctx, const struct bki_tls_config *config)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    if (names && config->ca_file)
        SSL_add_file_cert_subjects_to_stack(names, config->ca_file);
    if (names && config->ca_path)
        SSL_add_dir_cert_subjects_to_stack(names, config->ca_path);
    SSL_CTX_set_client_CA_list(ctx, names);
    return names ? 0 : out_of_memory();
}

static int load_trust(SSL_CTX *ctx, const struct bki_tls_config *config)
{
    int mode = config->require_peer ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(ctx, config->check_peer ? SSL_VERIFY_PEER | mode : SSL_VERIFY_NONE,
                       config->check_peer ? on_verify : NULL);
    if (!config->check_peer)
        return 0;
    /* What is trusted need not be a root. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (config->ca_file && SSL_CTX_load_verify_file(ctx, config->ca_file) != 1)
        return file_failed(config->ca_file, "certificate");
    if (config->ca_path && access(config->ca_path, R_OK | X_OK) < 0)
        return bki_fail_errno(errno, "%s", config->ca_path);
    if (config->ca_path && SSL_CTX_load_verify_dir(ctx, config->ca_path) != 1)
        return file_failed(config->ca_path, "certificates");
    if (!config->ca_file && !config->ca_path)
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0 : out_of_memory();
    return config->server ? name_issuers(ctx, config) : 0;
}

static int set_rules(SSL_CTX *ctx, const struct bki_tls_config *config)
{
    /* Whatever the system's configuration file says. */
    SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_clear_options(ctx, SSL_OP_ALL | SSL_OP_LEGACY_SERVER_CONNECT |
                                   SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ENABLE_KTLS |
                                   SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    if (SSL_CTX_set_min_proto_version(ctx, config->min_version) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, config->max_version) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1)
        return out_of_memory();
    return 0;
}

static void set_sessions(SSL_CTX *ctx, const struct bki_tls_config *config)
{
    static const unsigned char id[] = "beck";
    SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* a server's: tickets, no memory */
    if (config->no_resumption) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    } else if (!config->server) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, on_session);
    }
}

static int new_ctx(SSL_CTX **out, const struct bki_tls_config *config, const bk_tls_cert *cert)
{
    ERR_clear_error();
    SSL_CTX *ctx = *out = SSL_CTX_new(config->server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        return out_of_memory();
    int r = set_rules(ctx, config);
    if (r == 0)
        r = load_cert(ctx, cert);
    if (r == 0)
        r = load_trust(ctx, config);
    set_sessions(ctx, config);
    if (config->server) {
        SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
        SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    }
    return r;
}

int bki_tls_engine_new(struct bki_tls_engine **out, const struct bki_tls_config *config)
{
    size_t n = 1;
    while (config->more_certs && config->more_certs[n - 1].cert_file)
        n++;
    struct bki_tls_engine *engine = bki_zalloc(sizeof *engine + n * sizeof *engine->ctx);
    if (!engine)
        return out_of_memory();
    atomic_init(&engine->refs, 1);
    int r = 0;
    for (; r == 0 && engine->n < n; engine->n++)
        r = new_ctx(&engine->ctx[engine->n], config,
                    engine->n == 0 ? &config->cert : &config->more_certs[engine->n - 1]);
    if (r < 0)
        bki_tls_engine_free(engine);
    else
        *out = engine;
    return r;
}

struct bki_tls_engine *bki_tls_engine_ref(struct bki_tls_engine *engine)
{
    atomic_fetch_add_explicit(&engine->refs, 1, memory_order_relaxed);
    return engine;
}

void bki_tls_engine_free(struct bki_tls_engine *engine)
{
    if (!engine || atomic_fetch_sub_explicit(&engine->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < engine->n; i++)
        SSL_CTX_free(engine->ctx[i]);
    bki_free(engine);
}
