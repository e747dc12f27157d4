/* SPDX-License-Identifier: MIT
 * Events, locks, semaphores, conditions and barriers between the tasks of one loop.
 *
 * All are fair (first come, first served), hand over directly to the longest waiter, and lose
 * nothing to a cancel: a waiter that was granted something before its cancel returns 0 and sees the
 * cancel at its next call; one that was cancelled before is passed over, also when both happen
 * before it runs again.
 *
 * Each belongs to one loop: the one that made it, or the first that uses it.  While that loop is
 * alive, every call from another loop or thread returns -EPERM and changes nothing, and freeing
 * from there leaves the object to its loop (on_error is told).  Calls that may suspend are for
 * tasks: elsewhere they return -BK_ENOTASK.  Freeing one while tasks wait on it wakes them with
 * -BK_ECLOSED.  Names (cut at 31 bytes, NULL for none) appear in bk_dump.  new fails with -ENOMEM
 * alone, unless its comment says more. */
#ifndef BECK_SYNC_H
#define BECK_SYNC_H

#include <beck/run.h>

BK_BEGIN_DECLS

/* ---- Events ---- */

typedef struct bk_event bk_event;
/* Makes an event that is not set.  -ENOMEM. */
BK_API int bk_event_new(bk_event **out, const char *name);
/* Empties *event; NULL is fine. */
BK_API void bk_event_free(bk_event **event);
/* Wakes every task waiting now, also when cleared before they run.  Returns 0 or -EPERM. */
BK_API int bk_event_set(bk_event *event);
/* Returns 0 or -EPERM. */
BK_API int bk_event_clear(bk_event *event);
BK_API bool bk_event_is_set(const bk_event *event);
/* Suspends until it is set; at once, without suspending, when it is.
 * Returns 0, -ECANCELED, -BK_ECLOSED or -EPERM. */
BK_API int bk_event_wait(bk_event *event);

/* ---- Locks ---- */

/* One holder at a time; not re-entrant. */
typedef struct bk_lock bk_lock;
/* Makes a lock that nobody holds.  -ENOMEM. */
BK_API int bk_lock_new(bk_lock **out, const char *name);
/* Empties *lock; NULL is fine. */
BK_API void bk_lock_free(bk_lock **lock);
/* Suspends until the calling task holds it.  Returns 0 with the lock held; without it -ECANCELED,
 * -BK_ECLOSED, -EPERM, or -EDEADLK when the caller holds it already. */
BK_API int bk_lock_acquire(bk_lock *lock);
/* Returns 0, or -EBUSY when it is held or waited for, or -EPERM.  Never suspends. */
BK_API int bk_lock_try_acquire(bk_lock *lock);
/* Returns 0, or -EPERM when it was not held.  Any task may release.  The longest waiter holds it
 * from this moment on, so that nobody can come in between. */
BK_API int bk_lock_release(bk_lock *lock);
BK_API bool bk_lock_held(const bk_lock *lock);
/* Runs fn(ctx) in the calling task with the lock held, and releases it however fn ends: asyncio's
 * `async with lock`.  Suspends until it has the lock, and where fn does.  Returns fn's result, or
 * what bk_lock_acquire says, and then fn was not called. */
BK_API int bk_lock_with(bk_lock *lock, bk_fn *fn, void *ctx);

/* ---- Semaphores ---- */

typedef struct bk_sem bk_sem;
/* value: permits to begin with.  max: most permits ever, a release beyond is -EOVERFLOW (asyncio's
 * BoundedSemaphore); 0 for no bound.  -EINVAL when value is over max. */
BK_API int bk_sem_new(bk_sem **out, size_t value, size_t max, const char *name);
/* Empties *sem; NULL is fine. */
BK_API void bk_sem_free(bk_sem **sem);
/* Takes a permit, and suspends until there is one.  Returns 0, -ECANCELED, -BK_ECLOSED or -EPERM.
 * Calls return in the order they were made: until a task that was granted a permit runs, later ones
 * wait even if permits are free. */
BK_API int bk_sem_acquire(bk_sem *sem);
/* Returns 0, -EAGAIN when bk_sem_locked, or -EPERM.  Never suspends. */
BK_API int bk_sem_try_acquire(bk_sem *sem);
/* Returns 0, -EOVERFLOW beyond max, or -EPERM. */
BK_API int bk_sem_release(bk_sem *sem);
BK_API size_t bk_sem_value(const bk_sem *sem);
/* bk_sem_acquire would wait: no permit is free, or others are before the caller. */
BK_API bool bk_sem_locked(const bk_sem *sem);
/* As bk_lock_with, with a permit held. */
BK_API int bk_sem_with(bk_sem *sem, bk_fn *fn, void *ctx);

/* ---- Conditions ---- */

/* A condition works with a lock that the caller made, and that the calling task holds around every
 * call here (-EPERM otherwise).  Several conditions may share one lock. */
typedef struct bk_cond bk_cond;
BK_API int bk_cond_new(bk_cond **out, bk_lock *lock, const char *name);
/* Empties *cond; NULL is fine.  The lock stays. */
BK_API void bk_cond_free(bk_cond **cond);
/* Releases the lock, suspends until a notify, takes the lock again; check your predicate in a loop,
 * or use bk_cond_wait_for.
 * Returns 0, -ECANCELED, or -BK_ECLOSED when the condition was freed, in each case with the lock
 * held, unless that was freed (-BK_ECLOSED).  A notify for a waiter that is cancelled before it has
 * the lock again goes to the next waiter, and the call returns -ECANCELED.  -EPERM: the caller does
 * not hold the lock. */
BK_API int bk_cond_wait(bk_cond *cond);
/* Waits, as bk_cond_wait does again and again, until predicate(ctx) is true; at once when it is.
 * predicate is called with the lock held, and must not suspend.  Returns 0 once it is true, or what
 * bk_cond_wait says. */
BK_API int bk_cond_wait_for(bk_cond *cond, bool (*predicate)(void *ctx), void *ctx);
/* Wakes the n longest waiting, or all.  Returns 0 or -EPERM. */
BK_API int bk_cond_notify(bk_cond *cond, size_t n);
BK_API int bk_cond_notify_all(bk_cond *cond);

/* ---- Barriers ---- */

/* Lets tasks through in groups of `parties`: each waits until the group is complete. */
typedef struct bk_barrier bk_barrier;
/* parties: 1 to INT_MAX, -EINVAL otherwise. */
BK_API int bk_barrier_new(bk_barrier **out, size_t parties, const char *name);
/* Empties *barrier; NULL is fine. */
BK_API void bk_barrier_free(bk_barrier **barrier);
/* Suspends until `parties` tasks wait, then lets all of them through.  The last to arrive does not
 * suspend; those who come while a group is leaving wait for the next one.
 * Returns the caller's place in its group, 0 to parties - 1 in order of arrival; -BK_EBROKEN when
 * the barrier is broken or reset; -ECANCELED, and the others wait on for one more; -BK_ECLOSED or
 * -EPERM.  Who was let through before a cancel, an abort or a reset returns its place; who was
 * cancelled before its group was complete, and has not run since, still counts, and its place stays
 * empty. */
BK_API int bk_barrier_wait(bk_barrier *barrier);
/* Empties the barrier: tasks waiting get -BK_EBROKEN, and it can be used anew, also when it was
 * broken.  Returns 0 or -EPERM. */
BK_API int bk_barrier_reset(bk_barrier *barrier);
/* Breaks it: every wait, also those to come, returns -BK_EBROKEN until bk_barrier_reset.
 * Returns 0 or -EPERM. */
BK_API int bk_barrier_abort(bk_barrier *barrier);
BK_API size_t bk_barrier_parties(const bk_barrier *barrier);
/* Tasks waiting for their group to be complete; 0 while one is leaving. */
BK_API size_t bk_barrier_waiting(const bk_barrier *barrier);
BK_API bool bk_barrier_broken(const bk_barrier *barrier);

BK_END_DECLS
#endif
