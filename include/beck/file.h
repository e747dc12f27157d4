/* SPDX-License-Identifier: MIT
 * Files, read and written without blocking the loop: by io_uring itself where that is the backend,
 * by the pool of threads elsewhere.
 *
 *     bk_file *log = NULL;
 *     bk_span line;
 *     int r = bk_file_open(&log, "/var/log/app.log", O_RDONLY, NULL);
 *     while (r >= 0 && (r = bk_file_read_line(log, &line)) > 0)
 *         r = look_at(line);
 *     return bk_file_close(&log, r);
 *
 * What is under way when its task is cancelled is waited for, so that the caller's memory is always
 * the caller's again when a call returns; what has not begun does not happen.
 *
 * Everything here is for the loop thread, in a task.  Calls that suspend fail with -ECANCELED in a
 * cancelled one, and all may fail with -ENOMEM and -EAGAIN (no thread could be started). */
#ifndef BECK_FILE_H
#define BECK_FILE_H

#include <fcntl.h>
#include <sys/stat.h>

#include <beck/msg.h>
#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_file bk_file;

typedef struct bk_file_opts {
    unsigned mode;     /* permissions of a file that is created, less the umask; default 0666 */
    size_t line_limit; /* longest line of bk_file_read_line; default 64 KiB */
} bk_file_opts;

/* Opens a regular file, a directory (to sync it), or a device that never waits, such as /dev/null.
 * out: NULL on entry; bk_file_close it.  flags: as for open(2); O_CLOEXEC is added.
 * Suspends.  Returns 0; open's error (-ENOENT, -EACCES, -EEXIST, -EMFILE, ...); -EINVAL for a pipe,
 * socket or terminal: open those yourself, for bk_stream_from_fd. */
BK_API int bk_file_open(bk_file **out, const char *path, int flags, const bk_file_opts *opts);

/* The same of a descriptor that is open already.  On success the file owns fd; on failure it is
 * still yours.  Does not suspend. */
BK_API int bk_file_from_fd(bk_file **out, int fd, const bk_file_opts *opts);

/* ---- At the file's position: one task at a time, -EBUSY for a second ---- */

/* Reads len bytes into buf; fewer at the end of the file, or when an error or a cancel came in
 * between, which the next call tells of.
 * Suspends.  Returns the count, 0 at the end, or an error, nothing read. */
BK_API ssize_t bk_file_read(bk_file *file, void *buf, size_t len);

/* Reads a line, without its "\n" or "\r\n"; a last line without one counts.
 * *line: inside the file object; valid until the next call at the file's position.
 * Suspends.  Returns 1; 0 at the end; -BK_ELIMIT for a line over line_limit, which is skipped; or
 * an error, nothing consumed. */
BK_API int bk_file_read_line(bk_file *file, bk_span *line);

/* Writes all of data, with O_APPEND at the end of the file.
 * Suspends.  Returns 0, or an error (-ENOSPC, -EIO, -ECANCELED, ...): part of data may be written,
 * and the position behind it. */
BK_API int bk_file_write(bk_file *file, const void *data, size_t len);

/* Moves the position as lseek(2) does by offset and whence.  Returns the new one, or -EINVAL,
 * -EBUSY.  Never suspends.
 */
BK_API int64_t bk_file_seek(bk_file *file, int64_t offset, int whence);

/* ---- At a place of its own: any number of tasks at once ---- */

/* As bk_file_read and bk_file_write, from offset on; the position stays. */
BK_API ssize_t bk_file_pread(bk_file *file, void *buf, size_t len, int64_t offset);
BK_API int bk_file_pwrite(bk_file *file, const void *data, size_t len, int64_t offset);

/* Makes what was written survive a power cut; data_only leaves times and the like aside
 * (fdatasync).  Suspends.  Returns 0, or an error: then it may be lost. */
BK_API int bk_file_sync(bk_file *file, bool data_only);

/* Makes the file size bytes long.  Suspends.  Returns 0 or an error. */
BK_API int bk_file_truncate(bk_file *file, int64_t size);

/* Its size, times and so on, as fstat(2).  Suspends.  Returns 0 or an error. */
BK_API int bk_file_stat(bk_file *file, struct stat *out);

/* The file descriptor.  It stays the file's. */
BK_API int bk_file_fd(const bk_file *file);

/* Closes *file and sets it to NULL.  NULL is fine.  Suspends, deaf to cancels.
 * Returns r, or for an r >= 0 the error of closing, which may be that of an earlier write (-EIO,
 * -EDQUOT).  -EBUSY, and nothing is closed: a task is inside a call on it. */
BK_API int bk_file_close(bk_file **file, int r);

/* ---- Whole files ---- */

/* Reads a file into a message.
 * limit: most bytes.  out: NULL on entry, yours after (bk_msg_free).
 * Suspends.  Returns 0; -BK_ELIMIT when it is longer; or an error. */
BK_API int bk_file_load(const char *path, size_t limit, bk_msg **out);

typedef struct bk_file_save_opts {
    unsigned mode; /* permissions, less the umask; default those of the file replaced, else 0666 */
    bool no_sync;  /* do not wait until it is safe from a power cut */
} bk_file_save_opts;

/* Makes a file of data, replacing one that is there in one step: whoever opens path sees all of the
 * old or all of the new one, also after a crash.  (It is written beside it under another name,
 * synced, renamed, and the directory synced.)  A symbolic link at path is replaced itself.
 * Suspends, and once begun is deaf to cancels.  Returns 0, or an error, and path is as it was (or
 * -EIO of the last sync: the new file, perhaps not safe yet). */
BK_API int bk_file_save(const char *path, const void *data, size_t len,
                        const bk_file_save_opts *opts);

BK_END_DECLS
#endif
