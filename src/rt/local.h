/* SPDX-License-Identifier: MIT
 * How task-local values pass from a starter to what it starts.
 *
 * Values lie in a table that is never changed while more than one has it: to inherit is to count a
 * reference, and whoever sets a value in a shared table copies it first.  NULL is a table too, the
 * empty one, so that programs without task-local values pay a comparison. */
#ifndef BECK_SRC_RT_LOCAL_H
#define BECK_SRC_RT_LOCAL_H

#include <beck/local.h>

struct bk_task;
struct bki_locals;

/* One more reference of the caller's table; NULL when it is empty.  Any thread. */
struct bki_locals *bki_locals_share(void);
/* Any thread; NULL is fine. */
void bki_locals_unref(struct bki_locals *locals);

/* A new task gets its starter's values, or runs in a context. */
void bki_locals_inherit(struct bk_task *task, bk_context *context);
/* A task has ended. */
void bki_locals_drop(struct bk_task *task);

/* Around a call of the loop: locals is what it got when it was made, and consumed. */
struct bki_locals *bki_locals_enter(struct bki_locals *locals);
void bki_locals_leave(struct bki_locals *before);

/* Around a function on a pool thread: locals stays the caller's. */
void bki_locals_enter_thread(struct bki_locals *locals);
void bki_locals_leave_thread(void);

#endif
