/* SPDX-License-Identifier: MIT
 * Very many of everything at once: sleepers, cancelled tasks, timeouts, calls from threads; and the
 * memory they took is given back.  Under sanitizers, in little memory, and where stacks cost
 * mappings, there are fewer. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <beck.h>

#include "tests/check.h"

#if defined(__SANITIZE_THREAD__)
enum { MOST_TASKS = 2000, SHARE = 100, IS_EXACT = 0 };
#elif defined(__SANITIZE_ADDRESS__)
enum { MOST_TASKS = 10000, SHARE = 20, IS_EXACT = 0 };
#else
enum { MOST_TASKS = 1000000, SHARE = 1, IS_EXACT = 1 };
#endif

/* ---- What there is room for ---- */

static size_t available_memory(void)
{
    char line[128];
    size_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %zu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib * 1024;
}

static size_t resident_memory(void)
{
    size_t total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%zu %zu", &total, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t up_to(size_t n)
{
    enum { BYTES_FOR_A_TASK = 5 * 1024, IN_MAPPINGS = 20000 };
    size_t room = available_memory() / 3 / BYTES_FOR_A_TASK; /* the tests run two at a time */
    bk_info info;
    bk_info_get(&info);
    if (strcmp(info.stack_guard, "mprotect") == 0 && room > IN_MAPPINGS)
        room = IN_MAPPINGS;
    if (room > MOST_TASKS)
        room = MOST_TASKS;
    return n < room ? n : room;
}

/* Lets the runtime look at its unused stacks until it has none left to give back: a batch every
 * 20 ms, of virtual time. */
static int let_it_trim(size_t n_tasks)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n_tasks / 100 + 50; i++)
        r = bk_sleep(bk_ms(21));
    return r;
}

static void check_given_back(size_t before, size_t n_tasks)
{
    enum { KEPT = 16 << 20 };
    CHECK_EQ(let_it_trim(n_tasks), 0);
    size_t after = resident_memory();
    /* Some memory stays for good: what manages the stacks, and tables of the kernel's. */
    size_t allowed = before + KEPT + n_tasks * 16;
    if (IS_EXACT && after > allowed)
        fprintf(stderr, "%zu KiB before, %zu after %zu tasks\n", before >> 10, after >> 10,
                n_tasks);
    CHECK(!IS_EXACT || after <= allowed);
}

static void (*body_to_run)(void);

static int run_body(void *ctx)
{
    (void)ctx;
    body_to_run();
    return 0;
}

#define LOOP_TEST(name)                                                                            \
    static void name##_body(void);                                                                 \
    static void name(void)                                                                         \
    {                                                                                              \
        body_to_run = name##_body;                                                                 \
        CHECK_EQ(bk_run(run_body, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}), 0);            \
    }                                                                                              \
    static void name##_body(void)

/* ---- Sleepers ---- */

static struct {
    size_t n_begun, n_woken, n_cancelled;
    int64_t latest_ns;
    bool out_of_order;
} sleepers;

static int sleep_a_while(void *ctx)
{
    size_t number = (size_t)(uintptr_t)ctx;
    int64_t ms = 1 + (int64_t)(number * 2654435761u % 5000);
    bk_time until = bk_time_add((bk_time){0}, bk_ms(1000000 + ms));
    sleepers.n_begun++;
    int r = bk_sleep_until(until);
    sleepers.n_woken += r == 0;
    sleepers.n_cancelled += r == -ECANCELED;
    if (r == 0 && (bk_now().ns < until.ns || bk_now().ns < sleepers.latest_ns))
        sleepers.out_of_order = true;
    sleepers.latest_ns = bk_now().ns;
    return r;
}

LOOP_TEST(a_million_sleepers_wake_in_order)
{
    size_t n = up_to(1000000), before = resident_memory();
    bk_group *group = NULL;
    memset(&sleepers, 0, sizeof sleepers);
    CHECK_EQ(bk_group_open(&group, &(bk_group_opts){.limit = BK_UNBOUNDED}), 0);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = bk_group_go(group, sleep_a_while, (void *)(uintptr_t)i, NULL);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_task_count(), n + 1);
    CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_EQ(sleepers.n_begun, n);
    CHECK_EQ(sleepers.n_woken, n);
    CHECK(!sleepers.out_of_order);
    CHECK_EQ(bk_task_count(), 1);
    check_given_back(before, n);
}

/* ---- Cancelled ---- */

static void start_and_cancel(bool let_them_begin)
{
    size_t n = up_to(100000), before = resident_memory();
    bk_group *group = NULL;
    memset(&sleepers, 0, sizeof sleepers);
    CHECK_EQ(bk_group_open(&group, &(bk_group_opts){.limit = BK_UNBOUNDED}), 0);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = bk_group_go(group, sleep_a_while, (void *)(uintptr_t)i, NULL);
    if (r == 0 && let_them_begin)
        r = bk_yield();
    CHECK_EQ(bk_group_close(&group, -ECANCELED), -ECANCELED);
    CHECK_EQ(r, 0);
    CHECK_EQ(sleepers.n_begun, let_them_begin ? n : 0);
    CHECK_EQ(sleepers.n_cancelled, sleepers.n_begun);
    CHECK_EQ(bk_task_count(), 1);
    check_given_back(before, n);
}

LOOP_TEST(C052_C036_a_hundred_thousand_tasks_are_cancelled_before_they_begin)
{
    start_and_cancel(false);
}

LOOP_TEST(C052_a_hundred_thousand_tasks_are_cancelled_while_they_sleep)
{
    start_and_cancel(true);
}

/* One after the other: a task costs a stack, not a stack for each. */
LOOP_TEST(a_million_tasks_take_turns)
{
    size_t n = 1000000 / SHARE, before = resident_memory();
    memset(&sleepers, 0, sizeof sleepers);
    for (size_t i = 0; i < n; i++) {
        bk_task *task = NULL;
        CHECK_EQ(bk_go(&task, sleep_a_while, (void *)(uintptr_t)i, NULL), 0);
        if (i % 2)
            bk_yield();
        CHECK_EQ(bk_task_cancel(task), 1);
        CHECK_EQ(bk_task_wait(task, NULL), 0);
        bk_task_free(&task);
    }
    CHECK_EQ(sleepers.n_cancelled, n / 2);
    check_given_back(before, 1);
}

/* ---- A chain: each task waits for the next ---- */

struct chain {
    size_t n, n_told;
};

static int wait_for_the_next(void *ctx)
{
    struct chain *chain = ctx;
    bk_task *next = NULL;
    int r = chain->n-- > 1 ? bk_go(&next, wait_for_the_next, chain, NULL) : bk_sleep_forever();
    if (next)
        r = bk_task_wait(next, NULL);
    bk_task_free(&next);
    chain->n_told += r == -ECANCELED;
    return r;
}

LOOP_TEST(C053_a_chain_of_ten_thousand_waits_is_cancelled)
{
    size_t n = up_to(10000);
    struct chain chain = {.n = n};
    bk_task *first = NULL;
    int result = 0;
    CHECK_EQ(bk_go(&first, wait_for_the_next, &chain, NULL), 0);
    while (chain.n > 0)
        CHECK_EQ(bk_yield(), 0);
    CHECK_EQ(bk_task_count(), n + 1);
    CHECK_EQ(bk_task_cancel(first), 1);
    CHECK_EQ(bk_task_wait(first, &result), 0);
    CHECK_EQ(result, -ECANCELED);
    CHECK_EQ(chain.n_told, n);
    CHECK_EQ(bk_task_count(), 1);
    bk_task_free(&first);
}

/* ---- Timeouts ---- */

enum { SCOPES = 1000 };

static int sleep_past_all(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(100));
}

/* Opens scopes within scopes; ctx: they strike. */
static int nest_scopes(void *ctx)
{
    bool strike = ctx != NULL;
    bk_timeout **scopes = calloc(SCOPES, sizeof(bk_timeout *));
    int r = 0, n = 0;
    unsigned random = (unsigned)bk_task_id(bk_task_current());
    for (; r == 0 && n < SCOPES; n++) {
        random = random * 1664525 + 1013904223;
        r = bk_timeout_open(&scopes[n], bk_ms(1000 + random / 65536));
    }
    if (r == 0)
        r = strike ? bk_sleep_forever() : bk_sleep(bk_ms(500));
    if (strike && r == -ECANCELED)
        bk_shield(sleep_past_all, NULL);
    while (n-- > 0) {
        if (bk_timeout_expired(scopes[n]) != strike)
            r = -EIO;
        r = bk_timeout_close(&scopes[n], r);
        if (n > 0 && r == -ETIMEDOUT) /* the outer ones have struck too: one says so, the last */
            r = -EIO;
    }
    free(scopes);
    return r;
}

static void open_timeouts(bool strike)
{
    size_t n = 1000 / SHARE;
    bk_call *calls = calloc(n, sizeof *calls);
    for (size_t i = 0; i < n; i++)
        calls[i] = (bk_call){.fn = nest_scopes, .ctx = strike ? calls : NULL};
    int r = bk_gather(calls, n, &(bk_gather_opts){.collect = true});
    size_t n_right = 0;
    for (size_t i = 0; i < n; i++)
        n_right += calls[i].result == (strike ? -ETIMEDOUT : 0);
    free(calls);
    CHECK_EQ(r, 0);
    CHECK_EQ(n_right, n);
}

LOOP_TEST(C077_a_million_timeouts_are_called_off)
{
    open_timeouts(false);
}

LOOP_TEST(a_million_timeouts_strike)
{
    open_timeouts(true);
}

static int return_at_once(void *ctx)
{
    ++*(size_t *)ctx;
    return 0;
}

LOOP_TEST(C077_a_million_timeouts_one_after_the_other)
{
    size_t n = 1000000 / SHARE, n_called = 0;
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(bk_wait_for(return_at_once, &n_called, bk_seconds(1)), 0);
    CHECK_EQ(n_called, n);
}

/* ---- Threads ---- */

enum { THREADS = 10, CALLS = 10000 / SHARE };

struct caller {
    bk_loop *loop;
    pthread_t thread;
    size_t n_arrived; /* loop thread only */
    size_t *n_all;
    bk_event *all_arrived;
    int error;
};

static int arrive(void *ctx)
{
    struct caller *c = ctx;
    c->n_arrived++;
    if (++*c->n_all == (size_t)THREADS * CALLS)
        bk_event_set(c->all_arrived);
    return 0;
}

static void *call_again_and_again(void *ctx)
{
    struct caller *c = ctx;
    for (int i = 0; c->error == 0 && i < CALLS; i++)
        c->error = bk_go_threadsafe(c->loop, arrive, c);
    return NULL;
}

LOOP_TEST(threads_start_tasks)
{
    struct caller callers[THREADS] = {{0}};
    size_t n_all = 0, before = resident_memory();
    bk_event *all_arrived = NULL;
    CHECK_EQ(bk_event_new(&all_arrived, "all arrived"), 0);
    for (int i = 0; i < THREADS; i++) {
        callers[i].loop = bk_loop_current();
        callers[i].n_all = &n_all;
        callers[i].all_arrived = all_arrived;
        CHECK_EQ(pthread_create(&callers[i].thread, NULL, call_again_and_again, &callers[i]), 0);
    }
    int r = bk_event_wait(all_arrived);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        CHECK_EQ(callers[i].error, 0);
        CHECK_EQ(callers[i].n_arrived, CALLS);
    }
    CHECK_EQ(r, 0);
    bk_event_free(&all_arrived);
    check_given_back(before, (size_t)THREADS * CALLS);
}

/* ---- An idle loop, on the real clock ---- */

enum { IDLE_TASKS = 6000, FALLEN = 6 << 20, PATIENCE_SECONDS = 20 };

struct idle {
    bk_loop *loop;
    size_t before;
    bk_event *fallen;
    bool in_time;
    bool has_let_go;
};

static int tell_fallen(void *ctx)
{
    struct idle *idle = ctx;
    bk_event_set(idle->fallen);
    return 0;
}

/* Watches from outside, so that the loop has nothing to do. */
static void *watch_memory(void *ctx)
{
    struct idle *idle = ctx;
    time_t end = time(NULL) + PATIENCE_SECONDS;
    while (!idle->in_time && time(NULL) < end) {
        poll(NULL, 0, 10);
        idle->in_time = resident_memory() < idle->before + FALLEN;
    }
    idle->has_let_go = bk_go_threadsafe(idle->loop, tell_fallen, idle) == 0;
    return NULL;
}

static int be_idle(void *ctx)
{
    struct idle *idle = ctx;
    pthread_t watcher;
    idle->loop = bk_loop_current();
    idle->before = resident_memory();
    int r = bk_event_new(&idle->fallen, "memory has fallen");
    bk_group *group = NULL;
    if (r == 0)
        r = bk_group_open(&group, &(bk_group_opts){.limit = BK_UNBOUNDED});
    for (int i = 0; r == 0 && i < IDLE_TASKS; i++)
        r = bk_group_go(group, sleep_a_while, (void *)(uintptr_t)i, NULL);
    if (r == 0)
        r = bk_yield();
    r = bk_group_close(&group, -ECANCELED);
    if (pthread_create(&watcher, NULL, watch_memory, idle) != 0)
        return -EAGAIN;
    r = bk_event_wait(idle->fallen);
    pthread_join(watcher, NULL);
    bk_event_free(&idle->fallen);
    return r;
}

static void an_idle_loop_gives_memory_back(void)
{
    struct idle idle = {0};
    if (!IS_EXACT)
        return;
    CHECK_EQ(bk_run(be_idle, &idle, &(bk_run_opts){.clock = BK_CLOCK_REAL}), 0);
    CHECK(idle.in_time);
}

CHECK_MAIN(TEST(a_million_sleepers_wake_in_order),
           TEST(C052_C036_a_hundred_thousand_tasks_are_cancelled_before_they_begin),
           TEST(C052_a_hundred_thousand_tasks_are_cancelled_while_they_sleep),
           TEST(a_million_tasks_take_turns), TEST(C053_a_chain_of_ten_thousand_waits_is_cancelled),
           TEST(C077_a_million_timeouts_are_called_off), TEST(a_million_timeouts_strike),
           TEST(C077_a_million_timeouts_one_after_the_other), TEST(threads_start_tasks),
           TEST(an_idle_loop_gives_memory_back))
