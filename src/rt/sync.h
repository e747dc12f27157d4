/* SPDX-License-Identifier: MIT
 * What the things that tasks wait on share: names and the inside of a lock.
 *
 * Lifetime rule of all of them: freeing an object grants every waiter the documented error, and a
 * waiter that was granted something does not look at the object again, unless the object counts it.
 */
#ifndef BECK_SRC_RT_SYNC_H
#define BECK_SRC_RT_SYNC_H

#include <stdio.h>

#include <beck/sync.h>

#include "rt/owner.h"
#include "rt/rt.h"

/* ---- Names ---- */

static inline void bki_name_set(char name[BKI_NAME_MAX], const char *text)
{
    snprintf(name, BKI_NAME_MAX, "%s", text ? text : "");
}

#define BKI_QUOTED_MAX (BKI_NAME_MAX + 3)

/* "'name' " for the front of a description, "" when there is no name. */
static inline const char *bki_name_quoted(const char *name, char buf[BKI_QUOTED_MAX])
{
    snprintf(buf, BKI_QUOTED_MAX, *name ? "'%.31s' " : "", name);
    return buf;
}

/* ---- Errors ---- */

/* For what a wait returned: says what has happened when the object was freed meanwhile. */
static inline int bki_fail_freed(int r, const char *what)
{
    return r == -BK_ECLOSED ? bk_fail(r, "the %s was freed", what) : r;
}

/* ---- Locks, for conditions ---- */

struct bk_lock {
    struct bki_owner owner;
    struct bki_list waiters;
    /* The id of the task that holds it, which may have ended without a release; 0 when it was taken
     * outside tasks. */
    uint64_t holder;
    const struct bk_task *holder_task; /* a hint: see bki_lock_holder */
    uint64_t holder_loop_id;
    int64_t held_since_ns;
    unsigned refs; /* the owner's; each condition's on it, and each wait's on such a condition */
    bool held;
    bool freed; /* the owner's reference is gone: nobody can take it any more */
    char name[BKI_NAME_MAX];
};

void bki_lock_unref(struct bk_lock *lock);
/* The task that holds it, NULL when there is none, or it has ended. */
const struct bk_task *bki_lock_holder(const struct bk_lock *lock);
/* The caller holds it. */
bool bki_lock_is_mine(const struct bk_lock *lock);
/* Gives a held lock to the longest waiter, or back. */
void bki_lock_pass_on(struct bk_lock *lock);
/* Takes it whatever cancels come.  Returns 0, or -BK_ECLOSED when it was freed. */
int bki_lock_retake(struct bk_lock *lock);

#endif
