/* SPDX-License-Identifier: MIT
 * An echo server under TLS, which says of each connection what was agreed on.
 *
 *     tls_echo 7443 --cert server.pem --key server.key
 *     tls_echo 7443 --cert server.pem --cacert ca.pem       only for clients with a certificate
 *
 * in another terminal:  tls_cat localhost:7443 --cacert ca.pem */
#include <getopt.h>
#include <stdio.h>

#include <beck.h>

static const char usage[] =
    "usage: tls_echo [PORT] --cert FILE [--key FILE] [--cacert FILE] [--alpn NAME]\n"
    "Listens on 127.0.0.1:PORT (0, the default, lets the kernel choose), prints\n"
    "the address, and sends back what each connection sends.  --cert is a PEM\n"
    "file with the certificate and those of its issuers, --key its key (by\n"
    "default in the same file).  With --cacert clients need a certificate from\n"
    "there.  Ctrl-C ends it.\n";

static void say(const char *peer, const bk_tls_info *info)
{
    printf("%s: %s %s", peer, info->version, info->cipher);
    if (info->server_name[0])
        printf(", for %s", info->server_name);
    if (info->alpn[0])
        printf(", protocol %s", info->alpn);
    if (info->peer_subject[0])
        printf(", client %s", info->peer_subject);
    puts(info->resumed ? ", resumed" : "");
    fflush(stdout);
}

static int echo(void *ctx, bk_stream **stream)
{
    char buffer[16 * 1024];
    bk_tls_info info;
    (void)ctx;
    ssize_t n = bk_stream_tls_info(*stream, &info);
    if (n < 0)
        return (int)n;
    say(bk_stream_peer(*stream), &info);
    while ((n = bk_stream_read(*stream, buffer, sizeof buffer)) > 0) {
        int r = bk_stream_write(*stream, buffer, (size_t)n);
        if (r < 0)
            return r;
    }
    return (int)n; /* 0: the peer has said goodbye; below: the connection's error */
}

static void failed(void *ctx, bk_stream *stream, int result)
{
    (void)ctx;
    (void)stream;
    fprintf(stderr, "%s\n", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(result));
}

struct options {
    bk_tls_opts tls;
    char address[64];
};

static int serve(void *ctx)
{
    const struct options *o = ctx;
    bk_tls *tls = NULL;
    bk_listener *listener = NULL;
    int r = bk_tls_server_new(&tls, &o->tls);
    if (r == 0)
        r = bk_listen(&listener, o->address, &(bk_listen_opts){.tls = tls});
    bk_tls_free(&tls); /* the listener has its share */
    if (r < 0)
        return r;
    printf("listening on %s\n", bk_listener_address(listener));
    fflush(stdout);
    r = bk_serve(listener, echo, NULL, &(bk_serve_opts){.on_error = failed});
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"cert", 1, NULL, 'c'},   {"key", 1, NULL, 'k'},
                                            {"cacert", 1, NULL, 'a'}, {"alpn", 1, NULL, 'p'},
                                            {"help", 0, NULL, 'h'},   {0}};
    const char *alpn[2] = {0};
    struct options o = {0};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'c')
            o.tls.cert_file = optarg;
        else if (c == 'k')
            o.tls.key_file = optarg;
        else if (c == 'a')
            o.tls.ca_file = optarg;
        else if (c == 'p')
            alpn[0] = optarg;
        else
            break;
    }
    if (c != -1 || argc - optind > 1) {
        fputs(usage, c == 'h' ? stdout : stderr);
        return c == 'h' ? 0 : 2;
    }
    o.tls.alpn = alpn;
    snprintf(o.address, sizeof o.address, "127.0.0.1:%s", optind < argc ? argv[optind] : "0");
    int r = bk_run(serve, &o, NULL);
    if (r == -BK_EINTERRUPTED) /* Ctrl-C is how this program ends */
        return 0;
    fprintf(stderr, "tls_echo: %s\n", bk_errmsg());
    return 1;
}
