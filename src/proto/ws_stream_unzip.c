/* SPDX-License-Identifier: MIT
 * Receiving compressed messages: what has come of them, inflated step by step.
 *
 * A few bytes may stand for very many.  So a message that comes in pieces is not inflated before it
 * is whole: until then it holds what its peer has sent, byte for byte.  A long one then takes the
 * loop's turn, and while it is inflated nothing is waited for. */
#include "proto/ws_stream.h"
#include "rt/turn.h"

#define INPUT_STEP ((size_t)16 * 1024) /* of input, at a time */
#define INFLATE_WEIGHT 16 /* bytes of output that a byte of input may cost (block headers) */

#define MEASURE_STEP ((size_t)16 * 1024) /* of output */

enum { BAD_DATA = 1007, TOO_BIG = 1009 };

void bki_ws_zip_drop(struct bki_ws_zip *zip)
{
    bki_free(zip->kept);
    zip->kept = NULL;
    zip->kept_len = zip->kept_room = 0;
    zip->keeping = zip->more = false;
}

/* ---- Keeping ---- */

static int append(struct bk_ws *ws, bk_span piece)
{
    struct bki_ws_zip *zip = ws->zip;
    if (piece.len > zip->kept_room - zip->kept_len) {
        size_t room = bki_ws_grown(ws, zip->kept_room), need = zip->kept_len + piece.len;
        room = room > need ? room : need;
        char *larger = bki_realloc(zip->kept, room);
        if (!larger)
            return bki_ws_end_no_memory(ws);
        zip->kept = larger;
        zip->kept_room = room;
    }
    if (piece.len > 0)
        memcpy(zip->kept + zip->kept_len, piece.data, piece.len);
    zip->kept_len += piece.len;
    return 0;
}

void bki_ws_zip_use_kept(struct bki_ws_zip *zip)
{
    zip->rest = bk_span_of(zip->kept, zip->kept_len);
    zip->keeping = false;
    zip->more = true;
}

int bki_ws_zip_take(struct bk_ws *ws, const struct bki_ws_event *ev, bool whole)
{
    struct bki_ws_zip *zip = ws->zip;
    if (ws->mode == BKI_WS_WHOLE)
        ws->mode = BKI_WS_CUT;
    zip->kind = ev->kind;
    zip->rest_last = ev->last;
    zip->rest = ev->payload;
    zip->keeping |= whole && !ev->last;
    zip->more = !zip->keeping;
    int r = zip->keeping ? append(ws, ev->payload) : 0;
    if (r == 0 && zip->keeping && ev->last)
        bki_ws_zip_use_kept(zip);
    zip->packed = zip->rest.len;
    return r;
}

/* ---- Inflating ---- */

static int inflate_failed(struct bk_ws *ws, int r)
{
    if (r == -BK_EFORMAT)
        return bki_ws_end_failed(ws, BAD_DATA, -BK_EPROTO, "a compressed message is malformed");
    return bki_ws_end_no_memory(ws);
}

int bki_ws_zip_measure(struct bk_ws *ws)
{
    const struct bki_ws_zip *zip = ws->zip;
    struct bki_ws_inflater *copy = NULL;
    bk_span rest = zip->rest;
    uint64_t left = ws->conn.max_message - ws->part_len;
    size_t made = MEASURE_STEP;
    char *out = bki_alloc(MEASURE_STEP);
    int r = out ? bki_ws_inflater_copy(&copy, zip->inflater) : -ENOMEM;
    bool fits = true;
    while (r == 0 && fits && (made == MEASURE_STEP || rest.len > 0)) {
        const char *start = rest.data;
        r = bki_ws_inflate(copy, &rest.data, &rest.len, zip->rest_last, out, MEASURE_STEP, &made);
        if (r == 0)
            fits = made <= left;
        left -= fits ? made : 0;
        bki_work(made + (size_t)(rest.data - start) * INFLATE_WEIGHT);
        if (r == 0)
            r = bki_check_cancel();
    }
    bki_ws_inflater_free(&copy);
    bki_free(out);
    if (!fits)
        return bki_ws_end_failed(ws, TOO_BIG, -EMSGSIZE, "a message over the size limit");
    /* What else may be wrong with it shows when it is inflated. */
    return r == -BK_EFORMAT ? 0 : r == -ENOMEM ? bki_ws_end_no_memory(ws) : r;
}

void bki_ws_zip_rewind(struct bk_ws *ws, bk_span message)
{
    bki_ws_inflater_free(&ws->zip->inflater);
    bk_msg_free(&ws->part);
    ws->part_len = 0;
    ws->zip->rest = message;
    bki_ws_decode_again(&ws->conn);
}

int bki_ws_zip_inflate(struct bk_ws *ws, char *out, size_t room, size_t *made)
{
    struct bki_ws_zip *zip = ws->zip;
    struct bki_ws_event fail;
    bk_span in =
        bk_span_of(zip->rest.data, zip->rest.len < INPUT_STEP ? zip->rest.len : INPUT_STEP);
    size_t before = in.len;
    bool last = zip->rest_last && before == zip->rest.len;
    int r = zip->inflater ? 0 : bki_ws_inflater_new(&zip->inflater, zip->terms.recv_bits);
    if (r == 0)
        r = bki_ws_inflate(zip->inflater, &in.data, &in.len, last, out, room, made);
    if (r < 0)
        return inflate_failed(ws, r);
    zip->rest = bk_span_of(in.data, zip->rest.len - (before - in.len));
    zip->more = *made == room || zip->rest.len > 0;
    bool done = zip->rest_last && !zip->more;
    r = bki_ws_decoded(&ws->conn, zip->kind, bk_span_of(out, *made), done, &fail);
    if (r < 0) {
        bki_ws_reply(ws, fail.reply);
        return bki_ws_end(ws, bk_fail(r, "%s: %s", bk_ws_peer(ws), fail.detail));
    }
    if (!zip->more)
        bki_ws_zip_drop(zip);
    if (done && zip->terms.recv_alone)
        bki_ws_inflater_free(&zip->inflater);
    bki_work(*made + (before - in.len) * INFLATE_WEIGHT);
    return 0;
}
