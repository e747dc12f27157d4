/* SPDX-License-Identifier: MIT
 * Sends the head of an HTTP message. */
#include "proto/http_send.h"

#include <beck/error.h>

#include "base/alloc.h"

#define HEAD_SIZE 1024 /* of most heads; a longer one is allocated */

int bki_http_send(bk_stream *s, ssize_t (*write)(struct bki_http_writer *w, const void *what),
                  const void *what, bk_span body, const char *label)
{
    char small[HEAD_SIZE], *large = NULL;
    struct bki_http_writer w;
    bki_http_write_init(&w, small, sizeof small);
    ssize_t n = write(&w, what);
    if (n > (ssize_t)sizeof small) {
        large = bki_alloc((size_t)n);
        if (!large)
            return bk_fail(-ENOMEM, "no memory for a head of %zd bytes", n);
        bki_http_write_init(&w, large, (size_t)n);
        n = write(&w, what);
    }
    int r;
    if (n == -EINVAL) {
        r = bk_fail(-EINVAL, "%s: %s", label, w.fault);
    } else if (n < 0) {
        r = bk_fail((int)n, "%s: out of memory", label);
    } else {
        bk_span pieces[] = {bk_span_of(large ? large : small, (size_t)n), body};
        r = bk_stream_writev(s, pieces, body.len > 0 ? 2 : 1);
    }
    bki_free(large);
    return r;
}
