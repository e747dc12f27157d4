/* SPDX-License-Identifier: MIT
 * Callbacks of futures and tasks: a place in line until the subject is done, then a call. */
#ifndef BECK_SRC_RT_CALLBACK_H
#define BECK_SRC_RT_CALLBACK_H

#include "rt/local.h"
#include "rt/rt.h"

struct bki_callback;

struct bki_callback_kind {
    const char *failed; /* what on_error is told when one returns a negative result */
    int (*run)(struct bki_callback *cb);
    void (*ref)(void *subject); /* one while it is on its way */
    void (*unref)(void *subject);
};

struct bki_callback {
    struct bki_watch watch; /* its place in line, as a waiter without a task */
    struct bki_call call;
    const struct bki_callback_kind *kind;
    void *subject;
    const void *fn; /* of kind's type */
    void *ctx;
    void (*dropped)(void *ctx); /* when it can never run: NULL, or gives back what ctx holds */
    struct bki_locals *locals;  /* of who added it */
};

/* -ENOMEM, or what bki_call_allowed says. */
int bki_callback_new(struct bki_callback **out, const struct bki_callback_kind *kind, void *subject,
                     const void *fn, void *ctx);
/* One that is in no line; NULL is fine. */
void bki_callback_free(struct bki_callback *cb);
/* Out of any line: has the loop call it, or drops it on a thread without a loop. */
void bki_callback_send_off(struct bki_callback *cb);
/* The watch's function in the line of a task. */
void bki_callback_ended(struct bki_watch *watch, struct bk_task *task);
/* Takes those in line with the same fn and ctx out and returns their number. */
int bki_callback_remove(struct bki_list *line, const void *fn, void *ctx);

/* The callback that a waiter without a task is part of. */
static inline struct bki_callback *bki_callback_of(struct bki_waiter *w)
{
    return bki_container(w, struct bki_callback, watch.w);
}

#endif
