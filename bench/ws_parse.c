/* SPDX-License-Identifier: MIT
 * What a WebSocket frame costs to receive once its bytes are in memory: small JSON text messages
 * out of 64 KiB, UTF-8 checked, as a client gets them (RESULT), and as a server does, masked. */
#include "proto/ws_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds a frame, the copy into the receive buffer not counted. */
static double measure(bool masked, bool accents)
{
    static char frames[BUFFER], buf[BUFFER];
    size_t len, used, n_frames = fill(frames, &len, masked, accents);
    uint64_t bytes = 0;
    double spent = 0;
    struct bki_ws_conn c;
    struct bki_ws_event ev;
    bki_ws_init(&c, masked ? BKI_WS_SERVER : BKI_WS_CLIENT, NULL, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        memcpy(buf, frames, len);
        char *at = buf;
        size_t left = len;
        double start = now_ns();
        while (bki_ws_next(&c, at, left, &used, &ev) > 0) {
            bytes += ev.payload.len;
            at += used;
            left -= used;
        }
        spent += now_ns() - start;
    }
    if (bytes == 0)
        exit(1);
    return spent / ROUNDS / (double)n_frames;
}

int main(void)
{
    measure(false, false); /* warm */
    printf("client_ascii_ns=%.2f\n", measure(false, false));
    printf("client_utf8_ns=%.2f\n", measure(false, true));
    printf("server_ascii_ns=%.2f\n", measure(true, false));
    printf("RESULT ns=%.2f\n", measure(false, false));
    return 0;
}
