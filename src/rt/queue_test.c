/* SPDX-License-Identifier: MIT
 * Queues.  Tests named as in CPython's test_queues show the same behaviour, except where
 * cancellation is level-triggered: an item handed over before the cancel is returned, and the next
 * call fails. */
#include <stdlib.h>

#include <beck/queue.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

#define ITEM(n) ((void *)(intptr_t)(n))

/* One get or put in a task of its own; says "get N" or "put N". */
struct call {
    bk_queue *queue;
    int item;
};

static int do_get(void *ctx)
{
    struct call *call = ctx;
    void *item = NULL;
    int r = bk_queue_get(call->queue, &item);
    if (r == 1) {
        call->item = (int)(intptr_t)item;
        trace("get %d", call->item);
    }
    return r;
}

static int do_put(void *ctx)
{
    struct call *call = ctx;
    int r = bk_queue_put(call->queue, ITEM(call->item));
    if (r == 0)
        trace("put %d", call->item);
    return r;
}

static bk_queue *queue_of(size_t limit)
{
    bk_queue *queue = NULL;
    bk_queue_new(&queue, &(bk_queue_opts){.limit = limit, .name = "in"});
    return queue;
}

/* Takes one without waiting; -1000 when there is none. */
static int take(bk_queue *queue)
{
    void *item;
    return bk_queue_try_get(queue, &item) == 1 ? (int)(intptr_t)item : -1000;
}

LOOP_TEST(C121_C125_Q1_test_empty)
{
    bk_queue *q = NULL;
    void *item = ITEM(5);
    CHECK_EQ(bk_queue_new(&q, NULL), 0);
    CHECK_EQ(bk_queue_len(q), 0);
    CHECK_EQ(bk_queue_try_get(q, &item), -EAGAIN);
    CHECK_EQ(bk_queue_put(q, NULL), 0);
    CHECK_EQ(bk_queue_len(q), 1);
    CHECK_EQ(bk_queue_get(q, &item), 1);
    CHECK(!item);
    CHECK_EQ(bk_queue_len(q), 0);
    bk_queue_free(&q);
    CHECK(!q);
    bk_queue_free(&q);
}

/* asyncio's queue has no limit unless it is given one; in beck nothing is unbounded unless it is
 * asked to be (BK_UNBOUNDED). */
LOOP_TEST(C125_N7_differs_test_default_limit)
{
    bk_queue *q = NULL;
    CHECK_EQ(bk_queue_new(&q, NULL), 0);
    for (int i = 0; i < 64; i++)
        CHECK_EQ(bk_queue_try_put(q, ITEM(i)), 0);
    CHECK_EQ(bk_queue_try_put(q, ITEM(64)), -EAGAIN);
    for (int i = 0; i < 64; i++)
        CHECK_EQ(take(q), i);
    bk_queue_free(&q);
}

/* Every limit holds exactly, in order, also as the ring wraps around and grows. */
LOOP_TEST(C121_Q1_test_full)
{
    const size_t limits[] = {1, 2, 3, 5, 64, 100, 1024, 1025, 5000};
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
        int limit = (int)limits[k], in = 0, out = 0;
        bk_queue *q = queue_of(limits[k]);
        for (int round = 0; round < 3; round++) {
            while (bk_queue_try_put(q, ITEM(in)) == 0)
                in++;
            CHECK_EQ(bk_queue_len(q), limit);
            CHECK_EQ(in - out, limit);
            for (int i = 0; i <= limit / 2; i++)
                CHECK_EQ(take(q), out++);
        }
        while (out < in)
            CHECK_EQ(take(q), out++);
        CHECK_EQ(take(q), -1000);
        bk_queue_free(&q);
    }
}

LOOP_TEST(C125_Q1_test_unbounded)
{
    bk_queue *q = queue_of(BK_UNBOUNDED);
    for (int i = 0; i < 100000; i++) {
        CHECK_EQ(bk_queue_put(q, ITEM(i)), 0);
        if (i % 3 == 0)
            CHECK_EQ(take(q), i / 3);
    }
    CHECK_EQ(bk_queue_len(q), 66666);
    for (int i = 33334; i < 100000; i++)
        CHECK_EQ(take(q), i);
    bk_queue_free(&q);
}

static int put_three(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        int r = bk_queue_put(ctx, ITEM(i));
        if (r < 0)
            return r;
        trace("%d", i);
    }
    return 0;
}

LOOP_TEST(C118_Q1_test_maxsize)
{
    bk_queue *q = queue_of(2);
    bk_task *t = start(put_three, q);
    let_run(2);
    CHECK_STR(trace_text(), "0 1");
    CHECK_EQ(take(q), 0);
    let_run(1);
    CHECK_STR(trace_text(), "0 1 2");
    CHECK_EQ(take(q), 1);
    CHECK_EQ(take(q), 2);
    CHECK_EQ(finish(&t), 0);
    bk_queue_free(&q);
}

LOOP_TEST(C119_Q1_N6_test_blocking_get_wait)
{
    bk_queue *q = queue_of(0);
    struct call g1 = {.queue = q}, g2 = {.queue = q};
    bk_task *t1 = start(do_get, &g1), *t2 = start(do_get, &g2);
    let_run(1);
    CHECK_EQ(bk_queue_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_len(q), 0); /* handed over */
    CHECK_EQ(bk_queue_put(q, ITEM(2)), 0);
    CHECK_EQ(bk_queue_put(q, ITEM(3)), 0);
    CHECK_EQ(bk_queue_len(q), 1);
    CHECK_EQ(finish(&t1), 1);
    CHECK_EQ(finish(&t2), 1);
    CHECK_STR(trace_text(), "get 1 get 2");
    CHECK_EQ(take(q), 3);
    bk_queue_free(&q);
}

LOOP_TEST(C118_Q4_N6_test_get_with_waiting_putters)
{
    bk_queue *q = queue_of(1);
    struct call a = {q, 1}, b = {q, 2}, c = {q, 3};
    bk_task *ta = start(do_put, &a), *tb = start(do_put, &b), *tc = start(do_put, &c);
    let_run(1);
    CHECK_STR(trace_text(), "put 1");
    CHECK_EQ(bk_queue_try_put(q, ITEM(9)), -EAGAIN);
    CHECK_EQ(take(q), 1);
    CHECK_EQ(bk_queue_len(q), 1); /* the second one's item moved up: nobody can slip in between */
    CHECK_EQ(bk_queue_try_put(q, ITEM(9)), -EAGAIN);
    CHECK_EQ(take(q), 2);
    CHECK_EQ(take(q), 3);
    CHECK_EQ(finish(&ta), 0);
    CHECK_EQ(finish(&tb), 0);
    CHECK_EQ(finish(&tc), 0);
    CHECK_STR(trace_text(), "put 1 put 2 put 3");
    bk_queue_free(&q);
}

LOOP_TEST(C120_Q1_test_get_cancelled_race)
{
    bk_queue *q = queue_of(0);
    struct call g1 = {.queue = q}, g2 = {.queue = q};
    bk_task *t1 = start(do_get, &g1), *t2 = start(do_get, &g2);
    let_run(1);
    bk_task_cancel(t1);
    let_run(1);
    CHECK(bk_task_done(t1));
    CHECK_EQ(bk_queue_put(q, ITEM(1)), 0);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(finish(&t2), 1);
    bk_queue_free(&q);
}

/* The item and the cancel in one turn: a getter that was cancelled first leaves the item, one that
 * was given it before has it; no item is lost. */
static void get_and_cancel(bool cancel_first)
{
    bk_queue *q = queue_of(0);
    struct call g1 = {.queue = q};
    bk_task *t1 = start(do_get, &g1);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_try_put(q, ITEM(2)), 0);
    if (!cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED); /* it did not see the cancel, so it ends with it */
    CHECK_EQ(g1.item, cancel_first ? 0 : 1);
    if (cancel_first)
        CHECK_EQ(take(q), 1);
    CHECK_EQ(take(q), 2);
    bk_queue_free(&q);
}

LOOP_TEST(C120_Q1_test_get_cancel_drop_one_pending_reader)
{
    get_and_cancel(false);
}

LOOP_TEST(C120_Q1_test_get_cancel_first)
{
    get_and_cancel(true);
}

LOOP_TEST(C119_C120_Q1_an_item_goes_by_a_cancelled_getter_to_the_next)
{
    bk_queue *q = queue_of(0);
    struct call g1 = {.queue = q}, g2 = {.queue = q};
    bk_task *t1 = start(do_get, &g1), *t2 = start(do_get, &g2);
    let_run(1);
    bk_task_cancel(t1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(finish(&t2), 1);
    CHECK_EQ(g2.item, 1);
    bk_queue_free(&q);
}

LOOP_TEST(C120_Q1_test_get_cancel_drop_many_pending_readers)
{
    bk_queue *q = queue_of(0);
    struct call g[3] = {{.queue = q}, {.queue = q}, {.queue = q}};
    bk_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = start(do_get, &g[i]);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_try_put(q, ITEM(2)), 0);
    bk_task_cancel(t[0]);
    CHECK_EQ(bk_queue_put(q, ITEM(3)), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(finish(&t[i]), i == 0 ? -ECANCELED : 1);
        CHECK_EQ(g[i].item, i + 1);
    }
    bk_queue_free(&q);
}

static int get_plain(void *ctx)
{
    void *item;
    return bk_queue_get(ctx, &item);
}

LOOP_TEST(C120_Q1_test_cancelled_getters_not_being_held_in_self_getters)
{
    bk_queue *q = queue_of(5);
    CHECK_EQ(bk_wait_for(get_plain, q, bk_ms(100)), -ETIMEDOUT);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_len(q), 1); /* nobody was waiting for it */
    bk_queue_free(&q);
}

LOOP_TEST(C120_Q1_test_cancelled_puts_not_being_held_in_self_putters)
{
    bk_queue *q = queue_of(1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    struct call p = {q, 2};
    bk_task *t = start(do_put, &p);
    let_run(1);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_EQ(take(q), 1);
    CHECK_EQ(bk_queue_len(q), 0);
    bk_queue_free(&q);
}

/* A slot that came free and the cancel in one turn: the item went in, once, unless the cancel was
 * first. */
static void put_and_cancel(bool cancel_first)
{
    bk_queue *q = queue_of(1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    struct call p = {q, 2};
    bk_task *t = start(do_put, &p);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t);
    CHECK_EQ(take(q), 1);
    if (!cancel_first)
        bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_STR(trace_text(), cancel_first ? "" : "put 2");
    if (!cancel_first)
        CHECK_EQ(take(q), 2);
    CHECK_EQ(bk_queue_len(q), 0);
    bk_queue_free(&q);
}

LOOP_TEST(C120_Q1_test_put_cancel_drop)
{
    put_and_cancel(false);
}

LOOP_TEST(C120_Q1_test_put_cancel_first)
{
    put_and_cancel(true);
}

LOOP_TEST(C120_Q1_test_put_cancelled_race)
{
    bk_queue *q = queue_of(1);
    struct call a = {q, 1}, b = {q, 2}, x = {q, 3};
    bk_task *ta = start(do_put, &a), *tb = start(do_put, &b), *tx = start(do_put, &x);
    let_run(1);
    CHECK(bk_task_done(ta));
    CHECK(!bk_task_done(tb));
    bk_task_cancel(tx);
    let_run(1);
    CHECK(bk_task_done(tx));
    CHECK_EQ(take(q), 1);
    let_run(1);
    CHECK_EQ(take(q), 2);
    CHECK_EQ(finish(&ta), 0);
    CHECK_EQ(finish(&tb), 0);
    CHECK_EQ(finish(&tx), -ECANCELED);
    bk_queue_free(&q);
}

LOOP_TEST(test_a_cancelled_task_does_nothing)
{
    bk_queue *q = queue_of(4);
    void *item = NULL;
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_queue_put(q, ITEM(1)), -ECANCELED);
    CHECK_EQ(bk_queue_try_put(q, ITEM(2)), 0);
    CHECK_EQ(bk_queue_get(q, &item), -ECANCELED);
    CHECK_EQ(bk_queue_join(q), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(bk_queue_get(q, &item), 1);
    CHECK_EQ((intptr_t)item, 2);
    bk_queue_free(&q);
}

static int sum_worker(void *ctx)
{
    bk_queue **q = ctx;
    void *item;
    int r;
    while ((r = bk_queue_get(*q, &item)) > 0) {
        q[1] = (bk_queue *)((intptr_t)q[1] + (intptr_t)item);
        bk_queue_task_done(*q);
    }
    return r;
}

LOOP_TEST(C122_Q2_test_task_done)
{
    bk_queue *q[2] = {queue_of(BK_UNBOUNDED), NULL}; /* the queue, and a sum */
    for (int i = 0; i < 100; i++)
        CHECK_EQ(bk_queue_try_put(q[0], ITEM(i)), 0);
    bk_task *t1 = start(sum_worker, q), *t2 = start(sum_worker, q);
    CHECK_EQ(bk_queue_join(q[0]), 0);
    CHECK_EQ((intptr_t)q[1], 4950);
    bk_queue_close(q[0]);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    bk_queue_free(&q[0]);
}

LOOP_TEST(C122_Q2_test_task_done_underflow)
{
    bk_queue *q = queue_of(2);
    CHECK_EQ(bk_queue_task_done(q), -EINVAL);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_task_done(q), 0);
    CHECK_EQ(bk_queue_task_done(q), -EINVAL);
    bk_queue_free(&q);
}

LOOP_TEST(C122_Q2_test_join_empty_queue)
{
    bk_queue *q = queue_of(2);
    CHECK_EQ(bk_queue_join(q), 0);
    CHECK_EQ(bk_queue_join(q), 0);
    bk_queue_free(&q);
}

static int do_join(void *ctx)
{
    int r = bk_queue_join(ctx);
    trace("joined %d", r);
    return r;
}

/* Items handed straight to a getter count as well; a joiner cancelled in the turn of the last
 * task_done is cancelled. */
LOOP_TEST(C122_Q2_test_join_counts_hand_overs)
{
    bk_queue *q = queue_of(2);
    struct call g = {.queue = q};
    bk_task *getter = start(do_get, &g);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    bk_task *j1 = start(do_join, q), *j2 = start(do_join, q);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for queue join 'in' (1 unfinished)"));
    CHECK(!bk_task_done(j1));
    CHECK_EQ(bk_queue_task_done(q), 0);
    bk_task_cancel(j2);
    CHECK_EQ(finish(&getter), 1);
    CHECK_EQ(finish(&j1), 0);
    CHECK_EQ(finish(&j2), -ECANCELED);
    bk_queue_free(&q);
}

LOOP_TEST(C123_Q3_test_shutdown_empty)
{
    bk_queue *q = queue_of(2);
    struct call g1 = {.queue = q}, g2 = {.queue = q};
    bk_task *t1 = start(do_get, &g1), *t2 = start(do_get, &g2);
    let_run(1);
    CHECK(!bk_queue_closed(q));
    bk_queue_close(q);
    bk_queue_close(q);
    CHECK(bk_queue_closed(q));
    CHECK_EQ(bk_queue_join(q), 0);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    void *item;
    CHECK_EQ(bk_queue_put(q, ITEM(1)), -BK_ECLOSED);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), -BK_ECLOSED);
    CHECK_STR(bk_errmsg(), "the queue is closed");
    CHECK_EQ(bk_queue_get(q, &item), 0);
    CHECK_EQ(bk_queue_try_get(q, &item), 0);
    bk_queue_free(&q);
}

LOOP_TEST(C123_Q3_test_shutdown_nonempty)
{
    bk_queue *q = queue_of(3);
    void *item = NULL;
    for (int i = 1; i <= 3; i++)
        CHECK_EQ(bk_queue_try_put(q, ITEM(i)), 0);
    bk_task *join = start(do_join, q);
    struct call p = {q, 4};
    bk_task *put = start(do_put, &p);
    let_run(1);
    CHECK(!bk_task_done(put));
    bk_queue_close(q);
    CHECK_EQ(bk_queue_len(q), 3);
    CHECK_EQ(finish(&put), -BK_ECLOSED);
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(bk_queue_put(q, ITEM(9)), -BK_ECLOSED);
        CHECK_EQ(bk_queue_get(q, &item), 1);
        CHECK_EQ((intptr_t)item, i);
    }
    CHECK_EQ(bk_queue_get(q, &item), 0);
    CHECK(!bk_task_done(join));
    for (int i = 1; i <= 3; i++)
        CHECK_EQ(bk_queue_task_done(q), 0);
    CHECK_EQ(finish(&join), 0);
    CHECK_EQ(bk_queue_task_done(q), -EINVAL);
    bk_queue_free(&q);
}

/* asyncio's code, not its document: only what is dropped counts as done, and join waits for what
 * was got and is still in somebody's hands. */
LOOP_TEST(C123_Q3_test_shutdown_immediate_with_unfinished)
{
    bk_queue *q = queue_of(3);
    void *item = NULL;
    for (int i = 1; i <= 3; i++)
        CHECK_EQ(bk_queue_try_put(q, ITEM(i)), 0);
    CHECK_EQ(bk_queue_get(q, &item), 1);
    bk_task *join = start(do_join, q);
    struct call p[2] = {{q, 4}, {q, 5}};
    bk_task *put[2] = {start(do_put, &p[0]), start(do_put, &p[1])};
    let_run(1);
    CHECK_EQ(bk_queue_abort(q), 3); /* 2, 3 and 4; 5 was still being put */
    CHECK_EQ(bk_queue_len(q), 0);
    CHECK(bk_queue_closed(q));
    CHECK_EQ(finish(&put[0]), 0);
    CHECK_EQ(finish(&put[1]), -BK_ECLOSED);
    CHECK_EQ(bk_queue_put(q, ITEM(9)), -BK_ECLOSED);
    CHECK_EQ(bk_queue_get(q, &item), -BK_ECLOSED);
    CHECK_STR(bk_errmsg(), "the queue was aborted");
    CHECK_EQ(bk_queue_try_get(q, &item), -BK_ECLOSED);
    CHECK(!bk_task_done(join));
    CHECK_EQ(bk_queue_task_done(q), 0);
    CHECK_EQ(finish(&join), 0);
    CHECK_EQ(bk_queue_task_done(q), -EINVAL);
    CHECK_EQ(bk_queue_abort(q), 0);
    bk_queue_free(&q);
}

LOOP_TEST(C123_Q3_test_shutdown_immediate_wakes_getters_and_joiners)
{
    bk_queue *q = queue_of(2);
    struct call g1 = {.queue = q}, g2 = {.queue = q};
    bk_task *t1 = start(do_get, &g1), *t2 = start(do_get, &g2);
    let_run(1);
    CHECK_EQ(bk_queue_abort(q), 0);
    CHECK_EQ(finish(&t1), -BK_ECLOSED);
    CHECK_EQ(finish(&t2), -BK_ECLOSED);
    bk_queue_free(&q);
    q = queue_of(2);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    bk_task *join = start(do_join, q);
    let_run(1);
    CHECK_EQ(bk_queue_abort(q), 1);
    CHECK_EQ(finish(&join), 0);
    bk_queue_free(&q);
}

/* task_done said too early, for an item that is then dropped: it is not counted twice. */
LOOP_TEST(C122_Q2_Q3_done_before_it_was_got_and_dropped)
{
    bk_queue *q = queue_of(2);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_task_done(q), 0);
    CHECK_EQ(bk_queue_abort(q), 1);
    CHECK_EQ(bk_queue_join(q), 0);
    CHECK_EQ(bk_queue_task_done(q), -EINVAL);
    bk_queue_free(&q);
}

/* A getter that was handed an item has it, whatever is aborted afterwards. */
LOOP_TEST(Q3_differs_abort_after_a_hand_over)
{
    bk_queue *q = queue_of(2);
    struct call g1 = {.queue = q};
    bk_task *t1 = start(do_get, &g1);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    CHECK_EQ(bk_queue_abort(q), 0);
    CHECK_EQ(finish(&t1), 1);
    CHECK_EQ(g1.item, 1);
    bk_queue_free(&q);
}

static void free_it(void *item)
{
    trace("free %d", *(int *)item);
    free(item);
}

static int *boxed(int n)
{
    int *box = malloc(sizeof *box);
    *box = n;
    return box;
}

static int get_boxed(void *ctx)
{
    void *item = NULL;
    int r = bk_queue_get(ctx, &item);
    if (r == 1) {
        trace("got %d", *(int *)item);
        free(item);
    }
    return r;
}

/* What was handed over stays handed over, what is inside is freed in order, whoever waits is told.
 */
LOOP_TEST(test_free_wakes_waiters)
{
    bk_queue *q = NULL;
    CHECK_EQ(bk_queue_new(&q, &(bk_queue_opts){.limit = 2, .free_item = free_it}), 0);
    bk_task *g1 = start(get_boxed, q), *g2 = start(get_boxed, q);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(q, boxed(1)), 0);
    bk_queue_free(&q);
    CHECK_EQ(finish(&g1), 1);
    CHECK_EQ(finish(&g2), -BK_ECLOSED);
    CHECK_STR(trace_text(), "got 1");

    CHECK_EQ(bk_queue_new(&q, &(bk_queue_opts){.limit = 2, .free_item = free_it}), 0);
    CHECK_EQ(bk_queue_try_put(q, boxed(2)), 0);
    CHECK_EQ(bk_queue_try_put(q, boxed(3)), 0);
    struct call p = {q, 4};
    bk_task *put = start(do_put, &p), *join = start(do_join, q);
    let_run(1);
    bk_queue_free(&q);
    CHECK_EQ(finish(&put), -BK_ECLOSED);
    CHECK_EQ(finish(&join), -BK_ECLOSED);
    CHECK_STR(trace_text(), "got 1 free 2 free 3 joined -4099");
}

LOOP_TEST(test_dump)
{
    bk_queue *q = queue_of(1), *u = queue_of(BK_UNBOUNDED);
    CHECK_EQ(bk_queue_try_put(q, ITEM(1)), 0);
    struct call p = {q, 2}, g = {.queue = u};
    bk_task *t1 = start(do_put, &p), *t2 = start(do_get, &g);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for queue put 'in' (1 of 1), since"));
    CHECK(strstr(dump_text(), "waits for queue get 'in' (0), since"));
    bk_queue_free(&q);
    bk_queue_free(&u);
    CHECK_EQ(finish(&t1), -BK_ECLOSED);
    CHECK_EQ(finish(&t2), -BK_ECLOSED);
}

/* A put that grows the ring and finds no memory changes nothing. */
static int fill(void *ctx)
{
    (void)ctx;
    bk_queue *q = NULL;
    int r = bk_queue_new(&q, &(bk_queue_opts){.limit = BK_UNBOUNDED});
    int n = 0;
    while (r == 0 && n < 1000 && (r = bk_queue_try_put(q, ITEM(n))) == 0)
        n++;
    bool in_order = true;
    for (int i = 0; i < n; i++)
        in_order = in_order && take(q) == i;
    if (q && take(q) != -1000)
        in_order = false;
    bk_queue_free(&q);
    return in_order ? r : -EIO;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(fill, NULL), 6); /* the queue, 64 slots, and four doublings */
}

CHECK_MAIN(TEST(C121_C125_Q1_test_empty), TEST(C125_N7_differs_test_default_limit),
           TEST(C121_Q1_test_full), TEST(C125_Q1_test_unbounded), TEST(C118_Q1_test_maxsize),
           TEST(C119_Q1_N6_test_blocking_get_wait), TEST(C118_Q4_N6_test_get_with_waiting_putters),
           TEST(C120_Q1_test_get_cancelled_race),
           TEST(C120_Q1_test_get_cancel_drop_one_pending_reader),
           TEST(C120_Q1_test_get_cancel_first),
           TEST(C119_C120_Q1_an_item_goes_by_a_cancelled_getter_to_the_next),
           TEST(C120_Q1_test_get_cancel_drop_many_pending_readers),
           TEST(C120_Q1_test_cancelled_getters_not_being_held_in_self_getters),
           TEST(C120_Q1_test_cancelled_puts_not_being_held_in_self_putters),
           TEST(C120_Q1_test_put_cancel_drop), TEST(C120_Q1_test_put_cancel_first),
           TEST(C120_Q1_test_put_cancelled_race), TEST(test_a_cancelled_task_does_nothing),
           TEST(C122_Q2_test_task_done), TEST(C122_Q2_test_task_done_underflow),
           TEST(C122_Q2_test_join_empty_queue), TEST(C122_Q2_test_join_counts_hand_overs),
           TEST(C123_Q3_test_shutdown_empty), TEST(C123_Q3_test_shutdown_nonempty),
           TEST(C123_Q3_test_shutdown_immediate_with_unfinished),
           TEST(C123_Q3_test_shutdown_immediate_wakes_getters_and_joiners),
           TEST(C122_Q2_Q3_done_before_it_was_got_and_dropped),
           TEST(Q3_differs_abort_after_a_hand_over), TEST(test_free_wakes_waiters), TEST(test_dump),
           TEST(test_out_of_memory))
