/* SPDX-License-Identifier: MIT
 * Plays frames of an imagined peer to a WebSocket connection and writes down what it made of them.
 *
 *     script_begin();
 *     script_frame(0x01, "Hel", 3);
 *     script_frame(0x89, "x", 1);
 *     script_frame(0x80, "lo", 2);
 *     CHECK_STR(script_run(), "ping(x)>pong(x) text(Hello)");
 *
 * script_run plays it to a client and to a server; each time whole, cut in two anywhere, byte by
 * byte, and against a guard page.  All must agree. */
#ifndef BECK_SRC_PROTO_WS_SCRIPT_FIXTURE_H
#define BECK_SRC_PROTO_WS_SCRIPT_FIXTURE_H

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/ws_conn.h"
#include "tests/guard_page.h"

#define SCRIPT_BYTES                                                                               \
    70000u /* a longer script is not cut everywhere, and its messages not spelt out */

struct script_bytes {
    char *data;
    size_t len, cap;
};

static struct {
    struct script_bytes wire[2]; /* as a server (not masked), as a client (masked) would send it */
    struct bki_ws_limits limits;
    int rsv_allowed;
    char seen[2][8192];
} script;

static int script_fixed_keys(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i * 37 + 5);
    return 0;
}

static struct bki_ws_keys script_keys = {.fill = script_fixed_keys};

static inline void script_add(struct script_bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
    }
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static inline void script_begin(void)
{
    script.wire[0].len = script.wire[1].len = 0;
    script.limits = (struct bki_ws_limits){.max_message = 64u << 20};
    script.rsv_allowed = 0;
}

/* A frame with this first byte (FIN, RSV, opcode). */
static inline void script_frame(int first, const void *payload, size_t len)
{
    for (int masked = 0; masked < 2; masked++) {
        struct bki_ws_frame f = {.len = len,
                                 .fin = first & 0x80,
                                 .rsv = (uint8_t)(first & 0x70),
                                 .opcode = (uint8_t)(first & 0x0f),
                                 .masked = masked};
        char head[BKI_WS_HEAD_MAX], *copy = malloc(len + 1);
        f.key = 0x9a01f37cu + (uint32_t)script.wire[0].len;
        script_add(&script.wire[masked], head, bki_ws_frame_write(head, &f));
        bki_ws_mask(copy, payload, len, masked ? f.key : 0, 0);
        script_add(&script.wire[masked], copy, len);
        free(copy);
    }
}

static inline void script_text(int first, const char *payload)
{
    script_frame(first, payload, strlen(payload));
}

struct script_player {
    struct bki_ws_conn ws;
    char *seen;
    size_t n_seen;
    struct script_bytes message;
    size_t at;        /* bytes of the script played */
    size_t failed_at; /* how many it took until the failure was found */
};

static inline void script_note(struct script_player *p, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(p->seen + p->n_seen, sizeof script.seen[0] - p->n_seen, format, ap);
    va_end(ap);
    p->n_seen += (size_t)n;
    if (p->n_seen >= sizeof script.seen[0])
        p->n_seen = sizeof script.seen[0] - 1;
}

/* Printable bytes as they are, others as \xNN; long ones as their length and a sum. */
static inline void script_note_bytes(struct script_player *p, bk_span s)
{
    if (s.len > 300) {
        unsigned sum = 0;
        for (size_t i = 0; i < s.len; i++)
            sum = sum * 31 + (uint8_t)s.data[i];
        script_note(p, "%zu bytes, %08x", s.len, sum);
        return;
    }
    for (size_t i = 0; i < s.len; i++)
        script_note(p, isprint((uint8_t)s.data[i]) ? "%c" : "\\x%02x", (uint8_t)s.data[i]);
}

/* A reply is whole frames; a client's must be masked. */
static inline void script_note_reply(struct script_player *p, bk_span reply)
{
    while (reply.len > 0) {
        struct bki_ws_frame f;
        char payload[BKI_WS_CONTROL_MAX];
        int n = bki_ws_frame_read(&f, reply.data, reply.len);
        if (n <= 0 || reply.len - (size_t)n < f.len || !f.fin || f.rsv ||
            f.masked != (p->ws.role == BKI_WS_CLIENT)) {
            script_note(p, ">malformed");
            return;
        }
        bki_ws_mask(payload, reply.data + n, f.len, f.masked ? f.key : 0, 0);
        if (f.opcode == BKI_WS_OP_CLOSE) {
            script_note(p, f.len ? ">close(%d)" : ">close()",
                        f.len ? (uint8_t)payload[0] << 8 | (uint8_t)payload[1] : 0);
        } else {
            script_note(p, f.opcode == BKI_WS_OP_PONG ? ">pong(" : ">?(");
            script_note_bytes(p, bk_span_of(payload, f.len));
            script_note(p, ")");
        }
        reply = bk_span_of(reply.data + n + f.len, reply.len - (size_t)n - f.len);
    }
}

static inline void script_note_event(struct script_player *p, const struct bki_ws_event *ev)
{
    static const char *const names[] = {"none", "data", "ping", "pong", "close", "fail"};
    if (ev->type == BKI_WS_DATA) {
        if (ev->first == (p->message.data != NULL))
            script_note(p, "first-flag-wrong ");
        if (ev->payload.len == 0 && !ev->last)
            script_note(p, "empty-piece ");
        if (ev->more != bki_ws_frame_left(&p->ws))
            script_note(p, "more-wrong ");
        if (!p->message.data)
            script_add(&p->message, "", 1); /* something, so that .data tells it has begun */
        script_add(&p->message, ev->payload.data, ev->payload.len);
        if (!ev->last)
            return;
        script_note(p, "%s%s(", p->n_seen ? " " : "", ev->kind == BKI_WS_TEXT ? "text" : "binary");
        script_note_bytes(p, bk_span_of(p->message.data + 1, p->message.len - 1));
        script_note(p, ev->rsv ? ",rsv %02x)" : ")", ev->rsv);
        free(p->message.data);
        p->message = (struct script_bytes){0};
        return;
    }
    script_note(p, "%s%s(", p->n_seen ? " " : "", names[ev->type]);
    if (ev->type == BKI_WS_CLOSE || ev->type == BKI_WS_FAIL)
        script_note(p, ev->payload.len ? "%d," : "%d", ev->code);
    script_note_bytes(p, ev->payload);
    script_note(p, ")");
    script_note_reply(p, ev->reply);
}

static inline void script_start(struct script_player *p, enum bki_ws_role role, char *seen)
{
    memset(p, 0, sizeof *p);
    bki_ws_init(&p->ws, role, &script.limits, role == BKI_WS_CLIENT ? &script_keys : NULL);
    p->ws.rsv_allowed = (uint8_t)script.rsv_allowed;
    p->seen = seen;
    seen[0] = '\0';
}

/* Plays the next bytes, from memory of exactly that size. */
static inline void script_play(struct script_player *p, char *in, size_t len)
{
    struct bki_ws_event ev;
    size_t used;
    int r;
    bool failed = p->ws.result < 0;
    p->at += len;
    while ((r = bki_ws_next(&p->ws, in, len, &used, &ev)) > 0) {
        script_note_event(p, &ev);
        in += used;
        len -= used;
    }
    if (used != len)
        script_note(p, " bytes-left");
    if (r < 0 && !failed) {
        script_note_event(p, &ev);
        p->failed_at = p->at;
    } else if (r < 0 && (ev.type != BKI_WS_FAIL || ev.reply.len > 0)) {
        script_note(p, " failed-twice");
    }
}

static inline void script_stop(struct script_player *p)
{
    free(p->message.data);
}

/* Plays the wire to the role in parts: `first` bytes, then `step` at a time. */
static inline size_t script_play_parts(enum bki_ws_role role, size_t first, size_t step, char *seen)
{
    const struct script_bytes *wire = &script.wire[role];
    struct script_player p;
    script_start(&p, role, seen);
    for (size_t at = 0, n = first; at < wire->len; at += n, n = step) {
        if (n > wire->len - at)
            n = wire->len - at;
        char *part = malloc(n + 1);
        memcpy(part, wire->data + at, n);
        script_play(&p, part, n);
        free(part);
    }
    script_stop(&p);
    return p.failed_at;
}

static inline const char *script_run_as(enum bki_ws_role role)
{
    static struct guard_page page;
    const struct script_bytes *wire = &script.wire[role];
    char *whole = script.seen[0], *other = script.seen[1];
    struct script_player p;
    script_start(&p, role, whole);
    script_play(&p, guard_page_put(&page, wire->data, wire->len), wire->len);
    script_stop(&p);
    for (size_t cut = 0; cut <= wire->len && wire->len <= 1000; cut++) {
        script_play_parts(role, cut, wire->len, other);
        if (strcmp(whole, other) != 0)
            return "differs when cut in two";
    }
    static const size_t steps[] = {1, 997, 65536};
    for (size_t i = wire->len > SCRIPT_BYTES; i < 3; i++) {
        script_play_parts(role, steps[i], steps[i], other);
        if (strcmp(whole, other) != 0)
            return "differs when played in small parts";
    }
    return whole;
}

/* What both roles made of the script. */
static inline const char *script_run(void)
{
    static char client[sizeof script.seen[0]];
    snprintf(client, sizeof client, "%s", script_run_as(BKI_WS_CLIENT));
    const char *server = script_run_as(BKI_WS_SERVER);
    if (strcmp(client, server) != 0) {
        fprintf(stderr, "client: %s\nserver: %s\n", client, server);
        return "client and server differ";
    }
    return client;
}

#endif
