/* SPDX-License-Identifier: MIT
 * Agreeing on permessage-deflate. */
#include "proto/ws_offer.h"

#include <beck/error.h>
#include <stdio.h>

#include "proto/http_chars.h"

#define FIELD "Sec-WebSocket-Extensions"
#define NAME "permessage-deflate"
#define MOST_BITS 15
#define LEAST_BITS 8

/* One element's parameters, as they were given. */
struct params {
    bool server_alone, client_alone;
    bool has_server_bits, has_client_bits;
    uint8_t server_bits, client_bits; /* 0: given without a value */
};

/* "8" to "15" (RFC 7692 7.1.2: no leading zeros); 0 for anything else. */
static uint8_t bits_of(bk_span value)
{
    unsigned n = 0;
    if (value.len == 0 || value.len > 2 || value.data[0] == '0')
        return 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 0;
        n = n * 10 + (unsigned)(value.data[i] - '0');
    }
    return n >= LEAST_BITS && n <= MOST_BITS ? (uint8_t)n : 0;
}

static bool take_flag(const struct bki_http_param *p, bool *flag)
{
    bool ok = !p->has_value && !*flag;
    *flag = true;
    return ok;
}

static bool take_bits(const struct bki_http_param *p, bool *has, uint8_t *bits, bool bare)
{
    bool twice = *has;
    *has = true;
    *bits = p->has_value ? bits_of(p->value) : 0;
    return !twice && (p->has_value ? *bits > 0 : bare);
}

/* Reads an element.  1; 0: of another extension; -1: a parameter is unknown, given twice, or has a
 * value that it must not have. */
static int read_params(bk_span element, bool offer, struct params *out)
{
    struct bki_http_param p;
    *out = (struct params){0};
    if (bki_http_param_next(&element, &p) <= 0 || p.has_value || !bki_is_nocase(p.name, NAME))
        return 0;
    int r;
    while ((r = bki_http_param_next(&element, &p)) > 0) {
        bool ok;
        if (bki_is_nocase(p.name, "server_no_context_takeover"))
            ok = take_flag(&p, &out->server_alone);
        else if (bki_is_nocase(p.name, "client_no_context_takeover"))
            ok = take_flag(&p, &out->client_alone);
        else if (bki_is_nocase(p.name, "server_max_window_bits"))
            ok = take_bits(&p, &out->has_server_bits, &out->server_bits, false);
        else if (bki_is_nocase(p.name, "client_max_window_bits"))
            ok = take_bits(&p, &out->has_client_bits, &out->client_bits, offer);
        else
            ok = false;
        if (!ok)
            return -1;
    }
    return r < 0 ? -1 : 1;
}

static void write_params(const struct params *p, char out[BKI_WS_TERMS_TEXT])
{
    int n = snprintf(out, BKI_WS_TERMS_TEXT, "%s%s%s", NAME,
                     p->server_alone ? "; server_no_context_takeover" : "",
                     p->client_alone ? "; client_no_context_takeover" : "");
    if (p->has_server_bits)
        n += snprintf(out + n, BKI_WS_TERMS_TEXT - (size_t)n, "; server_max_window_bits=%d",
                      p->server_bits);
    if (p->has_client_bits && p->client_bits)
        snprintf(out + n, BKI_WS_TERMS_TEXT - (size_t)n, "; client_max_window_bits=%d",
                 p->client_bits);
    else if (p->has_client_bits)
        snprintf(out + n, BKI_WS_TERMS_TEXT - (size_t)n, "; client_max_window_bits");
}

void bki_ws_offer_write(const struct bki_ws_terms *wish, char out[BKI_WS_TERMS_TEXT])
{
    bool limit_ours = wish->send_bits > 0 && wish->send_bits < MOST_BITS;
    bool limit_theirs = wish->recv_bits > 0 && wish->recv_bits < MOST_BITS;
    struct params p = {
        .server_alone = wish->recv_alone,
        .client_alone = wish->send_alone,
        .has_server_bits = limit_theirs,
        .server_bits = wish->recv_bits,
        .has_client_bits = true, /* the server may limit us */
        .client_bits = limit_ours ? wish->send_bits : 0,
    };
    write_params(&p, out);
}

static uint8_t less(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

static uint8_t or_most(uint8_t bits)
{
    return bits ? bits : MOST_BITS;
}

/* What a server makes of one offer that it understands: all that is asked for, and what the offer
 * lets it ask for in return. */
static void meet(const struct params *offer, const struct bki_ws_terms *wish,
                 struct bki_ws_terms *agreed, struct params *answer)
{
    uint8_t send = less(or_most(offer->server_bits), or_most(wish->send_bits));
    uint8_t recv = or_most(offer->client_bits);
    if (offer->has_client_bits)
        recv = less(recv, or_most(wish->recv_bits));
    *agreed = (struct bki_ws_terms){
        .send_bits = send,
        .recv_bits = recv,
        .send_alone = offer->server_alone || wish->send_alone,
        .recv_alone = offer->client_alone || wish->recv_alone,
    };
    *answer = (struct params){
        .server_alone = agreed->send_alone,
        .client_alone = agreed->recv_alone,
        .has_server_bits = offer->has_server_bits || send < MOST_BITS,
        .server_bits = send,
        .has_client_bits = offer->has_client_bits && recv < MOST_BITS,
        .client_bits = recv,
    };
}

bool bki_ws_offer_answer(const struct bki_http_head *h, const struct bki_ws_terms *wish,
                         struct bki_ws_terms *agreed, char out[BKI_WS_TERMS_TEXT])
{
    struct params offer, answer;
    bk_span element;
    for (ssize_t i = bki_http_find(h, FIELD, 0); i >= 0;
         i = bki_http_find(h, FIELD, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value);
        while (bki_http_list_next(&rest, &element)) {
            if (read_params(element, true, &offer) <= 0)
                continue;
            meet(&offer, wish, agreed, &answer);
            write_params(&answer, out);
            return true;
        }
    }
    return false;
}

/* What is wrong with an answer to what was offered; NULL: nothing. */
static const char *answer_fault(const struct params *answer, const struct bki_ws_terms *wish)
{
    if (wish->recv_alone && !answer->server_alone)
        return "the server's answer lacks server_no_context_takeover, which was asked for";
    if (wish->recv_bits > 0 && wish->recv_bits < MOST_BITS &&
        (!answer->has_server_bits || answer->server_bits > wish->recv_bits))
        return "the server's window is larger than the offer allows";
    return NULL;
}

int bki_ws_offer_judge(const struct bki_http_head *h, const struct bki_ws_terms *wish,
                       struct bki_ws_terms *agreed, const char **why)
{
    bool found = false;
    bk_span element;
    for (ssize_t i = bki_http_find(h, FIELD, 0); i >= 0;
         i = bki_http_find(h, FIELD, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value);
        while (bki_http_list_next(&rest, &element)) {
            struct params answer;
            int r = read_params(element, false, &answer);
            *why = r == 0  ? "the server chose an extension that was not offered"
                   : r < 0 ? "the server answered with a parameter of " NAME
                             " that is unknown, repeated or malformed"
                   : found ? "the server chose " NAME " twice"
                           : answer_fault(&answer, wish);
            if (*why)
                return -BK_EPROTO;
            found = true;
            *agreed = (struct bki_ws_terms){
                .send_bits = less(or_most(answer.client_bits), or_most(wish->send_bits)),
                .recv_bits = or_most(answer.server_bits),
                .send_alone = answer.client_alone || wish->send_alone,
                .recv_alone = answer.server_alone,
            };
        }
    }
    return found;
}
