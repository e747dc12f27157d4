/* SPDX-License-Identifier: MIT
 * Records that no library sends: OpenSSL shakes hands as the peer, then the test makes records with
 * the keys that were agreed on. */
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "tests/tls_peer_fixture.h"

enum { HANDSHAKE = 22, APPLICATION_DATA = 23, TAG = 16, MOST_EMPTY = 32 };

/* What the peer writes with (RFC 8446 5.2, 7.3), of TLS_AES_128_GCM_SHA256. */
static struct {
    uint8_t key[16], iv[12], n_records;
} keys;

static void derive(uint8_t *out, size_t len, uint8_t secret[32], char *label)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int("mode", &mode),
        OSSL_PARAM_construct_utf8_string("digest", (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_octet_string("key", secret, 32),
        OSSL_PARAM_construct_octet_string("prefix", (char[]){"tls13 "}, 6),
        OSSL_PARAM_construct_octet_string("label", label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    CHECK_EQ(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* "SERVER_TRAFFIC_SECRET_0 RANDOM SECRET", or the client's. */
static void on_key(const SSL *ssl, const char *line)
{
    const char *mine = SSL_is_server(ssl) ? "SERVER_TRAFFIC_SECRET_0 " : "CLIENT_TRAFFIC_SECRET_0 ";
    uint8_t secret[32];
    if (strncmp(line, mine, strlen(mine)) != 0)
        return;
    const char *hex = strrchr(line, ' ') + 1;
    for (size_t i = 0; i < sizeof secret; i++) {
        char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        secret[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    derive(keys.key, sizeof keys.key, secret, "key");
    derive(keys.iv, sizeof keys.iv, secret, "iv");
    keys.n_records = 0;
}

/* Adds the peer's next record to records[0..*n). */
static void seal(uint8_t *records, size_t *n_bytes, int type, bk_span text, size_t padding)
{
    uint8_t inner[1000] = {0}, nonce[12], *record = records + *n_bytes;
    size_t len = text.len, size = len + 1 + padding;
    int n;
    memcpy(inner, text.data, len);
    inner[len] = (uint8_t)type;
    memcpy(nonce, keys.iv, sizeof nonce);
    nonce[11] ^= keys.n_records++;
    memcpy(record, (uint8_t[]){0x17, 3, 3, (uint8_t)((size + TAG) >> 8), (uint8_t)(size + TAG)}, 5);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK_EQ(EVP_EncryptInit_ex2(ctx, EVP_aes_128_gcm(), keys.key, nonce, NULL), 1);
    CHECK_EQ(EVP_EncryptUpdate(ctx, NULL, &n, record, 5), 1);
    CHECK_EQ(EVP_EncryptUpdate(ctx, record + 5, &n, inner, (int)size), 1);
    CHECK_EQ(EVP_EncryptFinal_ex(ctx, record + 5 + n, &n), 1);
    CHECK_EQ(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, record + 5 + size), 1);
    EVP_CIPHER_CTX_free(ctx);
    *n_bytes += 5 + size + TAG;
}

static void open_sealed(struct peer *p, bool peer_is_server)
{
    bk_tls_opts client = {.ca_file = tls_file("ca")}, server = {.cert_file = tls_file("server")};
    CHECK_EQ(open_peer(p, peer_is_server, peer_is_server ? "server" : NULL,
                       peer_is_server ? &client : &server),
             0);
    SSL_CTX_set_keylog_callback(p->ctx, on_key);
    SSL_CTX_set_ciphersuites(p->ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_num_tickets(p->ctx, 0); /* they would count among the records */
    start_peer(p, peer_is_server);
    CHECK_EQ(meet(p, NULL), 0);
}

static void check_read(struct peer *p, const uint8_t *records, size_t len, const char *want)
{
    char buf[100];
    size_t n = strlen(want);
    CHECK_EQ(bk_stream_write(p->wire, records, len), 0);
    CHECK_EQ(bk_stream_read_exactly(p->s, buf, n), 0);
    CHECK_MEM(buf, n, want, n);
}

/* An empty record is no end and no error (RFC 8446 5.1), padding is no data (5.4). */
LOOP_TEST(empty_records_are_passed_over)
{
    for (int peer_is_server = 0; peer_is_server < 2; peer_is_server++) {
        struct peer p;
        uint8_t records[8 * 1000];
        size_t n = 0;
        open_sealed(&p, peer_is_server);
        for (int i = 0; i < MOST_EMPTY; i++)
            seal(records, &n, APPLICATION_DATA, bk_span_str(""), 0);
        seal(records, &n, APPLICATION_DATA, bk_span_str("he"), 500);
        seal(records, &n, APPLICATION_DATA, bk_span_str(""), 900);
        seal(records, &n, APPLICATION_DATA, bk_span_str("llo"), 0);
        check_read(&p, records, n, "hello");
        n = 0;
        seal(records, &n, APPLICATION_DATA, bk_span_str(""), 0);
        CHECK_EQ(bk_stream_write(p.wire, records, n), 0);
        bk_yield();
        n = 0;
        seal(records, &n, APPLICATION_DATA, bk_span_str("world"), 0);
        check_read(&p, records, n, "world");
        close_peer(&p);
    }
}

/* They cost work and bring nothing: a flood of them ends the connection. */
LOOP_TEST(a_flood_of_empty_records_ends_the_connection)
{
    struct peer p;
    uint8_t records[3000];
    char buf[10];
    size_t n = 0;
    open_sealed(&p, true);
    for (int i = 0; i <= MOST_EMPTY; i++)
        seal(records, &n, APPLICATION_DATA, bk_span_str(""), 0);
    seal(records, &n, APPLICATION_DATA, bk_span_str("x"), 0);
    CHECK_EQ(bk_stream_write(p.wire, records, n), 0);
    CHECK_EQ(bk_stream_read(p.s, buf, sizeof buf), -BK_EPROTO);
    close_peer(&p);
}

/* Of a handshake's records none may be empty (5.1), and it cannot be asked for again. */
LOOP_TEST(a_handshake_that_is_over_has_no_records)
{
    const bk_span messages[] = {bk_span_of("", 0), bk_span_of("\0\0\0", 4) /* HelloRequest */};
    for (size_t i = 0; i < 2; i++) {
        struct peer p;
        uint8_t record[100];
        size_t n = 0;
        char buf[10];
        open_sealed(&p, true);
        seal(record, &n, HANDSHAKE, messages[i], 0);
        CHECK_EQ(bk_stream_write(p.wire, record, n), 0);
        CHECK_EQ(bk_stream_read(p.s, buf, sizeof buf), -BK_EPROTO);
        close_peer(&p);
    }
}

CHECK_MAIN(TEST(empty_records_are_passed_over), TEST(a_flood_of_empty_records_ends_the_connection),
           TEST(a_handshake_that_is_over_has_no_records))
