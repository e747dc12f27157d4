/* SPDX-License-Identifier: MIT
 * Any file descriptor as something a task waits for, and pipes.
 *
 * For descriptors that other code reads and writes: a library with a socket of its own, a device, a
 * timerfd, an inotify.  For bytes, prefer a stream (bk_stream_from_fd).
 *
 *     while ((r = bk_fd_wait(PQsocket(db), BK_READABLE, bk_forever())) > 0)
 *         r = take_what_came(db);
 *
 * Everything here is for the loop thread, in a task. */
#ifndef BECK_FD_H
#define BECK_FD_H

#include <beck/stream.h>

BK_BEGIN_DECLS

enum bk_ready { BK_READABLE = 1, BK_WRITABLE = 2 };

/* Suspends until fd is ready: until a read (a write) would not block, be it that it fails, or the
 * limit is over.
 * fd: yours; blocking or not, it stays as it is, and nothing is read or written.
 * events: BK_READABLE, BK_WRITABLE or both.  One task waits for each of them at a time; a reader
 * and a writer do not disturb each other.
 * limit: bk_forever() for none; zero or less only looks.
 * When fd is ready already, or can never block (a file), it returns at once.
 * Returns which of events are up, at least one; -ETIMEDOUT; -ECANCELED, also when fd became ready
 * in the same turn; -EBUSY when another task waits for one of them, or fd belongs to a stream or
 * the like; -BK_ECLOSED when fd was closed by bk_fd_close meanwhile; -EBADF when fd is not open, or
 * was closed behind beck's back and its number found in use by a stream; -EINVAL; -ENOMEM; -EMFILE.
 * Follows asyncio's add_reader and add_writer; cancelling is remove_reader and remove_writer. */
BK_API int bk_fd_wait(int fd, int events, bk_duration limit);

/* close(fd) for a descriptor that tasks may be waiting for: they get -BK_ECLOSED.  (After a plain
 * close they would go on waiting for the file they knew, never for another of the same number.)
 * Does not suspend.  Returns 0, close's error, or -EBUSY when fd belongs to a stream or the like,
 * and nothing is closed. */
BK_API int bk_fd_close(int fd);

/* Makes a pipe: what is written to *writer can be read from *reader.
 * Both: NULL on entry, yours after (bk_stream_close).  opts: of both, as for bk_stream_from_fd.
 * Does not suspend.  Errors: -EMFILE, -ENFILE, -ENOMEM. */
BK_API int bk_pipe_open(bk_stream **reader, bk_stream **writer, const bk_stream_opts *opts);

BK_END_DECLS
#endif
