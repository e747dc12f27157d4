/* SPDX-License-Identifier: MIT
 * Lines into bytes: see line_sink.h. */
#include "connectors/line_sink.h"

#include "base/alloc.h"

void bki_line_sink_init(struct bki_line_sink *sink)
{
    *sink = (struct bki_line_sink){.bytes = BKI_BYTES_CLOSED};
}

void bki_line_sink_free(struct bki_line_sink *sink)
{
    bki_free(sink->block);
    sink->block = NULL;
}

static size_t line_len(const struct bki_entry *entry)
{
    return bk_msg_len(entry->msg) + 1;
}

/* Copies lines from entry i on into the block while they fit; returns the entry after the last. */
static size_t fill_block(struct bki_line_sink *sink, const struct bki_batch *batch, size_t i,
                         size_t *len)
{
    *len = 0;
    for (; i < batch->n; i++) {
        size_t n = line_len(&batch->entries[i]);
        if (n > BKI_LINE_BLOCK - *len)
            break;
        if (n > 1)
            memcpy(sink->block + *len, bk_msg_data(batch->entries[i].msg), n - 1);
        *len += n;
        sink->block[*len - 1] = '\n';
    }
    return i;
}

/* How many of the entries from i on lie wholly in the first `done` bytes. */
static size_t whole_lines(const struct bki_batch *batch, size_t i, size_t to, size_t done,
                          size_t *partial)
{
    while (i < to && line_len(&batch->entries[i]) <= done)
        done -= line_len(&batch->entries[i++]);
    *partial = done;
    return i;
}

/* A line longer than a block, on its own. */
static int write_long(struct bki_line_sink *sink, struct bki_entry *entry, size_t *partial)
{
    size_t len = bk_msg_len(entry->msg), n;
    int r = bki_bytes_write(&sink->bytes, bk_msg_data(entry->msg), len, partial);
    if (r < 0)
        return r;
    r = bki_bytes_write(&sink->bytes, "\n", 1, &n);
    *partial = r < 0 ? len : 0;
    return r;
}

int bki_line_sink_write(struct bki_line_sink *sink, struct bki_batch *batch, size_t *partial)
{
    *partial = 0;
    if (!sink->block && !(sink->block = bki_alloc(BKI_LINE_BLOCK)))
        return bk_fail(-ENOMEM, "no memory to write with");
    for (size_t i = 0; i < batch->n;) {
        size_t len, done;
        size_t to = fill_block(sink, batch, i, &len);
        if (to == i) {
            int r = write_long(sink, &batch->entries[i], partial);
            if (r < 0)
                return r;
            batch->n_done = ++i;
            continue;
        }
        int r = bki_bytes_write(&sink->bytes, sink->block, len, &done);
        if (r < 0) {
            batch->n_done = whole_lines(batch, i, to, done, partial);
            return r;
        }
        batch->n_done = i = to;
    }
    return 0;
}
