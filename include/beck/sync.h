/* SPDX-License-Identifier: MIT
 * Events, locks, semaphores and conditions between the tasks of one loop.
 *
 * All are fair (first come, first served), hand over directly to the longest waiter, and lose
 * nothing to a cancel: a waiter that was granted something before its cancel returns 0 and sees the
 * cancel at its next call.  They belong to the loop that uses them: loop thread only.  Freeing one
 * while tasks wait on it wakes them with -BK_ECLOSED.  Names (cut at 31 bytes, NULL for none)
 * appear in bk_dump.  new fails with -ENOMEM alone. */
#ifndef BECK_SYNC_H
#define BECK_SYNC_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_event bk_event;
BK_API int bk_event_new(bk_event **out, const char *name);
BK_API void bk_event_free(bk_event **event);
/* Wakes every task waiting now, also when cleared before they run. */
BK_API void bk_event_set(bk_event *event);
BK_API void bk_event_clear(bk_event *event);
BK_API bool bk_event_is_set(const bk_event *event);
/* Returns 0 once set (at once when it is), -ECANCELED or -BK_ECLOSED. */
BK_API int bk_event_wait(bk_event *event);

/* Not re-entrant. */
typedef struct bk_lock bk_lock;
BK_API int bk_lock_new(bk_lock **out, const char *name);
BK_API void bk_lock_free(bk_lock **lock);
/* Returns 0 with the lock held; without it -ECANCELED, -BK_ECLOSED, or -EDEADLK when the caller
 * holds it already. */
BK_API int bk_lock_acquire(bk_lock *lock);
/* Returns 0, or -EBUSY when it is held or waited for.  Never suspends. */
BK_API int bk_lock_try_acquire(bk_lock *lock);
/* Returns 0, or -EPERM when it was not held.  Any task may release.  The longest waiter holds it
 * from this moment on, so that nobody can come in between. */
BK_API int bk_lock_release(bk_lock *lock);
BK_API bool bk_lock_held(const bk_lock *lock);

typedef struct bk_sem bk_sem;
/* value: permits to begin with.  max: most permits ever, a release beyond is -EOVERFLOW; 0 for no
 * bound. */
BK_API int bk_sem_new(bk_sem **out, size_t value, size_t max, const char *name);
BK_API void bk_sem_free(bk_sem **sem);
/* Takes a permit.  Returns 0, -ECANCELED or -BK_ECLOSED.  Calls return in the order they were made:
 * until a task that was granted a permit runs, later ones wait even if permits are free. */
BK_API int bk_sem_acquire(bk_sem *sem);
/* -EAGAIN when no permit is free or others wait. */
BK_API int bk_sem_try_acquire(bk_sem *sem);
/* Returns 0, or -EOVERFLOW beyond max. */
BK_API int bk_sem_release(bk_sem *sem);
BK_API size_t bk_sem_value(const bk_sem *sem);

/* A condition works with a lock that the caller made, and that the calling task holds around every
 * call here (-EPERM otherwise). */
typedef struct bk_cond bk_cond;
BK_API int bk_cond_new(bk_cond **out, bk_lock *lock, const char *name);
BK_API void bk_cond_free(bk_cond **cond);
/* Releases the lock, waits for a notify, takes the lock again; check your predicate in a loop.
 * Returns 0, -ECANCELED, or -BK_ECLOSED when the condition was freed, in each case with the lock
 * held, unless that was freed (-BK_ECLOSED).  A notify for a waiter that is cancelled before it has
 * the lock again goes to the next waiter, and the call returns -ECANCELED. */
BK_API int bk_cond_wait(bk_cond *cond);
/* Wakes the n longest waiting, or all.  Returns 0 or -EPERM. */
BK_API int bk_cond_notify(bk_cond *cond, size_t n);
BK_API int bk_cond_notify_all(bk_cond *cond);

BK_END_DECLS
#endif
