/* SPDX-License-Identifier: MIT
 * What a small JSON text message costs once its bytes are in memory, UTF-8 checked: as an event of
 * the core, and as a bk_msg received and freed (RESULT: by a client); out of 64 KiB at a time, in
 * the best of many rounds. */
#include "proto/ws_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define BUFFER 65536u
#define ROUNDS 20000

static uint64_t state = 88172645463325252u;

static unsigned next_random(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % below);
}

/* Fills out with whole frames of a made-up trade feed; returns how many. */
static size_t fill(char *out, size_t *len, bool masked, bool accents)
{
    size_t n_frames = 0;
    for (*len = 0;; n_frames++) {
        char text[160], head[BKI_WS_HEAD_MAX];
        int n = snprintf(text, sizeof text,
                         "{\"type\":\"trade\",\"symbol\":\"S%02u-USD\",\"price\":%u.%02u,"
                         "\"side\":\"%s\",\"time\":17000000%08u,\"id\":%07u}",
                         next_random(50), 10000 + next_random(50000), next_random(100),
                         accents ? "\xc3\xa0 l\xe2\x80\x99"
                                   "achat"
                                 : "buy",
                         next_random(100000000), next_random(10000000));
        struct bki_ws_frame f = {.len = (uint64_t)n,
                                 .opcode = BKI_WS_TEXT,
                                 .fin = true,
                                 .masked = masked,
                                 .key = next_random(~0u)};
        size_t head_len = bki_ws_frame_write(head, &f);
        if (*len + head_len + (size_t)n > BUFFER)
            return n_frames;
        memcpy(out + *len, head, head_len);
        bki_ws_mask(out + *len + head_len, text, (size_t)n, masked ? f.key : 0, 0);
        *len += head_len + (size_t)n;
    }
}

static double now_ns(void)
{
    return (double)bench_ns();
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

struct feed {
    char frames[BUFFER];
    size_t len, n_frames;
    enum bki_ws_role role;
};

/* Nanoseconds an event, the copy into the receive buffer not counted. */
static double measure_events(const struct feed *feed)
{
    static char buf[BUFFER];
    uint64_t bytes = 0;
    double best = 1e18;
    struct bki_ws_conn c;
    struct bki_ws_event ev;
    bki_ws_init(&c, feed->role, NULL, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        memcpy(buf, feed->frames, feed->len);
        char *at = buf;
        size_t left = feed->len, used;
        double start = now_ns();
        while (bki_ws_next(&c, at, left, &used, &ev) > 0) {
            bytes += ev.payload.len;
            at += used;
            left -= used;
        }
        best = least(best, now_ns() - start);
    }
    if (bytes == 0)
        exit(1);
    return best / (double)feed->n_frames;
}

/* Nanoseconds a message, likewise, out of a stream whose buffer is filled by hand. */
static double measure_messages(const struct feed *feed)
{
    uint64_t bytes = 0;
    double best = 1e18;
    int fds[2];
    bk_stream *s = NULL;
    struct bk_ws *ws = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || bk_stream_from_fd(&s, fds[0], NULL) < 0 ||
        bki_ws_new(&ws, feed->role, &(bk_ws_opts){0}) < 0 ||
        bki_ws_start(ws, &s, &(bk_ws_opts){0}) < 0)
        exit(1);
    for (int i = 0; i < ROUNDS; i++) {
        bki_buf_append(&ws->stream->in, feed->frames, feed->len);
        double start = now_ns();
        for (size_t left = feed->n_frames; left > 0; left--) {
            bk_msg *msg = NULL;
            if (bk_ws_recv(ws, &msg) != 1)
                exit(1);
            bytes += (uint8_t)bk_msg_data(msg)[bk_msg_len(msg) - 2];
            bk_msg_free(&msg);
        }
        best = least(best, now_ns() - start);
    }
    if (bytes == 0)
        exit(1);
    bki_ws_free(ws, -1);
    close(fds[1]);
    return best / (double)feed->n_frames;
}

static int measure(void *ctx)
{
    static struct feed client = {.role = BKI_WS_CLIENT}, server = {.role = BKI_WS_SERVER},
                       utf8 = {.role = BKI_WS_CLIENT};
    (void)ctx;
    client.n_frames = fill(client.frames, &client.len, false, false);
    server.n_frames = fill(server.frames, &server.len, true, false);
    utf8.n_frames = fill(utf8.frames, &utf8.len, false, true);
    measure_messages(&client); /* warm */
    printf("client_event_ns=%.2f server_event_ns=%.2f\n", measure_events(&client),
           measure_events(&server));
    printf("RESULT ns=%.2f server_ns=%.2f not_ascii_ns=%.2f\n", measure_messages(&client),
           measure_messages(&server), measure_messages(&utf8));
    return 0;
}

int main(void)
{
    return bk_run(measure, NULL, NULL) != 0;
}
