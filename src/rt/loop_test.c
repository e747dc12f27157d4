/* SPDX-License-Identifier: MIT
 * The loop as an object: several runs, stopping, closing, references, the handler of failures. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include <beck/future.h>
#include <beck/loop.h>
#include <beck/queue.h>
#include <beck/sync.h>
#include <beck/thread.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static const bk_run_opts virtual_clock = {.clock = BK_CLOCK_VIRTUAL};

static bk_loop *new_loop(void)
{
    bk_loop *loop = NULL;
    trace_reset();
    return bk_loop_new(&loop, &virtual_clock) == 0 ? loop : NULL;
}

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

static int return_7(void *ctx)
{
    (void)ctx;
    return 7;
}

static int stop(void *ctx)
{
    (void)ctx;
    trace("stop");
    return bk_loop_stop(bk_loop_current());
}

/* ---- Several runs ---- */

static int keep_saying(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        trace("%s%d", (const char *)ctx, i);
        bk_sleep(bk_ms(10));
    }
    return 0;
}

static int leave_it(void *ctx)
{
    bk_go(NULL, keep_saying, ctx, NULL);
    bk_sleep(bk_ms(5));
    trace("first");
    return 1;
}

static int sleep_15(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_ms(10));
    trace("second");
    return 2;
}

static void R2_what_a_run_leaves_goes_on_in_the_next(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_loop_run(loop, leave_it, "t"), 1);
    CHECK_EQ(bk_task_count(), 1);
    CHECK_EQ(bk_loop_run(loop, sleep_15, NULL), 2);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK(!loop);
    CHECK_STR(trace_text(), "t0 first t1 second t2");
    CHECK_EQ(bk_loop_close(&loop, 3), 3); /* closing nothing is fine */
}

static void R2_a_thread_has_one_loop(void)
{
    bk_loop *loop = new_loop(), *other = NULL;
    CHECK(loop);
    CHECK_EQ(bk_loop_new(&other, NULL), -EBUSY);
    CHECK_EQ(bk_run(return_7, NULL, NULL), -EBUSY);
    CHECK(!other);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_EQ(bk_run(return_7, NULL, NULL), 7);
}

static int run_inside(void *ctx)
{
    bk_loop *loop = ctx;
    bk_task *self = bk_task_current();
    trace("%d", bk_loop_is_running(loop));
    trace("%d", bk_loop_run(loop, return_7, NULL) == -EBUSY);
    trace("%d", bk_loop_run_forever(loop) == -EBUSY);
    trace("%d", bk_loop_run_until_complete(loop, self, NULL) == -EBUSY);
    trace("%d", bk_loop_turn(loop) == -EBUSY);
    trace("%d", bk_loop_close(&loop, 0) == -EBUSY);
    trace("%d", bk_run(return_7, NULL, NULL) == -EBUSY);
    return loop ? 0 : -EINVAL;
}

static void C013_R1_R2_R4_a_run_inside_a_run_is_refused_and_so_is_close(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK(!bk_loop_is_running(loop));
    CHECK_EQ(bk_loop_run(loop, run_inside, loop), 0);
    CHECK_STR(trace_text(), "1 1 1 1 1 1 1");
    CHECK_EQ(bk_call_soon(NULL, run_inside, loop), 0); /* nor in a call */
    CHECK_EQ(bk_loop_run(loop, return_7, NULL), 7);
    CHECK_STR(trace_text(), "1 1 1 1 1 1 1 1 1 1 1 1 1 1");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static void *use_from_thread(void *ctx)
{
    bk_loop *loop = ctx;
    bool refused = bk_loop_run(loop, return_7, NULL) == -EPERM &&
                   bk_loop_run_forever(loop) == -EPERM && bk_loop_stop(loop) == -EPERM &&
                   bk_loop_turn(loop) == -EPERM && bk_loop_fd(loop) == -EPERM &&
                   bk_loop_set_on_error(loop, NULL, NULL) == -EPERM &&
                   bk_loop_close(&loop, 0) == -EPERM;
    return refused && loop ? ctx : NULL;
}

static void R4_N5_another_threads_loop_is_refused(void)
{
    bk_loop *loop = new_loop();
    pthread_t thread;
    void *ok = NULL;
    CHECK(loop);
    CHECK_EQ(pthread_create(&thread, NULL, use_from_thread, loop), 0);
    CHECK_EQ(pthread_join(thread, &ok), 0);
    CHECK(ok);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

/* What does not suspend works between runs, and takes effect in the next. */
static void tasks_calls_and_objects_between_runs(void)
{
    bk_loop *loop = new_loop();
    bk_future *f = NULL;
    bk_queue *q = NULL;
    void *item = NULL;
    CHECK(loop);
    CHECK_EQ(bk_call_soon(NULL, say, "call"), 0);
    CHECK_EQ(bk_go(NULL, say, "task", NULL), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(1), say, "later"), 0);
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_set(f, 0, NULL), 0);
    CHECK_EQ(bk_queue_new(&q, NULL), 0);
    CHECK_EQ(bk_queue_try_put(q, f), 0);
    CHECK_EQ(bk_queue_get(q, &item), -BK_ENOTASK);
    CHECK_EQ(bk_yield(), -BK_ENOTASK);
    CHECK(!bk_task_current());
    CHECK_STR(trace_text(), "");
    CHECK_EQ(bk_loop_run(loop, sleep_15, NULL), 2);
    CHECK_STR(trace_text(), "call task later second");
    CHECK_EQ(bk_queue_try_get(q, &item), 1);
    bk_queue_free(&q);
    bk_future_free(&f);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

/* ---- Until complete, for ever, stop ---- */

static int stop_and_call(void *ctx)
{
    stop(NULL);
    return bk_call_soon(NULL, say, ctx);
}

static void C014_R4_stop_lets_what_is_ready_run_and_no_more(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_call_soon(NULL, say, "before"), 0);
    CHECK_EQ(bk_call_soon(NULL, stop_and_call, "next"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "ready"), 0);
    CHECK_EQ(bk_go(NULL, keep_saying, "task", NULL), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0);
    CHECK_STR(trace_text(), "before stop ready task0");
    CHECK_EQ(bk_loop_stop(loop), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0);
    CHECK_STR(trace_text(), "before stop ready task0 next");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static int call_next(void *ctx)
{
    return bk_call_soon(NULL, say, ctx);
}

/* asyncio ends with the iteration, so that what became ready in it waits.  Here there are no
 * iterations: the stop itself stands in line. */
static void R4_differs_what_became_ready_before_the_stop_still_runs(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_call_soon(NULL, call_next, "before"), 0);
    CHECK_EQ(bk_call_soon(NULL, stop_and_call, "after"), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0);
    CHECK_STR(trace_text(), "stop before");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_STR(trace_text(), "stop before after");
}

/* One turn, which takes in what is due, runs what is ready, and does not wait for the rest. */
static void C014_R4_R5_stop_before_a_run_is_one_turn(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_loop_stop(loop), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0); /* nothing to do, and no waiting */
    CHECK_EQ(bk_loop_stop(loop), 0);
    CHECK_EQ(bk_loop_stop(loop), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(0), say, "due"), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(1), say, "not yet"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "ready"), 0);
    CHECK_EQ(bk_call_soon(NULL, stop_and_call, "no"), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0);
    CHECK_STR(trace_text(), "ready stop due");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_STR(trace_text(), "ready stop due no");
}

static int stop_in_task(void *ctx)
{
    bk_sleep(bk_ms(1));
    stop(NULL);
    bk_sleep(bk_ms(1));
    trace("%s", (const char *)ctx);
    return 0;
}

static void R4_a_task_may_stop_the_loop_and_goes_on_in_the_next_run(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_go(NULL, stop_in_task, "later", NULL), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0);
    CHECK_STR(trace_text(), "stop");
    CHECK_EQ(bk_loop_run(loop, sleep_15, NULL), 2);
    CHECK_STR(trace_text(), "stop later second");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static int hang(void *ctx)
{
    int r = bk_sleep_forever();
    trace("%s%d", (const char *)ctx, r == -ECANCELED);
    return r;
}

static void C015_R4_stopped_before_the_task_has_ended_is_an_error(void)
{
    bk_loop *loop = new_loop();
    bk_task *task = NULL;
    int result = 1;
    CHECK(loop);
    CHECK_EQ(bk_call_later(NULL, bk_ms(1), stop, NULL), 0);
    CHECK_EQ(bk_loop_run(loop, hang, "main"), -EINPROGRESS);
    CHECK(strstr(bk_errmsg(), "stopped before") != NULL);
    CHECK_EQ(bk_go(&task, hang, "task", NULL), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(1), stop, NULL), 0);
    CHECK_EQ(bk_loop_run_until_complete(loop, task, &result), -EINPROGRESS);
    CHECK_EQ(result, 1);
    CHECK_STR(trace_text(), "stop stop");
    bk_task_cancel(task);
    CHECK_EQ(bk_loop_run_until_complete(loop, task, &result), 0);
    CHECK_EQ(result, -ECANCELED);
    bk_task_free(&task);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_STR(trace_text(), "stop stop task1 main1");
}

static int stop_at_once(void *ctx)
{
    stop(ctx);
    return 5;
}

/* The run ends with main before it comes to the stop, which is then forgotten. */
static void R4_a_stop_does_not_reach_beyond_its_run(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_loop_run(loop, stop_at_once, NULL), 5);
    CHECK_EQ(bk_loop_run(loop, sleep_15, NULL), 2);
    CHECK_STR(trace_text(), "stop second");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    /* Far behind in the ready queue, out of the turn's budget. */
    loop = new_loop();
    CHECK(loop);
    for (int i = 0; i < 500; i++)
        CHECK_EQ(bk_go(NULL, return_7, NULL, NULL), 0);
    bk_task *first = NULL;
    CHECK_EQ(bk_call_soon(NULL, stop, NULL), 0);
    CHECK_EQ(bk_go(&first, return_7, NULL, NULL), 0);
    CHECK_EQ(bk_loop_run_until_complete(loop, first, NULL), 0);
    CHECK_EQ(bk_loop_run(loop, sleep_15, NULL), 2);
    bk_task_free(&first);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static int fail(void *ctx)
{
    (void)ctx;
    return bk_fail(-EIO, "line 17");
}

static void R4_run_until_complete_gives_the_tasks_result(void)
{
    bk_loop *loop = new_loop();
    bk_task *task = NULL;
    int result = 0;
    CHECK(loop);
    CHECK_EQ(bk_go(&task, fail, NULL, NULL), 0);
    CHECK_EQ(bk_loop_run_until_complete(loop, task, &result), 0);
    CHECK_EQ(result, -EIO);
    CHECK_STR(bk_errmsg(), "line 17");
    CHECK_EQ(bk_loop_run_until_complete(loop, task, &result), 0); /* it has ended already */
    CHECK_EQ(result, -EIO);
    bk_task_free(&task);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

static void *stop_from_thread(void *ctx)
{
    bk_call_soon_threadsafe(ctx, stop, NULL);
    return NULL;
}

static void C010_R4_R7_another_thread_stops_an_idle_loop(void)
{
    bk_loop *loop = new_loop();
    pthread_t thread;
    CHECK(loop);
    CHECK_EQ(pthread_create(&thread, NULL, stop_from_thread, loop), 0);
    CHECK_EQ(bk_loop_run_forever(loop), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STR(trace_text(), "stop");
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

/* ---- The end ---- */

static int clean_up(void *ctx)
{
    (void)ctx;
    bk_sleep(bk_ms(50));
    trace("cleaned");
    return 0;
}

static int hang_and_clean_up(void *ctx)
{
    int r = bk_sleep_forever();
    bk_shield(clean_up, ctx);
    return r;
}

static int fail_when_cancelled(void *ctx)
{
    (void)ctx;
    bk_sleep_forever();
    return bk_fail(-EIO, "cleanup failed");
}

static int say_and_go_on(void *ctx)
{
    trace("due");
    return bk_call_soon(NULL, say, ctx);
}

static int leave_all(void *ctx)
{
    (void)ctx;
    bk_go(NULL, hang_and_clean_up, NULL, NULL);
    bk_go(NULL, fail_when_cancelled, NULL, &(bk_task_opts){.name = "bad"});
    bk_go(NULL, hang, "hang", NULL);
    bk_sleep(bk_ms(1));
    bk_go(NULL, hang, "just started", NULL);
    bk_call_soon(NULL, say_and_go_on, "and on");
    bk_call_later(NULL, bk_ms(100), say, "never");
    trace("main");
    return fail(NULL);
}

static void note(void *ctx, const bk_error_report *report)
{
    trace("%s[%s %s %d %s]", (const char *)ctx, report->what, report->task, report->result,
          report->detail);
}

static void C016_R1_what_main_leaves_is_cancelled_awaited_and_reported(void)
{
    trace_reset();
    alloc_sweep_fail_nth(0);
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = note, .on_error_ctx = ""};
    CHECK_EQ(bk_run(leave_all, NULL, &opts), -EIO);
    CHECK_EQ(alloc_sweep_end(), 0);
    CHECK_STR(bk_errmsg(), "line 17"); /* main's, whatever comes after it */
    char want[160];
    snprintf(want, sizeof want,
             "main due and on [task failed and nobody waited for it bad %d cleanup failed] hang1 "
             "just started1 cleaned",
             -EIO);
    CHECK_STR(trace_text(), want);
}

static sem_t started, go_on, gone;

static int block(void *ctx)
{
    (void)ctx;
    sem_post(&started);
    sem_wait(&go_on);
    return 0;
}

static void has_gone(void *ctx, int result)
{
    (void)ctx;
    (void)result;
    sem_post(&gone);
}

static int block_on_a_thread(void *ctx)
{
    return bk_to_thread(block, ctx, &(bk_to_thread_opts){.on_abandon = has_gone});
}

static int leave_a_thread(void *ctx)
{
    (void)ctx;
    bk_task *t = start(block_on_a_thread, NULL);
    bk_yield();
    sem_wait(&started);
    bk_task_cancel(t);
    return finish(&t) == -ECANCELED ? 0 : -EINVAL;
}

static int count_threads(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/task");
    while (dir && readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* The function is still running when the loop has gone: it gets through, and cleans up. */
static void R1_the_end_waits_for_threads_only_so_long(void)
{
    int n_before = count_threads();
    trace_reset();
    sem_init(&started, 0, 0);
    sem_init(&go_on, 0, 0);
    sem_init(&gone, 0, 0);
    alloc_sweep_fail_nth(0);
    bk_run_opts opts = {
        .clock = BK_CLOCK_VIRTUAL, .thread_limit = bk_ns(1), .on_error = note, .on_error_ctx = ""};
    CHECK_EQ(bk_run(leave_a_thread, NULL, &opts), 0);
    char want[96];
    snprintf(want, sizeof want, "[1 function on threads did not return by thread_limit  %d ]",
             -ETIMEDOUT);
    CHECK_STR(trace_text(), want);
    sem_post(&go_on);
    sem_wait(&gone);
    while (count_threads() > n_before)
        sched_yield();
    sem_destroy(&started);
    sem_destroy(&go_on);
    sem_destroy(&gone);
}

/* ---- References ---- */

static void *post_late(void *ctx)
{
    bk_loop *loop = ctx;
    bool refused = bk_call_soon_threadsafe(loop, say, "no") == -BK_ECLOSED &&
                   bk_go_threadsafe(loop, say, "no") == -BK_ECLOSED;
    bk_loop_free(&loop);
    return refused && !loop ? ctx : NULL;
}

static void C011_R7_after_close_a_call_is_refused(void)
{
    alloc_sweep_fail_nth(0);
    bk_loop *loop = new_loop();
    pthread_t thread;
    void *ok = NULL;
    CHECK(loop);
    bk_loop *ref = bk_loop_ref(loop), *mine = bk_loop_ref(loop);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_EQ(pthread_create(&thread, NULL, post_late, ref), 0);
    CHECK_EQ(pthread_join(thread, &ok), 0);
    CHECK(ok);
    CHECK_EQ(bk_call_soon_threadsafe(mine, say, "no"), -BK_ECLOSED);
    bk_loop_free(&mine);
    bk_loop_free(&mine);
    CHECK_EQ(alloc_sweep_end(), 0);
    CHECK_STR(trace_text(), "");
}

static int call_self(void *ctx)
{
    int r = bk_call_soon_threadsafe(bk_loop_current(), call_self, ctx);
    if (r < 0)
        trace("%s", r == -BK_ECLOSED ? "refused" : "?");
    return 0;
}

/* What was accepted runs, and the loop still comes to its end. */
static void C011_a_chain_of_threadsafe_calls_ends_with_the_loop(void)
{
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_call_soon_threadsafe(loop, call_self, NULL), 0);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_STR(trace_text(), "refused");
}

/* ---- Failures that nobody saw ---- */

static void replace_yourself(void *ctx, const bk_error_report *report)
{
    note(ctx, report);
    bk_loop_set_on_error(bk_loop_current(), note, "B");
}

static int failures(void *ctx)
{
    (void)ctx;
    bk_loop *loop = bk_loop_current();
    bk_loop_set_on_error(loop, replace_yourself, "A");
    bk_go(NULL, fail, NULL, &(bk_task_opts){.name = "x"});
    bk_go(NULL, fail, NULL, &(bk_task_opts){.name = "y"});
    bk_yield();
    bk_error_report mine = {.what = "mine", .result = -EPROTO};
    return bk_loop_call_on_error(loop, &mine);
}

static void D1_the_handler_may_be_replaced_and_called(void)
{
    char want[160];
    bk_loop *loop = new_loop();
    CHECK(loop);
    CHECK_EQ(bk_loop_run(loop, failures, NULL), 0);
    snprintf(want, sizeof want,
             "A[task failed and nobody waited for it x %d line 17] "
             "B[task failed and nobody waited for it y %d line 17] B[mine  %d ]",
             -EIO, -EIO, -EPROTO);
    CHECK_STR(trace_text(), want);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
}

/* Runs body with stderr in a memory file; what it printed stays valid until the next call. */
static const char *stderr_of(void (*body)(void))
{
    static char text[2048];
    int saved = dup(STDERR_FILENO), fd = memfd_create("stderr", 0);
    dup2(fd, STDERR_FILENO);
    body();
    dup2(saved, STDERR_FILENO);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    close(saved);
    return text;
}

static void fail_in_the_handler(void *ctx, const bk_error_report *report)
{
    bk_future *f = NULL;
    trace("%s", report->what);
    if (bk_future_new(&f) == 0) {
        bk_future_set(f, -EPIPE, NULL);
        bk_future_free(&f); /* a failure that nobody looks at */
    }
    (void)ctx;
}

static int reset_the_handler(void *ctx)
{
    (void)ctx;
    bk_go(NULL, fail, NULL, &(bk_task_opts){.name = "x"});
    bk_yield();
    bk_loop_set_on_error(bk_loop_current(), NULL, NULL);
    bk_go(NULL, fail, NULL, &(bk_task_opts){.name = "y"});
    bk_yield();
    return 0;
}

static void run_reset_the_handler(void)
{
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = fail_in_the_handler};
    trace(bk_run(reset_the_handler, NULL, &opts) == 0 ? "ok" : "?");
}

static void C009_D1_what_the_handler_causes_goes_to_stderr(void)
{
    trace_reset();
    CHECK_STR(stderr_of(run_reset_the_handler),
              "beck: future failed and nobody looked at it: Broken pipe\n"
              "beck: task failed and nobody waited for it: #3 y: Input/output error: line 17\n");
    CHECK_STR(trace_text(), "task failed and nobody waited for it ok");
}

static bk_event *never; /* which the task left behind waits for: it cannot be freed */

static int wait_deaf(void *ctx)
{
    (void)ctx;
    return bk_event_wait(never);
}

static int stuck(void *ctx)
{
    return bk_shield(wait_deaf, ctx);
}

static int leave_stuck(void *ctx)
{
    (void)ctx;
    int r = bk_event_new(&never, "never");
    if (r == 0)
        r = bk_go(NULL, stuck, NULL, NULL);
    bk_yield();
    return r;
}

static void run_leave_stuck(void)
{
    trace("%d", bk_run(leave_stuck, NULL, &virtual_clock) == -EDEADLK);
}

/* asyncio says "Task was destroyed but it is pending!" */
static void C048_R1_a_task_that_does_not_end_is_reported_and_left_behind(void)
{
    trace_reset();
    const char *text = stderr_of(run_leave_stuck);
    CHECK(strstr(text, "tasks do not end although cancelled; they are abandoned:") != NULL);
    CHECK(strstr(text, "stuck: waits for event 'never'") != NULL);
    CHECK_STR(trace_text(), "1");
}

/* ---- Out of memory ---- */

static int open_run_close(void *ctx)
{
    bk_loop *loop = NULL;
    int r = bk_loop_new(&loop, &virtual_clock);
    if (r < 0)
        return r;
    r = bk_loop_run(loop, return_7, ctx);
    if (r == 7)
        r = bk_call_soon(NULL, return_7, NULL);
    return bk_loop_close(&loop, r);
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(open_run_close, NULL) > 4);
    CHECK(!bk_loop_current());
}

CHECK_MAIN(TEST(R2_what_a_run_leaves_goes_on_in_the_next), TEST(R2_a_thread_has_one_loop),
           TEST(C013_R1_R2_R4_a_run_inside_a_run_is_refused_and_so_is_close),
           TEST(R4_N5_another_threads_loop_is_refused), TEST(tasks_calls_and_objects_between_runs),
           TEST(C014_R4_stop_lets_what_is_ready_run_and_no_more),
           TEST(R4_differs_what_became_ready_before_the_stop_still_runs),
           TEST(C014_R4_R5_stop_before_a_run_is_one_turn),
           TEST(R4_a_task_may_stop_the_loop_and_goes_on_in_the_next_run),
           TEST(C015_R4_stopped_before_the_task_has_ended_is_an_error),
           TEST(R4_a_stop_does_not_reach_beyond_its_run),
           TEST(R4_run_until_complete_gives_the_tasks_result),
           TEST(C010_R4_R7_another_thread_stops_an_idle_loop),
           TEST(C016_R1_what_main_leaves_is_cancelled_awaited_and_reported),
           TEST(C011_R7_after_close_a_call_is_refused),
           TEST(C011_a_chain_of_threadsafe_calls_ends_with_the_loop),
           TEST(D1_the_handler_may_be_replaced_and_called),
           TEST(C009_D1_what_the_handler_causes_goes_to_stderr),
           TEST(C048_R1_a_task_that_does_not_end_is_reported_and_left_behind),
           TEST(every_allocation_may_fail),
           /* Last: nothing is known to happen after the thread that it leaves has ended. */
           TEST(R1_the_end_waits_for_threads_only_so_long))
