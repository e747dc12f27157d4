/* SPDX-License-Identifier: MIT
 * Lines into bytes: the part that file:, - and exec: have in common as sinks. */
#ifndef BECK_SRC_CONNECTORS_LINE_SINK_H
#define BECK_SRC_CONNECTORS_LINE_SINK_H

#include "connectors/bytes.h"
#include "flow/connector.h"

struct bki_line_sink {
    struct bki_bytes bytes;
    char *block; /* BKI_LINE_BLOCK bytes */
};

#define BKI_LINE_BLOCK ((size_t)64 * 1024)

void bki_line_sink_init(struct bki_line_sink *sink);
void bki_line_sink_free(struct bki_line_sink *sink);

/* Writes the batch, a line for each message; settles what the kernel has taken as it goes.  0, or
 * the error of writing, batch->n_done being what is certain; *partial: how many bytes of a further
 * line may have been written. */
int bki_line_sink_write(struct bki_line_sink *sink, struct bki_batch *batch, size_t *partial);

#endif
