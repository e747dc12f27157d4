/* SPDX-License-Identifier: MIT
 * A bounded channel of messages between threads: tasks of any loop, and threads without one.
 *
 * Tasks of one loop that are cancelled while they wait are passed over, as with the objects of
 * <beck/sync.h>.  Between threads there is no order of a cancel and a message of the same moment: a
 * call whose message has moved says so, and a cancel that came meanwhile shows at its task's next
 * call. */
#ifndef BECK_CHANNEL_H
#define BECK_CHANNEL_H

#include <beck/msg.h>

BK_BEGIN_DECLS

typedef struct bk_channel bk_channel;

typedef struct bk_channel_opts {
    size_t limit;     /* most messages held; default 64 */
    const char *name; /* for bk_dump; copied, cut at 31 bytes */
    /* Holds nothing: a send ends when its message is received.  limit is 0 then. */
    bool rendezvous;
} bk_channel_opts;

/* Makes a channel with one reference; bk_channel_ref adds one for another holder, bk_channel_free
 * gives one back.  The last one closes it and frees the messages left inside.
 * Errors: -ENOMEM; -EINVAL for a rendezvous with a limit. */
BK_API int bk_channel_new(bk_channel **out, const bk_channel_opts *opts);
BK_API bk_channel *bk_channel_ref(bk_channel *channel);
BK_API void bk_channel_free(bk_channel **channel);

/* Sends *msg and empties it.  While the channel is full, a task suspends and a plain thread blocks.
 * Returns 0; on failure *msg is still yours: -BK_ECLOSED; -EPIPE when nobody can receive it any
 * more (bk_channel_open); -ECANCELED (tasks); -EINVAL when *msg is NULL; -ENOMEM, only with a limit
 * over 1,024.  Any thread. */
BK_API int bk_channel_send(bk_channel *channel, bk_msg **msg);
/* -EAGAIN when full.  Neither suspends nor blocks. */
BK_API int bk_channel_try_send(bk_channel *channel, bk_msg **msg);

/* Receives the oldest message.  While the channel is empty, a task suspends and a plain thread
 * blocks.  Returns 1 and *msg (NULL on entry); 0 when closed and drained; -ECANCELED (tasks),
 * nothing taken.  Any thread. */
BK_API int bk_channel_recv(bk_channel *channel, bk_msg **msg);
/* -EAGAIN when empty.  Neither suspends nor blocks. */
BK_API int bk_channel_try_recv(bk_channel *channel, bk_msg **msg);

/* No more sends; what is inside can still be received.  Idempotent, any thread. */
BK_API void bk_channel_close(bk_channel *channel);

/* ---- Ends: a channel that knows when a side has gone ---- */

typedef struct bk_sender bk_sender;
typedef struct bk_receiver bk_receiver;

/* Makes a channel with one end for sending and one for receiving; further ones by ref, for other
 * holders.  When the last sender is freed the channel is closed: receivers take what is inside and
 * then get 0.  When the last receiver is freed sends fail with -EPIPE, waiting ones at once.
 * Errors as bk_channel_new.  Any thread, like all that follows. */
BK_API int bk_channel_open(bk_sender **sender, bk_receiver **receiver, const bk_channel_opts *opts);
/* Returns its argument. */
BK_API bk_sender *bk_sender_ref(bk_sender *sender);
BK_API bk_receiver *bk_receiver_ref(bk_receiver *receiver);
/* Empties its argument; NULL is fine. */
BK_API void bk_sender_free(bk_sender **sender);
BK_API void bk_receiver_free(bk_receiver **receiver);
/* The channel, borrowed, for bk_channel_send and bk_channel_recv, and for bk_select. */
BK_API bk_channel *bk_sender_channel(bk_sender *sender);
BK_API bk_channel *bk_receiver_channel(bk_receiver *receiver);

BK_END_DECLS
#endif
