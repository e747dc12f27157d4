/* SPDX-License-Identifier: MIT
 * The client that WebSocket test suites drive: asks how many cases there are, echoes through each,
 * and has the report written.
 *
 *     ws_echo_client ws://127.0.0.1:9001
 *     ws_echo_client wss://localhost:9001 --cacert FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

static bk_ws_opts opts = {
    .max_message = 16 << 20,
    .max_fragments = 1 << 17,
    .deflate = {.on = true}, /* offered, and used if the server accepts it */
};

static int connect_to(bk_ws **ws, const char *base, const char *path)
{
    char url[1024];
    size_t len = strlen(base);
    snprintf(url, sizeof url, "%.*s%s", (int)(len - (base[len - 1] == '/')), base, path);
    return bk_ws_connect(ws, url, &opts);
}

/* The first message at path, as a number: how many cases there are. */
static int get_case_count(const char *base)
{
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    char text[16] = "";
    int r = connect_to(&ws, base, "/getCaseCount");
    if (r == 0 && (r = bk_ws_recv(ws, &msg)) > 0 && bk_msg_len(msg) < sizeof text) {
        memcpy(text, bk_msg_data(msg), bk_msg_len(msg));
        r = (int)strtol(text, NULL, 10);
    }
    bk_msg_free(&msg);
    return bk_ws_close(&ws, r);
}

/* Echoes until the peer closes.  A case may break the protocol on purpose, or its handshake: no
 * failure of ours. */
static int run_case(const char *base, int number)
{
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    char path[100];
    snprintf(path, sizeof path, "/runCase?case=%d&agent=beck", number);
    int r = connect_to(&ws, base, path);
    while (r >= 0 && (r = bk_ws_recv(ws, &msg)) > 0)
        r = bk_ws_send(ws, &msg);
    bk_msg_free(&msg);
    r = bk_ws_close(&ws, r);
    return r == -ECANCELED ? r : 0;
}

static int run_all(void *ctx)
{
    char **args = ctx; /* URL, NULL or the certificates to trust */
    bk_ws *ws = NULL;
    int r = args[1] ? bk_tls_client_new(&opts.tls, &(bk_tls_opts){.ca_file = args[1]}) : 0;
    int n = r == 0 ? get_case_count(args[0]) : r;
    for (int i = 1; r == 0 && i <= n; i++)
        r = run_case(args[0], i);
    if (r == 0 && n >= 0) {
        printf("ran %d cases\n", n);
        r = connect_to(&ws, args[0], "/updateReports?agent=beck");
    }
    bk_tls_free(&opts.tls);
    return bk_ws_close(&ws, n < 0 ? n : r);
}

int main(int argc, char **argv)
{
    bool trusts = argc == 4 && strcmp(argv[2], "--cacert") == 0;
    if ((argc != 2 && !trusts) || argv[1][0] == '-') {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs("usage: ws_echo_client URL [--cacert FILE]\n"
              "Runs the cases of a WebSocket test suite at ws://HOST:PORT or wss://HOST:PORT.\n"
              "  --cacert FILE   trust the certificates in FILE instead of the system's\n",
              asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    if (bk_run(run_all, (char *[]){argv[1], trusts ? argv[3] : NULL}, NULL) >= 0)
        return 0;
    fprintf(stderr, "ws_echo_client: %s\n", bk_errmsg());
    return 1;
}
