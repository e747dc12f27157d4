/* SPDX-License-Identifier: MIT
 * Fetches a URL and writes its body to standard output, as it comes.
 *
 *     http_get URL [--cacert FILE] [--cert FILE --key FILE] [--insecure]
 */
#include <stdio.h>
#include <string.h>

#include <beck.h>

static const char help[] =
    "usage: http_get URL [OPTION...]\n"
    "Writes the body of URL (http: or https:) to standard output.  Redirects are followed,\n"
    "compression is undone, the proxy of the environment is used.\n"
    "  --cacert FILE   trust the certificates in FILE instead of the system's\n"
    "  --cert FILE     show this certificate to servers that ask for one\n"
    "  --key FILE      its private key, if that is not in the same file\n"
    "  --insecure      do not check the server's certificate: anybody may pose as it\n"
    "Exit status: 0 for a whole body with a status of 2xx; 1 otherwise; 2 for a wrong usage.\n";

struct options {
    const char *url;
    bk_tls_opts tls;
};

static int parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--cacert") == 0 && value)
            o->tls.ca_file = argv[++i];
        else if (strcmp(argv[i], "--cert") == 0 && value)
            o->tls.cert_file = argv[++i];
        else if (strcmp(argv[i], "--key") == 0 && value)
            o->tls.key_file = argv[++i];
        else if (strcmp(argv[i], "--insecure") == 0)
            o->tls.verify = BK_TLS_INSECURE_NO_VERIFY;
        else if (argv[i][0] != '-' && !o->url)
            o->url = argv[i];
        else
            return bk_fail(-EINVAL, "%s: not an option that is known and whole", argv[i]);
    }
    return o->url ? 0 : bk_fail(-EINVAL, "which URL?");
}

static int copy_body(bk_http_call *call)
{
    static char buf[64 * 1024];
    ssize_t n;
    while ((n = bk_http_call_read(call, buf, sizeof buf)) > 0)
        if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
            return bk_fail(-EIO, "standard output: %s", strerror(errno));
    if (fflush(stdout) != 0)
        return bk_fail(-EIO, "standard output: %s", strerror(errno));
    return (int)n;
}

static int fetch(void *ctx)
{
    struct options *o = ctx;
    bk_tls *tls = NULL;
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    int r = bk_tls_client_new(&tls, &o->tls);
    if (r == 0)
        r = bk_http_client_new(&client, &(bk_http_client_opts){.tls = tls});
    if (r == 0)
        r = bk_http_get(&call, client, o->url, NULL);
    if (r == 0)
        r = copy_body(call);
    if (r == 0)
        r = bk_http_call_check(call);
    r = bk_http_call_close(&call, r);
    bk_http_client_free(&client);
    bk_tls_free(&tls);
    return r;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    int r = parse(&o, argc, argv);
    int usage = r < 0;
    if (r == 0)
        r = bk_run(fetch, &o, NULL);
    if (r < 0)
        fprintf(stderr, "http_get: %s\n%s", *bk_errmsg() ? bk_errmsg() : bk_strerror(r),
                usage ? "Try: http_get --help\n" : "");
    return usage ? 2 : r < 0;
}
