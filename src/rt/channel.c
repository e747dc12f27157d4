/* SPDX-License-Identifier: MIT
 * Channels: bounded queues of messages between threads, with and without a loop. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/channel.h"

#define DEFAULT_LIMIT 64

/* How often a waiter looks again before it sleeps: a microsecond or two, where sleeping and being
 * woken cost five or more.  Not longer: the one it waits for may need this processor. */
#define LOOKS 50

static void describe_channel(const void *object, char *buf, size_t size)
{
    struct bk_channel *channel = (struct bk_channel *)(uintptr_t)object;
    char name[BKI_QUOTED_MAX];
    pthread_mutex_lock(&channel->mutex);
    size_t len = bki_ring_len(&channel->ring);
    pthread_mutex_unlock(&channel->mutex);
    bki_name_quoted(channel->name, name);
    if (channel->limit == 0)
        snprintf(buf, size, "%s(a rendezvous)", name);
    else
        snprintf(buf, size, "%s(%zu of %zu)", name, len, channel->limit);
}

#define ABOUT_CHANNEL                                                                              \
    .describe = describe_channel, .external = true, .about = "%n(%r%l)",                           \
    .at = {offsetof(struct bk_channel, name), offsetof(struct bk_channel, ring), 0,                \
           offsetof(struct bk_channel, limit)}

const struct bki_wait_kind bki_channel_send_kind = {.what = "channel send", ABOUT_CHANNEL};
const struct bki_wait_kind bki_channel_recv_kind = {.what = "channel receive", ABOUT_CHANNEL};

/* ---- Life ---- */

int bk_channel_new(bk_channel **out, const bk_channel_opts *opts)
{
    static const bk_channel_opts defaults;
    if (!opts)
        opts = &defaults;
    if (opts->rendezvous && opts->limit)
        return bk_fail(-EINVAL, "a rendezvous holds nothing, and has no limit");
    struct bk_channel *channel = bki_zalloc(sizeof *channel);
    if (!channel)
        return bk_fail(-ENOMEM, "no memory for a channel");
    channel->limit = opts->rendezvous ? 0 : opts->limit ? opts->limit : DEFAULT_LIMIT;
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
    bki_name_set(channel->name, opts->name);
    *out = channel;
    return 0;
}

bk_channel *bk_channel_ref(bk_channel *channel)
{
    atomic_fetch_add_explicit(&channel->n_users, 1, memory_order_relaxed);
    return channel;
}

void bki_channel_unref(struct bk_channel *channel)
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
    bki_channel_unref(c);
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

/* A cancel has woken its task, which has yet to run and leave the line.  Only of this loop's tasks
 * can that be seen. */
static bool is_leaving(const struct bki_channel_waiter *w)
{
    return w->task && w->task->loop == bki_loop && w->task->state == BKI_READY;
}

static struct bki_channel_waiter *settle(struct bki_list *line, int result, bool all)
{
    struct bki_list *next;
    for (struct bki_list *n = bki_list_first(line); n; n = next) {
        struct bki_channel_waiter *w = bki_container(n, struct bki_channel_waiter, link);
        next = bki_list_next(line, n);
        if (!all && is_leaving(w))
            continue;
        bki_list_remove(n);
        if (w->select && !bki_select_claim(w->select, w))
            continue; /* something else has ended that select */
        w->result = result;
        return w;
    }
    return NULL;
}

struct bki_channel_waiter *bki_channel_settle(struct bki_list *line, int result)
{
    return settle(line, result, false);
}

void bki_channel_arrive(struct bki_post *post, struct bk_loop *loop)
{
    (void)loop;
    struct bki_channel_waiter *w = bki_container(post, struct bki_channel_waiter, post);
    w->arrived = true;
    bki_wake(w->task);
}

/* The waiter may have left its frame as soon as the word
 * is set, unless it is a task asleep; a futex wake-up then meets an address where nobody sleeps. */
void bki_channel_let_go(struct bki_channel_waiter *w)
{
    if (!w)
        return;
    bool is_task = w->task != NULL;
    if (atomic_exchange(&w->state, BKI_FREE_TO_GO) != BKI_ASLEEP)
        return;
    if (!is_task)
        futex_wake(&w->state);
    else if (w->task->loop == bki_loop)
        bki_channel_arrive(&w->post, bki_loop); /* a task of ours need not wait for the inbox */
    else
        bki_inbox_post(w->task->loop, &w->post);
}

/* True when it was let go before it had to sleep; else it is announced as asleep.  A task does not
 * keep others waiting that could run. */
static bool look_again(struct bki_channel_waiter *w)
{
    int n = w->task && w->task->loop->ready_head ? 0 : LOOKS;
    for (int i = 0; i < n; i++) {
        if (atomic_load_explicit(&w->state, memory_order_relaxed) == BKI_FREE_TO_GO)
            break;
        pause_briefly();
    }
    unsigned awake = BKI_AWAKE;
    return !atomic_compare_exchange_strong(&w->state, &awake, BKI_ASLEEP);
}

static void wait_thread(struct bki_channel_waiter *w)
{
    while (atomic_load(&w->state) != BKI_FREE_TO_GO)
        futex_wait(&w->state, BKI_ASLEEP);
}

/* A cancel takes the waiter out of the line, unless another thread was first: then its post is on
 * the way and the call has done what it was asked. */
static void wait_task(struct bk_channel *channel, struct bki_channel_waiter *w,
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
static int wait_in_line(struct bk_channel *channel, struct bki_list *line,
                        struct bki_channel_waiter *w, const struct bki_wait_kind *kind)
{
    w->post.run = bki_channel_arrive;
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
    bki_channel_unref(channel);
    return w->result;
}

static int check_cancel(void)
{
    return bki_has_loop() ? bki_check_cancel() : 0; /* a thread without a loop may block */
}

/* ---- Send and receive ---- */

int bki_channel_send_now(struct bk_channel *channel, bk_msg *msg,
                         struct bki_channel_waiter **waiter)
{
    if (channel->closed)
        return channel->broken ? -EPIPE : -BK_ECLOSED;
    *waiter = bki_channel_settle(&channel->receivers, 1);
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

int bki_channel_said(int r)
{
    if (r == -EPIPE)
        return bk_fail(r, "nobody receives from the channel any more");
    return r == -BK_ECLOSED ? bk_fail(r, "the channel is closed") : r;
}

static int send_msg(struct bk_channel *channel, bk_msg **msg, bool may_wait)
{
    struct bki_channel_waiter *receiver = NULL;
    if (!*msg)
        return bk_fail(-EINVAL, "no message to send");
    pthread_mutex_lock(&channel->mutex);
    int r = bki_channel_send_now(channel, *msg, &receiver);
    if (r == -EAGAIN && may_wait) {
        struct bki_channel_waiter w = {.msg = *msg};
        r = wait_in_line(channel, &channel->senders, &w, &bki_channel_send_kind);
    } else {
        pthread_mutex_unlock(&channel->mutex);
        bki_channel_let_go(receiver);
    }
    if (r == 0)
        *msg = NULL;
    return bki_channel_said(r);
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

int bki_channel_recv_now(struct bk_channel *channel, bk_msg **msg,
                         struct bki_channel_waiter **waiter)
{
    if (bki_ring_len(&channel->ring) == 0) {
        /* Senders wait at an empty channel only when it is a rendezvous. */
        *waiter = bki_channel_settle(&channel->senders, 0);
        if (!*waiter)
            return channel->closed ? 0 : -EAGAIN;
        *msg = (*waiter)->msg;
        return 1;
    }
    *msg = bki_ring_pop(&channel->ring);
    *waiter = bki_channel_settle(&channel->senders, 0);
    if (*waiter)
        bki_ring_push(&channel->ring, (*waiter)->msg);
    return 1;
}

static int recv_msg(struct bk_channel *channel, bk_msg **msg, bool may_wait)
{
    struct bki_channel_waiter *sender = NULL;
    pthread_mutex_lock(&channel->mutex);
    int r = bki_channel_recv_now(channel, msg, &sender);
    if (r == -EAGAIN && may_wait) {
        struct bki_channel_waiter w = {0};
        r = wait_in_line(channel, &channel->receivers, &w, &bki_channel_recv_kind);
        if (r == 1)
            *msg = w.msg;
    } else {
        pthread_mutex_unlock(&channel->mutex);
        bki_channel_let_go(sender);
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

void bki_channel_end(struct bk_channel *channel, bool broken)
{
    struct bki_channel_waiter *w;
    pthread_mutex_lock(&channel->mutex);
    channel->broken = channel->broken || (broken && !channel->closed);
    channel->closed = true;
    while ((w = settle(&channel->senders, broken ? -EPIPE : -BK_ECLOSED, true)))
        bki_channel_let_go(w);
    while ((w = settle(&channel->receivers, 0, true))) /* they waited, so it is empty */
        bki_channel_let_go(w);
    pthread_mutex_unlock(&channel->mutex);
}

void bk_channel_close(bk_channel *channel)
{
    bki_channel_end(channel, false);
}
