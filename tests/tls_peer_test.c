/* SPDX-License-Identifier: MIT
 * TLS against OpenSSL used directly, which can do what beck never does: update keys, send records
 * of single octets, talk on after its goodbye, renegotiate, offer what is old and weak. */
#include "net/tls.h"
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

static int n_key_updates;

static void on_peer_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl,
                            void *arg)
{
    (void)version;
    (void)ssl;
    (void)arg;
    n_key_updates += !sent && type == SSL3_RT_HANDSHAKE && len > 0 &&
                     *(const unsigned char *)data == SSL3_MT_KEY_UPDATE;
}

static void check_key_updates(bool peer_is_server, int version, int want)
{
    struct peer p;
    char byte;
    bk_tls_opts client = {.ca_file = tls_file("ca"), .max_version = version};
    bk_tls_opts server = {.cert_file = tls_file("server"), .max_version = version};
    CHECK_EQ(open_peer(&p, peer_is_server, peer_is_server ? "server" : NULL,
                       peer_is_server ? &client : &server),
             0);
    SSL_CTX_set_msg_callback(p.ctx, on_peer_message);
    start_peer(&p, peer_is_server);
    CHECK_EQ(meet(&p, NULL), 0);
    n_key_updates = 0;
    bki_tls_key_records = 10;
    for (char i = 0; i < 35; i++) {
        CHECK_EQ(bk_stream_write(p.s, &i, 1), 0);
        CHECK_EQ(peer_read(&p, &byte, 1), 1);
        CHECK_EQ(byte, i);
    }
    bki_tls_key_records = UINT64_C(1) << 23;
    CHECK_EQ(n_key_updates, want);
    close_peer(&p);
}

LOOP_TEST(C152_keys_are_updated_before_they_are_worn_out)
{
    for (int role = 0; role < 2; role++) {
        check_key_updates(role, BK_TLS_1_3, 3);
        check_key_updates(role, BK_TLS_1_2, 0);
    }
}

/* ---- What servers may ask later ---- */

/* Clients do not offer it, so that servers cannot ask (RFC 8446 4.2.6). */
LOOP_TEST(C152_nobody_is_asked_for_a_certificate_after_the_handshake)
{
    struct peer p;
    bk_tls_opts client = {.ca_file = tls_file("ca"), .cert_file = tls_file("client")};
    CHECK_EQ(open_peer(&p, true, "server", &client), 0);
    SSL_CTX_load_verify_file(p.ctx, tls_file("ca"));
    SSL_CTX_set_verify(p.ctx, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, NULL);
    start_peer(&p, true);
    CHECK_EQ(meet(&p, NULL), 0);
    ERR_clear_error();
    CHECK_EQ(SSL_verify_client_post_handshake(p.ssl), 0);
    CHECK_STR(ERR_reason_error_string(ERR_get_error()), "extension not received");
    close_peer(&p);
}

/* ---- Records that are none ---- */

static void check_record(const char *record, size_t len, bool shaken)
{
    struct peer p;
    char buf[64];
    if (shaken)
        CHECK_EQ(open_met(&p, true), 0);
    else
        CHECK_EQ(open_peer(&p, true, "server", &(bk_tls_opts){.ca_file = tls_file("ca")}), 0);
    CHECK_EQ(bk_stream_write(p.wire, record, len), 0);
    int r = shaken ? (int)bk_stream_read(p.s, buf, sizeof buf) : beck_handshake(&p);
    if (r != -BK_EPROTO && r != -BK_EREFUSED)
        fprintf(stderr, "%02x %zu, %d: %s\n", (unsigned char)record[0], len, shaken, bk_errmsg());
    CHECK(r == -BK_EPROTO || r == -BK_EREFUSED);
    CHECK_EQ(bk_stream_write(p.s, "x", 1), r);
    close_peer(&p);
}

LOOP_TEST(C152_records_that_are_none_end_the_connection)
{
    static const struct {
        const char *bytes;
        size_t len;
    } records[] = {
        {"\x17\x03\x03\xff\xff", 5},             /* longer than any */
        {"\x17\x03\x03\x41\x01xxxxxxxxxxx", 16}, /* by one byte */
        {"\x17\x03\x03\0\0", 5},                 /* empty, so it has no tag */
        {"\x99\x03\x03\0\1x", 6},                /* of no known kind */
        {"\x17\x09\x09\0\1x", 6},                /* of another protocol */
        {"\x16\x03\x03\0\x04\x63\0\0\0", 9},     /* a message that is none, in plain */
        {"\x15\x03\x03\0\x02\x02\x28", 7},       /* an alert in plain */
        {"GET / HTTP/1.1\r\n\r\n", 18},
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        check_record(records[i].bytes, records[i].len, true);
        if (i != 1) /* of which the rest would be waited for */
            check_record(records[i].bytes, records[i].len, false);
    }
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

/* A server of OpenSSL's that speaks TLS 1.2, after the handshake. */
static int meet_1_2_server(struct peer *p)
{
    int r = open_peer(p, true, "server", &(bk_tls_opts){.ca_file = tls_file("ca")});
    if (r < 0)
        return r;
    SSL_CTX_set_max_proto_version(p->ctx, TLS1_2_VERSION);
    start_peer(p, true);
    return meet(p, NULL);
}

/* A server that asks for another handshake is told no, and the connection goes on. */
LOOP_TEST(a_HelloRequest_is_declined)
{
    struct peer p;
    char buf[10];
    CHECK_EQ(meet_1_2_server(&p), 0);
    CHECK_EQ(SSL_renegotiate(p.ssl), 1);
    CHECK_EQ(SSL_do_handshake(p.ssl), 1);
    CHECK_EQ(SSL_write(p.ssl, "hello", 5), 5);
    CHECK_EQ(peer_flush(&p), 0);
    CHECK_EQ(bk_stream_read(p.s, buf, sizeof buf), 5);
    CHECK_EQ(bk_stream_write(p.s, "world", 5), 0);
    CHECK_EQ(peer_handle(&p, SSL_read(p.ssl, buf, sizeof buf)), -EAGAIN);
    CHECK_EQ(peer_handle(&p, SSL_read(p.ssl, buf, sizeof buf)), -EPROTO);
    CHECK(strstr(bk_errmsg(), "no renegotiation"));
    close_peer(&p);
}

/* What OpenSSL itself takes for a failure of its own is not taken for an alert of the peer's. */
LOOP_TEST(a_ChangeCipherSpec_behind_the_handshake_is_no_alert)
{
    struct peer p;
    char buf[10];
    CHECK_EQ(meet_1_2_server(&p), 0);
    CHECK_EQ(bk_stream_write(p.wire, "\x14\x03\x03\0\1\1", 6), 0);
    CHECK_EQ(bk_stream_read(p.s, buf, sizeof buf), -BK_EPROTO);
    CHECK(!strstr(bk_errmsg(), "the peer ended it"));
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
           TEST(C152_keys_are_updated_before_they_are_worn_out),
           TEST(C152_nobody_is_asked_for_a_certificate_after_the_handshake),
           TEST(C152_records_that_are_none_end_the_connection),
           TEST(C151_data_after_the_peer_s_goodbye_is_refused), TEST(C150_close_notify_is_sent),
           TEST(C152_differs_there_is_no_renegotiation), TEST(a_HelloRequest_is_declined),
           TEST(a_ChangeCipherSpec_behind_the_handshake_is_no_alert),
           TEST(versions_before_1_2_are_refused), TEST(weak_ciphers_are_refused),
           TEST(good_ones_are_not), TEST(weak_keys_are_refused))
