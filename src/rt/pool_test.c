/* SPDX-License-Identifier: MIT
 * Blocking calls on the pool's threads: results, errors, limits, and a cancel in each state of a
 * call. */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include <beck/thread.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

/* A call that tells when it runs and returns when it is let go. */
struct gate {
    sem_t running, go;
    int result;
    atomic_int n_calls, n_abandoned;
    int abandoned_result;
    pthread_t by;
};

static void gate_init(struct gate *gate, int result)
{
    memset(gate, 0, sizeof *gate);
    sem_init(&gate->running, 0, 0);
    sem_init(&gate->go, 0, 0);
    gate->result = result;
}

static int pass(void *ctx)
{
    struct gate *gate = ctx;
    atomic_fetch_add(&gate->n_calls, 1);
    gate->by = pthread_self();
    sem_post(&gate->running);
    while (sem_wait(&gate->go) < 0)
        ;
    return gate->result < 0 ? bk_fail(gate->result, "the gate said %d", gate->result)
                            : gate->result;
}

static void abandoned(void *ctx, int result)
{
    struct gate *gate = ctx;
    gate->abandoned_result = result;
    atomic_fetch_add(&gate->n_abandoned, 1);
    sem_post(&gate->running);
}

static int call(void *ctx)
{
    int r = bk_to_thread(pass, ctx, NULL);
    trace("%d", r);
    return r;
}

static int call_or_abandon(void *ctx)
{
    return bk_to_thread(pass, ctx, &(bk_to_thread_opts){.on_abandon = abandoned});
}

static void wait_until_running(struct gate *gate)
{
    while (sem_wait(&gate->running) < 0)
        ;
}

/* ---- Results ---- */

static int other_thread(void *ctx)
{
    char name[16] = "";
    sigset_t mask;
    pthread_getname_np(pthread_self(), name, sizeof name);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    bool ok = !pthread_equal(pthread_self(), *(pthread_t *)ctx) && strcmp(name, "beck-pool") == 0 &&
              sigismember(&mask, SIGINT) && sigismember(&mask, SIGUSR1) &&
              !sigismember(&mask, SIGSEGV);
    return ok ? 42 : -1;
}

LOOP_TEST(C163_P3_to_thread_returns_the_result)
{
    pthread_t self = pthread_self();
    CHECK_EQ(bk_to_thread(other_thread, &self, NULL), 42);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGINT)); /* ours are as they were */
}

static int fail_with_text(void *ctx)
{
    return bk_fail(-EIO, "disk %s on fire", (const char *)ctx);
}

static int fail_without(void *ctx)
{
    (void)ctx;
    return -ENOENT;
}

LOOP_TEST(C163_P3_to_thread_returns_the_error_and_its_detail)
{
    CHECK_EQ(bk_to_thread(fail_with_text, (void *)"sda", NULL), -EIO);
    CHECK_STR(bk_errmsg(), "disk sda on fire");
    CHECK_EQ(bk_to_thread(fail_without, NULL, NULL), -ENOENT);
    CHECK_STR(bk_errmsg(), ""); /* not the text of an earlier call on that thread */
}

static int count(void *ctx)
{
    return atomic_fetch_add((atomic_int *)ctx, 1) >= 0 ? 0 : -1;
}

LOOP_TEST(test_to_thread_once)
{
    atomic_int n = 0;
    CHECK_EQ(bk_to_thread(count, &n, NULL), 0);
    CHECK_EQ(atomic_load(&n), 1);
}

static int count_on_thread(void *ctx)
{
    return bk_to_thread(count, ctx, NULL);
}

LOOP_TEST(test_to_thread_concurrent)
{
    atomic_int n = 0;
    bk_task *tasks[200];
    for (int i = 0; i < 200; i++)
        tasks[i] = start(count_on_thread, &n);
    for (int i = 0; i < 200; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    CHECK_EQ(atomic_load(&n), 200);
}

/* The loop goes on meanwhile. */
LOOP_TEST(test_the_loop_runs_on)
{
    struct gate gate;
    gate_init(&gate, 7);
    bk_task *t = start(call, &gate);
    let_run(1);
    wait_until_running(&gate);
    trace("still here");
    sem_post(&gate.go);
    CHECK_EQ(finish(&t), 7);
    CHECK_STR(trace_text(), "still here 7");
}

/* ---- Limits ---- */

static int three_gates(void *ctx)
{
    struct gate *gates = ctx;
    bk_task *tasks[3];
    for (int i = 0; i < 3; i++) {
        tasks[i] = start(call, &gates[i]);
        let_run(1);
        if (i < 2)
            wait_until_running(&gates[i]); /* the first runs on: the second gets a thread too */
    }
    trace("%s", strstr(dump_text(), "waits for thread (all 2 are busy)") ? "busy" : "?");
    trace("third %d", atomic_load(&gates[2].n_calls));
    sem_post(&gates[0].go);
    wait_until_running(&gates[2]);
    sem_post(&gates[1].go);
    sem_post(&gates[2].go);
    int r = 0;
    for (int i = 0; i < 3; i++)
        r += finish(&tasks[i]);
    return r;
}

static void P3_no_more_threads_than_allowed(void)
{
    struct gate gates[3];
    for (int i = 0; i < 3; i++)
        gate_init(&gates[i], 1 << i);
    trace_reset();
    CHECK_EQ(
        bk_run(three_gates, gates, &(bk_run_opts){.max_threads = 2, .clock = BK_CLOCK_VIRTUAL}), 7);
    CHECK(strncmp(trace_text(), "busy third 0 ", 13) == 0);
}

static int thread_id(void *ctx)
{
    *(pthread_t *)ctx = pthread_self();
    return 0;
}

/* An idle thread takes the next call: no second one is started. */
LOOP_TEST(test_threads_are_reused)
{
    pthread_t first, next;
    CHECK_EQ(bk_to_thread(thread_id, &first, NULL), 0);
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(bk_to_thread(thread_id, &next, NULL), 0);
        CHECK(pthread_equal(first, next));
    }
}

static atomic_bool no_threads;

/* The C library's, but for a moment when there are no threads to be had. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg)
{
    if (atomic_load(&no_threads))
        return EAGAIN;
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attr, body, arg);
}

/* Without any thread the call fails; with one that is busy it waits for that. */
LOOP_TEST(P3_no_thread_is_told)
{
    struct gate gate;
    atomic_int n = 0;
    gate_init(&gate, 3);
    atomic_store(&no_threads, true);
    CHECK_EQ(bk_to_thread(count, &n, NULL), -EAGAIN);
    CHECK(strstr(bk_errmsg(), "no thread could be started"));
    atomic_store(&no_threads, false);
    bk_task *t1 = start(call, &gate);
    let_run(1);
    wait_until_running(&gate);
    atomic_store(&no_threads, true);
    bk_task *t2 = start(count_on_thread, &n);
    let_run(1);
    sem_post(&gate.go);
    CHECK_EQ(finish(&t1), 3);
    CHECK_EQ(finish(&t2), 0);
    atomic_store(&no_threads, false);
}

/* ---- Cancel in each state ---- */

LOOP_TEST(test_cancelled_before)
{
    struct gate gate;
    gate_init(&gate, 0);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_to_thread(pass, &gate, NULL), -ECANCELED);
    CHECK_EQ(call_or_abandon(&gate), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(atomic_load(&gate.n_calls), 0);
    CHECK_EQ(atomic_load(&gate.n_abandoned), 1);
    CHECK_EQ(gate.abandoned_result, -ECANCELED);
}

static int cancel_queued(void *ctx)
{
    struct gate *gates = ctx;
    bk_task *busy = start(call, &gates[0]);
    bk_task *waiting = start(call, &gates[1]), *leaving = start(call_or_abandon, &gates[2]);
    let_run(1);
    wait_until_running(&gates[0]);
    bk_task_cancel(waiting);
    bk_task_cancel(leaving);
    int r = finish(&waiting) == -ECANCELED && finish(&leaving) == -ECANCELED ? 0 : -EIO;
    sem_post(&gates[0].go);
    finish(&busy);
    return r;
}

static void test_cancelled_in_the_queue(void)
{
    struct gate gates[3];
    for (int i = 0; i < 3; i++)
        gate_init(&gates[i], i);
    CHECK_EQ(bk_run(cancel_queued, gates, &(bk_run_opts){.max_threads = 1}), 0);
    CHECK_EQ(atomic_load(&gates[1].n_calls), 0);
    CHECK_EQ(atomic_load(&gates[2].n_calls), 0);
    CHECK_EQ(atomic_load(&gates[2].n_abandoned), 1);
    CHECK_EQ(gates[2].abandoned_result, -ECANCELED);
}

static int call_then_yield(void *ctx)
{
    int r = bk_to_thread(pass, ctx, NULL);
    trace("%d", r);
    trace("%d", bk_yield() == -ECANCELED); /* the cancel shows at the next call */
    return r;
}

/* asyncio's to_thread always leaves its thread behind.  What a thread works on often lives in the
 * frame of the caller, so that without on_abandon the call is waited for, its result wins, and the
 * cancel stays pending. */
LOOP_TEST(C051_differs_a_cancelled_caller_waits_unless_it_abandons)
{
    struct gate gate;
    gate_init(&gate, 9);
    bk_task *t = start(call_then_yield, &gate);
    let_run(1);
    wait_until_running(&gate);
    bk_task_cancel(t);
    let_run(3);
    bk_task_cancel(t);
    let_run(3);
    CHECK(!bk_task_done(t));
    sem_post(&gate.go);
    CHECK_EQ(finish(&t), 9);
    CHECK_STR(trace_text(), "9 1");
}

/* Nothing suspends after the call, so nobody tells the task of its cancel: it ends cancelled. */
LOOP_TEST(C051_cancelled_while_running_at_the_end)
{
    struct gate gate;
    gate_init(&gate, 9);
    bk_task *t = start(call, &gate);
    let_run(1);
    wait_until_running(&gate);
    bk_task_cancel(t);
    let_run(3);
    sem_post(&gate.go);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_STR(trace_text(), "9");
}

LOOP_TEST(C051_an_abandoned_call_finishes_alone)
{
    struct gate gate;
    gate_init(&gate, 11);
    bk_task *t = start(call_or_abandon, &gate);
    let_run(1);
    wait_until_running(&gate);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    CHECK_EQ(atomic_load(&gate.n_abandoned), 0);
    sem_post(&gate.go);
    wait_until_running(&gate); /* on_abandon says so */
    CHECK_EQ(atomic_load(&gate.n_abandoned), 1);
    CHECK_EQ(gate.abandoned_result, 11);
}

static int abandon_and_end(void *ctx)
{
    struct gate *gate = ctx;
    bk_task *t = start(call_or_abandon, gate);
    let_run(1);
    wait_until_running(gate);
    bk_task_cancel(t);
    int r = finish(&t);
    sem_post(&gate->go);
    return r == -ECANCELED ? 0 : -EIO;
}

/* The run's end waits for calls that nobody waits for. */
static void P3_the_run_waits_for_abandoned_calls(void)
{
    struct gate gate;
    gate_init(&gate, 12);
    alloc_sweep_fail_nth(0);
    int r = in_loop(abandon_and_end, &gate);
    long left = alloc_sweep_end();
    CHECK_EQ(r, 0);
    CHECK_EQ(atomic_load(&gate.n_abandoned), 1);
    CHECK_EQ(gate.abandoned_result, 12);
    CHECK_EQ(left, 0);
}

/* The call has ended and its post is on the way when the cancel comes. */
static int quick(void *ctx)
{
    sem_post((sem_t *)ctx);
    return 5;
}

struct quick_call {
    sem_t done;
    bool can_leave;
    int n_left;
};

static void left(void *ctx, int result)
{
    struct quick_call *quick_call = ctx;
    (void)result;
    quick_call->n_left++;
}

static int call_quick(void *ctx)
{
    struct quick_call *quick_call = ctx;
    bk_to_thread_opts opts = {.on_abandon = quick_call->can_leave ? left : NULL};
    int r = bk_to_thread(quick, ctx, &opts);
    trace("%d", r);
    return r;
}

static int cancel_quick(void *ctx)
{
    struct quick_call *quick_call = ctx;
    bk_task *t = start(call_quick, quick_call);
    let_run(1);
    while (sem_wait(&quick_call->done) < 0)
        ;
    bk_task_cancel(t);
    return finish(&t) == -ECANCELED ? 0 : -EIO;
}

static void test_cancelled_after_the_end(void)
{
    for (int i = 0; i < 200; i++) {
        struct quick_call quick_call = {.can_leave = i % 2};
        sem_init(&quick_call.done, 0, 0);
        CHECK_EQ(in_loop(cancel_quick, &quick_call), 0);
        /* either it got the result, or it left and the call was abandoned: never both, never
         * neither */
        bool abandoned_it = strcmp(trace_text(), "-125") == 0;
        CHECK(abandoned_it || strcmp(trace_text(), "5") == 0);
        CHECK_EQ(quick_call.n_left, abandoned_it);
        CHECK(!abandoned_it || quick_call.can_leave);
    }
}

/* ---- Time ---- */

static int sleep_long(void *ctx)
{
    int r = bk_sleep(bk_seconds(3600));
    trace("slept");
    return ctx ? -EIO : r;
}

static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Work enough for the loop to fall asleep, and longer than the virtual clock waits for a
 * descriptor. */
static int work_a_while(void *ctx)
{
    (void)ctx;
    int64_t end = thread_cpu_ns() + 10 * 1000 * 1000;
    while (thread_cpu_ns() < end)
        ;
    return 0;
}

/* Virtual time stands still while a call is under way. */
LOOP_TEST(test_virtual_time_waits)
{
    bk_task *sleeper = start(sleep_long, NULL);
    let_run(1);
    bk_time begin = bk_now();
    CHECK_EQ(bk_to_thread(work_a_while, NULL, NULL), 0);
    CHECK_EQ(bk_time_since(bk_now(), begin).ns, 0);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(finish(&sleeper), 0);
    CHECK_EQ(bk_time_since(bk_now(), begin).ns, bk_seconds(3600).ns);
}

/* ---- Memory ---- */

static int run_one(void *ctx)
{
    return bk_to_thread(fail_without, ctx, NULL) == -ENOENT ? 0 : -ENOMEM;
}

static int scenario(void *ctx)
{
    return in_loop(run_one, ctx);
}

static void test_out_of_memory(void)
{
    CHECK(alloc_sweep(scenario, NULL) > 2);
}

CHECK_MAIN(TEST(C163_P3_to_thread_returns_the_result),
           TEST(C163_P3_to_thread_returns_the_error_and_its_detail), TEST(test_to_thread_once),
           TEST(test_to_thread_concurrent), TEST(test_the_loop_runs_on),
           TEST(P3_no_more_threads_than_allowed), TEST(test_threads_are_reused),
           TEST(P3_no_thread_is_told), TEST(test_cancelled_before),
           TEST(test_cancelled_in_the_queue),
           TEST(C051_differs_a_cancelled_caller_waits_unless_it_abandons),
           TEST(C051_cancelled_while_running_at_the_end),
           TEST(C051_an_abandoned_call_finishes_alone), TEST(P3_the_run_waits_for_abandoned_calls),
           TEST(test_cancelled_after_the_end), TEST(test_virtual_time_waits),
           TEST(test_out_of_memory))
