/* SPDX-License-Identifier: MIT
 * TLS against OpenSSL used directly, which can do what beck never does: update keys, send records
 * of single octets, talk on after its goodbye, renegotiate, offer what is old and weak. */
#include "tests/tls_peer_fixture.h"

/* ---- Keys that change, records of single octets ---- */

#define BIG ((size_t)3 * 1024 * 1024)
#define SMALL 3000

struct traffic {
    struct peer *p;
    char *sent, *got, small[SMALL];
    int key_update; /* kind, or -1 */
};

static int beck_writes(void *ctx)
{
    struct traffic *t = ctx;
    return bk_stream_write(t->p->s, t->sent, BIG);
}

static int beck_reads(void *ctx)
{
    struct traffic *t = ctx;
    return bk_stream_read_exactly(t->p->s, t->small, SMALL);
}

/* Takes a piece, updates keys, says one octet, and so on. */
static int peer_talks(void *ctx)
{
    struct traffic *t = ctx;
    struct peer *p = t->p;
    int r = 1;
    for (size_t at = 0, i = 0; r > 0 && (at < BIG || i < SMALL); i++) {
        size_t n = BIG / SMALL * 2 < BIG - at ? BIG / SMALL * 2 : BIG - at;
        if (n > 0)
            r = peer_read(p, t->got + at, n);
        at += n;
        if (r > 0 && t->key_update >= 0 && i % 10 == 0)
            SSL_key_update(p->ssl, t->key_update);
        char octet = (char)i;
        if (r > 0 && i < SMALL)
            r = peer_handle(p, SSL_write(p->ssl, &octet, 1));
    }
    return r < 0 ? r : 0;
}

static void check_traffic(bool peer_is_server, int key_update)
{
    struct peer p;
    struct traffic t = {.p = &p, .key_update = key_update};
    CHECK_EQ(open_met(&p, peer_is_server), 0);
    t.sent = malloc(BIG);
    t.got = calloc(1, BIG);
    for (size_t i = 0; i < BIG; i++)
        t.sent[i] = (char)(i * 31 + (i >> 9));
    bk_call calls[] = {{.fn = beck_writes, .ctx = &t},
                       {.fn = beck_reads, .ctx = &t},
                       {.fn = peer_talks, .ctx = &t}};
    int r = bk_gather(calls, 3, NULL);
    if (r < 0)
        fprintf(stderr, "%s\n", bk_errmsg());
    CHECK_EQ(r, 0);
    CHECK(memcmp(t.got, t.sent, BIG) == 0);
    for (int i = 0; i < SMALL; i++)
        CHECK_EQ(t.small[i], (char)i);
    free(t.sent);
    free(t.got);
    close_peer(&p);
}

LOOP_TEST(C152_records_of_one_octet_during_a_large_write)
{
    check_traffic(true, -1);
    check_traffic(false, -1);
}

LOOP_TEST(C152_KeyUpdate_during_a_large_write)
{
    check_traffic(true, SSL_KEY_UPDATE_REQUESTED);
    check_traffic(false, SSL_KEY_UPDATE_REQUESTED);
    check_traffic(true, SSL_KEY_UPDATE_NOT_REQUESTED);
}

static int read_until_it_ends(void *ctx)
{
    struct peer *p = ctx;
    char buf[100];
    ssize_t n;
    while ((n = bk_stream_read(p->s, buf, sizeof buf)) > 0)
        ;
    return (int)n;
}

/* A peer that asks for new keys without end, and does not read the answers. */
LOOP_TEST(C152_a_flood_of_KeyUpdates_takes_no_memory)
{
    struct peer p;
    bk_task *reader = NULL;
    CHECK_EQ(open_met(&p, false), 0);
    CHECK_EQ(bk_go(&reader, read_until_it_ends, &p, NULL), 0);
    int r = 1;
    for (int i = 0; r > 0 && i < 20000 && !bk_task_done(reader); i++) {
        SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED);
        r = SSL_do_handshake(p.ssl);
        if (r > 0)
            r = peer_flush(&p) < 0 ? -1 : bk_yield() < 0 ? -1 : 1;
        CHECK(bk_stream_unsent(p.s) <= 256 * 1024);
    }
    stop_pump(&reader);
    close_peer(&p);
}

/* Half of a message of TLS itself (a ticket that is longer than a record) has come when the other
 * task wants to write: the write waits for the other half. */
static int write_hello(void *ctx)
{
    struct peer *p = ctx;
    return bk_stream_write(p->s, "hello", 5);
}

LOOP_TEST(C152_a_write_between_the_halves_of_a_ticket)
{
    struct peer p;
    char *data, buf[8];
    bk_task *reader = NULL, *writer = NULL;
    int r = -1;
    bk_tls_opts client = {.ca_file = tls_file("ca"), .cert_file = tls_file("client")};
    CHECK_EQ(open_peer(&p, true, "server", &client), 0);
    SSL_CTX_set_max_send_fragment(p.ctx, 512);
    SSL_CTX_set_num_tickets(p.ctx, 0);
    SSL_CTX_load_verify_file(p.ctx, tls_file("ca"));
    SSL_CTX_set_verify(p.ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_id_context(p.ctx, (const unsigned char *)"x", 1);
    start_peer(&p, true);
    CHECK_EQ(meet(&p, NULL), 0);
    SSL_new_session_ticket(p.ssl);
    CHECK_EQ(SSL_do_handshake(p.ssl), 1);
    long len = BIO_get_mem_data(p.out, &data);
    CHECK(len > 5 + 512 + 17);
    size_t first = 5 + 512 + 17; /* a record of 512 bytes, its type and tag */
    CHECK_EQ(bk_stream_write(p.wire, data, first), 0);
    CHECK_EQ(bk_go(&reader, read_until_it_ends, &p, NULL), 0);
    bk_sleep(bk_ms(10));
    CHECK_EQ(bk_go(&writer, write_hello, &p, NULL), 0);
    bk_sleep(bk_ms(10));
    CHECK(!bk_task_done(writer));
    CHECK_EQ(bk_stream_write(p.wire, data + first, (size_t)len - first), 0);
    CHECK_EQ(bk_task_wait(writer, &r), 0);
    CHECK_EQ(r, 0);
    bk_task_free(&writer);
    (void)BIO_reset(p.out);
    CHECK_EQ(peer_read(&p, buf, 5), 1);
    CHECK_MEM(buf, 5, "hello", 5);
    stop_pump(&reader);
    close_peer(&p);
}

/* ---- After the goodbye ---- */

LOOP_TEST(C151_data_after_the_peer_s_goodbye_is_refused)
{
    struct peer p;
    char buf[64];
    CHECK_EQ(open_met(&p, true), 0);
    CHECK_EQ(SSL_write(p.ssl, "before", 6), 6);
    SSL_shutdown(p.ssl);
    SSL_set_shutdown(p.ssl, 0);
    CHECK_EQ(SSL_write(p.ssl, "after", 5), 5);
    CHECK_EQ(peer_flush(&p), 0);
    CHECK_EQ(bk_stream_read(p.s, buf, sizeof buf), 6);
    CHECK_MEM(buf, 6, "before", 6);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(bk_stream_read(p.s, buf, sizeof buf), 0);
        CHECK_EQ(SSL_write(p.ssl, "more", 4), 4);
        CHECK_EQ(peer_flush(&p), 0);
        bk_sleep(bk_ms(10));
    }
    CHECK_EQ(bk_stream_write(p.s, "we may still talk", 17), 0);
    CHECK_EQ(peer_read(&p, buf, 17), 1);
    CHECK_EQ(bk_stream_close(&p.s, 0), 0);
    close_peer(&p);
}

LOOP_TEST(C150_close_notify_is_sent)
{
    struct peer p;
    char buf[8];
    CHECK_EQ(open_met(&p, true), 0);
    CHECK_EQ(bk_stream_write(p.s, "bye", 3), 0);
    CHECK_EQ(bk_stream_write_eof(p.s), 0);
    CHECK_EQ(peer_read(&p, buf, 8), 0);
    CHECK_MEM(buf, 3, "bye", 3);
    CHECK_EQ(SSL_get_shutdown(p.ssl), SSL_RECEIVED_SHUTDOWN);
    close_peer(&p);
}

/* ---- Renegotiation ---- */

static int peer_renegotiates(void *ctx)
{
    struct peer *p = ctx;
    int r;
    SSL_renegotiate(p->ssl);
    while ((r = peer_handle(p, SSL_do_handshake(p->ssl))) == -EAGAIN)
        ;
    return r;
}

LOOP_TEST(C152_differs_there_is_no_renegotiation)
{
    struct peer p;
    int r = -1;
    bk_task *reader = NULL;
    bk_tls_opts server = {.cert_file = tls_file("server"), .max_version = BK_TLS_1_2};
    CHECK_EQ(open_peer(&p, false, NULL, &server), 0);
    start_peer(&p, false);
    CHECK_EQ(meet(&p, NULL), 0);
    CHECK_EQ(bk_go(&reader, read_until_it_ends, &p, NULL), 0);
    CHECK_EQ(peer_renegotiates(&p), -EPROTO);
    CHECK(strstr(bk_errmsg(), "no renegotiation"));
    CHECK_EQ(bk_stream_write(p.s, "it is refused", 13), 0);
    bk_stream_close(&p.wire, -1);
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK(r < 0);
    bk_task_free(&reader);
    close_peer(&p);
}

/* ---- What is old or weak ---- */

static void check_refused(bool peer_is_server, int version, const char *ciphers, const char *why)
{
    struct peer p;
    int theirs = 0;
    bk_tls_opts client = {.ca_file = tls_file("ca")}, server = {.cert_file = tls_file("rsa")};
    CHECK_EQ(open_peer(&p, peer_is_server, peer_is_server ? "rsa" : NULL,
                       peer_is_server ? &client : &server),
             0);
    SSL_CTX_set_max_proto_version(p.ctx, version);
    CHECK_EQ(SSL_CTX_set_cipher_list(p.ctx, ciphers), 1);
    start_peer(&p, peer_is_server);
    int r = meet(&p, &theirs);
    CHECK(theirs < 0);
    if (!strstr(bk_errmsg(), why))
        fprintf(stderr, "%s (%d): %s\n", ciphers, r, bk_errmsg());
    CHECK(r == -BK_EPROTO || r == -BK_EREFUSED);
    close_peer(&p);
}

LOOP_TEST(versions_before_1_2_are_refused)
{
    for (int role = 0; role < 2; role++) {
        check_refused(role, TLS1_1_VERSION, "ALL:@SECLEVEL=0", "");
        check_refused(role, TLS1_VERSION, "ALL:@SECLEVEL=0", "");
    }
}

LOOP_TEST(weak_ciphers_are_refused)
{
    static const char *const weak[] = {
        "AES128-GCM-SHA256", /* no forward secrecy */
        "AES256-SHA",
        "AES128-SHA256",
        "ECDHE-RSA-AES128-SHA", /* MAC and then encrypt */
        "ECDHE-RSA-AES256-SHA384",
        "DHE-RSA-AES128-SHA",
        "AECDH-AES128-SHA", /* nobody is authenticated */
        "ECDHE-RSA-NULL-SHA",
        "NULL-SHA256",
        "PSK-AES128-GCM-SHA256",
        "CAMELLIA128-SHA",
    };
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++) {
        check_refused(true, TLS1_2_VERSION, weak[i], "");
        check_refused(false, TLS1_2_VERSION, weak[i], "");
    }
}

static void check_agreed(int version, const char *ciphers)
{
    for (int role = 0; role < 2; role++) {
        struct peer p;
        int theirs = 0;
        bk_tls_opts client = {.ca_file = tls_file("ca")}, server = {.cert_file = tls_file("rsa")};
        CHECK_EQ(open_peer(&p, role, role ? "rsa" : NULL, role ? &client : &server), 0);
        SSL_CTX_set_max_proto_version(p.ctx, version);
        CHECK_EQ(SSL_CTX_set_cipher_list(p.ctx, ciphers), 1);
        start_peer(&p, role);
        CHECK_EQ(meet(&p, &theirs), 0);
        CHECK_EQ(theirs, 1);
        close_peer(&p);
    }
}

LOOP_TEST(good_ones_are_not)
{
    check_agreed(TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256");
    check_agreed(TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384");
    check_agreed(TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305");
    check_agreed(TLS1_3_VERSION, "DEFAULT");
}

LOOP_TEST(weak_keys_are_refused)
{
    struct peer p;
    int theirs = 0;
    bk_tls_opts client = {.ca_file = tls_file("ca")};
    CHECK_EQ(open_peer(&p, true, "weak", &client), 0);
    start_peer(&p, true);
    CHECK_EQ(meet(&p, &theirs), -BK_ECERT);
    CHECK(theirs < 0);
    close_peer(&p);
}

CHECK_MAIN(TEST(C152_records_of_one_octet_during_a_large_write),
           TEST(C152_KeyUpdate_during_a_large_write),
           TEST(C152_a_flood_of_KeyUpdates_takes_no_memory),
           TEST(C152_a_write_between_the_halves_of_a_ticket),
           TEST(C151_data_after_the_peer_s_goodbye_is_refused), TEST(C150_close_notify_is_sent),
           TEST(C152_differs_there_is_no_renegotiation), TEST(versions_before_1_2_are_refused),
           TEST(weak_ciphers_are_refused), TEST(good_ones_are_not), TEST(weak_keys_are_refused))
