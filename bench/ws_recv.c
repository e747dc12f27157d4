/* SPDX-License-Identifier: MIT
 * Receives small WebSocket messages as fast as they come: each a bk_msg, its UTF-8 checked, in
 * straight-line code.  ws_recv PORT MESSAGES BATCH asks a pushing server (bench/peers/ws_push.c)
 * for them. */
#include <beck.h>

#include "bench.h"

struct job {
    char url[100];
    uint64_t n;
};

static int receive(void *ctx)
{
    const struct job *job = ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    uint64_t n = 0, sum = 0;
    int r = bk_ws_connect(&ws, job->url, NULL);
    int64_t start = bench_ns();
    while (r >= 0 && (r = bk_ws_recv(ws, &msg)) > 0) {
        sum += (uint64_t)(bk_msg_data(msg)[bk_msg_len(msg) - 2] - '0');
        bk_msg_free(&msg);
        if (++n == job->n)
            break;
    }
    double seconds = (double)(bench_ns() - start) / 1e9;
    if (n == job->n)
        printf("RESULT msgs_s=%.0f sum=%llu\n", (double)n / seconds, (unsigned long long)sum);
    return bk_ws_close(&ws, r);
}

int main(int argc, char **argv)
{
    struct job job;
    if (argc != 4)
        return 2;
    job.n = strtoull(argv[2], NULL, 10);
    snprintf(job.url, sizeof job.url, "ws://127.0.0.1:%s/%s/%s", argv[1], argv[2], argv[3]);
    if (bk_run(receive, &job, NULL) >= 0)
        return 0;
    fprintf(stderr, "ws_recv: %s\n", bk_errmsg());
    return 1;
}
