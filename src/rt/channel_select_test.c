/* SPDX-License-Identifier: MIT
 * Selects over channels, of loops on several threads against each other: each message exactly once,
 * whoever is claimed by whom, also while they are cancelled. */
#include <pthread.h>
#include <stdatomic.h>

#include <beck/group.h>
#include <beck/select.h>

#include "tests/run_helper.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EACH = 2000 };
#else
enum { EACH = 20000 };
#endif
enum { CHANNELS = 3, LOOPS = 3, TASKS = 2, SENDERS = LOOPS * TASKS };

static struct {
    bk_channel *channels[CHANNELS];
    atomic_int seen[SENDERS * EACH];
    atomic_int n_wrong, n_left; /* senders that still send */
    atomic_int next_sender;
} all;

/* Sends its numbers through whichever channel takes them. */
static int send_through_any(void *ctx)
{
    int me = atomic_fetch_add(&all.next_sender, 1), r = 0;
    (void)ctx;
    for (int i = 0; r >= 0 && i < EACH; i++) {
        bk_msg *msg = NULL;
        uint32_t n = (uint32_t)(me * EACH + i);
        if ((r = bk_msg_copy(&msg, &n, sizeof n)) < 0)
            return r;
        bk_case cases[] = {bk_case_send(all.channels[0], &msg), bk_case_send(all.channels[1], &msg),
                           bk_case_send(all.channels[2], &msg)};
        r = bk_select(cases, CHANNELS);
        if (r >= 0 && (cases[r].result != 0 || msg))
            atomic_fetch_add(&all.n_wrong, 1);
        bk_msg_free(&msg);
    }
    if (atomic_fetch_sub(&all.n_left, 1) == 1)
        for (int i = 0; i < CHANNELS; i++)
            bk_channel_close(all.channels[i]);
    return r < 0 ? r : 0;
}

static void note(bk_msg **msg)
{
    uint32_t n;
    memcpy(&n, bk_msg_data(*msg), sizeof n);
    bk_msg_free(msg);
    atomic_fetch_add(&all.seen[n], 1);
}

/* Receives from whichever has something, until all are closed. */
static int recv_from_any(void *ctx)
{
    bk_msg *msg = NULL;
    bk_case cases[CHANNELS];
    int n_open = CHANNELS;
    (void)ctx;
    for (int i = 0; i < CHANNELS; i++)
        cases[i] = bk_case_recv(all.channels[i], &msg);
    while (n_open > 0) {
        int i = bk_select(cases, CHANNELS);
        if (i < 0)
            return i;
        if (cases[i].result == 1) {
            note(&msg);
        } else {
            cases[i] = bk_case_recv(NULL, &msg);
            n_open--;
        }
    }
    return 0;
}

static int some_tasks(bk_fn *fn)
{
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    for (int i = 0; r == 0 && i < TASKS; i++)
        r = bk_group_go(group, fn, NULL, NULL);
    return bk_group_close(&group, r);
}

static int senders(void *ctx)
{
    (void)ctx;
    return some_tasks(send_through_any);
}

static int receivers(void *ctx)
{
    (void)ctx;
    return some_tasks(recv_from_any);
}

static void *loop_of(void *ctx)
{
    int r = bk_run(ctx ? senders : receivers, NULL, NULL);
    if (r != 0)
        atomic_fetch_add(&all.n_wrong, 1);
    return NULL;
}

static bool open_channels(const bk_channel_opts *opts)
{
    memset(&all, 0, sizeof all);
    bool ok = true;
    for (int i = 0; i < CHANNELS; i++)
        ok = ok && bk_channel_new(&all.channels[i], opts) == 0;
    atomic_store(&all.n_left, SENDERS);
    return ok;
}

static int not_once(void)
{
    int n = 0;
    for (int i = 0; i < SENDERS * EACH; i++)
        n += atomic_load(&all.seen[i]) != 1;
    return n;
}

static void selects_on_both_sides(const bk_channel_opts *opts)
{
    pthread_t threads[2 * LOOPS];
    CHECK(open_channels(opts));
    for (int i = 0; i < 2 * LOOPS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, loop_of, i % 2 ? &all : NULL), 0);
    for (int i = 0; i < 2 * LOOPS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(atomic_load(&all.n_wrong), 0);
    CHECK_EQ(not_once(), 0);
    for (int i = 0; i < CHANNELS; i++)
        bk_channel_free(&all.channels[i]);
}

static void N5_selects_on_both_sides(void)
{
    selects_on_both_sides(&(bk_channel_opts){.limit = 4});
}

static void C126_N5_selects_on_both_sides_of_a_rendezvous(void)
{
    selects_on_both_sides(&(bk_channel_opts){.rendezvous = true});
}

/* ---- Against cancels ---- */

static int feed(void *ctx)
{
    int r = 0;
    for (int i = 0; r == 0 && i < EACH; i++) {
        bk_msg *msg = NULL;
        uint32_t n = (uint32_t)i;
        if ((r = bk_msg_copy(&msg, &n, sizeof n)) == 0)
            r = bk_channel_send(ctx, &msg);
        bk_msg_free(&msg);
    }
    bk_channel_close(ctx);
    return r;
}

static void *feed_thread(void *ctx)
{
    if (feed(ctx) < 0)
        atomic_fetch_add(&all.n_wrong, 1);
    return NULL;
}

/* A receiver by select, cancelled again and again. */
static int cancel_selects(void *ctx)
{
    (void)ctx;
    for (;;) {
        bk_task *task = start(recv_from_any, NULL);
        for (int i = 0; i < 3 && !bk_task_done(task); i++)
            bk_yield();
        bool ended = bk_task_done(task);
        bk_task_cancel(task);
        int r = finish(&task);
        if (r == 0 && ended)
            return 0;
        if (r < 0 && r != -ECANCELED)
            return r;
    }
}

static void C120_N5_cancelled_against_sending_threads(void)
{
    pthread_t threads[CHANNELS];
    CHECK(open_channels(&(bk_channel_opts){.limit = 2}));
    for (int i = 0; i < CHANNELS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, feed_thread, all.channels[i]), 0);
    CHECK_EQ(bk_run(cancel_selects, NULL, NULL), 0);
    for (int i = 0; i < CHANNELS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(atomic_load(&all.n_wrong), 0);
    for (int i = 0; i < EACH; i++)
        CHECK_EQ(atomic_load(&all.seen[i]), CHANNELS);
    for (int i = 0; i < CHANNELS; i++)
        bk_channel_free(&all.channels[i]);
}

/* The same channel twice, and one that is sent to and received from at once. */
LOOP_TEST(one_channel_in_several_cases)
{
    bk_channel *c = NULL;
    bk_msg *in = NULL, *again = NULL, *out = NULL;
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.rendezvous = true}), 0);
    CHECK_EQ(bk_msg_copy(&out, "x", 1), 0);
    bk_case cases[] = {bk_case_recv(c, &in), bk_case_recv(c, &again), bk_case_send(c, &out),
                       bk_case_sleep(bk_ms(1))};
    CHECK_EQ(bk_select(cases, 4), 3); /* not with itself */
    CHECK(out && !in && !again);
    bk_case receive = bk_case_recv(c, &in);
    CHECK_EQ(bk_try_select(&receive, 1), -EAGAIN); /* nobody stands in line any more */
    bk_msg_free(&out);
    bk_channel_free(&c);
}

/* A thread without a loop may try. */
static void try_select_without_a_loop(void)
{
    bk_channel *c = NULL;
    bk_msg *msg = NULL, *got = NULL;
    CHECK_EQ(bk_channel_new(&c, &(bk_channel_opts){.limit = 1}), 0);
    CHECK_EQ(bk_msg_copy(&msg, "x", 1), 0);
    bk_case cases[] = {bk_case_recv(c, &got), bk_case_sleep(bk_seconds(100))};
    CHECK_EQ(bk_try_select(cases, 2), -EAGAIN);
    CHECK_EQ(bk_channel_send(c, &msg), 0);
    CHECK_EQ(bk_try_select(cases, 2), 0);
    CHECK_EQ(bk_msg_len(got), 1);
    CHECK_EQ(bk_select(cases, 2), -BK_ENOTASK);
    bk_msg_free(&got);
    bk_channel_free(&c);
}

CHECK_MAIN(TEST(N5_selects_on_both_sides), TEST(C126_N5_selects_on_both_sides_of_a_rendezvous),
           TEST(C120_N5_cancelled_against_sending_threads), TEST(one_channel_in_several_cases),
           TEST(try_select_without_a_loop))
