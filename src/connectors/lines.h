/* SPDX-License-Identifier: MIT
 * Lines out of bytes: the part that file:, - and exec: have in common as sources.
 *
 * A line is what stands before a "\n", any "\r" included: items are the input's bytes.  A last line
 * without "\n" counts.  Lines may be paced by a time in them: each is held back until as much time
 * has passed since the first one as its own time says, divided by a speed. */
#ifndef BECK_SRC_CONNECTORS_LINES_H
#define BECK_SRC_CONNECTORS_LINES_H

#include "base/buf.h"
#include "connectors/connector.h"

/* What a read function returns, besides counts and errors, when the bytes before and those after do
 * not belong together: what is left of the former is a line of its own. */
#define BKI_LINES_BREAK (-BK_EINCOMPLETE)
/* ...and when what is left is worth nothing. */
#define BKI_LINES_DROP (-ESTALE)

struct bki_lines {
    ssize_t (*read)(void *ctx, char *buf, size_t len); /* 0 at the end */
    void *ctx;
    struct bki_buf buf;
    size_t scanned;  /* bytes of buf known to hold no "\n" */
    size_t line_len; /* of the line at the front, with its "\n"; 0: not found yet */
    bool at_break;   /* what buf holds is a line although it has no "\n" */
    bool ended;
    bool draining; /* read no more; the lines that are here still come, without pace */
    size_t max_line;
    char *pace; /* the field that holds the time; NULL: as fast as it goes */
    double speed;
    bool paced; /* the first time has been seen */
    double first_ms;
    bk_time start;
};

/* Options that a source of lines understands, for its list: BKI_LINES_OPTIONS, NULL. */
#define BKI_LINES_OPTIONS "pace", "speed", "max"

/* Reads the options.  0, -BK_EURL, -ENOMEM.  Free with bki_lines_free in every case. */
int bki_lines_init(struct bki_lines *lines, const struct bki_target *target);
void bki_lines_free(struct bki_lines *lines);

/* The next line as a message: 1, 0, or an error; after -ECANCELED nothing is lost. */
int bki_lines_next(struct bki_lines *lines, bk_msg **msg);

/* A time in milliseconds since 1970: a number of milliseconds, or text as in
 * "2018-01-31T01:49:59.650Z".  False when it is neither. */
bool bki_time_parse(bk_span text, bool quoted, double *ms);

#endif
