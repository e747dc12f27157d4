/* SPDX-License-Identifier: MIT
 * Channels: order, limits, close and cancel within one loop; then loops and plain threads against
 * each other. */
#include <pthread.h>
#include <stdatomic.h>

#include <beck/channel.h>
#include <beck/group.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static bk_msg *number(uint32_t n)
{
    bk_msg *msg = NULL;
    bk_msg_copy(&msg, &n, sizeof n);
    return msg;
}

/* The number in *msg, which is freed; -1000 when there is none. */
static int read_number(bk_msg **msg)
{
    uint32_t n = (uint32_t)-1000;
    if (*msg)
        memcpy(&n, bk_msg_data(*msg), sizeof n);
    bk_msg_free(msg);
    return (int)n;
}

static bk_channel *channel_of(size_t limit)
{
    bk_channel *channel = NULL;
    bk_channel_new(&channel, &(bk_channel_opts){.limit = limit, .name = "link"});
    return channel;
}

static int put_now(bk_channel *channel, int n)
{
    bk_msg *msg = number((uint32_t)n);
    int r = bk_channel_try_send(channel, &msg);
    if ((r == 0) != (msg == NULL))
        r = -EIO;
    bk_msg_free(&msg);
    return r;
}

static int take_now(bk_channel *channel)
{
    bk_msg *msg = NULL;
    int r = bk_channel_try_recv(channel, &msg);
    return r == 1 ? read_number(&msg) : -1000 + r;
}

struct call {
    bk_channel *channel;
    int n;
    bool kept; /* a failed send left the message alone */
};

static int do_send(void *ctx)
{
    struct call *call = ctx;
    bk_msg *msg = number((uint32_t)call->n);
    int r = bk_channel_send(call->channel, &msg);
    if (r == 0)
        trace("sent %d", call->n);
    call->kept = msg != NULL;
    bk_msg_free(&msg);
    return r;
}

static int do_recv(void *ctx)
{
    struct call *call = ctx;
    bk_msg *msg = NULL;
    int r = bk_channel_recv(call->channel, &msg);
    if (r == 1) {
        call->n = read_number(&msg);
        trace("got %d", call->n);
    }
    return r;
}

/* ---- One thread ---- */

LOOP_TEST(test_limits)
{
    const size_t limits[] = {1, 3, 64, 1500};
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
        int limit = (int)limits[k], in = 0, out = 0;
        bk_channel *c = channel_of(limits[k]);
        for (int round = 0; round < 3; round++) {
            while (put_now(c, in) == 0)
                in++;
            CHECK_EQ(in - out, limit);
            CHECK_EQ(put_now(c, in), -EAGAIN);
            for (int i = 0; i <= limit / 2; i++)
                CHECK_EQ(take_now(c), out++);
        }
        while (out < in)
            CHECK_EQ(take_now(c), out++);
        CHECK_EQ(take_now(c), -1000 - EAGAIN);
        CHECK_EQ(put_now(c, 1), 0); /* freed with the channel */
        bk_channel_free(&c);
        CHECK(!c);
    }
    bk_channel *none = NULL;
    bk_channel_free(&none);
}

LOOP_TEST(test_no_message)
{
    bk_channel *c = channel_of(0);
    bk_msg *msg = NULL;
    CHECK_EQ(bk_channel_send(c, &msg), -EINVAL);
    CHECK_EQ(bk_channel_try_send(c, &msg), -EINVAL);
    bk_channel_free(&c);
}

LOOP_TEST(N6_test_receivers_in_order)
{
    bk_channel *c = channel_of(2);
    struct call r1 = {.channel = c}, r2 = {.channel = c};
    bk_task *t1 = start(do_recv, &r1), *t2 = start(do_recv, &r2);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for channel receive 'link' (0 of 2), since"));
    for (int i = 1; i <= 4; i++)
        CHECK_EQ(put_now(c, i), 0); /* two handed over, two inside */
    CHECK_EQ(put_now(c, 5), -EAGAIN);
    CHECK_EQ(finish(&t1), 1);
    CHECK_EQ(finish(&t2), 1);
    CHECK_STR(trace_text(), "got 1 got 2");
    CHECK_EQ(take_now(c), 3);
    bk_channel_free(&c);
}

LOOP_TEST(test_senders_in_order)
{
    bk_channel *c = channel_of(1);
    struct call s1 = {.channel = c, .n = 1}, s2 = {.channel = c, .n = 2},
                s3 = {.channel = c, .n = 3};
    bk_task *t1 = start(do_send, &s1), *t2 = start(do_send, &s2), *t3 = start(do_send, &s3);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for channel send 'link' (1 of 1), since"));
    CHECK_EQ(take_now(c), 1);
    CHECK_EQ(put_now(c, 9), -EAGAIN); /* the second one's message moved up */
    CHECK_EQ(take_now(c), 2);
    CHECK_EQ(take_now(c), 3);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_EQ(finish(&t3), 0);
    CHECK_STR(trace_text(), "sent 1 sent 2 sent 3");
    bk_channel_free(&c);
}

LOOP_TEST(test_close)
{
    bk_channel *c = channel_of(1), *d = channel_of(1);
    CHECK_EQ(put_now(c, 1), 0);
    struct call s = {.channel = c, .n = 2}, r = {.channel = d};
    bk_task *ts = start(do_send, &s), *tr = start(do_recv, &r);
    let_run(1);
    bk_channel_close(c);
    bk_channel_close(c);
    bk_channel_close(d);
    CHECK_EQ(finish(&ts), -BK_ECLOSED);
    CHECK(s.kept);
    CHECK_EQ(finish(&tr), 0);
    CHECK_EQ(put_now(c, 3), -BK_ECLOSED);
    CHECK_EQ(do_send(&s), -BK_ECLOSED);
    CHECK_STR(bk_errmsg(), "the channel is closed");
    CHECK_EQ(take_now(c), 1);
    CHECK_EQ(take_now(c), -1000);
    CHECK_EQ(do_recv(&r), 0);
    bk_channel_free(&c);
    bk_channel_free(&d);
}

/* The last reference given back while calls wait: as a close, and the memory goes with the last
 * call. */
LOOP_TEST(test_free_wakes_waiters)
{
    bk_channel *c = channel_of(1), *d = channel_of(1);
    CHECK_EQ(put_now(c, 1), 0);
    struct call s = {.channel = c, .n = 2}, r = {.channel = d};
    bk_task *ts = start(do_send, &s), *tr = start(do_recv, &r);
    let_run(1);
    bk_channel *other = bk_channel_ref(d);
    bk_channel_free(&c);
    bk_channel_free(&d);
    CHECK_EQ(finish(&ts), -BK_ECLOSED);
    let_run(2);
    CHECK(!bk_task_done(tr));
    bk_channel_free(&other);
    CHECK_EQ(finish(&tr), 0);
}

/* A message and a cancel in one turn: the first of the two counts. */
static void recv_and_cancel(bool cancel_first)
{
    bk_channel *c = channel_of(2);
    struct call r1 = {.channel = c};
    bk_task *t1 = start(do_recv, &r1);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(put_now(c, 1), 0);
    CHECK_EQ(put_now(c, 2), 0);
    if (!cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED); /* granted, it was not told, and ends with it all the same */
    CHECK_EQ(r1.n, cancel_first ? 0 : 1);
    CHECK_EQ(take_now(c), cancel_first ? 1 : 2);
    bk_channel_free(&c);
}

LOOP_TEST(C120_N5_recv_then_cancel_has_the_message)
{
    recv_and_cancel(false);
}

LOOP_TEST(C120_N5_cancel_then_recv)
{
    recv_and_cancel(true);
}

LOOP_TEST(test_cancel_leaves_the_line)
{
    bk_channel *c = channel_of(1), *d = channel_of(1);
    CHECK_EQ(put_now(c, 1), 0);
    struct call s = {.channel = c, .n = 2}, r = {.channel = d};
    bk_task *ts = start(do_send, &s), *tr = start(do_recv, &r);
    let_run(1);
    bk_task_cancel(ts);
    bk_task_cancel(tr);
    CHECK_EQ(finish(&ts), -ECANCELED);
    CHECK(s.kept);
    CHECK_EQ(finish(&tr), -ECANCELED);
    CHECK_EQ(take_now(c), 1);
    CHECK_EQ(take_now(c), -1000 - EAGAIN);
    CHECK_EQ(put_now(d, 1), 0);
    CHECK_EQ(take_now(d), 1);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(do_send(&s), -ECANCELED);
    CHECK_EQ(do_recv(&r), -ECANCELED);
    bk_uncancel();
    bk_channel_free(&c);
    bk_channel_free(&d);
}

static int timed_recv(void *ctx)
{
    bk_msg *msg = NULL;
    return bk_channel_recv(ctx, &msg);
}

/* Virtual time passes although another thread could send: nothing of the loop's own is under way.
 */
LOOP_TEST(test_timeout)
{
    bk_channel *c = channel_of(1);
    bk_time begin = bk_now();
    CHECK_EQ(bk_wait_for(timed_recv, c, bk_minutes(10)), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), begin).ns, bk_minutes(10).ns);
    bk_channel_free(&c);
}

/* ---- Threads ---- */

enum { THREADS = 4, LOOPS = 2, TASKS = 5, EACH = 20000 };
enum { SENDERS = THREADS / 2 + LOOPS * TASKS };

static struct {
    bk_channel *channel;
    atomic_int n_senders;
    _Atomic uint8_t seen[SENDERS * EACH];
    atomic_int n_wrong;
} net;

static int net_send(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    for (int i = 0; i < EACH; i++) {
        bk_msg *msg = number((uint32_t)(me * EACH + i));
        int r = bk_channel_send(net.channel, &msg);
        if (r < 0) {
            bk_msg_free(&msg);
            return r;
        }
    }
    if (atomic_fetch_sub(&net.n_senders, 1) == 1)
        bk_channel_close(net.channel);
    return 0;
}

static int net_recv(void *ctx)
{
    (void)ctx;
    int last[SENDERS];
    memset(last, -1, sizeof last);
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_channel_recv(net.channel, &msg)) > 0) {
        int n = read_number(&msg), from = n / EACH;
        atomic_fetch_add(&net.seen[n], 1);
        if (n <= last[from]) /* each sender's messages arrive in order */
            atomic_fetch_add(&net.n_wrong, 1);
        last[from] = n;
    }
    return r;
}

static int net_loop_main(void *ctx)
{
    int first = THREADS / 2 + (int)(intptr_t)ctx * TASKS;
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    for (int i = 0; i < TASKS && r == 0; i++) {
        r = bk_group_go(group, net_send, (void *)(intptr_t)(first + i), NULL);
        if (r == 0)
            r = bk_group_go(group, net_recv, NULL, NULL);
    }
    return bk_group_close(&group, r);
}

static void *net_loop(void *ctx)
{
    return (void *)(intptr_t)bk_run(net_loop_main, ctx, NULL);
}

static void *net_thread(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    return (void *)(intptr_t)(me < THREADS / 2 ? net_send(ctx) : net_recv(ctx));
}

/* Four plain threads and two loops with ten tasks each: every message exactly once. */
static void threads_and_loops(size_t limit)
{
    memset(&net, 0, sizeof net);
    net.channel = channel_of(limit);
    atomic_store(&net.n_senders, SENDERS);
    pthread_t threads[THREADS + LOOPS];
    for (int i = 0; i < THREADS + LOOPS; i++) {
        int n = i < THREADS ? i : i - THREADS;
        CHECK_EQ(pthread_create(&threads[i], NULL, i < THREADS ? net_thread : net_loop,
                                (void *)(intptr_t)n),
                 0);
    }
    for (int i = 0; i < THREADS + LOOPS; i++) {
        void *result = NULL;
        CHECK_EQ(pthread_join(threads[i], &result), 0);
        CHECK_EQ((intptr_t)result, 0);
    }
    bk_channel_free(&net.channel);
    CHECK_EQ(atomic_load(&net.n_wrong), 0);
    for (int i = 0; i < SENDERS * EACH; i++)
        CHECK_EQ(atomic_load(&net.seen[i]), 1);
}

static void N5_test_threads_and_loops(void)
{
    threads_and_loops(64);
}

static void N5_test_threads_and_loops_limit_1(void)
{
    threads_and_loops(1);
}

/* More room is made while both sides are at it. */
static void N5_test_threads_and_loops_limit_2000(void)
{
    threads_and_loops(2000);
}

enum { LAST_MESSAGES = 3000 };

static void *send_one(void *ctx)
{
    bk_msg *msg = number(7);
    return bk_channel_send(ctx, &msg) < 0 ? ctx : NULL;
}

/* Who has received the only message may free the channel: the send has nothing to do with it then.
 */
static void test_a_message_is_a_sends_last_touch(void)
{
    for (int i = 0; i < LAST_MESSAGES; i++) {
        bk_channel *c = channel_of(1 + (size_t)i % 3);
        bk_msg *msg = NULL;
        pthread_t thread;
        void *failed = NULL;
        CHECK_EQ(pthread_create(&thread, NULL, send_one, c), 0);
        CHECK_EQ(bk_channel_recv(c, &msg), 1);
        bk_channel_free(&c);
        CHECK_EQ(read_number(&msg), 7);
        pthread_join(thread, &failed);
        CHECK(!failed);
    }
}

/* A thread sends while the loop's receivers are cancelled again and again: what was sent is
 * received or still inside. */
enum { CANCELS = 20000 };

static atomic_int n_received;

static int recv_counting(void *ctx)
{
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_channel_recv(ctx, &msg)) > 0) {
        bk_msg_free(&msg);
        atomic_fetch_add(&n_received, 1);
    }
    return r;
}

static void *send_many(void *ctx)
{
    for (int i = 0; i < CANCELS; i++) {
        bk_msg *msg = number((uint32_t)i);
        if (bk_channel_send(ctx, &msg) < 0)
            return ctx;
    }
    bk_channel_close(ctx);
    return NULL;
}

static int cancel_receivers(void *ctx)
{
    bk_task *task = NULL;
    int r = 0;
    while (r == 0 || r == -ECANCELED) {
        task = start(recv_counting, ctx);
        for (int i = 0; i < 3 && !bk_task_done(task); i++)
            bk_yield();
        if (bk_task_done(task) && bk_task_result(task) == 0) {
            bk_task_free(&task);
            return 0;
        }
        bk_task_cancel(task);
        r = finish(&task);
    }
    return r;
}

static void test_cancel_against_a_sending_thread(void)
{
    atomic_store(&n_received, 0);
    bk_channel *c = channel_of(4);
    pthread_t thread;
    void *failed = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, send_many, c), 0);
    int r = bk_run(cancel_receivers, c, NULL);
    CHECK_EQ(pthread_join(thread, &failed), 0);
    CHECK(!failed);
    CHECK_EQ(r, 0);
    CHECK_EQ(atomic_load(&n_received), CANCELS);
    bk_channel_free(&c);
}

static int make_one(void *ctx)
{
    (void)ctx;
    bk_channel *c = NULL;
    int r = bk_channel_new(&c, &(bk_channel_opts){.limit = 2000});
    for (int i = 0; i < 100 && r == 0; i++) {
        bk_msg *msg = NULL;
        r = bk_msg_copy(&msg, &i, sizeof i);
        if (r == 0)
            r = bk_channel_try_send(c, &msg);
        bk_msg_free(&msg);
    }
    bk_channel_free(&c);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK(alloc_sweep(make_one, NULL) > 3);
}

CHECK_MAIN(TEST(test_limits), TEST(test_no_message), TEST(N6_test_receivers_in_order),
           TEST(test_senders_in_order), TEST(test_close), TEST(test_free_wakes_waiters),
           TEST(C120_N5_recv_then_cancel_has_the_message), TEST(C120_N5_cancel_then_recv),
           TEST(test_cancel_leaves_the_line), TEST(test_timeout), TEST(N5_test_threads_and_loops),
           TEST(N5_test_threads_and_loops_limit_1), TEST(N5_test_threads_and_loops_limit_2000),
           TEST(test_a_message_is_a_sends_last_touch), TEST(test_cancel_against_a_sending_thread),
           TEST(test_out_of_memory))
