/* SPDX-License-Identifier: MIT
 * A listener's inside. */
#ifndef BECK_SRC_NET_LISTENER_H
#define BECK_SRC_NET_LISTENER_H

#include <beck/server.h>

#include "net/stream.h"

struct bk_listener {
    struct bki_fd fd;
    struct bk_loop *loop;
    struct bki_op op;
    struct bk_stream *spare; /* made ahead, so that an accepted connection always has a home; with
                              * a descriptor: accepted, and lacking what else it needs */
    struct bk_tls *tls;
    bk_stream_opts stream_opts;
    bool accepting; /* a task is in bk_accept */
    char *address;  /* text of what is bound */
    char *path;     /* of a Unix socket file that is ours to remove; NULL: none */
    dev_t dev;      /* which file that is */
    ino_t ino;
};

#endif
