/* SPDX-License-Identifier: MIT
 * Talks to a server under TLS: standard input goes there, what comes goes to standard output.
 *
 *     printf 'GET / HTTP/1.0\r\nHost: example.org\r\n\r\n' | tls_cat example.org:443
 *
 * Two tasks on one stream, one for each direction. */
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include <beck.h>

static const char usage[] =
    "usage: tls_cat HOST:PORT [--cacert FILE] [--cert FILE [--key FILE]]\n"
    "               [--name NAME] [--alpn NAME] [--insecure] [--verbose]\n"
    "Connects, sends standard input there, and prints what comes.  Its\n"
    "certificate must be for HOST (or NAME), from whom the system trusts (or\n"
    "from --cacert); --insecure trusts anybody.  --cert and --key are shown to a\n"
    "server that asks.  --verbose says what was agreed on.  The status is 0 only\n"
    "when the server has ended the connection in order.\n";

struct options {
    const char *address;
    bk_tls_opts tls;
    bk_connect_opts connect;
    bool verbose;
    bk_stream *server;
};

static int copy(bk_stream *from, bk_stream *to)
{
    char buffer[16 * 1024];
    ssize_t n;
    while ((n = bk_stream_read(from, buffer, sizeof buffer)) > 0) {
        int r = bk_stream_write(to, buffer, (size_t)n);
        if (r < 0)
            return r;
    }
    return (int)n;
}

static int send_input(void *ctx)
{
    const struct options *o = ctx;
    bk_stream *input = NULL;
    int r = bk_stream_from_fd(&input, STDIN_FILENO, NULL);
    if (r == 0)
        r = copy(input, o->server);
    if (r == 0)
        r = bk_stream_write_eof(o->server);
    return bk_stream_close(&input, r);
}

static int print_answer(void *ctx)
{
    const struct options *o = ctx;
    char buffer[16 * 1024];
    ssize_t n;
    while ((n = bk_stream_read(o->server, buffer, sizeof buffer)) > 0) {
        fwrite(buffer, 1, (size_t)n, stdout);
        fflush(stdout);
    }
    return (int)n;
}

static int talk(void *ctx)
{
    struct options *o = ctx;
    bk_tls *tls = NULL;
    bk_tls_info info;
    int r = bk_tls_client_new(&tls, &o->tls);
    o->connect.tls = tls;
    if (r == 0)
        r = bk_connect(&o->server, o->address, &o->connect);
    bk_tls_free(&tls);
    if (r == 0 && o->verbose && (r = bk_stream_tls_info(o->server, &info)) == 0)
        fprintf(stderr, "%s %s%s%s%s\n", info.version, info.cipher,
                info.alpn[0] ? ", protocol " : "", info.alpn, info.resumed ? ", resumed" : "");
    bk_group *group = NULL;
    if (r == 0)
        r = bk_group_open(&group, NULL);
    if (r == 0)
        r = bk_group_go(group, send_input, o, NULL);
    if (r == 0)
        r = print_answer(o);
    if (group)
        bk_group_cancel(group); /* the end of the answer is the end of us */
    r = bk_group_close(&group, r);
    return bk_stream_close(&o->server, r);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"cacert", 1, NULL, 'a'}, {"cert", 1, NULL, 'c'},    {"key", 1, NULL, 'k'},
        {"name", 1, NULL, 'n'},   {"alpn", 1, NULL, 'p'},    {"insecure", 0, NULL, 'i'},
        {"help", 0, NULL, 'h'},   {"verbose", 0, NULL, 'v'}, {0}};
    const char *alpn[2] = {0};
    struct options o = {.tls = {.alpn = alpn}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1 && c != 'h' && c != '?') {
        const char **text = c == 'a'   ? &o.tls.ca_file
                            : c == 'c' ? &o.tls.cert_file
                            : c == 'k' ? &o.tls.key_file
                            : c == 'n' ? &o.connect.server_name
                                       : &alpn[0];
        if (c == 'i')
            o.tls.verify = BK_TLS_INSECURE_NO_VERIFY;
        else if (c == 'v')
            o.verbose = true;
        else
            *text = optarg;
    }
    if (c != -1 || argc - optind != 1) {
        fputs(usage, c == 'h' ? stdout : stderr);
        return c == 'h' ? 0 : 2;
    }
    o.address = argv[optind];
    int r = bk_run(talk, &o, NULL);
    if (r < 0)
        fprintf(stderr, "tls_cat: %s\n", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
    return r < 0;
}
