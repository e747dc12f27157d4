/* SPDX-License-Identifier: MIT
 * Conditions: waiting, under a lock, for what another task changes under it. */
#include <beck/sync.h>

#include "base/alloc.h"
#include "rt/sync.h"

/* A wait looks at the condition and at the lock again after it was woken, so it keeps both in
 * memory. */
struct bk_cond {
    struct bki_owner owner;
    struct bki_list waiters;
    struct bk_lock *lock;
    unsigned refs; /* the owner's, and one for each wait */
    char name[BKI_NAME_MAX];
};

static const struct bki_wait_kind cond_kind = {
    .what = "condition", .about = "%n", .at = {offsetof(struct bk_cond, name)}};

int bk_cond_new(bk_cond **out, bk_lock *lock, const char *name)
{
    struct bk_cond *cond = bki_zalloc(sizeof *cond);
    if (!cond)
        return bk_fail(-ENOMEM, "no memory for a condition");
    bki_owner_init(&cond->owner);
    bki_list_init(&cond->waiters);
    cond->lock = lock;
    lock->refs++;
    cond->refs = 1;
    bki_name_set(cond->name, name);
    *out = cond;
    return 0;
}

static void cond_unref(struct bk_cond *cond)
{
    if (--cond->refs > 0)
        return;
    bki_lock_unref(cond->lock);
    bki_free(cond);
}

void bk_cond_free(bk_cond **cond)
{
    struct bk_cond *c = *cond;
    *cond = NULL;
    if (!c || bki_owner_refuse_free(&c->owner, "condition"))
        return;
    bki_grant_all(&c->waiters, -BK_ECLOSED);
    cond_unref(c);
}

static int check_lock(const struct bk_cond *cond)
{
    int r = bki_owner_check(&cond->lock->owner, "lock");
    if (r < 0)
        return r;
    if (!bki_lock_is_mine(cond->lock))
        return bk_fail(-EPERM, "the caller does not hold the condition's lock");
    return 0;
}

int bk_cond_wait(bk_cond *cond)
{
    int r = bki_owner_check_wait(&cond->owner, "condition");
    if (r < 0 || (r = check_lock(cond)) < 0)
        return r;
    cond->refs++;
    bki_lock_pass_on(cond->lock);
    struct bki_waiter w;
    r = bki_wait(&cond->waiters, &w, &cond_kind, cond);
    int locked = bki_lock_retake(cond->lock);
    if (r == 0) {
        /* Notified; a cancel up to this moment wins, and somebody else gets the notify. */
        r = bki_check_cancel();
        if (r < 0)
            bki_grant_first(&cond->waiters, 0);
    }
    cond_unref(cond);
    return locked < 0 ? bki_fail_freed(locked, "lock") : bki_fail_freed(r, "condition");
}

int bk_cond_wait_for(bk_cond *cond, bool (*predicate)(void *ctx), void *ctx)
{
    int r = bki_owner_check_wait(&cond->owner, "condition");
    if (r == 0)
        r = check_lock(cond);
    while (r == 0 && !predicate(ctx))
        r = bk_cond_wait(cond);
    return r;
}

int bk_cond_notify(bk_cond *cond, size_t n)
{
    int r = bki_owner_check(&cond->owner, "condition");
    if (r < 0 || (r = check_lock(cond)) < 0)
        return r;
    while (n-- > 0 && bki_grant_first(&cond->waiters, 0))
        ;
    return 0;
}

int bk_cond_notify_all(bk_cond *cond)
{
    return bk_cond_notify(cond, SIZE_MAX);
}
