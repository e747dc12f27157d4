/* SPDX-License-Identifier: MIT
 * Counts the primes below a number on all cores: a loop on each takes ranges from one channel and
 * puts its counts into another.
 *
 *     parallel 10000000            there are 664579 primes below 10000000
 *
 * What concurrent.futures.ProcessPoolExecutor is for in Python, where threads do not run at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

#define RANGE 10000u

static const char usage[] = "usage: parallel [BELOW [LOOPS]]\n"
                            "Counts the primes below BELOW (default 1000000), with a loop on each\n"
                            "of LOOPS threads (default: one for each processor).\n";

struct range {
    unsigned from, to, n_primes;
};

struct count {
    unsigned below, n_loops;
    unsigned n_primes;
    bk_channel *ranges, *results;
};

static bool is_prime(unsigned n)
{
    for (unsigned d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return n >= 2;
}

/* On each loop: until there are no more ranges. */
static int count_ranges(void *ctx, unsigned index)
{
    struct count *count = ctx;
    bk_msg *msg = NULL;
    int r;
    (void)index;
    while ((r = bk_channel_recv(count->ranges, &msg)) > 0) {
        struct range *range = (struct range *)(void *)bk_msg_data(msg);
        for (unsigned n = range->from; n < range->to; n++)
            range->n_primes += is_prime(n);
        r = bk_channel_send(count->results, &msg); /* the message goes on as its answer */
        if (r < 0)
            break;
    }
    bk_msg_free(&msg);
    return r;
}

static int run_loops(void *ctx)
{
    struct count *count = ctx;
    int r = bk_loops_run(count->n_loops, count_ranges, count, NULL);
    bk_channel_close(count->results);
    return r;
}

static int hand_out(void *ctx)
{
    struct count *count = ctx;
    int r = 0;
    for (unsigned from = 0; r == 0 && from < count->below; from += RANGE) {
        unsigned left = count->below - from;
        struct range range = {.from = from, .to = from + (left < RANGE ? left : RANGE)};
        bk_msg *msg = NULL;
        r = bk_msg_copy(&msg, &range, sizeof range);
        if (r == 0)
            r = bk_channel_send(count->ranges, &msg); /* waits while all loops are busy */
        bk_msg_free(&msg);
    }
    bk_channel_close(count->ranges);
    return r;
}

static int add_up(struct count *count)
{
    bk_msg *msg = NULL;
    int r;
    while ((r = bk_channel_recv(count->results, &msg)) > 0) {
        count->n_primes += ((struct range *)(void *)bk_msg_data(msg))->n_primes;
        bk_msg_free(&msg);
    }
    return r;
}

static int count_primes(void *ctx)
{
    struct count *count = ctx;
    bk_group *group = NULL;
    int r = bk_channel_new(&count->ranges, NULL);
    if (r == 0)
        r = bk_channel_new(&count->results, NULL);
    if (r == 0)
        r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_go(group, run_loops, count, NULL);
    if (r == 0)
        r = bk_group_go(group, hand_out, count, NULL);
    if (r == 0)
        r = add_up(count);
    r = bk_group_close(&group, r);
    bk_channel_free(&count->ranges);
    bk_channel_free(&count->results);
    return r;
}

int main(int argc, char **argv)
{
    struct count count = {.below = 1000000};
    char *end = (char *)"";
    if (argc > 1)
        count.below = (unsigned)strtoul(argv[1], &end, 10);
    if (argc > 2 && !*end)
        count.n_loops = (unsigned)strtoul(argv[2], &end, 10);
    if (argc > 3 || *end) {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    int r = bk_run(count_primes, &count, NULL);
    if (r < 0) {
        fprintf(stderr, "parallel: %s\n", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
        return 1;
    }
    printf("there are %u primes below %u\n", count.n_primes, count.below);
    return 0;
}
