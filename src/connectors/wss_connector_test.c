/* SPDX-License-Identifier: MIT
 * WebSockets under TLS as sources and sinks, ws-listen: with a certificate against wss:. */
#include <beck/tls.h>
#include <beck/ws.h>

#include "connectors/url_fixture.h"
#include "tests/tls_fixture.h"

static struct urls server, client;

/* "wss://localhost:PORT/" + options, once the server's flow listens. */
static int client_url(char *url, size_t size, const char *options)
{
    const char *at;
    while (!(at = strstr(server.events, "listening on wss://127.0.0.1:"))) {
        int r = bk_sleep(bk_ms(1));
        if (r < 0)
            return r;
    }
    at += strlen("listening on wss://127.0.0.1");
    snprintf(url, size, "wss://localhost%.*s%s", (int)strcspn(at, "\n"), at, options);
    return 0;
}

/* The client's flow, from or to the server. */
struct client_run {
    bool source;
    const char *options;
};

static int run_client(void *ctx)
{
    struct client_run *run = ctx;
    static char url[300];
    int r = client_url(url, sizeof url, run->options);
    if (r == 0)
        *(run->source ? &client.from : &client.to) = url;
    if (r == 0)
        r = urls_main(&client);
    client.result = r;
    bk_flow_drain(server.flow);
    return 0;
}

static int run_server(void *ctx)
{
    return urls_main(ctx);
}

static int run_both(void *ctx)
{
    bk_call calls[] = {{.fn = run_server, .ctx = &server}, {.fn = run_client, .ctx = ctx}};
    (void)bk_gather(calls, 2, &(bk_gather_opts){.collect = true});
    return calls[0].result;
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static int run(struct client_run *run)
{
    return bk_run(run_both, run, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

static void clear(void)
{
    memset(&server, 0, sizeof server);
    memset(&client, 0, sizeof client);
}

static const char *url_with(const char *format, const char *file, const char *other)
{
    static char texts[4][300];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof *texts, "%s%s%s%s", format, file, other ? "&cacert=" : "",
             other ? other : "");
    return text;
}

static void a_server_sends_under_tls(void)
{
    clear();
    server.lines = LINES("a", "b", "c");
    server.to = url_with("ws-listen:127.0.0.1:0?cert=", tls_file("server"), NULL);
    struct client_run how = {true, url_with("#cacert=", tls_file("ca"), NULL)};
    CHECK_EQ(run(&how), 0);
    CHECK_EQ(client.result, 0);
    CHECK_STR(client.output, "a\nb\nc\n");
}

static void a_server_receives_under_tls(void)
{
    clear();
    server.from = url_with("ws-listen:127.0.0.1:0?cert=", tls_file("server"), tls_file("ca"));
    client.lines = LINES("a", "b", "c");
    struct client_run how = {false, url_with("#cert=", tls_file("client"), tls_file("ca"))};
    CHECK_EQ(run(&how), 0);
    CHECK_EQ(client.result, 0);
    CHECK_STR(server.output, "a\nb\nc\n");
}

static void who_is_not_trusted_is_not_talked_to(void)
{
    clear();
    server.from = url_with("ws-listen:127.0.0.1:0?cert=", tls_file("server"), NULL);
    struct client_run how = {true, ""};
    CHECK_EQ(run(&how), 0);
    CHECK_EQ(client.result, -BK_ECERT);
    CHECK(strstr(client.error, "unable to get local issuer certificate"));
}

static void unless_anybody_is(void)
{
    clear();
    server.lines = LINES("a");
    server.to = url_with("ws-listen:127.0.0.1:0?cert=", tls_file("self"), NULL);
    struct client_run how = {true, "#insecure"};
    CHECK_EQ(run(&how), 0);
    CHECK_STR(client.output, "a\n");
}

static int add(void *ctx)
{
    struct urls *u = ctx;
    int r = bk_flow_new(&u->flow, NULL);
    if (r == 0)
        r = bk_flow_from(u->flow, u->from);
    snprintf(u->error, sizeof u->error, "%s", bk_errmsg());
    bk_flow_free(&u->flow);
    return r;
}

static void check_refused(const char *url, int result, const char *why)
{
    clear();
    client.from = url;
    CHECK_EQ(bk_run(add, &client, NULL), result);
    if (!strstr(client.error, why))
        CHECK_STR(client.error, why);
}

static void options_that_make_no_sense(void)
{
    check_refused("ws-listen::0?key=k.pem", -BK_EURL, "need a certificate");
    check_refused("wss://h/#key=k.pem", -BK_EURL, "needs the certificate");
    check_refused("wss://h/#insecure&cacert=c.pem", -BK_EURL, "insecure trusts anybody");
    check_refused("ws://h/#insecure", -BK_EURL, "insecure");
    check_refused("wss://h/#cacert=/nowhere/ca.pem", -ENOENT, "/nowhere/ca.pem: No such file");
    check_refused("ws-listen::0?cert=/nowhere/c.pem", -ENOENT, "/nowhere/c.pem: No such file");
}

CHECK_MAIN(TEST(a_server_sends_under_tls), TEST(a_server_receives_under_tls),
           TEST(who_is_not_trusted_is_not_talked_to), TEST(unless_anybody_is),
           TEST(options_that_make_no_sense))
