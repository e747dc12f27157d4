/* SPDX-License-Identifier: MIT
 * Fuzzes the event stream parser: cut into other pieces, the same events come out, all valid UTF-8
 * and within the limits. */
#include <stdlib.h>

#include <beck/error.h>

#include "base/utf8.h"
#include "proto/sse_parse.h"

#define MAX_LINE 64
#define MAX_EVENT 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* A fingerprint of everything that was given out. */
struct seen {
    uint64_t hash;
    size_t n;
    int64_t retry_ms;
    int result;
};

static void add(struct seen *seen, bk_span text)
{
    must(bki_utf8_valid(text.data, text.len));
    for (size_t i = 0; i < text.len; i++)
        seen->hash = (seen->hash ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
    seen->hash = (seen->hash ^ 0x100) * UINT64_C(1099511628211);
}

static struct seen parse(const char *in, size_t len, size_t step)
{
    struct seen seen = {.hash = 1};
    struct bki_sse sse;
    bki_sse_init(&sse, MAX_LINE, MAX_EVENT);
    while (len > 0 && seen.result >= 0) {
        size_t n = len < step ? len : step, used;
        seen.result = bki_sse_next(&sse, in, n, &used);
        must(used <= n && (seen.result != 0 || used == n));
        if (seen.result > 0) {
            must(used > 0 && sse.data.len <= MAX_EVENT && sse.type.len > 0);
            must(sse.id.len <= 3 * MAX_LINE);
            add(&seen, sse.type);
            add(&seen, sse.data);
            add(&seen, sse.id);
            seen.n++;
        }
        in += used;
        len -= used;
    }
    must(seen.result >= 0 || seen.result == -BK_ELIMIT);
    seen.retry_ms = sse.retry_ms;
    bki_sse_free(&sse);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t step = data[0] % 16 + 1;
    const char *in = (const char *)data + 1;
    struct seen whole = parse(in, size - 1, size), pieces = parse(in, size - 1, step);
    must(whole.hash == pieces.hash && whole.n == pieces.n && whole.retry_ms == pieces.retry_ms);
    must((whole.result < 0) == (pieces.result < 0));
    return 0;
}
