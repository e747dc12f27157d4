/* SPDX-License-Identifier: MIT
 * Messages: an owned run of bytes that moves between tasks, threads and flows without being copied.
 *
 * A `bk_msg **` parameter shows ownership moving: new and recv fill it, put and send empty it when
 * they succeed and leave it alone when they fail, bk_msg_free empties it always. */
#ifndef BECK_MSG_H
#define BECK_MSG_H

#include <beck/base.h>

BK_BEGIN_DECLS

typedef struct bk_msg bk_msg;

/* Makes a message of len bytes, uninitialised; write them through bk_msg_data.
 * out: NULL on entry, yours after.  Errors: -ENOMEM.  Any thread; never suspends. */
BK_API int bk_msg_new(bk_msg **out, size_t len);

/* Makes a message holding a copy of data[0..len).  Otherwise as bk_msg_new. */
BK_API int bk_msg_copy(bk_msg **out, const void *data, size_t len);

/* Makes a message that shares bytes [offset, offset+len) of msg without copying; the storage lives
 * until the last of both is freed, on whichever threads.  It has msg's kind.  From now on treat the
 * bytes of both as read-only.
 * Errors: -EINVAL when the range lies outside msg, -ENOMEM.  msg: borrowed; any thread. */
BK_API int bk_msg_slice(bk_msg **out, bk_msg *msg, size_t offset, size_t len);

/* The same for all of msg: one more holder of one message, to send it to several. */
BK_API int bk_msg_share(bk_msg **out, bk_msg *msg);

/* The bytes, not NUL-terminated; valid while msg is.  Write to them only in a message
 * you made and never sliced. */
BK_API char *bk_msg_data(bk_msg *msg);
BK_API size_t bk_msg_len(const bk_msg *msg);
BK_API bk_span bk_msg_span(const bk_msg *msg);

/* Drops bytes from the end: len becomes new_len, which must not be more than it was (-EINVAL). */
BK_API int bk_msg_truncate(bk_msg *msg, size_t new_len);

/* Frees *msg (NULL is fine) and sets it to NULL.  Any thread, also another than made it. */
BK_API void bk_msg_free(bk_msg **msg);

/* What the bytes are, for protocols that tell text from binary (WebSocket).  BK_TEXT by default. */
enum bk_msg_kind { BK_TEXT, BK_BINARY };
BK_API enum bk_msg_kind bk_msg_kind_get(const bk_msg *msg);
BK_API void bk_msg_kind_set(bk_msg *msg, enum bk_msg_kind kind);

BK_END_DECLS
#endif
