/* SPDX-License-Identifier: MIT
 * A page that shows the server's time, second by second, by server-sent events.
 *
 *     sse_clock 8080            and open http://127.0.0.1:8080/, or: sse_tail URL/events */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <beck.h>

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>clock</title><h1 id=now>...</h1>\n"
    "<script>\n"
    "const clock = new EventSource('events');\n"
    "clock.addEventListener('tick', event => { now.textContent = event.data; });\n"
    "clock.onerror = () => { now.textContent = 'the server is gone, for the moment'; };\n"
    "</script>\n";

/* Ticks are numbered, so that a client that was away goes on counting where it was. */
static int send_tick(bk_sse *sse, unsigned long number)
{
    char text[64], id[24];
    time_t now = time(NULL);
    struct tm local;
    size_t len = strftime(text, sizeof text, "%H:%M:%S", localtime_r(&now, &local));
    int id_len = snprintf(id, sizeof id, "%lu", number);
    return bk_sse_send_event(sse, &(bk_sse_event){.type = bk_span_str("tick"),
                                                  .data = bk_span_of(text, len),
                                                  .id = bk_span_of(id, (size_t)id_len)});
}

static int tick(bk_http_req *req)
{
    bk_sse *sse = NULL;
    int r = bk_sse_open(&sse, req, NULL);
    unsigned long number = r == 0 ? strtoul(bk_sse_last_id(sse), NULL, 10) : 0;
    while (r == 0 && (r = send_tick(sse, ++number)) == 0)
        r = bk_sse_sleep(sse, bk_seconds(1));
    return bk_sse_close(&sse, r);
}

static int handle(void *ctx, bk_http_req *req)
{
    (void)ctx;
    if (strcmp(bk_http_req_path(req), "/") == 0)
        return bk_http_reply(req, 200, "text/html; charset=utf-8", page, sizeof page - 1);
    if (strcmp(bk_http_req_path(req), "/events") == 0)
        return tick(req);
    return bk_http_reply_text(req, 404, "no such page\n");
}

static int serve(void *ctx)
{
    bk_listener *listener = NULL;
    int r = bk_listen(&listener, ctx, NULL);
    if (r == 0) {
        printf("open http://%s/\n", bk_listener_address(listener));
        fflush(stdout);
        r = bk_http_serve(listener, handle, NULL, NULL);
    }
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: sse_clock [PORT]\n"
        "Serves a clock on 127.0.0.1:PORT (0, the default, lets the kernel choose): a page at /\n"
        "and its events at /events.  Prints the address to open.  Ctrl-C ends it.\n";
    char address[64];
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    snprintf(address, sizeof address, "127.0.0.1:%s", argc == 2 ? argv[1] : "0");
    int r = bk_run(serve, address, NULL);
    if (r == -BK_EINTERRUPTED) /* Ctrl-C is how this program ends */
        return 0;
    fprintf(stderr, "sse_clock: %s\n", bk_errmsg());
    return 1;
}
