/* SPDX-License-Identifier: MIT
 * Bytes from and to files, pipes and terminals, for connectors: through the loop where the kernel
 * can tell when a descriptor is ready, as the operations of files where it cannot (regular files,
 * /dev/null). */
#ifndef BECK_SRC_CONNECTORS_BYTES_H
#define BECK_SRC_CONNECTORS_BYTES_H

#include <beck/stream.h>

struct bki_bytes {
    int fd;            /* -1: not open, or the stream's */
    bk_stream *stream; /* NULL: a file */
};

#define BKI_BYTES_CLOSED                                                                           \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Makes bytes of a descriptor, which they own from now on, also on failure. */
int bki_bytes_from_fd(struct bki_bytes *bytes, int fd);

/* Makes bytes of standard input or output (0 or 1) without touching the descriptor itself: others
 * may share it, and would not expect it to become non-blocking. */
int bki_bytes_from_std(struct bki_bytes *bytes, int std_fd);

/* Opens a file; flags and mode as for open(2).  Anything but a regular file or a character device
 * is refused. */
int bki_bytes_open(struct bki_bytes *bytes, const char *path, int flags, unsigned mode);

/* Up to len bytes: the count, 0 at the end, or an error; after -ECANCELED nothing was taken. */
ssize_t bki_bytes_read(struct bki_bytes *bytes, void *buf, size_t len);

/* Hands all of data to the kernel.  0, or an error; *done: how many bytes of it are certain to be
 * written. */
int bki_bytes_write(struct bki_bytes *bytes, const void *data, size_t len, size_t *done);

/* Makes what was written survive a power cut. */
int bki_bytes_sync(struct bki_bytes *bytes);

/* Returns r, or a failure of closing. */
int bki_bytes_close(struct bki_bytes *bytes, int r);

#endif
