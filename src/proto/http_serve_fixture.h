/* SPDX-License-Identifier: MIT
 * A site and raw clients for it, for the tests of the HTTP server.
 *
 *     struct site site = {.handler = hello};
 *     CHECK_EQ(site_open(&site), 0);
 *     CHECK_STR(ask(&site, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
 *               "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
 *     CHECK_EQ(site_close(&site), -ECANCELED);
 *
 * What a client got is given without Date fields.  All within one loop, on its virtual clock. */
#ifndef BECK_SRC_PROTO_HTTP_SERVE_FIXTURE_H
#define BECK_SRC_PROTO_HTTP_SERVE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <beck.h>

#include "net/net_test.h"
#include "rt/rt.h"

#define HOST "Host: h\r\n"

struct site {
    bk_http_fn *handler;
    bk_http_serve_opts opts;
    const char *address; /* default: some port */
    bk_listen_opts listen;
    bk_listener *listener;
    bk_task *task;
    int n_handled, n_errors, last_error;
    char last_detail[256];
    char note[4096]; /* for handlers to write to */
};

static void site_error(void *ctx, bk_http_req *req, int result)
{
    struct site *site = ctx;
    (void)req;
    site->n_errors++;
    site->last_error = result;
    snprintf(site->last_detail, sizeof site->last_detail, "%s", bk_errmsg());
}

static int site_handle(void *ctx, bk_http_req *req)
{
    struct site *site = ctx;
    site->n_handled++;
    return site->handler(site, req);
}

static int site_serve(void *ctx)
{
    struct site *site = ctx;
    return bk_http_serve(site->listener, site_handle, site, &site->opts);
}

static inline int site_open(struct site *site)
{
    site->opts.on_error = site_error;
    int r =
        bk_listen(&site->listener, site->address ? site->address : "127.0.0.1:0", &site->listen);
    return r < 0 ? r : bk_go(&site->task, site_serve, site, NULL);
}

/* Stops the server; returns what bk_http_serve did. */
static inline int site_close(struct site *site)
{
    int r = 0;
    if (site->task) {
        bk_task_cancel(site->task);
        bk_task_wait(site->task, &r);
        bk_task_free(&site->task);
    }
    return bk_listener_close(&site->listener, r);
}

/* ---- A client ---- */

static inline int dial(const struct site *site, bk_stream **out)
{
    return bk_connect(out, bk_listener_address(site->listener), NULL);
}

/* Lets everybody run who can, and the kernel hand over what was sent. */
static inline void settle(void)
{
    for (int i = 0; i < 4; i++) {
        bki_loop->budget = 0;
        bk_yield();
    }
}

/* Takes the Date fields out of a text. */
static inline void drop_dates(char *text)
{
    char *at;
    while ((at = strstr(text, "\r\nDate: "))) {
        char *end = strstr(at + 2, "\r\n");
        memmove(at, end, strlen(end) + 1);
    }
}

/* All that comes until the connection ends, without dates; valid until the next call.  An end that
 * is not orderly is told by "!" and the error. */
static inline const char *rest_of(bk_stream *s)
{
    static char text[1 << 17];
    size_t n = 0;
    ssize_t r;
    while (n < sizeof text - 100 && (r = bk_stream_read(s, text + n, sizeof text - 100 - n)) > 0)
        n += (size_t)r;
    text[n] = '\0';
    drop_dates(text);
    if (r < 0)
        snprintf(text + strlen(text), 90, "!%s", strerrorname_np((int)-r));
    return text;
}

/* What has come by now, without dates; valid until the next call. */
static inline const char *so_far(bk_stream *s)
{
    static char text[1 << 16];
    ssize_t n;
    settle();
    n = recv(bk_stream_fd(s), text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    drop_dates(text);
    return n == 0 ? "(end)" : text;
}

static inline int send_text(bk_stream *s, const char *text)
{
    return bk_stream_write(s, text, strlen(text));
}

/* Sends the text in two portions (first 0: byte by byte), ends the write side, and returns all that
 * comes. */
static inline const char *ask_in_parts(const struct site *site, const char *text, size_t len,
                                       size_t first)
{
    bk_stream *s = NULL;
    int r = dial(site, &s);
    for (size_t at = 0; r == 0 && at < len;) {
        size_t n = first == 0 ? 1 : at == 0 && first < len ? first : len - at;
        r = bk_stream_write(s, text + at, n);
        at += n;
        settle();
    }
    if (r == 0 || r == -EPIPE || r == -ECONNRESET) {
        bk_stream_write_eof(s);
        r = 0;
    }
    const char *got = r == 0 ? rest_of(s) : "!no connection";
    bk_stream_close(&s, -1);
    return got;
}

static inline const char *ask(const struct site *site, const char *text)
{
    return ask_in_parts(site, text, strlen(text), strlen(text));
}

/* The same for the whole, in two parts cut anywhere, and byte by byte; "differs: ..." when the
 * answers do. */
static inline const char *ask_in_all_parts(const struct site *site, const char *text)
{
    static char whole[1 << 17], wrong[1 << 17];
    size_t len = strlen(text);
    snprintf(whole, sizeof whole, "%s", ask(site, text));
    for (size_t first = 0; first < len; first++) {
        const char *parts = ask_in_parts(site, text, len, first);
        if (strcmp(parts, whole) != 0) {
            snprintf(wrong, sizeof wrong, "differs: cut at %zu: %.60000s", first, parts);
            return wrong;
        }
    }
    return whole;
}

/* The status that answers a text, "" for none. */
static inline const char *status_of_answer(const char *answer)
{
    static char status[8];
    snprintf(status, sizeof status, "%.3s", strncmp(answer, "HTTP/1.1 ", 9) == 0 ? answer + 9 : "");
    return status;
}

#endif
