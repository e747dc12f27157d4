/* SPDX-License-Identifier: MIT
 * A thousand tiny tasks created, run and joined, again and again: nanoseconds for each task. */
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

static int bench(void *ctx)
{
    (void)ctx;
    static bk_task *tasks[BATCH];
    int64_t start = bench_ns();
    for (int k = 0; k < BATCHES; k++) {
        for (int i = 0; i < BATCH; i++)
            if (bk_go(&tasks[i], body, NULL, NULL) < 0)
                return 1;
        for (int i = 0; i < BATCH; i++) {
            int result;
            bk_task_wait(tasks[i], &result);
            bk_task_free(&tasks[i]);
        }
    }
    printf("RESULT ns=%.3f\n", (double)(bench_ns() - start) / ((double)BATCH * BATCHES));
    return counter != (uint64_t)BATCH * BATCHES;
}

int main(void)
{
    return bk_run(bench, NULL, NULL) != 0;
}
