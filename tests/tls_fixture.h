/* SPDX-License-Identifier: MIT
 * Certificates for tests, made when a test program asks for the first one, in a temporary folder
 * that goes when it ends.
 *
 *     bk_tls_server_new(&tls, &(bk_tls_opts){.cert_file = tls_file("server")});
 *
 * Each file holds a certificate (then its issuer's, unless that is a root) and its key. */
#ifndef BECK_TESTS_TLS_FIXTURE_H
#define BECK_TESTS_TLS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_made {
    const char *name, *issuer; /* issuer: another name, itself for a root */
    const char *subject;       /* its common name */
    const char *alternative;   /* subjectAltName, NULL for none */
    const char *usage;         /* extendedKeyUsage, NULL for a CA */
    int from_day, to_day;      /* from today */
    int rsa_bits;              /* 0: an elliptic curve */
    X509 *cert;
    EVP_PKEY *key;
};

static struct tls_made tls_made[] = {
    {"ca", "ca", "Test CA", NULL, NULL, -1, 30, 0, NULL, NULL},
    {"other-ca", "other-ca", "Other CA", NULL, NULL, -1, 30, 0, NULL, NULL},
    {"old-ca", "ca", "Old CA", NULL, NULL, -30, -10, 0, NULL, NULL},
    {"server", "ca", "not looked at", "DNS:localhost,DNS:*.example.org,IP:127.0.0.1,IP:::1",
     "serverAuth", -1, 30, 0, NULL, NULL},
    {"second", "ca", "second", "DNS:second.example", "serverAuth", -1, 30, 0, NULL, NULL},
    {"rsa", "ca", "rsa", "DNS:localhost", "serverAuth", -1, 30, 2048, NULL, NULL},
    {"weak", "ca", "weak", "DNS:localhost", "serverAuth", -1, 30, 1024, NULL, NULL},
    {"expired", "ca", "expired", "DNS:localhost", "serverAuth", -20, -2, 0, NULL, NULL},
    {"future", "ca", "future", "DNS:localhost", "serverAuth", 5, 30, 0, NULL, NULL},
    {"wrong", "ca", "localhost", "DNS:a.example,IP:192.0.2.1", "serverAuth", -1, 30, 0, NULL, NULL},
    {"cn-only", "ca", "localhost", NULL, "serverAuth", -1, 30, 0, NULL, NULL},
    {"self", "self", "localhost", "DNS:localhost", "serverAuth", -1, 30, 0, NULL, NULL},
    {"untrusted", "other-ca", "localhost", "DNS:localhost", "serverAuth", -1, 30, 0, NULL, NULL},
    {"of-old-ca", "old-ca", "localhost", "DNS:localhost", "serverAuth", -1, 30, 0, NULL, NULL},
    {"client", "ca", "joe", "email:joe@example.org", "clientAuth", -1, 30, 0, NULL, NULL},
    {"stranger", "other-ca", "mallory", NULL, "clientAuth", -1, 30, 0, NULL, NULL},
};

static char tls_folder[] = "/tmp/beck-tls-XXXXXX";

static inline const char *tls_path(const char *name)
{
    static char paths[8][64];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof *paths, "%s/%s.pem", tls_folder, name);
    return path;
}

static inline struct tls_made *tls_find(const char *name)
{
    for (size_t i = 0; i < sizeof tls_made / sizeof *tls_made; i++) {
        if (strcmp(tls_made[i].name, name) == 0)
            return &tls_made[i];
    }
    fprintf(stderr, "no certificate '%s'\n", name);
    abort();
}

static inline void tls_remove_all(void)
{
    for (size_t i = 0; i < sizeof tls_made / sizeof *tls_made; i++) {
        unlink(tls_path(tls_made[i].name));
        X509_free(tls_made[i].cert);
        EVP_PKEY_free(tls_made[i].key);
    }
    rmdir(tls_folder);
}

static inline void tls_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = value ? X509V3_EXT_conf_nid(NULL, &ctx, nid, value) : NULL;
    if (extension)
        X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline void tls_make(struct tls_made *m)
{
    static long serial = 1;
    struct tls_made *issuer = tls_find(m->issuer);
    X509 *cert = m->cert = X509_new();
    m->key = m->rsa_bits ? EVP_RSA_gen((unsigned)m->rsa_bits) : EVP_EC_gen("P-256");
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), m->from_day * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(cert), m->to_day * 86400L);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)m->subject, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer->cert));
    X509_set_pubkey(cert, m->key);
    tls_extend(cert, issuer->cert, NID_basic_constraints,
               m->usage ? "critical,CA:FALSE" : "critical,CA:TRUE");
    tls_extend(cert, issuer->cert, NID_key_usage, m->usage ? "digitalSignature" : "keyCertSign");
    tls_extend(cert, issuer->cert, NID_ext_key_usage, m->usage);
    tls_extend(cert, issuer->cert, NID_subject_alt_name, m->alternative);
    X509_sign(cert, issuer->key, EVP_sha256());
    FILE *file = fopen(tls_path(m->name), "w");
    PEM_write_X509(file, cert);
    if (issuer != m && strcmp(issuer->issuer, issuer->name) != 0)
        PEM_write_X509(file, issuer->cert);
    PEM_write_PrivateKey(file, m->key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

/* The file of that name.  Of the last eight asked for the path is valid. */
static inline const char *tls_file(const char *name)
{
    static int made;
    if (!made) {
        made = 1;
        if (!mkdtemp(tls_folder))
            abort();
        atexit(tls_remove_all);
        for (size_t i = 0; i < sizeof tls_made / sizeof *tls_made; i++)
            tls_make(&tls_made[i]);
    }
    return tls_path(tls_find(name)->name);
}

#endif
