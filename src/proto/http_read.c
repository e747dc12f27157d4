/* SPDX-License-Identifier: MIT
 * Reads the head of an HTTP message from a stream. */
#include "proto/http_read.h"

#include "net/stream.h"

int bki_http_read_head(bk_stream *s, struct bki_http_head *h)
{
    bk_span all;
    int r = bk_stream_peek(s, 1, &all);
    while (r == 1) {
        r = bki_http_feed(h, all.data, all.len);
        if (r != 0)
            return r;
        if (all.len >= s->read_limit) {
            h->error = BKI_HTTP_E_BLOCK_LIMIT;
            return -BK_ELIMIT;
        }
        r = bk_stream_peek(s, all.len + 1, &all);
    }
    if (r == 0 && all.len > 0)
        return bk_fail(-BK_EINCOMPLETE, "the connection ended in the middle of a head");
    return r;
}
