/* SPDX-License-Identifier: MIT
 * Channels: bounded queues of messages between threads, with and without a loop. */
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <beck/channel.h>

#include "base/alloc.h"
#include "rt/ring.h"
#include "rt/sync.h"

#define DEFAULT_LIMIT 64

/* How often a waiter looks again before it sleeps: a microsecond or two, where sleeping and being
 * woken cost five or more.  Not longer: the one it waits for may need this processor. */
#define LOOKS 50

/* One mutex guards the ring and both lines.  Receivers wait only while the ring is empty, senders
 * only while it is full, and a message goes straight to the longest waiter, so nobody is woken in
 * vain. */
struct bk_channel {
    pthread_mutex_t mutex;
    struct bki_ring ring;
    size_t limit;
    bool closed;
    struct bki_list senders, receivers;
    atomic_uint n_users; /* bk_channel_ref and bk_channel_free */
    atomic_uint n_refs;  /* memory: one for all users, one for each call that waits */
    char name[BKI_NAME_MAX];
};

/* A call that waits; lives in its frame.  Leaving the line, under the mutex, settles it: msg and
 * result are final.  The waker then lets it go without the mutex.  A thread sleeps on `state`
 * itself.  A task is woken by a post to its loop, and once it has said that it is asleep it must
 * not leave the frame before that post has arrived. */
enum { AWAKE, ASLEEP, FREE_TO_GO };

struct waiter {
    struct bki_list link;
    bk_msg *msg; /* offered by a sender, handed to a receiver */
    int result;
    atomic_uint state;
    bk_task *task; /* NULL: a thread without a loop */
    struct bki_post post;
    bool arrived;
};

static void describe_channel(const void *object, char *buf, size_t size)
{
    struct bk_channel *channel = (struct bk_channel *)(uintptr_t)object;
    char name[BKI_QUOTED_MAX];
    pthread_mutex_lock(&channel->mutex);
    size_t len = bki_ring_len(&channel->ring);
    pthread_mutex_unlock(&channel->mutex);
    snprintf(buf, size, "%s(%zu of %zu)", bki_name_quoted(channel->name, name), len,
             channel->limit);
}

static const struct bki_wait_kind send_kind = {
    .what = "channel send", .describe = describe_channel, .external = true};
static const struct bki_wait_kind recv_kind = {
    .what = "channel receive", .describe = describe_channel, .external = true};

/* ---- Life ---- */

int bk_channel_new(bk_channel **out, const bk_channel_opts *opts)
{
    struct bk_channel *channel = bki_zalloc(sizeof *channel);
    if (!channel)
        return bk_fail(-ENOMEM, "no memory for a channel");
    channel->limit = opts && opts->limit ? opts->limit : DEFAULT_LIMIT;
    if (bki_ring_init(&channel->ring, channel->limit) < 0) {
        bki_free(channel);
        return bk_fail(-ENOMEM, "no memory for a channel");
    }
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    /* It is held for a few instructions only: worth a short spin. */
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&channel->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    bki_list_init(&channel->senders);
    bki_list_init(&channel->receivers);
    atomic_init(&channel->n_users, 1);
    atomic_init(&channel->n_refs, 1);
    bki_name_set(channel->name, opts ? opts->name : NULL);
    *out = channel;
    return 0;
}

bk_channel *bk_channel_ref(bk_channel *channel)
{
    atomic_fetch_add_explicit(&channel->n_users, 1, memory_order_relaxed);
    return channel;
}

static void unref(struct bk_channel *channel)
{
    if (atomic_fetch_sub(&channel->n_refs, 1) > 1)
        return;
    while (bki_ring_len(&channel->ring) > 0) {
        bk_msg *msg = bki_ring_pop(&channel->ring);
        bk_msg_free(&msg);
    }
    bki_ring_free(&channel->ring);
    pthread_mutex_destroy(&channel->mutex);
    bki_free(channel);
}

void bk_channel_free(bk_channel **channel)
{
    struct bk_channel *c = *channel;
    *channel = NULL;
    if (!c || atomic_fetch_sub(&c->n_users, 1) > 1)
        return;
    bk_channel_close(c);
    unref(c);
}

/* ---- Waiting and being woken ---- */

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Under the mutex: settles the call of the first in line.  NULL when nobody waits. */
static struct waiter *settle_first(struct bki_list *line, int result)
{
    struct bki_list *first = bki_list_pop(line);
    if (!first)
        return NULL;
    struct waiter *w = bki_container(first, struct waiter, link);
    w->result = result;
    return w;
}

static void arrive(struct bki_post *post, struct bk_loop *loop)
{
    (void)loop;
    struct waiter *w = bki_container(post, struct waiter, post);
    w->arrived = true;
    bki_wake(w->task);
}

/* Lets a settled waiter go (NULL: nothing to do).  It may have left its frame as soon as the word
 * is set, unless it is a task asleep; a futex wake-up then meets an address where nobody sleeps. */
static void let_go(struct waiter *w)
{
    if (!w)
        return;
    bool is_task = w->task != NULL;
    if (atomic_exchange(&w->state, FREE_TO_GO) != ASLEEP)
        return;
    if (is_task)
        bki_inbox_post(w->task->loop, &w->post);
    else
        futex_wake(&w->state);
}

/* True when it was let go before it had to sleep; else it is announced as asleep.  A task does not
 * keep others waiting that could run. */
static bool look_again(struct waiter *w)
{
    int n = w->task && w->task->loop->ready_head ? 0 : LOOKS;
    for (int i = 0; i < n; i++) {
        if (atomic_load_explicit(&w->state, memory_order_relaxed) == FREE_TO_GO)
            break;
        pause_briefly();
    }
    unsigned awake = AWAKE;
    return !atomic_compare_exchange_strong(&w->state, &awake, ASLEEP);
}

static void wait_thread(struct waiter *w)
{
    while (atomic_load(&w->state) != FREE_TO_GO)
        futex_wait(&w->state, ASLEEP);
}

/* A cancel takes the waiter out of the line, unless another thread was first: then its post is on
 * the way and the call has done what it was asked. */
static void wait_task(struct bk_channel *channel, struct waiter *w,
                      const struct bki_wait_kind *kind)
{
    struct bki_cancel_told told = bki_cancel_told_save();
    while (!w->arrived) {
        if (bki_park(kind, channel) == 0 || w->arrived)
            continue;
        pthread_mutex_lock(&channel->mutex);
        bool settled = !bki_list_linked(&w->link);
        if (!settled)
            bki_list_remove(&w->link);
        pthread_mutex_unlock(&channel->mutex);
        if (!settled) {
            w->result = -ECANCELED;
            return;
        }
    }
    bki_cancel_told_restore(told); /* whatever woke us, the caller is not told of a cancel */
}

/* Joins the line, lets the mutex go and waits.  Returns the call's result. */
static int wait_in_line(struct bk_channel *channel, struct bki_list *line, struct waiter *w,
                        const struct bki_wait_kind *kind)
{
    w->post.run = arrive;
    w->task = bki_in_task() ? bki_self() : NULL;
    bki_list_push_back(line, &w->link);
    atomic_fetch_add(&channel->n_refs, 1);
    pthread_mutex_unlock(&channel->mutex);
    if (!look_again(w)) {
        if (w->task)
            wait_task(channel, w, kind);
        else
            wait_thread(w);
    }
    unref(channel);
    return w->result;
}

static int check_cancel(void)
{
    return bki_has_loop() ? bki_check_cancel() : 0; /* a thread without a loop may block */
}

/* ---- Send and receive ---- */

/* Under the mutex; *waiter: whom to let go afterwards.  0, -EAGAIN when full, or an error. */
static int send_now(struct bk_channel *channel, bk_msg *msg, struct waiter **waiter)
{
    if (channel->closed)
        return -BK_ECLOSED;
    *waiter = settle_first(&channel->receivers, 1);
    if (*waiter) {
        (*waiter)->msg = msg;
        return 0;
    }
    size_t len = bki_ring_len(&channel->ring);
    if (len >= channel->limit)
        return -EAGAIN;
    if (len == bki_ring_capacity(&channel->ring) && bki_ring_grow(&channel->ring) < 0)
        return bk_fail(-ENOMEM, "no memory for more than %zu messages in a channel", len);
    bki_ring_push(&channel->ring, msg);
    return 0;
}

static int send_msg(struct bk_channel *channel, bk_msg **msg, bool may_wait)
{
    struct waiter *receiver = NULL;
    if (!*msg)
        return bk_fail(-EINVAL, "no message to send");
    pthread_mutex_lock(&channel->mutex);
    int r = send_now(channel, *msg, &receiver);
    if (r == -EAGAIN && may_wait) {
        struct waiter w = {.msg = *msg};
        r = wait_in_line(channel, &channel->senders, &w, &send_kind);
    } else {
        pthread_mutex_unlock(&channel->mutex);
        let_go(receiver);
    }
    if (r == 0)
        *msg = NULL;
    return r == -BK_ECLOSED ? bk_fail(r, "the channel is closed") : r;
}

int bk_channel_send(bk_channel *channel, bk_msg **msg)
{
    int r = check_cancel();
    return r < 0 ? r : send_msg(channel, msg, true);
}

int bk_channel_try_send(bk_channel *channel, bk_msg **msg)
{
    return send_msg(channel, msg, false);
}

/* Under the mutex; *waiter: whom to let go afterwards.  1, 0 when closed, or -EAGAIN when empty. */
static int recv_now(struct bk_channel *channel, bk_msg **msg, struct waiter **waiter)
{
    if (bki_ring_len(&channel->ring) == 0)
        return channel->closed ? 0 : -EAGAIN;
    *msg = bki_ring_pop(&channel->ring);
    *waiter = settle_first(&channel->senders, 0);
    if (*waiter)
        bki_ring_push(&channel->ring, (*waiter)->msg);
    return 1;
}

static int recv_msg(struct bk_channel *channel, bk_msg **msg, bool may_wait)
{
    struct waiter *sender = NULL;
    pthread_mutex_lock(&channel->mutex);
    int r = recv_now(channel, msg, &sender);
    if (r == -EAGAIN && may_wait) {
        struct waiter w = {0};
        r = wait_in_line(channel, &channel->receivers, &w, &recv_kind);
        if (r == 1)
            *msg = w.msg;
    } else {
        pthread_mutex_unlock(&channel->mutex);
        let_go(sender);
    }
    return r;
}

int bk_channel_recv(bk_channel *channel, bk_msg **msg)
{
    int r = check_cancel();
    return r < 0 ? r : recv_msg(channel, msg, true);
}

int bk_channel_try_recv(bk_channel *channel, bk_msg **msg)
{
    return recv_msg(channel, msg, false);
}

void bk_channel_close(bk_channel *channel)
{
    struct waiter *w;
    pthread_mutex_lock(&channel->mutex);
    channel->closed = true;
    while ((w = settle_first(&channel->senders, -BK_ECLOSED)))
        let_go(w);
    while ((w = settle_first(&channel->receivers, 0))) /* they waited, so it is empty */
        let_go(w);
    pthread_mutex_unlock(&channel->mutex);
}
