/* SPDX-License-Identifier: MIT
 * Follows a stream of server-sent events and prints each as a line of JSON.
 *
 *     sse_tail URL [--cacert FILE]  */
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

struct options {
    const char *url;
    bk_tls_opts tls;
};

static void print_string(bk_span text)
{
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c == '\n')
            printf("\\n");
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_event(const bk_server_event *event)
{
    printf("{\"type\":");
    print_string(event->type);
    printf(",\"data\":");
    print_string(event->data);
    printf(",\"id\":");
    print_string(event->id);
    printf("}\n");
    fflush(stdout);
}

static int follow(bk_event_source *source)
{
    bk_server_event event;
    int r;
    while ((r = bk_event_source_next(source, &event)) > 0) {
        print_event(&event);
        if (bk_span_equal(event.type, bk_span_str("done")))
            return 0;
    }
    return r < 0 ? r : bk_fail(-BK_ECLOSED, "the server wants no more connections (204)");
}

static int tail(void *ctx)
{
    struct options *o = ctx;
    bk_tls *tls = NULL;
    bk_http_client *client = NULL;
    bk_event_source *source = NULL;
    int r = bk_tls_client_new(&tls, &o->tls);
    if (r == 0)
        r = bk_http_client_new(&client, &(bk_http_client_opts){.tls = tls});
    if (r == 0)
        r = bk_event_source_open(&source, o->url, &(bk_event_source_opts){.client = client});
    if (r == 0)
        r = follow(source);
    r = bk_event_source_close(&source, r);
    bk_http_client_free(&client);
    bk_tls_free(&tls);
    return r;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    o.url = argc > 1 ? argv[1] : NULL;
    if (argc == 4 && strcmp(argv[2], "--cacert") == 0)
        o.tls.ca_file = argv[3];
    else if (argc != 2)
        return fputs("sse_tail: URL and options are not right; try: sse_tail --help\n", stderr), 2;
    int r = bk_run(tail, &o, NULL);
    if (r < 0)
        fprintf(stderr, "sse_tail: %s\n", *bk_errmsg() ? bk_errmsg() : bk_strerror(r));
    return r < 0;
}
