/* SPDX-License-Identifier: MIT
 * A loop that another main loop drives, turn by turn. */
#include <beck/loop.h>

#include "rt/loop.h"
#include "rt/sched.h"

int bk_loop_fd(bk_loop *loop)
{
    int r = bki_loop_check_thread(loop);
    return r < 0 ? r : loop->backend->pollable(loop);
}

bk_duration bk_loop_timeout(bk_loop *loop)
{
    if (bki_loop_check(loop) < 0)
        return bk_forever();
    return bk_ns(bki_sched_timeout(loop));
}

int bk_loop_turn(bk_loop *loop)
{
    int r = bki_loop_check(loop);
    if (r < 0)
        return r;
    loop->running = true;
    bki_sched_turn(loop);
    loop->running = false;
    bki_sched_unstop(loop);
    if (loop->fatal < 0)
        return bk_fail(loop->fatal, "the event loop failed");
    return loop->n_tasks > 0 || loop->ready_head || loop->timers.len > 0;
}
