/* SPDX-License-Identifier: MIT
 * permessage-deflate on a WebSocket connection: contexts made when needed, kept or not, and the
 * frames and checks around them. */
#include "proto/ws_stream.h"

#define MIN_SIZE 64
#define CHUNK                                                                                      \
    ((size_t)64 * 1024) /* a longer compressed message goes out in frames of this size             \
                         */

enum { BAD_DATA = 1007, INTERNAL_ERROR = 1011 };

struct bki_ws_terms bki_ws_zip_wish(const bk_ws_deflate *opts)
{
    return (struct bki_ws_terms){
        .send_bits = (uint8_t)opts->send_window_bits,
        .recv_bits = (uint8_t)opts->recv_window_bits,
        .send_alone = opts->send_no_context,
        .recv_alone = opts->recv_no_context,
    };
}

int bki_ws_zip_check(const bk_ws_deflate *opts)
{
    int send = opts->send_window_bits, recv = opts->recv_window_bits;
    if ((send != 0 && (send < 8 || send > 15)) || (recv != 0 && (recv < 8 || recv > 15)))
        return bk_fail(-EINVAL, "a window of WebSocket compression has 8 to 15 bits");
    if (opts->level < 0 || opts->level > 9 || opts->mem_level < 0 || opts->mem_level > 9)
        return bk_fail(-EINVAL, "levels of WebSocket compression go from 1 to 9");
    return 0;
}

int bki_ws_zip_new(struct bki_ws_zip **out, const bk_ws_deflate *opts,
                   const struct bki_ws_terms *agreed)
{
    struct bki_ws_zip *zip = bki_zalloc(sizeof *zip);
    if (!zip)
        return bk_fail(-ENOMEM, "no memory for a WebSocket connection");
    zip->terms = *agreed;
    if (opts->send_window_bits == 0 && zip->terms.send_bits > BKI_WS_SEND_BITS)
        zip->terms.send_bits = BKI_WS_SEND_BITS;
    zip->level = (uint8_t)(opts->level ? opts->level : BKI_WS_LEVEL);
    zip->mem_level = (uint8_t)(opts->mem_level ? opts->mem_level : BKI_WS_MEM_LEVEL);
    zip->min_size = opts->min_size ? opts->min_size : MIN_SIZE;
    *out = zip;
    return 0;
}

void bki_ws_zip_free(struct bki_ws_zip **zip)
{
    if (!*zip)
        return;
    bki_ws_deflater_free(&(*zip)->deflater);
    bki_ws_inflater_free(&(*zip)->inflater);
    bki_free((*zip)->piece);
    bki_free(*zip);
    *zip = NULL;
}

/* ---- Receiving ---- */

static int inflate_failed(struct bk_ws *ws, int r)
{
    if (r == -BK_EFORMAT)
        return bki_ws_end_failed(ws, BAD_DATA, -BK_EPROTO, "a compressed message is malformed");
    return bki_ws_end_failed(ws, INTERNAL_ERROR, r, "out of memory");
}

int bki_ws_zip_inflate(struct bk_ws *ws, int kind, bk_span *in, bool last, char *out, size_t room,
                       size_t *made)
{
    struct bki_ws_zip *zip = ws->zip;
    struct bki_ws_event fail;
    int r = zip->inflater ? 0 : bki_ws_inflater_new(&zip->inflater, zip->terms.recv_bits);
    if (r == 0)
        r = bki_ws_inflate(zip->inflater, &in->data, &in->len, last, out, room, made);
    if (r < 0)
        return inflate_failed(ws, r);
    bool done = last && *made < room;
    r = bki_ws_decoded(&ws->conn, kind, bk_span_of(out, *made), done, &fail);
    if (r < 0) {
        bki_ws_reply(ws, fail.reply);
        return bki_ws_end(ws, bk_fail(r, "%s: %s", bk_ws_peer(ws), fail.detail));
    }
    if (done && zip->terms.recv_alone)
        bki_ws_inflater_free(&zip->inflater);
    return 0;
}

/* ---- Sending ---- */

static int deflate_and_send(struct bk_ws *ws, const struct bki_ws_out *part, char *chunk,
                            size_t size, size_t *taken)
{
    struct bki_ws_out frame = *part;
    const char *in = part->payload.data;
    size_t left = part->payload.len, made, went;
    bool done;
    int r = 0;
    frame.rsv = part->first ? BKI_WS_RSV1 : 0;
    frame.scratch = true;
    do {
        done = bki_ws_deflate(ws->zip->deflater, &in, &left, part->last, chunk, size, &made);
        frame.payload = bk_span_of(chunk, made);
        frame.last = done && part->last;
        if (made == 0 && !frame.last && !frame.first)
            continue; /* nothing came out, and the frame is needed for nothing else */
        r = bki_ws_send_frame(ws, &frame, &went);
        *taken += went;
        frame.first = false;
        frame.rsv = 0;
    } while (r == 0 && !done);
    return r;
}

int bki_ws_zip_send(struct bk_ws *ws, const struct bki_ws_out *part, size_t *taken)
{
    struct bki_ws_zip *zip = ws->zip;
    size_t size = part->payload.len + part->payload.len / 8 + 64;
    if (size > CHUNK)
        size = CHUNK;
    *taken = 0;
    char *chunk = bki_alloc(size);
    int r = chunk ? 0 : bk_fail(-ENOMEM, "no memory to compress a message");
    if (r == 0 && !zip->deflater)
        r = bki_ws_deflater_new(&zip->deflater, zip->terms.send_bits, zip->level, zip->mem_level);
    if (r == 0) {
        r = deflate_and_send(ws, part, chunk, size, taken);
        /* What was compressed and did not go out must not be referred to; what is missing in the
         * middle of a message cannot be made good. */
        if (r < 0 && part->first)
            bki_ws_deflater_free(&zip->deflater);
        else if (r < 0 && !ws->stream->write_error)
            ws->stream->write_error = -EPIPE;
    }
    bki_free(chunk);
    if (r == 0 && part->last && zip->terms.send_alone)
        bki_ws_deflater_free(&zip->deflater);
    return r;
}
