/* SPDX-License-Identifier: MIT
 * One producer, one consumer, a bounded queue of 64 between them on one loop: ns for each item. */
#include <beck.h>

#include "bench.h"

#define ITEMS 10000000

static int producer(void *ctx)
{
    for (intptr_t i = 0; i < ITEMS; i++) {
        int r = bk_queue_put(ctx, (void *)i);
        if (r < 0)
            return r;
    }
    bk_queue_close(ctx);
    return 0;
}

static int bench(void *ctx)
{
    (void)ctx;
    bk_queue *queue = NULL;
    void *item;
    int64_t sum = 0;
    if (bk_queue_new(&queue, &(bk_queue_opts){.limit = 64}) < 0)
        return 1;
    int64_t start = bench_ns();
    if (bk_go(NULL, producer, queue, NULL) < 0)
        return 1;
    while (bk_queue_get(queue, &item) > 0)
        sum += (intptr_t)item;
    int64_t ns = bench_ns() - start;
    bk_queue_free(&queue);
    if (sum != (int64_t)ITEMS * (ITEMS - 1) / 2)
        return 1;
    printf("RESULT ns=%.3f\n", (double)ns / ITEMS);
    return 0;
}

int main(void)
{
    return bk_run(bench, NULL, NULL);
}
