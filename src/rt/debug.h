/* SPDX-License-Identifier: MIT
 * Debug mode (bk_run_opts.debug): where things were made, what was left behind, what was slow. */
#ifndef BECK_SRC_RT_DEBUG_H
#define BECK_SRC_RT_DEBUG_H

#include "rt/rt.h"

/* ---- The loop's part ---- */

/* Resolves the options (also BECK_DEBUG=1), and sets the mode up.  0 or -ENOMEM. */
int bki_debug_open(struct bk_loop *loop);
/* At the end of the run: tells on_error what is left. */
void bki_debug_report_leaks(struct bk_loop *loop);
void bki_debug_close(struct bk_loop *loop);

static inline bool bki_debug_on(void)
{
    return bki_loop->debug != NULL;
}

/* ---- Objects (struct bki_tracked, rt.h) ---- */

/* In debug mode: remembers the object, a `what`, and the program's line that makes it just now.
 * Else nothing. */
void bki_track(struct bki_tracked *t, const char *what);
/* It is freed; in its loop's thread, or when that loop has ended. */
static inline void bki_untrack(struct bki_tracked *t)
{
    if (bki_list_linked(&t->link))
        bki_list_remove(&t->link);
}

/* ---- Words ---- */

/* In debug mode "<verb> in run+0x20 (app.c:12)" for a return address, else "". */
const char *bki_debug_origin(const char *verb, const void *site, char *buf, size_t size);

/* ---- Time ---- */

/* For what may be slow: 0 outside debug mode, else now, for bki_debug_slow. */
int64_t bki_debug_clock_ns(void);
/* Tells on_error that `what` took from then until now, when that is more than `allowed_ns` and the
 * limit of the mode. */
void bki_debug_slow(int64_t since_ns, int64_t allowed_ns, const char *what, const char *detail);

#endif
