/* SPDX-License-Identifier: MIT
 * A file's inside, and the way of its operations to the kernel. */
#ifndef BECK_SRC_NET_FILE_H
#define BECK_SRC_NET_FILE_H

#include <beck/file.h>

#include "base/buf.h"
#include "rt/rt.h"

struct bk_file {
    int fd;
    struct bk_loop *loop;
    char *name;        /* for messages and dumps: its path, or "descriptor N" */
    bool busy;         /* a task is in a call at the file's position */
    bool skip_line;    /* the rest of an over-long line is still to be dropped */
    unsigned n_inside; /* tasks in any call */
    struct bki_buf in; /* read ahead of the position that the caller knows */
    size_t scanned;    /* bytes of it that are known to hold no "\n" */
    size_t line_len;   /* of the line given out last, with its end: goes with the next call */
    size_t line_limit;
};

/* Runs one of the operations on files (op->kind, op->file), through the backend or on the pool, and
 * suspends until it is done.  name: for dumps.  Returns its result, a negative errno; -ECANCELED
 * only when nothing was done. */
int64_t bki_file_run(struct bki_op *op, const char *name);

#endif
