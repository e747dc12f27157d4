/* SPDX-License-Identifier: MIT
 * State Threads: two threads hand over in turn through condition variables. */
#include <st.h>

#include "../bench.h"

#define ROUNDS 5000000

static st_cond_t to_first, to_second;

static void *second(void *arg)
{
    for (;;) {
        st_cond_signal(to_first);
        st_cond_wait(to_second);
    }
    return arg;
}

int main(void)
{
    st_init();
    to_first = st_cond_new();
    to_second = st_cond_new();
    st_thread_create(second, NULL, 0, 65536);
    st_cond_wait(to_first);
    int64_t start = bench_ns();
    for (int i = 0; i < ROUNDS; i++) {
        st_cond_signal(to_second);
        st_cond_wait(to_first);
    }
    printf("RESULT ns=%.3f\n", (double)(bench_ns() - start) / (2.0 * ROUNDS));
    return 0;
}
