/* SPDX-License-Identifier: MIT
 * A TCP server that sends back whatever it gets, with a task for each connection.
 *
 *     tcp_echo 7000             in another terminal:  nc 127.0.0.1 7000
 *
 * What asyncio.start_server with reader.read and writer.write would be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

static const char usage[] =
    "usage: tcp_echo [PORT]\n"
    "Listens on 127.0.0.1:PORT (0, the default, lets the kernel choose), prints\n"
    "the address, and sends back what each connection sends.  Ctrl-C ends it.\n";

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    char buffer[2 * 1024]; /* with the task and its calls within one page of the stack */
    ssize_t n;
    while ((n = bk_stream_read(*stream, buffer, sizeof buffer)) > 0) {
        int r = bk_stream_write(*stream, buffer, (size_t)n);
        if (r < 0)
            return r;
    }
    return (int)n; /* 0: the peer has closed; below: the connection's error */
}

static int serve(void *ctx)
{
    const char *address = ctx;
    bk_listener *listener = NULL;
    int r = bk_listen(&listener, address, NULL);
    if (r < 0)
        return r;
    printf("listening on %s\n", bk_listener_address(listener));
    fflush(stdout);
    r = bk_serve(listener, echo, NULL, NULL);
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%s", argc == 2 ? argv[1] : "0");
    int r = bk_run(serve, address, NULL);
    if (r == -BK_EINTERRUPTED) /* Ctrl-C is how this program ends */
        return 0;
    fprintf(stderr, "tcp_echo: %s\n", bk_errmsg());
    return 1;
}
