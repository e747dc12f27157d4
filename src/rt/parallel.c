/* SPDX-License-Identifier: MIT
 * Several loops on several threads, started, called off and waited for by one task. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include <beck/parallel.h>

#include "base/alloc.h"
#include "rt/executor.h"
#include "rt/report.h"

struct team;

struct worker {
    struct team *team;
    unsigned index;
    pthread_t thread;
    bool started; /* and not joined yet */

    pthread_mutex_t mutex; /* guards the next three */
    struct bk_loop *loop;  /* while its main task runs */
    bk_task *main;
    bool cancelled;

    struct bki_post cancel; /* to its loop */
    struct bki_post ended;  /* from its thread to the team's loop */
    int result;
    char error[BKI_ERROR_TEXT_SIZE];
};

struct team {
    bk_loops_fn *main;
    void *ctx;
    const bk_loops_opts *opts;
    struct bk_loop *loop; /* of the task that waits */
    bk_task *task;
    unsigned n, n_running;
    bool called_off;
    int result; /* the first failure */
    char error[BKI_ERROR_TEXT_SIZE];
    struct worker workers[];
};

/* ---- Processors ---- */

unsigned bk_cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    return n > 0 ? (unsigned)n : 1;
}

/* The index-th processor that we may use, round and round. */
static void pin_thread(unsigned index)
{
    cpu_set_t set, one;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return;
    index %= (unsigned)CPU_COUNT(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set) || index-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

/* ---- On a worker's thread ---- */

/* In the worker's loop. */
static void cancel_main(struct bki_post *post, struct bk_loop *loop)
{
    struct worker *w = bki_container(post, struct worker, cancel);
    (void)loop;
    if (w->main)
        bk_task_cancel(w->main);
}

/* From now on a cancel is posted; before, it is found here. */
static bool begin_main(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    w->loop = bki_loop;
    w->main = bki_self();
    bool cancelled = w->cancelled;
    pthread_mutex_unlock(&w->mutex);
    return !cancelled;
}

static void end_main(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    w->loop = NULL;
    w->main = NULL;
    pthread_mutex_unlock(&w->mutex);
}

static int worker_main(void *ctx)
{
    struct worker *w = ctx;
    int r = begin_main(w) ? w->team->main(w->team->ctx, w->index) : -ECANCELED;
    end_main(w);
    return r;
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    if (w->team->opts->pin)
        pin_thread(w->index);
    w->result = bk_run(worker_main, w, &w->team->opts->run);
    if (w->result < 0)
        snprintf(w->error, sizeof w->error, "%s", bk_errmsg());
    bki_inbox_post(w->team->loop, &w->ended); /* its loop waits for us */
    return NULL;
}

/* ---- In the task that waits ---- */

static void call_off(struct team *team)
{
    if (team->called_off)
        return;
    team->called_off = true;
    for (unsigned i = 0; i < team->n; i++) {
        struct worker *w = &team->workers[i];
        pthread_mutex_lock(&w->mutex);
        w->cancelled = true;
        if (w->loop)
            bki_inbox_post(w->loop, &w->cancel);
        pthread_mutex_unlock(&w->mutex);
    }
}

static void take_failure(struct team *team, const struct worker *w)
{
    if (team->result == 0) {
        team->result = w->result;
        snprintf(team->error, sizeof team->error, "%s", w->error);
    } else if (w->result != -ECANCELED) {
        bk_error_report report = {
            .what = "a further loop failed", .result = w->result, .detail = w->error};
        bki_report(&report);
    }
    call_off(team);
}

static void worker_has_ended(struct bki_post *post, struct bk_loop *loop)
{
    struct worker *w = bki_container(post, struct worker, ended);
    struct team *team = w->team;
    pthread_join(w->thread, NULL);
    loop->n_jobs--;
    team->n_running--;
    if (w->result < 0 && !(team->called_off && w->result == -ECANCELED))
        take_failure(team, w);
    bki_wake(team->task);
}

static int start_worker(struct team *team, unsigned index)
{
    struct worker *w = &team->workers[index];
    const char *name = team->opts->name ? team->opts->name : "beck";
    char thread_name[16];
    sigset_t before;
    *w = (struct worker){
        .team = team, .index = index, .cancel.run = cancel_main, .ended.run = worker_has_ended};
    pthread_mutex_init(&w->mutex, NULL);
    bki_block_signals(&before);
    int err = pthread_create(&w->thread, NULL, run_worker, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return bki_fail_errno(-EAGAIN, "no thread for loop %u", index);
    snprintf(thread_name, sizeof thread_name, "%s", name);
    pthread_setname_np(w->thread, thread_name);
    team->n = index + 1;
    team->n_running++;
    team->loop->n_jobs++;
    return 0;
}

static void describe_team(const void *object, char *buf, size_t size)
{
    const struct team *team = object;
    snprintf(buf, size, "(%u of %u)", team->n_running, team->n);
}

static const struct bki_wait_kind team_kind = {.what = "loops", .describe = describe_team};

/* Waits for all, whatever comes.  A cancel is passed on once. */
static int wait_for_team(struct team *team)
{
    bool cancelled = false;
    struct bki_cancel_told told = bki_cancel_told_save();
    while (team->n_running > 0) {
        if (team->called_off)
            bki_park_hard(&team_kind, team);
        else if (bki_park(&team_kind, team) < 0 && team->n_running > 0) {
            cancelled = true;
            call_off(team);
        }
    }
    if (!cancelled)
        bki_cancel_told_restore(told); /* one that came with the end shows at the next call */
    return cancelled && team->result == 0 ? -ECANCELED : team->result;
}

static int run_team(struct team *team, unsigned n)
{
    int r = bki_check_cancel();
    for (unsigned i = 0; r == 0 && i < n; i++)
        r = start_worker(team, i);
    if (r < 0) {
        call_off(team);
        team->result = r;
        snprintf(team->error, sizeof team->error, "%s", bk_errmsg());
    }
    r = wait_for_team(team);
    for (unsigned i = 0; i < team->n; i++)
        pthread_mutex_destroy(&team->workers[i].mutex);
    return r < 0 && team->error[0] ? bk_fail(r, "%s", team->error) : r;
}

static int run_in_task(unsigned n, bk_loops_fn *main, void *ctx, const bk_loops_opts *opts)
{
    struct team *team = bki_zalloc(sizeof *team + n * sizeof team->workers[0]);
    if (!team)
        return bk_fail(-ENOMEM, "no memory for %u loops", n);
    team->main = main;
    team->ctx = ctx;
    team->opts = opts;
    team->loop = bki_loop;
    team->task = bki_self();
    int r = run_team(team, n);
    bki_free(team);
    return r;
}

struct outside {
    unsigned n;
    bk_loops_fn *main;
    void *ctx;
    const bk_loops_opts *opts;
};

static int run_outside(void *ctx)
{
    struct outside *o = ctx;
    return run_in_task(o->n, o->main, o->ctx, o->opts);
}

int bk_loops_run(unsigned n, bk_loops_fn *main, void *ctx, const bk_loops_opts *opts)
{
    static const bk_loops_opts defaults;
    opts = opts ? opts : &defaults;
    n = n ? n : bk_cpu_count();
    if (bki_has_loop())
        return run_in_task(n, main, ctx, opts);
    struct outside o = {n, main, ctx, opts};
    return bk_run(run_outside, &o, &opts->run);
}
