/* SPDX-License-Identifier: MIT
 * Three tasks, two of them suspended some calls deep, for the debugger to look at. */
#include <beck.h>
#include <stdio.h>
#include <stdlib.h>

static volatile int depth_reached;

__attribute__((noinline)) static int doze(int marker)
{
    int r = bk_sleep(bk_seconds(3600));
    depth_reached = marker;
    return r;
}

static int sleeper(void *ctx)
{
    (void)ctx;
    int marker = 4711;
    int r = doze(marker);
    depth_reached = r;
    return r;
}

static int waiter(void *ctx)
{
    int r = bk_task_wait(ctx, NULL);
    depth_reached = r;
    return r;
}

__attribute__((noinline)) static void stop_here(void)
{
    abort();
}

static int run(void *ctx)
{
    (void)ctx;
    bk_task *sleeping = NULL;
    int r = bk_go(&sleeping, sleeper, NULL, &(bk_task_opts){.name = "night owl"});
    if (r == 0)
        r = bk_go(NULL, waiter, sleeping, NULL);
    if (r == 0)
        r = bk_yield();
    stop_here();
    return r;
}

int main(void)
{
    return bk_run(run, NULL, NULL) != 0;
}
