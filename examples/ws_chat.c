/* SPDX-License-Identifier: MIT
 * A chat in the browser: a page, and one WebSocket for everybody who has it open.
 *
 *     ws_chat 8080              and open http://127.0.0.1:8080/ in a few windows
 */
#include <stdio.h>
#include <string.h>

#include <beck.h>

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>chat</title>\n"
    "<form><input autofocus placeholder='say something'></form><div id=said></div>\n"
    "<script>\n"
    "const ws = new WebSocket(location.href.replace('http', 'ws') + 'chat');\n"
    "const show = text => { const line = document.createElement('p');\n"
    "                       line.textContent = text; said.prepend(line); };\n"
    "ws.onmessage = event => show(event.data);\n"
    "ws.onclose = event => show('the end: ' + event.code + ' ' + event.reason);\n"
    "document.querySelector('form').onsubmit = event => {\n"
    "    event.preventDefault();\n"
    "    ws.send(event.target[0].value); event.target[0].value = ''; };\n"
    "</script>\n";

static const bk_ws_opts ws_opts = {
    .max_message = 2000,
    .deflate = {.on = true, .send_no_context = true, .recv_no_context = true},
};

/* One who takes part.  Whoever does not read for too long is cut off; the room goes on. */
static int chat(bk_ws_hub *room, bk_http_req *req)
{
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    int r = bk_ws_accept_req(&ws, req, &ws_opts);
    if (r < 0)
        return r == -BK_EPROTO ? 0 : r; /* the client knows */
    r = bk_ws_hub_add(room, ws);
    while (r >= 0 && (r = bk_ws_recv(ws, &msg)) > 0)
        r = bk_ws_hub_send(room, &msg);
    bk_msg_free(&msg);
    r = bk_ws_close(&ws, r); /* it leaves the room */
    return r == -BK_ELIMIT ? 0 : r;
}

/* Pages of other sites may not talk here in the name of who looks at them. */
static bool is_foreign(bk_http_req *req)
{
    const char *origin = bk_http_req_header(req, "Origin");
    const char *host = origin ? strstr(origin, "://") : NULL;
    return origin && (!host || strcmp(host + 3, bk_http_req_host(req)) != 0);
}

static int handle(void *ctx, bk_http_req *req)
{
    if (strcmp(bk_http_req_path(req), "/") == 0)
        return bk_http_reply(req, 200, "text/html; charset=utf-8", page, sizeof page - 1);
    if (strcmp(bk_http_req_path(req), "/chat") != 0)
        return bk_http_reply_text(req, 404, "no such page\n");
    return is_foreign(req) ? bk_http_reply_text(req, 403, "not from there\n") : chat(ctx, req);
}

static int serve(void *ctx)
{
    bk_listener *listener = NULL;
    bk_ws_hub *room = NULL;
    int r = bk_ws_hub_new(&room, NULL);
    if (r == 0)
        r = bk_listen(&listener, ctx, NULL);
    if (r == 0) {
        printf("open http://%s/\n", bk_listener_address(listener));
        fflush(stdout);
        r = bk_http_serve(listener, handle, room, &(bk_http_serve_opts){.drain = bk_ms(100)});
    }
    bk_ws_hub_free(&room);
    return bk_listener_close(&listener, r);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: ws_chat [PORT]\n"
        "Serves a chat on 127.0.0.1:PORT (0, the default, lets the kernel choose): a page at /\n"
        "and its WebSocket at /chat.  Prints the address to open.  Ctrl-C ends it.\n";
    char address[64];
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    snprintf(address, sizeof address, "127.0.0.1:%s", argc == 2 ? argv[1] : "0");
    int r = bk_run(serve, address, &(bk_run_opts){.max_intake = 512 << 10});
    if (r == -BK_EINTERRUPTED) /* Ctrl-C is how this program ends */
        return 0;
    fprintf(stderr, "ws_chat: %s\n", bk_errmsg());
    return 1;
}
