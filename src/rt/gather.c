/* SPDX-License-Identifier: MIT
 * Waiting for several: gather and wait. */
#include "base/alloc.h"
#include "rt/rt.h"

/* ---- gather ---- */

static int start_calls(bk_group *group, bk_call *calls, size_t n, bk_task **tasks)
{
    for (size_t i = 0; i < n; i++) {
        bk_task_opts opts = {.name = calls[i].name};
        int r = bk_group_go_task(group, &tasks[i], calls[i].fn, calls[i].ctx, &opts);
        if (r < 0)
            return r;
    }
    return 0;
}

int bk_gather(bk_call *calls, size_t n, const bk_gather_opts *opts)
{
    bool collect = opts && opts->collect;
    for (size_t i = 0; i < n; i++)
        calls[i].result = -ECANCELED; /* of a call that never ran */
    bk_task **tasks = bki_zalloc((n ? n : 1) * sizeof(bk_task *));
    if (!tasks)
        return bk_fail(-ENOMEM, "no memory to gather %zu calls", n);
    bk_group *group = NULL;
    int r = bk_group_open(&group,
                          &(bk_group_opts){.limit = n, .keep_going = collect, .name = "gather"});
    if (r == 0) {
        r = start_calls(group, calls, n, tasks);
        bool all_ended = false;
        if (collect && r == 0) {
            r = bk_group_wait(group);
            all_ended = r == 0;
        }
        int closed = bk_group_close(&group, r);
        /* To collect, a failure is a result like others; but not all have one when cancelled. */
        if (!collect)
            r = closed;
        else if (all_ended)
            r = closed == -ECANCELED ? closed : 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (tasks[i])
            calls[i].result = bk_task_result(tasks[i]);
        bk_task_free(&tasks[i]);
    }
    bki_free(tasks);
    return r;
}

/* ---- wait ---- */

static const struct bki_wait_kind wait_kind = {.what = "one of several tasks"};

struct watch {
    struct bki_timer timer;
    struct bk_task *self;
    bool timed_out;
};

static void watch_timeout(struct bki_timer *timer)
{
    struct watch *watch = bki_container(timer, struct watch, timer);
    watch->timed_out = true;
    bki_wake(watch->self);
}

static size_t count_done(bk_task *const tasks[], size_t n)
{
    size_t done = 0;
    for (size_t i = 0; i < n; i++)
        done += bk_task_done(tasks[i]);
    return done;
}

static bool satisfied(bk_task *const tasks[], size_t n, enum bk_wait_until until)
{
    size_t done = count_done(tasks, n);
    if (done == n)
        return true;
    if (until == BK_FIRST_COMPLETED)
        return done > 0;
    if (until == BK_FIRST_ERROR)
        for (size_t i = 0; i < n; i++)
            if (bk_task_done(tasks[i]) && tasks[i]->result < 0 && tasks[i]->result != -ECANCELED)
                return true;
    return false;
}

int bk_wait(bk_task *const tasks[], size_t n, enum bk_wait_until until, bk_duration limit)
{
    if (n == 0)
        return bk_fail(-EINVAL, "bk_wait for no tasks");
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (satisfied(tasks, n, until))
        return (int)count_done(tasks, n);
    struct bki_waiter *waiters = bki_zalloc(n * sizeof *waiters);
    if (!waiters)
        return bk_fail(-ENOMEM, "no memory to wait for %zu tasks", n);
    struct watch watch = {.self = bki_self()};
    if (limit.ns != BK_FOREVER_NS)
        r = bki_timer_start(bki_loop, &watch.timer, bk_time_add(bk_now(), limit).ns, watch_timeout);
    for (size_t i = 0; i < n; i++) {
        waiters[i].task = watch.self;
        if (!bk_task_done(tasks[i]))
            bki_list_push_back(&tasks[i]->joiners, &waiters[i].link);
    }
    while (r == 0 && !watch.timed_out && !satisfied(tasks, n, until))
        r = bki_park(&wait_kind, tasks);
    for (size_t i = 0; i < n; i++)
        if (bki_list_linked(&waiters[i].link))
            bki_list_remove(&waiters[i].link);
    bki_timer_stop(bki_loop, &watch.timer);
    bki_free(waiters);
    return r < 0 ? r : (int)count_done(tasks, n);
}
