/* SPDX-License-Identifier: MIT
 * TLS handshakes that a man in the middle ends, holds up or changes, at each of their bytes. */
#include "net/tls_fixture.h"

/* Of one direction he lets `at` bytes through; then that happens. */
enum trick { CUT, HOLD, CHANGE, REPEAT };

struct attack {
    struct pair *p;
    enum trick trick;
    bool to_client;
    size_t at, seen[2];
};

static int interfere(struct attack *a, bk_stream *from, bk_stream *to, bool to_client)
{
    char buf[8192];
    ssize_t n;
    while ((n = bk_stream_read(from, buf, sizeof buf)) > 0) {
        size_t before = a->seen[to_client], len = (size_t)n;
        a->seen[to_client] += len;
        bool here = a->to_client == to_client && a->at >= before && a->at < before + len;
        if (here && a->trick == CHANGE)
            buf[a->at - before] ^= 0x20;
        size_t good = here && a->trick != CHANGE ? a->at - before : len;
        int r = bk_stream_write(to, buf, good);
        if (here && a->trick == CUT) {
            bk_stream_write_eof(to);
            return 0;
        }
        if (r == 0 && here && a->trick == REPEAT)
            r = bk_stream_write(to, buf, len); /* from the flight's start again */
        if (r < 0 || (here && a->trick == HOLD))
            return 0;
    }
    bk_stream_write_eof(to);
    return 0;
}

static int to_server(void *ctx)
{
    struct attack *a = ctx;
    return interfere(a, a->p->near_client, a->p->near_server, false);
}

static int to_client(void *ctx)
{
    struct attack *a = ctx;
    return interfere(a, a->p->near_server, a->p->near_client, true);
}

static int open_attacked(struct pair *p, struct attack *a)
{
    int r = open_sockets(&p->client, &p->near_client, NULL);
    if (r == 0)
        r = open_sockets(&p->server, &p->near_server, NULL);
    if (r == 0)
        r = bk_go(&p->to_server, to_server, a, NULL);
    return r < 0 ? r : bk_go(&p->to_client, to_client, a, NULL);
}

static int client_side(void *ctx)
{
    struct pair *p = ctx;
    shake_client(p);
    if (p->client_result == 0)
        p->client_result = bk_stream_write(p->client, "hello", 5);
    bk_stream_close(&p->client, p->client_result);
    return 0;
}

static int read_hello(void *ctx)
{
    char buf[5];
    int r = bk_stream_read_exactly(ctx, buf, sizeof buf);
    return r < 0 ? r : memcmp(buf, "hello", 5) == 0 ? 0 : 1;
}

static int server_side(void *ctx)
{
    struct pair *p = ctx;
    shake_server(p);
    if (p->server_result == 0)
        p->server_result = bk_wait_for(read_hello, p->server, bk_seconds(60));
    bk_stream_close(&p->server, p->server_result);
    return 0;
}

static bool is_expected(int r, enum trick trick)
{
    return r == 0 || r == -BK_EINCOMPLETE || r == -EPIPE || r == -ECONNRESET || r == -ETIMEDOUT ||
           (trick >= CHANGE && (r == -BK_EPROTO || r == -BK_EREFUSED || r == -BK_ECERT));
}

/* A handshake and five bytes, disturbed there.  Returns how many bytes went that way and one, or 0
 * when it did not go as it should. */
static size_t check_attack(const struct pair *tls, enum trick trick, bool to_client, size_t at)
{
    struct pair p = *tls;
    struct attack a = {.p = &p, .trick = trick, .to_client = to_client, .at = at};
    int r = open_attacked(&p, &a);
    bk_call both[] = {{.fn = client_side, .ctx = &p}, {.fn = server_side, .ctx = &p}};
    if (r == 0)
        r = bk_gather(both, 2, NULL);
    close_streams(&p);
    size_t seen = a.seen[to_client] + 1; /* even if that was none */
    if (r < 0 || !is_expected(p.client_result, trick) || !is_expected(p.server_result, trick)) {
        fprintf(stderr, "%s byte %zu, trick %d: %d %s, %d %s\n",
                to_client ? "server's" : "client's", at, (int)trick, p.client_result,
                p.client_error, p.server_result, p.server_error);
        return 0;
    }
    return seen;
}

/* Every byte of the first records' heads and starts, then every 7th. */
static void check_everywhere(enum trick trick, enum bk_tls_version version)
{
    struct pair tls;
    bk_tls_opts client = {.ca_file = tls_file("ca"), .no_resumption = true, .max_version = version};
    CHECK_EQ(open_pair(&tls, &client, &(bk_tls_opts){.cert_file = tls_file("server")}), 0);
    close_streams(&tls);
    size_t n = 0, wrong = 0;
    for (int to_client = 0; to_client < 2; to_client++) {
        size_t all = check_attack(&tls, trick, to_client, SIZE_MAX);
        for (size_t at = 0; at < all; at += at < 100 ? 1 : 7, n++)
            wrong += !check_attack(&tls, trick, to_client, at);
    }
    close_pair(&tls);
    CHECK(n > 200);
    CHECK_EQ(wrong, 0);
}

LOOP_TEST(C150_a_handshake_may_be_cut_anywhere)
{
    check_everywhere(CUT, BK_TLS_1_3);
    check_everywhere(CUT, BK_TLS_1_2);
}

LOOP_TEST(C150_a_handshake_may_be_held_up_anywhere)
{
    check_everywhere(HOLD, BK_TLS_1_3);
    check_everywhere(HOLD, BK_TLS_1_2);
}

LOOP_TEST(C150_a_handshake_may_be_changed_anywhere)
{
    check_everywhere(CHANGE, BK_TLS_1_3);
    check_everywhere(CHANGE, BK_TLS_1_2);
}

LOOP_TEST(C150_parts_of_a_handshake_may_be_repeated)
{
    check_everywhere(REPEAT, BK_TLS_1_3);
    check_everywhere(REPEAT, BK_TLS_1_2);
}

CHECK_MAIN(TEST(C150_a_handshake_may_be_cut_anywhere),
           TEST(C150_a_handshake_may_be_held_up_anywhere),
           TEST(C150_a_handshake_may_be_changed_anywhere),
           TEST(C150_parts_of_a_handshake_may_be_repeated))
