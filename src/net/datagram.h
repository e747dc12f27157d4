/* SPDX-License-Identifier: MIT
 * A datagram socket's inside. */
#ifndef BECK_SRC_NET_DATAGRAM_H
#define BECK_SRC_NET_DATAGRAM_H

#include <beck/datagram.h>

#include "net/unix_file.h"
#include "rt/rt.h"

struct bk_datagram {
    struct bki_fd fd;
    struct bk_loop *loop;
    sa_family_t family;
    bool ipv6_only;
    bool receiving; /* a task is in bk_datagram_recv */
    bool sending;   /* a task is sending and has to wait, or is about to; others stand in line */
    struct bki_list senders;
    size_t max_size;
    char *room; /* of max_size bytes, for the datagram to come; NULL before the first */
    char *local, *remote;
    struct bki_address peer; /* where it is connected; len 0: nowhere */
    struct bki_unix_file file;
};

_Static_assert(sizeof(((bk_address *)0)->room) >= sizeof(struct sockaddr_un), "any address fits");

static inline void bki_address_to_public(bk_address *to, const struct bki_address *from)
{
    memset(to, 0, sizeof *to);
    to->len = from->len < sizeof to->room ? from->len : sizeof to->room;
    memcpy(to->room, &from->any, to->len);
}

static inline void bki_address_from_public(struct bki_address *to, const bk_address *from)
{
    memset(to, 0, sizeof *to);
    to->len = from->len;
    memcpy(&to->any, from->room, sizeof(struct sockaddr_un));
}

#endif
