/* SPDX-License-Identifier: MIT
 * Connecting to the first of several addresses that answers. */
#ifndef BECK_SRC_NET_CONNECT_RACE_H
#define BECK_SRC_NET_CONNECT_RACE_H

#include "net/stream.h"

struct bki_race_opts {
    const char *name;                /* what the addresses are of, for errors */
    const struct bki_address *local; /* bind to the first of these that fits, when there are any */
    int n_local;
    bk_duration delay; /* before the next attempt, while the last one is undecided */
    bk_duration keep_alive;
    const bk_stream_opts *stream;
};

/* Puts the families in turn, beginning with that of the first address (RFC 8305 section 4). */
void bki_interleave(struct bki_address *list, int n);

/* Starts an attempt on one address after the other: when the last one failed, or has not answered
 * for a while.  The first that connects wins; the others are cancelled, waited for and closed (RFC
 * 8305 section 5).  n: at least 1.
 * Returns 0, -ECANCELED, -ENOMEM, or when all have failed the error of the last one to do so, with
 * a detail that names each. */
int bki_connect_race(bk_stream **out, const struct bki_address *list, int n,
                     const struct bki_race_opts *opts);

#endif
