/* SPDX-License-Identifier: MIT
 * What the objects that bk_select waits for give it, each in the file of the object.
 *
 * A select stands in the line of each of its cases at once.  Whoever would hand something to one of
 * them claims the select first, by a compare-and-swap, for channels do so from other threads; a
 * waiter whose select is taken counts for nothing and is passed over. */
#ifndef BECK_SRC_RT_SELECT_H
#define BECK_SRC_RT_SELECT_H

#include <beck/select.h>

#include "rt/channel.h"
#include "rt/rt.h"

struct bki_channel_case {
    struct bki_channel_waiter w;
    struct bki_channel_waiter *partner; /* whom try_now has served */
};

struct bki_sleep_case {
    struct bki_timer timer;
    struct bki_select *select;
    bk_task *task;
    int64_t deadline_ns;
};

/* What one select keeps about a case. */
struct bki_case_state {
    union {
        struct bki_waiter w; /* all begin with what stands in line: the address that wins */
        struct bki_channel_case channel;
        struct bki_sleep_case sleep;
    };
    size_t order; /* the index of the case that is tried when it is this one's turn */
};

struct bki_select {
    _Atomic(const void *) winner; /* the waiter that was granted; NULL while all wait */
    bk_case *cases;
    struct bki_case_state *states;
    size_t n;
};

struct bki_case_kind {
    const struct bki_wait_kind *wait; /* the call by itself, for dumps */
    bool takes; /* something changes hands, so that it wins over a cancel of the same turn */
    /* 0, or why it cannot be done from here at all. */
    int (*check)(bk_case *c, struct bki_case_state *state);
    /* Does it if that needs no waiting: its result, or -EAGAIN. */
    int (*try_now)(bk_case *c, struct bki_case_state *state);
    void (*after_try)(struct bki_case_state *state); /* when try_now has done it; NULL: nothing */
    /* Puts the waiter in line.  0 (a timer: or -ENOMEM). */
    int (*join)(bk_case *c, struct bki_case_state *state, struct bki_select *select);
    /* Takes it out if it is still there. */
    void (*leave)(bk_case *c, struct bki_case_state *state);
    /* Whoever has granted it needs its memory no longer; NULL: at once. */
    bool (*has_arrived)(const struct bki_case_state *state);
    /* The result of the case that was granted; called after leave. */
    int (*finish)(bk_case *c, struct bki_case_state *state);
};

/* ---- For objects of one loop: the waiter is a bki_waiter ---- */

/* Always 0. */
int bki_case_join(struct bki_case_state *state, struct bki_select *select, struct bki_list *line,
                  void *value);
void bki_case_leave(bk_case *c, struct bki_case_state *state);

/* ---- For channels (channel_case.c) ---- */

extern const struct bki_case_kind bki_recv_case, bki_send_case;

static inline bool bki_case_is_channel(const bk_case *c)
{
    return c->kind == &bki_recv_case || c->kind == &bki_send_case;
}

/* Held while every case is tried, and while all join: nothing comes between the two. */
void bki_channel_lock(void *channel);
void bki_channel_unlock(void *channel);

#endif
