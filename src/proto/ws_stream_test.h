/* SPDX-License-Identifier: MIT
 * What the tests of WebSocket streams share: pairs of both roles, and a raw peer that speaks bytes.
 */
#ifndef BECK_SRC_PROTO_WS_STREAM_TEST_H
#define BECK_SRC_PROTO_WS_STREAM_TEST_H

#include "net/net_test.h"
#include "proto/ws_stream.h"

/* ---- Both roles, beck on both sides ---- */

struct accepting {
    bk_listener *listener;
    const bk_ws_opts *opts;
    bk_ws *ws;
};

static int accept_ws(void *ctx)
{
    struct accepting *a = ctx;
    bk_stream *s = NULL;
    int r = bk_accept(a->listener, &s);
    if (r > 0)
        r = bk_ws_accept(&a->ws, &s, a->opts);
    return bk_stream_close(&s, r);
}

/* Connects a client to a server over TCP: "ws://127.0.0.1:PORT" + path. */
static inline int open_ws_pair(bk_ws **client, bk_ws **server, const char *path,
                               const bk_ws_opts *client_opts, const bk_ws_opts *server_opts)
{
    struct accepting a = {.opts = server_opts};
    bk_task *task = NULL;
    char url[300];
    int r = bk_listen(&a.listener, "127.0.0.1:0", NULL), accepted = 0;
    if (r == 0)
        r = bk_go(&task, accept_ws, &a, NULL);
    if (r < 0)
        return bk_listener_close(&a.listener, r);
    snprintf(url, sizeof url, "ws://%s%s", bk_listener_address(a.listener), path);
    r = bk_ws_connect(client, url, client_opts);
    if (r < 0)
        bk_task_cancel(task);
    bk_task_wait(task, &accepted);
    bk_task_free(&task);
    *server = a.ws;
    if (r == 0 && accepted < 0)
        r = bk_ws_close(client, accepted);
    return bk_listener_close(&a.listener, r);
}

/* ---- A server with a raw peer ---- */

#define REQUEST_START "GET /chat?room=7 HTTP/1.1\r\nHost: test\r\n"
#define REQUEST_UPGRADE "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define REQUEST_KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define REQUEST_VERSION "Sec-WebSocket-Version: 13\r\n"
#define REQUEST REQUEST_START REQUEST_UPGRADE REQUEST_KEY REQUEST_VERSION "\r\n"
#define RESPONSE                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

struct raw {
    bk_ws *ws; /* the server */
    int peer;  /* the client's end, blocking */
};

/* What the peer has sent so far and the kernel has. */
static inline ssize_t hear(const struct raw *raw, char *buf, size_t size)
{
    return recv(raw->peer, buf, size, MSG_DONTWAIT);
}

static inline int open_raw(struct raw *raw, const bk_ws_opts *opts)
{
    struct ends e;
    char buf[500];
    int r = open_ends(&e, NULL);
    raw->ws = NULL;
    raw->peer = e.peer;
    if (r < 0)
        return r;
    if (write(e.peer, REQUEST, sizeof REQUEST - 1) < 0)
        return -errno;
    r = bk_ws_accept(&raw->ws, &e.s, opts);
    if (r == 0)
        r = bk_ws_flush(raw->ws);
    if (r < 0)
        return r;
    ssize_t n = hear(raw, buf, sizeof buf);
    return n == sizeof RESPONSE - 1 && memcmp(buf, RESPONSE, (size_t)n) == 0 ? 0 : -EPROTO;
}

static inline void close_raw(struct raw *raw)
{
    if (raw->peer >= 0)
        close(raw->peer);
    raw->peer = -1;
    bk_ws_close(&raw->ws, -EIO);
}

/* Appends a frame, masked with zeros, to buf; returns its size. */
static inline size_t put_frame(char *buf, int first_byte, const char *payload, size_t len)
{
    size_t n = 0;
    buf[n++] = (char)first_byte;
    if (len < 126) {
        buf[n++] = (char)(0x80 | len);
    } else if (len < 65536) {
        buf[n++] = (char)(0x80 | 126);
        buf[n++] = (char)(len >> 8);
        buf[n++] = (char)len;
    } else {
        buf[n++] = (char)(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            buf[n++] = (char)((uint64_t)len >> shift);
    }
    memset(buf + n, 0, 4);
    n += 4;
    if (len > 0)
        memcpy(buf + n, payload, len);
    return n + len;
}

static inline void send_raw(const struct raw *raw, int first_byte, const char *payload)
{
    char buf[400];
    size_t n = put_frame(buf, first_byte, payload, strlen(payload));
    CHECK_EQ(write(raw->peer, buf, n), (ssize_t)n);
}

/* The server's next bytes are exactly these. */
static inline void check_heard(const struct raw *raw, const char *want, size_t len)
{
    char buf[1000];
    bk_stream_flush(raw->ws->stream);
    ssize_t n = hear(raw, buf, sizeof buf);
    CHECK(n >= 0);
    CHECK_MEM(buf, (size_t)n, want, len);
}

#define CHECK_HEARD(raw, text) check_heard(raw, text, sizeof(text) - 1)

static inline void check_receives(bk_ws *ws, enum bk_msg_kind kind, const char *text)
{
    bk_msg *msg = NULL;
    CHECK_EQ(bk_ws_recv(ws, &msg), 1);
    bool same = bk_msg_kind_get(msg) == kind && bk_msg_len(msg) == strlen(text) &&
                memcmp(bk_msg_data(msg), text, strlen(text)) == 0;
    bk_msg_free(&msg);
    CHECK(same);
}

#endif
