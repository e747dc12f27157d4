/* SPDX-License-Identifier: MIT
 * Queues in another order than first in, first out: the order itself, and that every other rule is
 * the same. */
#include <stdlib.h>

#include <beck/loop.h>
#include <beck/queue.h>
#include <beck/task.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

#define ITEM(n) ((void *)(intptr_t)(n))

/* By the tens: 31 and 35 are equal. */
static int compare_tens(const void *a, const void *b)
{
    intptr_t x = (intptr_t)a / 10, y = (intptr_t)b / 10;
    return x < y ? -1 : x > y;
}

static bk_queue *queue_of(size_t limit, enum bk_queue_order order)
{
    bk_queue *queue = NULL;
    bk_queue_new(&queue, &(bk_queue_opts){.limit = limit,
                                          .order = order,
                                          .compare = order == BK_PRIORITY ? compare_tens : NULL});
    return queue;
}

static int take(bk_queue *queue)
{
    void *item;
    return bk_queue_try_get(queue, &item) == 1 ? (int)(intptr_t)item : -1000;
}

LOOP_TEST(C124_Q4_lifo_order)
{
    bk_queue *q = queue_of(BK_UNBOUNDED, BK_LIFO);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(bk_queue_try_put(q, ITEM(i)), 0);
    for (int i = 999; i >= 500; i--)
        CHECK_EQ(take(q), i);
    for (int i = 500; i < 2000; i++)
        CHECK_EQ(bk_queue_try_put(q, ITEM(i)), 0);
    for (int i = 1999; i >= 0; i--)
        CHECK_EQ(take(q), i);
    CHECK_EQ(take(q), -1000);
    bk_queue_free(&q);
}

LOOP_TEST(C124_Q4_priority_order)
{
    const int items[] = {55, 10, 31, 90, 35, 11, 70, 30, 19};
    const int sorted[] = {10, 11, 19, 31, 35, 30, 55, 70, 90};
    bk_queue *q = queue_of(0, BK_PRIORITY);
    for (int i = 0; i < 9; i++)
        CHECK_EQ(bk_queue_put(q, ITEM(items[i])), 0);
    for (int i = 0; i < 9; i++)
        CHECK_EQ(take(q), sorted[i]);
    CHECK_EQ(take(q), -1000);
    bk_queue_free(&q);
}

/* By the millions: what is below tells who came first. */
static int compare_millions(const void *a, const void *b)
{
    intptr_t x = (intptr_t)a / 1000000, y = (intptr_t)b / 1000000;
    return x < y ? -1 : x > y;
}

/* asyncio leaves the order of equal priorities open. */
LOOP_TEST(Q4_N6_differs_equal_priorities_leave_in_order_of_arrival)
{
    enum { N = 20000 };
    bk_queue *q = NULL;
    bk_queue_opts opts = {.limit = BK_UNBOUNDED, .order = BK_PRIORITY, .compare = compare_millions};
    CHECK_EQ(bk_queue_new(&q, &opts), 0);
    unsigned seed = 1;
    for (int i = 0; i < N; i++) {
        seed = seed * 1103515245 + 12345;
        CHECK_EQ(bk_queue_try_put(q, ITEM((seed >> 16) % 50 * 1000000 + (unsigned)i)), 0);
    }
    int last = -1;
    for (int i = 0; i < N; i++) { /* by class, and within a class by number */
        int item = take(q);
        CHECK(item > last);
        last = item;
    }
    CHECK_EQ(take(q), -1000);
    bk_queue_free(&q);
}

/* One class that is taken from and put into in turns. */
LOOP_TEST(Q4_N6_differs_equal_priorities_in_turns)
{
    bk_queue *q = queue_of(0, BK_PRIORITY);
    for (int i = 0; i < 9; i++) {
        CHECK_EQ(bk_queue_try_put(q, ITEM(i)), 0);
        CHECK_EQ(bk_queue_try_put(q, ITEM(10 + i % 9)), 0);
        if (i % 2)
            CHECK_EQ(take(q), i / 2);
    }
    for (int i = 4; i < 9; i++)
        CHECK_EQ(take(q), i);
    for (int i = 0; i < 9; i++)
        CHECK_EQ(take(q), 10 + i);
    bk_queue_free(&q);
}

struct call {
    bk_queue *queue;
    int item;
};

static int do_put(void *ctx)
{
    struct call *call = ctx;
    int r = bk_queue_put(call->queue, ITEM(call->item));
    trace("put %d", r == 0 ? call->item : r);
    return r;
}

static int do_get(void *ctx)
{
    struct call *call = ctx;
    void *item = NULL;
    int r = bk_queue_get(call->queue, &item);
    trace("get %d", r == 1 ? (int)(intptr_t)item : r);
    return r;
}

/* Putters get their turn in order of arrival, whatever they put. */
static void putters_in_order(enum bk_queue_order order, const char *wanted)
{
    bk_queue *q = queue_of(1, order);
    struct call p[4] = {{q, 40}, {q, 30}, {q, 20}, {q, 10}};
    bk_task *t[4];
    trace_reset();
    for (int i = 0; i < 4; i++)
        t[i] = start(do_put, &p[i]);
    let_run(1);
    for (int i = 0; i < 4; i++) {
        trace("%d", take(q));
        let_run(1);
    }
    CHECK_STR(trace_text(), wanted);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(finish(&t[i]), 0);
    bk_queue_free(&q);
}

LOOP_TEST(C118_Q4_N6_putters_get_their_turn_in_order)
{
    const char *wanted = "put 40 40 put 30 30 put 20 20 put 10 10";
    putters_in_order(BK_LIFO, wanted);
    putters_in_order(BK_PRIORITY, wanted);
}

/* Hand-over, close, join and the cancelled: as with any queue. */
static void every_rule(enum bk_queue_order order)
{
    bk_queue *q = queue_of(2, order);
    struct call g[3] = {{.queue = q}, {.queue = q}, {.queue = q}};
    bk_task *t[3];
    trace_reset();
    for (int i = 0; i < 3; i++)
        t[i] = start(do_get, &g[i]);
    let_run(1);
    bk_task_cancel(t[1]);
    let_run(1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(20)), 0);
    CHECK_EQ(bk_queue_try_put(q, ITEM(10)), 0);
    CHECK_EQ(bk_queue_try_put(q, ITEM(30)), 0);
    let_run(1);
    CHECK_STR(trace_text(), "get -125 get 20 get 10");
    CHECK_EQ(finish(&t[0]), 1);
    CHECK_EQ(finish(&t[1]), -ECANCELED);
    CHECK_EQ(finish(&t[2]), 1);
    CHECK_EQ(bk_queue_try_put(q, ITEM(31)), 0);
    CHECK_EQ(bk_queue_try_put(q, ITEM(32)), -EAGAIN);
    CHECK_EQ(bk_queue_close(q), 0);
    CHECK_EQ(bk_queue_put(q, ITEM(9)), -BK_ECLOSED);
    CHECK_EQ(take(q), order == BK_LIFO ? 31 : 30);
    CHECK_EQ(take(q), order == BK_LIFO ? 30 : 31);
    void *item;
    CHECK_EQ(bk_queue_get(q, &item), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(bk_queue_task_done(q), 0);
    CHECK_EQ(bk_queue_join(q), 0);
    CHECK_EQ(bk_queue_task_done(q), -EINVAL);
    bk_queue_free(&q);
}

LOOP_TEST(C119_C120_C122_C123_Q4_every_rule_holds_in_every_order)
{
    every_rule(BK_LIFO);
    every_rule(BK_PRIORITY);
}

static void free_it(void *item)
{
    trace("free %d", *(int *)item);
    free(item);
}

static int compare_boxes(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

LOOP_TEST(Q3_what_is_dropped_is_freed)
{
    const enum bk_queue_order orders[] = {BK_FIFO, BK_LIFO, BK_PRIORITY};
    const int numbers[] = {2, 3, 1};
    for (int k = 0; k < 3; k++) {
        bk_queue *q = NULL;
        bk_queue_opts opts = {.order = orders[k], .free_item = free_it};
        if (orders[k] == BK_PRIORITY)
            opts.compare = compare_boxes;
        CHECK_EQ(bk_queue_new(&q, &opts), 0);
        for (int i = 0; i < 3; i++) {
            int *box = malloc(sizeof *box);
            *box = numbers[i];
            CHECK_EQ(bk_queue_try_put(q, box), 0);
        }
        if (k == 1)
            CHECK_EQ(bk_queue_abort(q), 3);
        bk_queue_free(&q);
    }
    CHECK_STR(trace_text(), "free 2 free 3 free 1 free 1 free 3 free 2 free 1 free 2 free 3");
}

LOOP_TEST(C125_Q1_len_full_and_empty_agree)
{
    const enum bk_queue_order orders[] = {BK_FIFO, BK_LIFO, BK_PRIORITY};
    for (int k = 0; k < 3; k++) {
        bk_queue *q = queue_of(3, orders[k]);
        CHECK(bk_queue_empty(q));
        for (int i = 0; i <= 3; i++) {
            CHECK_EQ(bk_queue_len(q), i);
            CHECK_EQ(bk_queue_empty(q), i == 0);
            CHECK_EQ(bk_queue_full(q), i == 3);
            CHECK_EQ(bk_queue_try_put(q, ITEM(i)), i == 3 ? -EAGAIN : 0);
        }
        for (int i = 3; i > 0; i--) {
            CHECK_EQ(bk_queue_len(q), i);
            CHECK_EQ(bk_queue_empty(q), i == 0);
            CHECK_EQ(bk_queue_full(q), i == 3);
            CHECK(take(q) != -1000);
        }
        CHECK(bk_queue_empty(q));
        bk_queue_free(&q);
    }
}

static int fill_heap(void *ctx)
{
    (void)ctx;
    bk_queue *q = NULL;
    int r = bk_queue_new(
        &q, &(bk_queue_opts){.limit = BK_UNBOUNDED, .order = BK_PRIORITY, .compare = compare_tens});
    int n = 0;
    while (r == 0 && n < 1000 && (r = bk_queue_try_put(q, ITEM(n))) == 0)
        n++;
    bool in_order = true;
    for (int i = 0; i < n; i++)
        in_order = in_order && take(q) == i;
    bk_queue_free(&q);
    return in_order ? r : -EIO;
}

/* A put that finds no memory changes nothing. */
static void Q4_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(fill_heap, NULL), 6); /* the queue, 64 places, and four doublings */
}

static void Q4_an_order_needs_its_compare_function(void)
{
    bk_queue *q = NULL;
    CHECK_EQ(bk_queue_new(&q, &(bk_queue_opts){.order = BK_PRIORITY}), -EINVAL);
    CHECK_EQ(bk_queue_new(&q, &(bk_queue_opts){.compare = compare_tens}), -EINVAL);
    CHECK_STR(bk_errmsg(), "a queue needs both of BK_PRIORITY and compare, or neither");
    CHECK(!q);
}

/* The two lines of task.h: a get within a time limit, which loses nothing. */
static int get_within(bk_queue *queue, void **item, bk_duration time)
{
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, time);
    if (r == 0)
        r = bk_timeout_close(&limit, bk_queue_get(queue, item));
    return r;
}

static int put_seven(void *ctx)
{
    return bk_queue_try_put(ctx, "seven");
}

LOOP_TEST(C063_C068_Q1_T12_a_get_within_a_time_limit)
{
    bk_queue *queue = NULL;
    void *item = NULL;
    CHECK_EQ(bk_queue_new(&queue, NULL), 0);
    CHECK_EQ(get_within(queue, &item, bk_ms(10)), -ETIMEDOUT);
    CHECK_EQ(bk_call_later(NULL, bk_ms(5), put_seven, queue), 0);
    CHECK_EQ(get_within(queue, &item, bk_ms(10)), 1);
    CHECK_STR(item, "seven");
    CHECK_EQ(put_seven(queue), 0);
    CHECK_EQ(get_within(queue, &item, bk_ms(0)), 1); /* at once, it need not wait */
    /* The item and the end of the time in one instant: the first counts. */
    CHECK_EQ(bk_call_later(NULL, bk_ms(10), put_seven, queue), 0);
    CHECK_EQ(get_within(queue, &item, bk_ms(10)), 1);
    bk_queue_free(&queue);
}

CHECK_MAIN(TEST(C063_C068_Q1_T12_a_get_within_a_time_limit), TEST(C124_Q4_lifo_order),
           TEST(C124_Q4_priority_order),
           TEST(Q4_N6_differs_equal_priorities_leave_in_order_of_arrival),
           TEST(Q4_N6_differs_equal_priorities_in_turns),
           TEST(C118_Q4_N6_putters_get_their_turn_in_order),
           TEST(C119_C120_C122_C123_Q4_every_rule_holds_in_every_order),
           TEST(Q3_what_is_dropped_is_freed), TEST(C125_Q1_len_full_and_empty_agree),
           TEST(Q4_out_of_memory), TEST(Q4_an_order_needs_its_compare_function))
