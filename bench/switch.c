/* SPDX-License-Identifier: MIT
 * Two tasks yield in turn: nanoseconds for each switch. */
#include <beck.h>

#include "bench.h"

#define ROUNDS 50000000

static int yielder(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < ROUNDS; i++)
        bk_yield();
    return 0;
}

static int bench(void *ctx)
{
    (void)ctx;
    int64_t start = bench_ns();
    bk_call calls[] = {{.fn = yielder}, {.fn = yielder}};
    int r = bk_gather(calls, 2, NULL);
    printf("RESULT ns=%.3f\n", (double)(bench_ns() - start) / (2.0 * ROUNDS));
    return r;
}

int main(void)
{
    return bk_run(bench, NULL, NULL) != 0;
}
