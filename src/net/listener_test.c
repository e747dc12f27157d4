/* SPDX-License-Identifier: MIT
 * Connecting and listening: addresses in use, stale socket files, refusals, limits of time and of
 * descriptors. */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/net_test.h"

static char folder[] = "/tmp/beck-net-XXXXXX";

/* A path in a folder of this process's own; good until the next call. */
static const char *in_folder(const char *format)
{
    static char text[200];
    const char *at = strstr(format, "%s");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - format), format, folder, at + 2);
    return text;
}

static void check_talk(const char *address, const bk_listen_opts *opts)
{
    bk_listener *l = NULL;
    bk_stream *a = NULL, *b = NULL;
    char buf[300];
    CHECK_EQ(bk_listen(&l, address, opts), 0);
    CHECK_EQ(bk_connect(&a, bk_listener_address(l), NULL), 0);
    CHECK_EQ(bk_accept(l, &b), 1);
    CHECK_EQ(bk_stream_write(a, "ping", 4), 0);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 4);
    CHECK_EQ(bk_stream_write(b, "pong!", 5), 0);
    CHECK_EQ(bk_stream_read(a, buf, sizeof buf), 5);
    CHECK_STR(bk_stream_peer(a), bk_listener_address(l));
    CHECK_STR(bk_stream_local(b), bk_listener_address(l));
    CHECK_STR(bk_stream_local(a), bk_stream_peer(b));
    CHECK_EQ(bk_stream_close(&a, 0), 0);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_close(&b, 0), 0);
    CHECK_EQ(bk_listener_close(&l, 5), 5);
    CHECK_EQ(bk_listener_close(&l, 6), 6);
}

LOOP_TEST(SV3_every_kind_of_address_talks)
{
    check_talk("127.0.0.1:0", NULL);
    check_talk("[::1]:0", NULL);
    check_talk("localhost:0", NULL);
    check_talk(in_folder("unix:%s/talk"), NULL);
    check_talk("unix:@beck-listener-test", NULL);
    check_talk("127.0.0.1:0", &(bk_listen_opts){.reuse_port = true, .backlog = 1});
}

/* What a listener on `address` says to an IPv4 client. */
static int connect_by_ipv4(const char *address, const bk_listen_opts *opts)
{
    bk_listener *l = NULL;
    bk_stream *a = NULL;
    char target[40];
    int r = bk_listen(&l, address, opts);
    if (r < 0)
        return r;
    snprintf(target, sizeof target, "127.0.0.1%s", strrchr(bk_listener_address(l), ':'));
    r = bk_connect(&a, target, NULL);
    bk_stream_close(&a, -1);
    return bk_listener_close(&l, r);
}

LOOP_TEST(SV1_a_port_alone_means_every_interface)
{
    CHECK_EQ(connect_by_ipv4(":0", NULL), 0);
    CHECK_EQ(connect_by_ipv4("[::]:0", NULL), 0);
    CHECK_EQ(connect_by_ipv4("0.0.0.0:0", NULL), 0);
    CHECK_EQ(connect_by_ipv4("[::]:0", &(bk_listen_opts){.ipv6_only = true}), -ECONNREFUSED);
}

LOOP_TEST(what_goes_wrong_names_the_address)
{
    bk_listener *l = NULL, *second = NULL;
    bk_stream *s = NULL;
    char want[200], address[100];
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    snprintf(address, sizeof address, "%s", bk_listener_address(l));
    CHECK_EQ(bk_listen(&second, address, NULL), -EADDRINUSE);
    snprintf(want, sizeof want, "listen on %s: Address already in use", address);
    CHECK_STR(bk_errmsg(), want);
    bk_listener_close(&l, 0);
    CHECK_EQ(bk_connect(&s, address, NULL), -ECONNREFUSED);
    snprintf(want, sizeof want, "connect %s: Connection refused", address);
    CHECK_STR(bk_errmsg(), want);
    CHECK_EQ(bk_connect(&s, "127.0.0.1", NULL), -BK_EURL);
    CHECK_EQ(bk_connect(&s, "unix:/nonexistent/sock", NULL), -ENOENT);
    CHECK_STR(bk_errmsg(), "connect unix:/nonexistent/sock: No such file or directory");
    CHECK_EQ(bk_listen(&l, "unix:/nonexistent/sock", NULL), -ENOENT);
    CHECK_EQ(bk_listen(&l, "nonsense", NULL), -BK_EURL);
    CHECK(s == NULL && l == NULL && second == NULL);
}

/* ---- Unix socket files ---- */

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* What a server that was killed leaves. */
static void leave_stale_socket(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    CHECK(bind(fd, (struct sockaddr *)&un, sizeof un) == 0 && listen(fd, 1) == 0);
    close(fd);
}

LOOP_TEST(C148_SV3_a_stale_socket_file_is_replaced_and_removed)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL;
    const char *path = in_folder("%s/stale");
    char address[220];
    snprintf(address, sizeof address, "unix:%s", path);
    leave_stale_socket(path);
    CHECK_EQ(bk_connect(&s, address, NULL), -ECONNREFUSED);
    CHECK_EQ(bk_listen(&l, address, NULL), 0);
    CHECK_EQ(bk_connect(&s, address, NULL), 0);
    bk_stream_close(&s, 0);
    bk_listener_close(&l, 0);
    CHECK(!exists(path));
}

LOOP_TEST(C148_SV3_a_socket_file_of_others_is_left_alone)
{
    bk_listener *l = NULL, *second = NULL;
    const char *path = in_folder("%s/alive");
    char address[220];
    snprintf(address, sizeof address, "unix:%s", path);
    CHECK_EQ(bk_listen(&l, address, NULL), 0);
    CHECK_EQ(bk_listen(&second, address, NULL), -EADDRINUSE);
    /* Somebody else's file under our name is not ours to remove. */
    unlink(path);
    leave_stale_socket(path);
    bk_listener_close(&l, 0);
    CHECK(exists(path));
    unlink(path);
}

LOOP_TEST(C148_SV3_a_file_that_is_no_socket_is_left_alone)
{
    bk_listener *l = NULL;
    const char *path = in_folder("%s/file");
    char address[220];
    snprintf(address, sizeof address, "unix:%s", path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK_EQ(bk_listen(&l, address, NULL), -EADDRINUSE);
    CHECK(exists(path));
    unlink(path);
}

/* ---- Limits ---- */

static int accept_one(void *ctx)
{
    bk_stream *s = NULL;
    int r = bk_accept(ctx, &s);
    return r < 0 ? r : bk_stream_close(&s, 0);
}

LOOP_TEST(a_full_backlog_times_out)
{
    bk_listener *l = NULL;
    bk_stream *s = NULL;
    const char *address = in_folder("unix:%s/full");
    int fds[8];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    CHECK_EQ(bk_listen(&l, address, &(bk_listen_opts){.backlog = 1}), 0);
    memcpy(un.sun_path, address + 5, strlen(address + 5) + 1);
    int n = 0;
    for (; n < 8; n++) {
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fds[n], (struct sockaddr *)&un, sizeof un) < 0)
            break;
    }
    CHECK(n < 8);
    bk_time start = bk_now();
    CHECK_EQ(bk_connect(&s, address, &(bk_connect_opts){.timeout = bk_seconds(3)}), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_seconds(3).ns);
    CHECK(strstr(bk_errmsg(), "no answer within 3000 ms") != NULL);

    /* Room again: the next try gets through. */
    bk_task *accepting = NULL;
    CHECK_EQ(bk_go(&accepting, accept_one, l, NULL), 0);
    CHECK_EQ(bk_connect(&s, address, NULL), 0);
    bk_stream_close(&s, 0);
    CHECK_EQ(bk_task_wait(accepting, NULL), 0);
    bk_task_free(&accepting);
    for (int i = 0; i <= n; i++)
        close(fds[i]);
    bk_listener_close(&l, 0);
}

static void wait_for_descriptors(void)
{
    bk_listener *l = NULL;
    bk_task *accepting = NULL;
    int r = -1;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    bk_stream *s = NULL;
    CHECK_EQ(bk_connect(&s, bk_listener_address(l), NULL), 0);

    struct rlimit before, none;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)bk_stream_fd(s) + 1;
    /* The lowest free number must be at the limit. */
    int spare[64], n = 0;
    for (; n < 64; n++) {
        spare[n] = dup(0);
        if (spare[n] > bk_stream_fd(s))
            break;
    }
    close(spare[n]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_go(&accepting, accept_one, l, NULL), 0);
    bk_sleep(bk_ms(2500));
    bool waited = !bk_task_done(accepting);
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK(waited);
    CHECK_EQ(bk_task_wait(accepting, &r), 0);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_seconds(3).ns);
    bk_task_free(&accepting);
    while (n > 0)
        close(spare[--n]);
    bk_stream_close(&s, 0);
    bk_listener_close(&l, 0);
}

static int n_reports;
static char last_report[200];

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    n_reports++;
    snprintf(last_report, sizeof last_report, "%s: %s: %s", report->what,
             bk_strerror(report->result), report->detail);
}

static void C020_SV1_N7_accepting_waits_for_descriptors_and_says_so_once(void)
{
    void (*body)(void) = wait_for_descriptors;
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = note_report};
    CHECK_EQ(bk_run(call_void_body, &body, &opts), 0);
    CHECK_EQ(n_reports, 1);
    CHECK(strstr(last_report, "accepting pauses: no descriptors or memory: Too many open files: "
                              "127.0.0.1:") == last_report);
}

enum { CROWD = 101 }; /* as many as the default backlog, and one */

static int count_turns(void *ctx)
{
    int *n = ctx;
    while (bk_yield() == 0)
        ++*n;
    return 0;
}

/* asyncio takes up to backlog + 1 of them for one event. */
LOOP_TEST(SV1_N7_a_crowd_is_accepted_at_once)
{
    static bk_stream *clients[CROWD], *taken[CROWD];
    bk_listener *l = NULL;
    bk_task *counter = NULL;
    int n_turns = 0;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    for (int i = 0; i < CROWD; i++) /* the backlog holds them all */
        CHECK_EQ(bk_connect(&clients[i], bk_listener_address(l), NULL), 0);
    CHECK_EQ(bk_go(&counter, count_turns, &n_turns, NULL), 0);
    CHECK_EQ(bk_accept(l, &taken[0]), 1); /* waits for the event */
    n_turns = 0;
    for (int i = 1; i < CROWD; i++)
        CHECK_EQ(bk_accept(l, &taken[i]), 1);
    CHECK(n_turns <= 1);
    bk_task_cancel(counter);
    bk_task_wait(counter, NULL);
    bk_task_free(&counter);
    for (int i = 0; i < CROWD; i++) {
        bk_stream_close(&clients[i], 0);
        bk_stream_close(&taken[i], 0);
    }
    bk_listener_close(&l, 0);
}

LOOP_TEST(a_second_accepting_task_is_refused)
{
    bk_listener *l = NULL;
    bk_task *accepting = NULL;
    bk_stream *s = NULL;
    int r = 0;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    CHECK_EQ(bk_go(&accepting, accept_one, l, NULL), 0);
    bk_yield();
    CHECK_EQ(bk_accept(l, &s), -EBUSY);
    CHECK_EQ(bk_listener_close(&l, 0), -EBUSY);
    bk_task_cancel(accepting);
    CHECK_EQ(bk_task_wait(accepting, &r), 0);
    CHECK_EQ(r, -ECANCELED);
    bk_task_free(&accepting);
    bk_listener_close(&l, 0);
}

/* A connection that comes in the same moment as the cancel is not lost. */
LOOP_TEST(C147_a_cancelled_accept_loses_no_connection)
{
    bk_listener *l = NULL;
    bk_stream *a = NULL, *b = NULL;
    CHECK_EQ(bk_listen(&l, "127.0.0.1:0", NULL), 0);
    for (int i = 0; i < 20; i++) {
        bk_task *accepting = NULL;
        int r = 0;
        CHECK_EQ(bk_go(&accepting, accept_one, l, NULL), 0);
        bk_yield();
        if (i % 2)
            bk_task_cancel(accepting);
        CHECK_EQ(bk_connect(&a, bk_listener_address(l), NULL), 0);
        bk_task_cancel(accepting);
        CHECK_EQ(bk_task_wait(accepting, &r), 0);
        if (r == -ECANCELED) {
            CHECK_EQ(bk_accept(l, &b), 1);
            bk_stream_close(&b, -1);
        } else {
            CHECK_EQ(r, 0);
        }
        bk_task_free(&accepting);
        bk_stream_close(&a, -1);
    }
    bk_listener_close(&l, 0);
}

static void remove_folder(void)
{
    rmdir(folder);
}

static void make_folder(void)
{
    CHECK(mkdtemp(folder) != NULL);
    atexit(remove_folder);
}

CHECK_MAIN(TEST(make_folder), TEST(SV3_every_kind_of_address_talks),
           TEST(SV1_a_port_alone_means_every_interface), TEST(what_goes_wrong_names_the_address),
           TEST(C148_SV3_a_stale_socket_file_is_replaced_and_removed),
           TEST(C148_SV3_a_socket_file_of_others_is_left_alone),
           TEST(C148_SV3_a_file_that_is_no_socket_is_left_alone), TEST(a_full_backlog_times_out),
           TEST(C020_SV1_N7_accepting_waits_for_descriptors_and_says_so_once),
           TEST(SV1_N7_a_crowd_is_accepted_at_once), TEST(a_second_accepting_task_is_refused),
           TEST(C147_a_cancelled_accept_loses_no_connection))
