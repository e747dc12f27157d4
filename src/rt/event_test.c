/* SPDX-License-Identifier: MIT
 * Events.  Tests named as in CPython's test_locks.EventTests show the same behaviour. */
#include <beck/sync.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

struct user {
    bk_event *event;
    int number;
};

static int wait_for_it(void *ctx)
{
    struct user *user = ctx;
    int r = bk_event_wait(user->event);
    if (r == 0)
        trace("%d", user->number);
    return r;
}

LOOP_TEST(C107_S2_N6_test_wait)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    CHECK(!bk_event_is_set(event));
    struct user u1 = {event, 1}, u2 = {event, 2}, u3 = {event, 3};
    bk_task *t1 = start(wait_for_it, &u1), *t2 = start(wait_for_it, &u2);
    let_run(1);
    CHECK_STR(trace_text(), "");
    bk_task *t3 = start(wait_for_it, &u3);
    bk_event_set(event);
    let_run(1);
    CHECK_STR(trace_text(), "3 1 2");
    CHECK_EQ(finish(&t1), 0);
    CHECK_EQ(finish(&t2), 0);
    CHECK_EQ(finish(&t3), 0);
    bk_event_free(&event);
    CHECK(!event);
    bk_event_free(&event);
}

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

/* Neither suspends. */
LOOP_TEST(C107_S2_test_wait_on_set)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, "ready"), 0);
    bk_event_set(event);
    bk_task *t1 = start(say, (void *)"other");
    CHECK_EQ(bk_event_wait(event), 0);
    CHECK_STR(trace_text(), "");
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_event_wait(event), -ECANCELED);
    CHECK_STR(trace_text(), "");
    bk_uncancel();
    CHECK_EQ(finish(&t1), 0);
    bk_event_free(&event);
}

LOOP_TEST(S2_test_wait_cancel)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    struct user u1 = {event, 1}, u2 = {event, 2};
    bk_task *t1 = start(wait_for_it, &u1), *t2 = start(wait_for_it, &u2);
    let_run(1);
    bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    bk_event_set(event);
    CHECK_EQ(finish(&t2), 0);
    CHECK_STR(trace_text(), "2");
    bk_event_free(&event);
}

LOOP_TEST(S2_test_clear)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    CHECK(!bk_event_is_set(event));
    bk_event_set(event);
    CHECK(bk_event_is_set(event));
    bk_event_clear(event);
    CHECK(!bk_event_is_set(event));
    bk_event_free(&event);
}

LOOP_TEST(C107_S2_test_clear_with_waiters)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    struct user u1 = {event, 1}, u2 = {event, 2};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    bk_event_set(event);
    bk_event_clear(event);
    CHECK(!bk_event_is_set(event));
    bk_task *t2 = start(wait_for_it, &u2); /* came after the clear */
    let_run(2);
    CHECK_STR(trace_text(), "1");
    CHECK_EQ(finish(&t1), 0);
    CHECK(!bk_task_done(t2));
    bk_event_set(event);
    bk_event_set(event);
    CHECK_EQ(finish(&t2), 0);
    bk_event_free(&event);
}

/* The trace t20, for an event: a cancel in the turn of the set shows at once, whichever came first.
 */
static void set_and_cancel(bool cancel_first)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    struct user u1 = {event, 1}, u2 = {event, 2};
    bk_task *t1 = start(wait_for_it, &u1), *t2 = start(wait_for_it, &u2);
    let_run(1);
    if (cancel_first)
        bk_task_cancel(t1);
    bk_event_set(event);
    if (!cancel_first)
        bk_task_cancel(t1);
    CHECK_EQ(finish(&t1), -ECANCELED);
    CHECK_EQ(finish(&t2), 0);
    CHECK_STR(trace_text(), "2");
    bk_event_free(&event);
}

LOOP_TEST(test_cancel_before_set)
{
    set_and_cancel(true);
}

LOOP_TEST(test_set_before_cancel)
{
    set_and_cancel(false);
}

LOOP_TEST(test_free_wakes_waiters)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    struct user u1 = {event, 1}, u2 = {event, 2};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    bk_event_set(event);
    bk_event_clear(event);
    bk_task *t2 = start(wait_for_it, &u2);
    let_run(1);
    CHECK_EQ(finish(&t1), 0);
    bk_event_free(&event);
    CHECK_EQ(finish(&t2), -BK_ECLOSED);
    CHECK_STR(bk_errmsg(), "the event was freed");
}

LOOP_TEST(test_set_and_free)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, NULL), 0);
    struct user u1 = {event, 1};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    bk_event_set(event);
    bk_event_free(&event);
    CHECK_EQ(finish(&t1), 0);
}

LOOP_TEST(test_dump)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, "config loaded"), 0);
    struct user u1 = {event, 1};
    bk_task *t1 = start(wait_for_it, &u1);
    let_run(1);
    CHECK(strstr(dump_text(), "waits for event 'config loaded', since"));
    bk_event_set(event);
    CHECK_EQ(finish(&t1), 0);
    bk_event_free(&event);
}

/* Nobody can ever set it: the run ends and says so. */
static int hang(void *ctx)
{
    return bk_event_wait(ctx);
}

static void test_never_set_is_a_deadlock(void)
{
    bk_event *event = NULL;
    CHECK_EQ(bk_event_new(&event, "never"), 0);
    CHECK_EQ(in_loop(hang, event), -EDEADLK);
    bk_event_free(&event);
}

static int make_one(void *ctx)
{
    (void)ctx;
    bk_event *event = NULL;
    int r = bk_event_new(&event, "x");
    bk_event_free(&event);
    return r;
}

static void test_out_of_memory(void)
{
    CHECK_EQ(alloc_sweep(make_one, NULL), 1);
}

CHECK_MAIN(TEST(C107_S2_N6_test_wait), TEST(C107_S2_test_wait_on_set), TEST(S2_test_wait_cancel),
           TEST(S2_test_clear), TEST(C107_S2_test_clear_with_waiters), TEST(test_cancel_before_set),
           TEST(test_set_before_cancel), TEST(test_free_wakes_waiters), TEST(test_set_and_free),
           TEST(test_dump), TEST(test_never_set_is_a_deadlock), TEST(test_out_of_memory))
