/* SPDX-License-Identifier: MIT
 * Runs a scenario again and again, failing its first allocation, then its second, and so on until
 * it gets through without a failure; and counts what each run leaves allocated.
 *
 *     static int scenario(void *ctx) { ... return 0, or -ENOMEM when an allocation failed; }
 *     CHECK(alloc_sweep(scenario, NULL) > 0);
 *
 * Install nothing else through bk_set_allocator meanwhile.  Allocations of all threads are counted.
 */
#ifndef BECK_TESTS_ALLOC_SWEEP_H
#define BECK_TESTS_ALLOC_SWEEP_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <beck/base.h>

#include "base/msg_internal.h"

static atomic_long alloc_sweep_until_failure; /* allocations left before the one that fails */
static atomic_long alloc_sweep_failed;        /* how many have failed in this run: 0 or 1 */
static atomic_long alloc_sweep_live;          /* blocks allocated and not yet freed */

static void *alloc_sweep_hook(void *ptr, size_t size)
{
    if (size == 0) {
        if (ptr)
            atomic_fetch_sub(&alloc_sweep_live, 1);
        free(ptr);
        return NULL;
    }
    if (atomic_fetch_sub(&alloc_sweep_until_failure, 1) == 1) {
        atomic_fetch_add(&alloc_sweep_failed, 1);
        return NULL;
    }
    void *result = realloc(ptr, size);
    if (result && !ptr)
        atomic_fetch_add(&alloc_sweep_live, 1);
    return result;
}

/* Fails the n-th allocation from now on (1 is the next one); 0 fails none. */
static inline void alloc_sweep_fail_nth(long n)
{
    bki_msg_cache_trim();
    atomic_store(&alloc_sweep_failed, 0);
    atomic_store(&alloc_sweep_live, 0);
    atomic_store(&alloc_sweep_until_failure, n);
    bk_set_allocator(alloc_sweep_hook);
}

/* Ends what alloc_sweep_fail_nth began; returns how many blocks allocated since are still live. */
static inline long alloc_sweep_end(void)
{
    bki_msg_cache_trim();
    bk_set_allocator(NULL);
    return atomic_load(&alloc_sweep_live);
}

/* Returns the number of allocations of a whole run; or -1, after saying why on stderr, when a run
 * leaked, returned something else than 0 or -ENOMEM, or failed without cause.  A run may succeed in
 * spite of a failed allocation (a shrink, a cache). */
static inline long alloc_sweep(int (*scenario)(void *ctx), void *ctx)
{
    for (long n = 1;; n++) {
        alloc_sweep_fail_nth(n);
        int r = scenario(ctx);
        long leaked = alloc_sweep_end();
        bool hit = atomic_load(&alloc_sweep_failed) != 0;
        if (leaked != 0) {
            fprintf(stderr, "alloc_sweep: failing allocation %ld leaves %ld blocks\n", n, leaked);
            return -1;
        }
        if (r != 0 && (r != -ENOMEM || !hit)) {
            fprintf(stderr, "alloc_sweep: failing allocation %ld gives %d\n", n, r);
            return -1;
        }
        if (!hit)
            return n - 1;
    }
}

#endif
