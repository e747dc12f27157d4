/* SPDX-License-Identifier: MIT
 * Select within one loop: exactly one case happens, nothing is lost, every ready one has its
 * chance. */
#include <pthread.h>

#include <beck/select.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

#define ITEM(n) ((void *)(intptr_t)(n))

static bk_queue *queue_of(size_t limit)
{
    bk_queue *queue = NULL;
    bk_queue_new(&queue, &(bk_queue_opts){.limit = limit, .name = "in"});
    return queue;
}

static int number(void *item)
{
    return (int)(intptr_t)item;
}

LOOP_TEST(a_ready_case_happens_at_once)
{
    bk_queue *in = queue_of(2), *out = queue_of(1);
    void *item = NULL;
    bk_case cases[] = {bk_case_get(in, &item), bk_case_put(out, ITEM(7)),
                       bk_case_sleep(bk_seconds(1))};
    bk_time start_time = bk_now();
    CHECK_EQ(bk_select(cases, 3), 1);
    CHECK_EQ(cases[1].result, 0);
    CHECK_EQ(bk_queue_try_put(in, ITEM(5)), 0);
    CHECK_EQ(bk_select(cases, 3), 0);
    CHECK_EQ(cases[0].result, 1);
    CHECK_EQ(number(item), 5);
    CHECK_EQ(bk_queue_len(out), 1);
    CHECK_EQ(bk_now().ns, start_time.ns);
    CHECK_EQ(bk_select(cases, 3), 2); /* nothing to get, no place to put */
    CHECK_EQ(cases[2].result, 0);
    CHECK_EQ(bk_now().ns - start_time.ns, bk_seconds(1).ns);
    CHECK_EQ(bk_select(cases, 3), 2); /* counted anew */
    CHECK_EQ(bk_now().ns - start_time.ns, bk_seconds(2).ns);
    bk_queue_free(&in);
    bk_queue_free(&out);
}

/* Waits for whichever of everything comes first; says its index and result. */
struct all {
    bk_queue *in, *out;
    bk_event *event;
    bk_future *future;
    bk_task *task;
    bk_channel *channel;
    bk_msg *msg;
    void *item;
    bk_duration limit;
    bool exits;
};

static int select_all(void *ctx)
{
    struct all *a = ctx;
    bk_case cases[] = {bk_case_get(a->in, &a->item), bk_case_put(a->out, ITEM(9)),
                       bk_case_event(a->event),      bk_case_future(a->future),
                       bk_case_task(a->task),        bk_case_recv(a->channel, &a->msg),
                       bk_case_sleep(a->limit)};
    int i = bk_select(cases, sizeof cases / sizeof *cases);
    if (i < 0)
        trace("%d", i);
    else
        trace("%d:%d", i, cases[i].result);
    return i;
}

static int until_told(void *ctx)
{
    const struct all *a = ctx;
    int r = 0;
    while (r == 0 && !a->exits)
        r = bk_yield();
    return r;
}

static void open_all(struct all *a)
{
    *a = (struct all){.in = queue_of(1), .out = queue_of(1), .limit = bk_forever()};
    bk_queue_try_put(a->out, ITEM(1));
    bk_event_new(&a->event, "stop");
    bk_future_new(&a->future);
    bk_channel_new(&a->channel, NULL);
    a->task = start(until_told, a);
}

static void close_all(struct all *a)
{
    bk_queue_free(&a->in);
    bk_queue_free(&a->out);
    bk_event_free(&a->event);
    bk_future_free(&a->future);
    bk_channel_free(&a->channel);
    bk_msg_free(&a->msg);
    if (a->task)
        bk_task_cancel(a->task);
    bk_task_free(&a->task);
}

static bk_msg *new_msg(const char *text)
{
    bk_msg *msg = NULL;
    bk_msg_copy(&msg, text, strlen(text));
    return msg;
}

/* What happens does; of the other objects nothing is touched. */
static void one_happens(int which, const char *wanted)
{
    struct all a;
    void *item;
    open_all(&a);
    trace_reset();
    bk_task *t = start(select_all, &a);
    let_run(2);
    CHECK_STR(trace_text(), "");
    bk_msg *msg = which == 5 ? new_msg("hello") : NULL;
    if (which == 0)
        CHECK_EQ(bk_queue_try_put(a.in, ITEM(5)), 0);
    if (which == 1)
        CHECK_EQ(bk_queue_try_get(a.out, &item), 1);
    if (which == 2)
        CHECK_EQ(bk_event_set(a.event), 0);
    if (which == 3)
        CHECK_EQ(bk_future_set(a.future, 3, NULL), 0);
    if (which == 4)
        a.exits = true;
    if (which == 5)
        CHECK_EQ(bk_channel_send(a.channel, &msg), 0);
    CHECK_EQ(finish(&t), which);
    CHECK_STR(trace_text(), wanted);
    CHECK_EQ(number(a.item), which == 0 ? 5 : 0);
    CHECK_EQ(bk_queue_try_get(a.out, &item), 1);
    CHECK_EQ(number(item), which == 1 ? 9 : 1);
    CHECK_EQ(a.msg != NULL, which == 5);
    /* nobody stands in any line any more */
    CHECK_EQ(bk_queue_try_put(a.in, ITEM(6)), 0);
    CHECK_EQ(bk_queue_len(a.in), 1);
    close_all(&a);
}

LOOP_TEST(whichever_comes_first_and_nothing_else)
{
    one_happens(0, "0:1");
    one_happens(1, "1:0");
    one_happens(2, "2:0");
    one_happens(3, "3:0");
    one_happens(4, "4:0");
    one_happens(5, "5:1");
}

LOOP_TEST(a_time_limit)
{
    struct all a;
    open_all(&a);
    a.exits = true;
    let_run(2);
    bk_task_free(&a.task);
    a.limit = bk_ms(250);
    bk_time start_time = bk_now();
    CHECK_EQ(select_all(&a), 6);
    CHECK_EQ(bk_now().ns - start_time.ns, bk_ms(250).ns);
    bk_case at[] = {bk_case_sleep_until(bk_time_add(start_time, bk_seconds(1))),
                    bk_case_event(a.event)};
    CHECK_EQ(bk_select(at, 2), 0);
    CHECK_EQ(bk_now().ns - start_time.ns, bk_seconds(1).ns);
    CHECK_EQ(bk_select(at, 2), 0); /* the moment has passed: at once */
    CHECK_EQ(bk_now().ns - start_time.ns, bk_seconds(1).ns);
    close_all(&a);
}

/* Several happen before the select runs again: the first counts, and the others find nobody. */
LOOP_TEST(several_in_one_turn)
{
    struct all a;
    open_all(&a);
    bk_task *t = start(select_all, &a);
    let_run(2);
    CHECK_EQ(bk_event_set(a.event), 0);
    CHECK_EQ(bk_queue_try_put(a.in, ITEM(5)), 0);
    CHECK_EQ(bk_queue_len(a.in), 1); /* not handed over */
    bk_msg *msg = new_msg("hello");
    CHECK_EQ(bk_channel_send(a.channel, &msg), 0);
    CHECK_EQ(finish(&t), 2);
    CHECK(!a.item);
    CHECK(!a.msg);
    CHECK_EQ(bk_channel_try_recv(a.channel, &a.msg), 1);
    close_all(&a);
}

/* A getter behind a select whose turn is over gets the item that the select did not take. */
LOOP_TEST(who_is_behind_a_select_in_line_is_not_forgotten)
{
    struct all a;
    open_all(&a);
    bk_task *t1 = start(select_all, &a), *t2 = start(select_all, &a);
    let_run(2);
    CHECK_EQ(bk_queue_try_put(a.in, ITEM(5)), 0); /* to the first */
    CHECK_EQ(bk_queue_try_put(a.in, ITEM(6)), 0); /* to the second */
    CHECK_EQ(bk_queue_len(a.in), 0);
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_EQ(number(a.item), 6);
    close_all(&a);
}

static void cancelled(bool cancel_first, bool item)
{
    struct all a;
    open_all(&a);
    trace_reset();
    bk_task *t = start(select_all, &a);
    let_run(2);
    if (cancel_first)
        bk_task_cancel(t);
    if (item)
        CHECK_EQ(bk_queue_try_put(a.in, ITEM(5)), 0);
    else
        CHECK_EQ(bk_event_set(a.event), 0);
    if (!cancel_first)
        bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    bool taken = item && !cancel_first;
    CHECK_STR(trace_text(), taken ? "0:1" : "-125");
    CHECK_EQ(number(a.item), taken ? 5 : 0);
    CHECK_EQ(bk_queue_len(a.in), item && !taken);
    close_all(&a);
}

/* An item taken wins over a cancel that comes later in the same turn; an event, from which nothing
 * is taken, does not. */
LOOP_TEST(C120_cancelled_in_the_turn_of_the_case)
{
    cancelled(false, true);
    cancelled(true, true);
    cancelled(false, false);
    cancelled(true, false);
}

LOOP_TEST(a_cancelled_select_leaves_every_line)
{
    struct all a;
    open_all(&a);
    bk_task *t = start(select_all, &a);
    let_run(2);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_EQ(bk_queue_try_put(a.in, ITEM(5)), 0);
    CHECK_EQ(bk_queue_len(a.in), 1);
    bk_task_cancel(bk_task_current());
    bk_case c = bk_case_get(a.in, &a.item);
    CHECK_EQ(bk_select(&c, 1), -ECANCELED);
    CHECK_EQ(bk_try_select(&c, 1), 0); /* never suspends: looks at no cancel */
    bk_uncancel();
    close_all(&a);
}

LOOP_TEST(try_select_never_waits)
{
    bk_queue *in = queue_of(1);
    void *item = NULL;
    bk_case cases[] = {bk_case_get(in, &item), bk_case_sleep(bk_ms(1))};
    CHECK_EQ(bk_try_select(cases, 2), -EAGAIN);
    CHECK_EQ(bk_queue_try_put(in, ITEM(5)), 0);
    CHECK_EQ(bk_try_select(cases, 2), 0);
    CHECK_EQ(number(item), 5);
    bk_queue_close(in);
    CHECK_EQ(bk_try_select(cases, 2), 0);
    CHECK_EQ(cases[0].result, 0);
    bk_queue_free(&in);
}

/* 20 cases, all ready: each has its share, and the order is the same in every run. */
LOOP_TEST(of_several_ready_cases_each_has_the_same_chance)
{
    enum { N = 20, ROUNDS = 20000 };
    bk_queue *q[N];
    void *item;
    bk_case cases[N];
    int n[N] = {0};
    for (int i = 0; i < N; i++) {
        q[i] = queue_of(1);
        cases[i] = i % 2 ? bk_case_get(q[i], &item) : bk_case_put(q[i], ITEM(1));
    }
    for (int k = 0; k < ROUNDS; k++) {
        for (int i = 0; i < N; i++)
            i % 2 ? (void)bk_queue_try_put(q[i], ITEM(1)) : (void)bk_queue_try_get(q[i], &item);
        int i = bk_select(cases, N);
        CHECK(i >= 0 && i < N);
        n[i]++;
    }
    for (int i = 0; i < N; i++) {
        CHECK(n[i] > ROUNDS / N * 9 / 10 && n[i] < ROUNDS / N * 11 / 10);
        bk_queue_free(&q[i]);
    }
}

LOOP_TEST(a_case_without_an_object_never_happens)
{
    bk_queue *in = queue_of(1);
    void *item;
    bk_case cases[] = {bk_case_get(in, &item), bk_case_event(NULL),      bk_case_future(NULL),
                       bk_case_task(NULL),     bk_case_recv(NULL, NULL), {0},
                       bk_case_sleep(bk_ms(5))};
    CHECK_EQ(bk_select(cases, 7), 6);
    bk_queue_close(in);
    CHECK_EQ(bk_select(cases, 7), 0); /* closed: again and again, until it is left out */
    cases[0] = bk_case_get(NULL, &item);
    CHECK_EQ(bk_select(cases, 7), 6);
    bk_queue_free(&in);
}

LOOP_TEST(closed_aborted_and_freed)
{
    struct all a;
    open_all(&a);
    bk_task *t = start(select_all, &a);
    let_run(2);
    bk_queue_close(a.in);
    CHECK_EQ(finish(&t), 0);
    CHECK_STR(trace_text(), "0:0");
    bk_queue_free(&a.in);

    trace_reset();
    t = start(select_all, &a); /* without `in` */
    let_run(2);
    bk_queue_free(&a.out);
    CHECK_EQ(finish(&t), 1);
    t = start(select_all, &a);
    let_run(2);
    bk_event_free(&a.event);
    CHECK_EQ(finish(&t), 2);
    t = start(select_all, &a);
    let_run(2);
    bk_future_free(&a.future);
    CHECK_EQ(finish(&t), 3);
    t = start(select_all, &a);
    let_run(2);
    bk_channel_close(a.channel);
    CHECK_EQ(finish(&t), 5);
    CHECK_STR(trace_text(), "1:-4099 2:-4099 3:-4099 5:0");
    close_all(&a);
}

/* Everything it waited for goes away before it runs again. */
LOOP_TEST(freed_after_one_has_happened)
{
    struct all a;
    open_all(&a);
    bk_task *t = start(select_all, &a);
    let_run(2);
    CHECK_EQ(bk_queue_try_put(a.in, ITEM(5)), 0);
    a.exits = true;
    bk_queue_free(&a.in);
    bk_queue_free(&a.out);
    bk_event_free(&a.event);
    bk_future_free(&a.future);
    bk_channel_free(&a.channel);
    bk_task_free(&a.task);
    CHECK_EQ(finish(&t), 0);
    CHECK_EQ(number(a.item), 5);
    close_all(&a);
}

static int wait_for_me(void *ctx)
{
    bk_case c = bk_case_task(bk_task_current());
    (void)ctx;
    return bk_select(&c, 1);
}

LOOP_TEST(what_cannot_be_waited_for)
{
    bk_case c = bk_case_sleep(bk_forever());
    CHECK_EQ(bk_select(&c, 0), -EINVAL);
    CHECK_EQ(bk_try_select(&c, 0), -EINVAL);
    CHECK_EQ(wait_for_me(NULL), -EDEADLK);
    bk_channel *channel = NULL;
    bk_msg *none = NULL;
    CHECK_EQ(bk_channel_new(&channel, NULL), 0);
    c = bk_case_send(channel, &none);
    CHECK_EQ(bk_select(&c, 1), -EINVAL);
    CHECK_STR(bk_errmsg(), "no message to send");
    bk_channel_free(&channel);
}

static int select_elsewhere(void *ctx)
{
    int r = bk_select(ctx, 1);
    return r == -EPERM && strstr(bk_errmsg(), "belongs to another loop") ? 0 : -EIO;
}

static void *elsewhere(void *ctx)
{
    if (bk_select(ctx, 1) != -BK_ENOTASK || bk_try_select(ctx, 1) != -EPERM)
        return ctx;
    return bk_run(select_elsewhere, ctx, NULL) == 0 ? NULL : ctx;
}

LOOP_TEST(C117_N5_objects_of_another_loop_are_refused)
{
    struct all a;
    open_all(&a);
    bk_case cases[] = {bk_case_get(a.in, &a.item), bk_case_put(a.out, NULL), bk_case_event(a.event),
                       bk_case_future(a.future), bk_case_task(a.task)};
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        void *wrong = NULL;
        CHECK_EQ(pthread_create(&thread, NULL, elsewhere, &cases[i]), 0);
        CHECK_EQ(pthread_join(thread, &wrong), 0);
        CHECK(!wrong);
    }
    close_all(&a);
}

LOOP_TEST(a_dump_names_what_it_waits_for)
{
    struct all a;
    open_all(&a);
    a.limit = bk_seconds(1);
    bk_task *t = start(select_all, &a);
    let_run(2);
    CHECK(strstr(dump_text(), "waits for first of several (queue get 'in' (0 of 1), "
                              "queue put 'in' (1 of 1), event 'stop', future, task #2 until_told, "
                              "channel receive (0 of 64), sleep), since"));
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    close_all(&a);
}

static int wait_for_nothing(void *ctx)
{
    bk_case cases[] = {bk_case_get(ctx, NULL), bk_case_sleep(bk_forever())};
    return bk_select(cases, 2);
}

/* Without a channel among the cases nobody outside can end it. */
static int deadlocked_main(void *ctx)
{
    (void)ctx;
    bk_queue *q = queue_of(1);
    int r = wait_for_nothing(q);
    bk_queue_free(&q);
    return r;
}

static void a_select_that_nothing_can_end_is_a_deadlock(void)
{
    CHECK_EQ(in_loop(deadlocked_main, NULL), -EDEADLK);
}

static int wait_a_little(void *ctx)
{
    (void)ctx;
    bk_queue *q = queue_of(1);
    bk_event *event = NULL;
    void *item;
    int r = bk_event_new(&event, NULL);
    if (!q)
        r = -ENOMEM;
    if (r == 0) {
        bk_case cases[10] = {bk_case_get(q, &item), bk_case_event(event), bk_case_sleep(bk_ms(1)),
                             bk_case_sleep(bk_ms(2))};
        for (int i = 4; i < 10; i++)
            cases[i] = bk_case_event(event);
        r = bk_select(cases, 10);
    }
    /* after a failure nobody stands in line */
    if (q && bk_queue_try_put(q, NULL) == 0 && bk_queue_len(q) != 1)
        r = -EIO;
    bk_queue_free(&q);
    bk_event_free(&event);
    return r == 2 ? 0 : r;
}

static int run_it(void *ctx)
{
    return in_loop(wait_a_little, ctx);
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(run_it, NULL) > 4);
}

CHECK_MAIN(TEST(a_ready_case_happens_at_once), TEST(whichever_comes_first_and_nothing_else),
           TEST(a_time_limit), TEST(several_in_one_turn),
           TEST(who_is_behind_a_select_in_line_is_not_forgotten),
           TEST(C120_cancelled_in_the_turn_of_the_case), TEST(a_cancelled_select_leaves_every_line),
           TEST(try_select_never_waits), TEST(of_several_ready_cases_each_has_the_same_chance),
           TEST(a_case_without_an_object_never_happens), TEST(closed_aborted_and_freed),
           TEST(freed_after_one_has_happened), TEST(what_cannot_be_waited_for),
           TEST(C117_N5_objects_of_another_loop_are_refused), TEST(a_dump_names_what_it_waits_for),
           TEST(a_select_that_nothing_can_end_is_a_deadlock), TEST(every_allocation_may_fail))
