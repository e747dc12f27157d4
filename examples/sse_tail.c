/* SPDX-License-Identifier: MIT
 * Follows a stream of server-sent events and prints each as a line of JSON.
 *
 *     sse_tail URL [--cacert FILE] */
#include <stdio.h>
#include <string.h>

#include <beck.h>

static const char help[] =
    "usage: sse_tail URL [--cacert FILE]\n"
    "Prints every event of an event stream (http: or https:) as a line of JSON:\n"
    "    {\"type\":\"message\",\"data\":\"...\",\"id\":\"...\"}\n"
    "A connection that ends is made again, from the last event's id on.\n"
    "  --cacert FILE   trust the certificates in FILE instead of the system's\n"
    "Exit status: 0 after an event of type \"done\"; 1 when the connection fails for good, also\n"
    "when the server ends it (204); 2 for a wrong usage.\n";

static bk_tls_opts tls_opts;

/* What some reader takes for the end of a line, or a terminal for a command, is escaped. */
static void print_string(const char *before, bk_span text)
{
    const unsigned char *at = (const unsigned char *)text.data, *end = at + text.len;
    printf("%s\"", before);
    for (; at < end; at++) {
        if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            printf("\\u%04x", *at);
        else if (*at == 0xc2 && at[1] < 0xa0) /* U+0080 to U+009F */
            printf("\\u%04x", *++at);
        else if (*at == 0xe2 && at[1] == 0x80 && (at[2] & 0xfe) == 0xa8) /* U+2028, U+2029 */
            printf("\\u20%02x", *(at += 2) - 0x80);
        else
            putchar(*at);
    }
    putchar('"');
}

static int print_event(const bk_server_event *event)
{
    print_string("{\"type\":", event->type);
    print_string(",\"data\":", event->data);
    print_string(",\"id\":", event->id);
    printf("}\n");
    return fflush(stdout) == 0 ? 0 : bk_fail(-BK_ECLOSED, "nobody reads the output");
}

static int follow(bk_event_source *source)
{
    bk_server_event event;
    int r;
    while ((r = bk_event_source_next(source, &event)) > 0) {
        r = print_event(&event);
        if (r < 0 || bk_span_equal(event.type, bk_span_str("done")))
            return r;
    }
    return r < 0 ? r : bk_fail(-BK_ECLOSED, "the server wants no more connections (204)");
}

static int tail(void *ctx)
{
    bk_tls *tls = NULL;
    bk_http_client *client = NULL;
    bk_event_source *source = NULL;
    int r = bk_tls_client_new(&tls, &tls_opts);
    if (r == 0)
        r = bk_http_client_new(&client, &(bk_http_client_opts){.tls = tls});
    if (r == 0)
        r = bk_event_source_open(&source, ctx, &(bk_event_source_opts){.client = client});
    if (r == 0)
        r = follow(source);
    r = bk_event_source_close(&source, r);
    bk_http_client_free(&client);
    bk_tls_free(&tls);
    return r;
}

int main(int argc, char **argv)
{
    char *url = NULL;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cacert") == 0 && i + 1 < argc)
            tls_opts.ca_file = argv[++i];
        else if (argv[i][0] != '-' && !url)
            url = argv[i];
        else
            return fputs(help, stderr), 2;
    }
    if (!url)
        return fputs(help, stderr), 2;
    int r = bk_run(tail, url, NULL);
    if (r < 0)
        fprintf(stderr, "sse_tail: %s\n", *bk_errmsg() ? bk_errmsg() : bk_strerror(r));
    return r < 0;
}
