/* SPDX-License-Identifier: MIT
 * A bounded channel of messages between threads: tasks of any loop, and threads without one. */
#ifndef BECK_CHANNEL_H
#define BECK_CHANNEL_H

#include <beck/msg.h>

BK_BEGIN_DECLS

typedef struct bk_channel bk_channel;

typedef struct bk_channel_opts {
    size_t limit;     /* most messages held; default 64 */
    const char *name; /* for bk_dump; copied, cut at 31 bytes */
} bk_channel_opts;

/* Makes a channel with one reference; bk_channel_ref adds one for another holder, bk_channel_free
 * gives one back.  The last one closes it and frees the messages left inside. */
BK_API int bk_channel_new(bk_channel **out, const bk_channel_opts *opts);
BK_API bk_channel *bk_channel_ref(bk_channel *channel);
BK_API void bk_channel_free(bk_channel **channel);

/* Sends *msg and empties it.  While the channel is full, a task suspends and a plain thread blocks.
 * Returns 0; on failure *msg is still yours: -BK_ECLOSED; -ECANCELED (tasks); -EINVAL when *msg is
 * NULL; -ENOMEM, only with a limit over 1,024.  Any thread. */
BK_API int bk_channel_send(bk_channel *channel, bk_msg **msg);
/* -EAGAIN when full.  Neither suspends nor blocks. */
BK_API int bk_channel_try_send(bk_channel *channel, bk_msg **msg);

/* Receives the oldest message.  While the channel is empty, a task suspends and a plain thread
 * blocks.  Returns 1 and *msg (NULL on entry); 0 when closed and drained; -ECANCELED (tasks),
 * nothing taken.  Any thread. */
BK_API int bk_channel_recv(bk_channel *channel, bk_msg **msg);
/* -EAGAIN when empty. */
BK_API int bk_channel_try_recv(bk_channel *channel, bk_msg **msg);

/* No more sends; what is inside can still be received.  Idempotent, any thread. */
BK_API void bk_channel_close(bk_channel *channel);

BK_END_DECLS
#endif
