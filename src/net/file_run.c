/* SPDX-License-Identifier: MIT
 * Operations on files: through the backend where it has them, else on a thread of the pool. */
#include <stdio.h>
#include <unistd.h>

#include <beck/thread.h>

#include "net/file.h"

#define MAX_TRANSFER ((size_t)1 << 30)

static void describe_file(const void *object, char *buf, size_t size)
{
    snprintf(buf, size, "%s", (const char *)object);
}

static const struct bki_wait_kind kinds[] = {
    [BKI_OP_OPEN] = {.what = "open", .describe = describe_file},
    [BKI_OP_CLOSE] = {.what = "close", .describe = describe_file},
    [BKI_OP_READ] = {.what = "read", .describe = describe_file},
    [BKI_OP_WRITE] = {.what = "write", .describe = describe_file},
    [BKI_OP_SYNC] = {.what = "sync", .describe = describe_file},
};

static ssize_t read_file(const struct bki_op *op, size_t size)
{
    return op->file.offset < 0 ? read(op->file.number, op->file.mem, size)
                               : pread(op->file.number, op->file.mem, size, op->file.offset);
}

static ssize_t write_file(const struct bki_op *op, size_t size)
{
    return op->file.offset < 0 ? write(op->file.number, op->file.mem, size)
                               : pwrite(op->file.number, op->file.mem, size, op->file.offset);
}

static int64_t call_once(const struct bki_op *op)
{
    size_t size = op->file.size < MAX_TRANSFER ? op->file.size : MAX_TRANSFER;
    switch (op->kind) {
    case BKI_OP_OPEN:
        return open(op->file.path, op->file.flags, op->file.mode);
    case BKI_OP_CLOSE:
        /* Interrupted or not, Linux has closed it. */
        return close(op->file.number) < 0 && errno != EINTR ? -1 : 0;
    case BKI_OP_READ:
        return read_file(op, size);
    case BKI_OP_WRITE:
        return write_file(op, size);
    default:
        return op->file.data_only ? fdatasync(op->file.number) : fsync(op->file.number);
    }
}

static int call_on_thread(void *ctx)
{
    struct bki_op *op = ctx;
    do {
        op->result = call_once(op);
    } while (op->result < 0 && errno == EINTR);
    if (op->result < 0)
        op->result = -errno;
    return 0;
}

int64_t bki_file_run(struct bki_op *op, const char *name)
{
    int64_t n = bki_check_cancel();
    if (n < 0)
        return n;
    n = -EAGAIN;
    if (bki_loop->backend->files)
        n = bki_op_run(op, &kinds[op->kind], name);
    if (n != -EAGAIN) /* a file that is open non-blocking, where the ring would have to wait */
        return n;
    int r = bk_to_thread(call_on_thread, op, NULL);
    return r < 0 ? r : op->result;
}
