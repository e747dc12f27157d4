/* SPDX-License-Identifier: MIT
 * An HTTP server that sends every request's body back, whatever the method and the target.
 *
 *     http_echo 8080            in another terminal:  curl -i -d hello http://127.0.0.1:8080/any
 *
 * A body is kept until it is whole, since many clients read nothing before they have sent all; only
 * what is larger than 16 MiB is sent back while it comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

enum { PIECE = 1 << 10, KEPT = 16 << 20 };

/* There is more than was kept. */
static int send_on(bk_http_req *req, const char *kept, size_t len)
{
    char piece[2048];
    ssize_t n;
    int64_t length = bk_http_req_length(req); /* -1 for chunks; so is the reply's then */
    int r = bk_http_reply_start(req, 200, length);
    if (r == 0)
        r = bk_http_reply_write(req, kept, len);
    while (r == 0 && (n = bk_http_req_read(req, piece, sizeof piece)) != 0)
        r = n < 0 ? (int)n : bk_http_reply_write(req, piece, (size_t)n);
    return r;
}

static int echo(void *ctx, bk_http_req *req)
{
    (void)ctx;
    char *body = NULL;
    size_t len = 0, room = 0;
    ssize_t n = 1;
    const char *type = bk_http_req_header(req, "Content-Type");
    bk_http_reply_header(req, "Content-Type", type ? type : "application/octet-stream");
    bk_http_reply_header(req, "X-Method", bk_http_req_method(req));
    bk_http_reply_header(req, "X-Target", bk_http_req_target(req));
    while (n > 0 && len < KEPT) {
        if (len == room) {
            room = room ? 2 * room : PIECE;
            char *larger = realloc(body, room);
            if (!larger)
                break;
            body = larger;
        }
        n = bk_http_req_read(req, body + len, room - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n >= 0) /* below: the server tells the client what is wrong with its body */
        n = n > 0 ? send_on(req, body, len) : bk_http_reply(req, 200, NULL, body, len);
    free(body);
    return (int)n;
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
    printf("listening on %s://%s/\n", args[1] ? "https" : "http", bk_listener_address(listener));
    fflush(stdout);
    r = bk_http_serve(
        listener, echo, NULL,
        &(bk_http_serve_opts){.max_body = BK_UNBOUNDED, .trace = true, .drain = bk_seconds(1)});
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: http_echo [PORT [CERTIFICATE [KEY]]]\n"
        "Listens on 127.0.0.1:PORT (0, the default, lets the kernel choose), prints the address,\n"
        "and sends each request's body back, its method and target in X-Method and X-Target.\n"
        "With the PEM file of a certificate (and of its key) it speaks https.  Ctrl-C ends it.\n";
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
    fprintf(stderr, "http_echo: %s\n", bk_errmsg());
    return 1;
}
