/* SPDX-License-Identifier: MIT
 * An HTTP server that says what a test tells it to, and remembers what it was asked.
 *
 *     struct script script = {.answers = {"HTTP/1.1 200 OK\r\n...", CLOSE "..."}};
 *     CHECK_EQ(script_open(&script), 0);
 *     ... bk_http_get(&call, NULL, script_url(&script, "/x"), NULL) ...
 *     CHECK(strstr(script.asked, "GET /x HTTP/1.1\r\n"));
 *     script_close(&script);
 *
 * Each request, on whichever connection, gets the next answer. */
#ifndef BECK_SRC_PROTO_HTTP_SCRIPT_FIXTURE_H
#define BECK_SRC_PROTO_HTTP_SCRIPT_FIXTURE_H

#include "net/net_test.h"

#define CLOSE "\001"  /* in front of an answer: the connection ends after it */
#define EARLY "\002"  /* it comes before the request's body is read, which then never is */
#define RESET "\003"  /* instead of an answer: the connection is reset */
#define SILENT "\004" /* instead of an answer: nothing, until the client goes away */

#define PLAIN "\005" /* in front of an answer: it is sent past TLS, in plain */

#define SCRIPT_ANSWERS 12

struct script {
    const char *answers[SCRIPT_ANSWERS];
    size_t lens[SCRIPT_ANSWERS]; /* 0: strlen */
    const bk_listen_opts *listen_opts;

    size_t n_asked, n_connections, n_open;
    char asked[6000]; /* every request, head and body */
    size_t asked_len;
    bk_listener *listener;
    bk_task *task;
    char url[400];
};

static void script_note(struct script *script, const char *text, size_t len)
{
    size_t room = sizeof script->asked - 1 - script->asked_len;
    if (len > room)
        len = room;
    memcpy(script->asked + script->asked_len, text, len);
    script->asked_len += len;
    script->asked[script->asked_len] = '\0';
}

/* Reads a request's head, and says what follows it. 1, 0 at the end. */
static int script_read_head(struct script *script, bk_stream *s, long *body_len)
{
    bk_span line;
    int r;
    *body_len = 0;
    while ((r = bk_stream_read_until(s, bk_span_str("\r\n"), &line)) > 0) {
        script_note(script, line.data, line.len);
        if (line.len == 2)
            return 1;
        if (line.len > 16 && memcmp(line.data, "Content-Length: ", 16) == 0)
            *body_len = strtol(line.data + 16, NULL, 10);
        if (line.len > 18 && memcmp(line.data, "Transfer-Encoding:", 18) == 0)
            *body_len = -1;
    }
    return r < 0 ? r : 0;
}

static int script_read_body(struct script *script, bk_stream *s, long len)
{
    bk_span part;
    char byte;
    int r = 0;
    if (len < 0) {
        r = bk_stream_read_until(s, bk_span_str("\r\n0\r\n\r\n"), &part);
        if (r > 0)
            script_note(script, part.data, part.len);
    }
    for (; len > 0 && r >= 0; len--) {
        r = bk_stream_read_exactly(s, &byte, 1);
        script_note(script, &byte, 1);
    }
    return r;
}

/* Answers one request; 0 when the connection is over. */
static int script_answer(struct script *script, bk_stream *s)
{
    long body_len;
    int r = script_read_head(script, s, &body_len);
    if (r <= 0)
        return r;
    size_t i = script->n_asked++;
    const char *answer = i < SCRIPT_ANSWERS ? script->answers[i] : NULL;
    size_t len = answer && script->lens[i] ? script->lens[i] : answer ? strlen(answer) : 0;
    char mark = answer && *answer <= *PLAIN ? *answer : 0;
    if (mark) {
        answer++;
        len--;
    }
    if (mark != *EARLY && (r = script_read_body(script, s, body_len)) < 0)
        return r;
    if (mark == *SILENT)
        return bk_stream_read_exactly(s, &body_len, sizeof body_len);
    if (mark == *RESET || !answer) {
        reset_on_close(bk_stream_fd(s));
        return -ECONNRESET;
    }
    if (mark == *PLAIN)
        return send(bk_stream_fd(s), answer, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
    r = bk_stream_write(s, answer, len);
    return r < 0 || mark ? r : 1;
}

static int script_serve(void *ctx, bk_stream **stream)
{
    struct script *script = ctx;
    int r;
    script->n_connections++;
    script->n_open++;
    while ((r = script_answer(script, *stream)) > 0)
        continue;
    bk_stream_close(stream, r);
    script->n_open--;
    return 0;
}

static int script_run(void *ctx)
{
    struct script *script = ctx;
    return bk_serve(script->listener, script_serve, script, NULL);
}

static inline int script_open(struct script *script)
{
    script->listener = NULL;
    int r = bk_listen(&script->listener, "127.0.0.1:0", script->listen_opts);
    return r < 0 ? r : bk_go(&script->task, script_run, script, NULL);
}

static inline void script_close(struct script *script)
{
    bk_task_cancel(script->task);
    bk_task_wait(script->task, NULL);
    bk_task_free(&script->task);
    bk_listener_close(&script->listener, 0);
}

static inline const char *script_url(struct script *script, const char *path)
{
    snprintf(script->url, sizeof script->url, "http://%s%s", bk_listener_address(script->listener),
             path);
    return script->url;
}

#endif
