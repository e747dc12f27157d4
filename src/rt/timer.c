/* SPDX-License-Identifier: MIT
 * Timers, and sleeping on them. */
#include "rt/rt.h"

#include <stdio.h>

int bki_timer_start(struct bk_loop *loop, struct bki_timer *timer, int64_t deadline_ns,
                    void (*fire)(struct bki_timer *timer))
{
    timer->fire = fire;
    int r = bki_heap_insert(&loop->timers, &timer->node, deadline_ns);
    if (r < 0)
        return bk_fail(r, "no memory for a timer");
    /* A deadline that has passed must strike before anything suspended runs on. */
    if (deadline_ns <= loop->now_ns)
        loop->budget = 0;
    return 0;
}

void bki_timer_stop(struct bk_loop *loop, struct bki_timer *timer)
{
    if (bki_heap_contains(&timer->node))
        bki_heap_remove(&loop->timers, &timer->node);
}

struct sleeper {
    struct bki_timer timer;
    struct bk_task *task;
    int64_t deadline_ns;
};

static const struct bki_wait_kind sleep_kind = {
    .what = "sleep", .about = "for %w more", .at = {offsetof(struct sleeper, deadline_ns)}};
/* A main task that sleeps for ever waits for a signal or another thread to end it: no deadlock. */
static const struct bki_wait_kind forever_kind = {.what = "sleep for ever"};
static const struct bki_wait_kind main_forever_kind = {.what = "sleep for ever", .external = true};

static void wake_sleeper(struct bki_timer *timer)
{
    struct sleeper *sleeper = bki_container(timer, struct sleeper, timer);
    bki_wake(sleeper->task);
}

static int sleep_until(int64_t deadline_ns)
{
    struct bk_loop *loop = bki_loop;
    struct sleeper sleeper = {.task = loop->current, .deadline_ns = deadline_ns};
    int r = bki_timer_start(loop, &sleeper.timer, deadline_ns, wake_sleeper);
    if (r < 0)
        return r;
    r = bki_park(&sleep_kind, &sleeper);
    bki_timer_stop(loop, &sleeper.timer);
    return r;
}

int bk_sleep(bk_duration duration)
{
    if (duration.ns <= 0)
        return bk_yield();
    return bk_sleep_until(bk_time_add(bk_now(), duration));
}

int bk_sleep_until(bk_time when)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (when.ns == INT64_MAX)
        return bk_sleep_forever();
    return sleep_until(when.ns);
}

int bk_sleep_forever(void)
{
    bool is_main = bki_self() == bki_loop->main_task;
    int r = bki_check_cancel();
    while (r == 0)
        r = bki_park(is_main ? &main_forever_kind : &forever_kind, NULL);
    return r;
}
