/* SPDX-License-Identifier: MIT
 * Unfinished messages of many connections share the loop's memory for them: none holds much without
 * it, all come to their end, nobody keeps it for ever, and short messages never wait. */
#include "proto/ws_zip_fixture.h"
#include "rt/turn.h"

#define KIB ((size_t)1024)
#define MIB ((size_t)1 << 20)

enum { CROWD = 20, LONG = 24 * 1024, LIMIT = 64 * 1024 };

struct peer {
    struct raw raw;
    bk_task *task;
    int result; /* of one receive */
    size_t len;
    bool right; /* all of it is what was sent */
    bool done;
    char text[200]; /* bk_errmsg, when it failed */
};

/* What the message at place i is made of; does not compress well. */
static char byte_at(size_t place, size_t i)
{
    uint32_t x = (uint32_t)(place * 1000003 + i) * 2654435761u;
    return (char)(x >> 13 ^ x >> 24);
}

static int receive_one(void *ctx)
{
    struct peer *p = ctx;
    bk_msg *msg = NULL;
    p->result = bk_ws_recv(p->raw.ws, &msg);
    p->len = msg ? bk_msg_len(msg) : 0;
    p->right = true;
    for (size_t i = 0; msg && i < p->len; i++)
        p->right &= bk_msg_data(msg)[i] == byte_at(0, i);
    snprintf(p->text, sizeof p->text, "%s", p->result < 0 ? bk_errmsg() : "");
    bk_msg_free(&msg);
    p->done = true;
    return p->result;
}

static void begin(struct peer *p, const bk_ws_opts *opts)
{
    bki_loop->opts.max_intake = LIMIT;
    *p = (struct peer){.result = 0};
    CHECK_EQ(opts->deflate.on ? open_zipped(&p->raw, opts) : open_raw(&p->raw, opts), 0);
    CHECK_EQ(set_buffer(p->raw.peer, SO_SNDBUF, 1 << 20), 0);
    CHECK_EQ(bk_go(&p->task, receive_one, p, NULL), 0);
}

static void end(struct peer *p)
{
    bk_task_wait(p->task, NULL);
    bk_task_free(&p->task);
    close_raw(&p->raw);
}

static void settle(void)
{
    bk_sleep(bk_ms(1));
}

/* Memory that its unfinished message has written to. */
static size_t holds(const struct peer *p)
{
    const struct bk_ws *ws = p->raw.ws;
    return (ws->part ? ws->part_len : 0) + (ws->zip ? ws->zip->kept_room : 0) + ws->stream->in.cap;
}

static size_t all_hold(const struct peer *peers, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += holds(&peers[i]);
    return sum;
}

/* A message of one frame, in bytes: its beginning, and the rest of it. */
static char frame[LONG + 14];
static size_t frame_len;

static void make_frame(int first_byte, const char *payload, size_t len)
{
    frame_len = put_frame(frame, first_byte, payload, len);
}

static void make_plain(void)
{
    static char payload[LONG];
    for (size_t i = 0; i < LONG; i++)
        payload[i] = byte_at(0, i);
    make_frame(0x82, payload, LONG);
}

static void say_bytes(const struct peer *p, const char *bytes, size_t len)
{
    CHECK_EQ(write(p->raw.peer, bytes, len), (ssize_t)len);
}

static void check_empty(void)
{
    CHECK_EQ(bki_loop->intake.held, 0);
    CHECK_EQ(bki_loop->intake.n_active, 0);
}

/* ---- A crowd ---- */

static void receive_in_crowd(const bk_ws_opts *opts)
{
    static struct peer peers[CROWD];
    size_t most = 0;
    for (int i = 0; i < CROWD; i++) {
        begin(&peers[i], opts);
        say_bytes(&peers[i], frame, frame_len - 1);
    }
    for (int i = 0; i < 200; i++) {
        size_t now = all_hold(peers, CROWD);
        most = now > most ? now : most;
        bk_yield();
    }
    settle();
    for (int i = 0; i < CROWD; i++)
        CHECK(!peers[i].done);
    CHECK(most > LIMIT / 2);
    CHECK(all_hold(peers, CROWD) <= LIMIT + CROWD * BKI_INTAKE_OWN + 2 * LONG);
    CHECK(most <= LIMIT + CROWD * 2 * BKI_INTAKE_OWN + 2 * LONG);
    for (int i = 0; i < CROWD; i++)
        say_bytes(&peers[i], frame + frame_len - 1, 1);
    for (int i = 0; i < CROWD; i++) {
        end(&peers[i]);
        CHECK_EQ(peers[i].result, 1);
        CHECK_EQ(peers[i].len, LONG);
        CHECK(peers[i].right);
    }
    check_empty();
}

LOOP_TEST(a_crowd_of_long_messages_comes_through_within_the_limit)
{
    make_plain();
    receive_in_crowd(&(bk_ws_opts){.max_message = 0});
}

LOOP_TEST(so_does_a_crowd_of_compressed_ones)
{
    static char payload[LONG], packed[LONG + 1000];
    for (size_t i = 0; i < LONG; i++)
        payload[i] = byte_at(0, i);
    size_t n = compress(packed, sizeof packed, payload, LONG);
    CHECK(n > LONG / 2 && n <= LONG);
    make_frame(0xc2, packed, n);
    receive_in_crowd(&COMPRESSED());
}

LOOP_TEST(so_does_a_crowd_of_fragments)
{
    enum { FRAGMENTS = 3000 };
    static char bytes[FRAGMENTS * 7];
    static struct peer peers[CROWD];
    size_t len = 0, last;
    for (size_t i = 0; i < FRAGMENTS; i++) {
        char payload = byte_at(0, i);
        last = len;
        len += put_frame(bytes + len, i == 0 ? 0x02 : i < FRAGMENTS - 1 ? 0x00 : 0x80, &payload, 1);
    }
    for (int i = 0; i < CROWD; i++) {
        begin(&peers[i], &(bk_ws_opts){.max_message = 0});
        say_bytes(&peers[i], bytes, last);
    }
    settle();
    CHECK(all_hold(peers, CROWD) <= LIMIT + CROWD * BKI_INTAKE_OWN);
    for (int i = 0; i < CROWD; i++)
        say_bytes(&peers[i], bytes + last, len - last);
    for (int i = 0; i < CROWD; i++) {
        end(&peers[i]);
        CHECK_EQ(peers[i].len, FRAGMENTS);
        CHECK(peers[i].right);
    }
    check_empty();
}

/* A crowd that holds all there is and sends no more. */
static void hold_all(struct peer *crowd)
{
    make_plain();
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &(bk_ws_opts){.max_message = 0});
        say_bytes(&crowd[i], frame, LONG / 2);
    }
    settle();
    CHECK(bki_loop->intake.held > LIMIT / 2);
    CHECK(!bki_list_empty(&bki_loop->intake.lines[1]));
}

static void end_all(struct peer *crowd)
{
    for (int i = 0; i < CROWD; i++) {
        bk_task_cancel(crowd[i].task);
        end(&crowd[i]);
    }
    check_empty();
}

LOOP_TEST(a_short_message_waits_for_nobody)
{
    static struct peer crowd[CROWD];
    struct peer p;
    hold_all(crowd);
    begin(&p, &(bk_ws_opts){.max_message = 0});
    make_frame(0x82, frame + 8, 1500); /* of the same bytes, but cut in two */
    say_bytes(&p, frame, 700);
    settle();
    say_bytes(&p, frame + 700, frame_len - 700);
    end(&p);
    CHECK_EQ(p.result, 1);
    CHECK_EQ(p.len, 1500);
    end_all(crowd);
}

LOOP_TEST(parts_are_not_held_and_wait_for_nobody)
{
    static struct peer crowd[CROWD];
    struct raw raw;
    size_t len = 0;
    hold_all(crowd);
    CHECK_EQ(open_raw(&raw, NULL), 0);
    CHECK_EQ(set_buffer(raw.peer, SO_SNDBUF, 1 << 20), 0);
    CHECK_EQ(write(raw.peer, frame, frame_len), (ssize_t)frame_len);
    for (bk_ws_part part = {.last = false}; !part.last; len += part.data.len)
        CHECK_EQ(bk_ws_recv_part(raw.ws, &part), 1);
    CHECK_EQ(len, LONG);
    close_raw(&raw);
    end_all(crowd);
}

/* Its peer cannot answer pings: it is held up by us. */
LOOP_TEST(who_waits_is_not_taken_for_silent)
{
    static struct peer crowd[CROWD];
    struct peer p;
    hold_all(crowd);
    begin(&p, &(bk_ws_opts){
                  .max_message = 0, .ping_interval = bk_seconds(1), .ping_timeout = bk_seconds(1)});
    say_bytes(&p, frame, frame_len);
    bk_sleep(bk_seconds(5));
    CHECK(!p.done);
    end_all(crowd);
    end(&p);
    CHECK_EQ(p.result, 1);
    CHECK(p.right);
}

LOOP_TEST(a_wait_that_is_cut_loses_nothing)
{
    static struct peer crowd[CROWD];
    struct peer p;
    hold_all(crowd);
    begin(&p, &(bk_ws_opts){.max_message = 0});
    say_bytes(&p, frame, frame_len);
    settle();
    bk_task_cancel(p.task);
    bk_task_wait(p.task, NULL);
    CHECK_EQ(p.result, -ECANCELED);
    end_all(crowd);
    receive_one(&p);
    CHECK_EQ(p.result, 1);
    CHECK_EQ(p.len, LONG);
    CHECK(p.right);
    end(&p);
}

/* ---- Who keeps others waiting ---- */

/* Among the short frames that it has been sent. */
static bool heard_close(const struct peer *p, const char code[2])
{
    char buf[1000];
    ssize_t n = hear(&p->raw, buf, sizeof buf), i = 0;
    while (i + 4 <= n && (uint8_t)buf[i] != 0x88)
        i += 2 + buf[i + 1];
    return i + 4 <= n && memcmp(buf + i + 2, code, 2) == 0;
}

static void check_dismissed(struct peer *p)
{
    bk_msg *msg = NULL;
    CHECK_EQ(p->result, -ENOBUFS);
    CHECK(strstr(p->text, "messages of others waited for the memory of an unfinished one"));
    CHECK_EQ(bk_ws_recv(p->raw.ws, &msg), -ENOBUFS);
    CHECK(strstr(bk_errmsg(), "messages of others waited"));
    CHECK(heard_close(p, "\x03\xf5")); /* 1013: try again later */
}

LOOP_TEST(a_peer_that_does_not_go_on_is_dismissed)
{
    static struct peer crowd[CROWD];
    struct peer p;
    int n_dismissed = 0;
    hold_all(crowd);
    bk_sleep(bk_seconds(100)); /* those in the crowd make way for each other */
    for (int i = 0; i < CROWD; i++) {
        n_dismissed += crowd[i].done;
        if (crowd[i].done)
            check_dismissed(&crowd[i]);
    }
    CHECK(n_dismissed > 0 && n_dismissed < CROWD);
    begin(&p, &(bk_ws_opts){.max_message = 0});
    say_bytes(&p, frame, frame_len);
    end(&p);
    CHECK_EQ(p.result, 1);
    CHECK(p.right);
    end_all(crowd);
}

/* A short compressed message is whole at once; what comes behind it is not. */
LOOP_TEST(a_short_message_before_it_changes_nothing)
{
    struct peer p, other;
    char packed[100];
    size_t n = compress(packed, sizeof packed, "Hello", 5);
    begin(&p, &COMPRESSED(.send_no_context = true));
    send_frame(&p.raw, 0xc1, packed, n);
    bk_task_wait(p.task, NULL);
    bk_task_free(&p.task);
    CHECK_EQ(p.result, 1);
    make_plain();
    bki_loop->opts.max_intake = 20 * 1024;
    CHECK_EQ(bk_go(&p.task, receive_one, &p, NULL), 0);
    say_bytes(&p, frame, LONG - 1000);
    settle();
    begin(&other, &(bk_ws_opts){.max_message = 0});
    bki_loop->opts.max_intake = 20 * 1024;
    say_bytes(&other, frame, frame_len);
    bk_sleep(bk_seconds(12));
    CHECK(other.done);
    check_dismissed(&p);
    end(&other);
    CHECK_EQ(other.result, 1);
    end(&p);
    check_empty();
}

LOOP_TEST(so_is_one_that_nobody_receives_from)
{
    struct peer p, other;
    make_plain();
    begin(&p, &(bk_ws_opts){.max_message = 0, .ping_interval = bk_forever()});
    bki_loop->opts.max_intake = 20 * 1024;
    say_bytes(&p, frame, LONG - 1000);
    settle();
    bk_task_cancel(p.task);
    bk_task_wait(p.task, NULL);
    CHECK_EQ(p.result, -ECANCELED);
    CHECK(holds(&p) > 0 && bki_loop->intake.held > 0);
    begin(&other, &(bk_ws_opts){.max_message = 0});
    bki_loop->opts.max_intake = 20 * 1024;
    say_bytes(&other, frame, frame_len);
    bk_sleep(bk_seconds(9));
    CHECK(!other.done);
    end(&other);
    CHECK_EQ(other.result, 1);
    CHECK(!p.raw.ws->part);
    receive_one(&p);
    check_dismissed(&p);
    end(&p);
    check_empty();
}

/* ---- What compressed messages may cost ---- */

static const bk_ws_opts large = {
    .max_message = 16 << 20, .max_fragments = 1 << 17, .deflate = {.on = true}};

static char *bomb;
static size_t bomb_len;

static void make_bomb(size_t n)
{
    size_t room = n / 500 + 1000;
    char *zeros = calloc(1, n), *packed = malloc(room);
    bomb = malloc(room + 14);
    bomb_len = put_frame(bomb, 0xc1, packed, compress(packed, room, zeros, n));
    free(zeros);
    free(packed);
}

LOOP_TEST(a_bomb_is_found_out_without_being_kept)
{
    struct peer p;
    size_t most = 0;
    make_bomb(64 * MIB);
    begin(&p, &large);
    say_bytes(&p, bomb, bomb_len);
    while (!p.done) {
        size_t now = p.raw.ws->part ? bk_msg_len(p.raw.ws->part) : 0;
        most = now > most ? now : most;
        bk_yield();
    }
    CHECK_EQ(p.result, -EMSGSIZE);
    CHECK(strstr(p.text, "over the size limit"));
    CHECK(most > 0 && most <= 256 * KIB);
    CHECK(!p.raw.ws->zip->inflater);
    free(bomb);
    end(&p);
    check_empty();
}

/* It is looked at twice, and comes through. */
LOOP_TEST(a_message_just_within_the_limit_is_no_bomb)
{
    struct peer p;
    make_bomb(16 * MIB);
    begin(&p, &large);
    say_bytes(&p, bomb, bomb_len);
    end(&p);
    CHECK_EQ(p.result, 1);
    CHECK_EQ(p.len, 16 * MIB);
    free(bomb);
}

LOOP_TEST(who_waits_for_the_turn_has_no_window_and_nothing_inflated)
{
    struct peer p;
    make_bomb(4 * MIB);
    begin(&p, &large);
    CHECK_EQ(bki_turn_take(BKI_TURN_MAKES), 0);
    say_bytes(&p, bomb, bomb_len);
    settle();
    CHECK(!p.done && !p.raw.ws->part && !p.raw.ws->zip->inflater);
    bki_turn_give();
    end(&p);
    CHECK_EQ(p.result, 1);
    CHECK_EQ(p.len, 4 * MIB);
    free(bomb);
}

/* Windows that are held between messages are bounded, too. */
LOOP_TEST(a_crowd_of_connections_compresses_each_message_by_itself)
{
    enum { N = 8 };
    struct raw raw[N];
    int n_alone = 0;
    bki_loop->opts.max_intake = 400 * KIB; /* 77 KiB for each, half as much for all */
    for (int i = 0; i < N; i++) {
        CHECK_EQ(open_zipped(&raw[i], &COMPRESSED()), 0);
        const struct bki_ws_terms *terms = &raw[i].ws->zip->terms;
        CHECK_EQ(terms->send_alone, i >= 3);
        CHECK_EQ(terms->recv_alone, i >= 3);
        n_alone += terms->send_alone;
        CHECK_EQ(strstr(bk_ws_extensions(raw[i].ws), "client_no_context_takeover") != NULL, i >= 3);
        CHECK_EQ(strstr(bk_ws_extensions(raw[i].ws), "server_no_context_takeover") != NULL, i >= 3);
    }
    CHECK_EQ(n_alone, N - 3);
    close_raw(&raw[0]); /* makes room for another */
    CHECK_EQ(open_zipped(&raw[0], &COMPRESSED()), 0);
    CHECK(!raw[0].ws->zip->terms.send_alone);
    for (int i = 0; i < N; i++)
        close_raw(&raw[i]);
    CHECK_EQ(bki_loop->intake.contexts, 0);
}

/* ---- The detail of a failure ---- */

LOOP_TEST(a_close_leaves_the_reason_as_it_was)
{
    struct peer p;
    begin(&p, &(bk_ws_opts){.max_message = 100});
    make_plain();
    say_bytes(&p, frame, 1000);
    bk_task_wait(p.task, NULL);
    CHECK_EQ(p.result, -EMSGSIZE);
    /* The peer goes on as if nothing had happened. */
    int r = bk_fail(p.result, "%s", p.text);
    CHECK_EQ(bk_ws_close(&p.raw.ws, r), -EMSGSIZE);
    CHECK_STR(bk_errmsg(), p.text);
    end(&p);
}

CHECK_MAIN(TEST(a_crowd_of_long_messages_comes_through_within_the_limit),
           TEST(so_does_a_crowd_of_compressed_ones), TEST(so_does_a_crowd_of_fragments),
           TEST(a_short_message_waits_for_nobody), TEST(parts_are_not_held_and_wait_for_nobody),
           TEST(who_waits_is_not_taken_for_silent), TEST(a_wait_that_is_cut_loses_nothing),
           TEST(a_peer_that_does_not_go_on_is_dismissed),
           TEST(a_short_message_before_it_changes_nothing),
           TEST(so_is_one_that_nobody_receives_from), TEST(a_bomb_is_found_out_without_being_kept),
           TEST(a_message_just_within_the_limit_is_no_bomb),
           TEST(who_waits_for_the_turn_has_no_window_and_nothing_inflated),
           TEST(a_crowd_of_connections_compresses_each_message_by_itself),
           TEST(a_close_leaves_the_reason_as_it_was))
