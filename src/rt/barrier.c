/* SPDX-License-Identifier: MIT
 * Barriers: tasks go on together, so many at a time. */
#include <limits.h>

#include <beck/sync.h>

#include "base/alloc.h"
#include "rt/sync.h"

/* Whoever completes a group hands their places to those before it.  Until all of these have run
 * (they are `leaving`), the barrier is closed: who comes meanwhile stands in line for the next
 * group, which may be complete when the last one leaves.
 * Invariant: parties or more stand in line => n_leaving > 0 (or broken, and the line is empty). */
struct bk_barrier {
    struct bki_owner owner;
    struct bki_list line;
    size_t n_line;
    size_t n_leaving;
    size_t parties;
    bool broken;
    bool freed; /* memory goes with the last one leaving */
    char name[BKI_NAME_MAX];
};

static const struct bki_wait_kind barrier_kind = {
    .what = "barrier",
    .about = "%n(%u of %u)",
    .at = {offsetof(struct bk_barrier, name), offsetof(struct bk_barrier, n_line),
           offsetof(struct bk_barrier, parties)},
};

int bk_barrier_new(bk_barrier **out, size_t parties, const char *name)
{
    if (parties == 0 || parties > INT_MAX)
        return bk_fail(-EINVAL, "a barrier of %zu parties", parties);
    struct bk_barrier *barrier = bki_zalloc(sizeof *barrier);
    if (!barrier)
        return bk_fail(-ENOMEM, "no memory for a barrier");
    bki_owner_init(&barrier->owner);
    bki_list_init(&barrier->line);
    barrier->parties = parties;
    bki_name_set(barrier->name, name);
    *out = barrier;
    return 0;
}

void bk_barrier_free(bk_barrier **barrier)
{
    struct bk_barrier *b = *barrier;
    *barrier = NULL;
    if (!b || bki_owner_refuse_free(&b->owner, "barrier"))
        return;
    bki_grant_all(&b->line, -BK_ECLOSED);
    b->freed = true;
    if (b->n_leaving == 0)
        bki_free(b);
}

/* Sends the first n in line on their way with result, or with their places.  Who has been cancelled
 * and has not run since counts as one of them, for it was there, but is not let through. */
static void let_through(struct bk_barrier *barrier, size_t n, int result)
{
    barrier->n_line -= n;
    barrier->n_leaving += n;
    for (size_t place = 0; place < n; place++) {
        struct bki_waiter *w =
            bki_container(bki_list_first(&barrier->line), struct bki_waiter, link);
        bool cancelled = w->task->state != BKI_PARKED;
        bki_grant(w, cancelled ? -ECANCELED : result < 0 ? result : (int)place);
    }
}

/* One that was let through runs at last. */
static void has_left(struct bk_barrier *barrier)
{
    if (--barrier->n_leaving > 0)
        return;
    if (barrier->freed)
        bki_free(barrier);
    else if (barrier->n_line >= barrier->parties)
        let_through(barrier, barrier->parties, 0);
}

static int fail_broken(void)
{
    return bk_fail(-BK_EBROKEN, "the barrier is broken");
}

int bk_barrier_wait(bk_barrier *barrier)
{
    int r = bki_owner_check_wait(&barrier->owner, "barrier");
    if (r < 0)
        return r;
    if (barrier->broken)
        return fail_broken();
    if (barrier->n_leaving == 0 && barrier->n_line + 1 == barrier->parties) {
        let_through(barrier, barrier->n_line, 0);
        return (int)barrier->parties - 1;
    }
    barrier->n_line++;
    struct bki_waiter w;
    r = bki_wait(&barrier->line, &w, &barrier_kind, barrier);
    if (!w.granted)
        barrier->n_line--;
    else if (r != -BK_ECLOSED)
        has_left(barrier);
    if (r == -ECANCELED)
        return bki_tell_cancel(bki_self());
    return r == -BK_EBROKEN ? fail_broken() : bki_fail_freed(r, "barrier");
}

int bk_barrier_reset(bk_barrier *barrier)
{
    int r = bki_owner_check(&barrier->owner, "barrier");
    if (r < 0)
        return r;
    barrier->broken = false;
    if (barrier->n_leaving == 0)
        let_through(barrier, barrier->n_line, -BK_EBROKEN);
    return 0;
}

int bk_barrier_abort(bk_barrier *barrier)
{
    int r = bki_owner_check(&barrier->owner, "barrier");
    if (r < 0)
        return r;
    barrier->broken = true;
    let_through(barrier, barrier->n_line, -BK_EBROKEN);
    return 0;
}

size_t bk_barrier_parties(const bk_barrier *barrier)
{
    return barrier->parties;
}

size_t bk_barrier_waiting(const bk_barrier *barrier)
{
    return barrier->n_leaving ? 0 : barrier->n_line;
}

bool bk_barrier_broken(const bk_barrier *barrier)
{
    return barrier->broken;
}
