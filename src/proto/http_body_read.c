/* SPDX-License-Identifier: MIT
 * Bodies read from a stream: framing is looked at in its buffer, content may go past it. */
#include "proto/http_body_read.h"

#include "proto/http_read.h"

#define LARGE ((size_t)16 * 1024)

void bki_http_reader_init(struct bki_http_reader *reader, bk_stream *stream,
                          enum bki_http_body kind, int64_t length, bool response, size_t max_ext)
{
    bki_http_headers_clear(&reader->trailers);
    reader->stream = stream;
    reader->error = BKI_HTTP_E_OK;
    reader->over = false;
    bki_http_decode_init(&reader->decoder, kind, length, response, max_ext);
}

static int refused(struct bki_http_reader *reader, int r, enum bki_http_error error)
{
    reader->error = error;
    return bk_fail(r, "%s: %s", bk_stream_peer(reader->stream), bki_http_error_text(error));
}

static int read_trailers(struct bki_http_reader *reader)
{
    struct bki_http_field fields[BKI_HTTP_MAX_FIELDS];
    struct bki_http_head head;
    bki_http_init(&head, BKI_HTTP_TRAILERS, fields, BKI_HTTP_MAX_FIELDS, NULL);
    head.folds = reader->decoder.response;
    int r = bki_http_read_head(reader->stream, &head);
    if (r == 0)
        return -BK_EINCOMPLETE;
    if (head.error)
        return refused(reader, r, head.error);
    if (r > 0 && head.n_fields > 0)
        r = bki_http_headers_take(&reader->trailers, &head, 0);
    if (r < 0)
        return r;
    bk_stream_consume(reader->stream, head.len);
    bki_http_decode_trailer_read(&reader->decoder);
    return 0;
}

static int ended(struct bki_http_reader *reader)
{
    int r = bki_http_decode_eof(&reader->decoder);
    if (r < 0)
        return bk_fail(r, "%s: the connection ended in the middle of a body",
                       bk_stream_peer(reader->stream));
    reader->over = true;
    return 0;
}

/* Reads framing, until content comes next (1) or the body is over (0). */
static int read_framing(struct bki_http_reader *reader, bk_span *in)
{
    size_t want = 0;
    for (;;) {
        size_t skip;
        int r = bk_stream_peek(reader->stream, want, in);
        if (r < 0)
            return r;
        if (r == 0)
            return ended(reader);
        r = bki_http_decode(&reader->decoder, in->data, in->len, &skip);
        if (r < 0)
            return refused(reader, r, reader->decoder.error);
        bk_stream_consume(reader->stream, skip);
        *in = bk_span_of(in->data + skip, in->len - skip);
        if (r == BKI_HTTP_TRAILER) {
            r = read_trailers(reader);
            if (r < 0)
                return r == -BK_EINCOMPLETE ? ended(reader) : r;
            r = BKI_HTTP_END;
        }
        if (r != BKI_HTTP_MORE) {
            reader->over = r == BKI_HTTP_END;
            return r == BKI_HTTP_CONTENT;
        }
        want = 1;
    }
}

int bki_http_reader_peek(struct bki_http_reader *reader, bk_span *out)
{
    if (reader->over)
        return 0;
    int r = read_framing(reader, out);
    if (r <= 0)
        return r;
    if (out->len == 0)
        r = bk_stream_peek(reader->stream, 1, out);
    if (r <= 0)
        return r < 0 ? r : ended(reader);
    if (reader->decoder.left < (int64_t)out->len)
        out->len = (size_t)reader->decoder.left;
    return 1;
}

/* The end of a counted body is known without another look. */
static void took(struct bki_http_reader *reader, size_t n)
{
    bki_http_decode_took(&reader->decoder, n);
    if (reader->decoder.left == 0 && reader->decoder.kind == BKI_HTTP_BODY_LENGTH)
        reader->over = true;
}

void bki_http_reader_took(struct bki_http_reader *reader, size_t n)
{
    bk_stream_consume(reader->stream, n);
    took(reader, n);
}

/* Content that may go straight to the caller: so much that it pays to read what follows it, the
 * next chunk's size, by a call of its own. */
static bool is_large(const struct bki_http_reader *reader, size_t len)
{
    return len >= LARGE && (reader->decoder.kind != BKI_HTTP_BODY_CHUNKED ||
                            reader->decoder.left >= (int64_t)LARGE);
}

ssize_t bki_http_reader_read(struct bki_http_reader *reader, void *buf, size_t len)
{
    bk_span in;
    if (len == 0)
        return bk_fail(-EINVAL, "read of 0 bytes");
    if (reader->over)
        return 0;
    int r = read_framing(reader, &in);
    if (r <= 0)
        return r;
    if (in.len == 0 && is_large(reader, len)) {
        if (reader->decoder.left < (int64_t)len)
            len = (size_t)reader->decoder.left;
        ssize_t n = bk_stream_read(reader->stream, buf, len);
        if (n <= 0)
            return n < 0 ? n : ended(reader);
        took(reader, (size_t)n);
        return n;
    }
    r = bki_http_reader_peek(reader, &in);
    if (r <= 0)
        return r;
    if (len > in.len)
        len = in.len;
    memcpy(buf, in.data, len);
    bki_http_reader_took(reader, len);
    return (ssize_t)len;
}
