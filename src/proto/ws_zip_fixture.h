/* SPDX-License-Identifier: MIT
 * What the tests of compressed WebSocket connections share: a raw peer that compresses. */
#ifndef BECK_SRC_PROTO_WS_ZIP_FIXTURE_H
#define BECK_SRC_PROTO_WS_ZIP_FIXTURE_H

#include "proto/ws_stream_test.h"

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
#define COMPRESSED(...)                                                                            \
    (bk_ws_opts)                                                                                   \
    {                                                                                              \
        .deflate = {.on = true, __VA_ARGS__ }                                                      \
    }

/* A server whose raw peer has offered compression. */
static inline int open_zipped(struct raw *raw, const bk_ws_opts *opts)
{
    struct ends e;
    char buf[500];
    static const char request[] =
        REQUEST_START REQUEST_UPGRADE REQUEST_KEY REQUEST_VERSION OFFER "\r\n";
    int r = open_ends(&e, NULL);
    *raw = (struct raw){.peer = e.peer};
    if (r == 0 && write(e.peer, request, sizeof request - 1) < 0)
        r = -errno;
    if (r == 0)
        r = bk_ws_accept(&raw->ws, &e.s, opts);
    if (r == 0)
        r = bk_ws_flush(raw->ws);
    if (r < 0)
        return r;
    return hear(raw, buf, sizeof buf) > 0 && raw->ws->zip ? 0 : -EPROTO;
}

static inline void send_frame(const struct raw *raw, int first_byte, const char *payload,
                              size_t len)
{
    char *frame = malloc(len + 14);
    size_t n = put_frame(frame, first_byte, payload, len);
    ssize_t sent = write(raw->peer, frame, n);
    free(frame);
    CHECK_EQ(sent, (ssize_t)n);
}

/* Compresses data as a peer would; returns the length. */
static inline size_t compress(char *out, size_t size, const char *data, size_t len)
{
    struct bki_ws_deflater *d = NULL;
    size_t n = 0, made;
    bool done = bki_ws_deflater_new(&d, 15, 9, 9) < 0;
    while (!done && size - n >= BKI_WS_DEFLATE_ROOM) {
        done = bki_ws_deflate(d, &data, &len, true, out + n, size - n, &made);
        n += made;
    }
    bki_ws_deflater_free(&d);
    return done ? n : 0;
}

#endif
