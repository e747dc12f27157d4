/* SPDX-License-Identifier: MIT
 * The WebSocket opening handshake on top of HTTP heads. */
#include "proto/ws_handshake.h"

#include <beck/error.h>

#include "base/base64.h"
#include "net/digest.h"
#include "proto/http_chars.h"

#define S(text) bk_span_str(text)

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

int bki_ws_handshake_key(struct bki_ws_keys *keys, char key[BKI_WS_KEY_LEN + 1])
{
    uint32_t nonce[4];
    for (size_t i = 0; i < 4; i++) {
        int r = bki_ws_key_take(keys, &nonce[i]);
        if (r < 0)
            return r;
    }
    bki_base64_encode(key, nonce, sizeof nonce);
    return 0;
}

int bki_ws_accept_of(bk_span key, char accept[BKI_WS_ACCEPT_LEN + 1])
{
    unsigned char text[BKI_WS_KEY_LEN + sizeof GUID - 1], digest[BKI_SHA1_LEN];
    if (key.len != BKI_WS_KEY_LEN)
        return -EINVAL;
    memcpy(text, key.data, key.len);
    memcpy(text + key.len, GUID, sizeof GUID - 1);
    int r = bki_sha1(digest, text, sizeof text);
    if (r == 0)
        bki_base64_encode(accept, digest, sizeof digest);
    return r;
}

static bool same(bk_span a, bk_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ---- Writing ---- */

static bool starts_nocase(bk_span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && bki_is_nocase(bk_span_of(s.data, n), prefix);
}

/* The caller's own header lines. */
static void write_lines(struct bki_http_writer *w, const char *const *lines)
{
    for (; lines && *lines; lines++) {
        const char *colon = strchr(*lines, ':');
        bk_span name = bk_span_of(*lines, colon ? (size_t)(colon - *lines) : strlen(*lines));
        bool ours = bki_is_nocase(name, "Host") || bki_is_nocase(name, "Upgrade") ||
                    bki_is_nocase(name, "Connection") || bki_is_nocase(name, "Content-Length") ||
                    bki_is_nocase(name, "Transfer-Encoding") ||
                    starts_nocase(name, "Sec-WebSocket-");
        if (!colon)
            bki_http_write_fault(w, "a header line has no colon");
        else if (ours)
            bki_http_write_fault(w, "a header line would replace one of the handshake's own");
        else
            bki_http_write_field(w, name, bki_trim(S(colon + 1)));
    }
}

static void write_protocols(struct bki_http_writer *w, const char *const *protocols)
{
    for (size_t i = 0; protocols && protocols[i]; i++) {
        if (!bki_is_token(S(protocols[i])))
            bki_http_write_fault(w, "a subprotocol is not a token");
        for (size_t j = 0; j < i; j++)
            if (strcmp(protocols[i], protocols[j]) == 0)
                bki_http_write_fault(w, "a subprotocol is given twice");
        bki_http_write_field(w, S("Sec-WebSocket-Protocol"), S(protocols[i]));
    }
}

static void write_optional(struct bki_http_writer *w, const char *name, bk_span value)
{
    if (value.len > 0)
        bki_http_write_field(w, S(name), value);
}

ssize_t bki_ws_write_request(struct bki_http_writer *w, const struct bki_ws_request *q)
{
    bki_http_write_request(w, S("GET"), q->target);
    bki_http_write_field(w, S("Host"), q->host);
    bki_http_write_field(w, S("Upgrade"), S("websocket"));
    bki_http_write_field(w, S("Connection"), S("Upgrade"));
    bki_http_write_field(w, S("Sec-WebSocket-Key"), q->key);
    bki_http_write_field(w, S("Sec-WebSocket-Version"), S("13"));
    write_optional(w, "Origin", q->origin);
    write_protocols(w, q->protocols);
    write_optional(w, "Sec-WebSocket-Extensions", q->extensions);
    write_lines(w, q->headers);
    return bki_http_write_end(w);
}

ssize_t bki_ws_write_response(struct bki_http_writer *w, const struct bki_ws_response *p)
{
    char accept[BKI_WS_ACCEPT_LEN + 1];
    int r = bki_ws_accept_of(p->key, accept);
    if (r < 0)
        return r;
    bki_http_write_status(w, 101, S(""));
    bki_http_write_field(w, S("Upgrade"), S("websocket"));
    bki_http_write_field(w, S("Connection"), S("Upgrade"));
    bki_http_write_field(w, S("Sec-WebSocket-Accept"), S(accept));
    write_optional(w, "Sec-WebSocket-Protocol", p->protocol);
    write_optional(w, "Sec-WebSocket-Extensions", p->extensions);
    write_lines(w, p->headers);
    return bki_http_write_end(w);
}

ssize_t bki_ws_write_refusal(struct bki_http_writer *w, const struct bki_ws_refusal *refusal)
{
    int status = refusal->status;
    char date[BKI_HTTP_DATE_SIZE];
    bki_http_date(date, time(NULL));
    bki_http_write_status(w, status, S(""));
    bki_http_write_field(w, S("Date"), S(date));
    if (status == 426) {
        bki_http_write_field(w, S("Upgrade"), S("websocket"));
        bki_http_write_field(w, S("Sec-WebSocket-Version"), S("13"));
    }
    if (status == 405)
        bki_http_write_field(w, S("Allow"), S("GET"));
    bki_http_write_field(w, S("Connection"), S(status == 426 ? "Upgrade, close" : "close"));
    bki_http_write_field(w, S("Content-Type"), S("text/plain; charset=utf-8"));
    bki_http_write_number(w, S("Content-Length"), strlen(refusal->why) + 1);
    ssize_t n = bki_http_write_end(w);
    if (n < 0 || refusal->to_head)
        return n;
    bki_http_write_body(w, S(refusal->why));
    return bki_http_write_body(w, S("\n"));
}

/* ---- Judging ---- */

/* How many parts a list element has that are divided by semicolons outside of quotes. */
static size_t count_parts(bk_span s)
{
    size_t n = 1;
    for (size_t at; (at = bki_http_span_until(s, ';')) < s.len; n++)
        s = bk_span_of(s.data + at + 1, s.len - at - 1);
    return n;
}

/* Without its quotes and backslashes a value must be a token as well. */
static bool is_quoted_token(bk_span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++, n++) {
        i += s.data[i] == '\\';
        if (i == s.len || !bki_char_is(s.data[i], BKI_CHAR_TOKEN))
            return false;
    }
    return n > 0;
}

/* A name, and parameters behind it, none of them empty (the grammar in RFC 6455 9.1). */
static bool is_extension(bk_span element)
{
    struct bki_http_param p;
    size_t n = 0, want = count_parts(element);
    int r;
    while ((r = bki_http_param_next(&element, &p)) > 0)
        if ((n++ == 0 && p.has_value) || (p.quoted && !is_quoted_token(p.value)))
            return false;
    return r == 0 && n == want;
}

static bool each_is(const struct bki_http_head *h, const char *name, bool (*is)(bk_span element))
{
    for (ssize_t i = bki_http_find(h, name, 0); i >= 0; i = bki_http_find(h, name, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value), element;
        while (bki_http_list_next(&rest, &element))
            if (!is(element))
                return false;
    }
    return true;
}

/* The fields of that name hold the token, and nothing else. */
static bool only_token(const struct bki_http_head *h, const char *name, const char *token)
{
    bk_span value;
    return bki_http_get(h, name, &value) == 1 && bki_is_nocase(value, token);
}

static int response_wrong(struct bki_ws_agreed *a, const char *why)
{
    a->why = why;
    return -BK_EPROTO;
}

/* Is the extension named by this element in the offer? */
static bool was_offered(bk_span element, bk_span offer)
{
    struct bki_http_param name, ours;
    if (bki_http_param_next(&element, &name) <= 0)
        return false;
    bk_span each;
    while (bki_http_list_next(&offer, &each))
        if (bki_http_param_next(&each, &ours) > 0 && same(ours.name, name.name))
            return true;
    return false;
}

static int check_extensions(const struct bki_http_head *h, bk_span offer, struct bki_ws_agreed *a)
{
    const char *name = "Sec-WebSocket-Extensions";
    if (!each_is(h, name, is_extension))
        return response_wrong(a, "the response's Sec-WebSocket-Extensions is malformed");
    for (ssize_t i = bki_http_find(h, name, 0); i >= 0; i = bki_http_find(h, name, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value), element;
        while (bki_http_list_next(&rest, &element)) {
            if (!was_offered(element, offer))
                return response_wrong(a, "the server chose an extension that was not offered");
            a->extensions = true;
        }
    }
    return 0;
}

static int check_protocol(const struct bki_http_head *h, const char *const *offered,
                          struct bki_ws_agreed *a)
{
    int r = bki_http_get(h, "Sec-WebSocket-Protocol", &a->protocol);
    if (r < 0)
        return response_wrong(a, "the server chose more than one subprotocol");
    if (r == 0)
        return 0;
    for (; offered && *offered; offered++)
        if (same(a->protocol, S(*offered)))
            return 0;
    return response_wrong(a, "the server chose a subprotocol that was not offered");
}

int bki_ws_check_response(const struct bki_http_head *h, const struct bki_ws_request *q,
                          struct bki_ws_agreed *a)
{
    char accept[BKI_WS_ACCEPT_LEN + 1];
    bk_span value;
    *a = (struct bki_ws_agreed){0};
    if (h->status != 101) {
        a->why = "the server did not switch protocols";
        return -BK_EREFUSED;
    }
    if (h->minor < 1)
        return response_wrong(a, "a 101 response of HTTP/1.0");
    if (!only_token(h, "Upgrade", "websocket"))
        return response_wrong(a, "the response's Upgrade is not websocket");
    if (!bki_http_has_token(h, "Connection", "Upgrade"))
        return response_wrong(a, "the response's Connection has no Upgrade");
    int r = bki_ws_accept_of(q->key, accept);
    if (r < 0)
        return r;
    if (bki_http_get(h, "Sec-WebSocket-Accept", &value) != 1 || !same(value, S(accept)))
        return response_wrong(a, "Sec-WebSocket-Accept does not answer the key");
    r = check_extensions(h, q->extensions, a);
    return r < 0 ? r : check_protocol(h, q->protocols, a);
}

static int request_wrong(struct bki_ws_offer *o, int status, const char *why)
{
    o->status = status;
    o->why = why;
    return -BK_EPROTO;
}

/* Base64 of 16 bytes. */
static bool is_key(bk_span s)
{
    if (s.len != BKI_WS_KEY_LEN || s.data[22] != '=' || s.data[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = s.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return false;
    }
    return true;
}

int bki_ws_check_request(const struct bki_http_head *h, struct bki_ws_offer *o)
{
    bk_span version;
    *o = (struct bki_ws_offer){0};
    if (!same(bki_http_span(h, h->method), S("GET")))
        return request_wrong(o, 405, "a WebSocket request must be a GET");
    if (h->minor < 1)
        return request_wrong(o, 400, "a WebSocket request needs HTTP/1.1");
    if (!bki_http_has_token(h, "Upgrade", "websocket"))
        return request_wrong(o, 426, "this is a WebSocket endpoint: Upgrade: websocket is missing");
    if (!bki_http_has_token(h, "Connection", "Upgrade"))
        return request_wrong(o, 426,
                             "this is a WebSocket endpoint: Connection: Upgrade is missing");
    if (bki_http_body_of(h) != BKI_HTTP_BODY_NONE)
        return request_wrong(o, 400, "a WebSocket request has no body");
    int r = bki_http_get(h, "Sec-WebSocket-Version", &version);
    if (r < 0)
        return request_wrong(o, 400, "Sec-WebSocket-Version is given more than once");
    if (r == 0 || !same(version, S("13")))
        return request_wrong(o, 426, "Sec-WebSocket-Version must be 13");
    if (bki_http_get(h, "Sec-WebSocket-Key", &o->key) != 1 || !is_key(o->key))
        return request_wrong(o, 400, "Sec-WebSocket-Key is not one base64 text of 16 bytes");
    if (!each_is(h, "Sec-WebSocket-Extensions", is_extension))
        return request_wrong(o, 400, "Sec-WebSocket-Extensions is malformed");
    if (!each_is(h, "Sec-WebSocket-Protocol", bki_is_token))
        return request_wrong(o, 400, "Sec-WebSocket-Protocol is not a list of tokens");
    if (bki_http_get(h, "Origin", &o->origin) < 0)
        return request_wrong(o, 400, "Origin is given more than once");
    return 0;
}

static bool offers_protocol(const struct bki_http_head *h, bk_span protocol)
{
    const char *name = "Sec-WebSocket-Protocol";
    for (ssize_t i = bki_http_find(h, name, 0); i >= 0; i = bki_http_find(h, name, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value), element;
        while (bki_http_list_next(&rest, &element))
            if (same(element, protocol))
                return true;
    }
    return false;
}

const char *bki_ws_pick_protocol(const struct bki_http_head *h, const char *const *ours)
{
    for (; ours && *ours; ours++)
        if (offers_protocol(h, S(*ours)))
            return *ours;
    return NULL;
}
