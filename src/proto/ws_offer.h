/* SPDX-License-Identifier: MIT
 * Agreeing on permessage-deflate (RFC 7692 sections 5 and 7.1), both sides, without I/O.
 *
 * The RFC's four parameters speak of client and server; here it is "send" and "recv" as seen from
 * whoever calls, so that both roles read the same. */
#ifndef BECK_SRC_PROTO_WS_OFFER_H
#define BECK_SRC_PROTO_WS_OFFER_H

#include "proto/http_head.h"

/* What this side asks for, or what was agreed. */
struct bki_ws_terms {
    uint8_t
        send_bits; /* our window is at most 2^bits bytes, 8 to 15; a wish of 0: does not matter */
    uint8_t recv_bits; /* the peer's */
    bool send_alone;   /* we compress each message by itself: no context takeover */
    bool recv_alone;   /* the peer does */
};

/* The longest text of an offer or an answer, NUL included. */
#define BKI_WS_TERMS_TEXT 160

/* The client's offer, as it stands in Sec-WebSocket-Extensions. */
void bki_ws_offer_write(const struct bki_ws_terms *wish, char out[BKI_WS_TERMS_TEXT]);

/* The server's choice: the first offer in h that can be met.  What h's other offers are, or what is
 * wrong with them, does not matter (RFC 7692 5: they are declined).
 * Returns true and fills *agreed and the answer, or false: no compression. */
bool bki_ws_offer_answer(const struct bki_http_head *h, const struct bki_ws_terms *wish,
                         struct bki_ws_terms *agreed, char out[BKI_WS_TERMS_TEXT]);

/* The client's judgement of the answer in h to an offer of `wish`.
 * Returns 1: agreed, *agreed filled; 0: the server declined; -BK_EPROTO: it answered what was not
 * offered, *why says what. */
int bki_ws_offer_judge(const struct bki_http_head *h, const struct bki_ws_terms *wish,
                       struct bki_ws_terms *agreed, const char **why);

#endif
