/* SPDX-License-Identifier: MIT
 * permessage-deflate on a WebSocket connection: its options, and sending. */
#include "proto/ws_stream.h"
#include "rt/turn.h"

#define MIN_SIZE 64
/* A longer compressed message goes out in frames of this size. */
#define CHUNK ((size_t)64 * 1024)
#define CONTEXT_STATE ((size_t)7 * 1024) /* besides windows and tables */

struct bki_ws_terms bki_ws_zip_wish(const bk_ws_deflate *opts)
{
    return (struct bki_ws_terms){
        .send_bits = (uint8_t)opts->send_window_bits,
        .recv_bits = (uint8_t)opts->recv_window_bits,
        .send_alone = opts->send_no_context,
        .recv_alone = opts->recv_no_context,
    };
}

/* What a connection holds between messages, once both sides have sent some. */
static size_t contexts_of(const struct bki_ws_zip *zip)
{
    const struct bki_ws_terms *terms = &zip->terms;
    size_t send = ((size_t)4 << terms->send_bits) + ((size_t)512 << zip->mem_level);
    size_t recv = (size_t)1 << terms->recv_bits;
    return (terms->send_alone ? 0 : send + CONTEXT_STATE) +
           (terms->recv_alone ? 0 : recv + CONTEXT_STATE);
}

void bki_ws_zip_spare(struct bki_ws_terms *wish)
{
    if (bki_loop->intake.contexts > bki_loop->opts.max_intake / 2)
        wish->send_alone = wish->recv_alone = true;
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
    zip->contexts = contexts_of(zip);
    bki_loop->intake.contexts += zip->contexts;
    *out = zip;
    return 0;
}

void bki_ws_zip_free(struct bki_ws_zip **zip)
{
    if (!*zip)
        return;
    bki_loop->intake.contexts -= (*zip)->contexts;
    bki_ws_deflater_free(&(*zip)->deflater);
    bki_ws_inflater_free(&(*zip)->inflater);
    bki_ws_zip_drop(*zip);
    bki_free((*zip)->piece);
    bki_free(*zip);
    *zip = NULL;
}

/* ---- Sending ---- */

struct deflating {
    bk_span in; /* what is left of the part */
    bool last, done;
    char *chunk;
    size_t size, len;
};

/* Fills the chunk, or comes to the end of the part. */
static void fill_chunk(struct bki_ws_deflater *deflater, struct deflating *d)
{
    size_t before, made;
    d->len = 0;
    do {
        before = d->in.len;
        d->done = bki_ws_deflate(deflater, &d->in.data, &d->in.len, d->last, d->chunk + d->len,
                                 d->size - d->len, &made);
        d->len += made;
        bki_work((before - d->in.len) * BKI_WS_DEFLATE_WEIGHT);
    } while (!d->done && d->size - d->len >= BKI_WS_DEFLATE_ROOM);
}

/* The turn is not held while a peer is waited for. */
static int fill_in_turn(struct bki_ws_deflater *deflater, struct deflating *d)
{
    int r = bki_turn_take(BKI_TURN_USES);
    if (r < 0)
        return r;
    fill_chunk(deflater, d);
    bki_turn_give();
    return 0;
}

static int deflate_and_send(struct bk_ws *ws, const struct bki_ws_out *part, char *chunk,
                            size_t size, size_t *taken)
{
    struct bki_ws_out frame = *part;
    struct deflating d = {.in = part->payload, .last = part->last, .chunk = chunk, .size = size};
    bool is_long = part->payload.len > BKI_WS_LONG;
    size_t went;
    int r = 0;
    frame.rsv = part->first ? BKI_WS_RSV1 : 0;
    frame.scratch = true;
    do {
        if (is_long)
            r = fill_in_turn(ws->zip->deflater, &d);
        else
            fill_chunk(ws->zip->deflater, &d);
        frame.payload = bk_span_of(chunk, d.len);
        frame.last = d.done && part->last;
        if (r < 0)
            break;
        if (d.len == 0 && !frame.last && !frame.first)
            continue; /* nothing came out, and the frame is needed for nothing else */
        r = bki_ws_send_frame(ws, &frame, &went);
        *taken += went;
        frame.first = false;
        frame.rsv = 0;
    } while (r == 0 && !d.done);
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
