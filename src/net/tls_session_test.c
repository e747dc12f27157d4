/* SPDX-License-Identifier: MIT
 * TLS sessions: resumed where they may be, and kept within limits. */
#include "net/tls.h"
#include "net/tls_fixture.h"

LOOP_TEST(C150_the_second_connection_resumes_the_first_one_s_session)
{
    for (enum bk_tls_version v = BK_TLS_1_2; v <= BK_TLS_1_3; v++) {
        struct pair p;
        bool resumed;
        bk_tls_info info;
        bk_tls_opts client = {.ca_file = tls_file("ca"), .cert_file = tls_file("client")};
        bk_tls_opts server = {
            .cert_file = tls_file("server"), .ca_file = tls_file("ca"), .max_version = v};
        CHECK_EQ(open_pair(&p, &client, &server), 0);
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK(!resumed);
        for (int i = 0; i < 5; i++) {
            CHECK_EQ(connect_again(&p, &resumed), 0);
            CHECK(resumed);
        }
        CHECK_EQ(bk_stream_tls_info(p.client, &info), 0);
        CHECK_STR(info.peer_subject, "CN=not looked at");
        CHECK(info.peer_verified);
        CHECK_EQ(bk_stream_tls_info(p.server, &info), 0);
        CHECK_STR(info.peer_subject, "CN=joe");
        CHECK(info.peer_verified);
        p.name = "x.example.org"; /* another server, as far as anybody knows */
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK(!resumed);
        close_pair(&p);
    }
}

LOOP_TEST(no_session_is_resumed_where_that_is_not_wanted)
{
    for (int who = 0; who < 2; who++) {
        struct pair p;
        bool resumed;
        bk_tls_opts client = {.ca_file = tls_file("ca"), .no_resumption = who == 0};
        bk_tls_opts server = {.cert_file = tls_file("server"), .no_resumption = who == 1};
        CHECK_EQ(open_pair(&p, &client, &server), 0);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(connect_again(&p, &resumed), 0);
            CHECK(!resumed);
        }
        close_pair(&p);
    }
}

/* Nor with other options, which may check more. */
LOOP_TEST(a_session_is_for_one_name)
{
    for (enum bk_tls_version v = BK_TLS_1_2; v <= BK_TLS_1_3; v++) {
        struct pair p;
        bool resumed;
        bk_tls_opts client = {.ca_file = tls_file("ca"), .max_version = v};
        CHECK_EQ(open_pair(&p, &client, &(bk_tls_opts){.cert_file = tls_file("server")}), 0);
        static const char *const names[] = {"a.example.org", "b.example.org", "127.0.0.1",
                                            "localhost"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            p.name = names[i];
            CHECK_EQ(connect_again(&p, &resumed), 0);
            CHECK(!resumed);
            CHECK_EQ(connect_again(&p, &resumed), 0);
            CHECK(resumed);
        }
        bk_tls_free(&p.client_tls);
        CHECK_EQ(bk_tls_client_new(&p.client_tls, &client), 0);
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK(!resumed);
        close_pair(&p);
    }
}

LOOP_TEST(a_session_survives_connections_that_end_in_any_way)
{
    for (enum bk_tls_version v = BK_TLS_1_2; v <= BK_TLS_1_3; v++) {
        struct pair p;
        bool resumed;
        bk_tls_opts client = {.ca_file = tls_file("ca")};
        bk_tls_opts server = {.cert_file = tls_file("server"), .max_version = v};
        CHECK_EQ(open_pair(&p, &client, &server), 0);
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK_EQ(bk_stream_close(&p.client, -1), -1); /* dropped */
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK(resumed);
        bk_stream_close(&p.server, -1); /* cut */
        char byte;
        CHECK_EQ(bk_stream_read(p.client, &byte, 1), -BK_EINCOMPLETE);
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK(resumed);
        CHECK_EQ(bk_stream_write_eof(p.server), 0); /* in order */
        CHECK_EQ(bk_stream_close(&p.client, 0), 0);
        CHECK_EQ(connect_again(&p, &resumed), 0);
        CHECK(resumed);
        close_pair(&p);
    }
}

/* ---- The table ---- */

static void put(bk_tls *tls, unsigned char key_byte)
{
    unsigned char key[BKI_SHA256_LEN];
    memset(key, key_byte, sizeof key);
    bki_tls_session_put(tls, key, SSL_SESSION_new());
}

static bool take(bk_tls *tls, unsigned char key_byte)
{
    unsigned char key[BKI_SHA256_LEN];
    memset(key, key_byte, sizeof key);
    struct ssl_session_st *session = bki_tls_session_take(tls, key);
    bki_tls_session_free(session);
    return session != NULL;
}

static void the_oldest_sessions_make_room(void)
{
    bk_tls *tls = NULL;
    CHECK_EQ(bk_tls_client_new(&tls, NULL), 0);
    for (int i = 0; i < BKI_TLS_SESSIONS + 10; i++)
        put(tls, (unsigned char)i);
    for (int i = 0; i < BKI_TLS_SESSIONS + 10; i++)
        CHECK_EQ(take(tls, (unsigned char)i), i >= 10);
    bk_tls_free(&tls);
}

static void one_server_does_not_take_the_whole_table(void)
{
    bk_tls *tls = NULL;
    CHECK_EQ(bk_tls_client_new(&tls, NULL), 0);
    put(tls, 1);
    for (int i = 0; i < 2 * BKI_TLS_SESSIONS; i++)
        put(tls, 2);
    CHECK(take(tls, 1));
    CHECK(take(tls, 2));
    size_t n = 0;
    for (size_t i = 0; i < BKI_TLS_SESSIONS; i++)
        n += tls->sessions[i].session != NULL;
    CHECK_EQ(n, 5);
    bk_tls_free(&tls);
}

CHECK_MAIN(TEST(C150_the_second_connection_resumes_the_first_one_s_session),
           TEST(no_session_is_resumed_where_that_is_not_wanted), TEST(a_session_is_for_one_name),
           TEST(a_session_survives_connections_that_end_in_any_way),
           TEST(the_oldest_sessions_make_room), TEST(one_server_does_not_take_the_whole_table))
