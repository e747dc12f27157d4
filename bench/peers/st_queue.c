/* SPDX-License-Identifier: MIT
 * State Threads: items through a bounded queue of 64 made of two condition variables. */
#include <st.h>

#include "../bench.h"

#define SLOTS 64
#define ITEMS 10000000

static uint64_t slots[SLOTS], head, tail;
static st_cond_t not_full, not_empty;

static void *produce(void *arg)
{
    for (uint64_t i = 0; i < ITEMS; i++) {
        while (tail - head == SLOTS)
            st_cond_wait(not_full);
        slots[tail++ % SLOTS] = i;
        st_cond_signal(not_empty);
    }
    return arg;
}

int main(void)
{
    uint64_t sum = 0;
    st_init();
    not_full = st_cond_new();
    not_empty = st_cond_new();
    int64_t start = bench_ns();
    st_thread_create(produce, NULL, 0, 65536);
    for (uint64_t i = 0; i < ITEMS; i++) {
        while (tail == head)
            st_cond_wait(not_empty);
        sum += slots[head++ % SLOTS];
        st_cond_signal(not_full);
    }
    printf("RESULT ns=%.3f\n", (double)(bench_ns() - start) / (double)ITEMS);
    return sum != (uint64_t)ITEMS * (ITEMS - 1) / 2;
}
