/* SPDX-License-Identifier: MIT
 * The inside of a channel, for its calls (channel.c), its ends and its cases in a select. */
#ifndef BECK_SRC_RT_CHANNEL_H
#define BECK_SRC_RT_CHANNEL_H

#include <pthread.h>

#include <beck/channel.h>

#include "rt/rt.h"
#include "rt/sync.h"

/* One side's mutex and its end of the ring, in cache lines that the other side seldom touches. */
struct bki_channel_side {
    char apart[64];
    pthread_mutex_t mutex;
    atomic_size_t n; /* messages that have gone in here, or come out, since the beginning */
    size_t seen;     /* the other side's n, when this one last had to know */
    atomic_int cpu;  /* where this one ran then */
};

/* Each side has a mutex.  With its own alone a send puts a message into the ring, and a receive
 * takes one out, while nobody waits and the channel is open; all else needs both mutexes, the
 * senders' first.  So whoever holds either one knows who waits and whether it is closed.  Message i
 * lies in slots[i & mask], and in.n - out.n of them are inside.
 *
 * Receivers wait only while the ring is empty, senders only while it is full, and a message goes
 * straight to the longest waiter, so nobody is woken in vain. */
struct bk_channel {
    void **slots;
    size_t mask;  /* number of slots, less one: a power of two, see ring.h */
    size_t limit; /* 0: a rendezvous */
    size_t room;  /* for so many messages: the limit, or fewer until there are more slots */
    bool closed;
    bool broken; /* closed because the last receiver is gone */
    struct bki_list senders, receivers;
    struct bki_channel_side in, out;
    char apart[64];
    atomic_uint n_senders, n_receivers; /* ends (channel_ends.c) */
    atomic_uint n_users;                /* bk_channel_ref and bk_channel_free */
    atomic_uint n_refs; /* memory: one for all users, one for each call that waits */
    char name[BKI_NAME_MAX];
};

/* A call that waits; lives in its frame.  Leaving the line, under both mutexes, settles it: msg and
 * result are final.  The waker then lets it go without them.  A thread sleeps on `state`
 * itself.  A task is woken by a post to its loop, and once it has said that it is asleep it must
 * not leave the frame before that post has arrived. */
enum { BKI_AWAKE, BKI_ASLEEP, BKI_FREE_TO_GO };

struct bki_channel_waiter {
    struct bki_list link;
    bk_msg *msg; /* offered by a sender, handed to a receiver */
    int result;
    atomic_uint state;
    bk_task *task;             /* NULL: a thread without a loop */
    struct bki_select *select; /* it is one case of several, or NULL */
    struct bki_post post;
    bool arrived;
};

/* Under both mutexes: settles the call of the first in line that can be, passing over tasks of this
 * loop that have been cancelled and have not run since.  NULL when nobody waits. */
struct bki_channel_waiter *bki_channel_settle(struct bki_list *line, int result);
/* After that: lets a settled waiter go (NULL: nothing to do). */
void bki_channel_let_go(struct bki_channel_waiter *w);
/* What a post to a waiting task runs. */
void bki_channel_arrive(struct bki_post *post, struct bk_loop *loop);
/* Under both mutexes; *waiter: whom to let go afterwards.  Send: 0, -EAGAIN when full, or an error.
 * Receive: 1, 0 when closed, or -EAGAIN when empty. */
int bki_channel_send_now(struct bk_channel *channel, bk_msg *msg,
                         struct bki_channel_waiter **waiter);
int bki_channel_recv_now(struct bk_channel *channel, bk_msg **msg,
                         struct bki_channel_waiter **waiter);
/* A send's failure with its detail. */
int bki_channel_said(int r);
/* Closes it; broken: for the senders' part, with -EPIPE. */
void bki_channel_end(struct bk_channel *channel, bool broken);
void bki_channel_unref(struct bk_channel *channel);

extern const struct bki_wait_kind bki_channel_send_kind, bki_channel_recv_kind;

#endif
