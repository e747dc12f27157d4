/* SPDX-License-Identifier: MIT
 * A thousand tiny tasks created, run and joined, again and again: nanoseconds for each task.
 * "spawn eager": each runs inside the call that starts it. */
#include <beck.h>

#include "bench.h"

#define BATCH 1000
#define BATCHES 10000

static uint64_t counter;

static int body(void *ctx)
{
    (void)ctx;
    counter++;
    return 0;
}

static int join(bk_task **task)
{
    int result;
    int r = bk_task_wait(*task, &result);
    bk_task_free(task);
    return r < 0 ? r : result;
}

static int bench(void *ctx)
{
    const bk_task_opts *opts = ctx;
    static bk_task *tasks[BATCH];
    int64_t start = bench_ns();
    for (int k = 0; k < BATCHES; k++) {
        for (int i = 0; i < BATCH; i++) {
            if (bk_go(&tasks[i], body, NULL, opts) < 0)
                return 1;
            if (opts->eager && join(&tasks[i]) < 0) /* it is done */
                return 1;
        }
        for (int i = 0; i < BATCH; i++)
            if (!opts->eager && join(&tasks[i]) < 0)
                return 1;
    }
    printf("RESULT ns=%.3f\n", (double)(bench_ns() - start) / ((double)BATCH * BATCHES));
    return counter != (uint64_t)BATCH * BATCHES;
}

int main(int argc, char **argv)
{
    bk_task_opts opts = {.eager = argc > 1 && strcmp(argv[1], "eager") == 0};
    return bk_run(bench, &opts, NULL) != 0;
}
