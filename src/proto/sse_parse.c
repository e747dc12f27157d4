/* SPDX-License-Identifier: MIT
 * The event stream parser: lines, fields, events. */
#include "proto/sse_parse.h"

#include <beck/error.h>

#include "base/utf8.h"

#define NO_LIMIT (SIZE_MAX / 2) /* the limits are checked here, where they have a name */

static const char bom[3] = "\xef\xbb\xbf";

void bki_sse_init(struct bki_sse *sse, size_t max_line, size_t max_event)
{
    memset(sse, 0, sizeof *sse);
    sse->max_line = max_line ? max_line : BKI_SSE_MAX_LINE;
    sse->max_event = max_event ? max_event : BKI_SSE_MAX_EVENT;
    sse->retry_ms = -1;
    sse->id = bk_span_str("");
    bki_buf_init(&sse->line, NO_LIMIT);
    bki_buf_init(&sse->data_buf, NO_LIMIT);
    bki_buf_init(&sse->type_buf, NO_LIMIT);
    bki_buf_init(&sse->id_buf, NO_LIMIT);
    bki_buf_init(&sse->id_last, NO_LIMIT);
}

void bki_sse_free(struct bki_sse *sse)
{
    bki_buf_free(&sse->line);
    bki_buf_free(&sse->data_buf);
    bki_buf_free(&sse->type_buf);
    bki_buf_free(&sse->id_buf);
    bki_buf_free(&sse->id_last);
}

int bki_sse_go_on(struct bki_sse *sse, bk_span id)
{
    int r = bki_buf_append(&sse->id_last, id.data, id.len);
    if (r == 0 && id.len > 0)
        sse->id = bki_buf_span(&sse->id_last);
    return r;
}

static void clear_event(struct bki_sse *sse)
{
    bki_buf_truncate(&sse->data_buf, 0);
    bki_buf_truncate(&sse->type_buf, 0);
    sse->has_data = false;
    sse->given = false;
}

void bki_sse_restart(struct bki_sse *sse)
{
    clear_event(sse);
    bki_buf_free(&sse->line);
    bki_buf_compact(&sse->data_buf);
    sse->id_pending = false;
    sse->after_cr = false;
    sse->bom = 0;
    sse->error = 0;
}

/* ---- Text ---- */

/* How many bytes of in[0..len), which does not start a valid sequence, are one error (the longest
 * start of a valid sequence, or one byte), as the Encoding standard replaces them. */
static size_t bad_length(const char *in, size_t len)
{
    size_t n = 1;
    for (; n < len && n < 4; n++) {
        struct bki_utf8 utf8 = {0};
        if (!bki_utf8_feed(&utf8, in, n + 1))
            break;
    }
    return n;
}

/* The length of the valid sequence that in[0..len) starts with, 0 when it does not. */
static size_t sequence(const char *in, size_t len)
{
    for (size_t n = 1; n <= 4 && n <= len; n++)
        if (bki_utf8_valid(in, n))
            return n;
    return 0;
}

static size_t good_length(const char *in, size_t len)
{
    size_t at = 0, n;
    while ((n = sequence(in + at, len - at)) > 0)
        at += n;
    return at;
}

static int append_text(struct bki_buf *out, const char *in, size_t len)
{
    if (bki_utf8_valid(in, len))
        return bki_buf_append(out, in, len);
    while (len > 0) {
        size_t good = good_length(in, len);
        int r = bki_buf_append(out, in, good);
        if (r == 0 && good < len)
            r = bki_buf_append(out, "\xef\xbf\xbd", 3);
        if (r < 0)
            return r;
        size_t bad = good < len ? bad_length(in + good, len - good) : 0;
        in += good + bad;
        len -= good + bad;
    }
    return 0;
}

/* ---- Fields ---- */

static int take_data(struct bki_sse *sse, bk_span value)
{
    sse->has_data = true;
    int r = append_text(&sse->data_buf, value.data, value.len);
    if (r == 0)
        r = bki_buf_append(&sse->data_buf, "\n", 1);
    if (r == 0 && bki_buf_len(&sse->data_buf) - 1 > sse->max_event)
        r = bk_fail(-BK_ELIMIT,
                    "an event of the stream has more than max_event (%zu) bytes of data",
                    sse->max_event);
    return r;
}

static int replace_text(struct bki_buf *out, bk_span value)
{
    bki_buf_truncate(out, 0);
    return append_text(out, value.data, value.len);
}

static int take_id(struct bki_sse *sse, bk_span value)
{
    if (value.len > 0 && memchr(value.data, '\0', value.len))
        return 0;
    sse->id_pending = true;
    return replace_text(&sse->id_buf, value);
}

static void take_retry(struct bki_sse *sse, bk_span value)
{
    int64_t ms = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return;
        if (ms < INT64_MAX / 20)
            ms = ms * 10 + (value.data[i] - '0');
    }
    if (value.len > 0)
        sse->retry_ms = ms;
}

static bool name_is(bk_span name, const char *text)
{
    return bk_span_equal(name, bk_span_str(text));
}

static int take_field(struct bki_sse *sse, bk_span line)
{
    const char *colon = memchr(line.data, ':', line.len);
    size_t name_len = colon ? (size_t)(colon - line.data) : line.len;
    bk_span name = bk_span_of(line.data, name_len), value = bk_span_str("");
    if (colon) {
        value = bk_span_of(colon + 1, line.len - name_len - 1);
        if (value.len > 0 && value.data[0] == ' ')
            value = bk_span_of(value.data + 1, value.len - 1);
    }
    if (name_is(name, "data"))
        return take_data(sse, value);
    if (name_is(name, "event"))
        return replace_text(&sse->type_buf, value);
    if (name_is(name, "id"))
        return take_id(sse, value);
    if (name_is(name, "retry"))
        take_retry(sse, value);
    return 0; /* a comment (no name), or a field that means nothing */
}

/* ---- Events ---- */

/* An empty line: the event is whole.  1 when there is one to give out. */
static int dispatch(struct bki_sse *sse)
{
    if (sse->id_pending) {
        struct bki_buf swap = sse->id_last;
        sse->id_last = sse->id_buf;
        sse->id_buf = swap;
        sse->id_pending = false;
        sse->id = bki_buf_len(&sse->id_last) > 0 ? bki_buf_span(&sse->id_last) : bk_span_str("");
    }
    if (!sse->has_data) {
        clear_event(sse);
        return 0;
    }
    sse->data = bk_span_of(bki_buf_start(&sse->data_buf), bki_buf_len(&sse->data_buf) - 1);
    sse->type =
        bki_buf_len(&sse->type_buf) > 0 ? bki_buf_span(&sse->type_buf) : bk_span_str("message");
    sse->given = true;
    return 1;
}

static int take_line(struct bki_sse *sse, bk_span line)
{
    return line.len == 0 ? dispatch(sse) : take_field(sse, line);
}

/* ---- Lines ---- */

/* Looks no farther than about twice the line's length: where every line ends with CR, all that is
 * there would be searched for LF again with each. */
static const char *line_end(const char *in, size_t len)
{
    for (size_t window = 64; len > 0; window *= 2) {
        size_t n = len < window ? len : window;
        const char *lf = memchr(in, '\n', n);
        const char *cr = memchr(in, '\r', lf ? (size_t)(lf - in) : n);
        if (cr || lf)
            return cr ? cr : lf;
        in += n;
        len -= n;
    }
    return NULL;
}

/* Keeps the start of a line for the next call, if it is not over the limit. */
static int keep(struct bki_sse *sse, const char *in, size_t len)
{
    if (len > sse->max_line || bki_buf_len(&sse->line) > sse->max_line - len)
        return bk_fail(-BK_ELIMIT, "a line of the event stream is over max_line (%zu bytes)",
                       sse->max_line);
    return len > 0 ? bki_buf_append(&sse->line, in, len) : 0;
}

/* The line in[0..len), or what was kept of it before that, is whole. */
static int end_line(struct bki_sse *sse, const char *in, size_t len)
{
    if (bki_buf_len(&sse->line) == 0 && len <= sse->max_line)
        return take_line(sse, bk_span_of(in, len));
    int r = keep(sse, in, len);
    if (r == 0)
        r = take_line(sse, bki_buf_span(&sse->line));
    bki_buf_truncate(&sse->line, 0);
    return r;
}

/* Drops a byte order mark at the very start; what only began like one is the first line's. */
static int pass_bom(struct bki_sse *sse, const char *in, size_t len, size_t *at)
{
    while (sse->bom < 3 && *at < len) {
        if (in[*at] != bom[sse->bom]) {
            int r = keep(sse, bom, sse->bom);
            sse->bom = 3;
            return r;
        }
        sse->bom++;
        (*at)++;
    }
    return 0;
}

static int next(struct bki_sse *sse, const char *in, size_t len, size_t *at)
{
    int r = pass_bom(sse, in, len, at);
    while (r == 0 && *at < len) {
        if (sse->after_cr) {
            sse->after_cr = false;
            if (in[*at] == '\n') {
                (*at)++;
                continue;
            }
        }
        const char *start = in + *at, *end = line_end(start, len - *at);
        if (!end) {
            *at = len;
            return keep(sse, start, (size_t)(in + len - start));
        }
        *at = (size_t)(end - in) + 1;
        sse->after_cr = *end == '\r';
        r = end_line(sse, start, (size_t)(end - start));
    }
    return r;
}

int bki_sse_next(struct bki_sse *sse, const char *in, size_t len, size_t *used)
{
    *used = 0;
    if (sse->error < 0)
        return sse->error;
    if (sse->given)
        clear_event(sse);
    int r = next(sse, in, len, used);
    if (r < 0)
        sse->error = r;
    return r;
}
