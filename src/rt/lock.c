/* SPDX-License-Identifier: MIT
 * Locks: handed from one task to the next in the order they asked. */
#include <beck/sync.h>

#include "base/alloc.h"
#include "rt/circle.h"
#include "rt/sync.h"

static const struct bki_wait_kind lock_kind = {
    .what = "lock",
    .about = "%n%h",
    .at = {offsetof(struct bk_lock, name), offsetof(struct bk_lock, holder),
           offsetof(struct bk_lock, held_since_ns)},
    .edge = BKI_TO_HOLDER,
};

int bk_lock_new(bk_lock **out, const char *name)
{
    struct bk_lock *lock = bki_zalloc(sizeof *lock);
    if (!lock)
        return bk_fail(-ENOMEM, "no memory for a lock");
    bki_owner_init(&lock->owner);
    bki_list_init(&lock->waiters);
    lock->refs = 1;
    bki_name_set(lock->name, name);
    *out = lock;
    return 0;
}

void bki_lock_unref(struct bk_lock *lock)
{
    if (--lock->refs == 0)
        bki_free(lock);
}

void bk_lock_free(bk_lock **lock)
{
    struct bk_lock *l = *lock;
    *lock = NULL;
    if (!l || bki_owner_refuse_free(&l->owner, "lock"))
        return;
    l->freed = true;
    l->held = false;
    bki_grant_all(&l->waiters, -BK_ECLOSED);
    bki_lock_unref(l);
}

static uint64_t caller_id(void)
{
    return bki_in_task() ? bki_self()->id : 0;
}

static void set_holder(struct bk_lock *lock, const struct bk_task *task)
{
    lock->holder = task ? task->id : 0;
    lock->holder_task = task;
    lock->holder_loop_id = bki_loop->id;
    lock->held_since_ns = bki_loop->now_ns;
}

/* A task object lies on its stack's memory, which stays mapped as long as its loop lives: when the
 * task has ended, the id there is another one's. */
const struct bk_task *bki_lock_holder(const struct bk_lock *lock)
{
    const struct bk_task *task = lock->holder_task;
    bool valid = lock->held && task && lock->holder_loop_id == bki_loop->id;
    return valid && task->id == lock->holder && task->state != BKI_DONE ? task : NULL;
}

static void take(struct bk_lock *lock)
{
    lock->held = true;
    set_holder(lock, bki_in_task() ? bki_self() : NULL);
}

bool bki_lock_is_mine(const struct bk_lock *lock)
{
    return lock->held && lock->holder == caller_id();
}

void bki_lock_pass_on(struct bk_lock *lock)
{
    struct bki_waiter *next = bki_grant_first(&lock->waiters, 0);
    lock->held = next != NULL;
    set_holder(lock, next ? next->task : NULL);
}

int bk_lock_acquire(bk_lock *lock)
{
    int r = bki_owner_check_wait(&lock->owner, "lock");
    if (r < 0)
        return r;
    if (!lock->held) {
        take(lock);
        return 0;
    }
    if (lock->holder == bki_self()->id)
        return bk_fail(-EDEADLK, "the task holds this lock already");
    bki_circle_check(&lock_kind, lock);
    struct bki_waiter w;
    bki_loop->n_edges++;
    r = bki_wait(&lock->waiters, &w, &lock_kind, lock);
    bki_loop->n_edges--;
    return bki_fail_freed(r, "lock");
}

int bki_lock_retake(struct bk_lock *lock)
{
    if (lock->freed)
        return -BK_ECLOSED;
    if (!lock->held) {
        take(lock);
        return 0;
    }
    bki_circle_check(&lock_kind, lock);
    struct bki_waiter w = {.task = bki_self()};
    bki_list_push_back(&lock->waiters, &w.link);
    bki_loop->n_edges++;
    while (!w.granted)
        bki_park_hard(&lock_kind, lock);
    bki_loop->n_edges--;
    return w.result;
}

int bk_lock_try_acquire(bk_lock *lock)
{
    int r = bki_owner_check(&lock->owner, "lock");
    if (r < 0)
        return r;
    if (lock->held)
        return -EBUSY;
    take(lock);
    return 0;
}

int bk_lock_release(bk_lock *lock)
{
    int r = bki_owner_check(&lock->owner, "lock");
    if (r < 0)
        return r;
    if (!lock->held)
        return bk_fail(-EPERM, "the lock is not held");
    bki_lock_pass_on(lock);
    return 0;
}

int bk_lock_with(bk_lock *lock, bk_fn *fn, void *ctx)
{
    int r = bk_lock_acquire(lock);
    if (r < 0)
        return r;
    r = fn(ctx);
    bk_lock_release(lock);
    return r;
}

bool bk_lock_held(const bk_lock *lock)
{
    return lock->held;
}
