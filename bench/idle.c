/* SPDX-License-Identifier: MIT
 * N tasks that wait for an event: resident and page-table bytes, and creation time, for each. */
#include <beck.h>

#include "bench.h"

static bk_event *event;
static size_t up;

static int body(void *ctx)
{
    (void)ctx;
    up++;
    return bk_event_wait(event);
}

static int bench(void *ctx)
{
    size_t n = *(const size_t *)ctx;
    long rss = bench_vm_bytes("VmRSS:"), pte = bench_vm_bytes("VmPTE:");
    if (bk_event_new(&event, "go") < 0)
        return 1;
    int64_t start = bench_ns();
    for (size_t i = 0; i < n; i++)
        if (bk_go(NULL, body, NULL, NULL) < 0) {
            printf("FAIL at %zu: %s\n", i, bk_errmsg());
            return 1;
        }
    while (up < n)
        bk_yield();
    double ns = (double)(bench_ns() - start) / (double)n;
    printf("RESULT rss_B=%.0f pte_B=%.0f create_ns=%.0f\n",
           (double)(bench_vm_bytes("VmRSS:") - rss) / (double)n,
           (double)(bench_vm_bytes("VmPTE:") - pte) / (double)n, ns);
    bk_event_set(event);
    while (bk_task_count() > 1)
        bk_yield();
    bk_event_free(&event);
    return 0;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    return bk_run(bench, &n, NULL) != 0;
}
