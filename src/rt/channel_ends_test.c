/* SPDX-License-Identifier: MIT
 * Channels that hold nothing, and the ends of channels. */
#include <pthread.h>

#include <beck/channel.h>
#include <beck/task.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static bk_msg *msg_of(int n)
{
    bk_msg *msg = NULL;
    bk_msg_copy(&msg, &n, sizeof n);
    return msg;
}

static int number_in(bk_msg **msg)
{
    int n = -1000;
    if (*msg)
        memcpy(&n, bk_msg_data(*msg), sizeof n);
    bk_msg_free(msg);
    return n;
}

struct call {
    bk_channel *channel;
    int n;
};

static int do_send(void *ctx)
{
    struct call *call = ctx;
    bk_msg *msg = msg_of(call->n);
    int r = bk_channel_send(call->channel, &msg);
    trace("send %d", r == 0 ? call->n : r);
    if ((r == 0) != (msg == NULL))
        trace("?");
    bk_msg_free(&msg);
    return r;
}

static int do_recv(void *ctx)
{
    struct call *call = ctx;
    bk_msg *msg = NULL;
    int r = bk_channel_recv(call->channel, &msg);
    trace("recv %d", r == 1 ? number_in(&msg) : r);
    return r;
}

/* ---- A rendezvous ---- */

LOOP_TEST(C126_a_send_ends_when_its_message_is_received)
{
    bk_channel *c = NULL;
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.rendezvous = true, .name = "meet"}), 0);
    struct call s1 = {c, 1}, s2 = {c, 2}, g = {.channel = c};
    bk_msg *msg = msg_of(3);
    CHECK_EQ(bk_channel_try_send(c, &msg), -EAGAIN); /* nobody is there */
    bk_task *t1 = start(do_send, &s1), *t2 = start(do_send, &s2);
    let_run(2);
    CHECK_STR(trace_text(), "");
    CHECK(strstr(dump_text(), "waits for channel send 'meet' (a rendezvous), since"));
    CHECK_EQ(do_recv(&g), 1); /* at once: the first sender's */
    CHECK_EQ(finish(&t1), 0);
    CHECK_STR(trace_text(), "recv 1 send 1");
    CHECK_EQ(do_recv(&g), 1);
    CHECK_EQ(finish(&t2), 0);
    bk_task *r = start(do_recv, &g);
    let_run(2);
    CHECK_EQ(bk_channel_try_send(c, &msg), 0); /* somebody is */
    CHECK_EQ(finish(&r), 1);
    CHECK_STR(trace_text(), "recv 1 send 1 recv 2 send 2 recv 3");
    bk_channel_free(&c);
}

LOOP_TEST(C126_C120_a_cancelled_side_leaves_nothing_behind)
{
    bk_channel *c = NULL;
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.rendezvous = true}), 0);
    struct call s1 = {c, 1}, s2 = {c, 2}, g = {.channel = c};
    bk_task *t1 = start(do_send, &s1), *t2 = start(do_send, &s2);
    let_run(1);
    bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(do_recv(&g), 1);
    CHECK_EQ(finish(&t2), 0);
    bk_task *r = start(do_recv, &g);
    let_run(1);
    bk_task_cancel(r);
    CHECK_EQ(finish(&r), -ECANCELED);
    bk_msg *msg = msg_of(3);
    CHECK_EQ(bk_channel_try_send(c, &msg), -EAGAIN);
    bk_msg_free(&msg);
    CHECK_STR(trace_text(), "send -125 recv 2 send 2 recv -125");
    bk_channel_free(&c);
}

LOOP_TEST(C126_closing_a_rendezvous)
{
    bk_channel *c = NULL;
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.rendezvous = true, .limit = 3}), -EINVAL);
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.rendezvous = true}), 0);
    struct call s1 = {c, 1}, g = {.channel = c};
    bk_task *t1 = start(do_send, &s1);
    let_run(1);
    bk_channel_close(c);
    CHECK_EQ(finish(&t1), -BK_ECLOSED);
    CHECK_EQ(do_recv(&g), 0);
    bk_channel_free(&c);
}

enum { MANY = 20000 };

static void *send_many(void *ctx)
{
    for (int i = 0; i < MANY; i++) {
        bk_msg *msg = msg_of(i);
        if (bk_channel_send(ctx, &msg) < 0)
            return ctx;
    }
    bk_channel_close(ctx);
    return NULL;
}

static int receive_in_order(void *ctx)
{
    bk_msg *msg = NULL;
    int n = 0, r;
    while ((r = bk_channel_recv(ctx, &msg)) > 0)
        n += number_in(&msg) == n;
    return r < 0 ? r : n;
}

static void C126_N5_a_rendezvous_of_threads(void)
{
    bk_channel *c = NULL;
    pthread_t thread;
    void *failed = NULL;
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.rendezvous = true}), 0);
    CHECK_EQ(pthread_create(&thread, NULL, send_many, c), 0);
    CHECK_EQ(bk_run(receive_in_order, c, NULL), MANY);
    CHECK_EQ(pthread_join(thread, &failed), 0);
    CHECK(!failed);
    bk_channel_free(&c);
}

/* ---- Ends ---- */

LOOP_TEST(C126_the_last_receiver_breaks_the_senders)
{
    bk_sender *tx = NULL;
    bk_receiver *rx = NULL;
    CHECK_EQ(bk_channel_open(&tx, &rx, &(bk_channel_opts){.limit = 1}), 0);
    bk_receiver *clone = bk_receiver_ref(rx);
    struct call s1 = {bk_sender_channel(tx), 1}, s2 = {bk_sender_channel(tx), 2};
    CHECK_EQ(do_send(&s1), 0);
    bk_task *t = start(do_send, &s2);
    let_run(1);
    bk_receiver_free(&rx);
    CHECK(!rx);
    let_run(1);
    CHECK(!bk_task_done(t)); /* the clone keeps it open */
    bk_receiver_free(&clone);
    CHECK_EQ(finish(&t), -EPIPE);
    bk_msg *msg = msg_of(3);
    CHECK_EQ(bk_channel_send(bk_sender_channel(tx), &msg), -EPIPE);
    CHECK_STR(bk_errmsg(), "nobody receives from the channel any more");
    CHECK(msg);
    bk_msg_free(&msg);
    bk_sender_free(&tx);
    CHECK(!tx);
    bk_sender_free(&tx);
    bk_receiver_free(&rx);
}

LOOP_TEST(C126_the_last_sender_ends_the_receivers)
{
    bk_sender *tx = NULL;
    bk_receiver *rx = NULL;
    CHECK_EQ(bk_channel_open(&tx, &rx, NULL), 0);
    bk_sender *clone = bk_sender_ref(tx);
    struct call s = {bk_sender_channel(tx), 1}, g = {.channel = bk_receiver_channel(rx)};
    CHECK_EQ(do_send(&s), 0);
    bk_sender_free(&tx);
    CHECK_EQ(do_recv(&g), 1);
    bk_task *t = start(do_recv, &g);
    let_run(1);
    CHECK(!bk_task_done(t));
    struct call s2 = {bk_sender_channel(clone), 2};
    CHECK_EQ(do_send(&s2), 0);
    CHECK_EQ(finish(&t), 1);
    CHECK_EQ(do_send(&s2), 0);
    bk_sender_free(&clone);
    CHECK_EQ(do_recv(&g), 1); /* what is inside comes first */
    CHECK_EQ(do_recv(&g), 0);
    bk_receiver_free(&rx);
}

/* After a plain close, the end of the receivers changes nothing. */
LOOP_TEST(C126_closed_before_the_last_receiver_left)
{
    bk_sender *tx = NULL;
    bk_receiver *rx = NULL;
    CHECK_EQ(bk_channel_open(&tx, &rx, NULL), 0);
    bk_channel_close(bk_receiver_channel(rx));
    bk_receiver_free(&rx);
    struct call s = {bk_sender_channel(tx), 1};
    CHECK_EQ(do_send(&s), -BK_ECLOSED);
    bk_sender_free(&tx);
}

static int make_ends(void *ctx)
{
    bk_sender *tx = NULL;
    bk_receiver *rx = NULL;
    (void)ctx;
    int r = bk_channel_open(&tx, &rx, NULL);
    bk_sender_free(&tx);
    bk_receiver_free(&rx);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_ends, NULL), 2);
}

CHECK_MAIN(TEST(C126_a_send_ends_when_its_message_is_received),
           TEST(C126_C120_a_cancelled_side_leaves_nothing_behind), TEST(C126_closing_a_rendezvous),
           TEST(C126_N5_a_rendezvous_of_threads), TEST(C126_the_last_receiver_breaks_the_senders),
           TEST(C126_the_last_sender_ends_the_receivers),
           TEST(C126_closed_before_the_last_receiver_left), TEST(test_out_of_memory))
