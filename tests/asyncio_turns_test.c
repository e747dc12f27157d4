/* SPDX-License-Identifier: MIT
 * Scenes in which several things happen in one turn, or one after the other at the same call, each
 * written first for asyncio: the sentences are what CPython says. */
#include <beck.h>

#include "tests/run_helper.h"

static int say(void *ctx)
{
    trace("%s", (char *)ctx);
    return 0;
}

/* ---- Futures and tasks: who hears of the end, in which order ---- */

static bk_future *future;
static bk_task *subject;

static int hear_of_future(void *ctx, bk_future *f)
{
    (void)f;
    return say(ctx);
}

static int wait_for_future(void *ctx)
{
    int r = bk_future_wait(future, NULL, NULL);
    return r < 0 ? r : say(ctx);
}

LOOP_TEST(C025_C030_F2_callbacks_and_waiters_of_a_future_share_one_line)
{
    CHECK_EQ(bk_future_new(&future), 0);
    CHECK_EQ(bk_future_add_done_callback(future, hear_of_future, "cb1"), 0);
    bk_task *tasks[2] = {start(wait_for_future, "w1"), NULL};
    let_run(1);
    CHECK_EQ(bk_future_add_done_callback(future, hear_of_future, "cb2"), 0);
    tasks[1] = start(wait_for_future, "w2");
    let_run(1);
    CHECK_EQ(bk_call_soon(NULL, say, "before"), 0);
    CHECK_EQ(bk_future_set(future, 1, NULL), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "after"), 0);
    trace("set");
    let_run(2);
    CHECK_STR(trace_text(), "set before cb1 w1 cb2 w2 after");
    bk_task_free_all(tasks, 2);
    bk_future_free(&future);
}

static int yield_and_say(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : say(ctx);
}

static int hear_of_task(void *ctx, bk_task *task)
{
    (void)task;
    return say(ctx);
}

static int wait_for_subject(void *ctx)
{
    int r = bk_task_wait(subject, NULL);
    return r < 0 ? r : say(ctx);
}

LOOP_TEST(C025_C026_F2_callbacks_and_waiters_of_a_task_share_one_line)
{
    subject = start(yield_and_say, "end");
    CHECK_EQ(bk_task_add_done_callback(subject, hear_of_task, "cb1"), 0);
    bk_task *w = start(wait_for_subject, "w");
    let_run(1);
    CHECK_EQ(bk_task_add_done_callback(subject, hear_of_task, "cb2"), 0);
    let_run(3);
    CHECK_EQ(bk_task_add_done_callback(subject, hear_of_task, "cb3"), 0);
    trace("added");
    let_run(1);
    CHECK_STR(trace_text(), "end cb1 w cb2 added cb3");
    bk_task_free(&w);
    bk_task_free(&subject);
}

static int gather_it(void *ctx)
{
    int r = bk_gather_tasks(&subject, 1, NULL);
    return r < 0 ? r : say(ctx);
}

static int wait_for_it(void *ctx)
{
    int r = bk_wait(&subject, 1, BK_ALL_COMPLETED, bk_forever());
    return r < 0 ? r : say(ctx);
}

static int shield_it(void *ctx)
{
    int r = bk_task_wait_shielded(subject, NULL);
    return r < 0 ? r : say(ctx);
}

static int complete_it(void *ctx)
{
    bk_as_completed *ended = NULL;
    size_t i;
    int r = bk_as_completed_new(&ended, &subject, 1, bk_forever());
    if (r == 0)
        r = bk_as_completed_next(ended, &i);
    bk_as_completed_free(&ended);
    return r < 0 ? r : say(ctx);
}

/* In asyncio the plain wait comes first, for the others take a turn of their own. */
LOOP_TEST(all_who_wait_for_a_task_go_on_in_the_order_of_their_coming)
{
    subject = start(yield_and_say, "end");
    bk_task *tasks[] = {start(gather_it, "gather"), start(wait_for_it, "wait"),
                        start(shield_it, "shield"), start(complete_it, "as_completed"),
                        start(wait_for_subject, "await")};
    let_run(4);
    CHECK_STR(trace_text(), "end gather wait shield as_completed await");
    bk_task_free_all(tasks, 5);
    bk_task_free(&subject);
}

struct nap {
    int ms, result;
};

static int take_nap(void *ctx)
{
    const struct nap *nap = ctx;
    int r = bk_sleep(bk_ms(nap->ms));
    return r < 0 ? r : nap->result;
}

LOOP_TEST(C086_T11_a_cancelled_member_is_told_of_like_others)
{
    struct nap naps[] = {{30, 3}, {10, 1}, {20, 2}};
    bk_task *tasks[3];
    bk_as_completed *ended = NULL;
    size_t i;
    for (i = 0; i < 3; i++)
        tasks[i] = start(take_nap, &naps[i]);
    let_run(1);
    bk_task_cancel(tasks[1]);
    CHECK_EQ(bk_as_completed_new(&ended, tasks, 3, bk_forever()), 0);
    while (bk_as_completed_next(ended, &i) > 0)
        trace(bk_task_cancelled(tasks[i]) ? "cancelled" : "%d", bk_task_result(tasks[i]));
    CHECK_STR(trace_text(), "cancelled 2 3");
    bk_as_completed_free(&ended);
    bk_task_free_all(tasks, 3);
}

static int shielded_wait(void *ctx)
{
    int r = bk_task_wait_shielded(subject, NULL);
    trace(r < 0 ? "%s!" : "%s", (char *)ctx);
    return r;
}

LOOP_TEST(C085_T8_the_outer_is_cancelled_as_the_inner_ends)
{
    CHECK_EQ(bk_future_new(&future), 0);
    subject = start(wait_for_future, "inner");
    bk_task *outer = start(shielded_wait, "outer");
    let_run(2);
    CHECK_EQ(bk_future_set(future, 0, NULL), 0);
    bk_task_cancel(outer);
    CHECK_EQ(finish(&outer), -ECANCELED);
    CHECK_EQ(finish(&subject), 0);
    CHECK_STR(trace_text(), "inner outer!");
    bk_future_free(&future);
}

struct link {
    bk_task *next;
    const char *name;
};

static int wait_for_next(void *ctx)
{
    const struct link *link = ctx;
    int r = link->next ? bk_task_wait(link->next, NULL) : bk_sleep_forever();
    trace(r < 0 ? "%s!" : "%s", link->name);
    return r;
}

LOOP_TEST(C041_T3_a_cancel_goes_down_a_chain_of_waits_and_comes_back)
{
    struct link c = {NULL, "c"};
    bk_task *tasks[3] = {start(wait_for_next, &c), NULL, NULL};
    struct link b = {tasks[0], "b"};
    tasks[1] = start(wait_for_next, &b);
    struct link a = {tasks[1], "a"};
    tasks[2] = start(wait_for_next, &a);
    let_run(2);
    bk_task_cancel(tasks[2]);
    CHECK_EQ(bk_task_wait(tasks[2], NULL), 0);
    CHECK_STR(trace_text(), "c! b! a!");
    for (int i = 0; i < 3; i++)
        CHECK(bk_task_cancelled(tasks[i]));
    bk_task_free_all(tasks, 3);
}

/* ---- Timeouts ---- */

LOOP_TEST(C070_T13_of_three_levels_the_one_that_struck_says_so)
{
    bk_timeout *outer = NULL, *middle = NULL, *inner = NULL;
    CHECK_EQ(bk_timeout_open(&outer, bk_ms(30)), 0);
    CHECK_EQ(bk_timeout_open(&middle, bk_ms(10)), 0);
    CHECK_EQ(bk_timeout_open(&inner, bk_ms(20)), 0);
    int r = bk_timeout_close(&inner, bk_sleep_forever());
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_timeout_close(&middle, r), -ETIMEDOUT);
    CHECK_EQ(bk_timeout_close(&outer, bk_sleep_forever()), -ETIMEDOUT);
}

LOOP_TEST(C070_T13_of_equal_deadlines_the_outer_one_says_so)
{
    bk_time deadline = bk_time_add(bk_now(), bk_ms(10));
    bk_timeout *outer = NULL, *inner = NULL;
    CHECK_EQ(bk_timeout_open_at(&outer, deadline), 0);
    CHECK_EQ(bk_timeout_open_at(&inner, deadline), 0);
    int r = bk_sleep_forever();
    CHECK(bk_timeout_expired(outer) && bk_timeout_expired(inner));
    r = bk_timeout_close(&inner, r);
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_timeout_close(&outer, r), -ETIMEDOUT);
    CHECK_EQ(bk_yield(), 0);
}

LOOP_TEST(C073_C074_T13_a_body_that_goes_on_after_the_time_keeps_its_result)
{
    bk_timeout *limit = NULL;
    CHECK_EQ(bk_timeout_open(&limit, bk_ms(10)), 0);
    CHECK_EQ(bk_sleep_forever(), -ECANCELED);
    CHECK(bk_timeout_expired(limit));
    CHECK_EQ(bk_timeout_close(&limit, 7), 7);
    CHECK_EQ(bk_cancelling(), 0);
    CHECK_EQ(bk_yield(), 0);
}

/* ---- Groups ---- */

static int fail_soon(void *ctx)
{
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : bk_fail(-EINVAL, "%s", (char *)ctx);
}

static int fail_now(void *ctx)
{
    return bk_fail(-EINVAL, "%s", (char *)ctx);
}

static int sleep_a_while(void *ctx)
{
    int r = bk_sleep(bk_ms(10));
    trace(r < 0 ? "%s!" : "%s", (char *)ctx);
    return r;
}

static int sleep_for_ever(void *ctx)
{
    int r = bk_sleep_forever();
    trace("%s!", (char *)ctx);
    return r;
}

LOOP_TEST(C088_T14_a_body_that_ignores_the_abort_gets_the_failure_all_the_same)
{
    bk_group *group = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_soon, "child", NULL), 0);
    CHECK_EQ(bk_sleep_forever(), -ECANCELED);
    CHECK_EQ(bk_group_close(&group, 0), -EINVAL);
    CHECK_STR(bk_errmsg(), "child");
    CHECK_EQ(bk_cancelling(), 0);
    CHECK_EQ(bk_yield(), 0);
}

static int clean_up(void *ctx)
{
    return bk_sleep(*(bk_duration *)ctx);
}

static int fail_in_cleanup(void *ctx)
{
    const char *name = ctx;
    bk_duration time = bk_ms(name[1] == '1' ? 0 : 10);
    int r = bk_sleep_forever();
    bk_shield(clean_up, &time);
    return r == -ECANCELED ? bk_fail(-EIO, "%s", name) : r;
}

LOOP_TEST(C090_T14_failures_in_cleanup_are_collected_in_the_order_of_the_ends)
{
    bk_group *group = NULL;
    bk_errors *errors = NULL;
    CHECK_EQ(bk_group_open(&group, &(bk_group_opts){.errors = &errors}), 0);
    CHECK_EQ(bk_group_go(group, fail_in_cleanup, "s2", NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_soon, "first", NULL), 0);
    CHECK_EQ(bk_group_go(group, fail_in_cleanup, "s1", NULL), 0);
    CHECK_EQ(bk_group_close(&group, 0), -EINVAL);
    for (size_t i = 0; i < bk_errors_count(errors); i++)
        trace("%s", bk_errors_get(errors, i)->detail);
    CHECK_STR(trace_text(), "first s1 s2");
    bk_errors_free(&errors);
}

static int fail_when_cancelled(void *ctx)
{
    (void)ctx;
    return bk_sleep_forever() == -ECANCELED ? -EINVAL : 0;
}

static int parent_of_one_that_fails(void *ctx)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    (void)ctx;
    if (r == 0)
        r = bk_group_go(group, fail_when_cancelled, NULL, NULL);
    r = bk_group_close(&group, r < 0 ? r : bk_sleep_forever());
    trace("%d %d", r == -EINVAL, bk_cancelling());
    trace(bk_yield() == -ECANCELED ? "still cancelled" : "free");
    return 0;
}

LOOP_TEST(C092_T14_a_failure_hides_the_parents_cancel_until_its_next_call)
{
    bk_task *parent = start(parent_of_one_that_fails, NULL);
    let_run(2);
    bk_task_cancel(parent);
    CHECK_EQ(finish(&parent), 0); /* it was told, and went its own way */
    CHECK_STR(trace_text(), "1 1 still cancelled");
}

LOOP_TEST(C091_T14_children_may_come_after_one_that_was_cancelled)
{
    bk_group *group = NULL;
    bk_task *a = NULL;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go_task(group, &a, sleep_a_while, "a", NULL), 0);
    CHECK_EQ(bk_group_go(group, sleep_a_while, "b", NULL), 0);
    let_run(1);
    bk_task_cancel(a);
    let_run(2);
    CHECK_EQ(bk_group_go(group, sleep_a_while, "c", NULL), 0);
    trace("body");
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_STR(trace_text(), "a! body b c");
    bk_task_free(&a);
}

LOOP_TEST(C094_T14_a_failure_in_the_inner_group_leaves_the_outer_one_alone)
{
    bk_group *outer = NULL, *inner = NULL;
    CHECK_EQ(bk_group_open(&outer, NULL), 0);
    CHECK_EQ(bk_group_go(outer, sleep_a_while, "o", NULL), 0);
    CHECK_EQ(bk_group_open(&inner, NULL), 0);
    CHECK_EQ(bk_group_go(inner, sleep_a_while, "i", NULL), 0);
    CHECK_EQ(bk_group_go(inner, fail_now, "no", NULL), 0);
    CHECK_EQ(bk_group_close(&inner, bk_sleep_forever()), -EINVAL);
    CHECK_EQ(bk_yield(), 0);
    trace("body");
    CHECK_EQ(bk_group_close(&outer, 0), 0);
    CHECK_STR(trace_text(), "i! body o");
}

LOOP_TEST(C094_T14_a_failure_in_the_outer_group_ends_the_inner_one_as_it_closes)
{
    bk_group *outer = NULL, *inner = NULL;
    CHECK_EQ(bk_group_open(&outer, NULL), 0);
    CHECK_EQ(bk_group_go(outer, fail_soon, "o", NULL), 0);
    CHECK_EQ(bk_group_open(&inner, NULL), 0);
    CHECK_EQ(bk_group_go(inner, sleep_for_ever, "i", NULL), 0);
    int r = bk_group_close(&inner, 0);
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(bk_group_close(&outer, r), -EINVAL);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "i!");
}

/* ---- Locks ---- */

static bk_lock *lock;
static bk_cond *cond;
static bk_sem *sem;

static int wait_and_hold(void *ctx)
{
    int r = bk_lock_acquire(lock);
    if (r < 0)
        return r;
    r = bk_cond_wait(cond);
    say(ctx);
    bk_yield();
    say(ctx);
    bk_lock_release(lock);
    return r;
}

LOOP_TEST(C108_S3_the_notified_have_the_lock_one_after_the_other)
{
    CHECK_EQ(bk_lock_new(&lock, NULL), 0);
    CHECK_EQ(bk_cond_new(&cond, lock, NULL), 0);
    bk_task *tasks[] = {start(wait_and_hold, "a"), start(wait_and_hold, "b"),
                        start(wait_and_hold, "c")};
    let_run(1);
    CHECK_EQ(bk_lock_acquire(lock), 0);
    CHECK_EQ(bk_cond_notify_all(cond), 0);
    CHECK_EQ(bk_lock_release(lock), 0);
    let_run(12);
    CHECK_STR(trace_text(), "a a b b c c");
    bk_task_free_all(tasks, 3);
    bk_cond_free(&cond);
    bk_lock_free(&lock);
}

static int pass_through(void *ctx)
{
    int r = bk_sem_acquire(sem);
    if (r < 0)
        return r;
    say(ctx);
    return bk_sem_release(sem);
}

LOOP_TEST(C112_S4_who_releases_and_wants_again_comes_last)
{
    CHECK_EQ(bk_sem_new(&sem, 1, 0, NULL), 0);
    CHECK_EQ(bk_sem_acquire(sem), 0);
    bk_task *tasks[3] = {start(pass_through, "a"), start(pass_through, "b"), NULL};
    let_run(1);
    CHECK_EQ(bk_sem_release(sem), 0);
    CHECK(bk_sem_locked(sem));
    tasks[2] = start(pass_through, "c");
    CHECK_EQ(bk_sem_acquire(sem), 0);
    trace("main");
    CHECK_EQ(bk_sem_release(sem), 0);
    let_run(3);
    CHECK_STR(trace_text(), "a b main c");
    bk_task_free_all(tasks, 3);
    bk_sem_free(&sem);
}

CHECK_MAIN(TEST(all_who_wait_for_a_task_go_on_in_the_order_of_their_coming),
           TEST(C025_C030_F2_callbacks_and_waiters_of_a_future_share_one_line),
           TEST(C025_C026_F2_callbacks_and_waiters_of_a_task_share_one_line),
           TEST(C086_T11_a_cancelled_member_is_told_of_like_others),
           TEST(C085_T8_the_outer_is_cancelled_as_the_inner_ends),
           TEST(C041_T3_a_cancel_goes_down_a_chain_of_waits_and_comes_back),
           TEST(C070_T13_of_three_levels_the_one_that_struck_says_so),
           TEST(C070_T13_of_equal_deadlines_the_outer_one_says_so),
           TEST(C073_C074_T13_a_body_that_goes_on_after_the_time_keeps_its_result),
           TEST(C088_T14_a_body_that_ignores_the_abort_gets_the_failure_all_the_same),
           TEST(C090_T14_failures_in_cleanup_are_collected_in_the_order_of_the_ends),
           TEST(C092_T14_a_failure_hides_the_parents_cancel_until_its_next_call),
           TEST(C091_T14_children_may_come_after_one_that_was_cancelled),
           TEST(C094_T14_a_failure_in_the_inner_group_leaves_the_outer_one_alone),
           TEST(C094_T14_a_failure_in_the_outer_group_ends_the_inner_one_as_it_closes),
           TEST(C108_S3_the_notified_have_the_lock_one_after_the_other),
           TEST(C112_S4_who_releases_and_wants_again_comes_last))
