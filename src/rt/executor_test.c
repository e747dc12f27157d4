/* SPDX-License-Identifier: MIT
 * Tests of executors: own threads, shutdown, several loops, maps over all cores. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include <beck/gather.h>
#include <beck/thread.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) < 0)
        ;
}

/* A call that says when it has begun, and ends when it is let go. */
struct gate {
    bk_executor *executor;
    sem_t begun, go;
    atomic_int n_running, n_most, n_abandoned;
};

static void gate_init(struct gate *g)
{
    *g = (struct gate){0};
    sem_init(&g->begun, 0, 0);
    sem_init(&g->go, 0, 0);
}

static int pass_the_gate(void *ctx)
{
    struct gate *g = ctx;
    int n = atomic_fetch_add(&g->n_running, 1) + 1;
    if (n > atomic_load(&g->n_most))
        atomic_store(&g->n_most, n);
    sem_post(&g->begun);
    wait_for(&g->go);
    atomic_fetch_sub(&g->n_running, 1);
    return 7;
}

static int call(void *ctx)
{
    struct gate *g = ctx;
    return bk_to_thread(pass_the_gate, g, &(bk_to_thread_opts){.executor = g->executor});
}

static int shutdown_now(void *ctx)
{
    int r = bk_executor_shutdown(ctx, bk_forever());
    trace("shut down %d", r);
    return r;
}

/* ---- Threads of one's own ---- */

static int thread_name(void *ctx)
{
    return pthread_getname_np(pthread_self(), ctx, 16);
}

LOOP_TEST(P3_calls_run_on_the_executors_threads)
{
    bk_executor *ex = NULL;
    char name[16] = "";
    CHECK_EQ(bk_executor_new(&ex, &(bk_executor_opts){.name = "workers", .max_threads = 2}), 0);
    bk_to_thread_opts opts = {.executor = ex};
    CHECK_EQ(bk_to_thread(thread_name, name, &opts), 0);
    CHECK_STR(name, "workers");
    CHECK_EQ(bk_to_thread(thread_name, name, NULL), 0);
    CHECK_STR(name, "beck-pool");
    CHECK_EQ(bk_executor_shutdown(ex, bk_forever()), 0);
    bk_executor_free(&ex);
    CHECK(!ex);
    bk_executor_free(&ex);
}

LOOP_TEST(P3_an_executor_runs_no_more_than_its_threads)
{
    struct gate g;
    bk_task *tasks[5];
    gate_init(&g);
    CHECK_EQ(bk_executor_new(&g.executor, &(bk_executor_opts){.max_threads = 2}), 0);
    for (int i = 0; i < 5; i++)
        tasks[i] = start(call, &g);
    let_run(2);
    wait_for(&g.begun);
    wait_for(&g.begun);
    CHECK(strstr(dump_text(), "(all 2 are busy)"));
    for (int i = 0; i < 5; i++)
        sem_post(&g.go);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(finish(&tasks[i]), 7);
    CHECK_EQ(atomic_load(&g.n_most), 2);
    CHECK_EQ(bk_executor_shutdown(g.executor, bk_forever()), 0);
    bk_executor_free(&g.executor);
}

/* ---- Shutdown ---- */

LOOP_TEST(C165_P3_shutdown_waits_for_running_and_queued_calls_and_refuses_others)
{
    struct gate g;
    bk_task *tasks[3], *end;
    gate_init(&g);
    CHECK_EQ(bk_executor_new(&g.executor, &(bk_executor_opts){.max_threads = 1}), 0);
    for (int i = 0; i < 3; i++)
        tasks[i] = start(call, &g);
    let_run(2);
    wait_for(&g.begun);
    end = start(shutdown_now, g.executor);
    let_run(2);
    CHECK(!bk_task_done(end));
    CHECK_EQ(call(&g), -BK_ECLOSED);
    CHECK(strstr(bk_errmsg(), "was shut down"));
    for (int i = 0; i < 3; i++)
        sem_post(&g.go);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(finish(&tasks[i]), 7);
    CHECK_EQ(finish(&end), 0);
    CHECK_EQ(bk_executor_shutdown(g.executor, bk_forever()), 0);
    CHECK_EQ(call(&g), -BK_ECLOSED);
    bk_executor_free(&g.executor);
}

LOOP_TEST(C165_P3_shutdown_has_a_limit_and_may_be_called_again)
{
    struct gate g;
    gate_init(&g);
    CHECK_EQ(bk_executor_new(&g.executor, NULL), 0);
    bk_task *t = start(call, &g), *end;
    let_run(2);
    wait_for(&g.begun);
    CHECK_EQ(bk_executor_shutdown(g.executor, bk_seconds(0)), -ETIMEDOUT);
    CHECK(strstr(bk_errmsg(), "go on"));
    end = start(shutdown_now, g.executor);
    let_run(2);
    bk_task_cancel(end);
    CHECK_EQ(finish(&end), -ECANCELED);
    sem_post(&g.go);
    CHECK_EQ(finish(&t), 7);
    CHECK_EQ(bk_executor_shutdown(g.executor, bk_forever()), 0);
    bk_executor_free(&g.executor);
}

static void P3_shutdown_outside_of_any_loop(void)
{
    bk_executor *ex = NULL;
    CHECK_EQ(bk_executor_new(&ex, NULL), 0);
    CHECK_EQ(bk_executor_shutdown(ex, bk_forever()), 0);
    CHECK_EQ(bk_executor_shutdown(ex, bk_ns(0)), 0);
    bk_executor_free(&ex);
    CHECK_EQ(bk_executor_new(&ex, NULL), 0);
    bk_executor_free(&ex);
}

static int shut_down_mine(void *ctx)
{
    return bk_executor_shutdown(ctx, bk_forever());
}

LOOP_TEST(P3_shutdown_in_its_own_call_is_refused)
{
    bk_executor *ex = NULL;
    CHECK_EQ(bk_executor_new(&ex, NULL), 0);
    CHECK_EQ(bk_to_thread(shut_down_mine, ex, &(bk_to_thread_opts){.executor = ex}), -EDEADLK);
    CHECK_EQ(bk_executor_shutdown(ex, bk_forever()), 0);
    bk_executor_free(&ex);
}

/* ---- Calls that outlive their callers, loops and handles ---- */

static void count_abandoned(void *ctx, int result)
{
    struct gate *g = ctx;
    if (result == 7)
        atomic_fetch_add(&g->n_abandoned, 1);
    sem_post(&g->begun);
}

static int call_or_abandon(void *ctx)
{
    struct gate *g = ctx;
    bk_to_thread_opts opts = {.executor = g->executor, .on_abandon = count_abandoned};
    return bk_to_thread(pass_the_gate, g, &opts);
}

static int abandon(void *ctx)
{
    struct gate *g = ctx;
    bk_task *t = start(call_or_abandon, g);
    let_run(2);
    wait_for(&g->begun);
    bk_task_cancel(t);
    return finish(&t) == -ECANCELED ? 0 : -EIO;
}

static void P3_an_abandoned_call_outlives_the_loop(void)
{
    struct gate g;
    gate_init(&g);
    alloc_sweep_fail_nth(0);
    CHECK_EQ(bk_executor_new(&g.executor, NULL), 0);
    CHECK_EQ(in_loop(abandon, &g), 0); /* the run does not wait for it */
    CHECK_EQ(bk_executor_shutdown(g.executor, bk_ns(0)), -ETIMEDOUT);
    sem_post(&g.go);
    CHECK_EQ(bk_executor_shutdown(g.executor, bk_forever()), 0);
    CHECK_EQ(atomic_load(&g.n_abandoned), 1);
    bk_executor_free(&g.executor);
    CHECK_EQ(alloc_sweep_end(), 0);
}

static void P3_an_executor_given_back_ends_with_its_last_call(void)
{
    struct gate g;
    gate_init(&g);
    alloc_sweep_fail_nth(0);
    CHECK_EQ(bk_executor_new(&g.executor, NULL), 0);
    CHECK_EQ(in_loop(abandon, &g), 0);
    bk_executor_free(&g.executor);
    sem_post(&g.go);
    wait_for(&g.begun);
    CHECK_EQ(atomic_load(&g.n_abandoned), 1);
    while (atomic_load(&alloc_sweep_live) > 0)
        sched_yield(); /* the thread is about to free the rest */
    CHECK_EQ(alloc_sweep_end(), 0);
}

/* ---- Several loops, and the loop's default ---- */

static int add_up(void *ctx)
{
    return atomic_fetch_add((atomic_int *)ctx, 1) >= 0 ? 0 : -1;
}

struct shared {
    bk_executor *executor;
    atomic_int n;
    int result;
};

static int call_often(void *ctx)
{
    struct shared *s = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 200; i++)
        r = bk_to_thread(add_up, &s->n, &(bk_to_thread_opts){.executor = s->executor});
    return r;
}

static void *run_a_loop(void *ctx)
{
    struct shared *s = ctx;
    int r = bk_run(call_often, s, NULL);
    if (r < 0)
        s->result = r;
    return NULL;
}

static void P3_several_loops_share_an_executor(void)
{
    struct shared s = {0};
    pthread_t threads[3];
    CHECK_EQ(bk_executor_new(&s.executor, &(bk_executor_opts){.max_threads = 2}), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_a_loop, &s), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(s.result, 0);
    CHECK_EQ(atomic_load(&s.n), 600);
    CHECK_EQ(bk_executor_shutdown(s.executor, bk_forever()), 0);
    bk_executor_free(&s.executor);
}

static int default_name(void *ctx)
{
    return bk_to_thread(thread_name, ctx, NULL);
}

static void P3_a_loop_may_be_given_its_executor(void)
{
    bk_executor *ex = NULL;
    char name[16] = "";
    CHECK_EQ(bk_executor_new(&ex, &(bk_executor_opts){.name = "mine"}), 0);
    CHECK_EQ(bk_run(default_name, name, &(bk_run_opts){.executor = ex}), 0);
    CHECK_STR(name, "mine");
    CHECK_EQ(bk_run(default_name, name, &(bk_run_opts){.executor = ex}), 0);
    CHECK_EQ(bk_executor_shutdown(ex, bk_forever()), 0);
    CHECK_EQ(bk_run(default_name, name, &(bk_run_opts){.executor = ex}), -BK_ECLOSED);
    bk_executor_free(&ex);
}

/* ---- Cancelled meanwhile ---- */

static int work_until_cancelled(void *ctx)
{
    struct gate *g = ctx;
    sem_post(&g->begun);
    while (!bk_thread_is_cancelled())
        sched_yield();
    return 11;
}

static int call_long_work(void *ctx)
{
    int r = bk_to_thread(work_until_cancelled, ctx, NULL);
    trace("%d", r);
    return r;
}

LOOP_TEST(P3_long_work_can_see_that_its_caller_was_cancelled)
{
    struct gate g;
    gate_init(&g);
    CHECK(!bk_thread_is_cancelled());
    bk_task *t = start(call_long_work, &g);
    let_run(1);
    wait_for(&g.begun);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_STR(trace_text(), "11");
}

/* ---- Maps ---- */

struct item {
    int in, out;
};

static int square(void *ctx)
{
    struct item *item = ctx;
    item->out = item->in * item->in;
    return 0;
}

LOOP_TEST(P3_a_map_runs_over_all_items)
{
    static struct item items[1000];
    bk_executor *ex = NULL;
    CHECK_EQ(bk_executor_new(&ex, &(bk_executor_opts){.max_threads = 3}), 0);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 1000; i++)
            items[i] = (struct item){.in = i, .out = -1};
        CHECK_EQ(bk_executor_map(pass ? ex : NULL, square, items, 1000, sizeof items[0]), 0);
        for (int i = 0; i < 1000; i++)
            CHECK_EQ(items[i].out, i * i);
    }
    CHECK_EQ(bk_executor_map(ex, square, NULL, 0, sizeof items[0]), 0);
    CHECK_EQ(bk_executor_shutdown(ex, bk_forever()), 0);
    CHECK_EQ(bk_executor_map(ex, square, items, 3, sizeof items[0]), -BK_ECLOSED);
    bk_executor_free(&ex);
}

static int fail_at_ten(void *ctx)
{
    struct item *item = ctx;
    item->out = 1;
    return item->in == 10 ? bk_fail(-EDOM, "no ten") : 0;
}

LOOP_TEST(P3_a_map_ends_at_the_first_failure)
{
    static struct item items[100000];
    for (int i = 0; i < 100000; i++)
        items[i].in = i;
    CHECK_EQ(bk_executor_map(NULL, fail_at_ten, items, 100000, sizeof items[0]), -EDOM);
    CHECK_STR(bk_errmsg(), "no ten");
    for (int i = 0; i <= 10; i++)
        CHECK_EQ(items[i].out, 1);
}

struct slow_map {
    sem_t begun;
    atomic_int n_begun;
};

static struct slow_map *slow;

static int begin_and_wait(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&slow->n_begun, 1);
    sem_post(&slow->begun);
    while (!bk_thread_is_cancelled())
        sched_yield();
    return 0;
}

static int map_slowly(void *ctx)
{
    static char items[1000];
    (void)ctx;
    return bk_executor_map(NULL, begin_and_wait, items, sizeof items, 1);
}

LOOP_TEST(P3_a_cancelled_map_begins_no_more_items)
{
    struct slow_map s = {0};
    sem_init(&s.begun, 0, 0);
    slow = &s;
    bk_task *t = start(map_slowly, NULL);
    let_run(4);
    wait_for(&s.begun);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK(atomic_load(&s.n_begun) < 1000);
}

/* ---- Memory ---- */

static int scenario(void *ctx)
{
    bk_executor *ex = NULL;
    atomic_int n = 0;
    (void)ctx;
    int r = bk_executor_new(&ex, NULL);
    if (r == 0)
        r = bk_to_thread(add_up, &n, &(bk_to_thread_opts){.executor = ex});
    int32_t items[8] = {0};
    if (r == 0)
        r = bk_executor_map(ex, add_up, items, 8, sizeof items[0]);
    if (ex) {
        int ended = bk_executor_shutdown(ex, bk_forever());
        r = r < 0 ? r : ended;
    }
    bk_executor_free(&ex);
    return r;
}

static int scenario_in_loop(void *ctx)
{
    return in_loop(scenario, ctx);
}

static void P3_out_of_memory_leaves_nothing(void)
{
    CHECK(alloc_sweep(scenario_in_loop, NULL) > 0);
}

CHECK_MAIN(TEST(P3_calls_run_on_the_executors_threads),
           TEST(P3_an_executor_runs_no_more_than_its_threads),
           TEST(C165_P3_shutdown_waits_for_running_and_queued_calls_and_refuses_others),
           TEST(C165_P3_shutdown_has_a_limit_and_may_be_called_again),
           TEST(P3_shutdown_outside_of_any_loop), TEST(P3_shutdown_in_its_own_call_is_refused),
           TEST(P3_an_abandoned_call_outlives_the_loop),
           TEST(P3_an_executor_given_back_ends_with_its_last_call),
           TEST(P3_several_loops_share_an_executor), TEST(P3_a_loop_may_be_given_its_executor),
           TEST(P3_long_work_can_see_that_its_caller_was_cancelled),
           TEST(P3_a_map_runs_over_all_items), TEST(P3_a_map_ends_at_the_first_failure),
           TEST(P3_a_cancelled_map_begins_no_more_items), TEST(P3_out_of_memory_leaves_nothing))
