/* SPDX-License-Identifier: MIT
 * Running a program on the event loop, and asking a running one what it does. */
#ifndef BECK_RUN_H
#define BECK_RUN_H

#include <beck/base.h>

BK_BEGIN_DECLS

/* The body of a task.  ctx is whatever the starter passed, borrowed.  Returns the task's result: 0
 * or positive for success, a negative error for failure (-ECANCELED when it gave way to a cancel).
 */
typedef int bk_fn(void *ctx);

typedef struct bk_loop bk_loop;

enum bk_clock { BK_CLOCK_DEFAULT, BK_CLOCK_REAL, BK_CLOCK_VIRTUAL };

/* A failure that nobody saw; see bk_run_opts.on_error.  Texts are never NULL, and all of it is
 * valid for the call only.  asyncio: the context of loop.call_exception_handler. */
typedef struct bk_error_report {
    const char *what; /* "task failed and nobody waited for it", ... */
    const char *task; /* the name of the task that failed, "" when it was none */
    uint64_t task_id; /* 0 when it was none */
    const char *call; /* the function of the call or callback that failed, "" when it was none */
    const struct bk_handle *handle; /* the call that failed (loop.h), NULL when it was none */
    const struct bk_future *future; /* the future that failed, NULL when it was none */
    int result;                     /* the negative result, 0 for a warning of debug mode */
    const char *detail;             /* its bk_errmsg text, "" if none */
    const char *origin;             /* in debug mode "started in run (app.c:12)"; "" if unknown */
} bk_error_report;

/* A step that holds the loop too long; see bk_run_opts.stall_limit.  Valid for the call only. */
typedef struct bk_stall_report {
    const char *task;             /* the name of the task, "" when a call or callback holds it */
    uint64_t task_id;             /* 0 then */
    bk_duration held;             /* so far */
    bool ended;                   /* it was reported before, and the loop goes on again */
    const struct bk_place *stack; /* where it was seen, innermost first (inspect.h) */
    size_t n_stack;               /* 0 when that could not be found out */
} bk_stall_report;

typedef struct bk_run_opts {
    /* "uring", "epoll", or NULL: the environment's BECK_BACKEND, else io_uring where the kernel
     * allows it and epoll everywhere else. */
    const char *backend;
    /* BK_CLOCK_VIRTUAL, for tests: time starts at 0 and stands still while a task is ready, a
     * thread runs a bk_to_thread call, or input and output are under way; when nothing but a
     * deadline is left, the clock jumps to it instead of sleeping.  Default: the environment's
     * BECK_CLOCK=virtual|real, else real. */
    enum bk_clock clock;
    /* Stack of a task in bytes, rounded up to a power of two; default 64 KiB.  A task touches only
     * the pages it uses. */
    size_t stack_size;
    /* Start every task as if with bk_task_opts.eager.  asyncio: eager_task_factory. */
    bool eager;
    /* Most tasks alive at once, -EAGAIN beyond; default 4,000,000. */
    size_t max_tasks;
    /* Most bytes that messages which are still coming in may hold, those of all connections of the
     * loop together: WebSocket messages (bk_ws_recv), heads of HTTP requests, and their bodies when
     * they are read whole (bk_http_req_body).  Each has 2 KiB beyond that, and a head 4, so that
     * short ones never wait.  For more than there is a message waits, and its peer is held up; one
     * message may go beyond the limit when nothing else would go on.  While others have waited for
     * 10 s, one that has not become whole, nor twice as long, in that time is given up. Half as
     * much again is for the contexts that WebSocket servers agree on (bk_ws_deflate): when it is
     * spoken for, further connections compress each message by itself.  Default 256 MiB. */
    size_t max_intake;
    /* Most threads for blocking calls (bk_to_thread); default min(32, CPUs + 4). */
    unsigned max_threads;
    /* Threads for blocking calls in place of the loop's own (thread.h).  It stays yours, and must
     * last as long as the loop.  asyncio: loop.set_default_executor. */
    struct bk_executor *executor;
    /* How long the end of the run waits for functions on threads whose callers have gone
     * (bk_to_thread_opts.on_abandon); it then tells on_error and leaves them to themselves.  By the
     * real clock, default 300 s. */
    bk_duration thread_limit;
    /* Leave SIGINT, SIGTERM and SIGUSR1 alone.  By default, in the main thread and where the
     * program has not set a handler of its own, the first SIGINT or SIGTERM cancels the main task,
     * a second one ends the process at once, and SIGUSR1 prints bk_dump to stderr. */
    bool no_signals;
    /* Called in the loop thread for each failure that nobody saw (bk_task_wait, bk_task_result and
     * the end of a group are ways to see one), at the latest when the run ends.  It runs outside
     * any task and must not suspend (-BK_ENOTASK); failures it causes itself go to stderr.  NULL:
     * one line on stderr. */
    void (*on_error)(void *ctx, const bk_error_report *report);
    void *on_error_ctx; /* passed to on_error, borrowed */
    /* Report each step, of a task or a call, that holds the loop for longer than this by the real
     * clock, while everything else waits: with the function and line it is in.  A thread looks at
     * the loop twice in that time, which costs the loop nothing, so that it may stay on in
     * production.  To see where a step computes it sends SIGURG to the loop's thread, unless the
     * program handles or blocks that: then such reports have no stack.  A step that sleeps in the
     * kernel gets no signal, so that no call ends early (EINTR).  Default: off; in debug mode
     * 100 ms.  asyncio: loop.slow_callback_duration. */
    bk_duration stall_limit;
    /* Called for it in another thread, while the step goes on, and once more when it has ended.  It
     * must not use the loop.  NULL: some lines on stderr. */
    void (*on_stall)(void *ctx, const bk_stall_report *report);
    void *on_stall_ctx; /* passed to on_stall, borrowed */
    /* Debug mode, for looking for mistakes; it costs time.  Reports say where what failed was
     * started or made; tasks' handles, futures and streams that are not freed when the run ends are
     * told to on_error; stall_limit is on; look-ups of names and waits in the kernel that take
     * longer than it are told, too.  Default: the environment's BECK_DEBUG=1.
     * asyncio: debug=True, PYTHONASYNCIODEBUG. */
    bool debug;
} bk_run_opts;

/* Runs main(ctx) as the first task of a new event loop in this thread, and returns when it and
 * every task it left behind have ended: remaining tasks are cancelled, then waited for, failures
 * nobody saw go to on_error, the threads for blocking calls finish.
 * Returns main's result, or:
 * -BK_EINTERRUPTED  a signal cancelled main, and it ended with -ECANCELED
 * -EDEADLK          every task waited for another: a report went to stderr, and the tasks were
 *                   cancelled.  (Input and output, deadlines, open signals, threads, channels and a
 *                   main task in bk_sleep_forever count as something that may still happen.)
 * -EBUSY            a loop already runs in this thread
 * -BK_ENOTASK       in a process that a task has forked: it came back from that task
 * -ENOMEM, -EINVAL, -ENOSYS  the loop could not be set up (bk_errmsg says why).
 * A process that is forked in a run has no loop: what suspends fails with -BK_ENOTASK there.  It
 * may exec, _exit, close its copies of streams, or call bk_run. */
BK_API int bk_run(bk_fn *main, void *ctx, const bk_run_opts *opts);

/* The loop of this thread, NULL without one.  Valid until it is closed (bk_loop_ref keeps it for
 * other threads).  Having been asked for it, an idle loop waits for calls from threads instead of
 * reporting a deadlock. */
BK_API bk_loop *bk_loop_current(void);

/* The loop's clock: CLOCK_MONOTONIC, or the virtual clock of a test run.  On a thread without a
 * loop, those of bk_to_thread included, it is CLOCK_MONOTONIC always.  Any thread. */
BK_API bk_time bk_now(void);

/* What this build runs on.  Strings are static or live as long as the loop. */
typedef struct bk_info {
    const char *version;
    const char *backend; /* "uring" or "epoll": of the running loop, else what one would use */
    const char *backend_reason; /* why that one */
    const char *context_switch; /* "x86-64", "aarch64" or "ucontext" */
    const char *stack_guard;    /* "madvise" or "mprotect" */
    const char *features;       /* kernel features in use, space-separated */
    const char *kernel;         /* "Linux 6.1.0" */
} bk_info;

/* Fills *out.  Outside bk_run it probes the kernel (and closes what it opened).  Any thread. */
BK_API void bk_info_get(bk_info *out);

/* Writes the tree of this loop's tasks to the file descriptor fd: name, state, what each waits for
 * and since when, where it was started; and how many have ended whose handles are still kept, each
 * of which keeps its stack.  Called in a loop thread.  Returns 0, -EINVAL outside
 * bk_run, or write's error.  Never suspends. */
BK_API int bk_dump(int fd);

BK_END_DECLS
#endif
