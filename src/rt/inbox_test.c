/* SPDX-License-Identifier: MIT
 * Tasks started from other threads, and the loop's inbox under them. */
#include <pthread.h>
#include <stdatomic.h>

#include <beck/future.h>
#include <beck/sync.h>
#include <beck/thread.h>

#include "rt/rt.h"
#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

#ifdef __SANITIZE_THREAD__
enum { THREADS = 10, EACH = 100 }; /* it takes a millisecond for each task */
#else
enum { THREADS = 10, EACH = 2000 }; /* older kernels: two mappings a task, 65,530 in all */
#endif

static struct {
    bk_loop *loop;
    bk_event *all;
    int n_run;
    int next[THREADS];
    int n_out_of_order;
    atomic_int n_failed;
} many;

static int count(void *ctx)
{
    int n = (int)(intptr_t)ctx, from = n / EACH;
    many.n_out_of_order += many.next[from]++ != n % EACH;
    if (++many.n_run == THREADS * EACH)
        bk_event_set(many.all);
    return 0;
}

static void *call_many(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    for (int i = 0; i < EACH; i++)
        if (bk_go_threadsafe(many.loop, count, (void *)(intptr_t)(me * EACH + i)) < 0)
            atomic_fetch_add(&many.n_failed, 1);
    return NULL;
}

static int many_main(void *ctx)
{
    (void)ctx;
    pthread_t threads[THREADS];
    many.loop = bk_loop_current();
    int r = bk_event_new(&many.all, "all calls");
    if (r < 0)
        return r;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, call_many, (void *)(intptr_t)i);
    r = bk_event_wait(many.all);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    bk_event_free(&many.all);
    return r;
}

/* Each call runs once, each thread's in order, on the real and on the virtual clock; and all memory
 * comes back. */
static void run_many(enum bk_clock clock)
{
    memset(&many, 0, sizeof many);
    alloc_sweep_fail_nth(0);
    int r = bk_run(many_main, NULL, &(bk_run_opts){.clock = clock});
    long left = alloc_sweep_end();
    CHECK_EQ(r, 0);
    CHECK_EQ(atomic_load(&many.n_failed), 0);
    CHECK_EQ(many.n_run, THREADS * EACH);
    CHECK_EQ(many.n_out_of_order, 0);
    CHECK_EQ(left, 0);
}

static void C012_R7_ten_threads_start_tasks(void)
{
    run_many(BK_CLOCK_REAL);
}

static void test_ten_threads_virtual_clock(void)
{
    run_many(BK_CLOCK_VIRTUAL);
}

/* ---- From the loop's own thread, and from a thread while the loop sleeps ---- */

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

LOOP_TEST(test_from_the_loop_itself)
{
    CHECK_EQ(bk_go_threadsafe(bk_loop_current(), say, (void *)"a"), 0);
    CHECK_EQ(bk_go_threadsafe(bk_loop_current(), say, (void *)"b"), 0);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(bk_sleep(bk_ms(1)), 0);
    CHECK_STR(trace_text(), "a b");
}

static int settle(void *ctx)
{
    return bk_future_set(ctx, 42, NULL);
}

struct letter {
    bk_loop *loop;
    bk_future *future;
};

static void *settle_from_thread(void *ctx)
{
    struct letter *letter = ctx;
    return (void *)(intptr_t)bk_go_threadsafe(letter->loop, settle, letter->future);
}

/* The loop has nothing else to do and must not take that for a deadlock. */
LOOP_TEST(C010_R7_a_task_from_a_thread_wakes_a_sleeping_loop)
{
    struct letter letter = {.loop = bk_loop_current()};
    pthread_t thread;
    void *r = NULL;
    int result = 0;
    CHECK_EQ(bk_future_new(&letter.future), 0);
    CHECK_EQ(pthread_create(&thread, NULL, settle_from_thread, &letter), 0);
    CHECK_EQ(bk_future_wait(letter.future, &result, NULL), 0);
    CHECK_EQ(pthread_join(thread, &r), 0);
    CHECK_EQ((intptr_t)r, 0);
    CHECK_EQ(result, 42);
    bk_future_free(&letter.future);
}

/* ---- The end of the run ---- */

static int never(void *ctx)
{
    (void)ctx;
    trace("ran");
    return 0;
}

static int late_shielded(void *ctx)
{
    int r = bk_go_threadsafe(bk_loop_current(), never, ctx);
    trace("%s", r == -BK_ECLOSED ? "refused" : "accepted");
    return 0;
}

static int late(void *ctx)
{
    bk_sleep_forever();
    return bk_shield(late_shielded, ctx);
}

static int late_main(void *ctx)
{
    (void)ctx;
    bk_go(NULL, late, NULL, NULL);
    bk_yield();
    return 0;
}

static void C011_R7_refused_when_the_run_ends(void)
{
    CHECK_EQ(in_loop(late_main, NULL), 0);
    CHECK_STR(trace_text(), "refused");
}

static int last_moment(void *ctx)
{
    (void)ctx;
    return bk_go_threadsafe(bk_loop_current(), never, NULL);
}

/* Accepted, but main ends first: as with any task that is cancelled before its first step. */
static void test_accepted_at_the_last_moment(void)
{
    alloc_sweep_fail_nth(0);
    int r = in_loop(last_moment, NULL);
    long left = alloc_sweep_end();
    CHECK_EQ(r, 0);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(left, 0);
}

static atomic_bool stop_calling;

static void *call_until_refused(void *ctx)
{
    int r;
    do
        r = bk_go_threadsafe(ctx, say, (void *)"");
    while (r == 0 && !atomic_load(&stop_calling));
    return (void *)(intptr_t)r;
}

struct racer {
    pthread_t thread;
    int round;
};

static int join_racer(void *ctx)
{
    struct racer *racer = ctx;
    void *r = NULL;
    pthread_join(racer->thread, &r);
    trace("%d", (int)(intptr_t)r == -BK_ECLOSED);
    return 0;
}

static int join_when_cancelled(void *ctx)
{
    bk_sleep_forever();
    return join_racer(ctx);
}

static int race_main(void *ctx)
{
    struct racer *racer = ctx;
    pthread_create(&racer->thread, NULL, call_until_refused, bk_loop_current());
    bk_go(NULL, join_when_cancelled, racer, NULL);
    let_run(racer->round % 7 + 1);
    trace_reset();
    return 0;
}

/* A thread calls all the time while the run ends: it is refused from some moment on. */
static void test_race_with_the_end(void)
{
    for (int round = 0; round < 50; round++) {
        struct racer racer = {.round = round};
        CHECK_EQ(bk_run(race_main, &racer, NULL), 0);
        CHECK_STR(trace_text(), "1");
    }
}

/* ---- Failures ---- */

static int too_many(void *ctx)
{
    (void)ctx;
    int r = bk_go_threadsafe(bk_loop_current(), never, NULL);
    return r < 0 ? r : bk_sleep(bk_ms(1));
}

static void note(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("%s: %d: %s", report->what, report->result == -EAGAIN, report->detail);
}

/* A call that was accepted and cannot start its task is not lost silently. */
static void R7_failure_to_start_is_reported(void)
{
    trace_reset();
    CHECK_EQ(bk_run(too_many, NULL,
                    &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .max_tasks = 1, .on_error = note}),
             0);
    CHECK(strstr(trace_text(), "bk_go_threadsafe could not start its task: 1: max_tasks"));
}

/* ---- The inbox itself ---- */

struct numbered_post {
    struct bki_post post;
    int n;
};

static void post_says(struct bki_post *post, struct bk_loop *loop)
{
    trace("%d%s", bki_container(post, struct numbered_post, post)->n, loop == bki_loop ? "" : "?");
}

static int close_inbox(void *ctx)
{
    struct numbered_post *posts = ctx;
    for (int i = 0; i < 3; i++)
        if (bki_inbox_post(bki_loop, &posts[i].post) < 0)
            return 1;
    trace("posted");
    bki_inbox_close(bki_loop);
    return bki_inbox_post(bki_loop, &posts[3].post) == -BK_ECLOSED ? 0 : 2;
}

/* Closing runs what was posted, in order, and refuses the rest. */
static void test_close_runs_the_rest(void)
{
    struct numbered_post posts[4];
    for (int i = 0; i < 4; i++)
        posts[i] = (struct numbered_post){{NULL, post_says}, i};
    CHECK_EQ(in_loop(close_inbox, posts), 0);
    CHECK_STR(trace_text(), "posted 0 1 2");
}

CHECK_MAIN(TEST(C012_R7_ten_threads_start_tasks), TEST(test_ten_threads_virtual_clock),
           TEST(test_from_the_loop_itself),
           TEST(C010_R7_a_task_from_a_thread_wakes_a_sleeping_loop),
           TEST(C011_R7_refused_when_the_run_ends), TEST(test_accepted_at_the_last_moment),
           TEST(test_race_with_the_end), TEST(R7_failure_to_start_is_reported),
           TEST(test_close_runs_the_rest))
