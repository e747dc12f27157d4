/* SPDX-License-Identifier: MIT
 * The HTTP server of the benchmark "http": answers every request with "hello".
 * Usage: http_hello PORT */
#include <stdio.h>

#include <beck.h>

static int hello(void *ctx, bk_http_req *req)
{
    (void)ctx;
    return bk_http_reply(req, 200, "text/plain", "hello\n", 6);
}

static int serve(void *ctx)
{
    char address[64];
    bk_listener *listener = NULL;
    snprintf(address, sizeof address, "127.0.0.1:%s", (const char *)ctx);
    int r = bk_listen(&listener, address, &(bk_listen_opts){.backlog = 4096});
    if (r == 0)
        r = bk_http_serve(listener, hello, NULL, NULL);
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    return bk_run(serve, argv[1], NULL) == -BK_EINTERRUPTED ? 0 : 1;
}
