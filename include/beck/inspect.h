/* SPDX-License-Identifier: MIT
 * A look at tasks: what each is, where it stands, what it waits for and who would wake it.  Of the
 * calling loop, or of another process, in which no code runs for it.
 *
 *     bk_snapshot *snapshot = NULL;
 *     int r = bk_snapshot_take(&snapshot, pid, NULL);
 *     if (r == 0)
 *         r = bk_snapshot_write(snapshot, STDOUT_FILENO, BK_TREE);
 *     bk_snapshot_free(&snapshot);
 *
 * asyncio's capture_call_graph, print_call_graph and `python -m asyncio ps`.  The command is
 * `beck ps PID`.
 *
 * Nothing here suspends; any thread. */
#ifndef BECK_INSPECT_H
#define BECK_INSPECT_H

#include <beck/base.h>

BK_BEGIN_DECLS

/* A place in code.  Names are "" and numbers 0 where they are not known: the function from the
 * file's symbol table, the line from what the compiler's -g left in it. */
typedef struct bk_place {
    const char *function;
    unsigned long offset; /* in the function */
    const char *file;     /* without its folder */
    int line;
} bk_place;

typedef struct bk_task_info {
    uint64_t loop;         /* counts the process's loops, from 1 */
    int thread_id;         /* the kernel's number of the loop's thread */
    uint64_t id;           /* as bk_task_id */
    uint64_t parent_id;    /* the task that started it, 0 for the main task */
    const char *name;      /* as bk_task_name */
    const char *state;     /* "new", "ready", "running" or "waiting" */
    const char *waits_for; /* "lock 'db' held by #3 writer since 3.200 s"; "" when not waiting */
    bk_duration waiting;   /* for how long */
    bool cancelled;        /* a cancel is in force */
    bk_place started;      /* the call that started it */
    const bk_place *stack; /* innermost first; none of a task that is new, or runs just now */
    size_t n_stack;
    const uint64_t *awaits; /* ids of the tasks that it waits for: their end, or a lock they hold */
    size_t n_awaits;
    const uint64_t *awaited_by; /* ids of the tasks that wait for it */
    size_t n_awaited_by;
    bool in_cycle;   /* it waits for itself, by way of other tasks */
    size_t n_hidden; /* further tasks of the same parent that are left out behind this one */
} bk_task_info;

/* What was seen.  All of it is valid until it is freed; any thread. */
typedef struct bk_snapshot bk_snapshot;

typedef struct bk_snapshot_opts {
    size_t siblings;  /* most tasks told of with the same parent; default 20; BK_UNBOUNDED: all */
    unsigned retries; /* of another process, whose tasks change while they are read; default 10 */
    bool no_stacks;   /* do not walk them: quicker, and the tasks keep still for less long */
} bk_snapshot_opts;

/* Looks at the tasks of the calling thread's loop (pid 0), or of all loops of another process of
 * the same processor kind, whatever version of beck it has, as long as its layout is known.
 * Blocks for a few milliseconds; does not suspend.
 * Errors: -EINVAL pid 0 outside bk_run; -ENOMEM; and for a process, bk_errmsg saying what to do:
 * -ESRCH there is none; -EPERM the kernel does not let us; -BK_EUNSUPPORTED there is no beck in it,
 * or one of another layout; -EAGAIN its tasks changed too quickly. */
BK_API int bk_snapshot_take(bk_snapshot **out, int pid, const bk_snapshot_opts *opts);
/* Empties *snapshot; NULL is fine. */
BK_API void bk_snapshot_free(bk_snapshot **snapshot);

/* The tasks told of, *n of them: loop by loop, each task before those it has started. */
BK_API const bk_task_info *bk_snapshot_tasks(const bk_snapshot *snapshot, size_t *n);
/* How many there are, those left out included. */
BK_API size_t bk_snapshot_total(const bk_snapshot *snapshot);

enum bk_snapshot_form { BK_TREE, BK_TABLE };

/* Writes it for people to the file descriptor fd: a tree with stacks and cycles, as bk_dump, or a
 * table with a line for each task.  Returns 0, or write's error. */
BK_API int bk_snapshot_write(const bk_snapshot *snapshot, int fd, enum bk_snapshot_form form);

BK_END_DECLS
#endif
