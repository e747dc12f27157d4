/* SPDX-License-Identifier: MIT
 * Messages through a channel between two threads: ns for each one, and processor time of both
 * threads (cpu_ns).  The first argument says what sends and what receives: "loops" (default) two
 * loops, "threads" two plain threads, "mixed" a thread into a loop; the second one the channel's
 * limit (64). */
#include <beck.h>

#include <pthread.h>
#include <time.h>

#include "bench.h"

#define MESSAGES 3000000

static int send_all(void *ctx)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        bk_msg *msg = NULL;
        if (bk_msg_copy(&msg, &i, sizeof i) < 0)
            return 1;
        int r = bk_channel_send(ctx, &msg);
        if (r < 0) {
            bk_msg_free(&msg);
            return r;
        }
    }
    bk_channel_close(ctx);
    return 0;
}

static int receive_all(void *ctx)
{
    bk_msg *msg = NULL;
    uint64_t sum = 0;
    while (bk_channel_recv(ctx, &msg) > 0) {
        uint32_t i;
        memcpy(&i, bk_msg_data(msg), sizeof i);
        sum += i;
        bk_msg_free(&msg);
    }
    return sum != (uint64_t)MESSAGES * (MESSAGES - 1) / 2;
}

static bool sender_has_loop, receiver_has_loop;

static void *sender(void *ctx)
{
    return (void *)(intptr_t)(sender_has_loop ? bk_run(send_all, ctx, NULL) : send_all(ctx));
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "loops";
    size_t limit = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
    sender_has_loop = strcmp(how, "loops") == 0;
    receiver_has_loop = strcmp(how, "threads") != 0;
    bk_channel *channel = NULL;
    pthread_t thread;
    void *sent = NULL;
    if (bk_channel_new(&channel, &(bk_channel_opts){.limit = limit}) < 0)
        return 1;
    int64_t start = bench_ns();
    clock_t cpu = clock();
    if (pthread_create(&thread, NULL, sender, channel) != 0)
        return 1;
    int r = receiver_has_loop ? bk_run(receive_all, channel, NULL) : receive_all(channel);
    pthread_join(thread, &sent);
    int64_t ns = bench_ns() - start;
    double cpu_ns = (double)(clock() - cpu) / CLOCKS_PER_SEC * 1e9;
    bk_channel_free(&channel);
    if (r != 0 || sent)
        return 1;
    printf("RESULT ns=%.3f cpu_ns=%.3f\n", (double)ns / MESSAGES, cpu_ns / MESSAGES);
    return 0;
}
