/* SPDX-License-Identifier: MIT
 * Waiting for several tasks that exist already: wait and gather_tasks.
 *
 * A watch on each task counts down and wakes the waiting call only when its condition holds: the
 * end of a task costs the same however many are waited for. */
#include "base/alloc.h"
#include "rt/rt.h"

struct several {
    struct bki_timer timer;
    struct bk_task *self;
    size_t n_left; /* watches that have not been told */
    enum bk_wait_until until;
    bool cancelled_fails;
    bool enough;            /* what `until` says has happened, or time is up */
    struct bk_task *failed; /* the first that did */
    struct place {
        struct bki_watch watch;
        struct several *several;
    } places[];
};

static const struct bki_wait_kind several_kind = {.what = "several tasks"};

static bool has_failed(const struct several *s, const struct bk_task *task)
{
    return task->result < 0 && (s->cancelled_fails || task->result != -ECANCELED);
}

/* A task has ended, now or before the call. */
static void note_end(struct several *s, struct bk_task *task)
{
    if (!s->failed && has_failed(s, task))
        s->failed = task;
    if (s->until == BK_FIRST_COMPLETED || (s->until == BK_FIRST_ERROR && s->failed))
        s->enough = true;
}

static void ended(struct bki_watch *watch, struct bk_task *task)
{
    struct several *s = bki_container(watch, struct place, watch)->several;
    s->n_left--;
    note_end(s, task);
    if (s->enough || s->n_left == 0)
        bki_wake(s->self);
}

static void time_is_up(struct bki_timer *timer)
{
    struct several *s = bki_container(timer, struct several, timer);
    s->enough = true;
    bki_wake(s->self);
}

/* The tasks that have ended, each once. */
static size_t count_done(bk_task *const tasks[], size_t n)
{
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        done += bk_task_done(tasks[i]) && !tasks[i]->counted;
        tasks[i]->counted = true;
    }
    for (size_t i = 0; i < n; i++)
        tasks[i]->counted = false;
    return done;
}

static int open_several(struct several **out, size_t n)
{
    struct several *s = bki_zalloc(sizeof *s + n * sizeof s->places[0]);
    if (!s)
        return bk_fail(-ENOMEM, "no memory to wait for %zu tasks", n);
    s->self = bki_self();
    *out = s;
    return 0;
}

/* Keeps the tasks too: somebody may free their handles meanwhile. */
static void watch_all(struct several *s, bk_task *const tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->places[i].several = s;
        bk_task_ref(tasks[i]);
        if (bk_task_done(tasks[i])) {
            note_end(s, tasks[i]);
            continue;
        }
        bki_watch_start(&s->places[i].watch, tasks[i], ended);
        s->n_left++;
    }
}

static int wait_until_enough(struct several *s)
{
    int r = 0;
    while (r == 0 && !s->enough && s->n_left > 0)
        r = bki_park(&several_kind, s);
    return r;
}

static void close_several(struct several *s, bk_task *const tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bki_watch_stop(&s->places[i].watch);
        bki_task_unref(tasks[i]);
    }
    bki_timer_stop(bki_loop, &s->timer);
    bki_free(s);
}

/* ---- wait ---- */

static int check_all(bk_task *const tasks[], size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = bki_task_check(tasks[i]);
    return r;
}

int bk_wait(bk_task *const tasks[], size_t n, enum bk_wait_until until, bk_duration limit)
{
    if (n == 0)
        return bk_fail(-EINVAL, "bk_wait for no tasks");
    struct several *s = NULL;
    int r = bki_check_cancel();
    if (r == 0)
        r = check_all(tasks, n);
    if (r == 0)
        r = open_several(&s, n);
    if (r < 0)
        return r;
    s->until = until;
    if (limit.ns != BK_FOREVER_NS)
        r = bki_timer_start(bki_loop, &s->timer, bk_time_add(bk_now(), limit).ns, time_is_up);
    watch_all(s, tasks, n);
    if (r == 0)
        r = wait_until_enough(s);
    if (r == 0)
        r = (int)count_done(tasks, n);
    close_several(s, tasks, n);
    return r;
}

/* ---- gather_tasks ---- */

static void cancel_all(bk_task *const tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!tasks[i]->counted)
            bk_task_cancel(tasks[i]);
        tasks[i]->counted = true;
    }
    for (size_t i = 0; i < n; i++)
        tasks[i]->counted = false;
}

/* The caller was cancelled: so are the tasks, and it waits for them whatever comes.  A further
 * cancel goes on to them as well, who may have taken the last one back. */
static void cancel_and_wait(struct several *s, bk_task *const tasks[], size_t n)
{
    s->until = BK_ALL_COMPLETED;
    s->enough = false;
    do {
        cancel_all(tasks, n);
        if (s->n_left > 0)
            bki_park(&several_kind, s);
    } while (s->n_left > 0);
}

int bk_gather_tasks(bk_task *const tasks[], size_t n, const bk_gather_opts *opts)
{
    bool collect = opts && opts->collect;
    struct several *s = NULL;
    int r = bki_check_task();
    for (size_t i = 0; r == 0 && i < n; i++)
        if (tasks[i] == bki_self())
            r = bk_fail(-EDEADLK, "a task waited for itself");
    if (r == 0)
        r = check_all(tasks, n);
    if (r == 0)
        r = open_several(&s, n);
    if (r < 0)
        return r;
    s->until = collect ? BK_ALL_COMPLETED : BK_FIRST_ERROR;
    s->cancelled_fails = true;
    watch_all(s, tasks, n);
    bool decided = false;
    r = bki_check_cancel();
    if (r == 0) {
        r = wait_until_enough(s);
        decided = s->enough; /* a cancel that comes now is the caller's alone */
    }
    if (r < 0 && !decided) {
        cancel_and_wait(s, tasks, n);
        bki_tell_cancel(s->self);
    }
    if (r == 0 && !collect && s->failed) {
        r = bk_task_result(s->failed);
        bki_error_slot_adopt(&s->failed->error);
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        bk_task_result(tasks[i]); /* a failure that was collected is seen */
    close_several(s, tasks, n);
    return r;
}
