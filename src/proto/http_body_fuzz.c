/* SPDX-License-Identifier: MIT
 * Fuzzes the decoder of bodies: any input must give the same whole and in parts, and what it takes
 * for content must be what a plain reading of the grammar finds.
 *
 * Input: one byte for the kind, one for the size of the parts, then the body. */
#include "proto/http_body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

struct outcome {
    char *content;
    size_t n, used;
    int result;
    enum bki_http_error error;
};

static void decode(struct outcome *o, struct bki_http_decoder d, const char *in, size_t len,
                   size_t step)
{
    *o = (struct outcome){.content = malloc(len + 1)};
    while (o->used < len && o->result == BKI_HTTP_MORE) {
        size_t skip, n = len - o->used < step ? len - o->used : step;
        char *copy = malloc(n); /* exactly this long */
        memcpy(copy, in + o->used, n);
        o->result = bki_http_decode(&d, copy, n, &skip);
        o->error = d.error;
        MUST(skip <= n && d.ext <= d.max_ext + 1);
        if (o->result == BKI_HTTP_CONTENT) {
            MUST(d.left > 0);
            size_t take = (int64_t)(n - skip) < d.left ? n - skip : (size_t)d.left;
            memcpy(o->content + o->n, copy + skip, take);
            o->n += take;
            skip += take;
            bki_http_decode_took(&d, take);
            o->result = BKI_HTTP_MORE;
        }
        if (o->result == BKI_HTTP_MORE)
            MUST(skip > 0);
        if (o->result >= 0)
            o->used += skip;
        free(copy);
    }
}

/* The chunks read once more, by somebody who has the whole of an accepted body before them. */
static void check_chunks(const struct outcome *o, const char *in)
{
    size_t at = 0, n = 0;
    for (;;) {
        char *end;
        char *line_end = memchr(in + at, '\r', o->used - at);
        MUST(line_end && line_end[1] == '\n');
        unsigned long size = strtoul(in + at, &end, 16);
        MUST(end > in + at && end <= line_end && size <= INT64_MAX);
        at = (size_t)(line_end - in) + 2;
        if (size == 0)
            break;
        MUST(size <= o->used - at && memcmp(in + at, o->content + n, size) == 0);
        n += size;
        at += size + 2;
        MUST(in[at - 2] == '\r' && in[at - 1] == '\n');
    }
    MUST(at == o->used && n == o->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, parts;
    struct bki_http_decoder d;
    if (size < 3)
        return 0;
    char *in = malloc(size - 1);
    memcpy(in, data + 2, size - 2);
    in[size - 2] = '\0'; /* for strtoul */
    static const enum bki_http_body kinds[] = {BKI_HTTP_BODY_CHUNKED, BKI_HTTP_BODY_CHUNKED,
                                               BKI_HTTP_BODY_LENGTH, BKI_HTTP_BODY_UNTIL_CLOSE};
    enum bki_http_body kind = kinds[data[0] % 4];
    bki_http_decode_init(&d, kind, data[0] / 4, data[0] % 4 == 1, 100);
    decode(&whole, d, in, size - 2, size);
    decode(&parts, d, in, size - 2, data[1] % 32 + 1u);
    MUST(whole.result == parts.result && whole.error == parts.error && whole.n == parts.n);
    MUST(memcmp(whole.content, parts.content, whole.n) == 0);
    MUST(whole.result < 0 || whole.used == parts.used);
    if (kind == BKI_HTTP_BODY_CHUNKED && whole.result == BKI_HTTP_TRAILER)
        check_chunks(&whole, in);
    free(whole.content);
    free(parts.content);
    free(in);
    return 0;
}
