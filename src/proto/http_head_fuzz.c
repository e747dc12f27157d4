/* SPDX-License-Identifier: MIT
 * Fuzzes the HTTP head parser: any input must give the same whole and in parts, and what it accepts
 * must keep the promises that stop request smuggling.
 *
 * Input: one byte for the kind, one for the size of the parts, then the head. */
#include "proto/http_head.h"

#include <stdlib.h>

#include "proto/http_chars.h"
#include "proto/http_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FIELDS 16

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

struct parsed {
    struct bki_http_head head;
    struct bki_http_field fields[MAX_FIELDS];
    int result;
};

static const struct bki_http_limits limits = {.max_line = 200, .max_block = 600};

static void check_accepted(const struct bki_http_head *h)
{
    MUST(h->len <= 2 + 200 + 600 && h->n_fields <= MAX_FIELDS);
    size_t hosts = 0, lengths = 0, codings = 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        bk_span name = bki_http_span(h, h->fields[i].name);
        bk_span value = bki_http_span(h, h->fields[i].value);
        MUST(bki_is_token(name) && (h->folded || bki_chars_all(value, BKI_CHAR_VALUE)));
        MUST(name.data + name.len < value.data + value.len || value.len == 0);
        MUST(value.data + value.len <= h->base + h->len);
        hosts += bki_is_nocase(name, "host");
        lengths += bki_is_nocase(name, "content-length");
        codings += bki_is_nocase(name, "transfer-encoding");
        bk_span rest = value, element;
        while (bki_http_list_next(&rest, &element)) {
            struct bki_http_param param;
            MUST(element.len > 0);
            while (bki_http_param_next(&element, &param) > 0)
                MUST(bki_is_token(param.name));
        }
    }
    MUST(!h->folded || h->kind == BKI_HTTP_RESPONSE);
    if (h->kind == BKI_HTTP_TRAILERS || bki_http_ends_with_head(h))
        return;
    MUST(!(lengths && codings) && (lengths > 0) == (h->content_length >= 0));
    MUST(!codings || h->minor > 0);
    if (h->kind == BKI_HTTP_RESPONSE)
        return;
    MUST(hosts <= 1 && (hosts == 1 || h->minor == 0));
    MUST(!codings || bki_http_body_of(h) == BKI_HTTP_BODY_CHUNKED);
}

/* A request that was read, written again, is read the same. */
static void check_round_trip(const struct bki_http_head *h)
{
    char buf[2048];
    struct bki_http_writer w;
    bki_http_write_init(&w, buf, sizeof buf);
    bki_http_write_request(&w, bki_http_span(h, h->method), bki_http_span(h, h->target));
    for (size_t i = 0; i < h->n_fields; i++)
        bki_http_write_field(&w, bki_http_span(h, h->fields[i].name),
                             bki_http_span(h, h->fields[i].value));
    ssize_t n = bki_http_write_end(&w);
    MUST(n > 0 && (size_t)n < sizeof buf);
    struct parsed again;
    bki_http_init(&again.head, BKI_HTTP_REQUEST, again.fields, MAX_FIELDS, NULL);
    int r = bki_http_feed(&again.head, buf, (size_t)n);
    if (h->minor == 0 && r < 0) /* an HTTP/1.0 request without Host is none of 1.1 */
        return;
    MUST(r == 1 && again.head.len == (size_t)n && again.head.n_fields == h->n_fields);
    MUST(again.head.content_length == h->content_length && again.head.chunked == h->chunked);
}

static void parse(struct parsed *p, enum bki_http_kind kind, const char *buf, size_t len,
                  size_t step)
{
    bki_http_init(&p->head, kind, p->fields, MAX_FIELDS, &limits);
    p->result = 0;
    for (size_t at = 0; p->result == 0 && at < len;) {
        at = at + step < len ? at + step : len;
        char *copy = malloc(at); /* exactly this long, and elsewhere each time */
        memcpy(copy, buf, at);
        p->result = bki_http_feed(&p->head, copy, at);
        free(copy);
    }
    p->head.base = buf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct parsed whole, parts;
    if (size < 3)
        return 0;
    enum bki_http_kind kind = (enum bki_http_kind)(data[0] % 3);
    size_t step = data[1] % 32 + 1;
    const char *buf = (const char *)data + 2;
    parse(&whole, kind, buf, size - 2, size);
    parse(&parts, kind, buf, size - 2, step);
    MUST(whole.result == parts.result && whole.head.error == parts.head.error);
    if (whole.result != 1)
        return 0;
    MUST(whole.head.len == parts.head.len && whole.head.n_fields == parts.head.n_fields);
    MUST(memcmp(whole.fields, parts.fields, whole.head.n_fields * sizeof *whole.fields) == 0);
    check_accepted(&whole.head);
    bki_http_keep_alive(&whole.head);
    if (kind == BKI_HTTP_REQUEST)
        check_round_trip(&whole.head);
    return 0;
}
