/* SPDX-License-Identifier: MIT
 * Certificates that a client must not accept, and those it must, each from a server that shows
 * whatever it is told to (RFC 5280, RFC 9525). */
#include "tests/tls_peer_fixture.h"

/* What a certificate is like; 0 and NULL: as a good server's. */
struct kind {
    const char *subject;     /* common name */
    const char *alternative; /* subjectAltName; "" for none */
    const char *basic;       /* basicConstraints; default "critical,CA:FALSE", "" for none */
    const char *key_usage, *extended; /* keyUsage, extendedKeyUsage; "" for none */
    const char *constraints;          /* nameConstraints */
    int from_hour, to_hour;           /* from now; default -1 to 24 */
    int rsa_bits;                     /* default: an elliptic curve */
    const EVP_MD *(*digest)(void);    /* of the signature; default SHA-256 */
};

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

/* The one that the client trusts. */
static struct cert root(void)
{
    tls_file("ca");
    return (struct cert){tls_find("ca")->cert, tls_find("ca")->key};
}

static const char *or_default(const char *text, const char *otherwise)
{
    return !text ? otherwise : *text ? text : NULL;
}

/* issuer NULL: it signs itself. */
static struct cert issue(const struct cert *issuer, struct kind kind)
{
    struct cert made = {X509_new(),
                        kind.rsa_bits ? EVP_RSA_gen((unsigned)kind.rsa_bits) : EVP_EC_gen("P-256")};
    static long serial = 1000;
    if (!issuer)
        issuer = &made;
    X509 *x = made.x509;
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), (kind.from_hour ? kind.from_hour : -1) * 3600L);
    X509_gmtime_adj(X509_getm_notAfter(x), (kind.to_hour ? kind.to_hour : 24) * 3600L);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)or_default(kind.subject, "someone"), -1, -1,
                               0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer->x509));
    X509_set_pubkey(x, made.key);
    tls_extend(x, issuer->x509, NID_basic_constraints, or_default(kind.basic, "critical,CA:FALSE"));
    tls_extend(x, issuer->x509, NID_key_usage, or_default(kind.key_usage, "digitalSignature"));
    tls_extend(x, issuer->x509, NID_ext_key_usage, or_default(kind.extended, "serverAuth"));
    tls_extend(x, issuer->x509, NID_subject_alt_name,
               or_default(kind.alternative, "DNS:localhost"));
    tls_extend(x, issuer->x509, NID_name_constraints, kind.constraints);
    X509_sign(x, issuer->key, kind.digest ? kind.digest() : EVP_sha256());
    return made;
}

static struct kind authority(const char *subject)
{
    return (struct kind){.subject = subject,
                         .alternative = "",
                         .basic = "critical,CA:TRUE",
                         .key_usage = "keyCertSign",
                         .extended = ""};
}

static void drop(struct cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
}

/* A handshake for `name` with a server that shows leaf, then others (ended by one without x509) in
 * their order.  why: part of what is said. */
static void check_shown(const struct cert *leaf, const struct cert *others, const char *name,
                        int want, const char *why)
{
    struct peer p;
    CHECK_EQ(open_peer(&p, true, NULL, &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    SSL_CTX_set_mode(p.ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_use_certificate(p.ctx, leaf->x509);
    SSL_CTX_use_PrivateKey(p.ctx, leaf->key);
    for (; others && others->x509; others++)
        SSL_CTX_add1_chain_cert(p.ctx, others->x509);
    start_peer(&p, true);
    p.opts.server_name = name;
    int r = meet(&p, NULL);
    if (r != want || !strstr(p.error, why))
        fprintf(stderr, "for %s: %s\n", name, p.error);
    CHECK_EQ(r, want);
    CHECK(strstr(p.error, why));
    close_peer(&p);
}

static void check_kind(struct kind kind, const char *name, int want, const char *why)
{
    struct cert ca = root(), leaf = issue(&ca, kind);
    check_shown(&leaf, NULL, name, want, why);
    drop(&leaf);
}

/* ---- Whom a certificate is for ---- */

static void check_name(const char *alternative, const char *name, bool good)
{
    check_kind((struct kind){.subject = name, .alternative = alternative}, name,
               good ? 0 : -BK_ECERT, good ? "" : "host name mismatch: the certificate is for ");
}

LOOP_TEST(C150_a_star_is_the_whole_first_label_and_nothing_else)
{
    check_name("DNS:*.example.org", "a.example.org", true);
    check_name("DNS:*.example.org", "A.EXAMPLE.ORG", true);
    check_name("DNS:*.Example.ORG", "a.example.org.", true);
    check_name("DNS:*.example.org", "xn--bcher-kva.example.org", true);
    check_name("DNS:*.example.org", "example.org", false);
    check_name("DNS:*.example.org", "a.b.example.org", false);
    check_name("DNS:*.example.org", "a.example.com", false);
    check_name("DNS:*.example.org", "aexample.org", false);
    check_name("DNS:a*.example.org", "ab.example.org", false);
    check_name("DNS:*b.example.org", "ab.example.org", false);
    check_name("DNS:a*c.example.org", "abc.example.org", false);
    check_name("DNS:xn--*.example.org", "xn--bcher-kva.example.org", false);
    check_name("DNS:a.*.org", "a.example.org", false);
    check_name("DNS:*.*.org", "a.example.org", false);
    check_name("DNS:**.example.org", "a.example.org", false);
    check_name("DNS:*", "localhost", false);
    check_name("DNS:*.org", "example.org", false);
}

LOOP_TEST(C150_names_are_compared_whole)
{
    check_name("DNS:localhost", "localhost", true);
    check_name("DNS:other,DNS:localhost", "localhost", true);
    check_name("DNS:xn--bcher-kva.example", "XN--BCHER-KVA.example", true);
    check_name("DNS:example.org", "www.example.org", false);
    check_name("DNS:www.example.org", "example.org", false);
    check_name("DNS:.example.org", "www.example.org", false);
    check_name("DNS:localhost.evil", "localhost", false);
    check_name("URI:https://localhost,email:x@localhost", "localhost", false);
    check_name("email:localhost", "localhost", false);
    check_name("", "localhost", false);
}

LOOP_TEST(C150_addresses_are_compared_as_addresses)
{
    check_name("IP:127.0.0.1", "127.0.0.1", true);
    check_name("IP:192.0.2.1,IP:127.0.0.1", "127.0.0.1", true);
    check_name("IP:::1", "::1", true);
    check_name("IP:2001:db8::7", "2001:DB8:0:0:0:0:0:7", true);
    check_name("IP:fe80::1", "fe80::1%lo", true);
    check_name("IP:127.0.0.1", "127.0.0.2", false);
    check_name("IP:::1", "::2", false);
    check_name("IP:127.0.0.1", "::ffff:127.0.0.1", false);
    check_name("DNS:127.0.0.1", "127.0.0.1", false);
    check_name("DNS:*.0.0.1", "127.0.0.1", false);
    check_name("DNS:localhost", "127.0.0.1", false);
    check_name("IP:127.0.0.1", "localhost", false);
}

/* The zero octet ended the name for those who read it as a C string. */
LOOP_TEST(C150_a_name_with_a_NUL_is_none)
{
    struct cert ca = root(), leaf = issue(&ca, (struct kind){.alternative = ""});
    static const char name[] = "localhost\0.evil.example";
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, name, sizeof name - 1);
    GENERAL_NAME_set0_value(one, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, one);
    X509_add1_ext_i2d(leaf.x509, NID_subject_alt_name, names, 0, 0);
    X509_sign(leaf.x509, ca.key, EVP_sha256());
    GENERAL_NAMES_free(names);
    check_shown(&leaf, NULL, "localhost", -BK_ECERT, "the certificate is for DNS:localhost..evil");
    drop(&leaf);
}

/* ---- What is wrong with the certificate itself ---- */

static void check_time(struct kind kind, const char *fault, bool late)
{
    struct cert ca = root(), leaf = issue(&ca, kind);
    char when[32], why[100];
    struct tm tm;
    ASN1_TIME_to_tm(late ? X509_get0_notAfter(leaf.x509) : X509_get0_notBefore(leaf.x509), &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%SZ", &tm);
    snprintf(why, sizeof why, "%s %s", fault, when);
    check_shown(&leaf, NULL, "localhost", -BK_ECERT, why);
    drop(&leaf);
}

LOOP_TEST(C150_a_certificate_has_its_time)
{
    check_time((struct kind){.from_hour = -72, .to_hour = -48}, "certificate has expired on", true);
    check_time((struct kind){.from_hour = 48, .to_hour = 72},
               "certificate is not yet valid, but from", false);
}

LOOP_TEST(C150_a_certificate_is_for_servers)
{
    check_kind((struct kind){.extended = ""}, "localhost", 0, "");
    check_kind((struct kind){.extended = "clientAuth,serverAuth"}, "localhost", 0, "");
    check_kind((struct kind){.extended = "clientAuth"}, "localhost", -BK_ECERT,
               "unsuitable certificate purpose (it is not for servers)");
    check_kind((struct kind){.extended = "codeSigning,emailProtection"}, "localhost", -BK_ECERT,
               "unsuitable certificate purpose (it is not for servers)");
    check_kind((struct kind){.key_usage = "keyCertSign"}, "localhost", -BK_ECERT,
               "unsuitable certificate purpose");
}

LOOP_TEST(C150_weak_keys_and_signatures)
{
    check_kind((struct kind){.rsa_bits = 2048}, "localhost", 0, "");
    check_kind((struct kind){.rsa_bits = 1024}, "localhost", -BK_ECERT,
               "key too weak (RSA needs 2048 bits)");
    check_kind((struct kind){.digest = EVP_sha1}, "localhost", -BK_ECERT,
               "too weak (SHA-256 is good)");
    check_kind((struct kind){.digest = EVP_sha384}, "localhost", 0, "");
}

LOOP_TEST(C150_who_signs_for_oneself_is_not_trusted)
{
    struct cert leaf = issue(NULL, (struct kind){.subject = "localhost"});
    check_shown(&leaf, NULL, "localhost", -BK_ECERT,
                "self-signed certificate (and not among those that are trusted)");
    drop(&leaf);
}

/* A signature that is not the issuer's. */
LOOP_TEST(C150_a_forged_certificate)
{
    struct cert ca = root(), forger = {ca.x509, EVP_EC_gen("P-256")};
    struct cert leaf = issue(&forger, (struct kind){0});
    check_shown(&leaf, NULL, "localhost", -BK_ECERT, "certificate signature failure");
    drop(&leaf);
    EVP_PKEY_free(forger.key);
}

/* ---- Chains ---- */

struct chain {
    struct cert ca, upper, lower, leaf;
};

static struct chain make_chain(struct kind upper, struct kind lower)
{
    struct chain c = {.ca = root()};
    c.upper = issue(&c.ca, upper);
    c.lower = issue(&c.upper, lower);
    c.leaf = issue(&c.lower, (struct kind){0});
    return c;
}

static void drop_chain(struct chain *c)
{
    drop(&c->leaf);
    drop(&c->lower);
    drop(&c->upper);
}

LOOP_TEST(C150_a_chain_may_come_in_any_order_but_whole)
{
    struct chain c = make_chain(authority("Upper CA"), authority("Lower CA"));
    struct cert stranger = issue(NULL, authority("Stranger CA"));
    check_shown(&c.leaf, (struct cert[]){c.lower, c.upper, {0}}, "localhost", 0, "");
    check_shown(&c.leaf, (struct cert[]){c.upper, c.lower, {0}}, "localhost", 0, "");
    check_shown(&c.leaf, (struct cert[]){c.lower, c.upper, c.ca, {0}}, "localhost", 0, "");
    check_shown(&c.leaf, (struct cert[]){stranger, c.leaf, c.upper, c.lower, c.upper, {0}},
                "localhost", 0, "");
    check_shown(&c.leaf, NULL, "localhost", -BK_ECERT,
                "unable to get local issuer certificate (CN=Lower CA is not trusted here, or the "
                "peer leaves out who vouches for it)");
    check_shown(&c.leaf, (struct cert[]){c.lower, {0}}, "localhost", -BK_ECERT, "CN=Upper CA");
    check_shown(&c.leaf, (struct cert[]){c.upper, {0}}, "localhost", -BK_ECERT, "CN=Lower CA");
    drop(&stranger);
    drop_chain(&c);
}

static void check_chain(struct kind upper, struct kind lower, int want, const char *why)
{
    struct chain c = make_chain(upper, lower);
    check_shown(&c.leaf, (struct cert[]){c.lower, c.upper, {0}}, "localhost", want, why);
    drop_chain(&c);
}

LOOP_TEST(C150_only_authorities_vouch_for_others)
{
    struct kind good = authority("Upper CA"), lower = authority("Lower CA"), bad = lower;
    bad.basic = "critical,CA:FALSE";
    check_chain(good, bad, -BK_ECERT, "invalid CA certificate (of the issuer CN=Lower CA)");
    bad.basic = "";
    check_chain(good, bad, -BK_ECERT, "invalid CA certificate (of the issuer CN=Lower CA)");
    bad = lower;
    bad.key_usage = "digitalSignature";
    check_chain(good, bad, -BK_ECERT, "(of the issuer CN=Lower CA)");
    bad = good;
    bad.basic = "critical,CA:TRUE,pathlen:0";
    check_chain(bad, lower, -BK_ECERT, "path length constraint exceeded");
    bad = lower;
    bad.from_hour = -72;
    bad.to_hour = -48;
    check_chain(good, bad, -BK_ECERT, "certificate has expired on ");
    bad = lower;
    bad.extended = "clientAuth";
    check_chain(good, bad, -BK_ECERT, "unsuitable certificate purpose");
    bad = lower;
    bad.rsa_bits = 1024;
    check_chain(good, bad, -BK_ECERT, "key too weak (RSA needs 2048 bits) (of the issuer");
    bad = lower;
    bad.digest = EVP_sha1;
    check_chain(good, bad, -BK_ECERT, "too weak (SHA-256 is good)");
}

LOOP_TEST(C150_an_authority_may_be_for_some_names_only)
{
    struct kind upper = authority("Upper CA"), lower = authority("Lower CA");
    lower.constraints = "critical,permitted;DNS:localhost";
    check_chain(upper, lower, 0, "");
    lower.constraints = "critical,permitted;DNS:example.org";
    check_chain(upper, lower, -BK_ECERT, "permitted subtree violation");
    lower.constraints = "critical,excluded;DNS:localhost";
    check_chain(upper, lower, -BK_ECERT, "excluded subtree violation");
    lower.constraints = "critical,excluded;DNS:example.org";
    check_chain(upper, lower, 0, "");
    lower.constraints = NULL;
    upper.constraints = "critical,permitted;DNS:example.org";
    check_chain(upper, lower, -BK_ECERT, "permitted subtree violation");
}

CHECK_MAIN(TEST(C150_a_star_is_the_whole_first_label_and_nothing_else),
           TEST(C150_names_are_compared_whole), TEST(C150_addresses_are_compared_as_addresses),
           TEST(C150_a_name_with_a_NUL_is_none), TEST(C150_a_certificate_has_its_time),
           TEST(C150_a_certificate_is_for_servers), TEST(C150_weak_keys_and_signatures),
           TEST(C150_who_signs_for_oneself_is_not_trusted), TEST(C150_a_forged_certificate),
           TEST(C150_a_chain_may_come_in_any_order_but_whole),
           TEST(C150_only_authorities_vouch_for_others),
           TEST(C150_an_authority_may_be_for_some_names_only))
