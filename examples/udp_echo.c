/* SPDX-License-Identifier: MIT
 * A UDP server that sends each datagram back to where it came from.
 *
 *     udp_echo 7000             in another terminal:  nc -u 127.0.0.1 7000
 *
 * What asyncio's create_datagram_endpoint with a protocol's datagram_received would be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

static const char usage[] =
    "usage: udp_echo [PORT]\n"
    "Receives on 127.0.0.1:PORT (0, the default, lets the kernel choose), prints\n"
    "the address, and sends each datagram back.  Ctrl-C ends it.\n";

static int echo_all(bk_datagram *socket)
{
    bk_msg *msg = NULL;
    bk_address from;
    int r;
    while ((r = bk_datagram_recv(socket, &msg, &from)) > 0) {
        r = bk_datagram_send_to(socket, &from, bk_msg_data(msg), bk_msg_len(msg));
        bk_msg_free(&msg);
        if (r == -ECANCELED)
            return r;
        if (r < 0) /* this one could not be answered; the next may */
            fprintf(stderr, "udp_echo: %s\n", bk_errmsg());
    }
    return r;
}

static int serve(void *ctx)
{
    bk_datagram *socket = NULL;
    int r = bk_datagram_open(&socket, &(bk_datagram_opts){.local = ctx});
    if (r < 0)
        return r;
    printf("receiving on %s\n", bk_datagram_local(socket));
    fflush(stdout);
    return bk_datagram_close(&socket, echo_all(socket));
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
    fprintf(stderr, "udp_echo: %s\n", bk_errmsg());
    return 1;
}
