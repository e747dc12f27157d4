/* SPDX-License-Identifier: MIT
 * A WebSocket server that sends every message back as it came, text or binary, up to 16 MiB.
 *
 *     ws_echo 9001              and point any WebSocket client at ws://127.0.0.1:9001/
 *
 * What websockets.serve(handler) with "async for message in ws: await ws.send(message)" would be.
 */
#include <stdio.h>
#include <string.h>

#include <beck.h>

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = bk_ws_accept(&ws, stream, &(bk_ws_opts){.max_message = 16 << 20});
    if (r < 0)
        return r;
    while ((r = bk_ws_recv(ws, &msg)) > 0) {
        r = bk_ws_send(ws, &msg); /* takes the message and its kind */
        if (r < 0)
            break;
    }
    bk_msg_free(&msg); /* what could not be sent */
    return bk_ws_close(&ws, r);
}

static int serve(void *ctx)
{
    const char *address = ctx;
    bk_listener *listener = NULL;
    int r = bk_listen(&listener, address, NULL);
    if (r < 0)
        return r;
    printf("listening on ws://%s/\n", bk_listener_address(listener));
    fflush(stdout);
    r = bk_serve(listener, echo, NULL, NULL);
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: ws_echo [PORT]\n"
        "Listens on 127.0.0.1:PORT (0, the default, lets the kernel choose), prints the address,\n"
        "and echoes WebSocket messages of up to 16 MiB.  Ctrl-C ends it.\n";
    char address[64];
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    snprintf(address, sizeof address, "127.0.0.1:%s", argc == 2 ? argv[1] : "0");
    int r = bk_run(serve, address, NULL);
    if (r == -BK_EINTERRUPTED) /* Ctrl-C is how this program ends */
        return 0;
    fprintf(stderr, "ws_echo: %s\n", bk_errmsg());
    return 1;
}
