/* SPDX-License-Identifier: MIT
 * TLS handshakes between two streams of one loop: who is trusted, and what is agreed on. */
#include <pthread.h>

#include "net/stream.h"
#include "net/tls_fixture.h"

#define CLIENT                                                                                     \
    &(bk_tls_opts)                                                                                 \
    {                                                                                              \
        .ca_file = tls_file("ca")                                                                  \
    }
#define SERVER                                                                                     \
    &(bk_tls_opts)                                                                                 \
    {                                                                                              \
        .cert_file = tls_file("server")                                                            \
    }

LOOP_TEST(C150_ST6_start_tls_makes_a_plain_stream_a_protected_one)
{
    struct pair p;
    bk_tls_info info;
    CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
    CHECK_EQ(bk_stream_tls_info(p.client, &info), -EINVAL);
    CHECK_EQ(pass(p.client, p.server, "in plain"), 0);
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(pass(p.client, p.server, "hello"), 0);
    CHECK_EQ(pass(p.server, p.client, "you too"), 0);
    CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
    CHECK_STR(info.version, "TLSv1.3");
    CHECK_STR(info.cipher, "TLS_AES_256_GCM_SHA384");
    CHECK_STR(info.alpn, "");
    CHECK_STR(info.server_name, "localhost");
    CHECK_STR(info.peer_subject, "CN=not looked at");
    CHECK_STR(info.peer_issuer, "CN=Test CA");
    CHECK_STR(info.peer_names,
              "DNS:localhost, DNS:*.example.org, IP:127.0.0.1, IP:0:0:0:0:0:0:0:1");
    CHECK_EQ(strlen(info.peer_sha256), 64);
    CHECK(info.peer_verified && !info.resumed);
    CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
    CHECK_STR(info.server_name, "localhost");
    CHECK_STR(info.peer_subject, "");
    CHECK_STR(info.peer_sha256, "");
    CHECK(!info.peer_verified);
    close_pair(&p);
}

/* ---- Whom a client trusts ---- */

static void check_trust(const char *cert, const char *name, int want, const char *why)
{
    struct pair p;
    CHECK_EQ(open_pair(&p, CLIENT, &(bk_tls_opts){.cert_file = tls_file(cert)}), 0);
    p.name = name;
    shake(&p);
    if (p.client_result != want || !strstr(p.client_error, why))
        fprintf(stderr, "%s for %s: %s\n", cert, name, p.client_error);
    CHECK_EQ(p.client_result, want);
    CHECK(strstr(p.client_error, why));
    if (want < 0) {
        CHECK_EQ(p.server_result == 0 || p.server_result == -BK_EREFUSED, 1);
        char buf[4];
        CHECK_EQ(bk_stream_read(p.client, buf, sizeof buf), want);
        CHECK(strstr(bk_errmsg(), why));
        CHECK_EQ(bk_stream_write(p.client, "x", 1), want);
        CHECK_EQ(bk_stream_read(p.server, buf, sizeof buf), -BK_EREFUSED);
    }
    close_pair(&p);
}

LOOP_TEST(C150_the_certificate_must_be_for_the_host)
{
    check_trust("server", "localhost", 0, "");
    check_trust("server", "LocalHost", 0, "");
    check_trust("server", "localhost.", 0, "");
    check_trust("server", "127.0.0.1", 0, "");
    check_trust("server", "::1", 0, "");
    check_trust("server", "a.example.org", 0, "");
    check_trust("server", "a.b.example.org", -BK_ECERT, "host name mismatch");
    check_trust("server", "example.org", -BK_ECERT, "host name mismatch");
    check_trust("server", "127.0.0.2", -BK_ECERT, "host name mismatch");
    check_trust("wrong", "localhost", -BK_ECERT,
                "TLS with localhost: host name mismatch: the certificate is for DNS:a.example, "
                "IP:192.0.2.1");
}

LOOP_TEST(C150_a_common_name_is_never_looked_at)
{
    check_trust("cn-only", "localhost", -BK_ECERT,
                "host name mismatch: the certificate is for no host");
}

LOOP_TEST(C150_the_certificate_must_be_valid_and_of_somebody_trusted)
{
    check_trust("expired", "localhost", -BK_ECERT, "TLS with localhost: certificate has expired");
    check_trust("future", "localhost", -BK_ECERT, "certificate is not yet valid");
    check_trust("self", "localhost", -BK_ECERT, "self-signed certificate");
    check_trust("untrusted", "localhost", -BK_ECERT, "unable to get local issuer certificate");
    check_trust("of-old-ca", "localhost", -BK_ECERT, "(of the issuer CN=Old CA)");
    check_trust("client", "localhost", -BK_ECERT, "unsuitable certificate purpose");
    check_trust("rsa", "localhost", 0, "");
}

LOOP_TEST(what_is_trusted_may_be_the_certificate_itself)
{
    struct pair p;
    CHECK_EQ(open_pair(&p, &(bk_tls_opts){.ca_file = tls_file("self")},
                       &(bk_tls_opts){.cert_file = tls_file("self")}),
             0);
    CHECK_EQ(shake(&p), 0);
    close_pair(&p);
}

LOOP_TEST(the_default_trusts_whom_the_system_trusts)
{
    struct pair p;
    CHECK_EQ(open_pair(&p, NULL, SERVER), 0);
    shake(&p);
    CHECK_EQ(p.client_result, -BK_ECERT);
    close_streams(&p);
    CHECK_EQ(open_streams(&p, NULL), 0);
    bk_tls_free(&p.client_tls);
    setenv("SSL_CERT_FILE", tls_file("ca"), 1); /* looked at when it is first used */
    p.client_tls = bk_tls_default();
    CHECK_EQ(shake(&p), 0);
    unsetenv("SSL_CERT_FILE");
    close_pair(&p);
}

LOOP_TEST(no_checks_only_when_that_is_spelled_out)
{
    static const char *const certs[] = {"wrong", "expired", "self", "untrusted", "cn-only"};
    for (size_t i = 0; i < sizeof certs / sizeof *certs; i++) {
        struct pair p;
        bk_tls_info info;
        CHECK_EQ(open_pair(&p, &(bk_tls_opts){.verify = BK_TLS_INSECURE_NO_VERIFY},
                           &(bk_tls_opts){.cert_file = tls_file(certs[i])}),
                 0);
        p.name = i == 0 ? NULL : "localhost";
        CHECK_EQ(shake(&p), 0);
        CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
        CHECK(!info.peer_verified && info.peer_subject[0]);
        close_pair(&p);
    }
}

LOOP_TEST(a_name_is_needed_and_must_be_one)
{
    static const char *const names[] = {"",
                                        ".example.org",
                                        "a..b",
                                        "exa mple.org",
                                        "b\xc3\xbc"
                                        "cher.example",
                                        "*.example.org",
                                        "a/b",
                                        "."};
    struct pair p;
    CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
    CHECK_EQ(bk_stream_start_tls(p.client, p.client_tls, NULL), -EINVAL);
    CHECK_STR(bk_errmsg(), "TLS: no server_name to check the certificate against");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_EQ(bk_stream_start_tls(p.client, p.client_tls,
                                     &(bk_start_tls_opts){.server_name = names[i]}),
                 -EINVAL);
    CHECK_EQ(pass(p.client, p.server, "still plain"), 0);
    CHECK_EQ(shake(&p), 0);
    close_pair(&p);
}

/* ---- Clients with certificates ---- */

static void check_client(const char *client_cert, enum bk_tls_verify verify,
                         enum bk_tls_version version, int want, const char *subject)
{
    struct pair p;
    bk_tls_info info;
    char byte;
    bk_tls_opts client = {.ca_file = tls_file("ca"), .max_version = version};
    bk_tls_opts server = {.cert_file = tls_file("server"), .ca_file = client.ca_file};
    client.cert_file = client_cert ? tls_file(client_cert) : NULL;
    server.verify = verify;
    CHECK_EQ(open_pair(&p, &client, &server), 0);
    shake(&p);
    CHECK_EQ(p.server_result, want);
    if (want == 0) {
        CHECK_EQ(p.client_result, 0);
        CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
        CHECK_STR(info.peer_subject, subject);
        CHECK_EQ(info.peer_verified, client_cert != NULL);
    } else {
        CHECK(strstr(p.server_error, subject));
        int r = p.client_result < 0 ? p.client_result : (int)bk_stream_read(p.client, &byte, 1);
        CHECK_EQ(r, -BK_EREFUSED);
        CHECK(strstr(bk_errmsg(), "the peer ended it: ") || p.client_result < 0);
        if (!client_cert && version == BK_TLS_1_3)
            CHECK(strstr(bk_errmsg(), "the peer ended it: certificate required"));
    }
    close_pair(&p);
}

LOOP_TEST(C150_clients_may_need_a_certificate)
{
    for (enum bk_tls_version v = BK_TLS_1_2; v <= BK_TLS_1_3; v++) {
        check_client("client", BK_TLS_VERIFY_DEFAULT, v, 0, "CN=joe");
        check_client("client", BK_TLS_VERIFY_REQUIRED, v, 0, "CN=joe");
        check_client(NULL, BK_TLS_VERIFY_DEFAULT, v, -BK_ECERT, "the client shows no certificate");
        check_client("stranger", BK_TLS_VERIFY_REQUIRED, v, -BK_ECERT,
                     "unable to get local issuer certificate");
        check_client("server", BK_TLS_VERIFY_REQUIRED, v, -BK_ECERT, "unsuitable");
    }
}

LOOP_TEST(or_may_bring_one)
{
    for (enum bk_tls_version v = BK_TLS_1_2; v <= BK_TLS_1_3; v++) {
        check_client("client", BK_TLS_VERIFY_OPTIONAL, v, 0, "CN=joe");
        check_client(NULL, BK_TLS_VERIFY_OPTIONAL, v, 0, "");
        check_client("stranger", BK_TLS_VERIFY_OPTIONAL, v, -BK_ECERT, "unable to get");
    }
}

/* ---- What is agreed on ---- */

static void check_versions(bk_tls_opts client, bk_tls_opts server, const char *want)
{
    struct pair p;
    bk_tls_info info;
    client.ca_file = tls_file("ca");
    server.cert_file = tls_file("server");
    CHECK_EQ(open_pair(&p, &client, &server), 0);
    int r = shake(&p);
    if (want) {
        CHECK_EQ(r, 0);
        CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
        CHECK_STR(info.version, want);
    } else {
        CHECK_EQ(p.server_result, -BK_EPROTO);
        CHECK(strstr(p.server_error, "none is allowed here"));
        CHECK_EQ(p.client_result, -BK_EREFUSED);
        CHECK(strstr(p.client_error, "the peer ended it: protocol version"));
    }
    close_pair(&p);
}

LOOP_TEST(versions_are_those_both_have)
{
    bk_tls_opts only_12 = {.max_version = BK_TLS_1_2}, only_13 = {.min_version = BK_TLS_1_3},
                any = {0};
    check_versions(any, any, "TLSv1.3");
    check_versions(only_12, any, "TLSv1.2");
    check_versions(any, only_12, "TLSv1.2");
    check_versions(only_13, any, "TLSv1.3");
    check_versions(only_12, only_13, NULL);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void check_alpn(const char *const *client, const char *const *server, const char *want)
{
    struct pair p;
    bk_tls_info info;
    CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
    p.client_alpn = client;
    p.server_alpn = server;
    int r = shake(&p);
    if (want) {
        CHECK_EQ(r, 0);
        CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
        CHECK_STR(info.alpn, want);
        CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
        CHECK_STR(info.alpn, want);
    } else {
        CHECK_EQ(p.client_result, -BK_EREFUSED);
        CHECK(strstr(p.client_error, "no application protocol"));
        CHECK_EQ(p.server_result, -BK_EPROTO);
    }
    close_pair(&p);
}

LOOP_TEST(protocols_are_agreed_on)
{
    check_alpn(LIST("h2", "http/1.1"), LIST("http/1.1"), "http/1.1");
    check_alpn(LIST("a", "b"), LIST("x", "b", "a"), "b");
    check_alpn(LIST("h2"), NULL, "");
    check_alpn(NULL, LIST("h2"), "");
    check_alpn(LIST("h2"), LIST("http/1.1"), NULL);
}

LOOP_TEST(protocols_may_come_with_the_context)
{
    struct pair p;
    bk_tls_info info;
    char long_name[257];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[256] = '\0';
    bk_tls_opts client = {.ca_file = tls_file("ca"), .alpn = LIST("one", "two")};
    bk_tls_opts server = {.cert_file = tls_file("server"), .alpn = LIST("two", "one")};
    CHECK_EQ(open_pair(&p, &client, &server), 0);
    p.client_alpn = LIST(long_name);
    shake_client(&p);
    CHECK_EQ(p.client_result, -EINVAL);
    p.client_alpn = LIST("");
    shake_client(&p);
    CHECK_EQ(p.client_result, -EINVAL);
    p.client_alpn = NULL;
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
    CHECK_STR(info.alpn, "two");
    close_pair(&p);
}

LOOP_TEST(a_server_shows_the_certificate_that_is_asked_for)
{
    struct pair p;
    bk_tls_info info;
    bk_tls_cert more[] = {{.cert_file = tls_file("rsa")}, {.cert_file = tls_file("second")}, {0}};
    bk_tls_opts server = {.cert_file = tls_file("server"), .more_certs = more};
    CHECK_EQ(open_pair(&p, CLIENT, &server), 0);
    p.name = "second.example";
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
    CHECK_STR(info.peer_subject, "CN=second");
    CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
    CHECK_STR(info.server_name, "second.example");
    close_streams(&p);
    CHECK_EQ(open_streams(&p, NULL), 0);
    p.name = "x.example.org";
    CHECK_EQ(shake(&p), 0);
    CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
    CHECK_STR(info.peer_subject, "CN=not looked at");
    close_pair(&p);
}

/* RFC 6066 3: addresses are not sent, nor is the root's dot. */
LOOP_TEST(servers_are_told_names_only)
{
    static const char *const asked[] = {"localhost.", "127.0.0.1", "::1"};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct pair p;
        bk_tls_info info;
        CHECK_EQ(open_pair(&p, CLIENT, SERVER), 0);
        p.name = asked[i];
        CHECK_EQ(shake(&p), 0);
        CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
        CHECK_STR(info.server_name, i == 0 ? "localhost" : "");
        close_pair(&p);
    }
}

/* ---- Files read again ---- */

static void copy_file(const char *from, const char *to)
{
    char buf[8192];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n = read(in, buf, sizeof buf);
    if (n < 0 || write(out, buf, (size_t)n) != n)
        perror(to);
    close(in);
    close(out);
}

LOOP_TEST(a_reload_is_for_new_connections)
{
    struct pair p;
    bk_tls_info info;
    bool resumed;
    char path[200];
    snprintf(path, sizeof path, "%s.changing", tls_file("server"));
    copy_file(tls_file("server"), path);
    CHECK_EQ(open_pair(&p, CLIENT, &(bk_tls_opts){.cert_file = path}), 0);
    CHECK_EQ(connect_again(&p, &resumed), 0);
    copy_file(tls_file("rsa"), path);
    CHECK_EQ(bk_tls_reload(p.server_tls), 0);
    CHECK_EQ(pass(p.client, p.server, "it goes on"), 0);
    CHECK_EQ(connect_again(&p, &resumed), 0);
    CHECK(!resumed);
    CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
    CHECK_STR(info.peer_subject, "CN=rsa");
    CHECK_EQ(connect_again(&p, &resumed), 0);
    CHECK(resumed);
    CHECK_EQ(bk_tls_reload(p.client_tls), 0);
    CHECK_EQ(connect_again(&p, &resumed), 0);
    CHECK(!resumed);
    unlink(path);
    CHECK_EQ(bk_tls_reload(p.server_tls), -ENOENT);
    CHECK_EQ(connect_again(&p, &resumed), 0);
    close_pair(&p);
}

/* ---- Stacks ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PAINT 0
#else
#define PAINT 1
#endif

/* Runs fn with the rest of the task's stack painted; returns how much of it, from here on, was
 * used. */
static __attribute__((noinline)) size_t stack_used(bk_fn *fn, void *ctx)
{
    volatile char *here = __builtin_frame_address(0);
    volatile char *low = bki_stack_low(bki_self()->stack), *top = here - 512;
    for (volatile char *at = low; PAINT && at < top; at++)
        *at = 0x5a;
    fn(ctx);
    volatile char *at = low;
    while (PAINT && at < top && *at == 0x5a)
        at++;
    return PAINT ? (size_t)(here - at) : 0;
}

struct measured {
    struct pair *p;
    size_t used;
};

static int measure_client(void *ctx)
{
    struct measured *m = ctx;
    m->used = stack_used(shake_client, m->p);
    return 0;
}

static int measure_server(void *ctx)
{
    struct measured *m = ctx;
    m->used = stack_used(shake_server, m->p);
    return 0;
}

/* Of the 64 KiB that a task has by default, the caller has at least half. */
LOOP_TEST(a_handshake_needs_little_stack)
{
    static const char *const certs[] = {"server", "rsa", "of-old-ca"};
    for (size_t i = 0; i < 2 * sizeof certs / sizeof *certs; i++) {
        struct pair p;
        struct measured client = {.p = &p}, server = {.p = &p};
        bk_tls_opts ours = {.ca_file = tls_file("ca"), .cert_file = tls_file("client")};
        bk_tls_opts theirs = {.cert_file = tls_file(certs[i / 2]),
                              .ca_file = tls_file("ca"),
                              .max_version = i % 2 ? BK_TLS_1_2 : BK_TLS_1_3};
        CHECK_EQ(open_pair(&p, &ours, &theirs), 0);
        bk_call both[] = {{.fn = measure_client, .ctx = &client},
                          {.fn = measure_server, .ctx = &server}};
        CHECK_EQ(bk_gather(both, 2, NULL), 0);
        if (getenv("VERBOSE"))
            printf("%s %s: client %zu, server %zu\n", certs[i / 2], i % 2 ? "1.2" : "1.3",
                   client.used, server.used);
        CHECK(client.used < 32 * 1024 && server.used < 32 * 1024);
        close_pair(&p);
    }
}

/* ---- A folder of certificates ---- */

LOOP_TEST(whom_to_trust_may_be_in_a_folder)
{
    struct pair p;
    char folder[] = "/tmp/beck-tls-folder-XXXXXX", path[100];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/%08lx.0", folder, X509_subject_name_hash(tls_find("ca")->cert));
    bk_tls_opts both[2] = {{.ca_path = folder, .cert_file = tls_file("client")},
                           {.ca_path = folder, .cert_file = tls_file("server")}};
    CHECK_EQ(open_pair(&p, &both[0], &both[1]), 0);
    shake(&p);
    CHECK_EQ(p.client_result, -BK_ECERT); /* nobody is in it yet */
    close_streams(&p);
    copy_file(tls_file("ca"), path);
    CHECK_EQ(open_streams(&p, NULL), 0);
    CHECK_EQ(shake(&p), 0);
    close_pair(&p);
    unlink(path);
    rmdir(folder);
}

/* ---- Several threads ---- */

static struct pair shared;

static int shake_often(void *ctx)
{
    struct pair p = {
        .name = "localhost", .client_tls = shared.client_tls, .server_tls = shared.server_tls};
    int r = 0;
    (void)ctx;
    for (int i = 0; r == 0 && i < 20; i++) {
        r = open_streams(&p, NULL);
        if (r == 0)
            r = shake(&p);
        if (r == 0)
            r = pass(p.server, p.client, "hello");
        close_streams(&p);
    }
    return r;
}

static void *run_loop(void *arg)
{
    *(int *)arg = bk_run(shake_often, NULL, NULL);
    return NULL;
}

static void loops_in_several_threads_share_a_context(void)
{
    pthread_t threads[3];
    int results[3] = {-1, -1, -1};
    shared = (struct pair){0};
    CHECK_EQ(bk_tls_client_new(&shared.client_tls, CLIENT), 0);
    CHECK_EQ(bk_tls_server_new(&shared.server_tls, SERVER), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_loop, &results[i]), 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(bk_tls_reload(shared.server_tls), 0);
        CHECK_EQ(bk_tls_reload(shared.client_tls), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(results[i], 0);
    }
    bk_tls_free(&shared.client_tls);
    bk_tls_free(&shared.server_tls);
}

/* ---- Options and files ---- */

static void check_refused(bool server, bk_tls_opts opts, int want, const char *why)
{
    bk_tls *tls = NULL;
    int r = server ? bk_tls_server_new(&tls, &opts) : bk_tls_client_new(&tls, &opts);
    CHECK_EQ(r, want);
    CHECK(tls == NULL);
    if (!strstr(bk_errmsg(), why))
        CHECK_STR(bk_errmsg(), why);
}

static void options_that_contradict_each_other(void)
{
    const char *cert = tls_file("server"), *ca = tls_file("ca");
    check_refused(true, (bk_tls_opts){0}, -EINVAL, "a server needs a certificate");
    check_refused(false, (bk_tls_opts){.key_file = cert}, -EINVAL, "a key without a certificate");
    check_refused(true, (bk_tls_opts){.cert_file = cert, .verify = BK_TLS_INSECURE_NO_VERIFY},
                  -EINVAL, "checks nobody");
    check_refused(true, (bk_tls_opts){.cert_file = cert, .verify = BK_TLS_VERIFY_REQUIRED}, -EINVAL,
                  "no ca_file");
    check_refused(false, (bk_tls_opts){.ca_file = ca, .verify = BK_TLS_VERIFY_OPTIONAL}, -EINVAL,
                  "cannot be optional");
    check_refused(false, (bk_tls_opts){.max_version = 0x0302}, -EINVAL, "1.2 and 1.3");
    check_refused(false, (bk_tls_opts){.min_version = 0x0301}, -EINVAL, "1.2 and 1.3");
    check_refused(false, (bk_tls_opts){.min_version = BK_TLS_1_3, .max_version = BK_TLS_1_2},
                  -EINVAL, "1.2 and 1.3");
    check_refused(false, (bk_tls_opts){.alpn = LIST("")}, -EINVAL, "1 to 255 bytes");
}

static void files_that_cannot_be_used(void)
{
    const char *cert = tls_file("server");
    check_refused(true, (bk_tls_opts){.cert_file = "/nowhere/c.pem"}, -ENOENT,
                  "/nowhere/c.pem: No such file or directory");
    check_refused(true, (bk_tls_opts){.cert_file = cert, .key_file = "/nowhere/k.pem"}, -ENOENT,
                  "/nowhere/k.pem: No such file or directory");
    check_refused(true, (bk_tls_opts){.cert_file = "/etc/passwd"}, -BK_EFORMAT,
                  "/etc/passwd: no usable certificate in it");
    check_refused(true, (bk_tls_opts){.cert_file = cert, .key_file = "/etc/passwd"}, -BK_EFORMAT,
                  "/etc/passwd: no usable private key in it");
    check_refused(true, (bk_tls_opts){.cert_file = cert, .key_file = tls_file("second")},
                  -BK_EFORMAT, "second.pem: the key is not that of the certificate");
    check_refused(true, (bk_tls_opts){.cert_file = tls_file("weak")}, -BK_EFORMAT, "too small");
    check_refused(false, (bk_tls_opts){.ca_file = "/nowhere/ca.pem"}, -ENOENT, "/nowhere/ca.pem");
    check_refused(false, (bk_tls_opts){.ca_file = "/etc/passwd"}, -BK_EFORMAT, "/etc/passwd: no");
    check_refused(false, (bk_tls_opts){.ca_path = "/nowhere"}, -ENOENT, "/nowhere: No such");
}

static void a_key_s_password_is_needed_and_never_told(void)
{
    char path[200];
    bk_tls *tls = NULL;
    snprintf(path, sizeof path, "%s.encrypted", tls_file("server"));
    FILE *file = fopen(path, "w");
    PEM_write_PrivateKey(file, tls_find("server")->key, EVP_aes_256_cbc(),
                         (unsigned char *)"open sesame", 11, NULL, NULL);
    fclose(file);
    bk_tls_opts opts = {.cert_file = tls_file("server"), .key_file = path};
    check_refused(true, opts, -BK_EFORMAT, "the key is encrypted, and there is no password");
    opts.key_password = "open barley";
    check_refused(true, opts, -BK_EFORMAT, "this is not its password");
    CHECK(!strstr(bk_errmsg(), "barley"));
    opts.key_password = "open sesame";
    CHECK_EQ(bk_tls_server_new(&tls, &opts), 0);
    CHECK_EQ(bk_tls_reload(tls), 0);
    bk_tls_free(&tls);
    unlink(path);
}

CHECK_MAIN(TEST(C150_ST6_start_tls_makes_a_plain_stream_a_protected_one),
           TEST(C150_the_certificate_must_be_for_the_host),
           TEST(C150_a_common_name_is_never_looked_at),
           TEST(C150_the_certificate_must_be_valid_and_of_somebody_trusted),
           TEST(what_is_trusted_may_be_the_certificate_itself),
           TEST(the_default_trusts_whom_the_system_trusts),
           TEST(no_checks_only_when_that_is_spelled_out), TEST(a_name_is_needed_and_must_be_one),
           TEST(C150_clients_may_need_a_certificate), TEST(or_may_bring_one),
           TEST(versions_are_those_both_have), TEST(protocols_are_agreed_on),
           TEST(protocols_may_come_with_the_context),
           TEST(a_server_shows_the_certificate_that_is_asked_for),
           TEST(servers_are_told_names_only), TEST(a_reload_is_for_new_connections),
           TEST(a_handshake_needs_little_stack), TEST(whom_to_trust_may_be_in_a_folder),
           TEST(loops_in_several_threads_share_a_context), TEST(options_that_contradict_each_other),
           TEST(files_that_cannot_be_used), TEST(a_key_s_password_is_needed_and_never_told))
