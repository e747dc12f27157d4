/* SPDX-License-Identifier: MIT
 * A listener's inside. */
#ifndef BECK_SRC_NET_LISTENER_H
#define BECK_SRC_NET_LISTENER_H

#include <beck/server.h>

#include "net/stream.h"
#include "net/unix_file.h"

struct bk_listener {
    struct bki_fd fd;
    struct bk_loop *loop;
    struct bki_op op;
    struct bk_stream *spare; /* made ahead, so that an accepted connection always has a home; with
                              * a descriptor: accepted, and lacking what else it needs */
    struct bk_tls *tls;
    bk_listen_opts opts;
    struct bk_server *server; /* whose it is; NULL: nobody's but the program's */
    bool listens;
    bool accepting; /* a task is in bk_accept */
    bool starved;   /* it has said that it waits for descriptors or memory */
    char *address;  /* text of what is bound */
    struct bki_unix_file file;
};

/* One without a socket yet; bk_listener_close it.  opts may be NULL.  -ENOMEM. */
int bki_listener_new(struct bk_listener **out, const bk_listen_opts *opts);

/* Gives it a socket bound to address, which does not listen yet.  v6only: an IPv6 socket takes no
 * IPv4.  0, or -errno without a detail. */
int bki_listener_bind(struct bk_listener *l, const struct bki_address *address, bool v6only);

/* "fd:3": a socket that listens already, which becomes the listener's.  0, or -errno without a
 * detail, and then it stays whose it was. */
int bki_fd_address(const char *text); /* the 3, or -1 when text is not of this form */
int bki_listener_adopt(struct bk_listener *l, const char *text);

/* From now on the kernel takes connections.  0, or an error with its detail. */
int bki_listener_start(struct bk_listener *l);

#endif
