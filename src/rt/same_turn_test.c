/* SPDX-License-Identifier: MIT
 * One rule for everything that tasks wait for: when something is handed over and the waiter is
 * cancelled in one turn, the first of the two counts.  A waiter that was cancelled first gets
 * nothing, and the next in line has it; one that was granted it first returns it, and the cancel
 * shows at its next call.  What is only told (set, settled, ended) stays for whoever asks again,
 * and the cancel shows at once in either order, as in asyncio. */
#include <beck/channel.h>
#include <beck/future.h>
#include <beck/group.h>
#include <beck/queue.h>
#include <beck/select.h>

#include "tests/run_helper.h"

/* What the tasks wait for; give makes it there once (news: for everybody). */
static struct {
    bk_lock *lock;
    bk_sem *sem;
    bk_cond *cond;
    bk_event *event, *go;
    bk_queue *empty, *full, *newest, *least, *busy;
    bk_channel *none, *filled, *meeting;
    bk_future *future;
    bk_group *group;
    bk_task *child;
    bk_as_completed *ended;
} on;

static int until_go(void *ctx)
{
    (void)ctx;
    return bk_event_wait(on.go);
}

static int until_cancelled(void *ctx)
{
    (void)ctx;
    return bk_sleep_forever();
}

static bk_msg *letter(void)
{
    bk_msg *msg = NULL;
    bk_msg_copy(&msg, "x", 1);
    return msg;
}

/* ---- The waits: 0 or more when they have it ---- */

static int wait_lock(void)
{
    return bk_lock_acquire(on.lock);
}

static int wait_sem(void)
{
    return bk_sem_acquire(on.sem);
}

static int wait_get(void)
{
    void *item;
    return bk_queue_get(on.empty, &item);
}

static int wait_get_newest(void)
{
    void *item;
    return bk_queue_get(on.newest, &item);
}

static int wait_get_least(void)
{
    void *item;
    return bk_queue_get(on.least, &item);
}

static int wait_put(void)
{
    return bk_queue_put(on.full, NULL);
}

static int wait_join(void)
{
    return bk_queue_join(on.busy);
}

static int receive(bk_channel *channel)
{
    bk_msg *msg = NULL;
    int r = bk_channel_recv(channel, &msg);
    bk_msg_free(&msg);
    return r;
}

static int send(bk_channel *channel)
{
    bk_msg *msg = letter();
    int r = bk_channel_send(channel, &msg);
    bk_msg_free(&msg);
    return r;
}

static int wait_recv(void)
{
    return receive(on.none);
}

static int wait_send(void)
{
    return send(on.filled);
}

static int wait_meet_sender(void)
{
    return receive(on.meeting);
}

static int wait_meet_receiver(void)
{
    return send(on.meeting);
}

static int wait_cond(void)
{
    int r = bk_lock_acquire(on.lock);
    if (r == 0) {
        r = bk_cond_wait(on.cond);
        bk_lock_release(on.lock);
    }
    return r;
}

static int wait_go(void)
{
    return bk_group_go(on.group, until_cancelled, NULL, NULL);
}

static int wait_ended(void)
{
    size_t index;
    return bk_as_completed_next(on.ended, &index);
}

static int wait_event(void)
{
    return bk_event_wait(on.event);
}

static int wait_future(void)
{
    return bk_future_wait(on.future, NULL, NULL);
}

static int wait_task(void)
{
    return bk_task_wait_shielded(on.child, NULL);
}

static int wait_first(bk_case c)
{
    bk_case cases[] = {c, bk_case_sleep(bk_forever())};
    int r = bk_select(cases, 2);
    return r < 0 ? r : cases[r].result;
}

static int wait_select_get(void)
{
    void *item;
    return wait_first(bk_case_get(on.empty, &item));
}

static int wait_select_put(void)
{
    return wait_first(bk_case_put(on.full, NULL));
}

static int wait_select_recv(void)
{
    bk_msg *msg = NULL;
    int r = wait_first(bk_case_recv(on.none, &msg));
    bk_msg_free(&msg);
    return r;
}

static int wait_select_send(void)
{
    bk_msg *msg = letter();
    int r = wait_first(bk_case_send(on.filled, &msg));
    bk_msg_free(&msg);
    return r;
}

static int wait_select_event(void)
{
    return wait_first(bk_case_event(on.event));
}

/* ---- Making it there ---- */

static int give_lock(void)
{
    return bk_lock_release(on.lock);
}

static int give_sem(void)
{
    return bk_sem_release(on.sem);
}

static int give_item(void)
{
    return bk_queue_try_put(on.empty, NULL);
}

static int give_newest(void)
{
    return bk_queue_try_put(on.newest, NULL);
}

static int give_least(void)
{
    return bk_queue_try_put(on.least, NULL);
}

static int give_room(void)
{
    void *item;
    return bk_queue_try_get(on.full, &item) - 1;
}

static int try_send(bk_channel *channel)
{
    bk_msg *msg = letter();
    int r = bk_channel_try_send(channel, &msg);
    bk_msg_free(&msg);
    return r;
}

static int try_receive(bk_channel *channel)
{
    bk_msg *msg = NULL;
    int r = bk_channel_try_recv(channel, &msg);
    bk_msg_free(&msg);
    return r - 1;
}

static int give_msg(void)
{
    return try_send(on.none);
}

static int give_place(void)
{
    return try_receive(on.filled);
}

static int meet_receiver(void)
{
    return try_send(on.meeting);
}

static int meet_sender(void)
{
    return try_receive(on.meeting);
}

static int give_notify(void)
{
    bk_lock_try_acquire(on.lock);
    bk_cond_notify(on.cond, 1);
    return bk_lock_release(on.lock);
}

static int give_go(void)
{
    return bk_event_set(on.go);
}

static int give_event(void)
{
    return bk_event_set(on.event);
}

static int give_future(void)
{
    return bk_future_set(on.future, 0, NULL);
}

static int give_done(void)
{
    return bk_queue_task_done(on.busy);
}

/* ---- The test ---- */

static int compare(const void *a, const void *b)
{
    return (a > b) - (a < b);
}

static bk_queue *queue_of(enum bk_queue_order order, bool full)
{
    bk_queue *queue = NULL;
    bk_queue_opts opts = {.limit = 1, .order = order};
    if (order == BK_PRIORITY)
        opts.compare = compare;
    bk_queue_new(&queue, &opts);
    if (full)
        bk_queue_try_put(queue, NULL);
    return queue;
}

/* Everything as it is when two wait for it. */
static void open_all(void)
{
    bk_lock_new(&on.lock, NULL);
    bk_sem_new(&on.sem, 0, 0, NULL);
    bk_cond_new(&on.cond, on.lock, NULL);
    bk_event_new(&on.event, NULL);
    bk_event_new(&on.go, NULL);
    bk_future_new(&on.future);
    on.empty = queue_of(BK_FIFO, false);
    on.newest = queue_of(BK_LIFO, false);
    on.least = queue_of(BK_PRIORITY, false);
    on.full = queue_of(BK_FIFO, true);
    on.busy = queue_of(BK_FIFO, true);
    bk_channel_new(&on.none, NULL);
    bk_channel_new(&on.filled, &(bk_channel_opts){.limit = 1});
    bk_channel_new(&on.meeting, &(bk_channel_opts){.rendezvous = true});
    try_send(on.filled);
    bk_group_open(&on.group, &(bk_group_opts){.limit = 1});
    bk_group_go_task(on.group, &on.child, until_go, NULL, NULL);
    bk_task *tasks[] = {on.child, bk_task_current()}; /* one ends, one does not */
    bk_as_completed_new(&on.ended, tasks, 2, bk_forever());
}

static void close_all(void)
{
    bk_group_close(&on.group, -ECANCELED);
    bk_as_completed_free(&on.ended);
    bk_task_free(&on.child);
    bk_channel_free(&on.meeting);
    bk_channel_free(&on.filled);
    bk_channel_free(&on.none);
    bk_queue_free(&on.busy);
    bk_queue_free(&on.full);
    bk_queue_free(&on.least);
    bk_queue_free(&on.newest);
    bk_queue_free(&on.empty);
    bk_future_free(&on.future);
    bk_event_free(&on.go);
    bk_event_free(&on.event);
    bk_cond_free(&on.cond);
    bk_sem_free(&on.sem);
    bk_lock_free(&on.lock);
}

struct waiter {
    int number;
    int (*wait)(void);
};

static int say_what_came(void *ctx)
{
    struct waiter *w = ctx;
    int r = w->wait();
    trace("%d:%s", w->number, r >= 0 ? "has" : r == -ECANCELED ? "cancelled" : bk_strerror(r));
    if (r >= 0 && bk_yield() == -ECANCELED)
        trace("%d:cancelled", w->number);
    return 0;
}

struct scene {
    const char *name;
    int (*wait)(void);
    int (*give)(void);
    bool by_child; /* give lets a child end, which is what gives */
    bool holder;   /* main has the lock */
};

/* Two wait, and the first of them is cancelled in the turn in which something is given. */
static const char *play(const struct scene *scene, bool cancel_first)
{
    struct waiter one = {1, scene->wait}, two = {2, scene->wait};
    open_all();
    if (scene->holder)
        bk_lock_acquire(on.lock);
    bk_task *first = start(say_what_came, &one), *second = start(say_what_came, &two);
    let_run(2);
    trace_reset();
    if (cancel_first && !scene->by_child)
        bk_task_cancel(first);
    if (scene->give() != 0)
        trace("not given");
    if (scene->by_child && !cancel_first)
        let_run(1); /* the child has ended, the waiters have not run yet */
    if (scene->by_child || !cancel_first)
        bk_task_cancel(first);
    let_run(4);
    bk_task_cancel(second);
    finish(&first);
    finish(&second);
    close_all();
    return trace_text();
}

static const struct scene handed[] = {
    {.name = "lock", .wait = wait_lock, .give = give_lock, .holder = true},
    {.name = "semaphore", .wait = wait_sem, .give = give_sem},
    {.name = "queue get", .wait = wait_get, .give = give_item},
    {.name = "queue get, newest", .wait = wait_get_newest, .give = give_newest},
    {.name = "queue get, least", .wait = wait_get_least, .give = give_least},
    {.name = "queue put", .wait = wait_put, .give = give_room},
    {.name = "channel receive", .wait = wait_recv, .give = give_msg},
    {.name = "channel send", .wait = wait_send, .give = give_place},
    {.name = "rendezvous receive", .wait = wait_meet_sender, .give = meet_receiver},
    {.name = "rendezvous send", .wait = wait_meet_receiver, .give = meet_sender},
    {.name = "select get", .wait = wait_select_get, .give = give_item},
    {.name = "select put", .wait = wait_select_put, .give = give_room},
    {.name = "select receive", .wait = wait_select_recv, .give = give_msg},
    {.name = "select send", .wait = wait_select_send, .give = give_place},
    {.name = "group's limit", .wait = wait_go, .give = give_go, .by_child = true},
    {.name = "as_completed", .wait = wait_ended, .give = give_go, .by_child = true},
};

LOOP_TEST(C104_C113_C120_S1_S4_Q1_who_was_cancelled_first_is_passed_over)
{
    for (size_t i = 0; i < sizeof handed / sizeof *handed; i++) {
        const char *got = play(&handed[i], true);
        if (strcmp(got, "1:cancelled 2:has") != 0)
            fprintf(stderr, "%s:\n", handed[i].name);
        CHECK_STR(got, "1:cancelled 2:has");
    }
}

/* asyncio raises the cancel and passes on what was handed over.  Here a call that returns an error
 * has taken nothing, and one that has taken something says so: a level-triggered cancel shows at
 * the next call. */
LOOP_TEST(C104_differs_who_was_granted_it_first_has_it)
{
    for (size_t i = 0; i < sizeof handed / sizeof *handed; i++) {
        const char *got = play(&handed[i], false);
        if (strcmp(got, "1:has 1:cancelled 2:cancelled") != 0)
            fprintf(stderr, "%s:\n", handed[i].name);
        CHECK_STR(got, "1:has 1:cancelled 2:cancelled");
    }
}

static const struct scene told[] = {
    {.name = "event", .wait = wait_event, .give = give_event},
    {.name = "select event", .wait = wait_select_event, .give = give_event},
    {.name = "future", .wait = wait_future, .give = give_future},
    {.name = "queue join", .wait = wait_join, .give = give_done},
    {.name = "task", .wait = wait_task, .give = give_go, .by_child = true},
    {.name = "condition",
     .wait = wait_cond,
     .give = give_notify}, /* the notify goes on to the next */
};

LOOP_TEST(C043_C069_C110_T3_S2_S3_what_is_only_told_shows_the_cancel_at_once)
{
    for (size_t i = 0; i < 2 * (sizeof told / sizeof *told); i++) {
        const char *got = play(&told[i / 2], i % 2 == 0);
        if (strcmp(got, "1:cancelled 2:has") != 0)
            fprintf(stderr, "%s, %s first:\n", told[i / 2].name, i % 2 ? "told" : "cancelled");
        CHECK_STR(got, "1:cancelled 2:has");
    }
}

CHECK_MAIN(TEST(C104_C113_C120_S1_S4_Q1_who_was_cancelled_first_is_passed_over),
           TEST(C104_differs_who_was_granted_it_first_has_it),
           TEST(C043_C069_C110_T3_S2_S3_what_is_only_told_shows_the_cancel_at_once))
