/* SPDX-License-Identifier: MIT
 * Fuzzes the WebSocket handshake: a head that both parser and judge accept has what the RFC demands
 * of it, and a server's answer to any accepted request is accepted by a client that sent it.
 *
 * Input: one byte for the kind, then the head. */
#include "proto/ws_handshake.h"

#include <beck/error.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define S(text) bk_span_str(text)
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

static struct bki_http_field fields[32];
static const char *const protocols[] = {"v2", "v1", NULL};

static int read_head(struct bki_http_head *h, enum bki_http_kind kind, const char *buf, size_t len)
{
    bki_http_init(h, kind, fields, 32, NULL);
    return bki_http_feed(h, buf, len);
}

/* The key and subprotocol of a request are answered; the client takes the answer. */
static void answer(const struct bki_ws_offer *offer, const char *picked)
{
    char buf[1024];
    struct bki_http_writer w;
    struct bki_ws_response p = {.key = offer->key};
    if (picked)
        p.protocol = S(picked);
    bki_http_write_init(&w, buf, sizeof buf);
    ssize_t n = bki_ws_write_response(&w, &p);
    MUST(n > 0 && (size_t)n < sizeof buf);
    struct bki_ws_request q = {.key = offer->key, .protocols = protocols};
    struct bki_ws_agreed agreed;
    struct bki_http_head h;
    MUST(read_head(&h, BKI_HTTP_RESPONSE, buf, (size_t)n) == 1 && h.len == (size_t)n);
    MUST(bki_ws_check_response(&h, &q, &agreed) == 0);
    MUST((agreed.protocol.len > 0) == (picked != NULL));
}

static void refuse(const struct bki_ws_offer *offer)
{
    char buf[1024];
    struct bki_http_writer w;
    struct bki_http_head h;
    MUST(offer->status >= 400 && offer->why);
    bki_http_write_init(&w, buf, sizeof buf);
    ssize_t n =
        bki_ws_write_refusal(&w, &(struct bki_ws_refusal){offer->status, offer->why, false});
    MUST(n > 0 && (size_t)n < sizeof buf);
    MUST(read_head(&h, BKI_HTTP_RESPONSE, buf, (size_t)n) == 1);
    MUST(h.status == offer->status && h.content_length == n - (ssize_t)h.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bki_http_head h;
    if (size < 2)
        return 0;
    enum bki_http_kind kind = data[0] & 1 ? BKI_HTTP_RESPONSE : BKI_HTTP_REQUEST;
    if (read_head(&h, kind, (const char *)data + 1, size - 1) != 1)
        return 0;
    if (kind == BKI_HTTP_REQUEST) {
        struct bki_ws_offer offer;
        int r = bki_ws_check_request(&h, &offer);
        MUST(r == 0 || r == -BK_EPROTO);
        const char *picked = bki_ws_pick_protocol(&h, protocols);
        if (r < 0) {
            refuse(&offer);
            return 0;
        }
        MUST(h.minor >= 1 && h.content_length <= 0 && !h.has_coding && h.has_host);
        MUST(bki_http_has_token(&h, "Upgrade", "websocket") && offer.key.len == BKI_WS_KEY_LEN);
        answer(&offer, picked);
    } else {
        struct bki_ws_request q = {.key = S("dGhlIHNhbXBsZSBub25jZQ=="),
                                   .protocols = protocols,
                                   .extensions = S("permessage-deflate; x, other")};
        struct bki_ws_agreed agreed;
        int r = bki_ws_check_response(&h, &q, &agreed);
        MUST(r == 0 || ((r == -BK_EPROTO || r == -BK_EREFUSED) && agreed.why));
        MUST((r == -BK_EREFUSED) == (h.status != 101));
    }
    return 0;
}
