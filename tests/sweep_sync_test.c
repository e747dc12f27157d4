/* SPDX-License-Identifier: MIT
 * Sweeps over locks, semaphores, conditions, barriers, events and futures: what was handed over is
 * with somebody, always. */
#include "rt/sync.h"
#include "tests/sweep.h"

/* ---- Locks, semaphores, conditions ---- */

struct room {
    bk_lock *lock;
    bk_sem *sem;
    bk_cond *cond;
    bk_event *event;
    bk_future *future;
    int inside, most;    /* tasks that hold what admits them */
    int tickets, served; /* what the condition is about */
    int fewer_tickets;   /* than two */
    int n_visits;
};

static int open_room(void *ctx)
{
    struct room *m = ctx;
    int r = bk_lock_new(&m->lock, "door");
    if (r == 0)
        r = bk_sem_new(&m->sem, 2, 2, "seats");
    if (r == 0)
        r = bk_cond_new(&m->cond, m->lock, "tickets");
    if (r == 0)
        r = bk_event_new(&m->event, "opening");
    return r < 0 ? r : bk_future_new(&m->future);
}

static int open_room_with_one_ticket(void *ctx)
{
    struct room *m = ctx;
    m->fewer_tickets = 1;
    return open_room(ctx);
}

static void close_room(void *ctx)
{
    struct room *m = ctx;
    bk_cond_free(&m->cond);
    bk_lock_free(&m->lock);
    bk_sem_free(&m->sem);
    bk_event_free(&m->event);
    bk_future_free(&m->future);
}

static int visit(struct room *m)
{
    m->inside++;
    m->n_visits++;
    if (m->inside > m->most)
        m->most = m->inside;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    m->inside--;
    return r;
}

static int visit_under_lock(void *ctx)
{
    struct room *m = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_lock_acquire(m->lock);
        if (r < 0)
            return r;
        r = visit(m);
        bk_lock_release(m->lock);
    }
    return r;
}

static void the_lock_is_free(void *ctx, int result)
{
    struct room *m = ctx;
    (void)result;
    if (m->inside != 0 || m->most > 1)
        sweep_lost("%d inside, %d at most", m->inside, m->most);
    if (bk_lock_try_acquire(m->lock) != 0)
        sweep_lost("nobody holds the lock, yet it is held");
    else
        bk_lock_release(m->lock);
}

static int visit_with_permit(void *ctx)
{
    struct room *m = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_sem_acquire(m->sem);
        if (r < 0)
            return r;
        r = visit(m);
        if (bk_sem_release(m->sem) < 0)
            sweep_lost("one permit too many");
    }
    return r;
}

static int visit_now(void *ctx)
{
    return visit(ctx);
}

static int visit_twice_with_permit(void *ctx)
{
    struct room *m = ctx;
    int r = bk_sem_with(m->sem, visit_now, m);
    return r < 0 ? r : bk_sem_with(m->sem, visit_now, m);
}

static void permits_are_back(void *ctx, int result)
{
    struct room *m = ctx;
    (void)result;
    if (bk_sem_value(m->sem) != 2 || m->inside != 0 || m->most > 2)
        sweep_lost("%zu permits, %d inside", bk_sem_value(m->sem), m->inside);
}

/* Takes tickets, under the lock, until `wanted` have been taken by anybody. */
static int take_tickets(struct room *m, int n, int wanted)
{
    int r = bk_lock_acquire(m->lock);
    if (r < 0)
        return r;
    while (r == 0 && n > 0 && m->served < wanted) {
        while (r == 0 && m->tickets == 0 && m->served < wanted)
            r = bk_cond_wait(m->cond);
        if (!bki_lock_is_mine(m->lock))
            sweep_lost("bk_cond_wait returned %d without the lock", r);
        if (r == 0 && m->tickets > 0) {
            m->tickets--;
            m->served++;
            n--;
            bk_cond_notify_all(m->cond);
            r = visit(m); /* with the lock, so that others have to wait for it */
        }
    }
    bk_lock_release(m->lock);
    return r;
}

static int take_one_ticket(void *ctx)
{
    struct room *m = ctx;
    return take_tickets(m, 1, 2 - m->fewer_tickets);
}

/* Also the one that a cancelled subject does not take: it must hear of it. */
static int take_the_other_tickets(void *ctx)
{
    struct room *m = ctx;
    return take_tickets(m, 2, 2 - m->fewer_tickets);
}

/* One notify for each ticket. */
static int hand_out_tickets(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    for (int i = 0; r == 0 && i < 2 - m->fewer_tickets; i++) {
        r = bk_lock_acquire(m->lock);
        if (r < 0)
            return r;
        m->tickets++;
        bk_cond_notify(m->cond, 1);
        bk_lock_release(m->lock);
    }
    return r;
}

static bool there_are_tickets(void *ctx)
{
    const struct room *m = ctx;
    return m->tickets > 0;
}

static int wait_for_a_ticket(struct room *m)
{
    int r = bk_cond_wait_for(m->cond, there_are_tickets, m);
    if (!bki_lock_is_mine(m->lock))
        sweep_lost("bk_cond_wait_for returned %d without the lock", r);
    if (r == 0) {
        m->tickets--;
        m->served++;
    }
    return r;
}

static int wait_for_a_ticket_with_lock(void *ctx)
{
    struct room *m = ctx;
    return wait_for_a_ticket(m);
}

static int want_a_ticket(void *ctx)
{
    struct room *m = ctx;
    return bk_lock_with(m->lock, wait_for_a_ticket_with_lock, m);
}

static void tickets_are_accounted_for(void *ctx, int result)
{
    struct room *m = ctx;
    the_lock_is_free(ctx, result);
    if (m->tickets + m->served != 2 && !sweep_excused())
        sweep_lost("%d tickets taken, %d left", m->served, m->tickets);
}

/* The same, when the subject is already first in line. */
static int take_the_ticket_later(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : take_the_other_tickets(ctx);
}

static int hand_out_tickets_later(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : hand_out_tickets(ctx);
}

static void all_tickets_are_taken(void *ctx, int result)
{
    struct room *m = ctx;
    the_lock_is_free(ctx, result);
    if ((m->tickets != 0 || m->served != 2 - m->fewer_tickets) && !sweep_excused())
        sweep_lost("%d tickets taken, %d left", m->served, m->tickets);
}

/* Three permits come at once while one waits: those who ask before it has run wait behind it. */

static int open_empty_room(void *ctx)
{
    struct room *m = ctx;
    return bk_sem_new(&m->sem, 0, 3, "seats");
}

static int release_three(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    for (int i = 0; i < 3; i++)
        bk_sem_release(m->sem);
    return r;
}

static int come_later(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    return r < 0 ? r : bk_sem_acquire(m->sem);
}

static int come_first(void *ctx)
{
    struct room *m = ctx;
    int r = bk_sem_acquire(m->sem);
    m->n_visits += r == 0;
    return r;
}

static void one_permit_for_each(void *ctx, int result)
{
    struct room *m = ctx;
    size_t want = m->n_visits ? 0 : 1;
    (void)result;
    if (bk_sem_value(m->sem) != want && !sweep_excused())
        sweep_lost("%zu permits are left, not %zu", bk_sem_value(m->sem), want);
}

/* ---- Barriers: tasks let through have a place each, once in its group ---- */

struct gate {
    bk_barrier *barrier;
    int n_places[3]; /* how often each place was given */
    int n_broken, n_cancelled;
};

static int open_gate(void *ctx)
{
    struct gate *g = ctx;
    return bk_barrier_new(&g->barrier, 3, "gate");
}

static void close_gate(void *ctx)
{
    struct gate *g = ctx;
    bk_barrier_free(&g->barrier);
}

static int pass_gate(void *ctx)
{
    struct gate *g = ctx;
    int r = bk_barrier_wait(g->barrier);
    if (r >= 0)
        g->n_places[r]++;
    g->n_broken += r == -BK_EBROKEN;
    g->n_cancelled += r == -ECANCELED;
    return r < 0 && r != -BK_EBROKEN ? r : 0;
}

static int pass_gate_later(void *ctx)
{
    int r = bk_yield();
    return r < 0 ? r : pass_gate(ctx);
}

static int pass_gate_twice(void *ctx)
{
    int r = pass_gate(ctx);
    return r < 0 ? r : pass_gate(ctx);
}

/* Lets go whoever is still waiting, after all have had their chance. */
static int break_gate_at_last(void *ctx)
{
    struct gate *g = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 12; i++)
        r = bk_yield();
    bk_barrier_abort(g->barrier);
    return r;
}

static void groups_are_whole(void *ctx, int result)
{
    struct gate *g = ctx;
    (void)result;
    int n_groups = 0, n_given = 0;
    for (int i = 0; i < 3; i++) {
        n_groups = g->n_places[i] > n_groups ? g->n_places[i] : n_groups;
        n_given += g->n_places[i];
    }
    /* Who was cancelled in the turn in which its group became complete leaves its place empty. */
    if (3 * n_groups - n_given > g->n_cancelled)
        sweep_lost("places were given %d, %d and %d times", g->n_places[0], g->n_places[1],
                   g->n_places[2]);
    if (bk_barrier_waiting(g->barrier) != 0)
        sweep_lost("%zu still count as waiting", bk_barrier_waiting(g->barrier));
}

/* ---- Events and futures ---- */

static int open_the_door(void *ctx)
{
    struct room *m = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    bk_event_set(m->event);
    bk_event_clear(m->event); /* those who waited wake all the same */
    bk_future_set(m->future, 5, m);
    return r;
}

static int wait_for_the_door(void *ctx)
{
    struct room *m = ctx;
    return bk_event_wait(m->event);
}

static int wait_for_the_future(void *ctx)
{
    struct room *m = ctx;
    int result = 0;
    void *value = NULL;
    int r = bk_future_wait(m->future, &result, &value);
    if (r == 0 && (result != 5 || value != m))
        sweep_lost("the future is %d", result);
    return r;
}

static void the_future_is_untouched(void *ctx, int result)
{
    struct room *m = ctx;
    int value = 0;
    (void)result;
    if (bk_future_get(m->future, &value, NULL) == 0 && value != 5)
        sweep_lost("the future is %d", value);
    if (bk_future_cancelled(m->future))
        sweep_lost("a waiter's cancel has cancelled the future");
}

#define ROOM .state_size = sizeof(struct room), .open = open_room, .close = close_room

static const struct sweep_scenario scenarios[] = {
    {.name = "lock", ROOM, .subject = visit_under_lock,
     .helpers = {visit_under_lock, visit_under_lock}, .helpers_finish = true,
     .check = the_lock_is_free},
    {.name = "semaphore", ROOM, .subject = visit_with_permit,
     .helpers = {visit_with_permit, visit_with_permit, visit_with_permit},
     .helpers_finish = true, .check = permits_are_back},
    {.name = "semaphore, with a function", ROOM, .subject = visit_twice_with_permit,
     .helpers = {visit_with_permit, visit_with_permit, visit_with_permit},
     .helpers_finish = true, .check = permits_are_back},
    {.name = "semaphore, several permits", .state_size = sizeof(struct room),
     .open = open_empty_room, .close = close_room, .subject = come_first,
     .helpers = {release_three, come_later, come_later}, .helpers_finish = true,
     .check = one_permit_for_each},
    {.name = "condition", ROOM, .subject = take_one_ticket,
     .helpers = {hand_out_tickets, take_the_other_tickets, visit_under_lock},
     .helpers_finish = true, .check = all_tickets_are_taken},
    {.name = "condition, last in line", ROOM, .subject = take_one_ticket,
     .helpers = {take_the_other_tickets, hand_out_tickets}, .helpers_finish = true,
     .check = all_tickets_are_taken},
    {.name = "condition, one notify for two", .state_size = sizeof(struct room),
     .open = open_room_with_one_ticket, .close = close_room, .subject = take_one_ticket,
     .helpers = {hand_out_tickets, take_the_other_tickets}, .helpers_finish = true,
     .check = all_tickets_are_taken},
    {.name = "condition, the first of two", .state_size = sizeof(struct room),
     .open = open_room_with_one_ticket, .close = close_room, .subject = take_one_ticket,
     .helpers = {take_the_ticket_later, hand_out_tickets_later}, .helpers_finish = true,
     .check = all_tickets_are_taken},
    {.name = "condition, wait for a predicate", ROOM, .subject = want_a_ticket,
     .helpers = {hand_out_tickets, want_a_ticket}, .helpers_finish = true,
     .check = tickets_are_accounted_for},
    {.name = "barrier", .state_size = sizeof(struct gate), .open = open_gate,
     .close = close_gate, .subject = pass_gate,
     .helpers = {pass_gate_later, pass_gate_later, break_gate_at_last}, .helpers_finish = true,
     .check = groups_are_whole},
    {.name = "barrier, twice", .state_size = sizeof(struct gate), .open = open_gate,
     .close = close_gate, .subject = pass_gate_twice,
     .helpers = {pass_gate_twice, pass_gate_twice, break_gate_at_last},
     .helpers_finish = true, .check = groups_are_whole},
    {.name = "event", ROOM, .subject = wait_for_the_door,
     .helpers = {open_the_door, wait_for_the_door}, .helpers_finish = true},
    {.name = "future", ROOM, .subject = wait_for_the_future,
     .helpers = {open_the_door, wait_for_the_future}, .helpers_finish = true,
     .check = the_future_is_untouched},
};

SWEEP_MAIN(scenarios)
