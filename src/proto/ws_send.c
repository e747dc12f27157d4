/* SPDX-License-Identifier: MIT
 * The sending side of a WebSocket connection: frame headers, control frames, the close frame. */
#include <beck/error.h>

#include "proto/ws_conn.h"

/* A client masks what it sends; draws the key. */
static int take_key(struct bki_ws_conn *c, bool *masked, uint32_t *key)
{
    *masked = c->role == BKI_WS_CLIENT;
    *key = 0;
    return *masked ? bki_ws_key_take(c->keys, key) : 0;
}

int bki_ws_data_head(struct bki_ws_conn *c, struct bki_ws_head *out, int kind, int rsv, bool first,
                     bool last, uint64_t len)
{
    if (c->sent_close || c->got_close)
        return -BK_ECLOSED;
    if ((kind != BKI_WS_TEXT && kind != BKI_WS_BINARY) || (rsv & ~c->rsv_allowed) ||
        len > INT64_MAX || c->out_kind != (first ? 0 : kind))
        return -EINVAL;
    int r = take_key(c, &out->masked, &out->key);
    if (r < 0)
        return r;
    struct bki_ws_frame f = {
        .len = len,
        .key = out->key,
        .opcode = (uint8_t)(first ? kind : BKI_WS_CONT),
        .rsv = (uint8_t)(first ? rsv : 0),
        .fin = last,
        .masked = out->masked,
    };
    out->len = (uint8_t)bki_ws_frame_write(out->bytes, &f);
    c->out_kind = (uint8_t)(last ? 0 : kind);
    return 0;
}

/* len <= 125 */
static ssize_t write_control(struct bki_ws_conn *c, int opcode, bk_span payload,
                             char out[BKI_WS_CONTROL_FRAME_MAX])
{
    struct bki_ws_frame f = {.len = payload.len, .opcode = (uint8_t)opcode, .fin = true};
    int r = take_key(c, &f.masked, &f.key);
    if (r < 0)
        return r;
    size_t n = bki_ws_frame_write(out, &f);
    bki_ws_mask(out + n, payload.data, payload.len, f.key, 0);
    return (ssize_t)(n + payload.len);
}

ssize_t bki_ws_control(struct bki_ws_conn *c, int opcode, bk_span payload,
                       char out[BKI_WS_CONTROL_FRAME_MAX])
{
    if (c->sent_close || c->got_close)
        return -BK_ECLOSED;
    if ((opcode != BKI_WS_OP_PING && opcode != BKI_WS_OP_PONG) || payload.len > BKI_WS_CONTROL_MAX)
        return -EINVAL;
    return write_control(c, opcode, payload, out);
}

ssize_t bki_ws_close_frame(struct bki_ws_conn *c, unsigned code, bk_span reason,
                           char out[BKI_WS_CONTROL_FRAME_MAX])
{
    char payload[BKI_WS_CONTROL_MAX];
    size_t len = 0;
    if (c->sent_close)
        return -BK_ECLOSED;
    if (code != 1005) {
        if (!bki_ws_code_valid(code) || reason.len > sizeof payload - 2 ||
            !bki_utf8_valid(reason.data, reason.len))
            return -EINVAL;
        payload[0] = (char)(code >> 8);
        payload[1] = (char)code;
        if (reason.len > 0)
            memcpy(payload + 2, reason.data, reason.len);
        len = 2 + reason.len;
    } else if (reason.len > 0) {
        return -EINVAL;
    }
    ssize_t n = write_control(c, BKI_WS_OP_CLOSE, bk_span_of(payload, len), out);
    if (n > 0)
        c->sent_close = true;
    return n;
}
