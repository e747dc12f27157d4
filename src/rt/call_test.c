/* SPDX-License-Identifier: MIT
 * Calls: order, time, calling off, failures, other threads, and what they may not do. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <beck/loop.h>
#include <beck/sync.h>
#include <beck/thread.h>

#include "rt/rt.h"
#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static int say(void *ctx)
{
    trace("%s", (const char *)ctx);
    return 0;
}

/* ---- Order ---- */

LOOP_TEST(C001_R6_calls_run_in_order_and_never_inline)
{
    static char *const names[] = {"0", "1", "2", "3"};
    for (int i = 0; i < 4; i++)
        CHECK_EQ(bk_call_soon(NULL, say, names[i]), 0);
    trace("a");
    CHECK_EQ(bk_yield(), 0);
    trace("b");
    CHECK_STR(trace_text(), "a 0 1 2 3 b");
}

LOOP_TEST(N6_calls_and_tasks_share_one_line)
{
    CHECK_EQ(bk_call_soon(NULL, say, "call1"), 0);
    CHECK_EQ(bk_go(NULL, say, "task1", NULL), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "call2"), 0);
    CHECK_EQ(bk_go(NULL, say, "task2", NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "call1 task1 call2 task2");
}

static int say_x_then_y(void *ctx)
{
    trace("x");
    return bk_call_soon(NULL, say, ctx);
}

LOOP_TEST(C002_a_call_made_in_a_call_comes_after_what_was_ready)
{
    CHECK_EQ(bk_call_soon(NULL, say_x_then_y, "y"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "z"), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "x z y");
}

static bool stop_chain;
static unsigned chain_length;

static int chain(void *ctx)
{
    chain_length++;
    return stop_chain ? 0 : bk_call_soon(NULL, chain, ctx);
}

struct pipe_end {
    struct bki_fd fd;
    int other;
};

static const struct bki_wait_kind pipe_kind = {.what = "pipe", .external = true};

static int read_pipe(void *ctx)
{
    struct pipe_end *end = ctx;
    char c;
    struct bki_op op = {.kind = BKI_OP_RECV, .fd = &end->fd, .buf = &c, .len = 1};
    int r = (int)bki_op_run(&op, &pipe_kind, NULL);
    trace("read%d", r);
    return 0;
}

/* Neither a timer nor a descriptor starves behind a call that makes itself again and again. */
LOOP_TEST(C002_R5_a_chain_of_calls_keeps_nobody_waiting)
{
    stop_chain = false;
    chain_length = 0;
    int fds[2];
    struct pipe_end end;
    CHECK_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    bki_fd_init(&end.fd, fds[0], false);
    bk_task *reader = start(read_pipe, &end);
    CHECK_EQ(bk_call_soon(NULL, chain, NULL), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(-1), say, "timer"), 0);
    let_run(2);
    CHECK_STR(trace_text(), "timer");
    CHECK_EQ(write(fds[1], "x", 1), 1);
    CHECK_EQ(finish(&reader), 0);
    CHECK_STR(trace_text(), "timer read1");
    CHECK(chain_length > 2);
    stop_chain = true;
    bk_yield();
    bki_loop->backend->close_fd(bki_loop, &end.fd);
    close(fds[1]);
}

/* ---- Time ---- */

LOOP_TEST(C003_R6_N6_timed_calls_by_time_then_in_order)
{
    bk_time t = bk_time_add(bk_now(), bk_ms(20));
    CHECK_EQ(bk_call_at(NULL, bk_time_add(t, bk_ms(10)), say, "late"), 0);
    CHECK_EQ(bk_call_at(NULL, t, say, "p"), 0);
    CHECK_EQ(bk_call_at(NULL, t, say, "q"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "soon"), 0);
    CHECK_EQ(bk_sleep(bk_ms(60)), 0);
    CHECK_STR(trace_text(), "soon p q late");
}

LOOP_TEST(C004_no_delay_is_the_next_turn_and_not_inline)
{
    CHECK_EQ(bk_call_later(NULL, bk_ms(0), say, "zero"), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(-5), say, "negative"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "soon"), 0);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_yield(), 0);
    /* By their times, as asyncio's heap has it. */
    CHECK_STR(trace_text(), "soon negative zero");
}

static int note_time(void *ctx)
{
    *(int64_t *)ctx = bk_now().ns;
    return 0;
}

static int early_main(void *ctx)
{
    (void)ctx;
    int n_early = 0;
    for (int64_t us = 1; us < 400; us += 7) {
        int64_t ran = 0, want = bk_now().ns + us * 1000;
        bk_call_at(NULL, (bk_time){want}, note_time, &ran);
        while (!ran)
            bk_sleep_until((bk_time){want});
        n_early += ran < want;
    }
    return n_early;
}

/* By the real clock: what is checked is an order, not a duration. */
static void C005_R6_a_timer_is_never_early(void)
{
    CHECK_EQ(bk_run(early_main, NULL, &(bk_run_opts){.clock = BK_CLOCK_REAL}), 0);
}

LOOP_TEST(R6_a_handle_knows_when_its_call_is_due)
{
    bk_handle *later = NULL, *soon = NULL;
    bk_sleep(bk_seconds(5));
    CHECK_EQ(bk_call_later(&later, bk_seconds(2), say, "x"), 0);
    CHECK_EQ(bk_call_soon(&soon, say, "y"), 0);
    CHECK_EQ(bk_handle_when(later).ns, bk_seconds(7).ns);
    CHECK_EQ(bk_handle_when(soon).ns, bk_seconds(5).ns);
    bk_handle_free(&later);
    bk_handle_free(&soon);
    CHECK(!later && !soon);
    bk_handle_free(&soon);
    CHECK_EQ(bk_call_later(NULL, bk_forever(), say, "never"), -EINVAL);
    CHECK_EQ(bk_sleep(bk_seconds(3)), 0);
    CHECK_STR(trace_text(), "y x"); /* given back handles call nothing off */
}

/* ---- Calling off ---- */

LOOP_TEST(C006_a_call_that_was_called_off_does_not_run)
{
    bk_handle *soon = NULL, *later = NULL;
    CHECK_EQ(bk_call_soon(&soon, say, "no"), 0);
    CHECK_EQ(bk_call_later(&later, bk_ms(10), say, "no2"), 0);
    CHECK(!bk_handle_cancelled(soon) && !bk_handle_cancelled(later));
    CHECK_EQ(bk_handle_cancel(soon), 1);
    CHECK_EQ(bk_handle_cancel(later), 1);
    CHECK_EQ(bk_handle_cancel(soon), 0);
    CHECK(bk_handle_cancelled(soon) && bk_handle_cancelled(later));
    bk_handle_free(&later);
    CHECK_EQ(bk_sleep(bk_ms(30)), 0);
    trace("end");
    CHECK_STR(trace_text(), "end");
    bk_handle_free(&soon);
}

static int cancel_it(void *ctx)
{
    trace("cancel=%d", bk_handle_cancel(*(bk_handle **)ctx));
    return 0;
}

/* Both are in the same batch of calls that are due. */
LOOP_TEST(C006_called_off_by_an_earlier_call_of_the_same_turn)
{
    bk_handle *soon = NULL, *timed = NULL, *first = NULL;
    bk_time t = bk_time_add(bk_now(), bk_ms(5));
    CHECK_EQ(bk_call_soon(NULL, cancel_it, &soon), 0);
    CHECK_EQ(bk_call_soon(&soon, say, "no"), 0);
    CHECK_EQ(bk_call_at(&first, t, cancel_it, &timed), 0);
    CHECK_EQ(bk_call_at(&timed, t, say, "no2"), 0);
    CHECK_EQ(bk_sleep(bk_ms(10)), 0);
    CHECK_STR(trace_text(), "cancel=1 cancel=1");
    CHECK_EQ(bk_handle_cancel(first), 0); /* it has run */
    CHECK(!bk_handle_cancelled(first));
    bk_handle_free(&soon);
    bk_handle_free(&timed);
    bk_handle_free(&first);
}

static int cancel_and_free_self(void *ctx)
{
    bk_handle **h = ctx;
    trace("self=%d", bk_handle_cancel(*h));
    bk_handle_free(h);
    return 0;
}

LOOP_TEST(C006_a_call_cannot_call_itself_off)
{
    bk_handle *h = NULL;
    CHECK_EQ(bk_call_soon(&h, cancel_and_free_self, &h), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "self=0");
    CHECK(!h);
}

/* asyncio leaves them in its heap until more than half are cancelled; here they leave at once. */
static int many_timers(void *ctx)
{
    enum { N = 100000 };
    bk_handle **handles = calloc(N, sizeof(bk_handle *));
    size_t before = bki_loop->timers.len, most = 0;
    int r = 0;
    for (int i = 0; i < N && r == 0; i++)
        r = bk_call_later(&handles[i], bk_seconds(1 + i % 977), say, "no");
    most = bki_loop->timers.len - before;
    for (int i = 0; i < N; i++) {
        bk_handle_cancel(handles[i]);
        bk_handle_free(&handles[i]);
    }
    free(handles);
    *(size_t *)ctx = most == N ? bki_loop->timers.len - before : N;
    return r;
}

static void C007_cancelled_timers_leave_the_heap_at_once(void)
{
    size_t left = 1;
    alloc_sweep_fail_nth(0);
    CHECK_EQ(in_loop(many_timers, &left), 0);
    CHECK_EQ(alloc_sweep_end(), 0);
    CHECK_EQ(left, 0);
}

/* ---- Failures ---- */

static int fail(void *ctx)
{
    (void)ctx;
    return bk_fail(-EIO, "disk on fire");
}

static void note_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("[%s: %s %d %s]", report->what, report->call, report->result, report->detail);
}

static int failing_calls(void *ctx)
{
    (void)ctx;
    bk_call_soon(NULL, fail, NULL);
    bk_call_soon(NULL, say, "next");
    bk_call_later(NULL, bk_ms(1), fail, NULL);
    bk_sleep(bk_ms(2));
    trace("main");
    return 0;
}

static const bk_handle *reported;

static void note_handle(void *ctx, const bk_error_report *report)
{
    note_report(ctx, report);
    reported = report->handle;
}

static int fail_with_a_handle(void *ctx)
{
    bk_handle *h = NULL;
    int r = bk_call_soon(&h, fail, ctx);
    bk_yield();
    trace("%d", reported == h);
    bk_handle_free(&h);
    return r;
}

static int run_reporting(bk_fn *main, void (*on_error)(void *, const bk_error_report *))
{
    trace_reset();
    return bk_run(main, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = on_error});
}

static void C008_D1_a_failing_call_is_reported_and_the_loop_goes_on(void)
{
    CHECK_EQ(run_reporting(failing_calls, note_report), 0);
    char want[160];
    snprintf(want, sizeof want,
             "[call failed: fail %d disk on fire] next [call failed: fail %d disk on fire] main",
             -EIO, -EIO);
    CHECK_STR(trace_text(), want);
}

static void D1_the_report_names_the_handle(void)
{
    reported = NULL;
    CHECK_EQ(run_reporting(fail_with_a_handle, note_handle), 0);
    CHECK(strstr(trace_text(), "disk on fire] 1") != NULL);
}

/* It suspends, fails, and makes a failure of its own. */
static void bad_handler(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("%s refused=%d", report->call,
          bk_sleep(bk_seconds(1)) == -BK_ENOTASK && bk_yield() == -BK_ENOTASK &&
              !bk_task_current());
    bk_call_soon(NULL, say, "more");
}

static void C009_D1_a_handler_that_misbehaves_does_not_end_the_loop(void)
{
    CHECK_EQ(run_reporting(failing_calls, bad_handler), 0);
    CHECK_STR(trace_text(), "fail refused=1 next more fail refused=1 more main");
}

/* ---- From threads ---- */

LOOP_TEST(C010_R7_from_the_loops_own_thread_in_line_with_call_soon)
{
    bk_loop *loop = bk_loop_current();
    CHECK_EQ(bk_call_soon(NULL, say, "1"), 0);
    CHECK_EQ(bk_call_soon_threadsafe(loop, say, "2"), 0);
    CHECK_EQ(bk_call_soon(NULL, say, "3"), 0);
    CHECK_STR(trace_text(), "");
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "1 2 3");
}

static int set_event(void *ctx)
{
    bk_event_set(ctx);
    return 0;
}

struct visit {
    bk_loop *loop;
    bk_event *event;
};

static void *call_in(void *ctx)
{
    struct visit *visit = ctx;
    return (void *)(intptr_t)bk_call_soon_threadsafe(visit->loop, set_event, visit->event);
}

LOOP_TEST(C010_R7_another_threads_call_wakes_a_sleeping_loop)
{
    struct visit visit = {.loop = bk_loop_current()};
    pthread_t thread;
    void *r = NULL;
    CHECK_EQ(bk_event_new(&visit.event, "visited"), 0);
    CHECK_EQ(pthread_create(&thread, NULL, call_in, &visit), 0);
    CHECK_EQ(bk_event_wait(visit.event), 0);
    CHECK_EQ(pthread_join(thread, &r), 0);
    CHECK_EQ((intptr_t)r, 0);
    bk_event_free(&visit.event);
}

enum { THREADS = 10, EACH = 10000 };

static struct {
    bk_loop *loop;
    bk_event *all;
    int n_run, next[THREADS], n_out_of_order;
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
        if (bk_call_soon_threadsafe(many.loop, count, (void *)(intptr_t)(me * EACH + i)) < 0)
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

static void C012_R7_ten_threads_each_call_once_and_in_order(void)
{
    memset(&many, 0, sizeof many);
    alloc_sweep_fail_nth(0);
    CHECK_EQ(in_loop(many_main, NULL), 0);
    CHECK_EQ(alloc_sweep_end(), 0);
    CHECK_EQ(atomic_load(&many.n_failed), 0);
    CHECK_EQ(many.n_run, THREADS * EACH);
    CHECK_EQ(many.n_out_of_order, 0);
}

/* ---- What a call may do, and what not ---- */

static int who_am_i(void *ctx)
{
    (void)ctx;
    trace("%s", bk_task_current() ? "a task" : "nobody");
    return 0;
}

LOOP_TEST(C049_no_task_is_current_in_a_call)
{
    CHECK_EQ(bk_call_soon(NULL, who_am_i, NULL), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(1), who_am_i, NULL), 0);
    CHECK_EQ(bk_go(NULL, who_am_i, NULL, NULL), 0);
    CHECK_EQ(bk_sleep(bk_ms(2)), 0);
    CHECK_STR(trace_text(), "nobody a task nobody");
    CHECK_EQ(bk_task_id(bk_task_current()), 1);
}

static int start_task(void *ctx)
{
    return bk_go(NULL, say, ctx, NULL);
}

LOOP_TEST(a_call_may_start_tasks)
{
    CHECK_EQ(bk_call_soon(NULL, start_task, "started"), 0);
    let_run(2);
    CHECK_STR(trace_text(), "started");
}

static int no_loop(void *ctx)
{
    (void)ctx;
    return 0;
}

static void a_call_needs_a_loop(void)
{
    CHECK_EQ(bk_call_soon(NULL, no_loop, NULL), -EINVAL);
    CHECK_EQ(bk_call_later(NULL, bk_ms(1), no_loop, NULL), -EINVAL);
}

/* ---- The end ---- */

static int until_refused(void *ctx)
{
    int r = bk_call_soon(NULL, until_refused, ctx);
    if (r < 0)
        trace("refused=%d go=%d", r == -BK_ECLOSED, bk_go(NULL, say, ctx, NULL) == -BK_ECLOSED);
    return 0;
}

static int leave_calls(void *ctx)
{
    bk_call_soon(NULL, say, "due");
    bk_call_soon(NULL, until_refused, "no");
    bk_call_later(ctx, bk_seconds(1), say, "no");
    return 0;
}

/* What is ready when the last task has ended still runs, and is told that nothing can follow. */
static void C016_calls_that_are_due_at_the_end_still_run(void)
{
    bk_handle *timed = NULL;
    alloc_sweep_fail_nth(0);
    CHECK_EQ(in_loop(leave_calls, &timed), 0);
    CHECK_STR(trace_text(), "due refused=1 go=1");
    CHECK(bk_handle_cancelled(timed));
    bk_handle_free(&timed);
    CHECK_EQ(alloc_sweep_end(), 0);
}

static int make_calls(void *ctx)
{
    (void)ctx;
    bk_handle *h = NULL;
    int r = bk_call_soon(NULL, no_loop, NULL);
    if (r == 0)
        r = bk_call_later(&h, bk_ms(1), no_loop, NULL);
    if (r == 0)
        r = bk_call_soon_threadsafe(bk_loop_current(), no_loop, NULL);
    bk_sleep(bk_ms(2));
    bk_handle_free(&h);
    return r;
}

static int make_calls_run(void *ctx)
{
    return in_loop(make_calls, ctx);
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(make_calls_run, NULL) > 3);
}

CHECK_MAIN(TEST(C001_R6_calls_run_in_order_and_never_inline),
           TEST(N6_calls_and_tasks_share_one_line),
           TEST(C002_a_call_made_in_a_call_comes_after_what_was_ready),
           TEST(C002_R5_a_chain_of_calls_keeps_nobody_waiting),
           TEST(C003_R6_N6_timed_calls_by_time_then_in_order),
           TEST(C004_no_delay_is_the_next_turn_and_not_inline),
           TEST(C005_R6_a_timer_is_never_early), TEST(R6_a_handle_knows_when_its_call_is_due),
           TEST(C006_a_call_that_was_called_off_does_not_run),
           TEST(C006_called_off_by_an_earlier_call_of_the_same_turn),
           TEST(C006_a_call_cannot_call_itself_off),
           TEST(C007_cancelled_timers_leave_the_heap_at_once),
           TEST(C008_D1_a_failing_call_is_reported_and_the_loop_goes_on),
           TEST(D1_the_report_names_the_handle),
           TEST(C009_D1_a_handler_that_misbehaves_does_not_end_the_loop),
           TEST(C010_R7_from_the_loops_own_thread_in_line_with_call_soon),
           TEST(C010_R7_another_threads_call_wakes_a_sleeping_loop),
           TEST(C012_R7_ten_threads_each_call_once_and_in_order),
           TEST(C049_no_task_is_current_in_a_call), TEST(a_call_may_start_tasks),
           TEST(a_call_needs_a_loop), TEST(C016_calls_that_are_due_at_the_end_still_run),
           TEST(every_allocation_may_fail))
