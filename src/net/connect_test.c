/* SPDX-License-Identifier: MIT
 * Connecting to hosts with several addresses (happy eyeballs), and the options of bk_connect. */
#include <beck/server.h>

#include "net/connect_race.h"
#include "net/net_test.h"
#include "net/resolver_fixture.h"
#include "net/socket_opts.h"

/* ---- Addresses that answer, refuse, or say nothing ---- */

/* A port that nobody listens on: bound, so that nobody else gets it. */
struct refusing {
    int fd;
    char address[64];
};

static int bind_port(const char *host, char *address, size_t size)
{
    struct bki_address_spec spec;
    char text[BKI_ADDRESS_TEXT];
    struct bki_address bound = {.len = sizeof bound - offsetof(struct bki_address, any)};
    snprintf(text, sizeof text, "%s:0", host);
    if (bki_address_parse(&spec, text) < 0)
        return -1;
    int fd = socket(spec.address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, &spec.address.any, spec.address.len) < 0 ||
        getsockname(fd, &bound.any, &bound.len) < 0)
        return -1;
    snprintf(address, size, "%s", bki_address_format(&bound, text));
    return fd;
}

/* One whose queue is full: the kernel drops what asks. */
struct silent {
    int fd, filler[4];
    char address[64];
};

static bool open_silent(struct silent *s, const char *host)
{
    struct bki_address_spec spec;
    s->fd = bind_port(host, s->address, sizeof s->address);
    if (s->fd < 0 || listen(s->fd, 0) < 0 || bki_address_parse(&spec, s->address) < 0)
        return false;
    for (int i = 0; i < 4; i++) {
        s->filler[i] =
            socket(spec.address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(s->filler[i], &spec.address.any, spec.address.len);
    }
    return true;
}

static void close_silent(struct silent *s)
{
    for (int i = 0; i < 4; i++)
        close(s->filler[i]);
    close(s->fd);
}

static const char *join(const char *a, const char *b, const char *c)
{
    static char all[200];
    snprintf(all, sizeof all, "%s %s %s", a, b, c);
    return all;
}

/* ---- The order ---- */

static void check_interleaved(const char *given, const char *want)
{
    struct bki_address list[10];
    char words[200], text[BKI_ADDRESS_TEXT], got[200] = "", *save = NULL;
    int n = 0;
    snprintf(words, sizeof words, "%s", given);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save), n++) {
        struct bki_address_spec spec;
        snprintf(text, sizeof text, w[0] >= 'a' ? "[fd00::%s]:1" : "10.0.0.%s:1", w);
        CHECK_EQ(bki_address_parse(&spec, text), 0);
        list[n] = spec.address;
    }
    bki_interleave(list, n);
    for (int i = 0; i < n; i++) {
        bki_address_format(&list[i], text);
        const char *at = strchr(text, '[') ? strstr(text, "::") + 2 : strrchr(text, '.') + 1;
        size_t len = strlen(got);
        snprintf(got + len, sizeof got - len, "%s%.1s", i ? " " : "", at);
    }
    CHECK_STR(got, want);
}

/* Letters are IPv6 addresses, digits IPv4 ones. */
static void C146_ST5_families_are_tried_in_turn(void)
{
    check_interleaved("a b c 1 2", "a 1 b 2 c");
    check_interleaved("1 2 3 a b", "1 a 2 b 3");
    check_interleaved("1 a 2 b", "1 a 2 b");
    check_interleaved("a 1 2 3", "a 1 2 3");
    check_interleaved("1 2 3", "1 2 3");
    check_interleaved("a", "a");
    check_interleaved("a b 1", "a 1 b");
}

/* ---- The race ---- */

static const bk_connect_opts patient = {.timeout = {60000000000}};

LOOP_TEST(C146_ST5_a_refusal_leads_to_the_next_at_once)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL;
    char refusing[64];
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    int fd = bind_port("[::1]", refusing, sizeof refusing);
    CHECK(fd >= 0);
    fake_names("many", join(refusing, bk_listener_address(l), ""));
    bk_time start = bk_now();
    CHECK_EQ(bk_connect(&s, "many:80", NULL), 0);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, 0);
    CHECK_STR(bk_stream_peer(s), bk_listener_address(l));
    bk_stream_close(&s, 0);
    bk_listener_close(&l, 0);
    close(fd);
    real_names();
}

LOOP_TEST(C146_ST5_silence_for_250_ms_starts_the_next_and_the_loser_is_closed)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL;
    struct silent quiet;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    CHECK(open_silent(&quiet, "[::1]"));
    fake_names("many", join(quiet.address, bk_listener_address(l), ""));
    int before = n_open_fds();
    bk_time start = bk_now();
    CHECK_EQ(bk_connect(&s, "many:80", &patient), 0);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_ms(250).ns);
    CHECK_STR(bk_stream_peer(s), bk_listener_address(l));
    CHECK_EQ(n_open_fds(), before + 1);
    bk_stream_close(&s, 0);

    start = bk_now();
    CHECK_EQ(bk_connect(&s, "many:80", &(bk_connect_opts){.attempt_delay = bk_ms(1)}), 0);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_ms(10).ns); /* no less than that */
    bk_stream_close(&s, 0);
    close_silent(&quiet);
    bk_listener_close(&l, 0);
    real_names();
}

static int accept_all(void *ctx)
{
    bk_stream *s = NULL;
    int r;
    while ((r = bk_accept(ctx, &s)) > 0)
        bk_stream_close(&s, 0);
    return r;
}

/* The first is late, and yet before the second, which is as silent: it wins. */
LOOP_TEST(C146_ST5_the_first_to_connect_wins_also_when_it_began_first)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL, *fill[2] = {NULL, NULL};
    struct silent quiet;
    char address[64];
    bk_task *connecting = NULL;
    snprintf(address, sizeof address, "unix:@beck-connect-%d", (int)getpid());
    CHECK_EQ(bk_listen(&l, address, &(bk_listen_opts){.backlog = 1}), 0);
    CHECK_EQ(bk_connect(&fill[0], address, NULL), 0);
    CHECK_EQ(bk_connect(&fill[1], address, NULL), 0);
    CHECK(open_silent(&quiet, "127.0.0.1"));
    struct bki_address_spec first, second;
    CHECK_EQ(bki_address_parse(&first, address), 0);
    CHECK_EQ(bki_address_parse(&second, quiet.address), 0);
    struct bki_address list[] = {first.address, second.address};
    bk_time start = bk_now();
    CHECK_EQ(bk_go(&connecting, accept_all, l, NULL), 0);
    CHECK_EQ(
        bki_connect_race(&s, list, 2, &(struct bki_race_opts){.name = "both", .delay = bk_ms(5)}),
        0);
    CHECK_STR(bk_stream_peer(s), address);
    CHECK(bk_time_since(bk_now(), start).ns <= bk_ms(10).ns); /* io_uring waits in the kernel */
    bk_task_cancel(connecting);
    bk_task_wait(connecting, NULL);
    bk_task_free(&connecting);
    bk_stream_close(&s, 0);
    bk_stream_close(&fill[0], -1);
    bk_stream_close(&fill[1], -1);
    close_silent(&quiet);
    bk_listener_close(&l, 0);
}

LOOP_TEST(C146_ST5_when_all_fail_the_error_names_each)
{
    bk_stream *s = NULL;
    char a[64], b[64], want[300];
    int fd_a = bind_port("[::1]", a, sizeof a), fd_b = bind_port("127.0.0.1", b, sizeof b);
    CHECK(fd_a >= 0 && fd_b >= 0);
    fake_names("many", join(a, b, ""));
    CHECK_EQ(bk_connect(&s, "many:80", NULL), -ECONNREFUSED);
    snprintf(want, sizeof want, "connect many:80: %s: Connection refused, %s: Connection refused",
             a, b);
    CHECK_STR(bk_errmsg(), want);
    CHECK(s == NULL);
    snprintf(want, sizeof want, "connect %s: Connection refused", b);
    CHECK_EQ(bk_connect(&s, b, NULL), -ECONNREFUSED); /* one alone needs no list */
    CHECK_STR(bk_errmsg(), want);
    close(fd_a);
    close(fd_b);
    real_names();
}

static int connect_many(void *ctx)
{
    int r = bk_connect(ctx, "many:80", &patient);
    return r;
}

LOOP_TEST(C147_ST5_a_cancel_closes_every_attempt)
{
    struct silent quiet[3];
    bk_stream *s = NULL;
    bk_task *task = NULL;
    for (int i = 0; i < 3; i++)
        CHECK(open_silent(&quiet[i], i == 1 ? "127.0.0.1" : "[::1]"));
    fake_names("many", join(quiet[0].address, quiet[1].address, quiet[2].address));
    int before = n_open_fds();
    for (int ms = 150; ms < 700; ms += 200) {
        int r = 0;
        CHECK_EQ(bk_go(&task, connect_many, &s, NULL), 0);
        bk_sleep(bk_ms(ms));
        CHECK_EQ(n_open_fds(), before + 1 + ms / 250);
        bk_task_cancel(task);
        CHECK_EQ(bk_task_wait(task, &r), 0);
        CHECK_EQ(r, -ECANCELED);
        CHECK(s == NULL);
        CHECK_EQ(n_open_fds(), before);
        bk_task_free(&task);
    }
    for (int i = 0; i < 3; i++)
        close_silent(&quiet[i]);
    real_names();
}

LOOP_TEST(ST5_with_no_delay_limit_the_next_waits_for_a_failure)
{
    struct silent quiet;
    bk_listener *l = NULL;
    bk_stream *s = NULL;
    CHECK(open_silent(&quiet, "[::1]"));
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    fake_names("many", join(quiet.address, bk_listener_address(l), ""));
    CHECK_EQ(
        bk_connect(&s, "many:80",
                   &(bk_connect_opts){.timeout = bk_seconds(20), .attempt_delay = bk_forever()}),
        -ETIMEDOUT);
    CHECK(strstr(bk_errmsg(), "no answer within 20000 ms") != NULL);
    close_silent(&quiet);
    bk_listener_close(&l, 0);
    real_names();
}

/* ---- Options ---- */

static int get_option(const bk_stream *s, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    getsockopt(bk_stream_fd(s), level, option, &value, &len);
    return value;
}

LOOP_TEST(ST5_a_local_address_is_where_it_comes_from)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL, *t = NULL;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    const char *address = bk_listener_address(l);
    CHECK_EQ(bk_connect(&s, address, &(bk_connect_opts){.local_address = "127.0.0.77:0"}), 0);
    CHECK_EQ(bk_accept(l, &t), 1);
    CHECK(strncmp(bk_stream_peer(t), "127.0.0.77:", 11) == 0);
    CHECK_STR(bk_stream_local(s), bk_stream_peer(t));
    bk_stream_close(&s, 0);
    bk_stream_close(&t, 0);
    CHECK_EQ(bk_connect(&s, address, &(bk_connect_opts){.local_address = "[::1]:0"}),
             -EADDRNOTAVAIL);
    CHECK_EQ(bk_connect(&s, address, &(bk_connect_opts){.local_address = "nonsense"}), -BK_EURL);
    fake_names("here", "[::1]:0 127.0.0.78:0"); /* the one that fits the other end is taken */
    CHECK_EQ(bk_connect(&s, address, &(bk_connect_opts){.local_address = "here:0"}), 0);
    CHECK(strncmp(bk_stream_local(s), "127.0.0.78:", 11) == 0);
    bk_stream_close(&s, 0);
    bk_listener_close(&l, 0);
    real_names();
}

LOOP_TEST(ST5_nodelay_is_set_and_keep_alive_when_asked_for)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_connect(&s, bk_listener_address(l), NULL), 0);
    CHECK_EQ(get_option(s, IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK_EQ(get_option(s, SOL_SOCKET, SO_KEEPALIVE), 0);
    bk_stream_close(&s, 0);
    CHECK_EQ(bk_connect(&s, bk_listener_address(l), &(bk_connect_opts){.keep_alive = bk_ms(29500)}),
             0);
    CHECK_EQ(get_option(s, SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_EQ(get_option(s, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    CHECK_EQ(get_option(s, IPPROTO_TCP, TCP_KEEPINTVL), 30);
    bk_stream_close(&s, 0);
    bk_listener_close(&l, 0);
}

CHECK_MAIN(TEST(C146_ST5_families_are_tried_in_turn),
           TEST(C146_ST5_a_refusal_leads_to_the_next_at_once),
           TEST(C146_ST5_silence_for_250_ms_starts_the_next_and_the_loser_is_closed),
           TEST(C146_ST5_the_first_to_connect_wins_also_when_it_began_first),
           TEST(C146_ST5_when_all_fail_the_error_names_each),
           TEST(C147_ST5_a_cancel_closes_every_attempt),
           TEST(ST5_with_no_delay_limit_the_next_waits_for_a_failure),
           TEST(ST5_a_local_address_is_where_it_comes_from),
           TEST(ST5_nodelay_is_set_and_keep_alive_when_asked_for))
