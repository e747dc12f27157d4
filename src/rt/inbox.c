/* SPDX-License-Identifier: MIT
 * Work that other threads hand to a loop, and waking it up for that. */
#include <sched.h>

#include <beck/thread.h>

#include "base/alloc.h"
#include "rt/local.h"
#include "rt/report.h"

/* A stack of posts, newest first: a push is one compare-and-swap, and the loop takes all of it with
 * one exchange and turns it round.  Once closed, head is the mark below for good.
 *
 * Closing waits for the threads that are inside bki_inbox_post at that moment (n_posting), because
 * they may be about to wake the backend that is closed next.  The inbox itself stays until
 * bki_inbox_free, so that whoever comes in between is refused. */
struct bki_inbox {
    _Atomic(struct bki_post *) head;
    atomic_uint n_posting;
    atomic_bool ending; /* the run is ending: no new tasks */
};

static struct bki_post closed_mark;

int bki_inbox_open(struct bk_loop *loop)
{
    struct bki_inbox *inbox = bki_zalloc(sizeof *inbox);
    if (!inbox)
        return bk_fail(-ENOMEM, "no memory for the loop's inbox");
    atomic_init(&inbox->head, NULL);
    atomic_init(&inbox->n_posting, 0);
    atomic_init(&inbox->ending, false);
    loop->inbox = inbox;
    return 0;
}

void bki_loop_notify(struct bk_loop *loop, unsigned flag)
{
    /* Whoever raises the flag wakes; the loop lowers it before it looks, so a later caller raises
     * it again. */
    if (!(atomic_fetch_or(&loop->inbox_flags, flag) & flag))
        loop->backend->wake(loop);
}

static bool push(struct bki_inbox *inbox, struct bki_post *post)
{
    struct bki_post *head = atomic_load_explicit(&inbox->head, memory_order_relaxed);
    do {
        if (head == &closed_mark)
            return false;
        post->next = head;
    } while (!atomic_compare_exchange_weak(&inbox->head, &head, post));
    return true;
}

int bki_inbox_post(struct bk_loop *loop, struct bki_post *post)
{
    struct bki_inbox *inbox = loop->inbox;
    atomic_fetch_add(&inbox->n_posting, 1);
    bool accepted = push(inbox, post);
    if (accepted)
        bki_loop_notify(loop, BKI_INBOX_POSTS);
    atomic_fetch_sub(&inbox->n_posting, 1);
    return accepted ? 0 : -BK_ECLOSED;
}

static struct bki_post *reverse(struct bki_post *newest)
{
    struct bki_post *oldest = NULL;
    while (newest) {
        struct bki_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void run_posts(struct bk_loop *loop, struct bki_post *newest)
{
    struct bki_post *post = reverse(newest);
    while (post) {
        struct bki_post *next = post->next;
        post->run(post, loop);
        post = next;
    }
}

void bki_inbox_run(struct bk_loop *loop)
{
    atomic_fetch_and(&loop->inbox_flags, ~BKI_INBOX_POSTS);
    run_posts(loop, atomic_exchange(&loop->inbox->head, NULL));
}

void bki_inbox_close(struct bk_loop *loop)
{
    struct bki_inbox *inbox = loop->inbox;
    if (!inbox)
        return;
    struct bki_post *last = atomic_exchange(&inbox->head, &closed_mark);
    if (last != &closed_mark)
        run_posts(loop, last);
    while (atomic_load(&inbox->n_posting) > 0)
        sched_yield();
}

void bki_inbox_forked(struct bk_loop *loop)
{
    atomic_store(&loop->inbox->ending, true);
    atomic_store(&loop->inbox->head, &closed_mark);
}

void bki_inbox_free(struct bk_loop *loop)
{
    bki_free(loop->inbox);
    loop->inbox = NULL;
}

/* ---- Tasks from other threads ---- */

struct go_post {
    struct bki_post post;
    bk_fn *fn;
    void *ctx;
    const void *site;
    struct bki_locals *locals; /* of the thread that posts it */
};

void bki_inbox_refuse_tasks(struct bk_loop *loop)
{
    atomic_store(&loop->inbox->ending, true);
}

bool bki_inbox_refuses_tasks(const struct bk_loop *loop)
{
    return atomic_load(&loop->inbox->ending);
}

static void report_not_started(int result)
{
    bk_error_report report = {
        .what = "bk_go_threadsafe could not start its task",
        .result = result,
        .detail = bk_errmsg(),
    };
    bki_report(&report);
}

static void start_posted(struct bki_post *post, struct bk_loop *loop)
{
    struct go_post *go = bki_container(post, struct go_post, post);
    struct bki_task_spec spec = {.fn = go->fn, .ctx = go->ctx, .site = go->site};
    struct bki_locals *before = bki_locals_enter(go->locals);
    bki_free(go);
    /* A task started now would be cancelled before its first step. */
    int r = loop->shutting_down ? 0 : bki_task_start(NULL, &spec);
    bki_locals_leave(before);
    if (r < 0)
        report_not_started(r);
}

int bk_go_threadsafe(bk_loop *loop, bk_fn *fn, void *ctx)
{
    if (bki_inbox_refuses_tasks(loop))
        return bk_fail(-BK_ECLOSED, "the loop is ending");
    struct go_post *go = bki_alloc(sizeof *go);
    if (!go)
        return bk_fail(-ENOMEM, "no memory to start a task in another thread's loop");
    *go = (struct go_post){
        .post.run = start_posted,
        .fn = fn,
        .ctx = ctx,
        .site = __builtin_return_address(0),
        .locals = bki_locals_share(),
    };
    int r = bki_inbox_post(loop, &go->post);
    if (r < 0) {
        bki_locals_unref(go->locals);
        bki_free(go);
    }
    return r;
}
