/* SPDX-License-Identifier: MIT
 * Task-local values: what belongs to a request and every function that serves it wants to know.
 *
 *     static bk_local request_id;               // one object for each value
 *     static bk_local user = {.free = free};    // its values are freed when nobody sees them
 *
 *     bk_local_set(&request_id, "42");
 *     ...
 *     const char *id = bk_local_get(&request_id);   // here, and in whatever is started from here
 *
 * A task starts with the values that its starter has at that moment; what either sets later, the
 * other does not see.  The same goes for bk_to_thread (with its thread), bk_go_threadsafe, the
 * calls of the loop and the callbacks of futures and tasks.  What is set between the runs of a loop
 * that is kept (loop.h), the tasks of each run start with.  asyncio: contextvars. */
#ifndef BECK_LOCAL_H
#define BECK_LOCAL_H

#include <beck/run.h>

BK_BEGIN_DECLS

/* Identifies a value; static, never freed. */
typedef struct bk_local {
    /* Called once for each value that was set, when no task, call or thread has it any more; on the
     * thread that let go of it last.  Must not suspend.  NULL: the values are borrowed, and live as
     * long as anything that may see them. */
    void (*free)(void *value);
} bk_local;

/* Sets local for the running task, call or bk_to_thread function, or between the runs of a loop.
 * value: the local's to free when local->free is set; NULL unsets it. Returns 0; -ENOMEM, and value
 * is the caller's still; -EINVAL outside of any.  Does not suspend. ContextVar.set. */
BK_API int bk_local_set(const bk_local *local, void *value);

/* The value as set here, or before here was started; NULL when it is not set.  Borrowed: valid
 * until it is set anew here.  Does not suspend.  ContextVar.get. */
BK_API void *bk_local_get(const bk_local *local);

/* Runs fn(ctx) in the caller, and undoes what it sets.  Suspends as fn does.  Returns fn's result.
 * ContextVar.reset, copy_context().run. */
BK_API int bk_local_scope(bk_fn *fn, void *ctx);

/* ---- Contexts: values that several tasks share.  Loop thread only. ---- */

typedef struct bk_context bk_context;

/* Makes a context with the caller's values.  -ENOMEM.  contextvars.copy_context. */
BK_API int bk_context_copy(bk_context **out);

/* Gives it back and empties *context; tasks that run in it (bk_task_opts.context) keep it.  NULL is
 * fine. */
BK_API void bk_context_free(bk_context **context);

/* Runs fn(ctx) in the caller with the context's values; what it sets, it sets in the context.
 * Suspends as fn does.  Returns fn's result.  Context.run. */
BK_API int bk_context_run(bk_context *context, bk_fn *fn, void *ctx);

BK_END_DECLS
#endif
