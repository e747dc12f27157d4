/* SPDX-License-Identifier: MIT
 * Subprocesses: started, fed, read and waited for without blocking the loop.
 *
 *     bk_process *sort = NULL;
 *     bk_msg *sorted = NULL;
 *     int code = 0;
 *     const char *argv[] = {"sort", "-n", NULL};
 *     int r = bk_process_exec(&sort, argv, &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE});
 *     if (r == 0)
 *         r = bk_process_communicate(sort, input, &sorted, NULL, NULL);
 *     if (r == 0)
 *         r = bk_process_wait(sort, &code);
 *     r = bk_process_close(&sort, r);
 *
 * A child belongs to the run.  One that is still alive when the run ends, whether its handle was
 * closed or not, is killed and reaped then, unless it was detached.  The loop reaps its children by
 * their own process descriptors (on kernels without those, a thread for each child): no handler for
 * SIGCHLD is installed, and children of other parts of the program are left alone.
 *
 * Everything here is for the loop thread; what may suspend is for tasks, and fails with -ECANCELED
 * in a cancelled one. */
#ifndef BECK_PROCESS_H
#define BECK_PROCESS_H

#include <beck/msg.h>
#include <beck/stream.h>

BK_BEGIN_DECLS

typedef struct bk_process bk_process;

/* What a standard stream of the child is.  A number above 0 is a descriptor of yours, borrowed for
 * the call that starts the child. */
enum bk_stdio {
    BK_INHERIT = 0, /* what this process has (default) */
    BK_PIPE = -1,   /* a pipe, whose other end is a stream of the bk_process */
    BK_STDOUT = -2, /* for err: wherever the child's standard output goes */
    BK_DEVNULL = -3,
};

typedef struct bk_process_opts {
    int in, out, err;       /* enum bk_stdio, or a descriptor */
    const char *const *env; /* "NAME=value", ..., NULL: all of the child's environment; default:
                             * this process's.  Its PATH is searched for the program */
    const char *cwd;        /* where the child starts; default: here */
    /* Descriptors that the child gets besides 0, 1 and 2, under the same numbers.  No others,
     * whatever their close-on-exec flag says. */
    const int *pass_fds;
    size_t n_pass_fds;
    /* The child leads a process group of its own, which a terminal's Ctrl-C does not reach, and
     * signals sent through the bk_process go to the whole group: a shell's children, too. */
    bool new_group;
    bool new_session;      /* the same in a new session, without a controlling terminal */
    bk_stream_opts stream; /* of the pipes */
} bk_process_opts;

/* Starts a program.
 * out: NULL on entry; bk_process_close it.  argv: program, arguments, NULL; a program without a "/"
 * is looked for in PATH.
 * The child has no signal blocked, and none ignored that beck or the C library made so (SIGPIPE,
 * SIGXFSZ, SIGCHLD).
 * Suspends until the program runs, or could not be started: then no process is left.  A cancel that
 * comes while it is being started shows at the next call.
 * Returns 0; what kept it from running, told by the child (-ENOENT, -EACCES, -ENOEXEC, -E2BIG; the
 * text says whether it was the program or cwd); -EINVAL for wrong options; -EAGAIN (too many
 * processes, or no thread to start it on), -EMFILE, -ENOMEM, -ECANCELED.
 * asyncio: create_subprocess_exec. */
BK_API int bk_process_exec(bk_process **out, const char *const argv[], const bk_process_opts *opts);

/* The same for a command line of /bin/sh.  It is a program text: put nothing in it that comes from
 * outside.  asyncio: create_subprocess_shell. */
BK_API int bk_process_shell(bk_process **out, const char *command, const bk_process_opts *opts);

/* Suspends until the child has ended; at once when it has.  Any number of tasks may wait.  Output
 * that nobody has read stays readable; but a child that fills its pipe, and is not read, never
 * ends: see bk_process_communicate.
 * code: NULL to drop it; else the exit status (0 to 255), or the negative number of the signal that
 * killed it.  255 also when somebody else reaped the child, which on_error is told of.
 * Returns 0, or -ECANCELED: the child runs on. */
BK_API int bk_process_wait(bk_process *process, int *code);

/* The same without waiting: -EINPROGRESS while the child runs.  Never suspends. */
BK_API int bk_process_returncode(const bk_process *process, int *code);

typedef struct bk_communicate_opts {
    size_t limit; /* most bytes of each output; default 64 MiB; BK_UNBOUNDED */
} bk_communicate_opts;

/* Feeds input to the child and closes its standard input, reads both outputs to their ends at the
 * same time, and suspends until it ends: no order of reading and writing can deadlock.  A child
 * that stops reading early is no error.  Streams that are not BK_PIPE are left out.
 * input: borrowed until it returns; empty is fine.
 * out, err: NULL to drop what comes; else NULL on entry, yours after (bk_msg_free).
 * Returns 0; -BK_ELIMIT when an output goes over the limit, -ENOMEM; -EINVAL for input without
 * .in = BK_PIPE, or an out or err whose stream is no pipe; -EBUSY when another task reads or writes
 * a stream; -ECANCELED.  When it fails the child runs on and nothing is lost: called again with the
 * same input it goes on where it was. */
BK_API int bk_process_communicate(bk_process *process, bk_span input, bk_msg **out, bk_msg **err,
                                  const bk_communicate_opts *opts);

/* The child's ends of what is BK_PIPE, NULL for anything else: in to write to, out and err to read.
 * Borrowed: the bk_process closes them. */
BK_API bk_stream *bk_process_in(const bk_process *process);
BK_API bk_stream *bk_process_out(const bk_process *process);
BK_API bk_stream *bk_process_err(const bk_process *process);

/* Ends the child's standard input: suspends until the pipe has taken what was written, and closes
 * it; bk_process_in is NULL then.  Again, or without a pipe: nothing.
 * Returns 0, also when the child has stopped reading; -ECANCELED, the pipe still open; -EBUSY. */
BK_API int bk_process_close_in(bk_process *process);

/* The child's process number; it stays the child's until bk_process_close or _detach. */
BK_API pid_t bk_process_pid(const bk_process *process);

/* Sends signal number signo; to a child that has ended: nothing, and 0.  Never to another process
 * that has got its number.  Returns 0, -EPERM (it is another user's now, or another loop's child)
 * or -EINVAL.  Never suspends. */
BK_API int bk_process_signal(bk_process *process, int signo);
BK_API int bk_process_terminate(bk_process *process); /* SIGTERM */
BK_API int bk_process_kill(bk_process *process);      /* SIGKILL */

/* Ends the child in order: SIGTERM, and SIGKILL if it is still there after `patience`.  Suspends
 * until it has ended, deaf to cancels.  code: as bk_process_wait.  Returns 0. */
BK_API int bk_process_stop(bk_process *process, bk_duration patience, int *code);

/* Gives the child up: *process is emptied and its pipes are closed, unsent input is dropped.  The
 * child runs on, also after the run; while that goes on it is reaped.  NULL is fine.  Does not
 * suspend. */
BK_API void bk_process_detach(bk_process **process);

/* Closes the pipes and waits for the child; then frees *process and sets it to NULL.  NULL is fine.
 * r: how the caller's work with it went.  r < 0: kills it first.  r >= 0: flushes its input first,
 * and kills it only when the caller is cancelled.  (What it still writes meets a closed pipe.)
 * Suspends until it has ended.  Returns r, or for an r >= 0 what went wrong here: -ECANCELED, or
 * the error that lost input.  -EBUSY, and nothing is closed: another task is inside a call on one
 * of its pipes. */
BK_API int bk_process_close(bk_process **process, int r);

BK_END_DECLS
#endif
