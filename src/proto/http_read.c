/* SPDX-License-Identifier: MIT
 * Reads the head of an HTTP message from a stream. */
#include "proto/http_read.h"

#include <beck/error.h>

#include "net/stream.h"
#include "rt/intake.h"

/* What has come of a request's head waits, from this size on, until there is memory for more: a
 * server has many clients. */
#define FREE ((size_t)4096)

static int fault(const struct bki_http_head *h, int r)
{
    return bk_fail(r, "%s", bki_http_error_text(h->error));
}

static int ask_for_more(struct bki_intake *intake, bk_stream *s, size_t have)
{
    if (have < FREE)
        return 0;
    int r = bki_intake_ask(intake, 2 * have);
    bki_stream_offer_at_most(s, bki_intake_room(intake) - have);
    return r;
}

static int read_head(bk_stream *s, struct bki_http_head *h, struct bki_intake *intake)
{
    bk_span all;
    int r = bk_stream_peek(s, 1, &all);
    while (r == 1) {
        r = bki_http_feed(h, all.data, all.len);
        if (r != 0)
            return r < 0 ? fault(h, r) : r;
        if (all.len >= s->read_limit) {
            h->error = BKI_HTTP_E_BLOCK_LIMIT;
            return fault(h, -BK_ELIMIT);
        }
        r = h->kind == BKI_HTTP_REQUEST ? ask_for_more(intake, s, all.len) : 0;
        if (r < 0)
            return r;
        r = bk_stream_peek(s, all.len + 1, &all);
    }
    if (r == 0 && all.len > 0)
        return bk_fail(-BK_EINCOMPLETE, "the connection ended in the middle of a head");
    return r;
}

int bki_http_read_head(bk_stream *s, struct bki_http_head *h)
{
    struct bki_intake intake = {.let_go = NULL}; /* the time for a head is limited */
    int r = read_head(s, h, &intake);
    bki_intake_release(bki_loop, &intake);
    return r;
}

int bki_http_read_response(bk_stream *s, struct bki_http_head *h)
{
    struct bki_http_limits limits = {h->max_line, h->max_block};
    const char *asked = h->asked;
    for (int n_informational = 0;; n_informational++) {
        int r = bki_http_read_head(s, h);
        if (r <= 0 || h->status >= 200 || h->status == 101 ||
            n_informational == BKI_HTTP_MAX_INFORMATIONAL)
            return r;
        bk_stream_consume(s, h->len);
        bki_http_init(h, BKI_HTTP_RESPONSE, h->fields, h->max_fields, &limits);
        h->asked = asked;
    }
}
