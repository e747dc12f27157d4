/* SPDX-License-Identifier: MIT
 * State Threads: a thousand tiny threads created, run and joined, again and again. */
#include <st.h>

#include "../bench.h"

#define BATCH 1000
#define BATCHES 2000

static uint64_t counter;

static void *body(void *arg)
{
    counter++;
    return arg;
}

int main(void)
{
    static st_thread_t threads[BATCH];
    st_init();
    int64_t start = bench_ns();
    for (int k = 0; k < BATCHES; k++) {
        for (int i = 0; i < BATCH; i++)
            threads[i] = st_thread_create(body, NULL, 1, 16384);
        for (int i = 0; i < BATCH; i++)
            st_thread_join(threads[i], NULL);
    }
    printf("RESULT ns=%.3f\n", (double)(bench_ns() - start) / ((double)BATCH * BATCHES));
    return counter != (uint64_t)BATCH * BATCHES;
}
