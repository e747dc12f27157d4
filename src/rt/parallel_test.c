/* SPDX-License-Identifier: MIT
 * Tests of several loops on several threads: ended, failed, cancelled, and channels between. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include <beck/channel.h>
#include <beck/group.h>
#include <beck/parallel.h>
#include <beck/thread.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

enum { LOOPS = 4 };

struct seen {
    bk_loop *loops[LOOPS];
    pthread_t threads[LOOPS];
    atomic_uint indices;
    atomic_int n_cancelled, n_waiting;
};

static int look_around(void *ctx, unsigned index)
{
    struct seen *s = ctx;
    s->loops[index] = bk_loop_current();
    s->threads[index] = pthread_self();
    atomic_fetch_or(&s->indices, 1u << index);
    return bk_yield() < 0 ? -1 : 5;
}

static void each_has_a_loop_of_its_own(void)
{
    struct seen s = {0};
    CHECK_EQ(bk_loops_run(LOOPS, look_around, &s, NULL), 0);
    CHECK_EQ(atomic_load(&s.indices), 15);
    for (int i = 0; i < LOOPS; i++)
        for (int j = 0; j < i; j++)
            CHECK(!pthread_equal(s.threads[i], s.threads[j]) || s.loops[i] != s.loops[j]);
    CHECK(!bk_loop_current());
}

static void as_many_as_processors(void)
{
    struct seen s = {0};
    CHECK(bk_cpu_count() >= 1);
    if (bk_cpu_count() <= LOOPS) {
        CHECK_EQ(bk_loops_run(0, look_around, &s, &(bk_loops_opts){.pin = true}), 0);
        CHECK_EQ(atomic_load(&s.indices), (1u << bk_cpu_count()) - 1);
    }
}

LOOP_TEST(inside_a_task_it_suspends)
{
    struct seen s = {0};
    CHECK_EQ(bk_loops_run(LOOPS, look_around, &s, NULL), 0);
    CHECK_EQ(atomic_load(&s.indices), 15);
    for (int i = 0; i < LOOPS; i++)
        CHECK(s.loops[i] && s.loops[i] != bk_loop_current());
}

/* ---- Failures and cancels ---- */

static int wait_or_fail(void *ctx, unsigned index)
{
    struct seen *s = ctx;
    if (index == 2)
        return bk_fail(-EDOM, "loop 2 has had enough");
    int r = bk_sleep_forever();
    atomic_fetch_add(&s->n_cancelled, r == -ECANCELED);
    return r;
}

static void a_failure_cancels_the_others(void)
{
    for (int i = 0; i < 20; i++) {
        struct seen s = {0};
        CHECK_EQ(bk_loops_run(LOOPS, wait_or_fail, &s, NULL), -EDOM);
        CHECK_STR(bk_errmsg(), "loop 2 has had enough");
        CHECK(atomic_load(&s.n_cancelled) < LOOPS); /* some may not even have begun */
    }
}

static int n_reports;

static void count_reports(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    n_reports += strcmp(report->what, "a further loop failed") == 0;
}

static int fail_together(void *ctx, unsigned index)
{
    (void)ctx;
    (void)index;
    return -EIO;
}

static void further_failures_are_reported(void)
{
    n_reports = 0;
    bk_loops_opts opts = {.run.on_error = count_reports};
    CHECK_EQ(bk_loops_run(3, fail_together, NULL, &opts), -EIO);
    CHECK(n_reports <= 2); /* one that was called off before it began did not fail */
}

static int wait_to_be_cancelled(void *ctx, unsigned index)
{
    struct seen *s = ctx;
    (void)index;
    atomic_fetch_add(&s->n_waiting, 1);
    int r = bk_sleep_forever();
    atomic_fetch_add(&s->n_cancelled, r == -ECANCELED);
    return r;
}

static int run_waiters(void *ctx)
{
    return bk_loops_run(LOOPS, wait_to_be_cancelled, ctx, NULL);
}

LOOP_TEST(a_cancel_is_passed_on_and_waited_for)
{
    struct seen s = {0};
    bk_task *t = start(run_waiters, &s);
    while (atomic_load(&s.n_waiting) < LOOPS)
        bk_yield();
    CHECK(strstr(dump_text(), "loops (4 of 4)"));
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_EQ(atomic_load(&s.n_cancelled), LOOPS);
    bk_task *early = start(run_waiters, &s);
    bk_task_cancel(early);
    CHECK_EQ(finish(&early), -ECANCELED);
}

static int signal_when_all_wait(void *ctx)
{
    struct seen *s = ctx;
    while (atomic_load(&s->n_waiting) < LOOPS)
        sched_yield();
    raise(SIGTERM); /* in the main thread */
    return 0;
}

static int run_waiters_and_signal(void *ctx)
{
    bk_go(NULL, signal_when_all_wait, ctx, NULL);
    return run_waiters(ctx);
}

static void a_signal_stops_them_all(void)
{
    struct seen s = {0};
    CHECK_EQ(bk_run(run_waiters_and_signal, &s, NULL), -BK_EINTERRUPTED);
    CHECK_EQ(atomic_load(&s.n_cancelled), LOOPS);
}

/* ---- Work handed out and results handed back ---- */

enum { JOBS = 2000 };

struct plant {
    bk_channel *work, *results;
};

static int square_all(void *ctx, unsigned index)
{
    struct plant *p = ctx;
    bk_msg *msg = NULL;
    int r;
    (void)index;
    while ((r = bk_channel_recv(p->work, &msg)) > 0) {
        int64_t x;
        memcpy(&x, bk_msg_data(msg), sizeof x);
        x *= x;
        memcpy(bk_msg_data(msg), &x, sizeof x);
        r = bk_channel_send(p->results, &msg);
        if (r < 0)
            break;
    }
    bk_msg_free(&msg);
    return r;
}

static int run_plant(void *ctx)
{
    struct plant *p = ctx;
    int r = bk_loops_run(LOOPS, square_all, p, NULL);
    bk_channel_close(p->results);
    return r;
}

static int hand_out(void *ctx)
{
    struct plant *p = ctx;
    int r = 0;
    for (int64_t i = 1; r == 0 && i <= JOBS; i++) {
        bk_msg *msg = NULL;
        r = bk_msg_copy(&msg, &i, sizeof i);
        if (r == 0)
            r = bk_channel_send(p->work, &msg);
        bk_msg_free(&msg);
    }
    bk_channel_close(p->work);
    return r;
}

LOOP_TEST(work_for_all_loops_and_their_results)
{
    struct plant p = {0};
    bk_group *group = NULL;
    bk_msg *msg = NULL;
    int64_t sum = 0, n = 0;
    CHECK_EQ(bk_channel_new(&p.work, NULL), 0);
    CHECK_EQ(bk_channel_new(&p.results, NULL), 0);
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    CHECK_EQ(bk_group_go(group, run_plant, &p, NULL), 0);
    CHECK_EQ(bk_group_go(group, hand_out, &p, NULL), 0);
    while (bk_channel_recv(p.results, &msg) > 0) {
        int64_t x;
        memcpy(&x, bk_msg_data(msg), sizeof x);
        sum += x;
        n++;
        bk_msg_free(&msg);
    }
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_EQ(n, JOBS);
    CHECK_EQ(sum, (int64_t)JOBS * (JOBS + 1) * (2 * JOBS + 1) / 6);
    bk_channel_free(&p.work);
    bk_channel_free(&p.results);
}

/* ---- Memory ---- */

static int yield_once(void *ctx, unsigned index)
{
    (void)ctx;
    (void)index;
    return bk_yield();
}

static int scenario(void *ctx)
{
    (void)ctx;
    return bk_loops_run(2, yield_once, NULL, &(bk_loops_opts){.run.on_error = count_reports});
}

static void out_of_memory_leaves_nothing(void)
{
    CHECK(alloc_sweep(scenario, NULL) > 0);
}

CHECK_MAIN(TEST(each_has_a_loop_of_its_own), TEST(as_many_as_processors),
           TEST(inside_a_task_it_suspends), TEST(a_failure_cancels_the_others),
           TEST(further_failures_are_reported), TEST(a_cancel_is_passed_on_and_waited_for),
           TEST(a_signal_stops_them_all), TEST(work_for_all_loops_and_their_results),
           TEST(out_of_memory_leaves_nothing))
