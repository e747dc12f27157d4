/* SPDX-License-Identifier: MIT
 * Tests of an HTTP client's connections: used again, found stale, limited, closed when idle. */
#include "proto/http_call.h"
#include "proto/http_script_fixture.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static int get(bk_http_client *client, struct script *script, bool read)
{
    bk_http_call *call = NULL;
    bk_msg *body = NULL;
    int r = bk_http_get(&call, client, script_url(script, "/"), NULL);
    if (r == 0 && read)
        r = bk_http_call_body(call, &body);
    bk_msg_free(&body);
    return bk_http_call_close(&call, r);
}

LOOP_TEST(a_connection_serves_call_after_call)
{
    struct script script = {.answers = {HELLO, HELLO, HELLO}};
    bk_http_client *client = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&client, NULL), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(get(client, &script, true), 0);
        CHECK_EQ(bk_http_client_open(client), 1);
        CHECK_EQ(bk_http_client_idle(client), 1);
    }
    CHECK_EQ(script.n_connections, 1);
    bk_http_client_free(&client);
    CHECK(!client);
    script_close(&script);
}

struct late {
    bk_http_client *client;
    struct script *script;
};

/* The cancel comes when all has been read: only the task's end tells of it. */
static int get_and_be_cancelled(void *ctx)
{
    struct late *late = ctx;
    bk_http_call *call = NULL;
    bk_msg *body = NULL;
    int r = bk_http_get(&call, late->client, script_url(late->script, "/"), NULL);
    if (r == 0)
        r = bk_http_call_body(call, &body);
    bk_msg_free(&body);
    bk_task_cancel(bk_task_current());
    return bk_http_call_close(&call, r);
}

LOOP_TEST(a_close_in_a_cancelled_task_keeps_the_connection_and_the_cancel)
{
    struct script script = {.answers = {HELLO}};
    struct late late = {.script = &script};
    bk_task *task = NULL;
    int result = 0;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&late.client, NULL), 0);
    CHECK_EQ(bk_go(&task, get_and_be_cancelled, &late, NULL), 0);
    CHECK_EQ(bk_task_wait(task, &result), 0);
    CHECK_EQ(result, -ECANCELED);
    CHECK_EQ(bk_http_client_idle(late.client), 1);
    bk_task_free(&task);
    bk_http_client_free(&late.client);
    script_close(&script);
}

LOOP_TEST(what_may_not_be_used_again)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        HELLO "HTTP/1.1 200 OK\r\n", /* what nobody asked for */
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct script script = {.answers = {answers[i]}};
        bk_http_client *client = NULL;
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(bk_http_client_new(&client, NULL), 0);
        CHECK_EQ(get(client, &script, true), 0);
        CHECK_EQ(bk_http_client_open(client), 0);
        bk_http_client_free(&client);
        script_close(&script);
    }
}

LOOP_TEST(a_body_that_was_not_read_ends_its_connection)
{
    struct script script = {.answers = {HELLO, HELLO}};
    bk_http_client *client = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&client, NULL), 0);
    CHECK_EQ(get(client, &script, false), 0);
    CHECK_EQ(bk_http_client_open(client), 0);
    CHECK_EQ(get(client, &script, true), 0);
    CHECK_EQ(script.n_connections, 2);
    bk_http_client_free(&client);
    script_close(&script);
}

/* The server closes while the connection is idle: seen before the next request is sent. */
LOOP_TEST(a_closed_idle_connection_is_not_used)
{
    struct script script = {.answers = {CLOSE HELLO, HELLO}};
    bk_http_client *client = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&client, NULL), 0);
    CHECK_EQ(get(client, &script, true), 0);
    CHECK_EQ(bk_http_client_idle(client), 1);
    bk_sleep(bk_ms(10));
    CHECK_EQ(get(client, &script, true), 0);
    CHECK_EQ(script.n_connections, 2);
    CHECK_EQ(script.n_asked, 2);
    bk_http_client_free(&client);
    script_close(&script);
}

static int send_one(bk_http_client *client, struct script *script, const char *method)
{
    bk_http_call *call = NULL;
    int r = bk_http_request(&call, client, method, script_url(script, "/"), bk_span_str(""), NULL);
    return bk_http_call_close(&call, r);
}

/* The server ends the connection when the second request is there already. */
LOOP_TEST(a_request_that_may_be_sent_twice_is)
{
    static const char *const methods[] = {"GET", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct script script = {.answers = {HELLO, RESET, HELLO}};
        bk_http_client *client = NULL;
        bool once = i >= 4;
        CHECK_EQ(script_open(&script), 0);
        CHECK_EQ(bk_http_client_new(&client, NULL), 0);
        CHECK_EQ(get(client, &script, true), 0);
        CHECK_EQ(send_one(client, &script, methods[i]), once ? -ECONNRESET : 0);
        CHECK_EQ(script.n_asked, once ? 2 : 3);
        bk_http_client_free(&client);
        script_close(&script);
    }
}

LOOP_TEST(an_idle_connection_is_closed_after_60_s)
{
    struct script script = {.answers = {HELLO, HELLO}};
    bk_http_client *client = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&client, NULL), 0);
    CHECK_EQ(get(client, &script, true), 0);
    bk_sleep(bk_ms(59900));
    CHECK_EQ(bk_http_client_open(client), 1);
    CHECK_EQ(script.n_open, 1);
    bk_sleep(bk_ms(200));
    CHECK_EQ(bk_http_client_open(client), 0);
    bk_sleep(bk_ms(10));
    CHECK_EQ(script.n_open, 0);
    bk_http_client_free(&client);
    script_close(&script);
}

struct waiting {
    bk_http_client *client;
    struct script *script;
    int result, *n_done;
};

static int get_one(void *ctx)
{
    struct waiting *w = ctx;
    w->result = get(w->client, w->script, true);
    (*w->n_done)++;
    return 0;
}

LOOP_TEST(calls_wait_at_the_limit)
{
    struct script script = {.answers = {HELLO, HELLO, HELLO, HELLO, HELLO, HELLO}};
    bk_http_client *client = NULL;
    bk_group *group = NULL;
    int n_done = 0;
    struct waiting w[6];
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&client, &(bk_http_client_opts){.limit = 2}), 0);
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    for (int i = 0; i < 6; i++) {
        w[i] = (struct waiting){client, &script, 1, &n_done};
        CHECK_EQ(bk_group_go(group, get_one, &w[i], NULL), 0);
    }
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_EQ(n_done, 6);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(w[i].result, 0);
    CHECK_EQ(script.n_connections, 2);
    CHECK_EQ(bk_http_client_open(client), 2);
    bk_http_client_free(&client);
    script_close(&script);
}

/* At the limit an idle connection to another host makes room. */
LOOP_TEST(an_idle_connection_makes_room)
{
    struct script one = {.answers = {HELLO, HELLO}}, two = {.answers = {HELLO, HELLO}};
    bk_http_client *client = NULL;
    CHECK_EQ(script_open(&one), 0);
    CHECK_EQ(script_open(&two), 0);
    CHECK_EQ(bk_http_client_new(&client, &(bk_http_client_opts){.limit = 1}), 0);
    CHECK_EQ(get(client, &one, true), 0);
    CHECK_EQ(get(client, &two, true), 0);
    CHECK_EQ(bk_http_client_open(client), 1);
    CHECK_EQ(get(client, &one, true), 0);
    CHECK_EQ(one.n_connections, 2);
    bk_http_client_free(&client);
    script_close(&one);
    script_close(&two);
}

LOOP_TEST(a_client_may_be_freed_before_its_calls)
{
    struct script script = {.answers = {HELLO}};
    bk_http_client *client = NULL;
    bk_http_call *call = NULL;
    bk_msg *body = NULL;
    CHECK_EQ(script_open(&script), 0);
    CHECK_EQ(bk_http_client_new(&client, NULL), 0);
    CHECK_EQ(bk_http_get(&call, client, script_url(&script, "/"), NULL), 0);
    bk_http_client_free(&client);
    CHECK_EQ(bk_http_call_body(call, &body), 0);
    bk_msg_free(&body);
    bk_http_call_close(&call, 0);
    bk_sleep(bk_ms(10));
    CHECK_EQ(script.n_open, 0);
    script_close(&script);
}

CHECK_MAIN(TEST(a_connection_serves_call_after_call),
           TEST(a_close_in_a_cancelled_task_keeps_the_connection_and_the_cancel),
           TEST(what_may_not_be_used_again), TEST(a_body_that_was_not_read_ends_its_connection),
           TEST(a_closed_idle_connection_is_not_used), TEST(a_request_that_may_be_sent_twice_is),
           TEST(an_idle_connection_is_closed_after_60_s), TEST(calls_wait_at_the_limit),
           TEST(an_idle_connection_makes_room), TEST(a_client_may_be_freed_before_its_calls))
