/* SPDX-License-Identifier: MIT
 * Handing out memory for messages that are still coming in. */
#include "rt/intake.h"

#define PATIENCE_NS (BKI_INTAKE_PATIENCE_SECONDS * INT64_C(1000000000))
#define LOOK_AGAIN_NS INT64_C(1000000000) /* when somebody was told to let go */

enum line { HOLDERS, NEWCOMERS };

struct waiting {
    struct bki_waiter w;
    struct bki_intake *intake;
    size_t held;      /* what it is to hold then */
    int64_t since_ns; /* of the wait */
};

static const struct bki_wait_kind wait_intake = {.what = "memory for a message that is coming in"};

void bki_intake_init(struct bki_intake_pool *pool)
{
    bki_list_init(&pool->holders);
    bki_list_init(&pool->lines[HOLDERS]);
    bki_list_init(&pool->lines[NEWCOMERS]);
}

/* The first who waits.  One who was cancelled and has yet to run does not any more: that finds it
 * alone. */
static struct waiting *first_of(struct bki_list *line)
{
    struct bki_list *node;
    while ((node = bki_list_first(line))) {
        struct waiting *first = bki_container(node, struct waiting, w.link);
        if (first->w.task->state == BKI_PARKED)
            return first;
        bki_list_remove(node);
        bki_list_init(node);
    }
    return NULL;
}

static struct waiting *next_of(struct bki_intake_pool *pool)
{
    struct waiting *next = first_of(&pool->lines[HOLDERS]);
    return next ? next : first_of(&pool->lines[NEWCOMERS]);
}

static bool fits(const struct bk_loop *loop, const struct bki_intake *intake, size_t held)
{
    size_t others = loop->intake.held - intake->held, limit = loop->opts.max_intake;
    return others <= limit && held <= limit - others;
}

/* Nobody else would go on, so that nothing would ever be released. */
static bool all_wait(const struct bki_intake_pool *pool)
{
    return pool->n_active == 0;
}

/* intake is not among those who wait any more, or never was. */
static void hold(struct bk_loop *loop, struct bki_intake *intake, size_t held)
{
    struct bki_intake_pool *pool = &loop->intake;
    if (!fits(loop, intake, held))
        pool->beyond = intake;
    if (intake->held > 0)
        bki_list_remove(&intake->link);
    bki_list_push_back(&pool->holders, &intake->link);
    pool->held += held - intake->held;
    intake->held = held;
    intake->since_ns = bki_clock_ns(loop);
}

/* Hands out what there is. */
static void move_on(struct bk_loop *loop)
{
    struct bki_intake_pool *pool = &loop->intake;
    struct waiting *next;
    while ((next = next_of(pool)) && (fits(loop, next->intake, next->held) || all_wait(pool))) {
        next->intake->waiting = false;
        pool->n_active++;
        hold(loop, next->intake, next->held);
        bki_grant(&next->w, 0);
    }
    if (!next)
        bki_timer_stop(loop, &pool->timer);
}

/* ---- Those who keep others waiting ---- */

static int64_t waited_since(struct bki_intake_pool *pool)
{
    const struct waiting *a = first_of(&pool->lines[HOLDERS]);
    const struct waiting *b = first_of(&pool->lines[NEWCOMERS]);
    int64_t since = a ? a->since_ns : INT64_MAX;
    return b && b->since_ns < since ? b->since_ns : since;
}

/* Somebody who was granted nothing since then, and whose peer has not done its part either. */
static struct bki_intake *idle_since(const struct bki_intake_pool *pool, int64_t since_ns)
{
    struct bki_list *node = bki_list_first(&pool->holders);
    for (; node; node = bki_list_next(&pool->holders, node)) {
        struct bki_intake *intake = bki_container(node, struct bki_intake, link);
        bool may_end = intake->let_go && !intake->whole && !intake->waiting;
        if (may_end && intake->since_ns <= since_ns)
            return intake;
    }
    return NULL;
}

static void patience_over(struct bki_timer *timer)
{
    struct bki_intake_pool *pool = bki_container(timer, struct bki_intake_pool, timer);
    struct bk_loop *loop = bki_container(pool, struct bk_loop, intake);
    int64_t now = bki_clock_ns(loop), since = waited_since(pool);
    if (since == INT64_MAX)
        return;
    int64_t again = since + PATIENCE_NS;
    if (again <= now) {
        struct bki_intake *idle;
        while ((idle = idle_since(pool, now - PATIENCE_NS))) {
            idle->since_ns = now;
            idle->let_go(idle);
        }
        again = now + LOOK_AGAIN_NS;
    }
    /* Cannot fail once it has fired: the heap has had a place for it. */
    if (next_of(pool) && !bki_heap_contains(&timer->node))
        bki_timer_start(loop, timer, again, patience_over);
}

static int arm(struct bk_loop *loop, int64_t now)
{
    struct bki_timer *timer = &loop->intake.timer;
    if (bki_heap_contains(&timer->node))
        return 0;
    return bki_timer_start(loop, timer, now + PATIENCE_NS, patience_over);
}

/* ---- The calls ---- */

static int wait_in_line(struct bk_loop *loop, struct bki_intake *intake, size_t held)
{
    struct bki_intake_pool *pool = &loop->intake;
    enum line line = intake->held > 0 ? HOLDERS : NEWCOMERS;
    struct waiting self = {.intake = intake, .held = held, .since_ns = bki_clock_ns(loop)};
    int r = arm(loop, self.since_ns);
    if (r < 0)
        return r;
    bki_task_trim(bki_self()); /* the line may be long */
    if (line == HOLDERS) {
        intake->waiting = true;
        pool->n_active--;
        move_on(loop); /* it may have been the last that did not wait */
    }
    bki_crowd_join(&pool->crowd);
    r = bki_wait(&pool->lines[line], &self.w, &wait_intake, pool);
    bki_crowd_leave(&pool->crowd);
    if (r < 0 && line == HOLDERS) {
        intake->waiting = false;
        pool->n_active++;
    }
    if (r < 0)
        move_on(loop); /* those behind it may want less */
    return r;
}

bool bki_intake_try(struct bki_intake *intake, size_t size)
{
    struct bk_loop *loop = bki_loop;
    struct bki_intake_pool *pool = &loop->intake;
    if (size <= bki_intake_room(intake))
        return true;
    size_t held = size - BKI_INTAKE_OWN;
    bool holds = intake->held > 0;
    bool first = holds ? !first_of(&pool->lines[HOLDERS]) : !next_of(pool);
    bool alone = pool->n_active == holds; /* nobody else goes on */
    if (pool->beyond != intake && !(first && (alone || fits(loop, intake, held))))
        return false;
    pool->n_active += !holds;
    hold(loop, intake, held);
    return true;
}

int bki_intake_ask(struct bki_intake *intake, size_t size)
{
    int r = bki_check_cancel();
    if (r < 0 || bki_intake_try(intake, size))
        return r;
    return wait_in_line(bki_loop, intake, size - BKI_INTAKE_OWN);
}

void bki_intake_release(struct bk_loop *loop, struct bki_intake *intake)
{
    struct bki_intake_pool *pool = &loop->intake;
    intake->whole = false;
    if (intake->held == 0)
        return;
    pool->held -= intake->held;
    pool->n_active--;
    intake->held = 0;
    bki_list_remove(&intake->link);
    if (pool->beyond == intake)
        pool->beyond = NULL;
    bki_crowd_look(&pool->crowd);
    move_on(loop);
}
