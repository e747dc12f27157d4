/* SPDX-License-Identifier: MIT
 * Channels: bounded queues of messages between threads, with and without a loop. */
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/channel.h"
#include "rt/ring.h"
#include "rt/select.h"

#define DEFAULT_LIMIT 64

/* How often who waits in line looks again before it sleeps: a microsecond or two, where sleeping
 * and being woken cost five or more.  Not longer: the one it waits for may need this processor. */
#define LOOKS 50

/* How often a call looks whether the other side goes on, which runs on another processor, and how
 * many pauses lie between two looks: some six microseconds in all, what it costs to sleep and to be
 * woken.  Looking more often would take the cache line away from that side again and again, and
 * find one message where it finds ten. */
#define ROUNDS 16
#define PAUSES 16

/* ---- The ring ---- */

void bki_channel_lock(void *channel)
{
    pthread_mutex_lock(&((struct bk_channel *)channel)->in.mutex);
    pthread_mutex_lock(&((struct bk_channel *)channel)->out.mutex);
}

void bki_channel_unlock(void *channel)
{
    pthread_mutex_unlock(&((struct bk_channel *)channel)->out.mutex);
    pthread_mutex_unlock(&((struct bk_channel *)channel)->in.mutex);
}

/* Under the side's mutex. */
static size_t own(const struct bki_channel_side *side)
{
    return atomic_load_explicit(&side->n, memory_order_relaxed);
}

static size_t others(const struct bki_channel_side *side)
{
    return atomic_load_explicit(&side->n, memory_order_acquire);
}

/* Under both mutexes. */
static size_t length(const struct bk_channel *channel)
{
    return own(&channel->in) - own(&channel->out);
}

/* There is a free slot.  Under the senders' mutex, which keeps the channel alive: whoever receives
 * the message and frees the channel then has to close it first, with both mutexes. */
static void push(struct bk_channel *channel, bk_msg *msg)
{
    size_t n = own(&channel->in);
    channel->slots[n & channel->mask] = msg;
    atomic_store_explicit(&channel->in.n, n + 1, memory_order_release);
}

/* It is not empty.  Under the receivers' mutex. */
static bk_msg *pop(struct bk_channel *channel)
{
    size_t n = own(&channel->out);
    bk_msg *msg = channel->slots[n & channel->mask];
    atomic_store_explicit(&channel->out.n, n + 1, memory_order_release);
    return msg;
}

static void use_slots(struct bk_channel *channel, const struct bki_ring *ring)
{
    size_t n = bki_ring_capacity(ring);
    channel->slots = ring->slots;
    channel->mask = ring->mask;
    channel->room = channel->limit < n ? channel->limit : n;
}

/* Under both mutexes. */
static int grow(struct bk_channel *channel)
{
    struct bki_ring ring = {.head = own(&channel->out),
                            .tail = own(&channel->in),
                            .slots = channel->slots,
                            .mask = channel->mask};
    int r = bki_ring_grow(&ring);
    if (r == 0)
        use_slots(channel, &ring);
    return r;
}

static void describe_channel(const void *object, char *buf, size_t size)
{
    struct bk_channel *channel = (struct bk_channel *)(uintptr_t)object;
    char name[BKI_QUOTED_MAX];
    bki_channel_lock(channel);
    size_t len = length(channel);
    bki_channel_unlock(channel);
    bki_name_quoted(channel->name, name);
    if (channel->limit == 0)
        snprintf(buf, size, "%s(a rendezvous)", name);
    else
        snprintf(buf, size, "%s(%zu of %zu)", name, len, channel->limit);
}

#define ABOUT_CHANNEL                                                                              \
    .describe = describe_channel, .external = true, .about = "%n(%d%l)",                           \
    .at = {offsetof(struct bk_channel, name), offsetof(struct bk_channel, in.n),                   \
           offsetof(struct bk_channel, out.n), offsetof(struct bk_channel, limit)}

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
    struct bki_ring ring;
    if (bki_ring_init(&ring, channel->limit) < 0) {
        bki_free(channel);
        return bk_fail(-ENOMEM, "no memory for a channel");
    }
    use_slots(channel, &ring);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    /* It is held for a few instructions only: worth a short spin. */
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&channel->in.mutex, &attr);
    pthread_mutex_init(&channel->out.mutex, &attr);
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
    while (length(channel) > 0) {
        bk_msg *msg = pop(channel);
        bk_msg_free(&msg);
    }
    bki_free(channel->slots);
    pthread_mutex_destroy(&channel->in.mutex);
    pthread_mutex_destroy(&channel->out.mutex);
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

static void pause_briefly(int n)
{
    for (int i = 0; i < n; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
}

/* A task does not keep others waiting that could run. */
static bool may_look(void)
{
    return !bki_in_task() || !bki_loop->ready_head;
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

/* True when it was let go before it had to sleep; else it is announced as asleep. */
static bool look_again(struct bki_channel_waiter *w)
{
    int n = may_look() ? LOOKS : 0;
    for (int i = 0; i < n; i++) {
        if (atomic_load_explicit(&w->state, memory_order_relaxed) == BKI_FREE_TO_GO)
            break;
        pause_briefly(1);
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
        bki_channel_lock(channel);
        bool settled = !bki_list_linked(&w->link);
        if (!settled)
            bki_list_remove(&w->link);
        bki_channel_unlock(channel);
        if (!settled) {
            w->result = -ECANCELED;
            return;
        }
    }
    bki_cancel_told_restore(told); /* whatever woke us, the caller is not told of a cancel */
}

/* Joins the line, lets the mutexes go and waits.  Returns the call's result. */
static int wait_in_line(struct bk_channel *channel, struct bki_list *line,
                        struct bki_channel_waiter *w, const struct bki_wait_kind *kind)
{
    w->post.run = bki_channel_arrive;
    w->task = bki_in_task() ? bki_self() : NULL;
    bki_list_push_back(line, &w->link);
    atomic_fetch_add(&channel->n_refs, 1);
    bki_channel_unlock(channel);
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

/* ---- With one mutex ---- */

/* Under either mutex. */
static bool takes_both(const struct bk_channel *channel)
{
    return channel->closed || channel->limit == 0 || bki_list_first(&channel->senders) ||
           bki_list_first(&channel->receivers);
}

/* True as soon as the other side has gone on from n.  Where it last ran on this processor it cannot
 * while this thread looks. */
static bool goes_on(const struct bki_channel_side *other, size_t n)
{
    bool here = atomic_load_explicit(&other->cpu, memory_order_relaxed) == sched_getcpu();
    for (int i = here || !may_look() ? ROUNDS : 0; i < ROUNDS; i++) {
        pause_briefly(PAUSES);
        if (others(other) != n)
            return true;
    }
    return false;
}

/* Under the side's mutex. */
static void look_over(struct bki_channel_side *side, const struct bki_channel_side *other)
{
    side->seen = others(other);
    atomic_store_explicit(&side->cpu, sched_getcpu(), memory_order_relaxed);
}

/* 0; -EAGAIN when full, *seen: the receivers' n then; -EBUSY: it takes both mutexes. */
static int send_alone(struct bk_channel *channel, bk_msg *msg, size_t *seen)
{
    int r = -EBUSY;
    struct bki_channel_side *in = &channel->in;
    pthread_mutex_lock(&in->mutex);
    if (!takes_both(channel)) {
        size_t n = own(in);
        if (n - in->seen >= channel->room)
            look_over(in, &channel->out);
        if (n - in->seen < channel->room) {
            push(channel, msg);
            r = 0;
        } else if (channel->room == channel->limit) {
            r = -EAGAIN;
        }
        *seen = in->seen;
    }
    pthread_mutex_unlock(&in->mutex);
    return r;
}

/* 1; -EAGAIN when empty, *seen: the senders' n then; -EBUSY: it takes both mutexes. */
static int recv_alone(struct bk_channel *channel, bk_msg **msg, size_t *seen)
{
    int r = -EBUSY;
    struct bki_channel_side *out = &channel->out;
    pthread_mutex_lock(&out->mutex);
    if (!takes_both(channel)) {
        size_t n = own(out);
        if ((ptrdiff_t)(out->seen - n) <= 0) /* less after receiving with both mutexes */
            look_over(out, &channel->in);
        if (out->seen != n) {
            *msg = pop(channel);
            r = 1;
        } else {
            r = -EAGAIN;
        }
        *seen = out->seen;
    }
    pthread_mutex_unlock(&out->mutex);
    return r;
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
    size_t len = length(channel);
    if (len >= channel->limit)
        return -EAGAIN;
    if (len == channel->room && grow(channel) < 0)
        return bk_fail(-ENOMEM, "no memory for more than %zu messages in a channel", len);
    push(channel, msg);
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
    size_t seen;
    int r = send_alone(channel, *msg, &seen);
    while (r == -EAGAIN && may_wait && goes_on(&channel->out, seen))
        r = send_alone(channel, *msg, &seen);
    if (r == 0) {
        *msg = NULL;
        return 0;
    }
    bki_channel_lock(channel);
    r = bki_channel_send_now(channel, *msg, &receiver);
    if (r == -EAGAIN && may_wait) {
        struct bki_channel_waiter w = {.msg = *msg};
        r = wait_in_line(channel, &channel->senders, &w, &bki_channel_send_kind);
    } else {
        bki_channel_unlock(channel);
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
    if (length(channel) == 0) {
        /* Senders wait at an empty channel only when it is a rendezvous. */
        *waiter = bki_channel_settle(&channel->senders, 0);
        if (!*waiter)
            return channel->closed ? 0 : -EAGAIN;
        *msg = (*waiter)->msg;
        return 1;
    }
    *msg = pop(channel);
    *waiter = bki_channel_settle(&channel->senders, 0);
    if (*waiter)
        push(channel, (*waiter)->msg);
    return 1;
}

static int recv_msg(struct bk_channel *channel, bk_msg **msg, bool may_wait)
{
    struct bki_channel_waiter *sender = NULL;
    size_t seen;
    int r = recv_alone(channel, msg, &seen);
    while (r == -EAGAIN && may_wait && goes_on(&channel->in, seen))
        r = recv_alone(channel, msg, &seen);
    if (r == 1)
        return 1;
    bki_channel_lock(channel);
    r = bki_channel_recv_now(channel, msg, &sender);
    if (r == -EAGAIN && may_wait) {
        struct bki_channel_waiter w = {0};
        r = wait_in_line(channel, &channel->receivers, &w, &bki_channel_recv_kind);
        if (r == 1)
            *msg = w.msg;
    } else {
        bki_channel_unlock(channel);
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
    bki_channel_lock(channel);
    channel->broken = channel->broken || (broken && !channel->closed);
    channel->closed = true;
    while ((w = settle(&channel->senders, broken ? -EPIPE : -BK_ECLOSED, true)))
        bki_channel_let_go(w);
    while ((w = settle(&channel->receivers, 0, true))) /* they waited, so it is empty */
        bki_channel_let_go(w);
    bki_channel_unlock(channel);
}

void bk_channel_close(bk_channel *channel)
{
    bki_channel_end(channel, false);
}
