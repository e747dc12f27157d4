/* SPDX-License-Identifier: MIT
 * Receiving a WebSocket message in parts, as they come. */
#include "proto/ws_stream.h"

#define PIECE ((size_t)16 * 1024) /* most that is inflated at a time */

static int give(struct bk_ws *ws, bk_ws_part *part, bk_span data, int kind, bool last)
{
    *part = (bk_ws_part){
        .data = data,
        .kind = kind == BKI_WS_TEXT ? BK_TEXT : BK_BINARY,
        .first = ws->mode != BKI_WS_PARTS,
        .last = last,
    };
    ws->mode = last ? BKI_WS_WHOLE : BKI_WS_PARTS;
    return 1;
}

/* What a cancelled bk_ws_recv had of a message. */
static int give_begun(struct bk_ws *ws, bk_ws_part *part)
{
    const struct bki_ws_zip *zip = ws->zip;
    int kind = zip && (zip->more || zip->keeping) ? zip->kind : ws->conn.kind;
    return give(ws, part, bk_span_of(bk_msg_data(ws->part), ws->part_len), kind, false);
}

/* 1 for a part; 0: more input is needed. */
static int give_inflated(struct bk_ws *ws, bk_ws_part *part)
{
    struct bki_ws_zip *zip = ws->zip;
    size_t made = 0;
    if (!zip->piece)
        zip->piece = bki_alloc(PIECE);
    if (!zip->piece)
        return bki_ws_end_no_memory(ws);
    while (zip->more && made == 0) {
        int r = bki_ws_zip_inflate(ws, zip->piece, PIECE, &made);
        if (r < 0)
            return r;
    }
    bool last = zip->rest_last && !zip->more;
    return made > 0 || last ? give(ws, part, bk_span_of(zip->piece, made), zip->kind, last) : 0;
}

static int receive_part(struct bk_ws *ws, void *out)
{
    bk_ws_part *part = out;
    struct bki_ws_event ev;
    if (ws->mode != BKI_WS_PARTS && ws->part && ws->part_len > 0)
        return give_begun(ws, part);
    bki_ws_drop_part(ws);
    if (ws->zip && ws->zip->keeping)
        bki_ws_zip_use_kept(ws->zip);
    for (;;) {
        int r = ws->zip && ws->zip->more ? give_inflated(ws, part) : 0;
        if (r == 0) {
            r = bki_ws_next_data(ws, (struct bki_ws_place){0}, &ev);
            if (r != 1)
                return r;
            if (!ev.rsv)
                return give(ws, part, ev.payload, ev.kind, ev.last);
            r = bki_ws_zip_take(ws, &ev, false);
        }
        if (r != 0)
            return r;
    }
}

int bk_ws_recv_part(bk_ws *ws, bk_ws_part *part)
{
    return bki_ws_receive(ws, receive_part, part);
}
