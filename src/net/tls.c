/* SPDX-License-Identifier: MIT
 * What TLS clients, or servers, share: options, files that are read again, sessions to resume. */
#include "net/tls.h"

#include "base/alloc.h"

#define HANDSHAKE_SECONDS 10
#define SHUTDOWN_SECONDS 5
#define ALPN_NAME_MAX 255
#define SESSIONS_EACH 4 /* with the same server */

uint64_t bki_tls_key_records = UINT64_C(1) << 23;

/* ---- Options ---- */

int bki_tls_alpn_encode(struct bki_tls_alpn *out, const char *const *names)
{
    size_t size = 0, at = 0;
    for (size_t i = 0; names && names[i]; i++) {
        size_t len = strlen(names[i]);
        if (len == 0 || len > ALPN_NAME_MAX)
            return bk_fail(-EINVAL, "TLS: a protocol name has 1 to %d bytes, not %zu",
                           ALPN_NAME_MAX, len);
        size += 1 + len;
    }
    if (size > UINT16_MAX - 2)
        return bk_fail(-EINVAL, "TLS: too many protocol names");
    *out = (struct bki_tls_alpn){0};
    if (size == 0)
        return 0;
    out->data = bki_alloc(size);
    if (!out->data)
        return bk_fail(-ENOMEM, "no memory for TLS");
    for (size_t i = 0; names[i]; i++) {
        size_t len = strlen(names[i]);
        out->data[at++] = (unsigned char)len;
        memcpy(out->data + at, names[i], len);
        at += len;
    }
    out->len = size;
    return 0;
}

/* True when there is nothing to copy, or it could be copied. */
static bool copy_text(const char **to, const char *from)
{
    *to = from ? bki_strdup(from) : NULL;
    return *to || !from;
}

static bool copy_cert(bk_tls_cert *to, const bk_tls_cert *from)
{
    return copy_text(&to->cert_file, from->cert_file) && copy_text(&to->key_file, from->key_file) &&
           copy_text(&to->key_password, from->key_password);
}

static bool copy_more_certs(struct bki_tls_config *config, const bk_tls_cert *from)
{
    size_t n = 0;
    while (from[n].cert_file)
        n++;
    config->more_certs = bki_zalloc((n + 1) * sizeof *from);
    bool ok = config->more_certs != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = copy_cert(&config->more_certs[i], &from[i]);
    return ok;
}

static void free_cert(bk_tls_cert *cert)
{
    if (cert->key_password)
        explicit_bzero((char *)(uintptr_t)cert->key_password, strlen(cert->key_password));
    bki_free((void *)(uintptr_t)cert->cert_file);
    bki_free((void *)(uintptr_t)cert->key_file);
    bki_free((void *)(uintptr_t)cert->key_password);
    *cert = (bk_tls_cert){0};
}

static void free_config(struct bki_tls_config *config)
{
    for (bk_tls_cert *cert = config->more_certs; cert && cert->cert_file; cert++)
        free_cert(cert);
    free_cert(&config->cert);
    bki_free(config->more_certs);
    bki_free(config->ca_file);
    bki_free(config->ca_path);
    bki_free(config->alpn.data);
}

static int check_options(const bk_tls_opts *o, bool server)
{
    bool has_ca = o->ca_file || o->ca_path;
    if (server && !o->cert_file)
        return bk_fail(-EINVAL, "TLS: a server needs a certificate (cert_file)");
    if (!o->cert_file && (o->key_file || o->key_password))
        return bk_fail(-EINVAL, "TLS: a key without a certificate (cert_file)");
    if (server && o->verify == BK_TLS_INSECURE_NO_VERIFY)
        return bk_fail(-EINVAL, "TLS: a server that checks nobody just has no ca_file");
    if (server && o->verify != BK_TLS_VERIFY_DEFAULT && !has_ca)
        return bk_fail(-EINVAL, "TLS: no ca_file to check the clients' certificates with");
    if (!server && o->verify == BK_TLS_VERIFY_OPTIONAL)
        return bk_fail(-EINVAL, "TLS: servers always have a certificate, it cannot be optional");
    if (!server && o->more_certs)
        return bk_fail(-EINVAL, "TLS: a client has one certificate");
    return 0;
}

static enum bk_tls_version version_or(enum bk_tls_version version, enum bk_tls_version otherwise)
{
    return version ? version : otherwise;
}

static int copy_options(struct bki_tls_config *config, const bk_tls_opts *o, bool server)
{
    config->server = server;
    config->min_version = version_or(o->min_version, BK_TLS_1_2);
    config->max_version = version_or(o->max_version, BK_TLS_1_3);
    if (config->min_version < BK_TLS_1_2 || config->max_version > BK_TLS_1_3 ||
        config->min_version > config->max_version)
        return bk_fail(-EINVAL, "TLS: versions are 1.2 and 1.3");
    config->check_peer = server ? o->ca_file || o->ca_path : o->verify != BK_TLS_INSECURE_NO_VERIFY;
    config->require_peer = config->check_peer && o->verify != BK_TLS_VERIFY_OPTIONAL;
    config->no_resumption = o->no_resumption;
    config->handshake_timeout =
        o->handshake_timeout.ns ? o->handshake_timeout : bk_seconds(HANDSHAKE_SECONDS);
    config->shutdown_timeout =
        o->shutdown_timeout.ns ? o->shutdown_timeout : bk_seconds(SHUTDOWN_SECONDS);
    bk_tls_cert cert = {o->cert_file, o->key_file, o->key_password};
    if (!copy_cert(&config->cert, &cert) ||
        !copy_text((const char **)&config->ca_file, o->ca_file) ||
        !copy_text((const char **)&config->ca_path, o->ca_path) ||
        (o->more_certs && !copy_more_certs(config, o->more_certs)))
        return bk_fail(-ENOMEM, "no memory for TLS");
    return bki_tls_alpn_encode(&config->alpn, o->alpn);
}

/* ---- Objects ---- */

static int tls_new(bk_tls **out, const bk_tls_opts *opts, bool server)
{
    static const bk_tls_opts defaults;
    if (!opts)
        opts = &defaults;
    int r = check_options(opts, server);
    if (r < 0)
        return r;
    struct bk_tls *tls = bki_zalloc(sizeof *tls);
    if (!tls)
        return bk_fail(-ENOMEM, "no memory for TLS");
    atomic_init(&tls->refs, 1);
    pthread_mutex_init(&tls->mutex, NULL);
    r = copy_options(&tls->config, opts, server);
    if (r == 0)
        r = bki_tls_engine_new(&tls->engine, &tls->config);
    if (r < 0) {
        bk_tls_free(&tls);
        return r;
    }
    *out = tls;
    return 0;
}

int bk_tls_client_new(bk_tls **out, const bk_tls_opts *opts)
{
    return tls_new(out, opts, false);
}

int bk_tls_server_new(bk_tls **out, const bk_tls_opts *opts)
{
    return tls_new(out, opts, true);
}

bk_tls *bk_tls_default(void)
{
    static struct bk_tls tls = {
        .is_static = true,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .config = {.check_peer = true,
                   .require_peer = true,
                   .min_version = BK_TLS_1_2,
                   .max_version = BK_TLS_1_3,
                   .handshake_timeout = {HANDSHAKE_SECONDS * 1000000000LL},
                   .shutdown_timeout = {SHUTDOWN_SECONDS * 1000000000LL}},
    };
    return &tls;
}

struct bk_tls *bki_tls_ref(struct bk_tls *tls)
{
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void bk_tls_free(bk_tls **out)
{
    struct bk_tls *tls = *out;
    *out = NULL;
    if (!tls || tls->is_static ||
        atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < BKI_TLS_SESSIONS; i++) {
        if (tls->sessions[i].session)
            bki_tls_session_free(tls->sessions[i].session);
    }
    bki_tls_engine_free(tls->engine);
    free_config(&tls->config);
    pthread_mutex_destroy(&tls->mutex);
    bki_free(tls);
}

int bki_tls_engine_get(struct bk_tls *tls, struct bki_tls_engine **out)
{
    int r = 0;
    pthread_mutex_lock(&tls->mutex);
    if (!tls->engine)
        r = bki_tls_engine_new(&tls->engine, &tls->config);
    if (r == 0)
        *out = bki_tls_engine_ref(tls->engine);
    pthread_mutex_unlock(&tls->mutex);
    return r;
}

int bk_tls_reload(bk_tls *tls)
{
    struct bki_tls_engine *fresh = NULL;
    int r = bki_tls_engine_new(&fresh, &tls->config);
    if (r < 0)
        return r;
    pthread_mutex_lock(&tls->mutex);
    struct bki_tls_engine *old = tls->engine;
    tls->engine = fresh;
    /* Whoever is trusted no more may be who they are with. */
    for (size_t i = 0; i < BKI_TLS_SESSIONS; i++) {
        if (tls->sessions[i].session)
            bki_tls_session_free(tls->sessions[i].session);
        tls->sessions[i].session = NULL;
    }
    pthread_mutex_unlock(&tls->mutex);
    bki_tls_engine_free(old);
    return 0;
}

/* ---- Sessions ---- */

/* The place for one more session: a free one, or the oldest one's; the oldest of the same key's,
 * when that has its share. */
static struct bki_tls_session *place_for(struct bk_tls *tls, const unsigned char *key)
{
    struct bki_tls_session *oldest = NULL, *oldest_same = NULL;
    size_t n_same = 0;
    for (size_t i = 0; i < BKI_TLS_SESSIONS; i++) {
        struct bki_tls_session *s = &tls->sessions[i];
        if (s->session && memcmp(s->key, key, sizeof s->key) == 0) {
            n_same++;
            if (!oldest_same || s->age < oldest_same->age)
                oldest_same = s;
        }
        if (!oldest || !s->session || (oldest->session && s->age < oldest->age))
            oldest = s;
    }
    return n_same >= SESSIONS_EACH ? oldest_same : oldest;
}

void bki_tls_session_put(struct bk_tls *tls, const unsigned char key[BKI_SHA256_LEN],
                         struct ssl_session_st *session)
{
    pthread_mutex_lock(&tls->mutex);
    struct bki_tls_session *place = place_for(tls, key);
    struct ssl_session_st *old = place->session;
    memcpy(place->key, key, sizeof place->key);
    place->session = session;
    place->age = ++tls->n_sessions_ever;
    pthread_mutex_unlock(&tls->mutex);
    if (old)
        bki_tls_session_free(old);
}

struct ssl_session_st *bki_tls_session_take(struct bk_tls *tls,
                                            const unsigned char key[BKI_SHA256_LEN])
{
    struct bki_tls_session *newest = NULL;
    struct ssl_session_st *session = NULL;
    pthread_mutex_lock(&tls->mutex);
    for (size_t i = 0; i < BKI_TLS_SESSIONS; i++) {
        struct bki_tls_session *s = &tls->sessions[i];
        if (s->session && memcmp(s->key, key, sizeof s->key) == 0 &&
            (!newest || s->age > newest->age))
            newest = s;
    }
    if (newest && bki_tls_session_is_once(newest->session)) {
        session = newest->session;
        newest->session = NULL;
    } else if (newest) {
        session = bki_tls_session_ref(newest->session);
    }
    pthread_mutex_unlock(&tls->mutex);
    return session;
}
