/* SPDX-License-Identifier: MIT
 * Binding, for listeners and datagram sockets alike: a Unix socket's file that nobody uses any more
 * is replaced, and whoever made one removes it, unless another has taken its place. */
#ifndef BECK_SRC_NET_UNIX_FILE_H
#define BECK_SRC_NET_UNIX_FILE_H

#include "net/address.h"

/* A Unix socket's file that is ours to remove. */
struct bki_unix_file {
    char *path; /* NULL: none */
    dev_t dev;  /* which file that is */
    ino_t ino;
};

/* Binds a socket of that type (SOCK_STREAM, SOCK_DGRAM).  0 or -errno. */
int bki_bind(int fd, int type, const struct bki_address *address);

/* Notes the file of an address that was bound; nothing for one without.  0 or -ENOMEM. */
int bki_unix_file_take(struct bki_unix_file *file, const struct bki_address *address);

/* Forgets the file; remove: and removes it, if it is still the same. */
void bki_unix_file_drop(struct bki_unix_file *file, bool remove);

#endif
