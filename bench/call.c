/* SPDX-License-Identifier: MIT
 * Calls of the loop: one that makes the next, and one that is called off before its time; ns for
 * each. */
#include <beck.h>

#include "bench.h"

#define CALLS 5000000

static int n_left;

static int chain(void *ctx)
{
    if (--n_left > 0)
        return bk_call_soon(NULL, chain, ctx);
    return bk_event_set(ctx);
}

static int bench(void *ctx)
{
    (void)ctx;
    bk_event *done = NULL;
    if (bk_event_new(&done, NULL) < 0)
        return 1;
    n_left = CALLS;
    int64_t start = bench_ns();
    if (bk_call_soon(NULL, chain, done) < 0 || bk_event_wait(done) < 0)
        return 1;
    int64_t soon = bench_ns() - start;
    start = bench_ns();
    for (int i = 0; i < CALLS; i++) {
        bk_handle *h = NULL;
        if (bk_call_later(&h, bk_seconds(10), chain, done) < 0)
            return 1;
        bk_handle_cancel(h);
        bk_handle_free(&h);
    }
    int64_t later = bench_ns() - start;
    bk_event_free(&done);
    printf("RESULT soon_ns=%.3f later_ns=%.3f\n", (double)soon / CALLS, (double)later / CALLS);
    return 0;
}

int main(void)
{
    return bk_run(bench, NULL, NULL);
}
