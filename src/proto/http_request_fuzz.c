/* SPDX-License-Identifier: MIT
 * Fuzzes a connection's worth of requests: heads, bodies, trailers, one behind the other.  Any
 * input must give the same whole and in parts; and what was accepted, written out in the plainest
 * way, must be read as the same requests, so that nobody behind this server sees others.
 *
 * Input: one byte for the size of the parts, then what a client sends. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/http_body.h"
#include "proto/http_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FIELDS 16
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

static const struct bki_http_limits limits = {.max_line = 200, .max_block = 600};

struct bytes {
    char *data;
    size_t len, cap;
};

static void add(struct bytes *b, const char *data, size_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
    }
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

/* What has been read: each request in the plainest way, and how it ended. */
struct reading {
    struct bytes plain;
    int n_requests;
    int result; /* 0: all is read; else the refusal */
    enum bki_http_error error;
};

/* A source that gives its bytes in parts, each at an address of its own. */
struct source {
    const char *in;
    size_t len, at, step;
    char *part;
    size_t part_len; /* from `at` on */
};

/* Shows at least one byte more than before; false at the end. */
static bool more(struct source *s)
{
    size_t left = s->len - s->at, want = s->part_len + s->step;
    if (s->part_len == left)
        return false;
    s->part_len = want < left ? want : left;
    free(s->part);
    s->part = malloc(s->part_len);
    memcpy(s->part, s->in + s->at, s->part_len);
    return true;
}

static void consume(struct source *s, size_t n)
{
    MUST(n <= s->part_len);
    s->at += n;
    s->part_len -= n;
    char *rest = malloc(s->part_len + 1);
    memcpy(rest, s->in + s->at, s->part_len);
    free(s->part);
    s->part = rest;
}

/* 1, 0 when the input ends first, or the refusal. */
static int read_head(struct source *s, struct bki_http_head *h, struct bki_http_field *fields,
                     enum bki_http_kind kind)
{
    bki_http_init(h, kind, fields, MAX_FIELDS, &limits);
    int r = s->part_len > 0 ? bki_http_feed(h, s->part, s->part_len) : 0;
    while (r == 0 && more(s))
        r = bki_http_feed(h, s->part, s->part_len);
    return r;
}

static int read_body(struct source *s, const struct bki_http_head *h, struct bytes *body,
                     enum bki_http_error *error)
{
    struct bki_http_decoder d;
    bki_http_decode_init(&d, bki_http_body_of(h), h->content_length, false, 50);
    for (;;) {
        size_t skip;
        int r = bki_http_decode(&d, s->part, s->part_len, &skip);
        *error = d.error;
        if (r < 0)
            return r;
        consume(s, skip);
        if (r == BKI_HTTP_TRAILER) {
            struct bki_http_head trailers;
            struct bki_http_field fields[MAX_FIELDS];
            r = read_head(s, &trailers, fields, BKI_HTTP_TRAILERS);
            *error = trailers.error;
            if (r == 1)
                consume(s, trailers.len);
            return r;
        }
        if (r == BKI_HTTP_END)
            return 1;
        if (r == BKI_HTTP_CONTENT && s->part_len > 0) {
            size_t n = (int64_t)s->part_len < d.left ? s->part_len : (size_t)d.left;
            add(body, s->part, n);
            bki_http_decode_took(&d, n);
            consume(s, n);
        } else if (!more(s)) {
            return 0;
        }
    }
}

/* A request as a careful writer would send it: no chunks, its own length. */
static void write_plain(struct bytes *out, const struct bki_http_head *h, const struct bytes *body)
{
    char buf[4096];
    struct bki_http_writer w;
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_request(&w, bki_http_span(h, h->method), bki_http_span(h, h->target));
    if (!h->has_host)
        bki_http_write_field(&w, bk_span_str("Host"), bk_span_str(""));
    for (size_t i = 0; i < h->n_fields; i++) {
        bk_span name = bki_http_span(h, h->fields[i].name);
        if (bki_http_find(h, "Content-Length", i) != (ssize_t)i &&
            bki_http_find(h, "Transfer-Encoding", i) != (ssize_t)i)
            bki_http_write_field(&w, name, bki_http_span(h, h->fields[i].value));
    }
    if (body->len > 0)
        bki_http_write_number(&w, bk_span_str("Content-Length"), body->len);
    ssize_t n = bki_http_write_end(&w);
    MUST(n > 0 && (size_t)n <= sizeof buf);
    add(out, buf, (size_t)n);
    add(out, body->data, body->len);
}

static void read_all(struct reading *r, const char *in, size_t len, size_t step)
{
    struct source s = {.in = in, .len = len, .step = step};
    struct bytes body = {0};
    *r = (struct reading){0};
    do {
        struct bki_http_head h;
        struct bki_http_field fields[MAX_FIELDS];
        r->result = read_head(&s, &h, fields, BKI_HTTP_REQUEST);
        r->error = h.error;
        if (r->result != 1)
            break;
        char *head = malloc(h.len);
        memcpy(head, s.part, h.len);
        h.base = head;
        consume(&s, h.len);
        body.len = 0;
        r->result = read_body(&s, &h, &body, &r->error);
        if (r->result == 1) {
            write_plain(&r->plain, &h, &body);
            r->n_requests++;
        }
        free(head);
    } while (r->result == 1);
    free(s.part);
    free(body.data);
}

static bool same(const struct reading *a, const struct reading *b)
{
    return a->result == b->result && a->error == b->error && a->n_requests == b->n_requests &&
           a->plain.len == b->plain.len &&
           (a->plain.len == 0 || memcmp(a->plain.data, b->plain.data, a->plain.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole, parts, again;
    if (size < 2)
        return 0;
    read_all(&whole, (const char *)data + 1, size - 1, size);
    read_all(&parts, (const char *)data + 1, size - 1, data[0] % 32 + 1u);
    MUST(same(&whole, &parts));
    read_all(&again, whole.plain.data, whole.plain.len, 7);
    /* A field more may be one too many. */
    if (again.error != BKI_HTTP_E_FIELDS_LIMIT && again.error != BKI_HTTP_E_BLOCK_LIMIT &&
        again.error != BKI_HTTP_E_LINE_LIMIT)
        MUST(again.result == 0 && again.n_requests == whole.n_requests &&
             again.plain.len == whole.plain.len &&
             (again.plain.len == 0 ||
              memcmp(again.plain.data, whole.plain.data, again.plain.len) == 0));
    free(whole.plain.data);
    free(parts.plain.data);
    free(again.plain.data);
    return 0;
}
