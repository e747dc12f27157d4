/* SPDX-License-Identifier: MIT
 * Fuzzes a WebSocket connection: any bytes must give the same events whole and in parts, and what
 * is handed out must keep the promises of its header.
 *
 * Input: one byte for role and options, one for the size of the parts, then what the peer sends. */
#include <stdlib.h>

#include "proto/ws_conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

/* What came out, in order: for each message or control frame its type, then its bytes. */
struct played {
    struct bki_ws_conn ws;
    char *log;
    size_t n_log;
    size_t n_message; /* bytes of the message in progress, at the end of the log, begun if > 0 */
    struct bki_utf8 utf8;
    int result;
};

static int fixed_keys(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i * 37 + 5);
    return 0;
}

static void note(struct played *p, const void *data, size_t len)
{
    p->log = realloc(p->log, p->n_log + len + 1);
    if (len > 0)
        memcpy(p->log + p->n_log, data, len);
    p->n_log += len;
}

static void note_data(struct played *p, const struct bki_ws_event *ev)
{
    MUST(ev->first == (p->n_message == 0) && (ev->payload.len > 0 || ev->last));
    MUST(ev->kind == BKI_WS_TEXT || ev->kind == BKI_WS_BINARY);
    MUST(ev->more == bki_ws_frame_left(&p->ws));
    if (ev->first) {
        char head[3] = {'M', (char)ev->kind, (char)ev->rsv};
        note(p, head, 3);
        p->n_message = 3;
        p->utf8 = (struct bki_utf8){0};
    }
    note(p, ev->payload.data, ev->payload.len);
    p->n_message += ev->payload.len;
    /* What is compressed may be longer than what it stands for. */
    size_t most = p->ws.max_message + (ev->rsv ? p->ws.max_message / 16 + 1024 : 0);
    MUST(p->n_message - 3 + ev->more <= most);
    if (ev->kind == BKI_WS_TEXT && !ev->rsv) {
        MUST(bki_utf8_feed(&p->utf8, ev->payload.data, ev->payload.len));
        MUST(!ev->last || bki_utf8_complete(&p->utf8));
    }
    if (ev->last)
        p->n_message = 0;
}

/* A control event in the middle of a message is noted before it, wherever the cuts are. */
static void note_control(struct played *p, const struct bki_ws_event *ev)
{
    size_t n = p->n_message;
    char *message = malloc(n + 1);
    if (n > 0)
        memcpy(message, p->log + p->n_log - n, n);
    p->n_log -= n;
    MUST(ev->payload.len <= BKI_WS_CONTROL_MAX && ev->reply.len <= BKI_WS_CONTROL_FRAME_MAX);
    note(p, &ev->type, 1);
    note(p, &ev->code, 2);
    note(p, ev->payload.data, ev->payload.len);
    note(p, ev->reply.data, ev->reply.len);
    if (ev->type != BKI_WS_FAIL) /* a failed message is lost, as much of it as there was */
        note(p, message, n);
    else
        p->n_message = 0;
    free(message);
}

static void play(struct played *p, uint8_t options, const uint8_t *in, size_t len, size_t step)
{
    static struct bki_ws_keys keys;
    struct bki_ws_limits limits = {.max_message = options & 8 ? 300 : 70000,
                                   .max_fragments = options & 8 ? 4 : 100};
    keys = (struct bki_ws_keys){.fill = fixed_keys};
    *p = (struct played){0};
    bki_ws_init(&p->ws, options & 1 ? BKI_WS_SERVER : BKI_WS_CLIENT, &limits, &keys);
    p->ws.rsv_allowed = options & 2 ? BKI_WS_RSV1 : 0;
    if (options & 4) {
        char out[BKI_WS_CONTROL_FRAME_MAX];
        MUST(bki_ws_close_frame(&p->ws, 1000, bk_span_of("x", 1), out) > 0);
    }
    for (size_t at = 0; at < len;) {
        size_t n = len - at < step ? len - at : step, used = 0;
        char *part = malloc(n), *rest = part;
        struct bki_ws_event ev;
        memcpy(part, in + at, n);
        at += n;
        bool failed = p->result < 0;
        while ((p->result = bki_ws_next(&p->ws, rest, n, &used, &ev)) > 0) {
            MUST(!failed && used <= n);
            ev.type == BKI_WS_DATA ? note_data(p, &ev) : note_control(p, &ev);
            rest += used;
            n -= used;
        }
        MUST(used == n && (!failed || p->result < 0));
        if (p->result < 0 && !failed)
            note_control(p, &ev);
        free(part);
    }
    p->n_log -=
        p->n_message; /* how much of a cut message is out depends on nothing but the bytes */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct played whole, parts;
    if (size < 2)
        return 0;
    play(&whole, data[0], data + 2, size - 2, size);
    play(&parts, data[0], data + 2, size - 2, data[1] % 64 + 1);
    MUST(whole.result == parts.result && whole.n_log == parts.n_log);
    MUST(whole.n_log == 0 || memcmp(whole.log, parts.log, whole.n_log) == 0);
    MUST(bki_ws_eof(&whole.ws) == bki_ws_eof(&parts.ws));
    MUST(whole.ws.close_code == parts.ws.close_code);
    free(whole.log);
    free(parts.log);
    return 0;
}
