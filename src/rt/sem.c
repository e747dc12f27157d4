/* SPDX-License-Identifier: MIT
 * Semaphores: permits handed out in the order they were asked for. */
#include <beck/sync.h>

#include "base/alloc.h"
#include "rt/sync.h"

/* A permit goes straight to the longest waiter.  Until that one has run (it is `waking`), nobody
 * who came later overtakes it even if further permits are free: acquire returns in the order of the
 * calls. Invariant: somebody waits in line => value == 0 or n_waking > 0. */
struct bk_sem {
    struct bki_owner owner;
    struct bki_list waiters;
    size_t value;
    size_t max;
    size_t n_waking;
    bool freed; /* memory goes with the last waking one */
    char name[BKI_NAME_MAX];
};

static const struct bki_wait_kind sem_kind = {
    .what = "semaphore",
    .about = "%n(%u free)",
    .at = {offsetof(struct bk_sem, name), offsetof(struct bk_sem, value)},
};

int bk_sem_new(bk_sem **out, size_t value, size_t max, const char *name)
{
    if (max && value > max)
        return bk_fail(-EINVAL, "a semaphore of at most %zu cannot begin with %zu", max, value);
    struct bk_sem *sem = bki_zalloc(sizeof *sem);
    if (!sem)
        return bk_fail(-ENOMEM, "no memory for a semaphore");
    bki_owner_init(&sem->owner);
    bki_list_init(&sem->waiters);
    sem->value = value;
    sem->max = max ? max : SIZE_MAX;
    bki_name_set(sem->name, name);
    *out = sem;
    return 0;
}

void bk_sem_free(bk_sem **sem)
{
    struct bk_sem *s = *sem;
    *sem = NULL;
    if (!s || bki_owner_refuse_free(&s->owner, "semaphore"))
        return;
    bki_grant_all(&s->waiters, -BK_ECLOSED);
    s->freed = true;
    if (s->n_waking == 0)
        bki_free(s);
}

/* The waiter that was granted a permit runs at last. */
static void has_woken(struct bk_sem *sem)
{
    sem->n_waking--;
    if (sem->freed) {
        if (sem->n_waking == 0)
            bki_free(sem);
        return;
    }
    while (sem->value > 0 && bki_grant_first(&sem->waiters, 0)) {
        sem->value--;
        sem->n_waking++;
    }
}

int bk_sem_acquire(bk_sem *sem)
{
    int r = bki_owner_check_wait(&sem->owner, "semaphore");
    if (r < 0)
        return r;
    if (!bk_sem_locked(sem)) {
        sem->value--;
        return 0;
    }
    struct bki_waiter w;
    r = bki_wait(&sem->waiters, &w, &sem_kind, sem);
    if (r < 0)
        return bki_fail_freed(r, "semaphore");
    has_woken(sem);
    return 0;
}

int bk_sem_try_acquire(bk_sem *sem)
{
    int r = bki_owner_check(&sem->owner, "semaphore");
    if (r < 0)
        return r;
    if (bk_sem_locked(sem))
        return -EAGAIN;
    sem->value--;
    return 0;
}

int bk_sem_release(bk_sem *sem)
{
    int r = bki_owner_check(&sem->owner, "semaphore");
    if (r < 0)
        return r;
    if (sem->value >= sem->max)
        return bk_fail(-EOVERFLOW, "the semaphore has all its %zu permits", sem->max);
    if (bki_grant_first(&sem->waiters, 0))
        sem->n_waking++;
    else
        sem->value++;
    return 0;
}

int bk_sem_with(bk_sem *sem, bk_fn *fn, void *ctx)
{
    int r = bk_sem_acquire(sem);
    if (r < 0)
        return r;
    r = fn(ctx);
    bk_sem_release(sem);
    return r;
}

size_t bk_sem_value(const bk_sem *sem)
{
    return sem->value;
}

/* Who waits in line is before the caller too, but nobody waits while there is neither. */
bool bk_sem_locked(const bk_sem *sem)
{
    return sem->value == 0 || sem->n_waking > 0;
}
