/* SPDX-License-Identifier: MIT
 * Fuzzes permessage-deflate: any bytes as compressed messages give the same in all portions; any
 * bytes compressed come back; and any offer that a server takes has an answer that its client
 * takes.
 *
 * Input: one byte for windows and levels, one each for the portions in and out, one for what is
 * done, then the bytes. */
#include "proto/ws_deflate.h"

#include <beck/error.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/ws_offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

enum { OUT_MAX = 1 << 17 }; /* a bomb's output is looked at this far */

struct output {
    char bytes[OUT_MAX];
    size_t n;
    int result;
};

static void inflate_message(struct bki_ws_inflater *f, struct output *out, const char *in,
                            size_t len, size_t in_step, size_t out_step)
{
    size_t at = 0;
    do {
        size_t left = len - at < in_step ? len - at : in_step, room, made;
        bool last = at + left == len;
        char *copy = malloc(left + 1); /* of exactly that size, for the sanitizer */
        if (left > 0)
            memcpy(copy, in + at, left);
        const char *piece = copy;
        at += left;
        do {
            room = OUT_MAX - out->n < out_step ? OUT_MAX - out->n : out_step;
            out->result = -EMSGSIZE;
            if (room == 0)
                break;
            made = 0;
            out->result = bki_ws_inflate(f, &piece, &left, last, out->bytes + out->n, room, &made);
            out->n += made;
        } while (out->result == 0 && made == room);
        MUST(out->result < 0 || left == 0);
        free(copy);
    } while (out->result == 0 && at < len);
}

/* Two messages, so that a context passes from one to the other. */
static void inflate_all(struct output *out, int bits, const char *in, size_t len, size_t in_step,
                        size_t out_step)
{
    struct bki_ws_inflater *f = NULL;
    MUST(bki_ws_inflater_new(&f, bits) == 0);
    out->n = 0;
    inflate_message(f, out, in, len / 2, in_step, out_step);
    if (out->result == 0)
        inflate_message(f, out, in + len / 2, len - len / 2, in_step, out_step);
    bki_ws_inflater_free(&f);
}

static void check_inflate(int bits, const char *in, size_t len, size_t in_step, size_t out_step)
{
    static struct output whole, parts;
    inflate_all(&whole, bits, in, len, len + 1, OUT_MAX);
    inflate_all(&parts, bits, in, len, in_step, out_step);
    /* A reference further back than the window is found out only where the output is cut. */
    if (bits < 15 && whole.result != parts.result)
        return;
    MUST(whole.result == parts.result);
    MUST(whole.result < 0 || whole.n == parts.n);
    size_t same = whole.n < parts.n ? whole.n : parts.n;
    MUST(memcmp(whole.bytes, parts.bytes, same) == 0);
}

static void check_round_trip(int bits, int level, int mem_level, const char *in, size_t len,
                             size_t in_step, size_t out_step)
{
    static struct output out;
    struct bki_ws_deflater *d = NULL;
    struct bki_ws_inflater *f = NULL;
    char *packed = malloc(len * 8 + 1000); /* every portion may cost a marker */
    MUST(bki_ws_deflater_new(&d, bits, level, mem_level) == 0);
    MUST(bki_ws_inflater_new(&f, bits) == 0);
    for (int round = 0; round < 2; round++) {
        size_t at = 0, n = 0;
        bool done;
        do {
            size_t left = len - at < in_step ? len - at : in_step, made;
            const char *piece = in + at;
            at += left;
            do {
                done = bki_ws_deflate(d, &piece, &left, at == len, packed + n, out_step, &made);
                n += made;
                MUST(n <= len * 8 + 1000 - out_step);
            } while (!done);
            MUST(left == 0);
        } while (at < len);
        out.n = 0;
        inflate_message(f, &out, packed, n, out_step, in_step);
        MUST(out.result == 0 && out.n == len && memcmp(out.bytes, in, len) == 0);
    }
    bki_ws_deflater_free(&d);
    bki_ws_inflater_free(&f);
    free(packed);
}

static bool parse(struct bki_http_head *h, enum bki_http_kind kind, const char *value, size_t len)
{
    static struct bki_http_field fields[8];
    static char text[1000];
    int n = snprintf(text, sizeof text, "%s\r\nSec-WebSocket-Extensions: %.*s\r\n\r\n",
                     kind == BKI_HTTP_REQUEST ? "GET / HTTP/1.1\r\nHost: x"
                                              : "HTTP/1.1 101 Switching Protocols",
                     (int)len, value);
    bki_http_init(h, kind, fields, 8, NULL);
    return n < (int)sizeof text && bki_http_feed(h, text, (size_t)n) == 1;
}

/* The client that made this offer is not known, but one without wishes takes any answer to it,
 * unless that limits a window which the offer did not say could be. */
static void check_offer(uint8_t options, const char *in, size_t len)
{
    struct bki_http_head h;
    struct bki_ws_terms wish = {.send_bits = options & 7 ? 8 + (options & 7) : 0,
                                .recv_bits = options & 56 ? (uint8_t)(8 + (options >> 3 & 7)) : 0,
                                .send_alone = options & 64,
                                .recv_alone = options & 128},
                        agreed, theirs, none = {0};
    char answer[BKI_WS_TERMS_TEXT];
    const char *why;
    if (len > 500 || !parse(&h, BKI_HTTP_REQUEST, in, len))
        return;
    if (bki_ws_offer_answer(&h, &wish, &agreed, answer)) {
        MUST(parse(&h, BKI_HTTP_RESPONSE, answer, strlen(answer)));
        MUST(bki_ws_offer_judge(&h, &none, &theirs, &why) == 1);
        MUST(theirs.recv_bits == agreed.send_bits && theirs.send_bits >= agreed.recv_bits);
        MUST(theirs.recv_alone == agreed.send_alone && theirs.send_alone == agreed.recv_alone);
    }
    if (parse(&h, BKI_HTTP_RESPONSE, in, len) && bki_ws_offer_judge(&h, &wish, &agreed, &why) == 1)
        MUST(agreed.send_bits >= 8 && agreed.send_bits <= 15 && agreed.recv_bits >= 8 &&
             (!wish.recv_bits || agreed.recv_bits <= wish.recv_bits));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > 20000)
        return 0;
    int bits = 8 + data[0] % 8, level = 1 + data[0] / 8 % 9, mem_level = 1 + data[3] / 4 % 9;
    size_t in_step = (size_t)data[1] + 1, out_step = (size_t)data[2] + 16;
    const char *in = (const char *)data + 4;
    switch (data[3] % 3) {
    case 0:
        check_inflate(bits, in, size - 4, in_step, out_step - 15);
        break;
    case 1:
        check_round_trip(bits, level, mem_level, in, size - 4, in_step, out_step);
        break;
    default:
        check_offer(data[0], in, size - 4);
    }
    return 0;
}
