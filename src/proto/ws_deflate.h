/* SPDX-License-Identifier: MIT
 * The payloads of permessage-deflate (RFC 7692 section 7.2), in pieces of any size, without I/O.
 *
 * A compressed message is DEFLATE data that ends in an empty stored block, whose last four bytes
 * are left out.  Here the last four bytes are always held back, so that a message may end after any
 * piece; and the receiver puts them back.
 *
 * Memory: a deflater takes 2^(bits+2) + 2^(mem_level+9) bytes and 6 KiB, an inflater 2^bits bytes
 * and 7 KiB.  Both come from the library's allocator; a failed call leaves nothing behind. */
#ifndef BECK_SRC_PROTO_WS_DEFLATE_H
#define BECK_SRC_PROTO_WS_DEFLATE_H

#include <beck/base.h>

#define BKI_WS_TAIL 4
#define BKI_WS_DEFLATE_ROOM ((size_t)16)

struct bki_ws_deflater;
struct bki_ws_inflater;

/* bits: 8 to 15, the peer's window.  (zlib has no window of 256 bytes for this format; its window
 * of 512 reaches back 250 at most, which is as good.)  level: 1 to 9; mem_level: 1 to 9.
 * out: NULL on entry; bki_ws_deflater_free it.  -ENOMEM. */
int bki_ws_deflater_new(struct bki_ws_deflater **out, int bits, int level, int mem_level);
void bki_ws_deflater_free(struct bki_ws_deflater **deflater);

/* Forgets what was compressed so far: the next message is compressed by itself. */
void bki_ws_deflater_reset(struct bki_ws_deflater *deflater);

/* Compresses in[0..*in_len) into out[0..out_len), out_len >= BKI_WS_DEFLATE_ROOM, a step of 64 KiB
 * at most; moves *in and *in_len past what it took.  last: the message ends with these bytes; else
 * the pieces so far are made to come out, but for the bytes held back.
 * *made: the bytes written, maybe none.  Returns true when the piece is done; else call again. */
bool bki_ws_deflate(struct bki_ws_deflater *deflater, const char **in, size_t *in_len, bool last,
                    char *out, size_t out_len, size_t *made);

/* bits: 8 to 15, as agreed for the peer.  (One that looks further back all the same is refused, or
 * understood, as it happens.)  out: NULL on entry; bki_ws_inflater_free it.  -ENOMEM. */
int bki_ws_inflater_new(struct bki_ws_inflater **out, int bits);
/* One that goes on where the other stands. */
int bki_ws_inflater_copy(struct bki_ws_inflater **out, struct bki_ws_inflater *inflater);
void bki_ws_inflater_free(struct bki_ws_inflater **inflater);

/* Decompresses in[0..*in_len) into out[0..out_len), out_len > 0; moves *in and *in_len past what it
 * took.  last: the message ends with these bytes.
 * *made: the bytes written.  Less than out_len: all input is taken, and with .last the message is
 * complete; else call again.
 * Returns 0; -BK_EFORMAT for what is not DEFLATE data, or not a whole message; -ENOMEM. */
int bki_ws_inflate(struct bki_ws_inflater *inflater, const char **in, size_t *in_len, bool last,
                   char *out, size_t out_len, size_t *made);

#endif
