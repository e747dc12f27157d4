/* SPDX-License-Identifier: MIT
 * Sends the head of an HTTP message. */
#ifndef BECK_SRC_PROTO_HTTP_SEND_H
#define BECK_SRC_PROTO_HTTP_SEND_H

#include <beck/stream.h>

#include "proto/http_write.h"

/* Sends what write(&w, what) makes and then `body`, as one write, from a buffer of the size it
 * turns out to need.  label: names the message in errors ("CONNECT request").
 * Returns 0; -EINVAL, saying what may not be sent; -ENOMEM; or as bk_stream_write. */
int bki_http_send(bk_stream *s, ssize_t (*write)(struct bki_http_writer *w, const void *what),
                  const void *what, bk_span body, const char *label);

#endif
