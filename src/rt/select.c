/* SPDX-License-Identifier: MIT
 * Waiting for the first of several things. */
#include "rt/select.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "rt/about.h"
#include "rt/owner.h"

#define FEW 8 /* cases whose state lies in the caller's frame */

bool bki_select_claim(struct bki_select *select, const void *by)
{
    const void *nobody = NULL;
    return atomic_compare_exchange_strong(&select->winner, &nobody, by);
}

int bki_case_join(struct bki_case_state *state, struct bki_select *select, struct bki_list *line,
                  void *value)
{
    state->w = (struct bki_waiter){.task = bki_self(), .value = value, .select = select};
    bki_list_push_back(line, &state->w.link);
    return 0;
}

void bki_case_leave(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    if (bki_list_linked(&state->w.link))
        bki_list_remove(&state->w.link);
}

/* ---- Time limits ---- */

static int check_after(bk_case *c, struct bki_case_state *state)
{
    state->sleep.deadline_ns = bk_time_add(bk_now(), (bk_duration){c->time_ns}).ns;
    return 0;
}

static int check_until(bk_case *c, struct bki_case_state *state)
{
    state->sleep.deadline_ns = c->time_ns;
    return 0;
}

static int try_sleep(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    return state->sleep.deadline_ns <= bk_now().ns ? 0 : -EAGAIN;
}

static void time_has_come(struct bki_timer *timer)
{
    struct bki_sleep_case *s = bki_container(timer, struct bki_sleep_case, timer);
    if (bki_select_claim(s->select, s))
        bki_wake(s->task);
}

static int join_sleep(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    struct bki_sleep_case *s = &state->sleep;
    (void)c;
    s->select = select;
    s->task = bki_self();
    if (s->deadline_ns == INT64_MAX)
        return 0;
    return bki_timer_start(bki_loop, &s->timer, s->deadline_ns, time_has_come);
}

static void leave_sleep(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    bki_timer_stop(bki_loop, &state->sleep.timer);
}

static int finish_sleep(bk_case *c, struct bki_case_state *state)
{
    (void)c, (void)state;
    return 0;
}

static const struct bki_wait_kind sleep_kind = {.what = "sleep"};

#define SLEEP                                                                                      \
    .wait = &sleep_kind, .try_now = try_sleep, .join = join_sleep, .leave = leave_sleep,           \
    .finish = finish_sleep

static const struct bki_case_kind after_case = {.check = check_after, SLEEP};
static const struct bki_case_kind until_case = {.check = check_until, SLEEP};

bk_case bk_case_sleep(bk_duration duration)
{
    return (bk_case){.kind = &after_case, .time_ns = duration.ns};
}

bk_case bk_case_sleep_until(bk_time when)
{
    return (bk_case){.kind = &until_case, .time_ns = when.ns};
}

/* ---- Trying ---- */

static bool is_sleep(const bk_case *c)
{
    return c->kind == &after_case || c->kind == &until_case;
}

static bool is_active(const bk_case *c)
{
    return c->kind && (c->object || is_sleep(c));
}

/* Decides the order in which they are tried: each as likely as any other. */
static void shuffle(struct bki_select *s)
{
    static const uint32_t start = 2463534242;
    uint32_t *seed = &bki_loop->select_seed, x = *seed ? *seed : start;
    for (size_t i = 0; i < s->n; i++) {
        x ^= x << 13; /* Marsaglia's xorshift */
        x ^= x >> 17;
        x ^= x << 5;
        size_t j = (size_t)(((uint64_t)x * (i + 1)) >> 32);
        s->states[i].order = s->states[j].order;
        s->states[j].order = i;
    }
    *seed = x;
}

static int check_cases(struct bki_select *s)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n; i++) {
        s->states[i].order = i;
        if (is_active(&s->cases[i]))
            r = s->cases[i].kind->check(&s->cases[i], &s->states[i]);
    }
    return r;
}

/* The channel with the least address above `last`: every select locks them in the same order. */
static void *next_channel(const struct bki_select *s, const void *last)
{
    void *next = NULL;
    for (size_t i = 0; i < s->n; i++) {
        void *channel = s->cases[i].object;
        bool later = (uintptr_t)channel > (uintptr_t)last;
        if (later && bki_case_is_channel(&s->cases[i]) &&
            (!next || (uintptr_t)channel < (uintptr_t)next))
            next = channel;
    }
    return next;
}

static bool each_channel(const struct bki_select *s, void (*visit)(void *channel))
{
    void *channel = next_channel(s, NULL);
    bool any = channel != NULL;
    for (; channel; channel = next_channel(s, channel))
        visit(channel);
    return any;
}

/* The index of the case that was done, or -EAGAIN. */
static int try_cases(struct bki_select *s)
{
    for (size_t k = 0; k < s->n; k++) {
        size_t i = s->states[k].order;
        bk_case *c = &s->cases[i];
        int r = is_active(c) ? c->kind->try_now(c, &s->states[i]) : -EAGAIN;
        if (r != -EAGAIN) {
            c->result = r;
            return (int)i;
        }
    }
    return -EAGAIN;
}

/* What is left to do once the mutexes are free. */
static int after_try(struct bki_select *s, int i)
{
    if (i >= 0 && s->cases[i].kind->after_try)
        s->cases[i].kind->after_try(&s->states[i]);
    return i;
}

static int try_select(struct bki_select *s)
{
    int r = check_cases(s);
    if (r < 0)
        return r;
    if (bki_has_loop())
        shuffle(s);
    each_channel(s, bki_channel_lock);
    r = try_cases(s);
    each_channel(s, bki_channel_unlock);
    return after_try(s, r);
}

/* ---- Waiting ---- */

static void describe_select(const void *object, char *buf, size_t size)
{
    const struct bki_select *s = object;
    size_t len = 0;
    for (size_t i = 0; i < s->n && len < size; i++) {
        const bk_case *c = &s->cases[i];
        char about[96] = "";
        if (!is_active(c))
            continue;
        bki_describe(c->kind->wait, c->object, about, sizeof about);
        int more = snprintf(buf + len, size - len, "%s%s%s%s", len ? ", " : "(",
                            c->kind->wait->what, about[0] ? " " : "", about);
        len += more > 0 ? (size_t)more : 0;
    }
    if (len > 0 && len + 1 < size)
        snprintf(buf + len, size - len, ")");
}

static const struct bki_wait_kind select_kind = {.what = "first of several",
                                                 .describe = describe_select};
static const struct bki_wait_kind channel_select_kind = {
    .what = "first of several", .describe = describe_select, .external = true};
/* Of its objects some may be gone already. */
static const struct bki_wait_kind arrival_kind = {.what = "end of a select", .external = true};

enum part { TIMERS, OBJECTS };

static bool is_part(const bk_case *c, enum part part)
{
    return is_active(c) && is_sleep(c) == (part == TIMERS);
}

static int join_part(struct bki_select *s, enum part part)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n; i++)
        if (is_part(&s->cases[i], part))
            r = s->cases[i].kind->join(&s->cases[i], &s->states[i], s);
    return r;
}

static void leave_part(struct bki_select *s, enum part part)
{
    for (size_t i = 0; i < s->n; i++)
        if (is_part(&s->cases[i], part))
            s->cases[i].kind->leave(&s->cases[i], &s->states[i]);
}

/* What can fail comes first: who stands in a line could be served by another thread. */
static int join_all(struct bki_select *s)
{
    int r = join_part(s, TIMERS);
    if (r < 0)
        leave_part(s, TIMERS);
    return r < 0 ? r : join_part(s, OBJECTS);
}

/* The index of the case that was granted; -ECANCELED after a cancel that came first. */
static int wait_for_first(struct bki_select *s, const struct bki_wait_kind *kind)
{
    const void *winner;
    while (!(winner = atomic_load(&s->winner)))
        if (bki_park(kind, s) < 0 && bki_select_claim(s, s))
            return -ECANCELED;
    size_t i = 0;
    while ((const void *)&s->states[i].w != winner)
        i++;
    bool (*has_arrived)(const struct bki_case_state *state) = s->cases[i].kind->has_arrived;
    while (has_arrived && !has_arrived(&s->states[i]))
        bki_park_hard(&arrival_kind, s);
    return (int)i;
}

static int select_slowly(struct bki_select *s, bool channels)
{
    struct bki_cancel_told told = bki_cancel_told_save();
    int i = wait_for_first(s, channels ? &channel_select_kind : &select_kind);
    leave_part(s, TIMERS);
    leave_part(s, OBJECTS);
    if (i < 0)
        return i;
    bki_cancel_told_restore(told);
    bk_case *c = &s->cases[i];
    c->result = c->kind->finish(c, &s->states[i]);
    /* Where nothing was taken from anybody a cancel of the same turn shows at once. */
    int r = c->kind->takes ? 0 : bki_check_cancel();
    return r < 0 ? r : i;
}

static int do_select(struct bki_select *s)
{
    int r = bki_check_cancel();
    if (r == 0)
        r = check_cases(s);
    if (r < 0)
        return r;
    shuffle(s);
    bool channels = each_channel(s, bki_channel_lock);
    int i = try_cases(s);
    if (i == -EAGAIN)
        r = join_all(s);
    each_channel(s, bki_channel_unlock);
    if (i != -EAGAIN)
        return after_try(s, i);
    return r < 0 ? r : select_slowly(s, channels);
}

/* ---- Both ---- */

static int with_states(bk_case *cases, size_t n, int (*fn)(struct bki_select *s))
{
    struct bki_case_state few[FEW];
    struct bki_select s = {.cases = cases, .states = few, .n = n};
    if (n == 0 || n > INT32_MAX)
        return bk_fail(-EINVAL, "a select of %zu cases", n);
    if (n > FEW)
        s.states = bki_realloc_array(NULL, n, sizeof *s.states);
    if (!s.states)
        return bk_fail(-ENOMEM, "no memory for a select of %zu cases", n);
    memset(s.states, 0, n * sizeof *s.states);
    int r = fn(&s);
    if (s.states != few)
        bki_free(s.states);
    return r;
}

int bk_select(bk_case *cases, size_t n)
{
    return with_states(cases, n, do_select);
}

int bk_try_select(bk_case *cases, size_t n)
{
    return with_states(cases, n, try_select);
}
