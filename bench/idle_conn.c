/* SPDX-License-Identifier: MIT
 * What N idle TCP connections cost their server's process (idle.h): while their tasks wait for a
 * line, and once each has had one echoed.  idle_conn [CONNECTIONS], 10,000 by default. */
#include "idle.h"

static void ask(int fd)
{
    say(fd, "hello\n", 6);
    hear(fd, 6);
}

static int echo(void *ctx, bk_stream **stream)
{
    (void)ctx;
    bk_span line;
    int r;
    n_open++;
    while ((r = bk_stream_read_line(*stream, &line)) > 0) {
        const bk_span parts[] = {line, bk_span_str("\n")};
        r = bk_stream_writev(*stream, parts, 2);
        if (r < 0)
            break;
        n_echoed++;
    }
    return r;
}

static int start(uint16_t *port)
{
    bk_server *server = NULL;
    bk_server_opts opts = {.listen.backlog = 4096, .serve.limit = n_wanted + 1};
    int r = bk_server_open(&server, "127.0.0.1:0", echo, NULL, &opts);
    if (r == 0)
        *port = (uint16_t)strtoul(strrchr(bk_server_address(server, 0), ':') + 1, NULL, 10);
    return r;
}

int main(int argc, char **argv)
{
    static const struct idle tcp = {"idle_conn", start, NULL, ask};
    return idle_main(&tcp, argc, argv);
}
