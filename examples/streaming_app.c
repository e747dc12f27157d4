/* SPDX-License-Identifier: MIT
 * A streaming application as one writes it with asyncio: receive from a WebSocket, start a task for
 * each message so that they are processed in parallel, let other tasks run beside it, gather them
 * and run.
 *
 *     build/beck pipe 'gen:?count=500&rate=100/s' --to ws-listen://127.0.0.1:9000/ &
 *     build/examples/streaming_app ws://127.0.0.1:9000/ */
#include <inttypes.h>
#include <stdio.h>

#include <beck.h>

struct app {
    const char *url;
    uint64_t received, processed, bytes;
    bool ended;
};

/* async def process_data(data): ... */
static int process_data(void *ctx, bk_msg **msg)
{
    struct app *app = ctx;
    int r = bk_sleep(
        bk_ms(10)); /* stands for real work: a query, a request, a computation on a thread */
    if (r < 0)
        return r;
    app->bytes += bk_msg_len(*msg);
    app->processed++;
    return 0; /* the runtime frees what is left in *msg */
}

/* async for data in websocket: group.create_task(process_data(data)) */
static int receive_data(void *ctx)
{
    struct app *app = ctx;
    bk_ws *ws = NULL;
    bk_group *tasks = NULL;
    bk_msg *msg = NULL;
    int r = bk_ws_connect(&ws, app->url, NULL);
    if (r == 0)
        r = bk_group_open(&tasks, &(bk_group_opts){.limit = 1024, .name = "process_data"});
    while (r == 0 && (r = bk_ws_recv(ws, &msg)) > 0) {
        app->received++;
        r = bk_group_go_msg(tasks, process_data, app, &msg); /* waits while 1,024 are at work */
    }
    bk_msg_free(&msg);
    r = bk_group_close(&tasks, r); /* a failure cancels the tasks; either way it waits for them */
    app->ended = true;
    return bk_ws_close(&ws, r);
}

/* The other task: tells every second how it goes. */
static int report(void *ctx)
{
    struct app *app = ctx;
    int r = 0;
    while (r == 0 && !app->ended) {
        r = bk_sleep(bk_ms(1000));
        printf("%" PRIu64 " received, %" PRIu64 " processed, %" PRIu64 " bytes\n", app->received,
               app->processed, app->bytes);
        fflush(stdout);
    }
    return r;
}

/* await asyncio.gather(receive_data(), report()) */
static int app_main(void *ctx)
{
    bk_call calls[] = {{.fn = receive_data, .ctx = ctx}, {.fn = report, .ctx = ctx}};
    return bk_gather(calls, 2, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: streaming_app ws://HOST:PORT/PATH\n");
        return 2;
    }
    struct app app = {.url = argv[1]};
    int r = bk_run(app_main, &app, NULL); /* asyncio.run(main()) */
    if (r < 0)
        fprintf(stderr, "streaming_app: %s: %s\n", bk_strerror(r), bk_errmsg());
    return r < 0;
}
