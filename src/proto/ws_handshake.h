/* SPDX-License-Identifier: MIT
 * The WebSocket opening handshake (RFC 6455 section 4): requests and responses, written and judged.
 *
 * The judges look at a finished bki_http_head; spans they give point into its bytes.  Extensions
 * are an open list: a client offers them as one string, a server answers with one, and this file
 * checks only that nothing is agreed that was not offered; parameters are the extension's own
 * matter. */
#ifndef BECK_SRC_PROTO_WS_HANDSHAKE_H
#define BECK_SRC_PROTO_WS_HANDSHAKE_H

#include "proto/http_head.h"
#include "proto/http_write.h"
#include "proto/ws_frame.h"

#define BKI_WS_KEY_LEN 24u    /* of Sec-WebSocket-Key */
#define BKI_WS_ACCEPT_LEN 28u /* of Sec-WebSocket-Accept */

/* Draws a new Sec-WebSocket-Key.  Returns 0, or the error of keys->fill. */
int bki_ws_handshake_key(struct bki_ws_keys *keys, char key[BKI_WS_KEY_LEN + 1]);

/* The Sec-WebSocket-Accept that answers a key.  Returns 0; -ENOMEM when libcrypto cannot. */
int bki_ws_accept_of(bk_span key, char accept[BKI_WS_ACCEPT_LEN + 1]);

/* ---- Client ---- */

struct bki_ws_request {
    bk_span host;   /* with the port when it is not the scheme's own */
    bk_span target; /* "/path?query" */
    bk_span key;
    bk_span origin;     /* empty: none */
    bk_span extensions; /* the offer, as it stands in the header; empty: none */
    const char *const
        *protocols;             /* subprotocols, the preferred first, NULL at the end; NULL: none */
    const char *const *headers; /* further "Name: value" lines; may not touch the handshake's own */
};

/* Writes the request, end included; the result is bki_http_write_end's. */
ssize_t bki_ws_write_request(struct bki_http_writer *w, const struct bki_ws_request *q);

struct bki_ws_agreed {
    bk_span protocol; /* empty: none */
    bool extensions; /* some of those offered are in use: see the Sec-WebSocket-Extensions fields */
    const char *why; /* why the response was not accepted */
};

/* Judges the response to q.  Returns 0; -BK_EREFUSED when the status is not 101 (redirect, 401,
 * 426...: the caller's to read); -BK_EPROTO when it does not answer this request, see a->why;
 * -ENOMEM. */
int bki_ws_check_response(const struct bki_http_head *h, const struct bki_ws_request *q,
                          struct bki_ws_agreed *a);

/* ---- Server ---- */

struct bki_ws_offer {
    bk_span key;
    bk_span origin;  /* empty: none; whom to admit is the caller's to say */
    int status;      /* the answer to a request that is not acceptable: 400, 405, 426 */
    const char *why; /* and the reason for it */
};

/* Judges a request.  Returns 0; -BK_EPROTO, see o->status and o->why. */
int bki_ws_check_request(const struct bki_http_head *h, struct bki_ws_offer *o);

/* The first of ours (NULL at the end) that the client offers too, or NULL. */
const char *bki_ws_pick_protocol(const struct bki_http_head *h, const char *const *ours);

struct bki_ws_response {
    bk_span key;                /* of the request */
    bk_span protocol;           /* empty: none */
    bk_span extensions;         /* those agreed, with their parameters; empty: none */
    const char *const *headers; /* as in the request */
};

/* Writes the 101 response, end included; -ENOMEM, else as bki_http_write_end. */
ssize_t bki_ws_write_response(struct bki_http_writer *w, const struct bki_ws_response *p);

struct bki_ws_refusal {
    int status;
    const char *why;
    bool to_head; /* what is refused is a HEAD: the text is left out */
};

/* Writes an error response with `why` as its text and "Connection: close"; for 426 it says which
 * version is spoken, for 405 which method. */
ssize_t bki_ws_write_refusal(struct bki_http_writer *w, const struct bki_ws_refusal *refusal);

#endif
