/* SPDX-License-Identifier: MIT
 * Sweeps over selects: whatever strikes, one case happens or none, and no item is lost. */
#include "tests/sweep.h"

enum { ITEMS = 6 };

/* Items numbered from 1 come in by two queues and a channel, and leave by two queues. */
struct hub {
    bk_queue *in[2], *out[2];
    bk_channel *channel;
    bk_event *event;
    bk_future *future;
    int put, got, taken, sent_on; /* sums: put in = got by the subject + left ... */
    int n_done;
};

static int open_hub(void *ctx)
{
    struct hub *h = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 2; i++) {
        r = bk_queue_new(&h->in[i], &(bk_queue_opts){.limit = 1});
        if (r == 0)
            r = bk_queue_new(&h->out[i], &(bk_queue_opts){.limit = 1});
    }
    if (r == 0)
        r = bk_channel_new(&h->channel, &(bk_channel_opts){.rendezvous = true});
    if (r == 0)
        r = bk_event_new(&h->event, NULL);
    return r < 0 ? r : bk_future_new(&h->future);
}

static void close_hub(void *ctx)
{
    struct hub *h = ctx;
    for (int i = 0; i < 2; i++) {
        bk_queue_free(&h->in[i]);
        bk_queue_free(&h->out[i]);
    }
    bk_channel_free(&h->channel);
    bk_event_free(&h->event);
    bk_future_free(&h->future);
}

static int put_in(void *ctx)
{
    struct hub *h = ctx;
    int r = 0;
    for (int i = 1; r == 0 && i <= ITEMS; i++) {
        r = bk_queue_put(h->in[i % 2], (void *)(intptr_t)i);
        h->put += r == 0 ? i : 0;
        if (r == 0 && i % 3 == 0)
            r = bk_yield();
    }
    return r;
}

static int send_in(void *ctx)
{
    struct hub *h = ctx;
    int r = 0;
    for (int i = 1; r == 0 && i <= ITEMS; i++) {
        bk_msg *msg = NULL;
        if ((r = bk_msg_copy(&msg, &i, sizeof i)) < 0)
            return r;
        r = bk_channel_send(h->channel, &msg);
        h->put += r == 0 ? i : 0;
        bk_msg_free(&msg);
    }
    return r;
}

static int take_out(void *ctx)
{
    struct hub *h = ctx;
    void *item;
    for (;;) {
        bk_case cases[] = {bk_case_get(h->out[0], &item), bk_case_get(h->out[1], &item)};
        int r = bk_select(cases, 2);
        if (r < 0)
            return r;
        h->taken += (int)(intptr_t)item;
    }
}

static int number_in(bk_msg **msg)
{
    int n = 0;
    memcpy(&n, bk_msg_data(*msg), sizeof n);
    bk_msg_free(msg);
    return n;
}

/* Takes from whichever has something and hands it on to whichever has room. */
static int pass_on(void *ctx)
{
    struct hub *h = ctx;
    for (int n = 0; n < 2 * ITEMS; n++) {
        void *item = NULL;
        bk_msg *msg = NULL;
        bk_case from[] = {bk_case_get(h->in[0], &item), bk_case_get(h->in[1], &item),
                          bk_case_recv(h->channel, &msg), bk_case_event(h->event),
                          bk_case_sleep(bk_seconds(1000))};
        int r = bk_select(from, 5);
        if (r < 0)
            return r;
        int number = r == 2 ? number_in(&msg) : (int)(intptr_t)item;
        h->got += number;
        bk_case to[] = {bk_case_put(h->out[0], (void *)(intptr_t)number),
                        bk_case_put(h->out[1], (void *)(intptr_t)number)};
        r = bk_select(to, 2);
        if (r < 0)
            return r;
        h->sent_on += number;
        h->n_done++;
    }
    return 0;
}

static int left_in(bk_queue *queue)
{
    void *item;
    int sum = 0;
    while (bk_queue_try_get(queue, &item) == 1)
        sum += (int)(intptr_t)item;
    return sum;
}

static void nothing_is_lost(void *ctx, int result)
{
    struct hub *h = ctx;
    bk_msg *msg = NULL;
    int in = left_in(h->in[0]) + left_in(h->in[1]), out = left_in(h->out[0]) + left_in(h->out[1]);
    if (bk_channel_try_recv(h->channel, &msg) == 1)
        sweep_lost("a sender is left in line");
    bk_msg_free(&msg);
    if (h->got + in != h->put)
        sweep_lost("put in %d, got %d, left %d", h->put, h->got, in);
    if (h->taken + out != h->sent_on)
        sweep_lost("sent on %d, taken %d, left %d", h->sent_on, h->taken, out);
    if (result == 0 && h->got != h->sent_on)
        sweep_lost("got %d, sent on %d", h->got, h->sent_on);
}

/* ---- What takes nothing ---- */

static int set_both(void *ctx)
{
    struct hub *h = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    bk_event_set(h->event);
    bk_future_set(h->future, 5, NULL);
    return r;
}

static int wait_for_either(void *ctx)
{
    struct hub *h = ctx;
    bk_case cases[] = {bk_case_future(h->future), bk_case_event(h->event),
                       bk_case_get(h->in[0], NULL)};
    int r = bk_select(cases, 3);
    return r < 0 ? r : 0;
}

static int wait_a_second(void *ctx)
{
    struct hub *h = ctx;
    bk_case cases[] = {bk_case_event(h->event), bk_case_sleep(bk_seconds(1)),
                       bk_case_sleep(bk_seconds(2))};
    int r = bk_select(cases, 3);
    return r < 0 ? r : r - 1;
}

#define HUB .state_size = sizeof(struct hub), .open = open_hub, .close = close_hub

static const struct sweep_scenario scenarios[] = {
    {.name = "select, from three to two", HUB, .subject = pass_on,
     .helpers = {put_in, send_in, take_out}, .check = nothing_is_lost},
    {.name = "select, event or future", HUB, .subject = wait_for_either,
     .helpers = {set_both, wait_for_either}, .helpers_finish = true},
    {.name = "select, time", HUB, .subject = wait_a_second},
};

SWEEP_MAIN(scenarios)
