/* SPDX-License-Identifier: MIT
 * A hundred producers and a hundred consumers at one queue. */
#include <beck/group.h>
#include <beck/queue.h>

#include "tests/run_helper.h"

#define ITEM(n) ((void *)(intptr_t)(n))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { PRODUCERS = 100, CONSUMERS = 100, EACH = 1000 };
#else
enum { PRODUCERS = 100, CONSUMERS = 100, EACH = 10000 };
#endif

static struct {
    bk_queue *queue;
    uint8_t seen[PRODUCERS * EACH];
    int last[CONSUMERS][PRODUCERS];
    int n_wrong;
} mpmc;

static int producer(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    for (int i = 0; i < EACH; i++) {
        int r = bk_queue_put(mpmc.queue, ITEM(me * EACH + i));
        if (r < 0)
            return r;
        if (i % 97 == me % 97)
            bk_yield();
    }
    return 0;
}

static int consumer(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    void *item;
    int r;
    while ((r = bk_queue_get(mpmc.queue, &item)) > 0) {
        int n = (int)(intptr_t)item, from = n / EACH;
        mpmc.seen[n]++;
        mpmc.n_wrong += n < mpmc.last[me][from]; /* each producer's items arrive in order */
        mpmc.last[me][from] = n;
        if (n % 89 == me % 89)
            bk_yield();
    }
    return r;
}

/* Every item exactly once, and each producer's in order. */
static void run_mpmc(size_t limit)
{
    memset(&mpmc, 0, sizeof mpmc);
    CHECK_EQ(bk_queue_new(&mpmc.queue, &(bk_queue_opts){.limit = limit}), 0);
    bk_group *producers = NULL, *consumers = NULL;
    CHECK_EQ(bk_group_open(&producers, NULL), 0);
    CHECK_EQ(bk_group_open(&consumers, NULL), 0);
    for (int i = 0; i < CONSUMERS; i++)
        CHECK_EQ(bk_group_go(consumers, consumer, ITEM(i), NULL), 0);
    for (int i = 0; i < PRODUCERS; i++)
        CHECK_EQ(bk_group_go(producers, producer, ITEM(i), NULL), 0);
    CHECK_EQ(bk_group_close(&producers, 0), 0);
    bk_queue_close(mpmc.queue);
    CHECK_EQ(bk_group_close(&consumers, 0), 0);
    CHECK_EQ(mpmc.n_wrong, 0);
    for (int i = 0; i < PRODUCERS * EACH; i++)
        CHECK_EQ(mpmc.seen[i], 1);
    bk_queue_free(&mpmc.queue);
}

LOOP_TEST(C127_test_mpmc)
{
    run_mpmc(64);
}

LOOP_TEST(C127_test_mpmc_of_one)
{
    run_mpmc(1);
}

CHECK_MAIN(TEST(C127_test_mpmc), TEST(C127_test_mpmc_of_one))
