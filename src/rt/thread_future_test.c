/* SPDX-License-Identifier: MIT
 * Tasks of one loop, waited for and cancelled from other threads and other loops. */
#include <pthread.h>
#include <semaphore.h>

#include <beck/loop.h>
#include <beck/sync.h>
#include <beck/thread.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

/* What a visiting thread does with the loop, while that sleeps. */
struct visit {
    bk_loop *loop;
    void (*act)(struct visit *visit);
    bk_event *over;
    int r, result;
    char text[64];
};

static int set_event(void *ctx)
{
    return bk_event_set(ctx);
}

static void *visitor(void *ctx)
{
    struct visit *visit = ctx;
    visit->act(visit);
    bk_call_soon_threadsafe(visit->loop, set_event, visit->over);
    return NULL;
}

/* Runs act in a thread of its own until it is over.  The loop goes on meanwhile. */
static struct visit pay_visit(void (*act)(struct visit *visit))
{
    struct visit visit = {.loop = bk_loop_current(), .act = act};
    pthread_t thread;
    if (bk_event_new(&visit.over, "visit") == 0 &&
        pthread_create(&thread, NULL, visitor, &visit) == 0) {
        bk_event_wait(visit.over);
        pthread_join(thread, NULL);
    }
    bk_event_free(&visit.over);
    return visit;
}

static int answer(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_ms(10));
    return 42;
}

static int fail(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_ms(10));
    return bk_fail(-EIO, "line 17");
}

static int hang(void *ctx)
{
    int r = bk_sleep_forever();
    trace("%s%d", ctx ? (const char *)ctx : "hang", r == -ECANCELED);
    return r;
}

static void go_and_wait(struct visit *visit, bk_fn *fn, bk_duration limit)
{
    bk_thread_future *f = NULL;
    visit->r = bk_go_threadsafe_future(visit->loop, &f, fn, NULL);
    if (visit->r == 0)
        visit->r = bk_thread_future_wait(f, limit, &visit->result);
    snprintf(visit->text, sizeof visit->text, "%s", bk_errmsg());
    bk_thread_future_free(&f);
}

static void ask(struct visit *visit)
{
    go_and_wait(visit, answer, bk_forever());
}

LOOP_TEST(C164_R7_a_thread_gets_the_result)
{
    struct visit visit = pay_visit(ask);
    CHECK_EQ(visit.r, 0);
    CHECK_EQ(visit.result, 42);
}

static void ask_for_trouble(struct visit *visit)
{
    go_and_wait(visit, fail, bk_seconds(3600));
}

LOOP_TEST(C164_R7_a_thread_gets_the_error_and_its_detail)
{
    struct visit visit = pay_visit(ask_for_trouble);
    CHECK_EQ(visit.r, 0);
    CHECK_EQ(visit.result, -EIO);
    CHECK_STR(visit.text, "line 17");
}

static sem_t go_on;

static int hang_loudly(void *ctx)
{
    sem_post(&go_on);
    return hang(ctx);
}

static void give_up(struct visit *visit)
{
    bk_thread_future *f = NULL;
    visit->r = bk_go_threadsafe_future(visit->loop, &f, hang_loudly, NULL);
    sem_wait(&go_on);
    int looked = bk_thread_future_wait(f, bk_ns(0), NULL);
    int waited = bk_thread_future_wait(f, bk_us(100), NULL);
    bool early = bk_thread_future_done(f);
    int cancelled = bk_thread_future_cancel(f);
    bk_thread_future_cancel(f);
    visit->r = bk_thread_future_wait(f, bk_forever(), &visit->result);
    int again = bk_thread_future_cancel(f);
    snprintf(visit->text, sizeof visit->text, "%d %d %d %d %d %d", looked == -ETIMEDOUT,
             waited == -ETIMEDOUT, early, cancelled, again, bk_thread_future_done(f));
    bk_thread_future_free(&f);
    bk_thread_future_free(&f);
}

LOOP_TEST(C164_R7_a_thread_times_out_and_cancels)
{
    sem_init(&go_on, 0, 0);
    struct visit visit = pay_visit(give_up);
    sem_destroy(&go_on);
    CHECK_STR(visit.text, "1 1 0 1 0 1");
    CHECK_EQ(visit.r, 0);
    CHECK_EQ(visit.result, -ECANCELED);
    CHECK_STR(trace_text(), "hang1");
}

static int stubborn(void *ctx)
{
    (void)ctx;
    sem_post(&go_on);
    bk_sleep_forever();
    bk_uncancel();
    bk_sleep(bk_ms(10));
    return 5;
}

static void cancel_in_vain(struct visit *visit)
{
    bk_thread_future *f = NULL;
    visit->r = bk_go_threadsafe_future(visit->loop, &f, stubborn, NULL);
    sem_wait(&go_on);
    bk_thread_future_cancel(f);
    visit->r = bk_thread_future_wait(f, bk_forever(), &visit->result);
    bk_thread_future_free(&f);
}

/* asyncio's future is cancelled at once, whatever the task makes of it.  Here the outcome is the
 * task's. */
LOOP_TEST(C164_differs_a_task_that_does_not_give_way_has_its_own_result)
{
    sem_init(&go_on, 0, 0);
    struct visit visit = pay_visit(cancel_in_vain);
    sem_destroy(&go_on);
    CHECK_EQ(visit.r, 0);
    CHECK_EQ(visit.result, 5);
}

/* ---- A start that fails, and the end of the loop ---- */

static int visit_when_full(void *ctx)
{
    *(struct visit *)ctx = pay_visit(ask);
    return 0;
}

static void R7_that_it_could_not_be_started_is_told_too(void)
{
    struct visit visit;
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .max_tasks = 1};
    CHECK_EQ(bk_run(visit_when_full, &visit, &opts), 0);
    CHECK_EQ(visit.r, 0);
    CHECK_EQ(visit.result, -EAGAIN);
    CHECK(strstr(visit.text, "max_tasks (1)") != NULL);
}

static void *wait_in_thread(void *ctx)
{
    bk_thread_future *f = ctx;
    int result = 0;
    sem_post(&go_on);
    int r = bk_thread_future_wait(f, bk_forever(), &result);
    bool refused = r == 0 && result == -ECANCELED && bk_thread_future_cancel(f) == 0;
    bk_thread_future_free(&f);
    return refused ? ctx : NULL;
}

static int leave_waiting(void *ctx)
{
    bk_thread_future *f = NULL;
    int r = bk_go_threadsafe_future(bk_loop_current(), &f, hang, NULL);
    if (r == 0 && pthread_create(ctx, NULL, wait_in_thread, f) != 0)
        r = -EAGAIN;
    sem_wait(&go_on);
    return r;
}

static void R1_R7_the_end_of_the_loop_ends_the_wait(void)
{
    pthread_t thread;
    void *ok = NULL;
    sem_init(&go_on, 0, 0);
    CHECK_EQ(in_loop(leave_waiting, &thread), 0);
    CHECK_EQ(pthread_join(thread, &ok), 0);
    CHECK(ok);
    sem_destroy(&go_on);
}

static void C011_R7_a_closed_loop_refuses(void)
{
    bk_loop *loop = NULL;
    bk_thread_future *f = NULL;
    CHECK_EQ(bk_loop_new(&loop, NULL), 0);
    bk_loop *mine = bk_loop_ref(loop);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_EQ(bk_go_threadsafe_future(mine, &f, answer, NULL), -BK_ECLOSED);
    CHECK(!f);
    bk_loop_free(&mine);
}

/* ---- Tasks that wait ---- */

static int wait_for_other(void *ctx)
{
    int result = 0;
    int r = bk_thread_future_wait(ctx, bk_forever(), &result);
    trace("%d", r < 0 ? r : result);
    return r < 0 ? r : result;
}

static int other_loop(void *ctx)
{
    return bk_run(wait_for_other, ctx, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

static void *run_other_loop(void *ctx)
{
    return (void *)(intptr_t)other_loop(ctx);
}

LOOP_TEST(R7_N5_a_task_of_another_loop_waits)
{
    bk_thread_future *f = NULL;
    pthread_t thread;
    void *r = NULL;
    bk_event *go = NULL;
    CHECK_EQ(bk_event_new(&go, "go"), 0);
    CHECK_EQ(bk_go_threadsafe_future(bk_loop_current(), &f, answer, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, run_other_loop, f), 0);
    CHECK_EQ(bk_thread_future_wait(f, bk_forever(), NULL), 0); /* and one of its own loop */
    CHECK_EQ(pthread_join(thread, &r), 0);
    CHECK_EQ((intptr_t)r, 42);
    bk_thread_future_free(&f);
    bk_event_free(&go);
}

LOOP_TEST(R7_several_tasks_wait_and_one_is_cancelled)
{
    bk_thread_future *f = NULL;
    CHECK_EQ(bk_go_threadsafe_future(bk_loop_current(), &f, answer, NULL), 0);
    bk_task *a = start(wait_for_other, f), *b = start(wait_for_other, f);
    let_run(3);
    bk_task_cancel(a);
    CHECK_EQ(finish(&a), -ECANCELED);
    CHECK(!bk_thread_future_done(f)); /* only the wait was cancelled */
    CHECK_EQ(finish(&b), 42);
    CHECK_EQ(bk_thread_future_wait(f, bk_ns(0), NULL), 0);
    bk_thread_future_free(&f);
}

LOOP_TEST(C164_a_task_waits_with_a_limit)
{
    bk_thread_future *f = NULL;
    int result = 0;
    CHECK_EQ(bk_go_threadsafe_future(bk_loop_current(), &f, answer, NULL), 0);
    CHECK_EQ(bk_thread_future_wait(f, bk_ms(5), &result), -ETIMEDOUT);
    CHECK_EQ(bk_cancelling(), 0);
    CHECK_EQ(bk_thread_future_wait(f, bk_ms(6), &result), 0);
    CHECK_EQ(result, 42);
    bk_thread_future_free(&f);
}

static bk_thread_future *self_future;

static int wait_for_self(void *ctx)
{
    (void)ctx;
    return bk_thread_future_wait(self_future, bk_forever(), NULL);
}

static int wait_in_call(void *ctx)
{
    trace("%d", bk_thread_future_wait(ctx, bk_forever(), NULL) == -BK_ENOTASK);
    return 0;
}

LOOP_TEST(F4_R7_waits_that_could_not_end_are_refused)
{
    int result = 0;
    bk_loop *loop = bk_loop_current();
    CHECK_EQ(bk_go_threadsafe_future(loop, &self_future, wait_for_self, NULL), 0);
    CHECK_EQ(bk_thread_future_wait(self_future, bk_forever(), &result), 0);
    CHECK_EQ(result, -EDEADLK);
    bk_thread_future_free(&self_future);
    bk_thread_future *f = NULL;
    CHECK_EQ(bk_go_threadsafe_future(loop, &f, answer, NULL), 0);
    CHECK_EQ(bk_call_soon(NULL, wait_in_call, f), 0);
    CHECK_EQ(bk_thread_future_wait(f, bk_forever(), &result), 0);
    CHECK_STR(trace_text(), "1");
    bk_thread_future_free(&f);
}

/* ---- Failures that nobody waited for ---- */

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("[%s: %s]", report->what, report->detail);
}

static int forget_failures(void *ctx)
{
    (void)ctx;
    bk_thread_future *f = NULL, *g = NULL, *h = NULL;
    bk_loop *loop = bk_loop_current();
    int r = bk_go_threadsafe_future(loop, &f, fail, NULL);
    bk_thread_future_free(&f); /* before it has ended */
    if (r == 0)
        r = bk_go_threadsafe_future(loop, &g, fail, NULL);
    if (r == 0)
        r = bk_go_threadsafe_future(loop, &h, fail, NULL);
    bk_sleep(bk_ms(15));
    trace("ended");
    bk_thread_future_wait(h, bk_ns(0), NULL);
    bk_thread_future_free(&h);
    bk_thread_future_free(&g); /* after */
    bk_sleep(bk_ms(1));
    return r;
}

static void F3_R7_a_failure_nobody_waited_for_is_reported(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = note_report};
    CHECK_EQ(bk_run(forget_failures, NULL, &opts), 0);
    CHECK_STR(trace_text(),
              "[task of another thread failed and nobody waited for it: line 17] ended "
              "[task of another thread failed and nobody waited for it: line 17]");
}

static int quick(void *ctx)
{
    (void)ctx;
    return 1;
}

static int visit_out_of_memory(void *ctx)
{
    (void)ctx;
    bk_thread_future *f = NULL;
    int result = 0, r = bk_go_threadsafe_future(bk_loop_current(), &f, quick, NULL);
    if (r == 0)
        r = bk_thread_future_wait(f, bk_ms(5), &result);
    if (r == 0 && result < 0)
        r = result;
    bk_thread_future_free(&f);
    return r;
}

static int visit_run(void *ctx)
{
    return in_loop(visit_out_of_memory, ctx);
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(visit_run, NULL) > 4);
}

CHECK_MAIN(TEST(C164_R7_a_thread_gets_the_result),
           TEST(C164_R7_a_thread_gets_the_error_and_its_detail),
           TEST(C164_R7_a_thread_times_out_and_cancels),
           TEST(C164_differs_a_task_that_does_not_give_way_has_its_own_result),
           TEST(R7_that_it_could_not_be_started_is_told_too),
           TEST(R1_R7_the_end_of_the_loop_ends_the_wait), TEST(C011_R7_a_closed_loop_refuses),
           TEST(R7_N5_a_task_of_another_loop_waits),
           TEST(R7_several_tasks_wait_and_one_is_cancelled), TEST(C164_a_task_waits_with_a_limit),
           TEST(F4_R7_waits_that_could_not_end_are_refused),
           TEST(F3_R7_a_failure_nobody_waited_for_is_reported), TEST(every_allocation_may_fail))
