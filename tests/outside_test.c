/* SPDX-License-Identifier: MIT
 * Every call that would suspend, made where nothing can: in a call of the loop, in a callback, in
 * on_error.  It fails with -BK_ENOTASK and leaves its object as it was. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <beck.h>

#include "tests/run_helper.h"

/* What the calls are made on. */
static struct {
    bk_task *task;
    bk_group *group;
    bk_event *event;
    bk_lock *lock, *held;
    bk_cond *cond;
    bk_sem *sem;
    bk_queue *full, *empty;
    bk_barrier *barrier;
    bk_future *future;
    bk_thread_future *thread_future;
    bk_channel *full_channel, *empty_channel;
    bk_signal *signal;
    bk_stream *stream;
    bk_listener *listener;
    bk_msg *msg;
} my;

static int nothing(void *ctx)
{
    (void)ctx;
    trace("ran");
    return 0;
}

static void abandoned(void *ctx, int result)
{
    (void)ctx;
    trace("abandoned%d", result);
}

static bool check(const char *what, ssize_t r)
{
    if (r == -BK_ENOTASK && strstr(bk_errmsg(), "only a task can wait"))
        return true;
    trace("%s: %zd %s", what, r, bk_errmsg());
    return false;
}

#define REFUSED(call) (check(#call, (call)))

static bool several_refuse(void)
{
    bk_call calls[] = {{.fn = nothing}};
    bk_task *const tasks[] = {my.task};
    bk_case cases[] = {bk_case_event(my.event), bk_case_sleep(bk_ms(1))};
    bk_as_completed *completed = NULL;
    size_t i;
    bool ok = REFUSED(bk_gather(calls, 1, NULL)) & REFUSED(bk_race(calls, 1, bk_ms(1))) &
              REFUSED(bk_gather_tasks(tasks, 1, NULL)) &
              REFUSED(bk_wait(tasks, 1, BK_ALL_COMPLETED, bk_forever())) &
              REFUSED(bk_select(cases, 2));
    if (bk_as_completed_new(&completed, tasks, 1, bk_forever()) == 0)
        ok &= REFUSED(bk_as_completed_next(completed, &i));
    bk_as_completed_free(&completed);
    return ok;
}

static bool time_and_tasks_refuse(void)
{
    bk_timeout *timeout = NULL;
    bk_group *group = NULL;
    bk_to_thread_opts opts = {.on_abandon = abandoned};
    return REFUSED(bk_yield()) & REFUSED(bk_sleep(bk_ms(1))) & REFUSED(bk_sleep(bk_ms(0))) &
           REFUSED(bk_sleep_until(bk_now())) & REFUSED(bk_sleep_forever()) &
           REFUSED(bk_task_wait(my.task, NULL)) & REFUSED(bk_task_wait_shielded(my.task, NULL)) &
           REFUSED(bk_shield(nothing, NULL)) & REFUSED(bk_wait_for(nothing, NULL, bk_ms(1))) &
           REFUSED(bk_timeout_open(&timeout, bk_ms(1))) &
           REFUSED(bk_timeout_open_at(&timeout, bk_now())) &
           REFUSED(bk_task_wait_for(my.task, NULL, bk_ms(1))) &
           REFUSED(bk_task_wait_for(my.task, NULL, bk_ms(0))) &
           REFUSED(bk_group_open(&group, NULL)) &
           REFUSED(bk_group_go(my.group, nothing, NULL, NULL)) &
           REFUSED(bk_group_start(my.group, NULL, nothing, NULL, NULL)) &
           REFUSED(bk_group_wait(my.group)) & REFUSED(bk_group_close(&my.group, 0)) &
           REFUSED(bk_group_close(&my.group, -EIO)) & REFUSED(bk_to_thread(nothing, NULL, NULL)) &
           REFUSED(bk_to_thread(nothing, NULL, &opts));
}

static bool waiting_refuses(void)
{
    void *item = NULL;
    bk_msg *msg = NULL;
    return REFUSED(bk_future_wait_for(my.future, NULL, NULL, bk_ms(1))) &
           REFUSED(bk_future_wait_for(my.future, NULL, NULL, bk_ms(0))) &
           REFUSED(bk_thread_future_wait(my.thread_future, bk_forever(), NULL)) &
           REFUSED(bk_barrier_wait(my.barrier)) & REFUSED(bk_cond_wait(my.cond)) &
           REFUSED(bk_lock_with(my.lock, nothing, NULL)) &
           REFUSED(bk_sem_with(my.sem, nothing, NULL)) & REFUSED(bk_event_wait(my.event)) &
           REFUSED(bk_lock_acquire(my.held)) & REFUSED(bk_lock_acquire(my.lock)) &
           REFUSED(bk_sem_acquire(my.sem)) & REFUSED(bk_queue_put(my.full, &my)) &
           REFUSED(bk_queue_get(my.empty, &item)) & REFUSED(bk_queue_join(my.full)) &
           REFUSED(bk_future_wait(my.future, NULL, NULL)) & REFUSED(bk_signal_wait(my.signal)) &
           REFUSED(bk_channel_recv(my.empty_channel, &msg)) &
           REFUSED(bk_channel_send(my.full_channel, &my.msg));
}

static bool streams_refuse(void)
{
    char buf[4];
    bk_span span;
    bk_stream *stream = NULL;
    return REFUSED(bk_stream_read(my.stream, buf, sizeof buf)) &
           REFUSED(bk_stream_read_exactly(my.stream, buf, sizeof buf)) &
           REFUSED(bk_stream_read_line(my.stream, &span)) &
           REFUSED(bk_stream_peek(my.stream, 1, &span)) &
           REFUSED(bk_stream_write(my.stream, "x", 1)) & REFUSED(bk_stream_drain(my.stream)) &
           REFUSED(bk_stream_flush(my.stream)) & REFUSED(bk_stream_write_eof(my.stream)) &
           REFUSED(bk_accept(my.listener, &stream)) &
           REFUSED(bk_connect(&stream, "127.0.0.1:9", NULL));
}

static int try_all(void *ctx)
{
    (void)ctx;
    bool ok = time_and_tasks_refuse() & several_refuse() & waiting_refuses() & streams_refuse();
    trace(ok ? "all refused" : "not all refused");
    return 0;
}

static int hold(void *ctx)
{
    bk_lock_acquire(my.held);
    return bk_event_wait(ctx);
}

static int hold_on(void *ctx)
{
    (void)ctx;
    return bk_sleep_forever();
}

static int open_all(void)
{
    int fds[2];
    int r = pipe2(fds, O_CLOEXEC | O_NONBLOCK);
    if (r == 0)
        r = bk_stream_from_fd(&my.stream, fds[0], NULL);
    close(fds[1]);
    if (r < 0 || (r = bk_event_new(&my.event, NULL)) < 0 || (r = bk_lock_new(&my.lock, NULL)) < 0 ||
        (r = bk_lock_new(&my.held, NULL)) < 0 || (r = bk_sem_new(&my.sem, 1, 0, NULL)) < 0 ||
        (r = bk_queue_new(&my.full, &(bk_queue_opts){.limit = 1})) < 0 ||
        (r = bk_queue_new(&my.empty, NULL)) < 0 || (r = bk_barrier_new(&my.barrier, 2, NULL)) < 0 ||
        (r = bk_cond_new(&my.cond, my.lock, NULL)) < 0 ||
        (r = bk_go_threadsafe_future(bk_loop_current(), &my.thread_future, hold_on, NULL)) < 0 ||
        (r = bk_future_new(&my.future)) < 0 ||
        (r = bk_channel_new(&my.full_channel, &(bk_channel_opts){.limit = 1})) < 0 ||
        (r = bk_channel_new(&my.empty_channel, NULL)) < 0 ||
        (r = bk_signal_open(&my.signal, SIGUSR2)) < 0 ||
        (r = bk_listen(&my.listener, "127.0.0.1:0", NULL)) < 0 ||
        (r = bk_msg_new(&my.msg, 1)) < 0 || (r = bk_group_open(&my.group, NULL)) < 0)
        return r;
    my.task = start(hold, my.event);
    bk_msg *other = NULL;
    if ((r = bk_msg_new(&other, 1)) < 0 || (r = bk_channel_try_send(my.full_channel, &other)) < 0)
        return r;
    bk_yield();
    return bk_queue_try_put(my.full, &my);
}

/* All of them still work, which they would not if a refused call had left something behind. */
static int close_all(void)
{
    bk_event_set(my.event);
    int r = finish(&my.task);
    bk_thread_future_cancel(my.thread_future);
    bk_thread_future_wait(my.thread_future, bk_forever(), NULL);
    bk_thread_future_free(&my.thread_future);
    bk_barrier_free(&my.barrier);
    bk_cond_free(&my.cond);
    r = bk_group_close(&my.group, r);
    r = bk_stream_close(&my.stream, r);
    r = bk_listener_close(&my.listener, r);
    r = r == 0 ? bk_lock_acquire(my.lock) : r;
    r = r == 0 ? bk_sem_acquire(my.sem) : r;
    bk_signal_close(&my.signal);
    bk_event_free(&my.event);
    bk_lock_free(&my.lock);
    bk_lock_free(&my.held);
    bk_sem_free(&my.sem);
    bk_queue_free(&my.full);
    bk_queue_free(&my.empty);
    bk_future_free(&my.future);
    bk_channel_free(&my.full_channel);
    bk_channel_free(&my.empty_channel);
    bk_msg_free(&my.msg);
    return r;
}

LOOP_TEST(nothing_can_wait_in_a_call)
{
    CHECK_EQ(open_all(), 0);
    CHECK_EQ(bk_call_soon(NULL, try_all, NULL), 0);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "all refused");
    CHECK_EQ(close_all(), 0);
}

static int try_all_back(void *ctx, bk_future *future)
{
    (void)future;
    return try_all(ctx);
}

LOOP_TEST(nor_in_a_callback_of_a_future)
{
    bk_future *f = NULL;
    CHECK_EQ(open_all(), 0);
    CHECK_EQ(bk_future_new(&f), 0);
    CHECK_EQ(bk_future_add_done_callback(f, try_all_back, NULL), 0);
    CHECK_EQ(bk_future_set(f, 0, NULL), 0);
    bk_future_free(&f);
    CHECK_EQ(bk_yield(), 0);
    CHECK_STR(trace_text(), "all refused");
    CHECK_EQ(close_all(), 0);
}

static void try_all_on_error(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("%s", report->what);
    try_all(NULL);
}

static int fail(void *ctx)
{
    (void)ctx;
    return -EIO;
}

static int cause_an_error(void *ctx)
{
    (void)ctx;
    int r = open_all();
    if (r < 0)
        return r;
    r = bk_go(NULL, fail, NULL, NULL);
    bk_yield(); /* the failed task ends while this one is ready, and on_error is called in it */
    int closed = close_all();
    return r < 0 ? r : closed;
}

/* asyncio's handler runs in the context of the task whose failure it hears of.  Here it is
 * nobody's, so that it cannot suspend a task that only happens to run. */
static void D1_differs_nor_in_on_error_which_is_outside_of_any_task(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = try_all_on_error};
    CHECK_EQ(bk_run(cause_an_error, NULL, &opts), 0);
    CHECK_STR(trace_text(), "task failed and nobody waited for it all refused");
}

/* ---- Threads without a loop ---- */

static int stray(void *ctx)
{
    bk_timeout *timeout = NULL;
    bk_group *group = NULL;
    bk_stream *stream = NULL;
    bk_call calls[] = {{.fn = nothing}};
    bool ok = REFUSED(bk_yield()) & REFUSED(bk_sleep(bk_ms(1))) & REFUSED(bk_sleep_forever()) &
              REFUSED(bk_shield(nothing, NULL)) & REFUSED(bk_wait_for(nothing, NULL, bk_ms(1))) &
              REFUSED(bk_timeout_open(&timeout, bk_ms(1))) & REFUSED(bk_gather(calls, 1, NULL)) &
              REFUSED(bk_group_open(&group, NULL)) & REFUSED(bk_to_thread(nothing, NULL, NULL)) &
              REFUSED(bk_future_wait(my.future, NULL, NULL)) &
              REFUSED(bk_connect(&stream, "127.0.0.1:9", NULL));
    *(bool *)ctx = ok && bk_go(NULL, nothing, NULL, NULL) == -EINVAL && bk_task_count() == 0 &&
                   bk_task_current() == NULL && bk_loop_current() == NULL && bk_cancelling() == 0 &&
                   bk_uncancel() == 0 && bk_dump(STDERR_FILENO) == -EINVAL;
    return 0;
}

static void N5_nor_on_a_thread_without_a_loop(void)
{
    bool ok = false;
    trace_reset();
    CHECK_EQ(bk_future_new(&my.future), 0);
    CHECK_EQ(stray(&ok), 0);
    CHECK_STR(trace_text(), "");
    CHECK(ok);
    bk_future_free(&my.future);
}

LOOP_TEST(N5_nor_in_a_function_on_the_pool)
{
    bool ok = false;
    CHECK_EQ(bk_future_new(&my.future), 0);
    int r = bk_to_thread(stray, &ok, NULL);
    bk_future_free(&my.future);
    CHECK_EQ(r, 0);
    /* A future of the loop is refused for that. */
    CHECK(strstr(trace_text(), "future_wait") != NULL);
}

CHECK_MAIN(TEST(nothing_can_wait_in_a_call), TEST(nor_in_a_callback_of_a_future),
           TEST(D1_differs_nor_in_on_error_which_is_outside_of_any_task),
           TEST(N5_nor_on_a_thread_without_a_loop), TEST(N5_nor_in_a_function_on_the_pool))
