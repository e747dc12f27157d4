/* SPDX-License-Identifier: MIT
 * What N idle WebSocket connections cost their server's process (idle.h): once they have shaken
 * hands, and once each has had a message echoed.  idle_ws [CONNECTIONS], 10,000 by default. */
#include "idle.h"

static void shake_hands(int fd)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    say(fd, request, sizeof request - 1);
    hear(fd, 129); /* the whole answer */
}

static void ask(int fd)
{
    say(fd, "\x81\x85\0\0\0\0hello", 11);
    hear(fd, 7);
}

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = bk_ws_accept(&ws, stream, NULL);
    n_open += r == 0;
    while (r == 0 && (r = bk_ws_recv(ws, &msg)) > 0) {
        r = bk_ws_send(ws, &msg);
        n_echoed += r == 0;
    }
    bk_msg_free(&msg);
    return bk_ws_close(&ws, r);
}

static int serve(void *ctx)
{
    return bk_serve(ctx, echo, NULL, &(bk_serve_opts){.limit = n_wanted + 1});
}

static int start(uint16_t *port)
{
    bk_listener *listener = NULL;
    int r = bk_listen(&listener, "127.0.0.1:0", &(bk_listen_opts){.backlog = 4096});
    if (r == 0)
        r = bk_go(NULL, serve, listener, NULL);
    if (r == 0)
        *port = (uint16_t)strtoul(strrchr(bk_listener_address(listener), ':') + 1, NULL, 10);
    return r;
}

int main(int argc, char **argv)
{
    static const struct idle ws = {"idle_ws", start, shake_hands, ask};
    return idle_main(&ws, argc, argv);
}
