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

static const bk_ws_opts ws_opts = {
    .max_message = 16 << 20,
    .max_fragments = 1 << 17,
    .deflate = {.on = true}, /* for clients that offer it */
};

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = bk_ws_accept(&ws, stream, &ws_opts);
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
    char **args = ctx; /* port, certificate, key */
    char address[64];
    bk_tls *tls = NULL;
    bk_listener *listener = NULL;
    snprintf(address, sizeof address, "127.0.0.1:%s", args[0]);
    int r = 0;
    if (args[1])
        r = bk_tls_server_new(&tls, &(bk_tls_opts){.cert_file = args[1], .key_file = args[2]});
    if (r == 0)
        r = bk_listen(&listener, address, &(bk_listen_opts){.tls = tls});
    bk_tls_free(&tls);
    if (r < 0)
        return r;
    printf("listening on %s://%s/\n", args[1] ? "wss" : "ws", bk_listener_address(listener));
    fflush(stdout);
    r = bk_serve(listener, echo, NULL, NULL);
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: ws_echo [PORT [CERTIFICATE [KEY]]]\n"
        "Listens on 127.0.0.1:PORT (0, the default, lets the kernel choose), prints the address,\n"
        "and echoes WebSocket messages of up to 16 MiB, compressed if the client wants it so.\n"
        "With the PEM file of a certificate (and of its key) it speaks wss.  Ctrl-C ends it.\n";
    char *args[3] = {"0"};
    if (argc > 4 || (argc > 1 && argv[1][0] == '-')) {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    for (int i = 1; i < argc; i++)
        args[i - 1] = argv[i];
    int r = bk_run(serve, args, &(bk_run_opts){.max_intake = 2 << 20});
    if (r == -BK_EINTERRUPTED) /* Ctrl-C is how this program ends */
        return 0;
    fprintf(stderr, "ws_echo: %s\n", bk_errmsg());
    return 1;
}
