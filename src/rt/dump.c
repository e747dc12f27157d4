/* SPDX-License-Identifier: MIT
 * Prints the tasks of a loop: a snapshot of it, as a tree. */
#include "rt/dump.h"

#include <beck/inspect.h>

#include "rt/rt.h"

int bki_dump_loop(struct bk_loop *loop, int fd)
{
    bk_snapshot *snapshot = NULL;
    (void)loop; /* the thread's own */
    int r = bk_snapshot_take(&snapshot, 0, NULL);
    if (r == 0)
        r = bk_snapshot_write(snapshot, fd, BK_TREE);
    bk_snapshot_free(&snapshot);
    return r;
}

int bk_dump(int fd)
{
    if (!bki_has_loop())
        return bk_fail(-EINVAL, "bk_dump outside bk_run");
    return bki_dump_loop(bki_loop, fd);
}
