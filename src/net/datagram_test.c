/* SPDX-License-Identifier: MIT
 * Tests of datagram sockets, over the loopback and Unix sockets. */
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/net_test.h"

static int open_at(bk_datagram **d, const char *local)
{
    return bk_datagram_open(d, &(bk_datagram_opts){.local = local});
}

static int connect_to(bk_datagram **d, const char *remote)
{
    return bk_datagram_open(d, &(bk_datagram_opts){.remote = remote});
}

/* Receives one and compares it. */
static bool got(bk_datagram *d, const char *want, bk_address *from)
{
    bk_msg *msg = NULL;
    bool ok = bk_datagram_recv(d, &msg, from) == 1 && bk_msg_len(msg) == strlen(want) &&
              memcmp(bk_msg_data(msg), want, strlen(want)) == 0;
    bk_msg_free(&msg);
    return ok;
}

static int receive(void *ctx)
{
    bk_msg *msg = NULL;
    int r = bk_datagram_recv(ctx, &msg, NULL);
    r = r == 1 ? (int)bk_msg_len(msg) : r;
    bk_msg_free(&msg);
    return r;
}

static bk_task *go(bk_fn *fn, void *ctx)
{
    bk_task *task = NULL;
    return bk_go(&task, fn, ctx, NULL) == 0 ? task : NULL;
}

static int result_of(bk_task **task)
{
    int result = -EINPROGRESS, r = bk_task_wait(*task, &result);
    bk_task_free(task);
    return r < 0 ? r : result;
}

/* ---- There and back ---- */

LOOP_TEST(P5_a_question_and_its_answer)
{
    bk_datagram *server = NULL, *client = NULL;
    bk_address from;
    char text[BK_ADDRESS_TEXT];
    CHECK_EQ(open_at(&server, "127.0.0.1:0"), 0);
    CHECK_EQ(connect_to(&client, bk_datagram_local(server)), 0);
    CHECK_STR(bk_datagram_remote(client), bk_datagram_local(server));
    CHECK_STR(bk_datagram_remote(server), "");
    CHECK_EQ(bk_datagram_send(client, "ping", 4), 0);
    CHECK(got(server, "ping", &from));
    CHECK_STR(bk_address_format(&from, text, sizeof text), bk_datagram_local(client));
    CHECK_EQ(bk_datagram_send_to(server, &from, "pong", 4), 0);
    CHECK(got(client, "pong", NULL));
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, -7), -7);
}

LOOP_TEST(P5_a_receiver_waits_and_keeps_bounds)
{
    bk_datagram *server = NULL, *client = NULL;
    CHECK_EQ(open_at(&server, "127.0.0.1:0"), 0);
    CHECK_EQ(connect_to(&client, bk_datagram_local(server)), 0);
    bk_task *t = go(receive, server);
    bk_yield();
    CHECK_EQ(bk_datagram_recv(server, &(bk_msg *){NULL}, NULL), -EBUSY);
    CHECK_EQ(bk_datagram_close(&server, 0), -EBUSY);
    CHECK_EQ(bk_datagram_send(client, "12345", 5), 0);
    CHECK_EQ(bk_datagram_send(client, "", 0), 0);
    CHECK_EQ(bk_datagram_send(client, "6", 1), 0);
    CHECK_EQ(result_of(&t), 5);
    CHECK(got(server, "", NULL));
    CHECK(got(server, "6", NULL));
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

struct receiver {
    bk_datagram *from;
    int result; /* of the call: the task's own is -ECANCELED whatever it got */
};

static int receive_and_tell(void *ctx)
{
    struct receiver *receiver = ctx;
    return receiver->result = receive(receiver->from);
}

LOOP_TEST(P5_a_cancelled_receiver_loses_nothing)
{
    bk_datagram *server = NULL, *client = NULL;
    CHECK_EQ(open_at(&server, "127.0.0.1:0"), 0);
    CHECK_EQ(connect_to(&client, bk_datagram_local(server)), 0);
    for (int i = 0; i < 20; i++) {
        struct receiver receiver = {.from = server, .result = -ECANCELED};
        bk_task *t = go(receive_and_tell, &receiver);
        for (int turn = 0; turn < i % 4; turn++)
            bk_yield();
        CHECK_EQ(bk_datagram_send(client, "abc", 3), 0);
        for (int turn = 0; turn < i / 4; turn++)
            bk_yield();
        bk_task_cancel(t);
        result_of(&t);
        if (receiver.result == -ECANCELED)
            CHECK(got(server, "abc", NULL));
        else
            CHECK_EQ(receiver.result, 3);
    }
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

LOOP_TEST(P5_both_families_through_one_socket)
{
    bk_datagram *server = NULL, *v4 = NULL, *v6 = NULL;
    bk_address from, to;
    char text[BK_ADDRESS_TEXT];
    int r = open_at(&server, ":0");
    CHECK_EQ(r, 0);
    const char *port = strrchr(bk_datagram_local(server), ':');
    snprintf(text, sizeof text, "127.0.0.1%s", port);
    CHECK_EQ(connect_to(&v4, text), 0);
    CHECK_EQ(bk_datagram_send(v4, "four", 4), 0);
    CHECK(got(server, "four", &from));
    CHECK_STR(bk_address_format(&from, text, sizeof text), bk_datagram_local(v4));
    CHECK_EQ(bk_address_parse(&to, bk_datagram_local(v4)), 0);
    CHECK(bk_address_equal(&from, &to));
    CHECK_EQ(bk_datagram_send_to(server, &to, "back", 4), 0); /* IPv4 out of an IPv6 socket */
    CHECK(got(v4, "back", NULL));
    snprintf(text, sizeof text, "[::1]%s", port);
    if (connect_to(&v6, text) == 0) {
        CHECK_EQ(bk_datagram_send(v6, "six", 3), 0);
        CHECK(got(server, "six", &from));
        CHECK(!bk_address_equal(&from, &to));
        CHECK_EQ(bk_datagram_send_to(server, &from, "back", 4), 0);
        CHECK(got(v6, "back", NULL));
    }
    CHECK_EQ(bk_datagram_close(&v6, 0), 0);
    CHECK_EQ(bk_datagram_close(&v4, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

LOOP_TEST(P5_a_socket_without_addresses_sends_anywhere)
{
    bk_datagram *server = NULL, *client = NULL;
    bk_address to, from;
    CHECK_EQ(open_at(&server, "localhost:0"), 0);
    CHECK_EQ(bk_datagram_open(&client, NULL), 0);
    CHECK_EQ(bk_datagram_send(client, "x", 1), -EDESTADDRREQ);
    CHECK_EQ(bk_address_parse(&to, bk_datagram_local(server)), 0);
    CHECK_EQ(bk_datagram_send_to(client, &to, "hi", 2), 0);
    CHECK(got(server, "hi", &from));
    CHECK_EQ(bk_datagram_send_to(server, &from, "ho", 2), 0);
    CHECK(got(client, "ho", NULL));
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

/* ---- What the network says ---- */

LOOP_TEST(P5_a_refusal_is_told_and_changes_nothing)
{
    bk_datagram *server = NULL, *client = NULL;
    char address[64];
    CHECK_EQ(open_at(&server, "127.0.0.1:0"), 0);
    snprintf(address, sizeof address, "%s", bk_datagram_local(server));
    CHECK_EQ(connect_to(&client, address), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
    CHECK_EQ(bk_datagram_send(client, "lost", 4), 0);
    CHECK_EQ(receive(client), -ECONNREFUSED);
    CHECK(strstr(bk_errmsg(), address));
    CHECK_EQ(open_at(&server, address), 0);
    CHECK_EQ(bk_datagram_send(client, "again", 5), 0);
    CHECK(got(server, "again", NULL));
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

LOOP_TEST(P5_a_waiting_receiver_is_told_of_a_refusal)
{
    bk_datagram *server = NULL, *client = NULL;
    CHECK_EQ(open_at(&server, "127.0.0.1:0"), 0);
    CHECK_EQ(connect_to(&client, bk_datagram_local(server)), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
    bk_task *t = go(receive, client);
    bk_yield();
    CHECK_EQ(bk_datagram_send(client, "lost", 4), 0);
    CHECK_EQ(result_of(&t), -ECONNREFUSED);
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
}

LOOP_TEST(P5_a_connected_socket_talks_to_nobody_else)
{
    bk_datagram *peer = NULL, *stranger = NULL, *d = NULL;
    bk_address to;
    CHECK_EQ(open_at(&peer, "127.0.0.1:0"), 0);
    CHECK_EQ(open_at(&stranger, "127.0.0.1:0"), 0);
    CHECK_EQ(connect_to(&d, bk_datagram_local(peer)), 0);
    CHECK_EQ(bk_address_parse(&to, bk_datagram_local(d)), 0);
    bk_address foreign;
    CHECK_EQ(bk_address_parse(&foreign, bk_datagram_local(stranger)), 0);
    CHECK_EQ(bk_datagram_send_to(d, &foreign, "out", 3), -EISCONN);
    CHECK(strstr(bk_errmsg(), "this socket is connected to 127.0.0.1:"));
    CHECK_EQ(bk_address_parse(&foreign, bk_datagram_local(peer)), 0);
    CHECK_EQ(bk_datagram_send_to(d, &foreign, "out", 3), 0);
    CHECK(got(peer, "out", NULL));
    CHECK_EQ(bk_datagram_send_to(stranger, &to, "foreign", 7), 0);
    CHECK_EQ(bk_datagram_send_to(peer, &to, "ours", 4), 0);
    CHECK(got(d, "ours", NULL));
    CHECK_EQ(bk_wait_for(receive, d, bk_ms(5)), -ETIMEDOUT);
    CHECK_EQ(bk_datagram_close(&d, 0), 0);
    CHECK_EQ(bk_datagram_close(&stranger, 0), 0);
    CHECK_EQ(bk_datagram_close(&peer, 0), 0);
}

/* ---- Sizes ---- */

LOOP_TEST(P5_too_long_is_told_and_the_next_one_comes)
{
    bk_datagram *server = NULL, *client = NULL;
    static char big[65535];
    CHECK_EQ(
        bk_datagram_open(&server, &(bk_datagram_opts){.local = "127.0.0.1:0", .max_size = 100}), 0);
    CHECK_EQ(connect_to(&client, bk_datagram_local(server)), 0);
    CHECK_EQ(bk_datagram_send(client, big, 101), 0);
    CHECK_EQ(bk_datagram_send(client, big, 100), 0);
    CHECK_EQ(receive(server), -EMSGSIZE);
    CHECK(strstr(bk_errmsg(), "a datagram of 101 bytes from 127.0.0.1:"));
    CHECK_EQ(receive(server), 100);
    CHECK_EQ(bk_datagram_send(client, big, 65535), -EMSGSIZE); /* 65,507 fit */
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

LOOP_TEST(P5_the_largest_datagram_there_is)
{
    bk_datagram *server = NULL, *client = NULL;
    static char big[65507];
    memset(big, 'x', sizeof big);
    bk_msg *msg = NULL;
    CHECK_EQ(open_at(&server, "127.0.0.1:0"), 0);
    CHECK_EQ(connect_to(&client, bk_datagram_local(server)), 0);
    CHECK_EQ(bk_datagram_send(client, big, sizeof big), 0);
    CHECK_EQ(bk_datagram_recv(server, &msg, NULL), 1);
    CHECK_MEM(bk_msg_data(msg), bk_msg_len(msg), big, sizeof big);
    CHECK_EQ(bk_msg_kind_get(msg), BK_BINARY);
    bk_msg_free(&msg);
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
}

/* ---- Waiting senders: Unix sockets, whose receivers hold a sender up ---- */

struct sender {
    bk_datagram *to;
    int number;
};

static int send_number(void *ctx)
{
    struct sender *s = ctx;
    return bk_datagram_send(s->to, &s->number, sizeof s->number);
}

static int read_number(int fd)
{
    int number = -1;
    return recv(fd, &number, sizeof number, MSG_DONTWAIT) == sizeof number ? number : -1;
}

/* asyncio queues what the kernel does not take; here the sender waits, as every writer does, so
 * that nothing grows without bound. */
LOOP_TEST(P5_differs_senders_wait_for_room_and_keep_their_order)
{
    int fds[2], n = 0, number;
    bk_datagram *d = NULL;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(bk_datagram_from_fd(&d, fds[0], NULL), 0);
    while (bk_datagram_try_send(d, NULL, &n, sizeof n) == 0)
        n++;
    CHECK(n > 0);
    struct sender senders[4];
    bk_task *tasks[4];
    for (int i = 0; i < 4; i++) {
        senders[i] = (struct sender){d, n + i};
        tasks[i] = go(send_number, &senders[i]);
        bk_yield();
        CHECK(!bk_task_done(tasks[i]));
    }
    CHECK_EQ(bk_datagram_try_send(d, NULL, "x", 1), -EAGAIN);
    bk_task_cancel(tasks[0]); /* the one at the kernel, and one in line */
    bk_task_cancel(tasks[2]);
    CHECK_EQ(result_of(&tasks[0]), -ECANCELED);
    CHECK_EQ(result_of(&tasks[2]), -ECANCELED);
    for (int i = 0; i < n; i++)
        CHECK_EQ(read_number(fds[1]), i);
    CHECK_EQ(result_of(&tasks[1]), 0);
    CHECK_EQ(result_of(&tasks[3]), 0);
    CHECK_EQ(read_number(fds[1]), n + 1);
    CHECK_EQ(read_number(fds[1]), n + 3);
    number = read_number(fds[1]);
    CHECK_EQ(number, -1);
    CHECK_EQ(bk_datagram_close(&d, 0), 0);
    close(fds[1]);
}

/* ---- Unix sockets ---- */

LOOP_TEST(P5_unix_datagrams_with_and_without_a_file)
{
    char path[128], address[160], text[BK_ADDRESS_TEXT];
    snprintf(path, sizeof path, "/tmp/beck-datagram-%d", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    bk_datagram *server = NULL, *client = NULL, *second = NULL;
    bk_address from;
    CHECK_EQ(open_at(&server, address), 0);
    CHECK_EQ(open_at(&second, address), -EADDRINUSE);
    CHECK_EQ(connect_to(&client, address), 0);
    CHECK_EQ(bk_datagram_send(client, "hi", 2), 0);
    CHECK(got(server, "hi", &from)); /* it has been given a name to answer to */
    CHECK(strncmp(bk_address_format(&from, text, sizeof text), "unix:@", 6) == 0);
    CHECK_EQ(bk_datagram_send_to(server, &from, "ho", 2), 0);
    CHECK(got(client, "ho", NULL));
    CHECK_EQ(bk_datagram_close(&client, 0), 0);
    CHECK_EQ(bk_datagram_close(&server, 0), 0);
    struct stat st;
    CHECK(stat(path, &st) < 0);
}

LOOP_TEST(P5_a_stale_unix_file_is_replaced)
{
    char path[108], address[160];
    snprintf(path, sizeof path, "/tmp/beck-datagram-%d", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    bk_datagram *d = NULL;
    CHECK_EQ(open_at(&d, address), 0);
    CHECK_EQ(bk_datagram_close(&d, 0), 0);
    CHECK(access(path, F_OK) < 0);
}

/* ---- Options ---- */

LOOP_TEST(P5_reuse_port_lets_several_share)
{
    bk_datagram_opts opts = {.local = "127.0.0.1:0", .reuse_port = true};
    bk_datagram *a = NULL, *b = NULL, *c = NULL;
    char address[64];
    CHECK_EQ(bk_datagram_open(&a, &opts), 0);
    snprintf(address, sizeof address, "%s", bk_datagram_local(a));
    opts.local = address;
    CHECK_EQ(bk_datagram_open(&b, &opts), 0);
    CHECK_EQ(open_at(&c, address), -EADDRINUSE);
    CHECK(strstr(bk_errmsg(), address));
    CHECK_EQ(bk_datagram_close(&a, 0), 0);
    CHECK_EQ(bk_datagram_close(&b, 0), 0);
}

LOOP_TEST(P5_broadcast_must_be_asked_for)
{
    bk_datagram *plain = NULL, *broad = NULL;
    bk_address to;
    CHECK_EQ(bk_address_parse(&to, "127.255.255.255:9"), 0);
    CHECK_EQ(open_at(&plain, "127.0.0.1:0"), 0);
    CHECK_EQ(bk_datagram_send_to(plain, &to, "x", 1), -EACCES);
    bk_datagram_opts opts = {.local = "127.0.0.1:0", .broadcast = true};
    CHECK_EQ(bk_datagram_open(&broad, &opts), 0);
    CHECK_EQ(bk_datagram_send_to(broad, &to, "x", 1), 0);
    CHECK_EQ(bk_datagram_close(&plain, 0), 0);
    CHECK_EQ(bk_datagram_close(&broad, 0), 0);
}

LOOP_TEST(P5_multicast_on_the_loopback)
{
    bk_datagram *d = NULL, *sender = NULL;
    bk_address to;
    char text[64];
    CHECK_EQ(open_at(&d, "0.0.0.0:0"), 0);
    CHECK_EQ(bk_datagram_join(d, "239.1.2.3", "lo"), 0);
    CHECK_EQ(bk_datagram_join(d, "239.1.2.3", "lo"), -EADDRINUSE);
    CHECK_EQ(bk_datagram_join(d, "239.1.2.3", "no-such-0"), -ENODEV);
    CHECK_EQ(bk_datagram_join(d, "group.example", NULL), -EINVAL);
    bk_datagram_opts opts = {.local = "127.0.0.1:0", .multicast_ttl = 1};
    CHECK_EQ(bk_datagram_open(&sender, &opts), 0);
    snprintf(text, sizeof text, "239.1.2.3%s", strrchr(bk_datagram_local(d), ':'));
    CHECK_EQ(bk_address_parse(&to, text), 0);
    /* Out by the loopback, whatever routes there are. */
    struct ip_mreqn by_lo = {.imr_ifindex = 1};
    setsockopt(bk_datagram_fd(sender), IPPROTO_IP, IP_MULTICAST_IF, &by_lo, sizeof by_lo);
    CHECK_EQ(bk_datagram_send_to(sender, &to, "all", 3), 0);
    CHECK(got(d, "all", NULL));
    CHECK_EQ(bk_datagram_leave(d, "239.1.2.3", "lo"), 0);
    CHECK_EQ(bk_datagram_leave(d, "239.1.2.3", "lo"), -EADDRNOTAVAIL);
    CHECK_EQ(bk_datagram_close(&sender, 0), 0);
    CHECK_EQ(bk_datagram_close(&d, 0), 0);
}

LOOP_TEST(P5_wrong_calls_are_told)
{
    bk_datagram *d = NULL;
    bk_address to;
    CHECK_EQ(open_at(&d, "no address"), -BK_EURL);
    CHECK_EQ(
        bk_datagram_open(&d, &(bk_datagram_opts){.local = "127.0.0.1:0", .remote = "unix:/tmp/x"}),
        -EINVAL);
    CHECK_EQ(bk_address_parse(&to, "localhost:1"), -BK_EURL);
    CHECK(strstr(bk_errmsg(), "looked up first"));
    CHECK_EQ(bk_datagram_from_fd(&d, 0, NULL) < 0, 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(bk_datagram_from_fd(&d, fd, NULL), -EINVAL);
    close(fd);
    CHECK_EQ(open_at(&d, "127.0.0.1:0"), 0);
    CHECK_EQ(bk_address_parse(&to, "unix:/tmp/x"), 0);
    CHECK_EQ(bk_datagram_send_to(d, &to, "x", 1), -EAFNOSUPPORT);
    CHECK_EQ(bk_address_parse(&to, "[::1]:9"), 0);
    CHECK_EQ(bk_datagram_send_to(d, &to, "x", 1), -EAFNOSUPPORT);
    CHECK_EQ(bk_datagram_close(&d, 0), 0);
}

CHECK_MAIN(TEST(P5_a_question_and_its_answer), TEST(P5_a_receiver_waits_and_keeps_bounds),
           TEST(P5_a_cancelled_receiver_loses_nothing), TEST(P5_both_families_through_one_socket),
           TEST(P5_a_socket_without_addresses_sends_anywhere),
           TEST(P5_a_refusal_is_told_and_changes_nothing),
           TEST(P5_a_waiting_receiver_is_told_of_a_refusal),
           TEST(P5_a_connected_socket_talks_to_nobody_else),
           TEST(P5_too_long_is_told_and_the_next_one_comes), TEST(P5_the_largest_datagram_there_is),
           TEST(P5_differs_senders_wait_for_room_and_keep_their_order),
           TEST(P5_unix_datagrams_with_and_without_a_file), TEST(P5_a_stale_unix_file_is_replaced),
           TEST(P5_reuse_port_lets_several_share), TEST(P5_broadcast_must_be_asked_for),
           TEST(P5_multicast_on_the_loopback), TEST(P5_wrong_calls_are_told))
