/* SPDX-License-Identifier: MIT
 * The client that WebSocket test suites drive: asks how many cases there are, echoes through each,
 * and has the report written.
 *
 *     ws_echo_client ws://127.0.0.1:9001 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

static int connect_to(bk_ws **ws, const char *base, const char *path)
{
    char url[1024];
    snprintf(url, sizeof url, "%s%s", base, path);
    return bk_ws_connect(ws, url, &(bk_ws_opts){.max_message = 16 << 20});
}

/* The first message at path, as a number: how many cases there are. */
static int get_case_count(const char *base)
{
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    char text[16] = "";
    int r = connect_to(&ws, base, "/getCaseCount");
    if (r < 0)
        return r;
    r = bk_ws_recv(ws, &msg);
    if (r > 0 && bk_msg_len(msg) < sizeof text) {
        memcpy(text, bk_msg_data(msg), bk_msg_len(msg));
        r = (int)strtol(text, NULL, 10);
    }
    bk_msg_free(&msg);
    return bk_ws_close(&ws, r);
}

/* Echoes until the peer closes.  A case may break the protocol on purpose: no failure of ours. */
static int run_case(const char *base, int number)
{
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    char path[100];
    snprintf(path, sizeof path, "/runCase?case=%d&agent=beck", number);
    int r = connect_to(&ws, base, path);
    if (r < 0)
        return r;
    while ((r = bk_ws_recv(ws, &msg)) > 0)
        if ((r = bk_ws_send(ws, &msg)) < 0)
            break;
    bk_msg_free(&msg);
    r = bk_ws_close(&ws, r);
    return r == -ECANCELED ? r : 0;
}

static int update_reports(const char *base)
{
    bk_ws *ws = NULL;
    int r = connect_to(&ws, base, "/updateReports?agent=beck");
    return r < 0 ? r : bk_ws_close(&ws, 0);
}

static int run_all(void *ctx)
{
    const char *base = ctx;
    int n = get_case_count(base);
    for (int i = 1; i <= n; i++) {
        int r = run_case(base, i);
        if (r < 0)
            return r;
    }
    if (n < 0)
        return n;
    printf("ran %d cases\n", n);
    return update_reports(base);
}

int main(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-') {
        bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        fprintf(asked ? stdout : stderr,
                "usage: ws_echo_client ws://HOST:PORT\n"
                "Runs the cases of a WebSocket test suite listening there.\n");
        return asked ? 0 : 2;
    }
    if (bk_run(run_all, argv[1], NULL) >= 0)
        return 0;
    fprintf(stderr, "ws_echo_client: %s\n", bk_errmsg());
    return 1;
}
