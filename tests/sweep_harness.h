/* SPDX-License-Identifier: MIT
 * Runs a scenario again and again, striking its main character one step later each time.
 *
 * A scenario is a subject (the body that is struck), helpers (the tasks it works with) and a check
 * that everything is accounted for afterwards.  In each run a further task, the striker, looks at
 * the subject after every round of the ready queue; at its k-th look it strikes: cancels the
 * subject, or lets a timeout scope around it expire, or both.  k grows until the subject ends
 * first.  The looks fall before a wake-up, between a wake-up and the subject's next step, and while
 * nobody moves; a second pass starts the striker last, so that it comes after the others in each
 * round.  After each run there must be one outcome, no task, no descriptor and no block of memory
 * more than before, and the scenario's own check must hold.
 *
 * sweep_allocations runs the same scenarios unstruck, failing one allocation after the other. */
#ifndef BECK_TESTS_SWEEP_HARNESS_H
#define BECK_TESTS_SWEEP_HARNESS_H

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <beck.h>

#include "rt/rt.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

#define SWEEP_HELPERS 3
#define SWEEP_MAX_STEPS 2000
#define SWEEP_IDLE_TURNS 100
#define SWEEP_PATIENT_TURNS 10000
#define SWEEP_SECONDS 60   /* one run that takes longer hangs */

struct sweep_scenario {
    const char *name;
    size_t state_size; /* of ctx, zeroed before each run */
    /* In the main task.  close gets what open left, also when open failed. */
    int (*open)(void *ctx);
    void (*close)(void *ctx);
    bk_fn *subject;
    bk_fn *helpers[SWEEP_HELPERS]; /* cancelled when the subject has ended */
    bool helpers_finish;           /* no: they get through without it */
    /* After all tasks have ended: says what was lost by sweep_lost.  May suspend and consume.
     * result: the subject's. */
    void (*check)(void *ctx, int result);
    int want;             /* the subject's result when nothing strikes */
    bool survives;        /* the subject takes cancels back: its result is `want` all the same */
    bool blame_elsewhere; /* out of memory, the subject may be told of it by another error */
    bool patient;         /* processes or files take part: what is under way will soon be done */
    bool tells_more;      /* a library behind it tells of what beck would try again (EINTR) */
};

enum sweep_strike {
    SWEEP_NONE,
    SWEEP_CANCEL,
    SWEEP_TIMEOUT,
    SWEEP_BOTH,
    SWEEP_SWALLOW, /* a cancel, and a body that returns success although it was told */
};

static inline bool sweep_has_scope(enum sweep_strike strike)
{
    return strike == SWEEP_TIMEOUT || strike == SWEEP_BOTH;
}

struct sweep_run {
    const struct sweep_scenario *scenario;
    void *ctx;
    enum sweep_strike strike;
    bool striker_last;
    int k, looks; /* k is 0: the striker never strikes, and only keeps the clock from leaping */
    bool struck, began;
    bool over; /* the check is done: the striker may go */
    bk_task *subject, *striker;
    bk_timeout *scope;
    int result; /* of the subject's body, or -ECANCELED when that was cut short */
    int ended;  /* of its task */
    struct {
        int state;
        const void *kind, *object, *sp;
    } seen;
    bool others_ran;
    int n_idle;
};

static char sweep_label[160];
static void (*sweep_on_phase)(bool running); /* told when open is done, and when the run is over */
static bool sweep_failed_run;
static int sweep_n_reports;

/* Says that the run now under way went wrong. */
static inline void BK_PRINTF(1, 2) sweep_lost(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", sweep_label, text);
    sweep_failed_run = true;
}

/* Whether something was made to fail in this run: then errors may show anywhere, and what they
 * told of may be missing. */
static bool sweep_faulted;

static inline bool sweep_excused(void)
{
    return sweep_faulted || atomic_load(&alloc_sweep_failed) != 0;
}

static inline int sweep_open_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static inline void sweep_hangs(int signo)
{
    (void)signo;
    static const char text[] = ": hangs\n";
    if (write(STDERR_FILENO, sweep_label, strlen(sweep_label)) > 0 &&
        write(STDERR_FILENO, text, sizeof text - 1) > 0)
        bk_dump(STDERR_FILENO); /* not meant for signal handlers, but nothing is left to lose */
    _exit(1);
}

static inline void sweep_report(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    (void)report;
    sweep_n_reports++;
}

/* ---- The striker ---- */

static inline void sweep_do_strike(struct sweep_run *run)
{
    run->struck = true;
    if (sweep_has_scope(run->strike))
        bk_timeout_reschedule(run->scope, bk_now());
    if (run->strike != SWEEP_TIMEOUT)
        bk_task_cancel(run->subject);
}

/* Whether anything moved since the last look. */
static inline bool sweep_moved(struct sweep_run *run)
{
    const bk_task *t = run->subject;
    bool moved = run->others_ran || run->seen.state != t->state || run->seen.kind != t->wait_kind ||
                 run->seen.object != t->wait_object || run->seen.sp != t->run.sp;
    run->seen.state = t->state;
    run->seen.kind = t->wait_kind;
    run->seen.object = t->wait_object;
    run->seen.sp = t->run.sp;
    return moved;
}

/* Whoever is ready runs once.  When nobody is: a turn of the loop, which may bring something from
 * outside, and after some of those in vain (or when there is no outside) the clock goes on. */
static inline int sweep_let_run(struct sweep_run *run)
{
    struct bk_loop *loop = bki_loop;
    int r = 0;
    run->others_ran = loop->ready_head != NULL;
    if (run->others_ran) {
        run->n_idle = 0;
        return bk_yield();
    }
    bool jobs = loop->n_jobs > 0; /* on threads: they come back, and the clock waits for them */
    bool outside = jobs || loop->backend->busy(loop) || loop->n_external > 0;
    int turns = run->scenario->patient ? SWEEP_PATIENT_TURNS : SWEEP_IDLE_TURNS;
    if (outside && (run->n_idle++ < turns || jobs)) {
        sched_yield();
        loop->budget = 0;
        r = bk_yield();
    } else {
        run->n_idle = 0;
        int64_t next = loop->timers.len > 0 ? bki_heap_min_key(&loop->timers) : INT64_MAX;
        if (next == INT64_MAX && !outside)
            return -EDEADLK; /* leave: the run will end with its report */
        int64_t tick = bk_time_add(bk_now(), bk_ms(100)).ns;
        r = bk_sleep_until((bk_time){outside && tick < next ? tick : next});
    }
    run->others_ran = loop->ready_head != NULL;
    return r;
}

static inline int sweep_striker(void *ctx)
{
    struct sweep_run *run = ctx;
    int r = 0;
    while (r == 0 && !run->over) {
        bool possible = run->scope || !sweep_has_scope(run->strike);
        possible = possible && run->subject && !bk_task_done(run->subject);
        if (!run->struck && possible && sweep_moved(run) && ++run->looks == run->k)
            sweep_do_strike(run);
        r = sweep_let_run(run);
    }
    return 0;
}

/* ---- One run ---- */

static inline int sweep_subject(void *ctx)
{
    struct sweep_run *run = ctx;
    if (!sweep_has_scope(run->strike))
        return run->scenario->subject(run->ctx);
    int r = bk_timeout_open_at(&run->scope, (bk_time){INT64_MAX});
    if (r < 0)
        return r;
    r = run->scenario->subject(run->ctx);
    bk_timeout *scope = run->scope;
    run->scope = NULL;
    return bk_timeout_close(&scope, r);
}

/* A subject's result is not the group's failure, unless it is out of memory. */
static inline int sweep_subject_task(void *ctx)
{
    struct sweep_run *run = ctx;
    run->began = true;
    int r = run->result = sweep_subject(run);
    if (run->strike == SWEEP_SWALLOW) {
        if (r != -ECANCELED)
            run->result = bk_yield() < 0 ? -ECANCELED : r; /* told now, at the latest */
        return 0;
    }
    return r == -ECANCELED || r == -ENOMEM ? r : 0;
}

static inline int sweep_start_all(struct sweep_run *run, bk_group *group)
{
    const struct sweep_scenario *sc = run->scenario;
    int r = 0;
    if (!run->striker_last)
        r = bk_go(&run->striker, sweep_striker, run, NULL);
    for (int i = 0; r == 0 && i < SWEEP_HELPERS && sc->helpers[i]; i++)
        r = bk_group_go(group, sc->helpers[i], run->ctx, NULL);
    if (r == 0)
        r = bk_group_go_task(group, &run->subject, sweep_subject_task, run, NULL);
    if (r == 0 && run->striker_last)
        r = bk_go(&run->striker, sweep_striker, run, NULL);
    return r;
}

static inline int sweep_run_tasks(struct sweep_run *run)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, &(bk_group_opts){.name = "sweep"});
    if (r < 0)
        return r;
    r = sweep_start_all(run, group);
    if (run->subject && bk_task_wait(run->subject, &run->ended) == 0 && run->ended < 0)
        run->result = run->ended; /* cancelled before it began, or without having been told */
    if (!run->scenario->helpers_finish)
        bk_group_cancel(group);
    r = bk_group_close(&group, r);
    return r;
}

/* The striker stays until here: its naps keep the clock from leaping while the check waits. */
static inline void sweep_end_tasks(struct sweep_run *run)
{
    run->over = true;
    if (run->striker) {
        bk_task_cancel(run->striker); /* it may be asleep */
        bk_task_wait(run->striker, NULL);
    }
    bk_task_free(&run->striker);
    bk_task_free(&run->subject);
}

static inline int sweep_main(void *ctx)
{
    struct sweep_run *run = ctx;
    const struct sweep_scenario *sc = run->scenario;
    int r = sc->open ? sc->open(run->ctx) : 0;
    if (r == 0) {
        if (sweep_on_phase)
            sweep_on_phase(true);
        r = sweep_run_tasks(run);
        if (sc->check)
            sc->check(run->ctx, run->result);
        if (sweep_on_phase)
            sweep_on_phase(false);
    }
    sweep_end_tasks(run);
    if (sc->close)
        sc->close(run->ctx);
    if (bk_task_count() != 1)
        sweep_lost("%zu tasks are left", bk_task_count() - 1);
    return r;
}

/* Returns bk_run's result; alloc_sweep_fail_nth was called before. */
static inline int sweep_once(struct sweep_run *run)
{
    int fds = sweep_open_fds();
    sweep_n_reports = 0;
    run->result = -EINPROGRESS;
    run->ctx = calloc(1, run->scenario->state_size + 1);
    alarm(SWEEP_SECONDS);
    int r = bk_run(
        sweep_main, run,
        &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .max_threads = 1, .on_error = sweep_report});
    alarm(0);
    free(run->ctx);
    long leaked = alloc_sweep_end();
    if (leaked != 0)
        sweep_lost("%ld blocks of memory are left", leaked);
    if (sweep_open_fds() != fds)
        sweep_lost("%d descriptors are left", sweep_open_fds() - fds);
    return r;
}

static inline void sweep_begin(void)
{
    struct sigaction action = {.sa_handler = sweep_hangs};
    sigaction(SIGALRM, &action, NULL);
    sweep_failed_run = false;
}

/* Whether a scenario is wanted: all, or those whose name contains $SWEEP_ONLY. */
static inline bool sweep_wanted(const struct sweep_scenario *sc)
{
    const char *only = getenv("SWEEP_ONLY");
    return !only || strstr(sc->name, only);
}

/* ---- Strikes ---- */

static inline void sweep_judge(const struct sweep_run *run, int r)
{
    const struct sweep_scenario *sc = run->scenario;
    int want = sc->want;
    if (run->struck && !(sc->survives && run->began))
        want = run->strike == SWEEP_TIMEOUT ? -ETIMEDOUT : -ECANCELED;
    /* What is struck by a timeout when all is done but the scope still open has succeeded; and
     * what fails of itself may do so before it is told of a cancel. */
    bool late =
        run->struck && (run->strike == SWEEP_TIMEOUT || sc->want < 0) && run->result == sc->want;
    if (r != 0)
        sweep_lost("the run ends with %d (%s)", r, bk_strerror(r));
    else if (run->result != want && !late)
        sweep_lost("the subject ends with %d, not %d", run->result, want);
    else if (run->strike == SWEEP_SWALLOW && run->began && run->ended != 0)
        sweep_lost("told of the cancel, it returned 0, and ends with %d", run->ended);
    if (sweep_n_reports > 0)
        sweep_lost("%d failures were reported", sweep_n_reports);
}

/* Sweeps a scenario with one kind of strike: the number of steps, -1 when a run failed. */
static inline int sweep_pass(const struct sweep_scenario *sc, enum sweep_strike strike,
                             bool striker_last)
{
    static const char *const names[] = {"none", "cancel", "timeout", "timeout and cancel",
                                        "swallowed cancel"};
    for (int k = 1; k < SWEEP_MAX_STEPS; k++) {
        struct sweep_run run = {
            .scenario = sc, .strike = strike, .striker_last = striker_last, .k = k};
        snprintf(sweep_label, sizeof sweep_label, "%s: %s at step %d%s", sc->name, names[strike], k,
                 striker_last ? ", striker last" : "");
        alloc_sweep_fail_nth(0);
        sweep_judge(&run, sweep_once(&run));
        if (sweep_failed_run)
            return -1;
        if (!run.struck)
            return k - 1;
    }
    sweep_lost("does not end");
    return -1;
}

/* True when every scenario stands every strike of the kind, at every step. */
static inline bool sweep_strikes(const struct sweep_scenario *scenarios, size_t n,
                                 enum sweep_strike strike)
{
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        sweep_begin();
        if (!sweep_wanted(&scenarios[i]) || (scenarios[i].survives && strike != SWEEP_CANCEL))
            continue;
        int first = sweep_pass(&scenarios[i], strike, false);
        int last = first < 0 ? -1 : sweep_pass(&scenarios[i], strike, true);
        if (first + last == 0 && strike == SWEEP_CANCEL)
            sweep_lost("nothing was ever struck");
        if (getenv("SWEEP_VERBOSE"))
            fprintf(stderr, "%s: %d and %d steps\n", scenarios[i].name, first, last);
        ok = ok && !sweep_failed_run;
    }
    return ok;
}

/* ---- Allocations ---- */

static inline void sweep_judge_allocation(const struct sweep_run *run, int r)
{
    const struct sweep_scenario *sc = run->scenario;
    bool hit = atomic_load(&alloc_sweep_failed) != 0;
    bool success = r == 0 && run->result == sc->want;
    bool told = r == -ENOMEM || (r == 0 && run->result == -ENOMEM);
    if (sc->blame_elsewhere && r != -EDEADLK && (r < 0 || run->result < 0))
        told = true;
    if (!success && !(hit && told))
        sweep_lost("the run ends with %d, the subject with %d", r, run->result);
}

/* hit: something was made to fail, and may be told of unless it recovers. */
static inline void sweep_judge_fault(const struct sweep_run *run, int r, bool hit, bool recovers)
{
    bool success = r == 0 && run->result == run->scenario->want;
    bool told = hit && !recovers && (r < 0 || run->result < 0);
    if (!success && (!told || r == -EDEADLK))
        sweep_lost("the run ends with %d (%s), the subject with %d", r, bk_strerror(r),
                   run->result);
}

/* True when every scenario stands the failure of each of its allocations. */
static inline bool sweep_allocations(const struct sweep_scenario *scenarios, size_t n)
{
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        sweep_begin();
        bool hit = sweep_wanted(&scenarios[i]);
        for (long nth = 1; hit && !sweep_failed_run; nth++) {
            struct sweep_run run = {.scenario = &scenarios[i]};
            snprintf(sweep_label, sizeof sweep_label, "%s: allocation %ld fails", scenarios[i].name,
                     nth);
            alloc_sweep_fail_nth(nth);
            sweep_judge_allocation(&run, sweep_once(&run));
            hit = atomic_load(&alloc_sweep_failed) != 0;
            if (!hit && getenv("SWEEP_VERBOSE"))
                fprintf(stderr, "%s: %ld allocations\n", scenarios[i].name, nth - 1);
        }
        ok = ok && !sweep_failed_run;
    }
    return ok;
}

#endif
